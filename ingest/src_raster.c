/* The raster variables of one netCDF file: axes, times, packing, names, attributes. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/src_int.h"
#include "store/datetime.h"
#include "store/schema.h"

#define MAX_STEPS   (UINT64_C(1) << 24) /* of one file */
#define MAX_NODES   (UINT64_C(1) << 20) /* per side */
#define CACHE_BYTES (UINT64_C(64) << 20)
#define SLAB_BYTES  (UINT64_C(64) << 20) /* suggested to the caller where the file gives no chunks */
#define MAX_ATTR    240
#define FINAL       1 /* expver of ERA5 proper; 5 is the preliminary ERA5T */
#define PRELIMINARY 5

typedef struct bc_coord { /* values of an axis, shared by the variables on it */
  const bc_nc_var *var;
  const double *v;
  size_t n;
  struct bc_coord *next;
} bc_coord;

static bc_status no_memory(bc_err *err, const bc_raster *r)
{
  return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory for its axes", r->nc->label);
}

/* ---- axis values ---- */
static const bc_nc_att *att_of(const bc_nc_var *v, const char *name)
{
  return bc_nc_find_att(v->atts, v->n_atts, name);
}

/* One number of an attribute, or fallback. */
static double att_number(const bc_nc_var *v, const char *name, double fallback)
{
  const bc_nc_att *a = att_of(v, name);
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
    if (k == NULL || v == NULL) return no_memory(err, r);
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

static bc_status decode_floats(const bc_raster *r, const bc_nc_var *c, const char *where, const bc_cf_time *u,
                               step *s, size_t n, bc_err *err)
{
  bc_status st = BC_OK;
  double *v = bc_calloc(n, sizeof *v);

  if (v == NULL) return no_memory(err, r);
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
  const bc_nc_att *fill = att_of(c, "_FillValue");
  int64_t *v = bc_calloc(n, sizeof *v);

  if (v == NULL) return no_memory(err, r);
  BC_TRY(bc_nc_read_i64(r->nc, c, v, err));
  for (size_t i = 0; i < n; i++) {
    if (fill != NULL && fill->n == 1 && fill->text == NULL && bc_raw_is_int(fill->num->raw) &&
        fill->num->i == v[i]) {
      st = BC_FAIL(err, BC_E_UNSUPPORTED, "%s has no value at step %zu (counted from 0)", where, i);
      goto out;
    }
    BC_TRY(bc_cf_time_from_i64(u, where, v[i], &s[i].t, err));
  }
out:
  bc_free(v);
  return st;
}

static bc_status decode_times(const bc_raster *r, const bc_nc_var *c, step *s, size_t n, bc_err *err)
{
  char where[160];
  bc_cf_time u;
  const bool packed = att_of(c, "scale_factor") != NULL || att_of(c, "add_offset") != NULL;

  (void)snprintf(where, sizeof where, "%.100s: %.50s", r->nc->label, c->name);
  BC_RET(bc_cf_time_parse(where, bc_nc_text(c, "units"), bc_nc_text(c, "calendar"), &u, err));
  if (bc_raw_is_int(c->raw) && !packed) return decode_ints(r, c, where, &u, s, n, err);
  return decode_floats(r, c, where, &u, s, n, err);
}

static bc_status read_step_expvers(const bc_raster *r, const bc_nc_var *e, step *s, size_t n, bc_err *err)
{
  bc_status st = BC_OK;
  const bool scalar = e->n_dims == 0 || (e->raw == BC_RAW_CHAR && e->n_dims == 1);
  int *v = bc_calloc(n, sizeof *v);

  if (v == NULL) return no_memory(err, r);
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
    if (s[m - 1].expver == s[i].expver || (s[m - 1].expver != FINAL && s[i].expver != FINAL)) {
      twins[*n_twins][0] = s[m - 1].from;
      twins[(*n_twins)++][1] = s[i].from;
    } else if (s[i].expver == FINAL) {
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
  if (a->seconds == NULL || a->from == NULL || a->twins == NULL) return no_memory(err, r);
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
    final += s[i].expver == FINAL;
    prelim += s[i].expver == PRELIMINARY;
  }
  if (prelim > 0 || (dropped > 0 && final > 0))
    bc_source_note(o->progress, "%s: expver: kept final in %zu steps, preliminary in %zu", r->nc->label,
                   final, prelim);
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
  if (s == NULL) return no_memory(err, r);
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
    if (a == NULL) return no_memory(err, r);
    a->var = at->time;
    if (at->time != NULL) {
      BC_RET(make_time_axis(r, at, at->t >= 0 ? r->nc->dims[v->dims[at->t]].len : 1, a, o, err));
    } else {
      a->n = 1;
      a->seconds = bc_arena_get(&r->arena, sizeof *a->seconds);
      a->from = bc_arena_get(&r->arena, sizeof *a->from);
      if (a->seconds == NULL || a->from == NULL) return no_memory(err, r);
    }
    a->next = r->times;
    r->times = a;
  }
  *out = a;
  return BC_OK;
}

