/*
 * What the parts of a compaction share: the groups of tiles that walks over the index meet (compact_group.c),
 * what is in force and which segments go (compact_survey.c), moving and merging (compact_write.c), the whole
 * (compact.c). Internal.
 */
#ifndef BC_STORE_COMPACT_RUN_INT_H
#define BC_STORE_COMPACT_RUN_INT_H

#include "store/compact.h"
#include "store/store_int.h"

typedef struct bc_piece_list {
  bc_piece *v;
  uint32_t *into; /* bc_merge_plan, from the first piece of the group and copy on */
  size_t n, cap;
} bc_piece_list;

/* Payloads of this cell and time, each counted once: equal tiles of two groups share one. */
typedef struct bc_compact_shared {
  uint64_t *v; /* pairs of segment and offset */
  size_t n, cap;
  uint32_t cell;
  int64_t time;
} bc_compact_shared;

typedef struct bc_compact_run {
  bc_compaction c;
  bc_merger *merger;
  bc_snapshot *snap;
  uint64_t target; /* bytes of a segment */
  size_t most;     /* tiles of a commit */
  size_t n_modalities;
  uint64_t *tiles, *work; /* by modality: tiles; stored bytes to move or merge, and one for each tile */
  bool *twin;             /* by modality: another group has a variable of that name */
  uint64_t total, done;   /* of work */
  bool any_merge;
  bc_compact_shared shared;
  bc_piece_list group;  /* of one cell, time and modality, while walking */
  bc_piece_list chunk;  /* groups that are to be written */
  bc_piece_list second; /* second copies, which follow their first ones */
  uint64_t chunk_bytes, second_bytes, chunk_room;
  uint64_t committed; /* tiles written before the last commit */
  uint16_t modality;  /* that is worked on */
  bool surveying;
} bc_compact_run;

static inline bool bc_same_group(const bc_tile_key *a, const bc_tile_key *b)
{
  return a->cell == b->cell && a->time == b->time && a->modality == b->modality;
}

/* ---- compact_group.c ---- */

bc_status bc_pieces_push(bc_piece_list *p, const bc_piece *piece, uint32_t into, bc_err *err) BC_MUST_CHECK;
void bc_pieces_dispose(bc_piece_list *p);
/* Piece i of a planned group becomes part of another, or another of it. */
bool bc_compact_is_merged(const bc_piece_list *g, uint32_t i);
/* Where head and payload of a tile lie; *payload is NULL when it has none. */
bc_status bc_compact_segs_of(const bc_compact_run *r, const bc_tile_rec *rec, bc_seg_state **head,
                             bc_seg_state **payload, bc_err *err) BC_MUST_CHECK;
bool bc_compact_is_moving(const bc_compact_run *r, const bc_tile_rec *rec);
/* Fills into of the group. One that is damaged is not merged. */
bc_status bc_compact_plan_group(bc_compact_run *r, bool *merges, bc_err *err) BC_MUST_CHECK;
/* Every tile from a key on (NULL: the first) to each, which gathers groups; the last one is left to end. */
bc_status bc_compact_walk(bc_compact_run *r, const bc_tile_key *from, bc_pair_fn each,
                          bc_status (*end)(bc_compact_run *, bc_err *), bc_err *err) BC_MUST_CHECK;
/* Unless there is one. */
bc_status bc_compact_open_snapshot(bc_compact_run *r, bc_err *err) BC_MUST_CHECK;
bc_status bc_compact_cancelled(const bc_compact_run *r, bc_err *err) BC_MUST_CHECK;

/* ---- compact_survey.c ---- */

bc_status bc_compact_load_segments(bc_compact_run *r, bc_err *err) BC_MUST_CHECK;
/* What is in force, and what merging will free. */
bc_status bc_compact_survey(bc_compact_run *r, bc_err *err) BC_MUST_CHECK;
/* Which segments go. */
void bc_compact_choose(bc_compact_run *r);
/* What there is to do, by modality. */
bc_status bc_compact_count(bc_compact_run *r, bc_err *err) BC_MUST_CHECK;

/* ---- compact_write.c ---- */

/* Move and merge the tiles of one modality, with commits in between when there is enough for one. */
bc_status bc_compact_write_modality(bc_compact_run *r, uint16_t id, bc_err *err) BC_MUST_CHECK;
bc_status bc_compact_run_commit(bc_compact_run *r, bool last, bc_err *err) BC_MUST_CHECK;

#endif
