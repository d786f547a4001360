/*
 * CF-1.11 netCDF-4. The library is not thread-safe: its lock is held around every call, and given back while
 * the stream works.
 */
#include "formats/sink_int.h"

#include <math.h>
#include <netcdf.h>
#include <stdio.h>
#include <string.h>

#include "store/datetime.h"
#include "store/netcdf_lock.h"

enum { CHUNK_BYTES = 4 << 20, DEFLATE_LEVEL = 1 };
#define TIME_UNITS "seconds since 1970-01-01 00:00:00"

typedef struct nc_file {
  int id;
  bool open;
  bc_out *out;
  bc_stream *in;
  char **labels;
  bc_axes axes;
  int *dim;       /* of each axis */
  int *coord;     /* variable of each axis */
  int *bounds;    /* of time axes; -1 when none */
  int *lat, *lon; /* of point axes */
  int nv;         /* dimension of length 2; -1 until needed */
  int *var;       /* of each variable of the stream */
  bc_pull pull;
  uint64_t room; /* the most that HDF5 may have to write before it is asked again */
} nc_file;

/* netCDF-C says "HDF error" for a full disk as for anything else: ask the file itself. */
static bc_status nc_fail(nc_file *f, int rc, const char *what, bc_err *err)
{
  if (rc == NC_ENOMEM)
    return BC_FAIL_SYS(err, BC_E_NOMEM, "netcdf", rc, "%s: no memory in netCDF-C", f->out->path);
  BC_RET(bc_out_probe_full(f->out, err));
  return BC_FAIL_SYS(err, BC_E_IO, "netcdf", rc, "%s: netCDF-C cannot write %s: %s", f->out->path, what,
                     nc_strerror(rc));
}

/* One call of the library, under its lock. */
#define NC(f, call, what)                                                                                    \
  do {                                                                                                       \
    bc_netcdf_lock(NULL);                                                                                    \
    const int nc_rc_ = (call);                                                                               \
    bc_netcdf_unlock();                                                                                      \
    if (nc_rc_ != NC_NOERR) return nc_fail((f), nc_rc_, (what), err);                                        \
  } while (0)

/* ---- attributes ---- */

static bc_status put_text(nc_file *f, int var, const char *name, const char *value, bc_err *err)
{
  NC(f, nc_put_att_text(f->id, var, name, strlen(value), value), name);
  return BC_OK;
}

static bc_status put_number(nc_file *f, int var, const char *name, double value, bc_err *err)
{
  if (value == floor(value) && fabs(value) <= 2147483647.0) {
    const int i = (int)value;
    NC(f, nc_put_att_int(f->id, var, name, NC_INT, 1, &i), name);
  } else {
    NC(f, nc_put_att_double(f->id, var, name, NC_DOUBLE, 1, &value), name);
  }
  return BC_OK;
}

static bc_status put_attr(nc_file *f, int var, const bc_attr *a, bc_err *err)
{
  double number = 0;
  char name[NC_MAX_NAME + 1];

  (void)bc_copy_text(name, sizeof name, a->name);
  for (char *c = name; *c != '\0'; c++) {
    if (*c == '/') *c = '_'; /* the one printing character that names must not have */
  }
  if (a->numeric && bc_number_parse(a->value, &number)) return put_number(f, var, name, number, err);
  return put_text(f, var, name, a->value, err);
}

static const char *find_attr(const bc_attr *attrs, int32_t n, const char *name)
{
  for (int32_t i = 0; i < n; i++) {
    if (strcmp(attrs[i].name, name) == 0) return attrs[i].value;
  }
  return NULL;
}

/* ---- coordinates ---- */

static bc_status define_coord(nc_file *f, const char *name, nc_type type, int ndim, const int *dims, int *var,
                              bc_err *err)
{
  NC(f, nc_def_var(f->id, name, type, ndim, dims, var), name);
  return BC_OK;
}

/* All of a coordinate in one chunk, so that a reader gets it with one request; small ones stay unchunked. */
static bc_status chunk_coord(nc_file *f, int var, int64_t n, const char *name, bc_err *err)
{
  const size_t chunk[2] = { (size_t)n, 2 };
  const uint64_t most = (uint64_t)1 << 28; /* elements; HDF5 allows chunks of less than 4 GiB */

  if (n < 1024 || (uint64_t)n > most) return BC_OK;
  NC(f, nc_def_var_chunking(f->id, var, NC_CHUNKED, chunk), name);
  NC(f, nc_def_var_deflate(f->id, var, 1, 1, DEFLATE_LEVEL), name);
  return BC_OK;
}

