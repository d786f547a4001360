/* Compaction: values stay, pieces become one, space comes back, nothing is lost in between. */
#include <criterion/criterion.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compact_world.h"
#include "query/query.h"

static void expect_same(const contents *a, const contents *b)
{
  cr_assert_eq(a->values, b->values, "%llu values in force, now %llu", (unsigned long long)a->values,
               (unsigned long long)b->values);
  cr_assert_eq(a->hash, b->hash, "values differ");
}

/* ---- merging ---- */

/* One commit for each day of March and April 2019, for some cells. */
static void fill_days(const char *path, uint32_t cells, int days, bc_layout second)
{
  for (int d = 0; d < days; d++) {
    char name[32];
    (void)snprintf(name, sizeof name, "day%d.nc", d);
    builder b = build(path, name);
    const uint16_t m = leveled_modality(b.w, "surface", "t2m", 0, second);
    for (uint32_t c = 0; c < cells; c++) {
      box_piece p = whole_piece(m, c, MARCH + DAY_S * d, 24, (uint32_t)d * 8 + c % 4);
      p.second = second != BC_LAYOUT_NONE;
      (void)put_piece(&b, &p);
    }
    built(&b);
  }
}

Test(compact, days_become_months)
{
  fixture f = fixture_make(SIDE);
  fill_days(f.path, 5, 40, BC_LAYOUT_NONE);
  const contents before = read_contents(f.path, SIDE);
  cr_expect_eq(before.tiles, 200);
  const bc_compact_report r = compact(f.path, 0);
  const contents after = read_contents(f.path, SIDE);
  expect_same(&before, &after);
  cr_expect_eq(after.tiles, 10, "%llu tiles", (unsigned long long)after.tiles);
  cr_expect_eq(r.segments_before, 40);
  cr_expect_eq(r.segments_after, 1);
  cr_expect_eq(r.tiles_before, 200);
  cr_expect_eq(r.tiles_after, 10);
  cr_expect_eq(r.merged, 200);
  cr_expect_eq(r.made, 10);
  cr_expect_eq(r.moved, 0);
  cr_expect_eq(r.commits, 1);
  cr_expect_lt(r.bytes_after, r.bytes_before);
  expect_whole(f.path, 0);
  expect_reindex_agrees(f.path, "compacted");
  const bc_compact_report again = compact(f.path, 0);
  cr_expect_eq(again.commits, 0, "there is nothing left to do");
  cr_expect_eq(again.rewritten, 0);
  fixture_remove(&f);
}

Test(compact, a_dry_run_counts_and_changes_nothing)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  fill_days(f.path, 2, 10, BC_LAYOUT_NONE);
  uint64_t was[BC_N_TABLES], is[BC_N_TABLES];
  bc_store *st = NULL;
  bc_compact_report r;
  const bc_compact_opts o = { .dry_run = true };
  index_digest(f.path, was);
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_store_compact(st, &o, NULL, &r, &err));
  bc_store_close(st);
  index_digest(f.path, is);
  cr_expect_eq(memcmp(was, is, sizeof was), 0);
  cr_expect_eq(r.merged, 20);
  cr_expect_eq(r.made, 2);
  cr_expect_eq(r.rewritten, 10);
  cr_expect_eq(r.commits, 0);
  fixture_remove(&f);
}

Test(compact, both_layouts_stay_in_step)
{
  fixture f = fixture_make(SIDE);
  fill_days(f.path, 3, 12, BC_LAYOUT_SERIES);
  const contents before = read_contents(f.path, SIDE);
  cr_expect_eq(before.tiles, 72);
  (void)compact(f.path, 20000);
  const contents after = read_contents(f.path, SIDE);
  expect_same(&before, &after);
  cr_expect_eq(after.tiles, 6);
  expect_whole(f.path, 0);
  expect_reindex_agrees(f.path, "two layouts");
  /* A copy without its counterpart: the group is left alone, and only moved. */
  builder b = build(f.path, "odd.nc");
  const uint16_t m = leveled_modality(b.w, "surface", "t2m", 0, BC_LAYOUT_SERIES);
  box_piece p = whole_piece(m, 0, MARCH + DAY_S * 20, 24, 1);
  (void)put_piece(&b, &p);
  built(&b);
  (void)compact(f.path, 0);
  cr_expect_eq(read_contents(f.path, SIDE).tiles, 7);
  fixture_remove(&f);
}

typedef struct shape_case {
  const char *what;
  int n;
  box_piece p[6]; /* of one cell and month: modality, cell, bucket are set below */
  uint64_t tiles; /* after */
} shape_case;

#define T(first_, nt_)  .first = MARCH + HOUR * (first_), .nt = (nt_)
#define BOX(y, x, h, w) .y0 = (y), .x0 = (x), .ny = (h), .nx = (w)
#define ONE             .nl = 1, .levels = { 0 }

