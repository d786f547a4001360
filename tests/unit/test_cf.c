/* CF conventions: times, axes, groups, packing. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "ingest/cf.h"
#include "store/datetime.h"

/* ---- time ---- */
static int64_t at(int32_t y, int32_t mo, int32_t d, int32_t h, int32_t mi, int32_t s)
{
  const bc_civil c = { y, mo, d, h, mi, s };
  return bc_time_from_civil(&c);
}

Test(cf, spellings_of_units)
{
  static const struct {
    const char *units, *calendar;
    int64_t value, want;
  } c[] = {
    { "hours since 1900-01-01 00:00:00.0", "gregorian", 1043160, INT64_C(1546387200) },
    { "seconds since 1970-01-01", "proleptic_gregorian", 1551398400, 1551398400 },
    { "seconds since 1970-01-01T00:00:00", NULL, 5, 5 },
    { "seconds since 1970-01-01T00:00:00Z", "standard", 5, 5 },
    { "seconds since 1970-01-01 00:00:00 UTC", "", 5, 5 },
    { "seconds since 1970-01-01 00:00:00+00:00", "STANDARD", 5, 5 },
    { "seconds since 1970-01-01 00:00:00 +01:00", NULL, 3600, 0 },
    { "seconds since 1970-01-01 00:00 -6:00", NULL, 0, 21600 },
    { "seconds since 1970-01-01 00:00:00 +0530", NULL, 19800, 0 },
    { "seconds since 1970-01-01 5", NULL, 0, 18000 },
    { "s since 19700101", NULL, 7, 7 },
    { "sec since 1970-1-1", NULL, 7, 7 },
    { "minutes since 1970-01-01", NULL, 2, 120 },
    { "min since 1970-1", NULL, 2, 120 },
    { "Hours Since 1970-01-01", NULL, -1, -3600 },
    { "h since 1970-01-01", NULL, 1, 3600 },
    { "hr since 1970", NULL, 1, 3600 },
    { "days since 1990-01-01 00:00:00", "proleptic_gregorian", 31, INT64_C(633830400) },
    { "d since 1970-01-01 12:00:00", NULL, 1, 129600 },
    { "  days since 1970-01-01  ", NULL, 1, 86400 },
    /* the reference of NCEP's files is Julian: 2 days before the proleptic date */
    { "hours since 1-1-1 00:00:0.0", NULL, 17067072, INT64_C(-694310400) },
    { "days since 1582-10-04", "gregorian", 1, INT64_C(-12219292800) },
    { "days since 0000-01-01", "proleptic_gregorian", 719528, 0 },
    { "hours since 0001-01-01 00:00:00", "proleptic_gregorian", 24, INT64_C(-62135510400) },
  };

  for (size_t i = 0; i < BC_ARRAY_LEN(c); i++) {
    bc_cf_time u;
    bc_err err;
    int64_t t = -1;
    cr_assert_eq(bc_cf_time_parse("f: time", c[i].units, c[i].calendar, &u, &err), BC_OK, "%s: %s",
                 c[i].units, err.msg);
    cr_assert_eq(bc_cf_time_from_i64(&u, "f: time", c[i].value, &t, &err), BC_OK, "%s: %s", c[i].units,
                 err.msg);
    cr_assert_eq(t, c[i].want, "%s: %lld, not %lld", c[i].units, (long long)t, (long long)c[i].want);
    t = -1;
    cr_assert_eq(bc_cf_time_from_f64(&u, "f: time", (double)c[i].value, &t, &err), BC_OK);
    cr_assert_eq(t, c[i].want, "%s", c[i].units);
  }
  cr_assert_eq(at(2019, 1, 2, 0, 0, 0), INT64_C(1546387200));
  cr_assert_eq(at(1948, 1, 1, 0, 0, 0), INT64_C(-694310400));
}

