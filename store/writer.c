/*
 * A writer: variables, sources, tiles and drops that wait for the commit. writer_commit.c commits them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/writer_int.h"
#include "store/schema_io.h"

static bc_status grow(void **p, size_t *cap, size_t n, size_t elem, bc_err *err)
{
  if (n < *cap) return BC_OK;
  size_t want = *cap == 0 ? 16 : *cap * 2, bytes = 0;
  if (!bc_mul_sz(want, elem, &bytes)) return BC_FAIL(err, BC_E_RANGE, "writer: %zu entries", want);
  void *q = bc_realloc(*p, bytes);
  if (q == NULL) return BC_FAIL(err, BC_E_NOMEM, "writer: no memory for %zu entries", want);
  *p = q;
  *cap = want;
  return BC_OK;
}

/* ---- open and close ---- */

#define TWINS_MAX 64 /* of one variable: the same field in so many groups is enough to look through */

static bool are_twins(const bc_modality *a, const bc_modality *b)
{
  return a->grid == b->grid && strcmp(a->name, b->name) == 0;
}

static void add_twin(bc_writer_var *m, size_t j)
{
  uint16_t *p = m->n_twins < TWINS_MAX ? bc_realloc(m->twins, (m->n_twins + 1) * sizeof *p) : NULL;
  if (p == NULL) return; /* a twin that is not known is stored twice: no harm */
  p[m->n_twins++] = (uint16_t)j;
  m->twins = p;
}

static int by_name(const void *a, const void *b)
{
  const bc_modality *x = &(*(bc_writer_var *const *)a)->m, *y = &(*(bc_writer_var *const *)b)->m;
  const int c = strcmp(x->name, y->name);
  return c != 0 ? c : x->grid != y->grid ? (int)x->grid - (int)y->grid : (int)x->id - (int)y->id;
}

/* Of all, by sorting: a damaged store may claim 65,536 variables. */
static bc_status find_all_twins(bc_writer *w, bc_err *err)
{
  bc_writer_var **order = bc_malloc((w->n_mods + 1) * sizeof(bc_writer_var *));
  if (order == NULL) return BC_FAIL(err, BC_E_NOMEM, "writer: no memory");
  for (size_t i = 0; i < w->n_mods; i++) {
    order[i] = &w->mods[i];
    w->mods[i].n_twins = 0;
  }
  if (w->n_mods > 1) qsort(order, w->n_mods, sizeof *order, by_name);
  for (size_t from = 0, to = 0; from < w->n_mods; from = to) {
    while (to < w->n_mods && are_twins(&order[from]->m, &order[to]->m))
      to++;
    for (size_t i = from; i < to; i++)
      for (size_t k = from; k < to && k <= from + TWINS_MAX; k++)
        if (k != i) add_twin(order[i], (size_t)(order[k] - w->mods));
  }
  bc_free(order);
  return BC_OK;
}

static bc_status load(bc_writer *w, bc_snapshot *s, bc_err *err)
{
  uint64_t seg = 0, src = 0;
  w->n_grids = bc_snapshot_grids(s);
  w->grids = bc_calloc(w->n_grids, sizeof *w->grids);
  w->mods = bc_calloc(bc_snapshot_modalities(s) + 1, sizeof *w->mods);
  if (w->grids == NULL || w->mods == NULL) return BC_FAIL(err, BC_E_NOMEM, "writer: no memory");
  for (size_t i = 0; i < w->n_grids; i++)
    w->grids[i] = *bc_snapshot_grid(s, i);
  for (size_t i = 0; i < bc_snapshot_modalities(s); i++) {
    BC_RET(bc_modality_copy(bc_snapshot_modality(s, i), &w->mods[i].m, err));
    w->n_mods++;
  }
  BC_RET(find_all_twins(w, err));
  w->snapshot = bc_snapshot_id(s);
  BC_RET(bc_meta_get(s->txn, BC_META_NEXT_SEGMENT, &seg, err));
  BC_RET(bc_meta_get(s->txn, BC_META_NEXT_SOURCE, &src, err));
  BC_RET(bc_meta_next_order(s->txn, &w->next_order, err));
  if (seg == 0 || seg >= UINT32_MAX)
    return BC_FAIL(err, BC_E_CORRUPT, "index: next segment %" PRIu64 ": run bctool reindex", seg);
  if (src >= UINT32_MAX || w->next_order >= BC_ORDER_MAX)
    return BC_FAIL(err, BC_E_CORRUPT, "index: next source %" PRIu64 ", order %" PRId64 ": run bctool reindex",
                   src, w->next_order);
  w->next_segment = (uint32_t)seg;
  w->next_source = (uint32_t)src;
  return BC_OK;
}

