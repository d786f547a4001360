#include "query/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_MEMORY ((uint64_t)256 << 20)
#define MAX_THREADS    256

char *bc_plan_name(const bc_modality *m, char buf[2 * BC_NAME_MAX])
{
  const size_t g = strlen(m->group);
  memcpy(buf, m->group, g);
  buf[g] = '/';
  memcpy(buf + g + (g > 0), m->name, strlen(m->name) + 1);
  return buf;
}

bool bc_plan_is_damage(bc_status st)
{
  return st == BC_E_CHECKSUM || st == BC_E_CORRUPT || st == BC_E_TRUNCATED;
}

static bc_status no_memory(bc_err *err) { return BC_FAIL(err, BC_E_NOMEM, "no memory to plan the query"); }

/* ---- variables ---- */

static void dispose_var(bc_qvar *v)
{
  bc_modality_dispose(&v->m);
  bc_free(v->levels);
  bc_free(v->level_coord);
  bc_free(v->steps);
  bc_free(v->period);
  bc_free(v->time_coord);
  bc_free(v->bounds);
  bc_free(v->whole);
  bc_free(v->tiles);
  bc_free(v->cuts);
}

static bc_status absent_level(const bc_modality *m, double level, bc_err *err)
{
  char name[2 * BC_NAME_MAX];
  bc_buf list = bc_buf_empty(4096);
  bc_status st = BC_OK;
  for (uint16_t i = 0; i < m->n_levels && list.n < 200; i++)
    BC_TRY(bc_buf_printf(&list, err, "%s%g", i == 0 ? "" : ", ", m->levels[i]));
  st = BC_FAIL(err, BC_E_NOTFOUND, "%s has no level %g; it has %.*s%s%s%s", bc_plan_name(m, name), level,
               (int)list.n, (const char *)list.p, list.n < 200 ? "" : ", ...",
               m->level_units[0] != '\0' ? " " : "", m->level_units);
out:
  bc_buf_dispose(&list);
  return st;
}

static bc_status choose_levels(bc_qvar *v, const bc_select *sel, bc_err *err)
{
  const bool asked = v->m.n_levels > 0 && sel->n_levels > 0;
  const size_t n = asked ? sel->n_levels : BC_MAX((size_t)v->m.n_levels, (size_t)1);
  v->levels = bc_calloc(n, sizeof *v->levels);
  v->level_coord = bc_calloc(n, sizeof *v->level_coord);
  if (v->levels == NULL || v->level_coord == NULL) return no_memory(err);
  for (size_t i = 0; i < n && v->m.n_levels > 0; i++) {
    const int at = asked ? bc_modality_level(&v->m, sel->levels[i]) : (int)i;
    if (at < 0) return absent_level(&v->m, sel->levels[i], err);
    v->levels[i] = (uint16_t)at;
    v->level_coord[i] = v->m.levels[at];
  }
  v->axes.levels = v->levels;
  v->axes.n_levels = n;
  return BC_OK;
}

static bc_status make_vars(bc_query *q, const bc_snapshot *s, const bc_chosen *chosen, size_t n,
                           const bc_select *sel, bc_err *err)
{
  char name[2 * BC_NAME_MAX];
  bool levels = false;
  q->vars = bc_calloc(n, sizeof *q->vars);
  if (q->vars == NULL) return no_memory(err);
  for (size_t i = 0; i < n; i++) {
    bc_qvar *v = &q->vars[q->n_vars++];
    BC_RET(bc_modality_copy(bc_snapshot_modality(s, chosen[i].id), &v->m, err));
    v->exact = chosen[i].exact;
    v->is_static = v->m.bucket == BC_BUCKET_STATIC;
    v->agg = v->is_static ? BC_AGG_NONE : sel->agg;
    if (v->m.dtype != BC_F32)
      return BC_FAIL(err, BC_E_UNSUPPORTED, "%s holds %s values; queries read float32",
                     bc_plan_name(&v->m, name), bc_dtype_name(v->m.dtype));
    levels = levels || v->m.n_levels > 0;
    BC_RET(choose_levels(v, sel, err));
  }
  if (sel->n_levels > 0 && !levels)
    return BC_FAIL(err, BC_E_INVAL, "%s has no levels: leave the level out",
                   bc_plan_name(&q->vars[0].m, name));
  return BC_OK;
}

/* ---- which tiles there are ---- */

typedef struct scan {
  bc_query *q;
  bc_snapshot *snap;
  size_t *var_of; /* by modality: its variable */
} scan;

