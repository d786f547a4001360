/*
 * What netCDF-C says about a file, in our types. The only file of the folder that knows the library; each of
 * its calls runs under the lock of the process, and its codes become ours here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <netcdf.h>

#include "ingest/ingest.h"
#include "ingest/src_int.h"
#include "store/netcdf_lock.h"

#define MAX_ATT_NUMBERS 4096u  /* of one attribute; longer ones are passed over */
#define MAX_ATT_TEXT    65536u /* bytes of one attribute; longer ones are passed over */
#define MAX_GROUPS      1024u
#define NAME_ROOM       (NC_MAX_NAME + 64) /* HDF5's own names may be a little longer */

/* ---- errors ---- */
static bc_status nc_status(int code)
{
  switch (code) {
  case NC_ENOMEM: return BC_E_NOMEM;
  case NC_ENOTNC: return BC_E_UNSUPPORTED;
  case NC_ETRUNC: return BC_E_TRUNCATED;
  case NC_ENOTBUILT:
  case NC_ENOFILTER: return BC_E_UNSUPPORTED;
  default: break;
  }
  if (code == EINVAL) return BC_E_CORRUPT; /* what the library makes of some broken headers */
  if (code > 0) return code == ENOENT ? BC_E_NOTFOUND : BC_E_IO;
  return BC_E_CORRUPT;
}

static const char *nc_advice(int code)
{
  switch (code) {
  case NC_ENOMEM: return "out of memory";
  case NC_ENOTNC: return "it is not netCDF, or its header is damaged";
  case NC_ETRUNC: return "it ends early; download it again";
  case NC_ENOTBUILT: return "this netCDF library was built without that format";
  case NC_ENOFILTER:
    return "it is compressed with a filter that this HDF5 library lacks; repack with nccopy -d1";
  case EINVAL: return "it is damaged; download it again";
  default: return code > 0 ? "it cannot be read" : "it is damaged; download it again";
  }
}

static bc_status nc_fail(bc_err *err, int code, const char *label, const char *what, int64_t step, int line)
{
  char at[40] = "";

  if (step >= 0) (void)snprintf(at, sizeof at, " at step %" PRId64, step);
  return bc_err_set(err, nc_status(code), "netcdf", code, __FILE__, line, "%s: %s%s: %s (%s)", label, what,
                    at, nc_advice(code), nc_strerror(code));
}
#define NC_FAIL(err, code, label, what) nc_fail((err), (code), (label), (what), -1, __LINE__)

/* In a function with st, rc, err and label out: run a library call. */
#define NC_TRY(call, what)                                                                                   \
  do {                                                                                                       \
    const int rc_ = (call);                                                                                  \
    if (rc_ != NC_NOERR) {                                                                                   \
      st = NC_FAIL(err, rc_, nc->label, (what));                                                             \
      goto out;                                                                                              \
    }                                                                                                        \
  } while (0)

static bc_status no_memory(bc_err *err, const char *label)
{
  return BC_FAIL(err, BC_E_NOMEM, "%s: out of memory while reading its header", label);
}

/* ---- attributes ---- */
static bc_raw raw_of(nc_type t)
{
  switch (t) {
  case NC_BYTE: return BC_RAW_I8;
  case NC_UBYTE: return BC_RAW_U8;
  case NC_SHORT: return BC_RAW_I16;
  case NC_USHORT: return BC_RAW_U16;
  case NC_INT: return BC_RAW_I32;
  case NC_UINT: return BC_RAW_U32;
  case NC_INT64: return BC_RAW_I64;
  case NC_UINT64: return BC_RAW_U64;
  case NC_FLOAT: return BC_RAW_F32;
  case NC_DOUBLE: return BC_RAW_F64;
  case NC_CHAR: return BC_RAW_CHAR;
  case NC_STRING: return BC_RAW_STRING;
  default: return BC_RAW_OTHER;
  }
}

