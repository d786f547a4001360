/*
 * Which pieces of a tile can become one: see compact.h for what must not change by it.
 */
#include <string.h>

#include "store/compact_merge_int.h"

#define MAX_PAIRED 64 /* sets up to which each is held against each */

void bc_merge_dispose(bc_merge_sets *p)
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

static bc_status describe(bc_merge_part *p, bc_err *err)
{
  const bc_tile_head *h = &p->tile.head;
  p->e = (bc_extent){ .y0 = h->y0, .x0 = h->x0, .ny = h->ny, .nx = h->nx, .nt = h->nt };
  p->times = bc_malloc(h->nt * sizeof *p->times);
  if (p->times == NULL) return bc_compact_no_memory(err);
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

static bc_status find_packing(bc_merger *m, bc_merge_part *p, bc_err *err)
{
  bool packed = false;
  if (p->tile.head.codec != BC_CODEC_LINEAR16) return BC_OK;
  p->packing = bc_malloc(p->tile.head.nt * sizeof *p->packing);
  if (p->packing == NULL) return bc_compact_no_memory(err);
  const bc_status st =
      bc_tile_packing(m->z, &m->scratch, &p->tile.head, p->tile.payload, p->packing, &packed, err);
  if (packed && st == BC_OK) return BC_OK;
  bc_free(p->packing);
  p->packing = NULL;
  return st;
}

bc_status bc_merge_open_parts(bc_merger *m, bc_snapshot *snap, const bc_piece *const *pieces, size_t n,
                              bc_merge_sets *p, bc_err *err)
{
  p->parts = bc_calloc(n, sizeof *p->parts);
  p->of = bc_calloc(n, sizeof *p->of);
  p->sets = bc_calloc(n, sizeof *p->sets);
  if (p->parts == NULL || p->of == NULL || p->sets == NULL) return bc_compact_no_memory(err);
  for (; p->n < n; p->n++) {
    bc_merge_part *q = &p->parts[p->n];
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
static bool packings_clash(const bc_merge_part *a, const bc_merge_part *b)
{
  if ((a->packing == NULL && b->packing == NULL) || !bc_extent_share_steps(&a->e, &b->e)) return false;
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
static size_t end_of(const bc_merge_sets *p, size_t s)
{
  return p->sets[s].n == 1 ? p->sets[s].low + 1 : p->n;
}

/* Integers stay integers: values of the two kinds together would have to be stored as floats, which takes
 * more room than the pieces do. */
static bool kinds_clash(const bc_merge_sets *p, size_t a, size_t b)
{
  const bc_merge_set *s = &p->sets[a], *r = &p->sets[b];
  if ((s->packed && r->fitted) || (r->packed && s->fitted)) return true;
  if (!s->packed && !r->packed) return false;
  for (size_t j = r->low; j < end_of(p, b); j++)
    for (size_t i = s->low; p->of[j] == b && i < end_of(p, a); i++)
      if (p->of[i] == a && packings_clash(&p->parts[i], &p->parts[j])) return true;
  return false;
}

/* Joined under the lower number, no value in force changes: see compact.h. The pieces of the set that has the
 * lower number stand well already; those of the other one move down. */
static bool order_holds(const bc_merge_sets *p, size_t a, size_t b)
{
  const size_t up = p->sets[a].low > p->sets[b].low ? a : b, low = BC_MIN(p->sets[a].low, p->sets[b].low);
  for (size_t i = p->sets[up].low; i < end_of(p, up); i++) {
    if (p->of[i] != up) continue;
    for (size_t j = low; j < i; j++)
      if (p->of[j] != a && p->of[j] != b && bc_extent_overlap(&p->parts[j].e, &p->parts[i].e)) return false;
  }
  return true;
}

static bool room_for(const bc_merger *m, const bc_extent *a, const bc_extent *b)
{
  size_t both = 0;
  uint64_t bytes = 0;
  bc_extent e = *a;
  bc_extent_hull(&e, b);
  return bc_mul_u64((uint64_t)e.ny * e.nx, (uint64_t)bc_extent_levels(&e) * sizeof(float), &bytes) &&
         bc_mul_u64(bytes, bc_extent_union_times(a, b, &both), &bytes) && bytes <= m->max_bytes;
}

/* Set b goes into set a. */
static bc_status join(bc_merge_sets *p, size_t a, size_t b, bc_err *err)
{
  bc_merge_set *s = &p->sets[a], *r = &p->sets[b];
  int64_t *t = bc_malloc((s->e.nt + r->e.nt) * sizeof *t);
  if (t == NULL) return bc_compact_no_memory(err);
  s->e.nt = bc_extent_merge_times(&s->e, &r->e, t);
  bc_free(s->times);
  s->e.t = s->times = t;
  bc_extent_hull(&s->e, &r->e);
  for (size_t i = r->low; i < end_of(p, b); i++)
    if (p->of[i] == b) p->of[i] = a;
  s->low = BC_MIN(s->low, r->low);
  s->n += r->n;
  s->packed = s->packed || r->packed;
  s->fitted = s->fitted || r->fitted;
  r->n = 0;
  return BC_OK;
}

static bool can_join(const bc_merger *m, const bc_merge_sets *p, size_t a, size_t b)
{
  const bc_merge_set *s = &p->sets[a], *r = &p->sets[b];
  if (s->n == 0 || r->n == 0 || p->parts[s->low].alone || p->parts[r->low].alone) return false;
  return bc_extent_dense(&s->e, &r->e) && room_for(m, &s->e, &r->e) && !kinds_clash(p, a, b) &&
         order_holds(p, a, b);
}

static bc_status add_set(bc_merge_sets *p, size_t i, bc_err *err)
{
  const bc_merge_part *q = &p->parts[i];
  bc_merge_set *s = &p->sets[p->n_sets];
  *s = (bc_merge_set){ .e = q->e, .low = i, .n = 1 };
  s->packed = q->packing != NULL;
  s->fitted = !s->packed && q->tile.head.codec != BC_CODEC_CONST;
  s->times = bc_malloc(q->e.nt * sizeof *s->times);
  if (s->times == NULL) return bc_compact_no_memory(err);
  memcpy(s->times, q->times, q->e.nt * sizeof *s->times);
  s->e.t = s->times;
  p->of[i] = p->n_sets++;
  return BC_OK;
}

/* Pieces of equal box and levels first: mostly that is all. */
static bc_status join_alike(const bc_merger *m, bc_merge_sets *p, bc_err *err)
{
  for (size_t i = 0; i < p->n; i++)
    p->of[i] = SIZE_MAX;
  for (size_t i = 0; i < p->n; i++) {
    BC_RET(add_set(p, i, err));
    const size_t fresh = p->n_sets - 1;
    for (size_t s = fresh; s-- > 0;) {
      if (!bc_extent_same_box(&p->sets[s].e, &p->sets[fresh].e) ||
          !bc_extent_same_levels(&p->sets[s].e, &p->sets[fresh].e))
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

static bc_status join_pairs(const bc_merger *m, bc_merge_sets *p, bc_err *err)
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

static bool same_pieces(const bc_merge_sets *p, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    const bc_merge_part *a = &p->parts[i], *b = &p->parts[n + i];
    if ((a->tile.key.part | BC_PART_SECOND) != b->tile.key.part || !bc_extent_same_box(&a->e, &b->e) ||
        !bc_extent_same_levels(&a->e, &b->e) || !bc_extent_same_times(&a->e, &b->e) || a->alone != b->alone)
      return false;
  }
  return true;
}

bc_status bc_merge_plan(bc_merger *m, bc_snapshot *snap, const bc_piece *pieces, size_t n, uint32_t *into,
                        bc_err *err)
{
  bc_status st = BC_OK;
  bc_merge_sets p = { 0 };
  size_t first = 0;
  const bc_piece **list = NULL;
  for (size_t i = 0; i < n; i++)
    into[i] = (uint32_t)i;
  while (first < n && (pieces[first].key.part & BC_PART_SECOND) == 0)
    first++;
  const size_t second = n - first;
  if (first < 2 || (second > 0 && second != first)) return BC_OK;
  list = bc_malloc(n * sizeof(const bc_piece *));
  if (list == NULL) return bc_compact_no_memory(err);
  for (size_t i = 0; i < n; i++)
    list[i] = &pieces[i];
  BC_TRY(bc_merge_open_parts(m, snap, list, n, &p, err));
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
  bc_merge_dispose(&p);
  bc_free(list);
  return st;
}
