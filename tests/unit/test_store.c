/* Create, write, snapshot, reopen, refuse, verify. */
#include <criterion/criterion.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/store_fixture.h"

#define MARCH INT64_C(1551398400) /* 2019-03-01 */

typedef struct count_ctx {
  size_t n;
  bc_tile_key last;
} count_ctx;

static bc_status count_tile(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  count_ctx *c = ctx;
  (void)rec;
  (void)err;
  c->n++;
  c->last = *key;
  return BC_OK;
}

static size_t count(bc_snapshot *s, uint32_t cell, int64_t from, int64_t to, uint16_t m)
{
  bc_err err = { 0 };
  count_ctx c = { 0 };
  OK(bc_snapshot_scan(s, cell, from, to, &m, 1, count_tile, &c, &err));
  return c.n;
}

static void fill(const fixture *f, int cells, float base)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_writer *w = NULL;
  bc_encoder *e = NULL;
  OK(bc_store_open(f->path, BC_OPEN_WRITE, &st, &err));
  OK(bc_writer_open(st, &w, &err));
  OK(bc_encoder_open(&e, &err));
  bc_source_rec src = { .name = "a.nc", .hash = { 1 } }, have;
  OK(bc_writer_source(w, &src, &have, &err));
  const uint16_t m = put_modality(w, "surface", "t2m", BC_LAYOUT_NONE);
  for (int c = 0; c < cells; c++)
    put_tile(w, e, m, (uint32_t)c, MARCH, 24, base + (float)c, BC_MODE_AUTO);
  have.done = true;
  OK(bc_writer_source_update(w, &have, &err));
  OK(bc_writer_commit(w, &err));
  bc_encoder_close(e);
  bc_writer_close(w);
  bc_store_close(st);
}

Test(store, empty_store_opens_and_says_what_it_is)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  bc_store_info info;
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &s, &err));
  OK(bc_snapshot_info(s, &info, &err));
  cr_expect_eq(info.n_tiles, 0);
  cr_expect_eq(info.snapshot, 0);
  cr_expect_eq(strlen(info.uuid), 36);
  cr_expect_eq(info.uuid[14], '4', "version nibble of %s", info.uuid);
  cr_expect_eq(bc_snapshot_grids(s), 1);
  cr_expect_str_eq(bc_snapshot_grid(s, 0)->name, f.grid.name);
  cr_expect_eq(bc_snapshot_grid(s, 0)->cell, 8);
  bc_snapshot_close(s);
  bc_store_close(st);
  FAILS(BC_E_EXISTS, bc_store_create(f.path, &f.grid, &err));
  fixture_remove(&f);
}

Test(store, tiles_come_back_after_reopening)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  fill(&f, 5, 270);
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  bc_usage u;
  bc_source_rec src;
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &s, &err));
  cr_expect_eq(bc_snapshot_id(s), 1);
  for (uint32_t c = 0; c < 5; c++)
    cr_expect_eq(count(s, c, MARCH, MARCH + 1, 0), 1);
  cr_expect_eq(count(s, 5, INT64_MIN, INT64_MAX, 0), 0);
  cr_expect_eq(count(s, 0, MARCH + 1, INT64_MAX, 0), 0, "a bucket that began earlier is not in the range");
  OK(bc_snapshot_usage(s, 0, &u, &err));
  cr_expect_eq(u.n_tiles, 5);
  cr_expect_eq(u.n_valid, 5u * 24 * 64);
  cr_expect_eq(u.t_first, MARCH);
  cr_expect_eq(u.t_last, MARCH + 23 * 3600);
  cr_expect_float_eq(u.min, 270.0, 0);
  cr_expect_float_eq(u.max, 274.0 + 23 + 63.0 / 256, 1e-9);
  OK(bc_snapshot_source(s, 0, &src, &err));
  cr_expect(src.done);
  cr_expect_str_eq(src.name, "a.nc");
  int64_t *times = NULL;
  size_t n = 0;
  OK(bc_snapshot_times(s, 0, &times, &n, NULL, &err));
  cr_expect_eq(n, 24);
  cr_expect_eq(times[23], MARCH + 23 * 3600);
  bc_times_free(times);
  bc_snapshot_close(s);
  bc_store_close(st);
  fixture_remove(&f);
}

