/*
 * zstd's own time for the blocks that a query touches: the frames inside of them are found by the store's
 * index and docs/format.md, then decompressed by the library alone, without checksum, prediction or float.
 */
#include "tools/bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "query/select.h"
#include "store/snapshot.h"

#define PLANE_ZSTD 0x80000000u

typedef struct frame {
  const uint8_t *src;
  size_t n, out; /* stored and decoded bytes */
  bool zstd;     /* else stored as it is */
} frame;

typedef struct frames {
  bc_store *st;
  bc_snapshot *snap;
  const bc_modality *m;
  bc_select sel;
  bc_box box;
  bc_tile_key *keys;
  bc_tile_rec *recs;
  bc_tile *tiles; /* kept open: frames point into them */
  size_t n_tiles, cap_tiles;
  frame *v;
  size_t n, cap;
  size_t out, largest;
  uint8_t *dst, *packed; /* decoded; one frame compressed anew */
  ZSTD_DCtx *z;
  ZSTD_CCtx *c;
} frames;

static bool grow(void **list, size_t *cap, size_t n, size_t elem)
{
  if (n < *cap) return true;
  const size_t more = *cap > 0 ? 2 * *cap : 256;
  void *p = realloc(*list, more * elem);
  if (!p) return false;
  *list = p;
  *cap = more;
  return true;
}

static bool add_frame(frames *f, const uint8_t *p, size_t n, size_t out, bool zstd)
{
  if (!grow((void **)&f->v, &f->cap, f->n, sizeof *f->v)) return false;
  f->v[f->n++] = (frame){ p, n, out, zstd };
  f->out += out;
  f->largest = BC_MAX(f->largest, out);
  return true;
}

/* Byte planes: a table of lengths, then the planes. */
static bool add_planes(frames *f, bc_bytes b, size_t n, size_t elem)
{
  size_t at = 4 * elem;
  for (size_t i = 0; i < elem; i++) {
    const uint32_t word = bc_le32(b.p + 4 * i), stored = word & ~PLANE_ZSTD;
    if (!add_frame(f, b.p + at, stored, n, (word & PLANE_ZSTD) != 0)) return false;
    at += stored;
  }
  return at == b.n;
}

static bool add_block(frames *f, const bc_tile *t, const bc_block_place *at)
{
  const uint8_t *p = t->payload.p + at->offset;
  const size_t n = (size_t)at->nt * at->ny * at->nx, elem = bc_dtype_size(t->head.dtype);
  if (t->head.codec == BC_CODEC_RAW) return add_frame(f, p, n * elem, n * elem, false);
  if (p[0] == BC_CODEC_CONST) return true;
  if (p[0] == BC_CODEC_SHUFFLE) return add_planes(f, (bc_bytes){ p + 1, (size_t)at->stored - 1 }, n, elem);
  const size_t decoded = bc_le32(p + 2), stored = bc_le32(p + 6), skip = 10 + stored;
  return add_frame(f, p + 10, stored, decoded, stored < decoded) &&
         add_planes(f, (bc_bytes){ p + skip, (size_t)at->stored - skip }, n, 2);
}

/* Rows or columns [first, first + n) of a block against those of the box, which may pass the grid's end. */
static bool meets(int64_t first, int64_t n, int64_t box, int64_t box_n, int64_t wrap)
{
  for (int64_t w = 0; w <= wrap; w += wrap > 0 ? wrap : 1)
    if (first + w < box + box_n && box < first + w + n) return true;
  return false;
}

static bool touched(const frames *f, const bc_tile *t, const bc_block_place *at)
{
  const bc_grid *g = bc_snapshot_grid(f->snap, f->m->grid);
  uint32_t cy, cx;
  bc_cell_position(t->key.cell & ((1u << BC_CELL_BITS) - 1u), &cy, &cx);
  const int64_t row = (int64_t)cy * bc_grid_cell_ny(g) + t->head.y0 + at->y0;
  const int64_t col = (int64_t)cx * bc_grid_cell_nx(g) + t->head.x0 + at->x0;
  if (!meets(row, at->ny, f->box.y, f->box.ny, 0) ||
      !meets(col, at->nx, f->box.x, f->box.nx, g->wraps ? g->nx : 0))
    return false;
  return bc_tile_time(&t->head, at->t0) < f->sel.t_end &&
         bc_tile_time(&t->head, at->t0 + at->nt - 1) >= f->sel.t_begin;
}

static bc_status each_tile(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  frames *f = ctx;
  size_t cap = f->cap_tiles;
  if (!grow((void **)&f->keys, &cap, f->n_tiles, sizeof *f->keys) ||
      !grow((void **)&f->recs, &f->cap_tiles, f->n_tiles, sizeof *f->recs))
    return BC_FAIL(err, BC_E_NOMEM, "no memory");
  f->keys[f->n_tiles] = *key;
  f->recs[f->n_tiles++] = *rec;
  return BC_OK;
}

static bc_status find_modality(frames *f, const char *name, bc_err *err)
{
  for (size_t i = 0; i < bc_snapshot_modalities(f->snap); i++) {
    f->m = bc_snapshot_modality(f->snap, i);
    if (strcmp(f->m->name, name) == 0) return BC_OK;
  }
  return BC_FAIL(err, BC_E_NOTFOUND, "no variable %s", name);
}

