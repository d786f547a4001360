/*
 * What travels from readers to the store, from queries to sinks: bc_stream of bc_batch of bc_block.
 *
 * A stream says up front which variables it will deliver (bc_var: whole shape, coordinates, attributes), then
 * hands out blocks: pieces of one variable, in C order of its first dimension.
 * Lifetime: a bc_var lives as long as its stream; a block as long as its batch. release == NULL means empty
 * or moved away. Threads: one thread per stream.
 */
#ifndef BC_STORE_BLOCK_H
#define BC_STORE_BLOCK_H

#include <stdbool.h>

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BC_MAX_DIMS 4

typedef enum bc_dtype {
  BC_F32 = 1,
  BC_F64 = 2,
  BC_I8 = 3,
  BC_I16 = 4,
  BC_I32 = 5,
  BC_I64 = 6,
  BC_U8 = 7
} bc_dtype;

/** Bytes per element; 0 for an unknown code. */
BC_API size_t bc_dtype_size(bc_dtype t);
/** "float32", "int16", ...: NumPy's names. Static text. */
BC_API const char *bc_dtype_name(bc_dtype t);

typedef enum bc_dim { BC_DIM_TIME, BC_DIM_LEVEL, BC_DIM_LAT, BC_DIM_LON, BC_DIM_POINT } bc_dim;

/** "time", "level", "latitude", "longitude", "point". Static text. */
BC_API const char *bc_dim_name(bc_dim d);

typedef struct bc_attr {
  const char *name;
  const char *value; /* numbers as shortest round-trip text */
  bool numeric;
} bc_attr;

/* value = (float)((double)stored * scale + offset), rounded once; stored == fill means missing */
typedef struct bc_packing {
  double scale, offset;
  bool has_fill;
  int32_t fill;
} bc_packing;

typedef struct bc_var {
  const char *name;  /* short name: t2m */
  const char *group; /* surface; "" when none */
  const char *units; /* CF text; "" when none */
  bc_dtype dtype;
  int32_t ndim;
  bc_dim dims[BC_MAX_DIMS];         /* time, [level,] latitude, longitude; or time, [level,] point */
  int64_t shape[BC_MAX_DIMS];       /* of the whole variable, elements */
  const double *coord[BC_MAX_DIMS]; /* shape[d] values: seconds since 1970-01-01T00:00Z, level, degrees north,
                                       degrees east; for BC_DIM_POINT 0, 1, 2, ... */
  const double *point_lat, *point_lon; /* BC_DIM_POINT only: shape[point] degrees */
  const int64_t *time_bounds; /* NULL, or 2 x shape[time]: begin and end of each aggregation period */
  const char *level_units;    /* "hPa", ...; "" without levels */
  const bc_attr *attrs;       /* CF attributes: long_name, standard_name, cell_methods, source ... */
  int32_t n_attrs;
  const bc_packing *packing; /* NULL unless dtype holds packed integers (readers only) */
} bc_var;

/** The attribute's value, or NULL. */
BC_API const char *bc_var_attr(const bc_var *v, const char *name);
/** Index of a dimension in v->dims, or -1. */
BC_API int bc_var_dim(const bc_var *v, bc_dim d);

/* A piece of one variable. data is never NULL unless a dimension is 0. Missing floats are NaN. */
typedef struct bc_block {
  const bc_var *var;
  int64_t start[BC_MAX_DIMS];  /* position of this piece in the whole */
  int64_t shape[BC_MAX_DIMS];  /* elements */
  int64_t stride[BC_MAX_DIMS]; /* bytes; may be negative in pieces that readers deliver */
  const void *data;
} bc_block;

typedef struct bc_batch bc_batch;
struct bc_batch {
  int32_t n_blocks;
  const bc_block *blocks;
  void (*release)(bc_batch *); /* NULL = empty, or moved away */
  void *priv;
};

typedef struct bc_stream bc_stream;
struct bc_stream {
  int32_t n_vars;
  const bc_var *const *vars;
  const bc_attr *attrs; /* of the whole: title, source, history, licence, snapshot */
  int32_t n_attrs;
  uint64_t bytes; /* that all blocks together will hold */
  /* End: BC_OK and out->release == NULL. Variables come one after the other, each in order of dims[0]. */
  bc_status (*next)(bc_stream *, bc_batch *out, bc_err *);
  void (*release)(bc_stream *);
  void *priv;
};

/** Release and empty; accept NULL and empty ones. */
BC_API void bc_batch_release(bc_batch *b);
BC_API void bc_stream_release(bc_stream *s);

/* Long operations report here; either function may be NULL. */
typedef struct bc_progress {
  void (*tick)(void *ctx, uint64_t done, uint64_t total, const char *what); /* bytes */
  void (*note)(void *ctx, const char *line); /* something the user should know */
  bool (*cancelled)(void *ctx);              /* true: stop with BC_E_CANCELLED */
  void *ctx;
} bc_progress;

#ifdef __cplusplus
}
#endif
#endif
