/*
 * Status names, error records, allocation, growing buffers, cursors and small text helpers.
 */
#include "store/base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/os.h"

/* ---- errors ---- */

const char *bc_status_name(bc_status code)
{
  switch (code) {
  case BC_OK: return "BC_OK";
  case BC_E_INVAL: return "BC_E_INVAL";
  case BC_E_RANGE: return "BC_E_RANGE";
  case BC_E_NOTFOUND: return "BC_E_NOTFOUND";
  case BC_E_EXISTS: return "BC_E_EXISTS";
  case BC_E_READONLY: return "BC_E_READONLY";
  case BC_E_UNSUPPORTED: return "BC_E_UNSUPPORTED";
  case BC_E_CANCELLED: return "BC_E_CANCELLED";
  case BC_E_CONFLICT: return "BC_E_CONFLICT";
  case BC_E_BUDGET: return "BC_E_BUDGET";
  case BC_E_CORRUPT: return "BC_E_CORRUPT";
  case BC_E_CHECKSUM: return "BC_E_CHECKSUM";
  case BC_E_TRUNCATED: return "BC_E_TRUNCATED";
  case BC_E_VERSION: return "BC_E_VERSION";
  case BC_E_FEATURE: return "BC_E_FEATURE";
  case BC_E_IO: return "BC_E_IO";
  case BC_E_NOMEM: return "BC_E_NOMEM";
  case BC_E_FULL: return "BC_E_FULL";
  case BC_E_BUSY: return "BC_E_BUSY";
  case BC_E_NET: return "BC_E_NET";
  case BC_E_INTERNAL: return "BC_E_INTERNAL";
  }
  return "BC_E_UNKNOWN";
}

/* Bytes of the UTF-8 character at s, of which n are there; 0 when it is malformed or cut off. */
static size_t utf8_len(const unsigned char *s, size_t n)
{
  const size_t want = s[0] < 0x80   ? 1
                      : s[0] < 0xC2 ? 0
                      : s[0] < 0xE0 ? 2
                      : s[0] < 0xF0 ? 3
                      : s[0] < 0xF5 ? 4
                                    : 0;

  if (want == 0 || want > n) return 0;
  for (size_t i = 1; i < want; i++) {
    if ((s[i] & 0xC0) != 0x80) return 0;
  }
  if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F)) return 0; /* overlong, surrogate */
  if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)) return 0; /* overlong, past the end */
  return want;
}

/* The longest prefix of n bytes that does not end inside a character. */
static size_t utf8_border(const char *s, size_t n)
{
  size_t start = n;

  while (start > 0 && n - start < 4 && ((unsigned char)s[start - 1] & 0xC0) == 0x80) {
    start--;
  }
  if (start == 0 || (unsigned char)s[start - 1] < 0xC0) return n; /* no head byte: not UTF-8, keep as it is */
  start--;
  return utf8_len((const unsigned char *)s + start, n - start) != 0 ? n : start;
}

/* Messages quote file contents: they must come out as one line of valid UTF-8 whatever those hold. */
static void clean_line(char *s, size_t n)
{
  unsigned char *const u = (unsigned char *)s;

  for (size_t i = 0; i < n;) {
    const size_t k = utf8_len(u + i, n - i);
    if (k == 0) {
      u[i] = '?';
    } else if (k == 1 && (u[i] < 0x20 || u[i] == 0x7F)) {
      u[i] = ' ';
    } else if (k == 2 && u[i] == 0xC2 && u[i + 1] < 0xA0) { /* C1 controls */
      u[i] = u[i + 1] = ' ';
    }
    i += k == 0 ? 1 : k;
  }
}

bc_status bc_err_set(bc_err *err, bc_status code, const char *domain, int sys, const char *file, int line,
                     const char *fmt, ...)
{
  char text[sizeof err->msg]; /* apart from err->msg, which may be among the arguments */
  const int saved = errno;
  va_list ap;
  int len = 0;
  size_t n = 0;

  if (err == NULL) return code;
  va_start(ap, fmt);
  len = vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (len > 0) n = (size_t)len < sizeof text ? (size_t)len : utf8_border(text, sizeof text - 1);
  clean_line(text, n);
  err->code = code;
  err->sys = sys;
  err->domain = domain;
  err->file = file;
  err->line = line;
  memcpy(err->msg, text, n);
  err->msg[n] = '\0';
  errno = saved;
  return code;
}

