/*
 * Which steps, levels and blocks of one tile an answer takes. Planner and decoder share it, so that what was
 * priced is what is decoded. Internal to query.
 *
 * Lifetime: bc_touch_init, bc_touch_tile for one tile after another (memory is kept), bc_touch_dispose.
 * Threads: one each.
 */
#ifndef BC_QUERY_TOUCH_H
#define BC_QUERY_TOUCH_H

#include "query/where.h"

/* Time and levels of a variable's answer. */
typedef struct bc_axes {
  const int64_t *steps; /* ascending: the stored steps that are read */
  size_t n_steps;
  const uint16_t *levels; /* of each level of the answer, its index in the modality's list */
  size_t n_levels;        /* >= 1; without a level axis one, of index 0 */
} bc_axes;

typedef struct bc_span { /* the steps of one row of time blocks: step[first .. first + n) */
  uint32_t first, n;
} bc_span;
typedef struct bc_step_at {
  uint32_t tile, out; /* step of the tile, index in the axis */
} bc_step_at;
typedef struct bc_level_at {
  uint32_t tile, out;
} bc_level_at;
typedef struct bc_spot { /* a block's place in the plane */
  uint32_t y, x;         /* its first node, in the tile */
  size_t first, n;       /* points: points[first .. first + n) */
} bc_spot;

typedef struct bc_touch {
  bc_tile_head head;
  bc_area area;
  bc_step_at *step;
  size_t n_steps;
  bc_span *span;
  size_t n_spans;
  bc_level_at *level;
  size_t n_levels;
  bc_spot *spot;
  size_t n_spots;
  const bc_node **points;
  size_t cap_step, cap_span, cap_level, cap_spot, cap_points;
  const bc_axes *axes; /* of the steps above, kept while the next tile has the same */
  size_t from, to;
} bc_touch;

void bc_touch_init(bc_touch *t);
void bc_touch_dispose(bc_touch *t);
/* Parse a head and find what it gives to steps [from, to) of the axis. */
bc_status bc_touch_tile(bc_touch *t, bc_bytes head, const bc_where *w, const bc_axes *a, size_t from,
                        size_t to, bc_err *err) BC_MUST_CHECK;
/* Blocks touched; each is (span, level, spot), numbered with spots fastest. */
static inline uint64_t bc_touch_blocks(const bc_touch *t)
{
  return (uint64_t)t->n_spans * t->n_levels * t->n_spots;
}
/* First index whose value is >= v. */
size_t bc_lower_bound(const int64_t *v, size_t n, int64_t x);
/* Make *list hold n elements. */
bc_status bc_list_reserve(void **list, size_t *cap, size_t n, size_t elem, bc_err *err) BC_MUST_CHECK;

#endif
