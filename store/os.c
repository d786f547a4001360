/*
 * Files, folders and maps over POSIX, with a fault hook before each call that can fail.
 */
#define _DEFAULT_SOURCE 1 /* syscall beside POSIX 2008 */

#include "store/os_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

/* ---- faults ---- */

static int (*fault_hook)(void *ctx, bc_fault_op op);
static void *fault_ctx;

void bc_os_set_fault(int (*hook)(void *ctx, bc_fault_op op), void *ctx)
{
  fault_hook = hook;
  fault_ctx = ctx;
}

int bc_os_fault(bc_fault_op op) { return fault_hook != NULL ? fault_hook(fault_ctx, op) : 0; }

int bc_os_faulted(bc_fault_op op)
{
  const int e = bc_os_fault(op);

  if (e == 0) return 0;
  errno = e;
  return -1;
}

/* ---- errors ---- */

bc_status bc_os_status(int errnum)
{
  switch (errnum) {
  case ENOENT:
  case ENOTDIR: return BC_E_NOTFOUND;
  case EEXIST:
  case ENOTEMPTY: return BC_E_EXISTS;
  case EROFS: return BC_E_READONLY;
  case ENOSPC:
  case EDQUOT:
  case EFBIG: return BC_E_FULL;
  case ENOMEM: return BC_E_NOMEM;
  case EAGAIN:
  case EBUSY:
  case ETXTBSY: return BC_E_BUSY;
  case EINVAL:
  case EISDIR:
  case ELOOP:
  case ENAMETOOLONG: return BC_E_INVAL;
  case ENOSYS:
  case EOPNOTSUPP: return BC_E_UNSUPPORTED;
  default: return BC_E_IO;
  }
}

bc_status bc_os_write_status(int errnum)
{
  return errnum == EACCES || errnum == EPERM ? BC_E_READONLY : bc_os_status(errnum);
}

bc_status bc_os_fail(bc_err *err, bc_status st, int errnum, const char *action, const char *path,
                     const char *file, int line)
{
  char reason[128] = "";

  switch (errnum) {
  case ENOSPC: (void)bc_copy_text(reason, sizeof reason, "no space left on the file system"); break;
  case EDQUOT: (void)bc_copy_text(reason, sizeof reason, "no space left in the disk quota"); break;
  case EFBIG: (void)bc_copy_text(reason, sizeof reason, "no space left under the limit on file sizes"); break;
  default:
    if (strerror_r(errnum, reason, sizeof reason) != 0)
      (void)snprintf(reason, sizeof reason, "system error %d", errnum);
  }
  return bc_err_set(err, st, "os", errnum, file, line, "cannot %s %s: %s", action, path, reason);
}

bc_status bc_os_already_there(const char *path, bc_err *err)
{
  return BC_FAIL_SYS(err, BC_E_EXISTS, "os", EEXIST,
                     "%s exists already: choose another name, or ask for it to be overwritten", path);
}

/* ---- descriptors ---- */

int bc_os_open_fd(const char *path, int flags, mode_t mode)
{
  int fd = -1, high = -1, e = 0;

  if (bc_os_faulted(BC_FAULT_OPEN) != 0) return -1;
  do {
    fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0 || fd > 2) return fd;
  high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  e = errno;
  (void)close(fd);
  errno = e;
  return high;
}

