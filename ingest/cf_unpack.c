/*
 * From the numbers of a file to values: which ones are missing, scale and offset, by the rules of
 * netCDF4-python. See cf.h.
 */
#include "ingest/cf.h"

#include <math.h>

size_t bc_raw_size(bc_raw r)
{
  switch (r) {
  case BC_RAW_I8:
  case BC_RAW_U8: return 1;
  case BC_RAW_I16:
  case BC_RAW_U16: return 2;
  case BC_RAW_I32:
  case BC_RAW_U32:
  case BC_RAW_F32: return 4;
  case BC_RAW_I64:
  case BC_RAW_U64:
  case BC_RAW_F64: return 8;
  case BC_RAW_OTHER:
  case BC_RAW_CHAR:
  case BC_RAW_STRING: break;
  }
  return 0;
}

static void int_limits(bc_raw r, int64_t *lo, int64_t *hi)
{
  const int bits = (int)bc_raw_size(r) * 8;
  const bool is_signed = r == BC_RAW_I8 || r == BC_RAW_I16 || r == BC_RAW_I32 || r == BC_RAW_I64;

  if (bits == 64) { /* U64 is compared by its two's complement */
    *lo = is_signed ? INT64_MIN : 0;
    *hi = INT64_MAX;
  } else {
    *lo = is_signed ? -(INT64_C(1) << (bits - 1)) : 0;
    *hi = (INT64_C(1) << (is_signed ? bits - 1 : bits)) - 1;
  }
}

/* Convert v to type r if r holds it exactly; NaN only fits floats. */
static bool cast_exact(bc_raw r, const bc_num *v, bc_num *out)
{
  int64_t lo, hi;

  *out = (bc_num){ .raw = r, .i = v->i, .d = v->d };
  if (!bc_raw_is_number(v->raw)) return false;
  if (r == BC_RAW_F64) return true;
  if (r == BC_RAW_F32) {
    if (isfinite(v->d) && fabs(v->d) > 3.5e38) return false;
    out->d = (double)(float)v->d;
    return isnan(v->d) || out->d == v->d;
  }
  if (r == BC_RAW_U64 && v->raw == BC_RAW_U64) return true;
  int_limits(r, &lo, &hi);
  if (!bc_raw_is_int(v->raw)) {
    if (!(v->d >= -9.2e18 && v->d <= 9.2e18) || v->d != floor(v->d)) return false;
    out->i = (int64_t)v->d;
  } else if (v->raw == BC_RAW_U64 && v->i < 0) {
    return false;
  }
  out->d = (double)out->i;
  return out->i >= lo && out->i <= hi;
}

static bool all_exact(bc_raw r, const bc_num *v, size_t n)
{
  bc_num x;

  for (size_t i = 0; i < n; i++) {
    if (!cast_exact(r, &v[i], &x)) return false;
  }
  return n > 0;
}

static bc_num default_fill(bc_raw r)
{
  bc_num v = { .raw = r };

  switch (r) {
  case BC_RAW_I8: v.i = -127; break;
  case BC_RAW_U8: v.i = 255; break;
  case BC_RAW_I16: v.i = -32767; break;
  case BC_RAW_U16: v.i = 65535; break;
  case BC_RAW_I32: v.i = -2147483647; break;
  case BC_RAW_U32: v.i = INT64_C(4294967295); break;
  case BC_RAW_I64: v.i = INT64_C(-9223372036854775806); break;
  case BC_RAW_U64: v.i = -2; break;
  default: v.d = 9.9692099683868690e+36; return v; /* of float and double */
  }
  v.d = (double)v.i;
  return v;
}

static bc_status one_number(const char *where, const char *name, const bc_num *v, size_t n, double *out,
                            bc_err *err)
{
  if (n != 1 || !bc_raw_is_number(v->raw) || !isfinite(v->d))
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: attribute %s is not one finite number", where, name);
  *out = v->d;
  return BC_OK;
}

