/* Stores of ten thousand to ten million tiny tiles, made through the writer, and what each costs to use. */
#include "tools/bench/bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "query/query.h"
#include "store/snapshot.h"

enum { SIDE = 4, VARS = 30 }; /* nodes per side of a tile's box */

typedef struct size {
  const char *name, *title;
  uint32_t cells_y, cells_x, months;
  bool long_only;
} size;

/* Tiles of a store: cells x months x VARS. One commit a month, so the keys of each fall all over the index.
 */
static const size k_sizes[] = {
  { "scale-10k", "10 thousand tiles", 4, 7, 12, false },
  { "scale-1m", "1 million tiles", 12, 23, 121, false },
  { "scale-10m", "10 million tiles", 12, 23, 1208, true },
};

typedef struct maker {
  bc_store *st;
  bc_writer *w;
  bc_encoder *e;
  bc_buf head, payload;
  uint16_t id[VARS];
  uint64_t made;
} maker;

static int64_t month_at(uint32_t i)
{
  return bc_days_from_civil(1900 + (int32_t)(i / 12), (int32_t)(i % 12) + 1, 1) * 86400;
}

static bc_status add_modalities(maker *m, bc_err *err)
{
  for (uint32_t i = 0; i < VARS; i++) {
    bc_modality d = { .dtype = BC_F32,
                      .bucket = BC_BUCKET_MONTH,
                      .layout = { BC_LAYOUT_BALANCED, BC_LAYOUT_NONE } };
    (void)snprintf(d.group, sizeof d.group, "scale");
    (void)snprintf(d.name, sizeof d.name, "v%02u", i);
    (void)snprintf(d.units, sizeof d.units, "1");
    BC_RET(bc_writer_modality(m->w, &d, &m->id[i], NULL, err));
  }
  return BC_OK;
}

static bc_status put(maker *m, uint32_t cell, uint32_t month, uint32_t var, bc_err *err)
{
  static const uint16_t k_level = 0;
  float v[SIDE * SIDE];
  const int64_t time = month_at(month);
  const bc_tile_in in = { .key = { cell, time, m->id[var], 0 },
                          .layout = BC_LAYOUT_BALANCED,
                          .ny = SIDE,
                          .nx = SIDE,
                          .cell_ny = 64,
                          .cell_nx = 64,
                          .nt = 1,
                          .nl = 1,
                          .times = &time,
                          .levels = &k_level,
                          .dtype = BC_F32,
                          .values = v,
                          .t_stride = sizeof v,
                          .l_stride = sizeof v,
                          .y_stride = SIDE * sizeof *v };
  const bc_codec_opts o = { .mode = BC_MODE_RAW };
  for (int i = 0; i < SIDE * SIDE; i++)
    v[i] = (float)(m->made % 16777213) + (float)i / 16;
  v[1] = (float)(m->made / 16777213); /* no two tiles alike: those would be stored once */
  m->made++;
  m->head.n = m->payload.n = 0;
  BC_RET(bc_tile_encode(m->e, &in, &o, &m->head, &m->payload, err));
  return bc_writer_put(m->w, (bc_bytes){ m->head.p, m->head.n }, (bc_bytes){ m->payload.p, m->payload.n },
                       err);
}

static bc_status put_month(maker *m, const size *s, uint32_t month, bc_err *err)
{
  for (uint32_t cy = 0; cy < s->cells_y; cy++)
    for (uint32_t cx = 0; cx < s->cells_x; cx++)
      for (uint32_t v = 0; v < VARS; v++)
        BC_RET(put(m, bc_cell_number(cy, cx), month, v, err));
  return bc_writer_commit(m->w, err);
}

static bc_status open_maker(maker *m, const char *path, bc_err *err)
{
  m->head = bc_buf_empty(1u << 20);
  m->payload = bc_buf_empty(1u << 20);
  BC_RET(bc_encoder_open(&m->e, err));
  BC_RET(bc_store_open(path, BC_OPEN_WRITE, &m->st, err));
  BC_RET(bc_writer_open(m->st, &m->w, err));
  return add_modalities(m, err);
}

static void close_maker(maker *m)
{
  bc_writer_close(m->w);
  bc_store_close(m->st);
  bc_encoder_close(m->e);
  bc_buf_dispose(&m->head);
  bc_buf_dispose(&m->payload);
}

static bc_status make_store(const size *s, const char *path, bc_err *err)
{
  bc_grid g;
  maker m = { 0 };
  BC_RET(bc_grid_named("wgs84-0p25", &g, err));
  BC_RET(bc_store_create(path, &g, err));
  bc_status st = open_maker(&m, path, err);
  for (uint32_t i = 0; i < s->months && st == BC_OK; i++)
    st = put_month(&m, s, i, err);
  close_maker(&m);
  return st;
}

/* ---- ways ---- */

static bool open_close(bench_way *w)
{
  bc_err err = { .msg = "" };
  bc_store *st = NULL;
  const bc_status r = bc_store_open(w->arg, BC_OPEN_READ, &st, &err);
  bc_store_close(st);
  return bench_ok(w, r, &err);
}

static bool info_open(bench_way *w)
{
  bc_err err = { .msg = "" };
  return bench_ok(w, bc_store_open(w->arg, BC_OPEN_READ, (bc_store **)&w->state, &err), &err);
}

