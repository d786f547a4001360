/* Which nodes of the grid a file covers, and the map of rows or columns when they stand on its lattice. */
#include <inttypes.h>
#include <math.h>

#include "ingest/regrid_int.h"

bc_status bc_rg_no_memory(bc_err *err)
{
  return BC_FAIL(err, BC_E_NOMEM, "out of memory for a change of grid");
}

bc_status bc_rg_map_alloc(bc_rg_map *m, size_t n, size_t entries, bc_err *err)
{
  size_t at_bytes = 0, src_bytes = 0;

  if (!bc_mul_sz(n + 1, sizeof *m->at, &at_bytes) || !bc_mul_sz(entries, sizeof *m->w, &src_bytes))
    return BC_FAIL(err, BC_E_RANGE, "a grid of %zu nodes per side is too large", n);
  m->at = bc_malloc(at_bytes);
  m->src = bc_malloc(BC_MAX(src_bytes, sizeof *m->src));
  m->w = bc_malloc(BC_MAX(src_bytes, sizeof *m->w));
  return m->at == NULL || m->src == NULL || m->w == NULL ? bc_rg_no_memory(err) : BC_OK;
}

void bc_rg_map_dispose(bc_rg_map *m)
{
  bc_free(m->at);
  bc_free(m->src);
  bc_free(m->w);
}

static bc_status outside(const bc_rg_target *t, const bc_rg_axis *a, bc_err *err)
{
  return BC_FAIL(
      err, BC_E_RANGE,
      "its %ss, %.10g to %.10g, lie outside the nodes of grid %s that are asked for, %.10g to %.10g", a->what,
      a->v[0], a->v[a->n - 1], t->g->name, bc_rg_node(t, t->is_lat ? t->hi - 1 : t->lo),
      bc_rg_node(t, t->is_lat ? t->lo : t->hi - 1));
}

bc_status bc_rg_find_stretch(const bc_rg_target *t, const bool *covered, const bc_rg_axis *a, int64_t *first,
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
                   a->what, pieces, bc_rg_node(t, *first));
  *first %= t->n;
  return BC_OK;
}

/* ---- moves: the file stands on the lattice ---- */
static bc_status check_step(const bc_rg_target *t, const bc_rg_axis *a, bc_err *err)
{
  const double step = bc_rg_node_step(t);
  const double own = a->n > 1 ? (a->v[a->n - 1] - a->v[0]) / (double)(a->n - 1) : step;

  if (fabs(own - step) <= BC_MAX(BC_SNAP_DEGREES, 0.01 * step)) return BC_OK;
  for (size_t k = 2; k < a->n; k++) {
    const double before = a->v[k - 1] - a->v[k - 2], gap = a->v[k] - a->v[k - 1];
    if (fabs(gap - before) > BC_MAX(2 * BC_SNAP_DEGREES, 0.02 * before))
      return BC_FAIL(
          err, BC_E_RANGE,
          "its %ss are not evenly spaced (%.10g to %.10g, then %.10g to %.10g): leave it out with --var, "
          "or use --regrid",
          a->what, a->v[k - 2], a->v[k - 1], a->v[k - 1], a->v[k]);
  }
  return BC_FAIL(
      err, BC_E_RANGE,
      "its %ss are %.6g degree apart, those of grid %s %.6g: leave it out with --var, or use --regrid, or "
      "create --grid-from",
      a->what, own, t->g->name, step);
}

static bool find_node(const bc_rg_target *t, double v, int64_t *i, double *off)
{
  return t->is_lat ? bc_grid_row(t->g, v, i, off) : bc_grid_col(t->g, v, i, off);
}

/* Source position k stands on node i; the one before it on node before, or beside the grid (-1). */
static bc_status check_match(const bc_rg_target *t, const bc_rg_axis *a, size_t k, int64_t i, double off,
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
static bc_status match_nodes(const bc_rg_target *t, const bc_rg_axis *a, int64_t *from, bc_err *err)
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

bc_status bc_rg_make_move(const bc_rg_target *t, const bc_rg_axis *a, bc_rg_map *m, bc_err *err)
{
  bc_status st = BC_OK;
  int64_t *from = bc_calloc((size_t)t->n, sizeof *from);
  bool *covered = bc_calloc((size_t)t->n, sizeof *covered);

  if (from == NULL || covered == NULL) {
    st = bc_rg_no_memory(err);
    goto out;
  }
  for (int64_t i = 0; i < t->n; i++)
    from[i] = -1;
  BC_TRY(check_step(t, a, err));
  BC_TRY(match_nodes(t, a, from, err));
  for (int64_t i = 0; i < t->n; i++)
    covered[i] = from[i] >= 0;
  BC_TRY(bc_rg_find_stretch(t, covered, a, &m->first, &m->n, err));
  BC_TRY(bc_rg_map_alloc(m, (size_t)m->n, (size_t)m->n, err));
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
