/*
 * Encoding on several threads. Helpers encode, the caller writes in order, so that the result does not depend
 * on the number of threads.
 */
#include <pthread.h>
#include <string.h>

#include "ingest/gather_int.h"

#define HEAD_MAX          ((size_t)1 << 28)
#define PAYLOAD_MAX       ((size_t)1 << 40)
#define WINDOW_PER_THREAD 3

/* One encoded tile (one layout of a job). */
typedef struct product {
  bc_buf head, payload;
  bc_status st;
  bc_err err;
  bool ready;
} product;

typedef struct pool {
  const bc_gather_opts *opts;
  const bc_job *jobs;
  size_t n_jobs;
  size_t n_tasks; /* n_jobs x layouts */
  product *ring;
  size_t n_ring;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  size_t next, written; /* tasks taken, tasks put */
  uint64_t in_flight;   /* decoded bytes between the two */
  bool stop;
} pool;

static uint64_t job_bytes(const bc_job *j)
{
  return (uint64_t)bc_job_steps(j) * j->b->p.n_levels * j->ny * j->nx * sizeof(float);
}

static void add_source(uint32_t *out, uint32_t *n, uint32_t source)
{
  bool have = false;
  for (uint32_t k = *n; k-- > 0 && !have;)
    have = out[k] == source;
  if (!have) out[(*n)++] = source;
}

/* Distinct sources of the values that will be stored; room for all steps and others. */
static uint32_t job_sources(const bc_job *j, uint32_t *out)
{
  uint32_t n = 0;
  for (size_t i = 0; i < bc_job_steps(j); i++)
    add_source(out, &n, j->b->sources[j->keep == NULL ? i : j->keep[i]]);
  for (size_t i = 0; i < j->others.n_slots; i++)
    if (j->others.slot[i] != 0) add_source(out, &n, j->others.slot[i] - 1);
  return n;
}

/* The steps to keep, moved together: the job's own piece of each plane. */
typedef struct kept {
  uint8_t *data;
  int64_t *times;
  bc_packing *packing;
} kept;

static bc_status gather_kept(const bc_job *j, kept *k, bc_err *err)
{
  const bc_gather_buffer *b = j->b;
  const size_t elem = bc_dtype_size(b->p.dtype), piece = (size_t)j->ny * j->nx * elem;
  const size_t n_levels = b->p.n_levels, plane = b->step_bytes / n_levels;
  uint8_t *to;

  k->data = to = bc_malloc(j->n_keep * n_levels * piece);
  k->times = bc_malloc(j->n_keep * sizeof *k->times);
  k->packing = bc_malloc(j->n_keep * sizeof *k->packing);
  if (k->data == NULL || k->times == NULL || k->packing == NULL)
    return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory for %zu steps", j->n_keep);
  for (size_t i = 0; i < j->n_keep; i++) {
    const uint8_t *step = b->data + j->keep[i] * b->step_bytes + j->at * elem;
    for (size_t l = 0; l < n_levels; l++, to += piece)
      memcpy(to, step + l * plane, piece);
    k->times[i] = b->times[j->keep[i]];
    if (b->packing != NULL) k->packing[i] = b->packing[j->keep[i]];
  }
  return BC_OK;
}

static bc_status encode(bc_encoder *e, const bc_gather_opts *opts, const bc_job *j, int layout, product *p)
{
  bc_status st = BC_OK;
  const bc_gather_buffer *b = j->b;
  kept k = { 0 };
  uint32_t *sources = bc_malloc((bc_job_steps(j) + j->others.n) * sizeof *sources);
  if (sources == NULL) BC_TRY(BC_FAIL(&p->err, BC_E_NOMEM, "ingest: no memory"));
  if (j->keep != NULL) BC_TRY(gather_kept(j, &k, &p->err));
  const bool all = j->keep == NULL;
  const size_t elem = bc_dtype_size(b->p.dtype), row = j->nx * elem;
  const size_t level = all ? b->step_bytes / b->p.n_levels : j->ny * row;
  bc_tile_in in = {
    .key = j->key,
    .layout = b->p.layout[layout],
    .y0 = j->y0,
    .x0 = j->x0,
    .ny = j->ny,
    .nx = j->nx,
    .cell_ny = j->cell_ny,
    .cell_nx = j->cell_nx,
    .nt = (uint32_t)bc_job_steps(j),
    .nl = b->p.n_levels,
    .times = all ? b->times : k.times,
    .levels = b->own_levels,
    .sources = sources,
    .n_sources = job_sources(j, sources),
    .dtype = b->p.dtype,
    .values = all ? b->data + j->at * elem : k.data,
    .t_stride = (ptrdiff_t)(level * b->p.n_levels),
    .l_stride = (ptrdiff_t)level,
    .y_stride = (ptrdiff_t)row,
    .packing = b->packing == NULL ? NULL
               : all              ? b->packing
                                  : k.packing,
  };
  if (layout == 1) in.key.part |= BC_PART_SECOND;
  p->head.n = p->payload.n = 0;
  st = bc_tile_encode(e, &in, &opts->codec, &p->head, &p->payload, &p->err);
out:
  bc_free(k.data);
  bc_free(k.times);
  bc_free(k.packing);
  bc_free(sources);
  return st;
}

static bc_status put(bc_writer *w, const bc_job *j, const product *p, int layout, bc_ingest_report *report,
                     bc_err *err)
{
  if (p->st != BC_OK) {
    if (err != NULL) *err = p->err;
    return p->st;
  }
  report->tiles++;
  report->stored_bytes += p->payload.n + p->head.n;
  if (layout == 0) report->decoded_bytes += job_bytes(j);
  return bc_writer_put(w, (bc_bytes){ p->head.p, p->head.n }, (bc_bytes){ p->payload.p, p->payload.n }, err);
}

