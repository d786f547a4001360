/* Weights of a file's rows and columns in the nodes of a grid: nearest, bilinear, mean of the area. */
#include <math.h>
#include <string.h>

#include "ingest/regrid_int.h"

#define TINY_WEIGHT 1e-12 /* relative; what rounding leaves of an overlap that is none */

/* A target longitude counted on from the file's first column, [v0, v0 + 360). */
static double place_on(const bc_rg_axis *a, bool is_lat, double x)
{
  double d;

  if (is_lat) return x;
  d = x - a->v[0];
  d -= BC_RG_TURN * floor(d / BC_RG_TURN);
  if (d > BC_RG_TURN - BC_SNAP_DEGREES) d -= BC_RG_TURN; /* just west of the first column */
  return a->v[0] + d;
}

/* Edge between source positions k - 1 and k; k = 0 and n are the outer edges. lone: spacing where there is
 * one position only. */
static double edge(const bc_rg_axis *a, bool is_lat, size_t k, double lone)
{
  double v;

  if (k > 0 && k < a->n) return (a->v[k - 1] + a->v[k]) / 2;
  if (a->wraps) { /* half-way between the last and the first */
    const double gap = BC_RG_TURN - (a->v[a->n - 1] - a->v[0]);
    return k == 0 ? a->v[0] - gap / 2 : a->v[a->n - 1] + gap / 2;
  }
  if (a->n > 1) lone = k == 0 ? a->v[1] - a->v[0] : a->v[a->n - 1] - a->v[a->n - 2];
  v = k == 0 ? a->v[0] - lone / 2 : a->v[a->n - 1] + lone / 2;
  if (!is_lat) return v;
  /* the row next to a pole reaches up to it: Gaussian rows do not stand evenly there */
  if (k == 0) return a->v[0] - lone < -90 ? -90 : v;
  return a->v[a->n - 1] + lone > 90 ? 90 : v;
}

