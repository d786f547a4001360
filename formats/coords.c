#include "formats/coords.h"

#include <string.h>

static const char k_seconds[] = "seconds since 1970-01-01 00:00:00";

static bc_status no_memory(bc_err *err) { return BC_FAIL(err, BC_E_NOMEM, "no memory for coordinates"); }

/* Takes the place after the last one; name is prefix with the axis' own ending: "latitude" + "_1". */
static bc_status add(bc_coords *c, const bc_axis *x, const char *prefix, bc_coord **out, bc_err *err)
{
  bc_coord *k = &c->coord[c->n++];
  const char *ending = x->name + strlen(bc_dim_name(x->dim));

  *k = (bc_coord){ .dtype = BC_F64, .units = "", .ndim = 1, .shape = { x->n, 1 } };
  k->own_name = bc_asprintf("%s%s", prefix, ending);
  if (k->own_name == NULL) return no_memory(err);
  k->name = k->own_name;
  k->bytes = (size_t)x->n * 8u;
  *out = k;
  return BC_OK;
}

static bc_status add_time(bc_coords *c, const bc_axis *x, bc_err *err)
{
  bc_coord *k = NULL;
  const double *t = x->var->coord[x->d];

  BC_RET(add(c, x, "time", &k, err));
  k->dtype = BC_I64;
  k->time = true;
  k->units = k_seconds;
  int64_t *seconds = bc_malloc(k->bytes > 0 ? k->bytes : 1);
  k->data = k->own_data = seconds;
  if (seconds == NULL) return no_memory(err);
  for (int64_t i = 0; i < x->n; i++)
    seconds[i] = (int64_t)t[i];
  if (x->var->time_bounds == NULL) return BC_OK;
  BC_RET(add(c, x, "time_bnds", &k, err));
  k->dtype = BC_I64;
  k->time = true;
  k->units = k_seconds;
  k->ndim = 2;
  k->shape[1] = 2;
  k->data = x->var->time_bounds;
  k->bytes *= 2;
  return BC_OK;
}

static bc_status add_plain(bc_coords *c, const bc_axis *x, const char *name, const char *units,
                           const double *data, bc_err *err)
{
  bc_coord *k = NULL;

  BC_RET(add(c, x, name, &k, err));
  k->units = units;
  k->data = data;
  return BC_OK;
}

static bc_status add_axis(bc_coords *c, const bc_axis *x, bc_err *err)
{
  const bc_var *v = x->var;

  switch (x->dim) {
  case BC_DIM_TIME: return add_time(c, x, err);
  case BC_DIM_LEVEL: return add_plain(c, x, "level", v->level_units, v->coord[x->d], err);
  case BC_DIM_LAT: return add_plain(c, x, "latitude", "degrees_north", v->coord[x->d], err);
  case BC_DIM_LON: return add_plain(c, x, "longitude", "degrees_east", v->coord[x->d], err);
  case BC_DIM_POINT: break;
  }
  BC_RET(add_plain(c, x, "latitude", "degrees_north", v->point_lat, err));
  return add_plain(c, x, "longitude", "degrees_east", v->point_lon, err);
}

static bc_status check_names(const bc_coords *c, bc_err *err)
{
  for (size_t k = 0; k < c->n; k++) {
    bool twice = false;
    for (size_t i = 0; i < k; i++)
      twice = twice || strcmp(c->coord[i].name, c->coord[k].name) == 0;
    for (int32_t i = 0; i < c->n_vars; i++)
      twice = twice || strcmp(c->labels[i], c->coord[k].name) == 0;
    if (twice)
      return BC_FAIL(err, BC_E_INVAL,
                     "two arrays would be named \"%s\": ask for these variables one by one, or write .nc",
                     c->coord[k].name);
  }
  return BC_OK;
}

bc_status bc_coords_init(bc_coords *c, const bc_stream *in, bc_err *err)
{
  bc_status st = BC_OK;

  *c = (bc_coords){ .n_vars = in->n_vars };
  BC_TRY(bc_labels_init(&c->labels, in, '.', false, err));
  BC_TRY(bc_axes_init(&c->axes, in, true, c->labels, err));
  /* An axis gives two arrays at most: time and its bounds, latitude and longitude of points. */
  c->coord = bc_calloc(2u * (size_t)c->axes.n + 1u, sizeof *c->coord);
  if (c->coord == NULL) {
    st = no_memory(err);
    goto out;
  }
  for (int i = 0; i < c->axes.n; i++)
    BC_TRY(add_axis(c, &c->axes.axis[i], err));
  BC_TRY(check_names(c, err));
out:
  if (st != BC_OK) bc_coords_dispose(c);
  return st;
}

void bc_coords_dispose(bc_coords *c)
{
  for (size_t k = 0; k < c->n; k++) {
    bc_free(c->coord[k].own_name);
    bc_free(c->coord[k].own_data);
  }
  bc_free(c->coord);
  bc_axes_dispose(&c->axes);
  bc_labels_free(c->labels, c->n_vars);
  *c = (bc_coords){ 0 };
}
