/*
 * Writes the first inputs of the fuzz targets: sound files, tiles, records and texts, made by the writers of
 * this very version. usage: seeds FOLDER (its sub-folders are named after the targets)
 */
#include <math.h>

#include <netcdf.h>
#include <zip.h>

#include "store/linear16.h"
#include "store/schema_io.h"
#include "store/snapshot.h"
#include "world.h"

static const char *g_root;

static void put_parts(const char *target, const char *name, const bc_bytes *part, size_t n)
{
  char path[512];
  bc_err err = { 0 };
  bc_buf b = bc_buf_empty((size_t)1 << 24);
  (void)snprintf(path, sizeof path, "%s/%s", g_root, target);
  (void)mkdir(path, 0777);
  (void)snprintf(path, sizeof path, "%s/%s/seed-%s", g_root, target, name);
  for (size_t i = 0; i < n; i++)
    FUZZ_CHECK(bc_buf_put(&b, part[i].p, part[i].n, &err) == BC_OK);
  fuzz_write(path, b.p, b.n);
  bc_buf_dispose(&b);
}

static void put(const char *target, const char *name, uint8_t control, bc_bytes rest)
{
  put_parts(target, name, (bc_bytes[]){ { &control, 1 }, rest }, 2);
}

static void put_text(const char *target, const char *name, uint8_t control, const char *text)
{
  put(target, name, control, (bc_bytes){ (const uint8_t *)text, strlen(text) });
}

static bc_bytes bytes_of(const bc_buf *b) { return (bc_bytes){ b->p, b->n }; }

/* ---- values ---- */

enum { NY = 8, NX = 8, MAX_T = 48 };

/* kind 0: k * 2^-6 + 250 (GRIB-like), 1: any bits, 2: one value, 3: with holes */
static void fill_values(float *v, size_t n, int kind)
{
  uint32_t state = 12345;
  for (size_t i = 0; i < n; i++) {
    state = state * 1664525u + 1013904223u;
    v[i] = 250.0f + (float)(i % 64 + (state >> 28)) / 64.0f;
    if (kind == 1) v[i] = (float)state * 1.1e-7f;
    if (kind == 2) v[i] = 1.5f;
    if (kind == 3 && i % 7 == 3) v[i] = NAN;
  }
}

typedef struct shape {
  uint32_t nt, nl;
  bc_layout layout;
  int kind;
  bc_codec_mode mode;
  bool irregular;
} shape;

static void encode(bc_encoder *e, const shape *s, const bc_tile_key *key, bc_buf *head, bc_buf *payload)
{
  static float v[MAX_T * 2 * NY * NX];
  bc_err err = { 0 };
  int64_t times[MAX_T];
  const uint16_t levels[2] = { 0, 1 };
  const uint32_t source = 0;
  const bc_codec_opts o = { .mode = s->mode };
  fill_values(v, (size_t)s->nt * s->nl * NY * NX, s->kind);
  for (uint32_t t = 0; t < s->nt; t++)
    times[t] = key->time == BC_TIME_STATIC ? BC_TIME_STATIC
                                           : key->time + 3600 * (int64_t)t + (s->irregular && t > 2);
  const bc_tile_in in = { .key = *key,
                          .layout = s->layout,
                          .ny = NY,
                          .nx = NX,
                          .cell_ny = NY,
                          .cell_nx = NX,
                          .nt = s->nt,
                          .nl = s->nl,
                          .times = times,
                          .levels = levels,
                          .sources = &source,
                          .n_sources = 1,
                          .dtype = BC_F32,
                          .values = v,
                          .t_stride = (ptrdiff_t)(4 * s->nl * NY * NX),
                          .l_stride = 4 * NY * NX,
                          .y_stride = 4 * NX };
  FUZZ_CHECK(bc_tile_encode(e, &in, &o, head, payload, &err) == BC_OK);
}

/* ---- tiles and blocks ---- */

static const shape k_shapes[] = {
  { 1, 1, BC_LAYOUT_MAP, 0, BC_MODE_AUTO, false },       { 24, 1, BC_LAYOUT_SERIES, 0, BC_MODE_AUTO, false },
  { 48, 1, BC_LAYOUT_BALANCED, 3, BC_MODE_AUTO, false }, { 6, 2, BC_LAYOUT_BALANCED, 0, BC_MODE_AUTO, true },
  { 4, 1, BC_LAYOUT_BALANCED, 1, BC_MODE_AUTO, false },  { 4, 1, BC_LAYOUT_BALANCED, 0, BC_MODE_ZSTD, false },
  { 3, 2, BC_LAYOUT_BALANCED, 0, BC_MODE_RAW, false },   { 5, 1, BC_LAYOUT_BALANCED, 2, BC_MODE_AUTO, false },
  { 5, 1, BC_LAYOUT_BALANCED, 3, BC_MODE_RAW, true },
};

