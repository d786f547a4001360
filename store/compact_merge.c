/*
 * Making one tile of several pieces. compact_plan.c says which, the other parts are in compact_merge_int.h.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/compact_merge_int.h"

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
  if (m == NULL) return bc_compact_no_memory(err);
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

/* ---- making the merged tile ---- */

static void dispose_merged(bc_merged *g)
{
  bc_free(g->times);
  bc_free(g->sources);
  bc_free(g->v);
  bc_free(g->packing);
  bc_free(g->q);
}

size_t bc_merged_step(const bc_merged *g, int64_t t)
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

static size_t find_level(const bc_merged *g, uint16_t level)
{
  size_t i = 0;
  while (g->levels[i] != level)
    i++;
  return i;
}

/* In the order of the lowest piece, then of the others. */
static void add_levels(bc_merged *g, const bc_tile_head *h)
{
  for (uint32_t l = 0; l < h->nl; l++) {
    const uint16_t level = bc_tile_level(h, l);
    bool have = false;
    for (uint32_t i = 0; i < g->nl; i++)
      have = have || g->levels[i] == level;
    if (!have) g->levels[g->nl++] = level;
  }
}

static bc_status add_sources(bc_merged *g, const bc_tile_head *h, bc_err *err)
{
  uint32_t *p = bc_realloc(g->sources, ((size_t)g->n_sources + h->n_sources + 1) * sizeof *p);
  if (p == NULL) return bc_compact_no_memory(err);
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

static bc_status gather_times(bc_merged *g, bc_err *err)
{
  size_t n = 0, all = 0;
  for (size_t i = 0; i < g->p->n; i++)
    all += g->p->parts[i].e.nt;
  g->times = bc_malloc(all * sizeof *g->times);
  if (g->times == NULL) return bc_compact_no_memory(err);
  for (size_t i = 0; i < g->p->n; i++) {
    const bc_extent *e = &g->p->parts[i].e;
    memcpy(g->times + n, e->t, e->nt * sizeof *e->t);
    n += e->nt;
  }
  if (n > 1) qsort(g->times, n, sizeof *g->times, by_time);
  for (size_t i = 0; i < n; i++)
    if (g->e.nt == 0 || g->times[g->e.nt - 1] != g->times[i]) g->times[g->e.nt++] = g->times[i];
  g->e.t = g->times;
  return BC_OK;
}

static bc_status lay_out(bc_merged *g, bc_err *err)
{
  size_t bytes = 0;
  g->e = g->p->parts[0].e;
  g->e.nt = 0;
  BC_RET(gather_times(g, err));
  for (size_t i = 0; i < g->p->n; i++) {
    bc_extent_hull(&g->e, &g->p->parts[i].e);
    add_levels(g, &g->p->parts[i].tile.head);
    BC_RET(add_sources(g, &g->p->parts[i].tile.head, err));
  }
  g->plane = (size_t)g->e.ny * g->e.nx;
  if (!bc_mul_sz(g->plane, g->nl, &g->step) || !bc_mul_sz(g->step, g->e.nt * sizeof *g->v, &bytes))
    return BC_FAIL(err, BC_E_RANGE, "compact: a tile of %zu steps is too large", g->e.nt);
  g->v = bc_malloc(bytes);
  return g->v == NULL ? bc_compact_no_memory(err) : BC_OK;
}

/* Steps that follow one another evenly in the merged tile are decoded at once. */
static bc_status decode_block(bc_merged *g, const bc_tile *t, uint32_t b, bc_err *err)
{
  const bc_tile_head *h = &t->head;
  bc_block_place at;
  bc_tile_block(h, b, &at);
  const size_t level = find_level(g, bc_tile_level(h, at.l));
  float *const to =
      g->v + level * g->plane + (size_t)(h->y0 + at.y0 - g->e.y0) * g->e.nx + (h->x0 + at.x0 - g->e.x0);
  for (uint32_t i = 0; i < at.nt;) {
    const size_t k = bc_merged_step(g, bc_tile_time(h, at.t0 + i));
    size_t apart = 1;
    uint32_t n = 1;
    for (; i + n < at.nt; n++) {
      const size_t next = bc_merged_step(g, bc_tile_time(h, at.t0 + i + n));
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

/* ---- encoding ---- */

static bc_status encode(bc_merged *g, const bc_grid *grid, bc_err *err)
{
  const bc_tile_head *low = &g->p->parts[0].tile.head;
  const uint32_t cny = bc_grid_cell_ny(grid), cnx = bc_grid_cell_nx(grid);
  uint32_t cy = 0, cx = 0;
  bool raw = true;
  bc_cell_position(low->key.cell & ((1u << BC_CELL_BITS) - 1), &cy, &cx);
  for (size_t i = 0; i < g->p->n; i++)
    raw = raw && g->p->parts[i].tile.head.codec == BC_CODEC_RAW;
  const bool packed = !raw && bc_merge_pack(g);
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
  bc_merge_sets p = { 0 };
  bc_merged g = { .m = m, .p = &p };
  BC_TRY(bc_merge_open_parts(m, snap, pieces, n, &p, err));
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
  bc_merge_dispose(&p);
  return st;
}
