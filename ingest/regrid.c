/*
 * Rows and columns of a file onto those of a grid. Everything is decided once, per axis: for each target row
 * (and column) a list of source rows with weights, since all modes are separable. A move has one source row
 * and one source column each and copies runs of columns.
 */
#include "ingest/regrid.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "store/grid.h"

#define TURN        360.0
#define TINY_WEIGHT 1e-12 /* relative; what rounding leaves of an overlap that is none */

typedef struct axis_map { /* of target nodes first .. first + n - 1 */
  int64_t first, n;
  size_t *at;  /* n + 1: where a node's list begins */
  size_t *src; /* source row or column */
  double *w;
} axis_map;

typedef struct run { /* columns that lie side by side on both sides */
  size_t dst, src, n;
} run;

struct bc_regridder {
  bc_regrid mode;
  size_t nlon; /* of the file */
  axis_map rows, cols;
  run *runs; /* moves only; NULL when too short to be worth it */
  size_t n_runs;
};

/* ---- the file's axes ---- */
typedef struct src_axis {
  const char *what;
  size_t n;
  double *v;  /* ascending; longitudes unwrapped from v[0] */
  size_t *id; /* row or column of the file */
  bool wraps; /* the last column is followed by the first */
} src_axis;

static bc_status no_memory(bc_err *err)
{
  return BC_FAIL(err, BC_E_NOMEM, "out of memory for a change of grid");
}

static bc_status src_axis_alloc(src_axis *a, const char *what, size_t n, bc_err *err)
{
  *a = (src_axis){ .what = what, .n = n };
  if (n == 0 || n > UINT32_MAX)
    return BC_FAIL(err, BC_E_INVAL, "%zu %ss: 1 to 4294967295 are accepted", n, what);
  a->v = bc_calloc(n, sizeof *a->v);
  a->id = bc_calloc(n, sizeof *a->id);
  return a->v == NULL || a->id == NULL ? no_memory(err) : BC_OK;
}

static void src_axis_dispose(src_axis *a)
{
  bc_free(a->v);
  bc_free(a->id);
}

static bc_status check_rising(const src_axis *a, bc_err *err)
{
  for (size_t k = 1; k < a->n; k++) {
    if (a->v[k] > a->v[k - 1]) continue;
    return BC_FAIL(err, BC_E_UNSUPPORTED,
                   "%ss are not in order: %.10g stands beside %.10g (positions %zu and %zu)", a->what,
                   a->v[k], a->v[k - 1], a->id[k - 1], a->id[k]);
  }
  return BC_OK;
}

static bc_status read_latitudes(src_axis *a, const double *lat, size_t n, bc_err *err)
{
  BC_RET(src_axis_alloc(a, "latitude", n, err));
  for (size_t k = 0; k < n; k++) {
    const size_t id = lat[0] > lat[n - 1] ? n - 1 - k : k;
    if (!(fabs(lat[id]) <= 90 + BC_SNAP_DEGREES))
      return BC_FAIL(err, BC_E_RANGE, "latitude %.10g at position %zu is no latitude", lat[id], id);
    a->v[k] = lat[id];
    a->id[k] = id;
  }
  return check_rising(a, err);
}

/* Difference of two longitudes on the shorter way round, (-180, 180]. */
static double turn_to(double from, double to)
{
  const double d = to - from;
  return d - TURN * ceil((d - TURN / 2) / TURN);
}

static bool runs_westward(const double *lon, size_t n)
{
  size_t west = 0;

  for (size_t k = 1; k < n; k++)
    west += turn_to(lon[k - 1], lon[k]) < 0;
  return n > 1 && west * 2 > n - 1;
}