static bc_status att_text(bc_nc *nc, int grp, int var, bc_nc_att *att, bc_err *err)
{
  bc_status st = BC_OK;
  char *s = bc_calloc(att->n + 1, 1);

  if (s == NULL) return no_memory(err, nc->label);
  NC_TRY(nc_get_att_text(grp, var, att->name, s), att->name);
  att->text = bc_arena_text(&nc->arena, s, att->n);
  if (att->text == NULL) st = no_memory(err, nc->label);
out:
  bc_free(s);
  return st;
}

/* Of several strings the first is taken: no convention uses more. */
static bc_status att_string(bc_nc *nc, int grp, int var, bc_nc_att *att, bc_err *err)
{
  bc_status st = BC_OK;
  bool owned = false;
  char **s = bc_calloc(att->n, sizeof *s);

  if (s == NULL) return no_memory(err, nc->label);
  NC_TRY(nc_get_att_string(grp, var, att->name, s), att->name);
  owned = true;
  att->text = bc_arena_text(&nc->arena, s[0] == NULL ? "" : s[0], s[0] == NULL ? 0 : strlen(s[0]));
  if (att->text == NULL) st = no_memory(err, nc->label);
out:
  if (owned) (void)nc_free_string(att->n, s); /* frees the strings, not the list */
  bc_free(s);
  return st;
}

static bc_status att_numbers(bc_nc *nc, int grp, int var, bc_raw raw, bc_nc_att *att, bc_err *err)
{
  bc_status st = BC_OK;
  double *d = bc_calloc(att->n, sizeof *d);
  long long *i = bc_calloc(att->n, sizeof *i);
  unsigned long long *u = bc_calloc(att->n, sizeof *u);
  bc_num *num = bc_arena_get(&nc->arena, att->n * sizeof *num);

  if (d == NULL || i == NULL || u == NULL || num == NULL) {
    st = no_memory(err, nc->label);
    goto out;
  }
  NC_TRY(nc_get_att_double(grp, var, att->name, d), att->name);
  if (raw == BC_RAW_U64)
    NC_TRY(nc_get_att_ulonglong(grp, var, att->name, u), att->name);
  else if (bc_raw_is_int(raw))
    NC_TRY(nc_get_att_longlong(grp, var, att->name, i), att->name);
  for (size_t k = 0; k < att->n; k++)
    num[k] = (bc_num){ .raw = raw, .d = d[k], .i = raw == BC_RAW_U64 ? (int64_t)u[k] : (int64_t)i[k] };
  att->num = num;
out:
  bc_free(u);
  bc_free(i);
  bc_free(d);
  return st;
}

/* *used stays false for attributes of a kind that nothing here needs. */
static bc_status read_att(bc_nc *nc, int grp, int var, int k, bc_nc_att *att, bool *used, bc_err *err)
{
  bc_status st = BC_OK;
  char name[NAME_ROOM] = { 0 };
  nc_type type = NC_NAT;
  bc_raw raw;

  *used = false;
  NC_TRY(nc_inq_attname(grp, var, k, name), "attributes");
  NC_TRY(nc_inq_att(grp, var, name, &type, &att->n), name);
  raw = raw_of(type);
  if (raw == BC_RAW_OTHER || (raw != BC_RAW_CHAR && att->n == 0)) return BC_OK;
  if (att->n > (raw == BC_RAW_CHAR ? MAX_ATT_TEXT : MAX_ATT_NUMBERS)) return BC_OK;
  att->name = bc_arena_text(&nc->arena, name, strlen(name));
  if (att->name == NULL) return no_memory(err, nc->label);
  if (raw == BC_RAW_CHAR) {
    BC_TRY(att_text(nc, grp, var, att, err));
  } else if (raw == BC_RAW_STRING) {
    BC_TRY(att_string(nc, grp, var, att, err));
  } else {
    BC_TRY(att_numbers(nc, grp, var, raw, att, err));
  }
  *used = true;
out:
  return st;
}

