/* The netCDF source: files written here through netCDF-C and libzip, and the real ones where they are. */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <dirent.h>
#include <math.h>
#include <netcdf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "ingest/source.h"
#include "store/datetime.h"
#include "store/grid.h"

enum { NT = 4, NL = 3, NY = 3, NX = 5 };

static char g_dir[64];
static char g_notes[2000];

static void setup(void)
{
  (void)snprintf(g_dir, sizeof g_dir, "/tmp/bc-source-XXXXXX");
  cr_assert_not_null(mkdtemp(g_dir));
}

static void teardown(void)
{
  DIR *d = opendir(g_dir);
  const struct dirent *e;
  char path[400];

  while (d != NULL && (e = readdir(d)) != NULL) {
    (void)snprintf(path, sizeof path, "%s/%s", g_dir, e->d_name);
    if (e->d_name[0] != '.' && unlink(path) != 0) (void)rmdir(path);
  }
  if (d != NULL) (void)closedir(d);
  (void)rmdir(g_dir);
}
TestSuite(source, .init = setup, .fini = teardown);

static const char *in_dir(const char *name)
{
  static char path[4][128];
  static int k;

  k = (k + 1) % 4;
  (void)snprintf(path[k], sizeof path[k], "%s/%s", g_dir, name);
  return path[k];
}

static void take_note(void *ctx, const char *line)
{
  const size_t n = strlen(g_notes);
  (void)ctx;
  (void)snprintf(g_notes + n, sizeof g_notes - n, "%s\n", line);
}

static bc_status try_open(const char *path, const char *vars, bc_source **s, bc_err *err)
{
  const bc_progress p = { .note = take_note };
  const bc_source_opts o = { .vars = vars, .progress = &p };

  g_notes[0] = '\0';
  *err = (bc_err){ .code = BC_OK };
  return bc_source_open(path, &o, s, err);
}

static bc_source *open_ok(const char *path)
{
  bc_err err;
  bc_source *s = NULL;
  cr_assert_eq(try_open(path, NULL, &s, &err), BC_OK, "%s: %s", path, err.msg);
  return s;
}

static void expect_refused(const char *path, bc_status code, const char *part)
{
  bc_err err;
  bc_source *s = NULL;
  const bc_status st = try_open(path, NULL, &s, &err);

  cr_assert_eq(st, code, "%s: %s %s", path, bc_status_name(st), err.msg);
  cr_assert_null(s);
  cr_assert_not_null(strstr(err.msg, part), "\"%s\" lacks \"%s\"", err.msg, part);
}

/* ---- writing ---- */
#define NC(call) cr_assert_eq((call), NC_NOERR, "%s", #call)

static void put_text(int nc, int var, const char *name, const char *text)
{
  NC(nc_put_att_text(nc, var, name, strlen(text), text));
}

static int add_axis(int nc, const char *name, nc_type type, int dim, const char *units, size_t n,
                    const double *v)
{
  int var;
  const size_t zero = 0;

  NC(nc_def_var(nc, name, type, dim < 0 ? 0 : 1, &dim, &var));
  if (units != NULL) put_text(nc, var, "units", units);
  (void)nc_enddef(nc);
  if (dim < 0)
    NC(nc_put_var_double(nc, var, v));
  else
    NC(nc_put_vara_double(nc, var, &zero, &n, v));
  (void)nc_redef(nc);
  return var;
}

static const double k_lat[NY] = { 50, 49.75, 49.5 };
static const double k_lon[NX] = { -0.5, -0.25, 0, 0.25, 0.5 };
static const double k_hours[NT] = { 1043160, 1043161, 1043162, 1043163 }; /* 2019-01-02T00 and on */
#define HOURS "hours since 1900-01-01 00:00:00.0"
#define T0    1546387200

typedef struct file {
  int nc, time, lat, lon; /* dimensions */
} file;

/* A file with latitude and longitude, and a time axis of n steps unless n is 0. */
static file new_file(const char *name, int mode, size_t n, nc_type type, const char *units,
                     const double *times)
{
  file f = { .time = -1 };

  NC(nc_create(in_dir(name), NC_CLOBBER | mode, &f.nc));
  if (n > 0) NC(nc_def_dim(f.nc, "time", n, &f.time));
  NC(nc_def_dim(f.nc, "latitude", NY, &f.lat));
  NC(nc_def_dim(f.nc, "longitude", NX, &f.lon));
  (void)add_axis(f.nc, "latitude", NC_FLOAT, f.lat, "degrees_north", NY, k_lat);
  (void)add_axis(f.nc, "longitude", NC_FLOAT, f.lon, "degrees_east", NX, k_lon);
  if (n > 0 && times != NULL) (void)add_axis(f.nc, "time", type, f.time, units, n, times);
  return f;
}

/* value of step, level, row, column */
static float value(size_t t, size_t l, size_t y, size_t x)
{
  return (float)(t * 1000 + l * 100 + y * 10 + x);
}

/* A variable on these dimensions, in any order; which of t, l, y, x each is says kind. */
static int add_field(int nc, const char *name, nc_type type, int n, const int *dims, const char *kind)
{
  int var;
  size_t len[8] = { 0 }, at[8] = { 0 }, total = 1;
  const size_t one[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };

  NC(nc_def_var(nc, name, type, n, dims, &var));
  put_text(nc, var, "units", "K");
  (void)nc_enddef(nc);
  for (int d = 0; d < n; d++) {
    NC(nc_inq_dimlen(nc, dims[d], &len[d]));
    total *= len[d];
  }
  for (size_t i = 0; i < total; i++) {
    size_t rest = i, pos[4] = { 0 };
    double v;
    for (int d = n - 1; d >= 0; d--) {
      at[d] = rest % len[d];
      rest /= len[d];
      for (int k = 0; k < 4; k++)
        if (kind[d] == "tlyx"[k]) pos[k] = at[d];
    }
    v = (double)value(pos[0], pos[1], pos[2], pos[3]);
    NC(nc_put_vara_double(nc, var, at, one, &v));
  }
  (void)nc_redef(nc);
  return var;
}

static int add_tyx(const file *f, const char *name, nc_type type)
{
  const int dims[] = { f->time, f->lat, f->lon };
  return f->time < 0 ? add_field(f->nc, name, type, 2, dims + 1, "yx")
                     : add_field(f->nc, name, type, 3, dims, "tyx");
}

static void simple_file(const char *name, int mode)
{
  const file f = new_file(name, mode, NT, NC_INT, HOURS, k_hours);
  (void)add_tyx(&f, "t2m", NC_FLOAT);
  NC(nc_close(f.nc));
}

/* ---- reading ---- */
static float *read_all(bc_source *s, size_t i, size_t *n)
{
  const bc_source_var *v = bc_source_var_get(s, i);
  bc_err err;
  float *f;
  int16_t *p;

  *n = 1;
  for (int d = 0; d < v->var.ndim; d++)
    *n *= (size_t)v->var.shape[d];
  f = malloc(*n * sizeof *f);
  cr_assert_eq(bc_source_read(s, i, 0, v->var.shape[0], f, &err), BC_OK, "%s", err.msg);
  if (v->var.dtype == BC_F32) return f;
  p = (int16_t *)(void *)f;
  for (size_t k = *n; k-- > 0;) {
    const int16_t raw = p[k];
    f[k] = v->var.packing->has_fill && raw == v->var.packing->fill
               ? NAN
               : (float)((double)raw * v->var.packing->scale + v->var.packing->offset);
  }
  return f;
}

/* first step of variable i holds the values of file step from[0], and so on */
static void check_values(bc_source *s, size_t i, const size_t *from, float plus)
{
  const bc_source_var *v = bc_source_var_get(s, i);
  const size_t nt = (size_t)v->var.shape[0], nl = v->var.ndim == 4 ? (size_t)v->var.shape[1] : 1;
  size_t n, k = 0;
  float *f = read_all(s, i, &n);

  cr_assert_eq(n, nt * nl * NY * NX);
  for (size_t t = 0; t < nt; t++)
    for (size_t l = 0; l < nl; l++)
      for (size_t y = 0; y < NY; y++)
        for (size_t x = 0; x < NX; x++, k++)
          cr_assert_eq(f[k], value(from[t], l, y, x) + plus, "%s: %g at %zu %zu %zu %zu", v->var.name,
                       (double)f[k], t, l, y, x);
  free(f);
}

