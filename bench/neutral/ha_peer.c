// The neutral counterpart of the replication benchmarks: speaks both sides of RocketMQ's default HA protocol with as
// little work as possible, so that what is measured is the node at the other end. Prints one JSON line.
//
//   ha_peer serve STORE FILE_SIZE TOTAL BATCH     acts as master: sends STORE's commit log up to TOTAL in frames of at
//                                                 most BATCH bytes, and times it until everything is acknowledged
//   ha_peer pingpong STORE FILE_SIZE START COUNT PHASES
//                                                 acts as master from START on: one record at a time, each timed until
//                                                 its ack; PHASES times COUNT, each after a line on standard input
//   ha_peer pull PORT FROM TOTAL [SLAVES]         acts as one slave, or as SLAVES at once: each reads TOTAL bytes and
//                                                 acknowledges every frame it read
//
// As master it listens on a free port of the loopback address and says "listening PORT" on standard error.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <poll.h>
#include "common.h"

static void read_all(int fd, void *to, size_t count) {
  for (char *at = to; count > 0;) {
    ssize_t n = read(fd, at, count);
    if (n <= 0) die("read");
    at += n;
    count -= n;
  }
}

static void write_all(int fd, struct iovec *parts, int count) {
  while (count > 0) {
    ssize_t n = writev(fd, parts, count);
    if (n <= 0) die("write");
    while (count > 0 && (size_t)n >= parts->iov_len) {
      n -= parts->iov_len;
      parts++;
      count--;
    }
    if (count > 0) {
      parts->iov_base = (char *)parts->iov_base + n;
      parts->iov_len -= n;
    }
  }
}

static int64_t file_size;
static const char *store;

// One mapped file at a time is enough: the log is read in order.
static char *mapped(int64_t offset) {
  static char *map;
  static int64_t start = -1;
  int64_t wanted = offset - offset % file_size;
  if (wanted != start) {
    if (map) munmap(map, file_size);
    char path[4096];
    snprintf(path, sizeof path, "%s/commitlog/%020ld", store, (long)wanted);
    int fd = open(path, O_RDONLY);
    if (fd < 0) die(path);
    map = mmap(NULL, file_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED) die("mmap");
    close(fd);
    start = wanted;
  }
  return map + (offset - start);
}

static int accept_slave(int64_t *request) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (void *)&address, size) || listen(listener, 8)) die("listen");
  getsockname(listener, (void *)&address, &size);
  fprintf(stderr, "listening %d\n", ntohs(address.sin_port));
  int fd = accept(listener, NULL, NULL);
  if (fd < 0) die("accept");
  close(listener);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  uint64_t report;
  read_all(fd, &report, 8);
  *request = be64toh(report);
  return fd;
}

static void send_frame(int fd, int64_t offset, int32_t size) {
  char header[12];
  uint64_t o = htobe64(offset);
  uint32_t s = htobe32(size);
  memcpy(header, &o, 8);
  memcpy(header + 8, &s, 4);
  struct iovec parts[2] = {{header, 12}, {size ? mapped(offset) : NULL, size}};
  write_all(fd, parts, size ? 2 : 1);
}

static int64_t next_size(int64_t offset, int64_t total, int64_t batch) {
  int64_t size = total - offset, room = file_size - offset % file_size;
  if (size > room) size = room;
  return size > batch ? batch : size;
}

// Reads reports that have come; the newest wins.
static int64_t drain_acks(int fd, int64_t last, int wait_ms) {
  static char buffer[65536];
  static size_t held;
  struct pollfd p = {fd, POLLIN, 0};
  if (poll(&p, 1, wait_ms) <= 0) return last;
  ssize_t n = read(fd, buffer + held, sizeof buffer - held);
  if (n <= 0) die("slave closed");
  held += n;
  size_t whole = held - held % 8;
  if (whole) {
    uint64_t report;
    memcpy(&report, buffer + whole - 8, 8);
    last = be64toh(report);
    memmove(buffer, buffer + whole, held - whole);
    held -= whole;
  }
  return last;
}

