/*
 * Hashes, byte shuffle and zstd: the only file of this folder that includes zstd.h and xxhash.h. Internal.
 */
#ifndef BC_STORE_CODEC_H
#define BC_STORE_CODEC_H

#include "store/base.h"

/* XXH3-64. The stored form is little-endian by bc_put_le64. */
uint64_t bc_hash64(const void *p, size_t n);

/* XXH3-128 over a stream of pieces; out in canonical (big-endian) form. */
typedef struct bc_hasher bc_hasher;
bc_hasher *bc_hasher_open(void); /* NULL when memory is short */
void bc_hasher_add(bc_hasher *h, const void *p, size_t n);
void bc_hasher_finish(bc_hasher *h, uint8_t out[16]);
void bc_hasher_close(bc_hasher *h);

/* zstd contexts and scratch of one thread. */
typedef struct bc_zstd bc_zstd;
bc_status bc_zstd_open(bc_zstd **out, bc_err *err) BC_MUST_CHECK;
void bc_zstd_close(bc_zstd *z);
size_t bc_zstd_bound(size_t n);
/* dst has bc_zstd_bound(n) bytes; *stored receives the length. No frame checksum, content size present. */
bc_status bc_zstd_encode(bc_zstd *z, int level, const void *src, size_t n, void *dst, size_t cap,
                         size_t *stored, bc_err *err) BC_MUST_CHECK;
/* Decodes exactly n bytes: a frame that promises or yields another length is BC_E_CORRUPT, before allocation.
 */
bc_status bc_zstd_decode(bc_zstd *z, bc_bytes src, void *dst, size_t n, bc_err *err) BC_MUST_CHECK;

/* Byte shuffle: byte b of element i goes to dst[b*n + i]. elem 1, 2, 4 or 8; n elements. */
void bc_shuffle(const uint8_t *src, uint8_t *dst, size_t n, size_t elem);
void bc_unshuffle(const uint8_t *src, uint8_t *dst, size_t n, size_t elem);

const char *bc_zstd_version(void); /* of the linked library */
const char *bc_xxh_version(void);

#endif
