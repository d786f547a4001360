/*
 * Files of rasters: what a file is by its first bytes, whether it is whole, and the union of what a zip
 * holds.
 */
#include "ingest/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ingest/src_int.h"
#include "store/grid.h"
#include "store/os.h"

#define NAME_MAX_NC 256 /* NC_MAX_NAME, of dimensions, variables and attributes */
#define LABEL_MAX   120 /* bytes of a path in messages, so that room is left for what is wrong */

/* ---- memory ---- */
typedef struct bc_arena_block {
  struct bc_arena_block *next;
} bc_arena_block;

void *bc_arena_get(bc_arena *a, size_t n)
{
  const size_t head = bc_round_up64(sizeof(bc_arena_block));
  bc_arena_block *b = NULL;
  size_t bytes = 0;

  if (!bc_add_sz(head, BC_MAX(n, 1u), &bytes)) return NULL;
  b = bc_calloc(1, bytes);
  if (b == NULL) return NULL;
  b->next = a->head;
  a->head = b;
  return (uint8_t *)b + head;
}

char *bc_arena_text(bc_arena *a, const char *s, size_t n)
{
  const char *end = n > 0 ? memchr(s, '\0', n) : NULL;
  const size_t len = end != NULL ? (size_t)(end - s) : n;
  char *p = bc_arena_get(a, len + 1);

  if (p != NULL && len > 0) memcpy(p, s, len);
  return p;
}

void bc_arena_dispose(bc_arena *a)
{
  while (a->head != NULL) {
    bc_arena_block *b = a->head;
    a->head = b->next;
    bc_free(b);
  }
}

/* ---- messages ---- */
void bc_source_note(const bc_progress *p, const char *fmt, ...)
{
  char line[512];
  va_list ap;

  if (p == NULL || p->note == NULL) return;
  va_start(ap, fmt);
  (void)vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  p->note(p->ctx, line);
}

const char *bc_source_base_name(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash == NULL || slash[1] == '\0' ? path : slash + 1;
}

/* The path as given, or only its last part when it is long. */
static void make_label(const char *path, char *dst, size_t cap)
{
  const char *shown = strlen(path) < LABEL_MAX ? path : bc_source_base_name(path);
  (void)snprintf(dst, cap, "%.*s", LABEL_MAX, shown);
}

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
/* The header of a classic file, CDF-1, 2 or 5; big-endian. The library takes what lies beyond the end of a
 * short file for zeros, so the sizes are added up here. */
typedef struct classic {
  bc_cursor c;
  bool wide; /* CDF-5: 64-bit counts */
  bool far;  /* CDF-2 and 5: 64-bit offsets */
  bool bad;  /* what no writer writes, and the library does not check */
  uint64_t n_records;
  bc_buf dims; /* lengths, 8 bytes each */
  uint64_t fixed_end, record_bytes, record_begin, last_begin, last_bytes, n_record_vars;
} classic;

static uint32_t be32(bc_cursor *c)
{
  const uint8_t *p = bc_cur_take(c, 4);
  return p == NULL ? 0 : bc_be32(p);
}

static uint64_t be64(bc_cursor *c)
{
  const uint64_t hi = be32(c);
  return hi << 32 | be32(c);
}

static uint64_t count_of(classic *k) { return k->wide ? be64(&k->c) : be32(&k->c); }

static void skip_padded(classic *k, uint64_t n)
{
  const uint64_t padded = n > UINT64_MAX - 3 ? n : (n + 3) & ~UINT64_C(3);

  if (padded > k->c.b.n)
    k->c.ok = false;
  else
    (void)bc_cur_take(&k->c, (size_t)padded);
}

/* A name. The library copies it into the caller's memory, of which it promises to need NAME_MAX_NC bytes, but
 * checks no length when it reads a file. */
static void skip_name(classic *k)
{
  const uint64_t n = count_of(k);

  if (n > NAME_MAX_NC)
    k->bad = true;
  else
    skip_padded(k, n);
}

static uint64_t classic_type_size(uint32_t type)
{
  static const uint8_t size[] = { 0, 1, 1, 2, 4, 4, 8, 1, 2, 4, 8, 8 };
  return type < BC_ARRAY_LEN(size) ? size[type] : 0;
}

