#include "window.h"

bc_status window_sum(bc_store *store, const char *var, int64_t t, double *sum, uint64_t *copied, bc_err *err)
{
  bc_view v = { 0 };
  bc_status st = bc_view_open(store, var, t, 2, &v, err);
  if (st != BC_OK) return st;
  *sum = 0;
  for (int64_t k = 0; k < v.shape[0]; k++) {
    const char *const step = v.step[k];
    for (int64_t i = 0; i < v.shape[1]; i++) {
      for (int64_t j = 0; j < v.shape[2]; j++)
        *sum += *(const float *)(const void *)(step + i * v.stride[1] + j * v.stride[2]);
    }
  }
  *copied = v.copied_bytes;
  bc_view_release(&v);
  return BC_OK;
}
