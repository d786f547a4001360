#include "query/where.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint32_t cell_key(const bc_where *w, uint32_t row, uint32_t col)
{
  return w->grid_id << BC_CELL_BITS |
         bc_cell_number(row / bc_grid_cell_ny(&w->grid), col / bc_grid_cell_nx(&w->grid));
}

static int by_place(const void *a, const void *b)
{
  const bc_node *p = a, *q = b;
  if (p->cell != q->cell) return p->cell < q->cell ? -1 : 1;
  if (p->row != q->row) return p->row < q->row ? -1 : 1;
  if (p->col != q->col) return p->col < q->col ? -1 : 1;
  return p->out < q->out ? -1 : p->out > q->out;
}

static bc_status no_memory(bc_err *err) { return BC_FAIL(err, BC_E_NOMEM, "no memory to plan the query"); }

static bc_status place_points(bc_where *w, const bc_select *sel, bc_err *err)
{
  size_t bytes = 0;
  if (sel->n_points > INT32_MAX || !bc_mul_sz(sel->n_points, sizeof *w->nodes, &bytes))
    return BC_FAIL(err, BC_E_RANGE, "%zu points in one query; at most %d", sel->n_points, INT32_MAX);
  w->nodes = bc_malloc(bytes);
  w->lat = bc_malloc(sel->n_points * sizeof *w->lat);
  w->lon = bc_malloc(sel->n_points * sizeof *w->lon);
  w->index = bc_malloc(sel->n_points * sizeof *w->index);
  if (w->nodes == NULL || w->lat == NULL || w->lon == NULL || w->index == NULL) return no_memory(err);
  for (size_t i = 0; i < sel->n_points; i++) {
    const bc_point *p = &sel->points[i];
    int64_t row = 0, col = 0;
    double off = 0;
    if (!bc_grid_row(&w->grid, p->lat, &row, &off) || !bc_grid_col(&w->grid, p->lon, &col, &off))
      return BC_FAIL(err, BC_E_RANGE,
                     "point %zu (latitude %g, longitude %g) lies outside the grid %s: latitudes %g to %g, "
                     "longitudes %g to %g",
                     i + 1, p->lat, p->lon, w->grid.name, bc_grid_y(&w->grid, w->grid.ny - 1),
                     bc_grid_y(&w->grid, 0), bc_grid_x(&w->grid, 0), bc_grid_x(&w->grid, w->grid.nx - 1));
    const uint32_t r = (uint32_t)row, c = (uint32_t)(col % w->grid.nx);
    w->nodes[i] = (bc_node){ cell_key(w, r, c), r, c, (uint32_t)i };
    w->lat[i] = bc_grid_y(&w->grid, row);
    w->lon[i] = w->lon_360 ? bc_lon_360(bc_grid_x(&w->grid, c)) : bc_grid_x(&w->grid, c);
    w->index[i] = (double)i;
  }
  w->n_nodes = sel->n_points;
  qsort(w->nodes, w->n_nodes, sizeof *w->nodes, by_place);
  w->nrow = 1;
  w->ncol = (uint32_t)w->n_nodes;
  return BC_OK;
}

bc_status bc_where_init(bc_where *w, const bc_grid *grid, uint32_t grid_id, const bc_select *sel, bc_err *err)
{
  memset(w, 0, sizeof *w);
  w->grid = *grid;
  w->grid_id = grid_id;
  w->lat_ascending = sel->lat_ascending;
  w->lon_360 = sel->lon_360;
  w->every = sel->every_space;
  if (sel->n_points > 0) {
    w->by_points = true;
    return place_points(w, sel, err);
  }
  if (sel->has_bbox) return bc_grid_box(grid, sel->west, sel->south, sel->east, sel->north, &w->box, err);
  w->by_extent = true;
  w->row_min = grid->ny;
  w->row_max = -1;
  w->columns = bc_calloc(grid->nx, 1);
  return w->columns == NULL ? no_memory(err) : BC_OK;
}

void bc_where_dispose(bc_where *w)
{
  bc_free(w->nodes);
  bc_free(w->lat);
  bc_free(w->lon);
  bc_free(w->index);
  bc_free(w->columns);
  memset(w, 0, sizeof *w);
}

void bc_where_extend(bc_where *w, bc_area a)
{
  w->row_min = BC_MIN(w->row_min, (int64_t)a.row);
  w->row_max = BC_MAX(w->row_max, (int64_t)a.row + a.ny - 1);
  memset(w->columns + a.col, 1, a.nx);
}

/* ---- the box ---- */

