/*
 * The work of a compaction: the groups of one modality that have something to move or to merge are taken from
 * the index chunk by chunk and written to new segments.
 */
#include <inttypes.h>

#include "store/compact_run_int.h"

static void tick(bc_compact_run *r, uint64_t bytes)
{
  const bc_progress *p = r->c.progress;
  r->done += bytes;
  if (p != NULL && p->tick != NULL) p->tick(p->ctx, BC_MIN(r->done, r->total), r->total, "compact");
}

/* ---- a chunk of groups of one modality ---- */

static bool needs_work(const bc_compact_run *r, bool merges)
{
  bool any = merges;
  for (size_t i = 0; i < r->group.n && !any; i++)
    any = bc_compact_is_moving(r, &r->group.v[i].rec);
  return any;
}

static bc_status end_chunk_group(bc_compact_run *r, bc_err *err)
{
  bool merges = false;
  bc_piece_list *g = &r->group;
  if (g->n == 0) return BC_OK;
  BC_RET(bc_compact_plan_group(r, &merges, err));
  if (needs_work(r, merges))
    for (size_t i = 0; i < g->n; i++) {
      BC_RET(bc_pieces_push(&r->chunk, &g->v[i], g->into[i], err));
      r->chunk_bytes += g->v[i].rec.stored;
    }
  g->n = 0;
  return BC_OK;
}

static bc_status chunk_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  bc_compact_run *r = ctx;
  bc_piece p;
  BC_RET(bc_tile_key_get(kb, &p.key, err));
  if (p.key.modality != r->modality) return BC_OK;
  if (r->group.n > 0 && !bc_same_group(&r->group.v[0].key, &p.key)) {
    BC_RET(end_chunk_group(r, err));
    *stop = r->chunk_bytes >= r->chunk_room || r->chunk.n >= r->most;
    if (*stop) return BC_OK;
  }
  BC_RET(bc_tile_rec_get(vb, &p.rec, err));
  return bc_pieces_push(&r->group, &p, (uint32_t)r->group.n, err);
}

static bc_status next_chunk(bc_compact_run *r, const bc_tile_key *after, bool first, bc_err *err)
{
  bc_tile_key from = *after;
  r->chunk.n = 0;
  r->chunk_bytes = 0;
  from.modality++; /* past this cell and time */
  from.part = 0;
  return bc_compact_walk(r, first ? NULL : &from, chunk_tile, end_chunk_group, err);
}

/* ---- moving and merging ---- */

/* The piece is gone from where it was. */
static bc_status let_go(bc_compact_run *r, const bc_piece *p, bc_err *err)
{
  bc_seg_state *head, *payload;
  BC_RET(bc_compact_segs_of(r, &p->rec, &head, &payload, err));
  head->heads--;
  head->refs--;
  if (payload != NULL) payload->refs--;
  r->c.report->read_bytes += p->rec.stored;
  tick(r, p->rec.stored);
  return BC_OK;
}

static bc_status move_piece(bc_compact_run *r, const bc_piece *p, bc_err *err)
{
  bc_status st = BC_OK;
  bc_tile t;
  bc_bytes head;
  BC_RET(bc_snapshot_tile(r->snap, &p->key, &p->rec, &t, err));
  BC_TRY(bc_segment_slice(t.head_seg, p->rec.head_offset, p->rec.head_bytes, &head, err));
  BC_TRY(bc_writer_put(r->c.w, head, t.payload, err));
  BC_TRY(let_go(r, p, err));
  r->c.report->moved++;
out:
  bc_tile_close(&t);
  return st;
}

static bc_status merge_pieces(bc_compact_run *r, const bc_piece *const *set, size_t n, bc_err *err)
{
  bc_bytes head, payload;
  BC_RET(bc_merge_run(r->merger, r->snap, set, n, &head, &payload, err));
  BC_RET(bc_writer_put(r->c.w, head, payload, err));
  for (size_t i = 0; i < n; i++) {
    if (i > 0) BC_RET(bc_writer_drop(r->c.w, &set[i]->key, err));
    BC_RET(let_go(r, set[i], err));
  }
  r->c.report->merged += n;
  r->c.report->made++;
  return BC_OK;
}

/* One copy of a group: pieces [0, n), into counted from the first. */
static bc_status write_copy(bc_compact_run *r, const bc_piece *v, const uint32_t *into, size_t n, bc_err *err)
{
  bc_status st = BC_OK;
  const bc_piece **set = bc_malloc(n * sizeof(const bc_piece *));
  if (set == NULL) return bc_compact_no_memory(err);
  for (uint32_t i = 0; i < n; i++) {
    size_t k = 0;
    if (into[i] != i) continue; /* with its lowest */
    for (uint32_t j = i; j < n; j++)
      if (into[j] == i) set[k++] = &v[j];
    if (k > 1)
      BC_TRY(merge_pieces(r, set, k, err));
    else if (bc_compact_is_moving(r, &v[i].rec))
      BC_TRY(move_piece(r, &v[i], err));
  }
out:
  bc_free(set);
  return st;
}

