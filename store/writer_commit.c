/*
 * Commits: one immutable segment with all that waits, then one transaction of the index that applies it; and
 * finishing that where a crash came between the two.
 */
#include <inttypes.h>
#include <string.h>

#include "store/commit.h"
#include "store/writer_int.h"

/* Modalities that this commit has to say something of. */
static bc_status speak_of(const bc_writer *w, const bc_modality ***out, size_t *n, bc_err *err)
{
  const bc_modality **p = bc_calloc(w->n_mods + 1, sizeof(const bc_modality *));
  *out = p;
  *n = 0;
  if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "writer: no memory");
  for (size_t i = 0; i < w->n_mods; i++)
    if (w->mods[i].changed || w->mods[i].used || w->upkeep != NULL) p[(*n)++] = &w->mods[i].m;
  return BC_OK;
}

/* ---- segments that are there after the commit ---- */

typedef struct live {
  const bc_writer *w;
  bc_run *runs;
  size_t n, cap;
  uint64_t sum;
} live;

static bc_status add_live(live *l, uint32_t id, bc_err *err)
{
  bc_run *last = l->n == 0 ? NULL : &l->runs[l->n - 1];
  l->sum++;
  if (last != NULL && last->first + last->n == id) {
    last->n++;
    return BC_OK;
  }
  if (l->n == l->cap) {
    const size_t cap = l->cap == 0 ? 16 : 2 * l->cap;
    bc_run *p = bc_realloc(l->runs, cap * sizeof *p);
    if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "writer: no memory");
    l->runs = p;
    l->cap = cap;
  }
  l->runs[l->n++] = (bc_run){ id, 1 };
  return BC_OK;
}

static bool is_retired(const bc_writer *w, uint32_t id)
{
  for (size_t i = 0; i < w->n_retired; i++)
    if (w->retired[i] == id) return true;
  return false;
}

static bc_status each_live(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  live *l = ctx;
  bc_segment_rec seg;
  (void)stop;
  BC_RET(bc_segment_rec_get(key, value, &seg, err));
  return is_retired(l->w, seg.id) ? BC_OK : add_live(l, seg.id, err);
}

static bc_status list_live(const bc_writer *w, live *l, bc_err *err)
{
  bc_txn *t = NULL;
  *l = (live){ .w = w };
  BC_RET(bc_txn_begin(w->st->ix, false, &t, err));
  bc_status st = bc_txn_each(t, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, each_live, l, err);
  bc_txn_abort(t);
  if (st == BC_OK) st = add_live(l, w->next_segment, err);
  if (l->sum > BC_LIVE_MAX) l->n = 0;
  return st;
}

/* ---- the commit ---- */

static bc_status publish_segment(bc_writer *w, bc_err *err)
{
  bc_status st = BC_OK;
  live l = { 0 };
  bc_buf record = bc_buf_empty((size_t)1 << 32);
  const bc_modality **mods = NULL;
  bc_commit c = { .snapshot = w->snapshot + 1,
                  .grids = w->grids,
                  .n_grids = w->n_grids,
                  .sources = w->sources.rec,
                  .n_sources = w->sources.n,
                  .drops = w->drops,
                  .n_drops = w->n_drops,
                  .retired = w->retired,
                  .n_retired = w->n_retired };
  if (w->upkeep != NULL) {
    c.flags = BC_COMMIT_UPKEEP | (w->upkeep->recount ? BC_COMMIT_RECOUNT : 0);
    c.carried = w->upkeep->sources;
    c.n_carried = w->upkeep->n_sources;
  }
  BC_TRY(speak_of(w, &mods, &c.n_modalities, err));
  c.modalities = mods;
  BC_TRY(list_live(w, &l, err));
  c.live = l.runs;
  c.n_live = l.n;
  BC_TRY(bc_writer_open_segment(w, err));
  BC_TRY(bc_commit_encode(&c, &record, err));
  BC_TRY(bc_segw_finish(w->seg, (bc_bytes){ record.p, record.n }, err));
out:
  bc_free(mods);
  bc_free(l.runs);
  bc_buf_dispose(&record);
  return st;
}

