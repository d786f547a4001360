/*
 * LMDB behind our keys, values and transactions: environments, transactions, access. The parts that do not
 * need LMDB are in index_int.h.
 */
#include "store/index_int.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sparse: the file grows page by page as it is written, so a big map costs address space only. Set once and
 * never changed, because changing it under a live transaction is what breaks LMDB elsewhere. */
#define MAP_BYTES     ((size_t)1 << 38)
#define MIN_MAP_BYTES ((size_t)1 << 26)
#define LOCK_BYTES    (MAX_READERS * 64u + 4096u) /* of LMDB's table of readers, at least */
#define MAX_READERS   4096u /* all processes together; the default of 126 is passed by one training job */

static const char *const k_tables[BC_N_TABLES] = { "meta",    "grids",       "modalities", "usage",
                                                   "sources", "source-hash", "segments",   "tiles" };

/* One open environment: LMDB forbids a second one on the same file in one process. */
typedef struct env_ref {
  struct env_ref *next;
  dev_t dev;
  ino_t ino;
  long pid; /* entries of a parent process are not ours after fork() */
  int refs;
  bool read_only;
  MDB_env *env;
  MDB_dbi dbi[BC_N_TABLES];
  bc_index_map *map;
} env_ref;

struct bc_index {
  env_ref *ref;
};

