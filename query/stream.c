/*
 * The answer handed out: slab after slab, or whole into a caller's buffer.
 */
#include <inttypes.h>
#include <string.h>

#include "query/exec.h"

/* The buffer of released batches, used again; it outlives the stream while a batch is out. */
typedef struct pool {
  int refs; /* the stream and its batches: one thread */
  void *spare;
  uint64_t spare_bytes;
} pool;

typedef struct slab { /* priv of a batch */
  bc_block block;
  pool *pool;
  void *data;
  uint64_t bytes;
} slab;

typedef struct run { /* priv of a stream */
  bc_query *q;
  bc_progress progress;
  size_t var, slab; /* next */
  size_t out;       /* steps of this variable handed out */
  bc_reducer *reducer;
  pool *pool;
  uint64_t done, total;
} run;

static void pool_unref(pool *p)
{
  if (--p->refs > 0) return;
  bc_free(p->spare);
  bc_free(p);
}

static void slab_close(slab *s)
{
  pool *p = s->pool;
  if (p->spare == NULL) {
    p->spare = s->data;
    p->spare_bytes = s->bytes;
  } else {
    bc_free(s->data);
  }
  bc_free(s);
  pool_unref(p);
}

static bc_status slab_open(pool *p, uint64_t bytes, slab **out, bc_err *err)
{
  size_t n = 0;
  *out = NULL;
  slab *s = bc_calloc(1, sizeof *s);
  if (s == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a batch");
  if (p->spare != NULL && p->spare_bytes < bytes) {
    bc_free(p->spare); /* first: both together would pass the budget */
    p->spare = NULL;
  }
  s->data = p->spare;
  s->bytes = p->spare_bytes;
  p->spare = NULL;
  if (s->data == NULL) {
    s->bytes = bytes;
    if (bc_u64_to_sz(bytes, &n)) s->data = bc_aligned_alloc64(n);
  }
  if (s->data == NULL) {
    bc_free(s);
    return BC_FAIL(err, BC_E_NOMEM, "no memory for %" PRIu64 " bytes of the answer", bytes);
  }
  s->pool = p;
  p->refs++;
  *out = s;
  return BC_OK;
}

static void release_batch(bc_batch *b)
{
  slab_close(b->priv);
  *b = (bc_batch){ 0 };
}

/* ---- steps to periods ---- */

static bc_status need_reducer(const bc_qvar *v, bc_reducer **r, bc_err *err)
{
  if (v->agg == BC_AGG_NONE || *r != NULL) return BC_OK;
  return bc_reduce_open(v->agg, (size_t)(v->step_bytes / sizeof(float)), r, err);
}

/* Takes in steps [from, to) and writes the periods that end in them to dst, which may be src: a period ends
 * no earlier than with as many steps as there are periods. Returns how many. */
static size_t reduce_slab(const bc_qvar *v, bc_reducer *r, size_t from, size_t to, const uint8_t *src,
                          uint8_t *dst)
{
  size_t n = 0;
  for (size_t k = from; k < to; k++) {
    bc_reduce_add(r, (const float *)(const void *)(src + (k - from) * v->step_bytes));
    if (k + 1 < v->axes.n_steps && v->period[k + 1] == v->period[k]) continue;
    bc_reduce_finish(r, dst + n * v->step_bytes);
    n++;
  }
  return n;
}

/* ---- stream ---- */

static void describe_block(const bc_qvar *v, size_t first, size_t n, const void *data, bc_block *b)
{
  int64_t stride = sizeof(float);
  *b = (bc_block){ .var = &v->var, .data = data };
  for (int32_t d = v->var.ndim - 1; d >= 0; d--) {
    b->shape[d] = v->var.shape[d];
    b->stride[d] = stride;
    stride *= v->var.shape[d];
  }
  if (v->is_static) return;
  b->start[0] = (int64_t)first;
  b->shape[0] = (int64_t)n;
}

static void report(run *r, const bc_qvar *v, uint64_t bytes)
{
  r->done += bytes;
  if (r->progress.tick != NULL) r->progress.tick(r->progress.ctx, r->done, r->total, v->m.name);
}

/* One slab of variable v; *n = 0 when it completes no period. */
static bc_status read_slab(run *r, const bc_qvar *v, slab **out, size_t *n, bc_err *err)
{
  bc_status st = BC_OK;
  slab *s = NULL;
  const size_t from = v->cuts[r->slab], to = v->cuts[r->slab + 1];
  *out = NULL;
  *n = to - from;
  if (r->progress.cancelled != NULL && r->progress.cancelled(r->progress.ctx))
    return BC_FAIL(err, BC_E_CANCELLED, "cancelled");
  BC_TRY(need_reducer(v, &r->reducer, err));
  BC_TRY(slab_open(r->pool, (to - from) * v->step_bytes, &s, err));
  BC_TRY(bc_exec_steps(r->q, v, from, to, s->data, &r->progress, err));
  if (v->agg != BC_AGG_NONE) *n = reduce_slab(v, r->reducer, from, to, s->data, s->data);
  r->slab++;
  if (*n == 0) goto out;
  *out = s;
  s = NULL;
out:
  if (s != NULL) slab_close(s);
  return st;
}

static bc_status next_batch(bc_stream *stream, bc_batch *out, bc_err *err)
{
  run *r = stream->priv;
  *out = (bc_batch){ 0 };
  while (r->var < r->q->n_vars) {
    const bc_qvar *v = &r->q->vars[r->var];
    slab *s = NULL;
    size_t n = 0;
    if (r->slab == v->n_slabs) {
      bc_reduce_close(r->reducer);
      r->reducer = NULL;
      r->var++;
      r->slab = r->out = 0;
      continue;
    }
    BC_RET(read_slab(r, v, &s, &n, err));
    if (s == NULL) continue;
    describe_block(v, r->out, n, s->data, &s->block);
    r->out += n;
    report(r, v, n * v->step_bytes);
    *out = (bc_batch){ 1, &s->block, release_batch, s };
    return BC_OK;
  }
  return BC_OK;
}

static void release_stream(bc_stream *stream)
{
  run *r = stream->priv;
  bc_reduce_close(r->reducer);
  pool_unref(r->pool);
  bc_free(r);
  memset(stream, 0, sizeof *stream);
}

bc_status bc_query_stream(bc_query *q, const bc_progress *progress, bc_stream *out, bc_err *err)
{
  bc_query_cost cost;
  memset(out, 0, sizeof *out);
  run *r = bc_calloc(1, sizeof *r);
  pool *p = bc_calloc(1, sizeof *p);
  if (r == NULL || p == NULL) {
    bc_free(r);
    bc_free(p);
    return BC_FAIL(err, BC_E_NOMEM, "no memory for a stream");
  }
  bc_query_get_cost(q, -1, &cost);
  p->refs = 1;
  r->q = q;
  r->pool = p;
  r->total = cost.output_bytes;
  if (progress != NULL) r->progress = *progress;
  *out = (bc_stream){ .n_vars = (int32_t)q->n_vars,
                      .vars = q->list,
                      .attrs = q->attrs,
                      .n_attrs = (int32_t)BC_ARRAY_LEN(q->attrs),
                      .bytes = cost.output_bytes,
                      .next = next_batch,
                      .release = release_stream,
                      .priv = r };
  return BC_OK;
}

/* ---- whole ---- */

static bc_status read_periods(bc_query *q, const bc_qvar *v, uint8_t *dst, bc_err *err)
{
  bc_status st = BC_OK;
  bc_reducer *r = NULL;
  uint8_t *buf = NULL;
  uint64_t most = 0;
  for (size_t i = 0; i < v->n_slabs; i++)
    most = BC_MAX(most, (uint64_t)(v->cuts[i + 1] - v->cuts[i]));
  BC_TRY(need_reducer(v, &r, err));
  buf = bc_aligned_alloc64((size_t)(most * v->step_bytes));
  if (buf == NULL)
    st = BC_FAIL(err, BC_E_NOMEM, "no memory for %" PRIu64 " bytes of steps", most * v->step_bytes);
  for (size_t i = 0; st == BC_OK && i < v->n_slabs; i++) {
    BC_TRY(bc_exec_steps(q, v, v->cuts[i], v->cuts[i + 1], buf, NULL, err));
    dst += reduce_slab(v, r, v->cuts[i], v->cuts[i + 1], buf, dst) * v->step_bytes;
  }
out:
  bc_reduce_close(r);
  bc_free(buf);
  return st;
}

bc_status bc_query_read(bc_query *q, size_t ivar, void *dst, size_t bytes, bc_err *err)
{
  if (ivar >= q->n_vars) return BC_FAIL(err, BC_E_INVAL, "variable %zu of an answer of %zu", ivar, q->n_vars);
  const bc_qvar *v = &q->vars[ivar];
  if (bytes != v->cost.output_bytes)
    return BC_FAIL(err, BC_E_INVAL, "%s takes %" PRIu64 " bytes, the buffer has %zu", v->m.name,
                   v->cost.output_bytes, bytes);
  if (v->agg != BC_AGG_NONE) return read_periods(q, v, dst, err);
  return bc_exec_steps(q, v, 0, v->axes.n_steps, dst, NULL, err);
}