/* ---- allocation ---- */

static bool (*alloc_hook)(void *ctx);
static void *alloc_ctx;

void bc_alloc_set_hook(bool (*fail)(void *ctx), void *ctx)
{
  alloc_hook = fail;
  alloc_ctx = ctx;
}

static bool alloc_refused(void)
{
  return (alloc_hook != NULL && alloc_hook(alloc_ctx)) || bc_os_fault(BC_FAULT_ALLOC) != 0;
}

/* A request for nothing gives a pointer all the same, so that NULL means one thing only. */
void *bc_malloc(size_t n) { return alloc_refused() ? NULL : malloc(n != 0 ? n : 1); }

void *bc_calloc(size_t n, size_t size)
{
  if (alloc_refused()) return NULL;
  return n != 0 && size != 0 ? calloc(n, size) : calloc(1, 1);
}

void *bc_realloc(void *p, size_t n) { return alloc_refused() ? NULL : realloc(p, n != 0 ? n : 1); }

void bc_free(void *p) { free(p); }

void *bc_aligned_alloc64(size_t n)
{
  void *p = NULL;

  if (alloc_refused()) return NULL;
  return posix_memalign(&p, 64, n != 0 ? n : 1) == 0 ? p : NULL;
}

char *bc_strdup(const char *s)
{
  const size_t n = strlen(s) + 1;
  char *const copy = bc_malloc(n);

  if (copy != NULL) memcpy(copy, s, n);
  return copy;
}

static char *format_new(const char *fmt, va_list ap, size_t *n) BC_PRINTF(1, 0);

static char *format_new(const char *fmt, va_list ap, size_t *n)
{
  va_list again;
  char *text = NULL;
  int len = 0;

  va_copy(again, ap);
  len = vsnprintf(NULL, 0, fmt, ap);
  if (len >= 0) text = bc_malloc((size_t)len + 1);
  if (text != NULL) {
    (void)vsnprintf(text, (size_t)len + 1, fmt, again);
    *n = (size_t)len;
  }
  va_end(again);
  return text;
}

char *bc_asprintf(const char *fmt, ...)
{
  va_list ap;
  char *text = NULL;
  size_t n = 0;

  va_start(ap, fmt);
  text = format_new(fmt, ap, &n);
  va_end(ap);
  return text;
}

bool bc_shape_bytes(const int64_t *shape, int ndim, size_t elem, size_t *out)
{
  size_t total = elem;

  *out = 0;
  for (int d = 0; d < ndim; d++) {
    size_t extent = 0;
    if (shape[d] < 0 || !bc_u64_to_sz((uint64_t)shape[d], &extent)) return false;
    if (!bc_mul_sz(total, extent, &total)) return false;
  }
  *out = total;
  return true;
}

double bc_le_f64(const uint8_t *p)
{
  const uint64_t bits = bc_le64(p);
  double v = 0;

  memcpy(&v, &bits, sizeof v);
  return v;
}

void bc_put_le_f64(uint8_t *p, double v)
{
  uint64_t bits = 0;

  memcpy(&bits, &v, sizeof bits);
  bc_put_le64(p, bits);
}

/* ---- buffers ---- */

bc_status bc_buf_reserve(bc_buf *b, size_t extra, bc_err *err)
{
  size_t need = 0, cap = 0;
  uint8_t *p = NULL;

  if (!bc_add_sz(b->n, extra, &need) || need > b->max)
    return BC_FAIL(err, BC_E_RANGE, "a buffer of %zu bytes cannot take %zu more: its limit is %zu bytes",
                   b->n, extra, b->max);
  if (need <= b->cap && b->p != NULL) return BC_OK;
  if (!bc_add_sz(b->cap, b->cap / 2, &cap)) cap = need;
  cap = BC_MIN(BC_MAX(BC_MAX(cap, need), 64), b->max);
  p = bc_realloc(b->p, cap);
  if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "out of memory: a buffer needs %zu bytes", cap);
  b->p = p;
  b->cap = cap;
  return BC_OK;
}

