#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/compact.h"

#define MAX_PAIRED  64 /* sets up to which each is held against each */
#define LEVEL_WORDS (BC_MAX_LEVELS / 64)
#define NAN_BITS    0x7fc00000u

/* A box of nodes, levels and steps: of a piece, or of a set of pieces that fill it. */
typedef struct extent {
  uint32_t y0, x0, ny, nx;
  uint64_t levels[LEVEL_WORDS];
  const int64_t *t; /* ascending */
  size_t nt;
} extent;

typedef struct part { /* a piece, while planning */
  bc_tile tile;
  extent e;
  int64_t *times;      /* e.t */
  bc_packing *packing; /* by step; NULL: not made of packed integers */
  bool alone;          /* of a kind that is not merged */
} part;

typedef struct set { /* pieces that become one */
  extent e;
  int64_t *times;      /* e.t: owned */
  size_t low, n;       /* lowest piece, number of pieces */
  bool packed, fitted; /* holds pieces of packed integers; of other values that are not constant */
} set;

struct bc_merger {
  uint64_t max_bytes;
  bc_decoder *decoder;
  bc_encoder *encoder;
  bc_zstd *z;
  bc_lin16_scratch scratch;
  bc_buf head, payload;
};

static bc_status no_memory(bc_err *err) { return BC_FAIL(err, BC_E_NOMEM, "compact: no memory"); }

void bc_merger_close(bc_merger *m)
{
  if (m == NULL) return;
  bc_decoder_close(m->decoder);
  bc_encoder_close(m->encoder);
  bc_zstd_close(m->z);
  bc_lin16_scratch_dispose(&m->scratch);
  bc_buf_dispose(&m->head);
  bc_buf_dispose(&m->payload);
  bc_free(m);
}

bc_status bc_merger_open(uint64_t max_bytes, bc_merger **out, bc_err *err)
{
  bc_status st = BC_OK;
  *out = NULL;
  bc_merger *m = bc_calloc(1, sizeof *m);
  if (m == NULL) return no_memory(err);
  m->max_bytes = max_bytes;
  m->head = bc_buf_empty((size_t)1 << 30);
  m->payload = bc_buf_empty(SIZE_MAX);
  BC_TRY(bc_decoder_open(&m->decoder, err));
  BC_TRY(bc_encoder_open(&m->encoder, err));
  BC_TRY(bc_zstd_open(&m->z, err));
  *out = m;
  m = NULL;
out:
  bc_merger_close(m);
  return st;
}

/* ---- boxes ---- */

static size_t count_levels(const extent *e)
{
  size_t n = 0;
  for (int i = 0; i < LEVEL_WORDS; i++)
    n += (size_t)__builtin_popcountll(e->levels[i]);
  return n;
}

static bool same_levels(const extent *a, const extent *b)
{
  return memcmp(a->levels, b->levels, sizeof a->levels) == 0;
}

static bool same_box(const extent *a, const extent *b)
{
  return a->y0 == b->y0 && a->x0 == b->x0 && a->ny == b->ny && a->nx == b->nx;
}

static bool same_times(const extent *a, const extent *b)
{
  return a->nt == b->nt && memcmp(a->t, b->t, a->nt * sizeof *a->t) == 0;
}

static bool box_holds(const extent *a, const extent *b)
{
  return b->y0 >= a->y0 && b->x0 >= a->x0 && b->y0 + b->ny <= a->y0 + a->ny && b->x0 + b->nx <= a->x0 + a->nx;
}

static bool levels_hold(const extent *a, const extent *b)
{
  bool all = true;
  for (int i = 0; i < LEVEL_WORDS; i++)
    all = all && (b->levels[i] & ~a->levels[i]) == 0;
  return all;
}

/* The boxes together are a box: side by side along one axis. */
static bool boxes_join(const extent *a, const extent *b)
{
  if (a->y0 == b->y0 && a->ny == b->ny) return a->x0 <= b->x0 + b->nx && b->x0 <= a->x0 + a->nx;
  return a->x0 == b->x0 && a->nx == b->nx && a->y0 <= b->y0 + b->ny && b->y0 <= a->y0 + a->ny;
}