/* Task i: layout i % 2 of job i / 2; a missing second layout or a job with nothing new is skipped. */
static bool is_task(const bc_job *j, int layout)
{
  return bc_job_steps(j) > 0 && (layout == 0 || j->b->p.layout[1] != BC_LAYOUT_NONE);
}

static bc_status run_alone(bc_writer *w, pool *p, bc_ingest_report *report, bc_err *err)
{
  bc_status st = BC_OK;
  bc_encoder *e = NULL;
  product out = { .head = bc_buf_empty(HEAD_MAX), .payload = bc_buf_empty(PAYLOAD_MAX) };
  BC_TRY(bc_encoder_open(&e, err));
  for (size_t i = 0; i < p->n_tasks; i++) {
    const bc_job *j = &p->jobs[i / 2];
    const int layout = (int)(i % 2);
    if (!is_task(j, layout)) continue;
    out.st = encode(e, p->opts, j, layout, &out);
    BC_TRY(put(w, j, &out, layout, report, err));
  }
out:
  bc_encoder_close(e);
  bc_buf_dispose(&out.head);
  bc_buf_dispose(&out.payload);
  return st;
}

/* Next task for a helper, or n_tasks. Waits for room in the ring and in memory; the oldest task always fits.
 */
static size_t take(pool *p)
{
  pthread_mutex_lock(&p->mutex);
  for (;;) {
    if (p->stop || p->next >= p->n_tasks) break;
    const uint64_t bytes = job_bytes(&p->jobs[p->next / 2]);
    if (p->next == p->written ||
        (p->next < p->written + p->n_ring && p->in_flight + bytes <= p->opts->in_flight)) {
      const size_t i = p->next++;
      p->in_flight += bytes;
      pthread_mutex_unlock(&p->mutex);
      return i;
    }
    pthread_cond_wait(&p->changed, &p->mutex);
  }
  pthread_mutex_unlock(&p->mutex);
  return p->n_tasks;
}

static void *helper(void *arg)
{
  pool *p = arg;
  bc_encoder *e = NULL;
  bc_err err = { 0 };
  const bc_status opened = bc_encoder_open(&e, &err);
  for (size_t i = take(p); i < p->n_tasks; i = take(p)) {
    const bc_job *j = &p->jobs[i / 2];
    product *out = &p->ring[i % p->n_ring];
    if (opened != BC_OK) {
      out->st = opened;
      out->err = err;
    } else {
      out->st = is_task(j, (int)(i % 2)) ? encode(e, p->opts, j, (int)(i % 2), out) : BC_OK;
    }
    pthread_mutex_lock(&p->mutex);
    out->ready = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
  }
  bc_encoder_close(e);
  return NULL;
}

static bc_status write_in_order(bc_writer *w, pool *p, bc_ingest_report *report, bc_err *err)
{
  for (size_t i = 0; i < p->n_tasks; i++) {
    product *out = &p->ring[i % p->n_ring];
    const bc_job *j = &p->jobs[i / 2];
    pthread_mutex_lock(&p->mutex);
    while (!out->ready)
      pthread_cond_wait(&p->changed, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
    if (is_task(j, (int)(i % 2)) || out->st != BC_OK) BC_RET(put(w, j, out, (int)(i % 2), report, err));
    pthread_mutex_lock(&p->mutex);
    out->ready = false;
    p->written++;
    p->in_flight -= job_bytes(j);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
  }
  return BC_OK;
}

static bc_status run_threads(bc_writer *w, pool *p, int threads, bc_ingest_report *report, bc_err *err)
{
  bc_status st = BC_OK;
  int started = 0;
  pthread_t *ids = bc_calloc((size_t)threads, sizeof *ids);
  p->n_ring = (size_t)threads * WINDOW_PER_THREAD;
  p->ring = bc_calloc(p->n_ring, sizeof *p->ring);
  if (ids == NULL || p->ring == NULL) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "ingest: no memory"));
  for (size_t i = 0; i < p->n_ring; i++) {
    p->ring[i].head = bc_buf_empty(HEAD_MAX);
    p->ring[i].payload = bc_buf_empty(PAYLOAD_MAX);
  }
  while (started < threads && pthread_create(&ids[started], NULL, helper, p) == 0)
    started++;
  if (started == 0) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "ingest: no thread can be started"));
  st = write_in_order(w, p, report, err);
out:
  pthread_mutex_lock(&p->mutex);
  p->stop = true;
  pthread_cond_broadcast(&p->changed);
  pthread_mutex_unlock(&p->mutex);
  for (int i = 0; i < started; i++)
    (void)pthread_join(ids[i], NULL);
  for (size_t i = 0; p->ring != NULL && i < p->n_ring; i++) {
    bc_buf_dispose(&p->ring[i].head);
    bc_buf_dispose(&p->ring[i].payload);
  }
  bc_free(p->ring);
  bc_free(ids);
  return st;
}

bc_status bc_encode_jobs(bc_writer *w, const bc_gather_opts *opts, const bc_job *jobs, size_t n_jobs,
                         bc_ingest_report *report, bc_err *err)
{
  pool p = { .opts = opts, .jobs = jobs, .n_jobs = n_jobs, .n_tasks = n_jobs * 2 };
  if (opts->threads <= 1) return run_alone(w, &p, report, err);
  pthread_mutex_init(&p.mutex, NULL);
  pthread_cond_init(&p.changed, NULL);
  const bc_status st = run_threads(w, &p, opts->threads, report, err);
  pthread_cond_destroy(&p.changed);
  pthread_mutex_destroy(&p.mutex);
  return st;
}
