/*
 * usage: consumer STORE VAR W,S,E,N TIME
 * Prints shape, sum and mean of the cube, then the sum of a zero-copy window of its first two steps.
 */
#include <stdio.h>
#include <stdlib.h>

#include "window.h"

static int fail(const char *what, const bc_err *err)
{
  fprintf(stderr, "consumer: %s: %s (%s)\n", what, err->msg, bc_status_name(err->code));
  return 1;
}

static bc_status select_all(bc_select *sel, char **argv, bc_err *err)
{
  BC_RET(bc_select_add_vars(sel, argv[2], err));
  BC_RET(bc_select_set_bbox(sel, argv[3], err));
  return bc_select_set_time(sel, argv[4], err);
}

/* Reads variable 0 into memory of ours and prints what it is. */
static bc_status show(bc_query *q, int64_t *first, bc_err *err)
{
  const bc_var *const *vars;
  if (bc_query_vars(q, &vars) != 1) return BC_E_INVAL;
  const bc_var *v = vars[0];
  size_t n = 1;
  for (int d = 0; d < v->ndim; d++)
    n *= (size_t)v->shape[d];
  float *const data = malloc(n * sizeof *data);
  if (!data) return BC_E_NOMEM;
  const bc_status st = bc_query_read(q, 0, data, n * sizeof *data, err);
  if (st == BC_OK) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
      sum += data[i];
    *first = (int64_t)v->coord[0][0];
    printf("%s [%s]", v->name, v->units);
    for (int d = 0; d < v->ndim; d++)
      printf(" %lld", (long long)v->shape[d]);
    printf(" first %lld sum %.17g\n", (long long)*first, sum);
  }
  free(data);
  return st;
}

int main(int argc, char **argv)
{
  bc_err err = { 0 };
  bc_store *store = NULL;
  bc_query *q = NULL;
  bc_select sel;
  int64_t first = 0;
  int code = 0;
  if (argc != 5) return 2;
  if (bc_store_open(argv[1], BC_OPEN_READ, &store, &err) != BC_OK) return fail("open", &err);
  bc_select_init(&sel);
  if (select_all(&sel, argv, &err) != BC_OK)
    code = fail("select", &err);
  else if (bc_query_open(store, &sel, NULL, &q, &err) != BC_OK)
    code = fail("plan", &err);
  else if (show(q, &first, &err) != BC_OK)
    code = fail("read", &err);
  bc_query_close(q);
  if (code == 0) {
    double sum;
    uint64_t copied;
    if (window_sum(store, argv[2], first, &sum, &copied, &err) != BC_OK)
      code = fail("view", &err);
    else
      printf("window sum %.17g copied %llu\n", sum, (unsigned long long)copied);
  }
  bc_select_dispose(&sel);
  bc_store_close(store);
  printf("version %s\n", bc_version());
  return code;
}
