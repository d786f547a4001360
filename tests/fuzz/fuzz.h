/*
 * What the fuzz targets share: the entry point, control bytes, a folder for files, hashes made right again.
 *
 * An input begins with a control byte that chooses whether checksums are recomputed: else no fuzzer would get past
 * them. Files are written to memory (/dev/shm) where there is one. For tests only: a failure of the machine aborts.
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
#include "store/codec.h"
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

/* The target's own folder, made at the first call and removed at the end. */
static inline const char *fuzz_dir(void)
{
  if (fuzz_folder[0] != '\0') return fuzz_folder;
  (void)snprintf(fuzz_folder, sizeof fuzz_folder, "%s/bc-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
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

/* ---- checksums ---- */
/* A tile head: its length and its hash. */
static inline void fuzz_fix_head(uint8_t *p, size_t n)
{
  if (n < 136) return;
  bc_put_le32(p + 8, (uint32_t)n);
  bc_put_le64(p + n - 8, bc_hash64(p, n - 8));
}

/* Hashes of the blocks in a head's table, for this payload. */
static inline void fuzz_fix_blocks(uint8_t *head, size_t n, const uint8_t *payload, size_t bytes)
{
  if (n < 136) return;
  const uint64_t nt = bc_le32(head + 40), blocks = bc_le32(head + 120);
  const uint64_t table = bc_le16(head + 6) + (head[35] == 1 ? 0 : nt * 8);
  for (uint64_t b = 0; b < blocks && table + b * 16 + 16 <= n - 8; b++) {
    uint8_t *e = head + table + b * 16;
    const uint64_t off = bc_le64(e);
    const bool more = b + 1 < blocks && table + b * 16 + 32 <= n - 8;
    const uint64_t end = more ? bc_le64(e + 16) : bytes;
    if (off <= end && end <= bytes) bc_put_le64(e + 8, bc_hash64(payload + off, (size_t)(end - off)));
  }
}

/* Directory entries and the heads behind them. */
static inline void fuzz_fix_entries(uint8_t *file, size_t n, size_t at, size_t end)
{
  while (at + 48 <= end) {
    uint8_t *e = file + at;
    const uint64_t head = bc_le32(e + 32), off = bc_le64(e + 8), stored = bc_le64(e + 16);
    if (head <= end - at - 48) {
      bc_put_le32(e, (uint32_t)(48 + head));
      if (bc_in_bounds(off, stored, n)) {
        bc_put_le64(e + 24, bc_hash64(file + off, (size_t)stored));
        fuzz_fix_blocks(e + 48, (size_t)head, file + off, (size_t)stored);
      }
      fuzz_fix_head(e + 48, (size_t)head);
    }
    bc_put_le64(e + 40, bc_hash64(e, 40));
    if (bc_le32(e) < 48) break;
    at += bc_le32(e);
  }
}

/* A whole segment: what a fuzzer cannot guess (magic, uuid, number, size, hashes) is put in its place. */
static inline void fuzz_fix_segment(uint8_t *p, size_t n, const uint8_t uuid[16], uint32_t id)
{
  if (n < 144) return;
  uint8_t *f = p + n - 64;
  memcpy(p, "BCSEG\r\n\x1a", 8);
  bc_put_le16(p + 8, 1);
  memcpy(p + 32, uuid, 16);
  bc_put_le32(p + 48, id);
  bc_put_le64(p + 56, bc_hash64(p, 56));
  memcpy(f, "BCSEND\r\n", 8);
  bc_put_le64(f + 32, n);
  bc_put_le32(f + 48, id);
  const uint64_t dir = bc_le64(f + 8), bytes = bc_le64(f + 16);
  if (bytes >= 16 && bc_in_bounds(dir, bytes, n - 64)) {
    const uint64_t schema = bc_le32(p + dir);
    bc_put_le64(f + 24, bc_le64(p + dir + 8));
    if (schema <= bytes - 16) fuzz_fix_entries(p, n, (size_t)(dir + 16 + schema), (size_t)(dir + bytes));
    bc_put_le64(f + 40, bc_hash64(p + dir, (size_t)bytes));
  }
  bc_put_le64(f + 56, bc_hash64(f, 56));
}

#endif
