/*
 * The survey of a compaction: how much of each segment is in force, which segments go, and what there is to
 * do then.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/compact_run_int.h"

#define DEAD_PERCENT 20 /* of a segment's payload: more, and what is in force is written anew */

/* ---- segments ---- */

static bc_status add_segment(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  bc_compaction *c = ctx;
  (void)stop;
  bc_segment_rec seg;
  BC_RET(bc_segment_rec_get(key, value, &seg, err));
  c->segs[c->n_segs++] = (bc_seg_state){ .id = seg.id, .file_bytes = seg.bytes, .unknown = seg.bytes == 0 };
  return BC_OK;
}

/* A segment that cannot be read is left as it is: its payload counts as all in force. */
static bc_status measure(bc_compaction *c, bc_seg_state *s, bc_err *err)
{
  bc_segment *seg = NULL;
  bc_err e = { .msg = "" };
  const bc_status st = bc_store_segment(c->st, s->id, &seg, &e);
  if (st == BC_OK) {
    s->payload_bytes = bc_segment_payload_bytes(seg);
    s->count = bc_segment_count(seg);
    s->readable = true;
    s->broken = bc_is_damage(bc_segment_check_directory(seg, NULL));
    bc_segment_unref(seg);
    return BC_OK;
  }
  if (!bc_is_damage(st) && st != BC_E_NOTFOUND) {
    if (err != NULL) *err = e;
    return st;
  }
  if (s->unknown) return BC_OK;
  if (st == BC_E_NOTFOUND) (void)BC_FAIL(&e, st, "segment %" PRIu32 " has no file any more", s->id);
  bc_compact_note(c, &e); /* what is lost with it is told tile by tile */
  return BC_OK;
}

bc_status bc_compact_load_segments(bc_compact_run *r, bc_err *err)
{
  bc_compaction *c = &r->c;
  uint64_t n = 0;
  BC_RET(bc_txn_count(r->snap->txn, BC_TABLE_SEGMENTS, &n, err));
  c->segs = bc_calloc((size_t)n + 1, sizeof *c->segs);
  if (c->segs == NULL) return bc_compact_no_memory(err);
  BC_RET(bc_txn_each(r->snap->txn, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, add_segment, c, err));
  for (size_t i = 0; i < c->n_segs; i++) {
    BC_RET(measure(c, &c->segs[i], err));
    c->report->bytes_before += c->segs[i].file_bytes;
  }
  c->report->segments_before = c->n_segs;
  const size_t numbers = c->n_segs == 0 ? 1 : (size_t)c->segs[c->n_segs - 1].id + 1;
  c->moving = bc_calloc(numbers, 1);
  if (c->moving == NULL) return bc_compact_no_memory(err);
  c->upkeep = (bc_upkeep){ .moving = c->moving, .n_moving = numbers };
  return BC_OK;
}

/* ---- survey: what is in force, and what merging will free ---- */

static bool count_shared(bc_compact_run *r, const bc_tile_key *k, const bc_tile_rec *rec)
{
  bc_compact_shared *s = &r->shared;
  if (!r->twin[k->modality]) return true;
  if (s->cell != k->cell || s->time != k->time) s->n = 0;
  s->cell = k->cell;
  s->time = k->time;
  for (size_t i = 0; i < s->n; i++)
    if (s->v[2 * i] == rec->segment && s->v[2 * i + 1] == rec->offset) return false;
  if (s->n == s->cap) {
    const size_t cap = s->cap == 0 ? 64 : 2 * s->cap;
    uint64_t *v = bc_realloc(s->v, cap * 2 * sizeof *v);
    if (v == NULL) return true; /* counted twice: a segment may stay that could go */
    s->v = v;
    s->cap = cap;
  }
  s->v[2 * s->n] = rec->segment;
  s->v[2 * s->n++ + 1] = rec->offset;
  return true;
}

