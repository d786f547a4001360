#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "query/select.h"

#define DAY INT64_C(86400)

typedef struct text_case {
  const char *option, *text;
  bc_status st;
  const char *says; /* part of the message */
} text_case;

static bc_status apply(bc_select *s, const char *option, const char *text, bc_err *err)
{
  if (strcmp(option, "var") == 0) return bc_select_add_vars(s, text, err);
  if (strcmp(option, "bbox") == 0) return bc_select_set_bbox(s, text, err);
  if (strcmp(option, "at") == 0) return bc_select_add_at(s, text, err);
  if (strcmp(option, "time") == 0) return bc_select_set_time(s, text, err);
  if (strcmp(option, "level") == 0) return bc_select_add_levels(s, text, err);
  if (strcmp(option, "agg") == 0) return bc_select_set_agg(s, text, err);
  return bc_select_set_every(s, text, err);
}

static const text_case k_cases[] = {
  { "var", "t2m", BC_OK, "" },
  { "var", "t2m,atmospheric/z,swvl*", BC_OK, "" },
  { "var", " t2m , d2m ", BC_OK, "" },
  { "var", "", BC_E_INVAL, "empty name" },
  { "var", "t2m,,d2m", BC_E_INVAL, "empty name" },
  { "var", "t2m,", BC_E_INVAL, "empty name" },
  { "var", "t2m;d2m", BC_E_INVAL, "character 4" },
  { "var", "t 2m", BC_E_INVAL, "character 2" },
  { "bbox", "-10,50,2,58", BC_OK, "" },
  { "bbox", " -10 , 50 , 2 , 58 ", BC_OK, "" },
  { "bbox", "170,-10,-170,10", BC_OK, "" },
  { "bbox", "0,-90,360,90", BC_OK, "" },
  { "bbox", "1e1,5.0e1,+20,.5e2", BC_OK, "" },
  { "bbox", "", BC_E_INVAL, "not a number" },
  { "bbox", "1,2,3", BC_E_INVAL, "3 values found" },
  { "bbox", "1,2,3,4,5", BC_E_INVAL, "5 values found" },
  { "bbox", "1,2,x,4", BC_E_INVAL, "\"x\" is not a number" },
  { "bbox", "1,2,nan,4", BC_E_INVAL, "not a number" },
  { "bbox", "1,2,inf,4", BC_E_INVAL, "not a number" },
  { "bbox", "1,2,0x3,4", BC_E_INVAL, "not a number" },
  { "bbox", "1,2,3e,4", BC_E_INVAL, "not a number" },
  { "bbox", "1,2,1e999,4", BC_E_INVAL, "not a number" },
  { "bbox", "1,2,.,4", BC_E_INVAL, "not a number" },
  { "bbox", "1,60,3,50", BC_E_INVAL, "lies north" },
  { "bbox", "1,-91,3,50", BC_E_INVAL, "-91" },
  { "bbox", "1,0,3,90.5", BC_E_INVAL, "90.5" },
  { "bbox", "-361,0,3,50", BC_E_INVAL, "-361" },
  { "bbox", "-200,0,200,50", BC_E_INVAL, "at most 360" },
  { "at", "52.5,13.4", BC_OK, "" },
  { "at", "52.5", BC_E_INVAL, "1 value found" },
  { "at", "95,13", BC_E_INVAL, "latitude 95" },
  { "at", "9,400", BC_E_INVAL, "longitude 400" },
  { "at", "a,b", BC_E_INVAL, "not a number" },
  { "time", "2019-03", BC_OK, "" },
  { "time", "2000/2020", BC_OK, "" },
  { "time", "../2010", BC_OK, "" },
  { "time", "2010/..", BC_OK, "" },
  { "time", "..", BC_OK, "" },
  { "time", "", BC_E_INVAL, "" },
  { "time", "/2010", BC_E_INVAL, "" },
  { "time", "2010/", BC_E_INVAL, "" },
  { "time", "2010/2011/2012", BC_E_INVAL, "more than one" },
  { "time", "2020/2010", BC_E_INVAL, "ends before it begins" },
  { "time", "2019-13", BC_E_INVAL, "" },
  { "time", "yesterday", BC_E_INVAL, "" },
  { "level", "500", BC_OK, "" },
  { "level", "500,850.5", BC_OK, "" },
  { "level", "500,", BC_E_INVAL, "not a number" },
  { "level", "500hPa", BC_E_INVAL, "\"500hPa\"" },
  { "agg", "mean:1d", BC_OK, "" },
  { "agg", "count:1mo", BC_OK, "" },
  { "agg", "mean", BC_E_INVAL, "such as mean:1d" },
  { "agg", "median:1d", BC_E_INVAL, "expected mean" },
  { "agg", "none:1d", BC_E_INVAL, "expected mean" },
  { "agg", "mean:", BC_E_INVAL, "" },
  { "agg", ":1d", BC_E_INVAL, "" },
  { "agg", "mean:0d", BC_E_INVAL, "" },
  { "agg", "mean:1d:2", BC_E_INVAL, "" },
  { "every", "3", BC_OK, "" },
  { "every", "3,2", BC_OK, "" },
  { "every", "0", BC_E_INVAL, "whole numbers" },
  { "every", "-1", BC_E_INVAL, "whole numbers" },
  { "every", "1.5", BC_E_INVAL, "whole numbers" },
  { "every", "1,2,3", BC_E_INVAL, "whole numbers" },
  { "every", "", BC_E_INVAL, "whole numbers" },
  { "every", "99999999999", BC_E_INVAL, "whole numbers" },
};

