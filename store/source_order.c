#include "store/source_order.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct place {
  int64_t order;
  uint32_t id;
} place;

static int by_order(const void *a, const void *b)
{
  const place *x = a, *y = b;
  if (x->order != y->order) return x->order < y->order ? -1 : 1;
  return (x->id > y->id) - (x->id < y->id);
}

bc_status bc_source_order_load(bc_source_order *o, bc_snapshot *s, bc_err *err)
{
  const uint32_t n = bc_snapshot_source_limit(s);
  place *p = bc_malloc(((size_t)n + 1) * sizeof *p);
  *o = (bc_source_order){ .of = bc_malloc(((size_t)n + 1) * sizeof *o->of),
                          .ids = bc_malloc(((size_t)n + 1) * sizeof *o->ids) };
  if (p == NULL || o->of == NULL || o->ids == NULL) {
    bc_free(p);
    bc_source_order_dispose(o);
    return BC_FAIL(err, BC_E_NOMEM, "no memory for %" PRIu32 " sources", n);
  }
  for (o->n = 0; o->n < n; o->n++) {
    bc_source_rec rec;
    const bool known = bc_snapshot_source(s, o->n, &rec, NULL) == BC_OK;
    o->of[o->n] = known ? rec.order : o->n;
    p[o->n] = (place){ o->of[o->n], o->n };
  }
  qsort(p, n, sizeof *p, by_order);
  for (uint32_t i = 0; i < n; i++)
    o->ids[i] = p[i].id;
  bc_free(p);
  return BC_OK;
}

void bc_source_order_dispose(bc_source_order *o)
{
  bc_free(o->of);
  bc_free(o->ids);
  *o = (bc_source_order){ 0 };
}
