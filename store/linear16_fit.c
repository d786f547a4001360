/*
 * The search of the linear16 codec: for one plane of float32 values, the step s and reference r that give
 * every value back bit for bit from 16-bit integers, as fields that came from GRIB allow.
 */
#include <math.h>
#include <string.h>

#include "store/linear16_parts.h"

enum { LANES = 8 };

#define ROUND_F32 12582912.0f        /* 1.5 * 2^23: adding it rounds |x| < 2^22 to an integer, ties to even */
#define ROUND_F64 6755399441055744.0 /* 1.5 * 2^52: the same below 2^51 */

typedef struct plane_scan {
  uint32_t bad; /* not 0: -0.0, infinity or a NaN other than 0x7fc00000 is among the values */
  size_t n_nan;
  float min, max;
  float anchor; /* of smallest magnitude: it has the finest ulp, so it says most about r */
} plane_scan;

typedef int32_t v8i __attribute__((vector_size(32)));

/* By lane. Written with vectors: compilers leave eight running minima in memory. */
typedef struct scan_lanes {
  v8i bad, nan;
  v8i low, high, small; /* least and greatest in order, least in magnitude */
} scan_lanes;

#define CHOOSE(mask, a, b) (((a) & (mask)) | ((b) & ~(mask)))

BC_INLINE void scan8(const float *v, scan_lanes *s)
{
  v8i b, a, order, nan;

  memcpy(&b, v, sizeof b);
  a = b & INT32_MAX;
  order = b ^ ((b >> 31) & INT32_MAX); /* ascends with the value */
  nan = a > (int32_t)BC_F32_INF;
  s->bad |= (b == INT32_MIN) | (a == (int32_t)BC_F32_INF) | (nan & (b != (int32_t)BC_F32_NAN));
  s->nan -= nan;
  s->low = CHOOSE(order < s->low, order, s->low);
  order = CHOOSE(nan, INT32_MIN, order);
  s->high = CHOOSE(order > s->high, order, s->high);
  s->small = CHOOSE(a < s->small, a, s->small);
}

BC_HOT static void scan_lanes_of(const float *v, size_t n, scan_lanes *out)
{
  const v8i zero = { 0 };
  scan_lanes s = { zero, zero, zero + INT32_MAX, zero + INT32_MIN, zero + INT32_MAX };
  float tail[LANES];
  size_t i = 0;

  for (; i + LANES <= n; i += LANES)
    scan8(v + i, &s);
  if (i < n) { /* the first value again changes nothing, but for the count */
    for (size_t j = 0; j < LANES; j++)
      tail[j] = i + j < n ? v[i + j] : v[i];
    scan8(tail, &s);
    for (size_t j = n - i; j < LANES; j++)
      s.nan[j] -= v[i] == v[i] ? 0 : 1;
  }
  *out = s;
}

static float float_of_order(int32_t order)
{
  return bc_f32_of((uint32_t)order ^ (order < 0 ? ~BC_F32_SIGN : 0));
}

static plane_scan scan_plane(const float *v, size_t n)
{
  scan_lanes s;
  plane_scan out = { 0 };
  int32_t low = INT32_MAX, high = INT32_MIN, small = INT32_MAX;
  float anchor;

  scan_lanes_of(v, n, &s);
  for (int i = 0; i < LANES; i++) {
    out.bad |= (uint32_t)s.bad[i];
    out.n_nan += (uint32_t)s.nan[i];
    low = BC_MIN(low, s.low[i]);
    high = BC_MAX(high, s.high[i]);
    small = BC_MIN(small, s.small[i]);
  }
  out.min = float_of_order(low);
  out.max = float_of_order(high);
  anchor = bc_f32_of((uint32_t)small);
  if (low < 0) { /* of the two signs the positive one, when both are there */
    size_t i = 0;
    while (i < n && v[i] != anchor)
      i++;
    if (i == n) anchor = -anchor;
  }
  out.anchor = anchor;
  return out;
}

typedef struct trial {
  int32_t k_min, k_max, k_or;
  bool exact;
} trial;

typedef struct trial_lanes {
  v8i k_min, k_max, k_or, bad;
} trial_lanes;

typedef float v8f __attribute__((vector_size(32)));
typedef double v8d __attribute__((vector_size(64)));

