#include "tests/unit/query_world.h"

static int64_t day_of(int32_t y, int32_t m, int32_t d) { return bc_days_from_civil(y, m, d) * DAY; }

typedef struct made {
  world w;
  bc_store *st;
  bc_err err;
} made;

/* One variable of 20 steps, 12 hours apart, over the turn of a year, in one cell; a commit for each month
 * when apart. */
static made make(uint32_t cell, bc_codec_mode mode, bool apart, uint32_t n_levels)
{
  made m = { .w = world_make(cell, 77) };
  bc_err err = { .msg = "" };
  bc_store *st = world_write(&m.w);
  w_var *v = add_var(&m.w, "surface", "t2m", BC_BUCKET_MONTH, n_levels, BC_LAYOUT_MAP, BC_LAYOUT_NONE);
  set_steps(v, day_of(2018, 12, 27), DAY / 2, 20); /* 10 in December, 10 in January */
  for (uint32_t i = 0; i < 2; i++) {
    w_tile t = { .ny = NY, .nx = NX, .k0 = 10 * i, .nk = 10, .every = 1, .n_levels = levels_of(v) };
    if (cell != 0) t.ny = t.nx = cell;
    for (uint16_t l = 0; l < MAX_LEVELS; l++)
      t.level[l] = l;
    add_tile(&m.w, v, &t, BC_LAYOUT_MAP, BC_LAYOUT_NONE, mode);
    if (apart && i == 0) {
      world_commit(&m.w, st);
      st = world_write(&m.w);
    }
  }
  world_commit(&m.w, st);
  OK(bc_store_open(m.w.f.path, BC_OPEN_READ, &m.st, &err));
  return m;
}

static void made_free(made *m)
{
  bc_store_close(m->st);
  world_free(&m->w);
}

/* Every value of the view against the model, by step[] and, when even, by strides. */
static void check_view(const world *w, const bc_view *v, uint32_t k0, bool even)
{
  const w_var *var = &w->var[0];
  const int levels = var->n_levels > 0, y_dim = 1 + levels;
  cr_assert_eq(v->ndim, 3 + levels);
  cr_assert_eq(v->shape[y_dim], NY);
  cr_assert_eq(v->shape[y_dim + 1], NX);
  cr_assert_eq(v->stride[0] != 0, even);
  cr_assert_eq(v->copied_bytes, 0u);
  cr_assert_eq((uintptr_t)v->data % 64, 0u);
  cr_assert_eq(v->data, v->step[0]);
  for (uint32_t k = 0; k < v->shape[0]; k++) {
    const char *step = v->step[k];
    cr_assert_eq(v->coord[0][k], (double)var->time[k0 + k]);
    if (even) cr_assert_eq((const char *)v->data + k * v->stride[0], step);
    for (uint32_t l = 0; l < levels_of(var); l++)
      for (uint32_t y = 0; y < NY; y++)
        for (uint32_t x = 0; x < NX; x++) {
          const char *p =
              step + y * v->stride[y_dim] + x * v->stride[y_dim + 1] + (levels ? l * v->stride[1] : 0);
          cr_assert(same_values((const float *)(const void *)p, at(var, k0 + k, l, y, x), 1, false));
        }
  }
  for (uint32_t y = 0; y < NY; y++)
    cr_assert_eq(v->coord[y_dim][y], grid_lat(y));
  for (uint32_t x = 0; x < NX; x++)
    cr_assert_eq(v->coord[y_dim + 1][x], grid_lon(x));
}

Test(view, of_one_tile)
{
  made m = make(0, BC_MODE_RAW, false, 0);
  bc_view v;
  cr_assert_eq(bc_view_open(m.st, "t2m", day_of(2018, 12, 28), 4, &v, &m.err), BC_OK, "%s", m.err.msg);
  check_view(&m.w, &v, 2, true);
  bc_view_release(&v);
  bc_view_release(&v);
  cr_assert_eq(bc_view_open(m.st, "surface/t2m", day_of(2018, 12, 28) + 1, 1, &v, &m.err), BC_OK, "%s",
               m.err.msg);
  check_view(&m.w, &v, 3, true);
  bc_view_release(&v);
  made_free(&m);
}

