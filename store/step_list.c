/*
 * Steps: all those of a modality, from the heads of its tiles, and those of a tile that cannot be read, from
 * what the index keeps of them.
 */
#include <stdlib.h>

#include "store/datetime.h"
#include "store/store_int.h"

#define MONTH_SECONDS INT64_C(2629746) /* as modalities state a cadence of months */

/* ---- of a tile that cannot be read ---- */

/* Calendar months from first on, as many as there are up to last. */
static uint32_t month_steps(int64_t first, int64_t last, int64_t months, int64_t *out, uint32_t cap)
{
  uint32_t n = 0;
  bc_civil c = bc_time_to_civil(first);
  for (int64_t t = first; t <= last && n < cap; t = bc_time_from_civil(&c)) {
    if (out != NULL) out[n] = t;
    n++;
    const int64_t month = c.month - 1 + months;
    c.year += (int32_t)(month / 12);
    c.month = (int32_t)(month % 12) + 1;
  }
  return n;
}

/* How far apart its steps were: of gaps nothing is known, so that there may be more steps than it had. A
 * variable may have got finer steps than those that its cadence was taken from. */
static int64_t step_of(const bc_modality *m, const bc_tile_rec *rec)
{
  const int64_t span = (int64_t)rec->last - rec->first, gaps = (int64_t)rec->n_steps - 1;
  const int64_t even = span % gaps == 0 ? span / gaps : 0;
  if (rec->even) return even;
  const int64_t usual = m->cadence > 0 && span % m->cadence == 0 ? m->cadence : 0;
  return usual == 0 || (even > 0 && even < usual) ? even : usual;
}

uint32_t bc_lost_steps(const bc_modality *m, const bc_tile_key *key, const bc_tile_rec *rec, int64_t *out,
                       uint32_t cap)
{
  const bool is_static = key->time == BC_TIME_STATIC;
  if (rec->first > rec->last || cap == 0 ||
      (!is_static && (key->time < BC_TIME_MIN || key->time > BC_TIME_MAX)))
    return 0;
  const int64_t first = key->time + (is_static ? 0 : rec->first),
                last = key->time + (is_static ? 0 : rec->last);
  if (rec->n_steps <= 1 || last <= first) {
    if (out != NULL) out[0] = first;
    return rec->n_steps == 1;
  }
  if (!rec->even && m->cadence >= MONTH_SECONDS && m->cadence < 1200 * MONTH_SECONDS &&
      m->cadence % MONTH_SECONDS == 0)
    return month_steps(first, last, m->cadence / MONTH_SECONDS, out, cap);
  int64_t step = step_of(m, rec);
  if (step <= 0) step = last - first; /* these two at least */
  uint32_t n = 0;
  for (int64_t t = first; t <= last && n < cap; t += step, n++)
    if (out != NULL) out[n] = t;
  return n;
}

/* ---- of a modality ---- */

#define STEPS_MAX ((size_t)1 << 26) /* a head of 200 bytes may state millions: memory must end somewhere */

typedef struct times_ctx {
  bc_snapshot *s;
  uint16_t modality;
  int64_t *t;
  size_t n, cap;
  /* Tiles of many cells have the same steps: the last few shapes seen are not read again. */
  struct {
    int64_t bucket, first, step;
    uint32_t nt;
  } seen[16];
  unsigned next_seen;
  uint64_t *damaged;
} times_ctx;

static bool seen_before(times_ctx *c, int64_t bucket, const bc_tile_head *h)
{
  for (size_t i = 0; i < BC_ARRAY_LEN(c->seen); i++)
    if (c->seen[i].nt == h->nt && c->seen[i].bucket == bucket && c->seen[i].first == h->t_first &&
        c->seen[i].step == h->t_step)
      return true;
  if (h->regular) {
    const unsigned i = c->next_seen++ % BC_ARRAY_LEN(c->seen);
    c->seen[i].bucket = bucket;
    c->seen[i].first = h->t_first;
    c->seen[i].step = h->t_step;
    c->seen[i].nt = h->nt;
  }
  return false;
}

static int by_time(const void *a, const void *b)
{
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Sort and keep each value once. */
static size_t distinct(int64_t *t, size_t n)
{
  size_t k = 0;
  if (n > 1) qsort(t, n, sizeof *t, by_time);
  for (size_t i = 0; i < n; i++)
    if (k == 0 || t[k - 1] != t[i]) t[k++] = t[i];
  return k;
}

static bc_status room_for(times_ctx *c, size_t n, bc_err *err)
{
  if (c->n + n <= c->cap) return BC_OK;
  c->n = distinct(c->t, c->n);
  if (c->n + n > STEPS_MAX)
    return BC_FAIL(err, BC_E_BUDGET, "more than %zu steps in one variable: too many to list", STEPS_MAX);
  const size_t cap = (c->n + n) * 2;
  int64_t *p = bc_realloc(c->t, cap * sizeof *p);
  if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "store: no memory for %zu steps", cap);
  c->t = p;
  c->cap = cap;
  return BC_OK;
}

static bc_status add_head(times_ctx *c, const bc_tile *tile, bc_err *err)
{
  if (seen_before(c, tile->key.time, &tile->head)) return BC_OK;
  BC_RET(room_for(c, tile->head.nt, err));
  for (uint32_t i = 0; i < tile->head.nt; i++)
    c->t[c->n++] = bc_tile_time(&tile->head, i);
  return BC_OK;
}

static bc_status add_lost(times_ctx *c, const bc_tile_key *key, const bc_tile_rec *rec, bc_err *err)
{
  const bc_modality *m = bc_snapshot_modality(c->s, c->modality);
  const uint32_t n = bc_lost_steps(m, key, rec, NULL, BC_LOST_STEPS_MAX);
  ++*c->damaged;
  BC_RET(room_for(c, n, err));
  c->n += n > 0 ? bc_lost_steps(m, key, rec, c->t + c->n, n) : 0;
  return BC_OK;
}

static bc_status add_times(void *ctx, bc_bytes kb, bc_bytes vb, bool *stop, bc_err *err)
{
  times_ctx *c = ctx;
  bc_tile_key key;
  bc_tile_rec rec;
  bc_tile tile;
  bc_err why = { .msg = "" };
  (void)stop;
  BC_RET(bc_tile_key_get(kb, &key, err));
  if (key.modality != c->modality || (key.part & BC_PART_SECOND)) return BC_OK;
  BC_RET(bc_tile_rec_get(vb, &rec, err));
  bc_status st = bc_snapshot_tile(c->s, &key, &rec, &tile, &why);
  if (c->damaged != NULL && bc_is_damage(st)) return add_lost(c, &key, &rec, err);
  if (st != BC_OK && err != NULL) *err = why;
  BC_RET(st);
  st = add_head(c, &tile, err);
  bc_tile_close(&tile);
  return st;
}

bc_status bc_snapshot_times(bc_snapshot *s, uint16_t modality, int64_t **times, size_t *n, uint64_t *damaged,
                            bc_err *err)
{
  times_ctx c = { .s = s, .modality = modality, .damaged = damaged };
  *times = NULL;
  *n = 0;
  const bc_status st = bc_txn_each(s->txn, BC_TABLE_TILES, (bc_bytes){ NULL, 0 }, add_times, &c, err);
  if (st != BC_OK) {
    bc_free(c.t);
    return st;
  }
  *n = distinct(c.t, c.n);
  *times = c.t;
  return BC_OK;
}

void bc_times_free(int64_t *times) { bc_free(times); }
