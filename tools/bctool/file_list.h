/*
 * Names of files, from the command line and from a list: more of them than a command line takes.
 */
#ifndef BCT_FILE_LIST_H
#define BCT_FILE_LIST_H

#include "store/err.h"
#include "tools/bctool/opt.h"

typedef struct bct_file_list {
  const char **v;
  size_t n;
  char *text; /* of the list; v points into it */
} bct_file_list;

/*
 * n names, then those in the file at path, one a line, or each ended by a zero byte as find -print0 writes
 * them;
 * "-" is standard input, NULL no list. Empty lines are passed over.
 * Errors: BC_E_NOTFOUND, BC_E_IO, BC_E_INVAL when there is no name at all. Dispose of it in any case.
 */
bc_status bct_file_list_make(const char *const *names, size_t n, const char *path, bct_file_list *out,
                             bc_err *err);
void bct_file_list_dispose(bct_file_list *l);

#endif
