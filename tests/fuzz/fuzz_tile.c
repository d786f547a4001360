/*
 * A tile: its head, and picked values of its blocks.
 *
 * Input: control (bit 0: make checksums right, bit 1: and the payload's length), u16 bytes of the head, six
 * bytes that choose what is picked, head, payload. Each block is read twice, by a fresh and by a used
 * decoder, into memory filled differently: both must agree, so nothing that was never written is handed out.
 */
#include "sums.h"
#include "store/tile.h"

#define MAX_BLOCKS 8
#define MAX_VALUES ((size_t)1 << 20)

static bc_decoder *g_used; /* its scratch is full of what other inputs left */

typedef struct taste {
  uint8_t first, n, step;
} taste;

static bc_pick pick_of(taste k, uint32_t n)
{
  bc_pick p = { k.first % n, 1, 1u + k.step % 5 };
  const uint32_t room = (n - 1 - p.first) / p.step + 1;
  p.n = k.n == 255 ? room : 1 + k.n % room;
  if (k.n == 0) p = (bc_pick){ 0, n, 1 };
  return p;
}

static bc_status read_into(bc_decoder *d, const bc_tile_head *h, bc_bytes payload, uint32_t b,
                           const bc_pick k[3], void *dst, bool upside_down, bc_err *err)
{
  const size_t row = k[2].n * bc_dtype_size(h->dtype), plane = row * k[1].n;
  uint8_t *to = dst;
  if (!upside_down)
    return bc_tile_read(d, h, payload, b, k[0], k[1], k[2], to, (ptrdiff_t)plane, (ptrdiff_t)row, err);
  return bc_tile_read(d, h, payload, b, k[0], k[1], k[2], to + (k[1].n - 1) * row, (ptrdiff_t)plane,
                      -(ptrdiff_t)row, err);
}

static void read_block(const bc_tile_head *h, bc_bytes payload, uint32_t b, const taste t[3])
{
  bc_err err = { 0 };
  bc_block_place at;
  bc_tile_block(h, b, &at);
  FUZZ_CHECK(at.nt >= 1 && at.t0 + at.nt <= h->nt && at.l < h->nl && at.ny >= 1 && at.y0 + at.ny <= h->ny &&
             at.nx >= 1 && at.x0 + at.nx <= h->nx);
  FUZZ_CHECK(bc_tile_block_at(h, at.t0, at.l, at.y0, at.x0) == b);
  const bc_pick k[3] = { pick_of(t[0], at.nt), pick_of(t[1], at.ny), pick_of(t[2], at.nx) };
  const size_t n = (size_t)k[0].n * k[1].n * k[2].n, bytes = n * bc_dtype_size(h->dtype);
  if (n > MAX_VALUES) return;
  uint8_t *one = malloc(bytes), *two = malloc(bytes);
  bc_decoder *fresh = NULL;
  FUZZ_CHECK(one != NULL && two != NULL && bc_decoder_open(&fresh, &err) == BC_OK);
  memset(one, 0x5a, bytes);
  memset(two, 0xa5, bytes);
  const bool down = (t[1].step & 0x80) != 0;
  const bc_status st = FUZZ(read_into(fresh, h, payload, b, k, one, down, &err));
  FUZZ_CHECK(read_into(g_used, h, payload, b, k, two, down, &err) == st);
  FUZZ_CHECK(st != BC_OK || memcmp(one, two, bytes) == 0);
  bc_decoder_close(fresh);
  free(one);
  free(two);
}

static volatile int64_t g_seen; /* keeps the compiler from leaving the calls out */

static void look(const bc_tile_head *h)
{
  int64_t sum = 0;
  for (uint32_t i = 0; i < h->nt && i < 4096; i++)
    sum ^= bc_tile_time(h, i);
  sum ^= bc_tile_time(h, h->nt - 1);
  for (uint32_t i = 0; i < h->nl; i++)
    sum ^= bc_tile_level(h, i) + (int64_t)bc_tile_stats(h, i).n_valid;
  for (uint32_t i = 0; i < h->n_sources; i++)
    sum ^= bc_tile_source(h, i);
  g_seen = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  fuzz_in in = { data, size };
  bc_err err = { 0 };
  bc_tile_head h;
  taste t[3];
  const uint8_t control = fuzz_u8(&in);
  const size_t want = fuzz_u16(&in);
  for (int i = 0; i < 3; i++)
    t[i] = (taste){ fuzz_u8(&in), fuzz_u8(&in), (control >> 2 & 1) ? fuzz_u8(&in) : 0 };
  const size_t head_n = BC_MIN(want, in.n), n = in.n - head_n;
  uint8_t *head = fuzz_copy(in.p, head_n), *payload = fuzz_copy(in.p + head_n, n);
  if (g_used == NULL) FUZZ_CHECK(bc_decoder_open(&g_used, &err) == BC_OK);
  if ((control & 2) != 0 && head_n >= 136 && head[33] != BC_CODEC_CONST) bc_put_le64(head + 112, n);
  if ((control & 1) != 0) {
    fuzz_fix_blocks(head, head_n, payload, n);
    fuzz_fix_head(head, head_n);
  }
  if (FUZZ(bc_tile_head_parse((bc_bytes){ head, head_n }, &h, &err)) == BC_OK) {
    look(&h);
    const uint32_t blocks = h.codec == BC_CODEC_CONST ? h.nl : h.n_blocks;
    for (uint32_t i = 0; i < BC_MIN(blocks, MAX_BLOCKS); i++) {
      if (i < BC_MIN(blocks, MAX_BLOCKS / 2))
        read_block(&h, (bc_bytes){ payload, n }, i, t);
      else
        read_block(&h, (bc_bytes){ payload, n }, blocks - 1 - (i - MAX_BLOCKS / 2), t);
    }
  }
  free(head);
  free(payload);
  return 0;
}
