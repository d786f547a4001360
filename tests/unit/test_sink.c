/* Sinks: formats of arrays written from generated streams and read back, and what may go wrong with any
 * format. */
#include "tests/unit/sink_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netcdf.h>
#include <signal.h>
#include <sys/resource.h>
#include <zip.h>

#include "store/netcdf_lock.h"

TestSuite(sink, .init = make_folder, .fini = remove_folder);

/* ---- choosing a format ---- */

Test(sink, format_by_name_and_suffix)
{
  static const struct {
    const char *name, *path, *want;
  } cases[] = {
    { NULL, "a/b.npy", "npy" },    { NULL, "x.NC", "netcdf" },   { NULL, "x.nc4", "netcdf" },
    { "nc", "x.csv", "netcdf" },   { "netcdf", "-", "netcdf" },  { "csv", "-", "csv" },
    { NULL, "x.ndjson", "jsonl" }, { NULL, "a.b/c.tsv", "tsv" }, { NULL, "t.safetensors", "safetensors" },
  };
  for (size_t i = 0; i < BC_ARRAY_LEN(cases); i++) {
    const bc_format *f = NULL;
    cr_assert_eq(bc_format_find(cases[i].name, cases[i].path, &f, NULL), BC_OK);
    cr_assert_str_eq(f->name, cases[i].want);
  }
}

Test(sink, unknown_formats_list_all)
{
  static const struct {
    const char *name, *path;
  } cases[] = { { "xls", "a.npy" }, { NULL, "a.xls" }, { NULL, "a" },
                { NULL, "a.b/c" },  { NULL, "-" },     { NULL, "a." } };
  for (size_t i = 0; i < BC_ARRAY_LEN(cases); i++) {
    const bc_format *f = NULL;
    bc_err err;
    cr_assert_eq(bc_format_find(cases[i].name, cases[i].path, &f, &err), BC_E_INVAL);
    for (const bc_format *k = bc_formats(); k->name != NULL; k++)
      cr_assert_not_null(strstr(err.msg, k->name), "%s: %s", k->name, err.msg);
  }
}

/* ---- npy ---- */

Test(sink, npy_bytes)
{
  write_ok(ONE(k_t2m, k_values), "a.npy");
  bc_buf b = slurp(in_folder("a.npy"));
  cr_assert_eq(b.n, 128 + 48);
  cr_assert_eq(memcmp(b.p, "\x93NUMPY\x01\x00\x76\x00", 10), 0);
  const char *dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 2), }  ";
  cr_assert_eq(memcmp(b.p + 10, dict, strlen(dict)), 0);
  cr_assert_eq(b.p[127], '\n');
  cr_assert_eq(memcmp(b.p + 128, k_values, sizeof k_values), 0);
  bc_buf_dispose(&b);
}

Test(sink, npy_of_any_stride_and_slab)
{
  const bc_var *const vars[] = { &k_count };
  const void *const data[] = { k_counts };
  for (int64_t slab = 1; slab <= 3; slab++) {
    source s;
    bc_err err;
    bc_sink_opts o = BC_SINK_OPTS_INIT;
    o.overwrite = true;
    source_init(&s, 1, vars, data);
    s.slab = slab;
    s.backward = true;
    cr_assert_eq(bc_sink_write(&s.stream, in_folder("b.npy"), &o, &err), BC_OK, "%s", err.msg);
    free(s.turned);
    bc_buf b = slurp(in_folder("b.npy"));
    cr_assert_not_null(strstr((const char *)b.p + 10, "'<i4'"));
    cr_assert_eq(memcmp(b.p + 128, k_counts, sizeof k_counts), 0);
    bc_buf_dispose(&b);
  }
}

Test(sink, npy_header_of_one_and_no_dimension)
{
  static const int64_t shape[] = { 7 };
  bc_buf b = bc_buf_empty(4096);
  cr_assert_eq(bc_npy_header(&b, "<f8", shape, 1, NULL), BC_OK);
  cr_assert_not_null(memmem(b.p, b.n, "'shape': (7,), }", 16));
  b.n = 0;
  cr_assert_eq(bc_npy_header(&b, "<U3", shape, 0, NULL), BC_OK);
  cr_assert_not_null(memmem(b.p, b.n, "'shape': (), }", 14));
  cr_assert_eq(b.n % 64, 0);
  bc_buf_dispose(&b);
}

