/* Files made to do harm: each is refused with the right status and one line, soon, and nothing is left
 * behind. */
#include <sys/stat.h>
#include <unistd.h>

#include <zip.h>

#include "ingest/source.h"
#include "store/schema_io.h"
#include "store/store_int.h"
#include "tests/unit/store_fixture.h"

#define SECONDS_ALLOWED                                                                                      \
  5.0 /* sanitizers included; what these tests guard against takes hours or gigabytes                        \
       */

/* ---- a folder, files, names ---- */

static char *in_dir(const fixture *f, const char *name)
{
  static char path[8][256];
  static unsigned next;
  char *p = path[next++ % 8];
  (void)snprintf(p, sizeof path[0], "%s/%s", f->dir, name);
  return p;
}

static void write_bytes(const char *path, const void *p, size_t n)
{
  FILE *f = fopen(path, "wb");
  cr_assert_not_null(f, "%s", path);
  cr_assert_eq(fwrite(p, 1, n, f), n);
  cr_assert_eq(fclose(f), 0);
}

static bc_buf read_bytes(const char *path)
{
  bc_err err = { 0 };
  bc_buf b = bc_buf_empty((size_t)1 << 28);
  OK(bc_os_read_file(path, b.max, &b, &err));
  return b;
}

static void one_line(const bc_err *err, const char *word)
{
  cr_expect_null(strchr(err->msg, '\n'), "%s", err->msg);
  cr_expect_not_null(strstr(err->msg, word), "\"%s\" is expected in: %s", word, err->msg);
}

/* ---- zip ---- */

typedef struct zip_entry {
  const char *name;
  size_t bytes; /* of zeros behind the first bytes of a netCDF file */
  bool link;
} zip_entry;

static void make_zip(const char *path, const zip_entry *e, size_t n)
{
  int code = 0;
  zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
  cr_assert_not_null(z);
  for (size_t i = 0; i < n; i++) {
    uint8_t *p = calloc(e[i].bytes + 8, 1); /* freed by the source */
    memcpy(p, "CDF\1", 4);
    zip_source_t *s = zip_source_buffer(z, p, e[i].bytes + 8, 1);
    const zip_int64_t at = zip_file_add(z, e[i].name, s, 0);
    cr_assert_geq(at, 0);
    cr_assert_eq(zip_set_file_compression(z, (zip_uint64_t)at, ZIP_CM_DEFLATE, 1), 0);
    if (e[i].link) zip_file_set_external_attributes(z, (zip_uint64_t)at, 0, ZIP_OPSYS_UNIX, 0120777u << 16);
  }
  cr_assert_eq(zip_close(z), 0);
}

/* Offset of the n-th record with this signature. */
static size_t find_record(const bc_buf *b, const char sig[4], int n)
{
  for (size_t i = 0; i + 4 <= b->n; i++)
    if (memcmp(b->p + i, sig, 4) == 0 && n-- == 0) return i;
  cr_assert_fail("no such record");
  return 0;
}

/* Opens dir/x.zip with TMPDIR in dir/tmp; whatever comes of it, dir/tmp is empty afterwards. */
static bc_status open_zip(const fixture *f, bc_err *err)
{
  bc_source *s = NULL;
  char **names = NULL;
  size_t n = 0;
  bc_err e = { 0 };
  (void)mkdir(in_dir(f, "tmp"), 0700);
  cr_assert_eq(setenv("TMPDIR", in_dir(f, "tmp"), 1), 0);
  const double begun = bc_os_monotonic();
  const bc_status st = bc_source_open(in_dir(f, "x.zip"), NULL, &s, err);
  cr_expect_lt(bc_os_monotonic() - begun, SECONDS_ALLOWED);
  bc_source_close(s);
  cr_assert_eq(bc_os_list(in_dir(f, "tmp"), &names, &n, &e), BC_OK);
  cr_expect_eq(n, 0, "%zu files are left", n);
  bc_os_list_free(names, n);
  return st;
}

