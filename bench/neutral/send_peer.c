// The neutral producer of the send benchmarks: speaks SEND_MESSAGE_V2 of RocketMQ's remoting protocol over a few
// connections with many requests in flight and as little work as possible, so that what is measured is the broker at the
// other end. Prints one JSON line per phase.
//
//   send_peer PORT TOPIC QUEUES CONNECTIONS IN_FLIGHT BODY COUNT [WARM_UP [PHASES]] [topics=N] [batch=N] [rate=N]
//
// connects to the loopback address, keeps IN_FLIGHT requests under way over all CONNECTIONS, each with a body of BODY
// bytes, and times COUNT of them from the write to the answer after WARM_UP untimed ones. With PHASES, each of them
// begins with a line on standard input. An answer with another code than 0 counts as failed; the first remark goes to
// standard error.
//
// topics=N sends to TOPIC00000, TOPIC00001, ... in turn, after each to all its queues; batch=N makes each send a
// SEND_BATCH_MESSAGE of N messages; rate=N begins so many sends a second at most.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "common.h"

#define HEADER_MAX 2048
#define READ_MAX (1 << 20)

// One frame with places to fill in: numbers of fixed width, so that nothing moves.
static char *frame;
static size_t frame_size, at_opaque, at_queue, at_topic, at_key, at_born, at_batch, batch_step;
static int queues, body_size, topics = 1, batch = 1;
static double rate;
static uint64_t sent_ever;

static const char BATCH_PROPERTIES[] = "UNIQ_KEY\00117F00000100001B6D3C4D0000KKKKKKKK\002WAIT\001true\002";
#define BATCH_PROPERTIES_SIZE (sizeof BATCH_PROPERTIES - 1)

static void fill_body(char *to) {
  for (int i = 0; i < body_size; i++) to[i] = 'a' + i % 26;
}

// The body of a SEND_BATCH_MESSAGE: size, magic 0, CRC 0, flag 0, body, properties, for each message.
static void fill_batch(char *to) {
  for (int m = 0; m < batch; m++, to += batch_step) {
    uint32_t words[5] = {htobe32(batch_step), 0, 0, 0, htobe32(body_size)};
    uint16_t size = htobe16(BATCH_PROPERTIES_SIZE);
    memcpy(to, words, sizeof words);
    fill_body(to + sizeof words);
    memcpy(to + sizeof words + body_size, &size, 2);
    memcpy(to + sizeof words + body_size + 2, BATCH_PROPERTIES, BATCH_PROPERTIES_SIZE);
  }
}

static void make_frame(const char *name) {
  char header[HEADER_MAX], topic[256];
  snprintf(topic, sizeof topic, topics > 1 ? "%s00000" : "%s", name);
  batch_step = batch > 1 ? 20 + body_size + 2 + BATCH_PROPERTIES_SIZE : 0;
  size_t content = batch > 1 ? batch * batch_step : body_size;
  int size = snprintf(header, sizeof header,
    "{\"code\":%d,\"extFields\":{\"a\":\"bench_producer\",\"b\":\"%s\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"QQQQQQ\","
    "\"f\":\"0\",\"g\":\"GGGGGGGGGGGGG\",\"h\":\"0\",\"i\":\"UNIQ_KEY\\u00017F00000100001B6D3C4D0000KKKKKKKK\\u0002WAIT\\u0001true\","
    "\"j\":\"0\",\"k\":\"false\",\"m\":\"%s\",\"n\":\"broker-a\"},\"flag\":0,\"language\":\"JAVA\",\"opaque\":OOOOOO,"
    "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}", batch > 1 ? 320 : 310, topic, batch > 1 ? "true" : "false");
  if (size >= HEADER_MAX) die("topic");
  // A queue id is a number in quotes: the field is cut to its width instead of padded.
  char *q = strstr(header, "QQQQQQ");
  int width = queues > 100 ? 3 : queues > 10 ? 2 : 1;
  memmove(q + width, q + 6, size - (q + 6 - header) + 1);
  size -= 6 - width;
  frame_size = 8 + size + content;
  frame = malloc(frame_size);
  uint32_t length = htobe32(4 + size + content), word = htobe32(size);
  memcpy(frame, &length, 4);
  memcpy(frame + 4, &word, 4);
  memcpy(frame + 8, header, size);
  if (batch > 1) fill_batch(frame + 8 + size);
  else fill_body(frame + 8 + size);
  at_batch = 8 + size + 20 + body_size + 2 + (strstr(BATCH_PROPERTIES, "KKKKKKKK") - BATCH_PROPERTIES);
  at_queue = 8 + (q - header);
  at_topic = 8 + (strstr(header, topic) - header) + strlen(topic) - 5;
  at_opaque = 8 + (strstr(header, "OOOOOO") - header);
  at_key = 8 + (strstr(header, "KKKKKKKK") - header);
  at_born = 8 + (strstr(header, "GGGGGGGGGGGGG") - header);
}