bc_status bc_writer_open(bc_store *store, bc_writer **out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_snapshot *s = NULL;
  *out = NULL;
  if (!store->write) return BC_FAIL(err, BC_E_READONLY, "%s: opened for reading only", store->path);
  bc_writer *w = bc_calloc(1, sizeof *w);
  if (w == NULL) return BC_FAIL(err, BC_E_NOMEM, "writer: no memory");
  w->st = store;
  uint32_t past_files = 0;
  BC_TRY(bc_writer_roll_forward(store, &past_files, err));
  BC_TRY(bc_snapshot_open(store, &s, err));
  BC_TRY(load(w, s, err));
  w->next_segment = BC_MAX(w->next_segment, past_files);
  *out = w;
  w = NULL;
out:
  bc_snapshot_close(s);
  bc_writer_close(w);
  return st;
}

void bc_writer_close(bc_writer *w)
{
  if (w == NULL) return;
  bc_segw_close(w->seg);
  for (size_t i = 0; i < w->n_mods; i++) {
    bc_modality_dispose(&w->mods[i].m);
    bc_free(w->mods[i].twins);
  }
  bc_free(w->mods);
  bc_free(w->grids);
  bc_source_set_dispose(&w->sources);
  bc_free(w->drops);
  bc_free(w->retired);
  bc_free(w->slots);
  bc_free(w);
}

/* ---- schema ---- */

static bc_status extend_levels(bc_writer_var *s, const bc_modality *def, uint16_t *level_index, bc_err *err)
{
  for (uint16_t i = 0; i < def->n_levels; i++) {
    int at = bc_modality_level(&s->m, def->levels[i]);
    if (at < 0) {
      if (s->m.n_levels >= BC_MAX_LEVELS)
        return BC_FAIL(err, BC_E_RANGE, "%s/%s: more than %d levels", def->group, def->name, BC_MAX_LEVELS);
      at = s->m.n_levels++;
      s->m.levels[at] = def->levels[i];
      s->changed = true;
    }
    if (level_index != NULL) level_index[i] = (uint16_t)at;
  }
  return BC_OK;
}

/* The first file's word stands, also where it has none: a later one's may not be true of its values. */
static bool says_what_it_is(const char *attr)
{
  static const char *const k[] = { "cell_methods", "long_name", "standard_name", "GRIB_stepType" };
  bool says = false;
  for (size_t i = 0; i < BC_ARRAY_LEN(k) && !says; i++)
    says = strcmp(attr, k[i]) == 0;
  return says;
}

