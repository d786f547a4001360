/*
 * Tiles in the index: their keys and records as bytes, and finding those of a cell.
 */
#include <string.h>

#include "store/index_int.h"

/* ---- keys and values ---- */

void bc_tile_key_put(const bc_tile_key *k, uint8_t out[BC_TILE_KEY_BYTES])
{
  bc_put_be32(out, k->cell);
  bc_put_be64(out + 4, (uint64_t)k->time ^ UINT64_C(0x8000000000000000));
  bc_put_be16(out + 12, k->modality);
  bc_put_be16(out + 14, k->part);
}

bool bc_tile_key_equal(const bc_tile_key *a, const bc_tile_key *b)
{
  return a->cell == b->cell && a->time == b->time && a->modality == b->modality && a->part == b->part;
}

bc_status bc_tile_key_get(bc_bytes src, bc_tile_key *out, bc_err *err)
{
  if (src.n != BC_TILE_KEY_BYTES)
    return BC_FAIL(err, BC_E_CORRUPT, "index: a tile key of %zu bytes instead of %d: run bctool reindex",
                   src.n, BC_TILE_KEY_BYTES);
  out->cell = bc_be32(src.p);
  out->time = (int64_t)(bc_be64(src.p + 4) ^ UINT64_C(0x8000000000000000));
  out->modality = bc_be16(src.p + 12);
  out->part = bc_be16(src.p + 14);
  return BC_OK;
}

/* Value of a tile, docs/format.md section 6. */
enum {
  REC_HEAD_SEGMENT = 0,
  REC_SEGMENT = 4,
  REC_OFFSET = 8,
  REC_STORED = 16,
  REC_DECODED = 24,
  REC_HASH = 32,
  REC_HEAD_OFFSET = 40,
  REC_HEAD_BYTES = 48,
  REC_CODEC = 52, /* u8 */
  REC_EVEN = 53,  /* u8, then two zero bytes */
  REC_VALID = 56,
  REC_MISSING = 64,
  REC_ABSENT = 72,
  REC_MIN = 80,
  REC_MAX = 88,
  REC_SUM = 96,
  REC_SUMSQ = 104,
  REC_STEPS = 112,
  REC_FIRST = 116,
  REC_LAST = 120, /* u32, then four zero bytes */
  REC_END = 128
};
_Static_assert(REC_END == BC_TILE_REC_BYTES, "tile record layout");

void bc_tile_rec_put(const bc_tile_rec *r, uint8_t out[BC_TILE_REC_BYTES])
{
  memset(out, 0, BC_TILE_REC_BYTES);
  bc_put_le32(out + REC_HEAD_SEGMENT, r->head_segment);
  bc_put_le32(out + REC_SEGMENT, r->segment);
  bc_put_le64(out + REC_OFFSET, r->offset);
  bc_put_le64(out + REC_STORED, r->stored);
  bc_put_le64(out + REC_DECODED, r->decoded);
  bc_put_le64(out + REC_HASH, r->hash);
  bc_put_le64(out + REC_HEAD_OFFSET, r->head_offset);
  bc_put_le32(out + REC_HEAD_BYTES, r->head_bytes);
  out[REC_CODEC] = (uint8_t)r->codec;
  out[REC_EVEN] = r->even ? 1 : 0;
  bc_put_le64(out + REC_VALID, r->n_valid);
  bc_put_le64(out + REC_MISSING, r->n_missing);
  bc_put_le64(out + REC_ABSENT, r->n_absent);
  bc_put_le_f64(out + REC_MIN, r->min);
  bc_put_le_f64(out + REC_MAX, r->max);
  bc_put_le_f64(out + REC_SUM, r->sum);
  bc_put_le_f64(out + REC_SUMSQ, r->sumsq);
  bc_put_le32(out + REC_STEPS, r->n_steps);
  bc_put_le32(out + REC_FIRST, r->first);
  bc_put_le32(out + REC_LAST, r->last);
}

bc_status bc_tile_rec_get(bc_bytes src, bc_tile_rec *out, bc_err *err)
{
  const uint8_t *p = src.p;
  const bool is_short = src.n == REC_LAST; /* as the first stores have it: without the last two fields */
  if ((src.n != BC_TILE_REC_BYTES && !is_short) || p[REC_CODEC] > BC_CODEC_LINEAR16)
    return BC_FAIL(err, BC_E_CORRUPT, "index: a tile record of %zu bytes, codec %d: run bctool reindex",
                   src.n, src.n > REC_CODEC ? p[REC_CODEC] : -1);
  *out = (bc_tile_rec){
    .head_segment = bc_le32(p + REC_HEAD_SEGMENT),
    .segment = bc_le32(p + REC_SEGMENT),
    .offset = bc_le64(p + REC_OFFSET),
    .stored = bc_le64(p + REC_STORED),
    .decoded = bc_le64(p + REC_DECODED),
    .hash = bc_le64(p + REC_HASH),
    .head_offset = bc_le64(p + REC_HEAD_OFFSET),
    .head_bytes = bc_le32(p + REC_HEAD_BYTES),
    .n_steps = bc_le32(p + REC_STEPS),
    .even = p[REC_EVEN] == 1,
    .first = is_short ? 1 : bc_le32(p + REC_FIRST), /* after the last: not known */
    .last = is_short ? 0 : bc_le32(p + REC_LAST),
    .codec = (bc_codec)p[REC_CODEC],
    .n_valid = bc_le64(p + REC_VALID),
    .n_missing = bc_le64(p + REC_MISSING),
    .n_absent = bc_le64(p + REC_ABSENT),
    .min = bc_le_f64(p + REC_MIN),
    .max = bc_le_f64(p + REC_MAX),
    .sum = bc_le_f64(p + REC_SUM),
    .sumsq = bc_le_f64(p + REC_SUMSQ),
  };
  return BC_OK;
}

