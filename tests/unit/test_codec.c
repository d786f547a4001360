/* Hashes, shuffle, zstd, byte planes, plane records. */
#include "store/codec.h"
#include "store/linear16_parts.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static uint64_t rng_state = 0x9e3779b97f4a7c15u;

static uint32_t rng(void)
{
  rng_state ^= rng_state << 13;
  rng_state ^= rng_state >> 7;
  rng_state ^= rng_state << 17;
  return (uint32_t)(rng_state >> 32);
}

static uint8_t *noise(size_t n)
{
  uint8_t *p = bc_malloc(n + 1);

  cr_assert_not_null(p);
  for (size_t i = 0; i < n; i++)
    p[i] = (uint8_t)rng();
  return p;
}

Test(codec, hash64_known_values)
{
  /* the specification's own values: XXH3 64 of nothing and of "a", seed 0 */
  cr_assert_eq(bc_hash64("", 0), UINT64_C(0x2d06800538d394c2));
  cr_assert_eq(bc_hash64("a", 1), UINT64_C(0xe6c632b61e964e1f));
}

Test(codec, hash128_does_not_depend_on_pieces)
{
  static const uint8_t empty[16] = { 0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                     0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f };
  uint8_t *p = noise(5000), whole[16], pieces[16];
  bc_hasher *h = bc_hasher_open();

  cr_assert_not_null(h);
  bc_hasher_finish(h, whole);
  cr_assert_arr_eq(whole, empty, 16);
  bc_hasher_add(h, p, 5000);
  bc_hasher_finish(h, whole);
  bc_hasher_close(h);
  h = bc_hasher_open();
  for (size_t i = 0; i < 5000; i += 625)
    bc_hasher_add(h, p + i, 625);
  bc_hasher_finish(h, pieces);
  bc_hasher_close(h);
  bc_hasher_close(NULL);
  cr_assert_arr_eq(whole, pieces, 16);
  bc_free(p);
}

Test(codec, shuffle_is_the_naive_one_and_comes_back)
{
  static const size_t elems[] = { 1, 2, 4, 8 };
  static const size_t counts[] = { 0, 1, 2, 15, 16, 17, 31, 32, 100, 4097 };

  for (size_t e = 0; e < BC_ARRAY_LEN(elems); e++)
    for (size_t c = 0; c < BC_ARRAY_LEN(counts); c++) {
      const size_t elem = elems[e], n = counts[c];
      uint8_t *src = noise(n * elem), *mid = bc_malloc(n * elem + 1), *back = bc_malloc(n * elem + 1);
      bc_shuffle(src, mid, n, elem);
      for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < elem; b++)
          cr_assert_eq(mid[b * n + i], src[i * elem + b], "elem %zu, n %zu, value %zu", elem, n, i);
      bc_unshuffle(mid, back, n, elem);
      cr_assert(memcmp(src, back, n * elem) == 0, "elem %zu, n %zu", elem, n);
      bc_free(src);
      bc_free(mid);
      bc_free(back);
    }
}

static size_t pack(bc_zstd *z, const void *src, size_t n, uint8_t *dst, size_t cap)
{
  size_t stored = 0;
  bc_err err;

  cr_assert_eq(bc_zstd_encode(z, 3, src, n, dst, cap, &stored, &err), BC_OK);
  return stored;
}

