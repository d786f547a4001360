/* Tiles: round trips of every codec, layout and pick; heads and blocks that are not what they should be. */
#include "store/linear16.h"
#include "store/tile.h"
#include "store/tile_layout.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* ---- generated values ---- */

static uint64_t rng_state;

static uint32_t rng(void)
{
  rng_state ^= rng_state << 13;
  rng_state ^= rng_state >> 7;
  rng_state ^= rng_state << 17;
  return (uint32_t)(rng_state >> 32);
}

static double uniform(void) { return rng() * (1.0 / 4294967296.0); }

static float from_bits(uint32_t b)
{
  float f;

  memcpy(&f, &b, sizeof f);
  return f;
}

static uint32_t to_bits(float f)
{
  uint32_t b;

  memcpy(&b, &f, sizeof b);
  return b;
}

typedef enum kind {
  NOISE,
  GRIB,        /* r + k 2^e, r changes from step to step */
  GRIB_COARSE, /* e changes too */
  GRIB_MIXED,  /* both signs */
  GRIB_BINADES,
  GRIB_LARGE, /* r finer than the ulp of the values: ties */
  GRIB_HOLES, /* missing values */
  GRIB_TINY,
  ONE_BLOCK_ODD, /* quantised, but for one value */
  FLAT_STEPS,    /* each step one value */
  ALL_NAN,
  SOME_STEPS_NAN,
  CONSTANT,
  BOOLEAN,
  INTEGERS,
  SPECIALS, /* -0.0, infinities, denormals, NaN of several kinds */
  MINUS_ZERO,
  N_KINDS
} kind;

static float grib(double r, int e, uint32_t k) { return (float)(r + k * ldexp(1, e)); }

static uint32_t wave(uint32_t t, size_t i, uint32_t nx)
{
  const double x = (double)(i % nx), y = (double)(i / nx);

  return (uint32_t)(26000 + 15000 * sin(0.1 * x + 0.05 * t) + 9000 * cos(0.07 * y) + 6 * uniform());
}

static float special(void)
{
  static const uint32_t bits[] = { 0x80000000u, 0,           0x7f800000u, 0xff800000u, 0x7fc00000u,
                                   0xffc00000u, 0x7fc00001u, 1,           0x807fffffu, 0x7f7fffffu };

  return from_bits(bits[rng() % BC_ARRAY_LEN(bits)]);
}

static float value(kind k, uint32_t t, size_t i, uint32_t nx)
{
  const uint32_t w = wave(t, i, nx);

  switch (k) {
  case NOISE: return (float)(uniform() * 100 - 50);
  case GRIB: return grib((double)(float)(250 + 0.37 * t), -10, w);
  case GRIB_COARSE: return grib((double)(float)(250 + 0.37 * t), -10 + (int)(t % 3), w);
  case GRIB_MIXED: return grib((double)-17.3215f, -10, w);
  case GRIB_BINADES: return grib((double)100.25f, -6, w);
  case GRIB_LARGE: return grib((double)1234.5677f, 3, w);
  case GRIB_HOLES: return i % 7 < 2 + t % 2 ? from_bits(0x7fc00000u) : grib((double)271.4f, -9, w);
  case GRIB_TINY: return grib(0, -149, w);
  case ONE_BLOCK_ODD: return t == 0 && i == 3 ? 0.1f : grib(250, -10, w);
  case FLAT_STEPS: return (float)t * 0.1f;
  case ALL_NAN: return from_bits(0x7fc00000u);
  case SOME_STEPS_NAN: return t % 3 == 0 ? from_bits(0x7fc00000u) : grib(5, -4, w);
  case CONSTANT: return -3.25f;
  case BOOLEAN: return w % 5 == 0 ? 1 : 0;
  case INTEGERS: return (float)(w % 8);
  case SPECIALS: return rng() % 4 == 0 ? special() : 1;
  case MINUS_ZERO: return i % 11 == 0 ? -0.0f : grib(5, -4, w);
  case N_KINDS: break;
  }
  return 0;
}

/* ---- a tile in memory ---- */

typedef struct world {
  bc_tile_in in;
  bc_codec_opts opts;
  float *want; /* [nt][nl][ny][nx] decoded */
  void *values;
  int64_t *times;
  uint16_t *levels;
  bc_packing *packing;
  uint32_t sources[2];
  bc_buf head, payload;
  bc_tile_head h;
  bc_encoder *e;
  bc_decoder *d;
  bc_err err;
} world;

static size_t count(const world *w) { return (size_t)w->in.nt * w->in.nl * w->in.ny * w->in.nx; }

static void make(world *w, uint32_t nt, uint32_t nl, uint32_t ny, uint32_t nx, size_t elem)
{
  memset(w, 0, sizeof *w);
  w->in = (bc_tile_in){ .key = { 12345, -86400, 7, 3 },
                        .layout = BC_LAYOUT_BALANCED,
                        .y0 = 1,
                        .x0 = 2,
                        .ny = ny,
                        .nx = nx,
                        .cell_ny = ny + 3,
                        .cell_nx = nx + 2,
                        .nt = nt,
                        .nl = nl,
                        .n_sources = 2,
                        .dtype = elem == 4 ? BC_F32 : BC_I16 };
  w->values = bc_calloc(count(w), elem);
  w->want = bc_calloc(count(w), sizeof(float));
  w->times = bc_calloc(nt, sizeof *w->times);
  w->levels = bc_calloc(nl, sizeof *w->levels);
  for (uint32_t i = 0; i < nt; i++)
    w->times[i] = -86400 + 3600 * (int64_t)i;
  for (uint32_t i = 0; i < nl; i++)
    w->levels[i] = (uint16_t)(nl - 1 - i);
  w->sources[0] = 11;
  w->sources[1] = 4000000000u;
  w->in.times = w->times;
  w->in.levels = w->levels;
  w->in.sources = w->sources;
  w->in.values = w->values;
  w->in.y_stride = (ptrdiff_t)(nx * elem);
  w->in.l_stride = (ptrdiff_t)(ny * nx * elem);
  w->in.t_stride = (ptrdiff_t)(nl * ny * nx * elem);
  w->head = bc_buf_empty(1 << 24);
  w->payload = bc_buf_empty(1 << 26);
  cr_assert_eq(bc_encoder_open(&w->e, &w->err), BC_OK);
  cr_assert_eq(bc_decoder_open(&w->d, &w->err), BC_OK);
}

static void make_kind(world *w, kind k, uint32_t nt, uint32_t nl, uint32_t ny, uint32_t nx)
{
  const size_t plane = (size_t)ny * nx;

  make(w, nt, nl, ny, nx, 4);
  rng_state = 88172645463325252u + (uint64_t)k;
  for (size_t i = 0; i < count(w); i++)
    w->want[i] = value(k, (uint32_t)(i / plane / nl), i % plane, nx);
  memcpy(w->values, w->want, count(w) * sizeof(float));
}

static void drop(world *w)
{
  bc_encoder_close(w->e);
  bc_decoder_close(w->d);
  bc_buf_dispose(&w->head);
  bc_buf_dispose(&w->payload);
  bc_free(w->values);
  bc_free(w->want);
  bc_free(w->times);
  bc_free(w->levels);
  bc_free(w->packing);
}