bc_status bc_buf_put(bc_buf *b, const void *p, size_t n, bc_err *err)
{
  if (n == 0) return BC_OK;
  BC_RET(bc_buf_reserve(b, n, err));
  memcpy(b->p + b->n, p, n);
  b->n += n;
  return BC_OK;
}

bc_status bc_buf_printf(bc_buf *b, bc_err *err, const char *fmt, ...)
{
  bc_status st = BC_OK;
  char small[256];
  char *text = NULL;
  size_t n = 0;
  va_list ap;
  int len = 0;

  va_start(ap, fmt);
  len = vsnprintf(small, sizeof small, fmt, ap);
  va_end(ap);
  if (len < 0) return BC_FAIL(err, BC_E_INTERNAL, "the text format \"%s\" is refused by the C library", fmt);
  if ((size_t)len < sizeof small) return bc_buf_put(b, small, (size_t)len, err);
  va_start(ap, fmt);
  text = format_new(fmt, ap, &n);
  va_end(ap);
  if (text == NULL) return BC_FAIL(err, BC_E_NOMEM, "out of memory: a text needs %d bytes", len);
  st = bc_buf_put(b, text, n, err);
  bc_free(text);
  return st;
}

void bc_buf_dispose(bc_buf *b)
{
  if (b == NULL) return;
  bc_free(b->p);
  *b = bc_buf_empty(b->max);
}

bc_status bc_buf_u8(bc_buf *b, uint8_t v, bc_err *err) { return bc_buf_put(b, &v, 1, err); }

bc_status bc_buf_u16(bc_buf *b, uint16_t v, bc_err *err)
{
  uint8_t raw[2];

  bc_put_le16(raw, v);
  return bc_buf_put(b, raw, sizeof raw, err);
}

bc_status bc_buf_u32(bc_buf *b, uint32_t v, bc_err *err)
{
  uint8_t raw[4];

  bc_put_le32(raw, v);
  return bc_buf_put(b, raw, sizeof raw, err);
}

bc_status bc_buf_u64(bc_buf *b, uint64_t v, bc_err *err)
{
  uint8_t raw[8];

  bc_put_le64(raw, v);
  return bc_buf_put(b, raw, sizeof raw, err);
}

bc_status bc_buf_f64(bc_buf *b, double v, bc_err *err)
{
  uint8_t raw[8];

  bc_put_le_f64(raw, v);
  return bc_buf_put(b, raw, sizeof raw, err);
}

bc_status bc_buf_text(bc_buf *b, const char *s, bc_err *err)
{
  const size_t n = strlen(s);

  if (n > UINT16_MAX)
    return BC_FAIL(err, BC_E_RANGE, "a text of %zu bytes (\"%.32s...\") is longer than 65535 bytes", n, s);
  BC_RET(bc_buf_reserve(b, n + 2, err)); /* both or nothing */
  BC_RET(bc_buf_u16(b, (uint16_t)n, err));
  return bc_buf_put(b, s, n, err);
}

/* ---- cursors ---- */

const uint8_t *bc_cur_take(bc_cursor *c, size_t n)
{
  const uint8_t *p = NULL;

  if (!c->ok || !bc_in_bounds(c->at, n, c->b.n)) {
    c->ok = false;
    return NULL;
  }
  p = c->b.p != NULL ? c->b.p + c->at : (const uint8_t *)""; /* nothing of an empty slice is not a failure */
  c->at += n;
  return p;
}

uint8_t bc_cur_u8(bc_cursor *c)
{
  const uint8_t *const p = bc_cur_take(c, 1);

  return p != NULL ? *p : 0;
}

uint16_t bc_cur_u16(bc_cursor *c)
{
  const uint8_t *const p = bc_cur_take(c, 2);

  return p != NULL ? bc_le16(p) : 0;
}

uint32_t bc_cur_u32(bc_cursor *c)
{
  const uint8_t *const p = bc_cur_take(c, 4);

  return p != NULL ? bc_le32(p) : 0;
}

