#include "store/store_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/schema_io.h"

#define MARKER_MAX 4096
/* Maps that nobody uses are let go beyond this: the kernel allows 65,530 maps to a process. */
#define OPEN_SEGMENTS 8192

/* ---- small tables ---- */

static bc_bytes text_key(const char *s) { return (bc_bytes){ (const uint8_t *)s, strlen(s) }; }

bc_status bc_meta_get(bc_txn *t, const char *name, uint64_t *out, bc_err *err)
{
  bc_bytes v;
  const bc_status st = bc_txn_get(t, BC_TABLE_META, text_key(name), &v, err);
  if (st == BC_E_NOTFOUND || (st == BC_OK && v.n != 8))
    return BC_FAIL(err, BC_E_CORRUPT, "index: entry %s is not there: run bctool reindex", name);
  if (st == BC_OK) *out = bc_le64(v.p);
  return st;
}

bc_status bc_meta_put(bc_txn *t, const char *name, uint64_t v, bc_err *err)
{
  uint8_t b[8];
  bc_put_le64(b, v);
  return bc_txn_put(t, BC_TABLE_META, text_key(name), (bc_bytes){ b, sizeof b }, err);
}

bc_status bc_meta_put_uuid(bc_txn *t, const uint8_t uuid[16], bc_err *err)
{
  BC_RET(bc_meta_put(t, BC_META_UUID_LO, bc_le64(uuid), err));
  return bc_meta_put(t, BC_META_UUID_HI, bc_le64(uuid + 8), err);
}

static bc_status put_record(bc_txn *t, bc_table table, bc_bytes key, bc_status encoded, bc_buf *b,
                            bc_err *err)
{
  const bc_status st = encoded == BC_OK ? bc_txn_put(t, table, key, (bc_bytes){ b->p, b->n }, err) : encoded;
  bc_buf_dispose(b);
  return st;
}

bc_status bc_put_grid(bc_txn *t, uint8_t number, const bc_grid *g, bc_err *err)
{
  bc_buf b = bc_buf_empty(1 << 20);
  return put_record(t, BC_TABLE_GRIDS, (bc_bytes){ &number, 1 }, bc_grid_encode(g, &b, err), &b, err);
}

bc_status bc_put_modality(bc_txn *t, const bc_modality *m, bc_err *err)
{
  uint8_t key[2];
  bc_buf b = bc_buf_empty(1 << 24);
  bc_put_be16(key, m->id);
  return put_record(t, BC_TABLE_MODALITIES, (bc_bytes){ key, 2 }, bc_modality_encode(m, &b, err), &b, err);
}

bc_status bc_put_usage(bc_txn *t, uint16_t modality, const bc_usage *u, bc_err *err)
{
  uint8_t key[2];
  bc_buf b = bc_buf_empty(1 << 20);
  bc_put_be16(key, modality);
  return put_record(t, BC_TABLE_USAGE, (bc_bytes){ key, 2 }, bc_usage_encode(u, &b, err), &b, err);
}

bc_status bc_get_usage(bc_txn *t, uint16_t modality, bc_usage *out, bc_err *err)
{
  uint8_t key[2];
  bc_bytes v;
  bc_put_be16(key, modality);
  const bc_status st = bc_txn_get(t, BC_TABLE_USAGE, (bc_bytes){ key, 2 }, &v, err);
  if (st == BC_E_NOTFOUND) {
    bc_usage_init(out);
    return BC_OK;
  }
  return st == BC_OK ? bc_usage_decode(v, out, err) : st;
}

void bc_source_key(const bc_source_rec *s, uint8_t out[BC_SOURCE_KEY])
{
  memcpy(out, s->hash, 16);
  bc_put_le64(out + 16, bc_hash64(s->request, strlen(s->request)));
}

bc_status bc_put_source(bc_txn *t, const bc_source_rec *s, bc_err *err)
{
  uint8_t key[4], hash[BC_SOURCE_KEY];
  bc_buf b = bc_buf_empty(1 << 20);
  bc_put_be32(key, s->id);
  bc_source_key(s, hash);
  BC_RET(put_record(t, BC_TABLE_SOURCES, (bc_bytes){ key, 4 }, bc_source_encode(s, &b, err), &b, err));
  return bc_txn_put(t, BC_TABLE_SOURCE_HASH, (bc_bytes){ hash, sizeof hash }, (bc_bytes){ key, 4 }, err);
}

