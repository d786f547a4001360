#include "ingest/file_plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/codec.h"
#include "store/os.h"
#include "store/schema_io.h"

#define MEMORY_LEAST        ((uint64_t)16 << 20)
#define MEMORY_MOST_DEFAULT ((uint64_t)4 << 30)
#define MONTH_SECONDS       2629746 /* a twelfth of the mean Gregorian year */

/* ---- options ---- */

static bc_status parse_codec(const char *text, bc_codec_opts *out, bc_err *err)
{
  size_t digits = 0;
  *out = (bc_codec_opts){ .mode = BC_MODE_AUTO };
  if (text == NULL || strcmp(text, "auto") == 0) return BC_OK;
  if (strcmp(text, "raw") == 0) {
    out->mode = BC_MODE_RAW;
    return BC_OK;
  }
  if (strncmp(text, "zstd", 4) == 0 && (text[4] == '\0' || text[4] == ':')) {
    out->mode = BC_MODE_ZSTD;
    if (text[4] == '\0') return BC_OK;
    for (const char *p = text + 5; *p >= '0' && *p <= '9' && out->level < 100; p++, digits++)
      out->level = out->level * 10 + (*p - '0');
    if (digits > 0 && text[5 + digits] == '\0' && out->level >= 1 && out->level <= 22) return BC_OK;
  }
  return BC_FAIL(err, BC_E_INVAL,
                 "codec \"%s\": expected auto, raw, zstd, or zstd:LEVEL with LEVEL from 1 to 22", text);
}

static bool layout_named(const char *p, size_t n, bc_layout *out)
{
  for (int l = BC_LAYOUT_MAP; l <= BC_LAYOUT_BALANCED; l++) {
    const char *name = bc_layout_name((bc_layout)l);
    if (strlen(name) == n && strncmp(name, p, n) == 0) {
      *out = (bc_layout)l;
      return true;
    }
  }
  return false;
}

static bc_status parse_layout(const char *text, bc_layout out[2], bc_err *err)
{
  out[0] = BC_LAYOUT_BALANCED;
  out[1] = BC_LAYOUT_NONE;
  if (text == NULL) return BC_OK;
  const char *plus = strchr(text, '+');
  const size_t first = plus == NULL ? strlen(text) : (size_t)(plus - text);
  bool ok = layout_named(text, first, &out[0]);
  if (plus != NULL) ok = ok && layout_named(plus + 1, strlen(plus + 1), &out[1]) && out[1] != out[0];
  if (ok) return BC_OK;
  return BC_FAIL(err, BC_E_INVAL,
                 "layout \"%s\": expected map, series or balanced, or two of them as map+series", text);
}

static bc_status parse_bucket(const char *text, bc_ingest_conf *c, bc_err *err)
{
  c->has_bucket = text != NULL;
  if (text == NULL) return BC_OK;
  for (int b = BC_BUCKET_STATIC; b <= BC_BUCKET_DECADE; b++)
    if (strcmp(text, bc_bucket_name((bc_bucket)b)) == 0) {
      c->bucket = (bc_bucket)b;
      return BC_OK;
    }
  return BC_FAIL(err, BC_E_INVAL, "bucket \"%s\": expected static, day, month, year or decade", text);
}

static bc_status share_memory(bc_ingest_conf *c, bc_err *err)
{
  c->memory = c->o->memory;
  if (c->memory == 0) c->memory = BC_MIN(bc_os_physical_memory() / 4, MEMORY_MOST_DEFAULT);
  if (c->memory < MEMORY_LEAST)
    return BC_FAIL(err, BC_E_BUDGET, "memory of %" PRIu64 " bytes: ingest needs at least %" PRIu64 " (16M)",
                   c->memory, MEMORY_LEAST);
  /* Gathered planes, one encoded copy of the largest tile, reading: together they stay under the whole. */
  c->gather = c->memory * 2 / 5;
  c->in_flight = c->memory / 5;
  /* Not too large either: progress is told and an interrupt obeyed once for each slab. */
  c->slab = BC_MIN(c->memory / 16, (uint64_t)32 << 20);
  c->cache = c->memory / 16;
  return BC_OK;
}

