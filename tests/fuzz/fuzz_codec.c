/*
 * Codecs, each without the tile around it, and the way back: what the encoder makes of any float must decode
 * to the same bits.
 *
 * Input: kind, then its parameters, then its bytes.
 */
#include <math.h>

#include "fuzz.h"
#include "store/linear16.h"
#include "store/tile.h"

static bc_zstd *g_zstd;
static bc_encoder *g_encoder;
static bc_decoder *g_decoder;

/* What was picked must be what decoding all of the block gives in that place. */
static void check_picks(bc_bytes src, const bc_taking *picked, const float *got)
{
  bc_err err = { 0 };
  bc_lin16_scratch scratch = { 0 };
  bc_taking k = *picked;
  float *all = malloc((size_t)k.nt * k.ny * k.nx * sizeof *all);
  FUZZ_CHECK(all != NULL);
  k.t = (bc_pick){ 0, k.nt, 1 };
  k.y = (bc_pick){ 0, k.ny, 1 };
  k.x = (bc_pick){ 0, k.nx, 1 };
  k.y_stride = (ptrdiff_t)(k.nx * sizeof(float));
  k.t_stride = k.y_stride * (ptrdiff_t)k.ny;
  k.dst = (uint8_t *)all;
  if (FUZZ(bc_lin16_decode(g_zstd, &scratch, src, &k, &err)) == BC_OK)
    for (size_t i = 0; i < (size_t)picked->t.n * picked->y.n * picked->x.n; i++) {
      const size_t t = picked->t.first + i / picked->x.n / picked->y.n * picked->t.step;
      const size_t y = picked->y.first + i / picked->x.n % picked->y.n * picked->y.step;
      const size_t x = picked->x.first + i % picked->x.n * picked->x.step;
      FUZZ_CHECK(memcmp(&got[i], &all[(t * k.ny + y) * k.nx + x], sizeof *got) == 0);
    }
  bc_lin16_scratch_dispose(&scratch);
  free(all);
}

/* linear16: block shape, picks, bytes */
static void try_linear16(fuzz_in in)
{
  static bc_lin16_scratch used;
  bc_err err = { 0 };
  const uint32_t nt = 1 + fuzz_u8(&in) % 48, ny = 1 + fuzz_u8(&in) % 64, nx = 1 + fuzz_u8(&in) % 64;
  const bc_pick t = { fuzz_u8(&in) % nt, 1, 1 }, y = { 0, ny, 1 };
  bc_taking k = { .nt = nt, .ny = ny, .nx = nx, .t = { 0, nt, 1 }, .y = y, .x = { 0, nx, 1 } };
  const uint8_t way = fuzz_u8(&in);
  if (way & 1) k.t = t;
  if (way & 2) k.x = (bc_pick){ 0, (nx - 1) / 3 + 1, nx > 1 ? 3 : 1 };
  if (way & 4) k.y = (bc_pick){ ny - 1, 1, 1 };
  const size_t n = (size_t)k.t.n * k.y.n * k.x.n;
  float *one = malloc(n * sizeof *one), *two = malloc(n * sizeof *two);
  uint8_t *src = fuzz_copy(in.p, in.n);
  bc_lin16_scratch fresh = { 0 };
  FUZZ_CHECK(one != NULL && two != NULL);
  memset(two, 0xff, n * sizeof *two);
  k.y_stride = (ptrdiff_t)(k.x.n * sizeof(float));
  k.t_stride = k.y_stride * (ptrdiff_t)k.y.n;
  k.dst = (uint8_t *)one;
  const bc_status st = FUZZ(bc_lin16_decode(g_zstd, &fresh, (bc_bytes){ src, in.n }, &k, &err));
  k.dst = (uint8_t *)two;
  FUZZ_CHECK(bc_lin16_decode(g_zstd, &used, (bc_bytes){ src, in.n }, &k, &err) == st);
  FUZZ_CHECK(st != BC_OK || memcmp(one, two, n * sizeof *one) == 0);
  if (st == BC_OK) check_picks((bc_bytes){ src, in.n }, &k, one);
  bc_lin16_scratch_dispose(&fresh);
  free(one);
  free(two);
  free(src);
}

