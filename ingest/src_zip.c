/*
 * A zip as the CDS delivers it: its netCDF members, extracted to a private folder. The only file of the
 * folder that knows libzip. Names inside the zip are never used as paths; suspicious ones are refused all the
 * same, because a zip that holds them was not made by an archive of climate data.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <zip.h>

#include "ingest/src_int.h"
#include "store/os.h"

#define MAX_MEMBERS  4096u
#define MAX_NETCDF   512u                 /* members kept open at once */
#define BOMB_RATIO   200u                 /* fields of constants reach 100 */
#define BOMB_FLOOR   (UINT64_C(64) << 20) /* small members may compress as they like */
#define COPY_BYTES   ((size_t)256 << 10)
#define UNIX_TYPE    0170000u
#define UNIX_SYMLINK 0120000u

/* ---- errors ---- */
static bc_status zip_fail(bc_err *err, zip_error_t *e, const char *label, const char *what)
{
  const int code = zip_error_code_zip(e), sys = zip_error_code_system(e);
  bc_status st = BC_E_CORRUPT;

  switch (code) {
  case ZIP_ER_MEMORY: st = BC_E_NOMEM; break;
  case ZIP_ER_READ:
  case ZIP_ER_OPEN:
  case ZIP_ER_SEEK: st = sys != 0 ? BC_E_IO : BC_E_TRUNCATED; break;
  case ZIP_ER_NOZIP:
  case ZIP_ER_EOF: st = BC_E_TRUNCATED; break;
  case ZIP_ER_COMPNOTSUPP:
  case ZIP_ER_ENCRNOTSUPP:
  case ZIP_ER_NOPASSWD:
  case ZIP_ER_MULTIDISK: st = BC_E_UNSUPPORTED; break;
  default: break;
  }
  return bc_err_set(err, st, "zip", code, __FILE__, __LINE__, "%s: %s: %s%s", label, what,
                    zip_error_strerror(e),
                    st == BC_E_TRUNCATED || st == BC_E_CORRUPT ? "; download it again" : "");
}

static bc_status disk_fail(bc_err *err, int e, const char *what)
{
  return BC_FAIL_SYS(err, bc_os_status(e) == BC_E_FULL ? BC_E_FULL : BC_E_IO, "os", e,
                     "temporary folder %s cannot be written (%s): set TMPDIR to one with room", what,
                     e == ENOSPC || e == EDQUOT || e == EFBIG ? "no space" : "refused");
}

/* ---- is a member harmless? ---- */
static bool escapes(const char *name)
{
  const char *p = name;

  if (name[0] == '/' || name[0] == '\\' || (name[0] != '\0' && name[1] == ':')) return true;
  while (*p != '\0') {
    const size_t n = strcspn(p, "/\\");
    if (n == 2 && p[0] == '.' && p[1] == '.') return true;
    p += n;
    p += *p != '\0';
  }
  return false;
}

static bool is_symlink(zip_t *z, zip_uint64_t i)
{
  zip_uint8_t os = 0;
  zip_uint32_t attr = 0;

  if (zip_file_get_external_attributes(z, i, 0, &os, &attr) != 0) return false;
  return os == ZIP_OPSYS_UNIX && (attr >> 16 & UNIX_TYPE) == UNIX_SYMLINK;
}

