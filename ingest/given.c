/* Files that a mending run has gone through, and lost tiles that wait for more of them. See gather_int.h. */
#include <string.h>

#include "ingest/gather_int.h"

/* Where id is, or the free slot where it belongs. Slots hold id + 1: no source has the greatest number. */
static size_t slot_of(const bc_ids *g, uint32_t id)
{
  size_t at = (size_t)(id * UINT32_C(2654435761)) & (g->n_slots - 1);
  while (g->slot[at] != 0 && g->slot[at] != id + 1)
    at = (at + 1) & (g->n_slots - 1);
  return at;
}

bool bc_ids_has(const bc_ids *g, uint32_t id) { return g->n > 0 && g->slot[slot_of(g, id)] != 0; }

static bc_status grow_slots(bc_ids *g, bc_err *err)
{
  bc_ids more = { .n_slots = BC_MAX(2 * g->n_slots, (size_t)64) };
  more.slot = bc_calloc(more.n_slots, sizeof *more.slot);
  if (more.slot == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  for (size_t i = 0; i < g->n_slots; i++)
    if (g->slot[i] != 0) more.slot[slot_of(&more, g->slot[i] - 1)] = g->slot[i];
  bc_free(g->slot);
  g->slot = more.slot;
  g->n_slots = more.n_slots;
  return BC_OK;
}

bc_status bc_ids_add(bc_ids *g, uint32_t id, bc_err *err)
{
  if (2 * g->n >= g->n_slots) BC_RET(grow_slots(g, err));
  const size_t at = slot_of(g, id);
  g->n += g->slot[at] == 0 ? 1 : 0;
  g->slot[at] = id + 1;
  return BC_OK;
}

bc_status bc_given_wait(bc_given *g, const bc_tile_key *key, bc_err *err)
{
  if (g->n_left == g->cap_left) {
    const size_t cap = BC_MAX(2 * g->cap_left, (size_t)64);
    bc_tile_key *p = bc_realloc(g->left, cap * sizeof *p);
    if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
    g->left = p;
    g->cap_left = cap;
  }
  g->left[g->n_left++] = *key;
  return BC_OK;
}

void bc_given_dispose(bc_given *g)
{
  bc_free(g->done.slot);
  bc_free(g->held.slot);
  bc_free(g->left);
  bc_source_order_dispose(&g->order);
  *g = (bc_given){ 0 };
}
