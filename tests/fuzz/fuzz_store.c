/*
 * A whole store around one segment: what planners, readers, views and upkeep make of tiles whose checksums
 * are right and whose words are not.
 *
 * Input: control (bit 0: make checksums right, bit 1: reindex instead of applying the commit, bits 2-4: how
 * to ask, bit 5: pass over damage, bit 6: compact, and look again), then the segment file.
 */
#include "query/query.h"
#include "world.h"

#define MAX_OUTPUT ((uint64_t)4 << 20)

static fuzz_world g_world;

static bc_status put_in_index(bool anew)
{
  bc_err err = { 0 };
  bc_status st = BC_OK;
  bc_reindex_report report;
  bc_segment *seg = NULL;
  bc_index *ix = NULL;
  bc_txn *t = NULL;
  if (anew) return FUZZ(bc_store_reindex(g_world.store, NULL, NULL, NULL, &report, &err));
  BC_TRY(FUZZ(bc_segment_open(g_world.segments, 1, k_uuid, true, &seg, &err)));
  FUZZ_CHECK(bc_index_open(g_world.index, BC_INDEX_WRITE, &ix, &err) == BC_OK);
  FUZZ_CHECK(bc_txn_begin(ix, true, &t, &err) == BC_OK);
  BC_TRY(FUZZ(bc_commit_apply(t, seg, g_world.segments, k_uuid, &err)));
  FUZZ_CHECK(bc_txn_commit(t, &err) == BC_OK);
  t = NULL;
out:
  bc_txn_abort(t);
  bc_index_close(ix);
  bc_segment_unref(seg);
  return st;
}

static void found(void *ctx, const bc_damage *d)
{
  (void)ctx;
  FUZZ_CHECK(d->code != BC_OK && d->what != NULL && d->what[0] != '\0');
}

/* What `ls` and `info` ask for. */
static void list(bc_store *st)
{
  static bc_usage levels[BC_MAX_LEVELS];
  bc_err err = { 0 };
  bc_snapshot *s = NULL;
  bc_store_info info;
  if (FUZZ(bc_snapshot_open(st, &s, &err)) != BC_OK) return;
  (void)FUZZ(bc_snapshot_info(s, &info, &err));
  for (size_t i = 0; i < bc_snapshot_modalities(s) && i < 8; i++) {
    const bc_modality *m = bc_snapshot_modality(s, i);
    bc_usage u;
    int64_t *times = NULL;
    size_t n = 0;
    FUZZ_CHECK(bc_snapshot_grid(s, m->grid) != NULL);
    (void)FUZZ(bc_snapshot_usage(s, m->id, &u, &err));
    (void)FUZZ(bc_snapshot_level_usage(s, m->id, levels, BC_MAX((size_t)m->n_levels, 1), NULL, &err));
    if (FUZZ(bc_snapshot_times(s, m->id, &times, &n, NULL, &err)) == BC_OK)
      for (size_t k = 1; k < n; k++)
        FUZZ_CHECK(times[k - 1] < times[k]);
    bc_times_free(times);
  }
  bc_snapshot_close(s);
}

static void ask_as(bc_select *s, unsigned how)
{
  bc_err err = { 0 };
  bc_status st = BC_OK;
  switch (how) {
  case 1: st = bc_select_set_bbox(s, "-170,-40,170,80", &err); break;
  case 2: st = bc_select_set_bbox(s, "170,-90,-170,90", &err); break;
  case 3:
    st = bc_select_add_at(s, "89.9,-180", &err);
    if (st == BC_OK) st = bc_select_add_at(s, "80,-170", &err);
    if (st == BC_OK) st = bc_select_add_at(s, "80,-169.9", &err);
    break;
  case 4: st = bc_select_set_agg(s, "mean:1d", &err); break;
  case 5: st = bc_select_set_every(s, "3,2", &err); break;
  case 6: st = bc_select_set_time(s, "1970-01-01T05/2030", &err); break;
  case 7:
    s->lat_ascending = s->lon_360 = true;
    st = bc_select_set_agg(s, "count:1mo", &err);
    break;
  default: break;
  }
  FUZZ_CHECK(st == BC_OK);
}

