#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "store/base.h"
#include "store/os.h"

static bool refuse_all(void *ctx)
{
  (void)ctx;
  return true;
}

static int fault_alloc(void *ctx, bc_fault_op op)
{
  (void)ctx;
  return op == BC_FAULT_ALLOC ? ENOMEM : 0;
}

Test(err, names_every_code)
{
  static const bc_status k[] = { BC_OK,         BC_E_INVAL,       BC_E_RANGE,     BC_E_NOTFOUND, BC_E_EXISTS,
                                 BC_E_READONLY, BC_E_UNSUPPORTED, BC_E_CANCELLED, BC_E_CONFLICT, BC_E_BUDGET,
                                 BC_E_CORRUPT,  BC_E_CHECKSUM,    BC_E_TRUNCATED, BC_E_VERSION,  BC_E_FEATURE,
                                 BC_E_IO,       BC_E_NOMEM,       BC_E_FULL,      BC_E_BUSY,     BC_E_NET,
                                 BC_E_INTERNAL };

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    cr_assert_str_neq(bc_status_name(k[i]), "BC_E_UNKNOWN");
    for (size_t j = 0; j < i; j++) {
      cr_assert_str_neq(bc_status_name(k[i]), bc_status_name(k[j]));
    }
  }
  cr_assert_str_eq(bc_status_name((bc_status)-77), "BC_E_UNKNOWN");
}

Test(err, fills_the_record)
{
  bc_err err;

  errno = ENOENT;
  cr_assert_eq(BC_FAIL_SYS(&err, BC_E_IO, "lmdb", -30798, "tile %d of %s", 7, "t2m"), BC_E_IO);
  cr_assert_eq(errno, ENOENT);
  cr_assert_eq(err.code, BC_E_IO);
  cr_assert_eq(err.sys, -30798);
  cr_assert_str_eq(err.domain, "lmdb");
  cr_assert(strstr(err.file, "test_base.c") != NULL);
  cr_assert_gt(err.line, 0);
  cr_assert_str_eq(err.msg, "tile 7 of t2m");
  cr_assert_eq(BC_FAIL(NULL, BC_E_RANGE, "nobody listens %d", 1), BC_E_RANGE);
}

Test(err, message_may_quote_itself)
{
  bc_err err;

  (void)BC_FAIL(&err, BC_E_IO, "inner");
  (void)BC_FAIL(&err, BC_E_IO, "outer: %s", err.msg);
  cr_assert_str_eq(err.msg, "outer: inner");
}

Test(err, is_one_line_of_valid_utf8)
{
  bc_err err;

  (void)BC_FAIL(&err, BC_E_INVAL, "%s", "a\nb\tc\rd\033e\177f");
  cr_assert_str_eq(err.msg, "a b c d e f");
  (void)BC_FAIL(&err, BC_E_INVAL, "%s", "Lynx \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x90\x88");
  cr_assert_str_eq(err.msg, "Lynx \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x90\x88");
  /* lone byte, overlong, surrogate, beyond U+10FFFF, C1 control, cut at the end */
  (void)BC_FAIL(&err, BC_E_INVAL, "%s",
                "\xE9|\xC0\xAF|\xE0\x80\xAF|\xED\xA0\x80|\xF4\x90\x80\x80|\xC2\x85|\xE2\x82");
  cr_assert_str_eq(err.msg, "?|\?\?|\?\?\?|\?\?\?|\?\?\?\?|  |\?\?");
}

Test(err, is_cut_at_a_character)
{
  bc_err err;
  char text[600];

  for (size_t shift = 0; shift < 3; shift++) {
    memset(text, 'x', sizeof text);
    for (size_t i = shift; i + 3 < sizeof text; i += 3) {
      memcpy(text + i, "\xE2\x82\xAC", 3);
    }
    text[sizeof text - 1] = '\0';
    (void)BC_FAIL(&err, BC_E_INVAL, "%s", text);
    cr_assert_eq(strlen(err.msg), (sizeof err.msg - 1 - shift) / 3 * 3 + shift, "shift %zu: %zu", shift,
                 strlen(err.msg));
    cr_assert_eq(strchr(err.msg, '?'), NULL);
    cr_assert_eq(memcmp(err.msg, text, strlen(err.msg)), 0);
  }
}