static size_t group_end(const bc_piece_list *p, size_t i)
{
  size_t j = i + 1;
  while (j < p->n && bc_same_group(&p->v[i].key, &p->v[j].key))
    j++;
  return j;
}

static bc_status write_second(bc_compact_run *r, bc_err *err)
{
  bc_piece_list *s = &r->second;
  for (size_t i = 0, end = 0; i < s->n; i = end) {
    end = group_end(s, i);
    BC_RET(write_copy(r, s->v + i, s->into + i, end - i, err));
  }
  s->n = 0;
  r->second_bytes = 0;
  return BC_OK;
}

static bc_status check_piece(const bc_compact_run *r, const bc_piece *p, bc_err *err)
{
  bc_tile t;
  BC_RET(bc_snapshot_tile(r->snap, &p->key, &p->rec, &t, err));
  const bool good = bc_hash64(t.payload.p, t.payload.n) == p->rec.hash || p->rec.stored == 0;
  bc_tile_close(&t);
  if (good) return BC_OK;
  return BC_FAIL(err, BC_E_CHECKSUM, "segment %" PRIu32 ": the stored bytes of a tile are damaged (checksum)",
                 p->rec.segment);
}

/* A group with damage in it stays where it is, whole, and with it its segments. */
static bc_status group_is_good(bc_compact_run *r, const bc_piece *v, size_t n, bool *good, bc_err *err)
{
  char where[160];
  *good = true;
  for (size_t i = 0; i < n; i++) {
    bc_err e = { .msg = "" }, told;
    const bc_status st = check_piece(r, &v[i], &e);
    if (st == BC_OK) continue;
    if (!bc_is_damage(st)) {
      if (err != NULL) *err = e;
      return st;
    }
    *good = false;
    r->c.report->damaged++;
    (void)BC_FAIL(&told, st, "%s: left as it is: %s",
                  bc_snapshot_tile_text(r->snap, &v[i].key, where, sizeof where), e.msg);
    bc_compact_note(&r->c, &told);
  }
  return BC_OK;
}

bc_status bc_compact_run_commit(bc_compact_run *r, bool last, bc_err *err)
{
  BC_RET(bc_compact_open_snapshot(r, err));
  BC_RET(write_second(r, err));
  bc_snapshot_close(r->snap); /* not held over a commit: pages of the index could not be used again */
  r->snap = NULL;
  return bc_compact_commit(&r->c, last, err);
}

static uint64_t written(const bc_compact_run *r) { return r->c.report->moved + r->c.report->made; }

static bool is_full(const bc_compact_run *r)
{
  return bc_writer_pending_bytes(r->c.w) + r->second_bytes >= r->target / 4 * 3 ||
         written(r) - r->committed + r->second.n >= r->most / 4 * 3;
}

static bc_status write_group(bc_compact_run *r, size_t i, size_t end, bc_err *err)
{
  const bc_piece_list *g = &r->chunk;
  size_t mid = i;
  bool good = false;
  BC_RET(bc_compact_cancelled(r, err));
  if (is_full(r)) {
    BC_RET(bc_compact_run_commit(r, false, err));
    r->committed = written(r);
  }
  BC_RET(bc_compact_open_snapshot(r, err));
  BC_RET(group_is_good(r, g->v + i, end - i, &good, err));
  if (!good) return BC_OK;
  while (mid < end && (g->v[mid].key.part & BC_PART_SECOND) == 0)
    mid++;
  for (size_t k = mid; k < end; k++) {
    BC_RET(bc_pieces_push(&r->second, &g->v[k], g->into[k] - (uint32_t)(mid - i), err));
    r->second_bytes += g->v[k].rec.stored;
  }
  return write_copy(r, g->v + i, g->into + i, mid - i, err);
}

bc_status bc_compact_write_modality(bc_compact_run *r, uint16_t id, bc_err *err)
{
  bc_tile_key after = { 0 };
  r->modality = id;
  for (bool first = true;; first = false) {
    BC_RET(bc_compact_open_snapshot(r, err));
    BC_RET(next_chunk(r, &after, first, err));
    if (r->chunk.n == 0) break;
    after = r->chunk.v[r->chunk.n - 1].key;
    for (size_t i = 0, end = 0; i < r->chunk.n; i = end) {
      end = group_end(&r->chunk, i);
      BC_RET(write_group(r, i, end, err));
    }
  }
  BC_RET(bc_compact_open_snapshot(r, err));
  return write_second(r, err);
}
