/*
 * What a variable's answer costs, and with that which of two layout copies it is read from and in which
 * slabs.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "query/plan.h"

#define FEW_PARTS 512 /* of one bucket and cell: up to here each is held against each */

static bc_status no_memory(bc_err *err) { return BC_FAIL(err, BC_E_NOMEM, "no memory to plan the query"); }

static bc_bytes head_of(const bc_ptile *t) { return (bc_bytes){ t->head, t->head_bytes }; }

/* ---- price of a tile ---- */

typedef struct price {
  uint64_t tiles, blocks, raw_blocks, stored, decoded;
} price;

static void price_add(price *a, const price *b)
{
  a->tiles += b->tiles;
  a->blocks += b->blocks;
  a->raw_blocks += b->raw_blocks;
  a->stored += b->stored;
  a->decoded += b->decoded;
}

/* Decoding costs about what reading does; raw bytes are only looked through. */
static uint64_t price_total(const price *p) { return p->stored + p->decoded; }

static uint64_t place_bytes(const bc_tile_head *h, const bc_block_place *p)
{
  return (uint64_t)p->nt * p->ny * p->nx * bc_dtype_size(h->dtype);
}

static void place_of(const bc_touch *t, size_t span, size_t level, size_t spot, bc_block_place *out)
{
  bc_tile_block(&t->head,
                bc_tile_block_at(&t->head, t->step[t->span[span].first].tile, t->level[level].tile,
                                 t->spot[spot].y, t->spot[spot].x),
                out);
}

/* Decoded bytes of all blocks of one span; constants are not decoded. */
static uint64_t span_bytes(const bc_touch *t, size_t span)
{
  uint64_t sum = 0;
  bc_block_place p;
  if (t->head.codec == BC_CODEC_CONST || t->n_levels == 0) return 0;
  for (size_t i = 0; i < t->n_spots; i++) {
    place_of(t, span, 0, i, &p);
    sum += place_bytes(&t->head, &p);
  }
  return sum * t->n_levels;
}

static price price_of(const bc_touch *t)
{
  price c = { bc_touch_blocks(t) > 0, bc_touch_blocks(t), 0, 0, 0 };
  bc_block_place p;
  if (t->head.codec == BC_CODEC_RAW) c.raw_blocks = c.blocks;
  if (t->head.codec == BC_CODEC_CONST) return c;
  for (size_t s = 0; s < t->n_spans; s++) {
    c.decoded += span_bytes(t, s);
    for (size_t l = 0; l < t->n_levels; l++)
      for (size_t i = 0; i < t->n_spots; i++) {
        place_of(t, s, l, i, &p);
        c.stored += p.stored;
      }
  }
  return c;
}

/* ---- which layout copy ---- */

static int by_key(const void *a, const void *b)
{
  const bc_ptile *p = a, *q = b;
  if (p->bucket != q->bucket) return p->bucket < q->bucket ? -1 : 1;
  if (p->cell != q->cell) return p->cell < q->cell ? -1 : 1;
  return (int)p->part - (int)q->part;
}

/* Tiles of one bucket and cell, from i on, in order of parts: first copy, then second. */
static size_t group_end(const bc_qvar *v, size_t i, size_t *second)
{
  size_t j = i;
  *second = SIZE_MAX;
  for (; j < v->n_tiles && v->tiles[j].bucket == v->tiles[i].bucket && v->tiles[j].cell == v->tiles[i].cell;
       j++)
    if (*second == SIZE_MAX && (v->tiles[j].part & BC_PART_SECOND) != 0) *second = j;
  if (*second == SIZE_MAX) *second = j;
  return j;
}

/* Price both copies where both are there. */
static bc_status compare_copies(const bc_query *q, const bc_qvar *v, bc_touch *t, bool *second, bc_err *err)
{
  price sum[2] = { { 0 }, { 0 } };
  size_t mid = 0;
  for (size_t i = 0, end = 0; i < v->n_tiles; i = end) {
    end = group_end(v, i, &mid);
    if (mid == i || mid == end) continue;
    for (size_t j = i; j < end; j++) {
      BC_RET(bc_touch_tile(t, head_of(&v->tiles[j]), &q->where, &v->axes, 0, v->axes.n_steps, err));
      const price p = price_of(t);
      price_add(&sum[j >= mid], &p);
    }
  }
  *second = price_total(&sum[1]) < price_total(&sum[0]);
  return BC_OK;
}

