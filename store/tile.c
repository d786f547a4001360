/*
 * Reading tile heads: see tile.h. Bytes: docs/format.md. tile_read.c decodes blocks.
 */
#include "store/tile.h"

#include <inttypes.h>
#include <string.h>

#include "store/tile_layout.h"

const char *bc_codec_name(bc_codec c)
{
  switch (c) {
  case BC_CODEC_RAW: return "raw";
  case BC_CODEC_CONST: return "constant";
  case BC_CODEC_SHUFFLE: return "shuffle+zstd";
  case BC_CODEC_LINEAR16: return "linear16";
  }
  return "unknown";
}

/* ---- head: one check after the other ---- */

static size_t dtype_size(unsigned t) { return t >= BC_F32 && t <= BC_U8 ? bc_dtype_size((bc_dtype)t) : 0; }

static uint64_t ceil_div(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

uint64_t bc_tile_raw_step(const bc_tile_head *h)
{
  return bc_round_up64((uint64_t)h->nl * h->ny * h->nx * bc_dtype_size(h->dtype));
}

static bc_status check_frame(bc_bytes src, uint32_t *fixed, bc_err *err)
{
  const uint8_t *p = src.p;

  if (src.n < BC_TH_FIXED + BC_TH_HASH_BYTES)
    return BC_FAIL(err, BC_E_TRUNCATED, "a tile head has %zu bytes, at least %d belong", src.n,
                   BC_TH_FIXED + BC_TH_HASH_BYTES);
  if (memcmp(p + BC_TH_MAGIC_OFF, BC_TH_MAGIC, 4) != 0)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile head begins with %02x %02x %02x %02x, expected \"%s\"", p[0],
                   p[1], p[2], p[3], BC_TH_MAGIC);
  if (p[BC_TH_VERSION_OFF] != BC_TH_VERSION)
    return BC_FAIL(err, BC_E_VERSION, "a tile head has version %d, this build reads %d: use a newer bctool",
                   p[BC_TH_VERSION_OFF], BC_TH_VERSION);
  *fixed = bc_le16(p + BC_TH_FIXED_OFF);
  if (bc_le32(p + BC_TH_BYTES_OFF) != src.n)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile head states %u bytes, it was given %zu",
                   bc_le32(p + BC_TH_BYTES_OFF), src.n);
  if (bc_hash64(p, src.n - BC_TH_HASH_BYTES) != bc_le64(p + src.n - BC_TH_HASH_BYTES))
    return BC_FAIL(err, BC_E_CHECKSUM, "the checksum of a tile head of %zu bytes is wrong", src.n);
  if (*fixed < BC_TH_FIXED || *fixed > src.n - BC_TH_HASH_BYTES)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile head of %zu bytes has its tables at byte %u", src.n, *fixed);
  if (p[BC_TH_KIND_OFF] != 0)
    return BC_FAIL(err, BC_E_FEATURE, "a tile is of kind %d, this build reads kind 0: use a newer bctool",
                   p[BC_TH_KIND_OFF]);
  if (bc_le16(p + BC_TH_INCOMPAT_OFF) != 0)
    return BC_FAIL(err, BC_E_FEATURE,
                   "a tile needs features 0x%04x unknown to this build: use a newer bctool",
                   bc_le16(p + BC_TH_INCOMPAT_OFF));
  if (bc_le32(p + BC_TH_RSVD1_OFF) != 0 || bc_le32(p + BC_TH_RSVD2_OFF) != 0)
    return BC_FAIL(err, BC_E_CORRUPT, "reserved fields of a tile head are 0x%x and 0x%x, expected 0",
                   bc_le32(p + BC_TH_RSVD1_OFF), bc_le32(p + BC_TH_RSVD2_OFF));
  return BC_OK;
}