Test(store, parts_never_reuse_a_number)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  fill(&f, 1, 270);
  fill(&f, 1, 280);
  bc_store *st = NULL;
  bc_writer *w = NULL;
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  OK(bc_writer_open(st, &w, &err));
  bc_tile_key k = { 0, MARCH, 0, 0 };
  OK(bc_writer_next_part(w, &k, &err));
  cr_expect_eq(k.part, 2);
  k.part = 0;
  OK(bc_writer_drop(w, &k, &err));
  OK(bc_writer_commit(w, &err));
  OK(bc_writer_next_part(w, &k, &err));
  cr_expect_eq(k.part, 2, "the hole at 0 stays a hole: later pieces must win");
  bc_snapshot *s = NULL;
  bc_usage u;
  OK(bc_snapshot_open(st, &s, &err));
  OK(bc_snapshot_usage(s, 0, &u, &err));
  cr_expect_eq(u.n_tiles, 1, "counted anew after the drop");
  cr_expect_float_eq(u.min, 280.0, 0);
  bc_snapshot_close(s);
  bc_writer_close(w);
  bc_store_close(st);
  fixture_remove(&f);
}

Test(store, equal_tiles_of_two_groups_are_stored_once)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_store *st = NULL;
  bc_writer *w = NULL;
  bc_encoder *e = NULL;
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  OK(bc_writer_open(st, &w, &err));
  OK(bc_encoder_open(&e, &err));
  const uint16_t a = put_modality(w, "surface", "t2m", BC_LAYOUT_NONE);
  const uint16_t b = put_modality(w, "climate", "t2m", BC_LAYOUT_NONE);
  const uint16_t other = put_modality(w, "climate", "d2m", BC_LAYOUT_NONE);
  put_tile(w, e, a, 0, MARCH, 24, 270, BC_MODE_RAW);
  put_tile(w, e, b, 0, MARCH, 24, 270, BC_MODE_RAW);     /* the same commit */
  put_tile(w, e, other, 0, MARCH, 24, 270, BC_MODE_RAW); /* equal bytes under another name */
  put_tile(w, e, a, 1, MARCH, 24, 270, BC_MODE_RAW);
  OK(bc_writer_commit(w, &err));
  put_tile(w, e, b, 1, MARCH, 24, 270, BC_MODE_RAW); /* a later commit */
  put_tile(w, e, b, 2, MARCH, 24, 271, BC_MODE_RAW);
  OK(bc_writer_commit(w, &err));
  bc_snapshot *s = NULL;
  OK(bc_snapshot_open(st, &s, &err));
  for (uint32_t cell = 0; cell < 2; cell++) {
    bc_tile ta, tb;
    bc_tile_rec ra, rb;
    const bc_tile_key ka = { cell, MARCH, a, 0 }, kb = { cell, MARCH, b, 0 };
    OK(bc_snapshot_get(s, &ka, &ra, &err));
    OK(bc_snapshot_get(s, &kb, &rb, &err));
    cr_expect_eq(ra.segment, rb.segment);
    cr_expect_eq(ra.offset, rb.offset);
    OK(bc_snapshot_tile(s, &ka, &ra, &ta, &err));
    OK(bc_snapshot_tile(s, &kb, &rb, &tb, &err));
    cr_expect_eq(ta.payload.p, tb.payload.p);
    bc_tile_close(&ta);
    bc_tile_close(&tb);
  }
  bc_snapshot_close(s);
  bc_encoder_close(e);
  bc_writer_close(w);
  bc_store_close(st);
  fixture_remove(&f);
}

Test(store, a_second_writer_is_refused_by_name)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_store *a = NULL, *b = NULL;
  char pid[24];
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &a, &err));
  FAILS(BC_E_BUSY, bc_store_open(f.path, BC_OPEN_WRITE, &b, &err));
  (void)snprintf(pid, sizeof pid, "%ld", (long)getpid());
  cr_expect_not_null(strstr(err.msg, pid), "%s", err.msg);
  OK(bc_store_open(f.path, BC_OPEN_READ, &b, &err));
  bc_store_close(b);
  bc_store_close(a);
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &a, &err));
  bc_store_close(a);
  fixture_remove(&f);
}

Test(store, a_forked_handle_refuses)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_store *st = NULL;
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  const pid_t pid = fork();
  if (pid == 0) {
    bc_snapshot *s = NULL;
    bc_store *own = NULL;
    const bool refused = bc_snapshot_open(st, &s, &err) == BC_E_INVAL;
    const bool reopens = bc_store_open(f.path, BC_OPEN_READ, &own, &err) == BC_OK;
    const bool works = reopens && bc_snapshot_open(own, &s, &err) == BC_OK;
    _exit(refused && works ? 0 : 1);
  }
  int status = 0;
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  bc_snapshot *s = NULL;
  OK(bc_snapshot_open(st, &s, &err));
  bc_snapshot_close(s);
  bc_store_close(st);
  fixture_remove(&f);
}

/* ---- refusals ---- */