/* By pointers: what a vector is returned in depends on the processor. */
BC_INLINE void to_steps(const v8f *x, const bc_lin *l, v8f *out, bool in_float)
{
  const float sf = (float)l->s, inv = in_float ? 1.0f / sf : 0;
  if (in_float) {
    *out = (*x - (float)l->r) * inv;
  } else {
    const v8d k = (__builtin_convertvector(*x, v8d) - l->r) * (1.0 / l->s);
    *out = __builtin_convertvector((k + ROUND_F64) - ROUND_F64, v8f);
  }
}

BC_INLINE void from_steps(const v8i *k, const bc_lin *l, v8f *out, bool in_float)
{
  if (in_float)
    *out = __builtin_convertvector(*k, v8f) * (float)l->s + (float)l->r;
  else
    *out = __builtin_convertvector(__builtin_convertvector(*k, v8d) * l->s + l->r, v8f);
}

BC_INLINE void try8(const float *restrict v, const bc_lin *l, int32_t *restrict k, trial_lanes *s,
                    bool in_float)
{
  const v8i zero = { 0 };
  const v8f r = (v8f)zero + (float)l->r, magic = (v8f)zero + ROUND_F32;
  v8i b, valid, ki;
  v8f x, back;

  memcpy(&b, v, sizeof b);
  valid = (b & INT32_MAX) <= (int32_t)BC_F32_INF;
  x = (v8f)CHOOSE(valid, b, (v8i)r);
  to_steps(&x, l, &x, in_float);
  ki = (v8i)(x + magic) - (v8i)magic;
  from_steps(&ki, l, &back, in_float);
  s->bad |= ((v8i)back ^ b) & valid;
  memcpy(k, &ki, sizeof ki);
  s->k_min = CHOOSE(ki < s->k_min, ki, s->k_min);
  s->k_max = CHOOSE(ki > s->k_max, ki, s->k_max);
  s->k_or |= ki;
}

/* k of each value for s = 2^e about r, and whether all come back bit for bit. */
BC_INLINE trial try_all(const float *v, size_t n, const bc_lin *plane, int32_t *k, bool in_float)
{
  const bc_lin l = *plane;
  const v8i zero = { 0 };
  float tail[LANES];
  int32_t tail_k[LANES];
  trial_lanes s = { zero + INT32_MAX, zero + INT32_MIN, zero, zero };
  trial out = { INT32_MAX, INT32_MIN, 0, true };
  size_t i = 0;

  for (; i + LANES <= n; i += LANES)
    try8(v + i, &l, k + i, &s, in_float);
  if (i < n) {
    for (size_t j = 0; j < LANES; j++)
      tail[j] = i + j < n ? v[i + j] : v[i];
    try8(tail, &l, tail_k, &s, in_float);
    memcpy(k + i, tail_k, (n - i) * sizeof *k);
  }
  for (int j = 0; j < LANES; j++) {
    out.k_min = BC_MIN(out.k_min, s.k_min[j]);
    out.k_max = BC_MAX(out.k_max, s.k_max[j]);
    out.k_or |= s.k_or[j];
    out.exact = out.exact && s.bad[j] == 0;
  }
  return out;
}

BC_HOT static trial try_float(const float *v, size_t n, const bc_lin *l, int32_t *k)
{
  return try_all(v, n, l, k, true);
}

BC_HOT static trial try_double(const float *v, size_t n, const bc_lin *l, int32_t *k)
{
  return try_all(v, n, l, k, false);
}

/* Set e, and r at the anchor plus d; true when every value is exact and q has room. */
static bool try_scale(const float *v, size_t n, const plane_scan *s, int e, double d, bc_lin *l, int32_t *k,
                      trial *got)
{
  const double reach = ((double)s->max - (double)s->min) * ldexp(1, -e);

  if (e < -149 || e > 127 || reach > 65536) return false;
  *l = (bc_lin){ .s = ldexp(1, e), .r = (double)s->anchor + d, .missing = -1, .e = e, .pow2 = true };
  if (!bc_lin16_valid(l)) return false;
  *got = bc_lin_exact_in_float(l) ? try_float(v, n, l, k) : try_double(v, n, l, k);
  return got->exact && (int64_t)got->k_max - got->k_min <= UINT16_MAX - (s->n_nan > 0 ? 1 : 0);
}

/* Offsets d from the anchor for which every value rounds as it must; false when there are none. Wrong steps
 * fail after a few values. */
