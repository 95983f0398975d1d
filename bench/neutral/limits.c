// What this machine can do at most, without any broker: the floor and the ceiling beside the benchmarks' figures. Also
// the busy loop that keeps a core awake. Prints a JSON line for each result.
//
// The near ends, which hold the clock; each says "listening PORT" on standard error and serves whoever connects:
//   limits send TOTAL CHUNK           TOTAL bytes in writes of CHUNK, until the far end has answered with a byte
//   limits ask COUNT SERIES           8 bytes there and back, COUNT times after each of SERIES lines on standard input
//
// The far ends, of which limits.ts has the same for a runtime; each says what CPU time it took:
//   limits receive PORT TOTAL CHUNK   reads TOTAL bytes, CHUNK at most at a time, throws them away, answers with a byte
//   limits store PORT TOTAL CHUNK FILE  the same, with a pwrite of each piece into FILE, not synced
//   limits answer PORT                sends back what comes
//
//   limits pwrite FILE TOTAL CHUNK    TOTAL bytes into FILE in pwrites of CHUNK, not synced
//   limits spin                       burns a core at the lowest priority until it is killed
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include "common.h"

static void move_all(int fd, char *bytes, size_t count, int writing) {
  while (count > 0) {
    ssize_t n = writing ? write(fd, bytes, count) : read(fd, bytes, count);
    if (n <= 0) die("move");
    bytes += n;
    count -= n;
  }
}

static struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int accept_one(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (bind(listener, (void *)&address, size) || listen(listener, 1)) die("listen");
  getsockname(listener, (void *)&address, &size);
  fprintf(stderr, "listening %d\n", ntohs(address.sin_port));
  int fd = accept(listener, NULL, NULL);
  if (fd < 0) die("accept");
  close(listener);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int connect_to(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in address = loopback(port);
  if (connect(fd, (void *)&address, sizeof address)) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int create(const char *path, int64_t total) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || ftruncate(fd, total)) die(path);
  return fd;
}

static int compare_double(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static int send_all(int64_t total, size_t chunk) {
  char *buffer = malloc(chunk), end;
  memset(buffer, 7, chunk);
  int fd = accept_one();
  double start = seconds();
  for (int64_t left = total; left > 0; left -= chunk) move_all(fd, buffer, left < (int64_t)chunk ? (size_t)left : chunk, 1);
  move_all(fd, &end, 1, 0);
  printf("{\"bytes\":%ld,\"seconds\":%.6f}\n", (long)total, seconds() - start);
  return 0;
}

// Into `path`, or nowhere.
static int receive(int port, int64_t total, size_t chunk, const char *path) {
  char *buffer = malloc(chunk), end = 0;
  int file = path ? create(path, total) : -1, fd = connect_to(port);
  for (int64_t at = 0; at < total;) {
    ssize_t n = read(fd, buffer, chunk);
    if (n <= 0) die("read");
    if (path && pwrite(file, buffer, n, at) != n) die("pwrite");
    at += n;
  }
  move_all(fd, &end, 1, 1);
  printf("{\"cpuSeconds\":%.3f}\n", cpu_seconds());
  if (path) unlink(path);
  return 0;
}

static int write_file(const char *path, int64_t total, size_t chunk) {
  char *buffer = malloc(chunk);
  memset(buffer, 7, chunk);
  int fd = create(path, total);
  double start = seconds();
  for (int64_t at = 0; at < total; at += chunk) {
    size_t size = total - at < (int64_t)chunk ? (size_t)(total - at) : chunk;
    if (pwrite(fd, buffer, size, at) != (ssize_t)size) die("pwrite");
  }
  double took = seconds() - start;
  unlink(path);
  printf("{\"bytes\":%ld,\"seconds\":%.6f,\"cpuSeconds\":%.3f}\n", (long)total, took, cpu_seconds());
  return 0;
}

static int ask(int count, int series) {
  char eight[8] = {0}, line[16];
  int fd = accept_one();
  double *times = malloc(sizeof(double) * count);
  while (series-- > 0) {
    if (!fgets(line, sizeof line, stdin)) return 1;
    for (int i = 0; i < count; i++) {
      double start = seconds();
      move_all(fd, eight, 8, 1);
      move_all(fd, eight, 8, 0);
      times[i] = (seconds() - start) * 1e6;
    }
    qsort(times, count, sizeof(double), compare_double);
    printf("{\"count\":%d,\"p50us\":%.1f,\"p99us\":%.1f,\"p999us\":%.1f}\n", count, times[count / 2], times[(int)(count * 0.99)], times[(int)(count * 0.999)]);
    fflush(stdout);
  }
  return 0;
}

static int answer(int port) {
  char eight[8];
  int fd = connect_to(port);
  for (ssize_t n; (n = read(fd, eight, 8)) > 0;) move_all(fd, eight, n, 1);
  printf("{\"cpuSeconds\":%.3f}\n", cpu_seconds());
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "send")) return send_all(atoll(argv[2]), atoll(argv[3]));
  if (argc == 4 && !strcmp(argv[1], "ask")) return ask(atoi(argv[2]), atoi(argv[3]));
  if (argc == 5 && !strcmp(argv[1], "receive")) return receive(atoi(argv[2]), atoll(argv[3]), atoll(argv[4]), NULL);
  if (argc == 6 && !strcmp(argv[1], "store")) return receive(atoi(argv[2]), atoll(argv[3]), atoll(argv[4]), argv[5]);
  if (argc == 3 && !strcmp(argv[1], "answer")) return answer(atoi(argv[2]));
  if (argc == 5 && !strcmp(argv[1], "pwrite")) return write_file(argv[2], atoll(argv[3]), atoll(argv[4]));
  if (argc == 2 && !strcmp(argv[1], "spin")) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); // never outlives the benchmark
    setpriority(PRIO_PROCESS, 0, 19);
    for (volatile uint64_t i = 0;; i++) {}
  }
  fprintf(stderr, "see the first lines of limits.c\n");
  return 2;
}
