/*
 * csv, tsv and jsonl: one row per value position. Variables that share all axes stand side by side; since the
 * stream brings one after the other, those are spooled first. Otherwise each row holds one value and its
 * variable's name.
 */
#include "formats/rows.h"
#include "store/datetime.h"

#include <string.h>

enum { COLUMN_BUFFER = 1 << 14 /* elements of one variable read at a time, rounded to whole lines */ };
#define LINE_MAX_BYTES ((size_t)1 << 26)

typedef struct dialect {
  char sep; /* between fields; 0: JSON objects */
  bool json;
} dialect;

/* The values of one variable, read line by line in row order; a variable without time starts over at each. */
typedef struct column {
  const char *label;
  bc_dtype dtype;
  size_t elem;
  bc_pull *pull;   /* from the stream; or */
  bc_spool spool;  /* from what was kept of it */
  uint64_t n;      /* values it has */
  uint64_t first;  /* number of the first one in buf */
  uint64_t filled; /* values in buf */
  uint64_t cap;
  uint8_t *buf;
} column;

typedef struct writer {
  dialect d;
  bc_out *out;
  const char *tmp_folder;
  bc_rows rows;
  bool has_time, has_level, has_point, has_place; /* columns in the header; of all variables together */
  bool wide;
  column *col;
  int32_t n_cols;
  const char *variable; /* long rows: its name */
  bc_buf lead;          /* text of the row before its innermost position */
  bc_buf pos;           /* texts of the innermost positions, each ended by NUL */
  size_t *pos_at;
  bc_buf line;
} writer;

static void column_dispose(column *c)
{
  bc_spool_dispose(&c->spool);
  bc_free(c->buf);
  c->buf = NULL;
}

static bc_status column_init(column *c, const bc_var *v, const char *label, uint64_t line, bc_err *err)
{
  size_t bytes = 0;

  *c = (column){ .label = label, .dtype = v->dtype, .elem = bc_dtype_size(v->dtype), .spool = { .fd = -1 } };
  BC_RET(bc_var_elements(v, &c->n, err));
  c->cap = line * BC_MAX((uint64_t)1, COLUMN_BUFFER / BC_MAX(line, 1));
  if (!bc_u64_to_sz(c->cap * c->elem, &bytes) || (c->buf = bc_malloc(bytes > 0 ? bytes : 1)) == NULL)
    return BC_FAIL(err, BC_E_NOMEM, "no memory for a line of %s", label);
  return BC_OK;
}

/* Values at.. at + n - 1, which lie in one line. */
static bc_status column_line(column *c, uint64_t at, uint64_t n, const uint8_t **out, bc_err *err)
{
  *out = c->buf;
  if (n == 0) return BC_OK;
  at %= c->n;
  if (at < c->first || at + n > c->first + c->filled) {
    c->first = at;
    c->filled = BC_MIN(c->cap, c->n - at);
    if (c->pull != NULL)
      BC_RET(bc_pull_read(c->pull, c->buf, c->filled, err));
    else
      BC_RET(bc_spool_get(&c->spool, at * c->elem, c->buf, (size_t)c->filled * c->elem, err));
  }
  *out = c->buf + (at - c->first) * c->elem;
  return BC_OK;
}

static bc_status spool_column(column *c, bc_pull *pull, const char *folder, bc_err *err)
{
  BC_RET(bc_spool_init(&c->spool, c->n * c->elem, folder, err));
  for (uint64_t at = 0; at < c->n; at += c->filled) {
    c->filled = BC_MIN(c->cap, c->n - at);
    BC_RET(bc_pull_read(pull, c->buf, c->filled, err));
    BC_RET(bc_spool_put(&c->spool, c->buf, (size_t)c->filled * c->elem, err));
  }
  c->filled = 0;
  return BC_OK;
}

/* ---- fields ---- */

