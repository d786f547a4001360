/*
 * A netCDF file, from its first bytes to values, and into a store. Classic files (CDF-1, 2 and 5) only: HDF5
 * itself is not safe on damaged files (docs/source-netcdf.md, "Damaged files"); with BC_FUZZ_HDF5 in the
 * environment those are opened too.
 *
 * Input: the file.
 */
#include <math.h>

#include "ingest/source.h"
#include "world.h"

#define MAX_BYTES ((size_t)8 << 20) /* read of one variable */

static fuzz_world g_world;

static void check_axes(const bc_source_var *v)
{
  const bc_var *var = &v->var;
  bc_err err = { 0 };
  bc_grid g;
  const int y = bc_var_dim(var, BC_DIM_LAT), x = bc_var_dim(var, BC_DIM_LON),
            l = bc_var_dim(var, BC_DIM_LEVEL);
  FUZZ_CHECK(y > 0 && x > 0 && var->dims[0] == BC_DIM_TIME && var->shape[0] >= 1);
  for (int64_t i = 0; i < var->shape[0]; i++) {
    FUZZ_CHECK(isfinite(var->coord[0][i]) && (i == 0 || var->coord[0][i - 1] < var->coord[0][i]));
    FUZZ_CHECK(var->coord[0][i] >= (double)BC_TIME_MIN && var->coord[0][i] <= (double)BC_TIME_MAX);
  }
  for (int64_t i = 0; l > 0 && i < var->shape[l]; i++)
    FUZZ_CHECK(isfinite(var->coord[l][i]));
  (void)FUZZ(bc_grid_from_axes(var->coord[y], (size_t)var->shape[y], var->coord[x], (size_t)var->shape[x], &g,
                               &err));
}

static void read_var(bc_source *s, size_t i)
{
  const bc_source_var *v = bc_source_var_get(s, i);
  bc_err err = { 0 };
  size_t step = 0;
  check_axes(v);
  FUZZ_CHECK(v->var.dtype == BC_F32 || v->var.dtype == BC_I16);
  if (!bc_shape_bytes(v->var.shape + 1, v->var.ndim - 1, bc_dtype_size(v->var.dtype), &step) ||
      step > MAX_BYTES)
    return;
  const int64_t fits = step == 0 ? 1 : (int64_t)(MAX_BYTES / step), n = BC_MIN(fits, v->var.shape[0]);
  uint8_t *dst = malloc((size_t)n * step + 1);
  FUZZ_CHECK(dst != NULL);
  (void)FUZZ(bc_source_read(s, i, 0, n, dst, &err));
  (void)FUZZ(bc_source_read(s, i, v->var.shape[0] - 1, 1, dst, &err));
  free(dst);
}

/* Small files only, or most of the time would go into interpolating. */
static void ingest(const char *path, bc_regrid regrid)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_ingest_opts o;
  bc_ingest_report report;
  world_reset(&g_world);
  bc_ingest_opts_init(&o);
  o.regrid = regrid;
  o.memory = (uint64_t)64 << 20;
  o.threads = 1;
  FUZZ_CHECK(bc_store_open(g_world.store, BC_OPEN_WRITE, &st, &err) == BC_OK);
  (void)FUZZ(bc_ingest_netcdf(st, &path, 1, &o, &report, &err));
  bc_store_close(st);
}

static uint64_t total_bytes(const bc_source *s)
{
  uint64_t sum = 0;
  for (size_t i = 0; i < bc_source_vars(s); i++) {
    const bc_var *v = &bc_source_var_get(s, i)->var;
    size_t n = 0;
    if (!bc_shape_bytes(v->shape, v->ndim, 4, &n) || !bc_add_u64(sum, n, &sum)) return UINT64_MAX;
  }
  return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  bc_err err = { 0 };
  bc_source *s = NULL;
  char path[FUZZ_PATH];
  if ((size > 8 && memcmp(data, "CDF", 3) != 0 && getenv("BC_FUZZ_HDF5") == NULL) ||
      (size > 2 && data[0] == 'P')) {
    for (size_t at = 0; at + 8 <= size && at <= 2048; at = at == 0 ? 512 : at * 2)
      if (memcmp(data + at, "\x89HDF", 4) == 0) return 0;
    if (data[0] == 'P' && data[1] == 'K') return 0; /* fuzz_zip.c */
  }
  fuzz_write(fuzz_path(path, "in.nc"), data, size);
  if (FUZZ(bc_source_open(path, NULL, &s, &err)) != BC_OK) return 0;
  for (size_t i = 0; i < bc_source_vars(s) && i < 16; i++)
    read_var(s, i);
  const bool small = total_bytes(s) <= (uint64_t)1 << 20;
  bc_source_close(s);
  if (small) ingest(path, (bc_regrid)(data[size - 1] & 3));
  return 0;
}
