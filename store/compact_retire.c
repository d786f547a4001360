/*
 * Commits of a compaction, and the end of segments.
 *
 * The index has to come out the same when it is made anew from the segments that are left. So the commit that
 * retires segments carries on what their records said: the modalities (all of them), the sources, and those
 * of their drops that still have something to hide: a key that is not in the index, but in a segment older
 * than the drop that stays.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/commit.h"
#include "store/compact.h"
#include "store/store_int.h"

#define RETIRE_PART 4 /* of what is to go, this part at once: at most so many recounts in one run */

typedef struct drop {
  uint8_t key[BC_TILE_KEY_BYTES];
  uint32_t segment; /* that says so: the greatest */
  bool needed;
} drop;

typedef struct carry {
  bc_compaction *c;
  bc_txn *t;
  drop *drops;
  size_t n_drops, cap_drops;
  uint32_t *ids; /* of sources */
  size_t n_ids, cap_ids;
  bc_buf sources;
  uint32_t n_sources;
  uint32_t number; /* of the segment that is looked at */
} carry;

static bc_status room(void **p, size_t *cap, size_t n, size_t elem, bc_err *err)
{
  if (n < *cap) return BC_OK;
  size_t bytes = 0;
  const size_t want = *cap == 0 ? 64 : 2 * *cap;
  void *q = bc_mul_sz(want, elem, &bytes) ? bc_realloc(*p, bytes) : NULL;
  if (q == NULL) return BC_FAIL(err, BC_E_NOMEM, "compact: no memory for %zu entries", want);
  *p = q;
  *cap = want;
  return BC_OK;
}

bc_seg_state *bc_compact_seg(const bc_compaction *c, uint32_t id)
{
  size_t lo = 0, hi = c->n_segs;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (c->segs[mid].id < id)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < c->n_segs && c->segs[lo].id == id ? &c->segs[lo] : NULL;
}

void bc_compact_note(const bc_compaction *c, const bc_err *e)
{
  if (c->progress != NULL && c->progress->note != NULL) c->progress->note(c->progress->ctx, e->msg);
}

static char *path_of(const bc_compaction *c, uint32_t id)
{
  char name[BC_SEGMENT_NAME];
  bc_segment_name(id, name);
  return bc_asprintf("%s/%s", c->st->segments, name);
}

/* ---- what retired segments said ---- */

static bc_status keep_source(void *ctx, uint32_t id, bc_err *err)
{
  carry *k = ctx;
  void *p = k->ids;
  BC_RET(room(&p, &k->cap_ids, k->n_ids, sizeof *k->ids, err));
  k->ids = p;
  k->ids[k->n_ids++] = id;
  return BC_OK;
}

static bc_status keep_drop(carry *k, const uint8_t *key, bc_err *err)
{
  bc_tile_key tile;
  bc_bytes v;
  BC_RET(bc_tile_key_get((bc_bytes){ key, BC_TILE_KEY_BYTES }, &tile, err));
  if (bc_writer_is_pending(k->c->w, &tile)) return BC_OK;
  const bc_status live = bc_txn_get(k->t, BC_TABLE_TILES, (bc_bytes){ key, BC_TILE_KEY_BYTES }, &v, err);
  if (live != BC_E_NOTFOUND) return live;
  void *p = k->drops;
  BC_RET(room(&p, &k->cap_drops, k->n_drops, sizeof *k->drops, err));
  k->drops = p;
  drop *d = &k->drops[k->n_drops++];
  memcpy(d->key, key, sizeof d->key);
  d->segment = k->number;
  d->needed = false;
  return BC_OK;
}

static bc_status read_record(carry *k, uint32_t id, bc_err *err)
{
  bc_segment *seg = NULL;
  bc_commit_parts parts;
  BC_RET(bc_segment_open(k->c->st->segments, id, k->c->st->uuid, true, &seg, err));
  k->number = id;
  bc_status st = bc_commit_parts_of(seg, &parts, keep_source, k, err);
  for (size_t i = 0; st == BC_OK && i < parts.drops.n; i += BC_TILE_KEY_BYTES)
    st = keep_drop(k, parts.drops.p + i, err);
  bc_segment_unref(seg);
  return st;
}

