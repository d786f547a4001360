/*
 * Test vectors of docs/format.md, tests/golden: tiles of every codec and layout, a segment, keys and records.
 * They are made again and compared byte for byte, and decoded from the stored files. BC_GOLDEN=write stores
 * them anew: tests/golden/make.
 *
 * What zstd compresses may come out otherwise with another version of it: then only decoding is compared.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/commit.h"
#include "store/schema_io.h"
#include "store/segment.h"
#include "store/store_int.h"

#define OK(expr) cr_assert_eq((expr), BC_OK, "%s: %s", #expr, err.msg)
#define MARCH    INT64_C(1551398400) /* 2019-03-01 */

static const uint8_t k_uuid[16] = { 0x3f, 0x2b, 0x8c, 0x1e, 0x5d, 0x1a, 0x4f, 0x60,
                                    0x9f, 0x0e, 0x0a, 0x9b, 0x6a, 0x3c, 0x7d, 0x11 };

/* ---- files ---- */

static char *folder(void)
{
  char *at = bc_strdup(__FILE__);
  char *slash = strrchr(at, '/');
  cr_assert_not_null(slash, "%s", at);
  *slash = '\0';
  char *p = bc_asprintf("%s/../golden", at);
  bc_free(at);
  return p;
}

static char *in(const char *name, const char *suffix)
{
  char *f = folder(), *p = bc_asprintf("%s/%s%s", f, name, suffix);
  bc_free(f);
  return p;
}

static bool writing(void)
{
  const char *w = getenv("BC_GOLDEN");
  return w != NULL && strcmp(w, "write") == 0;
}

static bc_buf stored(const char *name, const char *suffix)
{
  bc_err err = { 0 };
  bc_buf b = bc_buf_empty(1 << 24);
  char *path = in(name, suffix);
  OK(bc_os_read_file(path, 1 << 24, &b, &err));
  bc_free(path);
  return b;
}

static void store_file(const char *name, const char *suffix, const void *p, size_t n)
{
  char *path = in(name, suffix);
  FILE *fp = fopen(path, "wb");
  cr_assert_not_null(fp, "%s", path);
  cr_assert(n == 0 || fwrite(p, 1, n, fp) == n);
  (void)fclose(fp);
  bc_free(path);
}

/* The line of bc_version_details that names zstd. */
static void zstd_version(char out[64])
{
  const char *p = strstr(bc_version_details(), "libzstd");
  cr_assert_not_null(p);
  const size_t n = strcspn(p, "\n");
  (void)snprintf(out, 64, "%.*s\n", (int)n, p);
}

static bool same_zstd(void)
{
  char now[64];
  zstd_version(now);
  bc_buf b = stored("zstd", ".txt");
  const bool same = b.n == strlen(now) && memcmp(b.p, now, b.n) == 0;
  bc_buf_dispose(&b);
  return same;
}

static void same(const char *name, const char *suffix, const void *p, size_t n)
{
  if (writing()) {
    store_file(name, suffix, p, n);
    return;
  }
  bc_buf b = stored(name, suffix);
  cr_expect_eq(b.n, n, "%s%s: %zu bytes are stored, %zu come out", name, suffix, b.n, n);
  size_t i = 0;
  while (i < n && i < b.n && b.p[i] == ((const uint8_t *)p)[i])
    i++;
  cr_expect_eq(i, n, "%s%s differs from byte %zu on", name, suffix, i);
  bc_buf_dispose(&b);
}

/* ---- tiles ---- */

enum { NT = 6, NL = 2, NY = 11, NX = 13, N = NT * NL * NY * NX };

typedef struct vector {
  const char *name;
  bc_layout layout;
  bc_codec_opts opts;
  bool compressed; /* by zstd, here or there */
  bool irregular;
  bool packed;
  bc_codec codec; /* what it has to become */
  int kind;       /* of values */
} vector;

