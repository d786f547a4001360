#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "query/names.h"
#include "query/query.h"

/* What the views of one call share: the maps they point into, and coordinates. */
typedef struct axes {
  uint32_t grid, y, x, ny, nx;
  double *lat, *lon;
} axes;
typedef struct pack {
  atomic_int refs;
  bc_segment **segments;
  size_t n_segments, cap_segments;
  axes *axes;
  size_t n_axes, cap_axes;
} pack;

/* priv of a view; its own arrays follow in the same allocation. */
typedef struct held {
  pack *pack;
} held;

typedef struct found { /* the steps of one modality, while looking */
  const bc_modality *m;
  int64_t *time;
  const uint8_t **step;
  size_t n;
  int64_t bucket; /* of the last tile that gave a step */
  uint32_t y, x, ny, nx, nl;
  uint64_t step_bytes;
  uint16_t level[BC_MAX_LEVELS];
  bool scanned;
} found;

typedef struct search {
  bc_snapshot *snap;
  pack *pack;
  int64_t t;
  size_t n_steps;
  found *found;
  size_t n, n_full;
  size_t want_full;    /* of the present scan */
  int64_t full_bucket; /* where the last of them became full */
  uint16_t *of;        /* by modality: its found + 1 */
} search;

static bc_status no_memory(bc_err *err) { return BC_FAIL(err, BC_E_NOMEM, "no memory for a view"); }

static bc_status grow(void **list, size_t *cap, size_t n, size_t elem, bc_err *err)
{
  if (n <= *cap) return BC_OK;
  const size_t want = *cap == 0 ? 8 : 2 * *cap;
  void *p = bc_realloc(*list, want * elem); /* few: segments or boxes of one window */
  if (p == NULL) return no_memory(err);
  *list = p;
  *cap = want;
  return BC_OK;
}

/* ---- what views share ---- */

static void pack_unref(pack *p)
{
  if (p == NULL || atomic_fetch_sub(&p->refs, 1) > 1) return;
  for (size_t i = 0; i < p->n_segments; i++)
    bc_segment_unref(p->segments[i]);
  for (size_t i = 0; i < p->n_axes; i++) {
    bc_free(p->axes[i].lat);
    bc_free(p->axes[i].lon);
  }
  bc_free(p->segments);
  bc_free(p->axes);
  bc_free(p);
}

static bc_status keep_segment(pack *p, bc_segment *s, bc_err *err)
{
  for (size_t i = p->n_segments; i-- > 0;) /* mostly the last one */
    if (p->segments[i] == s) return BC_OK;
  void *list = p->segments;
  BC_RET(grow(&list, &p->cap_segments, p->n_segments + 1, sizeof(bc_segment *), err));
  p->segments = list;
  p->segments[p->n_segments++] = bc_segment_ref(s);
  return BC_OK;
}

static bc_status find_axes(pack *p, const bc_snapshot *snap, const found *f, const axes **out, bc_err *err)
{
  for (size_t i = p->n_axes; i-- > 0;) {
    *out = &p->axes[i];
    if ((*out)->grid == f->m->grid && (*out)->y == f->y && (*out)->x == f->x && (*out)->ny == f->ny &&
        (*out)->nx == f->nx)
      return BC_OK;
  }
  void *list = p->axes;
  BC_RET(grow(&list, &p->cap_axes, p->n_axes + 1, sizeof *p->axes, err));
  p->axes = list;
  const bc_grid *g = bc_snapshot_grid(snap, f->m->grid);
  axes *a = &p->axes[p->n_axes];
  *a = (axes){ f->m->grid, f->y, f->x, f->ny, f->nx, NULL, NULL };
  a->lat = bc_malloc(f->ny * sizeof *a->lat);
  a->lon = bc_malloc(f->nx * sizeof *a->lon);
  p->n_axes++;
  if (a->lat == NULL || a->lon == NULL) return no_memory(err);
  for (uint32_t i = 0; i < f->ny; i++)
    a->lat[i] = bc_grid_y(g, (int64_t)f->y + i);
  for (uint32_t i = 0; i < f->nx; i++)
    a->lon[i] = bc_grid_x(g, (int64_t)f->x + i);
  *out = a;
  return BC_OK;
}

/* ---- finding the steps ---- */

static bc_status refuse(const found *f, const char *why, bc_err *err)
{
  return BC_FAIL(err, BC_E_UNSUPPORTED,
                 "no view of %s/%s: %s; read it with a query, or ingest it into a store made "
                 "with --cell full by --codec raw",
                 f->m->group, f->m->name, why);
}