static bc_status keep_any_source(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  (void)value;
  (void)stop;
  if (key.n != 4) return BC_FAIL(err, BC_E_CORRUPT, "index: sources: run bctool reindex");
  return keep_source(ctx, bc_be32(key.p), err);
}

static bc_status keep_dead_key(void *ctx, const bc_tile_rec *rec, bc_bytes head, bc_err *err)
{
  bc_tile_head h;
  uint8_t key[BC_TILE_KEY_BYTES];
  (void)rec;
  BC_RET(bc_tile_head_parse(head, &h, err));
  bc_tile_key_put(&h.key, key);
  return keep_drop(ctx, key, err);
}

/* A record that is lost may have spoken of any source, and have dropped any tile that is in an older
 * directory and not in the index. */
static bc_status guess_record(carry *k, uint32_t id, bc_err *err)
{
  BC_RET(bc_txn_each(k->t, BC_TABLE_SOURCES, (bc_bytes){ NULL, 0 }, keep_any_source, k, err));
  k->number = id;
  for (size_t i = 0; i < k->c->n_segs && k->c->segs[i].id < id; i++) {
    bc_segment *seg = NULL;
    bc_status st = bc_segment_open(k->c->st->segments, k->c->segs[i].id, k->c->st->uuid, true, &seg, NULL);
    if (st == BC_OK) st = bc_segment_each(seg, keep_dead_key, k, err);
    bc_segment_unref(seg);
    if (st == BC_E_NOMEM) return BC_FAIL(err, BC_E_NOMEM, "compact: no memory");
  } /* one that cannot be read is passed over by reindex, too */
  return BC_OK;
}

/* By key, the latest first. */
static int by_key(const void *a, const void *b)
{
  const drop *x = a, *y = b;
  const int d = memcmp(x->key, y->key, sizeof x->key);
  return d != 0 ? d : (x->segment < y->segment) - (x->segment > y->segment);
}

static void unique_drops(carry *k)
{
  size_t n = 0;
  if (k->n_drops > 1) qsort(k->drops, k->n_drops, sizeof *k->drops, by_key);
  for (size_t i = 0; i < k->n_drops; i++)
    if (n == 0 || memcmp(k->drops[n - 1].key, k->drops[i].key, BC_TILE_KEY_BYTES) != 0)
      k->drops[n++] = k->drops[i];
  k->n_drops = n;
}

/* ---- which drops are needed yet ---- */

static bc_status seek_key(void *ctx, const bc_tile_rec *rec, bc_bytes head, bc_err *err)
{
  carry *k = ctx;
  bc_tile_head h;
  drop want = { .needed = false };
  size_t lo = 0, hi = k->n_drops;
  (void)rec;
  BC_RET(bc_tile_head_parse(head, &h, err));
  bc_tile_key_put(&h.key, want.key);
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (memcmp(k->drops[mid].key, want.key, sizeof want.key) < 0)
      lo = mid + 1;
    else
      hi = mid;
  }
  if (lo < k->n_drops && memcmp(k->drops[lo].key, want.key, sizeof want.key) == 0 &&
      k->drops[lo].segment > k->number)
    k->drops[lo].needed = true;
  return BC_OK;
}

/* A segment that cannot be read may hide anything: then all are needed. */
static bc_status look_into(carry *k, const bc_seg_state *s, bc_err *err)
{
  bc_segment *seg = NULL;
  bc_err e = { .msg = "" };
  k->number = s->id;
  bc_status st = bc_segment_open(k->c->st->segments, s->id, k->c->st->uuid, true, &seg, &e);
  if (st == BC_OK) st = bc_segment_each(seg, seek_key, k, &e);
  bc_segment_unref(seg);
  if (st == BC_E_NOMEM && err != NULL) *err = e;
  if (st == BC_OK || st == BC_E_NOMEM) return st;
  for (size_t i = 0; i < k->n_drops; i++)
    k->drops[i].needed = true;
  return BC_OK;
}

