/*
 * Many processes on one store: whole snapshots beside a writer, refused writers, killed readers, hundreds of
 * readers, forks, and readers in another pid namespace. BC_LONG=1: 60 s beside the writer instead of 4.
 */
#define _GNU_SOURCE 1 /* unshare */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store_values.h"

enum { READERS = 8, KILLS = 200, CROWD = 300 };

static double seconds(void)
{
  const char *l = getenv("BC_LONG");
  return l != NULL && l[0] != '\0' && strcmp(l, "0") != 0 ? 60.0 : 4.0;
}

/* Everything replaced together by values of one version. */
static bc_status replace_all(bc_store *st, int version, bc_err *err)
{
  char name[32];
  (void)snprintf(name, sizeof name, "v%d.nc", version);
  const world_job j = { name, 0, W_VARS, 0, W_CELLS, 0, 6, version, true };
  return world_commit(st, &j, err);
}

static fixture make(void)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  fixture f = fixture_make(W_SIDE);
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  OK(replace_all(st, 0, &err));
  bc_store_close(st);
  return f;
}

/* The version that all values of a snapshot have, or -1 when they are of more than one. */
static int version_of(const world *w)
{
  float first = 0;
  memcpy(&first, &w->bits[0][2][0][0], sizeof first);
  const int version = (int)((first - 270.0f) / 8.0f);
  for (int v = 0; v < W_VARS; v++)
    for (int c = 0; c < W_CELLS; c++)
      for (int h = 0; h < 6; h++)
        for (int i = 0; i < W_NODES; i++) {
          const float want = world_value(v, c, h, i, version);
          uint32_t bits = 0;
          memcpy(&bits, &want, sizeof bits);
          if (w->bits[v][c][h][i] != bits) return -1;
        }
  return version;
}

/* 0, or what is wrong, for an exit code. */
static int read_version(bc_store *st, int *version, bc_err *err)
{
  static world w;
  bc_snapshot *s = NULL;
  bc_status got = BC_OK;
  for (int i = 0; i <= BC_STALE_RETRIES; i++) {
    got = bc_snapshot_open(st, &s, err);
    if (got == BC_OK) got = world_read(s, &w, NULL, err);
    bc_snapshot_close(s);
    s = NULL;
    if (!bc_is_stale(got, err)) break;
  }
  if (got != BC_OK) {
    (void)fprintf(stderr, "reader %ld: %s: %s\n", (long)getpid(), bc_status_name(got), err->msg);
    return 2;
  }
  *version = version_of(&w);
  return *version < 0 ? 3 : 0;
}

/* A process that runs f(arg) and exits with what it returns. */
static pid_t start(int (*f)(void *), void *arg)
{
  const pid_t pid = fork();
  cr_assert_geq(pid, 0, "fork: %d", errno);
  if (pid == 0) _exit(f(arg));
  return pid;
}

static int wait_for(pid_t pid)
{
  int status = 0;
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* ---- one writer, eight readers ---- */

typedef struct race {
  const fixture *f;
  int pipe, commits; /* of the readers: snapshots looked at, different ones; of the writer: commits */
  double until;
} race;

static int reader(void *arg)
{
  const race *r = arg;
  bc_err err = { 0 };
  bc_store *st = NULL;
  int n = 0, last = -1, version = 0, different = 0;
  if (bc_store_open(r->f->path, BC_OPEN_READ, &st, &err) != BC_OK) return 1;
  while (bc_os_monotonic() < r->until) {
    const int bad = read_version(st, &version, &err);
    if (bad != 0) return bad;
    if (version < last) { /* time runs one way */
      (void)fprintf(stderr, "reader %ld: version %d, after %d\n", (long)getpid(), version, last);
      return 4;
    }
    different += version != last;
    last = version;
    n++;
  }
  bc_store_close(st);
  const int out[2] = { n, different };
  return write(r->pipe, out, sizeof out) == (ssize_t)sizeof out ? 0 : 5;
}

static int writer(void *arg)
{
  const race *r = arg;
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_compact_report rep;
  int version = 1;
  if (bc_store_open(r->f->path, BC_OPEN_WRITE, &st, &err) != BC_OK) return 1;
  for (; bc_os_monotonic() < r->until; version++) {
    if (replace_all(st, version, &err) != BC_OK) return 2;
    if (version % 10 == 0 && bc_store_compact(st, NULL, NULL, &rep, &err) != BC_OK) return 3;
  }
  bc_store_close(st);
  return write(r->commits, &version, sizeof version) == (ssize_t)sizeof version ? 0 : 5;
}

Test(processes, readers_beside_a_writer_see_whole_snapshots, .timeout = 300)
{
  fixture f = make();
  int pipes[2], counts[2], seen[2], snapshots = 0, commits = 0;
  cr_assert(pipe(pipes) == 0 && pipe(counts) == 0);
  race r = { &f, pipes[1], counts[1], bc_os_monotonic() + seconds() };
  pid_t pid[READERS];
  const pid_t w = start(writer, &r);
  for (int i = 0; i < READERS; i++)
    pid[i] = start(reader, &r);
  const int rc = wait_for(w);
  cr_assert_eq(rc, 0, "the writer ends with %d", rc);
  cr_assert_eq(read(counts[0], &commits, sizeof commits), (ssize_t)sizeof commits);
  for (int i = 0; i < READERS; i++) {
    const int got = wait_for(pid[i]);
    cr_assert_eq(got, 0, "reader %d ends with %d", i, got);
    cr_assert_eq(read(pipes[0], seen, sizeof seen), (ssize_t)sizeof seen);
    snapshots += seen[0];
    cr_expect_gt(seen[1], 1, "a reader saw %d versions only", seen[1]);
  }
  (void)fprintf(stderr, "commits: %d, whole snapshots seen by %d readers: %d\n", commits, READERS, snapshots);
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_verify_report rep;
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_store_verify(st, true, NULL, NULL, NULL, &rep, &err));
  cr_expect_eq(rep.damaged, 0);
  bc_store_close(st);
  fixture_remove(&f);
}

