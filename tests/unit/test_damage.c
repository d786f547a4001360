/*
 * Damage at rest: every byte of a small store flipped, every file cut and removed. All of it is found,
 * nothing crashes or hangs, and what is not damaged still answers.
 *
 * CI flips every byte of the segments in one pattern and of the index at a stride; BC_LONG=1 all of both, in
 * two.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "query/query.h"
#include "store_values.h"

enum { TIMEOUT = 300, HOURS = 8 };

static bool is_long(void)
{
  const char *l = getenv("BC_LONG");
  return l != NULL && l[0] != '\0' && strcmp(l, "0") != 0;
}

static const world_job k_a = { "a file.nc", 0, 2, 0, 4, 0, HOURS, 0, false };
static const world_job k_b = { "b.nc", 2, 1, 0, 4, HOURS, HOURS, 0, false };

static fixture make(void)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  fixture f = fixture_make(W_SIDE);
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  OK(world_commit(st, &k_a, &err));
  OK(world_commit(st, &k_b, &err));
  bc_store_close(st);
  return f;
}

static char *in(const fixture *f, const char *name)
{
  char *p = bc_asprintf("%s/%s", f->path, name);
  cr_assert_not_null(p);
  return p;
}

static bc_buf whole(const char *path)
{
  bc_err err = { 0 };
  bc_buf b = bc_buf_empty((size_t)1 << 26);
  OK(bc_os_read_file(path, (size_t)1 << 26, &b, &err));
  return b;
}

static void write_file(const char *path, const uint8_t *p, size_t n)
{
  FILE *fp = fopen(path, "wb");
  cr_assert_not_null(fp, "%s", path);
  cr_assert_eq(fwrite(p, 1, n, fp), n);
  (void)fclose(fp);
}

static void flip(const char *path, size_t at, uint8_t bits)
{
  FILE *fp = fopen(path, "r+b");
  cr_assert_not_null(fp, "%s", path);
  (void)fseek(fp, (long)at, SEEK_SET);
  const int old = fgetc(fp);
  (void)fseek(fp, (long)at, SEEK_SET);
  (void)fputc(old ^ bits, fp);
  (void)fclose(fp);
}

/* ---- what verify says ---- */

typedef struct said {
  int n, tiles;
  char what[2000], command[600]; /* of the last */
} said;

static void note(void *ctx, const bc_damage *d)
{
  said *s = ctx;
  s->n++;
  s->tiles += d->has_tile;
  (void)snprintf(s->what, sizeof s->what, "%s", d->what);
  (void)snprintf(s->command, sizeof s->command, "%s", d->command);
  cr_expect(d->code <= BC_E_CORRUPT && d->code > BC_E_IO, "%s", bc_status_name(d->code));
  cr_expect(strchr(d->what, '\n') == NULL && d->source != NULL);
}

/* Findings of a verify, 1 when the store does not open for damage, -1 for any other failure. */
static int findings(const fixture *f, bool full, said *s)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_verify_report rep;
  memset(s, 0, sizeof *s);
  bc_status got = bc_store_open(f->path, BC_OPEN_READ, &st, &err);
  if (got == BC_OK) got = bc_store_verify(st, full, note, s, NULL, &rep, &err);
  bc_store_close(st);
  if (got == BC_OK) return (int)rep.damaged;
  (void)snprintf(s->what, sizeof s->what, "%s", err.msg);
  return got <= BC_E_CORRUPT && got > BC_E_IO ? 1 : -1;
}

/* ---- segments ---- */

Test(damage, every_flipped_byte_of_a_segment_is_found, .timeout = TIMEOUT)
{
  fixture f = make();
  said s;
  int flips = 0, quick = 0;
  cr_assert_eq(findings(&f, true, &s), 0, "%s", s.what);
  for (int seg = 1; seg <= 2; seg++) {
    char *path = in(&f, seg == 1 ? "segments/0000000001.seg" : "segments/0000000002.seg");
    bc_buf b = whole(path);
    for (int pass = 0; pass < (is_long() ? 2 : 1); pass++)
      for (size_t at = 0; at < b.n; at++) {
        flip(path, at, (at + (size_t)pass) % 2 ? 0x80 : 0x01);
        cr_assert_gt(findings(&f, true, &s), 0, "byte %zu of %zu in segment %d: not found", at, b.n, seg);
        cr_assert(strstr(s.what, "segment") != NULL || strstr(s.what, ".seg") != NULL, "%s", s.what);
        cr_assert(strstr(s.what, "bctool ingest netcdf") != NULL && strstr(s.what, "--mend") != NULL,
                  "%zu: %s", at, s.what);
        cr_assert_not_null(strstr(s.command, seg == 1 ? "'a file.nc'" : " b.nc"), "byte %zu: %s", at,
                           s.command);
        if (flips % 16 == 0) quick += findings(&f, false, &s) > 0;
        flip(path, at, (at + (size_t)pass) % 2 ? 0x80 : 0x01);
        flips++;
      }
    cr_assert_eq(findings(&f, true, &s), 0);
    bc_buf_dispose(&b);
    bc_free(path);
  }
  (void)fprintf(stderr, "bytes flipped and found: %d of segments (a quick look finds %d of each 16th)\n",
                flips, quick);
  fixture_remove(&f);
}