struct bc_txn {
  bc_index *ix;
  MDB_txn *txn;
  bool write;
  bool changed;      /* sum is to be stored */
  uint64_t sum;      /* write: the digest so far */
  bc_index_map *map; /* read: LMDB only pins the snapshot, which is read by index_page.c */
  bc_pages pages;
  bc_tree tables[BC_N_TABLES]; /* depth UINT16_MAX: not looked up yet */
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static env_ref *g_envs;

static bc_status lmdb_fail(bc_err *err, int rc, const char *what)
{
  bc_status st = BC_E_IO;
  if (rc == EAGAIN) /* the lock on the byte of our pid is taken */
    return BC_FAIL_SYS(
        err, BC_E_BUSY, "lmdb", rc,
        "index: a process in another container, which has the same number %ld there, is reading: try "
        "again later, share one pid namespace, or read a copy (bctool publish)",
        bc_os_pid());
  switch (rc) {
  case MDB_NOTFOUND: return BC_E_NOTFOUND; /* a result, not a failure: no text */
  case MDB_MAP_FULL: st = BC_E_FULL; break;
  case MDB_CORRUPTED:
  case MDB_PAGE_NOTFOUND:
  case MDB_INVALID:
  case MDB_PANIC: st = BC_E_CORRUPT; break;
  case MDB_VERSION_MISMATCH: st = BC_E_VERSION; break;
  case MDB_READERS_FULL: st = BC_E_BUSY; break;
  case ENOMEM: st = BC_E_NOMEM; break;
  default:
    if (rc > 0) st = bc_os_status(rc);
  }
  return BC_FAIL_SYS(err, st, "lmdb", rc, "index: %s: %s%s", what, mdb_strerror(rc),
                     st == BC_E_CORRUPT ? "; the index is damaged: run bctool reindex" : "");
}

/* ---- opening ---- */

static bc_status open_tables(env_ref *e, bool create, bc_err *err)
{
  MDB_txn *txn = NULL;
  const bool write = create;
  int rc = mdb_txn_begin(e->env, NULL, write ? 0 : MDB_RDONLY, &txn);
  if (rc != 0) return lmdb_fail(err, rc, "opening");
  for (int i = 0; i < BC_N_TABLES; i++) {
    rc = mdb_dbi_open(txn, k_tables[i], create ? MDB_CREATE : 0, &e->dbi[i]);
    if (rc != 0) {
      mdb_txn_abort(txn);
      if (rc == MDB_NOTFOUND)
        return BC_FAIL(err, BC_E_CORRUPT, "index: table %s is not there: run bctool reindex", k_tables[i]);
      return lmdb_fail(err, rc, k_tables[i]);
    }
  }
  /* Handles opened in a committed transaction stay valid for all later ones. */
  rc = mdb_txn_commit(txn);
  return rc == 0 ? BC_OK : lmdb_fail(err, rc, "opening");
}

static bc_status env_make(const char *folder, unsigned flags, size_t map_bytes, MDB_env **out, int *rc_out,
                          bc_err *err)
{
  unsigned f = MDB_NOTLS;
  if (flags & BC_INDEX_NOLOCK) f |= MDB_RDONLY | MDB_NOLOCK;
  MDB_env *env = NULL;
  int rc = mdb_env_create(&env);
  *out = NULL;
  if (rc == 0) rc = mdb_env_set_mapsize(env, map_bytes);
  if (rc == 0) rc = mdb_env_set_maxdbs(env, BC_N_TABLES + 8);
  if (rc == 0) rc = mdb_env_set_maxreaders(env, MAX_READERS);
  if (rc == 0) rc = mdb_env_open(env, folder, f, 0644);
  *rc_out = rc;
  if (rc != 0) {
    if (env != NULL) mdb_env_close(env);
    return lmdb_fail(err, rc, "opening");
  }
  *out = env;
  return BC_OK;
}

/* Address space may be limited (ulimit -v, as schedulers of clusters set it): then less than for all time. */
static bc_status env_fit(const char *folder, uint64_t file_bytes, unsigned flags, size_t map, MDB_env **out,
                         int *rc, bc_err *err)
{
  const uint64_t enough = BC_MAX(4 * file_bytes, (uint64_t)MIN_MAP_BYTES);
  bc_status st = env_make(folder, flags, map, out, rc, err);
  for (; st != BC_OK && *rc == ENOMEM && map / 4 >= enough; map /= 4)
    st = env_make(folder, flags, map / 4, out, rc, err);
  return st;
}

static bc_status env_open(const char *folder, const char *data, unsigned flags, env_ref *e, bc_err *err)
{
  int rc = 0, dead = 0;
  struct stat sb;
  size_t map = MAP_BYTES;
  const uint64_t bytes = stat(data, &sb) == 0 ? (uint64_t)sb.st_size : 0;
  if ((flags & BC_INDEX_FIXED) && bytes > 0) map = (size_t)bytes;
  if (!(flags & BC_INDEX_CREATE)) BC_RET(bc_index_check_file(data, err));
  bc_status st = env_fit(folder, bytes, flags, map, &e->env, &rc, err);
  /* Read-only media: no lock file can be written there, and nobody can write the data either. */
  if (st != BC_OK && !(flags & (BC_INDEX_WRITE | BC_INDEX_NOLOCK)) &&
      (rc == EACCES || rc == EROFS || rc == EPERM)) {
    flags |= BC_INDEX_NOLOCK;
    st = env_fit(folder, bytes, flags, map, &e->env, &rc, err);
  }
  if (st != BC_OK) return st;
  e->read_only = (flags & BC_INDEX_NOLOCK) != 0;
  st = open_tables(e, (flags & BC_INDEX_CREATE) != 0, err);
  if (st == BC_OK && !e->read_only) (void)mdb_reader_check(e->env, &dead); /* sweep slots of killed readers */
  if (st != BC_OK) mdb_env_close(e->env);
  return st;
}

static env_ref *registry_find(const struct stat *sb)
{
  for (env_ref *e = g_envs; e != NULL; e = e->next)
    if (e->dev == sb->st_dev && e->ino == sb->st_ino && e->pid == bc_os_pid()) return e;
  return NULL;
}

static bc_status registry_get(const char *folder, const char *data, unsigned flags, env_ref **out,
                              bc_err *err)
{
  struct stat sb;
  if (!(flags & BC_INDEX_CREATE)) {
    if (lstat(data, &sb) != 0 || !S_ISREG(sb.st_mode))
      return BC_FAIL(err, BC_E_CORRUPT, "%s: no index there: run bctool reindex", data);
    env_ref *have = registry_find(&sb);
    if (have != NULL) {
      if ((flags & BC_INDEX_WRITE) && have->read_only)
        return BC_FAIL(err, BC_E_READONLY, "%s: open read-only in this process already", folder);
      have->refs++;
      *out = have;
      return BC_OK;
    }
  }
  env_ref *e = bc_calloc(1, sizeof *e);
  if (e == NULL) return BC_FAIL(err, BC_E_NOMEM, "index: no memory");
  bc_status st = bc_index_check_lock_file(folder, err);
  if (st == BC_OK && !(flags & BC_INDEX_NOLOCK)) st = bc_index_fill_lock_file(folder, LOCK_BYTES, err);
  if (st == BC_OK) st = env_open(folder, data, flags, e, err);
  if (st == BC_OK && stat(data, &sb) != 0)
    st = BC_FAIL_SYS(err, BC_E_IO, "os", errno, "%s: cannot be read", data);
  if (st != BC_OK) {
    bc_free(e);
    return st;
  }
  e->dev = sb.st_dev;
  e->ino = sb.st_ino;
  e->pid = bc_os_pid();
  e->refs = 1;
  e->next = g_envs;
  g_envs = e;
  *out = e;
  return BC_OK;
}

bc_status bc_index_open(const char *folder, unsigned flags, bc_index **out, bc_err *err)
{
  *out = NULL;
  const int fault = bc_os_fault(BC_FAULT_OPEN);
  if (fault != 0) return lmdb_fail(err, fault, "opening");
  bc_index *ix = bc_calloc(1, sizeof *ix);
  char *data = bc_asprintf("%s/data.mdb", folder);
  bc_status st;
  if (ix == NULL || data == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "index: no memory");
  } else {
    pthread_mutex_lock(&g_lock);
    st = registry_get(folder, data, flags, &ix->ref, err);
    pthread_mutex_unlock(&g_lock);
  }
  bc_free(data);
  if (st == BC_OK)
    *out = ix;
  else
    bc_free(ix);
  return st;
}