static void encode(world *w)
{
  w->head.n = w->payload.n = 0;
  cr_assert_eq(bc_tile_encode(w->e, &w->in, &w->opts, &w->head, &w->payload, &w->err), BC_OK, "%s",
               w->err.msg);
  cr_assert_eq(bc_tile_head_parse((bc_bytes){ w->head.p, w->head.n }, &w->h, &w->err), BC_OK, "%s",
               w->err.msg);
  cr_assert_eq(w->h.payload_bytes, w->payload.n);
}

static float wanted(const world *w, const bc_block_place *at, uint32_t t, uint32_t y, uint32_t x)
{
  const size_t row = (((size_t)at->t0 + t) * w->in.nl + at->l) * w->in.ny + at->y0 + y;

  return w->want[row * w->in.nx + at->x0 + x];
}

static uint32_t n_blocks(const world *w) { return w->h.codec == BC_CODEC_CONST ? w->h.nl : w->h.n_blocks; }

/* One block by these picks, rows and steps laid out with gaps, bottom up when flip. */
static void check_block(world *w, uint32_t b, bc_pick t, bc_pick y, bc_pick x, bool flip)
{
  bc_block_place at;
  const size_t row = (size_t)x.n + 3, plane = row * y.n + 5, all = plane * t.n;
  float *out = bc_malloc((all + 1) * sizeof *out);
  const ptrdiff_t ys = (ptrdiff_t)(row * sizeof *out), ts = (ptrdiff_t)(plane * sizeof *out);
  float *dst = flip ? out + plane * (t.n - 1) + row * (y.n - 1) : out;
  const uint32_t guard = 0xdeadbeefu;

  bc_tile_block(&w->h, b, &at);
  for (size_t i = 0; i < all; i++)
    memcpy(out + i, &guard, sizeof guard);
  cr_assert_eq(bc_tile_read(w->d, &w->h, (bc_bytes){ w->payload.p, w->payload.n }, b, t, y, x, dst,
                            flip ? -ts : ts, flip ? -ys : ys, &w->err),
               BC_OK, "%s", w->err.msg);
  for (uint32_t i = 0; i < t.n; i++)
    for (uint32_t j = 0; j < y.n; j++) {
      const float *r = out + plane * (flip ? t.n - 1 - i : i) + row * (flip ? y.n - 1 - j : j);
      for (uint32_t k = 0; k < x.n; k++) {
        const float v = wanted(w, &at, t.first + i * t.step, y.first + j * y.step, x.first + k * x.step);
        cr_assert_eq(to_bits(r[k]), to_bits(v), "block %u, step %u, row %u, column %u: %08x, expected %08x",
                     b, i, j, k, to_bits(r[k]), to_bits(v));
      }
      for (uint32_t k = x.n; k < row; k++)
        cr_assert_eq(to_bits(r[k]), guard, "written past the end of row %u", j);
    }
  bc_free(out);
}

static bc_pick any_pick(uint32_t n)
{
  bc_pick p = { .first = rng() % n, .step = 1 + rng() % 3 };

  p.n = 1 + rng() % ((n - p.first + p.step - 1) / p.step);
  return p;
}

static void check_all(world *w)
{
  for (uint32_t b = 0; b < n_blocks(w); b++) {
    bc_block_place at;
    bc_tile_block(&w->h, b, &at);
    cr_assert_eq(bc_tile_block_at(&w->h, at.t0 + at.nt - 1, at.l, at.y0, at.x0 + at.nx - 1), b);
    check_block(w, b, (bc_pick){ 0, at.nt, 1 }, (bc_pick){ 0, at.ny, 1 }, (bc_pick){ 0, at.nx, 1 }, false);
    if (b % 3 != 0) continue;
    for (int i = 0; i < 3; i++)
      check_block(w, b, any_pick(at.nt), any_pick(at.ny), any_pick(at.nx), i == 1);
    check_block(w, b, (bc_pick){ 0, at.nt, 1 }, any_pick(at.ny), (bc_pick){ 0, at.nx, 1 }, true);
  }
}

/* Whole blocks into dense arrays: the paths that see rows follow each other. */
static void check_dense(world *w)
{
  for (uint32_t b = 0; b < n_blocks(w); b++) {
    bc_block_place at;
    float *out, *p;
    bc_tile_block(&w->h, b, &at);
    p = out = bc_malloc((size_t)at.nt * at.ny * at.nx * sizeof *out);
    cr_assert_eq(bc_tile_read(w->d, &w->h, (bc_bytes){ w->payload.p, w->payload.n }, b,
                              (bc_pick){ 0, at.nt, 1 }, (bc_pick){ 0, at.ny, 1 }, (bc_pick){ 0, at.nx, 1 },
                              out, (ptrdiff_t)(at.ny * at.nx * sizeof *out), (ptrdiff_t)(at.nx * sizeof *out),
                              &w->err),
                 BC_OK, "%s", w->err.msg);
    for (uint32_t t = 0; t < at.nt; t++)
      for (uint32_t y = 0; y < at.ny; y++)
        for (uint32_t x = 0; x < at.nx; x++)
          cr_assert_eq(to_bits(*p++), to_bits(wanted(w, &at, t, y, x)));
    bc_free(out);
  }
}

static void check_stats(world *w)
{
  for (uint32_t l = 0; l < w->in.nl; l++) {
    const bc_level_stats s = bc_tile_stats(&w->h, l);
    bc_level_stats want = { .min = INFINITY, .max = -INFINITY };
    const size_t plane = (size_t)w->in.ny * w->in.nx;
    for (size_t i = 0; i < count(w); i++) {
      const float v = w->want[i];
      if (i / plane % w->in.nl != l) continue;
      if (isnan(v)) {
        want.n_missing++;
        continue;
      }
      want.n_valid++;
      want.min = BC_MIN(want.min, (double)v);
      want.max = BC_MAX(want.max, (double)v);
      want.sum += (double)v;
      want.sumsq += (double)v * (double)v;
    }
    cr_assert_eq(s.n_valid, want.n_valid);
    cr_assert_eq(s.n_missing, want.n_missing);
    cr_assert(s.min == want.min && s.max == want.max);
    if (!isfinite(want.sum)) continue;
    cr_assert_leq(fabs(s.sum - want.sum), 1e-9 * sqrt(want.sumsq * (double)(want.n_valid + 1)) + 1e-300);
    cr_assert_leq(fabs(s.sumsq - want.sumsq), 1e-9 * want.sumsq + 1e-300);
  }
}

static void encode_twice(world *w)
{
  bc_buf head = bc_buf_empty(1 << 24), payload = bc_buf_empty(1 << 26);
  bc_encoder *fresh = NULL;

  encode(w);
  cr_assert_eq(bc_encoder_open(&fresh, &w->err), BC_OK);
  cr_assert_eq(bc_tile_encode(fresh, &w->in, &w->opts, &head, &payload, &w->err), BC_OK);
  bc_encoder_close(fresh);
  cr_assert_eq(head.n, w->head.n);
  cr_assert(memcmp(head.p, w->head.p, head.n) == 0);
  cr_assert_eq(payload.n, w->payload.n);
  cr_assert(payload.n == 0 || memcmp(payload.p, w->payload.p, payload.n) == 0);
  bc_buf_dispose(&head);
  bc_buf_dispose(&payload);
}

/* ---- round trips ---- */

typedef struct extent {
  uint32_t nt, nl, ny, nx;
} extent;

static const extent k_extents[] = { { 1, 1, 1, 1 }, { 1, 1, 1, 7 },  { 5, 2, 33, 25 }, { 40, 1, 9, 17 },
                                    { 3, 3, 8, 8 }, { 70, 1, 5, 3 }, { 2, 1, 100, 70 } };

