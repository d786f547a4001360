#include "store/commit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/schema_io.h"
#include "store/store_int.h"

#define RECORD_MAX ((size_t)1 << 28)

/* ---- the record ---- */

/* One encoded part with its length before it. */
static bc_status put_sized(bc_buf *out, bc_status encoded, bc_buf *part, bc_err *err)
{
  bc_status st = encoded;
  if (st == BC_OK) st = bc_buf_u32(out, (uint32_t)part->n, err);
  if (st == BC_OK) st = bc_buf_put(out, part->p, part->n, err);
  part->n = 0;
  return st;
}

bc_status bc_commit_encode(const bc_commit *c, bc_buf *out, bc_err *err)
{
  bc_status st = BC_OK;
  uint8_t key[BC_TILE_KEY_BYTES];
  bc_buf one = bc_buf_empty(RECORD_MAX);
  BC_TRY(bc_buf_u64(out, c->snapshot, err));
  BC_TRY(bc_buf_u32(out, (uint32_t)c->n_grids, err));
  for (size_t i = 0; i < c->n_grids; i++)
    BC_TRY(put_sized(out, bc_grid_encode(&c->grids[i], &one, err), &one, err));
  BC_TRY(bc_buf_u32(out, (uint32_t)c->n_modalities, err));
  for (size_t i = 0; i < c->n_modalities; i++)
    BC_TRY(put_sized(out, bc_modality_encode(c->modalities[i], &one, err), &one, err));
  BC_TRY(bc_buf_u32(out, (uint32_t)c->n_sources, err));
  for (size_t i = 0; i < c->n_sources; i++)
    BC_TRY(put_sized(out, bc_source_encode(&c->sources[i], &one, err), &one, err));
  BC_TRY(bc_buf_u64(out, c->n_drops, err));
  for (size_t i = 0; i < c->n_drops; i++) {
    bc_tile_key_put(&c->drops[i], key);
    BC_TRY(bc_buf_put(out, key, sizeof key, err));
  }
  BC_TRY(bc_buf_u32(out, (uint32_t)c->n_retired, err));
  for (size_t i = 0; i < c->n_retired; i++)
    BC_TRY(bc_buf_u32(out, c->retired[i], err));
out:
  bc_buf_dispose(&one);
  return st;
}

/* ---- applying ---- */

typedef struct apply {
  bc_txn *t;
  const bc_segment *seg;
  const char *folder;
  const uint8_t *uuid;
  uint64_t snapshot;
  bool schema_changed;
  bc_usage *usage;       /* by modality */
  uint8_t *touched;      /* by modality: 1 = usage changed, 2 = to be counted anew */
  uint64_t n_modalities; /* in the index, after this commit's */
} apply;

static bc_status bad_record(const apply *a, bc_err *err)
{
  return BC_FAIL(err, BC_E_CORRUPT, "segment %" PRIu32 ": its commit record is damaged",
                 bc_segment_number(a->seg));
}

/* The next u32-sized part. */
static bool sized(bc_cursor *c, bc_bytes *part)
{
  const uint32_t n = bc_cur_u32(c);
  part->p = bc_cur_take(c, n);
  part->n = n;
  return c->ok;
}

