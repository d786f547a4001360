/*
 * What a modality is: one stream of like data, here a raster variable on a grid.
 *
 * Lifetime: a bc_modality owned by a snapshot is borrowed and valid until the snapshot closes. One that the
 * caller fills belongs to the caller: bc_modality_dispose. Threads: plain data.
 */
#ifndef BC_STORE_SCHEMA_H
#define BC_STORE_SCHEMA_H

#include "block.h"
#include "datetime.h"
#include "grid.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BC_MAX_LEVELS     256
#define BC_MAX_MODALITIES 65535u
#define BC_NAME_MAX       48 /* of a group or a variable, with NUL */

/* How blocks cut a tile. The value is stored. */
typedef enum bc_layout {
  BC_LAYOUT_MAP = 0,      /* few steps, whole frames */
  BC_LAYOUT_SERIES = 1,   /* many steps, small boxes */
  BC_LAYOUT_BALANCED = 2, /* about 32 steps by 32 x 32 nodes */
  BC_LAYOUT_NONE = 255
} bc_layout;
BC_API const char *bc_layout_name(bc_layout l);

typedef struct bc_modality {
  uint16_t id;                  /* given by the store */
  uint8_t grid;                 /* number of its grid */
  bc_dtype dtype;               /* of the decoded values */
  bc_bucket bucket;             /* how its tiles cut time */
  bc_layout layout[2];          /* primary; second copy or BC_LAYOUT_NONE */
  int64_t cadence;              /* seconds between steps, 0 unknown; months: 2629746 x n */
  double precision;             /* 0 = lossless; else values were rounded to within half of this */
  uint16_t n_levels;            /* 0 = no level axis */
  double levels[BC_MAX_LEVELS]; /* in order of first arrival; grows only at the end */
  char group[BC_NAME_MAX];      /* "surface" */
  char name[BC_NAME_MAX];       /* "t2m" */
  char units[64];               /* CF */
  char level_units[16];         /* "hPa" */
  bc_attr *attrs;               /* CF attributes of the variable, source, licence; owned */
  int32_t n_attrs;
} bc_modality;

BC_API void bc_modality_dispose(bc_modality *m); /* leaves it empty, safe twice */
BC_API bc_status bc_modality_copy(const bc_modality *from, bc_modality *to, bc_err *err) BC_MUST_CHECK;
/** Add or overwrite one attribute. */
BC_API bc_status bc_modality_set_attr(bc_modality *m, const char *name, const char *value, bool numeric,
                                      bc_err *err) BC_MUST_CHECK;
/** Value of an attribute, or NULL. Borrowed. */
BC_API const char *bc_modality_attr(const bc_modality *m, const char *name);
/** Names are [A-Za-z0-9_.-]+ ; BC_E_INVAL names the offender. */
BC_API bc_status bc_modality_check(const bc_modality *m, bc_err *err) BC_MUST_CHECK;
/** Index of a level within 1e-6 relative, or -1. */
BC_API int bc_modality_level(const bc_modality *m, double level);

/* What a modality holds, kept up to date by each commit. */
typedef struct bc_usage {
  uint64_t n_tiles, stored_bytes, decoded_bytes;
  uint64_t n_valid, n_missing, n_absent; /* node values; absent = inside the tiles' cells, never looked at */
  uint64_t codec_tiles[4];               /* by bc_codec */
  int64_t t_first, t_last;               /* first and last step; BC_TIME_STATIC for fields without time */
  double min, max, sum, sumsq;           /* over valid values; min > max when there are none */
} bc_usage;

#define BC_ORDER_MAX ((int64_t)1 << 62)

/* A file that was ingested. */
typedef struct bc_source_rec {
  uint32_t id;
  uint8_t hash[16]; /* XXH3-128 of its bytes, canonical form */
  uint64_t bytes;
  int64_t ingested;  /* seconds since 1970 */
  bool done;         /* false: a run was interrupted inside it */
  uint32_t next_var; /* where to go on when not done: variable number and step within it */
  uint64_t next_step;
  int64_t order;  /* its place in time: where two files have a value, that of the greater order is in force.
                   * A greater number each time that it is ingested; of a file that was only let fill gaps
                   * (ingest --mend) -id, behind all that were there. Below BC_ORDER_MAX either way */
  char name[256]; /* file name without folders */
  char request[256]; /* options that change what is stored: group, var, bbox, time, regrid, precision */
} bc_source_rec;

#ifdef __cplusplus
}
#endif
#endif
