#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/commit.h"
#include "store/store_int.h"

#define TEXT_MAX  ((size_t)1 << 20)
#define HOLES_MAX (UINT64_C(1) << 20)

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
  bc_buf what, command, source;
  uint8_t *from; /* by source: the damaged thing holds values of it */
  uint32_t n_sources;
  uint32_t held_by; /* from is what this segment held; 0: something else */
  bool needed;      /* held_by: a tile is in it */
} check;

static bool is_damage(bc_status st) { return st <= BC_E_CORRUPT && st > BC_E_IO; }

static bc_status cancelled(const check *c, bc_err *err)
{
  if (c->progress == NULL || c->progress->cancelled == NULL || !c->progress->cancelled(c->progress->ctx))
    return BC_OK;
  return BC_FAIL(err, BC_E_CANCELLED, "interrupted");
}

/* ---- which files would bring it back ---- */

static void add_heads_sources(check *c, const bc_tile_head *h)
{
  for (uint32_t i = 0; i < h->n_sources; i++)
    if (bc_tile_source(h, i) < c->n_sources) c->from[bc_tile_source(h, i)] = 1;
}

static bool any_source(const check *c)
{
  return c->n_sources > 0 && memchr(c->from, 1, c->n_sources) != NULL;
}

static bc_status add_source(void *ctx, uint32_t id, bc_err *err)
{
  check *c = ctx;
  (void)err;
  if (id < c->n_sources) c->from[id] = 1;
  return BC_OK;
}

/* The heads of a segment's tiles, as the index points to them: they have their own checksums, so that those
 * that are whole can be believed whatever happened to the rest of the file. */
typedef struct held {
  check *c;
  uint32_t segment;
  bc_map map;
  bool lost;   /* a head cannot be read */
  bool needed; /* a tile is here, or its payload */
} held;

static bc_status add_held(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  held *h = ctx;
  bc_tile_rec rec;
  bc_tile_head head;
  bc_bytes b;
  (void)key;
  (void)stop;
  (void)err;
  if (bc_tile_rec_get(value, &rec, NULL) != BC_OK) return BC_OK;
  h->needed = h->needed || rec.head_segment == h->segment || (rec.segment == h->segment && rec.stored > 0);
  if (rec.head_segment != h->segment) return BC_OK;
  if (bc_bytes_sub((bc_bytes){ h->map.p, h->map.n }, rec.head_offset, rec.head_bytes, &b) &&
      bc_tile_head_parse(b, &head, NULL) == BC_OK)
    add_heads_sources(h->c, &head);
  else
    h->lost = true;
  return BC_OK;
}

/* Sources that no other segment speaks of: what is left when nothing of this one can be read. */
static bc_status forget_others(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  held *h = ctx;
  bc_segment *seg = NULL;
  bc_commit_parts parts;
  uint8_t *all = h->c->from;
  (void)value;
  (void)stop;
  (void)err;
  if (key.n != 4 || bc_be32(key.p) == h->segment) return BC_OK;
  if (bc_segment_open(h->c->st->segments, bc_be32(key.p), h->c->st->uuid, false, &seg, NULL) != BC_OK)
    return BC_OK;
  uint8_t *others = bc_calloc((size_t)h->c->n_sources + 1, 1);
  if (others != NULL) {
    h->c->from = others;
    (void)!bc_commit_parts_of(seg, &parts, add_source, h->c, NULL);
    h->c->from = all;
    for (uint32_t i = 0; i < h->c->n_sources; i++)
      if (others[i]) all[i] = 0;
  }
  bc_free(others);
  bc_segment_unref(seg);
  return BC_OK;
}

/* Sets from to the sources whose values a segment holds. */
static void find_held(check *c, uint32_t segment)
{
  char name[BC_SEGMENT_NAME];
  held h = { .c = c, .segment = segment };
  if (c->held_by == segment) return;
  c->held_by = segment;
  memset(c->from, 0, c->n_sources);
  bc_segment_name(segment, name);
  char *path = bc_asprintf("%s/%s", c->st->segments, name);
  if (path != NULL) (void)!bc_os_map_ro(path, &h.map, NULL);
  bc_free(path);
  (void)!bc_txn_each(c->snap->txn, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, add_held, &h, NULL);
  bc_os_unmap(&h.map);
  c->needed = h.needed;
  if (!h.needed || (!h.lost && any_source(c))) return;
  bc_segment *seg = NULL;
  bc_commit_parts parts;
  if (bc_segment_open(c->st->segments, segment, c->st->uuid, false, &seg, NULL) == BC_OK)
    (void)!bc_commit_parts_of(seg, &parts, add_source, c, NULL);
  bc_segment_unref(seg);
  if (any_source(c)) return;
  memset(c->from, 1, c->n_sources);
  (void)!bc_txn_each(c->snap->txn, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, forget_others, &h, NULL);
}

/* ---- telling ---- */

