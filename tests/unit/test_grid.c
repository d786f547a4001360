#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/base.h"
#include "store/grid.h"

static uint64_t next_random(uint64_t *seed)
{
  *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return *seed >> 33;
}

static double uniform(uint64_t *seed, double lo, double hi)
{
  return lo + (hi - lo) * (double)next_random(seed) / 2147483648.0;
}

static bc_grid named(const char *name)
{
  bc_grid g;
  bc_err err;

  cr_assert_eq(bc_grid_named(name, &g, &err), BC_OK, "%s", err.msg);
  return g;
}

static bc_grid cut(const char *name, double w, double s, double e, double n)
{
  bc_grid g = named(name);
  bc_err err;

  cr_assert_eq(bc_grid_subset(&g, w, s, e, n, &err), BC_OK, "%s", err.msg);
  return g;
}

/* first + i * step, rounded to float if asked for */
static double *ramp(double first, double step, size_t n, bool as_float)
{
  double *const v = malloc(n * sizeof *v);

  for (size_t i = 0; i < n; i++) {
    v[i] = nearbyint((first + (double)i * step) * 1e9) / 1e9;
    if (as_float) v[i] = (double)(float)v[i];
  }
  return v;
}

static bc_status join(double *lat, size_t nlat, double *lon, size_t nlon, bc_grid *g, bc_err *err)
{
  const bc_status st = bc_grid_from_axes(lat, nlat, lon, nlon, g, err);

  free(lat);
  free(lon);
  return st;
}

/* ---- named lattices ---- */

Test(grid, named_lattices)
{
  static const struct {
    const char *name;
    uint32_t ny, nx;
    double step;
  } k[] = { { "wgs84-0p25", 721, 1440, 0.25 },
            { "wgs84-0p1", 1801, 3600, 0.1 },
            { "wgs84-0p5", 361, 720, 0.5 },
            { "wgs84-1p0", 181, 360, 1.0 },
            { "wgs84-2p5", 73, 144, 2.5 } };
  bc_err err;
  bc_grid g;

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    g = named(k[i].name);
    cr_expect(g.ny == k[i].ny && g.nx == k[i].nx && g.dx == k[i].step && g.dy == -k[i].step, "%s", k[i].name);
    cr_expect(g.y0 == 90 && g.x0 == -180 && g.wraps && !g.cell_registered && g.cell == BC_CELL_DEFAULT);
    cr_expect_eq(bc_grid_check(&g, &err), BC_OK, "%s", err.msg);
    cr_expect_eq(bc_grid_y(&g, (int64_t)g.ny - 1), -90.0);
    cr_expect_str_eq(g.name, k[i].name);
  }
  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    cr_expect_str_eq(bc_grid_names()[i], k[i].name);
  }
  cr_assert_eq(bc_grid_names()[BC_ARRAY_LEN(k)], NULL);
  cr_assert_eq(bc_grid_named("wgs84-0p3", &g, &err), BC_E_NOTFOUND);
  for (size_t i = 0; bc_grid_names()[i] != NULL; i++) {
    cr_expect(strstr(err.msg, bc_grid_names()[i]) != NULL);
  }
}

Test(grid, positions_are_clean_decimals)
{
  const bc_grid q = named("wgs84-0p25"), t = named("wgs84-0p1");
  char text[32];

  for (int64_t i = 0; i < 721; i++) {
    cr_assert_eq(bc_grid_y(&q, i), 90.0 - (double)i * 0.25);
  }
  for (int64_t j = 0; j < 1440; j++) {
    cr_assert_eq(bc_grid_x(&q, j), -180.0 + (double)j * 0.25);
    cr_assert_eq(bc_grid_x(&q, j + 1440), bc_grid_x(&q, j));
  }
  for (int64_t j = 0; j < 3600; j++) {
    const int tenths = (int)j - 1800;
    (void)snprintf(text, sizeof text, "%s%d.%d", tenths < 0 ? "-" : "", abs(tenths) / 10, abs(tenths) % 10);
    cr_assert_eq(bc_grid_x(&t, j), strtod(text, NULL), "%s", text);
  }
  cr_assert_not(signbit(bc_grid_y(&t, 900)));
  cr_assert_not(signbit(bc_grid_x(&t, 1800)));
}

Test(grid, longitude_conventions)
{
  cr_assert_eq(bc_lon_180(0.1), 0.1);
  cr_assert_eq(bc_lon_180(-180), -180);
  cr_assert_eq(bc_lon_180(180), -180);
  cr_assert_eq(bc_lon_180(359.75), -0.25);
  cr_assert_eq(bc_lon_180(-359.75), 0.25);
  cr_assert_eq(bc_lon_180(720 + 179.5), 179.5);
  cr_assert_eq(bc_lon_180(-540), -180);
  cr_assert(isnan(bc_lon_180(NAN)));
  cr_assert(isnan(bc_lon_180(INFINITY)));
  cr_assert_eq(bc_lon_360(359.75), 359.75);
  cr_assert_eq(bc_lon_360(-0.25), 359.75);
  cr_assert_eq(bc_lon_360(360), 0);
  cr_assert_eq(bc_lon_360(-1e-20), 0);
  cr_assert_eq(bc_lon_360(-720), 0);
}