static bool offset_interval(const float *v, size_t n, const plane_scan *s, int e, double *d)
{
  const double anchor = (double)s->anchor, step = ldexp(1, e), inv = ldexp(1, -e);
  double low = -INFINITY, high = INFINITY;

  if (((double)s->max - (double)s->min) * inv > 65536) return false;
  for (size_t i = 0; i < n; i++) {
    const uint32_t b = bc_f32_bits(v[i]), exponent = (b & ~BC_F32_SIGN) >> 23;
    const uint64_t half_bits = (uint64_t)(BC_MAX(exponent, 1u) + 1023 - 127 - 24) << 52;
    double x, half;
    if (exponent == 255) continue; /* missing */
    memcpy(&half, &half_bits, sizeof half);
    x = (double)v[i] - anchor;
    x -= ((x * inv + ROUND_F64) - ROUND_F64) * step;
    low = BC_MAX(low, x - half);
    high = BC_MIN(high, x + half);
    if (low > high) return false;
  }
  *d = low + (high - low) / 2;
  return low <= high; /* false also for a plane without values */
}

/* The anchor itself decodes faster; where rounding forbids it, the middle of the interval. */
static bool fit_step(const float *v, size_t n, const plane_scan *s, int e, bc_lin *l, int32_t *k, trial *got)
{
  double d = 0;

  if (!offset_interval(v, n, s, e, &d)) return false;
  return try_scale(v, n, s, e, 0, l, k, got) || try_scale(v, n, s, e, d, l, k, got);
}

static bool search(const float *v, size_t n, const plane_scan *s, const bc_lin *prev, bc_lin *l, int32_t *k,
                   trial *got)
{
  const double range = (double)s->max - (double)s->min;
  int top = 0;

  if (prev != NULL && prev->pow2) {
    if (try_scale(v, n, s, prev->e, 0, l, k, got) || fit_step(v, n, s, prev->e, l, k, got)) return true;
  }
  (void)frexp(range, &top);
  for (int e = top; e >= top - 17; e--)
    if (fit_step(v, n, s, e, l, k, got)) return true;
  return false;
}

BC_HOT static void narrow(const int32_t *restrict k, const float *restrict v, size_t n, int32_t k_min,
                          int shift, int32_t missing, uint16_t *restrict q)
{
  for (size_t i = 0; i < n; i++) {
    const bool nan = (bc_f32_bits(v[i]) & ~BC_F32_SIGN) > BC_F32_INF;
    q[i] = (uint16_t)(nan ? missing : (k[i] - k_min) >> shift);
  }
}

/* A plane of one value, or of none but missing ones: the plane before lends its step. */
static bool fit_flat(const plane_scan *s, size_t n, const bc_lin *prev, bc_lin *out, const float *v,
                     uint16_t *q)
{
  *out = (bc_lin){ .s = 1, .missing = -1, .pow2 = true };
  if (prev != NULL && (prev->pow2 || s->n_nan == n)) *out = *prev;
  if (s->n_nan < n) {
    out->r = (double)s->anchor;
    out->bias = 0;
    out->missing = s->n_nan > 0 ? 1 : -1;
  } else if (out->missing < 0) {
    out->missing = 0;
  }
  for (size_t i = 0; i < n; i++)
    q[i] = (uint16_t)(v[i] == v[i] ? 0 : out->missing);
  return bc_lin16_valid(out);
}

bool bc_lin16_fit(const float *v, size_t n, const bc_lin *prev, bc_lin *out, uint16_t *q, int32_t *k)
{
  const plane_scan s = scan_plane(v, n);
  int shift = 0;
  trial got = { 0, 0, 0, false };

  if (s.bad != 0 || n == 0) return false;
  if (s.n_nan == n || s.min == s.max) return fit_flat(&s, n, prev, out, v, q);
  if (!search(v, n, &s, prev, out, k, &got)) return false;
  /* The anchor has k = 0: bits that are zero in every k make a coarser step. */
  while ((got.k_or >> shift & 1) == 0 && out->e < 127) {
    shift++;
    out->e++;
  }
  out->s = ldexp(1, out->e);
  out->bias = got.k_min / (1 << shift);
  out->missing = s.n_nan > 0 ? (got.k_max - got.k_min) / (1 << shift) + 1 : -1;
  narrow(k, v, n, got.k_min, shift, out->missing, q);
  return bc_lin16_valid(out);
}
