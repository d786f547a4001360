/*
 * Encoding of tiles: the shape of blocks, the choice of a codec, statistics, the head.
 */
#include "store/tile.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "store/linear16.h"
#include "store/tile_layout.h"

enum {
  TARGET_VALUES = 32768, /* of a block: 128 KiB of float32 */
  MAX_VALUES = 65536,    /* 256 KiB; balanced boxes may pass it a little rather than leave slivers */
  MAX_STEPS = 4096,
  SAMPLE_VALUES = 4096, /* tried with each codec, at the fastest level, before a tile is encoded */
  SAMPLE_LEVEL = 1,
  DEFAULT_LEVEL = 3

};

struct bc_encoder {
  bc_zstd *z;
  bc_lin16_scratch lin_scratch;
  bc_scratch row;    /* one decoded row */
  bc_scratch values; /* a block, gathered */
  bc_scratch q, k, lin, shuffled;
  bc_level_stats stats[BC_TILE_MAX_NL];
  bc_buf trial; /* the sample, encoded */
  bc_buf table; /* offsets and hashes of blocks */
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

/* ---- shape of blocks ---- */

typedef struct shape {
  uint32_t bt, by, bx;
} shape;

/* Cut n into equal pieces of about want, none above it by more than half. */
static uint32_t even(uint32_t n, uint32_t want)
{
  const uint32_t pieces = BC_MAX((n + want / 2) / want, 1u);
  const uint32_t one = (n + pieces - 1) / pieces;

  return one <= want + want / 2 ? one : (n + pieces) / (pieces + 1);
}

/* Cut n into equal pieces of at most most. */
static uint32_t even_at_most(uint32_t n, uint32_t most)
{
  const uint32_t pieces = (n + most - 1) / most;

  return (n + pieces - 1) / pieces;
}

static uint32_t clamp_u32(uint64_t v, uint32_t low, uint32_t high)
{
  return v < low ? low : v > high ? high : (uint32_t)v;
}

static shape shape_map(const bc_tile_in *in)
{
  const uint64_t area = (uint64_t)in->ny * in->nx;

  if (area > MAX_VALUES) {
    const uint32_t bx = even_at_most(in->nx, MAX_VALUES);
    return (shape){ 1, even_at_most(in->ny, clamp_u32(TARGET_VALUES / bx, 1, in->ny)), bx };
  }
  return (shape){ even_at_most(in->nt, clamp_u32(TARGET_VALUES / area, 1, MAX_STEPS)), in->ny, in->nx };
}

/* Nearly square, but rows of whole vectors: a decoder handles 8 values in the time of 6. */
static shape shape_series(const bc_tile_in *in)
{
  const uint32_t bt = even_at_most(in->nt, MAX_STEPS), area = TARGET_VALUES / bt;
  uint32_t side = 1;

  while ((side + 1) * (side + 1) <= area)
    side++;
  if (side > 4) side = (side + 4) / 8 * 8;
  return (shape){ bt, even_at_most(in->ny, BC_MAX(area / side, 1u)), even_at_most(in->nx, side) };
}

/* Boxes of a power-of-two side for up to 32 steps; a box that is small anyway takes more steps. */
static shape shape_balanced(const bc_tile_in *in)
{
  const uint32_t steps = BC_MIN(in->nt, 32u);
  uint32_t side = 32;
  shape s;

  while (4 * side * side * steps <= TARGET_VALUES)
    side *= 2;
  s.by = even(in->ny, side);
  s.bx = even(in->nx, side);
  if (s.by * s.bx * steps > MAX_VALUES) {
    s.by = even_at_most(in->ny, side);
    s.bx = even_at_most(in->nx, side);
  }
  s.bt = even_at_most(in->nt, clamp_u32(TARGET_VALUES / (s.by * s.bx), steps, MAX_STEPS));
  return s;
}

static shape shape_raw(const bc_tile_in *in)
{
  return (shape){ 1, even_at_most(in->ny, clamp_u32(MAX_VALUES / in->nx, 1, in->ny)), in->nx };
}

static shape choose_shape(const bc_tile_in *in)
{
  switch (in->layout) {
  case BC_LAYOUT_MAP: return shape_map(in);
  case BC_LAYOUT_SERIES: return shape_series(in);
  case BC_LAYOUT_BALANCED:
  case BC_LAYOUT_NONE: break;
  }
  return shape_balanced(in);
}

/* ---- input values ---- */

typedef struct job {
  bc_encoder *e;
  const bc_tile_in *in;
  bc_codec_mode mode;
  int level;
  double step; /* > 0: values are rounded to its multiples */
  shape s;
  bc_codec codec;
  uint64_t const_bits;
} job;

/* The nearest multiple of step, ties to even; what float32 cannot hold stays as it is. */
static inline __attribute__((always_inline)) float round_value(float v, double step, double inv)
{
  const double whole = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds |x| < 2^51 to an integer */
  const double k = (double)v * inv;
  const double r = ((k + whole) - whole) * step + 0.0; /* + 0.0: no -0.0 */
  const float f = (float)r;

  /* from 2^24 steps on a float32 is a multiple of the step already; NaN makes the comparison false */
  return fabs(k) < 16777216.0 && (double)f == r ? f : v;
}

BC_HOT static void round_row(float *v, size_t n, double step)
{
  const double inv = 1 / step;

  for (size_t i = 0; i < n; i++)
    v[i] = round_value(v[i], step, inv);
}

/* The power of two at or below precision; 0 when float32 is never finer than it. */
static double rounding_step(double precision)
{
  int e = 0;

  if (!(precision > 0)) return 0;
  (void)frexp(precision, &e);
  return e - 1 < -149 ? 0 : ldexp(1, BC_MIN(e - 1, 127));
}

float bc_round_to_precision(float v, double precision)
{
  const double step = rounding_step(precision);

  return step > 0 ? round_value(v, step, 1 / step) : v;
}

BC_HOT static void unpack_row(const int16_t *restrict v, float *restrict out, size_t n,
                              const bc_packing *packing)
{
  const bc_packing p = *packing;

  for (size_t i = 0; i < n; i++)
    out[i] = (float)((double)v[i] * p.scale + p.offset);
  if (!p.has_fill) return;
  for (size_t i = 0; i < n; i++)
    out[i] = v[i] == p.fill ? __builtin_nanf("") : out[i];
}

static const void *source_row(const bc_tile_in *in, uint32_t t, uint32_t l, uint32_t y)
{
  return (const uint8_t *)in->values + (ptrdiff_t)t * in->t_stride + (ptrdiff_t)l * in->l_stride +
         (ptrdiff_t)y * in->y_stride;
}

/* True when the values that go into the tile are those of the input. */
static bool as_given(const job *j) { return j->in->dtype == BC_F32 && !(j->step > 0); }

/* n values from column x of a row, decoded and rounded. */
static void load_row(const job *j, uint32_t t, uint32_t l, uint32_t y, uint32_t x, uint32_t n, float *out)
{
  const void *row = source_row(j->in, t, l, y);

  if (j->in->dtype == BC_I16)
    unpack_row((const int16_t *)row + x, out, n, &j->in->packing[t]);
  else
    memcpy(out, (const float *)row + x, n * sizeof *out);
  if (j->step > 0) round_row(out, n, j->step);
}

static void gather(const job *j, const bc_block_place *at, float *out)
{
  for (uint32_t t = 0; t < at->nt; t++)
    for (uint32_t y = 0; y < at->ny; y++, out += at->nx)
      load_row(j, at->t0 + t, at->l, at->y0 + y, at->x0, at->nx, out);
}

static inline uint32_t bits_of(float f)
{
  uint32_t b;

  memcpy(&b, &f, sizeof b);
  return b;
}

BC_HOT static bool all_equal(const float *v, size_t n, uint32_t bits)
{
  uint32_t differ = 0;

  for (size_t i = 0; i < n; i++) {
    uint32_t b;
    memcpy(&b, v + i, sizeof b);
    differ |= b ^ bits;
  }
  return differ == 0;
}

/* ---- statistics ---- */

enum { LANES = 8 }; /* of sums: a fixed order of addition, so that equal input gives equal bytes everywhere */

typedef int32_t v8i __attribute__((vector_size(32)));
typedef float v8f __attribute__((vector_size(32)));
typedef float v4f __attribute__((vector_size(16)));
typedef double v4d __attribute__((vector_size(32)));

typedef struct row_sums {
  v4d sum[2], sumsq[2];
  v8f min, max;
  v8i n_valid;
} row_sums;

static inline __attribute__((always_inline)) void sum8(const float *v, row_sums *s)
{
  v8f x, x0;
  v8i valid, m;

  memcpy(&x, v, sizeof x);
  valid = x == x;
  x0 = (v8f)((v8i)x & valid);
  for (int h = 0; h < 2; h++) {
    v4f f;
    v4d d;
    memcpy(&f, (const char *)&x0 + 16 * h, sizeof f);
    d = __builtin_convertvector(f, v4d);
    s->sum[h] += d;
    s->sumsq[h] += d * d;
  }
  m = x < s->min; /* false for NaN */
  s->min = (v8f)(((v8i)x & m) | ((v8i)s->min & ~m));
  m = x > s->max;
  s->max = (v8f)(((v8i)x & m) | ((v8i)s->max & ~m));
  s->n_valid -= valid;
}

BC_HOT static void sum_row(const float *v, size_t n, row_sums *out)
{
  const v8f zero = { 0 };
  row_sums s = { .min = zero + INFINITY, .max = zero - INFINITY };
  float tail[LANES];
  size_t i = 0;

  for (; i + LANES <= n; i += LANES)
    sum8(v + i, &s);
  if (i < n) {
    for (size_t j = 0; j < LANES; j++)
      tail[j] = i + j < n ? v[i + j] : __builtin_nanf("");
    sum8(tail, &s);
  }
  *out = s;
}

static void add_row(bc_level_stats *s, const float *v, size_t n)
{
  row_sums r;
  uint64_t valid = 0;

  sum_row(v, n, &r);
  for (int j = 0; j < LANES; j++) {
    valid += (uint32_t)r.n_valid[j];
    s->sum += r.sum[j / 4][j % 4];
    s->sumsq += r.sumsq[j / 4][j % 4];
    s->min = BC_MIN(s->min, (double)r.min[j]);
    s->max = BC_MAX(s->max, (double)r.max[j]);
  }
  s->n_valid += valid;
  s->n_missing += n - valid;
}

/* Statistics of every level, and whether one value stands throughout. */
static bc_status survey(job *j, bool *constant, bc_err *err)
{
  const bc_tile_in *in = j->in;
  uint32_t first = 0;

  BC_RET(bc_scratch_need(&j->e->row, in->nx * sizeof(float), err));
  *constant = true;
  for (uint32_t l = 0; l < in->nl; l++) {
    bc_level_stats *s = &j->e->stats[l];
    *s = (bc_level_stats){ .min = INFINITY, .max = -INFINITY };
    for (uint32_t t = 0; t < in->nt; t++)
      for (uint32_t y = 0; y < in->ny; y++) {
        const float *row = as_given(j) ? source_row(in, t, l, y) : j->e->row.p;
        if (!as_given(j)) load_row(j, t, l, y, 0, in->nx, j->e->row.p);
        if (l == 0 && t == 0 && y == 0) first = bits_of(row[0]);
        *constant = *constant && all_equal(row, in->nx, first);
        add_row(s, row, in->nx);
      }
  }
  j->const_bits = first;
  return BC_OK;
}

/* ---- blocks ---- */

static bc_status put_entry(job *j, uint64_t offset, const uint8_t *p, size_t n, bc_err *err)
{
  BC_RET(bc_buf_u64(&j->e->table, offset, err));
  return bc_buf_u64(&j->e->table, bc_hash64(p, n), err);
}

static bc_status raw_strip(job *j, uint32_t t, uint32_t l, uint32_t y, size_t base, bc_buf *out, bc_err *err)
{
  const uint32_t rows = BC_MIN(j->s.by, j->in->ny - y);
  const size_t at = out->n, row = (size_t)j->in->nx * sizeof(float);

  BC_RET(bc_buf_reserve(out, rows * row + 64, err));
  for (uint32_t i = 0; i < rows; i++) {
    load_row(j, t, l, y + i, 0, j->in->nx, j->e->row.p);
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

static bc_status encode_raw(job *j, bc_buf *out, bc_err *err)
{
  const size_t base = out->n;

  j->codec = BC_CODEC_RAW;
  j->s = shape_raw(j->in);
  j->e->table.n = 0;
  for (uint32_t t = 0; t < j->in->nt; t++)
    for (uint32_t l = 0; l < j->in->nl; l++)
      for (uint32_t y = 0; y < j->in->ny; y += j->s.by)
        BC_RET(raw_strip(j, t, l, y, base, out, err));
  return BC_OK;
}

/* The integers of one step; true when the fill value is among them. */
BC_HOT static bool pack_row(const int16_t *restrict v, size_t n, int32_t fill, uint16_t *restrict q)
{
  uint16_t found = 0;

  for (size_t i = 0; i < n; i++) {
    q[i] = (uint16_t)(v[i] ^ INT16_MIN);
    found |= v[i] == fill ? 1 : 0;
  }
  return found != 0;
}

/* Packed input as it is: its integers, its scale and offset. */
static bool packed_ints(const job *j, const bc_block_place *at, uint16_t *q, bc_lin *lin)
{
  bool missing = false;

  for (uint32_t t = 0; t < at->nt; t++) {
    const bc_packing *p = &j->in->packing[at->t0 + t];
    const bool fill = p->has_fill && p->fill >= INT16_MIN && p->fill <= INT16_MAX;
    lin[t] = (bc_lin){ .s = p->scale, .r = p->offset, .bias = INT16_MIN };
    lin[t].missing = fill ? p->fill - INT16_MIN : -1;
    if (!bc_lin16_valid(&lin[t])) return false;
    for (uint32_t y = 0; y < at->ny; y++, q += at->nx) {
      const int16_t *row = (const int16_t *)source_row(j->in, at->t0 + t, at->l, at->y0 + y) + at->x0;
      if (pack_row(row, at->nx, p->fill, q)) missing = missing || fill;
    }
  }
  for (uint32_t t = 0; t < at->nt && !missing; t++)
    lin[t].missing = -1; /* without it a block decodes faster */
  return true;
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
static bc_status take_block(job *j, const bc_block_place *at, bool want_ints, gathered *out, bc_err *err)
{
  bc_encoder *e = j->e;
  const size_t n = (size_t)at->nt * at->ny * at->nx;

  *out = (gathered){ .n = n };
  BC_RET(bc_scratch_need(&e->values, n * sizeof(float), err));
  BC_RET(bc_scratch_need(&e->q, n * sizeof(uint16_t), err));
  BC_RET(bc_scratch_need(&e->k, (size_t)at->ny * at->nx * sizeof(int32_t), err));
  BC_RET(bc_scratch_need(&e->lin, at->nt * sizeof(bc_lin), err));
  if (want_ints && j->in->dtype == BC_I16 && !(j->step > 0)) {
    out->ints = packed_ints(j, at, e->q.p, e->lin.p);
    if (out->ints) return BC_OK;
  }
  gather(j, at, e->values.p);
  out->values = e->values.p;
  out->constant = all_equal(out->values, n, bits_of(out->values[0]));
  if (want_ints && !out->constant) out->ints = fitted_ints(at, out->values, e->q.p, e->lin.p, e->k.p);
  return BC_OK;
}

static bc_status put_shuffled(job *j, const gathered *g, bc_buf *out, bc_err *err)
{
  const size_t elem = sizeof(float);

  BC_RET(bc_scratch_need(&j->e->shuffled, g->n * elem, err));
  bc_shuffle((const uint8_t *)g->values, j->e->shuffled.p, g->n, elem);
  BC_RET(bc_buf_u8(out, BC_CODEC_SHUFFLE, err));
  return bc_planes_encode(j->e->z, j->level, j->e->shuffled.p, g->n, elem, out, err);
}

static bc_status put_ints(job *j, const bc_block_place *at, bc_predict predict, bc_buf *out, bc_err *err)
{
  const bc_lin16_block b = { j->e->q.p, j->e->lin.p, at->nt, at->ny, at->nx };

  BC_RET(bc_buf_u8(out, BC_CODEC_LINEAR16, err));
  return bc_lin16_encode(j->e->z, j->level, predict, &b, &j->e->lin_scratch, out, err);
}

static bc_status put_block(job *j, const bc_block_place *at, bool ints, bc_predict predict, bc_codec *used,
                           bc_buf *out, bc_err *err)
{
  gathered g;

  BC_RET(take_block(j, at, ints, &g, err));
  *used = g.constant ? BC_CODEC_CONST : g.ints ? BC_CODEC_LINEAR16 : BC_CODEC_SHUFFLE;
  if (g.constant) {
    BC_RET(bc_buf_u8(out, BC_CODEC_CONST, err));
    return bc_buf_u32(out, bits_of(g.values[0]), err);
  }
  return g.ints ? put_ints(j, at, predict, out, err) : put_shuffled(j, &g, out, err);
}

/* ---- choice of a codec by trying ---- */

/* A piece of the block at most SAMPLE_VALUES large, with a few steps for the predictors in time. */
static void cut_sample(bc_block_place *at)
{
  const uint64_t plane = (uint64_t)at->ny * at->nx;
  const uint32_t steps = clamp_u32(SAMPLE_VALUES / plane, BC_MIN(at->nt, 4u), at->nt);

  at->nt = steps;
  at->nx = BC_MIN(at->nx, SAMPLE_VALUES / 32u);
  at->ny = clamp_u32(SAMPLE_VALUES / ((uint64_t)at->nx * steps), 1, at->ny);
}

/* The middle block, or another when that one is constant. */
static bc_status take_sample(job *j, const bc_tile_head *geometry, bc_block_place *at, gathered *g,
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
static bc_status try_codecs(job *j, const bc_block_place *at, const gathered *g, bool *ints,
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

static bc_status choose_codec(job *j, const bc_tile_head *geometry, bool *ints, bc_predict *predict,
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
static bc_status set_geometry(const job *j, bc_tile_head *h, bc_err *err)
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

static bc_status encode_blocks(job *j, bc_buf *out, bc_err *err)
{
  const size_t base = out->n;
  uint64_t used[4] = { 0 };
  bc_tile_head geometry;
  bc_predict predict;
  bool ints = false;

  j->s = choose_shape(j->in);
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

static bc_status encode_payload(job *j, bc_buf *out, bc_err *err)
{
  const uint64_t decoded = (uint64_t)j->in->nt * j->in->nl * j->in->ny * j->in->nx * sizeof(float);
  const size_t base = out->n;

  if (j->mode == BC_MODE_RAW) return encode_raw(j, out, err);
  BC_RET(encode_blocks(j, out, err));
  if (j->mode == BC_MODE_ZSTD || out->n - base < decoded - decoded / 33) return BC_OK;
  out->n = base; /* less than 3 % gained: raw values can be viewed */
  return encode_raw(j, out, err);
}

/* ---- head ---- */

static bool evenly_spaced(const bc_tile_in *in, int64_t *step)
{
  int64_t d = 0;

  *step = 0;
  for (uint32_t i = 1; i < in->nt; i++) {
    if (__builtin_sub_overflow(in->times[i], in->times[i - 1], &d)) return false;
    if (i > 1 && d != *step) {
      *step = 0;
      return false;
    }
    *step = d;
  }
  return true;
}

static void put_fixed(const job *j, uint64_t n_absent, uint64_t payload, uint8_t *p)
{
  const bc_tile_in *in = j->in;
  const bool constant = j->codec == BC_CODEC_CONST;
  int64_t step = 0;

  memset(p, 0, BC_TH_FIXED);
  memcpy(p + BC_TH_MAGIC_OFF, BC_TH_MAGIC, 4);
  p[BC_TH_VERSION_OFF] = BC_TH_VERSION;
  bc_put_le16(p + BC_TH_FIXED_OFF, BC_TH_FIXED);
  bc_put_le32(p + BC_TH_CELL_OFF, in->key.cell);
  bc_put_le16(p + BC_TH_MODALITY_OFF, in->key.modality);
  bc_put_le16(p + BC_TH_PART_OFF, in->key.part);
  bc_put_le64(p + BC_TH_TIME_OFF, (uint64_t)in->key.time);
  p[BC_TH_DTYPE_OFF] = BC_F32;
  p[BC_TH_CODEC_OFF] = (uint8_t)j->codec;
  p[BC_TH_LAYOUT_OFF] = (uint8_t)in->layout;
  p[BC_TH_REGULAR_OFF] = evenly_spaced(in, &step);
  bc_put_le32(p + BC_TH_NT_OFF, in->nt);
  bc_put_le32(p + BC_TH_NL_OFF, in->nl);
  bc_put_le32(p + BC_TH_Y0_OFF, in->y0);
  bc_put_le32(p + BC_TH_X0_OFF, in->x0);
  bc_put_le32(p + BC_TH_NY_OFF, in->ny);
  bc_put_le32(p + BC_TH_NX_OFF, in->nx);
  bc_put_le32(p + BC_TH_BT_OFF, constant ? in->nt : j->s.bt);
  bc_put_le32(p + BC_TH_BY_OFF, constant ? in->ny : j->s.by);
  bc_put_le32(p + BC_TH_BX_OFF, constant ? in->nx : j->s.bx);
  bc_put_le32(p + BC_TH_NSOURCES_OFF, in->n_sources);
  bc_put_le64(p + BC_TH_TFIRST_OFF, (uint64_t)in->times[0]);
  bc_put_le64(p + BC_TH_TSTEP_OFF, (uint64_t)step);
  bc_put_le64(p + BC_TH_ABSENT_OFF, n_absent);
  bc_put_le64(p + BC_TH_CONST_OFF, constant ? j->const_bits : 0);
  bc_put_le64(p + BC_TH_PAYLOAD_OFF, payload);
  bc_put_le32(p + BC_TH_NBLOCKS_OFF, (uint32_t)(j->e->table.n / 16));
}

static bc_status put_stats(const bc_level_stats *s, bc_buf *head, bc_err *err)
{
  BC_RET(bc_buf_u64(head, s->n_valid, err));
  BC_RET(bc_buf_u64(head, s->n_missing, err));
  BC_RET(bc_buf_f64(head, s->min, err));
  BC_RET(bc_buf_f64(head, s->max, err));
  BC_RET(bc_buf_f64(head, s->sum, err));
  return bc_buf_f64(head, s->sumsq, err);
}

static bc_status put_head(const job *j, uint64_t n_absent, uint64_t payload, bc_buf *head, bc_err *err)
{
  const bc_tile_in *in = j->in;
  const size_t base = head->n;
  size_t n;

  BC_RET(bc_buf_reserve(head, BC_TH_FIXED, err));
  put_fixed(j, n_absent, payload, head->p + base);
  head->n += BC_TH_FIXED;
  if (head->p[base + BC_TH_REGULAR_OFF] == 0)
    for (uint32_t i = 0; i < in->nt; i++)
      BC_RET(bc_buf_u64(head, (uint64_t)in->times[i], err));
  BC_RET(bc_buf_put(head, j->e->table.p, j->e->table.n, err));
  for (uint32_t l = 0; l < in->nl; l++)
    BC_RET(put_stats(&j->e->stats[l], head, err));
  for (uint32_t i = 0; i < in->n_sources; i++)
    BC_RET(bc_buf_u32(head, in->sources[i], err));
  for (uint32_t l = 0; l < in->nl; l++)
    BC_RET(bc_buf_u16(head, in->levels != NULL ? in->levels[l] : 0, err));
  while ((head->n - base) % 8 != 0)
    BC_RET(bc_buf_u8(head, 0, err));
  n = head->n - base + BC_TH_HASH_BYTES;
  if (n > UINT32_MAX)
    return BC_FAIL(err, BC_E_RANGE, "a tile head of %zu bytes is too large: use shorter buckets", n);
  bc_put_le32(head->p + base + BC_TH_BYTES_OFF, (uint32_t)n);
  return bc_buf_u64(head, bc_hash64(head->p + base, n - BC_TH_HASH_BYTES), err);
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
  return BC_MIN(values, 2u * MAX_VALUES) * 40 + MAX_STEPS * (sizeof(bc_lin) + 64) + (12u << 20);
}

bc_status bc_tile_encode(bc_encoder *e, const bc_tile_in *in, const bc_codec_opts *opts, bc_buf *head,
                         bc_buf *payload, bc_err *err)
{
  const size_t base = payload->n;
  uint64_t n_absent = 0;
  bool constant = false;
  job j = { .e = e, .in = in, .mode = opts->mode, .level = opts->level != 0 ? opts->level : DEFAULT_LEVEL };

  BC_RET(check_shape(in, &n_absent, err));
  BC_RET(check_input(in, opts, err));
  j.step = rounding_step(opts->precision);
  e->table.n = 0;
  BC_RET(survey(&j, &constant, err));
  if (constant && opts->mode != BC_MODE_RAW) /* raw tiles stay raw: windows over them are views */
    j.codec = BC_CODEC_CONST;
  else
    BC_RET(encode_payload(&j, payload, err));
  return put_head(&j, n_absent, payload->n - base, head, err);
}