/* Options that change what is stored: the same file with other ones is another job. */
static bc_status describe(bc_ingest_conf *c, bc_err *err)
{
  const bc_ingest_opts *o = c->o;
  char box[5 * BC_NUMBER_TEXT] = "", n[4][BC_NUMBER_TEXT], t0[BC_TIME_TEXT] = "", t1[BC_TIME_TEXT] = "";
  if (o->has_bbox)
    (void)snprintf(box, sizeof box, "%s,%s,%s,%s", bc_number_text(o->west, n[0]),
                   bc_number_text(o->south, n[1]), bc_number_text(o->east, n[2]),
                   bc_number_text(o->north, n[3]));
  if (o->t_begin != INT64_MIN) bc_time_format(o->t_begin, t0);
  if (o->t_end != INT64_MAX) bc_time_format(o->t_end, t1);
  char *text = bc_asprintf("group=%s var=%s bbox=%s time=%s/%s regrid=%d precision=%s static=%d",
                           o->group == NULL ? "" : o->group, o->vars == NULL ? "" : o->vars, box, t0, t1,
                           (int)o->regrid, bc_number_text(o->precision, n[0]), o->is_static ? 1 : 0);
  if (text == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  if (!bc_copy_text(c->request, sizeof c->request, text)) /* long lists are told apart by their hash */
    (void)snprintf(c->request + sizeof c->request - 20, 20, "#%016" PRIx64, bc_hash64(text, strlen(text)));
  bc_free(text);
  return BC_OK;
}

bc_status bc_ingest_conf_make(const bc_ingest_opts *o, bc_ingest_conf *out, bc_err *err)
{
  memset(out, 0, sizeof *out);
  out->o = o;
  BC_RET(parse_codec(o->codec, &out->codec, err));
  BC_RET(parse_layout(o->layout, out->layout, err));
  BC_RET(parse_bucket(o->bucket, out, err));
  if (!(o->precision >= 0) || isinf(o->precision))
    return BC_FAIL(err, BC_E_INVAL, "precision %g: expected a positive number", o->precision);
  out->codec.precision = o->precision;
  BC_RET(share_memory(out, err));
  return describe(out, err);
}

void bc_ingest_opts_init(bc_ingest_opts *o)
{
  memset(o, 0, sizeof *o);
  o->version = BC_INGEST_OPTS_VERSION;
  o->t_begin = INT64_MIN;
  o->t_end = INT64_MAX;
}

/* ---- cadence ---- */

int64_t bc_plan_time(const bc_plan_var *v, int64_t step)
{
  return v->def.bucket == BC_BUCKET_STATIC ? BC_TIME_STATIC : (int64_t)v->sv->var.coord[0][step];
}

static int by_value(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Months of 28 to 31 days are one month; years likewise. */
static int64_t calendar_cadence(double seconds)
{
  const double days = seconds / 86400;
  if (days >= 28 && days <= 31) return MONTH_SECONDS;
  if (days >= 365 && days <= 366) return (int64_t)MONTH_SECONDS * 12;
  return (int64_t)seconds;
}

static int64_t cadence_of(const double *t, int64_t n)
{
  if (n < 2) return 0;
  const size_t m = (size_t)BC_MIN(n - 1, 1000);
  double *d = bc_malloc(m * sizeof *d);
  if (d == NULL) return 0;
  for (size_t i = 0; i < m; i++)
    d[i] = t[i + 1] - t[i];
  qsort(d, m, sizeof *d, by_value);
  const double median = d[m / 2];
  bc_free(d);
  return calendar_cadence(median);
}

/* A single step says nothing of the cadence; the next file's steps do. */
static int64_t peek_cadence(const char *next_path, const char *name, const char *group, double t,
                            const bc_ingest_conf *c)
{
  int64_t cadence = 0;
  bc_source *s = NULL;
  const bc_source_opts so = { .vars = name, .group = c->o->group, .cache_bytes = c->cache };
  if (next_path == NULL || bc_source_open(next_path, &so, &s, NULL) != BC_OK) return 0;
  if (bc_source_vars(s) > 0 && !bc_source_var_get(s, 0)->is_static &&
      (c->o->group != NULL || strcmp(bc_source_var_get(s, 0)->group, group) == 0)) {
    const bc_var *v = &bc_source_var_get(s, 0)->var;
    const double gap = fabs(v->coord[0][0] - t);
    cadence = cadence_of(v->coord[0], v->shape[0]);
    if (cadence == 0 && gap > 0) cadence = calendar_cadence(gap);
  }
  bc_source_close(s);
  return cadence;
}

/* ---- one variable ---- */

static const char *regrid_name(bc_regrid mode)
{
  return mode == BC_REGRID_NEAREST ? "nearest" : mode == BC_REGRID_BILINEAR ? "bilinear" : "mean";
}

static bc_status define(bc_plan_var *v, const char *next_path, const bc_ingest_conf *c, uint8_t grid_number,
                        bc_err *err)
{
  const bc_var *var = &v->sv->var;
  bc_modality *m = &v->def;
  const int64_t steps = var->shape[0];
  const bool single_static = c->o->is_static || (c->has_bucket && c->bucket == BC_BUCKET_STATIC);
  if (single_static && !v->sv->is_static && steps > 1)
    return BC_FAIL(err, BC_E_INVAL, "%s has %" PRId64 " steps: only a single step can be stored as static",
                   var->name, steps);
  m->grid = grid_number;
  m->dtype = BC_F32;
  m->layout[0] = c->layout[0];
  m->layout[1] = c->layout[1];
  m->precision = c->o->precision;
  if (!bc_copy_text(m->group, sizeof m->group, c->o->group != NULL ? c->o->group : v->sv->group) ||
      !bc_copy_text(m->name, sizeof m->name, var->name) ||
      !bc_copy_text(m->units, sizeof m->units, var->units))
    return BC_FAIL(err, BC_E_RANGE, "%s/%s: name or units too long (%d and %zu bytes at most)",
                   c->o->group != NULL ? c->o->group : v->sv->group, var->name, BC_NAME_MAX - 1,
                   sizeof m->units - 1);
  if (v->sv->is_static || single_static) {
    m->bucket = BC_BUCKET_STATIC;
  } else {
    m->cadence = cadence_of(var->coord[0], steps);
    if (m->cadence == 0) m->cadence = peek_cadence(next_path, var->name, v->sv->group, var->coord[0][0], c);
    m->bucket = c->has_bucket ? c->bucket : bc_bucket_for_cadence(m->cadence);
  }
  if (var->ndim == 4) {
    if (var->shape[1] > BC_MAX_LEVELS)
      return BC_FAIL(err, BC_E_RANGE, "%s: %" PRId64 " levels, %d at most", var->name, var->shape[1],
                     BC_MAX_LEVELS);
    m->n_levels = (uint16_t)var->shape[1];
    (void)bc_copy_text(m->level_units, sizeof m->level_units, var->level_units);
    for (uint16_t i = 0; i < m->n_levels; i++)
      m->levels[i] = var->coord[1][i];
  }
  for (int32_t i = 0; i < var->n_attrs; i++)
    BC_RET(bc_modality_set_attr(m, var->attrs[i].name, var->attrs[i].value, var->attrs[i].numeric, err));
  if (c->o->regrid != BC_REGRID_NONE)
    BC_RET(bc_modality_set_attr(m, "biocube_regrid", regrid_name(c->o->regrid), false, err));
  return BC_OK;
}

/* Steps of the file inside --time. */
static void clip_time(bc_plan_var *v, const bc_ingest_conf *c)
{
  v->first = 0;
  v->end = v->sv->var.shape[0];
  if (v->sv->is_static) return;
  while (v->first < v->end && (int64_t)v->sv->var.coord[0][v->first] < c->o->t_begin)
    v->first++;
  while (v->end > v->first && (int64_t)v->sv->var.coord[0][v->end - 1] >= c->o->t_end)
    v->end--;
}

/* A file may hold variables on two grids: say which one it is. */
static bc_status name_var(bc_status st, const char *label, const char *name, bc_err *err)
{
  if (err == NULL) return st;
  char *msg = bc_asprintf("%s: %s: %s", label, name, err->msg);
  if (msg != NULL) (void)bc_copy_text(err->msg, sizeof err->msg, msg);
  bc_free(msg);
  return st;
}

static bc_status plan_var(bc_plan_var *v, const char *label, const char *next_path, const bc_ingest_conf *c,
                          const bc_grid *grid, uint8_t grid_number, const bc_box *clip, bc_err *err)
{
  const bc_var *var = &v->sv->var;
  const int32_t y = var->ndim - 2;
  const size_t nlat = (size_t)var->shape[y], nlon = (size_t)var->shape[y + 1];
  BC_RET(define(v, next_path, c, grid_number, err));
  clip_time(v, c);
  const bc_status st =
      bc_regrid_open(grid, clip, var->coord[y], nlat, var->coord[y + 1], nlon, c->o->regrid, &v->rg, err);
  if (st != BC_OK) return name_var(st, label, var->name, err);
  const bc_box box = bc_regrid_box(v->rg);
  v->n_levels = var->ndim == 4 ? (size_t)var->shape[1] : 1;
  v->src_plane = nlat * nlon;
  v->dst_plane = (size_t)box.ny * (size_t)box.nx;
  return BC_OK;
}

/* ---- one file ---- */

static bc_status clip_box(const bc_grid *grid, const bc_ingest_conf *c, bc_box *box, bc_err *err)
{
  if (!c->o->has_bbox) return BC_OK;
  return bc_grid_box(grid, c->o->west, c->o->south, c->o->east, c->o->north, box, err);
}

bc_status bc_file_plan_open(const char *path, const char *next_path, const bc_ingest_conf *c,
                            const bc_grid *grid, uint8_t grid_number, bc_file_plan *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_box clip = { 0 };
  const bc_source_opts so = {
    .vars = c->o->vars, .group = c->o->group, .cache_bytes = c->cache, .progress = &c->o->progress
  };
  memset(out, 0, sizeof *out);
  out->grid = grid;
  out->grid_number = grid_number;
  BC_TRY(clip_box(grid, c, &clip, err));
  BC_TRY(bc_source_open(path, &so, &out->src, err));
  const size_t n = bc_source_vars(out->src);
  out->vars = bc_calloc(n + 1, sizeof *out->vars);
  if (out->vars == NULL) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "ingest: no memory"));
  for (size_t i = 0; i < n; i++) {
    bc_plan_var *v = &out->vars[out->n++];
    v->index = i;
    v->sv = bc_source_var_get(out->src, i);
    BC_TRY(plan_var(v, bc_source_label(out->src, i), next_path, c, grid, grid_number,
                    c->o->has_bbox ? &clip : NULL, err));
    const size_t step = v->n_levels * BC_MAX(v->src_plane, v->dst_plane) * sizeof(float);
    if (v->first < v->end && step > c->gather)
      BC_TRY(BC_FAIL(err, BC_E_BUDGET, "one step of %s is %zu bytes: it needs --memory of at least %zuM",
                     v->sv->var.name, step, (step * 5 / 2 >> 20) + 1));
  }
out:
  if (st != BC_OK) bc_file_plan_close(out);
  return bc_source_name_error(st, path, err);
}

