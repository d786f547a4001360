/*
 * Files, maps, locks, clocks and random bytes over POSIX, with a fault hook before each call that can fail.
 */
#define _DEFAULT_SOURCE 1 /* flock, syscall, getrandom beside POSIX 2008 */

#include "store/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/random.h>
#include <sys/syscall.h>
#endif

#include "store/datetime.h"

/* ---- faults ---- */

static int (*fault_hook)(void *ctx, bc_fault_op op);
static void *fault_ctx;

void bc_os_set_fault(int (*hook)(void *ctx, bc_fault_op op), void *ctx)
{
  fault_hook = hook;
  fault_ctx = ctx;
}

int bc_os_fault(bc_fault_op op) { return fault_hook != NULL ? fault_hook(fault_ctx, op) : 0; }

/* 0 to go on, -1 with errno set as a failing system call would. */
static int faulted(bc_fault_op op)
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

/* Where something is to be written, a refusal means that the place is read-only for us. */
static bc_status write_status(int errnum)
{
  return errnum == EACCES || errnum == EPERM ? BC_E_READONLY : bc_os_status(errnum);
}

static bc_status os_fail(bc_err *err, bc_status st, int errnum, const char *action, const char *path,
                         int line)
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
  return bc_err_set(err, st, "os", errnum, __FILE__, line, "cannot %s %s: %s", action, path, reason);
}

#define READ_FAIL(err, errnum, action, path)                                                                 \
  os_fail((err), bc_os_status(errnum), (errnum), (action), (path), __LINE__)
#define WRITE_FAIL(err, errnum, action, path)                                                                \
  os_fail((err), write_status(errnum), (errnum), (action), (path), __LINE__)

/* ---- descriptors ---- */

/* Retries EINTR and stays clear of 0, 1 and 2, which a program may have been started without: a file opened
 * there would receive what is printed. Hence also: no descriptor of ours is ever 0. */