Test(damage, segments_cut_at_every_64_bytes, .timeout = TIMEOUT)
{
  fixture f = make();
  said s;
  int cuts = 0;
  char *path = in(&f, "segments/0000000001.seg");
  bc_buf b = whole(path);
  for (size_t n = 0; n < b.n; n += 64, cuts++) {
    write_file(path, b.p, n);
    cr_assert_gt(findings(&f, false, &s), 0, "cut to %zu: a quick look finds nothing", n);
    cr_assert_not_null(strstr(s.what, "0000000001.seg"), "%s", s.what);
    cr_assert_not_null(strstr(s.command, "'a file.nc' --mend"), "cut to %zu: %s", n, s.command);
    cr_assert_gt(findings(&f, true, &s), 0);
  }
  write_file(path, b.p, b.n);
  cr_assert_eq(findings(&f, true, &s), 0);
  (void)fprintf(stderr, "cuts found: %d\n", cuts);
  bc_buf_dispose(&b);
  bc_free(path);
  fixture_remove(&f);
}

/* ---- queries beside and over damage ---- */

typedef struct answer {
  uint64_t values, nans, damaged;
  char first[480];
} answer;

/* All of one variable. */
static bc_status ask(const fixture *f, const char *var, bool skip, answer *a, bc_err *err)
{
  bc_status st = BC_OK;
  bc_store *store = NULL;
  bc_query *q = NULL;
  float *v = NULL;
  size_t bytes = 0;
  const bc_var *const *vars;
  const char *first = NULL;
  bc_select sel;
  bc_query_opts o = BC_QUERY_OPTS_INIT;
  memset(a, 0, sizeof *a);
  o.skip_damaged = skip;
  bc_select_init(&sel);
  BC_TRY(bc_select_add_vars(&sel, var, err));
  BC_TRY(bc_store_open(f->path, BC_OPEN_READ, &store, err));
  BC_TRY(bc_query_open(store, &sel, &o, &q, err));
  (void)bc_query_vars(q, &vars);
  cr_assert(bc_shape_bytes(vars[0]->shape, vars[0]->ndim, sizeof *v, &bytes));
  v = malloc(bytes);
  cr_assert_not_null(v);
  BC_TRY(bc_query_read(q, 0, v, bytes, err));
  a->values = bytes / sizeof *v;
  for (size_t i = 0; i < a->values; i++)
    a->nans += v[i] != v[i];
  a->damaged = bc_query_damaged(q, &first);
  (void)snprintf(a->first, sizeof a->first, "%s", first == NULL ? "" : first);
out:
  free(v);
  bc_query_close(q);
  bc_store_close(store);
  bc_select_dispose(&sel);
  return st;
}

static void names_the_tile(const char *msg, const char *var, bool file)
{
  cr_expect_not_null(strstr(msg, var), "variable in: %s", msg);
  cr_expect_not_null(strstr(msg, "cell 0"), "cell in: %s", msg);
  cr_expect_not_null(strstr(msg, "2019-03"), "time in: %s", msg);
  cr_expect(strstr(msg, "0000000001.seg") != NULL || strstr(msg, "segment 1") != NULL, "segment in: %s", msg);
  if (file) cr_expect_not_null(strstr(msg, "a file.nc"), "source file in: %s", msg);
}

Test(damage, queries_answer_beside_damage_and_name_what_is_under_them)
{
  bc_err err = { 0 };
  fixture f = make();
  answer a;
  said s;
  char *path = in(&f, "segments/0000000001.seg");
  OK(ask(&f, "surface/t2m", false, &a, &err));
  const uint64_t all = a.values;
  cr_assert(all == HOURS * 4 * W_NODES && a.nans == 0);
  flip(path, 64 + 40, 0x10); /* in the first payload: t2m of cell 0, which both groups share */
  FAILS(BC_E_CHECKSUM, ask(&f, "surface/t2m", false, &a, &err));
  names_the_tile(err.msg, "surface/t2m", true);
  FAILS(BC_E_CHECKSUM, ask(&f, "climate/t2m", false, &a, &err));
  names_the_tile(err.msg, "climate/t2m", true);
  OK(ask(&f, "surface/d2m", false, &a, &err));
  cr_expect(a.nans == 0 && a.damaged == 0);
  OK(ask(&f, "surface/t2m", true, &a, &err));
  cr_expect(a.damaged > 0 && a.nans > 0 && a.nans <= HOURS * W_NODES && a.values == all);
  names_the_tile(a.first, "surface/t2m", true);
  cr_expect_eq(findings(&f, true, &s), 2, "one for each variable that shares the bytes");
  cr_expect_eq(s.tiles, 2);
  flip(path, 64 + 40, 0x10);
  fixture_remove(&f);
  bc_free(path);
}

