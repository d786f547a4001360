/*
 * The file of an index: checks before LMDB sees it, and maps of it for index_page.c, shared by transactions.
 */
#include <pthread.h>
#include <sys/stat.h>

#include "store/index_int.h"

static pthread_mutex_t g_maps = PTHREAD_MUTEX_INITIALIZER; /* guards maps and their counts; the inner one */

void bc_index_map_unref(bc_index_map *m)
{
  pthread_mutex_lock(&g_maps);
  const bool last = m != NULL && --m->refs == 0;
  pthread_mutex_unlock(&g_maps);
  if (!last) return;
  bc_os_unmap(&m->map);
  bc_free(m);
}

bc_status bc_index_map_get(bc_index_map **current, int fd, uint64_t bytes, bc_index_map **out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_index_map *old = NULL;
  pthread_mutex_lock(&g_maps);
  if (*current == NULL || (*current)->map.n < bytes) {
    bc_index_map *m = bc_calloc(1, sizeof *m);
    if (m == NULL)
      st = BC_FAIL(err, BC_E_NOMEM, "index: no memory");
    else
      st = bc_os_map_fd(fd, "the index", &m->map, err);
    if (st == BC_OK) {
      m->refs = 1;
      old = *current;
      *current = m;
    } else {
      bc_free(m);
    }
  }
  if (st == BC_OK) (*current)->refs++;
  *out = st == BC_OK ? *current : NULL;
  pthread_mutex_unlock(&g_maps);
  bc_index_map_unref(old);
  return st;
}

bc_status bc_index_check_file(const char *data, bc_err *err)
{
  bc_status st = BC_OK;
  for (int i = 0; i < BC_INDEX_TRIES; i++) {
    bc_map m = { NULL, 0 };
    bc_pages p;
    BC_RET(bc_os_map_ro(data, &m, err));
    st = bc_pages_open((bc_bytes){ m.p, m.n }, BC_PAGES_NEWEST, &p, err);
    if (st == BC_OK) st = bc_pages_check(&p, p.last < m.n / p.size ? BC_PAGES_HEADS : BC_PAGES_ALL, err);
    bc_os_unmap(&m);
    if (st == BC_OK || st == BC_E_NOMEM) return st;
  }
  return st;
}

bc_status bc_index_check_lock_file(const char *folder, bc_err *err)
{
  struct stat sb;
  char *lock = bc_asprintf("%s/lock.mdb", folder);
  if (lock == NULL) return BC_FAIL(err, BC_E_NOMEM, "index: no memory");
  bc_status st = BC_OK;
  if (lstat(lock, &sb) == 0 && !S_ISREG(sb.st_mode))
    st = BC_FAIL(err, BC_E_CORRUPT, "%s: not a regular file: remove it, it holds no data", lock);
  bc_free(lock);
  return st;
}

bc_status bc_index_fill_lock_file(const char *folder, uint64_t bytes, bc_err *err)
{
  char *lock = bc_asprintf("%s/lock.mdb", folder);
  if (lock == NULL) return BC_FAIL(err, BC_E_NOMEM, "index: no memory");
  const bc_status st = bc_os_fill_holes(lock, bytes, err);
  bc_free(lock);
  return st;
}
