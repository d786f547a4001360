/*
 * What is new in a batch of tiles-to-be, against what is stored: equal steps are left out, different values
 * refused or put on top. To mend, what can be read of the store goes into the tile instead, and only what
 * nobody can read any more, or nobody has, comes from the file.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ingest/gather_int.h"

typedef struct found {
  bc_tile_key key;
  bc_tile_rec rec;
  bool lost;      /* some of its values cannot be read */
  bool foreign;   /* and mending it is not for the files of this job */
  size_t n_given; /* of one whose head cannot be read: steps that the job may give */
  bool waits;     /* and for some another lost one has to come back first */
  bool all_given; /* every file that it may come from has been given in this run */
} found;

enum { SPOKEN = 1, BARRED = 2 /* by a lost tile that only other files bring back */ };

typedef struct reconcile {
  bc_snapshot *snap;
  bc_writer *w;
  bc_decoder *decoder;
  bc_conflict conflict;
  const bc_given *given;
  bool compare_only;
  double precision;
  found *tiles; /* primary parts of the job's key, ascending */
  size_t n, cap;
  uint8_t *mask; /* [steps][levels][ny][nx] of the job: 0, or who has spoken for the node */
  size_t mask_cap;
  float *block; /* decoded values of one block */
  size_t block_cap;
  bool changes; /* some value of the tile at hand is replaced */
} reconcile;

static bc_status collect(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  reconcile *r = ctx;
  if (key->part & BC_PART_SECOND) return BC_OK;
  if (r->n == r->cap) {
    const size_t cap = r->cap == 0 ? 16 : r->cap * 2;
    found *p = bc_realloc(r->tiles, cap * sizeof *p);
    if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
    r->tiles = p;
    r->cap = cap;
  }
  r->tiles[r->n++] = (found){ .key = *key, .rec = *rec };
  return BC_OK;
}

static bc_status existing(reconcile *r, const bc_job *j, bc_err *err)
{
  const int64_t end = j->key.time == INT64_MAX ? INT64_MAX : j->key.time + 1;
  r->n = 0;
  return bc_snapshot_scan(r->snap, j->key.cell, j->key.time, end, &j->key.modality, 1, collect, r, err);
}

static size_t volume(const bc_job *j) { return (size_t)j->b->p.n_levels * j->ny * j->nx; }

