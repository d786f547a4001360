/*
 * Groups: the tiles of one cell, time and modality, as a walk over the index meets them one after the other.
 */
#include <inttypes.h>

#include "store/compact_run_int.h"

bc_status bc_pieces_push(bc_piece_list *p, const bc_piece *piece, uint32_t into, bc_err *err)
{
  if (p->n == p->cap) {
    const size_t cap = p->cap == 0 ? 64 : 2 * p->cap;
    bc_piece *v = bc_realloc(p->v, cap * sizeof *v);
    if (v != NULL) p->v = v;
    uint32_t *to = bc_realloc(p->into, cap * sizeof *to);
    if (to != NULL) p->into = to;
    if (v == NULL || to == NULL) return bc_compact_no_memory(err);
    p->cap = cap;
  }
  p->into[p->n] = into;
  p->v[p->n++] = *piece;
  return BC_OK;
}

void bc_pieces_dispose(bc_piece_list *p)
{
  bc_free(p->v);
  bc_free(p->into);
}

bc_status bc_compact_segs_of(const bc_compact_run *r, const bc_tile_rec *rec, bc_seg_state **head,
                             bc_seg_state **payload, bc_err *err)
{
  *head = bc_compact_seg(&r->c, rec->head_segment);
  *payload = rec->stored == 0 ? NULL : bc_compact_seg(&r->c, rec->segment);
  if (*head != NULL && (*payload != NULL || rec->stored == 0)) return BC_OK;
  return BC_FAIL(err, BC_E_CORRUPT,
                 "index: a tile lies in segment %" PRIu32 ", which is not there: run bctool reindex",
                 *head == NULL ? rec->head_segment : rec->segment);
}

bool bc_compact_is_moving(const bc_compact_run *r, const bc_tile_rec *rec)
{
  const bc_seg_state *head = bc_compact_seg(&r->c, rec->head_segment);
  const bc_seg_state *payload = rec->stored == 0 ? NULL : bc_compact_seg(&r->c, rec->segment);
  return (head != NULL && head->moving) || (payload != NULL && payload->moving);
}

bc_status bc_compact_plan_group(bc_compact_run *r, bool *merges, bc_err *err)
{
  bc_piece_list *g = &r->group;
  bc_err e = { .msg = "" };
  *merges = false;
  if (g->n < 2) return BC_OK;
  const bc_status st = bc_merge_plan(r->merger, r->snap, g->v, g->n, g->into, &e);
  if (st != BC_OK && !bc_is_damage(st)) {
    if (err != NULL) *err = e;
    return st;
  }
  for (uint32_t i = 0; i < g->n; i++) {
    if (st != BC_OK) g->into[i] = i;
    *merges = *merges || g->into[i] != i;
  }
  if (st == BC_OK || !r->surveying) return BC_OK;
  r->c.report->damaged++;
  bc_compact_note(&r->c, &e);
  return BC_OK;
}

bool bc_compact_is_merged(const bc_piece_list *g, uint32_t i)
{
  bool any = g->into[i] != i;
  for (uint32_t j = i + 1; j < g->n && !any; j++)
    any = g->into[j] == i;
  return any;
}

bc_status bc_compact_walk(bc_compact_run *r, const bc_tile_key *from, bc_pair_fn each,
                          bc_status (*end)(bc_compact_run *, bc_err *), bc_err *err)
{
  uint8_t key[BC_TILE_KEY_BYTES];
  bc_bytes start = { NULL, 0 };
  if (from != NULL) {
    bc_tile_key_put(from, key);
    start = (bc_bytes){ key, sizeof key };
  }
  r->group.n = 0;
  BC_RET(bc_txn_each(r->snap->txn, BC_TABLE_TILES, start, each, r, err));
  return end(r, err);
}

bc_status bc_compact_open_snapshot(bc_compact_run *r, bc_err *err)
{
  return r->snap != NULL ? BC_OK : bc_snapshot_open(r->c.st, &r->snap, err);
}

bc_status bc_compact_cancelled(const bc_compact_run *r, bc_err *err)
{
  const bc_progress *p = r->c.progress;
  if (p == NULL || p->cancelled == NULL || !p->cancelled(p->ctx)) return BC_OK;
  return BC_FAIL(err, BC_E_CANCELLED, "interrupted: the store is whole; run it again to go on");
}