static void try_planes(fuzz_in in)
{
  static const size_t sizes[4] = { 1, 2, 4, 8 };
  bc_err err = { 0 };
  const size_t elem = sizes[fuzz_u8(&in) % 4], n = 1 + fuzz_u16(&in) % 20000;
  bc_scratch scratch = { NULL, 0 };
  const uint8_t *planes[8] = { NULL };
  uint8_t *src = fuzz_copy(in.p, in.n), *out = malloc(n * elem);
  FUZZ_CHECK(out != NULL);
  if (FUZZ(bc_planes_decode(g_zstd, (bc_bytes){ src, in.n }, n, elem, &scratch, planes, &err)) == BC_OK)
    bc_planes_merge(planes, elem, 0, n, out);
  bc_scratch_dispose(&scratch);
  free(src);
  free(out);
}

static void try_zstd(fuzz_in in)
{
  bc_err err = { 0 };
  const size_t n = fuzz_u16(&in);
  uint8_t *src = fuzz_copy(in.p, in.n), *out = malloc(n + 1);
  FUZZ_CHECK(out != NULL);
  (void)FUZZ(bc_zstd_decode(g_zstd, (bc_bytes){ src, in.n }, out, n, &err));
  free(src);
  free(out);
}

static void try_shuffle(fuzz_in in)
{
  static const size_t sizes[4] = { 1, 2, 4, 8 };
  const size_t elem = sizes[fuzz_u8(&in) % 4], n = in.n / elem;
  uint8_t *src = fuzz_copy(in.p, n * elem), *mid = fuzz_copy(in.p, n * elem), *back = malloc(n * elem + 1);
  bc_err err = { 0 };
  bc_buf out = bc_buf_empty((size_t)1 << 24);
  bc_scratch scratch = { NULL, 0 };
  const uint8_t *planes[8] = { NULL };
  FUZZ_CHECK(back != NULL);
  bc_shuffle(src, mid, n, elem);
  bc_unshuffle(mid, back, n, elem);
  FUZZ_CHECK(n == 0 || memcmp(src, back, n * elem) == 0);
  if (n > 0) {
    FUZZ_CHECK(bc_planes_encode(g_zstd, 3, mid, n, elem, &out, &err) == BC_OK);
    FUZZ_CHECK(bc_planes_decode(g_zstd, (bc_bytes){ out.p, out.n }, n, elem, &scratch, planes, &err) ==
               BC_OK);
    bc_planes_merge(planes, elem, 0, n, back);
    FUZZ_CHECK(memcmp(src, back, n * elem) == 0);
  }
  bc_buf_dispose(&out);
  bc_scratch_dispose(&scratch);
  free(src);
  free(mid);
  free(back);
}

/* The values as given, or as the encoder was told to change them. */
static bool same_value(float in, float out, double precision)
{
  const float want = precision > 0 ? bc_round_to_precision(in, precision) : in;
  return memcmp(&want, &out, sizeof want) == 0;
}

static float unpack(int16_t q, const bc_packing *p)
{
  if (p->has_fill && q == p->fill) return NAN;
  return (float)((double)q * p->scale + p->offset);
}

static void check_values(const bc_tile_head *h, bc_bytes payload, const bc_tile_in *in, double precision)
{
  const uint32_t blocks = h->codec == BC_CODEC_CONST ? h->nl : h->n_blocks;
  bc_err err = { 0 };
  for (uint32_t b = 0; b < blocks; b++) {
    bc_block_place at;
    bc_tile_block(h, b, &at);
    const size_t n = (size_t)at.nt * at.ny * at.nx;
    float *v = malloc(n * sizeof *v);
    FUZZ_CHECK(v != NULL);
    FUZZ_CHECK(bc_tile_read(g_decoder, h, payload, b, (bc_pick){ 0, at.nt, 1 }, (bc_pick){ 0, at.ny, 1 },
                            (bc_pick){ 0, at.nx, 1 }, v, (ptrdiff_t)(4u * at.ny * at.nx),
                            (ptrdiff_t)(4u * at.nx), &err) == BC_OK);
    for (size_t i = 0; i < n; i++) {
      const size_t t = at.t0 + i / (at.ny * at.nx), y = at.y0 + i / at.nx % at.ny, x = at.x0 + i % at.nx;
      const size_t k = ((t * in->nl + at.l) * in->ny + y) * in->nx + x;
      if (in->dtype == BC_F32) {
        FUZZ_CHECK(same_value(((const float *)in->values)[k], v[i], precision));
      } else {
        const float want = unpack(((const int16_t *)in->values)[k], &in->packing[t]);
        FUZZ_CHECK(precision > 0 || (isnan(want) ? isnan(v[i]) : memcmp(&want, &v[i], sizeof want) == 0));
      }
    }
    free(v);
  }
}