/* Keeps the segment mapped; pointers into it then stay valid. */
static bc_status keep_segment(bc_query *q, bc_segment *s, bc_err *err)
{
  const uint32_t id = bc_segment_number(s);
  size_t lo = 0, hi = q->n_segments;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (bc_segment_number(q->segments[mid]) < id)
      lo = mid + 1;
    else
      hi = mid;
  }
  if (lo < q->n_segments && q->segments[lo] == s) return BC_OK;
  void *list = q->segments;
  BC_RET(bc_list_reserve(&list, &q->cap_segments, q->n_segments + 1, sizeof *q->segments, err));
  q->segments = list;
  memmove(&q->segments[lo + 1], &q->segments[lo], (q->n_segments - lo) * sizeof *q->segments);
  q->segments[lo] = bc_segment_ref(s);
  q->n_segments++;
  return BC_OK;
}

/* A step outside its bucket would be looked for elsewhere and leave a hole. */
static bc_status check_bucket(const bc_qvar *v, const bc_tile_head *h, int64_t first, int64_t last,
                              bc_err *err)
{
  char name[2 * BC_NAME_MAX], t[BC_TIME_TEXT];
  if (v->is_static ? first == BC_TIME_STATIC && h->nt == 1 && h->key.time == BC_TIME_STATIC
                   : first >= BC_TIME_MIN && last <= BC_TIME_MAX &&
                         bc_bucket_floor(v->m.bucket, first) == h->key.time &&
                         bc_bucket_floor(v->m.bucket, last) == h->key.time)
    return BC_OK;
  return BC_FAIL(err, BC_E_CORRUPT,
                 "%s: the tile of cell %" PRIu32 " and %s holds other times: run bctool verify",
                 bc_plan_name(&v->m, name), h->key.cell, bc_time_format(h->key.time, t));
}

static bc_status take_tile(bc_query *q, bc_qvar *v, const bc_tile *t, bc_err *err)
{
  const bc_tile_head *h = &t->head;
  const int64_t first = bc_tile_time(h, 0), last = bc_tile_time(h, h->nt - 1);
  bc_area area;
  bc_bytes head;
  BC_RET(check_bucket(v, h, first, last, err));
  BC_RET(bc_where_area(&q->where, h, &area, err));
  if (!v->is_static && (last < q->t_begin || first >= q->t_end)) return BC_OK;
  if (q->where.by_extent) bc_where_extend(&q->where, area);
  BC_RET(bc_segment_slice(t->head_seg, t->rec.head_offset, t->rec.head_bytes, &head, err));
  BC_RET(keep_segment(q, t->head_seg, err));
  if (t->seg != NULL) BC_RET(keep_segment(q, t->seg, err));
  void *list = v->tiles;
  BC_RET(bc_list_reserve(&list, &v->cap_tiles, v->n_tiles + 1, sizeof *v->tiles, err));
  v->tiles = list;
  v->tiles[v->n_tiles++] = (bc_ptile){ .head = head.p,
                                       .head_bytes = (uint32_t)head.n,
                                       .payload = t->payload.p,
                                       .payload_bytes = t->payload.n,
                                       .bucket = h->key.time,
                                       .area = area,
                                       .cell = h->key.cell,
                                       .segment = t->rec.segment,
                                       .part = h->key.part };
  return BC_OK;
}

static bc_status each_tile(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  scan *s = ctx;
  bc_tile t = { 0 };
  bc_err why = { .msg = "" };
  bc_status st = bc_snapshot_tile(s->snap, key, rec, &t, &why);
  if (bc_plan_is_damage(st) && bc_snapshot_has_copy(s->snap, key)) return BC_OK; /* which is read instead */
  if (st == BC_OK) st = take_tile(s->q, &s->q->vars[s->var_of[key->modality]], &t, &why);
  bc_tile_close(&t);
  if (s->q->skip_damaged && bc_plan_is_damage(st))
    return bc_plan_lost(s->q, &s->q->vars[s->var_of[key->modality]], s->snap, key, rec, &why, err);
  if (bc_plan_is_damage(st)) bc_plan_add_remedy(s->snap, rec, &why);
  if (st != BC_OK && err != NULL) *err = why;
  return st;
}

static int64_t clamp_time(int64_t t) { return BC_MAX(BC_MIN(t, BC_TIME_MAX), BC_TIME_MIN); }

/* All cells for the variables of one kind of bucket: they share the walk, because they share where it starts.
 */
