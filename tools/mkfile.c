/* netCDF files in the two layouts of the Climate Data Store, today's and the legacy one. See mkfile.h. */
#include "tools/mkfile.h"

#include <errno.h>
#include <math.h>
#include <netcdf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Goes on with the first error that a netCDF call gave, in rc. */
#define KEEP(call)                                                                                           \
  do {                                                                                                       \
    const int rc_ = (call);                                                                                  \
    if (rc == NC_NOERR) rc = rc_;                                                                            \
  } while (0)
#define HISTORY "GRIB to CDM+CF: made-up data of mkcube, not a product of any weather centre"

/* A file that is being written, and where each thing of it is. */
typedef struct output {
  const mk_options *o;
  const mk_axes *a;
  const mk_var *const *vars;
  size_t n_vars;
  const double *levels;
  size_t n_levels;
  const char *path;
  char tmp[4096];
  int nc;
  int dim_t, dim_l, dim_y, dim_x;
  int id[MK_MAX_VARS];
  size_t chunk_steps;
} output;

/* ---- netCDF ---- */

/* true when rc is no error; else says which call on which file. */
static bool good(const output *w, int rc, const char *what)
{
  if (rc == NC_NOERR) return true;
  const char *why = rc > 0 ? strerror(rc) : nc_strerror(rc);
  mk_say("%s: %s: %s", w->path, what, why);
  return false;
}

static int put_text(int nc, int var, const char *name, const char *text)
{
  return nc_put_att_text(nc, var, name, strlen(text), text);
}

static int put_int(int nc, int var, const char *name, long long v)
{
  return nc_put_att_longlong(nc, var, name, NC_INT64, 1, &v);
}

static int put_double(int nc, int var, const char *name, double v)
{
  return nc_put_att_double(nc, var, name, NC_DOUBLE, 1, &v);
}

/* Attributes that every variable of a file made by cfgrib carries. */
static int put_grib_attributes(const output *w, int id, const mk_var *v)
{
  const mk_axes *a = w->a;
  const int nc = w->nc;
  const float nan = NAN;
  int rc = nc_put_att_float(nc, id, "_FillValue", NC_FLOAT, 1, &nan);
  KEEP(put_int(nc, id, "GRIB_paramId", v->param));
  KEEP(put_text(nc, id, "GRIB_dataType", v->data_type));
  KEEP(put_int(nc, id, "GRIB_numberOfPoints", (long long)(a->ny * a->nx)));
  KEEP(put_text(nc, id, "GRIB_typeOfLevel", v->levelled ? "isobaricInhPa" : "surface"));
  KEEP(put_int(nc, id, "GRIB_stepUnits", 1));
  KEEP(put_text(nc, id, "GRIB_stepType", v->step_type));
  KEEP(put_text(nc, id, "GRIB_gridType", "regular_ll"));
  KEEP(put_int(nc, id, "GRIB_uvRelativeToGrid", 0));
  KEEP(put_int(nc, id, "GRIB_NV", 0));
  KEEP(put_int(nc, id, "GRIB_Nx", (long long)a->nx));
  KEEP(put_int(nc, id, "GRIB_Ny", (long long)a->ny));
  KEEP(put_text(nc, id, "GRIB_cfName", v->cf_name));
  KEEP(put_text(nc, id, "GRIB_cfVarName", v->name));
  KEEP(put_text(nc, id, "GRIB_gridDefinitionDescription", "Latitude/Longitude Grid"));
  KEEP(put_double(nc, id, "GRIB_iDirectionIncrementInDegrees", w->o->res));
  KEEP(put_int(nc, id, "GRIB_iScansNegatively", 0));
  KEEP(put_double(nc, id, "GRIB_jDirectionIncrementInDegrees", w->o->res));
  KEEP(put_int(nc, id, "GRIB_jPointsAreConsecutive", 0));
  KEEP(put_int(nc, id, "GRIB_jScansPositively", 0));
  KEEP(put_double(nc, id, "GRIB_latitudeOfFirstGridPointInDegrees", a->lat[0]));
  KEEP(put_double(nc, id, "GRIB_latitudeOfLastGridPointInDegrees", a->lat[a->ny - 1]));
  KEEP(put_double(nc, id, "GRIB_longitudeOfFirstGridPointInDegrees", a->lon[0]));
  KEEP(put_double(nc, id, "GRIB_longitudeOfLastGridPointInDegrees", a->lon[a->nx - 1]));
  KEEP(put_double(nc, id, "GRIB_missingValue", 3.40282346638529e+38));
  KEEP(put_text(nc, id, "GRIB_name", v->long_name));
  KEEP(put_text(nc, id, "GRIB_shortName", v->short_name));
  KEEP(put_int(nc, id, "GRIB_totalNumber", 0));
  KEEP(put_text(nc, id, "GRIB_units", v->units));
  KEEP(put_text(nc, id, "long_name", v->long_name));
  KEEP(put_text(nc, id, "units", v->units));
  KEEP(put_text(nc, id, "standard_name", v->standard_name));
  if (!v->levelled) KEEP(put_double(nc, id, "GRIB_surface", 0));
  KEEP(put_text(nc, id, "coordinates",
                v->levelled ? "number valid_time isobaricInhPa latitude longitude expver"
                            : "number valid_time latitude longitude expver"));
  return rc;
}

