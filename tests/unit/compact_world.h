/* Stores made of many pieces, and what they hold, read in the plainest way. For unit tests only. */
#ifndef BC_TESTS_COMPACT_WORLD_H
#define BC_TESTS_COMPACT_WORLD_H

#include "store/commit.h"
#include "store/store_int.h"
#include "store_fixture.h"

#define MARCH  INT64_C(1551398400) /* 2019-03-01 */
#define APRIL  INT64_C(1554076800)
#define HOUR   INT64_C(3600)
#define DAY_S  INT64_C(86400)
#define SIDE   8 /* nodes of a cell */
#define MOST_T 768
#define MOST_L 4

/* One piece: steps first, first + every .. (nt of them), a box of its cell, some levels. */
typedef struct box_piece {
  uint16_t modality;
  uint32_t cell;
  int64_t bucket, first, every;
  uint32_t nt, y0, x0, ny, nx, nl;
  uint16_t levels[MOST_L];
  uint32_t seed; /* of its values */
  bc_codec_mode mode;
  bool second;       /* the second copy too */
  bool packed;       /* of int16 */
  double scale, add; /* packed */
} box_piece;

static inline box_piece whole_piece(uint16_t modality, uint32_t cell, int64_t first, uint32_t nt,
                                    uint32_t seed)
{
  return (box_piece){ .modality = modality,
                      .cell = cell,
                      .bucket = first >= APRIL ? APRIL : MARCH,
                      .first = first,
                      .every = HOUR,
                      .nt = nt,
                      .ny = SIDE,
                      .nx = SIDE,
                      .nl = 1,
                      .seed = seed };
}

static inline uint32_t mix(uint32_t x)
{
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ x >> 16;
}

/* Kinds by seed: smooth on 16 bits, noise with holes, one value, all missing. */
static inline float value_of_piece(uint32_t seed, uint32_t i)
{
  const uint32_t r = mix(seed * 7919u + i);
  if (seed % 8 == 6) return 273.0f + (float)(seed % 5);
  if (seed % 8 == 7) return NAN;
  if (seed % 8 == 5) return r % 5 == 0 ? NAN : (float)(r >> 3) / 3.0f;
  return 270.0f + (float)(seed % 32) + (float)(r % 512) / 256.0f;
}

typedef struct builder {
  bc_store *st;
  bc_writer *w;
  bc_encoder *e;
  uint32_t source;
} builder;

static inline builder build(const char *path, const char *source)
{
  bc_err err = { 0 };
  builder b = { 0 };
  bc_source_rec src = { .done = true }, have;
  (void)snprintf(src.name, sizeof src.name, "%s", source);
  const uint64_t h = mix((uint32_t)(unsigned char)source[0] * 31u + (uint32_t)strlen(source));
  memcpy(src.hash, &h, sizeof h);
  (void)snprintf(src.request, sizeof src.request, "%s", source);
  OK(bc_store_open(path, BC_OPEN_WRITE, &b.st, &err));
  OK(bc_writer_open(b.st, &b.w, &err));
  OK(bc_encoder_open(&b.e, &err));
  OK(bc_writer_source(b.w, &src, &have, &err));
  have.done = true;
  OK(bc_writer_source_update(b.w, &have, &err));
  b.source = have.id;
  return b;
}

static inline void built(builder *b)
{
  bc_err err = { 0 };
  OK(bc_writer_commit(b->w, &err));
  bc_encoder_close(b->e);
  bc_writer_close(b->w);
  bc_store_close(b->st);
}

static inline uint16_t leveled_modality(bc_writer *w, const char *group, const char *name, uint16_t n_levels,
                                        bc_layout second)
{
  bc_err err = { 0 };
  uint16_t id = 0;
  bc_modality m = {
    .dtype = BC_F32, .bucket = BC_BUCKET_MONTH, .layout = { BC_LAYOUT_BALANCED, second }, .n_levels = n_levels
  };
  (void)snprintf(m.group, sizeof m.group, "%s", group);
  (void)snprintf(m.name, sizeof m.name, "%s", name);
  (void)snprintf(m.units, sizeof m.units, "K");
  if (n_levels > 0) (void)snprintf(m.level_units, sizeof m.level_units, "hPa");
  for (uint16_t i = 0; i < n_levels; i++)
    m.levels[i] = 1000 - 100.0 * i;
  OK(bc_writer_modality(w, &m, &id, NULL, &err));
  return id;
}