void bc_index_close(bc_index *ix)
{
  if (ix == NULL) return;
  /* In a fork's child the environment belongs to the parent: touching it would drop the parent's locks. */
  if (ix->ref->pid == bc_os_pid()) {
    pthread_mutex_lock(&g_lock);
    if (--ix->ref->refs == 0) {
      env_ref **at = &g_envs;
      while (*at != ix->ref)
        at = &(*at)->next;
      *at = ix->ref->next;
      bc_index_map_unref(ix->ref->map);
      mdb_env_close(ix->ref->env);
      bc_free(ix->ref);
    }
    pthread_mutex_unlock(&g_lock);
  }
  bc_free(ix);
}

bc_status bc_index_copy(bc_index *ix, const char *folder, bc_err *err)
{
  int rc = bc_os_fault(BC_FAULT_WRITE);
  BC_RET(bc_index_check(ix, UINT64_MAX, err)); /* LMDB copies what it finds, and trusts it */
  if (rc == 0) rc = mdb_env_copy2(ix->ref->env, folder, MDB_CP_COMPACT);
  if (rc != 0) return lmdb_fail(err, rc, "copying");
  char *data = bc_asprintf("%s/data.mdb", folder);
  if (data == NULL) return BC_FAIL(err, BC_E_NOMEM, "index: no memory");
  const bc_status st = bc_os_sync_file(data, err);
  bc_free(data);
  return st;
}

uint64_t bc_index_bytes(const bc_index *ix)
{
  MDB_envinfo info;
  MDB_stat sb;
  if (mdb_env_info(ix->ref->env, &info) != 0 || mdb_env_stat(ix->ref->env, &sb) != 0) return 0;
  return ((uint64_t)info.me_last_pgno + 1) * sb.ms_psize;
}

/* ---- transactions ---- */