/* ---- axes ---- */

typedef struct axes_case {
  double lat, dlat;
  size_t nlat;
  double lon, dlon;
  size_t nlon;
  const char *name;
  double y0, x0, dy, dx;
  bool wraps;
} axes_case;

static const axes_case k_axes[] = {
  { 90, -.25, 721, 0, .25, 1440, "wgs84-0p25", 90, -180, -.25, .25, true },
  { -90, .25, 721, -180, .25, 1440, "wgs84-0p25", 90, -180, -.25, .25, true },
  { 90, -.1, 1801, 0, .1, 3600, "wgs84-0p1", 90, -180, -.1, .1, true },
  { 90, -.25, 721, 0, .25, 1441, "wgs84-0p25", 90, -180, -.25, .25, true }, /* 360 repeats 0 */
  { 90, -1, 181, -180, 1, 361, "wgs84-1p0", 90, -180, -1, 1, true },
  { 90, -2.5, 73, 177.5, -2.5, 144, "wgs84-2p5", 90, -180, -2.5, 2.5, true }, /* east to west */
  { 89.5, -1, 180, .5, 1, 360, "wgs84-1p0-180x360", 89.5, -179.5, -1, 1, true },
  { 90, -2.5, 73, 20, 3.75, 96, "wgs84-2p5x3p75-73x96", 90, -178.75, -2.5, 3.75, true },
  { 72, -.1, 401, -25, .1, 701, "wgs84-0p1-401x701", 72, -25, -.1, .1, false },
  { 51.3, -.1, 31, 355.1, .1, 120, "wgs84-0p1-31x120", 51.3, -4.9, -.1, .1, false }, /* crosses 0 */
  { 32.0, .25, 161, 335, .25, 281, "wgs84-0p25-161x281", 72, -25, -.25, .25, false },
  { -10, -.25, 81, 170, .25, 81, "wgs84-0p25-81x81", -10, 170, -.25, .25, false }, /* crosses 180 */
  { -10, -.25, 81, 180, .25, 41, "wgs84-0p25-81x41", -10, -180, -.25, .25, false },
  { 51.3, 0, 1, 4, .1, 11, "wgs84-0p1-1x11", 51.3, 4, -.1, .1, false },
  { 51.3, -.1, 11, 4, 0, 1, "wgs84-0p1-11x1", 51.3, 4, -.1, .1, false },
  { 51.3, 0, 1, 4.1, 0, 1, "wgs84-0p1-1x1", 51.3, 4.1, -.1, .1, false },
  { 51.25, 0, 1, 4, 0, 1, "wgs84-0p25-1x1", 51.25, 4, -.25, .25, false },
  { 51, 0, 1, 4, 0, 1, "wgs84-0p1-1x1", 51, 4, -.1, .1, false },
  { 51.123, 0, 1, 4, 0, 1, "wgs84-0p1-1x1", 51.123, 4, -.1, .1, false },
  { 51.3, -.1, 2, 359.9, 0, 1, "wgs84-0p1-2x1", 51.3, -.1, -.1, .1, false },
};

Test(grid, from_axes)
{
  for (size_t i = 0; i < BC_ARRAY_LEN(k_axes) * 2; i++) {
    const axes_case *const k = &k_axes[i / 2];
    const bool as_float = i % 2 == 1;
    bc_err err;
    bc_grid g;
    cr_assert_eq(join(ramp(k->lat, k->dlat, k->nlat, as_float), k->nlat,
                      ramp(k->lon, k->dlon, k->nlon, as_float), k->nlon, &g, &err),
                 BC_OK, "%s: %s", k->name, err.msg);
    cr_expect_str_eq(g.name, k->name, "%s is not %s", g.name, k->name);
    cr_expect(g.y0 == k->y0 && g.x0 == k->x0 && g.dy == k->dy && g.dx == k->dx && g.wraps == k->wraps,
              "%s%s: %.17g %.17g %.17g %.17g", k->name, as_float ? " (float)" : "", g.y0, g.x0, g.dy, g.dx);
    cr_expect_str_eq(g.crs, "EPSG:4326");
  }
}

