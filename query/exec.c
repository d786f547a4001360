#include "query/exec.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

struct bc_worker { /* what one thread keeps between calls */
  bc_decoder *decoder;
  bc_touch touch;
  const bc_ptile *touched; /* the tile that touch is of, during one call */
  uint8_t *gather;
  size_t cap_gather;
  uint64_t blocks, bytes; /* decoded during one call */
};

typedef struct job {
  bc_query *q;
  const bc_qvar *v;
  size_t from, to;
  uint8_t *dst;
  const bc_progress *progress;
  pthread_mutex_t lock; /* of all below */
  size_t at, end;       /* tiles not given out yet */
  uint32_t share;       /* of tile at */
  uint16_t rank;
  bc_status st;
  bc_err err;
} job;

typedef struct taker { /* a thread's way in */
  job *j;
  bc_worker *w;
  bool caller; /* the thread that called: it alone may call back */
} taker;

static bc_status no_memory(bc_err *err) { return BC_FAIL(err, BC_E_NOMEM, "no memory to decode"); }

/* ---- where a block's values go ---- */

/* The part of one block that the answer takes. Places in the block are relative to it. */
typedef struct part {
  const bc_ptile *tile;
  const bc_touch *touch;
  bc_block_place at;
  uint32_t number;
  const bc_step_at *step;
  uint32_t n_steps;
  uint8_t *dst; /* of the level, first step of the call */
  size_t from;
  ptrdiff_t step_bytes, row_bytes; /* row_bytes < 0: south to north */
  /* a box: picked rows, one or two pieces of picked columns; dst_row is of the first picked row */
  bc_pick y, x[2];
  uint32_t out_col[2], pieces;
  uint8_t *dst_row;
  /* or points */
  const bc_node *const *point;
  size_t n_points;
  uint32_t row0, col0; /* of the block, on the grid */
  /* what encloses all of it */
  bc_pick t_all, y_all, x_all;
} part;

static void enclose(part *p, uint32_t x_first, uint32_t x_last)
{
  const uint32_t t_first = p->step[0].tile, t_last = p->step[p->n_steps - 1].tile;
  p->t_all = (bc_pick){ t_first - p->at.t0, t_last - t_first + 1, 1 };
  p->x_all = (bc_pick){ x_first, x_last - x_first + 1, 1 };
}

static uint32_t last_of(bc_pick p) { return p.first + (p.n - 1) * p.step; }

static void place_box(part *p, const bc_where *w)
{
  uint32_t row = 0;
  (void)bc_where_rows(w, p->row0, p->at.ny, &p->y, &row); /* not empty: else the block were not touched */
  p->pieces = bc_where_cols(w, p->col0, p->at.nx, p->x, p->out_col);
  const ptrdiff_t bytes = (ptrdiff_t)w->ncol * (ptrdiff_t)sizeof(float);
  p->row_bytes = w->lat_ascending ? -bytes : bytes;
  p->dst_row = p->dst + (w->lat_ascending ? w->nrow - 1 - row : row) * bytes;
  p->y_all = p->y;
  uint32_t first = p->x[0].first, last = last_of(p->x[0]);
  if (p->pieces == 2) {
    first = BC_MIN(first, p->x[1].first);
    last = BC_MAX(last, last_of(p->x[1]));
  }
  enclose(p, first, last);
}

static void place_points(part *p)
{
  uint32_t y[2] = { UINT32_MAX, 0 }, x[2] = { UINT32_MAX, 0 };
  for (size_t i = 0; i < p->n_points; i++) {
    const uint32_t r = p->point[i]->row - p->row0, c = p->point[i]->col - p->col0;
    y[0] = BC_MIN(y[0], r);
    y[1] = BC_MAX(y[1], r);
    x[0] = BC_MIN(x[0], c);
    x[1] = BC_MAX(x[1], c);
  }
  p->y_all = (bc_pick){ y[0], y[1] - y[0] + 1, 1 };
  enclose(p, x[0], x[1]);
}

static void place(const job *j, const bc_ptile *tile, const bc_touch *t, uint64_t number, part *p)
{
  const bc_where *w = &j->q->where;
  const bc_spot *spot = &t->spot[number % t->n_spots];
  const bc_level_at *level = &t->level[number / t->n_spots % t->n_levels];
  const bc_span *span = &t->span[number / t->n_spots / t->n_levels];
  memset(p, 0, sizeof *p);
  p->tile = tile;
  p->touch = t;
  p->step = &t->step[span->first];
  p->n_steps = span->n;
  p->number = bc_tile_block_at(&t->head, p->step[0].tile, level->tile, spot->y, spot->x);
  bc_tile_block(&t->head, p->number, &p->at);
  p->dst = j->dst + level->out * j->v->plane_bytes;
  p->from = j->from;
  p->step_bytes = (ptrdiff_t)j->v->step_bytes;
  p->row0 = t->area.row + p->at.y0;
  p->col0 = t->area.col + p->at.x0;
  if (w->by_points) {
    p->point = &t->points[spot->first];
    p->n_points = spot->n;
    place_points(p);
  } else {
    place_box(p, w);
  }
}

