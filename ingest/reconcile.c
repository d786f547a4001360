/*
 * What is new in a batch of tiles-to-be, against what is stored: equal steps are left out, different values
 * refused or put on top. To mend, what can be read of the store goes into the tile instead, and only what
 * nobody can read any more, or nobody has, comes from the file.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/reconcile_int.h"

static bc_status collect(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  bc_reconciler *r = ctx;
  if (key->part & BC_PART_SECOND) return BC_OK;
  if (r->n == r->cap) {
    const size_t cap = r->cap == 0 ? 16 : r->cap * 2;
    bc_rival *p = bc_realloc(r->tiles, cap * sizeof *p);
    if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
    r->tiles = p;
    r->cap = cap;
  }
  r->tiles[r->n++] = (bc_rival){ .key = *key, .rec = *rec, .owed = -1 };
  return BC_OK;
}

static bc_status existing(bc_reconciler *r, const bc_job *j, bc_err *err)
{
  const int64_t end = j->key.time == INT64_MAX ? INT64_MAX : j->key.time + 1;
  r->n = 0;
  return bc_snapshot_scan(r->snap, j->key.cell, j->key.time, end, &j->key.modality, 1, collect, r, err);
}

static bc_status prepare(bc_reconciler *r, const bc_job *j, bc_err *err)
{
  size_t need = 0;
  if (!bc_mul_sz(bc_job_volume(j), j->b->n, &need)) return BC_FAIL(err, BC_E_RANGE, "ingest: tile too large");
  if (need > r->mask_cap) {
    bc_free(r->mask);
    r->mask_cap = 0;
    r->mask = bc_malloc(need);
    if (r->mask == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory for %zu bytes", need);
    r->mask_cap = need;
  }
  memset(r->mask, 0, need);
  return BC_OK;
}

static bool same_value(float a, float b)
{
  uint32_t x, y;
  memcpy(&x, &a, 4);
  memcpy(&y, &b, 4);
  return x == y || (a != a && b != b);
}

static const char *longitude_text(double lon, char out[24])
{
  (void)snprintf(out, 24, "%.6g %c", fabs(lon), lon < 0 ? 'W' : 'E');
  return out;
}

static const char *value_text(float v, char out[24])
{
  if (v != v) return "a missing value";
  (void)snprintf(out, 24, "%.9g", (double)v);
  return out;
}

static const char *latitude_text(double lat, char out[24])
{
  (void)snprintf(out, 24, "%.6g %c", fabs(lat), lat < 0 ? 'S' : 'N');
  return out;
}

/* The file is named by the layer above, which knows its path. */
static bc_status conflict(const bc_reconciler *r, const bc_job *j, size_t step, size_t level, uint32_t y,
                          uint32_t x, float old, float fresh, bc_err *err)
{
  char when[BC_TIME_TEXT], lev[48] = "", lat[24], lon[24], was[24], is[24];
  const bc_modality *m = bc_writer_get_modality(r->w, j->key.modality);
  const bc_grid *g = j->b->p.grid;
  const int64_t t = j->b->times[step];
  uint32_t cy = 0, cx = 0;
  bc_cell_position(j->key.cell & ((1u << BC_CELL_BITS) - 1), &cy, &cx);
  if (m->n_levels > 0) (void)snprintf(lev, sizeof lev, "level %g, ", m->levels[j->b->own_levels[level]]);
  return BC_FAIL(err, BC_E_CONFLICT,
                 "%s/%s at %s%s%s%s %s: %s is stored, %s is new; use --replace to let new values win",
                 m->group, m->name, t == BC_TIME_STATIC ? "" : bc_time_format_short(t, when),
                 t == BC_TIME_STATIC ? "" : ", ", lev,
                 latitude_text(bc_grid_y(g, (int64_t)cy * bc_grid_cell_ny(g) + j->y0 + y), lat),
                 longitude_text(bc_grid_x(g, (int64_t)cx * bc_grid_cell_nx(g) + j->x0 + x), lon),
                 value_text(old, was), value_text(fresh, is));
}

