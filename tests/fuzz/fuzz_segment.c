/*
 * A segment file: header, footer, directory, commit record, heads, payloads.
 *
 * Input: control (bit 0: make magic, size and checksums right, bit 1: check the directory's hash), then the
 * file.
 */
#include "world.h"

#define MAX_TILES  64u
#define MAX_BLOCKS 4u
#define MAX_BYTES  ((size_t)4 << 20) /* of one block */

static fuzz_world g_world;
static bc_decoder *g_decoder;
static bc_index *g_index;

typedef struct walk {
  const bc_segment *seg;
  unsigned n;
} walk;

static void read_blocks(const bc_tile_head *h, bc_bytes payload)
{
  bc_err err = { 0 };
  for (uint32_t b = 0; b < BC_MIN(h->n_blocks, MAX_BLOCKS); b++) {
    bc_block_place at;
    bc_tile_block(h, b, &at);
    const size_t row = at.nx * bc_dtype_size(h->dtype), bytes = (size_t)at.nt * at.ny * row;
    if (bytes > MAX_BYTES) return;
    uint8_t *v = malloc(bytes);
    FUZZ_CHECK(v != NULL);
    (void)FUZZ(bc_tile_read(g_decoder, h, payload, b, (bc_pick){ 0, at.nt, 1 }, (bc_pick){ 0, at.ny, 1 },
                            (bc_pick){ 0, at.nx, 1 }, v, (ptrdiff_t)(at.ny * row), (ptrdiff_t)row, &err));
    free(v);
  }
}

static bc_status each(void *ctx, const bc_tile_rec *rec, bc_bytes head, bc_err *err)
{
  walk *w = ctx;
  bc_tile_head h;
  bc_bytes again, payload;
  if (w->n++ >= MAX_TILES) return BC_OK;
  FUZZ_CHECK(bc_segment_slice(w->seg, rec->head_offset, rec->head_bytes, &again, err) == BC_OK);
  FUZZ_CHECK(again.p == head.p && again.n == head.n);
  if (bc_segment_slice(w->seg, rec->offset, rec->stored, &payload, err) != BC_OK) return BC_OK;
  if (bc_tile_head_parse(head, &h, err) == BC_OK) read_blocks(&h, payload);
  return BC_OK;
}

static void apply(const bc_segment *seg)
{
  bc_err err = { 0 };
  bc_txn *t = NULL;
  FUZZ_CHECK(bc_txn_begin(g_index, true, &t, &err) == BC_OK);
  (void)FUZZ(bc_commit_apply(t, seg, g_world.segments, k_uuid, &err));
  bc_txn_abort(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  fuzz_in in = { data, size };
  bc_err err = { 0 };
  bc_segment *seg = NULL;
  if (g_index == NULL) {
    world_make(&g_world);
    FUZZ_CHECK(bc_index_open(g_world.index, BC_INDEX_WRITE, &g_index, &err) == BC_OK);
    FUZZ_CHECK(bc_decoder_open(&g_decoder, &err) == BC_OK);
  }
  const uint8_t control = fuzz_u8(&in);
  uint8_t *file = fuzz_copy(in.p, in.n);
  if ((control & 1) != 0) fuzz_fix_segment(file, in.n, k_uuid, 1);
  world_put_segment(&g_world, 1, file, in.n);
  free(file);
  if (FUZZ(bc_segment_open(g_world.segments, 1, k_uuid, (control & 2) != 0, &seg, &err)) != BC_OK) return 0;
  FUZZ_CHECK(bc_segment_bytes(seg) == in.n && bc_segment_number(seg) == 1);
  walk w = { seg, 0 };
  (void)FUZZ(bc_segment_each(seg, each, &w, &err));
  (void)FUZZ(bc_segment_check_gaps(seg, &err));
  apply(seg);
  bc_segment_unref(seg);
  return 0;
}
