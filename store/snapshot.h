/*
 * Tiles as a planner and a writer see them. Internal to the library: query and ingest include it, tools do
 * not.
 */
#ifndef BC_STORE_SNAPSHOT_H
#define BC_STORE_SNAPSHOT_H

#include "store/segment.h"
#include "store/store.h"

/* ---- reading ---- */

/* One tile with its bytes at hand. Holds a reference to its segments: bc_tile_close. */
typedef struct bc_tile {
  bc_tile_key key;
  bc_tile_rec rec;
  bc_tile_head head;
  bc_bytes payload;
  bc_segment *head_seg, *seg; /* owned references */
} bc_tile;
void bc_tile_close(bc_tile *t); /* safe twice */

/* Tiles of a cell; see bc_txn_tile_scan. Both layouts and all parts are reported. */
bc_status bc_snapshot_scan(bc_snapshot *s, uint32_t cell, int64_t t_from, int64_t t_to,
                           const uint16_t *wanted, size_t n_wanted, bc_tile_fn each, void *ctx,
                           bc_err *err) BC_MUST_CHECK;
/* One tile's record; BC_E_NOTFOUND without text. */
bc_status bc_snapshot_get(bc_snapshot *s, const bc_tile_key *key, bc_tile_rec *out,
                          bc_err *err) BC_MUST_CHECK;
/* Map what a record points to and parse the head; the head must name the same key. A segment whose file is
 * gone is BC_E_CORRUPT, but where it was retired since the snapshot was taken: then bc_is_stale. */
bc_status bc_snapshot_tile(bc_snapshot *s, const bc_tile_key *key, const bc_tile_rec *rec, bc_tile *out,
                           bc_err *err) BC_MUST_CHECK;
/* Whether the copy of that piece in the other layout can be opened: while it can, its values are not lost. */
bool bc_snapshot_has_copy(bc_snapshot *s, const bc_tile_key *key);
bc_store *bc_snapshot_store(bc_snapshot *s);
/* Steps of a tile whose head is lost, as far as the index knows: first, last, and how many. Of gaps between
 * it knows nothing, so that there may be more than there were. Returns how many, at most cap; 0: not known.
 * out may be NULL, to count. */
uint32_t bc_lost_steps(const bc_modality *m, const bc_tile_key *key, const bc_tile_rec *rec, int64_t *out,
                       uint32_t cap);
#define BC_LOST_STEPS_MAX ((uint32_t)1 << 20)
/* What the index says of a segment; sources are borrowed. BC_E_NOTFOUND: no such segment is in force. */
bc_status bc_snapshot_segment(bc_snapshot *s, uint32_t id, bc_segment_rec *out, bc_err *err) BC_MUST_CHECK;
/* True when a later commit has retired this segment: what this snapshot says of it is history. */
bool bc_snapshot_is_retired(const bc_snapshot *s, uint32_t segment);
/* What was read is not what was written, or of a version that nobody here knows. */
static inline bool bc_is_damage(bc_status st) { return st <= BC_E_CORRUPT && st > BC_E_IO; }
/* A segment that this snapshot needs has been retired meanwhile: take a new snapshot and plan again. */
bool bc_is_stale(bc_status st, const bc_err *e);
#define BC_STALE_RETRIES 5
/* "t2m, cell 17, 2019-03" for messages. */
char *bc_snapshot_tile_text(const bc_snapshot *s, const bc_tile_key *key, char *buf, size_t cap);
/* BC_E_INVAL when this process is a fork of the one that opened the store. */
bc_status bc_store_check_process(const bc_store *st, bc_err *err) BC_MUST_CHECK;

/* ---- writing: one writer at a time, by a store opened with BC_OPEN_WRITE; one thread ---- */
typedef struct bc_writer bc_writer;
bc_status bc_writer_open(bc_store *st, bc_writer **out, bc_err *err) BC_MUST_CHECK;
void bc_writer_close(bc_writer *w); /* what was not committed is gone */

/* Find group/name on that grid, or add it. An existing one keeps its bucket, layout and dtype; its level
 * list, cadence and attributes grow. Units that differ from the stored ones are BC_E_CONFLICT. *level_index
 * (may be NULL) receives, for each of def's levels, its index in the stored list. */