static void overwrite(const char *path, const char *text)
{
  FILE *fp = fopen(path, "wb");
  cr_assert_not_null(fp);
  (void)fwrite(text, 1, strlen(text), fp);
  (void)fclose(fp);
}

Test(store, refuses_what_is_not_a_store)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_store *st = NULL;
  char path[160];
  FAILS(BC_E_NOTFOUND, bc_store_open("/nowhere/at/all.bcube", BC_OPEN_READ, &st, &err));
  cr_expect_not_null(strstr(err.msg, "bctool create"), "%s", err.msg);
  FAILS(BC_E_INVAL, bc_store_open(f.dir, BC_OPEN_READ, &st, &err));
  (void)snprintf(path, sizeof path, "%s/BIOCUBE", f.path);
  overwrite(path, "hello\n");
  FAILS(BC_E_CORRUPT, bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  overwrite(path, "biocube store\nformat 65535.0\n");
  FAILS(BC_E_VERSION, bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  overwrite(path, "biocube store\nformat 1.0\nuuid x\nincompat 0\ncheck 0000000000000000\n");
  FAILS(BC_E_CHECKSUM, bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  cr_expect_null(st);
  fixture_remove(&f);
}

Test(store, refuses_a_cut_index)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  bc_store *st = NULL;
  char path[160];
  fill(&f, 3, 270);
  (void)snprintf(path, sizeof path, "%s/index/data.mdb", f.path);
  cr_assert_eq(truncate(path, 8192), 0);
  FAILS(BC_E_TRUNCATED, bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  cr_expect_not_null(strstr(err.msg, "reindex"), "%s", err.msg);
  (void)unlink(path);
  FAILS(BC_E_CORRUPT, bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  fixture_remove(&f);
}

static void note_damage(void *ctx, const bc_damage *d) { (void)snprintf(ctx, 800, "%s", d->what); }

/* ---- crash points ---- */

typedef struct fault_ctx {
  int at, n;
  bc_fault_op op;
} fault_ctx;

static int fail_nth(void *ctx, bc_fault_op op)
{
  fault_ctx *c = ctx;
  if (op == BC_FAULT_ALLOC) return 0;
  if (c->n++ != c->at) return 0;
  c->op = op;
  return 28; /* ENOSPC */
}

Test(store, a_failed_commit_leaves_the_old_state)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  fill(&f, 2, 270);
  int at = 0, failures = 0;
  for (; at < 200; at++) {
    bc_store *st = NULL;
    bc_writer *w = NULL;
    bc_encoder *e = NULL;
    OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
    OK(bc_writer_open(st, &w, &err));
    OK(bc_encoder_open(&e, &err));
    const uint16_t m = put_modality(w, "surface", "t2m", BC_LAYOUT_NONE);
    put_tile(w, e, m, 7, MARCH, 24, 300, BC_MODE_AUTO);
    fault_ctx c = { .at = at };
    bc_os_set_fault(fail_nth, &c);
    const bc_status got = bc_writer_commit(w, &err);
    bc_os_set_fault(NULL, NULL);
    bc_encoder_close(e);
    bc_writer_close(w);
    bc_snapshot *s = NULL;
    bc_verify_report rep;
    char what[800] = "";
    OK(bc_store_verify(st, true, note_damage, what, NULL, &rep, &err));
    cr_assert_eq(rep.damaged, 0, "fault %d: %s", at, what);
    OK(bc_snapshot_open(st, &s, &err));
    const size_t n = count(s, 7, INT64_MIN, INT64_MAX, 0);
    cr_expect_eq(n, got == BC_OK ? 1 : 0, "fault %d", at);
    cr_expect_eq(bc_snapshot_id(s), got == BC_OK ? 2 : 1);
    bc_snapshot_close(s);
    bc_store_close(st);
    if (got == BC_OK) break;
    failures++;
  }
  cr_expect_geq(failures, 4, "only %d faults", failures);
  fixture_remove(&f);
}

/* ---- reindex ---- */

static bc_status hash_pair(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  uint64_t *h = ctx;
  (void)stop;
  (void)err;
  *h = *h * 1099511628211u + bc_hash64(key.p, key.n);
  *h = *h * 1099511628211u + bc_hash64(value.p, value.n);
  return BC_OK;
}

/* Everything the index says, in one number per table. */
static void digest(const char *store, uint64_t out[BC_N_TABLES])
{
  bc_err err = { 0 };
  char folder[160];
  bc_index *ix = NULL;
  bc_txn *t = NULL;
  (void)snprintf(folder, sizeof folder, "%s/index", store);
  OK(bc_index_open(folder, 0, &ix, &err));
  OK(bc_txn_begin(ix, false, &t, &err));
  for (int i = 0; i < BC_N_TABLES; i++) {
    out[i] = 0;
    OK(bc_txn_each(t, (bc_table)i, (bc_bytes){ NULL, 0 }, hash_pair, &out[i], &err));
  }
  bc_txn_abort(t);
  bc_index_close(ix);
}

Test(store, reindex_gives_the_same_index)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  char folder[160];
  uint64_t before[BC_N_TABLES], after[BC_N_TABLES];
  bc_reindex_report rep;
  fill(&f, 5, 270);
  fill(&f, 2, 280);
  bc_store *st = NULL;
  bc_writer *w = NULL;
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  OK(bc_writer_open(st, &w, &err));
  const bc_tile_key k = { 1, MARCH, 0, 0 };
  OK(bc_writer_drop(w, &k, &err));
  OK(bc_writer_commit(w, &err));
  (void)put_modality(w, "climate", "tp", BC_LAYOUT_NONE);
  OK(bc_writer_commit(w, &err));
  bc_writer_close(w);
  bc_store_close(st);
  digest(f.path, before);
  OK(bc_store_reindex(f.path, NULL, NULL, NULL, &rep, &err));
  cr_expect_eq(rep.segments, 4);
  digest(f.path, after);
  for (int i = 0; i < BC_N_TABLES; i++)
    cr_expect_eq(before[i], after[i], "table %d differs", i);
  (void)snprintf(folder, sizeof folder, "%s/index", f.path);
  bc_os_remove_tree(folder);
  FAILS(BC_E_CORRUPT, bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  cr_expect_not_null(strstr(err.msg, "reindex"), "%s", err.msg);
  OK(bc_store_reindex(f.path, NULL, NULL, NULL, &rep, &err));
  digest(f.path, after);
  for (int i = 0; i < BC_N_TABLES; i++)
    cr_expect_eq(before[i], after[i], "table %d differs", i);
  fixture_remove(&f);
}

Test(store, a_published_segment_is_committed_by_the_next_writer)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  char keep[300], now[300];
  uint64_t want[BC_N_TABLES], got[BC_N_TABLES];
  fill(&f, 2, 270);
  (void)snprintf(keep, sizeof keep, "cp -r %s %s.old", f.path, f.path);
  cr_assert_eq(system(keep), 0);
  fill(&f, 3, 280);
  digest(f.path, want);
  /* The crash: segment 2 is there, the index is the one before. */
  (void)snprintf(now, sizeof now, "cp %s/segments/0000000002.seg %s.old/segments/", f.path, f.path);
  cr_assert_eq(system(now), 0);
  (void)snprintf(now, sizeof now, "%s.old", f.path);
  bc_store *st = NULL;
  bc_writer *w = NULL;
  bc_verify_report rep;
  OK(bc_store_open(now, BC_OPEN_WRITE, &st, &err));
  OK(bc_store_verify(st, true, NULL, NULL, NULL, &rep, &err));
  cr_expect_eq(rep.orphans, 1);
  cr_expect_eq(rep.damaged, 0);
  OK(bc_writer_open(st, &w, &err));
  bc_writer_close(w);
  OK(bc_store_verify(st, true, NULL, NULL, NULL, &rep, &err));
  cr_expect_eq(rep.orphans, 0);
  bc_store_close(st);
  digest(now, got);
  for (int i = 0; i < BC_N_TABLES; i++)
    cr_expect_eq(want[i], got[i], "table %d differs", i);
  fixture_remove(&f);
}

/* ---- verify ---- */

Test(store, verify_finds_a_flipped_byte_and_names_it)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  fill(&f, 3, 270);
  char path[160], what[800] = "";
  bc_verify_report rep;
  bc_store *st = NULL;
  struct stat sb;
  (void)snprintf(path, sizeof path, "%s/segments/0000000001.seg", f.path);
  cr_assert_eq(stat(path, &sb), 0);
  int found = 0;
  for (long at = 0; at < sb.st_size; at += 13) {
    FILE *fp = fopen(path, "r+b");
    (void)fseek(fp, at, SEEK_SET);
    const int old = fgetc(fp);
    (void)fseek(fp, at, SEEK_SET);
    (void)fputc(old ^ 0x40, fp);
    (void)fclose(fp);
    OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
    OK(bc_store_verify(st, true, note_damage, what, NULL, &rep, &err));
    bc_store_close(st);
    if (rep.damaged > 0)
      found++;
    else
      cr_expect_fail("byte %ld of %ld: not found", at, (long)sb.st_size);
    fp = fopen(path, "r+b");
    (void)fseek(fp, at, SEEK_SET);
    (void)fputc(old, fp);
    (void)fclose(fp);
  }
  cr_expect_gt(found, 20);
  fixture_remove(&f);
}