static bc_status define_bounds(nc_file *f, int i, bc_err *err)
{
  const bc_axis *x = &f->axes.axis[i];
  char name[64];

  if (f->nv < 0) NC(f, nc_def_dim(f->id, "nv", 2, &f->nv), "dimension nv");
  (void)snprintf(name, sizeof name, "time_bnds%s", x->name + strlen("time"));
  const int dims[2] = { f->dim[i], f->nv };
  BC_RET(define_coord(f, name, NC_INT64, 2, dims, &f->bounds[i], err));
  BC_RET(chunk_coord(f, f->bounds[i], x->n, name, err));
  return put_text(f, f->coord[i], "bounds", name, err);
}

static bc_status define_time(nc_file *f, int i, bc_err *err)
{
  const bc_axis *x = &f->axes.axis[i];

  BC_RET(define_coord(f, x->name, NC_INT64, 1, &f->dim[i], &f->coord[i], err));
  BC_RET(chunk_coord(f, f->coord[i], x->n, x->name, err));
  BC_RET(put_text(f, f->coord[i], "standard_name", "time", err));
  BC_RET(put_text(f, f->coord[i], "long_name", "time", err));
  BC_RET(put_text(f, f->coord[i], "units", TIME_UNITS, err));
  BC_RET(put_text(f, f->coord[i], "calendar", "proleptic_gregorian", err));
  BC_RET(put_text(f, f->coord[i], "axis", "T", err));
  return x->var->time_bounds != NULL ? define_bounds(f, i, err) : BC_OK;
}

static bool is_pressure(const char *units)
{
  static const char *const k_pressure[] = {
    "hPa", "Pa", "mbar", "mb", "millibar", "millibars", "kPa", "bar"
  };
  for (size_t i = 0; i < BC_ARRAY_LEN(k_pressure); i++) {
    if (strcmp(k_pressure[i], units) == 0) return true;
  }
  return false;
}

static bc_status define_level(nc_file *f, int i, bc_err *err)
{
  const bc_axis *x = &f->axes.axis[i];
  const char *units = x->var->level_units;
  const bool pressure = is_pressure(units);

  BC_RET(define_coord(f, x->name, NC_DOUBLE, 1, &f->dim[i], &f->coord[i], err));
  if (pressure) BC_RET(put_text(f, f->coord[i], "standard_name", "air_pressure", err));
  BC_RET(put_text(f, f->coord[i], "long_name", pressure ? "pressure level" : "level", err));
  BC_RET(put_text(f, f->coord[i], "units", units[0] != '\0' ? units : "1", err));
  /* metres may be a height or a depth, a number may count either way: only pressure is certain */
  if (pressure) BC_RET(put_text(f, f->coord[i], "positive", "down", err));
  return put_text(f, f->coord[i], "axis", "Z", err);
}

/* Latitude or longitude: of grid nodes with an axis, of points without. */
static bc_status define_degrees(nc_file *f, const char *name, bool lat, const char *axis, int dim, int *var,
                                bc_err *err)
{
  BC_RET(define_coord(f, name, NC_DOUBLE, 1, &dim, var, err));
  BC_RET(put_text(f, *var, "standard_name", lat ? "latitude" : "longitude", err));
  BC_RET(put_text(f, *var, "long_name", lat ? "latitude" : "longitude", err));
  BC_RET(put_text(f, *var, "units", lat ? "degrees_north" : "degrees_east", err));
  return axis != NULL ? put_text(f, *var, "axis", axis, err) : BC_OK;
}

static void point_names(const bc_axis *x, char lat[64], char lon[64])
{
  const char *ending = x->name + strlen("point");
  (void)snprintf(lat, 64, "latitude%s", ending);
  (void)snprintf(lon, 64, "longitude%s", ending);
}

static bc_status define_points(nc_file *f, int i, bc_err *err)
{
  const bc_axis *x = &f->axes.axis[i];
  char lat[64], lon[64];

  point_names(x, lat, lon);
  BC_RET(define_coord(f, x->name, NC_INT, 1, &f->dim[i], &f->coord[i], err));
  BC_RET(put_text(f, f->coord[i], "long_name", "number of the point asked for", err));
  BC_RET(put_text(f, f->coord[i], "cf_role", "timeseries_id", err));
  BC_RET(define_degrees(f, lat, true, NULL, f->dim[i], &f->lat[i], err));
  return define_degrees(f, lon, false, NULL, f->dim[i], &f->lon[i], err);
}

