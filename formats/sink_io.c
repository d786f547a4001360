#define _GNU_SOURCE 1 /* fallocate */

#include "formats/sink_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
  OUT_BUFFER = 1 << 18,
  SPOOL_IN_MEMORY = 32 << 20, /* more goes to a temporary file */
  PROBE_STEP = 1 << 20,
  PROBE_STEPS = 8 /* a library may have failed on one large write where a small one still fits */
};

const char *bc_tmp_folder(const bc_sink_opts *opts)
{
  const bool given = opts->tmp_folder != NULL && opts->tmp_folder[0] != '\0';
  return given ? opts->tmp_folder : "/tmp";
}

/* ---- output ---- */

/* What is copied to standard output at the end. */
static bc_status open_temporary(bc_out *o, const char *folder, bc_err *err)
{
  bc_status st = BC_OK;
  uint8_t r[8] = { 0 };

  bc_os_random(r, sizeof r);
  char *name = bc_asprintf("%s/biocube-%016llx", folder, (unsigned long long)bc_le64(r));
  if (name == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for the name of a temporary file");
  BC_TRY(bc_os_out_create(name, false, &o->file, err));
out:
  bc_free(name);
  return st;
}

bc_status bc_out_open(bc_out *o, const char *path, const bc_sink_opts *opts, bool seekable, bc_err *err)
{
  *o = (bc_out){ 0 };
  o->path = path;
  o->overwrite = opts->overwrite;
  o->to_stdout = strcmp(path, "-") == 0;
  o->direct = o->to_stdout && !seekable;
  o->file.fd = -1;
  if (!seekable) {
    o->buf = bc_malloc(OUT_BUFFER);
    if (o->buf == NULL)
      return BC_FAIL(err, BC_E_NOMEM, "no memory for an output buffer of %d bytes", OUT_BUFFER);
  }
  if (o->direct) return BC_OK;
  if (o->to_stdout) return open_temporary(o, bc_tmp_folder(opts), err);
  return bc_os_out_create(path, o->overwrite, &o->file, err);
}

static bc_status write_fd(const uint8_t *p, size_t n, bc_err *err)
{
  while (n > 0) {
    const int fault = bc_os_fault(BC_FAULT_WRITE);
    const ssize_t k = fault != 0 ? -1 : write(STDOUT_FILENO, p, n);
    const int sys = fault != 0 ? fault : errno;
    if (k < 0 && sys == EINTR) continue;
    if (k < 0)
      return BC_FAIL_SYS(err, bc_os_status(sys), "os", sys, "standard output: %s",
                         sys == EPIPE ? "the program that reads it has ended" : strerror(sys));
    p += k;
    n -= (size_t)k;
  }
  return BC_OK;
}

static bc_status pass_on(bc_out *o, const void *p, size_t n, bc_err *err)
{
  return o->direct ? write_fd(p, n, err) : bc_os_out_write(&o->file, p, n, err);
}

static bc_status flush(bc_out *o, bc_err *err)
{
  const size_t n = o->n;
  o->n = 0;
  return n > 0 ? pass_on(o, o->buf, n, err) : BC_OK;
}

bc_status bc_out_write(bc_out *o, const void *p, size_t n, bc_err *err)
{
  if (n > OUT_BUFFER - o->n) BC_RET(flush(o, err));
  if (n >= OUT_BUFFER) return pass_on(o, p, n, err);
  if (n > 0) memcpy(o->buf + o->n, p, n);
  o->n += n;
  return BC_OK;
}

bc_status bc_out_text(bc_out *o, const char *s, bc_err *err) { return bc_out_write(o, s, strlen(s), err); }

bc_status bc_out_pwrite(bc_out *o, const void *p, size_t n, uint64_t at, bc_err *err)
{
  return bc_os_out_pwrite(&o->file, p, n, at, err);
}

const char *bc_out_tmp(const bc_out *o) { return o->file.tmp; }

static bc_status no_room(const bc_out *o, int sys, uint64_t bytes, bc_err *err)
{
  return BC_FAIL_SYS(err, BC_E_FULL, "os", sys, "cannot write %s: no room for %llu bytes more%s", o->path,
                     (unsigned long long)bytes,
                     sys == EFBIG ? " under the limit on file sizes" : " on the file system");
}

/* Takes the blocks; where the file system cannot, looks whether they are free. 0, or an errno. */
static int take_blocks(int fd, off_t at, off_t bytes)
{
  struct statvfs fs;
  const int fault = bc_os_fault(BC_FAULT_WRITE);

  if (fault != 0) return fault;
#ifdef FALLOC_FL_KEEP_SIZE
  if (fallocate(fd, FALLOC_FL_KEEP_SIZE, at, bytes) == 0) return 0;
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) return errno;
#else
  (void)at;
#endif
  if (fstatvfs(fd, &fs) != 0) return 0; /* it will show when the bytes are written */
  const uint64_t unit = fs.f_frsize > 0 ? fs.f_frsize : 1;
  return (uint64_t)bytes / unit >= fs.f_bavail ? ENOSPC : 0;
}

bc_status bc_out_reserve(bc_out *o, uint64_t bytes, bc_err *err)
{
  struct stat sb;
  struct rlimit limit;

  if (fstat(o->file.fd, &sb) != 0) return BC_OK; /* the writer itself will tell what is wrong */
  const uint64_t size = (uint64_t)sb.st_size;
  if (bytes > INT64_MAX - size) return no_room(o, EFBIG, bytes, err);
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      size + bytes > limit.rlim_cur)
    return no_room(o, EFBIG, bytes, err);
  o->reserved = true;
  const int sys = take_blocks(o->file.fd, sb.st_size, (off_t)bytes);
  return sys != 0 ? no_room(o, sys, bytes, err) : BC_OK;
}

