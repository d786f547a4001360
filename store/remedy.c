/*
 * Which files bring damage back, and how they are ingested. See remedy.h.
 */
#include "store/remedy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/store_int.h"

#define TEXT_MAX  ((size_t)1 << 24)
#define HOLES_MAX (UINT64_C(1) << 20)

enum { OF_SEGMENT = 1, OF_LOST_TILE };

bc_status bc_remedy_init(bc_remedy *r, bc_snapshot *snap, bc_err *err)
{
  uint64_t stored = 0; /* the counter may be damaged: there are not many more numbers than sources */
  *r = (bc_remedy){ .snap = snap,
                    .source_text = bc_buf_empty(TEXT_MAX),
                    .command_text = bc_buf_empty(TEXT_MAX) };
  BC_RET(bc_txn_count(snap->txn, BC_TABLE_SOURCES, &stored, err));
  r->n_sources = (uint32_t)BC_MIN(bc_snapshot_source_limit(snap), stored + HOLES_MAX);
  r->from = bc_calloc((size_t)r->n_sources + 1, 1);
  r->all = bc_calloc((size_t)r->n_sources + 1, 1);
  return r->from == NULL || r->all == NULL
             ? BC_FAIL(err, BC_E_NOMEM, "no memory for %" PRIu32 " sources", r->n_sources)
             : BC_OK;
}

void bc_remedy_dispose(bc_remedy *r)
{
  for (size_t i = 0; i < BC_ARRAY_LEN(r->known); i++) {
    bc_free(r->known[i].source);
    bc_free(r->known[i].command);
  }
  bc_free(r->from);
  bc_free(r->all);
  bc_source_order_dispose(&r->order);
  bc_buf_dispose(&r->source_text);
  bc_buf_dispose(&r->command_text);
}

/* ---- the sources ---- */

static void add_heads_sources(bc_remedy *r, const bc_tile_head *h)
{
  for (uint32_t i = 0; i < h->n_sources; i++)
    if (bc_tile_source(h, i) < r->n_sources) r->from[bc_tile_source(h, i)] = 1;
}

static void add_listed(bc_remedy *r, const bc_segment_rec *seg)
{
  for (uint32_t i = 0; i < seg->n_sources; i++) {
    const uint32_t id = bc_le32(seg->sources.p + 4 * (size_t)i);
    if (id < r->n_sources) r->from[id] = 1;
  }
}

static bool any_source(const bc_remedy *r)
{
  return r->n_sources > 0 && memchr(r->from, 1, r->n_sources) != NULL;
}

/* The heads of a segment's tiles, as the index points to them: they have their own checksums, so that those
 * that are whole can be believed whatever happened to the rest of the file. */
typedef struct held {
  bc_remedy *r;
  uint32_t segment;
  bc_map map;
  bool lost; /* a head cannot be read */
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
  if (rec.head_segment == h->segment || (rec.segment == h->segment && rec.stored > 0)) h->r->needed = true;
  if (rec.head_segment != h->segment) return BC_OK;
  if (bc_bytes_sub((bc_bytes){ h->map.p, h->map.n }, rec.head_offset, rec.head_bytes, &b) &&
      bc_tile_head_parse(b, &head, NULL) == BC_OK)
    add_heads_sources(h->r, &head);
  else
    h->lost = true;
  return BC_OK;
}

/* Of tiles in force where their heads can be read, else of all that the segment ever held. False when that is
 * not known. */
static bool find_held(bc_remedy *r, uint32_t segment)
{
  char name[BC_SEGMENT_NAME];
  held h = { .r = r, .segment = segment };
  bc_segment_rec rec = { 0 };
  r->needed = false;
  memset(r->from, 0, r->n_sources);
  bc_segment_name(segment, name);
  char *path = bc_asprintf("%s/%s", r->snap->st->segments, name);
  if (path != NULL) (void)!bc_os_map_ro(path, &h.map, NULL);
  bc_free(path);
  (void)!bc_txn_each(r->snap->txn, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, add_held, &h, NULL);
  bc_os_unmap(&h.map);
  /* without bytes: the index was made anew without the segment */
  if (bc_txn_segment_get(r->snap->txn, segment, &rec, NULL) != BC_OK || rec.bytes == 0) return false;
  if (!r->needed) memset(r->from, 0, r->n_sources); /* what was in it is elsewhere by now */
  if (!r->needed || (!h.lost && any_source(r))) return true;
  add_listed(r, &rec);
  return rec.n_sources > 0;
}

/* ---- the command ---- */

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

/* "A/B" of which B is past the end, as --time takes it: B is the last second inside. */
static bc_status put_time(bc_buf *b, const char *value, bc_err *err)
{
  char span[2 * BC_TIME_TEXT + 8], first[BC_TIME_TEXT] = "..", last[BC_TIME_TEXT] = "..";
  int64_t begin = 0, end = 0;
  const char *slash = strchr(value, '/');
  if (slash == NULL) return BC_OK;
  if (slash > value && bc_time_parse(value, (size_t)(slash - value), &begin, &end, NULL) == BC_OK)
    bc_time_format(begin, first);
  if (slash[1] != '\0' && bc_time_parse(slash + 1, strlen(slash + 1), &begin, &end, NULL) == BC_OK)
    bc_time_format(begin - 1, last);
  (void)snprintf(span, sizeof span, "%s/%s", first, last);
  BC_RET(bc_buf_printf(b, err, " --time"));
  return put_word(b, span, err);
}

