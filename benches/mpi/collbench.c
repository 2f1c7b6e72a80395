// The twin of src/bin/collbench.rs against the MPI interface: the same sequences of calls, values,
// loops, statistics and lines of JSON. Names and order follow the Rust modules, so that the two can
// be read side by side.
//
//     mpicc -O3 -o collbench collbench.c
//     mpirun -n 4 ./collbench suite [--dirty] TARGET_MS op:bytes ...
#define _GNU_SOURCE
#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static int rank, size;

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "collbench: %s%s\n", what, detail);
  MPI_Abort(MPI_COMM_WORLD, 2);
  exit(2);
}

// --- plan.rs: a case as a sequence of collectives -----------------------------------------------

enum { FORWARD_PASSES = 4, ITERATIONS = 256 };
enum element { F64, U64, I32, U8, ELEMENTS };
enum op { BARRIER, ALLREDUCE, ALLGATHERV, BROADCAST };
enum length { FIXED, CUTS };
enum share { UNIFORM, PER_PASS, PADDED };
enum root { ZERO, ROTATING };
enum work { NONE, EACH, ROOT };

static const size_t width[ELEMENTS] = {8, 8, 4, 1};
static MPI_Datatype datatype[ELEMENTS];

struct step {
  enum work work;
  enum op op;
  enum element element;
  MPI_Op reduce;
  enum length length;
  enum share share;
  enum root root;
  size_t elements;
  int *counts, *displs;  // of a gather
  size_t total, most;
};

struct plan {
  struct step *steps;
  size_t len;
  bool read;
};

static unsigned reverse_bits(unsigned char x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 8; bit++) reversed |= ((x >> bit) & 1u) << (7 - bit);
  return reversed;
}

static size_t length_at(const struct step *step, uint64_t turn) {
  return step->length == FIXED ? step->elements : 4 * (1 + reverse_bits(turn % ITERATIONS));
}

static size_t length_most(const struct step *step) {
  return step->length == FIXED ? step->elements : 4 * ITERATIONS;
}

static size_t passes(int of) { return FORWARD_PASSES / size + (of < FORWARD_PASSES % size); }

static size_t share_of(const struct step *step, int of) {
  switch (step->share) {
    case UNIFORM: return step->elements;
    case PER_PASS: return step->elements * passes(of);
    default: return step->elements * passes(0);
  }
}

static int root_at(const struct step *step, uint64_t turn) {
  return step->root == ZERO ? 0 : (int)(turn % (uint64_t)size);
}

static struct step *push(struct plan *plan, enum op op, enum element element) {
  plan->steps = realloc(plan->steps, (plan->len + 1) * sizeof *plan->steps);
  if (!plan->steps) fail("out of memory", "");
  struct step *step = &plan->steps[plan->len++];
  memset(step, 0, sizeof *step);
  step->op = op;
  step->element = element;
  return step;
}

static void push_reduce(struct plan *plan, enum element element, MPI_Op reduce, size_t elements) {
  struct step *step = push(plan, ALLREDUCE, element);
  step->reduce = reduce;
  step->elements = elements;
}

static void push_gather(struct plan *plan, enum element element, enum share share, size_t elements) {
  struct step *step = push(plan, ALLGATHERV, element);
  step->share = share;
  step->elements = elements;
}

// --- sddp.rs: one iteration of the solver, 6 T + 4 calls ------------------------------------------

enum { STATE = 4, CUT_BYTES = 29 + 8 * STATE, STAGE_STATISTICS = 13, WORKER_STATISTICS = 150 };

static void push_fine(struct plan *plan, enum work work) {
  push_reduce(plan, I32, MPI_MAX, 1);
  plan->steps[plan->len - 1].work = work;
}