static bc_status merge_modality(bc_writer_var *s, const bc_modality *def, uint16_t *level_index, bc_err *err)
{
  if (strcmp(s->m.units, def->units) != 0)
    return BC_FAIL(err, BC_E_CONFLICT,
                   "%s/%s: in units %s in the store, in %s here: convert, or use another --group", def->group,
                   def->name, s->m.units, def->units);
  if ((s->m.n_levels == 0) != (def->n_levels == 0))
    return BC_FAIL(err, BC_E_CONFLICT, "%s/%s: %s levels in the store, %s here: use another --group",
                   def->group, def->name, s->m.n_levels == 0 ? "without" : "with",
                   def->n_levels == 0 ? "without" : "with");
  if (def->n_levels > 0 && strcmp(s->m.level_units, def->level_units) != 0)
    return BC_FAIL(err, BC_E_CONFLICT, "%s/%s: levels in %s in the store, in %s here", def->group, def->name,
                   s->m.level_units, def->level_units);
  if (s->m.precision != def->precision)
    return BC_FAIL(err, BC_E_CONFLICT,
                   "%s/%s: stored with precision %g (0 = exact), asked for %g: give --precision as before, "
                   "or another --group",
                   def->group, def->name, s->m.precision, def->precision);
  if ((s->m.bucket == BC_BUCKET_STATIC) != (def->bucket == BC_BUCKET_STATIC))
    return BC_FAIL(err, BC_E_CONFLICT, "%s/%s: %s time in the store, %s time here: use another --group",
                   def->group, def->name, s->m.bucket == BC_BUCKET_STATIC ? "without" : "with",
                   def->bucket == BC_BUCKET_STATIC ? "without" : "with");
  if (def->cadence != 0 && (s->m.cadence == 0 || def->cadence < s->m.cadence)) {
    s->m.cadence = def->cadence;
    s->changed = true;
  }
  for (int32_t i = 0; i < def->n_attrs; i++) {
    const bc_attr *a = &def->attrs[i];
    if (bc_modality_attr(&s->m, a->name) != NULL || says_what_it_is(a->name)) continue;
    BC_RET(bc_modality_set_attr(&s->m, a->name, a->value, a->numeric, err));
    s->changed = true;
  }
  return extend_levels(s, def, level_index, err);
}

bc_status bc_writer_modality(bc_writer *w, const bc_modality *def, uint16_t *id, uint16_t *level_index,
                             bc_err *err)
{
  BC_RET(bc_modality_check(def, err));
  if (def->grid >= w->n_grids)
    return BC_FAIL(err, BC_E_INVAL, "%s/%s: grid %d, the store has %zu", def->group, def->name, def->grid,
                   w->n_grids);
  for (size_t i = 0; i < w->n_mods; i++) {
    const bc_modality *m = &w->mods[i].m;
    if (strcmp(m->name, def->name) != 0 || strcmp(m->group, def->group) != 0) continue;
    if (m->grid != def->grid)
      return BC_FAIL(err, BC_E_CONFLICT, "%s/%s: on grid %s in the store: use another --group", def->group,
                     def->name, w->grids[m->grid].name);
    *id = (uint16_t)i;
    return merge_modality(&w->mods[i], def, level_index, err);
  }
  if (w->n_mods >= BC_MAX_MODALITIES)
    return BC_FAIL(err, BC_E_RANGE, "more than %u variables", BC_MAX_MODALITIES);
  bc_writer_var *p = bc_realloc(w->mods, (w->n_mods + 1) * sizeof *p);
  if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "writer: no memory");
  w->mods = p;
  bc_writer_var *s = &p[w->n_mods];
  memset(s, 0, sizeof *s);
  BC_RET(bc_modality_copy(def, &s->m, err));
  s->m.id = (uint16_t)w->n_mods++;
  s->changed = true;
  for (size_t j = 0; j + 1 < w->n_mods; j++) {
    if (!are_twins(&w->mods[j].m, &s->m)) continue;
    add_twin(&w->mods[j], s->m.id);
    add_twin(s, j);
  }
  for (uint16_t i = 0; level_index != NULL && i < def->n_levels; i++)
    level_index[i] = i;
  *id = s->m.id;
  return BC_OK;
}

size_t bc_writer_modalities(const bc_writer *w) { return w->n_mods; }

void bc_writer_keep_schema(bc_writer *w)
{
  w->kept_mods = w->n_mods;
  for (size_t i = 0; i < w->n_mods; i++) {
    bc_writer_var *const v = &w->mods[i];
    v->kept.n_levels = v->m.n_levels;
    v->kept.n_attrs = v->m.n_attrs;
    v->kept.cadence = v->m.cadence;
    v->kept.changed = v->changed;
  }
}

