/*
 * Runs a contest. Protocol between the parent and the process of a way, lines of text:
 *   child: "ready" | "skip WHY" | "fail WHY"
 *   parent: "go N"      child: "SECONDS CPU_SECONDS ANON_KIB" of N calls | "fail WHY"
 * The end of the parent's pipe ends the child.
 */
#define _DEFAULT_SOURCE /* wait4: what each process used by itself */
#include "tools/bench/bench.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct seat { /* a way's process, seen by the parent */
  bench_way *w;
  pid_t pid;
  FILE *to, *from;
  bool alive;
  char outcome[500]; /* "skip ..." or "fail ..." */
  unsigned n;
  double wall[BENCH_MAX_RUNS], cpu[BENCH_MAX_RUNS];            /* in turns with the other ways */
  double of_base[BENCH_MAX_RUNS], of_base_cpu[BENCH_MAX_RUNS]; /* against the base in the same turn */
  long anon_kib, peak_kib;
} seat;

static double clock_of(clockid_t id)
{
  struct timespec t;
  (void)clock_gettime(id, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_now(void) { return clock_of(CLOCK_MONOTONIC); }

void *bench_alloc(size_t n)
{
  void *p = malloc(n > 0 ? n : 1);
  if (!p) {
    fprintf(stderr, "bench: no memory for %zu bytes\n", n);
    exit(4);
  }
  memset(p, 0x5a, n);
  return p;
}

const char *bench_path(const char *folder, const char *name)
{
  const size_t n = strlen(folder) + strlen(name) + 2;
  char *p = bench_alloc(n);
  (void)snprintf(p, n, "%s/%s", folder, name);
  return p;
}

uint64_t bench_file_bytes(const char *path)
{
  struct stat s;
  return stat(path, &s) == 0 ? (uint64_t)s.st_size : 0;
}

bool bench_apart(bool (*fn)(void *arg), void *arg)
{
  int status = 0;
  (void)fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) {
    const bool ok = fn(arg);
    (void)fflush(NULL);
    _exit(ok ? 0 : 1);
  }
  return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

bool bench_remove(const char *folder)
{
  int status = 0;
  const pid_t pid = fork();
  if (pid == 0) {
    (void)execlp("rm", "rm", "-rf", "--", folder, (char *)NULL);
    _exit(127);
  }
  return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

bool bench_fail(bench_way *w, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  (void)vsnprintf(w->why, sizeof w->why, fmt, ap);
  va_end(ap);
  return false;
}

bool bench_ok(bench_way *w, bc_status st, const bc_err *err)
{
  return st == BC_OK || bench_fail(w, "%s: %s", bc_status_name(st), err->msg);
}

bench_way *bench_add(bench_contest *k, const char *name, bool (*open)(bench_way *), bool (*once)(bench_way *),
                     const void *arg)
{
  static bench_way spill; /* one too many is a slip in this program */
  bench_way *w = k->n_ways < BENCH_MAX_WAYS ? &k->way[k->n_ways++] : &spill;
  *w = (bench_way){ .name = name, .open = open, .once = once, .arg = arg, .threads = 1 };
  return w;
}

/* ---- child ---- */

static long anon_kib(void)
{
  char line[128];
  long kib = 0;
  FILE *f = fopen("/proc/self/status", "r");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "RssAnon: %ld", &kib) == 1) break;
  if (f) (void)fclose(f);
  return kib;
}

static bool timed_calls(bench_way *w, unsigned n, FILE *out)
{
  const double wall = bench_now(), cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
  for (unsigned i = 0; i < n; i++)
    if (!w->once(w)) return false;
  const double wall_end = bench_now(), cpu_end = clock_of(CLOCK_PROCESS_CPUTIME_ID);
  const long kib = anon_kib();
  if (w->after && !w->after(w)) return false;
  fprintf(out, "%.9f %.9f %ld\n", wall_end - wall, cpu_end - cpu, kib);
  return true;
}

static void be_a_way(bench_way *w, FILE *in, FILE *out)
{
  unsigned n;
  char line[64];
  if (w->open && !w->open(w)) {
    fprintf(out, "fail %s\n", w->why);
    return;
  }
  fprintf(out, "ready\n");
  (void)fflush(out);
  while (fgets(line, sizeof line, in) && sscanf(line, "go %u", &n) == 1) {
    const bool ok = timed_calls(w, n, out);
    if (!ok) fprintf(out, "fail %s\n", w->why);
    (void)fflush(out);
    if (!ok) return;
  }
}

static void run_child(bench_way *w, int in, int out)
{
  if (w->argv) {
    char *args[16] = { NULL };
    for (size_t i = 0; i < 15 && w->argv[i]; i++)
      args[i] = strdup(w->argv[i]);
    if (dup2(in, 0) == 0 && dup2(out, 1) == 1) (void)execvp(args[0], args);
    (void)dprintf(out, "skip cannot run %s\n", w->argv[0]);
    _exit(0);
  }
  FILE *from = fdopen(in, "r"), *to = fdopen(out, "w");
  if (from && to) {
    be_a_way(w, from, to);
    (void)fflush(to);
  }
  _exit(0);
}

/* ---- parent ---- */

static bool hear(seat *s, char *line, size_t cap)
{
  if (!fgets(line, (int)cap, s->from)) (void)snprintf(line, cap, "fail the process ended");
  line[strcspn(line, "\n")] = '\0';
  if (strncmp(line, "fail", 4) != 0 && strncmp(line, "skip", 4) != 0) return true;
  (void)snprintf(s->outcome, sizeof s->outcome, "%s", line);
  s->alive = false;
  return false;
}

static bool start(seat *s, seat *all)
{
  int down[2], up[2];
  char line[500];
  if (pipe(down) != 0 || pipe(up) != 0 || (s->pid = fork()) < 0) {
    perror("bench");
    exit(4);
  }
  if (s->pid == 0) {
    /* an end of another child's pipe would keep that child alive */
    for (seat *o = all; o < s; o++) {
      (void)close(fileno(o->to));
      (void)close(fileno(o->from));
    }
    (void)close(down[1]);
    (void)close(up[0]);
    run_child(s->w, down[0], up[1]);
  }
  (void)close(down[0]);
  (void)close(up[1]);
  s->to = fdopen(down[1], "w");
  s->from = fdopen(up[0], "r");
  s->alive = s->to && s->from;
  return s->alive && hear(s, line, sizeof line);
}

static bool sample(seat *s, unsigned repeat, bool counts)
{
  char line[500];
  double wall, cpu;
  long kib;
  if (!s->alive) return false;
  fprintf(s->to, "go %u\n", repeat);
  (void)fflush(s->to);
  if (!hear(s, line, sizeof line)) return false;
  if (sscanf(line, "%lf %lf %ld", &wall, &cpu, &kib) != 3) return false;
  if (kib > s->anon_kib) s->anon_kib = kib;
  if (!counts) return true;
  s->wall[s->n] = wall / repeat;
  s->cpu[s->n] = cpu / repeat;
  s->n++;
  return true;
}

static void stop(seat *s)
{
  struct rusage u;
  int status;
  (void)fclose(s->to);
  (void)fclose(s->from);
  if (wait4(s->pid, &status, 0, &u) == s->pid) s->peak_kib = u.ru_maxrss;
}

/* ---- results ---- */

static int by_value(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double median(double *v, unsigned n)
{
  qsort(v, n, sizeof *v, by_value);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* In the contest's unit: MB/s, or a time with its unit. */
static void put_value(char *buf, size_t cap, double bytes, double seconds)
{
  if (bytes > 0)
    (void)snprintf(buf, cap, "%.0f MB/s", bytes / seconds / 1e6);
  else if (seconds < 1e-3)
    (void)snprintf(buf, cap, "%.1f us", seconds * 1e6);
  else if (seconds < 1)
    (void)snprintf(buf, cap, "%.2f ms", seconds * 1e3);
  else
    (void)snprintf(buf, cap, "%.2f s", seconds);
}

typedef struct result {
  double wall, fastest, slowest, cpu, of_base, of_base_cpu, peak_mib, anon_mib;
  const char *goal; /* "", "met", "missed" */
  char goal_text[64];
} result;

static result make_result(bench_ctx *c, seat *s)
{
  const bench_way *w = s->w;
  result r = { .wall = median(s->wall, s->n), .cpu = median(s->cpu, s->n), .goal = "" };
  r.fastest = s->wall[0];
  r.slowest = s->wall[s->n - 1];
  r.of_base = median(s->of_base, s->n);
  r.of_base_cpu = median(s->of_base_cpu, s->n);
  r.peak_mib = (double)s->peak_kib / 1024;
  r.anon_mib = (double)s->anon_kib / 1024;
  bool met = true;
  if (w->goal_of_base > 0) {
    (void)snprintf(r.goal_text, sizeof r.goal_text, ">= %.2f of base", w->goal_of_base);
    met = r.of_base >= w->goal_of_base;
  } else if (w->goal_seconds > 0) {
    char t[32];
    put_value(t, sizeof t, 0, w->goal_seconds);
    (void)snprintf(r.goal_text, sizeof r.goal_text, "<= %s", t);
    met = r.wall <= w->goal_seconds;
  } else if (w->goal_peak_mib > 0) {
    (void)snprintf(r.goal_text, sizeof r.goal_text, "peak <= %.0f MiB", w->goal_peak_mib);
    met = r.peak_mib <= w->goal_peak_mib;
  } else {
    return r;
  }
  r.goal = met ? "met" : "missed";
  c->goals++;
  if (!met) c->missed++;
  return r;
}

static void print_row(const bench_contest *k, const seat *s, const result *r)
{
  char mid[32], low[32], high[32];
  put_value(mid, sizeof mid, k->bytes, r->wall);
  put_value(low, sizeof low, k->bytes, k->bytes > 0 ? r->slowest : r->fastest);
  put_value(high, sizeof high, k->bytes, k->bytes > 0 ? r->fastest : r->slowest);
  printf("  %-44s %12s %12s %12s %8.2f %8.2f %8.0f %8.0f  %s%s%s\n", s->w->name, mid, low, high, r->of_base,
         r->of_base_cpu, r->peak_mib, r->anon_mib, r->goal_text, *r->goal ? ": " : "", r->goal);
}

static void put_text(FILE *f, const char *key, const char *text)
{
  fprintf(f, "\"%s\": \"", key);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') (void)fputc('\\', f);
    if ((unsigned char)*text >= ' ') (void)fputc(*text, f);
  }
  fprintf(f, "\"");
}

static void write_row(FILE *f, const bench_contest *k, const seat *s, const result *r)
{
  fprintf(f, "{");
  put_text(f, "contest", k->id);
  fprintf(f, ", ");
  put_text(f, "title", k->title);
  fprintf(f, ", ");
  put_text(f, "way", s->w->name);
  if (!r) {
    fprintf(f, ", ");
    put_text(f, "outcome", s->outcome);
    fprintf(f, "}\n");
    return;
  }
  fprintf(f,
          ", \"bytes\": %.0f, \"runs\": %u, \"seconds\": %.9f, \"fastest\": %.9f, \"slowest\": %.9f, "
          "\"cpu_seconds\": %.9f, \"of_base\": %.4f, \"of_base_cpu\": %.4f, \"peak_mib\": %.1f, "
          "\"anon_mib\": %.1f, ",
          k->bytes, s->n, r->wall, r->fastest, r->slowest, r->cpu, r->of_base, r->of_base_cpu, r->peak_mib,
          r->anon_mib);
  put_text(f, "base", k->way[k->base].name);
  fprintf(f, ", ");
  put_text(f, "goal", r->goal_text);
  fprintf(f, ", ");
  put_text(f, "outcome", r->goal);
  fprintf(f, "}\n");
}

/* Before values are sorted. A base that failed compares with nothing. */
static void compare(const seat *base, seat *seats, size_t n)
{
  for (size_t i = 0; i < n; i++)
    for (unsigned r = 0; r < seats[i].n && r < base->n; r++) {
      seats[i].of_base[r] = base->wall[r] / seats[i].wall[r];
      seats[i].of_base_cpu[r] = seats[i].cpu[r] > 0 ? base->cpu[r] / seats[i].cpu[r] : 0;
    }
}

static void report(bench_ctx *c, const bench_contest *k, seat *seats)
{
  compare(&seats[k->base], seats, k->n_ways);
  printf("\n%s", k->title);
  if (k->bytes > 0) printf(" (%.1f MB)", k->bytes / 1e6);
  printf("\n  %-44s %12s %12s %12s %8s %8s %8s %8s  %s\n", "way", "median", "min", "max", "of base", "by CPU",
         "peak MiB", "own MiB", "goal");
  for (size_t i = 0; i < k->n_ways; i++) {
    seat *s = &seats[i];
    if (s->n == 0 || *s->outcome) {
      printf("  %-44s %s\n", s->w->name, *s->outcome ? s->outcome : "fail no answer");
      write_row(c->json, k, s, NULL);
      if (strncmp(s->outcome, "skip", 4) != 0) c->failed++;
      continue;
    }
    const result r = make_result(c, s);
    print_row(k, s, &r);
    write_row(c->json, k, s, &r);
  }
  (void)fflush(stdout);
  (void)fflush(c->json);
}

bool bench_wanted(const bench_ctx *c, const char *id)
{
  return !c->only || strncmp(id, c->only, strlen(c->only)) == 0;
}

bool bench_run(bench_ctx *c, bench_contest *k)
{
  seat *seats = calloc(BENCH_MAX_WAYS, sizeof *seats);
  if (!bench_wanted(c, k->id) || !seats) {
    free(seats);
    return false;
  }
  const unsigned runs = k->runs > 0 ? k->runs : c->runs, repeat = k->repeat > 0 ? k->repeat : 1;
  (void)fflush(stdout);
  (void)fflush(c->json);
  for (size_t i = 0; i < k->n_ways; i++) {
    seats[i].w = &k->way[i];
    (void)start(&seats[i], seats);
  }
  for (unsigned r = k->cold ? 1 : 0; r <= runs && r <= BENCH_MAX_RUNS; r++)
    for (size_t i = 0; i < k->n_ways; i++)
      (void)sample(&seats[i], repeat, r > 0);
  for (size_t i = 0; i < k->n_ways; i++)
    stop(&seats[i]);
  report(c, k, seats);
  free(seats);
  return true;
}

void bench_fact(const bench_ctx *c, const char *id, const char *what, const char *unit, double value)
{
  if (!bench_wanted(c, id)) return;
  fprintf(c->json, "{");
  put_text(c->json, "contest", id);
  fprintf(c->json, ", ");
  put_text(c->json, "fact", what);
  fprintf(c->json, ", ");
  put_text(c->json, "unit", unit);
  fprintf(c->json, ", \"value\": %.9g}\n", value);
}
