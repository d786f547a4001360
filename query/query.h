/*
 * A query: a selection planned against one snapshot, then streamed, or read into a caller's buffer; and
 * views.
 *
 * Shapes   (time, [level,] latitude, longitude), or (time, [level,] point) for points. Latitude runs north to
 * south unless lat_ascending; longitudes are -180..180, rising, unless lon_360; a box that crosses 180 is one
 * piece whose longitudes go on past 180 internally and are written in the asked-for convention. Values
 * float32 as stored, missing NaN; BC_AGG_COUNT gives int32. A node that no file covered ("absent") is NaN
 * too. Fields without time have no time dimension, are not aggregated, and --time does not filter them.
 * Time     the steps that the tiles in the place asked for hold; a node whose tile lacks a step is NaN there.
 * Aggregation: the periods that hold a step, labelled by their first instant, with bounds. Thinning takes the
 * first step (after aggregation the first period) and every N-th from there, and every M-th row and column
 * from the north-west corner; points are not thinned. Points: the nearest node's value, point_lat and
 * point_lon are that node's, order and repetitions are kept. Without box and points: the box around what the
 * selected variables hold. Variables asked for by name must have values there; of a glob, or of all, those
 * that have. Lifetime a bc_query owns its plan and keeps the segments it needs mapped: it stays valid after
 * bc_store_close. Threads  one thread per query; opts.threads workers decode while a call runs, none outlive
 * it.
 */
#ifndef BC_QUERY_QUERY_H
#define BC_QUERY_QUERY_H

#include "../store/store.h"
#include "select.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bc_query bc_query;

typedef struct bc_query_opts {
  uint32_t version;  /* BC_QUERY_OPTS_VERSION */
  uint64_t memory;   /* bytes that streaming may hold; 0 = 256 MiB */
  int32_t threads;   /* decoders; 0 or 1 = the caller's thread only */
  bool skip_damaged; /* a damaged block gives NaN and is counted, instead of an error */
} bc_query_opts;
#define BC_QUERY_OPTS_VERSION 1u
#define BC_QUERY_OPTS_INIT                                                                                   \
  {                                                                                                          \
    BC_QUERY_OPTS_VERSION, 0, 0, false                                                                       \
  }

/**
 * Plan. No value is read yet.
 * @param[in] opts may be NULL
 * @return BC_E_NOTFOUND: no such variable (names near ones), level, or nothing in that time span (names the
 * span that is there); BC_E_INVAL: a name in several groups (lists them: "t2m is in climate and surface: say
 * which"); BC_E_RANGE: box or point outside the grid; BC_E_BUDGET: cannot be streamed in that memory (says
 * how much it needs) Cost   one index scan per cell and kind of bucket, one head read per tile
 */
BC_API bc_status bc_query_open(bc_store *st, const bc_select *sel, const bc_query_opts *opts, bc_query **out,
                               bc_err *err) BC_MUST_CHECK;
BC_API void bc_query_close(bc_query *q); /* NULL is fine; release its streams first */

/** The variables of the answer, in the order asked for; valid until the query closes. */
BC_API size_t bc_query_vars(const bc_query *q, const bc_var *const **out);

typedef struct bc_query_cost {
  uint64_t tiles, blocks;
  uint64_t stored_bytes;  /* of the blocks that will be read */
  uint64_t decoded_bytes; /* those blocks decoded */
  uint64_t output_bytes;
  uint64_t peak_bytes; /* most that streaming will hold */
  uint64_t snapshot;
} bc_query_cost;
/** ivar < 0: all variables together. */
BC_API void bc_query_get_cost(const bc_query *q, int ivar, bc_query_cost *out);

typedef struct bc_query_part { /* what the planner chose for one variable, for --explain */
  const char *layout;          /* "balanced", "map", ... */
  const char *grid;
  uint64_t cells, tiles, blocks, raw_blocks;
  uint64_t stored_bytes, decoded_bytes;
  bool zero_copy; /* bc_view would serve it */
} bc_query_part;
BC_API void bc_query_get_part(const bc_query *q, size_t ivar, bc_query_part *out);

/**
 * Stream the answer: variable after variable, in slabs of time that keep to opts.memory. The stream borrows
 * the query. next() may return BC_E_CHECKSUM or BC_E_CORRUPT (message names variable, time, cell, segment and
 * source file), BC_E_NOMEM.
 */
BC_API bc_status bc_query_stream(bc_query *q, const bc_progress *progress, bc_stream *out,
                                 bc_err *err) BC_MUST_CHECK;

/** Read variable ivar whole into dst, C order, bytes long: BC_E_INVAL unless bytes is exactly its size. */
BC_API bc_status bc_query_read(bc_query *q, size_t ivar, void *dst, size_t bytes, bc_err *err) BC_MUST_CHECK;

/** Names of variables that a glob chose, or that nothing was chosen by, and that have no values in that time
 * and place: they are not in the answer. "surface/z, surface/lsm"; "" when there are none. Valid until close.
 */
BC_API const char *bc_query_left_out(const bc_query *q);

/** Blocks that were skipped as damaged so far, and the first one's message. */
BC_API uint64_t bc_query_damaged(const bc_query *q, const char **first);

/**
 * A zero-copy view: n_steps consecutive stored steps of a variable kept raw in one `full` cell, from the
 * first step at or after t.
 */
typedef struct bc_view {
  const void *data; /* step 0; 64-byte aligned; float32 */
  int32_t ndim;     /* 3: time, lat, lon; 4: time, level, lat, lon */
  int64_t shape[BC_MAX_DIMS];
  int64_t stride[BC_MAX_DIMS]; /* bytes; stride[0] is 0 when the steps are not evenly spaced in memory (they
                                  lie in several segments): use step[] */
  const void *const *step;     /* shape[0] pointers, always valid */
  const double *coord[BC_MAX_DIMS]; /* seconds since 1970, levels, degrees north, degrees east */
  bc_dtype dtype;
  uint64_t copied_bytes; /* always 0 */
  void *priv;            /* NULL = released */
} bc_view;

/**
 * @param[in] var  "t2m" or "surface/t2m"
 * @return BC_E_UNSUPPORTED when the variable is compressed or its grid has several cells (says so, and what
 * to do); BC_E_NOTFOUND when there are not so many steps from t on Lifetime until bc_view_release, even after
 * bc_store_close. Threads: the view is plain data, share it. Cost     no byte of the values is touched or
 * copied
 */
BC_API bc_status bc_view_open(bc_store *st, const char *var, int64_t t, int64_t n_steps, bc_view *out,
                              bc_err *err) BC_MUST_CHECK;
BC_API void bc_view_release(bc_view *v); /* safe twice */

/** Views of many variables at the same steps, in one snapshot: a training window. out has n entries; all or
 * none are opened. */
BC_API bc_status bc_view_open_many(bc_store *st, const char *const *vars, size_t n, int64_t t,
                                   int64_t n_steps, bc_view *out, bc_err *err) BC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