Test(compact, only_dense_unions_are_merged)
{
  const shape_case cases[] = {
    { "a gap in time is no hole",
      2,
      { { T(0, 5), BOX(0, 0, 8, 8), ONE }, { T(50, 5), BOX(0, 0, 8, 8), ONE } },
      1 },
    { "two boxes side by side",
      2,
      { { T(0, 5), BOX(0, 0, 8, 3), ONE }, { T(0, 5), BOX(0, 3, 8, 5), ONE } },
      1 },
    { "two boxes apart", 2, { { T(0, 5), BOX(0, 0, 8, 3), ONE }, { T(0, 5), BOX(0, 4, 8, 4), ONE } }, 2 },
    { "four quarters",
      4,
      { { T(0, 5), BOX(0, 0, 4, 4), ONE },
        { T(0, 5), BOX(4, 4, 4, 4), ONE },
        { T(0, 5), BOX(0, 4, 4, 4), ONE },
        { T(0, 5), BOX(4, 0, 4, 4), ONE } },
      1 },
    { "boxes of other steps",
      2,
      { { T(0, 5), BOX(0, 0, 8, 3), ONE }, { T(5, 5), BOX(0, 3, 8, 5), ONE } },
      2 },
    { "levels that come one by one",
      4,
      { { T(0, 5), BOX(0, 0, 8, 8), .nl = 1, .levels = { 1 } },
        { T(0, 5), BOX(0, 0, 8, 8), .nl = 1, .levels = { 0 } },
        { T(5, 5), BOX(0, 0, 8, 8), .nl = 1, .levels = { 0 } },
        { T(5, 5), BOX(0, 0, 8, 8), .nl = 1, .levels = { 1 } } },
      1 },
    { "a level that comes for some steps only",
      2,
      { { T(0, 5), BOX(0, 0, 8, 8), ONE }, { T(3, 5), BOX(0, 0, 8, 8), .nl = 1, .levels = { 1 } } },
      2 },
    { "steps replaced",
      3,
      { { T(0, 9), BOX(0, 0, 8, 8), ONE },
        { T(2, 3), BOX(0, 0, 8, 8), ONE },
        { T(4, 9), BOX(0, 0, 8, 8), ONE } },
      1 },
    { "a part replaced", 2, { { T(0, 9), BOX(0, 0, 8, 8), ONE }, { T(2, 3), BOX(2, 2, 3, 3), ONE } }, 1 },
    { "a part replaced that reaches over",
      2,
      { { T(0, 9), BOX(0, 0, 6, 6), ONE }, { T(2, 3), BOX(4, 4, 4, 4), ONE } },
      2 },
    { "between two alike one that covers the first and is covered",
      3,
      { { T(0, 9), BOX(0, 0, 6, 6), ONE },
        { T(0, 9), BOX(4, 4, 4, 4), ONE },
        { T(0, 9), BOX(0, 0, 6, 6), ONE } },
      3 },
    { "the same, but at other steps",
      3,
      { { T(0, 9), BOX(0, 0, 6, 6), ONE },
        { T(0, 9), BOX(4, 4, 4, 4), ONE },
        { T(9, 9), BOX(0, 0, 6, 6), ONE } },
      2 },
    { "two boxes by turns",
      6,
      { { T(0, 3), BOX(0, 0, 8, 2), ONE },
        { T(0, 3), BOX(0, 6, 8, 2), ONE },
        { T(3, 3), BOX(0, 0, 8, 2), ONE },
        { T(3, 3), BOX(0, 6, 8, 2), ONE },
        { T(6, 3), BOX(0, 0, 8, 2), ONE },
        { T(6, 3), BOX(0, 6, 8, 2), ONE } },
      2 },
    { "steps between steps",
      2,
      { { .first = MARCH, .every = 2 * HOUR, .nt = 40, BOX(0, 0, 8, 8), ONE },
        { .first = MARCH + HOUR, .every = 3 * HOUR, .nt = 30, BOX(0, 0, 8, 8), ONE } },
      1 },
  };
  for (size_t i = 0; i < BC_ARRAY_LEN(cases); i++)
    for (uint32_t seed = 0; seed < 3; seed++) {
      fixture f = fixture_make(SIDE);
      for (int k = 0; k < cases[i].n; k++) {
        builder b = build(f.path, "x.nc");
        box_piece p = cases[i].p[k];
        p.modality = leveled_modality(b.w, "surface", "z", 2, BC_LAYOUT_NONE);
        p.bucket = MARCH;
        if (p.every == 0) p.every = HOUR;
        p.seed = (seed * 6 + (uint32_t)k) * 5;
        (void)put_piece(&b, &p);
        built(&b);
      }
      const contents before = read_contents(f.path, SIDE);
      (void)compact(f.path, 0);
      const contents after = read_contents(f.path, SIDE);
      cr_expect_eq(after.tiles, cases[i].tiles, "%s: %llu tiles, expected %llu", cases[i].what,
                   (unsigned long long)after.tiles, (unsigned long long)cases[i].tiles);
      cr_assert_eq(before.hash, after.hash, "%s: values differ", cases[i].what);
      expect_reindex_agrees(f.path, cases[i].what);
      fixture_remove(&f);
    }
}

