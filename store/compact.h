/*
 * Which pieces of a tile can become one, and making it. Internal to compaction.
 *
 * Pieces of one tile and layout copy overlay one another, the greater part number wins. A merged tile takes
 * the part number of its lowest piece. So a piece may only join a lower one when no piece between the two,
 * that stays outside, overlaps it: else that one, which it covered, would now cover it. compact_plan.c finds
 * the sets, compact_merge.c makes the tiles.
 */
#ifndef BC_STORE_COMPACT_H
#define BC_STORE_COMPACT_H

#include "store/linear16.h"
#include "store/snapshot.h"

typedef struct bc_piece {
  bc_tile_key key;
  bc_tile_rec rec;
} bc_piece;

static inline bc_status bc_compact_no_memory(bc_err *err)
{
  return BC_FAIL(err, BC_E_NOMEM, "compact: no memory");
}

typedef struct bc_merger bc_merger; /* decoder, encoder and scratch of one thread */
/* max_bytes: of decoded values in a merged tile. */
bc_status bc_merger_open(uint64_t max_bytes, bc_merger **out, bc_err *err) BC_MUST_CHECK;
void bc_merger_close(bc_merger *m); /* NULL is fine */

/*
 * All pieces of one cell, time and modality in key order: first copy, then second. into[i] receives the place
 * of the piece that i becomes part of: i itself when it stays as it is or is the lowest of its set. Copies
 * that do not have the same pieces are left alone, so that their part numbers go on to mean the same.
 */
bc_status bc_merge_plan(bc_merger *m, bc_snapshot *snap, const bc_piece *pieces, size_t n, uint32_t *into,
                        bc_err *err) BC_MUST_CHECK;

/* Make one tile of the n pieces that a plan put together, ascending. Head and payload are borrowed until the
 * next call. */
bc_status bc_merge_run(bc_merger *m, bc_snapshot *snap, const bc_piece *const *pieces, size_t n,
                       bc_bytes *head, bc_bytes *payload, bc_err *err) BC_MUST_CHECK;

/* ---- the run ---- */

typedef struct bc_seg_state {
  uint32_t id;
  uint64_t file_bytes, payload_bytes, count; /* of the file; count: directory entries */
  uint64_t live,
      merging;          /* payload bytes that tiles refer to; of these, those of pieces that will be merged */
  uint64_t heads, refs; /* tiles whose head is here; the same, and those whose payload is */
  bool readable;
  bool broken;  /* readable, but its directory is not as it was written */
  bool moving;  /* all its tiles go elsewhere */
  bool unknown; /* the index was made anew without it */
  bool retired, removed;
} bc_seg_state;

typedef struct bc_compaction {
  bc_store *st;
  bc_writer *w; /* NULL: dry run */
  const bc_progress *progress;
  bc_compact_report *report;
  bc_seg_state *segs; /* by number */
  size_t n_segs;
  uint8_t *moving; /* the same for the writer, by number */
  bc_upkeep upkeep;
  uint64_t moving_bytes; /* files, of moving segments */
  uint64_t lost;         /* tiles in force in segments that cannot be read */
  bool forget_lost;
} bc_compaction;

bc_seg_state *bc_compact_seg(const bc_compaction *c, uint32_t id); /* NULL: none of that number */
void bc_compact_note(const bc_compaction *c, const bc_err *e);
/*
 * Commit what waits. Segments that nothing refers to any more are retired with it and unlinked: with the last
 * commit, or when they are worth it, because each such commit counts usage anew in a walk over the whole
 * index.
 */
bc_status bc_compact_commit(bc_compaction *c, bool last, bc_err *err) BC_MUST_CHECK;
/* Unlink what interrupted runs left: files that a commit has retired, and unfinished ones. */
bc_status bc_compact_leftovers(bc_compaction *c, bc_err *err) BC_MUST_CHECK;

/* tile_packed.c: the packing of each step (out has room for h->nt) when the tile was made of packed integers.
 * Fill values are those of the first block only. */
bc_status bc_tile_packing(bc_zstd *z, bc_lin16_scratch *scratch, const bc_tile_head *h, bc_bytes payload,
                          bc_packing *out, bool *packed, bc_err *err) BC_MUST_CHECK;

#endif
