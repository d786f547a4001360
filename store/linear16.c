/*
 * The linear16 codec: plane records, prediction, the way back to float. The search for s and r is at the end.
 * Bytes: docs/format.md, "linear16 block".
 */
#include "store/linear16.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#define SIGN_BIT 0x80000000u
#define INF_BITS 0x7f800000u
#define NAN_BITS 0x7fc00000u /* the one NaN that stands for missing */

typedef uint16_t v8u __attribute__((vector_size(16)));
typedef uint8_t v8b __attribute__((vector_size(8)));
typedef uint8_t v16b __attribute__((vector_size(16)));

enum {
  LANES = 8,      /* rows of q are padded to whole vectors, so that kernels have no tails */
  LIN_HEADER = 9, /* predictor, length of the records decoded and stored */
  LIN_RECORD_MAX = 23,
  MIN_POW2 = -149, /* exponents of a float32 */
  MAX_POW2 = 127
};

enum { /* plane record: tag byte */
       REC_SAME = 0,
       REC_POW2 = 1,
       REC_GENERAL = 2,
       REC_KIND = 3,
       REC_R_F32 = 4,
       REC_BIAS = 8,
       REC_MISSING = 16,
       REC_KNOWN = 31
};

void bc_lin16_scratch_dispose(bc_lin16_scratch *s)
{
  bc_scratch_dispose(&s->planes);
  bc_scratch_dispose(&s->records);
  bc_scratch_dispose(&s->q);
}

INLINE uint32_t bits_of(float f)
{
  uint32_t b;

  memcpy(&b, &f, sizeof b);
  return b;
}

INLINE float float_of(uint32_t b)
{
  float f;

  memcpy(&f, &b, sizeof f);
  return f;
}

/* 2^e for the steps that a record may hold and their inverses. */
INLINE double power_of_two(int e)
{
  const uint64_t b = (uint64_t)(e + 1023) << 52;
  double d;

  memcpy(&d, &b, sizeof d);
  return d;
}

/* ---- plane records ---- */

bool bc_lin16_valid(const bc_lin *l)
{
  if (!isfinite(l->s) || !isfinite(l->r) || l->s == 0) return false;
  if (l->bias < -(1 << 24) || l->bias > 1 << 24) return false;
  if (l->pow2 && (l->e < MIN_POW2 || l->e > MAX_POW2)) return false;
  return fabs(l->r) + fabs(l->s) * (65536.0 + fabs((double)l->bias)) <= (double)FLT_MAX;
}

/* Bit for bit: -0.0 and 0.0 are different offsets. */
static bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

static bool lin_equal(const bc_lin *a, const bc_lin *b)
{
  return a->pow2 == b->pow2 && same_bits(a->s, b->s) && same_bits(a->r, b->r) && a->bias == b->bias &&
         a->missing == b->missing;
}

typedef struct lin_reader {
  bc_cursor c;
  uint32_t same; /* planes that still repeat cur */
  bool any;
  bool repeated; /* cur is that of the plane before */
  bc_lin cur;
} lin_reader;

/* Bytes of a record behind its tag. */
static size_t record_bytes(unsigned tag)
{
  if ((tag & REC_KIND) == REC_SAME) return 2;
  return ((tag & REC_KIND) == REC_POW2 ? 2u : 8u) + ((tag & REC_R_F32) != 0 ? 4u : 8u) +
         ((tag & REC_BIAS) != 0 ? 4u : 0u) + ((tag & REC_MISSING) != 0 ? 2u : 0u);
}

