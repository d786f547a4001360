/*
 * Where the nodes of an answer stand on the grid: a box of rows and columns, perhaps thinned, or a list of
 * points. Internal to query.
 *
 * Lifetime: bc_where_init, then (without box and points) bc_where_extend for each tile, then bc_where_settle;
 * bc_where_dispose at the end. Plain data once settled: share freely.
 */
#ifndef BC_QUERY_WHERE_H
#define BC_QUERY_WHERE_H

#include "query/select.h"
#include "store/tile.h"

typedef struct bc_node { /* a point's nearest node */
  uint32_t cell, row, col;
  uint32_t out; /* its place in the answer */
} bc_node;

typedef struct bc_area { /* nodes of a tile or a block on the grid */
  uint32_t row, col, ny, nx;
} bc_area;

typedef struct bc_where {
  bc_grid grid;
  uint32_t grid_id;
  bool by_points, by_extent; /* neither: by box */
  bool lat_ascending, lon_360;
  int64_t every;
  bc_box box;
  uint32_t nrow, ncol; /* of the answer; points: 1 and their number */
  bc_node *nodes;      /* by cell, row, column */
  size_t n_nodes;
  double *lat, *lon; /* nrow and ncol values; points: ncol each */
  double *index;     /* points: 0, 1, 2, ... */
  uint8_t *columns;  /* by extent, until settled: which columns hold data */
  int64_t row_min, row_max;
} bc_where;

/* BC_E_RANGE when the box or a point lies outside the grid. */
bc_status bc_where_init(bc_where *w, const bc_grid *grid, uint32_t grid_id, const bc_select *sel,
                        bc_err *err) BC_MUST_CHECK;
void bc_where_dispose(bc_where *w);
void bc_where_extend(bc_where *w, bc_area a);
/* Shape and coordinates. BC_E_NOTFOUND by extent when no tile was there. */
bc_status bc_where_settle(bc_where *w, bc_err *err) BC_MUST_CHECK;

/* Cells that may hold nodes of the answer, ascending key numbers; bc_free. */
bc_status bc_where_cells(const bc_where *w, uint32_t **cells, size_t *n, bc_err *err) BC_MUST_CHECK;
/* The part of the grid that a tile's box covers; BC_E_CORRUPT when it does not lie in its cell. */
bc_status bc_where_area(const bc_where *w, const bc_tile_head *h, bc_area *out, bc_err *err) BC_MUST_CHECK;

/* Rows of the answer inside [row, row + n): which, counted from row, and the first one's place counted from
 * the north. false: none. */
bool bc_where_rows(const bc_where *w, uint32_t row, uint32_t n, bc_pick *pick, uint32_t *out);
/* Columns likewise; two pieces when the answer's edge cuts through. Returns the number of pieces. */
uint32_t bc_where_cols(const bc_where *w, uint32_t col, uint32_t n, bc_pick pick[2], uint32_t out[2]);
/* Points in a cell: nodes[first .. first + n). */
void bc_where_points(const bc_where *w, uint32_t cell, size_t *first, size_t *n);
/* How many nodes of the answer stand in an area of a cell. */
uint64_t bc_where_count(const bc_where *w, uint32_t cell, bc_area a);

#endif
