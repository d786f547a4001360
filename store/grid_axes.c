/*
 * Lattices recognised from the axes of a file: the step and origin that its writer meant.
 */
#include <inttypes.h>

#include "store/base.h"
#include "store/grid_int.h"

/* One axis of a file: v[i] stands near first + i * step. Ascending or descending. */
typedef struct axis {
  const char *what; /* "latitude" */
  double *v;        /* owned copy, without jumps of a full turn */
  size_t n;
  double noise; /* by how much rounding to float may have moved a value */
  double first, step;
} axis;

static bc_status axis_copy(axis *a, const double *v, bc_err *err)
{
  size_t bytes = 0;
  double largest = 0.0;
  bool narrow = true;

  if (a->n == 0) return BC_FAIL(err, BC_E_INVAL, "the %s axis has no values", a->what);
  if (a->n > UINT32_MAX || !bc_mul_sz(a->n, sizeof *v, &bytes))
    return BC_FAIL(err, BC_E_RANGE, "the %s axis has %zu values: %" PRIu32 " are allowed", a->what, a->n,
                   UINT32_MAX);
  for (size_t i = 0; i < a->n; i++) {
    if (!(fabs(v[i]) <= 1080.0))
      return BC_FAIL(err, BC_E_UNSUPPORTED, "%s %zu (from 0) is %.10g: degrees are expected", a->what, i,
                     v[i]);
    largest = fmax(largest, fabs(v[i]));
    narrow = narrow && (double)(float)v[i] == v[i];
  }
  a->v = bc_malloc(bytes);
  if (a->v == NULL) return BC_FAIL(err, BC_E_NOMEM, "out of memory: a %s axis of %zu values", a->what, a->n);
  memcpy(a->v, v, bytes);
  /* half a unit in the last of 24 bits: 51.3f is 51.2999992 */
  a->noise = narrow ? largest * 0x1p-24 : 0.0;
  return BC_OK;
}

/* Longitudes may jump by a turn inside the axis (..., 179, -180, ... or ..., 359, 0, ...). */
static void axis_unwrap(axis *a)
{
  for (size_t i = 1; i < a->n; i++) {
    const double d = a->v[i] - a->v[i - 1];
    if (fabs(d) > 180.0 + BC_SNAP_DEGREES) a->v[i] -= 360.0 * nearbyint(d / 360.0);
  }
  if (a->n > 2 && fabs(fabs(a->v[a->n - 1] - a->v[0]) - 360.0) <= BC_SNAP_DEGREES)
    a->n--; /* repeated column */
}

/* The origins that go with this step lie around *mid; the return value is how far the nodes are off it. */
static double axis_spread(const axis *a, double step, double *mid)
{
  double lo = a->v[0], hi = a->v[0];

  for (size_t i = 1; i < a->n; i++) {
    const double origin = a->v[i] - (double)i * step;
    lo = fmin(lo, origin);
    hi = fmax(hi, origin);
  }
  *mid = (lo + hi) / 2.0;
  return (hi - lo) / 2.0;
}

static double round_to(double v, int decimals)
{
  static const double k_pow10[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6 };

  return nearbyint(v * k_pow10[decimals]) / k_pow10[decimals];
}

/* Takes the step if some origin keeps all nodes within tol; the origin with the fewest decimals is taken. */
static bool axis_try(axis *a, double step, double tol)
{
  double mid = 0.0;
  const double spread = step != 0.0 || a->n == 1 ? axis_spread(a, step, &mid) : INFINITY;

  if (spread > tol) return false;
  a->step = step;
  a->first = mid;
  for (int decimals = 0; decimals <= 6; decimals++) {
    const double origin = round_to(mid, decimals);
    if (fabs(origin - mid) + spread <= tol) {
      a->first = origin;
      break;
    }
  }
  return true;
}

static bc_status axis_uneven(const axis *a, double step, bc_err *err)
{
  size_t worst = 0;
  double off = 0.0;

  for (size_t i = 0; i < a->n; i++) {
    const double d = fabs(a->v[i] - (a->v[0] + (double)i * step));
    if (d > off) {
      off = d;
      worst = i;
    }
  }
  return BC_FAIL(
      err, BC_E_UNSUPPORTED,
      "the %s axis is not evenly spaced: value %zu (from 0), %.10g, is %.4g degrees off an even step of "
      "%.6g; a regular grid is expected (Gaussian rows: create the store on a regular grid, and ingest "
      "--regrid)",
      a->what, worst, a->v[worst], off, step);
}

