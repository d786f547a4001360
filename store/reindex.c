/*
 * The index made anew from segments alone: every commit is a segment, so applying them in order is all there
 * is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/commit.h"
#include "store/store_int.h"

static int by_number(const void *a, const void *b)
{
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static bc_status list_segments(const char *folder, uint32_t **out, size_t *n_out, bc_err *err)
{
  char **names = NULL;
  size_t n = 0;
  *out = NULL;
  *n_out = 0;
  BC_RET(bc_os_list(folder, &names, &n, err));
  uint32_t *ids = bc_calloc(n + 1, sizeof *ids);
  for (size_t i = 0; ids != NULL && i < n; i++)
    if (bc_segment_id(names[i], &ids[*n_out])) (*n_out)++;
  bc_os_list_free(names, n);
  if (ids == NULL) return BC_FAIL(err, BC_E_NOMEM, "reindex: no memory");
  qsort(ids, *n_out, sizeof *ids, by_number);
  *out = ids;
  return BC_OK;
}

/*
 * Files that a later commit has retired, but which are there yet: all that was in force in them is elsewhere,
 * and what was not may have been dropped by a commit that is gone. They are left out. A segment that cannot
 * be read retires nothing.
 */
static bc_status leave_out_retired(const bc_store *st, uint32_t *ids, size_t *n, bc_err *err)
{
  for (size_t i = 0; i < *n; i++) {
    bc_segment *seg = NULL;
    bc_commit_parts parts;
    bc_status s = bc_segment_open(st->segments, ids[i], st->uuid, true, &seg, err);
    if (s == BC_OK) s = bc_commit_parts_of(seg, &parts, NULL, NULL, err);
    for (size_t k = 0; s == BC_OK && k < parts.retired.n; k += 4) {
      const uint32_t id = bc_le32(parts.retired.p + k);
      uint32_t *at = bsearch(&id, ids, i, sizeof id, by_number); /* earlier ones only */
      if (at != NULL) memmove(at, at + 1, (size_t)(ids + *n - (at + 1)) * sizeof *at);
      *n -= at != NULL;
      i -= at != NULL;
    }
    bc_segment_unref(seg);
    if (s == BC_E_NOMEM) return s;
  }
  return BC_OK;
}

/* One segment = one transaction, so that a large store needs little memory. */
static bc_status apply_one(bc_index *ix, const bc_store *st, uint32_t id, bc_reindex_report *report,
                           bc_err *err)
{
  bc_status s = BC_OK;
  bc_segment *seg = NULL;
  bc_txn *t = NULL;
  s = bc_segment_open(st->segments, id, st->uuid, true, &seg, err);
  if (s == BC_OK) s = bc_txn_begin(ix, true, &t, err);
  if (s == BC_OK) s = bc_commit_apply(t, seg, st->segments, st->uuid, err);
  if (s == BC_OK) {
    s = bc_txn_commit(t, err);
    t = NULL;
    report->segments++;
    report->tiles += bc_segment_count(seg);
  }
  bc_txn_abort(t);
  bc_segment_unref(seg);
  return s;
}

/* A segment that is passed over is remembered, so that verify goes on telling. A stray file may have a number
 * far away. */
static bc_status remember(bc_index *ix, uint32_t id, bc_err *err)
{
  uint64_t next = 0;
  bc_txn *t = NULL;
  BC_RET(bc_txn_begin(ix, true, &t, err));
  bc_status s = bc_meta_get(t, BC_META_NEXT_SEGMENT, &next, err);
  if (s == BC_OK && id < next + BC_STRAY_FAR) s = bc_put_lost_segment(t, id, err);
  if (s == BC_OK)
    s = bc_txn_commit(t, err);
  else
    bc_txn_abort(t);
  return s;
}

/* Nothing counts on the newest segment: only the note beside the segments knows when it is gone. top: the
 * last that was applied. */
