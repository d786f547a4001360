/*
 * What the tiles of a modality hold, level by level: from their heads alone, but where pieces of one tile
 * share steps. There a later piece hides nodes of earlier ones, and the values that remain in force are
 * counted.
 */
#include <math.h>
#include <string.h>

#include "store/schema_io.h"
#include "store/snapshot.h"
#include "store/store_int.h"

typedef struct level_ctx {
  bc_snapshot *s;
  uint16_t modality;
  bc_usage *levels;
  size_t n;
  bc_decoder *decoder; /* opened when first needed */
  bc_scratch values, seen;
  uint64_t *damaged;
  bc_tile *pieces; /* of one cell and bucket, ascending: a later one is in force */
  size_t n_pieces, cap;
} level_ctx;

static bool same_tile(const bc_tile_key *a, const bc_tile_key *b)
{
  return a->cell == b->cell && a->time == b->time;
}

/* ---- from heads ---- */

static void add_level(const level_ctx *c, const bc_tile *t, uint32_t l, const bc_level_stats *s,
                      uint64_t n_absent)
{
  const bc_tile_head *h = &t->head;
  const bc_tile_rec part = { .codec = t->rec.codec,
                             .n_valid = s->n_valid,
                             .n_missing = s->n_missing,
                             .min = s->min,
                             .max = s->max,
                             .sum = s->sum,
                             .sumsq = s->sumsq,
                             .stored = t->rec.stored / h->nl,
                             .decoded = t->rec.decoded / h->nl,
                             .n_absent = n_absent };
  const uint16_t at = bc_tile_level(h, l);
  if (at < c->n) bc_usage_add(&c->levels[at], &part, bc_tile_time(h, 0), bc_tile_time(h, h->nt - 1));
}

static void add_head(const level_ctx *c, const bc_tile *t)
{
  for (uint32_t l = 0; l < t->head.nl; l++) {
    const bc_level_stats s = bc_tile_stats(&t->head, l);
    add_level(c, t, l, &s, t->head.n_absent / t->head.nl);
  }
}

/* ---- pieces that share steps ---- */

/* Whether piece t has values of that time and level, anywhere. */
static bool has_plane(const bc_tile_head *h, int64_t time, uint16_t level)
{
  return bc_tile_level_at(h, level) < h->nl && bc_tile_step_at(h, time) < h->nt;
}

static bool share_planes(const bc_tile_head *a, const bc_tile_head *b)
{
  if (bc_tile_time(a, 0) > bc_tile_time(b, b->nt - 1) || bc_tile_time(b, 0) > bc_tile_time(a, a->nt - 1))
    return false;
  for (uint32_t l = 0; l < a->nl; l++)
    for (uint32_t t = 0; t < a->nt; t++)
      if (has_plane(b, bc_tile_time(a, t), bc_tile_level(a, l))) return true;
  return false;
}

/* ---- values in force ---- */

typedef struct cover {
  const bc_tile *later;
  size_t n_later;
  uint8_t *hidden; /* a row of the block */
} cover;

static void hide(const cover *v, int64_t time, uint16_t level, uint32_t y, uint32_t x0, uint32_t nx)
{
  memset(v->hidden, 0, nx);
  for (size_t i = 0; i < v->n_later; i++) {
    const bc_tile_head *h = &v->later[i].head;
    const uint32_t from = BC_MAX(x0, h->x0), to = BC_MIN(x0 + nx, h->x0 + h->nx);
    if (y < h->y0 || y - h->y0 >= h->ny || from >= to || !has_plane(h, time, level)) continue;
    memset(v->hidden + (from - x0), 1, to - from);
  }
}

static void count_row(bc_level_stats *s, const float *v, const uint8_t *hidden, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++) {
    const double d = (double)v[i];
    if (hidden[i]) continue;
    if (d != d) {
      s->n_missing++;
      continue;
    }
    s->n_valid++;
    s->min = BC_MIN(s->min, d);
    s->max = BC_MAX(s->max, d);
    s->sum += d;
    s->sumsq += d * d;
  }
}