/*
 * Finds the step that the writer meant: a short decimal, else a whole part of the circle (1/12 degree,
 * 180/191), else a longer decimal, else what the values say. Values may be rounded to float or to a few
 * decimals.
 */
static bc_status axis_fit(axis *a, bc_err *err)
{
  const double raw = a->n > 1 ? (a->v[a->n - 1] - a->v[0]) / (double)(a->n - 1) : 0.0;
  double mid = 0.0, spread = 0.0, tol = 0.0;

  spread = axis_spread(a, raw, &mid);
  if (spread > BC_SNAP_DEGREES) return axis_uneven(a, raw, err);
  if (a->n > 1 && fabs(raw) < 2.0 * BC_SNAP_DEGREES)
    return BC_FAIL(err, BC_E_UNSUPPORTED,
                   "the %s axis has a step of %.4g degrees; nodes have to be %g apart at least", a->what, raw,
                   2.0 * BC_SNAP_DEGREES);
  tol = fmin(BC_SNAP_DEGREES, fmax(fmax(1e-9, 1.01 * a->noise), 2.0 * spread));
  for (int decimals = 0; decimals <= 6; decimals++) {
    if (decimals == 4 && axis_try(a, 360.0 / nearbyint(360.0 / raw), tol)) return BC_OK;
    if (axis_try(a, round_to(raw, decimals), tol)) return BC_OK;
  }
  (void)axis_try(a, raw, tol);
  return BC_OK;
}

/* Both ways round become one: first is the smallest value, step positive. */
static void axis_ascend(axis *a)
{
  if (a->step >= 0.0) return;
  a->first = bc_grid_clean(a->first + (double)(a->n - 1) * a->step);
  a->step = -a->step;
}

/* A lone node claims the smallest area: the finest named lattice that it stands on, 0.1 degrees if none. */
static double lone_step(double lat, double lon)
{
  static const double k_steps[] = { 0.1, 0.25, 0.5, 1.0, 2.5 };

  for (size_t i = 0; i < BC_ARRAY_LEN(k_steps); i++) {
    const double y = lat / k_steps[i], x = lon / k_steps[i];
    if (fabs(y - nearbyint(y)) * k_steps[i] <= BC_SNAP_DEGREES &&
        fabs(x - nearbyint(x)) * k_steps[i] <= BC_SNAP_DEGREES)
      return k_steps[i];
  }
  return k_steps[0];
}

static void axes_lone(axis *lat, axis *lon)
{
  if (lat->n == 1 && lon->n == 1) lat->step = lon->step = lone_step(lat->first, lon->first);
  if (lat->n == 1) lat->step = lon->step;
  if (lon->n == 1) lon->step = lat->step;
}

static bc_grid axes_join(const axis *lat, const axis *lon)
{
  bc_grid g = { .crs = "EPSG:4326", .cell = BC_CELL_DEFAULT, .ny = (uint32_t)lat->n, .nx = (uint32_t)lon->n };

  g.dy = -lat->step;
  g.y0 = bc_grid_clean(lat->first + (double)(lat->n - 1) * lat->step);
  g.dx = lon->step;
  g.wraps = fabs((double)lon->n * lon->step - 360.0) <= BC_SNAP_DEGREES;
  if (g.wraps) {
    g.dx = 360.0 / (double)lon->n;
    /* the same columns, from the first at or east of -180 */
    g.x0 = bc_grid_clean(lon->first - g.dx * floor((lon->first + 180.0) / g.dx + 1e-6));
    g.x0 = fmax(g.x0, -180.0);
  } else {
    g.x0 = bc_grid_clean(bc_lon_180(bc_grid_clean(lon->first)));
  }
  bc_grid_make_name(&g);
  return g;
}

bc_status bc_grid_from_axes(const double *lat, size_t nlat, const double *lon, size_t nlon, bc_grid *out,
                            bc_err *err)
{
  bc_status st = BC_OK;
  axis y = { .what = "latitude", .n = nlat }, x = { .what = "longitude", .n = nlon };

  *out = (bc_grid){ .cell = 0 };
  BC_TRY(axis_copy(&y, lat, err));
  BC_TRY(axis_copy(&x, lon, err));
  axis_unwrap(&x);
  BC_TRY(axis_fit(&y, err));
  BC_TRY(axis_fit(&x, err));
  axis_ascend(&y);
  axis_ascend(&x);
  axes_lone(&y, &x);
  *out = axes_join(&y, &x);
  BC_TRY(bc_grid_check(out, err));
out:
  if (st != BC_OK) *out = (bc_grid){ .cell = 0 };
  bc_free(y.v);
  bc_free(x.v);
  return st;
}
