#include "store/source_set.h"

#include <string.h>

#include "store/store_int.h"

static size_t slot_of(const bc_source_set *s, const bc_source_rec *like)
{
  uint8_t want[BC_SOURCE_KEY], have[BC_SOURCE_KEY];
  bc_source_key(like, want);
  size_t i = (size_t)bc_hash64(want, sizeof want) & (s->n_slots - 1);
  for (; s->slot[i] != 0; i = (i + 1) & (s->n_slots - 1)) {
    bc_source_key(&s->rec[s->slot[i] - 1], have);
    if (memcmp(want, have, sizeof want) == 0) break;
  }
  return i;
}

static void fill_slots(bc_source_set *s)
{
  if (s->n_slots > 0) memset(s->slot, 0, s->n_slots * sizeof *s->slot);
  for (size_t i = 0; i < s->n; i++)
    s->slot[slot_of(s, &s->rec[i])] = (uint32_t)i + 1;
}

/* At most half of the slots are taken. */
static bc_status grow_set(bc_source_set *s, bc_err *err)
{
  if (s->n < s->cap) return BC_OK;
  const size_t cap = s->cap == 0 ? 64 : s->cap * 2;
  bc_source_rec *rec = bc_realloc(s->rec, cap * sizeof *rec);
  if (rec != NULL) s->rec = rec;
  uint32_t *slot = bc_realloc(s->slot, cap * 2 * sizeof *slot);
  if (slot != NULL) s->slot = slot;
  if (rec == NULL || slot == NULL) return BC_FAIL(err, BC_E_NOMEM, "writer: no memory for %zu sources", cap);
  s->cap = cap;
  s->n_slots = cap * 2;
  fill_slots(s);
  return BC_OK;
}

const bc_source_rec *bc_source_set_find(const bc_source_set *s, const bc_source_rec *like)
{
  if (s->n == 0) return NULL;
  const uint32_t at = s->slot[slot_of(s, like)];
  return at == 0 ? NULL : &s->rec[at - 1];
}

bc_status bc_source_set_put(bc_source_set *s, const bc_source_rec *rec, bc_err *err)
{
  BC_RET(grow_set(s, err));
  const size_t i = slot_of(s, rec);
  if (s->slot[i] == 0) s->slot[i] = (uint32_t)++s->n;
  s->rec[s->slot[i] - 1] = *rec;
  return BC_OK;
}

void bc_source_set_remove(bc_source_set *s, uint32_t id)
{
  for (size_t i = s->n; i-- > 0;) { /* the newest is the likeliest */
    if (s->rec[i].id != id) continue;
    memmove(&s->rec[i], &s->rec[i + 1], (s->n - i - 1) * sizeof *s->rec);
    s->n--;
    fill_slots(s);
    return;
  }
}

void bc_source_set_clear(bc_source_set *s)
{
  s->n = 0;
  fill_slots(s);
}

void bc_source_set_dispose(bc_source_set *s)
{
  bc_free(s->rec);
  bc_free(s->slot);
  memset(s, 0, sizeof *s);
}
