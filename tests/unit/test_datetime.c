#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "store/base.h"
#include "store/datetime.h"

enum { DAY = 86400 };

static int64_t at(const char *text)
{
  int64_t begin = 0, end = 0;
  bc_err err;

  cr_assert_eq(bc_time_parse(text, strlen(text), &begin, &end, &err), BC_OK, "%s: %s", text, err.msg);
  return begin;
}

/* The calendar as a child learns it. */
static int naive_month_days(int y, int m)
{
  if (m == 2) return y % 400 == 0 || (y % 4 == 0 && y % 100 != 0) ? 29 : 28;
  return m == 4 || m == 6 || m == 9 || m == 11 ? 30 : 31;
}

Test(datetime, every_day_of_ten_thousand_years)
{
  int64_t t = BC_TIME_MIN;

  for (int y = 0; y <= 9999; y++) {
    for (int m = 1; m <= 12; m++) {
      for (int d = 1; d <= naive_month_days(y, m); d++, t += DAY) {
        const bc_civil c = bc_time_to_civil(t), last = bc_time_to_civil(t + DAY - 1);
        if (c.year != y || c.month != m || c.day != d || c.hour != 0 || c.minute != 0 || c.second != 0 ||
            last.day != d || last.hour != 23 || last.minute != 59 || last.second != 59 ||
            bc_time_from_civil(&c) != t || bc_days_from_civil(y, m, d) * DAY != t || !bc_civil_valid(&c))
          cr_assert_fail("%d-%d-%d is %lld, back %d-%d-%d", y, m, d, (long long)t, c.year, c.month, c.day);
      }
    }
  }
  cr_assert_eq(t, BC_TIME_MAX + 1);
  cr_assert_eq(bc_days_from_civil(1970, 1, 1), 0);
}

Test(datetime, validity)
{
  static const bc_civil k_bad[] = {
    { -1, 1, 1, 0, 0, 0 },    { 10000, 1, 1, 0, 0, 0 }, { 2019, 0, 1, 0, 0, 0 },  { 2019, 13, 1, 0, 0, 0 },
    { 2019, 2, 29, 0, 0, 0 }, { 1900, 2, 29, 0, 0, 0 }, { 2019, 4, 31, 0, 0, 0 }, { 2019, 4, 0, 0, 0, 0 },
    { 2019, 1, 1, 24, 0, 0 }, { 2019, 1, 1, -1, 0, 0 }, { 2019, 1, 1, 0, 60, 0 }, { 2019, 1, 1, 0, -1, 0 },
    { 2019, 1, 1, 0, 0, 60 }, { 2019, 1, 1, 0, 0, -1 }
  };
  const bc_civil leap = { 2000, 2, 29, 23, 59, 59 };

  for (size_t i = 0; i < BC_ARRAY_LEN(k_bad); i++) {
    cr_expect_not(bc_civil_valid(&k_bad[i]), "case %zu", i);
  }
  cr_assert(bc_civil_valid(&leap));
}

Test(datetime, text)
{
  char buf[BC_TIME_TEXT];

  cr_assert_str_eq(bc_time_format(0, buf), "1970-01-01T00:00:00Z");
  cr_assert_str_eq(bc_time_format(-1, buf), "1969-12-31T23:59:59Z");
  cr_assert_str_eq(bc_time_format(BC_TIME_MIN, buf), "0000-01-01T00:00:00Z");
  cr_assert_str_eq(bc_time_format(BC_TIME_MAX, buf), "9999-12-31T23:59:59Z");
  cr_assert_str_eq(bc_time_format(INT64_MAX, buf), "9999-12-31T23:59:59Z");
  cr_assert_str_eq(bc_time_format(INT64_MIN + 1, buf), "0000-01-01T00:00:00Z");
  cr_assert_str_eq(bc_time_format(BC_TIME_STATIC, buf), "static");
  cr_assert_str_eq(bc_time_format_short(BC_TIME_STATIC, buf), "static");
  cr_assert_str_eq(bc_time_format_short(1551398400, buf), "2019-03-01");
  cr_assert_str_eq(bc_time_format_short(1551398400 + 6 * 3600, buf), "2019-03-01T06:00Z");
  cr_assert_str_eq(bc_time_format_short(1551398400 + 60, buf), "2019-03-01T00:01Z");
  cr_assert_str_eq(bc_time_format_short(1551398401, buf), "2019-03-01T00:00:01Z");
}

typedef struct span {
  const char *text, *begin, *last; /* last second of the period */
} span;

