/*
 * Time by the CF conventions: "hours since 1900-01-01" and a calendar -> seconds since 1970, exactly or not
 * at all. See cf.h.
 */
#include "ingest/cf.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ingest/cf_text.h"
#include "store/datetime.h"

#define REFORM       INT64_C(-12219292800) /* 1582-10-15T00:00Z, first day of the Gregorian calendar */
#define SECOND_SLACK 1e-3                  /* a time this near to a whole second is that second */
#define ACCEPTED     "\"seconds|minutes|hours|days since YYYY-MM-DD hh:mm:ss\""
#define DAY_SECONDS  INT64_C(86400)
#define JULIAN_EPOCH 2440588 /* Julian day number of 1970-01-01 */

/* ---- units ---- */
static const char *find_since(const char *units)
{
  if (units == NULL) return NULL;
  for (const char *p = units; *p != '\0'; p++) {
    char word[6] = { 0 };
    for (size_t i = 0; i < 5 && p[i] != '\0'; i++)
      word[i] = p[i];
    if (bc_cf_same(word, "since") && p > units && bc_cf_is_blank(p[-1]) && bc_cf_is_blank(p[5])) return p;
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

  if (BC_CF_ONE_OF(word, sec)) return 1;
  if (BC_CF_ONE_OF(word, min)) return 60;
  if (BC_CF_ONE_OF(word, hour)) return 3600;
  if (BC_CF_ONE_OF(word, day)) return DAY_SECONDS;
  return 0;
}

/* How many of a finer unit make a second; 0 for other words. */
static int64_t unit_per_second(const char *word)
{
  static const char *const milli[] = { "ms",        "msec",        "msecs",       "millisec",
                                       "millisecs", "millisecond", "milliseconds" };
  static const char *const micro[] = { "us", "microsec", "microsecs", "microsecond", "microseconds" };

  if (BC_CF_ONE_OF(word, milli)) return 1000;
  if (BC_CF_ONE_OF(word, micro)) return 1000000;
  return 0;
}

static bool is_calendar_unit(const char *word)
{
  static const char *const list[] = { "month",        "months", "mon",     "mons",   "year",
                                      "years",        "yr",     "yrs",     "a",      "common_year",
                                      "common_years", "decade", "decades", "season", "seasons" };
  return BC_CF_ONE_OF(word, list);
}

/* ---- the reference instant ---- */
typedef struct ref_text {
  bc_civil c;
  double frac;
  int32_t zone; /* seconds east of Greenwich */
} ref_text;

static const char *read_date(const char *p, bc_civil *c)
{
  int n = 0;

  p = bc_cf_read_digits(p, 8, &c->year, &n);
  if (n == 8) { /* 19000101 */
    c->day = c->year % 100;
    c->month = c->year / 100 % 100;
    c->year /= 10000;
    return p;
  }
  if (n < 1 || n > 4) return NULL;
  if (*p != '-') return n == 4 ? p : NULL;
  p = bc_cf_read_digits(p + 1, 2, &c->month, &n);
  if (n == 0) return NULL;
  if (*p != '-') return p;
  p = bc_cf_read_digits(p + 1, 2, &c->day, &n);
  return n == 0 ? NULL : p;
}

static const char *read_fraction(const char *p, double *frac)
{
  double unit = 0.1;

  *frac = 0;
  for (; bc_cf_is_digit(*p); p++, unit /= 10)
    *frac += unit * (*p - '0');
  return p;
}

static const char *read_clock(const char *p, ref_text *r)
{
  int n = 0;

  p = bc_cf_read_digits(p, 2, &r->c.hour, &n);
  if (n == 0) return NULL;
  if (*p != ':') return p;
  p = bc_cf_read_digits(p + 1, 2, &r->c.minute, &n);
  if (n == 0) return NULL;
  if (*p != ':') return p;
  p = bc_cf_read_digits(p + 1, 2, &r->c.second, &n);
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
  p = bc_cf_read_digits(p + 1, 4, &h, &n);
  if (n == 0 || n == 3) return NULL;
  if (n == 4) {
    m = h % 100;
    h /= 100;
  } else if (*p == ':') {
    p = bc_cf_read_digits(p + 1, 2, &m, &n);
    if (n == 0) return NULL;
  }
  if (h > 18 || m > 59) return NULL;
  *zone = sign * (h * 3600 + m * 60);
  return p;
}

static bool read_reference(const char *p, ref_text *r)
{
  *r = (ref_text){ .c = { .month = 1, .day = 1 } };
  p = read_date(bc_cf_skip_blanks(p), &r->c);
  if (p == NULL) return false;
  if ((*p == 'T' || *p == 't') && bc_cf_is_digit(p[1])) p++;
  p = bc_cf_skip_blanks(p);
  if (bc_cf_is_digit(*p)) {
    p = read_clock(p, r);
    if (p == NULL) return false;
  }
  p = read_zone(bc_cf_skip_blanks(p), &r->zone);
  return p != NULL && *bc_cf_skip_blanks(p) == '\0';
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

  *mixed = calendar == NULL || BC_CF_ONE_OF(calendar, standard);
  if (*mixed || bc_cf_same(calendar, "proleptic_gregorian")) return BC_OK;
  return BC_FAIL(err, BC_E_UNSUPPORTED,
                 "%s uses the calendar \"%s\", which cannot be mapped exactly to real dates: only standard, "
                 "gregorian and proleptic_gregorian are accepted; convert the file first, with xarray: "
                 "ds.convert_calendar(\"standard\", align_on=\"date\")",
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
  if (units == NULL || *bc_cf_skip_blanks(units) == '\0')
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s has no units, so its dates are unknown: expected " ACCEPTED,
                   where);
  if (since == NULL)
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s has units \"%s\", which give no dates: expected " ACCEPTED,
                   where, units);
  for (const char *p = bc_cf_skip_blanks(units); n + 1 < sizeof word && p < since && !bc_cf_is_blank(*p); p++)
    word[n++] = *p;
  if (is_calendar_unit(word))
    return BC_FAIL(err, BC_E_UNSUPPORTED,
                   "%s has units \"%s\": months and years have no fixed length; expected " ACCEPTED, where,
                   units);
  out->per_second = unit_per_second(word);
  out->unit = out->per_second > 0 ? 1 : unit_seconds(word);
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

  if (u->per_second > 0) {
    if (v % u->per_second != 0 || u->ref_frac > 0) return bc_cf_time_from_f64(u, where, (double)v, out, err);
    v /= u->per_second;
  }
  if (u->ref_frac > 0 && v > -(INT64_C(1) << 52) && v < INT64_C(1) << 52)
    return bc_cf_time_from_f64(u, where, (double)v, out, err);
  if (__builtin_mul_overflow(v, u->unit, &t) || __builtin_add_overflow(t, u->ref, &t))
    return BC_FAIL(err, BC_E_RANGE, "%s holds %" PRId64 ", which is no date in these units", where, v);
  return check_instant(u, where, t, out, err);
}

bc_status bc_cf_time_from_f64(const bc_cf_time *u, const char *where, double v, int64_t *out, bc_err *err)
{
  const double s = (u->per_second > 0 ? v / (double)u->per_second : v * (double)u->unit) + u->ref_frac;
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