static void skip_atts(classic *k)
{
  uint64_t n;

  (void)be32(&k->c); /* tag */
  n = count_of(k);
  for (uint64_t i = 0; i < n && k->c.ok && !k->bad; i++) {
    uint64_t count, bytes;
    uint32_t type;
    skip_name(k);
    type = be32(&k->c);
    count = count_of(k);
    if (!bc_mul_u64(count, classic_type_size(type), &bytes)) k->c.ok = false;
    skip_padded(k, bytes);
  }
}

static bc_status read_classic_dims(classic *k, bc_err *err)
{
  uint64_t n;

  (void)be32(&k->c);
  n = count_of(k);
  for (uint64_t i = 0; i < n && k->c.ok && !k->bad; i++) {
    skip_name(k);
    BC_RET(bc_buf_u64(&k->dims, count_of(k), err));
  }
  return BC_OK;
}

/* Size of a variable's data (of one record when it has the record dimension); false when its header is bad.
 */
static bool classic_extent(classic *k, uint64_t *bytes, bool *record)
{
  const uint64_t n_dims = count_of(k);
  uint64_t size = 1;

  *record = false;
  for (uint64_t d = 0; d < n_dims && k->c.ok; d++) {
    const uint64_t id = count_of(k);
    uint64_t len;
    if (id >= k->dims.n / 8) return false;
    len = bc_le64(k->dims.p + id * 8);
    if (len == 0 && d == 0)
      *record = true;
    else if (!bc_mul_u64(size, len, &size))
      return false;
  }
  *bytes = size;
  return true;
}

static bool read_classic_var(classic *k)
{
  uint64_t size = 0, type_size, begin, end;
  bool record = false;

  skip_name(k);
  if (!classic_extent(k, &size, &record)) return false;
  skip_atts(k);
  type_size = classic_type_size(be32(&k->c));
  if (type_size == 0 || !bc_mul_u64(size, type_size, &size)) return false;
  (void)count_of(k); /* vsize: wrong by design for large variables */
  begin = k->far ? be64(&k->c) : be32(&k->c);
  if (!k->c.ok || !bc_add_u64(begin, size, &end)) return false;
  if (!record) {
    k->fixed_end = BC_MAX(k->fixed_end, end);
    return true;
  }
  k->record_begin = k->n_record_vars == 0 ? begin : BC_MIN(k->record_begin, begin);
  if (begin >= k->last_begin) {
    k->last_begin = begin;
    k->last_bytes = size;
  }
  k->n_record_vars++;
  return size <= UINT64_MAX - 3 && bc_add_u64(k->record_bytes, (size + 3) & ~UINT64_C(3), &k->record_bytes);
}

/* Bytes that the file must have at least. */
static uint64_t classic_end(const classic *k)
{
  /* a lone record variable is not padded to four bytes */
  const uint64_t stride = k->n_record_vars == 1 ? k->last_bytes : k->record_bytes;
  uint64_t end = 0;

  if (k->n_record_vars == 0 || k->n_records == 0) return k->fixed_end;
  if (!bc_mul_u64(stride, k->n_records - 1, &end) || !bc_add_u64(end, k->last_begin, &end) ||
      !bc_add_u64(end, k->last_bytes, &end))
    return UINT64_MAX;
  return BC_MAX(end, k->fixed_end);
}

/* *complete: the header ends inside head. *need: bytes that the file must have; UINT64_MAX when the header
 * makes no sense, which the library would answer with huge allocations. */
