/*
 * Sinks: a stream written to a file or to standard output in a format that users hold.
 *
 * Outputs appear by rename, complete or not at all. Memory: one block of the stream plus a small buffer.
 * Threads: one call at a time per stream.
 */
#ifndef BC_FORMATS_SINK_H
#define BC_FORMATS_SINK_H

#include "../store/block.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bc_sink_opts {
  uint32_t version;   /* BC_SINK_OPTS_VERSION */
  const char *format; /* "npy", "nc", ...; NULL = by suffix of the path */
  bool overwrite;
  int32_t max_rows;      /* "table": rows to show; 0 = 20 */
  const bc_block *coast; /* "png": land fraction (latitude, longitude) to draw the coast from; may be NULL */
  const char *title;     /* "png"; NULL = made from the variable */
  const char *colormap;  /* "png": "auto", "viridis", "thermal", "balance", "rain", "terrain"; NULL = auto */
  bool has_range;        /* "png": colour scale from vmin to vmax */
  double vmin, vmax;
  int32_t width;          /* "png": pixels; 0 = 1000 */
  const char *tmp_folder; /* for what must wait: text of several variables, "nc" and "npz" on standard output;
                             NULL = /tmp. Programs pass the environment's TMPDIR */
} bc_sink_opts;
#define BC_SINK_OPTS_VERSION 1u
#define BC_SINK_OPTS_INIT                                                                                    \
  {                                                                                                          \
    BC_SINK_OPTS_VERSION, NULL, false, 0, NULL, NULL, NULL, false, 0, 0, 0, NULL                             \
  }

typedef struct bc_format {
  const char *name;     /* "netcdf" */
  const char *suffixes; /* "nc nc4" */
  const char *brief;    /* "CF-1.11 netCDF-4, opens in xarray" */
  bool one_variable;    /* takes a single variable */
  bool text;
} bc_format;
/** All formats, ended by name == NULL. */
BC_API const bc_format *bc_formats(void);
/** By name, or by the suffix of path; BC_E_INVAL lists what there is. */
BC_API bc_status bc_format_find(const char *name, const char *path, const bc_format **out,
                                bc_err *err) BC_MUST_CHECK;

/**
 * Write the whole stream (which is read to its end, not released; "png" stops when it has what it draws).
 * @param[in] path  file, or "-" for standard output
 * @return BC_E_EXISTS without overwrite; BC_E_INVAL when the format cannot hold this stream (says why and
 * which can); BC_E_FULL, BC_E_IO; whatever the stream's next() returns
 */
BC_API bc_status bc_sink_write(bc_stream *in, const char *path, const bc_sink_opts *opts,
                               bc_err *err) BC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
