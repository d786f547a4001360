/* Files of rasters: a netCDF file, or the union of what a zip holds. */
#include "ingest/source.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ingest/src_int.h"
#include "store/grid.h"

#define LABEL_MAX                                                                                            \
  255 /* bytes of a path in messages, so that room is left for what is wrong; any name fits                  \
       */

/* ---- messages ---- */
void bc_source_note(const bc_progress *p, const char *fmt, ...)
{
  char line[512];
  va_list ap;

  if (p == NULL || p->note == NULL) return;
  va_start(ap, fmt);
  (void)vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  p->note(p->ctx, line);
}

const char *bc_source_base_name(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash == NULL || slash[1] == '\0' ? path : slash + 1;
}

/* The path as given, or only its last part when it is long. */
static void make_label(const char *path, char *dst, size_t cap)
{
  const char *shown = strlen(path) <= LABEL_MAX / 2 ? path : bc_source_base_name(path);
  (void)snprintf(dst, cap, "%.*s", LABEL_MAX, shown);
}

static bool begins_with_name(const char *msg, const char *name)
{
  const size_t n = strlen(name);
  return strncmp(msg, name, n) == 0 && strchr(": (", msg[n]) != NULL;
}

bc_status bc_source_name_error(bc_status st, const char *path, bc_err *err)
{
  char label[LABEL_MAX + 1];

  if (st == BC_OK || err == NULL || begins_with_name(err->msg, path) ||
      begins_with_name(err->msg, bc_source_base_name(path)))
    return st;
  make_label(path, label, sizeof label);
  char *msg = bc_asprintf("%s: %s", label, err->msg);
  if (msg != NULL) (void)bc_copy_text(err->msg, sizeof err->msg, msg);
  bc_free(msg);
  return st;
}

/* ---- the source ---- */
typedef struct member {
  bc_nc *nc;
  bc_raster *raster;
} member;

struct bc_source {
  member *members;
  size_t n_members;
  bc_unzipped zip;
  struct {
    bc_raster *raster;
    const bc_raster_var *var;
  } * vars;
  size_t n_vars;
};

static bc_status add_member(bc_source *s, const char *path, const char *label, const bc_source_opts *opts,
                            bc_err *err)
{
  member *m = &s->members[s->n_members++]; /* closed with the source whatever happens */

  BC_RET(bc_nc_open(path, label, &m->nc, err));
  return bc_raster_open(m->nc, opts, &m->raster, err);
}

static bc_status add_zip(bc_source *s, const char *path, const char *label, const bc_source_opts *opts,
                         bc_err *err)
{
  BC_RET(bc_unzip_netcdf(path, label, opts->progress, &s->zip, err));
  s->members = bc_calloc(s->zip.n, sizeof *s->members);
  if (s->members == NULL) return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory", label);
  for (size_t i = 0; i < s->zip.n; i++) {
    char name[2 * LABEL_MAX + 8];
    bc_sniffed kind = BC_SNIFF_OTHER;
    (void)snprintf(name, sizeof name, "%s (%.255s)", label, bc_source_base_name(s->zip.names[i]));
    BC_RET(bc_source_inspect(s->zip.paths[i], name, &kind, err));
    BC_RET(add_member(s, s->zip.paths[i], name, opts, err));
  }
  return BC_OK;
}

static bc_status nothing_found(const bc_source *s, const char *label, const bc_source_opts *opts, bc_err *err)
{
  const char *why = "";
  const char *have = "";

  for (size_t i = 0; i < s->n_members; i++) {
    const bc_raster *r = s->members[i].raster;
    if (have[0] == '\0') have = r->unselected;
    if (why[0] == '\0') why = r->why;
  }
  if (have[0] != '\0')
    return BC_FAIL(err, BC_E_NOTFOUND, "%s has no variable that matches \"%.60s\": it has %s", label,
                   opts->vars, have);
  if (why[0] != '\0') return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: %s", label, why);
  return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: no raster variable, only coordinates and scalars", label);
}

static bc_status list_vars(bc_source *s, const char *label, const bc_source_opts *opts, bc_err *err)
{
  size_t n = 0;

  for (size_t i = 0; i < s->n_members; i++)
    n += s->members[i].raster->n_vars;
  if (n == 0) return nothing_found(s, label, opts, err);
  s->vars = bc_calloc(n, sizeof *s->vars);
  if (s->vars == NULL) return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory", label);
  for (size_t i = 0; i < s->n_members; i++) {
    bc_raster *r = s->members[i].raster;
    for (size_t k = 0; k < r->n_vars; k++) {
      s->vars[s->n_vars].raster = r;
      s->vars[s->n_vars++].var = &r->vars[k];
    }
  }
  return BC_OK;
}

bc_status bc_source_open(const char *path, const bc_source_opts *opts, bc_source **out, bc_err *err)
{
  static const bc_source_opts defaults = { 0 };
  bc_status st = BC_OK;
  char label[LABEL_MAX + 1];
  bc_sniffed kind = BC_SNIFF_OTHER;
  bc_source *s = NULL;

  *out = NULL;
  if (opts == NULL) opts = &defaults;
  make_label(path, label, sizeof label);
  BC_RET(bc_source_inspect(path, label, &kind, err));
  s = bc_calloc(1, sizeof *s);
  if (s == NULL) return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory", label);
  if (kind == BC_SNIFF_ZIP) {
    BC_TRY(add_zip(s, path, label, opts, err));
  } else {
    s->members = bc_calloc(1, sizeof *s->members);
    if (s->members == NULL) {
      st = BC_FAIL(err, BC_E_NOMEM, "%s: out of memory", label);
      goto out;
    }
    BC_TRY(add_member(s, path, label, opts, err));
  }
  BC_TRY(list_vars(s, label, opts, err));
  *out = s;
  s = NULL;
out:
  bc_source_close(s);
  return st;
}

void bc_source_close(bc_source *s)
{
  if (s == NULL) return;
  for (size_t i = 0; i < s->n_members; i++) {
    bc_raster_close(s->members[i].raster);
    bc_nc_close(s->members[i].nc);
  }
  bc_unzipped_dispose(&s->zip);
  bc_free(s->members);
  bc_free(s->vars);
  bc_free(s);
}

size_t bc_source_vars(const bc_source *s) { return s->n_vars; }

const bc_source_var *bc_source_var_get(const bc_source *s, size_t i)
{
  return i < s->n_vars ? &s->vars[i].var->pub : NULL;
}

const char *bc_source_label(const bc_source *s, size_t i) { return s->vars[i].raster->nc->label; }

bc_status bc_source_read(bc_source *s, size_t i, int64_t t0, int64_t n_steps, void *dst, bc_err *err)
{
  if (i >= s->n_vars) return BC_FAIL(err, BC_E_INVAL, "no variable %zu: there are %zu", i, s->n_vars);
  return bc_raster_read(s->vars[i].raster, s->vars[i].var, t0, n_steps, dst, err);
}

bc_status bc_ingest_grid_of(const char *path, bc_grid *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_source *s = NULL;
  const bc_var *v = NULL;
  int y, x;

  *out = (bc_grid){ .ny = 0 };
  BC_TRY(bc_source_open(path, NULL, &s, err));
  v = &bc_source_var_get(s, 0)->var;
  y = bc_var_dim(v, BC_DIM_LAT);
  x = bc_var_dim(v, BC_DIM_LON);
  BC_TRY(bc_grid_from_axes(v->coord[y], (size_t)v->shape[y], v->coord[x], (size_t)v->shape[x], out, err));
out:
  bc_source_close(s);
  return bc_source_name_error(st, path, err);
}