static int define_axis(int nc, const char *name, nc_type type, int dim, const char *units,
                       const char *standard, const char *long_name, bool down)
{
  int id, rc = nc_def_var(nc, name, type, 1, &dim, &id);
  if (rc != NC_NOERR) return rc;
  const double nan = NAN;
  KEEP(nc_put_att_double(nc, id, "_FillValue", type, 1, &nan));
  KEEP(put_text(nc, id, "units", units));
  KEEP(put_text(nc, id, "standard_name", standard));
  KEEP(put_text(nc, id, "long_name", long_name));
  if (down) KEEP(put_text(nc, id, "stored_direction", "decreasing"));
  return rc;
}

static int define_newcds_axes(output *w)
{
  const int nc = w->nc;
  int id, rc = nc_def_var(nc, "number", NC_INT64, 0, NULL, &id);
  KEEP(put_text(nc, id, "long_name", "ensemble member numerical id"));
  KEEP(put_text(nc, id, "units", "1"));
  KEEP(put_text(nc, id, "standard_name", "realization"));
  KEEP(nc_def_var(nc, "valid_time", NC_INT64, 1, &w->dim_t, &id));
  KEEP(put_text(nc, id, "long_name", "time"));
  KEEP(put_text(nc, id, "standard_name", "time"));
  KEEP(put_text(nc, id, "units", "seconds since 1970-01-01"));
  KEEP(put_text(nc, id, "calendar", "proleptic_gregorian"));
  if (w->n_levels > 0) {
    const bool down = w->n_levels > 1 && w->levels[0] > w->levels[1];
    KEEP(define_axis(nc, "pressure_level", NC_DOUBLE, w->dim_l, "hPa", "air_pressure", "pressure", down));
    int lev;
    KEEP(nc_inq_varid(nc, "pressure_level", &lev));
    KEEP(put_text(nc, lev, "positive", "down"));
  }
  KEEP(define_axis(nc, "latitude", NC_DOUBLE, w->dim_y, "degrees_north", "latitude", "latitude", true));
  KEEP(define_axis(nc, "longitude", NC_DOUBLE, w->dim_x, "degrees_east", "longitude", "longitude", false));
  KEEP(nc_def_var(nc, "expver", NC_STRING, w->a->nt > 1 ? 1 : 0, &w->dim_t, &id));
  return rc;
}