/* One bounds check a record: blocks of few nodes have one for every few values. */
static bool read_record(lin_reader *r)
{
  const uint8_t *p = bc_cur_take(&r->c, 1);
  const unsigned tag = p != NULL ? *p : UINT8_MAX;
  bc_lin l = { .missing = -1 };

  if ((tag & ~(unsigned)REC_KNOWN) != 0) return false;
  p = bc_cur_take(&r->c, record_bytes(tag));
  if (p == NULL) return false;
  if ((tag & REC_KIND) == REC_SAME) {
    r->same = bc_le16(p);
    r->repeated = true;
    return tag == REC_SAME && r->any && r->same-- > 0;
  }
  if ((tag & REC_KIND) == REC_POW2) {
    l.pow2 = true;
    l.e = (int16_t)bc_le16(p);
    if (l.e < MIN_POW2 || l.e > MAX_POW2) return false;
    l.s = power_of_two(l.e);
    p += 2;
  } else if ((tag & REC_KIND) == REC_GENERAL) {
    l.s = bc_le_f64(p);
    p += 8;
  } else {
    return false;
  }
  if ((tag & REC_R_F32) != 0) {
    l.r = (double)float_of(bc_le32(p));
    p += 4;
  } else {
    l.r = bc_le_f64(p);
    p += 8;
  }
  if ((tag & REC_BIAS) != 0) {
    l.bias = (int32_t)bc_le32(p);
    p += 4;
  }
  if ((tag & REC_MISSING) != 0) l.missing = bc_le16(p);
  r->cur = l;
  r->any = true;
  return bc_lin16_valid(&l);
}

static bc_status next_plane(lin_reader *r, uint32_t t, bc_err *err)
{
  r->repeated = r->same > 0;
  if (r->same > 0) {
    r->same--;
    return BC_OK;
  }
  if (read_record(r)) return BC_OK;
  return BC_FAIL(err, BC_E_CORRUPT,
                 "plane record %u of a linear16 block, ending at byte %zu of %zu, is not valid", t, r->c.at,
                 r->c.b.n);
}

static size_t put_record(const bc_lin *l, uint8_t *p)
{
  const float f = (float)l->r;
  const bool short_r = same_bits((double)f, l->r);
  size_t n = 1;

  p[0] = (uint8_t)((l->pow2 ? REC_POW2 : REC_GENERAL) | (short_r ? REC_R_F32 : 0) |
                   (l->bias != 0 ? REC_BIAS : 0) | (l->missing >= 0 ? REC_MISSING : 0));
  if (l->pow2) {
    bc_put_le16(p + n, (uint16_t)(int16_t)l->e);
    n += 2;
  } else {
    bc_put_le_f64(p + n, l->s);
    n += 8;
  }
  if (short_r) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bc_put_le32(p + n, bits);
    n += 4;
  } else {
    bc_put_le_f64(p + n, l->r);
    n += 8;
  }
  if (l->bias != 0) {
    bc_put_le32(p + n, (uint32_t)l->bias);
    n += 4;
  }
  if (l->missing >= 0) {
    bc_put_le16(p + n, (uint16_t)l->missing);
    n += 2;
  }
  return n;
}

/* All records of a block; p has room for nt * LIN_RECORD_MAX. */
static size_t put_records(const bc_lin *lin, uint32_t nt, uint8_t *p)
{
  size_t n = 0;

  for (uint32_t t = 0; t < nt;) {
    uint32_t same = 0;

    n += put_record(&lin[t], p + n);
    while (t + 1 + same < nt && same < UINT16_MAX && lin_equal(&lin[t], &lin[t + 1 + same]))
      same++;
    if (same > 0) {
      p[n] = REC_SAME;
      bc_put_le16(p + n + 1, (uint16_t)same);
      n += 3;
    }
    t += 1 + same;
  }
  return n;
}

/* ---- prediction from the plane before ---- */

/* How q of one plane reads in the scale of the next: (q << shift) + add modulo 2^16. */
typedef struct lin_map {
  bool reset; /* scales that have nothing in common: the plane starts anew, predicted in 2-D */
  bool same;
  int shift;
  uint16_t add;
  int32_t miss_from, miss_to; /* -1: the missing value needs no care */
} lin_map;

