/*
 * What the files that talk to POSIX share: calls that pass the fault hook, and the words for what failed.
 * Files and folders are in os.c, files being written in os_out.c, locks in os_lock.c, the machine in
 * os_machine.c. Internal to these.
 */
#ifndef BC_STORE_OS_INT_H
#define BC_STORE_OS_INT_H

#include <sys/types.h>

#include "store/os.h"

/* 0 to go on, -1 with errno set as a failing system call would. */
int bc_os_faulted(bc_fault_op op);

/* Where something is to be written, a refusal means that the place is read-only for us. */
bc_status bc_os_write_status(int errnum);
bc_status bc_os_fail(bc_err *err, bc_status st, int errnum, const char *action, const char *path,
                     const char *file, int line);
#define BC_READ_FAIL(err, errnum, action, path)                                                              \
  bc_os_fail((err), bc_os_status(errnum), (errnum), (action), (path), __FILE__, __LINE__)
#define BC_WRITE_FAIL(err, errnum, action, path)                                                             \
  bc_os_fail((err), bc_os_write_status(errnum), (errnum), (action), (path), __FILE__, __LINE__)
bc_status bc_os_already_there(const char *path, bc_err *err);

/* Retries EINTR and stays clear of 0, 1 and 2, which a program may have been started without: a file opened
 * there would receive what is printed. Hence also: no descriptor of ours is ever 0. */
int bc_os_open_fd(const char *path, int flags, mode_t mode);
int bc_os_pwrite_all(int fd, const uint8_t *p, size_t n, off_t at); /* 0 or an errno */
int bc_os_sync_fd(int fd);

/* renameat2 that never replaces; ENOSYS or EINVAL where the system or the file system cannot. */
int bc_os_rename_exclusive(const char *from, const char *to);
/* fsync of the folder that holds path. */
bc_status bc_os_sync_parent(const char *path, bc_err *err) BC_MUST_CHECK;

#endif
