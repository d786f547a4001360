/*
 * Faults and crashes at every operation. A fixed scenario (create, commit, commit, replace, compact) runs
 * again and again, each time with the n-th operation of one kind failing, or with the process ending there,
 * until it passes undisturbed. After each the store holds the state before or after the step that was hit,
 * whole and verified, and the same scenario run once more ends where an undisturbed one does.
 *
 * In CI allocations are failed at a stride; BC_LONG=1 fails each one.
 */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_values.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#define LEAKS() __lsan_do_recoverable_leak_check()
#else
#define LEAKS() 0
#endif

enum { STEPS = 5, CRASHED = 77 };

static const world_job k_a = { "a.nc", 0, 2, 0, 4, 0, 24, 0, false };
static const world_job k_b = { "b.nc", 0, 3, 0, 4, 24, 24, 0, false };
static const world_job k_c = { "c.nc", 0, 1, 0, 2, 0, 48, 1, true };

/* ---- the scenario ---- */

static bc_status create(const fixture *f, bc_err *err)
{
  const bc_status st = bc_store_create(f->path, &f->grid, err);
  return st == BC_E_EXISTS ? BC_OK : st;
}

static bc_status commit(const fixture *f, const world_job *j, bc_err *err)
{
  bc_store *store = NULL;
  BC_RET(bc_store_open(f->path, BC_OPEN_WRITE, &store, err));
  const bc_status st = world_commit(store, j, err);
  bc_store_close(store);
  return st;
}

static bc_status compact(const fixture *f, bc_err *err)
{
  bc_store *store = NULL;
  bc_compact_report rep;
  BC_RET(bc_store_open(f->path, BC_OPEN_WRITE, &store, err));
  const bc_status st = bc_store_compact(store, NULL, NULL, &rep, err);
  bc_store_close(store);
  return st;
}

static bc_status step(const fixture *f, int i, bc_err *err)
{
  switch (i) {
  case 0: return create(f, err);
  case 1: return commit(f, &k_a, err);
  case 2: return commit(f, &k_b, err);
  case 3: return commit(f, &k_c, err);
  default: return compact(f, err);
  }
}

/* Runs the steps in order; *reached is the one that failed, or STEPS. */
static bc_status scenario(const fixture *f, int *reached, bc_err *err)
{
  for (*reached = 0; *reached < STEPS; (*reached)++)
    BC_RET(step(f, *reached, err));
  return BC_OK;
}

/* ---- looking at the result ---- */

/* Values, variables and sources in one number; 0 when there is no store. */
static uint64_t state(const fixture *f)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  bc_verify_report rep;
  static world w;
  if (!bc_os_exists(f->path)) return 0;
  OK(bc_store_open(f->path, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &s, &err));
  OK(world_read(s, &w, NULL, &err));
  uint64_t h = bc_hash64(&w, sizeof w);
  for (uint16_t m = 0; m < bc_snapshot_modalities(s); m++)
    h = h * 31 + bc_hash64(bc_snapshot_modality(s, m)->name, strlen(bc_snapshot_modality(s, m)->name));
  for (uint32_t i = 0; i < bc_snapshot_source_limit(s); i++) {
    bc_source_rec src;
    OK(bc_snapshot_source(s, i, &src, &err));
    h = h * 31 + src.done + bc_hash64(src.name, strlen(src.name));
  }
  bc_snapshot_close(s);
  OK(bc_store_verify(st, true, NULL, NULL, NULL, &rep, &err));
  cr_assert_eq(rep.damaged, 0);
  bc_store_close(st);
  return h;
}

