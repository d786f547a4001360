/*
 * Applying a commit to the index. The record itself: commit_record.c.
 */
#include "store/commit_int.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/schema_io.h"
#include "store/store_int.h"

/* ---- applying ---- */

typedef struct apply {
  bc_txn *t;
  const bc_segment *seg;
  const char *folder;
  const uint8_t *uuid;
  uint64_t snapshot;
  bool schema_changed;
  uint32_t flags;
  bc_usage *usage;       /* by modality */
  uint8_t *touched;      /* by modality: TOUCHED, RECOUNT */
  uint64_t n_modalities; /* 1 + the highest id in the index, after this commit's */
  bc_buf sources;        /* le32 each: of the tiles */
} apply;

enum { TOUCHED = 1, RECOUNT = 2 };

static bc_status apply_grids(apply *a, bc_cursor *c, bc_err *err)
{
  const uint32_t n = bc_cur_u32(c);
  if (!c->ok || n > BC_MAX_GRIDS) return bc_commit_bad(a->seg, err);
  for (uint32_t i = 0; i < n; i++) {
    bc_bytes part;
    bc_grid g;
    if (!bc_commit_sized(c, &part)) return bc_commit_bad(a->seg, err);
    BC_RET(bc_grid_decode(part, &g, err));
    BC_RET(bc_put_grid(a->t, (uint8_t)i, &g, err));
  }
  return BC_OK;
}

static bc_status apply_modality(apply *a, bc_bytes part, bc_err *err)
{
  bc_modality m;
  bc_bytes have;
  uint8_t key[2];
  BC_RET(bc_modality_decode(part, &m, err));
  bc_put_be16(key, m.id);
  const bc_status found = bc_txn_get(a->t, BC_TABLE_MODALITIES, (bc_bytes){ key, 2 }, &have, err);
  bc_status st = found == BC_E_NOTFOUND ? BC_OK : found;
  const bool same = found == BC_OK && have.n == part.n && memcmp(have.p, part.p, part.n) == 0;
  if (st == BC_OK && !same) {
    st = bc_put_modality(a->t, &m, err);
    a->schema_changed = true;
  }
  bc_modality_dispose(&m);
  return st;
}

static bc_status last_modality(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  uint64_t *n = ctx;
  (void)value;
  (void)stop;
  if (key.n != 2) return BC_FAIL(err, BC_E_CORRUPT, "index: variables: run bctool reindex");
  *n = (uint64_t)bc_be16(key.p) + 1;
  return BC_OK;
}

/* While an index is made anew there may be gaps below the highest id: the segments that spoke of the others
 * are gone, and the commit that retired them, which comes later, speaks of all. */
static bc_status apply_modalities(apply *a, bc_cursor *c, bc_err *err)
{
  const uint32_t n = bc_cur_u32(c);
  if (!c->ok || n > BC_MAX_MODALITIES) return bc_commit_bad(a->seg, err);
  for (uint32_t i = 0; i < n; i++) {
    bc_bytes part;
    if (!bc_commit_sized(c, &part)) return bc_commit_bad(a->seg, err);
    BC_RET(apply_modality(a, part, err));
  }
  BC_RET(bc_txn_each(a->t, BC_TABLE_MODALITIES, (bc_bytes){ NULL, 0 }, last_modality, &a->n_modalities, err));
  a->usage = bc_calloc((size_t)a->n_modalities + 1, sizeof *a->usage);
  a->touched = bc_calloc((size_t)a->n_modalities + 1, 1);
  return a->usage == NULL || a->touched == NULL ? BC_FAIL(err, BC_E_NOMEM, "commit: no memory") : BC_OK;
}

static bc_status apply_sources(apply *a, bc_cursor *c, bc_err *err)
{
  uint64_t next = 0;
  const uint32_t n = bc_cur_u32(c);
  if (!c->ok || n > c->b.n) return bc_commit_bad(a->seg, err);
  int64_t order = 0;
  BC_RET(bc_meta_get(a->t, BC_META_NEXT_SOURCE, &next, err));
  BC_RET(bc_meta_next_order(a->t, &order, err));
  for (uint32_t i = 0; i < n; i++) {
    bc_bytes part;
    bc_source_rec s;
    if (!bc_commit_sized(c, &part)) return bc_commit_bad(a->seg, err);
    BC_RET(bc_source_decode(part, &s, err));
    BC_RET(bc_put_source(a->t, &s, err));
    if (s.id >= next) next = (uint64_t)s.id + 1;
    order = BC_MAX(order, BC_MAX(s.order, (int64_t)s.id) + 1);
  }
  BC_RET(bc_meta_put(a->t, BC_META_NEXT_ORDER, (uint64_t)order, err));
  return bc_meta_put(a->t, BC_META_NEXT_SOURCE, next, err);
}