static void put_number(char *to, int width, uint64_t value, char pad) {
  for (int i = width - 1; i >= 0; i--) {
    to[i] = value || i == width - 1 ? '0' + value % 10 : pad;
    value /= 10;
  }
}

struct connection {
  int fd;
  int writes_waiting;
  double *started; // by slot: opaque is the slot
  int *free_slots, free_count;
  char *out;       // frames not yet taken by the kernel
  size_t out_at, out_end, out_size;
  char *in;
  size_t in_end;
};

static void put_key(char *to, uint64_t n) {
  static const char hex[] = "0123456789ABCDEF";
  for (int i = 7; i >= 0; i--, n >>= 4) to[i] = hex[n & 15];
}

static void enqueue(struct connection *c, double now, const char *born) {
  int slot = c->free_slots[--c->free_count];
  char *to = c->out + c->out_end;
  memcpy(to, frame, frame_size);
  uint64_t n = sent_ever++;
  int width = queues > 100 ? 3 : queues > 10 ? 2 : 1;
  uint64_t queue = n % queues;
  // Leading zeros would do for a Java Integer, and do.
  put_number(to + at_queue, width, queue, '0');
  put_number(to + at_opaque, 6, slot, ' ');
  memcpy(to + at_born, born, 13);
  if (topics > 1) put_number(to + at_topic, 5, n / queues % topics, '0');
  if (batch == 1) put_key(to + at_key, n);
  else for (int m = 0; m < batch; m++) put_key(to + at_batch + m * batch_step, n * batch + m);
  c->out_end += frame_size;
  c->started[slot] = now;
}

static void flush_out(int poll_fd, struct connection *c) {
  while (c->out_at < c->out_end) {
    ssize_t n = write(c->fd, c->out + c->out_at, c->out_end - c->out_at);
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) die("write");
    c->out_at += n;
  }
  int waiting = c->out_at < c->out_end;
  if (!waiting) c->out_at = c->out_end = 0;
  else if (c->out_at > 0) {
    memmove(c->out, c->out + c->out_at, c->out_end - c->out_at);
    c->out_end -= c->out_at;
    c->out_at = 0;
  }
  if (waiting != c->writes_waiting) {
    struct epoll_event e = {.events = EPOLLIN | (waiting ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e);
    c->writes_waiting = waiting;
  }
}

// The number behind `"key":` in a JSON header; -1 when it is not there.
static long number_of(const char *header, size_t size, const char *key, size_t key_size) {
  const char *found = memmem(header, size, key, key_size);
  return found ? strtol(found + key_size, NULL, 10) : -1;
}

static long failed;
static int slots_max;

static void look_at_code(const char *header, size_t size) {
  if (number_of(header, size, "\"code\":", 7) == 0) return;
  if (failed++ == 0) fprintf(stderr, "failed: %.*s\n", (int)(size < 500 ? size : 500), header);
}

static int compare_float(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return x < y ? -1 : x > y;
}

static void connect_to(int poll_fd, int port, struct connection *c, int slots) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(c->fd, (void *)&address, sizeof address)) die("connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  c->started = calloc(slots, sizeof(double));
  c->free_slots = malloc(slots * sizeof(int));
  for (c->free_count = 0; c->free_count < slots; c->free_count++) c->free_slots[c->free_count] = slots - 1 - c->free_count;
  c->out = malloc(frame_size * slots);
  c->in = malloc(READ_MAX);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e)) die("epoll");
}

static void born_text(char *to) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  put_number(to, 13, (uint64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000, '0');
}

