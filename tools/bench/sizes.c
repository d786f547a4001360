/* Bytes stored, against netCDF-4 with shuffle and deflate 1, and against 16-bit integers. */
#include "tools/bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include "ingest/ingest.h"
#include "query/query.h"

static bool is_dense(const bc_block *b)
{
  int64_t bytes = (int64_t)sizeof(float);
  for (int d = b->var->ndim - 1; d >= 0; d--) {
    if (b->shape[d] > 1 && b->stride[d] != bytes) return false;
    bytes *= b->shape[d];
  }
  return true;
}

static bc_status drain(bc_stream *s, bench_nc_out *o, bc_err *err)
{
  for (;;) {
    bc_batch b = { 0 };
    BC_RET(s->next(s, &b, err));
    if (!b.release) return BC_OK;
    for (int32_t i = 0; i < b.n_blocks; i++)
      if (!is_dense(&b.blocks[i]) ||
          !bench_nc_write(o, b.blocks[i].start, b.blocks[i].shape, b.blocks[i].data))
        return BC_FAIL(err, BC_E_IO, "cannot write the values as netCDF");
    bc_batch_release(&b);
  }
}

/* The variable as a netCDF-4 file of its own; its bytes. */
static bc_status deflated(bc_store *st, const char *name, const char *path, uint64_t *bytes, bc_err *err)
{
  bc_select sel;
  bc_query *q = NULL;
  bc_stream s = { 0 };
  bc_select_init(&sel);
  bc_status r = bc_select_add_vars(&sel, name, err);
  if (r == BC_OK) r = bc_query_open(st, &sel, NULL, &q, err);
  if (r == BC_OK) r = bc_query_stream(q, NULL, &s, err);
  if (r == BC_OK) {
    bench_nc_out *o = bench_nc_create(path, s.vars[0]->shape, s.vars[0]->ndim);
    r = o ? drain(&s, o, err) : BC_FAIL(err, BC_E_IO, "cannot make %s", path);
    if (o && !bench_nc_close(o)) r = BC_FAIL(err, BC_E_IO, "cannot write %s", path);
  }
  bc_stream_release(&s);
  bc_query_close(q);
  bc_select_dispose(&sel);
  *bytes = bench_file_bytes(path);
  return r;
}

typedef struct totals {
  double values, nc, stored;
} totals;

static void row(const bench_ctx *c, const char *label, const char *name, const totals *t)
{
  const double f32 = t->values * 4, i16 = t->values * 2;
  printf("  %-48s %-18s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", label, name, f32 / 1e6, i16 / 1e6,
         t->nc / 1e6, t->stored / 1e6, f32 / t->stored, t->stored / t->nc, t->stored / i16);
  fprintf(
      c->json,
      "{\"contest\": \"sizes\", \"file\": \"%s\", \"variable\": \"%s\", \"float32\": %.0f, \"int16\": %.0f, "
      "\"netcdf_deflate\": %.0f, \"stored\": %.0f}\n",
      label, name, f32, i16, t->nc, t->stored);
}

static bc_status each_var(const bench_ctx *c, bc_store *st, bc_snapshot *s, const char *label, totals *sum,
                          bc_err *err)
{
  const char *tmp = bench_path(c->data, "sizes.nc");
  for (size_t i = 0; i < bc_snapshot_modalities(s); i++) {
    const bc_modality *m = bc_snapshot_modality(s, i);
    bc_usage u;
    uint64_t nc = 0;
    char name[2 * BC_NAME_MAX + 1];
    (void)snprintf(name, sizeof name, "%s/%s", m->group, m->name);
    BC_RET(bc_snapshot_usage(s, m->id, &u, err));
    BC_RET(deflated(st, name, tmp, &nc, err));
    const totals t = { (double)(u.n_valid + u.n_missing), (double)nc, (double)u.stored_bytes };
    row(c, label, name, &t);
    sum->values += t.values;
    sum->nc += t.nc;
    sum->stored += t.stored;
  }
  return BC_OK;
}

static bc_status one_store(const bench_ctx *c, const char *path, const char *label, bc_err *err)
{
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  totals sum = { 0, 0, 0 };
  bc_status r = bc_store_open(path, BC_OPEN_READ, &st, err);
  if (r == BC_OK) r = bc_snapshot_open(st, &s, err);
  if (r == BC_OK) r = each_var(c, st, s, label, &sum, err);
  if (r == BC_OK && bc_snapshot_modalities(s) > 1) row(c, label, "all", &sum);
  bc_snapshot_close(s);
  bc_store_close(st);
  return r;
}

static bc_status load(const char *file, const char *store, bc_err *err)
{
  bc_grid g;
  bc_store *st = NULL;
  bc_ingest_opts o;
  bc_ingest_report rep;
  bc_ingest_opts_init(&o);
  BC_RET(bc_ingest_grid_of(file, &g, err));
  BC_RET(bc_store_create(store, &g, err));
  BC_RET(bc_store_open(store, BC_OPEN_WRITE, &st, err));
  const bc_status r = bc_ingest_netcdf(st, &file, 1, &o, &rep, err);
  bc_store_close(st);
  return r;
}

typedef struct sample {
  bench_ctx *c;
  const char *folder, *name, *label;
} sample;

static bool one_file(void *arg)
{
  const sample *a = arg;
  const char *file = bench_path(a->folder, a->name), *store = bench_path(a->c->data, "sizes.bcube");
  bc_err err = { .msg = "" };
  if (bench_file_bytes(file) == 0) {
    printf("  %-48s skipped: not there\n", a->label);
    return true;
  }
  bc_status r = bench_remove(store) ? load(file, store, &err) : BC_E_IO;
  if (r == BC_OK) r = one_store(a->c, store, a->label, &err);
  if (r != BC_OK) printf("  %-48s failed: %s\n", a->label, err.msg);
  (void)bench_remove(store);
  return r == BC_OK;
}

static void try_file(bench_ctx *c, const char *folder, const char *name, const char *label)
{
  sample a = { c, folder, name, label };
  if (!bench_apart(one_file, &a)) c->failed++;
}

void bench_sizes(bench_ctx *c)
{
  static const char *const k_made[][2] = {
    { "surface.nc", "mkcube: Europe, hourly, a week" },
    { "levels-europe.nc", "mkcube: Europe, 6-hourly, 5 levels" },
    { "monthly/climate.nc", "mkcube: monthly climate" },
    { "monthly/atmospheric.nc", "mkcube: monthly atmosphere, 13 levels" },
  };
  static const char *const k_real[] = {
    "era5/era5_t2m_uk_2019-03_hourly.legacy.nc", "era5/newcds_sl_data_stream-oper_stepType-instant.nc",
    "era5/newcds_era5land_2x2_1998_01-04.nc",    "era5/newcds_static_z_lsm_slt_global025.nc",
    "era5/legacy_pl_tz_global1deg.nc",
  };
  if (!bench_wanted(c, "sizes")) return;
  printf("\nbytes stored, MB: codec auto, each file on its own grid\n  %-48s %-18s %9s %9s %9s %9s %9s %9s "
         "%9s\n",
         "file", "variable", "float32", "int16", "deflate", "stored", "f32/st.", "st./defl.", "st./int16");
  for (size_t i = 0; i < sizeof k_made / sizeof *k_made; i++)
    try_file(c, c->data, k_made[i][0], k_made[i][1]);
  for (size_t i = 0; i < sizeof k_real / sizeof *k_real; i++)
    try_file(c, c->samples, k_real[i], strchr(k_real[i], '/') + 1);
}
