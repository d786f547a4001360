/*
 * Which variables of a netCDF file are rasters that were asked for, and which group each belongs to. Those
 * are described in src_var.c and src_axes.c.
 */
#include <stdio.h>
#include <string.h>

#include "ingest/src_int.h"
#include "store/schema.h"

#define CACHE_BYTES (UINT64_C(64) << 20)

bc_status bc_raster_no_memory(const bc_raster *r, bc_err *err)
{
  return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory for its axes", r->nc->label);
}

static void pass_over(bc_raster *r, const char *name, const char *why, const bc_source_opts *o)
{
  bc_source_note(o->progress, "%s: %s skipped: %s", r->nc->label, name, why);
  if (r->why[0] == '\0') (void)snprintf(r->why, sizeof r->why, "%.60s: %s", name, why);
}

/* ---- choosing ---- */
static bool is_asked_for(const char *list, const char *group, const char *name)
{
  char pattern[128], qualified[104];

  if (list == NULL || list[0] == '\0') return true;
  (void)snprintf(qualified, sizeof qualified, "%s/%s", group, name);
  while (*list != '\0') {
    const size_t len = strcspn(list, ",");
    const size_t n = BC_MIN(len, sizeof pattern - 1);
    memcpy(pattern, list, n);
    pattern[n] = '\0';
    if (bc_glob_match(pattern, name) || bc_glob_match(pattern, qualified)) return true;
    list += len;
    list += *list == ',';
  }
  return false;
}

/* Something that no later step can read: why, or NULL. */
static const char *unreadable(const bc_raster *r, const bc_nc_var *v, const bc_layout_nc *at)
{
  if (v->raw == BC_RAW_CHAR || v->raw == BC_RAW_STRING) return "it holds text";
  if (!bc_raw_is_number(v->raw)) return "it has a compound or other user-defined type";
  for (int d = 0; d < v->n_dims; d++) {
    if (bc_nc_dim_len(r->nc, v, d) == 0) return "one of its dimensions has no entries";
  }
  if (at->l >= 0 && bc_nc_dim_len(r->nc, v, at->l) > BC_MAX_LEVELS) return "it has more than 256 levels";
  return NULL;
}

typedef struct candidate {
  const bc_nc_var *v;
  bc_layout_nc at;
  char name[BC_NAME_MAX];
} candidate;

/* Layouts of all variables; those on a grid are listed, the best of the others gives r->why. */
static bc_status find_candidates(bc_raster *r, candidate *list, size_t *n, const bc_source_opts *o,
                                 bc_err *err)
{
  int most = -2;
  char off_grid[256] = "";

  for (size_t i = 0; i < r->nc->n_vars; i++) {
    const bc_nc_var *v = &r->nc->vars[i];
    candidate *c = &list[*n];
    bc_verdict verdict;
    const char *why = NULL;
    BC_RET(bc_nc_layout(r->nc, v, &c->at, &verdict, err));
    if (verdict == BC_IS_COORDINATE) continue;
    if (verdict == BC_NO_GRID) {
      if (v->n_dims > most) (void)bc_copy_text(off_grid, sizeof off_grid, c->at.why);
      most = BC_MAX(most, v->n_dims);
      continue;
    }
    why = verdict == BC_SKIPPED ? c->at.why : unreadable(r, v, &c->at);
    if (why == NULL && !bc_cf_clean_name(v->name, c->name, sizeof c->name))
      why = "its name is longer than 47 characters";
    if (why != NULL) {
      pass_over(r, v->name, why, o);
      continue;
    }
    c->v = v;
    (*n)++;
  }
  if (r->why[0] == '\0') (void)bc_copy_text(r->why, sizeof r->why, off_grid);
  return BC_OK;
}

/* Group of each candidate: the user's, the netCDF group's own name, or by the names at the top of the file.
 */
static void group_of(const candidate *c, const bc_source_opts *o, const char *inferred, char *dst, size_t cap)
{
  if (o->group != NULL) {
    (void)bc_copy_text(dst, cap, o->group);
  } else if (c->v->group[0] == '\0') {
    (void)bc_copy_text(dst, cap, inferred);
  } else if (!bc_cf_clean_name(c->v->group, dst, cap)) {
    (void)bc_copy_text(dst, cap, "misc");
  } else {
    for (char *p = dst; *p != '\0'; p++)
      if (c->v->group[p - dst] == '/') *p = '.';
  }
}

