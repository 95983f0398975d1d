// The long way of the replication benchmarks: a TCP forwarder out of which every byte comes DELAY_US microseconds after it
// went in, in each direction, and apart from that as fast as the machine can. It stands in for a network with a longer
// round trip where the kernel can't delay packets. The bytes themselves stay in the kernel (splice through pipes), so it
// takes little of the machine from the nodes at its ends.
//
//   delay_forwarder PORT DELAY_US
//
// listens on a free port of the loopback address, says "listening PORT" on standard error, and forwards each connection
// to PORT of the loopback address until it is killed. A connection is made at once; only bytes are late. What TCP itself
// does on a long way (a window that has to grow, losses) is not shown: each half is a loopback connection.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "common.h"

// Bytes on their way in one direction, at most: 3 GB/s at 20 ms.
#define UNDERWAY_MAX (64 << 20)
#define PIECE_MAX (1 << 20)
// One pipe holds 256 fragments at most without special rights, however small they are.
#define PIPES 64
#define PIPE_SIZE (1 << 20)
// Pieces under way; a power of two. One that comes while all are taken waits in its socket.
#define PIECES (1 << 16)

struct piece {
  int64_t due;
  int64_t bytes;
  int pipe;
};

struct pipe {
  int in, out;
  int64_t held;
};

// One direction. Its bytes lie in the pipes, one filled after the other; the pieces say when they may leave.
struct way {
  int from, to;
  struct pipe pipes[PIPES];
  int filling; // the pipe that bytes go into
  struct piece *pieces;
  uint32_t first, end;
  int64_t underway;
  int ended;   // nothing more comes in
  int full;    // the pipes take no more until some has left
  int blocked; // the far socket takes no more
  int closed;  // all has left after the end
};

static int64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void make_way(struct way *w, int from, int to) {
  *w = (struct way){.from = from, .to = to};
  for (int i = 0; i < PIPES; i++) {
    int ends[2];
    if (pipe2(ends, O_NONBLOCK)) die("pipe");
    fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE);
    w->pipes[i] = (struct pipe){ends[1], ends[0], 0};
  }
  w->pieces = malloc(sizeof(struct piece) * PIECES);
}

static int has_room(const struct way *w) {
  return !w->ended && !w->full && w->underway < UNDERWAY_MAX && w->end - w->first < PIECES;
}

// One piece from the socket, which is known to have something.
static void take(struct way *w, int64_t delay) {
  if (!has_room(w)) return;
  struct pipe *p = &w->pipes[w->filling];
  ssize_t n = splice(w->from, NULL, p->in, NULL, PIECE_MAX, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (n > 0) {
    w->pieces[w->end++ % PIECES] = (struct piece){nanoseconds() + delay, n, w->filling};
    w->underway += n;
    p->held += n;
  } else if (n == 0 || errno != EAGAIN) {
    w->ended = 1;
  } else if (p->held > 0) {
    int next = (w->filling + 1) % PIPES;
    if (w->pipes[next].held > 0) w->full = 1;
    else w->filling = next;
  }
}

// Everything that is due. Returns when the next piece is, or -1.
static int64_t give(struct way *w) {
  w->blocked = 0;
  while (w->first != w->end) {
    struct piece *p = &w->pieces[w->first % PIECES];
    if (p->due > nanoseconds()) return p->due;
    struct pipe *from = &w->pipes[p->pipe];
    ssize_t n = splice(from->out, NULL, w->to, NULL, p->bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n < 0 && errno == EAGAIN) {
      w->blocked = 1;
      return -1;
    }
    if (n <= 0) exit(0); // gone: both connections end with this process
    w->full = 0;
    w->underway -= n;
    from->held -= n;
    p->bytes -= n;
    if (p->bytes == 0) w->first++;
  }
  if (w->ended && !w->closed) {
    shutdown(w->to, SHUT_WR);
    w->closed = 1;
  }
  return -1;
}

static void forward(int near, int far, int64_t delay) {
  struct way ways[2];
  make_way(&ways[0], near, far);
  make_way(&ways[1], far, near);
  while (!ways[0].closed || !ways[1].closed) {
    int64_t due[2] = {give(&ways[0]), give(&ways[1])};
    struct pollfd polls[2];
    for (int i = 0; i < 2; i++) {
      struct way *in = &ways[i], *out = &ways[1 - i];
      short events = (has_room(in) ? POLLIN : 0) | (out->blocked ? POLLOUT : 0);
      // Without anything to wait for, a socket that hung up would be reported again and again.
      polls[i] = (struct pollfd){events ? in->from : -1, events, 0};
    }
    int64_t next = due[0] < 0 || (due[1] >= 0 && due[1] < due[0]) ? due[1] : due[0];
    int64_t wait = next < 0 ? -1 : next - nanoseconds();
    if (next >= 0 && wait < 0) wait = 0;
    struct timespec limit = {wait / 1000000000, wait % 1000000000};
    if (ppoll(polls, 2, wait < 0 ? NULL : &limit, NULL) < 0) die("poll");
    for (int i = 0; i < 2; i++) if (polls[i].revents & (POLLIN | POLLHUP | POLLERR)) take(&ways[i], delay);
  }
}

static int prepared(int fd) {
  int on = 1;
  if (fd < 0) die("socket");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "see the first lines of delay_forwarder.c\n");
    return 2;
  }
  signal(SIGCHLD, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, target = address;
  target.sin_port = htons(atoi(argv[1]));
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (void *)&address, size) || listen(listener, 64)) die("listen");
  getsockname(listener, (void *)&address, &size);
  fprintf(stderr, "listening %d\n", ntohs(address.sin_port));
  for (;;) {
    int near = accept(listener, NULL, NULL);
    if (near < 0) die("accept");
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      prctl(PR_SET_TIMERSLACK, 1);
      close(listener);
      int far = socket(AF_INET, SOCK_STREAM, 0);
      if (connect(far, (void *)&target, sizeof target)) die("connect");
      forward(prepared(near), prepared(far), atoll(argv[2]) * 1000);
      _exit(0);
    }
    close(near);
  }
}