bc_status bc_get_source(bc_txn *t, uint32_t id, bc_source_rec *out, bc_err *err)
{
  uint8_t key[4];
  bc_bytes v;
  bc_put_be32(key, id);
  BC_RET(bc_txn_get(t, BC_TABLE_SOURCES, (bc_bytes){ key, 4 }, &v, err));
  return bc_source_decode(v, out, err);
}

void bc_usage_add(bc_usage *u, const bc_tile_rec *r, int64_t t_first, int64_t t_last)
{
  u->n_tiles++;
  u->stored_bytes += r->stored;
  u->decoded_bytes += r->decoded;
  u->n_valid += r->n_valid;
  u->n_missing += r->n_missing;
  u->n_absent += r->n_absent;
  u->codec_tiles[r->codec]++;
  if (t_first < u->t_first) u->t_first = t_first;
  if (t_last > u->t_last) u->t_last = t_last;
  if (r->min < u->min) u->min = r->min;
  if (r->max > u->max) u->max = r->max;
  u->sum += r->sum;
  u->sumsq += r->sumsq;
}

/* ---- marker: a small text file that says what this folder is ---- */

static void uuid_text(const uint8_t u[16], char out[37])
{
  (void)snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
                 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

static bool uuid_parse(const char *s, uint8_t out[16])
{
  size_t n = 0;
  int high = -1;
  for (; *s != '\0' && n < 16; s++) {
    const int d = *s >= '0' && *s <= '9' ? *s - '0' : *s >= 'a' && *s <= 'f' ? *s - 'a' + 10 : -1;
    if (*s == '-') continue;
    if (d < 0) return false;
    if (high < 0) {
      high = d;
    } else {
      out[n++] = (uint8_t)(high << 4 | d);
      high = -1;
    }
  }
  return n == 16 && *s == '\0';
}

bc_status bc_marker_text(const uint8_t uuid[16], const bc_grid *g, bool published, bc_buf *b, bc_err *err)
{
  char u[37], y0[BC_NUMBER_TEXT], dy[BC_NUMBER_TEXT], x0[BC_NUMBER_TEXT], dx[BC_NUMBER_TEXT];
  uuid_text(uuid, u);
  BC_RET(bc_buf_printf(b, err, "biocube store\nformat %d.%d\nuuid %s\nincompat 0\ncompat 0\nstate %s\n",
                       BC_FORMAT_MAJOR, BC_FORMAT_MINOR, u, published ? "published" : "live"));
  BC_RET(bc_buf_printf(b, err, "grid %s %s %s %s %" PRIu32 " %s %s %" PRIu32 " %" PRIu32 " %s %s\n", g->name,
                       g->crs, bc_number_text(g->y0, y0), bc_number_text(g->dy, dy), g->ny,
                       bc_number_text(g->x0, x0), bc_number_text(g->dx, dx), g->nx, g->cell,
                       g->cell_registered ? "cell" : "node", g->wraps ? "wraps" : "bounded"));
  return bc_buf_printf(b, err, "check %016" PRIx64 "\n", bc_hash64(b->p, b->n));
}

static bool parse_grid_line(const char *line, bc_grid *g)
{
  char reg[8], wraps[8];
  memset(g, 0, sizeof *g);
  const int n = sscanf(line, "grid %63s %31s %lf %lf %" SCNu32 " %lf %lf %" SCNu32 " %" SCNu32 " %7s %7s",
                       g->name, g->crs, &g->y0, &g->dy, &g->ny, &g->x0, &g->dx, &g->nx, &g->cell, reg, wraps);
  if (n != 11) return false;
  g->cell_registered = strcmp(reg, "cell") == 0;
  g->wraps = strcmp(wraps, "wraps") == 0;
  return (g->cell_registered || strcmp(reg, "node") == 0) && (g->wraps || strcmp(wraps, "bounded") == 0);
}

/* The text after "key " on the line that begins so, or NULL. text is NUL-terminated. */
static const char *marker_line(const char *text, const char *key)
{
  const size_t n = strlen(key);
  for (const char *p = text; p != NULL; p = strchr(p, '\n')) {
    if (*p == '\n') p++;
    if (strncmp(p, key, n) == 0 && p[n] == ' ') return p + n + 1;
  }
  return NULL;
}

static bc_status parse_marker(bc_store *st, char *text, size_t n, bc_err *err)
{
  int major = 0, minor = 0;
  char uuid[40];
  uint64_t incompat = 0, sum = 0;
  if (strncmp(text, "biocube store\n", 14) != 0)
    return BC_FAIL(err, BC_E_CORRUPT, "%s: not a biocube store (its file %s is something else)", st->path,
                   BC_MARKER);
  const char *format = marker_line(text, "format"), *u = marker_line(text, "uuid");
  const char *inc = marker_line(text, "incompat"), *check = marker_line(text, "check");
  const char *state = marker_line(text, "state");
  const char *grid = marker_line(text, "grid");
  if (format == NULL || sscanf(format, "%d.%d", &major, &minor) != 2)
    return BC_FAIL(err, BC_E_CORRUPT, "%s/%s: no line format", st->path, BC_MARKER);
  if (major != BC_FORMAT_MAJOR)
    return BC_FAIL(err, BC_E_VERSION, "%s: store format %d.%d, this version reads %d.x: use a newer bctool",
                   st->path, major, minor, BC_FORMAT_MAJOR);
  if (check == NULL || sscanf(check, "%16" SCNx64, &sum) != 1 ||
      sum != bc_hash64(text, (size_t)(check - text) - strlen("check ")) || check + 17 != text + n ||
      text[n - 1] != '\n')
    return BC_FAIL(err, BC_E_CHECKSUM, "%s/%s: damaged (checksum of its %zu bytes)", st->path, BC_MARKER, n);
  if (inc == NULL || sscanf(inc, "%" SCNu64, &incompat) != 1 || incompat != 0)
    return BC_FAIL(err, BC_E_FEATURE, "%s: needs features 0x%" PRIx64 " that this version does not know",
                   st->path, incompat);
  if (u == NULL || sscanf(u, "%39s", uuid) != 1 || !uuid_parse(uuid, st->uuid) || grid == NULL ||
      !parse_grid_line(grid - strlen("grid "), &st->grid))
    return BC_FAIL(err, BC_E_CORRUPT, "%s/%s: no line uuid or grid", st->path, BC_MARKER);
  st->published = state != NULL && strncmp(state, "published\n", 10) == 0;
  if (!st->published && (state == NULL || strncmp(state, "live\n", 5) != 0))
    return BC_FAIL(err, BC_E_CORRUPT, "%s/%s: no line state", st->path, BC_MARKER);
  return bc_grid_check(&st->grid, err);
}

static bc_status read_marker(bc_store *st, bc_err *err)
{
  bc_buf b = bc_buf_empty(MARKER_MAX + 1);
  char *path = bc_asprintf("%s/%s", st->path, BC_MARKER);
  bc_status s = BC_OK;
  if (path == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory");
  if (!bc_os_exists(st->path))
    s = BC_FAIL(err, BC_E_NOTFOUND, "%s: no such store (make one: bctool create %s)", st->path, st->path);
  else if (!bc_os_is_dir(st->path) || !bc_os_exists(path))
    s = BC_FAIL(err, BC_E_INVAL, "%s: not a biocube store (no file %s in it)", st->path, BC_MARKER);
  else
    s = bc_os_read_file(path, MARKER_MAX, &b, err);
  if (s == BC_OK) s = bc_buf_put(&b, "", 1, err);
  if (s == BC_OK) s = parse_marker(st, (char *)b.p, b.n - 1, err);
  bc_buf_dispose(&b);
  bc_free(path);
  return s;
}

/* ---- create ---- */

bc_status bc_index_init(const char *folder, const uint8_t uuid[16], const bc_grid *grid, bc_err *err)
{
  bc_index *ix = NULL;
  bc_txn *t = NULL;
  bc_status st = BC_OK;
  BC_TRY(bc_index_open(folder, BC_INDEX_CREATE | BC_INDEX_WRITE, &ix, err));
  BC_TRY(bc_txn_begin(ix, true, &t, err));
  BC_TRY(bc_meta_put(t, BC_META_SNAPSHOT, 0, err));
  BC_TRY(bc_meta_put(t, BC_META_SCHEMA, 0, err)); /* each change sets it to its commit's number */
  BC_TRY(bc_meta_put(t, BC_META_NEXT_SEGMENT, 1, err));
  BC_TRY(bc_meta_put(t, BC_META_NEXT_SOURCE, 0, err));
  BC_TRY(bc_meta_put_uuid(t, uuid, err));
  BC_TRY(bc_put_grid(t, 0, grid, err));
  st = bc_txn_commit(t, err);
  t = NULL;
out:
  bc_txn_abort(t);
  bc_index_close(ix);
  return st;
}

static bc_status fill_folder(const char *tmp, const bc_grid *grid, bc_err *err)
{
  bc_status st = BC_OK;
  uint8_t uuid[16];
  bc_buf b = bc_buf_empty(MARKER_MAX);
  bc_outfile f = { .fd = -1 };
  char *segments = bc_asprintf("%s/" BC_SEGMENTS, tmp), *index = bc_asprintf("%s/" BC_INDEX, tmp);
  char *marker = bc_asprintf("%s/" BC_MARKER, tmp);
  if (segments == NULL || index == NULL || marker == NULL)
    BC_TRY(BC_FAIL(err, BC_E_NOMEM, "store: no memory"));
  bc_os_random(uuid, sizeof uuid);
  uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 4122: random */
  uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
  BC_TRY(bc_os_mkdir(segments, err));
  BC_TRY(bc_os_mkdir(index, err));
  BC_TRY(bc_index_init(index, uuid, grid, err));
  BC_TRY(bc_os_sync_dir(index, err));
  BC_TRY(bc_marker_text(uuid, grid, false, &b, err));
  BC_TRY(bc_os_out_create(marker, false, &f, err));
  BC_TRY(bc_os_out_write(&f, b.p, b.n, err));
  BC_TRY(bc_os_out_publish(&f, false, err));
out:
  bc_os_out_discard(&f);
  bc_buf_dispose(&b);
  bc_free(segments);
  bc_free(index);
  bc_free(marker);
  return st;
}

static char *trimmed(const char *path)
{
  char *p = bc_strdup(path);
  if (p == NULL) return NULL;
  for (size_t n = strlen(p); n > 1 && p[n - 1] == '/'; n--)
    p[n - 1] = '\0';
  return p;
}

static bc_status check_parent(const char *path, bc_err *err)
{
  const char *slash = strrchr(path, '/');
  if (slash == NULL || slash == path) return BC_OK;
  char *parent = bc_strdup(path);
  if (parent == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory");
  parent[slash - path] = '\0';
  const bc_status st = bc_os_is_dir(parent) ? BC_OK
                                            : BC_FAIL(err, BC_E_NOTFOUND, "%s: no such folder to make %s in",
                                                      parent, slash + 1);
  bc_free(parent);
  return st;
}

bc_status bc_store_create(const char *path_in, const bc_grid *grid, bc_err *err)
{
  bc_status st = BC_OK;
  char *path = trimmed(path_in);
  char *tmp = path == NULL ? NULL : bc_asprintf("%s.tmp-%ld", path, bc_os_pid());
  bool made = false;
  if (tmp == NULL) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "store: no memory"));
  BC_TRY(bc_grid_check(grid, err));
  if (bc_os_exists(path)) BC_TRY(BC_FAIL(err, BC_E_EXISTS, "%s: exists already", path));
  BC_TRY(check_parent(path, err));
  BC_TRY(bc_os_mkdir(tmp, err));
  made = true;
  BC_TRY(fill_folder(tmp, grid, err));
  BC_TRY(bc_os_rename_dir(tmp, path, err)); /* all of it appears at once */
  made = false;
out:
  if (made) bc_os_remove_tree(tmp);
  bc_free(tmp);
  bc_free(path);
  return st;
}

/* ---- open and close ---- */

static bc_status open_index(bc_store *st, unsigned flags, bc_err *err)
{
  bc_status s;
  bc_txn *t = NULL;
  uint64_t lo = 0, hi = 0;
  char *folder = bc_asprintf("%s/" BC_INDEX, st->path);
  if (folder == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory");
  if (!bc_os_is_own_dir(folder)) {
    s = BC_FAIL(err, BC_E_CORRUPT, "%s: no folder there (a link is not followed): run bctool reindex",
                folder);
    bc_free(folder);
    return s;
  }
  s = bc_index_open(folder,
                    (flags & BC_OPEN_WRITE ? BC_INDEX_WRITE : 0) |
                        (flags & BC_OPEN_NOLOCK ? BC_INDEX_NOLOCK : 0) | (st->published ? BC_INDEX_FIXED : 0),
                    &st->ix, err);
  bc_free(folder);
  if (s == BC_OK) s = bc_txn_begin(st->ix, false, &t, err);
  if (s == BC_OK) s = bc_meta_get(t, BC_META_UUID_LO, &lo, err);
  if (s == BC_OK) s = bc_meta_get(t, BC_META_UUID_HI, &hi, err);
  bc_txn_abort(t);
  if (s == BC_OK && (lo != bc_le64(st->uuid) || hi != bc_le64(st->uuid + 8)))
    s = BC_FAIL(err, BC_E_CORRUPT, "%s: its index belongs to another store: run bctool reindex", st->path);
  return s;
}

static bc_status take_lock(bc_store *st, bc_err *err)
{
  char *path = bc_asprintf("%s/" BC_LOCK, st->path);
  if (path == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory");
  const bc_status s = bc_os_lock(path, &st->lock, err);
  bc_free(path);
  st->locked = s == BC_OK;
  return s;
}

static bc_status open_marked(const char *path, bc_store **out, bc_err *err)
{
  bc_status st = BC_OK;
  *out = NULL;
  bc_store *s = bc_calloc(1, sizeof *s);
  if (s == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory");
  pthread_mutex_init(&s->mutex, NULL);
  s->pid = bc_os_pid();
  s->path = trimmed(path);
  s->segments = s->path == NULL ? NULL : bc_asprintf("%s/" BC_SEGMENTS, s->path);
  if (s->segments == NULL) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "store: no memory"));
  BC_TRY(read_marker(s, err));
  if (!bc_os_is_own_dir(s->segments))
    BC_TRY(BC_FAIL(err, BC_E_CORRUPT, "%s: no folder there (a link is not followed)", s->segments));
  *out = s;
  s = NULL;
out:
  bc_store_close(s);
  return st;
}

bc_status bc_store_open(const char *path, unsigned flags, bc_store **out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_store *s = NULL;
  *out = NULL;
  BC_TRY(open_marked(path, &s, err));
  if (s->published && (flags & BC_OPEN_WRITE))
    BC_TRY(BC_FAIL(err, BC_E_READONLY, "%s: a published store is never written", s->path));
  if (s->published) flags |= BC_OPEN_NOLOCK;
  if (flags & BC_OPEN_WRITE) BC_TRY(take_lock(s, err));
  BC_TRY(open_index(s, flags, err));
  s->write = (flags & BC_OPEN_WRITE) != 0;
  *out = s;
  s = NULL;
out:
  bc_store_close(s);
  return st;
}

bc_status bc_store_open_bare(const char *path, bc_store **out, bc_err *err)
{
  BC_RET(open_marked(path, out, err));
  bc_status st = BC_OK;
  if ((*out)->published)
    st = BC_FAIL(err, BC_E_READONLY, "%s: a published store is never written: publish it anew", (*out)->path);
  if (st == BC_OK) st = take_lock(*out, err);
  if (st == BC_OK) return BC_OK;
  bc_store_close(*out);
  *out = NULL;
  return st;
}

void bc_schema_unref(bc_schema *s)
{
  if (s == NULL || atomic_fetch_sub(&s->refs, 1) > 1) return;
  for (size_t i = 0; i < s->n_modalities; i++)
    bc_modality_dispose(&s->modalities[i]);
  bc_free(s->modalities);
  bc_free(s->grids);
  bc_free(s);
}

void bc_store_close(bc_store *st)
{
  if (st == NULL) return;
  for (size_t i = 0; i < st->open_cap; i++)
    bc_segment_unref(st->open[i]);
  bc_free(st->open);
  bc_schema_unref(st->schema);
  bc_index_close(st->ix);
  if (st->locked && st->pid == bc_os_pid()) bc_os_unlock(&st->lock);
  pthread_mutex_destroy(&st->mutex);
  bc_free(st->segments);
  bc_free(st->path);
  bc_free(st);
}

const char *bc_store_path(const bc_store *st) { return st->path; }

bc_status bc_store_check_process(const bc_store *st, bc_err *err)
{
  if (st->pid == bc_os_pid()) return BC_OK;
  return BC_FAIL(err, BC_E_INVAL,
                 "%s: opened by process %ld, used by its fork %ld: open it again after fork()", st->path,
                 st->pid, bc_os_pid());
}

/* ---- segments ---- */

static void drop_unused(bc_store *st)
{
  for (size_t i = 0; i < st->open_cap; i++) {
    if (st->open[i] == NULL || bc_segment_refs(st->open[i]) > 1) continue;
    bc_segment_unref(st->open[i]);
    st->open[i] = NULL;
    st->n_open--;
  }
}

static bc_status open_segment(bc_store *st, uint32_t id, bc_err *err)
{
  if (id >= st->open_cap) {
    const size_t cap = BC_MAX((size_t)id + 64, st->open_cap * 2);
    bc_segment **p = bc_realloc(st->open, cap * sizeof(bc_segment *));
    if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory for %zu segments", cap);
    memset(p + st->open_cap, 0, (cap - st->open_cap) * sizeof(bc_segment *));
    st->open = p;
    st->open_cap = cap;
  }
  if (st->open[id] != NULL) return BC_OK;
  if (st->n_open >= OPEN_SEGMENTS) drop_unused(st);
  BC_RET(bc_segment_open(st->segments, id, st->uuid, false, &st->open[id], err));
  st->n_open++;
  return BC_OK;
}

bc_status bc_store_segment(bc_store *st, uint32_t id, bc_segment **out, bc_err *err)
{
  *out = NULL;
  pthread_mutex_lock(&st->mutex);
  const bc_status s = open_segment(st, id, err);
  if (s == BC_OK) *out = bc_segment_ref(st->open[id]);
  pthread_mutex_unlock(&st->mutex);
  return s;
}

void bc_store_forget(bc_store *st, uint32_t id)
{
  pthread_mutex_lock(&st->mutex);
  if (id < st->open_cap && st->open[id] != NULL) {
    bc_segment_unref(st->open[id]);
    st->open[id] = NULL;
    st->n_open--;
  }
  pthread_mutex_unlock(&st->mutex);
}

/* ---- snapshot ---- */

static bc_status load_grid(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  bc_schema *s = ctx;
  (void)stop;
  if (key.n != 1 || key.p[0] != s->n_grids)
    return BC_FAIL(err, BC_E_CORRUPT, "index: grids: run bctool reindex");
  return bc_grid_decode(value, &s->grids[s->n_grids++], err);
}

static bc_status load_modality(void *ctx, bc_bytes key, bc_bytes value, bool *stop, bc_err *err)
{
  bc_schema *s = ctx;
  (void)stop;
  bc_modality *m = &s->modalities[s->n_modalities];
  if (key.n != 2 || bc_be16(key.p) != s->n_modalities)
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
  BC_TRY(bc_txn_each(t, BC_TABLE_GRIDS, (bc_bytes){ NULL, 0 }, load_grid, s, err));
  BC_TRY(bc_txn_each(t, BC_TABLE_MODALITIES, (bc_bytes){ NULL, 0 }, load_modality, s, err));
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
      drop_unused(s->st); /* compaction counts as a change: maps of unlinked files would keep their space */
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
  if (key.n != 4 || value.n != 8) return BC_FAIL(err, BC_E_CORRUPT, "index: segments: run bctool reindex");
  info->n_segments++;
  info->segment_bytes += bc_le64(value.p);
  return BC_OK;
}

bc_status bc_snapshot_info(bc_snapshot *s, bc_store_info *out, bc_err *err)
{
  memset(out, 0, sizeof *out);
  uuid_text(s->st->uuid, out->uuid);
  out->format_major = BC_FORMAT_MAJOR;
  out->format_minor = BC_FORMAT_MINOR;
  out->snapshot = s->id;
  out->n_grids = s->schema->n_grids;
  out->n_modalities = s->schema->n_modalities;
  out->index_bytes = bc_index_bytes(s->st->ix);
  BC_RET(bc_txn_count(s->txn, BC_TABLE_TILES, &out->n_tiles, err));
  BC_RET(bc_txn_count(s->txn, BC_TABLE_SOURCES, &out->n_sources, err));
  return bc_txn_each(s->txn, BC_TABLE_SEGMENTS, (bc_bytes){ NULL, 0 }, add_segment_bytes, out, err);
}

bc_status bc_snapshot_usage(bc_snapshot *s, uint16_t modality, bc_usage *out, bc_err *err)
{
  return bc_get_usage(s->txn, modality, out, err);
}

bc_status bc_snapshot_source(bc_snapshot *s, uint32_t id, bc_source_rec *out, bc_err *err)
{
  return bc_get_source(s->txn, id, out, err);
}

uint32_t bc_snapshot_source_limit(bc_snapshot *s)
{
  uint64_t n = 0;
  return bc_meta_get(s->txn, BC_META_NEXT_SOURCE, &n, NULL) == BC_OK ? (uint32_t)n : 0;
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
  uint8_t key[4];
  bc_bytes v;
  bc_put_be32(key, segment);
  if (bc_txn_begin(s->st->ix, false, &t, NULL) != BC_OK) return false;
  const bool retired =
      bc_meta_get(t, BC_META_SNAPSHOT, &now, NULL) == BC_OK && now != s->id &&
      bc_txn_get(t, BC_TABLE_SEGMENTS, (bc_bytes){ key, sizeof key }, &v, NULL) == BC_E_NOTFOUND;
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
  return BC_FAIL(err, BC_E_CORRUPT, "segment %" PRIu32 " is missing: run bctool verify", id);
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
                   "%s: the index points to another tile in segment %" PRIu32 ": run bctool reindex",
                   bc_snapshot_tile_text(s, key, text, sizeof text), rec->head_segment));
  if (rec->stored > 0) {
    if (rec->segment == rec->head_segment)
      out->seg = bc_segment_ref(out->head_seg);
    else
      BC_TRY(get_segment(s, rec->segment, &out->seg, err));
    BC_TRY(bc_segment_slice(out->seg, rec->offset, rec->stored, &out->payload, err));
  }
out:
  if (st != BC_OK) bc_tile_close(out);
  return st;
}

