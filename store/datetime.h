/*
 * Time as int64 seconds since 1970-01-01T00:00Z in the proleptic Gregorian calendar, and the calendar periods
 * that tiles and aggregations use. Pure functions; share freely. Years 0000 to 9999.
 */
#ifndef BC_STORE_DATETIME_H
#define BC_STORE_DATETIME_H

#include <stdbool.h>

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BC_TIME_MIN    INT64_C(-62167219200) /* 0000-01-01T00:00:00Z */
#define BC_TIME_MAX    INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define BC_TIME_STATIC INT64_MIN             /* the "time" of a field that does not vary */

typedef struct bc_civil {
  int32_t year;                 /* 0..9999 */
  int32_t month, day;           /* 1.. */
  int32_t hour, minute, second; /* 0.. */
} bc_civil;

BC_API int64_t bc_time_from_civil(const bc_civil *c); /* fields are taken as they are: no range check */
BC_API bc_civil bc_time_to_civil(int64_t t);
BC_API bool bc_civil_valid(const bc_civil *c);
/** Days since 1970-01-01 of a date. */
BC_API int64_t bc_days_from_civil(int32_t year, int32_t month, int32_t day);

#define BC_TIME_TEXT 32
/** "2019-03-01T00:00:00Z"; BC_TIME_STATIC gives "static". buf has BC_TIME_TEXT bytes; returns buf. */
BC_API char *bc_time_format(int64_t t, char *buf);
/** Shortest form that keeps the value: 2019-03-01 at midnight, 2019-03-01T06:00Z else. */
BC_API char *bc_time_format_short(int64_t t, char *buf);

/**
 * One instant or period in RFC 3339 at any precision: 2019, 2019-03, 2019-03-01, 2019-03-01T06, ...T06:00,
 * ...T06:00:00[.0][Z]; a blank may stand for T. The period covered is [*begin, *end).
 * @return BC_E_INVAL with what was found and what is expected; a zone other than Z or +00:00 is refused
 */
BC_API bc_status bc_time_parse(const char *text, size_t n, int64_t *begin, int64_t *end,
                               bc_err *err) BC_MUST_CHECK;

/* A calendar period: n seconds, or n months. */
typedef struct bc_period {
  int64_t n;
  bool months; /* n counts months; else seconds */
  bool dekads; /* ten days that start anew on days 1, 11 and 21 of each month; n is that of ten days */
} bc_period;

/** "6h", "1d", "10d", "1mo", "1y", "30m" (minutes), "15s". */
BC_API bc_status bc_period_parse(const char *text, bc_period *out, bc_err *err) BC_MUST_CHECK;
/** First instant of the period that holds t: seconds periods count from 1970-01-01T00:00Z ("240h" too), "10d"
 * are dekads, months periods count from January of year 0. */
BC_API int64_t bc_period_floor(bc_period p, int64_t t);
/** First instant of the next period, from a floor. */
BC_API int64_t bc_period_next(bc_period p, int64_t floor);

/* How tiles of a modality cut time. The value is stored. */
typedef enum bc_bucket {
  BC_BUCKET_STATIC = 0, /* one bucket for ever, key time BC_TIME_STATIC */
  BC_BUCKET_DAY = 1,
  BC_BUCKET_MONTH = 2,
  BC_BUCKET_YEAR = 3,
  BC_BUCKET_DECADE = 4 /* years ending in 0 */
} bc_bucket;

BC_API int64_t bc_bucket_floor(bc_bucket b, int64_t t);
BC_API int64_t bc_bucket_next(bc_bucket b, int64_t floor); /* INT64_MAX for BC_BUCKET_STATIC */
BC_API const char *bc_bucket_name(bc_bucket b);
/** Bucket for steps of about this many seconds: under 1 h day or month, up to 12 h month, up to 40 d year,
 * beyond decade; 0 (unknown) gives month. */
BC_API bc_bucket bc_bucket_for_cadence(int64_t seconds);

#ifdef __cplusplus
}
#endif
#endif
