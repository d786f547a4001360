/*
 * Plane records of the linear16 codec: the scale of each plane of a block, and how the integers of one plane
 * read in the scale of the next. Bytes: docs/format.md, "linear16 block".
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "store/linear16_parts.h"

enum {
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
       REC_KNOWN = 31,
       USUAL_BYTES = 7 /* of a power of two and an offset of a float32, with its tag */
};

/* 2^e for the steps that a record may hold and their inverses. */
BC_INLINE double power_of_two(int e)
{
  const uint64_t b = (uint64_t)(e + 1023) << 52;
  double d;

  memcpy(&d, &b, sizeof d);
  return d;
}

/* ---- plane records ---- */

BC_INLINE bool valid(const bc_lin *l)
{
  if (!isfinite(l->s) || !isfinite(l->r) || l->s == 0) return false;
  if (l->bias < -(1 << 24) || l->bias > 1 << 24) return false;
  if (l->pow2 && (l->e < MIN_POW2 || l->e > MAX_POW2)) return false;
  return fabs(l->r) + fabs(l->s) * (65536.0 + fabs((double)l->bias)) <= (double)FLT_MAX;
}

bool bc_lin16_valid(const bc_lin *l) { return valid(l); }

/* Bit for bit: -0.0 and 0.0 are different offsets. */
static bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

static bool lin_equal(const bc_lin *a, const bc_lin *b)
{
  return a->pow2 == b->pow2 && same_bits(a->s, b->s) && same_bits(a->r, b->r) && a->bias == b->bias &&
         a->missing == b->missing;
}

/* Bytes of a record behind its tag. */
BC_INLINE size_t record_bytes(unsigned tag)
{
  if ((tag & REC_KIND) == REC_SAME) return 2;
  return ((tag & REC_KIND) == REC_POW2 ? 2u : 8u) + ((tag & REC_R_F32) != 0 ? 4u : 8u) +
         ((tag & REC_BIAS) != 0 ? 4u : 0u) + ((tag & REC_MISSING) != 0 ? 2u : 0u);
}

BC_INLINE const uint8_t *take(bc_bytes b, size_t *at, size_t n)
{
  if (b.n - *at < n) return NULL;
  *at += n;
  return b.p + *at - n;
}