static ptrdiff_t step_offset(const part *p, uint32_t i)
{
  return (ptrdiff_t)(p->step[i].out - p->from) * p->step_bytes;
}

/* Copy values laid out with these strides (in values, 0 for one value throughout), whose first is the corner
 * of the enclosing box, to where they belong. */
static void scatter(const part *p, const float *src, size_t t_stride, size_t y_stride, size_t x_stride)
{
  for (uint32_t i = 0; i < p->n_steps; i++) {
    const float *plane = src + (p->step[i].tile - p->step[0].tile) * t_stride;
    for (size_t k = 0; k < p->n_points; k++) {
      const bc_node *n = p->point[k];
      const size_t y = n->row - p->row0 - p->y_all.first, x = n->col - p->col0 - p->x_all.first;
      memcpy(p->dst + step_offset(p, i) + n->out * sizeof(float), plane + y * y_stride + x * x_stride,
             sizeof(float));
    }
    for (uint32_t r = 0; r < p->y.n && p->n_points == 0; r++) {
      const float *row = plane + r * y_stride;
      for (uint32_t s = 0; s < p->pieces; s++) {
        uint8_t *to =
            p->dst_row + step_offset(p, i) + (ptrdiff_t)r * p->row_bytes + p->out_col[s] * sizeof(float);
        for (size_t c = 0; c < p->x[s].n; c++)
          memcpy(to + c * sizeof(float), row + (p->x[s].first - p->x_all.first + c * p->x[s].step) * x_stride,
                 sizeof(float));
      }
    }
  }
}

/* Whether the steps lie evenly both in the tile and in the answer. */
static bool even_steps(const part *p, uint32_t *d_tile, uint32_t *d_out)
{
  *d_tile = p->n_steps > 1 ? p->step[1].tile - p->step[0].tile : 1;
  *d_out = p->n_steps > 1 ? p->step[1].out - p->step[0].out : 0;
  for (uint32_t i = 2; i < p->n_steps; i++)
    if (p->step[i].tile - p->step[i - 1].tile != *d_tile || p->step[i].out - p->step[i - 1].out != *d_out)
      return false;
  return true;
}

/* ---- reading a block ---- */

/* Straight to where the values belong: one piece, even steps. */
static bc_status read_direct(bc_worker *w, const part *p, uint32_t d_tile, uint32_t d_out, bc_err *err)
{
  const bc_bytes payload = { p->tile->payload, (size_t)p->tile->payload_bytes };
  const bc_pick t = { p->t_all.first, p->n_steps, d_tile };
  const bool point = p->n_points > 0;
  uint8_t *to =
      point ? p->dst + p->point[0]->out * sizeof(float) : p->dst_row + p->out_col[0] * sizeof(float);
  return bc_tile_read(w->decoder, &p->touch->head, payload, p->number, t, point ? p->y_all : p->y,
                      point ? p->x_all : p->x[0], to + step_offset(p, 0), (ptrdiff_t)d_out * p->step_bytes,
                      p->row_bytes, err);
}

/* Once into memory of this thread, from there to several places. */
static bc_status read_gathered(bc_worker *w, const part *p, bc_err *err)
{
  const bc_bytes payload = { p->tile->payload, (size_t)p->tile->payload_bytes };
  const size_t row = p->x_all.n, plane = row * p->y_all.n, bytes = plane * p->t_all.n * sizeof(float);
  if (bytes > w->cap_gather) {
    bc_free(w->gather);
    w->gather = bc_malloc(bytes);
    w->cap_gather = w->gather == NULL ? 0 : bytes;
  }
  if (w->gather == NULL) return no_memory(err);
  BC_RET(bc_tile_read(w->decoder, &p->touch->head, payload, p->number, p->t_all, p->y_all, p->x_all,
                      w->gather, (ptrdiff_t)(plane * sizeof(float)), (ptrdiff_t)(row * sizeof(float)), err));
  scatter(p, (const float *)(const void *)w->gather, plane, row, 1);
  return BC_OK;
}

