/* Small text tools of the CF conventions. See cf_text.h. */
#include "ingest/cf_text.h"

bool bc_cf_same(const char *a, const char *b)
{
  if (a == NULL || b == NULL) return false;
  while (*a != '\0' && bc_cf_lower(*a) == bc_cf_lower(*b)) {
    a++;
    b++;
  }
  return *a == *b || bc_cf_lower(*a) == bc_cf_lower(*b);
}

bool bc_cf_is_one_of(const char *s, const char *const *list, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    if (bc_cf_same(s, list[i])) return true;
  }
  return false;
}

const char *bc_cf_skip_blanks(const char *p)
{
  while (bc_cf_is_blank(*p))
    p++;
  return p;
}

const char *bc_cf_read_digits(const char *p, int max, int32_t *value, int *digits)
{
  int32_t v = 0;
  int n = 0;

  while (n < max && bc_cf_is_digit(*p)) {
    v = v * 10 + (*p - '0');
    p++;
    n++;
  }
  *value = v;
  *digits = n;
  return p;
}