static void sddp(struct plan *plan, size_t stages, bool work) {
  push_fine(plan, work ? EACH : NONE);
  push_reduce(plan, F64, MPI_SUM, STAGE_STATISTICS * stages);
  push_gather(plan, F64, PER_PASS, 1);
  push_reduce(plan, U64, MPI_MIN, 1);
  push_reduce(plan, U64, MPI_MAX, 1);
  for (size_t level = 1; level < stages; level++) {
    push_gather(plan, F64, PADDED, STATE);
    push_fine(plan, work ? EACH : NONE);
    push_gather(plan, U64, UNIFORM, 1);
    push_gather(plan, U8, PER_PASS, CUT_BYTES);
    if (level > 1) {
      push_reduce(plan, U64, MPI_SUM, 0);
      plan->steps[plan->len - 1].length = CUTS;
    }
    push_gather(plan, F64, UNIFORM, WORKER_STATISTICS);
  }
  push_reduce(plan, F64, MPI_SUM, 2);
  push_reduce(plan, F64, MPI_MAX, 1);
  push_fine(plan, work ? ROOT : NONE);
  push(plan, BROADCAST, F64)->elements = 1;
  push_reduce(plan, F64, MPI_MAX, 2);
  push_reduce(plan, F64, MPI_SUM, 1);
  if (plan->len != 6 * stages + 4) fail("an iteration has another number of calls", "");
}

// --- values.rs: what the ranks send ---------------------------------------------------------------

static uint64_t value(int of, size_t index, uint64_t seed) {
  uint64_t x = (uint64_t)index * 0x9e3779b97f4a7c15u ^ (uint64_t)of << 48 ^ seed * 0xbf58476d1ce4e5b9u;
  x ^= x >> 31;
  x *= 0x94d049bb133111ebu;
  x ^= x >> 29;
  return x & 0xfffff;
}

struct content {
  bool constant;
  uint64_t seed;
};

static uint64_t content_at(struct content content, int of, size_t index) {
  return value(of, content.constant ? 0 : index, content.seed);
}

#define FOR_EACH_TYPE(DO) \
  DO(F64, double, -7.5) DO(U64, uint64_t, UINT64_MAX) DO(I32, int32_t, -7) DO(U8, uint8_t, 0xA5)

static void content_write(struct content content, enum element element, void *send, size_t len) {
  switch (element) {
#define CASE(NAME, T, POISON)                                                           \
  case NAME: {                                                                          \
    T *to = send;                                                                       \
    if (content.constant) {                                                             \
      const T mine = (T)content_at(content, rank, 0);                                   \
      for (size_t i = 0; i < len; i++) to[i] = mine;                                    \
    } else {                                                                            \
      for (size_t i = 0; i < len; i++) to[i] = (T)content_at(content, rank, i);         \
    }                                                                                   \
    break;                                                                              \
  }
    FOR_EACH_TYPE(CASE)
#undef CASE
    default: break;
  }
}

static void poison(enum element element, void *recv, size_t len) {
  switch (element) {
#define CASE(NAME, T, POISON)                                 \
  case NAME: {                                                \
    T *to = recv;                                             \
    for (size_t i = 0; i < len; i++) to[i] = (T)(POISON);     \
    break;                                                    \
  }
    FOR_EACH_TYPE(CASE)
#undef CASE
    default: break;
  }
}

static bool sent_by(struct content content, enum element element, int of, const void *recv, size_t len) {
  bool right = true;
  switch (element) {
#define CASE(NAME, T, POISON)                                                                    \
  case NAME: {                                                                                   \
    const T *got = recv;                                                                         \
    for (size_t i = 0; i < len; i++) right &= got[i] == (T)content_at(content, of, i);           \
    break;                                                                                       \
  }
    FOR_EACH_TYPE(CASE)
#undef CASE
    default: break;
  }
  return right;
}

static bool reduced(struct content content, enum element element, MPI_Op op, const void *recv, size_t len) {
  bool right = true;
  switch (element) {
#define CASE(NAME, T, POISON)                                                          \
  case NAME: {                                                                         \
    const T *got = recv;                                                               \
    for (size_t i = 0; i < len; i++) {                                                 \
      T all = (T)content_at(content, 0, i);                                            \
      for (int of = 1; of < size; of++) {                                              \
        T next = (T)content_at(content, of, i);                                        \
        if (op == MPI_SUM) all = (T)(all + next);                                      \
        else if (op == MPI_MAX) all = next > all ? next : all;                         \
        else all = next < all ? next : all;                                            \
      }                                                                                \
      right &= got[i] == all;                                                          \
    }                                                                                  \
    break;                                                                             \
  }
    FOR_EACH_TYPE(CASE)
#undef CASE
    default: break;
  }
  return right;
}

