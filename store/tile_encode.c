/*
 * Encoding of tiles: blocks, the choice of a codec by trying, and what a tile may be. The other parts of it
 * are in tile_int.h.
 */
#include "store/tile_int.h"

#include <inttypes.h>
#include <math.h>

enum {
  SAMPLE_VALUES = 4096, /* tried with each codec, at the fastest level, before a tile is encoded */
  SAMPLE_LEVEL = 1,
  DEFAULT_LEVEL = 3
};

bc_status bc_encoder_open(bc_encoder **out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_encoder *e = bc_calloc(1, sizeof *e);

  *out = NULL;
  if (e == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a tile encoder");
  e->trial = bc_buf_empty(BC_TILE_MAX_BLOCK);
  e->table = bc_buf_empty(SIZE_MAX);
  BC_TRY(bc_zstd_open(&e->z, err));
  *out = e;
  e = NULL;
out:
  bc_encoder_close(e);
  return st;
}

void bc_encoder_close(bc_encoder *e)
{
  if (e == NULL) return;
  bc_zstd_close(e->z);
  bc_lin16_scratch_dispose(&e->lin_scratch);
  bc_scratch_dispose(&e->row);
  bc_scratch_dispose(&e->values);
  bc_scratch_dispose(&e->q);
  bc_scratch_dispose(&e->k);
  bc_scratch_dispose(&e->lin);
  bc_scratch_dispose(&e->shuffled);
  bc_buf_dispose(&e->trial);
  bc_buf_dispose(&e->table);
  bc_free(e);
}

/* ---- blocks ---- */

static bc_status put_entry(bc_tile_job *j, uint64_t offset, const uint8_t *p, size_t n, bc_err *err)
{
  BC_RET(bc_buf_u64(&j->e->table, offset, err));
  return bc_buf_u64(&j->e->table, bc_hash64(p, n), err);
}

static bc_status raw_strip(bc_tile_job *j, uint32_t t, uint32_t l, uint32_t y, size_t base, bc_buf *out,
                           bc_err *err)
{
  const uint32_t rows = BC_MIN(j->s.by, j->in->ny - y);
  const size_t at = out->n, row = (size_t)j->in->nx * sizeof(float);

  BC_RET(bc_buf_reserve(out, rows * row + 64, err));
  for (uint32_t i = 0; i < rows; i++) {
    bc_tile_load_row(j, t, l, y + i, 0, j->in->nx, j->e->row.p);
    memcpy(out->p + out->n, j->e->row.p, row);
    out->n += row;
  }
  if (l + 1 == j->in->nl && y + rows == j->in->ny) { /* the step ends: zeros up to the next 64 bytes */
    const size_t pad = (size_t)bc_round_up64(out->n - base) - (out->n - base);
    memset(out->p + out->n, 0, pad);
    out->n += pad;
  }
  return put_entry(j, at - base, out->p + at, out->n - at, err);
}

static bc_status encode_raw(bc_tile_job *j, bc_buf *out, bc_err *err)
{
  const size_t base = out->n;

  j->codec = BC_CODEC_RAW;
  j->s = bc_tile_shape_raw(j->in);
  j->e->table.n = 0;
  for (uint32_t t = 0; t < j->in->nt; t++)
    for (uint32_t l = 0; l < j->in->nl; l++)
      for (uint32_t y = 0; y < j->in->ny; y += j->s.by)
        BC_RET(raw_strip(j, t, l, y, base, out, err));
  return BC_OK;
}

static bool fitted_ints(const bc_block_place *at, const float *v, uint16_t *q, bc_lin *lin, int32_t *k)
{
  const size_t n = (size_t)at->ny * at->nx;

  for (uint32_t t = 0; t < at->nt; t++)
    if (!bc_lin16_fit(v + t * n, n, t > 0 ? &lin[t - 1] : NULL, &lin[t], q + t * n, k)) return false;
  return true;
}

typedef struct gathered {
  size_t n;
  const float *values; /* NULL when the integers alone were taken */
  bool ints;           /* q and lin of the encoder hold the block */
  bool constant;
} gathered;

/* Take a block from the input, as integers where that is wanted and exact. */
static bc_status take_block(bc_tile_job *j, const bc_block_place *at, bool want_ints, gathered *out,
                            bc_err *err)
{
  bc_encoder *e = j->e;
  const size_t n = (size_t)at->nt * at->ny * at->nx;

  *out = (gathered){ .n = n };
  BC_RET(bc_scratch_need(&e->values, n * sizeof(float), err));
  BC_RET(bc_scratch_need(&e->q, n * sizeof(uint16_t), err));
  BC_RET(bc_scratch_need(&e->k, (size_t)at->ny * at->nx * sizeof(int32_t), err));
  BC_RET(bc_scratch_need(&e->lin, at->nt * sizeof(bc_lin), err));
  if (want_ints && j->in->dtype == BC_I16 && !(j->step > 0)) {
    out->ints = bc_tile_packed_ints(j, at, e->q.p, e->lin.p);
    if (out->ints) return BC_OK;
  }
  bc_tile_load_block(j, at, e->values.p);
  out->values = e->values.p;
  out->constant = bc_all_equal(out->values, n, bc_value_bits(out->values[0]));
  if (want_ints && !out->constant) out->ints = fitted_ints(at, out->values, e->q.p, e->lin.p, e->k.p);
  return BC_OK;
}

static bc_status put_shuffled(bc_tile_job *j, const gathered *g, bc_buf *out, bc_err *err)
{
  const size_t elem = sizeof(float);

  BC_RET(bc_scratch_need(&j->e->shuffled, g->n * elem, err));
  bc_shuffle((const uint8_t *)g->values, j->e->shuffled.p, g->n, elem);
  BC_RET(bc_buf_u8(out, BC_CODEC_SHUFFLE, err));
  return bc_planes_encode(j->e->z, j->level, j->e->shuffled.p, g->n, elem, out, err);
}

static bc_status put_ints(bc_tile_job *j, const bc_block_place *at, bc_predict predict, bc_buf *out,
                          bc_err *err)
{
  const bc_lin16_block b = { j->e->q.p, j->e->lin.p, at->nt, at->ny, at->nx };

  BC_RET(bc_buf_u8(out, BC_CODEC_LINEAR16, err));
  return bc_lin16_encode(j->e->z, j->level, predict, &b, &j->e->lin_scratch, out, err);
}

static bc_status put_block(bc_tile_job *j, const bc_block_place *at, bool ints, bc_predict predict,
                           bc_codec *used, bc_buf *out, bc_err *err)
{
  gathered g;

  BC_RET(take_block(j, at, ints, &g, err));
  *used = g.constant ? BC_CODEC_CONST : g.ints ? BC_CODEC_LINEAR16 : BC_CODEC_SHUFFLE;
  if (g.constant) {
    BC_RET(bc_buf_u8(out, BC_CODEC_CONST, err));
    return bc_buf_u32(out, bc_value_bits(g.values[0]), err);
  }
  return g.ints ? put_ints(j, at, predict, out, err) : put_shuffled(j, &g, out, err);
}

/* ---- choice of a codec by trying ---- */

/* A piece of the block at most SAMPLE_VALUES large, with a few steps for the predictors in time. */
static void cut_sample(bc_block_place *at)
{
  const uint64_t plane = (uint64_t)at->ny * at->nx;
  const uint32_t steps = bc_clamp_u32(SAMPLE_VALUES / plane, BC_MIN(at->nt, 4u), at->nt);

  at->nt = steps;
  at->nx = BC_MIN(at->nx, SAMPLE_VALUES / 32u);
  at->ny = bc_clamp_u32(SAMPLE_VALUES / ((uint64_t)at->nx * steps), 1, at->ny);
}

/* The middle block, or another when that one is constant. */
static bc_status take_sample(bc_tile_job *j, const bc_tile_head *geometry, bc_block_place *at, gathered *g,
                             bc_err *err)
{
  const uint64_t n = geometry->n_blocks;

  for (uint64_t i = 0; i < BC_MIN(n, 8u); i++) {
    bc_tile_block(geometry, (uint32_t)((n / 2 + i * n / 8) % n), at);
    cut_sample(at);
    BC_RET(take_block(j, at, true, g, err));
    if (!g->constant) break;
  }
  return BC_OK;
}

/* Which predictor makes the sample smallest, and whether shuffled floats are smaller still. */
static bc_status try_codecs(bc_tile_job *j, const bc_block_place *at, const gathered *g, bool *ints,
                            bc_predict *predict, bc_err *err)
{
  bc_buf *trial = &j->e->trial;
  size_t best = SIZE_MAX;

  for (int p = 0; p < BC_N_PREDICT; p++) {
    if (at->nt == 1 && p != BC_PREDICT_NONE && p != BC_PREDICT_2D) continue;
    trial->n = 0;
    BC_RET(put_ints(j, at, (bc_predict)p, trial, err));
    if (trial->n >= best) continue;
    best = trial->n;
    *predict = (bc_predict)p;
  }
  *ints = true;
  if (g->values == NULL) return BC_OK; /* packed input was not even decoded */
  trial->n = 0;
  BC_RET(put_shuffled(j, g, trial, err));
  *ints = trial->n >= best;
  return BC_OK;
}

static bc_status choose_codec(bc_tile_job *j, const bc_tile_head *geometry, bool *ints, bc_predict *predict,
                              bc_err *err)
{
  const int level = j->level;
  bc_block_place at = { 0 };
  gathered g = { 0 };
  bc_status st;

  *ints = j->mode == BC_MODE_AUTO;
  *predict = geometry->bt > 1 ? BC_PREDICT_TIME_2D : BC_PREDICT_2D;
  if (!*ints) return BC_OK;
  BC_RET(take_sample(j, geometry, &at, &g, err));
  if (!g.ints) return BC_OK;
  j->level = BC_MIN(level, SAMPLE_LEVEL);
  st = try_codecs(j, &at, &g, ints, predict, err);
  j->level = level;
  return st;
}

/* A head that answers bc_tile_block while the block table does not exist yet. */
static bc_status set_geometry(const bc_tile_job *j, bc_tile_head *h, bc_err *err)
{
  const bc_tile_in *in = j->in;
  const uint64_t steps = (in->nt + (uint64_t)j->s.bt - 1) / j->s.bt,
                 rows = (in->ny + (uint64_t)j->s.by - 1) / j->s.by;
  const uint64_t cols = (in->nx + (uint64_t)j->s.bx - 1) / j->s.bx;
  uint64_t n = 0;

  *h = (bc_tile_head){ .codec = BC_CODEC_CONST,
                       .dtype = BC_F32,
                       .nt = in->nt,
                       .nl = in->nl,
                       .ny = in->ny,
                       .nx = in->nx,
                       .bt = j->s.bt,
                       .by = j->s.by,
                       .bx = j->s.bx };
  if (!bc_mul_u64(steps * in->nl, rows * cols, &n) || n > UINT32_MAX)
    return BC_FAIL(err, BC_E_RANGE, "a tile of %u x %u x %u x %u values has too many blocks", in->nt, in->nl,
                   in->ny, in->nx);
  h->n_blocks = (uint32_t)n;
  return BC_OK;
}

static bc_status encode_blocks(bc_tile_job *j, bc_buf *out, bc_err *err)
{
  const size_t base = out->n;
  uint64_t used[4] = { 0 };
  bc_tile_head geometry;
  bc_predict predict;
  bool ints = false;

  j->s = bc_tile_shape_of(j->in);
  j->e->table.n = 0;
  BC_RET(set_geometry(j, &geometry, err));
  BC_RET(choose_codec(j, &geometry, &ints, &predict, err));
  for (uint32_t b = 0; b < geometry.n_blocks; b++) {
    const size_t at = out->n;
    bc_codec codec = BC_CODEC_SHUFFLE;
    bc_block_place place;
    bc_tile_block(&geometry, b, &place);
    BC_RET(put_block(j, &place, ints, predict, &codec, out, err));
    BC_RET(put_entry(j, at - base, out->p + at, out->n - at, err));
    used[codec]++;
  }
  j->codec = used[BC_CODEC_LINEAR16] > used[BC_CODEC_SHUFFLE] ? BC_CODEC_LINEAR16 : BC_CODEC_SHUFFLE;
  return BC_OK;
}

static bc_status encode_payload(bc_tile_job *j, bc_buf *out, bc_err *err)
{
  const uint64_t decoded = (uint64_t)j->in->nt * j->in->nl * j->in->ny * j->in->nx * sizeof(float);
  const size_t base = out->n;

  if (j->mode == BC_MODE_RAW) return encode_raw(j, out, err);
  BC_RET(encode_blocks(j, out, err));
  if (j->mode == BC_MODE_ZSTD || out->n - base < decoded - decoded / 33) return BC_OK;
  out->n = base; /* less than 3 % gained: raw values can be viewed */
  return encode_raw(j, out, err);
}

/* ---- the whole ---- */

static bc_status check_shape(const bc_tile_in *in, uint64_t *n_absent, bc_err *err)
{
  uint64_t values = 0;

  if (in->nt < 1 || in->nt > BC_TILE_MAX_NT || in->nl < 1 || in->nl > BC_TILE_MAX_NL || in->ny < 1 ||
      in->ny > BC_TILE_MAX_SIDE || in->nx < 1 || in->nx > BC_TILE_MAX_SIDE)
    return BC_FAIL(
        err, BC_E_INVAL, "a tile of %u x %u x %u x %u values: each side must be 1 to %u x %u x %u x %u",
        in->nt, in->nl, in->ny, in->nx, BC_TILE_MAX_NT, BC_TILE_MAX_NL, BC_TILE_MAX_SIDE, BC_TILE_MAX_SIDE);
  if (in->cell_ny > BC_TILE_MAX_SIDE || in->cell_nx > BC_TILE_MAX_SIDE || in->ny > in->cell_ny ||
      in->y0 > in->cell_ny - in->ny || in->nx > in->cell_nx || in->x0 > in->cell_nx - in->nx)
    return BC_FAIL(err, BC_E_INVAL, "a box of %u x %u at row %u, column %u does not lie in a cell of %u x %u",
                   in->ny, in->nx, in->y0, in->x0, in->cell_ny, in->cell_nx);
  if (!bc_mul_u64((uint64_t)in->cell_ny * in->cell_nx, (uint64_t)in->nt * in->nl, &values) ||
      values > BC_TILE_MAX_VALUES)
    return BC_FAIL(err, BC_E_INVAL,
                   "%u steps of %u levels of a cell of %u x %u are more than %" PRIu64 " values", in->nt,
                   in->nl, in->cell_ny, in->cell_nx, BC_TILE_MAX_VALUES);
  *n_absent = values - (uint64_t)in->nt * in->nl * in->ny * in->nx;
  return BC_OK;
}

static bc_status check_input(const bc_tile_in *in, const bc_codec_opts *opts, bc_err *err)
{
  if (in->dtype != BC_F32 && !(in->dtype == BC_I16 && in->packing != NULL))
    return BC_FAIL(err, BC_E_INVAL, "tiles are made of float32 or packed int16, not of %s",
                   bc_dtype_name(in->dtype));
  if (in->layout != BC_LAYOUT_MAP && in->layout != BC_LAYOUT_SERIES && in->layout != BC_LAYOUT_BALANCED)
    return BC_FAIL(err, BC_E_INVAL, "layout %d is not one of a tile", (int)in->layout);
  if (!(opts->precision >= 0) || isinf(opts->precision))
    return BC_FAIL(err, BC_E_INVAL, "precision %g: it must be 0 (lossless) or a positive number",
                   opts->precision);
  for (uint32_t i = 1; i < in->nt; i++)
    if (in->times[i] <= in->times[i - 1])
      return BC_FAIL(err, BC_E_INVAL, "time %u of a tile is %" PRId64 ", after %" PRId64 ": they must ascend",
                     i, in->times[i], in->times[i - 1]);
  for (uint32_t l = 0; in->levels != NULL && l < in->nl; l++)
    if (in->levels[l] >= BC_MAX_LEVELS)
      return BC_FAIL(err, BC_E_INVAL, "level number %u: below %d is allowed", in->levels[l], BC_MAX_LEVELS);
  return BC_OK;
}

uint64_t bc_encoder_memory(uint64_t values)
{
  /* a block: values 4, shuffled 4, q 2, k 4, residuals 2 and 4, bytes 2, sample 6, growth; zstd up to level
   * 12 */
  return BC_MIN(values, 2u * BC_SHAPE_MAX_VALUES) * 40 + BC_SHAPE_MAX_STEPS * (sizeof(bc_lin) + 64) +
         (12u << 20);
}

bc_status bc_tile_encode(bc_encoder *e, const bc_tile_in *in, const bc_codec_opts *opts, bc_buf *head,
                         bc_buf *payload, bc_err *err)
{
  const size_t base = payload->n;
  uint64_t n_absent = 0;
  bool constant = false;
  bc_tile_job j = {
    .e = e, .in = in, .mode = opts->mode, .level = opts->level != 0 ? opts->level : DEFAULT_LEVEL
  };

  BC_RET(check_shape(in, &n_absent, err));
  BC_RET(check_input(in, opts, err));
  j.step = bc_rounding_step(opts->precision);
  e->table.n = 0;
  BC_RET(bc_tile_survey(&j, &constant, err));
  if (constant && opts->mode != BC_MODE_RAW) /* raw tiles stay raw: windows over them are views */
    j.codec = BC_CODEC_CONST;
  else
    BC_RET(encode_payload(&j, payload, err));
  return bc_tile_head_put(&j, n_absent, payload->n - base, head, err);
}