/* ---- holding and killing ---- */

typedef struct holder {
  const fixture *f;
  unsigned flags;
  int ready;      /* one byte when it holds what it is to hold: '+', or '-' when it was refused */
  int go;         /* end of file: read again, and exit */
  bool namespace; /* in a pid namespace of its own, where its number is 1 */
} holder;

/* Opens, takes a snapshot, says so, waits, reads from the snapshot that it holds. */
static int hold_here(const holder *h)
{
  static world w;
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  char c = '+';
  bc_status got = bc_store_open(h->f->path, h->flags, &st, &err);
  if (got == BC_OK) got = bc_snapshot_open(st, &s, &err);
  if (got != BC_OK) {
    const bool said = got == BC_E_BUSY && strstr(err.msg, "container") != NULL;
    bc_store_close(st);
    c = '-';
    return write(h->ready, &c, 1) == 1 && said ? 0 : 10;
  }
  const uint64_t id = bc_snapshot_id(s);
  if (write(h->ready, &c, 1) != 1 || read(h->go, &c, 1) != 0) return 11;
  got = world_read(s, &w, NULL, &err);
  if (got != BC_OK && !bc_is_stale(got, &err)) return 12;
  if (got == BC_OK && version_of(&w) != (int)id - 1) return 13;
  bc_snapshot_close(s);
  bc_store_close(st);
  return 0;
}

static int hold(void *arg)
{
  const holder *h = arg;
  int status = 0;
  if (!h->namespace) return hold_here(h);
  if (unshare(CLONE_NEWPID) != 0) return 20;
  const pid_t pid = fork();
  if (pid == 0) _exit(getpid() == 1 ? hold_here(h) : 21);
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 22;
}

typedef struct group {
  int ready[2], go[2];
} group;

static group make_group(void)
{
  group g;
  cr_assert(pipe(g.ready) == 0 && pipe(g.go) == 0);
  return g;
}

static int hold_in(void *arg)
{
  const void **a = arg;
  const group *g = a[0];
  const holder *h = a[1];
  (void)close(g->go[1]); /* or its end would never come */
  return hold(&(holder){ h->f, h->flags, g->ready[1], g->go[0], h->namespace });
}

static pid_t add(const group *g, const fixture *f, unsigned flags, bool in_namespace)
{
  const holder h = { f, flags, 0, 0, in_namespace };
  const void *a[] = { g, &h };
  return start(hold_in, a);
}

static char answer(const group *g)
{
  char c = 0;
  cr_assert_eq(read(g->ready[0], &c, 1), 1);
  return c;
}

static void end_group(group *g)
{
  (void)close(g->go[1]);
  (void)close(g->go[0]);
  (void)close(g->ready[0]);
  (void)close(g->ready[1]);
}

Test(processes, a_second_writer_is_refused_with_the_pid_of_the_first)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  char text[24];
  fixture f = make();
  group g = make_group();
  const pid_t pid = add(&g, &f, BC_OPEN_WRITE, false);
  cr_assert_eq(answer(&g), '+');
  FAILS(BC_E_BUSY, bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  (void)snprintf(text, sizeof text, "process %ld", (long)pid);
  cr_expect_not_null(strstr(err.msg, text), "%s", err.msg);
  (void)kill(pid, SIGKILL);
  cr_expect_eq(wait_for(pid), 256 + SIGKILL);
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err)); /* a lock dies with its holder */
  OK(replace_all(st, 1, &err));
  bc_store_close(st);
  end_group(&g);
  fixture_remove(&f);
}

static long long index_bytes(const fixture *f)
{
  struct stat sb;
  char path[160];
  (void)snprintf(path, sizeof path, "%s/index/data.mdb", f->path);
  cr_assert_eq(stat(path, &sb), 0);
  return (long long)sb.st_size;
}