static int define_newcds_vars(output *w)
{
  int rc = NC_NOERR;
  for (size_t i = 0; i < w->n_vars && rc == NC_NOERR; i++) {
    const mk_var *v = w->vars[i];
    const int dims4[] = { w->dim_t, w->dim_l, w->dim_y, w->dim_x },
              dims3[] = { w->dim_t, w->dim_y, w->dim_x };
    const size_t chunk4[] = { w->chunk_steps, 1, w->a->ny, w->a->nx },
                 chunk3[] = { w->chunk_steps, w->a->ny, w->a->nx };
    rc = nc_def_var(w->nc, v->name, NC_FLOAT, v->levelled ? 4 : 3, v->levelled ? dims4 : dims3, &w->id[i]);
    if (rc != NC_NOERR) return rc;
    KEEP(nc_def_var_chunking(w->nc, w->id[i], NC_CHUNKED, v->levelled ? chunk4 : chunk3));
    if (w->o->deflate > 0) KEEP(nc_def_var_deflate(w->nc, w->id[i], 1, 1, w->o->deflate));
    KEEP(put_grib_attributes(w, w->id[i], v));
  }
  KEEP(put_text(w->nc, NC_GLOBAL, "GRIB_centre", "ecmf"));
  KEEP(put_text(w->nc, NC_GLOBAL, "GRIB_centreDescription",
                "European Centre for Medium-Range Weather Forecasts"));
  KEEP(put_int(w->nc, NC_GLOBAL, "GRIB_subCentre", 0));
  KEEP(put_text(w->nc, NC_GLOBAL, "Conventions", "CF-1.7"));
  KEEP(put_text(w->nc, NC_GLOBAL, "institution", "European Centre for Medium-Range Weather Forecasts"));
  KEEP(put_text(w->nc, NC_GLOBAL, "history", HISTORY));
  return rc;
}

static int put_newcds_axes(const output *w)
{
  int id, rc = nc_inq_varid(w->nc, "number", &id);
  const long long zero = 0;
  KEEP(nc_put_var_longlong(w->nc, id, &zero));
  KEEP(nc_inq_varid(w->nc, "valid_time", &id));
  for (size_t t = 0; t < w->a->nt; t++) {
    const long long v = w->a->time[t];
    KEEP(nc_put_var1_longlong(w->nc, id, &t, &v));
  }
  KEEP(nc_inq_varid(w->nc, "expver", &id));
  const char *expver = "0001";
  for (size_t t = 0; t < w->a->nt; t++)
    KEEP(nc_put_var1_string(w->nc, id, &t, &expver));
  if (w->n_levels > 0) {
    KEEP(nc_inq_varid(w->nc, "pressure_level", &id));
    KEEP(nc_put_var_double(w->nc, id, w->levels));
  }
  KEEP(nc_inq_varid(w->nc, "latitude", &id));
  KEEP(nc_put_var_double(w->nc, id, w->a->lat));
  KEEP(nc_inq_varid(w->nc, "longitude", &id));
  KEEP(nc_put_var_double(w->nc, id, w->a->lon));
  return rc;
}

static int define_legacy_axis(const output *w, const char *name, nc_type type, int dim, const char *units,
                              const char *long_name)
{
  int id, rc = nc_def_var(w->nc, name, type, 1, &dim, &id);
  KEEP(put_text(w->nc, id, "units", units));
  KEEP(put_text(w->nc, id, "long_name", long_name));
  return rc;
}

