#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "query_world.h"

/* ---- a store with everything in it ---- */

static int64_t day_of(int32_t y, int32_t m, int32_t d) { return bc_days_from_civil(y, m, d) * DAY; }

static uint32_t cells_across(const world *w) { return bc_grid_cells_x(&w->f.grid); }

/* The nodes of a cell that lie on the grid. */
static w_tile cell_tile(const world *w, uint32_t cy, uint32_t cx)
{
  const uint32_t cny = bc_grid_cell_ny(&w->f.grid), cnx = bc_grid_cell_nx(&w->f.grid);
  return (w_tile){ .row = cy * cny,
                   .col = cx * cnx,
                   .ny = BC_MIN(cny, NY - cy * cny),
                   .nx = BC_MIN(cnx, NX - cx * cnx),
                   .every = 1,
                   .n_levels = 1 };
}

static void cut_box(world *w, w_tile *t)
{
  const uint32_t y = rnd(w, t->ny), x = rnd(w, t->nx);
  t->row += y;
  t->col += x;
  t->ny = 1 + rnd(w, t->ny - y);
  t->nx = 1 + rnd(w, t->nx - x);
}

/* Tiles of one cell, bucket by bucket, some cut, some in parts that overwrite. */
static void fill_cell(world *w, w_var *v, const w_tile *cell, bc_layout first, bc_layout second, bc_codec_mode mode)
{
  for (uint32_t k = 0, past = 0; k < v->n_steps; k = past) {
    const int64_t bucket = bc_bucket_floor(v->bucket, v->time[k]);
    past = k + 1;
    while (past < v->n_steps && bc_bucket_floor(v->bucket, v->time[past]) == bucket)
      past++;
    const uint32_t parts = rnd(w, 8) == 0 ? 0 : 1 + (rnd(w, 3) == 0 ? rnd(w, 4) : 0);
    for (uint32_t p = 0; p < parts; p++) {
      w_tile t = *cell;
      t.k0 = k;
      t.nk = past - k;
      if (p > 0 || rnd(w, 4) == 0) cut_box(w, &t);
      if (p > 0 || rnd(w, 4) == 0) {
        t.k0 += rnd(w, t.nk);
        t.every = 1 + rnd(w, 2);
        t.nk = 1 + rnd(w, (past - t.k0 - 1) / t.every + 1);
      }
      add_tile(w, v, &t, first, second, mode);
    }
  }
}

static void fill(world *w, w_var *v, bc_layout first, bc_layout second, bc_codec_mode mode)
{
  const uint32_t n = cells_across(w) * bc_grid_cells_y(&w->f.grid);
  for (uint32_t c = 0; c < n; c++) {
    w_tile t = cell_tile(w, c / cells_across(w), c % cells_across(w));
    if (rnd(w, 10) == 0) continue;
    t.n_levels = 0;
    for (uint16_t l = 0; l < levels_of(v); l++) /* a cell may lack levels, and have them in another order */
      if (levels_of(v) == 1 || rnd(w, 5) > 0) t.level[t.n_levels++] = (uint16_t)(levels_of(v) - 1 - l);
    if (t.n_levels > 0) fill_cell(w, v, &t, first, second, mode);
  }
}

