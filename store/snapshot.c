/* The state at one commit: schema, tiles, what each modality holds. */
#include "store/store_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/schema_io.h"

#define SOURCE_HOLES (UINT64_C(1) << 20) /* numbers of sources that are gone, at most */

/* ---- snapshot ---- */

/* Room was made for as many as the tables say they hold; a damaged table may say anything. */
typedef struct loading {
  bc_schema *s;
  uint64_t max_grids, max_modalities;
} loading;

static bc_status load_grid(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  const loading *l = ctx;
  bc_schema *s = l->s;
  (void)stop;
  if (key.n != 1 || key.p[0] != s->n_grids || s->n_grids == l->max_grids)
    return BC_FAIL(err, BC_E_CORRUPT, "index: grids: run bctool reindex");
  return bc_grid_decode(value, &s->grids[s->n_grids++], err);
}

static bc_status load_modality(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  const loading *l = ctx;
  bc_schema *s = l->s;
  (void)stop;
  bc_modality *m = &s->modalities[s->n_modalities];
  if (key.n != 2 || bc_be16(key.p) != s->n_modalities || s->n_modalities == l->max_modalities)
    return BC_FAIL(err, BC_E_CORRUPT, "index: variables: run bctool reindex");
  BC_RET(bc_modality_decode(value, m, err));
  s->n_modalities++;
  if (m->id != s->n_modalities - 1 || m->grid >= s->n_grids)
    return BC_FAIL(err, BC_E_CORRUPT, "index: variable %s: run bctool reindex", m->name);
  return BC_OK;
}

static bc_status load_schema(bc_txn *t, uint64_t counter, bc_schema **out, bc_err *err)
{
  bc_status st = BC_OK;
  uint64_t grids = 0, mods = 0;
  bc_schema *s = bc_calloc(1, sizeof *s);
  if (s == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory");
  atomic_init(&s->refs, 1);
  s->counter = counter;
  BC_TRY(bc_txn_count(t, BC_TABLE_GRIDS, &grids, err));
  BC_TRY(bc_txn_count(t, BC_TABLE_MODALITIES, &mods, err));
  if (grids == 0 || grids > BC_MAX_GRIDS || mods > BC_MAX_MODALITIES)
    BC_TRY(BC_FAIL(err, BC_E_CORRUPT, "index: %" PRIu64 " grids, %" PRIu64 " variables: run bctool reindex",
                   grids, mods));
  s->grids = bc_calloc((size_t)grids, sizeof *s->grids);
  s->modalities = bc_calloc((size_t)mods + 1, sizeof *s->modalities);
  if (s->grids == NULL || s->modalities == NULL) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "store: no memory"));
  loading l = { s, grids, mods };
  BC_TRY(bc_txn_each(t, BC_TABLE_GRIDS, (bc_bytes){ NULL, 0 }, load_grid, &l, err));
  BC_TRY(bc_txn_each(t, BC_TABLE_MODALITIES, (bc_bytes){ NULL, 0 }, load_modality, &l, err));
  *out = s;
  s = NULL;
out:
  bc_schema_unref(s);
  return st;
}

/* The schema of this transaction, from the store's cache where it is the same. */
static bc_status get_schema(bc_snapshot *s, bc_err *err)
{
  uint64_t counter = 0;
  bc_status st = bc_meta_get(s->txn, BC_META_SCHEMA, &counter, err);
  if (st != BC_OK) return st;
  pthread_mutex_lock(&s->st->mutex);
  bc_schema *have = s->st->schema;
  if (have == NULL || have->counter != counter) {
    bc_schema *fresh = NULL;
    st = load_schema(s->txn, counter, &fresh, err);
    if (st == BC_OK) {
      bc_schema_unref(have);
      s->st->schema = have = fresh;
      bc_store_drop_unused(
          s->st); /* compaction counts as a change: maps of unlinked files would keep their space */
    }
  }
  if (st == BC_OK) {
    atomic_fetch_add(&have->refs, 1);
    s->schema = have;
  }
  pthread_mutex_unlock(&s->st->mutex);
  return st;
}