static bc_status read_atts(bc_nc *nc, int grp, int var, int n, const bc_nc_att **out, size_t *n_out,
                           bc_err *err)
{
  bc_nc_att *atts = bc_arena_get(&nc->arena, (size_t)n * sizeof *atts);
  size_t m = 0;

  if (atts == NULL) return no_memory(err, nc->label);
  for (int k = 0; k < n; k++) {
    bool used = false;
    BC_RET(read_att(nc, grp, var, k, &atts[m], &used, err));
    if (used) m++;
  }
  *out = atts;
  *n_out = m;
  return BC_OK;
}

const bc_nc_att *bc_nc_find_att(const bc_nc_att *atts, size_t n, const char *name)
{
  for (size_t i = 0; i < n; i++) {
    if (strcmp(atts[i].name, name) == 0) return &atts[i];
  }
  return NULL;
}

const char *bc_nc_text(const bc_nc_var *v, const char *att)
{
  const bc_nc_att *a = bc_nc_find_att(v->atts, v->n_atts, att);
  return a == NULL ? NULL : a->text;
}

/* ---- inventory ---- */
typedef struct group_list {
  int id[MAX_GROUPS];
  const char *path[MAX_GROUPS];
  size_t n;
} group_list;

static const char *join_path(bc_nc *nc, const char *parent, const char *name)
{
  char *s = parent[0] == '\0' ? bc_asprintf("%s", name) : bc_asprintf("%s/%s", parent, name);
  const char *kept = s == NULL ? NULL : bc_arena_text(&nc->arena, s, strlen(s));

  bc_free(s);
  return kept;
}

/* All groups, parents before their children; the list is its own work queue. */
static bc_status list_groups(bc_nc *nc, group_list *g, bc_err *err)
{
  bc_status st = BC_OK;
  int *ids = bc_calloc(MAX_GROUPS, sizeof *ids);

  if (ids == NULL) return no_memory(err, nc->label);
  g->id[0] = nc->ncid;
  g->path[0] = "";
  g->n = 1;
  for (size_t i = 0; i < g->n; i++) {
    int n = 0;
    NC_TRY(nc_inq_grps(g->id[i], &n, NULL), "groups");
    if (n < 0 || (size_t)n > MAX_GROUPS - g->n) {
      st = BC_FAIL(err, BC_E_UNSUPPORTED, "%s: more than %u groups", nc->label, MAX_GROUPS);
      goto out;
    }
    NC_TRY(nc_inq_grps(g->id[i], &n, ids), "groups");
    for (int k = 0; k < n; k++) {
      char name[NAME_ROOM] = { 0 };
      NC_TRY(nc_inq_grpname(ids[k], name), "groups");
      g->id[g->n] = ids[k];
      g->path[g->n] = join_path(nc, g->path[i], name);
      if (g->path[g->n++] == NULL) {
        st = no_memory(err, nc->label);
        goto out;
      }
    }
  }
out:
  bc_free(ids);
  return st;
}

static bc_status count_all(bc_nc *nc, const group_list *g, size_t *n_dims, size_t *n_vars, bc_err *err)
{
  bc_status st = BC_OK;

  *n_dims = *n_vars = 0;
  for (size_t i = 0; i < g->n; i++) {
    int nd = 0, nv = 0;
    NC_TRY(nc_inq_dimids(g->id[i], &nd, NULL, 0), "dimensions");
    NC_TRY(nc_inq_nvars(g->id[i], &nv), "variables");
    *n_dims += (size_t)nd;
    *n_vars += (size_t)nv;
  }
out:
  return st;
}

static bc_status read_dims(bc_nc *nc, const group_list *g, bc_nc_dim *dims, bc_err *err)
{
  bc_status st = BC_OK;
  int *ids = bc_calloc(nc->n_dims + 1, sizeof *ids);
  size_t at = 0;

  if (ids == NULL) return no_memory(err, nc->label);
  for (size_t i = 0; i < g->n; i++) {
    int n = 0;
    NC_TRY(nc_inq_dimids(g->id[i], &n, ids, 0), "dimensions");
    for (int k = 0; k < n && at < nc->n_dims; k++, at++) {
      char name[NAME_ROOM] = { 0 };
      NC_TRY(nc_inq_dim(g->id[i], ids[k], name, &dims[at].len), "dimensions");
      dims[at].id = ids[k];
      dims[at].name = bc_arena_text(&nc->arena, name, strlen(name));
      if (dims[at].name == NULL) {
        st = no_memory(err, nc->label);
        goto out;
      }
    }
  }
out:
  bc_free(ids);
  return st;
}