static bc_status define_axis(nc_file *f, int i, bc_err *err)
{
  const bc_axis *x = &f->axes.axis[i];

  NC(f, nc_def_dim(f->id, x->name, (size_t)x->n, &f->dim[i]), x->name);
  switch (x->dim) {
  case BC_DIM_TIME: return define_time(f, i, err);
  case BC_DIM_LEVEL: return define_level(f, i, err);
  case BC_DIM_LAT: return define_degrees(f, x->name, true, "Y", f->dim[i], &f->coord[i], err);
  case BC_DIM_LON: return define_degrees(f, x->name, false, "X", f->dim[i], &f->coord[i], err);
  case BC_DIM_POINT: break;
  }
  return define_points(f, i, err);
}

static bc_status put_time(nc_file *f, int i, bc_err *err)
{
  bc_status st = BC_OK;
  const bc_axis *x = &f->axes.axis[i];
  long long *t = bc_malloc(((size_t)x->n + 1) * 2 * sizeof *t);

  if (t == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for %lld times", (long long)x->n);
  for (int64_t k = 0; k < x->n; k++)
    t[k] = (long long)x->var->coord[x->d][k];
  bc_netcdf_lock(NULL);
  int rc = nc_put_var_longlong(f->id, f->coord[i], t);
  for (int64_t k = 0; f->bounds[i] >= 0 && k < 2 * x->n; k++)
    t[k] = x->var->time_bounds[k];
  if (rc == NC_NOERR && f->bounds[i] >= 0) rc = nc_put_var_longlong(f->id, f->bounds[i], t);
  bc_netcdf_unlock();
  if (rc != NC_NOERR) st = nc_fail(f, rc, x->name, err);
  bc_free(t);
  return st;
}

static bc_status put_axis(nc_file *f, int i, bc_err *err)
{
  const bc_axis *x = &f->axes.axis[i];

  if (x->n == 0) return BC_OK;
  if (x->dim == BC_DIM_TIME) return put_time(f, i, err);
  NC(f, nc_put_var_double(f->id, f->coord[i], x->var->coord[x->d]), x->name);
  if (x->dim != BC_DIM_POINT) return BC_OK;
  NC(f, nc_put_var_double(f->id, f->lat[i], x->var->point_lat), "latitude");
  NC(f, nc_put_var_double(f->id, f->lon[i], x->var->point_lon), "longitude");
  return BC_OK;
}

/* ---- variables ---- */

static nc_type type_of(bc_dtype t)
{
  switch (t) {
  case BC_F32: return NC_FLOAT;
  case BC_F64: return NC_DOUBLE;
  case BC_I8: return NC_BYTE;
  case BC_I16: return NC_SHORT;
  case BC_I32: return NC_INT;
  case BC_I64: return NC_INT64;
  case BC_U8: return NC_UBYTE;
  }
  return NC_NAT;
}

/* Whole trailing dimensions, as much of the one before as keeps a chunk to 4 MiB, one of those further out:
 * what is written at a time, and what a reader of one map has to decode. */
static void chunk_shape(const bc_var *v, size_t chunk[BC_MAX_DIMS])
{
  uint64_t room = CHUNK_BYTES / bc_dtype_size(v->dtype);

  for (int d = v->ndim - 1; d >= 0; d--) {
    const uint64_t n = v->shape[d] > 0 ? (uint64_t)v->shape[d] : 1;
    chunk[d] = (size_t)BC_MIN(n, BC_MAX(room, 1));
    room = n > room ? 1 : room / n;
  }
}

static bc_status put_fill(nc_file *f, int var, bc_dtype t, const char *name, bc_err *err)
{
  const float f32 = NAN;
  const double f64 = (double)NAN;

  if (t == BC_F32) NC(f, nc_def_var_fill(f->id, var, NC_FILL, &f32), name);
  if (t == BC_F64) NC(f, nc_def_var_fill(f->id, var, NC_FILL, &f64), name);
  if (t != BC_F32 && t != BC_F64) NC(f, nc_def_var_fill(f->id, var, NC_NOFILL, NULL), name);
  return BC_OK;
}

static bc_status put_coordinates(nc_file *f, int32_t i, bc_err *err)
{
  const bc_var *v = f->in->vars[i];
  const int d = bc_var_dim(v, BC_DIM_POINT);
  char lat[64], lon[64], both[132];

  if (d < 0) return BC_OK;
  point_names(&f->axes.axis[f->axes.of[i * BC_MAX_DIMS + d]], lat, lon);
  (void)snprintf(both, sizeof both, "%s %s", lat, lon);
  return put_text(f, f->var[i], "coordinates", both, err);
}

static bc_status define_var(nc_file *f, int32_t i, bc_err *err)
{
  const bc_var *v = f->in->vars[i];
  int dims[BC_MAX_DIMS] = { 0 };
  size_t chunk[BC_MAX_DIMS] = { 0 };

  for (int d = 0; d < v->ndim; d++)
    dims[d] = f->dim[f->axes.of[i * BC_MAX_DIMS + d]];
  NC(f, nc_def_var(f->id, f->labels[i], type_of(v->dtype), v->ndim, dims, &f->var[i]), f->labels[i]);
  if (v->ndim > 0) {
    chunk_shape(v, chunk);
    NC(f, nc_def_var_chunking(f->id, f->var[i], NC_CHUNKED, chunk), f->labels[i]);
    NC(f, nc_def_var_deflate(f->id, f->var[i], 1, 1, DEFLATE_LEVEL), f->labels[i]);
    /* Chunks are written whole, one by one: more cache would only hold memory. */
    NC(f, nc_set_var_chunk_cache(f->id, f->var[i], CHUNK_BYTES, 3, 1.0F), f->labels[i]);
  }
  BC_RET(put_fill(f, f->var[i], v->dtype, f->labels[i], err));
  if (v->units[0] != '\0') BC_RET(put_text(f, f->var[i], "units", v->units, err));
  for (int32_t k = 0; k < v->n_attrs; k++) {
    if (bc_attr_travels(v->attrs[k].name)) BC_RET(put_attr(f, f->var[i], &v->attrs[k], err));
  }
  if (v->group[0] != '\0' && bc_var_attr(v, "group") == NULL)
    BC_RET(put_text(f, f->var[i], "group", v->group, err));
  return put_coordinates(f, i, err);
}

/* The chunk that starts at start[] and the place of the next one; values come in C order, so a chunk that is
 * not whole in a trailing dimension has length 1 in all those before. */
static bool advance(const bc_var *v, const size_t *count, size_t *start)
{
  for (int d = v->ndim - 1; d >= 0; d--) {
    start[d] += count[d];
    if (start[d] < (size_t)v->shape[d]) return true;
    start[d] = 0;
  }
  return false;
}

static bc_status put_var(nc_file *f, int32_t i, void *buf, bc_err *err)
{
  const bc_var *v = f->in->vars[i];
  size_t chunk[BC_MAX_DIMS] = { 0 }, start[BC_MAX_DIMS] = { 0 }, count[BC_MAX_DIMS] = { 0 };

  BC_RET(bc_pull_begin(&f->pull, i, err));
  if (f->pull.size == 0) return BC_OK;
  chunk_shape(v, chunk);
  do {
    uint64_t n = 1;
    for (int d = 0; d < v->ndim; d++) {
      count[d] = BC_MIN(chunk[d], (size_t)v->shape[d] - start[d]);
      n *= count[d];
    }
    BC_RET(bc_pull_read(&f->pull, buf, n, err));
    BC_RET(bc_out_reserve(f->out, f->room, err));
    NC(f, nc_put_vara(f->id, f->var[i], start, count, buf), f->labels[i]);
  } while (advance(v, count, start));
  return BC_OK;
}

/* ---- the file ---- */

static bool all_time_series(const bc_stream *in)
{
  for (int32_t i = 0; i < in->n_vars; i++) {
    if (bc_var_dim(in->vars[i], BC_DIM_POINT) < 0 || bc_var_dim(in->vars[i], BC_DIM_TIME) < 0) return false;
  }
  return true;
}

static bc_status put_defaults(nc_file *f, bc_err *err)
{
  const bc_stream *in = f->in;
  char now[BC_TIME_TEXT], text[512];
  const char *first = bc_var_attr(in->vars[0], "long_name");

  if (find_attr(in->attrs, in->n_attrs, "title") == NULL) {
    (void)snprintf(text, sizeof text, "%s%s", first != NULL ? first : in->vars[0]->name,
                   in->n_vars > 1 ? " and others" : "");
    BC_RET(put_text(f, NC_GLOBAL, "title", text, err));
  }
  if (find_attr(in->attrs, in->n_attrs, "history") != NULL) return BC_OK;
  (void)snprintf(text, sizeof text, "%s written by biocube", bc_time_format(bc_os_now(), now));
  return put_text(f, NC_GLOBAL, "history", text, err);
}

static bc_status put_globals(nc_file *f, bc_err *err)
{
  const bc_stream *in = f->in;

  BC_RET(put_text(f, NC_GLOBAL, "Conventions", "CF-1.11", err));
  if (all_time_series(in)) BC_RET(put_text(f, NC_GLOBAL, "featureType", "timeSeries", err));
  BC_RET(put_defaults(f, err));
  for (int32_t k = 0; k < in->n_attrs; k++) {
    const char *name = in->attrs[k].name;
    if (strcmp(name, "Conventions") == 0 || strcmp(name, "featureType") == 0 || !bc_attr_travels(name))
      continue;
    BC_RET(put_attr(f, NC_GLOBAL, &in->attrs[k], err));
  }
  return BC_OK;
}

/* A chunk being written and one still in a cache, all coordinates, and the library's own tables. */
static uint64_t room_needed(const nc_file *f)
{
  enum { PER_OBJECT = 1 << 14, PER_NODE = 32 };
  uint64_t chunk = 0, coords = 0;

  for (int32_t i = 0; i < f->in->n_vars; i++) {
    const bc_var *v = f->in->vars[i];
    size_t shape[BC_MAX_DIMS] = { 0 };
    uint64_t bytes = bc_dtype_size(v->dtype);
    chunk_shape(v, shape);
    for (int d = 0; d < v->ndim; d++)
      bytes *= shape[d];
    chunk = BC_MAX(chunk, bytes);
  }
  for (int i = 0; i < f->axes.n; i++)
    coords += (uint64_t)f->axes.axis[i].n * PER_NODE;
  return 2 * chunk + coords + (uint64_t)(f->axes.n + f->in->n_vars + 4) * PER_OBJECT;
}

static bc_status write_file(nc_file *f, void *buf, bc_err *err)
{
  f->room = room_needed(f);
  BC_RET(bc_out_reserve(f->out, f->room, err));
  bc_netcdf_lock(NULL);
  const int rc = nc_create(bc_out_tmp(f->out), NC_NETCDF4 | NC_CLOBBER, &f->id);
  bc_netcdf_unlock();
  if (rc != NC_NOERR) return nc_fail(f, rc, "a new file", err);
  f->open = true;
  BC_RET(put_globals(f, err));
  for (int i = 0; i < f->axes.n; i++)
    BC_RET(define_axis(f, i, err));
  for (int32_t i = 0; i < f->in->n_vars; i++)
    BC_RET(define_var(f, i, err));
  NC(f, nc_enddef(f->id), "the header");
  for (int i = 0; i < f->axes.n; i++)
    BC_RET(put_axis(f, i, err));
  for (int32_t i = 0; i < f->in->n_vars; i++)
    BC_RET(put_var(f, i, buf, err));
  f->open = false; /* whatever it returns, the id is gone */
  NC(f, nc_close(f->id), "the end of the file");
  return bc_pull_end(&f->pull, err);
}

/* One block of memory for all ids of axes and variables. */
static bc_status alloc_ids(nc_file *f, int **ids, bc_err *err)
{
  const size_t n = (size_t)f->axes.n;
  const size_t all = 5 * n + (size_t)f->in->n_vars;

  *ids = bc_malloc(all * sizeof **ids);
  if (*ids == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for the list of variables");
  for (size_t k = 0; k < all; k++)
    (*ids)[k] = -1;
  f->dim = *ids;
  f->coord = f->dim + n;
  f->bounds = f->coord + n;
  f->lat = f->bounds + n;
  f->lon = f->lat + n;
  f->var = f->lon + n;
  return BC_OK;
}

bc_status bc_write_netcdf(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  nc_file f = { .out = out, .in = in, .nv = -1 };
  int *ids = NULL;
  void *buf = bc_malloc(CHUNK_BYTES);

  (void)opts;
  bc_pull_init(&f.pull, in);
  if (buf == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "no memory for a buffer of %d bytes", CHUNK_BYTES);
    goto out;
  }
  BC_TRY(bc_labels_init(&f.labels, in, '_', true, err));
  BC_TRY(bc_axes_init(&f.axes, in, false, f.labels, err));
  BC_TRY(alloc_ids(&f, &ids, err));
  BC_TRY(write_file(&f, buf, err));
out:
  if (f.open) {
    bc_netcdf_lock(NULL);
    (void)nc_abort(f.id); /* the file is thrown away */
    bc_netcdf_unlock();
  }
  bc_pull_dispose(&f.pull);
  bc_axes_dispose(&f.axes);
  bc_labels_free(f.labels, in->n_vars);
  bc_free(ids);
  bc_free(buf);
  return st;
}