bc_status bc_snapshot_open(bc_store *store, bc_snapshot **out, bc_err *err)
{
  bc_status st = BC_OK;
  *out = NULL;
  BC_RET(bc_store_check_process(store, err));
  bc_snapshot *s = bc_calloc(1, sizeof *s);
  if (s == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory");
  s->st = store;
  BC_TRY(bc_txn_begin(store->ix, false, &s->txn, err));
  BC_TRY(bc_meta_get(s->txn, BC_META_SNAPSHOT, &s->id, err));
  BC_TRY(get_schema(s, err));
  *out = s;
  s = NULL;
out:
  bc_snapshot_close(s);
  return st;
}

void bc_snapshot_close(bc_snapshot *s)
{
  if (s == NULL) return;
  bc_txn_abort(s->txn);
  bc_schema_unref(s->schema);
  bc_free(s);
}

uint64_t bc_snapshot_id(const bc_snapshot *s) { return s->id; }
bc_store *bc_snapshot_store(bc_snapshot *s) { return s->st; }
size_t bc_snapshot_grids(const bc_snapshot *s) { return s->schema->n_grids; }
const bc_grid *bc_snapshot_grid(const bc_snapshot *s, size_t i)
{
  return i < s->schema->n_grids ? &s->schema->grids[i] : NULL;
}
size_t bc_snapshot_modalities(const bc_snapshot *s) { return s->schema->n_modalities; }
const bc_modality *bc_snapshot_modality(const bc_snapshot *s, size_t i)
{
  return i < s->schema->n_modalities ? &s->schema->modalities[i] : NULL;
}

static bc_status add_segment_bytes(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  bc_store_info *info = ctx;
  (void)stop;
  bc_segment_rec seg;
  BC_RET(bc_segment_rec_get(key, value, &seg, err));
  info->n_segments++;
  info->segment_bytes += seg.bytes;
  info->n_lost += seg.bytes == 0 ? 1 : 0;
  return BC_OK;
}

/* Asked of the index as it is now: commits that came after the snapshot do not count. */
static bc_status look_for_newer(bc_snapshot *s, uint32_t *out, bc_err *err)
{
  uint64_t next = 0;
  bc_txn *now = NULL;
  const uint32_t newest = bc_newest_get(s->st);
  BC_RET(bc_meta_get(s->txn, BC_META_NEXT_SEGMENT, &next, err));
  if (newest >= next) {
    BC_RET(bc_txn_begin(s->st->ix, false, &now, err));
    const bc_status st = bc_meta_get(now, BC_META_NEXT_SEGMENT, &next, err);
    bc_txn_abort(now);
    if (st != BC_OK) return st;
  }
  *out = newest >= next && newest - next < BC_STRAY_FAR ? newest : 0;
  return BC_OK;
}

bc_status bc_snapshot_info(bc_snapshot *s, bc_store_info *out, bc_err *err)
{
  memset(out, 0, sizeof *out);
  bc_uuid_text(s->st->uuid, out->uuid);
  out->format_major = BC_FORMAT_MAJOR;
  out->format_minor = BC_FORMAT_MINOR;
  out->snapshot = s->id;
  out->n_grids = s->schema->n_grids;
  out->n_modalities = s->schema->n_modalities;
  out->index_bytes = bc_index_bytes(s->st->ix);
  BC_RET(look_for_newer(s, &out->newest, err));
  BC_RET(bc_txn_count(s->txn, BC_TABLE_TILES, &out->n_tiles, err));
  BC_RET(bc_txn_count(s->txn, BC_TABLE_SOURCES, &out->n_sources, err));
  return bc_txn_each(s->txn, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, add_segment_bytes, out, err);
}

bc_status bc_snapshot_usage(bc_snapshot *s, uint16_t modality, bc_usage *out, bc_err *err)
{
  return bc_get_usage(s->txn, modality, out, err);
}

bc_status bc_snapshot_segment(bc_snapshot *s, uint32_t id, bc_segment_rec *out, bc_err *err)
{
  return bc_txn_segment_get(s->txn, id, out, err);
}

static bc_status look_for_lost(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  bc_segment_rec rec;
  bc_segment *seg = NULL;
  BC_RET(bc_segment_rec_get(key, value, &rec, err));
  *stop = bc_store_segment(((bc_snapshot *)ctx)->st, rec.id, &seg, NULL) != BC_OK ||
          bc_segment_check_directory(seg, NULL) != BC_OK;
  bc_segment_unref(seg);
  return *stop ? BC_E_NOTFOUND : BC_OK;
}

bool bc_snapshot_lacks_heads(bc_snapshot *s)
{
  return bc_txn_each(s->txn, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, look_for_lost, s, NULL) ==
         BC_E_NOTFOUND;
}

bc_status bc_snapshot_source(bc_snapshot *s, uint32_t id, bc_source_rec *out, bc_err *err)
{
  return bc_get_source(s->txn, id, out, err);
}

uint32_t bc_snapshot_source_limit(bc_snapshot *s)
{
  uint64_t n = 0, stored = 0;
  if (bc_meta_get(s->txn, BC_META_NEXT_SOURCE, &n, NULL) != BC_OK ||
      bc_txn_count(s->txn, BC_TABLE_SOURCES, &stored, NULL) != BC_OK)
    return 0;
  /* A source may claim any number; callers count up to this and make room by it. */
  n = BC_MIN(n, stored + SOURCE_HOLES);
  return (uint32_t)BC_MIN(n, UINT32_MAX);
}

/* ---- tiles ---- */

void bc_tile_close(bc_tile *t)
{
  bc_segment_unref(t->head_seg);
  bc_segment_unref(t->seg);
  memset(t, 0, sizeof *t);
}

bc_status bc_snapshot_scan(bc_snapshot *s, uint32_t cell, int64_t t_from, int64_t t_to,
                           const uint16_t *wanted, size_t n_wanted, bc_tile_fn each, void *ctx, bc_err *err)
{
  return bc_txn_tile_scan(s->txn, cell, t_from, t_to, wanted, n_wanted, each, ctx, err);
}

bc_status bc_snapshot_get(bc_snapshot *s, const bc_tile_key *key, bc_tile_rec *out, bc_err *err)
{
  return bc_txn_tile_get(s->txn, key, out, err);
}

bool bc_snapshot_is_retired(const bc_snapshot *s, uint32_t segment)
{
  bc_txn *t = NULL;
  uint64_t now = 0;
  bc_segment_rec rec;
  if (bc_txn_begin(s->st->ix, false, &t, NULL) != BC_OK) return false;
  const bool retired = bc_meta_get(t, BC_META_SNAPSHOT, &now, NULL) == BC_OK && now != s->id &&
                       bc_txn_segment_get(t, segment, &rec, NULL) == BC_E_NOTFOUND;
  bc_txn_abort(t);
  return retired;
}

bool bc_is_stale(bc_status st, const bc_err *e)
{
  return st == BC_E_NOTFOUND && e->sys == ENOENT && strcmp(e->domain, "os") == 0;
}

static bc_status get_segment(const bc_snapshot *s, uint32_t id, bc_segment **out, bc_err *err)
{
  const bc_status st = bc_store_segment(s->st, id, out, err);
  if (st != BC_E_NOTFOUND) return st;
  if (bc_snapshot_is_retired(s, id))
    return BC_FAIL_SYS(err, BC_E_NOTFOUND, "os", ENOENT,
                       "segment %" PRIu32 " is gone: the store was compacted meanwhile: run it again", id);
  return BC_FAIL(err, BC_E_CORRUPT, "its file is missing: run bctool verify --full");
}

/* Readers make room by what the variable says and decode by what the head says: the two must agree. */
static bc_status check_fits(const bc_snapshot *s, const bc_tile_key *key, const bc_tile_head *h, bc_err *err)
{
  const bc_modality *m = bc_snapshot_modality(s, key->modality);
  const bc_grid *g = m != NULL ? bc_snapshot_grid(s, m->grid) : NULL;
  bool fits = g != NULL && h->dtype == m->dtype && key->cell >> BC_CELL_BITS == m->grid &&
              h->y0 + h->ny <= bc_grid_cell_ny(g) && h->x0 + h->nx <= bc_grid_cell_nx(g);
  for (uint32_t l = 0; fits && l < h->nl; l++)
    fits = bc_tile_level(h, l) < BC_MAX(m->n_levels, 1);
  if (fits) return BC_OK;
  return BC_FAIL(err, BC_E_CORRUPT, "a tile of %s values that does not fit its variable: run bctool verify",
                 bc_dtype_name(h->dtype));
}

bc_status bc_snapshot_tile(bc_snapshot *s, const bc_tile_key *key, const bc_tile_rec *rec, bc_tile *out,
                           bc_err *err)
{
  bc_status st = BC_OK;
  bc_bytes head;
  char text[160];
  memset(out, 0, sizeof *out);
  out->key = *key;
  out->rec = *rec;
  BC_TRY(get_segment(s, rec->head_segment, &out->head_seg, err));
  BC_TRY(bc_segment_slice(out->head_seg, rec->head_offset, rec->head_bytes, &head, err));
  BC_TRY(bc_tile_head_parse(head, &out->head, err));
  if (!bc_tile_key_equal(key, &out->head.key) || out->head.payload_bytes != rec->stored)
    BC_TRY(BC_FAIL(err, BC_E_CORRUPT,
                   "the index points to another tile in segment %" PRIu32 ": run bctool reindex",
                   rec->head_segment));
  BC_TRY(check_fits(s, key, &out->head, err));
  if (rec->stored > 0) {
    if (rec->segment == rec->head_segment)
      out->seg = bc_segment_ref(out->head_seg);
    else
      BC_TRY(get_segment(s, rec->segment, &out->seg, err));
    BC_TRY(bc_segment_slice(out->seg, rec->offset, rec->stored, &out->payload, err));
  }
out:
  if (st != BC_OK) bc_tile_close(out);
  if (st <= BC_E_CORRUPT && st > BC_E_IO && err != NULL) {
    bc_err why = *err;
    (void)bc_err_set(err, st, why.domain, why.sys, why.file, why.line, "%s, segment %" PRIu32 ": %s",
                     bc_snapshot_tile_text(s, key, text, sizeof text), rec->head_segment, why.msg);
  }
  return st;
}

bool bc_snapshot_has_copy(bc_snapshot *s, const bc_tile_key *key)
{
  bc_tile t;
  bc_tile_rec rec;
  bc_tile_key other = *key;
  other.part ^= BC_PART_SECOND;
  const bool has =
      bc_snapshot_get(s, &other, &rec, NULL) == BC_OK && bc_snapshot_tile(s, &other, &rec, &t, NULL) == BC_OK;
  if (has) bc_tile_close(&t);
  return has;
}

char *bc_snapshot_tile_text(const bc_snapshot *s, const bc_tile_key *key, char *buf, size_t cap)
{
  char when[BC_TIME_TEXT];
  const bc_modality *m = bc_snapshot_modality(s, key->modality);
  (void)snprintf(buf, cap, "%s/%s, cell %" PRIu32 ", from %s", m == NULL ? "?" : m->group,
                 m == NULL ? "?" : m->name, key->cell, bc_time_format_short(key->time, when));
  return buf;
}