/* A step that is a power of two is divided by exactly by its inverse. floor without a call of a library. */
INLINE lin_map map_planes(const bc_lin *a, const bc_lin *b)
{
  lin_map m = { .miss_from = -1, .miss_to = -1 };
  double apart;
  int64_t add;

  if (a == NULL || a->pow2 != b->pow2 || (!a->pow2 && a->s != b->s)) return (lin_map){ .reset = true };
  if (a->pow2) m.shift = a->e - b->e;
  apart = (a->r + a->bias * a->s) - (b->r + b->bias * b->s);
  apart = (b->pow2 ? apart * power_of_two(-b->e) : apart / b->s) + 0.5;
  if (m.shift < -15 || m.shift > 15 || !(fabs(apart) < 4294967296.0)) return (lin_map){ .reset = true };
  add = (int64_t)apart;
  add -= (double)add > apart ? 1 : 0;
  if (add <= INT32_MIN || add > INT32_MAX) return (lin_map){ .reset = true };
  m.add = (uint16_t)add;
  if (a->missing >= 0 && b->missing >= 0) {
    m.miss_from = a->missing;
    m.miss_to = b->missing;
  }
  m.same = m.shift == 0 && m.add == 0 && m.miss_from == m.miss_to;
  return m;
}

BC_HOT static void apply_map(const lin_map *m, const uint16_t *restrict q, uint16_t *restrict out, size_t n)
{
  const int left = BC_MAX(m->shift, 0), right = BC_MAX(-m->shift, 0);
  const uint16_t add = m->add;

  for (size_t i = 0; i < n; i++)
    out[i] = (uint16_t)((uint16_t)(((uint32_t)q[i] << left) >> right) + add);
  if (m->miss_from < 0) return;
  for (size_t i = 0; i < n; i++)
    out[i] = q[i] == (uint16_t)m->miss_from ? (uint16_t)m->miss_to : out[i];
}

/* ---- decoding: residuals to q ---- */

/* 8 residuals from the two byte planes, zigzag undone. */
INLINE v8u load_residuals(const uint8_t *lo, const uint8_t *hi)
{
  v8b a, b;
  v8u z;

  memcpy(&a, lo, sizeof a);
  memcpy(&b, hi, sizeof b);
  z = (v8u)(v16b)__builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  return (z >> 1) ^ (0 - (z & 1));
}

INLINE v8u prefix_sum(v8u v)
{
  const v8u zero = { 0 };

  v += __builtin_shufflevector(v, zero, 8, 0, 1, 2, 3, 4, 5, 6);
  v += __builtin_shufflevector(v, zero, 8, 8, 0, 1, 2, 3, 4, 5);
  v += __builtin_shufflevector(v, zero, 8, 8, 8, 8, 0, 1, 2, 3);
  return v;
}

INLINE v8u load8(const uint16_t *p)
{
  v8u v;

  memcpy(&v, p, sizeof v);
  return v;
}

/* The first ny rows and w columns (whole vectors) of one plane, nx columns wide as stored. above: w zeros.
 * Lanes past nx hold rubbish nobody reads. */
INLINE void restore(const uint8_t *lo, const uint8_t *hi, size_t ny, size_t nx, size_t w,
                    uint16_t *restrict q, uint16_t *restrict above, bool two_d, bool time)
{
  for (size_t y = 0; y < ny; y++, lo += nx, hi += nx, q += w) {
    v8u carry = { 0 };
    for (size_t x = 0; x < w; x += LANES) {
      v8u v = load_residuals(lo + x, hi + x);
      if (two_d) {
        const v8u sums = prefix_sum(v);
        v = sums + carry + load8(above + x);
        carry += __builtin_shufflevector(sums, sums, 7, 7, 7, 7, 7, 7, 7, 7);
        memcpy(above + x, &v, sizeof v);
      }
      if (time) v += load8(q + x);
      memcpy(q + x, &v, sizeof v);
    }
  }
}

#define RESTORE(name, two_d, time)                                                                           \
  BC_HOT static void name(const uint8_t *lo, const uint8_t *hi, size_t ny, size_t nx, size_t w, uint16_t *q, \
                          uint16_t *above)                                                                   \
  {                                                                                                          \
    restore(lo, hi, ny, nx, w, q, above, two_d, time);                                                       \
  }
