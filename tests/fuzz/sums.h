/* Checksums of heads, blocks, directories and segments put right, so that a fuzzer gets past them. */
#ifndef BC_TESTS_FUZZ_SUMS_H
#define BC_TESTS_FUZZ_SUMS_H

#include "fuzz.h"
#include "store/codec.h"

/* A tile head: its length and its hash. */
static inline void fuzz_fix_head(uint8_t *p, size_t n)
{
  if (n < 136) return;
  bc_put_le32(p + 8, (uint32_t)n);
  bc_put_le64(p + n - 8, bc_hash64(p, n - 8));
}

/* Hashes of the blocks in a head's table, for this payload. */
static inline void fuzz_fix_blocks(uint8_t *head, size_t n, const uint8_t *payload, size_t bytes)
{
  if (n < 136) return;
  const uint64_t nt = bc_le32(head + 40), blocks = bc_le32(head + 120);
  const uint64_t table = bc_le16(head + 6) + (head[35] == 1 ? 0 : nt * 8);
  for (uint64_t b = 0; b < blocks && table + b * 16 + 16 <= n - 8; b++) {
    uint8_t *e = head + table + b * 16;
    const uint64_t off = bc_le64(e);
    const bool more = b + 1 < blocks && table + b * 16 + 32 <= n - 8;
    const uint64_t end = more ? bc_le64(e + 16) : bytes;
    if (off <= end && end <= bytes) bc_put_le64(e + 8, bc_hash64(payload + off, (size_t)(end - off)));
  }
}

/* Directory entries and the heads behind them. */
static inline void fuzz_fix_entries(uint8_t *file, size_t n, size_t at, size_t end)
{
  while (at + 48 <= end) {
    uint8_t *e = file + at;
    const uint64_t head = bc_le32(e + 32), off = bc_le64(e + 8), stored = bc_le64(e + 16);
    if (head <= end - at - 48) {
      bc_put_le32(e, (uint32_t)(48 + head));
      if (bc_in_bounds(off, stored, n)) {
        bc_put_le64(e + 24, bc_hash64(file + off, (size_t)stored));
        fuzz_fix_blocks(e + 48, (size_t)head, file + off, (size_t)stored);
      }
      fuzz_fix_head(e + 48, (size_t)head);
    }
    bc_put_le64(e + 40, bc_hash64(e, 40));
    if (bc_le32(e) < 48) break;
    at += bc_le32(e);
  }
}

/* A whole segment: what a fuzzer cannot guess (magic, uuid, number, size, hashes) is put in its place. */
static inline void fuzz_fix_segment(uint8_t *p, size_t n, const uint8_t uuid[16], uint32_t id)
{
  if (n < 144) return;
  uint8_t *f = p + n - 64;
  memcpy(p, "BCSEG\r\n\x1a", 8);
  bc_put_le16(p + 8, 1);
  memcpy(p + 32, uuid, 16);
  bc_put_le32(p + 48, id);
  bc_put_le64(p + 56, bc_hash64(p, 56));
  memcpy(f, "BCSEND\r\n", 8);
  bc_put_le64(f + 32, n);
  bc_put_le32(f + 48, id);
  const uint64_t dir = bc_le64(f + 8), bytes = bc_le64(f + 16);
  if (bytes >= 16 && bc_in_bounds(dir, bytes, n - 64)) {
    const uint64_t schema = bc_le32(p + dir);
    bc_put_le64(f + 24, bc_le64(p + dir + 8));
    if (schema <= bytes - 16) fuzz_fix_entries(p, n, (size_t)(dir + 16 + schema), (size_t)(dir + bytes));
    bc_put_le64(f + 40, bc_hash64(p + dir, (size_t)bytes));
  }
  bc_put_le64(f + 56, bc_hash64(f, 56));
}

#endif
