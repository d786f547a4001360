/*
 * Between the parts of regridding: regrid_axis.c (the file's rows and columns in order) -> regrid_map.c (onto
 * which nodes they fall; moves) or regrid_weights.c (interpolation) -> regrid.c (planes through the maps).
 * Internal.
 */
#ifndef BC_INGEST_REGRID_INT_H
#define BC_INGEST_REGRID_INT_H

#include "ingest/regrid.h"
#include "store/grid.h"

#define BC_RG_TURN 360.0

/* ---- the file's axes (regrid_axis.c) ---- */
typedef struct bc_rg_axis {
  const char *what;
  size_t n;
  double *v;       /* ascending; longitudes unwrapped from v[0] */
  size_t *id;      /* row or column of the file */
  bool wraps;      /* the last column is followed by the first */
  bool has_repeat; /* column id[n] of the file stands where id[0] does, and was dropped */
} bc_rg_axis;

bc_status bc_rg_read_latitudes(bc_rg_axis *a, const double *lat, size_t n, bc_err *err) BC_MUST_CHECK;
/* Any convention and start; a column a full turn after the first repeats it and is dropped. */
bc_status bc_rg_read_longitudes(bc_rg_axis *a, const double *lon, size_t n, bc_err *err) BC_MUST_CHECK;
void bc_rg_axis_dispose(bc_rg_axis *a);

/* ---- maps (regrid_map.c) ---- */
typedef struct bc_rg_map { /* of target nodes first .. first + n - 1 */
  int64_t first, n;
  size_t *at;  /* n + 1: where a node's list begins */
  size_t *src; /* source row or column */
  double *w;
} bc_rg_map;

/* Target nodes of one axis, and how the file covers them. */
typedef struct bc_rg_target {
  const bc_grid *g;
  bool is_lat;
  int64_t n;      /* nodes of the grid */
  bool wraps;     /* node n is node 0 */
  int64_t lo, hi; /* clip, hi exclusive; hi may pass n when wraps */
} bc_rg_target;

static inline double bc_rg_node(const bc_rg_target *t, int64_t i)
{
  return t->is_lat ? bc_grid_y(t->g, i) : bc_grid_x(t->g, i % t->n);
}
static inline double bc_rg_node_step(const bc_rg_target *t) { return t->is_lat ? -t->g->dy : t->g->dx; }

bc_status bc_rg_map_alloc(bc_rg_map *m, size_t n, size_t entries, bc_err *err) BC_MUST_CHECK;
void bc_rg_map_dispose(bc_rg_map *m);
bc_status bc_rg_no_memory(bc_err *err); /* BC_E_NOMEM */
/*
 * The nodes that are covered and asked for, as one stretch. covered has n entries. On a grid that wraps a
 * stretch may pass the end; without gaps and a clip it starts at node 0.
 */
bc_status bc_rg_find_stretch(const bc_rg_target *t, const bool *covered, const bc_rg_axis *a, int64_t *first,
                             int64_t *n, bc_err *err) BC_MUST_CHECK;
/* The file stands on the lattice: each node has one source. Fills *m. */
bc_status bc_rg_make_move(const bc_rg_target *t, const bc_rg_axis *a, bc_rg_map *m,
                          bc_err *err) BC_MUST_CHECK;

/* ---- interpolation (regrid_weights.c) ---- */
/* mode is not BC_REGRID_NONE. Fills *m. */
bc_status bc_rg_make_weights(const bc_rg_target *t, const bc_rg_axis *a, bc_regrid mode, bc_rg_map *m,
                             bc_err *err) BC_MUST_CHECK;

#endif