static bc_status touch(apply *a, uint16_t modality, uint8_t how, bc_err *err)
{
  if (modality >= a->n_modalities)
    return BC_FAIL(err, BC_E_CORRUPT, "segment %" PRIu32 ": a tile of variable %d of %" PRIu64,
                   bc_segment_number(a->seg), modality, a->n_modalities);
  if (a->touched[modality] == 0) BC_RET(bc_get_usage(a->t, modality, &a->usage[modality], err));
  a->touched[modality] |= how;
  return BC_OK;
}

/* What a tile added to a usage, without its times and extremes, which nothing can take away. */
static bool take_away(bc_usage *u, const bc_tile_rec *r)
{
  u->n_tiles--;
  u->stored_bytes -= r->stored;
  u->decoded_bytes -= r->decoded;
  u->n_valid -= r->n_valid;
  u->n_missing -= r->n_missing;
  u->n_absent -= r->n_absent;
  u->codec_tiles[r->codec]--;
  u->sum -= r->sum;
  u->sumsq -= r->sumsq;
  return isfinite(u->sum) && isfinite(u->sumsq);
}

/* A tile leaves the index. */
static bc_status leave(apply *a, const bc_tile_key *k, const bc_tile_rec *old, bc_err *err)
{
  BC_RET(touch(a, k->modality, TOUCHED, err));
  if (!(a->flags & BC_COMMIT_UPKEEP) || !take_away(&a->usage[k->modality], old))
    a->touched[k->modality] |= RECOUNT;
  return BC_OK;
}

/* A key that is not there is harmless: its tile was in a segment that is gone. */
static bc_status apply_drop(apply *a, const bc_tile_key *k, bc_err *err)
{
  bc_tile_rec old;
  const bc_status had = bc_txn_tile_get(a->t, k, &old, err);
  if (had == BC_E_NOTFOUND) return BC_OK;
  BC_RET(had);
  BC_RET(leave(a, k, &old, err));
  return bc_txn_tile_del(a->t, k, err);
}

static bc_status apply_drops(apply *a, bc_bytes keys, bc_err *err)
{
  for (size_t i = 0; i < keys.n; i += BC_TILE_KEY_BYTES) {
    bc_tile_key k;
    BC_RET(bc_tile_key_get((bc_bytes){ keys.p + i, BC_TILE_KEY_BYTES }, &k, err));
    BC_RET(apply_drop(a, &k, err));
  }
  return BC_OK;
}

static bc_status apply_retired(apply *a, bc_bytes numbers, bc_err *err)
{
  for (size_t i = 0; i < numbers.n; i += 4)
    BC_RET(bc_txn_segment_del(a->t, bc_le32(numbers.p + i), err));
  return BC_OK;
}

/* Lost segments that this commit no longer counts: one between, which retired them, is gone itself. */
typedef struct lost_list {
  bc_bytes live;
  uint64_t have; /* of them, in the table */
  bc_buf gone;   /* le32 each */
} lost_list;

static bc_status add_gone(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  lost_list *l = ctx;
  bc_segment_rec seg;
  (void)stop;
  BC_RET(bc_segment_rec_get(key, value, &seg, err));
  const bool is_live = bc_live_has(l->live, seg.id);
  l->have += is_live;
  return seg.bytes > 0 || is_live ? BC_OK : bc_buf_u32(&l->gone, seg.id, err);
}

static bc_status drop_gone(apply *a, bc_bytes live, uint64_t *have, bc_err *err)
{
  lost_list l = { .live = live, .gone = bc_buf_empty(SIZE_MAX) };
  bc_status st = bc_txn_each(a->t, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, add_gone, &l, err);
  for (size_t i = 0; st == BC_OK && i < l.gone.n; i += 4)
    st = bc_txn_segment_del(a->t, bc_le32(l.gone.p + i), err);
  bc_buf_dispose(&l.gone);
  *have = l.have;
  return st;
}

/* A segment that was there when this commit was made, and whose own commit has not come by: it is lost, or
 * damaged. The index remembers it, so that verify goes on telling. */
static bc_status note_lost(apply *a, const bc_commit_parts *p, bc_err *err)
{
  uint64_t have = 0, live = 0;
  for (uint32_t i = 0; i < p->n_live; i++)
    live += bc_live_n(p->live, i);
  if (live == 0) return BC_OK;
  BC_RET(drop_gone(a, p->live, &have, err));
  if (have == live) return BC_OK;
  for (uint32_t i = 0; i < p->n_live; i++)
    for (uint32_t k = 0; k < bc_live_n(p->live, i); k++)
      BC_RET(bc_put_lost_segment(a->t, bc_live_first(p->live, i) + k, err));
  return BC_OK;
}