Test(select, texts)
{
  for (size_t i = 0; i < sizeof k_cases / sizeof k_cases[0]; i++) {
    const text_case *c = &k_cases[i];
    bc_select s;
    bc_err err = { .msg = "" };
    bc_select_init(&s);
    const bc_status st = apply(&s, c->option, c->text, &err);
    cr_expect_eq(st, c->st, "%s \"%s\" gave %s: %s", c->option, c->text, bc_status_name(st), err.msg);
    if (st != BC_OK)
      cr_expect_not_null(strstr(err.msg, c->says), "%s \"%s\": \"%s\" does not say \"%s\"", c->option,
                         c->text, err.msg, c->says);
    cr_expect_eq(apply(&s, c->option, c->text, NULL), c->st, "%s \"%s\" without an error record", c->option,
                 c->text);
    bc_select_dispose(&s);
    bc_select_dispose(&s);
  }
}

Test(select, values)
{
  bc_select s;
  bc_err err;
  bc_select_init(&s);
  cr_assert_eq(bc_select_add_vars(&s, "t2m, atmospheric/z", &err), BC_OK);
  cr_assert_eq(bc_select_add_vars(&s, "swvl*", &err), BC_OK);
  cr_assert_eq(s.n_vars, 3);
  cr_expect_str_eq(s.vars[1], "atmospheric/z");
  cr_expect_str_eq(s.vars[2], "swvl*");
  cr_assert_eq(bc_select_set_bbox(&s, "-10.25,50.1,2,58", &err), BC_OK);
  cr_expect(s.has_bbox && s.west == -10.25 && s.south == 50.1 && s.east == 2 && s.north == 58);
  for (int i = 0; i < 100; i++)
    cr_assert_eq(bc_select_add_at(&s, "52.123456789,13.3e0", &err), BC_OK);
  cr_assert_eq(s.n_points, 100);
  cr_expect(s.points[99].lat == 52.123456789 && s.points[99].lon == 13.3);
  cr_assert_eq(bc_select_add_levels(&s, "500,850", &err), BC_OK);
  cr_assert_eq(bc_select_add_levels(&s, "1000", &err), BC_OK);
  cr_expect(s.n_levels == 3 && s.levels[0] == 500 && s.levels[2] == 1000);
  cr_assert_eq(bc_select_set_agg(&s, "max:10d", &err), BC_OK);
  cr_expect(s.agg == BC_AGG_MAX && s.period.n == 10 * DAY && s.period.dekads && !s.period.months);
  cr_expect_str_eq(bc_agg_name(s.agg), "max");
  cr_assert_eq(bc_select_set_every(&s, "4,2", &err), BC_OK);
  cr_expect(s.every_time == 4 && s.every_space == 2);
  bc_select_dispose(&s);
  cr_expect(s.n_vars == 0 && s.n_points == 0 && s.every_time == 1);
}

