/* Opening a store, and the segments that are mapped. */
#include "store/store_int.h"

#include <string.h>

/* Maps that nobody uses are let go beyond this: the kernel allows 65,530 maps to a process. */
#define OPEN_SEGMENTS 8192
/* A writer has all pages of an index up to this size looked at (256 MiB, about 0.1 s), of a larger one those
 * above the entries: damage in the others it meets unchecked. verify looks at all. */
#define CHECKED_PAGES 65536

/* ---- open and close ---- */

static bc_status open_index(bc_store *st, unsigned flags, bc_err *err)
{
  bc_status s;
  bc_txn *t = NULL;
  uint64_t lo = 0, hi = 0;
  char *folder = bc_asprintf("%s/" BC_INDEX, st->path);
  if (folder == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory");
  if (!bc_os_is_own_dir(folder)) {
    s = BC_FAIL(err, BC_E_CORRUPT, "%s: no folder there (a link is not followed): run bctool reindex",
                folder);
    bc_free(folder);
    return s;
  }
  s = bc_index_open(folder,
                    (flags & BC_OPEN_WRITE ? BC_INDEX_WRITE : 0) |
                        (flags & BC_OPEN_NOLOCK ? BC_INDEX_NOLOCK : 0) | (st->published ? BC_INDEX_FIXED : 0),
                    &st->ix, err);
  bc_free(folder);
  if (s == BC_OK) s = bc_txn_begin(st->ix, false, &t, err);
  if (s == BC_OK) s = bc_meta_get(t, BC_META_UUID_LO, &lo, err);
  if (s == BC_OK) s = bc_meta_get(t, BC_META_UUID_HI, &hi, err);
  bc_txn_abort(t);
  if (s == BC_OK && (lo != bc_le64(st->uuid) || hi != bc_le64(st->uuid + 8)))
    s = BC_FAIL(err, BC_E_CORRUPT, "%s: its index belongs to another store: run bctool reindex", st->path);
  return s;
}

static bc_status take_lock(bc_store *st, bc_err *err)
{
  char *path = bc_asprintf("%s/" BC_LOCK, st->path);
  if (path == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory");
  const bc_status s = bc_os_lock(path, &st->lock, err);
  bc_free(path);
  st->locked = s == BC_OK;
  return s;
}

static bc_status open_marked(const char *path, bc_store **out, bc_err *err)
{
  bc_status st = BC_OK;
  *out = NULL;
  bc_store *s = bc_calloc(1, sizeof *s);
  if (s == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory");
  pthread_mutex_init(&s->mutex, NULL);
  s->pid = bc_os_pid();
  s->path = bc_path_trimmed(path);
  s->segments = s->path == NULL ? NULL : bc_asprintf("%s/" BC_SEGMENTS, s->path);
  s->newest = s->path == NULL ? NULL : bc_asprintf("%s/" BC_SEGMENTS "/" BC_NEWEST, s->path);
  if (s->segments == NULL || s->newest == NULL) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "store: no memory"));
  BC_TRY(bc_marker_read(s, err));
  if (!bc_os_is_own_dir(s->segments))
    BC_TRY(BC_FAIL(err, BC_E_CORRUPT, "%s: no folder there (a link is not followed)", s->segments));
  *out = s;
  s = NULL;
out:
  bc_store_close(s);
  return st;
}

bc_status bc_store_open(const char *path, unsigned flags, bc_store **out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_store *s = NULL;
  *out = NULL;
  BC_TRY(open_marked(path, &s, err));
  if (s->published && (flags & BC_OPEN_WRITE))
    BC_TRY(BC_FAIL(err, BC_E_READONLY, "%s: a published store is never written", s->path));
  if (s->published) flags |= BC_OPEN_NOLOCK;
  if (flags & BC_OPEN_WRITE) BC_TRY(take_lock(s, err));
  BC_TRY(open_index(s, flags, err));
  /* What only reads checks what it uses; a writer uses LMDB, which checks nothing. */
  if (flags & BC_OPEN_WRITE) BC_TRY(bc_index_check(s->ix, CHECKED_PAGES, err));
  s->write = (flags & BC_OPEN_WRITE) != 0;
  *out = s;
  s = NULL;
out:
  bc_store_close(s);
  return st;
}

bc_status bc_store_open_bare(const char *path, bc_store **out, bc_err *err)
{
  BC_RET(open_marked(path, out, err));
  bc_status st = BC_OK;
  if ((*out)->published)
    st = BC_FAIL(err, BC_E_READONLY, "%s: a published store is never written: publish it anew", (*out)->path);
  if (st == BC_OK) st = take_lock(*out, err);
  if (st == BC_OK) return BC_OK;
  bc_store_close(*out);
  *out = NULL;
  return st;
}

void bc_schema_unref(bc_schema *s)
{
  if (s == NULL || atomic_fetch_sub(&s->refs, 1) > 1) return;
  for (size_t i = 0; i < s->n_modalities; i++)
    bc_modality_dispose(&s->modalities[i]);
  bc_free(s->modalities);
  bc_free(s->grids);
  bc_free(s);
}

void bc_store_close(bc_store *st)
{
  if (st == NULL) return;
  for (size_t i = 0; i < st->n_open; i++)
    bc_segment_unref(st->open[i]);
  bc_free(st->open);
  bc_schema_unref(st->schema);
  bc_index_close(st->ix);
  if (st->locked && st->pid == bc_os_pid()) bc_os_unlock(&st->lock);
  pthread_mutex_destroy(&st->mutex);
  bc_free(st->segments);
  bc_free(st->newest);
  bc_free(st->path);
  bc_free(st);
}

const char *bc_store_path(const bc_store *st) { return st->path; }

bc_status bc_store_check_process(const bc_store *st, bc_err *err)
{
  if (st->pid == bc_os_pid()) return BC_OK;
  return BC_FAIL(err, BC_E_INVAL,
                 "%s: opened by process %ld, used by its fork %ld: open it again after fork()", st->path,
                 st->pid, bc_os_pid());
}

/* ---- segments ---- */

/* Sorted by number, not indexed by it: an index may name any number, and a table up to there would be huge.
 */
static size_t place_of(const bc_store *st, uint32_t id)
{
  size_t lo = 0, hi = st->n_open;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (bc_segment_number(st->open[mid]) < id)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static bool is_open(const bc_store *st, size_t at, uint32_t id)
{
  return at < st->n_open && bc_segment_number(st->open[at]) == id;
}

void bc_store_drop_unused(bc_store *st)
{
  size_t kept = 0;
  for (size_t i = 0; i < st->n_open; i++) {
    if (bc_segment_refs(st->open[i]) > 1)
      st->open[kept++] = st->open[i];
    else
      bc_segment_unref(st->open[i]);
  }
  st->n_open = kept;
}

static bc_status open_segment(bc_store *st, uint32_t id, size_t *at, bc_err *err)
{
  bc_segment *seg = NULL;
  *at = place_of(st, id);
  if (is_open(st, *at, id)) return BC_OK;
  if (st->n_open >= OPEN_SEGMENTS) bc_store_drop_unused(st);
  if (st->n_open == st->open_cap) {
    const size_t cap = BC_MAX(st->open_cap * 2, 64);
    bc_segment **p = bc_realloc(st->open, cap * sizeof(bc_segment *));
    if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory for %zu segments", cap);
    st->open = p;
    st->open_cap = cap;
  }
  BC_RET(bc_segment_open(st->segments, id, st->uuid, false, &seg, err));
  *at = place_of(st, id);
  memmove(&st->open[*at + 1], &st->open[*at], (st->n_open - *at) * sizeof(bc_segment *));
  st->open[*at] = seg;
  st->n_open++;
  return BC_OK;
}

bc_status bc_store_segment(bc_store *st, uint32_t id, bc_segment **out, bc_err *err)
{
  size_t at = 0;
  *out = NULL;
  pthread_mutex_lock(&st->mutex);
  const bc_status s = open_segment(st, id, &at, err);
  if (s == BC_OK) *out = bc_segment_ref(st->open[at]);
  pthread_mutex_unlock(&st->mutex);
  return s;
}

void bc_store_forget(bc_store *st, uint32_t id)
{
  pthread_mutex_lock(&st->mutex);
  const size_t at = place_of(st, id);
  if (is_open(st, at, id)) {
    bc_segment_unref(st->open[at]);
    st->n_open--;
    memmove(&st->open[at], &st->open[at + 1], (st->n_open - at) * sizeof(bc_segment *));
  }
  pthread_mutex_unlock(&st->mutex);
}
