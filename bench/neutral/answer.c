// A broker and NameServer that does nothing but answer: every send is told that it was stored, every topic has a route to
// here, everything else succeeds. What a client reaches against it is what the client and the machine allow.
//
//   answer
//
// prints "listening PORT" on standard error and serves the loopback address until it is killed.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common.h"

#define FRAME_MAX (5 << 20)
#define OUT_MAX (1 << 20)
#define GET_ROUTEINFO_BY_TOPIC 105

static int port;
static uint64_t stored;

struct connection {
  int fd;
  size_t in_end;
  char *in;
};

// The number behind `"key":` in a JSON header; -1 when it is not there.
static long number_of(const char *header, size_t size, const char *key, size_t key_size) {
  const char *found = memmem(header, size, key, key_size);
  return found ? strtol(found + key_size, NULL, 10) : -1;
}

static size_t put_frame(char *to, const char *header, size_t header_size, const char *body, size_t body_size) {
  uint32_t length = htobe32(4 + header_size + body_size), word = htobe32(header_size);
  memcpy(to, &length, 4);
  memcpy(to + 4, &word, 4);
  memcpy(to + 8, header, header_size);
  memcpy(to + 8 + header_size, body, body_size);
  return 8 + header_size + body_size;
}

static size_t answer(char *to, const char *request, size_t size) {
  long code = number_of(request, size, "\"code\":", 7), opaque = number_of(request, size, "\"opaque\":", 9);
  long flag = number_of(request, size, "\"flag\":", 7);
  if (flag & 2) return 0;
  char header[512], body[512] = "";
  size_t body_size = 0;
  int n;
  if (code == GET_ROUTEINFO_BY_TOPIC) {
    body_size = snprintf(body, sizeof body,
      "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"127.0.0.1:%d\"},\"brokerName\":\"floor\",\"cluster\":\"c\"}],\"filterServerTable\":{},"
      "\"queueDatas\":[{\"brokerName\":\"floor\",\"perm\":6,\"readQueueNums\":8,\"topicSysFlag\":0,\"writeQueueNums\":8}]}", port);
  }
  if (code == 310 || code == 10 || code == 320) {
    n = snprintf(header, sizeof header,
      "{\"code\":0,\"extFields\":{\"msgId\":\"7F00000100002A9F%016llX\",\"queueId\":\"0\",\"queueOffset\":\"%llu\","
      "\"MSG_REGION\":\"DefaultRegion\",\"TRACE_ON\":\"true\"},\"flag\":1,\"language\":\"JAVA\",\"opaque\":%ld,"
      "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}", (unsigned long long)stored, (unsigned long long)stored, opaque);
    stored++;
  } else {
    n = snprintf(header, sizeof header,
      "{\"code\":0,\"flag\":1,\"language\":\"JAVA\",\"opaque\":%ld,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}", opaque);
  }
  return put_frame(to, header, n, body, body_size);
}

static void write_all(int fd, const char *from, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, from, size);
    if (n < 0 && errno == EAGAIN) continue; // a client that reads; the wait is short
    if (n < 0) return;                      // gone: the next read says so
    from += n;
    size -= n;
  }
}

// 0: the connection ended.
static int serve(struct connection *c) {
  static char out[OUT_MAX];
  ssize_t n = read(c->fd, c->in + c->in_end, FRAME_MAX - c->in_end);
  if (n < 0 && errno == EAGAIN) return 1;
  if (n <= 0) return 0;
  c->in_end += n;
  size_t at = 0, out_end = 0;
  while (c->in_end - at >= 8) {
    uint32_t length, word;
    memcpy(&length, c->in + at, 4);
    memcpy(&word, c->in + at + 4, 4);
    length = be32toh(length);
    size_t header_size = be32toh(word) & 0xffffff;
    if (length > FRAME_MAX - 4 || header_size + 4 > length) return 0;
    if (c->in_end - at - 4 < length) break;
    if (out_end + 2048 > OUT_MAX) write_all(c->fd, out, out_end), out_end = 0;
    out_end += answer(out + out_end, c->in + at + 8, header_size);
    at += 4 + length;
  }
  if (out_end > 0) write_all(c->fd, out, out_end);
  memmove(c->in, c->in + at, c->in_end - at);
  c->in_end -= at;
  return 1;
}

int main(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1, poll_fd = epoll_create1(0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (void *)&address, sizeof address) || listen(listener, 64)) die("listen");
  getsockname(listener, (void *)&address, &size);
  port = ntohs(address.sin_port);
  fprintf(stderr, "listening %d\n", port);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e);
  for (;;) {
    struct epoll_event events[64];
    int ready = epoll_wait(poll_fd, events, 64, -1);
    for (int i = 0; i < ready; i++) {
      struct connection *c = events[i].data.ptr;
      if (c == NULL) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        c = calloc(1, sizeof *c);
        c->fd = fd;
        c->in = malloc(FRAME_MAX);
        e = (struct epoll_event){.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e);
      } else if (!serve(c)) {
        close(c->fd);
        free(c->in);
        free(c);
      }
    }
  }
}
