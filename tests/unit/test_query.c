#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/query_world.h"

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
static void fill_cell(world *w, w_var *v, const w_tile *cell, bc_layout first, bc_layout second,
                      bc_codec_mode mode)
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
    (void)snprintf(text, sizeof text, "%g,%g,%g,%g", west > 0 ? 0.0 : -180.0, south, west > 0 ? 360.0 : 180.0,
                   north);
  else
    (void)snprintf(text, sizeof text, "%g,%g,%g,%g", west > 360 ? west - 360 : west, south, east, north);
  OK(bc_select_set_bbox(s, text, &err));
}

static void random_time(world *w, const w_var *v, bc_select *s)
{
  static const bc_period k_periods[] = {
    { DAY, false, false }, { 10 * DAY, false, true }, { 1, true, false },
    { 3, true, false },    { 21600, false, false },   { 12, true, false }
  };
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
  (void)snprintf(buf, cap,
                 "%s box %g,%g,%g,%g points %zu time %lld..%lld every %d,%d agg %s levels %zu asc %d 360 %d",
                 s->vars[0], s->west, s->south, s->east, s->north, s->n_points, (long long)s->t_begin,
                 (long long)s->t_end, (int)s->every_time, (int)s->every_space, bc_agg_name(s->agg),
                 s->n_levels, s->lat_ascending, s->lon_360);
}

/* ---- comparing ---- */

