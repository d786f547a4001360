/*
 * The commands of bctool. Each parses, calls the library, prints and maps the error; no data logic here.
 */
#ifndef BCT_CMD_H
#define BCT_CMD_H

#include "tools/bctool/opt.h"

extern const bct_cmd bct_cmd_create, bct_cmd_ingest_netcdf, bct_cmd_info, bct_cmd_ls, bct_cmd_query,
    bct_cmd_stats, bct_cmd_plot, bct_cmd_verify, bct_cmd_compact, bct_cmd_publish, bct_cmd_reindex,
    bct_cmd_version, bct_cmd_help;

/* All commands, in the order of the overview; ended by NULL. */
extern const bct_cmd *const bct_cmds[];

/* The command of that name, or NULL. */
const bct_cmd *bct_find_cmd(const char *name);
/* Is it the first word of commands of two words, as "ingest" is? */
bool bct_is_family(const char *word);
/* Says that there is no such command, or source of a family (prefix, else NULL), and what may be meant. */
int bct_unknown_cmd(const char *prefix, const char *word);

#endif