static int dim_index(const bc_nc *nc, int id)
{
  for (size_t i = 0; i < nc->n_dims; i++) {
    if (nc->dims[i].id == id) return (int)i;
  }
  return -1;
}

static bc_status read_var_dims(bc_nc *nc, bc_nc_var *v, bc_err *err)
{
  bc_status st = BC_OK;
  int ids[BC_NC_MAX_DIMS], n = 0, storage = NC_CONTIGUOUS, no_fill = 0;

  NC_TRY(nc_inq_varndims(v->grp, v->id, &n), v->name);
  v->n_dims = -1;
  if (n > BC_NC_MAX_DIMS) return BC_OK; /* no raster has so many */
  NC_TRY(nc_inq_vardimid(v->grp, v->id, ids), v->name);
  for (int d = 0; d < n; d++) {
    v->dims[d] = dim_index(nc, ids[d]);
    if (v->dims[d] < 0) return BC_FAIL(err, BC_E_CORRUPT, "%s: %s: unknown dimension", nc->label, v->name);
  }
  v->n_dims = n;
  NC_TRY(nc_inq_var_chunking(v->grp, v->id, &storage, v->chunks), v->name);
  v->chunked = n > 0 && storage == NC_CHUNKED;
  NC_TRY(nc_inq_var_fill(v->grp, v->id, &no_fill, NULL), v->name);
  v->no_fill = no_fill == 1;
out:
  return st;
}

static bc_status read_var(bc_nc *nc, int grp, const char *group, int id, bc_nc_var *v, bc_err *err)
{
  bc_status st = BC_OK;
  char name[NAME_ROOM] = { 0 };
  nc_type type = NC_NAT;
  int n_atts = 0;

  v->grp = grp;
  v->id = id;
  v->group = group;
  NC_TRY(nc_inq_varname(grp, id, name), "variables");
  v->name = bc_arena_text(&nc->arena, name, strlen(name));
  if (v->name == NULL) return no_memory(err, nc->label);
  NC_TRY(nc_inq_vartype(grp, id, &type), name);
  v->raw = raw_of(type);
  BC_TRY(read_var_dims(nc, v, err));
  NC_TRY(nc_inq_varnatts(grp, id, &n_atts), name);
  BC_TRY(read_atts(nc, grp, id, n_atts, &v->atts, &v->n_atts, err));
out:
  return st;
}

static bc_status read_vars(bc_nc *nc, const group_list *g, bc_nc_var *vars, bc_err *err)
{
  bc_status st = BC_OK;
  size_t at = 0;

  for (size_t i = 0; i < g->n; i++) {
    int n = 0;
    NC_TRY(nc_inq_nvars(g->id[i], &n), "variables");
    for (int k = 0; k < n && at < nc->n_vars; k++, at++)
      BC_TRY(read_var(nc, g->id[i], g->path[i], k, &vars[at], err));
  }
out:
  return st;
}

static bc_status read_inventory(bc_nc *nc, bc_err *err)
{
  bc_status st = BC_OK;
  group_list *g = bc_calloc(1, sizeof *g);
  bc_nc_dim *dims = NULL;
  bc_nc_var *vars = NULL;
  int n_atts = 0;

  if (g == NULL) return no_memory(err, nc->label);
  BC_TRY(list_groups(nc, g, err));
  BC_TRY(count_all(nc, g, &nc->n_dims, &nc->n_vars, err));
  dims = bc_arena_get(&nc->arena, nc->n_dims * sizeof *dims);
  vars = bc_arena_get(&nc->arena, nc->n_vars * sizeof *vars);
  if (dims == NULL || vars == NULL) {
    st = no_memory(err, nc->label);
    goto out;
  }
  nc->dims = dims;
  nc->vars = vars;
  BC_TRY(read_dims(nc, g, dims, err));
  BC_TRY(read_vars(nc, g, vars, err));
  NC_TRY(nc_inq_natts(nc->ncid, &n_atts), "attributes");
  BC_TRY(read_atts(nc, nc->ncid, NC_GLOBAL, n_atts, &nc->atts, &nc->n_atts, err));
out:
  bc_free(g);
  return st;
}