/* Checks a member and gives its size; *skip for folders and empty ones. */
static bc_status check_member(zip_t *z, zip_uint64_t i, const char *label, zip_stat_t *sb, bool *skip,
                              bc_err *err)
{
  const zip_uint64_t need = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  size_t n;

  zip_stat_init(sb);
  if (zip_stat_index(z, i, 0, sb) != 0) return zip_fail(err, zip_get_error(z), label, "a member");
  if ((sb->valid & need) != need)
    return BC_FAIL(err, BC_E_CORRUPT, "%s: a member has no name, size or method", label);
  n = strlen(sb->name);
  if (escapes(sb->name))
    return BC_FAIL(err, BC_E_CORRUPT, "%s: member \"%.100s\" would be written outside its folder: refused",
                   label, sb->name);
  if (is_symlink(z, i))
    return BC_FAIL(err, BC_E_CORRUPT, "%s: member \"%.100s\" is a symbolic link: refused", label, sb->name);
  *skip = n == 0 || sb->name[n - 1] == '/' || sb->size == 0;
  if ((sb->valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && sb->encryption_method != ZIP_EM_NONE)
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: member \"%.100s\" is encrypted: unpack it first", label,
                   sb->name);
  /* what CDS writes; others would bring decoders that take their memory from the file's word */
  if (sb->comp_method != ZIP_CM_STORE && sb->comp_method != ZIP_CM_DEFLATE)
    return BC_FAIL(
        err, BC_E_UNSUPPORTED,
        "%s: member \"%.100s\" is compressed by method %u, neither stored nor deflated: unpack it first",
        label, sb->name, (unsigned)sb->comp_method);
  if (sb->size > BOMB_FLOOR && sb->size / BOMB_RATIO > sb->comp_size)
    return BC_FAIL(err, BC_E_CORRUPT,
                   "%s: member \"%.100s\" unpacks from %" PRIu64 " to %" PRIu64
                   " bytes, more than %u times: refused as a zip bomb",
                   label, sb->name, (uint64_t)sb->comp_size, (uint64_t)sb->size, BOMB_RATIO);
  return BC_OK;
}

/* ---- extraction ---- */
static bc_status open_member(zip_t *z, zip_uint64_t i, const char *label, const char *name, zip_file_t **out,
                             bc_err *err)
{
  *out = zip_fopen_index(z, i, 0);
  return *out != NULL ? BC_OK : zip_fail(err, zip_get_error(z), label, name);
}

/* Fills dst, less at the member's end. */
static bc_status read_some(zip_file_t *f, const char *label, const char *name, uint8_t *dst, size_t want,
                           size_t *got, bc_err *err)
{
  *got = 0;
  while (*got < want) {
    const zip_int64_t n = zip_fread(f, dst + *got, want - *got);
    if (n < 0) return zip_fail(err, zip_file_get_error(f), label, name);
    if (n == 0) break;
    *got += (size_t)n;
  }
  return BC_OK;
}

static bc_status member_kind(zip_t *z, zip_uint64_t i, const char *label, const char *name, bc_sniffed *kind,
                             bc_err *err)
{
  bc_status st = BC_OK;
  uint8_t head[BC_SNIFF_BYTES];
  zip_file_t *f = NULL;
  size_t n = 0;

  BC_TRY(open_member(z, i, label, name, &f, err));
  BC_TRY(read_some(f, label, name, head, sizeof head, &n, err));
  *kind = bc_source_sniff((bc_bytes){ head, n });
out:
  if (f != NULL) (void)zip_fclose(f);
  return st;
}

static bc_status write_all(int fd, const char *path, const uint8_t *p, size_t n, bc_err *err)
{
  while (n > 0) {
    const ssize_t k = write(fd, p, n);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return disk_fail(err, k < 0 ? errno : EIO, path);
    p += k;
    n -= (size_t)k;
  }
  return BC_OK;
}

static bc_status copy_out(zip_file_t *f, const char *label, const zip_stat_t *sb, int fd, const char *path,
                          const bc_progress *progress, bc_err *err)
{
  bc_status st = BC_OK;
  uint64_t done = 0;
  uint8_t *buf = bc_malloc(COPY_BYTES);

  if (buf == NULL) return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory", label);
  for (;;) {
    size_t n = 0;
    BC_TRY(read_some(f, label, sb->name, buf, COPY_BYTES, &n, err));
    if (n == 0) break;
    done += n;
    if (done > sb->size) break;
    BC_TRY(write_all(fd, path, buf, n, err));
    if (progress != NULL && progress->cancelled != NULL && progress->cancelled(progress->ctx)) {
      st = BC_FAIL(err, BC_E_CANCELLED, "cancelled while unpacking %s", label);
      goto out;
    }
  }
  if (done != sb->size)
    st = BC_FAIL(err, BC_E_CORRUPT,
                 "%s: member \"%.100s\" promises %" PRIu64 " bytes and holds %s; download it again", label,
                 sb->name, (uint64_t)sb->size, done > sb->size ? "more" : "fewer");
out:
  bc_free(buf);
  return st;
}