Test(view, with_levels)
{
  made m = make(0, BC_MODE_RAW, false, 3);
  bc_view v;
  cr_assert_eq(bc_view_open(m.st, "t2m", BC_TIME_OPEN_BEGIN, 20, &v, &m.err), BC_OK, "%s", m.err.msg);
  check_view(&m.w, &v, 0, v.stride[0] != 0);
  cr_expect(v.shape[1] == 3 && v.coord[1][0] == 500 && v.coord[1][2] == 850);
  bc_view_release(&v);
  made_free(&m);
}

/* Tiles that lie one behind the other in one segment are one window. */
Test(view, over_the_turn_of_the_year_in_one_segment)
{
  made m = make(0, BC_MODE_RAW, false, 0);
  bc_view v;
  cr_assert_eq(bc_view_open(m.st, "t2m", day_of(2018, 12, 31), 4, &v, &m.err), BC_OK, "%s", m.err.msg);
  check_view(&m.w, &v, 8, true);
  bc_view_release(&v);
  made_free(&m);
}

Test(view, over_two_segments)
{
  made m = make(0, BC_MODE_RAW, true, 0);
  bc_view v;
  cr_assert_eq(bc_view_open(m.st, "t2m", day_of(2018, 12, 30), 8, &v, &m.err), BC_OK, "%s", m.err.msg);
  bc_store_close(m.st);
  m.st = NULL;
  check_view(&m.w, &v, 6, false);
  bc_view_release(&v);
  made_free(&m);
}

/* A part that came later gives its steps in place of the earlier one's, and steps between. */
Test(view, later_parts_win)
{
  made m = make(0, BC_MODE_RAW, false, 0);
  w_var *var = &m.w.var[0];
  const w_tile odd = { .ny = NY, .nx = NX, .k0 = 1, .nk = 3, .every = 2, .n_levels = 1 };
  bc_view v;
  bc_store_close(m.st);
  bc_store *st = world_write(&m.w);
  add_tile(&m.w, var, &odd, BC_LAYOUT_MAP, BC_LAYOUT_NONE, BC_MODE_RAW);
  world_commit(&m.w, st);
  cr_assert_eq(bc_store_open(m.w.f.path, BC_OPEN_READ, &m.st, &m.err), BC_OK);
  cr_assert_eq(bc_view_open(m.st, "t2m", day_of(2018, 12, 27), 5, &v, &m.err), BC_OK, "%s", m.err.msg);
  check_view(&m.w, &v, 0, false);
  bc_view_release(&v);
  made_free(&m);
}

#define REFUSED(code, text, expr)                                                                            \
  do {                                                                                                       \
    const bc_status r_ = (expr);                                                                             \
    cr_expect_eq(r_, (code), "%s: %s", bc_status_name(r_), m.err.msg);                                       \
    cr_expect_not_null(strstr(m.err.msg, (text)), "\"%s\" does not say \"%s\"", m.err.msg, (text));          \
    cr_expect_null(v.priv);                                                                                  \
  } while (0)

Test(view, refuses)
{
  made m = make(0, BC_MODE_ZSTD, false, 0);
  bc_view v;
  const int64_t t = day_of(2018, 12, 27);
  REFUSED(BC_E_UNSUPPORTED, "its values are compressed; read it with a query",
          bc_view_open(m.st, "t2m", t, 2, &v, &m.err));
  made_free(&m);
  m = make(16, BC_MODE_RAW, false, 0);
  REFUSED(BC_E_UNSUPPORTED, "its grid is cut into cells", bc_view_open(m.st, "t2m", t, 2, &v, &m.err));
  made_free(&m);
  m = make(0, BC_MODE_RAW, false, 0);
  REFUSED(BC_E_NOTFOUND,
          "has 20 steps from 2018-12-27 on, 21 were asked for; it goes from 2018-12-27 to 2019-01-05T12:00Z",
          bc_view_open(m.st, "t2m", t, 21, &v, &m.err));
  REFUSED(BC_E_NOTFOUND, "has 0 steps", bc_view_open(m.st, "t2m", day_of(2030, 1, 1), 1, &v, &m.err));
  REFUSED(BC_E_NOTFOUND, "did you mean surface/t2m", bc_view_open(m.st, "t2n", t, 1, &v, &m.err));
  REFUSED(BC_E_INVAL, "0 steps", bc_view_open(m.st, "t2m", t, 0, &v, &m.err));
  REFUSED(BC_E_INVAL, "-1 steps", bc_view_open(m.st, "t2m", t, -1, &v, &m.err));
  made_free(&m);
}