static bc_status scan_bucket(scan *s, bc_bucket bucket, const uint32_t *cells, size_t n_cells,
                             uint16_t *wanted, bc_err *err)
{
  const bc_query *q = s->q;
  size_t n = 0;
  for (uint32_t id = 0; id < bc_snapshot_modalities(s->snap); id++)
    if (s->var_of[id] != SIZE_MAX && q->vars[s->var_of[id]].m.bucket == bucket) wanted[n++] = (uint16_t)id;
  if (n == 0) return BC_OK;
  int64_t from = BC_TIME_STATIC, to = BC_TIME_STATIC + 1;
  if (bucket != BC_BUCKET_STATIC) {
    from = bc_bucket_floor(bucket, clamp_time(q->t_begin));
    to = q->t_end > BC_TIME_MAX ? BC_TIME_MAX + 1 : q->t_end;
  }
  for (size_t i = 0; i < n_cells; i++)
    BC_RET(bc_snapshot_scan(s->snap, cells[i], from, to, wanted, n, each_tile, s, err));
  return BC_OK;
}

/* Where a lost tile had values is not known: it counts only when nothing else is there. */
static void extend_by_lost(bc_query *q)
{
  if (!q->where.by_extent || q->where.row_max >= q->where.row_min) return;
  for (size_t i = 0; i < q->n_vars; i++)
    for (size_t k = 0; k < q->vars[i].n_tiles; k++)
      bc_where_extend(&q->where, q->vars[i].tiles[k].area);
}

static bc_status scan_tiles(bc_query *q, bc_snapshot *snap, bc_err *err)
{
  bc_status st = BC_OK;
  const size_t n = bc_snapshot_modalities(snap);
  uint32_t *cells = NULL;
  size_t n_cells = 0;
  scan s = { q, snap, bc_malloc(n * sizeof(size_t)) };
  uint16_t *wanted = bc_malloc(n * sizeof *wanted);
  if (s.var_of == NULL || wanted == NULL) {
    st = no_memory(err);
    goto out;
  }
  for (size_t i = 0; i < n; i++)
    s.var_of[i] = SIZE_MAX;
  for (size_t i = 0; i < q->n_vars; i++)
    s.var_of[q->vars[i].m.id] = i;
  BC_TRY(bc_where_cells(&q->where, &cells, &n_cells, err));
  for (int b = BC_BUCKET_STATIC; b <= BC_BUCKET_DECADE; b++)
    BC_TRY(scan_bucket(&s, (bc_bucket)b, cells, n_cells, wanted, err));
  extend_by_lost(q);
out:
  bc_free(s.var_of);
  bc_free(wanted);
  bc_free(cells);
  return st;
}

/* ---- nothing there ---- */

static bc_status nothing(const bc_query *q, bc_snapshot *snap, const bc_qvar *v, bc_err *err)
{
  char name[2 * BC_NAME_MAX], a[BC_TIME_TEXT], b[BC_TIME_TEXT];
  bc_usage u;
  const bool placed = !q->where.by_extent;
  bc_plan_name(&v->m, name);
  BC_RET(bc_snapshot_usage(snap, v->m.id, &u, err));
  if (u.n_tiles == 0) return BC_FAIL(err, BC_E_NOTFOUND, "%s holds no values yet", name);
  if (v->is_static) return BC_FAIL(err, BC_E_NOTFOUND, "%s has no values in this place", name);
  const bool outside = u.t_last < q->t_begin || u.t_first >= q->t_end;
  if (outside && u.t_first == u.t_last)
    return BC_FAIL(
        err, BC_E_NOTFOUND,
        "%s has no values in that time, only at %s; if it does not change in time, ingest it with --static",
        name, bc_time_format_short(u.t_first, a));
  return BC_FAIL(err, BC_E_NOTFOUND, "%s has no values %s; it goes from %s to %s", name,
                 outside || !placed ? "in that time" : "in that place and time",
                 bc_time_format_short(u.t_first, a), bc_time_format_short(u.t_last, b));
}

/* Cut short where there are many. */
static void leave_out(bc_query *q, const bc_modality *m)
{
  char name[2 * BC_NAME_MAX];
  const size_t n = strlen(q->left_out);
  bc_plan_name(m, name);
  if (n + strlen(name) + 8 < sizeof q->left_out)
    (void)snprintf(q->left_out + n, sizeof q->left_out - n, "%s%s", n > 0 ? ", " : "", name);
  else if (n > 0 && q->left_out[n - 1] != '.')
    (void)snprintf(q->left_out + n, sizeof q->left_out - n, ", ...");
}

