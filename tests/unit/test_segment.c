/* A segment: what is written comes back; each field of header, footer and directory is checked on its own. */
#include <criterion/criterion.h>

#include "tests/unit/store_fixture.h"

static const uint8_t k_uuid[16] = { 1, 2, 3, 4 };

typedef struct seg_file {
  char dir[64], path[128];
  uint8_t *p;
  size_t n;
} seg_file;

/* A segment of three tiles: two compressed, one constant. */
static seg_file make_segment(void)
{
  bc_err err = { 0 };
  seg_file f;
  (void)snprintf(f.dir, sizeof f.dir, "/tmp/bc-seg-XXXXXX");
  cr_assert_not_null(mkdtemp(f.dir));
  (void)snprintf(f.path, sizeof f.path, "%s/0000000007.seg", f.dir);
  bc_segw *w = NULL;
  bc_encoder *e = NULL;
  OK(bc_segw_open(f.dir, 7, k_uuid, &w, &err));
  OK(bc_encoder_open(&e, &err));
  for (uint32_t i = 0; i < 3; i++) {
    float v[64];
    uint16_t level = 0;
    const int64_t time = 0;
    for (int k = 0; k < 64; k++)
      v[k] = i == 2 ? 5.0f : (float)(k * k % 17) + (float)i;
    const bc_tile_in in = { .key = { i, 0, 0, 0 },
                            .layout = BC_LAYOUT_MAP,
                            .ny = 8,
                            .nx = 8,
                            .cell_ny = 8,
                            .cell_nx = 8,
                            .nt = 1,
                            .nl = 1,
                            .times = &time,
                            .levels = &level,
                            .dtype = BC_F32,
                            .values = v,
                            .t_stride = 256,
                            .l_stride = 256,
                            .y_stride = 32 };
    const bc_codec_opts o = { .mode = BC_MODE_AUTO };
    bc_buf head = bc_buf_empty(1 << 20), payload = bc_buf_empty(1 << 20);
    OK(bc_tile_encode(e, &in, &o, &head, &payload, &err));
    OK(bc_segw_add(w, (bc_bytes){ head.p, head.n }, (bc_bytes){ payload.p, payload.n }, NULL, &err));
    bc_buf_dispose(&head);
    bc_buf_dispose(&payload);
  }
  OK(bc_segw_finish(w, (bc_bytes){ (const uint8_t *)"schema", 6 }, &err));
  for (size_t i = 0; i < 3; i++) {
    bc_tile_key k;
    bc_tile_rec r;
    bc_segw_tile(w, i, &k, &r);
    cr_expect_eq(k.cell, i);
    cr_expect_eq(r.offset % 64, 0);
    cr_expect_eq(r.codec == BC_CODEC_CONST, i == 2);
  }
  bc_segw_close(w);
  bc_encoder_close(e);
  bc_buf b = bc_buf_empty(1 << 24);
  OK(bc_os_read_file(f.path, 1 << 24, &b, &err));
  f.p = malloc(b.n);
  memcpy(f.p, b.p, b.n);
  f.n = b.n;
  bc_buf_dispose(&b);
  return f;
}

static void drop(seg_file *f)
{
  free(f->p);
  bc_os_remove_tree(f->dir);
}

static void rewrite(const seg_file *f, const uint8_t *p, size_t n)
{
  FILE *fp = fopen(f->path, "wb");
  cr_assert_not_null(fp);
  cr_assert_eq(fwrite(p, 1, n, fp), n);
  (void)fclose(fp);
}

static bc_status tile_is_whole(void *ctx, const bc_tile_rec *rec, bc_bytes head, bc_err *err)
{
  int *n = ctx;
  bc_tile_head h;
  BC_RET(bc_tile_head_parse(head, &h, err));
  cr_expect_eq(h.payload_bytes, rec->stored);
  (*n)++;
  return BC_OK;
}

Test(segment, comes_back)
{
  bc_err err = { 0 };
  seg_file f = make_segment();
  bc_segment *s = NULL;
  int n = 0;
  OK(bc_segment_open(f.dir, 7, k_uuid, true, &s, &err));
  cr_expect_eq(bc_segment_count(s), 3);
  cr_expect_eq(bc_segment_schema(s).n, 6);
  OK(bc_segment_each(s, tile_is_whole, &n, &err));
  cr_expect_eq(n, 3);
  OK(bc_segment_check_gaps(s, &err));
  bc_bytes b;
  FAILS(BC_E_CORRUPT, bc_segment_slice(s, f.n, 1, &b, &err));
  FAILS(BC_E_CORRUPT, bc_segment_slice(s, UINT64_MAX, 2, &b, &err));
  bc_segment_unref(s);
  drop(&f);
}

/* What opening and walking say of these bytes. */
static bc_status judge(const seg_file *f, const uint8_t *p, size_t n)
{
  bc_err err = { 0 };
  bc_segment *s = NULL;
  int tiles = 0;
  rewrite(f, p, n);
  bc_status st = bc_segment_open(f->dir, 7, k_uuid, true, &s, &err);
  if (st == BC_OK) st = bc_segment_each(s, tile_is_whole, &tiles, &err);
  if (st == BC_OK) st = bc_segment_check_gaps(s, &err);
  bc_segment_unref(s);
  return st;
}