/* A store may come from anyone: nothing of it reaches the command but through put_word. */
static bc_status put_option(bc_buf *b, const char *name, const char *value, bc_err *err)
{
  static const char *const known[] = { "group", "var", "bbox", "regrid", "precision" };
  static const char *const regrid[] = { "none", "nearest", "bilinear", "mean" };
  char word[2 + sizeof((bc_source_rec *)0)->request];
  if (*value == '\0' || strcmp(value, "/") == 0 || (strcmp(value, "0") == 0 && strcmp(name, "var") != 0))
    return BC_OK;
  if (strcmp(name, "time") == 0) return put_time(b, value, err);
  if (strcmp(name, "static") == 0) return bc_buf_printf(b, err, " --static");
  for (size_t i = 0; i < BC_ARRAY_LEN(known); i++) {
    if (strcmp(name, known[i]) != 0) continue;
    if (strcmp(name, "regrid") == 0 && *value >= '1' && *value <= '3') value = regrid[*value - '0'];
    BC_RET(bc_buf_printf(b, err, " --%s", known[i]));
    if (*value != '-') return put_word(b, value, err);
    (void)snprintf(word, sizeof word, "=%s", value); /* a box that begins in the west */
    const size_t at = b->n;
    BC_RET(put_word(b, word, err));
    memmove(b->p + at, b->p + at + 1, b->n - at - 1); /* the blank before it */
    b->n--;
    return BC_OK;
  }
  return BC_OK;
}

/* Where the next "name=" begins, or the end: values may have blanks. */
static const char *next_option(const char *p)
{
  static const char *const names[] = { " var=", " bbox=", " time=", " regrid=", " precision=", " static=" };
  const char *end = p + strlen(p);
  for (size_t i = 0; i < BC_ARRAY_LEN(names); i++) {
    const char *at = strstr(p, names[i]);
    if (at != NULL && at < end) end = at;
  }
  return end;
}

/* The options of an ingest as its source record tells them, "group= var=t2m bbox= ..": those that were given.
 */
static bc_status put_options(bc_buf *b, const char *request, bc_err *err)
{
  char word[sizeof((bc_source_rec *)0)->request];
  const size_t n = strlen(request);
  if (n > 17 && request[n - 17] == '#') /* too long to be kept */
    return bc_buf_printf(b, err, " OPTIONS-OF-ITS-FIRST-INGEST");
  while (*request != '\0') {
    const char *end = next_option(request);
    (void)snprintf(word, sizeof word, "%.*s", (int)(end - request), request);
    request = *end == ' ' ? end + 1 : end;
    char *value = strchr(word, '=');
    if (value == NULL) continue;
    *value++ = '\0';
    BC_RET(put_option(b, word, value, err));
  }
  return BC_OK;
}

/* Source at a place in the order, if its values are wanted. */
static bool wanted(const bc_remedy *r, uint32_t place, bc_source_rec *out)
{
  const uint32_t id = r->order.ids[place];
  return id < r->n_sources && r->from[id] && bc_snapshot_source(r->snap, id, out, NULL) == BC_OK;
}

/* Sources next to one another in the order that were ingested in one way: one command. Returns where they
 * begin. */
static uint32_t same_request(const bc_remedy *r, uint32_t from, bc_source_rec *last)
{
  uint32_t first = from;
  for (uint32_t i = from; i-- > 0;) {
    bc_source_rec src;
    if (!wanted(r, i, &src)) continue;
    if (last->request[0] == '\0' && last->name[0] == '\0') *last = src;
    if (strcmp(src.request, last->request) != 0) break;
    first = i;
  }
  return first;
}

/* The latest first: its values were in force where files replaced those of one another, and what can be read
 * stays. Within a command ingest --mend sees to that itself. */
static bc_status put_ingest(bc_remedy *r, uint32_t first, uint32_t end, const char *request, bc_err *err)
{
  bc_buf *b = &r->command_text;
  if (b->n > 0) BC_RET(bc_buf_printf(b, err, " && "));
  BC_RET(bc_buf_printf(b, err, "bctool ingest netcdf"));
  BC_RET(put_word(b, r->snap->st->path, err));
  for (uint32_t i = first; i < end; i++) {
    bc_source_rec src;
    if (!wanted(r, i, &src)) continue;
    if (b->n > TEXT_MAX / 2) return bc_buf_printf(b, err, " ... (more files than can be told)");
    BC_RET(put_word(b, src.name, err));
  }
  BC_RET(put_options(b, request, err));
  return bc_buf_printf(b, err, " --mend");
}

