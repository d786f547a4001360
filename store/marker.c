/* The marker, a small text file that says what a folder is; and making a store. */
#include "store/store_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/schema_io.h"

#define MARKER_MAX 4096

void bc_uuid_text(const uint8_t u[16], char out[37])
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
  bc_uuid_text(uuid, u);
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
  bc_err why = { .msg = "" };
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
  if (bc_grid_check(&st->grid, &why) != BC_OK)
    return BC_FAIL(err, BC_E_CORRUPT, "%s/%s: its grid is not one: %s", st->path, BC_MARKER, why.msg);
  return BC_OK;
}

/* A regular file: a link could lead anywhere, and a pipe would be waited for. */
static bc_status read_marker_text(const char *path, bc_buf *b, bc_err *err)
{
  bc_map m;
  bc_status st = bc_os_map_ro(path, &m, err);
  if (st == BC_E_INVAL) return BC_FAIL(err, BC_E_CORRUPT, "%s: not a regular file: it is no marker", path);
  BC_RET(st);
  if (m.n > MARKER_MAX)
    st = BC_FAIL(err, BC_E_CORRUPT, "%s: %zu bytes: a marker has at most %d", path, m.n, MARKER_MAX);
  else
    st = bc_buf_put(b, m.p, m.n, err);
  bc_os_unmap(&m);
  return st;
}

bc_status bc_marker_read(bc_store *st, bc_err *err)
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
    s = read_marker_text(path, &b, err);
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
  BC_TRY(bc_meta_put(t, BC_META_NEXT_ORDER, 0, err));
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

char *bc_path_trimmed(const char *path)
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
  char *path = bc_path_trimmed(path_in);
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