Test(alloc, of_nothing_is_something)
{
  void *a = bc_malloc(0), *b = bc_calloc(0, 8), *c = bc_realloc(NULL, 0), *d = bc_aligned_alloc64(0);

  cr_assert(a != NULL && b != NULL && c != NULL && d != NULL);
  bc_free(a);
  bc_free(b);
  bc_free(c);
  bc_free(d);
  bc_free(NULL);
}

Test(alloc, is_aligned_zeroed_and_checked)
{
  uint8_t *const p = bc_aligned_alloc64(1000), *const z = bc_calloc(10, 100);

  cr_assert_eq((uintptr_t)p % 64, 0);
  for (size_t i = 0; i < 1000; i++) {
    cr_assert_eq(z[i], 0);
  }
  bc_free(p);
  bc_free(z);
}

Test(alloc, hooks_make_it_fail)
{
  char *const keep = bc_strdup("keep");
  bc_buf b = bc_buf_empty(100);
  bc_err err;

  bc_alloc_set_hook(refuse_all, NULL);
  cr_assert_eq(bc_malloc(1), NULL);
  cr_assert_eq(bc_calloc(1, 1), NULL);
  cr_assert_eq(bc_aligned_alloc64(1), NULL);
  cr_assert_eq(bc_realloc(keep, 100), NULL);
  cr_assert_eq(bc_strdup("x"), NULL);
  cr_assert_eq(bc_asprintf("%d", 1), NULL);
  cr_assert_eq(bc_buf_put(&b, "x", 1, &err), BC_E_NOMEM);
  bc_alloc_set_hook(NULL, NULL);
  bc_os_set_fault(fault_alloc, NULL);
  cr_assert_eq(bc_malloc(1), NULL);
  bc_os_set_fault(NULL, NULL);
  cr_assert_str_eq(keep, "keep");
  bc_free(keep);
}

Test(alloc, asprintf_of_any_length)
{
  char *const s = bc_asprintf("%0*d", 5000, 7);

  cr_assert_eq(strlen(s), 5000);
  cr_assert_eq(s[4999], '7');
  bc_free(s);
}

Test(shape, product_is_checked)
{
  size_t n = 1;
  const int64_t ok[] = { 24, 721, 1440 }, none[] = { 5, 0, 7 }, bad[] = { 4, -1 },
                huge[] = { INT64_C(1) << 32, INT64_C(1) << 31, 8 };

  cr_assert(bc_shape_bytes(ok, 3, 4, &n) && n == 24u * 721 * 1440 * 4);
  cr_assert(bc_shape_bytes(ok, 0, 4, &n) && n == 4);
  cr_assert(bc_shape_bytes(none, 3, 4, &n) && n == 0);
  cr_assert_not(bc_shape_bytes(bad, 2, 4, &n));
  cr_assert_not(bc_shape_bytes(huge, 3, 4, &n));
}

Test(bytes, orders_and_bounds)
{
  uint8_t raw[9] = { 0 };
  const bc_bytes b = { raw, sizeof raw };
  bc_bytes sub;

  bc_put_le64(raw + 1, UINT64_C(0x0123456789ABCDEF));
  cr_assert_eq(raw[1], 0xEF);
  cr_assert_eq(bc_le64(raw + 1), UINT64_C(0x0123456789ABCDEF));
  bc_put_be64(raw + 1, UINT64_C(0x0123456789ABCDEF));
  cr_assert_eq(raw[1], 0x01);
  cr_assert_eq(bc_be64(raw + 1), UINT64_C(0x0123456789ABCDEF));
  bc_put_le_f64(raw + 1, -0.1);
  cr_assert_eq(bc_le_f64(raw + 1), -0.1);
  cr_assert(bc_bytes_sub(b, 9, 0, &sub));
  cr_assert_not(bc_bytes_sub(b, 9, 1, &sub));
  cr_assert_not(bc_bytes_sub(b, UINT64_MAX, 2, &sub));
  cr_assert_not(bc_bytes_sub(b, 2, UINT64_MAX, &sub));
}

