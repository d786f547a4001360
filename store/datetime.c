/*
 * Civil time, RFC 3339 text and calendar periods.
 */
#include "store/datetime.h"

#include <string.h>

#include "store/base.h"

enum { DAY = 86400, DEKAD = 10 * DAY };

/* Years are int64 inside, so that the end of the year 9999 and its neighbours are ordinary. */
typedef struct civil_day {
  int64_t year;
  int32_t month, day;
} civil_day;

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); } /* b > 0 */

/* Days since 1970-01-01; the year begins in March, so that the leap day is its last. Source: H. Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms", days_from_civil and civil_from_days. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
  const int64_t y = month <= 2 ? year - 1 : year;
  const int64_t era = floor_div(y, 400), in_era = y - era * 400;
  const int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

  return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static civil_day civil_of(int64_t days)
{
  const int64_t z = days + 719468, era = floor_div(z, 146097), d = z - era * 146097;
  const int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
  const int64_t in_year = d - (365 * y + y / 4 - y / 100), m = (5 * in_year + 2) / 153;

  return (civil_day){ .year = y + era * 400 + (m >= 10 ? 1 : 0),
                      .month = (int32_t)(m < 10 ? m + 3 : m - 9),
                      .day = (int32_t)(in_year - (153 * m + 2) / 5 + 1) };
}

int64_t bc_days_from_civil(int32_t year, int32_t month, int32_t day) { return days_of(year, month, day); }

int64_t bc_time_from_civil(const bc_civil *c)
{
  return days_of(c->year, c->month, c->day) * DAY + (int64_t)c->hour * 3600 + (int64_t)c->minute * 60 +
         c->second;
}

bc_civil bc_time_to_civil(int64_t t)
{
  /* out of range values (BC_TIME_STATIC among them) come out as the nearest year that an int32_t holds safely
   */
  const int64_t limit = INT64_C(60000000000000000);
  const int64_t in = BC_MAX(-limit, BC_MIN(limit, t)), days = floor_div(in, DAY), s = in - days * DAY;
  const civil_day d = civil_of(days);

  return (bc_civil){ (int32_t)d.year,        d.month,          d.day, (int32_t)(s / 3600),
                     (int32_t)(s / 60 % 60), (int32_t)(s % 60) };
}

static int32_t month_days(int32_t year, int32_t month)
{
  static const uint8_t k_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

  return month == 2 && leap ? 29 : k_days[month - 1];
}

bool bc_civil_valid(const bc_civil *c)
{
  return c->year >= 0 && c->year <= 9999 && c->month >= 1 && c->month <= 12 && c->day >= 1 &&
         c->day <= month_days(c->year, c->month) && c->hour >= 0 && c->hour <= 23 && c->minute >= 0 &&
         c->minute <= 59 && c->second >= 0 && c->second <= 59;
}

/* ---- text ---- */

static char *put_digits(char *p, int32_t v, int n)
{
  for (int i = n - 1; i >= 0; i--) {
    p[i] = (char)('0' + v % 10);
    v /= 10;
  }
  return p + n;
}

static char *put_field(char *p, char before, int32_t v)
{
  *p = before;
  return put_digits(p + 1, v, 2);
}

/* Times outside the years 0000 to 9999 are written as the nearest one inside. */
static bc_civil civil_in_range(int64_t t)
{
  return bc_time_to_civil(BC_MAX(BC_TIME_MIN, BC_MIN(BC_TIME_MAX, t)));
}

static char *put_date(char *p, const bc_civil *c)
{
  return put_field(put_field(put_digits(p, c->year, 4), '-', c->month), '-', c->day);
}

char *bc_time_format(int64_t t, char *buf)
{
  const bc_civil c = civil_in_range(t);
  char *p = buf;

  if (t == BC_TIME_STATIC) return memcpy(buf, "static", sizeof "static");
  p = put_field(put_field(put_field(put_date(p, &c), 'T', c.hour), ':', c.minute), ':', c.second);
  p[0] = 'Z';
  p[1] = '\0';
  return buf;
}

char *bc_time_format_short(int64_t t, char *buf)
{
  const bc_civil c = civil_in_range(t);
  char *p = buf;

  if (t == BC_TIME_STATIC || c.second != 0) return bc_time_format(t, buf);
  p = put_date(p, &c);
  if (c.hour != 0 || c.minute != 0) {
    p = put_field(put_field(p, 'T', c.hour), ':', c.minute);
    *p++ = 'Z';
  }
  *p = '\0';
  return buf;
}

/* ---- parsing ---- */