Test(compact, packed_integers_stay_integers)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  for (int d = 0; d < 20; d++) {
    builder b = build(f.path, "packed.nc");
    box_piece p = whole_piece(leveled_modality(b.w, "surface", "z", 0, BC_LAYOUT_NONE), 0, MARCH + DAY_S * d,
                              24, (uint32_t)d);
    p.packed = true;
    p.scale = 0.00173 + 1e-5 * d;
    p.add = 251.3 + d;
    if (d % 7 == 6) { /* a day of one value, and one of none */
      p.packed = false;
      p.seed = d == 6 ? 6 : 7;
    }
    (void)put_piece(&b, &p);
    built(&b);
  }
  const contents before = read_contents(f.path, SIDE);
  (void)compact(f.path, 0);
  const contents after = read_contents(f.path, SIDE);
  expect_same(&before, &after);
  cr_expect_eq(after.tiles, 1);
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  bc_tile_rec rec;
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &s, &err));
  OK(bc_snapshot_get(s, &(bc_tile_key){ 0, MARCH, 0, 0 }, &rec, &err));
  cr_expect_eq(rec.codec, BC_CODEC_LINEAR16, "codec %d", rec.codec);
  cr_expect_lt(rec.stored, rec.decoded / 3, "%llu of %llu bytes", (unsigned long long)rec.stored,
               (unsigned long long)rec.decoded);
  bc_snapshot_close(s);
  bc_store_close(st);
  fixture_remove(&f);
}

Test(compact, integers_and_floats_are_kept_apart)
{
  fixture f = fixture_make(SIDE);
  for (int d = 0; d < 6; d++) {
    builder b = build(f.path, "packed.nc");
    box_piece p = whole_piece(leveled_modality(b.w, "surface", "z", 0, BC_LAYOUT_NONE), 0, MARCH + DAY_S * d,
                              24, d % 2 == 0 ? 2 : 5);
    p.packed = d % 2 == 0;
    p.scale = 0.0173;
    p.add = 251.3;
    (void)put_piece(&b, &p);
    built(&b);
  }
  const contents before = read_contents(f.path, SIDE);
  (void)compact(f.path, 0);
  const contents after = read_contents(f.path, SIDE);
  expect_same(&before, &after);
  cr_expect_eq(after.tiles, 2, "%llu tiles", (unsigned long long)after.tiles);
  fixture_remove(&f);
}

/* ---- raw windows ---- */

Test(compact, a_raw_window_is_one_stretch)
{
  bc_err err = { 0 };
  fixture f = fixture_make(0);
  bc_store *st = NULL;
  bc_view v;
  for (int d = 0; d < 62; d += 2) {
    builder b = build(f.path, "raw.nc");
    const uint16_t t = leveled_modality(b.w, "surface", "t2m", 0, BC_LAYOUT_NONE);
    const uint16_t u = leveled_modality(b.w, "surface", "u10", 0, BC_LAYOUT_NONE);
    for (int k = 0; k < 2; k++) { /* two days at once where they are of one month */
      box_piece p = whole_piece(k == 0 ? t : u, 0, MARCH + DAY_S * d, d == 30 ? 1 : 2, (uint32_t)(d + k) * 8);
      p.every = DAY_S;
      p.ny = 5;
      p.nx = 7;
      p.mode = BC_MODE_RAW;
      (void)put_piece(&b, &p);
      if (d != 30) continue;
      p.first += DAY_S;
      p.bucket = APRIL;
      (void)put_piece(&b, &p);
    }
    built(&b);
  }
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_view_open(st, "t2m", MARCH, 60, &v, &err));
  cr_expect_eq(v.stride[0], 0, "in many segments");
  float *want = malloc(60 * 35 * sizeof *want);
  for (int i = 0; i < 60; i++)
    memcpy(want + i * 35, v.step[i], 35 * sizeof *want);
  bc_view_release(&v);
  bc_store_close(st);
  (void)compact(f.path, 0);
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_view_open(st, "t2m", MARCH, 60, &v, &err));
  cr_expect_eq(v.stride[0], 192, "stride %lld", (long long)v.stride[0]); /* 35 x 4, to the next 64 */
  for (int i = 0; i < 60; i++)
    cr_assert_eq(memcmp(want + i * 35, v.step[i], 35 * sizeof *want), 0, "step %d", i);
  bc_view_release(&v);
  bc_store_close(st);
  free(want);
  expect_reindex_agrees(f.path, "raw");
  fixture_remove(&f);
}