static bc_status apply_segment(bc_store *st, uint32_t id, bool deep, bc_err *err)
{
  bc_status s = BC_OK;
  bc_segment *seg = NULL;
  bc_txn *t = NULL;
  s = bc_segment_open(st->segments, id, st->uuid, deep, &seg, err);
  if (s == BC_OK) s = bc_txn_begin(st->ix, true, &t, err);
  if (s == BC_OK) s = bc_commit_apply(t, seg, st->segments, st->uuid, err);
  if (s == BC_OK) {
    s = bc_txn_commit(t, err);
    t = NULL;
  }
  bc_txn_abort(t);
  bc_segment_unref(seg);
  if (s == BC_OK) bc_newest_put(st, id);
  return s;
}

/* What a run that was killed left of a segment; where it cannot be removed it is in nobody's way. */
static void remove_unfinished(const bc_store *st, const char *name)
{
  char *path = bc_asprintf("%s/%s", st->segments, name);
  if (path != NULL) (void)!bc_os_unlink(path, NULL);
  bc_free(path);
}

/* Segments that the index does not know yet, by their numbers. */
typedef struct younger {
  uint32_t whole; /* the first */
  uint32_t n_whole;
  bc_buf damaged;  /* le32 each */
  uint32_t newest; /* that was ever committed, as far as that is known */
  bool has_newest; /* its file is there */
} younger;

static bc_status look_at(const bc_store *st, uint32_t id, uint64_t next, younger *y, bc_err *err)
{
  bc_segment *seg = NULL;
  const bc_status s = bc_segment_open(st->segments, id, st->uuid, true, &seg, err);
  bc_segment_unref(seg);
  if (s == BC_OK && y->n_whole++ == 0) y->whole = id;
  if (bc_is_damage(s) && id - next < BC_STRAY_FAR) return bc_buf_u32(&y->damaged, id, err);
  return s == BC_E_NOTFOUND || bc_is_damage(s) ? BC_OK : s;
}

/* The newest segment, when its file is gone, and the index does not know of it either. */
static bc_status add_gone(uint64_t next, uint32_t *highest, younger *y, bc_err *err)
{
  if (y->newest < next || y->has_newest || y->newest - next >= BC_STRAY_FAR) return BC_OK;
  *highest = BC_MAX(*highest, y->newest);
  return bc_buf_u32(&y->damaged, y->newest, err);
}

/* The files that are there, in order of their names, which is that of their numbers; a stray one may have any
 * number, so that counting up to it could take hours. */
static bc_status list_younger(const bc_store *st, uint64_t next, younger *y, uint32_t *highest, bc_err *err)
{
  char **names = NULL;
  size_t n = 0;
  uint32_t id = 0;
  bc_status s = bc_os_list(st->segments, &names, &n, err);
  for (size_t i = 0; s == BC_OK && i < n; i++) {
    if (bc_segment_is_unfinished(names[i])) remove_unfinished(st, names[i]);
    if (!bc_segment_id(names[i], &id)) continue;
    *highest = id;
    y->has_newest = y->has_newest || id == y->newest;
    if (id >= next) s = look_at(st, id, next, y, err);
  }
  bc_os_list_free(names, n);
  return s == BC_OK ? add_gone(next, highest, y, err) : s;
}

/* They were whole when they were published: what they held is lost, if it was ever told to be in. */
static bc_status note_lost(bc_store *st, bc_bytes ids, bc_err *err)
{
  bc_txn *t = NULL;
  bc_status s = BC_OK;
  BC_RET(bc_txn_begin(st->ix, true, &t, err));
  for (size_t i = 0; s == BC_OK && i < ids.n; i += 4)
    s = bc_put_lost_segment(t, bc_le32(ids.p + i), err);
  if (s == BC_OK)
    s = bc_txn_commit(t, err);
  else
    bc_txn_abort(t);
  return s;
}