static bc_status put_name(bc_buf *b, const dialect *d, const char *s, bc_err *err)
{
  const char special[] = { d->sep, '"', '\n', '\r', '\0' };

  if (d->json) return bc_json_quote(b, s, err);
  if (strpbrk(s, special) == NULL) return bc_buf_put(b, s, strlen(s), err);
  BC_RET(bc_buf_put(b, "\"", 1, err));
  for (; *s != '\0'; s++)
    BC_RET(bc_buf_put(b, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1, err));
  return bc_buf_put(b, "\"", 1, err);
}

/* "name": in JSON, with a comma unless the object has just begun; the separator unless the line has. */
static bc_status put_key(bc_buf *b, const dialect *d, const char *key, bc_err *err)
{
  const bool first = b->n == 0;

  if (!d->json) return first ? BC_OK : bc_buf_put(b, &d->sep, 1, err);
  BC_RET(bc_buf_put(b, first ? "{" : ",", 1, err));
  BC_RET(bc_json_quote(b, key, err));
  return bc_buf_put(b, ":", 1, err);
}

static bc_status put_double(bc_buf *b, const dialect *d, const char *key, double v, bc_err *err)
{
  char text[BC_NUM_TEXT];
  const size_t n = bc_text_f64(text, v);

  BC_RET(put_key(b, d, key, err));
  return bc_buf_put(b, text, n, err);
}

static bc_status put_time(bc_buf *b, const dialect *d, int64_t t, bc_err *err)
{
  char text[BC_TIME_TEXT];

  BC_RET(put_key(b, d, "time", err));
  bc_time_format(t, text);
  return d->json ? bc_json_quote(b, text, err) : bc_buf_put(b, text, strlen(text), err);
}

/* A column that this variable lacks: an empty field, or no member. */
static bc_status put_none(bc_buf *b, const dialect *d, bc_err *err)
{
  if (d->json) return BC_OK;
  /* An empty first field leaves the buffer empty; only "variable" comes first in long rows, so it never is.
   */
  return put_key(b, d, "", err);
}

static bc_status put_value(bc_buf *b, const dialect *d, const column *c, const uint8_t *p, bc_err *err)
{
  char text[BC_NUM_TEXT];
  const size_t n = bc_text_value(text, c->dtype, p);
  const bool number = n > 0 && strchr(text, 'n') == NULL; /* JSON has no nan, no inf */

  if (d->json && !number) return bc_buf_put(b, "null", 4, err);
  return bc_buf_put(b, text, n, err);
}

/* ---- rows ---- */

static bc_status make_lead(writer *w, const int64_t i[4], bc_err *err)
{
  bc_buf *b = &w->lead;
  const bc_rows *r = &w->rows;

  b->n = 0;
  if (!w->wide) {
    BC_RET(put_key(b, &w->d, "variable", err));
    BC_RET(put_name(b, &w->d, w->variable, err));
  }
  if (w->has_time)
    BC_RET(r->time != NULL ? put_time(b, &w->d, bc_rows_time(r, i[0]), err) : put_none(b, &w->d, err));
  if (w->has_level)
    BC_RET(r->level >= 0 ? put_double(b, &w->d, "level", bc_rows_level(r, i[1]), err)
                         : put_none(b, &w->d, err));
  if (w->has_point && !r->points) BC_RET(put_none(b, &w->d, err));
  if (w->has_place && !bc_rows_has_place(r)) {
    BC_RET(put_none(b, &w->d, err));
    return put_none(b, &w->d, err);
  }
  return r->points || !w->has_place ? BC_OK : put_double(b, &w->d, "latitude", bc_rows_lat(r, i[2], 0), err);
}

/* What follows the lead at position i of the innermost axis. The buffer is not empty for put_key only when
 * there is a lead; a stream of nothing but points has none, hence the blank that is dropped again. */
