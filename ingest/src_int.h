/*
 * Between the parts of the netCDF source, from the file inwards:
 *   source.c      netCDF or zip; src_inspect.c and src_classic.c look at the bytes first, src_zip.c unpacks
 *   src_raster.c  which variables are rasters; src_layout.c: which dimension of one is what; src_var.c: all
 *                 else about it; src_axes.c: its axes
 *   src_read.c    their values
 *   src_netcdf.c  what the library says
 * Internal.
 */
#ifndef BC_INGEST_SRC_INT_H
#define BC_INGEST_SRC_INT_H

#include "ingest/cf.h"
#include "ingest/source.h"

/* ---- memory that lives as long as its owner (src_arena.c) ---- */
typedef struct bc_arena {
  struct bc_arena_block *head;
} bc_arena;
void *bc_arena_get(bc_arena *a, size_t n); /* zeroed, aligned for any type; NULL when memory is short */
char *bc_arena_text(bc_arena *a, const char *s, size_t n); /* n bytes, cut at a NUL */
void bc_arena_dispose(bc_arena *a);

/* ---- what a netCDF file holds (src_netcdf.c) ---- */
#define BC_NC_MAX_DIMS 8

typedef struct bc_nc_att {
  const char *name;
  const char *text;  /* NULL: numbers */
  const bc_num *num; /* n numbers */
  size_t n;
} bc_nc_att;

typedef struct bc_nc_dim {
  int id;
  const char *name;
  size_t len;
} bc_nc_dim;

typedef struct bc_nc_var {
  int grp, id;       /* for the library */
  const char *group; /* "" at the top, else "grp1", "a/b" */
  const char *name;
  bc_raw raw;
  int n_dims;
  int dims[BC_NC_MAX_DIMS]; /* indices into bc_nc.dims; with more dimensions n_dims is -1 */
  const bc_nc_att *atts;
  size_t n_atts;
  bool chunked;
  size_t chunks[BC_NC_MAX_DIMS];
  bool no_fill;
} bc_nc_var;

typedef struct bc_nc {
  const char *label; /* how messages call the file */
  int ncid;
  bool is_open;
  const bc_nc_dim *dims;
  size_t n_dims;
  const bc_nc_var *vars;
  size_t n_vars;
  const bc_nc_att *atts; /* of the file */
  size_t n_atts;
  bc_arena arena;
} bc_nc;

/* path is an existing regular file that starts like netCDF. label is copied. */
bc_status bc_nc_open(const char *path, const char *label, bc_nc **out, bc_err *err) BC_MUST_CHECK;
void bc_nc_close(bc_nc *nc); /* NULL is fine */
const bc_nc_att *bc_nc_find_att(const bc_nc_att *atts, size_t n, const char *name);
static inline const bc_nc_att *bc_nc_att_of(const bc_nc_var *v, const char *name)
{
  return bc_nc_find_att(v->atts, v->n_atts, name);
}
const char *bc_nc_text(const bc_nc_var *v, const char *att); /* NULL when absent or numeric */
/* Length of a variable's dimension d; 1 when it has none (d < 0). */
static inline size_t bc_nc_dim_len(const bc_nc *nc, const bc_nc_var *v, int d)
{
  return d < 0 ? 1 : nc->dims[v->dims[d]].len;
}
/* Elements of a variable; false on overflow. */
bool bc_nc_elements(const bc_nc *nc, const bc_nc_var *v, size_t *out);

/* Numbers as stored, in the machine's byte order. step < 0: not about a step (for the message only). */
bc_status bc_nc_read(const bc_nc *nc, const bc_nc_var *v, const size_t *start, const size_t *count,
                     int64_t step, void *dst, bc_err *err) BC_MUST_CHECK;
/* All of a small variable; n as bc_nc_elements gives. No scaling. */
bc_status bc_nc_read_f64(const bc_nc *nc, const bc_nc_var *v, double *dst, bc_err *err) BC_MUST_CHECK;
bc_status bc_nc_read_i64(const bc_nc *nc, const bc_nc_var *v, int64_t *dst, bc_err *err) BC_MUST_CHECK;
/* Version numbers stored as numbers, strings or rows of characters: n values, -1 where there is no number. */
bc_status bc_nc_read_expver(const bc_nc *nc, const bc_nc_var *v, size_t n, int *dst,
                            bc_err *err) BC_MUST_CHECK;
/* The library's cache of decompressed chunks for this variable; 0 empties it. Only a hint. */
void bc_nc_cache(const bc_nc *nc, const bc_nc_var *v, size_t bytes, size_t chunks);

/* ---- which dimension of a variable is what (src_layout.c) ---- */
typedef enum bc_verdict {
  BC_IS_RASTER,
  BC_IS_COORDINATE, /* or bounds, or a scalar: no candidate */
  BC_NO_GRID,       /* not on latitude and longitude */
  BC_SKIPPED        /* on a grid, but not readable: why says what is in the way */
} bc_verdict;

typedef struct bc_layout_nc {
  int t, l, y, x, e; /* positions in bc_nc_var.dims of time, level, latitude, longitude, expver; -1 = none */
  const bc_nc_var *time, *level, *lat, *lon, *expver; /* their coordinates; time may be a scalar */
  const bc_nc_var *step_expver; /* expver as a variable of each step, or a scalar; NULL */
  const bc_nc_var *fixed[4];    /* vertical positions that are the same for all values: height 2 m */
  int n_fixed;
  char why[200]; /* unless BC_IS_RASTER: "variables on (time, location): no latitude-longitude grid" */
} bc_layout_nc;

