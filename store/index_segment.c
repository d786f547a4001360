/*
 * Segments in the index: their bytes, and the sources of what they hold, so that it can be said which files
 * bring a lost one back.
 */
#include "store/index_int.h"

enum { SEG_BYTES = 8 }; /* u64, then u32 for each source */

bc_status bc_segment_rec_get(bc_bytes key, bc_bytes value, bc_segment_rec *out, bc_err *err)
{
  if (key.n != 4 || value.n < SEG_BYTES || value.n % 4 != 0 ||
      (value.n - SEG_BYTES) / 4 > BC_SEGMENT_SOURCES_MAX)
    return BC_FAIL(err, BC_E_CORRUPT, "index: segments: run bctool reindex");
  *out = (bc_segment_rec){ .id = bc_be32(key.p),
                           .bytes = bc_le64(value.p),
                           .sources = { value.p + SEG_BYTES, value.n - SEG_BYTES },
                           .n_sources = (uint32_t)((value.n - SEG_BYTES) / 4) };
  return BC_OK;
}

bc_status bc_txn_segment_get(bc_txn *t, uint32_t id, bc_segment_rec *out, bc_err *err)
{
  uint8_t key[4];
  bc_bytes v;
  bc_put_be32(key, id);
  BC_RET(bc_txn_get(t, BC_TABLE_SEGMENTS, (bc_bytes){ key, sizeof key }, &v, err));
  return bc_segment_rec_get((bc_bytes){ key, sizeof key }, v, out, err);
}

bc_status bc_txn_segment_put(bc_txn *t, const bc_segment_rec *rec, bc_err *err)
{
  bc_status st = BC_OK;
  uint8_t key[4];
  bc_buf value = bc_buf_empty(SEG_BYTES + 4 * (size_t)BC_SEGMENT_SOURCES_MAX);
  bc_put_be32(key, rec->id);
  BC_TRY(bc_buf_u64(&value, rec->bytes, err));
  BC_TRY(bc_buf_put(&value, rec->sources.p, rec->sources.n, err));
  st = bc_txn_put(t, BC_TABLE_SEGMENTS, (bc_bytes){ key, sizeof key }, (bc_bytes){ value.p, value.n }, err);
out:
  bc_buf_dispose(&value);
  return st;
}

bc_status bc_txn_segment_del(bc_txn *t, uint32_t id, bc_err *err)
{
  uint8_t key[4];
  bc_put_be32(key, id);
  return bc_txn_del(t, BC_TABLE_SEGMENTS, (bc_bytes){ key, sizeof key }, err);
}