/* One block of piece t: what the later ones leave of it. */
static bc_status count_block(level_ctx *c, const bc_tile *t, uint32_t b, const cover *v,
                             bc_level_stats *stats, bc_err *err)
{
  const bc_tile_head *h = &t->head;
  bc_block_place p;
  bc_tile_block(h, b, &p);
  const bc_pick steps = { 0, p.nt, 1 }, rows = { 0, p.ny, 1 }, columns = { 0, p.nx, 1 };
  const size_t row = p.nx, plane = row * p.ny;
  BC_RET(bc_scratch_need(&c->values, plane * p.nt * sizeof(float), err));
  float *const values = c->values.p;
  BC_RET(bc_tile_read(c->decoder, h, t->payload, b, steps, rows, columns, values,
                      (ptrdiff_t)(plane * sizeof *values), (ptrdiff_t)(row * sizeof *values), err));
  for (uint32_t i = 0; i < p.nt; i++)
    for (uint32_t y = 0; y < p.ny; y++) {
      hide(v, bc_tile_time(h, p.t0 + i), bc_tile_level(h, p.l), h->y0 + p.y0 + y, h->x0 + p.x0, p.nx);
      count_row(&stats[p.l], values + i * plane + y * row, v->hidden, p.nx);
    }
  return BC_OK;
}

/* ---- nodes that no piece looked at ---- */

typedef struct sheet { /* of all pieces, from the cell's first node on */
  uint8_t *seen;
  uint32_t ny, nx;
} sheet;

static void mark(const sheet *s, const bc_tile_head *h)
{
  for (uint32_t y = 0; y < h->ny; y++)
    memset(s->seen + (size_t)(h->y0 + y) * s->nx + h->x0, 1, h->nx);
}

static bc_status sheet_of(level_ctx *c, sheet *s, bc_err *err)
{
  *s = (sheet){ NULL, 0, 0 };
  for (size_t i = 0; i < c->n_pieces; i++) {
    const bc_tile_head *h = &c->pieces[i].head;
    s->ny = BC_MAX(s->ny, h->y0 + h->ny);
    s->nx = BC_MAX(s->nx, h->x0 + h->nx);
  }
  BC_RET(bc_scratch_need(&c->seen, (size_t)s->ny * s->nx, err));
  s->seen = c->seen.p;
  return BC_OK;
}

/* Nodes that the pieces up to i have of a plane. */
static uint64_t seen_nodes(const level_ctx *c, const sheet *s, size_t i, int64_t time, uint16_t level)
{
  const size_t n = (size_t)s->ny * s->nx;
  uint64_t found = 0;
  memset(s->seen, 0, n);
  for (size_t j = 0; j <= i; j++)
    if (has_plane(&c->pieces[j].head, time, level)) mark(s, &c->pieces[j].head);
  for (size_t k = 0; k < n; k++)
    found += s->seen[k];
  return found;
}

static bool is_last(const level_ctx *c, size_t i, int64_t time, uint16_t level)
{
  for (size_t j = i + 1; j < c->n_pieces; j++)
    if (has_plane(&c->pieces[j].head, time, level)) return false;
  return true;
}

/* Of the planes of which piece i is the last: each is counted once. */
static uint64_t absent_of(const level_ctx *c, const sheet *s, size_t i, uint32_t l)
{
  const bc_tile_head *h = &c->pieces[i].head;
  const uint64_t cell = h->n_absent / ((uint64_t)h->nt * h->nl) + (uint64_t)h->ny * h->nx;
  uint64_t n = 0;
  for (uint32_t t = 0; t < h->nt; t++)
    if (is_last(c, i, bc_tile_time(h, t), bc_tile_level(h, l)))
      n += cell - BC_MIN(cell, seen_nodes(c, s, i, bc_tile_time(h, t), bc_tile_level(h, l)));
  return n;
}

/* ---- a tile of several pieces ---- */

