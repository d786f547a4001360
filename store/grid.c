/*
 * Grids: named lattices, boxes of nodes, cells. grid_axes.c recognises lattices from axes.
 */
#include "store/grid_int.h"

#include <inttypes.h>
#include <stdio.h>

#include "store/base.h"

enum {
  MAX_CELLS_PER_SIDE = 1 << (BC_CELL_BITS / 2),
  MAX_CELL = 4096,
  MAX_FULL = 1 << 20 /* nodes per side of a grid that is one cell, as of a tile */
};
#define FARTHEST 1e12 /* degrees or metres: beyond are no places, and sums lose what they mean */

double bc_lon_180(double lon)
{
  double r = lon;

  if (lon >= -180.0 && lon < 180.0) return lon;
  r = fmod(lon, 360.0); /* exact, as are the sums below */
  if (r >= 180.0) r -= 360.0;
  if (r < -180.0) r += 360.0;
  return r;
}

double bc_lon_360(double lon)
{
  double r = lon;

  if (lon >= 0.0 && lon < 360.0) return lon;
  r = fmod(lon, 360.0);
  if (r < 0.0) r += 360.0;
  return r >= 360.0 ? 0.0 : r; /* the sum may round up */
}

double bc_grid_y(const bc_grid *g, int64_t i) { return bc_grid_clean(g->y0 + (double)i * g->dy); }

double bc_grid_x(const bc_grid *g, int64_t j)
{
  const double x = bc_grid_clean(g->x0 + (double)j * g->dx);

  return bc_grid_in_degrees(g) ? bc_grid_clean(bc_lon_180(x)) : x;
}

/* ---- names ---- */

static const char *const k_names[] = {
  "wgs84-0p25", "wgs84-0p1", "wgs84-0p5", "wgs84-1p0", "wgs84-2p5", NULL
};
static const uint32_t k_rows[] = { 721, 1801, 361, 181, 73 }; /* both poles have a row */

const char *const *bc_grid_names(void) { return k_names; }

static bc_grid global_lattice(uint32_t ny)
{
  const uint32_t nx = 2 * (ny - 1);

  return (bc_grid){ .crs = "EPSG:4326",
                    .y0 = 90.0,
                    .dy = -180.0 / (double)(ny - 1),
                    .x0 = -180.0,
                    .dx = 360.0 / (double)nx,
                    .ny = ny,
                    .nx = nx,
                    .cell = BC_CELL_DEFAULT,
                    .wraps = true };
}

bc_status bc_grid_named(const char *name, bc_grid *out, bc_err *err)
{
  *out = (bc_grid){ .cell = 0 };
  for (size_t i = 0; k_names[i] != NULL; i++) {
    if (strcmp(name, k_names[i]) != 0) continue;
    *out = global_lattice(k_rows[i]);
    (void)bc_copy_text(out->name, sizeof out->name, name);
    return BC_OK;
  }
  return BC_FAIL(err, BC_E_NOTFOUND,
                 "no grid \"%.64s\": there are wgs84-0p25, wgs84-0p1, wgs84-0p5, wgs84-1p0 and wgs84-2p5",
                 name);
}

/* "0p25", "1p0", "0p942408": up to six decimals, at least one. */
static void step_text(double step, char *dst, size_t cap)
{
  const uint64_t micro = (uint64_t)fmin(nearbyint(step * 1e6), 1e15);
  size_t n = 0;

  (void)snprintf(dst, cap, "%" PRIu64 "p%06u", micro / 1000000u, (unsigned)(micro % 1000000u));
  for (n = strlen(dst); dst[n - 1] == '0' && dst[n - 2] != 'p'; n--) {
    dst[n - 1] = '\0';
  }
}