// --- lane.rs: buffers, and the collectives on them ------------------------------------------------

struct lane {
  char *send, *recv;
  size_t send_len, recv_len;
};

static struct lane lanes[ELEMENTS];

static char *grow(char *old, size_t *len, size_t wanted, enum element element) {
  if (wanted <= *len && old) return old;
  if (wanted < *len) wanted = *len;
  char *grown = realloc(old, wanted * width[element] + 64);
  if (!grown) fail("out of memory", "");
  poison(element, grown, wanted);
  *len = wanted;
  return grown;
}

static void prepare(struct step *step) {
  size_t send = 0, recv = 0;
  switch (step->op) {
    case BARRIER: break;
    case ALLREDUCE: send = recv = length_most(step); break;
    case ALLGATHERV:
      step->counts = malloc(sizeof(int) * (size_t)size);
      step->displs = malloc(sizeof(int) * (size_t)size);
      if (!step->counts || !step->displs) fail("out of memory", "");
      for (int of = 0; of < size; of++) {
        size_t count = share_of(step, of);
        step->counts[of] = (int)count;
        step->displs[of] = (int)step->total;
        step->total += count;
        if (count > send) send = count;
      }
      recv = step->total;
      break;
    case BROADCAST: send = step->elements; break;
  }
  struct lane *lane = &lanes[step->element];
  lane->send = grow(lane->send, &lane->send_len, send, step->element);
  lane->recv = grow(lane->recv, &lane->recv_len, recv, step->element);
}

static size_t sent_len(const struct step *step, uint64_t turn) {
  switch (step->op) {
    case BARRIER: return 0;
    case ALLREDUCE: return length_at(step, turn);
    case ALLGATHERV: return (size_t)step->counts[rank];
    default: return step->elements;
  }
}

struct action {
  bool rewrite, call;
};

static inline void go(const struct step *step, struct action action, uint64_t turn) {
  struct lane *lane = &lanes[step->element];
  if (action.rewrite && step->op != BARRIER) {
    content_write((struct content){true, turn}, step->element, lane->send, sent_len(step, turn));
    __asm__ volatile("" ::"r"(lane->send) : "memory");
  }
  if (!action.call) return;
  MPI_Datatype type = datatype[step->element];
  switch (step->op) {
    case BARRIER: MPI_Barrier(MPI_COMM_WORLD); break;
    case ALLREDUCE:
      MPI_Allreduce(lane->send, lane->recv, (int)length_at(step, turn), type, step->reduce, MPI_COMM_WORLD);
      break;
    case ALLGATHERV:
      MPI_Allgatherv(lane->send, step->counts[rank], type, lane->recv, step->counts, step->displs, type,
                     MPI_COMM_WORLD);
      break;
    case BROADCAST:
      MPI_Bcast(lane->send, (int)step->elements, type, root_at(step, turn), MPI_COMM_WORLD);
      break;
  }
}

static bool holds(const struct step *step, struct content content, uint64_t turn) {
  const struct lane *lane = &lanes[step->element];
  bool right = true;
  switch (step->op) {
    case BARRIER: break;
    case ALLREDUCE:
      right = reduced(content, step->element, step->reduce, lane->recv, length_at(step, turn));
      break;
    case ALLGATHERV:
      for (int of = 0; of < size; of++)
        right &= sent_by(content, step->element, of,
                         lane->recv + (size_t)step->displs[of] * width[step->element],
                         (size_t)step->counts[of]);
      break;
    case BROADCAST:
      right = sent_by(content, step->element, root_at(step, turn), lane->send, step->elements);
      break;
  }
  return right;
}

