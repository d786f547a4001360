/*
 * Decoding of the linear16 codec: residuals to integers, integers to float. Bytes: docs/format.md, "linear16
 * block".
 */
#include <string.h>

#include "store/linear16_parts.h"

typedef uint16_t v8u __attribute__((vector_size(16)));
typedef uint8_t v8b __attribute__((vector_size(8)));
typedef uint8_t v16b __attribute__((vector_size(16)));
typedef float v8f __attribute__((vector_size(32)));
typedef float v4f __attribute__((vector_size(16)));

enum {
  LANES = 8, /* rows of q are padded to whole vectors, so that kernels have no tails */
  AHEAD = 2, /* rows that are fetched ahead: each lies on another page of the answer, which no cache holds */
  LONG_ROW = 32, /* worth it */
  LINE = 16      /* values of a line of cache */
};

void bc_lin16_scratch_dispose(bc_lin16_scratch *s)
{
  bc_scratch_dispose(&s->planes);
  bc_scratch_dispose(&s->records);
  bc_scratch_dispose(&s->scales);
  bc_scratch_dispose(&s->q);
}

/* ---- residuals to q ---- */

/* 8 residuals from the two byte planes, zigzag undone. */
BC_INLINE v8u load_residuals(const uint8_t *lo, const uint8_t *hi)
{
  v8b a, b;
  v8u z;

  memcpy(&a, lo, sizeof a);
  memcpy(&b, hi, sizeof b);
  z = (v8u)(v16b)__builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  return (z >> 1) ^ (0 - (z & 1));
}

BC_INLINE v8u prefix_sum(v8u v)
{
  const v8u zero = { 0 };

  v += __builtin_shufflevector(v, zero, 8, 0, 1, 2, 3, 4, 5, 6);
  v += __builtin_shufflevector(v, zero, 8, 8, 0, 1, 2, 3, 4, 5);
  v += __builtin_shufflevector(v, zero, 8, 8, 8, 8, 0, 1, 2, 3);
  return v;
}

BC_INLINE v8u load8(const uint16_t *p)
{
  v8u v;

  memcpy(&v, p, sizeof v);
  return v;
}

/* The first ny rows and w columns (whole vectors) of one plane, nx columns wide as stored. above: room for w.
 * time: q holds the plane before, add brings it to this plane's scale. Lanes past nx hold rubbish nobody
 * reads. */
BC_INLINE void restore(const uint8_t *lo, const uint8_t *hi, size_t ny, size_t nx, size_t w,
                       uint16_t *restrict q, uint16_t *restrict above, uint16_t add, bool two_d, bool time)
{
  if (two_d) memset(above, 0, w * sizeof *above);
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
      if (time) v += load8(q + x) + add;
      memcpy(q + x, &v, sizeof v);
    }
  }
}

/* The same for rows of one vector: the row above stays in a register. */
BC_INLINE void restore_narrow(const uint8_t *lo, const uint8_t *hi, size_t ny, size_t nx,
                              uint16_t *restrict q, uint16_t add, bool two_d, bool time)
{
  v8u above = { 0 };

  for (size_t y = 0; y < ny; y++, lo += nx, hi += nx, q += LANES) {
    v8u v = load_residuals(lo, hi);
    if (two_d) v = above += prefix_sum(v);
    if (time) v += load8(q) + add;
    memcpy(q, &v, sizeof v);
  }
}

/* ---- q to float ---- */

/* Loops of fixed length, the choice of the missing value on bits: what compilers turn into vectors. */
BC_INLINE void convert8(const uint16_t *restrict q, float *restrict out, const bc_lin *l, bool exact,
                        bool holes)
{
  const float s = (float)l->s, r = (float)l->r;
  float f[LANES];

  for (int i = 0; i < LANES; i++) {
    const int32_t k = (int32_t)q[i] + l->bias;
    f[i] = exact ? (float)k * s + r : (float)((double)k * l->s + l->r);
  }
  for (int i = 0; i < LANES; i++) {
    const uint32_t m = holes && q[i] == (uint16_t)l->missing ? UINT32_MAX : 0;
    out[i] = bc_f32_of((bc_f32_bits(f[i]) & ~m) | (m & BC_F32_NAN));
  }
}

/* n < LANES values, from a register: loading the last ones from the middle of what was just stored would
 * wait.
 */
BC_INLINE void store_few(const float *few, size_t n, float *out)
{
  v8f f;

  memcpy(&f, few, sizeof f);
  v4f part = __builtin_shufflevector(f, f, 0, 1, 2, 3);
  if ((n & 4) != 0) {
    memcpy(out, &part, 4 * sizeof *out);
    part = __builtin_shufflevector(f, f, 4, 5, 6, 7);
    out += 4;
  }
  if ((n & 2) != 0) {
    memcpy(out, &part, 2 * sizeof *out);
    part = __builtin_shufflevector(part, part, 2, 3, 2, 3);
    out += 2;
  }
  if ((n & 1) != 0) memcpy(out, &part, sizeof *out);
}