static world everything(uint32_t cell, uint64_t seed)
{
  world w = world_make(cell, seed);
  bc_store *st = world_write(&w);
  w_var *v = add_var(&w, "surface", "t2m", BC_BUCKET_MONTH, 0, BC_LAYOUT_MAP, BC_LAYOUT_SERIES);
  set_steps(v, day_of(2019, 1, 25), DAY / 2, 80);
  v->time[40] += 3600; /* not evenly spaced */
  fill(&w, v, BC_LAYOUT_MAP, BC_LAYOUT_SERIES, BC_MODE_AUTO);
  v = add_var(&w, "atmospheric", "z", BC_BUCKET_DECADE, 3, BC_LAYOUT_BALANCED, BC_LAYOUT_NONE);
  set_steps(v, day_of(2009, 7, 1), 30 * DAY, 12);
  fill(&w, v, BC_LAYOUT_BALANCED, BC_LAYOUT_NONE, BC_MODE_AUTO);
  v = add_var(&w, "surface", "u10", BC_BUCKET_DAY, 0, BC_LAYOUT_BALANCED, BC_LAYOUT_NONE);
  set_steps(v, day_of(2019, 2, 1), 3 * 3600, 20);
  fill(&w, v, BC_LAYOUT_BALANCED, BC_LAYOUT_NONE, BC_MODE_RAW);
  v = add_var(&w, "surface", "lsm", BC_BUCKET_STATIC, 0, BC_LAYOUT_BALANCED, BC_LAYOUT_NONE);
  set_steps(v, 0, 0, 1);
  fill(&w, v, BC_LAYOUT_BALANCED, BC_LAYOUT_NONE, BC_MODE_ZSTD);
  v = add_var(&w, "climate", "t2m", BC_BUCKET_YEAR, 0, BC_LAYOUT_SERIES, BC_LAYOUT_NONE);
  set_steps(v, day_of(2018, 12, 1), 31 * DAY, 6);
  fill(&w, v, BC_LAYOUT_SERIES, BC_LAYOUT_NONE, BC_MODE_AUTO);
  world_commit(&w, st);
  return w;
}

/* ---- random questions ---- */

static void random_place(world *w, bc_select *s)
{
  char text[64];
  bc_err err = { .msg = "" };
  if (rnd(w, 5) == 0) {
    for (uint32_t n = 1 + rnd(w, 6); n > 0; n--) {
      const double lat = 90 - 2.5 * rnd(w, NY) + (rnd(w, 2) == 0 ? 0.0 : 0.6);
      (void)snprintf(text, sizeof text, "%g,%g", BC_MIN(lat, 90), -180 + 2.5 * rnd(w, NX + NX / 4) + 0.7);
      for (uint32_t again = rnd(w, 6) == 0 ? 2 : 1; again > 0; again--)
        OK(bc_select_add_at(s, text, &err));
    }
    return;
  }
  const double west = -180 + 1.25 * rnd(w, 3 * NX), width = rnd(w, 6) == 0 ? 360 : 1.25 * rnd(w, NX / 2);
  const double south = -90 + 1.25 * rnd(w, NY), north = BC_MIN(south + 1.25 * rnd(w, NY / 2), 90);
  double east = west + width;
  if (width < 360 && rnd(w, 2) == 0 && east > 180) east -= 360;
  if (east > 360) east -= 360;
  if (width == 360)
    (void)snprintf(text, sizeof text, "%g,%g,%g,%g", west > 0 ? 0.0 : -180.0, south, west > 0 ? 360.0 : 180.0, north);
  else
    (void)snprintf(text, sizeof text, "%g,%g,%g,%g", west > 360 ? west - 360 : west, south, east, north);
  OK(bc_select_set_bbox(s, text, &err));
}

static void random_time(world *w, const w_var *v, bc_select *s)
{
  static const bc_period k_periods[] = { { DAY, false }, { 10 * DAY, false }, { 1, true },
                                         { 3, true },    { 21600, false },    { 12, true } };
  if (rnd(w, 3) > 0) s->t_begin = v->time[rnd(w, v->n_steps)] + (rnd(w, 2) == 0 ? 0 : 1);
  const int64_t last = v->time[rnd(w, v->n_steps)];
  if (rnd(w, 3) > 0) s->t_end = BC_MAX(s->t_begin, last) + (rnd(w, 2) == 0 ? 1 : 7 * DAY);
  if (rnd(w, 3) == 0) s->every_time = 1 + rnd(w, 5);
  if (rnd(w, 4) != 0) return;
  s->agg = (bc_agg)(1 + rnd(w, 6));
  s->period = k_periods[rnd(w, 6)];
}

