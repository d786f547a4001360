/*
 * Every threaded path under ThreadSanitizer: encoders of an ingest, decoders of a query, queries of many
 * threads on one store, streams, views and snapshots while a writer commits. No Criterion: it does not start
 * under TSan.
 *
 * usage: threads FOLDER FILE.nc    (t2m of some days, made by mkcube)
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ingest/ingest.h"
#include "query/query.h"
#include "store/store.h"

enum { READERS = 4, ROUNDS = 8 };

static int g_failed;

static void check(bc_status st, const bc_err *err, const char *what)
{
  if (st == BC_OK) return;
  (void)fprintf(stderr, "%s: %s: %s\n", what, bc_status_name(st), err->msg);
  __atomic_store_n(&g_failed, 1, __ATOMIC_RELAXED);
}

static void ingest(const char *store, const char *file, const char *group, int threads, const char *codec)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_ingest_opts o;
  bc_ingest_report rep;
  bc_ingest_opts_init(&o);
  o.threads = threads;
  o.group = group;
  o.codec = codec;
  o.memory = (uint64_t)64 << 20;
  check(bc_store_open(store, BC_OPEN_WRITE, &st, &err), &err, "open for writing");
  if (st == NULL) return;
  check(bc_ingest_netcdf(st, &file, 1, &o, &rep, &err), &err, "ingest");
  bc_store_close(st);
}

typedef struct reader {
  bc_store *st;
  double sum;
} reader;

static double total(const float *v, size_t n)
{
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    if (v[i] == v[i]) sum += (double)v[i];
  return sum;
}

static double ask(bc_store *st, int threads)
{
  bc_err err = { 0 };
  bc_select sel;
  bc_query *q = NULL;
  bc_query_opts o = BC_QUERY_OPTS_INIT;
  bc_query_cost cost;
  double sum = 0;
  o.threads = threads;
  bc_select_init(&sel);
  check(bc_select_add_vars(&sel, "first/t2m", &err), &err, "select");
  check(bc_query_open(st, &sel, &o, &q, &err), &err, "plan");
  if (q != NULL) {
    bc_query_get_cost(q, 0, &cost);
    float *v = malloc((size_t)cost.output_bytes);
    check(v == NULL ? BC_E_NOMEM : bc_query_read(q, 0, v, (size_t)cost.output_bytes, &err), &err, "read");
    if (v != NULL) sum = total(v, (size_t)cost.output_bytes / sizeof *v);
    free(v);
    bc_query_close(q);
  }
  bc_select_dispose(&sel);
  return sum;
}

static void *read_often(void *arg)
{
  reader *r = arg;
  for (int i = 0; i < ROUNDS; i++)
    r->sum = ask(r->st, 1 + i % 3);
  return NULL;
}

int main(int argc, char **argv)
{
  bc_err err = { 0 };
  bc_grid grid;
  char path[512];
  reader r[READERS];
  pthread_t id[READERS];
  if (argc != 3) return 2;
  (void)mkdir(argv[1], 0755);
  (void)snprintf(path, sizeof path, "%s/threads-%ld.bcube", argv[1], (long)getpid());
  check(bc_ingest_grid_of(argv[2], &grid, &err), &err, "grid");
  grid.cell = 16;
  check(bc_store_create(path, &grid, &err), &err, "create");
  ingest(path, argv[2], "first", 4, NULL);
  bc_store *st = NULL;
  check(bc_store_open(path, BC_OPEN_READ, &st, &err), &err, "open");
  if (st == NULL) return 1;
  const double want = ask(st, 1);
  for (int i = 0; i < READERS; i++) {
    r[i] = (reader){ st, 0 };
    if (pthread_create(&id[i], NULL, read_often, &r[i]) != 0) return 1;
  }
  ingest(path, argv[2], "second", 3, "zstd"); /* commits while the readers read */
  for (int i = 0; i < READERS; i++) {
    (void)pthread_join(id[i], NULL);
    if (r[i].sum != want) check(BC_E_INTERNAL, &err, "a reader's sum differs");
  }
  bc_store_close(st);
  (void)printf("%d readers, %d queries each, one writer: sum %.6g\n", READERS, ROUNDS, want);
  return g_failed;
}
