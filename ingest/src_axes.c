/*
 * Axes of raster variables: latitudes, longitudes and levels as numbers, times as seconds since 1970,
 * ascending and distinct. Variables on one axis share it.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ingest/src_int.h"
#include "store/schema.h"

#define MAX_STEPS (UINT64_C(1) << 24) /* of one file */
#define MAX_NODES (UINT64_C(1) << 20) /* per side */

typedef struct bc_coord { /* values of an axis, shared by the variables on it */
  const bc_nc_var *var;
  const double *v;
  size_t n;
  struct bc_coord *next;
} bc_coord;

/* ---- axis values ---- */
/* One number of an attribute, or fallback. */
static double att_number(const bc_nc_var *v, const char *name, double fallback)
{
  const bc_nc_att *a = bc_nc_att_of(v, name);
  return a == NULL || a->text != NULL || a->n != 1 ? fallback : a->num[0].d;
}

/* A coordinate variable as doubles, unpacked. n is what its elements come to. */
static bc_status read_numbers(const bc_nc *nc, const bc_nc_var *c, size_t n, double *dst, bc_err *err)
{
  const double scale = att_number(c, "scale_factor", 1), offset = att_number(c, "add_offset", 0);
  const double fill = att_number(c, "_FillValue", (double)NAN);

  if (!bc_raw_is_number(c->raw))
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: %s holds text where numbers are expected", nc->label, c->name);
  BC_RET(bc_nc_read_f64(nc, c, dst, err));
  for (size_t i = 0; i < n; i++) {
    if (dst[i] == fill || !isfinite(dst[i]))
      return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: %s has no value at position %zu (counted from 0)", nc->label,
                     c->name, i);
    if (scale != 1 || offset != 0) dst[i] = dst[i] * scale + offset;
  }
  return BC_OK;
}

/* Latitudes, longitudes or levels; divisor turns levels into hPa. */
static bc_status get_coord(bc_raster *r, const bc_nc_var *c, size_t n, double divisor, const double **out,
                           bc_err *err)
{
  bc_coord *k = r->coords;
  double *v = NULL;
  size_t bytes = 0;

  while (k != NULL && (k->var != c || k->n != n))
    k = k->next;
  if (k == NULL) {
    if (n > MAX_NODES || !bc_mul_sz(n, sizeof *v, &bytes))
      return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: %s has %zu values: at most %" PRIu64 " are accepted",
                     r->nc->label, c->name, n, MAX_NODES);
    k = bc_arena_get(&r->arena, sizeof *k);
    v = bc_arena_get(&r->arena, bytes);
    if (k == NULL || v == NULL) return bc_raster_no_memory(r, err);
    BC_RET(read_numbers(r->nc, c, n, v, err));
    for (size_t i = 0; i < n && divisor != 1; i++)
      v[i] /= divisor;
    *k = (bc_coord){ .var = c, .v = v, .n = n, .next = r->coords };
    r->coords = k;
  }
  *out = k->v;
  return BC_OK;
}

static bc_status check_degrees(const bc_raster *r, const char *name, const double *v, size_t n, double limit,
                               bc_err *err)
{
  for (size_t i = 0; i < n; i++) {
    if (fabs(v[i]) > limit + BC_SNAP_DEGREES)
      return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: %s %.10g at position %zu is no position on Earth in degrees",
                     r->nc->label, name, v[i], i);
  }
  return BC_OK;
}

/* ---- time ---- */
typedef struct step {
  int64_t t;
  size_t from;
  int expver; /* -1 unknown */
} step;

static int by_time(const void *a, const void *b)
{
  const step *x = a, *y = b;

  if (x->t != y->t) return x->t < y->t ? -1 : 1;
  return x->from < y->from ? -1 : x->from > y->from;
}

/* A time that is masked: netCDF's own fill value counts also where the file names none. */
static bc_status time_missing(const char *where, size_t i, bc_err *err)
{
  return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: the time of step %zu (counted from 0) is missing", where, i);
}

static bool is_default_fill(bc_raw raw, double v)
{
  if (raw == BC_RAW_F32 || raw == BC_RAW_F64) return v == 9.969209968386869e+36;
  if (raw == BC_RAW_I32) return v == -2147483647;
  return raw == BC_RAW_I16 && v == -32767;
}

static bc_status check_times(const bc_nc_var *c, const char *where, const double *v, size_t n, bc_err *err)
{
  const double fill = att_number(c, "_FillValue", (double)NAN);
  const double missing = att_number(c, "missing_value", (double)NAN);

  for (size_t i = 0; i < n; i++) {
    if (!isfinite(v[i]) || v[i] == fill || v[i] == missing || (isnan(fill) && is_default_fill(c->raw, v[i])))
      return time_missing(where, i, err);
  }
  return BC_OK;
}

