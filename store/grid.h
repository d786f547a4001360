/*
 * A grid: a named lattice of nodes, cut into square cells. Pure functions; share freely.
 *
 * Rows run north to south (dy < 0), columns west to east. Node (i, j) stands at y0 + i*dy, x0 + j*dx. For
 * EPSG:4326 x0 is in [-180, 180); a grid that spans 360 degrees wraps.
 */
#ifndef BC_STORE_GRID_H
#define BC_STORE_GRID_H

#include <stdbool.h>

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BC_SNAP_DEGREES 1e-4 /* a position this near to a node is that node */
#define BC_CELL_DEFAULT 64u  /* nodes per side */
#define BC_CELL_BITS    26   /* of a cell number; the 6 bits above name the grid */
#define BC_MAX_GRIDS    64u

typedef struct bc_grid {
  char name[64];        /* "wgs84-0p25", or made from the step: "wgs84-1p0-181x360" */
  char crs[32];         /* "EPSG:4326" */
  double y0, dy;        /* first row, step (negative) */
  double x0, dx;        /* first column, step (positive) */
  uint32_t ny, nx;      /* nodes */
  uint32_t cell;        /* nodes per cell side; 0 = the whole grid is one cell */
  bool cell_registered; /* values stand for areas around the node, not for the node */
  bool wraps;           /* column nx is column 0 again */
} bc_grid;

/** A named lattice: "wgs84-0p25" (721 x 1440 nodes, 90..-90, -180..179.75), "wgs84-0p1", "wgs84-0p5",
 * "wgs84-1p0", "wgs84-2p5". BC_E_NOTFOUND lists the names. */
BC_API bc_status bc_grid_named(const char *name, bc_grid *out, bc_err *err) BC_MUST_CHECK;
/** Names for help texts; NULL-terminated. */
BC_API const char *const *bc_grid_names(void);

/**
 * The lattice that a file's axes stand on: latitudes in either order, longitudes in any convention and from
 * any start, a repeated 360th column dropped. An axis of one value takes the other axis' step; a single node
 * takes the finest step of the named lattices that it stands on, 0.1 degrees if none. Axes rounded to float
 * get the decimals back that were meant. The name is that of a named lattice, or "wgs84-STEP-NYxNX".
 * @return BC_E_UNSUPPORTED when an axis is not evenly spaced (the message gives the largest deviation)
 */
BC_API bc_status bc_grid_from_axes(const double *lat, size_t nlat, const double *lon, size_t nlon,
                                   bc_grid *out, bc_err *err) BC_MUST_CHECK;

/** Cut g to the nodes inside [west, east] x [south, north]; west > east crosses 180. */
BC_API bc_status bc_grid_subset(bc_grid *g, double west, double south, double east, double north,
                                bc_err *err) BC_MUST_CHECK;

BC_API double bc_grid_y(const bc_grid *g, int64_t i);
/** Longitude of column j, which may be >= nx in a grid that wraps; in [-180, 180) for EPSG:4326. */
BC_API double bc_grid_x(const bc_grid *g, int64_t j);
BC_API double bc_lon_180(double lon); /* to [-180, 180), exact where no wrap is needed */
BC_API double bc_lon_360(double lon); /* to [0, 360) */

/** Nearest row or column; *off receives the distance in degrees. false when beyond the grid by more than half
 * a step. */
BC_API bool bc_grid_row(const bc_grid *g, double lat, int64_t *i, double *off);
BC_API bool bc_grid_col(const bc_grid *g, double lon, int64_t *j, double *off);

/* A box of nodes: rows [y, y + ny), columns [x, x + nx); x + nx may pass g->nx in a grid that wraps. */
typedef struct bc_box {
  int64_t y, x, ny, nx;
} bc_box;

/** Nodes inside the bounds, inclusive on the edge (within BC_SNAP_DEGREES). Empty: BC_E_RANGE with the grid's
 * extent. A bbox round the world that meets both ends of a grid that does not wrap: BC_E_UNSUPPORTED. */
BC_API bc_status bc_grid_box(const bc_grid *g, double west, double south, double east, double north,
                             bc_box *out, bc_err *err) BC_MUST_CHECK;

/* ---- cells ---- */
BC_API uint32_t bc_grid_cell_ny(const bc_grid *g); /* nodes per cell: cell, or the grid's shape when full */
BC_API uint32_t bc_grid_cell_nx(const bc_grid *g);
BC_API uint32_t bc_grid_cells_y(const bc_grid *g); /* cells per column */
BC_API uint32_t bc_grid_cells_x(const bc_grid *g);
/** Morton number of cell (cy, cx), below 2^26. */
BC_API uint32_t bc_cell_number(uint32_t cy, uint32_t cx);
BC_API void bc_cell_position(uint32_t number, uint32_t *cy, uint32_t *cx);

/** Reasons a grid cannot be stored (shape 0, step 0, too many cells ...): BC_E_INVAL. */
BC_API bc_status bc_grid_check(const bc_grid *g, bc_err *err) BC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