/* BC_E_UNSUPPORTED: the file must not be read without the user choosing first (an ensemble). */
bc_status bc_nc_layout(const bc_nc *nc, const bc_nc_var *v, bc_layout_nc *out, bc_verdict *verdict,
                       bc_err *err) BC_MUST_CHECK;
bc_cf_kind bc_nc_kind(const bc_nc_var *v);

/* ---- raster variables of one file (src_raster.c) ---- */
enum { BC_EXPVER_FINAL = 1, BC_EXPVER_PRELIMINARY = 5 }; /* ERA5 proper, and ERA5T */

typedef struct bc_time_axis { /* shared by the variables on it */
  const bc_nc_var *var;       /* NULL: static */
  size_t n;                   /* distinct steps, ascending */
  double *seconds;            /* of each */
  size_t *from;               /* step of the file that it is read from */
  size_t n_twins;
  size_t (*twins)[2]; /* steps of the file with equal times: kept, dropped; their values must be equal */
  struct bc_time_axis *next;
} bc_time_axis;

typedef struct bc_raster_var {
  bc_source_var pub;
  bc_packing packing;
  const bc_nc_var *nc;
  bc_layout_nc at;
  const bc_time_axis *time;
  size_t nl, ny, nx; /* levels (1 without), rows, columns */
  bc_unpack unpack;
  bool in_order;        /* the file's order of dimensions is ours */
  bool has_two_expvers; /* the next two are positions in dimension at.e */
  size_t final, prelim;
} bc_raster_var;

typedef struct bc_scratch {
  void *p;
  size_t n;
} bc_scratch;

typedef struct bc_raster {
  const bc_nc *nc;
  bc_arena arena;
  bc_raster_var *vars;
  size_t n_vars;
  char why[300];        /* of the best candidate that was passed over; "" when there was none */
  char unselected[200]; /* names of rasters that were not asked for */
  size_t n_unselected;
  bc_time_axis *times;
  struct bc_coord *coords;
  uint64_t cache_bytes;
  const bc_raster_var *cached; /* whose chunks the library keeps */
  bc_scratch scratch[3];
} bc_raster;

bc_status bc_raster_open(const bc_nc *nc, const bc_source_opts *opts, bc_raster **out,
                         bc_err *err) BC_MUST_CHECK;
void bc_raster_close(bc_raster *r);                             /* NULL is fine */
bc_status bc_raster_no_memory(const bc_raster *r, bc_err *err); /* BC_E_NOMEM */

/* ---- one of them (src_var.c) ---- */
/* All of *v. *why stays NULL, or says why the variable is to be passed over. */
bc_status bc_raster_describe(bc_raster *r, const bc_nc_var *nv, const bc_layout_nc *at, const char *name,
                             const char *group, const bc_source_opts *o, bc_raster_var *v, const char **why,
                             bc_err *err) BC_MUST_CHECK;
/* A text of the file as one line of bounded length; NULL when memory is short. */
const char *bc_raster_one_line(bc_raster *r, const char *text);

/* ---- their axes (src_axes.c) ---- */
/* Dimensions, shape and coordinates of v->pub.var, and v->time, nl, ny, nx; from v->nc and v->at. */
bc_status bc_raster_axes(bc_raster *r, bc_raster_var *v, const bc_source_opts *o, bc_err *err) BC_MUST_CHECK;

/* ---- their values (src_read.c) ---- */
/* n steps from t0 of a variable, as bc_source_read describes it. */
bc_status bc_raster_read(bc_raster *r, const bc_raster_var *v, int64_t t0, int64_t n, void *dst,
                         bc_err *err) BC_MUST_CHECK;
/* Are two steps of the file equal, bit for bit? */
bc_status bc_raster_compare(bc_raster *r, const bc_raster_var *v, size_t a, size_t b, bool *equal,
                            bc_err *err) BC_MUST_CHECK;
/* How many steps have a value in the final version (first level). */
bc_status bc_raster_count_final(bc_raster *r, const bc_raster_var *v, size_t *n, bc_err *err) BC_MUST_CHECK;

/* ---- zip (src_zip.c) ---- */
typedef struct bc_unzipped {
  char *folder; /* private, removed by dispose */
  char **paths; /* netCDF members, as extracted */
  char **names; /* as the zip calls them */
  size_t n;
} bc_unzipped;
bc_status bc_unzip_netcdf(const char *path, const char *label, const bc_progress *progress, bc_unzipped *out,
                          bc_err *err) BC_MUST_CHECK;
void bc_unzipped_dispose(bc_unzipped *u); /* removes the folder; safe twice */

/* ---- messages (source.c) ---- */
const char *bc_source_base_name(const char *path);

/* ---- before a library sees a file (src_inspect.c) ---- */
/* What the first bytes say; the rest of the file decides nothing. */
typedef enum bc_sniffed { BC_SNIFF_OTHER, BC_SNIFF_CLASSIC, BC_SNIFF_HDF5, BC_SNIFF_ZIP } bc_sniffed;
#define BC_SNIFF_BYTES 2304
bc_sniffed bc_source_sniff(bc_bytes head);
/* Refuses what cannot be read, is neither netCDF nor zip, or is shorter than its header promises. */
bc_status bc_source_inspect(const char *path, const char *label, bc_sniffed *kind, bc_err *err) BC_MUST_CHECK;

/* ---- headers of classic files (src_classic.c) ---- */
/* *complete: the header ends inside head. *need: bytes that the file must have; UINT64_MAX when the header
 * makes no sense, which the library would answer with huge allocations. */
bc_status bc_classic_need(bc_bytes head, uint64_t *need, bool *complete, bc_err *err) BC_MUST_CHECK;

#endif
