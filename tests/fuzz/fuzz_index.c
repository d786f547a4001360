/*
 * What the index and the directories hold: keys, tile records, grids, variables, usage, sources, the commit
 * record. What decodes must encode to something that decodes to the same, and a grid that is accepted must
 * bear every question.
 *
 * Input: kind, then the record. Kind 6: the commit record, in a segment without tiles.
 */
#include <math.h>

#include "store/schema_io.h"
#include "world.h"

static fuzz_world g_world;
static bc_index *g_index;

static void try_key(bc_bytes src)
{
  bc_err err = { 0 };
  bc_tile_key k;
  uint8_t back[BC_TILE_KEY_BYTES];
  if (FUZZ(bc_tile_key_get(src, &k, &err)) != BC_OK) return;
  bc_tile_key_put(&k, back);
  FUZZ_CHECK(memcmp(back, src.p, sizeof back) == 0);
}

static void try_rec(bc_bytes src)
{
  bc_err err = { 0 };
  bc_tile_rec r;
  uint8_t back[BC_TILE_REC_BYTES];
  if (FUZZ(bc_tile_rec_get(src, &r, &err)) != BC_OK) return;
  bc_tile_rec_put(&r, back);
  FUZZ_CHECK(memcmp(back, src.p, 52) == 0);
}

/* Questions that a query asks about a grid. */
static void ask_grid(const bc_grid *g)
{
  static const double at[] = { -1e300, -720,    -180, -90, -0.1,  0,   0.1,     45,
                               90,     179.999, 180,  360, 1e300, NAN, INFINITY };
  bc_err err = { 0 };
  bc_box box;
  int64_t i = 0;
  double off = 0;
  for (size_t a = 0; a < BC_ARRAY_LEN(at); a++) {
    if (bc_grid_row(g, at[a], &i, &off)) FUZZ_CHECK(i >= 0 && i < g->ny);
    if (bc_grid_col(g, at[a], &i, &off)) FUZZ_CHECK(i >= 0 && i < g->nx);
    for (size_t b = 0; b < BC_ARRAY_LEN(at); b++) {
      bc_grid cut = *g;
      if (FUZZ(bc_grid_box(g, at[a], -50, at[b], 70, &box, &err)) == BC_OK)
        FUZZ_CHECK(box.y >= 0 && box.ny >= 1 && box.y + box.ny <= g->ny && box.x >= 0 && box.x < g->nx &&
                   box.nx >= 1 && box.nx <= g->nx && (g->wraps || box.x + box.nx <= g->nx));
      if (FUZZ(bc_grid_subset(&cut, at[a], -50, at[b], 70, &err)) == BC_OK)
        FUZZ_CHECK(bc_grid_check(&cut, &err) == BC_OK);
    }
  }
  const uint32_t cy = bc_grid_cells_y(g), cx = bc_grid_cells_x(g);
  uint32_t y = 0, x = 0;
  FUZZ_CHECK(cy >= 1 && cx >= 1);
  bc_cell_position(bc_cell_number(cy - 1, cx - 1), &y, &x);
  FUZZ_CHECK(y == cy - 1 && x == cx - 1 && bc_cell_number(cy - 1, cx - 1) < 1u << BC_CELL_BITS);
  FUZZ_CHECK(isfinite(bc_grid_y(g, 0)) && isfinite(bc_grid_y(g, (int64_t)g->ny - 1)));
  FUZZ_CHECK(isfinite(bc_grid_x(g, 0)) && isfinite(bc_grid_x(g, (int64_t)g->nx - 1)));
}

static void try_grid(bc_bytes src)
{
  bc_err err = { 0 };
  bc_grid g;
  bc_buf b = bc_buf_empty((size_t)1 << 20);
  if (FUZZ(bc_grid_decode(src, &g, &err)) != BC_OK) return;
  FUZZ_CHECK(bc_grid_encode(&g, &b, &err) == BC_OK);
  FUZZ_CHECK(b.n == src.n && strpbrk(g.crs, "\x1b\n\r\a\b\x7f") == NULL);
  ask_grid(&g);
  bc_buf_dispose(&b);
}