static bc_status open_locked(bc_nc *nc, const char *path, bc_err *err)
{
  bc_status st = BC_OK;

  NC_TRY(nc_open(path, NC_NOWRITE, &nc->ncid), "opening");
  nc->is_open = true;
  BC_TRY(read_inventory(nc, err));
out:
  return st;
}

bc_status bc_nc_open(const char *path, const char *label, bc_nc **out, bc_err *err)
{
  bc_status st = BC_OK;
  char *local = NULL;
  bc_nc *nc = bc_calloc(1, sizeof *nc);

  *out = NULL;
  if (nc == NULL) return no_memory(err, label);
  nc->label = bc_arena_text(&nc->arena, label, strlen(label));
  /* the library takes "scheme://..." for an address: a path that starts with '.' or '/' is none */
  local = bc_asprintf("%s%s", path[0] == '/' || path[0] == '.' ? "" : "./", path);
  if (nc->label == NULL || local == NULL) {
    st = no_memory(err, label);
    goto out;
  }
  bc_netcdf_lock(nc->label);
  st = open_locked(nc, local, err);
  bc_netcdf_unlock();
  if (st != BC_OK) goto out;
  *out = nc;
  nc = NULL;
out:
  bc_free(local);
  bc_nc_close(nc);
  return st;
}

void bc_nc_close(bc_nc *nc)
{
  if (nc == NULL) return;
  if (nc->is_open) {
    bc_netcdf_lock(nc->label);
    (void)nc_close(nc->ncid); /* nothing was written: nothing can be lost */
    bc_netcdf_unlock();
  }
  bc_arena_dispose(&nc->arena);
  bc_free(nc);
}

/* ---- values ---- */
bool bc_nc_elements(const bc_nc *nc, const bc_nc_var *v, size_t *out)
{
  size_t n = 1;

  for (int d = 0; d < v->n_dims; d++) {
    if (!bc_mul_sz(n, nc->dims[v->dims[d]].len, &n)) return false;
  }
  *out = n;
  return v->n_dims >= 0;
}

bc_status bc_nc_read(const bc_nc *nc, const bc_nc_var *v, const size_t *start, const size_t *count,
                     int64_t step, void *dst, bc_err *err)
{
  int rc;

  bc_netcdf_lock(nc->label);
  rc = nc_get_vara(v->grp, v->id, start, count, dst);
  bc_netcdf_unlock();
  return rc == NC_NOERR ? BC_OK : nc_fail(err, rc, nc->label, v->name, step, __LINE__);
}

bc_status bc_nc_read_f64(const bc_nc *nc, const bc_nc_var *v, double *dst, bc_err *err)
{
  int rc;

  bc_netcdf_lock(nc->label);
  rc = nc_get_var_double(v->grp, v->id, dst);
  bc_netcdf_unlock();
  return rc == NC_NOERR ? BC_OK : NC_FAIL(err, rc, nc->label, v->name);
}

bc_status bc_nc_read_i64(const bc_nc *nc, const bc_nc_var *v, int64_t *dst, bc_err *err)
{
  long long *tmp = NULL;
  size_t n = 0, bytes = 0;
  int rc;

  if (!bc_nc_elements(nc, v, &n) || !bc_mul_sz(n, sizeof *tmp, &bytes))
    return BC_FAIL(err, BC_E_RANGE, "%s: %s is too large", nc->label, v->name);
  tmp = bc_malloc(bytes);
  if (tmp == NULL) return no_memory(err, nc->label);
  bc_netcdf_lock(nc->label);
  rc = nc_get_var_longlong(v->grp, v->id, tmp);
  bc_netcdf_unlock();
  for (size_t i = 0; rc == NC_NOERR && i < n; i++)
    dst[i] = (int64_t)tmp[i];
  bc_free(tmp);
  return rc == NC_NOERR ? BC_OK : NC_FAIL(err, rc, nc->label, v->name);
}