static int define_legacy(output *w)
{
  const int nc = w->nc;
  const short fill = -32767;
  int id, rc = define_legacy_axis(w, "longitude", NC_FLOAT, w->dim_x, "degrees_east", "longitude");
  KEEP(define_legacy_axis(w, "latitude", NC_FLOAT, w->dim_y, "degrees_north", "latitude"));
  if (w->n_levels > 0) KEEP(define_legacy_axis(w, "level", NC_INT, w->dim_l, "millibars", "pressure_level"));
  KEEP(define_legacy_axis(w, "time", NC_INT, w->dim_t, "hours since 1900-01-01 00:00:00.0", "time"));
  KEEP(nc_inq_varid(nc, "time", &id));
  KEEP(put_text(nc, id, "calendar", "gregorian"));
  for (size_t i = 0; i < w->n_vars; i++) {
    const mk_var *v = w->vars[i];
    const int dims4[] = { w->dim_t, w->dim_l, w->dim_y, w->dim_x },
              dims3[] = { w->dim_t, w->dim_y, w->dim_x };
    KEEP(nc_def_var(nc, v->name, NC_SHORT, v->levelled ? 4 : 3, v->levelled ? dims4 : dims3, &id));
    if (rc != NC_NOERR) return rc;
    w->id[i] = id;
    KEEP(put_double(nc, id, "scale_factor", 1)); /* the right ones follow, when the range is known */
    KEEP(put_double(nc, id, "add_offset", 0));
    KEEP(nc_put_att_short(nc, id, "_FillValue", NC_SHORT, 1, &fill));
    KEEP(nc_put_att_short(nc, id, "missing_value", NC_SHORT, 1, &fill));
    KEEP(put_text(nc, id, "units", v->units));
    KEEP(put_text(nc, id, "long_name", v->long_name));
    if (strcmp(v->standard_name, "unknown") != 0) KEEP(put_text(nc, id, "standard_name", v->standard_name));
  }
  KEEP(put_text(nc, NC_GLOBAL, "Conventions", "CF-1.6"));
  KEEP(put_text(nc, NC_GLOBAL, "history", HISTORY));
  return rc;
}

static int put_legacy_axes(const output *w)
{
  int id, rc = nc_inq_varid(w->nc, "longitude", &id);
  KEEP(nc_put_var_double(w->nc, id, w->a->lon));
  KEEP(nc_inq_varid(w->nc, "latitude", &id));
  KEEP(nc_put_var_double(w->nc, id, w->a->lat));
  if (w->n_levels > 0) {
    KEEP(nc_inq_varid(w->nc, "level", &id));
    KEEP(nc_put_var_double(w->nc, id, w->levels));
  }
  KEEP(nc_inq_varid(w->nc, "time", &id));
  for (size_t t = 0; t < w->a->nt; t++) {
    const int hours = (int)((w->a->time[t] - mk_days(1900, 1, 1) * MK_DAY) / 3600);
    KEEP(nc_put_var1_int(w->nc, id, &t, &hours));
  }
  return rc;
}

static bool define(output *w)
{
  const mk_axes *a = w->a;
  FILE *const probe = fopen(w->tmp, "wb"); /* HDF5 would not say why */
  if (!probe || fclose(probe) != 0) {
    mk_say("%s cannot be made: %s", w->path, strerror(errno));
    return false;
  }
  int rc = nc_create(w->tmp, NC_CLOBBER | (w->o->legacy ? NC_64BIT_OFFSET : NC_NETCDF4), &w->nc);
  if (!good(w, rc, "cannot be made")) return false;
  if (w->o->legacy) { /* the order of dimensions in the real files */
    int old;
    KEEP(nc_set_fill(w->nc, NC_NOFILL, &old));
    KEEP(nc_def_dim(w->nc, "longitude", a->nx, &w->dim_x));
    KEEP(nc_def_dim(w->nc, "latitude", a->ny, &w->dim_y));
    if (w->n_levels > 0) KEEP(nc_def_dim(w->nc, "level", w->n_levels, &w->dim_l));
    KEEP(nc_def_dim(w->nc, "time", a->nt, &w->dim_t));
    KEEP(define_legacy(w));
  } else {
    KEEP(nc_def_dim(w->nc, "valid_time", a->nt, &w->dim_t));
    if (w->n_levels > 0) KEEP(nc_def_dim(w->nc, "pressure_level", w->n_levels, &w->dim_l));
    KEEP(nc_def_dim(w->nc, "latitude", a->ny, &w->dim_y));
    KEEP(nc_def_dim(w->nc, "longitude", a->nx, &w->dim_x));
    KEEP(define_newcds_axes(w));
    KEEP(define_newcds_vars(w));
  }
  if (!good(w, rc, "header")) return false;
  if (!good(w, nc_enddef(w->nc), "header")) return false;
  return good(w, w->o->legacy ? put_legacy_axes(w) : put_newcds_axes(w), "axes");
}