/* ---- attributes ---- */
/* One line, bounded, cut between characters of UTF-8. */
static const char *one_line(bc_raster *r, const char *text)
{
  char buf[MAX_ATTR + 4];
  size_t n = 0;

  for (const char *p = text; *p != '\0' && n < MAX_ATTR; p++) {
    const bool blank = (unsigned char)*p <= ' ';
    if (blank && (n == 0 || buf[n - 1] == ' ')) continue;
    buf[n++] = blank ? ' ' : *p;
  }
  if (n == MAX_ATTR) {
    while (n > 0 && ((unsigned char)buf[n - 1] & 0xC0u) == 0x80u)
      n--;
    if (n > 0 && ((unsigned char)buf[n - 1] & 0x80u) != 0) n--;
    memcpy(buf + n, "...", 3);
    n += 3;
  }
  while (n > 0 && buf[n - 1] == ' ')
    n--;
  return bc_arena_text(&r->arena, buf, n);
}

static const char *number_text(bc_raster *r, const bc_num *v, const char *unit)
{
  char buf[80];
  int n;

  if (bc_raw_is_int(v->raw) && v->raw != BC_RAW_U64)
    n = snprintf(buf, sizeof buf, "%" PRId64, v->i);
  else
    n = snprintf(buf, sizeof buf, "%.*g", v->raw == BC_RAW_F32 ? 7 : 15, v->d);
  for (int i = 0; i < n; i++)
    if (buf[i] == ',') buf[i] = '.'; /* the host program may have set a locale */
  if (unit != NULL && unit[0] != '\0' && n > 0 && strcmp(unit, "1") != 0)
    (void)snprintf(buf + n, sizeof buf - (size_t)n, " %.30s", unit);
  return bc_arena_text(&r->arena, buf, strlen(buf));
}

typedef struct attr_list {
  bc_attr a[24];
  int32_t n;
} attr_list;

static bc_status put_attr(bc_raster *r, attr_list *l, const char *name, const bc_nc_att *att, bc_err *err)
{
  bc_attr *a = &l->a[l->n];

  if (att == NULL || l->n == (int32_t)BC_ARRAY_LEN(l->a) || (att->text == NULL && att->n != 1)) return BC_OK;
  for (int32_t i = 0; i < l->n; i++) {
    if (strcmp(l->a[i].name, name) == 0) return BC_OK;
  }
  *a = (bc_attr){ .name = name, .numeric = att->text == NULL };
  a->value = a->numeric ? number_text(r, att->num, NULL) : one_line(r, att->text);
  if (a->value == NULL) return no_memory(err, r);
  if (a->value[0] != '\0') l->n++;
  return BC_OK;
}

/* "height" = "2 m": a vertical position that holds for the whole field. */
static bc_status put_fixed(bc_raster *r, attr_list *l, const bc_nc_var *c, bc_err *err)
{
  bc_num v = { .raw = BC_RAW_F64 };
  size_t n = 0;

  if (!bc_nc_elements(r->nc, c, &n) || n != 1 || !bc_raw_is_number(c->raw)) return BC_OK;
  if (strcmp(c->name, "surface") == 0 || l->n == (int32_t)BC_ARRAY_LEN(l->a)) return BC_OK;
  BC_RET(bc_nc_read_f64(r->nc, c, &v.d, err));
  l->a[l->n] = (bc_attr){ .name = c->name, .value = number_text(r, &v, bc_nc_text(c, "units")) };
  if (l->a[l->n].value == NULL) return no_memory(err, r);
  l->n++;
  return BC_OK;
}

