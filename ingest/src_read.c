/*
 * Values of raster variables: slabs read from the file in one piece where order and type allow, else in
 * pieces of bounded size along the file's chunks, reordered and unpacked.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ingest/src_int.h"

#define SCRATCH_BYTES ((size_t)32 << 20) /* of one piece, unless a single plane is larger */

enum { SCRATCH_RAW, SCRATCH_ORDERED, SCRATCH_OTHER };

/* A block of one variable: steps and levels of the file, one expver, all rows and columns. */
typedef struct piece {
  size_t t, nt, l, nl, e;
} piece;

static bc_status get_scratch(bc_raster *r, int which, size_t n, void **out, bc_err *err)
{
  bc_scratch *s = &r->scratch[which];

  if (s->n < n) {
    bc_free(s->p);
    s->n = 0;
    s->p = bc_malloc(n);
    if (s->p == NULL)
      return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory: one piece needs %zu bytes", r->nc->label, n);
    s->n = n;
  }
  *out = s->p;
  return BC_OK;
}

static bc_status plane_bytes(const bc_raster *r, const bc_raster_var *v, size_t elem, size_t *out,
                             bc_err *err)
{
  if (!bc_mul_sz(v->ny, v->nx, out) || !bc_mul_sz(*out, elem, out) || *out > SIZE_MAX / 4)
    return BC_FAIL(err, BC_E_RANGE, "%s: %s: %zu x %zu nodes are too many", r->nc->label, v->nc->name, v->ny,
                   v->nx);
  return BC_OK;
}

/* ---- the library's chunk cache ---- */
/* Enough for every chunk that a slab of chunk_steps steps touches; the variable before gives its share back.
 */
static void set_cache(bc_raster *r, const bc_raster_var *v)
{
  size_t chunks = 1, chunk = bc_raw_size(v->nc->raw);

  if (r->cached == v) return;
  if (r->cached != NULL) bc_nc_cache(r->nc, r->cached->nc, 0, 1);
  r->cached = v;
  for (int d = 0; d < v->nc->n_dims && v->nc->chunked; d++) {
    const size_t len = r->nc->dims[v->nc->dims[d]].len, c = BC_MAX(v->nc->chunks[d], 1u);
    if (!bc_mul_sz(chunk, c, &chunk)) return;
    if (d != v->at.t && !bc_mul_sz(chunks, (len + c - 1) / c, &chunks)) return;
  }
  if (!bc_mul_sz(chunk, chunks, &chunk)) chunk = SIZE_MAX;
  bc_nc_cache(r->nc, v->nc, (size_t)BC_MIN((uint64_t)chunk, r->cache_bytes), chunks);
}

/* ---- reordering ---- */
/* Sizes and, in elements, where a step along (time, level, latitude, longitude) leads. */
typedef struct order {
  size_t n[4], src[4], dst[4];
  int fast;     /* the dimension that lies together in the file; 0 when it is longitude */
  int rest[2];  /* the other two */
  size_t block; /* longitudes at a time: few enough that the lines of the file stay in the cache */
} order;

#define REORDER(NAME, T)                                                                                     \
  static void NAME(const order *o, const T *src, T *dst)                                                     \
  {                                                                                                          \
    const int a = o->rest[0], b = o->rest[1], f = o->fast;                                                   \
    for (size_t i = 0; i < o->n[a]; i++)                                                                     \
      for (size_t j = 0; j < o->n[b]; j++)                                                                   \
        for (size_t x0 = 0; x0 < o->n[3]; x0 += o->block)                                                    \
          for (size_t k = 0; k < o->n[f]; k++) {                                                             \
            const T *s = src + i * o->src[a] + j * o->src[b] + k * o->src[f];                                \
            T *d = dst + i * o->dst[a] + j * o->dst[b] + k * o->dst[f];                                      \
            for (size_t x = x0; x < BC_MIN(x0 + o->block, o->n[3]); x++)                                     \
              d[x] = s[x * o->src[3]];                                                                       \
          }                                                                                                  \
  }
REORDER(reorder8, uint8_t)
REORDER(reorder16, uint16_t)
REORDER(reorder32, uint32_t)
REORDER(reorder64, uint64_t)

static order make_order(const bc_raster_var *v, const size_t *count)
{
  const int at[4] = { v->at.t, v->at.l, v->at.y, v->at.x };
  order o = { .n = { 1, 1, 1, 1 }, .fast = 0, .rest = { 1, 2 }, .block = 32 };
  size_t stride = 1;

  for (int d = v->nc->n_dims - 1; d >= 0; d--) {
    for (int k = 0; k < 4; k++) {
      if (at[k] != d) continue;
      o.n[k] = count[d];
      o.src[k] = stride;
      if (stride == 1 && count[d] > 1 && k < 3) o.fast = k;
    }
    stride *= count[d];
  }
  o.dst[3] = 1;
  for (int k = 2; k >= 0; k--)
    o.dst[k] = o.dst[k + 1] * o.n[k + 1];
  o.rest[0] = o.fast == 0 ? 1 : 0;
  o.rest[1] = o.fast == 2 ? 1 : 2;
  if (o.src[3] == 1) o.block = o.n[3];
  return o;
}