Test(grid, from_axes_that_jump)
{
  static const double k_lat[] = { 1, 0 }, k_lon[] = { 179, 179.5, -180, -179.5 },
                      k_lon0[] = { 359, 359.5, 0, .5 };
  bc_err err;
  bc_grid g;

  cr_assert_eq(bc_grid_from_axes(k_lat, 2, k_lon, 4, &g, &err), BC_OK, "%s", err.msg);
  cr_assert(g.x0 == 179 && g.dx == .5 && g.nx == 4 && !g.wraps);
  cr_assert_eq(bc_grid_from_axes(k_lat, 2, k_lon0, 4, &g, &err), BC_OK, "%s", err.msg);
  cr_assert(g.x0 == -1 && g.dx == .5 && g.nx == 4 && !g.wraps);
}

/* A twelfth of a degree is recognised in floats, though 0.08333 would fit them as well. */
Test(grid, from_axes_of_twelfths)
{
  double *const lat = ramp(45 - 1 / 24., -1 / 12., 36, true), *const lon =
                                                                  ramp(-75 + 1 / 24., 1 / 12., 36, true);
  bc_err err;
  bc_grid g;

  cr_assert_eq(join(lat, 36, lon, 36, &g, &err), BC_OK, "%s", err.msg);
  cr_assert(g.dx == 360. / 4320 && g.dy == -360. / 4320, "%.17g", g.dx);
  cr_assert_str_eq(g.name, "wgs84-0p083333-36x36");
}

/* Few columns far apart: nothing closes the circle, and no column stands twice. */
Test(grid, from_axes_with_wide_steps)
{
  static const double k_lat[] = { 50, -50 }, k_lon[] = { 0.625, 125.625, 250.625 };
  bc_err err;
  bc_grid g;
  bc_box b;

  cr_assert_eq(bc_grid_from_axes(k_lat, 2, k_lon, 3, &g, &err), BC_OK, "%s", err.msg);
  cr_assert(g.nx == 3 && g.dx == 125 && g.x0 == 0.625 && !g.wraps);
  cr_assert_eq(bc_grid_x(&g, 2), -109.375);
  cr_assert_eq(bc_grid_box(&g, -180, -90, 180, 90, &b, &err), BC_OK);
  cr_assert(b.x == 0 && b.nx == 3 && b.ny == 2);
  cr_assert_eq(bc_grid_box(&g, -110, 0, 0, 90, &b, &err), BC_OK);
  cr_assert(b.x == 2 && b.nx == 1 && b.ny == 1);
}

/* Steps that no decimal says, as doubles and as floats: every node is found again within float noise. */
Test(grid, from_axes_with_crooked_steps)
{
  static const struct {
    size_t ny, nx;
  } k[] = { { 192, 288 }, { 145, 192 }, { 2160, 4320 }, { 61, 111 }, { 64, 1081 } };

  for (size_t i = 0; i < BC_ARRAY_LEN(k) * 2; i++) {
    const size_t ny = k[i / 2].ny, nx = k[i / 2].nx;
    double *const lat = malloc(ny * sizeof *lat), *const lon = malloc(nx * sizeof *lon);
    const bool centred = ny == 2160;
    bc_err err;
    bc_grid g;
    for (size_t r = 0; r < ny; r++) {
      lat[r] = centred ? -90.0 + ((double)r + .5) * 180.0 / (double)ny
                       : -90.0 + (double)r * 180.0 / (double)(ny - 1);
      if (i % 2 == 1) lat[r] = (double)(float)lat[r];
    }
    for (size_t c = 0; c < nx; c++) {
      lon[c] = ((double)c + (centred ? .5 : 0.)) * 360.0 / (double)nx;
      if (i % 2 == 1) lon[c] = (double)(float)lon[c];
    }
    cr_assert_eq(bc_grid_from_axes(lat, ny, lon, nx, &g, &err), BC_OK, "%zu x %zu: %s", ny, nx, err.msg);
    cr_assert(g.wraps && g.ny == ny && g.nx == nx);
    for (size_t r = 0; r < ny; r++) {
      int64_t row = 0;
      double off = 0;
      cr_assert(bc_grid_row(&g, lat[r], &row, &off));
      cr_assert(row == (int64_t)(ny - 1 - r) && off <= (i % 2 == 1 ? 2e-5 : 2e-9), "row %zu: %g", r, off);
    }
    for (size_t c = 0; c < nx; c++) {
      int64_t col = 0;
      double off = 0;
      cr_assert(bc_grid_col(&g, lon[c], &col, &off));
      cr_assert(off <= (i % 2 == 1 ? 4e-5 : 2e-9), "col %zu: %g", c, off);
      cr_assert_float_eq(bc_lon_180(bc_grid_x(&g, col) - lon[c] + 90.0), 90.0, 4e-5);
    }
    free(lat);
    free(lon);
  }
}