/* Any convention and start; a column a full turn after the first repeats it and is dropped. */
static bc_status read_longitudes(src_axis *a, const double *lon, size_t n, bc_err *err)
{
  bool westward;

  BC_RET(src_axis_alloc(a, "longitude", n, err));
  for (size_t k = 0; k < n; k++) {
    if (!(fabs(lon[k]) <= 3 * TURN))
      return BC_FAIL(err, BC_E_RANGE, "longitude %.10g at position %zu is no longitude", lon[k], k);
  }
  westward = runs_westward(lon, n);
  for (size_t k = 0; k < n; k++) {
    const size_t id = westward ? n - 1 - k : k;
    const double step = k == 0 ? 0 : turn_to(lon[a->id[k - 1]], lon[id]);
    a->v[k] = k == 0 ? lon[id] : a->v[k - 1] + step;
    if (k > 0 && fabs(step) < TURN / 2) { /* steps add up rounding: take the file's own number */
      const double exact = lon[id] + TURN * floor((a->v[k] - lon[id]) / TURN + 0.5);
      a->v[k] = exact;
    }
    a->id[k] = id;
  }
  BC_RET(check_rising(a, err));
  while (a->n > 1 && a->v[a->n - 1] - a->v[0] >= TURN - BC_SNAP_DEGREES) {
    if (a->v[a->n - 1] - a->v[0] > TURN + BC_SNAP_DEGREES)
      return BC_FAIL(err, BC_E_UNSUPPORTED, "longitudes span %.10g degrees, more than one turn",
                     a->v[a->n - 1] - a->v[0]);
    a->n--;
  }
  if (a->n > 1) {
    const double gap = TURN - (a->v[a->n - 1] - a->v[0]);
    a->wraps = gap <= 1.5 * (a->v[a->n - 1] - a->v[0]) / (double)(a->n - 1);
  }
  return BC_OK;
}

/* ---- maps ---- */
static bc_status map_alloc(axis_map *m, size_t n, size_t entries, bc_err *err)
{
  size_t at_bytes = 0, src_bytes = 0;

  if (!bc_mul_sz(n + 1, sizeof *m->at, &at_bytes) || !bc_mul_sz(entries, sizeof *m->w, &src_bytes))
    return BC_FAIL(err, BC_E_RANGE, "a grid of %zu nodes per side is too large", n);
  m->at = bc_malloc(at_bytes);
  m->src = bc_malloc(BC_MAX(src_bytes, sizeof *m->src));
  m->w = bc_malloc(BC_MAX(src_bytes, sizeof *m->w));
  return m->at == NULL || m->src == NULL || m->w == NULL ? no_memory(err) : BC_OK;
}

static void map_dispose(axis_map *m)
{
  bc_free(m->at);
  bc_free(m->src);
  bc_free(m->w);
}

/* Target nodes of one axis, and how the file covers them. */
typedef struct target {
  const bc_grid *g;
  bool is_lat;
  int64_t n;      /* nodes of the grid */
  bool wraps;     /* node n is node 0 */
  int64_t lo, hi; /* clip, hi exclusive; hi may pass n when wraps */
} target;

static double node(const target *t, int64_t i)
{
  return t->is_lat ? bc_grid_y(t->g, i) : bc_grid_x(t->g, i % t->n);
}
static double node_step(const target *t) { return t->is_lat ? -t->g->dy : t->g->dx; }

static bc_status outside(const target *t, const src_axis *a, bc_err *err)
{
  return BC_FAIL(
      err, BC_E_RANGE,
      "its %ss, %.10g to %.10g, lie outside the nodes of grid %s that are asked for, %.10g to %.10g", a->what,
      a->v[0], a->v[a->n - 1], t->g->name, node(t, t->is_lat ? t->hi - 1 : t->lo),
      node(t, t->is_lat ? t->lo : t->hi - 1));
}

/*
 * The nodes that are covered and asked for, as one stretch. covered has n entries. On a grid that wraps a
 * stretch may pass the end; without gaps and a clip it starts at node 0.
 */
