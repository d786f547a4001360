/* Latitudes and longitudes of a file in rising order, whatever its direction and convention. */
#include <math.h>

#include "ingest/regrid_int.h"

static bc_status axis_alloc(bc_rg_axis *a, const char *what, size_t n, bc_err *err)
{
  *a = (bc_rg_axis){ .what = what, .n = n };
  if (n == 0 || n > UINT32_MAX)
    return BC_FAIL(err, BC_E_INVAL, "%zu %ss: 1 to 4294967295 are accepted", n, what);
  a->v = bc_calloc(n, sizeof *a->v);
  a->id = bc_calloc(n, sizeof *a->id);
  return a->v == NULL || a->id == NULL ? bc_rg_no_memory(err) : BC_OK;
}

void bc_rg_axis_dispose(bc_rg_axis *a)
{
  bc_free(a->v);
  bc_free(a->id);
}

static bc_status check_rising(const bc_rg_axis *a, bc_err *err)
{
  for (size_t k = 1; k < a->n; k++) {
    if (a->v[k] > a->v[k - 1]) continue;
    return BC_FAIL(err, BC_E_UNSUPPORTED,
                   "%ss are not in order: %.10g stands beside %.10g (positions %zu and %zu)", a->what,
                   a->v[k], a->v[k - 1], a->id[k - 1], a->id[k]);
  }
  return BC_OK;
}

bc_status bc_rg_read_latitudes(bc_rg_axis *a, const double *lat, size_t n, bc_err *err)
{
  BC_RET(axis_alloc(a, "latitude", n, err));
  for (size_t k = 0; k < n; k++) {
    const size_t id = lat[0] > lat[n - 1] ? n - 1 - k : k;
    if (!(fabs(lat[id]) <= 90 + BC_SNAP_DEGREES))
      return BC_FAIL(err, BC_E_RANGE, "latitude %.10g at position %zu is no latitude", lat[id], id);
    a->v[k] = lat[id];
    a->id[k] = id;
  }
  return check_rising(a, err);
}

/* Difference of two longitudes on the shorter way round, (-180, 180]. */
static double turn_to(double from, double to)
{
  const double d = to - from;
  return d - BC_RG_TURN * ceil((d - BC_RG_TURN / 2) / BC_RG_TURN);
}

static bool runs_westward(const double *lon, size_t n)
{
  size_t west = 0;

  for (size_t k = 1; k < n; k++)
    west += turn_to(lon[k - 1], lon[k]) < 0;
  return n > 1 && west * 2 > n - 1;
}

bc_status bc_rg_read_longitudes(bc_rg_axis *a, const double *lon, size_t n, bc_err *err)
{
  bool westward;

  BC_RET(axis_alloc(a, "longitude", n, err));
  for (size_t k = 0; k < n; k++) {
    if (!(fabs(lon[k]) <= 3 * BC_RG_TURN))
      return BC_FAIL(err, BC_E_RANGE, "longitude %.10g at position %zu is no longitude", lon[k], k);
  }
  westward = runs_westward(lon, n);
  for (size_t k = 0; k < n; k++) {
    const size_t id = westward ? n - 1 - k : k;
    const double step = k == 0 ? 0 : turn_to(lon[a->id[k - 1]], lon[id]);
    a->v[k] = k == 0 ? lon[id] : a->v[k - 1] + step;
    if (k > 0 && fabs(step) < BC_RG_TURN / 2) { /* steps add up rounding: take the file's own number */
      const double exact = lon[id] + BC_RG_TURN * floor((a->v[k] - lon[id]) / BC_RG_TURN + 0.5);
      a->v[k] = exact;
    }
    a->id[k] = id;
  }
  BC_RET(check_rising(a, err));
  while (a->n > 1 && a->v[a->n - 1] - a->v[0] >= BC_RG_TURN - BC_SNAP_DEGREES) {
    if (a->v[a->n - 1] - a->v[0] > BC_RG_TURN + BC_SNAP_DEGREES)
      return BC_FAIL(err, BC_E_UNSUPPORTED, "longitudes span %.10g degrees, more than one turn",
                     a->v[a->n - 1] - a->v[0]);
    a->n--;
    a->has_repeat = true;
  }
  if (a->n > 1) {
    const double gap = BC_RG_TURN - (a->v[a->n - 1] - a->v[0]);
    a->wraps = gap <= 1.5 * (a->v[a->n - 1] - a->v[0]) / (double)(a->n - 1);
  }
  return BC_OK;
}