/* A signed number seen as the unsigned one with the same bits. */
static bc_num view_unsigned(bc_num v, bc_raw r)
{
  const int bits = (int)bc_raw_size(r) * 8;

  v.raw = r;
  if (bits < 64) v.i &= (INT64_C(1) << bits) - 1;
  v.d = bits < 64 ? (double)v.i : (double)(uint64_t)v.i;
  return v;
}

static bool add_masks(bc_unpack *u, bc_raw own, const bc_num *v, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    bc_num x;
    if (!cast_exact(own, &v[i], &x)) return true;
    if (isnan(x.d) && !bc_raw_is_int(own)) continue; /* NaN is missing anyway */
    if (u->n_missing == BC_CF_MASKS) return false;
    u->missing[u->n_missing++] = own == u->raw ? x : view_unsigned(x, u->raw);
  }
  return true;
}

static void set_limits(bc_unpack *u, bc_raw own, const bc_cf_packing *p)
{
  const bc_num *lo = NULL, *hi = NULL;

  if (p->n_valid_range == 2 && all_exact(own, p->valid_range, 2)) {
    lo = &p->valid_range[0];
    hi = &p->valid_range[1];
  } else {
    if (p->n_valid_min == 1 && all_exact(own, p->valid_min, 1)) lo = p->valid_min;
    if (p->n_valid_max == 1 && all_exact(own, p->valid_max, 1)) hi = p->valid_max;
  }
  u->has_min = lo != NULL && cast_exact(own, lo, &u->min) && !isnan(u->min.d);
  u->has_max = hi != NULL && cast_exact(own, hi, &u->max) && !isnan(u->max.d);
  if (own != u->raw) {
    u->min = view_unsigned(u->min, u->raw);
    u->max = view_unsigned(u->max, u->raw);
  }
}

static bc_status set_scale(bc_unpack *u, const char *where, const bc_cf_packing *p, bc_err *err)
{
  u->scale = 1;
  u->offset = 0;
  u->has_offset = p->n_offset > 0;
  if (p->n_scale > 0) BC_RET(one_number(where, "scale_factor", p->scale, p->n_scale, &u->scale, err));
  if (p->n_offset > 0) BC_RET(one_number(where, "add_offset", p->offset, p->n_offset, &u->offset, err));
  /* one alone that changes nothing does nothing; both together turn integers into doubles first */
  u->scaled = (p->n_scale > 0 && p->n_offset > 0) || u->scale != 1 || u->offset != 0;
  if (u->scale == 1 && u->offset == 0) u->has_offset = false; /* -0.0 stays -0.0 */
  return BC_OK;
}

bc_status bc_unpack_init(bc_unpack *u, const char *where, bc_raw raw, const bc_cf_packing *p, bc_err *err)
{
  const bool is_byte = raw == BC_RAW_I8 || raw == BC_RAW_U8;
  const bool is_view =
      p->is_unsigned && (raw == BC_RAW_I8 || raw == BC_RAW_I16 || raw == BC_RAW_I32 || raw == BC_RAW_I64);
  bool fits = true;

  *u = (bc_unpack){ .raw = is_view ? (bc_raw)(raw + 1) : raw };
  BC_RET(set_scale(u, where, p, err));
  if (all_exact(raw, p->missing, p->n_missing)) fits = add_masks(u, raw, p->missing, p->n_missing);
  if (p->n_fill == 1 && all_exact(raw, p->fill, 1)) {
    fits = fits && add_masks(u, raw, p->fill, 1);
  } else if (!is_view && !(is_byte && p->no_fill)) {
    const bc_num fill = default_fill(raw);
    fits = fits && add_masks(u, raw, &fill, 1);
  }
  if (!fits) return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: more than %d missing values", where, BC_CF_MASKS - 1);
  set_limits(u, raw, p);
  return BC_OK;
}

bool bc_unpack_masks(const bc_unpack *u) { return u->n_missing > 0 || u->has_min || u->has_max; }

