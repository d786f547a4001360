/*
 * A zip of netCDF files. Members that are HDF5 are unpacked but not opened (see fuzz_netcdf.c).
 * Input: control (bit 0: make the checksums of the members right), then the zip.
 */
#include <zlib.h>

#include "fuzz.h"
#include "ingest/src_int.h"

#define MAX_MEMBER ((size_t)1 << 20)

/* Checksum of a member's decoded bytes, by the method that the directory names. */
static bool member_sum(const uint8_t *p, size_t n, unsigned method, uint32_t *sum, uint32_t *bytes)
{
  if (method == 0) {
    *sum = (uint32_t)crc32(0, p, (uInt)n);
    *bytes = (uint32_t)n;
    return true;
  }
  z_stream z = { 0 };
  if (method != 8 || inflateInit2(&z, -15) != Z_OK) return false;
  uint8_t *out = malloc(MAX_MEMBER);
  FUZZ_CHECK(out != NULL);
  z.next_in = (Bytef *)(uintptr_t)p;
  z.avail_in = (uInt)n;
  z.next_out = out;
  z.avail_out = MAX_MEMBER;
  const bool ok = inflate(&z, Z_FINISH) == Z_STREAM_END;
  *bytes = (uint32_t)z.total_out;
  *sum = (uint32_t)crc32(0, out, (uInt)z.total_out);
  (void)inflateEnd(&z);
  free(out);
  return ok;
}

/* Walks the central directory; sizes stay as they are, only checksums change. */
static void fix_sums(uint8_t *p, size_t n)
{
  size_t end = n < 22 ? 0 : n - 22;
  while (end > 0 && memcmp(p + end, "PK\5\6", 4) != 0)
    end--;
  if (end == 0) return;
  uint64_t at = bc_le32(p + end + 16);
  for (int i = 0; i < 64 && at + 46 <= end && memcmp(p + at, "PK\1\2", 4) == 0; i++) {
    uint8_t *c = p + at;
    const uint64_t local = bc_le32(c + 42), stored = bc_le32(c + 20);
    uint32_t sum = 0, bytes = 0;
    if (local + 30 <= n && memcmp(p + local, "PK\3\4", 4) == 0) {
      const uint64_t from = local + 30 + bc_le16(p + local + 26) + bc_le16(p + local + 28);
      if (bc_in_bounds(from, stored, n) &&
          member_sum(p + from, (size_t)stored, bc_le16(c + 10), &sum, &bytes)) {
        bc_put_le32(c + 16, sum);
        if ((bc_le16(p + local + 6) & 8) == 0) bc_put_le32(p + local + 14, sum);
      }
    }
    at += 46u + bc_le16(c + 28) + bc_le16(c + 30) + bc_le16(c + 32);
  }
}

static bool is_classic(const char *path)
{
  bc_err err = { 0 };
  bc_buf b = bc_buf_empty((size_t)1 << 28);
  FUZZ_CHECK(bc_os_read_file(path, b.max, &b, &err) == BC_OK);
  const bool yes =
      bc_source_sniff((bc_bytes){ b.p, BC_MIN(b.n, (size_t)BC_SNIFF_BYTES) }) == BC_SNIFF_CLASSIC;
  bc_buf_dispose(&b);
  return yes;
}

static void nothing_left(void)
{
  char **names = NULL;
  size_t n = 0;
  bc_err err = { 0 };
  FUZZ_CHECK(bc_os_list(fuzz_dir(), &names, &n, &err) == BC_OK);
  FUZZ_CHECK(n == 1); /* in.zip itself */
  bc_os_list_free(names, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  fuzz_in in = { data, size };
  bc_err err = { 0 };
  bc_unzipped u;
  bc_source *s = NULL;
  char path[FUZZ_PATH];
  bool all = true;
  FUZZ_CHECK(setenv("TMPDIR", fuzz_dir(), 1) == 0);
  const uint8_t control = fuzz_u8(&in);
  uint8_t *zip = fuzz_copy(in.p, in.n);
  if ((control & 1) != 0) fix_sums(zip, in.n);
  fuzz_write(fuzz_path(path, "in.zip"), zip, in.n);
  free(zip);
  if (FUZZ(bc_unzip_netcdf(path, "fuzz.zip", NULL, &u, &err)) == BC_OK) {
    FUZZ_CHECK(u.n >= 1);
    for (size_t i = 0; i < u.n; i++) {
      FUZZ_CHECK(strncmp(u.paths[i], fuzz_dir(), strlen(fuzz_dir())) == 0);
      all = is_classic(u.paths[i]) && all;
    }
    bc_unzipped_dispose(&u);
    if (all && FUZZ(bc_source_open(path, NULL, &s, &err)) == BC_OK) bc_source_close(s);
  }
  nothing_left();
  return 0;
}
