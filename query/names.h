/*
 * Names of variables and levels against what a snapshot holds. Internal to query.
 *
 * Lifetime: a bc_names borrows the snapshot. Threads: one.
 */
#ifndef BC_QUERY_NAMES_H
#define BC_QUERY_NAMES_H

#include "query/select.h"
#include "store/snapshot.h"

/* Modalities by hash of their short name, so that a window of many variables needs no search for each. */
typedef struct bc_names {
  const bc_snapshot *snap;
  uint16_t heads[256]; /* 0 = none, else id + 1 */
  uint16_t *next;
} bc_names;
bc_status bc_names_init(bc_names *t, const bc_snapshot *snap, bc_err *err) BC_MUST_CHECK;
void bc_names_dispose(bc_names *t);

/* "t2m" or "surface/t2m". BC_E_NOTFOUND names near ones; BC_E_INVAL when several have that name. */
bc_status bc_names_find(const bc_names *t, const char *name, uint16_t *id, bc_err *err) BC_MUST_CHECK;

typedef struct bc_chosen {
  uint16_t id;
  bool exact; /* asked for by name, not by glob or by asking for everything */
} bc_chosen;
/* Names and globs to modalities, in the order asked for, each once; none = all. All are on one grid. bc_free.
 */
bc_status bc_names_choose(const bc_names *t, char *const *vars, size_t n_vars, bc_chosen **out, size_t *n,
                          bc_err *err) BC_MUST_CHECK;

#endif