static const vector k_tiles[] = {
  { "raw", BC_LAYOUT_BALANCED, { .mode = BC_MODE_RAW }, false, false, false, BC_CODEC_RAW, 0 },
  { "constant", BC_LAYOUT_BALANCED, { .mode = BC_MODE_AUTO }, false, false, false, BC_CODEC_CONST, 1 },
  { "shuffle", BC_LAYOUT_MAP, { .mode = BC_MODE_ZSTD, .level = 3 }, true, false, false, BC_CODEC_SHUFFLE, 0 },
  { "noise", BC_LAYOUT_SERIES, { .mode = BC_MODE_AUTO }, true, true, false, BC_CODEC_SHUFFLE, 2 },
  { "linear16", BC_LAYOUT_MAP, { .mode = BC_MODE_AUTO }, true, false, false, BC_CODEC_LINEAR16, 0 },
  { "linear16-series", BC_LAYOUT_SERIES, { .mode = BC_MODE_AUTO }, true, true, false, BC_CODEC_LINEAR16, 3 },
  { "packed", BC_LAYOUT_BALANCED, { .mode = BC_MODE_AUTO }, true, false, true, BC_CODEC_LINEAR16, 0 },
};

static uint32_t mix(uint32_t x)
{
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ x >> 16;
}

/* Smooth and quantised, with some missing; one value; noise with all kinds of NaN and zero; smooth, whole. */
static float value(int kind, int t, int l, int y, int x)
{
  const uint32_t bits[] = { 0x80000000u, 0x7fc00001u, 0x7f800000u, 0xff800000u, 0x00000001u };
  const uint32_t n = mix((uint32_t)(((t * NL + l) * NY + y) * NX + x));
  float v = 0;
  if (kind == 1) return -1.5f;
  if (kind == 2) {
    const uint32_t b = n % 17 < 5 ? bits[n % 17] : (n & 0x3fffffffu) | 0x3f000000u;
    memcpy(&v, &b, sizeof v);
    return v;
  }
  if (kind == 0 && n % 23 == 0) return NAN;
  return 250.0f + 10.0f * (float)l + (float)(40 * t + 17 * y + 9 * x + (int)(n % 3)) * 0.0078125f;
}

static int16_t packed_value(int t, int l, int y, int x)
{
  const uint32_t n = mix((uint32_t)(((t * NL + l) * NY + y) * NX + x));
  return n % 29 == 0 ? (int16_t)-32767 : (int16_t)(-3000 + 100 * l + 40 * t + 17 * y + 9 * x + (int)(n % 3));
}

static const bc_packing k_packing = { .scale = 0.0015, .offset = 271.25, .has_fill = true, .fill = -32767 };

typedef struct source_of {
  float f[N];
  int16_t i[N];
  int64_t times[NT];
  bc_packing packing[NT];
} source_of;

static void fill(const vector *v, source_of *s)
{
  int at = 0;
  for (int t = 0; t < NT; t++) {
    s->times[t] = MARCH + 3600 * (int64_t)t + (v->irregular && t > 3 ? 1800 : 0);
    s->packing[t] = k_packing;
    for (int l = 0; l < NL; l++)
      for (int y = 0; y < NY; y++)
        for (int x = 0; x < NX; x++, at++) {
          s->f[at] = value(v->kind, t, l, y, x);
          s->i[at] = packed_value(t, l, y, x);
        }
  }
}

/* What the document says of packed integers, in its words: q = integer + 32768, bias = -32768. */
static float unpacked(int16_t i)
{
  if (i == k_packing.fill) return NAN;
  return (float)((double)i * k_packing.scale + k_packing.offset);
}

