/* CF conventions without netCDF: time, axes, groups, packing. See cf.h. */
#include "ingest/cf.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/datetime.h"

#define REFORM       INT64_C(-12219292800) /* 1582-10-15T00:00Z, first day of the Gregorian calendar */
#define SECOND_SLACK 1e-3                  /* a time this near to a whole second is that second */
#define ACCEPTED     "\"seconds|minutes|hours|days since YYYY-MM-DD hh:mm:ss\""
#define DAY_SECONDS  INT64_C(86400)
#define JULIAN_EPOCH 2440588 /* Julian day number of 1970-01-01 */

/* ---- small text tools, ASCII only and independent of the locale ---- */
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static bool same(const char *a, const char *b) /* ignoring case; NULL equals nothing */
{
  if (a == NULL || b == NULL) return false;
  while (*a != '\0' && lower(*a) == lower(*b)) {
    a++;
    b++;
  }
  return *a == *b || lower(*a) == lower(*b);
}

static bool is_one_of(const char *s, const char *const *list, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    if (same(s, list[i])) return true;
  }
  return false;
}
#define ONE_OF(s, list) is_one_of((s), (list), BC_ARRAY_LEN(list))

static const char *skip_blanks(const char *p)
{
  while (is_blank(*p))
    p++;
  return p;
}

/* Up to max digits; *digits tells how many there were. */
static const char *read_digits(const char *p, int max, int32_t *value, int *digits)
{
  int32_t v = 0;
  int n = 0;

  while (n < max && is_digit(*p)) {
    v = v * 10 + (*p - '0');
    p++;
    n++;
  }
  *value = v;
  *digits = n;
  return p;
}

/* ---- time: units ---- */
static const char *find_since(const char *units)
{
  if (units == NULL) return NULL;
  for (const char *p = units; *p != '\0'; p++) {
    char word[6] = { 0 };
    for (size_t i = 0; i < 5 && p[i] != '\0'; i++)
      word[i] = p[i];
    if (same(word, "since") && p > units && is_blank(p[-1]) && is_blank(p[5])) return p;
  }
  return NULL;
}

bool bc_cf_is_since(const char *units) { return find_since(units) != NULL; }

static int64_t unit_seconds(const char *word)
{
  static const char *const sec[] = { "s", "sec", "secs", "second", "seconds" };
  static const char *const min[] = { "min", "mins", "minute", "minutes" };
  static const char *const hour[] = { "h", "hr", "hrs", "hour", "hours" };
  static const char *const day[] = { "d", "day", "days" };

  if (ONE_OF(word, sec)) return 1;
  if (ONE_OF(word, min)) return 60;
  if (ONE_OF(word, hour)) return 3600;
  if (ONE_OF(word, day)) return DAY_SECONDS;
  return 0;
}

static bool is_calendar_unit(const char *word)
{
  static const char *const list[] = { "month",        "months", "mon",     "mons",   "year",
                                      "years",        "yr",     "yrs",     "a",      "common_year",
                                      "common_years", "decade", "decades", "season", "seasons" };
  return ONE_OF(word, list);
}

/* ---- time: the reference instant ---- */
typedef struct ref_text {
  bc_civil c;
  double frac;
  int32_t zone; /* seconds east of Greenwich */
} ref_text;

static const char *read_date(const char *p, bc_civil *c)
{
  int n = 0;

  p = read_digits(p, 8, &c->year, &n);
  if (n == 8) { /* 19000101 */
    c->day = c->year % 100;
    c->month = c->year / 100 % 100;
    c->year /= 10000;
    return p;
  }
  if (n < 1 || n > 4) return NULL;
  if (*p != '-') return n == 4 ? p : NULL;
  p = read_digits(p + 1, 2, &c->month, &n);
  if (n == 0) return NULL;
  if (*p != '-') return p;
  p = read_digits(p + 1, 2, &c->day, &n);
  return n == 0 ? NULL : p;
}

static const char *read_fraction(const char *p, double *frac)
{
  double unit = 0.1;

  *frac = 0;
  for (; is_digit(*p); p++, unit /= 10)
    *frac += unit * (*p - '0');
  return p;
}

static const char *read_clock(const char *p, ref_text *r)
{
  int n = 0;

  p = read_digits(p, 2, &r->c.hour, &n);
  if (n == 0) return NULL;
  if (*p != ':') return p;
  p = read_digits(p + 1, 2, &r->c.minute, &n);
  if (n == 0) return NULL;
  if (*p != ':') return p;
  p = read_digits(p + 1, 2, &r->c.second, &n);
  if (n == 0) return NULL;
  return *p == '.' ? read_fraction(p + 1, &r->frac) : p;
}

