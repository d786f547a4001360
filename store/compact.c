/*
 * Compaction: survey the index, choose the segments that go, then move and merge their tiles variable by
 * variable. compact_merge.c makes one tile of several pieces, compact_retire.c commits.
 */
#include <inttypes.h>
#include <string.h>

#include "store/compact.h"
#include "store/store_int.h"

#define DEAD_PERCENT    20 /* of a segment's payload: more, and what is in force is written anew */
#define DEFAULT_SEGMENT ((uint64_t)256 << 20)
#define DEFAULT_MEMORY  ((uint64_t)1 << 30)
#define LEAST_MEMORY    ((uint64_t)32 << 20)
#define TILE_MEMORY     512 /* of a tile that waits for its commit, its head included, about */

typedef struct pieces {
  bc_piece *v;
  uint32_t *into; /* bc_merge_plan, from the first piece of the group and copy on */
  size_t n, cap;
} pieces;

/* Payloads of this cell and time, each counted once: equal tiles of two groups share one. */
typedef struct shared {
  uint64_t *v; /* pairs of segment and offset */
  size_t n, cap;
  uint32_t cell;
  int64_t time;
} shared;

typedef struct run {
  bc_compaction c;
  bc_merger *merger;
  bc_snapshot *snap;
  uint64_t target; /* bytes of a segment */
  size_t most;     /* tiles of a commit */
  size_t n_modalities;
  uint64_t *tiles, *work; /* by modality: tiles; stored bytes to move or merge, and one for each tile */
  bool *twin;             /* by modality: another group has a variable of that name */
  uint64_t total, done;   /* of work */
  bool any_merge;
  shared shared;
  pieces group;  /* of one cell, time and modality, while walking */
  pieces chunk;  /* groups that are to be written */
  pieces second; /* second copies, which follow their first ones */
  uint64_t chunk_bytes, second_bytes, chunk_room;
  uint64_t committed; /* tiles written before the last commit */
  uint16_t modality;  /* that is worked on */
  bool surveying;
} run;

static bc_status no_memory(bc_err *err) { return BC_FAIL(err, BC_E_NOMEM, "compact: no memory"); }

static bool is_damage(bc_status st) { return st <= BC_E_CORRUPT && st > BC_E_IO; }

static bc_status cancelled(const run *r, bc_err *err)
{
  const bc_progress *p = r->c.progress;
  if (p == NULL || p->cancelled == NULL || !p->cancelled(p->ctx)) return BC_OK;
  return BC_FAIL(err, BC_E_CANCELLED, "interrupted: the store is whole; run it again to go on");
}

static void tick(run *r, uint64_t bytes)
{
  const bc_progress *p = r->c.progress;
  r->done += bytes;
  if (p != NULL && p->tick != NULL) p->tick(p->ctx, BC_MIN(r->done, r->total), r->total, "compact");
}

static bc_status push(pieces *p, const bc_piece *piece, uint32_t into, bc_err *err)
{
  if (p->n == p->cap) {
    const size_t cap = p->cap == 0 ? 64 : 2 * p->cap;
    bc_piece *v = bc_realloc(p->v, cap * sizeof *v);
    if (v != NULL) p->v = v;
    uint32_t *to = bc_realloc(p->into, cap * sizeof *to);
    if (to != NULL) p->into = to;
    if (v == NULL || to == NULL) return no_memory(err);
    p->cap = cap;
  }
  p->into[p->n] = into;
  p->v[p->n++] = *piece;
  return BC_OK;
}

static void dispose_pieces(pieces *p)
{
  bc_free(p->v);
  bc_free(p->into);
}

static bool same_group(const bc_tile_key *a, const bc_tile_key *b)
{
  return a->cell == b->cell && a->time == b->time && a->modality == b->modality;
}

/* ---- segments ---- */

static bc_status add_segment(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  bc_compaction *c = ctx;
  (void)stop;
  if (key.n != 4 || value.n != 8) return BC_FAIL(err, BC_E_CORRUPT, "index: segments: run bctool reindex");
  c->segs[c->n_segs++] = (bc_seg_state){ .id = bc_be32(key.p), .file_bytes = bc_le64(value.p) };
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
    s->broken = is_damage(bc_segment_check_directory(seg, NULL));
    bc_segment_unref(seg);
    return BC_OK;
  }
  if (!is_damage(st) && st != BC_E_NOTFOUND) {
    if (err != NULL) *err = e;
    return st;
  }
  bc_compact_note(c, &e);
  return BC_OK;
}