Test(datetime, parse_at_every_precision)
{
  static const span k[] = {
    { "2019", "2019-01-01T00:00:00Z", "2019-12-31T23:59:59Z" },
    { "0000", "0000-01-01T00:00:00Z", "0000-12-31T23:59:59Z" },
    { "9999", "9999-01-01T00:00:00Z", "9999-12-31T23:59:59Z" },
    { "2019-03", "2019-03-01T00:00:00Z", "2019-03-31T23:59:59Z" },
    { "2019-02", "2019-02-01T00:00:00Z", "2019-02-28T23:59:59Z" },
    { "2020-02", "2020-02-01T00:00:00Z", "2020-02-29T23:59:59Z" },
    { "2019-12", "2019-12-01T00:00:00Z", "2019-12-31T23:59:59Z" },
    { "2020-02-29", "2020-02-29T00:00:00Z", "2020-02-29T23:59:59Z" },
    { "2019-03-01T06", "2019-03-01T06:00:00Z", "2019-03-01T06:59:59Z" },
    { "2019-03-01T06Z", "2019-03-01T06:00:00Z", "2019-03-01T06:59:59Z" },
    { "2019-12-31T23", "2019-12-31T23:00:00Z", "2019-12-31T23:59:59Z" },
    { "2019-03-01T06:30", "2019-03-01T06:30:00Z", "2019-03-01T06:30:59Z" },
    { "2019-03-01 06:30", "2019-03-01T06:30:00Z", "2019-03-01T06:30:59Z" },
    { "2019-03-01t06:30z", "2019-03-01T06:30:00Z", "2019-03-01T06:30:59Z" },
    { "2019-03-01T06:30:15", "2019-03-01T06:30:15Z", "2019-03-01T06:30:15Z" },
    { "2019-03-01T06:30:15Z", "2019-03-01T06:30:15Z", "2019-03-01T06:30:15Z" },
    { "2019-03-01T06:30:15.0", "2019-03-01T06:30:15Z", "2019-03-01T06:30:15Z" },
    { "2019-03-01T06:30:15.999999999Z", "2019-03-01T06:30:15Z", "2019-03-01T06:30:15Z" },
    { "2019-03-01T06:30:15+00:00", "2019-03-01T06:30:15Z", "2019-03-01T06:30:15Z" },
  };
  char buf[BC_TIME_TEXT];

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    int64_t begin = 0, end = 0;
    bc_err err;
    cr_assert_eq(bc_time_parse(k[i].text, strlen(k[i].text), &begin, &end, &err), BC_OK, "%s: %s", k[i].text,
                 err.msg);
    cr_expect_str_eq(bc_time_format(begin, buf), k[i].begin, "%s begins %s", k[i].text, buf);
    cr_expect_str_eq(bc_time_format(end - 1, buf), k[i].last, "%s ends %s", k[i].text, buf);
  }
}

Test(datetime, parse_reads_n_bytes_only)
{
  const char text[] = { '2', '0', '1', '9', '-', '0', '3' };
  int64_t begin = 0, end = 0;

  cr_assert_eq(bc_time_parse(text, 4, &begin, &end, NULL), BC_OK);
  cr_assert_eq(end - begin, 365 * DAY);
  cr_assert_eq(bc_time_parse(text, 7, &begin, &end, NULL), BC_OK);
  cr_assert_eq(end - begin, 31 * DAY);
  cr_assert_eq(bc_time_parse(text, 5, &begin, &end, NULL), BC_E_INVAL);
  cr_assert_eq(bc_time_parse("2019\0", 5, &begin, &end, NULL), BC_E_INVAL);
  cr_assert_eq(bc_time_parse(text, 0, &begin, &end, NULL), BC_E_INVAL);
}

Test(datetime, parse_refuses_with_a_reason)
{
  static const struct {
    const char *text, *word;
  } k[] = {
    { "2019-02-30", "no such day" },
    { "1900-02-29", "no such day" },
    { "2019-04-31", "no such day" },
    { "2019-00", "month is 01" },
    { "2019-13", "month is 01" },
    { "2019-01-00", "no such day" },
    { "2019-01-01T24:00", "next day" },
    { "2019-01-01T25", "hour is 00" },
    { "2019-01-01T00:60", "minute is" },
    { "2016-12-31T23:59:60Z", "leap second" },
    { "2019-01-01T00:00:61", "second is" },
    { "2019-03-01T06:00+01:00", "convert it to Z" },
    { "2019-03-01T06:00-00:30", "convert it to Z" },
    { "2019-03-01T06:00:00+0100", "convert it to Z" },
    { "2019-03-01T06-05", "convert it to Z" },
    { "", "expected" },
    { "19", "expected" },
    { "201", "expected" },
    { "20190301", "expected" },
    { "2019-3", "expected" },
    { "2019-", "expected" },
    { "2019-03-", "expected" },
    { "2019-03-01Z", "expected" },
    { "2019-03-01T", "expected" },
    { "2019-03-01T6", "expected" },
    { "2019-03-01T06:", "expected" },
    { "2019-03-01T06:00:00.", "expected" },
    { "2019-03-01T06:00ZZ", "expected" },
    { "2019-03-01T06:00 ", "expected" },
    { " 2019", "expected" },
    { "-2019", "expected" },
    { "2019/03/01", "expected" },
    { "yesterday", "expected" },
    { "02019", "expected" },
    { "2019-03-01T06:00:00 Z", "expected" },
  };

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    int64_t begin = 0, end = 0;
    bc_err err = { .code = BC_OK };
    cr_expect_eq(bc_time_parse(k[i].text, strlen(k[i].text), &begin, &end, &err), BC_E_INVAL, "%s",
                 k[i].text);
    cr_expect(strstr(err.msg, k[i].word) != NULL, "%s: %s", k[i].text, err.msg);
    cr_expect(strstr(err.msg, k[i].text) != NULL);
  }
}

