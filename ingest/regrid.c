/*
 * Rows and columns of a file onto those of a grid. Everything is decided once, per axis: for each target row
 * (and column) a list of source rows with weights, since all modes are separable. A move has one source row
 * and one source column each and copies runs of columns.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ingest/regrid_int.h"

typedef struct run { /* columns that lie side by side on both sides */
  size_t dst, src, n;
} run;

struct bc_regridder {
  bc_regrid mode;
  size_t nlon; /* of the file */
  bc_rg_map rows, cols;
  bool has_repeat;
  size_t repeat[2]; /* columns of the file at one longitude: kept, dropped */
  run *runs;        /* moves only; NULL when too short to be worth it */
  size_t n_runs;
};

static bc_status find_runs(bc_regridder *r, bc_err *err)
{
  const size_t n = (size_t)r->cols.n;
  size_t m = 1;

  for (size_t i = 1; i < n; i++)
    m += r->cols.src[i] != r->cols.src[i - 1] + 1;
  if (m > n / 8 + 2) return BC_OK; /* column by column is as good */
  r->runs = bc_calloc(m, sizeof *r->runs);
  if (r->runs == NULL) return bc_rg_no_memory(err);
  for (size_t i = 0; i < n; i++) {
    if (i == 0 || r->cols.src[i] != r->cols.src[i - 1] + 1)
      r->runs[r->n_runs++] = (run){ .dst = i, .src = r->cols.src[i] };
    r->runs[r->n_runs - 1].n++;
  }
  return BC_OK;
}

static bc_status make_axis(const bc_rg_target *t, const bc_rg_axis *a, bc_regrid mode, bc_rg_map *m,
                           bc_err *err)
{
  if (t->lo < 0 || t->hi <= t->lo || t->hi - t->lo > t->n || (!t->wraps && t->hi > t->n))
    return BC_FAIL(err, BC_E_INVAL, "nodes %" PRId64 " to %" PRId64 " are not on grid %s", t->lo, t->hi,
                   t->g->name);
  return mode == BC_REGRID_NONE ? bc_rg_make_move(t, a, m, err) : bc_rg_make_weights(t, a, mode, m, err);
}

bc_status bc_regrid_open(const bc_grid *grid, const bc_box *clip, const double *lat, size_t nlat,
                         const double *lon, size_t nlon, bc_regrid mode, bc_regridder **out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_rg_axis y = { .n = 0 }, x = { .n = 0 };
  bc_rg_target ty = { .g = grid, .is_lat = true, .n = grid->ny, .hi = grid->ny };
  bc_rg_target tx = { .g = grid, .n = grid->nx, .hi = grid->nx, .wraps = grid->wraps };
  bc_regridder *r = NULL;

  *out = NULL;
  if (clip != NULL) {
    ty.lo = clip->y;
    ty.hi = clip->y + clip->ny;
    tx.lo = clip->x;
    tx.hi = clip->x + clip->nx;
  }
  r = bc_calloc(1, sizeof *r);
  if (r == NULL) return bc_rg_no_memory(err);
  r->mode = mode;
  r->nlon = nlon;
  BC_TRY(bc_rg_read_latitudes(&y, lat, nlat, err));
  BC_TRY(bc_rg_read_longitudes(&x, lon, nlon, err));
  r->has_repeat = x.has_repeat;
  if (x.has_repeat) {
    r->repeat[0] = x.id[0];
    r->repeat[1] = x.id[x.n];
  }
  BC_TRY(make_axis(&ty, &y, mode, &r->rows, err));
  BC_TRY(make_axis(&tx, &x, mode, &r->cols, err));
  if (bc_regrid_is_move(r)) BC_TRY(find_runs(r, err));
  *out = r;
  r = NULL;
out:
  bc_rg_axis_dispose(&y);
  bc_rg_axis_dispose(&x);
  bc_regrid_close(r);
  return st;
}

void bc_regrid_close(bc_regridder *r)
{
  if (r == NULL) return;
  bc_rg_map_dispose(&r->rows);
  bc_rg_map_dispose(&r->cols);
  bc_free(r->runs);
  bc_free(r);
}

bc_box bc_regrid_box(const bc_regridder *r)
{
  return (bc_box){ .y = r->rows.first, .x = r->cols.first, .ny = r->rows.n, .nx = r->cols.n };
}

bool bc_regrid_repeat(const bc_regridder *r, size_t *kept, size_t *dropped)
{
  *kept = r->repeat[0];
  *dropped = r->repeat[1];
  return r->has_repeat;
}

bool bc_regrid_is_move(const bc_regridder *r)
{
  return r->mode == BC_REGRID_NONE || r->mode == BC_REGRID_NEAREST;
}

#define MOVE_ROW(NAME, T)                                                                                    \
  static void NAME(const bc_regridder *r, const T *src, int64_t y, T *dst)                                   \
  {                                                                                                          \
    const T *row = src + r->rows.src[y] * r->nlon;                                                           \
    for (size_t k = 0; k < r->n_runs; k++)                                                                   \
      memcpy(dst + r->runs[k].dst, row + r->runs[k].src, r->runs[k].n * sizeof(T));                          \
    for (int64_t j = 0; r->runs == NULL && j < r->cols.n; j++)                                               \
      dst[j] = row[r->cols.src[j]];                                                                          \
  }
MOVE_ROW(move_f32, float)
MOVE_ROW(move_i16, int16_t)

/* Weighted sum around one target node; *weight receives that of the values that are there. */
static double gather(const bc_regridder *r, const float *src, int64_t i, int64_t j, double *weight,
                     bool *complete)
{
  const bc_rg_map *rows = &r->rows, *cols = &r->cols;
  double sum = 0, total = 0;

  *complete = true;
  for (size_t a = rows->at[i]; a < rows->at[i + 1]; a++) {
    const float *row = src + rows->src[a] * r->nlon;
    double part = 0, share = 0;
    for (size_t b = cols->at[j]; b < cols->at[j + 1]; b++) {
      const float v = row[cols->src[b]];
      if (isnan(v)) {
        *complete = false;
        continue;
      }
      part += cols->w[b] * (double)v;
      share += cols->w[b];
    }
    sum += rows->w[a] * part;
    total += rows->w[a] * share;
  }
  *weight = total;
  return sum;
}

void bc_regrid_row_f32(const bc_regridder *r, const float *src, int64_t y, float *dst)
{
  if (bc_regrid_is_move(r)) {
    move_f32(r, src, y, dst);
    return;
  }
  for (int64_t j = 0; j < r->cols.n; j++) {
    bool complete;
    double weight;
    const double sum = gather(r, src, y, j, &weight, &complete);
    const bool there = r->mode == BC_REGRID_MEAN ? weight > 0 : complete;
    dst[j] = there ? (float)(sum / weight) : NAN;
  }
}

void bc_regrid_row_i16(const bc_regridder *r, const int16_t *src, int64_t y, int16_t *dst)
{
  move_i16(r, src, y, dst);
}
