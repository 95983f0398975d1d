// The neutral consumer: pulls a topic's queues with PULL_MESSAGE of RocketMQ's remoting protocol, from the first message on
// and from there again at the end, and only counts what comes, so that what is measured is the broker at the other end.
// Prints one JSON line.
//
//   pull_peer PORT TOPIC QUEUES CONNECTIONS WARM_UP_MS MS
//
// connects to the loopback address and keeps one request for 32 messages under way for each queue that has messages, the
// queues spread over the connections. `messages` and `pulls` are those of the last MS; `allMessages` those of WARM_UP_MS as
// well, for who divides what the broker spent in both.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
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

#define FRAME_MAX (4 << 20)
#define QUEUES_MAX 1000
#define PULL_FOUND 0
#define PULL_NOT_FOUND 19

struct connection {
  int fd;
  char *in;
  size_t in_end;
};

static const char *topic;
static long offsets[QUEUES_MAX]; // where each queue's request under way begins
static int queues_with_messages;
static long messages, pulls, bytes;

// The subscription comes with the request (sysFlag 4): a broker of Apache's knows no consumer of this group.
static void ask(struct connection *c, int queue) {
  char frame[1024], *header = frame + 8;
  int size = snprintf(header, sizeof frame - 8,
    "{\"code\":11,\"extFields\":{\"consumerGroup\":\"bench_puller\",\"topic\":\"%s\",\"queueId\":\"%d\",\"queueOffset\":\"%ld\","
    "\"maxMsgNums\":\"32\",\"sysFlag\":\"4\",\"commitOffset\":\"0\",\"suspendTimeoutMillis\":\"0\",\"subscription\":\"*\","
    "\"subVersion\":\"0\",\"expressionType\":\"TAG\"},\"flag\":0,\"language\":\"JAVA\",\"opaque\":%d,"
    "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}", topic, queue, offsets[queue], queue);
  if (size >= (int)sizeof frame - 8) die("topic");
  uint32_t length = htobe32(4 + size), word = htobe32(size);
  memcpy(frame, &length, 4);
  memcpy(frame + 4, &word, 4);
  // Few and small: the socket's buffer always has room for them.
  if (write(c->fd, frame, 8 + size) != 8 + size) die("write");
}

// The number behind `key` in a JSON header, in quotes or not; -1 when it is not there.
static long number_of(const char *header, size_t size, const char *key) {
  const char *found = memmem(header, size, key, strlen(key));
  if (!found) return -1;
  found += strlen(key);
  return strtol(found + (*found == '"'), NULL, 10);
}

// Records begin with their size. A body that is not whole records of the number the header says is no answer.
static long count_records(const char *body, size_t size) {
  long count = 0;
  for (size_t at = 0; at < size; count++) {
    uint32_t word;
    if (size - at < 4) return -1;
    memcpy(&word, body + at, 4);
    word = be32toh(word);
    if (word == 0 || word > size - at) return -1;
    at += word;
  }
  return count;
}

static void take_answer(struct connection *c, const char *header, size_t header_size, size_t body_size) {
  long code = number_of(header, header_size, "\"code\":"), queue = number_of(header, header_size, "\"opaque\":");
  if (queue < 0 || queue >= QUEUES_MAX) die("opaque");
  if (code == PULL_NOT_FOUND && offsets[queue] == 0) {
    queues_with_messages--;
    return;
  }
  if (code != PULL_FOUND && code != PULL_NOT_FOUND) {
    fprintf(stderr, "failed: %.*s\n", (int)(header_size < 500 ? header_size : 500), header);
    exit(1);
  }
  if (code == PULL_NOT_FOUND) offsets[queue] = 0;
  else {
    long next = number_of(header, header_size, "\"nextBeginOffset\":"), end = number_of(header, header_size, "\"maxOffset\":");
    long count = count_records(header + header_size, body_size);
    if (count <= 0 || next - offsets[queue] != count) {
      fprintf(stderr, "%ld records from %ld on, but next comes %ld\n", count, offsets[queue], next);
      exit(1);
    }
    messages += count;
    pulls++;
    bytes += body_size;
    offsets[queue] = next >= end ? 0 : next;
  }
  ask(c, queue);
}

static void take_bytes(struct connection *c) {
  ssize_t n = read(c->fd, c->in + c->in_end, FRAME_MAX - c->in_end);
  if (n <= 0) die("the broker closed the connection");
  c->in_end += n;
  size_t at = 0;
  while (c->in_end - at >= 8) {
    uint32_t length, word;
    memcpy(&length, c->in + at, 4);
    memcpy(&word, c->in + at + 4, 4);
    length = be32toh(length);
    size_t header_size = be32toh(word) & 0xffffff;
    if (length > FRAME_MAX - 4 || header_size + 4 > length) die("frame");
    if (c->in_end - at - 4 < length) break;
    take_answer(c, c->in + at + 8, header_size, length - 4 - header_size);
    at += 4 + length;
  }
  memmove(c->in, c->in + at, c->in_end - at);
  c->in_end -= at;
}

static void pull_until(int poll_fd, double end) {
  while (seconds() < end) {
    struct epoll_event events[64];
    int ready = epoll_wait(poll_fd, events, 64, 100);
    for (int e = 0; e < ready; e++) take_bytes(events[e].data.ptr);
    if (queues_with_messages == 0) {
      fprintf(stderr, "%s has no messages\n", topic);
      exit(1);
    }
  }
}

static void connect_to(int poll_fd, int port, struct connection *c) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(c->fd, (void *)&address, sizeof address)) die("connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  c->in = malloc(FRAME_MAX);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e)) die("epoll");
}

int main(int argc, char **argv) {
  if (argc != 7) {
    fprintf(stderr, "see the first lines of pull_peer.c\n");
    return 2;
  }
  topic = argv[2];
  int queues = atoi(argv[3]), connection_count = atoi(argv[4]);
  if (queues < 1 || queues > QUEUES_MAX || connection_count < 1 || connection_count > queues) {
    fprintf(stderr, "wanted 1 to %d queues, and no more connections than queues\n", QUEUES_MAX);
    return 2;
  }
  queues_with_messages = queues;
  int poll_fd = epoll_create1(0);
  struct connection *connections = calloc(connection_count, sizeof *connections);
  for (int i = 0; i < connection_count; i++) connect_to(poll_fd, atoi(argv[1]), &connections[i]);
  double from = seconds() + atof(argv[5]) / 1e3, until = from + atof(argv[6]) / 1e3;
  for (int queue = 0; queue < queues; queue++) ask(&connections[queue % connection_count], queue);
  pull_until(poll_fd, from);
  long messages_before = messages, pulls_before = pulls, bytes_before = bytes;
  double cpu_before = cpu_seconds(), begin = seconds();
  pull_until(poll_fd, until);
  double took = seconds() - begin;
  long counted = messages - messages_before;
  printf("{\"messages\":%ld,\"pulls\":%ld,\"bytes\":%ld,\"seconds\":%.6f,\"messagesPerSecond\":%.1f,\"allMessages\":%ld,"
    "\"cpuSeconds\":%.4f}\n", counted, pulls - pulls_before, bytes - bytes_before, took, counted / took, messages,
    cpu_seconds() - cpu_before);
  return 0;
}
