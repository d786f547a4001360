/*
 * What the fuzz targets share: the entry point, control bytes, a folder for files, hashes made right again.
 *
 * An input begins with a control byte that chooses whether checksums are recomputed: else no fuzzer would get
 * past them. Files are written to memory (/dev/shm) where there is one. For tests only: a failure of the
 * machine aborts.
 */
#ifndef BC_TESTS_FUZZ_H
#define BC_TESTS_FUZZ_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base.h"
#include "store/os.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken promise of the code under test, or of the machine: the fuzzer keeps the input. */
#define FUZZ_CHECK(cond)                                                                                     \
  do {                                                                                                       \
    if (!(cond)) {                                                                                           \
      (void)fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #cond);                               \
      abort();                                                                                               \
    }                                                                                                        \
  } while (0)

/* Whatever the outcome, a failure has a message of one line, and its code. */
static inline bc_status fuzz_checked(bc_status st, const bc_err *err)
{
  if (st != BC_OK && st != BC_E_NOTFOUND) { /* "not found" is an answer of some calls, without text */
    FUZZ_CHECK(err->code == st);
    FUZZ_CHECK(err->msg[0] != '\0' && strchr(err->msg, '\n') == NULL);
    FUZZ_CHECK(st != BC_E_INTERNAL);
  }
  return st;
}
#define FUZZ(expr) fuzz_checked((expr), &err)

/* ---- bytes of the input ---- */
typedef struct fuzz_in {
  const uint8_t *p;
  size_t n;
} fuzz_in;

static inline uint8_t fuzz_u8(fuzz_in *in)
{
  if (in->n == 0) return 0;
  in->n--;
  return *in->p++;
}

static inline uint32_t fuzz_u16(fuzz_in *in)
{
  const uint32_t lo = fuzz_u8(in);
  return lo | (uint32_t)fuzz_u8(in) << 8;
}

static inline uint32_t fuzz_u32(fuzz_in *in)
{
  const uint32_t lo = fuzz_u16(in);
  return lo | fuzz_u16(in) << 16;
}

/* A copy of its own, so that a read past the end is seen. free() it. */
static inline uint8_t *fuzz_copy(const uint8_t *p, size_t n)
{
  uint8_t *copy = malloc(n + (n == 0));
  FUZZ_CHECK(copy != NULL);
  if (n > 0) memcpy(copy, p, n);
  return copy;
}

/* ---- files ---- */
#define FUZZ_PATH 200

static char fuzz_folder[64];

static inline void fuzz_remove_folder(void) { bc_os_remove_tree(fuzz_folder); }

/* The target's own folder, made at the first call and removed at the end; in BC_FUZZ_TMP where that is set.
 */
static inline const char *fuzz_dir(void)
{
  const char *in = getenv("BC_FUZZ_TMP");
  if (fuzz_folder[0] != '\0') return fuzz_folder;
  if (in == NULL || strlen(in) > 40) in = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  (void)snprintf(fuzz_folder, sizeof fuzz_folder, "%s/bc-fuzz-XXXXXX", in);
  FUZZ_CHECK(mkdtemp(fuzz_folder) != NULL);
  FUZZ_CHECK(atexit(fuzz_remove_folder) == 0);
  return fuzz_folder;
}

static inline const char *fuzz_path(char buf[FUZZ_PATH], const char *name)
{
  const int n = snprintf(buf, FUZZ_PATH, "%s/%s", fuzz_dir(), name);
  FUZZ_CHECK(n > 0 && n < FUZZ_PATH);
  return buf;
}

static inline void fuzz_write(const char *path, const void *p, size_t n)
{
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  FUZZ_CHECK(fd >= 0);
  FUZZ_CHECK(n == 0 || write(fd, p, n) == (ssize_t)n);
  FUZZ_CHECK(close(fd) == 0);
}

#endif
