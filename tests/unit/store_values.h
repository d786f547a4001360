/*
 * A small world of values for tests of crashes, damage and processes: three variables on four cells over two
 * days, written in commits as ingest does, and read back as what is in force, however tiles are cut and
 * merged.
 */
#ifndef BC_TESTS_STORE_VALUES_H
#define BC_TESTS_STORE_VALUES_H

#include "store_fixture.h"

#define MARCH INT64_C(1551398400) /* 2019-03-01 */
enum { W_VARS = 3, W_CELLS = 4, W_HOURS = 48, W_SIDE = 8, W_NODES = W_SIDE * W_SIDE };

/* What is in force; 0x7fc0dead where nothing is stored. */
typedef struct world {
  uint32_t bits[W_VARS][W_CELLS][W_HOURS][W_NODES];
} world;

static const char *const w_vars[W_VARS][2] = { { "surface", "t2m" },
                                               { "climate", "t2m" },
                                               { "surface", "d2m" } };

/* Cell 2 holds one value throughout, cell 3 what no codec can squeeze. */
static inline float world_value(int var, int cell, int hour, int node, int version)
{
  const float base = 270.0f + 8.0f * (float)version + (var == 2 ? 1.0f : 0.0f);
  const uint32_t mixed = (uint32_t)(cell * 7919 + hour * 613 + node * 37 + version) * 2654435761u;
  if (cell == 2) return base;
  if (cell == 3) return base + (float)(mixed >> 9) / 8388608.0f;
  return base + (float)((cell * 101 + hour * 37 + node * 7) % 512) / 64.0f;
}

/* One tile of nt hours from h0: encoded and put. */
static inline bc_status world_put(bc_writer *w, bc_encoder *e, uint16_t id, int var, int cell, int h0, int nt,
                                  int version, uint32_t source, bc_err *err)
{
  bc_status st = BC_OK;
  bc_buf head = bc_buf_empty(1 << 20), payload = bc_buf_empty(1 << 24);
  float v[W_HOURS * W_NODES];
  int64_t times[W_HOURS];
  const uint16_t level = 0;
  for (int t = 0; t < nt; t++) {
    times[t] = MARCH + 3600 * (int64_t)(h0 + t);
    for (int i = 0; i < W_NODES; i++)
      v[t * W_NODES + i] = world_value(var, cell, h0 + t, i, version);
  }
  bc_tile_in in = { .key = { (uint32_t)cell, MARCH, id, 0 },
                    .layout = BC_LAYOUT_BALANCED,
                    .ny = W_SIDE,
                    .nx = W_SIDE,
                    .cell_ny = W_SIDE,
                    .cell_nx = W_SIDE,
                    .nt = (uint32_t)nt,
                    .nl = 1,
                    .times = times,
                    .levels = &level,
                    .sources = &source,
                    .n_sources = 1,
                    .dtype = BC_F32,
                    .values = v,
                    .t_stride = W_NODES * sizeof *v,
                    .l_stride = W_NODES * sizeof *v,
                    .y_stride = W_SIDE * sizeof *v };
  const bc_codec_opts o = { .mode = cell == 1 ? BC_MODE_RAW : BC_MODE_AUTO };
  BC_TRY(bc_writer_next_part(w, &in.key, err));
  BC_TRY(bc_tile_encode(e, &in, &o, &head, &payload, err));
  BC_TRY(bc_writer_put(w, (bc_bytes){ head.p, head.n }, (bc_bytes){ payload.p, payload.n }, err));
out:
  bc_buf_dispose(&head);
  bc_buf_dispose(&payload);
  return st;
}

/* As ingest does: a source that is in already is passed over. replace: the pieces that were there go. */
typedef struct world_job {
  const char *source;
  int first_var, n_vars, first_cell, n_cells, h0, nt, version;
  bool replace;
} world_job;

static inline bc_status world_var(bc_writer *w, int var, uint16_t *id, bc_err *err)
{
  bc_modality m = { .dtype = BC_F32,
                    .bucket = BC_BUCKET_MONTH,
                    .layout = { BC_LAYOUT_BALANCED, BC_LAYOUT_NONE },
                    .cadence = 3600 };
  (void)snprintf(m.group, sizeof m.group, "%s", w_vars[var][0]);
  (void)snprintf(m.name, sizeof m.name, "%s", w_vars[var][1]);
  (void)snprintf(m.units, sizeof m.units, "K");
  return bc_writer_modality(w, &m, id, NULL, err);
}