static bc_status make_position(writer *w, bc_buf *b, int64_t i, bool after_lead, bc_err *err)
{
  const bc_rows *r = &w->rows;
  bc_buf one = bc_buf_empty(1 << 12);
  bc_status st = BC_OK;

  if (after_lead) BC_TRY(bc_buf_put(&one, " ", 1, err));
  if (r->points) BC_TRY(put_double(&one, &w->d, "point", (double)i, err));
  if (r->points) BC_TRY(put_double(&one, &w->d, "latitude", bc_rows_lat(r, 0, i), err));
  if (bc_rows_has_place(r)) BC_TRY(put_double(&one, &w->d, "longitude", bc_rows_lon(r, i), err));
  const size_t skip = after_lead ? 1 : 0;
  if (one.n > skip) BC_TRY(bc_buf_put(b, one.p + skip, one.n - skip, err));
  BC_TRY(bc_buf_put(b, "", 1, err));
out:
  bc_buf_dispose(&one);
  return st;
}

static bc_status make_positions(writer *w, bc_err *err)
{
  const int64_t none[4] = { 0 };
  const int64_t n = w->rows.n[3];

  bc_free(w->pos_at);
  w->pos.n = 0;
  w->pos_at = bc_calloc((size_t)n + 1, sizeof *w->pos_at);
  if (w->pos_at == NULL)
    return BC_FAIL(err, BC_E_NOMEM, "no memory for the texts of %lld positions", (long long)n);
  if (bc_rows_count(&w->rows) == 0) return BC_OK;
  BC_RET(make_lead(w, none, err));
  const bool after_lead = w->lead.n > 0;
  for (int64_t i = 0; i < n; i++) {
    w->pos_at[i] = w->pos.n;
    BC_RET(make_position(w, &w->pos, i, after_lead, err));
  }
  return BC_OK;
}

static bc_status put_row(writer *w, int64_t x, const uint8_t *const *values, bc_err *err)
{
  bc_buf *b = &w->line;
  const char *pos = (const char *)w->pos.p + w->pos_at[x];

  b->n = 0;
  BC_RET(bc_buf_put(b, w->lead.p, w->lead.n, err));
  BC_RET(bc_buf_put(b, pos, strlen(pos), err));
  for (int32_t c = 0; c < w->n_cols; c++) {
    BC_RET(put_key(b, &w->d, w->wide ? w->col[c].label : "value", err));
    BC_RET(put_value(b, &w->d, &w->col[c], values[c] + (size_t)x * w->col[c].elem, err));
  }
  BC_RET(bc_buf_put(b, w->d.json ? "}\n" : "\n", w->d.json ? 2 : 1, err));
  return bc_out_write(w->out, b->p, b->n, err);
}