/* All steps of a view have one shape. */
static bc_status check_tile(const search *s, found *f, const bc_tile *t, bc_err *err)
{
  const bc_tile_head *h = &t->head;
  const bc_grid *g = bc_snapshot_grid(s->snap, f->m->grid);
  if (h->codec != BC_CODEC_RAW) return refuse(f, "its values are compressed", err);
  if (!bc_in_bounds(h->y0, h->ny, g->ny) || !bc_in_bounds(h->x0, h->nx, g->nx))
    return BC_FAIL(err, BC_E_CORRUPT, "a tile of %s/%s lies outside grid %s: run bctool verify", f->m->group,
                   f->m->name, g->name);
  bool same = h->y0 == f->y && h->x0 == f->x && h->ny == f->ny && h->nx == f->nx && h->nl == f->nl;
  for (uint32_t l = 0; l < h->nl; l++) {
    const uint16_t level = bc_tile_level(h, l);
    if (level >= BC_MAX(f->m->n_levels, 1))
      return BC_FAIL(err, BC_E_CORRUPT, "a tile of %s/%s has level number %u of %u: run bctool verify",
                     f->m->group, f->m->name, level, f->m->n_levels);
    same = same && f->level[l] == level;
    if (f->n == 0) f->level[l] = level;
  }
  if (f->n > 0 && !same) return refuse(f, "its steps do not all cover the same box and levels", err);
  f->y = h->y0;
  f->x = h->x0;
  f->ny = h->ny;
  f->nx = h->nx;
  f->nl = h->nl;
  f->step_bytes = bc_tile_raw_step(h);
  return BC_OK;
}

/* Keep the first n_steps in order of time; of two at one time the later part's. */
static void put_step(found *f, size_t max, int64_t time, const uint8_t *p)
{
  size_t at = f->n;
  while (at > 0 && f->time[at - 1] > time)
    at--;
  if (at > 0 && f->time[at - 1] == time) {
    f->step[at - 1] = p;
    return;
  }
  if (at == max) return;
  if (f->n == max) f->n--;
  memmove(&f->time[at + 1], &f->time[at], (f->n - at) * sizeof *f->time);
  memmove(&f->step[at + 1], &f->step[at], (f->n - at) * sizeof *f->step);
  f->time[at] = time;
  f->step[at] = p;
  f->n++;
}

static bc_status take_steps(search *s, found *f, const bc_tile *t, bc_err *err)
{
  const bc_tile_head *h = &t->head;
  bool any = false;
  uint32_t lo = 0, hi = h->nt;
  while (lo < hi) { /* first step at or after t */
    const uint32_t mid = lo + (hi - lo) / 2;
    if (bc_tile_time(h, mid) < s->t)
      lo = mid + 1;
    else
      hi = mid;
  }
  for (uint32_t i = lo; i < h->nt; i++) {
    const int64_t time = bc_tile_time(h, i);
    if (f->n == s->n_steps && time > f->time[f->n - 1]) break;
    if (!any) BC_RET(check_tile(s, f, t, err));
    any = true;
    put_step(f, s->n_steps, time, t->payload.p + (uint64_t)i * bc_tile_raw_step(h));
  }
  if (!any) return BC_OK;
  f->bucket = h->key.time;
  return keep_segment(s->pack, t->seg, err);
}

/* BC_E_CANCELLED without text ends the walk: all steps are found. */
static bc_status each_tile(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  search *s = ctx;
  found *f = &s->found[s->of[key->modality] - 1];
  if (s->n_full == s->want_full && key->time > s->full_bucket) return BC_E_CANCELLED;
  if ((key->part & BC_PART_SECOND) != 0) return BC_OK;
  const bool was_full = f->n == s->n_steps;
  if (was_full && key->time > f->bucket) return BC_OK;
  bc_tile t = { 0 };
  BC_RET(bc_snapshot_tile(s->snap, key, rec, &t, err));
  const bc_status st = take_steps(s, f, &t, err);
  bc_tile_close(&t);
  if (!was_full && f->n == s->n_steps) {
    s->n_full++;
    s->full_bucket = BC_MAX(s->full_bucket, key->time);
  }
  return st;
}

