/* Moves and interpolation between grids, against naive loops. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/regrid.h"
#include "store/grid.h"

enum { MAX_SIDE = 400 };
static double g_lat[MAX_SIDE], g_lon[MAX_SIDE];

static void fill_axis(double *v, size_t n, double first, double step)
{
  for (size_t i = 0; i < n; i++)
    v[i] = first + (double)i * step;
}

static bc_grid make_grid(double y0, double dy, uint32_t ny, double x0, double dx, uint32_t nx)
{
  bc_grid g = {
    .name = "test", .crs = "EPSG:4326", .y0 = y0, .dy = -dy, .x0 = x0, .dx = dx, .ny = ny, .nx = nx
  };

  g.cell = 16;
  g.wraps = fabs(dx * nx - 360) < 1e-9;
  return g;
}

static bc_regridder *open_ok(const bc_grid *g, const bc_box *clip, size_t nlat, size_t nlon, bc_regrid mode)
{
  bc_err err;
  bc_regridder *r = NULL;

  cr_assert_eq(bc_regrid_open(g, clip, g_lat, nlat, g_lon, nlon, mode, &r, &err), BC_OK, "%s", err.msg);
  return r;
}

static void expect_refusal(const bc_grid *g, const bc_box *clip, size_t nlat, size_t nlon, bc_regrid mode,
                           bc_status code, const char *part)
{
  bc_err err = { .code = BC_OK };
  bc_regridder *r = NULL;
  const bc_status st = bc_regrid_open(g, clip, g_lat, nlat, g_lon, nlon, mode, &r, &err);

  cr_assert_eq(st, code, "%d: %s", st, err.msg);
  cr_assert_null(r);
  cr_assert_not_null(strstr(err.msg, part), "\"%s\" lacks \"%s\"", err.msg, part);
}

/* A value that says where it stands: latitude and longitude in thousandths, longitude in [0, 360). */
static float tag(double lat, double lon)
{
  return (float)(lround(lat * 4) * 2048 + lround(bc_lon_360(lon) * 4));
}

static float *make_plane(size_t nlat, size_t nlon, float (*value)(double lat, double lon))
{
  float *p = malloc(nlat * nlon * sizeof *p);

  for (size_t i = 0; i < nlat; i++)
    for (size_t j = 0; j < nlon; j++)
      p[i * nlon + j] = value(g_lat[i], g_lon[j]);
  return p;
}

static void whole_f32(const bc_regridder *r, const float *src, float *dst)
{
  const bc_box b = bc_regrid_box(r);

  for (int64_t y = 0; y < b.ny; y++)
    bc_regrid_row_f32(r, src, y, dst + y * b.nx);
}

static void whole_i16(const bc_regridder *r, const int16_t *src, int16_t *dst)
{
  const bc_box b = bc_regrid_box(r);

  for (int64_t y = 0; y < b.ny; y++)
    bc_regrid_row_i16(r, src, y, dst + y * b.nx);
}

/* After a move each node must hold the tag of its own position. */
static void check_tags(const bc_grid *g, const bc_regridder *r, size_t nlat, size_t nlon)
{
  const bc_box b = bc_regrid_box(r);
  float *src = make_plane(nlat, nlon, tag), *dst = malloc((size_t)(b.ny * b.nx) * sizeof *dst);

  whole_f32(r, src, dst);
  for (int64_t i = 0; i < b.ny; i++)
    for (int64_t j = 0; j < b.nx; j++)
      cr_assert_eq(dst[i * b.nx + j], tag(bc_grid_y(g, b.y + i), bc_grid_x(g, b.x + j)));
  free(src);
  free(dst);
}