Test(cf, units_that_are_refused_say_why)
{
  static const struct {
    const char *units, *calendar, *part;
  } c[] = {
    { NULL, NULL, "f: time has no units" },
    { "", NULL, "f: time has no units" },
    { "yyyymm", NULL, "units \"yyyymm\", which give no dates: expected \"seconds|minutes|hours|days since" },
    { "months", NULL, "\"months\"" },
    { "months since 1958-1-1 00:00:00", NULL, "months and years have no fixed length" },
    { "Years since 1900-01-01", NULL, "no fixed length" },
    { "fortnights since 1900-01-01", NULL, "\"fortnights\" is not understood" },
    { "since 1900-01-01", NULL, "give no dates" },
    { "days since", NULL, "give no dates" },
    { "days since ", NULL, "is not a date" },
    { "days since yesterday", NULL, "is not a date" },
    { "days since 1900-13-01", NULL, "is not a date" },
    { "days since 1900-02-29", NULL, "is not a date" },
    { "days since 1900-01-01 24:00", NULL, "is not a date" },
    { "days since 1900-01-01 00:60", NULL, "is not a date" },
    { "days since 1900-01-01 00:00:00 CET", NULL, "is not a date" },
    { "days since 1900-01-01 00:00:00 +99:00", NULL, "is not a date" },
    { "days since 1900-01-01 00:00:00 +1:", NULL, "is not a date" },
    { "days since -1-01-01", NULL, "is not a date" },
    { "days since 0-01-01", "standard", "is not a date" },     /* no such year in the mixed calendar */
    { "days since 1582-10-10", "gregorian", "is not a date" }, /* nor such a day */
    { "days since 12345-01-01", NULL, "is not a date" },
    { "days since 1900-01-01", "noleap", "calendar \"noleap\"" },
    { "days since 1900-01-01", "365_day", "calendar \"365_day\"" },
    { "days since 1900-01-01", "360_day", "calendar \"360_day\"" },
    { "days since 1900-01-01", "julian", "calendar \"julian\"" },
    { "days since 1900-01-01", "all_leap", "calendar \"all_leap\"" },
    { "days since 1900-01-01", "none", "calendar \"none\"" },
  };

  for (size_t i = 0; i < BC_ARRAY_LEN(c); i++) {
    bc_cf_time u;
    bc_err err = { .code = BC_OK };
    cr_assert_eq(bc_cf_time_parse("f: time", c[i].units, c[i].calendar, &u, &err), BC_E_UNSUPPORTED, "%s",
                 c[i].units == NULL ? "NULL" : c[i].units);
    cr_assert_not_null(strstr(err.msg, c[i].part), "\"%s\" lacks \"%s\"", err.msg, c[i].part);
  }
}

static bc_cf_time units(const char *text, const char *calendar)
{
  bc_cf_time u;
  cr_assert_eq(bc_cf_time_parse("f", text, calendar, &u, NULL), BC_OK);
  return u;
}

Test(cf, fractions_of_a_second)
{
  const bc_cf_time day = units("days since 1970-01-01", NULL),
                   half = units("seconds since 1970-01-01 00:00:00.5", NULL);
  int64_t t = 0;
  bc_err err;

  for (int64_t h = 0; h < 24 * 40000; h += 997) { /* hours as fractions of days */
    cr_assert_eq(bc_cf_time_from_f64(&day, "f", (double)h / 24, &t, &err), BC_OK);
    cr_assert_eq(t, h * 3600);
  }
  cr_assert_eq(bc_cf_time_from_f64(&day, "f", 1 + 0.0009 / 86400, &t, &err), BC_OK);
  cr_assert_eq(t, 86400);
  cr_assert_eq(bc_cf_time_from_f64(&day, "f", 1 + 0.0011 / 86400, &t, &err), BC_E_RANGE);
  cr_assert_not_null(strstr(err.msg, "off a whole second"));
  cr_assert_eq(bc_cf_time_from_f64(&day, "f", (double)NAN, &t, &err), BC_E_RANGE);
  cr_assert_eq(bc_cf_time_from_f64(&day, "f", INFINITY, &t, &err), BC_E_RANGE);
  cr_assert_eq(bc_cf_time_from_f64(&half, "f", 1.5, &t, &err), BC_OK);
  cr_assert_eq(t, 2);
  cr_assert_eq(bc_cf_time_from_i64(&half, "f", 1, &t, &err), BC_E_RANGE);
}

Test(cf, units_below_a_second)
{
  const bc_cf_time ms = units("milliseconds since 1970-01-01", NULL),
                   us = units("microseconds since 1970-01-01", NULL);
  int64_t t = 0;

  cr_assert_eq(bc_cf_time_from_i64(&ms, "f", 5000, &t, NULL), BC_OK);
  cr_assert_eq(t, 5);
  cr_assert_eq(bc_cf_time_from_i64(&us, "f", INT64_C(1551398400000000), &t, NULL), BC_OK);
  cr_assert_eq(t, 1551398400);
  cr_assert_eq(bc_cf_time_from_f64(&us, "f", -7e6, &t, NULL), BC_OK);
  cr_assert_eq(t, -7);
  cr_assert_eq(bc_cf_time_from_i64(&ms, "f", 5500, &t, NULL), BC_E_RANGE);
}