static fixture empty_place(void)
{
  fixture f = { .grid = { .cell = 0 } };
  bc_err err = { 0 };
  (void)snprintf(f.dir, sizeof f.dir, "%s/bc-crash-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  cr_assert_not_null(mkdtemp(f.dir));
  (void)snprintf(f.path, sizeof f.path, "%s/s.bcube", f.dir);
  OK(bc_grid_named("wgs84-2p5", &f.grid, &err));
  f.grid.cell = W_SIDE;
  return f;
}

/* States before and after each step of an undisturbed run. */
static void expected(uint64_t out[STEPS + 1])
{
  bc_err err = { 0 };
  fixture f = empty_place();
  out[0] = 0;
  for (int i = 0; i < STEPS; i++) {
    OK(step(&f, i, &err));
    out[i + 1] = state(&f);
  }
  cr_assert(out[1] != out[2] && out[2] != out[3] && out[3] != out[4]);
  cr_assert_eq(out[4], out[5], "compaction changes no value");
  fixture_remove(&f);
}

/* A run that ended in step `reached` left the state before or after it; the next run finishes. */
static void check_after(const fixture *f, int reached, bool done, const uint64_t want[STEPS + 1],
                        const char *what, int n)
{
  bc_err err = { 0 };
  const uint64_t got = state(f);
  int at = 0;
  if (done)
    cr_assert_eq(got, want[STEPS], "%s %d: the scenario passed, and its end is another", what, n);
  else
    cr_assert(got == want[reached] || got == want[reached + 1], "%s %d: step %d left a mix", what, n,
              reached);
  const bc_status st = scenario(f, &at, &err);
  cr_assert_eq(st, BC_OK, "%s %d: the next run, step %d: %s", what, n, at, err.msg);
  cr_assert_eq(state(f), want[STEPS], "%s %d: the next run ends elsewhere", what, n);
}

/* ---- faults ---- */

typedef struct fault {
  bc_fault_op op;
  int at, n, sys;
  bool crash, fired;
} fault;

static int on_op(void *ctx, bc_fault_op op)
{
  fault *f = ctx;
  if (op != f->op || f->n++ != f->at) return 0;
  if (f->crash) _exit(CRASHED);
  f->fired = true;
  return f->sys;
}

static bool on_alloc(void *ctx)
{
  fault *f = ctx;
  if (f->n++ != f->at) return false;
  if (f->crash) _exit(CRASHED);
  return f->fired = true;
}

static void arm(fault *f)
{
  if (f->op == BC_FAULT_ALLOC)
    bc_alloc_set_hook(on_alloc, f);
  else
    bc_os_set_fault(on_op, f);
}

static void disarm(void)
{
  bc_alloc_set_hook(NULL, NULL);
  bc_os_set_fault(NULL, NULL);
}

/* Every n of one kind. The message's status is the machine's, and the one that belongs to the cause. */
static void fail_each(bc_fault_op op, const char *what, int sys, bc_status code, int stride, int at_least)
{
  uint64_t want[STEPS + 1];
  int injected = 0, tolerated = 0;
  expected(want);
  for (int at = 0;; at += stride) {
    fixture f = empty_place();
    bc_err err = { 0 };
    fault c = { .op = op, .at = at, .sys = sys };
    int reached = 0;
    arm(&c);
    const bc_status st = scenario(&f, &reached, &err);
    disarm();
    if (st != BC_OK) {
      cr_assert(c.fired, "%s %d: step %d fails on its own: %s", what, at, reached, err.msg);
      cr_assert_eq(st, code, "%s %d: step %d gave %s: %s", what, at, reached, bc_status_name(st), err.msg);
      cr_assert(err.code == st && err.msg[0] != '\0' && strchr(err.msg, '\n') == NULL, "%s %d", what, at);
    }
    check_after(&f, reached, st == BC_OK, want, what, at);
    fixture_remove(&f);
    injected += c.fired;
    tolerated += c.fired && st == BC_OK;
    if (injected % 64 == 0) cr_assert_eq(LEAKS(), 0, "%s %d: a leak in one of the last 64 runs", what, at);
    if (!c.fired) break;
  }
  cr_assert_eq(LEAKS(), 0, "%s: a leak", what);
  cr_assert_geq(injected, at_least, "%s: only %d", what, injected);
  (void)fprintf(stderr, "faults injected: %-7s %5d (%d of them harmless), leaks %s\n", what, injected,
                tolerated, "none");
}

/* The same with the end of the process in place of the error. */
static void crash_each(bc_fault_op op, const char *what, int stride, int at_least)
{
  uint64_t want[STEPS + 1];
  int crashes = 0;
  expected(want);
  for (int at = 0;; at += stride) {
    fixture f = empty_place();
    int status = 0, pipes[2], reached = STEPS;
    cr_assert_eq(pipe(pipes), 0);
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
      bc_err err = { 0 };
      fault c = { .op = op, .at = at, .crash = true };
      arm(&c);
      for (int i = 0; i < STEPS; i++) {
        if (write(pipes[1], &i, sizeof i) != (ssize_t)sizeof i || step(&f, i, &err) != BC_OK) _exit(1);
      }
      _exit(0);
    }
    (void)close(pipes[1]);
    for (int i = 0; read(pipes[0], &i, sizeof i) == (ssize_t)sizeof i;)
      reached = i;
    (void)close(pipes[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == CRASHED),
              "%s %d: status %d", what, at, status);
    const bool passed = WEXITSTATUS(status) == 0;
    check_after(&f, reached, passed, want, what, at);
    fixture_remove(&f);
    if (passed) break;
    crashes++;
  }
  cr_assert_geq(crashes, at_least, "%s: only %d", what, crashes);
  (void)fprintf(stderr, "crashes survived: %-7s %5d\n", what, crashes);
}