static bc_status remember_newest(bc_index *ix, const bc_store *st, uint32_t top, bc_err *err)
{
  const uint32_t newest = bc_newest_get(st);
  if (newest > top) return remember(ix, newest, err);
  if (newest < top) bc_newest_put(st, top);
  return BC_OK;
}

static bc_status apply_all(bc_index *ix, bc_store *st, bool may_be_empty, const bc_progress *progress,
                           void (*skipped)(void *, const char *), void *ctx, bc_reindex_report *report,
                           bc_err *err)
{
  bc_status s = BC_OK;
  uint32_t *ids = NULL, top = 0;
  size_t n = 0;
  BC_RET(list_segments(st->segments, &ids, &n, err));
  s = leave_out_retired(st, ids, &n, err);
  for (size_t i = 0; i < n && s == BC_OK; i++) {
    bc_err e = { 0 };
    if (progress != NULL && progress->cancelled != NULL && progress->cancelled(progress->ctx))
      s = BC_FAIL(err, BC_E_CANCELLED, "interrupted; the old index is untouched");
    if (s == BC_OK) s = apply_one(ix, st, ids[i], report, &e);
    if (s == BC_OK) top = ids[i];
    if (s <= BC_E_CORRUPT && s > BC_E_IO) { /* a damaged segment: what the others hold is saved */
      report->damaged++;
      if (skipped != NULL) skipped(ctx, e.msg);
      s = remember(ix, ids[i], err);
    } else if (s != BC_OK && s != BC_E_CANCELLED && err != NULL) {
      *err = e;
    }
    if (progress != NULL && progress->tick != NULL) progress->tick(progress->ctx, i + 1, n, "reindex");
  }
  bc_free(ids);
  if (s == BC_OK) s = remember_newest(ix, st, top, err);
  if (s == BC_OK && n > 0 && report->segments == 0 && !may_be_empty)
    s = BC_FAIL(
        err, BC_E_CORRUPT,
        "none of its %zu segments can be read, or all belong to another store: an index made of them would "
        "be empty; the old one is untouched",
        n);
  return s;
}

/* ---- segments that later ones count on ---- */

typedef struct missing {
  const bc_store *st;
  bc_txn *now;              /* of the new index */
  uint64_t next;            /* of the old index */
  uint32_t n_whole, n_lost; /* segments that it does not know */
  uint32_t first;           /* of those that are whole */
  bc_buf retired;           /* by them: le32 each */
  void (*skipped)(void *, const char *);
  void *ctx;
  bc_reindex_report *report;
} missing;

/* One whose file is there was told of when it could not be applied. */
static bc_status tell_missing(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  missing *m = ctx;
  bc_segment_rec seg;
  char name[BC_SEGMENT_NAME], text[160];
  (void)stop;
  BC_RET(bc_segment_rec_get(key, value, &seg, err));
  if (seg.bytes > 0) return BC_OK;
  bc_segment_name(seg.id, name);
  char *path = bc_asprintf("%s/%s", m->st->segments, name);
  if (path == NULL) return BC_FAIL(err, BC_E_NOMEM, "reindex: no memory");
  const bool there = bc_os_exists(path);
  bc_free(path);
  if (there) return BC_OK;
  (void)snprintf(text, sizeof text,
                 "segment %" PRIu32 ": its file is missing, and what it held with it: run bctool verify",
                 seg.id);
  m->report->damaged++;
  if (m->skipped != NULL) m->skipped(m->ctx, text);
  return BC_OK;
}

/* The old index, when it is whole. */
static bc_index *open_whole(const char *folder, bc_txn **t)
{
  bc_index *ix = NULL;
  bc_txn *txn = NULL;
  *t = NULL;
  if (bc_index_open(folder, 0, &ix, NULL) != BC_OK) return NULL;
  if (bc_index_check(ix, UINT64_MAX, NULL) == BC_OK && bc_txn_begin(ix, false, &txn, NULL) == BC_OK &&
      bc_txn_check_digest(txn, NULL) == BC_OK) {
    *t = txn;
    return ix;
  }
  bc_txn_abort(txn);
  bc_index_close(ix);
  return NULL;
}