static bc_status find_stretch(const target *t, const bool *covered, const src_axis *a, int64_t *first,
                              int64_t *n, bc_err *err)
{
  int64_t pieces = 0;

  *first = *n = 0;
  for (int64_t i = t->lo; i < t->hi; i++) {
    if (!covered[i % t->n]) continue;
    if (i == t->lo || !covered[(i - 1) % t->n]) {
      pieces++;
      *first = i;
    }
    (*n)++;
  }
  if (*n == 0) return outside(t, a, err);
  /* a whole circle that begins inside a stretch: its two ends are one piece */
  if (t->wraps && t->hi - t->lo == t->n && pieces == 2 && covered[t->lo % t->n] &&
      covered[(t->hi - 1) % t->n])
    pieces = 1;
  if (pieces > 1)
    return BC_FAIL(err, BC_E_RANGE,
                   "its %ss cover the nodes asked for in %" PRId64
                   " separate pieces, the last from %.10g: ingest "
                   "them one at a time with --bbox",
                   a->what, pieces, node(t, *first));
  *first %= t->n;
  return BC_OK;
}

/* ---- moves: the file stands on the lattice ---- */
static bc_status check_step(const target *t, const src_axis *a, bc_err *err)
{
  const double step = node_step(t);
  const double own = a->n > 1 ? (a->v[a->n - 1] - a->v[0]) / (double)(a->n - 1) : step;

  if (fabs(own - step) <= BC_MAX(BC_SNAP_DEGREES, 0.01 * step)) return BC_OK;
  return BC_FAIL(err, BC_E_RANGE,
                 "its %ss are %.6g degree apart, those of grid %s %.6g: use --regrid, or create --grid-from",
                 a->what, own, t->g->name, step);
}

static bool find_node(const target *t, double v, int64_t *i, double *off)
{
  return t->is_lat ? bc_grid_row(t->g, v, i, off) : bc_grid_col(t->g, v, i, off);
}

/* Source position k stands on node i; the one before it on node before, or beside the grid (-1). */
static bc_status check_match(const target *t, const src_axis *a, size_t k, int64_t i, double off,
                             int64_t before, const int64_t *from, bc_err *err)
{
  const int64_t gap = t->is_lat ? before - i : (i - before + t->n) % t->n;

  if (off > BC_SNAP_DEGREES)
    return BC_FAIL(
        err, BC_E_RANGE,
        "%s %.10g is %.4f degree from the nearest node of grid %s (limit %g): use --regrid, or create "
        "--grid-from",
        a->what, a->v[k], off, t->g->name, BC_SNAP_DEGREES);
  if (from[i] >= 0)
    return BC_FAIL(err, BC_E_RANGE, "%ss %.10g and %.10g fall on the same node of grid %s", a->what,
                   a->v[(size_t)from[i]], a->v[k], t->g->name);
  if (before >= 0 && gap != 1)
    return BC_FAIL(err, BC_E_RANGE, "%ss jump from %.10g to %.10g: nodes of grid %s between them are missing",
                   a->what, a->v[k - 1], a->v[k], t->g->name);
  return BC_OK;
}

/* Fills from[node] = source position; -1 where the file has none. */
static bc_status match_nodes(const target *t, const src_axis *a, int64_t *from, bc_err *err)
{
  int64_t before = -1;

  for (size_t k = 0; k < a->n; k++) {
    int64_t i = 0;
    double off = 0;
    if (!find_node(t, a->v[k], &i, &off)) {
      before = -1;
      continue;
    }
    BC_RET(check_match(t, a, k, i, off, before, from, err));
    from[i] = (int64_t)k;
    before = i;
  }
  return BC_OK;
}

static bc_status make_move(const target *t, const src_axis *a, axis_map *m, bc_err *err)
{
  bc_status st = BC_OK;
  int64_t *from = bc_calloc((size_t)t->n, sizeof *from);
  bool *covered = bc_calloc((size_t)t->n, sizeof *covered);

  if (from == NULL || covered == NULL) {
    st = no_memory(err);
    goto out;
  }
  for (int64_t i = 0; i < t->n; i++)
    from[i] = -1;
  BC_TRY(check_step(t, a, err));
  BC_TRY(match_nodes(t, a, from, err));
  for (int64_t i = 0; i < t->n; i++)
    covered[i] = from[i] >= 0;
  BC_TRY(find_stretch(t, covered, a, &m->first, &m->n, err));
  BC_TRY(map_alloc(m, (size_t)m->n, (size_t)m->n, err));
  for (int64_t i = 0; i < m->n; i++) {
    m->at[i] = (size_t)i;
    m->src[i] = a->id[from[(m->first + i) % t->n]];
    m->w[i] = 1;
  }
  m->at[m->n] = (size_t)m->n;
out:
  bc_free(from);
  bc_free(covered);
  return st;
}