static bool same_piece(const bc_ptile *a, const bc_ptile *b)
{
  return a->bucket == b->bucket && a->cell == b->cell &&
         ((a->part ^ b->part) | BC_PART_SECOND) == BC_PART_SECOND;
}

static int by_piece(const void *a, const void *b)
{
  const bc_ptile *p = a, *q = b;
  if (p->bucket != q->bucket) return p->bucket < q->bucket ? -1 : 1;
  if (p->cell != q->cell) return p->cell < q->cell ? -1 : 1;
  const unsigned x = p->part & ~BC_PART_SECOND, y = q->part & ~BC_PART_SECOND;
  return x != y ? (x < y ? -1 : 1) : (int)p->part - (int)q->part;
}

/* Piece by piece: what of one copy is lost is read from the other. */
static void keep_copy(bc_qvar *v, bool second)
{
  size_t n = 0;
  qsort(v->tiles, v->n_tiles, sizeof *v->tiles, by_piece);
  for (size_t i = 0; i < v->n_tiles; i++) {
    const bool both = i + 1 < v->n_tiles && same_piece(&v->tiles[i], &v->tiles[i + 1]);
    v->tiles[n++] = v->tiles[both && second ? i + 1 : i];
    i += both ? 1 : 0;
  }
  v->n_tiles = n;
}

static bc_status choose_copy(bc_query *q, bc_qvar *v, bc_touch *t, bc_err *err)
{
  bool second = false, any = false;
  qsort(v->tiles, v->n_tiles, sizeof *v->tiles, by_key);
  for (size_t i = 0; i < v->n_tiles && !any; i++)
    any = (v->tiles[i].part & BC_PART_SECOND) != 0;
  if (any) {
    BC_RET(compare_copies(q, v, t, &second, err));
    keep_copy(v, second);
    second = second || (v->tiles[0].part & BC_PART_SECOND) != 0;
  }
  for (size_t i = 0; i < v->n_tiles; i++)
    q->damaged += v->tiles[i].lost;
  v->part.layout = bc_layout_name(v->m.layout[second ? 1 : 0]);
  return BC_OK;
}

/* ---- costs, coverage, where slabs may be cut ---- */

typedef struct survey {
  uint64_t *cover; /* differences, by step: values that tiles of rank 0 give */
  uint64_t *split; /* differences: decoded bytes that a cut before this step makes be decoded twice */
  bool viewable;
  uint64_t cells;
} survey;

static void cover_steps(survey *s, const bc_ptile *p, const bc_touch *t, uint64_t values)
{
  if (p->k_last - p->k_first + 1 == t->n_steps) {
    s->cover[p->k_first] += values;
    s->cover[p->k_last + 1] -= values; /* modulo 2^64, as the sum is */
    return;
  }
  for (size_t i = 0; i < t->n_steps; i++) {
    s->cover[t->step[i].out] += values;
    s->cover[t->step[i].out + 1] -= values;
  }
}

static void split_steps(survey *s, const bc_touch *t)
{
  for (size_t i = 0; i < t->n_spans; i++) {
    const bc_span *sp = &t->span[i];
    const uint32_t first = t->step[sp->first].out, last = t->step[sp->first + sp->n - 1].out;
    if (first == last) continue;
    const uint64_t bytes = span_bytes(t, i);
    s->split[first + 1] += bytes;
    s->split[last + 1] -= bytes;
  }
}

static void note_block_size(bc_qvar *v, const bc_tile_head *h)
{
  const uint64_t bytes = (uint64_t)h->bt * h->by * h->bx * bc_dtype_size(h->dtype);
  if (h->codec == BC_CODEC_CONST) return;
  v->max_block = BC_MAX(v->max_block, bytes);
  if (h->codec != BC_CODEC_RAW) v->max_coded = BC_MAX(v->max_coded, bytes);
}

