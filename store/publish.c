/*
 * An immutable copy of one snapshot: segments linked or copied, the index compacted, a marker that says so.
 */
#include <inttypes.h>
#include <string.h>

#include "store/store_int.h"

#define COPY_PIECE ((size_t)1 << 20)
#define TRIES      5

typedef struct publishing {
  bc_store *st;
  const bc_publish_opts *opts;
  const bc_progress *progress;
  bc_publish_report *report;
  char *tmp, *segments, *index; /* folders that are made */
  uint64_t total;
  bool moved; /* a segment went away between copying the index and the segments */
} publishing;

static bc_status no_memory(bc_err *err) { return BC_FAIL(err, BC_E_NOMEM, "publish: no memory"); }

static bc_status go_on(const publishing *p, bc_err *err)
{
  if (p->progress == NULL) return BC_OK;
  if (p->progress->tick != NULL) p->progress->tick(p->progress->ctx, p->report->bytes, p->total, "publish");
  if (p->progress->cancelled == NULL || !p->progress->cancelled(p->progress->ctx)) return BC_OK;
  return BC_FAIL(err, BC_E_CANCELLED, "interrupted; nothing was published");
}

/* ---- files ---- */

static bc_status write_all(publishing *p, const char *to, const uint8_t *bytes, size_t n, bc_err *err)
{
  bc_status st = BC_OK;
  bc_outfile f = { .fd = -1 };
  BC_TRY(bc_os_out_create(to, false, &f, err));
  for (size_t at = 0; at < n; at += COPY_PIECE) {
    const size_t k = BC_MIN(COPY_PIECE, n - at);
    BC_TRY(bc_os_out_write(&f, bytes + at, k, err));
    p->report->bytes += k;
    BC_TRY(go_on(p, err));
  }
  BC_TRY(bc_os_out_publish(&f, false, err));
  st = bc_os_make_readonly(to, err);
out:
  bc_os_out_discard(&f);
  return st;
}

/* The same file under a second name; false where that is not possible. */
static bc_status try_link(publishing *p, const char *from, const char *to, bool *done, bc_err *err)
{
  bc_err e = { .msg = "" };
  *done = false;
  if (p->opts == NULL || !p->opts->link) return BC_OK;
  const bc_status st = bc_os_link(from, to, &e);
  if (st == BC_E_UNSUPPORTED) return BC_OK;
  if (st != BC_OK) {
    if (err != NULL) *err = e;
    return st;
  }
  *done = true;
  p->report->linked++;
  return bc_os_make_readonly(to, err);
}

static bc_status put_segment(publishing *p, uint32_t id, uint64_t bytes, bc_err *err)
{
  bc_status st = BC_OK;
  bc_segment *seg = NULL;
  bc_bytes all;
  bool linked = false;
  char name[BC_SEGMENT_NAME];
  bc_segment_name(id, name);
  char *from = bc_asprintf("%s/%s", p->st->segments, name), *to = bc_asprintf("%s/%s", p->segments, name);
  if (from == NULL || to == NULL) BC_TRY(no_memory(err));
  st = bc_segment_open(p->st->segments, id, p->st->uuid, true, &seg, err);
  p->moved = p->moved || st == BC_E_NOTFOUND;
  if (st != BC_OK) goto out;
  if (bc_segment_bytes(seg) != bytes)
    BC_TRY(BC_FAIL(err, BC_E_CORRUPT,
                   "segment %" PRIu32 ": %" PRIu64 " bytes, the index says %" PRIu64 ": run bctool verify",
                   id, bc_segment_bytes(seg), bytes));
  st = try_link(p, from, to, &linked, err);
  p->moved = p->moved || st == BC_E_NOTFOUND;
  if (st != BC_OK) goto out;
  p->report->segments++;
  if (linked) {
    p->report->bytes += bytes;
    BC_TRY(go_on(p, err));
    goto out;
  }
  BC_TRY(bc_segment_slice(seg, 0, bytes, &all, err));
  BC_TRY(write_all(p, to, all.p, all.n, err));
out:
  bc_segment_unref(seg);
  bc_free(from);
  bc_free(to);
  return st;
}

static bc_status sum_segment(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  publishing *p = ctx;
  (void)stop;
  bc_segment_rec seg;
  BC_RET(bc_segment_rec_get(key, value, &seg, err));
  p->total += seg.bytes;
  return BC_OK;
}