void bc_grid_make_name(bc_grid *g)
{
  char dy[32], dx[32];

  for (size_t i = 0; k_names[i] != NULL; i++) {
    const bc_grid n = global_lattice(k_rows[i]);
    if (n.ny == g->ny && n.nx == g->nx && n.y0 == g->y0 && n.x0 == g->x0 && n.dy == g->dy && n.dx == g->dx) {
      (void)bc_copy_text(g->name, sizeof g->name, k_names[i]);
      return;
    }
  }
  step_text(-g->dy, dy, sizeof dy);
  step_text(g->dx, dx, sizeof dx);
  (void)snprintf(g->name, sizeof g->name, "%s-%.14s%s%.14s-%" PRIu32 "x%" PRIu32,
                 bc_grid_in_degrees(g) ? "wgs84" : "grid", dy, strcmp(dy, dx) == 0 ? "" : "x",
                 strcmp(dy, dx) == 0 ? "" : dx, g->ny, g->nx);
}

/* ---- positions ---- */

bool bc_grid_row(const bc_grid *g, double lat, int64_t *i, double *off)
{
  const double k = (lat - g->y0) / g->dy, last = (double)g->ny - 1.0;
  const double row = k > 0.0 ? fmin(floor(k + 0.5), last) : 0.0;

  *i = (int64_t)row;
  if (off != NULL) *off = fabs(lat - bc_grid_y(g, *i));
  return k >= -0.5 - 1e-9 && k <= last + 0.5 + 1e-9; /* false for NaN */
}

/* Degrees (or metres) east of the first column; in degrees within [0, 360]. */
static double east_of_origin(const bc_grid *g, double x)
{
  const double d = x - g->x0;

  return bc_grid_in_degrees(g) ? d - 360.0 * floor(d / 360.0) : d;
}

bool bc_grid_col(const bc_grid *g, double lon, int64_t *j, double *off)
{
  const double last = (double)g->nx - 1.0;
  double k = east_of_origin(g, lon) / g->dx, col = 0.0, away = 0.0;

  if (bc_grid_in_degrees(g) && !g->wraps) { /* between the ends, the nearer one counts */
    const double back = 360.0 / g->dx - k;
    if (k - last > back) k = -back;
  }
  if (k > 0.0) col = floor(k + 0.5);
  if (!g->wraps) col = fmin(col, last);
  away = fabs(k - col);
  *j = col <= last ? (int64_t)col : 0;
  if (off != NULL) *off = away * g->dx;
  return away <= 0.5 + 1e-9; /* false for NaN */
}

/* ---- boxes ---- */

static bc_status bad_box(double w, double s, double e, double n, const char *what, bc_err *err)
{
  return BC_FAIL(err, BC_E_INVAL, "bbox is W,S,E,N in degrees; in %.10g,%.10g,%.10g,%.10g %s", w, s, e, n,
                 what);
}

static bc_status check_bounds(const bc_grid *g, double w, double s, double e, double n, bc_err *err)
{
  if (!isfinite(w) || !isfinite(s) || !isfinite(e) || !isfinite(n))
    return bad_box(w, s, e, n, "a number is missing", err);
  if (s > n) return bad_box(w, s, e, n, "south lies north of north", err);
  if (!bc_grid_in_degrees(g)) return w <= e ? BC_OK : bad_box(w, s, e, n, "west lies east of east", err);
  if (n > 90.0 + BC_SNAP_DEGREES || s < -90.0 - BC_SNAP_DEGREES)
    return bad_box(w, s, e, n, "a latitude is beyond 90", err);
  if (fabs(w) > 360.0 || fabs(e) > 360.0) return bad_box(w, s, e, n, "a longitude is beyond 360", err);
  if (e - w > 360.0 + BC_SNAP_DEGREES) return bad_box(w, s, e, n, "more than one turn is asked for", err);
  return BC_OK;
}