/* ---- space ---- */

Test(compact, equal_tiles_stay_stored_once)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  for (int d = 0; d < 4; d++) {
    builder b = build(f.path, "twice.nc");
    const uint16_t m[2] = { leveled_modality(b.w, "surface", "t2m", 0, BC_LAYOUT_NONE),
                            leveled_modality(b.w, "climate", "t2m", 0, BC_LAYOUT_NONE) };
    for (int g = 0; g < 2; g++)
      for (uint32_t c = 0; c < 3; c++) {
        /* cell 2: one piece, which is copied; the others are merged */
        box_piece p =
            whole_piece(m[g], c, MARCH + DAY_S * (c == 2 ? 0 : d), 24, c == 2 ? 16 : (uint32_t)d * 8);
        if (c != 2 || d == 0) (void)put_piece(&b, &p);
      }
    built(&b);
  }
  const contents before = read_contents(f.path, SIDE);
  (void)compact(f.path, 0);
  const contents after = read_contents(f.path, SIDE);
  expect_same(&before, &after);
  cr_expect_eq(after.tiles, 6);
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &s, &err));
  for (uint32_t c = 0; c < 3; c++) {
    bc_tile_rec a, b;
    OK(bc_snapshot_get(s, &(bc_tile_key){ c, MARCH, 0, 0 }, &a, &err));
    OK(bc_snapshot_get(s, &(bc_tile_key){ c, MARCH, 1, 0 }, &b, &err));
    cr_expect(a.segment == b.segment && a.offset == b.offset, "cell %u", c);
  }
  bc_snapshot_close(s);
  bc_store_close(st);
  expect_reindex_agrees(f.path, "twins");
  fixture_remove(&f);
}

Test(compact, superseded_space_comes_back)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  for (int round = 0; round < 2; round++) {
    builder b = build(f.path, round == 0 ? "old.nc" : "new.nc");
    const uint16_t m = leveled_modality(b.w, "surface", "t2m", 0, BC_LAYOUT_NONE);
    for (uint32_t c = 0; c < 20; c++) {
      if (round == 1 && c < 8) OK(bc_writer_drop(b.w, &(bc_tile_key){ c, MARCH, m, 0 }, &err));
      box_piece p = whole_piece(m, c, MARCH, 48, c * 8);
      if (round == 0) (void)put_piece(&b, &p);
    }
    built(&b);
  }
  const contents before = read_contents(f.path, SIDE);
  const bc_compact_report r =
      compact(f.path, 2000); /* both are large by that measure: dead space is the reason */
  cr_expect_eq(r.moved, 12);
  const contents after = read_contents(f.path, SIDE);
  expect_same(&before, &after);
  expect_whole(f.path, 0);
  expect_reindex_agrees(f.path, "dead space");
  cr_expect_lt(r.bytes_after, r.bytes_before * 3 / 4, "%llu of %llu", (unsigned long long)r.bytes_after,
               (unsigned long long)r.bytes_before);
  fixture_remove(&f);
}

/* ---- many rounds of everything ---- */

static uint32_t next_random(uint32_t *state)
{
  *state = mix(*state + 0x9e3779b9u);
  return *state;
}

/* A commit of random pieces and drops; what a drop takes is what an ingest with --replace would. */
static void random_commit(const char *path, uint32_t *rnd, int round)
{
  bc_err err = { 0 };
  static const char *const groups[3] = { "surface", "climate", "surface" }, *const names[3] = { "t2m", "t2m",
                                                                                                "z" };
  char name[32];
  (void)snprintf(name, sizeof name, "r%d.nc", round);
  builder b = build(path, name);
  for (uint32_t n = 1 + next_random(rnd) % 6; n > 0; n--) {
    const uint32_t v = next_random(rnd) % 3;
    const bc_layout second = v == 2 ? BC_LAYOUT_SERIES : BC_LAYOUT_NONE;
    const uint16_t m = leveled_modality(b.w, groups[v], names[v], v == 2 ? 3 : 0, second);
    box_piece p = whole_piece(m, next_random(rnd) % 3, MARCH + DAY_S * (next_random(rnd) % 40),
                              1 + next_random(rnd) % 24, next_random(rnd) % 64);
    p.second = v == 2;
    if (v == 2) {
      p.nl = 1 + next_random(rnd) % 2;
      p.levels[0] = (uint16_t)(next_random(rnd) % 2);
      p.levels[1] = (uint16_t)(p.levels[0] + 1);
    }
    if (next_random(rnd) % 4 == 0) {
      p.y0 = next_random(rnd) % 4;
      p.ny = 1 + next_random(rnd) % (SIDE - p.y0);
    }
    p.mode = next_random(rnd) % 4 == 0 ? BC_MODE_RAW : BC_MODE_AUTO;
    const uint16_t part = put_piece(&b, &p);
    for (uint16_t k = 0; k < part && next_random(rnd) % 3 == 0; k++) { /* earlier pieces are superseded */
      bc_tile_key key = { p.cell, p.bucket, m, (uint16_t)(next_random(rnd) % part) };
      if (bc_writer_is_pending(b.w, &key)) continue;
      OK(bc_writer_drop(b.w, &key, &err));
      key.part |= BC_PART_SECOND;
      if (p.second) OK(bc_writer_drop(b.w, &key, &err));
    }
  }
  built(&b);
}

