// What this machine can do at most, without any broker: the floor and the ceiling beside the benchmarks' figures. Also
// the busy loop that keeps a core awake. Prints one JSON line.
//
//   limits tcp TOTAL CHUNK            TOTAL bytes over loopback TCP in writes of CHUNK
//   limits pwrite FILE TOTAL CHUNK    TOTAL bytes into FILE in pwrites of CHUNK, not synced
//   limits pingpong COUNT             8 bytes there and back over loopback TCP, COUNT times
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
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu_seconds(int who) {
  struct rusage u;
  getrusage(who, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void move_all(int fd, char *bytes, size_t count, int writing) {
  while (count > 0) {
    ssize_t n = writing ? write(fd, bytes, count) : read(fd, bytes, count);
    if (n <= 0) die("move");
    bytes += n;
    count -= n;
  }
}

// Two ends of a loopback connection, the far one in a child process. Returns ours; *child is 0 in the child.
static int pair(pid_t *child) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1, fd;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (void *)&address, size) || listen(listener, 1)) die("listen");
  getsockname(listener, (void *)&address, &size);
  *child = fork();
  if (*child == 0) {
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (void *)&address, size)) die("connect");
  } else {
    fd = accept(listener, NULL, NULL);
  }
  close(listener);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int compare_double(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static int tcp(int64_t total, size_t chunk) {
  char *buffer = malloc(chunk), end;
  memset(buffer, 7, chunk);
  pid_t child;
  int fd = pair(&child);
  if (child == 0) {
    for (int64_t left = total; left > 0;) {
      ssize_t n = read(fd, buffer, chunk);
      if (n <= 0) die("read");
      left -= n;
    }
    move_all(fd, &end, 1, 1);
    _exit(0);
  }
  double start = seconds();
  for (int64_t left = total; left > 0; left -= chunk) move_all(fd, buffer, left < (int64_t)chunk ? (size_t)left : chunk, 1);
  move_all(fd, &end, 1, 0);
  double took = seconds() - start;
  waitpid(child, NULL, 0);
  printf("{\"bytes\":%ld,\"seconds\":%.6f,\"senderCpuSeconds\":%.3f,\"readerCpuSeconds\":%.3f}\n", (long)total, took, cpu_seconds(RUSAGE_SELF), cpu_seconds(RUSAGE_CHILDREN));
  return 0;
}

static int write_file(const char *path, int64_t total, size_t chunk) {
  char *buffer = malloc(chunk);
  memset(buffer, 7, chunk);
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || ftruncate(fd, total)) die(path);
  double start = seconds();
  for (int64_t at = 0; at < total; at += chunk) {
    size_t size = total - at < (int64_t)chunk ? (size_t)(total - at) : chunk;
    if (pwrite(fd, buffer, size, at) != (ssize_t)size) die("pwrite");
  }
  double took = seconds() - start;
  unlink(path);
  printf("{\"bytes\":%ld,\"seconds\":%.6f,\"cpuSeconds\":%.3f}\n", (long)total, took, cpu_seconds(RUSAGE_SELF));
  return 0;
}

static int pingpong(int count) {
  char eight[8] = {0};
  pid_t child;
  int fd = pair(&child);
  if (child == 0) {
    for (int i = 0; i < count; i++) {
      move_all(fd, eight, 8, 0);
      move_all(fd, eight, 8, 1);
    }
    _exit(0);
  }
  double *times = malloc(sizeof(double) * count);
  for (int i = 0; i < count; i++) {
    double start = seconds();
    move_all(fd, eight, 8, 1);
    move_all(fd, eight, 8, 0);
    times[i] = (seconds() - start) * 1e6;
  }
  waitpid(child, NULL, 0);
  qsort(times, count, sizeof(double), compare_double);
  printf("{\"count\":%d,\"p50us\":%.1f,\"p99us\":%.1f,\"p999us\":%.1f}\n", count, times[count / 2], times[(int)(count * 0.99)], times[(int)(count * 0.999)]);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "tcp")) return tcp(atoll(argv[2]), atoll(argv[3]));
  if (argc == 5 && !strcmp(argv[1], "pwrite")) return write_file(argv[2], atoll(argv[3]), atoll(argv[4]));
  if (argc == 3 && !strcmp(argv[1], "pingpong")) return pingpong(atoi(argv[2]));
  if (argc == 2 && !strcmp(argv[1], "spin")) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); // never outlives the benchmark
    setpriority(PRIO_PROCESS, 0, 19);
    for (volatile uint64_t i = 0;; i++) {}
  }
  fprintf(stderr, "see the first lines of limits.c\n");
  return 2;
}
