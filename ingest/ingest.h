/*
 * Files into a store.
 *
 * Ingest is resumable (the same call after a crash finishes the job), idempotent (a file that is in, by
 * content, is skipped; equal values add nothing) and bounded in memory whatever the file size. Threads: the
 * store must be open for writing; one call at a time; opts.threads encoders run inside the call.
 */
#ifndef BC_INGEST_INGEST_H
#define BC_INGEST_INGEST_H

#include "../store/store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bc_regrid {
  BC_REGRID_NONE = 0,
  BC_REGRID_NEAREST,
  BC_REGRID_BILINEAR,
  BC_REGRID_MEAN
} bc_regrid;

typedef struct bc_ingest_opts {
  uint32_t version;  /* BC_INGEST_OPTS_VERSION */
  const char *group; /* NULL = inferred from the variables of each file */
  const char *vars;  /* comma list and globs of short names; NULL = all that can be gridded */
  bool has_bbox;
  double west, south, east, north;
  int64_t t_begin, t_end; /* [begin, end); INT64_MIN, INT64_MAX = all */
  const char *codec;      /* "auto" (NULL), "raw", "zstd" or "zstd:LEVEL" */
  const char *layout;     /* "balanced" (NULL), "map", "series", or two joined by '+': "map+series" */
  const char
      *bucket; /* NULL = from the cadence; "static", "day", "month", "year", "decade" (new variables only) */
  double precision; /* > 0: values are rounded to within half of it; recorded */
  bc_regrid regrid;
  bool replace;    /* new values win where they differ */
  bool mend;       /* bring back what is damaged or lost of these files; what can be read stays as it is */
  bool mend_older; /* and do not wait for later files that may have been in force */
  bool is_static;  /* single time steps are stored as fields without time */
  bool keep_going; /* a refused file is reported and the next one tried */
  uint64_t memory; /* bytes; 0 = a quarter of the machine's, at most 4 GiB */
  int32_t threads; /* 0 or 1 = the caller's thread only */
  bool dry_run;    /* read headers only, estimate, write nothing */
  bc_progress progress;
} bc_ingest_opts;
#define BC_INGEST_OPTS_VERSION 1u
BC_API void bc_ingest_opts_init(bc_ingest_opts *o);

typedef struct bc_ingest_report {
  uint64_t files, files_skipped, files_refused; /* files: ingested now */
  uint64_t variables, steps;                    /* variable x step planes written */
  uint64_t steps_equal;                         /* planes that were in already, equal */
  uint64_t tiles;
  uint64_t source_bytes; /* size of the files ingested now */
  uint64_t decoded_bytes, stored_bytes;
  uint64_t memory; /* dry run: estimate of the peak */
  double seconds;
} bc_ingest_report;

/**
 * Raster variables of netCDF files (classic, 64-bit offset, CDF-5, netCDF-4, zip as the CDS delivers it).
 * @return BC_E_UNSUPPORTED (calendar, axes, not netCDF), BC_E_RANGE (off the lattice: the offset is in the
 * message), BC_E_CONFLICT (values differ from those stored, first place named), BC_E_CORRUPT, BC_E_TRUNCATED
 * (file damaged), BC_E_FULL, BC_E_IO, BC_E_CANCELLED. Whatever the error, the store is as it was, or holds
 * whole earlier files and a resumable part of this one.
 */
BC_API bc_status bc_ingest_netcdf(bc_store *st, const char *const *paths, size_t n_paths,
                                  const bc_ingest_opts *opts, bc_ingest_report *report,
                                  bc_err *err) BC_MUST_CHECK;

/** The grid that the raster variables of a file stand on (create --grid-from). */
BC_API bc_status bc_ingest_grid_of(const char *path, bc_grid *out, bc_err *err) BC_MUST_CHECK;

/**
 * The file that netCDF-C is reading in this thread, or NULL. Damaged HDF5 files make that library itself
 * break down: a signal handler may ask this to say which file it was. Alive while the library reads.
 */
BC_API const char *bc_ingest_reading(void);

#ifdef __cplusplus
}
#endif

#endif