// Reads an element of each cache line.
static void touch(const void *received, enum element element, size_t len) {
  size_t found = 0;
  switch (element) {
#define CASE(NAME, T, POISON)                                                                     \
  case NAME: {                                                                                    \
    const T *got = received;                                                                      \
    for (size_t i = 0; i < len; i += 64 / sizeof(T)) found += got[i] == (T)(POISON);              \
    break;                                                                                        \
  }
    FOR_EACH_TYPE(CASE)
#undef CASE
    default: break;
  }
  __asm__ volatile("" ::"r"(found));
}

static void read_received(const struct step *step, uint64_t turn) {
  const struct lane *lane = &lanes[step->element];
  switch (step->op) {
    case BARRIER: break;
    case ALLREDUCE: touch(lane->recv, step->element, length_at(step, turn)); break;
    case ALLGATHERV: touch(lane->recv, step->element, step->total); break;
    case BROADCAST: touch(lane->send, step->element, step->elements); break;
  }
}

// --- windows.rs: the same messages in windows, by hand --------------------------------------------
//
// What a program does with MPI_Win_allocate_shared: write, MPI_Win_sync, barrier, MPI_Win_sync, read.
// A gather and a broadcast have two copies that change places, so that one barrier does; a reduction
// has an operand of each rank and a result, of which each rank folds its share.

enum { FOLD_BLOCK = 1024 };

struct window {
  bool used;
  enum op op;
  size_t bytes;
  MPI_Win windows[2];
  char *all[2];  // of each window, where rank 0's part begins
  int written;   // of the two copies of an exchange
  size_t first, last;  // my share of the elements of a reduction
};

static struct window window;

static void allocate_shared(int which, size_t bytes) {
  void *mine;
  MPI_Win_allocate_shared((MPI_Aint)bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &mine, &window.windows[which]);
  memset(mine, 0, bytes);
  MPI_Aint length;
  int unit;
  MPI_Win_shared_query(window.windows[which], 0, &length, &unit, &window.all[which]);
  MPI_Win_lock_all(MPI_MODE_NOCHECK, window.windows[which]);
}

static void window_open(enum op op, size_t bytes) {
  window = (struct window){.used = true, .op = op, .bytes = bytes};
  allocate_shared(0, bytes);
  if (op == ALLREDUCE) {
    size_t len = bytes / 8, each = len / (size_t)size, longer = len % (size_t)size, me = (size_t)rank;
    window.first = me * each + (me < longer ? me : longer);
    window.last = window.first + each + (me < longer);
    allocate_shared(1, (window.last - window.first) * 8);
  } else {
    allocate_shared(1, bytes);
  }
}

static void window_close(void) {
  if (!window.used) return;
  for (int which = 0; which < 2; which++) {
    MPI_Win_unlock_all(window.windows[which]);
    MPI_Win_free(&window.windows[which]);
  }
  window.used = false;
}

static void window_write(struct content content) {
  if (window.op == ALLREDUCE)
    content_write(content, F64, window.all[0] + (size_t)rank * window.bytes, window.bytes / 8);
  else
    content_write(content, U8, window.all[window.written] + (size_t)rank * window.bytes, window.bytes);
}

static void window_fence(MPI_Win win) {
  MPI_Win_sync(win);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Win_sync(win);
}

// In rank order, a block at a time.
static void window_fold(void) {
  double *result = (double *)window.all[1];
  for (size_t start = window.first; start < window.last; start += FOLD_BLOCK) {
    size_t end = start + FOLD_BLOCK < window.last ? start + FOLD_BLOCK : window.last;
    const double *first = (const double *)window.all[0];
    if (size == 1) {
      memcpy(result + start, first + start, (end - start) * 8);
      continue;
    }
    const double *second = (const double *)(window.all[0] + window.bytes);
    for (size_t i = start; i < end; i++) result[i] = first[i] + second[i];
    for (int of = 2; of < size; of++) {
      const double *next = (const double *)(window.all[0] + (size_t)of * window.bytes);
      for (size_t i = start; i < end; i++) result[i] += next[i];
    }
  }
}

static void window_call(void) {
  if (window.op == ALLREDUCE) {
    window_fence(window.windows[0]);
    window_fold();
    window_fence(window.windows[1]);
  } else {
    window_fence(window.windows[window.written]);
    window.written = !window.written;
  }
}