static void round_trip(kind k)
{
  for (size_t i = 0; i < BC_ARRAY_LEN(k_extents); i++)
    for (int layout = 0; layout < 3; layout++)
      for (int mode = 0; mode < 3; mode++) {
        const extent *x = &k_extents[i];
        world w;
        make_kind(&w, k, x->nt, x->nl, x->ny, x->nx);
        w.in.layout = (bc_layout)layout;
        w.opts.mode = (bc_codec_mode)mode;
        encode_twice(&w);
        check_all(&w);
        check_dense(&w);
        check_stats(&w);
        if (mode == BC_MODE_RAW) cr_assert_eq(w.h.codec, BC_CODEC_RAW);
        drop(&w);
      }
}

Test(tile, round_trip_noise) { round_trip(NOISE); }
Test(tile, round_trip_grib) { round_trip(GRIB); }
Test(tile, round_trip_grib_coarse) { round_trip(GRIB_COARSE); }
Test(tile, round_trip_grib_mixed) { round_trip(GRIB_MIXED); }
Test(tile, round_trip_grib_binades) { round_trip(GRIB_BINADES); }
Test(tile, round_trip_grib_large) { round_trip(GRIB_LARGE); }
Test(tile, round_trip_grib_holes) { round_trip(GRIB_HOLES); }
Test(tile, round_trip_grib_tiny) { round_trip(GRIB_TINY); }
Test(tile, round_trip_one_block_odd) { round_trip(ONE_BLOCK_ODD); }
Test(tile, round_trip_flat_steps) { round_trip(FLAT_STEPS); }
Test(tile, round_trip_all_nan) { round_trip(ALL_NAN); }
Test(tile, round_trip_some_steps_nan) { round_trip(SOME_STEPS_NAN); }
Test(tile, round_trip_constant) { round_trip(CONSTANT); }
Test(tile, round_trip_boolean) { round_trip(BOOLEAN); }
Test(tile, round_trip_integers) { round_trip(INTEGERS); }
Test(tile, round_trip_specials) { round_trip(SPECIALS); }
Test(tile, round_trip_minus_zero) { round_trip(MINUS_ZERO); }

Test(tile, quantised_fields_are_found)
{
  static const kind kinds[] = { GRIB, GRIB_COARSE, GRIB_MIXED, GRIB_BINADES, GRIB_LARGE, GRIB_HOLES };

  for (size_t i = 0; i < BC_ARRAY_LEN(kinds); i++) {
    world w;
    make_kind(&w, kinds[i], 24, 1, 40, 40);
    encode(&w);
    cr_assert_eq(w.h.codec, BC_CODEC_LINEAR16, "kind %d became %s", (int)kinds[i], bc_codec_name(w.h.codec));
    cr_assert_lt(w.payload.n, count(&w) * 2, "kind %d takes %zu bytes", (int)kinds[i], w.payload.n);
    drop(&w);
  }
}

Test(tile, one_odd_block_falls_back_alone)
{
  world w;
  bc_block_place at;

  make_kind(&w, ONE_BLOCK_ODD, 96, 1, 64, 64);
  encode(&w);
  cr_assert_eq(w.h.codec, BC_CODEC_LINEAR16);
  cr_assert_gt(w.h.n_blocks, 3);
  for (uint32_t b = 0; b < w.h.n_blocks; b++) {
    bc_tile_block(&w.h, b, &at);
    cr_assert_eq(w.payload.p[at.offset], b == 0 ? BC_CODEC_SHUFFLE : BC_CODEC_LINEAR16);
  }
  check_all(&w);
  drop(&w);
}

Test(tile, auto_gives_up_on_noise_and_views_it)
{
  world w;

  make(&w, 4, 2, 13, 11, 4);
  rng_state = 5;
  for (size_t i = 0; i < count(&w); i++)
    w.want[i] = from_bits((rng() & 0x7fffffffu) % 0x7f000000u + 1);
  memcpy(w.values, w.want, count(&w) * sizeof(float));
  encode(&w);
  cr_assert_eq(w.h.codec, BC_CODEC_RAW);
  cr_assert_eq(bc_tile_raw_step(&w.h), 64 * ((2 * 13 * 11 * 4 + 63) / 64));
  cr_assert_eq(w.payload.n, 4 * bc_tile_raw_step(&w.h));
  for (uint32_t t = 0; t < 4; t++) /* natural order, each step padded */
    cr_assert(memcmp(w.payload.p + t * bc_tile_raw_step(&w.h), w.want + t * 286, 286 * sizeof(float)) == 0);
  check_all(&w);
  drop(&w);
}

Test(tile, large_rows_and_frames_are_cut)
{
  static const extent extents[] = { { 1, 1, 3, 70000 }, { 2, 1, 400, 300 }, { 1, 2, 721, 200 } };

  for (size_t i = 0; i < BC_ARRAY_LEN(extents); i++)
    for (int layout = 0; layout < 3; layout++)
      for (int mode = 0; mode < 2; mode++) {
        world w;
        make_kind(&w, GRIB, extents[i].nt, extents[i].nl, extents[i].ny, extents[i].nx);
        w.in.layout = (bc_layout)layout;
        w.opts.mode = (bc_codec_mode)mode;
        encode(&w);
        for (uint32_t b = 0; b < w.h.n_blocks && w.h.codec != BC_CODEC_RAW; b++) {
          bc_block_place at;
          bc_tile_block(&w.h, b, &at);
          cr_assert_leq((uint64_t)at.nt * at.ny * at.nx, 75000);
        }
        check_dense(&w);
        drop(&w);
      }
}

Test(tile, small_boxes_get_long_blocks)
{
  world w;

  make_kind(&w, GRIB, 744, 1, 4, 5);
  encode(&w);
  cr_assert_geq(w.h.bt, 372, "blocks of %u steps", w.h.bt);
  check_all(&w);
  drop(&w);
}

/* ---- packed input ---- */

static void make_packed(world *w, const bc_packing *p, size_t n_p, bool fills, const extent *x)
{
  const size_t step = (size_t)x->nl * x->ny * x->nx;
  int16_t *v;

  make(w, x->nt, x->nl, x->ny, x->nx, 2);
  v = w->values;
  w->packing = bc_calloc(x->nt, sizeof *w->packing);
  w->in.packing = w->packing;
  rng_state = 77;
  for (uint32_t t = 0; t < x->nt; t++)
    w->packing[t] = p[t % n_p];
  for (size_t i = 0; i < count(w); i++) {
    const bc_packing *q = &w->packing[i / step];
    v[i] = (int16_t)(wave((uint32_t)(i / step), i, x->nx) - 32768 + (rng() % 50 == 0 ? 60000 : 0));
    if (fills && rng() % 9 == 0) v[i] = (int16_t)q->fill;
    w->want[i] = q->has_fill && v[i] == q->fill ? from_bits(0x7fc00000u)
                                                : (float)((double)v[i] * q->scale + q->offset);
  }
}

