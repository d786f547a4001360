/*
 * Aggregation over steps: accumulators for one period of one plane. Internal to query.
 *
 * Lifetime: open, then for each period any number of adds and one finish, then close. Threads: one each.
 */
#ifndef BC_QUERY_REDUCE_H
#define BC_QUERY_REDUCE_H

#include "query/select.h"
#include "store/base.h"

typedef struct bc_reducer bc_reducer;

/* Bytes of accumulators for n values. */
uint64_t bc_reduce_bytes(bc_agg agg, uint64_t n);
bc_status bc_reduce_open(bc_agg agg, size_t n, bc_reducer **out, bc_err *err) BC_MUST_CHECK;
void bc_reduce_close(bc_reducer *r);
/* Take in one step of n values; NaN is passed over. */
void bc_reduce_add(bc_reducer *r, const float *src);
/* Write the period's n values (float32, NaN where nothing was valid; BC_AGG_COUNT: int32) and start anew. dst
 * may be memory that was added before. */
void bc_reduce_finish(bc_reducer *r, void *dst);
/* CF cell method of an aggregation, "" when CF has none: "maximum". */
const char *bc_reduce_method(bc_agg agg);

#endif