/* Statistics are those of the values in force, however many pieces hide each other. */
static void expect_statistics(const char *path, const contents *want)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  OK(bc_store_open(path, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &s, &err));
  for (size_t m = 0; m < bc_snapshot_modalities(s); m++) {
    bc_usage u[MOST_L];
    OK(bc_snapshot_level_usage(s, (uint16_t)m, u, MOST_L, NULL, &err));
    for (int l = 0; l < MOST_L; l++) {
      const in_force *f = &want->levels[m][l];
      cr_assert_eq(u[l].n_valid, f->valid, "variable %zu, level %d", m, l);
      cr_assert_eq(u[l].n_missing, f->missing);
      cr_assert_eq(u[l].n_absent, f->absent);
      if (f->valid == 0) continue;
      cr_assert(u[l].min == f->min && u[l].max == f->max);
      cr_assert(fabs(u[l].sum - f->sum) <= 1e-9 * fabs(f->sum) + 1e-9, "%.17g, not %.17g", u[l].sum, f->sum);
    }
  }
  bc_snapshot_close(s);
  bc_store_close(st);
}

static void many_rounds(uint32_t seed)
{
  fixture f = fixture_make(SIDE);
  uint32_t rnd = seed;
  int round = 0;
  uint64_t commits = 0;
  for (int i = 0; i < 12; i++) {
    for (uint32_t n = 1 + next_random(&rnd) % 5; n > 0; n--)
      random_commit(f.path, &rnd, round++);
    const uint64_t sizes[5] = { 500, 3000, 10000, 40000, 0 };
    const contents before = read_contents(f.path, SIDE);
    expect_statistics(f.path, &before);
    const bc_compact_report r = compact(f.path, sizes[next_random(&rnd) % 5]);
    expect_statistics(f.path, &before);
    const contents after = read_contents(f.path, SIDE);
    commits += r.commits;
    cr_assert_eq(before.hash, after.hash, "seed %u, round %d: values differ", seed, i);
    cr_assert_eq(before.values, after.values);
    cr_expect_eq(r.damaged, 0);
    expect_whole(f.path, 0);
    if (i % 2 == 0) expect_reindex_agrees(f.path, "random");
  }
  expect_reindex_agrees(f.path, "at the end");
  cr_expect_geq(commits, 8);
  fixture_remove(&f);
}

Test(compact, random_stores_1) { many_rounds(1); }
Test(compact, random_stores_2) { many_rounds(20); }
Test(compact, random_stores_3) { many_rounds(300); }
Test(compact, random_stores_4) { many_rounds(4000); }

/* ---- faults ---- */

typedef struct fault_ctx {
  int at, n;
  bool kill;
} fault_ctx;

static int fail_nth(void *ctx, bc_fault_op op)
{
  fault_ctx *c = ctx;
  if (op == BC_FAULT_ALLOC) return 0;
  if (c->n++ != c->at) return 0;
  if (c->kill) _exit(99);
  return 28; /* ENOSPC */
}

static void make_faulty(const char *path)
{
  uint32_t rnd = 77;
  fill_days(path, 2, 4, BC_LAYOUT_NONE);
  for (int i = 0; i < 4; i++)
    random_commit(path, &rnd, i);
}

static bc_status compact_with_fault(const char *path, fault_ctx *c)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_compact_report rep;
  const bc_compact_opts o = { .segment_bytes = 6000, .memory = 64 << 20 };
  OK(bc_store_open(path, BC_OPEN_WRITE, &st, &err));
  bc_os_set_fault(fail_nth, c);
  const bc_status got = bc_store_compact(st, &o, NULL, &rep, &err);
  bc_os_set_fault(NULL, NULL);
  bc_store_close(st);
  return got;
}

static void copy_store(const char *from, const char *to)
{
  char line[400];
  bc_os_remove_tree(to);
  (void)snprintf(line, sizeof line, "cp -r %s %s", from, to);
  cr_assert_eq(system(line), 0);
}