static bc_status decode_floats(const bc_raster *r, const bc_nc_var *c, const char *where, const bc_cf_time *u,
                               step *s, size_t n, bc_err *err)
{
  bc_status st = BC_OK;
  double *v = bc_calloc(n, sizeof *v);

  if (v == NULL) return bc_raster_no_memory(r, err);
  BC_TRY(bc_nc_read_f64(r->nc, c, v, err));
  BC_TRY(check_times(c, where, v, n, err));
  BC_TRY(read_numbers(r->nc, c, n, v, err));
  for (size_t i = 0; i < n; i++)
    BC_TRY(bc_cf_time_from_f64(u, where, v[i], &s[i].t, err));
out:
  bc_free(v);
  return st;
}

static bc_status decode_ints(const bc_raster *r, const bc_nc_var *c, const char *where, const bc_cf_time *u,
                             step *s, size_t n, bc_err *err)
{
  bc_status st = BC_OK;
  const bc_nc_att *fill = bc_nc_att_of(c, "_FillValue");
  const bool has_fill = fill != NULL && fill->n == 1 && fill->text == NULL && bc_raw_is_int(fill->num->raw);
  int64_t *v = bc_calloc(n, sizeof *v);

  if (v == NULL) return bc_raster_no_memory(r, err);
  BC_TRY(bc_nc_read_i64(r->nc, c, v, err));
  for (size_t i = 0; i < n; i++) {
    if (has_fill ? fill->num->i == v[i] : is_default_fill(c->raw, (double)v[i]))
      BC_TRY(time_missing(where, i, err));
    BC_TRY(bc_cf_time_from_i64(u, where, v[i], &s[i].t, err));
  }
out:
  bc_free(v);
  return st;
}

static bc_status decode_times(const bc_raster *r, const bc_nc_var *c, step *s, size_t n, bc_err *err)
{
  char where[400];
  bc_cf_time u;
  const bool packed = bc_nc_att_of(c, "scale_factor") != NULL || bc_nc_att_of(c, "add_offset") != NULL;

  (void)snprintf(where, sizeof where, "%.300s: %.90s", r->nc->label, c->name);
  BC_RET(bc_cf_time_parse(where, bc_nc_text(c, "units"), bc_nc_text(c, "calendar"), &u, err));
  if (bc_raw_is_int(c->raw) && !packed) return decode_ints(r, c, where, &u, s, n, err);
  return decode_floats(r, c, where, &u, s, n, err);
}

static bc_status read_step_expvers(const bc_raster *r, const bc_nc_var *e, step *s, size_t n, bc_err *err)
{
  bc_status st = BC_OK;
  const bool scalar = e->n_dims == 0 || (e->raw == BC_RAW_CHAR && e->n_dims == 1);
  int *v = bc_calloc(n, sizeof *v);

  if (v == NULL) return bc_raster_no_memory(r, err);
  BC_TRY(bc_nc_read_expver(r->nc, e, scalar ? 1 : n, v, err));
  for (size_t i = 0; i < n; i++)
    s[i].expver = v[scalar ? 0 : i];
out:
  bc_free(v);
  return st;
}

/* Of steps with one time the final version stays; what stays undecided becomes twins, compared later. Returns
 * how many steps are left. */
static size_t drop_doubles(step *s, size_t n, size_t (*twins)[2], size_t *n_twins)
{
  size_t m = 0;

  for (size_t i = 0; i < n; i++) {
    if (m == 0 || s[m - 1].t != s[i].t) {
      s[m++] = s[i];
      continue;
    }
    if (s[m - 1].expver == s[i].expver ||
        (s[m - 1].expver != BC_EXPVER_FINAL && s[i].expver != BC_EXPVER_FINAL)) {
      twins[*n_twins][0] = s[m - 1].from;
      twins[(*n_twins)++][1] = s[i].from;
    } else if (s[i].expver == BC_EXPVER_FINAL) {
      s[m - 1] = s[i];
    }
  }
  return m;
}

static bc_status fill_time_axis(bc_raster *r, bc_time_axis *a, step *s, size_t n, bc_err *err)
{
  a->seconds = bc_arena_get(&r->arena, n * sizeof *a->seconds);
  a->from = bc_arena_get(&r->arena, n * sizeof *a->from);
  a->twins = bc_arena_get(&r->arena, n * sizeof *a->twins);
  if (a->seconds == NULL || a->from == NULL || a->twins == NULL) return bc_raster_no_memory(r, err);
  qsort(s, n, sizeof *s, by_time);
  a->n = drop_doubles(s, n, a->twins, &a->n_twins);
  for (size_t i = 0; i < a->n; i++) {
    a->seconds[i] = (double)s[i].t;
    a->from[i] = s[i].from;
  }
  return BC_OK;
}

