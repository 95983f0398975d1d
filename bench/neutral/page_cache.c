// The page cache of the replication benchmarks: makes a file cold and says whether it is. Prints one JSON line.
//
//   page_cache drop FILE [PID]    takes FILE out of the page cache, and before that out of PID's memory mappings, which
//                                 would hold it there; says how much of it still is in the cache
//   page_cache read FILE TOTAL    reads TOTAL bytes of FILE from its start in preads of 1 MiB, and times it
//
// What lies in a cache below the kernel (a disk's own, a virtual machine's host) is out of its reach.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "common.h"

// Asks the kernel to reclaim that process's mappings of the file.
static void page_out(const char *file, int pid) {
  char name[64], line[8192], path[4096];
  snprintf(name, sizeof name, "/proc/%d/maps", pid);
  FILE *maps = fopen(name, "r");
  int process = syscall(SYS_pidfd_open, pid, 0);
  if (!maps || process < 0) die("process");
  while (fgets(line, sizeof line, maps)) {
    uintptr_t start, end;
    if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %4095[^\n]", &start, &end, path) != 3 || strcmp(path, file)) continue;
    while (start < end) {
      struct iovec part = {(void *)start, end - start};
      ssize_t n = syscall(SYS_process_madvise, process, &part, 1, MADV_PAGEOUT, 0);
      if (n <= 0) die("process_madvise");
      start += n;
    }
  }
  fclose(maps);
  close(process);
}

static int64_t resident(int fd, int64_t size) {
  int64_t page = sysconf(_SC_PAGESIZE), pages = (size + page - 1) / page, count = 0;
  unsigned char *in = malloc(pages);
  void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED || mincore(map, size, in)) die("mincore");
  for (int64_t i = 0; i < pages; i++) count += in[i] & 1;
  munmap(map, size);
  free(in);
  return count * page;
}

static int drop(const char *given, int pid) {
  char *file = realpath(given, NULL);
  int fd = file ? open(file, O_RDONLY) : -1;
  struct stat s;
  if (fd < 0 || fstat(fd, &s)) die(given);
  if (fsync(fd)) die("fsync"); // dirty pages stay
  if (pid) page_out(file, pid);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  printf("{\"bytes\":%ld,\"residentBytes\":%ld}\n", (long)s.st_size, (long)resident(fd, s.st_size));
  return 0;
}

static int read_through(const char *file, int64_t total) {
  static char buffer[1 << 20];
  int fd = open(file, O_RDONLY);
  if (fd < 0) die(file);
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (int64_t at = 0; at < total;) {
    ssize_t n = pread(fd, buffer, total - at < (int64_t)sizeof buffer ? total - at : (int64_t)sizeof buffer, at);
    if (n <= 0) die("pread");
    at += n;
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("{\"bytes\":%ld,\"seconds\":%.6f}\n", (long)total, end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9);
  return 0;
}

int main(int argc, char **argv) {
  if ((argc == 3 || argc == 4) && !strcmp(argv[1], "drop")) return drop(argv[2], argc == 4 ? atoi(argv[3]) : 0);
  if (argc == 4 && !strcmp(argv[1], "read")) return read_through(argv[2], atoll(argv[3]));
  fprintf(stderr, "see the first lines of page_cache.c\n");
  return 2;
}