static bc_status read_kinds(const uint8_t *p, bc_tile_head *h, bc_err *err)
{
  const unsigned dtype = p[BC_TH_DTYPE_OFF], codec = p[BC_TH_CODEC_OFF], layout = p[BC_TH_LAYOUT_OFF];

  h->key = (bc_tile_key){ .cell = bc_le32(p + BC_TH_CELL_OFF),
                          .time = (int64_t)bc_le64(p + BC_TH_TIME_OFF),
                          .modality = bc_le16(p + BC_TH_MODALITY_OFF),
                          .part = bc_le16(p + BC_TH_PART_OFF) };
  if (dtype_size(dtype) == 0)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile head has dtype %u, known are %d to %d", dtype, BC_F32, BC_U8);
  if (codec > BC_CODEC_LINEAR16)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile head has codec %u, known are 0 to %d", codec,
                   BC_CODEC_LINEAR16);
  if (layout > BC_LAYOUT_BALANCED)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile head has layout %u, known are 0 to %d", layout,
                   BC_LAYOUT_BALANCED);
  if (codec == BC_CODEC_LINEAR16 && dtype != BC_F32)
    return BC_FAIL(err, BC_E_CORRUPT, "a linear16 tile has dtype %u, expected %d", dtype, BC_F32);
  if (p[BC_TH_REGULAR_OFF] > 1)
    return BC_FAIL(err, BC_E_CORRUPT, "the regular flag of a tile head is %d, expected 0 or 1",
                   p[BC_TH_REGULAR_OFF]);
  h->dtype = (bc_dtype)dtype;
  h->codec = (bc_codec)codec;
  h->layout = (bc_layout)layout;
  h->regular = p[BC_TH_REGULAR_OFF] == 1;
  return BC_OK;
}

static bc_status read_shape(const uint8_t *p, bc_tile_head *h, bc_err *err)
{
  uint64_t values = 0;

  h->nt = bc_le32(p + BC_TH_NT_OFF);
  h->nl = bc_le32(p + BC_TH_NL_OFF);
  h->y0 = bc_le32(p + BC_TH_Y0_OFF);
  h->x0 = bc_le32(p + BC_TH_X0_OFF);
  h->ny = bc_le32(p + BC_TH_NY_OFF);
  h->nx = bc_le32(p + BC_TH_NX_OFF);
  h->bt = bc_le32(p + BC_TH_BT_OFF);
  h->by = bc_le32(p + BC_TH_BY_OFF);
  h->bx = bc_le32(p + BC_TH_BX_OFF);
  if (h->nt < 1 || h->nt > BC_TILE_MAX_NT || h->nl < 1 || h->nl > BC_TILE_MAX_NL || h->ny < 1 ||
      h->ny > BC_TILE_MAX_SIDE || h->nx < 1 || h->nx > BC_TILE_MAX_SIDE)
    return BC_FAIL(err, BC_E_CORRUPT,
                   "a tile has %u x %u x %u x %u values, allowed are 1 to %u x %u x %u x %u", h->nt, h->nl,
                   h->ny, h->nx, BC_TILE_MAX_NT, BC_TILE_MAX_NL, BC_TILE_MAX_SIDE, BC_TILE_MAX_SIDE);
  if (h->y0 > BC_TILE_MAX_SIDE - h->ny || h->x0 > BC_TILE_MAX_SIDE - h->nx)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile's box of %u x %u begins at row %u, column %u: beyond %u", h->ny,
                   h->nx, h->y0, h->x0, BC_TILE_MAX_SIDE);
  if (h->bt < 1 || h->bt > h->nt || h->by < 1 || h->by > h->ny || h->bx < 1 || h->bx > h->nx)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile of %u x %u x %u has blocks of %u x %u x %u", h->nt, h->ny,
                   h->nx, h->bt, h->by, h->bx);
  if (!bc_mul_u64((uint64_t)h->ny * h->nx, (uint64_t)h->nt * h->nl, &values) || values > BC_TILE_MAX_VALUES)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile of %u x %u x %u x %u has more than %" PRIu64 " values", h->nt,
                   h->nl, h->ny, h->nx, BC_TILE_MAX_VALUES);
  if (h->codec != BC_CODEC_CONST &&
      ((uint64_t)h->by * h->bx > BC_TILE_MAX_BLOCK ||
       (uint64_t)h->by * h->bx * h->bt * bc_dtype_size(h->dtype) > BC_TILE_MAX_BLOCK))
    return BC_FAIL(err, BC_E_CORRUPT, "a tile has blocks of %u x %u x %u values, more than %u bytes", h->bt,
                   h->by, h->bx, BC_TILE_MAX_BLOCK);
  if (h->codec == BC_CODEC_RAW && (h->bt != 1 || h->bx != h->nx))
    return BC_FAIL(err, BC_E_CORRUPT, "a raw tile has blocks of %u steps and %u columns, expected 1 and %u",
                   h->bt, h->bx, h->nx);
  if (h->codec == BC_CODEC_CONST && (h->bt != h->nt || h->by != h->ny || h->bx != h->nx))
    return BC_FAIL(err, BC_E_CORRUPT, "a constant tile of %u x %u x %u has blocks of %u x %u x %u", h->nt,
                   h->ny, h->nx, h->bt, h->by, h->bx);
  return BC_OK;
}

