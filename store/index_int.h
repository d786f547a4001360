/*
 * What the parts of the index share: LMDB's environment, transactions and cursors (index.c, the only one that
 * sees lmdb.h), the file before LMDB sees it and its maps (index_file.c), the digest of all entries
 * (index_digest.c), tiles (index_tile.c). Internal to the index.
 */
#ifndef BC_STORE_INDEX_INT_H
#define BC_STORE_INDEX_INT_H

#include "store/index.h"
#include "store/index_page.h"
#include "store/os.h"

#define BC_INDEX_TRIES 20 /* a commit may come between pinning a snapshot and looking for its roots */

/* ---- index_file.c ---- */

/* The file as index_page.c reads it. Made anew when it has grown; transactions keep the one they began with.
 */
typedef struct bc_index_map {
  int refs;
  bc_map map;
} bc_index_map;

/* A reference to a map of the file as long as it is now: *current, or a new one in its place when that has
 * less than bytes. */
bc_status bc_index_map_get(bc_index_map **current, int fd, uint64_t bytes, bc_index_map **out,
                           bc_err *err) BC_MUST_CHECK;
void bc_index_map_unref(bc_index_map *m); /* NULL is fine */

/* Before LMDB sees the file, which it trusts: its two heads, the tree of tables, and that no page in use is
 * past the end. A writer may be at work, so a second look decides. */
bc_status bc_index_check_file(const char *data, bc_err *err) BC_MUST_CHECK;
/* LMDB follows links and writes to what they lead to, also when it only reads. */
bc_status bc_index_check_lock_file(const char *folder, bc_err *err) BC_MUST_CHECK;
/* LMDB writes it through a map: all of it must have room on the disk. */
bc_status bc_index_fill_lock_file(const char *folder, uint64_t bytes, bc_err *err) BC_MUST_CHECK;

/* ---- index_digest.c ---- */

#define BC_INDEX_MAX_KEY 511
bc_bytes bc_digest_key(void); /* of the digest, in the table meta */
/* What a pair adds to the digest. */
uint64_t bc_digest_pair(bc_table table, bc_bytes key, bc_bytes value);

/* ---- cursors: index.c ---- */

/* A walk over a table: LMDB's cursor where things are being written, ours where they are only read. */
typedef struct bc_index_cursor {
  bc_txn *t;
  bc_table table;
  struct MDB_cursor *own; /* NULL in a read transaction, which uses page */
  bc_page_cursor page;
  bc_bytes key, value;
} bc_index_cursor;

bc_status bc_index_cursor_open(bc_txn *t, bc_table table, bc_index_cursor *c, bc_err *err) BC_MUST_CHECK;
void bc_index_cursor_close(bc_index_cursor *c);
/* The first key >= from (empty: the first); BC_E_NOTFOUND without text when there is none. */
bc_status bc_index_cursor_seek(bc_index_cursor *c, bc_bytes from, bc_err *err) BC_MUST_CHECK;
bc_status bc_index_cursor_next(bc_index_cursor *c, bc_err *err) BC_MUST_CHECK;

#endif
