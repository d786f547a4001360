/*
 * Benchmarks: contests of ways to do the same thing, run in turns so that a busy machine troubles all alike.
 *
 * Each way lives in a process of its own: its memory is measured apart, and no cache of one helps another.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "store/err.h"

#define BENCH_MAX_WAYS 10
#define BENCH_MAX_RUNS 64

typedef struct bench_way bench_way;
struct bench_way {
  const char *name;
  bool (*open)(bench_way *);  /* in its process, not timed; false: why is set */
  bool (*once)(bench_way *);  /* timed */
  bool (*after)(bench_way *); /* not timed; may be NULL */
  const void *arg;            /* what the functions need to know */
  void *state;
  int threads;
  const char *const *argv; /* instead of the functions: a program that speaks the protocol of ways.c */
  char why[480];

  double goal_of_base;  /* > 0: at least this much of the base's speed */
  double goal_seconds;  /* > 0: at most this long */
  double goal_peak_mib; /* > 0: at most this much memory */
};

typedef struct bench_contest {
  const char *id, *title;
  double bytes;          /* worked on in one run: results are rates; 0: results are times */
  unsigned runs, repeat; /* repeat: calls in one timed run */
  bool cold;             /* no run before the first that counts */
  size_t base;           /* the way that others are compared with */
  size_t n_ways;
  bench_way way[BENCH_MAX_WAYS];
} bench_contest;

typedef struct bench_ctx {
  const char *data, *bctool, *python, *peers, *samples;
  const char *only; /* contests whose id begins so; NULL = all */
  FILE *json;
  unsigned runs;
  bool long_run;
  unsigned goals, missed, failed;
} bench_ctx;

/* ---- ways.c ---- */
double bench_now(void);
/* Run, print rows of the table, write lines of JSON. False when not asked for. */
bool bench_run(bench_ctx *c, bench_contest *k);
/* A number that is not a time: a line of JSON. */
void bench_fact(const bench_ctx *c, const char *id, const char *what, const char *unit, double value);
bool bench_wanted(const bench_ctx *c, const char *id);
bench_way *bench_add(bench_contest *k, const char *name, bool (*open)(bench_way *), bool (*once)(bench_way *),
                     const void *arg);
/* Put the library's message into w->why; true when st is BC_OK. */
bool bench_ok(bench_way *w, bc_status st, const bc_err *err);
__attribute__((format(printf, 2, 3))) bool bench_fail(bench_way *w, const char *fmt, ...);
/* "FOLDER/name", kept until the end of the program. */
const char *bench_path(const char *folder, const char *name);
void *bench_alloc(size_t n); /* or ends the program; pages are touched */
uint64_t bench_file_bytes(const char *path);
/* In a process of its own, so that its memory is not that of the ways to come. */
bool bench_apart(bool (*fn)(void *arg), void *arg);
bool bench_remove(const char *folder); /* with all that is in it; fine when it is not there */

/* ---- reads of the store, read.c ---- */
typedef struct bench_query {
  const char *store, *vars, *bbox, *at, *time; /* texts of a selection; NULL = not given */
  uint64_t bytes;                              /* of the answer; 0 = found when opened */
} bench_query;
bool bench_query_open(bench_way *w);              /* open the store, plan once */
bool bench_query_once(bench_way *w);              /* plan and read */
bool bench_query_read(bench_way *w);              /* read, planned before */
bool bench_query_plan(bench_way *w);              /* plan only */
bool bench_copy_open(bench_way *w);               /* memory of the size of the answer */
bool bench_copy_once(bench_way *w);               /* memcpy of it */
uint64_t bench_query_bytes(const bench_query *q); /* of the answer; 0: message printed */

/* ---- zstd on the blocks that a query touches, blocks.c ---- */
bool bench_blocks_open(bench_way *w);  /* arg: bench_query of one variable and a box */
bool bench_blocks_keep(bench_way *w);  /* every frame to a place of its own */
bool bench_blocks_small(bench_way *w); /* every frame to the same place */
bool bench_blocks_compress_open(bench_way *w);
bool bench_blocks_compress(bench_way *w); /* every frame compressed again, as ingest does */

/* ---- netCDF-C, nc.c ---- */
typedef struct bench_nc_job {
  const char *path[8];
  size_t n_paths;
  const char *var;       /* NULL: all variables of three dimensions and more */
  size_t start[4], n[4]; /* n[0] == 0: all of it, in slabs of the file's chunks */
  bool first_dim_only;   /* start[0], n[0] only, whole otherwise */
  bool unpack;           /* packed integers to float32; else as they are stored */
} bench_nc_job;
bool bench_nc_open(bench_way *w);
bool bench_nc_once(bench_way *w);
/* Write a variable as float32, netCDF-4, shuffle and deflate 1, chunks of one plane or about 4 MiB. */
typedef struct bench_nc_out bench_nc_out;
bench_nc_out *bench_nc_create(const char *path, const int64_t *shape, int ndim);
bool bench_nc_write(bench_nc_out *o, const int64_t *start, const int64_t *shape, const float *data);
bool bench_nc_close(bench_nc_out *o);

/* ---- the contests ---- */
void bench_ingest(bench_ctx *c);
void bench_window(bench_ctx *c);
void bench_views(bench_ctx *c);
void bench_sizes(bench_ctx *c);
void bench_scale(bench_ctx *c);

#endif
