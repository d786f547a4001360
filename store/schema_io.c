#include "store/schema_io.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each record begins with its own layout number, so that one kind can grow without the others. */
enum { GRID_LAYOUT = 1, MODALITY_LAYOUT = 1, USAGE_LAYOUT = 1, SOURCE_LAYOUT = 1, SOURCE_ORDERED = 2 };
#define MAX_ATTRS 1024

char *bc_number_text(double v, char *buf)
{
  (void)snprintf(buf, BC_NUMBER_TEXT, "%.15g", v);
  if (strtod(buf, NULL) != v) (void)snprintf(buf, BC_NUMBER_TEXT, "%.17g", v);
  return buf;
}

static bc_status bad(bc_err *err, const char *what)
{
  return BC_FAIL(err, BC_E_CORRUPT, "schema: the record of a %s is damaged: run bctool reindex", what);
}

/* Texts that end on a terminal: a record made to do harm could steer it. Control characters become blanks. */
static void plain(char *text)
{
  for (unsigned char *p = (unsigned char *)text; *p != '\0'; p++) {
    if (*p < 0x20 || *p == 0x7f) *p = ' ';
    if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) p[0] = p[1] = ' '; /* U+0080 to U+009F */
  }
}

/* ---- grid ---- */

bc_status bc_grid_encode(const bc_grid *g, bc_buf *out, bc_err *err)
{
  BC_RET(bc_buf_u8(out, GRID_LAYOUT, err));
  BC_RET(bc_buf_text(out, g->name, err));
  BC_RET(bc_buf_text(out, g->crs, err));
  BC_RET(bc_buf_f64(out, g->y0, err));
  BC_RET(bc_buf_f64(out, g->dy, err));
  BC_RET(bc_buf_f64(out, g->x0, err));
  BC_RET(bc_buf_f64(out, g->dx, err));
  BC_RET(bc_buf_u32(out, g->ny, err));
  BC_RET(bc_buf_u32(out, g->nx, err));
  BC_RET(bc_buf_u32(out, g->cell, err));
  return bc_buf_u8(out, (uint8_t)((g->cell_registered ? 1 : 0) | (g->wraps ? 2 : 0)), err);
}

bc_status bc_grid_decode(bc_bytes src, bc_grid *out, bc_err *err)
{
  bc_cursor c = { src, 0, true };
  memset(out, 0, sizeof *out);
  if (bc_cur_u8(&c) != GRID_LAYOUT) return bad(err, "grid");
  bc_cur_text(&c, out->name, sizeof out->name);
  bc_cur_text(&c, out->crs, sizeof out->crs);
  plain(out->crs);
  out->y0 = bc_cur_f64(&c);
  out->dy = bc_cur_f64(&c);
  out->x0 = bc_cur_f64(&c);
  out->dx = bc_cur_f64(&c);
  out->ny = bc_cur_u32(&c);
  out->nx = bc_cur_u32(&c);
  out->cell = bc_cur_u32(&c);
  const uint8_t flags = bc_cur_u8(&c);
  out->cell_registered = (flags & 1) != 0;
  out->wraps = (flags & 2) != 0;
  if (!c.ok || c.at != src.n || flags > 3 || bc_grid_check(out, NULL) != BC_OK) return bad(err, "grid");
  return BC_OK;
}

/* ---- modality ---- */

static bc_status encode_attrs(const bc_modality *m, bc_buf *out, bc_err *err)
{
  BC_RET(bc_buf_u16(out, (uint16_t)m->n_attrs, err));
  for (int32_t i = 0; i < m->n_attrs; i++) {
    BC_RET(bc_buf_text(out, m->attrs[i].name, err));
    BC_RET(bc_buf_text(out, m->attrs[i].value, err));
    BC_RET(bc_buf_u8(out, m->attrs[i].numeric ? 1 : 0, err));
  }
  return BC_OK;
}

