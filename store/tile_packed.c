/*
 * The packing of tiles that were made of packed integers: the scale and offset of each step, from the plane
 * records of their blocks. docs/format.md, "linear16 block".
 */
#include <inttypes.h>
#include <string.h>

#include "store/compact.h"

enum { /* tag byte of a plane record, as in linear16.c */
       REC_SAME = 0,
       REC_GENERAL = 2,
       REC_KIND = 3,
       REC_R_F32 = 4,
       REC_BIAS = 8,
       REC_MISSING = 16,
       REC_MAX = 23,     /* bytes of a record at most */
       BLOCK_HEADER = 10 /* codec tag, predictor, length of the records decoded and stored */
};

/* One record that holds a scale and an offset; false for those of fields that came from GRIB. */
static bool read_general(bc_cursor *c, uint8_t tag, bc_packing *p)
{
  if ((tag & REC_KIND) != REC_GENERAL || (tag & REC_BIAS) == 0) return false;
  *p = (bc_packing){ .scale = bc_cur_f64(c) };
  if ((tag & REC_R_F32) != 0) {
    const uint32_t bits = bc_cur_u32(c);
    float f;
    memcpy(&f, &bits, sizeof f);
    p->offset = (double)f;
  } else {
    p->offset = bc_cur_f64(c);
  }
  const int32_t bias = (int32_t)bc_cur_u32(c);
  if ((tag & REC_MISSING) != 0) {
    p->has_fill = true;
    p->fill = (int32_t)bc_cur_u16(c) + bias;
  }
  return c->ok && bias == INT16_MIN;
}

static bool read_records(bc_bytes records, uint32_t nt, bc_packing *out)
{
  bc_cursor c = { records, 0, true };
  for (uint32_t t = 0; t < nt;) {
    const uint8_t tag = bc_cur_u8(&c);
    if (!c.ok) return false;
    if (tag != REC_SAME) {
      if (!read_general(&c, tag, &out[t])) return false;
      t++;
      continue;
    }
    for (uint32_t n = bc_cur_u16(&c); n > 0; n--, t++) {
      if (t == 0 || t == nt) return false;
      out[t] = out[t - 1];
    }
  }
  return c.ok && c.at == c.b.n;
}

static bc_status read_block(bc_zstd *z, bc_scratch *scratch, bc_bytes src, uint32_t nt, bc_packing *out,
                            bool *packed, bc_err *err)
{
  bc_bytes records;
  *packed = false;
  if (src.n < BLOCK_HEADER || src.p[0] != BC_CODEC_LINEAR16) return BC_OK;
  const uint32_t decoded = bc_le32(src.p + 2), stored = bc_le32(src.p + 6);
  if (decoded > (uint64_t)nt * REC_MAX || !bc_bytes_sub(src, BLOCK_HEADER, stored, &records)) return BC_OK;
  if (stored < decoded) {
    BC_RET(bc_scratch_need(scratch, decoded, err));
    BC_RET(bc_zstd_decode(z, records, scratch->p, decoded, err));
    records = (bc_bytes){ scratch->p, decoded };
  }
  *packed = read_records(records, nt, out);
  return BC_OK;
}

bc_status bc_tile_packing(bc_zstd *z, bc_scratch *scratch, const bc_tile_head *h, bc_bytes payload,
                          bc_packing *out, bool *packed, bc_err *err)
{
  *packed = false;
  if (h->codec != BC_CODEC_LINEAR16) return BC_OK;
  for (uint32_t t = 0; t < h->nt; t += h->bt) {
    bc_block_place at;
    bc_bytes src;
    bc_tile_block(h, bc_tile_block_at(h, t, 0, 0, 0), &at);
    if (!bc_bytes_sub(payload, at.offset, at.stored, &src))
      return BC_FAIL(err, BC_E_TRUNCATED, "block of a tile ends at byte %" PRIu64 ", the payload has %zu",
                     at.offset + at.stored, payload.n);
    if (bc_hash64(src.p, src.n) != at.hash)
      return BC_FAIL(err, BC_E_CHECKSUM, "the checksum of a block of a tile is wrong: run bctool verify");
    BC_RET(read_block(z, scratch, src, at.nt, out + t, packed, err));
    if (!*packed) return BC_OK;
  }
  return BC_OK;
}