Test(buf, grows_up_to_its_maximum)
{
  bc_buf b = bc_buf_empty(1000);
  bc_err err;

  for (int i = 0; i < 1000; i++) {
    cr_assert_eq(bc_buf_u8(&b, (uint8_t)i, &err), BC_OK);
  }
  cr_assert_eq(bc_buf_put(&b, "", 0, &err), BC_OK);
  cr_assert_eq(bc_buf_u8(&b, 0, &err), BC_E_RANGE);
  cr_assert(strstr(err.msg, "1000") != NULL);
  cr_assert_eq(bc_buf_reserve(&b, SIZE_MAX, &err), BC_E_RANGE);
  for (int i = 0; i < 1000; i++) {
    cr_assert_eq(b.p[i], (uint8_t)i);
  }
  bc_buf_dispose(&b);
  cr_assert(b.p == NULL && b.n == 0 && b.cap == 0 && b.max == 1000);
  bc_buf_dispose(&b);
}

Test(buf, printf_short_long_and_exactly_full)
{
  bc_buf b = bc_buf_empty(308);
  bc_err err;

  cr_assert_eq(bc_buf_printf(&b, &err, "%s=%d;", "a", 12345), BC_OK);
  cr_assert_eq(bc_buf_printf(&b, &err, "%0*d", 300, 5), BC_OK);
  cr_assert_eq(b.n, 308);
  cr_assert_eq(memcmp(b.p, "a=12345;000", 11), 0);
  cr_assert_eq(b.p[307], '5');
  cr_assert_eq(bc_buf_printf(&b, &err, "%s", ""), BC_OK);
  cr_assert_eq(bc_buf_printf(&b, &err, "x"), BC_E_RANGE);
  cr_assert_eq(b.n, 308);
  bc_buf_dispose(&b);
}

Test(cursor, reads_what_was_written)
{
  bc_buf b = bc_buf_empty(1000);
  bc_err err;
  bc_cursor c;
  char text[8];

  cr_assert_eq(bc_buf_u8(&b, 200, &err), BC_OK);
  cr_assert_eq(bc_buf_u16(&b, 0xBEEF, &err), BC_OK);
  cr_assert_eq(bc_buf_u32(&b, 0xDEADBEEFu, &err), BC_OK);
  cr_assert_eq(bc_buf_u64(&b, UINT64_MAX - 1, &err), BC_OK);
  cr_assert_eq(bc_buf_f64(&b, 51.3, &err), BC_OK);
  cr_assert_eq(bc_buf_text(&b, "sd\xC3\xA9", &err), BC_OK);
  c = (bc_cursor){ { b.p, b.n }, 0, true };
  cr_assert_eq(bc_cur_u8(&c), 200);
  cr_assert_eq(bc_cur_u16(&c), 0xBEEF);
  cr_assert_eq(bc_cur_u32(&c), 0xDEADBEEFu);
  cr_assert_eq(bc_cur_u64(&c), UINT64_MAX - 1);
  cr_assert_eq(bc_cur_f64(&c), 51.3);
  bc_cur_text(&c, text, sizeof text);
  cr_assert_str_eq(text, "sd\xC3\xA9");
  cr_assert(c.ok && c.at == b.n);
  cr_assert_eq(bc_cur_u8(&c), 0);
  cr_assert_not(c.ok);
  c.at = 0; /* once bad, always bad */
  cr_assert_eq(bc_cur_u16(&c), 0);
  bc_buf_dispose(&b);
}