static bc_status carry_drops(carry *k, bc_err *err)
{
  bc_tile_key tile;
  unique_drops(k);
  for (size_t i = 0; i < k->c->n_segs && k->n_drops > 0; i++) {
    const bc_seg_state *s = &k->c->segs[i];
    if (!s->retired && s->count > s->heads) BC_RET(look_into(k, s, err));
  }
  for (size_t i = 0; i < k->n_drops; i++) {
    if (!k->drops[i].needed) continue;
    BC_RET(bc_tile_key_get((bc_bytes){ k->drops[i].key, BC_TILE_KEY_BYTES }, &tile, err));
    BC_RET(bc_writer_drop(k->c->w, &tile, err));
  }
  return BC_OK;
}

static int by_number(const void *a, const void *b)
{
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* As the index has them: the latest word on each. */
static bc_status carry_sources(carry *k, bc_err *err)
{
  uint8_t key[4];
  bc_bytes v;
  if (k->n_ids > 1) qsort(k->ids, k->n_ids, sizeof *k->ids, by_number);
  for (size_t i = 0; i < k->n_ids; i++) {
    if (i > 0 && k->ids[i] == k->ids[i - 1]) continue;
    bc_put_be32(key, k->ids[i]);
    const bc_status st = bc_txn_get(k->t, BC_TABLE_SOURCES, (bc_bytes){ key, sizeof key }, &v, err);
    if (st == BC_E_NOTFOUND)
      return BC_FAIL(err, BC_E_CORRUPT, "index: source %" PRIu32 " is not there: run bctool reindex",
                     k->ids[i]);
    BC_RET(st);
    BC_RET(bc_buf_u32(&k->sources, (uint32_t)v.n, err));
    BC_RET(bc_buf_put(&k->sources, v.p, v.n, err));
    k->n_sources++;
  }
  return BC_OK;
}

/* ---- commit ---- */

static bool is_free(const bc_seg_state *s) { return s->moving && !s->retired && s->refs == 0; }

static bool worth_retiring(const bc_compaction *c, bool last)
{
  uint64_t bytes = 0, n = 0;
  for (size_t i = 0; i < c->n_segs; i++) {
    if (!is_free(&c->segs[i])) continue;
    bytes += c->segs[i].file_bytes;
    n++;
  }
  return n > 0 && (last || bytes > c->moving_bytes / RETIRE_PART);
}

static bc_status retire_one(carry *k, bc_seg_state *s, bc_err *err)
{
  const size_t drops = k->n_drops, ids = k->n_ids;
  bc_err e = { .msg = "" };
  bc_status st = read_record(k, s->id, &e);
  if (st == BC_E_NOTFOUND || (st <= BC_E_CORRUPT && st > BC_E_IO)) {
    k->n_drops = drops;
    k->n_ids = ids;
    st = guess_record(k, s->id, &e);
  }
  if (st != BC_OK) {
    if (err != NULL) *err = e;
    return st;
  }
  s->retired = true;
  return bc_writer_retire(k->c->w, s->id, err);
}

static bc_status retire_free(carry *k, bc_err *err)
{
  BC_RET(bc_txn_begin(k->c->st->ix, false, &k->t, err));
  for (size_t i = 0; i < k->c->n_segs; i++)
    if (is_free(&k->c->segs[i])) BC_RET(retire_one(k, &k->c->segs[i], err));
  BC_RET(carry_sources(k, err));
  return carry_drops(k, err);
}

/* A file that cannot be removed now is a leftover of the next run. */
static void unlink_retired(bc_compaction *c)
{
  for (size_t i = 0; i < c->n_segs; i++) {
    bc_seg_state *s = &c->segs[i];
    if (!s->retired || s->removed) continue;
    bc_err e = { .msg = "" };
    char *path = path_of(c, s->id);
    bc_store_forget(c->st, s->id);
    if (path != NULL && bc_os_exists(path) && bc_os_unlink(path, &e) != BC_OK) bc_compact_note(c, &e);
    bc_free(path);
    s->removed = true;
    s->file_bytes = 0;
  }
}

bc_status bc_compact_commit(bc_compaction *c, bool last, bc_err *err)
{
  bc_status st = BC_OK;
  carry k = { .c = c };
  bc_upkeep *u = &c->upkeep;
  const bool retire = worth_retiring(c, last), waiting = bc_writer_pending_bytes(c->w) > 0;
  u->recount = retire || (last && (c->report->commits > 0 || waiting));
  if (!u->recount && !waiting) return BC_OK;
  k.sources = bc_buf_empty((size_t)1 << 32);
  if (retire) BC_TRY(retire_free(&k, err));
  bc_txn_abort(k.t);
  k.t = NULL;
  u->sources = (bc_bytes){ k.sources.p, k.sources.n };
  u->n_sources = k.n_sources;
  st = bc_writer_commit(c->w, err);
  if (st == BC_OK) {
    c->report->commits++;
    unlink_retired(c);
  }
out:
  u->recount = false;
  u->sources = (bc_bytes){ NULL, 0 };
  u->n_sources = 0;
  bc_txn_abort(k.t);
  bc_free(k.drops);
  bc_free(k.ids);
  bc_buf_dispose(&k.sources);
  return st;
}

/* ---- leftovers ---- */

typedef struct leftovers {
  bc_compaction *c;
  uint32_t *ids; /* files that the index does not know, ascending */
  size_t n, cap;
} leftovers;

static bc_status remove_file(bc_compaction *c, char *path, bc_err *err)
{
  uint64_t bytes = 0;
  if (path == NULL) return BC_FAIL(err, BC_E_NOMEM, "compact: no memory");
  bc_status st = bc_os_file_size(path, &bytes, err);
  if (st == BC_OK) st = bc_os_unlink(path, err);
  bc_free(path);
  if (st != BC_OK) return st;
  c->report->leftovers++;
  c->report->bytes_before += bytes;
  return BC_OK;
}

static bc_status sort_file(leftovers *l, const char *name, uint64_t next, bc_err *err)
{
  uint32_t id = 0;
  if (!bc_segment_id(name, &id) || id >= next || bc_compact_seg(l->c, id) != NULL) return BC_OK;
  void *p = l->ids;
  BC_RET(room(&p, &l->cap, l->n, sizeof *l->ids, err));
  l->ids = p;
  l->ids[l->n++] = id;
  return BC_OK;
}

/* Files that this segment's commit has retired. Any other file that the index does not know may be all that
 * is left of something: it stays. */
static bc_status remove_retired_by(leftovers *l, const bc_seg_state *s, bc_err *err)
{
  bc_segment *seg = NULL;
  bc_commit_parts parts;
  bc_status st = BC_OK;
  BC_RET(bc_segment_open(l->c->st->segments, s->id, l->c->st->uuid, true, &seg, err));
  BC_TRY(bc_commit_parts_of(seg, &parts, NULL, NULL, err));
  for (size_t i = 0; i < parts.retired.n; i += 4) {
    const uint32_t id = bc_le32(parts.retired.p + i);
    uint32_t *at = l->n == 0 ? NULL : bsearch(&id, l->ids, l->n, sizeof id, by_number);
    if (at == NULL || id >= s->id) continue;
    BC_TRY(remove_file(l->c, path_of(l->c, id), err));
    memmove(at, at + 1, (size_t)(l->ids + l->n - (at + 1)) * sizeof *at);
    l->n--;
  }
out:
  bc_segment_unref(seg);
  return st;
}

bc_status bc_compact_leftovers(bc_compaction *c, bc_err *err)
{
  bc_status st = BC_OK;
  leftovers l = { .c = c };
  char **names = NULL;
  size_t n = 0;
  uint64_t next = 0;
  bc_txn *t = NULL;
  BC_TRY(bc_txn_begin(c->st->ix, false, &t, err));
  BC_TRY(bc_meta_get(t, BC_META_NEXT_SEGMENT, &next, err));
  BC_TRY(bc_os_list(c->st->segments, &names, &n, err)); /* sorted, so numbers ascend */
  for (size_t i = 0; i < n; i++)
    BC_TRY(sort_file(&l, names[i], next, err));
  for (size_t i = 0; i < c->n_segs && l.n > 0; i++) {
    bc_err e = { .msg = "" };
    st = remove_retired_by(&l, &c->segs[i], &e);
    if (st == BC_E_NOTFOUND || bc_is_damage(st)) { /* verify will say more of it */
      if (st != BC_E_NOTFOUND) bc_compact_note(c, &e);
      st = BC_OK;
    } else if (st != BC_OK && err != NULL) {
      *err = e;
    }
    if (st != BC_OK) break;
  }
out:
  bc_txn_abort(t);
  bc_os_list_free(names, n);
  bc_free(l.ids);
  return st;
}
