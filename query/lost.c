/*
 * Tiles that cannot be read, for answers that go on without them: of each the index knows the steps, so that
 * a tile of missing values takes its place. It covers the whole cell: what earlier pieces say there was
 * perhaps replaced by what is lost, and must not come up again.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "query/plan.h"
#include "store/datetime.h"
#include "store/remedy.h"

/* ---- what is told ---- */

/* Behind why: what brings it back. */
void bc_plan_add_remedy(bc_snapshot *snap, const bc_tile_rec *rec, bc_err *why)
{
  bc_remedy r = { 0 };
  const bc_err told = *why;
  if (bc_remedy_init(&r, snap, NULL) == BC_OK &&
      bc_remedy_of_lost_tile(&r, rec->head_segment, NULL) == BC_OK && bc_remedy_command(&r)[0] != '\0') {
    const bool fits = strlen(told.msg) + strlen(bc_remedy_command(&r)) + 16 < sizeof why->msg;
    (void)bc_err_set(why, why->code, told.domain, told.sys, told.file, told.line, "%s; to mend it: %s",
                     told.msg, fits ? bc_remedy_command(&r) : "see bctool verify --full");
  }
  bc_remedy_dispose(&r);
}

/* ---- its place in the plan ---- */

static bc_status make_head(bc_query *q, const bc_qvar *v, const bc_tile_key *key, const int64_t *times,
                           uint32_t nt, bc_buf *head, bc_err *err)
{
  const bc_grid *g = &q->where.grid;
  const uint32_t cny = bc_grid_cell_ny(g), cnx = bc_grid_cell_nx(g);
  uint16_t levels[BC_MAX_LEVELS];
  uint32_t cy = 0, cx = 0;
  bc_cell_position(key->cell & ((1u << BC_CELL_BITS) - 1u), &cy, &cx);
  for (uint16_t l = 0; l < BC_MAX_LEVELS; l++)
    levels[l] = l;
  bc_tile_in in = { .key = *key,
                    .layout = BC_LAYOUT_BALANCED,
                    .cell_ny = BC_MIN(cny, g->ny - cy * cny),
                    .cell_nx = BC_MIN(cnx, g->nx - cx * cnx),
                    .nt = nt,
                    .nl = BC_MAX(v->m.n_levels, 1),
                    .times = times,
                    .levels = levels,
                    .dtype = BC_F32 };
  in.ny = in.cell_ny;
  in.nx = in.cell_nx;
  return bc_tile_missing_head(&in, head, err);
}

static bc_status keep_head(bc_query *q, bc_qvar *v, const bc_tile_rec *rec, bc_buf *head, bc_err *err)
{
  bc_tile_head h;
  bc_area area;
  BC_RET(bc_tile_head_parse((bc_bytes){ head->p, head->n }, &h, err));
  BC_RET(bc_where_area(&q->where, &h, &area, err));
  void *list = q->made, *tiles = v->tiles;
  BC_RET(bc_list_reserve(&list, &q->cap_made, q->n_made + 1, sizeof *q->made, err));
  q->made = list;
  BC_RET(bc_list_reserve(&tiles, &v->cap_tiles, v->n_tiles + 1, sizeof *v->tiles, err));
  v->tiles = tiles;
  v->tiles[v->n_tiles++] = (bc_ptile){ .head = head->p,
                                       .head_bytes = (uint32_t)head->n,
                                       .bucket = h.key.time,
                                       .area = area,
                                       .cell = h.key.cell,
                                       .segment = rec->segment,
                                       .part = h.key.part,
                                       .lost = true };
  q->made[q->n_made++] = head->p;
  *head = bc_buf_empty(0);
  return BC_OK;
}

static int by_time(const void *a, const void *b)
{
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Which steps it had is not certain: those of earlier pieces in its span may be superseded. They were planned
 * before it, and lie last in the list. */
static bc_status add_earlier(const bc_qvar *v, const bc_tile_key *key, int64_t **times, uint32_t *nt,
                             bc_err *err)
{
  const int64_t first = (*times)[0], last = (*times)[*nt - 1];
  for (size_t i = v->n_tiles; i-- > 0;) {
    bc_tile_head h;
    const bc_ptile *p = &v->tiles[i];
    if (p->cell != key->cell || p->bucket != key->time) break;
    BC_RET(bc_tile_head_parse((bc_bytes){ p->head, p->head_bytes }, &h, err));
    int64_t *more = bc_realloc(*times, ((size_t)*nt + h.nt) * sizeof *more);
    if (more == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory to plan the query");
    *times = more;
    for (uint32_t t = 0; t < h.nt; t++) {
      const int64_t time = bc_tile_time(&h, t);
      if (time > first && time < last) more[(*nt)++] = time;
    }
  }
  uint32_t n = 0;
  qsort(*times, *nt, sizeof **times, by_time);
  for (uint32_t i = 0; i < *nt; i++)
    if (n == 0 || (*times)[i] != (*times)[n - 1]) (*times)[n++] = (*times)[i];
  *nt = n;
  return BC_OK;
}

bc_status bc_plan_lost(bc_query *q, bc_qvar *v, bc_snapshot *snap, const bc_tile_key *key,
                       const bc_tile_rec *rec, bc_err *why, bc_err *err)
{
  bc_status st = BC_OK;
  int64_t *times = NULL;
  bc_buf head = bc_buf_empty((size_t)1 << 30);
  uint32_t nt = bc_lost_steps(&v->m, key, rec, NULL, BC_LOST_STEPS_MAX);
  if (q->first_damage[0] == '\0') {
    bc_plan_add_remedy(snap, rec, why);
    memcpy(q->first_damage, why->msg, sizeof q->first_damage);
  }
  if (nt == 0) { /* who knows which */
    q->damaged++;
    return BC_OK;
  }
  times = bc_malloc(nt * sizeof *times);
  if (times == NULL) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "no memory to plan the query"));
  (void)bc_lost_steps(&v->m, key, rec, times, nt);
  if (nt != rec->n_steps) BC_TRY(add_earlier(v, key, &times, &nt, err));
  if (!v->is_static && (times[nt - 1] < q->t_begin || times[0] >= q->t_end)) goto out;
  BC_TRY(make_head(q, v, key, times, nt, &head, err));
  BC_TRY(keep_head(q, v, rec, &head, err));
out:
  bc_free(times);
  bc_buf_dispose(&head);
  return st;
}
