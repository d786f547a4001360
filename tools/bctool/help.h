/*
 * Help texts and man pages, made from the command and option tables.
 */
#ifndef BCT_HELP_H
#define BCT_HELP_H

#include <stdio.h>

#include "tools/bctool/opt.h"

void bct_help_overview(FILE *out);
void bct_help_cmd(const bct_cmd *cmd, FILE *out);
/* The commands whose names begin with "PREFIX ": the sources of `bctool ingest`. */
void bct_help_family(const char *prefix, FILE *out);

void bct_man_overview(FILE *out);
void bct_man_cmd(const bct_cmd *cmd, FILE *out);

#endif
