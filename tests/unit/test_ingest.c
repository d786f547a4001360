/* Files into a store: pieces, overlaps, conflicts, replacing, interruption, threads, memory. Values are
 * checked tile by tile against the function that made them. */
#include <criterion/criterion.h>
#include <netcdf.h>

#include "ingest/ingest.h"
#include "tests/unit/store_fixture.h"

#define NC(expr) cr_assert_eq((expr), NC_NOERR, "%s", #expr)
#define MARCH    INT64_C(1551398400) /* 2019-03-01 */
#define HOUR     3600

enum { NY = 12, NX = 16 };

/* Value of hour h since MARCH at row y (from 40 N), column x (from 10 W); 16-bit quantised as GRIB does. */
static float truth(int64_t h, int y, int x, float add)
{
  return 270.0f + (float)((h * 37 + y * 101 + x * 7 + (int64_t)y * x) % 4096) * 0.0078125f + add;
}

/* nt hours from h0 of one variable, 2.5 degree nodes from 40 N, 10 W. */
static void make_file(const char *path, const char *var, int64_t h0, int nt, float add)
{
  int nc, dt, dy, dx, vt, vy, vx, v;
  double lat[NY], lon[NX];
  for (int i = 0; i < NY; i++)
    lat[i] = 40 - 2.5 * i;
  for (int i = 0; i < NX; i++)
    lon[i] = -10 + 2.5 * i;
  NC(nc_create(path, NC_NETCDF4 | NC_CLOBBER, &nc));
  NC(nc_def_dim(nc, "valid_time", (size_t)nt, &dt));
  NC(nc_def_dim(nc, "latitude", NY, &dy));
  NC(nc_def_dim(nc, "longitude", NX, &dx));
  NC(nc_def_var(nc, "valid_time", NC_INT64, 1, &dt, &vt));
  NC(nc_put_att_text(nc, vt, "units", 25, "seconds since 1970-01-01 "));
  NC(nc_def_var(nc, "latitude", NC_DOUBLE, 1, &dy, &vy));
  NC(nc_put_att_text(nc, vy, "units", 13, "degrees_north"));
  NC(nc_def_var(nc, "longitude", NC_DOUBLE, 1, &dx, &vx));
  NC(nc_put_att_text(nc, vx, "units", 12, "degrees_east"));
  NC(nc_def_var(nc, var, NC_FLOAT, 3, (int[]){ dt, dy, dx }, &v));
  NC(nc_put_att_text(nc, v, "units", 1, "K"));
  NC(nc_enddef(nc));
  NC(nc_put_var_double(nc, vy, lat));
  NC(nc_put_var_double(nc, vx, lon));
  for (int t = 0; t < nt; t++) {
    float plane[NY][NX];
    const long long when = MARCH + (h0 + t) * HOUR;
    for (int y = 0; y < NY; y++)
      for (int x = 0; x < NX; x++)
        plane[y][x] = truth(h0 + t, y, x, add);
    NC(nc_put_var1_longlong(nc, vt, &(size_t){ (size_t)t }, &when));
    NC(nc_put_vara_float(nc, v, (size_t[]){ (size_t)t, 0, 0 }, (size_t[]){ 1, NY, NX }, &plane[0][0]));
  }
  NC(nc_close(nc));
}

static bc_status ingest(const char *store, const char *const *paths, size_t n, const bc_ingest_opts *o,
                        bc_ingest_report *rep, bc_err *out)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  OK(bc_store_open(store, BC_OPEN_WRITE, &st, &err));
  const bc_status s = bc_ingest_netcdf(st, paths, n, o, rep, out);
  bc_store_close(st);
  return s;
}

typedef struct looked {
  bc_snapshot *s;
  bc_decoder *d;
  float add;
  int64_t h_min, h_max;
  size_t values, tiles, wrong;
  bool second;
} looked;