static bc_status put_rows(writer *w, bc_err *err)
{
  bc_status st = BC_OK;
  const uint64_t width = (uint64_t)w->rows.n[3], n = bc_rows_count(&w->rows);
  const uint8_t **values = bc_calloc((size_t)w->n_cols, sizeof *values);
  int64_t i[4];

  if (values == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a row of %d values", (int)w->n_cols);
  BC_TRY(make_positions(w, err));
  for (uint64_t row = 0; row < n; row += width) {
    bc_rows_index(&w->rows, row, i);
    BC_TRY(make_lead(w, i, err));
    for (int32_t c = 0; c < w->n_cols; c++)
      BC_TRY(column_line(&w->col[c], row, width, &values[c], err));
    for (int64_t x = 0; x < w->rows.n[3]; x++)
      BC_TRY(put_row(w, x, values, err));
  }
out:
  bc_free(values);
  return st;
}

static bc_status put_header(writer *w, char *const *labels, int32_t n, bc_err *err)
{
  static const char *const k_names[] = { "time", "level", "point", "latitude", "longitude" };
  const bool has[] = { w->has_time, w->has_level, w->has_point, w->has_place, w->has_place };
  bc_buf *b = &w->line;

  if (w->d.json) return BC_OK;
  b->n = 0;
  if (!w->wide) BC_RET(put_name(b, &w->d, "variable", err));
  for (size_t k = 0; k < BC_ARRAY_LEN(k_names); k++) {
    if (!has[k]) continue;
    BC_RET(put_key(b, &w->d, "", err));
    BC_RET(put_name(b, &w->d, k_names[k], err));
  }
  for (int32_t i = 0; i < (w->wide ? n : 1); i++) {
    BC_RET(put_key(b, &w->d, "", err));
    BC_RET(put_name(b, &w->d, w->wide ? labels[i] : "value", err));
  }
  BC_RET(bc_buf_put(b, "\n", 1, err));
  return bc_out_write(w->out, b->p, b->n, err);
}

/* All variables side by side. One alone comes straight from the stream. */
static bc_status put_wide(writer *w, bc_stream *in, char *const *labels, bc_pull *pull, bc_err *err)
{
  for (int32_t c = 0; c < in->n_vars; c++) {
    w->n_cols = c + 1;
    BC_RET(column_init(&w->col[c], in->vars[c], labels[c], (uint64_t)w->rows.n[3], err));
    BC_RET(bc_pull_begin(pull, c, err));
    if (in->n_vars == 1)
      w->col[c].pull = pull;
    else
      BC_RET(spool_column(&w->col[c], pull, w->tmp_folder, err));
  }
  return put_rows(w, err);
}

/* One variable below the other. */
static bc_status put_long(writer *w, bc_stream *in, char *const *labels, bc_pull *pull, bc_err *err)
{
  w->n_cols = 1;
  for (int32_t v = 0; v < in->n_vars; v++) {
    bc_rows_of_var(&w->rows, in->vars[v]);
    w->variable = labels[v];
    column_dispose(&w->col[0]);
    BC_RET(column_init(&w->col[0], in->vars[v], labels[v], (uint64_t)w->rows.n[3], err));
    w->col[0].pull = pull;
    BC_RET(bc_pull_begin(pull, v, err));
    BC_RET(put_rows(w, err));
  }
  return BC_OK;
}

static void find_columns(writer *w, const bc_stream *in)
{
  for (int32_t v = 0; v < in->n_vars; v++) {
    bc_rows r;
    bc_rows_of_var(&r, in->vars[v]);
    w->has_time = w->has_time || r.time != NULL;
    w->has_level = w->has_level || r.level >= 0;
    w->has_point = w->has_point || r.points;
    w->has_place = w->has_place || bc_rows_has_place(&r);
  }
}

static bc_status write_rows(bc_stream *in, const bc_sink_opts *opts, bc_out *out, dialect d, bc_err *err)
{
  bc_status st = BC_OK;
  writer w = { .d = d, .out = out, .tmp_folder = bc_tmp_folder(opts) };
  bc_pull pull;
  char **labels = NULL;

  bc_pull_init(&pull, in);
  w.lead = w.line = bc_buf_empty(LINE_MAX_BYTES);
  w.pos = bc_buf_empty((size_t)1 << 40);
  w.col = bc_calloc((size_t)in->n_vars, sizeof *w.col);
  if (w.col == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "no memory for %d columns", (int)in->n_vars);
    goto out;
  }
  BC_TRY(bc_labels_init(&labels, in, '.', false, err));
  w.wide = bc_rows_of_stream(&w.rows, in);
  find_columns(&w, in);
  BC_TRY(put_header(&w, labels, in->n_vars, err));
  BC_TRY(w.wide ? put_wide(&w, in, labels, &pull, err) : put_long(&w, in, labels, &pull, err));
  BC_TRY(bc_pull_end(&pull, err));
out:
  for (int32_t c = 0; c < w.n_cols; c++)
    column_dispose(&w.col[c]);
  bc_free(w.col);
  bc_buf_dispose(&w.lead);
  bc_buf_dispose(&w.pos);
  bc_buf_dispose(&w.line);
  bc_free(w.pos_at);
  bc_labels_free(labels, in->n_vars);
  bc_pull_dispose(&pull);
  return st;
}

bc_status bc_write_csv(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err)
{
  return write_rows(in, opts, out, (dialect){ ',', false }, err);
}

bc_status bc_write_tsv(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err)
{
  return write_rows(in, opts, out, (dialect){ '\t', false }, err);
}

bc_status bc_write_jsonl(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err)
{
  return write_rows(in, opts, out, (dialect){ '\0', true }, err);
}