static bc_status extract(zip_t *z, zip_uint64_t i, const char *label, const zip_stat_t *sb, const char *path,
                         const bc_progress *progress, bc_err *err)
{
  bc_status st = BC_OK;
  zip_file_t *f = NULL;
  const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

  if (fd < 0) return disk_fail(err, errno, path);
  BC_TRY(open_member(z, i, label, sb->name, &f, err));
  BC_TRY(copy_out(f, label, sb, fd, path, progress, err));
out:
  if (f != NULL) (void)zip_fclose(f);
  if (close(fd) != 0 && st == BC_OK) st = disk_fail(err, errno, path);
  return st;
}

static bc_status make_folder(bc_unzipped *u, bc_err *err)
{
  const char *tmp = getenv("TMPDIR");

  u->folder = bc_asprintf("%s/biocube-XXXXXX", tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
  if (u->folder == NULL) return BC_FAIL(err, BC_E_NOMEM, "out of memory");
  if (mkdtemp(u->folder) == NULL) { /* mode 0700 */
    const bc_status st = disk_fail(err, errno, u->folder);
    bc_free(u->folder);
    u->folder = NULL;
    return st;
  }
  return BC_OK;
}

static bc_status check_room(const bc_unzipped *u, uint64_t need, const char *label, bc_err *err)
{
  struct statvfs fs;
  uint64_t room = 0;

  if (statvfs(u->folder, &fs) != 0) return BC_OK; /* then writing will tell */
  if (!bc_mul_u64((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, &room)) return BC_OK;
  if (need <= room) return BC_OK;
  return BC_FAIL(err, BC_E_FULL,
                 "%s unpacks to %" PRIu64 " bytes, the temporary folder %s has room for %" PRIu64
                 ": set TMPDIR to a larger one",
                 label, need, u->folder, room);
}

static bc_status add_path(bc_unzipped *u, const char *name, bc_err *err)
{
  u->paths[u->n] = bc_asprintf("%s/%zu.nc", u->folder, u->n);
  u->names[u->n] = bc_strdup(name);
  u->n++;
  if (u->paths[u->n - 1] == NULL || u->names[u->n - 1] == NULL)
    return BC_FAIL(err, BC_E_NOMEM, "out of memory for the members of a zip");
  return BC_OK;
}

/* Two members of one name: whichever a user meant, one would be read that is not it. */
static bc_status check_twins(zip_t *z, const zip_uint64_t *pick, size_t n, const char *label,
                             const char *name, bc_err *err)
{
  for (size_t i = 0; i < n; i++) {
    const char *other = zip_get_name(z, pick[i], 0);
    if (other != NULL && strcmp(other, name) == 0)
      return BC_FAIL(err, BC_E_CORRUPT, "%s holds two members \"%.100s\": refused", label, name);
  }
  return BC_OK;
}

/* All together, against the file itself: members may overlap, and lie about their compressed size. */
static bc_status check_total(uint64_t bytes, uint64_t file, const char *label, bc_err *err)
{
  if (bytes <= BOMB_FLOOR || bytes / BOMB_RATIO <= file) return BC_OK;
  return BC_FAIL(err, BC_E_CORRUPT,
                 "%s: its members unpack from %" PRIu64 " to %" PRIu64
                 " bytes, more than %u times: refused as a zip bomb",
                 label, file, bytes, BOMB_RATIO);
}

/* Which members are netCDF, in pick[0..*n); all members are checked. */
static bc_status choose(zip_t *z, zip_uint64_t all, const char *label, uint64_t file,
                        const bc_progress *progress, zip_uint64_t *pick, size_t *n, uint64_t *bytes,
                        bc_err *err)
{
  char first[80] = "nothing";

  for (zip_uint64_t i = 0; i < all; i++) {
    zip_stat_t sb;
    bool skip = false;
    bc_sniffed kind = BC_SNIFF_OTHER;
    BC_RET(check_member(z, i, label, &sb, &skip, err));
    if (skip) continue;
    BC_RET(member_kind(z, i, label, sb.name, &kind, err));
    if (kind != BC_SNIFF_CLASSIC && kind != BC_SNIFF_HDF5) {
      if (strcmp(first, "nothing") == 0) (void)snprintf(first, sizeof first, "\"%.70s\"", sb.name);
      bc_source_note(progress, "%s: member %s skipped: it is not netCDF", label, sb.name);
      continue;
    }
    if (*n == MAX_NETCDF)
      return BC_FAIL(err, BC_E_UNSUPPORTED, "%s has more than %u netCDF members: unpack it first", label,
                     MAX_NETCDF);
    if (!bc_add_u64(*bytes, sb.size, bytes)) return BC_FAIL(err, BC_E_CORRUPT, "%s: impossible sizes", label);
    BC_RET(check_total(*bytes, file, label, err));
    BC_RET(check_twins(z, pick, *n, label, sb.name, err));
    pick[(*n)++] = i;
  }
  if (*n == 0)
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s is a zip without any netCDF file: it holds %s", label, first);
  return BC_OK;
}

static bc_status extract_all(zip_t *z, const char *label, const zip_uint64_t *pick, size_t n,
                             const bc_progress *progress, bc_unzipped *u, bc_err *err)
{
  for (size_t i = 0; i < n; i++) {
    zip_stat_t sb;
    bool skip = false;
    BC_RET(check_member(z, pick[i], label, &sb, &skip, err));
    BC_RET(add_path(u, sb.name, err));
    BC_RET(extract(z, pick[i], label, &sb, u->paths[i], progress, err));
  }
  return BC_OK;
}

static bc_status open_zip(const char *path, const char *label, zip_t **out, bc_err *err)
{
  bc_status st = BC_OK;
  int code = 0;
  zip_error_t e;

  *out = zip_open(path, ZIP_RDONLY, &code);
  if (*out != NULL) return BC_OK;
  zip_error_init_with_code(&e, code);
  st = zip_fail(err, &e, label, "reading the zip");
  zip_error_fini(&e);
  return st;
}

bc_status bc_unzip_netcdf(const char *path, const char *label, const bc_progress *progress, bc_unzipped *out,
                          bc_err *err)
{
  bc_status st = BC_OK;

  zip_t *z = NULL;
  zip_uint64_t *pick = NULL;
  zip_int64_t all = 0;
  uint64_t bytes = 0, file = 0;
  size_t n = 0;

  *out = (bc_unzipped){ NULL, NULL, NULL, 0 };
  BC_RET(bc_os_file_size(path, &file, err));
  BC_RET(open_zip(path, label, &z, err));
  all = zip_get_num_entries(z, 0);
  if (all < 0 || all > (zip_int64_t)MAX_MEMBERS) {
    st = BC_FAIL(err, BC_E_UNSUPPORTED, "%s has more than %u members: unpack it first", label, MAX_MEMBERS);
    goto out;
  }
  pick = bc_calloc((size_t)all + 1, sizeof *pick);
  out->paths = bc_calloc((size_t)all + 1, sizeof *out->paths);
  out->names = bc_calloc((size_t)all + 1, sizeof *out->names);
  if (pick == NULL || out->paths == NULL || out->names == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "%s: out of memory", label);
    goto out;
  }
  BC_TRY(choose(z, (zip_uint64_t)all, label, file, progress, pick, &n, &bytes, err));
  BC_TRY(make_folder(out, err));
  BC_TRY(check_room(out, bytes, label, err));
  BC_TRY(extract_all(z, label, pick, n, progress, out, err));
out:
  bc_free(pick);
  zip_discard(z);
  if (st != BC_OK) bc_unzipped_dispose(out);
  return st;
}

void bc_unzipped_dispose(bc_unzipped *u)
{
  for (size_t i = 0; i < u->n; i++) {
    if (u->paths[i] != NULL) (void)unlink(u->paths[i]);
    bc_free(u->paths[i]);
    bc_free(u->names[i]);
  }
  if (u->folder != NULL) (void)rmdir(u->folder);
  bc_free(u->folder);
  bc_free(u->paths);
  bc_free(u->names);
  *u = (bc_unzipped){ NULL, NULL, NULL, 0 };
}
