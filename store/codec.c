/*
 * Hashes, byte shuffle, zstd, byte planes: see codec.h.
 */
#include "store/codec.h"

#include <string.h>

#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

/* ---- hashes ---- */

uint64_t bc_hash64(const void *p, size_t n) { return XXH3_64bits(p, n); }

struct bc_hasher {
  XXH3_state_t *state;
};

bc_hasher *bc_hasher_open(void)
{
  bc_hasher *h = bc_calloc(1, sizeof *h);

  if (h == NULL) return NULL;
  h->state = XXH3_createState();
  if (h->state == NULL || XXH3_128bits_reset(h->state) != XXH_OK) {
    bc_hasher_close(h);
    return NULL;
  }
  return h;
}

void bc_hasher_add(bc_hasher *h, const void *p, size_t n) { (void)XXH3_128bits_update(h->state, p, n); }

void bc_hasher_finish(bc_hasher *h, uint8_t out[16])
{
  XXH128_canonical_t canonical;

  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(h->state));
  memcpy(out, canonical.digest, sizeof canonical.digest);
}

void bc_hasher_close(bc_hasher *h)
{
  if (h == NULL) return;
  XXH3_freeState(h->state);
  bc_free(h);
}

/* ---- scratch ---- */

bc_status bc_scratch_need(bc_scratch *s, size_t n, bc_err *err)
{
  void *p = NULL;

  if (n <= s->cap) return BC_OK;
  p = bc_aligned_alloc64(n);
  if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for %zu bytes of decoding scratch", n);
  /* Kernels may look a few bytes past what was written (BC_PLANE_SLACK): keep those defined. */
  memset(p, 0, n);
  bc_free(s->p);
  s->p = p;
  s->cap = n;
  return BC_OK;
}

void bc_scratch_dispose(bc_scratch *s)
{
  bc_free(s->p);
  s->p = NULL;
  s->cap = 0;
}

/* ---- zstd ---- */

struct bc_zstd {
  ZSTD_CCtx *c;
  ZSTD_DCtx *d;
};