/* Every value of a tile is truth; t2m of the later half may have been replaced: add tells. */
static bc_status look(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  looked *l = ctx;
  bc_tile t;
  uint32_t cy, cx;
  if (((key->part & BC_PART_SECOND) != 0) != l->second) return BC_OK;
  BC_RET(bc_snapshot_tile(l->s, key, rec, &t, err));
  const bc_grid *g = bc_snapshot_grid(l->s, 0);
  bc_cell_position(key->cell, &cy, &cx);
  l->tiles++;
  for (uint32_t b = 0; b < t.head.n_blocks; b++) {
    bc_block_place at;
    bc_tile_block(&t.head, b, &at);
    float *v = malloc((size_t)at.nt * at.ny * at.nx * sizeof *v);
    BC_RET(bc_tile_read(l->d, &t.head, t.payload, b, (bc_pick){ 0, at.nt, 1 }, (bc_pick){ 0, at.ny, 1 },
                        (bc_pick){ 0, at.nx, 1 }, v, (ptrdiff_t)(at.ny * at.nx * 4), (ptrdiff_t)(at.nx * 4),
                        err));
    for (uint32_t i = 0; i < at.nt * at.ny * at.nx; i++) {
      const uint32_t st = at.t0 + i / (at.ny * at.nx), y = i / at.nx % at.ny + at.y0, x = i % at.nx + at.x0;
      const int64_t h = (bc_tile_time(&t.head, st) - MARCH) / HOUR;
      const double lat = bc_grid_y(g, (int64_t)cy * g->cell + t.head.y0 + y);
      const double lon = bc_grid_x(g, (int64_t)cx * g->cell + t.head.x0 + x);
      if (h < l->h_min || h >= l->h_max) continue;
      if (v[i] != truth(h, (int)((40 - lat) / 2.5), (int)((lon + 10) / 2.5), l->add)) l->wrong++;
      l->values++;
    }
    free(v);
  }
  bc_tile_close(&t);
  return BC_OK;
}

static looked check(const char *store, int64_t h_min, int64_t h_max, float add, bool second)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  looked l = { .add = add, .h_min = h_min, .h_max = h_max, .second = second };
  bc_verify_report rep;
  OK(bc_store_open(store, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &l.s, &err));
  OK(bc_decoder_open(&l.d, &err));
  for (uint16_t m = 0; m < bc_snapshot_modalities(l.s); m++)
    for (uint32_t cell = 0; cell < 4096; cell++)
      OK(bc_snapshot_scan(l.s, cell, INT64_MIN, INT64_MAX, &m, 1, look, &l, &err));
  bc_decoder_close(l.d);
  bc_snapshot_close(l.s);
  OK(bc_store_verify(st, true, NULL, NULL, NULL, &rep, &err));
  cr_assert_eq(rep.damaged, 0);
  bc_store_close(st);
  return l;
}

/* A path in the fixture's folder; good until eight more were asked for. */
static const char *in(const fixture *f, const char *name)
{
  static char paths[8][128];
  static unsigned next;
  char *p = paths[next++ % BC_ARRAY_LEN(paths)];
  (void)snprintf(p, sizeof paths[0], "%s/%s", f->dir, name);
  return p;
}

Test(ingest, files_of_one_month_become_one_tile_each_cell)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_ingest_opts o;
  bc_ingest_report rep;
  const char *paths[3] = { in(&f, "a.nc"), in(&f, "b.nc"), in(&f, "c.nc") };
  bc_ingest_opts_init(&o);
  make_file(paths[0], "t2m", 48, 24, 0); /* out of order */
  make_file(paths[1], "t2m", 0, 24, 0);
  make_file(paths[2], "t2m", 24, 24, 0);
  OK(ingest(f.path, paths, 3, &o, &rep, &err));
  cr_expect_eq(rep.files, 3);
  cr_expect_eq(rep.steps, 72);
  const looked l = check(f.path, 0, 72, 0, false);
  cr_expect_eq(l.values, 72u * NY * NX);
  cr_expect_eq(l.wrong, 0);
  cr_expect_eq(rep.tiles, l.tiles);
  cr_expect_leq(l.tiles, 9, "one tile for each of the cells, not one for each file");
  OK(ingest(f.path, paths, 3, &o, &rep, &err));
  cr_expect_eq(rep.files_skipped, 3);
  cr_expect_eq(rep.tiles, 0);
  fixture_remove(&f);
}

