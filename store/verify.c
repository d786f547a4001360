#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/commit.h"
#include "store/remedy.h"
#include "store/store_int.h"

#define TEXT_MAX ((size_t)1 << 25)
enum { LONG_COMMAND = 1000 /* bytes; a longer one is told once */ };

/* Everything that verify carries along. */
typedef struct check {
  bc_store *st;
  bc_snapshot *snap;
  bc_depth depth;
  void (*found)(void *ctx, const bc_damage *d);
  void *ctx;
  const bc_progress *progress;
  bc_verify_report *report;
  uint64_t total; /* bytes to look at */
  bc_decoder *decoder;
  bc_buf block; /* decoded values that nobody looks at */
  bc_buf what;
  bc_remedy remedy;
  struct { /* long commands, the latest of them */
    uint64_t files;
    uint32_t number;
  } told[64];
  uint32_t n_told;
  bool is_behind; /* a segment of the index went by one */
  bc_buf retired; /* le32 numbers, by a commit that the index does not know yet */
} check;

static bc_status cancelled(const check *c, bc_err *err)
{
  if (c->progress == NULL || c->progress->cancelled == NULL || !c->progress->cancelled(c->progress->ctx))
    return BC_OK;
  return BC_FAIL(err, BC_E_CANCELLED, "interrupted");
}

/* ---- telling ---- */

static const char k_without[] = ", and the index was made anew without it";
static const char k_unknown[] =
    "What it held is not certain: ingest all files again with --replace, in the order in "
    "which they came, then run bctool compact --forget-lost ";
static const char k_unlisted[] =
    "which files it came from is not known; to mend it, ingest all files again in one "
    "command with --mend, in the order in which they came, then run bctool compact";

/* A segment may have been the only source of thousands of tiles, and thousands of files its sources: a long
 * command has a number, by which it is told the second time. False when it is told now. */
static bool told_before(check *c, bc_damage *d)
{
  const uint64_t files = c->remedy.files;
  if (files == 0 || strlen(d->command) < LONG_COMMAND) return false;
  for (uint32_t i = 0; i < BC_MIN(c->n_told, (uint32_t)BC_ARRAY_LEN(c->told)); i++)
    if (c->told[i].files == files) {
      d->command_number = c->told[i].number;
      return true;
    }
  const size_t at = c->n_told++ % BC_ARRAY_LEN(c->told);
  c->told[at].files = files;
  d->command_number = c->told[at].number = c->n_told;
  return false;
}

static bc_status put_remedy(check *c, bc_damage *d, bc_err *err)
{
  if (told_before(c, d)) {
    d->command = "";
    return bc_buf_printf(&c->what, err, "; to mend it: command %" PRIu32 ", above", d->command_number);
  }
  if (d->command[0] == '\0') return BC_OK;
  if (d->command_number == 0) return bc_buf_printf(&c->what, err, "; to mend it: %s", d->command);
  return bc_buf_printf(&c->what, err, "; to mend it (command %" PRIu32 "): %s", d->command_number,
                       d->command);
}

/* The remedy was found before. */
static bc_status tell(check *c, bc_damage *d, const char *what, const char *why, bc_err *err)
{
  d->source = bc_remedy_source(&c->remedy);
  d->command = bc_remedy_command(&c->remedy);
  c->what.n = 0;
  BC_RET(bc_buf_printf(&c->what, err, "%s%s%s", what, what[0] != '\0' && why[0] != '\0' ? ": " : "", why));
  BC_RET(put_remedy(c, d, err));
  BC_RET(bc_buf_put(&c->what, "", 1, err));
  d->what = (const char *)c->what.p;
  c->report->damaged++;
  if (c->found != NULL) c->found(c->ctx, d);
  return BC_OK;
}

/* Values are lost, and no command is known that brings them back. */
static bool lacks_remedy(const check *c)
{
  return c->remedy.needed && bc_remedy_command(&c->remedy)[0] == '\0';
}

/* A finding about a whole file: what it held comes back with the sources it came from. known: by the index.
 */
static bc_status tell_segment(check *c, bc_damage *d, const char *what, bool known, bc_err *err)
{
  BC_RET(bc_remedy_of_segment(&c->remedy, d->segment, err));
  return tell(c, d, what, known && lacks_remedy(c) ? k_unlisted : "", err);
}