void bc_file_plan_close(bc_file_plan *p)
{
  for (size_t i = 0; i < p->n; i++) {
    bc_regrid_close(p->vars[i].rg);
    bc_modality_dispose(&p->vars[i].def);
  }
  bc_free(p->vars);
  bc_source_close(p->src);
  memset(p, 0, sizeof *p);
}

static const char *units_text(const char *units) { return units[0] == '\0' ? "no units" : units; }

bc_status bc_file_plan_check(const bc_file_plan *p, const bc_modality *have, bc_err *err)
{
  for (size_t i = 0; i < p->n; i++) {
    const bc_modality *m = &p->vars[i].def;
    if (strcmp(m->name, have->name) != 0 || strcmp(m->group, have->group) != 0 ||
        strcmp(m->units, have->units) == 0)
      continue;
    return BC_FAIL(err, BC_E_CONFLICT, "%s/%s: %s%s in the store, %s%s here: convert, or use another --group",
                   m->group, m->name, have->units[0] == '\0' ? "" : "in units ", units_text(have->units),
                   m->units[0] == '\0' ? "" : "in ", units_text(m->units));
  }
  return BC_OK;
}

/* "" where there is none. */
static const char *attr_of(const bc_modality *m, const char *name)
{
  const char *value = bc_modality_attr(m, name);
  return value == NULL ? "" : value;
}