Test(hostile, zip_names_that_lead_out, .timeout = 60)
{
  static const char *const k_names[] = { "../x.nc",     "a/../../x.nc",   "/etc/x.nc", "..",
                                         "a\\..\\x.nc", "\\\\host\\x.nc", "C:\\x.nc",  "a/.." };
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  for (size_t i = 0; i < BC_ARRAY_LEN(k_names); i++) {
    make_zip(in_dir(&f, "x.zip"), &(zip_entry){ k_names[i], 1000, false }, 1);
    FAILS(BC_E_CORRUPT, open_zip(&f, &err));
    one_line(&err, "outside");
  }
  /* also when it is not the member that would be read */
  make_zip(in_dir(&f, "x.zip"), (zip_entry[]){ { "a.nc", 1000, false }, { "../../b.txt", 10, false } }, 2);
  FAILS(BC_E_CORRUPT, open_zip(&f, &err));
  fixture_remove(&f);
}

Test(hostile, zip_links_and_twins, .timeout = 60)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  make_zip(in_dir(&f, "x.zip"), &(zip_entry){ "x.nc", 1000, true }, 1);
  FAILS(BC_E_CORRUPT, open_zip(&f, &err));
  one_line(&err, "symbolic link");
  make_zip(in_dir(&f, "x.zip"), (zip_entry[]){ { "a.nc", 1000, false }, { "b.nc", 1000, false } }, 2);
  bc_buf b = read_bytes(in_dir(&f, "x.zip"));
  b.p[find_record(&b, "PK\3\4", 1) + 30] = 'a';
  b.p[find_record(&b, "PK\1\2", 1) + 46] = 'a';
  write_bytes(in_dir(&f, "x.zip"), b.p, b.n);
  FAILS(BC_E_CORRUPT, open_zip(&f, &err));
  one_line(&err, "two members");
  bc_buf_dispose(&b);
  fixture_remove(&f);
}

Test(hostile, zip_bombs, .timeout = 120)
{
  enum { MEMBERS = 20 };
  bc_err err = { 0 };
  zip_entry many[MEMBERS];
  char names[MEMBERS][16];
  fixture f = fixture_make(8);
  /* one member, honest about its ratio of a thousand */
  make_zip(in_dir(&f, "x.zip"), &(zip_entry){ "x.nc", (size_t)80 << 20, false }, 1);
  FAILS(BC_E_CORRUPT, open_zip(&f, &err));
  one_line(&err, "zip bomb");
  /* the same, lying about its compressed size */
  bc_buf b = read_bytes(in_dir(&f, "x.zip"));
  bc_put_le32(b.p + find_record(&b, "PK\1\2", 0) + 20, 70 << 20);
  write_bytes(in_dir(&f, "x.zip"), b.p, b.n);
  FAILS(BC_E_CORRUPT, open_zip(&f, &err));
  bc_buf_dispose(&b);
  /* many small ones: each below the floor, together far above */
  for (int i = 0; i < MEMBERS; i++) {
    (void)snprintf(names[i], sizeof names[i], "%d.nc", i);
    many[i] = (zip_entry){ names[i], (size_t)8 << 20, false };
  }
  make_zip(in_dir(&f, "x.zip"), many, MEMBERS);
  FAILS(BC_E_CORRUPT, open_zip(&f, &err));
  one_line(&err, "zip bomb");
  fixture_remove(&f);
}

Test(hostile, zip_that_lies, .timeout = 60)
{
  bc_err err = { 0 };
  fixture f = fixture_make(8);
  make_zip(in_dir(&f, "x.zip"), &(zip_entry){ "x.nc", 1 << 20, false }, 1);
  const bc_buf b = read_bytes(in_dir(&f, "x.zip"));
  bc_buf c = read_bytes(in_dir(&f, "x.zip"));
  const size_t dir = find_record(&b, "PK\1\2", 0);
  bc_put_le32(c.p + dir + 24, 1000); /* more comes than was promised */
  write_bytes(in_dir(&f, "x.zip"), c.p, c.n);
  FAILS(BC_E_CORRUPT, open_zip(&f, &err));
  memcpy(c.p, b.p, b.n);
  bc_put_le16(c.p + dir + 10, 14); /* LZMA: its dictionary is as large as the file says */
  bc_put_le16(c.p + find_record(&b, "PK\3\4", 0) + 8, 14);
  write_bytes(in_dir(&f, "x.zip"), c.p, c.n);
  FAILS(BC_E_UNSUPPORTED, open_zip(&f, &err));
  one_line(&err, "method 14");
  memcpy(c.p, b.p, b.n);
  c.p[find_record(&b, "PK\3\4", 0) + 200] ^= 0x55; /* damaged within */
  write_bytes(in_dir(&f, "x.zip"), c.p, c.n);
  cr_expect_neq(open_zip(&f, &err), BC_OK);
  write_bytes(in_dir(&f, "x.zip"), b.p, dir + 10); /* the end is missing */
  FAILS(BC_E_TRUNCATED, open_zip(&f, &err));
  bc_buf_dispose(&c);
  bc_free(b.p);
  fixture_remove(&f);
}

