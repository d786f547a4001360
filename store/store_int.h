/* Inside of the store: what opening, snapshots, writers and upkeep share. */
#ifndef BC_STORE_STORE_INT_H
#define BC_STORE_STORE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/snapshot.h"

#define BC_MARKER   "BIOCUBE"
#define BC_SEGMENTS "segments"
#define BC_INDEX    "index"
#define BC_NEWEST   "newest" /* beside the segments: the number of the newest */
#define BC_LOCK     "writer.lock"

/* Keys of BC_TABLE_META; values are le64. */
#define BC_META_SNAPSHOT     "snapshot" /* number of commits */
#define BC_META_SCHEMA       "schema"   /* changes with every change of grids or modalities */
#define BC_META_NEXT_SEGMENT "next-segment"
#define BC_META_NEXT_SOURCE  "next-source"
#define BC_META_NEXT_ORDER   "next-order" /* of sources; not in stores of the first days */
#define BC_META_UUID_LO      "uuid-lo"
#define BC_META_UUID_HI      "uuid-hi"

/* Grids and modalities of one schema counter; immutable, shared by snapshots. */
typedef struct bc_schema {
  atomic_int refs;
  uint64_t counter;
  size_t n_grids, n_modalities;
  bc_grid *grids;
  bc_modality *modalities;
} bc_schema;

struct bc_store {
  char *path, *segments, *newest;
  uint8_t uuid[16];
  bc_grid grid; /* of the marker: number 0 */
  long pid;
  bool write;
  bool published; /* an immutable copy: never written, opened without locks */
  bool locked;
  bc_lock lock;
  bc_index *ix;
  pthread_mutex_t mutex; /* guards what follows */
  bc_schema *schema;
  bc_segment **open; /* n_open, sorted by number; each holds a reference */
  size_t open_cap, n_open;
};

struct bc_snapshot {
  bc_store *st;
  bc_txn *txn;
  bc_schema *schema;
  uint64_t id;
};

/* 37 bytes with NUL. */
void bc_uuid_text(const uint8_t u[16], char out[37]);
/* Without trailing slashes; bc_free. */
char *bc_path_trimmed(const char *path);
/* Fills uuid, grid and state of a store whose path is set. */
bc_status bc_marker_read(bc_store *st, bc_err *err) BC_MUST_CHECK;
bc_status bc_marker_text(const uint8_t uuid[16], const bc_grid *g, bool published, bc_buf *b,
                         bc_err *err) BC_MUST_CHECK;
bc_status bc_meta_get(bc_txn *t, const char *name, uint64_t *out, bc_err *err) BC_MUST_CHECK;
/* What the next order is; where the index does not say, the next source. */
bc_status bc_meta_next_order(bc_txn *t, int64_t *out, bc_err *err) BC_MUST_CHECK;
bc_status bc_meta_put(bc_txn *t, const char *name, uint64_t v, bc_err *err) BC_MUST_CHECK;
/* Numbers are given one by one: a file of one so much greater than the next has strayed in. */
#define BC_STRAY_FAR 65536u

/* An entry of 0 bytes for a segment that cannot be read, unless it has one; its number is not given again. */
bc_status bc_put_lost_segment(bc_txn *t, uint32_t id, bc_err *err) BC_MUST_CHECK;
bc_status bc_meta_put_uuid(bc_txn *t, const uint8_t uuid[16], bc_err *err) BC_MUST_CHECK;
bc_status bc_put_grid(bc_txn *t, uint8_t number, const bc_grid *g, bc_err *err) BC_MUST_CHECK;
bc_status bc_put_modality(bc_txn *t, const bc_modality *m, bc_err *err) BC_MUST_CHECK;
bc_status bc_put_usage(bc_txn *t, uint16_t modality, const bc_usage *u, bc_err *err) BC_MUST_CHECK;
bc_status bc_get_usage(bc_txn *t, uint16_t modality, bc_usage *out,
                       bc_err *err) BC_MUST_CHECK; /* absent: empty */
bc_status bc_put_source(bc_txn *t, const bc_source_rec *s, bc_err *err) BC_MUST_CHECK;
bc_status bc_get_source(bc_txn *t, uint32_t id, bc_source_rec *out, bc_err *err) BC_MUST_CHECK;
/* Key of BC_TABLE_SOURCE_HASH: file hash, then the hash of the request. */
#define BC_SOURCE_KEY 24
void bc_source_key(const bc_source_rec *s, uint8_t out[BC_SOURCE_KEY]);

/* Tables and first entries of an empty store. */
bc_status bc_index_init(const char *folder, const uint8_t uuid[16], const bc_grid *grid,
                        bc_err *err) BC_MUST_CHECK;
/* Marker and writer lock only: for making a new index. */
bc_status bc_store_open_bare(const char *path, bc_store **out, bc_err *err) BC_MUST_CHECK;
/*
 * The number of the newest segment that was committed, kept outside of the index: an index that was put back,
 * or made anew after that segment went, would not miss it. Written after each commit as far as that works; 0
 * when there is none. Read it before the index, which is then no older unless it was put back.
 */
void bc_newest_put(const bc_store *st, uint32_t id);
uint32_t bc_newest_get(const bc_store *st);
/*
 * Whether an index cannot be the one that the younger segments were committed to: a crash leaves one of them
 * at most, whole, with the number next (the first that the index does not know). first: of those that are
 * whole.
 */
static inline bool bc_is_put_back(uint64_t n_whole, uint64_t n_lost, uint32_t first, uint64_t next)
{
  return n_whole > 0 && (n_whole > 1 || n_lost > 0 || first != next);
}
/* Among numbers of segments, le32 each, in any order. */
static inline bool bc_has_number(const bc_buf *numbers, uint32_t id)
{
  bool any = false;
  for (size_t i = 0; i < numbers->n && !any; i += 4)
    any = bc_le32(numbers->p + i) == id;
  return any;
}
/* Let go of maps that nobody uses; the mutex is held. */
void bc_store_drop_unused(bc_store *st);
/* An owned reference to a mapped segment. */
bc_status bc_store_segment(bc_store *st, uint32_t id, bc_segment **out, bc_err *err) BC_MUST_CHECK;
/* Let go of a segment that is not in use, so that its file's space is free once it is unlinked. */
void bc_store_forget(bc_store *st, uint32_t id);
/* Add one tile's record to a usage; t_first, t_last from its head. */
void bc_usage_add(bc_usage *u, const bc_tile_rec *r, int64_t t_first, int64_t t_last);

void bc_schema_unref(bc_schema *s);

/* How deep a store is looked into. */
typedef enum bc_depth {
  BC_DEPTH_HEADS, /* index, sizes, heads and tails of segments */
  BC_DEPTH_BYTES, /* and the checksum of every stored byte */
  BC_DEPTH_VALUES /* and every block decoded */
} bc_depth;
/* bc_store_verify, which has two of the three. */
bc_status bc_store_check(bc_store *st, bc_depth depth, void (*found)(void *ctx, const bc_damage *d),
                         void *ctx, const bc_progress *progress, bc_verify_report *report,
                         bc_err *err) BC_MUST_CHECK;

#endif
