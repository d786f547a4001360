/*
 * A commit is a segment: its directory begins with a record of all that the commit changed besides its tiles.
 * The index is what applying all segments in order gives, so reindex and commit share this code. Internal.
 * docs/format.md section 5.5.
 */
#ifndef BC_STORE_COMMIT_H
#define BC_STORE_COMMIT_H

#include "store/segment.h"

/* Numbers first, first + 1 .. of segments. */
typedef struct bc_run {
  uint32_t first, n;
} bc_run;
#define BC_LIVE_MAX (UINT32_C(1) << 20) /* segments: of more no list is kept */

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
  bc_bytes carried;   /* more sources, each as length and record: those that retired segments spoke of */
  uint32_t n_carried; /* how many */
  uint32_t flags;     /* BC_COMMIT_.. */
  const bc_run *live; /* segments that are there after this commit, itself included, in ascending runs */
  size_t n_live;
} bc_commit;

/* Tiles take the place of others without a change of any value: usage is kept up to date by differences, not
 * counted anew. Of its sums the last bits may then be off until the next BC_COMMIT_RECOUNT. */
#define BC_COMMIT_UPKEEP 1u
/* Usage of all modalities is counted anew, in key order, and the schema counter is set. Every commit that
 * retires segments does so: what they had added to either must come out the same without them. */
#define BC_COMMIT_RECOUNT 2u

/* The parts of a published segment's record that compaction has to carry on when the segment goes. */
typedef struct bc_commit_parts {
  bc_bytes drops; /* n_drops keys of BC_TILE_KEY_BYTES */
  uint64_t n_drops;
  bc_bytes retired; /* n_retired x le32 */
  uint32_t n_retired;
  uint32_t flags;
  bc_bytes live; /* n_live x (le32 first, le32 n), checked; none: not known */
  uint32_t n_live;
} bc_commit_parts;
typedef bc_status (*bc_commit_source_fn)(void *ctx, uint32_t id, bc_err *err);
/* Pointers go into the segment; source (may be NULL) is called with the number of each source in the record.
 */
bc_status bc_commit_parts_of(const bc_segment *seg, bc_commit_parts *out, bc_commit_source_fn source,
                             void *ctx, bc_err *err) BC_MUST_CHECK;

bc_status bc_commit_encode(const bc_commit *c, bc_buf *out, bc_err *err) BC_MUST_CHECK;

/* Apply a published segment to the index: tiles, schema, sources, usage, counters. folder: where segments
 * are, for counting anew what dropped tiles leave. */
bc_status bc_commit_apply(bc_txn *t, const bc_segment *seg, const char *folder, const uint8_t uuid[16],
                          bc_err *err) BC_MUST_CHECK;

#endif