Test(grid, from_axes_refusals)
{
  static const double k_lat[] = { 2, 1, 0 }, k_lon[] = { 0, 1, 2 };
  static const struct {
    double lat[4], lon[4];
    size_t n;
    bc_status st;
    const char *word;
  } k[] = {
    { { 87.86, 85.10, 82.31, 79.53 },
      { 0, 1, 2, 3 },
      4,
      BC_E_UNSUPPORTED,
      "latitude axis is not evenly spaced" },
    { { 3, 2, 1, 0 }, { 0, 1, 2, 3.001 }, 4, BC_E_UNSUPPORTED, "longitude axis is not evenly spaced" },
    { { 3, 3, 3, 3 }, { 0, 1, 2, 3 }, 4, BC_E_UNSUPPORTED, "latitude" },
    { { 3, 2, 3, 2 }, { 0, 1, 2, 3 }, 4, BC_E_UNSUPPORTED, "latitude" },
    { { 3, 2, NAN, 0 }, { 0, 1, 2, 3 }, 4, BC_E_UNSUPPORTED, "latitude 2" },
    { { 3, 2, 1, 0 }, { 0, INFINITY, 2, 3 }, 4, BC_E_UNSUPPORTED, "longitude 1" },
    { { 92, 91, 90, 89 }, { 0, 1, 2, 3 }, 4, BC_E_INVAL, "beyond the poles" },
    { { -88, -89, -90, -91 }, { 0, 1, 2, 3 }, 4, BC_E_INVAL, "beyond the poles" },
    { { 3, 2, 1, 0 }, { 0, 150, 300, 450 }, 4, BC_E_INVAL, "more than one turn" },
    { { 4500000, 4400000, 4300000, 4200000 }, { 0, 1, 2, 3 }, 4, BC_E_UNSUPPORTED, "degrees are expected" },
    { { .0002, .0001, 0, -.0001 },
      { 0, 1, 2, 3 },
      4,
      BC_E_UNSUPPORTED,
      "latitude axis has a step of -0.0001" },
  };
  bc_err err;
  bc_grid g;

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    cr_expect_eq(bc_grid_from_axes(k[i].lat, k[i].n, k[i].lon, k[i].n, &g, &err), k[i].st, "case %zu: %s", i,
                 err.msg);
    cr_expect(strstr(err.msg, k[i].word) != NULL, "case %zu: %s", i, err.msg);
    cr_expect_eq(g.ny, 0);
  }
  cr_assert_eq(bc_grid_from_axes(k_lat, 0, k_lon, 3, &g, &err), BC_E_INVAL);
  cr_assert_eq(bc_grid_from_axes(k_lat, 3, k_lon, 0, &g, &err), BC_E_INVAL);
}

Test(grid, uneven_axis_names_the_worst_value)
{
  static const double k_lat[] = { 5, 4, 3, 2, 1, 0 }, k_lon[] = { 0, 1, 2, 3.25, 4, 5 };
  bc_err err;
  bc_grid g;

  cr_assert_eq(bc_grid_from_axes(k_lat, 6, k_lon, 6, &g, &err), BC_E_UNSUPPORTED);
  cr_assert(strstr(err.msg, "value 3") != NULL && strstr(err.msg, "3.25") != NULL, "%s", err.msg);
}

static bool fail_nth(void *ctx) { return (*(int *)ctx)-- == 0; }

Test(grid, from_axes_when_memory_is_short)
{
  static const double k_v[] = { 3, 2, 1 };

  for (int n = 0; n < 3; n++) {
    int countdown = n;
    bc_grid g;
    bc_alloc_set_hook(fail_nth, &countdown);
    cr_expect_eq(bc_grid_from_axes(k_v, 3, k_v, 3, &g, NULL), n < 2 ? BC_E_NOMEM : BC_OK);
    bc_alloc_set_hook(NULL, NULL);
  }
}

/* ---- positions ---- */

/* The nearest row and column by trying them all. */
Test(grid, nearest_against_brute_force)
{
  const bc_grid k[] = { named("wgs84-2p5"), named("wgs84-1p0"), cut("wgs84-1p0", -25, 32, 45, 72),
                        cut("wgs84-1p0", 170, -20, -170, 20), cut("wgs84-0p1", 3, 50, 5, 51) };
  uint64_t seed = 42;

  for (int n = 0; n < 20000; n++) {
    const bc_grid *const g = &k[n % (int)BC_ARRAY_LEN(k)];
    const double lat = uniform(&seed, -95, 95), lon = uniform(&seed, -360, 540);
    int64_t i = -1, j = -1;
    double off = 0, best = INFINITY;
    bool in = bc_grid_row(g, lat, &i, &off);
    for (int64_t r = 0; r < (int64_t)g->ny; r++) {
      best = fmin(best, fabs(lat - bc_grid_y(g, r)));
    }
    cr_assert(i >= 0 && i < (int64_t)g->ny && fabs(off - best) < 1e-9, "%s lat %.9g: %g, not %g", g->name,
              lat, off, best);
    cr_assert_eq(in, best <= -g->dy / 2 + 1e-9);
    in = bc_grid_col(g, lon, &j, &off);
    best = INFINITY;
    for (int64_t c = 0; c < (int64_t)g->nx; c++) {
      best = fmin(best, fabs(bc_lon_180(lon - bc_grid_x(g, c))));
    }
    cr_assert(j >= 0 && j < (int64_t)g->nx && fabs(off - best) < 1e-9, "%s lon %.9g: column %lld %g, not %g",
              g->name, lon, (long long)j, off, best);
    cr_assert_float_eq(fabs(bc_lon_180(lon - bc_grid_x(g, j))), best, 1e-9);
    cr_assert_eq(in, best <= g->dx / 2 + 1e-9, "%s lon %.9g", g->name, lon);
  }
}

