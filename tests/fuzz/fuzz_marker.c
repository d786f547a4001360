/*
 * The marker of a store whose index is sound. Input: control (bit 0: make the last line's checksum right, bit
 * 1: open for writing), then the marker.
 */
#include <inttypes.h>

#include "world.h"

static fuzz_world g_world;

/* The text up to "check ", and a line that is right for it; as it is when there is none. */
static void put_marker(fuzz_in in, bool fix)
{
  size_t at = in.n;
  char line[32];
  while (fix && at > 0 && (in.n - at < 6 || memcmp(in.p + at, "check ", 6) != 0))
    at--;
  if (!fix || at == 0) {
    fuzz_write(g_world.marker, in.p, in.n);
    return;
  }
  uint8_t *text = malloc(at + sizeof line);
  FUZZ_CHECK(text != NULL);
  memcpy(text, in.p, at);
  const int n = snprintf(line, sizeof line, "check %016" PRIx64 "\n", bc_hash64(text, at));
  memcpy(text + at, line, (size_t)n);
  fuzz_write(g_world.marker, text, at + (size_t)n);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  fuzz_in in = { data, size };
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  bc_store_info info;
  bc_box box;
  world_make(&g_world);
  const uint8_t control = fuzz_u8(&in);
  put_marker(in, (control & 1) != 0);
  if (FUZZ(bc_store_open(g_world.store, (control & 2) != 0 ? BC_OPEN_WRITE : BC_OPEN_READ, &st, &err)) !=
      BC_OK)
    return 0;
  FUZZ_CHECK(bc_grid_check(&st->grid, &err) == BC_OK);
  (void)FUZZ(bc_grid_box(&st->grid, -10, 40, 30, 60, &box, &err));
  if (FUZZ(bc_snapshot_open(st, &s, &err)) == BC_OK) (void)FUZZ(bc_snapshot_info(s, &info, &err));
  bc_snapshot_close(s);
  bc_store_close(st);
  return 0;
}
