/* Reads through the public interface, and memcpy of as many bytes. */
#include "tools/bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include "query/query.h"

typedef struct reader {
  bc_store *st;
  bc_query *q; /* planned once */
  bc_select sel;
  bc_query_opts opts;
  uint8_t *dst, *src;
  uint64_t bytes;
} reader;

static bc_status make_selection(const bench_query *a, bc_select *s, bc_err *err)
{
  bc_select_init(s);
  BC_RET(bc_select_add_vars(s, a->vars, err));
  if (a->bbox) BC_RET(bc_select_set_bbox(s, a->bbox, err));
  if (a->at) BC_RET(bc_select_add_at(s, a->at, err));
  if (a->time) BC_RET(bc_select_set_time(s, a->time, err));
  return BC_OK;
}

static bc_status open_reader(const bench_query *a, int threads, reader *r, bc_err *err)
{
  bc_query_cost cost;
  r->opts = (bc_query_opts)BC_QUERY_OPTS_INIT;
  r->opts.threads = threads;
  BC_RET(bc_store_open(a->store, BC_OPEN_READ, &r->st, err));
  BC_RET(make_selection(a, &r->sel, err));
  BC_RET(bc_query_open(r->st, &r->sel, &r->opts, &r->q, err));
  bc_query_get_cost(r->q, -1, &cost);
  r->bytes = cost.output_bytes;
  return BC_OK;
}

bool bench_query_open(bench_way *w)
{
  bc_err err = { .msg = "" };
  reader *r = calloc(1, sizeof *r);
  if (!r) return bench_fail(w, "no memory");
  w->state = r;
  if (!bench_ok(w, open_reader(w->arg, w->threads, r, &err), &err)) return false;
  r->dst = bench_alloc((size_t)r->bytes);
  return true;
}

static bc_status read_all(const reader *r, bc_query *q, bc_err *err)
{
  const bc_var *const *vars;
  const size_t n = bc_query_vars(q, &vars);
  uint8_t *to = r->dst;
  for (size_t i = 0; i < n; i++) {
    bc_query_cost cost;
    bc_query_get_cost(q, (int)i, &cost);
    BC_RET(bc_query_read(q, i, to, (size_t)cost.output_bytes, err));
    to += cost.output_bytes;
  }
  return BC_OK;
}

bool bench_query_read(bench_way *w)
{
  bc_err err = { .msg = "" };
  const reader *r = w->state;
  return bench_ok(w, read_all(r, r->q, &err), &err);
}

static bool plan(bench_way *w, bool read)
{
  bc_err err = { .msg = "" };
  const reader *r = w->state;
  bc_query *q = NULL;
  bc_status st = bc_query_open(r->st, &r->sel, &r->opts, &q, &err);
  if (st == BC_OK && read) st = read_all(r, q, &err);
  bc_query_close(q);
  return bench_ok(w, st, &err);
}

bool bench_query_once(bench_way *w) { return plan(w, true); }
bool bench_query_plan(bench_way *w) { return plan(w, false); }

uint64_t bench_query_bytes(const bench_query *a)
{
  bc_err err = { .msg = "" };
  reader r = { 0 };
  const bc_status st = open_reader(a, 1, &r, &err);
  if (st != BC_OK) fprintf(stderr, "bench: %s: %s: %s\n", a->store, a->vars, err.msg);
  bc_query_close(r.q);
  bc_select_dispose(&r.sel);
  bc_store_close(r.st);
  return st == BC_OK ? r.bytes : 0;
}

bool bench_copy_open(bench_way *w)
{
  const bench_query *a = w->arg;
  reader *r = calloc(1, sizeof *r);
  if (!r) return bench_fail(w, "no memory");
  w->state = r;
  r->bytes = a->bytes;
  r->src = bench_alloc((size_t)r->bytes);
  r->dst = bench_alloc((size_t)r->bytes);
  return true;
}

bool bench_copy_once(bench_way *w)
{
  const reader *r = w->state;
  memcpy(r->dst, r->src, (size_t)r->bytes);
  /* a copy that nobody looks at may be left out by the compiler */
  __asm__ volatile("" : : "r"(r->dst) : "memory");
  return true;
}