static bc_status put_ingests(bc_remedy *r, bc_err *err)
{
  if (r->order.of == NULL) BC_RET(bc_source_order_load(&r->order, r->snap, err));
  for (uint32_t end = r->order.n; end > 0 && r->command_text.n < TEXT_MAX / 2;) {
    bc_source_rec last = { .id = 0 };
    const uint32_t first = same_request(r, end, &last);
    if (last.name[0] == '\0' && last.request[0] == '\0') return BC_OK; /* none is left */
    if (r->source_text.n == 0) BC_RET(bc_buf_printf(&r->source_text, err, "%s", last.name));
    BC_RET(put_ingest(r, first, end, last.request, err));
    end = first;
  }
  return BC_OK;
}

static void note_for_all(bc_remedy *r, bool compact)
{
  r->any_compact = r->any_compact || compact;
  r->bare_compact = r->bare_compact || (compact && r->files == 0);
  if (r->files != 0) {
    r->several = r->several || (r->one_files != 0 && r->one_files != r->files);
    r->one_files = r->files;
    for (uint32_t i = 0; i < r->n_sources; i++)
      r->all[i] |= r->from[i];
  }
  r->several = r->several || (r->bare_compact && r->one_files != 0);
}

/* compact: the file itself has to go, when nothing in force is in it any more. */
static bc_status make_texts(bc_remedy *r, bool compact, bc_err *err)
{
  bc_buf *const b = &r->command_text;
  r->source_text.n = b->n = 0;
  BC_RET(put_ingests(r, err));
  r->files = b->n > 0 ? bc_hash64(b->p, b->n) : 0;
  compact = compact && (r->files != 0 || !r->needed);
  note_for_all(r, compact);
  if (r->snap->st->published) { /* is never written */
    b->n = 0;
    r->files = 0;
    BC_RET(bc_buf_printf(b, err, "bctool publish, from the store that it is a copy of"));
  } else if (compact) {
    BC_RET(bc_buf_printf(b, err, "%sbctool compact", b->n > 0 ? " && " : ""));
    BC_RET(put_word(b, r->snap->st->path, err));
  }
  BC_RET(bc_buf_put(&r->source_text, "", 1, err));
  BC_RET(bc_buf_put(b, "", 1, err));
  r->source = (const char *)r->source_text.p;
  r->command = (const char *)b->p;
  return BC_OK;
}

/* ---- the calls of others ---- */

static void none_known(bc_remedy *r)
{
  memset(r->from, 0, r->n_sources);
  r->unlisted = true;
}

/* Many tiles of a lost segment are told of, and those of several come in turns. */
static bool again(bc_remedy *r, uint64_t question)
{
  for (size_t i = 0; i < BC_MIN(r->n_known, BC_ARRAY_LEN(r->known)); i++) {
    if (r->known[i].question != question) continue;
    r->needed = r->known[i].needed;
    r->files = r->known[i].files;
    r->source = r->known[i].source;
    r->command = r->known[i].command;
    return true;
  }
  return false;
}

static void remember(bc_remedy *r, uint64_t question)
{
  const size_t i = r->n_known++ % BC_ARRAY_LEN(r->known);
  bc_free(r->known[i].source);
  bc_free(r->known[i].command);
  r->known[i].source = bc_strdup(r->source);
  r->known[i].command = bc_strdup(r->command);
  r->known[i].needed = r->needed;
  r->known[i].files = r->files;
  r->known[i].question = r->known[i].source != NULL && r->known[i].command != NULL ? question : 0;
}

bc_status bc_remedy_of_segment(bc_remedy *r, uint32_t segment, bc_err *err)
{
  const uint64_t question = (uint64_t)OF_SEGMENT << 32 | segment;
  if (again(r, question)) return BC_OK;
  const bool known = find_held(r, segment);
  if (!known) none_known(r);
  const bc_status st = make_texts(r, known, err);
  if (st == BC_OK) remember(r, question);
  return st;
}

bc_status bc_remedy_of_lost_tile(bc_remedy *r, uint32_t segment, bc_err *err)
{
  const uint64_t question = (uint64_t)OF_LOST_TILE << 32 | segment;
  bc_segment_rec rec = { 0 };
  if (again(r, question)) return BC_OK;
  memset(r->from, 0, r->n_sources);
  if (bc_txn_segment_get(r->snap->txn, segment, &rec, NULL) == BC_OK) add_listed(r, &rec);
  if (rec.n_sources == 0) none_known(r);
  r->needed = true;
  const bc_status st = make_texts(r, false, err);
  if (st == BC_OK) remember(r, question);
  return st;
}

bc_status bc_remedy_of_tile(bc_remedy *r, const bc_tile_head *head, bc_err *err)
{
  memset(r->from, 0, r->n_sources);
  add_heads_sources(r, head);
  return make_texts(r, false, err);
}

bc_status bc_remedy_of_all(bc_remedy *r, bc_err *err)
{
  r->needed = true;
  memcpy(r->from, r->all, r->n_sources);
  return make_texts(r, r->any_compact, err);
}

void bc_remedy_none(bc_remedy *r)
{
  r->source = r->command = "";
  r->files = 0;
}