Test(damage, a_lost_segment_and_a_damaged_head)
{
  bc_err err = { 0 };
  fixture f = make();
  answer a;
  said s;
  char *path = in(&f, "segments/0000000001.seg");
  bc_buf b = whole(path);
  flip(path, b.n - 64 - 100, 0x01); /* the head of the last tile */
  const bc_status st = ask(&f, "climate/t2m", false, &a, &err);
  cr_expect(st <= BC_E_CORRUPT && st > BC_E_IO, "%s", bc_status_name(st));
  cr_expect(strstr(err.msg, "climate/t2m") != NULL && strstr(err.msg, "cell 3") != NULL, "%s", err.msg);
  OK(ask(&f, "surface/t2m", false, &a, &err));
  OK(ask(&f, "climate/t2m", true, &a, &err));
  cr_expect(a.damaged == 1 && a.nans == HOURS * W_NODES);
  cr_expect_geq(findings(&f, true, &s), 2, "the directory, and the tile");
  cr_expect_eq(s.tiles, 1);
  cr_assert_eq(unlink(path), 0);
  cr_expect_eq(findings(&f, false, &s), 1);
  cr_expect_not_null(strstr(s.command, "'a file.nc' --mend"), "%s", s.command);
  cr_expect_eq(findings(&f, true, &s), 1 + 8);
  FAILS(BC_E_CORRUPT, ask(&f, "surface/t2m", false, &a, &err));
  names_the_tile(err.msg, "surface/t2m", false);
  OK(ask(&f, "surface/d2m", false, &a, &err));
  cr_expect_eq(a.nans, 0);
  bc_buf_dispose(&b);
  bc_free(path);
  fixture_remove(&f);
}

static void compact(const fixture *f, bool forget_lost)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  const bc_compact_opts opts = { .forget_lost = forget_lost };
  bc_compact_report rep;
  OK(bc_store_open(f->path, BC_OPEN_WRITE, &st, &err));
  OK(bc_store_compact(st, &opts, NULL, &rep, &err));
  bc_store_close(st);
}

/* What is gone with a segment does not take the others with it. */
Test(damage, reindex_without_a_segment_keeps_the_rest)
{
  bc_err err = { 0 };
  fixture f = make();
  answer a;
  said s;
  bc_reindex_report rep;
  char *path = in(&f, "segments/0000000001.seg"), *index = in(&f, "index");
  cr_assert_eq(unlink(path), 0);
  FAILS(BC_E_CORRUPT, bc_store_reindex(f.path, NULL, NULL, NULL, &rep, &err)); /* the old one knows more */
  cr_expect_not_null(strstr(err.msg, "segment 1"), "%s", err.msg);
  bc_os_remove_tree(index);
  OK(bc_store_reindex(f.path, NULL, NULL, NULL, &rep, &err));
  cr_expect_eq(rep.damaged, 1);
  cr_expect_eq(findings(&f, true, &s), 1, "%s", s.what);
  cr_expect_not_null(strstr(s.what, "segment 1: its file is missing"), "%s", s.what);
  OK(ask(&f, "surface/d2m", false, &a, &err));
  cr_expect_eq(a.nans, 0);
  bc_store *st = NULL;
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  OK(world_commit(st, &k_a, &err)); /* the lost file comes again */
  bc_store_close(st);
  OK(ask(&f, "surface/t2m", false, &a, &err));
  cr_expect(a.values == HOURS * 4 * W_NODES && a.nans == 0);
  cr_expect_eq(findings(&f, true, &s), 1, "%s", s.what);
  compact(&f, false);
  cr_expect_eq(findings(&f, true, &s), 1, "%s", s.what);
  compact(&f, true);
  cr_expect_eq(findings(&f, true, &s), 0, "%s", s.what);
  bc_free(index);
  bc_free(path);
  fixture_remove(&f);
}

/* ---- the index ---- */