/* ---- netCDF ---- */

/* The library copies names without looking at their length. */
Test(hostile, netcdf_name_of_a_kilobyte, .timeout = 10)
{
  uint8_t file[1200] = { 'C', 'D', 'F', 1, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 4, 0 };
  bc_err err = { 0 };
  bc_source *s = NULL;
  fixture f = fixture_make(8);
  memset(file + 20, 'a', 1024);
  file[20 + 1024 + 3] = 5;
  write_bytes(in_dir(&f, "x.nc"), file, sizeof file);
  FAILS(BC_E_CORRUPT, bc_source_open(in_dir(&f, "x.nc"), NULL, &s, &err));
  one_line(&err, "header is damaged");
  fixture_remove(&f);
}

/* ---- zstd ---- */

Test(hostile, zstd_frames_that_promise_too_much, .timeout = 10)
{
  enum { BIG = 1 << 20 };
  bc_err err = { 0 };
  bc_zstd *z = NULL;
  uint8_t *zeros = calloc(BIG, 1), *out = malloc(BIG), frame[256], dst[100];
  size_t n = 0;
  OK(bc_zstd_open(&z, &err));
  OK(bc_zstd_encode(z, 3, zeros, BIG, out, BIG, &n, &err));
  cr_assert_lt(n, sizeof frame);
  memcpy(frame, out, n);
  FAILS(BC_E_CORRUPT, bc_zstd_decode(z, (bc_bytes){ frame, n }, dst, sizeof dst, &err));
  one_line(&err, "1048576");
  /* a frame that says 100 and holds a megabyte: the first of the four bytes of its size is changed */
  cr_assert_eq(frame[4] & 0xe0, 0xa0, "single segment, size of four bytes");
  bc_put_le32(frame + 5, sizeof dst);
  FAILS(BC_E_CORRUPT, bc_zstd_decode(z, (bc_bytes){ frame, n }, dst, sizeof dst, &err));
  /* an exabyte; a frame that does not say; one that is followed by another */
  const uint8_t huge[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0 };
  const uint8_t silent[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 1, 0, 0 };
  FAILS(BC_E_CORRUPT, bc_zstd_decode(z, (bc_bytes){ huge, sizeof huge }, dst, sizeof dst, &err));
  FAILS(BC_E_CORRUPT, bc_zstd_decode(z, (bc_bytes){ silent, sizeof silent }, dst, sizeof dst, &err));
  OK(bc_zstd_encode(z, 3, zeros, sizeof dst, frame, sizeof frame, &n, &err));
  memcpy(frame + n, frame, n);
  FAILS(BC_E_CORRUPT, bc_zstd_decode(z, (bc_bytes){ frame, 2 * n }, dst, sizeof dst, &err));
  OK(bc_zstd_decode(z, (bc_bytes){ frame, n }, dst, sizeof dst, &err));
  bc_zstd_close(z);
  free(zeros);
  free(out);
}

/* ---- heads ---- */

