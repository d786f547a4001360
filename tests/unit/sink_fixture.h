/* Streams from memory and a folder to write to, for the tests of sinks. Included once by each test program.
 */
#ifndef BC_TESTS_SINK_FIXTURE_H
#define BC_TESTS_SINK_FIXTURE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* memmem, mkdtemp */
#endif

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/sink_int.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* no program needs all of this */
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wunused-const-variable"

/* ---- streams from memory ---- */

typedef struct source {
  bc_stream stream;
  const void *data[4];
  int32_t var;
  int64_t row, slab;  /* rows of dims[0] in a block */
  bool backward;      /* the last dimension is delivered with a negative stride */
  int64_t stop_after; /* rows in all; then next() fails when fail is set, else ends early */
  bool fail;
  int calls;
  bc_block block;
  uint8_t *turned;
} source;

static void no_release(bc_batch *b) { b->release = NULL; }

/* The same values, laid out from the right to the left. */
static void turn(source *s, const bc_var *v)
{
  const size_t elem = bc_dtype_size(v->dtype), width = (size_t)s->block.shape[v->ndim - 1];
  size_t n = 1;
  for (int d = 0; d < v->ndim; d++)
    n *= (size_t)s->block.shape[d];
  free(s->turned);
  s->turned = malloc(n * elem);
  for (size_t i = 0; i < n; i++)
    memcpy(s->turned + (i / width * width + width - 1 - i % width) * elem,
           (const uint8_t *)s->block.data + i * elem, elem);
  s->block.data = s->turned + (width - 1) * elem;
  s->block.stride[v->ndim - 1] = -(int64_t)elem;
}

static bc_status next_block(bc_stream *stream, bc_batch *out, bc_err *err)
{
  source *s = stream->priv;

  s->calls++;
  *out = (bc_batch){ 0 };
  while (s->var < stream->n_vars && s->row == stream->vars[s->var]->shape[0]) {
    s->var++;
    s->row = 0;
  }
  if (s->var == stream->n_vars) return BC_OK;
  const bc_var *v = stream->vars[s->var];
  if (s->stop_after == 0 && s->fail) return BC_FAIL(err, BC_E_CHECKSUM, "a damaged block");
  if (s->stop_after == 0) return BC_OK;
  int64_t n = BC_MIN(s->slab, v->shape[0] - s->row);
  n = BC_MIN(n, s->stop_after);
  int64_t step = (int64_t)bc_dtype_size(v->dtype);
  s->block = (bc_block){ .var = v, .start = { s->row } };
  for (int d = v->ndim - 1; d >= 0; d--) {
    s->block.shape[d] = d == 0 ? n : v->shape[d];
    s->block.stride[d] = step;
    step *= v->shape[d];
  }
  s->block.data = (const uint8_t *)s->data[s->var] + s->row * s->block.stride[0];
  if (s->backward) turn(s, v);
  s->row += n;
  s->stop_after -= n;
  *out = (bc_batch){ 1, &s->block, no_release, NULL };
  return BC_OK;
}

static void source_init(source *s, int32_t n, const bc_var *const *vars, const void *const *data)
{
  static const bc_attr attrs[] = { { "title", "Test \"cube\"", false }, { "licence", "CC-BY-4.0", false } };
  *s = (source){ .slab = 2, .stop_after = INT64_MAX };
  s->stream =
      (bc_stream){ .n_vars = n, .vars = vars, .attrs = attrs, .n_attrs = 2, .next = next_block, .priv = s };
  for (int32_t i = 0; i < n; i++)
    s->data[i] = data[i];
}

/* ---- variables ---- */

static const double k_time[] = { 1551398400, 1551402000, 1551405600 }; /* 2019-03-01T00:00Z, hourly */
static const double k_day[] = { 1551398400 };
static const int64_t k_bounds[] = { 1551398400, 1551484800 };
static const double k_lat[] = { 51.5, 51.25 }, k_lon[] = { -0.25, 0 };
static const double k_level[] = { 1000, 500 };
static const double k_point[] = { 0, 1 }, k_point_lat[] = { 51.5, -33.75 }, k_point_lon[] = { -0.25, 151.25 };
static const bc_attr k_attrs[] = { { "long_name", "2 metre temperature", false },
                                   { "standard_name", "air_temperature", false },
                                   { "_FillValue", "-32767", true },
                                   { "scale_factor", "0.1", true },
                                   { "units", "degC", false },
                                   { "GRIB_paramId", "167", true },
                                   { "weight", "0.25", true },
                                   { "cell_methods", "time: mean", false } };

#define GRID3(nm, gr, un, ty)                                                                                \
  {                                                                                                          \
    .name = nm, .group = gr, .units = un, .dtype = ty, .ndim = 3,                                            \
    .dims = { BC_DIM_TIME, BC_DIM_LAT, BC_DIM_LON }, .shape = { 3, 2, 2 },                                   \
    .coord = { k_time, k_lat, k_lon }, .level_units = ""                                                     \
  }

