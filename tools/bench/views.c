/* A training window: two monthly steps of all climate planes, as views into a raw store. */
#include "tools/bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include "query/query.h"

enum { MAX_VARS = 64, STEPS = 2, FIRST = 5 };

typedef struct window {
  bc_store *st;
  char *name[MAX_VARS];
  size_t n;
  bc_view view[MAX_VARS];
  int64_t t;
  uint64_t bytes, planes, copied;
} window;

static bc_status list_vars(window *a, bc_err *err)
{
  bc_snapshot *s = NULL;
  int64_t end;
  BC_RET(bc_snapshot_open(a->st, &s, err));
  for (size_t i = 0; i < bc_snapshot_modalities(s) && a->n < MAX_VARS; i++) {
    const bc_modality *m = bc_snapshot_modality(s, i);
    const size_t cap = strlen(m->group) + strlen(m->name) + 2;
    a->name[a->n] = bench_alloc(cap);
    (void)snprintf(a->name[a->n++], cap, "%s/%s", m->group, m->name);
  }
  bc_snapshot_close(s);
  return bc_time_parse("2000-06", 7, &a->t, &end, err);
}

static void count(window *a)
{
  a->bytes = a->planes = a->copied = 0;
  for (size_t i = 0; i < a->n; i++) {
    const bc_view *v = &a->view[i];
    uint64_t values = 1;
    for (int d = 0; d < v->ndim; d++)
      values *= (uint64_t)v->shape[d];
    a->bytes += values * sizeof(float);
    a->planes += v->ndim == 4 ? (uint64_t)v->shape[1] : 1;
    a->copied += v->copied_bytes;
  }
}

static void release(window *a)
{
  for (size_t i = 0; i < a->n; i++)
    bc_view_release(&a->view[i]);
}

static bc_status take(window *a, bc_err *err)
{
  return bc_view_open_many(a->st, (const char *const *)a->name, a->n, a->t, STEPS, a->view, err);
}

static bc_status open_window(window *a, const char *store, bc_err *err)
{
  BC_RET(bc_store_open(store, BC_OPEN_READ, &a->st, err));
  BC_RET(list_vars(a, err));
  BC_RET(take(a, err));
  count(a);
  release(a);
  return BC_OK;
}

static bool views_open(bench_way *w)
{
  bc_err err = { .msg = "" };
  window *a = calloc(1, sizeof *a);
  w->state = a;
  if (!a) return bench_fail(w, "no memory");
  if (!bench_ok(w, open_window(a, w->arg, &err), &err)) return false;
  return a->planes == 89 ||
         bench_fail(w, "%zu variables with %llu planes, expected 89", a->n, (unsigned long long)a->planes);
}

static bool views_once(bench_way *w)
{
  bc_err err = { .msg = "" };
  window *a = w->state;
  const bool ok = bench_ok(w, take(a, &err), &err);
  release(a);
  return ok;
}

/* The same, and one value of each page, as a user would at last. */
static bool views_touch(bench_way *w)
{
  bc_err err = { .msg = "" };
  window *a = w->state;
  unsigned sum = 0;
  if (!bench_ok(w, take(a, &err), &err)) return false;
  for (size_t i = 0; i < a->n; i++) {
    const bc_view *v = &a->view[i];
    const size_t step = (size_t)(v->shape[1] * v->stride[1]);
    for (int64_t t = 0; t < v->shape[0]; t++)
      for (size_t at = 0; at < step; at += 4096)
        sum += ((const volatile unsigned char *)v->step[t])[at];
  }
  release(a);
  return sum > 0 || bench_fail(w, "all bytes are zero");
}

void bench_views(bench_ctx *c)
{
  static const char *const k_files[] = { "monthly/surface.nc", "monthly/edaphic.nc", "monthly/climate.nc",
                                         "monthly/misc.nc", "monthly/atmospheric.nc" };
  const char *store = bench_path(c->data, "monthly-raw.bcube"),
             *packed = bench_path(c->data, "monthly.bcube");
  bc_err err = { .msg = "" };
  window a = { 0 };
  char title[200];
  if (!bench_wanted(c, "views")) return;
  if (open_window(&a, store, &err) != BC_OK) {
    fprintf(stderr, "bench: %s\n", err.msg);
    c->failed++;
    return;
  }
  bc_store_close(a.st);
  bench_query copy = { .bytes = a.bytes };
  bench_query read = { packed, "*", NULL, NULL, "2000-06/2000-07", 0 };
  bench_nc_job nc = { .n_paths = 5, .start = { FIRST }, .n = { STEPS }, .first_dim_only = true };
  for (size_t i = 0; i < 5; i++)
    nc.path[i] = bench_path(c->data, k_files[i]);
  const char *numpy[] = {
    c->python, c->peers, "views", bench_path(c->data, "monthly-npy"), "-", "5:7", NULL
  };
  (void)snprintf(title, sizeof title,
                 "two monthly steps of %llu climate planes (%zu variables, %.1f MB): %llu bytes copied",
                 (unsigned long long)a.planes, a.n, (double)a.bytes / 1e6, (unsigned long long)a.copied);
  bench_contest k = { .id = "views", .title = title, .repeat = 50 };
  (void)bench_add(&k, "memcpy of the same bytes", bench_copy_open, bench_copy_once, &copy);
  bench_add(&k, "bc_view_open_many + release", views_open, views_once, store)->goal_seconds = 200e-6;
  (void)bench_add(&k, "bc_view_open_many, each page touched", views_open, views_touch, store);
  (void)bench_add(&k, "bc_query_open + read, codec auto", bench_query_open, bench_query_once, &read);
  (void)bench_add(&k, "netCDF-C, files open", bench_nc_open, bench_nc_once, &nc);
  bench_add(&k, "NumPy memmap slices, arrays open", NULL, NULL, NULL)->argv = numpy;
  k.repeat = 10;
  if (bench_run(c, &k)) bench_fact(c, "views", "bytes copied", "bytes", (double)a.copied);
}