static void fix_header(uint8_t *p) { bc_put_le64(p + 56, bc_hash64(p, 56)); }
static void fix_footer(uint8_t *p, size_t n) { fix_header(p + n - 64); }
static void fix_directory(uint8_t *p, size_t n)
{
  uint8_t *f = p + n - 64;
  bc_put_le64(f + 40, bc_hash64(p + bc_le64(f + 8), (size_t)bc_le64(f + 16)));
  fix_footer(p, n);
}

Test(segment, each_field_is_checked)
{
  seg_file f = make_segment();
  uint8_t *p = malloc(f.n);
  const size_t ftr = f.n - 64, dir = (size_t)bc_le64(f.p + ftr + 8), entry = dir + 16 + 6;
  struct {
    size_t at;
    uint8_t value;
    int part; /* whose checksum is made right again: 0 none, 1 header, 2 footer, 3 directory, 4 entry */
    bc_status want;
  } cases[] = {
    { 0, 'X', 1, BC_E_CORRUPT },
    { 8, 9, 1, BC_E_VERSION },
    { 12, 1, 1, BC_E_CORRUPT },
    { 16, 1, 1, BC_E_FEATURE },
    { 33, 99, 1, BC_E_CORRUPT },
    { 48, 8, 1, BC_E_CORRUPT },
    { 52, 1, 1, BC_E_CORRUPT },
    { 60, 1, 0, BC_E_CHECKSUM },
    { 24, 1, 0, BC_E_CHECKSUM },
    { ftr, 'X', 2, BC_E_TRUNCATED },
    { ftr + 15, 1, 2, BC_E_CORRUPT },
    { ftr + 23, 1, 2, BC_E_CORRUPT },
    { ftr + 24, 4, 2, BC_E_CORRUPT },
    { ftr + 31, 1, 2, BC_E_CORRUPT },
    { ftr + 32, 1, 2, BC_E_TRUNCATED },
    { ftr + 40, 1, 2, BC_E_CHECKSUM },
    { ftr + 48, 1, 2, BC_E_CORRUPT },
    { ftr + 52, 1, 2, BC_E_CHECKSUM },
    { ftr + 60, 1, 0, BC_E_CHECKSUM },
    { dir + 3, 0x40, 3, BC_E_CORRUPT },
    { dir + 4, 1, 3, BC_E_CORRUPT },
    { dir + 8, 9, 3, BC_E_CORRUPT },
    { dir + 0, 5, 3, BC_E_CHECKSUM },
    { entry + 0, 1, 4, BC_E_CORRUPT },
    { entry + 35, 0x7f, 4, BC_E_CORRUPT },
    { entry + 36, 1, 4, BC_E_CORRUPT },
    { entry + 41, 1, 3, BC_E_CHECKSUM },
    { entry + 50, 0xff, 3, 0 },
  };
  for (size_t i = 0; i < BC_ARRAY_LEN(cases); i++) {
    memcpy(p, f.p, f.n);
    cr_assert_neq(p[cases[i].at], cases[i].value, "case %zu changes nothing", i);
    p[cases[i].at] = cases[i].value;
    if (cases[i].part == 1) fix_header(p);
    if (cases[i].part == 2) fix_footer(p, f.n);
    if (cases[i].part == 4) bc_put_le64(p + entry + 40, bc_hash64(p + entry, 40));
    if (cases[i].part >= 3) fix_directory(p, f.n);
    const bc_status got = judge(&f, p, f.n);
    if (cases[i].want == BC_OK)
      cr_expect_neq(got, BC_OK, "case %zu", i);
    else
      cr_expect_eq(got, cases[i].want, "case %zu, byte %zu: %s", i, cases[i].at, bc_status_name(got));
  }
  free(p);
  drop(&f);
}

Test(segment, every_truncation_is_found)
{
  seg_file f = make_segment();
  for (size_t n = 0; n < f.n; n++)
    cr_expect_neq(judge(&f, f.p, n), BC_OK, "%zu of %zu bytes", n, f.n);
  cr_expect_eq(judge(&f, f.p, f.n), BC_OK);
  drop(&f);
}

Test(segment, bytes_between_payloads_are_zero)
{
  seg_file f = make_segment();
  size_t changed = 0;
  const size_t dir = (size_t)bc_le64(f.p + f.n - 64 + 8);
  for (size_t at = 64; at < dir; at++) {
    if (f.p[at] != 0 || f.p[at - 1] != 0) continue;
    f.p[at] = 1;
    if (judge(&f, f.p, f.n) != BC_OK) changed++;
    f.p[at] = 0;
  }
  cr_expect_gt(changed, 10);
  drop(&f);
}

Test(segment, names)
{
  char name[BC_SEGMENT_NAME];
  uint32_t id = 0;
  bc_segment_name(UINT32_MAX, name);
  cr_expect(bc_segment_id(name, &id) && id == UINT32_MAX);
  const char *bad[] = { "0000000000.seg",         "4294967296.seg", "1.seg",
                        "0000000001.seg.tmp-1-2", "000000000a.seg", "" };
  for (size_t i = 0; i < BC_ARRAY_LEN(bad); i++)
    cr_expect_not(bc_segment_id(bad[i], &id), "%s", bad[i]);
}