void bc_writer_restore_schema(bc_writer *w)
{
  while (w->n_mods > w->kept_mods) {
    bc_writer_var *v = &w->mods[--w->n_mods];
    BC_ASSERT(!v->used);
    bc_modality_dispose(&v->m);
    bc_free(v->twins);
  }
  for (size_t i = 0; i < w->n_mods; i++) {
    bc_writer_var *const v = &w->mods[i];
    while (v->n_twins > 0 && v->twins[v->n_twins - 1] >= w->n_mods) /* those that are gone came last */
      v->n_twins--;
    v->m.n_levels = v->kept.n_levels;
    bc_modality_cut_attrs(&v->m, v->kept.n_attrs);
    v->m.cadence = v->kept.cadence;
    v->changed = v->kept.changed;
  }
}

const bc_modality *bc_writer_get_modality(const bc_writer *w, uint16_t id)
{
  return id < w->n_mods ? &w->mods[id].m : NULL;
}

/* ---- sources ---- */

bc_status bc_writer_find_source(bc_writer *w, const bc_source_rec *def, bc_source_rec *out, bc_err *err)
{
  uint8_t key[BC_SOURCE_KEY];
  bc_txn *t = NULL;
  bc_bytes v;
  const bc_source_rec *waits = bc_source_set_find(&w->sources, def);
  if (waits != NULL) {
    *out = *waits;
    return BC_OK;
  }
  bc_source_key(def, key);
  BC_RET(bc_txn_begin(w->st->ix, false, &t, err));
  bc_status st = bc_txn_get(t, BC_TABLE_SOURCE_HASH, (bc_bytes){ key, sizeof key }, &v, err);
  if (st == BC_OK && v.n != 4) st = BC_FAIL(err, BC_E_CORRUPT, "index: sources: run bctool reindex");
  if (st == BC_OK) st = bc_get_source(t, bc_be32(v.p), out, err);
  bc_txn_abort(t);
  return st;
}

typedef struct file_search {
  const uint8_t *hash;
  bool found;
  uint32_t id;
} file_search;

static bc_status first_of_hash(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  file_search *s = ctx;
  *stop = true;
  if (key.n != BC_SOURCE_KEY || value.n != 4)
    return BC_FAIL(err, BC_E_CORRUPT, "index: sources: run bctool reindex");
  s->found = memcmp(key.p, s->hash, 16) == 0;
  s->id = bc_be32(value.p);
  return BC_OK;
}

bc_status bc_writer_find_file(bc_writer *w, const uint8_t hash[16], bc_source_rec *out, bc_err *err)
{
  file_search s = { .hash = hash };
  bc_txn *t = NULL;
  BC_RET(bc_txn_begin(w->st->ix, false, &t, err));
  bc_status st = bc_txn_each(t, BC_TABLE_SOURCE_HASH, (bc_bytes){ hash, 16 }, first_of_hash, &s, err);
  if (st == BC_OK) st = s.found ? bc_get_source(t, s.id, out, err) : BC_E_NOTFOUND;
  bc_txn_abort(t);
  return st;
}

bc_status bc_writer_source(bc_writer *w, const bc_source_rec *def, bc_source_rec *out, bc_err *err)
{
  const bc_status st = bc_writer_find_source(w, def, out, err);
  if (st != BC_E_NOTFOUND) return st;
  *out = *def;
  out->id = w->next_source++;
  out->done = false;
  out->next_var = 0;
  out->next_step = 0;
  out->order = w->next_order++;
  return bc_source_set_put(&w->sources, out, err);
}

void bc_writer_source_comes_last(bc_writer *w, bc_source_rec *rec)
{
  if (rec->order + 1 != w->next_order) rec->order = w->next_order++;
}

