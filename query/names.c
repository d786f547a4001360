#include "query/names.h"

#include <stdlib.h>
#include <string.h>

#include "store/codec.h"

static size_t bucket_of(const char *name) { return (size_t)(bc_hash64(name, strlen(name)) & 0xff); }

bc_status bc_names_init(bc_names *t, const bc_snapshot *snap, bc_err *err)
{
  const size_t n = bc_snapshot_modalities(snap);
  memset(t, 0, sizeof *t);
  t->snap = snap;
  t->next = bc_calloc(n + 1, sizeof *t->next);
  if (t->next == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for the names of %zu variables", n);
  for (size_t i = n; i-- > 0;) { /* chains in order of ids */
    const size_t b = bucket_of(bc_snapshot_modality(snap, i)->name);
    t->next[i] = t->heads[b];
    t->heads[b] = (uint16_t)(i + 1);
  }
  return BC_OK;
}

void bc_names_dispose(bc_names *t)
{
  bc_free(t->next);
  memset(t, 0, sizeof *t);
}

static char *full_name(const bc_modality *m, char buf[2 * BC_NAME_MAX])
{
  const size_t g = strlen(m->group);
  memcpy(buf, m->group, g);
  buf[g] = '/';
  memcpy(buf + g + (g > 0), m->name, strlen(m->name) + 1);
  return buf;
}

/* Appends to a list in a message; what does not fit is left out. */
static void list_add(char *list, size_t cap, const char *sep, const char *text)
{
  const size_t at = strlen(list), s = at > 0 ? strlen(sep) : 0, n = strlen(text);
  if (at + s + n >= cap) return;
  memcpy(list + at, sep, s);
  memcpy(list + at + s, text, n + 1);
}

/* ---- no such name ---- */

typedef struct near {
  int distance;
  size_t id;
} near;

static int by_distance(const void *a, const void *b)
{
  const near *p = a, *q = b;
  if (p->distance != q->distance) return p->distance - q->distance;
  return p->id < q->id ? -1 : p->id > q->id;
}

static bc_status unknown(const bc_names *t, const char *name, bc_err *err)
{
  const size_t n = bc_snapshot_modalities(t->snap);
  char list[240] = "", full[2 * BC_NAME_MAX];
  const int limit = strlen(name) < 3 ? 1 : strlen(name) < 5 ? 2 : 3; /* edits between near names */
  near *v = bc_calloc(n + 1, sizeof *v);
  if (v == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory to look for \"%.100s\"", name);
  for (size_t i = 0; i < n; i++) {
    const bc_modality *m = bc_snapshot_modality(t->snap, i);
    const int a = bc_edit_distance(name, m->name), b = bc_edit_distance(name, full_name(m, full));
    v[i] = (near){ BC_MIN(a, b), i };
  }
  qsort(v, n, sizeof *v, by_distance);
  const bool guess = n > 0 && v[0].distance <= limit;
  for (size_t i = 0; i < n && i < (guess ? 3u : 12u); i++)
    if (!guess || v[i].distance <= limit)
      list_add(list, sizeof list, ", ", full_name(bc_snapshot_modality(t->snap, v[i].id), full));
  bc_free(v);
  if (n == 0) return BC_FAIL(err, BC_E_NOTFOUND, "no variable \"%.100s\": the store is empty", name);
  if (guess) return BC_FAIL(err, BC_E_NOTFOUND, "no variable \"%.100s\" (did you mean %s?)", name, list);
  return BC_FAIL(err, BC_E_NOTFOUND, "no variable \"%.100s\"; the store holds %zu: %s%s", name, n, list,
                 n > 12 ? ", ..." : "");
}

/* ---- several of that name ---- */

static bc_status ambiguous(const bc_names *t, const char *name, uint16_t first, bc_err *err)
{
  char list[240] = "", full[2 * BC_NAME_MAX];
  const bc_modality *m = bc_snapshot_modality(t->snap, first);
  const char *prefix = "";
  for (size_t i = first; i < bc_snapshot_modalities(t->snap); i++) {
    const bc_modality *o = bc_snapshot_modality(t->snap, i);
    if (strcmp(o->name, m->name) != 0) continue;
    if (i > first && strcmp(o->group, m->group) == 0) prefix = "more than one grid, in ";
    list_add(list, sizeof list, " and ", o->group[0] != '\0' ? o->group : "no group");
  }
  return BC_FAIL(err, BC_E_INVAL, "%s is in %s%s: say which, e.g. %s", name, prefix, list,
                 full_name(m, full));
}

bc_status bc_names_find(const bc_names *t, const char *name, uint16_t *id, bc_err *err)
{
  const char *slash = strchr(name, '/');
  const char *base = slash == NULL ? name : slash + 1;
  const size_t group = slash == NULL ? 0 : (size_t)(slash - name);
  uint32_t found = 0;
  for (uint32_t i = t->heads[bucket_of(base)]; i != 0; i = t->next[i - 1]) {
    const bc_modality *m = bc_snapshot_modality(t->snap, i - 1);
    if (strcmp(m->name, base) != 0) continue;
    if (slash != NULL && (strncmp(m->group, name, group) != 0 || m->group[group] != '\0')) continue;
    if (found != 0) return ambiguous(t, name, (uint16_t)(found - 1), err);
    found = i;
  }
  if (found == 0) return unknown(t, name, err);
  *id = (uint16_t)(found - 1);
  return BC_OK;
}

/* ---- lists and globs ---- */

typedef struct match {
  const bc_modality *m;
  size_t id;
} match;

static int by_group(const void *a, const void *b)
{
  const match *p = a, *q = b;
  const int c = strcmp(p->m->group, q->m->group);
  return c != 0 ? c : (p->id < q->id ? -1 : p->id > q->id);
}

typedef struct choice {
  bc_chosen *out;
  size_t n;
  uint8_t *taken; /* by id */
  match *found;   /* of one glob */
} choice;

static void take(choice *c, size_t id, bool exact)
{
  if (c->taken[id]) return;
  c->taken[id] = 1;
  c->out[c->n++] = (bc_chosen){ (uint16_t)id, exact };
}

static bc_status take_glob(const bc_names *t, const char *glob, choice *c, bc_err *err)
{
  char full[2 * BC_NAME_MAX];
  size_t n = 0;
  for (size_t i = 0; i < bc_snapshot_modalities(t->snap); i++) {
    const bc_modality *m = bc_snapshot_modality(t->snap, i);
    if (bc_glob_match(glob, m->name) || bc_glob_match(glob, full_name(m, full)))
      c->found[n++] = (match){ m, i };
  }
  if (n == 0) return unknown(t, glob, err);
  qsort(c->found, n, sizeof *c->found, by_group);
  for (size_t i = 0; i < n; i++)
    take(c, c->found[i].id, false);
  return BC_OK;
}

static bc_status check_one_grid(const bc_names *t, const bc_chosen *v, size_t n, bc_err *err)
{
  char a[2 * BC_NAME_MAX], b[2 * BC_NAME_MAX];
  for (size_t i = 1; i < n; i++) {
    const bc_modality *p = bc_snapshot_modality(t->snap, v[0].id),
                      *q = bc_snapshot_modality(t->snap, v[i].id);
    if (p->grid != q->grid)
      return BC_FAIL(err, BC_E_INVAL, "%s is on grid %s and %s on grid %s: ask for one grid at a time",
                     full_name(p, a), bc_snapshot_grid(t->snap, p->grid)->name, full_name(q, b),
                     bc_snapshot_grid(t->snap, q->grid)->name);
  }
  return BC_OK;
}

bc_status bc_names_choose(const bc_names *t, char *const *vars, size_t n_vars, bc_chosen **out, size_t *n,
                          bc_err *err)
{
  bc_status st = BC_OK;
  const size_t all = bc_snapshot_modalities(t->snap);
  choice c = { NULL, 0, NULL, NULL };
  *out = NULL;
  *n = 0;
  if (all == 0) return BC_FAIL(err, BC_E_NOTFOUND, "the store is empty: ingest something first");
  c.out = bc_malloc(all * sizeof *c.out);
  c.taken = bc_calloc(all, 1);
  c.found = bc_malloc(all * sizeof *c.found);
  if (c.out == NULL || c.taken == NULL || c.found == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "no memory for the names of %zu variables", all);
    goto out;
  }
  if (n_vars == 0) BC_TRY(take_glob(t, "*", &c, err));
  for (size_t i = 0; i < n_vars; i++) {
    uint16_t id = 0;
    if (strpbrk(vars[i], "*?[") != NULL) {
      BC_TRY(take_glob(t, vars[i], &c, err));
    } else {
      BC_TRY(bc_names_find(t, vars[i], &id, err));
      take(&c, id, true);
    }
  }
  BC_TRY(check_one_grid(t, c.out, c.n, err));
  *out = c.out;
  *n = c.n;
  c.out = NULL;
out:
  bc_free(c.out);
  bc_free(c.taken);
  bc_free(c.found);
  return st;
}