/* The slot of a killed reader pins its snapshot: unless it is swept, the index grows with each commit. */
Test(processes, killed_readers_are_swept, .timeout = 300)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  fixture f = make();
  int version = 1;
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  for (; version <= 20; version++)
    OK(replace_all(st, version, &err));
  const long long before = index_bytes(&f);
  for (int i = 0; i < KILLS; i++) {
    group g = make_group();
    const pid_t pid = add(&g, &f, BC_OPEN_READ, false);
    cr_assert_eq(answer(&g), '+');
    (void)kill(pid, SIGKILL);
    cr_assert_eq(wait_for(pid), 256 + SIGKILL);
    end_group(&g);
    if (i % 4 == 0) OK(replace_all(st, version++, &err));
  }
  const long long after = index_bytes(&f);
  cr_expect_lt(after, 3 * before + 65536, "the index grew from %lld to %lld bytes: dead readers pin it",
               before, after);
  (void)fprintf(stderr, "readers killed: %d, index from %lld to %lld bytes over %d commits\n", KILLS, before,
                after, version);
  bc_store_close(st);
  fixture_remove(&f);
}

Test(processes, three_hundred_readers_at_once, .timeout = 300)
{
  fixture f = make();
  group g = make_group();
  pid_t pid[CROWD];
  for (int i = 0; i < CROWD; i++)
    pid[i] = add(&g, &f, BC_OPEN_READ, false);
  for (int i = 0; i < CROWD; i++)
    cr_assert_eq(answer(&g), '+');
  (void)close(g.go[1]); /* all hold a snapshot now: all read */
  g.go[1] = -1;
  for (int i = 0; i < CROWD; i++)
    cr_assert_eq(wait_for(pid[i]), 0);
  (void)fprintf(stderr, "readers at once: %d\n", CROWD);
  end_group(&g);
  fixture_remove(&f);
}

/* ---- fork ---- */

static int child_of_a_handle(void *arg)
{
  bc_store *st = arg;
  bc_err err = { 0 };
  bc_snapshot *s = NULL;
  bc_verify_report rep;
  bc_compact_report crep;
  if (bc_snapshot_open(st, &s, &err) != BC_E_INVAL || strstr(err.msg, "fork") == NULL) return 1;
  if (bc_store_verify(st, false, NULL, NULL, NULL, &rep, &err) != BC_E_INVAL) return 2;
  if (bc_store_compact(st, NULL, NULL, &crep, &err) != BC_E_INVAL) return 3;
  bc_store_close(st); /* harmless: locks and snapshots are the parent's */
  return 0;
}

Test(processes, a_fork_refuses_and_does_not_take_the_parents_lock_away)
{
  bc_err err = { 0 };
  bc_store *st = NULL, *second = NULL;
  bc_snapshot *s = NULL;
  fixture f = make();
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  OK(bc_snapshot_open(st, &s, &err));
  cr_assert_eq(wait_for(start(child_of_a_handle, st)), 0);
  static world w;
  OK(world_read(s, &w, NULL, &err));
  cr_expect_eq(version_of(&w), 0);
  bc_snapshot_close(s);
  FAILS(BC_E_BUSY, bc_store_open(f.path, BC_OPEN_WRITE, &second, &err));
  OK(replace_all(st, 1, &err));
  bc_store_close(st);
  fixture_remove(&f);
}

/* ---- another pid namespace, as containers have ---- */

static int can_unshare(void *arg)
{
  (void)arg;
  return unshare(CLONE_NEWPID) == 0 ? 0 : 1;
}

/*
 * LMDB knows its readers by pid and by a lock on the byte of that number, which all namespaces see. So a
 * reader in a container is alive to everybody, is not swept, and keeps its snapshot. Two processes of one
 * number cannot both have the lock: the second is refused, in words, and does not disturb the first.
 */
Test(processes, readers_in_other_pid_namespaces, .timeout = 120)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  fixture f = make();
  if (wait_for(start(can_unshare, NULL)) != 0) {
    fixture_remove(&f);
    cr_skip_test("PID NAMESPACES NOT TESTED: unshare is not allowed here");
  }
  group a = make_group(), b = make_group();
  const pid_t first = add(&a, &f, BC_OPEN_READ, true);
  cr_assert_eq(answer(&a), '+');
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  for (int v = 1; v <= 10; v++)
    OK(replace_all(st, v, &err)); /* each sweeps dead readers */
  const pid_t second = add(&b, &f, BC_OPEN_READ, true);
  cr_expect_eq(answer(&b), '-', "two readers of one number");
  cr_expect_eq(wait_for(second), 0, "refused, but not in words");
  for (int v = 11; v <= 20; v++)
    OK(replace_all(st, v, &err));
  end_group(&a);
  cr_expect_eq(wait_for(first), 0, "the first reads what it held, after twenty commits and a refused second");
  group c = make_group();
  const pid_t third = add(&c, &f, BC_OPEN_READ, true);
  cr_expect_eq(answer(&c), '+', "the number is free again");
  end_group(&c);
  cr_expect_eq(wait_for(third), 0);
  bc_store_close(st);
  end_group(&b);
  fixture_remove(&f);
}
