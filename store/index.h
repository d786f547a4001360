/*
 * The index: LMDB behind our keys, values and transactions. index.c is the only file here that includes
 * lmdb.h. Internal.
 *
 * LMDB trusts its file, so it only pins snapshots and writes; reading goes through index_page.c, which checks
 * what it uses. A writer has the whole file checked before LMDB touches it: bc_index_check.
 *
 * One environment per path per process (registry by device and inode). Read transactions are short: planning
 * only. Values are decoded by byte loads: LMDB aligns nothing. Threads: a bc_index may be shared, a bc_txn
 * may not.
 */
#ifndef BC_STORE_INDEX_H
#define BC_STORE_INDEX_H

#include "store/tile.h"

/* Index value of a tile, 128 bytes on disk. */
typedef struct bc_tile_rec {
  uint32_t head_segment; /* where its directory entry stands */
  uint32_t segment;      /* where its payload lies: another one when equal tiles are stored once */
  uint64_t offset;       /* of the payload */
  uint64_t stored, decoded;
  uint64_t hash; /* XXH3-64 of the stored payload */
  uint64_t head_offset;
  uint32_t head_bytes;
  uint32_t n_steps;
  bool even;            /* steps are as far apart each; false also when that is not known */
  uint32_t first, last; /* of these, in seconds after the bucket's time: known even when the head is lost.
                           first > last: not known */
  bc_codec codec;
  uint64_t n_valid, n_missing, n_absent;
  double min, max, sum, sumsq;
} bc_tile_rec;
#define BC_TILE_KEY_BYTES 16
#define BC_TILE_REC_BYTES 128

bool bc_tile_key_equal(const bc_tile_key *a, const bc_tile_key *b);
void bc_tile_key_put(const bc_tile_key *k, uint8_t out[BC_TILE_KEY_BYTES]);
bc_status bc_tile_key_get(bc_bytes src, bc_tile_key *out, bc_err *err) BC_MUST_CHECK;
void bc_tile_rec_put(const bc_tile_rec *r, uint8_t out[BC_TILE_REC_BYTES]);
bc_status bc_tile_rec_get(bc_bytes src, bc_tile_rec *out, bc_err *err) BC_MUST_CHECK;

/* What the index says of a segment. */
typedef struct bc_segment_rec {
  uint32_t id;
  uint64_t bytes;     /* of the file; 0: its commit was never applied, the file was lost before */
  bc_bytes sources;   /* le32 each, ascending: where the values of its tiles came from */
  uint32_t n_sources; /* 0 also when there are more than BC_SEGMENT_SOURCES_MAX */
} bc_segment_rec;
#define BC_SEGMENT_SOURCES_MAX 1048576u

typedef enum bc_table { /* small tables; keys and values are bytes made by store.c */
                        BC_TABLE_META,
                        BC_TABLE_GRIDS,
                        BC_TABLE_MODALITIES,
                        BC_TABLE_USAGE,
                        BC_TABLE_SOURCES,
                        BC_TABLE_SOURCE_HASH,
                        BC_TABLE_SEGMENTS,
                        BC_TABLE_TILES, /* by the typed functions below */
                        BC_N_TABLES
} bc_table;

typedef struct bc_index bc_index;
typedef struct bc_txn bc_txn;

#define BC_INDEX_CREATE 1u
#define BC_INDEX_WRITE  2u
#define BC_INDEX_NOLOCK 4u /* published and read-only stores: never writes, takes no lock */
#define BC_INDEX_FIXED  8u /* never grows: only as much address space as the file is long */
bc_status bc_index_open(const char *folder, unsigned flags, bc_index **out, bc_err *err) BC_MUST_CHECK;
void bc_index_close(bc_index *ix);
/* A compact copy of the last commit's state, as FOLDER/data.mdb, which must not exist. On disk when it
 * returns. */
bc_status bc_index_copy(bc_index *ix, const char *folder, bc_err *err) BC_MUST_CHECK;
uint64_t bc_index_bytes(const bc_index *ix); /* pages in use, times page size */
/* Structure of the file: every page whole and used once, keys in order. With more pages than max_pages, those
 * at the edge of the trees, where the entries are, are left out. BC_E_CORRUPT, BC_E_TRUNCATED */
bc_status bc_index_check(bc_index *ix, uint64_t max_pages, bc_err *err) BC_MUST_CHECK;
/* All entries against the sum that each commit keeps up to date. BC_E_CHECKSUM. Cost: a walk over the index.
 */
bc_status bc_txn_check_digest(bc_txn *t, bc_err *err) BC_MUST_CHECK;

bc_status bc_txn_begin(bc_index *ix, bool write, bc_txn **out, bc_err *err) BC_MUST_CHECK;
bc_status bc_txn_commit(bc_txn *t, bc_err *err) BC_MUST_CHECK; /* frees t in any case */
void bc_txn_abort(bc_txn *t);                                  /* NULL is fine */

/* Borrowed value, valid until the transaction's next write or end. BC_E_NOTFOUND without text. */
bc_status bc_txn_get(bc_txn *t, bc_table table, bc_bytes key, bc_bytes *value, bc_err *err) BC_MUST_CHECK;
bc_status bc_txn_put(bc_txn *t, bc_table table, bc_bytes key, bc_bytes value, bc_err *err) BC_MUST_CHECK;
bc_status bc_txn_del(bc_txn *t, bc_table table, bc_bytes key, bc_err *err) BC_MUST_CHECK; /* absent is fine */
bc_status bc_txn_count(bc_txn *t, bc_table table, uint64_t *out, bc_err *err) BC_MUST_CHECK;
/* Every pair in key order from the first key >= from (empty: the start), until each says stop. */
typedef bc_status (*bc_pair_fn)(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err);
bc_status bc_txn_each(bc_txn *t, bc_table table, bc_bytes from, bc_pair_fn each, void *ctx,
                      bc_err *err) BC_MUST_CHECK;

/* Segments. sources of the record are borrowed from value. */
bc_status bc_segment_rec_get(bc_bytes key, bc_bytes value, bc_segment_rec *out, bc_err *err) BC_MUST_CHECK;
bc_status bc_txn_segment_get(bc_txn *t, uint32_t id, bc_segment_rec *out, bc_err *err) BC_MUST_CHECK;
bc_status bc_txn_segment_put(bc_txn *t, const bc_segment_rec *rec, bc_err *err) BC_MUST_CHECK;
bc_status bc_txn_segment_del(bc_txn *t, uint32_t id, bc_err *err) BC_MUST_CHECK; /* absent is fine */

/* Tiles. */
bc_status bc_txn_tile_get(bc_txn *t, const bc_tile_key *key, bc_tile_rec *out, bc_err *err) BC_MUST_CHECK;
bc_status bc_txn_tile_put(bc_txn *t, const bc_tile_key *key, const bc_tile_rec *rec,
                          bc_err *err) BC_MUST_CHECK;
bc_status bc_txn_tile_del(bc_txn *t, const bc_tile_key *key, bc_err *err) BC_MUST_CHECK;
typedef bc_status (*bc_tile_fn)(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err);
/*
 * Tiles of one cell with t_from <= bucket time < t_to whose modality is in wanted (n ascending ids), in key
 * order. One cursor walk; runs of foreign keys are jumped over. A bucket that began before t_from is not
 * found: pass the floor of the longest bucket asked for.
 */
bc_status bc_txn_tile_scan(bc_txn *t, uint32_t cell, int64_t t_from, int64_t t_to, const uint16_t *wanted,
                           size_t n_wanted, bc_tile_fn each, void *ctx, bc_err *err) BC_MUST_CHECK;

#endif
