/* Windows and series out of compressed stores, against zstd on the same blocks, memcpy, netCDF-C and others.
 */
#include "tools/bench/bench.h"

#include <stdlib.h>
#include <string.h>

/* The same answer from a file: netCDF as the CDS writes it, and a NumPy array. */
typedef struct peer {
  const char *nc, *npy;
  size_t start[3], n[3];
} peer;

static const char *span(size_t first, size_t n)
{
  char *p = bench_alloc(64);
  (void)snprintf(p, 64, "%zu:%zu", first, first + n);
  return p;
}

static void add_program(bench_ctx *c, bench_contest *k, const char *name, const char *how, const char *file,
                        const peer *p)
{
  const char **argv = bench_alloc(16 * sizeof *argv);
  size_t i = 0;
  argv[i++] = c->python;
  argv[i++] = c->peers;
  argv[i++] = how;
  argv[i++] = file;
  argv[i++] = "t2m";
  for (int d = 0; d < 3; d++)
    argv[i++] = span(p->start[d], p->n[d]);
  argv[i] = NULL;
  bench_add(k, name, NULL, NULL, NULL)->argv = argv;
}

static void add_peers(bench_ctx *c, bench_contest *k, const peer *p, bool all)
{
  bench_nc_job *j = bench_alloc(sizeof *j);
  *j = (bench_nc_job){ .path = { p->nc }, .n_paths = 1, .var = "t2m" };
  for (int d = 0; d < 3; d++) {
    j->start[d] = p->start[d];
    j->n[d] = p->n[d];
  }
  (void)bench_add(k, "netCDF-C, CDS chunks", bench_nc_open, bench_nc_once, j);
  if (!all) return;
  add_program(c, k, "xarray + netCDF4-python, CDS chunks", "xarray", p->nc, p);
  add_program(c, k, "zarr-python 3, zstd, chunks of 32 x 64 x 64", "zarr", p->npy, p);
  add_program(c, k, "NumPy memmap, raw, copied", "memmap", p->npy, p);
}

static void one(bench_ctx *c, const char *id, const char *title, bench_query *a, const peer *p,
                unsigned repeat, double goal)
{
  if (!bench_wanted(c, id)) return;
  bench_contest k = { .id = id, .title = title, .repeat = repeat };
  a->bytes = bench_query_bytes(a);
  if (repeat == 1) k.bytes = (double)a->bytes; /* small answers: times say more than rates */
  (void)bench_add(&k, "zstd on the same blocks, kept", bench_blocks_open, bench_blocks_keep, a);
  (void)bench_add(&k, "zstd on the same blocks, overwritten", bench_blocks_open, bench_blocks_small, a);
  (void)bench_add(&k, "memcpy of the answer", bench_copy_open, bench_copy_once, a);
  bench_add(&k, "bc_query_read", bench_query_open, bench_query_read, a)->goal_of_base = goal;
  (void)bench_add(&k, "bc_query_open + read", bench_query_open, bench_query_once, a);
  bench_add(&k, "bc_query_read, 2 threads", bench_query_open, bench_query_read, a)->threads = 2;
  if (p) add_peers(c, &k, p, true);
  (void)bench_run(c, &k);
}

void bench_window(bench_ctx *c)
{
  const char *const frames = "24 global hourly frames of t2m";
  const char *const stores[][3] = {
    { "window-auto", "global.bcube", "codec auto, layout balanced" },
    { "window-map", "global-map.bcube", "codec auto, layout map" },
    { "window-zstd", "global-zstd.bcube", "codec zstd, layout balanced" },
  };
  const peer whole = {
    bench_path(c->data, "global.nc"), bench_path(c->data, "global.npy"), { 48, 0, 0 }, { 24, 721, 1440 }
  };
  for (size_t i = 0; i < 3; i++) {
    char title[160];
    bench_query a = { bench_path(c->data, stores[i][1]), "t2m", "-180,-90,179.75,90", NULL, "2019-03-03", 0 };
    (void)snprintf(title, sizeof title, "%s: %s", frames, stores[i][2]);
    one(c, stores[i][0], title, &a, i == 0 ? &whole : NULL, 1, 0.7);
  }
  /* 2 x 2 degrees are 9 x 9 nodes; the file begins at 72 N, 25 W */
  const peer box = {
    bench_path(c->data, "europe.nc"), bench_path(c->data, "europe.npy"), { 0, 72, 112 }, { 744, 9, 9 }
  };
  const peer point = { box.nc, box.npy, { 0, 82, 100 }, { 744, 1, 1 } };
  const char *const series[][3] = {
    { "auto", "europe.bcube", "layout balanced" },
    { "series", "europe-series.bcube", "layout series" },
    { "zstd", "europe-zstd.bcube", "codec zstd, layout balanced" },
  };
  for (size_t i = 0; i < 3; i++) {
    char title[160], id[32];
    bench_query a = { bench_path(c->data, series[i][1]), "t2m", "3,52,5,54", NULL, "2019-03", 0 }, b = a;
    b.bbox = NULL;
    b.at = "51.5,0";
    (void)snprintf(title, sizeof title, "9 x 9 nodes, 744 hourly steps of t2m: %s", series[i][2]);
    (void)snprintf(id, sizeof id, "box-%s", series[i][0]);
    one(c, id, title, &a, i == 0 ? &box : NULL, i == 1 ? 100 : 10, 0.7);
    (void)snprintf(title, sizeof title, "one point, 744 hourly steps of t2m: %s", series[i][2]);
    (void)snprintf(id, sizeof id, "point-%s", series[i][0]);
    one(c, id, title, &b, i == 0 ? &point : NULL, i == 1 ? 100 : 10, 0.7);
  }
}
