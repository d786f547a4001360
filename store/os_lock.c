/*
 * Small files that are written in place: the writer's lock, which says who holds it, and notes.
 */
#define _DEFAULT_SOURCE 1 /* flock beside POSIX 2008 */

#include "store/os_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/datetime.h"

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
  e = ftruncate(fd, 0) != 0 ? errno : bc_os_pwrite_all(fd, (const uint8_t *)line, (size_t)n, 0);
  return e == 0 ? BC_OK : BC_WRITE_FAIL(err, e, "write the lock", path);
}

bc_status bc_os_lock(const char *path, bc_lock *out, bc_err *err)
{
  bc_status st = BC_OK;
  int rc = 0;
  const int fd = bc_os_open_fd(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0644);

  out->fd = -1;
  if (fd < 0 && (errno == ELOOP || errno == EISDIR)) /* it might lead to a file that signing would empty */
    return BC_FAIL_SYS(err, BC_E_CORRUPT, "os", errno, "%s is %s, not a regular file: remove it", path,
                       errno == ELOOP ? "a symbolic link" : "a folder");
  if (fd < 0) return BC_WRITE_FAIL(err, errno, "open the lock", path);
  do {
    rc = flock(fd, LOCK_EX | LOCK_NB);
  } while (rc != 0 && errno == EINTR);
  if (rc != 0) {
    st = errno == EWOULDBLOCK ? lock_busy(fd, path, err) : BC_WRITE_FAIL(err, errno, "lock", path);
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

/* ---- notes ---- */

void bc_os_put_note(const char *path, const void *p, size_t n)
{
  const int fd = bc_os_open_fd(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0644);

  if (fd < 0) return;
  (void)bc_os_pwrite_all(fd, p, n, 0);
  (void)close(fd);
}

size_t bc_os_get_note(const char *path, void *dst, size_t n)
{
  const int fd = bc_os_open_fd(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  ssize_t k = -1;

  if (fd < 0) return 0;
  if (bc_os_faulted(BC_FAULT_READ) == 0) k = pread(fd, dst, n, 0);
  (void)close(fd);
  return k < 0 ? 0 : (size_t)k;
}
