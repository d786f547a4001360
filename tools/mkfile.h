/* One netCDF file of made-up weather, laid out as the Climate Data Store does it. Internal to mkcube. */
#ifndef MK_FILE_H
#define MK_FILE_H

#include "tools/mkopt.h"

/* Writes vars into path: complete under its name, or not at all. Returns an exit code. */
int mk_write_file(const mk_options *o, const mk_axes *a, mk_world *world, const char *path,
                  const mk_var *const *vars, size_t n_vars);

#endif