static bc_status set_attrs(bc_raster *r, bc_raster_var *v, bc_err *err)
{
  static const char *const of_var[] = { "long_name",      "standard_name",    "cell_methods", "GRIB_paramId",
                                        "GRIB_shortName", "GRIB_typeOfLevel", "GRIB_stepType" };
  static const char *const of_file[] = { "title", "institution", "source", "licence", "license", "history" };
  attr_list l = { .n = 0 };
  bc_attr *kept;

  for (size_t i = 0; i < BC_ARRAY_LEN(of_var); i++)
    BC_RET(put_attr(r, &l, of_var[i], att_of(v->nc, of_var[i]), err));
  for (size_t i = 0; i < BC_ARRAY_LEN(of_file); i++)
    BC_RET(put_attr(r, &l, of_file[i], bc_nc_find_att(r->nc->atts, r->nc->n_atts, of_file[i]), err));
  for (int i = 0; i < v->at.n_fixed; i++)
    BC_RET(put_fixed(r, &l, v->at.fixed[i], err));
  kept = bc_arena_get(&r->arena, sizeof l.a);
  if (kept == NULL) return no_memory(err, r);
  memcpy(kept, l.a, sizeof l.a);
  v->pub.var.attrs = kept;
  v->pub.var.n_attrs = l.n;
  return BC_OK;
}

/* ---- one variable ---- */
static size_t dim_len(const bc_raster *r, const bc_nc_var *v, int d)
{
  return d < 0 ? 1 : r->nc->dims[v->dims[d]].len;
}