static void add_source(const bc_query *q, const bc_tile_head *h, bc_buf *b)
{
  for (uint32_t i = 0; i < h->n_sources; i++)
    for (size_t k = 0; k < q->n_sources; k++) {
      if (q->sources[k].id != bc_tile_source(h, i)) continue;
      if (bc_buf_printf(b, NULL, "%s%s", b->n == 0 ? "" : ", ", q->sources[k].name) != BC_OK) return;
      break;
    }
}

/* Says where the damage is: what detected it knows only the block. */
static bc_status locate(const job *j, const part *p, bc_status st, const bc_err *why, bc_err *err)
{
  char name[2 * BC_NAME_MAX], when[BC_TIME_TEXT], segment[BC_SEGMENT_NAME];
  bc_buf files = bc_buf_empty(160); /* what does not fit is left out */
  add_source(j->q, &p->touch->head, &files);
  bc_segment_name(p->tile->segment, segment);
  (void)BC_FAIL(err, st, "%s is damaged at %s, cell %" PRIu32 ", segment %s, from %.*s: %s",
                bc_plan_name(&j->v->m, name),
                bc_time_format(bc_tile_time(&p->touch->head, p->step[0].tile), when),
                p->tile->cell & ((1u << BC_CELL_BITS) - 1u), segment, files.n == 0 ? 14 : (int)files.n,
                files.n == 0 ? "an unknown file" : (const char *)files.p, why->msg);
  bc_buf_dispose(&files);
  return st;
}

static bc_status damaged(job *j, const part *p, bc_status st, const bc_err *why, bc_err *err)
{
  static const float k_missing = NAN;
  bc_err where = { .msg = "" };
  if (!bc_plan_is_damage(st)) {
    if (err != NULL) *err = *why;
    return st;
  }
  (void)locate(j, p, st, why, &where);
  if (!j->q->skip_damaged) {
    *err = where;
    return st;
  }
  scatter(p, &k_missing, 0, 0, 0);
  (void)pthread_mutex_lock(&j->lock);
  if (j->q->damaged++ == 0 || j->q->first_damage[0] == '\0')
    memcpy(j->q->first_damage, where.msg, sizeof where.msg);
  (void)pthread_mutex_unlock(&j->lock);
  return BC_OK;
}

static bc_status read_block(bc_worker *w, job *j, const bc_ptile *tile, uint64_t number, bc_err *err)
{
  part p;
  bc_err why = { .msg = "" };
  uint32_t d_tile = 0, d_out = 0;
  place(j, tile, &w->touch, number, &p);
  w->blocks++;
  if (w->touch.head.codec == BC_CODEC_CONST) {
    const uint32_t bits = (uint32_t)w->touch.head.const_bits;
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    scatter(&p, &value, 0, 0, 0);
    return BC_OK;
  }
  w->bytes += (uint64_t)p.at.nt * p.at.ny * p.at.nx * sizeof(float);
  const bool direct = even_steps(&p, &d_tile, &d_out) && (p.n_points == 1 || p.pieces == 1);
  const bc_status st = direct ? read_direct(w, &p, d_tile, d_out, &why) : read_gathered(w, &p, &why);
  return st == BC_OK ? BC_OK : damaged(j, &p, st, &why, err);
}

/* ---- threads ---- */

static bool next_share(taker *k, const bc_ptile **tile, uint32_t *share)
{
  job *j = k->j;
  bool found = false;
  (void)pthread_mutex_lock(&j->lock);
  for (; j->st == BC_OK && !found && j->at < j->end;) {
    const bc_ptile *p = &j->v->tiles[j->at];
    found = p->rank == j->rank && p->k_last >= j->from && p->k_first < j->to;
    *tile = p;
    *share = j->share++;
    if (!found || j->share == p->shares) {
      j->at++;
      j->share = 0;
    }
  }
  (void)pthread_mutex_unlock(&j->lock);
  return found;
}

static bc_status read_share(taker *k, const bc_ptile *p, uint32_t share, bc_err *err)
{
  const job *j = k->j;
  bc_worker *w = k->w;
  const bc_bytes head = { p->head, p->head_bytes };
  if (w->touched != p) {
    w->touched = NULL;
    BC_RET(bc_touch_tile(&w->touch, head, &j->q->where, &j->v->axes, j->from, j->to, err));
    w->touched = p;
  }
  const uint64_t n = bc_touch_blocks(&w->touch);
  const uint64_t first = n * share / p->shares, past = n * (share + 1) / p->shares;
  for (uint64_t i = first; i < past; i++)
    BC_RET(read_block(w, k->j, p, i, err));
  return BC_OK;
}