static const size_t k_same[NT] = { 0, 1, 2, 3 };

static void check_simple(const char *path)
{
  bc_source *s = open_ok(path);
  const bc_source_var *v;

  cr_assert_eq(bc_source_vars(s), 1);
  v = bc_source_var_get(s, 0);
  cr_assert_str_eq(v->var.name, "t2m");
  cr_assert_str_eq(v->var.group, "surface");
  cr_assert_str_eq(v->var.units, "K");
  cr_assert(v->var.ndim == 3 && v->var.shape[0] == NT && !v->is_static);
  for (int t = 0; t < NT; t++)
    cr_assert_eq(v->var.coord[0][t], T0 + 3600.0 * t);
  for (int y = 0; y < NY; y++)
    cr_assert_eq(v->var.coord[1][y], k_lat[y]);
  check_values(s, 0, k_same, 0);
  bc_source_close(s);
}

/* ---- formats ---- */
Test(source, all_formats)
{
  static const int modes[] = { 0, NC_64BIT_OFFSET, NC_64BIT_DATA, NC_NETCDF4, NC_NETCDF4 | NC_CLASSIC_MODEL };

  for (size_t i = 0; i < 5; i++) {
    simple_file("a.nc", modes[i]);
    check_simple(in_dir("a.nc"));
  }
}

Test(source, path_that_looks_like_an_address)
{
  char cwd[400];

  simple_file("http:a.nc", NC_NETCDF4);
  cr_assert_not_null(getcwd(cwd, sizeof cwd));
  cr_assert_eq(chdir(g_dir), 0);
  check_simple("http:a.nc");
  cr_assert_eq(chdir(cwd), 0);
}

Test(source, every_order_of_dimensions)
{
  static const char *const orders[] = { "tlyx", "ltyx", "yxtl", "xytl", "tlxy", "lyxt", "tyxl" };
  static const nc_type types[] = { NC_FLOAT, NC_SHORT, NC_DOUBLE, NC_BYTE, NC_INT64 };
  const double levels[NL] = { 100000, 85000, 92.5 };

  for (size_t o = 0; o < 7; o++) {
    const file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, HOURS, k_hours);
    int lev, dims[4];
    bc_source *s;
    NC(nc_def_dim(f.nc, "plev", NL, &lev));
    (void)add_axis(f.nc, "plev", NC_DOUBLE, lev, "Pa", NL, levels);
    for (int d = 0; d < 4; d++)
      dims[d] = orders[o][d] == 't'   ? f.time
                : orders[o][d] == 'l' ? lev
                : orders[o][d] == 'y' ? f.lat
                                      : f.lon;
    for (size_t k = 0; k < 5; k++) {
      const char name[] = { 'v', (char)('0' + k), '\0' };
      if (types[k] != NC_BYTE) (void)add_field(f.nc, name, types[k], 4, dims, orders[o]);
    }
    NC(nc_close(f.nc));
    s = open_ok(in_dir("a.nc"));
    cr_assert_eq(bc_source_vars(s), 4);
    for (size_t i = 0; i < 4; i++) {
      const bc_var *v = &bc_source_var_get(s, i)->var;
      cr_assert(v->ndim == 4 && v->dims[1] == BC_DIM_LEVEL && v->coord[1][0] == 1000 &&
                v->coord[1][2] == 0.925);
      cr_assert_str_eq(v->level_units, "hPa");
      check_values(s, i, k_same, 0);
    }
    bc_source_close(s);
  }
}

Test(source, chunked_compressed_and_big_endian)
{
  const size_t chunks[] = { 3, 2, 4 };
  const file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, HOURS, k_hours);
  const int dims[] = { f.time, f.lat, f.lon };
  bc_source *s;
  int16_t part[2 * NY * NX];
  bc_err err;
  int var;
  double scale = 0.5;

  NC(nc_def_var(f.nc, "x", NC_SHORT, 3, dims, &var));
  NC(nc_def_var_chunking(f.nc, var, NC_CHUNKED, chunks));
  NC(nc_def_var_deflate(f.nc, var, 1, 1, 1));
  NC(nc_def_var_endian(f.nc, var, NC_ENDIAN_BIG));
  NC(nc_put_att_double(f.nc, var, "scale_factor", NC_DOUBLE, 1, &scale));
  NC(nc_enddef(f.nc));
  for (int16_t i = 0; i < NT * NY * NX; i++) {
    const size_t at[] = { (size_t)i / (NY * NX), (size_t)i / NX % NY, (size_t)i % NX };
    NC(nc_put_var1_short(f.nc, var, at, &i));
  }
  NC(nc_close(f.nc));
  s = open_ok(in_dir("a.nc"));
  cr_assert_eq(bc_source_var_get(s, 0)->chunk_steps, 3);
  cr_assert_eq(bc_source_var_get(s, 0)->var.dtype, BC_I16);
  cr_assert_eq(bc_source_var_get(s, 0)->var.packing->scale, 0.5);
  cr_assert_eq(bc_source_read(s, 0, 1, 2, part, &err), BC_OK, "%s", err.msg);
  for (int i = 0; i < 2 * NY * NX; i++)
    cr_assert_eq(part[i], i + NY * NX);
  cr_assert_eq(bc_source_read(s, 0, 3, 2, part, &err), BC_E_RANGE);
  cr_assert_eq(bc_source_read(s, 0, -1, 1, part, &err), BC_E_RANGE);
  cr_assert_eq(bc_source_read(s, 1, 0, 1, part, &err), BC_E_INVAL);
  bc_source_close(s);
}

Test(source, unlimited_record_dimension)
{
  static const int modes[] = { 0, NC_NETCDF4 };

  for (size_t m = 0; m < 2; m++) {
    int nc, dims[3], tv, var;
    const size_t zero[3] = { 0 }, count[3] = { NT, NY, NX }, n = NT;
    float v[NT * NY * NX];
    NC(nc_create(in_dir("a.nc"), NC_CLOBBER | modes[m], &nc));
    NC(nc_def_dim(nc, "time", NC_UNLIMITED, &dims[0]));
    NC(nc_def_dim(nc, "lat", NY, &dims[1]));
    NC(nc_def_dim(nc, "lon", NX, &dims[2]));
    NC(nc_def_var(nc, "time", NC_DOUBLE, 1, dims, &tv));
    put_text(nc, tv, "units", HOURS);
    NC(nc_def_var(nc, "t2m", NC_FLOAT, 3, dims, &var));
    put_text(nc, var, "units", "K");
    (void)add_axis(nc, "lat", NC_DOUBLE, dims[1], NULL, NY, k_lat); /* known by their names */
    (void)add_axis(nc, "lon", NC_DOUBLE, dims[2], NULL, NX, k_lon);
    for (size_t i = 0; i < NT * NY * NX; i++)
      v[i] = value(i / (NY * NX), 0, i / NX % NY, i % NX);
    (void)nc_enddef(nc);
    NC(nc_put_vara_double(nc, tv, zero, &n, k_hours));
    NC(nc_put_vara_float(nc, var, zero, count, v));
    NC(nc_close(nc));
    check_simple(in_dir("a.nc"));
  }
}