/* One pass per rule keeps each loop simple enough for the compiler to vectorise. */
#define UNPACK_KERNEL(NAME, T, FIELD)                                                                        \
  BC_HOT static void NAME(const bc_unpack *u, const T *src, size_t n, float *dst)                            \
  {                                                                                                          \
    if (u->scaled && u->has_offset) {                                                                        \
      for (size_t i = 0; i < n; i++)                                                                         \
        dst[i] = (float)((double)src[i] * u->scale + u->offset);                                             \
    } else if (u->scaled) {                                                                                  \
      for (size_t i = 0; i < n; i++)                                                                         \
        dst[i] = (float)((double)src[i] * u->scale);                                                         \
    } else if ((const void *)src != (const void *)dst) {                                                     \
      for (size_t i = 0; i < n; i++)                                                                         \
        dst[i] = (float)src[i];                                                                              \
    }                                                                                                        \
    for (size_t k = 0; k < u->n_missing; k++) {                                                              \
      const T m = (T)u->missing[k].FIELD;                                                                    \
      for (size_t i = 0; i < n; i++)                                                                         \
        dst[i] = src[i] == m ? NAN : dst[i];                                                                 \
    }                                                                                                        \
    if (u->has_min) {                                                                                        \
      const T lo = (T)u->min.FIELD;                                                                          \
      for (size_t i = 0; i < n; i++)                                                                         \
        dst[i] = src[i] < lo ? NAN : dst[i];                                                                 \
    }                                                                                                        \
    if (u->has_max) {                                                                                        \
      const T hi = (T)u->max.FIELD;                                                                          \
      for (size_t i = 0; i < n; i++)                                                                         \
        dst[i] = src[i] > hi ? NAN : dst[i];                                                                 \
    }                                                                                                        \
  }
UNPACK_KERNEL(unpack_i8, int8_t, i)
UNPACK_KERNEL(unpack_u8, uint8_t, i)
UNPACK_KERNEL(unpack_i16, int16_t, i)
UNPACK_KERNEL(unpack_u16, uint16_t, i)
UNPACK_KERNEL(unpack_i32, int32_t, i)
UNPACK_KERNEL(unpack_u32, uint32_t, i)
UNPACK_KERNEL(unpack_i64, int64_t, i)
UNPACK_KERNEL(unpack_u64, uint64_t, i)
UNPACK_KERNEL(unpack_f32, float, d)
UNPACK_KERNEL(unpack_f64, double, d)

void bc_unpack_f32(const bc_unpack *u, const void *src, size_t n, float *dst)
{
  switch (u->raw) {
  case BC_RAW_I8: unpack_i8(u, src, n, dst); break;
  case BC_RAW_U8: unpack_u8(u, src, n, dst); break;
  case BC_RAW_I16: unpack_i16(u, src, n, dst); break;
  case BC_RAW_U16: unpack_u16(u, src, n, dst); break;
  case BC_RAW_I32: unpack_i32(u, src, n, dst); break;
  case BC_RAW_U32: unpack_u32(u, src, n, dst); break;
  case BC_RAW_I64: unpack_i64(u, src, n, dst); break;
  case BC_RAW_U64: unpack_u64(u, src, n, dst); break;
  case BC_RAW_F32: unpack_f32(u, src, n, dst); break;
  case BC_RAW_F64: unpack_f64(u, src, n, dst); break;
  case BC_RAW_OTHER:
  case BC_RAW_CHAR:
  case BC_RAW_STRING: break; /* bc_unpack_init was given a number */
  }
}

void bc_unpack_i16(const bc_unpack *u, int16_t code, int16_t *p, size_t n)
{
  const int16_t lo = u->has_min ? (int16_t)u->min.i : INT16_MIN;
  const int16_t hi = u->has_max ? (int16_t)u->max.i : INT16_MAX;

  for (size_t k = 0; k < u->n_missing; k++) {
    const int16_t m = (int16_t)u->missing[k].i;
    for (size_t i = 0; m != code && i < n; i++)
      p[i] = p[i] == m ? code : p[i];
  }
  if (!u->has_min && !u->has_max) return;
  for (size_t i = 0; i < n; i++)
    p[i] = p[i] < lo || p[i] > hi ? code : p[i];
}