/* ---- tiles ---- */

bc_status bc_txn_tile_get(bc_txn *t, const bc_tile_key *key, bc_tile_rec *out, bc_err *err)
{
  uint8_t k[BC_TILE_KEY_BYTES];
  bc_bytes v;
  bc_tile_key_put(key, k);
  BC_RET(bc_txn_get(t, BC_TABLE_TILES, (bc_bytes){ k, sizeof k }, &v, err));
  return bc_tile_rec_get(v, out, err);
}

bc_status bc_txn_tile_put(bc_txn *t, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  uint8_t k[BC_TILE_KEY_BYTES], v[BC_TILE_REC_BYTES];
  bc_tile_key_put(key, k);
  bc_tile_rec_put(rec, v);
  return bc_txn_put(t, BC_TABLE_TILES, (bc_bytes){ k, sizeof k }, (bc_bytes){ v, sizeof v }, err);
}

bc_status bc_txn_tile_del(bc_txn *t, const bc_tile_key *key, bc_err *err)
{
  uint8_t k[BC_TILE_KEY_BYTES];
  bc_tile_key_put(key, k);
  return bc_txn_del(t, BC_TABLE_TILES, (bc_bytes){ k, sizeof k }, err);
}

/* First index in wanted whose id is >= m. */
static size_t lower_bound(const uint16_t *wanted, size_t n, uint16_t m)
{
  size_t lo = 0, hi = n;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (wanted[mid] < m)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* Foreign keys are stepped over a few at a time (about 20 ns each) before the tree is searched anew (about 1
 * us). */
#define STEPS_BEFORE_SEEK 32

typedef struct scan {
  const uint16_t *wanted;
  size_t n_wanted;
  uint32_t cell;
  int64_t t_to;
  int foreign;
} scan;

/* Where to look next after a key that is not wanted; false at the end of the range. */
static bool scan_target(const scan *s, const bc_tile_key *at, bc_tile_key *target)
{
  const size_t i = lower_bound(s->wanted, s->n_wanted, at->modality);
  *target = (bc_tile_key){ s->cell, at->time, 0, 0 };
  if (i < s->n_wanted) {
    target->modality = s->wanted[i];
    return true;
  }
  if (at->time >= s->t_to - 1) return false;
  target->time = at->time + 1;
  target->modality = s->wanted[0];
  return true;
}

static bc_status scan_run(bc_index_cursor *cur, scan *s, int64_t t_from, bc_tile_fn each, void *ctx,
                          bc_err *err)
{
  uint8_t kb[BC_TILE_KEY_BYTES];
  bc_tile_key key = { s->cell, t_from, s->wanted[0], 0 }, target;
  bc_tile_key_put(&key, kb);
  bc_status st = bc_index_cursor_seek(cur, (bc_bytes){ kb, sizeof kb }, err);
  while (st == BC_OK) {
    BC_RET(bc_tile_key_get(cur->key, &key, err));
    if (key.cell != s->cell || key.time >= s->t_to) return BC_OK;
    const size_t i = lower_bound(s->wanted, s->n_wanted, key.modality);
    if (i < s->n_wanted && s->wanted[i] == key.modality) {
      bc_tile_rec rec;
      BC_RET(bc_tile_rec_get(cur->value, &rec, err));
      BC_RET(each(ctx, &key, &rec, err));
      s->foreign = 0;
    } else if (++s->foreign > STEPS_BEFORE_SEEK) {
      s->foreign = 0;
      if (!scan_target(s, &key, &target)) return BC_OK;
      bc_tile_key_put(&target, kb);
      st = bc_index_cursor_seek(cur, (bc_bytes){ kb, sizeof kb }, err);
      continue;
    }
    st = bc_index_cursor_next(cur, err);
  }
  return st == BC_E_NOTFOUND ? BC_OK : st;
}

bc_status bc_txn_tile_scan(bc_txn *t, uint32_t cell, int64_t t_from, int64_t t_to, const uint16_t *wanted,
                           size_t n_wanted, bc_tile_fn each, void *ctx, bc_err *err)
{
  bc_index_cursor cur;
  if (n_wanted == 0 || t_from >= t_to) return BC_OK;
  BC_RET(bc_index_cursor_open(t, BC_TABLE_TILES, &cur, err));
  scan s = { wanted, n_wanted, cell, t_to, 0 };
  const bc_status st = scan_run(&cur, &s, t_from, each, ctx, err);
  bc_index_cursor_close(&cur);
  return st;
}
