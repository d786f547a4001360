/* What grid.c and grid_axes.c share. Internal. */
#ifndef BC_STORE_GRID_INT_H
#define BC_STORE_GRID_INT_H

#include <math.h>
#include <string.h>

#include "store/grid.h"

/* Nearest multiple of 1e-9: sums of steps come out as the decimals that a person would write. The sum with
 * 0.0 turns -0.0 into 0.0. */
static inline double bc_grid_clean(double v) { return nearbyint(v * 1e9) / 1e9 + 0.0; }

static inline bool bc_grid_in_degrees(const bc_grid *g) { return strcmp(g->crs, "EPSG:4326") == 0; }

/* The name of a named lattice, else one made from step and shape. */
void bc_grid_make_name(bc_grid *g);

#endif