static const char *window_shown(uint64_t turn, size_t *bytes) {
  const char *shown = window.all[!window.written];
  *bytes = window.bytes;
  if (window.op == BROADCAST) return shown + turn % (uint64_t)size * window.bytes;
  *bytes *= (size_t)size;
  return shown;
}

static bool window_holds(struct content content, uint64_t turn) {
  if (window.op == ALLREDUCE) return reduced(content, F64, MPI_SUM, window.all[1], window.bytes / 8);
  size_t bytes;
  const char *shown = window_shown(turn, &bytes);
  if (window.op == BROADCAST) return sent_by(content, U8, (int)(turn % (uint64_t)size), shown, bytes);
  bool right = true;
  for (int of = 0; of < size; of++)
    right &= sent_by(content, U8, of, shown + (size_t)of * window.bytes, window.bytes);
  return right;
}

static void window_turn(struct action action, bool read, uint64_t turn) {
  if (action.rewrite) window_write((struct content){true, turn});
  if (!action.call) return;
  window_call();
  if (!read) return;
  size_t bytes;
  if (window.op == ALLREDUCE) {
    touch(window.all[1], F64, window.bytes / 8);
  } else {
    const char *shown = window_shown(turn, &bytes);
    touch(shown, U8, bytes);
  }
}

// --- run.rs: the loops ----------------------------------------------------------------------------

enum { SAMPLES = 25, FEWEST_SAMPLES = 5, MEAN_WORK = 50000 };

struct runner {
  struct plan plan;
  uint64_t turn;
};