static const char *read_zone(const char *p, int32_t *zone)
{
  const int32_t sign = *p == '-' ? -1 : 1;
  int32_t h = 0, m = 0;
  int n = 0;

  if (*p == 'Z' || *p == 'z') return p + 1;
  if (strncmp(p, "UTC", 3) == 0 || strncmp(p, "GMT", 3) == 0) p += 3;
  if (*p != '+' && *p != '-') return p;
  p = read_digits(p + 1, 4, &h, &n);
  if (n == 0 || n == 3) return NULL;
  if (n == 4) {
    m = h % 100;
    h /= 100;
  } else if (*p == ':') {
    p = read_digits(p + 1, 2, &m, &n);
    if (n == 0) return NULL;
  }
  if (h > 18 || m > 59) return NULL;
  *zone = sign * (h * 3600 + m * 60);
  return p;
}

static bool read_reference(const char *p, ref_text *r)
{
  *r = (ref_text){ .c = { .month = 1, .day = 1 } };
  p = read_date(skip_blanks(p), &r->c);
  if (p == NULL) return false;
  if ((*p == 'T' || *p == 't') && is_digit(p[1])) p++;
  p = skip_blanks(p);
  if (is_digit(*p)) {
    p = read_clock(p, r);
    if (p == NULL) return false;
  }
  p = read_zone(skip_blanks(p), &r->zone);
  return p != NULL && *skip_blanks(p) == '\0';
}

static int32_t julian_month_days(int32_t year, int32_t month)
{
  static const int32_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
  return days[month - 1] + (month == 2 && year % 4 == 0);
}

/* Days since 1970-01-01 of a date of the Julian calendar. */
static int64_t days_from_julian(int32_t year, int32_t month, int32_t day)
{
  const int32_t a = (14 - month) / 12;
  const int32_t y = year + 4800 - a, m = month + 12 * a - 3;
  return (int64_t)day + (153 * m + 2) / 5 + 365 * y + y / 4 - 32083 - JULIAN_EPOCH;
}

static int32_t date_key(const bc_civil *c) { return c->year * 10000 + c->month * 100 + c->day; }

/* The instant of a reference date; false when the calendar has no such date. */
static bool reference_instant(const ref_text *r, bool mixed, int64_t *out)
{
  const bc_civil *c = &r->c;
  int64_t days;

  if (c->month < 1 || c->month > 12 || c->day < 1 || c->hour > 23 || c->minute > 59 || c->second > 59)
    return false;
  if (mixed && date_key(c) < 15821015) {
    if (c->year < 1 || date_key(c) > 15821004 || c->day > julian_month_days(c->year, c->month)) return false;
    days = days_from_julian(c->year, c->month, c->day);
  } else {
    if (!bc_civil_valid(c)) return false;
    days = bc_days_from_civil(c->year, c->month, c->day);
  }
  *out = days * DAY_SECONDS + c->hour * 3600 + c->minute * 60 + c->second - r->zone;
  return true;
}

static bc_status check_calendar(const char *where, const char *calendar, bool *mixed, bc_err *err)
{
  static const char *const standard[] = { "", "standard", "gregorian" };

  *mixed = calendar == NULL || ONE_OF(calendar, standard);
  if (*mixed || same(calendar, "proleptic_gregorian")) return BC_OK;
  return BC_FAIL(err, BC_E_UNSUPPORTED,
                 "%s uses the calendar \"%s\", which cannot be mapped exactly to real dates: only standard, "
                 "gregorian and proleptic_gregorian are accepted; convert the file first",
                 where, calendar);
}

bc_status bc_cf_time_parse(const char *where, const char *units, const char *calendar, bc_cf_time *out,
                           bc_err *err)
{
  const char *since = find_since(units);
  char word[24] = { 0 };
  ref_text ref;
  size_t n = 0;

  *out = (bc_cf_time){ 0 };
  if (units == NULL || *skip_blanks(units) == '\0')
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s has no units, so its dates are unknown: expected " ACCEPTED,
                   where);
  if (since == NULL)
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s has units \"%s\", which give no dates: expected " ACCEPTED,
                   where, units);
  for (const char *p = skip_blanks(units); n + 1 < sizeof word && p < since && !is_blank(*p); p++)
    word[n++] = *p;
  if (is_calendar_unit(word))
    return BC_FAIL(err, BC_E_UNSUPPORTED,
                   "%s has units \"%s\": months and years have no fixed length; expected " ACCEPTED, where,
                   units);
  out->unit = unit_seconds(word);
  if (out->unit == 0)
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s has units \"%s\", \"%s\" is not understood: expected " ACCEPTED,
                   where, units, word);
  BC_RET(check_calendar(where, calendar, &out->mixed, err));
  if (!read_reference(since + 5, &ref) || !reference_instant(&ref, out->mixed, &out->ref))
    return BC_FAIL(err, BC_E_UNSUPPORTED,
                   "%s has units \"%s\", whose reference is not a date: expected " ACCEPTED, where, units);
  out->ref_frac = ref.frac;
  return BC_OK;
}

