/*
 * Slices, bounded buffers, checked arithmetic, byte loads, allocator. Internal; everything above uses it.
 */
#ifndef BC_STORE_BASE_H
#define BC_STORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/err.h"

#define BC_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BC_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define BC_MAX(a, b)    ((a) > (b) ? (a) : (b))

/* Asserts are for programming errors only; file content and user input never reach one. */
#ifdef NDEBUG
#define BC_ASSERT(x) ((void)sizeof(!(x)))
#else
#include <assert.h>
#define BC_ASSERT(x) assert(x)
#endif

/* Hot loops are also compiled for AVX2 and chosen at load time, where the platform can. Sanitizers run before
 * the resolver is allowed to, so they get the plain build. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) &&      \
    !defined(__SANITIZE_THREAD__) && !defined(BC_NO_MULTIVERSION)
#define BC_HOT __attribute__((target_clones("avx2", "default")))
#else
#define BC_HOT
#endif

typedef struct bc_str {
  const char *p;
  size_t n;
} bc_str; /* borrowed UTF-8, not NUL-terminated */

typedef struct bc_bytes {
  const uint8_t *p;
  size_t n;
} bc_bytes; /* borrowed bytes: every decoder takes one */

typedef struct bc_buf {
  uint8_t *p;
  size_t n, cap, max;
} bc_buf; /* owned; growing past max is BC_E_RANGE */

/* ---- allocation: one hook for tests (fault injection) ---- */
void *bc_malloc(size_t n);
void *bc_calloc(size_t n, size_t size);
void *bc_realloc(void *p, size_t n); /* on failure the old block survives */
void bc_free(void *p);
void *bc_aligned_alloc64(size_t n); /* 64-byte aligned; bc_free */
char *bc_strdup(const char *s);
/* Formats into a new string; NULL when memory is short. bc_free. */
char *bc_asprintf(const char *fmt, ...) BC_PRINTF(1, 2);

/* Tests: called before each allocation; returning true makes it fail. NULL = off. Not thread-safe to set. */
void bc_alloc_set_hook(bool (*fail)(void *ctx), void *ctx);

/* ---- checked arithmetic: false on overflow ---- */
static inline bool bc_add_sz(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool bc_mul_sz(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool bc_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
  return !__builtin_add_overflow(a, b, out);
}
static inline bool bc_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
  return !__builtin_mul_overflow(a, b, out);
}
static inline bool bc_u64_to_sz(uint64_t v, size_t *out)
{
  *out = (size_t)v;
  return (uint64_t)*out == v;
}
/* product of ndim extents times elem; false on overflow or a negative extent */
bool bc_shape_bytes(const int64_t *shape, int ndim, size_t elem, size_t *out);
static inline bool bc_in_bounds(uint64_t off, uint64_t len, uint64_t n) { return off <= n && len <= n - off; }
static inline uint64_t bc_round_up64(uint64_t v) { return (v + 63u) & ~(uint64_t)63u; }