/* After the findings, when they name different commands. */
static bc_status tell_all(check *c, bc_err *err)
{
  bc_damage d = { .code = BC_E_CORRUPT, .is_summary = true };
  if (!c->remedy.several || c->remedy.unlisted || c->snap->st->published || c->found == NULL) return BC_OK;
  BC_RET(bc_remedy_of_all(&c->remedy, err));
  c->what.n = 0;
  d.source = bc_remedy_source(&c->remedy);
  d.command = bc_remedy_command(&c->remedy);
  BC_RET(bc_buf_printf(&c->what, err, "to mend all of it: %s", d.command));
  BC_RET(bc_buf_put(&c->what, "", 1, err));
  d.what = (const char *)c->what.p;
  c->found(c->ctx, &d);
  return BC_OK;
}

static bc_status tell_index(check *c, const bc_err *e, bc_err *err)
{
  bc_damage d = { .code = e->code };
  bc_remedy_none(&c->remedy);
  return tell(c, &d, "", e->msg, err);
}

/* ---- segments ---- */

static bc_status check_segment(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  check *c = ctx;
  bc_status st = BC_OK;
  bc_segment *seg = NULL;
  bc_err e = { .msg = "" };
  char what[2 * sizeof e.msg];
  (void)stop;
  BC_RET(cancelled(c, err));
  bc_segment_rec rec;
  BC_RET(bc_segment_rec_get(key, value, &rec, err));
  bc_damage d = { .segment = rec.id };
  c->report->segments++;
  d.code = bc_segment_open(c->st->segments, d.segment, c->st->uuid, c->depth != BC_DEPTH_HEADS, &seg, &e);
  if (d.code == BC_E_NOMEM) return BC_FAIL(err, BC_E_NOMEM, "verify: no memory");
  if (d.code == BC_E_NOTFOUND && bc_snapshot_is_retired(c->snap, d.segment))
    return BC_OK; /* compacted meanwhile */
  if (d.code == BC_E_NOTFOUND && bc_has_number(&c->retired, d.segment)) {
    (void)snprintf(what, sizeof what,
                   "segment %" PRIu32
                   ": its file was removed by a commit that the index does not know: run bctool "
                   "compact %s",
                   d.segment, c->st->path);
    d.code = BC_E_CORRUPT;
    bc_remedy_none(&c->remedy);
    c->remedy.unlisted = c->is_behind = true;
    return tell(c, &d, "", what, err);
  }
  if (d.code == BC_E_NOTFOUND) {
    (void)snprintf(what, sizeof what, "segment %" PRIu32 ": its file is missing%s%s%s%s", d.segment,
                   rec.bytes > 0 ? "" : k_without, rec.bytes > 0 ? "" : ". ", rec.bytes > 0 ? "" : k_unknown,
                   rec.bytes > 0 ? "" : c->st->path);
    d.code = BC_E_CORRUPT;
    return tell_segment(c, &d, what, rec.bytes > 0, err);
  }
  if (d.code != BC_OK && !bc_is_damage(d.code)) { /* not to be read by us, now: nothing is known of it */
    if (err != NULL) *err = e;
    return d.code;
  }
  if (d.code != BC_OK && rec.bytes == 0) {
    (void)snprintf(what, sizeof what, "%s%s. %s%s", e.msg, k_without, k_unknown, c->st->path);
    return tell_segment(c, &d, what, false, err);
  }
  if (d.code != BC_OK) return tell_segment(c, &d, e.msg, true, err);
  if (rec.bytes == 0) {
    (void)snprintf(what, sizeof what,
                   "segment %" PRIu32
                   " is there%s. If it is whole again, run bctool reindex %s; if not: %s%s",
                   d.segment, k_without, c->st->path, k_unknown, c->st->path);
    d.code = BC_E_CORRUPT;
    BC_TRY(tell_segment(c, &d, what, false, err));
  } else if (bc_segment_bytes(seg) != rec.bytes) {
    (void)snprintf(what, sizeof what, "segment %" PRIu32 ": %" PRIu64 " bytes, the index says %" PRIu64,
                   d.segment, bc_segment_bytes(seg), rec.bytes);
    d.code = BC_E_CORRUPT;
    BC_TRY(tell_segment(c, &d, what, rec.bytes > 0, err));
  }
  if (c->depth != BC_DEPTH_HEADS && (d.code = bc_segment_check_gaps(seg, &e)) != BC_OK)
    BC_TRY(tell_segment(c, &d, e.msg, rec.bytes > 0, err));
out:
  bc_segment_unref(seg);
  return st;
}