Test(grid, odd_positions)
{
  const bc_grid g = named("wgs84-0p25"), part = cut("wgs84-0p25", 170, -20, -170, 20);
  bc_grid metres = {
    .name = "m", .crs = "EPSG:3035", .y0 = 100, .dy = -10, .x0 = 1000, .dx = 10, .ny = 11, .nx = 5
  };
  int64_t i = 7;
  double off = 0;

  cr_assert_not(bc_grid_row(&g, NAN, &i, &off));
  cr_assert_not(bc_grid_row(&g, INFINITY, &i, &off));
  cr_assert_not(bc_grid_row(&g, -INFINITY, &i, &off));
  cr_assert_not(bc_grid_col(&g, NAN, &i, &off));
  cr_assert_not(bc_grid_col(&g, -INFINITY, &i, &off));
  cr_assert(bc_grid_col(&g, 180, &i, NULL) && i == 0);
  cr_assert(bc_grid_col(&g, 179.9, &i, &off) && i == 0);
  cr_assert_float_eq(off, .1, 1e-9);
  cr_assert(bc_grid_col(&part, 169.9, &i, &off) && i == 0);
  cr_assert(bc_grid_col(&part, -169.9, &i, &off) && i == 80);
  cr_assert_not(bc_grid_col(&part, 169.8, &i, &off));
  cr_assert_not(bc_grid_col(&part, -169.8, &i, &off));
  cr_assert(bc_grid_col(&metres, 1041, &i, &off) && i == 4 && fabs(off - 1) < 1e-9);
  cr_assert(bc_grid_col(&metres, 996, &i, &off) && i == 0 && fabs(off - 4) < 1e-9);
  cr_assert_not(bc_grid_col(&metres, 1046, &i, &off));
  cr_assert_eq(i, 4);
  cr_assert_not(bc_grid_col(&metres, 994, &i, &off));
  cr_assert(bc_grid_row(&metres, 14, &i, &off) && i == 9);
}

/* ---- boxes ---- */

/* Which columns a bbox takes, by looking at each of them. */
static size_t brute_columns(const bc_grid *g, double w, double e, bool *in)
{
  const double span = e >= w ? e - w : e - w + 360.0 * ceil((w - e) / 360.0);
  size_t n = 0;

  for (uint32_t j = 0; j < g->nx; j++) {
    in[j] = false;
    for (int turn = -2; turn <= 2; turn++) {
      const double x = bc_grid_x(g, j) + 360.0 * turn;
      in[j] = in[j] || (x >= w - BC_SNAP_DEGREES && x <= w + span + BC_SNAP_DEGREES);
    }
    n += in[j];
  }
  return n;
}

static size_t brute_rows(const bc_grid *g, double s, double n, int64_t *first)
{
  size_t rows = 0;

  for (int64_t i = 0; i < (int64_t)g->ny; i++) {
    const double y = bc_grid_y(g, i);
    if (y < s - BC_SNAP_DEGREES || y > n + BC_SNAP_DEGREES) continue;
    if (rows++ == 0) *first = i;
  }
  return rows;
}

/* On a grid that ends, marked columns may lie at both ends with a gap between. */
static bool two_parts(const bc_grid *g, const bool *in)
{
  int runs = 0;

  for (uint32_t j = 0; j < g->nx; j++) {
    runs += in[j] && (j == 0 || !in[j - 1]);
  }
  return runs > 1;
}