Test(source, groups_of_netcdf4)
{
  file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, HOURS, k_hours);
  const int dims[] = { f.time, f.lat, f.lon };
  int grp, sub;
  bc_source *s;

  NC(nc_def_grp(f.nc, "grp1", &grp));
  NC(nc_def_grp(grp, "in side", &sub));
  (void)add_tyx(&f, "t2m", NC_FLOAT);
  (void)add_field(grp, "T", NC_FLOAT, 3, dims, "tyx");
  (void)add_field(sub, "T", NC_FLOAT, 3, dims, "tyx");
  NC(nc_close(f.nc));
  s = open_ok(in_dir("a.nc"));
  cr_assert_eq(bc_source_vars(s), 3);
  cr_assert_str_eq(bc_source_var_get(s, 0)->group, "surface");
  cr_assert_str_eq(bc_source_var_get(s, 1)->group, "grp1");
  cr_assert_str_eq(bc_source_var_get(s, 1)->var.name, "T");
  cr_assert_str_eq(bc_source_var_get(s, 2)->group, "grp1.in_side");
  cr_assert_not_null(strstr(g_notes, "group /grp1 go to group grp1\n"), "%s", g_notes);
  check_values(s, 1, k_same, 0);
  check_values(s, 2, k_same, 0);
  bc_source_close(s);
}

/* ---- time ---- */
Test(source, times_of_any_type)
{
  static const nc_type types[] = { NC_BYTE, NC_SHORT, NC_INT, NC_INT64, NC_FLOAT, NC_DOUBLE, NC_USHORT };
  const double days[NT] = { 0, 1, 5, 100 };

  for (size_t i = 0; i < 7; i++) {
    const file f = new_file("a.nc", NC_NETCDF4, NT, types[i], "days since 2000-01-01T06:00:00Z", days);
    bc_source *s;
    (void)add_tyx(&f, "t2m", NC_FLOAT);
    NC(nc_close(f.nc));
    s = open_ok(in_dir("a.nc"));
    for (int t = 0; t < NT; t++)
      cr_assert_eq(bc_source_var_get(s, 0)->var.coord[0][t], 946706400 + 86400 * days[t]);
    bc_source_close(s);
  }
}

Test(source, unsorted_times_are_sorted)
{
  const double hours[NT] = { 1043163, 1043160, 1043161, 1043162 };
  const size_t from[NT] = { 1, 2, 3, 0 };
  const file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, HOURS, hours);
  bc_source *s;

  (void)add_tyx(&f, "t2m", NC_FLOAT);
  NC(nc_close(f.nc));
  s = open_ok(in_dir("a.nc"));
  for (int t = 0; t < NT; t++)
    cr_assert_eq(bc_source_var_get(s, 0)->var.coord[0][t], T0 + 3600.0 * t);
  check_values(s, 0, from, 0);
  bc_source_close(s);
}

static void file_with_doubles(bool equal)
{
  const double hours[NT] = { 1043160, 1043161, 1043161, 1043162 };
  const file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, HOURS, hours);
  const size_t start[] = { 2, 0, 0 }, count[] = { 1, NY, NX };
  const int var = add_tyx(&f, "t2m", NC_FLOAT);
  float v[NY * NX];

  for (size_t i = 0; i < NY * NX; i++)
    v[i] = value(1, 0, i / NX, i % NX);
  if (equal) NC(nc_put_vara_float(f.nc, var, start, count, v));
  NC(nc_close(f.nc));
}

Test(source, repeated_times)
{
  const size_t from[] = { 0, 1, 3 };
  bc_source *s;

  file_with_doubles(false);
  expect_refused(in_dir("a.nc"), BC_E_UNSUPPORTED,
                 "t2m: steps 1 and 2 both have the time 2019-01-02T01:00Z but different values");
  file_with_doubles(true);
  s = open_ok(in_dir("a.nc"));
  cr_assert_eq(bc_source_var_get(s, 0)->var.shape[0], 3);
  check_values(s, 0, from, 0);
  bc_source_close(s);
}

Test(source, static_and_scalar_times)
{
  const double when = 1546387200, start = 1546300800;
  file f = new_file("a.nc", NC_NETCDF4, 0, NC_INT, NULL, NULL);
  bc_source *s;
  int var;

  (void)add_tyx(&f, "lsm", NC_BYTE);
  NC(nc_close(f.nc));
  s = open_ok(in_dir("a.nc"));
  cr_assert(bc_source_var_get(s, 0)->is_static);
  cr_assert(bc_source_var_get(s, 0)->var.shape[0] == 1 && bc_source_var_get(s, 0)->var.coord[0][0] == 0);
  cr_assert_eq(bc_source_var_get(s, 0)->var.ndim, 3);
  check_values(s, 0, k_same, 0);
  bc_source_close(s);

  f = new_file("a.nc", NC_NETCDF4, 0, NC_INT, NULL, NULL);
  var = add_axis(f.nc, "time", NC_INT64, -1, "seconds since 1970-01-01", 1, &start);
  put_text(f.nc, var, "standard_name", "forecast_reference_time");
  (void)add_axis(f.nc, "step", NC_DOUBLE, -1, "hours", 1, &start);
  (void)add_axis(f.nc, "valid_time", NC_DOUBLE, -1, "seconds since 1970-01-01", 1, &when);
  (void)add_axis(f.nc, "number", NC_INT64, -1, "1", 1, &start);
  (void)add_axis(f.nc, "heightAboveGround", NC_DOUBLE, -1, "m", 1, (const double[]){ 2 });
  var = add_tyx(&f, "t2m", NC_FLOAT);
  put_text(f.nc, var, "coordinates", "number time step heightAboveGround valid_time");
  NC(nc_close(f.nc));
  s = open_ok(in_dir("a.nc"));
  cr_assert_not(bc_source_var_get(s, 0)->is_static);
  cr_assert_eq(bc_source_var_get(s, 0)->var.coord[0][0], when);
  cr_assert_str_eq(bc_var_attr(&bc_source_var_get(s, 0)->var, "heightAboveGround"), "2 m");
  bc_source_close(s);
}

Test(source, forecast_steps_with_valid_time)
{
  const double start = 0, valid[NT] = { 3600, 7200, 10800, 14400 }, hours[NT] = { 1, 2, 3, 4 };
  file f = new_file("a.nc", NC_NETCDF4, 0, NC_INT, NULL, NULL);
  int t, step, var, dims[4];
  bc_source *s;

  NC(nc_def_dim(f.nc, "time", 1, &t));
  NC(nc_def_dim(f.nc, "step", NT, &step));
  var = add_axis(f.nc, "time", NC_INT, t, "seconds since 1970-01-01", 1, &start);
  put_text(f.nc, var, "standard_name", "forecast_reference_time");
  (void)add_axis(f.nc, "step", NC_INT, step, "hours", NT, hours);
  dims[0] = t;
  dims[1] = step;
  NC(nc_def_var(f.nc, "valid_time", NC_DOUBLE, 2, dims, &var));
  put_text(f.nc, var, "units", "seconds since 1970-01-01");
  (void)nc_enddef(f.nc);
  NC(nc_put_var_double(f.nc, var, valid));
  (void)nc_redef(f.nc);
  dims[2] = f.lat;
  dims[3] = f.lon;
  (void)add_field(f.nc, "t2m", NC_FLOAT, 4, dims, "_tyx");
  NC(nc_close(f.nc));
  s = open_ok(in_dir("a.nc"));
  cr_assert_eq(bc_source_var_get(s, 0)->var.shape[0], NT);
  cr_assert_eq(bc_source_var_get(s, 0)->var.coord[0][3], 14400);
  check_values(s, 0, k_same, 0);
  bc_source_close(s);
}

Test(source, times_that_are_refused)
{
  static const struct {
    const char *units, *calendar, *part;
    double first;
    bc_status code;
  } c[] = {
    { "months since 1958-1-1", NULL, "a.nc: time has units \"months since 1958-1-1\"", 0, BC_E_UNSUPPORTED },
    { "yyyymm", NULL, "a.nc: time has units \"yyyymm\", which give no dates", 0, BC_E_UNSUPPORTED },
    { NULL, NULL, "a.nc: time has no units", 0, BC_E_UNSUPPORTED },
    { "days since 1900-01-01", "360_day", "calendar \"360_day\"", 0, BC_E_UNSUPPORTED },
    { "days since 1900-01-01", NULL, "off a whole second", 0.00001, BC_E_RANGE },
    { "days since 1900-01-01", NULL, "the time of step 0 (counted from 0) is missing", NAN,
      BC_E_UNSUPPORTED },
    { "days since 1500-01-01", NULL, "before 1582-10-15", 0, BC_E_RANGE },
  };

  for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
    const double t[2] = { c[i].first, 60000 };
    const file f = new_file("a.nc", NC_NETCDF4, 2, NC_DOUBLE, c[i].units, t);
    int var;
    (void)add_tyx(&f, "t2m", NC_FLOAT);
    NC(nc_inq_varid(f.nc, "time", &var));
    if (c[i].calendar != NULL) put_text(f.nc, var, "calendar", c[i].calendar);
    NC(nc_close(f.nc));
    expect_refused(in_dir("a.nc"), c[i].code, c[i].part);
  }
}

