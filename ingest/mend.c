/*
 * What is lost of stored tiles, when files are to mend it: which steps of a job bring it back, and when the
 * lost tile may go. See docs/care.md for what a user is told of it.
 */
#include <stdlib.h>
#include <string.h>

#include "ingest/reconcile_int.h"

/* ---- who may speak for what is lost ---- */

/* Whether a file was gone through: in this run, or in one before that mended, after the segment was there. */
static bool was_given(bc_snapshot *snap, const bc_given *given, uint32_t source, uint32_t segment)
{
  bc_source_rec rec;
  if (bc_ids_has(&given->done, source)) return true;
  const bc_status st = bc_snapshot_source(snap, source, &rec, NULL);
  return st == BC_E_NOTFOUND || (st == BC_OK && rec.done && rec.next_step > segment);
}

/* Than the one that is owed; -1: none. */
static bool is_later(const bc_given *given, uint32_t source, int64_t owed)
{
  return owed < 0 ||
         bc_source_order_of(&given->order, source) > bc_source_order_of(&given->order, (uint32_t)owed);
}

/* Values of an older file must not come up in place of those that a later one put there, and which are lost
 * too: the latest file of those that a tile may come from goes first. */
static int64_t latest_owed(bc_reconciler *r, const uint8_t *sources, uint32_t n, uint32_t segment)
{
  int64_t owed = -1;
  if (r->conflict != BC_CONFLICT_MEND || r->given->any_order) return -1;
  for (uint32_t i = n; i-- > 0;) {
    const uint32_t id = bc_le32(sources + 4 * (size_t)i);
    if (is_later(r->given, id, owed) && !was_given(r->snap, r->given, id, segment)) owed = id;
  }
  return owed;
}

/* Something lost was met: the order of all files is going to be asked for. */
static bc_status know_order(bc_reconciler *r, bc_err *err)
{
  if (r->conflict != BC_CONFLICT_MEND) return BC_OK;
  r->given->mends = true;
  return r->given->order.of != NULL ? BC_OK : bc_source_order_load(&r->given->order, r->snap, err);
}

bc_status bc_find_owed(bc_reconciler *r, bc_rival *t, const bc_tile_head *h, bc_err *err)
{
  BC_RET(know_order(r, err));
  t->owed = latest_owed(r, h->sources, h->n_sources, t->rec.head_segment);
  return BC_OK;
}

/* Whether a later file than this is owed. */
static bool comes_before(const bc_given *given, uint32_t source, const bc_rival *t)
{
  return t->owed >= 0 && is_later(given, (uint32_t)t->owed, source);
}

/* A file that would have come later had it been given is waited for. */
static bool is_its_turn(bc_reconciler *r, const bc_rival *t, uint32_t source)
{
  bc_given *const g = r->given;
  if (!comes_before(g, source, t)) return true;
  if (!g->owes || is_later(g, (uint32_t)t->owed, g->owed)) g->owed = (uint32_t)t->owed;
  g->owes = true;
  return false;
}

/* Whether a step comes from one of the files that a tile was made of; only they can bring it back. */
static bool is_from(const bc_job *j, size_t s, const bc_tile_head *h)
{
  bool any = false;
  for (uint32_t i = 0; i < h->n_sources && !any; i++)
    any = bc_tile_source(h, i) == j->b->sources[s];
  return any;
}

bool bc_job_any_from(const bc_reconciler *r, const bc_job *j, const bc_rival *t, const bc_tile_head *h)
{
  bool any = false;
  for (size_t s = 0; s < j->b->n && !any; s++)
    any = is_from(j, s, h) && !comes_before(r->given, j->b->sources[s], t);
  return any;
}

/* Nodes that nobody spoke for yet are spoken for: by the job, if it may. True when there are any. */
static bool claim_row(bc_reconciler *r, const bc_job *j, size_t js, size_t jl, uint32_t y, uint32_t x,
                      uint32_t n, bool may)
{
  uint8_t *mask = r->mask + ((js * j->b->p.n_levels + jl) * j->ny + y) * j->nx + x;
  bool any = false;
  for (uint32_t i = 0; i < n; i++) {
    if (mask[i] != 0) continue;
    mask[i] = may ? BC_SPOKEN : BC_BARRED;
    any = true;
  }
  return any && may;
}

bool bc_is_barred(const bc_reconciler *r, const bc_job *j, size_t s)
{
  return memchr(r->mask + s * bc_job_volume(j), BC_BARRED, bc_job_volume(j)) != NULL;
}

