#include "tools/mkopt.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char k_help[] =
    "usage: mkcube [--set hourly|static|monthly-climate] [options] -o FILE.nc (monthly-climate: -o FOLDER)\n"
    "\n"
    "Writes netCDF as the Climate Data Store delivers it, with made-up weather in it.\n"
    "\n"
    "What to make\n"
    "  --set hourly            variables of --var in time (default)\n"
    "  --set static            z, lsm, slt at one time\n"
    "  --set monthly-climate   surface.nc, edaphic.nc, climate.nc, misc.nc, atmospheric.nc in a folder:\n"
    "                          24 planes and 5 variables on 13 levels a month, 161 x 281 nodes\n"
    "  --var LIST              t2m,u10,v10,msl (default); --list shows all\n"
    "  --level LIST            for z,t,u,v,q: hPa in the order to write (default 1000,850,500)\n"
    "  --bbox W,S,E,N          area in degrees (default the globe, 0..359.75)\n"
    "  --res DEGREES           distance of nodes (default 0.25)\n"
    "  --from DATE --to DATE   2019-03, 2019-03-05, 2019-03-05T06; the end is included whole\n"
    "  --step 1h|6h|1d|1mo     time step (default 1h)\n"
    "  --seed N                another world (default 1)\n"
    "\n"
    "How to write it\n"
    "  -o PATH                 file, or folder of the monthly set\n"
    "  --layout newcds         netCDF-4, float32, valid_time (default)\n"
    "  --layout legacy         64-bit offset, packed int16, hours since 1900\n"
    "  --deflate N             0 to 9, with shuffle (default 1; newcds)\n"
    "  --chunk-steps N         steps in a chunk (default: what makes 4 MiB)\n"
    "  --overwrite             replace what is there\n"
    "  --quiet                 no words\n"
    "\n"
    "examples\n"
    "  mkcube --var t2m --bbox -10,50,2,58 --from 2019-03 --to 2019-03 -o t2m.nc\n"
    "  mkcube --var t,z --level 850,500 --step 6h --from 2020-01-01 --to 2020-01-31 -o pl.nc\n"
    "  mkcube --set monthly-climate --from 2000-01 --to 2020-06 -o monthly\n"
    "  mkcube --set static -o static.nc\n";

void mk_say(const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  fputs("mkcube: ", stderr);
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
  va_end(ap);
}

/* ---- dates ---- */