Test(sink, npy_refuses_several_variables)
{
  bc_err err;
  const bc_var *const vars[] = { &k_t2m, &k_lsm };
  const void *const data[] = { k_values, k_values };
  cr_assert_eq(write_vars(2, vars, data, "a.npy", &err), BC_E_INVAL);
  cr_assert_str_eq(err.msg,
                   "npy holds one variable, the answer has 2 (t2m, lsm): ask for one, or write .npz, "
                   ".safetensors or .nc");
  cr_assert_eq(files_in_folder(), 0);
}

/* ---- archives of arrays ---- */

static size_t zip_entry(zip_t *z, const char *name, uint8_t *buf, size_t cap)
{
  zip_file_t *f = zip_fopen(z, name, 0);
  cr_assert_not_null(f, "no %s", name);
  const zip_int64_t n = zip_fread(f, buf, cap);
  cr_assert_geq(n, 0);
  cr_assert_eq(zip_fclose(f), 0);
  return (size_t)n;
}

Test(sink, npz_entries)
{
  const bc_var *const vars[] = { &k_t2m, &k_count, &k_daily, &k_z };
  const void *const data[] = { k_values, k_counts, k_values + 8, k_values };
  static const char *const names[] = { "surface.t2m.npy",
                                       "climate.t2m.npy",
                                       "t2m_mean.npy",
                                       "z.npy",
                                       "latitude.npy",
                                       "longitude.npy",
                                       "level.npy",
                                       "time_surface.t2m.npy",
                                       "time_climate.t2m.npy",
                                       "time_t2m_mean.npy",
                                       "time_bnds_t2m_mean.npy",
                                       "time_z.npy",
                                       "attrs.npy" };
  uint8_t buf[4096];
  write_ok(4, vars, data, "a.npz");
  zip_t *z = zip_open(in_folder("a.npz"), ZIP_RDONLY | ZIP_CHECKCONS, NULL);
  cr_assert_not_null(z);
  cr_assert_eq(zip_get_num_entries(z, 0), (zip_int64_t)BC_ARRAY_LEN(names));
  for (size_t i = 0; i < BC_ARRAY_LEN(names); i++)
    cr_assert_geq(zip_name_locate(z, names[i], 0), 0, "%s", names[i]);
  cr_assert_eq(zip_entry(z, "surface.t2m.npy", buf, sizeof buf), 128 + 48);
  cr_assert_eq(memcmp(buf + 128, k_values, 48), 0);
  cr_assert_eq(zip_entry(z, "climate.t2m.npy", buf, sizeof buf), 128 + 48);
  cr_assert_eq(memcmp(buf + 128, k_counts, 48), 0);
  cr_assert_eq(zip_entry(z, "time_bnds_t2m_mean.npy", buf, sizeof buf), 128 + 16);
  cr_assert_not_null(memmem(buf, 128, "'<M8[s]'", 8));
  cr_assert_eq(memcmp(buf + 128, k_bounds, 16), 0);
  (void)zip_entry(z, "attrs.npy", buf, sizeof buf);
  cr_assert_eq(memcmp(buf + 128, "{\0\0\0\"\0\0\0a\0\0\0t\0\0\0", 16), 0);
  cr_assert_eq(zip_close(z), 0);
}

Test(sink, equal_answers_give_equal_archives)
{
  write_ok(ONE(k_t2m, k_values), "a.npz");
  write_ok(ONE(k_t2m, k_values), "b.npz");
  bc_buf a = slurp(in_folder("a.npz")), b = slurp(in_folder("b.npz"));
  cr_assert_eq(a.n, b.n);
  cr_assert_eq(memcmp(a.p, b.p, a.n), 0);
  bc_buf_dispose(&a);
  bc_buf_dispose(&b);
}

