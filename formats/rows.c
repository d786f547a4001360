#include "formats/rows.h"

void bc_rows_of_var(bc_rows *r, const bc_var *v)
{
  const int t = bc_var_dim(v, BC_DIM_TIME);

  *r = (bc_rows){ .time = t >= 0 ? v : NULL, .var = v, .n = { 1, 1, 1, 1 } };
  r->level = bc_var_dim(v, BC_DIM_LEVEL);
  r->lat = bc_var_dim(v, BC_DIM_LAT);
  r->lon = bc_var_dim(v, BC_DIM_LON);
  r->point = bc_var_dim(v, BC_DIM_POINT);
  r->points = r->point >= 0;
  if (t >= 0) r->n[0] = v->shape[t];
  if (r->level >= 0) r->n[1] = v->shape[r->level];
  if (r->lat >= 0) r->n[2] = v->shape[r->lat];
  if (r->lon >= 0) r->n[3] = v->shape[r->lon];
  if (r->points) r->n[3] = v->shape[r->point];
}

static bool share_all_but_time(const bc_var *a, const bc_var *b)
{
  int da = 0, db = 0;

  for (;; da++, db++) {
    if (da < a->ndim && a->dims[da] == BC_DIM_TIME) da++;
    if (db < b->ndim && b->dims[db] == BC_DIM_TIME) db++;
    if (da >= a->ndim || db >= b->ndim) return da >= a->ndim && db >= b->ndim;
    if (!bc_axis_equal(a, da, b, db)) return false;
  }
}

bool bc_rows_of_stream(bc_rows *r, const bc_stream *in)
{
  const bc_var *timed = NULL;
  int timed_dim = -1;

  for (int32_t i = 0; i < in->n_vars; i++) {
    const bc_var *v = in->vars[i];
    const int t = bc_var_dim(v, BC_DIM_TIME);
    if (t > 0 || !share_all_but_time(in->vars[0], v)) return false;
    if (t >= 0 && timed != NULL && !bc_axis_equal(timed, timed_dim, v, t)) return false;
    if (t >= 0 && timed == NULL) {
      timed = v;
      timed_dim = t;
    }
  }
  bc_rows_of_var(r, timed != NULL ? timed : in->vars[0]);
  return true;
}

uint64_t bc_rows_frame(const bc_rows *r) { return (uint64_t)r->n[1] * (uint64_t)r->n[2] * (uint64_t)r->n[3]; }

uint64_t bc_rows_count(const bc_rows *r) { return (uint64_t)r->n[0] * bc_rows_frame(r); }

void bc_rows_index(const bc_rows *r, uint64_t row, int64_t i[4])
{
  for (int d = 3; d >= 0; d--) {
    const uint64_t n = r->n[d] > 0 ? (uint64_t)r->n[d] : 1;
    i[d] = (int64_t)(row % n);
    row /= n;
  }
}

int64_t bc_rows_time(const bc_rows *r, int64_t i)
{
  return (int64_t)r->time->coord[bc_var_dim(r->time, BC_DIM_TIME)][i];
}

double bc_rows_level(const bc_rows *r, int64_t i) { return r->var->coord[r->level][i]; }

bool bc_rows_has_place(const bc_rows *r) { return r->points || (r->lat >= 0 && r->lon >= 0); }

double bc_rows_lat(const bc_rows *r, int64_t ilat, int64_t ilon)
{
  return r->points ? r->var->point_lat[ilon] : r->var->coord[r->lat][ilat];
}

double bc_rows_lon(const bc_rows *r, int64_t ilon)
{
  return r->points ? r->var->point_lon[ilon] : r->var->coord[r->lon][ilon];
}
