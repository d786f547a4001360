/* Keys sort as numbers; scans find what they should; the environment is shared within a process. */
#include <criterion/criterion.h>

#include "tests/unit/store_fixture.h"

static bc_tile_key key(uint32_t cell, int64_t time, uint16_t modality, uint16_t part)
{
  return (bc_tile_key){ cell, time, modality, part };
}

Test(index, keys_sort_as_numbers)
{
  const int64_t times[] = { INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX };
  uint8_t last[BC_TILE_KEY_BYTES] = { 0 };
  bool first = true;
  for (uint32_t c = 0; c < 3; c++)
    for (size_t t = 0; t < BC_ARRAY_LEN(times); t++)
      for (uint16_t m = 254; m < 258; m++)
        for (uint32_t p = 0; p < 0x8002; p += 0x4000) {
          uint8_t k[BC_TILE_KEY_BYTES];
          bc_tile_key in = key(c, times[t], m, (uint16_t)p), out;
          bc_tile_key_put(&in, k);
          cr_expect_eq(bc_tile_key_get((bc_bytes){ k, sizeof k }, &out, NULL), BC_OK);
          cr_expect(bc_tile_key_equal(&in, &out));
          cr_expect(first || memcmp(last, k, sizeof k) < 0);
          memcpy(last, k, sizeof k);
          first = false;
        }
}

Test(index, records_round_trip_and_bad_ones_are_refused)
{
  bc_err err = { 0 };
  uint8_t b[BC_TILE_REC_BYTES];
  bc_tile_rec out, in = { .head_segment = 1,
                          .segment = UINT32_MAX,
                          .offset = UINT64_MAX,
                          .stored = 3,
                          .decoded = 4,
                          .hash = 5,
                          .head_offset = 6,
                          .head_bytes = 7,
                          .n_steps = 8,
                          .first = 21,
                          .last = UINT32_MAX,
                          .codec = BC_CODEC_LINEAR16,
                          .n_valid = 9,
                          .n_missing = 10,
                          .n_absent = 11,
                          .min = -1.5,
                          .max = INFINITY,
                          .sum = 1e300,
                          .sumsq = 5e-324 };
  bc_tile_rec_put(&in, b);
  OK(bc_tile_rec_get((bc_bytes){ b, sizeof b }, &out, &err));
  cr_expect_eq(memcmp(&in, &out, offsetof(bc_tile_rec, codec)), 0);
  cr_expect(out.codec == in.codec && out.n_absent == 11 && out.min == -1.5 && out.max == INFINITY &&
            out.sumsq == 5e-324);
  FAILS(BC_E_CORRUPT, bc_tile_rec_get((bc_bytes){ b, sizeof b - 1 }, &out, &err));
  OK(bc_tile_rec_get((bc_bytes){ b, 120 }, &out, &err)); /* of the first stores */
  cr_expect(out.n_steps == 8 && out.first == 1 && out.last == 0 && out.sumsq == 5e-324);
  b[52] = 9;
  FAILS(BC_E_CORRUPT, bc_tile_rec_get((bc_bytes){ b, sizeof b }, &out, &err));
  FAILS(BC_E_CORRUPT, bc_tile_key_get((bc_bytes){ b, 15 }, &(bc_tile_key){ 0 }, &err));
}

typedef struct seen {
  bc_tile_key k[4096];
  size_t n;
} seen;

static bc_status remember(void *ctx, const bc_tile_key *k, const bc_tile_rec *rec, bc_err *err)
{
  seen *s = ctx;
  (void)err;
  cr_assert_lt(s->n, BC_ARRAY_LEN(s->k));
  cr_assert_eq(rec->n_steps, k->modality);
  s->k[s->n++] = *k;
  return BC_OK;
}