static void check_after_fault(const char *path, const contents *want, int at)
{
  const contents half = read_contents(path, SIDE);
  cr_assert_eq(half.hash, want->hash, "fault %d: values differ", at);
  expect_whole(path, UINT64_MAX);
  if (at % 4 == 0) {
    bc_err err = { 0 };
    bc_store *st = NULL;
    bc_writer *w = NULL; /* finishes a commit whose segment was published */
    OK(bc_store_open(path, BC_OPEN_WRITE, &st, &err));
    OK(bc_writer_open(st, &w, &err));
    bc_writer_close(w);
    bc_store_close(st);
    expect_reindex_agrees(path, "after a fault");
  }
  (void)compact(path, 6000);
  const contents after = read_contents(path, SIDE);
  cr_assert_eq(after.hash, want->hash, "fault %d: values differ after the second run", at);
  expect_whole(path, 0);
  if (at % 4 == 1) expect_reindex_agrees(path, "after the second run");
}

Test(compact, every_fault_leaves_a_whole_store, .timeout = 300)
{
  fixture f = fixture_make(SIDE);
  char copy[120];
  (void)snprintf(copy, sizeof copy, "%s/copy.bcube", f.dir);
  make_faulty(f.path);
  const contents want = read_contents(f.path, SIDE);
  int failures = 0;
  for (int at = 0; at < 2000; at++) {
    copy_store(f.path, copy);
    fault_ctx c = { .at = at };
    const bc_status got = compact_with_fault(copy, &c);
    failures += got != BC_OK;
    if (c.n <= at) break;
    check_after_fault(copy, &want, at);
  }
  (void)fprintf(stderr, "compact: %d faults survived\n", failures);
  cr_expect_geq(failures, 40, "only %d faults", failures);
  fixture_remove(&f);
}

Test(compact, every_kill_leaves_a_whole_store, .timeout = 300)
{
  fixture f = fixture_make(SIDE);
  char copy[120];
  int kills = 0;
  (void)snprintf(copy, sizeof copy, "%s/copy.bcube", f.dir);
  make_faulty(f.path);
  const contents want = read_contents(f.path, SIDE);
  for (int at = 0; at < 2000; at++) {
    copy_store(f.path, copy);
    const pid_t pid = fork();
    if (pid == 0) {
      fault_ctx c = { .at = at, .kill = true };
      _exit(compact_with_fault(copy, &c) == BC_OK ? 0 : 1);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) == 0) break;
    cr_assert_eq(WEXITSTATUS(status), 99);
    kills++;
    check_after_fault(copy, &want, at);
  }
  (void)fprintf(stderr, "compact: %d kills survived\n", kills);
  cr_expect_geq(kills, 40, "only %d kills", kills);
  fixture_remove(&f);
}

typedef struct short_memory {
  int at, n;
} short_memory;

static bool fail_alloc(void *ctx)
{
  short_memory *c = ctx;
  return c->n++ == c->at;
}

Test(compact, survives_short_memory, .timeout = 300)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  char copy[120];
  int failures = 0;
  (void)snprintf(copy, sizeof copy, "%s/copy.bcube", f.dir);
  make_faulty(f.path);
  const contents want = read_contents(f.path, SIDE);
  bool done = false;
  for (int at = 0; !done && at < 20000; at += 1 + at / 20) {
    bc_store *st = NULL;
    bc_compact_report rep;
    short_memory c = { at, 0 };
    const bc_compact_opts o = { .segment_bytes = 6000, .memory = 64 << 20 };
    copy_store(f.path, copy);
    OK(bc_store_open(copy, BC_OPEN_WRITE, &st, &err));
    bc_alloc_set_hook(fail_alloc, &c);
    const bc_status got = bc_store_compact(st, &o, NULL, &rep, &err);
    bc_alloc_set_hook(NULL, NULL);
    bc_store_close(st);
    cr_expect(got == BC_OK || got == BC_E_NOMEM, "allocation %d: %s: %s", at, bc_status_name(got), err.msg);
    done = c.n <= at;
    failures += got != BC_OK;
    const contents after = read_contents(copy, SIDE);
    cr_assert_eq(after.hash, want.hash, "allocation %d: values differ", at);
  }
  cr_expect_geq(failures, 50, "only %d failures", failures);
  fixture_remove(&f);
}

/* ---- leftovers ---- */

