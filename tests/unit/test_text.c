/* Sinks of text, byte for byte; numbers as text; the JSON writer. */
#include "tests/unit/sink_fixture.h"

#include "formats/json.h"
#include "store/datetime.h"

TestSuite(text, .init = make_folder, .fini = remove_folder);

/* ---- text ---- */

Test(text, csv_of_one_variable)
{
  write_ok(ONE(k_t2m, k_values), "a.csv");
  expect_text("a.csv", "time,latitude,longitude,t2m\n"
                       "2019-03-01T00:00:00Z,51.5,-0.25,273.15\n"
                       "2019-03-01T00:00:00Z,51.5,0,273.2\n"
                       "2019-03-01T00:00:00Z,51.25,-0.25,1e-05\n"
                       "2019-03-01T00:00:00Z,51.25,0,-0.5\n"
                       "2019-03-01T01:00:00Z,51.5,-0.25,\n"
                       "2019-03-01T01:00:00Z,51.5,0,0\n"
                       "2019-03-01T01:00:00Z,51.25,-0.25,5\n"
                       "2019-03-01T01:00:00Z,51.25,0,16777216\n"
                       "2019-03-01T02:00:00Z,51.5,-0.25,1e+10\n"
                       "2019-03-01T02:00:00Z,51.5,0,3.4e+38\n"
                       "2019-03-01T02:00:00Z,51.25,-0.25,0.1\n"
                       "2019-03-01T02:00:00Z,51.25,0,281.125\n");
}

Test(text, tsv_side_by_side_repeats_static)
{
  const bc_var *const vars[] = { &k_lsm, &k_t2m, &k_count };
  const void *const data[] = { k_values + 5, k_values, k_counts };
  write_ok(3, vars, data, "a.tsv");
  bc_buf b = slurp(in_folder("a.tsv"));
  const char *want = "time\tlatitude\tlongitude\tlsm\tsurface.t2m\tclimate.t2m\n"
                     "2019-03-01T00:00:00Z\t51.5\t-0.25\t0\t273.15\t0\n"
                     "2019-03-01T00:00:00Z\t51.5\t0\t5\t273.2\t-1\n"
                     "2019-03-01T00:00:00Z\t51.25\t-0.25\t16777216\t1e-05\t2147483647\n"
                     "2019-03-01T00:00:00Z\t51.25\t0\t1e+10\t-0.5\t-2147483648\n"
                     "2019-03-01T01:00:00Z\t51.5\t-0.25\t0\t\t4\n";
  cr_assert_eq(memcmp(b.p, want, strlen(want)), 0, "%.*s", (int)strlen(want), (const char *)b.p);
  bc_buf_dispose(&b);
}

Test(text, csv_of_different_axes_is_long)
{
  const bc_var *const vars[] = { &k_z, &k_lsm };
  const void *const data[] = { k_values, k_values };
  write_ok(2, vars, data, "a.csv");
  expect_text("a.csv", "variable,time,level,latitude,longitude,value\n"
                       "z,2019-03-01T00:00:00Z,1000,51.5,-0.25,273.15\n"
                       "z,2019-03-01T00:00:00Z,1000,51.5,0,273.2\n"
                       "z,2019-03-01T00:00:00Z,1000,51.25,-0.25,1e-05\n"
                       "z,2019-03-01T00:00:00Z,1000,51.25,0,-0.5\n"
                       "z,2019-03-01T00:00:00Z,500,51.5,-0.25,\n"
                       "z,2019-03-01T00:00:00Z,500,51.5,0,0\n"
                       "z,2019-03-01T00:00:00Z,500,51.25,-0.25,5\n"
                       "z,2019-03-01T00:00:00Z,500,51.25,0,16777216\n"
                       "lsm,,,51.5,-0.25,273.15\n"
                       "lsm,,,51.5,0,273.2\n"
                       "lsm,,,51.25,-0.25,1e-05\n"
                       "lsm,,,51.25,0,-0.5\n");
}