char *bc_snapshot_tile_text(const bc_snapshot *s, const bc_tile_key *key, char *buf, size_t cap)
{
  char when[BC_TIME_TEXT];
  const bc_modality *m = bc_snapshot_modality(s, key->modality);
  (void)snprintf(buf, cap, "%s/%s, cell %" PRIu32 ", from %s", m == NULL ? "?" : m->group,
                 m == NULL ? "?" : m->name, key->cell, bc_time_format_short(key->time, when));
  return buf;
}

/* ---- what a modality holds, from heads ---- */

typedef struct level_ctx {
  bc_snapshot *s;
  uint16_t modality;
  bc_usage *levels;
  size_t n;
} level_ctx;

static bc_status each_tile_of(bc_snapshot *s, bc_pair_fn each, void *ctx, bc_err *err)
{
  return bc_txn_each(s->txn, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, each, ctx, err);
}

static bc_status add_levels(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  level_ctx *c = ctx;
  bc_tile_key key;
  bc_tile_rec rec;
  bc_tile tile;
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &key, err));
  if (key.modality != c->modality || (key.part & BC_PART_SECOND)) return BC_OK;
  BC_RET(bc_tile_rec_get(vb, &rec, err));
  BC_RET(bc_snapshot_tile(c->s, &key, &rec, &tile, err));
  for (uint32_t l = 0; l < tile.head.nl; l++) {
    const uint16_t at = bc_tile_level(&tile.head, l);
    if (at >= c->n) continue;
    const bc_level_stats ls = bc_tile_stats(&tile.head, l);
    bc_tile_rec part = { .codec = rec.codec,
                         .n_valid = ls.n_valid,
                         .n_missing = ls.n_missing,
                         .min = ls.min,
                         .max = ls.max,
                         .sum = ls.sum,
                         .sumsq = ls.sumsq,
                         .stored = rec.stored / tile.head.nl,
                         .decoded = rec.decoded / tile.head.nl,
                         .n_absent = rec.n_absent / tile.head.nl };
    bc_usage_add(&c->levels[at], &part, bc_tile_time(&tile.head, 0),
                 bc_tile_time(&tile.head, tile.head.nt - 1));
  }
  bc_tile_close(&tile);
  return BC_OK;
}