Test(compact, only_retired_files_are_removed)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  char from[200], to[200], line[420];
  struct stat sb;
  fill_days(f.path, 2, 5, BC_LAYOUT_NONE);
  (void)snprintf(line, sizeof line, "cp %s/segments/0000000002.seg %s/kept", f.path, f.dir);
  cr_assert_eq(system(line), 0);
  (void)compact(f.path, 0);
  /* 2 is back, as if its removal had failed; 3 was being written when somebody was killed */
  (void)snprintf(from, sizeof from, "%s/kept", f.dir);
  (void)snprintf(to, sizeof to, "%s/segments/0000000002.seg", f.path);
  cr_assert_eq(rename(from, to), 0);
  (void)snprintf(line, sizeof line, "touch %s/segments/0000000003.seg.tmp-1-2 %s/segments/note.txt", f.path,
                 f.path);
  cr_assert_eq(system(line), 0);
  const bc_compact_report r = compact(f.path, 0);
  cr_expect_eq(r.leftovers, 1);
  (void)snprintf(from, sizeof from, "%s/segments/0000000003.seg.tmp-1-2", f.path);
  cr_expect_neq(stat(from, &sb), 0);
  cr_expect_neq(stat(to, &sb), 0);
  /* An index without the segment that holds everything: its file stays whatever else is done. */
  bc_store *st = NULL;
  bc_txn *t = NULL;
  uint8_t key[4];
  bc_put_be32(key, 6);
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  OK(bc_txn_begin(st->ix, true, &t, &err));
  OK(bc_txn_del(t, BC_TABLE_SEGMENTS, (bc_bytes){ key, 4 }, &err));
  OK(bc_txn_commit(t, &err));
  bc_compact_report rep;
  FAILS(BC_E_CORRUPT, bc_store_compact(st, NULL, NULL, &rep, &err));
  cr_expect_not_null(strstr(err.msg, "reindex"), "%s", err.msg);
  bc_store_close(st);
  (void)snprintf(to, sizeof to, "%s/segments/0000000006.seg", f.path);
  cr_expect_eq(stat(to, &sb), 0);
  fixture_remove(&f);
}

Test(compact, an_index_that_lost_a_tile_is_refused)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  bc_store *st = NULL;
  bc_txn *t = NULL;
  bc_compact_report rep;
  fill_days(f.path, 2, 3, BC_LAYOUT_NONE);
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  OK(bc_txn_begin(st->ix, true, &t, &err));
  OK(bc_txn_tile_del(t, &(bc_tile_key){ 1, MARCH, 0, 1 }, &err));
  OK(bc_txn_commit(t, &err));
  FAILS(BC_E_CORRUPT, bc_store_compact(st, NULL, NULL, &rep, &err));
  bc_store_close(st);
  fixture_remove(&f);
}

Test(compact, damage_stays_where_it_is)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  char path[200];
  bc_verify_report v;
  bc_store *st = NULL;
  fill_days(f.path, 3, 4, BC_LAYOUT_NONE);
  (void)snprintf(path, sizeof path, "%s/segments/0000000002.seg", f.path);
  FILE *fp = fopen(path, "r+b");
  (void)fseek(fp, 70, SEEK_SET); /* in the first payload: cell 0 */
  const int old = fgetc(fp);
  (void)fseek(fp, 70, SEEK_SET);
  (void)fputc(old ^ 1, fp);
  (void)fclose(fp);
  const bc_compact_report r = compact(f.path, 0);
  cr_expect_geq(r.damaged, 1);
  cr_expect_eq(r.made, 2, "the other two cells are merged");
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_store_verify(st, true, NULL, NULL, NULL, &v, &err));
  cr_expect_eq(v.damaged, 1, "as before: neither hidden nor spread");
  cr_expect_eq(v.segments, 5, "%llu segments", (unsigned long long)v.segments);
  bc_store_close(st);
  fixture_remove(&f);
}

Test(compact, refuses_by_name)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  bc_store *st = NULL;
  bc_compact_report rep;
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  FAILS(BC_E_READONLY, bc_store_compact(st, NULL, NULL, &rep, &err));
  bc_store_close(st);
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  FAILS(BC_E_BUDGET, bc_store_compact(st, &(bc_compact_opts){ .memory = 1000 }, NULL, &rep, &err));
  OK(bc_store_compact(st, NULL, NULL, &rep, &err));
  cr_expect_eq(rep.commits, 0);
  bc_store_close(st);
  fixture_remove(&f);
}

static bool stop_at_once(void *ctx) { return ++*(int *)ctx > 3; }

Test(compact, can_be_interrupted)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  bc_store *st = NULL;
  bc_compact_report rep;
  int asked = 0;
  fill_days(f.path, 8, 3, BC_LAYOUT_NONE);
  const contents before = read_contents(f.path, SIDE);
  const bc_progress p = { .cancelled = stop_at_once, .ctx = &asked };
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  FAILS(BC_E_CANCELLED, bc_store_compact(st, NULL, &p, &rep, &err));
  bc_store_close(st);
  const contents after = read_contents(f.path, SIDE);
  expect_same(&before, &after);
  fixture_remove(&f);
}