static void seed_tiles(bc_encoder *e)
{
  const bc_tile_key key = { 3, 1551398400, 0, 0 };
  bc_buf head = bc_buf_empty((size_t)1 << 20), payload = bc_buf_empty((size_t)1 << 24);
  char name[32];
  for (size_t i = 0; i < BC_ARRAY_LEN(k_shapes); i++) {
    head.n = payload.n = 0;
    encode(e, &k_shapes[i], &key, &head, &payload);
    const uint8_t first[10] = { 7, (uint8_t)head.n, (uint8_t)(head.n >> 8), 0, (uint8_t)(i % 3), 0, 1, 255,
                                0, (uint8_t)i };
    (void)snprintf(name, sizeof name, "tile-%zu", i);
    put_parts("tile", name, (bc_bytes[]){ { first, sizeof first }, bytes_of(&head), bytes_of(&payload) }, 3);
  }
  bc_buf_dispose(&head);
  bc_buf_dispose(&payload);
}

static void seed_linear16(bc_zstd *z, bc_predict predict)
{
  enum { NT = 6 };
  uint16_t q[NT * NY * NX];
  bc_lin lin[NT];
  bc_err err = { 0 };
  bc_lin16_scratch scratch = { 0 };
  bc_buf out = bc_buf_empty((size_t)1 << 20);
  char name[32];
  for (size_t i = 0; i < BC_ARRAY_LEN(q); i++)
    q[i] = (uint16_t)(i * 37 % 1000 + i / 64);
  for (int t = 0; t < NT; t++) {
    lin[t] = (bc_lin){
      .s = ldexp(1, -6 + t % 2), .r = 250 + t / 2, .missing = t > 3 ? 77 : -1, .e = -6 + t % 2, .pow2 = true
    };
    if (t == 5) lin[t] = (bc_lin){ .s = 0.013, .r = -1e-3, .bias = -32768, .missing = 0 };
  }
  const bc_lin16_block b = { q, lin, NT, NY, NX };
  FUZZ_CHECK(bc_lin16_encode(z, 3, predict, &b, &scratch, &out, &err) == BC_OK);
  const uint8_t first[6] = { 0, NT - 1, NY - 1, NX - 1, 0, 0 };
  (void)snprintf(name, sizeof name, "linear16-%d", (int)predict);
  put_parts("codec", name, (bc_bytes[]){ { first, sizeof first }, bytes_of(&out) }, 2);
  bc_buf_dispose(&out);
  bc_lin16_scratch_dispose(&scratch);
}

static void seed_codecs(void)
{
  static float v[16 * NY * NX];
  static uint8_t planes[sizeof v], frame[4096];
  bc_err err = { 0 };
  bc_zstd *z = NULL;
  bc_buf out = bc_buf_empty((size_t)1 << 20);
  size_t stored = 0;
  char name[32];
  const size_t n = BC_ARRAY_LEN(v);
  FUZZ_CHECK(bc_zstd_open(&z, &err) == BC_OK);
  for (int p = 0; p < BC_N_PREDICT; p++)
    seed_linear16(z, (bc_predict)p);
  for (int kind = 0; kind < 4; kind++) {
    fill_values(v, n, kind);
    bc_shuffle((const uint8_t *)v, planes, n, 4);
    out.n = 0;
    FUZZ_CHECK(bc_planes_encode(z, 3, planes, n, 4, &out, &err) == BC_OK);
    const uint8_t first[4] = { 1, 2, (uint8_t)(n - 1), (uint8_t)((n - 1) >> 8) };
    (void)snprintf(name, sizeof name, "planes-%d", kind);
    put_parts("codec", name, (bc_bytes[]){ { first, sizeof first }, bytes_of(&out) }, 2);
    const uint8_t how[6] = { 4, (uint8_t)(kind * 0x22), 15, 0, NX - 1, 16 };
    (void)snprintf(name, sizeof name, "encode-%d", kind);
    put_parts("codec", name, (bc_bytes[]){ { how, sizeof how }, { (const uint8_t *)v, sizeof v } }, 2);
    const uint8_t packed[26] = { 4, 1, 15, 0, NX - 1, 16, 0, [12] = 0xf0, [13] = 0x3f };
    (void)snprintf(name, sizeof name, "encode-packed-%d", kind);
    put_parts("codec", name, (bc_bytes[]){ { packed, sizeof packed }, { (const uint8_t *)v, sizeof v } }, 2);
  }
  FUZZ_CHECK(bc_zstd_encode(z, 3, planes, 300, frame, sizeof frame, &stored, &err) == BC_OK);
  const uint8_t first[3] = { 2, 300 & 255, 300 >> 8 };
  put_parts("codec", "zstd", (bc_bytes[]){ { first, sizeof first }, { frame, stored } }, 2);
  put("codec", "shuffle", 3, (bc_bytes){ planes, 200 });
  bc_buf_dispose(&out);
  bc_zstd_close(z);
}