static bc_status read_counts(const uint8_t *p, bc_tile_head *h, bc_err *err)
{
  const size_t elem = bc_dtype_size(h->dtype);
  uint64_t want = 0, strips;

  h->n_sources = bc_le32(p + BC_TH_NSOURCES_OFF);
  h->n_absent = bc_le64(p + BC_TH_ABSENT_OFF);
  h->const_bits = bc_le64(p + BC_TH_CONST_OFF);
  h->payload_bytes = bc_le64(p + BC_TH_PAYLOAD_OFF);
  h->n_blocks = bc_le32(p + BC_TH_NBLOCKS_OFF);
  if (h->codec != BC_CODEC_CONST) {
    strips = ceil_div(h->ny, h->by) * ceil_div(h->nx, h->bx); /* at most 2^40 */
    if (!bc_mul_u64(strips, ceil_div(h->nt, h->bt) * h->nl, &want)) want = UINT64_MAX;
  }
  if (h->n_blocks != want)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile head has %u blocks, its shape gives %" PRIu64, h->n_blocks,
                   want);
  if (h->codec != BC_CODEC_CONST && h->const_bits != 0)
    return BC_FAIL(err, BC_E_CORRUPT,
                   "a tile that is not constant has the constant 0x%" PRIx64 ", expected 0", h->const_bits);
  if (elem < 8 && h->const_bits >> (8 * elem) != 0)
    return BC_FAIL(err, BC_E_CORRUPT, "the constant 0x%" PRIx64 " does not fit %zu bytes", h->const_bits,
                   elem);
  if (h->codec == BC_CODEC_CONST && h->payload_bytes != 0)
    return BC_FAIL(err, BC_E_CORRUPT, "a constant tile has %" PRIu64 " bytes of payload, expected 0",
                   h->payload_bytes);
  if (h->codec == BC_CODEC_RAW && h->payload_bytes / h->nt != bc_tile_raw_step(h))
    return BC_FAIL(err, BC_E_CORRUPT,
                   "a raw tile has %" PRIu64 " bytes of payload, %u steps of %" PRIu64 " belong",
                   h->payload_bytes, h->nt, bc_tile_raw_step(h));
  if (h->codec == BC_CODEC_RAW && h->payload_bytes % h->nt != 0)
    return BC_FAIL(err, BC_E_CORRUPT, "a raw tile has %" PRIu64 " bytes of payload, not whole steps",
                   h->payload_bytes);
  if (h->payload_bytes > INT64_MAX)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile has %" PRIu64 " bytes of payload", h->payload_bytes);
  return BC_OK;
}

/* Each table: its length is checked against what is left before a pointer is kept. */
static bc_status place_tables(bc_bytes src, uint32_t fixed, bc_tile_head *h, bc_err *err)
{
  bc_cursor c = { { src.p, src.n - BC_TH_HASH_BYTES }, fixed, true };
  const size_t left = c.b.n - fixed;
  const size_t times = h->regular ? 0 : (size_t)h->nt * 8;
  size_t pad;

  /* below 2^27 + 2^36 + ...: no overflow on 64-bit machines, and each is cut to what is left on others */
  if ((uint64_t)times + (uint64_t)h->n_blocks * 16 + (uint64_t)h->nl * 50 + (uint64_t)h->n_sources * 4 > left)
    return BC_FAIL(err, BC_E_CORRUPT,
                   "the tables of a tile head (%u blocks, %u sources) need more than %zu bytes", h->n_blocks,
                   h->n_sources, left);
  h->times = h->regular ? NULL : bc_cur_take(&c, times);
  h->blocks = bc_cur_take(&c, (size_t)h->n_blocks * 16);
  h->stats = bc_cur_take(&c, (size_t)h->nl * 48);
  h->sources = bc_cur_take(&c, (size_t)h->n_sources * 4);
  h->levels = bc_cur_take(&c, (size_t)h->nl * 2);
  pad = c.b.n - c.at;
  if (!c.ok || pad > 7 || src.n % 8 != 0)
    return BC_FAIL(err, BC_E_CORRUPT, "%zu bytes stand behind the tables of a tile head of %zu bytes", pad,
                   src.n);
  for (size_t i = 0; i < pad; i++)
    if (c.b.p[c.at + i] != 0)
      return BC_FAIL(err, BC_E_CORRUPT, "padding of a tile head is 0x%02x, expected 0", c.b.p[c.at + i]);
  return BC_OK;
}