static bc_status load_segments(run *r, bc_err *err)
{
  bc_compaction *c = &r->c;
  uint64_t n = 0;
  BC_RET(bc_txn_count(r->snap->txn, BC_TABLE_SEGMENTS, &n, err));
  c->segs = bc_calloc((size_t)n + 1, sizeof *c->segs);
  if (c->segs == NULL) return no_memory(err);
  BC_RET(bc_txn_each(r->snap->txn, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, add_segment, c, err));
  for (size_t i = 0; i < c->n_segs; i++) {
    BC_RET(measure(c, &c->segs[i], err));
    c->report->bytes_before += c->segs[i].file_bytes;
  }
  c->report->segments_before = c->n_segs;
  const size_t numbers = c->n_segs == 0 ? 1 : (size_t)c->segs[c->n_segs - 1].id + 1;
  c->moving = bc_calloc(numbers, 1);
  if (c->moving == NULL) return no_memory(err);
  c->upkeep = (bc_upkeep){ .moving = c->moving, .n_moving = numbers };
  return BC_OK;
}

static bc_status segs_of(const run *r, const bc_tile_rec *rec, bc_seg_state **head, bc_seg_state **payload,
                         bc_err *err)
{
  *head = bc_compact_seg(&r->c, rec->head_segment);
  *payload = rec->stored == 0 ? NULL : bc_compact_seg(&r->c, rec->segment);
  if (*head != NULL && (*payload != NULL || rec->stored == 0)) return BC_OK;
  return BC_FAIL(err, BC_E_CORRUPT,
                 "index: a tile lies in segment %" PRIu32 ", which is not there: run bctool reindex",
                 *head == NULL ? rec->head_segment : rec->segment);
}

static bool is_moving(const run *r, const bc_tile_rec *rec)
{
  const bc_seg_state *head = bc_compact_seg(&r->c, rec->head_segment);
  const bc_seg_state *payload = rec->stored == 0 ? NULL : bc_compact_seg(&r->c, rec->segment);
  return (head != NULL && head->moving) || (payload != NULL && payload->moving);
}

/* ---- walking the index by groups ---- */

static bc_status plan_group(run *r, bool *merges, bc_err *err)
{
  pieces *g = &r->group;
  bc_err e = { .msg = "" };
  *merges = false;
  if (g->n < 2) return BC_OK;
  const bc_status st = bc_merge_plan(r->merger, r->snap, g->v, g->n, g->into, &e);
  if (st != BC_OK && !is_damage(st)) {
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

static bool is_merged(const pieces *g, uint32_t i)
{
  bool any = g->into[i] != i;
  for (uint32_t j = i + 1; j < g->n && !any; j++)
    any = g->into[j] == i;
  return any;
}

static bc_status walk(run *r, const bc_tile_key *from, bc_pair_fn each, bc_status (*end)(run *, bc_err *),
                      bc_err *err)
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

/* ---- survey: what is in force, and what merging will free ---- */

static bool count_shared(run *r, const bc_tile_key *k, const bc_tile_rec *rec)
{
  shared *s = &r->shared;
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

static bc_status end_survey_group(run *r, bc_err *err)
{
  bool merges = false;
  BC_RET(plan_group(r, &merges, err));
  r->any_merge = r->any_merge || merges;
  for (uint32_t i = 0; merges && i < r->group.n; i++) {
    bc_seg_state *head, *payload;
    if (!is_merged(&r->group, i)) continue;
    BC_RET(segs_of(r, &r->group.v[i].rec, &head, &payload, err));
    if (payload != NULL) payload->merging += bc_round_up64(r->group.v[i].rec.stored);
  }
  r->group.n = 0;
  return BC_OK;
}

static bc_status survey_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  run *r = ctx;
  bc_piece p;
  bc_seg_state *head, *payload;
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &p.key, err));
  BC_RET(bc_tile_rec_get(vb, &p.rec, err));
  if (p.key.modality >= r->n_modalities)
    return BC_FAIL(err, BC_E_CORRUPT, "index: a tile of variable %d: run bctool reindex", p.key.modality);
  if (r->group.n > 0 && !same_group(&r->group.v[0].key, &p.key)) {
    BC_RET(end_survey_group(r, err));
    BC_RET(cancelled(r, err));
  }
  BC_RET(segs_of(r, &p.rec, &head, &payload, err));
  r->tiles[p.key.modality]++;
  head->heads++;
  head->refs++;
  if (payload != NULL) {
    payload->refs++;
    if (count_shared(r, &p.key, &p.rec)) payload->live += bc_round_up64(p.rec.stored);
  }
  return push(&r->group, &p, (uint32_t)r->group.n, err);
}

