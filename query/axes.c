/*
 * The steps of a variable's answer: what its tiles hold in the time asked for, thinned or gathered into
 * periods.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "query/plan.h"
#include "store/codec.h"

static bc_status no_memory(bc_err *err) { return BC_FAIL(err, BC_E_NOMEM, "no memory to plan the query"); }

/* ---- steps: the union over all tiles ---- */

/* 512 MiB of them. A head of 200 bytes may state millions, so that a small file could ask for any memory. */
#define STEPS_MAX ((size_t)1 << 26)

typedef struct step_list {
  int64_t *v;
  size_t n, cap;
  uint64_t *seen; /* hashes of step lists that are in: cells of one bucket mostly have the same */
  size_t n_seen, cap_seen;
} step_list;

static bool seen_insert(uint64_t *seen, size_t cap, uint64_t h)
{
  size_t i = (size_t)h & (cap - 1);
  for (; seen[i] != 0; i = (i + 1) & (cap - 1))
    if (seen[i] == h) return false;
  seen[i] = h;
  return true;
}

static bc_status seen_before(step_list *l, uint64_t h, bool *before, bc_err *err)
{
  if (2 * l->n_seen >= l->cap_seen) {
    const size_t cap = l->cap_seen == 0 ? 64 : 2 * l->cap_seen;
    uint64_t *seen = bc_calloc(cap, sizeof *seen);
    if (seen == NULL) return no_memory(err);
    for (size_t i = 0; i < l->cap_seen; i++)
      if (l->seen[i] != 0) (void)seen_insert(seen, cap, l->seen[i]);
    bc_free(l->seen);
    l->seen = seen;
    l->cap_seen = cap;
  }
  *before = !seen_insert(l->seen, l->cap_seen, h == 0 ? 1 : h);
  l->n_seen += !*before;
  return BC_OK;
}

static int by_time(const void *a, const void *b)
{
  const int64_t p = *(const int64_t *)a, q = *(const int64_t *)b;
  return p < q ? -1 : p > q;
}

static size_t sort_unique(int64_t *v, size_t n)
{
  size_t m = 0;
  bool sorted = true;
  for (size_t i = 1; i < n && sorted; i++)
    sorted = v[i - 1] <= v[i];
  if (!sorted) qsort(v, n, sizeof *v, by_time);
  for (size_t i = 0; i < n; i++)
    if (m == 0 || v[m - 1] != v[i]) v[m++] = v[i];
  return m;
}

static bc_status add_steps(const bc_query *q, step_list *l, const bc_tile_head *h, bc_err *err)
{
  const int64_t shape[3] = { h->t_first, h->t_step, h->nt };
  bool before = false;
  BC_RET(seen_before(l, h->regular ? bc_hash64(shape, sizeof shape) : bc_hash64(h->times, (size_t)h->nt * 8),
                     &before, err));
  if (before) return BC_OK;
  if (l->n + h->nt > STEPS_MAX) l->n = sort_unique(l->v, l->n);
  if (l->n + h->nt > STEPS_MAX)
    return BC_FAIL(err, BC_E_BUDGET, "more than %zu steps in one query: ask for a shorter time", STEPS_MAX);
  void *list = l->v;
  BC_RET(bc_list_reserve(&list, &l->cap, l->n + h->nt, sizeof *l->v, err));
  l->v = list;
  for (uint32_t i = 0; i < h->nt; i++) {
    const int64_t t = bc_tile_time(h, i);
    if (t == BC_TIME_STATIC || (t >= q->t_begin && t < q->t_end)) l->v[l->n++] = t;
  }
  return BC_OK;
}

static bool has_level(const bc_qvar *v, const bc_tile_head *h)
{
  for (uint32_t l = 0; l < h->nl; l++)
    for (size_t i = 0; i < v->axes.n_levels; i++)
      if (bc_tile_level(h, l) == v->levels[i]) return true;
  return false;
}

/* Keep the tiles that hold nodes and levels of the answer; gather their steps. */
static bc_status filter_tiles(bc_query *q, bc_qvar *v, step_list *l, bc_err *err)
{
  size_t n = 0;
  for (size_t i = 0; i < v->n_tiles; i++) {
    bc_tile_head h;
    if (bc_where_count(&q->where, v->tiles[i].cell, v->tiles[i].area) == 0) continue;
    BC_RET(bc_tile_head_parse((bc_bytes){ v->tiles[i].head, v->tiles[i].head_bytes }, &h, err));
    if (!has_level(v, &h)) continue;
    BC_RET(add_steps(q, l, &h, err));
    v->tiles[n++] = v->tiles[i];
  }
  v->n_tiles = n;
  l->n = sort_unique(l->v, l->n);
  if (l->n == 0) v->n_tiles = 0; /* tiles reach over the time asked for, but have no step in it */
  if (l->n > INT32_MAX)
    return BC_FAIL(err, BC_E_RANGE, "%s: %zu steps in one query; at most %d", v->m.name, l->n, INT32_MAX);
  return BC_OK;
}

/* ---- steps of the answer ---- */

static void thin_steps(const bc_query *q, bc_qvar *v)
{
  size_t n = 0;
  for (size_t i = 0; i < v->axes.n_steps; i += (size_t)q->every_time)
    v->steps[n++] = v->steps[i];
  v->axes.n_steps = v->n_out = n;
}

/* Periods that hold a step; of these every N-th, and of the steps those in such periods. */
static void find_periods(const bc_query *q, bc_qvar *v)
{
  size_t n = 0, n_periods = 0;
  int64_t next = INT64_MIN;
  for (size_t i = 0; i < v->axes.n_steps; i++) {
    const int64_t t = v->steps[i];
    if (t >= next) {
      const int64_t begin = bc_period_floor(q->period, t);
      next = bc_period_next(q->period, begin);
      if (n_periods++ % (size_t)q->every_time == 0) {
        v->bounds[2 * v->n_out] = begin;
        v->bounds[2 * v->n_out + 1] = next;
        v->time_coord[v->n_out++] = (double)begin;
      }
    }
    if ((n_periods - 1) % (size_t)q->every_time != 0) continue;
    v->steps[n] = t;
    v->period[n++] = (uint32_t)(v->n_out - 1);
  }
  v->axes.n_steps = n;
}

static bc_status answer_steps(const bc_query *q, bc_qvar *v, bc_err *err)
{
  const size_t n = v->axes.n_steps;
  v->time_coord = bc_calloc(n, sizeof *v->time_coord);
  if (v->time_coord == NULL) return no_memory(err);
  if (v->is_static) {
    v->n_out = 1;
    return BC_OK;
  }
  if (v->agg == BC_AGG_NONE) {
    thin_steps(q, v);
    for (size_t i = 0; i < v->n_out; i++)
      v->time_coord[i] = (double)v->steps[i];
    return BC_OK;
  }
  v->bounds = bc_malloc(2 * n * sizeof *v->bounds);
  v->period = bc_malloc(n * sizeof *v->period);
  if (v->bounds == NULL || v->period == NULL) return no_memory(err);
  find_periods(q, v);
  return BC_OK;
}

bc_status bc_plan_axes(bc_query *q, bc_qvar *v, bc_err *err)
{
  step_list l = { 0 };
  bc_status st = filter_tiles(q, v, &l, err);
  bc_free(l.seen);
  v->steps = l.v;
  v->axes.steps = l.v;
  v->axes.n_steps = l.n;
  if (st == BC_OK && l.n > 0) st = answer_steps(q, v, err);
  return st;
}