Test(ingest, overlaps_add_nothing_conflicts_are_refused_replace_wins)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_ingest_opts o;
  bc_ingest_report rep;
  const char *a = in(&f, "a.nc"), *b = in(&f, "b.nc"), *c = in(&f, "c.nc");
  bc_ingest_opts_init(&o);
  make_file(a, "t2m", 0, 30, 0);
  make_file(b, "t2m", 20, 30, 0); /* ten hours again, equal */
  make_file(c, "t2m", 40, 20, 1); /* ten hours again, other values */
  OK(ingest(f.path, &a, 1, &o, &rep, &err));
  OK(ingest(f.path, &b, 1, &o, &rep, &err));
  cr_expect_eq(rep.steps_equal, 10);
  cr_expect_eq(rep.steps, 20);
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &s, &err));
  const uint64_t before = bc_snapshot_id(s);
  bc_snapshot_close(s);
  FAILS(BC_E_CONFLICT, ingest(f.path, &c, 1, &o, &rep, &err));
  cr_expect_not_null(strstr(err.msg, "--replace"), "%s", err.msg);
  OK(bc_snapshot_open(st, &s, &err));
  cr_expect_eq(bc_snapshot_id(s), before, "a refused file leaves the store as it was");
  cr_expect_eq(bc_snapshot_source_limit(s), 2);
  bc_snapshot_close(s);
  bc_store_close(st);
  looked l = check(f.path, 0, 50, 0, false);
  cr_expect_eq(l.wrong, 0);
  o.replace = true;
  OK(ingest(f.path, &c, 1, &o, &rep, &err));
  cr_expect_eq(rep.steps, 20);
  l = check(f.path, 50, 60, 1, false);
  cr_expect_eq(l.values, 10u * NY * NX);
  cr_expect_eq(l.wrong, 0);
  o.replace = false;
  FAILS(BC_E_CONFLICT,
        ingest(f.path, &b, 1, &o, &rep, &err)); /* its values were replaced: it is no longer in */
  OK(ingest(f.path, &a, 1, &o, &rep, &err));
  cr_expect_eq(rep.files_skipped, 1, "untouched");
  fixture_remove(&f);
}

Test(ingest, replacing_a_whole_file_drops_the_old_tiles)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_ingest_opts o;
  bc_ingest_report rep;
  const char *a = in(&f, "a.nc"), *b = in(&f, "b.nc");
  bc_ingest_opts_init(&o);
  o.layout = "map+series";
  make_file(a, "t2m", 0, 24, 0);
  make_file(b, "t2m", 0, 24, 2);
  OK(ingest(f.path, &a, 1, &o, &rep, &err));
  looked l = check(f.path, 0, 24, 0, true);
  cr_expect(l.wrong == 0 && l.values == 24u * NY * NX, "the second copy is whole");
  o.replace = true;
  OK(ingest(f.path, &b, 1, &o, &rep, &err));
  for (int second = 0; second < 2; second++) {
    l = check(f.path, 0, 24, 2, second == 1);
    cr_expect_eq(l.wrong, 0);
    cr_expect_eq(l.values, 24u * NY * NX, "nothing of the old tiles is left");
  }
  fixture_remove(&f);
}

