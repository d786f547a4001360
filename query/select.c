#include "query/select.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "store/base.h"
#include "store/os.h"

#define POINTS_FILE_MAX ((size_t)1 << 30)
#define LIST_MAX        ((size_t)1 << 27) /* entries of one list */

static const char *const k_aggs[] = { "none", "mean", "min", "max", "sum", "first", "count" };

const char *bc_agg_name(bc_agg a) { return (size_t)a < BC_ARRAY_LEN(k_aggs) ? k_aggs[a] : "unknown"; }

void bc_select_init(bc_select *s)
{
  memset(s, 0, sizeof *s);
  s->version = BC_SELECT_VERSION;
  s->t_begin = BC_TIME_OPEN_BEGIN;
  s->t_end = BC_TIME_OPEN_END;
  s->every_time = 1;
  s->every_space = 1;
}

void bc_select_dispose(bc_select *s)
{
  if (s == NULL) return;
  for (size_t i = 0; i < s->n_vars; i++)
    bc_free(s->vars[i]);
  bc_free(s->vars);
  bc_free(s->points);
  bc_free(s->levels);
  bc_select_init(s);
}

/* ---- small parts of texts ---- */

static bc_str text_of(const char *s) { return (bc_str){ s, strlen(s) }; }

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static bc_str trim(bc_str s)
{
  while (s.n > 0 && is_blank(s.p[0])) {
    s.p++;
    s.n--;
  }
  while (s.n > 0 && is_blank(s.p[s.n - 1]))
    s.n--;
  return s;
}

/* Takes the part before the next separator off *rest; false when nothing is left. */
static bool next_part(bc_str *rest, char sep, bc_str *part)
{
  if (rest->p == NULL) return false;
  const char *end = memchr(rest->p, sep, rest->n);
  const size_t n = end == NULL ? rest->n : (size_t)(end - rest->p);
  *part = trim((bc_str){ rest->p, n });
  if (end == NULL)
    *rest = (bc_str){ NULL, 0 };
  else
    *rest = (bc_str){ end + 1, rest->n - n - 1 };
  return true;
}

static double scale10(double v, int e)
{
  static const double k_pow[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
  for (; e > 22; e -= 22)
    v *= k_pow[22];
  for (; e < -22; e += 22)
    v /= k_pow[22];
  return e < 0 ? v / k_pow[-e] : v * k_pow[e];
}

/* Digits of a mantissa: up to 19 are kept, the rest only move the exponent. */
static size_t read_digits(bc_str s, size_t i, uint64_t *m, int *kept, int *exp10, bool fraction)
{
  for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
    if (*kept < 19) {
      *m = *m * 10 + (uint64_t)(s.p[i] - '0');
      if (*m != 0) (*kept)++;
      if (fraction) (*exp10)--;
    } else if (!fraction) {
      (*exp10)++;
    }
  }
  return i;
}

static size_t read_exponent(bc_str s, size_t i, int *exp10)
{
  const bool neg = i < s.n && s.p[i] == '-';
  int e = 0;
  size_t j = i + (size_t)(i < s.n && (s.p[i] == '-' || s.p[i] == '+'));
  const size_t first = j;
  for (; j < s.n && s.p[j] >= '0' && s.p[j] <= '9'; j++)
    if (e < 10000) e = e * 10 + (s.p[j] - '0');
  *exp10 += neg ? -e : e;
  return j == first ? s.n + 1 : j; /* no digit: an end that cannot be reached */
}

/* A decimal number, whole text. Not strtod: that depends on the locale and takes hexadecimals, nan and inf.
 * Exact up to 15 digits; beyond within one unit in the last place. */