Test(tile, packed_input_comes_back_decoded)
{
  static const bc_packing sets[][2] = {
    { { 0.0003948951232108251, 278.6193093883759, true, -32767 },
      { 0.0003948951232108251, 278.6193093883759, true, -32767 } },
    { { -1.7250274674967954, 66825.5, false, 0 }, { -1.7250274674967954, 66825.5, false, 0 } },
    { { 0.01, 0, true, 32767 }, { 0.02, -5, true, -32768 } },
    { { 0.01, 7, true, 3 }, { 0.01, 7.5, true, 1000000 } },
    { { 1, 0, false, 0 }, { 0.5, 3, true, 0 } },
    { { 1e36, 0, true, 5 }, { 0, 3, true, 5 } }, /* overflows, and a scale of 0: not for linear16 */
  };

  for (size_t i = 0; i < BC_ARRAY_LEN(sets); i++)
    for (size_t e = 0; e < BC_ARRAY_LEN(k_extents); e++)
      for (int mode = 0; mode < 3; mode++) {
        world w;
        make_packed(&w, sets[i], 2, i % 2 == 0, &k_extents[e]);
        w.opts.mode = (bc_codec_mode)mode;
        encode_twice(&w);
        check_all(&w);
        check_dense(&w);
        check_stats(&w);
        drop(&w);
      }
}

Test(tile, packed_input_keeps_its_integers)
{
  static const bc_packing p = { 0.0003948951232108251, 278.6193093883759, true, -32767 };
  world w;

  make_packed(&w, &p, 1, false, &(extent){ 48, 1, 30, 30 });
  encode(&w);
  cr_assert_eq(w.h.codec, BC_CODEC_LINEAR16);
  cr_assert_lt(w.payload.n, count(&w) * 2);
  drop(&w);
}

/* ---- precision ---- */

Test(tile, precision_rounds_before_storing)
{
  static const double precisions[] = { 0.01, 0.0078125, 1, 1000, 1e-40, 1e38, 1e-300 };

  for (size_t p = 0; p < BC_ARRAY_LEN(precisions); p++)
    for (int k = 0; k < N_KINDS; k++) {
      world w;
      make_kind(&w, (kind)k, 6, 1, 20, 20);
      w.opts.precision = precisions[p];
      for (size_t i = 0; i < count(&w); i++) {
        const float v = w.want[i];
        w.want[i] = bc_round_to_precision(v, precisions[p]);
        if (!isfinite(v)) cr_assert_eq(to_bits(v), to_bits(w.want[i]));
        if (isfinite(v)) cr_assert_leq(fabs((double)v - (double)w.want[i]), precisions[p] / 2);
      }
      encode(&w);
      check_all(&w);
      check_stats(&w);
      drop(&w);
    }
}

Test(tile, precision_is_a_power_of_two_ties_to_even)
{
  cr_assert(bc_round_to_precision(0.74f, 0.6) == 0.5f);
  cr_assert(bc_round_to_precision(0.75f, 0.5) == 1.0f, "1.5 steps: to the even one");
  cr_assert(bc_round_to_precision(1.25f, 0.5) == 1.0f, "2.5 steps: to the even one");
  cr_assert(bc_round_to_precision(-3.3f, 1) == -3.0f);
  cr_assert_eq(to_bits(bc_round_to_precision(-0.1f, 1)), 0u, "no -0.0");
  cr_assert(bc_round_to_precision(3.4028235e38f, 1e38) == 3.4028235e38f, "what would overflow stays");
  cr_assert(bc_round_to_precision(16777217.0f * 3, 1) == 16777217.0f * 3);
  cr_assert(bc_round_to_precision(0.1f, 0) == 0.1f);
}

Test(tile, precision_makes_noise_quantised)
{
  world w;

  make_kind(&w, NOISE, 8, 1, 32, 32);
  w.opts.precision = 0.01;
  encode(&w);
  cr_assert_eq(w.h.codec, BC_CODEC_LINEAR16);
  drop(&w);
}

/* ---- the search for scale and offset ---- */

Test(tile, fit_is_exact_or_refuses)
{
  enum { N = 500 };
  float v[N];
  uint16_t q[N];
  int32_t k[N];
  int fitted = 0;

  rng_state = 4711;
  for (int round = 0; round < 400; round++) {
    const double r = (uniform() - 0.5) * ldexp(1, (int)(rng() % 40) - 10);
    const int e = (int)(rng() % 30) - 20;
    bc_lin l, hint = { .s = ldexp(1, e + 1), .e = e + 1, .pow2 = true, .missing = -1 };
    for (int i = 0; i < N; i++)
      v[i] =
          round % 5 == 0 && i % 50 == 0 ? from_bits(0x7fc00000u) : grib((double)(float)r, e, rng() % 60000);
    if (!bc_lin16_fit(v, N, round % 2 == 0 ? &hint : NULL, &l, q, k)) continue;
    fitted++;
    for (int i = 0; i < N; i++) {
      const float f =
          q[i] == l.missing ? from_bits(0x7fc00000u) : (float)((double)(q[i] + l.bias) * l.s + l.r);
      cr_assert_eq(to_bits(f), to_bits(v[i]), "round %d, value %d", round, i);
    }
  }
  cr_assert_gt(fitted, 350, "only %d of 400 planes were found", fitted);
}

/* ---- input that cannot be a tile ---- */

static void refuse(world *w, const char *what)
{
  w->head.n = w->payload.n = 0;
  cr_assert_eq(bc_tile_encode(w->e, &w->in, &w->opts, &w->head, &w->payload, &w->err), BC_E_INVAL, "%s",
               what);
  cr_assert_gt(strlen(w->err.msg), 10);
}

