#include "query/touch.h"

#include <stdlib.h>
#include <string.h>

bc_status bc_list_reserve(void **list, size_t *cap, size_t n, size_t elem, bc_err *err)
{
  size_t bytes = 0, want = *cap + *cap / 2;
  if (n <= *cap) return BC_OK;
  if (want < n) want = n;
  if (want < 16) want = 16;
  void *p = bc_mul_sz(want, elem, &bytes) ? bc_realloc(*list, bytes) : NULL;
  if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory to plan the query (%zu entries)", want);
  *list = p;
  *cap = want;
  return BC_OK;
}

size_t bc_lower_bound(const int64_t *v, size_t n, int64_t x)
{
  size_t lo = 0, hi = n;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (v[mid] < x)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

void bc_touch_init(bc_touch *t) { memset(t, 0, sizeof *t); }

void bc_touch_dispose(bc_touch *t)
{
  bc_free(t->step);
  bc_free(t->span);
  bc_free(t->level);
  bc_free(t->spot);
  bc_free(t->points);
  bc_touch_init(t);
}

#define RESERVE(list, cap, n)                                                                                \
  do {                                                                                                       \
    void *p_ = (list);                                                                                       \
    BC_RET(bc_list_reserve(&p_, &(cap), (n), sizeof *(list), err));                                          \
    (list) = p_;                                                                                             \
  } while (0)

/* ---- steps ---- */

static void end_span(bc_touch *t, size_t n)
{
  if (t->n_spans > 0) t->span[t->n_spans - 1].n = (uint32_t)n - t->span[t->n_spans - 1].first;
}

/* In an answer of a point this loop is a good part of the work: no division, no call for a step. */
static bc_status find_steps(bc_touch *t, const bc_axes *a, size_t from, size_t to, bc_err *err)
{
  const bc_tile_head *h = &t->head;
  RESERVE(t->step, t->cap_step, h->nt);
  RESERVE(t->span, t->cap_span, h->nt);
  const int64_t *steps = a->steps;
  const bool regular = h->regular;
  const uint32_t nt = h->nt;
  int64_t time = bc_tile_time(h, 0);
  bc_step_at *const found = t->step;
  size_t n = 0, k = from + bc_lower_bound(steps + from, to - from, time);
  uint64_t span_end = 0; /* step of the tile where the row of blocks ends */
  t->n_spans = 0;
  for (uint32_t i = 0; i < nt && k < to; i++) {
    if (i > 0) time = regular ? time + h->t_step : bc_tile_time(h, i);
    while (k < to && steps[k] < time)
      k++;
    if (k == to || steps[k] != time) continue;
    if (i >= span_end) {
      end_span(t, n);
      t->span[t->n_spans++] = (bc_span){ (uint32_t)n, 0 };
      span_end = ((uint64_t)i / h->bt + 1) * h->bt;
    }
    found[n++] = (bc_step_at){ i, (uint32_t)k };
  }
  end_span(t, n);
  t->n_steps = n;
  t->axes = a;
  t->from = from;
  t->to = to;
  return BC_OK;
}

/* Neighbouring cells of a bucket mostly have the same steps. */
static bool same_steps(const bc_touch *t, const bc_tile_head *h, const bc_axes *a, size_t from, size_t to)
{
  const bc_tile_head *o = &t->head;
  return t->axes == a && t->from == from && t->to == to && o->regular && h->regular && o->nt == h->nt &&
         o->bt == h->bt && o->t_first == h->t_first && o->t_step == h->t_step;
}

/* ---- levels ---- */

static bc_status find_levels(bc_touch *t, const bc_axes *a, bc_err *err)
{
  RESERVE(t->level, t->cap_level, a->n_levels);
  t->n_levels = 0;
  for (size_t i = 0; i < a->n_levels; i++) {
    uint32_t l = 0;
    while (l < t->head.nl && bc_tile_level(&t->head, l) != a->levels[i])
      l++;
    if (l < t->head.nl) t->level[t->n_levels++] = (bc_level_at){ l, (uint32_t)i };
  }
  return BC_OK;
}

/* ---- places ---- */

static bc_status find_box(bc_touch *t, const bc_where *w, bc_err *err)
{
  const bc_tile_head *h = &t->head;
  bc_pick rows, cols[2];
  uint32_t out[2];
  for (uint32_t y = 0; y < h->ny; y += h->by) {
    if (!bc_where_rows(w, t->area.row + y, BC_MIN(h->by, h->ny - y), &rows, out)) continue;
    for (uint32_t x = 0; x < h->nx; x += h->bx) {
      if (bc_where_cols(w, t->area.col + x, BC_MIN(h->bx, h->nx - x), cols, out) == 0) continue;
      RESERVE(t->spot, t->cap_spot, t->n_spots + 1);
      t->spot[t->n_spots++] = (bc_spot){ y, x, 0, 0 };
      if (h->nx - x <= h->bx) break; /* x + bx could overflow */
    }
    if (h->ny - y <= h->by) break;
  }
  return BC_OK;
}

static int by_block(const void *a, const void *b, const bc_touch *t)
{
  const bc_node *p = *(const bc_node *const *)a, *q = *(const bc_node *const *)b;
  const uint32_t py = (p->row - t->area.row) / t->head.by, qy = (q->row - t->area.row) / t->head.by;
  const uint32_t px = (p->col - t->area.col) / t->head.bx, qx = (q->col - t->area.col) / t->head.bx;
  if (py != qy) return py < qy ? -1 : 1;
  if (px != qx) return px < qx ? -1 : 1;
  return p < q ? -1 : p > q;
}

/* By merging: qsort could not know the tile's corner, and its order of equals is anyone's. */
static bc_status sort_points(bc_touch *t, size_t n, bc_err *err)
{
  RESERVE(t->points, t->cap_points, 2 * n);
  const bc_node **from = t->points, **to = t->points + n;
  for (size_t run = 1; run < n; run *= 2) {
    for (size_t lo = 0; lo < n; lo += 2 * run) {
      const size_t mid = BC_MIN(lo + run, n), hi = BC_MIN(lo + 2 * run, n);
      size_t i = lo, j = mid;
      for (size_t k = lo; k < hi; k++)
        to[k] = j == hi || (i < mid && by_block(&from[i], &from[j], t) <= 0) ? from[i++] : from[j++];
    }
    const bc_node **swap = from;
    from = to;
    to = swap;
  }
  if (from != t->points) memcpy(t->points, from, n * sizeof *from);
  return BC_OK;
}

static bc_status find_points(bc_touch *t, const bc_where *w, bc_err *err)
{
  const bc_tile_head *h = &t->head;
  size_t first = 0, all = 0, n = 0;
  bc_where_points(w, h->key.cell, &first, &all);
  RESERVE(t->points, t->cap_points, all);
  for (size_t i = first; i < first + all; i++) {
    const bc_node *p = &w->nodes[i];
    if (p->row - t->area.row < h->ny && p->col - t->area.col < h->nx) t->points[n++] = p;
  }
  BC_RET(sort_points(t, n, err));
  for (size_t i = 0; i < n; i++) {
    const uint32_t y = (t->points[i]->row - t->area.row) / h->by * h->by;
    const uint32_t x = (t->points[i]->col - t->area.col) / h->bx * h->bx;
    bc_spot *last = t->n_spots == 0 ? NULL : &t->spot[t->n_spots - 1];
    if (last != NULL && last->y == y && last->x == x) {
      last->n++;
      continue;
    }
    RESERVE(t->spot, t->cap_spot, t->n_spots + 1);
    t->spot[t->n_spots++] = (bc_spot){ y, x, i, 1 };
  }
  return BC_OK;
}

bc_status bc_touch_tile(bc_touch *t, bc_bytes head, const bc_where *w, const bc_axes *a, size_t from,
                        size_t to, bc_err *err)
{
  bc_tile_head h;
  BC_RET(bc_tile_head_parse(head, &h, err));
  const bool same = same_steps(t, &h, a, from, to);
  t->head = h;
  t->n_spots = t->n_levels = 0;
  if (!same) {
    t->axes = NULL; /* until the new ones are whole */
    BC_RET(find_steps(t, a, from, to, err));
  }
  BC_RET(bc_where_area(w, &t->head, &t->area, err));
  BC_RET(find_levels(t, a, err));
  return w->by_points ? find_points(t, w, err) : find_box(t, w, err);
}