/* A scale of its own, field by field where it belongs: a copy would wait for the parts to be written. */
BC_INLINE bool read_scale(const uint8_t *p, unsigned tag, bc_lin *l)
{
  l->pow2 = (tag & REC_KIND) == REC_POW2;
  l->e = 0;
  if (l->pow2) {
    l->e = (int16_t)bc_le16(p);
    if (l->e < MIN_POW2 || l->e > MAX_POW2) return false;
    l->s = power_of_two(l->e);
    p += 2;
  } else {
    if ((tag & REC_KIND) != REC_GENERAL) return false;
    l->s = bc_le_f64(p);
    p += 8;
  }
  l->r = (tag & REC_R_F32) != 0 ? (double)bc_f32_of(bc_le32(p)) : bc_le_f64(p);
  p += (tag & REC_R_F32) != 0 ? 4 : 8;
  l->bias = 0;
  if ((tag & REC_BIAS) != 0) {
    l->bias = (int32_t)bc_le32(p);
    p += 4;
  }
  l->missing = (tag & REC_MISSING) != 0 ? bc_le16(p) : -1;
  return valid(l);
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

/* All records of a block; p has room for nt * BC_LIN_RECORD_MAX. */
size_t bc_lin_records_put(const bc_lin *lin, uint32_t nt, uint8_t *p)
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

/* ---- the way back to float ---- */

/* An offset below 2^r and a step of 2^s, times 16 bits and their bias: every digit in one double. */
BC_INLINE bool sum_fits(int r, int s)
{
  const int low = BC_MIN(r - 24, s), top = BC_MAX(r, s + 24) + 1;
  return low >= -126 && top <= 127 && top - low <= 53;
}

BC_INLINE bool exact_in_float(const bc_lin *l)
{
  uint64_t bits;
  int e;

  if (!l->pow2 || (double)(float)l->r != l->r || l->bias < -8388608 || l->bias > 8388608) return false;
  if (l->r == 0) return l->e >= -126 && l->e <= 100;
  memcpy(&bits, &l->r, sizeof bits);
  e = (int)(bits >> 52 & 0x7ff) - 1022; /* as frexp has it; a float32 is never subnormal as a double */
  return sum_fits(e, l->e);
}

bool bc_lin_exact_in_float(const bc_lin *l) { return exact_in_float(l); }

/* ---- from one plane to the next ---- */

/* A step that is a power of two is divided by exactly by its inverse. floor without a call of a library. */
BC_INLINE bc_lin_map map_between(const bc_lin *a, const bc_lin *b)
{
  bc_lin_map m = { .miss_from = -1, .miss_to = -1 };
  double apart;
  int shift;
  int64_t add;

  if (a->pow2 != b->pow2 || (!a->pow2 && a->s != b->s)) return (bc_lin_map){ .reset = true };
  shift = a->pow2 ? a->e - b->e : 0;
  apart = (a->r + a->bias * a->s) - (b->r + b->bias * b->s);
  apart = (b->pow2 ? apart * power_of_two(-b->e) : apart / b->s) + 0.5;
  if (shift < -15 || shift > 15 || !(fabs(apart) < 4294967296.0)) return (bc_lin_map){ .reset = true };
  add = (int64_t)apart;
  add -= (double)add > apart ? 1 : 0;
  if (add <= INT32_MIN || add > INT32_MAX) return (bc_lin_map){ .reset = true };
  m.shift = (int8_t)shift;
  m.add = (uint16_t)add;
  if (a->missing >= 0 && b->missing >= 0) {
    m.miss_from = a->missing;
    m.miss_to = b->missing;
  }
  m.plain = shift == 0 && (m.miss_from < 0 || (m.add == 0 && m.miss_from == m.miss_to));
  return m;
}

bc_lin_map bc_lin_map_between(const bc_lin *a, const bc_lin *b) { return map_between(a, b); }

static void repeat(const bc_lin_plane *before, bc_lin_plane *out)
{
  out->lin = before->lin;
  out->exact = before->exact;
  out->map = (bc_lin_map){ .plain = true, .miss_from = -1, .miss_to = -1 };
}

/* One bounds check a record: blocks of few nodes have one for every few values. same: planes that repeat
 * this. */
BC_INLINE bool read_record(bc_bytes b, size_t *at, bool first, bc_lin_plane *p, uint32_t *same)
{
  const uint8_t *r = take(b, at, 1);
  const unsigned tag = r != NULL ? *r : UINT8_MAX;

  if ((tag & ~(unsigned)REC_KNOWN) != 0) return false;
  r = take(b, at, record_bytes(tag));
  if (r == NULL) return false;
  if ((tag & REC_KIND) == REC_SAME) {
    *same = bc_le16(r);
    if (tag != REC_SAME || first || *same == 0) return false;
    --*same;
    repeat(p - 1, p);
    return true;
  }
  if (!read_scale(r, tag, &p->lin)) return false;
  p->exact = exact_in_float(&p->lin);
  p->map = first ? (bc_lin_map){ .reset = true } : map_between(&p[-1].lin, &p->lin);
  return true;
}

/* Records as GRIB values have them, from r on: a step like that of the plane before, p[-1], an offset of a
 * float32, nothing else. Returns how many of n were read. What is unusual about one is left to read_record.
 */
BC_HOT static uint32_t read_usual(const uint8_t *r, size_t bytes, uint32_t n, bc_lin_plane *p)
{
  enum { TAG = REC_POW2 | REC_R_F32, MAX_E = 100 };
  bc_lin l = p[-1].lin;
  const double inverse = power_of_two(-l.e);
  const uint16_t e = (uint16_t)(int16_t)l.e;
  uint32_t k = 0;

  if (!l.pow2 || l.bias != 0 || l.missing >= 0 || l.e < -MAX_E || l.e > MAX_E) return 0;
  n = (uint32_t)BC_MIN(n, bytes / USUAL_BYTES);
  for (; k < n && r[0] == TAG && bc_le16(r + 1) == e; k++, r += USUAL_BYTES) {
    const uint32_t bits = bc_le32(r + 3);
    const int top = (int)(bits >> 23 & 0xff) - 126; /* as frexp has it */
    const double offset = (double)bc_f32_of(bits);
    const double apart = (l.r - offset) * inverse + 0.5;
    if (top < 2 - 126 || top > MAX_E || !(fabs(apart) < INT32_MAX)) break;
    l.r = offset;
    p[k].lin = l;
    p[k].exact = sum_fits(top, l.e);
    p[k].map =
        (bc_lin_map){ .plain = true, .add = (uint16_t)(int32_t)floor(apart), .miss_from = -1, .miss_to = -1 };
  }
  return k;
}

bc_status bc_lin_records_read(bc_bytes records, uint32_t n, bool all, bc_lin_plane *out, bc_err *err)
{
  size_t at = 0;
  uint32_t same = 0;

  for (uint32_t t = 0; t < n; t++) {
    if (same > 0) {
      same--;
      repeat(&out[t - 1], &out[t]);
      continue;
    }
    if (t > 0) {
      const uint32_t usual = read_usual(records.p + at, records.n - at, n - t, &out[t]);
      at += usual * USUAL_BYTES;
      t += usual;
      if (t == n) break;
    }
    if (!read_record(records, &at, t == 0, &out[t], &same)) {
      return BC_FAIL(err, BC_E_CORRUPT,
                     "plane record %u of a linear16 block, ending at byte %zu of %zu, is not valid", t, at,
                     records.n);
    }
  }
  if (all && (same != 0 || at != records.n))
    return BC_FAIL(err, BC_E_CORRUPT, "the plane records of a linear16 block go on after its %u planes", n);
  return BC_OK;
}

BC_HOT static void map_apply(const bc_lin_map *m, const uint16_t *restrict q, uint16_t *restrict out,
                             size_t n)
{
  const int left = BC_MAX(m->shift, 0), right = BC_MAX(-m->shift, 0);
  const uint16_t add = m->add;

  for (size_t i = 0; i < n; i++)
    out[i] = (uint16_t)((uint16_t)(((uint32_t)q[i] << left) >> right) + add);
  if (m->miss_from < 0) return;
  for (size_t i = 0; i < n; i++)
    out[i] = q[i] == (uint16_t)m->miss_from ? (uint16_t)m->miss_to : out[i];
}

/* The versions of a hot function cannot be hidden from those who use the library: only static ones. */
void bc_lin_map_apply(const bc_lin_map *m, const uint16_t *q, uint16_t *out, size_t n)
{
  map_apply(m, q, out, n);
}