static void check_box(const bc_grid *g, double w, double s, double e, double n)
{
  bool in[3600];
  int64_t first = 0;
  const size_t rows = brute_rows(g, s, n, &first), cols = brute_columns(g, w, e, in);
  bc_err err = { .code = BC_OK };
  bc_box b;
  const bc_status st = bc_grid_box(g, w, s, e, n, &b, &err);

  if (!g->wraps && two_parts(g, in)) {
    cr_assert_eq(st, BC_E_UNSUPPORTED, "%s %.9g,%.9g,%.9g,%.9g: two parts, %d", g->name, w, s, e, n, (int)st);
    return;
  }
  if (rows == 0 || cols == 0) {
    cr_assert_eq(st, BC_E_RANGE, "%s %.9g,%.9g,%.9g,%.9g: nothing, %d", g->name, w, s, e, n, (int)st);
    return;
  }
  cr_assert_eq(st, BC_OK, "%s %.9g,%.9g,%.9g,%.9g: %s", g->name, w, s, e, n, err.msg);
  cr_assert(b.y == first && b.ny == (int64_t)rows && b.nx == (int64_t)cols,
            "%s %.9g,%.9g,%.9g,%.9g: rows %lld+%lld not %lld+%zu, %lld columns not %zu", g->name, w, s, e, n,
            (long long)b.y, (long long)b.ny, (long long)first, rows, (long long)b.nx, cols);
  cr_assert(b.x >= 0 && b.x < (int64_t)g->nx && (g->wraps || b.x + b.nx <= (int64_t)g->nx));
  for (int64_t j = b.x; j < b.x + b.nx; j++) {
    cr_assert(in[j % (int64_t)g->nx], "%s %.9g,%.9g,%.9g,%.9g: column %lld", g->name, w, s, e, n,
              (long long)j);
    in[j % (int64_t)g->nx] = false; /* no column twice */
  }
}

Test(box, random_boxes_against_brute_force)
{
  const bc_grid k[] = { named("wgs84-2p5"),
                        named("wgs84-1p0"),
                        named("wgs84-0p25"),
                        cut("wgs84-1p0", -25, 32, 45, 72),
                        cut("wgs84-2p5", 170, -20, -170, 20),
                        cut("wgs84-1p0", -170, -20, 175, 20),
                        cut("wgs84-0p1", 3.1, 50, 5, 51) };
  uint64_t seed = 7;

  for (int i = 0; i < 10000; i++) {
    const bc_grid *const g = &k[i % (int)BC_ARRAY_LEN(k)];
    const bool narrow = next_random(&seed) % 2 == 0; /* near the grid, small */
    const bool on_nodes = next_random(&seed) % 3 == 0;
    const double mid = narrow ? bc_grid_x(g, (int64_t)(next_random(&seed) % g->nx)) : 0;
    double w = narrow ? mid + uniform(&seed, -8, 1) : uniform(&seed, -180, 360);
    double e = narrow ? mid + uniform(&seed, 1, 8) : uniform(&seed, -180, 360);
    double s = uniform(&seed, -90, 90), n = uniform(&seed, -90, 90);
    if (on_nodes) {
      w = bc_grid_x(g, (int64_t)(next_random(&seed) % g->nx));
      e = bc_grid_x(g, (int64_t)(next_random(&seed) % g->nx));
      if (next_random(&seed) % 2 == 0) w = bc_lon_360(w), e = bc_lon_360(e);
      s = bc_grid_y(g, (int64_t)(next_random(&seed) % g->ny));
      n = bc_grid_y(g, (int64_t)(next_random(&seed) % g->ny));
    }
    if (e - w > 360) e = w + 360;
    check_box(g, w, BC_MIN(s, n), e, BC_MAX(s, n));
  }
}

typedef struct box_case {
  double w, s, e, n;
  bc_box box;
} box_case;

static void check_cases(const bc_grid *g, const box_case *k, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    bc_box b;
    bc_err err = { .code = BC_OK };
    cr_expect_eq(bc_grid_box(g, k[i].w, k[i].s, k[i].e, k[i].n, &b, &err), BC_OK, "case %zu: %s", i, err.msg);
    cr_expect(memcmp(&b, &k[i].box, sizeof b) == 0, "case %zu: %lld %lld %lld %lld", i, (long long)b.y,
              (long long)b.x, (long long)b.ny, (long long)b.nx);
  }
}

Test(box, on_a_global_grid)
{
  static const box_case k[] = {
    { -180, -90, 180, 90, { 0, 0, 721, 1440 } },
    { 0, -90, 360, 90, { 0, 720, 721, 1440 } },
    { -180, -90, 179.75, 90, { 0, 0, 721, 1440 } },
    { -10, 50, 350, 50, { 160, 680, 1, 1440 } },
    { 170, 0, -170, 0, { 360, 1400, 1, 81 } },
    { 170, 0, 190, 0, { 360, 1400, 1, 81 } },
    { -10, 0, 50, 0, { 360, 680, 1, 241 } },
    { 350, 0, 50, 0, { 360, 680, 1, 241 } },
    { 4, 50, 4, 50, { 160, 736, 1, 1 } },
    { 3.9, 49.9, 4.1, 50.1, { 160, 736, 1, 1 } },
    { 180, 0, 180, 0, { 360, 0, 1, 1 } },
    { -180, 0, -180, 0, { 360, 0, 1, 1 } },
    { 4.00009, 0, 4.24991, 0, { 360, 736, 1, 2 } },
    { 179.76, 0, 180, 0, { 360, 0, 1, 1 } },
    { -25, 32, 45, 72, { 72, 620, 161, 281 } },
    { -0.00005, 0, 0, 0, { 360, 720, 1, 1 } },
    { 180.00005, 0, 180.1, 0, { 360, 0, 1, 1 } },
    { 10, 0, -10, 0, { 360, 760, 1, 1361 } },
    { -180, 89.9, -179.9, 90.00005, { 0, 0, 1, 1 } },
    { 350, 0, -20, 0, { 360, 680, 1, 1401 } },
  };
  const bc_grid g = named("wgs84-0p25");

  check_cases(&g, k, BC_ARRAY_LEN(k));
}

