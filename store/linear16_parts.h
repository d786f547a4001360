/*
 * What the parts of the linear16 codec share: plane records (linear16_record.c), decoding (linear16.c),
 * encoding and the search for s and r (linear16_encode.c, linear16_fit.c). Internal.
 */
#ifndef BC_STORE_LINEAR16_PARTS_H
#define BC_STORE_LINEAR16_PARTS_H

#include <string.h>

#include "store/linear16.h"

#define BC_INLINE static inline __attribute__((always_inline))

#define BC_F32_SIGN 0x80000000u
#define BC_F32_INF  0x7f800000u
#define BC_F32_NAN  0x7fc00000u /* the one NaN that stands for missing */

enum {
  BC_LIN_HEADER = 9,     /* predictor, length of the records decoded and stored */
  BC_LIN_RECORD_MAX = 23 /* bytes of a plane record */
};

BC_INLINE uint32_t bc_f32_bits(float f)
{
  uint32_t b;

  memcpy(&b, &f, sizeof b);
  return b;
}

BC_INLINE float bc_f32_of(uint32_t b)
{
  float f;

  memcpy(&f, &b, sizeof f);
  return f;
}

/* How q of one plane reads in the scale of the next: (q << shift) + add modulo 2^16. */
typedef struct bc_lin_map {
  bool reset; /* scales that have nothing in common: the plane starts anew, predicted in 2-D */
  bool plain; /* nothing but add */
  int8_t shift;
  uint16_t add;
  int32_t miss_from, miss_to; /* -1: the missing value needs no care */
} bc_lin_map;
bc_lin_map bc_lin_map_between(const bc_lin *a, const bc_lin *b);
void bc_lin_map_apply(const bc_lin_map *m, const uint16_t *q, uint16_t *out, size_t n);

/* True when (float)(q + bias) * s + r in float gives the same bits as the definition in double: the exact sum
 * fits a double, so both round it once. */
bool bc_lin_exact_in_float(const bc_lin *l);

typedef struct bc_lin_plane {
  bc_lin lin;
  bool exact;     /* in float */
  bc_lin_map map; /* from the plane before; reset for the first one */
} bc_lin_plane;

/* The first n of the planes of a block; all: nothing may be left after them. */
bc_status bc_lin_records_read(bc_bytes records, uint32_t n, bool all, bc_lin_plane *out,
                              bc_err *err) BC_MUST_CHECK;
/* All records of a block; p has room for nt * BC_LIN_RECORD_MAX. Returns their bytes. */
size_t bc_lin_records_put(const bc_lin *lin, uint32_t nt, uint8_t *p);

#endif