static bc_buf constant_head(void)
{
  const float v[4] = { 1, 1, 1, 1 };
  const int64_t time = 0;
  const uint16_t level = 0;
  bc_err err = { 0 };
  bc_encoder *e = NULL;
  bc_buf head = bc_buf_empty(1 << 20), payload = bc_buf_empty(1 << 20);
  const bc_tile_in in = { .ny = 2,
                          .nx = 2,
                          .cell_ny = 8,
                          .cell_nx = 8,
                          .nt = 1,
                          .nl = 1,
                          .times = &time,
                          .levels = &level,
                          .dtype = BC_F32,
                          .values = v,
                          .t_stride = 16,
                          .l_stride = 16,
                          .y_stride = 8 };
  const bc_codec_opts o = { .mode = BC_MODE_AUTO };
  OK(bc_encoder_open(&e, &err));
  OK(bc_tile_encode(e, &in, &o, &head, &payload, &err));
  cr_assert_eq(payload.n, 0);
  bc_encoder_close(e);
  bc_buf_dispose(&payload);
  return head;
}

/* Offsets are those of docs/format.md. */
Test(hostile, shapes_that_overflow, .timeout = 10)
{
  static const struct {
    uint32_t nt, nl, ny, nx, blocks;
  } k[] = {
    { 1u << 24, 256, 1u << 20, 1u << 20, 0 },
    { UINT32_MAX, 1, 1, 1, 0 },
    { 1, UINT32_MAX, 1, 1, 0 },
    { 1, 1, UINT32_MAX, 1, 0 },
    { 1, 1, 1, UINT32_MAX, 0 },
    { 1u << 16, 256, 1u << 16, 1u << 16, 0 },
    { 0, 1, 2, 2, 0 },
    { 1, 0, 2, 2, 0 },
    { 1, 1, 0, 2, 0 },
    { 1, 1, 2, 0, 0 },
    { 1, 1, 2, 2, UINT32_MAX },
    { 1, 256, 2, 2, 0 },
  };
  bc_err err = { 0 };
  bc_tile_head h;
  bc_buf b = constant_head();
  OK(bc_tile_head_parse((bc_bytes){ b.p, b.n }, &h, &err));
  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    bc_put_le32(b.p + 40, k[i].nt);
    bc_put_le32(b.p + 44, k[i].nl);
    bc_put_le32(b.p + 56, k[i].ny);
    bc_put_le32(b.p + 60, k[i].nx);
    bc_put_le32(b.p + 64, k[i].nt);
    bc_put_le32(b.p + 68, k[i].ny);
    bc_put_le32(b.p + 72, k[i].nx);
    bc_put_le32(b.p + 120, k[i].blocks);
    bc_put_le64(b.p + b.n - 8, bc_hash64(b.p, b.n - 8));
    FAILS(BC_E_CORRUPT, bc_tile_head_parse((bc_bytes){ b.p, b.n }, &h, &err));
  }
  bc_buf_dispose(&b);
}

/* ---- names inside a store ---- */

/* Tables name segments by number only, and the name is made from the number: no path comes from a file. */
Test(hostile, segments_have_numbers_not_names)
{
  static const char *const k_bad[] = { "../../../etc/passwd", "0000000001.seg/../x", "/000000001.seg",
                                       "0000000000.seg",      "4294967296.seg",      "9999999999.seg",
                                       "+000000001.seg",      " 000000001.seg",      "000000001.seg",
                                       "00000000001.seg",     "0000000001.SEG",      "0000000001.seg~",
                                       "..........seg",       "0000000001.seg.tmp-1" };
  char name[BC_SEGMENT_NAME];
  uint32_t id = 0;
  for (size_t i = 0; i < BC_ARRAY_LEN(k_bad); i++)
    cr_expect_not(bc_segment_id(k_bad[i], &id), "%s", k_bad[i]);
  for (uint64_t n = 1; n <= UINT32_MAX; n = n * 7 + 1) {
    bc_segment_name((uint32_t)n, name);
    cr_expect(strspn(name, "0123456789") == 10 && strcmp(name + 10, ".seg") == 0);
    cr_expect(bc_segment_id(name, &id) && id == n);
  }
}