/* Columns with data: on a grid that wraps, all but the widest gap, which may leave a box that crosses 180. */
static void extent_columns(bc_where *w)
{
  const int64_t nx = w->grid.nx;
  int64_t first = 0, gap = 0, best = -1, start = 0;
  while (!w->columns[first])
    first++;
  int64_t last = first;
  for (int64_t i = 1; i <= nx; i++) { /* once round, from the first column with data back to it */
    const int64_t j = (first + i) % nx;
    if (!w->columns[j]) {
      gap++;
      continue;
    }
    if (gap > best && (w->grid.wraps || j == first)) {
      best = gap;
      start = j;
    }
    if (i < nx) last = j;
    gap = 0;
  }
  w->box.x = w->grid.wraps ? start : first;
  w->box.nx = w->grid.wraps ? nx - best : last - first + 1;
}

static bc_status settle_extent(bc_where *w, bc_err *err)
{
  if (w->row_max < 0) return BC_FAIL(err, BC_E_NOTFOUND, "the store holds no values for this selection");
  w->box.y = w->row_min;
  w->box.ny = w->row_max - w->row_min + 1;
  extent_columns(w);
  bc_free(w->columns);
  w->columns = NULL;
  return BC_OK;
}

static double lon_out(const bc_where *w, int64_t col)
{
  const double lon = bc_grid_x(&w->grid, col);
  return w->lon_360 ? bc_lon_360(lon) : lon;
}

/* All the way round: begin where the asked-for convention does. */
static void start_of_globe(bc_where *w)
{
  if (!w->grid.wraps || w->box.nx < w->grid.nx) return;
  w->box.nx = w->grid.nx;
  w->box.x = 0;
  for (int64_t j = 1; j < w->grid.nx; j++)
    if (lon_out(w, j) < lon_out(w, w->box.x)) w->box.x = j;
}

bc_status bc_where_settle(bc_where *w, bc_err *err)
{
  if (w->by_points) return BC_OK;
  if (w->by_extent) BC_RET(settle_extent(w, err));
  start_of_globe(w);
  w->nrow = (uint32_t)((w->box.ny + w->every - 1) / w->every);
  w->ncol = (uint32_t)((w->box.nx + w->every - 1) / w->every);
  w->lat = bc_malloc(w->nrow * sizeof *w->lat);
  w->lon = bc_malloc(w->ncol * sizeof *w->lon);
  if (w->lat == NULL || w->lon == NULL) return no_memory(err);
  for (uint32_t r = 0; r < w->nrow; r++)
    w->lat[w->lat_ascending ? w->nrow - 1 - r : r] = bc_grid_y(&w->grid, w->box.y + r * w->every);
  for (uint32_t c = 0; c < w->ncol; c++)
    w->lon[c] = lon_out(w, w->box.x + c * w->every);
  return BC_OK;
}

/* ---- cells ---- */

static int by_number(const void *a, const void *b)
{
  const uint32_t p = *(const uint32_t *)a, q = *(const uint32_t *)b;
  return p < q ? -1 : p > q;
}

static size_t unique(uint32_t *v, size_t n)
{
  size_t m = 0;
  for (size_t i = 0; i < n; i++)
    if (m == 0 || v[m - 1] != v[i]) v[m++] = v[i];
  return m;
}

static bc_status point_cells(const bc_where *w, uint32_t **cells, size_t *n, bc_err *err)
{
  uint32_t *v = bc_malloc(w->n_nodes * sizeof *v);
  if (v == NULL) return no_memory(err);
  for (size_t i = 0; i < w->n_nodes; i++)
    v[i] = w->nodes[i].cell;
  *cells = v;
  *n = unique(v, w->n_nodes);
  return BC_OK;
}

bc_status bc_where_cells(const bc_where *w, uint32_t **cells, size_t *n, bc_err *err)
{
  if (w->by_points) return point_cells(w, cells, n, err);
  const bc_box all = { 0, 0, w->grid.ny, w->grid.nx };
  const bc_box box = w->by_extent ? all : w->box;
  const int64_t cny = bc_grid_cell_ny(&w->grid), cnx = bc_grid_cell_nx(&w->grid);
  const int64_t top = box.y / cny, rows = (box.y + box.ny - 1) / cny - top + 1;
  const int64_t cells_x = bc_grid_cells_x(&w->grid), left = box.x / cnx;
  /* the column past the grid's last is column 0 again, so a wrapping box may end in the cell it began in */
  const int64_t end = box.x + box.nx <= w->grid.nx ? (box.x + box.nx - 1) / cnx + 1
                                                   : cells_x + (box.x + box.nx - 1 - w->grid.nx) / cnx + 1;
  const int64_t cols = BC_MIN(end - left, cells_x);
  size_t total = 0;
  if (!bc_mul_sz((size_t)rows, (size_t)cols, &total)) return no_memory(err);
  uint32_t *v = bc_malloc(total * sizeof *v);
  if (v == NULL) return no_memory(err);
  for (size_t i = 0; i < total; i++) {
    const int64_t cy = top + (int64_t)i / cols, cx = (left + (int64_t)i % cols) % cells_x;
    v[i] = w->grid_id << BC_CELL_BITS | bc_cell_number((uint32_t)cy, (uint32_t)cx);
  }
  qsort(v, total, sizeof *v, by_number);
  *cells = v;
  *n = total;
  return BC_OK;
}

