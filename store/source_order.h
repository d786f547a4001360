/*
 * In which order the files of a store replaced values of one another: of what two of them have, the values of
 * the later one were in force. Internal; one thread.
 */
#ifndef BC_STORE_SOURCE_ORDER_H
#define BC_STORE_SOURCE_ORDER_H

#include "store/snapshot.h"

/* Zeroed is empty. */
typedef struct bc_source_order {
  uint32_t n;
  int64_t *of;   /* by source */
  uint32_t *ids; /* all of them, the earliest first; numbers that no source has are among them */
} bc_source_order;

/* Looks at all sources once. */
bc_status bc_source_order_load(bc_source_order *o, bc_snapshot *s, bc_err *err) BC_MUST_CHECK;
/* Sources that came after loading fill gaps only: bc_source_rec.order. */
static inline int64_t bc_source_order_of(const bc_source_order *o, uint32_t id)
{
  return id < o->n ? o->of[id] : bc_order_behind(id);
}
void bc_source_order_dispose(bc_source_order *o); /* leaves it empty, safe twice */

#endif