bc_status bc_snapshot_level_usage(bc_snapshot *s, uint16_t modality, bc_usage *levels, size_t n_levels,
                                  bc_err *err)
{
  level_ctx c = { s, modality, levels, n_levels };
  for (size_t i = 0; i < n_levels; i++)
    bc_usage_init(&levels[i]);
  return each_tile_of(s, add_levels, &c, err);
}

typedef struct times_ctx {
  bc_snapshot *s;
  uint16_t modality;
  int64_t *t;
  size_t n, cap;
  /* Tiles of many cells have the same steps: the last few shapes seen are not read again. */
  struct {
    int64_t bucket, first, step;
    uint32_t nt;
  } seen[16];
  unsigned next_seen;
} times_ctx;

static bool seen_before(times_ctx *c, int64_t bucket, const bc_tile_head *h)
{
  for (size_t i = 0; i < BC_ARRAY_LEN(c->seen); i++)
    if (c->seen[i].nt == h->nt && c->seen[i].bucket == bucket && c->seen[i].first == h->t_first &&
        c->seen[i].step == h->t_step)
      return true;
  if (h->regular) {
    const unsigned i = c->next_seen++ % BC_ARRAY_LEN(c->seen);
    c->seen[i].bucket = bucket;
    c->seen[i].first = h->t_first;
    c->seen[i].step = h->t_step;
    c->seen[i].nt = h->nt;
  }
  return false;
}