/* Names may become parts of paths and members of archives; texts end on terminals. */
Test(hostile, texts_that_steer)
{
  static const char *const k_names[] = { "..", ".", "", "a/b", "a\\b", "a\nb", "\x1b[2J", "a b", "\xc3\xa4" };
  bc_err err = { 0 };
  bc_modality m = { .dtype = BC_F32,
                    .bucket = BC_BUCKET_MONTH,
                    .layout = { BC_LAYOUT_MAP, BC_LAYOUT_NONE },
                    .group = "g" },
              back;
  bc_buf b = bc_buf_empty(1 << 20);
  for (size_t i = 0; i < BC_ARRAY_LEN(k_names); i++) {
    (void)snprintf(m.name, sizeof m.name, "%s", k_names[i]);
    FAILS(BC_E_INVAL, bc_modality_check(&m, &err));
    b.n = 0;
    OK(bc_modality_encode(&m, &b, &err));
    FAILS(BC_E_CORRUPT, bc_modality_decode((bc_bytes){ b.p, b.n }, &back, &err));
  }
  (void)snprintf(m.name, sizeof m.name, "t2m");
  (void)snprintf(m.units, sizeof m.units, "K\x1b]0;owned\a");
  OK(bc_modality_set_attr(&m, "long_name",
                          "\x1b[31mred\n\xc2\x9b"
                          "2J \xc2\xb0"
                          "C",
                          false, &err));
  b.n = 0;
  OK(bc_modality_encode(&m, &b, &err));
  OK(bc_modality_decode((bc_bytes){ b.p, b.n }, &back, &err));
  cr_expect_str_eq(back.units, "K ]0;owned ");
  cr_expect_str_eq(back.attrs[0].value, " [31mred   2J \xc2\xb0"
                                        "C");
  bc_modality_dispose(&m);
  bc_modality_dispose(&back);
  bc_buf_dispose(&b);
}

/* ---- a store with one tile ---- */

static fixture make_store(void)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_writer *w = NULL;
  bc_encoder *e = NULL;
  fixture f = fixture_make(8);
  OK(bc_store_open(f.path, BC_OPEN_WRITE, &st, &err));
  OK(bc_writer_open(st, &w, &err));
  OK(bc_encoder_open(&e, &err));
  put_tile(w, e, put_modality(w, "surface", "t2m", BC_LAYOUT_NONE), 0, 0, 4, 280, BC_MODE_AUTO);
  OK(bc_writer_commit(w, &err));
  bc_encoder_close(e);
  bc_writer_close(w);
  bc_store_close(st);
  return f;
}

static bc_status open_and_close(const fixture *f, unsigned flags, bc_err *err)
{
  bc_store *st = NULL;
  const double begun = bc_os_monotonic();
  bc_status s = bc_store_open(f->path, flags, &st, err);
  bc_writer *w = NULL;
  if (s == BC_OK && (flags & BC_OPEN_WRITE) != 0) s = bc_writer_open(st, &w, err);
  bc_writer_close(w);
  bc_store_close(st);
  cr_expect_lt(bc_os_monotonic() - begun, SECONDS_ALLOWED);
  return s;
}

#define SEGMENT "s.bcube/segments/0000000001.seg"

/* Moves a part of the store away and puts a link to it in its place. */
static void make_link(const fixture *f, const char *name)
{
  char *was = in_dir(f, name), *away = in_dir(f, "away");
  cr_assert_eq(rename(was, away), 0);
  cr_assert_eq(symlink(away, was), 0);
}

static void undo_link(const fixture *f, const char *name)
{
  char *was = in_dir(f, name);
  cr_assert_eq(unlink(was), 0);
  cr_assert_eq(rename(in_dir(f, "away"), was), 0);
}

Test(hostile, links_in_a_store_are_refused, .timeout = 60)
{
  static const char *const k_parts[] = { "s.bcube/BIOCUBE", "s.bcube/segments", "s.bcube/index",
                                         "s.bcube/index/data.mdb", "s.bcube/index/lock.mdb" };
  bc_err err = { 0 };
  fixture f = make_store();
  OK(open_and_close(&f, BC_OPEN_READ, &err));
  for (size_t i = 0; i < BC_ARRAY_LEN(k_parts); i++) {
    make_link(&f, k_parts[i]);
    FAILS(BC_E_CORRUPT, open_and_close(&f, BC_OPEN_READ, &err));
    one_line(&err, strrchr(k_parts[i], '/') + 1);
    FAILS(BC_E_CORRUPT, open_and_close(&f, BC_OPEN_WRITE, &err));
    undo_link(&f, k_parts[i]);
  }
  OK(open_and_close(&f, BC_OPEN_WRITE, &err));
  fixture_remove(&f);
}