/* As a shell takes it. */
static bc_status put_word(bc_buf *b, const char *word, bc_err *err)
{
  static const char k_plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=+,:@%-";
  const size_t n = strlen(word);
  if (n > 0 && strspn(word, k_plain) == n)
    return bc_buf_printf(b, err, " %s%s", *word == '-' ? "./" : "", word);
  BC_RET(bc_buf_printf(b, err, " '"));
  for (; *word != '\0'; word++)
    BC_RET(*word == '\'' ? bc_buf_printf(b, err, "'\\''") : bc_buf_put(b, word, 1, err));
  return bc_buf_printf(b, err, "'");
}

/* "bctool ingest netcdf STORE FILE.. --replace" for the sources in from; nothing when there are none. */
static bc_status make_command(check *c, bc_err *err)
{
  bool any = false;
  c->command.n = c->source.n = 0;
  if (c->held_by != 0 && !c->needed) { /* what was in it is elsewhere by now */
    BC_RET(bc_buf_printf(&c->command, err, "bctool compact"));
    BC_RET(put_word(&c->command, c->st->path, err));
  }
  for (uint32_t i = 0; i < c->n_sources; i++) {
    bc_source_rec src;
    if (!c->from[i] || bc_snapshot_source(c->snap, i, &src, NULL) != BC_OK) continue;
    if (!any) {
      BC_RET(bc_buf_printf(&c->command, err, "bctool ingest netcdf"));
      BC_RET(put_word(&c->command, c->st->path, err));
      BC_RET(bc_buf_printf(&c->source, err, "%s", src.name));
    }
    any = true;
    BC_RET(put_word(&c->command, src.name, err));
  }
  if (any) BC_RET(bc_buf_printf(&c->command, err, " --replace"));
  BC_RET(bc_buf_put(&c->source, "", 1, err));
  return bc_buf_put(&c->command, "", 1, err);
}

static bc_status tell(check *c, bc_damage *d, const char *where, const char *why, bc_err *err)
{
  BC_RET(make_command(c, err));
  d->source = (const char *)c->source.p;
  d->command = (const char *)c->command.p;
  c->what.n = 0;
  BC_RET(bc_buf_printf(&c->what, err, "%s%s%s", where, where[0] != '\0' ? ": " : "", why));
  if (d->command[0] != '\0') BC_RET(bc_buf_printf(&c->what, err, "; to mend it: %s", d->command));
  if (d->command[0] != '\0' && !d->has_tile && c->needed) {
    BC_RET(bc_buf_printf(&c->what, err, ", then: bctool compact"));
    BC_RET(put_word(&c->what, c->st->path, err));
  }
  BC_RET(bc_buf_put(&c->what, "", 1, err));
  d->what = (const char *)c->what.p;
  c->report->damaged++;
  if (c->found != NULL) c->found(c->ctx, d);
  return BC_OK;
}

/* A finding about a whole file: what it held comes back with the sources it came from. */
static bc_status tell_segment(check *c, bc_damage *d, const char *why, bc_err *err)
{
  find_held(c, d->segment);
  return tell(c, d, "", why, err);
}

static bc_status tell_index(check *c, const bc_err *e, bc_err *err)
{
  bc_damage d = { .code = e->code };
  if (c->n_sources > 0) memset(c->from, 0, c->n_sources);
  c->held_by = 0;
  return tell(c, &d, "", e->msg, err);
}

/* ---- segments ---- */

