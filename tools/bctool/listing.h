/*
 * Names and attributes of stored variables, for listings.
 */
#ifndef BCT_LISTING_H
#define BCT_LISTING_H

#include "store/schema.h"
#include "store/store.h"
#include "tools/bctool/opt.h"

#define BCT_NAME_MAX (2 * BC_NAME_MAX)

char *bct_modality_name(const bc_modality *m,
                        char *buf); /* "surface/t2m", "t2m" without a group; returns buf */
const char *bct_modality_attr(const bc_modality *m, const char *name); /* "" when it has none */
/* A pattern is a group, or a glob of a name or of group/name; comma lists of these. */
bool bct_modality_matches(const bc_modality *m, const char *patterns);

/* A warning when the index was made anew without some segments: answers may lack values, or have older ones.
 */
void bct_warn_lost(bc_snapshot *snap);
/* Says that so many tiles could not be read, and what of it; returns the exit code, rc when there are none.
 */
int bct_warn_damaged(uint64_t n, const char *what, int rc);

#endif
