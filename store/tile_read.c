/*
 * Decoding parts of blocks: see tile.h.
 */
#include "store/tile.h"

#include <inttypes.h>
#include <string.h>

#include "store/linear16.h"

struct bc_decoder {
  bc_zstd *z;
  bc_scratch planes, plane;
  bc_lin16_scratch lin;
};

bc_status bc_decoder_open(bc_decoder **out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_decoder *d = bc_calloc(1, sizeof *d);

  *out = NULL;
  if (d == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a tile decoder");
  BC_TRY(bc_zstd_open(&d->z, err));
  *out = d;
  d = NULL;
out:
  bc_decoder_close(d);
  return st;
}

void bc_decoder_close(bc_decoder *d)
{
  if (d == NULL) return;
  bc_zstd_close(d->z);
  bc_scratch_dispose(&d->planes);
  bc_scratch_dispose(&d->plane);
  bc_lin16_scratch_dispose(&d->lin);
  bc_free(d);
}

/* n elements from src, every step-th. */
static void take_row(uint8_t *dst, const uint8_t *src, bc_pick x, size_t elem)
{
  if (x.step == 1) {
    memcpy(dst, src, x.n * elem);
    return;
  }
  for (size_t i = 0; i < x.n; i++)
    memcpy(dst + i * elem, src + i * x.step * elem, elem);
}

static void fill_row(uint8_t *dst, uint64_t bits, size_t n, size_t elem)
{
  for (size_t i = 0; i < n; i++)
    memcpy(dst + i * elem, &bits, elem);
}

static uint8_t *row_at(const bc_taking *k, uint32_t t, uint32_t y)
{
  return k->dst + (ptrdiff_t)t * k->t_stride + (ptrdiff_t)y * k->y_stride;
}

/* First value of picked row (t, y) among the block's values. */
static size_t value_at(const bc_taking *k, uint32_t t, uint32_t y)
{
  const size_t tt = (size_t)k->t.first + (size_t)t * k->t.step,
               yy = (size_t)k->y.first + (size_t)y * k->y.step;

  return (tt * k->ny + yy) * k->nx + k->x.first;
}

static void read_const(const bc_taking *k, uint64_t bits, size_t elem)
{
  for (uint32_t t = 0; t < k->t.n; t++)
    for (uint32_t y = 0; y < k->y.n; y++)
      fill_row(row_at(k, t, y), bits, k->x.n, elem);
}

static bc_status read_raw(const bc_taking *k, bc_bytes src, size_t elem, bc_err *err)
{
  if (src.n < (size_t)k->nt * k->ny * k->nx * elem)
    return BC_FAIL(err, BC_E_CORRUPT, "a raw block has %zu bytes, %zu belong", src.n,
                   (size_t)k->nt * k->ny * k->nx * elem);
  for (uint32_t t = 0; t < k->t.n; t++)
    for (uint32_t y = 0; y < k->y.n; y++)
      take_row(row_at(k, t, y), src.p + value_at(k, t, y) * elem, k->x, elem);
  return BC_OK;
}

static bc_status read_shuffle(bc_decoder *d, const bc_taking *k, bc_bytes src, size_t elem, bc_err *err)
{
  const size_t n = (size_t)k->nt * k->ny * k->nx;
  const size_t row = (size_t)k->nx * elem;
  const uint8_t *planes[8] = { NULL };
  bool whole_rows, whole, by_plane;

  BC_RET(bc_planes_decode(d->z, src, n, elem, &d->planes, planes, err));
  whole_rows = k->x.n == k->nx && k->y.n == k->ny && k->y_stride == (ptrdiff_t)row;
  whole = whole_rows && k->t.n == k->nt && k->t_stride == (ptrdiff_t)(k->ny * row);
  if (whole) {
    bc_planes_merge(planes, elem, 0, n, k->dst);
    return BC_OK;
  }
  by_plane = !whole_rows && (k->x.step > 1 || k->x.n < 32); /* short rows are dear one by one */
  if (by_plane) BC_RET(bc_scratch_need(&d->plane, (size_t)k->ny * row, err));
  for (uint32_t t = 0; t < k->t.n; t++) {
    const size_t at = value_at(k, t, 0);
    if (whole_rows) bc_planes_merge(planes, elem, at, (size_t)k->ny * k->nx, row_at(k, t, 0));
    if (by_plane) {
      const size_t rows = (size_t)(k->y.n - 1) * k->y.step;
      bc_planes_merge(planes, elem, at, rows * k->nx + (size_t)(k->x.n - 1) * k->x.step + 1, d->plane.p);
    }
    for (uint32_t y = 0; y < k->y.n && !whole_rows; y++) {
      if (by_plane)
        take_row(row_at(k, t, y), (const uint8_t *)d->plane.p + (size_t)y * k->y.step * row, k->x, elem);
      else
        bc_planes_merge(planes, elem, value_at(k, t, y), k->x.n, row_at(k, t, y));
    }
  }
  return BC_OK;
}

/* A block that chooses its own codec by its first byte. */
static bc_status read_tagged(bc_decoder *d, const bc_tile_head *h, const bc_taking *k, bc_bytes src,
                             bc_err *err)
{
  const size_t elem = bc_dtype_size(h->dtype);
  const bc_bytes rest = { src.p + 1, src.n - 1 }; /* a block has at least one byte: offsets ascend */
  uint64_t bits = 0;

  switch (src.p[0]) {
  case BC_CODEC_CONST:
    if (rest.n != elem)
      return BC_FAIL(err, BC_E_CORRUPT, "a constant block has %zu bytes, %zu belong", rest.n, elem);
    memcpy(&bits, rest.p, elem);
    read_const(k, bits, elem);
    return BC_OK;
  case BC_CODEC_SHUFFLE: return read_shuffle(d, k, rest, elem, err);
  case BC_CODEC_LINEAR16:
    if (h->dtype == BC_F32) return bc_lin16_decode(d->z, &d->lin, rest, k, err);
    break;
  }
  return BC_FAIL(err, BC_E_CORRUPT, "a block has codec tag %d: not one for %s values", src.p[0],
                 bc_dtype_name(h->dtype));
}

static bool pick_fits(bc_pick p, uint32_t n)
{
  return p.n == 0 || (p.step > 0 && p.first < n && (uint64_t)(p.n - 1) * p.step < n - p.first);
}

static bc_status check_read(const bc_tile_head *h, uint32_t b, const bc_block_place *at, bc_pick t, bc_pick y,
                            bc_pick x, bc_err *err)
{
  if (pick_fits(t, at->nt) && pick_fits(y, at->ny) && pick_fits(x, at->nx)) return BC_OK;
  return BC_FAIL(
      err, BC_E_RANGE,
      "block %u (%u x %u x %u) of modality %u was asked for steps %u+%u*%u, rows %u+%u*%u, columns "
      "%u+%u*%u",
      b, at->nt, at->ny, at->nx, h->key.modality, t.first, t.n, t.step, y.first, y.n, y.step, x.first, x.n,
      x.step);
}

bc_status bc_tile_read(bc_decoder *d, const bc_tile_head *h, bc_bytes payload, uint32_t b, bc_pick t,
                       bc_pick y, bc_pick x, void *dst, ptrdiff_t t_stride, ptrdiff_t y_stride, bc_err *err)
{
  const bool constant = h->codec == BC_CODEC_CONST;
  bc_block_place at;
  bc_bytes src = { NULL, 0 };
  bc_taking k;

  if (b >= (constant ? h->nl : h->n_blocks))
    return BC_FAIL(err, BC_E_RANGE, "block %u was asked for, a tile has %u", b,
                   constant ? h->nl : h->n_blocks);
  bc_tile_block(h, b, &at);
  BC_RET(check_read(h, b, &at, t, y, x, err));
  if (!constant) {
    if (!bc_bytes_sub(payload, at.offset, at.stored, &src))
      return BC_FAIL(err, BC_E_TRUNCATED, "block %u of a tile ends at byte %" PRIu64 ", the payload has %zu",
                     b, at.offset + at.stored, payload.n);
    if (bc_hash64(src.p, src.n) != at.hash)
      return BC_FAIL(
          err, BC_E_CHECKSUM,
          "the checksum of block %u of a tile is wrong (cell %u, modality %u, %zu bytes): run bctool "
          "verify",
          b, h->key.cell, h->key.modality, src.n);
  }
  if (t.n == 0 || y.n == 0 || x.n == 0) return BC_OK;
  if (x.n == 1) x.step = 1;
  k = (bc_taking){ at.nt, at.ny, at.nx, t, y, x, dst, t_stride, y_stride };
  if (constant) {
    read_const(&k, h->const_bits, bc_dtype_size(h->dtype));
    return BC_OK;
  }
  if (h->codec == BC_CODEC_RAW) return read_raw(&k, src, bc_dtype_size(h->dtype), err);
  return read_tagged(d, h, &k, src, err);
}