/* ---- values ---- */

static bool make_plane(const output *w, mk_world *world, const mk_var *v, size_t t, size_t level, float *out)
{
  const double hpa = v->levelled ? w->levels[level] : 0;
  if (!mk_world_plane(world, v, hpa, w->a->time[t], w->o->step == 0, out)) {
    mk_say("not enough memory for %s", v->name);
    return false;
  }
  mk_quantise(out, w->a->ny * w->a->nx);
  return true;
}

static bool write_newcds_var(const output *w, mk_world *world, size_t i)
{
  const mk_var *v = w->vars[i];
  const size_t plane = w->a->ny * w->a->nx, nl = v->levelled ? w->n_levels : 1;
  float *slab = malloc(w->chunk_steps * nl * plane * sizeof *slab);
  bool ok = slab != NULL;
  if (!ok) mk_say("not enough memory for a chunk of %zu steps: give --chunk-steps", w->chunk_steps);
  for (size_t t0 = 0; ok && t0 < w->a->nt; t0 += w->chunk_steps) {
    const size_t n = w->a->nt - t0 < w->chunk_steps ? w->a->nt - t0 : w->chunk_steps;
    for (size_t t = 0; ok && t < n; t++) {
      for (size_t l = 0; ok && l < nl; l++) {
        float *dst = slab + (t * nl + l) * plane;
        if (v->is_static && t0 + t > 0 && t > 0)
          memcpy(dst, slab, plane * sizeof *dst);
        else
          ok = make_plane(w, world, v, t0 + t, l, dst);
      }
    }
    const size_t at4[] = { t0, 0, 0, 0 }, n4[] = { n, nl, w->a->ny, w->a->nx };
    const size_t at3[] = { t0, 0, 0 }, n3[] = { n, w->a->ny, w->a->nx };
    ok = ok &&
         good(w, nc_put_vara_float(w->nc, w->id[i], v->levelled ? at4 : at3, v->levelled ? n4 : n3, slab),
              v->name);
  }
  free(slab);
  return ok;
}

/* Packing as grib_to_netcdf does it: one scale and offset for the whole variable, so the range comes first.
 */
static bool legacy_range(const output *w, mk_world *world, size_t i, float *plane, double *scale,
                         double *offset)
{
  const mk_var *v = w->vars[i];
  const size_t n = w->a->ny * w->a->nx, nl = v->levelled ? w->n_levels : 1;
  double lo = INFINITY, hi = -INFINITY;
  for (size_t k = 0; k < w->a->nt * nl; k++) {
    if (!make_plane(w, world, v, k / nl, k % nl, plane)) return false;
    for (size_t p = 0; p < n; p++) {
      lo = plane[p] < lo ? plane[p] : lo;
      hi = plane[p] > hi ? plane[p] : hi;
    }
  }
  *offset = hi >= lo ? (lo + hi) / 2 : 0;
  *scale = hi > lo ? (hi - lo) / 65532 : 1;
  return good(w, put_double(w->nc, w->id[i], "scale_factor", *scale), v->name) &&
         good(w, put_double(w->nc, w->id[i], "add_offset", *offset), v->name);
}