static void check_coords(const bc_var *v, const bc_select *s, const answer *a, bool fixed, const char *what)
{
  int d = 0;
  if (!fixed) {
    cr_assert_eq(v->dims[d], BC_DIM_TIME);
    cr_assert_eq(v->shape[d], (int64_t)a->n_steps, "%s: %d steps, not %d", what, (int)v->shape[d],
                 (int)a->n_steps);
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
  bc_query_cost cost;
  describe(s, what, sizeof what);
  const bool there = plain_answer(v, s, &a);
  if (rnd(w, 16) == 0) o.threads = 3;
  bc_status got = bc_query_open(st, s, &o, &q, &err);
  if (!there) {
    cr_assert(got == BC_E_NOTFOUND || got == BC_E_RANGE, "%s: %s %s", what, bc_status_name(got), err.msg);
    return;
  }
  cr_assert_eq(got, BC_OK, "%s: %s %s", what, bc_status_name(got), err.msg);
  if (rnd(w, 2) == 0) { /* again, in part of the memory; it may be too little */
    bc_query *smaller = NULL;
    bc_query_get_cost(q, 0, &cost);
    o.memory = cost.peak_bytes / 2 + rnd(w, (uint32_t)(cost.peak_bytes / 2));
    got = bc_query_open(st, s, &o, &smaller, &err);
    cr_assert(got == BC_OK || got == BC_E_BUDGET, "%s: %s %s", what, bc_status_name(got), err.msg);
    if (got == BC_OK) {
      bc_query_close(q);
      q = smaller;
    } else {
      o.memory = 0;
    }
  }
  const bc_var *const *vars = NULL;
  cr_assert_eq(bc_query_vars(q, &vars), 1u);
  check_coords(vars[0], s, &a, v->bucket == BC_BUCKET_STATIC, what);
  const size_t n = a.n_steps * a.n_levels * a.nrow * a.ncol;
  float *out = malloc(n * sizeof *out);
  memset(out, 0x5a, n * sizeof *out); /* what is not written shows */
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

/* ---- one thing at a time ---- */

typedef struct asked { /* a store, a selection and what came of it */
  world w;
  bc_store *st;
  bc_select s;
  bc_err err;
} asked;

static asked ask(world w)
{
  asked a = { .w = w };
  bc_err err = { .msg = "" };
  OK(bc_store_open(a.w.f.path, BC_OPEN_READ, &a.st, &err));
  bc_select_init(&a.s);
  return a;
}

static void asked_free(asked *a)
{
  bc_select_dispose(&a->s);
  bc_store_close(a->st);
  world_free(&a->w);
}

static bc_status try_query(asked *a, const char *vars, const char *bbox, const char *time, bc_query **q)
{
  bc_err err = { .msg = "" };
  bc_select_dispose(&a->s);
  if (vars != NULL) OK(bc_select_add_vars(&a->s, vars, &err));
  if (bbox != NULL) OK(bc_select_set_bbox(&a->s, bbox, &err));
  if (time != NULL) OK(bc_select_set_time(&a->s, time, &err));
  return bc_query_open(a->st, &a->s, NULL, q, &a->err);
}

#define SAYS(text)                                                                                           \
  cr_expect_not_null(strstr(a.err.msg, (text)), "\"%s\" does not say \"%s\"", a.err.msg, (text))
#define REFUSED(code, text, ...)                                                                             \
  do {                                                                                                       \
    const bc_status r_ = try_query(&a, __VA_ARGS__, &q);                                                     \
    cr_expect_eq(r_, (code), "%s: %s", bc_status_name(r_), a.err.msg);                                       \
    cr_expect_null(q);                                                                                       \
    SAYS(text);                                                                                              \
  } while (0)

Test(query, says_what_is_wrong)
{
  asked a = ask(everything(16, 5));
  bc_query *q = NULL;
  REFUSED(BC_E_INVAL, "t2m is in surface and climate: say which, e.g. surface/t2m", "t2m", NULL, NULL);
  REFUSED(BC_E_NOTFOUND, "no variable \"t2n\" (did you mean ", "t2n", NULL, NULL);
  REFUSED(BC_E_NOTFOUND, "did you mean surface/t2m", "surface/t2n", NULL, NULL);
  REFUSED(BC_E_NOTFOUND, "the store holds 5: ", "precipitation_rate", NULL, NULL);
  REFUSED(BC_E_NOTFOUND, "no variable \"swvl*\"", "swvl*", NULL, NULL);
  REFUSED(BC_E_NOTFOUND, "it goes from 2019-02-01 to 2019-02-03T09:00Z", "u10", NULL, "2020");
  REFUSED(BC_E_NOTFOUND, "in that time", "u10", NULL, "2020");
  REFUSED(BC_E_RANGE, "", "u10", "1,1,2,2", NULL);
  cr_expect_eq(bc_select_add_levels(&a.s, "500", NULL), BC_OK);
  cr_expect_eq(bc_query_open(a.st, &a.s, NULL, &q, &a.err), BC_E_INVAL);
  SAYS("surface/u10 has no levels");
  cr_expect_eq(bc_select_add_vars(&a.s, "z", NULL), BC_OK);
  cr_expect_eq(bc_select_add_levels(&a.s, "501", NULL), BC_OK);
  cr_expect_eq(bc_query_open(a.st, &a.s, NULL, &q, &a.err), BC_E_NOTFOUND);
  SAYS("atmospheric/z has no level 501; it has 500, 925, 850 hPa");
  bc_select_dispose(&a.s);
  cr_expect_eq(bc_select_add_at(&a.s, "10,20", NULL), BC_OK);
  cr_expect_eq(bc_select_set_bbox(&a.s, "0,0,10,10", NULL), BC_OK);
  cr_expect_eq(bc_query_open(a.st, &a.s, NULL, &q, &a.err), BC_E_INVAL);
  SAYS("a box and points");
  asked_free(&a);
}

Test(query, a_point_outside_is_named)
{
  bc_err err = { .msg = "" };
  world w = { .seed = 3 };
  bc_store *st = NULL;
  bc_query *q = NULL;
  bc_select s;
  w.f = fixture_make(16);
  bc_grid g = w.f.grid;
  char path[128];
  OK(bc_grid_subset(&g, 0, 40, 30, 60, &err));
  (void)snprintf(path, sizeof path, "%s/part.bcube", w.f.dir);
  OK(bc_store_create(path, &g, &err));
  OK(bc_store_open(path, BC_OPEN_WRITE, &st, &err));
  OK(bc_writer_open(st, &w.writer, &err));
  const uint16_t id = put_modality(w.writer, "surface", "t2m", BC_LAYOUT_NONE);
  OK(bc_encoder_open(&w.encoder, &err));
  put_tile(w.writer, w.encoder, id, 0, day_of(2019, 3, 1), 4, 280, BC_MODE_AUTO);
  OK(bc_writer_commit(w.writer, &err));
  bc_writer_close(w.writer);
  bc_store_close(st);
  OK(bc_store_open(path, BC_OPEN_READ, &st, &err));
  bc_select_init(&s);
  OK(bc_select_add_at(&s, "50,10", &err));
  OK(bc_select_add_at(&s, "61.2,31.2", &err)); /* within half a step of the edge */
  OK(bc_query_open(st, &s, NULL, &q, &err));
  const bc_var *const *v = NULL;
  cr_assert_eq(bc_query_vars(q, &v), 1u);
  cr_expect(v[0]->point_lat[1] == 60 && v[0]->point_lon[1] == 30);
  bc_query_close(q);
  OK(bc_select_add_at(&s, "61.3,10", &err));
  FAILS(BC_E_RANGE, bc_query_open(st, &s, NULL, &q, &err));
  cr_expect_not_null(strstr(err.msg, "point 3 (latitude 61.3, longitude 10)"), "%s", err.msg);
  bc_select_dispose(&s);
  bc_store_close(st);
  world_free(&w);
}

Test(query, variables_come_as_asked)
{
  asked a = ask(everything(37, 6));
  bc_query *q = NULL;
  const bc_var *const *v = NULL;
  cr_assert_eq(try_query(&a, "z,surface/*,z,climate/t2m", NULL, NULL, &q), BC_OK, "%s", a.err.msg);
  cr_assert_eq(bc_query_vars(q, &v), 5u);
  cr_expect_str_eq(v[0]->name, "z");
  cr_expect_str_eq(v[1]->name, "t2m");
  cr_expect_str_eq(v[1]->group, "surface");
  cr_expect_str_eq(v[2]->name, "u10");
  cr_expect_str_eq(v[3]->name, "lsm");
  cr_expect_str_eq(v[4]->group, "climate");
  cr_expect(v[0]->ndim == 4 && v[1]->ndim == 3 && v[3]->ndim == 2);
  cr_expect_eq(v[3]->dims[0], BC_DIM_LAT);
  bc_query_close(q);
  /* of everything, those that have values then */
  cr_assert_eq(try_query(&a, NULL, NULL, "2009", &q), BC_OK, "%s", a.err.msg);
  cr_assert_eq(bc_query_vars(q, &v), 2u);
  cr_expect_str_eq(v[0]->name, "z");
  cr_expect_str_eq(v[1]->name, "lsm");
  bc_query_close(q);
  asked_free(&a);
}

static const char *attr(const bc_attr *v, int32_t n, const char *name)
{
  for (int32_t i = 0; i < n; i++)
    if (strcmp(v[i].name, name) == 0) return v[i].value;
  return "";
}

Test(query, tells_where_it_came_from)
{
  asked a = ask(everything(37, 6));
  bc_query *q = NULL;
  bc_stream in;
  const bc_var *const *v = NULL;
  cr_assert_eq(try_query(&a, "u10", "-10,50,2,58", "2019-02", &q), BC_OK, "%s", a.err.msg);
  bc_query_close(q);
  cr_assert_eq(bc_select_set_agg(&a.s, "max:6h", &a.err), BC_OK);
  cr_assert_eq(bc_query_open(a.st, &a.s, NULL, &q, &a.err), BC_OK, "%s", a.err.msg);
  cr_assert_eq(bc_query_stream(q, NULL, &in, &a.err), BC_OK);
  cr_expect_str_eq(attr(in.attrs, in.n_attrs, "title"), "surface/u10 from s.bcube");
  cr_expect_not_null(strstr(attr(in.attrs, in.n_attrs, "history"),
                            " bctool 1.0.0: query --var u10 --bbox -10,50,2,58 --time "
                            "2019-02-01T00:00:00Z/2019-02-28T23:59:59Z, max over 6 hours"),
                     "%s", attr(in.attrs, in.n_attrs, "history"));
  cr_expect_str_eq(attr(in.attrs, in.n_attrs, "biocube_snapshot"), "1");
  cr_expect_eq(strlen(attr(in.attrs, in.n_attrs, "biocube_store")), 36u);
  (void)bc_query_vars(q, &v);
  cr_expect_str_eq(attr(v[0]->attrs, v[0]->n_attrs, "cell_methods"), "time: maximum (interval: 6 hours)");
  cr_expect(v[0]->time_bounds[0] == day_of(2019, 2, 1) &&
            v[0]->time_bounds[1] == day_of(2019, 2, 1) + 6 * 3600);
  cr_expect_str_eq(v[0]->units, "K");
  bc_stream_release(&in);
  bc_query_close(q);
  cr_assert_eq(bc_select_set_agg(&a.s, "count:1mo", &a.err), BC_OK);
  cr_assert_eq(bc_query_open(a.st, &a.s, NULL, &q, &a.err), BC_OK, "%s", a.err.msg);
  (void)bc_query_vars(q, &v);
  cr_expect_str_eq(v[0]->units, "1");
  cr_expect_eq(v[0]->dtype, BC_I32);
  bc_query_close(q);
  asked_free(&a);
}

/* ---- the place where data are ---- */

static world with_boxes(const w_tile *t, size_t n)
{
  world w = world_make(16, 8);
  bc_store *st = world_write(&w);
  w_var *v = add_var(&w, "surface", "t2m", BC_BUCKET_MONTH, 0, BC_LAYOUT_BALANCED, BC_LAYOUT_NONE);
  set_steps(v, day_of(2019, 3, 1), 3600, 2);
  for (size_t i = 0; i < n; i++)
    add_tile(&w, v, &t[i], BC_LAYOUT_BALANCED, BC_LAYOUT_NONE, BC_MODE_AUTO);
  world_commit(&w, st);
  return w;
}

static void check_extent(world w, bool lon_360, double north, int64_t rows, double west, double east,
                         int64_t cols)
{
  asked a = ask(w);
  bc_query *q = NULL;
  const bc_var *const *v = NULL;
  a.s.lon_360 = lon_360;
  cr_assert_eq(bc_query_open(a.st, &a.s, NULL, &q, &a.err), BC_OK, "%s", a.err.msg);
  (void)bc_query_vars(q, &v);
  cr_expect_eq(v[0]->shape[1], rows);
  cr_expect_eq(v[0]->shape[2], cols, "%d columns", (int)v[0]->shape[2]);
  cr_expect_eq(v[0]->coord[1][0], north);
  cr_expect_eq(v[0]->coord[2][0], west, "west %g", v[0]->coord[2][0]);
  cr_expect_eq(v[0]->coord[2][v[0]->shape[2] - 1], east, "east %g", v[0]->coord[2][v[0]->shape[2] - 1]);
  bc_query_close(q);
  asked_free(&a);
}

Test(query, without_a_box_it_is_where_data_are)
{
  const w_tile one = { 17, 50, 3, 5, 0, 2, 1, 1, { 0 } };
  const w_tile two[2] = { { 17, 142, 2, 2, 0, 2, 1, 1, { 0 } }, { 18, 0, 4, 3, 0, 2, 1, 1, { 0 } } };
  w_tile all[9];
  for (uint32_t i = 0; i < 9; i++)
    all[i] = (w_tile){ 0, 16 * i, 16, 16, 0, 2, 1, 1, { 0 } };
  check_extent(with_boxes(&one, 1), false, 47.5, 3, -55, -45, 5);
  check_extent(with_boxes(&one, 1), true, 47.5, 3, 305, 315, 5);
  check_extent(with_boxes(two, 2), false, 47.5, 5, 175, -175, 5); /* over 180 */
  check_extent(with_boxes(two, 2), true, 47.5, 5, 175, 185, 5);
  check_extent(with_boxes(all, 9), false, 90, 16, -180, 177.5, 144);
  check_extent(with_boxes(all, 9), true, 90, 16, 0, 357.5, 144);
}

/* ---- memory ---- */

Test(query, too_little_memory_is_refused_with_numbers)
{
  asked a = ask(everything(37, 6));
  bc_query *q = NULL;
  bc_query_opts o = BC_QUERY_OPTS_INIT;
  o.memory = 100000;
  cr_assert_eq(bc_select_add_vars(&a.s, "climate/t2m", &a.err), BC_OK);
  cr_assert_eq(bc_select_set_bbox(&a.s, "-180,-90,180,90", &a.err), BC_OK);
  cr_expect_eq(bc_query_open(a.st, &a.s, &o, &q, &a.err), BC_E_BUDGET);
  SAYS("climate/t2m: one step takes 42048 bytes");
  SAYS("more than the 100000 allowed");
  asked_free(&a);
}

Test(query, a_batch_outlives_its_stream)
{
  asked a = ask(everything(37, 6));
  bc_query *q = NULL;
  bc_stream in;
  bc_batch one, two;
  cr_assert_eq(try_query(&a, "u10,z", NULL, NULL, &q), BC_OK, "%s", a.err.msg);
  cr_assert_eq(bc_query_stream(q, NULL, &in, &a.err), BC_OK);
  cr_assert_eq(in.next(&in, &one, &a.err), BC_OK);
  cr_assert_eq(in.next(&in, &two, &a.err), BC_OK);
  cr_expect_neq(one.blocks->data, two.blocks->data);
  bc_stream_release(&in);
  volatile float sum = ((const float *)one.blocks->data)[0] + ((const float *)two.blocks->data)[0];
  (void)sum;
  bc_batch_release(&two);
  bc_batch_release(&one);
  bc_batch_release(&one);
  bc_query_close(q);
  asked_free(&a);
}

Test(query, stays_valid_after_the_store_closes)
{
  asked a = ask(everything(16, 9));
  bc_query *q = NULL;
  answer want;
  cr_assert_eq(try_query(&a, "u10", "-60,-60,60,60", NULL, &q), BC_OK, "%s", a.err.msg);
  cr_assert(plain_answer(&a.w.var[2], &a.s, &want));
  bc_store_close(a.st);
  a.st = NULL;
  const size_t n = want.n_steps * want.nrow * want.ncol;
  float *out = malloc(n * sizeof *out);
  cr_assert_eq(bc_query_read(q, 0, out, n * sizeof *out, &a.err), BC_OK, "%s", a.err.msg);
  cr_expect(same_values(out, want.v, n, false));
  cr_expect_eq(bc_query_read(q, 0, out, n * sizeof *out - 1, &a.err), BC_E_INVAL);
  cr_expect_eq(bc_query_read(q, 1, out, n * sizeof *out, &a.err), BC_E_INVAL);
  free(out);
  free(want.v);
  bc_query_close(q);
  asked_free(&a);
}

static bool always(void *ctx)
{
  (void)ctx;
  return true;
}

Test(query, can_be_cancelled)
{
  asked a = ask(everything(16, 9));
  bc_query *q = NULL;
  bc_stream in;
  bc_batch b;
  const bc_progress p = { .cancelled = always };
  cr_assert_eq(try_query(&a, "u10", NULL, NULL, &q), BC_OK, "%s", a.err.msg);
  cr_assert_eq(bc_query_stream(q, &p, &in, &a.err), BC_OK);
  cr_expect_eq(in.next(&in, &b, &a.err), BC_E_CANCELLED);
  bc_stream_release(&in);
  bc_query_close(q);
  asked_free(&a);
}

Test(query, threads_give_the_same)
{
  asked a = ask(everything(16, 10));
  bc_query *q = NULL;
  float *out[2] = { NULL, NULL };
  bc_query_cost cost = { 0 };
  for (int i = 0; i < 2; i++) {
    bc_query_opts o = BC_QUERY_OPTS_INIT;
    o.threads = i == 0 ? 1 : 4;
    bc_select_dispose(&a.s);
    cr_assert_eq(bc_select_add_vars(&a.s, "surface/t2m", &a.err), BC_OK);
    cr_assert_eq(bc_query_open(a.st, &a.s, &o, &q, &a.err), BC_OK, "%s", a.err.msg);
    bc_query_get_cost(q, 0, &cost);
    cr_expect_eq(q->vars[0].threads, o.threads);
    out[i] = malloc(cost.output_bytes);
    cr_assert_eq(bc_query_read(q, 0, out[i], cost.output_bytes, &a.err), BC_OK, "%s", a.err.msg);
    bc_query_close(q);
  }
  cr_expect(same_values(out[0], out[1], cost.output_bytes / sizeof(float), false));
  free(out[0]);
  free(out[1]);
  asked_free(&a);
}

Test(query, a_fork_is_refused)
{
  asked a = ask(everything(37, 6));
  bc_query *q = NULL;
  const pid_t pid = fork();
  if (pid == 0) _exit(try_query(&a, "u10", NULL, NULL, &q) == BC_E_INVAL ? 0 : 1);
  int status = 1;
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  asked_free(&a);
}

/* ---- damage ---- */

/* Turns one byte of the first tile that a query would read; says where it stands. */
static void damage(asked *a, const char *var, uint32_t *cell)
{
  bc_query *q = NULL;
  bc_bytes start;
  char path[256];
  uint8_t byte = 0;
  cr_assert_eq(try_query(a, var, NULL, NULL, &q), BC_OK, "%s", a->err.msg);
  const bc_ptile *t = &q->vars[0].tiles[0];
  while (t->payload_bytes == 0)
    t++;
  cr_assert_eq(bc_segment_slice(q->segments[0], 0, 1, &start, &a->err), BC_OK);
  const off_t off = (off_t)(t->payload - start.p) + (off_t)t->payload_bytes / 2;
  *cell = t->cell;
  (void)snprintf(path, sizeof path, "%s/segments/%010u.seg", a->w.f.path, t->segment);
  bc_query_close(q);
  const int fd = open(path, O_RDWR);
  cr_assert_geq(fd, 0, "%s", path);
  cr_assert_eq(pread(fd, &byte, 1, off), 1);
  byte ^= 0x10;
  cr_assert_eq(pwrite(fd, &byte, 1, off), 1);
  (void)close(fd);
}

Test(query, damage_is_located)
{
  asked a = ask(everything(16, 12));
  bc_query *q = NULL;
  uint32_t cell = 0;
  char text[64];
  bc_query_cost cost;
  damage(&a, "u10", &cell);
  cr_assert_eq(try_query(&a, "u10", NULL, NULL, &q), BC_OK, "%s", a.err.msg);
  bc_query_get_cost(q, 0, &cost);
  float *out = malloc(cost.output_bytes), *want = malloc(cost.output_bytes);
  cr_expect_eq(bc_query_read(q, 0, out, cost.output_bytes, &a.err), BC_E_CHECKSUM);
  SAYS("surface/u10 is damaged at 2019-02-0");
  SAYS("segment 0000000001.seg, from world.nc: ");
  (void)snprintf(text, sizeof text, ", cell %u,", cell);
  SAYS(text);
  bc_query_close(q);
  bc_query_opts o = BC_QUERY_OPTS_INIT;
  o.skip_damaged = true;
  cr_assert_eq(bc_query_open(a.st, &a.s, &o, &q, &a.err), BC_OK, "%s", a.err.msg);
  cr_assert_eq(bc_query_read(q, 0, out, cost.output_bytes, &a.err), BC_OK, "%s", a.err.msg);
  const char *first = NULL;
  cr_expect_eq(bc_query_damaged(q, &first), 1u);
  cr_expect_not_null(strstr(first, "surface/u10 is damaged at"), "%s", first);
  bc_query_close(q);
  /* but for one block, nothing has changed */
  answer plain;
  size_t lost = 0, wrong = 0;
  cr_assert_eq(bc_select_set_bbox(&a.s, "-180,-90,180,90", &a.err), BC_OK);
  cr_assert(plain_answer(&a.w.var[2], &a.s, &plain));
  cr_assert_eq(bc_query_open(a.st, &a.s, &o, &q, &a.err), BC_OK, "%s", a.err.msg);
  bc_query_get_cost(q, 0, &cost);
  out = realloc(out, cost.output_bytes);
  cr_assert_eq(bc_query_read(q, 0, out, cost.output_bytes, &a.err), BC_OK, "%s", a.err.msg);
  for (size_t i = 0; i < cost.output_bytes / sizeof *out; i++) {
    if (memcmp(&out[i], &plain.v[i], sizeof *out) == 0 || (isnan(out[i]) && isnan(plain.v[i]))) continue;
    lost += isnan(out[i]) ? 1 : 0;
    wrong += isnan(out[i]) ? 0 : 1;
  }
  cr_expect_eq(wrong, 0u);
  cr_expect(lost > 0 && lost <= 16 * 16, "%zu values lost", lost);
  bc_query_close(q);
  free(out);
  free(want);
  free(plain.v);
  asked_free(&a);
}

/* ---- cost ---- */

Test(query, takes_the_cheaper_layout)
{
  world w = world_make(37, 13);
  bc_store *st = world_write(&w);
  w_var *v = add_var(&w, "surface", "t2m", BC_BUCKET_YEAR, 0, BC_LAYOUT_MAP, BC_LAYOUT_SERIES);
  set_steps(v, day_of(2019, 1, 1), DAY, 150);
  for (uint32_t c = 0; c < 4; c++) {
    w_tile t = cell_tile(&w, 0, c);
    t.nk = 150;
    add_tile(&w, v, &t, BC_LAYOUT_MAP, BC_LAYOUT_SERIES, BC_MODE_ZSTD);
  }
  world_commit(&w, st);
  asked a = ask(w);
  bc_query *q = NULL;
  bc_query_part part;
  cr_assert_eq(try_query(&a, "t2m", NULL, "2019-02-03", &q), BC_OK, "%s", a.err.msg);
  bc_query_get_part(q, 0, &part);
  cr_expect_str_eq(part.layout, "map");
  cr_expect_eq(part.cells, 4u);
  cr_expect_str_eq(part.grid, w.f.grid.name);
  bc_query_close(q);
  bc_select_dispose(&a.s);
  cr_assert_eq(bc_select_add_at(&a.s, "80,10", &a.err), BC_OK);
  cr_assert_eq(bc_query_open(a.st, &a.s, NULL, &q, &a.err), BC_OK, "%s", a.err.msg);
  bc_query_get_part(q, 0, &part);
  cr_expect_str_eq(part.layout, "series");
  cr_expect_eq(part.cells, 1u);
  bc_query_close(q);
  asked_free(&a);
}

/* All points of a tile are served by decoding each block once. */
Test(query, points_share_blocks)
{
  asked a = ask(everything(0, 11));
  bc_query *q = NULL;
  bc_query_cost one, many;
  cr_assert_eq(bc_select_add_vars(&a.s, "climate/t2m", &a.err), BC_OK);
  cr_assert_eq(bc_select_add_at(&a.s, "50,10", &a.err), BC_OK);
  cr_assert_eq(bc_query_open(a.st, &a.s, NULL, &q, &a.err), BC_OK, "%s", a.err.msg);
  bc_query_get_cost(q, 0, &one);
  bc_query_close(q);
  for (int i = 0; i < 50; i++)
    cr_assert_eq(bc_select_add_at(&a.s, "50,10", &a.err), BC_OK);
  cr_assert_eq(bc_query_open(a.st, &a.s, NULL, &q, &a.err), BC_OK, "%s", a.err.msg);
  bc_query_get_cost(q, 0, &many);
  cr_expect_eq(many.decoded_bytes, one.decoded_bytes);
  float *out = malloc(many.output_bytes);
  cr_assert_eq(bc_query_read(q, 0, out, many.output_bytes, &a.err), BC_OK, "%s", a.err.msg);
  cr_expect_eq(q->read_bytes, one.decoded_bytes);
  free(out);
  bc_query_close(q);
  asked_free(&a);
}

/* ---- short of memory ---- */

static bool fail_at(void *ctx)
{
  int *left = ctx;
  return (*left)-- == 0;
}

static bc_status ask_and_read(asked *a, void *out, size_t bytes)
{
  bc_query *q = NULL;
  bc_status st = bc_query_open(a->st, &a->s, NULL, &q, &a->err);
  for (size_t i = 0; st == BC_OK && i < 2; i++) {
    bc_query_cost c;
    bc_query_get_cost(q, (int)i, &c);
    cr_assert_leq(c.output_bytes, bytes);
    st = bc_query_read(q, i, out, (size_t)c.output_bytes, &a->err);
  }
  bc_query_close(q);
  return st;
}

/* Fails each allocation in turn: an error each time, nothing lost, and in the end the answer. */
Test(query, survives_short_memory)
{
  asked a = ask(everything(37, 6));
  const size_t bytes = (size_t)NY * NX * MAX_STEPS * 4;
  float *out = malloc(bytes);
  int n = 0;
  bc_status st = BC_E_NOMEM;
  cr_assert_eq(bc_select_add_vars(&a.s, "z,u10", &a.err), BC_OK);
  cr_assert_eq(bc_select_set_agg(&a.s, "mean:1y", &a.err), BC_OK);
  cr_assert_eq(bc_select_set_bbox(&a.s, "100,-80,-100,80", &a.err), BC_OK);
  cr_assert_eq(ask_and_read(&a, out, bytes), BC_OK, "%s", a.err.msg); /* the store's own caches are filled */
  for (; st != BC_OK; n++) {
    int left = n;
    bc_alloc_set_hook(fail_at, &left);
    st = ask_and_read(&a, out, bytes);
    bc_alloc_set_hook(NULL, NULL);
    cr_assert(st == BC_OK || st == BC_E_NOMEM, "allocation %d: %s %s", n, bc_status_name(st), a.err.msg);
    cr_assert_lt(n, 5000);
  }
  cr_expect_gt(n, 40);
  free(out);
  asked_free(&a);
}