static bc_status check_segment(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  check *c = ctx;
  bc_status st = BC_OK;
  bc_segment *seg = NULL;
  bc_err e = { .msg = "" };
  char what[160];
  (void)stop;
  BC_RET(cancelled(c, err));
  if (key.n != 4 || value.n != 8) return BC_FAIL(err, BC_E_CORRUPT, "index: segments: run bctool reindex");
  bc_damage d = { .segment = bc_be32(key.p) };
  c->report->segments++;
  d.code = bc_segment_open(c->st->segments, d.segment, c->st->uuid, c->full, &seg, &e);
  if (d.code == BC_E_NOMEM) return BC_FAIL(err, BC_E_NOMEM, "verify: no memory");
  if (d.code == BC_E_NOTFOUND && bc_snapshot_is_retired(c->snap, d.segment))
    return BC_OK; /* compacted meanwhile */
  if (d.code == BC_E_NOTFOUND) {
    (void)snprintf(what, sizeof what, "segment %" PRIu32 ": its file is missing", d.segment);
    d.code = BC_E_CORRUPT;
    return tell_segment(c, &d, what, err);
  }
  if (d.code != BC_OK) return tell_segment(c, &d, e.msg, err);
  if (bc_segment_bytes(seg) != bc_le64(value.p)) {
    (void)snprintf(what, sizeof what, "segment %" PRIu32 ": %" PRIu64 " bytes, the index says %" PRIu64,
                   d.segment, bc_segment_bytes(seg), bc_le64(value.p));
    d.code = BC_E_CORRUPT;
    BC_TRY(tell_segment(c, &d, what, err));
  }
  if (c->full && (d.code = bc_segment_check_gaps(seg, &e)) != BC_OK) BC_TRY(tell_segment(c, &d, e.msg, err));
out:
  bc_segment_unref(seg);
  return st;
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

/* Name variable, cell, time and source files of a tile. head is NULL when it cannot be read. */
static bc_status tell_tile(check *c, bc_damage *d, const bc_tile_key *key, const bc_tile_rec *rec,
                           const bc_tile_head *head, const bc_err *why, bc_err *err)
{
  char where[160];
  const bc_modality *m = bc_snapshot_modality(c->snap, key->modality);
  d->has_tile = true;
  d->group = m == NULL ? "?" : m->group;
  d->name = m == NULL ? "?" : m->name;
  d->cell = key->cell;
  d->time = key->time;
  if (head == NULL) {
    d->segment = rec->head_segment;
    find_held(c, rec->head_segment);
    return tell(c, d, "", why->msg, err);
  }
  c->held_by = 0;
  memset(c->from, 0, c->n_sources);
  add_heads_sources(c, head);
  return tell(c, d, bc_snapshot_tile_text(c->snap, key, where, sizeof where), why->msg, err);
}

static bc_status check_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  check *c = ctx;
  bc_tile_key key;
  bc_tile_rec rec;
  bc_tile tile;
  bc_err e = { .msg = "" };
  bc_status st = BC_OK;
  (void)stop;
  BC_RET(cancelled(c, err));
  BC_RET(bc_tile_key_get(kb, &key, err));
  BC_RET(bc_tile_rec_get(vb, &rec, err));
  c->report->tiles++;
  c->report->bytes += rec.stored;
  bc_damage d = { .segment = rec.segment };
  d.code = bc_snapshot_tile(c->snap, &key, &rec, &tile, &e);
  const bool opened = d.code == BC_OK;
  if (bc_is_stale(d.code, &e)) return BC_OK; /* its values are in another segment by now */
  if (opened) d.code = check_bytes(c, &tile, &e);
  if (d.code == BC_E_NOMEM)
    st = BC_FAIL(err, BC_E_NOMEM, "verify: no memory");
  else if (d.code != BC_OK)
    st = tell_tile(c, &d, &key, &rec, opened ? &tile.head : NULL, &e, err);
  if (opened) bc_tile_close(&tile);
  if (c->progress != NULL && c->progress->tick != NULL)
    c->progress->tick(c->progress->ctx, c->report->bytes, c->total, "verify");
  return st;
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

/* ---- the whole ---- */

static bc_status prepare(check *c, bc_err *err)
{
  BC_RET(bc_snapshot_open(c->st, &c->snap, err));
  uint64_t stored = 0; /* the counter may be damaged: there are not many more numbers than sources */
  BC_RET(bc_txn_count(c->snap->txn, BC_TABLE_SOURCES, &stored, err));
  c->n_sources = (uint32_t)BC_MIN(bc_snapshot_source_limit(c->snap), stored + HOLES_MAX);
  c->from = bc_calloc((size_t)c->n_sources + 1, 1);
  if (c->from == NULL) return BC_FAIL(err, BC_E_NOMEM, "verify: no memory");
  return bc_decoder_open(&c->decoder, err);
}

static bc_status look(check *c, bc_err *err)
{
  BC_RET(bc_index_check(c->st->ix, UINT64_MAX, err));
  BC_RET(prepare(c, err));
  if (c->full) BC_RET(bc_txn_check_digest(c->snap->txn, err));
  BC_RET(bc_txn_each(c->snap->txn, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, check_segment, c, err));
  BC_RET(count_orphans(c, err));
  if (!c->full) return BC_OK;
  c->total = stored_bytes(c);
  return bc_txn_each(c->snap->txn, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, check_tile, c, err);
}

bc_status bc_store_verify(bc_store *store, bool full, void (*found)(void *ctx, const bc_damage *d), void *ctx,
                          const bc_progress *progress, bc_verify_report *report, bc_err *err)
{
  check c = { .st = store, .full = full, .found = found, .ctx = ctx, .progress = progress, .report = report };
  bc_err e = { .msg = "" };
  memset(report, 0, sizeof *report);
  c.block = bc_buf_empty((size_t)1 << 26);
  c.what = c.command = c.source = bc_buf_empty(TEXT_MAX);
  bc_status st = bc_store_check_process(store, &e);
  if (st == BC_OK) st = look(&c, &e);
  if (is_damage(st)) /* of the index: without it there is nothing to look at */
    st = tell_index(&c, &e, &e);
  if (st != BC_OK && err != NULL) *err = e;
  bc_decoder_close(c.decoder);
  bc_buf_dispose(&c.block);
  bc_buf_dispose(&c.what);
  bc_buf_dispose(&c.command);
  bc_buf_dispose(&c.source);
  bc_free(c.from);
  bc_snapshot_close(c.snap);
  return st;
}