static int compare_double(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static int serve(char **argv) {
  int64_t request, total = atoll(argv[4]), batch = atoll(argv[5]);
  store = argv[2];
  file_size = atoll(argv[3]);
  mapped(0);
  int fd = accept_slave(&request);
  double start = seconds();
  int64_t next = request, acked = -1;
  while (next < total) {
    int64_t size = next_size(next, total, batch);
    send_frame(fd, next, size);
    next += size;
    acked = drain_acks(fd, acked, 0);
  }
  double sent = seconds();
  while (acked < total) acked = drain_acks(fd, acked, 1000);
  double end = seconds();
  printf("{\"bytes\":%ld,\"seconds\":%.6f,\"sendSeconds\":%.6f,\"request\":%ld}\n", (long)(total - request), end - start, sent - start, (long)request);
  return 0;
}

static int pingpong(char **argv) {
  int64_t request, next = atoll(argv[4]);
  int count = atoi(argv[5]);
  store = argv[2];
  file_size = atoll(argv[3]);
  mapped(next);
  int fd = accept_slave(&request);
  // The slave may ask to see its last record again before it goes on from its end.
  for (int64_t acked = -1; request < next;) {
    int64_t size = next_size(request, next, 1 << 20);
    send_frame(fd, request, size);
    request += size;
    while (request == next && acked < next) acked = drain_acks(fd, acked, 1000);
  }
  fprintf(stderr, "attached\n");
  double *times = malloc(sizeof(double) * count);
  for (int phase = 0; phase < atoi(argv[6]); phase++) {
    char line[16];
    if (!fgets(line, sizeof line, stdin)) return 1;
    int64_t first = next;
    for (int i = 0; i < count; i++) {
      // A frame is one whole record; its first four bytes say how long it is.
      uint32_t record;
      memcpy(&record, mapped(next), 4);
      int32_t size = (int32_t)be32toh(record);
      double start = seconds();
      send_frame(fd, next, size);
      next += size;
      for (int64_t acked = -1; acked < next;) acked = drain_acks(fd, acked, 1000);
      times[i] = (seconds() - start) * 1e6;
    }
    qsort(times, count, sizeof(double), compare_double);
    printf("{\"count\":%d,\"frameBytes\":%ld,\"p50us\":%.1f,\"p99us\":%.1f,\"p999us\":%.1f,\"maxus\":%.1f}\n", count, (long)((next - first) / count), times[count / 2], times[(int)(count * 0.99)], times[(int)(count * 0.999)], times[count - 1]);
    fflush(stdout);
  }
  return 0;
}

// A slave that keeps nothing: where it is inside the stream of frames.
struct slave {
  int fd;
  unsigned char header[12];
  int held;     // bytes of the header that are there
  int64_t left; // bytes of the body still to come
  int64_t next; // offset behind what it has; the first frame sets it
  int64_t done, frames; // whole frames, until it has what was wanted
  int32_t size;
};

static int64_t wanted; // bytes of each slave
static int unfinished; // slaves that have less

static void attach(struct slave *s, int port, int64_t from) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  uint64_t report = htobe64(from);
  int on = 1;
  *s = (struct slave){.fd = socket(AF_INET, SOCK_STREAM, 0), .next = -1};
  if (connect(s->fd, (void *)&address, sizeof address)) die("connect");
  setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (write(s->fd, &report, 8) != 8) die("write");
}

static void begin_frame(struct slave *s) {
  uint64_t o;
  uint32_t size;
  memcpy(&o, s->header, 8);
  memcpy(&size, s->header + 8, 4);
  int64_t offset = be64toh(o);
  s->left = s->size = be32toh(size);
  if (s->next >= 0 && offset != s->next) {
    fprintf(stderr, "frame at %ld, wanted %ld\n", (long)offset, (long)s->next);
    exit(1);
  }
  s->next = offset;
}

static void end_frame(struct slave *s) {
  s->held = 0;
  if (s->done < wanted) {
    s->frames++;
    s->done += s->size;
    if (s->done >= wanted) unfinished--;
  }
  uint64_t report = htobe64(s->next);
  if (write(s->fd, &report, 8) != 8) die("write");
}

// Walks through bytes that came.
static void walk(struct slave *s, const char *at, int64_t count) {
  while (count > 0) {
    int64_t n = s->left;
    if (s->held < 12) {
      n = 12 - s->held < count ? 12 - s->held : count;
      memcpy(s->header + s->held, at, n);
      s->held += n;
      if (s->held == 12) begin_frame(s);
      if (s->held == 12 && s->left == 0) s->held = 0; // a heartbeat
    } else {
      if (n > count) n = count;
      s->left -= n;
      s->next += n;
      if (s->left == 0) end_frame(s);
    }
    at += n;
    count -= n;
  }
}

static int pull(int port, int64_t from, int64_t total, int count) {
  struct slave *slaves = malloc(sizeof *slaves * count);
  int poll_fd = epoll_create1(0);
  double start = seconds(), first = 0;
  wanted = total;
  unfinished = count;
  for (int i = 0; i < count; i++) {
    attach(&slaves[i], port, from);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &slaves[i]};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, slaves[i].fd, &e)) die("epoll");
  }
  static char buffer[1 << 20];
  while (unfinished > 0) {
    struct epoll_event events[64];
    int ready = epoll_wait(poll_fd, events, 64, -1);
    for (int i = 0; i < ready; i++) {
      struct slave *s = events[i].data.ptr;
      ssize_t n = read(s->fd, buffer, sizeof buffer);
      if (n <= 0) die("read");
      if (!first) first = seconds();
      walk(s, buffer, n);
    }
  }
  double end = seconds();
  int64_t done = 0, frames = 0;
  for (int i = 0; i < count; i++) done += slaves[i].done, frames += slaves[i].frames;
  printf("{\"bytes\":%ld,\"frames\":%ld,\"seconds\":%.6f,\"sinceFirst\":%.6f}\n", (long)done, (long)frames, end - start, end - first);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 6 && !strcmp(argv[1], "serve")) return serve(argv);
  if (argc == 7 && !strcmp(argv[1], "pingpong")) return pingpong(argv);
  if ((argc == 5 || argc == 6) && !strcmp(argv[1], "pull"))
    return pull(atoi(argv[2]), atoll(argv[3]), atoll(argv[4]), argc == 6 ? atoi(argv[5]) : 1);
  fprintf(stderr, "see the first lines of ha_peer.c\n");
  return 2;
}