static void note_sources(const bc_tile_head *h, uint8_t *bits, uint32_t limit)
{
  for (uint32_t i = 0; i < h->n_sources; i++) {
    const uint32_t id = bc_tile_source(h, i);
    if (id < limit) bits[id / 8] = (uint8_t)(bits[id / 8] | 1u << (id % 8));
  }
}

/* Costs of each tile that gives something; the others go. */
static bc_status survey_tiles(bc_query *q, bc_qvar *v, survey *s, bc_touch *t, uint8_t *bits, uint32_t limit,
                              bc_err *err)
{
  price sum = { 0 };
  size_t n = 0;
  for (size_t i = 0; i < v->n_tiles; i++) {
    bc_ptile *p = &v->tiles[i];
    BC_RET(bc_touch_tile(t, head_of(p), &q->where, &v->axes, 0, v->axes.n_steps, err));
    if (bc_touch_blocks(t) == 0) continue;
    const price c = price_of(t);
    price_add(&sum, &c);
    p->k_first = t->step[0].out;
    p->k_last = t->step[t->n_steps - 1].out;
    p->shares = (uint32_t)BC_MIN(c.blocks / 16 + 1, UINT64_C(65536));
    note_block_size(v, &t->head);
    note_sources(&t->head, bits, limit);
    split_steps(s, t);
    s->viewable = s->viewable && t->head.codec == BC_CODEC_RAW;
    v->tiles[n++] = *p;
  }
  v->n_tiles = n;
  v->part.tiles = v->cost.tiles = sum.tiles;
  v->part.blocks = v->cost.blocks = sum.blocks;
  v->part.raw_blocks = sum.raw_blocks;
  v->part.stored_bytes = v->cost.stored_bytes = sum.stored;
  v->part.decoded_bytes = v->cost.decoded_bytes = sum.decoded;
  return BC_OK;
}

/* ---- parts that overlap ---- */

static bool overlap(const bc_ptile *a, const bc_ptile *b)
{
  return a->k_first <= b->k_last && b->k_first <= a->k_last && a->area.row < b->area.row + b->area.ny &&
         b->area.row < a->area.row + a->area.ny && a->area.col < b->area.col + b->area.nx &&
         b->area.col < a->area.col + a->area.nx;
}

/* Parts come in order of time mostly; then none overlaps and there is nothing to hold against each other. */
static bool follow_in_time(const bc_ptile *p, size_t n)
{
  for (size_t i = 1; i < n; i++)
    if (p[i].k_first <= p[i - 1].k_last) return false;
  return true;
}

static void rank_group(bc_ptile *p, size_t n)
{
  if (follow_in_time(p, n)) return;
  for (size_t i = 1; i < n; i++) {
    if (n > FEW_PARTS) {
      p[i].rank = (uint16_t)i; /* one after the other, whether they overlap or not */
      continue;
    }
    for (size_t j = 0; j < i; j++)
      if (p[j].rank >= p[i].rank && overlap(&p[i], &p[j])) p[i].rank = (uint16_t)(p[j].rank + 1);
  }
}

static void rank_tiles(bc_qvar *v, survey *s)
{
  size_t mid = 0;
  v->ranks = 1;
  for (size_t i = 0, end = 0; i < v->n_tiles; i = end) {
    end = group_end(v, i, &mid);
    rank_group(&v->tiles[i], end - i);
    for (size_t j = i; j < end; j++)
      v->ranks = BC_MAX(v->ranks, (uint16_t)(v->tiles[j].rank + 1));
  }
  s->viewable = s->viewable && v->ranks == 1;
}

static int by_rank(const void *a, const void *b)
{
  const bc_ptile *p = a, *q = b;
  if (p->bucket != q->bucket) return p->bucket < q->bucket ? -1 : 1;
  if (p->rank != q->rank) return p->rank < q->rank ? -1 : 1;
  if (p->segment != q->segment) return p->segment < q->segment ? -1 : 1;
  if (p->payload != q->payload) return (uintptr_t)p->payload < (uintptr_t)q->payload ? -1 : 1;
  return p->cell < q->cell ? -1 : p->cell > q->cell;
}

