#include "tools/bctool/file_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bctool/util.h"

static bc_status read_all(FILE *f, const char *path, char **text, size_t *n, bc_err *err)
{
  size_t cap = 0;
  for (;;) {
    if (cap - *n < 2) {
      cap = cap == 0 ? (size_t)1 << 16 : 2 * cap;
      char *more = realloc(*text, cap);
      if (more == NULL) return BC_FAIL(err, BC_E_NOMEM, "%s: no memory for %zu bytes of names", path, cap);
      *text = more;
    }
    const size_t got = fread(*text + *n, 1, cap - *n - 1, f);
    *n += got;
    if (got == 0) break;
  }
  if (ferror(f) != 0) return BC_FAIL_SYS(err, BC_E_IO, "os", errno, "%s: cannot be read", path);
  (*text)[*n] = '\0';
  return BC_OK;
}

static bc_status read_list(const char *path, char **text, size_t *n, bc_err *err)
{
  if (strcmp(path, "-") == 0) return read_all(stdin, "standard input", text, n, err);
  FILE *f = fopen(path, "rb");
  if (f == NULL)
    return BC_FAIL_SYS(err, errno == ENOENT ? BC_E_NOTFOUND : BC_E_IO, "os", errno, "--files-from %s: %s",
                       path, strerror(errno));
  const bc_status st = read_all(f, path, text, n, err);
  (void)fclose(f);
  return st;
}

/* Ends each name in place; a line may end with a carriage return. */
static size_t split(char *text, size_t n, const char **v)
{
  const char end = memchr(text, '\0', n) != NULL ? '\0' : '\n';
  size_t names = 0;
  for (size_t at = 0; at < n;) {
    char *const stop = memchr(text + at, end, n - at);
    size_t len = stop != NULL ? (size_t)(stop - (text + at)) : n - at;
    const size_t next = at + len + 1;
    if (end == '\n' && len > 0 && text[at + len - 1] == '\r') len--;
    text[at + len] = '\0';
    if (len > 0 && v != NULL) v[names] = text + at;
    if (len > 0) names++;
    at = next;
  }
  return names;
}

bc_status bct_file_list_make(const char *const *names, size_t n, const char *path, bct_file_list *out,
                             bc_err *err)
{
  size_t bytes = 0, most = n + 1;
  *out = (bct_file_list){ .n = n };
  if (path != NULL) BC_RET(read_list(path, &out->text, &bytes, err));
  for (size_t i = 0; i < bytes; i++)
    most += out->text[i] == '\n' || out->text[i] == '\0' ? 1 : 0;
  out->v = calloc(most + 1, sizeof *out->v);
  if (out->v == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for %zu names", most);
  for (size_t i = 0; i < n; i++)
    out->v[i] = names[i];
  out->n += bytes == 0 ? 0 : split(out->text, bytes, out->v + n);
  return out->n > 0 ? BC_OK
                    : BC_FAIL(err, BC_E_INVAL, "no file is named%s%s", path != NULL ? " in " : "",
                              path != NULL ? path : "");
}

void bct_file_list_dispose(bct_file_list *l)
{
  free(l->v);
  free(l->text);
  *l = (bct_file_list){ 0 };
}