/*
 * A segment is published before the index commits. Where a crash came between the two, the commit is finished
 * now: all it takes is in the segment. There is one such segment at most, the next one; where there are more,
 * or a later one, this index is not the one that they were committed to.
 */
bc_status bc_writer_roll_forward(bc_store *st, uint32_t *next_segment, bc_err *err)
{
  younger y = { .damaged = bc_buf_empty(SIZE_MAX), .newest = bc_newest_get(st) };
  uint32_t highest = 0;
  uint64_t next = 0;
  bc_txn *t = NULL;
  BC_RET(bc_txn_begin(st->ix, false, &t, err));
  bc_status s = bc_meta_get(t, BC_META_NEXT_SEGMENT, &next, err);
  bc_txn_abort(t);
  if (s == BC_OK) s = list_younger(st, next, &y, &highest, err);
  if (s == BC_OK && highest >= UINT32_MAX - 1)
    s = BC_FAIL(err, BC_E_RANGE, "%s: segment %" PRIu32 " is there, and no greater number is left", st->path,
                highest);
  if (s == BC_OK && bc_is_put_back(y.n_whole, y.damaged.n, y.whole, next))
    s = BC_FAIL(err, BC_E_CORRUPT,
                "index: older than segment %" PRIu32 ": a copy of it was put back? run bctool reindex %s",
                y.newest >= next && y.newest - next < BC_STRAY_FAR ? y.newest : y.whole, st->path);
  if (s == BC_OK && y.n_whole == 1) {
    uint8_t id[4];
    bc_put_le32(id, y.whole);
    s = apply_segment(st, y.whole, true, err);
    if (bc_is_damage(s)) s = note_lost(st, (bc_bytes){ id, sizeof id }, err);
  } else if (s == BC_OK && y.damaged.n > 0) {
    s = note_lost(st, (bc_bytes){ y.damaged.p, y.damaged.n }, err);
  }
  bc_buf_dispose(&y.damaged);
  if (s == BC_OK && y.newest + 1 < next)
    bc_newest_put(st, (uint32_t)next - 1); /* a store of before it was kept */
  *next_segment = highest + 1;
  return s;
}

/* The commit is undone. What stays behind if this fails too is a whole commit that the next writer finishes.
 */
static void unlink_segment(const bc_writer *w)
{
  char name[BC_SEGMENT_NAME];
  bc_segment_name(w->next_segment, name);
  char *path = bc_asprintf("%s/%s", w->st->segments, name);
  if (path != NULL) (void)!bc_os_unlink(path, NULL);
  bc_free(path);
}

/* Forget what waited; the modalities stay, they are what later tiles refer to. */
static void reset(bc_writer *w, bool committed)
{
  bc_segw_close(w->seg);
  w->seg = NULL;
  w->n_drops = 0;
  w->n_retired = 0;
  bc_source_set_clear(&w->sources);
  if (w->n_slots > 0) memset(w->slots, 0, w->n_slots * sizeof *w->slots);
  for (size_t i = 0; i < w->n_mods; i++) {
    if (committed) w->mods[i].changed = false;
    w->mods[i].used = false;
  }
  if (!committed) return;
  w->next_segment++;
  w->snapshot++;
}

static bool anything_pending(const bc_writer *w)
{
  bool changed = w->seg != NULL || w->n_drops > 0 || w->sources.n > 0 || w->n_retired > 0 ||
                 (w->upkeep != NULL && w->upkeep->recount);
  for (size_t i = 0; i < w->n_mods && !changed; i++)
    changed = w->mods[i].changed;
  return changed;
}

bc_status bc_writer_commit(bc_writer *w, bc_err *err)
{
  BC_RET(bc_store_check_process(w->st, err));
  if (!anything_pending(w)) return BC_OK;
  bc_status st = publish_segment(w, err);
  if (st == BC_OK) st = apply_segment(w->st, w->next_segment, false, err);
  if (st != BC_OK) unlink_segment(w); /* also when only the folder's fsync failed */
  reset(w, st == BC_OK);
  return st;
}