static int by_time(const void *a, const void *b)
{
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Sort and keep each value once. */
static size_t distinct(int64_t *t, size_t n)
{
  size_t k = 0;
  if (n > 1) qsort(t, n, sizeof *t, by_time);
  for (size_t i = 0; i < n; i++)
    if (k == 0 || t[k - 1] != t[i]) t[k++] = t[i];
  return k;
}

static bc_status add_times(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  times_ctx *c = ctx;
  bc_tile_key key;
  bc_tile_rec rec;
  bc_tile tile;
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &key, err));
  if (key.modality != c->modality || (key.part & BC_PART_SECOND)) return BC_OK;
  BC_RET(bc_tile_rec_get(vb, &rec, err));
  BC_RET(bc_snapshot_tile(c->s, &key, &rec, &tile, err));
  bc_status st = BC_OK;
  if (!seen_before(c, key.time, &tile.head)) {
    if (c->n + tile.head.nt > c->cap) {
      c->n = distinct(c->t, c->n);
      const size_t cap = (c->n + tile.head.nt) * 2;
      int64_t *p = bc_realloc(c->t, cap * sizeof *p);
      if (p == NULL) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "store: no memory for %zu steps", cap));
      c->t = p;
      c->cap = cap;
    }
    for (uint32_t i = 0; i < tile.head.nt; i++)
      c->t[c->n++] = bc_tile_time(&tile.head, i);
  }
out:
  bc_tile_close(&tile);
  return st;
}

bc_status bc_snapshot_times(bc_snapshot *s, uint16_t modality, int64_t **times, size_t *n, bc_err *err)
{
  times_ctx c = { .s = s, .modality = modality };
  *times = NULL;
  *n = 0;
  const bc_status st = each_tile_of(s, add_times, &c, err);
  if (st != BC_OK) {
    bc_free(c.t);
    return st;
  }
  *n = distinct(c.t, c.n);
  *times = c.t;
  return BC_OK;
}

void bc_times_free(int64_t *times) { bc_free(times); }
