#include "store/index.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/os.h"

/* Sparse: the file grows page by page as it is written, so a big map costs address space only. Set once and
 * never changed, because changing it under a live transaction is what breaks LMDB elsewhere. */
#define MAP_BYTES   ((size_t)1 << 38)
#define MAX_READERS 4096u /* all processes together; the default of 126 is passed by one training job */

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
} env_ref;

struct bc_index {
  env_ref *ref;
};

struct bc_txn {
  bc_index *ix;
  MDB_txn *txn;
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static env_ref *g_envs;

static bc_status lmdb_fail(bc_err *err, int rc, const char *what)
{
  bc_status st = BC_E_IO;
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

/* ---- keys and values ---- */

void bc_tile_key_put(const bc_tile_key *k, uint8_t out[BC_TILE_KEY_BYTES])
{
  bc_put_be32(out, k->cell);
  bc_put_be64(out + 4, (uint64_t)k->time ^ UINT64_C(0x8000000000000000));
  bc_put_be16(out + 12, k->modality);
  bc_put_be16(out + 14, k->part);
}

bool bc_tile_key_equal(const bc_tile_key *a, const bc_tile_key *b)
{
  return a->cell == b->cell && a->time == b->time && a->modality == b->modality && a->part == b->part;
}

bc_status bc_tile_key_get(bc_bytes src, bc_tile_key *out, bc_err *err)
{
  if (src.n != BC_TILE_KEY_BYTES)
    return BC_FAIL(err, BC_E_CORRUPT, "index: a tile key of %zu bytes instead of %d: run bctool reindex",
                   src.n, BC_TILE_KEY_BYTES);
  out->cell = bc_be32(src.p);
  out->time = (int64_t)(bc_be64(src.p + 4) ^ UINT64_C(0x8000000000000000));
  out->modality = bc_be16(src.p + 12);
  out->part = bc_be16(src.p + 14);
  return BC_OK;
}

/* Value of a tile, docs/format.md section 6. */
enum {
  REC_HEAD_SEGMENT = 0,
  REC_SEGMENT = 4,
  REC_OFFSET = 8,
  REC_STORED = 16,
  REC_DECODED = 24,
  REC_HASH = 32,
  REC_HEAD_OFFSET = 40,
  REC_HEAD_BYTES = 48,
  REC_CODEC = 52, /* u8, then three zero bytes */
  REC_VALID = 56,
  REC_MISSING = 64,
  REC_ABSENT = 72,
  REC_MIN = 80,
  REC_MAX = 88,
  REC_SUM = 96,
  REC_SUMSQ = 104,
  REC_STEPS = 112, /* u32, then four zero bytes */
  REC_END = 120
};
_Static_assert(REC_END == BC_TILE_REC_BYTES, "tile record layout");

void bc_tile_rec_put(const bc_tile_rec *r, uint8_t out[BC_TILE_REC_BYTES])
{
  memset(out, 0, BC_TILE_REC_BYTES);
  bc_put_le32(out + REC_HEAD_SEGMENT, r->head_segment);
  bc_put_le32(out + REC_SEGMENT, r->segment);
  bc_put_le64(out + REC_OFFSET, r->offset);
  bc_put_le64(out + REC_STORED, r->stored);
  bc_put_le64(out + REC_DECODED, r->decoded);
  bc_put_le64(out + REC_HASH, r->hash);
  bc_put_le64(out + REC_HEAD_OFFSET, r->head_offset);
  bc_put_le32(out + REC_HEAD_BYTES, r->head_bytes);
  out[REC_CODEC] = (uint8_t)r->codec;
  bc_put_le64(out + REC_VALID, r->n_valid);
  bc_put_le64(out + REC_MISSING, r->n_missing);
  bc_put_le64(out + REC_ABSENT, r->n_absent);
  bc_put_le_f64(out + REC_MIN, r->min);
  bc_put_le_f64(out + REC_MAX, r->max);
  bc_put_le_f64(out + REC_SUM, r->sum);
  bc_put_le_f64(out + REC_SUMSQ, r->sumsq);
  bc_put_le32(out + REC_STEPS, r->n_steps);
}

bc_status bc_tile_rec_get(bc_bytes src, bc_tile_rec *out, bc_err *err)
{
  const uint8_t *p = src.p;
  if (src.n != BC_TILE_REC_BYTES || p[REC_CODEC] > BC_CODEC_LINEAR16)
    return BC_FAIL(err, BC_E_CORRUPT, "index: a tile record of %zu bytes, codec %d: run bctool reindex",
                   src.n, src.n > REC_CODEC ? p[REC_CODEC] : -1);
  *out = (bc_tile_rec){
    .head_segment = bc_le32(p + REC_HEAD_SEGMENT),
    .segment = bc_le32(p + REC_SEGMENT),
    .offset = bc_le64(p + REC_OFFSET),
    .stored = bc_le64(p + REC_STORED),
    .decoded = bc_le64(p + REC_DECODED),
    .hash = bc_le64(p + REC_HASH),
    .head_offset = bc_le64(p + REC_HEAD_OFFSET),
    .head_bytes = bc_le32(p + REC_HEAD_BYTES),
    .n_steps = bc_le32(p + REC_STEPS),
    .codec = (bc_codec)p[REC_CODEC],
    .n_valid = bc_le64(p + REC_VALID),
    .n_missing = bc_le64(p + REC_MISSING),
    .n_absent = bc_le64(p + REC_ABSENT),
    .min = bc_le_f64(p + REC_MIN),
    .max = bc_le_f64(p + REC_MAX),
    .sum = bc_le_f64(p + REC_SUM),
    .sumsq = bc_le_f64(p + REC_SUMSQ),
  };
  return BC_OK;
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

/* LMDB maps the file without looking at its size; a cut copy would end in SIGBUS. */
static bc_status check_size(const env_ref *e, const char *data, bc_err *err)
{
  MDB_envinfo info;
  MDB_stat stat_env;
  struct stat sb;
  int rc = mdb_env_info(e->env, &info);
  if (rc == 0) rc = mdb_env_stat(e->env, &stat_env);
  if (rc != 0) return lmdb_fail(err, rc, "opening");
  if (stat(data, &sb) != 0) return BC_FAIL_SYS(err, BC_E_IO, "os", errno, "%s: cannot be read", data);
  const uint64_t need = ((uint64_t)info.me_last_pgno + 1) * stat_env.ms_psize;
  if ((uint64_t)sb.st_size < need)
    return BC_FAIL(err, BC_E_TRUNCATED,
                   "%s: %llu bytes instead of %llu: the index is cut short: run bctool reindex", data,
                   (unsigned long long)sb.st_size, (unsigned long long)need);
  return BC_OK;
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

static bc_status env_open(const char *folder, const char *data, unsigned flags, env_ref *e, bc_err *err)
{
  int rc = 0, dead = 0;
  struct stat sb;
  size_t map = MAP_BYTES;
  if ((flags & BC_INDEX_FIXED) && stat(data, &sb) == 0 && sb.st_size > 0) map = (size_t)sb.st_size;
  bc_status st = env_make(folder, flags, map, &e->env, &rc, err);
  /* Read-only media: no lock file can be written there, and nobody can write the data either. */
  if (st != BC_OK && !(flags & (BC_INDEX_WRITE | BC_INDEX_NOLOCK)) &&
      (rc == EACCES || rc == EROFS || rc == EPERM)) {
    flags |= BC_INDEX_NOLOCK;
    st = env_make(folder, flags, map, &e->env, &rc, err);
  }
  if (st != BC_OK) return st;
  e->read_only = (flags & BC_INDEX_NOLOCK) != 0;
  st = (flags & BC_INDEX_CREATE) ? BC_OK : check_size(e, data, err);
  if (st == BC_OK) st = open_tables(e, (flags & BC_INDEX_CREATE) != 0, err);
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
  bc_status st = env_open(folder, data, flags, e, err);
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

bc_status bc_txn_begin(bc_index *ix, bool write, bc_txn **out, bc_err *err)
{
  *out = NULL;
  bc_txn *t = bc_calloc(1, sizeof *t);
  if (t == NULL) return BC_FAIL(err, BC_E_NOMEM, "index: no memory");
  t->ix = ix;
  int rc = mdb_txn_begin(ix->ref->env, NULL, write ? 0 : MDB_RDONLY, &t->txn);
  if (rc == MDB_READERS_FULL) { /* slots of killed readers may be in the way */
    int dead = 0;
    (void)mdb_reader_check(ix->ref->env, &dead);
    if (dead > 0) rc = mdb_txn_begin(ix->ref->env, NULL, write ? 0 : MDB_RDONLY, &t->txn);
  }
  if (rc != 0) {
    bc_free(t);
    return lmdb_fail(err, rc, write ? "beginning to write" : "beginning to read");
  }
  *out = t;
  return BC_OK;
}

bc_status bc_txn_commit(bc_txn *t, bc_err *err)
{
  int rc = bc_os_fault(BC_FAULT_COMMIT);
  if (rc != 0)
    mdb_txn_abort(t->txn);
  else
    rc = mdb_txn_commit(t->txn);
  bc_free(t);
  return rc == 0 ? BC_OK : lmdb_fail(err, rc, "commit");
}

void bc_txn_abort(bc_txn *t)
{
  if (t == NULL) return;
  mdb_txn_abort(t->txn);
  bc_free(t);
}

static MDB_val to_val(bc_bytes b)
{
  /* LMDB's struct has no const; it does not write through keys or values that it is given. */
  MDB_val v = { b.n, NULL };
  memcpy(&v.mv_data, &b.p, sizeof v.mv_data);
  return v;
}

bc_status bc_txn_get(bc_txn *t, bc_table table, bc_bytes key, bc_bytes *value, bc_err *err)
{
  MDB_val k = to_val(key), v;
  const int rc = mdb_get(t->txn, t->ix->ref->dbi[table], &k, &v);
  if (rc != 0) return lmdb_fail(err, rc, k_tables[table]);
  *value = (bc_bytes){ v.mv_data, v.mv_size };
  return BC_OK;
}

bc_status bc_txn_put(bc_txn *t, bc_table table, bc_bytes key, bc_bytes value, bc_err *err)
{
  MDB_val k = to_val(key), v = to_val(value);
  const int rc = mdb_put(t->txn, t->ix->ref->dbi[table], &k, &v, 0);
  return rc == 0 ? BC_OK : lmdb_fail(err, rc, k_tables[table]);
}

bc_status bc_txn_del(bc_txn *t, bc_table table, bc_bytes key, bc_err *err)
{
  MDB_val k = to_val(key);
  const int rc = mdb_del(t->txn, t->ix->ref->dbi[table], &k, NULL);
  return rc == 0 || rc == MDB_NOTFOUND ? BC_OK : lmdb_fail(err, rc, k_tables[table]);
}

bc_status bc_txn_count(bc_txn *t, bc_table table, uint64_t *out, bc_err *err)
{
  MDB_stat sb;
  const int rc = mdb_stat(t->txn, t->ix->ref->dbi[table], &sb);
  if (rc != 0) return lmdb_fail(err, rc, k_tables[table]);
  *out = sb.ms_entries;
  return BC_OK;
}

bc_status bc_txn_each(bc_txn *t, bc_table table, bc_bytes from, bc_pair_fn each, void *ctx, bc_err *err)
{
  MDB_cursor *cur = NULL;
  int rc = mdb_cursor_open(t->txn, t->ix->ref->dbi[table], &cur);
  if (rc != 0) return lmdb_fail(err, rc, k_tables[table]);
  MDB_val k = to_val(from), v;
  bc_status st = BC_OK;
  bool stop = false;
  rc = mdb_cursor_get(cur, &k, &v, from.n == 0 ? MDB_FIRST : MDB_SET_RANGE);
  while (rc == 0 && st == BC_OK && !stop) {
    st = each(ctx, (bc_bytes){ k.mv_data, k.mv_size }, (bc_bytes){ v.mv_data, v.mv_size }, &stop, err);
    if (st == BC_OK && !stop) rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT);
  }
  mdb_cursor_close(cur);
  if (st == BC_OK && rc != 0 && rc != MDB_NOTFOUND) st = lmdb_fail(err, rc, k_tables[table]);
  return st;
}

/* ---- tiles ---- */

bc_status bc_txn_tile_get(bc_txn *t, const bc_tile_key *key, bc_tile_rec *out, bc_err *err)
{
  uint8_t k[BC_TILE_KEY_BYTES];
  bc_bytes v;
  bc_tile_key_put(key, k);
  BC_RET(bc_txn_get(t, BC_TABLE_TILES, (bc_bytes){ k, sizeof k }, &v, err));
  return bc_tile_rec_get(v, out, err);
}

bc_status bc_txn_tile_put(bc_txn *t, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  uint8_t k[BC_TILE_KEY_BYTES], v[BC_TILE_REC_BYTES];
  bc_tile_key_put(key, k);
  bc_tile_rec_put(rec, v);
  return bc_txn_put(t, BC_TABLE_TILES, (bc_bytes){ k, sizeof k }, (bc_bytes){ v, sizeof v }, err);
}

bc_status bc_txn_tile_del(bc_txn *t, const bc_tile_key *key, bc_err *err)
{
  uint8_t k[BC_TILE_KEY_BYTES];
  bc_tile_key_put(key, k);
  return bc_txn_del(t, BC_TABLE_TILES, (bc_bytes){ k, sizeof k }, err);
}

/* First index in wanted whose id is >= m. */
static size_t lower_bound(const uint16_t *wanted, size_t n, uint16_t m)
{
  size_t lo = 0, hi = n;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (wanted[mid] < m)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* Foreign keys are stepped over a few at a time (about 20 ns each) before the tree is searched anew (about 1
 * us). */
#define STEPS_BEFORE_SEEK 32

typedef struct scan {
  const uint16_t *wanted;
  size_t n_wanted;
  uint32_t cell;
  int64_t t_to;
  int foreign;
} scan;

/* Where to look next after a key that is not wanted; false at the end of the range. */
static bool scan_target(const scan *s, const bc_tile_key *at, bc_tile_key *target)
{
  const size_t i = lower_bound(s->wanted, s->n_wanted, at->modality);
  *target = (bc_tile_key){ s->cell, at->time, 0, 0 };
  if (i < s->n_wanted) {
    target->modality = s->wanted[i];
    return true;
  }
  if (at->time >= s->t_to - 1) return false;
  target->time = at->time + 1;
  target->modality = s->wanted[0];
  return true;
}

static bc_status scan_run(MDB_cursor *cur, scan *s, int64_t t_from, bc_tile_fn each, void *ctx, bc_err *err)
{
  uint8_t kb[BC_TILE_KEY_BYTES];
  bc_tile_key key = { s->cell, t_from, s->wanted[0], 0 }, target;
  bc_tile_key_put(&key, kb);
  MDB_val k = { sizeof kb, kb }, v;
  int rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
  while (rc == 0) {
    BC_RET(bc_tile_key_get((bc_bytes){ k.mv_data, k.mv_size }, &key, err));
    if (key.cell != s->cell || key.time >= s->t_to) return BC_OK;
    const size_t i = lower_bound(s->wanted, s->n_wanted, key.modality);
    if (i < s->n_wanted && s->wanted[i] == key.modality) {
      bc_tile_rec rec;
      BC_RET(bc_tile_rec_get((bc_bytes){ v.mv_data, v.mv_size }, &rec, err));
      BC_RET(each(ctx, &key, &rec, err));
      s->foreign = 0;
    } else if (++s->foreign > STEPS_BEFORE_SEEK) {
      s->foreign = 0;
      if (!scan_target(s, &key, &target)) return BC_OK;
      bc_tile_key_put(&target, kb);
      k = (MDB_val){ sizeof kb, kb };
      rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
      continue;
    }
    rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT);
  }
  return rc == MDB_NOTFOUND ? BC_OK : lmdb_fail(err, rc, "tiles");
}

bc_status bc_txn_tile_scan(bc_txn *t, uint32_t cell, int64_t t_from, int64_t t_to, const uint16_t *wanted,
                           size_t n_wanted, bc_tile_fn each, void *ctx, bc_err *err)
{
  if (n_wanted == 0 || t_from >= t_to) return BC_OK;
  MDB_cursor *cur = NULL;
  const int rc = mdb_cursor_open(t->txn, t->ix->ref->dbi[BC_TABLE_TILES], &cur);
  if (rc != 0) return lmdb_fail(err, rc, "tiles");
  scan s = { wanted, n_wanted, cell, t_to, 0 };
  const bc_status st = scan_run(cur, &s, t_from, each, ctx, err);
  mdb_cursor_close(cur);
  return st;
}