static double hostile_double(fuzz_in *in)
{
  double d;
  uint64_t bits = fuzz_u32(in);
  bits |= (uint64_t)fuzz_u32(in) << 32;
  memcpy(&d, &bits, sizeof d);
  return isfinite(d) ? d : 1; /* a reader refuses others: cf_unpack.c */
}

static void try_encode(fuzz_in in)
{
  static const double precisions[4] = { 0, 0, 0.01, 1e-30 };
  bc_err err = { 0 };
  bc_packing packing[16];
  int64_t times[16];
  const uint16_t levels[2] = { 0, 1 };
  const uint8_t way = fuzz_u8(&in);
  const bool packed = (way & 1) != 0;
  const size_t elem = packed ? 2 : 4;
  bc_codec_opts o = { .mode = (bc_codec_mode)(way >> 1 & 3),
                      .precision = packed ? 0 : precisions[way >> 3 & 3] };
  bc_tile_in t = { .layout = (bc_layout)((way >> 5) % 3),
                   .cell_ny = 64,
                   .cell_nx = 64,
                   .times = times,
                   .levels = levels,
                   .dtype = packed ? BC_I16 : BC_F32,
                   .packing = packed ? packing : NULL };
  if (o.mode > BC_MODE_ZSTD) o.mode = BC_MODE_AUTO;
  t.nt = 1 + fuzz_u8(&in) % 16;
  t.nl = 1 + fuzz_u8(&in) % 2;
  t.nx = 1 + fuzz_u8(&in) % 64;
  const int64_t step = 1 + fuzz_u16(&in);
  for (uint32_t i = 0; i < t.nt; i++) {
    times[i] = i * step + (i > 3 && (way & 0x80));
    packing[i] = (bc_packing){ 1, 0, false, 0 };
  }
  for (uint32_t i = 0; packed && i < t.nt && i < 2; i++)
    packing[i] = (bc_packing){ hostile_double(&in), hostile_double(&in), i == 0, (int16_t)fuzz_u16(&in) };
  const size_t values = in.n / elem / ((size_t)t.nt * t.nl * t.nx);
  t.ny = (uint32_t)BC_MIN(values, 64);
  if (t.ny == 0) return;
  uint8_t *v = fuzz_copy(in.p, (size_t)t.nt * t.nl * t.ny * t.nx * elem);
  t.values = v;
  t.y_stride = (ptrdiff_t)(t.nx * elem);
  t.l_stride = t.y_stride * (ptrdiff_t)t.ny;
  t.t_stride = t.l_stride * (ptrdiff_t)t.nl;
  bc_buf head = bc_buf_empty((size_t)1 << 24), payload = bc_buf_empty((size_t)1 << 26);
  bc_tile_head h;
  if (FUZZ(bc_tile_encode(g_encoder, &t, &o, &head, &payload, &err)) == BC_OK) {
    FUZZ_CHECK(bc_tile_head_parse((bc_bytes){ head.p, head.n }, &h, &err) == BC_OK);
    FUZZ_CHECK(h.payload_bytes == payload.n);
    check_values(&h, (bc_bytes){ payload.p, payload.n }, &t, o.precision);
  }
  bc_buf_dispose(&head);
  bc_buf_dispose(&payload);
  free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static void (*const tries[])(fuzz_in) = { try_linear16, try_planes, try_zstd, try_shuffle, try_encode };
  fuzz_in in = { data, size };
  bc_err err = { 0 };
  if (g_zstd == NULL)
    FUZZ_CHECK(bc_zstd_open(&g_zstd, &err) == BC_OK && bc_encoder_open(&g_encoder, &err) == BC_OK &&
               bc_decoder_open(&g_decoder, &err) == BC_OK);
  const uint8_t kind = fuzz_u8(&in);
  tries[kind % BC_ARRAY_LEN(tries)](in);
  return 0;
}