/* ---- segments ---- */

static uint16_t modality(bc_writer *w, const char *name, bc_bucket bucket, bc_layout second, int levels)
{
  bc_err err = { 0 };
  uint16_t id = 0, at[2];
  bc_modality m = { .dtype = BC_F32,
                    .bucket = bucket,
                    .layout = { BC_LAYOUT_BALANCED, second },
                    .cadence = 3600,
                    .n_levels = (uint16_t)levels,
                    .levels = { 500, 850 },
                    .group = "surface",
                    .units = "K" };
  (void)bc_copy_text(m.name, sizeof m.name, name);
  if (levels > 0) (void)bc_copy_text(m.level_units, sizeof m.level_units, "hPa");
  FUZZ_CHECK(bc_writer_modality(w, &m, &id, at, &err) == BC_OK);
  return id;
}

static void put_tile(bc_writer *w, bc_encoder *e, const shape *s, bc_tile_key key)
{
  bc_err err = { 0 };
  bc_buf head = bc_buf_empty((size_t)1 << 20), payload = bc_buf_empty((size_t)1 << 24);
  FUZZ_CHECK(bc_writer_next_part(w, &key, &err) == BC_OK);
  encode(e, s, &key, &head, &payload);
  FUZZ_CHECK(bc_writer_put(w, bytes_of(&head), bytes_of(&payload), &err) == BC_OK);
  bc_buf_dispose(&head);
  bc_buf_dispose(&payload);
}

/* variant 0: several codecs and a second layout; 1: levels, parts, static; 2: raw, for views; 3: no tile */
static void write_tiles(bc_writer *w, bc_encoder *e, int variant)
{
  const int64_t march = 1551398400;
  const uint16_t t2m = modality(w, "t2m", BC_BUCKET_MONTH, variant == 0 ? BC_LAYOUT_SERIES : BC_LAYOUT_NONE,
                                variant == 1 ? 2 : 0);
  if (variant == 0)
    for (uint32_t i = 0; i < 6; i++) {
      put_tile(w, e, &k_shapes[(size_t[]){ 0, 1, 2, 4, 5, 7 }[i]], (bc_tile_key){ i, march, t2m, 0 });
      put_tile(w, e, &k_shapes[1], (bc_tile_key){ i, march, t2m, BC_PART_SECOND });
    }
  if (variant == 1) {
    const uint16_t lsm = modality(w, "lsm", BC_BUCKET_STATIC, BC_LAYOUT_NONE, 0);
    put_tile(w, e, &k_shapes[3], (bc_tile_key){ 0, march, t2m, 0 });
    put_tile(w, e, &k_shapes[3], (bc_tile_key){ 0, march, t2m, 0 });
    put_tile(w, e, &k_shapes[0], (bc_tile_key){ 0, BC_TIME_STATIC, lsm, 0 });
  }
  if (variant == 2) {
    const shape raw = { 4, 1, BC_LAYOUT_MAP, 0, BC_MODE_RAW, false };
    put_tile(w, e, &raw, (bc_tile_key){ 0, 0, t2m, 0 });
    put_tile(w, e, &raw, (bc_tile_key){ 0, 2678400, t2m, 0 });
  }
}