/* A damaged block: its values are the job's. */
void bc_claim_block(bc_reconciler *r, const bc_job *j, const bc_rival *rival, const bc_tile_head *h,
                    const bc_block_place *at, size_t jl, const bc_overlap *o, bool *differs)
{
  for (uint32_t i = 0; i < at->nt; i++) {
    const size_t js = bc_job_step_at(j->b, bc_tile_time(h, at->t0 + i));
    if (js == j->b->n) continue;
    const bool may = is_from(j, js, h) && is_its_turn(r, rival, j->b->sources[js]);
    for (uint32_t y = o->y_lo; y < o->y_hi; y++)
      differs[js] =
          claim_row(r, j, js, jl, y - j->y0, o->x_lo - j->x0, o->x_hi - o->x_lo, may) || differs[js];
  }
}

static int by_id(const void *id, const void *stored)
{
  const uint32_t x = *(const uint32_t *)id, y = bc_le32(stored);
  return (x > y) - (x < y);
}

/* Of ascending ids. */
static bool segment_has_source(const bc_segment_rec *seg, uint32_t id)
{
  return seg->n_sources > 0 && bsearch(&id, seg->sources.p, seg->n_sources, 4, by_id) != NULL;
}

/* The last file of all that was not gone through in this run; -1: none. */
static int64_t latest_not_given(bc_snapshot *snap, const bc_given *given)
{
  bc_source_rec rec;
  const bc_source_order *const o = &given->order;
  uint32_t n = o->n;
  while (n > 0 && (bc_ids_has(&given->done, o->ids[n - 1]) ||
                   bc_snapshot_source(snap, o->ids[n - 1], &rec, NULL) == BC_E_NOTFOUND))
    n--;
  return n == 0 ? -1 : (int64_t)o->ids[n - 1];
}

/* Whether a file may bring back what is lost of a segment. When its files are not known any may have been, of
 * which the latest was in force. */
static bool may_bring(bc_reconciler *r, const bc_segment_rec *seg, const bc_rival *t, uint32_t source)
{
  if (seg->n_sources > 0) return segment_has_source(seg, source) && is_its_turn(r, t, source);
  return r->conflict != BC_CONFLICT_MEND || !comes_before(r->given, source, t);
}

/* Whether a tile whose head is lost may have that step. */
static bool in_span(const bc_rival *t, int64_t time)
{
  int64_t after = 0;
  if (t->rec.first > t->rec.last) return true; /* not known */
  return !__builtin_sub_overflow(time, t->key.time, &after) && after >= t->rec.first && after <= t->rec.last;
}

/* A tile whose head is lost may have held any node of the steps that the index remembers. */
bc_status bc_claim_tile(bc_reconciler *r, const bc_job *j, bc_rival *t, bool *differs, bc_err *err)
{
  bc_segment_rec seg = { 0 };
  const bc_status st = bc_snapshot_segment(r->snap, t->rec.head_segment, &seg, err);
  if (st != BC_OK && st != BC_E_NOTFOUND) return st;
  t->lost = true;
  BC_RET(know_order(r, err));
  t->owed = latest_owed(r, seg.sources.p, seg.n_sources, t->rec.head_segment);
  if (seg.n_sources == 0) t->owed = latest_not_given(r->snap, r->given);
  for (size_t s = 0; s < j->b->n; s++) {
    if (!in_span(t, j->b->times[s])) continue;
    const bool may = may_bring(r, &seg, t, j->b->sources[s]);
    t->n_given += may ? 1 : 0;
    t->waits = t->waits || (may && bc_is_barred(r, j, s));
    if (r->conflict != BC_CONFLICT_MEND) continue;
    bool any = false;
    for (uint16_t l = 0; l < j->b->p.n_levels; l++)
      for (uint32_t y = 0; y < j->ny; y++)
        any = claim_row(r, j, s, l, y, 0, j->nx, may) || any;
    differs[s] = any || differs[s];
  }
  t->foreign = t->n_given == 0;
  return BC_OK;
}

/* All steps of a tile are written anew: it can only go as a whole, and while it stays, no query over what is
 * lost of it answers. */
void bc_claim_steps(const bc_reconciler *r, const bc_job *j, const bc_rival *rival, const bc_tile_head *h,
                    bool *differs)
{
  for (uint32_t i = 0; i < h->nt; i++) {
    const size_t js = bc_job_step_at(j->b, bc_tile_time(h, i));
    if (js == j->b->n) continue;
    if (r->conflict != BC_CONFLICT_MEND ||
        (is_from(j, js, h) && !comes_before(r->given, j->b->sources[js], rival)))
      differs[js] = true;
  }
}

