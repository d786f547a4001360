/* The small tables of the index: counters, schema records, sources, usage. */
#include "store/store_int.h"

#include <string.h>

#include "store/schema_io.h"

static bc_bytes text_key(const char *s) { return (bc_bytes){ (const uint8_t *)s, strlen(s) }; }

bc_status bc_meta_get(bc_txn *t, const char *name, uint64_t *out, bc_err *err)
{
  bc_bytes v;
  const bc_status st = bc_txn_get(t, BC_TABLE_META, text_key(name), &v, err);
  if (st == BC_E_NOTFOUND || (st == BC_OK && v.n != 8))
    return BC_FAIL(err, BC_E_CORRUPT, "index: entry %s is not there: run bctool reindex", name);
  if (st == BC_OK) *out = bc_le64(v.p);
  return st;
}

bc_status bc_meta_next_order(bc_txn *t, int64_t *out, bc_err *err)
{
  uint64_t source = 0, order = 0;
  bc_bytes v;
  BC_RET(bc_meta_get(t, BC_META_NEXT_SOURCE, &source, err));
  const bc_status st = bc_txn_get(t, BC_TABLE_META, text_key(BC_META_NEXT_ORDER), &v, err);
  if (st == BC_OK && v.n == 8) order = bc_le64(v.p);
  *out = (int64_t)BC_MIN(BC_MAX(source, order), (uint64_t)BC_ORDER_MAX);
  return st == BC_E_NOTFOUND ? BC_OK : st;
}

bc_status bc_meta_put(bc_txn *t, const char *name, uint64_t v, bc_err *err)
{
  uint8_t b[8];
  bc_put_le64(b, v);
  return bc_txn_put(t, BC_TABLE_META, text_key(name), (bc_bytes){ b, sizeof b }, err);
}

bc_status bc_meta_put_uuid(bc_txn *t, const uint8_t uuid[16], bc_err *err)
{
  BC_RET(bc_meta_put(t, BC_META_UUID_LO, bc_le64(uuid), err));
  return bc_meta_put(t, BC_META_UUID_HI, bc_le64(uuid + 8), err);
}

static bc_status put_record(bc_txn *t, bc_table table, bc_bytes key, bc_status encoded, bc_buf *b,
                            bc_err *err)
{
  const bc_status st = encoded == BC_OK ? bc_txn_put(t, table, key, (bc_bytes){ b->p, b->n }, err) : encoded;
  bc_buf_dispose(b);
  return st;
}

bc_status bc_put_grid(bc_txn *t, uint8_t number, const bc_grid *g, bc_err *err)
{
  bc_buf b = bc_buf_empty(1 << 20);
  return put_record(t, BC_TABLE_GRIDS, (bc_bytes){ &number, 1 }, bc_grid_encode(g, &b, err), &b, err);
}

bc_status bc_put_modality(bc_txn *t, const bc_modality *m, bc_err *err)
{
  uint8_t key[2];
  bc_buf b = bc_buf_empty(1 << 24);
  bc_put_be16(key, m->id);
  return put_record(t, BC_TABLE_MODALITIES, (bc_bytes){ key, 2 }, bc_modality_encode(m, &b, err), &b, err);
}

bc_status bc_put_usage(bc_txn *t, uint16_t modality, const bc_usage *u, bc_err *err)
{
  uint8_t key[2];
  bc_buf b = bc_buf_empty(1 << 20);
  bc_put_be16(key, modality);
  return put_record(t, BC_TABLE_USAGE, (bc_bytes){ key, 2 }, bc_usage_encode(u, &b, err), &b, err);
}

bc_status bc_get_usage(bc_txn *t, uint16_t modality, bc_usage *out, bc_err *err)
{
  uint8_t key[2];
  bc_bytes v;
  bc_put_be16(key, modality);
  const bc_status st = bc_txn_get(t, BC_TABLE_USAGE, (bc_bytes){ key, 2 }, &v, err);
  if (st == BC_E_NOTFOUND) {
    bc_usage_init(out);
    return BC_OK;
  }
  return st == BC_OK ? bc_usage_decode(v, out, err) : st;
}

void bc_source_key(const bc_source_rec *s, uint8_t out[BC_SOURCE_KEY])
{
  memcpy(out, s->hash, 16);
  bc_put_le64(out + 16, bc_hash64(s->request, strlen(s->request)));
}

bc_status bc_put_source(bc_txn *t, const bc_source_rec *s, bc_err *err)
{
  uint8_t key[4], hash[BC_SOURCE_KEY];
  bc_buf b = bc_buf_empty(1 << 20);
  bc_put_be32(key, s->id);
  bc_source_key(s, hash);
  BC_RET(put_record(t, BC_TABLE_SOURCES, (bc_bytes){ key, 4 }, bc_source_encode(s, &b, err), &b, err));
  return bc_txn_put(t, BC_TABLE_SOURCE_HASH, (bc_bytes){ hash, sizeof hash }, (bc_bytes){ key, 4 }, err);
}

bc_status bc_get_source(bc_txn *t, uint32_t id, bc_source_rec *out, bc_err *err)
{
  uint8_t key[4];
  bc_bytes v;
  bc_put_be32(key, id);
  BC_RET(bc_txn_get(t, BC_TABLE_SOURCES, (bc_bytes){ key, 4 }, &v, err));
  return bc_source_decode(v, out, err);
}

void bc_usage_add(bc_usage *u, const bc_tile_rec *r, int64_t t_first, int64_t t_last)
{
  u->n_tiles++;
  u->stored_bytes += r->stored;
  u->decoded_bytes += r->decoded;
  u->n_valid += r->n_valid;
  u->n_missing += r->n_missing;
  u->n_absent += r->n_absent;
  u->codec_tiles[r->codec]++;
  if (t_first < u->t_first) u->t_first = t_first;
  if (t_last > u->t_last) u->t_last = t_last;
  if (r->min < u->min) u->min = r->min;
  if (r->max > u->max) u->max = r->max;
  u->sum += r->sum;
  u->sumsq += r->sumsq;
}

bc_status bc_put_lost_segment(bc_txn *t, uint32_t id, bc_err *err)
{
  uint64_t next = 0;
  bc_segment_rec seg;
  const bc_status st = bc_txn_segment_get(t, id, &seg, err);
  if (st != BC_E_NOTFOUND) return st;
  seg = (bc_segment_rec){ .id = id };
  BC_RET(bc_txn_segment_put(t, &seg, err));
  BC_RET(bc_meta_get(t, BC_META_NEXT_SEGMENT, &next, err));
  return next > id ? BC_OK : bc_meta_put(t, BC_META_NEXT_SEGMENT, (uint64_t)id + 1, err);
}