Test(source, time_without_values_or_coordinate)
{
  file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, NULL, NULL);
  int var, fill = 1043161;

  (void)add_tyx(&f, "t2m", NC_FLOAT);
  NC(nc_close(f.nc));
  expect_refused(in_dir("a.nc"), BC_E_UNSUPPORTED,
                 "dimension time of t2m (4 steps) has no variable that gives its dates");
  f = new_file("a.nc", 0, NT, NC_INT, HOURS, k_hours);
  (void)add_tyx(&f, "t2m", NC_FLOAT);
  NC(nc_inq_varid(f.nc, "time", &var));
  NC(nc_put_att_int(f.nc, var, "_FillValue", NC_INT, 1, &fill));
  NC(nc_close(f.nc));
  expect_refused(in_dir("a.nc"), BC_E_UNSUPPORTED, "the time of step 1 (counted from 0) is missing");
}

/* ---- expver and number ---- */
enum { AS_STRING, AS_CHAR, AS_INT, AS_SCALAR };

static void expver_per_step(int how, const int *version, size_t n, const double *hours)
{
  const file f = new_file("a.nc", NC_NETCDF4, n, NC_INT, HOURS, hours);
  int var, dims[2] = { f.time, 0 };
  char text[8][5];
  const char *p[8];

  for (size_t i = 0; i < n; i++) {
    (void)snprintf(text[i], sizeof text[i], "%04d", version[i]);
    p[i] = text[i];
  }
  NC(nc_def_dim(f.nc, "len", 4, &dims[1]));
  NC(nc_def_var(f.nc, "expver",
                how == AS_CHAR  ? NC_CHAR
                : how == AS_INT ? NC_INT
                                : NC_STRING,
                how == AS_SCALAR ? 0
                : how == AS_CHAR ? 2
                                 : 1,
                dims, &var));
  (void)nc_enddef(f.nc);
  if (how == AS_INT) NC(nc_put_var_int(f.nc, var, version));
  if (how == AS_STRING || how == AS_SCALAR) NC(nc_put_var_string(f.nc, var, p));
  for (size_t i = 0; i < n && how == AS_CHAR; i++) {
    const size_t start[] = { i, 0 }, count[] = { 1, 4 };
    NC(nc_put_vara_text(f.nc, var, start, count, text[i]));
  }
  (void)nc_redef(f.nc);
  (void)add_tyx(&f, "t2m", NC_FLOAT);
  NC(nc_close(f.nc));
}

Test(source, expver_of_each_step)
{
  const double hours[5] = { 1043160, 1043161, 1043161, 1043162, 1043162 };
  const int version[5] = { 1, 5, 1, 1, 5 };
  const size_t from[] = { 0, 2, 3 };

  for (int how = AS_STRING; how <= AS_INT; how++) {
    bc_source *s;
    expver_per_step(how, version, 5, hours);
    s = open_ok(in_dir("a.nc"));
    cr_assert_eq(bc_source_vars(s), 1);
    cr_assert_eq(bc_source_var_get(s, 0)->var.shape[0], 3);
    check_values(s, 0, from, 0);
    cr_assert_not_null(strstr(g_notes, "expver: kept final in 3 steps, preliminary in 0"), "%s", g_notes);
    bc_source_close(s);
  }
  expver_per_step(AS_SCALAR, (const int[]){ 5, 5, 5, 5 }, NT, k_hours);
  bc_source_close(open_ok(in_dir("a.nc")));
  cr_assert_not_null(strstr(g_notes, "kept final in 0 steps, preliminary in 4"), "%s", g_notes);
}

/* expver as a dimension of 2: the final version has steps 0 and 1, the preliminary one 2 and 3. */
static void expver_dimension(nc_type type, bool packed, const int *versions)
{
  const file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, HOURS, k_hours);
  int e, var, dims[4];
  const double v[] = { versions[0], versions[1] };
  const double scale = 0.5, offset = 10;

  NC(nc_def_dim(f.nc, "expver", 2, &e));
  (void)add_axis(f.nc, "expver", NC_INT, e, NULL, 2, v);
  dims[0] = f.time;
  dims[1] = e;
  dims[2] = f.lat;
  dims[3] = f.lon;
  NC(nc_def_var(f.nc, "t2m", type, 4, dims, &var));
  if (packed) {
    NC(nc_put_att_double(f.nc, var, "scale_factor", NC_DOUBLE, 1, &scale));
    NC(nc_put_att_double(f.nc, var, "add_offset", NC_DOUBLE, 1, &offset));
  }
  NC(nc_enddef(f.nc)); /* what is not written holds the fill value */
  for (size_t t = 0; t < NT; t++) {
    const size_t which = (versions[0] == 1) == (t < 2) ? 0 : 1;
    for (size_t i = 0; i < NY * NX; i++) {
      const size_t at[] = { t, which, i / NX, i % NX };
      double x = (double)value(t, 0, i / NX, i % NX);
      if (packed) x = (x - offset) / scale;
      NC(nc_put_var1_double(f.nc, var, at, &x));
    }
  }
  NC(nc_close(f.nc));
}

Test(source, expver_as_a_dimension)
{
  static const int versions[][2] = { { 1, 5 }, { 5, 1 } };

  for (int k = 0; k < 4; k++) {
    bc_source *s;
    expver_dimension(k < 2 ? NC_FLOAT : NC_SHORT, k >= 2, versions[k % 2]);
    s = open_ok(in_dir("a.nc"));
    cr_assert_eq(bc_source_var_get(s, 0)->var.dtype, k < 2 ? BC_F32 : BC_I16);
    check_values(s, 0, k_same, 0);
    cr_assert_not_null(strstr(g_notes, "expver: kept final in 2 steps, preliminary in 2"), "%s", g_notes);
    bc_source_close(s);
  }
  expver_dimension(NC_FLOAT, false, (const int[]){ 1, 77 });
  expect_refused(in_dir("a.nc"), BC_E_UNSUPPORTED,
                 "expver dimension holds other versions than 1 (final) and 5");
}

static void file_with_extra_dim(const char *name, size_t n, nc_type type)
{
  const file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, HOURS, k_hours);
  const double v[] = { 0, 1, 2 };
  int d, dims[4];

  NC(nc_def_dim(f.nc, name, n, &d));
  if (type != NC_NAT) (void)add_axis(f.nc, name, type, d, NULL, n, v);
  dims[0] = f.time;
  dims[1] = d;
  dims[2] = f.lat;
  dims[3] = f.lon;
  (void)add_field(f.nc, "t2m", NC_FLOAT, 4, dims, "t_yx");
  (void)add_tyx(&f, "msl", NC_FLOAT);
  NC(nc_close(f.nc));
}

Test(source, members_and_other_dimensions)
{
  bc_source *s;

  file_with_extra_dim("number", 1, NC_INT64);
  s = open_ok(in_dir("a.nc"));
  cr_assert_eq(bc_source_vars(s), 2);
  cr_assert_eq(bc_source_var_get(s, 0)->var.ndim, 3);
  check_values(s, 0, k_same, 0);
  bc_source_close(s);
  file_with_extra_dim("number", 3, NC_INT64);
  expect_refused(in_dir("a.nc"), BC_E_UNSUPPORTED, "t2m has 3 members along dimension number: an ensemble");
  file_with_extra_dim("band", 1, NC_NAT);
  s = open_ok(in_dir("a.nc"));
  cr_assert_eq(bc_source_vars(s), 2);
  bc_source_close(s);
  file_with_extra_dim("band", 3, NC_NAT);
  s = open_ok(in_dir("a.nc"));
  cr_assert_eq(bc_source_vars(s), 1);
  cr_assert_str_eq(bc_source_var_get(s, 0)->var.name, "msl");
  cr_assert_not_null(strstr(g_notes, "t2m skipped: its dimension band of 3 is neither time"), "%s", g_notes);
  bc_source_close(s);
}