static bc_status read_classic(bc_bytes head, uint64_t *need, bool *complete, bc_err *err)
{
  bc_status st = BC_OK;
  classic k = { .c = { .b = head, .at = 4, .ok = true }, .dims = bc_buf_empty((size_t)1 << 30) };
  bool fine = true;
  uint64_t n = 0;

  k.wide = head.p[3] == 5;
  k.far = head.p[3] != 1;
  *need = 0;
  k.n_records = count_of(&k);
  if (k.n_records == (k.wide ? UINT64_MAX : UINT32_MAX)) k.n_records = 0; /* still being written: unknown */
  BC_TRY(read_classic_dims(&k, err));
  skip_atts(&k);
  (void)be32(&k.c);
  n = count_of(&k);
  for (uint64_t i = 0; i < n && fine && k.c.ok && !k.bad; i++)
    fine = read_classic_var(&k);
  *complete = k.c.ok || k.bad;
  *need = fine && !k.bad ? classic_end(&k) : UINT64_MAX;
out:
  bc_buf_dispose(&k.dims);
  return st;
}

/* ---- opening files ---- */
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
    BC_TRY(read_classic((bc_bytes){ head, got }, &need, &complete, err));
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

typedef struct opened {
  bc_sniffed kind;
  uint64_t size;
} opened;

static bc_status inspect_fd(int fd, const char *label, opened *out, bc_err *err)
{
  uint8_t head[BC_SNIFF_BYTES];
  struct stat sb;
  size_t n = 0;
  bc_bytes b;

  if (fstat(fd, &sb) != 0) return sys_fail(err, errno, label);
  if (S_ISDIR(sb.st_mode))
    return BC_FAIL(err, BC_E_INVAL, "%s is a folder: name the files in it, for example %s/*.nc", label,
                   label);
  if (!S_ISREG(sb.st_mode)) return BC_FAIL(err, BC_E_UNSUPPORTED, "%s is not a regular file", label);
  out->size = (uint64_t)sb.st_size;
  BC_RET(read_head(fd, label, head, sizeof head, &n, err));
  if (n == 0) return BC_FAIL(err, BC_E_TRUNCATED, "%s is empty (0 bytes): download it again", label);
  b = (bc_bytes){ head, n };
  out->kind = bc_source_sniff(b);
  if (out->kind == BC_SNIFF_OTHER) return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: %s", label, name_other(b));
  if (out->kind == BC_SNIFF_CLASSIC) return check_classic(fd, label, out->size, err);
  return out->kind == BC_SNIFF_HDF5 ? check_hdf5(b, label, out->size, err) : BC_OK;
}

static bc_status inspect(const char *path, const char *label, opened *out, bc_err *err)
{
  bc_status st;
  /* O_NONBLOCK: a FIFO must not hang us; it is refused as no regular file */
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

  if (fd < 0) return sys_fail(err, errno, label);
  st = inspect_fd(fd, label, out, err);
  (void)close(fd);
  return st;
}

/* ---- the source ---- */
typedef struct member {
  bc_nc *nc;
  bc_raster *raster;
} member;

struct bc_source {
  member *members;
  size_t n_members;
  bc_unzipped zip;
  struct {
    bc_raster *raster;
    const bc_raster_var *var;
  } * vars;
  size_t n_vars;
};

static bc_status add_member(bc_source *s, const char *path, const char *label, const bc_source_opts *opts,
                            bc_err *err)
{
  member *m = &s->members[s->n_members++]; /* closed with the source whatever happens */

  BC_RET(bc_nc_open(path, label, &m->nc, err));
  return bc_raster_open(m->nc, opts, &m->raster, err);
}

static bc_status add_zip(bc_source *s, const char *path, const char *label, const bc_source_opts *opts,
                         bc_err *err)
{
  BC_RET(bc_unzip_netcdf(path, opts->progress, &s->zip, err));
  s->members = bc_calloc(s->zip.n, sizeof *s->members);
  if (s->members == NULL) return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory", label);
  for (size_t i = 0; i < s->zip.n; i++) {
    char name[2 * LABEL_MAX];
    opened o = { .kind = BC_SNIFF_OTHER };
    (void)snprintf(name, sizeof name, "%s/%.80s", label, bc_source_base_name(s->zip.names[i]));
    BC_RET(inspect(s->zip.paths[i], name, &o, err));
    BC_RET(add_member(s, s->zip.paths[i], name, opts, err));
  }
  return BC_OK;
}

