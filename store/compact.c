/*
 * Compaction: survey the index, choose the segments that go, then move and merge their tiles variable by
 * variable. The parts are in compact_run_int.h; compact_merge.c makes one tile of several pieces,
 * compact_retire.c commits.
 */
#include <inttypes.h>
#include <string.h>

#include "store/compact_run_int.h"

#define DEFAULT_SEGMENT ((uint64_t)256 << 20)
#define DEFAULT_MEMORY  ((uint64_t)1 << 30)
#define LEAST_MEMORY    ((uint64_t)32 << 20)
#define TILE_MEMORY     512 /* of a tile that waits for its commit, its head included, about */

static bc_status set_limits(bc_compact_run *r, const bc_compact_opts *opts, uint64_t *memory, bc_err *err)
{
  uint64_t m = opts == NULL ? 0 : opts->memory;
  if (m == 0) m = BC_MAX(BC_MIN(bc_os_physical_memory() / 4, DEFAULT_MEMORY), LEAST_MEMORY);
  if (m < LEAST_MEMORY)
    return BC_FAIL(err, BC_E_BUDGET,
                   "compaction needs at least %" PRIu64 " MiB of memory, %" PRIu64 " bytes are allowed",
                   LEAST_MEMORY >> 20, m);
  r->target = opts == NULL || opts->segment_bytes == 0 ? DEFAULT_SEGMENT : opts->segment_bytes;
  r->most = (size_t)(BC_MIN(m, (uint64_t)1 << 40) / 8 / TILE_MEMORY);
  r->chunk_room = r->target / 4;
  *memory = m;
  return BC_OK;
}

static void close_run(bc_compact_run *r)
{
  bc_snapshot_close(r->snap);
  bc_merger_close(r->merger);
  bc_writer_close(r->c.w);
  bc_pieces_dispose(&r->group);
  bc_pieces_dispose(&r->chunk);
  bc_pieces_dispose(&r->second);
  bc_free(r->shared.v);
  bc_free(r->tiles);
  bc_free(r->work);
  bc_free(r->twin);
  bc_free(r->c.segs);
  bc_free(r->c.moving);
}

static bc_status prepare(bc_compact_run *r, bc_err *err)
{
  BC_RET(bc_compact_open_snapshot(r, err));
  BC_RET(bc_compact_load_segments(r, err));
  if (r->c.w != NULL) BC_RET(bc_compact_leftovers(&r->c, err));
  BC_RET(bc_compact_survey(r, err));
  bc_compact_choose(r);
  return bc_compact_count(r, err);
}

/* ---- giving up what is lost ---- */

typedef struct forgetting {
  bc_compact_run *r;
  uint8_t *reopened; /* segments whose files were, by number */
  uint64_t n_segments;
} forgetting;

/* Head and place of a tile can be read; blocks of it may still be damaged, and others not. */
static bc_status opens(const bc_compact_run *r, const bc_piece *p, bc_err *err)
{
  bc_tile t;
  BC_RET(bc_snapshot_tile(r->snap, &p->key, &p->rec, &t, err));
  bc_tile_close(&t);
  return BC_OK;
}

static bc_status reopen(bc_compact_run *r, uint32_t source, bc_err *err)
{
  bc_source_rec rec;
  const bc_status st = bc_snapshot_source(r->snap, source, &rec, err);
  if (st != BC_OK) return st == BC_E_NOTFOUND ? BC_OK : st;
  rec.done = false;
  rec.next_var = 0;
  rec.next_step = 0;
  return bc_writer_source_update(r->c.w, &rec, err);
}

/* Files of which something is given up are no longer in: giving one again must not be answered by "already
 * in". */
static bc_status reopen_sources(forgetting *f, const bc_tile_rec *rec, bc_err *err)
{
  bc_compact_run *r = f->r;
  bc_segment_rec seg = { 0 };
  if (rec->head_segment >= f->n_segments || f->reopened[rec->head_segment]) return BC_OK;
  f->reopened[rec->head_segment] = 1;
  const bc_status st = bc_snapshot_segment(r->snap, rec->head_segment, &seg, err);
  if (st != BC_OK && st != BC_E_NOTFOUND) return st;
  for (uint32_t i = 0; i < seg.n_sources; i++)
    BC_RET(reopen(r, bc_le32(seg.sources.p + 4 * (size_t)i), err));
  const uint32_t any = seg.n_sources > 0 ? 0 : bc_snapshot_source_limit(r->snap); /* not known: all */
  for (uint32_t i = 0; i < any; i++)
    BC_RET(reopen(r, i, err));
  return BC_OK;
}