static bool is_whole(const char *folder)
{
  bc_txn *t = NULL;
  bc_index *ix = open_whole(folder, &t);
  if (ix == NULL) return false;
  bc_txn_abort(t);
  bc_index_close(ix);
  return true;
}

/* A segment that came after the old index. */
static bc_status add_younger(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  missing *m = ctx;
  bc_segment_rec rec;
  bc_segment *seg = NULL;
  bc_commit_parts parts;
  (void)stop;
  BC_RET(bc_segment_rec_get(key, value, &rec, err));
  if (rec.id < m->next) return BC_OK;
  if (rec.bytes == 0) {
    m->n_lost++;
    return BC_OK;
  }
  if (m->n_whole++ == 0) m->first = rec.id;
  bc_status st = bc_segment_open(m->st->segments, rec.id, m->st->uuid, true, &seg, err);
  if (st == BC_OK) st = bc_commit_parts_of(seg, &parts, NULL, NULL, err);
  if (st == BC_OK) st = bc_buf_put(&m->retired, parts.retired.p, parts.retired.n, err);
  bc_segment_unref(seg);
  return st;
}

/* A segment of the old index that the new one does not have, and that none of the younger ones retired. */
static bc_status compare_old(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  const missing *m = ctx;
  bc_segment_rec old, now;
  (void)stop;
  BC_RET(bc_segment_rec_get(key, value, &old, err));
  if (old.bytes == 0) return BC_OK;
  const bc_status st = bc_txn_segment_get(m->now, old.id, &now, err);
  if (st != BC_OK && st != BC_E_NOTFOUND) return st;
  if (st == BC_OK ? now.bytes > 0 : bc_has_number(&m->retired, old.id)) return BC_OK;
  return BC_FAIL(err, BC_E_CORRUPT,
                 "its index is whole and knows what was in segment %" PRIu32
                 ", which cannot be read: a new index would not. Run bctool verify, which names the files to "
                 "ingest again; to make a new one all the same, remove %s/" BC_INDEX " first",
                 old.id, m->st->path);
}

/* Where writers do not go on with the old index, what it knows is of no use. */
static bc_status compare_with_old(const char *folder, missing *m, bc_err *err)
{
  bc_txn *t = NULL;
  bc_index *ix = open_whole(folder, &t);
  if (ix == NULL) return BC_OK;
  m->retired = bc_buf_empty(SIZE_MAX);
  bc_status st = bc_meta_get(t, BC_META_NEXT_SEGMENT, &m->next, err);
  if (st == BC_OK) st = bc_txn_each(m->now, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, add_younger, m, err);
  if (st == BC_OK && !bc_is_put_back(m->n_whole, m->n_lost, m->first, m->next))
    st = bc_txn_each(t, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, compare_old, m, err);
  bc_buf_dispose(&m->retired);
  bc_txn_abort(t);
  bc_index_close(ix);
  return st;
}

static bc_status count_missing(bc_index *ix, const char *old, missing *m, bc_err *err)
{
  bc_txn *t = NULL;
  BC_RET(bc_txn_begin(ix, false, &t, err));
  m->now = t;
  bc_status st = compare_with_old(old, m, err);
  if (st == BC_OK) st = bc_txn_each(t, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, tell_missing, m, err);
  bc_txn_abort(t);
  return st;
}

/* ---- variables that no segment speaks of any more ---- */

typedef struct gaps {
  uint8_t *have; /* by id */
  uint32_t n;    /* past the highest */
} gaps;

static bc_status note_modality(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  gaps *g = ctx;
  (void)value;
  (void)stop;
  if (key.n != 2) return BC_FAIL(err, BC_E_CORRUPT, "reindex: a key of %zu bytes", key.n);
  const uint16_t id = bc_be16(key.p);
  g->have[id] = 1;
  g->n = (uint32_t)id + 1;
  return BC_OK;
}