static void encode(const vector *v, const source_of *s, bc_buf *head, bc_buf *payload)
{
  static const uint16_t levels[NL] = { 1, 0 };
  static const uint32_t sources[] = { 3, 7 };
  bc_err err = { 0 };
  bc_encoder *e = NULL;
  const size_t elem = v->packed ? sizeof *s->i : sizeof *s->f;
  const bc_tile_in t = { .key = { 77, MARCH, 5, 2 },
                         .layout = v->layout,
                         .y0 = 3,
                         .x0 = 2,
                         .ny = NY,
                         .nx = NX,
                         .cell_ny = 64,
                         .cell_nx = 64,
                         .nt = NT,
                         .nl = NL,
                         .times = s->times,
                         .levels = levels,
                         .sources = sources,
                         .n_sources = 2,
                         .dtype = v->packed ? BC_I16 : BC_F32,
                         .values = v->packed ? (const void *)s->i : (const void *)s->f,
                         .t_stride = (ptrdiff_t)(NL * NY * NX * elem),
                         .l_stride = (ptrdiff_t)(NY * NX * elem),
                         .y_stride = (ptrdiff_t)(NX * elem),
                         .packing = v->packed ? s->packing : NULL };
  OK(bc_encoder_open(&e, &err));
  OK(bc_tile_encode(e, &t, &v->opts, head, payload, &err));
  bc_encoder_close(e);
}

static void decode(bc_bytes head, bc_bytes payload, bc_codec codec, float *out)
{
  bc_err err = { 0 };
  bc_tile_head h;
  bc_decoder *d = NULL;
  OK(bc_tile_head_parse(head, &h, &err));
  cr_expect_eq(h.codec, codec, "codec %d", (int)h.codec);
  cr_assert(h.nt == NT && h.nl == NL && h.ny == NY && h.nx == NX);
  OK(bc_decoder_open(&d, &err));
  for (uint32_t b = 0; b < (h.codec == BC_CODEC_CONST ? h.nl : h.n_blocks); b++) {
    bc_block_place at;
    bc_tile_block(&h, b, &at);
    OK(bc_tile_read(d, &h, payload, b, (bc_pick){ 0, at.nt, 1 }, (bc_pick){ 0, at.ny, 1 },
                    (bc_pick){ 0, at.nx, 1 }, out + ((at.t0 * NL + at.l) * NY + at.y0) * NX + at.x0,
                    NL * NY * NX * 4, NX * 4, &err));
  }
  bc_decoder_close(d);
}

static void check_vector(const vector *v)
{
  static source_of s;
  static float want[N], got[N];
  bc_buf head = bc_buf_empty(1 << 20), payload = bc_buf_empty(1 << 24);
  fill(v, &s);
  for (int i = 0; i < N; i++)
    want[i] = v->packed ? unpacked(s.i[i]) : s.f[i];
  same(v->name, ".values", want, sizeof want);
  encode(v, &s, &head, &payload);
  if (writing() || !v->compressed || same_zstd()) {
    same(v->name, ".head", head.p, head.n);
    same(v->name, ".payload", payload.p, payload.n);
  } else {
    (void)fprintf(stderr, "golden: %s is only decoded: another zstd\n", v->name);
  }
  bc_buf h = stored(v->name, ".head"), p = stored(v->name, ".payload");
  decode((bc_bytes){ h.p, h.n }, (bc_bytes){ p.p, p.n }, v->codec, got);
  cr_expect_eq(memcmp(want, got, sizeof want), 0, "%s: values", v->name);
  bc_buf_dispose(&h);
  bc_buf_dispose(&p);
  bc_buf_dispose(&head);
  bc_buf_dispose(&payload);
}

Test(golden, tiles)
{
  if (writing()) {
    char text[64];
    zstd_version(text);
    store_file("zstd", ".txt", text, strlen(text));
  }
  for (size_t i = 0; i < BC_ARRAY_LEN(k_tiles); i++)
    check_vector(&k_tiles[i]);
}

/* ---- records ---- */

static bc_grid grid(void)
{
  bc_err err = { 0 };
  bc_grid g;
  OK(bc_grid_named("wgs84-2p5", &g, &err));
  return g;
}