/* A run that was interrupted leaves one published segment behind, the next one, which the next writer takes
 * in: with more of them, or a later one, the index is older than they are. */
typedef struct strays {
  uint64_t n_whole, n_damaged;
  uint32_t first;  /* of those that are whole */
  uint32_t newest; /* that was ever committed; 0 when that is not known, or the index knows of it */
  bool has_newest; /* its file is there */
} strays;

static bc_status tell_old_index(check *c, const strays *s, bool is_next, bc_err *err)
{
  bc_err e = { .msg = "" };
  (void)BC_FAIL(&e, BC_E_CORRUPT,
                "index: older than segment %" PRIu32 ": a copy of it was put back? run bctool %s %s",
                s->newest == 0 ? s->first : s->newest, is_next ? "compact" : "reindex", c->st->path);
  return tell_index(c, &e, err);
}

/* It was whole when it was published. */
static bc_status tell_stray(check *c, uint32_t id, const bc_err *why, bc_err *err)
{
  bc_damage d = { .code = why->code, .segment = id };
  char what[2 * sizeof why->msg + sizeof k_unknown + 64];
  (void)snprintf(what, sizeof what, "%s. The index does not know of it. %s%s", why->msg, k_unknown,
                 c->st->path);
  bc_remedy_none(&c->remedy);
  c->remedy.unlisted = true;
  return tell(c, &d, "", what, err);
}

/* A file in segments/ that the index does not know. Of an older number: left by a compaction. */
static bc_status check_stray(check *c, uint32_t id, uint64_t next, strays *s, bc_err *err)
{
  bc_segment *seg = NULL;
  bc_err e = { .msg = "" };
  if (id < next) {
    c->report->leftovers++;
    return BC_OK;
  }
  c->report->orphans++;
  s->has_newest = s->has_newest || id == s->newest;
  bc_commit_parts parts;
  const bc_status st = bc_segment_open(c->st->segments, id, c->st->uuid, true, &seg, &e);
  bc_status copied = BC_OK;
  if (st == BC_OK && s->n_whole++ == 0) s->first = id;
  if (st == BC_OK && bc_commit_parts_of(seg, &parts, NULL, NULL, NULL) == BC_OK)
    copied = bc_buf_put(&c->retired, parts.retired.p, parts.retired.n, err);
  bc_segment_unref(seg);
  BC_RET(copied);
  if (!bc_is_damage(st) || id - next >= BC_STRAY_FAR) return BC_OK;
  s->n_damaged++;
  return tell_stray(c, id, &e, err);
}

static bc_status check_newest(check *c, uint64_t next, strays *s, bc_err *err)
{
  bc_err e = { .msg = "" };
  if (s->newest < next || s->newest - next >= BC_STRAY_FAR) s->newest = 0;
  if (s->newest == 0 || s->has_newest) return BC_OK;
  s->n_damaged++;
  (void)BC_FAIL(&e, BC_E_CORRUPT, "segment %" PRIu32 ": its file is missing", s->newest);
  return tell_stray(c, s->newest, &e, err);
}

static bc_status check_strays(check *c, bool *is_old, bc_err *err)
{
  char **names = NULL;
  size_t n = 0;
  uint64_t next = 0;
  strays s = { 0 };
  bc_txn *now = NULL;
  s.newest = bc_newest_get(c->st);
  BC_RET(bc_os_list(c->st->segments, &names, &n, err));
  bc_status st = bc_txn_begin(c->st->ix, false, &now, err); /* a writer may be at work */
  if (st == BC_OK) st = bc_meta_get(now, BC_META_NEXT_SEGMENT, &next, err);
  bc_txn_abort(now);
  for (size_t i = 0; i < n && st == BC_OK; i++) {
    uint32_t id = 0;
    bc_segment_rec rec;
    if (!bc_segment_id(names[i], &id)) continue;
    if (bc_txn_segment_get(c->snap->txn, id, &rec, NULL) == BC_E_NOTFOUND)
      st = check_stray(c, id, next, &s, err);
  }
  bc_os_list_free(names, n);
  BC_RET(st);
  BC_RET(check_newest(c, next, &s, err));
  *is_old = bc_is_put_back(s.n_whole, s.n_damaged, s.first, next);
  const bool is_next = !*is_old && s.n_whole == 1 && s.newest > 0; /* any writer takes it in */
  if (!*is_old && !is_next) return BC_OK;
  c->report->orphans = 0; /* told by this */
  return tell_old_index(c, &s, is_next, err);
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
  for (uint32_t b = 0; c->depth == BC_DEPTH_VALUES && b < t->head.n_blocks; b++)
    BC_RET(decode_block(c, t, b, err));
  return BC_OK;
}