static int stride_of(int in_ci)
{
  const char *l = getenv("BC_LONG");
  return l != NULL && l[0] != '\0' && strcmp(l, "0") != 0 ? 1 : in_ci;
}

Test(crash, open_fails) { fail_each(BC_FAULT_OPEN, "open", EMFILE, BC_E_IO, 1, 20); }
Test(crash, read_fails) { fail_each(BC_FAULT_READ, "read", EIO, BC_E_IO, 1, 5); }
Test(crash, write_fails) { fail_each(BC_FAULT_WRITE, "write", ENOSPC, BC_E_FULL, 1, 5); }
Test(crash, fsync_fails) { fail_each(BC_FAULT_FSYNC, "fsync", EIO, BC_E_IO, 1, 5); }
Test(crash, rename_fails) { fail_each(BC_FAULT_RENAME, "rename", EIO, BC_E_IO, 1, 4); }
Test(crash, unlink_fails) { fail_each(BC_FAULT_UNLINK, "unlink", EIO, BC_E_IO, 1, 0); }
Test(crash, mmap_fails) { fail_each(BC_FAULT_MMAP, "mmap", ENOMEM, BC_E_NOMEM, 1, 3); }
Test(crash, commit_fails) { fail_each(BC_FAULT_COMMIT, "commit", ENOSPC, BC_E_FULL, 1, 4); }
Test(crash, allocation_fails) { fail_each(BC_FAULT_ALLOC, "alloc", ENOMEM, BC_E_NOMEM, stride_of(5), 20); }

Test(crash, open_ends) { crash_each(BC_FAULT_OPEN, "open", 1, 20); }
Test(crash, read_ends) { crash_each(BC_FAULT_READ, "read", 1, 5); }
Test(crash, write_ends) { crash_each(BC_FAULT_WRITE, "write", 1, 5); }
Test(crash, fsync_ends) { crash_each(BC_FAULT_FSYNC, "fsync", 1, 5); }
Test(crash, rename_ends) { crash_each(BC_FAULT_RENAME, "rename", 1, 4); }
Test(crash, unlink_ends) { crash_each(BC_FAULT_UNLINK, "unlink", 1, 0); }
Test(crash, mmap_ends) { crash_each(BC_FAULT_MMAP, "mmap", 1, 3); }
Test(crash, commit_ends) { crash_each(BC_FAULT_COMMIT, "commit", 1, 4); }
Test(crash, allocation_ends) { crash_each(BC_FAULT_ALLOC, "alloc", stride_of(11), 20); }