/* Gives back what was reserved and not used. */
static void release(bc_out *o)
{
  struct stat sb;
  if (!o->reserved || fstat(o->file.fd, &sb) != 0) return;
  (void)!ftruncate(o->file.fd,
                   sb.st_size); /* to its own size: nothing can be lost, at worst some blocks stay */
  o->reserved = false;
}

bc_status bc_out_probe_full(bc_out *o, bc_err *err)
{
  bc_status st = BC_OK;
  uint64_t at = 0;
  uint8_t *zero = bc_calloc(1, PROBE_STEP);

  if (zero == NULL || bc_os_file_size(o->file.tmp, &at, NULL) != BC_OK) goto out;
  for (int i = 0; i < PROBE_STEPS; i++, at += PROBE_STEP)
    BC_TRY(bc_out_pwrite(o, zero, PROBE_STEP, at, err));
out:
  bc_free(zero);
  return st == BC_E_FULL ? st : BC_OK;
}

static bc_status copy_to_stdout(bc_out *o, bc_err *err)
{
  bc_status st = BC_OK;
  const int fd = open(o->file.tmp, O_RDONLY | O_CLOEXEC);
  uint8_t *buf = bc_malloc(OUT_BUFFER);

  if (fd < 0 || buf == NULL) {
    st = fd < 0 ? BC_FAIL_SYS(err, bc_os_status(errno), "os", errno, "%s: %s", o->file.tmp, strerror(errno))
                : BC_FAIL(err, BC_E_NOMEM, "no memory for a buffer of %d bytes", OUT_BUFFER);
    goto out;
  }
  for (;;) {
    const ssize_t k = read(fd, buf, OUT_BUFFER);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) {
      st = BC_FAIL_SYS(err, bc_os_status(errno), "os", errno, "%s: %s", o->file.tmp, strerror(errno));
      goto out;
    }
    if (k == 0) break;
    BC_TRY(write_fd(buf, (size_t)k, err));
  }
out:
  bc_free(buf);
  if (fd >= 0) (void)close(fd); /* read only: nothing can be lost */
  return st;
}

bc_status bc_out_commit(bc_out *o, bc_err *err)
{
  if (o->buf != NULL) BC_RET(flush(o, err));
  if (o->direct) return BC_OK;
  release(o);
  return o->to_stdout ? copy_to_stdout(o, err) : bc_os_out_publish(&o->file, o->overwrite, err);
}

void bc_out_dispose(bc_out *o)
{
  if (!o->direct && o->path != NULL) bc_os_out_discard(&o->file);
  bc_free(o->buf);
  *o = (bc_out){ 0 };
}

/* ---- spool ---- */

static bc_status open_unlinked(int *fd, const char *folder, bc_err *err)
{
  bc_status st = BC_OK;
  char *name = bc_asprintf("%s/biocube-XXXXXX", folder);

  if (name == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for the name of a temporary file");
  *fd = mkstemp(name);
  if (*fd < 0)
    st = BC_FAIL_SYS(err, bc_os_status(errno), "os", errno,
                     "%s: no temporary file here (%s); set TMPDIR to another folder", name, strerror(errno));
  else
    (void)unlink(
        name); /* the descriptor keeps it; if this fails a small stray file stays, no data are harmed */
  bc_free(name);
  return st;
}

bc_status bc_spool_init(bc_spool *s, uint64_t expected, const char *folder, bc_err *err)
{
  *s = (bc_spool){ NULL, 0, -1, 0, folder };
  if (expected > SPOOL_IN_MEMORY) return open_unlinked(&s->fd, folder, err);
  s->cap = (size_t)expected;
  s->mem = bc_malloc(s->cap > 0 ? s->cap : 1);
  if (s->mem == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for %zu bytes of values", s->cap);
  return BC_OK;
}

bc_status bc_spool_put(bc_spool *s, const void *p, size_t n, bc_err *err)
{
  const uint8_t *b = p;

  if (s->fd < 0) {
    if (n > s->cap - s->n) return BC_FAIL(err, BC_E_INTERNAL, "more values came than were announced");
    if (n > 0) memcpy(s->mem + s->n, b, n);
    s->n += n;
    return BC_OK;
  }
  while (n > 0) {
    const ssize_t k = pwrite(s->fd, b, n, (off_t)s->n);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0)
      return BC_FAIL_SYS(err, bc_os_status(errno), "os", errno,
                         "%s: temporary file: %s; set TMPDIR to a roomier folder", s->folder,
                         strerror(errno));
    b += k;
    n -= (size_t)k;
    s->n += (uint64_t)k;
  }
  return BC_OK;
}

bc_status bc_spool_get(const bc_spool *s, uint64_t at, void *dst, size_t n, bc_err *err)
{
  uint8_t *b = dst;

  if (!bc_in_bounds(at, n, s->n)) return BC_FAIL(err, BC_E_INTERNAL, "values asked for that were not kept");
  if (s->fd < 0) {
    if (n > 0) memcpy(b, s->mem + at, n);
    return BC_OK;
  }
  while (n > 0) {
    const ssize_t k = pread(s->fd, b, n, (off_t)at);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0)
      return BC_FAIL_SYS(err, BC_E_IO, "os", k < 0 ? errno : 0, "%s: temporary file: %s", s->folder,
                         k < 0 ? strerror(errno) : "cut short");
    b += k;
    n -= (size_t)k;
    at += (uint64_t)k;
  }
  return BC_OK;
}

void bc_spool_dispose(bc_spool *s)
{
  bc_free(s->mem);
  if (s->fd > 0) (void)close(s->fd); /* unlinked: nobody can miss its content */
  *s = (bc_spool){ NULL, 0, -1, 0, NULL };
}
