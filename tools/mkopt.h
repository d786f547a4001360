/* The command line of mkcube, and the axes that it asks for. Internal to mkcube. */
#ifndef MK_OPT_H
#define MK_OPT_H

#include "tools/mkfield.h"

#define MK_MAX_VARS   32
#define MK_MAX_LEVELS 64
#define MK_DAY        86400

typedef struct mk_options {
  const char *set, *out;
  bool legacy, overwrite, quiet;
  const mk_var *vars[MK_MAX_VARS];
  size_t n_vars;
  double levels[MK_MAX_LEVELS];
  size_t n_levels;
  bool levels_given;
  double west, south, east, north, res;
  int64_t from, to; /* [from, to) */
  int64_t step;     /* seconds; 0 = calendar months */
  uint64_t seed;
  int deflate;
  size_t chunk_steps; /* 0 = automatic */
} mk_options;

typedef struct mk_axes {
  double *lat, *lon;
  size_t ny, nx;
  int64_t *time;
  size_t nt;
} mk_axes;

/* A line on standard error. */
__attribute__((format(printf, 1, 2))) void mk_say(const char *fmt, ...);

int64_t mk_days(int64_t y, int m, int d); /* since 1970-01-01 */
/* First second of the period that text names, and of the one after it. */
bool mk_parse_date(const char *text, int64_t *begin, int64_t *end);
bool mk_parse_vars(mk_options *o, const char *text);
/* 0 to go on; else exit with code - 1. */
int mk_parse_args(mk_options *o, int argc, char **argv);

/* false when memory is short; a->nt is 0 when no step lies in the span. */
bool mk_axes_make(const mk_options *o, mk_axes *a);
void mk_axes_free(mk_axes *a);

#endif