static MDB_val to_val(bc_bytes b)
{
  /* LMDB's struct has no const; it does not write through keys or values that it is given. */
  MDB_val v = { b.n, NULL };
  memcpy(&v.mv_data, &b.p, sizeof v.mv_data);
  return v;
}

static int begin(bc_index *ix, bool write, MDB_txn **txn)
{
  int dead = 0;
  /* The slot of a killed reader pins its snapshot: the index would grow with every commit. LMDB tells by a
   * lock on the byte of the reader's pid, which a reader in another pid namespace holds like any other. */
  if (write) (void)mdb_reader_check(ix->ref->env, &dead);
  int rc = mdb_txn_begin(ix->ref->env, NULL, write ? 0 : MDB_RDONLY, txn);
  if (rc == MDB_READERS_FULL) { /* slots of killed readers may be in the way */
    (void)mdb_reader_check(ix->ref->env, &dead);
    if (dead > 0) rc = mdb_txn_begin(ix->ref->env, NULL, MDB_RDONLY, txn);
  }
  return rc;
}

/* A reference to a map of the file as long as it is now. */
static bc_status map_get(env_ref *e, uint64_t bytes, bc_index_map **out, bc_err *err)
{
  int fd = -1;
  (void)mdb_env_get_fd(e->env, &fd); /* fails without an environment only */
  return bc_index_map_get(&e->map, fd, bytes, out, err);
}

/* The roots of the snapshot that LMDB has pinned. */
static bc_status find_roots(bc_txn *t, bc_err *err)
{
  uint64_t need = 0;
  for (int again = 0; again < 2; again++) {
    BC_RET(map_get(t->ix->ref, need, &t->map, err));
    const bc_bytes file = { t->map->map.p, t->map->map.n };
    BC_RET(bc_pages_open(file, mdb_txn_id(t->txn), &t->pages, err));
    need = (t->pages.last + 1) * t->pages.size;
    if (file.n >= need || again == 1) break; /* shorter: a page past the end shows when it is used */
    bc_index_map_unref(t->map);
    t->map = NULL;
  }
  return BC_OK;
}

static bc_status pin(bc_txn *t, bc_err *err)
{
  bc_status st = BC_OK;
  for (int i = 0; i < BC_INDEX_TRIES; i++) {
    const int rc = begin(t->ix, false, &t->txn);
    if (rc != 0) return lmdb_fail(err, rc, "beginning to read");
    st = find_roots(t, err);
    if (st == BC_OK || st == BC_E_NOMEM || st == BC_E_IO) break;
    bc_index_map_unref(t->map);
    t->map = NULL;
    mdb_txn_abort(t->txn);
    t->txn = NULL;
  }
  return st == BC_E_NOTFOUND ? BC_FAIL(err, BC_E_BUSY, "index: it changes faster than it can be read") : st;
}

bc_status bc_txn_begin(bc_index *ix, bool write, bc_txn **out, bc_err *err)
{
  *out = NULL;
  bc_txn *t = bc_calloc(1, sizeof *t);
  if (t == NULL) return BC_FAIL(err, BC_E_NOMEM, "index: no memory");
  t->ix = ix;
  t->write = write;
  for (int i = 0; i < BC_N_TABLES; i++)
    t->tables[i].depth = UINT16_MAX;
  bc_status st = BC_OK;
  if (write) {
    const int rc = begin(ix, true, &t->txn);
    if (rc != 0) st = lmdb_fail(err, rc, "beginning to write");
  } else {
    st = pin(t, err);
  }
  if (st != BC_OK) {
    bc_txn_abort(t);
    return st;
  }
  *out = t;
  return BC_OK;
}