RESTORE(restore_none, false, false)
RESTORE(restore_2d, true, false)
RESTORE(restore_time, false, true)
RESTORE(restore_time_2d, true, true)

/* ---- decoding: q to float ---- */

/* True when (float)(q + bias) * s + r in float gives the same bits as the definition in double: the exact sum
 * fits a double, so both round it once. */
static bool exact_in_float(const bc_lin *l)
{
  uint64_t bits;
  int e, low, top;

  if (!l->pow2 || (double)(float)l->r != l->r || l->bias < -8388608 || l->bias > 8388608) return false;
  if (l->r == 0) return l->e >= -126 && l->e <= 100;
  memcpy(&bits, &l->r, sizeof bits);
  e = (int)(bits >> 52 & 0x7ff) - 1022; /* as frexp has it; a float32 is never subnormal as a double */
  low = BC_MIN(e - 24, l->e);
  top = BC_MAX(e, l->e + 24) + 1;
  return low >= -126 && top <= 127 && top - low <= 53;
}

/* Loops of fixed length, the choice of the missing value on bits: what compilers turn into vectors. */
INLINE void convert8(const uint16_t *restrict q, float *restrict out, const bc_lin *l, bool exact, bool holes)
{
  const float s = (float)l->s, r = (float)l->r;
  float f[LANES];

  for (int i = 0; i < LANES; i++) {
    const int32_t k = (int32_t)q[i] + l->bias;
    f[i] = exact ? (float)k * s + r : (float)((double)k * l->s + l->r);
  }
  for (int i = 0; i < LANES; i++) {
    const uint32_t m = holes && q[i] == (uint16_t)l->missing ? UINT32_MAX : 0;
    out[i] = float_of((bits_of(f[i]) & ~m) | (m & NAN_BITS));
  }
}

INLINE void convert(const uint16_t *q, float *out, size_t n, const bc_lin *plane, bool exact, bool holes)
{
  const bc_lin l = *plane;
  float tail[LANES];
  size_t i = 0;

  for (; i + LANES <= n; i += LANES)
    convert8(q + i, out + i, &l, exact, holes);
  if (i == n) return;
  if (n >= LANES) { /* the last few once more, together with some that are done */
    convert8(q + n - LANES, out + n - LANES, &l, exact, holes);
    return;
  }
  convert8(q, tail, &l, exact, holes);
  for (; i < n; i++)
    out[i] = tail[i];
}

#define CONVERT(name, exact, holes)                                                                          \
  BC_HOT static void name(const uint16_t *q, size_t w, size_t rows, const bc_lin *l, uint8_t *dst,           \
                          ptrdiff_t stride, size_t n)                                                        \
  {                                                                                                          \
    for (size_t y = 0; y < rows; y++)                                                                        \
      convert(q + y * w, (float *)(void *)(dst + (ptrdiff_t)y * stride), n, l, exact, holes);                \
  }
typedef void (*convert_fn)(const uint16_t *q, size_t w, size_t rows, const bc_lin *l, uint8_t *dst,
                           ptrdiff_t stride, size_t n);
CONVERT(convert_float, true, false)
CONVERT(convert_float_holes, true, true)
CONVERT(convert_double, false, false)
CONVERT(convert_double_holes, false, true)

static convert_fn pick_convert(const bc_lin *l)
{
  if (exact_in_float(l)) return l->missing < 0 ? convert_float : convert_float_holes;
  return l->missing < 0 ? convert_double : convert_double_holes;
}

static void emit_value(const bc_lin *l, uint16_t q, uint8_t *dst)
{
  const float f = (float)((double)((int32_t)q + l->bias) * l->s + l->r);
  const uint32_t bits = q == l->missing ? NAN_BITS : bits_of(f);

  memcpy(dst, &bits, sizeof bits);
}