/* An index that has lost tiles must not decide what can go. */
static bc_status check_counts(run *r, bc_err *err)
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

static bc_status survey(run *r, bc_err *err)
{
  r->n_modalities = bc_snapshot_modalities(r->snap);
  r->tiles = bc_calloc(r->n_modalities + 1, sizeof *r->tiles);
  r->work = bc_calloc(r->n_modalities + 1, sizeof *r->work);
  r->twin = bc_calloc(r->n_modalities + 1, sizeof *r->twin);
  if (r->tiles == NULL || r->work == NULL || r->twin == NULL) return no_memory(err);
  for (size_t i = 0; i < r->n_modalities; i++)
    for (size_t j = 0; j < r->n_modalities; j++)
      if (i != j &&
          strcmp(bc_snapshot_modality(r->snap, i)->name, bc_snapshot_modality(r->snap, j)->name) == 0)
        r->twin[i] = true;
  r->surveying = true;
  BC_RET(walk(r, NULL, survey_tile, end_survey_group, err));
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
static bool is_small(const run *r, const bc_seg_state *s)
{
  return s->file_bytes < r->target / 2 && s->count < r->most / 2;
}

static void move_segment(run *r, bc_seg_state *s)
{
  s->moving = true;
  r->c.moving[s->id] = 1;
  r->c.moving_bytes += s->file_bytes;
  r->c.report->rewritten++;
}

static void choose(run *r)
{
  size_t small = 0;
  bool any = r->any_merge;
  for (size_t i = 0; i < r->c.n_segs; i++) {
    bc_seg_state *s = &r->c.segs[i];
    if (!s->readable && s->refs > 0) continue;
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
    if (s->readable && !s->moving && is_small(r, s)) move_segment(r, s);
  }
}

/* ---- what there is to do, by modality ---- */

static bool needs_work(const run *r, bool merges)
{
  bool any = merges;
  for (size_t i = 0; i < r->group.n && !any; i++)
    any = is_moving(r, &r->group.v[i].rec);
  return any;
}

static bc_status end_count_group(run *r, bc_err *err)
{
  bool merges = false;
  bc_compact_report *rep = r->c.report;
  if (r->any_merge) BC_RET(plan_group(r, &merges, err));
  for (uint32_t i = 0; i < r->group.n; i++) {
    const bc_piece *p = &r->group.v[i];
    const bool merged = merges && is_merged(&r->group, i);
    if (!merged && !is_moving(r, &p->rec)) continue;
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
  run *r = ctx;
  bc_piece p;
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &p.key, err));
  BC_RET(bc_tile_rec_get(vb, &p.rec, err));
  if (r->group.n > 0 && !same_group(&r->group.v[0].key, &p.key)) BC_RET(end_count_group(r, err));
  return push(&r->group, &p, (uint32_t)r->group.n, err);
}

/* ---- a chunk of groups of one modality ---- */

static bc_status end_chunk_group(run *r, bc_err *err)
{
  bool merges = false;
  pieces *g = &r->group;
  if (g->n == 0) return BC_OK;
  BC_RET(plan_group(r, &merges, err));
  if (needs_work(r, merges))
    for (size_t i = 0; i < g->n; i++) {
      BC_RET(push(&r->chunk, &g->v[i], g->into[i], err));
      r->chunk_bytes += g->v[i].rec.stored;
    }
  g->n = 0;
  return BC_OK;
}

static bc_status chunk_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  run *r = ctx;
  bc_piece p;
  BC_RET(bc_tile_key_get(kb, &p.key, err));
  if (p.key.modality != r->modality) return BC_OK;
  if (r->group.n > 0 && !same_group(&r->group.v[0].key, &p.key)) {
    BC_RET(end_chunk_group(r, err));
    *stop = r->chunk_bytes >= r->chunk_room || r->chunk.n >= r->most;
    if (*stop) return BC_OK;
  }
  BC_RET(bc_tile_rec_get(vb, &p.rec, err));
  return push(&r->group, &p, (uint32_t)r->group.n, err);
}

