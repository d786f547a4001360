/* Text of attributes: comparing and reading it, ASCII only and independent of the locale. Internal. */
#ifndef BC_INGEST_CF_TEXT_H
#define BC_INGEST_CF_TEXT_H

#include "store/base.h"

static inline char bc_cf_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
static inline bool bc_cf_is_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool bc_cf_is_blank(char c) { return c == ' ' || c == '\t'; }

bool bc_cf_same(const char *a, const char *b); /* ignoring case; NULL equals nothing */
bool bc_cf_is_one_of(const char *s, const char *const *list, size_t n);
#define BC_CF_ONE_OF(s, list) bc_cf_is_one_of((s), (list), BC_ARRAY_LEN(list))

const char *bc_cf_skip_blanks(const char *p);
/* Up to max digits; *digits tells how many there were. Returns what follows them. */
const char *bc_cf_read_digits(const char *p, int max, int32_t *value, int *digits);

#endif