/* Steps of two, walked together: how many there are in all, and how many both have. */
static size_t union_times(const extent *a, const extent *b, size_t *both)
{
  size_t i = 0, j = 0, n = 0;
  *both = 0;
  if (a->t[a->nt - 1] < b->t[0] || b->t[b->nt - 1] < a->t[0]) return a->nt + b->nt;
  while (i < a->nt && j < b->nt) {
    const int64_t x = a->t[i], y = b->t[j];
    i += x <= y;
    j += y <= x;
    *both += x == y;
    n++;
  }
  return n + (a->nt - i) + (b->nt - j);
}

static bool share_steps(const extent *a, const extent *b)
{
  size_t both = 0;
  (void)union_times(a, b, &both);
  return both > 0;
}

/* Some value is in both. */
static bool overlap(const extent *a, const extent *b)
{
  uint64_t levels = 0;
  if (a->y0 >= b->y0 + b->ny || b->y0 >= a->y0 + a->ny || a->x0 >= b->x0 + b->nx || b->x0 >= a->x0 + a->nx)
    return false;
  for (int i = 0; i < LEVEL_WORDS; i++)
    levels |= a->levels[i] & b->levels[i];
  return levels != 0 && share_steps(a, b);
}

/*
 * Two full boxes make a full one when they differ along one axis only, or when one holds the other. More than
 * two come together by pairs.
 */
static bool dense(const extent *a, const extent *b)
{
  const bool box = same_box(a, b), levels = same_levels(a, b);
  size_t both = 0;
  if (box && levels) return true;
  const size_t steps = union_times(a, b, &both);
  const bool times = steps == a->nt && steps == b->nt;
  if (times && (levels ? boxes_join(a, b) : box)) return true;
  return (box_holds(a, b) && levels_hold(a, b) && steps == a->nt) ||
         (box_holds(b, a) && levels_hold(b, a) && steps == b->nt);
}

static void hull(extent *a, const extent *b)
{
  const uint32_t y1 = BC_MAX(a->y0 + a->ny, b->y0 + b->ny), x1 = BC_MAX(a->x0 + a->nx, b->x0 + b->nx);
  a->y0 = BC_MIN(a->y0, b->y0);
  a->x0 = BC_MIN(a->x0, b->x0);
  a->ny = y1 - a->y0;
  a->nx = x1 - a->x0;
  for (int i = 0; i < LEVEL_WORDS; i++)
    a->levels[i] |= b->levels[i];
}

/* ---- planning ---- */

typedef struct plan {
  part *parts;
  size_t n;
  size_t *of; /* by part: its set */
  set *sets;
  size_t n_sets;
} plan;

static void dispose_plan(plan *p)
{
  for (size_t i = 0; p->parts != NULL && i < p->n; i++) {
    bc_tile_close(&p->parts[i].tile);
    bc_free(p->parts[i].times);
    bc_free(p->parts[i].packing);
  }
  for (size_t i = 0; i < p->n_sets; i++)
    bc_free(p->sets[i].times);
  bc_free(p->parts);
  bc_free(p->of);
  bc_free(p->sets);
}

static bc_status describe(part *p, bc_err *err)
{
  const bc_tile_head *h = &p->tile.head;
  p->e = (extent){ .y0 = h->y0, .x0 = h->x0, .ny = h->ny, .nx = h->nx, .nt = h->nt };
  p->times = bc_malloc(h->nt * sizeof *p->times);
  if (p->times == NULL) return no_memory(err);
  for (uint32_t i = 0; i < h->nt; i++)
    p->times[i] = bc_tile_time(h, i);
  p->e.t = p->times;
  for (uint32_t l = 0; l < h->nl; l++) {
    const uint16_t level = bc_tile_level(h, l); /* below BC_MAX_LEVELS: the head was checked */
    const uint64_t bit = UINT64_C(1) << (level % 64);
    p->alone = p->alone || (p->e.levels[level / 64] & bit) != 0;
    p->e.levels[level / 64] |= bit;
  }
  p->alone = p->alone || h->dtype != BC_F32;
  return BC_OK;
}

static bc_status find_packing(bc_merger *m, part *p, bc_err *err)
{
  bool packed = false;
  if (p->tile.head.codec != BC_CODEC_LINEAR16) return BC_OK;
  p->packing = bc_malloc(p->tile.head.nt * sizeof *p->packing);
  if (p->packing == NULL) return no_memory(err);
  const bc_status st =
      bc_tile_packing(m->z, &m->scratch, &p->tile.head, p->tile.payload, p->packing, &packed, err);
  if (packed && st == BC_OK) return BC_OK;
  bc_free(p->packing);
  p->packing = NULL;
  return st;
}

