/*
 * The only place of the store that talks to POSIX (os*.c): files, maps, locks, time, random. Internal.
 *
 * Every call that can fail for reasons of the machine passes the fault hook first, so that tests can fail or
 * kill the n-th open, write, fsync, rename, mmap or commit.
 */
#ifndef BC_STORE_OS_H
#define BC_STORE_OS_H

#include "store/base.h"

typedef enum bc_fault_op {
  BC_FAULT_OPEN,
  BC_FAULT_READ,
  BC_FAULT_WRITE,
  BC_FAULT_FSYNC,
  BC_FAULT_RENAME,
  BC_FAULT_UNLINK,
  BC_FAULT_MMAP,
  BC_FAULT_COMMIT,
  BC_FAULT_ALLOC
} bc_fault_op;
/* Tests: called before each operation; a non-zero errno makes it fail so. May _exit. NULL = off. */
void bc_os_set_fault(int (*hook)(void *ctx, bc_fault_op op), void *ctx);
int bc_os_fault(bc_fault_op op); /* 0, or the errno to fail with */

typedef struct bc_map {
  const uint8_t *p;
  size_t n;
} bc_map;

bc_status bc_os_map_ro(const char *path, bc_map *out,
                       bc_err *err) BC_MUST_CHECK; /* regular files only, no symlink */
/* An open file that somebody else's library holds; name is for messages. */
bc_status bc_os_map_fd(int fd, const char *name, bc_map *out, bc_err *err) BC_MUST_CHECK;
void bc_os_unmap(bc_map *m);

/* A file being written: buffered by the caller, published by rename. */
typedef struct bc_outfile {
  int fd;
  uint64_t at;
  char *path, *tmp; /* tmp == path + ".tmp-<pid>-<n>", same folder */
} bc_outfile;
/* mode: 0644 & ~umask. With overwrite false an existing path is BC_E_EXISTS (at create and again at publish).
 */
bc_status bc_os_out_create(const char *path, bool overwrite, bc_outfile *out, bc_err *err) BC_MUST_CHECK;
bc_status bc_os_out_write(bc_outfile *f, const void *p, size_t n, bc_err *err) BC_MUST_CHECK;
bc_status bc_os_out_pwrite(bc_outfile *f, const void *p, size_t n, uint64_t at, bc_err *err) BC_MUST_CHECK;
bc_status bc_os_out_pread(const bc_outfile *f, void *dst, size_t n, uint64_t at, bc_err *err) BC_MUST_CHECK;
/* fsync, rename over path, fsync the folder; then the file is closed. */
bc_status bc_os_out_publish(bc_outfile *f, bool overwrite, bc_err *err) BC_MUST_CHECK;
void bc_os_out_discard(bc_outfile *f); /* unlink tmp; safe after publish and on an empty one */

/* *out starts empty with this max, and stays empty on failure; a file larger than max is BC_E_RANGE. Links
 * are followed and pipes read. */
bc_status bc_os_read_file(const char *path, size_t max, bc_buf *out, bc_err *err) BC_MUST_CHECK;
bc_status bc_os_mkdir(const char *path, bc_err *err) BC_MUST_CHECK; /* BC_E_EXISTS */
bc_status bc_os_sync_dir(const char *path, bc_err *err) BC_MUST_CHECK;
/* A folder under its final name, which must be free; both parents are synced. */
bc_status bc_os_rename_dir(const char *from, const char *to, bc_err *err) BC_MUST_CHECK;
void bc_os_remove_tree(const char *path); /* best effort; links are removed, not followed */
bc_status bc_os_unlink(const char *path, bc_err *err) BC_MUST_CHECK;
bc_status bc_os_sync_file(const char *path, bc_err *err) BC_MUST_CHECK; /* one that somebody else wrote */
/* A second name for a regular file. BC_E_UNSUPPORTED where the file systems differ or know no such thing. */
bc_status bc_os_link(const char *from, const char *to, bc_err *err) BC_MUST_CHECK;
bc_status bc_os_make_readonly(const char *path, bc_err *err) BC_MUST_CHECK; /* mode 0444 */
bool bc_os_exists(const char *path);
bool bc_os_is_dir(const char *path);
bool bc_os_is_inside(const char *path,
                     const char *folder); /* path itself need not be there, but its folder */
bool bc_os_is_own_dir(const char *path);  /* a link to a folder is not one */
/* Room on the disk for all of a file that will be mapped and written there: a hole that cannot be filled ends
 * a process. Made with this many bytes when it is not there or empty. What cannot be opened is left to
 * others. */
bc_status bc_os_fill_holes(const char *path, uint64_t bytes, bc_err *err) BC_MUST_CHECK;
bc_status bc_os_file_size(const char *path, uint64_t *out, bc_err *err) BC_MUST_CHECK;
/* Names in a folder, sorted, without . and ..; names[n]; bc_os_list_free. */
bc_status bc_os_list(const char *path, char ***names, size_t *n, bc_err *err) BC_MUST_CHECK;
void bc_os_list_free(char **names, size_t n);
/* Status, and a sentence, for an errno: ENOSPC, EDQUOT, EFBIG -> BC_E_FULL; ENOENT -> BC_E_NOTFOUND; EROFS ->
 * BC_E_READONLY ... */
bc_status bc_os_status(int errnum);

/* Advisory writer lock: one line "pid host time" in the file. BC_E_BUSY names the holder. */
typedef struct bc_lock {
  int fd;
} bc_lock;
bc_status bc_os_lock(const char *path, bc_lock *out, bc_err *err) BC_MUST_CHECK;
void bc_os_unlock(bc_lock *l);

/* A note of n bytes written in place, without fsync: for what may be behind, or not there at all. get gives
 * the bytes read, 0 when there is none. */
void bc_os_put_note(const char *path, const void *p, size_t n);
size_t bc_os_get_note(const char *path, void *dst, size_t n);

int64_t bc_os_now(void);      /* seconds since 1970 */
double bc_os_monotonic(void); /* seconds */
void bc_os_random(uint8_t *p, size_t n);
long bc_os_pid(void);
uint64_t bc_os_physical_memory(void);
int bc_os_cpus(void);

#endif
