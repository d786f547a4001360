/* What one file will bring: its variables on the store's grid. Internal. */
#ifndef BC_INGEST_FILE_PLAN_H
#define BC_INGEST_FILE_PLAN_H

#include "ingest/regrid.h"
#include "ingest/source.h"
#include "store/snapshot.h"

/* Options as given, checked and in the form the work needs. */
typedef struct bc_ingest_conf {
  const bc_ingest_opts *o;
  bc_codec_opts codec;
  bc_layout layout[2];
  bool has_bucket;
  bc_bucket bucket;
  uint64_t memory, gather, in_flight, slab, cache;
  char request[256];
} bc_ingest_conf;
bc_status bc_ingest_conf_make(const bc_ingest_opts *o, bc_ingest_conf *out, bc_err *err) BC_MUST_CHECK;

typedef struct bc_plan_var {
  size_t index; /* in the source */
  const bc_source_var *sv;
  bc_regridder *rg;
  bc_modality def; /* owned */
  uint16_t id;     /* settled by bc_file_plan_register */
  uint16_t levels[BC_MAX_LEVELS];
  int64_t first, end;          /* steps of the file inside --time */
  size_t n_levels;             /* >= 1 */
  size_t src_plane, dst_plane; /* elements */
} bc_plan_var;

typedef struct bc_file_plan {
  bc_source *src;
  const bc_grid *grid;
  uint8_t grid_number;
  bc_plan_var *vars;
  size_t n;
} bc_file_plan;

/* next_path (may be NULL): a file whose first step tells the cadence where this one has a single step. */
bc_status bc_file_plan_open(const char *path, const char *next_path, const bc_ingest_conf *c,
                            const bc_grid *grid, uint8_t grid_number, bc_file_plan *out,
                            bc_err *err) BC_MUST_CHECK;
void bc_file_plan_close(bc_file_plan *p);
/* Does a modality of the store have other units than the file's variable of that name? BC_E_CONFLICT */
bc_status bc_file_plan_check(const bc_file_plan *p, const bc_modality *have, bc_err *err) BC_MUST_CHECK;
/* Make the modalities known to the writer: check them against the others and enrol them. */
bc_status bc_file_plan_register(bc_file_plan *p, const bc_ingest_conf *c, bc_writer *w,
                                bc_err *err) BC_MUST_CHECK;
bc_status bc_file_plan_enrol(bc_file_plan *p, bc_writer *w, bc_err *err) BC_MUST_CHECK;
/* Tells of variables that are not what the store has under their names; true when there were any. */
bool bc_file_plan_note_kinds(const bc_file_plan *p, const bc_ingest_conf *c, const bc_writer *w);
/* Does the store hold steps of these variables, where they lie? (file_overlap.c) */
bc_status bc_file_plan_overlaps(const bc_file_plan *p, bc_store *store, bool *found,
                                bc_err *err) BC_MUST_CHECK;
/* values: one step of the file, all levels. Columns at 0 and 360 degrees must be equal (file_repeat.c). */
bc_status bc_plan_check_repeat(const bc_plan_var *v, int64_t step, const void *values,
                               bc_err *err) BC_MUST_CHECK;
/* Seconds since 1970, or BC_TIME_STATIC. */
int64_t bc_plan_time(const bc_plan_var *v, int64_t step);

#endif