static int by_step(const void *a, const void *b)
{
  const size_t x = *(const size_t *)a, y = *(const size_t *)b;
  return (x > y) - (x < y);
}

static bool written(const bc_job *j, int64_t time)
{
  const size_t s = bc_job_step_at(j->b, time);
  if (s == j->b->n || j->keep == NULL) return s < j->b->n;
  return bsearch(&s, j->keep, j->n_keep, sizeof s, by_step) != NULL;
}

/* The job writes all nodes and levels that a tile has of a step. */
static bool holds_planes(const bc_job *j, const bc_tile_head *h)
{
  if (h->y0 < j->y0 || h->x0 < j->x0 || h->y0 + h->ny > j->y0 + j->ny || h->x0 + h->nx > j->x0 + j->nx)
    return false;
  for (uint32_t l = 0; l < h->nl; l++)
    if (bc_job_level_at(j, bc_tile_level(h, l)) < 0) return false;
  return true;
}

/* The same of a later piece of the tile. */
static bool hides_planes(const bc_tile_head *later, const bc_tile_head *h)
{
  if (h->y0 < later->y0 || h->x0 < later->x0 || h->y0 + h->ny > later->y0 + later->ny ||
      h->x0 + h->nx > later->x0 + later->nx)
    return false;
  for (uint32_t l = 0; l < h->nl; l++)
    if (bc_tile_level_at(later, bc_tile_level(h, l)) == later->nl) return false;
  return true;
}

/* Steps of tile i that neither the job nor a later piece has: of a damaged tile that files mend one by one.
 */