Test(view, steps_of_several_boxes_are_refused)
{
  made m = make(0, BC_MODE_RAW, false, 0);
  const w_tile part = { .row = 3, .col = 5, .ny = 4, .nx = 6, .k0 = 2, .nk = 1, .every = 1, .n_levels = 1 };
  bc_view v;
  bc_store_close(m.st);
  bc_store *st = world_write(&m.w);
  add_tile(&m.w, &m.w.var[0], &part, BC_LAYOUT_MAP, BC_LAYOUT_NONE, BC_MODE_RAW);
  world_commit(&m.w, st);
  cr_assert_eq(bc_store_open(m.w.f.path, BC_OPEN_READ, &m.st, &m.err), BC_OK);
  REFUSED(BC_E_UNSUPPORTED, "do not all cover the same box",
          bc_view_open(m.st, "t2m", day_of(2018, 12, 27), 4, &v, &m.err));
  cr_expect_eq(bc_view_open(m.st, "t2m", day_of(2018, 12, 29), 4, &v, &m.err), BC_OK, "%s", m.err.msg);
  bc_view_release(&v);
  made_free(&m);
}

Test(view, many_are_opened_together_or_not_at_all)
{
  made m = { .w = world_make(0, 5) };
  const char *names[5] = { "surface/a", "b", "surface/a", "climate/c", "b" };
  bc_view v[5];
  bc_store *st = world_write(&m.w);
  static const char *const k_groups[3] = { "surface", "surface", "climate" }, *const k_names[3] = { "a", "b",
                                                                                                    "c" };
  for (int i = 0; i < 3; i++) {
    w_var *var = add_var(&m.w, k_groups[i], k_names[i], i == 2 ? BC_BUCKET_YEAR : BC_BUCKET_MONTH, 0,
                         BC_LAYOUT_MAP, BC_LAYOUT_NONE);
    const w_tile t = { .ny = NY, .nx = NX, .nk = 6, .every = 1, .n_levels = 1 };
    set_steps(var, day_of(2019, 5, 1), DAY, 6);
    add_tile(&m.w, var, &t, BC_LAYOUT_MAP, BC_LAYOUT_NONE, BC_MODE_RAW);
  }
  world_commit(&m.w, st);
  cr_assert_eq(bc_store_open(m.w.f.path, BC_OPEN_READ, &m.st, &m.err), BC_OK);
  cr_assert_eq(bc_view_open_many(m.st, names, 5, day_of(2019, 5, 3), 2, v, &m.err), BC_OK, "%s", m.err.msg);
  for (int i = 0; i < 5; i++) {
    const w_var *var = &m.w.var[i == 3 ? 2 : i == 1 || i == 4 ? 1 : 0];
    cr_expect(same_values(v[i].data, at(var, 2, 0, 0, 0), (size_t)NY * NX, false), "view %d", i);
    cr_expect_eq(v[i].coord[1], v[0].coord[1], "latitudes are shared");
  }
  for (int i = 0; i < 4; i++)
    bc_view_release(&v[i]);
  cr_expect_eq(v[4].coord[2][NX - 1], grid_lon(NX - 1)); /* what is shared lives with the last view */
  bc_view_release(&v[4]);
  names[4] = "d";
  cr_expect_eq(bc_view_open_many(m.st, names, 5, day_of(2019, 5, 3), 2, v, &m.err), BC_E_NOTFOUND);
  names[4] = "b";
  cr_expect_eq(bc_view_open_many(m.st, names, 5, day_of(2019, 5, 6), 2, v, &m.err), BC_E_NOTFOUND);
  for (int i = 0; i < 5; i++)
    cr_expect_null(v[i].priv);
  made_free(&m);
}