BC_INLINE void convert_row(const uint16_t *q, float *out, size_t n, const bc_lin *l, bool exact, bool holes)
{
  float few[LANES];
  size_t i = 0;

  for (; i + LANES <= n; i += LANES)
    convert8(q + i, out + i, l, exact, holes);
  if (i == n) return;
  if (n >= LANES) { /* the last few once more, together with some that are done */
    convert8(q + n - LANES, out + n - LANES, l, exact, holes);
    return;
  }
  convert8(q, few, l, exact, holes);
  store_few(few, n, out);
}

BC_INLINE void foresee(const uint8_t *row, size_t n)
{
  for (size_t x = 0; x < n; x += LINE)
    __builtin_prefetch(row + x * sizeof(float), 1);
}

/* n values of each of some rows: w integers apart in q, stride bytes apart in dst. */
BC_INLINE void convert_rows(const uint16_t *q, size_t w, size_t rows, const bc_lin *plane, uint8_t *dst,
                            ptrdiff_t stride, size_t n, bool exact, bool holes)
{
  const bc_lin l = *plane;

  for (size_t y = 0; y < rows; y++) {
    if (n >= LONG_ROW && y + AHEAD < rows) foresee(dst + (ptrdiff_t)(y + AHEAD) * stride, n);
    convert_row(q + y * w, (float *)(void *)(dst + (ptrdiff_t)y * stride), n, &l, exact, holes);
  }
}

BC_INLINE void convert(const uint16_t *q, size_t w, size_t rows, const bc_lin_plane *p, uint8_t *dst,
                       ptrdiff_t stride, size_t n)
{
  const bc_lin *l = &p->lin;
  const bool exact = p->exact, holes = l->missing >= 0;

  if (exact && !holes)
    convert_rows(q, w, rows, l, dst, stride, n, true, false);
  else if (exact)
    convert_rows(q, w, rows, l, dst, stride, n, true, true);
  else if (!holes)
    convert_rows(q, w, rows, l, dst, stride, n, false, false);
  else
    convert_rows(q, w, rows, l, dst, stride, n, false, true);
}

BC_INLINE void emit_value(const bc_lin *l, uint16_t q, uint8_t *dst)
{
  const float f = (float)((double)((int32_t)q + l->bias) * l->s + l->r);
  const uint32_t bits = q == l->missing ? BC_F32_NAN : bc_f32_bits(f);

  memcpy(dst, &bits, sizeof bits);
}

/* The picked values of one plane with w columns a row; dst is where its first row goes. */
BC_INLINE void emit_plane(const bc_taking *k, const bc_lin_plane *p, const uint16_t *q, size_t w, float *row,
                          uint8_t *dst)
{
  q += (size_t)k->y.first * w + k->x.first;
  if (k->x.n == 1 && k->y.n == 1) {
    emit_value(&p->lin, *q, dst);
    return;
  }
  if (k->x.step == 1 || k->x.n == 1) {
    if (k->x.n == w && k->y.step == 1 && k->y_stride == (ptrdiff_t)(w * sizeof(float)))
      convert(q, 0, 1, p, dst, 0, w * k->y.n); /* rows follow each other on both sides */
    else
      convert(q, w * k->y.step, k->y.n, p, dst, k->y_stride, k->x.n);
    return;
  }
  for (uint32_t y = 0; y < k->y.n; y++) {
    float *out = (float *)(void *)(dst + (ptrdiff_t)y * k->y_stride);
    convert(q + (size_t)y * k->y.step * w, 0, 1, p, (uint8_t *)row, 0, (size_t)(k->x.n - 1) * k->x.step + 1);
    for (uint32_t x = 0; x < k->x.n; x++)
      out[x] = row[(size_t)x * k->x.step];
  }
}

/* ---- a block ---- */

typedef struct lin_block {
  bc_predict predict;
  bc_bytes records;
  const uint8_t *planes[2];
} lin_block;

