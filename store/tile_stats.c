/*
 * Statistics of a tile's levels, in one pass over the input that also finds constant tiles.
 */
#include "store/tile_int.h"

#include <math.h>

enum { LANES = 8 }; /* of sums: a fixed order of addition, so that equal input gives equal bytes everywhere */

typedef int32_t v8i __attribute__((vector_size(32)));
typedef float v8f __attribute__((vector_size(32)));
typedef float v4f __attribute__((vector_size(16)));
typedef double v4d __attribute__((vector_size(32)));

typedef struct row_sums {
  v4d sum[2], sumsq[2];
  v8f min, max;
  v8i n_valid;
} row_sums;

static inline __attribute__((always_inline)) void sum8(const float *v, row_sums *s)
{
  v8f x, x0;
  v8i valid, m;

  memcpy(&x, v, sizeof x);
  valid = x == x;
  x0 = (v8f)((v8i)x & valid);
  for (int h = 0; h < 2; h++) {
    v4f f;
    v4d d;
    memcpy(&f, (const char *)&x0 + 16 * h, sizeof f);
    d = __builtin_convertvector(f, v4d);
    s->sum[h] += d;
    s->sumsq[h] += d * d;
  }
  m = x < s->min; /* false for NaN */
  s->min = (v8f)(((v8i)x & m) | ((v8i)s->min & ~m));
  m = x > s->max;
  s->max = (v8f)(((v8i)x & m) | ((v8i)s->max & ~m));
  s->n_valid -= valid;
}

BC_HOT static void sum_row(const float *v, size_t n, row_sums *out)
{
  const v8f zero = { 0 };
  row_sums s = { .min = zero + INFINITY, .max = zero - INFINITY };
  float tail[LANES];
  size_t i = 0;

  for (; i + LANES <= n; i += LANES)
    sum8(v + i, &s);
  if (i < n) {
    for (size_t j = 0; j < LANES; j++)
      tail[j] = i + j < n ? v[i + j] : __builtin_nanf("");
    sum8(tail, &s);
  }
  *out = s;
}

static void add_row(bc_level_stats *s, const float *v, size_t n)
{
  row_sums r;
  uint64_t valid = 0;

  sum_row(v, n, &r);
  for (int j = 0; j < LANES; j++) {
    valid += (uint32_t)r.n_valid[j];
    s->sum += r.sum[j / 4][j % 4];
    s->sumsq += r.sumsq[j / 4][j % 4];
    s->min = BC_MIN(s->min, (double)r.min[j]);
    s->max = BC_MAX(s->max, (double)r.max[j]);
  }
  s->n_valid += valid;
  s->n_missing += n - valid;
}

bc_status bc_tile_survey(bc_tile_job *j, bool *constant, bc_err *err)
{
  const bc_tile_in *in = j->in;
  uint32_t first = 0;

  BC_RET(bc_scratch_need(&j->e->row, in->nx * sizeof(float), err));
  *constant = true;
  for (uint32_t l = 0; l < in->nl; l++) {
    bc_level_stats *s = &j->e->stats[l];
    *s = (bc_level_stats){ .min = INFINITY, .max = -INFINITY };
    for (uint32_t t = 0; t < in->nt; t++)
      for (uint32_t y = 0; y < in->ny; y++) {
        const float *row = bc_tile_as_given(j) ? bc_tile_in_row(in, t, l, y) : j->e->row.p;
        if (!bc_tile_as_given(j)) bc_tile_load_row(j, t, l, y, 0, in->nx, j->e->row.p);
        if (l == 0 && t == 0 && y == 0) first = bc_value_bits(row[0]);
        *constant = *constant && bc_all_equal(row, in->nx, first);
        add_row(s, row, in->nx);
      }
  }
  j->const_bits = first;
  return BC_OK;
}
