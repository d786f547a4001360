/*
 * Planes that wait to become tiles. Steps of one variable and one time bucket are gathered, from one file or
 * many, until the memory that was allowed is full; then all of it is encoded (in parallel) and given to the
 * writer. Internal; one thread, flush starts helpers and joins them.
 */
#ifndef BC_INGEST_GATHER_H
#define BC_INGEST_GATHER_H

#include "ingest/ingest.h"
#include "store/snapshot.h"

typedef struct bc_gather bc_gather;
typedef struct bc_gather_buffer bc_gather_buffer; /* steps of one variable and bucket */

typedef enum bc_conflict { /* where the store has another value already */
                           BC_CONFLICT_REFUSE,
                           BC_CONFLICT_REPLACE,
                           BC_CONFLICT_MEND /* that of the store stays, unless it cannot be read */
} bc_conflict;

typedef struct bc_gather_opts {
  bc_codec_opts codec;
  int threads;
  uint64_t in_flight; /* bytes of decoded tiles that may be in work at once, when threads > 1 */
  bc_conflict conflict;
  bool any_order; /* to mend: an older file does not wait for later ones */
} bc_gather_opts;

/* One step of one variable, on its grid. */
typedef struct bc_plane {
  uint16_t modality;
  const bc_grid *grid;
  uint8_t grid_number;
  bc_bucket bucket;
  bc_layout layout[2];
  int64_t time;           /* BC_TIME_STATIC for a field without time */
  bc_box box;             /* nodes covered; x + nx may pass grid->nx */
  uint16_t n_levels;      /* >= 1 */
  const uint16_t *levels; /* indices in the modality's list */
  bc_dtype dtype;         /* BC_F32, or BC_I16 with packing */
  const bc_packing *packing;
  uint32_t source;
} bc_plane;

bc_status bc_gather_open(bc_store *st, bc_writer *w, const bc_gather_opts *opts, bc_gather **out,
                         bc_err *err) BC_MUST_CHECK;
void bc_gather_close(bc_gather *g);

/* true when this step waits already, or a buffer of this bucket has another shape: flush before adding. */
bool bc_gather_clashes(const bc_gather *g, const bc_plane *p);
/* Room for the step: each row of each level has to be put before the next call. */
bc_status bc_gather_add(bc_gather *g, const bc_plane *p, bc_gather_buffer **out, bc_err *err) BC_MUST_CHECK;
/* Row y of box, box.nx elements, of the step that was added last. */
void bc_gather_put_row(bc_gather_buffer *b, size_t level, size_t y, const void *row);
/* Forget the steps that came from this source (it turned out bad). */
void bc_gather_forget(bc_gather *g, uint32_t source);
/* To mend: all of this source was added, with the options with which it came in. What was lost of it and did
 * not come back is not to be had any more. */
bc_status bc_gather_given(bc_gather *g, uint32_t source, bc_err *err) BC_MUST_CHECK;
/* To mend: the latest source that older ones waited for. False when there is none. */
bool bc_gather_owes(const bc_gather *g, uint32_t *source);
/* To mend, before the last commit: later runs know what was given in this. */
bc_status bc_gather_mark(bc_gather *g, bc_err *err) BC_MUST_CHECK;
uint64_t bc_gather_bytes(const bc_gather *g);

/* Encode all, hand all to the writer, become empty. Steps that are stored already with equal values are left
 * out; different ones are BC_E_CONFLICT unless opts.conflict says else. Adds to report: steps, steps_equal,
 * tiles, decoded and stored bytes. */
bc_status bc_gather_flush(bc_gather *g, bc_ingest_report *report, bc_err *err) BC_MUST_CHECK;
/* Only look whether anything that waits differs from what is stored (BC_E_CONFLICT); then become empty. */
bc_status bc_gather_compare(bc_gather *g, bc_err *err) BC_MUST_CHECK;

#endif