bc_status bc_modality_encode(const bc_modality *m, bc_buf *out, bc_err *err)
{
  BC_RET(bc_buf_u8(out, MODALITY_LAYOUT, err));
  BC_RET(bc_buf_u16(out, m->id, err));
  BC_RET(bc_buf_u8(out, m->grid, err));
  BC_RET(bc_buf_u8(out, (uint8_t)m->dtype, err));
  BC_RET(bc_buf_u8(out, (uint8_t)m->bucket, err));
  BC_RET(bc_buf_u8(out, (uint8_t)m->layout[0], err));
  BC_RET(bc_buf_u8(out, (uint8_t)m->layout[1], err));
  BC_RET(bc_buf_u64(out, (uint64_t)m->cadence, err));
  BC_RET(bc_buf_f64(out, m->precision, err));
  BC_RET(bc_buf_text(out, m->group, err));
  BC_RET(bc_buf_text(out, m->name, err));
  BC_RET(bc_buf_text(out, m->units, err));
  BC_RET(bc_buf_text(out, m->level_units, err));
  BC_RET(bc_buf_u16(out, m->n_levels, err));
  for (int i = 0; i < m->n_levels; i++)
    BC_RET(bc_buf_f64(out, m->levels[i], err));
  return encode_attrs(m, out, err);
}

static bc_status decode_attrs(bc_cursor *c, bc_modality *m, bc_err *err)
{
  const uint16_t n = bc_cur_u16(c);
  char name[256];
  if (!c->ok || n > MAX_ATTRS) return bad(err, "variable");
  for (uint16_t i = 0; i < n; i++) {
    bc_cur_text(c, name, sizeof name);
    const size_t len = bc_cur_u16(c);
    const uint8_t *p = bc_cur_take(c, len);
    const uint8_t numeric = bc_cur_u8(c);
    if (!c->ok) return bad(err, "variable");
    char *value = bc_malloc(len + 1);
    if (value == NULL) return BC_FAIL(err, BC_E_NOMEM, "schema: no memory");
    if (len > 0) memcpy(value, p, len);
    value[len] = '\0';
    plain(name);
    plain(value);
    const bc_status st = bc_modality_set_attr(m, name, value, numeric != 0, err);
    bc_free(value);
    BC_RET(st);
  }
  return BC_OK;
}

static void decode_fixed(bc_cursor *c, bc_modality *m)
{
  m->id = bc_cur_u16(c);
  m->grid = bc_cur_u8(c);
  m->dtype = (bc_dtype)bc_cur_u8(c);
  m->bucket = (bc_bucket)bc_cur_u8(c);
  m->layout[0] = (bc_layout)bc_cur_u8(c);
  m->layout[1] = (bc_layout)bc_cur_u8(c);
  m->cadence = (int64_t)bc_cur_u64(c);
  m->precision = bc_cur_f64(c);
  bc_cur_text(c, m->group, sizeof m->group);
  bc_cur_text(c, m->name, sizeof m->name);
  bc_cur_text(c, m->units, sizeof m->units);
  bc_cur_text(c, m->level_units, sizeof m->level_units);
  plain(m->units);
  plain(m->level_units);
  m->n_levels = bc_cur_u16(c);
}

static bool fixed_ok(const bc_modality *m)
{
  return m->grid < BC_MAX_GRIDS && bc_dtype_size(m->dtype) != 0 && m->bucket <= BC_BUCKET_DECADE &&
         m->layout[0] <= BC_LAYOUT_BALANCED &&
         (m->layout[1] <= BC_LAYOUT_BALANCED || m->layout[1] == BC_LAYOUT_NONE) && m->precision >= 0 &&
         m->n_levels <= BC_MAX_LEVELS;
}

bc_status bc_modality_decode(bc_bytes src, bc_modality *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_cursor c = { src, 0, true };
  memset(out, 0, sizeof *out);
  if (bc_cur_u8(&c) != MODALITY_LAYOUT) return bad(err, "variable");
  decode_fixed(&c, out);
  if (!c.ok || !fixed_ok(out)) return bad(err, "variable");
  for (int i = 0; i < out->n_levels; i++)
    out->levels[i] = bc_cur_f64(&c);
  BC_TRY(decode_attrs(&c, out, err));
  if (!c.ok || c.at != src.n || bc_modality_check(out, NULL) != BC_OK) BC_TRY(bad(err, "variable"));
out:
  if (st != BC_OK) bc_modality_dispose(out);
  return st;
}

/* ---- usage ---- */

void bc_usage_init(bc_usage *u)
{
  memset(u, 0, sizeof *u);
  u->t_first = INT64_MAX;
  u->t_last = INT64_MIN;
  u->min = INFINITY;
  u->max = -INFINITY;
}