void bc_writer_forget_source(bc_writer *w, uint32_t id) { bc_source_set_remove(&w->sources, id); }

bc_status bc_writer_source_update(bc_writer *w, const bc_source_rec *rec, bc_err *err)
{
  return bc_source_set_put(&w->sources, rec, err);
}

/* ---- pending tiles by key ---- */

static size_t slot_of(const bc_writer *w, const bc_tile_key *key)
{
  uint8_t k[BC_TILE_KEY_BYTES];
  bc_tile_key_put(key, k);
  size_t i = (size_t)bc_hash64(k, sizeof k) & (w->n_slots - 1);
  while (w->slots[i].tile != 0 && !bc_tile_key_equal(&w->slots[i].key, key))
    i = (i + 1) & (w->n_slots - 1);
  return i;
}

static bc_status remember(bc_writer *w, const bc_tile_key *key, uint32_t tile, bc_err *err)
{
  if ((size_t)tile * 2 > w->n_slots) {
    const size_t n = w->n_slots == 0 ? 1024 : w->n_slots * 2, old_n = w->n_slots;
    bc_writer_slot *old = w->slots, *fresh = bc_calloc(n, sizeof *fresh);
    if (fresh == NULL) return BC_FAIL(err, BC_E_NOMEM, "writer: no memory for %zu tiles", n);
    w->slots = fresh;
    w->n_slots = n;
    for (size_t i = 0; i < old_n; i++)
      if (old[i].tile != 0) w->slots[slot_of(w, &old[i].key)] = old[i];
    bc_free(old);
  }
  w->slots[slot_of(w, key)] = (bc_writer_slot){ *key, tile };
  return BC_OK;
}

/* Place of a pending tile + 1; 0 = none. */
static uint32_t pending_tile(const bc_writer *w, const bc_tile_key *key)
{
  return w->n_slots == 0 ? 0 : w->slots[slot_of(w, key)].tile;
}

bool bc_writer_is_pending(const bc_writer *w, const bc_tile_key *key) { return pending_tile(w, key) != 0; }

void bc_writer_set_upkeep(bc_writer *w, const bc_upkeep *u) { w->upkeep = u; }

typedef struct last_part {
  uint16_t base;
  int32_t last;
} last_part;

static bc_status note_part(void *ctx, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  last_part *c = ctx;
  (void)rec;
  (void)err;
  if ((key->part & BC_PART_SECOND) == c->base) c->last = key->part & (BC_PART_SECOND - 1);
  return BC_OK;
}

bc_status bc_writer_next_part(bc_writer *w, bc_tile_key *key, bc_err *err)
{
  bc_txn *t = NULL;
  last_part c = { (uint16_t)(key->part & BC_PART_SECOND), -1 };
  BC_RET(bc_txn_begin(w->st->ix, false, &t, err));
  const int64_t end = key->time == INT64_MAX ? INT64_MAX : key->time + 1;
  const bc_status st = bc_txn_tile_scan(t, key->cell, key->time, end, &key->modality, 1, note_part, &c, err);
  bc_txn_abort(t);
  BC_RET(st);
  /* Never a number that was free in between: a later piece has to win over all earlier ones. */
  for (int32_t n = c.last + 1; n < (int32_t)BC_PART_SECOND; n++) {
    key->part = (uint16_t)(c.base | n);
    if (pending_tile(w, key) == 0) return BC_OK;
  }
  return BC_FAIL(err, BC_E_RANGE, "more than %u pieces of one tile: run bctool compact", BC_PART_SECOND);
}

/* ---- tiles ---- */

bc_status bc_writer_open_segment(bc_writer *w, bc_err *err)
{
  if (w->seg != NULL) return BC_OK;
  return bc_segw_open(w->st->segments, w->next_segment, w->st->uuid, &w->seg, err);
}