/* The picked values of one plane with w columns a row; dst is where its first row goes. */
static void emit_plane(const bc_taking *k, const bc_lin *l, const uint16_t *q, size_t w, float *row,
                       uint8_t *dst)
{
  const convert_fn fn = pick_convert(l);

  q += (size_t)k->y.first * w + k->x.first;
  if (k->x.n == 1 && k->y.n == 1) {
    emit_value(l, *q, dst);
    return;
  }
  if (k->x.step == 1 || k->x.n == 1) {
    if (k->x.n == w && k->y.step == 1 && k->y_stride == (ptrdiff_t)(w * sizeof(float)))
      fn(q, 0, 1, l, dst, 0, w * k->y.n); /* rows follow each other on both sides */
    else
      fn(q, w * k->y.step, k->y.n, l, dst, k->y_stride, k->x.n);
    return;
  }
  for (uint32_t y = 0; y < k->y.n; y++) {
    float *out = (float *)(void *)(dst + (ptrdiff_t)y * k->y_stride);
    fn(q + (size_t)y * k->y.step * w, 0, 1, l, (uint8_t *)row, 0, (size_t)(k->x.n - 1) * k->x.step + 1);
    for (uint32_t x = 0; x < k->x.n; x++)
      out[x] = row[(size_t)x * k->x.step];
  }
}

/* ---- decoding: a block ---- */

typedef struct lin_block {
  bc_predict predict;
  lin_reader records;
  const uint8_t *planes[2];
} lin_block;

static bc_status open_block(bc_zstd *z, bc_lin16_scratch *scratch, bc_bytes src, const bc_taking *k,
                            lin_block *out, bc_err *err)
{
  const size_t n = (size_t)k->nt * k->ny * k->nx;
  uint32_t decoded, stored;
  bc_bytes records, rest;

  if (src.n < LIN_HEADER)
    return BC_FAIL(err, BC_E_CORRUPT, "a linear16 block has %zu bytes, at least %d belong", src.n,
                   LIN_HEADER);
  if (src.p[0] >= BC_N_PREDICT)
    return BC_FAIL(err, BC_E_CORRUPT, "a linear16 block has predictor %d, known are 0 to %d", src.p[0],
                   BC_N_PREDICT - 1);
  decoded = bc_le32(src.p + 1);
  stored = bc_le32(src.p + 5);
  if (decoded > (uint64_t)k->nt * LIN_RECORD_MAX || stored > decoded)
    return BC_FAIL(err, BC_E_CORRUPT, "a linear16 block of %u planes has %u bytes of records, stored as %u",
                   k->nt, decoded, stored);
  if (!bc_bytes_sub(src, LIN_HEADER, stored, &records) ||
      !bc_bytes_sub(src, LIN_HEADER + stored, src.n - LIN_HEADER - stored, &rest))
    return BC_FAIL(err, BC_E_CORRUPT, "a linear16 block has %u bytes of records, only %zu are left", stored,
                   src.n - LIN_HEADER);
  if (stored < decoded) {
    BC_RET(bc_scratch_need(&scratch->records, decoded, err));
    BC_RET(bc_zstd_decode(z, records, scratch->records.p, decoded, err));
    records = (bc_bytes){ scratch->records.p, decoded };
  }
  *out = (lin_block){ .predict = (bc_predict)src.p[0], .records = { .c = { records, 0, true } } };
  return bc_planes_decode(z, rest, n, 2, &scratch->planes, out->planes, err);
}

static uint32_t past_last(bc_pick p) { return p.first + (p.n - 1) * p.step + 1; }