static bc_status ask(bc_store *st, bc_err *err)
{
  bc_snapshot *s = NULL;
  bc_store_info i;
  bc_usage u;
  BC_RET(bc_snapshot_open(st, &s, err));
  bc_status r = bc_snapshot_info(s, &i, err);
  for (size_t m = 0; m < bc_snapshot_modalities(s) && r == BC_OK; m++)
    r = bc_snapshot_usage(s, (uint16_t)m, &u, err);
  bc_snapshot_close(s);
  return r;
}

static bool info_once(bench_way *w)
{
  bc_err err = { .msg = "" };
  return bench_ok(w, ask(w->state, &err), &err);
}

static bool program_once(bench_way *w)
{
  const char *const *argv = w->arg;
  int status = 0;
  const pid_t pid = fork();
  if (pid == 0) {
    if (!freopen("/dev/null", "w", stdout)) _exit(127);
    (void)execl(argv[0], argv[0], argv[1], argv[2], (char *)NULL);
    _exit(127);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
    return bench_fail(w, "%s %s: status %d", argv[0], argv[1], status);
  return true;
}

typedef struct growth {
  const char *path;
  uint32_t month;
} growth;

static bool commit_open(bench_way *w)
{
  const growth *g = w->arg;
  bc_err err = { .msg = "" };
  maker *m = calloc(1, sizeof *m);
  w->state = m;
  if (!m) return bench_fail(w, "no memory");
  m->made = UINT64_C(1) << 32;
  return bench_ok(w, open_maker(m, g->path, &err), &err);
}

static bool commit_once(bench_way *w)
{
  const growth *g = w->arg;
  bc_err err = { .msg = "" };
  maker *m = w->state;
  bc_status st = put(m, 0, g->month + (uint32_t)(m->made & 0xffff), 0, &err);
  if (st == BC_OK) st = bc_writer_commit(m->w, &err);
  return bench_ok(w, st, &err);
}

/* ---- the contests ---- */

static bool facts(const bench_ctx *c, const size *s, const char *path, double seconds)
{
  bc_err err = { .msg = "" };
  bc_store *st = NULL;
  bc_snapshot *snap = NULL;
  bc_store_info i = { .n_tiles = 0 };
  bc_status r = bc_store_open(path, BC_OPEN_READ, &st, &err);
  if (r == BC_OK) r = bc_snapshot_open(st, &snap, &err);
  if (r == BC_OK) r = bc_snapshot_info(snap, &i, &err);
  bc_snapshot_close(snap);
  bc_store_close(st);
  if (r != BC_OK || i.n_tiles == 0) {
    fprintf(stderr, "bench: %s: %s\n", path, err.msg);
    return false;
  }
  const double n = (double)i.n_tiles;
  printf("\n%s: %.0f tiles in %llu segments and commits, made in %.1f s (%.0f tiles/s); index %.1f MB, "
         "%.0f bytes a tile; segments %.0f bytes a tile\n",
         s->title, n, (unsigned long long)i.n_segments, seconds, n / seconds, (double)i.index_bytes / 1e6,
         (double)i.index_bytes / n, (double)i.segment_bytes / n);
  bench_fact(c, s->name, "tiles", "tiles", n);
  bench_fact(c, s->name, "segments", "files", (double)i.n_segments);
  bench_fact(c, s->name, "made in", "s", seconds);
  bench_fact(c, s->name, "index bytes a tile", "bytes", (double)i.index_bytes / n);
  bench_fact(c, s->name, "segment bytes a tile", "bytes", (double)i.segment_bytes / n);
  return true;
}

static void one_size(bench_ctx *c, const size *s, const char *path)
{
  /* nodes of one cell; of 4 x 4 cells */
  bench_query tile = { path, "v07", "-148,58.25,-132.25,74", NULL, "1900-07", 0 };
  bench_query window = { path, "v07", "-180,26.25,-116.25,90", NULL, "1900-07", 0 };
  const growth g = { path, s->months };
  const char *const info[] = { c->bctool, "info", path };
  bench_contest k = { .id = s->name, .title = s->title, .repeat = 10 };
  bench_add(&k, "bc_store_open + close", NULL, open_close, path);
  bench_add(&k, "one-tile query: plan + read", bench_query_open, bench_query_once, &tile)->goal_seconds =
      1e-3;
  bench_add(&k, "one-tile query: plan", bench_query_open, bench_query_plan, &tile);
  bench_add(&k, "16-tile window: plan + read", bench_query_open, bench_query_once, &window);
  bench_add(&k, "info: snapshot, usage of 30 variables", info_open, info_once, path);
  bench_add(&k, "bctool info, the whole process", NULL, program_once, info);
  bench_add(&k, "one more tile: put + commit", commit_open, commit_once, &g);
  (void)bench_run(c, &k);
}

typedef struct making {
  const bench_ctx *c;
  const size *s;
  const char *path;
} making;

static bool make_and_tell(void *arg)
{
  const making *m = arg;
  bc_err err = { .msg = "" };
  const double begin = bench_now();
  if (make_store(m->s, m->path, &err) == BC_OK) return facts(m->c, m->s, m->path, bench_now() - begin);
  fprintf(stderr, "bench: %s: %s\n", m->path, err.msg);
  return false;
}

void bench_scale(bench_ctx *c)
{
  for (size_t i = 0; i < sizeof k_sizes / sizeof *k_sizes; i++) {
    const size *s = &k_sizes[i];
    if (!bench_wanted(c, s->name) || (s->long_only && !c->long_run)) continue;
    making m = { c, s, bench_path(c->data, "scale.bcube") };
    if (bench_remove(m.path) && bench_apart(make_and_tell, &m))
      one_size(c, s, m.path);
    else
      c->failed++;
    (void)bench_remove(m.path);
  }
}