Test(sink, safetensors_header_and_values)
{
  static const char want[] =
      "{\"__metadata__\":{\"format\":\"pt\",\"title\":\"Test \\\"cube\\\"\",\"licence\":\"CC-BY-4.0\","
      "\"t2m.units\":\"K\",\"t2m.dims\":\"time,point\",\"time.units\":\"seconds since 1970-01-01 00:00:00\","
      "\"latitude.units\":\"degrees_north\",\"longitude.units\":\"degrees_east\"},"
      "\"time\":{\"dtype\":\"I64\",\"shape\":[3],\"data_offsets\":[0,24]},"
      "\"latitude\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[24,40]},"
      "\"longitude\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[40,56]},"
      "\"t2m\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[56,80]}}";
  static const int64_t times[] = { 1551398400, 1551402000, 1551405600 };
  write_ok(ONE(k_points, k_values), "a.safetensors");
  bc_buf b = slurp(in_folder("a.safetensors"));
  const size_t head = (size_t)bc_le64(b.p);
  cr_assert_eq(head % 8, 0);
  cr_assert_eq(head, (sizeof want - 1 + 7) / 8 * 8);
  cr_assert_eq(memcmp(b.p + 8, want, sizeof want - 1), 0, "%.*s", (int)head, (const char *)b.p + 8);
  cr_assert_eq(b.n, 8 + head + 80);
  cr_assert_eq(memcmp(b.p + 8 + head, times, 24), 0);
  cr_assert_eq(memcmp(b.p + 8 + head + 24, k_point_lat, 16), 0);
  cr_assert_eq(memcmp(b.p + 8 + head + 56, k_values, 24), 0);
  bc_buf_dispose(&b);
}

/* ---- netCDF ---- */

static void expect_att(int id, const char *var, const char *att, const char *want)
{
  char text[256] = "";
  int v = NC_GLOBAL;
  if (var != NULL) cr_assert_eq(nc_inq_varid(id, var, &v), 0, "no %s", var);
  cr_assert_eq(nc_get_att_text(id, v, att, text), 0, "no %s:%s", var, att);
  cr_assert_str_eq(text, want, "%s:%s", var, att);
}

static bool has_att(int id, const char *var, const char *att)
{
  int v = -1, n = -1;
  cr_assert_eq(nc_inq_varid(id, var, &v), 0);
  return nc_inq_attid(id, v, att, &n) == 0;
}

Test(sink, netcdf_follows_cf)
{
  const bc_var *const vars[] = { &k_t2m, &k_count, &k_daily, &k_z };
  const void *const data[] = { k_values, k_counts, k_values + 8, k_values };
  int id = -1, v = -1, dims[4], storage = -1, shuffle = 0, deflate = 0, level = 0;
  size_t chunk[4];
  float f[12], fill = 0;
  int32_t k[12];
  long long t[3];

  write_ok(4, vars, data, "a.nc");
  bc_netcdf_lock(NULL);
  cr_assert_eq(nc_open(in_folder("a.nc"), NC_NOWRITE, &id), 0);
  expect_att(id, NULL, "Conventions", "CF-1.11");
  expect_att(id, NULL, "title", "Test \"cube\"");
  expect_att(id, NULL, "licence", "CC-BY-4.0");
  expect_att(id, "time", "units", "seconds since 1970-01-01 00:00:00");
  expect_att(id, "time", "calendar", "proleptic_gregorian");
  expect_att(id, "time_1", "bounds", "time_bnds_1");
  expect_att(id, "level", "positive", "down");
  expect_att(id, "level", "units", "hPa");
  expect_att(id, "latitude", "units", "degrees_north");
  expect_att(id, "surface_t2m", "units", "K");
  expect_att(id, "surface_t2m", "cell_methods", "time: mean");
  cr_assert(!has_att(id, "surface_t2m", "scale_factor"));
  cr_assert(has_att(id, "surface_t2m", "GRIB_paramId"));
  cr_assert_eq(nc_inq_varid(id, "surface_t2m", &v), 0);
  cr_assert_eq(nc_get_att_float(id, v, "_FillValue", &fill), 0);
  cr_assert(isnan(fill));
  cr_assert_eq(nc_get_var_float(id, v, f), 0);
  cr_assert_eq(memcmp(f, k_values, sizeof f), 0);
  cr_assert_eq(nc_inq_var_deflate(id, v, &shuffle, &deflate, &level), 0);
  cr_assert(shuffle == 1 && deflate == 1 && level == 1);
  cr_assert_eq(nc_inq_var_chunking(id, v, &storage, chunk), 0);
  cr_assert(storage == NC_CHUNKED && chunk[0] == 3 && chunk[1] == 2 && chunk[2] == 2);
  cr_assert_eq(nc_inq_varid(id, "climate_t2m", &v), 0);
  cr_assert_eq(nc_get_var_int(id, v, k), 0);
  cr_assert_eq(memcmp(k, k_counts, sizeof k), 0);
  cr_assert_eq(nc_inq_varid(id, "z", &v), 0);
  cr_assert_eq(nc_inq_vardimid(id, v, dims), 0);
  cr_assert_eq(nc_get_var_float(id, v, f), 0);
  cr_assert_eq(memcmp(f, k_values, 8 * sizeof *f), 0);
  cr_assert_eq(nc_inq_varid(id, "time", &v), 0);
  cr_assert_eq(nc_get_var_longlong(id, v, t), 0);
  cr_assert(t[0] == 1551398400 && t[2] == 1551405600);
  cr_assert_eq(nc_inq_varid(id, "time_bnds_1", &v), 0);
  cr_assert_eq(nc_get_var_longlong(id, v, t), 0);
  cr_assert(t[0] == k_bounds[0] && t[1] == k_bounds[1]);
  cr_assert_eq(nc_close(id), 0);
  bc_netcdf_unlock();
}