static bc_status add_visible(level_ctx *c, const sheet *s, size_t i, bc_err *err)
{
  const bc_tile *t = &c->pieces[i];
  const bc_tile_head *h = &t->head;
  const uint32_t n_blocks = h->codec == BC_CODEC_CONST ? h->nl : h->n_blocks;
  cover v = { t + 1, c->n_pieces - i - 1, NULL };
  bc_level_stats *stats = bc_calloc(h->nl, sizeof *stats);
  bc_status st = BC_OK;
  v.hidden = bc_malloc(h->nx);
  if (stats == NULL || v.hidden == NULL) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "statistics: no memory"));
  for (uint32_t l = 0; l < h->nl; l++)
    stats[l] = (bc_level_stats){ .min = INFINITY, .max = -INFINITY };
  for (uint32_t b = 0; b < n_blocks; b++)
    BC_TRY(count_block(c, t, b, &v, stats, err));
  for (uint32_t l = 0; l < h->nl; l++)
    add_level(c, t, l, &stats[l], absent_of(c, s, i, l));
out:
  bc_free(stats);
  bc_free(v.hidden);
  return st;
}

static bool any_share(const level_ctx *c)
{
  for (size_t i = 0; i < c->n_pieces; i++)
    for (size_t j = i + 1; j < c->n_pieces; j++)
      if (share_planes(&c->pieces[i].head, &c->pieces[j].head)) return true;
  return false;
}

static void forget_pieces(level_ctx *c)
{
  for (size_t i = 0; i < c->n_pieces; i++)
    bc_tile_close(&c->pieces[i]);
  c->n_pieces = 0;
}

static bc_status add_pieces(level_ctx *c, bc_err *err)
{
  bc_status st = BC_OK;
  sheet s;
  if (!any_share(c)) {
    for (size_t i = 0; i < c->n_pieces; i++)
      add_head(c, &c->pieces[i]);
  } else {
    if (c->decoder == NULL) BC_TRY(bc_decoder_open(&c->decoder, err));
    BC_TRY(sheet_of(c, &s, err));
    for (size_t i = 0; i < c->n_pieces; i++) {
      bc_err why = { .msg = "" };
      st = add_visible(c, &s, i, &why);
      if (c->damaged != NULL && bc_is_damage(st)) {
        ++*c->damaged;
        st = BC_OK;
      }
      if (st != BC_OK && err != NULL) *err = why;
      BC_TRY(st);
    }
  }
out:
  forget_pieces(c);
  return st;
}

static bc_status room_for_piece(level_ctx *c, bc_err *err)
{
  if (c->n_pieces < c->cap) return BC_OK;
  const size_t cap = c->cap == 0 ? 8 : 2 * c->cap;
  bc_tile *p = bc_realloc(c->pieces, cap * sizeof *p);
  if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "statistics: no memory for %zu pieces of a tile", cap);
  c->pieces = p;
  c->cap = cap;
  return BC_OK;
}

static bc_status each_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  level_ctx *c = ctx;
  bc_tile_key key;
  bc_tile_rec rec;
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &key, err));
  if (key.modality != c->modality || (key.part & BC_PART_SECOND)) return BC_OK;
  if (c->n_pieces > 0 && !same_tile(&c->pieces[0].key, &key)) BC_RET(add_pieces(c, err));
  BC_RET(bc_tile_rec_get(vb, &rec, err));
  BC_RET(room_for_piece(c, err));
  bc_err why = { .msg = "" };
  const bc_status st = bc_snapshot_tile(c->s, &key, &rec, &c->pieces[c->n_pieces], &why);
  if (c->damaged != NULL && bc_is_damage(st)) {
    ++*c->damaged;
    return BC_OK;
  }
  if (st != BC_OK && err != NULL) *err = why;
  BC_RET(st);
  c->n_pieces++;
  return BC_OK;
}

bc_status bc_snapshot_level_usage(bc_snapshot *s, uint16_t modality, bc_usage *levels, size_t n_levels,
                                  uint64_t *damaged, bc_err *err)
{
  level_ctx c = { .s = s, .modality = modality, .levels = levels, .n = n_levels, .damaged = damaged };
  for (size_t i = 0; i < n_levels; i++)
    bc_usage_init(&levels[i]);
  bc_status st = bc_txn_each(s->txn, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, each_tile, &c, err);
  if (st == BC_OK) st = add_pieces(&c, err);
  forget_pieces(&c);
  bc_free(c.pieces);
  bc_decoder_close(c.decoder);
  bc_scratch_dispose(&c.values);
  bc_scratch_dispose(&c.seen);
  return st;
}