/* A lock that leads elsewhere: what it leads to is neither emptied nor written to. */
Test(hostile, lock_files_that_lead_elsewhere, .timeout = 60)
{
  static const char *const k_locks[] = { "s.bcube/writer.lock", "s.bcube/index/lock.mdb" };
  bc_err err = { 0 };
  fixture f = make_store();
  for (size_t i = 0; i < BC_ARRAY_LEN(k_locks); i++) {
    write_bytes(in_dir(&f, "precious"), "precious\n", 9);
    (void)unlink(in_dir(&f, k_locks[i]));
    cr_assert_eq(symlink(in_dir(&f, "precious"), in_dir(&f, k_locks[i])), 0);
    cr_expect_neq(open_and_close(&f, BC_OPEN_WRITE, &err), BC_OK);
    one_line(&err, strrchr(k_locks[i], '/') + 1);
    bc_buf b = read_bytes(in_dir(&f, "precious"));
    cr_expect(b.n == 9 && memcmp(b.p, "precious\n", 9) == 0);
    bc_buf_dispose(&b);
    cr_assert_eq(unlink(in_dir(&f, k_locks[i])), 0);
  }
  fixture_remove(&f);
}

static void put_folder(const char *path) { cr_assert_eq(mkdir(path, 0700), 0); }
static void put_pipe(const char *path) { cr_assert_eq(mkfifo(path, 0600), 0); }
static void put_link(const char *path) { cr_assert_eq(symlink("/dev/zero", path), 0); }

static void (*const k_others[])(const char *path) = { put_folder, put_pipe, put_link };

Test(hostile, marker_that_is_no_file, .timeout = 60)
{
  bc_err err = { 0 };
  fixture f = make_store();
  char *marker = in_dir(&f, "s.bcube/BIOCUBE");
  for (size_t i = 0; i < BC_ARRAY_LEN(k_others); i++) {
    bc_os_remove_tree(marker);
    k_others[i](marker);
    FAILS(BC_E_CORRUPT, open_and_close(&f, BC_OPEN_READ, &err));
    one_line(&err, "BIOCUBE");
  }
  fixture_remove(&f);
}

Test(hostile, marker_of_ten_megabytes, .timeout = 60)
{
  enum { N = 10 << 20 };
  bc_err err = { 0 };
  fixture f = make_store();
  bc_buf b = read_bytes(in_dir(&f, "s.bcube/BIOCUBE"));
  uint8_t *big = malloc(N);
  memset(big, '\n', N);
  memcpy(big, b.p, b.n);
  write_bytes(in_dir(&f, "s.bcube/BIOCUBE"), big, N);
  FAILS(BC_E_CORRUPT, open_and_close(&f, BC_OPEN_READ, &err));
  one_line(&err, "4096");
  free(big);
  bc_buf_dispose(&b);
  fixture_remove(&f);
}

static void count_damage(void *ctx, const bc_damage *d)
{
  cr_expect_null(strchr(d->what, '\n'));
  cr_expect_eq(d->code, BC_E_CORRUPT, "%s", d->what);
  ++*(int *)ctx;
}

/* Neither a reader nor the upkeep waits for a pipe, and what else the store holds can be saved. */
Test(hostile, segment_that_is_no_file, .timeout = 60)
{
  bc_err err = { 0 };
  fixture f = make_store();
  char *segment = in_dir(&f, SEGMENT);
  for (size_t i = 0; i < BC_ARRAY_LEN(k_others); i++) {
    bc_store *st = NULL;
    bc_verify_report report;
    int found = 0;
    bc_os_remove_tree(segment);
    k_others[i](segment);
    const double begun = bc_os_monotonic();
    OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
    OK(bc_store_verify(st, true, count_damage, &found, NULL, &report, &err));
    cr_expect_geq(found, 1);
    bc_store_close(st);
    cr_expect_lt(bc_os_monotonic() - begun, SECONDS_ALLOWED);
  }
  bc_reindex_report done;
  /* the only one: an empty index would be made of it, so the old one stays */
  cr_expect_eq(bc_store_reindex(f.path, NULL, NULL, NULL, &done, &err), BC_E_CORRUPT);
  cr_expect_not_null(strstr(err.msg, "none of its 1 segments can be read"));
  cr_expect_eq(done.damaged, 1);
  bc_store *st = NULL;
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  bc_store_close(st);
  fixture_remove(&f);
}