Test(regrid, move_any_order_and_convention)
{
  const bc_grid g = make_grid(90, 2.5, 73, -180, 2.5, 144);
  static const struct {
    double lat0, dlat, lon0, dlon;
    size_t nlat, nlon;
    int64_t y, x, ny, nx;
  } c[] = {
    { 90, -2.5, 0, 2.5, 73, 144, 0, 0, 73, 144 },      /* as ERA5 delivers the globe */
    { -90, 2.5, -180, 2.5, 73, 144, 0, 0, 73, 144 },   /* south first */
    { 90, -2.5, 0, 2.5, 73, 145, 0, 0, 73, 144 },      /* 360 repeats 0 */
    { 90, -2.5, 357.5, -2.5, 73, 144, 0, 0, 73, 144 }, /* westward */
    { 60, -2.5, 350, 2.5, 5, 8, 12, 68, 5, 8 },        /* across Greenwich */
    { 60, -2.5, 170, 2.5, 5, 8, 12, 140, 5, 8 },       /* across 180: past the last column */
    { 60, -2.5, -5, 2.5, 1, 1, 12, 70, 1, 1 },
  };

  for (size_t k = 0; k < sizeof c / sizeof c[0]; k++) {
    bc_regridder *r;
    bc_box b;
    fill_axis(g_lat, c[k].nlat, c[k].lat0, c[k].dlat);
    fill_axis(g_lon, c[k].nlon, c[k].lon0, c[k].dlon);
    r = open_ok(&g, NULL, c[k].nlat, c[k].nlon, BC_REGRID_NONE);
    b = bc_regrid_box(r);
    cr_assert(bc_regrid_is_move(r));
    cr_assert(b.y == c[k].y && b.x == c[k].x && b.ny == c[k].ny && b.nx == c[k].nx,
              "case %zu: %ld %ld %ld %ld", k, (long)b.y, (long)b.x, (long)b.ny, (long)b.nx);
    check_tags(&g, r, c[k].nlat, c[k].nlon);
    bc_regrid_close(r);
  }
}

Test(regrid, move_jump_inside_the_axis)
{
  const bc_grid g = make_grid(90, 2.5, 73, -180, 2.5, 144);
  bc_regridder *r;

  fill_axis(g_lat, 73, 90, -2.5);
  for (size_t j = 0; j < 144; j++)
    g_lon[j] = bc_lon_180(10 + 2.5 * (double)j); /* ..., 177.5, -180, ... */
  r = open_ok(&g, NULL, 73, 144, BC_REGRID_NONE);
  cr_assert_eq(bc_regrid_box(r).x, 0);
  check_tags(&g, r, 73, 144);
  bc_regrid_close(r);
}

Test(regrid, move_of_the_globe_onto_a_part)
{
  const bc_grid g = make_grid(60, 2.5, 9, -10, 2.5, 9); /* -10 .. 10: both ends of a file that starts at 0 */
  const bc_box clip = { .y = 2, .x = 1, .ny = 3, .nx = 4 };
  bc_regridder *r;
  bc_box b;

  fill_axis(g_lat, 73, 90, -2.5);
  fill_axis(g_lon, 144, 0, 2.5);
  r = open_ok(&g, NULL, 73, 144, BC_REGRID_NONE);
  b = bc_regrid_box(r);
  cr_assert(b.y == 0 && b.x == 0 && b.ny == 9 && b.nx == 9);
  check_tags(&g, r, 73, 144);
  bc_regrid_close(r);
  r = open_ok(&g, &clip, 73, 144, BC_REGRID_NONE);
  b = bc_regrid_box(r);
  cr_assert(b.y == 2 && b.x == 1 && b.ny == 3 && b.nx == 4);
  check_tags(&g, r, 73, 144);
  bc_regrid_close(r);
}

Test(regrid, clip_past_the_seam)
{
  const bc_grid g = make_grid(90, 2.5, 73, -180, 2.5, 144);
  const bc_box clip = { .y = 10, .x = 140, .ny = 3, .nx = 8 };
  bc_regridder *r;
  bc_box b;

  fill_axis(g_lat, 73, 90, -2.5);
  fill_axis(g_lon, 144, 0, 2.5);
  r = open_ok(&g, &clip, 73, 144, BC_REGRID_NONE);
  b = bc_regrid_box(r);
  cr_assert(b.x == 140 && b.nx == 8);
  check_tags(&g, r, 73, 144);
  bc_regrid_close(r);
}

