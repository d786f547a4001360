/* A short table for reading: the first and the last rows, units, and the statistics of all values. */
#include "formats/rows.h"
#include "store/datetime.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_ROWS = 20, CHUNK = 1 << 14, TEXT_MAX = 48, GAP = 2 };

/* A column of the table: its head, units and shown values. */
typedef struct column {
  char head[TEXT_MAX], units[TEXT_MAX];
  char (*text)[TEXT_MAX]; /* of each shown row */
  double *value;          /* before they are text; NaN is missing */
  int width;
  bool left; /* times; else aligned to the right */
} column;

typedef struct totals {
  uint64_t n, missing;
  double min, max, sum;
} totals;

typedef struct table {
  bc_rows rows;
  uint64_t n;           /* rows in all */
  uint64_t head, shown; /* of these the first; the rest are the last rows */
  column *col;
  int n_cols, first_var; /* columns before are coordinates */
} table;

static uint64_t row_of(const table *t, uint64_t shown)
{
  return shown < t->head ? shown : t->n - (t->shown - shown);
}

/* ---- numbers ---- */

static int significant_decimals(double most)
{
  if (most >= 1e7 || (most < 1e-5 && most > 0)) return -1; /* exponents read better */
  const int before = most >= 1 ? (int)floor(log10(most)) : most > 0 ? (int)floor(log10(most)) : 0;
  return before >= 6 ? 0 : 5 - before;
}

/* One number of decimals for the whole column: six figures of the largest, without the zeros that all end in.
 */
static int decimals_for(const double *v, uint64_t n)
{
  double most = 0;
  for (uint64_t i = 0; i < n; i++) {
    if (isfinite(v[i])) most = fmax(most, fabs(v[i]));
  }
  int k = significant_decimals(most);
  for (; k > 0; k--) {
    const double scale = pow(10, k - 1), tolerance = 0.6e-6 * fmax(most, 1e-30) * scale;
    bool same = true;
    for (uint64_t i = 0; i < n && same; i++)
      same = !isfinite(v[i]) || fabs(v[i] * scale - nearbyint(v[i] * scale)) <= tolerance;
    if (!same) break;
  }
  return k;
}

static void put_number(char *buf, double v, int decimals)
{
  if (isnan(v))
    (void)snprintf(buf, TEXT_MAX, "-");
  else if (decimals < 0)
    (void)snprintf(buf, TEXT_MAX, "%.5e", v);
  else
    (void)snprintf(buf, TEXT_MAX, "%.*f", decimals, v);
}

static void format_column(column *c, uint64_t n)
{
  const int decimals = decimals_for(c->value, n);
  for (uint64_t i = 0; i < n; i++)
    put_number(c->text[i], c->value[i], decimals);
}

/* ---- columns ---- */

static void add_column(table *t, const char *head, const char *units)
{
  column *c = &t->col[t->n_cols++];
  (void)bc_copy_text(c->head, sizeof c->head, head);
  (void)bc_copy_text(c->units, sizeof c->units, units);
}

static void add_coord_columns(table *t)
{
  const bc_rows *r = &t->rows;
  if (r->time != NULL) add_column(t, "time", "UTC");
  if (r->level >= 0) add_column(t, "level", r->var->level_units);
  if (r->points) add_column(t, "point", "");
  if (bc_rows_has_place(r)) {
    add_column(t, "latitude", "degN");
    add_column(t, "longitude", "degE");
  }
  t->first_var = t->n_cols;
}

static void fill_coords(table *t)
{
  const bc_rows *r = &t->rows;

  for (uint64_t s = 0; s < t->shown; s++) {
    int64_t i[4];
    int c = 0;
    bc_rows_index(r, row_of(t, s), i);
    if (r->time != NULL) {
      char text[BC_TIME_TEXT];
      t->col[c].left = true;
      (void)bc_copy_text(t->col[c++].text[s], TEXT_MAX, bc_time_format_short(bc_rows_time(r, i[0]), text));
    }
    if (r->level >= 0) t->col[c++].value[s] = bc_rows_level(r, i[1]);
    if (r->points) t->col[c++].value[s] = (double)i[3];
    if (!bc_rows_has_place(r)) continue;
    t->col[c++].value[s] = bc_rows_lat(r, i[2], i[3]);
    t->col[c++].value[s] = bc_rows_lon(r, i[3]);
  }
  for (int c = 0; c < t->first_var; c++) {
    if (!t->col[c].left) format_column(&t->col[c], t->shown);
  }
}