static inline void put_copy(builder *b, const box_piece *p, const void *values, size_t elem,
                            const bc_packing *packing, uint16_t part)
{
  bc_err err = { 0 };
  bc_buf head = bc_buf_empty(1 << 24), payload = bc_buf_empty(1 << 28);
  int64_t times[MOST_T];
  for (uint32_t t = 0; t < p->nt; t++)
    times[t] = p->first + p->every * (int64_t)t;
  const ptrdiff_t row = (ptrdiff_t)(p->nx * elem), plane = row * (ptrdiff_t)p->ny;
  bc_tile_in in = { .key = { p->cell, p->bucket, p->modality, part },
                    .layout = part & BC_PART_SECOND ? BC_LAYOUT_SERIES : BC_LAYOUT_BALANCED,
                    .y0 = p->y0,
                    .x0 = p->x0,
                    .ny = p->ny,
                    .nx = p->nx,
                    .cell_ny = BC_MAX(SIDE, p->y0 + p->ny),
                    .cell_nx = BC_MAX(SIDE, p->x0 + p->nx),
                    .nt = p->nt,
                    .nl = p->nl,
                    .times = times,
                    .levels = p->levels,
                    .sources = &b->source,
                    .n_sources = 1,
                    .dtype = p->packed ? BC_I16 : BC_F32,
                    .values = values,
                    .packing = packing,
                    .t_stride = plane * (ptrdiff_t)p->nl,
                    .l_stride = plane,
                    .y_stride = row };
  const bc_codec_opts o = { .mode = p->mode };
  OK(bc_tile_encode(b->e, &in, &o, &head, &payload, &err));
  OK(bc_writer_put(b->w, (bc_bytes){ head.p, head.n }, (bc_bytes){ payload.p, payload.n }, &err));
  bc_buf_dispose(&head);
  bc_buf_dispose(&payload);
}

/* Returns the part number it got. */
static inline uint16_t put_piece(builder *b, const box_piece *p)
{
  bc_err err = { 0 };
  const size_t n = (size_t)p->nt * p->nl * p->ny * p->nx, elem = p->packed ? 2 : 4;
  float *v = malloc(n * sizeof *v);
  int16_t *q = malloc(n * sizeof *q);
  bc_packing *packing = malloc(p->nt * sizeof *packing);
  for (uint32_t i = 0; i < n; i++) {
    v[i] = value_of_piece(p->seed, i);
    const uint32_t t = i / (p->nl * p->ny * p->nx), in_plane = i % (p->ny * p->nx);
    q[i] = (int16_t)(100 * (in_plane / p->nx) + 37 * (in_plane % p->nx) + mix(p->seed + t) % 64 + mix(i) % 4);
    if (p->seed % 3 == 0 && mix(i) % 50 == 0) q[i] = -32767;
  }
  for (uint32_t t = 0; t < p->nt; t++)
    packing[t] = (bc_packing){ p->scale, p->add, true, -32767 };
  bc_tile_key k = { p->cell, p->bucket, p->modality, 0 };
  OK(bc_writer_next_part(b->w, &k, &err));
  put_copy(b, p, p->packed ? (const void *)q : (const void *)v, elem, packing, k.part);
  if (p->second)
    put_copy(b, p, p->packed ? (const void *)q : (const void *)v, elem, packing, k.part | BC_PART_SECOND);
  free(v);
  free(q);
  free(packing);
  return k.part;
}

/* ---- what a store holds ---- */

typedef struct canvas { /* values in force of one cell, time, modality and copy */
  bool any;
  bc_tile_key key;
  int64_t t[MOST_T];
  uint32_t nt;
  uint32_t side;
  uint32_t *v;   /* [MOST_T][MOST_L][side][side] */
  uint8_t *have; /* likewise */
} canvas;

typedef struct in_force { /* of one level of a variable, first copy */
  uint64_t valid, missing, absent;
  double min, max, sum;
} in_force;

enum { MOST_M = 4 };

typedef struct contents {
  bc_snapshot *s;
  bc_decoder *d;
  canvas c;
  in_force levels[MOST_M][MOST_L];
  uint64_t hash, values;
  uint64_t tiles;
} contents;

