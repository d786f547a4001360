#include "formats/sink_int.h"

#include <string.h>

enum { CHUNK = 1 << 20 };

const char *bc_npy_descr(bc_dtype t)
{
  switch (t) {
  case BC_F32: return "<f4";
  case BC_F64: return "<f8";
  case BC_I8: return "|i1";
  case BC_I16: return "<i2";
  case BC_I32: return "<i4";
  case BC_I64: return "<i8";
  case BC_U8: return "|u1";
  }
  return NULL;
}

/* Version 1.0: magic, version, u16 length, then a Python dict padded with blanks to a multiple of 64 and
 * ended by a line feed. Four dimensions always fit in 64 KiB, so that version 2.0 is never needed. */
bc_status bc_npy_header(bc_buf *b, const char *descr, const int64_t *shape, int ndim, bc_err *err)
{
  static const uint8_t magic[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 0, 0 };
  const size_t start = b->n;

  BC_RET(bc_buf_put(b, magic, sizeof magic, err));
  BC_RET(bc_buf_printf(b, err, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr));
  for (int d = 0; d < ndim; d++)
    BC_RET(bc_buf_printf(b, err, "%s%lld%s", d > 0 ? " " : "", (long long)shape[d],
                         ndim == 1 || d < ndim - 1 ? "," : ""));
  BC_RET(bc_buf_printf(b, err, "), }"));
  while ((b->n - start) % 64 != 63)
    BC_RET(bc_buf_put(b, " ", 1, err));
  BC_RET(bc_buf_put(b, "\n", 1, err));
  bc_put_le16(b->p + start + 8, (uint16_t)(b->n - start - sizeof magic));
  return BC_OK;
}

bc_status bc_write_npy(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  const bc_var *v = in->vars[0];
  const size_t elem = bc_dtype_size(v->dtype);
  bc_buf head = bc_buf_empty(1 << 16);
  bc_pull pull;
  uint8_t *chunk = bc_malloc(CHUNK);

  (void)opts;
  bc_pull_init(&pull, in);
  if (chunk == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "no memory for a buffer of %d bytes", CHUNK);
    goto out;
  }
  BC_TRY(bc_npy_header(&head, bc_npy_descr(v->dtype), v->shape, v->ndim, err));
  BC_TRY(bc_out_write(out, head.p, head.n, err));
  BC_TRY(bc_pull_begin(&pull, 0, err));
  while (pull.at < pull.size) {
    const uint64_t n = BC_MIN(pull.size - pull.at, CHUNK / elem);
    BC_TRY(bc_pull_read(&pull, chunk, n, err));
    BC_TRY(bc_out_write(out, chunk, (size_t)n * elem, err));
  }
  BC_TRY(bc_pull_end(&pull, err));
out:
  bc_pull_dispose(&pull);
  bc_buf_dispose(&head);
  bc_free(chunk);
  return st;
}