Test(text, csv_quotes_names)
{
  bc_var v = k_lsm;
  v.name = "a,\"b\"";
  write_ok(ONE(v, k_values), "q.csv");
  bc_buf b = slurp(in_folder("q.csv"));
  cr_assert_eq(memcmp(b.p, "latitude,longitude,\"a,\"\"b\"\"\"\n51.5,", 34), 0);
  bc_buf_dispose(&b);
}

Test(text, jsonl_of_points)
{
  const bc_var *const vars[] = { &k_points };
  const void *const data[] = { k_values + 3 };
  write_ok(1, vars, data, "a.jsonl");
  expect_text(
      "a.jsonl",
      "{\"time\":\"2019-03-01T00:00:00Z\",\"point\":0,\"latitude\":51.5,\"longitude\":-0.25,\"t2m\":-0.5}\n"
      "{\"time\":\"2019-03-01T00:00:00Z\",\"point\":1,\"latitude\":-33.75,\"longitude\":151.25,\"t2m\":null}"
      "\n"
      "{\"time\":\"2019-03-01T01:00:00Z\",\"point\":0,\"latitude\":51.5,\"longitude\":-0.25,\"t2m\":0}\n"
      "{\"time\":\"2019-03-01T01:00:00Z\",\"point\":1,\"latitude\":-33.75,\"longitude\":151.25,\"t2m\":5}\n"
      "{\"time\":\"2019-03-01T02:00:00Z\",\"point\":0,\"latitude\":51.5,\"longitude\":-0.25,\"t2m\":16777216}"
      "\n"
      "{\"time\":\"2019-03-01T02:00:00Z\",\"point\":1,\"latitude\":-33.75,\"longitude\":151.25,\"t2m\":1e+10}"
      "\n");
}

Test(text, json_object)
{
  write_ok(ONE(k_daily, k_values + 3), "a.json");
  expect_text(
      "a.json",
      "{\"attrs\":{\"title\":\"Test \\\"cube\\\"\",\"licence\":\"CC-BY-4.0\"},\"variables\":[\n"
      "{\"name\":\"t2m_mean\",\"group\":\"\",\"units\":\"K\",\"dtype\":\"float32\",\"dims\":[\"time\","
      "\"latitude\","
      "\"longitude\"],\"shape\":[1,2,2],\"coords\":{\"time\":[\"2019-03-01T00:00:00Z\"],\"time_bnds\":[["
      "\"2019-03-01T00:00:00Z\",\"2019-03-02T00:00:00Z\"]],\"latitude\":[51.5,51.25],\"longitude\":[-0.25,0]}"
      ","
      "\"attrs\":{},\"data\":\n[[[-0.5,null],\n[0,5]]]}]}\n");
}

/* More than a spool keeps in memory. */
Test(text, csv_spools_to_a_temporary_file)
{
  enum { NT = 4100, NX = 2100 };
  static double time[NT], lon[NX], lat[1] = { 10 };
  int8_t *value = calloc(NT * NX, 1);
  FILE *f = NULL;
  char line[128], want[128];
  long rows = 0;

  for (int i = 0; i < NT; i++)
    time[i] = 86400.0 * i;
  for (int i = 0; i < NX; i++)
    lon[i] = 0.01 * i;
  for (int i = 0; i < NT * NX; i++)
    value[i] = (int8_t)(i % 101);
  const bc_var a = { .name = "a",
                     .group = "",
                     .units = "",
                     .dtype = BC_I8,
                     .ndim = 3,
                     .dims = { BC_DIM_TIME, BC_DIM_LAT, BC_DIM_LON },
                     .shape = { 40, 1, NX },
                     .coord = { time, lat, lon },
                     .level_units = "" };
  bc_spool s;
  cr_assert_eq(bc_spool_init(&s, (uint64_t)NT * NX * 8, g_folder, NULL), BC_OK);
  cr_assert_gt(s.fd, 0);
  cr_assert_eq(files_in_folder(), 0, "the temporary file has no name");
  cr_assert_eq(bc_spool_put(&s, value, NT * NX, NULL), BC_OK);
  int8_t back[300];
  cr_assert_eq(bc_spool_get(&s, 5000, back, sizeof back, NULL), BC_OK);
  cr_assert_eq(memcmp(back, value + 5000, sizeof back), 0);
  cr_assert_eq(bc_spool_get(&s, (uint64_t)NT * NX - 10, back, 11, NULL), BC_E_INTERNAL);
  bc_spool_dispose(&s);
  bc_var b = a;
  b.name = "b";
  const bc_var *const vars[] = { &a, &b };
  const void *const data[] = { value, value + 1 };
  write_ok(2, vars, data, "w.csv");
  f = fopen(in_folder("w.csv"), "r");
  cr_assert_not_null(f);
  while (fgets(line, sizeof line, f) != NULL) {
    if (++rows != 50000) continue;
    const long i = rows - 2;
    (void)snprintf(want, sizeof want, ",10,%.15g,%d,%d\n", lon[i % NX], (int)(i % 101), (int)((i + 1) % 101));
    cr_assert_str_eq(strchr(line, ','), want);
  }
  cr_assert_eq(rows, 1 + 40 * NX);
  (void)fclose(f);
  free(value);
}