static bc_status open_parts(bc_merger *m, bc_snapshot *snap, const bc_piece *const *pieces, size_t n, plan *p,
                            bc_err *err)
{
  p->parts = bc_calloc(n, sizeof *p->parts);
  p->of = bc_calloc(n, sizeof *p->of);
  p->sets = bc_calloc(n, sizeof *p->sets);
  if (p->parts == NULL || p->of == NULL || p->sets == NULL) return no_memory(err);
  for (; p->n < n; p->n++) {
    part *q = &p->parts[p->n];
    bc_status st = bc_snapshot_tile(snap, &pieces[p->n]->key, &pieces[p->n]->rec, &q->tile, err);
    if (st == BC_OK) st = describe(q, err);
    if (st == BC_OK) st = find_packing(m, q, err);
    if (st != BC_OK) {
      p->n++; /* so that what is open of it is closed */
      return st;
    }
  }
  return BC_OK;
}

/* The packing of a step must be one for the whole merged tile. */
static bool packings_clash(const part *a, const part *b)
{
  if ((a->packing == NULL && b->packing == NULL) || !share_steps(&a->e, &b->e)) return false;
  if (a->packing == NULL || b->packing == NULL) return true;
  for (size_t i = 0, j = 0; i < a->e.nt && j < b->e.nt;) {
    const int64_t x = a->e.t[i], y = b->e.t[j];
    if (x == y && (memcmp(&a->packing[i].scale, &b->packing[j].scale, sizeof(double)) != 0 ||
                   memcmp(&a->packing[i].offset, &b->packing[j].offset, sizeof(double)) != 0))
      return true;
    i += x <= y;
    j += y <= x;
  }
  return false;
}

/* Past the last piece that may be in a set. */
static size_t end_of(const plan *p, size_t s) { return p->sets[s].n == 1 ? p->sets[s].low + 1 : p->n; }

/* Integers stay integers: values of the two kinds together would have to be stored as floats, which takes
 * more room than the pieces do. */
static bool kinds_clash(const plan *p, size_t a, size_t b)
{
  const set *s = &p->sets[a], *r = &p->sets[b];
  if ((s->packed && r->fitted) || (r->packed && s->fitted)) return true;
  if (!s->packed && !r->packed) return false;
  for (size_t j = r->low; j < end_of(p, b); j++)
    for (size_t i = s->low; p->of[j] == b && i < end_of(p, a); i++)
      if (p->of[i] == a && packings_clash(&p->parts[i], &p->parts[j])) return true;
  return false;
}

/* Joined under the lower number, no value in force changes: see compact.h. The pieces of the set that has the
 * lower number stand well already; those of the other one move down. */
static bool order_holds(const plan *p, size_t a, size_t b)
{
  const size_t up = p->sets[a].low > p->sets[b].low ? a : b, low = BC_MIN(p->sets[a].low, p->sets[b].low);
  for (size_t i = p->sets[up].low; i < end_of(p, up); i++) {
    if (p->of[i] != up) continue;
    for (size_t j = low; j < i; j++)
      if (p->of[j] != a && p->of[j] != b && overlap(&p->parts[j].e, &p->parts[i].e)) return false;
  }
  return true;
}

static bool room_for(const bc_merger *m, const extent *a, const extent *b)
{
  size_t both = 0;
  uint64_t bytes = 0;
  extent e = *a;
  hull(&e, b);
  return bc_mul_u64((uint64_t)e.ny * e.nx, (uint64_t)count_levels(&e) * sizeof(float), &bytes) &&
         bc_mul_u64(bytes, union_times(a, b, &both), &bytes) && bytes <= m->max_bytes;
}

static size_t merge_times(const extent *a, const extent *b, int64_t *out)
{
  size_t i = 0, j = 0, n = 0;
  while (i < a->nt || j < b->nt) {
    const bool left = j == b->nt || (i < a->nt && a->t[i] <= b->t[j]);
    const int64_t t = left ? a->t[i] : b->t[j];
    i += i < a->nt && a->t[i] == t;
    j += j < b->nt && b->t[j] == t;
    out[n++] = t;
  }
  return n;
}