static const bc_var k_t2m = { .name = "t2m",
                              .group = "surface",
                              .units = "K",
                              .dtype = BC_F32,
                              .ndim = 3,
                              .dims = { BC_DIM_TIME, BC_DIM_LAT, BC_DIM_LON },
                              .shape = { 3, 2, 2 },
                              .coord = { k_time, k_lat, k_lon },
                              .level_units = "",
                              .attrs = k_attrs,
                              .n_attrs = 8 };
static const bc_var k_count = GRID3("t2m", "climate", "1", BC_I32);
static const bc_var k_lsm = { .name = "lsm",
                              .group = "",
                              .units = "",
                              .dtype = BC_F32,
                              .ndim = 2,
                              .dims = { BC_DIM_LAT, BC_DIM_LON },
                              .shape = { 2, 2 },
                              .coord = { k_lat, k_lon },
                              .level_units = "" };
static const bc_var k_daily = { .name = "t2m_mean",
                                .group = "",
                                .units = "K",
                                .dtype = BC_F32,
                                .ndim = 3,
                                .dims = { BC_DIM_TIME, BC_DIM_LAT, BC_DIM_LON },
                                .shape = { 1, 2, 2 },
                                .coord = { k_day, k_lat, k_lon },
                                .time_bounds = k_bounds,
                                .level_units = "" };
static const bc_var k_z = { .name = "z",
                            .group = "atmospheric",
                            .units = "m**2 s**-2",
                            .dtype = BC_F32,
                            .ndim = 4,
                            .dims = { BC_DIM_TIME, BC_DIM_LEVEL, BC_DIM_LAT, BC_DIM_LON },
                            .shape = { 1, 2, 2, 2 },
                            .coord = { k_day, k_level, k_lat, k_lon },
                            .level_units = "hPa" };
static const bc_var k_points = { .name = "t2m",
                                 .group = "",
                                 .units = "K",
                                 .dtype = BC_F32,
                                 .ndim = 2,
                                 .dims = { BC_DIM_TIME, BC_DIM_POINT },
                                 .shape = { 3, 2 },
                                 .coord = { k_time, k_point },
                                 .point_lat = k_point_lat,
                                 .point_lon = k_point_lon,
                                 .level_units = "" };

static const float k_values[12] = { 273.15F, 273.2F,   1e-5F, -0.5F,   NAN,  0,
                                    5,       16777216, 1e10F, 3.4e38F, 0.1F, 281.125F };
static const int32_t k_counts[12] = { 0, -1, 2147483647, -2147483647 - 1, 4, 5, 6, 7, 8, 9, 10, 11 };

/* ---- files ---- */

static char g_folder[64];

static void make_folder(void)
{
  (void)snprintf(g_folder, sizeof g_folder, "/tmp/bc-sink-XXXXXX");
  cr_assert_not_null(mkdtemp(g_folder));
}

static int files_in_folder(void)
{
  char **names = NULL;
  size_t n = 0;
  cr_assert_eq(bc_os_list(g_folder, &names, &n, NULL), BC_OK);
  bc_os_list_free(names, n);
  return (int)n;
}

static void remove_folder(void)
{
  char **names = NULL;
  size_t n = 0;
  if (bc_os_list(g_folder, &names, &n, NULL) == BC_OK) {
    for (size_t i = 0; i < n; i++) {
      char *p = bc_asprintf("%s/%s", g_folder, names[i]);
      (void)unlink(p);
      bc_free(p);
    }
    bc_os_list_free(names, n);
  }
  (void)rmdir(g_folder);
}

static char *in_folder(const char *name)
{
  static char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", g_folder, name);
  return path;
}

static bc_buf slurp(const char *path)
{
  bc_buf b = bc_buf_empty(1 << 24);
  bc_err err;
  cr_assert_eq(bc_os_read_file(path, 1 << 24, &b, &err), BC_OK, "%s", err.msg);
  return b;
}

static bc_status write_vars(int32_t n, const bc_var *const *vars, const void *const *data, const char *name,
                            bc_err *err)
{
  source s;
  source_init(&s, n, vars, data);
  const bc_status st = bc_sink_write(&s.stream, in_folder(name), NULL, err);
  free(s.turned);
  return st;
}

static void write_ok(int32_t n, const bc_var *const *vars, const void *const *data, const char *name)
{
  bc_err err = { 0 };
  cr_assert_eq(write_vars(n, vars, data, name, &err), BC_OK, "%s", err.msg);
}

static void expect_text(const char *name, const char *want)
{
  bc_buf b = slurp(in_folder(name));
  cr_assert_eq(bc_buf_put(&b, "", 1, NULL), BC_OK);
  cr_assert_str_eq((const char *)b.p, want);
  bc_buf_dispose(&b);
}

#define ONE(var, values)                                                                                     \
  1, (const bc_var *const[]){ &(var) }, (const void *const[]) { (values) }

#endif