/* A stray file of a number far away: writers do not count up to it. */
Test(hostile, stray_segment_number, .timeout = 60)
{
  bc_err err = { 0 };
  fixture f = make_store();
  write_bytes(in_dir(&f, "s.bcube/segments/4294967200.seg"), "", 0);
  OK(open_and_close(&f, BC_OPEN_WRITE, &err));
  cr_assert_eq(unlink(in_dir(&f, "s.bcube/segments/4294967200.seg")), 0);
  write_bytes(in_dir(&f, "s.bcube/segments/4294967295.seg"), "", 0);
  FAILS(BC_E_RANGE, open_and_close(&f, BC_OPEN_WRITE, &err));
  one_line(&err, "4294967295");
  fixture_remove(&f);
}

/* ---- tiles that are sound by themselves ---- */

#define LEVEL_TABLE SIZE_MAX /* instead of an offset */

/* Changes one field of the only tile's head, makes its checksum right, and maps the tile. */
static bc_status tile_with(const fixture *f, size_t field, const void *value, size_t n, bc_err *why)
{
  bc_err err = { 0 };
  static const bc_tile_key key = { 0, 0, 0, 0 };
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  bc_tile_rec rec;
  bc_tile_head h;
  bc_tile t;
  OK(bc_store_open(f->path, BC_OPEN_READ, &st, &err));
  OK(bc_snapshot_open(st, &s, &err));
  OK(bc_snapshot_get(s, &key, &rec, &err));
  bc_buf b = read_bytes(in_dir(f, SEGMENT)), old = read_bytes(in_dir(f, SEGMENT));
  uint8_t *head = b.p + rec.head_offset;
  OK(bc_tile_head_parse((bc_bytes){ head, rec.head_bytes }, &h, &err));
  if (field == LEVEL_TABLE) field = (size_t)(h.levels - head);
  memcpy(head + field, value, n);
  bc_put_le64(head + rec.head_bytes - 8, bc_hash64(head, rec.head_bytes - 8));
  write_bytes(in_dir(f, SEGMENT), b.p, b.n);
  const bc_status got = bc_snapshot_tile(s, &key, &rec, &t, why);
  if (got == BC_OK) bc_tile_close(&t);
  bc_snapshot_close(s);
  bc_store_close(st);
  write_bytes(in_dir(f, SEGMENT), old.p, old.n);
  bc_buf_dispose(&b);
  bc_buf_dispose(&old);
  return got;
}

/* A reader makes room by the variable's type and decodes by the tile's: doubles would be written past the
 * end. */
Test(hostile, tile_that_does_not_fit_its_variable, .timeout = 60)
{
  static const uint8_t k_types[] = { BC_F64, BC_I8, BC_I16, BC_I32, BC_I64, BC_U8 };
  const uint8_t shuffle = BC_CODEC_SHUFFLE, raw32 = BC_F32;
  bc_err err = { 0 };
  fixture f = make_store();
  OK(tile_with(&f, 32, &raw32, 1, &err));
  for (size_t i = 0; i < BC_ARRAY_LEN(k_types); i++) {
    const uint8_t both[2] = { k_types[i],
                              shuffle }; /* linear16 is refused for other types by the head alone */
    FAILS(BC_E_CORRUPT, tile_with(&f, 32, both, sizeof both, &err));
    one_line(&err, "does not fit its variable");
  }
  const uint8_t one[2] = { 1, 0 };
  FAILS(BC_E_CORRUPT, tile_with(&f, LEVEL_TABLE, one, sizeof one, &err));
  one_line(&err, "does not fit its variable");
  fixture_remove(&f);
}