Test(box, on_a_grid_that_crosses_180)
{
  static const box_case k[] = { { -180, -90, 180, 90, { 0, 0, 17, 9 } }, { 0, -90, 360, 90, { 0, 0, 17, 9 } },
                                { 175, 0, -175, 0, { 8, 2, 1, 5 } },     { 175, 0, 185, 0, { 8, 2, 1, 5 } },
                                { -175, 0, -60, 0, { 8, 6, 1, 3 } },     { 100, 0, 172.5, 0, { 8, 0, 1, 2 } },
                                { -60, 0, 60, 0, { 0, 0, 0, 0 } } };
  const bc_grid g = cut("wgs84-2p5", 170, -20, -170, 20);
  bc_box b;
  bc_err err;

  cr_assert(g.x0 == 170 && g.nx == 9 && !g.wraps && g.y0 == 20 && g.ny == 17);
  cr_assert_str_eq(g.name, "wgs84-2p5-17x9");
  check_cases(&g, k, BC_ARRAY_LEN(k) - 1);
  cr_assert_eq(bc_grid_box(&g, -60, 0, 60, 0, &b, &err), BC_E_RANGE);
  cr_assert_eq(bc_grid_box(&g, -175, 0, 175, 0, &b, &err), BC_E_UNSUPPORTED);
}

Test(box, refusals)
{
  static const struct {
    double w, s, e, n;
    bc_status st;
    const char *word;
  } k[] = {
    { 4.1, 50, 4.2, 50, BC_E_RANGE, "longitude 4.25" },   { 4, 50.1, 4, 50.2, BC_E_RANGE, "latitude 50.25" },
    { 0, 10, 1, 5, BC_E_INVAL, "bbox is W,S,E,N" },       { 0, -91, 1, 5, BC_E_INVAL, "bbox is W,S,E,N" },
    { 0, 0, 1, 90.1, BC_E_INVAL, "bbox is W,S,E,N" },     { 0, 0, 361, 5, BC_E_INVAL, "beyond 360" },
    { -361, 0, 0, 5, BC_E_INVAL, "beyond 360" },          { -180, 0, 360, 5, BC_E_INVAL, "one turn" },
    { NAN, 0, 1, 5, BC_E_INVAL, "bbox is W,S,E,N" },      { 0, NAN, 1, 5, BC_E_INVAL, "bbox is W,S,E,N" },
    { 0, 0, INFINITY, 5, BC_E_INVAL, "bbox is W,S,E,N" }, { 0, 0, 1, NAN, BC_E_INVAL, "bbox is W,S,E,N" },
  };
  const bc_grid g = named("wgs84-0p25"), europe = cut("wgs84-0p25", -25, 32, 45, 72);
  bc_err err;
  bc_box b;

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    cr_expect_eq(bc_grid_box(&g, k[i].w, k[i].s, k[i].e, k[i].n, &b, &err), k[i].st, "case %zu", i);
    cr_expect(strstr(err.msg, k[i].word) != NULL, "case %zu: %s", i, err.msg);
  }
  cr_assert_eq(bc_grid_box(&europe, 100, 0, 110, 10, &b, &err), BC_E_RANGE);
  cr_assert(strstr(err.msg, "latitudes 32 to 72, longitudes -25 to 45") != NULL, "%s", err.msg);
}

