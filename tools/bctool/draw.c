/*
 * Drawing a selection: what is drawn when more is selected than a picture shows, and the coast.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bctool/selection.h"
#include "tools/bctool/ui.h"

/* ---- one map of many ---- */

static bc_status narrow_level(const bc_var *v, bc_select *sel, bc_err *err)
{
  const int d = bc_var_dim(v, BC_DIM_LEVEL);
  char text[40];

  if (d < 0 || v->shape[d] < 2) return BC_OK;
  (void)snprintf(text, sizeof text, "%.17g", v->coord[d][0]);
  bct_say("note: %lld levels are selected, drawn is %.7g %s (choose with --level)", (long long)v->shape[d],
          v->coord[d][0], v->level_units);
  sel->n_levels = 0;
  return bc_select_add_levels(sel, text, err);
}

static void narrow_time(const bc_var *v, bc_select *sel)
{
  const int d = bc_var_dim(v, BC_DIM_TIME);
  char span[BCT_TEXT_MAX];

  if (d < 0 || v->shape[d] < 2) return;
  sel->t_begin = v->time_bounds != NULL ? v->time_bounds[0] : (int64_t)v->coord[d][0];
  sel->t_end = v->time_bounds != NULL ? v->time_bounds[1] : sel->t_begin + 1;
  bct_say("note: %lld %s are selected, drawn is %s%s (choose with --time)", (long long)v->shape[d],
          sel->agg != BC_AGG_NONE ? "periods" : "steps",
          sel->agg != BC_AGG_NONE ? "the aggregate of the one from " : "",
          bct_text_span(span, sel->t_begin, sel->t_begin));
}

/* A map shows several nodes; one node is drawn as a series, as points are. */
static bool is_map(const bc_var *v)
{
  const int y = bc_var_dim(v, BC_DIM_LAT), x = bc_var_dim(v, BC_DIM_LON);

  return y >= 0 && x >= 0 && (v->shape[y] > 1 || v->shape[x] > 1);
}

/* Opens the query; for a map, of its first step and level only. */
static bc_status open_narrowed(bc_store *store, bc_select *sel, const bc_query_opts *opts, bc_query **q,
                               bc_err *err)
{
  const bc_var *const *vars;
  size_t n;

  BC_RET(bc_query_open(store, sel, opts, q, err));
  n = bc_query_vars(*q, &vars);
  if (n != 1)
    return BC_FAIL(err, BC_E_INVAL,
                   "a picture shows one variable, %zu are selected (%s, %s%s): choose one with --var", n,
                   vars[0]->name, vars[1]->name, n > 2 ? " ..." : "");
  if (!is_map(vars[0])) return BC_OK;
  narrow_time(vars[0], sel);
  BC_RET(narrow_level(vars[0], sel, err));
  bc_query_close(*q);
  *q = NULL;
  return bc_query_open(store, sel, opts, q, err);
}

/* ---- the coast ---- */

typedef struct coast {
  bc_query *q; /* owns the coordinates */
  bc_var var;  /* latitude, longitude */
  bc_block block;
  void *data;
} coast;

static void coast_close(coast *c)
{
  free(c->data);
  c->data = NULL;
  bc_query_close(c->q);
  c->q = NULL;
}

/* The variable lsm on that grid as "group/lsm", and its first step. */
static bc_status find_lsm(bc_store *store, const char *grid, char *name, size_t cap, int64_t *t, bc_err *err)
{
  bc_snapshot *snap = NULL;
  bc_status st;

  name[0] = '\0';
  BC_TRY(bc_snapshot_open(store, &snap, err));
  for (size_t i = 0; i < bc_snapshot_modalities(snap); i++) {
    const bc_modality *const m = bc_snapshot_modality(snap, i);
    bc_usage usage;
    if (strcmp(m->name, "lsm") != 0 || strcmp(bc_snapshot_grid(snap, m->grid)->name, grid) != 0) continue;
    BC_TRY(bc_snapshot_usage(snap, m->id, &usage, err));
    if (usage.n_tiles == 0) continue;
    (void)snprintf(name, cap, "%s/lsm", m->group);
    *t = usage.t_first;
    break;
  }
out:
  bc_snapshot_close(snap);
  return st;
}

