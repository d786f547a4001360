/*
 * A planned query: for each variable its axes, the tiles that give its values, and the slabs it is read in.
 * Internal to query.
 *
 * Pointers to heads and payloads go into mapped segments, which the query holds by reference: nothing here
 * needs the store or a snapshot once bc_query_open has returned.
 */
#ifndef BC_QUERY_PLAN_H
#define BC_QUERY_PLAN_H

#include "query/names.h"
#include "query/query.h"
#include "query/reduce.h"
#include "query/touch.h"

typedef struct bc_ptile { /* a tile of the plan: small, there may be millions */
  const uint8_t *head, *payload;
  uint64_t payload_bytes;
  int64_t bucket;
  bc_area area;
  uint32_t head_bytes, cell, segment;
  uint32_t k_first, k_last; /* of the steps that are read */
  uint32_t shares;          /* pieces that threads take it in */
  uint16_t part;
  uint16_t rank; /* tiles of one rank do not overlap; a higher one overwrites */
  bool lost;     /* made in place of one that cannot be read: all values are missing */
} bc_ptile;

typedef struct bc_qvar {
  bc_modality m;
  bool exact; /* asked for by name: then it is an error when nothing is there */
  bool is_static;
  bc_agg agg;
  bc_var var; /* what the caller sees; points into the fields here */
  /* levels of the answer; see bc_axes */
  uint16_t *levels;
  double *level_coord;
  /* steps */
  int64_t *steps;
  bc_axes axes;
  uint32_t *period; /* with agg: for each step, the step of the answer it goes into */
  size_t n_out;
  double *time_coord;
  int64_t *bounds;
  uint8_t *whole; /* for each step, whether tiles give every value of it */
  /* tiles, by bucket, rank, place in the files */
  bc_ptile *tiles;
  size_t n_tiles, cap_tiles;
  uint16_t ranks;
  /* reading */
  uint64_t plane_bytes, step_bytes; /* of one level, of one step */
  size_t *cuts;                     /* slab i reads steps [cuts[i], cuts[i + 1]) */
  size_t n_slabs;
  int32_t threads;
  uint64_t max_block; /* decoded bytes of the largest block that has bytes */
  uint64_t max_coded; /* of the largest compressed one */
  bc_query_part part;
  bc_query_cost cost;
} bc_qvar;

typedef struct bc_source_name {
  uint32_t id;
  char *name;
} bc_source_name;

typedef struct bc_worker bc_worker;

struct bc_query {
  uint64_t memory;
  int32_t threads;
  bool skip_damaged;
  bc_period period;
  int64_t every_time;
  int64_t t_begin, t_end;
  bc_where where;
  bc_qvar *vars;
  size_t n_vars;
  const bc_var **list;
  uint8_t **made; /* heads of lost tiles; owned */
  size_t n_made, cap_made;
  bc_segment **segments; /* by number */
  size_t n_segments, cap_segments;
  bc_source_name *sources; /* by id */
  size_t n_sources;
  uint64_t snapshot;
  bc_attr attrs[4];
  char *attr_text[4];
  bc_worker *workers; /* exec.c */
  char left_out[400];
  uint64_t damaged;
  char first_damage[480];
  uint64_t read_blocks, read_bytes; /* decoded so far: what tests hold against the cost */
};

/* lost.c: a tile that cannot be read, as why says; in the answer its values are missing. */
bc_status bc_plan_lost(bc_query *q, bc_qvar *v, bc_snapshot *snap, const bc_tile_key *key,
                       const bc_tile_rec *rec, bc_err *why, bc_err *err) BC_MUST_CHECK;
/* Adds to why what brings the tile back. */
void bc_plan_add_remedy(bc_snapshot *snap, const bc_tile_rec *rec, bc_err *why);
/* axes.c: axes of a variable from its tiles; tiles that give nothing are dropped. */
bc_status bc_plan_axes(bc_query *q, bc_qvar *v, bc_err *err) BC_MUST_CHECK;
/* cost.c: which layout copy, order of the tiles, cost, slabs. source_bits: bit i is set for a source i <
 * limit. */
bc_status bc_plan_tiles(bc_query *q, bc_qvar *v, uint8_t *source_bits, uint32_t source_limit,
                        bc_err *err) BC_MUST_CHECK;
/* Memory that one decoding thread takes for this variable. */
uint64_t bc_plan_thread_bytes(const bc_qvar *v);
/* What skip_damaged passes over. */
bool bc_plan_is_damage(bc_status st);
/* "surface/t2m" */
char *bc_plan_name(const bc_modality *m, char buf[2 * BC_NAME_MAX]);
/* describe.c: what the caller sees of the answer and of the whole. */
bc_status bc_plan_describe(bc_query *q, bc_qvar *v, bc_err *err) BC_MUST_CHECK;
bc_status bc_plan_title(bc_query *q, bc_store *st, const char *uuid, const bc_select *sel,
                        bc_err *err) BC_MUST_CHECK;
/* exec.c */
void bc_workers_close(bc_query *q);

#endif
