/* A small store with known values, and what a query must answer, by the plainest loops. For unit tests only.
 */
#ifndef BC_TESTS_QUERY_WORLD_H
#define BC_TESTS_QUERY_WORLD_H

#include "query/exec.h"
#include "query/query.h"
#include "tests/unit/store_fixture.h"

enum { NY = 73, NX = 144, MAX_STEPS = 160, MAX_LEVELS = 4, MAX_TILES = 4096 };
#define DAY INT64_C(86400)

typedef struct w_tile {
  uint32_t row, col, ny, nx, k0, nk; /* steps k0, k0 + every, ... */
  uint32_t every, n_levels;
  uint16_t level[MAX_LEVELS];
} w_tile;

typedef struct w_var {
  const char *group, *name;
  uint16_t id;
  bc_bucket bucket;
  uint32_t n_levels;
  double levels[MAX_LEVELS];
  uint32_t n_steps;
  int64_t time[MAX_STEPS];
  float *v; /* [n_steps][max(1, n_levels)][NY][NX], NaN where no tile is */
  w_tile *tile;
  size_t n_tiles;
} w_var;

typedef struct world {
  fixture f;
  w_var var[8];
  size_t n_vars;
  uint64_t seed;
  bc_encoder *encoder;
  bc_writer *writer;
  uint32_t source;
} world;

static inline uint32_t rnd(world *w, uint32_t n)
{
  w->seed ^= w->seed << 13;
  w->seed ^= w->seed >> 7;
  w->seed ^= w->seed << 17;
  return (uint32_t)((w->seed >> 20) % n);
}

static inline uint32_t levels_of(const w_var *v) { return v->n_levels == 0 ? 1 : v->n_levels; }

static inline float *at(const w_var *v, uint32_t k, uint32_t l, uint32_t y, uint32_t x)
{
  return &v->v[(((size_t)k * levels_of(v) + l) * NY + y) * NX + x];
}

static inline int64_t time_of(const w_var *v, uint32_t k)
{
  return v->bucket == BC_BUCKET_STATIC ? BC_TIME_STATIC : v->time[k];
}

/* Which kind of values a tile gets: smooth on 16 bits, noise with holes, one value, all missing. */
static inline void make_values(world *w, float *v, size_t n)
{
  const uint32_t kind = rnd(w, 8);
  const float base = (float)rnd(w, 1000);
  for (size_t i = 0; i < n; i++) {
    if (kind < 4)
      v[i] = base + (float)rnd(w, 64) / 64.0f;
    else if (kind < 6)
      v[i] = rnd(w, 4) == 0 ? NAN : (float)rnd(w, 1u << 30) / 3.0f - 1e8f;
    else
      v[i] = kind == 6 ? base : NAN;
  }
}