static bc_status count_left(bc_reconciler *r, const bc_job *j, size_t i, const bc_tile_head *h,
                            uint32_t *left, bc_err *err)
{
  bool *open = bc_malloc(h->nt);
  if (open == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  const bool all = holds_planes(j, h);
  for (uint32_t t = 0; t < h->nt; t++)
    open[t] = !all || !written(j, bc_tile_time(h, t));
  for (size_t k = i + 1; k < r->n && r->tiles[i].lost; k++) {
    bc_tile later;
    if (r->tiles[k].lost ||
        bc_snapshot_tile(r->snap, &r->tiles[k].key, &r->tiles[k].rec, &later, NULL) != BC_OK)
      continue;
    const bool hides = hides_planes(&later.head, h);
    for (uint32_t t = 0; hides && t < later.head.nt; t++) {
      const uint32_t own = bc_tile_step_at(h, bc_tile_time(&later.head, t));
      if (own < h->nt) open[own] = false;
    }
    bc_tile_close(&later);
  }
  *left = 0;
  for (uint32_t t = 0; t < h->nt; t++)
    *left += open[t] ? 1 : 0;
  bc_free(open);
  return BC_OK;
}

/* ---- may a tile go whose head cannot be read? ---- */

/* Nodes of all levels that the job or a later piece has of one time. */
typedef struct cover_sheet {
  uint8_t *seen; /* [levels][cell rows][cell columns] */
  size_t n_levels, ny, nx;
  bc_tile *later;
  size_t n_later;
} cover_sheet;

static void mark_box(const cover_sheet *c, uint16_t level, uint32_t y0, uint32_t x0, uint32_t ny, uint32_t nx)
{
  if (level >= c->n_levels) return;
  for (uint32_t y = y0; y < y0 + ny; y++)
    memset(c->seen + ((size_t)level * c->ny + y) * c->nx + x0, 1, nx);
}

/* Whether all nodes of the cell are there at a time. */
static bool is_full(const bc_reconciler *r, const bc_job *j, const cover_sheet *c, int64_t time)
{
  const size_t all = c->n_levels * c->ny * c->nx, s = bc_job_step_at(j->b, time);
  memset(c->seen, 0, all);
  if (s < j->b->n && !bc_is_barred(r, j, s))
    for (uint16_t l = 0; l < j->b->p.n_levels; l++)
      mark_box(c, j->b->own_levels[l], j->y0, j->x0, j->ny, j->nx);
  for (size_t k = 0; k < c->n_later; k++) {
    const bc_tile_head *h = &c->later[k].head;
    if (bc_tile_step_at(h, time) == h->nt) continue;
    for (uint32_t l = 0; l < h->nl; l++)
      mark_box(c, bc_tile_level(h, l), h->y0, h->x0, h->ny, h->nx);
  }
  return memchr(c->seen, 0, all) == NULL;
}

static bc_status fill_sheet(bc_reconciler *r, const bc_job *j, size_t i, cover_sheet *c, bc_err *err)
{
  const bc_modality *m = bc_writer_get_modality(r->w, j->key.modality);
  *c = (cover_sheet){ .n_levels = BC_MAX(m->n_levels, 1), .ny = j->cell_ny, .nx = j->cell_nx };
  c->seen = bc_malloc(c->n_levels * c->ny * c->nx);
  c->later = bc_calloc(r->n - i, sizeof *c->later);
  if (c->seen == NULL || c->later == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  for (size_t k = i + 1; k < r->n; k++)
    if (!r->tiles[k].lost &&
        bc_snapshot_tile(r->snap, &r->tiles[k].key, &r->tiles[k].rec, &c->later[c->n_later], NULL) == BC_OK)
      c->n_later++;
  return BC_OK;
}

/* The steps of a tile whose head is lost, as far as the index knows them for certain: how far they are apart;
 * -1 when it does not. */
static int64_t certain_step(const bc_rival *t)
{
  const int64_t span = (int64_t)t->rec.last - t->rec.first, n = t->rec.n_steps;
  if (n == 0 || span < 0 || (n == 1) != (span == 0)) return -1;
  if (n == 1) return 0;
  return (n == 2 || t->rec.even) && span % (n - 1) == 0 ? span / (n - 1) : -1;
}

/* All nodes of the cell are there at all of its steps, with what is written now. Where the steps are not
 * known for certain, others in their place prove nothing. */
static bc_status is_covered(bc_reconciler *r, const bc_job *j, size_t i, bool *covered, bc_err *err)
{
  cover_sheet c = { 0 };
  const bc_rival *t = &r->tiles[i];
  const int64_t step = certain_step(t);
  int64_t time = 0;
  *covered = false;
  if (step < 0 ||
      __builtin_add_overflow(t->key.time, t->key.time == BC_TIME_STATIC ? 0 : t->rec.first, &time))
    return BC_OK;
  const bc_status st = fill_sheet(r, j, i, &c, err);
  *covered = st == BC_OK;
  for (uint32_t k = 0; k < t->rec.n_steps && *covered; k++, time += step)
    *covered = is_full(r, j, &c, time);
  for (size_t k = 0; k < c.n_later; k++)
    bc_tile_close(&c.later[k]);
  bc_free(c.later);
  bc_free(c.seen);
  return st;
}

/* What was in it is known by the index alone: it goes when all of it is there again, or else when every file
 * that it can have come from was given. New values do not know which nodes it had, unless they fill the cell.
 */
static bc_status may_go(bc_reconciler *r, const bc_job *j, size_t i, bool *may, bool *waits, bc_err *err)
{
  const bc_rival *t = &r->tiles[i];
  const bool fills = j->ny == j->cell_ny && j->nx == j->cell_nx;
  *may = *waits = false;
  if (t->foreign && !(fills && r->conflict == BC_CONFLICT_REPLACE)) return BC_OK;
  if (t->waits) return BC_OK;
  BC_RET(is_covered(r, j, i, may, err));
  *waits = !*may && r->conflict == BC_CONFLICT_MEND;
  return BC_OK;
}

static bc_status drop_tile(bc_reconciler *r, const bc_job *j, bc_tile_key key, bc_err *err)
{
  BC_RET(bc_writer_drop(r->w, &key, err));
  if (j->b->p.layout[1] == BC_LAYOUT_NONE) return BC_OK;
  key.part |= BC_PART_SECOND;
  return bc_writer_drop(r->w, &key, err);
}

static bool any_barred(const bc_reconciler *r, const bc_job *j)
{
  bool any = false;
  for (size_t s = 0; s < j->b->n && !any; s++)
    any = bc_is_barred(r, j, s);
  return any;
}

/* Tiles of which nothing is in force any more. */
bc_status bc_drop_superseded(bc_reconciler *r, const bc_job *j, size_t i, bc_err *err)
{
  bc_tile t;
  const bc_tile_key key = r->tiles[i].key;
  uint32_t left = 0;
  bool may = false, waits = false;
  const bool nothing = j->keep != NULL && j->n_keep == 0, mends = r->conflict == BC_CONFLICT_MEND;
  if (nothing && !(mends && r->tiles[i].lost)) return BC_OK;
  bc_status st = bc_snapshot_tile(r->snap, &key, &r->tiles[i].rec, &t, err);
  if (bc_is_damage(st)) {
    BC_RET(may_go(r, j, i, &may, &waits, err));
  } else {
    BC_RET(st);
    if (!r->tiles[i].foreign) {
      st = count_left(r, j, i, &t.head, &left, err);
      may = left == 0;
      waits = !may && mends && r->tiles[i].lost && !any_barred(r, j);
    }
    bc_tile_close(&t);
    BC_RET(st);
  }
  if (waits) return bc_given_wait(r->given, &key, err);
  return may ? drop_tile(r, j, key, err) : BC_OK;
}

/* ---- what nobody can bring back ---- */

static bool all_given(bc_snapshot *snap, const bc_given *given, const uint8_t *sources, uint32_t n,
                      uint32_t segment)
{
  bool all = n > 0;
  for (uint32_t i = 0; i < n && all; i++)
    all = was_given(snap, given, bc_le32(sources + 4 * (size_t)i), segment) &&
          !bc_ids_has(&given->held, bc_le32(sources + 4 * (size_t)i));
  return all;
}

static bc_status all_sources_given(bc_snapshot *snap, const bc_given *given, const bc_tile_key *key,
                                   const bc_tile_rec *rec, bool *all, bc_err *err)
{
  bc_tile t;
  bc_segment_rec seg = { 0 };
  bc_status st = bc_snapshot_tile(snap, key, rec, &t, err);
  if (st == BC_OK) {
    *all = all_given(snap, given, t.head.sources, t.head.n_sources, rec->head_segment);
    bc_tile_close(&t);
    return BC_OK;
  }
  if (!bc_is_damage(st)) return st;
  st = bc_snapshot_segment(snap, rec->head_segment, &seg, err);
  if (st == BC_OK && seg.n_sources == 0) *all = latest_not_given(snap, given) < 0;
  if (st == BC_OK && seg.n_sources > 0)
    *all = all_given(snap, given, seg.sources.p, seg.n_sources, rec->head_segment);
  return st == BC_E_NOTFOUND ? BC_OK : st;
}

static bc_status settle_tile(bc_snapshot *snap, bc_writer *w, const bc_given *given, bc_tile_key key,
                             bool *gone, bc_err *err)
{
  bc_tile_rec rec;
  bc_status st = bc_snapshot_get(snap, &key, &rec, err);
  *gone = st == BC_E_NOTFOUND;
  if (st != BC_OK) return *gone ? BC_OK : st;
  BC_RET(all_sources_given(snap, given, &key, &rec, gone, err));
  if (!*gone) return BC_OK;
  BC_RET(bc_writer_drop(w, &key, err));
  key.part |= BC_PART_SECOND; /* harmless where there is none */
  return bc_writer_drop(w, &key, err);
}

bc_status bc_mend_settle(bc_store *store, bc_writer *w, bc_given *given, bc_err *err)
{
  bc_status st = BC_OK;
  bc_snapshot *snap = NULL;
  size_t kept = 0;
  if (given->n_left == 0) return BC_OK;
  BC_RET(bc_snapshot_open(store, &snap, err));
  for (size_t i = 0; i < given->n_left; i++) {
    bool gone = false;
    BC_TRY(settle_tile(snap, w, given, given->left[i], &gone, err));
    if (!gone) given->left[kept++] = given->left[i];
  }
  given->n_left = kept;
out:
  bc_snapshot_close(snap);
  return st;
}

/* So that a file in a command of its own, with other options, is known as given in the next one. Also when it
 * met nothing that is lost: of a tile without a head nobody knows which files it came from, and its variable
 * may not be one of this file's. */
bc_status bc_mend_mark(bc_store *store, bc_writer *w, const bc_given *given, bc_err *err)
{
  bc_status st = BC_OK;
  bc_snapshot *snap = NULL;
  bc_source_rec rec;
  const bc_ids *const done = &given->done;
  if (done->n == 0) return BC_OK;
  BC_RET(bc_snapshot_open(store, &snap, err));
  if (!given->mends && !bc_snapshot_lacks_heads(snap)) goto out;
  for (size_t i = 0; i < done->n_slots; i++) {
    if (done->slot[i] == 0 || bc_ids_has(&given->held, done->slot[i] - 1)) continue;
    bc_source_rec was;
    st = bc_snapshot_source(snap, done->slot[i] - 1, &was, err);
    if (st == BC_OK) st = bc_writer_find_source(w, &was, &rec, err); /* what this run says of it */
    if (st == BC_E_NOTFOUND || (st == BC_OK && !rec.done)) continue;
    BC_TRY(st);
    rec.next_var = 0;
    rec.next_step = bc_writer_number(w);
    BC_TRY(bc_writer_source_update(w, &rec, err));
  }
  st = BC_OK;
out:
  bc_snapshot_close(snap);
  return st;
}
