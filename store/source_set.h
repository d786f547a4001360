/* Source records that wait for a commit, found by file hash and request. Internal; one thread. */
#ifndef BC_STORE_SOURCE_SET_H
#define BC_STORE_SOURCE_SET_H

#include "store/base.h"
#include "store/schema.h"

typedef struct bc_source_set {
  bc_source_rec *rec; /* in order of arrival */
  size_t n, cap;
  uint32_t *slot; /* place in rec + 1; 0 = free */
  size_t n_slots; /* a power of two */
} bc_source_set;

/* NULL when there is none of that hash and request. Valid until the next put. */
const bc_source_rec *bc_source_set_find(const bc_source_set *s, const bc_source_rec *like);
/* Add, or overwrite the one of the same hash and request. */
bc_status bc_source_set_put(bc_source_set *s, const bc_source_rec *rec, bc_err *err) BC_MUST_CHECK;
void bc_source_set_remove(bc_source_set *s, uint32_t id);
void bc_source_set_clear(bc_source_set *s);
void bc_source_set_dispose(bc_source_set *s); /* leaves it empty, safe twice */

#endif