/* One tile (in both layouts when second) into the store and the model. */
static inline void add_tile(world *w, w_var *v, const w_tile *t, bc_layout first, bc_layout second,
                            bc_codec_mode mode)
{
  bc_err err = { .msg = "" };
  const size_t n = (size_t)t->nk * t->n_levels * t->ny * t->nx;
  float *values = malloc(n * sizeof *values);
  int64_t times[MAX_STEPS];
  const uint32_t cny = bc_grid_cell_ny(&w->f.grid), cnx = bc_grid_cell_nx(&w->f.grid);
  const uint32_t cy = t->row / cny, cx = t->col / cnx;
  make_values(w, values, n);
  for (uint32_t k = 0; k < t->nk; k++)
    times[k] = time_of(v, t->k0 + k * t->every);
  bc_tile_in in = { .key = { bc_cell_number(cy, cx), bc_bucket_floor(v->bucket, times[0]), v->id, 0 },
                    .y0 = t->row % cny,
                    .x0 = t->col % cnx,
                    .ny = t->ny,
                    .nx = t->nx,
                    .cell_ny = BC_MIN(cny, NY - cy * cny),
                    .cell_nx = BC_MIN(cnx, NX - cx * cnx),
                    .nt = t->nk,
                    .nl = t->n_levels,
                    .times = times,
                    .levels = t->level,
                    .sources = &w->source,
                    .n_sources = 1,
                    .dtype = BC_F32,
                    .values = values,
                    .t_stride = (ptrdiff_t)(n / t->nk * sizeof *values),
                    .l_stride = (ptrdiff_t)((size_t)t->ny * t->nx * sizeof *values),
                    .y_stride = (ptrdiff_t)(t->nx * sizeof *values) };
  const bc_codec_opts o = { .mode = mode };
  if (v->bucket == BC_BUCKET_STATIC) in.key.time = BC_TIME_STATIC;
  for (int copy = 0; copy < (second == BC_LAYOUT_NONE ? 1 : 2); copy++) {
    bc_buf head = bc_buf_empty(1 << 24), payload = bc_buf_empty(1 << 28);
    in.layout = copy == 0 ? first : second;
    in.key.part = copy == 0 ? 0 : BC_PART_SECOND;
    OK(bc_writer_next_part(w->writer, &in.key, &err));
    OK(bc_tile_encode(w->encoder, &in, &o, &head, &payload, &err));
    OK(bc_writer_put(w->writer, (bc_bytes){ head.p, head.n }, (bc_bytes){ payload.p, payload.n }, &err));
    bc_buf_dispose(&head);
    bc_buf_dispose(&payload);
  }
  const float *p = values;
  for (uint32_t k = 0; k < t->nk; k++)
    for (uint32_t l = 0; l < t->n_levels; l++)
      for (uint32_t y = 0; y < t->ny; y++)
        for (uint32_t x = 0; x < t->nx; x++)
          *at(v, t->k0 + k * t->every, t->level[l], t->row + y, t->col + x) = *p++;
  free(values);
  cr_assert_lt(v->n_tiles, (size_t)MAX_TILES);
  v->tile[v->n_tiles++] = *t;
}

static inline w_var *add_var(world *w, const char *group, const char *name, bc_bucket bucket,
                             uint32_t n_levels, bc_layout first, bc_layout second)
{
  bc_err err = { .msg = "" };
  w_var *v = &w->var[w->n_vars++];
  bc_modality m = { .dtype = BC_F32, .bucket = bucket, .layout = { first, second } };
  v->group = group;
  v->name = name;
  v->bucket = bucket;
  v->n_levels = n_levels;
  m.n_levels = (uint16_t)n_levels;
  for (uint32_t l = 0; l < n_levels; l++)
    m.levels[l] = v->levels[l] = l == 0 ? 500 : 1000 - 75 * (double)l;
  (void)snprintf(m.group, sizeof m.group, "%s", group);
  (void)snprintf(m.name, sizeof m.name, "%s", name);
  (void)snprintf(m.units, sizeof m.units, "K");
  if (n_levels > 0) (void)snprintf(m.level_units, sizeof m.level_units, "hPa");
  OK(bc_writer_modality(w->writer, &m, &v->id, NULL, &err));
  v->tile = calloc(MAX_TILES, sizeof *v->tile);
  return v;
}

static inline void set_steps(w_var *v, int64_t first, int64_t step, uint32_t n)
{
  v->n_steps = n;
  for (uint32_t k = 0; k < n; k++)
    v->time[k] = first + (int64_t)k * step;
  const size_t values = (size_t)n * levels_of(v) * NY * NX;
  v->v = malloc(values * sizeof *v->v);
  for (size_t i = 0; i < values; i++)
    v->v[i] = NAN;
}

static inline world world_make(uint32_t cell, uint64_t seed)
{
  world w = { .seed = seed };
  bc_err err = { .msg = "" };
  bc_source_rec src = { .hash = { 1 }, .name = "world.nc" }, got;
  bc_store *st = NULL;
  w.f = fixture_make(cell);
  OK(bc_store_open(w.f.path, BC_OPEN_WRITE, &st, &err));
  OK(bc_writer_open(st, &w.writer, &err));
  OK(bc_writer_source(w.writer, &src, &got, &err));
  w.source = got.id;
  OK(bc_encoder_open(&w.encoder, &err));
  bc_writer_close(w.writer);
  w.writer = NULL;
  bc_store_close(st);
  return w;
}

static inline bc_store *world_write(world *w)
{
  bc_err err = { .msg = "" };
  bc_store *st = NULL;
  bc_source_rec src = { .hash = { 1 }, .name = "world.nc" }, got;
  OK(bc_store_open(w->f.path, BC_OPEN_WRITE, &st, &err));
  OK(bc_writer_open(st, &w->writer, &err));
  OK(bc_writer_source(w->writer, &src, &got, &err));
  w->source = got.id;
  return st;
}

