/*
 * JSON that is written: whatever names and values a store holds, the text must parse, and strings must come
 * back. Input: control (bit 0: pretty), then bytes that choose what is written.
 */
#include "formats/json.h"
#include "fuzz.h"

/* ---- a reader of RFC 8259 that knows nothing of the writer ---- */

static const char *skip(const char *p) { return p + strspn(p, " \t\r\n"); }

/* Well-formed UTF-8 without control characters, up to the closing quote; NULL when it is not. */
static const char *read_string(const char *p)
{
  if (*p++ != '"') return NULL;
  while (*p != '"') {
    const unsigned char c = (unsigned char)*p;
    const size_t more = c < 0x80                ? 0
                        : c >= 0xc2 && c < 0xe0 ? 1
                        : c >= 0xe0 && c < 0xf0 ? 2
                        : c >= 0xf0 && c < 0xf5 ? 3
                                                : 9;
    if (c < 0x20 || more == 9) return NULL;
    if (c == '\\') {
      p++;
      if (*p == '\0' || strchr("\"\\/bfnrtu", *p) == NULL) return NULL;
      if (*p == 'u' && strspn(p + 1, "0123456789abcdefABCDEF") < 4) return NULL;
      if (*p == 'u') p += 4;
    }
    p++;
    for (size_t i = 0; i < more; i++, p++)
      if (((unsigned char)*p & 0xc0) != 0x80) return NULL;
  }
  return p + 1;
}

static const char *read_number(const char *p)
{
  static const char digits[] = "0123456789";
  if (*p == '-') p++;
  const size_t whole = strspn(p, digits);
  if (whole == 0 || (whole > 1 && *p == '0')) return NULL;
  p += whole;
  if (*p == '.') {
    if (strspn(p + 1, digits) == 0) return NULL;
    p += 1 + strspn(p + 1, digits);
  }
  if (*p != 'e' && *p != 'E') return p;
  p++;
  if (*p == '+' || *p == '-') p++;
  return strspn(p, digits) == 0 ? NULL : p + strspn(p, digits);
}

static const char *read_value(const char *p)
{
  static const char *const words[] = { "true", "false", "null" };
  if (*p == '"') return read_string(p);
  for (size_t i = 0; i < BC_ARRAY_LEN(words); i++)
    if (strncmp(p, words[i], strlen(words[i])) == 0) return p + strlen(words[i]);
  return read_number(p);
}

/* An object of plain values; its number of members, or -1. */
static int read_object(const char *p)
{
  int n = 0;
  if (*p++ != '{') return -1;
  for (p = skip(p); *p != '}'; n++) {
    if (n > 0 && *p++ != ',') return -1;
    p = read_string(skip(p));
    if (p == NULL) return -1;
    p = skip(p);
    if (*p++ != ':') return -1;
    p = read_value(skip(p));
    if (p == NULL) return -1;
    p = skip(p);
  }
  return *skip(p + 1) == '\0' ? n : -1;
}

/* ---- what is written ---- */

/* Up to 63 bytes of the input as a string. */
static void take_text(fuzz_in *in, char text[64])
{
  const size_t want = fuzz_u8(in) % 64, n = BC_MIN(want, in->n);
  memcpy(text, in->p, n);
  text[n] = '\0';
  in->p += n;
  in->n -= n;
}

static void put_value(bc_json *j, const char *key, fuzz_in *in)
{
  char text[64];
  double d = 0;
  uint64_t bits = 0;
  switch (fuzz_u8(in) % 6) {
  case 0:
    take_text(in, text);
    bc_json_str(j, key, text);
    break;
  case 1: bc_json_int(j, key, (int64_t)fuzz_u32(in) << 31); break;
  case 2:
    bits = fuzz_u32(in) | (uint64_t)fuzz_u32(in) << 32;
    memcpy(&d, &bits, sizeof d);
    bc_json_num(j, key, d);
    break;
  case 3: bc_json_time(j, key, (int64_t)(fuzz_u32(in) | (uint64_t)fuzz_u32(in) << 32)); break;
  case 4: bc_json_bool(j, key, true); break;
  default: bc_json_null(j, key); break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  fuzz_in in = { data, size };
  bc_err err = { 0 };
  bc_json *j = NULL;
  char text[64], key[80];
  const char *out = NULL;
  size_t n = 0;
  int members = 0;
  FUZZ_CHECK(bc_json_open((fuzz_u8(&in) & 1) != 0, &j, &err) == BC_OK);
  bc_json_begin_object(j, NULL);
  for (; in.n > 0 && members < 1000; members++) {
    take_text(&in, text);
    (void)snprintf(key, sizeof key, "%d%s", members, text); /* each key once */
    put_value(j, key, &in);
  }
  bc_json_end(j);
  FUZZ_CHECK(bc_json_text(j, &out, &n, &err) == BC_OK && strlen(out) == n);
  FUZZ_CHECK(read_object(out) == members);
  bc_json_close(j);
  return 0;
}