/* Every value of the store, and what its tables say of it; false when it does not open or read. */
static bool state(const fixture *f, uint64_t *hash, bc_err *err)
{
  bc_status st = BC_OK;
  bc_store *store = NULL;
  bc_snapshot *s = NULL;
  bc_store_info info;
  static world w;
  BC_TRY(bc_store_open(f->path, BC_OPEN_READ, &store, err));
  BC_TRY(bc_snapshot_open(store, &s, err));
  BC_TRY(bc_snapshot_info(s, &info, err));
  BC_TRY(world_read(s, &w, NULL, err));
  *hash = bc_hash64(&w, sizeof w) + info.n_tiles * 7 + info.n_sources * 31 + info.segment_bytes;
  for (uint16_t m = 0; m < bc_snapshot_modalities(s); m++) {
    bc_usage u;
    int64_t *times = NULL;
    size_t n = 0;
    BC_TRY(bc_snapshot_usage(s, m, &u, err));
    BC_TRY(bc_snapshot_times(s, m, &times, &n, NULL, err));
    *hash = *hash * 31 + bc_hash64(times, n * sizeof *times) + u.n_valid;
    bc_times_free(times);
  }
out:
  bc_snapshot_close(s);
  bc_store_close(store);
  return st == BC_OK;
}

/* A writer on a damaged index is refused, or does its work; it never crashes. */
static void write_on(const fixture *f)
{
  static const world_job k_c = { "c.nc", 0, 1, 1, 2, HOURS, HOURS, 1, false };
  bc_err err = { 0 };
  bc_store *st = NULL;
  if (bc_store_open(f->path, BC_OPEN_WRITE, &st, &err) == BC_OK) (void)!world_commit(st, &k_c, &err);
  bc_store_close(st);
}

Test(damage, a_flipped_byte_of_the_index_never_crashes, .timeout = 3600)
{
  bc_err err = { 0 };
  fixture f = make();
  said s;
  uint64_t want = 0, got = 0;
  int flips = 0, found = 0, refused = 0, writes = 0;
  char *path = in(&f, "index/data.mdb"), *third = in(&f, "segments/0000000003.seg");
  char *newest = in(&f, "segments/newest");
  bc_buf b = whole(path);
  cr_assert(state(&f, &want, &err));
  for (size_t at = 0; at < b.n; at += is_long() ? 1 : 37) {
    flip(path, at, at % 2 ? 0x80 : 0x01);
    const bool reads = state(&f, &got, &err);
    const int n = findings(&f, true, &s);
    cr_assert_geq(n, 0, "byte %zu: %s", at, s.what);
    cr_assert(n > 0 || (reads && got == want),
              "byte %zu of page %zu: another answer, and verify finds nothing", at % 4096, at / 4096);
    if (n > 0) cr_assert_not_null(strstr(s.what, "bctool reindex"), "byte %zu: %s", at, s.what);
    flips++;
    found += n > 0;
    refused += !reads;
    if (flips % 8 == 0) {
      write_on(&f);
      writes++;
      (void)unlink(third);
      (void)unlink(newest); /* it knows of the third */
    }
    write_file(path, b.p, b.n);
  }
  (void)fprintf(
      stderr,
      "bytes of the index flipped: %d, found by verify: %d, refused by a reader: %d, the others: no entry "
      "there; writers on it: %d\n",
      flips, found, refused, writes);
  cr_assert_gt(found, 20);
  bc_buf_dispose(&b);
  bc_free(path);
  bc_free(third);
  bc_free(newest);
  fixture_remove(&f);
}

Test(damage, an_index_cut_short_or_lost_is_made_again, .timeout = TIMEOUT)
{
  bc_err err = { 0 };
  fixture f = make();
  said s;
  bc_reindex_report rep;
  uint64_t want = 0, got = 0;
  int cuts = 0;
  char *path = in(&f, "index/data.mdb"), *folder = in(&f, "index"),
       *third = in(&f, "segments/0000000003.seg");
  bc_buf b = whole(path);
  cr_assert(state(&f, &want, &err));
  for (size_t n = 0; n < b.n; n += is_long() ? 64 : 1024, cuts++) {
    write_file(path, b.p, n);
    const bool reads = state(&f, &got, &err);
    cr_assert(findings(&f, true, &s) > 0 || (reads && got == want), "cut to %zu of %zu", n, b.n);
    write_on(&f);
    (void)unlink(third);
  }
  OK(bc_store_reindex(f.path, NULL, NULL, NULL, &rep, &err));
  cr_assert(state(&f, &got, &err) && got == want);
  bc_os_remove_tree(folder);
  cr_expect_eq(findings(&f, true, &s), 1);
  cr_expect_not_null(strstr(s.what, "bctool reindex"), "%s", s.what);
  OK(bc_store_reindex(f.path, NULL, NULL, NULL, &rep, &err));
  cr_assert(state(&f, &got, &err) && got == want);
  cr_expect_eq(findings(&f, true, &s), 0);
  (void)fprintf(stderr, "cuts of the index: %d\n", cuts);
  bc_buf_dispose(&b);
  bc_free(path);
  bc_free(folder);
  bc_free(third);
  fixture_remove(&f);
}
