/* One raster variable of a netCDF file: packing, expvers, order of dimensions, names, attributes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ingest/src_int.h"
#include "store/datetime.h"

#define SLAB_BYTES (UINT64_C(64) << 20) /* suggested to the caller where the file gives no chunks */
#define MAX_ATTR   240

/* ---- attributes ---- */
/* One line, bounded, cut between characters of UTF-8. */
const char *bc_raster_one_line(bc_raster *r, const char *text)
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
  a->value = a->numeric ? number_text(r, att->num, NULL) : bc_raster_one_line(r, att->text);
  if (a->value == NULL) return bc_raster_no_memory(r, err);
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
  if (l->a[l->n].value == NULL) return bc_raster_no_memory(r, err);
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
    BC_RET(put_attr(r, &l, of_var[i], bc_nc_att_of(v->nc, of_var[i]), err));
  for (size_t i = 0; i < BC_ARRAY_LEN(of_file); i++)
    BC_RET(put_attr(r, &l, of_file[i], bc_nc_find_att(r->nc->atts, r->nc->n_atts, of_file[i]), err));
  for (int i = 0; i < v->at.n_fixed; i++)
    BC_RET(put_fixed(r, &l, v->at.fixed[i], err));
  kept = bc_arena_get(&r->arena, sizeof l.a);
  if (kept == NULL) return bc_raster_no_memory(r, err);
  memcpy(kept, l.a, sizeof l.a);
  v->pub.var.attrs = kept;
  v->pub.var.n_attrs = l.n;
  return BC_OK;
}

/* ---- one variable ---- */
static void take_numbers(const bc_nc_var *v, const char *name, const bc_num **num, size_t *n)
{
  const bc_nc_att *a = bc_nc_att_of(v, name);
  static const bc_num text = { .raw = BC_RAW_CHAR };

  *num = a == NULL ? NULL : a->text != NULL ? &text : a->num;
  *n = a == NULL ? 0 : a->text != NULL ? 1 : a->n;
}

static bc_status set_packing(bc_raster *r, bc_raster_var *v, bc_err *err)
{
  bc_cf_packing p = { .no_fill = v->nc->no_fill };
  const char *is_unsigned = bc_nc_text(v->nc, "_Unsigned");
  char where[400];

  (void)snprintf(where, sizeof where, "%.300s: %.90s", r->nc->label, v->nc->name);
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

/* *fine stays false when the file holds other versions than these two. */
static bc_status set_expver(bc_raster *r, bc_raster_var *v, bool *fine, bc_err *err)
{
  const size_t n = bc_nc_dim_len(r->nc, v->nc, v->at.e);
  int e[2] = { -1, -1 };

  *fine = true;
  if (v->at.e < 0) return BC_OK;
  *fine = n == 2;
  if (*fine) BC_RET(bc_nc_read_expver(r->nc, v->at.expver, n, e, err));
  if (!((e[0] == BC_EXPVER_FINAL && e[1] == BC_EXPVER_PRELIMINARY) ||
        (e[0] == BC_EXPVER_PRELIMINARY && e[1] == BC_EXPVER_FINAL)))
    *fine = false;
  v->has_two_expvers = *fine;
  v->final = e[0] == BC_EXPVER_FINAL ? 0 : 1;
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
    if (bc_nc_dim_len(r->nc, v->nc, order[k]) == 1) continue;
    if (order[k] < last) return false;
    last = order[k];
  }
  return true;
}

static bc_status set_names(bc_raster *r, bc_raster_var *v, const char *name, const char *group, bc_err *err)
{
  const char *units = bc_nc_text(v->nc, "units");

  v->pub.var.name = bc_arena_text(&r->arena, name, strlen(name));
  v->pub.var.units = bc_raster_one_line(r, units == NULL ? "" : units);
  if (v->pub.var.name == NULL || v->pub.var.units == NULL) return bc_raster_no_memory(r, err);
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

bc_status bc_raster_describe(bc_raster *r, const bc_nc_var *nv, const bc_layout_nc *at, const char *name,
                             const char *group, const bc_source_opts *o, bc_raster_var *v, const char **why,
                             bc_err *err)
{
  bool fine = true;

  *why = NULL;
  *v = (bc_raster_var){ .nc = nv, .at = *at, .pub.levels_factor = 1 };
  BC_RET(bc_raster_axes(r, v, o, err));
  BC_RET(set_packing(r, v, err));
  BC_RET(set_expver(r, v, &fine, err));
  if (!fine) {
    *why = "its expver dimension holds other versions than 1 (final) and 5 (preliminary)";
    return BC_OK;
  }
  v->in_order = is_in_order(r, v);
  v->pub.chunk_steps = chunk_steps(r, v);
  BC_RET(set_names(r, v, name, group, err));
  BC_RET(set_attrs(r, v, err));
  return check_twins(r, v, err);
}