/* ---- levels ---- */
Test(source, levels)
{
  static const struct {
    const char *name, *units, *want_units;
    size_t n;
    double first, want;
    int ndim;
  } c[] = {
    { "level", "millibars", "hPa", 3, 1000, 1000, 4 },
    { "isobaricInhPa", "hPa", "hPa", 1, 500, 500, 4 },
    { "lev", "Pa", "hPa", 2, 92500, 925, 4 },
    { "depth", "m", "m", 2, 0.5, 0.5, 4 },
    { "hybrid", "1", "1", 2, 137, 137, 4 },
    { "height", "m", "", 1, 2, 0, 3 },
  };

  for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
    const file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, HOURS, k_hours);
    const double v[] = { c[i].first, c[i].first / 2, c[i].first / 4 };
    const bc_var *var;
    bc_source *s;
    int d, dims[4] = { f.time, 0, f.lat, f.lon };
    NC(nc_def_dim(f.nc, c[i].name, c[i].n, &d));
    (void)add_axis(f.nc, c[i].name, NC_DOUBLE, d, c[i].units, c[i].n, v);
    dims[1] = d;
    (void)add_field(f.nc, "t", NC_FLOAT, 4, dims, "tlyx");
    NC(nc_close(f.nc));
    s = open_ok(in_dir("a.nc"));
    var = &bc_source_var_get(s, 0)->var;
    cr_assert_eq(var->ndim, c[i].ndim, "%s", c[i].name);
    cr_assert_str_eq(var->level_units, c[i].want_units);
    if (var->ndim == 4)
      cr_assert_eq(var->coord[1][0], c[i].want);
    else
      cr_assert_str_eq(bc_var_attr(var, "height"), "2 m");
    check_values(s, 0, k_same, 0);
    bc_source_close(s);
  }
}

/* ---- what is not a grid ---- */
Test(source, stations_and_curvilinear)
{
  int nc, dims[2], var;
  const double lat[2] = { 50, 51 }, lon[2] = { 0, 1 };

  NC(nc_create(in_dir("a.nc"), NC_CLOBBER | NC_NETCDF4, &nc));
  NC(nc_def_dim(nc, "time", NT, &dims[0]));
  NC(nc_def_dim(nc, "location", 2, &dims[1]));
  (void)add_axis(nc, "time", NC_INT, dims[0], HOURS, NT, k_hours);
  (void)add_axis(nc, "lat", NC_DOUBLE, dims[1], "degrees_north", 2, lat);
  (void)add_axis(nc, "lon", NC_DOUBLE, dims[1], "degrees_east", 2, lon);
  (void)add_field(nc, "tas", NC_FLOAT, 2, dims, "ty");
  NC(nc_close(nc));
  expect_refused(in_dir("a.nc"), BC_E_UNSUPPORTED,
                 "a.nc: variables on (time, location): no latitude-longitude grid");

  NC(nc_create(in_dir("a.nc"), NC_CLOBBER | NC_NETCDF4, &nc));
  NC(nc_def_dim(nc, "y", 3, &dims[0]));
  NC(nc_def_dim(nc, "x", 4, &dims[1]));
  var = add_field(nc, "lat", NC_FLOAT, 2, dims, "yx");
  put_text(nc, var, "units", "degrees_north");
  var = add_field(nc, "lon", NC_FLOAT, 2, dims, "yx");
  put_text(nc, var, "units", "degrees_east");
  (void)add_field(nc, "tas", NC_FLOAT, 2, dims, "yx");
  NC(nc_close(nc));
  expect_refused(in_dir("a.nc"), BC_E_UNSUPPORTED,
                 "variables on (y, x) with two-dimensional latitudes: a curvilinear");
}

Test(source, axes_with_bad_values)
{
  file f = new_file("a.nc", NC_NETCDF4, 0, NC_INT, NULL, NULL);
  const size_t at = 1;
  const double nan = (double)NAN, far = 95;
  int var;

  (void)add_tyx(&f, "x", NC_FLOAT);
  NC(nc_inq_varid(f.nc, "latitude", &var));
  NC(nc_put_var1_double(f.nc, var, &at, &far));
  NC(nc_close(f.nc));
  expect_refused(in_dir("a.nc"), BC_E_UNSUPPORTED, "latitude 95 at position 1 is no position on Earth");
  f = new_file("a.nc", NC_NETCDF4, 0, NC_INT, NULL, NULL);
  (void)add_tyx(&f, "x", NC_FLOAT);
  NC(nc_inq_varid(f.nc, "longitude", &var));
  NC(nc_put_var1_double(f.nc, var, &at, &nan));
  NC(nc_close(f.nc));
  expect_refused(in_dir("a.nc"), BC_E_UNSUPPORTED, "longitude has no value at position 1");
}

Test(source, variables_that_are_passed_over)
{
  const file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, HOURS, k_hours);
  const int dims[] = { f.time, f.lat, f.lon };
  int var;
  const double scale[] = { 1, 2 };
  bc_source *s;

  NC(nc_def_var(f.nc, "flag", NC_CHAR, 3, dims, &var));
  NC(nc_def_var(f.nc, "names", NC_STRING, 3, dims, &var));
  (void)add_tyx(&f, "t2m", NC_FLOAT);
  NC(nc_close(f.nc));
  s = open_ok(in_dir("a.nc"));
  cr_assert_eq(bc_source_vars(s), 1);
  cr_assert_not_null(strstr(g_notes, "flag skipped: it holds text"), "%s", g_notes);
  cr_assert_not_null(strstr(g_notes, "names skipped: it holds text"), "%s", g_notes);
  bc_source_close(s);

  {
    const file g = new_file("b.nc", NC_NETCDF4, NT, NC_INT, HOURS, k_hours);
    var = add_tyx(&g, "t2m", NC_SHORT);
    NC(nc_put_att_double(g.nc, var, "scale_factor", NC_DOUBLE, 2, scale));
    NC(nc_close(g.nc));
  }
  expect_refused(in_dir("b.nc"), BC_E_UNSUPPORTED, "t2m: attribute scale_factor is not one finite number");
}

/* ---- choosing, attributes ---- */
Test(source, selection_and_attributes)
{
  const file f = new_file("a.nc", NC_NETCDF4, NT, NC_INT, HOURS, k_hours);
  char longer[600];
  const long long id = 167;
  bc_source *s;
  bc_err err;
  int var;

  memset(longer, 'h', sizeof longer - 1);
  longer[sizeof longer - 1] = '\0';
  var = add_tyx(&f, "t2m", NC_FLOAT);
  put_text(f.nc, var, "long_name", "2 metre\n temperature ");
  NC(nc_put_att_longlong(f.nc, var, "GRIB_paramId", NC_INT64, 1, &id));
  (void)add_tyx(&f, "u10", NC_FLOAT);
  (void)add_tyx(&f, "x@y", NC_FLOAT);
  put_text(f.nc, NC_GLOBAL, "history", longer);
  put_text(f.nc, NC_GLOBAL, "institution", "ECMWF");
  NC(nc_close(f.nc));
  cr_assert_eq(try_open(in_dir("a.nc"), "u*,x_y", &s, &err), BC_OK, "%s", err.msg);
  cr_assert_eq(bc_source_vars(s), 2);
  cr_assert_str_eq(bc_source_var_get(s, 1)->var.name, "x_y");
  cr_assert_str_eq(bc_source_var_get(s, 0)->group, "surface"); /* by all variables of the file */
  bc_source_close(s);
  cr_assert_eq(try_open(in_dir("a.nc"), "surface/t2m", &s, &err), BC_OK, "%s", err.msg);
  cr_assert_str_eq(bc_var_attr(&bc_source_var_get(s, 0)->var, "long_name"), "2 metre temperature");
  cr_assert_str_eq(bc_var_attr(&bc_source_var_get(s, 0)->var, "GRIB_paramId"), "167");
  cr_assert_str_eq(bc_var_attr(&bc_source_var_get(s, 0)->var, "institution"), "ECMWF");
  cr_assert_lt(strlen(bc_var_attr(&bc_source_var_get(s, 0)->var, "history")), 256u);
  bc_source_close(s);
  cr_assert_eq(try_open(in_dir("a.nc"), "t3m", &s, &err), BC_E_NOTFOUND);
  cr_assert_not_null(strstr(err.msg, "no variable that matches \"t3m\": it has t2m, u10, x_y"), "%s",
                     err.msg);
}