static bc_status each_segment(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  bc_segment_rec seg;
  (void)stop;
  BC_RET(bc_segment_rec_get(key, value, &seg, err));
  return put_segment(ctx, seg.id, seg.bytes, err);
}

/* ---- the folder ---- */

/* What the copied index says is what has to be there: a writer may have committed since we looked last. */
static bc_status put_segments(publishing *p, bc_err *err)
{
  bc_status st = BC_OK;
  bc_index *ix = NULL;
  bc_txn *t = NULL;
  BC_TRY(bc_index_open(p->index, BC_INDEX_NOLOCK | BC_INDEX_FIXED, &ix, err));
  BC_TRY(bc_txn_begin(ix, false, &t, err));
  BC_TRY(bc_meta_get(t, BC_META_SNAPSHOT, &p->report->snapshot, err));
  BC_TRY(bc_txn_each(t, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, sum_segment, p, err));
  BC_TRY(bc_txn_each(t, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, each_segment, p, err));
out:
  bc_txn_abort(t);
  bc_index_close(ix);
  return st;
}

static bc_status put_index(publishing *p, bc_err *err)
{
  BC_RET(bc_index_copy(p->st->ix, p->index, err));
  char *data = bc_asprintf("%s/data.mdb", p->index);
  if (data == NULL) return no_memory(err);
  bc_status st = bc_os_make_readonly(data, err);
  if (st == BC_OK) st = bc_os_file_size(data, &p->report->index_bytes, err);
  bc_free(data);
  return st;
}

static bc_status put_marker(publishing *p, bc_err *err)
{
  bc_status st = BC_OK;
  const uint64_t bytes = p->report->bytes;
  bc_buf b = bc_buf_empty(1 << 16);
  char *to = bc_asprintf("%s/" BC_MARKER, p->tmp);
  if (to == NULL) BC_TRY(no_memory(err));
  BC_TRY(bc_marker_text(p->st->uuid, &p->st->grid, true, &b, err));
  st = write_all(p, to, b.p, b.n, err);
  p->report->bytes = bytes;
out:
  bc_buf_dispose(&b);
  bc_free(to);
  return st;
}

/* ---- what was copied ---- */

/* The first finding, without what to do: that is not for the copy. */
static void keep_first(void *ctx, const bc_damage *d)
{
  bc_err *e = ctx;
  const char *end = strstr(d->what, "; to mend it:");
  const int n = end != NULL ? (int)(end - d->what) : (int)strlen(d->what);
  if (e->msg[0] == '\0') (void)BC_FAIL(e, d->code, "%.*s", n, d->what);
}

/* A copy is made to be kept when the original is gone: every byte of it is held against its checksum. Shared
 * files are not read. */
static bc_status check_copy(const publishing *p, bc_err *err)
{
  bc_store *copy = NULL;
  bc_verify_report report = { 0 };
  bc_err first = { .msg = "" };
  if (p->opts != NULL && p->opts->link) return BC_OK;
  bc_status st = bc_store_open(p->tmp, BC_OPEN_READ, &copy, err);
  if (st == BC_OK) st = bc_store_check(copy, BC_DEPTH_BYTES, keep_first, &first, p->progress, &report, err);
  bc_store_close(copy);
  if (st == BC_OK && report.damaged > 0)
    st = BC_FAIL(err, first.code, "%s; nothing was published: run bctool verify --full %s", first.msg,
                 p->st->path);
  return st;
}

static bc_status fill(publishing *p, bc_err *err)
{
  BC_RET(bc_os_mkdir(p->tmp, err));
  BC_RET(bc_os_mkdir(p->segments, err));
  BC_RET(bc_os_mkdir(p->index, err));
  BC_RET(put_index(p, err));
  BC_RET(put_segments(p, err));
  BC_RET(put_marker(p, err));
  BC_RET(check_copy(p, err));
  BC_RET(bc_os_sync_dir(p->segments, err));
  BC_RET(bc_os_sync_dir(p->index, err));
  return bc_os_sync_dir(p->tmp, err);
}