static void seed_segment(bc_encoder *e, int variant)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_writer *w = NULL;
  bc_grid g;
  char path[FUZZ_PATH], file[FUZZ_PATH], name[64];
  bc_source_rec src = { .hash = { 1 },
                        .bytes = 1000,
                        .ingested = 1600000000,
                        .done = true,
                        .name = "a.nc",
                        .request = "" },
                have;
  bc_buf b = bc_buf_empty((size_t)1 << 24);
  FUZZ_CHECK(bc_grid_named("wgs84-2p5", &g, &err) == BC_OK);
  g.cell = NY;
  if (variant == 2) { /* one cell, so that views are served */
    g.ny = NY;
    g.nx = NX;
    g.cell = 0;
    g.wraps = false;
  }
  (void)snprintf(name, sizeof name, "seed%d.bcube", variant);
  FUZZ_CHECK(bc_store_create(fuzz_path(path, name), &g, &err) == BC_OK);
  FUZZ_CHECK(bc_store_open(path, BC_OPEN_WRITE, &st, &err) == BC_OK);
  FUZZ_CHECK(bc_writer_open(st, &w, &err) == BC_OK);
  FUZZ_CHECK(bc_writer_source(w, &src, &have, &err) == BC_OK);
  write_tiles(w, e, variant);
  FUZZ_CHECK(bc_writer_commit(w, &err) == BC_OK);
  bc_writer_close(w);
  bc_store_close(st);
  (void)snprintf(name, sizeof name, "seed%d.bcube/segments/0000000001.seg", variant);
  FUZZ_CHECK(bc_os_read_file(fuzz_path(file, name), b.max, &b, &err) == BC_OK);
  (void)snprintf(name, sizeof name, "store-%d", variant);
  put("segment", name, 3, bytes_of(&b));
  for (unsigned how = 0; how < 8; how++) {
    (void)snprintf(name, sizeof name, "store-%d-%u", variant, how);
    put("store", name, (uint8_t)(1 | how << 2 | (how == 0 ? 2 : 0) | (how & 1) << 5 | (how & 2) << 5),
        bytes_of(&b));
  }
  bc_buf_dispose(&b);
}

/* ---- records and markers ---- */

static void seed_records(void)
{
  bc_err err = { 0 };
  bc_buf b = bc_buf_empty((size_t)1 << 20);
  bc_grid g;
  bc_modality m = { .id = 0,
                    .dtype = BC_F32,
                    .bucket = BC_BUCKET_MONTH,
                    .layout = { BC_LAYOUT_MAP, BC_LAYOUT_SERIES },
                    .cadence = 3600,
                    .n_levels = 2,
                    .levels = { 500, 850 },
                    .group = "atmospheric",
                    .name = "z",
                    .units = "m2 s-2",
                    .level_units = "hPa" };
  bc_usage u;
  const bc_source_rec s = { .id = 7, .bytes = 1000, .name = "a.nc", .request = "var=t2m" };
  const bc_tile_key k = { 17, 1551398400, 3, 1 };
  const bc_tile_rec r = {
    .head_segment = 1, .segment = 1, .offset = 64, .stored = 100, .codec = BC_CODEC_SHUFFLE
  };
  uint8_t key[BC_TILE_KEY_BYTES], rec[BC_TILE_REC_BYTES];
  bc_tile_key_put(&k, key);
  bc_tile_rec_put(&r, rec);
  put("index", "key", 0, (bc_bytes){ key, sizeof key });
  put("index", "rec", 1, (bc_bytes){ rec, sizeof rec });
  FUZZ_CHECK(bc_grid_named("wgs84-0p25", &g, &err) == BC_OK && bc_grid_encode(&g, &b, &err) == BC_OK);
  put("index", "grid", 2, bytes_of(&b));
  b.n = 0;
  FUZZ_CHECK(bc_modality_set_attr(&m, "long_name", "Geopotential", false, &err) == BC_OK);
  FUZZ_CHECK(bc_modality_encode(&m, &b, &err) == BC_OK);
  put("index", "variable", 3, bytes_of(&b));
  b.n = 0;
  bc_usage_init(&u);
  FUZZ_CHECK(bc_usage_encode(&u, &b, &err) == BC_OK);
  put("index", "usage", 4, bytes_of(&b));
  b.n = 0;
  FUZZ_CHECK(bc_source_encode(&s, &b, &err) == BC_OK);
  put("index", "source", 5, bytes_of(&b));
  b.n = 0;
  const bc_modality *const mods[] = { &m };
  const uint32_t retired = 1;
  const bc_commit c = { .snapshot = 1,
                        .grids = &g,
                        .n_grids = 1,
                        .modalities = mods,
                        .n_modalities = 1,
                        .sources = &s,
                        .n_sources = 1,
                        .drops = &k,
                        .n_drops = 0,
                        .retired = &retired,
                        .n_retired = 1 };
  FUZZ_CHECK(bc_commit_encode(&c, &b, &err) == BC_OK);
  put("index", "commit", 6, bytes_of(&b));
  bc_modality_dispose(&m);
  bc_buf_dispose(&b);
}