/* Set b goes into set a. */
static bc_status join(plan *p, size_t a, size_t b, bc_err *err)
{
  set *s = &p->sets[a], *r = &p->sets[b];
  int64_t *t = bc_malloc((s->e.nt + r->e.nt) * sizeof *t);
  if (t == NULL) return no_memory(err);
  s->e.nt = merge_times(&s->e, &r->e, t);
  bc_free(s->times);
  s->e.t = s->times = t;
  hull(&s->e, &r->e);
  for (size_t i = r->low; i < end_of(p, b); i++)
    if (p->of[i] == b) p->of[i] = a;
  s->low = BC_MIN(s->low, r->low);
  s->n += r->n;
  s->packed = s->packed || r->packed;
  s->fitted = s->fitted || r->fitted;
  r->n = 0;
  return BC_OK;
}

static bool can_join(const bc_merger *m, const plan *p, size_t a, size_t b)
{
  const set *s = &p->sets[a], *r = &p->sets[b];
  if (s->n == 0 || r->n == 0 || p->parts[s->low].alone || p->parts[r->low].alone) return false;
  return dense(&s->e, &r->e) && room_for(m, &s->e, &r->e) && !kinds_clash(p, a, b) && order_holds(p, a, b);
}

static bc_status add_set(plan *p, size_t i, bc_err *err)
{
  const part *q = &p->parts[i];
  set *s = &p->sets[p->n_sets];
  *s = (set){ .e = q->e, .low = i, .n = 1 };
  s->packed = q->packing != NULL;
  s->fitted = !s->packed && q->tile.head.codec != BC_CODEC_CONST;
  s->times = bc_malloc(q->e.nt * sizeof *s->times);
  if (s->times == NULL) return no_memory(err);
  memcpy(s->times, q->times, q->e.nt * sizeof *s->times);
  s->e.t = s->times;
  p->of[i] = p->n_sets++;
  return BC_OK;
}

/* Pieces of equal box and levels first: mostly that is all. */
static bc_status join_alike(const bc_merger *m, plan *p, bc_err *err)
{
  for (size_t i = 0; i < p->n; i++)
    p->of[i] = SIZE_MAX;
  for (size_t i = 0; i < p->n; i++) {
    BC_RET(add_set(p, i, err));
    const size_t fresh = p->n_sets - 1;
    for (size_t s = fresh; s-- > 0;) {
      if (!same_box(&p->sets[s].e, &p->sets[fresh].e) || !same_levels(&p->sets[s].e, &p->sets[fresh].e))
        continue;
      if (!can_join(m, p, s, fresh)) continue;
      BC_RET(join(p, s, fresh, err));
      bc_free(p->sets[fresh].times);
      p->n_sets--;
      break;
    }
  }
  return BC_OK;
}

static bc_status join_pairs(const bc_merger *m, plan *p, bc_err *err)
{
  bool again = p->n_sets <= MAX_PAIRED;
  while (again) {
    again = false;
    for (size_t a = 0; a < p->n_sets; a++)
      for (size_t b = a + 1; b < p->n_sets; b++) {
        if (!can_join(m, p, a, b)) continue;
        BC_RET(join(p, a, b, err));
        again = true;
      }
  }
  return BC_OK;
}

static bool same_pieces(const plan *p, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    const part *a = &p->parts[i], *b = &p->parts[n + i];
    if ((a->tile.key.part | BC_PART_SECOND) != b->tile.key.part || !same_box(&a->e, &b->e) ||
        !same_levels(&a->e, &b->e) || !same_times(&a->e, &b->e) || a->alone != b->alone)
      return false;
  }
  return true;
}

bc_status bc_merge_plan(bc_merger *m, bc_snapshot *snap, const bc_piece *pieces, size_t n, uint32_t *into,
                        bc_err *err)
{
  bc_status st = BC_OK;
  plan p = { 0 };
  size_t first = 0;
  const bc_piece **list = NULL;
  for (size_t i = 0; i < n; i++)
    into[i] = (uint32_t)i;
  while (first < n && (pieces[first].key.part & BC_PART_SECOND) == 0)
    first++;
  const size_t second = n - first;
  if (first < 2 || (second > 0 && second != first)) return BC_OK;
  list = bc_malloc(n * sizeof(const bc_piece *));
  if (list == NULL) return no_memory(err);
  for (size_t i = 0; i < n; i++)
    list[i] = &pieces[i];
  BC_TRY(open_parts(m, snap, list, n, &p, err));
  if (second > 0 && !same_pieces(&p, first)) goto out;
  p.n = first; /* the second copy follows the first */
  st = join_alike(m, &p, err);
  if (st == BC_OK) st = join_pairs(m, &p, err);
  for (size_t i = 0; st == BC_OK && i < first; i++) {
    into[i] = (uint32_t)p.sets[p.of[i]].low;
    if (second > 0) into[first + i] = (uint32_t)first + into[i];
  }
  p.n = n;
out:
  dispose_plan(&p);
  bc_free(list);
  return st;
}