Test(text, table_shows_both_ends_and_totals)
{
  source s;
  bc_err err;
  const float values[] = { 273.15F, 273.2F, 280, 281, NAN, 282, 283.5F, 284, 285, 286, 287, 288.25F };
  const bc_var *const vars[] = { &k_t2m, &k_lsm };
  const void *const data[] = { values, values };
  bc_sink_opts o = BC_SINK_OPTS_INIT;
  o.max_rows = 3;
  source_init(&s, 2, vars, data);
  cr_assert_eq(bc_sink_write(&s.stream, in_folder("a.txt"), &o, &err), BC_OK, "%s", err.msg);
  expect_text("a.txt", "time               latitude  longitude     t2m     lsm\n"
                       "UTC                    degN       degE       K        \n"
                       "2019-03-01            51.50      -0.25  273.15  273.15\n"
                       "2019-03-01            51.50       0.00  273.20  273.20\n"
                       "...                     ...        ...     ...     ...\n"
                       "2019-03-01T02:00Z     51.25       0.00  288.25  281.00\n"
                       "12 rows (3 times x 2 latitudes x 2 longitudes)\n"
                       "t2m: 12 values, 1 missing, min 273.15, mean 282.1, max 288.25 K\n"
                       "lsm: 4 values, 0 missing, min 273.15, mean 276.838, max 281\n");
}

/* ---- numbers ---- */

static int digits(const char *s)
{
  int n = 0, zeros = 0;
  bool lead = true;
  for (; *s != '\0' && *s != 'e'; s++) {
    if (*s < '0' || *s > '9') continue;
    if (lead && *s == '0') continue;
    lead = false;
    zeros = *s == '0' ? zeros + 1 : 0;
    n++;
  }
  return n - zeros;
}

Test(text, float_text_is_shortest_and_reads_back)
{
  uint64_t r = 42;
  char text[BC_NUM_TEXT], shorter[64];

  for (int i = 0; i < 200000; i++) {
    r = r * 6364136223846793005u + 1442695040888963407u;
    uint32_t bits = (uint32_t)(r >> 32);
    if (i % 2 == 0) bits = (bits & 0x807fffffu) | ((110u + bits % 40u) << 23); /* of the size of real data */
    float v;
    memcpy(&v, &bits, sizeof v);
    if (!isfinite(v)) continue;
    (void)bc_text_f32(text, v);
    cr_assert_eq(strtof(text, NULL), v, "%s for %.9g", text, (double)v);
    const int n = digits(text);
    if (n <= 1 || v == 0 || fabsf(v) >= 1e7F) continue; /* large integers are written in full */
    (void)snprintf(shorter, sizeof shorter, "%.*e", n - 2, (double)v);
    cr_assert_neq(strtof(shorter, NULL), v, "%s, but %s would do", text, shorter);
  }
}