static bc_status no_node(const bc_grid *g, double w, double s, double e, double n, bc_err *err)
{
  int64_t i = 0, j = 0;
  const double y = (s + n) / 2.0, x = w + (e < w ? e + 360.0 - w : e - w) / 2.0;

  (void)bc_grid_row(g, y, &i, NULL);
  (void)bc_grid_col(g, x, &j, NULL);
  return BC_FAIL(
      err, BC_E_RANGE,
      "no node of grid %s lies in bbox %.10g,%.10g,%.10g,%.10g: the nearest to its middle is latitude "
      "%.10g, longitude %.10g; the grid spans latitudes %.10g to %.10g, longitudes %.10g to %.10g",
      g->name, w, s, e, n, bc_grid_y(g, i), bc_grid_x(g, j), bc_grid_y(g, (int64_t)g->ny - 1),
      bc_grid_y(g, 0), bc_grid_x(g, 0), bc_grid_x(g, (int64_t)g->nx - 1));
}

/* A run of rows or columns first..last; empty when last < first. */
typedef struct run {
  int64_t first, last;
} run;

/* Nodes at k * step, k in [0, n), that lie in [from, to]. */
static run nodes_within(double from, double to, double step, uint32_t n)
{
  const double lo = ceil((from - BC_SNAP_DEGREES) / step), hi = floor((to + BC_SNAP_DEGREES) / step);
  const double last = (double)n - 1.0;

  if (hi < lo || hi < 0.0 || lo > last) return (run){ 0, -1 };
  return (run){ (int64_t)fmax(lo, 0.0), (int64_t)fmin(hi, last) };
}

static run columns_wrapping(const bc_grid *g, double from, double span)
{
  const int64_t nx = (int64_t)g->nx;
  const int64_t lo = (int64_t)ceil((from - BC_SNAP_DEGREES) / g->dx);
  const int64_t hi = (int64_t)floor((from + span + BC_SNAP_DEGREES) / g->dx);
  const int64_t n = BC_MIN(hi - lo + 1, nx); /* a full circle gives no column twice */
  const int64_t first = (lo % nx + nx) % nx;

  return (run){ first, first + n - 1 };
}

/* On a grid that ends, a box that goes round the world may meet the west end a second time. */
static bc_status columns_ending(const bc_grid *g, double from, double span, run *out, bc_err *err)
{
  const run a = nodes_within(from, from + span, g->dx, g->nx);
  const run b =
      bc_grid_in_degrees(g) ? nodes_within(from - 360.0, from + span - 360.0, g->dx, g->nx) : (run){ 0, -1 };

  *out = a.last < a.first ? b : a;
  if (a.last < a.first || b.last < b.first) return BC_OK;
  if (b.last + 1 < a.first)
    return BC_FAIL(
        err, BC_E_UNSUPPORTED,
        "the bbox goes round the world and meets grid %s in two parts, longitudes %.10g to %.10g and "
        "%.10g to %.10g: ask for one at a time",
        g->name, bc_grid_x(g, a.first), bc_grid_x(g, a.last), bc_grid_x(g, b.first), bc_grid_x(g, b.last));
  *out = (run){ BC_MIN(a.first, b.first), BC_MAX(a.last, b.last) };
  return BC_OK;
}

bc_status bc_grid_box(const bc_grid *g, double west, double south, double east, double north, bc_box *out,
                      bc_err *err)
{
  run rows = { 0, -1 }, cols = { 0, -1 };
  double from = 0, span = 0;

  *out = (bc_box){ 0, 0, 0, 0 };
  BC_RET(check_bounds(g, west, south, east, north, err));
  span = east - west;
  while (span < 0.0) {
    span += 360.0;
  }
  from = east_of_origin(g, west);
  rows = nodes_within(g->y0 - north, g->y0 - south, -g->dy, g->ny);
  if (g->wraps)
    cols = columns_wrapping(g, from, span);
  else
    BC_RET(columns_ending(g, from, span, &cols, err));
  if (rows.last < rows.first || cols.last < cols.first) return no_node(g, west, south, east, north, err);
  *out = (bc_box){ rows.first, cols.first, rows.last - rows.first + 1, cols.last - cols.first + 1 };
  return BC_OK;
}