/* ---- tiles ---- */

/* In key order, so that the tree's pages fill well. */
typedef struct entry {
  uint8_t key[BC_TILE_KEY_BYTES];
  bc_tile_rec rec;
  int64_t t_first, t_last;
} entry;

typedef struct entries {
  entry *e;
  size_t n;
  uint32_t *sources; /* mostly distinct: those of neighbours are held against each other */
  size_t n_sources, cap_sources;
} entries;

static bc_status add_sources(entries *l, const bc_tile_head *h, bc_err *err)
{
  for (uint32_t i = 0; i < h->n_sources; i++) {
    const uint32_t id = bc_tile_source(h, i);
    const size_t back = BC_MIN(l->n_sources, BC_MIN((size_t)h->n_sources, (size_t)16));
    size_t k = 0;
    while (k < back && l->sources[l->n_sources - 1 - k] != id)
      k++;
    if (k < back) continue;
    if (l->n_sources == l->cap_sources) {
      const size_t cap = l->cap_sources == 0 ? 64 : 2 * l->cap_sources;
      uint32_t *p = bc_realloc(l->sources, cap * sizeof *p);
      if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "commit: no memory for %zu sources", cap);
      l->sources = p;
      l->cap_sources = cap;
    }
    l->sources[l->n_sources++] = id;
  }
  return BC_OK;
}

static int by_id(const void *a, const void *b)
{
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* Ascending, each once; none when there are too many to keep. */
static bc_status put_sources(bc_buf *out, entries *l, bc_err *err)
{
  if (l->n_sources > 1) qsort(l->sources, l->n_sources, sizeof *l->sources, by_id);
  for (size_t i = 0; i < l->n_sources; i++)
    if (i == 0 || l->sources[i] != l->sources[i - 1]) BC_RET(bc_buf_u32(out, l->sources[i], err));
  if (out->n > 4 * (size_t)BC_SEGMENT_SOURCES_MAX) out->n = 0;
  return BC_OK;
}

static bc_status list_entry(void *ctx, const bc_tile_rec *rec, bc_bytes head, bc_err *err)
{
  entries *l = ctx;
  bc_tile_head h;
  BC_RET(bc_tile_head_parse(head, &h, err));
  BC_RET(add_sources(l, &h, err));
  entry *e = &l->e[l->n++];
  bc_tile_key_put(&h.key, e->key);
  e->rec = *rec;
  e->t_first = bc_tile_time(&h, 0);
  e->t_last = bc_tile_time(&h, h.nt - 1);
  return BC_OK;
}

static int by_key(const void *a, const void *b)
{
  return memcmp(((const entry *)a)->key, ((const entry *)b)->key, BC_TILE_KEY_BYTES);
}

static bc_status put_tile(apply *a, const entry *e, bc_err *err)
{
  bc_tile_key k;
  bc_tile_rec old;
  BC_RET(bc_tile_key_get((bc_bytes){ e->key, sizeof e->key }, &k, err));
  BC_RET(touch(a, k.modality, TOUCHED, err));
  /* The same key twice: compaction moved the tile, or has merged others with it. */
  const bc_status had = bc_txn_tile_get(a->t, &k, &old, err);
  if (had != BC_OK && had != BC_E_NOTFOUND) return had;
  if (had == BC_OK) BC_RET(leave(a, &k, &old, err));
  bc_usage_add(&a->usage[k.modality], &e->rec, e->t_first, e->t_last);
  return bc_txn_tile_put(a->t, &k, &e->rec, err);
}

static bc_status apply_tiles(apply *a, bc_err *err)
{
  bc_status st = BC_OK;
  entries l = { 0 };
  if (bc_segment_count(a->seg) == 0) return BC_OK;
  l.e = bc_calloc((size_t)bc_segment_count(a->seg), sizeof *l.e);
  if (l.e == NULL)
    return BC_FAIL(err, BC_E_NOMEM, "commit: no memory for %" PRIu64 " tiles", bc_segment_count(a->seg));
  BC_TRY(bc_segment_each(a->seg, list_entry, &l, err));
  if (l.n > 1) qsort(l.e, l.n, sizeof *l.e, by_key);
  for (size_t i = 0; i < l.n; i++)
    BC_TRY(put_tile(a, &l.e[i], err));
  BC_TRY(put_sources(&a->sources, &l, err));
out:
  bc_free(l.e);
  bc_free(l.sources);
  return st;
}

/* ---- usage ---- */

#define RECOUNT_OPEN 256

typedef struct recount {
  apply *a;
  bc_segment *open[RECOUNT_OPEN]; /* by number, modulo: pieces of a tile come from many segments in turn */
} recount;

static bc_status segment_of(recount *r, uint32_t id, bc_segment **out, bc_err *err)
{
  bc_segment **slot = &r->open[id % RECOUNT_OPEN];
  if (*slot == NULL || bc_segment_number(*slot) != id) {
    bc_segment_unref(*slot);
    *slot = NULL;
    BC_RET(bc_segment_open(r->a->folder, id, r->a->uuid, false, slot, err));
  }
  *out = *slot;
  return BC_OK;
}

static bc_status recount_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  recount *r = ctx;
  apply *a = r->a;
  bc_tile_key k;
  bc_tile_rec rec;
  bc_bytes head;
  bc_tile_head h;
  bc_segment *seg = NULL;
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &k, err));
  if (k.modality >= a->n_modalities || !(a->touched[k.modality] & RECOUNT)) return BC_OK;
  BC_RET(bc_tile_rec_get(vb, &rec, err));
  int64_t first = INT64_MAX, last = INT64_MIN;
  bc_status st = segment_of(r, rec.head_segment, &seg, err);
  if (st == BC_OK) st = bc_segment_slice(seg, rec.head_offset, rec.head_bytes, &head, err);
  if (st == BC_OK) st = bc_tile_head_parse(head, &h, err);
  if (st == BC_OK) {
    first = bc_tile_time(&h, 0);
    last = bc_tile_time(&h, h.nt - 1);
  } else if (st != BC_E_NOTFOUND && (st > BC_E_CORRUPT || st <= BC_E_IO)) {
    return st;
  } /* else damaged: only its steps are not known; the commit may be what mends it */
  bc_usage_add(&a->usage[k.modality], &rec, first, last);
  return BC_OK;
}