int bc_os_pwrite_all(int fd, const uint8_t *p, size_t n, off_t at)
{
  size_t done = 0;

  if (bc_os_faulted(BC_FAULT_WRITE) != 0) return errno;
  while (done < n) {
    const ssize_t k = pwrite(fd, p + done, n - done, at + (off_t)done);
    if (k > 0) {
      done += (size_t)k;
    } else if (k == 0) {
      return EIO;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

int bc_os_sync_fd(int fd)
{
  int rc = 0;

  if (bc_os_faulted(BC_FAULT_FSYNC) != 0) return -1;
  do {
    rc = fsync(fd);
  } while (rc != 0 && errno == EINTR);
  return rc;
}

/* ---- maps ---- */

/* Opens a regular file; a symlink, a folder, a pipe or a device is refused by name. */
static bc_status open_regular(const char *path, int *fd, struct stat *sb, bc_err *err)
{
  /* O_NONBLOCK: opening a pipe must not wait for its writer; it means nothing for regular files */
  *fd = bc_os_open_fd(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  if (*fd < 0 && errno == ELOOP)
    return BC_FAIL_SYS(err, BC_E_INVAL, "os", ELOOP, "%s is a symbolic link: a regular file is expected",
                       path);
  if (*fd < 0) return BC_READ_FAIL(err, errno, "open", path);
  if (fstat(*fd, sb) != 0) return BC_READ_FAIL(err, errno, "examine", path);
  if (!S_ISREG(sb->st_mode))
    return BC_FAIL(err, BC_E_INVAL, "%s is %s: a regular file is expected", path,
                   S_ISDIR(sb->st_mode) ? "a folder" : "not a regular file");
  return BC_OK;
}

bc_status bc_os_map_ro(const char *path, bc_map *out, bc_err *err)
{
  bc_status st = BC_OK;
  int fd = -1;
  struct stat sb;
  size_t n = 0;
  void *p = NULL;

  *out = (bc_map){ NULL, 0 };
  BC_TRY(open_regular(path, &fd, &sb, err));
  if (!bc_u64_to_sz((uint64_t)sb.st_size, &n)) {
    st = BC_FAIL(err, BC_E_RANGE, "%s: %" PRId64 " bytes do not fit this machine's address space", path,
                 (int64_t)sb.st_size);
    goto out;
  }
  if (n == 0) goto out; /* an empty file cannot be mapped, and need not be */
  p = bc_os_faulted(BC_FAULT_MMAP) == 0 ? mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  if (p == MAP_FAILED) {
    st = BC_READ_FAIL(err, errno, "map", path);
    goto out;
  }
  *out = (bc_map){ p, n };
out:
  if (fd >= 0) (void)close(fd);
  return st;
}

bc_status bc_os_map_fd(int fd, const char *name, bc_map *out, bc_err *err)
{
  struct stat sb;
  size_t n = 0;

  *out = (bc_map){ NULL, 0 };
  if (fstat(fd, &sb) != 0) return BC_READ_FAIL(err, errno, "examine", name);
  if (!bc_u64_to_sz((uint64_t)sb.st_size, &n) || n == 0)
    return BC_FAIL(err, BC_E_TRUNCATED, "%s is empty", name);
  void *p = bc_os_faulted(BC_FAULT_MMAP) == 0 ? mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  if (p == MAP_FAILED) return BC_READ_FAIL(err, errno, "map", name);
  *out = (bc_map){ p, n };
  return BC_OK;
}

void bc_os_unmap(bc_map *m)
{
  if (m == NULL) return;
  if (m->p != NULL) (void)munmap((void *)m->p, m->n);
  *m = (bc_map){ NULL, 0 };
}

/* ---- names ---- */

int bc_os_rename_exclusive(const char *from, const char *to)
{
  if (bc_os_faulted(BC_FAULT_RENAME) != 0) return -1;
#if defined(__linux__) && defined(SYS_renameat2)
  enum { NO_REPLACE = 1 };
  return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, NO_REPLACE) == 0 ? 0 : -1;
#else
  (void)from, (void)to;
  errno = ENOSYS;
  return -1;
#endif
}

/* The same for a folder, which has no hard links; rename itself refuses all but an empty folder. */
static int rename_new_dir(const char *from, const char *to)
{
  if (bc_os_rename_exclusive(from, to) == 0) return 0;
  if ((errno != ENOSYS && errno != EINVAL) || bc_os_faulted(BC_FAULT_RENAME) != 0) return -1;
  return rename(from, to);
}

/* The folder that holds path, as new text: "." for a bare name. */
static char *parent_of(const char *path)
{
  const char *const slash = strrchr(path, '/');

  if (slash == NULL) return bc_strdup(".");
  if (slash == path) return bc_strdup("/");
  return bc_asprintf("%.*s", (int)BC_MIN(slash - path, 65536), path);
}

bc_status bc_os_sync_parent(const char *path, bc_err *err)
{
  bc_status st = BC_OK;
  char *const folder = parent_of(path);

  if (folder == NULL) return BC_FAIL(err, BC_E_NOMEM, "out of memory: the name of a folder");
  st = bc_os_sync_dir(folder, err);
  bc_free(folder);
  return st;
}

/* ---- whole files and folders ---- */

/* Reads to the end; one byte more than max is enough to know that there is too much. */
static bc_status read_to_end(int fd, const char *path, bc_buf *out, bc_err *err)
{
  const size_t max = out->max;

  for (;;) {
    uint8_t chunk[16384];
    ssize_t k = bc_os_faulted(BC_FAULT_READ) == 0 ? read(fd, chunk, sizeof chunk) : -1;
    if (k == 0) return BC_OK;
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return BC_READ_FAIL(err, errno, "read", path);
    if ((size_t)k > max - out->n)
      return BC_FAIL(err, BC_E_RANGE, "%s is larger than the %zu bytes that are expected at most", path, max);
    BC_RET(bc_buf_put(out, chunk, (size_t)k, err));
  }
}

bc_status bc_os_read_file(const char *path, size_t max, bc_buf *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_buf got = bc_buf_empty(max);
  const int fd = bc_os_open_fd(path, O_RDONLY, 0);

  *out = got;
  if (fd < 0) return BC_READ_FAIL(err, errno, "open", path);
  BC_TRY(read_to_end(fd, path, &got, err));
  *out = got;
  got = bc_buf_empty(max);
out:
  bc_buf_dispose(&got);
  (void)close(fd);
  return st;
}

bc_status bc_os_mkdir(const char *path, bc_err *err)
{
  if (bc_os_faulted(BC_FAULT_OPEN) == 0 && mkdir(path, 0755) == 0) return BC_OK;
  if (errno == EEXIST) return BC_FAIL_SYS(err, BC_E_EXISTS, "os", EEXIST, "%s exists already", path);
  return BC_WRITE_FAIL(err, errno, "create the folder", path);
}

bc_status bc_os_sync_dir(const char *path, bc_err *err)
{
  bc_status st = BC_OK;
  const int fd = bc_os_open_fd(path, O_RDONLY | O_DIRECTORY, 0);

  if (fd < 0) return BC_READ_FAIL(err, errno, "open the folder", path);
  /* some network file systems have no such call for folders: then there is nothing more we can do */
  if (bc_os_sync_fd(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
    st = BC_WRITE_FAIL(err, errno, "bring to disk the folder", path);
  (void)close(fd);
  return st;
}

bc_status bc_os_rename_dir(const char *from, const char *to, bc_err *err)
{
  if (rename_new_dir(from, to) != 0) {
    if (errno == EEXIST || errno == ENOTEMPTY) return bc_os_already_there(to, err);
    return BC_WRITE_FAIL(err, errno, "rename to", to);
  }
  BC_RET(bc_os_sync_parent(from, err));
  return bc_os_sync_parent(to, err);
}

void bc_os_remove_tree(const char *path)
{
  char **names = NULL;
  size_t n = 0;
  struct stat sb;

  if (lstat(path, &sb) != 0) return;
  if (!S_ISDIR(sb.st_mode)) {
    (void)unlink(path);
    return;
  }
  if (bc_os_list(path, &names, &n, NULL) == BC_OK) {
    for (size_t i = 0; i < n; i++) {
      char *child = bc_asprintf("%s/%s", path, names[i]);
      if (child != NULL) bc_os_remove_tree(child);
      bc_free(child);
    }
    bc_os_list_free(names, n);
  }
  (void)rmdir(path);
}

bc_status bc_os_unlink(const char *path, bc_err *err)
{
  if (bc_os_faulted(BC_FAULT_UNLINK) == 0 && unlink(path) == 0) return BC_OK;
  return BC_WRITE_FAIL(err, errno, "remove", path);
}

bc_status bc_os_fill_holes(const char *path, uint64_t bytes, bc_err *err)
{
  struct stat sb;
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return BC_OK;
  int rc = fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode)
               ? posix_fallocate(fd, 0, sb.st_size > 0 ? sb.st_size : (off_t)bytes)
               : 0;
  (void)close(fd);
  if (rc != ENOSPC && rc != EFBIG && rc != EDQUOT) return BC_OK; /* others cannot tell of room */
  return BC_FAIL_SYS(err, BC_E_FULL, "os", rc, "%s: no space left on the disk for it", path);
}

bc_status bc_os_sync_file(const char *path, bc_err *err)
{
  bc_status st = BC_OK;
  const int fd = bc_os_open_fd(path, O_RDONLY | O_NOFOLLOW, 0);

  if (fd < 0) return BC_READ_FAIL(err, errno, "open", path);
  if (bc_os_sync_fd(fd) != 0) st = BC_WRITE_FAIL(err, errno, "bring to disk", path);
  (void)close(fd);
  return st;
}

bc_status bc_os_link(const char *from, const char *to, bc_err *err)
{
  if (bc_os_faulted(BC_FAULT_RENAME) == 0 && link(from, to) == 0) return BC_OK;
  if (errno == EXDEV || errno == EPERM || errno == EMLINK || errno == ENOTSUP || errno == ENOSYS)
    return BC_FAIL_SYS(err, BC_E_UNSUPPORTED, "os", errno, "%s: cannot be linked from %s", to, from);
  return BC_WRITE_FAIL(err, errno, "link", to);
}

bc_status bc_os_make_readonly(const char *path, bc_err *err)
{
  if (bc_os_faulted(BC_FAULT_OPEN) == 0 && chmod(path, 0444) == 0) return BC_OK;
  return BC_WRITE_FAIL(err, errno, "make read-only", path);
}

bool bc_os_is_inside(const char *path, const char *folder)
{
  char above[PATH_MAX], in[PATH_MAX];
  char *copy = bc_strdup(path);
  char *slash = copy == NULL ? NULL : strrchr(copy, '/');
  if (slash != NULL) slash[slash == copy] = '\0';
  const bool found =
      copy != NULL && realpath(slash == NULL ? "." : copy, above) != NULL && realpath(folder, in) != NULL;
  const size_t n = found ? strlen(in) : 0;
  bc_free(copy);
  return found && strncmp(above, in, n) == 0 && (above[n] == '/' || above[n] == '\0');
}

bool bc_os_exists(const char *path)
{
  struct stat sb;

  return stat(path, &sb) == 0;
}

bool bc_os_is_dir(const char *path)
{
  struct stat sb;

  return stat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

bool bc_os_is_own_dir(const char *path)
{
  struct stat sb;

  return lstat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

bc_status bc_os_file_size(const char *path, uint64_t *out, bc_err *err)
{
  struct stat sb;

  *out = 0;
  if (stat(path, &sb) != 0) return BC_READ_FAIL(err, errno, "examine", path);
  if (!S_ISREG(sb.st_mode)) return BC_FAIL(err, BC_E_INVAL, "%s is not a regular file", path);
  *out = (uint64_t)sb.st_size;
  return BC_OK;
}

static int compare_names(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static bc_status append_name(const char *name, char ***names, size_t *n, size_t *cap, bc_err *err)
{
  if (*n == *cap) {
    size_t more = 0, bytes = 0;
    char **grown = NULL;
    if (bc_mul_sz(*cap, 2, &more) && bc_mul_sz(BC_MAX(more, 16), sizeof **names, &bytes))
      grown = bc_realloc(*names, bytes);
    if (grown == NULL) return BC_FAIL(err, BC_E_NOMEM, "out of memory: a list of %zu file names", *n);
    *names = grown;
    *cap = BC_MAX(more, 16);
  }
  (*names)[*n] = bc_strdup(name);
  if ((*names)[*n] == NULL) return BC_FAIL(err, BC_E_NOMEM, "out of memory: a list of %zu file names", *n);
  (*n)++;
  return BC_OK;
}

bc_status bc_os_list(const char *path, char ***names, size_t *n, bc_err *err)
{
  bc_status st = BC_OK;
  DIR *dir = bc_os_faulted(BC_FAULT_OPEN) == 0 ? opendir(path) : NULL;
  size_t cap = 0;

  *names = NULL;
  *n = 0;
  if (dir == NULL) return BC_READ_FAIL(err, errno, "list the folder", path);
  for (;;) {
    const struct dirent *entry = NULL;
    errno = 0; /* the only way to tell the end from a failure */
    entry = bc_os_faulted(BC_FAULT_READ) == 0 ? readdir(dir) : NULL;
    if (entry == NULL && errno != 0) {
      st = BC_READ_FAIL(err, errno, "list the folder", path);
      goto out;
    }
    if (entry == NULL) break;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    BC_TRY(append_name(entry->d_name, names, n, &cap, err));
  }
  if (*n > 1) qsort(*names, *n, sizeof **names, compare_names);
out:
  (void)closedir(dir);
  if (st != BC_OK) {
    bc_os_list_free(*names, *n);
    *names = NULL;
    *n = 0;
  }
  return st;
}

void bc_os_list_free(char **names, size_t n)
{
  if (names == NULL) return;
  for (size_t i = 0; i < n; i++) {
    bc_free(names[i]);
  }
  bc_free(names);
}