bc_status bc_where_area(const bc_where *w, const bc_tile_head *h, bc_area *out, bc_err *err)
{
  uint32_t cy = 0, cx = 0;
  const uint64_t cny = bc_grid_cell_ny(&w->grid), cnx = bc_grid_cell_nx(&w->grid);
  bc_cell_position(h->key.cell & ((1u << BC_CELL_BITS) - 1u), &cy, &cx);
  const uint64_t row = cy * cny + h->y0, col = cx * cnx + h->x0;
  if (h->key.cell >> BC_CELL_BITS != w->grid_id || !bc_in_bounds(h->y0, h->ny, cny) ||
      !bc_in_bounds(h->x0, h->nx, cnx) || !bc_in_bounds(row, h->ny, w->grid.ny) ||
      !bc_in_bounds(col, h->nx, w->grid.nx))
    return BC_FAIL(err, BC_E_CORRUPT,
                   "a tile of cell %" PRIu32 " covers %" PRIu32 " x %" PRIu32
                   " nodes that do not lie in that cell of grid %s: run bctool verify",
                   h->key.cell, h->ny, h->nx, w->grid.name);
  *out = (bc_area){ (uint32_t)row, (uint32_t)col, h->ny, h->nx };
  return BC_OK;
}

/* ---- which nodes of a stretch are in the answer ---- */

/* Nodes box, box + every, ... (n_out of them) that fall into [at, at + n). */
static bool thin(int64_t box, uint32_t n_out, int64_t every, int64_t at, int64_t n, bc_pick *pick,
                 uint32_t *out)
{
  const int64_t from = at <= box ? 0 : (at - box + every - 1) / every;
  const int64_t past = at + n <= box ? 0 : (at + n - box + every - 1) / every;
  const int64_t to = BC_MIN(past, (int64_t)n_out);
  if (from >= to) return false;
  *pick = (bc_pick){ (uint32_t)(box + from * every - at), (uint32_t)(to - from), (uint32_t)every };
  *out = (uint32_t)from;
  return true;
}

bool bc_where_rows(const bc_where *w, uint32_t row, uint32_t n, bc_pick *pick, uint32_t *out)
{
  return thin(w->box.y, w->nrow, w->every, row, n, pick, out);
}

uint32_t bc_where_cols(const bc_where *w, uint32_t col, uint32_t n, bc_pick pick[2], uint32_t out[2])
{
  uint32_t found = thin(w->box.x, w->ncol, w->every, col, n, &pick[0], &out[0]) ? 1 : 0;
  if (w->box.x + w->box.nx > w->grid.nx && /* then the answer goes on in column 0 */
      thin(w->box.x, w->ncol, w->every, (int64_t)col + w->grid.nx, n, &pick[found], &out[found]))
    found++;
  return found;
}

void bc_where_points(const bc_where *w, uint32_t cell, size_t *first, size_t *n)
{
  size_t lo = 0, hi = w->n_nodes;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (w->nodes[mid].cell < cell)
      lo = mid + 1;
    else
      hi = mid;
  }
  *first = lo;
  while (lo < w->n_nodes && w->nodes[lo].cell == cell)
    lo++;
  *n = lo - *first;
}

uint64_t bc_where_count(const bc_where *w, uint32_t cell, bc_area a)
{
  uint64_t count = 0;
  if (w->by_points) {
    size_t first = 0, n = 0;
    bc_where_points(w, cell, &first, &n);
    for (size_t i = first; i < first + n; i++)
      count += w->nodes[i].row - a.row < a.ny && w->nodes[i].col - a.col < a.nx; /* below: wraps to large */
    return count;
  }
  bc_pick rows, cols[2];
  uint32_t out[2];
  if (!bc_where_rows(w, a.row, a.ny, &rows, out)) return 0;
  const uint32_t pieces = bc_where_cols(w, a.col, a.nx, cols, out);
  for (uint32_t i = 0; i < pieces; i++)
    count += (uint64_t)rows.n * cols[i].n;
  return count;
}
