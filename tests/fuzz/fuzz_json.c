/*
 * JSON that is written: whatever names and values a store holds, the text must parse, and strings must come back.
 * Input: control (bit 0: pretty), then bytes that choose what is written.
 */
#include <jansson.h>
#include <math.h>

#include "formats/json.h"
#include "fuzz.h"

/* Up to 63 bytes of the input as a string. */
static void take_text(fuzz_in *in, char text[64])
{
  const size_t n = BC_MIN((size_t)(fuzz_u8(in) % 64), in->n);
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
  json_error_t why;
  FUZZ_CHECK(bc_json_open((fuzz_u8(&in) & 1) != 0, &j, &err) == BC_OK);
  bc_json_begin_object(j, NULL);
  for (int i = 0; in.n > 0 && i < 1000; i++) {
    take_text(&in, text);
    (void)snprintf(key, sizeof key, "%d%s", i, text); /* each key once */
    put_value(j, key, &in);
  }
  bc_json_end(j);
  FUZZ_CHECK(bc_json_text(j, &out, &n, &err) == BC_OK && strlen(out) == n);
  json_t *back = json_loads(out, JSON_REJECT_DUPLICATES, &why);
  FUZZ_CHECK(back != NULL);
  json_decref(back);
  bc_json_close(j);
  return 0;
}
