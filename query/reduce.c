#include "query/reduce.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct bc_reducer {
  bc_agg agg;
  size_t n;
  double *sum;    /* mean, sum */
  int32_t *count; /* mean, sum, count */
  float *best;    /* min, max, first */
};

static bool uses_sum(bc_agg a) { return a == BC_AGG_MEAN || a == BC_AGG_SUM; }
static bool uses_count(bc_agg a) { return uses_sum(a) || a == BC_AGG_COUNT; }

uint64_t bc_reduce_bytes(bc_agg agg, uint64_t n)
{
  if (agg == BC_AGG_NONE) return 0;
  return n * ((uses_sum(agg) ? sizeof(double) : 0) + (uses_count(agg) ? sizeof(int32_t) : sizeof(float)));
}

static void restart(bc_reducer *r)
{
  if (r->sum != NULL) memset(r->sum, 0, r->n * sizeof *r->sum);
  if (r->count != NULL) memset(r->count, 0, r->n * sizeof *r->count);
  for (size_t i = 0; r->best != NULL && i < r->n; i++)
    r->best[i] = NAN;
}

bc_status bc_reduce_open(bc_agg agg, size_t n, bc_reducer **out, bc_err *err)
{
  *out = NULL;
  bc_reducer *r = bc_calloc(1, sizeof *r);
  if (r != NULL && n <= SIZE_MAX / sizeof(double)) {
    r->agg = agg;
    r->n = n;
    if (uses_sum(agg)) r->sum = bc_malloc(n * sizeof *r->sum);
    if (uses_count(agg))
      r->count = bc_malloc(n * sizeof *r->count);
    else
      r->best = bc_malloc(n * sizeof *r->best);
    if ((r->sum != NULL || !uses_sum(agg)) && (r->count != NULL || r->best != NULL)) {
      restart(r);
      *out = r;
      return BC_OK;
    }
  }
  bc_reduce_close(r);
  return BC_FAIL(err, BC_E_NOMEM, "no memory to aggregate %zu values (%" PRIu64 " bytes)", n,
                 bc_reduce_bytes(agg, n));
}

void bc_reduce_close(bc_reducer *r)
{
  if (r == NULL) return;
  bc_free(r->sum);
  bc_free(r->count);
  bc_free(r->best);
  bc_free(r);
}

/* v == v is false for NaN alone. */
BC_HOT static void add_sum(double *restrict sum, int32_t *restrict count, const float *restrict v, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    sum[i] += v[i] == v[i] ? (double)v[i] : 0.0;
    count[i] += v[i] == v[i];
  }
}

BC_HOT static void add_count(int32_t *restrict count, const float *restrict v, size_t n)
{
  for (size_t i = 0; i < n; i++)
    count[i] += v[i] == v[i];
}

/* A comparison with NaN is false, so a missing v never replaces, and a missing best always is. */
BC_HOT static void add_min(float *restrict best, const float *restrict v, size_t n)
{
  for (size_t i = 0; i < n; i++)
    best[i] = v[i] < best[i] || best[i] != best[i] ? v[i] : best[i];
}

BC_HOT static void add_max(float *restrict best, const float *restrict v, size_t n)
{
  for (size_t i = 0; i < n; i++)
    best[i] = v[i] > best[i] || best[i] != best[i] ? v[i] : best[i];
}

BC_HOT static void add_first(float *restrict best, const float *restrict v, size_t n)
{
  for (size_t i = 0; i < n; i++)
    best[i] = best[i] != best[i] ? v[i] : best[i];
}

void bc_reduce_add(bc_reducer *r, const float *src)
{
  switch (r->agg) {
  case BC_AGG_NONE: break;
  case BC_AGG_MEAN:
  case BC_AGG_SUM: add_sum(r->sum, r->count, src, r->n); break;
  case BC_AGG_MIN: add_min(r->best, src, r->n); break;
  case BC_AGG_MAX: add_max(r->best, src, r->n); break;
  case BC_AGG_FIRST: add_first(r->best, src, r->n); break;
  case BC_AGG_COUNT: add_count(r->count, src, r->n); break;
  }
}

void bc_reduce_finish(bc_reducer *r, void *dst)
{
  float *to = dst;
  if (uses_sum(r->agg)) {
    for (size_t i = 0; i < r->n; i++) {
      const double v = r->agg == BC_AGG_MEAN ? r->sum[i] / r->count[i] : r->sum[i];
      to[i] = r->count[i] > 0 ? (float)v : NAN;
    }
  } else {
    memcpy(dst, r->count != NULL ? (const void *)r->count : (const void *)r->best, r->n * sizeof(float));
  }
  restart(r);
}

const char *bc_reduce_method(bc_agg agg)
{
  switch (agg) {
  case BC_AGG_MEAN: return "mean";
  case BC_AGG_MIN: return "minimum";
  case BC_AGG_MAX: return "maximum";
  case BC_AGG_SUM: return "sum";
  case BC_AGG_FIRST: return "point";
  case BC_AGG_NONE:
  case BC_AGG_COUNT: break;
  }
  return "";
}
