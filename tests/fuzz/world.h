/* A store in the target's folder that every input finds as it was made. Included by the targets that need
 * one. */
#ifndef BC_TESTS_FUZZ_WORLD_H
#define BC_TESTS_FUZZ_WORLD_H

#include "sums.h"
#include "store/commit.h"
#include "store/store_int.h"

static const uint8_t k_uuid[16] = { 0xf0, 0x0d, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15 };

typedef struct fuzz_world {
  char store[FUZZ_PATH], marker[FUZZ_PATH], segments[FUZZ_PATH], index[FUZZ_PATH], data[FUZZ_PATH];
  bc_grid grid;
  bc_buf marker_text, index_bytes;
  bool made;
} fuzz_world;

static inline void world_make(fuzz_world *w)
{
  bc_err err = { 0 };
  if (w->made) return;
  fuzz_path(w->store, "s.bcube");
  fuzz_path(w->marker, "s.bcube/BIOCUBE");
  fuzz_path(w->segments, "s.bcube/segments");
  fuzz_path(w->index, "s.bcube/index");
  fuzz_path(w->data, "s.bcube/index/data.mdb");
  FUZZ_CHECK(mkdir(w->store, 0700) == 0 && mkdir(w->segments, 0700) == 0 && mkdir(w->index, 0700) == 0);
  FUZZ_CHECK(bc_grid_named("wgs84-2p5", &w->grid, &err) == BC_OK);
  w->grid.cell = 8;
  w->marker_text = bc_buf_empty(8192);
  w->index_bytes = bc_buf_empty((size_t)1 << 24);
  FUZZ_CHECK(bc_marker_text(k_uuid, &w->grid, false, &w->marker_text, &err) == BC_OK);
  fuzz_write(w->marker, w->marker_text.p, w->marker_text.n);
  FUZZ_CHECK(bc_index_init(w->index, k_uuid, &w->grid, &err) == BC_OK);
  FUZZ_CHECK(bc_os_read_file(w->data, w->index_bytes.max, &w->index_bytes, &err) == BC_OK);
  w->made = true;
}

/* Marker, no segments, an empty index. */
static inline void world_reset(fuzz_world *w)
{
  char **names = NULL;
  size_t n = 0;
  char path[2 * FUZZ_PATH];
  bc_err err = { 0 };
  world_make(w);
  FUZZ_CHECK(bc_os_list(w->segments, &names, &n, &err) == BC_OK);
  for (size_t i = 0; i < n; i++) {
    (void)snprintf(path, sizeof path, "%s/%s", w->segments, names[i]);
    bc_os_remove_tree(path);
  }
  bc_os_list_free(names, n);
  (void)snprintf(path, sizeof path, "%s/lock.mdb", w->index);
  (void)unlink(path);
  fuzz_write(w->marker, w->marker_text.p, w->marker_text.n);
  (void)mkdir(w->index, 0700);
  fuzz_write(w->data, w->index_bytes.p, w->index_bytes.n);
}

static inline void world_put_segment(const fuzz_world *w, uint32_t id, const void *p, size_t n)
{
  char name[BC_SEGMENT_NAME], path[2 * FUZZ_PATH];
  bc_segment_name(id, name);
  (void)snprintf(path, sizeof path, "%s/%s", w->segments, name);
  fuzz_write(path, p, n);
}

#endif