bc_status bc_txn_commit(bc_txn *t, bc_err *err)
{
  if (t->changed) {
    uint8_t sum[8];
    bc_put_le64(sum, t->sum);
    MDB_val k = to_val(bc_digest_key()), v = to_val((bc_bytes){ sum, sizeof sum });
    const int put = mdb_put(t->txn, t->ix->ref->dbi[BC_TABLE_META], &k, &v, 0);
    if (put != 0) {
      bc_txn_abort(t);
      return lmdb_fail(err, put, "commit");
    }
  }
  int rc = bc_os_fault(BC_FAULT_COMMIT);
  if (rc != 0)
    mdb_txn_abort(t->txn);
  else
    rc = mdb_txn_commit(t->txn);
  bc_index_map_unref(t->map);
  bc_free(t);
  return rc == 0 ? BC_OK : lmdb_fail(err, rc, "commit");
}

void bc_txn_abort(bc_txn *t)
{
  if (t == NULL) return;
  if (t->txn != NULL) mdb_txn_abort(t->txn);
  bc_index_map_unref(t->map);
  bc_free(t);
}

bc_status bc_index_check(bc_index *ix, uint64_t max_pages, bc_err *err)
{
  bc_txn *t = NULL;
  BC_RET(bc_txn_begin(ix, false, &t, err));
  const bc_status st =
      bc_pages_check(&t->pages, t->pages.last < max_pages ? BC_PAGES_ALL : BC_PAGES_BRANCHES, err);
  bc_txn_abort(t);
  return st;
}

/* ---- digest ---- */

/* Before the first change. An index that is being made has none yet. */
static bc_status begin_sum(bc_txn *t, bc_err *err)
{
  bc_bytes v;
  if (t->changed) return BC_OK;
  const bc_status st = bc_txn_get(t, BC_TABLE_META, bc_digest_key(), &v, err);
  if (st != BC_OK && st != BC_E_NOTFOUND) return st;
  t->sum = st == BC_OK && v.n == 8 ? bc_le64(v.p) : 0;
  t->changed = true;
  return BC_OK;
}

/* ---- access ---- */

/* A table's root in a read transaction. */
static bc_status table_of(bc_txn *t, bc_table table, const bc_tree **out, bc_err *err)
{
  bc_tree *tree = &t->tables[table];
  *out = tree;
  if (tree->depth != UINT16_MAX) return BC_OK;
  const bc_status st = bc_pages_table(&t->pages, k_tables[table], tree, err);
  if (st != BC_OK) tree->depth = UINT16_MAX;
  return st == BC_E_NOTFOUND
             ? BC_FAIL(err, BC_E_CORRUPT, "index: table %s is not there: run bctool reindex", k_tables[table])
             : st;
}

bc_status bc_index_cursor_open(bc_txn *t, bc_table table, bc_index_cursor *c, bc_err *err)
{
  c->t = t;
  c->table = table;
  c->own = NULL;
  if (!t->write) return BC_OK;
  const int rc = mdb_cursor_open(t->txn, t->ix->ref->dbi[table], &c->own);
  return rc == 0 ? BC_OK : lmdb_fail(err, rc, k_tables[table]);
}

void bc_index_cursor_close(bc_index_cursor *c)
{
  if (c->own != NULL) mdb_cursor_close(c->own);
}

static bc_status cursor_move(bc_index_cursor *c, MDB_cursor_op op, bc_bytes from, bc_err *err)
{
  MDB_val k = to_val(from), v;
  const int rc = mdb_cursor_get(c->own, &k, &v, op);
  if (rc != 0) return lmdb_fail(err, rc, k_tables[c->table]);
  c->key = (bc_bytes){ k.mv_data, k.mv_size };
  c->value = (bc_bytes){ v.mv_data, v.mv_size };
  return BC_OK;
}

bc_status bc_index_cursor_seek(bc_index_cursor *c, bc_bytes from, bc_err *err)
{
  const bc_tree *tree;
  if (c->t->write) return cursor_move(c, from.n == 0 ? MDB_FIRST : MDB_SET_RANGE, from, err);
  BC_RET(table_of(c->t, c->table, &tree, err));
  BC_RET(bc_page_seek(&c->page, &c->t->pages, tree, from, err));
  c->key = c->page.key;
  c->value = c->page.value;
  return BC_OK;
}

