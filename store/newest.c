/*
 * The number of the newest segment, in a file beside the segments.
 *
 * "NNNNNNNNNN HHHHHHHHHHHHHHHH\n": ten decimal digits, and the hash of the store's UUID and these digits, so
 * that a damaged file, or one of another store, counts as none.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/codec.h"
#include "store/store_int.h"

#define DIGITS 10
#define LENGTH (DIGITS + 1 + 16 + 1)

static void make_text(const bc_store *st, uint32_t id, char out[LENGTH + 1])
{
  uint8_t b[16 + DIGITS];
  (void)snprintf(out, LENGTH + 1, "%010" PRIu32, id);
  memcpy(b, st->uuid, 16);
  memcpy(b + 16, out, DIGITS);
  (void)snprintf(out + DIGITS, LENGTH + 1 - DIGITS, " %016" PRIx64 "\n", bc_hash64(b, sizeof b));
}

void bc_newest_put(const bc_store *st, uint32_t id)
{
  char text[LENGTH + 1];
  make_text(st, id, text);
  bc_os_put_note(st->newest, text, LENGTH);
}

uint32_t bc_newest_get(const bc_store *st)
{
  char text[LENGTH + 1], again[LENGTH + 1];
  uint64_t id = 0;
  if (bc_os_get_note(st->newest, text, LENGTH) != LENGTH) return 0;
  for (int i = 0; i < DIGITS; i++) {
    if (text[i] < '0' || text[i] > '9') return 0;
    id = id * 10 + (uint64_t)(text[i] - '0');
  }
  if (id >= UINT32_MAX) return 0;
  make_text(st, (uint32_t)id, again);
  return memcmp(text, again, LENGTH) == 0 ? (uint32_t)id : 0;
}