typedef struct scan {
  const char *p, *end;
} scan;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Exactly n digits. */
static bool take_digits(scan *s, int n, int32_t *out)
{
  int32_t v = 0;

  if (s->end - s->p < n) return false;
  for (int i = 0; i < n; i++) {
    if (!is_digit(s->p[i])) return false;
    v = v * 10 + (s->p[i] - '0');
  }
  s->p += n;
  *out = v;
  return true;
}

static bool take_char(scan *s, const char *any_of)
{
  if (s->p == s->end || *s->p == '\0' || strchr(any_of, *s->p) == NULL) return false;
  s->p++;
  return true;
}

enum { P_YEAR, P_MONTH, P_DAY, P_HOUR, P_MINUTE, P_SECOND };

/* false where the text stops making sense: s->p stands there. *given is the precision reached. */
static bool scan_time(scan *s, bc_civil *c, int *given)
{
  *given = P_YEAR;
  if (!take_digits(s, 4, &c->year)) return false;
  if (!take_char(s, "-")) return true;
  if (!take_digits(s, 2, &c->month)) return false;
  *given = P_MONTH;
  if (!take_char(s, "-")) return true;
  if (!take_digits(s, 2, &c->day)) return false;
  *given = P_DAY;
  if (!take_char(s, "Tt ")) return true;
  if (!take_digits(s, 2, &c->hour)) return false;
  *given = P_HOUR;
  if (!take_char(s, ":")) return true;
  if (!take_digits(s, 2, &c->minute)) return false;
  *given = P_MINUTE;
  if (!take_char(s, ":")) return true;
  if (!take_digits(s, 2, &c->second)) return false;
  *given = P_SECOND;
  if (take_char(s, ".,") && !take_char(s, "0123456789")) return false;
  while (take_char(s, "0123456789")) {
  }
  return true;
}

/* What stands behind the time: nothing, Z or +00:00. */
static const char *scan_zone(scan *s, int given)
{
  const size_t left = (size_t)(s->end - s->p);

  if (left == 0) return NULL;
  if (given < P_HOUR)
    return "expected a date like 2019, 2019-03, 2019-03-01 or a time like 2019-03-01T06:00Z";
  if (left == 1 && (*s->p == 'Z' || *s->p == 'z')) return NULL;
  if (left == 6 && memcmp(s->p, "+00:00", 6) == 0) return NULL;
  if (*s->p == '+' || *s->p == '-') return "times are in UTC only: convert it to Z";
  return "expected a time like 2019-03-01T06:00:00Z";
}

/* Why the fields are no time; NULL when they are one. */
static const char *judge(const bc_civil *c)
{
  if (c->month < 1 || c->month > 12) return "the month is 01 to 12";
  if (c->day < 1 || c->day > month_days(c->year, c->month)) return "that month has no such day";
  if (c->hour == 24) return "the hour is 00 to 23: midnight is 00:00 of the next day";
  if (c->hour > 23) return "the hour is 00 to 23";
  if (c->minute > 59) return "the minute is 00 to 59";
  if (c->second == 60) return "leap seconds do not exist here: the second is 00 to 59";
  if (c->second > 59) return "the second is 00 to 59";
  return NULL;
}

/* First instant behind the period of this precision. */
static int64_t period_end(const bc_civil *c, int given, int64_t begin)
{
  switch (given) {
  case P_YEAR: return days_of((int64_t)c->year + 1, 1, 1) * DAY;
  case P_MONTH:
    return (c->month == 12 ? days_of((int64_t)c->year + 1, 1, 1) : days_of(c->year, c->month + 1, 1)) * DAY;
  case P_DAY: return begin + DAY;
  case P_HOUR: return begin + 3600;
  case P_MINUTE: return begin + 60;
  default: return begin + 1;
  }
}

bc_status bc_time_parse(const char *text, size_t n, int64_t *begin, int64_t *end, bc_err *err)
{
  scan s = { text, text + n };
  bc_civil c = { .month = 1, .day = 1 };
  int given = P_YEAR;
  const char *why = NULL;

  *begin = *end = 0;
  if (!scan_time(&s, &c, &given))
    why = "expected a date like 2019, 2019-03, 2019-03-01 or a time like 2019-03-01T06:00Z";
  if (why == NULL) why = scan_zone(&s, given);
  if (why == NULL) why = judge(&c);
  if (why != NULL)
    return BC_FAIL(err, BC_E_INVAL, "\"%.*s\" is not a time: %s", (int)BC_MIN(n, 64u), text, why);
  *begin = bc_time_from_civil(&c);
  *end = period_end(&c, given, *begin);
  return BC_OK;
}

/* ---- periods ---- */