static bool write_legacy_var(const output *w, mk_world *world, size_t i)
{
  const mk_var *v = w->vars[i];
  const size_t n = w->a->ny * w->a->nx, nl = v->levelled ? w->n_levels : 1;
  float *plane = malloc(n * sizeof *plane);
  short *packed = malloc(n * sizeof *packed);
  double scale = 1, offset = 0;
  bool ok = plane && packed;
  if (!ok) mk_say("not enough memory for a plane of %zu values", n);
  ok = ok && legacy_range(w, world, i, plane, &scale, &offset);
  for (size_t k = 0; ok && k < w->a->nt * nl; k++) {
    ok = make_plane(w, world, v, k / nl, k % nl, plane);
    for (size_t p = 0; ok && p < n; p++)
      packed[p] = isnan(plane[p]) ? (short)-32767 : (short)lrint((plane[p] - offset) / scale);
    const size_t at4[] = { k / nl, k % nl, 0, 0 }, n4[] = { 1, 1, w->a->ny, w->a->nx };
    const size_t at3[] = { k, 0, 0 }, n3[] = { 1, w->a->ny, w->a->nx };
    ok = ok &&
         good(w, nc_put_vara_short(w->nc, w->id[i], v->levelled ? at4 : at3, v->levelled ? n4 : n3, packed),
              v->name);
  }
  free(plane);
  free(packed);
  return ok;
}

/* ---- one file ---- */

static bool check_size(const output *w)
{
  const double plane = (double)w->a->ny * (double)w->a->nx, steps = (double)w->a->nt;
  for (size_t i = 0; i < w->n_vars && w->o->legacy; i++) {
    const double bytes = plane * steps * 2 * (w->vars[i]->levelled ? (double)w->n_levels : 1);
    if (bytes > 4294967292.0) {
      mk_say(
          "%s would take %.1f GiB, a variable of a 64-bit offset file holds 4: give a shorter --from/--to, "
          "or "
          "--layout newcds",
          w->vars[i]->name, bytes / 1073741824);
      return false;
    }
  }
  return true;
}

int mk_write_file(const mk_options *o, const mk_axes *a, mk_world *world, const char *path,
                  const mk_var *const *vars, size_t n_vars)
{
  output w = { .o = o, .a = a, .vars = vars, .n_vars = n_vars, .path = path, .nc = -1 };
  for (size_t i = 0; i < n_vars; i++) {
    if (vars[i]->levelled) {
      w.levels = o->levels;
      w.n_levels = o->n_levels;
    }
  }
  const size_t plane = a->ny * a->nx * sizeof(float);
  w.chunk_steps = o->chunk_steps ? o->chunk_steps : plane >= (size_t)4 << 20 ? 1 : ((size_t)4 << 20) / plane;
  if (w.chunk_steps > a->nt) w.chunk_steps = a->nt;
  if (snprintf(w.tmp, sizeof w.tmp, "%s.part", path) >= (int)sizeof w.tmp) {
    mk_say("%.60s...: the name is too long", path);
    return 2;
  }
  struct stat there;
  if (!o->overwrite && stat(path, &there) == 0) {
    mk_say("%s is there already: give --overwrite", path);
    return 2;
  }
  if (!check_size(&w)) return 2;
  bool ok = define(&w);
  for (size_t i = 0; ok && i < n_vars; i++)
    ok = o->legacy ? write_legacy_var(&w, world, i) : write_newcds_var(&w, world, i);
  if (w.nc >= 0) {
    const int rc = nc_close(w.nc);
    ok = ok && good(&w, rc, "closing");
    if (ok && rename(w.tmp, path) != 0) {
      mk_say("%s: %s", path, strerror(errno));
      ok = false;
    }
    if (!ok) unlink(w.tmp);
  }
  if (ok && !o->quiet && stat(path, &there) == 0)
    fprintf(stderr, "%s  %zu variables, %zu steps of %zu x %zu nodes, %.1f MB\n", path, n_vars, a->nt, a->ny,
            a->nx, (double)there.st_size / 1e6);
  return ok ? 0 : 4;
}