Test(regrid, integers_move_alike)
{
  const bc_grid g = make_grid(60, 2.5, 5, -10, 2.5, 9);
  bc_regridder *r;
  int16_t src[5 * 9], dst[5 * 9];

  fill_axis(g_lat, 5, 50, 2.5); /* south first */
  fill_axis(g_lon, 9, 350, 2.5);
  for (int i = 0; i < 45; i++)
    src[i] = (int16_t)(i * 700);
  r = open_ok(&g, NULL, 5, 9, BC_REGRID_NONE);
  whole_i16(r, src, dst);
  for (int i = 0; i < 5; i++)
    for (int j = 0; j < 9; j++)
      cr_assert_eq(dst[i * 9 + j], src[(4 - i) * 9 + j]);
  bc_regrid_close(r);
}

Test(regrid, refusals_name_what_is_wrong)
{
  const bc_grid g = make_grid(90, 0.25, 721, -180, 0.25, 1440);
  const bc_box clip = { .y = 0, .x = 0, .ny = 4, .nx = 4 };
  const bc_box two = { .y = 0, .x = 700, .ny = 721, .nx = 1400 };

  fill_axis(g_lat, 32, 55.05, -0.25);
  fill_axis(g_lon, 37, 5.9, 0.25);
  expect_refusal(&g, NULL, 32, 37, BC_REGRID_NONE, BC_E_RANGE,
                 "0.0500 degree from the nearest node of grid test");
  expect_refusal(&g, NULL, 32, 37, BC_REGRID_NONE, BC_E_RANGE, "--grid-from");
  fill_axis(g_lat, 32, 55, -0.25);
  expect_refusal(&g, NULL, 32, 37, BC_REGRID_NONE, BC_E_RANGE, "longitude 5.9");
  fill_axis(g_lon, 37, 6, 1);
  expect_refusal(&g, NULL, 32, 37, BC_REGRID_NONE, BC_E_RANGE,
                 "longitudes are 1 degree apart, those of grid test 0.25");
  fill_axis(g_lon, 37, 6, 0.25);
  g_lon[20] = g_lon[19];
  expect_refusal(&g, NULL, 32, 37, BC_REGRID_NONE, BC_E_UNSUPPORTED, "longitudes are not in order");
  fill_axis(g_lon, 37, 6, 0.25);
  expect_refusal(&g, &clip, 32, 37, BC_REGRID_NONE, BC_E_RANGE, "its latitudes, 47.25 to 55, lie outside");
  g_lat[3] = 90.5;
  expect_refusal(&g, NULL, 32, 37, BC_REGRID_NONE, BC_E_RANGE, "latitude 90.5 at position 3 is no latitude");
  g_lat[3] = (double)NAN;
  expect_refusal(&g, NULL, 32, 37, BC_REGRID_NONE, BC_E_RANGE, "is no latitude");
  fill_axis(g_lat, 32, 55, -0.25);
  g_lon[5] = INFINITY;
  expect_refusal(&g, NULL, 32, 37, BC_REGRID_NONE, BC_E_RANGE, "is no longitude");
  /* the clip is nearly a circle that starts in the middle of the file: two pieces */
  fill_axis(g_lon, 200, -20, 0.25);
  expect_refusal(&g, &two, 32, 200, BC_REGRID_NONE, BC_E_RANGE, "2 separate pieces");
}

Test(regrid, rows_missing_inside)
{
  const bc_grid g = make_grid(90, 0.25, 721, -180, 0.25, 1440);

  fill_axis(g_lat, 300, 60, -0.25);
  fill_axis(g_lon, 4, 0, 0.25);
  for (size_t i = 150; i < 300; i++)
    g_lat[i] -= 0.25;
  expect_refusal(&g, NULL, 300, 4, BC_REGRID_NONE, BC_E_RANGE, "latitudes jump from 22.25 to 22.75");
}

/* ---- interpolation ---- */
static float plane_field(double lat, double lon) { return (float)(3 + 0.5 * lat + 0.25 * lon); }