bc_status bc_writer_modality(bc_writer *w, const bc_modality *def, uint16_t *id, uint16_t *level_index,
                             bc_err *err) BC_MUST_CHECK;
/* Modalities so far, new ones included. */
size_t bc_writer_modalities(const bc_writer *w);
/* Back to the modalities, levels and attributes of the last keep: nothing was committed since, and no tile
 * refers to what came. */
void bc_writer_keep_schema(bc_writer *w);
void bc_writer_restore_schema(bc_writer *w);
const bc_modality *bc_writer_get_modality(const bc_writer *w, uint16_t id);
/* A source of that hash, whatever was requested of it. BC_E_NOTFOUND without text when there is none. */
bc_status bc_writer_find_file(bc_writer *w, const uint8_t hash[16], bc_source_rec *out,
                              bc_err *err) BC_MUST_CHECK;
/* BC_E_NOTFOUND without text when there is no source of that hash and request. */
bc_status bc_writer_find_source(bc_writer *w, const bc_source_rec *def, bc_source_rec *out,
                                bc_err *err) BC_MUST_CHECK;
/* Find a source by hash and request, or add it (not done). out receives the stored record. */
bc_status bc_writer_source(bc_writer *w, const bc_source_rec *def, bc_source_rec *out,
                           bc_err *err) BC_MUST_CHECK;
/* Order of a source that only fills gaps: behind all that were there. */
static inline int64_t bc_order_behind(uint32_t id) { return -(int64_t)id; }
/* From now on the values of a source that was there are in force, over those of all others. */
void bc_writer_source_comes_last(bc_writer *w, bc_source_rec *rec);
/* Forget what waits about a source. */
void bc_writer_forget_source(bc_writer *w, uint32_t id);
/* Record progress; takes effect with the next commit. */
bc_status bc_writer_source_update(bc_writer *w, const bc_source_rec *rec, bc_err *err) BC_MUST_CHECK;

/* Add an encoded tile. Its part number is settled before encoding: bc_writer_next_part. */
bc_status bc_writer_put(bc_writer *w, bc_bytes head, bc_bytes payload, bc_err *err) BC_MUST_CHECK;
/* Lowest free part number for this cell, time, modality, counting tiles that wait for the commit. */
bc_status bc_writer_next_part(bc_writer *w, bc_tile_key *key, bc_err *err) BC_MUST_CHECK;
/* Whether heads of tiles are lost: a segment is, or its directory is damaged. Reads all directories. */
bool bc_snapshot_lacks_heads(bc_snapshot *s);
/* Of the segment that the next commit makes. */
uint32_t bc_writer_number(const bc_writer *w);
/* The tile is superseded as a whole: gone after the next commit. */
bc_status bc_writer_drop(bc_writer *w, const bc_tile_key *key, bc_err *err) BC_MUST_CHECK;
/* No tile needs this segment after the commit. */
bc_status bc_writer_retire(bc_writer *w, uint32_t segment, bc_err *err) BC_MUST_CHECK;
uint64_t bc_writer_pending_bytes(const bc_writer *w);
bool bc_writer_is_pending(const bc_writer *w, const bc_tile_key *key); /* put, and waits for the commit */
/*
 * The following commits are upkeep, which moves and merges tiles but changes no value. Borrowed; NULL:
 * ordinary commits again. Such a commit speaks of all modalities, so that segments which did before it can
 * go.
 */
typedef struct bc_upkeep {
  const uint8_t *moving; /* by segment number: 1 = its payloads go, so no new tile may refer to one of them */
  size_t n_moving;
  bool recount;     /* of the next commit: BC_COMMIT_RECOUNT, and these sources are carried on: */
  bc_bytes sources; /* each as u32 length and record */
  uint32_t n_sources;
} bc_upkeep;
void bc_writer_set_upkeep(bc_writer *w, const bc_upkeep *u);
/* Publish the segment, then commit the index; nothing waits: nothing is done. After a failure the writer is
 * as before the first put. */
bc_status bc_writer_commit(bc_writer *w, bc_err *err) BC_MUST_CHECK;

#endif