/* One walk for all modalities of a grid that cut time alike. */
static bc_status scan_like(search *s, const found *like, uint16_t *wanted, bc_err *err)
{
  size_t n = 0;
  for (uint32_t id = 0; id < bc_snapshot_modalities(s->snap); id++) {
    if (s->of[id] == 0) continue;
    found *f = &s->found[s->of[id] - 1];
    if (f->m->grid != like->m->grid || f->m->bucket != like->m->bucket) continue;
    f->scanned = true;
    wanted[n++] = (uint16_t)id;
  }
  s->n_full = 0;
  s->want_full = n;
  s->full_bucket = INT64_MIN;
  const int64_t t = BC_MAX(BC_MIN(s->t, BC_TIME_MAX), BC_TIME_MIN);
  const bc_status st =
      bc_snapshot_scan(s->snap, (uint32_t)like->m->grid << BC_CELL_BITS, bc_bucket_floor(like->m->bucket, t),
                       BC_TIME_MAX + 1, wanted, n, each_tile, s, err);
  return st == BC_E_CANCELLED ? BC_OK : st;
}

static bc_status check_complete(const search *s, const found *f, bc_err *err)
{
  char from[BC_TIME_TEXT], a[BC_TIME_TEXT], b[BC_TIME_TEXT];
  bc_usage u;
  if (f->n == s->n_steps) return BC_OK;
  BC_RET(bc_snapshot_usage(s->snap, f->m->id, &u, err));
  if (u.n_tiles == 0)
    return BC_FAIL(err, BC_E_NOTFOUND, "%s/%s holds no values yet", f->m->group, f->m->name);
  return BC_FAIL(err, BC_E_NOTFOUND,
                 "%s/%s has %zu steps from %s on, %zu were asked for; it goes from %s to %s", f->m->group,
                 f->m->name, f->n, bc_time_format_short(s->t, from), s->n_steps,
                 bc_time_format_short(u.t_first, a), bc_time_format_short(u.t_last, b));
}

static bc_status check_modality(const search *s, const found *f, bc_err *err)
{
  const bc_grid *g = bc_snapshot_grid(s->snap, f->m->grid);
  if (bc_grid_cells_y(g) != 1 || bc_grid_cells_x(g) != 1) return refuse(f, "its grid is cut into cells", err);
  if (f->m->bucket == BC_BUCKET_STATIC) return refuse(f, "it has no time", err);
  if (f->m->dtype != BC_F32) return refuse(f, "its values are not float32", err);
  return BC_OK;
}

/* ---- views ---- */

static ptrdiff_t even_stride(const found *f)
{
  if (f->n == 1) return (ptrdiff_t)f->step_bytes;
  const intptr_t d = (intptr_t)((uintptr_t)f->step[1] - (uintptr_t)f->step[0]);
  for (size_t i = 2; i < f->n; i++)
    if ((intptr_t)((uintptr_t)f->step[i] - (uintptr_t)f->step[i - 1]) != d) return 0;
  return d;
}

static bc_status make_view(search *s, const found *f, bc_view *out, bc_err *err)
{
  const axes *a = NULL;
  const size_t n = f->n, nl = f->nl;
  BC_RET(find_axes(s->pack, s->snap, f, &a, err));
  held *h = bc_calloc(1, sizeof *h + n * (sizeof(void *) + sizeof(double)) + nl * sizeof(double));
  if (h == NULL) return no_memory(err);
  double *time = (double *)(void *)(h + 1), *level = time + n;
  const void **step = (const void **)(void *)(level + nl);
  for (size_t i = 0; i < n; i++) {
    time[i] = (double)f->time[i];
    step[i] = f->step[i];
  }
  for (size_t i = 0; i < nl; i++)
    level[i] = f->m->levels[f->level[i]];
  h->pack = s->pack;
  (void)atomic_fetch_add(&s->pack->refs, 1);
  const int64_t row = (int64_t)f->nx * (int64_t)sizeof(float), plane = row * f->ny;
  const bool levels = f->m->n_levels > 0;
  *out = (bc_view){ .data = step[0], .ndim = levels ? 4 : 3, .step = step, .dtype = BC_F32, .priv = h };
  int32_t d = 0;
  out->shape[d] = (int64_t)n;
  out->stride[d] = even_stride(f);
  out->coord[d++] = time;
  if (levels) {
    out->shape[d] = (int64_t)nl;
    out->stride[d] = plane;
    out->coord[d++] = level;
  }
  out->shape[d] = f->ny;
  out->stride[d] = row;
  out->coord[d++] = a->lat;
  out->shape[d] = f->nx;
  out->stride[d] = sizeof(float);
  out->coord[d] = a->lon;
  return BC_OK;
}

void bc_view_release(bc_view *v)
{
  if (v == NULL || v->priv == NULL) return;
  held *h = v->priv;
  pack_unref(h->pack);
  bc_free(h);
  memset(v, 0, sizeof *v);
}