/* Variables asked for by name must be there; of the others those that are. */
static bc_status drop_empty(bc_query *q, bc_snapshot *snap, bc_err *err)
{
  size_t n = 0;
  for (size_t i = 0; i < q->n_vars; i++)
    if (q->vars[i].n_tiles == 0 && q->vars[i].exact) return nothing(q, snap, &q->vars[i], err);
  for (size_t i = 0; i < q->n_vars; i++)
    n += q->vars[i].n_tiles > 0;
  if (n == 0) return nothing(q, snap, &q->vars[0], err);
  n = 0;
  for (size_t i = 0; i < q->n_vars; i++) {
    if (q->vars[i].n_tiles == 0) {
      leave_out(q, &q->vars[i].m);
      dispose_var(&q->vars[i]);
      continue;
    }
    if (n != i) q->vars[n] = q->vars[i];
    n++;
  }
  memset(&q->vars[n], 0, (q->n_vars - n) * sizeof *q->vars);
  q->n_vars = n;
  return BC_OK;
}

/* ---- source files, for messages about damage ---- */

static bc_status load_sources(bc_query *q, bc_snapshot *snap, const uint8_t *bits, uint32_t limit,
                              bc_err *err)
{
  size_t cap = 0;
  for (uint32_t id = 0; id < limit; id++) {
    bc_source_rec rec;
    if ((bits[id / 8] >> (id % 8) & 1) == 0) continue;
    const bc_status st = bc_snapshot_source(snap, id, &rec, err);
    if (st == BC_E_NOTFOUND) continue;
    BC_RET(st);
    void *list = q->sources;
    BC_RET(bc_list_reserve(&list, &cap, q->n_sources + 1, sizeof *q->sources, err));
    q->sources = list;
    char *name = bc_strdup(rec.name);
    if (name == NULL) return no_memory(err);
    q->sources[q->n_sources++] = (bc_source_name){ id, name };
  }
  return BC_OK;
}

static bc_status plan_tiles(bc_query *q, bc_snapshot *snap, bc_err *err)
{
  bc_status st = BC_OK;
  const uint32_t limit = bc_snapshot_source_limit(snap);
  uint8_t *bits = bc_calloc((size_t)limit / 8 + 1, 1);
  if (bits == NULL) return no_memory(err);
  for (size_t i = 0; i < q->n_vars; i++)
    BC_TRY(bc_plan_tiles(q, &q->vars[i], bits, limit, err));
  BC_TRY(load_sources(q, snap, bits, limit, err));
out:
  bc_free(bits);
  return st;
}

/* ---- open and close ---- */

static bc_status check_request(const bc_select *sel, const bc_query_opts *opts, bc_err *err)
{
  if (sel->version != BC_SELECT_VERSION || (opts != NULL && opts->version != BC_QUERY_OPTS_VERSION))
    return BC_FAIL(err, BC_E_INVAL, "selection version %u, this library knows %u: rebuild the caller",
                   sel->version, BC_SELECT_VERSION);
  if (sel->has_bbox && sel->n_points > 0)
    return BC_FAIL(err, BC_E_INVAL, "a box and points together: ask for one of them");
  if (sel->every_time < 1 || sel->every_space < 1 || sel->every_time > INT32_MAX ||
      sel->every_space > INT32_MAX)
    return BC_FAIL(err, BC_E_INVAL, "every %" PRId64 ",%" PRId64 ": expected whole numbers from 1",
                   sel->every_time, sel->every_space);
  if (sel->agg != BC_AGG_NONE && sel->period.n < 1)
    return BC_FAIL(err, BC_E_INVAL, "aggregation over a period of %" PRId64 ": expected at least 1",
                   sel->period.n);
  if (sel->t_begin >= sel->t_end) return BC_FAIL(err, BC_E_INVAL, "the time asked for ends before it begins");
  return BC_OK;
}

static bc_status plan(bc_query *q, bc_store *store, bc_snapshot *snap, const bc_select *sel, bc_err *err)
{
  bc_status st = BC_OK;
  bc_names names = { 0 };
  bc_chosen *chosen = NULL;
  bc_store_info info;
  size_t n = 0;

  BC_TRY(bc_names_init(&names, snap, err));
  BC_TRY(bc_names_choose(&names, sel->vars, sel->n_vars, &chosen, &n, err));
  BC_TRY(make_vars(q, snap, chosen, n, sel, err));
  const uint32_t grid = q->vars[0].m.grid;
  BC_TRY(bc_where_init(&q->where, bc_snapshot_grid(snap, grid), grid, sel, err));
  BC_TRY(scan_tiles(q, snap, err));
  BC_TRY(drop_empty(q, snap, err));
  BC_TRY(bc_where_settle(&q->where, err));
  for (size_t i = 0; i < q->n_vars; i++)
    BC_TRY(bc_plan_axes(q, &q->vars[i], err));
  BC_TRY(drop_empty(q, snap, err));
  BC_TRY(plan_tiles(q, snap, err));
  BC_TRY(bc_snapshot_info(snap, &info, err));
  BC_TRY(bc_plan_title(q, store, info.uuid, sel, err));
  q->list = bc_calloc(q->n_vars, sizeof *q->list);
  if (q->list == NULL) st = no_memory(err);
  for (size_t i = 0; st == BC_OK && i < q->n_vars; i++) {
    st = bc_plan_describe(q, &q->vars[i], err);
    q->list[i] = &q->vars[i].var;
  }
out:
  bc_names_dispose(&names);
  bc_free(chosen);
  return st;
}