static bc_status expver_numbers(const bc_nc *nc, const bc_nc_var *v, size_t n, int *dst, bc_err *err)
{
  bc_status st;
  double *d = bc_calloc(n, sizeof *d);

  if (d == NULL) return no_memory(err, nc->label);
  st = bc_nc_read_f64(nc, v, d, err);
  for (size_t i = 0; st == BC_OK && i < n; i++)
    dst[i] = d[i] >= 0 && d[i] <= 999999 ? (int)d[i] : -1;
  bc_free(d);
  return st;
}

static bc_status expver_strings(const bc_nc *nc, const bc_nc_var *v, size_t n, int *dst, bc_err *err)
{
  char **s = bc_calloc(n, sizeof *s);
  int rc;

  if (s == NULL) return no_memory(err, nc->label);
  bc_netcdf_lock(nc->label);
  rc = nc_get_var_string(v->grp, v->id, s);
  for (size_t i = 0; rc == NC_NOERR && i < n; i++)
    dst[i] = s[i] == NULL ? -1 : bc_cf_expver(s[i]);
  if (rc == NC_NOERR) (void)nc_free_string(n, s);
  bc_netcdf_unlock();
  bc_free(s);
  return rc == NC_NOERR ? BC_OK : NC_FAIL(err, rc, nc->label, v->name);
}

/* A last dimension more than the n values: rows of characters. */
static bc_status expver_chars(const bc_nc *nc, const bc_nc_var *v, size_t n, int *dst, bc_err *err)
{
  size_t all = 0, width;
  char *s = NULL;
  int rc;

  if (!bc_nc_elements(nc, v, &all) || n == 0 || all % n != 0 || all == SIZE_MAX)
    return BC_FAIL(err, BC_E_UNSUPPORTED, "%s: %s has an unknown layout", nc->label, v->name);
  width = all / n;
  s = bc_calloc(all + 1, 1);
  if (s == NULL) return no_memory(err, nc->label);
  bc_netcdf_lock(nc->label);
  rc = nc_get_var_text(v->grp, v->id, s);
  bc_netcdf_unlock();
  for (size_t i = 0; rc == NC_NOERR && i < n; i++) {
    char one[16] = { 0 };
    memcpy(one, s + i * width, BC_MIN(width, sizeof one - 1));
    dst[i] = bc_cf_expver(one);
  }
  bc_free(s);
  return rc == NC_NOERR ? BC_OK : NC_FAIL(err, rc, nc->label, v->name);
}

bc_status bc_nc_read_expver(const bc_nc *nc, const bc_nc_var *v, size_t n, int *dst, bc_err *err)
{
  if (bc_raw_is_number(v->raw)) return expver_numbers(nc, v, n, dst, err);
  if (v->raw == BC_RAW_STRING) return expver_strings(nc, v, n, dst, err);
  if (v->raw == BC_RAW_CHAR) return expver_chars(nc, v, n, dst, err);
  for (size_t i = 0; i < n; i++)
    dst[i] = -1;
  return BC_OK;
}

void bc_nc_cache(const bc_nc *nc, const bc_nc_var *v, size_t bytes, size_t chunks)
{
  (void)nc;
  if (!v->chunked) return;
  bc_netcdf_lock(nc->label);
  /* slots: a few times the chunks, odd, so that few share one. A refusal costs speed only. */
  (void)nc_set_var_chunk_cache(v->grp, v->id, bytes, BC_MIN(chunks, 1u << 20) * 8 + 1, 0.75f);
  bc_netcdf_unlock();
}

const char *bc_ingest_reading(void) { return bc_netcdf_reading(); }