static bc_status nothing_found(const bc_source *s, const char *label, const bc_source_opts *opts, bc_err *err)
{
  const char *why = "";
  const char *have = "";

  for (size_t i = 0; i < s->n_members; i++) {
    const bc_raster *r = s->members[i].raster;
    if (have[0] == '\0') have = r->unselected;
    if (why[0] == '\0') why = r->why;
  }
  if (have[0] != '\0')
    return BC_FAIL(err, BC_E_NOTFOUND, "%s has no variable that matches \"%.60s\": it has %s", label,
                   opts->vars, have);
  if (why[0] != '\0') return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: %s", label, why);
  return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: no raster variable, only coordinates and scalars", label);
}

static bc_status list_vars(bc_source *s, const char *label, const bc_source_opts *opts, bc_err *err)
{
  size_t n = 0;

  for (size_t i = 0; i < s->n_members; i++)
    n += s->members[i].raster->n_vars;
  if (n == 0) return nothing_found(s, label, opts, err);
  s->vars = bc_calloc(n, sizeof *s->vars);
  if (s->vars == NULL) return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory", label);
  for (size_t i = 0; i < s->n_members; i++) {
    bc_raster *r = s->members[i].raster;
    for (size_t k = 0; k < r->n_vars; k++) {
      s->vars[s->n_vars].raster = r;
      s->vars[s->n_vars++].var = &r->vars[k];
    }
  }
  return BC_OK;
}

bc_status bc_source_open(const char *path, const bc_source_opts *opts, bc_source **out, bc_err *err)
{
  static const bc_source_opts defaults = { 0 };
  bc_status st = BC_OK;
  char label[LABEL_MAX + 1];
  opened o = { .kind = BC_SNIFF_OTHER };
  bc_source *s = NULL;

  *out = NULL;
  if (opts == NULL) opts = &defaults;
  make_label(path, label, sizeof label);
  BC_RET(inspect(path, label, &o, err));
  s = bc_calloc(1, sizeof *s);
  if (s == NULL) return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory", label);
  if (o.kind == BC_SNIFF_ZIP) {
    BC_TRY(add_zip(s, path, label, opts, err));
  } else {
    s->members = bc_calloc(1, sizeof *s->members);
    if (s->members == NULL) {
      st = BC_FAIL(err, BC_E_NOMEM, "%s: out of memory", label);
      goto out;
    }
    BC_TRY(add_member(s, path, label, opts, err));
  }
  BC_TRY(list_vars(s, label, opts, err));
  *out = s;
  s = NULL;
out:
  bc_source_close(s);
  return st;
}

void bc_source_close(bc_source *s)
{
  if (s == NULL) return;
  for (size_t i = 0; i < s->n_members; i++) {
    bc_raster_close(s->members[i].raster);
    bc_nc_close(s->members[i].nc);
  }
  bc_unzipped_dispose(&s->zip);
  bc_free(s->members);
  bc_free(s->vars);
  bc_free(s);
}

size_t bc_source_vars(const bc_source *s) { return s->n_vars; }

const bc_source_var *bc_source_var_get(const bc_source *s, size_t i)
{
  return i < s->n_vars ? &s->vars[i].var->pub : NULL;
}

bc_status bc_source_read(bc_source *s, size_t i, int64_t t0, int64_t n_steps, void *dst, bc_err *err)
{
  if (i >= s->n_vars) return BC_FAIL(err, BC_E_INVAL, "no variable %zu: there are %zu", i, s->n_vars);
  return bc_raster_read(s->vars[i].raster, s->vars[i].var, t0, n_steps, dst, err);
}

bc_status bc_ingest_grid_of(const char *path, bc_grid *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_source *s = NULL;
  const bc_var *v = NULL;
  int y, x;

  *out = (bc_grid){ .ny = 0 };
  BC_TRY(bc_source_open(path, NULL, &s, err));
  v = &bc_source_var_get(s, 0)->var;
  y = bc_var_dim(v, BC_DIM_LAT);
  x = bc_var_dim(v, BC_DIM_LON);
  BC_TRY(bc_grid_from_axes(v->coord[y], (size_t)v->shape[y], v->coord[x], (size_t)v->shape[x], out, err));
out:
  bc_source_close(s);
  return st;
}