Test(period, parse)
{
  static const struct {
    const char *text;
    int64_t n;
    bool months;
  } k[] = { { "15s", 15, false },   { "1m", 60, false },       { "30m", 1800, false },
            { "6h", 21600, false }, { "1d", DAY, false },      { "10d", 10 * DAY, false },
            { "1mo", 1, true },     { "3mo", 3, true },        { "1y", 12, true },
            { "10y", 120, true },   { "10000y", 120000, true } };
  static const char *const k_bad[] = { "",
                                       "d",
                                       "0d",
                                       "-1d",
                                       "1",
                                       "1 d",
                                       "1.5h",
                                       "1w",
                                       "1M",
                                       "6H",
                                       "1mon",
                                       "1dd",
                                       " 1d",
                                       "10001y",
                                       "120001mo",
                                       "4000000d",
                                       "99999999999999999999s",
                                       "1h30m" };

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    bc_period p;
    cr_expect_eq(bc_period_parse(k[i].text, &p, NULL), BC_OK, "%s", k[i].text);
    cr_expect(p.n == k[i].n && p.months == k[i].months, "%s", k[i].text);
  }
  for (size_t i = 0; i < BC_ARRAY_LEN(k_bad); i++) {
    bc_period p;
    bc_err err;
    cr_expect_eq(bc_period_parse(k_bad[i], &p, &err), BC_E_INVAL, "%s", k_bad[i]);
  }
}

Test(period, floors)
{
  static const struct {
    const char *period, *t, *floor, *next;
  } k[] = {
    { "6h", "2019-03-01T05:59:59", "2019-03-01T00", "2019-03-01T06" },
    { "6h", "1969-12-31T23:59:59", "1969-12-31T18", "1970-01-01" },
    { "1d", "1969-12-31T23:59:59", "1969-12-31", "1970-01-01" },
    { "7d", "1970-01-07T23:59:59", "1970-01-01", "1970-01-08" }, /* counted from 1970 */
    { "7d", "1969-12-31", "1969-12-25", "1970-01-01" },
    { "10d", "2019-02-10T23:59:59", "2019-02-01", "2019-02-11" },
    { "10d", "2019-02-11", "2019-02-11", "2019-02-21" },
    { "10d", "2019-02-28T12", "2019-02-21", "2019-03-01" },
    { "10d", "2019-12-31", "2019-12-21", "2020-01-01" },
    { "10d", "1960-02-29", "1960-02-21", "1960-03-01" },
    { "240h", "1970-01-11", "1970-01-11", "1970-01-21" },
    { "240h", "1970-01-31T12", "1970-01-31", "1970-02-10" },
    { "1mo", "2019-02-28T23:59:59", "2019-02-01", "2019-03-01" },
    { "3mo", "2019-12-31", "2019-10-01", "2020-01-01" },
    { "5mo", "0000-06-01", "0000-06-01", "0000-11-01" }, /* counted from January of year 0 */
    { "1y", "1960-05-05", "1960-01-01", "1961-01-01" },
    { "10y", "2019-05-05", "2010-01-01", "2020-01-01" },
  };

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    bc_period p;
    cr_assert_eq(bc_period_parse(k[i].period, &p, NULL), BC_OK);
    cr_expect_eq(bc_period_floor(p, at(k[i].t)), at(k[i].floor), "floor %s of %s", k[i].period, k[i].t);
    cr_expect_eq(bc_period_next(p, at(k[i].floor)), at(k[i].next), "next %s of %s", k[i].period, k[i].floor);
  }
}