bc_status bc_grid_subset(bc_grid *g, double west, double south, double east, double north, bc_err *err)
{
  bc_box box;
  bool whole = false;

  BC_RET(bc_grid_box(g, west, south, east, north, &box, err));
  whole = box.nx == (int64_t)g->nx;
  if (whole && box.ny == (int64_t)g->ny) return BC_OK;
  g->y0 = bc_grid_y(g, box.y);
  if (!whole) g->x0 = bc_grid_x(g, box.x);
  g->ny = (uint32_t)box.ny;
  g->nx = (uint32_t)box.nx;
  g->wraps = g->wraps && whole;
  bc_grid_make_name(g);
  return BC_OK;
}

/* ---- cells ---- */

uint32_t bc_grid_cell_ny(const bc_grid *g) { return g->cell != 0 ? g->cell : g->ny; }
uint32_t bc_grid_cell_nx(const bc_grid *g) { return g->cell != 0 ? g->cell : g->nx; }

static uint32_t cells(uint32_t nodes, uint32_t cell)
{
  return cell == 0 ? 1 : nodes / cell + (nodes % cell != 0 ? 1u : 0u);
}

uint32_t bc_grid_cells_y(const bc_grid *g) { return cells(g->ny, g->cell); }
uint32_t bc_grid_cells_x(const bc_grid *g) { return cells(g->nx, g->cell); }

/* A zero bit between each two of 13 bits, and back: Warren, Hacker's Delight, section 7-2. */
static uint32_t spread_bits(uint32_t v)
{
  v &= 0x1FFFu;
  v = (v | v << 8) & 0x00FF00FFu;
  v = (v | v << 4) & 0x0F0F0F0Fu;
  v = (v | v << 2) & 0x33333333u;
  return (v | v << 1) & 0x55555555u;
}

static uint32_t gather_bits(uint32_t v)
{
  v &= 0x55555555u;
  v = (v | v >> 1) & 0x33333333u;
  v = (v | v >> 2) & 0x0F0F0F0Fu;
  v = (v | v >> 4) & 0x00FF00FFu;
  return (v | v >> 8) & 0x1FFFu;
}

uint32_t bc_cell_number(uint32_t cy, uint32_t cx) { return spread_bits(cy) << 1 | spread_bits(cx); }

void bc_cell_position(uint32_t number, uint32_t *cy, uint32_t *cx)
{
  *cy = gather_bits(number >> 1);
  *cx = gather_bits(number);
}

/* ---- checks ---- */

static bc_status check_name(const bc_grid *g, bc_err *err)
{
  const char *const end = memchr(g->name, 0, sizeof g->name);

  if (end == NULL || end == g->name)
    return BC_FAIL(err, BC_E_INVAL, "a grid has a name of 1 to %zu characters", sizeof g->name - 1);
  for (const char *c = g->name; c < end; c++) {
    if ((*c < 'a' || *c > 'z') && (*c < 'A' || *c > 'Z') && (*c < '0' || *c > '9') &&
        strchr("_.-", *c) == NULL)
      return BC_FAIL(err, BC_E_INVAL, "grid name \"%s\": letters, digits, _, . and - are allowed", g->name);
  }
  if (memchr(g->crs, 0, sizeof g->crs) == NULL || g->crs[0] == '\0')
    return BC_FAIL(err, BC_E_INVAL, "grid %s: the CRS has a name of 1 to %zu characters", g->name,
                   sizeof g->crs - 1);
  return BC_OK;
}