static int open_fd(const char *path, int flags, mode_t mode)
{
  int fd = -1, high = -1, e = 0;

  if (faulted(BC_FAULT_OPEN) != 0) return -1;
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

/* 0 or an errno; *done counts what got through. */
static int write_all(int fd, const uint8_t *p, size_t n, size_t *done)
{
  *done = 0;
  if (faulted(BC_FAULT_WRITE) != 0) return errno;
  while (*done < n) {
    const ssize_t k = write(fd, p + *done, n - *done);
    if (k > 0) {
      *done += (size_t)k;
    } else if (k == 0) {
      return EIO;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

static int pwrite_all(int fd, const uint8_t *p, size_t n, off_t at)
{
  size_t done = 0;

  if (faulted(BC_FAULT_WRITE) != 0) return errno;
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

static int sync_fd(int fd)
{
  int rc = 0;

  if (faulted(BC_FAULT_FSYNC) != 0) return -1;
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
  *fd = open_fd(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  if (*fd < 0 && errno == ELOOP)
    return BC_FAIL_SYS(err, BC_E_INVAL, "os", ELOOP, "%s is a symbolic link: a regular file is expected",
                       path);
  if (*fd < 0) return READ_FAIL(err, errno, "open", path);
  if (fstat(*fd, sb) != 0) return READ_FAIL(err, errno, "examine", path);
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
  p = faulted(BC_FAULT_MMAP) == 0 ? mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  if (p == MAP_FAILED) {
    st = READ_FAIL(err, errno, "map", path);
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
  if (fstat(fd, &sb) != 0) return READ_FAIL(err, errno, "examine", name);
  if (!bc_u64_to_sz((uint64_t)sb.st_size, &n) || n == 0)
    return BC_FAIL(err, BC_E_TRUNCATED, "%s is empty", name);
  void *p = faulted(BC_FAULT_MMAP) == 0 ? mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  if (p == MAP_FAILED) return READ_FAIL(err, errno, "map", name);
  *out = (bc_map){ p, n };
  return BC_OK;
}

void bc_os_unmap(bc_map *m)
{
  if (m == NULL) return;
  if (m->p != NULL) (void)munmap((void *)m->p, m->n);
  *m = (bc_map){ NULL, 0 };
}

/* ---- files being written ---- */

/* The folder that holds path, as new text: "." for a bare name. */
static char *parent_of(const char *path)
{
  const char *const slash = strrchr(path, '/');

  if (slash == NULL) return bc_strdup(".");
  if (slash == path) return bc_strdup("/");
  return bc_asprintf("%.*s", (int)BC_MIN(slash - path, 65536), path);
}

static bc_status already_there(const char *path, bc_err *err)
{
  return BC_FAIL_SYS(err, BC_E_EXISTS, "os", EEXIST,
                     "%s exists already: choose another name, or ask for it to be overwritten", path);
}

static bc_status check_target(const char *path, bool overwrite, bc_err *err)
{
  const size_t n = strlen(path);
  struct stat sb;

  if (n == 0) return BC_FAIL(err, BC_E_INVAL, "the name of an output file is empty");
  if (path[n - 1] == '/')
    return BC_FAIL(err, BC_E_INVAL, "%s names a folder: the name of a file is expected", path);
  if (lstat(path, &sb) != 0) return BC_OK; /* what else may be wrong shows when the file is opened */
  /* a rename over /dev/null or /dev/stdout would replace the device for everybody */
  if (stat(path, &sb) == 0 && !S_ISREG(sb.st_mode))
    return BC_FAIL(err, BC_E_EXISTS, "%s is %s: it is not replaced by a file", path,
                   S_ISDIR(sb.st_mode) ? "a folder" : "not a regular file");
  return overwrite ? BC_OK : already_there(path, err);
}

/* Opens path.tmp-<pid>-<n> with the first free n: one left by a killed process of the same number is passed.
 */
static bc_status open_tmp(bc_outfile *f, bc_err *err)
{
  static atomic_uint counter;

  for (int tries = 0; tries < 1000; tries++) {
    const unsigned n = atomic_fetch_add(&counter, 1u);
    bc_free(f->tmp);
    f->tmp = bc_asprintf("%s.tmp-%ld-%u", f->path, bc_os_pid(), n);
    if (f->tmp == NULL) return BC_FAIL(err, BC_E_NOMEM, "out of memory: the name of an output file");
    f->fd = open_fd(f->tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    if (f->fd >= 0) return BC_OK;
    if (errno != EEXIST) return WRITE_FAIL(err, errno, "create", f->path);
  }
  return WRITE_FAIL(err, EEXIST, "create a temporary file beside", f->path);
}

bc_status bc_os_out_create(const char *path, bool overwrite, bc_outfile *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_outfile f = { .fd = -1 };

  *out = f;
  BC_TRY(check_target(path, overwrite, err));
  f.path = bc_strdup(path);
  if (f.path == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "out of memory: the name of an output file");
    goto out;
  }
  BC_TRY(open_tmp(&f, err));
  *out = f;
  return BC_OK;
out:
  bc_free(f.tmp); /* not opened: there is no file to remove */
  bc_free(f.path);
  return st;
}

bc_status bc_os_out_write(bc_outfile *f, const void *p, size_t n, bc_err *err)
{
  size_t done = 0;
  const int e = write_all(f->fd, p, n, &done);

  f->at += done;
  return e == 0 ? BC_OK : WRITE_FAIL(err, e, "write", f->path);
}

bc_status bc_os_out_pwrite(bc_outfile *f, const void *p, size_t n, uint64_t at, bc_err *err)
{
  int e = 0;

  if (at > INT64_MAX || n > INT64_MAX - at)
    return BC_FAIL(err, BC_E_RANGE, "%s: %zu bytes at offset %" PRIu64 " lie past the largest file", f->path,
                   n, at);
  e = pwrite_all(f->fd, p, n, (off_t)at);
  return e == 0 ? BC_OK : WRITE_FAIL(err, e, "write", f->path);
}

bc_status bc_os_out_pread(const bc_outfile *f, void *dst, size_t n, uint64_t at, bc_err *err)
{
  uint8_t *const to = dst;
  size_t done = 0;

  if (at > INT64_MAX || n > INT64_MAX - at)
    return BC_FAIL(err, BC_E_RANGE, "%s: %zu bytes at offset %" PRIu64 " lie past the largest file", f->path,
                   n, at);
  if (faulted(BC_FAULT_READ) != 0) return READ_FAIL(err, errno, "read back", f->path);
  while (done < n) {
    const ssize_t k = pread(f->fd, to + done, n - done, (off_t)(at + done));
    if (k == 0)
      return BC_FAIL(err, BC_E_TRUNCATED,
                     "%s ends at byte %" PRIu64 ", inside the %zu bytes at offset %" PRIu64, f->path,
                     at + done, n, at);
    if (k < 0 && errno != EINTR) return READ_FAIL(err, errno, "read back", f->path);
    if (k > 0) done += (size_t)k;
  }
  return BC_OK;
}

/* renameat2 that never replaces; ENOSYS or EINVAL where the system or the file system cannot. */
static int rename_exclusive(const char *from, const char *to)
{
  if (faulted(BC_FAULT_RENAME) != 0) return -1;
#if defined(__linux__) && defined(SYS_renameat2)
  enum { NO_REPLACE = 1 };
  return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, NO_REPLACE) == 0 ? 0 : -1;
#else
  (void)from, (void)to;
  errno = ENOSYS;
  return -1;
#endif
}

/* Gives a file its name unless the name is taken. A hard link is refused where the name exists, too. */
static int rename_new(const char *from, const char *to)
{
  if (rename_exclusive(from, to) == 0) return 0;
  if ((errno != ENOSYS && errno != EINVAL) || faulted(BC_FAULT_RENAME) != 0 || link(from, to) != 0) return -1;
  (void)unlink(from); /* the file is published; a second name left behind does no harm */
  return 0;
}

/* The same for a folder, which has no hard links; rename itself refuses all but an empty folder. */
static int rename_new_dir(const char *from, const char *to)
{
  if (rename_exclusive(from, to) == 0) return 0;
  if ((errno != ENOSYS && errno != EINVAL) || faulted(BC_FAULT_RENAME) != 0) return -1;
  return rename(from, to);
}

static bc_status sync_parent(const char *path, bc_err *err)
{
  bc_status st = BC_OK;
  char *const folder = parent_of(path);

  if (folder == NULL) return BC_FAIL(err, BC_E_NOMEM, "out of memory: the name of a folder");
  st = bc_os_sync_dir(folder, err);
  bc_free(folder);
  return st;
}

bc_status bc_os_out_publish(bc_outfile *f, bool overwrite, bc_err *err)
{
  bc_status st = BC_OK;
  int rc = 0;

  if (sync_fd(f->fd) != 0) return WRITE_FAIL(err, errno, "bring to disk", f->path);
  rc = close(f->fd);
  f->fd = -1;
  if (rc != 0 && errno != EINTR) return WRITE_FAIL(err, errno, "close", f->path);
  if (overwrite) {
    rc = faulted(BC_FAULT_RENAME) == 0 ? rename(f->tmp, f->path) : -1;
  } else {
    rc = rename_new(f->tmp, f->path);
    if (rc != 0 && errno == EEXIST) return already_there(f->path, err);
  }
  if (rc != 0) return WRITE_FAIL(err, errno, "publish", f->path);
  bc_free(f->tmp);
  f->tmp = NULL;
  st = sync_parent(f->path, err);
  bc_os_out_discard(f);
  return st;
}

void bc_os_out_discard(bc_outfile *f)
{
  if (f == NULL) return;
  if (f->fd > 2) (void)close(f->fd);
  if (f->tmp != NULL && bc_os_fault(BC_FAULT_UNLINK) == 0) (void)unlink(f->tmp);
  bc_free(f->tmp);
  bc_free(f->path);
  *f = (bc_outfile){ .fd = -1 };
}

/* ---- whole files and folders ---- */

/* Reads to the end; one byte more than max is enough to know that there is too much. */
static bc_status read_to_end(int fd, const char *path, bc_buf *out, bc_err *err)
{
  const size_t max = out->max;

  for (;;) {
    uint8_t chunk[16384];
    ssize_t k = faulted(BC_FAULT_READ) == 0 ? read(fd, chunk, sizeof chunk) : -1;
    if (k == 0) return BC_OK;
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return READ_FAIL(err, errno, "read", path);
    if ((size_t)k > max - out->n)
      return BC_FAIL(err, BC_E_RANGE, "%s is larger than the %zu bytes that are expected at most", path, max);
    BC_RET(bc_buf_put(out, chunk, (size_t)k, err));
  }
}

bc_status bc_os_read_file(const char *path, size_t max, bc_buf *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_buf got = bc_buf_empty(max);
  const int fd = open_fd(path, O_RDONLY, 0);

  *out = got;
  if (fd < 0) return READ_FAIL(err, errno, "open", path);
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
  if (faulted(BC_FAULT_OPEN) == 0 && mkdir(path, 0755) == 0) return BC_OK;
  if (errno == EEXIST) return BC_FAIL_SYS(err, BC_E_EXISTS, "os", EEXIST, "%s exists already", path);
  return WRITE_FAIL(err, errno, "create the folder", path);
}

bc_status bc_os_sync_dir(const char *path, bc_err *err)
{
  bc_status st = BC_OK;
  const int fd = open_fd(path, O_RDONLY | O_DIRECTORY, 0);

  if (fd < 0) return READ_FAIL(err, errno, "open the folder", path);
  /* some network file systems have no such call for folders: then there is nothing more we can do */
  if (sync_fd(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
    st = WRITE_FAIL(err, errno, "bring to disk the folder", path);
  (void)close(fd);
  return st;
}

bc_status bc_os_rename_dir(const char *from, const char *to, bc_err *err)
{
  if (rename_new_dir(from, to) != 0) {
    if (errno == EEXIST || errno == ENOTEMPTY) return already_there(to, err);
    return WRITE_FAIL(err, errno, "rename to", to);
  }
  BC_RET(sync_parent(from, err));
  return sync_parent(to, err);
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
  if (faulted(BC_FAULT_UNLINK) == 0 && unlink(path) == 0) return BC_OK;
  return WRITE_FAIL(err, errno, "remove", path);
}

bc_status bc_os_sync_file(const char *path, bc_err *err)
{
  bc_status st = BC_OK;
  const int fd = open_fd(path, O_RDONLY | O_NOFOLLOW, 0);

  if (fd < 0) return READ_FAIL(err, errno, "open", path);
  if (sync_fd(fd) != 0) st = WRITE_FAIL(err, errno, "bring to disk", path);
  (void)close(fd);
  return st;
}

bc_status bc_os_link(const char *from, const char *to, bc_err *err)
{
  if (faulted(BC_FAULT_RENAME) == 0 && link(from, to) == 0) return BC_OK;
  if (errno == EXDEV || errno == EPERM || errno == EMLINK || errno == ENOTSUP || errno == ENOSYS)
    return BC_FAIL_SYS(err, BC_E_UNSUPPORTED, "os", errno, "%s: cannot be linked from %s", to, from);
  return WRITE_FAIL(err, errno, "link", to);
}

bc_status bc_os_make_readonly(const char *path, bc_err *err)
{
  if (faulted(BC_FAULT_OPEN) == 0 && chmod(path, 0444) == 0) return BC_OK;
  return WRITE_FAIL(err, errno, "make read-only", path);
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
  if (stat(path, &sb) != 0) return READ_FAIL(err, errno, "examine", path);
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
  DIR *dir = faulted(BC_FAULT_OPEN) == 0 ? opendir(path) : NULL;
  size_t cap = 0;

  *names = NULL;
  *n = 0;
  if (dir == NULL) return READ_FAIL(err, errno, "list the folder", path);
  for (;;) {
    const struct dirent *entry = NULL;
    errno = 0; /* the only way to tell the end from a failure */
    entry = faulted(BC_FAULT_READ) == 0 ? readdir(dir) : NULL;
    if (entry == NULL && errno != 0) {
      st = READ_FAIL(err, errno, "list the folder", path);
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

/* ---- locks ---- */

/* Takes "pid host time" from the lock file apart and says who is writing. */
static bc_status lock_busy(int fd, const char *path, bc_err *err)
{
  char text[256] = "";
  const ssize_t k = pread(fd, text, sizeof text - 1, 0);
  char pid[24] = "", host[160] = "", since[BC_TIME_TEXT + 1] = "";

  if (k > 0 && sscanf(text, "%23s %159s %32s", pid, host, since) == 3)
    return BC_FAIL(err, BC_E_BUSY, "%s: held by process %s on %s since %s; wait for it to end", path, pid,
                   host, since);
  return BC_FAIL(err, BC_E_BUSY, "%s: held by another process; wait for it to end", path);
}

static bc_status lock_sign(int fd, const char *path, bc_err *err)
{
  char line[256], host[128] = "", when[BC_TIME_TEXT];
  int n = 0, e = 0;

  if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
    (void)bc_copy_text(host, sizeof host, "localhost");
  n = snprintf(line, sizeof line, "%ld %s %s\n", bc_os_pid(), host, bc_time_format(bc_os_now(), when));
  e = ftruncate(fd, 0) != 0 ? errno : pwrite_all(fd, (const uint8_t *)line, (size_t)n, 0);
  return e == 0 ? BC_OK : WRITE_FAIL(err, e, "write the lock", path);
}

bc_status bc_os_lock(const char *path, bc_lock *out, bc_err *err)
{
  bc_status st = BC_OK;
  int rc = 0;
  const int fd = open_fd(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0644);

  out->fd = -1;
  if (fd < 0 && (errno == ELOOP || errno == EISDIR)) /* it might lead to a file that signing would empty */
    return BC_FAIL_SYS(err, BC_E_CORRUPT, "os", errno, "%s is %s, not a regular file: remove it", path,
                       errno == ELOOP ? "a symbolic link" : "a folder");
  if (fd < 0) return WRITE_FAIL(err, errno, "open the lock", path);
  do {
    rc = flock(fd, LOCK_EX | LOCK_NB);
  } while (rc != 0 && errno == EINTR);
  if (rc != 0) {
    st = errno == EWOULDBLOCK ? lock_busy(fd, path, err) : WRITE_FAIL(err, errno, "lock", path);
    goto out;
  }
  BC_TRY(lock_sign(fd, path, err));
  out->fd = fd;
  return BC_OK;
out:
  (void)close(fd);
  return st;
}

void bc_os_unlock(bc_lock *l)
{
  if (l == NULL || l->fd <= 0) return;
  (void)!ftruncate(l->fd, 0);  /* the text is for people only; the lock goes in any case */
  (void)flock(l->fd, LOCK_UN); /* a forked child may still hold the descriptor */
  (void)close(l->fd);
  l->fd = -1;
}

/* ---- the machine ---- */

int64_t bc_os_now(void)
{
  struct timespec ts = { 0, 0 };

  (void)clock_gettime(CLOCK_REALTIME, &ts);
  return (int64_t)ts.tv_sec;
}

double bc_os_monotonic(void)
{
  struct timespec ts = { 0, 0 };

  (void)clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* For uuids and names, not for keys: when the kernel has no bytes for us, unequal is good enough. */
static void random_fallback(uint8_t *p, size_t n)
{
  static atomic_uint_fast64_t calls;
  struct timespec ts = { 0, 0 };
  uint64_t state = 0;

  (void)clock_gettime(CLOCK_REALTIME, &ts);
  state = (uint64_t)ts.tv_nsec ^ (uint64_t)ts.tv_sec << 30 ^ (uint64_t)getpid() << 48 ^
          atomic_fetch_add(&calls, 1) * UINT64_C(0xD1342543DE82EF95);
  for (size_t i = 0; i < n; i++) { /* splitmix64 */
    uint64_t z = (state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    p[i] = (uint8_t)(z >> 56);
  }
}

void bc_os_random(uint8_t *p, size_t n)
{
#ifdef __linux__
  while (n > 0) {
    const ssize_t k = getrandom(p, n, 0);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) break;
    p += k;
    n -= (size_t)k;
  }
#endif
  if (n > 0) random_fallback(p, n);
}

long bc_os_pid(void) { return (long)getpid(); }

uint64_t bc_os_physical_memory(void)
{
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  uint64_t bytes = 0;

  if (pages <= 0 || page <= 0 || !bc_mul_u64((uint64_t)pages, (uint64_t)page, &bytes)) return 0;
  return bytes;
}

int bc_os_cpus(void)
{
  const long n = sysconf(_SC_NPROCESSORS_ONLN);

  return n < 1 ? 1 : (int)BC_MIN(n, 4096);
}