static void add_unselected(bc_raster *r, const char *name)
{
  const size_t at = strlen(r->unselected);

  if (at + 50 < sizeof r->unselected)
    (void)snprintf(r->unselected + at, sizeof r->unselected - at, "%s%s", at > 0 ? ", " : "", name);
  r->n_unselected++;
}

static void note_expver_dim(bc_raster *r, size_t final, size_t n, size_t *told, const bc_source_opts *o)
{
  if (*told == final + 1) return; /* the same as for the variable before */
  *told = final + 1;
  bc_source_note(o->progress, "%s: expver: kept final in %zu step%s, preliminary in %zu", r->nc->label, final,
                 final == 1 ? "" : "s", n - final);
}

static bc_status build_all(bc_raster *r, const candidate *list, size_t n, const char *inferred,
                           const bc_source_opts *o, bc_err *err)
{
  const char *told_group = "";
  size_t told_final = 0;

  for (size_t i = 0; i < n; i++) {
    const candidate *c = &list[i];
    bc_raster_var *v = &r->vars[r->n_vars];
    char group[BC_NAME_MAX];
    size_t final = 0;
    const char *why = NULL;
    group_of(c, o, inferred, group, sizeof group);
    if (!is_asked_for(o->vars, group, c->name)) {
      add_unselected(r, c->name);
      continue;
    }
    BC_RET(bc_raster_describe(r, c->v, &c->at, c->name, group, o, v, &why, err));
    if (why != NULL) {
      pass_over(r, c->name, why, o);
      continue;
    }
    if (strcmp(c->name, c->v->name) != 0)
      bc_source_note(o->progress, "%s: variable \"%s\" is stored as %s", r->nc->label, c->v->name, c->name);
    if (strcmp(told_group, c->v->group) != 0)
      bc_source_note(o->progress, "%s: variables of its group /%s go to group %s", r->nc->label, c->v->group,
                     group);
    told_group = c->v->group;
    if (v->has_two_expvers) {
      BC_RET(bc_raster_count_final(r, v, &final, err));
      note_expver_dim(r, final, v->time->n, &told_final, o);
    }
    r->n_vars++;
  }
  return BC_OK;
}

static const char *infer_group(const candidate *list, size_t n, const char **names)
{
  size_t m = 0;
  bool has_levels = false;

  for (size_t i = 0; i < n; i++) {
    if (list[i].v->group[0] != '\0') continue;
    names[m++] = list[i].name;
    has_levels = has_levels || list[i].at.l >= 0;
  }
  return bc_cf_group(names, m, has_levels);
}

bc_status bc_raster_open(const bc_nc *nc, const bc_source_opts *opts, bc_raster **out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_raster *r = bc_calloc(1, sizeof *r);
  candidate *list = bc_calloc(nc->n_vars + 1, sizeof *list);
  const char **names = bc_calloc(nc->n_vars + 1, sizeof *names);
  size_t n = 0;

  *out = NULL;
  if (r == NULL || list == NULL || names == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "%s: out of memory for its variables", nc->label);
    goto out;
  }
  r->nc = nc;
  r->cache_bytes = opts->cache_bytes == 0 ? CACHE_BYTES : opts->cache_bytes;
  BC_TRY(find_candidates(r, list, &n, opts, err));
  r->vars = bc_calloc(n + 1, sizeof *r->vars);
  if (r->vars == NULL) {
    st = bc_raster_no_memory(r, err);
    goto out;
  }
  BC_TRY(build_all(r, list, n, infer_group(list, n, names), opts, err));
  *out = r;
  r = NULL;
out:
  bc_free(names);
  bc_free(list);
  bc_raster_close(r);
  return st;
}

void bc_raster_close(bc_raster *r)
{
  if (r == NULL) return;
  for (size_t i = 0; i < BC_ARRAY_LEN(r->scratch); i++)
    bc_free(r->scratch[i].p);
  bc_free(r->vars);
  bc_arena_dispose(&r->arena);
  bc_free(r);
}