static bc_status check_instant(const bc_cf_time *u, const char *where, int64_t t, int64_t *out, bc_err *err)
{
  char text[BC_TIME_TEXT];

  if (t < BC_TIME_MIN || t > BC_TIME_MAX)
    return BC_FAIL(err, BC_E_RANGE, "%s holds a date outside the years 0 to 9999", where);
  if (u->mixed && t < REFORM)
    return BC_FAIL(err, BC_E_RANGE,
                   "%s reaches back to %s (proleptic): before 1582-10-15 the standard calendar is Julian; "
                   "only proleptic_gregorian is accepted there",
                   where, bc_time_format(t, text));
  *out = t;
  return BC_OK;
}

bc_status bc_cf_time_from_i64(const bc_cf_time *u, const char *where, int64_t v, int64_t *out, bc_err *err)
{
  int64_t t = 0;

  if (u->ref_frac > 0 && v > -(INT64_C(1) << 52) && v < INT64_C(1) << 52)
    return bc_cf_time_from_f64(u, where, (double)v, out, err);
  if (__builtin_mul_overflow(v, u->unit, &t) || __builtin_add_overflow(t, u->ref, &t))
    return BC_FAIL(err, BC_E_RANGE, "%s holds %" PRId64 ", which is no date in these units", where, v);
  return check_instant(u, where, t, out, err);
}

bc_status bc_cf_time_from_f64(const bc_cf_time *u, const char *where, double v, int64_t *out, bc_err *err)
{
  const double s = v * (double)u->unit + u->ref_frac;
  const double whole = floor(s + 0.5);

  if (!isfinite(s) || fabs(s) > 1e15)
    return BC_FAIL(err, BC_E_RANGE, "%s holds %g, which is no date", where, v);
  if (fabs(s - whole) > SECOND_SLACK)
    return BC_FAIL(err, BC_E_RANGE,
                   "%s holds %.17g, which is %.3f s off a whole second (limit 0.001): times finer than a "
                   "second cannot be stored",
                   where, v, fabs(s - whole));
  return check_instant(u, where, (int64_t)whole + u->ref, out, err);
}

/* ---- axes ---- */
/* "degrees north", "Degree_N" -> lower case with one '_' for blanks */
static void plain_unit(const char *in, char *out, size_t cap)
{
  size_t n = 0;

  for (in = skip_blanks(in); *in != '\0' && n + 1 < cap; in++)
    out[n++] = is_blank(*in) ? '_' : lower(*in);
  while (n > 0 && out[n - 1] == '_')
    n--;
  out[n] = '\0';
}

static bc_cf_kind kind_by_units(const char *units)
{
  static const char *const lat[] = { "degrees_north", "degree_north", "degrees_n",
                                     "degree_n",      "degreesn",     "degreen" };
  static const char *const lon[] = { "degrees_east", "degree_east", "degrees_e",
                                     "degree_e",     "degreese",    "degreee" };
  char u[32];
  double factor;

  if (units == NULL) return BC_CF_OTHER;
  if (bc_cf_is_since(units)) return BC_CF_TIME;
  plain_unit(units, u, sizeof u);
  if (ONE_OF(u, lat)) return BC_CF_LAT;
  if (ONE_OF(u, lon)) return BC_CF_LON;
  return bc_cf_pressure(units, &factor) ? BC_CF_LEVEL : BC_CF_OTHER;
}

static bc_cf_kind kind_by_standard_name(const char *s)
{
  static const char *const level[] = { "air_pressure",       "height",
                                       "altitude",           "depth",
                                       "model_level_number", "geopotential_height" };

  if (s == NULL) return BC_CF_OTHER;
  if (same(s, "latitude")) return BC_CF_LAT;
  if (same(s, "longitude")) return BC_CF_LON;
  if (same(s, "time") || same(s, "forecast_reference_time")) return BC_CF_TIME;
  if (same(s, "realization")) return BC_CF_MEMBER;
  if (ONE_OF(s, level) || strstr(s, "_sigma_coordinate") != NULL || strstr(s, "hybrid") != NULL)
    return BC_CF_LEVEL;
  return BC_CF_OTHER;
}

