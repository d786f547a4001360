/* What the parts of a writer share: what waits (writer.c), and its commit (writer_commit.c). Internal. */
#ifndef BC_STORE_WRITER_INT_H
#define BC_STORE_WRITER_INT_H

#include "store/source_set.h"
#include "store/store_int.h"

/* A tile that waits for the commit, found by key. */
typedef struct bc_writer_slot {
  bc_tile_key key;
  uint32_t tile; /* its place in the segment + 1; 0 = free */
} bc_writer_slot;

typedef struct bc_writer_var {
  bc_modality m;
  bool changed; /* definition: new or grown */
  bool used;    /* tiles of it are in the pending segment */
  struct {
    uint16_t n_levels;
    int32_t n_attrs;
    int64_t cadence;
    bool changed;
  } kept;          /* bc_writer_keep_schema */
  uint16_t *twins; /* modalities of the same name in other groups */
  size_t n_twins;
} bc_writer_var;

struct bc_writer {
  bc_store *st;
  bc_segw *seg; /* opened by the first put */
  bc_writer_var *mods;
  size_t n_mods, kept_mods;
  bc_grid *grids;
  size_t n_grids;
  bc_source_set sources; /* changed or needed by pending tiles */
  uint32_t next_source, next_segment;
  int64_t next_order;
  uint64_t snapshot; /* of the last commit */
  bc_tile_key *drops;
  size_t n_drops, cap_drops;
  uint32_t *retired;
  size_t n_retired, cap_retired;
  bc_writer_slot *slots;
  size_t n_slots;          /* a power of two */
  const bc_upkeep *upkeep; /* NULL: ordinary commits */
};

/* The segment of the next commit, unless it is open. */
bc_status bc_writer_open_segment(bc_writer *w, bc_err *err) BC_MUST_CHECK;

/* Finish commits whose segment was published before a crash. *next_segment: a number past all files. */
bc_status bc_writer_roll_forward(bc_store *st, uint32_t *next_segment, bc_err *err) BC_MUST_CHECK;

#endif
