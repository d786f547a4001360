/*
 * Values of a merged tile back to the packed integers that its pieces were made of, where that is exact.
 */
#include <math.h>
#include <string.h>

#include "store/compact_merge_int.h"

#define NAN_BITS 0x7fc00000u

static uint32_t bits_of(float f)
{
  uint32_t b;
  memcpy(&b, &f, sizeof b);
  return b;
}

/* The packing of each step; false where there is none. */
static bool gather_packing(bc_merged *g)
{
  const bc_packing *near = NULL;
  for (size_t i = 0; i < g->p->n && near == NULL; i++)
    near = g->p->parts[i].packing;
  if (near == NULL) return false;
  g->packing = bc_calloc(g->e.nt, sizeof *g->packing);
  g->q = bc_malloc(g->e.nt * g->step * sizeof *g->q);
  if (g->packing == NULL || g->q == NULL) return false;
  for (size_t i = 0; i < g->p->n; i++) {
    const bc_merge_part *q = &g->p->parts[i];
    const bool constant = q->tile.head.codec == BC_CODEC_CONST;
    if (q->packing == NULL && !constant) return false;
    for (size_t k = 0; k < q->e.nt; k++) {
      const size_t at = bc_merged_step(g, q->e.t[k]);
      g->packing[at] = constant ? *near : q->packing[k];
      const float v = g->v[at * g->step];
      if (constant && v == v) g->packing[at].offset = (double)v; /* k = 0 everywhere */
    }
  }
  return true;
}

/* The integer of one value; false when none gives its very bits. */
static bool find_integer(float v, const bc_packing *p, int32_t *k)
{
  const double guess = rint(((double)v - p->offset) / p->scale);
  if (!(fabs(guess) <= 32769)) return false;
  for (int d = 0; d < 3; d++) {
    *k = (int32_t)guess + (d == 2 ? -1 : d);
    if (*k >= INT16_MIN && *k <= INT16_MAX &&
        bits_of((float)((double)*k * p->scale + p->offset)) == bits_of(v))
      return true;
  }
  return false;
}

/* A number for the missing values of a step that no other value has. */
static bool choose_fill(bc_packing *p, const int16_t *q, const float *v, size_t n)
{
  const int32_t tries[3] = { p->has_fill ? p->fill : INT16_MIN, INT16_MIN, INT16_MAX };
  for (int i = 0; i < 3; i++) {
    bool used = tries[i] < INT16_MIN || tries[i] > INT16_MAX;
    for (size_t k = 0; k < n && !used; k++)
      used = v[k] == v[k] && q[k] == tries[i];
    if (used) continue;
    p->fill = tries[i];
    p->has_fill = true;
    return true;
  }
  return false;
}

static bool pack_step(const float *v, size_t n, bc_packing *p, int16_t *q)
{
  bool holes = false;
  for (size_t i = 0; i < n; i++) {
    int32_t k = 0;
    if (v[i] == v[i] ? !find_integer(v[i], p, &k) : bits_of(v[i]) != NAN_BITS) return false;
    holes = holes || v[i] != v[i];
    q[i] = (int16_t)k;
  }
  if (holes && !choose_fill(p, q, v, n)) return false;
  p->has_fill = holes;
  for (size_t i = 0; holes && i < n; i++)
    if (v[i] != v[i]) q[i] = (int16_t)p->fill;
  return true;
}

bool bc_merge_pack(bc_merged *g)
{
  if (!gather_packing(g)) return false;
  for (size_t t = 0; t < g->e.nt; t++)
    if (!pack_step(g->v + t * g->step, g->step, &g->packing[t], g->q + t * g->step)) return false;
  return true;
}
