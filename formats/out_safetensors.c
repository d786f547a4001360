/*
 * safetensors: u64 length of the header, the header (a JSON object padded with blanks), then the tensors
 * without a gap. Eight-byte tensors, the coordinates, come first, so that every tensor is aligned to its
 * elements.
 */
#include "formats/coords.h"
#include "formats/json.h"
#include "formats/sink_int.h"

#include <string.h>

enum { CHUNK = 1 << 20 };
#define MAX_HEADER ((size_t)100 << 20) /* the format's own limit */

static const char *dtype_text(bc_dtype t)
{
  switch (t) {
  case BC_F32: return "F32";
  case BC_F64: return "F64";
  case BC_I8: return "I8";
  case BC_I16: return "I16";
  case BC_I32: return "I32";
  case BC_I64: return "I64";
  case BC_U8: return "U8";
  }
  return NULL;
}

/* All values of the metadata must be strings. "t2m.units": "K", "t2m.dims": "time,latitude,longitude". */
static bc_status put_pair(bc_buf *b, const char *key, const char *sub, const char *value, bool *first,
                          bc_err *err)
{
  bc_status st = BC_OK;
  char *name = sub != NULL ? bc_asprintf("%s.%s", key, sub) : bc_strdup(key);

  if (name == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for metadata");
  if (!*first) BC_TRY(bc_buf_put(b, ",", 1, err));
  *first = false;
  BC_TRY(bc_json_quote(b, name, err));
  BC_TRY(bc_buf_put(b, ":", 1, err));
  BC_TRY(bc_json_quote(b, value, err));
out:
  bc_free(name);
  return st;
}

static bc_status put_dims(bc_buf *b, const bc_coords *c, const bc_var *v, int32_t i, bool *first, bc_err *err)
{
  bc_status st = BC_OK;
  bc_buf text = bc_buf_empty(1 << 16);

  for (int d = 0; d < v->ndim; d++)
    BC_TRY(bc_buf_printf(&text, err, "%s%s", d > 0 ? "," : "",
                         c->axes.axis[c->axes.of[i * BC_MAX_DIMS + d]].name));
  BC_TRY(bc_buf_put(&text, "", 1, err));
  BC_TRY(put_pair(b, c->labels[i], "dims", (const char *)text.p, first, err));
out:
  bc_buf_dispose(&text);
  return st;
}

static bc_status put_metadata(bc_buf *b, const bc_stream *in, const bc_coords *c, bc_err *err)
{
  bool first = true;

  BC_RET(bc_buf_printf(b, err, "\"__metadata__\":{"));
  BC_RET(put_pair(b, "format", NULL, "pt", &first, err)); /* what loaders for torch look for */
  for (int32_t k = 0; k < in->n_attrs; k++) {
    if (strcmp(in->attrs[k].name, "format") != 0)
      BC_RET(put_pair(b, in->attrs[k].name, NULL, in->attrs[k].value, &first, err));
  }
  for (int32_t i = 0; i < in->n_vars; i++) {
    const bc_var *v = in->vars[i];
    if (v->group[0] != '\0') BC_RET(put_pair(b, c->labels[i], "group", v->group, &first, err));
    BC_RET(put_pair(b, c->labels[i], "units", v->units, &first, err));
    BC_RET(put_dims(b, c, v, i, &first, err));
    for (int32_t k = 0; k < v->n_attrs; k++) {
      if (bc_attr_travels(v->attrs[k].name))
        BC_RET(put_pair(b, c->labels[i], v->attrs[k].name, v->attrs[k].value, &first, err));
    }
  }
  for (size_t k = 0; k < c->n; k++) {
    if (c->coord[k].units[0] != '\0')
      BC_RET(put_pair(b, c->coord[k].name, "units", c->coord[k].units, &first, err));
  }
  return bc_buf_put(b, "}", 1, err);
}

static bc_status put_tensor(bc_buf *b, const char *name, bc_dtype t, const int64_t *shape, int ndim,
                            uint64_t *at, bc_err *err)
{
  size_t bytes = 0;
  uint64_t end = 0;

  if (!bc_shape_bytes(shape, ndim, bc_dtype_size(t), &bytes) || !bc_add_u64(*at, bytes, &end))
    return BC_FAIL(err, BC_E_RANGE, "%s: too many bytes to count", name);
  BC_RET(bc_buf_put(b, ",", 1, err));
  BC_RET(bc_json_quote(b, name, err));
  BC_RET(bc_buf_printf(b, err, ":{\"dtype\":\"%s\",\"shape\":[", dtype_text(t)));
  for (int d = 0; d < ndim; d++)
    BC_RET(bc_buf_printf(b, err, "%s%lld", d > 0 ? "," : "", (long long)shape[d]));
  BC_RET(bc_buf_printf(b, err, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)*at,
                       (unsigned long long)end));
  *at = end;
  return BC_OK;
}

static bc_status put_header(bc_buf *b, const bc_stream *in, const bc_coords *c, bc_err *err)
{
  uint64_t at = 0;

  BC_RET(bc_buf_u64(b, 0, err));
  BC_RET(bc_buf_put(b, "{", 1, err));
  BC_RET(put_metadata(b, in, c, err));
  for (size_t k = 0; k < c->n; k++)
    BC_RET(put_tensor(b, c->coord[k].name, c->coord[k].dtype, c->coord[k].shape, c->coord[k].ndim, &at, err));
  for (int32_t i = 0; i < in->n_vars; i++)
    BC_RET(put_tensor(b, c->labels[i], in->vars[i]->dtype, in->vars[i]->shape, in->vars[i]->ndim, &at, err));
  BC_RET(bc_buf_put(b, "}", 1, err));
  while (b->n % 8 != 0)
    BC_RET(bc_buf_put(b, " ", 1, err));
  bc_put_le64(b->p, b->n - 8);
  return BC_OK;
}

static bc_status put_values(bc_stream *in, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_pull pull;
  uint8_t *chunk = bc_malloc(CHUNK);

  bc_pull_init(&pull, in);
  if (chunk == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a buffer of %d bytes", CHUNK);
  for (int32_t i = 0; i < in->n_vars; i++) {
    const size_t elem = bc_dtype_size(in->vars[i]->dtype);
    BC_TRY(bc_pull_begin(&pull, i, err));
    while (pull.at < pull.size) {
      const uint64_t n = BC_MIN(pull.size - pull.at, CHUNK / elem);
      BC_TRY(bc_pull_read(&pull, chunk, n, err));
      BC_TRY(bc_out_write(out, chunk, (size_t)n * elem, err));
    }
  }
  BC_TRY(bc_pull_end(&pull, err));
out:
  bc_pull_dispose(&pull);
  bc_free(chunk);
  return st;
}

bc_status bc_write_safetensors(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_coords c = { 0 };
  bc_buf head = bc_buf_empty(MAX_HEADER);

  (void)opts;
  BC_TRY(bc_coords_init(&c, in, err));
  BC_TRY(put_header(&head, in, &c, err));
  BC_TRY(bc_out_write(out, head.p, head.n, err));
  for (size_t k = 0; k < c.n; k++)
    BC_TRY(bc_out_write(out, c.coord[k].data, c.coord[k].bytes, err));
  BC_TRY(put_values(in, out, err));
out:
  bc_buf_dispose(&head);
  bc_coords_dispose(&c);
  return st;
}
