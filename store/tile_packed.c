/*
 * The packing of tiles that were made of packed integers: the scale and offset of each step, from the plane
 * records of their blocks. docs/format.md, "linear16 block".
 */
#include <inttypes.h>

#include "store/compact.h"
#include "store/linear16_parts.h"

enum { BLOCK_HEADER = 1 + BC_LIN_HEADER }; /* behind the codec tag */

/* Packed integers keep q = value - INT16_MIN; fields that came from GRIB have steps of powers of two. */
static bool packing_of(const bc_lin *l, bc_packing *p)
{
  *p = (bc_packing){ .scale = l->s, .offset = l->r, .has_fill = l->missing >= 0 };
  if (p->has_fill) p->fill = l->missing + l->bias;
  return !l->pow2 && l->bias == INT16_MIN;
}

static bc_status read_block(bc_zstd *z, bc_lin16_scratch *scratch, bc_bytes src, uint32_t nt, bc_packing *out,
                            bool *packed, bc_err *err)
{
  bc_bytes records;
  bc_lin_plane *planes;
  *packed = false;
  if (src.n < BLOCK_HEADER || src.p[0] != BC_CODEC_LINEAR16) return BC_OK;
  const uint32_t decoded = bc_le32(src.p + 2), stored = bc_le32(src.p + 6);
  if (decoded > (uint64_t)nt * BC_LIN_RECORD_MAX || !bc_bytes_sub(src, BLOCK_HEADER, stored, &records))
    return BC_OK;
  if (stored < decoded) {
    BC_RET(bc_scratch_need(&scratch->records, decoded, err));
    BC_RET(bc_zstd_decode(z, records, scratch->records.p, decoded, err));
    records = (bc_bytes){ scratch->records.p, decoded };
  }
  BC_RET(bc_scratch_need(&scratch->scales, nt * sizeof *planes, err));
  planes = scratch->scales.p;
  BC_RET(bc_lin_records_read(records, nt, true, planes, err));
  *packed = true;
  for (uint32_t t = 0; t < nt && *packed; t++)
    *packed = packing_of(&planes[t].lin, &out[t]);
  return BC_OK;
}

bc_status bc_tile_packing(bc_zstd *z, bc_lin16_scratch *scratch, const bc_tile_head *h, bc_bytes payload,
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