/* ---- little-endian loads and stores on any address ---- */
static inline uint16_t bc_le16(const uint8_t *p) { return (uint16_t)(p[0] | (uint16_t)(p[1] << 8)); }
static inline uint32_t bc_le32(const uint8_t *p)
{
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t bc_le64(const uint8_t *p)
{
  return (uint64_t)bc_le32(p) | (uint64_t)bc_le32(p + 4) << 32;
}
static inline void bc_put_le16(uint8_t *p, uint16_t v)
{
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}
static inline void bc_put_le32(uint8_t *p, uint32_t v)
{
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
  p[2] = (uint8_t)(v >> 16);
  p[3] = (uint8_t)(v >> 24);
}
static inline void bc_put_le64(uint8_t *p, uint64_t v)
{
  bc_put_le32(p, (uint32_t)v);
  bc_put_le32(p + 4, (uint32_t)(v >> 32));
}
double bc_le_f64(const uint8_t *p);
void bc_put_le_f64(uint8_t *p, double v);
/* big-endian: index keys only */
static inline void bc_put_be16(uint8_t *p, uint16_t v)
{
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}
static inline void bc_put_be32(uint8_t *p, uint32_t v)
{
  bc_put_be16(p, (uint16_t)(v >> 16));
  bc_put_be16(p + 2, (uint16_t)v);
}
static inline void bc_put_be64(uint8_t *p, uint64_t v)
{
  bc_put_be32(p, (uint32_t)(v >> 32));
  bc_put_be32(p + 4, (uint32_t)v);
}
static inline uint16_t bc_be16(const uint8_t *p) { return (uint16_t)((uint16_t)(p[0] << 8) | p[1]); }
static inline uint32_t bc_be32(const uint8_t *p) { return (uint32_t)bc_be16(p) << 16 | bc_be16(p + 2); }
static inline uint64_t bc_be64(const uint8_t *p) { return (uint64_t)bc_be32(p) << 32 | bc_be32(p + 4); }

/* ---- slices and buffers ---- */
static inline bool bc_bytes_sub(bc_bytes b, uint64_t off, uint64_t len, bc_bytes *out)
{
  if (!bc_in_bounds(off, len, b.n)) return false;
  out->p = b.p + off;
  out->n = (size_t)len;
  return true;
}
static inline bc_buf bc_buf_empty(size_t max) { return (bc_buf){ NULL, 0, 0, max }; }
/* Make room for extra more bytes. */
bc_status bc_buf_reserve(bc_buf *b, size_t extra, bc_err *err) BC_MUST_CHECK;
bc_status bc_buf_put(bc_buf *b, const void *p, size_t n, bc_err *err) BC_MUST_CHECK;
bc_status bc_buf_printf(bc_buf *b, bc_err *err, const char *fmt, ...) BC_MUST_CHECK BC_PRINTF(3, 4);
void bc_buf_dispose(bc_buf *b); /* empties it, keeps max; safe twice */

/* A reader over a slice that remembers that it ran out: check ok once at the end. */
typedef struct bc_cursor {
  bc_bytes b;
  size_t at;
  bool ok;
} bc_cursor;
const uint8_t *bc_cur_take(bc_cursor *c, size_t n); /* NULL and ok = false when short */
uint8_t bc_cur_u8(bc_cursor *c);
uint16_t bc_cur_u16(bc_cursor *c);
uint32_t bc_cur_u32(bc_cursor *c);
uint64_t bc_cur_u64(bc_cursor *c);
double bc_cur_f64(bc_cursor *c);
/* u16 length + bytes; copied into dst[cap] with NUL; ok = false when it does not fit or holds a NUL */
void bc_cur_text(bc_cursor *c, char *dst, size_t cap);
bc_status bc_buf_u8(bc_buf *b, uint8_t v, bc_err *err) BC_MUST_CHECK;
bc_status bc_buf_u16(bc_buf *b, uint16_t v, bc_err *err) BC_MUST_CHECK;
bc_status bc_buf_u32(bc_buf *b, uint32_t v, bc_err *err) BC_MUST_CHECK;
bc_status bc_buf_u64(bc_buf *b, uint64_t v, bc_err *err) BC_MUST_CHECK;
bc_status bc_buf_f64(bc_buf *b, double v, bc_err *err) BC_MUST_CHECK;
bc_status bc_buf_text(bc_buf *b, const char *s, bc_err *err) BC_MUST_CHECK;

/* Copy with a guaranteed NUL; false when cut. */
bool bc_copy_text(char *dst, size_t cap, const char *src);
/* Shell-style match: * ? and [a-z]; whole text. */
bool bc_glob_match(const char *pattern, const char *text);
/* Edit distance, for "did you mean"; capped at 99. */
int bc_edit_distance(const char *a, const char *b);

#endif