static int by_cell(const void *a, const void *b)
{
  const uint32_t p = *(const uint32_t *)a, q = *(const uint32_t *)b;
  return p < q ? -1 : p > q;
}

static bc_status count_cells(bc_qvar *v, bc_err *err)
{
  uint32_t *cells = bc_malloc((v->n_tiles + 1) * sizeof *cells);
  if (cells == NULL) return no_memory(err);
  for (size_t i = 0; i < v->n_tiles; i++)
    cells[i] = v->tiles[i].cell;
  qsort(cells, v->n_tiles, sizeof *cells, by_cell);
  for (size_t i = 0; i < v->n_tiles; i++)
    v->part.cells += i == 0 || cells[i] != cells[i - 1];
  bc_free(cells);
  return BC_OK;
}

/* Steps of which tiles of rank 0, which do not overlap, give every value: nothing else has to be written
 * first. */
static bc_status find_whole(const bc_query *q, bc_qvar *v, survey *s, bc_touch *t, bc_err *err)
{
  const uint64_t all = (uint64_t)q->where.nrow * q->where.ncol * v->axes.n_levels;
  for (size_t i = 0; i < v->n_tiles; i++) {
    const bc_ptile *p = &v->tiles[i];
    if (p->rank != 0) continue;
    BC_RET(bc_touch_tile(t, head_of(p), &q->where, &v->axes, 0, v->axes.n_steps, err));
    cover_steps(s, p, t, bc_where_count(&q->where, p->cell, p->area) * t->n_levels);
  }
  uint64_t sum = 0;
  for (size_t k = 0; k < v->axes.n_steps; k++) {
    sum += s->cover[k];
    v->whole[k] = sum == all;
  }
  return BC_OK;
}

/* ---- slabs ---- */

uint64_t bc_plan_thread_bytes(const bc_qvar *v)
{
  /* measured on the codecs: planes, differences and records take up to 3.5 blocks; one more to gather from */
  return (v->max_coded > 0 ? 4 * v->max_coded + (UINT64_C(192) << 10) : 0) + v->max_block +
         (UINT64_C(32) << 10);
}

static bc_status shape_bytes(const bc_query *q, bc_qvar *v, bc_err *err)
{
  const int64_t shape[4] = { (int64_t)v->axes.n_steps, (int64_t)v->axes.n_levels, q->where.nrow,
                             q->where.ncol };
  size_t bytes = 0;
  if (!bc_shape_bytes(shape, 4, sizeof(float), &bytes) || bytes > INT64_MAX)
    return BC_FAIL(err, BC_E_RANGE,
                   "%s: %zu steps of %zu x %" PRIu32 " x %" PRIu32 " values: too many to address", v->m.name,
                   v->axes.n_steps, v->axes.n_levels, q->where.nrow, q->where.ncol);
  v->plane_bytes = (uint64_t)q->where.nrow * q->where.ncol * sizeof(float);
  v->step_bytes = v->plane_bytes * v->axes.n_levels;
  v->cost.output_bytes = v->step_bytes * v->n_out;
  return BC_OK;
}

/* Steps that fit the memory at a time; fewer threads when they would not leave room for one. */
static bc_status fit_memory(const bc_query *q, bc_qvar *v, uint64_t *fixed, uint64_t *steps, bc_err *err)
{
  char name[2 * BC_NAME_MAX];
  const uint64_t acc = bc_reduce_bytes(v->agg, v->step_bytes / sizeof(float)),
                 thread = bc_plan_thread_bytes(v);
  const uint64_t need = v->step_bytes + acc + thread;
  if (need > q->memory)
    return BC_FAIL(err, BC_E_BUDGET,
                   "%s: one step takes %" PRIu64 " bytes and %" PRIu64 " to decode%s, together %" PRIu64
                   ", more than the %" PRIu64 " allowed: allow more memory or ask for a smaller box",
                   bc_plan_name(&v->m, name), v->step_bytes, thread + acc, acc > 0 ? " and aggregate" : "",
                   need, q->memory);
  const uint64_t spare = (q->memory - need) / thread;
  v->threads = (int32_t)BC_MIN((uint64_t)q->threads, spare + 1);
  *fixed = acc + thread * (uint64_t)v->threads;
  *steps = (q->memory - *fixed) / v->step_bytes;
  return BC_OK;
}

