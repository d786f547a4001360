/*
 * The digest of an index: a sum over all its entries, which each commit keeps up to date. Damage that leaves
 * the pages in order shows in it.
 */
#include <string.h>

#include "store/index_int.h"

#define DIGEST "digest"

bc_bytes bc_digest_key(void) { return (bc_bytes){ (const uint8_t *)DIGEST, strlen(DIGEST) }; }

/* Order does not matter and a pair can be taken away again, so that each commit costs only what it changes.
 */
uint64_t bc_digest_pair(bc_table table, bc_bytes key, bc_bytes value)
{
  uint8_t b[1 + BC_INDEX_MAX_KEY + 8];
  const size_t n = BC_MIN(key.n, (size_t)BC_INDEX_MAX_KEY);
  b[0] = (uint8_t)table;
  if (n > 0) memcpy(b + 1, key.p, n);
  bc_put_le64(b + 1 + n, bc_hash64(value.p, value.n));
  return bc_hash64(b, 1 + n + 8);
}

static bool is_digest(bc_table table, bc_bytes key)
{
  return table == BC_TABLE_META && key.n == strlen(DIGEST) && memcmp(key.p, DIGEST, key.n) == 0;
}

typedef struct summing {
  bc_table table;
  uint64_t sum;
} summing;

static bc_status add_pair(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  summing *s = ctx;
  (void)stop;
  (void)err;
  if (!is_digest(s->table, key)) s->sum += bc_digest_pair(s->table, key, value);
  return BC_OK;
}

bc_status bc_txn_check_digest(bc_txn *t, bc_err *err)
{
  bc_bytes v;
  summing s = { BC_TABLE_META, 0 };
  for (int i = 0; i < BC_N_TABLES; i++) {
    s.table = (bc_table)i;
    BC_RET(bc_txn_each(t, s.table, (bc_bytes){ NULL, 0 }, add_pair, &s, err));
  }
  const bc_status st = bc_txn_get(t, BC_TABLE_META, bc_digest_key(), &v, err);
  if (st != BC_OK && st != BC_E_NOTFOUND) return st;
  if (st == BC_OK && v.n == 8 && bc_le64(v.p) == s.sum) return BC_OK;
  return BC_FAIL(err, BC_E_CHECKSUM,
                 "index: its entries are not those that were written (checksum): run bctool reindex");
}
