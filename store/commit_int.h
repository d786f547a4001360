/* Reading a commit record, shared by commit_record.c and commit.c. Internal. */
#ifndef BC_STORE_COMMIT_INT_H
#define BC_STORE_COMMIT_INT_H

#include "store/commit.h"

bc_status bc_commit_bad(const bc_segment *seg,
                        bc_err *err) BC_MUST_CHECK; /* "its commit record is damaged" */
bool bc_commit_sized(bc_cursor *c, bc_bytes *part); /* the next u32-sized part */
/* From the drops on to the end of the record. */
bc_status bc_commit_tail(const bc_segment *seg, bc_cursor *c, bc_commit_parts *out,
                         bc_err *err) BC_MUST_CHECK;

/* Runs of segments, as in bc_commit_parts.live. */
uint32_t bc_live_first(bc_bytes live, size_t i);
uint32_t bc_live_n(bc_bytes live, size_t i);
bool bc_live_has(bc_bytes live, uint32_t id);

#endif