Test(codec, zstd_takes_exactly_what_was_promised)
{
  uint8_t text[1000], packed[2000], back[1000];
  bc_zstd *z = NULL;
  bc_err err;
  size_t n, m;

  cr_assert_eq(bc_zstd_open(&z, &err), BC_OK);
  for (size_t i = 0; i < sizeof text; i++)
    text[i] = (uint8_t)(i / 50);
  n = pack(z, text, sizeof text, packed, bc_zstd_bound(sizeof text));
  cr_assert_lt(n, 200);
  cr_assert_eq(bc_zstd_decode(z, (bc_bytes){ packed, n }, back, sizeof back, &err), BC_OK);
  cr_assert_arr_eq(text, back, sizeof text);
  cr_assert_eq(bc_zstd_decode(z, (bc_bytes){ packed, n }, back, 999, &err), BC_E_CORRUPT, "shorter");
  cr_assert_eq(bc_zstd_decode(z, (bc_bytes){ packed, n }, back, 1001, &err), BC_E_CORRUPT, "longer");
  cr_assert_eq(bc_zstd_decode(z, (bc_bytes){ packed, n - 1 }, back, 1000, &err), BC_E_CORRUPT, "cut");
  cr_assert_eq(bc_zstd_decode(z, (bc_bytes){ packed, 0 }, back, 1000, &err), BC_E_CORRUPT, "empty");
  cr_assert_eq(bc_zstd_decode(z, (bc_bytes){ text, 100 }, back, 1000, &err), BC_E_CORRUPT, "no frame");
  m = pack(z, text, 10, packed + n, sizeof packed - n);
  cr_assert_eq(bc_zstd_decode(z, (bc_bytes){ packed, n + m }, back, 1000, &err), BC_E_CORRUPT, "two frames");
  bc_zstd_close(z);
  bc_zstd_close(NULL);
}

Test(codec, planes_come_back_and_refuse_damage)
{
  enum { N = 3000, ELEM = 4 };
  uint8_t *src = noise((size_t)N * ELEM), *mid = bc_malloc((size_t)N * ELEM),
          *back = bc_malloc((size_t)N * ELEM);
  const uint8_t *planes[ELEM];
  bc_scratch scratch = { NULL, 0 };
  bc_buf out = bc_buf_empty(1 << 20);
  bc_zstd *z = NULL;
  bc_err err;

  for (size_t i = 0; i < N; i++)
    src[i * ELEM + 2] = 7; /* one plane that zstd takes, three of noise */
  cr_assert_eq(bc_zstd_open(&z, &err), BC_OK);
  bc_shuffle(src, mid, N, ELEM);
  cr_assert_eq(bc_planes_encode(z, 3, mid, N, ELEM, &out, &err), BC_OK);
  cr_assert_lt(out.n, (size_t)N * 3 + 100);
  cr_assert_eq(bc_planes_decode(z, (bc_bytes){ out.p, out.n }, N, ELEM, &scratch, planes, &err), BC_OK);
  bc_planes_merge(planes, ELEM, 0, N, back);
  cr_assert(memcmp(src, back, (size_t)N * ELEM) == 0);
  bc_planes_merge(planes, ELEM, 100, 50, back);
  cr_assert(memcmp(src + (size_t)100 * ELEM, back, (size_t)50 * ELEM) == 0);
  for (size_t cut = 0; cut < out.n; cut += 97) {
    uint8_t *part = bc_malloc(cut + 1); /* of exact length, for the sanitizer */
    memcpy(part, out.p, cut);
    cr_assert_eq(bc_planes_decode(z, (bc_bytes){ part, cut }, N, ELEM, &scratch, planes, &err), BC_E_CORRUPT);
    bc_free(part);
  }
  cr_assert_eq(bc_planes_decode(z, (bc_bytes){ out.p, out.n }, N + 1, ELEM, &scratch, planes, &err),
               BC_E_CORRUPT, "another count");
  bc_put_le32(out.p, N - 1);
  cr_assert_eq(bc_planes_decode(z, (bc_bytes){ out.p, out.n }, N, ELEM, &scratch, planes, &err), BC_E_CORRUPT,
               "a short plane");
  bc_scratch_dispose(&scratch);
  bc_buf_dispose(&out);
  bc_zstd_close(z);
  bc_free(src);
  bc_free(mid);
  bc_free(back);
}

/* ---- plane records of linear16 ---- */

