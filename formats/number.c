#include "formats/sink_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Exact as doubles. */
static const double k_pow10[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

/* The host program may have set a locale with another decimal point. */
static void mend_point(char *s)
{
  for (; *s != '\0'; s++) {
    if (*s == ',') *s = '.';
  }
}

static size_t special(char *buf, double v)
{
  (void)snprintf(buf, BC_NUM_TEXT, "%s", isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
  return strlen(buf);
}

/* "12" "3" -> 1.2; digits of m with the point k places from the right, trailing zeros dropped */
static size_t put_decimal(char *buf, bool negative, uint64_t m, int k)
{
  char digit[24];
  int n = 0;
  size_t at = 0;

  while (k > 0 && m % 10 == 0) {
    m /= 10;
    k--;
  }
  for (; m > 0 || n <= k; m /= 10)
    digit[n++] = (char)('0' + m % 10);
  if (negative) buf[at++] = '-';
  while (n > 0) {
    buf[at++] = digit[--n];
    if (n == k && k > 0) buf[at++] = '.';
  }
  buf[at] = '\0';
  return at;
}

/* Half a step of float32 at a, less a margin far above the error of one rounded operation in double; a
 * quarter where the step below a power of two is half as wide. */
static double half_step(double a)
{
  int e = 0;
  const double f = frexp(a, &e);
  return ldexp(f > 0.5 ? 1.0 : 0.5, e - 25) * 0.99999999;
}

/*
 * Between 1e-4 and 1e9: the first number of decimals whose value lies inside the interval that rounds to v.
 * m / 10^k is one correctly rounded division of exact doubles.
 */
static size_t plain_f32(char *buf, float v)
{
  const double a = fabs((double)v), half = half_step(a);
  for (int k = 0; k <= 13; k++) {
    const double m = floor(a * k_pow10[k] + 0.5);
    if (m > 0 && fabs(m / k_pow10[k] - a) < half) return put_decimal(buf, v < 0, (uint64_t)m, k);
  }
  return 0;
}

/* "1.25e-05" from m 125, k 7: m / 10^k. */
static size_t put_scientific(char *buf, bool negative, uint64_t m, int k)
{
  char digit[24];

  while (m % 10 == 0) {
    m /= 10;
    k--;
  }
  const int n = snprintf(digit, sizeof digit, "%llu", (unsigned long long)m), e = n - 1 - k;
  return (size_t)snprintf(buf, BC_NUM_TEXT, "%s%c%s%.*se%c%02d", negative ? "-" : "", digit[0],
                          n > 1 ? "." : "", n - 1, digit + 1, e < 0 ? '-' : '+', abs(e));
}

/* The same beyond those, from 1e-12 to 1e22, for 1 to 9 digits. */
static size_t scientific_f32(char *buf, float v)
{
  const double a = fabs((double)v), half = half_step(a);
  const int e = (int)floor(log10(a));
  for (int k = -e; k <= 9 - e; k++) {
    const double p = k_pow10[abs(k)];
    const double m = floor((k < 0 ? a / p : a * p) + 0.5);
    if (m > 0 && fabs((k < 0 ? m * p : m / p) - a) < half) return put_scientific(buf, v < 0, (uint64_t)m, k);
  }
  return 0;
}

size_t bc_text_f32(char buf[BC_NUM_TEXT], float v)
{
  const double a = fabs((double)v);

  if (!isfinite(v)) return special(buf, (double)v);
  const bool plain = fabsf(v) >= 1e-4F && a < 1e9;
  const size_t n = plain ? plain_f32(buf, v) : a > 1e-12 && a < 1e22 ? scientific_f32(buf, v) : 0;
  if (n > 0) return n;
  for (int p = 1; p <= 9; p++) {
    (void)snprintf(buf, BC_NUM_TEXT, "%.*g", p, (double)v);
    if (strtof(buf, NULL) == v) break;
  }
  mend_point(buf);
  return strlen(buf);
}

size_t bc_text_f64(char buf[BC_NUM_TEXT], double v)
{
  if (!isfinite(v)) return special(buf, v);
  for (int p = 15; p <= 17; p++) {
    (void)snprintf(buf, BC_NUM_TEXT, "%.*g", p, v);
    if (strtod(buf, NULL) == v) break;
  }
  mend_point(buf);
  return strlen(buf);
}

static int64_t integer_value(bc_dtype t, const void *p)
{
  switch (t) {
  case BC_I8: return *(const int8_t *)p;
  case BC_U8: return *(const uint8_t *)p;
  case BC_I16: {
    int16_t v;
    memcpy(&v, p, sizeof v);
    return v;
  }
  case BC_I32: {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
  }
  case BC_I64: {
    int64_t v;
    memcpy(&v, p, sizeof v);
    return v;
  }
  case BC_F32:
  case BC_F64: break;
  }
  return 0;
}

static float f32_value(const void *p)
{
  float v;
  memcpy(&v, p, sizeof v);
  return v;
}

static double f64_value(const void *p)
{
  double v;
  memcpy(&v, p, sizeof v);
  return v;
}

double bc_value_f64(bc_dtype t, const void *p)
{
  if (t == BC_F32) return (double)f32_value(p);
  return t == BC_F64 ? f64_value(p) : (double)integer_value(t, p);
}

size_t bc_text_value(char buf[BC_NUM_TEXT], bc_dtype t, const void *p)
{
  if (t == BC_F32 || t == BC_F64) {
    const double v = bc_value_f64(t, p);
    buf[0] = '\0';
    if (isnan(v)) return 0;
    return t == BC_F32 ? bc_text_f32(buf, f32_value(p)) : bc_text_f64(buf, v);
  }
  const int64_t i = integer_value(t, p);
  return put_decimal(buf, i < 0, i < 0 ? 0u - (uint64_t)i : (uint64_t)i, 0);
}

bool bc_number_parse(const char *text, double *out)
{
  char *end = NULL;
  *out = 0;
  if (text == NULL || text[0] == '\0' || strchr(" \t\n", text[0]) != NULL) return false;
  *out = strtod(text, &end);
  return *end == '\0';
}