bc_status bc_index_cursor_next(bc_index_cursor *c, bc_err *err)
{
  if (c->t->write) return cursor_move(c, MDB_NEXT, (bc_bytes){ NULL, 0 }, err);
  BC_RET(bc_page_next(&c->page, err));
  c->key = c->page.key;
  c->value = c->page.value;
  return BC_OK;
}

bc_status bc_txn_get(bc_txn *t, bc_table table, bc_bytes key, bc_bytes *value, bc_err *err)
{
  if (t->write) {
    MDB_val k = to_val(key), v;
    const int rc = mdb_get(t->txn, t->ix->ref->dbi[table], &k, &v);
    if (rc != 0) return lmdb_fail(err, rc, k_tables[table]);
    *value = (bc_bytes){ v.mv_data, v.mv_size };
    return BC_OK;
  }
  bc_index_cursor c = { .t = t, .table = table };
  BC_RET(bc_index_cursor_seek(&c, key, err));
  if (c.key.n != key.n || memcmp(c.key.p, key.p, key.n) != 0) return BC_E_NOTFOUND;
  *value = c.value;
  return BC_OK;
}

bc_status bc_txn_put(bc_txn *t, bc_table table, bc_bytes key, bc_bytes value, bc_err *err)
{
  MDB_val k = to_val(key), v = to_val(value);
  BC_RET(begin_sum(t, err));
  int rc = mdb_put(t->txn, t->ix->ref->dbi[table], &k, &v, MDB_NOOVERWRITE);
  if (rc == MDB_KEYEXIST) {
    const bc_bytes old = { v.mv_data, v.mv_size };
    if (old.n == value.n && (old.n == 0 || memcmp(old.p, value.p, old.n) == 0)) return BC_OK;
    t->sum -= bc_digest_pair(table, key, old);
    v = to_val(value);
    rc = mdb_put(t->txn, t->ix->ref->dbi[table], &k, &v, 0);
  }
  if (rc != 0) return lmdb_fail(err, rc, k_tables[table]);
  t->sum += bc_digest_pair(table, key, value);
  return BC_OK;
}

bc_status bc_txn_del(bc_txn *t, bc_table table, bc_bytes key, bc_err *err)
{
  MDB_val k = to_val(key);
  bc_bytes old;
  BC_RET(begin_sum(t, err));
  const bc_status st = bc_txn_get(t, table, key, &old, err);
  if (st != BC_OK) return st == BC_E_NOTFOUND ? BC_OK : st;
  t->sum -= bc_digest_pair(table, key, old);
  const int rc = mdb_del(t->txn, t->ix->ref->dbi[table], &k, NULL);
  return rc == 0 ? BC_OK : lmdb_fail(err, rc, k_tables[table]);
}

bc_status bc_txn_count(bc_txn *t, bc_table table, uint64_t *out, bc_err *err)
{
  MDB_stat sb;
  const bc_tree *tree;
  if (!t->write) {
    BC_RET(table_of(t, table, &tree, err));
    *out = tree->entries;
    return BC_OK;
  }
  const int rc = mdb_stat(t->txn, t->ix->ref->dbi[table], &sb);
  if (rc != 0) return lmdb_fail(err, rc, k_tables[table]);
  *out = sb.ms_entries;
  return BC_OK;
}

bc_status bc_txn_each(bc_txn *t, bc_table table, bc_bytes from, bc_pair_fn each, void *ctx, bc_err *err)
{
  bc_index_cursor c;
  bool stop = false;
  BC_RET(bc_index_cursor_open(t, table, &c, err));
  bc_status st = bc_index_cursor_seek(&c, from, err);
  bc_status told = BC_OK;
  while (st == BC_OK && !stop) {
    told = each(ctx, c.key, c.value, &stop, err);
    if (told != BC_OK || stop) break;
    st = bc_index_cursor_next(&c, err);
  }
  bc_index_cursor_close(&c);
  if (told != BC_OK) return told;
  return st == BC_E_NOTFOUND ? BC_OK : st;
}
