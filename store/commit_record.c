/*
 * The record of a commit, as bytes: made, and read again with suspicion. docs/format.md section 5.5.
 */
#include <inttypes.h>
#include <string.h>

#include "store/commit_int.h"
#include "store/schema_io.h"
#include "store/store_int.h"

#define RECORD_MAX ((size_t)1 << 28)

/* ---- making it ---- */

/* One encoded part with its length before it. */
static bc_status put_sized(bc_buf *out, bc_status encoded, bc_buf *part, bc_err *err)
{
  bc_status st = encoded;
  if (st == BC_OK) st = bc_buf_u32(out, (uint32_t)part->n, err);
  if (st == BC_OK) st = bc_buf_put(out, part->p, part->n, err);
  part->n = 0;
  return st;
}

bc_status bc_commit_encode(const bc_commit *c, bc_buf *out, bc_err *err)
{
  bc_status st = BC_OK;
  uint8_t key[BC_TILE_KEY_BYTES];
  bc_buf one = bc_buf_empty(RECORD_MAX);
  BC_TRY(bc_buf_u64(out, c->snapshot, err));
  BC_TRY(bc_buf_u32(out, (uint32_t)c->n_grids, err));
  for (size_t i = 0; i < c->n_grids; i++)
    BC_TRY(put_sized(out, bc_grid_encode(&c->grids[i], &one, err), &one, err));
  BC_TRY(bc_buf_u32(out, (uint32_t)c->n_modalities, err));
  for (size_t i = 0; i < c->n_modalities; i++)
    BC_TRY(put_sized(out, bc_modality_encode(c->modalities[i], &one, err), &one, err));
  BC_TRY(bc_buf_u32(out, (uint32_t)c->n_sources + c->n_carried, err));
  for (size_t i = 0; i < c->n_sources; i++)
    BC_TRY(put_sized(out, bc_source_encode(&c->sources[i], &one, err), &one, err));
  BC_TRY(bc_buf_put(out, c->carried.p, c->carried.n, err));
  BC_TRY(bc_buf_u64(out, c->n_drops, err));
  for (size_t i = 0; i < c->n_drops; i++) {
    bc_tile_key_put(&c->drops[i], key);
    BC_TRY(bc_buf_put(out, key, sizeof key, err));
  }
  BC_TRY(bc_buf_u32(out, (uint32_t)c->n_retired, err));
  for (size_t i = 0; i < c->n_retired; i++)
    BC_TRY(bc_buf_u32(out, c->retired[i], err));
  BC_TRY(bc_buf_u32(out, c->flags, err));
  BC_TRY(bc_buf_u32(out, (uint32_t)c->n_live, err));
  for (size_t i = 0; i < c->n_live; i++) {
    BC_TRY(bc_buf_u32(out, c->live[i].first, err));
    BC_TRY(bc_buf_u32(out, c->live[i].n, err));
  }
out:
  bc_buf_dispose(&one);
  return st;
}

/* ---- reading it ---- */

bc_status bc_commit_bad(const bc_segment *seg, bc_err *err)
{
  return BC_FAIL(err, BC_E_CORRUPT, "segment %" PRIu32 ": its commit record is damaged",
                 bc_segment_number(seg));
}

bool bc_commit_sized(bc_cursor *c, bc_bytes *part)
{
  const uint32_t n = bc_cur_u32(c);
  part->p = bc_cur_take(c, n);
  part->n = n;
  return c->ok;
}

uint32_t bc_live_first(bc_bytes live, size_t i) { return bc_le32(live.p + 8 * i); }
uint32_t bc_live_n(bc_bytes live, size_t i) { return bc_le32(live.p + 8 * i + 4); }

bool bc_live_has(bc_bytes live, uint32_t id)
{
  size_t lo = 0, hi = live.n / 8; /* the last run that begins at id or before is in [lo, hi) */
  while (hi - lo > 1) {
    const size_t mid = lo + (hi - lo) / 2;
    if (bc_live_first(live, mid) <= id)
      lo = mid;
    else
      hi = mid;
  }
  return lo < hi && id >= bc_live_first(live, lo) && id - bc_live_first(live, lo) < bc_live_n(live, lo);
}

/* Ascending, apart, ending at the segment itself. */
static bool read_live(const bc_segment *seg, bc_cursor *c, bc_commit_parts *out)
{
  uint64_t past = 0, sum = 0;
  out->n_live = bc_cur_u32(c);
  if (!c->ok || out->n_live > (c->b.n - c->at) / 8) return false;
  out->live.n = (size_t)out->n_live * 8;
  out->live.p = bc_cur_take(c, out->live.n);
  for (uint32_t i = 0; c->ok && i < out->n_live; i++) {
    const uint64_t first = bc_live_first(out->live, i), n = bc_live_n(out->live, i);
    if (n == 0 || first == 0 || (i > 0 && first <= past)) return false;
    past = first + n;
    sum += n;
  }
  return c->ok && sum <= BC_LIVE_MAX && (out->n_live == 0 || past == (uint64_t)bc_segment_number(seg) + 1);
}

/* The end of the record: drops, retired segments; flags and live segments may be left out. */
bc_status bc_commit_tail(const bc_segment *seg, bc_cursor *c, bc_commit_parts *out, bc_err *err)
{
  out->n_drops = bc_cur_u64(c);
  bool good = c->ok && out->n_drops <= (c->b.n - c->at) / BC_TILE_KEY_BYTES;
  if (good) {
    out->drops.n = (size_t)out->n_drops * BC_TILE_KEY_BYTES;
    out->drops.p = bc_cur_take(c, out->drops.n);
    out->n_retired = bc_cur_u32(c);
    good = c->ok && out->n_retired <= (c->b.n - c->at) / 4;
  }
  if (good) {
    out->retired.n = (size_t)out->n_retired * 4;
    out->retired.p = bc_cur_take(c, out->retired.n);
    out->flags = c->at < c->b.n ? bc_cur_u32(c) : 0;
    good = c->ok && (c->at == c->b.n || read_live(seg, c, out));
    good = good && c->at == c->b.n && (out->flags & ~(BC_COMMIT_UPKEEP | BC_COMMIT_RECOUNT)) == 0;
  }
  return good ? BC_OK : bc_commit_bad(seg, err);
}

static bool skip_sized(bc_cursor *c)
{
  bc_bytes part;
  for (uint32_t n = bc_cur_u32(c); c->ok && n > 0; n--)
    if (!bc_commit_sized(c, &part)) return false;
  return c->ok;
}

bc_status bc_commit_parts_of(const bc_segment *seg, bc_commit_parts *out, bc_commit_source_fn source,
                             void *ctx, bc_err *err)
{
  bc_cursor c = { bc_segment_schema(seg), 0, true };
  memset(out, 0, sizeof *out);
  (void)bc_cur_u64(&c); /* snapshot */
  if (!skip_sized(&c) || !skip_sized(&c)) return bc_commit_bad(seg, err);
  for (uint32_t n = bc_cur_u32(&c); c.ok && n > 0; n--) {
    bc_bytes part;
    bc_source_rec s;
    if (!bc_commit_sized(&c, &part)) return bc_commit_bad(seg, err);
    BC_RET(bc_source_decode(part, &s, err));
    if (source != NULL) BC_RET(source(ctx, s.id, err));
  }
  return bc_commit_tail(seg, &c, out, err);
}