static void seed_markers(void)
{
  bc_err err = { 0 };
  bc_buf b = bc_buf_empty(8192);
  bc_grid g;
  FUZZ_CHECK(bc_grid_named("wgs84-0p25", &g, &err) == BC_OK);
  for (int published = 0; published < 2; published++) {
    b.n = 0;
    FUZZ_CHECK(bc_marker_text(k_uuid, &g, published != 0, &b, &err) == BC_OK);
    put("marker", published ? "published" : "live", 1, bytes_of(&b));
  }
  put("marker", "as-it-is", 0, bytes_of(&b));
  put("marker", "for-writing", 3, bytes_of(&b));
  bc_buf_dispose(&b);
}

static void seed_texts(void)
{
  static const struct {
    uint8_t kind;
    const char *text;
  } k[] = { { 0, "t2m,atmospheric/z,swvl*,[a-c]?" },
            { 1, "-10.5,50,2e1,58.25" },
            { 2, "52.5,13.4" },
            { 3, "2019-03-01T06:00:00.5Z/2020" },
            { 3, "../2010" },
            { 4, "500,850,1e3" },
            { 5, "mean:10d" },
            { 5, "count:1mo" },
            { 6, "3,2" },
            { 7, "id,decimalLatitude,decimalLongitude\n1,52.5,13.4\n2,-10,\"20.5\"\n" },
            { 7, "\xef\xbb\xbflon;x;lat\r\n10;\"a;b\"\"\nc\";50\r\n\r\n" },
            { 7, "lat\tlon\n1\t2" },
            { 8, "2019-02-28 23:59:60+00:00" },
            { 8, "0000-01-01" },
            { 9, "240h" },
            { 9, "10d" },
            { 9, "9999y" },
            { 10, "*a*b[!x-z]?\nxxaxxbq\xc3\xa4" } };
  char name[32];
  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    (void)snprintf(name, sizeof name, "%u-%zu", k[i].kind, i);
    put_text("select", name, k[i].kind, k[i].text);
  }
  put_text("json", "some", 1,
           "\x03"
           "abc"
           "\x02"
           "xyzvxyzw"
           "\x05"
           "\xff\xc3\xa4\"\\"
           "\x03"
           "12345678");
}

/* ---- netCDF and zip ---- */

#define NC(call) FUZZ_CHECK((call) == NC_NOERR)

static void nc_axis(int nc, int dim, const char *name, const char *units, double first, double step, size_t n,
                    int *var, double *values)
{
  NC(nc_def_var(nc, name, NC_DOUBLE, 1, &dim, var));
  NC(nc_put_att_text(nc, *var, "units", strlen(units), units));
  for (size_t i = 0; i < n; i++)
    values[i] = first + step * (double)i;
}