/* Values depend on those to the north and west only: what lies beyond the picked ones stays as it is. */
static void restore_plane(const lin_block *b, const lin_map *m, const bc_taking *k, uint32_t t, size_t w,
                          uint16_t *q, uint16_t *above)
{
  const size_t rows = past_last(k->y), nx = k->nx;
  const size_t at = (size_t)t * k->ny * k->nx;
  const uint8_t *lo = b->planes[0] + at, *hi = b->planes[1] + at;
  const bool two_d = b->predict != BC_PREDICT_NONE && (m->reset || b->predict != BC_PREDICT_TIME);

  if (two_d) memset(above, 0, w * sizeof *above);
  if (m->reset)
    (two_d ? restore_2d : restore_none)(lo, hi, rows, nx, w, q, above);
  else
    (two_d ? restore_time_2d : restore_time)(lo, hi, rows, nx, w, q, above);
}

bc_status bc_lin16_decode(bc_zstd *z, bc_lin16_scratch *scratch, bc_bytes src, const bc_taking *k,
                          bc_err *err)
{
  const size_t w = ((size_t)past_last(k->x) + LANES - 1) / LANES * LANES;
  const uint32_t t_end = past_last(k->t);
  const size_t plane = (size_t)past_last(k->y) * w;
  lin_block b;
  bc_lin before = { 0 };
  uint16_t *q, *mapped, *above;
  float *row;
  uint8_t *dst = k->dst;

  BC_RET(open_block(z, scratch, src, k, &b, err));
  BC_RET(bc_scratch_need(&scratch->q, (2 * plane + 2 * w + LANES) * sizeof *q + w * sizeof *row, err));
  row = scratch->q.p;
  q = (uint16_t *)(void *)(row + w);
  mapped = q + plane;
  above = mapped + plane;
  for (uint32_t t = 0; t < t_end; t++) {
    const bool timed = b.predict == BC_PREDICT_TIME || b.predict == BC_PREDICT_TIME_2D;
    const bool picked = t >= k->t.first && (t - k->t.first) % k->t.step == 0;
    lin_map m = { .reset = true };

    BC_RET(next_plane(&b.records, t, err));
    if (!timed && !picked) continue;
    if (timed && b.records.repeated)
      m = (lin_map){ .same = true };
    else if (timed)
      m = map_planes(t > 0 ? &before : NULL, &b.records.cur);
    if (!m.reset && !m.same) {
      uint16_t *const swap = q;
      apply_map(&m, q, mapped, plane);
      q = mapped;
      mapped = swap;
    }
    restore_plane(&b, &m, k, t, w, q, above);
    before = b.records.cur;
    if (!picked) continue;
    emit_plane(k, &b.records.cur, q, w, row, dst);
    dst += k->t_stride;
  }
  if (t_end == k->nt && (b.records.same != 0 || b.records.c.at != b.records.c.b.n))
    return BC_FAIL(err, BC_E_CORRUPT, "the plane records of a linear16 block go on after its %u planes",
                   k->nt);
  return BC_OK;
}

/* ---- encoding ---- */

INLINE void put_residual(uint16_t r, uint8_t *lo, uint8_t *hi)
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

