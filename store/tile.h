/*
 * A tile: one modality x one cell x one time bucket, cut into blocks. Internal.
 *
 * A tile holds a dense box of values [nt][nl][ny][nx]: nt steps, nl levels, and the rows and columns of its
 * cell that the data covered. It is stored as a head (description, block table, statistics) in the segment's
 * directory and a payload (the blocks). docs/format.md is the specification.
 */
#ifndef BC_STORE_TILE_H
#define BC_STORE_TILE_H

#include "store/block.h"
#include "store/codec.h"
#include "store/schema.h"

typedef enum bc_codec { /* of a tile; the value is stored */
                        BC_CODEC_RAW =
                            0, /* values as they are, C order, each step padded to 64 bytes: can be viewed */
                        BC_CODEC_CONST = 1,   /* no payload: one value throughout, bit for bit */
                        BC_CODEC_SHUFFLE = 2, /* byte shuffle + zstd */
                        BC_CODEC_LINEAR16 =
                            3 /* float32 from 16-bit integers: exact quantisation or packed input */
} bc_codec;
const char *bc_codec_name(bc_codec c);

typedef struct bc_tile_key {
  uint32_t cell; /* grid << 26 | Morton number */
  int64_t time;  /* first instant of the bucket */
  uint16_t modality;
  uint16_t part; /* bit 15: second layout; below: number of the piece, later pieces win */
} bc_tile_key;
#define BC_PART_SECOND 0x8000u

typedef struct bc_level_stats {
  uint64_t n_valid, n_missing;
  double min, max, sum, sumsq; /* min = +inf, max = -inf when n_valid is 0 */
} bc_level_stats;

/* A head, parsed. Pointers go into the bytes it was parsed from. */
typedef struct bc_tile_head {
  bc_tile_key key;
  bc_dtype dtype;
  bc_codec codec;
  bc_layout layout;
  uint32_t y0, x0, ny, nx; /* box inside the cell, nodes */
  uint32_t nt, nl;         /* nl >= 1, also without a level axis */
  uint32_t bt, by, bx;     /* nodes per block; levels are separate blocks */
  bool regular;            /* times are t_first + i * t_step */
  int64_t t_first, t_step; /* t_step 0 when nt == 1 */
  uint64_t n_absent;       /* node values of the cell outside the box: nt * nl * (cell nodes - ny * nx) */
  uint64_t const_bits;     /* BC_CODEC_CONST: the value, low bytes */
  uint64_t payload_bytes;
  uint32_t n_blocks;
  uint32_t n_sources;
  const uint8_t *times;   /* nt x le64 when not regular */
  const uint8_t *levels;  /* nl x le16: index into the modality's levels; 0 without a level axis */
  const uint8_t *sources; /* n_sources x le32 */
  const uint8_t *stats;   /* nl x 48 bytes */
  const uint8_t *blocks;  /* n_blocks x 16 bytes: offset le64, XXH3-64 le64 */
} bc_tile_head;

/* Checks everything: lengths, ranges, products, offsets in order and in payload, checksum. */
bc_status bc_tile_head_parse(bc_bytes src, bc_tile_head *out, bc_err *err) BC_MUST_CHECK;
int64_t bc_tile_time(const bc_tile_head *h, uint32_t i);
uint16_t bc_tile_level(const bc_tile_head *h, uint32_t i);
uint32_t bc_tile_source(const bc_tile_head *h, uint32_t i);
/* Index of a time, or of a level, among those of the tile: nt, or nl, when it has none of it. */
uint32_t bc_tile_step_at(const bc_tile_head *h, int64_t time);
uint32_t bc_tile_level_at(const bc_tile_head *h, uint16_t level);
bc_level_stats bc_tile_stats(const bc_tile_head *h, uint32_t level);
/* Bytes from one step to the next in a raw payload. */
uint64_t bc_tile_raw_step(const bc_tile_head *h);