static void random_select(world *w, const w_var *v, bc_select *s)
{
  bc_err err = { .msg = "" };
  char name[64];
  bc_select_init(s);
  (void)snprintf(name, sizeof name, "%s/%s", v->group, v->name);
  OK(bc_select_add_vars(s, name, &err));
  random_place(w, s);
  random_time(w, v, s);
  if (rnd(w, 3) == 0) s->every_space = 1 + rnd(w, 4);
  s->lat_ascending = rnd(w, 3) == 0;
  s->lon_360 = rnd(w, 3) == 0;
  for (uint32_t n = v->n_levels > 0 ? rnd(w, 4) : 0; n > 0; n--) {
    (void)snprintf(name, sizeof name, "%g", v->levels[rnd(w, v->n_levels)]);
    OK(bc_select_add_levels(s, name, &err));
  }
}

static void describe(const bc_select *s, char *buf, size_t cap)
{
  (void)snprintf(buf, cap, "%s box %g,%g,%g,%g points %zu time %lld..%lld every %d,%d agg %s levels %zu asc %d 360 %d",
                 s->vars[0], s->west, s->south, s->east, s->north, s->n_points, (long long)s->t_begin,
                 (long long)s->t_end, (int)s->every_time, (int)s->every_space, bc_agg_name(s->agg), s->n_levels,
                 s->lat_ascending, s->lon_360);
}

/* ---- comparing ---- */

static void check_coords(const bc_var *v, const bc_select *s, const answer *a, bool fixed, const char *what)
{
  int d = 0;
  if (!fixed) {
    cr_assert_eq(v->dims[d], BC_DIM_TIME);
    cr_assert_eq(v->shape[d], (int64_t)a->n_steps, "%s: %d steps, not %d", what, (int)v->shape[d], (int)a->n_steps);
    for (size_t k = 0; k < a->n_steps; k++)
      cr_assert_eq(v->coord[d][k], (double)a->time[k], "%s: time %zu", what, k);
    d++;
  }
  if (v->ndim - d == (s->n_points > 0 ? 2 : 3)) {
    cr_assert_eq(v->dims[d], BC_DIM_LEVEL);
    cr_assert_eq(v->shape[d], (int64_t)a->n_levels);
    for (size_t k = 0; k < a->n_levels; k++)
      cr_assert_eq(v->coord[d][k], a->level[k]);
    d++;
  }
  if (s->n_points == 0) {
    cr_assert_eq(v->shape[d], (int64_t)a->nrow, "%s: %d rows, not %d", what, (int)v->shape[d], (int)a->nrow);
    for (size_t k = 0; k < a->nrow; k++)
      cr_assert_eq(v->coord[d][k], grid_lat(a->row[k]), "%s: row %zu", what, k);
    d++;
  }
  cr_assert_eq(v->shape[d], (int64_t)a->ncol, "%s: %d columns, not %d", what, (int)v->shape[d], (int)a->ncol);
  for (size_t k = 0; k < a->ncol; k++) {
    double lon = grid_lon(a->col[k]);
    if (s->lon_360 && lon < 0) lon += 360;
    cr_assert_eq(s->n_points > 0 ? v->point_lon[k] : v->coord[d][k], lon, "%s: column %zu", what, k);
    if (s->n_points > 0) cr_assert_eq(v->point_lat[k], grid_lat(a->point_row[k]), "%s: point %zu", what, k);
  }
}

static size_t read_stream(bc_query *q, float *dst, const char *what)
{
  bc_err err = { .msg = "" };
  bc_stream in;
  size_t at_value = 0;
  OK(bc_query_stream(q, NULL, &in, &err));
  for (;;) {
    bc_batch b;
    OK(in.next(&in, &b, &err));
    if (b.release == NULL) break;
    cr_assert_eq(b.n_blocks, 1);
    size_t n = 1;
    for (int32_t d = 0; d < b.blocks->var->ndim; d++)
      n *= (size_t)b.blocks->shape[d];
    cr_assert_eq(b.blocks->start[0] * b.blocks->stride[0], (int64_t)(at_value * sizeof(float)), "%s", what);
    memcpy(dst + at_value, b.blocks->data, n * sizeof(float));
    at_value += n;
    bc_batch_release(&b);
  }
  cr_assert_eq(in.bytes, at_value * sizeof(float), "%s", what);
  bc_stream_release(&in);
  return at_value;
}