/* From the file's order of dimensions to (time, level, latitude, longitude). */
static void reorder(const bc_raster_var *v, const size_t *count, const void *src, void *dst)
{
  const order o = make_order(v, count);

  switch (bc_raw_size(v->nc->raw)) {
  case 1: reorder8(&o, src, dst); break;
  case 2: reorder16(&o, src, dst); break;
  case 4: reorder32(&o, src, dst); break;
  default: reorder64(&o, src, dst); break;
  }
}

/* ---- one piece ---- */
static bool is_as_stored(const bc_raster_var *v) /* the numbers of the file are those delivered */
{
  return v->pub.var.dtype == BC_I16 || (v->nc->raw == BC_RAW_F32 && !v->unpack.scaled);
}

static void mask_in_place(const bc_raster_var *v, void *p, size_t n)
{
  if (v->pub.var.dtype == BC_I16) {
    bc_unpack_i16(&v->unpack, (int16_t)v->packing.fill, p, n);
  } else if (bc_unpack_masks(&v->unpack)) {
    bc_unpack_f32(&v->unpack, p, n, p);
  }
}

/* dst: [nt][nl][ny][nx] of var.dtype */
static bc_status read_piece(bc_raster *r, const bc_raster_var *v, const piece *p, void *dst, bc_err *err)
{
  size_t start[BC_NC_MAX_DIMS] = { 0 }, count[BC_NC_MAX_DIMS], bytes = 0, n = p->nt * p->nl * v->ny * v->nx;
  void *raw = dst, *ordered = dst;

  for (int d = 0; d < BC_NC_MAX_DIMS; d++)
    count[d] = 1;
  if (v->at.t >= 0) {
    start[v->at.t] = p->t;
    count[v->at.t] = p->nt;
  }
  if (v->at.l >= 0) {
    start[v->at.l] = p->l;
    count[v->at.l] = p->nl;
  }
  if (v->at.e >= 0) start[v->at.e] = p->e;
  count[v->at.y] = v->ny;
  count[v->at.x] = v->nx;
  BC_RET(plane_bytes(r, v, bc_raw_size(v->nc->raw), &bytes, err));
  bytes *= p->nt * p->nl; /* bounded by the plan of pieces, or by dst */
  if (!v->in_order || !is_as_stored(v)) BC_RET(get_scratch(r, SCRATCH_RAW, bytes, &raw, err));
  BC_RET(bc_nc_read(r->nc, v->nc, start, count, (int64_t)p->t, raw, err));
  ordered = raw;
  if (!v->in_order) {
    if (is_as_stored(v))
      ordered = dst;
    else
      BC_RET(get_scratch(r, SCRATCH_ORDERED, bytes, &ordered, err));
    reorder(v, count, raw, ordered);
  }
  if (is_as_stored(v))
    mask_in_place(v, dst, n);
  else
    bc_unpack_f32(&v->unpack, ordered, n, dst);
  return BC_OK;
}

static size_t chunk_len(const bc_raster_var *v, int d)
{
  return d >= 0 && v->nc->chunked ? BC_MAX(v->nc->chunks[d], 1u) : 1;
}

/* At most want from position at, ending on a chunk's border where one is within reach. */
static size_t up_to_border(size_t at, size_t want, size_t chunk, size_t left)
{
  const size_t end = (at + want) / chunk * chunk;

  if (want >= left) return left;
  return end > at ? end - at : want;
}

/* n consecutive steps of the file. dst: [n][levels][ny][nx] */
static bc_status read_run(bc_raster *r, const bc_raster_var *v, size_t t, size_t n, size_t e, void *dst,
                          bc_err *err)
{
  const size_t elem = bc_dtype_size(v->pub.var.dtype);
  const bool whole = v->in_order && is_as_stored(v);
  size_t plane = 0, planes;

  BC_RET(plane_bytes(r, v, BC_MAX(bc_raw_size(v->nc->raw), elem), &plane, err));
  planes = BC_MAX(SCRATCH_BYTES / BC_MAX(plane, 1u), 1u);
  for (size_t i = 0; i < n;) {
    const size_t steps =
        whole ? n : up_to_border(t + i, BC_MAX(planes / v->nl, 1u), chunk_len(v, v->at.t), n - i);
    for (size_t l = 0; l < v->nl;) {
      const size_t levels =
          whole || planes >= v->nl ? v->nl : up_to_border(l, planes, chunk_len(v, v->at.l), v->nl - l);
      const piece p = { .t = t + i, .nt = steps, .l = l, .nl = levels, .e = e };
      BC_RET(read_piece(r, v, &p, (uint8_t *)dst + (i * v->nl + l) * v->ny * v->nx * elem, err));
      l += levels;
    }
    i += steps;
  }
  return BC_OK;
}

/* ---- two versions ---- */
static bool is_missing_at(const bc_raster_var *v, const void *p, size_t i)
{
  if (v->pub.var.dtype == BC_I16) return v->packing.has_fill && ((const int16_t *)p)[i] == v->packing.fill;
  return isnan(((const float *)p)[i]) != 0;
}