/* The plane of a variable whose other dimensions have one element. */
static bool coast_plane(const bc_var *v, coast *c)
{
  int n = 0;

  if (v->dtype != BC_F32) return false;
  c->var = *v;
  for (int d = 0; d < v->ndim; d++) {
    const bool plane = v->dims[d] == BC_DIM_LAT || v->dims[d] == BC_DIM_LON;
    if (!plane && v->shape[d] != 1) return false;
    if (!plane) continue;
    c->var.dims[n] = v->dims[d];
    c->var.shape[n] = v->shape[d];
    c->var.coord[n++] = v->coord[d];
  }
  c->var.ndim = n;
  if (n != 2) return false;
  c->block = (bc_block){ .var = &c->var, .data = c->data };
  memcpy(c->block.shape, c->var.shape, sizeof c->block.shape);
  c->block.stride[1] = (int64_t)sizeof(float);
  c->block.stride[0] = c->var.shape[1] * c->block.stride[1];
  return true;
}

/* The land fraction over the box of sel; c->block.var stays NULL when the store has none there. */
static bc_status coast_open(bc_store *store, const bc_select *sel, const char *grid, coast *c, bc_err *err)
{
  const bc_var *const *vars;
  char name[2 * BC_NAME_MAX];
  bc_select want;
  int64_t t = BC_TIME_STATIC;
  bc_status st;

  bc_select_init(&want);
  BC_TRY(find_lsm(store, grid, name, sizeof name, &t, err));
  if (name[0] == '\0') goto out;
  BC_TRY(bc_select_add_vars(&want, name, err));
  want.has_bbox = sel->has_bbox;
  want.west = sel->west;
  want.south = sel->south;
  want.east = sel->east;
  want.north = sel->north;
  want.every_space = sel->every_space;
  want.lat_ascending = sel->lat_ascending;
  want.lon_360 = sel->lon_360;
  if (t != BC_TIME_STATIC) {
    want.t_begin = t;
    want.t_end = t + 1;
  }
  BC_TRY(bc_query_open(store, &want, NULL, &c->q, err));
  if (bc_query_vars(c->q, &vars) != 1) goto out;
  const uint64_t bytes = bct_var_bytes(vars[0]);
  c->data = bytes <= SIZE_MAX / 2 ? malloc((size_t)bytes) : NULL;
  if (c->data == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "not enough memory for the coast");
    goto out;
  }
  BC_TRY(bc_query_read(c->q, 0, c->data, (size_t)bytes, err));
  if (!coast_plane(vars[0], c)) c->block.var = NULL;
out:
  bc_select_dispose(&want);
  return st;
}

/* ---- the picture ---- */

bc_status bct_draw(bc_store *store, bc_select *sel, const bc_query_opts *opts, const bc_sink_opts *sink,
                   const char *path, bc_err *err)
{
  bc_sink_opts with_coast = *sink;
  const bc_var *const *vars;
  bc_query *q = NULL;
  bc_query_part part;
  coast c = { 0 };
  bc_err none;
  bc_status st;

  BC_TRY(open_narrowed(store, sel, opts, &q, err));
  bct_say_answer(q);
  bc_query_get_part(q, 0, &part);
  if (bc_query_vars(q, &vars) == 1 &&
      is_map(vars[0])) { /* a picture without a coast is still the picture that was asked for */
    if (coast_open(store, sel, part.grid, &c, &none) != BC_OK)
      bct_say("note: no coast: %s", none.msg);
    else if (c.block.var != NULL)
      with_coast.coast = &c.block;
  }
  BC_TRY(bct_write_answer(q, &with_coast, path, err));
out:
  coast_close(&c);
  bc_query_close(q);
  return st;
}