static inline void add_plane(in_force *f, const uint32_t *bits, const uint8_t *have, size_t n)
{
  uint64_t seen = 0;
  for (size_t i = 0; i < n; i++) {
    float v;
    if (!have[i]) continue;
    seen++;
    memcpy(&v, &bits[i], sizeof v);
    f->missing += v != v;
    if (v != v) continue;
    if (f->valid == 0 || (double)v < f->min) f->min = (double)v;
    if (f->valid == 0 || (double)v > f->max) f->max = (double)v;
    f->sum += (double)v;
    f->valid++;
  }
  if (seen > 0) f->absent += n - seen;
}

static inline void add_planes(contents *x)
{
  const canvas *c = &x->c;
  const size_t n = (size_t)c->side * c->side;
  cr_assert_lt(c->key.modality, MOST_M);
  for (uint32_t t = 0; t < c->nt; t++)
    for (uint32_t l = 0; l < MOST_L; l++)
      add_plane(&x->levels[c->key.modality][l], c->v + (t * MOST_L + l) * n, c->have + (t * MOST_L + l) * n,
                n);
}

static inline void finish_canvas(contents *x)
{
  canvas *c = &x->c;
  if (!c->any) return;
  if (c->key.part == 0) add_planes(x);
  int64_t order[MOST_T];
  for (uint32_t i = 0; i < c->nt; i++) {
    uint32_t at = i;
    order[i] = i;
    for (; at > 0 && c->t[order[at - 1]] > c->t[i]; at--)
      order[at] = order[at - 1];
    order[at] = i;
  }
  const size_t per_step = (size_t)MOST_L * c->side * c->side;
  const uint64_t key[4] = { c->key.cell, (uint64_t)c->key.time, c->key.modality, c->key.part };
  x->hash = x->hash * 31 + bc_hash64(key, sizeof key);
  for (uint32_t i = 0; i < c->nt; i++) {
    const size_t at = (size_t)order[i] * per_step;
    x->hash = x->hash * 31 + (uint64_t)c->t[order[i]];
    x->hash = x->hash * 31 + bc_hash64(c->v + at, per_step * sizeof *c->v);
    x->hash = x->hash * 31 + bc_hash64(c->have + at, per_step);
    for (size_t k = 0; k < per_step; k++)
      x->values += c->have[at + k];
  }
  c->any = false;
}

static inline void paint(contents *x, const bc_tile *t)
{
  bc_err err = { 0 };
  canvas *c = &x->c;
  const bc_tile_head *h = &t->head;
  float row[256];
  for (uint32_t k = 0; k < h->nt; k++) {
    uint32_t at = 0;
    while (at < c->nt && c->t[at] != bc_tile_time(h, k))
      at++;
    cr_assert_lt(at, (uint32_t)MOST_T);
    if (at == c->nt) c->t[c->nt++] = bc_tile_time(h, k);
    for (uint32_t l = 0; l < h->nl; l++)
      for (uint32_t y = 0; y < h->ny; y++)
        for (uint32_t i = 0; i < h->nx;) {
          bc_block_place p;
          const uint32_t b = bc_tile_block_at(h, k, l, y, i);
          bc_tile_block(h, b, &p);
          const bc_pick one = { k - p.t0, 1, 1 }, line = { y - p.y0, 1, 1 }, cols = { 0, p.nx, 1 };
          OK(bc_tile_read(x->d, h, t->payload, b, one, line, cols, row, 0, 0, &err));
          for (uint32_t j = 0; j < p.nx; j++) {
            const size_t to = (((size_t)at * MOST_L + bc_tile_level(h, l)) * c->side + h->y0 + y) * c->side +
                              h->x0 + p.x0 + j;
            memcpy(&c->v[to], &row[j], sizeof row[j]);
            c->have[to] = 1;
          }
          i = p.x0 + p.nx;
        }
  }
}

