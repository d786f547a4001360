/* What a file is by its first bytes, and whether it is whole, before a library sees it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ingest/src_int.h"
#include "store/os.h"

/* ---- what a file is ---- */
typedef struct magic {
  size_t at, n;
  const char *bytes;
  const char *what; /* and what to do */
} magic;

/* clang-format off */
static const magic k_magic[] = {
  { 0, 4, "GRIB", "GRIB files are not read: convert with grib_to_netcdf, or ask CDS for netCDF" },
  { 0, 4, "BUFR", "BUFR files are not read" },
  { 0, 4, "\x0e\x03\x13\x01", "an HDF4 file: convert it to netCDF first" },
  { 0, 2, "\x1f\x8b", "a gzip file: unpack it with gunzip first" },
  { 0, 3, "BZh", "a bzip2 file: unpack it with bunzip2 first" },
  { 0, 6, "\xfd" "7zXZ\x00", "an xz file: unpack it with unxz first" },
  { 0, 4, "\x28\xb5\x2f\xfd", "a zstd file: unpack it with unzstd first" },
  { 0, 6, "7z\xbc\xaf\x27\x1c", "a 7-Zip file: unpack it first" },
  { 257, 5, "ustar", "a tar archive: unpack it first" },
  { 0, 4, "PAR1", "a Parquet file, which holds no rasters" },
  { 0, 6, "\x93NUMPY", "a NumPy file, which names no axes: netCDF is expected" },
  { 0, 4, "II*\0", "a TIFF image: convert it with gdal_translate -of netCDF first" },
  { 0, 4, "MM\0*", "a TIFF image: convert it with gdal_translate -of netCDF first" },
  { 0, 4, "\x89PNG", "a PNG image" },
  { 0, 3, "\xff\xd8\xff", "a JPEG image" },
  { 0, 4, "%PDF", "a PDF document" },
  { 0, 16, "SQLite format 3", "an SQLite database" },
  { 0, 23, "version https://git-lfs", "a Git LFS pointer, not the file itself: fetch it with git lfs pull" },
  { 0, 9, "<!DOCTYPE", "a web page: the download went wrong" },
  { 0, 5, "<html", "a web page: the download went wrong" },
  { 0, 5, "<?xml", "an XML document: the download may have gone wrong" },
  { 0, 7, "netcdf ", "netCDF's text form (CDL): turn it into a file with ncgen" },
  { 0, 3, "CDF", "netCDF of an unknown version" },
};
/* clang-format on */

static bool has_bytes(bc_bytes b, size_t at, const char *bytes, size_t n)
{
  return bc_in_bounds(at, n, b.n) && memcmp(b.p + at, bytes, n) == 0;
}

/* HDF5 may follow a block of the user's at 512, 1024, 2048. */
static bool find_hdf5(bc_bytes b, size_t *at)
{
  static const size_t places[] = { 0, 512, 1024, 2048 };

  for (size_t i = 0; i < BC_ARRAY_LEN(places); i++) {
    *at = places[i];
    if (has_bytes(b, *at, "\x89HDF\r\n\x1a\n", 8)) return true;
  }
  return false;
}

bc_sniffed bc_source_sniff(bc_bytes head)
{
  size_t at;

  if (has_bytes(head, 0, "CDF", 3) && head.n > 3 && (head.p[3] == 1 || head.p[3] == 2 || head.p[3] == 5))
    return BC_SNIFF_CLASSIC;
  if (has_bytes(head, 0, "PK\x03\x04", 4) || has_bytes(head, 0, "PK\x05\x06", 4)) return BC_SNIFF_ZIP;
  return find_hdf5(head, &at) ? BC_SNIFF_HDF5 : BC_SNIFF_OTHER;
}

static const char *name_other(bc_bytes b)
{
  bool zeros = true, text = true;

  for (size_t i = 0; i < BC_ARRAY_LEN(k_magic); i++) {
    if (has_bytes(b, k_magic[i].at, k_magic[i].bytes, k_magic[i].n)) return k_magic[i].what;
  }
  for (size_t i = 0; i < b.n; i++) {
    if (b.p[i] != 0) zeros = false;
    if ((b.p[i] < ' ' && strchr("\t\r\n\f", b.p[i]) == NULL) || b.p[i] == 0 || b.p[i] == 127) text = false;
  }
  if (zeros) return "it holds only zero bytes: the download or copy went wrong";
  if (text) return "a text file: netCDF is expected";
  return "it is neither netCDF nor a zip of netCDF files";
}

/* ---- is it whole? ---- */
static bc_status sys_fail(bc_err *err, int e, const char *label)
{
  switch (e) {
  case ENOENT:
  case ENOTDIR: return BC_FAIL_SYS(err, BC_E_NOTFOUND, "os", e, "%s: no such file", label);
  case EACCES:
  case EPERM: return BC_FAIL_SYS(err, BC_E_IO, "os", e, "%s: no permission to read it", label);
  default: return BC_FAIL_SYS(err, bc_os_status(e), "os", e, "%s cannot be read (system error %d)", label, e);
  }
}