// Sends until `count` answers have come and everything under way is answered.
static void run(int poll_fd, struct connection *connections, int connection_count, long count, long warm_up) {
  float *times = malloc(sizeof(float) * (count ? count : 1));
  long started = 0, answered = 0, timed = 0, total = count + warm_up;
  double first = seconds(), begin = first, begin_cpu = cpu_seconds(), last_answer = first;
  char born[13];
  born_text(born);
  failed = 0;
  for (int i = 0; i < connection_count; i++) {
    struct connection *c = &connections[i];
    while (rate == 0 && started < total && c->free_count > 0) enqueue(c, seconds(), born), started++;
    flush_out(poll_fd, c);
  }
  while (answered < total) {
    struct epoll_event events[64];
    int ready = epoll_wait(poll_fd, events, 64, rate > 0 ? 1 : 30000);
    double now = seconds();
    if (now - last_answer > 30) {
      fprintf(stderr, "no answer for 30 s, %ld of %ld answered\n", answered, total);
      exit(1);
    }
    born_text(born);
    for (int e = 0; e < ready; e++) {
      struct connection *c = events[e].data.ptr;
      if (events[e].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t n = read(c->fd, c->in + c->in_end, READ_MAX - c->in_end);
        if (n == 0 || (n < 0 && errno != EAGAIN)) die("the broker closed the connection");
        if (n > 0) c->in_end += n;
        now = seconds();
        size_t at = 0;
        while (c->in_end - at >= 8) {
          uint32_t length, word;
          memcpy(&length, c->in + at, 4);
          memcpy(&word, c->in + at + 4, 4);
          length = be32toh(length);
          if (c->in_end - at - 4 < length) break;
          size_t header_size = be32toh(word) & 0xffffff;
          const char *header = c->in + at + 8;
          look_at_code(header, header_size);
          long slot = number_of(header, header_size, "\"opaque\":", 9);
          if (slot < 0 || slot >= slots_max) die("opaque");
          at += 4 + length;
          answered++;
          last_answer = now;
          if (answered == warm_up) begin = now, begin_cpu = cpu_seconds();
          else if (answered > warm_up) times[timed++] = (now - c->started[slot]) * 1e6;
          c->free_slots[c->free_count++] = slot;
          if (rate == 0 && started < total) enqueue(c, now, born), started++;
        }
        memmove(c->in, c->in + at, c->in_end - at);
        c->in_end -= at;
      }
      flush_out(poll_fd, c);
    }
    // What is due by now, on each connection in turn; with no slot free it is sent later.
    long due = rate > 0 ? (long)((now - first) * rate) + 1 : 0;
    if (due > total) due = total;
    for (int i = 0; started < due && i < connection_count; i++) {
      struct connection *c = &connections[started % connection_count];
      if (c->free_count == 0) continue;
      enqueue(c, now, born), started++;
      flush_out(poll_fd, c);
      i = -1;
    }
  }
  double took = seconds() - begin, cpu = cpu_seconds() - begin_cpu;
  qsort(times, timed, sizeof(float), compare_float);
#define AT(share) (timed ? times[(long)(timed * (share))] : 0)
  printf("{\"sends\":%ld,\"failed\":%ld,\"seconds\":%.6f,\"sendsPerSecond\":%.1f,\"p50us\":%.1f,\"p99us\":%.1f,\"p999us\":%.1f,"
    "\"maxus\":%.1f,\"cpuSeconds\":%.4f}\n", timed, failed, took, timed / took, AT(0.5), AT(0.99), AT(0.999),
    timed ? times[timed - 1] : 0, cpu);
  fflush(stdout);
  free(times);
}

// Takes the NAME=N arguments off the end; answers with how many are left.
static int take_options(int argc, char **argv) {
  for (; argc > 1 && strchr(argv[argc - 1], '='); argc--) {
    const char *option = argv[argc - 1];
    if (sscanf(option, "topics=%d", &topics) == 1 && topics >= 1 && topics <= 100000) continue;
    if (sscanf(option, "batch=%d", &batch) == 1 && batch >= 1 && batch <= 1000) continue;
    if (sscanf(option, "rate=%lf", &rate) == 1 && rate >= 0) continue;
    return 0;
  }
  return argc;
}

int main(int argc, char **argv) {
  argc = take_options(argc, argv);
  if (argc < 8 || argc > 10) {
    fprintf(stderr, "see the first lines of send_peer.c\n");
    return 2;
  }
  queues = atoi(argv[3]);
  body_size = atoi(argv[6]);
  int connection_count = atoi(argv[4]), in_flight = atoi(argv[5]);
  if (queues < 1 || queues > 1000 || connection_count < 1 || in_flight < connection_count || in_flight > 100000) {
    fprintf(stderr, "wanted 1 to 1000 queues and CONNECTIONS to 100000 requests in flight\n");
    return 2;
  }
  make_frame(argv[2]);
  int poll_fd = epoll_create1(0);
  struct connection *connections = calloc(connection_count, sizeof *connections);
  slots_max = in_flight / connection_count + 1;
  for (int i = 0; i < connection_count; i++) {
    connect_to(poll_fd, atoi(argv[1]), &connections[i], in_flight / connection_count + (i < in_flight % connection_count));
  }
  long count = atol(argv[7]), warm_up = argc > 8 ? atol(argv[8]) : 0;
  int phases = argc > 9 ? atoi(argv[9]) : 0;
  if (phases == 0) run(poll_fd, connections, connection_count, count, warm_up);
  for (int phase = 0; phase < phases; phase++) {
    char line[16];
    if (!fgets(line, sizeof line, stdin)) return 1;
    run(poll_fd, connections, connection_count, count, warm_up);
  }
  return 0;
}
