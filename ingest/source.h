/*
 * What a reader implements: a file of raster variables, opened, described and read in slabs of time.
 * Internal.
 *
 * Variables are described by bc_var with the file's own latitudes and longitudes (any order and convention),
 * times decoded to seconds since 1970, distinct and ascending, levels as in the file (pressure in hPa).
 * Values come as float32 with missing as NaN, or as packed int16 with var->packing.
 */
#ifndef BC_INGEST_SOURCE_H
#define BC_INGEST_SOURCE_H

#include "ingest/ingest.h"
#include "store/base.h"

typedef struct bc_source bc_source; /* one thread at a time */

typedef struct bc_source_var {
  bc_var var;     /* dims (time, [level,] latitude, longitude); a static field has shape[time] == 1 and coord
                     BC_TIME_STATIC as     a double is not exact: see is_static */
  bool is_static; /* no time axis and no scalar time: coord[0] is one 0.0 */
  int64_t chunk_steps;  /* steps that are stored together in the file: read multiples of this */
  double levels_factor; /* 1; var->coord of levels is already converted */
  char group[48];       /* inferred by the rule of BioCube (biocube.md 5.3) from all variables of the file */
} bc_source_var;

/* Options that change what a reader delivers. */
typedef struct bc_source_opts {
  const char *vars;            /* comma list and globs; NULL = all */
  const char *group;           /* NULL = inferred */
  uint64_t cache_bytes;        /* for the library's chunk cache */
  const bc_progress *progress; /* notes: skipped variables and why, expver merged ... */
} bc_source_opts;

/*
 * Sniffs the first bytes. Not netCDF: BC_E_UNSUPPORTED naming what it is (GRIB, HDF5 without axes, text ...).
 * A zip opens as the union of its netCDF members (extracted to a temporary folder, removed at close).
 * No raster variable, or a refused calendar: BC_E_UNSUPPORTED with the reason of the first candidate.
 */
bc_status bc_source_open(const char *path, const bc_source_opts *opts, bc_source **out,
                         bc_err *err) BC_MUST_CHECK;
void bc_source_close(bc_source *s); /* NULL is fine */
size_t bc_source_vars(const bc_source *s);
const bc_source_var *bc_source_var_get(const bc_source *s, size_t i);
/* One line for the user; p may be NULL. */
void bc_source_note(const bc_progress *p, const char *fmt, ...) BC_PRINTF(2, 3);
/* How messages call the file that variable i is in: "a.nc", "a.zip (b.nc)". */
const char *bc_source_label(const bc_source *s, size_t i);
/* Errors of the layers below say what is wrong; the file is put in front, once, where it is known. Returns
 * st. */
bc_status bc_source_name_error(bc_status st, const char *path, bc_err *err);

/*
 * Read n_steps steps of variable i from step t0 (all levels) into dst, C order [n_steps][levels][lat][lon] in
 * the file's own order of latitude and longitude; dtype is var.dtype (BC_F32 or BC_I16).
 */
bc_status bc_source_read(bc_source *s, size_t i, int64_t t0, int64_t n_steps, void *dst,
                         bc_err *err) BC_MUST_CHECK;

#endif