static bc_status end_survey_group(bc_compact_run *r, bc_err *err)
{
  bool merges = false;
  BC_RET(bc_compact_plan_group(r, &merges, err));
  r->any_merge = r->any_merge || merges;
  for (uint32_t i = 0; merges && i < r->group.n; i++) {
    bc_seg_state *head, *payload;
    if (!bc_compact_is_merged(&r->group, i)) continue;
    BC_RET(bc_compact_segs_of(r, &r->group.v[i].rec, &head, &payload, err));
    if (payload != NULL) payload->merging += bc_round_up64(r->group.v[i].rec.stored);
  }
  r->group.n = 0;
  return BC_OK;
}

static bc_status survey_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  bc_compact_run *r = ctx;
  bc_piece p;
  bc_seg_state *head, *payload;
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &p.key, err));
  BC_RET(bc_tile_rec_get(vb, &p.rec, err));
  if (p.key.modality >= r->n_modalities)
    return BC_FAIL(err, BC_E_CORRUPT, "index: a tile of variable %d: run bctool reindex", p.key.modality);
  if (r->group.n > 0 && !bc_same_group(&r->group.v[0].key, &p.key)) {
    BC_RET(end_survey_group(r, err));
    BC_RET(bc_compact_cancelled(r, err));
  }
  BC_RET(bc_compact_segs_of(r, &p.rec, &head, &payload, err));
  r->tiles[p.key.modality]++;
  r->c.lost += !head->readable || (payload != NULL && !payload->readable);
  head->heads++;
  head->refs++;
  if (payload != NULL) {
    payload->refs++;
    if (count_shared(r, &p.key, &p.rec)) payload->live += bc_round_up64(p.rec.stored);
  }
  return bc_pieces_push(&r->group, &p, (uint32_t)r->group.n, err);
}

/* An index that has lost tiles must not decide what can go. */
static bc_status check_counts(bc_compact_run *r, bc_err *err)
{
  for (size_t i = 0; i < r->n_modalities; i++) {
    bc_usage u;
    const bc_modality *m = bc_snapshot_modality(r->snap, i);
    BC_RET(bc_snapshot_usage(r->snap, (uint16_t)i, &u, err));
    if (u.n_tiles != r->tiles[i])
      return BC_FAIL(err, BC_E_CORRUPT,
                     "index: %" PRIu64 " tiles of %s/%s, its usage says %" PRIu64 ": run bctool reindex",
                     r->tiles[i], m->group, m->name, u.n_tiles);
    r->c.report->tiles_before += u.n_tiles;
  }
  return BC_OK;
}

static int by_name(const void *a, const void *b)
{
  const bc_modality *const *x = a, *const *y = b;
  return strcmp((*x)->name, (*y)->name);
}

/* Variables of one name, in several groups, may share payloads. By sorting: there may be 65,536. */
static bc_status find_twins(bc_compact_run *r, bc_err *err)
{
  const size_t n = r->n_modalities;
  const bc_modality **m = bc_malloc((n + 1) * sizeof(const bc_modality *));
  if (m == NULL) return bc_compact_no_memory(err);
  for (size_t i = 0; i < n; i++)
    m[i] = bc_snapshot_modality(r->snap, i);
  if (n > 1) qsort(m, n, sizeof *m, by_name);
  for (size_t i = 1; i < n; i++)
    if (strcmp(m[i - 1]->name, m[i]->name) == 0) r->twin[m[i - 1]->id] = r->twin[m[i]->id] = true;
  bc_free(m);
  return BC_OK;
}

bc_status bc_compact_survey(bc_compact_run *r, bc_err *err)
{
  r->n_modalities = bc_snapshot_modalities(r->snap);
  r->tiles = bc_calloc(r->n_modalities + 1, sizeof *r->tiles);
  r->work = bc_calloc(r->n_modalities + 1, sizeof *r->work);
  r->twin = bc_calloc(r->n_modalities + 1, sizeof *r->twin);
  if (r->tiles == NULL || r->work == NULL || r->twin == NULL) return bc_compact_no_memory(err);
  BC_RET(find_twins(r, err));
  r->surveying = true;
  BC_RET(bc_compact_walk(r, NULL, survey_tile, end_survey_group, err));
  r->surveying = false;
  return check_counts(r, err);
}