/* What others say to run is running. */
static void cut_advice(bc_err *e)
{
  char *const advice = strstr(e->msg, ": run bctool verify");
  if (advice != NULL) *advice = '\0';
}

/* Name variable, cell, time and source files of a tile. head is NULL when it cannot be read. */
static bc_status tell_tile(check *c, bc_damage *d, const bc_tile_key *key, const bc_tile_rec *rec,
                           const bc_tile_head *head, bc_err *why, bc_err *err)
{
  char where[160];
  cut_advice(why);
  const bc_modality *m = bc_snapshot_modality(c->snap, key->modality);
  d->has_tile = true;
  d->group = m == NULL ? "?" : m->group;
  d->name = m == NULL ? "?" : m->name;
  d->cell = key->cell;
  d->time = key->time;
  if (head == NULL) {
    d->segment = rec->head_segment;
    BC_RET(bc_remedy_of_lost_tile(&c->remedy, rec->head_segment, err));
    return tell(c, d, why->msg, lacks_remedy(c) ? k_unlisted : "", err);
  }
  BC_RET(bc_remedy_of_tile(&c->remedy, head, err));
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
  if (d.code == BC_E_NOMEM) {
    st = BC_FAIL(err, BC_E_NOMEM, "verify: no memory");
  } else if (d.code != BC_OK && d.code != BC_E_NOTFOUND && !bc_is_damage(d.code)) {
    st = d.code;
    if (err != NULL) *err = e;
  } else if (d.code != BC_OK)
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
  BC_RET(bc_remedy_init(&c->remedy, c->snap, err));
  return bc_decoder_open(&c->decoder, err);
}

static bc_status look(check *c, bc_err *err)
{
  bool is_old = false;
  BC_RET(bc_index_check(c->st->ix, UINT64_MAX, err));
  BC_RET(prepare(c, err));
  if (c->depth != BC_DEPTH_HEADS) BC_RET(bc_txn_check_digest(c->snap->txn, err));
  BC_RET(check_strays(c, &is_old, err));
  if (is_old) return BC_OK; /* what else is found would be of that day */
  BC_RET(bc_txn_each(c->snap->txn, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, check_segment, c, err));
  if (c->depth == BC_DEPTH_HEADS || c->is_behind) return tell_all(c, err);
  c->total = stored_bytes(c);
  BC_RET(bc_txn_each(c->snap->txn, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, check_tile, c, err));
  return tell_all(c, err);
}

bc_status bc_store_check(bc_store *store, bc_depth depth, void (*found)(void *ctx, const bc_damage *d),
                         void *ctx, const bc_progress *progress, bc_verify_report *report, bc_err *err)
{
  check c = {
    .st = store, .depth = depth, .found = found, .ctx = ctx, .progress = progress, .report = report
  };
  bc_err e = { .msg = "" };
  memset(report, 0, sizeof *report);
  c.block = bc_buf_empty((size_t)1 << 26);
  c.what = bc_buf_empty(TEXT_MAX);
  c.retired = bc_buf_empty((size_t)1 << 26);
  c.remedy = (bc_remedy){ .source_text = bc_buf_empty(1), .command_text = bc_buf_empty(1) };
  bc_status st = bc_store_check_process(store, &e);
  if (st == BC_OK) st = look(&c, &e);
  if (bc_is_damage(st)) /* of the index: without it there is nothing to look at */
    st = tell_index(&c, &e, &e);
  if (st != BC_OK && err != NULL) *err = e;
  bc_decoder_close(c.decoder);
  bc_buf_dispose(&c.block);
  bc_buf_dispose(&c.what);
  bc_buf_dispose(&c.retired);
  bc_remedy_dispose(&c.remedy);
  bc_snapshot_close(c.snap);
  return st;
}

bc_status bc_store_verify(bc_store *store, bool full, void (*found)(void *ctx, const bc_damage *d), void *ctx,
                          const bc_progress *progress, bc_verify_report *report, bc_err *err)
{
  return bc_store_check(store, full ? BC_DEPTH_VALUES : BC_DEPTH_HEADS, found, ctx, progress, report, err);
}
