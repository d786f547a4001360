/*
 * The linear16 codec: float32 values that are (float)((double)k * s + r) with k = q + bias and 16-bit q.
 *
 * Each plane (one step of one level of a block) has its own s and r. Two sources of such values: fields that
 * came from GRIB (s is a power of two, found by bc_lin16_fit) and packed int16 input. Internal.
 */
#ifndef BC_STORE_LINEAR16_H
#define BC_STORE_LINEAR16_H

#include "store/codec.h"
#include "store/tile.h"

typedef struct bc_lin {
  double s, r;     /* value = (float)((double)(q + bias) * s + r), two roundings in double, one to float */
  int32_t bias;    /* within 2^24 */
  int32_t missing; /* the q that stands for NaN 0x7fc00000, or -1 */
  int32_t e;       /* s = 2^e when pow2 */
  bool pow2;
} bc_lin;

typedef enum bc_predict { /* the value is stored */
                          BC_PREDICT_NONE = 0,
                          BC_PREDICT_2D = 1,
                          BC_PREDICT_TIME = 2,
                          BC_PREDICT_TIME_2D = 3,
                          BC_N_PREDICT
} bc_predict;

/* Where the picked values of one block go. */
typedef struct bc_taking {
  uint32_t nt, ny, nx; /* of the block */
  bc_pick t, y, x;     /* checked */
  uint8_t *dst;
  ptrdiff_t t_stride, y_stride; /* bytes */
} bc_taking;

typedef struct bc_lin16_scratch {
  bc_scratch planes, records, scales, q;
} bc_lin16_scratch;
void bc_lin16_scratch_dispose(bc_lin16_scratch *s);

/* src: the block without its tag byte. */
bc_status bc_lin16_decode(bc_zstd *z, bc_lin16_scratch *scratch, bc_bytes src, const bc_taking *take,
                          bc_err *err) BC_MUST_CHECK;

/*
 * Find s, r and q for one plane of n values, exact for every bit; false when there are none. prev: the plane
 * before (or NULL), whose step is tried first. k: room for n.
 */
bool bc_lin16_fit(const float *v, size_t n, const bc_lin *prev, bc_lin *out, uint16_t *q, int32_t *k);
/* True when a plane record may hold these numbers and no q can leave the range of float32. */
bool bc_lin16_valid(const bc_lin *l);

/* Append a block, without its tag byte. q: nt planes of ny*nx, one bc_lin each. */
typedef struct bc_lin16_block {
  const uint16_t *q;
  const bc_lin *lin;
  uint32_t nt, ny, nx;
} bc_lin16_block;
bc_status bc_lin16_encode(bc_zstd *z, int level, bc_predict predict, const bc_lin16_block *block,
                          bc_lin16_scratch *scratch, bc_buf *out, bc_err *err) BC_MUST_CHECK;

#endif