static bc_status next_chunk(run *r, const bc_tile_key *after, bool first, bc_err *err)
{
  bc_tile_key from = *after;
  r->chunk.n = 0;
  r->chunk_bytes = 0;
  from.modality++; /* past this cell and time */
  from.part = 0;
  return walk(r, first ? NULL : &from, chunk_tile, end_chunk_group, err);
}

/* ---- moving and merging ---- */

/* The piece is gone from where it was. */
static bc_status let_go(run *r, const bc_piece *p, bc_err *err)
{
  bc_seg_state *head, *payload;
  BC_RET(segs_of(r, &p->rec, &head, &payload, err));
  head->heads--;
  head->refs--;
  if (payload != NULL) payload->refs--;
  r->c.report->read_bytes += p->rec.stored;
  tick(r, p->rec.stored);
  return BC_OK;
}

static bc_status move_piece(run *r, const bc_piece *p, bc_err *err)
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

static bc_status merge_pieces(run *r, const bc_piece *const *set, size_t n, bc_err *err)
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
static bc_status write_copy(run *r, const bc_piece *v, const uint32_t *into, size_t n, bc_err *err)
{
  bc_status st = BC_OK;
  const bc_piece **set = bc_malloc(n * sizeof(const bc_piece *));
  if (set == NULL) return no_memory(err);
  for (uint32_t i = 0; i < n; i++) {
    size_t k = 0;
    if (into[i] != i) continue; /* with its lowest */
    for (uint32_t j = i; j < n; j++)
      if (into[j] == i) set[k++] = &v[j];
    if (k > 1)
      BC_TRY(merge_pieces(r, set, k, err));
    else if (is_moving(r, &v[i].rec))
      BC_TRY(move_piece(r, &v[i], err));
  }
out:
  bc_free(set);
  return st;
}

static size_t group_end(const pieces *p, size_t i)
{
  size_t j = i + 1;
  while (j < p->n && same_group(&p->v[i].key, &p->v[j].key))
    j++;
  return j;
}

static bc_status write_second(run *r, bc_err *err)
{
  pieces *s = &r->second;
  for (size_t i = 0, end = 0; i < s->n; i = end) {
    end = group_end(s, i);
    BC_RET(write_copy(r, s->v + i, s->into + i, end - i, err));
  }
  s->n = 0;
  r->second_bytes = 0;
  return BC_OK;
}