Test(ingest, a_bad_file_among_good_ones)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_ingest_opts o;
  bc_ingest_report rep;
  const char *paths[3] = { in(&f, "a.nc"), in(&f, "bad.nc"), in(&f, "c.nc") };
  bc_ingest_opts_init(&o);
  make_file(paths[0], "t2m", 0, 24, 0);
  make_file(paths[2], "t2m", 24, 24, 0);
  FILE *fp = fopen(paths[1], "wb");
  (void)fputs("this is no netCDF", fp);
  (void)fclose(fp);
  FAILS(BC_E_UNSUPPORTED, ingest(f.path, paths, 3, &o, &rep, &err));
  cr_expect_not_null(strstr(err.msg, "bad.nc"), "%s", err.msg);
  cr_expect_eq(rep.files, 1, "the one before it is in");
  looked l = check(f.path, 0, 48, 0, false);
  cr_expect_eq(l.values, 24u * NY * NX);
  o.keep_going = true;
  FAILS(BC_E_UNSUPPORTED, ingest(f.path, paths, 3, &o, &rep, &err));
  cr_expect_eq(rep.files_skipped, 1);
  cr_expect_eq(rep.files, 1);
  cr_expect_eq(rep.files_refused, 1);
  l = check(f.path, 0, 48, 0, false);
  cr_expect_eq(l.values, 48u * NY * NX);
  cr_expect_eq(l.wrong, 0);
  const char *gone = in(&f, "gone.nc");
  FAILS(BC_E_NOTFOUND, ingest(f.path, &gone, 1, &o, &rep, &err));
  const char *folder = f.dir;
  FAILS(BC_E_INVAL, ingest(f.path, &folder, 1, &o, &rep, &err));
  fixture_remove(&f);
}

static bool after_n(void *ctx) { return --*(int *)ctx < 0; }

Test(ingest, an_interrupted_run_goes_on_and_ends_the_same)
{
  bc_err err = { 0 };
  bc_ingest_opts o;
  bc_ingest_report rep;
  fixture whole = fixture_make(8);
  const char *a = in(&whole, "a.nc");
  make_file(a, "t2m", 0, 700, 0);
  bc_ingest_opts_init(&o);
  OK(ingest(whole.path, &a, 1, &o, &rep, &err));
  const looked want = check(whole.path, 0, 700, 0, false);
  for (int n = 0; n < 6; n++) {
    fixture f = fixture_make(8);
    int left = n;
    bc_ingest_opts_init(&o);
    o.progress = (bc_progress){ .cancelled = after_n, .ctx = &left };
    const bc_status st = ingest(f.path, &a, 1, &o, &rep, &err);
    cr_expect(st == BC_E_CANCELLED || (n > 0 && st == BC_OK), "%d: %s", n, bc_status_name(st));
    o.progress.cancelled = NULL;
    OK(ingest(f.path, &a, 1, &o, &rep, &err));
    const looked got = check(f.path, 0, 700, 0, false);
    cr_expect(got.values == want.values && got.wrong == 0 && got.tiles == want.tiles);
    fixture_remove(&f);
  }
  fixture_remove(&whole);
}

static bool fail_one(void *ctx)
{
  int *left = ctx;
  return (*left)-- == 0;
}

/* Memory runs out once, somewhere: what was gathered then is not half committed, and the same command ends
 * with all of it. */
Test(ingest, a_failed_flush_commits_nothing_of_it)
{
  bc_err err = { 0 };
  bc_ingest_opts o;
  bc_ingest_report rep;
  int failures = 0;
  fixture files = fixture_make(8);
  const char *paths[2] = { in(&files, "a.nc"), in(&files, "b.nc") };
  make_file(paths[0], "t2m", 0, 300, 0);
  make_file(paths[1], "t2m", 300, 300, 0);
  for (int n = 60; n < 900; n += 17) {
    fixture f = fixture_make(8);
    int left = n;
    bc_ingest_opts_init(&o);
    bc_alloc_set_hook(fail_one, &left);
    const bc_status st = ingest(f.path, paths, 2, &o, &rep, &err);
    bc_alloc_set_hook(NULL, NULL);
    failures += st != BC_OK;
    OK(ingest(f.path, paths, 2, &o, &rep, &err));
    const looked got = check(f.path, 0, 600, 0, false);
    cr_assert(got.values == 600u * NY * NX && got.wrong == 0, "allocation %d: %u values, %u wrong", n,
              (unsigned)got.values, (unsigned)got.wrong);
    fixture_remove(&f);
  }
  cr_expect_geq(failures, 10, "only %d failures", failures);
  fixture_remove(&files);
}