Test(text, number_text_cases)
{
  static const struct {
    float v;
    const char *want;
  } cases[] = { { 0, "0" },
                { -0.0F, "-0" },
                { 1, "1" },
                { 100, "100" },
                { 123456792, "123456792" },
                { 0.1F, "0.1" },
                { 1e9F, "1e+09" },
                { 1e-4F, "0.0001" },
                { 9.9e-5F, "9.9e-05" },
                { 1e-45F, "1e-45" },
                { 8388608, "8388608" },
                { INFINITY, "inf" },
                { -INFINITY, "-inf" },
                { 273.16F, "273.16" } };
  char text[BC_NUM_TEXT];
  double d = 0;
  for (size_t i = 0; i < BC_ARRAY_LEN(cases); i++) {
    (void)bc_text_f32(text, cases[i].v);
    cr_assert_str_eq(text, cases[i].want);
  }
  (void)bc_text_f64(text, 0.1);
  cr_assert_str_eq(text, "0.1");
  (void)bc_text_f64(text, 0.1 + 0.2);
  cr_assert_str_eq(text, "0.30000000000000004");
  cr_assert(bc_number_parse("1e-3", &d) && d == 1e-3);
  cr_assert(!bc_number_parse("1e-3 m", &d) && !bc_number_parse("", &d) && !bc_number_parse(" 1", &d));
}

/* ---- JSON writer ---- */

Test(text, json_writer)
{
  bc_json *j = NULL;
  const char *text = NULL;
  cr_assert_eq(bc_json_open(true, &j, NULL), BC_OK);
  bc_json_begin_object(j, NULL);
  bc_json_str(j, "text", "a\"\\\n\x01\xff\xc2\xb0\xed\xa0\x80");
  bc_json_begin_array(j, "list");
  bc_json_int(j, NULL, INT64_MIN);
  bc_json_uint(j, NULL, UINT64_MAX);
  bc_json_num(j, NULL, 0.1);
  bc_json_num(j, NULL, (double)NAN);
  bc_json_bool(j, NULL, true);
  bc_json_time(j, NULL, 0);
  bc_json_time(j, NULL, BC_TIME_STATIC);
  bc_json_end(j);
  bc_json_begin_object(j, "empty");
  bc_json_end(j);
  bc_json_str(j, "none", NULL);
  bc_json_end(j);
  cr_assert_eq(bc_json_text(j, &text, NULL, NULL), BC_OK);
  cr_assert_str_eq(
      text,
      "{\n  \"text\": \"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\xc2\xb0\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",\n"
      "  \"list\": [\n    -9223372036854775808,\n    18446744073709551615,\n    0.1,\n    null,\n"
      "    true,\n    \"1970-01-01T00:00:00Z\",\n    null\n  ],\n  \"empty\": {},\n  \"none\": null\n}\n");
  bc_json_close(j);
}

Test(text, json_writer_tells_misuse)
{
  for (int kind = 0; kind < 6; kind++) {
    bc_json *j = NULL;
    const char *text = NULL;
    bc_err err;
    cr_assert_eq(bc_json_open(false, &j, NULL), BC_OK);
    if (kind > 0) bc_json_begin_object(j, NULL);
    if (kind == 1) bc_json_int(j, NULL, 1); /* no key */
    if (kind == 3) bc_json_begin_array(j, "a");
    if (kind == 3) bc_json_int(j, "k", 1); /* a key in an array */
    if (kind == 3) bc_json_end(j);
    if (kind == 4) bc_json_end(j);
    if (kind == 4) bc_json_begin_object(j, NULL); /* a second value */
    if (kind == 5) bc_json_end(j);
    if (kind != 2 && kind > 0) bc_json_end(j); /* 2: left open; 5: ended once too often */
    cr_assert_eq(bc_json_text(j, &text, NULL, &err), BC_E_INTERNAL, "kind %d", kind);
    bc_json_close(j);
  }
}