static bc_status read_head(int fd, const char *label, uint8_t *dst, size_t want, size_t *got, bc_err *err)
{
  *got = 0;
  while (*got < want) {
    const ssize_t k = pread(fd, dst + *got, want - *got, (off_t)*got);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return sys_fail(err, errno, label);
    if (k == 0) break;
    *got += (size_t)k;
  }
  return BC_OK;
}

static bc_status too_short(bc_err *err, const char *label, uint64_t need, uint64_t size)
{
  return BC_FAIL(err, BC_E_TRUNCATED,
                 "%s is incomplete: its header promises %" PRIu64 " bytes, the file has %" PRIu64
                 "; download it again",
                 label, need, size);
}

/* Headers are read in growing pieces: their size stands nowhere. */
static bc_status check_classic(int fd, const char *label, uint64_t size, bc_err *err)
{
  bc_status st = BC_OK;
  uint8_t *head = NULL;
  uint64_t need = 0;
  bool complete = false;

  for (uint64_t want = BC_MIN(size, UINT64_C(65536)); !complete; want = BC_MIN(size, want * 8)) {
    size_t got = 0;
    bc_free(head);
    head = bc_malloc((size_t)want);
    if (head == NULL) {
      st = BC_FAIL(err, BC_E_NOMEM, "%s: out of memory for its header", label);
      goto out;
    }
    BC_TRY(read_head(fd, label, head, (size_t)want, &got, err));
    if (got < 8) {
      st = too_short(err, label, 32, size);
      goto out;
    }
    BC_TRY(bc_classic_need((bc_bytes){ head, got }, &need, &complete, err));
    if (!complete && (want == size || want > UINT64_C(1) << 30)) {
      st = BC_FAIL(err, BC_E_TRUNCATED,
                   "%s ends inside its netCDF header, or the header is damaged; download it again", label);
      goto out;
    }
  }
  if (need == UINT64_MAX)
    st = BC_FAIL(err, BC_E_CORRUPT, "%s: its netCDF header is damaged; download it again", label);
  else if (need > size)
    st = too_short(err, label, need, size);
out:
  bc_free(head);
  return st;
}

/* The superblock of HDF5 says where the file ends. Unknown versions are left to the library. */
static bc_status check_hdf5(bc_bytes head, const char *label, uint64_t size, bc_err *err)
{
  size_t at = 0, field = 0;
  uint64_t end = 0;
  uint8_t version;

  if (!find_hdf5(head, &at) || !bc_in_bounds(at, 64, head.n)) return too_short(err, label, at + 64, size);
  version = head.p[at + 8];
  if (version <= 1 && head.p[at + 13] == 8) field = at + (version == 0 ? 24 : 28) + 16;
  if ((version == 2 || version == 3) && head.p[at + 9] == 8) field = at + 12 + 16;
  if (field == 0) return BC_OK;
  end = bc_le64(head.p + field);
  return end > size ? too_short(err, label, end, size) : BC_OK;
}

static bc_status inspect_fd(int fd, const char *label, bc_sniffed *kind, bc_err *err)
{
  uint8_t head[BC_SNIFF_BYTES];
  struct stat sb;
  uint64_t size;
  size_t n = 0;
  bc_bytes b;

  if (fstat(fd, &sb) != 0) return sys_fail(err, errno, label);
  if (S_ISDIR(sb.st_mode))
    return BC_FAIL(err, BC_E_INVAL, "%s is a folder: name the files in it, for example %s/*.nc", label,
                   label);
  if (!S_ISREG(sb.st_mode)) return BC_FAIL(err, BC_E_UNSUPPORTED, "%s is not a regular file", label);
  size = (uint64_t)sb.st_size;
  BC_RET(read_head(fd, label, head, sizeof head, &n, err));
  if (n == 0) return BC_FAIL(err, BC_E_TRUNCATED, "%s is empty (0 bytes): download it again", label);
  b = (bc_bytes){ head, n };
  *kind = bc_source_sniff(b);
  if (*kind == BC_SNIFF_OTHER) return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: %s", label, name_other(b));
  if (*kind == BC_SNIFF_CLASSIC) return check_classic(fd, label, size, err);
  return *kind == BC_SNIFF_HDF5 ? check_hdf5(b, label, size, err) : BC_OK;
}

bc_status bc_source_inspect(const char *path, const char *label, bc_sniffed *kind, bc_err *err)
{
  bc_status st;
  /* O_NONBLOCK: a FIFO must not hang us; it is refused as no regular file */
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

  if (fd < 0) return sys_fail(err, errno, label);
  st = inspect_fd(fd, label, kind, err);
  (void)close(fd);
  return st;
}