static bc_status check_times(const uint8_t *p, bc_tile_head *h, bc_err *err)
{
  int64_t span;

  h->t_first = (int64_t)bc_le64(p + BC_TH_TFIRST_OFF);
  h->t_step = (int64_t)bc_le64(p + BC_TH_TSTEP_OFF);
  if ((h->nt == 1 || !h->regular) ? h->t_step != 0 : h->t_step <= 0)
    return BC_FAIL(err, BC_E_CORRUPT, "a tile of %u steps, %s, has the time step %" PRId64, h->nt,
                   h->regular ? "regular" : "irregular", h->t_step);
  if (h->regular) {
    if (__builtin_mul_overflow(h->t_step, (int64_t)(h->nt - 1), &span) ||
        __builtin_add_overflow(h->t_first, span, &span))
      return BC_FAIL(err, BC_E_CORRUPT, "times of a tile run out of 64 bits: %u steps of %" PRId64 " s",
                     h->nt, h->t_step);
    return BC_OK;
  }
  if (h->t_first != (int64_t)bc_le64(h->times))
    return BC_FAIL(err, BC_E_CORRUPT, "a tile states the first time %" PRId64 ", its table %" PRId64,
                   h->t_first, (int64_t)bc_le64(h->times));
  for (uint32_t i = 1; i < h->nt; i++)
    if (bc_tile_time(h, i) <= bc_tile_time(h, i - 1))
      return BC_FAIL(err, BC_E_CORRUPT, "time %u of a tile is %" PRId64 ", after %" PRId64 ": not ascending",
                     i, bc_tile_time(h, i), bc_tile_time(h, i - 1));
  return BC_OK;
}

static uint64_t block_offset(const bc_tile_head *h, uint32_t b)
{
  return bc_le64(h->blocks + (size_t)b * 16);
}

/* Where block b of a raw tile must begin. */
static uint64_t raw_offset(const bc_tile_head *h, uint32_t b)
{
  const uint64_t strips = ceil_div(h->ny, h->by), per_step = strips * h->nl;
  const uint64_t row = (uint64_t)h->nx * bc_dtype_size(h->dtype);

  return b / per_step * bc_tile_raw_step(h) + b % per_step / strips * h->ny * row + b % strips * h->by * row;
}

static bc_status check_blocks(const bc_tile_head *h, bc_err *err)
{
  uint64_t last = 0;

  for (uint32_t b = 0; b < h->n_blocks; b++) {
    const uint64_t off = block_offset(h, b);
    if ((b == 0 && off != 0) || (b > 0 && off <= last) || off >= h->payload_bytes)
      return BC_FAIL(err, BC_E_CORRUPT,
                     "block %u of a tile lies at %" PRIu64 ", after %" PRIu64 " of %" PRIu64 " bytes", b, off,
                     last, h->payload_bytes);
    if (h->codec == BC_CODEC_RAW && off != raw_offset(h, b))
      return BC_FAIL(err, BC_E_CORRUPT, "block %u of a raw tile lies at %" PRIu64 ", expected %" PRIu64, b,
                     off, raw_offset(h, b));
    last = off;
  }
  return BC_OK;
}