/* Mostly like the plane before, as in GRIB files; now and then whatever is allowed, up to the limits. */
static bc_lin some_scale(const bc_lin *before)
{
  static const int32_t steps[] = { -149, -140, -126, -101, -100, -99, -30, -9, 0, 20, 99, 100, 101, 105 };
  static const float offsets[] = { 0.0f,   -0.0f,    1e-45f, 1e-38f,   -2e-38f,
                                   250.5f, -3.25e9f, 1e30f,  -1.2e30f, 3e37f };
  bc_lin l = *before;
  const uint32_t kind = rng() % 16;

  l.r = (double)(float)(l.r + ((double)rng() / 4294967296.0 - 0.5) * l.s * 65536.0);
  if (kind == 0) {
    l.e = steps[rng() % BC_ARRAY_LEN(steps)];
    l.s = ldexp(1.0, l.e);
    l.pow2 = true;
  }
  if (kind == 1) l.r = (double)offsets[rng() % BC_ARRAY_LEN(offsets)];
  if (kind == 2) l.r += l.s / 3; /* no float32 */
  if (kind == 3) l.bias = l.bias != 0 ? 0 : (int32_t)(rng() % 1000) - 500;
  if (kind == 4) l.missing = l.missing >= 0 ? -1 : (int32_t)(rng() % 65536);
  if (kind == 5) l.r = (double)(float)(l.r + 4e9 * l.s); /* far away */
  if (kind == 6) {
    l.pow2 = false;
    l.s = 0.3;
    l.e = 0;
  }
  return bc_lin16_valid(&l) ? l : *before;
}

static void expect_plane(const bc_lin_plane *p, const bc_lin *l, const bc_lin *before, uint32_t t)
{
  const bc_lin_map m = before == NULL ? (bc_lin_map){ .reset = true } : bc_lin_map_between(before, l);

  cr_assert(memcmp(&p->lin.s, &l->s, 8) == 0 && memcmp(&p->lin.r, &l->r, 8) == 0, "plane %u", t);
  cr_assert(p->lin.bias == l->bias && p->lin.missing == l->missing && p->lin.pow2 == l->pow2, "plane %u", t);
  cr_assert(!l->pow2 || p->lin.e == l->e, "plane %u", t);
  cr_assert_eq(p->exact, bc_lin_exact_in_float(l), "plane %u: s %a, r %a", t, l->s, l->r);
  cr_assert_eq(p->map.reset, m.reset, "plane %u", t);
  if (m.reset) return;
  cr_assert(p->map.plain == m.plain && p->map.add == m.add && p->map.shift == m.shift,
            "plane %u: add %u, not %u", t, p->map.add, m.add);
  cr_assert(m.plain || (p->map.miss_from == m.miss_from && p->map.miss_to == m.miss_to), "plane %u", t);
}

Test(codec, plane_records_come_back_as_they_were)
{
  enum { N = 400 };
  static bc_lin lin[N];
  static bc_lin_plane planes[N];
  static uint8_t bytes[N * BC_LIN_RECORD_MAX];
  bc_err err = { 0 };

  for (int round = 0; round < 200; round++) {
    lin[0] = (bc_lin){ .s = 0x1p-9, .r = 250, .e = -9, .pow2 = true, .missing = -1 };
    for (size_t t = 1; t < N; t++)
      lin[t] = rng() % 8 == 0 ? lin[t - 1] : some_scale(&lin[t - 1]);
    const size_t n = bc_lin_records_put(lin, N, bytes);
    cr_assert_eq(bc_lin_records_read((bc_bytes){ bytes, n }, N, true, planes, &err), BC_OK, "%s", err.msg);
    for (uint32_t t = 0; t < N; t++)
      expect_plane(&planes[t], &lin[t], t == 0 ? NULL : &lin[t - 1], t);
    const size_t cut = rng() % n;
    cr_assert_eq(bc_lin_records_read((bc_bytes){ bytes, cut }, N, true, planes, &err), BC_E_CORRUPT);
    cr_assert_eq(bc_lin_records_read((bc_bytes){ bytes, n }, N - 1, true, planes, &err), BC_E_CORRUPT);
    cr_assert_eq(bc_lin_records_read((bc_bytes){ bytes, n }, N - 1, false, planes, &err), BC_OK);
  }
}

Test(codec, versions_are_named)
{
  cr_assert_not_null(strchr(bc_zstd_version(), '.'));
  cr_assert_not_null(strchr(bc_xxh_version(), '.'));
}