static bool parse_number(bc_str s, double *out)
{
  uint64_t m = 0;
  int kept = 0, exp10 = 0;
  const bool neg = s.n > 0 && s.p[0] == '-';
  const size_t start = (size_t)(s.n > 0 && (s.p[0] == '-' || s.p[0] == '+'));

  size_t i = read_digits(s, start, &m, &kept, &exp10, false);
  size_t digits = i - start;
  if (i < s.n && s.p[i] == '.') {
    const size_t dot = i + 1;
    i = read_digits(s, dot, &m, &kept, &exp10, true);
    digits += i - dot;
  }
  if (digits == 0) return false;
  if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) i = read_exponent(s, i + 1, &exp10);
  if (i != s.n) return false;
  const double v = m == 0 ? 0.0 : scale10((double)m, BC_MAX(BC_MIN(exp10, 400), -400));
  if (!isfinite(v)) return false;
  *out = neg ? -v : v;
  return true;
}

static bool parse_count(bc_str s, int64_t *out)
{
  int64_t v = 0;
  if (s.n == 0 || s.n > 9) return false;
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] < '0' || s.p[i] > '9') return false;
    v = v * 10 + (s.p[i] - '0');
  }
  *out = v;
  return v > 0;
}

/* Room for one more in a list of n; grows to powers of two. */
static bc_status grow(void **list, size_t n, size_t elem, bc_err *err)
{
  if (n >= LIST_MAX) return BC_FAIL(err, BC_E_RANGE, "more than %zu entries in one selection", LIST_MAX);
  if (n != 0 && (n & (n - 1)) != 0) return BC_OK;
  void *p = bc_realloc(*list, (n == 0 ? 1 : n * 2) * elem);
  if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for %zu entries of a selection", n + 1);
  *list = p;
  return BC_OK;
}

static const char *show(bc_str s, char buf[64])
{
  const size_t n = BC_MIN(s.n, (size_t)60);
  memcpy(buf, s.p, n);
  memcpy(buf + n, s.n > n ? "..." : "", s.n > n ? 4 : 1);
  return buf;
}

/* ---- options ---- */

static bool is_name_char(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != '\0' && strchr("_.-/*?[]!^", c) != NULL);
}

