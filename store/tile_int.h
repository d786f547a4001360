/*
 * What the parts of the tile encoder share: the choice of block shapes (tile_shape.c), the values of the
 * input (tile_input.c), their statistics (tile_stats.c), blocks and codecs (tile_encode.c), the head
 * (tile_head_put.c). Internal.
 */
#ifndef BC_STORE_TILE_INT_H
#define BC_STORE_TILE_INT_H

#include <string.h>

#include "store/linear16.h"
#include "store/tile.h"
#include "store/tile_layout.h"

struct bc_encoder {
  bc_zstd *z;
  bc_lin16_scratch lin_scratch;
  bc_scratch row;    /* one decoded row */
  bc_scratch values; /* a block, gathered */
  bc_scratch q, k, lin, shuffled;
  bc_level_stats stats[BC_TILE_MAX_NL];
  bc_buf trial; /* the sample, encoded */
  bc_buf table; /* offsets and hashes of blocks */
};

enum {
  BC_SHAPE_MAX_VALUES = 65536, /* of a block: 256 KiB; balanced boxes may pass it a little rather than leave
                                  slivers */
  BC_SHAPE_MAX_STEPS = 4096
};

typedef struct bc_tile_shape { /* values per block; levels are separate blocks */
  uint32_t bt, by, bx;
} bc_tile_shape;

/* A tile that is being encoded. */
typedef struct bc_tile_job {
  bc_encoder *e;
  const bc_tile_in *in;
  bc_codec_mode mode;
  int level;
  double step; /* > 0: values are rounded to its multiples */
  bc_tile_shape s;
  bc_codec codec;
  uint64_t const_bits;
} bc_tile_job;

static inline uint32_t bc_clamp_u32(uint64_t v, uint32_t low, uint32_t high)
{
  return v < low ? low : v > high ? high : (uint32_t)v;
}

static inline uint32_t bc_value_bits(float f)
{
  uint32_t b;

  memcpy(&b, &f, sizeof b);
  return b;
}

static inline const void *bc_tile_in_row(const bc_tile_in *in, uint32_t t, uint32_t l, uint32_t y)
{
  return (const uint8_t *)in->values + (ptrdiff_t)t * in->t_stride + (ptrdiff_t)l * in->l_stride +
         (ptrdiff_t)y * in->y_stride;
}

/* True when the values that go into the tile are those of the input. */
static inline bool bc_tile_as_given(const bc_tile_job *j) { return j->in->dtype == BC_F32 && !(j->step > 0); }

bc_tile_shape bc_tile_shape_of(const bc_tile_in *in);  /* by the layout that is wanted */
bc_tile_shape bc_tile_shape_raw(const bc_tile_in *in); /* strips of whole rows, of one step */

/* The power of two at or below precision; 0 when float32 is never finer than it. */
double bc_rounding_step(double precision);
/* n values from column x of a row, decoded and rounded. */
void bc_tile_load_row(const bc_tile_job *j, uint32_t t, uint32_t l, uint32_t y, uint32_t x, uint32_t n,
                      float *out);
/* The same for a block. */
void bc_tile_load_block(const bc_tile_job *j, const bc_block_place *at, float *out);
/* A block of packed input as it is: its integers, its scale and offset. False when linear16 cannot hold them.
 */
bool bc_tile_packed_ints(const bc_tile_job *j, const bc_block_place *at, uint16_t *q, bc_lin *lin);
bool bc_all_equal(const float *v, size_t n, uint32_t bits);

/* Statistics of every level, and whether one value stands throughout. */
bc_status bc_tile_survey(bc_tile_job *j, bool *constant, bc_err *err) BC_MUST_CHECK;

/* The head goes behind what is in the buffer. */
bc_status bc_tile_head_put(const bc_tile_job *j, uint64_t n_absent, uint64_t payload, bc_buf *head,
                           bc_err *err) BC_MUST_CHECK;

#endif