static bc_status set_axes(bc_raster *r, bc_raster_var *v, const bc_source_opts *o, bc_err *err)
{
  bc_var *var = &v->pub.var;
  int d = 0;
  const char *units = v->at.l < 0 ? NULL : bc_nc_text(v->at.level, "units");
  double to_hpa = 1;
  const bool pressure = bc_cf_pressure(units, &to_hpa);

  v->nl = dim_len(r, v->nc, v->at.l);
  v->ny = dim_len(r, v->nc, v->at.y);
  v->nx = dim_len(r, v->nc, v->at.x);
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
    var->level_units = pressure ? "hPa" : one_line(r, units == NULL ? "" : units);
    if (var->level_units == NULL) return no_memory(err, r);
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

static void take_numbers(const bc_nc_var *v, const char *name, const bc_num **num, size_t *n)
{
  const bc_nc_att *a = att_of(v, name);
  static const bc_num text = { .raw = BC_RAW_CHAR };

  *num = a == NULL ? NULL : a->text != NULL ? &text : a->num;
  *n = a == NULL ? 0 : a->text != NULL ? 1 : a->n;
}

static bc_status set_packing(bc_raster *r, bc_raster_var *v, bc_err *err)
{
  bc_cf_packing p = { .no_fill = v->nc->no_fill };
  const char *is_unsigned = bc_nc_text(v->nc, "_Unsigned");
  char where[160];

  (void)snprintf(where, sizeof where, "%.100s: %.50s", r->nc->label, v->nc->name);
  take_numbers(v->nc, "scale_factor", &p.scale, &p.n_scale);
  take_numbers(v->nc, "add_offset", &p.offset, &p.n_offset);
  take_numbers(v->nc, "_FillValue", &p.fill, &p.n_fill);
  take_numbers(v->nc, "missing_value", &p.missing, &p.n_missing);
  take_numbers(v->nc, "valid_min", &p.valid_min, &p.n_valid_min);
  take_numbers(v->nc, "valid_max", &p.valid_max, &p.n_valid_max);
  take_numbers(v->nc, "valid_range", &p.valid_range, &p.n_valid_range);
  p.is_unsigned =
      is_unsigned != NULL && (strcmp(is_unsigned, "true") == 0 || strcmp(is_unsigned, "True") == 0);
  BC_RET(bc_unpack_init(&v->unpack, where, v->nc->raw, &p, err));
  v->pub.var.dtype = BC_F32;
  if (v->unpack.raw != BC_RAW_I16 || !v->unpack.scaled) return BC_OK;
  /* 16-bit integers travel as they are; -0.0 as offset adds nothing, not even to -0.0 */
  v->pub.var.dtype = BC_I16;
  v->packing = (bc_packing){ .scale = v->unpack.scale,
                             .offset = v->unpack.has_offset  ? v->unpack.offset
                                       : v->unpack.scale < 0 ? -0.0
                                                             : 0.0,
                             .has_fill = v->unpack.n_missing > 0,
                             .fill = v->unpack.n_missing > 0 ? (int32_t)v->unpack.missing[0].i : 0 };
  v->pub.var.packing = &v->packing;
  return BC_OK;
}

/* false: *why says what is in the way. */
static bc_status set_expver(bc_raster *r, bc_raster_var *v, bool *fine, bc_err *err)
{
  const size_t n = dim_len(r, v->nc, v->at.e);
  int e[2] = { -1, -1 };

  *fine = true;
  if (v->at.e < 0) return BC_OK;
  *fine = n == 2;
  if (*fine) BC_RET(bc_nc_read_expver(r->nc, v->at.expver, n, e, err));
  if (!((e[0] == FINAL && e[1] == PRELIMINARY) || (e[0] == PRELIMINARY && e[1] == FINAL))) *fine = false;
  v->has_two_expvers = *fine;
  v->final = e[0] == FINAL ? 0 : 1;
  v->prelim = 1 - v->final;
  return BC_OK;
}

/* Steps that should be read together so that no chunk is decompressed twice. */
static int64_t chunk_steps(const bc_raster *r, const bc_raster_var *v)
{
  const uint64_t frame = (uint64_t)v->nl * v->ny * v->nx * bc_raw_size(v->nc->raw);
  uint64_t n = 1;

  if (v->at.t < 0) return 1;
  if (v->nc->chunked)
    n = v->nc->chunks[v->at.t];
  else if (!v->in_order && frame > 0)
    n = SLAB_BYTES / frame; /* a step is scattered over the whole file */
  n = BC_MIN(n, (uint64_t)v->time->n);
  (void)r;
  return (int64_t)BC_MAX(n, 1u);
}

static bool is_in_order(const bc_raster *r, const bc_raster_var *v)
{
  const int order[4] = { v->at.t, v->at.l, v->at.y, v->at.x };
  int last = -1;

  for (int k = 0; k < 4; k++) {
    if (dim_len(r, v->nc, order[k]) == 1) continue;
    if (order[k] < last) return false;
    last = order[k];
  }
  return true;
}

static bc_status set_names(bc_raster *r, bc_raster_var *v, const char *name, const char *group, bc_err *err)
{
  const char *units = bc_nc_text(v->nc, "units");

  v->pub.var.name = bc_arena_text(&r->arena, name, strlen(name));
  v->pub.var.units = one_line(r, units == NULL ? "" : units);
  if (v->pub.var.name == NULL || v->pub.var.units == NULL) return no_memory(err, r);
  (void)bc_copy_text(v->pub.group, sizeof v->pub.group, group);
  v->pub.var.group = v->pub.group;
  return BC_OK;
}

/* Steps with equal times must hold equal values. */
static bc_status check_twins(bc_raster *r, const bc_raster_var *v, bc_err *err)
{
  char text[BC_TIME_TEXT];
  bool equal = true;

  for (size_t i = 0; i < v->time->n_twins; i++) {
    const size_t a = v->time->twins[i][0], b = v->time->twins[i][1];
    size_t k = 0;
    BC_RET(bc_raster_compare(r, v, a, b, &equal, err));
    if (equal) continue;
    while (k + 1 < v->time->n && v->time->from[k] != a)
      k++;
    return BC_FAIL(err, BC_E_UNSUPPORTED,
                   "%s: %s: steps %zu and %zu both have the time %s but different values, and no expver says "
                   "which is final",
                   r->nc->label, v->nc->name, a, b, bc_time_format_short((int64_t)v->time->seconds[k], text));
  }
  return BC_OK;
}

static void pass_over(bc_raster *r, const char *name, const char *why, const bc_source_opts *o)
{
  bc_source_note(o->progress, "%s: %s skipped: %s", r->nc->label, name, why);
  if (r->why[0] == '\0') (void)snprintf(r->why, sizeof r->why, "%.60s: %s", name, why);
}

/* *used stays false when the variable is passed over. */
static bc_status build(bc_raster *r, const bc_nc_var *nv, const bc_layout_nc *at, const char *name,
                       const char *group, const bc_source_opts *o, bool *used, bc_err *err)
{
  bc_raster_var *v = &r->vars[r->n_vars];
  bool fine = true;

  *used = false;
  *v = (bc_raster_var){ .nc = nv, .at = *at, .pub.levels_factor = 1 };
  BC_RET(set_axes(r, v, o, err));
  BC_RET(set_packing(r, v, err));
  BC_RET(set_expver(r, v, &fine, err));
  if (!fine) {
    pass_over(r, name, "its expver dimension holds other versions than 1 (final) and 5 (preliminary)", o);
    return BC_OK;
  }
  v->in_order = is_in_order(r, v);
  v->pub.chunk_steps = chunk_steps(r, v);
  BC_RET(set_names(r, v, name, group, err));
  BC_RET(set_attrs(r, v, err));
  BC_RET(check_twins(r, v, err));
  *used = true;
  return BC_OK;
}

/* ---- choosing ---- */
static bool is_asked_for(const char *list, const char *group, const char *name)
{
  char pattern[128], qualified[104];

  if (list == NULL || list[0] == '\0') return true;
  (void)snprintf(qualified, sizeof qualified, "%s/%s", group, name);
  while (*list != '\0') {
    const size_t len = strcspn(list, ",");
    const size_t n = BC_MIN(len, sizeof pattern - 1);
    memcpy(pattern, list, n);
    pattern[n] = '\0';
    if (bc_glob_match(pattern, name) || bc_glob_match(pattern, qualified)) return true;
    list += len;
    list += *list == ',';
  }
  return false;
}

/* Something that no later step can read: why, or NULL. */
static const char *unreadable(const bc_raster *r, const bc_nc_var *v, const bc_layout_nc *at)
{
  if (v->raw == BC_RAW_CHAR || v->raw == BC_RAW_STRING) return "it holds text";
  if (!bc_raw_is_number(v->raw)) return "it has a compound or other user-defined type";
  for (int d = 0; d < v->n_dims; d++) {
    if (dim_len(r, v, d) == 0) return "one of its dimensions has no entries";
  }
  if (at->l >= 0 && dim_len(r, v, at->l) > BC_MAX_LEVELS) return "it has more than 256 levels";
  return NULL;
}

typedef struct candidate {
  const bc_nc_var *v;
  bc_layout_nc at;
  char name[BC_NAME_MAX];
} candidate;

/* Layouts of all variables; those on a grid are listed, the best of the others gives r->why. */
static bc_status find_candidates(bc_raster *r, candidate *list, size_t *n, const bc_source_opts *o,
                                 bc_err *err)
{
  int most = -2;
  char off_grid[256] = "";

  for (size_t i = 0; i < r->nc->n_vars; i++) {
    const bc_nc_var *v = &r->nc->vars[i];
    candidate *c = &list[*n];
    bc_verdict verdict;
    const char *why = NULL;
    BC_RET(bc_nc_layout(r->nc, v, &c->at, &verdict, err));
    if (verdict == BC_IS_COORDINATE) continue;
    if (verdict == BC_NO_GRID) {
      if (v->n_dims > most) (void)bc_copy_text(off_grid, sizeof off_grid, c->at.why);
      most = BC_MAX(most, v->n_dims);
      continue;
    }
    why = verdict == BC_SKIPPED ? c->at.why : unreadable(r, v, &c->at);
    if (why == NULL && !bc_cf_clean_name(v->name, c->name, sizeof c->name))
      why = "its name is longer than 47 characters";
    if (why != NULL) {
      pass_over(r, v->name, why, o);
      continue;
    }
    c->v = v;
    (*n)++;
  }
  if (r->why[0] == '\0') (void)bc_copy_text(r->why, sizeof r->why, off_grid);
  return BC_OK;
}

/* Group of each candidate: the user's, the netCDF group's own name, or by the names at the top of the file.
 */
static void group_of(const candidate *c, const bc_source_opts *o, const char *inferred, char *dst, size_t cap)
{
  if (o->group != NULL) {
    (void)bc_copy_text(dst, cap, o->group);
  } else if (c->v->group[0] == '\0') {
    (void)bc_copy_text(dst, cap, inferred);
  } else if (!bc_cf_clean_name(c->v->group, dst, cap)) {
    (void)bc_copy_text(dst, cap, "misc");
  } else {
    for (char *p = dst; *p != '\0'; p++)
      if (c->v->group[p - dst] == '/') *p = '.';
  }
}

static void add_unselected(bc_raster *r, const char *name)
{
  const size_t at = strlen(r->unselected);

  if (at + 50 < sizeof r->unselected)
    (void)snprintf(r->unselected + at, sizeof r->unselected - at, "%s%s", at > 0 ? ", " : "", name);
  r->n_unselected++;
}

static void note_expver_dim(bc_raster *r, size_t final, size_t n, size_t *told, const bc_source_opts *o)
{
  if (*told == final + 1) return; /* the same as for the variable before */
  *told = final + 1;
  bc_source_note(o->progress, "%s: expver: kept final in %zu steps, preliminary in %zu", r->nc->label, final,
                 n - final);
}

static bc_status build_all(bc_raster *r, const candidate *list, size_t n, const char *inferred,
                           const bc_source_opts *o, bc_err *err)
{
  const char *told_group = "";
  size_t told_final = 0;

  for (size_t i = 0; i < n; i++) {
    const candidate *c = &list[i];
    char group[BC_NAME_MAX];
    size_t final = 0;
    bool used = false;
    group_of(c, o, inferred, group, sizeof group);
    if (!is_asked_for(o->vars, group, c->name)) {
      add_unselected(r, c->name);
      continue;
    }
    BC_RET(build(r, c->v, &c->at, c->name, group, o, &used, err));
    if (!used) continue;
    if (strcmp(c->name, c->v->name) != 0)
      bc_source_note(o->progress, "%s: variable \"%s\" is stored as %s", r->nc->label, c->v->name, c->name);
    if (strcmp(told_group, c->v->group) != 0)
      bc_source_note(o->progress, "%s: variables of its group /%s go to group %s", r->nc->label, c->v->group,
                     group);
    told_group = c->v->group;
    if (r->vars[r->n_vars].has_two_expvers) {
      BC_RET(bc_raster_count_final(r, &r->vars[r->n_vars], &final, err));
      note_expver_dim(r, final, r->vars[r->n_vars].time->n, &told_final, o);
    }
    r->n_vars++;
  }
  return BC_OK;
}

static const char *infer_group(const candidate *list, size_t n, const char **names)
{
  size_t m = 0;
  bool has_levels = false;

  for (size_t i = 0; i < n; i++) {
    if (list[i].v->group[0] != '\0') continue;
    names[m++] = list[i].name;
    has_levels = has_levels || list[i].at.l >= 0;
  }
  return bc_cf_group(names, m, has_levels);
}

bc_status bc_raster_open(const bc_nc *nc, const bc_source_opts *opts, bc_raster **out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_raster *r = bc_calloc(1, sizeof *r);
  candidate *list = bc_calloc(nc->n_vars + 1, sizeof *list);
  const char **names = bc_calloc(nc->n_vars + 1, sizeof *names);
  size_t n = 0;

  *out = NULL;
  if (r == NULL || list == NULL || names == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "%s: out of memory for its variables", nc->label);
    goto out;
  }
  r->nc = nc;
  r->cache_bytes = opts->cache_bytes == 0 ? CACHE_BYTES : opts->cache_bytes;
  BC_TRY(find_candidates(r, list, &n, opts, err));
  r->vars = bc_calloc(n + 1, sizeof *r->vars);
  if (r->vars == NULL) {
    st = no_memory(err, r);
    goto out;
  }
  BC_TRY(build_all(r, list, n, infer_group(list, n, names), opts, err));
  *out = r;
  r = NULL;
out:
  bc_free(names);
  bc_free(list);
  bc_raster_close(r);
  return st;
}

void bc_raster_close(bc_raster *r)
{
  if (r == NULL) return;
  for (size_t i = 0; i < BC_ARRAY_LEN(r->scratch); i++)
    bc_free(r->scratch[i].p);
  bc_free(r->vars);
  bc_arena_dispose(&r->arena);
  bc_free(r);
}