Test(box, subsets)
{
  bc_grid g = named("wgs84-0p25");
  bc_err err;

  cr_assert_eq(bc_grid_subset(&g, 0, -90, 360, 90, &err), BC_OK); /* all of it: nothing changes */
  cr_assert(g.x0 == -180 && g.wraps);
  cr_assert_str_eq(g.name, "wgs84-0p25");
  cr_assert_eq(bc_grid_subset(&g, 0, 0, 360, 90, &err), BC_OK); /* a half still wraps */
  cr_assert(g.x0 == -180 && g.nx == 1440 && g.ny == 361 && g.wraps);
  cr_assert_eq(bc_grid_check(&g, &err), BC_OK, "%s", err.msg);
  cr_assert_eq(bc_grid_subset(&g, 350, 30, 50, 60, &err), BC_OK);
  cr_assert(g.x0 == -10 && g.nx == 241 && g.y0 == 60 && g.ny == 121 && !g.wraps);
  cr_assert_str_eq(g.name, "wgs84-0p25-121x241");
  cr_assert_eq(bc_grid_check(&g, &err), BC_OK, "%s", err.msg);
  cr_assert_eq(bc_grid_subset(&g, 60, 30, 70, 60, &err), BC_E_RANGE);
  cr_assert_eq(g.nx, 241);
}

/* ---- cells ---- */

Test(cell, numbers_are_morton_and_reversible)
{
  uint64_t seed = 3;

  cr_assert_eq(bc_cell_number(0, 0), 0);
  cr_assert_eq(bc_cell_number(0, 1), 1);
  cr_assert_eq(bc_cell_number(1, 0), 2);
  cr_assert_eq(bc_cell_number(3, 5), 27); /* y 0011, x 0101, interleaved 0001 1011 */
  cr_assert_eq(bc_cell_number(8191, 8191), (1u << BC_CELL_BITS) - 1);
  for (int i = 0; i < 100000; i++) {
    const uint32_t y = (uint32_t)next_random(&seed) % 8192, x = (uint32_t)next_random(&seed) % 8192;
    uint32_t naive = 0, cy = 0, cx = 0;
    for (uint32_t b = 0; b < 13; b++) {
      naive |= (x >> b & 1u) << (2 * b) | (y >> b & 1u) << (2 * b + 1);
    }
    bc_cell_position(naive, &cy, &cx);
    cr_assert(bc_cell_number(y, x) == naive && cy == y && cx == x, "%u %u", y, x);
  }
}

Test(cell, shapes)
{
  bc_grid g = named("wgs84-0p25");

  cr_assert(bc_grid_cell_ny(&g) == 64 && bc_grid_cell_nx(&g) == 64);
  cr_assert(bc_grid_cells_y(&g) == 12 && bc_grid_cells_x(&g) == 23); /* the last ones are partial */
  g.cell = 721;
  cr_assert(bc_grid_cells_y(&g) == 1 && bc_grid_cells_x(&g) == 2);
  g.cell = 0;
  cr_assert(bc_grid_cell_ny(&g) == 721 && bc_grid_cell_nx(&g) == 1440);
  cr_assert(bc_grid_cells_y(&g) == 1 && bc_grid_cells_x(&g) == 1);
}

#define REFUSED(change, word)                                                                                \
  do {                                                                                                       \
    bc_grid g = named("wgs84-1p0");                                                                          \
    bc_err err = { .code = BC_OK };                                                                          \
    change;                                                                                                  \
    cr_expect_eq(bc_grid_check(&g, &err), BC_E_INVAL, #change);                                              \
    cr_expect(strstr(err.msg, word) != NULL, "%s: %s", #change, err.msg);                                    \
  } while (0)

Test(grid, check_refuses)
{
  REFUSED(g.name[0] = '\0', "name");
  REFUSED(memset(g.name, 'a', sizeof g.name), "name");
  REFUSED(g.name[2] = '/', "letters");
  REFUSED(g.crs[0] = '\0', "CRS");
  REFUSED(memset(g.crs, 'a', sizeof g.crs), "CRS");
  REFUSED(g.ny = 0, "none");
  REFUSED(g.nx = 0, "none");
  REFUSED(g.dy = 1, "below 0");
  REFUSED(g.dy = 0, "below 0");
  REFUSED(g.dx = -1, "above 0");
  REFUSED(g.dx = NAN, "not a number");
  REFUSED(g.dy = -INFINITY, "not a number");
  REFUSED(g.y0 = NAN, "not a number");
  REFUSED(g.x0 = INFINITY, "not a number");
  REFUSED(g.y0 = 91, "poles");
  REFUSED(g.ny = 182, "poles");
  REFUSED(g.x0 = 180, "first longitude");
  REFUSED(g.x0 = -181, "first longitude");
  REFUSED(g.nx = 361, "one turn");
  REFUSED(g.nx = UINT32_MAX, "one turn");
  REFUSED(g.wraps = false, "does not wrap");
  REFUSED(g.nx = 359, "do not close");
  REFUSED((g.dx = 1e-4, g.wraps = false), "finer");
  REFUSED((g.dy = -1e-5), "finer");
  REFUSED(g.cell = 5000, "5000 nodes");
  REFUSED((g.dx = 0.03, g.nx = 9000, g.wraps = false, g.cell = 1), "cells");
  REFUSED(memcpy(g.crs, "EPSG:3035", 10), "wrap");
}