/* ---- interpolation ---- */
/* A target longitude counted on from the file's first column, [v0, v0 + 360). */
static double place_on(const src_axis *a, bool is_lat, double x)
{
  double d;

  if (is_lat) return x;
  d = x - a->v[0];
  d -= TURN * floor(d / TURN);
  if (d > TURN - BC_SNAP_DEGREES) d -= TURN; /* just west of the first column */
  return a->v[0] + d;
}

/* Edge between source positions k - 1 and k; k = 0 and n are the outer edges. lone: spacing where there is
 * one position only. */
static double edge(const src_axis *a, bool is_lat, size_t k, double lone)
{
  double v;

  if (k > 0 && k < a->n) return (a->v[k - 1] + a->v[k]) / 2;
  if (a->wraps) { /* half-way between the last and the first */
    const double gap = TURN - (a->v[a->n - 1] - a->v[0]);
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
static size_t below(const src_axis *a, double x)
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

static void pick_nearest(const src_axis *a, bool is_lat, double x, double lone, picks *p)
{
  size_t k = below(a, x);
  double next, here;

  if (x < edge(a, is_lat, 0, lone) - BC_SNAP_DEGREES) {
    if (!a->wraps) return;
    x += TURN;
    k = a->n - 1;
  }
  here = fabs(x - a->v[k]);
  next = k + 1 < a->n ? a->v[k + 1] : a->wraps ? a->v[0] + TURN : INFINITY;
  if (next - x < here)
    k = k + 1 < a->n ? k + 1 : 0;
  else if (k + 1 == a->n && x > edge(a, is_lat, a->n, lone) + BC_SNAP_DEGREES)
    return;
  add_pick(p, a->id[k], 1);
}

static void pick_bilinear(const src_axis *a, double x, picks *p)
{
  const size_t k = below(a, x);
  const bool last = k + 1 == a->n;
  const double next = last ? a->v[0] + TURN : a->v[k + 1];
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

static void pick_overlaps(const src_axis *a, bool is_lat, double lo, double hi, double lone, picks *p)
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
static void pick_mean(const src_axis *a, bool is_lat, double x, double half, picks *p)
{
  double lo = x - half, hi = x + half;
  const double lone = 2 * half;
  const double west = edge(a, is_lat, 0, lone), east = edge(a, is_lat, a->n, lone);

  if (is_lat) {
    lo = BC_MAX(lo, -90.0);
    hi = BC_MIN(hi, 90.0);
  }
  if (!a->wraps && (x < west - BC_SNAP_DEGREES || x > east + BC_SNAP_DEGREES)) {
    if (is_lat || x - TURN < west - BC_SNAP_DEGREES || x - TURN > east + BC_SNAP_DEGREES) return;
    lo -= TURN;
    hi -= TURN;
  }
  pick_overlaps(a, is_lat, lo, hi, lone, p);
  if (is_lat || !a->wraps) return;
  /* the part of the cell that lies a turn away */
  if (lo < west) pick_overlaps(a, is_lat, lo + TURN, BC_MIN(hi, west) + TURN, lone, p);
  if (hi > east) pick_overlaps(a, is_lat, BC_MAX(lo, east) - TURN, hi - TURN, lone, p);
}

static void pick(const src_axis *a, const target *t, bc_regrid mode, int64_t i, picks *p)
{
  const double x = place_on(a, t->is_lat, node(t, i)), step = node_step(t);

  p->n = 0;
  switch (mode) {
  case BC_REGRID_NEAREST:
    pick_nearest(a, t->is_lat, x, step, p);
    if (p->n == 0 && !t->is_lat) pick_nearest(a, t->is_lat, x - TURN, step, p);
    break;
  case BC_REGRID_BILINEAR: pick_bilinear(a, x, p); break;
  case BC_REGRID_MEAN: pick_mean(a, t->is_lat, x, step / 2, p); break;
  case BC_REGRID_NONE: break;
  }
}

/* Which nodes the file covers, and how many sources they have together. */
static bc_status find_covered(const src_axis *a, const target *t, bc_regrid mode, picks *p, bool *covered,
                              int64_t *first, int64_t *n, size_t *entries, bc_err *err)
{
  for (int64_t i = 0; i < t->n; i++) {
    pick(a, t, mode, i, p);
    covered[i] = p->n > 0;
  }
  BC_RET(find_stretch(t, covered, a, first, n, err));
  *entries = 0;
  for (int64_t i = 0; i < *n; i++) {
    pick(a, t, mode, (*first + i) % t->n, p);
    *entries += p->n;
  }
  return BC_OK;
}

static bc_status make_weights(const target *t, const src_axis *a, bc_regrid mode, axis_map *m, bc_err *err)
{
  bc_status st = BC_OK;
  /* a node takes each source once, at most twice where its cell meets itself round the Earth */
  picks p = { .cap = 2 * a->n + 4 };
  bool *covered = bc_calloc((size_t)t->n, sizeof *covered);
  size_t entries = 0;

  p.src = bc_calloc(p.cap, sizeof *p.src);
  p.w = bc_calloc(p.cap, sizeof *p.w);
  if (covered == NULL || p.src == NULL || p.w == NULL) {
    st = no_memory(err);
    goto out;
  }
  BC_TRY(find_covered(a, t, mode, &p, covered, &m->first, &m->n, &entries, err));
  BC_TRY(map_alloc(m, (size_t)m->n, entries, err));
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

/* ---- the whole ---- */
static bc_status find_runs(bc_regridder *r, bc_err *err)
{
  const size_t n = (size_t)r->cols.n;
  size_t m = 1;

  for (size_t i = 1; i < n; i++)
    m += r->cols.src[i] != r->cols.src[i - 1] + 1;
  if (m > n / 8 + 2) return BC_OK; /* column by column is as good */
  r->runs = bc_calloc(m, sizeof *r->runs);
  if (r->runs == NULL) return no_memory(err);
  for (size_t i = 0; i < n; i++) {
    if (i == 0 || r->cols.src[i] != r->cols.src[i - 1] + 1)
      r->runs[r->n_runs++] = (run){ .dst = i, .src = r->cols.src[i] };
    r->runs[r->n_runs - 1].n++;
  }
  return BC_OK;
}

static bc_status make_axis(const target *t, const src_axis *a, bc_regrid mode, axis_map *m, bc_err *err)
{
  if (t->lo < 0 || t->hi <= t->lo || t->hi - t->lo > t->n || (!t->wraps && t->hi > t->n))
    return BC_FAIL(err, BC_E_INVAL, "nodes %" PRId64 " to %" PRId64 " are not on grid %s", t->lo, t->hi,
                   t->g->name);
  return mode == BC_REGRID_NONE ? make_move(t, a, m, err) : make_weights(t, a, mode, m, err);
}

bc_status bc_regrid_open(const bc_grid *grid, const bc_box *clip, const double *lat, size_t nlat,
                         const double *lon, size_t nlon, bc_regrid mode, bc_regridder **out, bc_err *err)
{
  bc_status st = BC_OK;
  src_axis y = { .n = 0 }, x = { .n = 0 };
  target ty = { .g = grid, .is_lat = true, .n = grid->ny, .hi = grid->ny };
  target tx = { .g = grid, .n = grid->nx, .hi = grid->nx, .wraps = grid->wraps };
  bc_regridder *r = NULL;

  *out = NULL;
  if (clip != NULL) {
    ty.lo = clip->y;
    ty.hi = clip->y + clip->ny;
    tx.lo = clip->x;
    tx.hi = clip->x + clip->nx;
  }
  r = bc_calloc(1, sizeof *r);
  if (r == NULL) return no_memory(err);
  r->mode = mode;
  r->nlon = nlon;
  BC_TRY(read_latitudes(&y, lat, nlat, err));
  BC_TRY(read_longitudes(&x, lon, nlon, err));
  BC_TRY(make_axis(&ty, &y, mode, &r->rows, err));
  BC_TRY(make_axis(&tx, &x, mode, &r->cols, err));
  if (bc_regrid_is_move(r)) BC_TRY(find_runs(r, err));
  *out = r;
  r = NULL;
out:
  src_axis_dispose(&y);
  src_axis_dispose(&x);
  bc_regrid_close(r);
  return st;
}

void bc_regrid_close(bc_regridder *r)
{
  if (r == NULL) return;
  map_dispose(&r->rows);
  map_dispose(&r->cols);
  bc_free(r->runs);
  bc_free(r);
}

bc_box bc_regrid_box(const bc_regridder *r)
{
  return (bc_box){ .y = r->rows.first, .x = r->cols.first, .ny = r->rows.n, .nx = r->cols.n };
}

bool bc_regrid_is_move(const bc_regridder *r)
{
  return r->mode == BC_REGRID_NONE || r->mode == BC_REGRID_NEAREST;
}

#define MOVE_PLANE(NAME, T)                                                                                  \
  static void NAME(const bc_regridder *r, const T *src, T *dst)                                              \
  {                                                                                                          \
    const size_t nx = (size_t)r->cols.n;                                                                     \
    for (int64_t i = 0; i < r->rows.n; i++, dst += nx) {                                                     \
      const T *row = src + r->rows.src[i] * r->nlon;                                                         \
      for (size_t k = 0; k < r->n_runs; k++)                                                                 \
        memcpy(dst + r->runs[k].dst, row + r->runs[k].src, r->runs[k].n * sizeof(T));                        \
      for (size_t j = 0; r->runs == NULL && j < nx; j++)                                                     \
        dst[j] = row[r->cols.src[j]];                                                                        \
    }                                                                                                        \
  }
MOVE_PLANE(move_f32, float)
MOVE_PLANE(move_i16, int16_t)

/* Weighted sum around one target node; *weight receives that of the values that are there. */
static double gather(const bc_regridder *r, const float *src, int64_t i, int64_t j, double *weight,
                     bool *complete)
{
  const axis_map *rows = &r->rows, *cols = &r->cols;
  double sum = 0, total = 0;

  *complete = true;
  for (size_t a = rows->at[i]; a < rows->at[i + 1]; a++) {
    const float *row = src + rows->src[a] * r->nlon;
    double part = 0, share = 0;
    for (size_t b = cols->at[j]; b < cols->at[j + 1]; b++) {
      const float v = row[cols->src[b]];
      if (isnan(v)) {
        *complete = false;
        continue;
      }
      part += cols->w[b] * (double)v;
      share += cols->w[b];
    }
    sum += rows->w[a] * part;
    total += rows->w[a] * share;
  }
  *weight = total;
  return sum;
}

void bc_regrid_plane_f32(const bc_regridder *r, const float *src, float *dst)
{
  if (bc_regrid_is_move(r)) {
    move_f32(r, src, dst);
    return;
  }
  for (int64_t i = 0; i < r->rows.n; i++) {
    for (int64_t j = 0; j < r->cols.n; j++) {
      bool complete;
      double weight;
      const double sum = gather(r, src, i, j, &weight, &complete);
      const bool there = r->mode == BC_REGRID_MEAN ? weight > 0 : complete;
      *dst++ = there ? (float)(sum / weight) : NAN;
    }
  }
}

void bc_regrid_plane_i16(const bc_regridder *r, const int16_t *src, int16_t *dst) { move_i16(r, src, dst); }
