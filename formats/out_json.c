/* One JSON object: attributes, and each variable with its coordinates and its values as nested lists,
 * streamed. */
#include "formats/json.h"
#include "formats/sink_int.h"
#include "store/datetime.h"

#include <string.h>

enum { CHUNK = 1 << 16 };

static void put_attrs(bc_json *j, const bc_attr *attrs, int32_t n)
{
  bc_json_begin_object(j, "attrs");
  for (int32_t i = 0; i < n; i++) {
    double number = 0;
    if (!bc_attr_travels(attrs[i].name)) continue;
    if (attrs[i].numeric && bc_number_parse(attrs[i].value, &number))
      bc_json_num(j, attrs[i].name, number);
    else
      bc_json_str(j, attrs[i].name, attrs[i].value);
  }
  bc_json_end(j);
}

static void put_doubles(bc_json *j, const char *key, const double *v, int64_t n)
{
  bc_json_begin_array(j, key);
  for (int64_t i = 0; i < n; i++)
    bc_json_num(j, NULL, v[i]);
  bc_json_end(j);
}

static void put_times(bc_json *j, const bc_var *v, int d)
{
  bc_json_begin_array(j, "time");
  for (int64_t i = 0; i < v->shape[d]; i++)
    bc_json_time(j, NULL, (int64_t)v->coord[d][i]);
  bc_json_end(j);
  if (v->time_bounds == NULL) return;
  bc_json_begin_array(j, "time_bnds");
  for (int64_t i = 0; i < v->shape[d]; i++) {
    bc_json_begin_array(j, NULL);
    bc_json_time(j, NULL, v->time_bounds[2 * i]);
    bc_json_time(j, NULL, v->time_bounds[2 * i + 1]);
    bc_json_end(j);
  }
  bc_json_end(j);
}

static void put_coords(bc_json *j, const bc_var *v)
{
  bc_json_begin_object(j, "coords");
  for (int d = 0; d < v->ndim; d++) {
    if (v->dims[d] == BC_DIM_TIME) {
      put_times(j, v, d);
    } else if (v->dims[d] == BC_DIM_POINT) {
      put_doubles(j, "latitude", v->point_lat, v->shape[d]);
      put_doubles(j, "longitude", v->point_lon, v->shape[d]);
    } else {
      put_doubles(j, bc_dim_name(v->dims[d]), v->coord[d], v->shape[d]);
    }
  }
  bc_json_end(j);
}

static void put_description(bc_json *j, const bc_var *v)
{
  bc_json_begin_object(j, NULL);
  bc_json_str(j, "name", v->name);
  bc_json_str(j, "group", v->group);
  bc_json_str(j, "units", v->units);
  bc_json_str(j, "dtype", bc_dtype_name(v->dtype));
  bc_json_begin_array(j, "dims");
  for (int d = 0; d < v->ndim; d++)
    bc_json_str(j, NULL, bc_dim_name(v->dims[d]));
  bc_json_end(j);
  bc_json_begin_array(j, "shape");
  for (int d = 0; d < v->ndim; d++)
    bc_json_int(j, NULL, v->shape[d]);
  bc_json_end(j);
  if (bc_var_dim(v, BC_DIM_LEVEL) >= 0) bc_json_str(j, "level_units", v->level_units);
  put_coords(j, v);
  put_attrs(j, v->attrs, v->n_attrs);
  bc_json_end(j);
}

static bc_status put_value(bc_buf *b, const bc_var *v, const uint8_t *p, bc_err *err)
{
  char text[BC_NUM_TEXT];
  const size_t n = bc_text_value(text, v->dtype, p);

  if (n == 0 || strchr(text, 'n') != NULL) return bc_buf_put(b, "null", 4, err); /* missing, or infinite */
  return bc_buf_put(b, text, n, err);
}

/* Brackets that open before value number at, or close after it: one for each trailing run of whole
 * dimensions. */
static int brackets(const bc_var *v, uint64_t at)
{
  int n = 0;
  for (int d = v->ndim - 1; d >= 0 && at % (uint64_t)v->shape[d] == 0; d--) {
    at /= (uint64_t)v->shape[d];
    n++;
  }
  return n;
}

static bc_status put_run(bc_buf *b, const bc_var *v, const uint8_t *p, uint64_t first, uint64_t n,
                         bc_err *err)
{
  const size_t elem = bc_dtype_size(v->dtype);

  for (uint64_t i = 0; i < n; i++) {
    const int open = brackets(v, first + i), close = brackets(v, first + i + 1);
    if (first + i > 0) BC_RET(bc_buf_put(b, open > 0 ? ",\n" : ",", open > 0 ? 2 : 1, err));
    BC_RET(bc_buf_put(b, "[[[[", (size_t)open, err));
    BC_RET(put_value(b, v, p + i * elem, err));
    BC_RET(bc_buf_put(b, "]]]]", (size_t)close, err));
  }
  return BC_OK;
}

static bc_status put_data(bc_pull *pull, int32_t i, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  const bc_var *v = pull->in->vars[i];
  const size_t elem = bc_dtype_size(v->dtype);
  bc_buf text = bc_buf_empty((size_t)CHUNK * 64);
  uint8_t *chunk = bc_malloc(CHUNK * elem);

  if (chunk == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a buffer of %zu bytes", CHUNK * elem);
  BC_TRY(bc_pull_begin(pull, i, err));
  if (pull->size == 0) BC_TRY(bc_out_text(out, "[]", err)); /* the shape tells which length is 0 */
  while (pull->at < pull->size) {
    const uint64_t first = pull->at, n = BC_MIN((uint64_t)CHUNK, pull->size - pull->at);
    BC_TRY(bc_pull_read(pull, chunk, n, err));
    text.n = 0;
    BC_TRY(put_run(&text, v, chunk, first, n, err));
    BC_TRY(bc_out_write(out, text.p, text.n, err));
  }
out:
  bc_buf_dispose(&text);
  bc_free(chunk);
  return st;
}

static bc_status put_var(bc_pull *pull, int32_t i, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_json *j = NULL;
  const char *text = NULL;
  size_t n = 0;

  BC_TRY(bc_json_open(false, &j, err));
  put_description(j, pull->in->vars[i]);
  BC_TRY(bc_json_text(j, &text, &n, err));
  BC_TRY(bc_out_write(out, text, n - 1, err)); /* the object stays open for its data */
  BC_TRY(bc_out_text(out, ",\"data\":\n", err));
  BC_TRY(put_data(pull, i, out, err));
  BC_TRY(bc_out_text(out, "}", err));
out:
  bc_json_close(j);
  return st;
}

bc_status bc_write_json(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_json *j = NULL;
  const char *text = NULL;
  size_t n = 0;
  bc_pull pull;

  (void)opts;
  bc_pull_init(&pull, in);
  BC_TRY(bc_json_open(false, &j, err));
  bc_json_begin_object(j, NULL);
  put_attrs(j, in->attrs, in->n_attrs);
  bc_json_end(j);
  BC_TRY(bc_json_text(j, &text, &n, err));
  BC_TRY(bc_out_write(out, text, n - 1, err)); /* likewise open */
  BC_TRY(bc_out_text(out, ",\"variables\":[", err));
  for (int32_t i = 0; i < in->n_vars; i++) {
    BC_TRY(bc_out_text(out, i > 0 ? ",\n" : "\n", err));
    BC_TRY(put_var(&pull, i, out, err));
  }
  BC_TRY(bc_out_text(out, "]}\n", err));
  BC_TRY(bc_pull_end(&pull, err));
out:
  bc_json_close(j);
  bc_pull_dispose(&pull);
  return st;
}