uint64_t bc_cur_u64(bc_cursor *c)
{
  const uint8_t *const p = bc_cur_take(c, 8);

  return p != NULL ? bc_le64(p) : 0;
}

double bc_cur_f64(bc_cursor *c)
{
  const uint8_t *const p = bc_cur_take(c, 8);

  return p != NULL ? bc_le_f64(p) : 0;
}

void bc_cur_text(bc_cursor *c, char *dst, size_t cap)
{
  const size_t n = bc_cur_u16(c);
  const uint8_t *const p = bc_cur_take(c, n);

  if (cap > 0) dst[0] = '\0';
  if (p == NULL) return;
  if (n >= cap || memchr(p, 0, n) != NULL) {
    c->ok = false;
    return;
  }
  memcpy(dst, p, n);
  dst[n] = '\0';
}

/* ---- text ---- */

bool bc_copy_text(char *dst, size_t cap, const char *src)
{
  const size_t n = strlen(src);
  size_t keep = n;

  if (cap == 0) return false;
  if (n >= cap) keep = utf8_border(src, cap - 1);
  memcpy(dst, src, keep);
  dst[keep] = '\0';
  return keep == n;
}

/* One [..] at p against c. *next is behind the bracket; NULL when the bracket is never closed. */
static bool match_class(const char *p, unsigned char c, const char **next)
{
  const bool negated = p[1] == '!' || p[1] == '^';
  bool hit = false;

  *next = NULL;
  p += negated ? 2 : 1;
  for (bool first = true; *p != '\0' && (first || *p != ']'); first = false) {
    const unsigned char lo = (unsigned char)p[0];
    if (p[1] == '-' && p[2] != '\0' && p[2] != ']') {
      hit = hit || (c >= lo && c <= (unsigned char)p[2]);
      p += 3;
    } else {
      hit = hit || c == lo;
      p++;
    }
  }
  if (*p == ']') *next = p + 1;
  return hit != negated;
}

/* One pattern element against the character at t; false, or both pointers moved on. */
static bool match_one(const char **pattern, const char **text)
{
  const char *const p = *pattern, *t = *text, *after = NULL;
  bool hit = false;

  if (*t == '\0' || *p == '\0') return false;
  if (*p == '[') hit = match_class(p, (unsigned char)*t, &after);
  if (after == NULL) { /* not a class, or a bracket that stands for itself */
    hit = *p == '?' || *p == *t;
    after = p + 1;
  }
  if (!hit) return false;
  t++;
  while (*p == '?' && ((unsigned char)*t & 0xC0) == 0x80) { /* ? stands for a whole UTF-8 character */
    t++;
  }
  *pattern = after;
  *text = t;
  return true;
}

bool bc_glob_match(const char *pattern, const char *text)
{
  const char *star = NULL, *retry = NULL;

  /* Only the last * ever needs another try, hence no recursion and no exponential patterns. */
  while (*text != '\0' || *pattern != '\0') {
    if (*pattern == '*') {
      star = ++pattern;
      retry = text;
    } else if (!match_one(&pattern, &text)) {
      if (star == NULL || *retry == '\0') return false;
      pattern = star;
      text = ++retry;
    }
  }
  return true;
}

int bc_edit_distance(const char *a, const char *b)
{
  enum { LONGEST = 128, CAP = 99 };
  const size_t na = strlen(a), nb = strlen(b);
  int row[LONGEST + 1];

  if (na > LONGEST || nb > LONGEST) return strcmp(a, b) == 0 ? 0 : CAP;
  for (size_t j = 0; j <= nb; j++) {
    row[j] = (int)j;
  }
  for (size_t i = 0; i < na; i++) {
    int diagonal = row[0];
    row[0] = (int)i + 1;
    for (size_t j = 0; j < nb; j++) {
      const int change = diagonal + (a[i] != b[j]);
      const int gap = BC_MIN(row[j], row[j + 1]) + 1;
      diagonal = row[j + 1];
      row[j + 1] = BC_MIN(change, gap);
    }
  }
  return BC_MIN(row[nb], CAP);
}