static double monotonic(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double cpu_time(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static uint64_t amount(enum work work, size_t place, uint64_t turn) {
  switch (work) {
    case NONE: return 0;
    case EACH: return value(rank, place, turn) * (2 * MEAN_WORK) >> 20;
    default: return rank == 0 ? 2 * MEAN_WORK : 0;
  }
}

static void compute(uint64_t steps) {
  uint64_t x = steps;
  __asm__ volatile("" : "+r"(x));
  for (uint64_t i = 0; i < steps; i++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    x ^= x >> 29;
  }
  __asm__ volatile("" : "+r"(x));
}

static inline void take_turn(struct runner *runner, struct action action) {
  uint64_t turn = runner->turn++;
  if (window.used) {
    window_turn(action, runner->plan.read, turn);
    return;
  }
  for (size_t place = 0; place < runner->plan.len; place++) {
    const struct step *step = &runner->plan.steps[place];
    if (action.call && step->work != NONE) compute(amount(step->work, place, turn));
    go(step, action, turn);
    if (action.call && runner->plan.read) read_received(step, turn);
  }
}

static double batch(struct runner *runner, uint64_t iters, struct action action) {
  MPI_Barrier(MPI_COMM_WORLD);
  double start = monotonic();
  for (uint64_t i = 0; i < iters; i++) take_turn(runner, action);
  return monotonic() - start;
}

static bool all_agree(bool right) {
  uint64_t mine = right, all = 0;
  MPI_Allreduce(&mine, &all, 1, MPI_UINT64_T, MPI_MIN, MPI_COMM_WORLD);
  return all == 1;
}

static bool barrier_holds(int late) {
  if (rank == late) nanosleep(&(struct timespec){0, 1000000}, NULL);
  double came = monotonic();
  MPI_Barrier(MPI_COMM_WORLD);
  double left = monotonic(), last, first;
  MPI_Allreduce(&came, &last, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  MPI_Allreduce(&left, &first, 1, MPI_DOUBLE, MPI_MIN, MPI_COMM_WORLD);
  return first >= last;
}

static bool verify(struct runner *runner, uint64_t seed) {
  bool right = true;
  for (int k = 0; k < size; k++) {
    uint64_t turn = runner->turn++;
    if (window.used) {
      struct content content = {false, (seed << 40) + (turn << 16)};
      window_write(content);
      window_call();
      right &= window_holds(content, turn);
      continue;
    }
    for (size_t place = 0; place < runner->plan.len; place++) {
      const struct step *step = &runner->plan.steps[place];
      if (step->op == BARRIER) {
        right &= barrier_holds((int)(turn % (uint64_t)size));
        continue;
      }
      struct content content = {false, (seed << 40) + (turn << 16) + place};
      struct lane *lane = &lanes[step->element];
      content_write(content, step->element, lane->send, sent_len(step, turn));
      poison(step->element, lane->recv, lane->recv_len);
      go(step, (struct action){false, true}, turn);
      right &= holds(step, content, turn);
    }
  }
  return all_agree(right);
}

static bool verify_last(struct runner *runner) {
  uint64_t turn = runner->turn - 1;
  struct content content = {true, turn};
  bool right = true;
  if (window.used) right = window_holds(content, turn);
  else if (runner->plan.len == 1) right = holds(&runner->plan.steps[0], content, turn);
  return all_agree(right);
}

static void calibrate(struct runner *runner, double target, struct action action, uint64_t *iters, int *samples) {
  uint64_t n = 1;
  batch(runner, 1, action);
  double mean, fastest = 0;
  int again = 0;
  for (;;) {
    double mine = batch(runner, n, action), slowest;
    MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    if (slowest >= target / 4 || n >= 1 << 20) {
      if (again == 0 || slowest < fastest) fastest = slowest;
      if (++again == 3) {
        mean = fastest / (double)n;
        break;
      }
    } else if (again == 0) {
      n *= 4;
    } else {
      mean = slowest / (double)n;
      break;
    }
  }
  double wanted = target / (mean > 1e-3 ? mean : 1e-3);
  *iters = (uint64_t)(wanted < 1 ? 1 : wanted > 1e6 ? 1e6 : wanted);
  double affordable = 100 * target / (mean * (double)*iters);
  *samples = affordable < FEWEST_SAMPLES ? FEWEST_SAMPLES : affordable > SAMPLES ? SAMPLES : (int)affordable;
}

// --- stats.rs -------------------------------------------------------------------------------------

struct summary {
  double min, median, p99;
};

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static struct summary summarize(double *samples, size_t len) {
  qsort(samples, len, sizeof *samples, ascending);
  return (struct summary){samples[0], (samples[(len - 1) / 2] + samples[len / 2]) / 2,
                          samples[(len * 99 + 99) / 100 - 1]};
}

// --- settling -------------------------------------------------------------------------------------

// Time for the scheduler to spread the ranks over the cores. Ours spread themselves and have no such time.
static void settle(void) {
  double start = MPI_Wtime(), shortest = 0;
  while (shortest < 0.1) {
    for (int i = 0; i < 16; i++) MPI_Barrier(MPI_COMM_WORLD);
    double mine = MPI_Wtime() - start;
    MPI_Allreduce(&mine, &shortest, 1, MPI_DOUBLE, MPI_MIN, MPI_COMM_WORLD);
  }
}

// --- cases.rs, and the main program ---------------------------------------------------------------

struct named {
  const char *name;
  size_t bytes;
};

static struct named parse(const char *text, struct plan *plan) {
  const char *colon = strchr(text, ':');
  char *end = NULL;
  size_t number = colon ? strtoull(colon + 1, &end, 10) : 0;
  static char name[64];
  size_t len = colon ? (size_t)(colon - text) : strlen(text);
  if (len >= sizeof name) fail("cannot measure ", text);
  memcpy(name, text, len);
  name[len] = 0;
  if (colon && (end == colon + 1 || *end)) fail("what follows the colon is not a number: ", text);
  if (!strcmp(name, "barrier")) {
    push(plan, BARRIER, U8);
    return (struct named){name, 0};
  }
  if (!colon) fail("expected op:bytes: ", text);
  if (number >= 2 && (!strcmp(name, "sddp") || !strcmp(name, "sddp-work"))) {
    sddp(plan, number, !strcmp(name, "sddp-work"));
    return (struct named){text, 0};
  }
  bool in_window = !strncmp(name, "win-", 4);
  const char *op = name + (in_window ? 4 : 0);
  size_t rest = strlen(op);
  plan->read = rest > 5 && !strcmp(op + rest - 5, "-read");
  if (plan->read) rest -= 5;
#define IS(NAME) (rest == strlen(NAME) && !strncmp(op, NAME, rest))
  enum op which;
  if (IS("allreduce") && number > 0 && number % 8 == 0) which = ALLREDUCE;
  else if (IS("allgatherv")) which = ALLGATHERV;
  else if (IS("broadcast")) which = BROADCAST;
  else fail("cannot measure ", text), which = BARRIER;
#undef IS
  if (in_window) {
    window_open(which, number);
  } else if (which == ALLREDUCE) {
    push_reduce(plan, F64, MPI_SUM, number / 8);
  } else if (which == ALLGATHERV) {
    push_gather(plan, U8, UNIFORM, number);
  } else {
    struct step *step = push(plan, BROADCAST, U8);
    step->elements = number;
    step->root = ROTATING;
  }
  return (struct named){name, number};
}

static bool measure(const char *text, bool dirty, double target) {
  struct runner runner = {0};
  struct named named = parse(text, &runner.plan);
  memset(lanes, 0, sizeof lanes);
  for (size_t place = 0; place < runner.plan.len; place++) prepare(&runner.plan.steps[place]);

  bool verified = verify(&runner, 1);
  struct action action = {dirty, true}, only_rewrite = {true, false};
  uint64_t iters;
  int samples;
  calibrate(&runner, target, action, &iters, &samples);
  double calls[SAMPLES] = {0}, rewrites[SAMPLES] = {0}, cpu = 0;
  for (int sample = 0; sample < samples; sample++) {
    if (dirty) rewrites[sample] = batch(&runner, iters, only_rewrite) / (double)iters;
    double before = cpu_time();
    calls[sample] = batch(&runner, iters, action) / (double)iters;
    cpu += cpu_time() - before;
  }
  if (dirty) verified &= verify_last(&runner);
  verified &= verify(&runner, 2);

  double most_calls[SAMPLES], most_rewrites[SAMPLES], all_cpu;
  MPI_Allreduce(calls, most_calls, samples, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  MPI_Allreduce(rewrites, most_rewrites, samples, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  MPI_Allreduce(&cpu, &all_cpu, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  double rewrite = summarize(most_rewrites, (size_t)samples).median;
  struct summary summary = summarize(most_calls, (size_t)samples);
  if (rank == 0) {
    printf("{\"op\":\"%s\",\"ranks\":%d,\"bytes\":%zu,\"mode\":\"%s\",\"iters\":%llu,\"samples\":%d,"
           "\"min_us\":%.6f,\"median_us\":%.6f,\"p99_us\":%.6f,\"rewrite_us\":%.6f,\"cpu_us\":%.6f,"
           "\"verified\":%s}\n",
           named.name, size, named.bytes, dirty ? "dirty" : "reused", (unsigned long long)iters, samples,
           summary.min - rewrite, summary.median - rewrite, summary.p99 - rewrite, rewrite,
           all_cpu / ((double)samples * (double)iters), verified ? "true" : "false");
    fflush(stdout);
  }
  window_close();
  for (size_t place = 0; place < runner.plan.len; place++) {
    free(runner.plan.steps[place].counts);
    free(runner.plan.steps[place].displs);
  }
  free(runner.plan.steps);
  for (int element = 0; element < ELEMENTS; element++) {
    free(lanes[element].send);
    free(lanes[element].recv);
  }
  return verified;
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  datatype[F64] = MPI_DOUBLE;
  datatype[U64] = MPI_UINT64_T;
  datatype[I32] = MPI_INT32_T;
  datatype[U8] = MPI_BYTE;
  int next = 2;
  bool dirty = argc > next && !strcmp(argv[next], "--dirty");
  next += dirty;
  if (argc < next + 2 || strcmp(argv[1], "suite")) fail("usage: suite [--dirty] TARGET_MS op:bytes ...", "");
  double target = atof(argv[next++]) * 1e3;
  settle();
  bool verified = true;
  for (; next < argc; next++) verified &= measure(argv[next], dirty, target);
  MPI_Finalize();
  return verified ? 0 : 1;
}