Test(regrid, bilinear_is_exact_for_a_plane)
{
  const bc_grid g = make_grid(58, 0.25, 33, -10, 0.25, 49);
  bc_regridder *r;
  bc_box b;
  float *src, *dst;

  fill_axis(g_lat, 30, 48.1, 0.7);
  fill_axis(g_lon, 60, -12.3, 0.31);
  r = open_ok(&g, NULL, 30, 60, BC_REGRID_BILINEAR);
  cr_assert_not(bc_regrid_is_move(r));
  b = bc_regrid_box(r);
  cr_assert(b.y == 0 && b.ny == 33 && b.x == 0 && b.nx == 49);
  src = make_plane(30, 60, plane_field);
  dst = malloc((size_t)(b.ny * b.nx) * sizeof *dst);
  whole_f32(r, src, dst);
  for (int64_t i = 0; i < b.ny; i++)
    for (int64_t j = 0; j < b.nx; j++) {
      const float want = plane_field(bc_grid_y(&g, i), bc_grid_x(&g, j));
      cr_assert(fabsf(dst[i * b.nx + j] - want) <= 1e-6f * fabsf(want) + 2e-6f, "%g %g",
                (double)dst[i * b.nx + j], (double)want);
    }
  free(src);
  free(dst);
  bc_regrid_close(r);
}

/* Four corners by the definition, for a global file from 0 with rows that stand unevenly. */
static double naive_bilinear(const float *src, size_t nlat, size_t nlon, double lat, double lon, bool *there)
{
  const double step = 360.0 / (double)nlon, x = bc_lon_360(lon) / step;
  const size_t j = (size_t)x % nlon, j1 = (j + 1) % nlon;
  const double fx = x - floor(x);

  for (size_t i = 0; i + 1 < nlat; i++) {
    const double fy = (g_lat[i] - lat) / (g_lat[i] - g_lat[i + 1]);
    double sum = 0;
    *there = true;
    if (fy < 0 || fy > 1) continue;
    for (int k = 0; k < 4; k++) {
      const double w = (k < 2 ? 1 - fy : fy) * (k % 2 ? fx : 1 - fx);
      const float v = src[(k < 2 ? i : i + 1) * nlon + (k % 2 ? j1 : j)];
      if (w < 1e-6) continue;
      if (isnan(v))
        *there = false;
      else
        sum += w * (double)v;
    }
    return sum;
  }
  *there = false;
  return 0;
}

static uint32_t g_seed = 12345;
static double rnd(void)
{
  g_seed = g_seed * 1664525u + 1013904223u;
  return (double)(g_seed >> 8) / 16777216.0;
}
static float noise(double lat, double lon)
{
  (void)lat;
  (void)lon;
  return rnd() < 0.1 ? NAN : (float)(rnd() * 20 - 10);
}

static void gaussian_like(size_t n) /* uneven rows, none on the poles, north first */
{
  for (size_t i = 0; i < n; i++)
    g_lat[i] = 90 - 180 * ((double)i + 0.77) / ((double)n + 0.54) + 0.3 * sin((double)i);
}

Test(regrid, bilinear_on_uneven_rows_round_the_earth)
{
  const bc_grid g = make_grid(90, 7.5, 25, -180, 7.5, 48);
  bc_regridder *r;
  bc_box b;
  float *src, *dst;

  gaussian_like(40);
  fill_axis(g_lon, 70, 0, 360.0 / 70);
  r = open_ok(&g, NULL, 40, 70, BC_REGRID_BILINEAR);
  b = bc_regrid_box(r);
  cr_assert(b.x == 0 && b.nx == 48 && b.y > 0 && b.y + b.ny < 25);
  src = make_plane(40, 70, noise);
  dst = malloc((size_t)(b.ny * b.nx) * sizeof *dst);
  whole_f32(r, src, dst);
  for (int64_t i = 0; i < b.ny; i++)
    for (int64_t j = 0; j < b.nx; j++) {
      bool there;
      const double want = naive_bilinear(src, 40, 70, bc_grid_y(&g, b.y + i), bc_grid_x(&g, j), &there);
      const float got = dst[i * b.nx + j];
      cr_assert_eq(isnan(got) == 0, there);
      if (there) cr_assert(fabs((double)got - want) < 1e-4);
    }
  free(src);
  free(dst);
  bc_regrid_close(r);
}