/* Where block b lies, and which values it holds: [t0, t0+nt) x level l x rows [y0, ..) x columns [x0, ..). */
typedef struct bc_block_place {
  uint64_t offset, stored; /* in the payload */
  uint64_t hash;
  uint32_t t0, nt, l, y0, ny, x0, nx;
} bc_block_place;
/* A BC_CODEC_CONST tile has n_blocks 0, yet answers here as if it had one block for each level. */
void bc_tile_block(const bc_tile_head *h, uint32_t b, bc_block_place *out);
/* Number of the block that holds (t, l, y, x). */
uint32_t bc_tile_block_at(const bc_tile_head *h, uint32_t t, uint32_t l, uint32_t y, uint32_t x);

/* ---- decoding ---- */
/* What to take of a block's [nt][ny][nx] values: n from first, every step-th. */
typedef struct bc_pick {
  uint32_t first, n, step;
} bc_pick;

typedef struct bc_decoder bc_decoder; /* scratch and contexts of one thread */
bc_status bc_decoder_open(bc_decoder **out, bc_err *err) BC_MUST_CHECK;
void bc_decoder_close(bc_decoder *d);

/*
 * Decode part of one block into dst, where value (t, y, x) of the picks goes to
 * dst + t*t_stride + y*y_stride + x*elem bytes (strides may be negative; dst and strides are multiples of
 * elem). Checks the block's hash first.
 * payload is the tile's whole payload (empty for BC_CODEC_CONST).
 */
bc_status bc_tile_read(bc_decoder *d, const bc_tile_head *h, bc_bytes payload, uint32_t b, bc_pick t,
                       bc_pick y, bc_pick x, void *dst, ptrdiff_t t_stride, ptrdiff_t y_stride,
                       bc_err *err) BC_MUST_CHECK;

/* ---- encoding ---- */
typedef struct bc_tile_in {
  bc_tile_key key;
  bc_layout layout;
  uint32_t y0, x0, ny, nx;   /* box inside the cell */
  uint32_t cell_ny, cell_nx; /* nodes of the cell that lie on the grid: for n_absent */
  uint32_t nt, nl;
  const int64_t *times;   /* nt, ascending, distinct */
  const uint16_t *levels; /* nl level indices */
  const uint32_t *sources;
  uint32_t n_sources;
  bc_dtype dtype;     /* of values: BC_F32, or BC_I16 with packing (decoded as BC_F32) */
  const void *values; /* value (t, l, y, x) at values + t*t_stride + l*l_stride + y*y_stride + x*elem */
  ptrdiff_t t_stride, l_stride, y_stride; /* bytes */
  const bc_packing *packing;              /* BC_I16 only: one for each step (nt of them) */
} bc_tile_in;

typedef enum bc_codec_mode { BC_MODE_AUTO, BC_MODE_RAW, BC_MODE_ZSTD } bc_codec_mode;
typedef struct bc_codec_opts {
  bc_codec_mode mode; /* AUTO tries all; ZSTD means shuffle + zstd only; RAW never compresses */
  int level;          /* zstd level; 0 = 3 */
  double precision;   /* > 0: round float values to a multiple of the power of two at or below it, first */
} bc_codec_opts;

/* What precision does to one value: the nearest multiple of the power of two at or below it; 0 leaves it. */
float bc_round_to_precision(float v, double precision);

typedef struct bc_encoder bc_encoder; /* scratch and contexts of one thread */
bc_status bc_encoder_open(bc_encoder **out, bc_err *err) BC_MUST_CHECK;
void bc_encoder_close(bc_encoder *e);
/* Bytes an encoder holds at most while it encodes a tile of this many values. */
uint64_t bc_encoder_memory(uint64_t values);

/*
 * Encode a tile: head and payload are appended to (reset first by the caller). The same input gives the same
 * bytes. What bc_tile_read gives back is the input bit for bit (packed input: its decoded float32), unless
 * precision. BC_MODE_RAW with packed input stores the decoded float32, and never makes a constant tile.
 */
/* A head for a tile that cannot be read: its steps and levels (of in) over the box, all values missing. */
bc_status bc_tile_missing_head(const bc_tile_in *in, bc_buf *head, bc_err *err) BC_MUST_CHECK;

bc_status bc_tile_encode(bc_encoder *e, const bc_tile_in *in, const bc_codec_opts *opts, bc_buf *head,
                         bc_buf *payload, bc_err *err) BC_MUST_CHECK;

#endif