static inline void world_commit(world *w, bc_store *st)
{
  bc_err err = { .msg = "" };
  OK(bc_writer_commit(w->writer, &err));
  bc_writer_close(w->writer);
  w->writer = NULL;
  bc_store_close(st);
}

static inline void world_free(world *w)
{
  bc_encoder_close(w->encoder);
  for (size_t i = 0; i < w->n_vars; i++) {
    free(w->var[i].v);
    free(w->var[i].tile);
  }
  fixture_remove(&w->f);
}

/* ---- what a query must answer ---- */

typedef struct answer {
  size_t n_steps, n_levels, nrow, ncol; /* points: nrow 1 */
  int64_t time[MAX_STEPS];
  uint32_t row[NY], col[NX * 8];
  uint32_t point_row[64];
  double level[64];
  float *v; /* as stored in memory: int32 for counts */
} answer;

static inline double grid_lat(uint32_t y) { return 90 - 2.5 * y; }
static inline double grid_lon(uint32_t x) { return -180 + 2.5 * x; }

/* Columns in order of the answer; returns how many. */
static inline size_t plain_columns(const bc_select *s, uint32_t *col)
{
  const double east = s->east < s->west ? s->east + 360 : s->east;
  size_t n = 0;
  for (int turn = -2; turn <= 2; turn++)
    for (uint32_t x = 0; x < NX; x++) {
      const double lon = grid_lon(x) + 360 * turn;
      if (lon >= s->west - 1e-4 && lon <= east + 1e-4 && n < NX) col[n++] = x;
    }
  if (n == NX)
    for (uint32_t x = 0; x < NX; x++)
      col[x] = s->lon_360 ? (x + NX / 2) % NX : x;
  return n;
}

static inline size_t thin_list(uint32_t *v, size_t n, int64_t every)
{
  size_t m = 0;
  for (size_t i = 0; i < n; i += (size_t)every)
    v[m++] = v[i];
  return m;
}

static inline void plain_place(const bc_select *s, answer *a)
{
  a->nrow = a->ncol = 0;
  if (s->n_points > 0) {
    for (size_t i = 0; i < s->n_points; i++) {
      double lon = s->points[i].lon;
      while (lon < -181.25)
        lon += 360;
      while (lon >= 178.75)
        lon -= 360;
      a->point_row[i] = (uint32_t)lround((90 - s->points[i].lat) / 2.5);
      a->col[i] = (uint32_t)(lround((lon + 180) / 2.5) + NX) % NX;
    }
    a->nrow = 1;
    a->ncol = s->n_points;
    return;
  }
  for (uint32_t y = 0; y < NY; y++)
    if (grid_lat(y) <= s->north + 1e-4 && grid_lat(y) >= s->south - 1e-4) a->row[a->nrow++] = y;
  a->ncol = plain_columns(s, a->col);
  if (a->nrow == 0 || a->ncol == 0) return;
  a->nrow = thin_list(a->row, a->nrow, s->every_space);
  a->ncol = thin_list(a->col, a->ncol, s->every_space);
  for (size_t i = 0; s->lat_ascending && i < a->nrow / 2; i++) {
    const uint32_t r = a->row[i];
    a->row[i] = a->row[a->nrow - 1 - i];
    a->row[a->nrow - 1 - i] = r;
  }
}

static inline uint32_t row_at(const bc_select *s, const answer *a, size_t i, size_t j)
{
  return s->n_points > 0 ? a->point_row[j] : a->row[i];
}

static inline bool tile_has_node(const bc_select *s, const answer *a, const w_tile *t)
{
  for (size_t i = 0; i < a->nrow; i++)
    for (size_t j = 0; j < a->ncol; j++)
      if (row_at(s, a, i, j) - t->row < t->ny && a->col[j] - t->col < t->nx) return true;
  return false;
}

static inline bool tile_has_level(const w_tile *t, const uint32_t *level, size_t n)
{
  for (size_t i = 0; i < n; i++)
    for (uint32_t l = 0; l < t->n_levels; l++)
      if (t->level[l] == level[i]) return true;
  return false;
}