static bc_status check_piece(run *r, const bc_piece *p, bc_err *err)
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
static bc_status group_is_good(run *r, const bc_piece *v, size_t n, bool *good, bc_err *err)
{
  char where[160];
  *good = true;
  for (size_t i = 0; i < n; i++) {
    bc_err e = { .msg = "" }, told;
    const bc_status st = check_piece(r, &v[i], &e);
    if (st == BC_OK) continue;
    if (!is_damage(st)) {
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

static bc_status open_snapshot(run *r, bc_err *err)
{
  return r->snap != NULL ? BC_OK : bc_snapshot_open(r->c.st, &r->snap, err);
}

static bc_status commit(run *r, bool last, bc_err *err)
{
  BC_RET(open_snapshot(r, err));
  BC_RET(write_second(r, err));
  bc_snapshot_close(r->snap); /* not held over a commit: pages of the index could not be used again */
  r->snap = NULL;
  return bc_compact_commit(&r->c, last, err);
}

static uint64_t written(const run *r) { return r->c.report->moved + r->c.report->made; }

static bool is_full(const run *r)
{
  return bc_writer_pending_bytes(r->c.w) + r->second_bytes >= r->target / 4 * 3 ||
         written(r) - r->committed + r->second.n >= r->most / 4 * 3;
}

static bc_status write_group(run *r, size_t i, size_t end, bc_err *err)
{
  const pieces *g = &r->chunk;
  size_t mid = i;
  bool good = false;
  BC_RET(cancelled(r, err));
  if (is_full(r)) {
    BC_RET(commit(r, false, err));
    r->committed = written(r);
  }
  BC_RET(open_snapshot(r, err));
  BC_RET(group_is_good(r, g->v + i, end - i, &good, err));
  if (!good) return BC_OK;
  while (mid < end && (g->v[mid].key.part & BC_PART_SECOND) == 0)
    mid++;
  for (size_t k = mid; k < end; k++) {
    BC_RET(push(&r->second, &g->v[k], g->into[k] - (uint32_t)(mid - i), err));
    r->second_bytes += g->v[k].rec.stored;
  }
  return write_copy(r, g->v + i, g->into + i, mid - i, err);
}

static bc_status write_modality(run *r, uint16_t id, bc_err *err)
{
  bc_tile_key after = { 0 };
  r->modality = id;
  for (bool first = true;; first = false) {
    BC_RET(open_snapshot(r, err));
    BC_RET(next_chunk(r, &after, first, err));
    if (r->chunk.n == 0) break;
    after = r->chunk.v[r->chunk.n - 1].key;
    for (size_t i = 0, end = 0; i < r->chunk.n; i = end) {
      end = group_end(&r->chunk, i);
      BC_RET(write_group(r, i, end, err));
    }
  }
  BC_RET(open_snapshot(r, err));
  return write_second(r, err);
}

/* ---- the whole ---- */

static bc_status set_limits(run *r, const bc_compact_opts *opts, uint64_t *memory, bc_err *err)
{
  uint64_t m = opts == NULL ? 0 : opts->memory;
  if (m == 0) m = BC_MAX(BC_MIN(bc_os_physical_memory() / 4, DEFAULT_MEMORY), LEAST_MEMORY);
  if (m < LEAST_MEMORY)
    return BC_FAIL(err, BC_E_BUDGET,
                   "compaction needs at least %" PRIu64 " MiB of memory, %" PRIu64 " bytes are allowed",
                   LEAST_MEMORY >> 20, m);
  r->target = opts == NULL || opts->segment_bytes == 0 ? DEFAULT_SEGMENT : opts->segment_bytes;
  r->most = (size_t)(BC_MIN(m, (uint64_t)1 << 40) / 8 / TILE_MEMORY);
  r->chunk_room = r->target / 4;
  *memory = m;
  return BC_OK;
}

static void close_run(run *r)
{
  bc_snapshot_close(r->snap);
  bc_merger_close(r->merger);
  bc_writer_close(r->c.w);
  dispose_pieces(&r->group);
  dispose_pieces(&r->chunk);
  dispose_pieces(&r->second);
  bc_free(r->shared.v);
  bc_free(r->tiles);
  bc_free(r->work);
  bc_free(r->twin);
  bc_free(r->c.segs);
  bc_free(r->c.moving);
}

static bc_status prepare(run *r, bc_err *err)
{
  BC_RET(open_snapshot(r, err));
  BC_RET(load_segments(r, err));
  if (r->c.w != NULL) BC_RET(bc_compact_leftovers(&r->c, err));
  BC_RET(survey(r, err));
  choose(r);
  return walk(r, NULL, count_tile, end_count_group, err);
}

static bc_status report_after(run *r, bc_err *err)
{
  bc_store_info info;
  BC_RET(open_snapshot(r, err));
  BC_RET(bc_snapshot_info(r->snap, &info, err));
  r->c.report->segments_after = info.n_segments;
  r->c.report->bytes_after = info.segment_bytes;
  r->c.report->tiles_after = info.n_tiles;
  return BC_OK;
}

bc_status bc_store_compact(bc_store *store, const bc_compact_opts *opts, const bc_progress *progress,
                           bc_compact_report *report, bc_err *err)
{
  bc_status st = BC_OK;
  const bool dry_run = opts != NULL && opts->dry_run;
  run r = { .c = { .st = store, .progress = progress, .report = report } };
  uint64_t memory = 0;
  memset(report, 0, sizeof *report);
  BC_TRY(set_limits(&r, opts, &memory, err));
  BC_TRY(bc_merger_open(memory / 4, &r.merger, err));
  if (!dry_run) BC_TRY(bc_writer_open(store, &r.c.w, err));
  BC_TRY(prepare(&r, err));
  if (!dry_run) {
    bc_writer_set_upkeep(r.c.w, &r.c.upkeep);
    for (size_t i = 0; i < r.n_modalities; i++)
      if (r.work[i] > 0) BC_TRY(write_modality(&r, (uint16_t)i, err));
    BC_TRY(commit(&r, true, err));
  }
  BC_TRY(report_after(&r, err));
out:
  close_run(&r);
  return st;
}