static bc_cf_kind kind_by_name(const char *name)
{
  static const char *const lat[] = { "lat", "latitude", "lats", "latitudes" };
  static const char *const lon[] = { "lon", "longitude", "lons", "long", "longitudes" };
  static const char *const time[] = { "time",  "valid_time", "date", "month", "months", "year",
                                      "years", "day",        "days", "hour",  "hours",  "season" };
  static const char *const level[] = { "level",
                                       "pressure_level",
                                       "isobaricinhpa",
                                       "plev",
                                       "lev",
                                       "levels",
                                       "pressure",
                                       "isobaric",
                                       "height",
                                       "depth",
                                       "hybrid",
                                       "altitude",
                                       "depthbelowlandlayer",
                                       "heightaboveground",
                                       "model_level",
                                       "plevel" };
  static const char *const member[] = { "number", "member", "realization", "ensemble", "ensemble_member" };

  if (ONE_OF(name, lat)) return BC_CF_LAT;
  if (ONE_OF(name, lon)) return BC_CF_LON;
  if (ONE_OF(name, time)) return BC_CF_TIME;
  if (ONE_OF(name, level)) return BC_CF_LEVEL;
  if (ONE_OF(name, member)) return BC_CF_MEMBER;
  return BC_CF_OTHER;
}

bc_cf_kind bc_cf_kind_of(const bc_cf_axis *a)
{
  bc_cf_kind k;

  if (same(a->name, "expver")) return BC_CF_EXPVER;
  /* rotated and projected axes carry names and units that look like degrees north */
  if (a->standard_name != NULL &&
      (strncmp(a->standard_name, "grid_", 5) == 0 || strncmp(a->standard_name, "projection_", 11) == 0))
    return BC_CF_OTHER;
  k = kind_by_standard_name(a->standard_name);
  if (k == BC_CF_OTHER) k = kind_by_units(a->units);
  if (k == BC_CF_OTHER && same(a->axis, "T")) k = BC_CF_TIME;
  if (k == BC_CF_OTHER && same(a->axis, "Z")) k = BC_CF_LEVEL;
  if (k == BC_CF_OTHER) k = kind_by_name(a->name);
  if (k == BC_CF_OTHER && (same(a->positive, "up") || same(a->positive, "down"))) k = BC_CF_LEVEL;
  return k;
}

bool bc_cf_pressure(const char *units, double *to_hpa)
{
  static const char *const hpa[] = { "hpa",      "mbar",      "mbars",       "mb",
                                     "millibar", "millibars", "hectopascal", "hectopascals" };
  static const char *const pa[] = { "pa", "pascal", "pascals" };
  char u[32];

  if (units == NULL) return false;
  plain_unit(units, u, sizeof u);
  *to_hpa = ONE_OF(u, pa) ? 100 : 1;
  return ONE_OF(u, pa) || ONE_OF(u, hpa);
}

int bc_cf_expver(const char *text)
{
  int32_t v = 0;
  int n = 0;
  const char *p = read_digits(skip_blanks(text), 6, &v, &n);

  return n > 0 && *skip_blanks(p) == '\0' ? (int)v : -1;
}

/* ---- names ---- */
static size_t overlap(const char *const *list, const char *const *names, size_t n)
{
  size_t hits = 0;

  for (size_t i = 0; list[i] != NULL; i++) {
    for (size_t j = 0; j < n; j++) {
      if (strcmp(list[i], names[j]) == 0) {
        hits++;
        break;
      }
    }
  }
  return hits;
}

const char *bc_cf_group(const char *const *names, size_t n, bool has_levels)
{
  static const struct {
    const char *group;
    const char *vars[11];
  } k_groups[] = { /* in this order: a tie goes to the earlier one */
                   { "surface", { "msl", "t2m", "u10", "v10" } },
                   { "single", { "slt", "z", "lsm" } },
                   { "atmospheric", { "t", "q", "u", "v", "z" } },
                   { "edaphic", { "stl1", "stl2", "swvl1", "swvl2" } },
                   { "climate",
                     { "d2m", "tp", "avg_sdswrf", "avg_sdswrfcs", "avg_snlwrf", "avg_snswrf", "avg_tprate",
                       "csfr", "sd", "smlt" } }
  };
  const char *best = "misc";
  size_t most = 0;

  for (size_t g = 0; g < BC_ARRAY_LEN(k_groups); g++) {
    const size_t hits = overlap(k_groups[g].vars, names, n);
    /* z alone is the height of the ground, unless it comes on levels. */
    const bool on_levels =
        has_levels && hits > 0 && hits >= most && strcmp(k_groups[g].group, "atmospheric") == 0;
    if (hits > most || on_levels) {
      most = hits;
      best = k_groups[g].group;
    }
  }
  return best;
}

bool bc_cf_clean_name(const char *in, char *out, size_t cap)
{
  size_t n = 0;

  for (; *in != '\0' && n + 1 < cap; in++) {
    const char c = *in;
    const bool fine = is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || c == '.' || c == '-';
    out[n++] = fine ? c : '_';
  }
  out[n] = '\0';
  return n > 0 && *in == '\0';
}

/* ---- values ---- */
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