bc_status bc_zstd_open(bc_zstd **out, bc_err *err)
{
  bc_zstd *z = bc_calloc(1, sizeof *z);

  *out = NULL;
  if (z == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a zstd context");
  z->c = ZSTD_createCCtx();
  z->d = ZSTD_createDCtx();
  if (z->c == NULL || z->d == NULL) {
    bc_zstd_close(z);
    return BC_FAIL(err, BC_E_NOMEM, "no memory for a zstd context");
  }
  *out = z;
  return BC_OK;
}

void bc_zstd_close(bc_zstd *z)
{
  if (z == NULL) return;
  ZSTD_freeCCtx(z->c);
  ZSTD_freeDCtx(z->d);
  bc_free(z);
}

size_t bc_zstd_bound(size_t n) { return ZSTD_compressBound(n); }

bc_status bc_zstd_encode(bc_zstd *z, int level, const void *src, size_t n, void *dst, size_t cap,
                         size_t *stored, bc_err *err)
{
  const size_t got = ZSTD_compressCCtx(z->c, dst, cap, src, n, level);

  *stored = 0;
  if (ZSTD_isError(got))
    return BC_FAIL_SYS(err, BC_E_INTERNAL, "zstd", (int)ZSTD_getErrorCode(got),
                       "zstd level %d on %zu bytes: %s", level, n, ZSTD_getErrorName(got));
  *stored = got;
  return BC_OK;
}

bc_status bc_zstd_decode(bc_zstd *z, bc_bytes src, void *dst, size_t n, bc_err *err)
{
  const unsigned long long promised = ZSTD_getFrameContentSize(src.p, src.n);
  size_t got = 0;

  if (promised == ZSTD_CONTENTSIZE_ERROR || promised == ZSTD_CONTENTSIZE_UNKNOWN)
    return BC_FAIL(err, BC_E_CORRUPT, "%zu bytes are not a zstd frame that states its content size", src.n);
  if (promised != n)
    return BC_FAIL(err, BC_E_CORRUPT, "a zstd frame promises %llu bytes where %zu belong", promised, n);
  got = ZSTD_findFrameCompressedSize(src.p, src.n);
  if (ZSTD_isError(got) || got != src.n)
    return BC_FAIL(err, BC_E_CORRUPT, "a zstd frame does not fill its %zu stored bytes exactly", src.n);
  got = ZSTD_decompressDCtx(z->d, dst, n, src.p, src.n);
  if (ZSTD_isError(got))
    return BC_FAIL_SYS(err, BC_E_CORRUPT, "zstd", (int)ZSTD_getErrorCode(got),
                       "a zstd frame of %zu bytes does not decode: %s", src.n, ZSTD_getErrorName(got));
  if (got != n) return BC_FAIL(err, BC_E_CORRUPT, "a zstd frame gave %zu bytes where %zu belong", got, n);
  return BC_OK;
}

const char *bc_zstd_version(void) { return ZSTD_versionString(); }

#define STR_(x) #x
#define STR(x)  STR_(x)
const char *bc_xxh_version(void)
{
  return STR(XXH_VERSION_MAJOR) "." STR(XXH_VERSION_MINOR) "." STR(XXH_VERSION_RELEASE);
}

/* ---- byte shuffle ---- */

typedef uint8_t v16b __attribute__((vector_size(16)));

static inline __attribute__((always_inline)) v16b load16(const uint8_t *p)
{
  v16b v;

  memcpy(&v, p, sizeof v);
  return v;
}

static inline __attribute__((always_inline)) void store16(uint8_t *p, v16b v) { memcpy(p, &v, sizeof v); }

#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b)  __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define LOW(a, b)  __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

/* Each takes whole groups of 16 elements and returns how many elements it did. */
BC_HOT static size_t split2(const uint8_t *src, uint8_t *d0, uint8_t *d1, size_t n)
{
  size_t i = 0;

  for (; i + 16 <= n; i += 16) {
    const v16b a = load16(src + 2 * i), b = load16(src + 2 * i + 16);
    store16(d0 + i, EVEN(a, b));
    store16(d1 + i, ODD(a, b));
  }
  return i;
}

BC_HOT static size_t split4(const uint8_t *src, uint8_t *dst, size_t n)
{
  size_t i = 0;

  for (; i + 16 <= n; i += 16) {
    const uint8_t *s = src + 4 * i;
    const v16b a = load16(s), b = load16(s + 16), c = load16(s + 32), d = load16(s + 48);
    const v16b e0 = EVEN(a, b), e1 = EVEN(c, d), o0 = ODD(a, b), o1 = ODD(c, d);
    store16(dst + i, EVEN(e0, e1));
    store16(dst + n + i, EVEN(o0, o1));
    store16(dst + 2 * n + i, ODD(e0, e1));
    store16(dst + 3 * n + i, ODD(o0, o1));
  }
  return i;
}

BC_HOT static size_t merge2(const uint8_t *const p[2], size_t at, uint8_t *dst, size_t n)
{
  size_t i = 0;

  for (; i + 16 <= n; i += 16) {
    const v16b a = load16(p[0] + at + i), b = load16(p[1] + at + i);
    store16(dst + 2 * i, LOW(a, b));
    store16(dst + 2 * i + 16, HIGH(a, b));
  }
  return i;
}

BC_HOT static size_t merge4(const uint8_t *const p[4], size_t at, uint8_t *dst, size_t n)
{
  size_t i = 0;

  for (; i + 16 <= n; i += 16) {
    const v16b a = load16(p[0] + at + i), b = load16(p[1] + at + i);
    const v16b c = load16(p[2] + at + i), d = load16(p[3] + at + i);
    const v16b ac0 = LOW(a, c), ac1 = HIGH(a, c), bd0 = LOW(b, d), bd1 = HIGH(b, d);
    store16(dst + 4 * i, LOW(ac0, bd0));
    store16(dst + 4 * i + 16, HIGH(ac0, bd0));
    store16(dst + 4 * i + 32, LOW(ac1, bd1));
    store16(dst + 4 * i + 48, HIGH(ac1, bd1));
  }
  return i;
}

void bc_shuffle(const uint8_t *src, uint8_t *dst, size_t n, size_t elem)
{
  size_t i = 0;

  if (elem == 1 && n > 0) {
    memcpy(dst, src, n);
    return;
  }
  if (elem == 2) i = split2(src, dst, dst + n, n);
  if (elem == 4) i = split4(src, dst, n);
  for (; i < n; i++)
    for (size_t b = 0; b < elem; b++)
      dst[b * n + i] = src[i * elem + b];
}

void bc_planes_merge(const uint8_t *const planes[], size_t elem, size_t at, size_t n, uint8_t *dst)
{
  size_t i = 0;

  if (elem == 1 && n > 0) {
    memcpy(dst, planes[0] + at, n);
    return;
  }
  if (elem == 2) i = merge2(planes, at, dst, n);
  if (elem == 4) i = merge4(planes, at, dst, n);
  for (; i < n; i++)
    for (size_t b = 0; b < elem; b++)
      dst[i * elem + b] = planes[b][at + i];
}

void bc_unshuffle(const uint8_t *src, uint8_t *dst, size_t n, size_t elem)
{
  const uint8_t *planes[8] = { src };

  for (size_t b = 1; b < elem && b < 8; b++)
    planes[b] = src + b * n;
  bc_planes_merge(planes, elem, 0, n, dst);
}

/* ---- byte planes ---- */

#define PLANE_ZSTD 0x80000000u

bc_status bc_planes_encode(bc_zstd *z, int level, const uint8_t *planes, size_t n, size_t elem, bc_buf *out,
                           bc_err *err)
{
  const size_t table = out->n;

  BC_RET(bc_buf_reserve(out, 4 * elem, err));
  out->n += 4 * elem;
  for (size_t b = 0; b < elem; b++) {
    const size_t bound = bc_zstd_bound(n);
    size_t stored = 0;
    uint32_t word = 0;

    BC_RET(bc_buf_reserve(out, bound, err));
    BC_RET(bc_zstd_encode(z, level, planes + b * n, n, out->p + out->n, bound, &stored, err));
    /* A plane of noise is a good deal cheaper to copy, or to use where it lies, than to decode. */
    if (stored >= n - n / 16) {
      memcpy(out->p + out->n, planes + b * n, n);
      stored = n;
      word = (uint32_t)n;
    } else {
      word = (uint32_t)stored | PLANE_ZSTD;
    }
    bc_put_le32(out->p + table + 4 * b, word);
    out->n += stored;
  }
  return BC_OK;
}

bc_status bc_planes_decode(bc_zstd *z, bc_bytes src, size_t n, size_t elem, bc_scratch *scratch,
                           const uint8_t *planes[], bc_err *err)
{
  uint64_t at = 4 * elem;

  if (src.n < at)
    return BC_FAIL(err, BC_E_CORRUPT, "a block has %zu bytes where its %zu plane lengths belong", src.n,
                   elem);
  BC_RET(bc_scratch_need(scratch, elem * (n + BC_PLANE_SLACK), err));
  for (size_t b = 0; b < elem; b++) {
    const uint32_t word = bc_le32(src.p + 4 * b);
    const uint32_t stored = word & ~PLANE_ZSTD;
    uint8_t *own = (uint8_t *)scratch->p + b * (n + BC_PLANE_SLACK);
    bc_bytes part;

    if (!bc_bytes_sub(src, at, stored, &part))
      return BC_FAIL(err, BC_E_CORRUPT, "byte plane %zu of a block has %u bytes, only %zu are left", b,
                     stored, (size_t)(src.n - at));
    at += stored;
    planes[b] = own;
    if ((word & PLANE_ZSTD) != 0) {
      BC_RET(bc_zstd_decode(z, part, own, n, err));
    } else if (stored != n) {
      return BC_FAIL(err, BC_E_CORRUPT, "byte plane %zu of a block has %u bytes, %zu belong", b, stored, n);
    } else if (src.n - at >= BC_PLANE_SLACK) {
      planes[b] = part.p;
    } else {
      memcpy(own, part.p, n);
    }
  }
  if (at != src.n)
    return BC_FAIL(err, BC_E_CORRUPT, "a block has %zu bytes, its byte planes end at %zu", src.n, (size_t)at);
  return BC_OK;
}