/* ---- readers ---- */

static uint64_t ask(bc_store *st)
{
  bc_err err = { 0 };
  bc_query *q = NULL;
  bc_query_cost cost;
  bc_select sel;
  bc_select_init(&sel);
  OK(bc_select_add_vars(&sel, "t2m", &err));
  OK(bc_query_open(st, &sel, NULL, &q, &err));
  bc_query_get_cost(q, -1, &cost);
  void *v = malloc(cost.output_bytes);
  OK(bc_query_read(q, 0, v, cost.output_bytes, &err));
  const uint64_t h = bc_hash64(v, cost.output_bytes);
  free(v);
  bc_query_close(q);
  bc_select_dispose(&sel);
  return h;
}

Test(compact, a_reader_goes_on_with_what_it_has_open)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  bc_store *st = NULL;
  bc_query *q = NULL;
  bc_query_cost cost;
  bc_select sel;
  bc_snapshot *old = NULL;
  fill_days(f.path, 3, 8, BC_LAYOUT_NONE);
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  const uint64_t want = ask(st);
  bc_store_close(st);
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  bc_select_init(&sel);
  OK(bc_select_add_vars(&sel, "t2m", &err));
  OK(bc_query_open(st, &sel, NULL, &q, &err));
  (void)compact(f.path, 0);
  bc_query_get_cost(q, -1, &cost);
  void *v = malloc(cost.output_bytes);
  OK(bc_query_read(q, 0, v, cost.output_bytes, &err));
  cr_expect_eq(bc_hash64(v, cost.output_bytes), want, "planned before, read after");
  cr_expect_eq(ask(st), want, "planned after");
  free(v);
  bc_query_close(q);
  bc_select_dispose(&sel);
  bc_store_close(st);
  /* A snapshot from before, whose segments are gone. */
  fill_days(f.path, 3, 9, BC_LAYOUT_NONE);
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &old, &err));
  (void)compact(f.path, 0);
  bc_tile_rec rec;
  bc_tile t;
  const bc_tile_key k = { 0, MARCH, 0, 0 };
  OK(bc_snapshot_get(old, &k, &rec, &err));
  const bc_status got = bc_snapshot_tile(old, &k, &rec, &t, &err);
  cr_expect(bc_is_stale(got, &err), "%s", err.msg);
  bc_verify_report rep;
  OK(bc_store_verify(st, true, NULL, NULL, NULL, &rep, &err));
  bc_snapshot_close(old);
  bc_store_close(st);
  fixture_remove(&f);
}

Test(compact, a_segment_that_is_missing_is_named)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  bc_store *st = NULL;
  bc_query *q = NULL;
  bc_select sel;
  char path[200];
  fill_days(f.path, 3, 2, BC_LAYOUT_NONE);
  (void)snprintf(path, sizeof path, "%s/segments/0000000002.seg", f.path);
  cr_assert_eq(unlink(path), 0);
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  bc_select_init(&sel);
  OK(bc_select_add_vars(&sel, "t2m", &err));
  FAILS(BC_E_CORRUPT, bc_query_open(st, &sel, NULL, &q, &err));
  cr_expect_not_null(strstr(err.msg, "segment 2: its file is missing: run bctool verify"), "%s", err.msg);
  bc_select_dispose(&sel);
  bc_store_close(st);
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  bc_compact_report rep;
  OK(bc_store_compact(st, NULL, NULL, &rep, &err));
  cr_expect_geq(rep.damaged, 1);
  bc_store_close(st);
  fixture_remove(&f);
}

/* One process compacts again and again while another asks. */
Test(compact, readers_and_a_compactor_together, .timeout = 120)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  bc_store *st = NULL;
  fill_days(f.path, 4, 6, BC_LAYOUT_NONE);
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  const uint64_t want = ask(st);
  bc_store_close(st);
  const pid_t pid = fork();
  if (pid == 0) {
    for (int i = 0; i < 15; i++) {
      builder b = build(f.path, "other.nc"); /* another variable: the answer stays */
      const uint16_t m = leveled_modality(b.w, "surface", "z", 0, BC_LAYOUT_NONE);
      for (uint32_t c = 0; c < 4; c++) {
        const box_piece p = whole_piece(m, c, MARCH + DAY_S * i, 24, (uint32_t)i);
        (void)put_piece(&b, &p);
      }
      built(&b);
      (void)compact(f.path, 2000);
      (void)compact(f.path, 0);
    }
    _exit(0);
  }
  int status = 0, asked = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
    cr_assert_eq(ask(st), want);
    bc_store_close(st);
    asked++;
  }
  cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  cr_expect_gt(asked, 10);
  fixture_remove(&f);
}