/* Once more when a compaction took a segment away meanwhile. */
static bc_status fill_again(publishing *p, bc_err *err)
{
  bc_status st = BC_OK;
  for (int i = 0; i < TRIES; i++) {
    bc_os_remove_tree(p->tmp);
    memset(p->report, 0, sizeof *p->report);
    p->total = 0;
    p->moved = false;
    st = fill(p, err);
    if (st == BC_OK || !p->moved) return st;
  }
  if (st == BC_E_NOTFOUND)
    st =
        BC_FAIL(err, BC_E_CORRUPT,
                "the file of a segment is missing; nothing was published: run bctool verify %s", p->st->path);
  return st;
}

/* ---- its name ---- */

/* Only what this function makes is replaced by it. */
static bc_status check_dest(const publishing *p, const char *dest, bool *there, bc_err *err)
{
  bc_store *old = NULL;
  *there = bc_os_exists(dest);
  if (!*there) return BC_OK;
  if (p->opts == NULL || !p->opts->overwrite) return BC_FAIL(err, BC_E_EXISTS, "%s: exists already", dest);
  if (bc_store_open(dest, BC_OPEN_READ, &old, NULL) != BC_OK)
    return BC_FAIL(err, BC_E_EXISTS, "%s: is not a published store: it is not replaced", dest);
  const bool published = old->published;
  bc_store_close(old);
  if (published) return BC_OK;
  return BC_FAIL(err, BC_E_EXISTS, "%s: is a store that is written to: it is not replaced", dest);
}

static bc_status give_name(const publishing *p, const char *dest, bool there, bc_err *err)
{
  if (!there) return bc_os_rename_dir(p->tmp, dest, err);
  char *old = bc_asprintf("%s.tmp-old-%ld", dest, bc_os_pid());
  if (old == NULL) return no_memory(err);
  bc_os_remove_tree(old);
  bc_status st = bc_os_rename_dir(dest, old, err);
  if (st == BC_OK) {
    st = bc_os_rename_dir(p->tmp, dest, err);
    if (bc_os_exists(dest))
      bc_os_remove_tree(old);
    else
      (void)!bc_os_rename_dir(old, dest, NULL); /* as it was, if it can be */
  }
  bc_free(old);
  return st;
}

/* A copy never changes, and nothing beside it would tell. */
static bc_status check_is_up_to_date(bc_store *store, bc_err *err)
{
  bc_store_info info;
  bc_snapshot *s = NULL;
  BC_RET(bc_snapshot_open(store, &s, err));
  bc_status st = bc_snapshot_info(s, &info, err);
  bc_snapshot_close(s);
  if (st == BC_OK && info.newest > 0)
    st = BC_FAIL(err, BC_E_CORRUPT,
                 "index: older than segment %" PRIu32 "; nothing was published: run bctool verify %s",
                 info.newest, store->path);
  return st;
}

bc_status bc_store_publish(bc_store *store, const char *dest_in, const bc_publish_opts *opts,
                           const bc_progress *progress, bc_publish_report *report, bc_err *err)
{
  bc_status st = BC_OK;
  publishing p = { .st = store, .opts = opts, .progress = progress, .report = report };
  bool there = false;
  memset(report, 0, sizeof *report);
  BC_RET(bc_store_check_process(store, err));
  char *dest = bc_strdup(dest_in);
  for (size_t n = dest == NULL ? 0 : strlen(dest); n > 1 && dest[n - 1] == '/'; n--)
    dest[n - 1] = '\0';
  p.tmp = dest == NULL ? NULL : bc_asprintf("%s.tmp-%ld", dest, bc_os_pid());
  p.segments = p.tmp == NULL ? NULL : bc_asprintf("%s/" BC_SEGMENTS, p.tmp);
  p.index = p.tmp == NULL ? NULL : bc_asprintf("%s/" BC_INDEX, p.tmp);
  if (p.segments == NULL || p.index == NULL) BC_TRY(no_memory(err));
  if (bc_os_is_inside(dest, store->path))
    BC_TRY(BC_FAIL(err, BC_E_INVAL, "%s: is inside of the store itself: publish to a place beside it", dest));
  BC_TRY(check_is_up_to_date(store, err));
  BC_TRY(check_dest(&p, dest, &there, err));
  st = fill_again(&p, err);
  if (st == BC_OK) st = give_name(&p, dest, there, err);
  if (st != BC_OK) bc_os_remove_tree(p.tmp);
out:
  bc_free(p.index);
  bc_free(p.segments);
  bc_free(p.tmp);
  bc_free(dest);
  return st;
}
