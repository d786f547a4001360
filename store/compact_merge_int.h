/*
 * What the parts of merging share: boxes of values (compact_extent.c), which pieces can become one
 * (compact_plan.c), the merged tile (compact_merge.c), its values as packed integers (compact_pack.c).
 * Internal.
 */
#ifndef BC_STORE_COMPACT_MERGE_INT_H
#define BC_STORE_COMPACT_MERGE_INT_H

#include "store/compact.h"

#define BC_LEVEL_WORDS (BC_MAX_LEVELS / 64)

/* A box of nodes, levels and steps: of a piece, or of a set of pieces that fill it. */
typedef struct bc_extent {
  uint32_t y0, x0, ny, nx;
  uint64_t levels[BC_LEVEL_WORDS];
  const int64_t *t; /* ascending */
  size_t nt;
} bc_extent;

typedef struct bc_merge_part { /* a piece, while planning */
  bc_tile tile;
  bc_extent e;
  int64_t *times;      /* e.t */
  bc_packing *packing; /* by step; NULL: not made of packed integers */
  bool alone;          /* of a kind that is not merged */
} bc_merge_part;

typedef struct bc_merge_set { /* pieces that become one */
  bc_extent e;
  int64_t *times;      /* e.t: owned */
  size_t low, n;       /* lowest piece, number of pieces */
  bool packed, fitted; /* holds pieces of packed integers; of other values that are not constant */
} bc_merge_set;

/* The pieces of a group or of a set, opened, and the sets that they make. */
typedef struct bc_merge_sets {
  bc_merge_part *parts;
  size_t n;
  size_t *of; /* by part: its set */
  bc_merge_set *sets;
  size_t n_sets;
} bc_merge_sets;

struct bc_merger {
  uint64_t max_bytes;
  bc_decoder *decoder;
  bc_encoder *encoder;
  bc_zstd *z;
  bc_lin16_scratch scratch;
  bc_buf head, payload;
};

/* The tile that is made of the pieces of one set. */
typedef struct bc_merged {
  bc_merger *m;
  bc_merge_sets *p;
  bc_extent e;
  int64_t *times;
  uint16_t levels[BC_MAX_LEVELS];
  uint32_t nl;
  uint32_t *sources;
  uint32_t n_sources;
  float *v;           /* [nt][nl][ny][nx] */
  size_t step, plane; /* values */
  bc_packing *packing;
  int16_t *q;
} bc_merged;

/* ---- compact_extent.c ---- */

size_t bc_extent_levels(const bc_extent *e); /* number of them */
bool bc_extent_same_levels(const bc_extent *a, const bc_extent *b);
bool bc_extent_same_box(const bc_extent *a, const bc_extent *b);
bool bc_extent_same_times(const bc_extent *a, const bc_extent *b);
/* Steps of two, walked together: how many there are in all, and how many both have. */
size_t bc_extent_union_times(const bc_extent *a, const bc_extent *b, size_t *both);
bool bc_extent_share_steps(const bc_extent *a, const bc_extent *b);
/* Some value is in both. */
bool bc_extent_overlap(const bc_extent *a, const bc_extent *b);
/*
 * Two full boxes make a full one when they differ along one axis only, or when one holds the other. More than
 * two come together by pairs.
 */
bool bc_extent_dense(const bc_extent *a, const bc_extent *b);
/* Box and levels of a grow until they hold those of b. Times stay: they are owned by somebody. */
void bc_extent_hull(bc_extent *a, const bc_extent *b);
/* Steps of both, each once; out has room for all. Returns how many. */
size_t bc_extent_merge_times(const bc_extent *a, const bc_extent *b, int64_t *out);

/* ---- compact_plan.c ---- */

/* To be disposed of in any case. */
bc_status bc_merge_open_parts(bc_merger *m, bc_snapshot *snap, const bc_piece *const *pieces, size_t n,
                              bc_merge_sets *p, bc_err *err) BC_MUST_CHECK;
void bc_merge_dispose(bc_merge_sets *p);

/* ---- compact_merge.c, compact_pack.c ---- */

/* Place of a time among the steps. */
size_t bc_merged_step(const bc_merged *g, int64_t t);
/* The values as packed integers with the packing of the pieces; false when they would not come back bit for
 * bit. */
bool bc_merge_pack(bc_merged *g);

#endif