static bc_status check_degrees(const bc_grid *g, bc_err *err)
{
  const double last = g->y0 + ((double)g->ny - 1.0) * g->dy, turn = (double)g->nx * g->dx;
  const bool round = fabs(turn - 360.0) <= BC_SNAP_DEGREES;

  if (g->y0 > 90.0 + BC_SNAP_DEGREES || last < -90.0 - BC_SNAP_DEGREES)
    return BC_FAIL(err, BC_E_INVAL, "grid %s: latitudes %.10g to %.10g reach beyond the poles", g->name, last,
                   g->y0);
  if (g->x0 < -180.0 || g->x0 >= 180.0)
    return BC_FAIL(err, BC_E_INVAL, "grid %s: the first longitude, %.10g, is outside -180..180", g->name,
                   g->x0);
  if (turn - g->dx > 360.0 - BC_SNAP_DEGREES) /* the last column stands on the first or beyond */
    return BC_FAIL(err, BC_E_INVAL, "grid %s: %" PRIu32 " columns of %.10g degrees are more than one turn",
                   g->name, g->nx, g->dx);
  if (g->wraps != round)
    return BC_FAIL(err, BC_E_INVAL, "grid %s: %" PRIu32 " columns of %.10g degrees %s", g->name, g->nx, g->dx,
                   round ? "close the circle, but it says that it does not wrap" : "do not close the circle");
  if (-g->dy < 2.0 * BC_SNAP_DEGREES || g->dx < 2.0 * BC_SNAP_DEGREES)
    return BC_FAIL(err, BC_E_INVAL,
                   "grid %s: a step of %.10g x %.10g degrees is finer than positions are told apart", g->name,
                   -g->dy, g->dx);
  return BC_OK;
}

bc_status bc_grid_check(const bc_grid *g, bc_err *err)
{
  BC_RET(check_name(g, err));
  if (g->ny == 0 || g->nx == 0)
    return BC_FAIL(err, BC_E_INVAL, "grid %s: %" PRIu32 " x %" PRIu32 " nodes are none", g->name, g->ny,
                   g->nx);
  if (!isfinite(g->y0) || !isfinite(g->x0) || !isfinite(g->dy) || !isfinite(g->dx))
    return BC_FAIL(err, BC_E_INVAL, "grid %s: an origin or step is not a number", g->name);
  if (g->dy >= 0.0 || g->dx <= 0.0)
    return BC_FAIL(err, BC_E_INVAL,
                   "grid %s: steps %.10g (south) and %.10g (east): expected below 0 and above 0", g->name,
                   g->dy, g->dx);
  if (fabs(g->y0) + g->ny * -g->dy > FARTHEST || fabs(g->x0) + g->nx * g->dx > FARTHEST)
    return BC_FAIL(err, BC_E_INVAL, "grid %s: it reaches farther than %g from its origin", g->name, FARTHEST);
  if (bc_grid_in_degrees(g)) BC_RET(check_degrees(g, err));
  if (!bc_grid_in_degrees(g) && g->wraps)
    return BC_FAIL(err, BC_E_INVAL, "grid %s: only a grid in EPSG:4326 can wrap, this one is in %s", g->name,
                   g->crs);
  if (g->cell > MAX_CELL)
    return BC_FAIL(err, BC_E_INVAL, "grid %s: cells of %" PRIu32 " nodes per side: %d are allowed", g->name,
                   g->cell, MAX_CELL);
  if (g->cell == 0 && (g->ny > MAX_FULL || g->nx > MAX_FULL))
    return BC_FAIL(err, BC_E_INVAL,
                   "grid %s: %" PRIu32 " x %" PRIu32 " nodes in one cell: %d per side are allowed", g->name,
                   g->ny, g->nx, MAX_FULL);
  if (bc_grid_cells_y(g) > MAX_CELLS_PER_SIDE || bc_grid_cells_x(g) > MAX_CELLS_PER_SIDE)
    return BC_FAIL(err, BC_E_INVAL,
                   "grid %s: %" PRIu32 " x %" PRIu32 " cells: %d per side are allowed, make them larger",
                   g->name, bc_grid_cells_y(g), bc_grid_cells_x(g), MAX_CELLS_PER_SIDE);
  return BC_OK;
}