Test(sink, netcdf_points)
{
  int id = -1, v = -1;
  double lat[2];
  write_ok(ONE(k_points, k_values), "p.nc");
  cr_assert_eq(nc_open(in_folder("p.nc"), NC_NOWRITE, &id), 0);
  expect_att(id, NULL, "featureType", "timeSeries");
  expect_att(id, "t2m", "coordinates", "latitude longitude");
  cr_assert_eq(nc_inq_varid(id, "latitude", &v), 0);
  cr_assert_eq(nc_get_var_double(id, v, lat), 0);
  cr_assert_eq(memcmp(lat, k_point_lat, sizeof lat), 0);
  cr_assert_eq(nc_close(id), 0);
}

/* A frame beyond 4 MiB is cut along latitude, the rest of a series into whole frames. */
Test(sink, netcdf_chunks_of_large_fields)
{
  enum { NY = 1100, NX = 1000, NT = 3 };
  static double lat[NY], lon[NX], time[NT];
  float *value = malloc(sizeof *value * NT * NY * NX), *back = malloc(sizeof *back * NT * NY * NX);
  int id = -1, v = -1, storage = 0;
  size_t chunk[3];

  for (int i = 0; i < NY; i++)
    lat[i] = 60 - 0.01 * i;
  for (int i = 0; i < NX; i++)
    lon[i] = 0.01 * i;
  for (int i = 0; i < NT; i++)
    time[i] = 3600.0 * i;
  for (int i = 0; i < NT * NY * NX; i++)
    value[i] = (float)(i % 977);
  const bc_var big = { .name = "b",
                       .group = "",
                       .units = "",
                       .dtype = BC_F32,
                       .ndim = 3,
                       .dims = { BC_DIM_TIME, BC_DIM_LAT, BC_DIM_LON },
                       .shape = { NT, NY, NX },
                       .coord = { time, lat, lon },
                       .level_units = "" };
  write_ok(ONE(big, value), "big.nc");
  cr_assert_eq(nc_open(in_folder("big.nc"), NC_NOWRITE, &id), 0);
  cr_assert_eq(nc_inq_varid(id, "b", &v), 0);
  cr_assert_eq(nc_inq_var_chunking(id, v, &storage, chunk), 0);
  cr_assert(chunk[0] == 1 && chunk[1] == 1048 && chunk[2] == NX, "%zu %zu %zu", chunk[0], chunk[1], chunk[2]);
  cr_assert_eq(nc_get_var_float(id, v, back), 0);
  cr_assert_eq(memcmp(value, back, sizeof *value * NT * NY * NX), 0);
  cr_assert_eq(nc_close(id), 0);
  free(value);
  free(back);
}

/* ---- what may go wrong ---- */