Test(index, a_scan_finds_what_a_naive_filter_finds)
{
  enum { CELLS = 3, TIMES = 20, MODS = 60 };
  bc_err err = { 0 };
  char dir[] = "/tmp/bc-index-XXXXXX";
  cr_assert_not_null(mkdtemp(dir));
  bc_index *ix = NULL;
  bc_txn *t = NULL;
  OK(bc_index_open(dir, BC_INDEX_CREATE | BC_INDEX_WRITE, &ix, &err));
  OK(bc_txn_begin(ix, true, &t, &err));
  for (uint32_t c = 0; c < CELLS; c++)
    for (int64_t time = -5; time < TIMES; time++)
      for (uint16_t m = 0; m < MODS; m++)
        for (uint16_t p = 0; p < (m == 7 ? 3 : 1); p++) {
          if ((c + (uint32_t)time + m) % 5 == 0) continue;
          const bc_tile_key k = key(c, time, m, p);
          const bc_tile_rec r = { .n_steps = m };
          OK(bc_txn_tile_put(t, &k, &r, &err));
        }
  OK(bc_txn_commit(t, &err));
  OK(bc_txn_begin(ix, false, &t, &err));
  unsigned seed = 7;
  static seen got;
  for (int round = 0; round < 300; round++) {
    uint16_t wanted[8];
    size_t n = 0;
    for (uint16_t m = 0; m < MODS + 5 && n < 8; m++) {
      seed = seed * 1103515245u + 12345u;
      if ((seed >> 16) % (round % 2 ? 40 : 8) == 0) wanted[n++] = m;
    }
    seed = seed * 1103515245u + 12345u;
    const uint32_t cell = (seed >> 16) % (CELLS + 1);
    const int64_t from = (int64_t)((seed >> 8) % 20) - 8, to = from + (int64_t)(seed % 25);
    got.n = 0;
    OK(bc_txn_tile_scan(t, cell, from, to, wanted, n, remember, &got, &err));
    size_t at = 0;
    for (int64_t time = from; time < to; time++)
      for (size_t i = 0; i < n; i++)
        for (uint16_t p = 0; p < (wanted[i] == 7 ? 3 : 1); p++) {
          const bool there = cell < CELLS && time >= -5 && time < TIMES && wanted[i] < MODS &&
                             (cell + (uint32_t)time + wanted[i]) % 5 != 0;
          if (!there) continue;
          const bc_tile_key want = key(cell, time, wanted[i], p);
          cr_assert_lt(at, got.n, "round %d", round);
          cr_assert(bc_tile_key_equal(&got.k[at++], &want), "round %d", round);
        }
    cr_assert_eq(at, got.n, "round %d", round);
  }
  bc_txn_abort(t);
  bc_index_close(ix);
  bc_os_remove_tree(dir);
}

Test(index, one_environment_per_path_in_a_process)
{
  bc_err err = { 0 };
  char dir[] = "/tmp/bc-index-XXXXXX";
  cr_assert_not_null(mkdtemp(dir));
  bc_index *a = NULL, *b = NULL;
  bc_txn *w = NULL, *r = NULL;
  bc_bytes v;
  const bc_bytes k = { (const uint8_t *)"k", 1 };
  OK(bc_index_open(dir, BC_INDEX_CREATE | BC_INDEX_WRITE, &a, &err));
  OK(bc_index_open(dir, 0, &b, &err));
  OK(bc_txn_begin(b, false, &r, &err)); /* an old reader ... */
  OK(bc_txn_begin(a, true, &w, &err));
  OK(bc_txn_put(w, BC_TABLE_META, k, k, &err));
  OK(bc_txn_commit(w, &err));
  FAILS(BC_E_NOTFOUND, bc_txn_get(r, BC_TABLE_META, k, &v, &err)); /* ... sees its own snapshot */
  bc_txn_abort(r);
  bc_index_close(a);
  OK(bc_txn_begin(b, false, &r, &err));
  OK(bc_txn_get(r, BC_TABLE_META, k, &v, &err));
  bc_txn_abort(r);
  bc_index_close(b);
  bc_os_remove_tree(dir);
}
