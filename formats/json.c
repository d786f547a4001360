/* Own code instead of a library's writer: that would print 0.1 as 0.10000000000000001 and cannot stream. */
#include "formats/json.h"

#include <math.h>
#include <string.h>

#include "formats/sink_int.h"
#include "store/datetime.h"

enum { MAX_DEPTH = 32 };
#define MAX_TEXT ((size_t)1 << 31)

struct bc_json {
  bool pretty;
  bc_status st;
  bc_err err;
  bc_buf text;
  int depth;
  bool object[MAX_DEPTH]; /* is the level an object; else an array */
  bool filled[MAX_DEPTH]; /* has it a value */
  bool done;              /* the outermost value has begun */
};

/* Length of the valid UTF-8 sequence at s, 0 when there is none. */
static size_t utf8_length(const uint8_t *s)
{
  if (s[0] < 0x80) return 1;
  const size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
  if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
  for (size_t i = 1; i < n; i++) {
    if ((s[i] & 0xc0) != 0x80) return 0;
  }
  if (s[0] == 0xe0 && s[1] < 0xa0) return 0; /* overlong */
  if (s[0] == 0xed && s[1] > 0x9f) return 0; /* surrogates */
  if (s[0] == 0xf0 && s[1] < 0x90) return 0; /* overlong */
  if (s[0] == 0xf4 && s[1] > 0x8f) return 0; /* beyond U+10FFFF */
  return n;
}

static bc_status put_escaped(bc_buf *b, uint8_t c, bc_err *err)
{
  switch (c) {
  case '"': return bc_buf_put(b, "\\\"", 2, err);
  case '\\': return bc_buf_put(b, "\\\\", 2, err);
  case '\n': return bc_buf_put(b, "\\n", 2, err);
  case '\t': return bc_buf_put(b, "\\t", 2, err);
  case '\r': return bc_buf_put(b, "\\r", 2, err);
  default: break;
  }
  return c < 0x20 || c == 0x7f ? bc_buf_printf(b, err, "\\u%04x", c) : bc_buf_put(b, &c, 1, err);
}

bc_status bc_json_quote(bc_buf *b, const char *s, bc_err *err)
{
  const uint8_t *p = (const uint8_t *)s;

  BC_RET(bc_buf_put(b, "\"", 1, err));
  while (*p != 0) {
    const size_t n = utf8_length(p);
    if (n > 1)
      BC_RET(bc_buf_put(b, p, n, err));
    else if (n == 1)
      BC_RET(put_escaped(b, *p, err));
    else
      BC_RET(bc_buf_put(b, "\xef\xbf\xbd", 3, err));
    p += n > 0 ? n : 1;
  }
  return bc_buf_put(b, "\"", 1, err);
}

bc_status bc_json_open(bool pretty, bc_json **out, bc_err *err)
{
  bc_json *j = bc_calloc(1, sizeof *j);

  *out = j;
  if (j == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for JSON text");
  j->pretty = pretty;
  j->text = bc_buf_empty(MAX_TEXT);
  return BC_OK;
}

void bc_json_close(bc_json *j)
{
  if (j == NULL) return;
  bc_buf_dispose(&j->text);
  bc_free(j);
}

static void put(bc_json *j, const char *s)
{
  if (j->st == BC_OK) j->st = bc_buf_put(&j->text, s, strlen(s), &j->err);
}

static void new_line(bc_json *j)
{
  if (!j->pretty) return;
  put(j, "\n");
  for (int i = 0; i < j->depth; i++)
    put(j, "  ");
}

static void misuse(bc_json *j, const char *what)
{
  if (j->st == BC_OK) j->st = BC_FAIL(&j->err, BC_E_INTERNAL, "JSON: %s", what);
}

/* What stands before every value: comma, line feed, key. */
static void lead_in(bc_json *j, const char *key)
{
  if (j->depth == 0) {
    if (j->done) misuse(j, "a second outermost value");
    if (key != NULL) misuse(j, "a key outside an object");
    j->done = true;
    return;
  }
  const int top = j->depth - 1;
  if (j->object[top] != (key != NULL)) misuse(j, "an object's values need keys, an array's have none");
  if (j->filled[top]) put(j, ",");
  j->filled[top] = true;
  new_line(j);
  if (key == NULL) return;
  if (j->st == BC_OK) j->st = bc_json_quote(&j->text, key, &j->err);
  put(j, j->pretty ? ": " : ":");
}

static void begin(bc_json *j, const char *key, bool object)
{
  lead_in(j, key);
  if (j->depth == MAX_DEPTH) {
    misuse(j, "nested too deep");
    return;
  }
  put(j, object ? "{" : "[");
  j->object[j->depth] = object;
  j->filled[j->depth] = false;
  j->depth++;
}

void bc_json_begin_object(bc_json *j, const char *key) { begin(j, key, true); }
void bc_json_begin_array(bc_json *j, const char *key) { begin(j, key, false); }

void bc_json_end(bc_json *j)
{
  if (j->depth == 0) {
    misuse(j, "more ends than begins");
    return;
  }
  j->depth--;
  if (j->filled[j->depth]) new_line(j);
  put(j, j->object[j->depth] ? "}" : "]");
}

static void word(bc_json *j, const char *key, const char *text)
{
  lead_in(j, key);
  put(j, text);
}

void bc_json_str(bc_json *j, const char *key, const char *value)
{
  if (value == NULL) {
    bc_json_null(j, key);
    return;
  }
  lead_in(j, key);
  if (j->st == BC_OK) j->st = bc_json_quote(&j->text, value, &j->err);
}

void bc_json_int(bc_json *j, const char *key, int64_t value)
{
  lead_in(j, key);
  if (j->st == BC_OK) j->st = bc_buf_printf(&j->text, &j->err, "%lld", (long long)value);
}

void bc_json_uint(bc_json *j, const char *key, uint64_t value)
{
  lead_in(j, key);
  if (j->st == BC_OK) j->st = bc_buf_printf(&j->text, &j->err, "%llu", (unsigned long long)value);
}

void bc_json_num(bc_json *j, const char *key, double value)
{
  char text[BC_NUM_TEXT];

  if (isfinite(value)) (void)bc_text_f64(text, value);
  word(j, key, isfinite(value) ? text : "null");
}

void bc_json_bool(bc_json *j, const char *key, bool value) { word(j, key, value ? "true" : "false"); }
void bc_json_null(bc_json *j, const char *key) { word(j, key, "null"); }

void bc_json_time(bc_json *j, const char *key, int64_t value)
{
  char text[BC_TIME_TEXT];
  bc_json_str(j, key, value == BC_TIME_STATIC ? NULL : bc_time_format(value, text));
}

bc_status bc_json_text(bc_json *j, const char **text, size_t *n, bc_err *err)
{
  *text = NULL;
  if (j->depth > 0 || !j->done) misuse(j, j->done ? "something is still open" : "no value");
  if (j->st == BC_OK && j->pretty && j->text.p[j->text.n - 1] != '\n') put(j, "\n");
  if (j->st == BC_OK) j->st = bc_buf_reserve(&j->text, 1, &j->err);
  if (j->st != BC_OK) {
    if (err != NULL) *err = j->err;
    return j->st;
  }
  j->text.p[j->text.n] = 0;
  *text = (const char *)j->text.p;
  if (n != NULL) *n = j->text.n;
  return BC_OK;
}
