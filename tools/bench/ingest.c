/* Files into a fresh store, against reading the same files with netCDF-C alone. */
#include "tools/bench/bench.h"

#include <string.h>
#include <unistd.h>

#include "ingest/ingest.h"

typedef struct load {
  const char *file, *codec;
  const char *store; /* made and removed for each run */
  uint64_t memory;
} load;

static bool remove_store(bench_way *w)
{
  return bench_remove(w->state) || bench_fail(w, "cannot remove %s", (const char *)w->state);
}

static bool prepare(bench_way *w)
{
  const load *a = w->arg;
  char *path = bench_alloc(strlen(a->store) + 32);
  (void)snprintf(path, strlen(a->store) + 32, "%s-%ld.bcube", a->store, (long)getpid());
  w->state = path;
  return remove_store(w);
}

static bool ingest_once(bench_way *w)
{
  const load *a = w->arg;
  bc_err err = { .msg = "" };
  bc_grid g;
  bc_ingest_opts o;
  bc_ingest_report r;
  bc_store *st = NULL;
  bc_ingest_opts_init(&o);
  o.codec = a->codec;
  o.threads = w->threads;
  o.memory = a->memory;
  bc_status s = bc_grid_named("wgs84-0p25", &g, &err);
  if (s == BC_OK) s = bc_store_create(w->state, &g, &err);
  if (s == BC_OK) s = bc_store_open(w->state, BC_OPEN_WRITE, &st, &err);
  if (s == BC_OK) s = bc_ingest_netcdf(st, &a->file, 1, &o, &r, &err);
  bc_store_close(st);
  return bench_ok(w, s, &err);
}

static void add_load(bench_contest *k, const char *name, const load *a, int threads, double goal)
{
  bench_way *w = bench_add(k, name, prepare, ingest_once, a);
  w->after = remove_store;
  w->threads = threads;
  w->goal_of_base = goal;
}

/* Values times four: what the file holds as float32. */
typedef struct source {
  const char *id, *title, *file, *var;
  const char *stored; /* a store of it, or NULL */
  double values;
  bool packed, compare; /* compare: also with the other codec */
} source;

static void one_file(bench_ctx *c, const source *s)
{
  const load a = { bench_path(c->data, s->file), NULL, bench_path(c->data, "ingest"), 0 };
  const load z = { a.file, "zstd", a.store, 0 };
  bench_nc_job stored = { .path = { a.file }, .n_paths = 1, .var = s->var }, unpacked = stored;
  unpacked.unpack = true;
  bench_contest k = { .id = s->id, .title = s->title, .bytes = s->values * 4, .cold = true };
  (void)bench_add(&k, s->packed ? "netCDF-C: int16 to float32" : "netCDF-C", bench_nc_open, bench_nc_once,
                  &unpacked);
  if (s->packed) (void)bench_add(&k, "netCDF-C: int16 as it is", bench_nc_open, bench_nc_once, &stored);
  add_load(&k, "ingest, 1 thread", &a, 1, 0.5);
  add_load(&k, "ingest, 2 threads", &a, 2, 0);
  const bench_query all = { .store = s->stored ? bench_path(c->data, s->stored) : NULL,
                            .vars = s->var,
                            .bbox = "-180,-90,179.75,90",
                            .time = "2019-03" };
  if (s->stored)
    (void)bench_add(&k, "zstd compressing the same blocks", bench_blocks_compress_open, bench_blocks_compress,
                    &all);
  if (s->compare) add_load(&k, "ingest, 1 thread, --codec zstd", &z, 1, 0);
  (void)bench_run(c, &k);
}

static void bounded(bench_ctx *c)
{
  const load a = { bench_path(c->data, "big.nc"), NULL, bench_path(c->data, "ingest"), UINT64_C(128) << 20 };
  bench_contest k = { .id = "memory",
                      .title = "ingest of 1.5 GB of float32 with --memory 128M: memory",
                      .bytes = 360.0 * 721 * 1440 * 4,
                      .runs = 1,
                      .cold = true };
  if (bench_file_bytes(a.file) == 0) return;
  add_load(&k, "ingest, 1 thread, 128 MiB", &a, 1, 0);
  k.way[0].goal_peak_mib = 1.25 * 128;
  add_load(&k, "ingest, 2 threads, 128 MiB", &a, 2, 0);
  k.way[1].goal_peak_mib = 1.25 * 128;
  (void)bench_run(c, &k);
}

void bench_ingest(bench_ctx *c)
{
  static const source k_sources[] = {
    { "ingest-newcds", "ingest: global hourly t2m, 168 steps, netCDF-4 float32, shuffle + deflate 1",
      "global.nc", "t2m", "global.bcube", 168.0 * 721 * 1440, false, true },
    { "ingest-legacy", "ingest: global hourly t2m, 168 steps, 64-bit offset, packed int16", "legacy.nc",
      "t2m", "legacy.bcube", 168.0 * 721 * 1440, true, false },
    { "ingest-levels", "ingest: global 6-hourly t and z on 3 levels, 28 steps, netCDF-4 float32", "levels.nc",
      NULL, NULL, 28.0 * 6 * 721 * 1440, false, false },
  };
  for (size_t i = 0; i < sizeof k_sources / sizeof *k_sources; i++)
    one_file(c, &k_sources[i]);
  bounded(c);
}