static inline float value_of(const w_var *v, const bc_select *s, const answer *a, uint32_t k, uint32_t l,
                             size_t i, size_t j)
{
  return *at(v, k, l, row_at(s, a, i, j), a->col[j]);
}

static inline float plain_aggregate(const w_var *v, const bc_select *s, const answer *a, const uint32_t *k,
                                    size_t n, uint32_t l, size_t i, size_t j)
{
  double sum = 0;
  int32_t count = 0;
  float best = NAN;
  for (size_t m = 0; m < n; m++) {
    const float x = value_of(v, s, a, k[m], l, i, j);
    if (isnan(x)) continue;
    if (count == 0 || (s->agg == BC_AGG_MIN && x < best) || (s->agg == BC_AGG_MAX && x > best)) best = x;
    sum += (double)x;
    count++;
  }
  if (s->agg == BC_AGG_COUNT) memcpy(&best, &count, sizeof best);
  if (s->agg == BC_AGG_SUM && count > 0) best = (float)sum;
  if (s->agg == BC_AGG_MEAN && count > 0) best = (float)(sum / count);
  return best;
}

/* false: nothing to answer. a->v is malloc'd. */
static inline bool plain_answer(const w_var *v, const bc_select *s, answer *a)
{
  uint32_t level[64], step[MAX_STEPS], group[MAX_STEPS];
  bool use[MAX_STEPS] = { false };
  size_t n = 0, n_groups = 0;
  a->v = NULL;
  plain_place(s, a);
  if (a->nrow == 0 || a->ncol == 0) return false;
  a->n_levels = v->n_levels == 0 ? 1 : s->n_levels > 0 ? s->n_levels : v->n_levels;
  for (size_t i = 0; i < a->n_levels; i++) {
    level[i] = (uint32_t)i;
    for (uint32_t l = 0; v->n_levels > 0 && s->n_levels > 0 && l < v->n_levels; l++)
      if (v->levels[l] == s->levels[i]) level[i] = l;
    a->level[i] = v->levels[level[i]];
  }
  for (size_t i = 0; i < v->n_tiles; i++) {
    const w_tile *t = &v->tile[i];
    if (!tile_has_level(t, level, a->n_levels) || !tile_has_node(s, a, t)) continue;
    for (uint32_t k = 0; k < t->nk; k++)
      use[t->k0 + k * t->every] = true;
  }
  const bool fixed = v->bucket == BC_BUCKET_STATIC, agg = s->agg != BC_AGG_NONE && !fixed;
  for (uint32_t k = 0; k < v->n_steps; k++)
    if (use[k] && (fixed || (v->time[k] >= s->t_begin && v->time[k] < s->t_end))) step[n++] = k;
  if (n == 0) return false;
  for (size_t i = 0; i < n; i++) {
    const int64_t p = agg ? bc_period_floor(s->period, v->time[step[i]]) : time_of(v, step[i]);
    if (i == 0 || a->time[n_groups - 1] != p) {
      a->time[n_groups] = p;
      group[n_groups++] = (uint32_t)i;
    }
  }
  a->n_steps = 0;
  a->v = malloc(n_groups * a->n_levels * a->nrow * a->ncol * sizeof *a->v);
  float *to = a->v;
  for (size_t g = 0; g < n_groups; g += fixed ? 1 : (size_t)s->every_time) {
    const size_t end = g + 1 < n_groups ? group[g + 1] : n;
    a->time[a->n_steps++] = a->time[g];
    for (size_t l = 0; l < a->n_levels; l++)
      for (size_t i = 0; i < a->nrow; i++)
        for (size_t j = 0; j < a->ncol; j++)
          *to++ = agg ? plain_aggregate(v, s, a, &step[group[g]], end - group[g], level[l], i, j)
                      : value_of(v, s, a, step[group[g]], level[l], i, j);
  }
  return true;
}

/* Bits, except that any NaN is as good as another. */
static inline bool same_values(const float *a, const float *b, size_t n, bool count)
{
  if (count) return memcmp(a, b, n * sizeof *a) == 0;
  for (size_t i = 0; i < n; i++)
    if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i]))) return false;
  return true;
}

#endif