Test(regrid, bilinear_keeps_values_on_nodes_beside_missing_ones)
{
  const bc_grid g = make_grid(1, 1, 2, 0, 1, 2);
  const float src[4] = { 1, NAN, 3, 4 };
  float dst[4];
  bc_regridder *r;

  fill_axis(g_lat, 2, 1, -1);
  fill_axis(g_lon, 2, 0, 1);
  r = open_ok(&g, NULL, 2, 2, BC_REGRID_BILINEAR);
  whole_f32(r, src, dst);
  cr_assert(dst[0] == 1 && isnan(dst[1]) && dst[2] == 3 && dst[3] == 4);
  bc_regrid_close(r);
}

Test(regrid, nearest_takes_the_nearest)
{
  const bc_grid g = make_grid(10, 0.25, 41, -5, 0.25, 41);
  bc_regridder *r;
  bc_box b;
  float *src, *dst;

  fill_axis(g_lat, 15, 10.4, -0.7);
  fill_axis(g_lon, 15, 354.9, 0.7);
  r = open_ok(&g, NULL, 15, 15, BC_REGRID_NEAREST);
  cr_assert(bc_regrid_is_move(r));
  b = bc_regrid_box(r);
  src = make_plane(15, 15, noise);
  dst = malloc((size_t)(b.ny * b.nx) * sizeof *dst);
  whole_f32(r, src, dst);
  for (int64_t i = 0; i < b.ny; i++)
    for (int64_t j = 0; j < b.nx; j++) {
      double best = 1e9;
      bool found = false;
      for (size_t k = 0; k < 15; k++)
        best = fmin(best, fabs(g_lat[k] - bc_grid_y(&g, b.y + i)));
      cr_assert_leq(best, 0.35 + 1e-4);
      for (size_t p = 0; p < 15 * 15; p++) {
        const double dy = fabs(g_lat[p / 15] - bc_grid_y(&g, b.y + i));
        const double dx = fabs(bc_lon_180(g_lon[p % 15] - bc_grid_x(&g, b.x + j)));
        if (dy > best + 1e-9 || dx > 0.35 + 1e-4) continue;
        found = found || memcmp(&src[p], &dst[i * b.nx + j], sizeof(float)) == 0;
      }
      cr_assert(found);
    }
  free(src);
  free(dst);
  bc_regrid_close(r);
}

/* ---- means ---- */
static double band(double lo, double hi) { return sin(hi / 57.29577951308232) - sin(lo / 57.29577951308232); }

static double global_sum(const bc_grid *g, const float *p)
{
  double sum = 0;

  for (uint32_t i = 0; i < g->ny; i++) {
    const double y = bc_grid_y(g, i), w = band(fmax(y + g->dy / 2, -90), fmin(y - g->dy / 2, 90)) * g->dx;
    for (uint32_t j = 0; j < g->nx; j++)
      sum += w * (double)p[(size_t)i * g->nx + j];
  }
  return sum;
}

static float bumps(double lat, double lon)
{
  return (float)(10 + 5 * sin(lat / 20) * cos(lon / 30) + 3 * (rnd() - 0.5));
}

Test(regrid, mean_conserves_the_global_sum)
{
  static const double starts[] = { 0, -180, 0.5, 123.4 };
  const bc_grid to = make_grid(90, 7.5, 25, -180, 7.5, 48);

  for (size_t k = 0; k < 4; k++) {
    const bc_grid from = make_grid(90, 2, 91, starts[k], 1.5, 240);
    bc_regridder *r;
    float *src, dst[25 * 48];
    fill_axis(g_lat, 91, 90, -2);
    fill_axis(g_lon, 240, starts[k], 1.5);
    r = open_ok(&to, NULL, 91, 240, BC_REGRID_MEAN);
    cr_assert(bc_regrid_box(r).ny == 25 && bc_regrid_box(r).nx == 48 && bc_regrid_box(r).x == 0);
    src = make_plane(91, 240, bumps);
    whole_f32(r, src, dst);
    cr_assert(fabs(global_sum(&from, src) / global_sum(&to, dst) - 1) < 1e-7);
    free(src);
    bc_regrid_close(r);
  }
}