static bc_status open_once(bc_store *store, const bc_select *sel, const bc_query_opts *opts, bc_query **out,
                           bc_err *err)
{
  bc_status st = BC_OK;
  bc_snapshot *snap = NULL;
  bc_query *q = bc_calloc(1, sizeof *q);
  if (q == NULL) return no_memory(err);
  q->memory = opts == NULL || opts->memory == 0 ? DEFAULT_MEMORY : opts->memory;
  q->threads = opts == NULL ? 1 : BC_MAX(1, BC_MIN(opts->threads, MAX_THREADS));
  q->skip_damaged = opts != NULL && opts->skip_damaged;
  q->period = sel->period;
  q->every_time = sel->every_time;
  q->t_begin = sel->t_begin;
  q->t_end = sel->t_end;
  BC_TRY(bc_snapshot_open(store, &snap, err));
  q->snapshot = bc_snapshot_id(snap);
  BC_TRY(plan(q, store, snap, sel, err));
  *out = q;
  q = NULL;
out:
  bc_snapshot_close(snap);
  bc_query_close(q);
  return st;
}

bc_status bc_query_open(bc_store *store, const bc_select *sel, const bc_query_opts *opts, bc_query **out,
                        bc_err *err)
{
  bc_status st = BC_OK;
  bc_err e = { .msg = "" };
  *out = NULL;
  BC_RET(check_request(sel, opts, err));
  BC_RET(bc_store_check_process(store, err));
  for (int i = 0; i <= BC_STALE_RETRIES; i++) {
    st = open_once(store, sel, opts, out, &e);
    if (!bc_is_stale(st, &e)) break;
  }
  if (st != BC_OK && err != NULL) *err = e;
  return st;
}

void bc_query_close(bc_query *q)
{
  if (q == NULL) return;
  bc_workers_close(q);
  for (size_t i = 0; i < q->n_vars; i++)
    dispose_var(&q->vars[i]);
  for (size_t i = 0; i < q->n_segments; i++)
    bc_segment_unref(q->segments[i]);
  for (size_t i = 0; i < q->n_sources; i++)
    bc_free(q->sources[i].name);
  for (size_t i = 0; i < q->n_made; i++)
    bc_free(q->made[i]);
  bc_free(q->made);
  for (size_t i = 0; i < BC_ARRAY_LEN(q->attr_text); i++)
    bc_free(q->attr_text[i]);
  bc_where_dispose(&q->where);
  bc_free(q->vars);
  bc_free(q->list);
  bc_free(q->segments);
  bc_free(q->sources);
  bc_free(q);
}

size_t bc_query_vars(const bc_query *q, const bc_var *const **out)
{
  *out = q->list;
  return q->n_vars;
}

void bc_query_get_cost(const bc_query *q, int ivar, bc_query_cost *out)
{
  memset(out, 0, sizeof *out);
  for (size_t i = 0; i < q->n_vars; i++) {
    const bc_query_cost *c = &q->vars[i].cost;
    if (ivar >= 0 && (size_t)ivar != i) continue;
    out->tiles += c->tiles;
    out->blocks += c->blocks;
    out->stored_bytes += c->stored_bytes;
    out->decoded_bytes += c->decoded_bytes;
    out->output_bytes += c->output_bytes;
    out->peak_bytes = BC_MAX(out->peak_bytes, c->peak_bytes); /* one variable after the other */
  }
  out->snapshot = q->snapshot;
}

void bc_query_get_part(const bc_query *q, size_t ivar, bc_query_part *out)
{
  memset(out, 0, sizeof *out);
  if (ivar < q->n_vars) *out = q->vars[ivar].part;
}

const char *bc_query_left_out(const bc_query *q) { return q->left_out; }

uint64_t bc_query_damaged(const bc_query *q, const char **first)
{
  if (first != NULL) *first = q->first_damage;
  return q->damaged;
}