Test(ingest, threads_do_not_change_the_bytes)
{
  bc_err err = { 0 };
  bc_ingest_opts o;
  bc_ingest_report rep;
  uint64_t size[2] = { 0 };
  uint64_t hash[2] = { 0 };
  for (int i = 0; i < 2; i++) {
    fixture f = fixture_make(4);
    const char *paths[2] = { in(&f, "a.nc"), in(&f, "b.nc") };
    make_file(paths[0], "t2m", 0, 200, 0);
    make_file(paths[1], "d2m", 0, 200, 3);
    bc_ingest_opts_init(&o);
    o.threads = i == 0 ? 1 : 4;
    OK(ingest(f.path, paths, 2, &o, &rep, &err));
    bc_buf b = bc_buf_empty(1 << 26);
    const char *seg = in(&f, "s.bcube/segments/0000000001.seg");
    OK(bc_os_read_file(seg, 1 << 26, &b, &err));
    size[i] = b.n;
    hash[i] = bc_hash64(b.p + 64,
                        (size_t)bc_le64(b.p + b.n - 64 + 8) - 64); /* payloads: no uuid, no times of ingest */
    bc_buf_dispose(&b);
    fixture_remove(&f);
  }
  cr_expect_eq(size[0], size[1]);
  cr_expect_eq(hash[0], hash[1]);
}

Test(ingest, memory_is_obeyed_by_pieces_or_refused_by_number)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_ingest_opts o;
  bc_ingest_report rep;
  const char *a = in(&f, "a.nc");
  bc_ingest_opts_init(&o);
  make_file(a, "t2m", 0, 24, 0);
  o.memory = 1 << 20;
  FAILS(BC_E_BUDGET, ingest(f.path, &a, 1, &o, &rep, &err));
  cr_expect_not_null(strstr(err.msg, "16M"), "%s", err.msg);
  o.memory = 0;
  o.dry_run = true;
  OK(ingest(f.path, &a, 1, &o, &rep, &err));
  cr_expect_eq(rep.steps, 24);
  cr_expect_eq(rep.decoded_bytes, 24u * NY * NX * 4);
  const looked l = check(f.path, 0, 24, 0, false);
  cr_expect_eq(l.tiles, 0, "a dry run writes nothing");
  fixture_remove(&f);
}

Test(ingest, options_are_checked)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_ingest_report rep;
  const char *a = in(&f, "a.nc");
  make_file(a, "t2m", 0, 2, 0);
  struct {
    const char *codec, *layout, *bucket;
    double precision;
  } bad[] = { { "lz4", NULL, NULL, 0 },  { "zstd:99", NULL, NULL, 0 }, { "zstd:", NULL, NULL, 0 },
              { NULL, "tall", NULL, 0 }, { NULL, "map+map", NULL, 0 }, { NULL, NULL, "week", 0 },
              { NULL, NULL, NULL, -1 },  { NULL, NULL, NULL, NAN },    { NULL, NULL, "static", 0 } };
  for (size_t i = 0; i < BC_ARRAY_LEN(bad); i++) {
    bc_ingest_opts o;
    bc_ingest_opts_init(&o);
    o.codec = bad[i].codec;
    o.layout = bad[i].layout;
    o.bucket = bad[i].bucket;
    o.precision = bad[i].precision;
    FAILS(BC_E_INVAL, ingest(f.path, &a, 1, &o, &rep, &err));
  }
  fixture_remove(&f);
}
