/*
 * JSON documents on stdout, and the parts that several commands print.
 */
#ifndef BCT_JSON_OUT_H
#define BCT_JSON_OUT_H

#include "formats/json.h"
#include "store/block.h"
#include "store/grid.h"

bc_json *bct_json_open(void); /* NULL when memory is short, which is told */
/* Writes the document to stdout and closes j. Returns an exit code; j may be NULL. */
int bct_json_print(bc_json *j);

void bct_json_grid(bc_json *j, const char *key, const bc_grid *grid);
void bct_json_attrs(bc_json *j, const char *key, const bc_attr *attrs, int32_t n);

#endif