/* Reads a variable to its end; keeps what is shown of it. */
static bc_status read_values(table *t, column *c, bc_pull *pull, int32_t i, totals *sum, bc_err *err)
{
  bc_status st = BC_OK;
  const bc_var *v = pull->in->vars[i];
  const size_t elem = bc_dtype_size(v->dtype);
  uint8_t *chunk = bc_malloc(CHUNK * elem);

  *sum = (totals){ 0, 0, INFINITY, -INFINITY, 0 };
  if (chunk == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a buffer of %zu bytes", CHUNK * elem);
  BC_TRY(bc_pull_begin(pull, i, err));
  while (pull->at < pull->size) {
    const uint64_t first = pull->at, n = BC_MIN((uint64_t)CHUNK, pull->size - pull->at);
    BC_TRY(bc_pull_read(pull, chunk, n, err));
    for (uint64_t k = 0; k < n; k++) {
      const double x = bc_value_f64(v->dtype, chunk + k * elem);
      sum->n++;
      sum->missing += isnan(x) ? 1u : 0u;
      if (isnan(x)) continue;
      sum->min = fmin(sum->min, x);
      sum->max = fmax(sum->max, x);
      sum->sum += x;
    }
    for (uint64_t s = 0; s < t->shown; s++) {
      const uint64_t at = row_of(t, s) % pull->size; /* without time: the same at each */
      if (at >= first && at - first < n) c->value[s] = bc_value_f64(v->dtype, chunk + (at - first) * elem);
    }
  }
  format_column(c, t->shown);
out:
  bc_free(chunk);
  return st;
}

/* ---- text ---- */

static void set_widths(table *t)
{
  for (int c = 0; c < t->n_cols; c++) {
    column *k = &t->col[c];
    size_t w = BC_MAX(strlen(k->head), strlen(k->units));
    for (uint64_t s = 0; s < t->shown; s++)
      w = BC_MAX(w, strlen(k->text[s]));
    k->width = (int)w;
  }
}

static bc_status put_cell(bc_buf *b, const column *c, const char *text, bool last, bc_err *err)
{
  const int width = last && c->left ? 0 : c->width;
  return bc_buf_printf(b, err, c->left ? "%-*s%s" : "%*s%s", width, text, last ? "\n" : "  ");
}

static bc_status put_body(const table *t, bc_buf *b, bc_err *err)
{
  for (int c = 0; c < t->n_cols; c++)
    BC_RET(put_cell(b, &t->col[c], t->col[c].head, c == t->n_cols - 1, err));
  for (int c = 0; c < t->n_cols; c++)
    BC_RET(put_cell(b, &t->col[c], t->col[c].units, c == t->n_cols - 1, err));
  for (uint64_t s = 0; s < t->shown; s++) {
    for (int c = 0; s == t->head && c < t->n_cols; c++)
      BC_RET(put_cell(b, &t->col[c], "...", c == t->n_cols - 1, err));
    for (int c = 0; c < t->n_cols; c++)
      BC_RET(put_cell(b, &t->col[c], t->col[c].text[s], c == t->n_cols - 1, err));
  }
  return BC_OK;
}

static bc_status put_shape(const table *t, bc_buf *b, bc_err *err)
{
  static const char *const k_one[] = { "time", "level", "latitude", "longitude" };
  static const char *const k_many[] = { "times", "levels", "latitudes", "longitudes" };
  const bc_rows *r = &t->rows;
  const bool has[] = { r->time != NULL, r->level >= 0, r->lat >= 0, r->lon >= 0 || r->points };
  bool first = true;

  BC_RET(bc_buf_printf(b, err, "%llu row%s", (unsigned long long)t->n, t->n == 1 ? "" : "s"));
  for (int d = 0; d < 4; d++) {
    if (!has[d]) continue;
    const char *one = d == 3 && r->points ? "point" : k_one[d],
               *many = d == 3 && r->points ? "points" : k_many[d];
    BC_RET(bc_buf_printf(b, err, "%s%lld %s", first ? " (" : " x ", (long long)r->n[d],
                         r->n[d] == 1 ? one : many));
    first = false;
  }
  return bc_buf_printf(b, err, first ? "\n" : ")\n");
}

static bc_status put_totals(const column *c, const totals *s, bc_buf *b, bc_err *err)
{
  char min[BC_NUM_TEXT], mean[TEXT_MAX], max[BC_NUM_TEXT];
  const uint64_t valid = s->n - s->missing;

  BC_RET(bc_buf_printf(b, err, "%s: %llu value%s, %llu missing", c->head, (unsigned long long)s->n,
                       s->n == 1 ? "" : "s", (unsigned long long)s->missing));
  if (valid == 0) return bc_buf_printf(b, err, "\n");
  (void)bc_text_f32(min, (float)s->min);
  (void)bc_text_f32(max, (float)s->max);
  if (isfinite(s->sum))
    (void)snprintf(mean, sizeof mean, "%.6g", s->sum / (double)valid);
  else
    (void)snprintf(mean, sizeof mean, "-"); /* infinities among the values */
  return bc_buf_printf(b, err, ", min %s, mean %s, max %s%s%s\n", min, mean, max,
                       c->units[0] != '\0' ? " " : "", c->units);
}

/* ---- tables ---- */

static void table_dispose(table *t)
{
  for (int c = 0; t->col != NULL && c < t->n_cols; c++) {
    bc_free(t->col[c].text);
    bc_free(t->col[c].value);
  }
  bc_free(t->col);
  *t = (table){ 0 };
}

/* Variables first .. first + n - 1, whose positions are t->rows. */
static bc_status make_columns(table *t, const bc_stream *in, char *const *labels, int32_t first, int32_t n,
                              bc_err *err)
{
  t->col = bc_calloc(5u + (size_t)n, sizeof *t->col);
  if (t->col == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for %d columns", (int)n);
  add_coord_columns(t);
  for (int32_t i = 0; i < n; i++)
    add_column(t, labels[first + i], in->vars[first + i]->units);
  for (int c = 0; c < t->n_cols; c++) {
    t->col[c].text = bc_calloc((size_t)t->shown + 1, sizeof *t->col[c].text);
    t->col[c].value = bc_calloc((size_t)t->shown + 1, sizeof *t->col[c].value);
    if (t->col[c].text == NULL || t->col[c].value == NULL)
      return BC_FAIL(err, BC_E_NOMEM, "no memory for %llu rows", (unsigned long long)t->shown);
  }
  fill_coords(t);
  return BC_OK;
}

static bc_status put_table(table *t, bc_pull *pull, char *const *labels, int32_t first, int32_t n,
                           uint64_t max_rows, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_buf b = bc_buf_empty((size_t)1 << 30), foot = bc_buf_empty((size_t)1 << 30);
  totals sum;

  t->n = bc_rows_count(&t->rows);
  t->shown = BC_MIN(t->n, max_rows);
  t->head = t->shown < t->n ? (t->shown + 1) / 2 : t->shown;
  BC_TRY(make_columns(t, pull->in, labels, first, n, err));
  for (int32_t i = 0; i < n; i++) {
    column *c = &t->col[t->first_var + i];
    BC_TRY(read_values(t, c, pull, first + i, &sum, err));
    BC_TRY(put_totals(c, &sum, &foot, err));
  }
  set_widths(t);
  BC_TRY(put_body(t, &b, err));
  BC_TRY(put_shape(t, &b, err));
  BC_TRY(bc_buf_put(&b, foot.p, foot.n, err));
  BC_TRY(bc_out_write(out, b.p, b.n, err));
out:
  bc_buf_dispose(&b);
  bc_buf_dispose(&foot);
  return st;
}

bc_status bc_write_table(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  const uint64_t max_rows = opts->max_rows > 0 ? (uint64_t)opts->max_rows : DEFAULT_ROWS;
  char **labels = NULL;
  bc_pull pull;
  table t = { 0 };

  bc_pull_init(&pull, in);
  BC_TRY(bc_labels_init(&labels, in, '.', false, err));
  if (bc_rows_of_stream(&t.rows, in)) {
    BC_TRY(put_table(&t, &pull, labels, 0, in->n_vars, max_rows, out, err));
  } else {
    for (int32_t i = 0; i < in->n_vars; i++) {
      table_dispose(&t);
      bc_rows_of_var(&t.rows, in->vars[i]);
      if (i > 0) BC_TRY(bc_out_text(out, "\n", err));
      BC_TRY(put_table(&t, &pull, labels, i, 1, max_rows, out, err));
    }
  }
  BC_TRY(bc_pull_end(&pull, err));
out:
  table_dispose(&t);
  bc_labels_free(labels, in->n_vars);
  bc_pull_dispose(&pull);
  return st;
}
