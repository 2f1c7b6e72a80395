// The twin of src/bin/windowbench.rs with MPI_Win_allocate_shared: the same steps, the same numbers.
//
//     winbench window BYTES        create, fill, read, and the memory of all ranks
//     winbench many COUNT BYTES    so many windows at once
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rank, size;

static double slowest(double start) {
  double mine = (MPI_Wtime() - start) * 1e3, most;
  MPI_Allreduce(&mine, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return most;
}

static double begin(void) {
  MPI_Barrier(MPI_COMM_WORLD);
  return MPI_Wtime();
}

static double proportional_mb(void) {
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  char line[256];
  double kib = 0;
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "Pss: %lf", &kib) == 1) break;
  if (file) fclose(file);
  return kib * 1024 / 1e6;
}

static uint64_t sum(const uint64_t *words, size_t len) {
  uint64_t all = 0;
  for (size_t i = 0; i < len; i++) all += words[i];
  return all;
}

// Contiguous blocks, the first ones an element longer: the ranks' parts of `len`.
static size_t part_of(size_t len) {
  return len / (size_t)size + ((size_t)rank < len % (size_t)size);
}

static void fence(MPI_Win win) {
  MPI_Win_sync(win);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Win_sync(win);
}

static void *allocate(size_t bytes, MPI_Win *win) {
  void *mine;
  MPI_Win_allocate_shared((MPI_Aint)bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &mine, win);
  MPI_Win_lock_all(MPI_MODE_NOCHECK, *win);
  return mine;
}

static void *first_of(MPI_Win win) {
  MPI_Aint bytes;
  int unit;
  void *first;
  MPI_Win_shared_query(win, MPI_PROC_NULL, &bytes, &unit, &first);
  return first;
}

static void release(MPI_Win *win) {
  MPI_Win_unlock_all(*win);
  MPI_Win_free(win);
}

static int window(size_t bytes) {
  size_t len = bytes / 8, part = part_of(len);
  MPI_Win win;
  double start = begin();
  uint64_t *mine = allocate(part * 8, &win);
  double create = slowest(start);
  start = begin();
  for (size_t i = 0; i < part; i++) mine[i] = 7;
  double fill = slowest(start);
  fence(win);
  const uint64_t *all = first_of(win);
  start = begin();
  uint64_t first = sum(all, len);
  double first_read = slowest(start);
  start = begin();
  uint64_t again = sum(all, len);
  double read = slowest(start);
  double pss = proportional_mb(), total;
  MPI_Allreduce(&pss, &total, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  MPI_Barrier(MPI_COMM_WORLD);
  int wrong = first != 7 * len || again != first;
  if (rank == 0)
    printf("who=mpi ranks=%d bytes=%zu create_ms=%.1f fill_ms=%.1f both_gbps=%.2f first_read_ms=%.1f read_gbps=%.2f "
           "pss_mb=%.0f\n",
           size, bytes, create, fill, bytes / 1e6 / (create + fill), first_read, bytes * (double)size / 1e6 / read, total);
  release(&win);
  return wrong;
}

static int many(size_t count, size_t bytes) {
  MPI_Win *wins = malloc(count * sizeof *wins);
  char **parts = malloc(count * sizeof *parts);
  double start = begin();
  for (size_t i = 0; i < count; i++) parts[i] = allocate(part_of(bytes), &wins[i]);
  double create = slowest(start);
  for (size_t i = 0; i < count; i++) {
    memset(parts[i], (int)(unsigned char)i, part_of(bytes));
    fence(wins[i]);
  }
  start = begin();
  for (size_t i = 0; i < count; i++) release(&wins[i]);
  double dropped = slowest(start);
  if (rank == 0)
    printf("who=mpi ranks=%d windows=%zu bytes=%zu create_us=%.1f drop_us=%.1f\n", size, count, bytes, create * 1e3 / count,
           dropped * 1e3 / count);
  free(parts);
  free(wins);
  return 0;
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int wrong = 1;
  if (argc == 3 && strcmp(argv[1], "window") == 0) wrong = window(strtoull(argv[2], NULL, 10));
  if (argc == 4 && strcmp(argv[1], "many") == 0) wrong = many(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
  MPI_Finalize();
  return wrong;
}