/* ---- which segments go ---- */

static bool is_wasteful(const bc_seg_state *s)
{
  if (s->payload_bytes == 0) return (s->count - BC_MIN(s->count, s->heads)) * 100 > s->count * DEAD_PERCENT;
  const uint64_t live = BC_MIN(s->live, s->payload_bytes), kept = live - BC_MIN(live, s->merging);
  return (double)(s->payload_bytes - kept) * 100.0 > (double)s->payload_bytes * DEAD_PERCENT;
}

/* Commits are closed at three quarters of the target: half of it is not small. */
static bool is_small(const bc_compact_run *r, const bc_seg_state *s)
{
  return s->file_bytes < r->target / 2 && s->count < r->most / 2;
}

static void move_segment(bc_compact_run *r, bc_seg_state *s)
{
  s->moving = true;
  r->c.moving[s->id] = 1;
  r->c.moving_bytes += s->file_bytes;
  r->c.report->rewritten++;
}

/* Of one that the index was made without nobody knows what it held: it is forgotten only when that is asked
 * for. */
static bool stays_known(const bc_compact_run *r, const bc_seg_state *s)
{
  bc_err e = { .msg = "" };
  if (!s->unknown || r->c.forget_lost) return false;
  (void)BC_FAIL(&e, BC_E_CORRUPT,
                "segment %" PRIu32 " is lost, and what it held is not known: bctool verify says what to do",
                s->id);
  bc_compact_note(&r->c, &e);
  return true;
}

void bc_compact_choose(bc_compact_run *r)
{
  size_t small = 0;
  bool any = r->any_merge;
  for (size_t i = 0; i < r->c.n_segs; i++) {
    bc_seg_state *s = &r->c.segs[i];
    if (stays_known(r, s) || (!s->readable && s->refs > 0)) continue;
    if (!s->readable || s->broken || is_wasteful(s)) { /* what is damaged goes once nobody needs it */
      move_segment(r, s);
      any = true;
    } else if (is_small(r, s)) {
      small++;
    }
  }
  if (small + (any ? 1 : 0) < 2) return;
  for (size_t i = 0; i < r->c.n_segs; i++) {
    bc_seg_state *s = &r->c.segs[i];
    if (s->readable && !s->moving && is_small(r, s) && (!s->unknown || r->c.forget_lost)) move_segment(r, s);
  }
}

/* ---- what there is to do, by modality ---- */

static bc_status end_count_group(bc_compact_run *r, bc_err *err)
{
  bool merges = false;
  bc_compact_report *rep = r->c.report;
  if (r->any_merge) BC_RET(bc_compact_plan_group(r, &merges, err));
  for (uint32_t i = 0; i < r->group.n; i++) {
    const bc_piece *p = &r->group.v[i];
    const bool merged = merges && bc_compact_is_merged(&r->group, i);
    if (!merged && !bc_compact_is_moving(r, &p->rec)) continue;
    r->work[p->key.modality] += p->rec.stored + 1;
    r->total += p->rec.stored;
    if (r->c.w != NULL) continue; /* counted as it is done */
    rep->moved += !merged;
    rep->merged += merged;
    rep->made += merged && r->group.into[i] == i;
    rep->read_bytes += p->rec.stored;
  }
  r->group.n = 0;
  return BC_OK;
}

static bc_status count_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  bc_compact_run *r = ctx;
  bc_piece p;
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &p.key, err));
  BC_RET(bc_tile_rec_get(vb, &p.rec, err));
  if (r->group.n > 0 && !bc_same_group(&r->group.v[0].key, &p.key)) BC_RET(end_count_group(r, err));
  return bc_pieces_push(&r->group, &p, (uint32_t)r->group.n, err);
}

bc_status bc_compact_count(bc_compact_run *r, bc_err *err)
{
  return bc_compact_walk(r, NULL, count_tile, end_count_group, err);
}
