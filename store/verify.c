#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/store_int.h"

/* Everything that verify carries along. */
typedef struct check {
  bc_store *st;
  bc_snapshot *snap;
  bool full;
  void (*found)(void *ctx, const bc_damage *d);
  void *ctx;
  const bc_progress *progress;
  bc_verify_report *report;
  uint64_t total; /* bytes to look at */
  bc_decoder *decoder;
  bc_buf block; /* decoded values that nobody looks at */
} check;

static void tell(check *c, bc_damage *d, const char *what)
{
  d->what = what;
  c->report->damaged++;
  if (c->found != NULL) c->found(c->ctx, d);
}

static bc_status cancelled(const check *c, bc_err *err)
{
  if (c->progress == NULL || c->progress->cancelled == NULL || !c->progress->cancelled(c->progress->ctx))
    return BC_OK;
  return BC_FAIL(err, BC_E_CANCELLED, "interrupted");
}

/* Name variable, cell, time and source file of a tile in a finding. */
static void name_tile(check *c, const bc_tile_key *key, const bc_tile_head *head, bc_source_rec *src,
                      bc_damage *d)
{
  const bc_modality *m = bc_snapshot_modality(c->snap, key->modality);
  d->has_tile = true;
  d->group = m == NULL ? "?" : m->group;
  d->name = m == NULL ? "?" : m->name;
  d->cell = key->cell;
  d->time = key->time;
  d->source = "";
  if (head != NULL && head->n_sources > 0 &&
      bc_snapshot_source(c->snap, bc_tile_source(head, 0), src, NULL) == BC_OK)
    d->source = src->name;
}

/* ---- segments ---- */

static bc_status check_segment(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  check *c = ctx;
  bc_segment *seg = NULL;
  bc_err e;
  (void)stop;
  BC_RET(cancelled(c, err));
  if (key.n != 4 || value.n != 8) return BC_FAIL(err, BC_E_CORRUPT, "index: segments: run bctool reindex");
  bc_damage d = { .segment = bc_be32(key.p) };
  c->report->segments++;
  d.code = bc_segment_open(c->st->segments, d.segment, c->st->uuid, c->full, &seg, &e);
  if (d.code == BC_E_NOMEM) return BC_FAIL(err, BC_E_NOMEM, "verify: no memory");
  if (d.code != BC_OK) {
    tell(c, &d, e.msg);
    return BC_OK;
  }
  if (bc_segment_bytes(seg) != bc_le64(value.p)) {
    char what[160];
    (void)snprintf(what, sizeof what, "segment %" PRIu32 ": %" PRIu64 " bytes, the index says %" PRIu64,
                   d.segment, bc_segment_bytes(seg), bc_le64(value.p));
    d.code = BC_E_CORRUPT;
    tell(c, &d, what);
  }
  if (c->full && (d.code = bc_segment_check_gaps(seg, &e)) != BC_OK) tell(c, &d, e.msg);
  bc_segment_unref(seg);
  return BC_OK;
}

/* Files in segments/ that no commit mentions: left by a crash between publishing and committing. */
static bc_status count_orphans(check *c, bc_err *err)
{
  char **names = NULL;
  size_t n = 0;
  BC_RET(bc_os_list(c->st->segments, &names, &n, err));
  for (size_t i = 0; i < n; i++) {
    uint8_t key[4];
    uint32_t id = 0;
    bc_bytes v;
    if (!bc_segment_id(names[i], &id)) continue;
    bc_put_be32(key, id);
    if (bc_txn_get(c->snap->txn, BC_TABLE_SEGMENTS, (bc_bytes){ key, 4 }, &v, NULL) == BC_E_NOTFOUND)
      c->report->orphans++;
  }
  bc_os_list_free(names, n);
  return BC_OK;
}

/* ---- tiles ---- */