static bc_status add_var(bc_select *s, bc_str name, const char *text, bc_err *err)
{
  char buf[64];
  if (name.n == 0)
    return BC_FAIL(err, BC_E_INVAL, "variables \"%.200s\": an empty name; expected t2m,surface/d2m,swvl*",
                   text);
  for (size_t i = 0; i < name.n; i++)
    if (!is_name_char(name.p[i]))
      return BC_FAIL(err, BC_E_INVAL,
                     "variable \"%s\": character %zu is not of a name; expected t2m, surface/d2m or swvl*",
                     show(name, buf), i + 1);
  void *list = s->vars;
  BC_RET(grow(&list, s->n_vars, sizeof *s->vars, err));
  s->vars = list;
  char *copy = bc_malloc(name.n + 1);
  if (copy == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a variable name");
  memcpy(copy, name.p, name.n);
  copy[name.n] = '\0';
  s->vars[s->n_vars++] = copy;
  return BC_OK;
}

bc_status bc_select_add_vars(bc_select *s, const char *text, bc_err *err)
{
  bc_str rest = text_of(text), part;
  while (next_part(&rest, ',', &part))
    BC_RET(add_var(s, part, text, err));
  return BC_OK;
}

/* Exactly n numbers between commas. */
static bc_status parse_numbers(const char *what, const char *text, const char *expected, double *v, size_t n,
                               bc_err *err)
{
  char buf[64];
  bc_str rest = text_of(text), part;
  size_t found = 0;
  for (; next_part(&rest, ',', &part); found++) {
    if (found < n && !parse_number(part, &v[found]))
      return BC_FAIL(err, BC_E_INVAL, "%s \"%.200s\": \"%s\" is not a number; expected %s", what, text,
                     show(part, buf), expected);
  }
  if (found != n)
    return BC_FAIL(err, BC_E_INVAL, "%s \"%.200s\": %zu value%s found; expected %s", what, text, found,
                   found == 1 ? "" : "s", expected);
  return BC_OK;
}

static bc_status check_lat(const char *what, const char *text, double lat, bc_err *err)
{
  if (lat >= -90 && lat <= 90) return BC_OK;
  return BC_FAIL(err, BC_E_INVAL, "%s \"%.200s\": latitude %g is not between -90 and 90", what, text, lat);
}

static bc_status check_lon(const char *what, const char *text, double lon, bc_err *err)
{
  if (lon >= -360 && lon <= 360) return BC_OK;
  return BC_FAIL(err, BC_E_INVAL, "%s \"%.200s\": longitude %g is not between -360 and 360", what, text, lon);
}

bc_status bc_select_set_bbox(bc_select *s, const char *text, bc_err *err)
{
  static const char k_expected[] = "west,south,east,north in degrees, such as -10,50,2,58";
  double v[4] = { 0, 0, 0, 0 };
  BC_RET(parse_numbers("box", text, k_expected, v, 4, err));
  BC_RET(check_lat("box", text, v[1], err));
  BC_RET(check_lat("box", text, v[3], err));
  BC_RET(check_lon("box", text, v[0], err));
  BC_RET(check_lon("box", text, v[2], err));
  if (v[1] > v[3])
    return BC_FAIL(err, BC_E_INVAL, "box \"%.200s\": south %g lies north of north %g; expected %s", text,
                   v[1], v[3], k_expected);
  if (v[2] - v[0] > 360)
    return BC_FAIL(err, BC_E_INVAL, "box \"%.200s\": %g degrees from west to east; expected at most 360",
                   text, v[2] - v[0]);
  s->has_bbox = true;
  s->west = v[0];
  s->south = v[1];
  s->east = v[2];
  s->north = v[3];
  return BC_OK;
}

static bc_status add_point(bc_select *s, double lat, double lon, bc_err *err)
{
  void *list = s->points;
  BC_RET(grow(&list, s->n_points, sizeof *s->points, err));
  s->points = list;
  s->points[s->n_points++] = (bc_point){ lat, lon };
  return BC_OK;
}

bc_status bc_select_add_at(bc_select *s, const char *text, bc_err *err)
{
  double v[2] = { 0, 0 };
  BC_RET(parse_numbers("point", text, "latitude,longitude in degrees, such as 52.5,13.4", v, 2, err));
  BC_RET(check_lat("point", text, v[0], err));
  BC_RET(check_lon("point", text, v[1], err));
  return add_point(s, v[0], v[1], err);
}

static bool is_open(bc_str s) { return s.n == 2 && s.p[0] == '.' && s.p[1] == '.'; }

bc_status bc_select_set_time(bc_select *s, const char *text, bc_err *err)
{
  const bc_str whole = trim(text_of(text));
  bc_str rest = whole, first, last;
  int64_t begin = BC_TIME_OPEN_BEGIN, end = BC_TIME_OPEN_END, ignored = 0;

  (void)next_part(&rest, '/', &first); /* always one part, maybe empty */
  if (!next_part(&rest, '/', &last)) last = first;
  if (rest.p != NULL)
    return BC_FAIL(err, BC_E_INVAL, "time \"%.200s\": more than one \"/\"; expected one instant or A/B",
                   text);
  if (!is_open(first)) BC_RET(bc_time_parse(first.p, first.n, &begin, &ignored, err));
  if (!is_open(last)) BC_RET(bc_time_parse(last.p, last.n, &ignored, &end, err));
  if (begin >= end)
    return BC_FAIL(err, BC_E_INVAL, "time \"%.200s\": it ends before it begins; expected A/B with A first",
                   text);
  s->t_begin = begin;
  s->t_end = end;
  return BC_OK;
}

bc_status bc_select_add_levels(bc_select *s, const char *text, bc_err *err)
{
  char buf[64];
  double v = 0;
  bc_str rest = text_of(text), part;
  while (next_part(&rest, ',', &part)) {
    if (!parse_number(part, &v))
      return BC_FAIL(err, BC_E_INVAL, "level \"%.200s\": \"%s\" is not a number; expected such as 500,850",
                     text, show(part, buf));
    void *list = s->levels;
    BC_RET(grow(&list, s->n_levels, sizeof *s->levels, err));
    s->levels = list;
    s->levels[s->n_levels++] = v;
  }
  return BC_OK;
}

bc_status bc_select_set_agg(bc_select *s, const char *text, bc_err *err)
{
  static const char k_expected[] =
      "mean, min, max, sum, first or count, a colon and a period, such as mean:1d";
  bc_str rest = text_of(text), name;
  bc_period period = { 0, false, false };

  (void)next_part(&rest, ':', &name); /* always one part, maybe empty */
  size_t a = 1;
  while (a < BC_ARRAY_LEN(k_aggs) && (strlen(k_aggs[a]) != name.n || memcmp(k_aggs[a], name.p, name.n) != 0))
    a++;
  if (a == BC_ARRAY_LEN(k_aggs) || rest.p == NULL)
    return BC_FAIL(err, BC_E_INVAL, "aggregation \"%.200s\": expected %s", text, k_expected);
  BC_RET(bc_period_parse(rest.p, &period, err));
  s->agg = (bc_agg)a;
  s->period = period;
  return BC_OK;
}

bc_status bc_select_set_every(bc_select *s, const char *text, bc_err *err)
{
  int64_t n[2] = { 1, 1 };
  size_t found = 0;
  bool good = true;
  bc_str rest = text_of(text), part;
  for (; next_part(&rest, ',', &part); found++)
    good = good && found < 2 && parse_count(part, &n[found]);
  if (!good)
    return BC_FAIL(
        err, BC_E_INVAL,
        "every \"%.200s\": expected N (every N-th step) or N,M (also every M-th node), whole numbers "
        "from 1",
        text);
  s->every_time = n[0];
  s->every_space = n[1];
  return BC_OK;
}

/* ---- points from a table ---- */

typedef struct csv {
  const char *path;
  bc_str text;
  size_t at, line; /* of the next field */
  char sep;
  bc_buf field; /* the last field read, unquoted */
} csv;

/* Reads one field; *last when it ends its row. Quotes may hold separators, line ends and doubled quotes. */
static bc_status csv_field(csv *c, bool *last, bc_err *err)
{
  bool quoted = false;
  c->field.n = 0;
  for (; c->at < c->text.n; c->at++) {
    const char ch = c->text.p[c->at];
    if (ch == '"') {
      const bool twice = quoted && c->at + 1 < c->text.n && c->text.p[c->at + 1] == '"';
      if (!twice) {
        quoted = !quoted;
        continue;
      }
      c->at++;
    } else if (!quoted && (ch == c->sep || ch == '\n')) {
      break;
    }
    c->line += ch == '\n';
    BC_RET(bc_buf_put(&c->field, &ch, 1, err));
  }
  if (quoted)
    return BC_FAIL(err, BC_E_INVAL, "%s: a quoted field does not end before the file does", c->path);
  *last = c->at >= c->text.n || c->text.p[c->at] == '\n';
  c->at += c->at < c->text.n;
  return BC_OK;
}

static bc_str csv_text(const csv *c) { return trim((bc_str){ (const char *)c->field.p, c->field.n }); }

static bool is_column(bc_str s, const char *const *names)
{
  for (; *names != NULL; names++) {
    size_t i = 0;
    while (i < s.n && (*names)[i] != '\0' && (s.p[i] | 0x20) == (*names)[i])
      i++;
    if (i == s.n && (*names)[i] == '\0') return true;
  }
  return false;
}

static char csv_separator(bc_str text)
{
  size_t n[3] = { 0, 0, 0 };
  for (size_t i = 0; i < text.n && text.p[i] != '\n'; i++) {
    n[0] += text.p[i] == ',';
    n[1] += text.p[i] == ';';
    n[2] += text.p[i] == '\t';
  }
  if (n[1] > n[0] && n[1] >= n[2]) return ';';
  return n[2] > n[0] ? '\t' : ',';
}

static bc_status csv_header(csv *c, size_t *lat, size_t *lon, bc_err *err)
{
  static const char *const k_lat[] = { "lat", "latitude", "decimallatitude", NULL };
  static const char *const k_lon[] = { "lon", "longitude", "decimallongitude", NULL };
  *lat = *lon = SIZE_MAX;
  bool last = c->text.n == 0;
  for (size_t col = 0; !last; col++) {
    BC_RET(csv_field(c, &last, err));
    if (*lat == SIZE_MAX && is_column(csv_text(c), k_lat)) *lat = col;
    if (*lon == SIZE_MAX && is_column(csv_text(c), k_lon)) *lon = col;
  }
  c->line++;
  if (*lat == SIZE_MAX || *lon == SIZE_MAX)
    return BC_FAIL(
        err, BC_E_INVAL,
        "%s line 1: no column named %s; expected lat, latitude or decimalLatitude, and lon, longitude "
        "or decimalLongitude",
        c->path, *lat == SIZE_MAX ? "lat" : "lon");
  return BC_OK;
}

static bc_status csv_coordinate(const csv *c, size_t line, const char *column, double limit, double *out,
                                bc_err *err)
{
  char buf[64];
  const bc_str s = csv_text(c);
  if (!parse_number(s, out))
    return BC_FAIL(err, BC_E_INVAL, "%s line %zu, column %s: \"%s\" is not a number", c->path, line, column,
                   show(s, buf));
  if (!(fabs(*out) <= limit))
    return BC_FAIL(err, BC_E_INVAL, "%s line %zu, column %s: %g is not between %g and %g", c->path, line,
                   column, *out, -limit, limit);
  return BC_OK;
}

/* One row; empty lines are passed over. */
static bc_status csv_row(csv *c, size_t lat, size_t lon, bc_select *s, bc_err *err)
{
  double v[2] = { 0, 0 };
  const size_t line = c->line;
  size_t col = 0;
  bool last = false, blank = true;
  for (; !last; col++) {
    BC_RET(csv_field(c, &last, err));
    blank = blank && csv_text(c).n == 0;
    if (last && col == 0 && blank) break;
    if (col == lat) BC_RET(csv_coordinate(c, line, "lat", 90, &v[0], err));
    if (col == lon) BC_RET(csv_coordinate(c, line, "lon", 360, &v[1], err));
  }
  c->line++;
  if (blank) return BC_OK;
  if (col <= lat || col <= lon)
    return BC_FAIL(err, BC_E_INVAL,
                   "%s line %zu: %zu columns; latitude and longitude are columns %zu and %zu", c->path, line,
                   col, lat + 1, lon + 1);
  return add_point(s, v[0], v[1], err);
}

bc_status bc_select_add_points_file(bc_select *s, const char *path, bc_err *err)
{
  bc_status st = BC_OK;
  bc_buf file = bc_buf_empty(POINTS_FILE_MAX);
  csv c = { path, { NULL, 0 }, 0, 1, ',', bc_buf_empty(65536) };
  size_t lat = 0, lon = 0;
  const size_t before = s->n_points;

  BC_TRY(bc_os_read_file(path, POINTS_FILE_MAX, &file, err));
  c.text = (bc_str){ (const char *)file.p, file.n };
  if (file.n >= 3 && memcmp(file.p, "\xef\xbb\xbf", 3) == 0) c.at = 3;
  c.sep = csv_separator(c.text);
  BC_TRY(csv_header(&c, &lat, &lon, err));
  while (c.at < c.text.n)
    BC_TRY(csv_row(&c, lat, lon, s, err));
  if (s->n_points == before) st = BC_FAIL(err, BC_E_INVAL, "%s: no row with a point", path);
out:
  if (st != BC_OK) s->n_points = before;
  bc_buf_dispose(&file);
  bc_buf_dispose(&c.field);
  return st;
}