/* Tells of variables that are new to the store in their inferred group while another group has their like. */
static void note_groups(const bc_file_plan *p, const bc_ingest_conf *c, const bc_modality *const *have,
                        size_t n)
{
  if (c->o->group != NULL) return;
  for (size_t i = 0; i < p->n; i++) {
    const bc_modality *m = &p->vars[i].def;
    const char *elsewhere = NULL;
    bool is_new = true;
    for (size_t k = 0; k < n; k++) {
      if (strcmp(m->name, have[k]->name) != 0) continue;
      if (strcmp(m->group, have[k]->group) == 0) is_new = false;
      if (strcmp(m->units, have[k]->units) == 0 && (m->n_levels == 0) == (have[k]->n_levels == 0))
        elsewhere = have[k]->group;
    }
    if (is_new && elsewhere != NULL)
      bc_source_note(&c->o->progress,
                     "%s goes to %s/%s; the store has %s/%s too: --group %s puts them together", m->name,
                     m->group, m->name, elsewhere, m->name, elsewhere);
  }
}

/* What says that two fields of one name are different quantities: hourly values and their means. Older files
 * of the CDS have no stepType, and are the same. */
bool bc_file_plan_note_kinds(const bc_file_plan *p, const bc_ingest_conf *c, const bc_writer *w)
{
  static const struct {
    const char *attr;
    bool absent_is_another;
  } kinds[] = { { "cell_methods", true }, { "GRIB_stepType", false } };
  bool told = false;
  for (size_t i = 0; i < p->n; i++) {
    const bc_modality *m = &p->vars[i].def, *have = bc_writer_get_modality(w, p->vars[i].id);
    for (size_t k = 0; k < BC_ARRAY_LEN(kinds); k++) {
      const char *here = attr_of(m, kinds[k].attr), *there = attr_of(have, kinds[k].attr);
      if (strcmp(here, there) == 0) continue;
      if (!kinds[k].absent_is_another && (*here == '\0' || *there == '\0')) continue;
      bc_source_note(&c->o->progress,
                     "%s: %s is \"%s\" here and \"%s\" in the store: if it is another quantity, give it a "
                     "--group of its own",
                     m->name, kinds[k].attr, here, there);
      told = true;
    }
  }
  return told;
}