static inline bc_status read_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  contents *x = ctx;
  bc_tile_key k;
  bc_tile_rec rec;
  bc_tile t;
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &k, err));
  BC_RET(bc_tile_rec_get(vb, &rec, err));
  k.part &= BC_PART_SECOND;
  if (!bc_tile_key_equal(&k, &x->c.key)) finish_canvas(x);
  if (!x->c.any) {
    const size_t n = (size_t)MOST_T * MOST_L * x->c.side * x->c.side;
    x->c.any = true;
    x->c.key = k;
    x->c.nt = 0;
    memset(x->c.v, 0, n * sizeof *x->c.v);
    memset(x->c.have, 0, n);
  }
  BC_RET(bc_tile_key_get(kb, &k, err));
  BC_RET(bc_snapshot_tile(x->s, &k, &rec, &t, err));
  paint(x, &t);
  bc_tile_close(&t);
  x->tiles++;
  return BC_OK;
}

/* A number for all values in force, by variable, cell, time, level and node, in each copy. */
static inline contents read_contents(const char *path, uint32_t side)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  contents x = { .c.side = side };
  const size_t n = (size_t)MOST_T * MOST_L * side * side;
  x.c.v = malloc(n * sizeof *x.c.v);
  x.c.have = malloc(n);
  OK(bc_store_open(path, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &x.s, &err));
  OK(bc_decoder_open(&x.d, &err));
  OK(bc_txn_each(x.s->txn, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, read_tile, &x, &err));
  finish_canvas(&x);
  bc_decoder_close(x.d);
  bc_snapshot_close(x.s);
  bc_store_close(st);
  free(x.c.v);
  free(x.c.have);
  return x;
}

/* ---- the index ---- */

static inline bc_status hash_pair(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  uint64_t *h = ctx;
  (void)stop;
  (void)err;
  *h = *h * 1099511628211u + bc_hash64(key.p, key.n);
  *h = *h * 1099511628211u + bc_hash64(value.p, value.n);
  return BC_OK;
}

/* Everything the index says, in one number per table. */
static inline void index_digest(const char *store, uint64_t out[BC_N_TABLES])
{
  bc_err err = { 0 };
  char folder[160];
  bc_index *ix = NULL;
  bc_txn *t = NULL;
  (void)snprintf(folder, sizeof folder, "%s/index", store);
  OK(bc_index_open(folder, 0, &ix, &err));
  OK(bc_txn_begin(ix, false, &t, &err));
  for (int i = 0; i < BC_N_TABLES; i++) {
    out[i] = 0;
    OK(bc_txn_each(t, (bc_table)i, (bc_bytes){ NULL, 0 }, hash_pair, &out[i], &err));
  }
  bc_txn_abort(t);
  bc_index_close(ix);
}

static inline void expect_reindex_agrees(const char *path, const char *when)
{
  static const char *const names[BC_N_TABLES] = { "meta",    "grids",       "modalities", "usage",
                                                  "sources", "source-hash", "segments",   "tiles" };
  bc_err err = { 0 };
  uint64_t before[BC_N_TABLES], after[BC_N_TABLES];
  bc_reindex_report rep;
  index_digest(path, before);
  OK(bc_store_reindex(path, NULL, NULL, NULL, &rep, &err));
  cr_expect_eq(rep.damaged, 0);
  index_digest(path, after);
  for (int i = 0; i < BC_N_TABLES; i++)
    cr_assert_eq(before[i], after[i], "%s: table %s differs after reindex", when, names[i]);
}

static inline void note_damage(void *ctx, const bc_damage *d) { (void)snprintf(ctx, 800, "%s", d->what); }

static inline void expect_whole(const char *path, uint64_t orphans)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_verify_report rep;
  char what[800] = "";
  OK(bc_store_open(path, BC_OPEN_READ, &st, &err));
  OK(bc_store_verify(st, true, note_damage, what, NULL, &rep, &err));
  cr_expect_eq(rep.damaged, 0, "%s", what);
  if (orphans != UINT64_MAX)
    cr_expect_eq(rep.orphans, orphans, "%llu orphans", (unsigned long long)rep.orphans);
  bc_store_close(st);
}

static inline bc_compact_report compact(const char *path, uint64_t segment_bytes)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_compact_report rep;
  const bc_compact_opts o = { .segment_bytes = segment_bytes, .memory = 64 << 20 };
  OK(bc_store_open(path, BC_OPEN_WRITE, &st, &err));
  OK(bc_store_compact(st, &o, NULL, &rep, &err));
  bc_store_close(st);
  return rep;
}

#endif