/* ---- making the merged tile ---- */

typedef struct merged {
  bc_merger *m;
  plan *p;
  extent e;
  int64_t *times;
  uint16_t levels[BC_MAX_LEVELS];
  uint32_t nl;
  uint32_t *sources;
  uint32_t n_sources;
  float *v;           /* [nt][nl][ny][nx] */
  size_t step, plane; /* values */
  bc_packing *packing;
  int16_t *q;
} merged;

static void dispose_merged(merged *g)
{
  bc_free(g->times);
  bc_free(g->sources);
  bc_free(g->v);
  bc_free(g->packing);
  bc_free(g->q);
}

static size_t find_time(const merged *g, int64_t t)
{
  size_t lo = 0, hi = g->e.nt;
  while (lo + 1 < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (g->times[mid] <= t)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

static size_t find_level(const merged *g, uint16_t level)
{
  size_t i = 0;
  while (g->levels[i] != level)
    i++;
  return i;
}

/* In the order of the lowest piece, then of the others. */
static void add_levels(merged *g, const bc_tile_head *h)
{
  for (uint32_t l = 0; l < h->nl; l++) {
    const uint16_t level = bc_tile_level(h, l);
    bool have = false;
    for (uint32_t i = 0; i < g->nl; i++)
      have = have || g->levels[i] == level;
    if (!have) g->levels[g->nl++] = level;
  }
}

static bc_status add_sources(merged *g, const bc_tile_head *h, bc_err *err)
{
  uint32_t *p = bc_realloc(g->sources, ((size_t)g->n_sources + h->n_sources + 1) * sizeof *p);
  if (p == NULL) return no_memory(err);
  g->sources = p;
  for (uint32_t i = 0; i < h->n_sources; i++) {
    const uint32_t s = bc_tile_source(h, i);
    bool have = false;
    for (uint32_t j = g->n_sources; j-- > 0 && !have;)
      have = p[j] == s;
    if (!have) p[g->n_sources++] = s;
  }
  return BC_OK;
}

static int by_time(const void *a, const void *b)
{
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static bc_status gather_times(merged *g, bc_err *err)
{
  size_t n = 0, all = 0;
  for (size_t i = 0; i < g->p->n; i++)
    all += g->p->parts[i].e.nt;
  g->times = bc_malloc(all * sizeof *g->times);
  if (g->times == NULL) return no_memory(err);
  for (size_t i = 0; i < g->p->n; i++) {
    const extent *e = &g->p->parts[i].e;
    memcpy(g->times + n, e->t, e->nt * sizeof *e->t);
    n += e->nt;
  }
  if (n > 1) qsort(g->times, n, sizeof *g->times, by_time);
  for (size_t i = 0; i < n; i++)
    if (g->e.nt == 0 || g->times[g->e.nt - 1] != g->times[i]) g->times[g->e.nt++] = g->times[i];
  g->e.t = g->times;
  return BC_OK;
}

static bc_status lay_out(merged *g, bc_err *err)
{
  size_t bytes = 0;
  g->e = g->p->parts[0].e;
  g->e.nt = 0;
  BC_RET(gather_times(g, err));
  for (size_t i = 0; i < g->p->n; i++) {
    hull(&g->e, &g->p->parts[i].e);
    add_levels(g, &g->p->parts[i].tile.head);
    BC_RET(add_sources(g, &g->p->parts[i].tile.head, err));
  }
  g->plane = (size_t)g->e.ny * g->e.nx;
  if (!bc_mul_sz(g->plane, g->nl, &g->step) || !bc_mul_sz(g->step, g->e.nt * sizeof *g->v, &bytes))
    return BC_FAIL(err, BC_E_RANGE, "compact: a tile of %zu steps is too large", g->e.nt);
  g->v = bc_malloc(bytes);
  return g->v == NULL ? no_memory(err) : BC_OK;
}

/* Steps that follow one another evenly in the merged tile are decoded at once. */
static bc_status decode_block(merged *g, const bc_tile *t, uint32_t b, bc_err *err)
{
  const bc_tile_head *h = &t->head;
  bc_block_place at;
  bc_tile_block(h, b, &at);
  const size_t level = find_level(g, bc_tile_level(h, at.l));
  float *const to =
      g->v + level * g->plane + (size_t)(h->y0 + at.y0 - g->e.y0) * g->e.nx + (h->x0 + at.x0 - g->e.x0);
  for (uint32_t i = 0; i < at.nt;) {
    const size_t k = find_time(g, bc_tile_time(h, at.t0 + i));
    size_t apart = 1;
    uint32_t n = 1;
    for (; i + n < at.nt; n++) {
      const size_t next = find_time(g, bc_tile_time(h, at.t0 + i + n));
      if (n == 1) apart = next - k;
      if (next != k + n * apart) break;
    }
    BC_RET(bc_tile_read(g->m->decoder, h, t->payload, b, (bc_pick){ i, n, 1 }, (bc_pick){ 0, at.ny, 1 },
                        (bc_pick){ 0, at.nx, 1 }, to + k * g->step, (ptrdiff_t)(apart * g->step * sizeof *to),
                        (ptrdiff_t)(g->e.nx * sizeof *to), err));
    i += n;
  }
  return BC_OK;
}

/* ---- back to integers ---- */

static uint32_t bits_of(float f)
{
  uint32_t b;
  memcpy(&b, &f, sizeof b);
  return b;
}

/* The packing of each step; false where there is none. */
static bool gather_packing(merged *g)
{
  const bc_packing *near = NULL;
  for (size_t i = 0; i < g->p->n && near == NULL; i++)
    near = g->p->parts[i].packing;
  if (near == NULL) return false;
  g->packing = bc_calloc(g->e.nt, sizeof *g->packing);
  g->q = bc_malloc(g->e.nt * g->step * sizeof *g->q);
  if (g->packing == NULL || g->q == NULL) return false;
  for (size_t i = 0; i < g->p->n; i++) {
    const part *q = &g->p->parts[i];
    const bool constant = q->tile.head.codec == BC_CODEC_CONST;
    if (q->packing == NULL && !constant) return false;
    for (size_t k = 0; k < q->e.nt; k++) {
      const size_t at = find_time(g, q->e.t[k]);
      g->packing[at] = constant ? *near : q->packing[k];
      const float v = g->v[at * g->step];
      if (constant && v == v) g->packing[at].offset = (double)v; /* k = 0 everywhere */
    }
  }
  return true;
}

/* The integer of one value; false when none gives its very bits. */
static bool find_integer(float v, const bc_packing *p, int32_t *k)
{
  const double guess = rint(((double)v - p->offset) / p->scale);
  if (!(fabs(guess) <= 32769)) return false;
  for (int d = 0; d < 3; d++) {
    *k = (int32_t)guess + (d == 2 ? -1 : d);
    if (*k >= INT16_MIN && *k <= INT16_MAX &&
        bits_of((float)((double)*k * p->scale + p->offset)) == bits_of(v))
      return true;
  }
  return false;
}

/* A number for the missing values of a step that no other value has. */
static bool choose_fill(bc_packing *p, const int16_t *q, const float *v, size_t n)
{
  const int32_t tries[3] = { p->has_fill ? p->fill : INT16_MIN, INT16_MIN, INT16_MAX };
  for (int i = 0; i < 3; i++) {
    bool used = tries[i] < INT16_MIN || tries[i] > INT16_MAX;
    for (size_t k = 0; k < n && !used; k++)
      used = v[k] == v[k] && q[k] == tries[i];
    if (used) continue;
    p->fill = tries[i];
    p->has_fill = true;
    return true;
  }
  return false;
}

static bool pack_step(const float *v, size_t n, bc_packing *p, int16_t *q)
{
  bool holes = false;
  for (size_t i = 0; i < n; i++) {
    int32_t k = 0;
    if (v[i] == v[i] ? !find_integer(v[i], p, &k) : bits_of(v[i]) != NAN_BITS) return false;
    holes = holes || v[i] != v[i];
    q[i] = (int16_t)k;
  }
  if (holes && !choose_fill(p, q, v, n)) return false;
  p->has_fill = holes;
  for (size_t i = 0; holes && i < n; i++)
    if (v[i] != v[i]) q[i] = (int16_t)p->fill;
  return true;
}

static bool pack(merged *g)
{
  if (!gather_packing(g)) return false;
  for (size_t t = 0; t < g->e.nt; t++)
    if (!pack_step(g->v + t * g->step, g->step, &g->packing[t], g->q + t * g->step)) return false;
  return true;
}

/* ---- encoding ---- */

static bc_status encode(merged *g, const bc_grid *grid, bc_err *err)
{
  const bc_tile_head *low = &g->p->parts[0].tile.head;
  const uint32_t cny = bc_grid_cell_ny(grid), cnx = bc_grid_cell_nx(grid);
  uint32_t cy = 0, cx = 0;
  bool raw = true;
  bc_cell_position(low->key.cell & ((1u << BC_CELL_BITS) - 1), &cy, &cx);
  for (size_t i = 0; i < g->p->n; i++)
    raw = raw && g->p->parts[i].tile.head.codec == BC_CODEC_RAW;
  const bool packed = !raw && pack(g);
  const size_t elem = packed ? sizeof *g->q : sizeof *g->v;
  bc_tile_in in = { .key = low->key,
                    .layout = low->layout,
                    .y0 = g->e.y0,
                    .x0 = g->e.x0,
                    .ny = g->e.ny,
                    .nx = g->e.nx,
                    .cell_ny = (uint32_t)BC_MIN((uint64_t)cny, grid->ny - (uint64_t)cy * cny),
                    .cell_nx = (uint32_t)BC_MIN((uint64_t)cnx, grid->nx - (uint64_t)cx * cnx),
                    .nt = (uint32_t)g->e.nt,
                    .nl = g->nl,
                    .times = g->times,
                    .levels = g->levels,
                    .sources = g->sources,
                    .n_sources = g->n_sources,
                    .dtype = packed ? BC_I16 : BC_F32,
                    .values = packed ? (const void *)g->q : (const void *)g->v,
                    .t_stride = (ptrdiff_t)(g->step * elem),
                    .l_stride = (ptrdiff_t)(g->plane * elem),
                    .y_stride = (ptrdiff_t)(g->e.nx * elem),
                    .packing = packed ? g->packing : NULL };
  const bc_codec_opts opts = { .mode = raw ? BC_MODE_RAW : BC_MODE_AUTO };
  g->m->head.n = 0;
  g->m->payload.n = 0;
  return bc_tile_encode(g->m->encoder, &in, &opts, &g->m->head, &g->m->payload, err);
}

bc_status bc_merge_run(bc_merger *m, bc_snapshot *snap, const bc_piece *const *pieces, size_t n,
                       bc_bytes *head, bc_bytes *payload, bc_err *err)
{
  bc_status st = BC_OK;
  plan p = { 0 };
  merged g = { .m = m, .p = &p };
  BC_TRY(open_parts(m, snap, pieces, n, &p, err));
  BC_TRY(lay_out(&g, err));
  for (size_t i = 0; i < n; i++) { /* ascending: the later piece is in force */
    const bc_tile *t = &p.parts[i].tile;
    const uint32_t blocks = t->head.codec == BC_CODEC_CONST ? t->head.nl : t->head.n_blocks;
    for (uint32_t b = 0; b < blocks; b++)
      BC_TRY(decode_block(&g, t, b, err));
  }
  const bc_modality *mod = bc_snapshot_modality(snap, pieces[0]->key.modality);
  const bc_grid *grid = mod == NULL ? NULL : bc_snapshot_grid(snap, mod->grid);
  if (grid == NULL)
    BC_TRY(BC_FAIL(err, BC_E_CORRUPT, "index: a tile of variable %d: run bctool reindex",
                   pieces[0]->key.modality));
  BC_TRY(encode(&g, grid, err));
  *head = (bc_bytes){ m->head.p, m->head.n };
  *payload = (bc_bytes){ m->payload.p, m->payload.n };
out:
  dispose_merged(&g);
  dispose_plan(&p);
  return st;
}