bc_status bc_file_plan_register(bc_file_plan *p, const bc_ingest_conf *c, bc_writer *w, bc_err *err)
{
  const size_t known = bc_writer_modalities(w);
  const bc_modality **all = bc_calloc(known + 1, sizeof(const bc_modality *));
  if (all == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  for (size_t k = 0; k < known; k++)
    all[k] = bc_writer_get_modality(w, (uint16_t)k);
  bc_status st = BC_OK;
  for (size_t k = 0; k < known && st == BC_OK; k++)
    st = bc_file_plan_check(p, all[k], err);
  if (st == BC_OK) note_groups(p, c, all, known);
  bc_free(all);
  BC_RET(st);
  return bc_file_plan_enrol(p, w, err);
}

bc_status bc_file_plan_enrol(bc_file_plan *p, bc_writer *w, bc_err *err)
{
  for (size_t i = 0; i < p->n; i++) {
    bc_plan_var *v = &p->vars[i];
    v->levels[0] = 0;
    BC_RET(bc_writer_modality(w, &v->def, &v->id, v->levels, err));
    /* What the store decided when the variable came first holds for all that follows. */
    const bc_modality *have = bc_writer_get_modality(w, v->id);
    v->def.bucket = have->bucket;
    v->def.layout[0] = have->layout[0];
    v->def.layout[1] = have->layout[1];
  }
  return BC_OK;
}
