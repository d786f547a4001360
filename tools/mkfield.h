/*
 * Made-up weather for mkcube: smooth fields on the sphere that are correlated in space and time, with the
 * ranges of ERA5. A value depends only on the seed, the variable, the level, the place and the time, so that
 * files which overlap in time agree where they were made for the same area.
 *
 * Threads: one thread per world.
 */
#ifndef MK_FIELD_H
#define MK_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mk_var { /* names as the CDS writes them */
  const char *name, *short_name, *long_name, *units, *standard_name, *cf_name;
  const char *data_type, *step_type; /* "an" or "fc"; "instant", "accum", "avg" */
  int param;                         /* GRIB paramId */
  bool levelled;                     /* on pressure levels */
  bool is_static;
  int kind;               /* which formula; internal */
  const char *channel[2]; /* noise the formula uses: equal names give equal noise; internal */
} mk_var;

/* NULL when there is none. z is there twice: levelled (geopotential of a pressure level) or not (of the
 * ground). */
const mk_var *mk_var_find(const char *name, bool levelled);
const mk_var *mk_var_table(size_t *n);

typedef struct mk_world mk_world;

/*
 * Rows lat[ny] (degrees north) and columns lon[nx] (degrees east, any convention) are copied; step is the
 * distance of nodes in degrees. NULL when memory is short.
 */
mk_world *mk_world_new(uint64_t seed, const double *lat, size_t ny, const double *lon, size_t nx,
                       double step);
void mk_world_free(mk_world *w); /* NULL is fine */

/*
 * Values of one time and level into out[ny][nx], not yet quantised; missing is NaN.
 * monthly: t stands for the month that begins there, so no cycle of the day and slower, weaker noise.
 * false when memory is short.
 */
bool mk_world_plane(mk_world *w, const mk_var *v, double level, int64_t t, bool monthly, float *out);

/* As 16-bit GRIB simple packing does: every value becomes (float)(R + k * 2^E), k below 65536. */
void mk_quantise(float *v, size_t n);

#endif