static const char *const k_all[] = { "a.npy", "a.npz",  "a.safetensors", "a.nc",  "a.csv",
                                     "a.tsv", "a.json", "a.jsonl",       "a.txt", "a.png" };

Test(sink, existing_file_is_refused_before_anything_is_read)
{
  source s;
  bc_err err;
  const bc_var *const vars[] = { &k_t2m };
  const void *const data[] = { k_values };
  for (size_t i = 0; i < BC_ARRAY_LEN(k_all); i++) {
    write_ok(ONE(k_t2m, k_values), k_all[i]);
    source_init(&s, 1, vars, data);
    cr_assert_eq(bc_sink_write(&s.stream, in_folder(k_all[i]), NULL, &err), BC_E_EXISTS, "%s", k_all[i]);
    cr_assert_eq(s.calls, 0);
  }
  cr_assert_eq(files_in_folder(), (int)BC_ARRAY_LEN(k_all));
}

Test(sink, stream_failure_leaves_nothing)
{
  source s;
  bc_err err;
  const bc_var *const vars[] = { &k_t2m };
  const void *const data[] = { k_values };
  for (size_t i = 0; i < BC_ARRAY_LEN(k_all); i++) {
    for (int fail = 0; fail < 2; fail++) {
      source_init(&s, 1, vars, data);
      s.stop_after = strstr(k_all[i], "png") != NULL ? 0 : 2;
      s.fail = fail == 1;
      cr_assert_eq(bc_sink_write(&s.stream, in_folder(k_all[i]), NULL, &err),
                   fail ? BC_E_CHECKSUM : BC_E_INTERNAL, "%s", k_all[i]);
      cr_assert_eq(files_in_folder(), 0, "%s", k_all[i]);
    }
  }
}

Test(sink, empty_stream_and_packed_integers_are_refused)
{
  source s;
  bc_err err;
  static const bc_packing packing = { 0.1, 0, false, 0 };
  bc_var v = k_t2m;
  v.packing = &packing;
  cr_assert_eq(write_vars(ONE(v, k_values), "a.nc", &err), BC_E_INVAL);
  source_init(&s, 0, NULL, NULL);
  cr_assert_eq(bc_sink_write(&s.stream, in_folder("a.nc"), NULL, &err), BC_E_INVAL);
  cr_assert_eq(files_in_folder(), 0);
}

/* A limit on file sizes acts like a full disk, and in the middle of a library's own writes. */
Test(sink, full_disk_is_told_with_the_path)
{
  enum { NT = 64, NY = 64, NX = 64 };
  static float value[NT * NY * NX];
  double time[NT], lat[NY], lon[NX];
  uint64_t r = 7;
  bc_err err;

  for (int i = 0; i < NT; i++)
    time[i] = 3600.0 * i;
  for (int i = 0; i < NY; i++)
    lat[i] = 60 - 0.25 * i, lon[i] = 0.25 * i;
  for (int i = 0; i < NT * NY * NX; i++) {
    r = r * 6364136223846793005u + 1442695040888963407u;
    value[i] = (float)(r >> 40);
  }
  const bc_var v = { .name = "x",
                     .group = "",
                     .units = "K",
                     .dtype = BC_F32,
                     .ndim = 3,
                     .dims = { BC_DIM_TIME, BC_DIM_LAT, BC_DIM_LON },
                     .shape = { NT, NY, NX },
                     .coord = { time, lat, lon },
                     .level_units = "" };
  const struct rlimit limit = { 300000, 300000 };
  (void)signal(SIGXFSZ, SIG_IGN);
  cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  static const char *const names[] = { "a.npy", "a.npz", "a.safetensors", "a.nc", "a.csv", "a.json" };
  for (size_t i = 0; i < BC_ARRAY_LEN(names); i++) {
    cr_assert_eq(write_vars(ONE(v, value), names[i], &err), BC_E_FULL, "%s: %s", names[i], err.msg);
    cr_assert_not_null(strstr(err.msg, in_folder(names[i])), "%s", err.msg);
    cr_assert_eq(files_in_folder(), 0, "%s", names[i]);
  }
}

/* Every failing allocation is reported or survived, and nothing leaks. */
static bool countdown(void *ctx) { return (*(int *)ctx)-- == 0; }