/* One question, read whole or streamed in little memory, with one thread or three. */
static void check_one(bc_store *st, world *w, const w_var *v, const bc_select *s)
{
  bc_err err = { .msg = "" };
  char what[256];
  answer a;
  bc_query *q = NULL;
  bc_query_opts o = BC_QUERY_OPTS_INIT;
  describe(s, what, sizeof what);
  const bool there = plain_answer(v, s, &a);
  if (rnd(w, 16) == 0) o.threads = 3;
  if (rnd(w, 2) == 0) o.memory = 700000 + rnd(w, 1u << 20);
  const bc_status got = bc_query_open(st, s, &o, &q, &err);
  if (!there || got == BC_E_BUDGET) {
    cr_assert(got == BC_E_NOTFOUND || got == BC_E_RANGE || (got == BC_E_BUDGET && o.memory > 0), "%s: %s %s", what,
              bc_status_name(got), err.msg);
    free(a.v);
    return;
  }
  cr_assert_eq(got, BC_OK, "%s: %s %s", what, bc_status_name(got), err.msg);
  const bc_var *const *vars = NULL;
  cr_assert_eq(bc_query_vars(q, &vars), 1u);
  check_coords(vars[0], s, &a, v->bucket == BC_BUCKET_STATIC, what);
  const size_t n = a.n_steps * a.n_levels * a.nrow * a.ncol;
  float *out = malloc(n * sizeof *out);
  memset(out, 0x5a, n * sizeof *out); /* what is not written shows */
  bc_query_cost cost;
  bc_query_get_cost(q, -1, &cost);
  cr_assert_eq(cost.output_bytes, n * sizeof *out, "%s", what);
  if (rnd(w, 2) == 0) {
    OK(bc_query_read(q, 0, out, n * sizeof *out, &err));
  } else {
    cr_assert_eq(read_stream(q, out, what), n, "%s", what);
    cr_assert_eq(q->read_bytes, cost.decoded_bytes, "%s: %llu bytes decoded, %llu planned", what,
                 (unsigned long long)q->read_bytes, (unsigned long long)cost.decoded_bytes);
    cr_assert_leq(cost.peak_bytes, o.memory == 0 ? UINT64_C(256) << 20 : o.memory, "%s", what);
  }
  const bool count = s->agg == BC_AGG_COUNT && v->bucket != BC_BUCKET_STATIC;
  cr_assert_eq(vars[0]->dtype, count ? BC_I32 : BC_F32);
  cr_assert(same_values(out, a.v, n, count), "%s: values differ", what);
  free(out);
  free(a.v);
  bc_query_close(q);
}

static void ask_many(uint32_t cell, uint64_t seed, int n)
{
  bc_err err = { .msg = "" };
  world w = everything(cell, seed);
  bc_store *st = NULL;
  OK(bc_store_open(w.f.path, BC_OPEN_READ, &st, &err));
  for (int i = 0; i < n; i++) {
    const w_var *v = &w.var[rnd(&w, (uint32_t)w.n_vars)];
    bc_select s;
    random_select(&w, v, &s);
    check_one(st, &w, v, &s);
    bc_select_dispose(&s);
  }
  bc_store_close(st);
  world_free(&w);
}

Test(query, random_questions_in_cells) { ask_many(16, 2019, 4000); }
Test(query, random_questions_in_odd_cells) { ask_many(37, 7, 3000); }
Test(query, random_questions_in_one_cell) { ask_many(0, 11, 3000); }