typedef struct unit {
  const char *name;
  int64_t n;
  bool months;
} unit;

bc_status bc_period_parse(const char *text, bc_period *out, bc_err *err)
{
  static const unit k_units[] = { { "s", 1, false },   { "m", 60, false }, { "h", 3600, false },
                                  { "d", DAY, false }, { "mo", 1, true },  { "y", 12, true } };
  const char *p = text;
  int64_t n = 0;

  *out = (bc_period){ 0, false, false };
  for (; is_digit(*p) && n < 1000000000; p++) {
    n = n * 10 + (*p - '0');
  }
  for (size_t i = 0; n > 0 && i < BC_ARRAY_LEN(k_units); i++) {
    const unit *const u = &k_units[i];
    const int64_t longest = u->months ? 120000 : BC_TIME_MAX - BC_TIME_MIN + 1; /* ten thousand years */
    if (strcmp(p, u->name) != 0) continue;
    if (n > longest / u->n)
      return BC_FAIL(err, BC_E_INVAL, "period \"%.32s\" is longer than ten thousand years", text);
    *out = (bc_period){ n * u->n, u->months, u->n == DAY && n == 10 };
    return BC_OK;
  }
  return BC_FAIL(
      err, BC_E_INVAL,
      "\"%.32s\" is not a period: expected a whole number above 0 and a unit, s, m (minutes), h, d, mo "
      "(months) or y, as in 6h, 1d, 10d, 1mo",
      text);
}

static int64_t month_start(int64_t month) /* counted from January of year 0 */
{
  const int64_t year = floor_div(month, 12);

  return days_of(year, month - year * 12 + 1, 1) * DAY;
}

/* Keeps the arithmetic below from overflowing; no time of ours is that far off. */
static int64_t sane(int64_t t)
{
  const int64_t limit = INT64_C(1) << 53;

  return BC_MAX(-limit, BC_MIN(limit, t));
}

int64_t bc_period_floor(bc_period p, int64_t t)
{
  civil_day d;

  if (t == BC_TIME_STATIC || p.n <= 0) return t;
  t = sane(t);
  if (!p.months && !p.dekads) return floor_div(t, p.n) * p.n;
  d = civil_of(floor_div(t, DAY));
  if (p.months) return month_start(floor_div(d.year * 12 + d.month - 1, p.n) * p.n);
  return days_of(d.year, d.month, d.day <= 10 ? 1 : d.day <= 20 ? 11 : 21) * DAY;
}

int64_t bc_period_next(bc_period p, int64_t floor)
{
  civil_day d;

  if (floor == BC_TIME_STATIC || p.n <= 0) return INT64_MAX;
  floor = sane(floor);
  if (!p.months && !p.dekads) return floor + p.n;
  d = civil_of(floor_div(floor, DAY));
  if (p.months) return month_start(d.year * 12 + d.month - 1 + p.n);
  return d.day <= 20 ? floor + DEKAD : month_start(d.year * 12 + d.month);
}

/* ---- buckets ---- */

static bc_period bucket_period(bc_bucket b)
{
  switch (b) {
  case BC_BUCKET_DAY: return (bc_period){ DAY, false, false };
  case BC_BUCKET_MONTH: return (bc_period){ 1, true, false };
  case BC_BUCKET_YEAR: return (bc_period){ 12, true, false };
  case BC_BUCKET_DECADE: return (bc_period){ 120, true, false };
  case BC_BUCKET_STATIC: break;
  }
  return (bc_period){ 0, false, false };
}

int64_t bc_bucket_floor(bc_bucket b, int64_t t)
{
  const bc_period p = bucket_period(b);

  return p.n != 0 ? bc_period_floor(p, t) : BC_TIME_STATIC;
}

int64_t bc_bucket_next(bc_bucket b, int64_t floor) { return bc_period_next(bucket_period(b), floor); }

const char *bc_bucket_name(bc_bucket b)
{
  switch (b) {
  case BC_BUCKET_STATIC: return "static";
  case BC_BUCKET_DAY: return "day";
  case BC_BUCKET_MONTH: return "month";
  case BC_BUCKET_YEAR: return "year";
  case BC_BUCKET_DECADE: return "decade";
  }
  return "unknown";
}

bc_bucket bc_bucket_for_cadence(int64_t seconds)
{
  if (seconds <= 0) return BC_BUCKET_MONTH;
  if (seconds < 1800) return BC_BUCKET_DAY; /* half-hourly steps still make a month of 1488 */
  if (seconds <= 12 * 3600) return BC_BUCKET_MONTH;
  return seconds <= 40 * DAY ? BC_BUCKET_YEAR : BC_BUCKET_DECADE;
}
