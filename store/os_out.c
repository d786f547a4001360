/*
 * Files being written: a temporary name beside the final one, then fsync and rename.
 */
#include "store/os_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* 0 or an errno; *done counts what got through. */
static int write_all(int fd, const uint8_t *p, size_t n, size_t *done)
{
  *done = 0;
  if (bc_os_faulted(BC_FAULT_WRITE) != 0) return errno;
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
  return overwrite ? BC_OK : bc_os_already_there(path, err);
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
    f->fd = bc_os_open_fd(f->tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    if (f->fd >= 0) return BC_OK;
    if (errno != EEXIST) return BC_WRITE_FAIL(err, errno, "create", f->path);
  }
  return BC_WRITE_FAIL(err, EEXIST, "create a temporary file beside", f->path);
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
  return e == 0 ? BC_OK : BC_WRITE_FAIL(err, e, "write", f->path);
}

bc_status bc_os_out_pwrite(bc_outfile *f, const void *p, size_t n, uint64_t at, bc_err *err)
{
  int e = 0;

  if (at > INT64_MAX || n > INT64_MAX - at)
    return BC_FAIL(err, BC_E_RANGE, "%s: %zu bytes at offset %" PRIu64 " lie past the largest file", f->path,
                   n, at);
  e = bc_os_pwrite_all(f->fd, p, n, (off_t)at);
  return e == 0 ? BC_OK : BC_WRITE_FAIL(err, e, "write", f->path);
}

bc_status bc_os_out_pread(const bc_outfile *f, void *dst, size_t n, uint64_t at, bc_err *err)
{
  uint8_t *const to = dst;
  size_t done = 0;

  if (at > INT64_MAX || n > INT64_MAX - at)
    return BC_FAIL(err, BC_E_RANGE, "%s: %zu bytes at offset %" PRIu64 " lie past the largest file", f->path,
                   n, at);
  if (bc_os_faulted(BC_FAULT_READ) != 0) return BC_READ_FAIL(err, errno, "read back", f->path);
  while (done < n) {
    const ssize_t k = pread(f->fd, to + done, n - done, (off_t)(at + done));
    if (k == 0)
      return BC_FAIL(err, BC_E_TRUNCATED,
                     "%s ends at byte %" PRIu64 ", inside the %zu bytes at offset %" PRIu64, f->path,
                     at + done, n, at);
    if (k < 0 && errno != EINTR) return BC_READ_FAIL(err, errno, "read back", f->path);
    if (k > 0) done += (size_t)k;
  }
  return BC_OK;
}

/* Gives a file its name unless the name is taken. A hard link is refused where the name exists, too. */
static int rename_new(const char *from, const char *to)
{
  if (bc_os_rename_exclusive(from, to) == 0) return 0;
  if ((errno != ENOSYS && errno != EINVAL) || bc_os_faulted(BC_FAULT_RENAME) != 0 || link(from, to) != 0)
    return -1;
  (void)unlink(from); /* the file is published; a second name left behind does no harm */
  return 0;
}

bc_status bc_os_out_publish(bc_outfile *f, bool overwrite, bc_err *err)
{
  bc_status st = BC_OK;
  int rc = 0;

  if (bc_os_sync_fd(f->fd) != 0) return BC_WRITE_FAIL(err, errno, "bring to disk", f->path);
  rc = close(f->fd);
  f->fd = -1;
  if (rc != 0 && errno != EINTR) return BC_WRITE_FAIL(err, errno, "close", f->path);
  if (overwrite) {
    rc = bc_os_faulted(BC_FAULT_RENAME) == 0 ? rename(f->tmp, f->path) : -1;
  } else {
    rc = rename_new(f->tmp, f->path);
    if (rc != 0 && errno == EEXIST) return bc_os_already_there(f->path, err);
  }
  if (rc != 0) return BC_WRITE_FAIL(err, errno, "publish", f->path);
  bc_free(f->tmp);
  f->tmp = NULL;
  st = bc_os_sync_parent(f->path, err);
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