static void *work(void *arg)
{
  taker *k = arg;
  job *j = k->j;
  const bc_ptile *tile = NULL;
  uint32_t share = 0;
  const bc_progress *g = k->caller ? j->progress : NULL;
  while (next_share(k, &tile, &share)) {
    bc_err err = { .msg = "" };
    bc_status st = read_share(k, tile, share, &err);
    if (st == BC_OK && g != NULL && g->cancelled != NULL && g->cancelled(g->ctx))
      st = BC_FAIL(&err, BC_E_CANCELLED, "cancelled");
    if (st == BC_OK) continue;
    (void)pthread_mutex_lock(&j->lock);
    if (j->st == BC_OK) {
      j->st = st;
      j->err = err;
    }
    (void)pthread_mutex_unlock(&j->lock);
  }
  return NULL;
}

/* No more threads than pieces of work. */
static int32_t useful_threads(const job *j, int32_t max)
{
  uint64_t n = 0;
  for (size_t i = j->at; i < j->end && n < (uint64_t)max; i++)
    n += j->v->tiles[i].shares;
  return (int32_t)BC_MAX(BC_MIN(n, (uint64_t)max), UINT64_C(1));
}

static void run_rank(job *j)
{
  pthread_t id[256];
  taker k[256];
  const int32_t max = BC_MIN(j->v->threads, (int32_t)BC_ARRAY_LEN(id));
  const int32_t n = useful_threads(j, max);
  int32_t started = 1;
  for (int32_t i = 0; i < n; i++)
    k[i] = (taker){ j, &j->q->workers[i], i == 0 };
  /* one that cannot be started is one fewer: its work is done by the others */
  while (started < n && pthread_create(&id[started], NULL, work, &k[started]) == 0)
    started++;
  (void)work(&k[0]);
  for (int32_t i = 1; i < started; i++)
    (void)pthread_join(id[i], NULL);
}

static bc_status open_workers(bc_query *q, int32_t n, bc_err *err)
{
  if (q->workers == NULL) q->workers = bc_calloc((size_t)q->threads, sizeof *q->workers);
  if (q->workers == NULL) return no_memory(err);
  for (int32_t i = 0; i < n; i++) {
    bc_worker *w = &q->workers[i];
    w->touched = NULL;
    w->touch.axes = NULL; /* another variable's axes may lie where the last one's did */
    w->blocks = w->bytes = 0;
    if (w->decoder == NULL) BC_RET(bc_decoder_open(&w->decoder, err));
  }
  return BC_OK;
}

void bc_workers_close(bc_query *q)
{
  for (int32_t i = 0; q->workers != NULL && i < q->threads; i++) {
    bc_decoder_close(q->workers[i].decoder);
    bc_touch_dispose(&q->workers[i].touch);
    bc_free(q->workers[i].gather);
  }
  bc_free(q->workers);
  q->workers = NULL;
}

/* ---- a slab ---- */

static void fill_missing(const bc_qvar *v, size_t from, size_t to, uint8_t *dst)
{
  const size_t n = (size_t)(v->step_bytes / sizeof(float));
  for (size_t k = from; k < to; k++) {
    if (v->whole[k]) continue;
    float *p = (float *)(void *)(dst + (k - from) * v->step_bytes);
    for (size_t i = 0; i < n; i++)
      p[i] = NAN;
  }
}

static size_t first_tile_from(const bc_qvar *v, int64_t bucket)
{
  size_t lo = 0, hi = v->n_tiles;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (v->tiles[mid].bucket < bucket)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

bc_status bc_exec_steps(bc_query *q, const bc_qvar *v, size_t from, size_t to, void *dst,
                        const bc_progress *progress, bc_err *err)
{
  job j = { .q = q, .v = v, .from = from, .to = to, .dst = dst, .progress = progress, .st = BC_OK };
  size_t first = 0, past = v->n_tiles;
  if (from >= to) return BC_OK;
  BC_RET(open_workers(q, v->threads, err));
  fill_missing(v, from, to, dst);
  if (!v->is_static) {
    first = first_tile_from(v, bc_bucket_floor(v->m.bucket, v->steps[from]));
    past = first_tile_from(v, v->steps[to - 1] + 1);
  }
  if (pthread_mutex_init(&j.lock, NULL) != 0) return no_memory(err);
  for (uint32_t rank = 0; rank < v->ranks && j.st == BC_OK; rank++) {
    j.rank = (uint16_t)rank;
    j.at = first;
    j.end = past;
    j.share = 0;
    run_rank(&j);
  }
  (void)pthread_mutex_destroy(&j.lock);
  for (int32_t i = 0; i < v->threads; i++) {
    q->read_blocks += q->workers[i].blocks;
    q->read_bytes += q->workers[i].bytes;
  }
  if (j.st != BC_OK && err != NULL) *err = j.err;
  return j.st;
}