static bool all_missing(const bc_raster_var *v, const void *p, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    if (!is_missing_at(v, p, i)) return false;
  }
  return true;
}

static bool any_missing(const bc_raster_var *v, const void *p, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    if (is_missing_at(v, p, i)) return true;
  }
  return false;
}

static void fill_missing(const bc_raster_var *v, void *p, const void *from, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    if (!is_missing_at(v, p, i)) continue;
    if (v->pub.var.dtype == BC_I16)
      ((int16_t *)p)[i] = ((const int16_t *)from)[i];
    else
      ((float *)p)[i] = ((const float *)from)[i];
  }
}

/* Where the final version has no value the preliminary one stands in. */
static bc_status fill_from_preliminary(bc_raster *r, const bc_raster_var *v, size_t t, size_t n, uint8_t *dst,
                                       bc_err *err)
{
  const size_t frame = v->nl * v->ny * v->nx, bytes = frame * bc_dtype_size(v->pub.var.dtype);
  void *other = NULL;

  for (size_t i = 0; i < n; i++, dst += bytes) {
    if (!any_missing(v, dst, frame)) continue;
    BC_RET(get_scratch(r, SCRATCH_OTHER, bytes, &other, err));
    BC_RET(read_run(r, v, t + i, 1, v->prelim, other, err));
    fill_missing(v, dst, other, frame);
  }
  return BC_OK;
}

bc_status bc_raster_count_final(bc_raster *r, const bc_raster_var *v, size_t *n, bc_err *err)
{
  size_t bytes = 0;
  void *p = NULL;

  *n = 0;
  set_cache(r, v);
  BC_RET(plane_bytes(r, v, sizeof(float), &bytes, err));
  BC_RET(get_scratch(r, SCRATCH_OTHER, bytes, &p, err));
  for (size_t i = 0; i < v->time->n; i++) {
    const piece one = { .t = v->time->from[i], .nt = 1, .l = 0, .nl = 1, .e = v->final };
    BC_RET(read_piece(r, v, &one, p, err));
    *n += !all_missing(v, p, v->ny * v->nx);
  }
  return BC_OK;
}

/* ---- the calls of others ---- */
bc_status bc_raster_compare(bc_raster *r, const bc_raster_var *v, size_t a, size_t b, bool *equal,
                            bc_err *err)
{
  bc_status st = BC_OK;
  size_t bytes = 0;
  void *pa = NULL, *pb = NULL;

  *equal = false;
  BC_RET(plane_bytes(r, v, bc_dtype_size(v->pub.var.dtype), &bytes, err));
  pa = bc_malloc(bytes);
  pb = bc_malloc(bytes);
  if (pa == NULL || pb == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "%s: out of memory: two planes of %zu bytes", r->nc->label, bytes);
    goto out;
  }
  *equal = true;
  for (size_t l = 0; *equal && l < v->nl; l++) {
    const piece one = { .t = a, .nt = 1, .l = l, .nl = 1, .e = v->final };
    const piece two = { .t = b, .nt = 1, .l = l, .nl = 1, .e = v->final };
    BC_TRY(read_piece(r, v, &one, pa, err));
    BC_TRY(read_piece(r, v, &two, pb, err));
    *equal = memcmp(pa, pb, bytes) == 0;
  }
out:
  bc_free(pa);
  bc_free(pb);
  return st;
}

bc_status bc_raster_read(bc_raster *r, const bc_raster_var *v, int64_t t0, int64_t n, void *dst, bc_err *err)
{
  const size_t elem = bc_dtype_size(v->pub.var.dtype);
  const int64_t all = v->pub.var.shape[0];
  const int64_t shape[4] = { n, (int64_t)v->nl, (int64_t)v->ny, (int64_t)v->nx };
  const size_t frame = v->nl * v->ny * v->nx * elem;
  size_t bytes = 0;

  if (t0 < 0 || n < 0 || t0 > all || n > all - t0)
    return BC_FAIL(err, BC_E_RANGE, "%s: %s has %" PRId64 " steps: %" PRId64 " from %" PRId64 " asked for",
                   r->nc->label, v->pub.var.name, all, n, t0);
  if (!bc_shape_bytes(shape, 4, elem, &bytes))
    return BC_FAIL(err, BC_E_RANGE, "%s: %s: %" PRId64 " steps are too many", r->nc->label, v->pub.var.name,
                   n);
  set_cache(r, v);
  for (int64_t i = 0; i < n;) {
    const size_t *from = v->time->from + t0 + i;
    uint8_t *p = (uint8_t *)dst + (size_t)i * frame;
    size_t run = 1;
    while (i + (int64_t)run < n && from[run] == from[run - 1] + 1)
      run++;
    BC_RET(read_run(r, v, *from, run, v->final, p, err));
    if (v->has_two_expvers) BC_RET(fill_from_preliminary(r, v, *from, run, p, err));
    i += (int64_t)run;
  }
  return BC_OK;
}
