/*
 * Where the values of a file go on a grid: a plain move of rows and columns when the file stands on the
 * lattice, or interpolation when the user asked for it. Pure; share freely after making. Internal.
 */
#ifndef BC_INGEST_REGRID_H
#define BC_INGEST_REGRID_H

#include "ingest/ingest.h"
#include "store/base.h"

typedef struct bc_regridder bc_regridder;

/*
 * @param grid   target; the result covers box, the nodes of the grid that lie inside the file's extent and
 * inside clip
 * @param clip   may be NULL; else only these nodes
 * mode NONE: each row and column must be within BC_SNAP_DEGREES of a node (BC_E_RANGE gives the position and
 * the offset) and the file's step must be the grid's (else BC_E_RANGE saying both steps, and to use --regrid
 * or create --grid-from); a repeated column (360 after 0) is dropped. NEAREST: the nearest source node;
 * BILINEAR: the four around, missing if any of those with weight is; MEAN: area-weighted (sine of latitude)
 *       mean of the source cells that overlap the target cell, over those that are not missing; missing if
 * none is. File wholly outside the grid or clip: BC_E_RANGE with both extents.
 */
bc_status bc_regrid_open(const bc_grid *grid, const bc_box *clip, const double *lat, size_t nlat,
                         const double *lon, size_t nlon, bc_regrid mode, bc_regridder **out,
                         bc_err *err) BC_MUST_CHECK;
void bc_regrid_close(bc_regridder *r);
bc_box bc_regrid_box(const bc_regridder *r); /* rows and columns of the target; x + nx may pass grid->nx */
/* The file has two columns at one longitude (0 and 360); the second one is dropped. */
bool bc_regrid_repeat(const bc_regridder *r, size_t *kept, size_t *dropped);
bool bc_regrid_is_move(const bc_regridder *r); /* values are only moved: integers may pass */

/* Row y of the target, box.nx values in grid order, from a plane [nlat][nlon] in the file's order. */
void bc_regrid_row_f32(const bc_regridder *r, const float *src, int64_t y, float *dst);
void bc_regrid_row_i16(const bc_regridder *r, const int16_t *src, int64_t y, int16_t *dst); /* is_move only */

#endif
