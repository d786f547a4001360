/*
 * Encoding of the linear16 codec: integers to residuals. Bytes: docs/format.md, "linear16 block".
 */
#include <string.h>

#include "store/linear16_parts.h"

BC_INLINE void put_residual(uint16_t r, uint8_t *lo, uint8_t *hi)
{
  const uint16_t z = (uint16_t)((uint16_t)(r << 1) ^ (uint16_t)(0 - (r >> 15)));

  *lo = (uint8_t)z;
  *hi = (uint8_t)(z >> 8);
}

BC_HOT static void residuals_flat(const uint16_t *restrict d, size_t n, uint8_t *restrict lo,
                                  uint8_t *restrict hi)
{
  for (size_t i = 0; i < n; i++)
    put_residual(d[i], lo + i, hi + i);
}

enum { PIECE = 128 }; /* of a row: rows are mostly a whole number of vectors, and few are longer */

/* Differences to the row above (a row of zeros for the first), and of those along the row: with a place for
 * the one before, both loops run over whole vectors. */
BC_INLINE void residual_piece(const uint16_t *restrict c, const uint16_t *restrict up, size_t n,
                              uint16_t *carry, uint8_t *restrict lo, uint8_t *restrict hi)
{
  uint16_t v[PIECE + 1];

  v[0] = *carry;
  for (size_t x = 0; x < n; x++)
    v[x + 1] = (uint16_t)(c[x] - up[x]);
  for (size_t x = 0; x < n; x++)
    put_residual((uint16_t)(v[x + 1] - v[x]), lo + x, hi + x);
  *carry = v[n];
}

BC_HOT static void residuals_2d(const uint16_t *restrict d, size_t ny, size_t nx, uint8_t *restrict lo,
                                uint8_t *restrict hi)
{
  static const uint16_t k_zeros[PIECE];

  for (size_t y = 0; y < ny; y++) {
    uint16_t carry = 0;
    for (size_t x = 0; x < nx; x += PIECE) {
      const size_t at = y * nx + x;
      residual_piece(d + at, y > 0 ? d + at - nx : k_zeros, BC_MIN((size_t)PIECE, nx - x), &carry, lo + at,
                     hi + at);
    }
  }
}

BC_HOT static void subtract(const uint16_t *restrict a, const uint16_t *restrict b, uint16_t *restrict out,
                            size_t n)
{
  for (size_t i = 0; i < n; i++)
    out[i] = (uint16_t)(a[i] - b[i]);
}

/* Residuals of plane t; tmp has room for two planes. */
static void encode_plane(const bc_lin16_block *b, bc_predict predict, uint32_t t, uint16_t *tmp, uint8_t *lo,
                         uint8_t *hi)
{
  const size_t n = (size_t)b->ny * b->nx;
  const uint16_t *d = b->q + t * n;
  bc_lin_map m = { .reset = true };

  if (predict == BC_PREDICT_TIME || predict == BC_PREDICT_TIME_2D)
    if (t > 0) m = bc_lin_map_between(&b->lin[t - 1], &b->lin[t]);
  if (!m.reset) {
    const uint16_t *from = d - n;
    if (!m.plain || m.add != 0) {
      bc_lin_map_apply(&m, from, tmp + n, n);
      from = tmp + n;
    }
    subtract(d, from, tmp, n);
    d = tmp;
  }
  if (predict == BC_PREDICT_NONE || (predict == BC_PREDICT_TIME && !m.reset))
    residuals_flat(d, n, lo, hi);
  else
    residuals_2d(d, b->ny, b->nx, lo, hi);
}

static bc_status put_header(bc_zstd *z, int level, bc_predict predict, const bc_lin16_block *b,
                            bc_lin16_scratch *scratch, bc_buf *out, bc_err *err)
{
  const size_t room = (size_t)b->nt * BC_LIN_RECORD_MAX, bound = bc_zstd_bound(room), at = out->n;
  uint8_t *records;
  size_t n, stored = 0;

  BC_RET(bc_scratch_need(&scratch->records, room, err));
  BC_RET(bc_buf_reserve(out, BC_LIN_HEADER + bound, err));
  records = scratch->records.p;
  n = bc_lin_records_put(b->lin, b->nt, records);
  BC_RET(bc_zstd_encode(z, level, records, n, out->p + at + BC_LIN_HEADER, bound, &stored, err));
  if (stored >= n) {
    memcpy(out->p + at + BC_LIN_HEADER, records, n);
    stored = n;
  }
  out->p[at] = (uint8_t)predict;
  bc_put_le32(out->p + at + 1, (uint32_t)n);
  bc_put_le32(out->p + at + 5, (uint32_t)stored);
  out->n = at + BC_LIN_HEADER + stored;
  return BC_OK;
}

bc_status bc_lin16_encode(bc_zstd *z, int level, bc_predict predict, const bc_lin16_block *b,
                          bc_lin16_scratch *scratch, bc_buf *out, bc_err *err)
{
  const size_t plane = (size_t)b->ny * b->nx, n = plane * b->nt;
  uint8_t *bytes;

  BC_RET(put_header(z, level, predict, b, scratch, out, err));
  BC_RET(bc_scratch_need(&scratch->planes, 2 * n, err));
  BC_RET(bc_scratch_need(&scratch->q, 2 * plane * sizeof(uint16_t), err));
  bytes = scratch->planes.p;
  for (uint32_t t = 0; t < b->nt; t++)
    encode_plane(b, predict, t, scratch->q.p, bytes + t * plane, bytes + n + t * plane);
  return bc_planes_encode(z, level, bytes, n, 2, out, err);
}