static void drain(bc_query *q)
{
  bc_err err = { 0 };
  bc_stream s = { 0 };
  bc_batch b = { 0 };
  const char *first = NULL;
  volatile uint8_t seen = 0;
  if (FUZZ(bc_query_stream(q, NULL, &s, &err)) != BC_OK) return;
  while (FUZZ(s.next(&s, &b, &err)) == BC_OK && b.release != NULL) {
    for (int32_t i = 0; i < b.n_blocks; i++) {
      const bc_block *k = &b.blocks[i];
      size_t bytes = 0;
      FUZZ_CHECK(bc_shape_bytes(k->shape, k->var->ndim, bc_dtype_size(k->var->dtype), &bytes));
      for (size_t at = 0; at < bytes; at += 64)
        seen = (uint8_t)(seen ^ ((const uint8_t *)k->data)[at]);
    }
    bc_batch_release(&b);
  }
  (void)bc_query_damaged(q, &first);
  bc_stream_release(&s);
}

static void query(bc_store *st, unsigned how, bool skip)
{
  bc_err err = { 0 };
  bc_select sel;
  bc_query *q = NULL;
  bc_query_cost cost = { 0 };
  bc_query_opts o = BC_QUERY_OPTS_INIT;
  o.memory = (uint64_t)64 << 20;
  o.skip_damaged = skip;
  bc_select_init(&sel);
  ask_as(&sel, how);
  if (FUZZ(bc_query_open(st, &sel, &o, &q, &err)) == BC_OK) {
    bc_query_get_cost(q, -1, &cost);
    if (cost.output_bytes <= MAX_OUTPUT && cost.decoded_bytes <= 16 * MAX_OUTPUT) drain(q);
  }
  bc_query_close(q);
  bc_select_dispose(&sel);
}

static void view(bc_store *st)
{
  bc_err err = { 0 };
  bc_view v = { 0 };
  volatile uint8_t seen = 0;
  if (FUZZ(bc_view_open(st, "surface/t2m", 0, 2, &v, &err)) != BC_OK) return;
  for (int64_t i = 0; i < v.shape[0]; i++) {
    const uint8_t *p = v.step[i];
    size_t bytes = 0;
    FUZZ_CHECK(bc_shape_bytes(v.shape + 1, v.ndim - 1, sizeof(float), &bytes));
    for (size_t at = 0; at < bytes; at += 4)
      seen = (uint8_t)(seen ^ p[at]);
  }
  bc_view_release(&v);
}

/* What every command that reads would do. */
static void look(uint8_t control)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_verify_report report;
  if (FUZZ(bc_store_open(g_world.store, BC_OPEN_READ, &st, &err)) != BC_OK) return;
  list(st);
  (void)FUZZ(bc_store_verify(st, true, found, NULL, NULL, &report, &err));
  query(st, control >> 2 & 7, (control >> 5 & 1) != 0);
  view(st);
  bc_store_close(st);
}

static void compact(void)
{
  bc_err err = { 0 };
  bc_store *st = NULL;
  bc_compact_report report;
  const bc_compact_opts o = { .memory = (uint64_t)64 << 20 };
  if (FUZZ(bc_store_open(g_world.store, BC_OPEN_WRITE, &st, &err)) != BC_OK) return;
  (void)FUZZ(bc_store_compact(st, &o, NULL, &report, &err));
  bc_store_close(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  fuzz_in in = { data, size };
  world_reset(&g_world);
  const uint8_t control = fuzz_u8(&in);
  uint8_t *file = fuzz_copy(in.p, in.n);
  if ((control & 1) != 0) fuzz_fix_segment(file, in.n, k_uuid, 1);
  world_put_segment(&g_world, 1, file, in.n);
  free(file);
  if (put_in_index((control & 2) != 0) != BC_OK) return 0;
  look(control);
  if ((control >> 6 & 1) != 0) {
    compact();
    look(control);
  }
  return 0;
}