bc_status bc_usage_encode(const bc_usage *u, bc_buf *out, bc_err *err)
{
  const uint64_t ints[] = { u->n_tiles,        u->stored_bytes,   u->decoded_bytes,     u->n_valid,
                            u->n_missing,      u->n_absent,       u->codec_tiles[0],    u->codec_tiles[1],
                            u->codec_tiles[2], u->codec_tiles[3], (uint64_t)u->t_first, (uint64_t)u->t_last };
  const double reals[] = { u->min, u->max, u->sum, u->sumsq };
  BC_RET(bc_buf_u8(out, USAGE_LAYOUT, err));
  for (size_t i = 0; i < BC_ARRAY_LEN(ints); i++)
    BC_RET(bc_buf_u64(out, ints[i], err));
  for (size_t i = 0; i < BC_ARRAY_LEN(reals); i++)
    BC_RET(bc_buf_f64(out, reals[i], err));
  return BC_OK;
}

bc_status bc_usage_decode(bc_bytes src, bc_usage *out, bc_err *err)
{
  bc_cursor c = { src, 0, true };
  memset(out, 0, sizeof *out);
  if (bc_cur_u8(&c) != USAGE_LAYOUT) return bad(err, "usage");
  out->n_tiles = bc_cur_u64(&c);
  out->stored_bytes = bc_cur_u64(&c);
  out->decoded_bytes = bc_cur_u64(&c);
  out->n_valid = bc_cur_u64(&c);
  out->n_missing = bc_cur_u64(&c);
  out->n_absent = bc_cur_u64(&c);
  for (int i = 0; i < 4; i++)
    out->codec_tiles[i] = bc_cur_u64(&c);
  out->t_first = (int64_t)bc_cur_u64(&c);
  out->t_last = (int64_t)bc_cur_u64(&c);
  out->min = bc_cur_f64(&c);
  out->max = bc_cur_f64(&c);
  out->sum = bc_cur_f64(&c);
  out->sumsq = bc_cur_f64(&c);
  return c.ok && c.at == src.n ? BC_OK : bad(err, "usage");
}

/* ---- source ---- */

bc_status bc_source_encode(const bc_source_rec *s, bc_buf *out, bc_err *err)
{
  const bool ordered = s->order != (int64_t)s->id;
  BC_RET(bc_buf_u8(out, ordered ? SOURCE_ORDERED : SOURCE_LAYOUT, err));
  BC_RET(bc_buf_u32(out, s->id, err));
  BC_RET(bc_buf_put(out, s->hash, sizeof s->hash, err));
  BC_RET(bc_buf_u64(out, s->bytes, err));
  BC_RET(bc_buf_u64(out, (uint64_t)s->ingested, err));
  BC_RET(bc_buf_u8(out, s->done ? 1 : 0, err));
  BC_RET(bc_buf_u32(out, s->next_var, err));
  BC_RET(bc_buf_u64(out, s->next_step, err));
  BC_RET(bc_buf_text(out, s->name, err));
  BC_RET(bc_buf_text(out, s->request, err));
  return ordered ? bc_buf_u64(out, (uint64_t)s->order, err) : BC_OK;
}

/* In one way only: without it where it says nothing. */
static bool order_ok(const bc_source_rec *s, uint8_t layout)
{
  return s->order > -BC_ORDER_MAX && s->order < BC_ORDER_MAX &&
         (layout == SOURCE_LAYOUT || s->order != s->id);
}

bc_status bc_source_decode(bc_bytes src, bc_source_rec *out, bc_err *err)
{
  bc_cursor c = { src, 0, true };
  memset(out, 0, sizeof *out);
  const uint8_t layout = bc_cur_u8(&c);
  if (layout != SOURCE_LAYOUT && layout != SOURCE_ORDERED) return bad(err, "source file");
  out->id = bc_cur_u32(&c);
  const uint8_t *hash = bc_cur_take(&c, sizeof out->hash);
  if (hash != NULL) memcpy(out->hash, hash, sizeof out->hash);
  out->bytes = bc_cur_u64(&c);
  out->ingested = (int64_t)bc_cur_u64(&c);
  const uint8_t done = bc_cur_u8(&c);
  out->done = done == 1;
  out->next_var = bc_cur_u32(&c);
  out->next_step = bc_cur_u64(&c);
  bc_cur_text(&c, out->name, sizeof out->name);
  plain(out->name);
  bc_cur_text(&c, out->request, sizeof out->request);
  plain(out->request);
  out->order = layout == SOURCE_ORDERED ? (int64_t)bc_cur_u64(&c) : out->id;
  return c.ok && c.at == src.n && done <= 1 && order_ok(out, layout) ? BC_OK : bad(err, "source file");
}