Test(cf, dates_out_of_reach)
{
  const bc_cf_time mixed = units("days since 1970-01-01", "standard");
  const bc_cf_time proleptic = units("days since 1970-01-01", "proleptic_gregorian");
  int64_t t = 0;
  bc_err err;

  cr_assert_eq(bc_cf_time_from_i64(&mixed, "f", -141427, &t, &err), BC_OK); /* 1582-10-15 */
  cr_assert_eq(bc_cf_time_from_i64(&mixed, "f", -141428, &t, &err), BC_E_RANGE);
  cr_assert_not_null(strstr(err.msg, "1582-10-15"));
  cr_assert_eq(bc_cf_time_from_i64(&proleptic, "f", -141428, &t, &err), BC_OK);
  cr_assert_eq(bc_cf_time_from_i64(&proleptic, "f", -719529, &t, &err), BC_E_RANGE);
  cr_assert_eq(bc_cf_time_from_i64(&proleptic, "f", 2932897, &t, &err), BC_E_RANGE);
  cr_assert_eq(bc_cf_time_from_i64(&proleptic, "f", INT64_MAX, &t, &err), BC_E_RANGE);
  cr_assert_eq(bc_cf_time_from_i64(&proleptic, "f", INT64_MIN, &t, &err), BC_E_RANGE);
}

/* ---- axes ---- */
Test(cf, kinds_of_axes)
{
  static const struct {
    bc_cf_axis a;
    bc_cf_kind want;
  } c[] = {
    { { .name = "latitude", .units = "degrees_north" }, BC_CF_LAT },
    { { .name = "lat", .units = "degrees north" }, BC_CF_LAT },
    { { .name = "LAT" }, BC_CF_LAT },
    { { .name = "y", .units = "degree_N" }, BC_CF_LAT },
    { { .name = "y", .standard_name = "latitude" }, BC_CF_LAT },
    { { .name = "rlat", .standard_name = "grid_latitude", .units = "degrees" }, BC_CF_OTHER },
    { { .name = "x", .standard_name = "projection_x_coordinate", .axis = "X" }, BC_CF_OTHER },
    { { .name = "LON", .units = "degrees_east" }, BC_CF_LON },
    { { .name = "g0_lon_3", .units = "degree_east" }, BC_CF_LON },
    { { .name = "valid_time" }, BC_CF_TIME },
    { { .name = "XTIME", .units = "minutes since 2000-01-01" }, BC_CF_TIME },
    { { .name = "month" }, BC_CF_TIME },
    { { .name = "t", .axis = "T" }, BC_CF_TIME },
    { { .name = "step", .units = "hours" }, BC_CF_OTHER },
    { { .name = "level", .units = "millibars" }, BC_CF_LEVEL },
    { { .name = "pressure_level", .units = "hPa" }, BC_CF_LEVEL },
    { { .name = "isobaricInhPa" }, BC_CF_LEVEL },
    { { .name = "plev", .units = "Pa" }, BC_CF_LEVEL },
    { { .name = "z", .axis = "Z" }, BC_CF_LEVEL },
    { { .name = "q", .positive = "down" }, BC_CF_LEVEL },
    { { .name = "lev", .standard_name = "atmosphere_hybrid_sigma_pressure_coordinate" }, BC_CF_LEVEL },
    { { .name = "expver" }, BC_CF_EXPVER },
    { { .name = "number" }, BC_CF_MEMBER },
    { { .name = "m", .standard_name = "realization" }, BC_CF_MEMBER },
    { { .name = "location" }, BC_CF_OTHER },
  };

  for (size_t i = 0; i < BC_ARRAY_LEN(c); i++)
    cr_assert_eq(bc_cf_kind_of(&c[i].a), c[i].want, "%s", c[i].a.name);
}

Test(cf, pressure_and_versions)
{
  double k = 0;

  cr_assert(bc_cf_pressure("Pa", &k) && k == 100);
  cr_assert(bc_cf_pressure("millibars", &k) && k == 1);
  cr_assert(bc_cf_pressure("mbar", &k) && k == 1);
  cr_assert(bc_cf_pressure("hPa", &k) && k == 1);
  cr_assert_not(bc_cf_pressure("m", &k));
  cr_assert_not(bc_cf_pressure(NULL, &k));
  cr_assert_eq(bc_cf_expver("0001"), 1);
  cr_assert_eq(bc_cf_expver(" 5 "), 5);
  cr_assert_eq(bc_cf_expver("1000000000000"), -1);
  cr_assert_eq(bc_cf_expver("5a"), -1);
  cr_assert_eq(bc_cf_expver(""), -1);
}

