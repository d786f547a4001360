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

/* Memory that only grows, 64-byte aligned; { NULL, 0 } is empty. Growing loses the content. */
typedef struct bc_scratch {
  void *p;
  size_t cap;
} bc_scratch;
bc_status bc_scratch_need(bc_scratch *s, size_t n, bc_err *err) BC_MUST_CHECK;
void bc_scratch_dispose(bc_scratch *s);

/*
 * Byte planes: the shuffled bytes of n elements, each plane a zstd frame of its own (planes differ so much
 * that a common entropy table costs 3-7 % in size), or as it is when zstd gains less than 1/16.
 * docs/format.md.
 */
#define BC_PLANE_SLACK 16 /* readable bytes after each decoded plane, so that vector loads need no tail */
bc_status bc_planes_encode(bc_zstd *z, int level, const uint8_t *planes, size_t n, size_t elem, bc_buf *out,
                           bc_err *err) BC_MUST_CHECK;
/* planes[0..elem) receive n bytes each, in scratch or in src; n is what the caller's shape asks for. */
bc_status bc_planes_decode(bc_zstd *z, bc_bytes src, size_t n, size_t elem, bc_scratch *scratch,
                           const uint8_t *planes[], bc_err *err) BC_MUST_CHECK;
/* Elements [at, at + n) put together again. */
void bc_planes_merge(const uint8_t *const planes[], size_t elem, size_t at, size_t n, uint8_t *dst);

const char *bc_zstd_version(void); /* of the linked library */
const char *bc_xxh_version(void);

#endif
