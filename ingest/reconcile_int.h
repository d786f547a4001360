/* Inside of reconciling, shared by reconcile.c and mend.c only. One thread. */
#ifndef BC_INGEST_RECONCILE_INT_H
#define BC_INGEST_RECONCILE_INT_H

#include "ingest/gather_int.h"

/* A stored piece of the tile that the job is going to be a piece of. */
typedef struct bc_rival {
  bc_tile_key key;
  bc_tile_rec rec;
  bool lost;      /* some of its values cannot be read */
  bool foreign;   /* and mending it is not for the files of this job */
  size_t n_given; /* of one whose head cannot be read: steps that the job may give */
  bool waits;     /* and for some another lost one has to come back first */
  int64_t
      owed; /* the latest of its files that has not been given: older ones do not speak for it; -1: none */
} bc_rival;

enum { BC_SPOKEN = 1, BC_BARRED = 2 /* by a lost tile that only other files bring back */ };

typedef struct bc_reconciler {
  bc_snapshot *snap;
  bc_writer *w;
  bc_decoder *decoder;
  bc_conflict conflict;
  bc_given *given;
  bool compare_only;
  double precision;
  bc_rival *tiles; /* primary parts of the job's key, ascending */
  size_t n, cap;
  uint8_t *mask; /* [steps][levels][ny][nx] of the job: 0, or who has spoken for the node */
  size_t mask_cap;
  float *block; /* decoded values of one block */
  size_t block_cap;
  int64_t changed_by;  /* the source that replaces values of the tile at hand; -1: none */
  bool changed_by_all; /* several do */
  bool copies;         /* values of the tile at hand go into the job */
} bc_reconciler;

/* Rows and columns, in cell coordinates, that a block shares with the job's box. */
typedef struct bc_overlap {
  uint32_t y_lo, y_hi, x_lo, x_hi;
} bc_overlap;

static inline size_t bc_job_volume(const bc_job *j) { return (size_t)j->b->p.n_levels * j->ny * j->nx; }
/* Index of a time among the steps of a job, or how many it has. */
size_t bc_job_step_at(const bc_gather_buffer *b, int64_t time);
/* Index of a stored level among the job's, or -1. */
int bc_job_level_at(const bc_job *j, uint16_t level);

/* Values that cannot be read differ from any, and no one misses them. */
static inline bool bc_passes_damage(const bc_reconciler *r) { return r->conflict != BC_CONFLICT_REFUSE; }

/* ---- mend.c: differs[step] is set where the job has to write what was lost ---- */

/* Whether some step comes from one of the files that a tile was made of; only they can bring it back. */
bool bc_job_any_from(const bc_reconciler *r, const bc_job *j, const bc_rival *t, const bc_tile_head *h);
/* Settles t->owed of a tile whose head can be read and of which something is lost. */
bc_status bc_find_owed(bc_reconciler *r, bc_rival *t, const bc_tile_head *h, bc_err *err) BC_MUST_CHECK;
/* Whether a lost tile that only other files bring back stands in the way of a step. */
bool bc_is_barred(const bc_reconciler *r, const bc_job *j, size_t step);
/* A damaged block: its values are the job's. jl: its level among those of the job. */
void bc_claim_block(bc_reconciler *r, const bc_job *j, const bc_rival *t, const bc_tile_head *h,
                    const bc_block_place *at, size_t jl, const bc_overlap *o, bool *differs);
/* All steps of a tile are written anew. */
void bc_claim_steps(const bc_reconciler *r, const bc_job *j, const bc_rival *t, const bc_tile_head *h,
                    bool *differs);
/* A tile whose head cannot be read. */
bc_status bc_claim_tile(bc_reconciler *r, const bc_job *j, bc_rival *t, bool *differs,
                        bc_err *err) BC_MUST_CHECK;
/* Drop tile i of r if nothing of it is in force any more. After j->keep was settled. */
bc_status bc_drop_superseded(bc_reconciler *r, const bc_job *j, size_t i, bc_err *err) BC_MUST_CHECK;

#endif