/* Counts of each level must add up; min, max and sums are what the writer saw. */
static bc_status check_stats(const bc_tile_head *h, bc_err *err)
{
  const uint64_t values = (uint64_t)h->nt * h->ny * h->nx;

  for (uint32_t l = 0; l < h->nl; l++) {
    const bc_level_stats s = bc_tile_stats(h, l);
    if (s.n_valid > values || s.n_missing != values - s.n_valid)
      return BC_FAIL(err, BC_E_CORRUPT,
                     "level %u of a tile counts %" PRIu64 " valid and %" PRIu64 " missing of %" PRIu64, l,
                     s.n_valid, s.n_missing, values);
    if (bc_tile_level(h, l) >= BC_MAX_LEVELS)
      return BC_FAIL(err, BC_E_CORRUPT,
                     "level %u of a tile is number %u of its modality, at most %d are allowed", l,
                     bc_tile_level(h, l), BC_MAX_LEVELS);
  }
  return BC_OK;
}

bc_status bc_tile_head_parse(bc_bytes src, bc_tile_head *out, bc_err *err)
{
  bc_tile_head h = { .dtype = BC_F32 };
  uint32_t fixed = 0;

  *out = h;
  BC_RET(check_frame(src, &fixed, err));
  BC_RET(read_kinds(src.p, &h, err));
  BC_RET(read_shape(src.p, &h, err));
  BC_RET(read_counts(src.p, &h, err));
  BC_RET(place_tables(src, fixed, &h, err));
  BC_RET(check_times(src.p, &h, err));
  BC_RET(check_blocks(&h, err));
  BC_RET(check_stats(&h, err));
  *out = h;
  return BC_OK;
}

/* ---- head: what it says ---- */

int64_t bc_tile_time(const bc_tile_head *h, uint32_t i)
{
  return h->regular ? h->t_first + (int64_t)i * h->t_step : (int64_t)bc_le64(h->times + (size_t)i * 8);
}

uint16_t bc_tile_level(const bc_tile_head *h, uint32_t i) { return bc_le16(h->levels + (size_t)i * 2); }

uint32_t bc_tile_source(const bc_tile_head *h, uint32_t i) { return bc_le32(h->sources + (size_t)i * 4); }

uint32_t bc_tile_step_at(const bc_tile_head *h, int64_t time)
{
  uint32_t low = 0, high = h->nt;
  while (low < high) {
    const uint32_t mid = low + (high - low) / 2;
    if (bc_tile_time(h, mid) < time)
      low = mid + 1;
    else
      high = mid;
  }
  return low < h->nt && bc_tile_time(h, low) == time ? low : h->nt;
}

uint32_t bc_tile_level_at(const bc_tile_head *h, uint16_t level)
{
  uint32_t l = 0;
  while (l < h->nl && bc_tile_level(h, l) != level)
    l++;
  return l;
}

bc_level_stats bc_tile_stats(const bc_tile_head *h, uint32_t level)
{
  const uint8_t *p = h->stats + (size_t)level * 48;

  return (bc_level_stats){ bc_le64(p),        bc_le64(p + 8),    bc_le_f64(p + 16),
                           bc_le_f64(p + 24), bc_le_f64(p + 32), bc_le_f64(p + 40) };
}

void bc_tile_block(const bc_tile_head *h, uint32_t b, bc_block_place *out)
{
  const uint32_t cols = (uint32_t)ceil_div(h->nx, h->bx), rows = (uint32_t)ceil_div(h->ny, h->by);
  const uint32_t i = b / cols, j = i / rows;

  memset(out, 0, sizeof *out);
  out->x0 = b % cols * h->bx;
  out->nx = BC_MIN(h->bx, h->nx - out->x0);
  out->y0 = i % rows * h->by;
  out->ny = BC_MIN(h->by, h->ny - out->y0);
  out->l = j % h->nl;
  out->t0 = j / h->nl * h->bt;
  out->nt = BC_MIN(h->bt, h->nt - out->t0);
  if (h->codec == BC_CODEC_CONST) return;
  out->offset = block_offset(h, b);
  out->stored = (b + 1 < h->n_blocks ? block_offset(h, b + 1) : h->payload_bytes) - out->offset;
  out->hash = bc_le64(h->blocks + (size_t)b * 16 + 8);
}

uint32_t bc_tile_block_at(const bc_tile_head *h, uint32_t t, uint32_t l, uint32_t y, uint32_t x)
{
  const uint32_t cols = (uint32_t)ceil_div(h->nx, h->bx), rows = (uint32_t)ceil_div(h->ny, h->by);

  return ((t / h->bt * h->nl + l) * rows + y / h->by) * cols + x / h->bx;
}
