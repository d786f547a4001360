/*
 * Segment: an immutable file of tile payloads with its own directory at the end. Internal.
 *
 * Header (64 bytes) | payloads, each at a multiple of 64 | directory | footer (64 bytes). Written under a
 * temporary name, fsynced, renamed, folder fsynced. docs/format.md section 3.
 */
#ifndef BC_STORE_SEGMENT_H
#define BC_STORE_SEGMENT_H

#include "store/index.h"
#include "store/os.h"

#define BC_SEGMENT_NAME 24 /* "0000000000000001.seg" */
void bc_segment_name(uint32_t id, char out[BC_SEGMENT_NAME]);
/* The id in a file name; false for any other name. */
bool bc_segment_id(const char *name, uint32_t *id);
/* The name of a segment that was being written. Whoever holds the writer's lock is the only one that may be
 * writing: then it is dead. */
bool bc_segment_is_unfinished(const char *name);

/* ---- writing ---- */
typedef struct bc_segw bc_segw;
bc_status bc_segw_open(const char *folder, uint32_t id, const uint8_t uuid[16], bc_segw **out,
                       bc_err *err) BC_MUST_CHECK;
/*
 * Add a tile. head is a parsed-able head, payload its bytes. When reuse is given the payload is not written:
 * the tile refers to reuse's segment and offset. rec receives all but head_offset, which finish settles.
 */
bc_status bc_segw_add(bc_segw *w, bc_bytes head, bc_bytes payload, const bc_tile_rec *reuse,
                      bc_err *err) BC_MUST_CHECK;
/* Bytes of a payload that was added, read back from the file. */
bc_status bc_segw_read(bc_segw *w, uint64_t off, void *dst, size_t n, bc_err *err) BC_MUST_CHECK;
uint64_t bc_segw_bytes(const bc_segw *w);
size_t bc_segw_count(const bc_segw *w);
/* schema: the encoded grids, modalities and sources that these tiles use. Publishes the file. */
bc_status bc_segw_finish(bc_segw *w, bc_bytes schema, bc_err *err) BC_MUST_CHECK;
/* After finish: key and record of tile i. */
void bc_segw_tile(const bc_segw *w, size_t i, bc_tile_key *key, bc_tile_rec *rec);
void bc_segw_close(bc_segw *w); /* discards what was not finished */

/* ---- reading ---- */
typedef struct bc_segment bc_segment; /* mapped; reference-counted, internally locked */
/* Maps and checks header, footer, sizes, ids. deep also checks the directory's hash. */
bc_status bc_segment_open(const char *folder, uint32_t id, const uint8_t uuid[16], bool deep,
                          bc_segment **out, bc_err *err) BC_MUST_CHECK;
bc_status bc_segment_check_directory(const bc_segment *s,
                                     bc_err *err) BC_MUST_CHECK; /* the hash that deep checks */
bc_segment *bc_segment_ref(bc_segment *s);
void bc_segment_unref(bc_segment *s); /* NULL is fine */
int bc_segment_refs(bc_segment *s);   /* 1 = nobody but the asker */
uint32_t bc_segment_number(const bc_segment *s);
uint64_t bc_segment_bytes(const bc_segment *s);
bc_status bc_segment_slice(const bc_segment *s, uint64_t off, uint64_t len, bc_bytes *out,
                           bc_err *err) BC_MUST_CHECK;
bc_bytes bc_segment_schema(const bc_segment *s);
uint64_t bc_segment_count(const bc_segment *s);
uint64_t bc_segment_payload_bytes(const bc_segment *s); /* between header and directory */
/* Bytes that belong to no payload are zero, and payloads follow one another: BC_E_CORRUPT otherwise. */
bc_status bc_segment_check_gaps(const bc_segment *s, bc_err *err) BC_MUST_CHECK;
/* Walk the directory: record and head of each tile. */
typedef bc_status (*bc_segment_fn)(void *ctx, const bc_tile_rec *rec, bc_bytes head, bc_err *err);
bc_status bc_segment_each(const bc_segment *s, bc_segment_fn each, void *ctx, bc_err *err) BC_MUST_CHECK;

#endif