static bc_status forget_tile(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  forgetting *f = ctx;
  bc_compact_run *r = f->r;
  bc_piece p;
  bc_err e = { .msg = "" };
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &p.key, err));
  BC_RET(bc_tile_rec_get(vb, &p.rec, err));
  BC_RET(bc_compact_cancelled(r, err));
  const bc_status st = opens(r, &p, &e);
  if (st == BC_OK) return BC_OK;
  if (!bc_is_damage(st)) { /* a disk that fails today may be read tomorrow */
    if (err != NULL) *err = e;
    return st;
  }
  if (bc_snapshot_has_copy(r->snap, &p.key)) return BC_OK;
  r->c.report->forgotten++;
  if (r->c.w == NULL) return BC_OK;
  BC_RET(reopen_sources(f, &p.rec, err));
  return bc_writer_drop(r->c.w, &p.key, err);
}

static bc_status forget_lost(bc_compact_run *r, bc_err *err)
{
  forgetting f = { .r = r };
  BC_RET(bc_compact_open_snapshot(r, err));
  BC_RET(bc_meta_get(r->snap->txn, BC_META_NEXT_SEGMENT, &f.n_segments, err));
  f.n_segments = BC_MIN(f.n_segments, (uint64_t)UINT32_MAX);
  f.reopened = bc_calloc((size_t)f.n_segments + 1, 1);
  if (f.reopened == NULL) return bc_compact_no_memory(err);
  bc_status st = bc_txn_each(r->snap->txn, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, forget_tile, &f, err);
  bc_free(f.reopened);
  bc_snapshot_close(r->snap);
  r->snap = NULL;
  return st != BC_OK || r->c.w == NULL ? st : bc_writer_commit(r->c.w, err);
}

static bc_status report_after(bc_compact_run *r, bc_err *err)
{
  bc_store_info info;
  BC_RET(bc_compact_open_snapshot(r, err));
  BC_RET(bc_snapshot_info(r->snap, &info, err));
  r->c.report->segments_after = info.n_segments;
  r->c.report->bytes_after = info.segment_bytes;
  r->c.report->tiles_after = info.n_tiles;
  return BC_OK;
}

bc_status bc_store_compact(bc_store *store, const bc_compact_opts *opts, const bc_progress *progress,
                           bc_compact_report *report, bc_err *err)
{
  bc_status st = BC_OK;
  const bool dry_run = opts != NULL && opts->dry_run;
  bc_compact_run r = { .c = { .st = store,
                              .progress = progress,
                              .report = report,
                              .forget_lost = opts != NULL && opts->forget_lost } };
  uint64_t memory = 0;
  memset(report, 0, sizeof *report);
  BC_TRY(set_limits(&r, opts, &memory, err));
  BC_TRY(bc_merger_open(memory / 4, &r.merger, err));
  if (!dry_run) BC_TRY(bc_writer_open(store, &r.c.w, err));
  if (r.c.forget_lost) BC_TRY(forget_lost(&r, err));
  BC_TRY(prepare(&r, err));
  if (!dry_run) {
    bc_writer_set_upkeep(r.c.w, &r.c.upkeep);
    for (size_t i = 0; i < r.n_modalities; i++)
      if (r.work[i] > 0) BC_TRY(bc_compact_write_modality(&r, (uint16_t)i, err));
    BC_TRY(bc_compact_run_commit(&r, true, err));
  }
  BC_TRY(report_after(&r, err));
  report->damaged = BC_MAX(report->damaged, r.c.lost); /* also those that nothing was to be done with */
  if (dry_run) report->damaged -= BC_MIN(report->damaged, report->forgotten);
out:
  close_run(&r);
  return st;
}