static bool same_payload(bc_writer *w, const bc_tile_rec *twin, bc_bytes payload)
{
  bc_bytes there;
  bool same = false;
  if (twin->stored != payload.n || payload.n == 0) return false;
  if (w->upkeep != NULL && twin->segment < w->upkeep->n_moving && w->upkeep->moving[twin->segment])
    return false;
  if (w->seg != NULL && twin->segment == w->next_segment) {
    uint8_t *copy = bc_malloc(payload.n);
    same = copy != NULL && bc_segw_read(w->seg, twin->offset, copy, payload.n, NULL) == BC_OK &&
           memcmp(copy, payload.p, payload.n) == 0;
    bc_free(copy);
    return same;
  }
  bc_segment *s = NULL;
  if (bc_store_segment(w->st, twin->segment, &s, NULL) != BC_OK) return false;
  same = bc_segment_slice(s, twin->offset, twin->stored, &there, NULL) == BC_OK &&
         memcmp(there.p, payload.p, payload.n) == 0;
  bc_segment_unref(s);
  return same;
}

/* The same variable in another group, same place and time, same bytes: stored once. */
static bool find_equal(bc_writer *w, const bc_tile_key *key, bc_bytes payload, bc_tile_rec *out)
{
  const bc_writer_var *m = &w->mods[key->modality];
  bool found = false;
  if (m->n_twins == 0 || payload.n == 0) return false;
  const uint64_t hash = bc_hash64(payload.p, payload.n);
  for (size_t i = 0; i < m->n_twins && !found; i++) {
    bc_tile_key k = *key;
    k.modality = m->twins[i];
    const uint32_t at = pending_tile(w, &k);
    bc_txn *t = NULL;
    if (at != 0) {
      bc_segw_tile(w->seg, at - 1, &k, out);
      found = true;
    } else if (bc_txn_begin(w->st->ix, false, &t, NULL) == BC_OK) {
      found = bc_txn_tile_get(t, &k, out, NULL) == BC_OK;
      bc_txn_abort(t);
    }
    found = found && out->hash == hash && same_payload(w, out, payload);
  }
  return found;
}

bc_status bc_writer_put(bc_writer *w, bc_bytes head, bc_bytes payload, bc_err *err)
{
  bc_tile_head h;
  bc_tile_rec twin;
  BC_RET(bc_tile_head_parse(head, &h, err));
  if (h.key.modality >= w->n_mods)
    return BC_FAIL(err, BC_E_INTERNAL, "writer: modality %d of %zu", h.key.modality, w->n_mods);
  if (pending_tile(w, &h.key) != 0)
    return BC_FAIL(err, BC_E_INTERNAL, "writer: a second tile with the same key");
  BC_RET(bc_writer_open_segment(w, err));
  const bool reuse = find_equal(w, &h.key, payload, &twin);
  BC_RET(bc_segw_add(w->seg, head, payload, reuse ? &twin : NULL, err));
  if (bc_segw_count(w->seg) > UINT32_MAX / 4) return BC_FAIL(err, BC_E_RANGE, "too many tiles in one commit");
  w->mods[h.key.modality].used = true;
  return remember(w, &h.key, (uint32_t)bc_segw_count(w->seg), err);
}

bc_status bc_writer_drop(bc_writer *w, const bc_tile_key *key, bc_err *err)
{
  BC_RET(grow((void **)&w->drops, &w->cap_drops, w->n_drops, sizeof *w->drops, err));
  w->drops[w->n_drops++] = *key;
  return BC_OK;
}

uint32_t bc_writer_number(const bc_writer *w) { return w->next_segment; }

uint64_t bc_writer_pending_bytes(const bc_writer *w) { return w->seg == NULL ? 0 : bc_segw_bytes(w->seg); }

bc_status bc_writer_retire(bc_writer *w, uint32_t segment, bc_err *err)
{
  BC_RET(grow((void **)&w->retired, &w->cap_retired, w->n_retired, sizeof *w->retired, err));
  w->retired[w->n_retired++] = segment;
  return BC_OK;
}