/* ---- looking for many at once ---- */

static bc_status open_search(search *s, size_t n_vars, bc_err *err)
{
  const size_t all = bc_snapshot_modalities(s->snap);
  size_t bytes = 0;
  if (!bc_mul_sz(s->n_steps, sizeof(int64_t) + sizeof(void *), &bytes) || !bc_mul_sz(bytes, n_vars, &bytes))
    return BC_FAIL(err, BC_E_RANGE, "a view of %zu steps: too many to address", s->n_steps);
  s->pack = bc_calloc(1, sizeof *s->pack);
  s->found = bc_calloc(n_vars, sizeof *s->found);
  s->of = bc_calloc(all + 1, sizeof *s->of);
  if (s->pack == NULL || s->found == NULL || s->of == NULL) return no_memory(err);
  atomic_init(&s->pack->refs, 1);
  return BC_OK;
}

static void close_search(search *s)
{
  for (size_t i = 0; s->found != NULL && i < s->n; i++) {
    bc_free(s->found[i].time);
    bc_free(s->found[i].step);
  }
  bc_free(s->found);
  bc_free(s->of);
  pack_unref(s->pack);
}

static bc_status add_var(search *s, const bc_names *names, const char *name, bc_err *err)
{
  uint16_t id = 0;
  BC_RET(bc_names_find(names, name, &id, err));
  if (s->of[id] != 0) return BC_OK;
  found *f = &s->found[s->n++];
  s->of[id] = (uint16_t)s->n;
  f->m = bc_snapshot_modality(s->snap, id);
  f->time = bc_malloc((s->n_steps + 1) * sizeof *f->time);
  f->step = bc_malloc((s->n_steps + 1) * sizeof *f->step);
  if (f->time == NULL || f->step == NULL) return no_memory(err);
  return check_modality(s, f, err);
}

static bc_status find_all(search *s, bc_err *err)
{
  bc_status st = BC_OK;
  uint16_t *wanted = bc_malloc((s->n + 1) * sizeof *wanted);
  if (wanted == NULL) return no_memory(err);
  for (size_t i = 0; i < s->n; i++)
    if (!s->found[i].scanned) BC_TRY(scan_like(s, &s->found[i], wanted, err));
  for (size_t i = 0; i < s->n; i++)
    BC_TRY(check_complete(s, &s->found[i], err));
out:
  bc_free(wanted);
  return st;
}

static bc_status open_once(bc_store *store, const char *const *vars, size_t n, int64_t t, int64_t n_steps,
                           bc_view *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_names names = { 0 };
  search s = { .t = t };
  uint16_t id = 0;
  memset(out, 0, n * sizeof *out);
  if (n == 0) return BC_OK;
  if (n_steps < 1 || (uint64_t)n_steps > SIZE_MAX / 64)
    return BC_FAIL(err, BC_E_INVAL, "a view of %" PRId64 " steps: expected at least 1", n_steps);
  s.n_steps = (size_t)n_steps;
  BC_RET(bc_store_check_process(store, err));
  BC_TRY(bc_snapshot_open(store, &s.snap, err));
  BC_TRY(bc_names_init(&names, s.snap, err));
  BC_TRY(open_search(&s, n, err));
  for (size_t i = 0; i < n; i++)
    BC_TRY(add_var(&s, &names, vars[i], err));
  BC_TRY(find_all(&s, err));
  for (size_t i = 0; i < n; i++) {
    BC_TRY(bc_names_find(&names, vars[i], &id, err));
    BC_TRY(make_view(&s, &s.found[s.of[id] - 1], &out[i], err));
  }
out:
  for (size_t i = 0; st != BC_OK && i < n; i++)
    bc_view_release(&out[i]);
  close_search(&s);
  bc_names_dispose(&names);
  bc_snapshot_close(s.snap);
  return st;
}

bc_status bc_view_open_many(bc_store *store, const char *const *vars, size_t n, int64_t t, int64_t n_steps,
                            bc_view *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_err e = { .msg = "" };
  for (int i = 0; i <= BC_STALE_RETRIES; i++) {
    st = open_once(store, vars, n, t, n_steps, out, &e);
    if (!bc_is_stale(st, &e)) break; /* else a segment was compacted away between planning and mapping */
  }
  if (st != BC_OK && err != NULL) *err = e;
  return st;
}

bc_status bc_view_open(bc_store *store, const char *var, int64_t t, int64_t n_steps, bc_view *out,
                       bc_err *err)
{
  return bc_view_open_many(store, &var, 1, t, n_steps, out, err);
}