Test(sink, short_memory)
{
  const bc_var *const vars[] = { &k_t2m, &k_daily };
  const void *const data[] = { k_values, k_values };
  for (size_t i = 0; i < BC_ARRAY_LEN(k_all); i++) {
    bc_status st = BC_E_NOMEM;
    for (int n = 0; st != BC_OK; n++) {
      int left = n;
      bc_err err = { 0 };
      source s;
      bc_sink_opts o = BC_SINK_OPTS_INIT;
      o.overwrite = true; /* the last failure comes after the file was published */
      source_init(&s, i == 0 ? 1 : 2, vars, data);
      cr_assert_lt(n, 2000);
      bc_alloc_set_hook(countdown, &left);
      st = bc_sink_write(&s.stream, in_folder(k_all[i]), &o, &err);
      bc_alloc_set_hook(NULL, NULL);
      cr_assert(st == BC_OK || st == BC_E_NOMEM, "%s, allocation %d: %s %s", k_all[i], n, bc_status_name(st),
                err.msg);
    }
  }
  cr_assert_eq(files_in_folder(), (int)BC_ARRAY_LEN(k_all), "no temporary file is left");
}

/* ---- standard output ---- */

Test(sink, standard_output_gets_the_same_bytes)
{
  static const char *const names[] = { "npy", "npz", "safetensors", "csv", "json", "table", "png" };
  const bc_var *const vars[] = { &k_t2m };
  const void *const data[] = { k_values };
  for (size_t i = 0; i < BC_ARRAY_LEN(names); i++) {
    source s;
    bc_err err = { 0 };
    bc_sink_opts o = BC_SINK_OPTS_INIT;
    o.format = names[i];
    o.overwrite = true;
    o.tmp_folder = g_folder;
    source_init(&s, 1, vars, data);
    cr_assert_eq(bc_sink_write(&s.stream, in_folder("file"), &o, &err), BC_OK, "%s", err.msg);
    const int fd = open(in_folder("stdout"), O_RDWR | O_CREAT | O_TRUNC, 0600), old = dup(STDOUT_FILENO);
    cr_assert(fd >= 0 && old >= 0 && dup2(fd, STDOUT_FILENO) >= 0);
    source_init(&s, 1, vars, data);
    const bc_status st = bc_sink_write(&s.stream, "-", &o, &err);
    cr_assert_geq(dup2(old, STDOUT_FILENO), 0);
    (void)close(fd);
    (void)close(old);
    cr_assert_eq(st, BC_OK, "%s", err.msg);
    bc_buf a = slurp(in_folder("file")), b = slurp(in_folder("stdout"));
    cr_assert_eq(a.n, b.n, "%s", names[i]);
    cr_assert_eq(memcmp(a.p, b.p, a.n), 0, "%s", names[i]);
    bc_buf_dispose(&a);
    bc_buf_dispose(&b);
    cr_assert_eq(files_in_folder(), 2);
  }
}

Test(sink, closed_pipe_is_an_io_error_with_its_errno)
{
  static const char *const names[] = { "npy", "nc", "csv" };
  const bc_var *const vars[] = { &k_t2m };
  const void *const data[] = { k_values };
  (void)signal(SIGPIPE, SIG_IGN);
  for (size_t i = 0; i < BC_ARRAY_LEN(names); i++) {
    source s;
    bc_err err = { 0 };
    bc_sink_opts o = BC_SINK_OPTS_INIT;
    int pipe_fd[2];
    o.format = names[i];
    o.tmp_folder = g_folder;
    cr_assert_eq(pipe(pipe_fd), 0);
    const int old = dup(STDOUT_FILENO);
    cr_assert(old >= 0 && dup2(pipe_fd[1], STDOUT_FILENO) >= 0);
    (void)close(pipe_fd[0]);
    (void)close(pipe_fd[1]);
    source_init(&s, 1, vars, data);
    const bc_status st = bc_sink_write(&s.stream, "-", &o, &err);
    cr_assert_geq(dup2(old, STDOUT_FILENO), 0);
    (void)close(old);
    cr_assert_eq(st, BC_E_IO, "%s", names[i]);
    cr_assert_eq(err.sys, EPIPE);
    cr_assert_eq(files_in_folder(), 0);
  }
}
