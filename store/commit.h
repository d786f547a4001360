/*
 * A commit is a segment: its directory begins with a record of all that the commit changed besides its tiles.
 * The index is what applying all segments in order gives, so reindex and commit share this code. Internal.
 * docs/format.md section 5.5.
 */
#ifndef BC_STORE_COMMIT_H
#define BC_STORE_COMMIT_H

#include "store/segment.h"

/* The record while it is made; counts and pointers are borrowed. */
typedef struct bc_commit {
  uint64_t snapshot; /* number of this commit */
  const bc_grid *grids;
  size_t n_grids;
  const bc_modality *const *modalities; /* those that changed or have tiles here */
  size_t n_modalities;
  const bc_source_rec *sources;
  size_t n_sources;
  const bc_tile_key *drops; /* tiles that are superseded: deleted before this segment's tiles are put */
  size_t n_drops;
  const uint32_t *retired; /* segments that no tile needs after this commit */
  size_t n_retired;
} bc_commit;

bc_status bc_commit_encode(const bc_commit *c, bc_buf *out, bc_err *err) BC_MUST_CHECK;

/* Apply a published segment to the index: tiles, schema, sources, usage, counters. folder: where segments
 * are, for counting anew what dropped tiles leave. */
bc_status bc_commit_apply(bc_txn *t, const bc_segment *seg, const char *folder, const uint8_t uuid[16],
                          bc_err *err) BC_MUST_CHECK;

#endif