static void note_expver(const bc_raster *r, const step *s, size_t n, size_t dropped, const bc_source_opts *o)
{
  size_t final = 0, prelim = 0;

  for (size_t i = 0; i < n; i++) {
    final += s[i].expver == BC_EXPVER_FINAL;
    prelim += s[i].expver == BC_EXPVER_PRELIMINARY;
  }
  if (prelim > 0 || (dropped > 0 && final > 0))
    bc_source_note(o->progress, "%s: expver: kept final in %zu step%s, preliminary in %zu", r->nc->label,
                   final, final == 1 ? "" : "s", prelim);
}

static bc_status make_time_axis(bc_raster *r, const bc_layout_nc *at, size_t n, bc_time_axis *a,
                                const bc_source_opts *o, bc_err *err)
{
  bc_status st = BC_OK;
  step *s = NULL;

  if (n == 0 || n > MAX_STEPS)
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: %s has %zu steps: 1 to %" PRIu64 " are accepted", r->nc->label,
                   at->time->name, n, MAX_STEPS);
  s = bc_calloc(n, sizeof *s);
  if (s == NULL) return bc_raster_no_memory(r, err);
  for (size_t i = 0; i < n; i++)
    s[i] = (step){ .from = i, .expver = -1 };
  BC_TRY(decode_times(r, at->time, s, n, err));
  if (at->step_expver != NULL) BC_TRY(read_step_expvers(r, at->step_expver, s, n, err));
  BC_TRY(fill_time_axis(r, a, s, n, err));
  note_expver(r, s, a->n, n - a->n, o);
out:
  bc_free(s);
  return st;
}

static bc_status get_time_axis(bc_raster *r, const bc_nc_var *v, const bc_layout_nc *at,
                               const bc_source_opts *o, const bc_time_axis **out, bc_err *err)
{
  bc_time_axis *a = r->times;

  if (at->t >= 0 && at->time == NULL)
    return BC_FAIL(
        err, BC_E_UNSUPPORTED,
        "%s: dimension %s of %s (%zu steps) has no variable that gives its dates: expected one with "
        "units such as \"hours since 1900-01-01\"",
        r->nc->label, r->nc->dims[v->dims[at->t]].name, v->name, r->nc->dims[v->dims[at->t]].len);
  while (a != NULL && a->var != at->time)
    a = a->next;
  if (a == NULL) {
    a = bc_arena_get(&r->arena, sizeof *a);
    if (a == NULL) return bc_raster_no_memory(r, err);
    a->var = at->time;
    if (at->time != NULL) {
      BC_RET(make_time_axis(r, at, at->t >= 0 ? r->nc->dims[v->dims[at->t]].len : 1, a, o, err));
    } else {
      a->n = 1;
      a->seconds = bc_arena_get(&r->arena, sizeof *a->seconds);
      a->from = bc_arena_get(&r->arena, sizeof *a->from);
      if (a->seconds == NULL || a->from == NULL) return bc_raster_no_memory(r, err);
    }
    a->next = r->times;
    r->times = a;
  }
  *out = a;
  return BC_OK;
}

/* ---- of one variable ---- */
bc_status bc_raster_axes(bc_raster *r, bc_raster_var *v, const bc_source_opts *o, bc_err *err)
{
  bc_var *var = &v->pub.var;
  int d = 0;
  const char *units = v->at.l < 0 ? NULL : bc_nc_text(v->at.level, "units");
  double to_hpa = 1;
  const bool pressure = bc_cf_pressure(units, &to_hpa);

  v->nl = bc_nc_dim_len(r->nc, v->nc, v->at.l);
  v->ny = bc_nc_dim_len(r->nc, v->nc, v->at.y);
  v->nx = bc_nc_dim_len(r->nc, v->nc, v->at.x);
  BC_RET(get_time_axis(r, v->nc, &v->at, o, &v->time, err));
  var->dims[d] = BC_DIM_TIME;
  var->shape[d] = (int64_t)v->time->n;
  var->coord[d++] = v->time->seconds;
  v->pub.is_static = v->time->var == NULL;
  var->level_units = "";
  if (v->at.l >= 0) {
    var->dims[d] = BC_DIM_LEVEL;
    var->shape[d] = (int64_t)v->nl;
    BC_RET(get_coord(r, v->at.level, v->nl, pressure ? to_hpa : 1, &var->coord[d++], err));
    var->level_units = pressure ? "hPa" : bc_raster_one_line(r, units == NULL ? "" : units);
    if (var->level_units == NULL) return bc_raster_no_memory(r, err);
  }
  var->dims[d] = BC_DIM_LAT;
  var->shape[d] = (int64_t)v->ny;
  BC_RET(get_coord(r, v->at.lat, v->ny, 1, &var->coord[d], err));
  BC_RET(check_degrees(r, "latitude", var->coord[d++], v->ny, 90, err));
  var->dims[d] = BC_DIM_LON;
  var->shape[d] = (int64_t)v->nx;
  BC_RET(get_coord(r, v->at.lon, v->nx, 1, &var->coord[d], err));
  BC_RET(check_degrees(r, "longitude", var->coord[d++], v->nx, 720, err));
  var->ndim = d;
  return BC_OK;
}