Test(cf, groups)
{
  static const struct {
    const char *vars[9], *want;
  } c[] = {
    { { "stl1", "swvl1" }, "edaphic" },
    { { "swvl1" }, "edaphic" },
    { { "slt", "z", "lsm", "msl", "t2m", "u10", "v10" }, "surface" },
    { { "z", "lsm", "slt" }, "single" },
    { { "t", "q", "u", "v", "z" }, "atmospheric" },
    { { "z" }, "single" }, /* a tie with atmospheric: the earlier one */
    { { "t2m", "d2m" }, "surface" },
    { { "t2m", "d2m", "tp" }, "climate" },
    { { "smlt", "tp", "csfr", "sd", "t2m", "d2m" }, "climate" },
    { { "avg_slhtf", "avg_pevr" }, "misc" },
    { { NULL }, "misc" },
  };

  for (size_t i = 0; i < BC_ARRAY_LEN(c); i++) {
    size_t n = 0;
    while (c[i].vars[n] != NULL)
      n++;
    cr_assert_str_eq(bc_cf_group(c[i].vars, n, false), c[i].want, "%s", n > 0 ? c[i].vars[0] : "");
  }
  cr_expect_str_eq(bc_cf_group(&(const char *){ "z" }, 1, true), "atmospheric");
  cr_expect_str_eq(bc_cf_group(&(const char *){ "t2m" }, 1, true), "surface");
}

Test(cf, names)
{
  char out[8];

  cr_assert(bc_cf_clean_name("t@2 m/x", out, sizeof out));
  cr_assert_str_eq(out, "t_2_m_x");
  cr_assert_not(bc_cf_clean_name("t@2 m/xy", out, sizeof out));
  cr_assert_not(bc_cf_clean_name("", out, sizeof out));
}

/* ---- values ---- */
static bc_num num(double d) { return (bc_num){ .raw = BC_RAW_F64, .d = d }; }
static bc_num inum(bc_raw r, int64_t i) { return (bc_num){ .raw = r, .i = i, .d = (double)i }; }

static void unpack(bc_raw raw, const bc_cf_packing *p, const void *src, size_t n, float *dst)
{
  bc_unpack u;
  bc_err err;
  cr_assert_eq(bc_unpack_init(&u, "f: x", raw, p, &err), BC_OK, "%s", err.msg);
  bc_unpack_f32(&u, src, n, dst);
}

Test(cf, packed_shorts)
{
  const bc_num scale = num(-0.0017), offset = num(26.96875), nan = num((double)NAN),
               fill = inum(BC_RAW_I16, -9999);
  const bc_cf_packing p = {
    .scale = &scale, .n_scale = 1, .offset = &offset, .n_offset = 1, .fill = &nan, .n_fill = 1
  };
  const bc_cf_packing q = { .scale = &scale, .n_scale = 1, .missing = &fill, .n_missing = 1 };
  const int16_t src[] = { 0, -32767, -32768, 32767, -9999 };
  float out[5];

  /* NaN is no fill for integers: then the default one, -32767, counts */
  unpack(BC_RAW_I16, &p, src, 5, out);
  cr_assert(out[0] == 26.96875f && isnan(out[1]));
  for (int i = 2; i < 5; i++)
    cr_assert_eq(out[i], (float)((double)src[i] * -0.0017 + 26.96875));
  unpack(BC_RAW_I16, &q, src, 5, out);
  cr_assert(out[0] == 0 && signbit(out[0]) && isnan(out[1]) && isnan(out[4]) && !isnan(out[2]));
}

Test(cf, attributes_count_only_where_the_type_holds_them)
{
  const bc_num inexact = num(-9.99e33), exact = num(1.5), big = inum(BC_RAW_I32, 40000), half = num(2.5);
  const bc_cf_packing a = { .fill = &inexact, .n_fill = 1 }, b = { .fill = &exact, .n_fill = 1 };
  const bc_cf_packing c = { .missing = &big, .n_missing = 1 }, d = { .missing = &half, .n_missing = 1 };
  const float f[] = { -9.99e33f, 1.5f, 9.9692099683868690e+36f };
  const int16_t s[] = { (int16_t)(40000 - 65536), 2, -32767 };
  float out[3];

  unpack(BC_RAW_F32, &a, f, 3, out); /* no float equals -9.99e33: the default fill counts instead */
  cr_assert(out[0] == -9.99e33f && out[1] == 1.5f && isnan(out[2]));
  unpack(BC_RAW_F32, &b, f, 3, out);
  cr_assert(isnan(out[1]) && out[2] == f[2]);
  unpack(BC_RAW_I16, &c, s, 3, out);
  cr_assert(out[0] == -25536 && out[1] == 2 && isnan(out[2]));
  unpack(BC_RAW_I16, &d, s, 3, out);
  cr_assert(out[1] == 2);
}