BC_HOT static void residuals_2d(const uint16_t *restrict d, size_t ny, size_t nx, uint8_t *restrict lo,
                                uint8_t *restrict hi)
{
  put_residual(d[0], lo, hi);
  for (size_t x = 1; x < nx; x++)
    put_residual((uint16_t)(d[x] - d[x - 1]), lo + x, hi + x);
  for (size_t y = 1; y < ny; y++) {
    const uint16_t *c = d + y * nx, *up = c - nx;
    uint8_t *l = lo + y * nx, *h = hi + y * nx;
    put_residual((uint16_t)(c[0] - up[0]), l, h);
    for (size_t x = 1; x < nx; x++)
      put_residual((uint16_t)(c[x] - c[x - 1] - up[x] + up[x - 1]), l + x, h + x);
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
  lin_map m = { .reset = true };

  if (predict == BC_PREDICT_TIME || predict == BC_PREDICT_TIME_2D)
    m = map_planes(t > 0 ? &b->lin[t - 1] : NULL, &b->lin[t]);
  if (!m.reset) {
    const uint16_t *from = d - n;
    if (!m.same) {
      apply_map(&m, from, tmp + n, n);
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
  const size_t room = (size_t)b->nt * LIN_RECORD_MAX, bound = bc_zstd_bound(room), at = out->n;
  uint8_t *records;
  size_t n, stored = 0;

  BC_RET(bc_scratch_need(&scratch->records, room, err));
  BC_RET(bc_buf_reserve(out, LIN_HEADER + bound, err));
  records = scratch->records.p;
  n = put_records(b->lin, b->nt, records);
  BC_RET(bc_zstd_encode(z, level, records, n, out->p + at + LIN_HEADER, bound, &stored, err));
  if (stored >= n) {
    memcpy(out->p + at + LIN_HEADER, records, n);
    stored = n;
  }
  out->p[at] = (uint8_t)predict;
  bc_put_le32(out->p + at + 1, (uint32_t)n);
  bc_put_le32(out->p + at + 5, (uint32_t)stored);
  out->n = at + LIN_HEADER + stored;
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

/* ---- the search for s and r ---- */

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

INLINE void scan8(const float *v, scan_lanes *s)
{
  v8i b, a, order, nan;

  memcpy(&b, v, sizeof b);
  a = b & INT32_MAX;
  order = b ^ ((b >> 31) & INT32_MAX); /* ascends with the value */
  nan = a > (int32_t)INF_BITS;
  s->bad |= (b == INT32_MIN) | (a == (int32_t)INF_BITS) | (nan & (b != (int32_t)NAN_BITS));
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

static float float_of_order(int32_t order) { return float_of((uint32_t)order ^ (order < 0 ? ~SIGN_BIT : 0)); }

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
  anchor = float_of((uint32_t)small);
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
  int32_t k_min[LANES], k_max[LANES], k_or[LANES];
  uint32_t bad[LANES];
} trial_lanes;

INLINE void try8(const float *restrict v, const bc_lin *l, int32_t *restrict k, trial_lanes *s, bool in_float)
{
  const float rf = (float)l->r, sf = (float)l->s, inv_f = in_float ? 1.0f / sf : 0;
  const double inv = 1.0 / l->s;

  for (int i = 0; i < LANES; i++) {
    const uint32_t b = bits_of(v[i]), valid = (int32_t)(b & ~SIGN_BIT) > (int32_t)INF_BITS ? 0 : UINT32_MAX;
    const float x = float_of((b & valid) | (bits_of(rf) & ~valid));
    const float step =
        in_float ? (x - rf) * inv_f : (float)((((double)x - l->r) * inv + ROUND_F64) - ROUND_F64);
    const int32_t ki = (int32_t)(bits_of(step + ROUND_F32) - bits_of(ROUND_F32));
    const float back = in_float ? (float)ki * sf + rf : (float)((double)ki * l->s + l->r);
    s->bad[i] |= (bits_of(back) ^ b) & valid;
    k[i] = ki;
    s->k_min[i] = BC_MIN(s->k_min[i], ki);
    s->k_max[i] = BC_MAX(s->k_max[i], ki);
    s->k_or[i] |= ki;
  }
}

/* k of each value for s = 2^e about r, and whether all come back bit for bit. */
INLINE trial try_all(const float *v, size_t n, const bc_lin *plane, int32_t *k, bool in_float)
{
  const bc_lin l = *plane;
  float tail[LANES];
  int32_t tail_k[LANES];
  trial_lanes s;
  trial out = { INT32_MAX, INT32_MIN, 0, true };
  size_t i = 0;

  for (int j = 0; j < LANES; j++) {
    s.k_min[j] = INT32_MAX;
    s.k_max[j] = INT32_MIN;
    s.k_or[j] = 0;
    s.bad[j] = 0;
  }
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
  *got = exact_in_float(l) ? try_float(v, n, l, k) : try_double(v, n, l, k);
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
    const uint32_t b = bits_of(v[i]), exponent = (b & ~SIGN_BIT) >> 23;
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
    const bool nan = (bits_of(v[i]) & ~SIGN_BIT) > INF_BITS;
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