/* For any time: floor <= t < next, floor of floor is floor, periods follow each other without gaps. */
Test(period, tiling_of_time)
{
  static const char *const k[] = {
    "15s", "30m", "6h", "1d", "7d", "10d", "1mo", "5mo", "1y", "30y", "10000y"
  };
  uint64_t seed = 20190301;

  for (int i = 0; i < 20000; i++) {
    bc_period p;
    int64_t t = 0, floor = 0, next = 0;
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    t = BC_TIME_MIN + (int64_t)((seed >> 16) % (uint64_t)(BC_TIME_MAX - BC_TIME_MIN));
    cr_assert_eq(bc_period_parse(k[i % (int)BC_ARRAY_LEN(k)], &p, NULL), BC_OK);
    floor = bc_period_floor(p, t);
    next = bc_period_next(p, floor);
    cr_assert(floor <= t && t < next, "%s: %lld %lld %lld", k[i % (int)BC_ARRAY_LEN(k)], (long long)floor,
              (long long)t, (long long)next);
    cr_assert(bc_period_floor(p, floor) == floor && bc_period_floor(p, next) == next &&
              bc_period_floor(p, next - 1) == floor);
  }
}

Test(period, static_and_far_times_are_harmless)
{
  const bc_period day = { DAY, false, false }, month = { 1, true, false }, none = { 0, false, false };

  cr_assert_eq(bc_period_floor(day, BC_TIME_STATIC), BC_TIME_STATIC);
  cr_assert_eq(bc_period_next(day, BC_TIME_STATIC), INT64_MAX);
  cr_assert_eq(bc_period_floor(none, 5), 5);
  (void)bc_period_floor(month, INT64_MAX);
  (void)bc_period_next(month, INT64_MAX);
  (void)bc_period_floor(day, INT64_MIN + 1);
  (void)bc_time_to_civil(BC_TIME_STATIC);
  (void)bc_time_to_civil(INT64_MAX);
}

Test(bucket, floors_and_names)
{
  const int64_t t = at("2019-03-14T15:09:26");

  cr_assert_eq(bc_bucket_floor(BC_BUCKET_STATIC, t), BC_TIME_STATIC);
  cr_assert_eq(bc_bucket_next(BC_BUCKET_STATIC, BC_TIME_STATIC), INT64_MAX);
  cr_assert_eq(bc_bucket_floor(BC_BUCKET_DAY, t), at("2019-03-14"));
  cr_assert_eq(bc_bucket_next(BC_BUCKET_DAY, at("2019-03-14")), at("2019-03-15"));
  cr_assert_eq(bc_bucket_floor(BC_BUCKET_MONTH, t), at("2019-03"));
  cr_assert_eq(bc_bucket_next(BC_BUCKET_MONTH, at("2019-12")), at("2020-01"));
  cr_assert_eq(bc_bucket_floor(BC_BUCKET_YEAR, t), at("2019"));
  cr_assert_eq(bc_bucket_next(BC_BUCKET_YEAR, at("2019")), at("2020"));
  cr_assert_eq(bc_bucket_floor(BC_BUCKET_DECADE, t), at("2010"));
  cr_assert_eq(bc_bucket_floor(BC_BUCKET_DECADE, at("1969-12-31")), at("1960"));
  cr_assert_eq(bc_bucket_next(BC_BUCKET_DECADE, at("1960")), at("1970"));
  for (int b = BC_BUCKET_STATIC; b <= BC_BUCKET_DECADE; b++) {
    cr_expect_eq(bc_bucket_floor((bc_bucket)b, BC_TIME_STATIC), BC_TIME_STATIC);
  }
  cr_assert_str_eq(bc_bucket_name(BC_BUCKET_STATIC), "static");
  cr_assert_str_eq(bc_bucket_name(BC_BUCKET_DECADE), "decade");
  cr_assert_str_eq(bc_bucket_name((bc_bucket)9), "unknown");
}

Test(bucket, by_cadence)
{
  cr_assert_eq(bc_bucket_for_cadence(0), BC_BUCKET_MONTH);
  cr_assert_eq(bc_bucket_for_cadence(-5), BC_BUCKET_MONTH);
  cr_assert_eq(bc_bucket_for_cadence(60), BC_BUCKET_DAY);
  cr_assert_eq(bc_bucket_for_cadence(1800), BC_BUCKET_MONTH);
  cr_assert_eq(bc_bucket_for_cadence(3600), BC_BUCKET_MONTH);
  cr_assert_eq(bc_bucket_for_cadence(12 * 3600), BC_BUCKET_MONTH);
  cr_assert_eq(bc_bucket_for_cadence(DAY), BC_BUCKET_YEAR);
  cr_assert_eq(bc_bucket_for_cadence(2629746), BC_BUCKET_YEAR);
  cr_assert_eq(bc_bucket_for_cadence(31 * DAY), BC_BUCKET_YEAR);
  cr_assert_eq(bc_bucket_for_cadence(365 * DAY), BC_BUCKET_DECADE);
}