Test(tile, wrong_input_is_refused)
{
  world w;
  bc_tile_in good;

  make_kind(&w, GRIB, 3, 2, 4, 4);
  good = w.in;
#define REFUSE(change)                                                                                       \
  do {                                                                                                       \
    change;                                                                                                  \
    refuse(&w, #change);                                                                                     \
    w.in = good;                                                                                             \
  } while (0)
  REFUSE(w.in.nt = 0);
  REFUSE(w.in.nt = (1u << 24) + 1);
  REFUSE(w.in.nl = 0);
  REFUSE(w.in.nl = 257);
  REFUSE(w.in.ny = 0);
  REFUSE(w.in.nx = 0);
  REFUSE(w.in.nx = (1u << 20) + 1);
  REFUSE(w.in.y0 = 4);
  REFUSE(w.in.x0 = 3);
  REFUSE(w.in.cell_ny = UINT32_MAX);
  REFUSE(w.in.dtype = BC_F64);
  REFUSE(w.in.dtype = BC_I16);
  REFUSE(w.in.layout = BC_LAYOUT_NONE);
  w.opts.precision = -1;
  refuse(&w, "precision");
  w.opts.precision = (double)NAN;
  refuse(&w, "precision");
  w.opts.precision = (double)INFINITY;
  refuse(&w, "precision");
  w.opts.precision = 0;
  w.times[2] = w.times[1];
  refuse(&w, "times");
  w.times[2] = 9999999;
  w.levels[1] = 256;
  refuse(&w, "levels");
  w.levels[1] = 0;
  encode(&w);
  cr_assert_eq(w.h.regular, false);
  cr_assert_eq(bc_tile_time(&w.h, 2), 9999999);
  check_all(&w);
  drop(&w);
}

/* ---- heads ---- */

static void seal(uint8_t *p, size_t n) { bc_put_le64(p + n - 8, bc_hash64(p, n - 8)); }

Test(tile, head_says_what_went_in)
{
  world w;

  make_kind(&w, GRIB, 5, 2, 6, 7);
  encode(&w);
  cr_assert_eq(w.h.key.cell, 12345);
  cr_assert_eq(w.h.key.time, -86400);
  cr_assert_eq(w.h.key.modality, 7);
  cr_assert_eq(w.h.key.part, 3);
  cr_assert_eq(w.h.dtype, BC_F32);
  cr_assert_eq(w.h.y0, 1);
  cr_assert_eq(w.h.x0, 2);
  cr_assert_eq(w.h.n_absent, 5 * 2 * (9 * 9 - 6 * 7));
  cr_assert(w.h.regular && w.h.t_step == 3600 && bc_tile_time(&w.h, 4) == -86400 + 4 * 3600);
  cr_assert_eq(bc_tile_level(&w.h, 0), 1);
  cr_assert_eq(bc_tile_level(&w.h, 1), 0);
  cr_assert_eq(w.h.n_sources, 2);
  cr_assert_eq(bc_tile_source(&w.h, 1), 4000000000u);
  drop(&w);
}

typedef struct damage {
  const char *what;
  size_t off, bytes;
  uint64_t value;
  bc_status want;
} damage;

static void check_damage(const world *w, const damage *d)
{
  uint8_t *p = bc_malloc(w->head.n);
  bc_tile_head h;
  bc_err err;
  bc_status st;

  memcpy(p, w->head.p, w->head.n);
  for (size_t i = 0; i < d->bytes; i++)
    p[d->off + i] = (uint8_t)(d->value >> (8 * i));
  seal(p, w->head.n);
  st = bc_tile_head_parse((bc_bytes){ p, w->head.n }, &h, &err);
  cr_assert_eq(st, d->want, "%s: %s (%s)", d->what, bc_status_name(st), st == BC_OK ? "" : err.msg);
  bc_free(p);
}

Test(tile, damaged_heads_are_refused)
{
  static const damage cases[] = {
    { "magic", BC_TH_MAGIC_OFF, 1, 'X', BC_E_CORRUPT },
    { "version", BC_TH_VERSION_OFF, 1, 2, BC_E_VERSION },
    { "kind", BC_TH_KIND_OFF, 1, 1, BC_E_FEATURE },
    { "fixed too small", BC_TH_FIXED_OFF, 2, 127, BC_E_CORRUPT },
    { "fixed too large", BC_TH_FIXED_OFF, 2, 65535, BC_E_CORRUPT },
    { "bytes", BC_TH_BYTES_OFF, 4, 8, BC_E_CORRUPT },
    { "incompat", BC_TH_INCOMPAT_OFF, 2, 0x8000, BC_E_FEATURE },
    { "compat may be anything", BC_TH_COMPAT_OFF, 2, 0xffff, BC_OK },
    { "reserved", BC_TH_RSVD1_OFF, 4, 1, BC_E_CORRUPT },
    { "reserved", BC_TH_RSVD2_OFF, 4, 0x1000000, BC_E_CORRUPT },
    { "dtype 0", BC_TH_DTYPE_OFF, 1, 0, BC_E_CORRUPT },
    { "dtype 8", BC_TH_DTYPE_OFF, 1, 8, BC_E_CORRUPT },
    { "dtype of linear16", BC_TH_DTYPE_OFF, 1, BC_I32, BC_E_CORRUPT },
    { "codec", BC_TH_CODEC_OFF, 1, 4, BC_E_CORRUPT },
    { "codec raw", BC_TH_CODEC_OFF, 1, BC_CODEC_RAW, BC_E_CORRUPT },
    { "codec const", BC_TH_CODEC_OFF, 1, BC_CODEC_CONST, BC_E_CORRUPT },
    { "layout", BC_TH_LAYOUT_OFF, 1, 3, BC_E_CORRUPT },
    { "regular", BC_TH_REGULAR_OFF, 1, 2, BC_E_CORRUPT },
    { "regular 0: no time table", BC_TH_REGULAR_OFF, 1, 0, BC_E_CORRUPT },
    { "nt 0", BC_TH_NT_OFF, 4, 0, BC_E_CORRUPT },
    { "nt over the limit", BC_TH_NT_OFF, 4, (1 << 24) + 1, BC_E_CORRUPT },
    { "nt other", BC_TH_NT_OFF, 4, 200, BC_E_CORRUPT },
    { "nl 0", BC_TH_NL_OFF, 4, 0, BC_E_CORRUPT },
    { "nl over the limit", BC_TH_NL_OFF, 4, 257, BC_E_CORRUPT },
    { "nl other", BC_TH_NL_OFF, 4, 3, BC_E_CORRUPT },
    { "ny 0", BC_TH_NY_OFF, 4, 0, BC_E_CORRUPT },
    { "ny over the limit", BC_TH_NY_OFF, 4, (1 << 20) + 1, BC_E_CORRUPT },
    { "nx 0", BC_TH_NX_OFF, 4, 0, BC_E_CORRUPT },
    { "nx over the limit", BC_TH_NX_OFF, 4, UINT32_MAX, BC_E_CORRUPT },
    { "y0", BC_TH_Y0_OFF, 4, 1 << 20, BC_E_CORRUPT },
    { "x0", BC_TH_X0_OFF, 4, UINT32_MAX, BC_E_CORRUPT },
    { "bt 0", BC_TH_BT_OFF, 4, 0, BC_E_CORRUPT },
    { "bt above nt", BC_TH_BT_OFF, 4, 101, BC_E_CORRUPT },
    { "by 0", BC_TH_BY_OFF, 4, 0, BC_E_CORRUPT },
    { "by above ny", BC_TH_BY_OFF, 4, 65, BC_E_CORRUPT },
    { "bx 0", BC_TH_BX_OFF, 4, 0, BC_E_CORRUPT },
    { "bx above nx", BC_TH_BX_OFF, 4, 65, BC_E_CORRUPT },
    { "bx other", BC_TH_BX_OFF, 4, 10, BC_E_CORRUPT },
    { "sources", BC_TH_NSOURCES_OFF, 4, 4, BC_E_CORRUPT },
    { "sources", BC_TH_NSOURCES_OFF, 4, UINT32_MAX, BC_E_CORRUPT },
    { "time step 0", BC_TH_TSTEP_OFF, 8, 0, BC_E_CORRUPT },
    { "time step negative", BC_TH_TSTEP_OFF, 8, UINT64_MAX, BC_E_CORRUPT },
    { "time overflow", BC_TH_TSTEP_OFF, 8, INT64_MAX, BC_E_CORRUPT },
    { "constant of a tile that is not", BC_TH_CONST_OFF, 8, 1, BC_E_CORRUPT },
    { "payload 0", BC_TH_PAYLOAD_OFF, 8, 0, BC_E_CORRUPT },
    { "payload before the last block", BC_TH_PAYLOAD_OFF, 8, 1, BC_E_CORRUPT },
    { "payload beyond 2^63", BC_TH_PAYLOAD_OFF, 8, UINT64_MAX, BC_E_CORRUPT },
    { "blocks", BC_TH_NBLOCKS_OFF, 4, 1, BC_E_CORRUPT },
    { "blocks", BC_TH_NBLOCKS_OFF, 4, UINT32_MAX, BC_E_CORRUPT },
    { "first block not at 0", BC_TH_FIXED, 8, 1, BC_E_CORRUPT },
    { "second block at 0", BC_TH_FIXED + 16, 8, 0, BC_E_CORRUPT },
    { "second block far away", BC_TH_FIXED + 16, 8, UINT64_MAX, BC_E_CORRUPT },
  };
  world w;
  damage d = { "statistics: valid", 0, 8, UINT64_MAX, BC_E_CORRUPT };

  make_kind(&w, GRIB, 100, 1, 64, 64);
  encode(&w);
  cr_assert_eq(w.h.codec, BC_CODEC_LINEAR16);
  for (size_t i = 0; i < BC_ARRAY_LEN(cases); i++)
    check_damage(&w, &cases[i]);
  d.off = (size_t)(w.h.stats - w.head.p);
  check_damage(&w, &d);
  d = (damage){ "statistics: missing", d.off + 8, 8, 1, BC_E_CORRUPT };
  check_damage(&w, &d);
  d = (damage){ "level number", (size_t)(w.h.levels - w.head.p), 2, 256, BC_E_CORRUPT };
  check_damage(&w, &d);
  d = (damage){ "padding", w.head.n - 9, 1, 1, BC_E_CORRUPT };
  check_damage(&w, &d);
  drop(&w);
}

Test(tile, damaged_raw_and_constant_heads_are_refused)
{
  static const damage raw[] = {
    { "bt", BC_TH_BT_OFF, 4, 2, BC_E_CORRUPT },
    { "bx", BC_TH_BX_OFF, 4, 3, BC_E_CORRUPT },
    { "payload", BC_TH_PAYLOAD_OFF, 8, 128, BC_E_CORRUPT },
    { "payload", BC_TH_PAYLOAD_OFF, 8, 3 * 64 * 2 + 1, BC_E_CORRUPT },
    { "offset", BC_TH_FIXED + 16, 8, 99, BC_E_CORRUPT },
  };
  static const damage constant[] = {
    { "bt", BC_TH_BT_OFF, 4, 1, BC_E_CORRUPT },
    { "payload", BC_TH_PAYLOAD_OFF, 8, 64, BC_E_CORRUPT },
    { "blocks", BC_TH_NBLOCKS_OFF, 4, 1, BC_E_CORRUPT },
    { "constant too wide", BC_TH_CONST_OFF, 8, UINT64_C(1) << 32, BC_E_CORRUPT },
    { "values beyond 2^56", BC_TH_BT_OFF, 4, 1 << 24, BC_E_CORRUPT },
  };
  world w;

  make_kind(&w, NOISE, 3, 2, 4, 4);
  w.opts.mode = BC_MODE_RAW;
  encode(&w);
  for (size_t i = 0; i < BC_ARRAY_LEN(raw); i++)
    check_damage(&w, &raw[i]);
  drop(&w);
  make_kind(&w, CONSTANT, 3, 2, 4, 4);
  encode(&w);
  cr_assert_eq(w.h.codec, BC_CODEC_CONST);
  cr_assert_eq(w.payload.n, 0);
  cr_assert_eq(w.h.const_bits, to_bits(-3.25f));
  for (size_t i = 0; i < BC_ARRAY_LEN(constant); i++)
    check_damage(&w, &constant[i]);
  drop(&w);
}

Test(tile, damaged_time_tables_are_refused)
{
  world w;
  damage d;

  make_kind(&w, GRIB, 4, 1, 4, 4);
  w.times[3] += 5;
  encode(&w);
  cr_assert_eq(w.h.regular, false);
  d = (damage){ "first", BC_TH_TFIRST_OFF, 8, 1, BC_E_CORRUPT };
  check_damage(&w, &d);
  d = (damage){ "not ascending", BC_TH_FIXED + 16, 8, 0, BC_E_CORRUPT };
  check_damage(&w, &d);
  d = (damage){ "step of irregular times", BC_TH_TSTEP_OFF, 8, 1, BC_E_CORRUPT };
  check_damage(&w, &d);
  drop(&w);
}

Test(tile, every_flip_of_a_head_is_noticed)
{
  world w;
  bc_tile_head h;

  make_kind(&w, GRIB, 3, 1, 5, 5);
  encode(&w);
  for (size_t n = 0; n < w.head.n; n++) {
    uint8_t *p = bc_malloc(n + 1);
    memcpy(p, w.head.p, n);
    cr_assert_neq(bc_tile_head_parse((bc_bytes){ p, n }, &h, &w.err), BC_OK, "cut to %zu bytes", n);
    bc_free(p);
    w.head.p[n] ^= 1;
    cr_assert_neq(bc_tile_head_parse((bc_bytes){ w.head.p, w.head.n }, &h, &w.err), BC_OK, "byte %zu", n);
    w.head.p[n] ^= 1;
  }
  drop(&w);
}

Test(tile, a_longer_fixed_part_is_skipped)
{
  world w;
  bc_tile_head h;
  uint8_t *p;

  make_kind(&w, GRIB, 3, 1, 5, 5);
  encode(&w);
  p = bc_calloc(1, w.head.n + 16);
  memcpy(p, w.head.p, BC_TH_FIXED);
  memset(p + BC_TH_FIXED, 0xee, 16);
  memcpy(p + BC_TH_FIXED + 16, w.head.p + BC_TH_FIXED, w.head.n - BC_TH_FIXED);
  bc_put_le16(p + BC_TH_FIXED_OFF, BC_TH_FIXED + 16);
  bc_put_le32(p + BC_TH_BYTES_OFF, (uint32_t)w.head.n + 16);
  seal(p, w.head.n + 16);
  cr_assert_eq(bc_tile_head_parse((bc_bytes){ p, w.head.n + 16 }, &h, &w.err), BC_OK, "%s", w.err.msg);
  w.h = h;
  check_all(&w);
  bc_free(p);
  drop(&w);
}

/* ---- blocks ---- */

static bc_status read_block(world *w, uint32_t b, bc_bytes payload, void *dst)
{
  bc_block_place at;

  bc_tile_block(&w->h, b, &at);
  return bc_tile_read(w->d, &w->h, payload, b, (bc_pick){ 0, at.nt, 1 }, (bc_pick){ 0, at.ny, 1 },
                      (bc_pick){ 0, at.nx, 1 }, dst, (ptrdiff_t)at.ny * at.nx * 4, (ptrdiff_t)at.nx * 4,
                      &w->err);
}

Test(tile, every_flip_of_a_payload_is_noticed)
{
  for (int mode = 0; mode < 3; mode++) {
    float out[300];
    world w;
    make_kind(&w, GRIB, 3, 1, 10, 10);
    w.opts.mode = (bc_codec_mode)mode;
    encode(&w);
    for (size_t i = 0; i < w.payload.n; i++) {
      int wrong = 0;
      w.payload.p[i] ^= 0x10;
      for (uint32_t b = 0; b < w.h.n_blocks; b++)
        wrong += read_block(&w, b, (bc_bytes){ w.payload.p, w.payload.n }, out) == BC_E_CHECKSUM;
      cr_assert_eq(wrong, 1, "byte %zu", i);
      w.payload.p[i] ^= 0x10;
    }
    cr_assert_eq(read_block(&w, w.h.n_blocks - 1, (bc_bytes){ w.payload.p, w.payload.n - 1 }, out),
                 BC_E_TRUNCATED);
    drop(&w);
  }
}

Test(tile, picks_outside_a_block_are_refused)
{
  static const bc_pick good = { 0, 3, 1 };
  static const bc_pick bad[] = { { 0, 4, 1 }, { 3, 1, 1 }, { 1, 3, 1 },
                                 { 0, 2, 3 }, { 0, 1, 0 }, { 0, UINT32_MAX, UINT32_MAX } };
  float out[100];
  world w;
  bc_bytes payload;

  make_kind(&w, GRIB, 3, 1, 3, 3);
  encode(&w);
  payload = (bc_bytes){ w.payload.p, w.payload.n };
  for (size_t i = 0; i < BC_ARRAY_LEN(bad); i++) {
    cr_assert_eq(bc_tile_read(w.d, &w.h, payload, 0, bad[i], good, good, out, 36, 12, &w.err), BC_E_RANGE);
    cr_assert_eq(bc_tile_read(w.d, &w.h, payload, 0, good, bad[i], good, out, 36, 12, &w.err), BC_E_RANGE);
    cr_assert_eq(bc_tile_read(w.d, &w.h, payload, 0, good, good, bad[i], out, 36, 12, &w.err), BC_E_RANGE);
  }
  cr_assert_eq(bc_tile_read(w.d, &w.h, payload, 1, good, good, good, out, 36, 12, &w.err), BC_E_RANGE);
  cr_assert_eq(bc_tile_read(w.d, &w.h, payload, 0, good, (bc_pick){ 0, 0, 1 }, good, NULL, 0, 0, &w.err),
               BC_OK);
  drop(&w);
}

/* A one-block tile whose block is these bytes, with the right hash: what its decoder says. */
static bc_status hostile(world *w, const uint8_t *block, size_t n)
{
  uint8_t *head = bc_malloc(w->head.n), *exact = bc_malloc(n);
  const bc_tile_head before = w->h;
  float out[300];
  bc_status st;

  memcpy(head, w->head.p, w->head.n);
  memcpy(exact, block, n);
  bc_put_le64(head + BC_TH_PAYLOAD_OFF, n);
  bc_put_le64(head + BC_TH_FIXED + 8, bc_hash64(exact, n));
  seal(head, w->head.n);
  cr_assert_eq(bc_tile_head_parse((bc_bytes){ head, w->head.n }, &w->h, &w->err), BC_OK, "%s", w->err.msg);
  st = read_block(w, 0, (bc_bytes){ exact, n }, out);
  w->h = before;
  bc_free(head);
  bc_free(exact);
  return st;
}

static void one_block(world *w, bc_codec_mode mode)
{
  make_kind(w, GRIB, 3, 1, 10, 10);
  w->opts.mode = mode;
  encode(w);
  cr_assert_eq(w->h.n_blocks, 1);
  cr_assert_eq(hostile(w, w->payload.p, w->payload.n), BC_OK);
}

/* linear16 block: tag, predictor, decoded and stored length of the records, records, two planes. */
static size_t linear_block(uint8_t *p, uint8_t predictor, const uint8_t *records, uint32_t n, uint32_t claim)
{
  p[0] = BC_CODEC_LINEAR16;
  p[1] = predictor;
  bc_put_le32(p + 2, claim);
  bc_put_le32(p + 6, n);
  memcpy(p + 10, records, n);
  bc_put_le32(p + 10 + n, 300);
  bc_put_le32(p + 14 + n, 300);
  memset(p + 18 + n, 1, 600);
  return 18 + (size_t)n + 600;
}

Test(tile, hostile_linear_blocks_are_refused)
{
  /* r = 1.0f, s = 2^0, then: the same twice */
  static const uint8_t good[] = { 1 | 4, 0, 0, 0, 0, 0x80, 0x3f, 0, 2, 0 };
  static const struct {
    const char *what;
    uint8_t records[24];
    uint32_t n;
  } bad[] = {
    { "no record", { 0 }, 0 },
    { "same before any", { 0, 3, 0 }, 3 },
    { "same of none", { 5, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0 }, 10 },
    { "same of too many", { 5, 0, 0, 0, 0, 0x80, 0x3f, 0, 3, 0 }, 10 },
    { "same of too few", { 5, 0, 0, 0, 0, 0x80, 0x3f, 0, 1, 0 }, 10 },
    { "same with flags", { 5, 0, 0, 0, 0, 0x80, 0x3f, 4, 2, 0 }, 10 },
    { "kind 3", { 3, 0, 0, 0, 0, 0x80, 0x3f, 0, 2, 0 }, 10 },
    { "unknown flag", { 37, 0, 0, 0, 0, 0x80, 0x3f, 0, 2, 0 }, 10 },
    { "step beyond float32", { 5, 200, 0, 0, 0, 0x80, 0x3f, 0, 2, 0 }, 10 },
    { "step too fine", { 5, 0, 0x80, 0, 0, 0x80, 0x3f, 0, 2, 0 }, 10 },
    { "offset infinite", { 5, 0, 0, 0, 0, 0x80, 0x7f, 0, 2, 0 }, 10 },
    { "offset NaN", { 5, 0, 0, 0, 0, 0xc0, 0x7f, 0, 2, 0 }, 10 },
    { "overflow", { 5, 120, 0, 0, 0, 0x80, 0x3f, 0, 2, 0 }, 10 },
    { "scale 0", { 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 2, 0 }, 16 },
    { "scale infinite", { 6, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f, 0, 0, 0x80, 0x3f, 0, 2, 0 }, 16 },
    { "bias", { 13, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x7f, 0, 2, 0 }, 14 },
    { "cut", { 5, 0, 0, 0, 0 }, 5 },
    { "cut", { 1 }, 1 },
    { "one byte more", { 5, 0, 0, 0, 0, 0x80, 0x3f, 0, 2, 0, 0 }, 11 },
  };
  uint8_t block[1000];
  world w;
  size_t n;

  one_block(&w, BC_MODE_AUTO);
  n = linear_block(block, 3, good, sizeof good, sizeof good);
  cr_assert_eq(hostile(&w, block, n), BC_OK, "%s", w.err.msg);
  for (size_t i = 0; i < BC_ARRAY_LEN(bad); i++) {
    n = linear_block(block, 3, bad[i].records, bad[i].n, bad[i].n);
    cr_assert_eq(hostile(&w, block, n), BC_E_CORRUPT, "%s", bad[i].what);
  }
  n = linear_block(block, 4, good, sizeof good, sizeof good);
  cr_assert_eq(hostile(&w, block, n), BC_E_CORRUPT, "predictor");
  n = linear_block(block, 3, good, sizeof good, sizeof good - 1);
  cr_assert_eq(hostile(&w, block, n), BC_E_CORRUPT, "records longer than decoded");
  n = linear_block(block, 3, good, sizeof good, 60);
  cr_assert_eq(hostile(&w, block, n), BC_E_CORRUPT, "records are no frame");
  n = linear_block(block, 3, good, sizeof good, 70);
  cr_assert_eq(hostile(&w, block, n), BC_E_CORRUPT, "records for more planes than there are");
  n = linear_block(block, 3, good, sizeof good, sizeof good);
  for (size_t cut = 1; cut < n; cut++)
    cr_assert_eq(hostile(&w, block, cut), BC_E_CORRUPT, "cut to %zu", cut);
  cr_assert_eq(hostile(&w, block, n + 1), BC_E_CORRUPT, "one byte more");
  drop(&w);
}

Test(tile, hostile_blocks_are_refused)
{
  uint8_t block[4000] = { 0 };
  bc_zstd *z = NULL;
  world w;
  size_t n = 0;

  one_block(&w, BC_MODE_ZSTD);
  for (int tag = 0; tag < 256; tag++) {
    block[0] = (uint8_t)tag;
    cr_assert_eq(hostile(&w, block, 5), tag == BC_CODEC_CONST ? BC_OK : BC_E_CORRUPT, "tag %d", tag);
    cr_assert_eq(hostile(&w, block, 1), BC_E_CORRUPT, "tag %d alone", tag);
  }
  block[0] = BC_CODEC_CONST;
  cr_assert_eq(hostile(&w, block, 6), BC_E_CORRUPT, "constant too long");
  cr_assert_eq(bc_zstd_open(&z, &w.err), BC_OK);
  for (size_t size = 299; size <= 100u << 20;
       size = size < 302 ? size + 1 : size * 700) { /* short, right, long, bomb */
    uint8_t *zeros = bc_calloc(1, size), *frame = bc_malloc(bc_zstd_bound(size));
    cr_assert_eq(bc_zstd_encode(z, 3, zeros, size, frame, bc_zstd_bound(size), &n, &w.err), BC_OK);
    if (17 + n <= 4000) {
      block[0] = BC_CODEC_SHUFFLE;
      bc_put_le32(block + 1, (uint32_t)n | 0x80000000u);
      for (int i = 1; i < 4; i++)
        bc_put_le32(block + 1 + 4 * i, 300);
      memcpy(block + 17, frame, n);
      memset(block + 17 + n, 0, 900);
      cr_assert_eq(hostile(&w, block, 17 + n + 900), size == 300 ? BC_OK : BC_E_CORRUPT, "frame of %zu",
                   size);
    }
    bc_free(zeros);
    bc_free(frame);
  }
  bc_zstd_close(z);
  drop(&w);
}

Test(tile, mutated_blocks_never_reach_outside)
{
  for (int mode = 0; mode < 3; mode += 2) {
    world w;
    uint8_t *copy;
    one_block(&w, (bc_codec_mode)mode);
    copy = bc_malloc(w.payload.n);
    rng_state = 31337;
    for (int i = 0; i < 4000; i++) {
      memcpy(copy, w.payload.p, w.payload.n);
      for (uint32_t k = 0; k < 1 + rng() % 3; k++)
        copy[rng() % (rng() % 2 == 0 ? 40 : w.payload.n)] = (uint8_t)(rng() % 3 == 0 ? 0xff : rng());
      (void)!hostile(&w, copy, 1 + (rng() % 4 == 0 ? rng() % w.payload.n : w.payload.n - 1));
    }
    bc_free(copy);
    drop(&w);
  }
}

Test(tile, mutated_heads_never_reach_outside)
{
  static const bc_codec_mode modes[] = { BC_MODE_AUTO, BC_MODE_RAW };

  for (size_t m = 0; m < BC_ARRAY_LEN(modes); m++) {
    world w;
    uint8_t *copy, *dst = bc_malloc(16u << 20);
    one_block(&w, BC_MODE_AUTO);
    w.opts.mode = modes[m];
    encode(&w);
    copy = bc_malloc(w.head.n);
    rng_state = 271828;
    for (int i = 0; i < 20000; i++) {
      bc_tile_head h;
      memcpy(copy, w.head.p, w.head.n);
      for (uint32_t k = 0; k < 1 + rng() % 4; k++)
        copy[(rng() % 2 == 0 ? 32 : 0) + rng() % 96] = (uint8_t)(rng() % 2 == 0 ? rng() % 8 : rng());
      seal(copy, w.head.n);
      if (bc_tile_head_parse((bc_bytes){ copy, w.head.n }, &h, &w.err) != BC_OK) continue;
      for (uint32_t b = 0; b < h.n_blocks; b++) {
        bc_block_place at;
        bc_tile_block(&h, b, &at);
        (void)!bc_tile_read(w.d, &h, (bc_bytes){ w.payload.p, w.payload.n }, b, (bc_pick){ 0, at.nt, 1 },
                            (bc_pick){ 0, at.ny, 1 }, (bc_pick){ 0, at.nx, 1 }, dst,
                            (ptrdiff_t)(at.ny * at.nx * bc_dtype_size(h.dtype)),
                            (ptrdiff_t)(at.nx * bc_dtype_size(h.dtype)), &w.err);
      }
    }
    bc_free(copy);
    bc_free(dst);
    drop(&w);
  }
}

/* A raw tile of doubles, made by hand: the reader knows every dtype. */
Test(tile, raw_tiles_of_other_types_are_read)
{
  world w;
  double out[6], want[6];

  make_kind(&w, NOISE, 1, 1, 3, 4);
  w.opts.mode = BC_MODE_RAW;
  encode(&w);
  w.head.p[BC_TH_DTYPE_OFF] = BC_F64; /* 3 x 4 floats are 3 x 2 doubles */
  bc_put_le32(w.head.p + BC_TH_NX_OFF, 2);
  bc_put_le32(w.head.p + BC_TH_BX_OFF, 2);
  bc_put_le64(w.head.p + (w.h.stats - w.head.p), 6);
  bc_put_le64(w.head.p + (w.h.stats - w.head.p) + 8, 0);
  seal(w.head.p, w.head.n);
  cr_assert_eq(bc_tile_head_parse((bc_bytes){ w.head.p, w.head.n }, &w.h, &w.err), BC_OK, "%s", w.err.msg);
  cr_assert_eq(bc_tile_read(w.d, &w.h, (bc_bytes){ w.payload.p, w.payload.n }, 0, (bc_pick){ 0, 1, 1 },
                            (bc_pick){ 0, 3, 1 }, (bc_pick){ 0, 2, 1 }, out, 48, 16, &w.err),
               BC_OK);
  memcpy(want, w.want, sizeof want);
  cr_assert(memcmp(out, want, sizeof out) == 0);
  drop(&w);
}

/* ---- memory ---- */

static bool fail_at(void *ctx) { return (*(int *)ctx)-- == 0; }

/* Everything once with the n-th allocation failing. */
static bc_status with_failure(world *w, int n, float *out)
{
  bc_encoder *e = NULL;
  bc_decoder *d = NULL;
  bc_buf head = bc_buf_empty(1 << 20), payload = bc_buf_empty(1 << 20);
  bc_status st;

  bc_alloc_set_hook(fail_at, &n);
  BC_TRY(bc_encoder_open(&e, &w->err));
  BC_TRY(bc_decoder_open(&d, &w->err));
  BC_TRY(bc_tile_encode(e, &w->in, &w->opts, &head, &payload, &w->err));
  BC_TRY(bc_tile_read(d, &w->h, (bc_bytes){ w->payload.p, w->payload.n }, 0, (bc_pick){ 0, 5, 1 },
                      (bc_pick){ 0, 10, 2 }, (bc_pick){ 0, 10, 2 }, out, 400, 40, &w->err));
out:
  bc_alloc_set_hook(NULL, NULL);
  bc_encoder_close(e);
  bc_decoder_close(d);
  bc_buf_dispose(&head);
  bc_buf_dispose(&payload);
  return st;
}

Test(tile, allocation_failures_are_reported)
{
  static const kind kinds[] = { GRIB_HOLES, SPECIALS };

  for (size_t i = 0; i < BC_ARRAY_LEN(kinds); i++) {
    world w;
    float out[500];
    int n = 0;
    make_kind(&w, kinds[i], 5, 1, 20, 20);
    w.opts.mode = kinds[i] == SPECIALS ? BC_MODE_ZSTD : BC_MODE_AUTO;
    encode(&w);
    while (with_failure(&w, n, out) != BC_OK) {
      cr_assert_eq(w.err.code, BC_E_NOMEM, "allocation %d: %s", n, w.err.msg);
      n++;
      cr_assert_lt(n, 200);
    }
    cr_assert_gt(n, 10);
    drop(&w);
  }
}

Test(tile, memory_of_an_encoder_is_bounded)
{
  cr_assert_geq(bc_encoder_memory(1), 1u << 20);
  cr_assert_leq(bc_encoder_memory(UINT64_MAX), 64u << 20);
}