static bc_status open_all(frames *f, const bench_query *a, bc_err *err)
{
  BC_RET(bc_store_open(a->store, BC_OPEN_READ, &f->st, err));
  BC_RET(bc_snapshot_open(f->st, &f->snap, err));
  BC_RET(find_modality(f, a->vars, err));
  bc_select_init(&f->sel);
  BC_RET(bc_select_set_time(&f->sel, a->time, err));
  if (a->bbox) BC_RET(bc_select_set_bbox(&f->sel, a->bbox, err));
  if (a->at) BC_RET(bc_select_add_at(&f->sel, a->at, err));
  const bc_grid *g = bc_snapshot_grid(f->snap, f->m->grid);
  if (a->at) {
    double off;
    f->box.ny = f->box.nx = 1;
    if (bc_grid_row(g, f->sel.points[0].lat, &f->box.y, &off) &&
        bc_grid_col(g, f->sel.points[0].lon, &f->box.x, &off))
      return BC_OK;
    return BC_FAIL(err, BC_E_RANGE, "the point lies outside the grid");
  }
  return bc_grid_box(g, f->sel.west, f->sel.south, f->sel.east, f->sel.north, &f->box, err);
}

static bc_status scan(frames *f, bc_err *err)
{
  const bc_grid *g = bc_snapshot_grid(f->snap, f->m->grid);
  const int64_t from = bc_bucket_floor(f->m->bucket, f->sel.t_begin);
  for (uint32_t cy = 0; cy < bc_grid_cells_y(g); cy++)
    for (uint32_t cx = 0; cx < bc_grid_cells_x(g); cx++) {
      const uint32_t cell = (uint32_t)f->m->grid << BC_CELL_BITS | bc_cell_number(cy, cx);
      BC_RET(bc_snapshot_scan(f->snap, cell, from, f->sel.t_end, &f->m->id, 1, each_tile, f, err));
    }
  return BC_OK;
}

static bc_status collect(frames *f, bc_err *err)
{
  BC_RET(scan(f, err));
  f->tiles = calloc(f->n_tiles + 1, sizeof *f->tiles);
  if (!f->tiles) return BC_FAIL(err, BC_E_NOMEM, "no memory");
  for (size_t i = 0; i < f->n_tiles; i++) {
    bc_tile *t = &f->tiles[i];
    BC_RET(bc_snapshot_tile(f->snap, &f->keys[i], &f->recs[i], t, err));
    for (uint32_t b = 0; b < t->head.n_blocks; b++) {
      bc_block_place at;
      bc_tile_block(&t->head, b, &at);
      if (touched(f, t, &at) && !add_block(f, t, &at))
        return BC_FAIL(err, BC_E_CORRUPT, "block %u of a tile is not laid out as expected", b);
    }
  }
  return f->n > 0 ? BC_OK : BC_FAIL(err, BC_E_NOTFOUND, "no block is touched");
}

bool bench_blocks_open(bench_way *w)
{
  bc_err err = { .msg = "" };
  frames *f = calloc(1, sizeof *f);
  if (!f) return bench_fail(w, "no memory");
  w->state = f;
  f->z = ZSTD_createDCtx();
  bc_status st = open_all(f, w->arg, &err);
  if (st == BC_OK) st = collect(f, &err);
  if (!bench_ok(w, st, &err)) return false;
  f->dst = bench_alloc(f->out);
  return true;
}

static bool decode(bench_way *w, bool keep)
{
  const frames *f = w->state;
  uint8_t *to = f->dst;
  for (size_t i = 0; i < f->n; i++) {
    const frame *v = &f->v[i];
    if (!v->zstd)
      memcpy(to, v->src, v->n);
    else if (ZSTD_decompressDCtx(f->z, to, v->out, v->src, v->n) != v->out)
      return bench_fail(w, "frame %zu of %zu does not decode", i, f->n);
    if (keep) to += v->out;
  }
  return true;
}

bool bench_blocks_keep(bench_way *w) { return decode(w, true); }
bool bench_blocks_small(bench_way *w) { return decode(w, false); }

/* What no ingest that stores these bytes can go below: the planes compressed anew, those included that the
 * store keeps as they are because it found them to be noise. */
enum { LEVEL = 3 /* of ingest */ };

bool bench_blocks_compress_open(bench_way *w)
{
  if (!bench_blocks_open(w) || !bench_blocks_keep(w)) return false;
  frames *f = w->state;
  f->c = ZSTD_createCCtx();
  f->packed = bench_alloc(ZSTD_compressBound(f->largest));
  return f->c != NULL || bench_fail(w, "no memory");
}

bool bench_blocks_compress(bench_way *w)
{
  const frames *f = w->state;
  const uint8_t *from = f->dst;
  const size_t cap = ZSTD_compressBound(f->largest);
  for (size_t i = 0; i < f->n; i++) {
    if (ZSTD_isError(ZSTD_compressCCtx(f->c, f->packed, cap, from, f->v[i].out, LEVEL)))
      return bench_fail(w, "frame %zu of %zu does not compress", i, f->n);
    from += f->v[i].out;
  }
  return true;
}