/* ---- damage ---- */
static void put_bytes(const char *name, const void *p, size_t n)
{
  FILE *f = fopen(in_dir(name), "wb");
  cr_assert_not_null(f);
  cr_assert_eq(fwrite(p, 1, n, f), n);
  cr_assert_eq(fclose(f), 0);
}

Test(source, files_that_are_no_netcdf)
{
  static const struct {
    const char *bytes;
    size_t n;
    bc_status code;
    const char *part;
  } c[] = {
    { "", 0, BC_E_TRUNCATED, "is empty (0 bytes)" },
    { "GRIB....", 8, BC_E_UNSUPPORTED,
      "GRIB files are not read: convert with grib_to_netcdf, or ask CDS for netCDF" },
    { "\x1f\x8b\x08", 3, BC_E_UNSUPPORTED, "gunzip" },
    { "<!DOCTYPE html>", 15, BC_E_UNSUPPORTED, "a web page" },
    { "version https://git-lfs.github.com", 34, BC_E_UNSUPPORTED, "Git LFS" },
    { "a,b\n1,2\n", 8, BC_E_UNSUPPORTED, "a text file" },
    { "\0\0\0\0\0\0", 6, BC_E_UNSUPPORTED, "only zero bytes" },
    { "\x01\x02\x03\x04", 4, BC_E_UNSUPPORTED, "neither netCDF nor a zip" },
    { "CDF\x03....", 8, BC_E_UNSUPPORTED, "unknown version" },
    { "CDF\x01", 4, BC_E_TRUNCATED, "is incomplete" },
    { "CDF\x01\0\0\0\0\0\0\0\x0a", 12, BC_E_TRUNCATED, "ends inside its netCDF header" },
    { "\x89HDF\r\n\x1a\n", 8, BC_E_TRUNCATED, "is incomplete" },
    { "PK\x03\x04xxxxxxxxxxxxxxxxxxxxxxxx", 28, BC_E_TRUNCATED, "reading the zip" },
  };

  for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
    put_bytes("a.nc", c[i].bytes, c[i].n);
    expect_refused(in_dir("a.nc"), c[i].code, c[i].part);
  }
  expect_refused(g_dir, BC_E_INVAL, "is a folder");
  expect_refused(in_dir("none.nc"), BC_E_NOTFOUND, "no such file");
  cr_assert_eq(mkfifo(in_dir("pipe"), 0600), 0);
  expect_refused(in_dir("pipe"), BC_E_UNSUPPORTED, "not a regular file");
  if (geteuid() != 0) {
    cr_assert_eq(chmod(in_dir("a.nc"), 0), 0);
    expect_refused(in_dir("a.nc"), BC_E_IO, "no permission");
  }
}

static uint8_t *get_bytes(const char *path, size_t *n)
{
  FILE *f = fopen(path, "rb");
  uint8_t *p = malloc(1 << 20);
  cr_assert_not_null(f);
  *n = fread(p, 1, 1 << 20, f);
  (void)fclose(f);
  return p;
}

/* Every length shorter than the whole: refused when opened, or every value read is right (padding was cut).
 */
Test(source, truncated_files)
{
  static const int modes[] = { 0, NC_64BIT_OFFSET, NC_64BIT_DATA, NC_NETCDF4 };

  for (size_t m = 0; m < 4; m++) {
    size_t n;
    uint8_t *p;
    simple_file("a.nc", modes[m]);
    p = get_bytes(in_dir("a.nc"), &n);
    for (size_t cut = 1; cut < n; cut += m == 3 ? 97 : 7) {
      bc_source *s = NULL;
      bc_err err;
      bc_status st;
      put_bytes("b.nc", p, n - cut);
      st = try_open(in_dir("b.nc"), NULL, &s, &err);
      cr_assert(st == BC_E_TRUNCATED || st == BC_E_CORRUPT || n - cut < 8, "mode %zu, %zu of %zu: %s %s", m,
                n - cut, n, bc_status_name(st), err.msg);
      bc_source_close(s);
    }
    free(p);
  }
}

Test(source, record_file_cut_inside_its_last_record)
{
  int nc, dims[3], tv, var;
  const size_t zero[3] = { 0 }, count[3] = { NT, NY, NX }, nt = NT;
  float v[NT * NY * NX] = { 0 };
  size_t n;
  uint8_t *p;

  NC(nc_create(in_dir("a.nc"), NC_CLOBBER, &nc));
  NC(nc_def_dim(nc, "time", NC_UNLIMITED, &dims[0]));
  NC(nc_def_dim(nc, "lat", NY, &dims[1]));
  NC(nc_def_dim(nc, "lon", NX, &dims[2]));
  NC(nc_def_var(nc, "time", NC_SHORT, 1, dims, &tv));
  put_text(nc, tv, "units", "days since 2000-01-01");
  NC(nc_def_var(nc, "t2m", NC_FLOAT, 3, dims, &var));
  (void)add_axis(nc, "lat", NC_DOUBLE, dims[1], NULL, NY, k_lat);
  (void)add_axis(nc, "lon", NC_DOUBLE, dims[2], NULL, NX, k_lon);
  (void)nc_enddef(nc);
  NC(nc_put_vara_double(nc, tv, zero, &nt, (const double[]){ 1, 2, 3, 4 }));
  NC(nc_put_vara_float(nc, var, zero, count, v));
  NC(nc_close(nc));
  p = get_bytes(in_dir("a.nc"), &n);
  put_bytes("b.nc", p, n);
  bc_source_close(open_ok(in_dir("b.nc")));
  put_bytes("b.nc", p, n - 1);
  expect_refused(in_dir("b.nc"), BC_E_TRUNCATED, "is incomplete: its header promises");
  free(p);
}

/* Each byte of a header turned over: an error or values, never a crash. */
Test(source, headers_with_flipped_bytes)
{
  static const int modes[] = { 0, NC_64BIT_DATA };

  for (size_t m = 0; m < 2; m++) {
    size_t n;
    uint8_t *p;
    float v[NT * NY * NX];
    simple_file("a.nc", modes[m]);
    p = get_bytes(in_dir("a.nc"), &n);
    for (size_t i = 0; i < n; i++) {
      bc_source *s = NULL;
      bc_err err;
      p[i] ^= 0xff;
      put_bytes("b.nc", p, n);
      p[i] ^= 0xff;
      if (try_open(in_dir("b.nc"), NULL, &s, &err) != BC_OK) {
        cr_assert_gt(strlen(err.msg), 10u);
        continue;
      }
      if (bc_source_var_get(s, 0)->var.shape[0] <= NT && bc_source_var_get(s, 0)->var.ndim == 3 &&
          bc_source_var_get(s, 0)->var.shape[1] * bc_source_var_get(s, 0)->var.shape[2] <= NY * NX)
        (void)!bc_source_read(s, 0, 0, bc_source_var_get(s, 0)->var.shape[0], v,
                              &err); /* any answer will do */
      bc_source_close(s);
    }
    free(p);
  }
}

