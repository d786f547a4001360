#ifndef WINDOW_H
#define WINDOW_H

#include <biocube/biocube.h>

/* Sum over two consecutive steps of a variable that is kept raw, without a copy. */
bc_status window_sum(bc_store *store, const char *var, int64_t t, double *sum, uint64_t *copied, bc_err *err);

#endif