/* All values of one block of a stored tile: [nt][ny][nx] in r->block. */
static bc_status decode_block(bc_reconciler *r, const bc_tile *t, uint32_t b, const bc_block_place *at,
                              bc_err *err)
{
  const size_t n = (size_t)at->nt * at->ny * at->nx;
  if (n > r->block_cap) {
    bc_free(r->block);
    r->block_cap = 0;
    r->block = bc_malloc(n * sizeof *r->block);
    if (r->block == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory for %zu values", n);
    r->block_cap = n;
  }
  return bc_tile_read(r->decoder, &t->head, t->payload, b, (bc_pick){ 0, at->nt, 1 },
                      (bc_pick){ 0, at->ny, 1 }, (bc_pick){ 0, at->nx, 1 }, r->block,
                      (ptrdiff_t)((size_t)at->ny * at->nx * sizeof(float)),
                      (ptrdiff_t)(at->nx * sizeof(float)), err);
}

static bool overlaps(const bc_job *j, const bc_tile_head *h, const bc_block_place *at, bc_overlap *o)
{
  o->y_lo = BC_MAX(j->y0, h->y0 + at->y0);
  o->y_hi = BC_MIN(j->y0 + j->ny, h->y0 + at->y0 + at->ny);
  o->x_lo = BC_MAX(j->x0, h->x0 + at->x0);
  o->x_hi = BC_MIN(j->x0 + j->nx, h->x0 + at->x0 + at->nx);
  return o->y_lo < o->y_hi && o->x_lo < o->x_hi;
}

static void note_change(bc_reconciler *r, uint32_t source)
{
  r->changed_by_all = r->changed_by_all || (r->changed_by >= 0 && r->changed_by != source);
  r->changed_by = source;
}

/* Compare step js, level jl of the job with one decoded plane, [ny][nx] from (y0, x0) of the cell. */
static bc_status compare_plane(bc_reconciler *r, const bc_job *j, size_t js, size_t jl, const float *plane,
                               const bc_tile_head *h, const bc_block_place *at, const bc_overlap *o,
                               bool *differs, bc_err *err)
{
  for (uint32_t y = o->y_lo; y < o->y_hi; y++) {
    const float *row = plane + (size_t)(y - h->y0 - at->y0) * at->nx;
    uint8_t *mask = r->mask + ((js * j->b->p.n_levels + jl) * j->ny + (y - j->y0)) * j->nx;
    for (uint32_t x = o->x_lo; x < o->x_hi; x++) {
      if (mask[x - j->x0]) continue; /* a later piece has spoken for this node */
      mask[x - j->x0] = BC_SPOKEN;
      const float old = row[x - h->x0 - at->x0];
      const float fresh = bc_round_to_precision(bc_job_value(j, js, jl, y - j->y0, x - j->x0), r->precision);
      if (same_value(old, fresh)) continue;
      if (r->conflict == BC_CONFLICT_MEND) {
        r->copies = true;
        BC_RET(bc_job_set(j, js, jl, y - j->y0, x - j->x0, old, err));
        continue;
      }
      if (r->conflict == BC_CONFLICT_REFUSE)
        return conflict(r, j, js, jl, y - j->y0, x - j->x0, old, fresh, err);
      *differs = true;
      note_change(r, j->b->sources[js]);
    }
  }
  return BC_OK;
}

int bc_job_level_at(const bc_job *j, uint16_t level)
{
  for (int l = 0; l < j->b->p.n_levels; l++)
    if (j->b->own_levels[l] == level) return l;
  return -1;
}

static int by_time(const void *a, const void *b)
{
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

size_t bc_job_step_at(const bc_gather_buffer *b, int64_t time)
{
  const int64_t *at = b->n == 0 ? NULL : bsearch(&time, b->times, b->n, sizeof time, by_time);
  return at == NULL ? b->n : (size_t)(at - b->times);
}

static bool any_step(const bc_job *j, const bc_tile_head *h, const bc_block_place *at)
{
  for (uint32_t i = 0; i < at->nt; i++)
    if (bc_job_step_at(j->b, bc_tile_time(h, at->t0 + i)) < j->b->n) return true;
  return false;
}

/* Block by block, so that each is decoded once. rival->lost: a block was damaged. */
static bc_status compare_tile(bc_reconciler *r, const bc_job *j, bc_rival *rival, const bc_tile *t,
                              bool *differs, bc_err *err)
{
  const bc_tile_head *h = &t->head;
  const uint32_t n = h->codec == BC_CODEC_CONST ? h->nl : h->n_blocks;
  for (uint32_t b = 0; b < n; b++) {
    bc_block_place at;
    bc_overlap o;
    bc_tile_block(h, b, &at);
    const int jl = bc_job_level_at(j, bc_tile_level(h, at.l));
    if (jl < 0 || !overlaps(j, h, &at, &o) || !any_step(j, h, &at)) continue;
    const bc_status st = decode_block(r, t, b, &at, err);
    if (bc_passes_damage(r) && bc_is_damage(st)) {
      if (!rival->lost) BC_RET(bc_find_owed(r, rival, h, err));
      rival->lost = true;
      if (r->conflict == BC_CONFLICT_MEND) bc_claim_block(r, j, rival, h, &at, (size_t)jl, &o, differs);
      continue;
    }
    BC_RET(st);
    for (uint32_t i = 0; i < at.nt; i++) {
      const size_t js = bc_job_step_at(j->b, bc_tile_time(h, at.t0 + i));
      const float *plane = r->block + (size_t)i * at.ny * at.nx;
      if (js < j->b->n) BC_RET(compare_plane(r, j, js, (size_t)jl, plane, h, &at, &o, &differs[js], err));
    }
  }
  if (rival->lost) bc_claim_steps(r, j, rival, h, differs);
  return BC_OK;
}

static bool payload_is_damaged(const bc_tile *t)
{
  return bc_hash64(t->payload.p, t->payload.n) != t->rec.hash;
}

/* The same for the second copy of a tile, whose values nobody compares. */
static bool second_is_damaged(bc_reconciler *r, const bc_job *j, const bc_tile *first)
{
  bc_tile_key key = first->key;
  bc_tile_rec rec;
  bc_tile t;
  key.part |= BC_PART_SECOND;
  if (j->b->p.layout[1] == BC_LAYOUT_NONE || bc_snapshot_get(r->snap, &key, &rec, NULL) != BC_OK)
    return false;
  const bc_status st = bc_snapshot_tile(r->snap, &key, &rec, &t, NULL);
  const bool bad = bc_is_damage(st) || (st == BC_OK && payload_is_damaged(&t));
  bc_tile_close(&t);
  return bad;
}

/* Steps that bring something new: not covered whole by equal values. */
static bc_status keep_new(bc_reconciler *r, bc_job *j, const bool *differs, bc_err *err)
{
  const size_t per_step = bc_job_volume(j);
  j->keep = bc_calloc(j->b->n + 1, sizeof *j->keep);
  if (j->keep == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  for (size_t s = 0; s < j->b->n; s++) {
    const bool covered = memchr(r->mask + s * per_step, 0, per_step) == NULL;
    if (bc_is_barred(r, j, s))
      BC_RET(bc_ids_add(&r->given->held, j->b->sources[s], err));
    else if (!covered || differs[s])
      j->keep[j->n_keep++] = s;
  }
  if (j->n_keep == j->b->n) {
    bc_free(j->keep);
    j->keep = NULL;
  }
  return BC_OK;
}

/* Files whose values others replace are no longer in as they were: giving one again must not be answered by
 * "already in", nor go on from where it was interrupted. */
static bc_status reopen_sources(bc_reconciler *r, const bc_tile_head *h, bc_err *err)
{
  for (uint32_t i = 0; i < h->n_sources; i++) {
    bc_source_rec was, rec;
    const uint32_t id = bc_tile_source(h, i);
    if (!r->changed_by_all && r->changed_by == id) continue;
    bc_status st = bc_snapshot_source(r->snap, id, &was, err);
    if (st == BC_OK) st = bc_writer_find_source(r->w, &was, &rec, err); /* as this run has left it */
    if (st == BC_E_NOTFOUND) continue;
    if (st != BC_OK) return st;
    if (!rec.done && rec.next_var == 0 && rec.next_step == 0) continue;
    rec.done = false;
    rec.next_var = 0;
    rec.next_step = 0;
    BC_RET(bc_writer_source_update(r->w, &rec, err));
  }
  return BC_OK;
}

/* The job's tile holds values of these files too, which can be lost again. */
static bc_status add_others(bc_job *j, const bc_tile_head *h, bc_err *err)
{
  for (uint32_t i = 0; i < h->n_sources; i++)
    BC_RET(bc_ids_add(&j->others, bc_tile_source(h, i), err));
  return BC_OK;
}

static bc_status tell_source(bc_reconciler *r, uint32_t id, bc_err *err)
{
  bc_source_rec was, rec;
  bc_status st = bc_snapshot_source(r->snap, id, &was, err);
  if (st == BC_OK) st = bc_writer_find_source(r->w, &was, &rec, err);
  if (st == BC_E_NOTFOUND) return BC_OK;
  return st == BC_OK ? bc_writer_source_update(r->w, &rec, err) : st;
}

/* A commit has the records of all files that its tiles name. What is ingested has put down its own. */
static bc_status tell_sources(bc_reconciler *r, const bc_job *j, bc_err *err)
{
  const uint32_t *const s = j->b->sources;
  for (size_t i = 0; i < j->b->n; i++)
    if (i == 0 || s[i] != s[i - 1]) BC_RET(tell_source(r, s[i], err));
  for (size_t i = 0; i < j->others.n_slots; i++)
    if (j->others.slot[i] != 0) BC_RET(tell_source(r, j->others.slot[i] - 1, err));
  return BC_OK;
}

static bc_status reconcile_job(bc_reconciler *r, bc_job *j, bc_err *err)
{
  bc_status st = BC_OK;
  bool *differs = NULL;
  BC_RET(existing(r, j, err));
  if (r->n == 0) return BC_OK;
  BC_RET(prepare(r, j, err));
  differs = bc_calloc(j->b->n, sizeof *differs);
  if (differs == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  for (size_t i = r->n; i-- > 0;) { /* later pieces first: theirs is the value in force */
    bc_tile t;
    st = bc_snapshot_tile(r->snap, &r->tiles[i].key, &r->tiles[i].rec, &t, err);
    if (r->conflict != BC_CONFLICT_REFUSE && bc_is_damage(st)) {
      BC_TRY(bc_claim_tile(r, j, &r->tiles[i], differs, err));
      continue;
    }
    BC_TRY(st);
    r->changed_by = -1;
    r->changed_by_all = r->copies = false;
    /* Also where no step of this job lies: what can be read of the tile is written anew by all of its files,
     * in as many jobs as that takes, and then it goes. */
    r->tiles[i].lost = bc_passes_damage(r) && (second_is_damaged(r, j, &t) || payload_is_damaged(&t));
    if (r->tiles[i].lost) st = bc_find_owed(r, &r->tiles[i], &t.head, err);
    if (st == BC_OK) st = compare_tile(r, j, &r->tiles[i], &t, differs, err);
    r->tiles[i].foreign =
        r->conflict == BC_CONFLICT_MEND && r->tiles[i].lost && !bc_job_any_from(r, j, &r->tiles[i], &t.head);
    if (st == BC_OK && r->changed_by >= 0 && !r->compare_only) st = reopen_sources(r, &t.head, err);
    if (st == BC_OK && r->copies) st = add_others(j, &t.head, err);
    bc_tile_close(&t);
    BC_TRY(st);
  }
  BC_TRY(keep_new(r, j, differs, err));
  st = BC_OK; /* what could not be read was passed over */
  for (size_t i = 0; i < r->n && bc_passes_damage(r) && !r->compare_only; i++)
    BC_TRY(bc_drop_superseded(r, j, i, err));
out:
  bc_free(differs);
  return st;
}

/* Jobs with the same key (a box that closes around the globe in one cell) take part numbers in a row. */
static bc_status settle_part(bc_reconciler *r, bc_job *jobs, size_t i, bc_err *err)
{
  bc_tile_key *k = &jobs[i].key;
  if (i > 0 && jobs[i - 1].key.cell == k->cell && jobs[i - 1].key.time == k->time &&
      jobs[i - 1].key.modality == k->modality) {
    k->part = (uint16_t)(jobs[i - 1].key.part + 1);
    return BC_OK;
  }
  k->part = 0;
  return bc_writer_next_part(r->w, k, err);
}

bc_status bc_reconcile(bc_store *store, bc_writer *w, bc_job *jobs, size_t n_jobs, bc_conflict conflict,
                       bc_given *given, bool compare_only, double precision, bc_err *err)
{
  bc_status st = BC_OK;
  bc_reconciler r = {
    .w = w, .conflict = conflict, .given = given, .compare_only = compare_only, .precision = precision
  };
  BC_TRY(bc_snapshot_open(store, &r.snap, err));
  BC_TRY(bc_decoder_open(&r.decoder, err));
  for (size_t i = 0; i < n_jobs; i++) {
    BC_TRY(reconcile_job(&r, &jobs[i], err));
    if (conflict == BC_CONFLICT_MEND) BC_TRY(tell_sources(&r, &jobs[i], err));
    if (!compare_only) BC_TRY(settle_part(&r, jobs, i, err));
  }
out:
  bc_decoder_close(r.decoder);
  bc_snapshot_close(r.snap);
  bc_free(r.tiles);
  bc_free(r.mask);
  bc_free(r.block);
  return st;
}
