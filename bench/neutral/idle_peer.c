// The neutral crowd of the connection benchmarks: many remoting connections to a broker that do nothing but say they are
// alive, each as a producer of its own would. Prints one JSON line once each has had its first heartbeat answered, and
// goes on until it is killed.
//
//   idle_peer PORT CONNECTIONS PERIOD_MS
//
// connects to the loopback address and sends HEART_BEAT on each connection every PERIOD_MS, spread evenly over that time.
// It raises its own limit of open files as far as it may. A connection that the broker closes ends it with an error.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "common.h"

#define FRAME_MAX 1024
/* Clients that share a producer group. */
#define GROUP_SIZE 100
/* Connections made at once: no broker's accept queue overflows. */
#define WAITING_MAX 64

static void beat(int fd, int index) {
  char frame[FRAME_MAX], header[FRAME_MAX / 2], body[FRAME_MAX / 2];
  int body_size = snprintf(body, sizeof body,
    "{\"clientID\":\"127.0.0.1@%d\",\"consumerDataSet\":[],\"producerDataSet\":[{\"groupName\":\"idle_%d\"}]}", index,
    index / GROUP_SIZE);
  int header_size = snprintf(header, sizeof header,
    "{\"code\":34,\"extFields\":{},\"flag\":0,\"language\":\"JAVA\",\"opaque\":%d,\"serializeTypeCurrentRPC\":\"JSON\","
    "\"version\":479}", index);
  uint32_t words[2] = {htobe32(4 + header_size + body_size), htobe32(header_size)};
  memcpy(frame, words, 8);
  memcpy(frame + 8, header, header_size);
  memcpy(frame + 8 + header_size, body, body_size);
  int size = 8 + header_size + body_size;
  if (write(fd, frame, size) != size) die("write");
}

static int connect_to(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  if (connect(fd, (void *)&address, sizeof address)) die("connect");
  return fd;
}

// Reads what came within `wait_ms`; answers are small and come whole. Returns how many connections had one.
static int take_answers(int poll_fd, int wait_ms) {
  struct epoll_event events[64];
  char buffer[4096];
  int ready = epoll_wait(poll_fd, events, 64, wait_ms);
  for (int e = 0; e < ready; e++) {
    if (read(events[e].data.fd, buffer, sizeof buffer) <= 0) die("the broker closed a connection");
  }
  return ready > 0 ? ready : 0;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "see the first lines of idle_peer.c\n");
    return 2;
  }
  int port = atoi(argv[1]), count = atoi(argv[2]);
  double period = atoi(argv[3]) / 1e3, begin = seconds();
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  int poll_fd = epoll_create1(0), answered = 0;
  int *fds = calloc(count, sizeof *fds);
  for (int i = 0; i < count; i++) {
    fds[i] = connect_to(port);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fds[i], &event)) die("epoll");
    beat(fds[i], i);
    while (i + 1 - answered >= WAITING_MAX) answered += take_answers(poll_fd, 1000);
  }
  while (answered < count) answered += take_answers(poll_fd, 1000);
  printf("{\"connections\":%d,\"seconds\":%.3f}\n", count, seconds() - begin);
  fflush(stdout);
  begin = seconds();
  for (long sent = 0;;) {
    take_answers(poll_fd, 10);
    long due = (seconds() - begin) / period * count;
    for (; sent < due; sent++) beat(fds[sent % count], sent % count);
  }
}
