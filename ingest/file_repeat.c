/* Two columns of a file at one longitude (0 and 360): only one is stored, so both must say the same. */
#include <math.h>

#include "ingest/file_plan.h"

static float value_at(const bc_var *var, const void *plane, size_t at)
{
  if (var->dtype == BC_F32) return ((const float *)plane)[at];
  const int16_t raw = ((const int16_t *)plane)[at];
  const bc_packing *p = var->packing;
  if (p->has_fill && raw == p->fill) return NAN;
  const double scaled = (double)raw * p->scale;
  return (float)(scaled + p->offset);
}

static bc_status columns_differ(const bc_plan_var *v, int64_t step, const size_t column[2], float a, float b,
                                bc_err *err)
{
  const double *lon = v->sv->var.coord[v->sv->var.ndim - 1];
  const int64_t t = bc_plan_time(v, step);
  char when[BC_TIME_TEXT] = "";
  if (t != BC_TIME_STATIC) bc_time_format_short(t, when);
  return BC_FAIL(
      err, BC_E_UNSUPPORTED,
      "%s%s%s: the columns at %.10g E and %.10g E differ (one holds %.9g, the other %.9g): which is "
      "right is unknown",
      v->sv->var.name, t == BC_TIME_STATIC ? "" : " at ", when, lon[column[0]], lon[column[1]], (double)a,
      (double)b);
}

bc_status bc_plan_check_repeat(const bc_plan_var *v, int64_t step, const void *values, bc_err *err)
{
  const bc_var *var = &v->sv->var;
  const size_t nlon = (size_t)var->shape[var->ndim - 1], rows = v->n_levels * v->src_plane / nlon;
  size_t column[2];
  if (!bc_regrid_repeat(v->rg, &column[0], &column[1])) return BC_OK;
  for (size_t y = 0; y < rows; y++) {
    const float a = value_at(var, values, y * nlon + column[0]);
    const float b = value_at(var, values, y * nlon + column[1]);
    if (a != b && !(isnan(a) && isnan(b))) return columns_differ(v, step, column, a, b, err);
  }
  return BC_OK;
}
