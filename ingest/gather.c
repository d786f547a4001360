#include "ingest/gather_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct bc_gather {
  bc_store *st;
  bc_writer *w;
  bc_gather_opts opts;
  bc_gather_buffer **buffers;
  size_t n, cap;
  bc_given given;
};

bc_status bc_gather_open(bc_store *st, bc_writer *w, const bc_gather_opts *opts, bc_gather **out, bc_err *err)
{
  bc_gather *g = bc_calloc(1, sizeof *g);
  *out = g;
  if (g == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  g->st = st;
  g->w = w;
  g->opts = *opts;
  g->given.any_order = opts->any_order;
  return BC_OK;
}

static void buffer_free(bc_gather_buffer *b)
{
  if (b == NULL) return;
  bc_free(b->cut.x);
  bc_free(b->cut.y);
  bc_free(b->data);
  bc_free(b->times);
  bc_free(b->sources);
  bc_free(b->packing);
  bc_free(b);
}

static void clear(bc_gather *g)
{
  for (size_t i = 0; i < g->n; i++)
    buffer_free(g->buffers[i]);
  g->n = 0;
}

void bc_gather_close(bc_gather *g)
{
  if (g == NULL) return;
  clear(g);
  bc_free(g->buffers);
  bc_given_dispose(&g->given);
  bc_free(g);
}

uint64_t bc_gather_bytes(const bc_gather *g)
{
  uint64_t sum = 0;
  for (size_t i = 0; i < g->n; i++)
    sum += g->buffers[i]->n * g->buffers[i]->step_bytes;
  return sum;
}

static bc_gather_buffer *find(const bc_gather *g, const bc_plane *p)
{
  const int64_t floor = bc_bucket_floor(p->bucket, p->time);
  for (size_t i = g->n; i-- > 0;) /* the newest is the likeliest */
    if (g->buffers[i]->p.modality == p->modality && g->buffers[i]->floor == floor) return g->buffers[i];
  return NULL;
}

static bool same_shape(const bc_gather_buffer *b, const bc_plane *p)
{
  return b->p.dtype == p->dtype && memcmp(&b->p.box, &p->box, sizeof p->box) == 0 &&
         b->p.n_levels == p->n_levels &&
         memcmp(b->own_levels, p->levels, p->n_levels * sizeof *p->levels) == 0;
}

bool bc_gather_clashes(const bc_gather *g, const bc_plane *p)
{
  const bc_gather_buffer *b = find(g, p);
  if (b == NULL) return false;
  if (!same_shape(b, p)) return true;
  for (size_t i = 0; i < b->n; i++)
    if (b->times[i] == p->time) return true;
  return false;
}

/* Cut n rows or columns from first on, of an axis of size (after which it begins again), into cells. */
static bc_status cut_axis(int64_t first, int64_t n, int64_t size, int64_t cell, bc_cell_span **out,
                          size_t *n_out, bc_err *err)
{
  *n_out = 0;
  *out = bc_malloc((size_t)(n / cell + 3) * sizeof **out);
  if (*out == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  for (int64_t at = 0; at < n;) {
    const int64_t i = (first + at) % size, end = BC_MIN((i / cell + 1) * cell, size);
    const int64_t len = BC_MIN(end - i, n - at);
    (*out)[(*n_out)++] =
        (bc_cell_span){ (uint32_t)(i / cell), (uint32_t)(i % cell), (size_t)at, (size_t)len };
    at += len;
  }
  return BC_OK;
}

static bc_status cut_plane(bc_gather_buffer *b, bc_err *err)
{
  const bc_box *box = &b->p.box;
  const bc_grid *g = b->p.grid;

  BC_RET(cut_axis(box->y, box->ny, g->ny, bc_grid_cell_ny(g), &b->cut.y, &b->cut.n_y, err));
  return cut_axis(box->x, box->nx, g->nx, bc_grid_cell_nx(g), &b->cut.x, &b->cut.n_x, err);
}

static bc_status new_buffer(bc_gather *g, const bc_plane *p, bc_gather_buffer **out, bc_err *err)
{
  if (g->n == g->cap) {
    const size_t cap = g->cap == 0 ? 64 : g->cap * 2;
    bc_gather_buffer **q = bc_realloc(g->buffers, cap * sizeof(bc_gather_buffer *));
    if (q == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
    g->buffers = q;
    g->cap = cap;
  }
  bc_gather_buffer *b = bc_calloc(1, sizeof *b);
  if (b == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  const int64_t shape[3] = { p->n_levels, p->box.ny, p->box.nx };
  b->p = *p;
  memcpy(b->own_levels, p->levels, p->n_levels * sizeof *p->levels);
  b->p.levels = b->own_levels;
  b->floor = bc_bucket_floor(p->bucket, p->time);
  if (!bc_shape_bytes(shape, 3, bc_dtype_size(p->dtype), &b->step_bytes)) {
    bc_free(b);
    return BC_FAIL(err, BC_E_RANGE, "ingest: a step of %" PRId64 " x %" PRId64 " nodes", p->box.ny,
                   p->box.nx);
  }
  g->buffers[g->n++] = b;
  *out = b;
  return cut_plane(b, err);
}

/* Large blocks grow by remapping, so that room not yet written costs no memory. */
static bc_status room_for_one(bc_gather_buffer *b, bc_err *err)
{
  if (b->n < b->cap) return BC_OK;
  const size_t cap = b->cap < 4 ? 4 : b->cap + b->cap / 2;
  size_t bytes = 0;
  if (!bc_mul_sz(cap, b->step_bytes, &bytes)) return BC_FAIL(err, BC_E_RANGE, "ingest: %zu steps", cap);
  uint8_t *data = bc_realloc(b->data, bytes);
  if (data != NULL) b->data = data;
  int64_t *times = bc_realloc(b->times, cap * sizeof *times);
  if (times != NULL) b->times = times;
  uint32_t *sources = bc_realloc(b->sources, cap * sizeof *sources);
  if (sources != NULL) b->sources = sources;
  bc_packing *packing = b->packing;
  if (b->p.dtype == BC_I16) {
    packing = bc_realloc(b->packing, cap * sizeof *packing);
    if (packing != NULL) b->packing = packing;
  }
  if (data == NULL || times == NULL || sources == NULL || (b->p.dtype == BC_I16 && packing == NULL))
    return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory for %zu steps of %zu bytes", cap, b->step_bytes);
  b->cap = cap;
  return BC_OK;
}

bc_status bc_gather_given(bc_gather *g, uint32_t source, bc_err *err)
{
  return bc_ids_add(&g->given.done, source, err);
}

bc_status bc_gather_mark(bc_gather *g, bc_err *err) { return bc_mend_mark(g->st, g->w, &g->given, err); }

bool bc_gather_owes(const bc_gather *g, uint32_t *source)
{
  *source = g->given.owed;
  return g->given.owes;
}

bc_status bc_gather_add(bc_gather *g, const bc_plane *p, bc_gather_buffer **out, bc_err *err)
{
  bc_gather_buffer *b = find(g, p);
  if (b == NULL) BC_RET(new_buffer(g, p, &b, err));
  BC_RET(room_for_one(b, err));
  b->times[b->n] = p->time;
  b->sources[b->n] = p->source;
  if (p->dtype == BC_I16) b->packing[b->n] = *p->packing;
  b->n++;
  *out = b;
  return BC_OK;
}

/* First element of a piece in a plane that is cut; its rows are x->n apart. */
static size_t piece_at(const bc_gather_buffer *b, const bc_cell_span *y, const bc_cell_span *x)
{
  return y->at * (size_t)b->p.box.nx + y->n * x->at;
}

void bc_gather_put_row(bc_gather_buffer *b, size_t level, size_t y, const void *row)
{
  const size_t elem = bc_dtype_size(b->p.dtype), plane = b->step_bytes / b->p.n_levels;
  uint8_t *to = b->data + (b->n - 1) * b->step_bytes + level * plane;
  const bc_cell_span *ys = b->cut.y;

  while (y >= ys->at + ys->n)
    ys++;
  for (size_t i = 0; i < b->cut.n_x; i++) {
    const bc_cell_span *xs = &b->cut.x[i];
    memcpy(to + (piece_at(b, ys, xs) + (y - ys->at) * xs->n) * elem, (const uint8_t *)row + xs->at * elem,
           xs->n * elem);
  }
}

void bc_gather_forget(bc_gather *g, uint32_t source)
{
  size_t kept = 0;
  for (size_t i = 0; i < g->n; i++) {
    bc_gather_buffer *b = g->buffers[i];
    while (b->n > 0 && b->sources[b->n - 1] == source)
      b->n--; /* its steps came last */
    if (b->n == 0)
      buffer_free(b);
    else
      g->buffers[kept++] = b;
  }
  g->n = kept;
}

/* ---- cutting into cells ---- */

typedef struct job_list {
  bc_job *j;
  size_t n, cap;
} job_list;

static bc_status push_job(job_list *l, const bc_job *j, bc_err *err)
{
  if (l->n == l->cap) {
    const size_t cap = l->cap == 0 ? 256 : l->cap * 2;
    bc_job *p = bc_realloc(l->j, cap * sizeof *p);
    if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory for %zu tiles", cap);
    l->j = p;
    l->cap = cap;
  }
  l->j[l->n++] = *j;
  return BC_OK;
}

static bc_job job_of(bc_gather_buffer *b, const bc_cell_span *y, const bc_cell_span *x)
{
  const bc_grid *g = b->p.grid;
  const uint32_t cny = bc_grid_cell_ny(g), cnx = bc_grid_cell_nx(g);

  return (bc_job){
    .b = b,
    .key = { (uint32_t)b->p.grid_number << BC_CELL_BITS | bc_cell_number(y->cell, x->cell), b->floor,
             b->p.modality, 0 },
    .y0 = y->in,
    .x0 = x->in,
    .ny = (uint32_t)y->n,
    .nx = (uint32_t)x->n,
    .at = piece_at(b, y, x),
    .cell_ny = BC_MIN(cny, (uint32_t)g->ny - y->cell * cny),
    .cell_nx = BC_MIN(cnx, (uint32_t)g->nx - x->cell * cnx),
  };
}

static bc_status cut_buffer(job_list *l, bc_gather_buffer *b, bc_err *err)
{
  for (size_t i = 0; i < b->cut.n_y; i++)
    for (size_t k = 0; k < b->cut.n_x; k++) {
      const bc_job j = job_of(b, &b->cut.y[i], &b->cut.x[k]);
      BC_RET(push_job(l, &j, err));
    }
  return BC_OK;
}

/* Tiles of one modality in cell order, and of one cell in time order, so that raw windows lie in a row. */
static int by_place(const void *a, const void *b)
{
  const bc_job *x = a, *y = b;
  if (x->key.modality != y->key.modality) return x->key.modality < y->key.modality ? -1 : 1;
  if (x->key.cell != y->key.cell) return x->key.cell < y->key.cell ? -1 : 1;
  if (x->key.time != y->key.time) return x->key.time < y->key.time ? -1 : 1;
  return (x->at > y->at) - (x->at < y->at);
}

static void sort_steps(bc_gather_buffer *b)
{
  /* Files may come in any order; steps of a tile are ascending. Insertion sort: nearly always sorted already.
   */
  uint8_t *tmp = NULL;
  for (size_t i = 1; i < b->n; i++) {
    size_t j = i;
    while (j > 0 && b->times[j - 1] > b->times[i])
      j--;
    if (j == i) continue;
    if (tmp == NULL) tmp = bc_malloc(b->step_bytes);
    if (tmp == NULL) return;
    const int64_t t = b->times[i];
    const uint32_t s = b->sources[i];
    memcpy(tmp, b->data + i * b->step_bytes, b->step_bytes);
    memmove(b->data + (j + 1) * b->step_bytes, b->data + j * b->step_bytes, (i - j) * b->step_bytes);
    memcpy(b->data + j * b->step_bytes, tmp, b->step_bytes);
    memmove(b->times + j + 1, b->times + j, (i - j) * sizeof *b->times);
    memmove(b->sources + j + 1, b->sources + j, (i - j) * sizeof *b->sources);
    b->times[j] = t;
    b->sources[j] = s;
    if (b->packing != NULL) {
      const bc_packing p = b->packing[i];
      memmove(b->packing + j + 1, b->packing + j, (i - j) * sizeof *b->packing);
      b->packing[j] = p;
    }
  }
  bc_free(tmp);
}

static bool sorted(const bc_gather_buffer *b)
{
  for (size_t i = 1; i < b->n; i++)
    if (b->times[i - 1] >= b->times[i]) return false;
  return true;
}

static bc_status make_jobs(bc_gather *g, job_list *l, bc_err *err)
{
  for (size_t i = 0; i < g->n; i++) {
    sort_steps(g->buffers[i]);
    if (!sorted(g->buffers[i])) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory to sort steps");
    BC_RET(cut_buffer(l, g->buffers[i], err));
  }
  if (l->n > 1) qsort(l->j, l->n, sizeof *l->j, by_place);
  return BC_OK;
}

/* A plane counts as written when any of its cells is. */
static void count_steps(const bc_gather *g, const job_list *l, bc_ingest_report *report)
{
  for (size_t i = 0; i < l->n; i++)
    l->j[i].b->stored = BC_MAX(l->j[i].b->stored, bc_job_steps(&l->j[i]));
  for (size_t i = 0; i < g->n; i++) {
    report->steps += g->buffers[i]->stored;
    report->steps_equal += g->buffers[i]->n - g->buffers[i]->stored;
  }
}

static bc_status run(bc_gather *g, bool compare_only, bc_ingest_report *report, bc_err *err)
{
  bc_status st = BC_OK;
  job_list l = { 0 };
  if (g->n == 0) return BC_OK;
  BC_TRY(make_jobs(g, &l, err));
  BC_TRY(bc_reconcile(g->st, g->w, l.j, l.n, g->opts.conflict, &g->given, compare_only,
                      g->opts.codec.precision, err));
  count_steps(g, &l, report);
  if (!compare_only) BC_TRY(bc_encode_jobs(g->w, &g->opts, l.j, l.n, report, err));
out:
  for (size_t i = 0; i < l.n; i++) {
    bc_free(l.j[i].keep);
    bc_free(l.j[i].others.slot);
  }
  bc_free(l.j);
  clear(g);
  return st;
}

bc_status bc_gather_flush(bc_gather *g, bc_ingest_report *report, bc_err *err)
{
  BC_RET(run(g, false, report, err));
  return bc_mend_settle(g->st, g->w, &g->given, err);
}

bc_status bc_gather_compare(bc_gather *g, bc_err *err)
{
  bc_ingest_report unused = { 0 };
  return run(g, true, &unused, err);
}

static size_t place_of(const bc_job *j, size_t t, size_t l, size_t y, size_t x)
{
  const bc_gather_buffer *b = j->b;
  const size_t plane = (size_t)b->p.box.ny * (size_t)b->p.box.nx;
  return (t * b->p.n_levels + l) * plane + j->at + y * j->nx + x;
}

static float unpacked(const bc_packing *p, int16_t k)
{
  if (p->has_fill && k == p->fill) return __builtin_nanf("");
  const double scaled = (double)k * p->scale;
  return (float)(scaled + p->offset);
}

float bc_job_value(const bc_job *j, size_t t, size_t l, size_t y, size_t x)
{
  const bc_gather_buffer *b = j->b;
  const size_t at = place_of(j, t, l, y, x);
  if (b->p.dtype == BC_F32) {
    float v;
    memcpy(&v, b->data + at * sizeof v, sizeof v);
    return v;
  }
  int16_t k;
  memcpy(&k, b->data + at * sizeof k, sizeof k);
  return unpacked(&b->packing[t], k);
}

static bc_status unpack_buffer(bc_gather_buffer *b, bc_err *err)
{
  const size_t n = b->step_bytes / sizeof(int16_t);
  size_t bytes = 0;
  float *data = NULL;
  if (bc_mul_sz(b->n * n, sizeof *data, &bytes)) data = bc_malloc(bytes);
  if (data == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory for %zu steps", b->n);
  for (size_t t = 0; t < b->n; t++)
    for (size_t i = 0; i < n; i++) {
      int16_t k;
      memcpy(&k, b->data + t * b->step_bytes + i * sizeof k, sizeof k);
      data[t * n + i] = unpacked(&b->packing[t], k);
    }
  bc_free(b->data);
  bc_free(b->packing);
  b->data = (uint8_t *)data;
  b->packing = NULL;
  b->p.dtype = BC_F32;
  b->step_bytes *= sizeof(float) / sizeof(int16_t);
  b->cap = b->n;
  return BC_OK;
}

bc_status bc_job_set(const bc_job *j, size_t t, size_t l, size_t y, size_t x, float v, bc_err *err)
{
  if (j->b->p.dtype == BC_I16) BC_RET(unpack_buffer(j->b, err));
  memcpy(j->b->data + place_of(j, t, l, y, x) * sizeof v, &v, sizeof v);
  return BC_OK;
}
