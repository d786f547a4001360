/* Does the store hold steps of a file already? Looks at the times of its tiles, not at values. */
#include "ingest/file_plan.h"

typedef struct overlap_ctx {
  bc_snapshot *s;
  const bc_plan_var *v;
  bool found;
} overlap_ctx;

static bc_status look_for_step(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  overlap_ctx *c = ctx;
  bc_tile t;
  if (c->found) return BC_OK;
  BC_RET(bc_snapshot_tile(c->s, key, rec, &t, err));
  const double *times = c->v->sv->var.coord[0];
  for (uint32_t i = 0; i < t.head.nt && !c->found; i++) {
    const int64_t at = bc_tile_time(&t.head, i);
    if (at == BC_TIME_STATIC) c->found = true;
    int64_t lo = c->v->first, hi = c->v->end;
    while (lo < hi) {
      const int64_t mid = lo + (hi - lo) / 2;
      if ((int64_t)times[mid] < at)
        lo = mid + 1;
      else
        hi = mid;
    }
    if (lo < c->v->end && (int64_t)times[lo] == at) c->found = true;
  }
  bc_tile_close(&t);
  return BC_OK;
}

static bc_status var_overlaps(bc_snapshot *s, const bc_file_plan *p, const bc_plan_var *v, bool *found,
                              bc_err *err)
{
  overlap_ctx c = { s, v, false };
  const bc_box box = bc_regrid_box(v->rg);
  const int64_t cny = bc_grid_cell_ny(p->grid), cnx = bc_grid_cell_nx(p->grid),
                cells_x = bc_grid_cells_x(p->grid);
  if (v->first >= v->end) return BC_OK;
  const int64_t last = bc_plan_time(v, v->end - 1);
  const int64_t from = bc_bucket_floor(v->def.bucket, bc_plan_time(v, v->first));
  for (int64_t cy = box.y / cny; cy * cny < box.y + box.ny && !c.found; cy++)
    for (int64_t cx = box.x / cnx, n = 0; cx * cnx < box.x + box.nx && n <= cells_x && !c.found; cx++, n++) {
      const uint32_t cell =
          (uint32_t)p->grid_number << BC_CELL_BITS | bc_cell_number((uint32_t)cy, (uint32_t)(cx % cells_x));
      BC_RET(bc_snapshot_scan(s, cell, from, last == INT64_MAX ? last : last + 1, &v->id, 1, look_for_step,
                              &c, err));
    }
  *found = *found || c.found;
  return BC_OK;
}

bc_status bc_file_plan_overlaps(const bc_file_plan *p, bc_store *store, bool *found, bc_err *err)
{
  bc_status st = BC_OK;
  bc_snapshot *s = NULL;
  *found = false;
  BC_RET(bc_snapshot_open(store, &s, err));
  for (size_t i = 0; i < p->n && st == BC_OK && !*found; i++)
    if (p->vars[i].id < bc_snapshot_modalities(s)) st = var_overlaps(s, p, &p->vars[i], found, err);
  bc_snapshot_close(s);
  return st;
}