Test(cursor, runs_out_at_every_length)
{
  const uint8_t raw[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

  for (size_t n = 0; n < 8; n++) {
    bc_cursor c = { { raw, n }, 0, true };
    cr_assert_eq(bc_cur_u64(&c), 0);
    cr_assert_not(c.ok);
    c = (bc_cursor){ { raw, n }, 0, true };
    cr_assert_eq(bc_cur_take(&c, SIZE_MAX), NULL);
  }
}

Test(cursor, text_must_fit_and_hold_no_nul)
{
  static const uint8_t k_long[] = { 4, 0, 'a', 'b', 'c', 'd' }, k_nul[] = { 3, 0, 'a', 0, 'c' },
                       k_short[] = { 9, 0, 'a' };
  const bc_bytes cases[] = { { k_long, sizeof k_long },
                             { k_nul, sizeof k_nul },
                             { k_short, sizeof k_short } };
  char text[5];
  bc_cursor fits = { { k_long, sizeof k_long }, 0, true };

  for (size_t i = 0; i < BC_ARRAY_LEN(cases); i++) {
    bc_cursor c = { cases[i], 0, true };
    memset(text, 'z', sizeof text);
    bc_cur_text(&c, text, 4);
    cr_assert_not(c.ok, "case %zu", i);
    cr_assert_eq(text[0], '\0');
  }
  bc_cur_text(&fits, text, 5);
  cr_assert(fits.ok);
  cr_assert_str_eq(text, "abcd");
}

Test(buf, text_over_64k_is_refused_whole)
{
  bc_buf b = bc_buf_empty(SIZE_MAX);
  bc_err err;
  char *const s = bc_asprintf("%0*d", 65536, 1);

  cr_assert_eq(bc_buf_text(&b, s, &err), BC_E_RANGE);
  cr_assert_eq(b.n, 0);
  cr_assert_eq(bc_buf_text(&b, s + 1, &err), BC_OK);
  bc_free(s);
  bc_buf_dispose(&b);
}

Test(text, copy_says_when_it_cuts)
{
  char dst[6];

  cr_assert(bc_copy_text(dst, sizeof dst, "12345"));
  cr_assert_not(bc_copy_text(dst, sizeof dst, "123456"));
  cr_assert_str_eq(dst, "12345");
  cr_assert_not(bc_copy_text(dst, sizeof dst, "1234\xC3\xA9"));
  cr_assert_str_eq(dst, "1234");
  cr_assert_not(bc_copy_text(dst, 0, "x"));
}

typedef struct glob_case {
  const char *pattern, *text;
  bool hit;
} glob_case;

Test(text, globs)
{
  static const glob_case k[] = {
    { "", "", true },
    { "", "a", false },
    { "*", "", true },
    { "t2m", "t2m", true },
    { "t2m", "t2", false },
    { "t?m", "t2m", true },
    { "t?m", "tm", false },
    { "*m", "t2m", true },
    { "s*l*", "swvl1", true },
    { "s*l*x", "swvl1", false },
    { "swvl[1-3]", "swvl2", true },
    { "swvl[1-3]", "swvl4", false },
    { "swvl[!1-3]", "swvl4", true },
    { "swvl[^1-3]", "swvl2", false },
    { "[]a]", "]", true },
    { "[a-]", "-", true },
    { "[a", "[a", true },
    { "*/t*", "surface/t2m", true },
    { "**a**", "bab", true },
    { "?", "\xC3\xA9", true },
    { "?", "", false },
    { "[abc]", "", false },
    { "*[0-9]", "q10", true },
    { "a*b*c", "abbbc", true },
    { "*ab", "aab", true },
    { "a", "A", false },
  };

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    cr_expect_eq(bc_glob_match(k[i].pattern, k[i].text), k[i].hit, "%s on %s", k[i].pattern, k[i].text);
  }
}

Test(text, hostile_glob_ends, .timeout = 5)
{
  char pattern[201], text[2001];

  for (size_t i = 0; i < 200; i += 2) {
    memcpy(pattern + i, "*a", 2);
  }
  pattern[200] = '\0';
  memset(text, 'a', 2000);
  text[2000] = '\0';
  pattern[199] = 'b';
  cr_assert_not(bc_glob_match(pattern, text));
}

Test(text, edit_distances)
{
  char longer[200];

  memset(longer, 'a', sizeof longer);
  longer[199] = '\0';
  cr_assert_eq(bc_edit_distance("", ""), 0);
  cr_assert_eq(bc_edit_distance("kitten", "sitting"), 3);
  cr_assert_eq(bc_edit_distance("sitting", "kitten"), 3);
  cr_assert_eq(bc_edit_distance("t2", "t2m"), 1);
  cr_assert_eq(bc_edit_distance("", "abc"), 3);
  cr_assert_eq(bc_edit_distance("x", longer), 99);
  cr_assert_eq(bc_edit_distance(longer, longer), 0);
  longer[120] = '\0';
  cr_assert_eq(bc_edit_distance("", longer), 99);
}