Test(source, a_damaged_chunk_is_located)
{
  const size_t chunks[] = { 1, NY, 64 };
  int nc, dims[3], tv, var;
  size_t n, at = 0;
  uint8_t *p;
  float v[NT * NY * 64];
  double lon[64];
  bc_source *s;
  bc_err err;

  NC(nc_create(in_dir("a.nc"), NC_CLOBBER | NC_NETCDF4, &nc));
  NC(nc_def_dim(nc, "time", NT, &dims[0]));
  NC(nc_def_dim(nc, "lat", NY, &dims[1]));
  NC(nc_def_dim(nc, "lon", 64, &dims[2]));
  tv = add_axis(nc, "time", NC_INT, dims[0], HOURS, NT, k_hours);
  (void)tv;
  (void)add_axis(nc, "lat", NC_DOUBLE, dims[1], NULL, NY, k_lat);
  for (size_t i = 0; i < 64; i++)
    lon[i] = (double)i;
  (void)add_axis(nc, "lon", NC_DOUBLE, dims[2], NULL, 64, lon);
  NC(nc_def_var(nc, "t2m", NC_FLOAT, 3, dims, &var));
  NC(nc_def_var_chunking(nc, var, NC_CHUNKED, chunks));
  NC(nc_def_var_deflate(nc, var, 0, 1, 6));
  NC(nc_enddef(nc));
  for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
    v[i] = (float)((i * 2654435761u) >> 7 & 1023);
  NC(nc_put_var_float(nc, var, v));
  NC(nc_close(nc));
  p = get_bytes(in_dir("a.nc"), &n);
  while (at + 2 < n && !(p[at] == 0x78 && p[at + 1] == 0x9c)) /* head of a zlib stream */
    at++;
  cr_assert_lt(at + 2, n);
  memset(p + at, 0xee, 64);
  put_bytes("a.nc", p, n);
  free(p);
  s = open_ok(in_dir("a.nc"));
  cr_assert_eq(bc_source_read(s, 0, 0, NT, v, &err), BC_E_CORRUPT);
  cr_assert_not_null(strstr(err.msg, "a.nc: t2m at step 0"), "%s", err.msg);
  bc_source_close(s);
}

/* ---- zip ---- */
typedef struct entry {
  const char *name, *file; /* file in g_dir; NULL: text */
  bool symlink;
} entry;

static void make_zip(const char *name, const entry *e, size_t n)
{
  int code = 0;
  zip_t *z;

  (void)unlink(in_dir(name));
  z = zip_open(in_dir(name), ZIP_CREATE, &code);
  cr_assert_not_null(z);
  for (size_t i = 0; i < n; i++) {
    zip_source_t *src = e[i].file != NULL ? zip_source_file(z, in_dir(e[i].file), 0, -1)
                                          : zip_source_buffer(z, "hello", 5, 0);
    const zip_int64_t k = zip_file_add(z, e[i].name, src, ZIP_FL_ENC_UTF_8);
    cr_assert_geq(k, 0);
    if (e[i].symlink)
      cr_assert_eq(zip_file_set_external_attributes(z, (zip_uint64_t)k, 0, ZIP_OPSYS_UNIX, 0120777u << 16),
                   0);
  }
  cr_assert_eq(zip_close(z), 0);
}

static size_t temp_folders(void)
{
  size_t n = 0;
  DIR *d = opendir(g_dir);
  const struct dirent *e;

  while ((e = readdir(d)) != NULL)
    n += strncmp(e->d_name, "biocube-", 8) == 0;
  (void)closedir(d);
  return n;
}

Test(source, zip_of_two_files)
{
  const entry e[] = { { "data_stream-oper_stepType-instant.nc", "a.nc", false },
                      { "readme.txt", NULL, false },
                      { "sub/data_stream-oper_stepType-accum.nc", "b.nc", false } };
  const file f = new_file("b.nc", 0, NT, NC_INT, HOURS, k_hours);
  bc_source *s;

  (void)add_tyx(&f, "tp", NC_FLOAT);
  NC(nc_close(f.nc));
  simple_file("a.nc", NC_NETCDF4);
  make_zip("a.zip", e, 3);
  cr_assert_eq(setenv("TMPDIR", g_dir, 1), 0);
  s = open_ok(in_dir("a.zip"));
  cr_assert_eq(temp_folders(), 1);
  cr_assert_eq(bc_source_vars(s), 2);
  cr_assert_str_eq(bc_source_var_get(s, 0)->var.name, "t2m");
  cr_assert_str_eq(bc_source_var_get(s, 0)->group, "surface");
  cr_assert_str_eq(bc_source_var_get(s, 1)->var.name, "tp");
  cr_assert_str_eq(bc_source_var_get(s, 1)->group, "climate"); /* each member by its own names */
  cr_assert_not_null(strstr(g_notes, "member readme.txt skipped: it is not netCDF"), "%s", g_notes);
  check_values(s, 0, k_same, 0);
  check_values(s, 1, k_same, 0);
  bc_source_close(s);
  cr_assert_eq(temp_folders(), 0);
}

Test(source, zips_that_are_refused)
{
  static const struct {
    entry e;
    const char *part;
    bc_status code;
  } c[] = {
    { { "../a.nc", "a.nc", false }, "member \"../a.nc\" would be written outside its folder", BC_E_CORRUPT },
    { { "x/../../a.nc", "a.nc", false }, "outside its folder", BC_E_CORRUPT },
    { { "/etc/a.nc", "a.nc", false }, "outside its folder", BC_E_CORRUPT },
    { { "..\\a.nc", "a.nc", false }, "outside its folder", BC_E_CORRUPT },
    { { "c:a.nc", "a.nc", false }, "outside its folder", BC_E_CORRUPT },
    { { "a.nc", "a.nc", true }, "is a symbolic link", BC_E_CORRUPT },
    { { "notes.txt", NULL, false },
      "a zip without any netCDF file: it holds \"notes.txt\"",
      BC_E_UNSUPPORTED },
    { { "short.nc", "b.nc", false }, "a.zip (short.nc) is incomplete", BC_E_TRUNCATED },
  };
  size_t n;
  uint8_t *p;

  simple_file("a.nc", 0);
  p = get_bytes(in_dir("a.nc"), &n);
  put_bytes("b.nc", p, n - 10);
  free(p);
  cr_assert_eq(setenv("TMPDIR", g_dir, 1), 0);
  for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
    make_zip("a.zip", &c[i].e, 1);
    expect_refused(in_dir("a.zip"), c[i].code, c[i].part);
    cr_assert_eq(temp_folders(), 0);
  }
}

Test(source, zip_bomb)
{
  static uint8_t zeros[1 << 20];
  const entry e[] = { { "a.nc", "bomb", false } };
  FILE *f = fopen(in_dir("bomb"), "wb");

  cr_assert_not_null(f);
  zeros[0] = 'C';
  for (int i = 0; i < 65; i++)
    cr_assert_eq(fwrite(zeros, 1, sizeof zeros, f), sizeof zeros);
  cr_assert_eq(fclose(f), 0);
  make_zip("a.zip", e, 1);
  expect_refused(in_dir("a.zip"), BC_E_CORRUPT, "refused as a zip bomb");
}

Test(source, zip_cut_short_or_without_room)
{
  const entry e[] = { { "a.nc", "a.nc", false } };
  size_t n;
  uint8_t *p;

  simple_file("a.nc", NC_NETCDF4);
  make_zip("a.zip", e, 1);
  cr_assert_eq(setenv("TMPDIR", "/nowhere/at/all", 1), 0);
  expect_refused(in_dir("a.zip"), BC_E_IO, "set TMPDIR");
  cr_assert_eq(setenv("TMPDIR", g_dir, 1), 0);
  p = get_bytes(in_dir("a.zip"), &n);
  put_bytes("b.zip", p, n - 30);
  expect_refused(in_dir("b.zip"), BC_E_TRUNCATED, "b.zip");
  p[200] ^= 0xff; /* inside the compressed member */
  put_bytes("b.zip", p, n);
  expect_refused(in_dir("b.zip"), BC_E_CORRUPT, "a.nc");
  cr_assert_eq(temp_folders(), 0);
  free(p);
}