static bc_status apply_grids(apply *a, bc_cursor *c, bc_err *err)
{
  const uint32_t n = bc_cur_u32(c);
  if (!c->ok || n > BC_MAX_GRIDS) return bad_record(a, err);
  for (uint32_t i = 0; i < n; i++) {
    bc_bytes part;
    bc_grid g;
    if (!sized(c, &part)) return bad_record(a, err);
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

static bc_status apply_modalities(apply *a, bc_cursor *c, bc_err *err)
{
  const uint32_t n = bc_cur_u32(c);
  if (!c->ok || n > BC_MAX_MODALITIES) return bad_record(a, err);
  for (uint32_t i = 0; i < n; i++) {
    bc_bytes part;
    if (!sized(c, &part)) return bad_record(a, err);
    BC_RET(apply_modality(a, part, err));
  }
  BC_RET(bc_txn_count(a->t, BC_TABLE_MODALITIES, &a->n_modalities, err));
  a->usage = bc_calloc((size_t)a->n_modalities + 1, sizeof *a->usage);
  a->touched = bc_calloc((size_t)a->n_modalities + 1, 1);
  return a->usage == NULL || a->touched == NULL ? BC_FAIL(err, BC_E_NOMEM, "commit: no memory") : BC_OK;
}

static bc_status apply_sources(apply *a, bc_cursor *c, bc_err *err)
{
  uint64_t next = 0;
  const uint32_t n = bc_cur_u32(c);
  if (!c->ok || n > c->b.n) return bad_record(a, err);
  BC_RET(bc_meta_get(a->t, BC_META_NEXT_SOURCE, &next, err));
  for (uint32_t i = 0; i < n; i++) {
    bc_bytes part;
    bc_source_rec s;
    if (!sized(c, &part)) return bad_record(a, err);
    BC_RET(bc_source_decode(part, &s, err));
    BC_RET(bc_put_source(a->t, &s, err));
    if (s.id >= next) next = (uint64_t)s.id + 1;
  }
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

static bc_status apply_drops(apply *a, bc_cursor *c, bc_err *err)
{
  const uint64_t n = bc_cur_u64(c);
  if (!c->ok || n > (c->b.n - c->at) / BC_TILE_KEY_BYTES) return bad_record(a, err);
  for (uint64_t i = 0; i < n; i++) {
    bc_tile_key k;
    BC_RET(bc_tile_key_get((bc_bytes){ bc_cur_take(c, BC_TILE_KEY_BYTES), BC_TILE_KEY_BYTES }, &k, err));
    BC_RET(bc_txn_tile_del(a->t, &k, err));
    BC_RET(touch(a, k.modality, 3, err));
  }
  return BC_OK;
}

static bc_status apply_retired(apply *a, bc_cursor *c, bc_err *err)
{
  const uint32_t n = bc_cur_u32(c);
  if (!c->ok || n > (c->b.n - c->at) / 4) return bad_record(a, err);
  for (uint32_t i = 0; i < n; i++) {
    uint8_t key[4];
    bc_put_be32(key, bc_cur_u32(c));
    BC_RET(bc_txn_del(a->t, BC_TABLE_SEGMENTS, (bc_bytes){ key, 4 }, err));
  }
  return c->at == c->b.n ? BC_OK : bad_record(a, err);
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
} entries;

static bc_status list_entry(void *ctx, const bc_tile_rec *rec, bc_bytes head, bc_err *err)
{
  entries *l = ctx;
  bc_tile_head h;
  BC_RET(bc_tile_head_parse(head, &h, err));
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
  BC_RET(touch(a, k.modality, 1, err));
  /* The same key twice: only after a crash between publishing and committing, when the work was done again.
   */
  const bc_status had = bc_txn_tile_get(a->t, &k, &old, err);
  if (had != BC_OK && had != BC_E_NOTFOUND) return had;
  if (had == BC_OK) a->touched[k.modality] |= 2;
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
out:
  bc_free(l.e);
  return st;
}

/* ---- usage ---- */

typedef struct recount {
  apply *a;
  bc_segment *seg; /* of the last tile: neighbours mostly share it */
} recount;

static bc_status recount_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  recount *r = ctx;
  apply *a = r->a;
  bc_tile_key k;
  bc_tile_rec rec;
  bc_bytes head;
  bc_tile_head h;
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &k, err));
  if (k.modality >= a->n_modalities || !(a->touched[k.modality] & 2)) return BC_OK;
  BC_RET(bc_tile_rec_get(vb, &rec, err));
  if (r->seg == NULL || bc_segment_number(r->seg) != rec.head_segment) {
    bc_segment_unref(r->seg);
    r->seg = NULL;
    BC_RET(bc_segment_open(a->folder, rec.head_segment, a->uuid, false, &r->seg, err));
  }
  BC_RET(bc_segment_slice(r->seg, rec.head_offset, rec.head_bytes, &head, err));
  BC_RET(bc_tile_head_parse(head, &h, err));
  bc_usage_add(&a->usage[k.modality], &rec, bc_tile_time(&h, 0), bc_tile_time(&h, h.nt - 1));
  return BC_OK;
}

static bc_status put_usages(apply *a, bc_err *err)
{
  bool any = false;
  recount r = { a, NULL };
  for (uint64_t i = 0; i < a->n_modalities; i++) {
    if (!(a->touched[i] & 2)) continue;
    bc_usage_init(&a->usage[i]);
    any = true;
  }
  if (any) {
    const bc_status st = bc_txn_each(a->t, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, recount_tile, &r, err);
    bc_segment_unref(r.seg);
    BC_RET(st);
  }
  for (uint64_t i = 0; i < a->n_modalities; i++)
    if (a->touched[i]) BC_RET(bc_put_usage(a->t, (uint16_t)i, &a->usage[i], err));
  return BC_OK;
}

static bc_status put_counters(apply *a, bc_err *err)
{
  uint8_t key[4], value[8];
  bc_put_be32(key, bc_segment_number(a->seg));
  bc_put_le64(value, bc_segment_bytes(a->seg));
  BC_RET(bc_txn_put(a->t, BC_TABLE_SEGMENTS, (bc_bytes){ key, 4 }, (bc_bytes){ value, 8 }, err));
  BC_RET(bc_meta_put(a->t, BC_META_NEXT_SEGMENT, (uint64_t)bc_segment_number(a->seg) + 1, err));
  if (a->schema_changed) BC_RET(bc_meta_put(a->t, BC_META_SCHEMA, a->snapshot, err));
  return bc_meta_put(a->t, BC_META_SNAPSHOT, a->snapshot, err);
}

bc_status bc_commit_apply(bc_txn *t, const bc_segment *seg, const char *folder, const uint8_t uuid[16],
                          bc_err *err)
{
  bc_status st = BC_OK;
  apply a = { .t = t, .seg = seg, .folder = folder, .uuid = uuid };
  bc_cursor c = { bc_segment_schema(seg), 0, true };
  a.snapshot = bc_cur_u64(&c);
  BC_TRY(apply_grids(&a, &c, err));
  BC_TRY(apply_modalities(&a, &c, err));
  BC_TRY(apply_sources(&a, &c, err));
  BC_TRY(apply_drops(&a, &c, err));
  BC_TRY(apply_tiles(&a, err));
  BC_TRY(apply_retired(&a, &c, err));
  BC_TRY(put_usages(&a, err));
  BC_TRY(put_counters(&a, err));
out:
  bc_free(a.usage);
  bc_free(a.touched);
  return st;
}
