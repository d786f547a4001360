/*
 * Files into a store: plan each file, read it in slabs of time, gather planes, flush and commit.
 *
 * Whenever the gathered planes are flushed, all of them are: so each commit is a point from which the same
 * command goes on after a crash, and cuts the rest in the same way.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/file_plan.h"
#include "ingest/gather.h"
#include "store/os.h"

typedef struct run {
  bc_store *st;
  bc_ingest_conf c;
  bc_writer *w;
  bc_gather *g;
  bc_grid grid;
  bc_ingest_report *report;
  bc_ingest_report safe; /* as of the last commit */
  uint8_t *slab;         /* planes in the file's order */
  size_t slab_cap;
  uint64_t commits;
  bool failed;          /* to flush or to commit: what waits is not whole, and must not be committed later */
  bool told_kinds;      /* once a run */
  uint64_t done, total; /* bytes of all files, for the progress bar */
} run;

static const char *base_name(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

static void note(const run *r, const char *text)
{
  const bc_progress *p = &r->c.o->progress;
  if (p->note != NULL) p->note(p->ctx, text);
}

static bc_status check_cancelled(const run *r, bc_err *err)
{
  const bc_progress *p = &r->c.o->progress;
  if (p->cancelled == NULL || !p->cancelled(p->ctx)) return BC_OK;
  return BC_FAIL(err, BC_E_CANCELLED,
                 "interrupted; what was read so far is kept, the same command goes on from there");
}

/* ---- identity of a file ---- */

static bc_status hash_file(const char *path, bc_source_rec *rec, bc_err *err)
{
  bc_status st = BC_OK;
  static const size_t piece = (size_t)1 << 20;
  bc_hasher *h = bc_hasher_open();
  uint8_t *buf = bc_malloc(piece);
  FILE *f = fopen(path, "rb");
  if (h == NULL || buf == NULL) BC_TRY(BC_FAIL(err, BC_E_NOMEM, "ingest: no memory"));
  if (f == NULL) {
    const int e = errno;
    BC_TRY(BC_FAIL_SYS(err, bc_os_status(e), "os", e, "%s: %s", path,
                       e == ENOENT   ? "no such file"
                       : e == EACCES ? "may not be read"
                                     : "cannot be opened"));
  }
  for (size_t got; (got = fread(buf, 1, piece, f)) > 0; rec->bytes += got)
    bc_hasher_add(h, buf, got);
  if (ferror(f) != 0 && errno == EISDIR)
    BC_TRY(BC_FAIL(err, BC_E_INVAL, "%s: is a folder; name the files in it, as %s/*.nc", path, path));
  if (ferror(f) != 0) BC_TRY(BC_FAIL_SYS(err, BC_E_IO, "os", errno, "%s: cannot be read", path));
  bc_hasher_finish(h, rec->hash);
out:
  if (f != NULL) (void)fclose(f);
  bc_free(buf);
  bc_hasher_close(h);
  return st;
}

/* A file of the list, in the order in which it is gone through. */
typedef struct turn {
  size_t at;     /* in the list */
  int64_t order; /* of the source that it is, to mend; INT64_MIN: of none, or it cannot be read */
  bool hashed;
  uint8_t hash[16];
  uint64_t bytes;
} turn;

static bc_status identify(const run *r, const char *path, const turn *known, bc_source_rec *rec, bc_err *err)
{
  memset(rec, 0, sizeof *rec);
  if (known->hashed) {
    memcpy(rec->hash, known->hash, sizeof rec->hash);
    rec->bytes = known->bytes;
  } else {
    BC_RET(hash_file(path, rec, err));
  }
  rec->ingested = bc_os_now();
  (void)bc_copy_text(rec->name, sizeof rec->name, base_name(path));
  (void)bc_copy_text(rec->request, sizeof rec->request, r->c.request);
  return BC_OK;
}

/* ---- flush and commit ---- */

static bc_status commit_with(run *r, bool marks, bc_err *err)
{
  bc_status st = bc_gather_flush(r->g, r->report, err);
  if (st == BC_OK && marks) st = bc_gather_mark(r->g, err);
  if (st == BC_OK) st = bc_writer_commit(r->w, err);
  r->failed = r->failed || st != BC_OK;
  BC_RET(st);
  r->safe = *r->report;
  r->commits++;
  return BC_OK;
}

static bc_status commit(run *r, bc_err *err) { return commit_with(r, false, err); }

/* ---- moving planes from a file to the gatherer ---- */

typedef struct pass {
  run *r;
  bc_file_plan *p;
  bc_source_rec *src;
  bool compare_only; /* look for conflicts, store nothing */
  uint64_t bytes;    /* of all planes this pass will read */
} pass;

static bc_status slab_room(run *r, size_t bytes, bc_err *err)
{
  if (bytes <= r->slab_cap) return BC_OK;
  bc_free(r->slab);
  r->slab_cap = 0;
  r->slab = bc_malloc(bytes);
  if (r->slab == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory for %zu bytes", bytes);
  r->slab_cap = bytes;
  return BC_OK;
}

/* With a stated precision values are rounded, so packed integers cannot pass as they are. */
static bool must_unpack(const pass *ps, const bc_plan_var *v)
{
  return v->sv->var.dtype == BC_I16 && (ps->r->c.o->precision > 0 || !bc_regrid_is_move(v->rg));
}

static void unpack(const bc_packing *p, const int16_t *src, size_t n, float *dst)
{
  for (size_t i = 0; i < n; i++) {
    const double scaled = (double)src[i] * p->scale;
    dst[i] = p->has_fill && src[i] == p->fill ? __builtin_nanf("") : (float)(scaled + p->offset);
  }
}

static void move_f32(const bc_plan_var *v, size_t l, const float *from, float *row, bc_gather_buffer *to)
{
  const int64_t ny = bc_regrid_box(v->rg).ny;
  for (int64_t y = 0; y < ny; y++) {
    bc_regrid_row_f32(v->rg, from, y, row);
    bc_gather_put_row(to, l, (size_t)y, row);
  }
}

static void move_i16(const bc_plan_var *v, size_t l, const int16_t *from, int16_t *row, bc_gather_buffer *to)
{
  const int64_t ny = bc_regrid_box(v->rg).ny;
  for (int64_t y = 0; y < ny; y++) {
    bc_regrid_row_i16(v->rg, from, y, row);
    bc_gather_put_row(to, l, (size_t)y, row);
  }
}

/* All levels of a step in the file's order, [n_levels][src_plane], into a buffer. */
static bc_status move_planes(const pass *ps, const bc_plan_var *v, const void *from, bc_gather_buffer *to,
                             bc_err *err)
{
  const bool unpacks = must_unpack(ps, v);
  float *tmp = bc_malloc(((unpacks ? v->src_plane : 0) + (size_t)bc_regrid_box(v->rg).nx) * sizeof *tmp);
  if (tmp == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory");
  void *const row = tmp + (unpacks ? v->src_plane : 0);
  for (size_t l = 0; l < v->n_levels; l++) {
    if (v->sv->var.dtype != BC_I16) {
      move_f32(v, l, (const float *)from + l * v->src_plane, row, to);
    } else if (unpacks) {
      unpack(v->sv->var.packing, (const int16_t *)from + l * v->src_plane, v->src_plane, tmp);
      move_f32(v, l, tmp, row, to);
    } else {
      move_i16(v, l, (const int16_t *)from + l * v->src_plane, row, to);
    }
  }
  bc_free(tmp);
  return BC_OK;
}

/* Everything gathered so far: compared, or stored with the place to go on from. */
static bc_status drain(const pass *ps, uint32_t next_var, int64_t next_step, bc_err *err)
{
  run *r = ps->r;
  if (ps->compare_only) return bc_gather_compare(r->g, err);
  if (ps->src != NULL && !r->c.o->mend) { /* what --mend has gone through, another run has not */
    ps->src->next_var = next_var;
    ps->src->next_step = (uint64_t)next_step;
    BC_RET(bc_writer_source_update(r->w, ps->src, err));
  }
  return commit(r, err);
}

static bc_plane plane_of(const pass *ps, const bc_plan_var *v, int64_t step)
{
  const bool unpacks = must_unpack(ps, v);
  return (bc_plane){
    .modality = v->id,
    .grid = ps->p->grid,
    .grid_number = ps->p->grid_number,
    .bucket = v->def.bucket,
    .layout = { v->def.layout[0], v->def.layout[1] },
    .time = bc_plan_time(v, step),
    .box = bc_regrid_box(v->rg),
    .n_levels = (uint16_t)v->n_levels,
    .levels = v->levels,
    .dtype = unpacks ? BC_F32 : v->sv->var.dtype,
    .packing = unpacks ? NULL : v->sv->var.packing,
    .source = ps->src == NULL ? 0 : ps->src->id,
  };
}

static bc_status add_step(const pass *ps, uint32_t iv, int64_t step, const uint8_t *from, bc_err *err)
{
  const bc_plan_var *v = &ps->p->vars[iv];
  const bc_plane plane = plane_of(ps, v, step);
  bc_gather_buffer *to = NULL;
  BC_RET(bc_plan_check_repeat(v, step, from, err));
  if (bc_gather_clashes(ps->r->g, &plane)) BC_RET(drain(ps, iv, step, err));
  BC_RET(bc_gather_add(ps->r->g, &plane, &to, err));
  return move_planes(ps, v, from, to, err);
}

/* Steps to read at once: what fits, in whole chunks of the file so that none is decompressed twice. */
static int64_t slab_steps(const run *r, const bc_plan_var *v, int64_t from, size_t step_bytes)
{
  int64_t n = (int64_t)BC_MAX((uint64_t)1, r->c.slab / step_bytes);
  const int64_t chunk = BC_MAX((int64_t)1, v->sv->chunk_steps);
  if (n > chunk) n -= n % chunk;
  if (from % chunk != 0) n = BC_MIN(n, chunk - from % chunk);
  return BC_MIN(n, v->end - from);
}

static void tick(const pass *ps, uint64_t bytes)
{
  const bc_progress *p = &ps->r->c.o->progress;
  if (p->tick == NULL || ps->bytes == 0 || ps->compare_only) return;
  const uint64_t part =
      ps->src == NULL ? 0 : (uint64_t)((double)ps->src->bytes * (double)bytes / (double)ps->bytes);
  p->tick(p->ctx, ps->r->done + part, ps->r->total, ps->src == NULL ? "" : ps->src->name);
}

static bc_status run_var(const pass *ps, uint32_t iv, int64_t from, uint64_t *bytes, bc_err *err)
{
  run *r = ps->r;
  const bc_plan_var *v = &ps->p->vars[iv];
  const size_t step_bytes = v->src_plane * v->n_levels * bc_dtype_size(v->sv->var.dtype);
  for (int64_t s = BC_MAX(from, v->first); s < v->end;) {
    const int64_t n = slab_steps(r, v, s, step_bytes);
    BC_RET(check_cancelled(r, err));
    BC_RET(slab_room(r, (size_t)n * step_bytes, err));
    BC_RET(bc_source_read(ps->p->src, v->index, s, n, r->slab, err));
    for (int64_t i = 0; i < n; i++, s++) {
      BC_RET(add_step(ps, iv, s, r->slab + (size_t)i * step_bytes, err));
      if (bc_gather_bytes(r->g) + step_bytes > r->c.gather) BC_RET(drain(ps, iv, s + 1, err));
    }
    *bytes += (uint64_t)n * step_bytes;
    tick(ps, *bytes);
  }
  return BC_OK;
}

static uint64_t pass_bytes(const bc_file_plan *p)
{
  uint64_t sum = 0;
  for (size_t i = 0; i < p->n; i++)
    sum += (uint64_t)(p->vars[i].end - p->vars[i].first) * p->vars[i].src_plane * p->vars[i].n_levels *
           bc_dtype_size(p->vars[i].sv->var.dtype);
  return sum;
}

static bc_status run_pass(const pass *ps, bc_err *err)
{
  uint64_t bytes = 0;
  const uint32_t first = ps->src == NULL ? 0 : ps->src->next_var;
  for (uint32_t i = first; i < ps->p->n; i++)
    BC_RET(run_var(ps, i, i == first && ps->src != NULL ? (int64_t)ps->src->next_step : 0, &bytes, err));
  return ps->compare_only ? bc_gather_compare(ps->r->g, err) : BC_OK;
}

/* ---- is it in the store already? ---- */

static bool clashes_with_waiting(run *r, bc_file_plan *p)
{
  const pass ps = { .r = r, .p = p };
  for (size_t i = 0; i < p->n; i++)
    for (int64_t s = p->vars[i].first; s < p->vars[i].end; s++) {
      const bc_plane plane = plane_of(&ps, &p->vars[i], s);
      if (bc_gather_clashes(r->g, &plane)) return true;
    }
  return false;
}

/* The files before this one; what this one adds to the variables is not among it. */
static bc_status commit_earlier(run *r, bc_file_plan *p, bc_err *err)
{
  bc_writer_restore_schema(r->w);
  BC_RET(commit(r, err));
  bc_writer_keep_schema(r->w);
  return bc_file_plan_enrol(p, r->w, err);
}

/* A conflicting file must leave nothing behind: look through all of it before storing any of it. */
static bc_status refuse_conflicts(run *r, bc_file_plan *p, const bc_source_rec *progress, bc_err *err)
{
  bool found = false;
  if (r->c.o->replace || r->c.o->mend) return BC_OK;
  if (clashes_with_waiting(r, p))
    BC_RET(commit_earlier(r, p, err)); /* an earlier file of this run has such steps */
  BC_RET(bc_file_plan_overlaps(p, r->st, &found, err));
  if (!found) return BC_OK;
  BC_RET(commit_earlier(r, p, err)); /* earlier files are safe, and the gatherer is empty */
  bc_source_rec from = *progress;
  const pass look = { .r = r, .p = p, .src = &from, .compare_only = true };
  const bc_status st = run_pass(&look, err);
  if (st != BC_OK) bc_gather_forget(r->g, from.id);
  return st;
}

/* ---- one file ---- */

static bool was_interrupted(const bc_source_rec *s)
{
  return !s->done && (s->next_var != 0 || s->next_step != 0);
}

/* A file that is in begins anew, when it is gone through again (its place then says when it was, to mend); so
 * does any file to mend: what is lost may lie before the place where a run was interrupted. */
static void start_over(const run *r, bc_source_rec *s)
{
  if (!s->done && !r->c.o->mend) return;
  s->next_var = 0;
  s->next_step = 0;
}

/* The source record to work under: to mend, the one under which the file came in; the tiles name that one. */
static bc_status choose_source(run *r, const bc_source_rec *rec, bc_source_rec *src, bool *whole, bc_err *err)
{
  bool known = false;
  *whole = false;
  if (r->c.o->mend) {
    const bc_status st = bc_writer_find_source(r->w, rec, src, err);
    if (st != BC_OK && st != BC_E_NOTFOUND) return st;
    known = st == BC_OK;
    *whole = st == BC_OK && (src->done || was_interrupted(src)); /* mending finishes no other run */
    start_over(r, src);
    if (*whole) return BC_OK;
    char *line = st == BC_OK ? NULL
                             : bc_asprintf("%s: not a file that the store was made of: of it only what the "
                                           "store does not have is taken",
                                           rec->name);
    if (line != NULL) note(r, line);
    bc_free(line);
  }
  BC_RET(bc_writer_source(r->w, rec, src, err));
  if (!r->c.o->mend)
    bc_writer_source_comes_last(r->w, src);
  else if (!known)
    src->order = bc_order_behind(src->id);
  start_over(r, src);
  src->done = false; /* --replace goes through a file again */
  return known ? BC_OK : bc_writer_source_update(r->w, src, err);
}

static bool is_refusal(bc_status st)
{
  return st == BC_E_INVAL || st == BC_E_RANGE || st == BC_E_NOTFOUND || st == BC_E_UNSUPPORTED ||
         st == BC_E_CONFLICT || (st <= BC_E_CORRUPT && st > BC_E_IO);
}

/* whole: to mend, the file is in, or half in: what the store says of it stays. */
static bc_status transfer(run *r, bc_file_plan *p, bc_source_rec *src, bool whole, bc_err *err)
{
  const pass ps = { .r = r, .p = p, .src = src, .bytes = pass_bytes(p) };
  BC_RET(run_pass(&ps, err));
  src->done = true;
  src->next_var = 0;
  src->next_step = 0;
  if (!whole) BC_RET(bc_writer_source_update(r->w, src, err));
  r->report->files++;
  r->report->source_bytes += src->bytes;
  r->report->variables += p->n;
  /* A good moment: no file is half in. Three quarters full is full enough. */
  return bc_gather_bytes(r->g) > r->c.gather / 4 * 3 ? commit(r, err) : BC_OK;
}

/* A file none of whose steps were asked for is no error (others of the list may have some), but worth a word.
 */
static void note_empty(const run *r, const bc_file_plan *p, const char *name)
{
  char first[BC_TIME_TEXT], last[BC_TIME_TEXT];
  if (pass_bytes(p) > 0 || p->n == 0 || p->vars[0].sv->is_static) return;
  const bc_var *v = &p->vars[0].sv->var;
  char *line = bc_asprintf("%s: no step in that time; it goes from %s to %s", name,
                           bc_time_format_short((int64_t)v->coord[0][0], first),
                           bc_time_format_short((int64_t)v->coord[0][v->shape[0] - 1], last));
  if (line != NULL) note(r, line);
  bc_free(line);
}

static bc_status ingest_open_file(run *r, bc_file_plan *p, const bc_source_rec *rec, bc_err *err)
{
  bc_status st = BC_OK;
  uint64_t commits = r->commits;
  bool whole = false;
  bc_source_rec src = *rec;
  src.id = UINT32_MAX; /* no one's, while only looking */
  note_empty(r, p, rec->name);
  bc_writer_keep_schema(r->w);
  BC_TRY(bc_file_plan_register(p, &r->c, r->w, err));
  if (!r->told_kinds) r->told_kinds = bc_file_plan_note_kinds(p, &r->c, r->w);
  st = bc_writer_find_source(r->w, rec, &src, err);
  if (st == BC_OK && was_interrupted(&src) && bc_gather_bytes(r->g) > 0) {
    BC_TRY(commit_earlier(r, p, err)); /* may replace values of the part that is in: then it begins anew */
    commits = r->commits;
    st = bc_writer_find_source(r->w, rec, &src, err);
  }
  if (st != BC_OK && st != BC_E_NOTFOUND) goto out;
  if (st == BC_OK) start_over(r, &src);
  st = refuse_conflicts(r, p, &src, err);
  commits = r->commits; /* of the files before it */
  BC_TRY(st);
  BC_TRY(choose_source(r, rec, &src, &whole, err));
  const bool as_it_came = src.next_var == 0 && src.next_step == 0 && strcmp(src.request, rec->request) == 0;
  BC_TRY(transfer(r, p, &src, whole, err));
  if (r->c.o->mend && as_it_came) BC_TRY(bc_gather_given(r->g, src.id, err));
out:
  if (st != BC_OK) {
    bc_gather_forget(r->g, src.id);
    if (r->commits == commits && !r->failed) { /* as if the file had never been named */
      bc_writer_forget_source(r->w, src.id);
      bc_writer_restore_schema(r->w);
    }
  }
  return st;
}

/* To mend, a file that came in with other options: more of it, or less, is not what was lost. */
static bc_status came_otherwise(run *r, const bc_source_rec *rec, bool *other, bc_err *err)
{
  bc_source_rec have;
  const bc_status st = bc_writer_find_file(r->w, rec->hash, &have, err);
  *other = st == BC_OK;
  if (st != BC_OK) return st == BC_E_NOTFOUND ? BC_OK : st;
  char *line = bc_asprintf(
      "%s: came in with other options (--var, --bbox, --time, --group, --regrid ..) than these, and is "
      "passed over: give it with those, which bctool verify names",
      rec->name);
  if (line != NULL) note(r, line);
  bc_free(line);
  r->report->files_skipped++;
  return BC_OK;
}

static bc_status ingest_file(run *r, const char *path, const char *next_path, const turn *t, bc_err *err)
{
  bc_source_rec rec, have;
  bc_file_plan p;
  BC_RET(identify(r, path, t, &rec, err));
  const bc_status known = bc_writer_find_source(r->w, &rec, &have, err);
  if (known != BC_OK && known != BC_E_NOTFOUND) return known;
  if (known == BC_OK && have.done && !r->c.o->replace && !r->c.o->mend) {
    r->report->files_skipped++;
    return BC_OK;
  }
  if (known == BC_E_NOTFOUND && r->c.o->mend) {
    bool other = false;
    BC_RET(came_otherwise(r, &rec, &other, err));
    if (other) return BC_OK;
  }
  BC_RET(bc_file_plan_open(path, next_path, &r->c, &r->grid, 0, &p, err));
  const bc_status st = ingest_open_file(r, &p, &rec, err);
  bc_file_plan_close(&p);
  return is_refusal(st) ? bc_source_name_error(st, path, err) : st;
}

/* Headers only: how much there is to do, and in how much memory. What the store would refuse is foreseen as
 * far as headers tell. */
static bc_status estimate_file(run *r, const char *path, const char *next_path, bc_err *err)
{
  bc_status st = BC_OK;
  bc_snapshot *snap = NULL;
  bc_file_plan p;
  uint64_t bytes = 0;
  BC_RET(bc_os_file_size(path, &bytes, err));
  BC_RET(bc_file_plan_open(path, next_path, &r->c, &r->grid, 0, &p, err));
  BC_TRY(bc_snapshot_open(r->st, &snap, err));
  for (size_t k = 0; k < bc_snapshot_modalities(snap); k++)
    BC_TRY(bc_file_plan_check(&p, bc_snapshot_modality(snap, (uint16_t)k), err));
  r->report->files++;
  r->report->source_bytes += bytes;
  r->report->variables += p.n;
  for (size_t v = 0; v < p.n; v++) {
    const uint64_t steps = (uint64_t)(p.vars[v].end - p.vars[v].first);
    r->report->steps += steps;
    r->report->decoded_bytes += steps * p.vars[v].n_levels * p.vars[v].dst_plane * sizeof(float);
  }
  r->report->memory = BC_MIN(r->c.memory, r->report->decoded_bytes * 5 / 2 + ((uint64_t)16 << 20));
out:
  bc_snapshot_close(snap);
  bc_file_plan_close(&p);
  return bc_source_name_error(st, path, err);
}

/* ---- all files ---- */

static int latest_first(const void *a, const void *b)
{
  const turn *x = a, *y = b;
  if (x->order != y->order) return x->order < y->order ? 1 : -1;
  return x->at < y->at ? 1 : -1;
}

/* To mend, the file that came last goes first, in whatever order they are given: its values were in force
 * where files replaced those of one another. A file that cannot be read is refused when its turn comes. */
static bc_status rank(run *r, const char *const *paths, turn *turns, size_t n, bc_err *err)
{
  for (size_t i = 0; i < n; i++) {
    bc_source_rec rec, have;
    if (identify(r, paths[i], &turns[i], &rec, NULL) != BC_OK) continue;
    BC_RET(check_cancelled(r, err));
    turns[i].hashed = true;
    turns[i].bytes = rec.bytes;
    memcpy(turns[i].hash, rec.hash, sizeof rec.hash);
    bc_status st = bc_writer_find_source(r->w, &rec, &have, err);
    if (st == BC_E_NOTFOUND) st = bc_writer_find_file(r->w, rec.hash, &have, err);
    if (st != BC_OK && st != BC_E_NOTFOUND) return st;
    if (st == BC_OK) turns[i].order = have.order;
  }
  qsort(turns, n, sizeof *turns, latest_first);
  return BC_OK;
}

static bc_status each_turn(run *r, const char *const *paths, const turn *turns, size_t n, bc_err *err)
{
  bc_err first = { 0 };
  bc_status refused = BC_OK;
  for (size_t k = 0; k < n; k++) {
    const size_t i = turns[k].at;
    uint64_t bytes = 0;
    (void)!bc_os_file_size(paths[i], &bytes, NULL);
    bc_err e = { 0 };
    const char *next = i + 1 < n ? paths[i + 1] : NULL;
    const bc_status st = r->c.o->dry_run ? estimate_file(r, paths[i], next, &e)
                                         : ingest_file(r, paths[i], next, &turns[k], &e);
    r->done += bytes;
    if (st == BC_OK) continue;
    r->report->files_refused++;
    if (r->failed || !r->c.o->keep_going || !is_refusal(st)) {
      if (err != NULL) *err = e;
      return st;
    }
    note(r, e.msg);
    if (refused == BC_OK) first = e;
    refused = refused == BC_OK ? st : refused;
  }
  if (refused != BC_OK && err != NULL) *err = first;
  return refused;
}

static bc_status each_file(run *r, const char *const *paths, size_t n, bc_err *err)
{
  turn *turns = bc_calloc(n + 1, sizeof *turns);
  if (turns == NULL) return BC_FAIL(err, BC_E_NOMEM, "ingest: no memory for %zu files", n);
  for (size_t i = 0; i < n; i++)
    turns[i] = (turn){ .at = i, .order = INT64_MIN };
  bc_status st = r->c.o->mend && !r->c.o->dry_run && n > 1 ? rank(r, paths, turns, n, err) : BC_OK;
  if (st == BC_OK) st = each_turn(r, paths, turns, n, err);
  bc_free(turns);
  return st;
}

static bc_status start(run *r, bc_err *err)
{
  bc_snapshot *s = NULL;
  const bc_gather_opts go = {
    .codec = r->c.codec,
    .threads = r->c.o->threads,
    .in_flight = r->c.in_flight,
    .conflict = r->c.o->replace ? BC_CONFLICT_REPLACE
                : r->c.o->mend  ? BC_CONFLICT_MEND
                                : BC_CONFLICT_REFUSE,
    .any_order = r->c.o->mend_older,
  };
  BC_RET(bc_snapshot_open(r->st, &s, err));
  r->grid = *bc_snapshot_grid(s, 0);
  bc_snapshot_close(s);
  if (r->c.o->dry_run) return BC_OK;
  BC_RET(bc_writer_open(r->st, &r->w, err));
  return bc_gather_open(r->st, r->w, &go, &r->g, err);
}

static void note_owed(const run *r)
{
  uint32_t id = 0;
  bc_source_rec rec;
  bc_snapshot *s = NULL;
  if (!bc_gather_owes(r->g, &id) || bc_snapshot_open(r->st, &s, NULL) != BC_OK) return;
  char *line =
      bc_snapshot_source(s, id, &rec, NULL) != BC_OK ? NULL
      : was_interrupted(&rec)
          ? bc_asprintf("some of what is lost waits for a later file, %s, of which the ingest was "
                        "interrupted: finish "
                        "it, and mend then",
                        rec.name)
          : bc_asprintf("some of what is lost waits for a later file, %s: give both in one command, or that "
                        "one first; --mend-older when it is not to be had",
                        rec.name);
  if (line != NULL) note(r, line);
  bc_free(line);
  bc_snapshot_close(s);
}

/* Nothing is told to be in that is not. */
static void keep_safe(run *r)
{
  r->safe.files_skipped = r->report->files_skipped;
  r->safe.files_refused = r->report->files_refused;
  *r->report = r->safe;
}

bc_status bc_ingest_netcdf(bc_store *st, const char *const *paths, size_t n_paths, const bc_ingest_opts *opts,
                           bc_ingest_report *report, bc_err *err)
{
  bc_status s = BC_OK;
  bc_ingest_report unused;
  run r = { .st = st, .report = report == NULL ? &unused : report };
  memset(r.report, 0, sizeof *r.report);
  const double t0 = bc_os_monotonic();
  if (opts->version != BC_INGEST_OPTS_VERSION)
    return BC_FAIL(err, BC_E_INVAL, "ingest options of version %" PRIu32 ": call bc_ingest_opts_init",
                   opts->version);
  BC_RET(bc_store_check_process(st, err));
  BC_RET(bc_ingest_conf_make(opts, &r.c, err));
  for (size_t i = 0; i < n_paths; i++) {
    uint64_t bytes = 0;
    if (bc_os_file_size(paths[i], &bytes, NULL) == BC_OK) r.total += bytes;
  }
  s = start(&r, err);
  const bool is_open = s == BC_OK;
  if (is_open) s = each_file(&r, paths, n_paths, err);
  if (is_open && !opts->dry_run) {
    /* Whatever happened to one file, the whole ones before it are kept: unless it was the storing that
     * failed, of which half would be committed. */
    const bc_status last = r.failed ? s : commit_with(&r, opts->mend, s == BC_OK ? err : NULL);
    if (s == BC_OK) s = last;
    if (r.failed) keep_safe(&r);
    if (s == BC_OK) note_owed(&r);
    if (s == BC_OK && opts->mend && r.report->steps == 0)
      note(&r, "nothing of what is damaged or lost came from these files");
  }
  r.report->seconds = bc_os_monotonic() - t0;
  bc_gather_close(r.g);
  bc_writer_close(r.w);
  bc_free(r.slab);
  return s;
}