int64_t mk_days(int64_t y, int m, int d)
{
  y -= m <= 2;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int month_days(int64_t y, int m)
{
  return (int)(mk_days(m == 12 ? y + 1 : y, m == 12 ? 1 : m + 1, 1) - mk_days(y, m, 1));
}

static int64_t month_start(int64_t month) /* months since year 0 */
{
  return mk_days(month / 12, (int)(month % 12) + 1, 1) * MK_DAY;
}

bool mk_parse_date(const char *text, int64_t *begin, int64_t *end)
{
  int y = 0, m = 1, d = 1, h = 0, used[4] = { 0, 0, 0, 0 };
  const int n =
      sscanf(text, "%4d%n-%2d%n-%2d%n%*1[T ]%2d%n", &y, &used[0], &m, &used[1], &d, &used[2], &h, &used[3]);
  if (n < 1 || y < 1 || m < 1 || m > 12 || d < 1 || d > month_days(y, m) || h < 0 || h > 23) return false;
  const char *rest = text + used[n - 1];
  if (*rest && !(n == 4 && (strcmp(rest, ":00") == 0 || strcmp(rest, ":00:00") == 0))) return false;
  *begin = mk_days(y, m, d) * MK_DAY + (int64_t)h * 3600;
  const int64_t month = (int64_t)y * 12 + m - 1;
  *end = n == 1   ? month_start(month + 12)
         : n == 2 ? month_start(month + 1)
                  : *begin + (n == 3 ? MK_DAY : 3600);
  return true;
}

static bool parse_step(const char *text, int64_t *step)
{
  char *rest = NULL;
  const double n = strtod(text, &rest);
  if (!(n >= 1 && n <= 366) || n != floor(n)) return false;
  if (strcmp(rest, "h") == 0)
    *step = (int64_t)n * 3600;
  else if (strcmp(rest, "d") == 0)
    *step = (int64_t)n * MK_DAY;
  else if (strcmp(rest, "mo") == 0 && n == 1)
    *step = 0;
  else
    return false;
  return true;
}

/* ---- axes ---- */

void mk_axes_free(mk_axes *a)
{
  free(a->lat);
  free(a->lon);
  free(a->time);
  *a = (mk_axes){ 0 };
}

static bool make_space(const mk_options *o, mk_axes *a)
{
  const double rows = (o->north - o->south) / o->res;
  double width = o->east - o->west;
  if (width < 0) width += 360;
  const double whole = 360 / o->res, cols = width / o->res;
  a->ny = (size_t)floor(rows + 1e-6) + 1;
  a->nx = (size_t)floor(cols + 1e-6) + 1;
  if ((double)a->nx > whole) a->nx = (size_t)floor(whole + 1e-6);
  a->lat = malloc(a->ny * sizeof *a->lat);
  a->lon = malloc(a->nx * sizeof *a->lon);
  if (!a->lat || !a->lon) return false;
  for (size_t i = 0; i < a->ny; i++)
    a->lat[i] = round((o->north - (double)i * o->res) * 1e6) / 1e6;
  for (size_t j = 0; j < a->nx; j++)
    a->lon[j] = round((o->west + (double)j * o->res) * 1e6) / 1e6;
  return true;
}

/* First of the months, counted from year 0, that does not begin before t. */
static int64_t month_from(int64_t t)
{
  int64_t month = t / (31 * MK_DAY) + (int64_t)1970 * 12; /* not after the right one */
  if (t < 0) month = 0;
  while (month_start(month) < t)
    month++;
  return month;
}

static bool make_times(const mk_options *o, mk_axes *a)
{
  const int64_t first = o->step > 0 ? 0 : month_from(o->from);
  a->nt =
      o->step > 0 ? (size_t)((o->to - o->from + o->step - 1) / o->step) : (size_t)(month_from(o->to) - first);
  a->time = malloc((a->nt + 1) * sizeof *a->time);
  for (size_t i = 0; a->time && i < a->nt; i++)
    a->time[i] = o->step > 0 ? o->from + (int64_t)i * o->step : month_start(first + (int64_t)i);
  return a->time != NULL;
}

bool mk_axes_make(const mk_options *o, mk_axes *a) { return make_space(o, a) && make_times(o, a); }

/* ---- options ---- */

static bool parse_numbers(const char *text, double *out, size_t max, size_t *n)
{
  *n = 0;
  for (const char *p = text;; p++) {
    char *rest = NULL;
    if (*n == max) return false;
    out[(*n)++] = strtod(p, &rest);
    if (rest == p || !isfinite(out[*n - 1])) return false;
    p = rest;
    if (*p == '\0') return true;
    if (*p != ',') return false;
  }
}

bool mk_parse_vars(mk_options *o, const char *text)
{
  o->n_vars = 0;
  while (*text) {
    const size_t n = strcspn(text, ",");
    char name[32] = "";
    if (n < sizeof name) memcpy(name, text, n);
    const mk_var *v = o->levels_given ? mk_var_find(name, true) : NULL;
    if (!v) v = mk_var_find(name, false);
    if (!v) v = mk_var_find(name, true);
    if (!v) {
      mk_say("no variable \"%.*s\": mkcube --list shows what there is", (int)n, text);
      return false;
    }
    if (o->n_vars == MK_MAX_VARS) {
      mk_say("--var takes at most %d names", MK_MAX_VARS);
      return false;
    }
    o->vars[o->n_vars++] = v;
    text += n;
    if (*text == ',') text++;
  }
  if (o->n_vars == 0) mk_say("--var: no name given");
  return o->n_vars > 0;
}

static bool parse_bbox(mk_options *o, const char *text)
{
  double b[4];
  size_t n;
  if (!parse_numbers(text, b, 4, &n) || n != 4 || b[1] > b[3] || b[1] < -90 || b[3] > 90 ||
      fabs(b[0]) > 360 || fabs(b[2]) > 360)
    return false;
  o->west = b[0];
  o->south = b[1];
  o->east = b[2];
  o->north = b[3];
  return true;
}

static bool parse_whole(const char *text, double max, double *out)
{
  size_t n;
  return parse_numbers(text, out, 1, &n) && *out >= 0 && *out <= max && *out == floor(*out);
}

static void list_variables(void)
{
  size_t n;
  const mk_var *v = mk_var_table(&n);
  for (size_t i = 0; i < n; i++)
    printf("%-14s %-16s %s%s\n", v[i].name, v[i].units, v[i].long_name,
           v[i].levelled ? ", on pressure levels" : "");
}

static bool bad(const char *name, const char *found, const char *expected)
{
  mk_say("%s %s: expected %s", name, found, expected);
  return false;
}

/* One option with its value; false after a message. */
static bool set_option(mk_options *o, const char *name, const char *v)
{
  int64_t unused;
  double x = 0;
  if (strcmp(name, "-o") == 0) {
    o->out = v;
  } else if (strcmp(name, "--set") == 0) {
    if (strcmp(v, "hourly") != 0 && strcmp(v, "static") != 0 && strcmp(v, "monthly-climate") != 0)
      return bad(name, v, "hourly, static or monthly-climate");
    o->set = v;
  } else if (strcmp(name, "--layout") == 0) {
    if (strcmp(v, "newcds") != 0 && strcmp(v, "legacy") != 0) return bad(name, v, "newcds or legacy");
    o->legacy = strcmp(v, "legacy") == 0;
  } else if (strcmp(name, "--level") == 0) {
    if (!parse_numbers(v, o->levels, MK_MAX_LEVELS, &o->n_levels))
      return bad(name, v, "numbers like 1000,850,500");
  } else if (strcmp(name, "--bbox") == 0) {
    if (!parse_bbox(o, v)) return bad(name, v, "W,S,E,N in degrees, S not above N");
  } else if (strcmp(name, "--res") == 0) {
    size_t n;
    if (!parse_numbers(v, &o->res, 1, &n) || !(o->res >= 0.01 && o->res <= 30))
      return bad(name, v, "0.01 to 30 degrees");
  } else if (strcmp(name, "--from") == 0) {
    if (!mk_parse_date(v, &o->from, &unused)) return bad(name, v, "a date like 2019-03 or 2019-03-05T06");
  } else if (strcmp(name, "--to") == 0) {
    if (!mk_parse_date(v, &unused, &o->to)) return bad(name, v, "a date like 2019-03 or 2019-03-05T06");
  } else if (strcmp(name, "--step") == 0) {
    if (!parse_step(v, &o->step)) return bad(name, v, "hours, days or a month: 1h, 6h, 1d, 1mo");
  } else if (strcmp(name, "--seed") == 0) {
    if (!parse_whole(v, 9007199254740992.0, &x)) return bad(name, v, "a whole number");
    o->seed = (uint64_t)x;
  } else if (strcmp(name, "--deflate") == 0) {
    if (!parse_whole(v, 9, &x)) return bad(name, v, "0 to 9");
    o->deflate = (int)x;
  } else if (strcmp(name, "--chunk-steps") == 0) {
    if (!parse_whole(v, 1e6, &x)) return bad(name, v, "a whole number of steps");
    o->chunk_steps = (size_t)x;
  } else if (strcmp(name, "--var") != 0) { /* --var is read last: it needs to know of --level */
    mk_say("no option %s: see mkcube --help", name);
    return false;
  }
  return true;
}

int mk_parse_args(mk_options *o, int argc, char **argv)
{
  const char *vars = "t2m,u10,v10,msl";
  for (int i = 1; i < argc; i++) {
    const char *a = argv[i];
    if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
      fputs(k_help, stdout);
      return 1;
    }
    if (strcmp(a, "--list") == 0) {
      list_variables();
      return 1;
    }
    if (strcmp(a, "--overwrite") == 0) {
      o->overwrite = true;
    } else if (strcmp(a, "--quiet") == 0) {
      o->quiet = true;
    } else if (i + 1 == argc) {
      mk_say("%s: %s", a,
             a[0] == '-' ? "a value must follow, or no such option: see mkcube --help"
                         : "what is this? files are given by -o");
      return 3;
    } else {
      if (strcmp(a, "--var") == 0) vars = argv[i + 1];
      if (strcmp(a, "--level") == 0) o->levels_given = true;
      if (!set_option(o, a, argv[++i])) return 3;
    }
  }
  if (!o->out) {
    mk_say("where to? give -o FILE (mkcube --help)");
    return 3;
  }
  return mk_parse_vars(o, vars) ? 0 : 3;
}