Test(select, times)
{
  bc_select s;
  bc_err err;
  const int64_t y2019 = bc_days_from_civil(2019, 1, 1) * DAY, y2020 = bc_days_from_civil(2020, 1, 1) * DAY;
  bc_select_init(&s);
  cr_expect(s.t_begin == BC_TIME_OPEN_BEGIN && s.t_end == BC_TIME_OPEN_END);
  cr_assert_eq(bc_select_set_time(&s, "2019", &err), BC_OK);
  cr_expect(s.t_begin == y2019 && s.t_end == y2020);
  cr_assert_eq(bc_select_set_time(&s, "2019-01-01T06/2019-01-02", &err), BC_OK);
  cr_expect(s.t_begin == y2019 + 6 * 3600 && s.t_end == y2019 + 2 * DAY);
  cr_assert_eq(bc_select_set_time(&s, "../2019", &err), BC_OK);
  cr_expect(s.t_begin == BC_TIME_OPEN_BEGIN && s.t_end == y2020);
  cr_assert_eq(bc_select_set_time(&s, "2019/..", &err), BC_OK);
  cr_expect(s.t_begin == y2019 && s.t_end == BC_TIME_OPEN_END);
  cr_assert_neq(bc_select_set_time(&s, "2021/2020", &err), BC_OK);
  cr_expect(s.t_begin == y2019, "a refused text changes nothing");
  bc_select_dispose(&s);
}

/* ---- points from a file ---- */

static bc_status points_from(const char *text, size_t n, bc_select *s, bc_err *err)
{
  char path[] = "/tmp/bc-points-XXXXXX";
  const int fd = mkstemp(path);
  cr_assert_geq(fd, 0);
  cr_assert_eq(write(fd, text, n), (ssize_t)n);
  (void)close(fd);
  bc_select_init(s);
  const bc_status st = bc_select_add_points_file(s, path, err);
  (void)unlink(path);
  return st;
}

typedef struct csv_case {
  const char *text;
  bc_status st;
  size_t n;         /* points */
  double lat, lon;  /* of the last one */
  const char *says; /* part of the message */
} csv_case;

static const csv_case k_files[] = {
  { "lat,lon\n1,2\n3.5,-4.25\n", BC_OK, 2, 3.5, -4.25, "" },
  { "lon,lat\n1,2\n", BC_OK, 1, 2, 1, "" },
  { "\xef\xbb\xbf"
    "Latitude;name;Longitude\r\n1;\"a;b\nc\"\"d\";2\r\n\r\n",
    BC_OK, 1, 1, 2, "" },
  { "id\tdecimalLatitude\tdecimalLongitude\n7\t-1\t350", BC_OK, 1, -1, 350, "" },
  { "\"lat\",\"lon\"\n\"1\",\" 2 \"\n", BC_OK, 1, 1, 2, "" },
  { "", BC_E_INVAL, 0, 0, 0, "no column named lat" },
  { "lat,x\n1,2\n", BC_E_INVAL, 0, 0, 0, "no column named lon" },
  { "lat,lon\n", BC_E_INVAL, 0, 0, 0, "no row" },
  { "lat,lon\n1,2\n1,x\n", BC_E_INVAL, 0, 0, 0, "line 3, column lon: \"x\"" },
  { "lat,lon\n1,2\n,3\n", BC_E_INVAL, 0, 0, 0, "line 3, column lat: \"\"" },
  { "lat,lon\n91,2\n", BC_E_INVAL, 0, 0, 0, "line 2, column lat: 91" },
  { "lat,lon\n1,361\n", BC_E_INVAL, 0, 0, 0, "line 2, column lon: 361" },
  { "lat,lon\n1\n", BC_E_INVAL, 0, 0, 0, "line 2: 1 columns" },
  { "lat,lon\n1,\"2\n", BC_E_INVAL, 0, 0, 0, "quoted" },
};

Test(select, point_files)
{
  for (size_t i = 0; i < sizeof k_files / sizeof k_files[0]; i++) {
    const csv_case *c = &k_files[i];
    bc_select s;
    bc_err err = { .msg = "" };
    const bc_status st = points_from(c->text, strlen(c->text), &s, &err);
    cr_expect_eq(st, c->st, "file %zu gave %s: %s", i, bc_status_name(st), err.msg);
    cr_expect_eq(s.n_points, c->n, "file %zu", i);
    if (st == BC_OK && s.n_points > 0)
      cr_expect(s.points[c->n - 1].lat == c->lat && s.points[c->n - 1].lon == c->lon, "file %zu", i);
    if (st != BC_OK) cr_expect_not_null(strstr(err.msg, c->says), "file %zu: %s", i, err.msg);
    bc_select_dispose(&s);
  }
}

Test(select, a_missing_file_is_named)
{
  bc_select s;
  bc_err err = { .msg = "" };
  bc_select_init(&s);
  cr_expect_eq(bc_select_add_points_file(&s, "/tmp/bc-no-such-file.csv", &err), BC_E_NOTFOUND);
  cr_expect_not_null(strstr(err.msg, "bc-no-such-file.csv"), "%s", err.msg);
}