static bc_modality modality(void)
{
  bc_err err = { 0 };
  bc_modality m = { .id = 5,
                    .dtype = BC_F32,
                    .bucket = BC_BUCKET_MONTH,
                    .layout = { BC_LAYOUT_BALANCED, BC_LAYOUT_NONE },
                    .cadence = 3600,
                    .n_levels = 2,
                    .levels = { 850, 500 } };
  (void)bc_copy_text(m.group, sizeof m.group, "atmospheric");
  (void)bc_copy_text(m.name, sizeof m.name, "t");
  (void)bc_copy_text(m.units, sizeof m.units, "K");
  (void)bc_copy_text(m.level_units, sizeof m.level_units, "hPa");
  OK(bc_modality_set_attr(&m, "long_name", "Temperature", false, &err));
  OK(bc_modality_set_attr(&m, "valid_min", "100", true, &err));
  return m;
}

static bc_source_rec source(void)
{
  bc_source_rec s = {
    .id = 7, .bytes = 123456, .ingested = 1763683200, .done = true, .next_var = 1, .next_step = 9, .order = 7
  };
  for (int i = 0; i < 16; i++)
    s.hash[i] = (uint8_t)(0xa0 + i);
  (void)bc_copy_text(s.name, sizeof s.name, "t_2019-03.nc");
  (void)bc_copy_text(s.request, sizeof s.request, "group=atmospheric");
  return s;
}

static bc_tile_rec record(void)
{
  return (bc_tile_rec){ .head_segment = 9,
                        .segment = 4,
                        .offset = 64,
                        .stored = 1000,
                        .decoded = 4096,
                        .hash = UINT64_C(0x0123456789abcdef),
                        .head_offset = 8192,
                        .head_bytes = 304,
                        .n_steps = 6,
                        .first = 3600,
                        .last = 21600,
                        .codec = BC_CODEC_LINEAR16,
                        .n_valid = 1000,
                        .n_missing = 24,
                        .n_absent = 7,
                        .min = -1.5,
                        .max = 2.5,
                        .sum = 10,
                        .sumsq = 100.25 };
}

static void put_hex(bc_buf *out, const char *what, const uint8_t *p, size_t n)
{
  bc_err err = { 0 };
  OK(bc_buf_printf(out, &err, "%s ", what));
  for (size_t i = 0; i < n; i++)
    OK(bc_buf_printf(out, &err, "%02x", p[i]));
  OK(bc_buf_printf(out, &err, "\n"));
}

static void put_key(bc_buf *out, const bc_tile_key *k)
{
  uint8_t b[BC_TILE_KEY_BYTES];
  char what[96];
  bc_err err = { 0 };
  bc_tile_key back;
  bc_tile_key_put(k, b);
  OK(bc_tile_key_get((bc_bytes){ b, sizeof b }, &back, &err));
  cr_expect(bc_tile_key_equal(k, &back));
  (void)snprintf(what, sizeof what, "key %" PRIu32 " %" PRId64 " %d %d", k->cell, k->time, k->modality,
                 k->part);
  put_hex(out, what, b, sizeof b);
}

Test(golden, keys_and_records)
{
  bc_err err = { 0 };
  bc_buf out = bc_buf_empty(1 << 20), b = bc_buf_empty(1 << 16);
  uint8_t rec[BC_TILE_REC_BYTES];
  const bc_tile_key keys[] = { { 0, INT64_MIN, 0, 0 },
                               { 1, -86400, 2, 3 },
                               { 77, MARCH, 5, 0x8002 },
                               { UINT32_MAX, INT64_MAX, UINT16_MAX, UINT16_MAX } };
  for (size_t i = 0; i < BC_ARRAY_LEN(keys); i++)
    put_key(&out, &keys[i]);
  const bc_tile_rec r = record();
  bc_tile_rec_put(&r, rec);
  put_hex(&out, "record", rec, sizeof rec);
  const bc_grid g = grid();
  OK(bc_grid_encode(&g, &b, &err));
  put_hex(&out, "grid", b.p, b.n);
  b.n = 0;
  bc_modality m = modality();
  OK(bc_modality_encode(&m, &b, &err));
  put_hex(&out, "modality", b.p, b.n);
  b.n = 0;
  bc_source_rec s = source();
  OK(bc_source_encode(&s, &b, &err));
  put_hex(&out, "source", b.p, b.n);
  b.n = 0;
  s.order = 11;
  OK(bc_source_encode(&s, &b, &err));
  put_hex(&out, "source-again", b.p, b.n);
  b.n = 0;
  bc_usage u;
  bc_usage_init(&u);
  bc_usage_add(&u, &r, MARCH, MARCH + 5 * 3600);
  OK(bc_usage_encode(&u, &b, &err));
  put_hex(&out, "usage", b.p, b.n);
  same("records", ".txt", out.p, out.n);
  bc_modality_dispose(&m);
  bc_buf_dispose(&b);
  bc_buf_dispose(&out);
}