/* A lost segment may have been the only one to define a variable. Numbers must have no gaps, and those of
 * the others cannot change: an empty one stands in. */
static bc_status fill_gaps(bc_index *ix, bc_err *err)
{
  bc_status st = BC_OK;
  bc_txn *t = NULL;
  gaps g = { bc_calloc(BC_MAX_MODALITIES + 1u, 1), 0 };
  if (g.have == NULL) return BC_FAIL(err, BC_E_NOMEM, "reindex: no memory");
  BC_TRY(bc_txn_begin(ix, true, &t, err));
  BC_TRY(bc_txn_each(t, BC_TABLE_MODALITIES, (bc_bytes){ NULL, 0 }, note_modality, &g, err));
  for (uint32_t id = 0; id < g.n; id++) {
    bc_modality m = { .id = (uint16_t)id,
                      .dtype = BC_F32,
                      .bucket = BC_BUCKET_MONTH,
                      .layout = { BC_LAYOUT_BALANCED, BC_LAYOUT_NONE },
                      .group = "lost" };
    if (g.have[id]) continue;
    (void)snprintf(m.name, sizeof m.name, "variable-%" PRIu32, id);
    BC_TRY(bc_put_modality(t, &m, err));
  }
  st = bc_txn_commit(t, err);
  t = NULL;
out:
  bc_txn_abort(t);
  bc_free(g.have);
  return st;
}

static bc_status rebuild(bc_store *store, const char *fresh, const char *old, const char *index,
                         const bc_progress *progress, void (*skipped)(void *ctx, const char *what), void *ctx,
                         bc_reindex_report *report, bc_err *err)
{
  bc_status st = BC_OK;
  bc_index *ix = NULL;
  bc_os_remove_tree(fresh); /* left by a run that was interrupted */
  bc_os_remove_tree(old);
  BC_TRY(bc_os_mkdir(fresh, err));
  BC_TRY(bc_index_init(fresh, store->uuid, &store->grid, err));
  BC_TRY(bc_index_open(fresh, BC_INDEX_WRITE, &ix, err));
  BC_TRY(apply_all(ix, store, !is_whole(index), progress, skipped, ctx, report, err));
  BC_TRY(count_missing(ix, index, &(missing){ .st = store, .skipped = skipped, .ctx = ctx, .report = report },
                       err));
  BC_TRY(fill_gaps(ix, err));
  bc_index_close(ix);
  ix = NULL;
  BC_TRY(bc_os_sync_dir(fresh, err));
  /* The old folder steps aside and goes once the new one stands; a crash in between is mended by running
   * again. */
  if (bc_os_exists(index)) BC_TRY(bc_os_rename_dir(index, old, err));
  BC_TRY(bc_os_rename_dir(fresh, index, err));
  bc_os_remove_tree(old);
out:
  bc_index_close(ix);
  if (st != BC_OK) bc_os_remove_tree(fresh);
  return st;
}

bc_status bc_store_reindex(const char *path, const bc_progress *progress,
                           void (*skipped)(void *ctx, const char *what), void *ctx, bc_reindex_report *report,
                           bc_err *err)
{
  bc_status st = BC_OK;
  bc_store *store = NULL;
  memset(report, 0, sizeof *report);
  BC_RET(bc_store_open_bare(path, &store, err));
  char *index = bc_asprintf("%s/" BC_INDEX, store->path);
  char *fresh = bc_asprintf("%s/" BC_INDEX ".tmp-new", store->path);
  char *old = bc_asprintf("%s/" BC_INDEX ".tmp-old", store->path);
  if (index == NULL || fresh == NULL || old == NULL)
    st = BC_FAIL(err, BC_E_NOMEM, "reindex: no memory");
  else
    st = rebuild(store, fresh, old, index, progress, skipped, ctx, report, err);
  bc_free(index);
  bc_free(fresh);
  bc_free(old);
  bc_store_close(store);
  return st;
}
