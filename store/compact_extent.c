/*
 * Boxes of nodes, levels and steps: what two of them share, and what they make together.
 */
#include <string.h>

#include "store/compact_merge_int.h"

size_t bc_extent_levels(const bc_extent *e)
{
  size_t n = 0;
  for (int i = 0; i < BC_LEVEL_WORDS; i++)
    n += (size_t)__builtin_popcountll(e->levels[i]);
  return n;
}

bool bc_extent_same_levels(const bc_extent *a, const bc_extent *b)
{
  return memcmp(a->levels, b->levels, sizeof a->levels) == 0;
}

bool bc_extent_same_box(const bc_extent *a, const bc_extent *b)
{
  return a->y0 == b->y0 && a->x0 == b->x0 && a->ny == b->ny && a->nx == b->nx;
}

bool bc_extent_same_times(const bc_extent *a, const bc_extent *b)
{
  return a->nt == b->nt && memcmp(a->t, b->t, a->nt * sizeof *a->t) == 0;
}

static bool box_holds(const bc_extent *a, const bc_extent *b)
{
  return b->y0 >= a->y0 && b->x0 >= a->x0 && b->y0 + b->ny <= a->y0 + a->ny && b->x0 + b->nx <= a->x0 + a->nx;
}

static bool levels_hold(const bc_extent *a, const bc_extent *b)
{
  bool all = true;
  for (int i = 0; i < BC_LEVEL_WORDS; i++)
    all = all && (b->levels[i] & ~a->levels[i]) == 0;
  return all;
}

/* The boxes together are a box: side by side along one axis. */
static bool boxes_join(const bc_extent *a, const bc_extent *b)
{
  if (a->y0 == b->y0 && a->ny == b->ny) return a->x0 <= b->x0 + b->nx && b->x0 <= a->x0 + a->nx;
  return a->x0 == b->x0 && a->nx == b->nx && a->y0 <= b->y0 + b->ny && b->y0 <= a->y0 + a->ny;
}

size_t bc_extent_union_times(const bc_extent *a, const bc_extent *b, size_t *both)
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

bool bc_extent_share_steps(const bc_extent *a, const bc_extent *b)
{
  size_t both = 0;
  (void)bc_extent_union_times(a, b, &both);
  return both > 0;
}

bool bc_extent_overlap(const bc_extent *a, const bc_extent *b)
{
  uint64_t levels = 0;
  if (a->y0 >= b->y0 + b->ny || b->y0 >= a->y0 + a->ny || a->x0 >= b->x0 + b->nx || b->x0 >= a->x0 + a->nx)
    return false;
  for (int i = 0; i < BC_LEVEL_WORDS; i++)
    levels |= a->levels[i] & b->levels[i];
  return levels != 0 && bc_extent_share_steps(a, b);
}

bool bc_extent_dense(const bc_extent *a, const bc_extent *b)
{
  const bool box = bc_extent_same_box(a, b), levels = bc_extent_same_levels(a, b);
  size_t both = 0;
  if (box && levels) return true;
  const size_t steps = bc_extent_union_times(a, b, &both);
  const bool times = steps == a->nt && steps == b->nt;
  if (times && (levels ? boxes_join(a, b) : box)) return true;
  return (box_holds(a, b) && levels_hold(a, b) && steps == a->nt) ||
         (box_holds(b, a) && levels_hold(b, a) && steps == b->nt);
}

void bc_extent_hull(bc_extent *a, const bc_extent *b)
{
  const uint32_t y1 = BC_MAX(a->y0 + a->ny, b->y0 + b->ny), x1 = BC_MAX(a->x0 + a->nx, b->x0 + b->nx);
  a->y0 = BC_MIN(a->y0, b->y0);
  a->x0 = BC_MIN(a->x0, b->x0);
  a->ny = y1 - a->y0;
  a->nx = x1 - a->x0;
  for (int i = 0; i < BC_LEVEL_WORDS; i++)
    a->levels[i] |= b->levels[i];
}

size_t bc_extent_merge_times(const bc_extent *a, const bc_extent *b, int64_t *out)
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