/* ---- a segment ---- */

static bc_buf commit_record(void)
{
  bc_err err = { 0 };
  bc_buf out = bc_buf_empty(1 << 20);
  const bc_grid g = grid();
  bc_modality m = modality();
  const bc_modality *list[] = { &m };
  const bc_source_rec s = source();
  const bc_tile_key drop = { 77, MARCH, 5, 0 };
  const uint32_t retired = 3;
  const bc_run live[] = { { 1, 2 }, { 4, 2 } };
  const bc_commit c = { .snapshot = 4,
                        .grids = &g,
                        .n_grids = 1,
                        .modalities = list,
                        .n_modalities = 1,
                        .sources = &s,
                        .n_sources = 1,
                        .drops = &drop,
                        .n_drops = 1,
                        .retired = &retired,
                        .n_retired = 1,
                        .flags = BC_COMMIT_RECOUNT,
                        .live = live,
                        .n_live = 2 };
  OK(bc_commit_encode(&c, &out, &err));
  bc_modality_dispose(&m);
  return out;
}

static void add_tile(bc_segw *w, const char *name)
{
  bc_err err = { 0 };
  bc_buf h = stored(name, ".head"), p = stored(name, ".payload");
  OK(bc_segw_add(w, (bc_bytes){ h.p, h.n }, (bc_bytes){ p.p, p.n }, NULL, &err));
  bc_buf_dispose(&h);
  bc_buf_dispose(&p);
}

static bc_status count_tile(void *ctx, const bc_tile_rec *rec, bc_bytes head, bc_err *err)
{
  int *n = ctx;
  (void)rec;
  (void)head;
  (void)err;
  ++*n;
  return BC_OK;
}

/* Of the stored tiles, so that it is the same with any zstd. */
Test(golden, segment)
{
  bc_err err = { 0 };
  bc_segw *w = NULL;
  bc_segment *seg = NULL;
  int n = 0;
  char dir[] = "/tmp/bc-golden-XXXXXX";
  cr_assert_not_null(mkdtemp(dir));
  bc_buf record_ = commit_record();
  OK(bc_segw_open(dir, 5, k_uuid, &w, &err));
  add_tile(w, "packed");
  add_tile(w, "constant");
  add_tile(w, "raw");
  OK(bc_segw_finish(w, (bc_bytes){ record_.p, record_.n }, &err));
  bc_segw_close(w);
  bc_buf made = bc_buf_empty(1 << 24);
  char *path = bc_asprintf("%s/0000000005.seg", dir), *here = folder();
  OK(bc_os_read_file(path, 1 << 24, &made, &err));
  same("0000000005", ".seg", made.p, made.n);
  OK(bc_segment_open(here, 5, k_uuid, true, &seg, &err));
  OK(bc_segment_each(seg, count_tile, &n, &err));
  OK(bc_segment_check_gaps(seg, &err));
  cr_expect_eq(n, 3);
  bc_segment_unref(seg);
  bc_os_remove_tree(dir);
  bc_buf_dispose(&made);
  bc_buf_dispose(&record_);
  bc_free(path);
  bc_free(here);
}