/* ---- grids ---- */
Test(source, grid_of_a_file)
{
  bc_grid g;
  bc_err err;

  simple_file("a.nc", 0);
  cr_assert_eq(bc_ingest_grid_of(in_dir("a.nc"), &g, &err), BC_OK, "%s", err.msg);
  cr_assert(g.ny == NY && g.nx == NX && g.y0 == 50 && g.dy == -0.25 && g.x0 == -0.5 && g.dx == 0.25);
  cr_assert_eq(bc_ingest_grid_of(in_dir("none.nc"), &g, &err), BC_E_NOTFOUND);
}

/* ---- every allocation fails once ---- */
static bool fail_at(void *ctx)
{
  int *left = ctx;
  return (*left)-- == 0;
}

Test(source, memory_that_runs_out_is_an_error)
{
  bc_status st = BC_E_NOMEM;

  simple_file("a.nc", NC_NETCDF4);
  for (int n = 0; st != BC_OK; n++) {
    bc_source *s = NULL;
    int left = n;
    cr_assert_lt(n, 500);
    bc_alloc_set_hook(fail_at, &left);
    st = bc_source_open(in_dir("a.nc"), NULL, &s, NULL);
    bc_alloc_set_hook(NULL, NULL);
    cr_assert(st == BC_OK || st == BC_E_NOMEM);
    bc_source_close(s);
  }
}

/* ---- real files ---- */
/* BC_DATA, else ../shared/data beside the source tree, which is found from this file's own place. */
static const char *data_dir(void)
{
  static char path[600];
  const char *d = getenv("BC_DATA"), *here = strstr(__FILE__, "tests/unit/");

  if (d != NULL) return d;
#ifdef BC_SOURCE_DIR
  (void)here;
  (void)snprintf(path, sizeof path, "%s/../shared/data", BC_SOURCE_DIR);
#else
  (void)snprintf(path, sizeof path, "%.*s../shared/data", here == NULL ? 0 : (int)(here - __FILE__),
                 __FILE__);
#endif
  return path;
}

Test(source, real_files)
{
  static const struct {
    const char *file;
    size_t vars; /* 0: refused */
    const char *said;
    bc_status code;
  } c[] = {
    { "era5/cfgrib_scalar_coords_t2m.nc", 1, "surface/t2m", BC_OK },
    { "era5/era5_daily_5cities_string_location.nc", 0, "variables on (location, time): no latitude",
      BC_E_UNSUPPORTED },
    { "era5/era5_t2m_uk_2019-03_hourly.grib", 0, "GRIB files are not read", BC_E_UNSUPPORTED },
    { "era5/era5_t2m_uk_2019-03_hourly.legacy.nc", 1, "surface/t2m", BC_OK },
    { "era5/legacy_pl_tuv_2lev.nc", 3, "atmospheric/t", BC_OK },
    { "era5/legacy_pl_tz_global1deg.nc", 2, "atmospheric/t", BC_OK },
    { "era5/legacy_repacked_scalar_time.nc", 7, "surface/u10", BC_OK },
    { "era5/legacy_sl_u10_v10_t2m_sst.nc", 4, "surface/u10", BC_OK },
    { "era5/legacy_t2m_1.nc", 1, "surface/t2m", BC_OK },
    { "era5/newcds_era5land_2x2_1998_01-04.nc", 3, "surface/tp", BC_OK },
    { "era5/newcds_era5land_2x2_1999_01.nc", 3, "surface/tp", BC_OK },
    { "era5/newcds_era5land_point_1999_01.nc", 3, "surface/tp", BC_OK },
    { "era5/newcds_sl_data_stream-oper_stepType-instant.nc", 2, "surface/u10", BC_OK },
    { "era5/newcds_static_z_lsm_slt_global025.nc", 3, "single/z", BC_OK },
    { "climate/T2m.nc", 0, "time has units \"yyyymm\"", BC_E_UNSUPPORTED },
    { "climate/absolute.nc", 0, "time has units \"months\"", BC_E_UNSUPPORTED },
    { "climate/eraint_uvz.nc", 0, "month has no units", BC_E_UNSUPPORTED },
    { "climate/hgt.nc", 0, "months since 1958-1-1 00:00:00", BC_E_UNSUPPORTED },
    { "climate/landsea.nc", 1, "misc/LSMASK", BC_OK },
    { "climate/nc4uvt.nc", 0, "time has units \"Month\"", BC_E_UNSUPPORTED },
    { "climate/nrcan_1950-2013.nc", 0, "variables on (time, location): no latitude", BC_E_UNSUPPORTED },
    { "climate/o3_Amon_GFDL-ESM4_historical_r1i1p1f1_gr1_185001-194912.nc", 0, "\"noleap\"",
      BC_E_UNSUPPORTED },
    { "climate/sst.nc", 0, "off a whole second", BC_E_RANGE },
    { "climate/tas_Amon_HadGEM2-ES_rcp85_r1i1p1_200512-203011.nc", 0, "\"360_day\"", BC_E_UNSUPPORTED },
    { "climate/tasmax_day_CanESM2_rcp85_r1i1p1_na10kgrid_qm-moving-50bins-detrend_2095.nc", 0, "\"365_day\"",
      BC_E_UNSUPPORTED },
    { "climate/tiny.nc", 0, "variables on (dim_0): no latitude", BC_E_UNSUPPORTED },
    { "climate/ts.nc", 0, "variables on (time, lev, lat): no latitude", BC_E_UNSUPPORTED },
    { "netcdf_edge/bad_cdf5_begin.nc", 0, "is incomplete", BC_E_TRUNCATED },
    { "netcdf_edge/nctest_netcdf4_classic.nc", 0, "no latitude-longitude grid", BC_E_UNSUPPORTED },
    { "netcdf_edge/ref_hdf5_compat1.nc", 0, "variables on (x)", BC_E_UNSUPPORTED },
    { "netcdf_edge/ref_nccopy3_subset.nc", 30, "misc/LatLon", BC_OK },
    { "netcdf_edge/ref_nctest_64bit_offset.nc", 0, "no latitude-longitude grid", BC_E_UNSUPPORTED },
    { "netcdf_edge/ref_null_byte_padding_test.nc", 0, "no raster variable", BC_E_UNSUPPORTED },
    { "netcdf_edge/ref_szip.h5", 0, "an HDF5 file without netCDF axes", BC_E_UNSUPPORTED },
    { "netcdf_edge/ref_test_365_day_1900.nc", 0, "no raster variable", BC_E_UNSUPPORTED },
    { "netcdf_edge/ref_tst_compounds.nc", 0, "variables on (n)", BC_E_UNSUPPORTED },
    { "netcdf_edge/tdset.h5", 0, "an HDF5 file without netCDF axes", BC_E_UNSUPPORTED },
  };

  if (access(data_dir(), R_OK) != 0)
    cr_skip_test(
        "real files are not here: set BC_DATA to the folder that holds era5/, climate/ and netcdf_edge/");
  for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
    char path[600], first[120];
    bc_source *s = NULL;
    bc_err err;
    bc_status st;
    (void)snprintf(path, sizeof path, "%s/%s", data_dir(), c[i].file);
    st = try_open(path, NULL, &s, &err);
    cr_assert_eq(st, c[i].code, "%s: %s", path, err.msg);
    if (c[i].vars == 0) {
      cr_assert_not_null(strstr(err.msg, c[i].said), "%s", err.msg);
      continue;
    }
    cr_assert_eq(bc_source_vars(s), c[i].vars, "%s: %zu", path, bc_source_vars(s));
    (void)snprintf(first, sizeof first, "%s/%s", bc_source_var_get(s, 0)->group,
                   bc_source_var_get(s, 0)->var.name);
    cr_assert_str_eq(first, c[i].said);
    for (size_t k = 0; k < c[i].vars; k++) {
      size_t n;
      free(read_all(s, k, &n));
    }
    bc_source_close(s);
  }
}
