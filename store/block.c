/*
 * Names and sizes of the exchange types, and their release.
 */
#include "store/block.h"

#include <string.h>

size_t bc_dtype_size(bc_dtype t)
{
  switch (t) {
  case BC_I8:
  case BC_U8: return 1;
  case BC_I16: return 2;
  case BC_F32:
  case BC_I32: return 4;
  case BC_F64:
  case BC_I64: return 8;
  }
  return 0;
}

const char *bc_dtype_name(bc_dtype t)
{
  switch (t) {
  case BC_F32: return "float32";
  case BC_F64: return "float64";
  case BC_I8: return "int8";
  case BC_I16: return "int16";
  case BC_I32: return "int32";
  case BC_I64: return "int64";
  case BC_U8: return "uint8";
  }
  return "unknown";
}

const char *bc_dim_name(bc_dim d)
{
  switch (d) {
  case BC_DIM_TIME: return "time";
  case BC_DIM_LEVEL: return "level";
  case BC_DIM_LAT: return "latitude";
  case BC_DIM_LON: return "longitude";
  case BC_DIM_POINT: return "point";
  }
  return "unknown";
}

const char *bc_var_attr(const bc_var *v, const char *name)
{
  for (int32_t i = 0; i < v->n_attrs; i++) {
    if (strcmp(v->attrs[i].name, name) == 0) return v->attrs[i].value;
  }
  return NULL;
}

int bc_var_dim(const bc_var *v, bc_dim d)
{
  for (int32_t i = 0; i < v->ndim; i++) {
    if (v->dims[i] == d) return (int)i;
  }
  return -1;
}

void bc_batch_release(bc_batch *b)
{
  if (b == NULL) return;
  if (b->release != NULL) b->release(b);
  *b = (bc_batch){ .n_blocks = 0 };
}

void bc_stream_release(bc_stream *s)
{
  if (s == NULL) return;
  if (s->release != NULL) s->release(s);
  *s = (bc_stream){ .n_vars = 0 };
}