static bc_status open_block(bc_zstd *z, bc_lin16_scratch *scratch, bc_bytes src, const bc_taking *k,
                            lin_block *out, bc_err *err)
{
  const size_t n = (size_t)k->nt * k->ny * k->nx;
  uint32_t decoded, stored;
  bc_bytes records, rest;

  if (src.n < BC_LIN_HEADER)
    return BC_FAIL(err, BC_E_CORRUPT, "a linear16 block has %zu bytes, at least %d belong", src.n,
                   BC_LIN_HEADER);
  if (src.p[0] >= BC_N_PREDICT)
    return BC_FAIL(err, BC_E_CORRUPT, "a linear16 block has predictor %d, known are 0 to %d", src.p[0],
                   BC_N_PREDICT - 1);
  decoded = bc_le32(src.p + 1);
  stored = bc_le32(src.p + 5);
  if (decoded > (uint64_t)k->nt * BC_LIN_RECORD_MAX || stored > decoded)
    return BC_FAIL(err, BC_E_CORRUPT, "a linear16 block of %u planes has %u bytes of records, stored as %u",
                   k->nt, decoded, stored);
  if (!bc_bytes_sub(src, BC_LIN_HEADER, stored, &records) ||
      !bc_bytes_sub(src, BC_LIN_HEADER + stored, src.n - BC_LIN_HEADER - stored, &rest))
    return BC_FAIL(err, BC_E_CORRUPT, "a linear16 block has %u bytes of records, only %zu are left", stored,
                   src.n - BC_LIN_HEADER);
  if (stored < decoded) {
    BC_RET(bc_scratch_need(&scratch->records, decoded, err));
    BC_RET(bc_zstd_decode(z, records, scratch->records.p, decoded, err));
    records = (bc_bytes){ scratch->records.p, decoded };
  }
  *out = (lin_block){ .predict = (bc_predict)src.p[0], .records = records };
  return bc_planes_decode(z, rest, n, 2, &scratch->planes, out->planes, err);
}

static uint32_t past_last(bc_pick p) { return p.first + (p.n - 1) * p.step + 1; }

/* Values depend on those to the north and west only: what lies beyond the picked ones stays as it is. */
BC_INLINE void restore_plane(const lin_block *b, const bc_taking *k, uint32_t t, size_t w, uint16_t *q,
                             uint16_t *above, bool reset, uint16_t add)
{
  const size_t rows = past_last(k->y), nx = k->nx, at = (size_t)t * k->ny * nx;
  const uint8_t *lo = b->planes[0] + at, *hi = b->planes[1] + at;
  const bool two_d = b->predict != BC_PREDICT_NONE && (reset || b->predict != BC_PREDICT_TIME);

  if (two_d && w == LANES)
    reset ? restore_narrow(lo, hi, rows, nx, q, 0, true, false)
          : restore_narrow(lo, hi, rows, nx, q, add, true, true);
  else if (two_d)
    reset ? restore(lo, hi, rows, nx, w, q, above, 0, true, false)
          : restore(lo, hi, rows, nx, w, q, above, add, true, true);
  else if (reset)
    restore(lo, hi, rows, nx, w, q, above, 0, false, false);
  else
    restore(lo, hi, rows, nx, w, q, above, add, false, true);
}

/* One function of all kernels: a block of few nodes has one plane for every few values. */
BC_HOT static void decode_planes(const lin_block *b, const bc_lin_plane *planes, const bc_taking *k, size_t w,
                                 float *row)
{
  const size_t plane = (size_t)past_last(k->y) * w;
  const bool timed = b->predict == BC_PREDICT_TIME || b->predict == BC_PREDICT_TIME_2D;
  uint16_t *q = (uint16_t *)(void *)(row + w), *mapped = q + plane, *const above = mapped + plane;
  uint8_t *dst = k->dst;
  uint32_t next = k->t.first;

  for (uint32_t t = timed ? 0 : next; t < past_last(k->t); t += timed ? 1 : k->t.step) {
    const bc_lin_map *m = &planes[t].map;
    if (timed && !m->reset && !m->plain) {
      uint16_t *const swap = q;
      bc_lin_map_apply(m, q, mapped, plane);
      q = mapped;
      mapped = swap;
    }
    restore_plane(b, k, t, w, q, above, !timed || m->reset, m->plain ? m->add : 0);
    if (t != next) continue;
    emit_plane(k, &planes[t], q, w, row, dst);
    dst += k->t_stride;
    next += k->t.step;
  }
}

bc_status bc_lin16_decode(bc_zstd *z, bc_lin16_scratch *scratch, bc_bytes src, const bc_taking *k,
                          bc_err *err)
{
  const size_t w = ((size_t)past_last(k->x) + LANES - 1) / LANES * LANES;
  const uint32_t n = past_last(k->t);
  const size_t plane = (size_t)past_last(k->y) * w;
  lin_block b;

  BC_RET(open_block(z, scratch, src, k, &b, err));
  BC_RET(bc_scratch_need(&scratch->scales, n * sizeof(bc_lin_plane), err));
  BC_RET(bc_lin_records_read(b.records, n, n == k->nt, scratch->scales.p, err));
  BC_RET(bc_scratch_need(&scratch->q, (2 * plane + w + LANES) * sizeof(uint16_t) + w * sizeof(float), err));
  decode_planes(&b, scratch->scales.p, k, w, scratch->q.p);
  return BC_OK;
}
