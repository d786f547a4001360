/* Inside of gathering, shared by gather.c, reconcile.c, mend.c, given.c and encode_pool.c only. */
#ifndef BC_INGEST_GATHER_INT_H
#define BC_INGEST_GATHER_INT_H

#include "ingest/gather.h"
#include "store/source_order.h"

/* Rows, or columns, of a plane that lie in one cell. */
typedef struct bc_cell_span {
  uint32_t cell; /* row or column of cells */
  uint32_t in;   /* first one, inside the cell */
  size_t at, n;  /* in the plane */
} bc_cell_span;

/* A plane waits cell by cell, [y.n][x.n] of one behind the other, so that what becomes a tile lies together.
 */
typedef struct bc_plane_cut {
  bc_cell_span *x, *y;
  size_t n_x, n_y;
} bc_plane_cut;

struct bc_gather_buffer {
  bc_plane p; /* of the first step; levels points to own_levels */
  uint16_t own_levels[BC_MAX_LEVELS];
  int64_t floor; /* of the bucket */
  size_t step_bytes;
  size_t n, cap; /* steps */
  bc_plane_cut cut;
  uint8_t *data; /* [n][levels] planes, cut */
  int64_t *times;
  uint32_t *sources;
  bc_packing *packing; /* BC_I16 only */
  size_t stored;       /* steps that at least one cell has to store */
};

/* Numbers of sources. Zeroed is empty. */
typedef struct bc_ids {
  uint32_t *slot;
  size_t n, n_slots; /* a power of two */
} bc_ids;

bool bc_ids_has(const bc_ids *s, uint32_t id);
bc_status bc_ids_add(bc_ids *s, uint32_t id, bc_err *err) BC_MUST_CHECK;

/* A tile to be: part of one buffer that lies in one cell. */
typedef struct bc_job {
  bc_gather_buffer *b;
  bc_tile_key key;         /* part is settled by reconciling */
  uint32_t y0, x0, ny, nx; /* box inside the cell */
  size_t at;               /* its first element in a plane of the buffer; rows follow each other */
  uint32_t cell_ny, cell_nx;
  size_t *keep; /* steps to store, ascending; NULL = all; owned */
  size_t n_keep;
  bc_ids others; /* sources of stored values that went into it, to mend; owned */
} bc_job;

/* Steps to store. */
static inline size_t bc_job_steps(const bc_job *j) { return j->keep == NULL ? j->b->n : j->n_keep; }

/* What a mending run knows of files and tiles. Zeroed is empty. */
typedef struct bc_given {
  bc_ids done;       /* sources gone through from end to end, as they came in */
  bc_ids held;       /* those of which something could not come back yet */
  bc_tile_key *left; /* lost tiles of which some came back, and which go when all of their sources are done */
  size_t n_left, cap_left;
  uint32_t owed; /* the latest source that is waited for; valid when owes */
  bool owes;
  bool any_order;        /* nothing is waited for */
  bool mends;            /* something lost was met */
  bc_source_order order; /* loaded when something lost is met first */
} bc_given;

bc_status bc_given_wait(bc_given *g, const bc_tile_key *key, bc_err *err) BC_MUST_CHECK;
void bc_given_dispose(bc_given *g);
/* Drop the tiles that waited for what has been given by now. */
bc_status bc_mend_settle(bc_store *st, bc_writer *w, bc_given *given, bc_err *err) BC_MUST_CHECK;

/* Put down what was given, for later runs, with the next commit. */
bc_status bc_mend_mark(bc_store *st, bc_writer *w, const bc_given *given, bc_err *err) BC_MUST_CHECK;

/* Leave out steps that are stored already; settle the part number; note superseded tiles for dropping.
 * compare_only: neither of the latter two. */
bc_status bc_reconcile(bc_store *st, bc_writer *w, bc_job *jobs, size_t n_jobs, bc_conflict conflict,
                       bc_given *given, bool compare_only, double precision, bc_err *err) BC_MUST_CHECK;

/* Encode jobs on up to opts->threads threads and put them in order. */
bc_status bc_encode_jobs(bc_writer *w, const bc_gather_opts *opts, const bc_job *jobs, size_t n_jobs,
                         bc_ingest_report *report, bc_err *err) BC_MUST_CHECK;

/* Values of step t, level l of a job as stored after rounding: decoded float of element (y, x). */
float bc_job_value(const bc_job *j, size_t t, size_t l, size_t y, size_t x);
/* Put another value there; packed integers of the whole buffer are unpacked first. */
bc_status bc_job_set(const bc_job *j, size_t t, size_t l, size_t y, size_t x, float v,
                     bc_err *err) BC_MUST_CHECK;

#endif