/* Overlap of two cells on the circle. */
static double width(double a0, double a1, double b0, double b1)
{
  double sum = 0;
  for (int turn = -2; turn <= 2; turn++)
    sum += fmax(0, fmin(a1, b1 + 360 * turn) - fmax(a0, b0 + 360 * turn));
  return sum;
}

Test(regrid, mean_against_a_naive_loop_with_missing_values)
{
  const bc_grid g = make_grid(60, 2.5, 9, -10, 2.5, 9);
  bc_regridder *r;
  bc_box b;
  float *src, *dst;

  fill_axis(g_lat, 40, 62, -0.6);
  fill_axis(g_lon, 50, 348, 0.7);
  r = open_ok(&g, NULL, 40, 50, BC_REGRID_MEAN);
  b = bc_regrid_box(r);
  src = make_plane(40, 50, noise);
  for (size_t i = 4; i < 12; i++) /* a hole larger than a cell */
    for (size_t j = 4; j < 14; j++)
      src[i * 50 + j] = NAN;
  dst = malloc((size_t)(b.ny * b.nx) * sizeof *dst);
  whole_f32(r, src, dst);
  for (int64_t i = 0; i < b.ny; i++)
    for (int64_t j = 0; j < b.nx; j++) {
      const double y = bc_grid_y(&g, b.y + i), x = bc_grid_x(&g, b.x + j);
      double sum = 0, all = 0;
      for (size_t p = 0; p < 40 * 50; p++) {
        const double sy = g_lat[p / 50], sx = g_lon[p % 50];
        const double lo = fmax(y - 1.25, sy - 0.3), hi = fmin(y + 1.25, sy + 0.3);
        const double w = hi > lo ? band(lo, hi) * width(x - 1.25, x + 1.25, sx - 0.35, sx + 0.35) : 0;
        if (isnan(src[p])) continue;
        sum += w * (double)src[p];
        all += w;
      }
      if (all > 1e-9)
        cr_assert(fabs((double)dst[i * b.nx + j] - sum / all) < 1e-5);
      else
        cr_assert(isnan(dst[i * b.nx + j]));
    }
  free(src);
  free(dst);
  bc_regrid_close(r);
}

Test(regrid, mean_of_uneven_rows_reaches_the_poles)
{
  const bc_grid g = make_grid(90, 15, 13, -180, 15, 24);
  bc_regridder *r;
  float src[32 * 60], dst[13 * 24];

  gaussian_like(32);
  fill_axis(g_lon, 60, 0, 6);
  for (size_t i = 0; i < 32 * 60; i++)
    src[i] = 7.5f;
  r = open_ok(&g, NULL, 32, 60, BC_REGRID_MEAN);
  cr_assert_eq(bc_regrid_box(r).ny, 13);
  whole_f32(r, src, dst);
  for (size_t i = 0; i < 13 * 24; i++)
    cr_assert(fabsf(dst[i] - 7.5f) < 1e-6f);
  bc_regrid_close(r);
}

/* ---- every allocation fails once ---- */
static bool fail_at(void *ctx)
{
  int *left = ctx;
  return (*left)-- == 0;
}

Test(regrid, memory_that_runs_out_is_an_error)
{
  static const bc_regrid modes[] = { BC_REGRID_NONE, BC_REGRID_MEAN };
  const bc_grid g = make_grid(60, 2.5, 9, -10, 2.5, 9);

  fill_axis(g_lat, 9, 60, -2.5);
  fill_axis(g_lon, 9, -10, 2.5);
  for (size_t m = 0; m < 2; m++) {
    bc_status st = BC_E_NOMEM;
    for (int n = 0; st != BC_OK; n++) {
      bc_regridder *r = NULL;
      int left = n;
      cr_assert(n < 100);
      bc_alloc_set_hook(fail_at, &left);
      st = bc_regrid_open(&g, NULL, g_lat, 9, g_lon, 9, modes[m], &r, NULL);
      bc_alloc_set_hook(NULL, NULL);
      cr_assert(st == BC_OK || st == BC_E_NOMEM);
      bc_regrid_close(r);
    }
  }
}