static bc_status put_usages(apply *a, bc_err *err)
{
  bool any = false;
  recount r = { .a = a };
  for (uint64_t i = 0; i < a->n_modalities; i++) {
    if (a->flags & BC_COMMIT_RECOUNT) a->touched[i] = TOUCHED | RECOUNT;
    if (!(a->touched[i] & RECOUNT)) continue;
    bc_usage_init(&a->usage[i]);
    any = true;
  }
  if (any) {
    const bc_status st = bc_txn_each(a->t, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, recount_tile, &r, err);
    for (size_t i = 0; i < RECOUNT_OPEN; i++)
      bc_segment_unref(r.open[i]);
    BC_RET(st);
  }
  for (uint64_t i = 0; i < a->n_modalities; i++)
    if (a->touched[i]) BC_RET(bc_put_usage(a->t, (uint16_t)i, &a->usage[i], err));
  return BC_OK;
}

static bc_status put_counters(apply *a, bc_err *err)
{
  const bc_segment_rec rec = { .id = bc_segment_number(a->seg),
                               .bytes = bc_segment_bytes(a->seg),
                               .sources = { a->sources.p, a->sources.n } };
  BC_RET(bc_txn_segment_put(a->t, &rec, err));
  BC_RET(bc_meta_put(a->t, BC_META_NEXT_SEGMENT, (uint64_t)bc_segment_number(a->seg) + 1, err));
  if (a->schema_changed || (a->flags & BC_COMMIT_RECOUNT))
    BC_RET(bc_meta_put(a->t, BC_META_SCHEMA, a->snapshot, err));
  return bc_meta_put(a->t, BC_META_SNAPSHOT, a->snapshot, err);
}

bc_status bc_commit_apply(bc_txn *t, const bc_segment *seg, const char *folder, const uint8_t uuid[16],
                          bc_err *err)
{
  bc_status st = BC_OK;
  apply a = { .t = t, .seg = seg, .folder = folder, .uuid = uuid, .sources = bc_buf_empty(SIZE_MAX) };
  bc_commit_parts tail = { 0 };
  bc_cursor c = { bc_segment_schema(seg), 0, true };
  a.snapshot = bc_cur_u64(&c);
  BC_TRY(apply_grids(&a, &c, err));
  BC_TRY(apply_modalities(&a, &c, err));
  BC_TRY(apply_sources(&a, &c, err));
  BC_TRY(bc_commit_tail(seg, &c, &tail, err));
  a.flags = tail.flags;
  BC_TRY(apply_drops(&a, tail.drops, err));
  BC_TRY(apply_tiles(&a, err));
  BC_TRY(apply_retired(&a, tail.retired, err));
  BC_TRY(put_usages(&a, err));
  BC_TRY(put_counters(&a, err));
  BC_TRY(note_lost(&a, &tail, err));
out:
  bc_free(a.usage);
  bc_free(a.touched);
  bc_buf_dispose(&a.sources);
  return st;
}