static void try_modality(bc_bytes src)
{
  bc_err err = { 0 };
  bc_modality m, again;
  bc_buf b = bc_buf_empty((size_t)1 << 24), c = bc_buf_empty((size_t)1 << 24);
  if (FUZZ(bc_modality_decode(src, &m, &err)) != BC_OK) return;
  FUZZ_CHECK(bc_modality_check(&m, &err) == BC_OK);
  for (int32_t i = 0; i < m.n_attrs; i++)
    FUZZ_CHECK(strpbrk(m.attrs[i].value, "\x1b\n\r\a\b\x7f") == NULL);
  FUZZ_CHECK(bc_modality_encode(&m, &b, &err) == BC_OK);
  FUZZ_CHECK(bc_modality_decode((bc_bytes){ b.p, b.n }, &again, &err) == BC_OK);
  FUZZ_CHECK(bc_modality_encode(&again, &c, &err) == BC_OK);
  FUZZ_CHECK(b.n == c.n && memcmp(b.p, c.p, b.n) == 0);
  bc_modality_dispose(&m);
  bc_modality_dispose(&again);
  bc_buf_dispose(&b);
  bc_buf_dispose(&c);
}

static void try_usage(bc_bytes src)
{
  bc_err err = { 0 };
  bc_usage u;
  bc_buf b = bc_buf_empty((size_t)1 << 20);
  char text[BC_TIME_TEXT];
  const bc_tile_rec r = { .n_valid = 1, .min = 1, .max = 2 };
  if (FUZZ(bc_usage_decode(src, &u, &err)) != BC_OK) return;
  FUZZ_CHECK(bc_usage_encode(&u, &b, &err) == BC_OK);
  FUZZ_CHECK(b.n == src.n && memcmp(b.p, src.p, b.n) == 0);
  FUZZ_CHECK(strlen(bc_time_format(u.t_first, text)) < sizeof text);
  FUZZ_CHECK(strlen(bc_time_format_short(u.t_last, text)) < sizeof text);
  bc_usage_add(&u, &r, u.t_last, u.t_first);
  bc_buf_dispose(&b);
}

static void try_source(bc_bytes src)
{
  bc_err err = { 0 };
  bc_source_rec s, again;
  bc_buf b = bc_buf_empty((size_t)1 << 20);
  if (FUZZ(bc_source_decode(src, &s, &err)) != BC_OK) return;
  FUZZ_CHECK(bc_source_encode(&s, &b, &err) == BC_OK && b.n == src.n);
  FUZZ_CHECK(bc_source_decode((bc_bytes){ b.p, b.n }, &again, &err) == BC_OK);
  FUZZ_CHECK(s.id == again.id && strcmp(s.name, again.name) == 0 && strcmp(s.request, again.request) == 0);
  FUZZ_CHECK(strpbrk(s.name, "\x1b\n\r\a\b\x7f") == NULL); /* it is shown on terminals */
  bc_buf_dispose(&b);
}

static void try_commit(bc_bytes src)
{
  bc_err err = { 0 };
  bc_segment *seg = NULL;
  bc_txn *t = NULL;
  const size_t n = 64 + 16 + src.n + 64;
  uint8_t *file = calloc(n, 1);
  FUZZ_CHECK(file != NULL);
  bc_put_le32(file + 12, 64);
  bc_put_le32(file + 64, (uint32_t)src.n);
  memcpy(file + 80, src.p, src.n);
  bc_put_le64(file + n - 64 + 8, 64);
  bc_put_le64(file + n - 64 + 16, 16 + src.n);
  fuzz_fix_segment(file, n, k_uuid, 1);
  if (g_index == NULL) {
    world_make(&g_world);
    FUZZ_CHECK(bc_index_open(g_world.index, BC_INDEX_WRITE, &g_index, &err) == BC_OK);
  }
  world_put_segment(&g_world, 1, file, n);
  free(file);
  FUZZ_CHECK(FUZZ(bc_segment_open(g_world.segments, 1, k_uuid, true, &seg, &err)) == BC_OK);
  FUZZ_CHECK(bc_txn_begin(g_index, true, &t, &err) == BC_OK);
  (void)FUZZ(bc_commit_apply(t, seg, g_world.segments, k_uuid, &err));
  bc_txn_abort(t);
  bc_segment_unref(seg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static void (*const tries[])(bc_bytes) = { try_key,   try_rec,    try_grid,  try_modality,
                                             try_usage, try_source, try_commit };
  fuzz_in in = { data, size };
  const uint8_t kind = fuzz_u8(&in);
  uint8_t *copy = fuzz_copy(in.p, in.n);
  tries[kind % BC_ARRAY_LEN(tries)]((bc_bytes){ copy, in.n });
  free(copy);
  return 0;
}