static inline bc_status world_tiles(bc_writer *w, const world_job *j, uint32_t source, bc_err *err)
{
  bc_status st = BC_OK;
  bc_encoder *e = NULL;
  BC_RET(bc_encoder_open(&e, err));
  for (int var = j->first_var; var < j->first_var + j->n_vars; var++) {
    uint16_t id = 0;
    BC_TRY(world_var(w, var, &id, err));
    for (int cell = j->first_cell; cell < j->first_cell + j->n_cells; cell++) {
      bc_tile_key k = { (uint32_t)cell, MARCH, id, 0 };
      BC_TRY(bc_writer_next_part(w, &k, err));
      for (uint16_t p = 0; j->replace && p < k.part; p++) {
        const bc_tile_key old = { k.cell, k.time, k.modality, p };
        BC_TRY(bc_writer_drop(w, &old, err));
      }
      BC_TRY(world_put(w, e, id, var, cell, j->h0, j->nt, j->version, source, err));
    }
  }
out:
  bc_encoder_close(e);
  return st;
}

static inline bc_status world_commit(bc_store *st_, const world_job *j, bc_err *err)
{
  bc_status st = BC_OK;
  bc_writer *w = NULL;
  bc_source_rec src = { 0 }, have;
  (void)snprintf(src.name, sizeof src.name, "%s", j->source);
  (void)memcpy(src.hash, j->source, BC_MIN(strlen(j->source), sizeof src.hash));
  BC_RET(bc_writer_open(st_, &w, err));
  BC_TRY(bc_writer_source(w, &src, &have, err));
  if (have.done) goto out;
  BC_TRY(world_tiles(w, j, have.id, err));
  have.done = true;
  BC_TRY(bc_writer_source_update(w, &have, err));
  BC_TRY(bc_writer_commit(w, err));
out:
  bc_writer_close(w);
  return st;
}

/* ---- reading ---- */

typedef struct world_reader {
  bc_snapshot *s;
  bc_decoder *d;
  world *w;
  uint64_t tiles;
} world_reader;

/* Its place in w_vars, whatever number it has in the store. */
static inline int world_var_of(const bc_snapshot *s, uint16_t id)
{
  const bc_modality *m = bc_snapshot_modality(s, id);
  for (int v = 0; m != NULL && v < W_VARS; v++)
    if (strcmp(m->group, w_vars[v][0]) == 0 && strcmp(m->name, w_vars[v][1]) == 0) return v;
  return -1;
}

static inline bc_status world_tile(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  world_reader *r = ctx;
  bc_status st = BC_OK;
  bc_tile t;
  const int var = world_var_of(r->s, key->modality);
  if (var < 0 || key->cell >= W_CELLS) return BC_FAIL(err, BC_E_INTERNAL, "a tile of nowhere");
  BC_RET(bc_snapshot_tile(r->s, key, rec, &t, err));
  const uint32_t n = t.head.n_blocks == 0 ? t.head.nl : t.head.n_blocks;
  for (uint32_t b = 0; b < n; b++) {
    bc_block_place at;
    bc_tile_block(&t.head, b, &at);
    for (uint32_t i = 0; i < at.nt; i++) {
      const int64_t h = (bc_tile_time(&t.head, at.t0 + i) - MARCH) / 3600;
      if (h < 0 || h >= W_HOURS || at.y0 + at.ny > W_SIDE || at.x0 + at.nx > W_SIDE)
        BC_TRY(BC_FAIL(err, BC_E_INTERNAL, "a block of nowhere"));
      BC_TRY(bc_tile_read(r->d, &t.head, t.payload, b, (bc_pick){ i, 1, 1 }, (bc_pick){ 0, at.ny, 1 },
                          (bc_pick){ 0, at.nx, 1 }, &r->w->bits[var][key->cell][h][at.y0 * W_SIDE + at.x0], 0,
                          W_SIDE * 4, err));
    }
  }
  r->tiles++;
out:
  bc_tile_close(&t);
  return st;
}

/* Every value in force in a snapshot. Parts come in ascending order, so that later ones win. */
static inline bc_status world_read(bc_snapshot *s, world *w, uint64_t *tiles, bc_err *err)
{
  bc_status st = BC_OK;
  world_reader r = { .s = s, .w = w };
  for (size_t i = 0; i < sizeof w->bits / 4; i++)
    (&w->bits[0][0][0][0])[i] = 0x7fc0deadu;
  BC_RET(bc_decoder_open(&r.d, err));
  for (uint16_t m = 0; m < bc_snapshot_modalities(s); m++)
    for (uint32_t cell = 0; cell < W_CELLS; cell++)
      BC_TRY(bc_snapshot_scan(s, cell, INT64_MIN, INT64_MAX, &m, 1, world_tile, &r, err));
out:
  bc_decoder_close(r.d);
  if (tiles != NULL) *tiles = r.tiles;
  return st;
}

#endif