static bc_status prepare(reconcile *r, const bc_job *j, bc_err *err)
{
  size_t need = 0;
  if (!bc_mul_sz(volume(j), j->b->n, &need)) return BC_FAIL(err, BC_E_RANGE, "ingest: tile too large");
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

/* Values that cannot be read differ from any, and no one misses them. */
static bool passes_damage(const reconcile *r) { return r->conflict != BC_CONFLICT_REFUSE; }

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

static const char *latitude_text(double lat, char out[24])
{
  (void)snprintf(out, 24, "%.6g %c", fabs(lat), lat < 0 ? 'S' : 'N');
  return out;
}

/* The file is named by the layer above, which knows its path. */
static bc_status conflict(const reconcile *r, const bc_job *j, size_t step, size_t level, uint32_t y,
                          uint32_t x, float old, float fresh, bc_err *err)
{
  char when[BC_TIME_TEXT], lev[48] = "", lat[24], lon[24];
  const bc_modality *m = bc_writer_get_modality(r->w, j->key.modality);
  const bc_grid *g = j->b->p.grid;
  const int64_t t = j->b->times[step];
  uint32_t cy = 0, cx = 0;
  bc_cell_position(j->key.cell & ((1u << BC_CELL_BITS) - 1), &cy, &cx);
  if (m->n_levels > 0) (void)snprintf(lev, sizeof lev, "level %g, ", m->levels[j->b->own_levels[level]]);
  return BC_FAIL(err, BC_E_CONFLICT,
                 "%s/%s at %s%s%s%s %s: %.9g is stored, %.9g is new; use --replace to let new values win",
                 m->group, m->name, t == BC_TIME_STATIC ? "" : bc_time_format_short(t, when),
                 t == BC_TIME_STATIC ? "" : ", ", lev,
                 latitude_text(bc_grid_y(g, (int64_t)cy * bc_grid_cell_ny(g) + j->y0 + y), lat),
                 longitude_text(bc_grid_x(g, (int64_t)cx * bc_grid_cell_nx(g) + j->x0 + x), lon), (double)old,
                 (double)fresh);
}

/* All values of one block of a stored tile: [nt][ny][nx] in r->block. */
static bc_status decode_block(reconcile *r, const bc_tile *t, uint32_t b, const bc_block_place *at,
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

/* Rows and columns, in cell coordinates, that a block shares with the job's box. */
typedef struct overlap {
  uint32_t y_lo, y_hi, x_lo, x_hi;
} overlap;

static bool overlaps(const bc_job *j, const bc_tile_head *h, const bc_block_place *at, overlap *o)
{
  o->y_lo = BC_MAX(j->y0, h->y0 + at->y0);
  o->y_hi = BC_MIN(j->y0 + j->ny, h->y0 + at->y0 + at->ny);
  o->x_lo = BC_MAX(j->x0, h->x0 + at->x0);
  o->x_hi = BC_MIN(j->x0 + j->nx, h->x0 + at->x0 + at->nx);
  return o->y_lo < o->y_hi && o->x_lo < o->x_hi;
}

/* Compare step js, level jl of the job with one decoded plane, [ny][nx] from (y0, x0) of the cell. */
static bc_status compare_plane(reconcile *r, const bc_job *j, size_t js, size_t jl, const float *plane,
                               const bc_tile_head *h, const bc_block_place *at, const overlap *o,
                               bool *differs, bc_err *err)
{
  for (uint32_t y = o->y_lo; y < o->y_hi; y++) {
    const float *row = plane + (size_t)(y - h->y0 - at->y0) * at->nx;
    uint8_t *mask = r->mask + ((js * j->b->p.n_levels + jl) * j->ny + (y - j->y0)) * j->nx;
    for (uint32_t x = o->x_lo; x < o->x_hi; x++) {
      if (mask[x - j->x0]) continue; /* a later piece has spoken for this node */
      mask[x - j->x0] = SPOKEN;
      const float old = row[x - h->x0 - at->x0];
      const float fresh = bc_round_to_precision(bc_job_value(j, js, jl, y - j->y0, x - j->x0), r->precision);
      if (same_value(old, fresh)) continue;
      if (r->conflict == BC_CONFLICT_MEND) {
        BC_RET(bc_job_set(j, js, jl, y - j->y0, x - j->x0, old, err));
        continue;
      }
      if (r->conflict == BC_CONFLICT_REFUSE)
        return conflict(r, j, js, jl, y - j->y0, x - j->x0, old, fresh, err);
      *differs = true;
      r->changes = true;
    }
  }
  return BC_OK;
}

/* Index of a stored level among the job's, or -1. */
static int job_level(const bc_job *j, uint16_t level)
{
  for (int l = 0; l < j->b->p.n_levels; l++)
    if (j->b->own_levels[l] == level) return l;
  return -1;
}

/* Index of a time among ascending steps, or n. */
static size_t find_step(const bc_gather_buffer *b, int64_t t)
{
  size_t lo = 0, hi = b->n;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (b->times[mid] < t)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < b->n && b->times[lo] == t ? lo : b->n;
}

static bool any_step(const bc_job *j, const bc_tile_head *h, const bc_block_place *at)
{
  for (uint32_t i = 0; i < at->nt; i++)
    if (find_step(j->b, bc_tile_time(h, at->t0 + i)) < j->b->n) return true;
  return false;
}

/* ---- what is lost of a tile, when files are to mend it ---- */

/* Whether a step comes from one of the files that a tile was made of; only they can bring it back. */
static bool is_from(const bc_job *j, size_t s, const bc_tile_head *h)
{
  bool any = false;
  for (uint32_t i = 0; i < h->n_sources && !any; i++)
    any = bc_tile_source(h, i) == j->b->sources[s];
  return any;
}

static bool any_from(const bc_job *j, const bc_tile_head *h)
{
  bool any = false;
  for (size_t s = 0; s < j->b->n && !any; s++)
    any = is_from(j, s, h);
  return any;
}

/* Nodes that nobody spoke for yet are spoken for: by the job, if it may. True when there are any. */
static bool claim_row(reconcile *r, const bc_job *j, size_t js, size_t jl, uint32_t y, uint32_t x, uint32_t n,
                      bool may)
{
  uint8_t *mask = r->mask + ((js * j->b->p.n_levels + jl) * j->ny + y) * j->nx + x;
  bool any = false;
  for (uint32_t i = 0; i < n; i++) {
    if (mask[i] != 0) continue;
    mask[i] = may ? SPOKEN : BARRED;
    any = true;
  }
  return any && may;
}

static bool is_barred(const reconcile *r, const bc_job *j, size_t s)
{
  return memchr(r->mask + s * volume(j), BARRED, volume(j)) != NULL;
}

/* A damaged block: its values are the job's. */
static void claim_block(reconcile *r, const bc_job *j, const bc_tile_head *h, const bc_block_place *at,
                        size_t jl, const overlap *o, bool *differs)
{
  for (uint32_t i = 0; i < at->nt; i++) {
    const size_t js = find_step(j->b, bc_tile_time(h, at->t0 + i));
    if (js == j->b->n) continue;
    const bool may = is_from(j, js, h);
    for (uint32_t y = o->y_lo; y < o->y_hi; y++)
      differs[js] =
          claim_row(r, j, js, jl, y - j->y0, o->x_lo - j->x0, o->x_hi - o->x_lo, may) || differs[js];
  }
}

static bool segment_has_source(const bc_segment_rec *seg, uint32_t id)
{
  bool any = seg->n_sources == 0; /* not known */
  for (uint32_t i = 0; i < seg->n_sources && !any; i++)
    any = bc_le32(seg->sources.p + 4 * (size_t)i) == id;
  return any;
}

static bool is_given(const reconcile *r, uint32_t source)
{
  bool any = false;
  for (size_t i = 0; i < r->given->n && !any; i++)
    any = r->given->id[i] == source;
  return any;
}

/* Whether a tile whose head is lost may have that step. */
static bool in_span(const found *t, int64_t time)
{
  int64_t after = 0;
  if (t->rec.first > t->rec.last) return true; /* not known */
  return !__builtin_sub_overflow(time, t->key.time, &after) && after >= t->rec.first && after <= t->rec.last;
}

/* A tile whose head is lost may have held any node of the steps that the index remembers. */
static bc_status claim_tile(reconcile *r, const bc_job *j, found *t, bool *differs, bc_err *err)
{
  bc_segment_rec seg = { 0 };
  const bc_status st = bc_snapshot_segment(r->snap, t->rec.head_segment, &seg, err);
  if (st != BC_OK && st != BC_E_NOTFOUND) return st;
  t->lost = true;
  t->all_given = seg.n_sources > 0;
  for (uint32_t i = 0; i < seg.n_sources && t->all_given; i++)
    t->all_given = is_given(r, bc_le32(seg.sources.p + 4 * (size_t)i));
  for (size_t s = 0; s < j->b->n; s++) {
    if (!in_span(t, j->b->times[s])) continue;
    const bool may = segment_has_source(&seg, j->b->sources[s]);
    t->n_given += may ? 1 : 0;
    t->waits = t->waits || (may && is_barred(r, j, s));
    if (r->conflict != BC_CONFLICT_MEND) continue;
    for (uint16_t l = 0; l < j->b->p.n_levels; l++)
      for (uint32_t y = 0; y < j->ny; y++)
        differs[s] = claim_row(r, j, s, l, y, 0, j->nx, may) || differs[s];
  }
  t->foreign = t->n_given == 0;
  return BC_OK;
}

/* All steps of a tile are written anew: it can only go as a whole, and while it stays, no query over what is
 * lost of it answers. */
static void all_differ(const reconcile *r, const bc_job *j, const bc_tile_head *h, bool *differs)
{
  for (uint32_t i = 0; i < h->nt; i++) {
    const size_t js = find_step(j->b, bc_tile_time(h, i));
    if (js < j->b->n && (r->conflict != BC_CONFLICT_MEND || is_from(j, js, h))) differs[js] = true;
  }
}

/* Block by block, so that each is decoded once. lost: a block was damaged. */
static bc_status compare_tile(reconcile *r, const bc_job *j, const bc_tile *t, bool *differs, bool *lost,
                              bc_err *err)
{
  const bc_tile_head *h = &t->head;
  const uint32_t n = h->codec == BC_CODEC_CONST ? h->nl : h->n_blocks;
  for (uint32_t b = 0; b < n; b++) {
    bc_block_place at;
    overlap o;
    bc_tile_block(h, b, &at);
    const int jl = job_level(j, bc_tile_level(h, at.l));
    if (jl < 0 || !overlaps(j, h, &at, &o) || !any_step(j, h, &at)) continue;
    const bc_status st = decode_block(r, t, b, &at, err);
    if (passes_damage(r) && bc_is_damage(st)) {
      *lost = true;
      if (r->conflict == BC_CONFLICT_MEND) claim_block(r, j, h, &at, (size_t)jl, &o, differs);
      continue;
    }
    BC_RET(st);
    for (uint32_t i = 0; i < at.nt; i++) {
      const size_t js = find_step(j->b, bc_tile_time(h, at.t0 + i));
      const float *plane = r->block + (size_t)i * at.ny * at.nx;
      if (js < j->b->n) BC_RET(compare_plane(r, j, js, (size_t)jl, plane, h, &at, &o, &differs[js], err));
    }
  }
  if (*lost) all_differ(r, j, h, differs);
  return BC_OK;
}

/* The same for the second copy of a tile, whose values nobody compares. */
static void check_second(reconcile *r, const bc_job *j, const bc_tile *first, bool *differs)
{
  bc_tile_key key = first->key;
  bc_tile_rec rec;
  bc_tile t;
  key.part |= BC_PART_SECOND;
  if (j->b->p.layout[1] == BC_LAYOUT_NONE || bc_snapshot_get(r->snap, &key, &rec, NULL) != BC_OK) return;
  bc_status st = bc_snapshot_tile(r->snap, &key, &rec, &t, NULL);
  if (st == BC_OK && bc_hash64(t.payload.p, t.payload.n) != rec.hash) st = BC_E_CHECKSUM;
  bc_tile_close(&t);
  if (bc_is_damage(st)) all_differ(r, j, &first->head, differs);
}

/* Steps that bring something new: not covered whole by equal values. */
static bc_status keep_new(reconcile *r, bc_job *j, const bool *differs, bc_err *err)
{
  const size_t per_step = volume(j);
  j->keep = bc_calloc(j->b->n + 1, sizeof *j->keep);
  if (j->keep == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  for (size_t s = 0; s < j->b->n; s++) {
    const bool covered = memchr(r->mask + s * per_step, 0, per_step) == NULL;
    if ((!covered || differs[s]) && !is_barred(r, j, s)) j->keep[j->n_keep++] = s;
  }
  if (j->n_keep == j->b->n) {
    bc_free(j->keep);
    j->keep = NULL;
  }
  return BC_OK;
}

static bool written(const bc_job *j, int64_t time)
{
  const size_t s = find_step(j->b, time);
  bool kept = s < j->b->n && j->keep == NULL;
  for (size_t i = 0; !kept && s < j->b->n && i < j->n_keep; i++)
    kept = j->keep[i] == s;
  return kept;
}

/* The job writes all nodes and levels that a tile has of a step. */
static bool holds_planes(const bc_job *j, const bc_tile_head *h)
{
  if (h->y0 < j->y0 || h->x0 < j->x0 || h->y0 + h->ny > j->y0 + j->ny || h->x0 + h->nx > j->x0 + j->nx)
    return false;
  for (uint32_t l = 0; l < h->nl; l++)
    if (job_level(j, bc_tile_level(h, l)) < 0) return false;
  return true;
}

/* The same of a later piece of the tile. */
static bool hides_planes(const bc_tile_head *later, const bc_tile_head *h)
{
  if (h->y0 < later->y0 || h->x0 < later->x0 || h->y0 + h->ny > later->y0 + later->ny ||
      h->x0 + h->nx > later->x0 + later->nx)
    return false;
  for (uint32_t l = 0; l < h->nl; l++) {
    uint32_t k = 0;
    while (k < later->nl && bc_tile_level(later, k) != bc_tile_level(h, l))
      k++;
    if (k == later->nl) return false;
  }
  return true;
}

/* Steps of tile i that neither the job nor a later piece has: of a damaged tile that files mend one by one.
 */
static bc_status count_left(reconcile *r, const bc_job *j, size_t i, const bc_tile_head *h, uint32_t *left,
                            bc_err *err)
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
    for (uint32_t t = 0; hides && t < later.head.nt; t++)
      for (uint32_t own = 0; own < h->nt; own++)
        if (bc_tile_time(h, own) == bc_tile_time(&later.head, t)) open[own] = false;
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
  int64_t *times;
  size_t n_times;
} cover_sheet;

static void mark_box(const cover_sheet *c, uint16_t level, uint32_t y0, uint32_t x0, uint32_t ny, uint32_t nx)
{
  if (level >= c->n_levels) return;
  for (uint32_t y = y0; y < y0 + ny; y++)
    memset(c->seen + ((size_t)level * c->ny + y) * c->nx + x0, 1, nx);
}

static bool has_time(const bc_tile_head *h, int64_t time)
{
  bool any = false;
  for (uint32_t t = 0; t < h->nt && !any; t++)
    any = bc_tile_time(h, t) == time;
  return any;
}

static size_t count_nodes(const reconcile *r, const bc_job *j, const cover_sheet *c, int64_t time)
{
  const size_t all = c->n_levels * c->ny * c->nx, s = find_step(j->b, time);
  size_t n = 0;
  memset(c->seen, 0, all);
  if (s < j->b->n && !is_barred(r, j, s))
    for (uint16_t l = 0; l < j->b->p.n_levels; l++)
      mark_box(c, j->b->own_levels[l], j->y0, j->x0, j->ny, j->nx);
  for (size_t k = 0; k < c->n_later; k++) {
    const bc_tile_head *h = &c->later[k].head;
    for (uint32_t l = 0; l < h->nl && has_time(h, time); l++)
      mark_box(c, bc_tile_level(h, l), h->y0, h->x0, h->ny, h->nx);
  }
  for (size_t i = 0; i < all; i++)
    n += c->seen[i];
  return n;
}

static void add_time(cover_sheet *c, const found *t, int64_t time)
{
  bool there = !in_span(t, time);
  for (size_t i = 0; i < c->n_times && !there; i++)
    there = c->times[i] == time;
  if (!there) c->times[c->n_times++] = time;
}

static bc_status fill_sheet(reconcile *r, const bc_job *j, size_t i, cover_sheet *c, bc_err *err)
{
  const bc_modality *m = bc_writer_get_modality(r->w, j->key.modality);
  size_t n_times = j->b->n;
  *c = (cover_sheet){ .n_levels = BC_MAX(m->n_levels, 1), .ny = j->cell_ny, .nx = j->cell_nx };
  c->seen = bc_malloc(c->n_levels * c->ny * c->nx);
  c->later = bc_calloc(r->n - i, sizeof *c->later);
  if (c->seen == NULL || c->later == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  for (size_t k = i + 1; k < r->n; k++) {
    if (r->tiles[k].lost) continue;
    if (bc_snapshot_tile(r->snap, &r->tiles[k].key, &r->tiles[k].rec, &c->later[c->n_later], NULL) != BC_OK)
      continue;
    n_times += c->later[c->n_later++].head.nt;
  }
  c->times = bc_malloc(n_times * sizeof *c->times);
  if (c->times == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  for (size_t s = 0; s < j->b->n; s++)
    add_time(c, &r->tiles[i], j->b->times[s]);
  for (size_t k = 0; k < c->n_later; k++)
    for (uint32_t t = 0; t < c->later[k].head.nt; t++)
      add_time(c, &r->tiles[i], bc_tile_time(&c->later[k].head, t));
  return BC_OK;
}

/* For as many steps as it had there are as many nodes as it had, with what is written now. */
static bc_status is_covered(reconcile *r, const bc_job *j, size_t i, bool *covered, bc_err *err)
{
  cover_sheet c = { 0 };
  const bc_tile_rec *rec = &r->tiles[i].rec;
  size_t whole = 0;
  *covered = false;
  if (rec->n_steps == 0) return BC_OK;
  const uint64_t plane = rec->decoded / sizeof(float) / rec->n_steps;
  const bc_status st = fill_sheet(r, j, i, &c, err);
  for (size_t k = 0; st == BC_OK && k < c.n_times; k++)
    whole += count_nodes(r, j, &c, c.times[k]) >= plane;
  *covered = st == BC_OK && whole >= rec->n_steps;
  for (size_t k = 0; k < c.n_later; k++)
    bc_tile_close(&c.later[k]);
  bc_free(c.later);
  bc_free(c.times);
  bc_free(c.seen);
  return st;
}

/* What was in it is known by the index alone: it goes when all of it is there again, or when every file that
 * it can have come from was given. New values do not know which nodes it had, unless they fill the cell. */
static bc_status may_go(reconcile *r, const bc_job *j, size_t i, bool *may, bc_err *err)
{
  const found *t = &r->tiles[i];
  const bool fills = j->ny == j->cell_ny && j->nx == j->cell_nx;
  *may = false;
  if (t->foreign && !(fills && r->conflict == BC_CONFLICT_REPLACE)) return BC_OK;
  if (t->waits) return BC_OK;
  if (r->conflict == BC_CONFLICT_MEND && t->all_given) {
    *may = true;
    return BC_OK;
  }
  return is_covered(r, j, i, may, err);
}

static bc_status drop_tile(reconcile *r, const bc_job *j, bc_tile_key key, bc_err *err)
{
  BC_RET(bc_writer_drop(r->w, &key, err));
  if (j->b->p.layout[1] == BC_LAYOUT_NONE) return BC_OK;
  key.part |= BC_PART_SECOND;
  return bc_writer_drop(r->w, &key, err);
}

static bool all_sources_given(const reconcile *r, const bc_tile_head *h)
{
  bool all = h->n_sources > 0;
  for (uint32_t i = 0; i < h->n_sources && all; i++)
    all = is_given(r, bc_tile_source(h, i));
  return all;
}

static bool any_barred(const reconcile *r, const bc_job *j)
{
  bool any = false;
  for (size_t s = 0; s < j->b->n && !any; s++)
    any = is_barred(r, j, s);
  return any;
}

/* Tiles of which nothing is in force any more. */
static bc_status drop_superseded(reconcile *r, const bc_job *j, size_t i, bc_err *err)
{
  bc_tile t;
  const bc_tile_key key = r->tiles[i].key;
  uint32_t left = 0;
  bool may = false;
  const bool nothing = j->keep != NULL && j->n_keep == 0, mends = r->conflict == BC_CONFLICT_MEND;
  bc_status st;
  if (nothing && !(mends && r->tiles[i].lost)) return BC_OK;
  st = bc_snapshot_tile(r->snap, &key, &r->tiles[i].rec, &t, err);
  if (bc_is_damage(st)) {
    BC_RET(may_go(r, j, i, &may, err));
    return may ? drop_tile(r, j, key, err) : BC_OK;
  }
  BC_RET(st);
  st = r->tiles[i].foreign ? BC_OK : count_left(r, j, i, &t.head, &left, err);
  may = !r->tiles[i].foreign &&
        (left == 0 || (mends && r->tiles[i].lost && all_sources_given(r, &t.head) && !any_barred(r, j)));
  bc_tile_close(&t);
  BC_RET(st);
  return may ? drop_tile(r, j, key, err) : BC_OK;
}

/* Files whose values are replaced are no longer in as they were: giving one again must not be answered by
 * "already in". */
static bc_status reopen_sources(reconcile *r, const bc_tile_head *h, bc_err *err)
{
  for (uint32_t i = 0; i < h->n_sources; i++) {
    bc_source_rec rec;
    const bc_status st = bc_snapshot_source(r->snap, bc_tile_source(h, i), &rec, err);
    if (st == BC_E_NOTFOUND) continue;
    if (st != BC_OK) return st;
    if (!rec.done) continue;
    rec.done = false;
    BC_RET(bc_writer_source_update(r->w, &rec, err));
  }
  return BC_OK;
}

static bc_status reconcile_job(reconcile *r, bc_job *j, bc_err *err)
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
      BC_TRY(claim_tile(r, j, &r->tiles[i], differs, err));
      continue;
    }
    BC_TRY(st);
    r->changes = false;
    st = compare_tile(r, j, &t, differs, &r->tiles[i].lost, err);
    r->tiles[i].foreign = r->conflict == BC_CONFLICT_MEND && r->tiles[i].lost && !any_from(j, &t.head);
    if (st == BC_OK && r->changes && !r->compare_only) st = reopen_sources(r, &t.head, err);
    if (st == BC_OK && passes_damage(r)) check_second(r, j, &t, differs);
    bc_tile_close(&t);
    BC_TRY(st);
  }
  BC_TRY(keep_new(r, j, differs, err));
  st = BC_OK; /* what could not be read was passed over */
  for (size_t i = 0; i < r->n && passes_damage(r) && !r->compare_only; i++)
    BC_TRY(drop_superseded(r, j, i, err));
out:
  bc_free(differs);
  return st;
}

/* Jobs with the same key (a box that closes around the globe in one cell) take part numbers in a row. */
static bc_status settle_part(reconcile *r, bc_job *jobs, size_t i, bc_err *err)
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
                       const bc_given *given, bool compare_only, double precision, bc_err *err)
{
  bc_status st = BC_OK;
  reconcile r = {
    .w = w, .conflict = conflict, .given = given, .compare_only = compare_only, .precision = precision
  };
  BC_TRY(bc_snapshot_open(store, &r.snap, err));
  BC_TRY(bc_decoder_open(&r.decoder, err));
  for (size_t i = 0; i < n_jobs; i++) {
    BC_TRY(reconcile_job(&r, &jobs[i], err));
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
