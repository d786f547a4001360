/*
 * The values that go into a tile: taken from the caller's array, unpacked, rounded.
 */
#include "store/tile_int.h"

#include <math.h>

/* The nearest multiple of step, ties to even; what float32 cannot hold stays as it is. */
static inline __attribute__((always_inline)) float round_value(float v, double step, double inv)
{
  const double whole = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds |x| < 2^51 to an integer */
  const double k = (double)v * inv;
  const double r = ((k + whole) - whole) * step + 0.0; /* + 0.0: no -0.0 */
  const float f = (float)r;

  /* from 2^24 steps on a float32 is a multiple of the step already; NaN makes the comparison false */
  return fabs(k) < 16777216.0 && (double)f == r ? f : v;
}

BC_HOT static void round_row(float *v, size_t n, double step)
{
  const double inv = 1 / step;

  for (size_t i = 0; i < n; i++)
    v[i] = round_value(v[i], step, inv);
}

double bc_rounding_step(double precision)
{
  int e = 0;

  if (!(precision > 0)) return 0;
  (void)frexp(precision, &e);
  return e - 1 < -149 ? 0 : ldexp(1, BC_MIN(e - 1, 127));
}

float bc_round_to_precision(float v, double precision)
{
  const double step = bc_rounding_step(precision);

  return step > 0 ? round_value(v, step, 1 / step) : v;
}

BC_HOT static void unpack_row(const int16_t *restrict v, float *restrict out, size_t n,
                              const bc_packing *packing)
{
  const bc_packing p = *packing;

  for (size_t i = 0; i < n; i++)
    out[i] = (float)((double)v[i] * p.scale + p.offset);
  if (!p.has_fill) return;
  for (size_t i = 0; i < n; i++)
    out[i] = v[i] == p.fill ? __builtin_nanf("") : out[i];
}

void bc_tile_load_row(const bc_tile_job *j, uint32_t t, uint32_t l, uint32_t y, uint32_t x, uint32_t n,
                      float *out)
{
  const void *row = bc_tile_in_row(j->in, t, l, y);

  if (j->in->dtype == BC_I16)
    unpack_row((const int16_t *)row + x, out, n, &j->in->packing[t]);
  else
    memcpy(out, (const float *)row + x, n * sizeof *out);
  if (j->step > 0) round_row(out, n, j->step);
}

void bc_tile_load_block(const bc_tile_job *j, const bc_block_place *at, float *out)
{
  for (uint32_t t = 0; t < at->nt; t++)
    for (uint32_t y = 0; y < at->ny; y++, out += at->nx)
      bc_tile_load_row(j, at->t0 + t, at->l, at->y0 + y, at->x0, at->nx, out);
}

BC_HOT static bool differ_nowhere(const float *v, size_t n, uint32_t bits)
{
  uint32_t differ = 0;

  for (size_t i = 0; i < n; i++) {
    uint32_t b;
    memcpy(&b, v + i, sizeof b);
    differ |= b ^ bits;
  }
  return differ == 0;
}

bool bc_all_equal(const float *v, size_t n, uint32_t bits) { return differ_nowhere(v, n, bits); }

/* The integers of one step; true when the fill value is among them. */
BC_HOT static bool pack_row(const int16_t *restrict v, size_t n, int32_t fill, uint16_t *restrict q)
{
  uint16_t found = 0;

  for (size_t i = 0; i < n; i++) {
    q[i] = (uint16_t)(v[i] ^ INT16_MIN);
    found |= v[i] == fill ? 1 : 0;
  }
  return found != 0;
}

bool bc_tile_packed_ints(const bc_tile_job *j, const bc_block_place *at, uint16_t *q, bc_lin *lin)
{
  bool missing = false;

  for (uint32_t t = 0; t < at->nt; t++) {
    const bc_packing *p = &j->in->packing[at->t0 + t];
    const bool fill = p->has_fill && p->fill >= INT16_MIN && p->fill <= INT16_MAX;
    lin[t] = (bc_lin){ .s = p->scale, .r = p->offset, .bias = INT16_MIN };
    lin[t].missing = fill ? p->fill - INT16_MIN : -1;
    if (!bc_lin16_valid(&lin[t])) return false;
    for (uint32_t y = 0; y < at->ny; y++, q += at->nx) {
      const int16_t *row = (const int16_t *)bc_tile_in_row(j->in, at->t0 + t, at->l, at->y0 + y) + at->x0;
      if (pack_row(row, at->nx, p->fill, q)) missing = missing || fill;
    }
  }
  for (uint32_t t = 0; t < at->nt && !missing; t++)
    lin[t].missing = -1; /* without it a block decodes faster */
  return true;
}