static bc_status decode_block(check *c, const bc_tile *t, uint32_t b, bc_err *err)
{
  bc_block_place at;
  bc_tile_block(&t->head, b, &at);
  const size_t elem = bc_dtype_size(t->head.dtype), row = (size_t)at.nx * elem;
  const size_t need = (size_t)at.nt * at.ny * row;
  c->block.n = 0;
  BC_RET(bc_buf_reserve(&c->block, need, err));
  return bc_tile_read(c->decoder, &t->head, t->payload, b, (bc_pick){ 0, at.nt, 1 }, (bc_pick){ 0, at.ny, 1 },
                      (bc_pick){ 0, at.nx, 1 }, c->block.p, (ptrdiff_t)((size_t)at.ny * row), (ptrdiff_t)row,
                      err);
}

static bc_status check_bytes(check *c, const bc_tile *t, bc_err *err)
{
  if (bc_hash64(t->payload.p, t->payload.n) != t->rec.hash)
    return BC_FAIL(err, BC_E_CHECKSUM, "segment %" PRIu32 ": its %zu stored bytes are damaged (checksum)",
                   t->rec.segment, t->payload.n);
  for (uint32_t b = 0; b < t->head.n_blocks; b++)
    BC_RET(decode_block(c, t, b, err));
  return BC_OK;
}

static bc_status check_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  check *c = ctx;
  bc_tile_key key;
  bc_tile_rec rec;
  bc_tile tile;
  bc_err e;
  bc_source_rec src;
  char where[160], what[700];
  (void)stop;
  BC_RET(cancelled(c, err));
  BC_RET(bc_tile_key_get(kb, &key, err));
  BC_RET(bc_tile_rec_get(vb, &rec, err));
  c->report->tiles++;
  c->report->bytes += rec.stored;
  bc_damage d = { .segment = rec.segment };
  d.code = bc_snapshot_tile(c->snap, &key, &rec, &tile, &e);
  const bool opened = d.code == BC_OK;
  if (opened) d.code = check_bytes(c, &tile, &e);
  if (d.code == BC_E_NOMEM) return BC_FAIL(err, BC_E_NOMEM, "verify: no memory");
  if (d.code != BC_OK) {
    name_tile(c, &key, opened ? &tile.head : NULL, &src, &d);
    (void)snprintf(what, sizeof what, "%s: %s%s%s", bc_snapshot_tile_text(c->snap, &key, where, sizeof where),
                   e.msg, d.source[0] != '\0' ? "; ingest again with --replace: " : "", d.source);
    tell(c, &d, what);
  }
  if (opened) bc_tile_close(&tile);
  if (c->progress != NULL && c->progress->tick != NULL)
    c->progress->tick(c->progress->ctx, c->report->bytes, c->total, "verify");
  return BC_OK;
}

static uint64_t stored_bytes(check *c)
{
  uint64_t sum = 0;
  for (size_t i = 0; i < bc_snapshot_modalities(c->snap); i++) {
    bc_usage u;
    if (bc_snapshot_usage(c->snap, (uint16_t)i, &u, NULL) == BC_OK) sum += u.stored_bytes;
  }
  return sum;
}

bc_status bc_store_verify(bc_store *store, bool full, void (*found)(void *ctx, const bc_damage *d), void *ctx,
                          const bc_progress *progress, bc_verify_report *report, bc_err *err)
{
  bc_status st = BC_OK;
  check c = { .st = store, .full = full, .found = found, .ctx = ctx, .progress = progress, .report = report };
  memset(report, 0, sizeof *report);
  c.block = bc_buf_empty((size_t)1 << 26);
  BC_TRY(bc_snapshot_open(store, &c.snap, err));
  BC_TRY(bc_decoder_open(&c.decoder, err));
  BC_TRY(bc_txn_each(c.snap->txn, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, check_segment, &c, err));
  BC_TRY(count_orphans(&c, err));
  if (full) {
    c.total = stored_bytes(&c);
    BC_TRY(bc_txn_each(c.snap->txn, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, check_tile, &c, err));
  }
out:
  bc_decoder_close(c.decoder);
  bc_buf_dispose(&c.block);
  bc_snapshot_close(c.snap);
  return st;
}