/* variant 0: plain; 1: packed shorts, record dimension; 2: levels, expver; 3: CDF-5, int64 time, static */
static void seed_netcdf(int variant)
{
  static const int modes[] = { 0, NC_64BIT_OFFSET, 0, NC_64BIT_DATA };
  enum { T = 3, Y = 4, X = 5, L = 2 };
  static const char since[] = "hours since 1900-01-01 00:00:0.0";
  char path[FUZZ_PATH], name[32];
  int nc = 0, dim[4], var[4], data = 0, n = 0, expver = 0;
  double t[T], y[Y], x[X], l[L];
  float v[T * L * Y * X];
  (void)snprintf(name, sizeof name, "seed%d.nc", variant);
  NC(nc_create(fuzz_path(path, name), NC_CLOBBER | modes[variant], &nc));
  NC(nc_def_dim(nc, "time", variant == 1 ? NC_UNLIMITED : T, &dim[n++]));
  if (variant == 2) NC(nc_def_dim(nc, "level", L, &dim[n++]));
  NC(nc_def_dim(nc, "latitude", Y, &dim[n++]));
  NC(nc_def_dim(nc, "longitude", X, &dim[n++]));
  nc_axis(nc, dim[0], "time", since, 1043135, 1, T, &var[0], t);
  if (variant == 2) nc_axis(nc, dim[1], "level", "millibars", 500, 350, L, &var[1], l);
  nc_axis(nc, dim[n - 2], "latitude", "degrees_north", 50, -2.5, Y, &var[2], y);
  nc_axis(nc, dim[n - 1], "longitude", "degrees_east", -5, 2.5, X, &var[3], x);
  NC(nc_def_var(nc, "t2m", variant == 1 ? NC_SHORT : NC_FLOAT, n, dim, &data));
  NC(nc_put_att_text(nc, data, "units", 1, "K"));
  if (variant == 1) {
    NC(nc_put_att_double(nc, data, "scale_factor", NC_DOUBLE, 1, (const double[]){ 0.01 }));
    NC(nc_put_att_double(nc, data, "add_offset", NC_DOUBLE, 1, (const double[]){ 250 }));
    NC(nc_put_att_short(nc, data, "_FillValue", NC_SHORT, 1, (const short[]){ -32767 }));
  }
  if (variant == 2) NC(nc_def_var(nc, "expver", NC_INT, 1, dim, &expver));
  NC(nc_put_att_text(nc, NC_GLOBAL, "Conventions", 6, "CF-1.6"));
  NC(nc_enddef(nc));
  for (size_t i = 0; i < BC_ARRAY_LEN(v); i++)
    v[i] = 250.0f + (float)i / 8;
  const size_t start[4] = { 0 }, count[4] = { T, variant == 2 ? L : Y, variant == 2 ? Y : X, X };
  NC(nc_put_vara_double(nc, var[0], start, count, t));
  if (variant == 2) NC(nc_put_var_double(nc, var[1], l));
  if (variant == 2) NC(nc_put_var_int(nc, expver, (const int[]){ 1, 5, 1 }));
  NC(nc_put_var_double(nc, var[2], y));
  NC(nc_put_var_double(nc, var[3], x));
  NC(nc_put_vara_float(nc, data, start, count, v));
  NC(nc_close(nc));
  bc_buf b = bc_buf_empty((size_t)1 << 24);
  bc_err err = { 0 };
  FUZZ_CHECK(bc_os_read_file(path, b.max, &b, &err) == BC_OK);
  (void)snprintf(name, sizeof name, "file-%d", variant);
  put_parts("netcdf", name, (bc_bytes[]){ bytes_of(&b) }, 1);
  bc_buf_dispose(&b);
}

static void seed_zip(const char *name, const char *const *members, size_t n, int method, bool text)
{
  char path[FUZZ_PATH], file[FUZZ_PATH];
  int code = 0;
  bc_buf b = bc_buf_empty((size_t)1 << 24);
  bc_err err = { 0 };
  zip_t *z = zip_open(fuzz_path(path, "seed.zip"), ZIP_CREATE | ZIP_TRUNCATE, &code);
  FUZZ_CHECK(z != NULL);
  for (size_t i = 0; i < n; i++) {
    zip_source_t *s = zip_source_file(z, fuzz_path(file, "seed0.nc"), 0, -1);
    const zip_int64_t at = zip_file_add(z, members[i], s, ZIP_FL_ENC_UTF_8);
    FUZZ_CHECK(at >= 0 && zip_set_file_compression(z, (zip_uint64_t)at, method, 6) == 0);
  }
  if (text) FUZZ_CHECK(zip_file_add(z, "README.txt", zip_source_buffer(z, "hello", 5, 0), 0) >= 0);
  FUZZ_CHECK(zip_close(z) == 0);
  FUZZ_CHECK(bc_os_read_file(path, b.max, &b, &err) == BC_OK);
  put("zip", name, 1, bytes_of(&b));
  bc_buf_dispose(&b);
}

static void seed_files(void)
{
  for (int i = 0; i < 4; i++)
    seed_netcdf(i);
  seed_zip("stored", (const char *const[]){ "data_0.nc" }, 1, ZIP_CM_STORE, false);
  seed_zip("two", (const char *const[]){ "a/data_0.nc", "b.nc" }, 2, ZIP_CM_DEFLATE, true);
  seed_zip("escape", (const char *const[]){ "../x.nc" }, 1, ZIP_CM_DEFLATE, false);
}

int main(int argc, char **argv)
{
  bc_err err = { 0 };
  bc_encoder *e = NULL;
  if (argc != 2) {
    (void)fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  g_root = argv[1];
  (void)mkdir(g_root, 0777);
  FUZZ_CHECK(bc_encoder_open(&e, &err) == BC_OK);
  seed_tiles(e);
  seed_codecs();
  for (int i = 0; i < 4; i++)
    seed_segment(e, i);
  seed_records();
  seed_markers();
  seed_texts();
  seed_files();
  bc_encoder_close(e);
  return 0;
}
