/* A small store in a temporary folder, and tiles to put in it. For unit tests only. */
#ifndef BC_TESTS_STORE_FIXTURE_H
#define BC_TESTS_STORE_FIXTURE_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/os.h"
#include "store/snapshot.h"

#define OK(expr)                                                                                             \
  do {                                                                                                       \
    const bc_status ok_st_ = (expr);                                                                         \
    cr_assert_eq(ok_st_, BC_OK, "%s: %s: %s", #expr, bc_status_name(ok_st_), err.msg);                       \
  } while (0)
#define FAILS(code_, expr)                                                                                   \
  do {                                                                                                       \
    const bc_status f_st_ = (expr);                                                                          \
    cr_assert_eq(f_st_, (code_), "%s gave %s: %s", #expr, bc_status_name(f_st_), err.msg);                   \
  } while (0)

typedef struct fixture {
  char dir[64], path[96];
  bc_grid grid;
} fixture;

static inline fixture fixture_make(uint32_t cell)
{
  fixture f;
  bc_err err = { 0 };
  (void)snprintf(f.dir, sizeof f.dir, "/tmp/bc-test-XXXXXX");
  cr_assert_not_null(mkdtemp(f.dir));
  (void)snprintf(f.path, sizeof f.path, "%s/s.bcube", f.dir);
  OK(bc_grid_named("wgs84-2p5", &f.grid, &err));
  f.grid.cell = cell;
  OK(bc_store_create(f.path, &f.grid, &err));
  return f;
}

static inline void fixture_remove(fixture *f) { bc_os_remove_tree(f->dir); }

static inline uint16_t put_modality(bc_writer *w, const char *group, const char *name, bc_layout second)
{
  bc_err err = { 0 };
  bc_modality m = {
    .dtype = BC_F32, .bucket = BC_BUCKET_MONTH, .layout = { BC_LAYOUT_BALANCED, second }, .cadence = 3600
  };
  uint16_t id = 0;
  (void)snprintf(m.group, sizeof m.group, "%s", group);
  (void)snprintf(m.name, sizeof m.name, "%s", name);
  (void)snprintf(m.units, sizeof m.units, "K");
  OK(bc_writer_modality(w, &m, &id, NULL, &err));
  return id;
}

/* A tile of nt hourly steps by 8 x 8 nodes whose values are base + step. */
static inline void put_tile(bc_writer *w, bc_encoder *e, uint16_t modality, uint32_t cell, int64_t time,
                            uint32_t nt, float base, bc_codec_mode mode)
{
  enum { N = 8 };
  bc_err err = { 0 };
  bc_buf head = bc_buf_empty(1 << 20), payload = bc_buf_empty(1 << 24);
  float *v = malloc((size_t)nt * N * N * sizeof *v);
  int64_t *times = malloc(nt * sizeof *times);
  uint16_t level = 0;
  uint32_t source = 0;
  for (uint32_t t = 0; t < nt; t++) {
    times[t] = time + 3600 * (int64_t)t;
    for (int i = 0; i < N * N; i++)
      v[t * N * N + (uint32_t)i] = base + (float)t + (float)i / 256.0f;
  }
  bc_tile_in in = { .key = { cell, time, modality, 0 },
                    .layout = BC_LAYOUT_BALANCED,
                    .ny = N,
                    .nx = N,
                    .cell_ny = N,
                    .cell_nx = N,
                    .nt = nt,
                    .nl = 1,
                    .times = times,
                    .levels = &level,
                    .sources = &source,
                    .n_sources = 1,
                    .dtype = BC_F32,
                    .values = v,
                    .t_stride = N * N * sizeof *v,
                    .l_stride = N * N * sizeof *v,
                    .y_stride = N * sizeof *v };
  bc_codec_opts o = { .mode = mode };
  OK(bc_writer_next_part(w, &in.key, &err));
  OK(bc_tile_encode(e, &in, &o, &head, &payload, &err));
  OK(bc_writer_put(w, (bc_bytes){ head.p, head.n }, (bc_bytes){ payload.p, payload.n }, &err));
  bc_buf_dispose(&head);
  bc_buf_dispose(&payload);
  free(v);
  free(times);
}

#endif