Test(cf, limits)
{
  const bc_num range[] = { inum(BC_RAW_I16, 1), inum(BC_RAW_I16, 3) }, low = inum(BC_RAW_I16, 2);
  const bc_cf_packing p = { .valid_range = range, .n_valid_range = 2, .valid_min = &low, .n_valid_min = 1 };
  const bc_cf_packing q = { .valid_max = &low, .n_valid_max = 1 };
  const int16_t src[] = { 0, 1, 2, 3, 4 };
  int16_t ints[5];
  float out[5];
  bc_unpack u;

  unpack(BC_RAW_I16, &p, src, 5, out); /* the range wins over valid_min */
  cr_assert(isnan(out[0]) && out[1] == 1 && out[3] == 3 && isnan(out[4]));
  unpack(BC_RAW_I16, &q, src, 5, out);
  cr_assert(out[0] == 0 && out[2] == 2 && isnan(out[3]));
  cr_assert_eq(bc_unpack_init(&u, "f", BC_RAW_I16, &p, NULL), BC_OK);
  memcpy(ints, src, sizeof ints);
  bc_unpack_i16(&u, -32767, ints, 5);
  cr_assert(ints[0] == -32767 && ints[1] == 1 && ints[3] == 3 && ints[4] == -32767);
}

Test(cf, bytes_and_unsigned)
{
  const bc_num minus = inum(BC_RAW_I8, -1), scale = num(0.5);
  const bc_cf_packing fresh = { .no_fill = true }, filled = { .no_fill = false };
  const bc_cf_packing p = { .is_unsigned = true, .fill = &minus, .n_fill = 1, .scale = &scale, .n_scale = 1 };
  const int8_t src[] = { -127, -1, 5 };
  float out[3];

  unpack(BC_RAW_I8, &fresh, src, 3, out);
  cr_assert(out[0] == -127 && out[1] == -1 && out[2] == 5);
  unpack(BC_RAW_I8, &filled, src, 3, out);
  cr_assert(isnan(out[0]));
  unpack(BC_RAW_I8, &p, src, 3, out);
  cr_assert(out[0] == 64.5f && isnan(out[1]) && out[2] == 2.5f);
}

Test(cf, sixty_four_bits)
{
  const bc_num miss = inum(BC_RAW_I64, INT64_C(9007199254740993));
  const bc_cf_packing p = { .missing = &miss, .n_missing = 1 };
  const int64_t src[] = { INT64_C(9007199254740993), INT64_C(9007199254740992), INT64_C(16777217) };
  const uint64_t u[] = { UINT64_MAX - 1, UINT64_MAX, 16777217 };
  float out[3];

  unpack(BC_RAW_I64, &p, src, 3, out); /* neighbours that are one double */
  cr_assert(isnan(out[0]) && out[1] == 9007199254740992.0f && out[2] == 16777216.0f);
  unpack(BC_RAW_U64, &p, u, 3, out);
  cr_assert(isnan(out[0]) && out[1] == 18446744073709551615.0f && out[2] == 16777216.0f);
}

Test(cf, packing_that_is_refused)
{
  const bc_num text = { .raw = BC_RAW_CHAR }, nan = num((double)NAN), two[] = { num(1), num(2) };
  const bc_cf_packing c[] = { { .scale = &text, .n_scale = 1 },
                              { .offset = &nan, .n_offset = 1 },
                              { .scale = two, .n_scale = 2 } };
  bc_num many[20];
  const bc_cf_packing m = { .missing = many, .n_missing = 20 };
  bc_unpack u;
  bc_err err;

  for (int i = 0; i < 20; i++)
    many[i] = inum(BC_RAW_I16, i);
  for (size_t i = 0; i < BC_ARRAY_LEN(c); i++) {
    cr_assert_eq(bc_unpack_init(&u, "f: x", BC_RAW_I16, &c[i], &err), BC_E_UNSUPPORTED);
    cr_assert_not_null(strstr(err.msg, "is not one finite number"));
  }
  cr_assert_eq(bc_unpack_init(&u, "f: x", BC_RAW_I16, &m, &err), BC_E_UNSUPPORTED);
}