/* Position k with v[k] <= x < v[k + 1]; 0 when x lies before the first. */
static size_t below(const bc_rg_axis *a, double x)
{
  size_t lo = 0, hi = a->n;

  while (hi - lo > 1) {
    const size_t mid = lo + (hi - lo) / 2;
    if (a->v[mid] <= x)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

typedef struct picks { /* the sources of one target node */
  size_t n, cap;
  size_t *src;
  double *w;
} picks;

static void add_pick(picks *p, size_t src, double w)
{
  BC_ASSERT(p->n < p->cap);
  p->src[p->n] = src;
  p->w[p->n++] = w;
}

static void pick_nearest(const bc_rg_axis *a, bool is_lat, double x, double lone, picks *p)
{
  size_t k = below(a, x);
  double next, here;

  if (x < edge(a, is_lat, 0, lone) - BC_SNAP_DEGREES) {
    if (!a->wraps) return;
    x += BC_RG_TURN;
    k = a->n - 1;
  }
  here = fabs(x - a->v[k]);
  next = k + 1 < a->n ? a->v[k + 1] : a->wraps ? a->v[0] + BC_RG_TURN : INFINITY;
  if (next - x < here)
    k = k + 1 < a->n ? k + 1 : 0;
  else if (k + 1 == a->n && x > edge(a, is_lat, a->n, lone) + BC_SNAP_DEGREES)
    return;
  add_pick(p, a->id[k], 1);
}

static void pick_bilinear(const bc_rg_axis *a, double x, picks *p)
{
  const size_t k = below(a, x);
  const bool last = k + 1 == a->n;
  const double next = last ? a->v[0] + BC_RG_TURN : a->v[k + 1];
  double f;

  if (fabs(x - a->v[k]) <= BC_SNAP_DEGREES) {
    add_pick(p, a->id[k], 1);
    return;
  }
  if (x < a->v[0] || (last && !a->wraps)) return;
  if (fabs(next - x) <= BC_SNAP_DEGREES) {
    add_pick(p, a->id[last ? 0 : k + 1], 1);
    return;
  }
  f = (x - a->v[k]) / (next - a->v[k]);
  add_pick(p, a->id[k], 1 - f);
  add_pick(p, a->id[last ? 0 : k + 1], f);
}

/* Share of [lo, hi]: area between two parallels, or width between two meridians. */
static double extent(bool is_lat, double lo, double hi)
{
  const double rad = 0.017453292519943295; /* pi / 180 */
  return is_lat ? sin(hi * rad) - sin(lo * rad) : hi - lo;
}

static void pick_overlaps(const bc_rg_axis *a, bool is_lat, double lo, double hi, double lone, picks *p)
{
  const double all = extent(is_lat, lo, hi);
  size_t k = below(a, lo);

  k -= k > 0; /* the edge may lie before or after the position */
  for (; k < a->n; k++) {
    const double from = edge(a, is_lat, k, lone), to = edge(a, is_lat, k + 1, lone);
    const double b = BC_MAX(from, lo), e = BC_MIN(to, hi);
    if (from >= hi) break;
    if (e > b && extent(is_lat, b, e) > TINY_WEIGHT * all) add_pick(p, a->id[k], extent(is_lat, b, e));
  }
}

/* x is the target node, half its cell's half width. A node whose place the file does not cover takes nothing.
 */
static void pick_mean(const bc_rg_axis *a, bool is_lat, double x, double half, picks *p)
{
  double lo = x - half, hi = x + half;
  const double lone = 2 * half;
  const double west = edge(a, is_lat, 0, lone), east = edge(a, is_lat, a->n, lone);

  if (is_lat) {
    lo = BC_MAX(lo, -90.0);
    hi = BC_MIN(hi, 90.0);
  }
  if (!a->wraps && (x < west - BC_SNAP_DEGREES || x > east + BC_SNAP_DEGREES)) {
    if (is_lat || x - BC_RG_TURN < west - BC_SNAP_DEGREES || x - BC_RG_TURN > east + BC_SNAP_DEGREES) return;
    lo -= BC_RG_TURN;
    hi -= BC_RG_TURN;
  }
  pick_overlaps(a, is_lat, lo, hi, lone, p);
  if (is_lat || !a->wraps) return;
  /* the part of the cell that lies a turn away */
  if (lo < west) pick_overlaps(a, is_lat, lo + BC_RG_TURN, BC_MIN(hi, west) + BC_RG_TURN, lone, p);
  if (hi > east) pick_overlaps(a, is_lat, BC_MAX(lo, east) - BC_RG_TURN, hi - BC_RG_TURN, lone, p);
}

static void pick(const bc_rg_axis *a, const bc_rg_target *t, bc_regrid mode, int64_t i, picks *p)
{
  const double x = place_on(a, t->is_lat, bc_rg_node(t, i)), step = bc_rg_node_step(t);

  p->n = 0;
  switch (mode) {
  case BC_REGRID_NEAREST:
    pick_nearest(a, t->is_lat, x, step, p);
    if (p->n == 0 && !t->is_lat) pick_nearest(a, t->is_lat, x - BC_RG_TURN, step, p);
    break;
  case BC_REGRID_BILINEAR: pick_bilinear(a, x, p); break;
  case BC_REGRID_MEAN: pick_mean(a, t->is_lat, x, step / 2, p); break;
  case BC_REGRID_NONE: break;
  }
}

/* Which nodes the file covers, and how many sources they have together. */
static bc_status find_covered(const bc_rg_axis *a, const bc_rg_target *t, bc_regrid mode, picks *p,
                              bool *covered, int64_t *first, int64_t *n, size_t *entries, bc_err *err)
{
  for (int64_t i = 0; i < t->n; i++) {
    pick(a, t, mode, i, p);
    covered[i] = p->n > 0;
  }
  BC_RET(bc_rg_find_stretch(t, covered, a, first, n, err));
  *entries = 0;
  for (int64_t i = 0; i < *n; i++) {
    pick(a, t, mode, (*first + i) % t->n, p);
    *entries += p->n;
  }
  return BC_OK;
}

bc_status bc_rg_make_weights(const bc_rg_target *t, const bc_rg_axis *a, bc_regrid mode, bc_rg_map *m,
                             bc_err *err)
{
  bc_status st = BC_OK;
  /* a node takes each source once, at most twice where its cell meets itself round the Earth */
  picks p = { .cap = 2 * a->n + 4 };
  bool *covered = bc_calloc((size_t)t->n, sizeof *covered);
  size_t entries = 0;

  p.src = bc_calloc(p.cap, sizeof *p.src);
  p.w = bc_calloc(p.cap, sizeof *p.w);
  if (covered == NULL || p.src == NULL || p.w == NULL) {
    st = bc_rg_no_memory(err);
    goto out;
  }
  BC_TRY(find_covered(a, t, mode, &p, covered, &m->first, &m->n, &entries, err));
  BC_TRY(bc_rg_map_alloc(m, (size_t)m->n, entries, err));
  entries = 0;
  for (int64_t i = 0; i < m->n; i++) {
    pick(a, t, mode, (m->first + i) % t->n, &p);
    m->at[i] = entries;
    memcpy(m->src + entries, p.src, p.n * sizeof *p.src);
    memcpy(m->w + entries, p.w, p.n * sizeof *p.w);
    entries += p.n;
  }
  m->at[m->n] = entries;
out:
  bc_free(covered);
  bc_free(p.src);
  bc_free(p.w);
  return st;
}
