/*
 * Decoding the tiles of a plan into a buffer, with threads that live as long as the call. Internal to query.
 */
#ifndef BC_QUERY_EXEC_H
#define BC_QUERY_EXEC_H

#include "query/plan.h"

/* Values of steps [from, to) of the variable's axis into dst: (to - from) * v->step_bytes bytes, C order. */
bc_status bc_exec_steps(bc_query *q, const bc_qvar *v, size_t from, size_t to, void *dst,
                        const bc_progress *progress, bc_err *err) BC_MUST_CHECK;

#endif
