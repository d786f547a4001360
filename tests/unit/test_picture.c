/* Pictures: size, and where which colours are. */
#include "tests/unit/sink_fixture.h"

#include <png.h>

#include "formats/draw.h"

TestSuite(picture, .init = make_folder, .fini = remove_folder);

/* ---- pictures ---- */

typedef struct picture {
  png_image image;
  uint8_t *rgb;
} picture;

static picture read_picture(const char *name)
{
  picture p = { .image = { .version = PNG_IMAGE_VERSION } };
  cr_assert(png_image_begin_read_from_file(&p.image, in_folder(name)), "%s", p.image.message);
  p.image.format = PNG_FORMAT_RGB;
  p.rgb = malloc(PNG_IMAGE_SIZE(p.image));
  cr_assert(png_image_finish_read(&p.image, NULL, p.rgb, 0, NULL));
  return p;
}

/* Pixels of a kind in the part of the picture right of x0 and left of x1 (parts of the width). */
static long count_pixels(const picture *p, double x0, double x1, bool (*is)(const uint8_t *))
{
  long n = 0;
  for (png_uint_32 y = 0; y < p->image.height; y++) {
    for (png_uint_32 x = (png_uint_32)(x0 * p->image.width); x < (png_uint_32)(x1 * p->image.width); x++)
      n += is(p->rgb + 3 * ((size_t)y * p->image.width + x));
  }
  return n;
}

static bool is_red(const uint8_t *p) { return p[0] > 90 && p[1] < 60 && p[2] < 60; }
static bool is_blue(const uint8_t *p) { return p[2] > 100 && p[0] < 80; }
static bool is_hatch(const uint8_t *p) { return p[0] == 196 && p[1] == 198 && p[2] == 201; }
static bool is_dark(const uint8_t *p) { return p[0] < 90 && p[1] < 90 && p[2] < 90; }

/* West -10, east +10, a missing square in the middle, across 180. */
Test(picture, png_map)
{
  enum { N = 40 };
  double lat[N], lon[N];
  float value[N * N], land[N * N];
  source s;
  bc_err err;

  for (int i = 0; i < N; i++) {
    lat[i] = 10 - 0.5 * i;
    lon[i] = 170 + 0.5 * i;
    if (lon[i] >= 180) lon[i] -= 360;
  }
  for (int i = 0; i < N * N; i++) {
    const int x = i % N, y = i / N;
    value[i] = x < N / 2 ? -10 : 10;
    if (x >= 15 && x < 25 && y >= 15 && y < 25) value[i] = NAN;
    land[i] = y < N / 2 ? 1 : 0;
  }
  const bc_var u = { .name = "u10",
                     .group = "",
                     .units = "m s**-1",
                     .dtype = BC_F32,
                     .ndim = 2,
                     .dims = { BC_DIM_LAT, BC_DIM_LON },
                     .shape = { N, N },
                     .coord = { lat, lon },
                     .level_units = "" };
  const bc_block coast = { .var = &u, .shape = { N, N }, .stride = { 4 * N, 4 }, .data = land };
  const bc_var *const vars[] = { &u };
  const void *const data[] = { value };
  bc_sink_opts o = BC_SINK_OPTS_INIT;
  o.coast = &coast;
  source_init(&s, 1, vars, data);
  cr_assert_eq(bc_sink_write(&s.stream, in_folder("m.png"), &o, &err), BC_OK, "%s", err.msg);
  picture p = read_picture("m.png");
  cr_assert_eq(p.image.width, 1000);
  cr_assert(p.image.height > 800 && p.image.height < 1100, "%u", (unsigned)p.image.height);
  cr_assert_gt(count_pixels(&p, 0.10, 0.40, is_blue), 100000);
  cr_assert_eq(count_pixels(&p, 0.10, 0.40, is_red), 0);
  cr_assert_gt(count_pixels(&p, 0.52, 0.80, is_red), 100000);
  cr_assert_eq(count_pixels(&p, 0.52, 0.80, is_blue), 0);
  cr_assert_gt(count_pixels(&p, 0.35, 0.60, is_hatch), 5000);
  cr_assert_gt(count_pixels(&p, 0.10, 0.40, is_dark), 250, "coast, frame and letters");
  free(p.rgb);
  o.width = 500;
  o.overwrite = true;
  o.colormap = "nonsense";
  source_init(&s, 1, vars, data);
  cr_assert_eq(bc_sink_write(&s.stream, in_folder("m.png"), &o, &err), BC_E_INVAL);
  cr_assert_not_null(strstr(err.msg, "viridis"));
}

Test(picture, png_series)
{
  enum { N = 100 };
  double time[N], lat[] = { 51.5 }, lon[] = { 0 };
  float value[N];
  for (int i = 0; i < N; i++) {
    time[i] = 1551398400 + 3600.0 * i;
    value[i] = i == 50 ? NAN : (float)sin(i * 0.1);
  }
  const bc_var v = { .name = "x",
                     .group = "",
                     .units = "K",
                     .dtype = BC_F32,
                     .ndim = 3,
                     .dims = { BC_DIM_TIME, BC_DIM_LAT, BC_DIM_LON },
                     .shape = { N, 1, 1 },
                     .coord = { time, lat, lon },
                     .level_units = "" };
  write_ok(ONE(v, value), "s.png");
  picture p = read_picture("s.png");
  cr_assert_eq(p.image.width, 1000);
  cr_assert_gt(count_pixels(&p, 0, 1, is_blue), 1000);
  cr_assert_eq(count_pixels(&p, 0, 1, is_red), 0);
  free(p.rgb);
}

Test(picture, png_of_nothing_but_missing)
{
  const float none[4] = { NAN, NAN, NAN, NAN };
  write_ok(ONE(k_lsm, none), "n.png");
  picture p = read_picture("n.png");
  cr_assert_gt(count_pixels(&p, 0, 1, is_hatch), 50000);
  free(p.rgb);
}

Test(picture, png_refuses_points_without_time)
{
  bc_var v = k_points;
  bc_err err;
  v.ndim = 1;
  v.dims[0] = BC_DIM_POINT;
  v.shape[0] = 2;
  cr_assert_eq(write_vars(ONE(v, k_values), "x.png", &err), BC_E_INVAL);
  cr_assert_eq(files_in_folder(), 0);
}

Test(picture, colour_scales_have_even_lightness_and_ticks_are_round)
{
  static const char *const names[] = { "viridis", "thermal", "balance", "rain", "terrain" };
  bc_scale s;
  char text[32];
  for (size_t i = 0; i < BC_ARRAY_LEN(names); i++) {
    cr_assert(bc_scale_init(&s, names[i]));
    for (int k = 1; k < BC_SCALE_STEPS; k++) {
      cr_assert_leq(abs(s.step[k].r - s.step[k - 1].r) + abs(s.step[k].g - s.step[k - 1].g), 16, "%s jumps",
                    names[i]);
    }
  }
  cr_assert(!bc_scale_init(&s, "jet"));
  cr_assert_float_eq(bc_nice_step(0, 10, 5), 2, 1e-12);
  cr_assert_float_eq(bc_nice_step(270, 290, 6), 5, 1e-12);
  cr_assert_float_eq(bc_nice_step(0, 0.003, 6), 0.0005, 1e-12);
  bc_tick_text(text, sizeof text, 0.1 + 0.2, 0.1);
  cr_assert_str_eq(text, "0.3");
  bc_tick_text(text, sizeof text, -1e-17, 0.5);
  cr_assert_str_eq(text, "0.0");
}