/* From each slab's first step on, the latest cut that splits the fewest bytes of blocks. split is now the
 * sum. */
static size_t next_cut(const uint64_t *split, size_t from, uint64_t steps, size_t n)
{
  if (n - from <= steps) return n;
  size_t best = from + (size_t)steps;
  for (size_t k = best; k > from && split[best] > 0; k--)
    if (split[k] < split[best]) best = k;
  return best;
}

static bc_status cut_slabs(const bc_query *q, bc_qvar *v, survey *s, bc_err *err)
{
  const size_t n = v->axes.n_steps;
  uint64_t fixed = 0, steps = 0, largest = 0;
  size_t cap = 0;
  BC_RET(fit_memory(q, v, &fixed, &steps, err));
  for (size_t k = 1; k <= n; k++)
    s->split[k] += s->split[k - 1];
  for (size_t from = 0; from < n;) {
    void *list = v->cuts;
    BC_RET(bc_list_reserve(&list, &cap, v->n_slabs + 2, sizeof *v->cuts, err));
    v->cuts = list;
    v->cuts[v->n_slabs++] = from;
    const size_t to = next_cut(s->split, from, steps, n);
    largest = BC_MAX(largest, (uint64_t)(to - from));
    from = to;
    v->cuts[v->n_slabs] = to;
  }
  v->cost.peak_bytes = fixed + largest * v->step_bytes;
  return BC_OK;
}

/* Blocks that lie across a cut are decoded once more for each further slab that takes steps from them. */
static bc_status add_repeats(const bc_query *q, bc_qvar *v, bc_touch *t, bc_err *err)
{
  for (size_t i = 0; v->n_slabs > 1 && i < v->n_tiles; i++) {
    BC_RET(bc_touch_tile(t, head_of(&v->tiles[i]), &q->where, &v->axes, 0, v->axes.n_steps, err));
    for (size_t s = 0; s < t->n_spans; s++) {
      const bc_span *sp = &t->span[s];
      size_t slab = 0, visits = 0;
      for (size_t j = sp->first; j < sp->first + sp->n; j++) {
        if (visits > 0 && t->step[j].out < v->cuts[slab + 1]) continue;
        while (t->step[j].out >= v->cuts[slab + 1])
          slab++;
        visits++;
      }
      if (visits > 1) v->cost.decoded_bytes += (visits - 1) * span_bytes(t, s);
    }
  }
  v->part.decoded_bytes = v->cost.decoded_bytes;
  return BC_OK;
}

bc_status bc_plan_tiles(bc_query *q, bc_qvar *v, uint8_t *source_bits, uint32_t source_limit, bc_err *err)
{
  bc_status st = BC_OK;
  const size_t n = v->axes.n_steps;
  bc_touch t;
  survey s = { bc_calloc(n + 2, sizeof *s.cover), bc_calloc(n + 2, sizeof *s.split), q->where.grid.cell == 0,
               0 };
  bc_touch_init(&t);
  v->whole = bc_calloc(n, 1);
  if (s.cover == NULL || s.split == NULL || v->whole == NULL) {
    st = no_memory(err);
    goto out;
  }
  BC_TRY(shape_bytes(q, v, err));
  BC_TRY(choose_copy(q, v, &t, err));
  BC_TRY(survey_tiles(q, v, &s, &t, source_bits, source_limit, err));
  rank_tiles(v, &s);
  qsort(v->tiles, v->n_tiles, sizeof *v->tiles, by_rank);
  BC_TRY(count_cells(v, err));
  BC_TRY(find_whole(q, v, &s, &t, err));
  BC_TRY(cut_slabs(q, v, &s, err));
  BC_TRY(add_repeats(q, v, &t, err));
  v->part.grid = q->where.grid.name;
  v->part.zero_copy = s.viewable && !q->where.by_points && !v->is_static;
out:
  bc_touch_dispose(&t);
  bc_free(s.cover);
  bc_free(s.split);
  return st;
}
