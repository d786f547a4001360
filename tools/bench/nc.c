/* netCDF-C alone: the reading that ingest is measured against, and the files that stored bytes are. */
#include "tools/bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include <netcdf.h>

typedef struct nc_file {
  int id;
  int vars[128];
  size_t n_vars;
} nc_file;

typedef struct nc_state {
  nc_file file[8]; /* open all the time, when parts of variables are read */
  void *raw;
  float *out;
  size_t cap;
} nc_state;

static bool nc_fine(bench_way *w, const char *path, int status)
{
  return status == NC_NOERR || bench_fail(w, "%s: %s", path, nc_strerror(status));
}

static bool wanted_var(const bench_nc_job *j, int id, int v)
{
  char name[NC_MAX_NAME + 1];
  int dims = 0;
  if (nc_inq_varname(id, v, name) != NC_NOERR || nc_inq_varndims(id, v, &dims) != NC_NOERR) return false;
  return j->var ? strcmp(name, j->var) == 0 : dims >= 3;
}

static bool open_file(bench_way *w, const char *path, nc_file *f)
{
  int n = 0;
  f->n_vars = 0;
  if (!nc_fine(w, path, nc_open(path, NC_NOWRITE, &f->id))) return false;
  if (!nc_fine(w, path, nc_inq_nvars(f->id, &n))) return false;
  for (int v = 0; v < n && f->n_vars < 128; v++)
    if (wanted_var(w->arg, f->id, v)) f->vars[f->n_vars++] = v;
  return f->n_vars > 0 || bench_fail(w, "%s: no such variable", path);
}

static bool room(bench_way *w, nc_state *s, size_t values)
{
  if (values <= s->cap) return true;
  free(s->raw);
  free(s->out);
  s->raw = bench_alloc(values * sizeof(double));
  s->out = bench_alloc(values * sizeof(float));
  s->cap = values;
  return s->raw && s->out ? true : bench_fail(w, "no memory");
}

typedef struct nc_shape {
  int ndim;
  size_t n[NC_MAX_VAR_DIMS], chunk0;
  nc_type type;
} nc_shape;

static bool inquire(bench_way *w, const char *path, int id, int v, nc_shape *s)
{
  int dims[NC_MAX_VAR_DIMS], storage = NC_CONTIGUOUS;
  size_t chunk[NC_MAX_VAR_DIMS] = { 0 };
  if (!nc_fine(w, path, nc_inq_var(id, v, NULL, &s->type, &s->ndim, dims, NULL))) return false;
  for (int d = 0; d < s->ndim; d++)
    if (!nc_fine(w, path, nc_inq_dimlen(id, dims[d], &s->n[d]))) return false;
  s->chunk0 = 1;
  if (nc_inq_var_chunking(id, v, &storage, chunk) == NC_NOERR && storage == NC_CHUNKED) s->chunk0 = chunk[0];
  return true;
}

static bool is_packed(int id, int v) { return nc_inq_att(id, v, "scale_factor", NULL, NULL) == NC_NOERR; }

/* The CF rule: double arithmetic, rounded once; the fill value is missing. */
static bool unpack(bench_way *w, const char *path, int id, int v, const short *raw, float *out, size_t n)
{
  double scale = 1, offset = 0;
  short fill = 0;
  if (!nc_fine(w, path, nc_get_att_double(id, v, "scale_factor", &scale)) ||
      !nc_fine(w, path, nc_get_att_double(id, v, "add_offset", &offset)) ||
      !nc_fine(w, path, nc_get_att_short(id, v, "_FillValue", &fill)))
    return false;
  for (size_t i = 0; i < n; i++)
    out[i] = raw[i] == fill ? __builtin_nanf("") : (float)((double)raw[i] * scale + offset);
  return true;
}

static bool get(bench_way *w, const char *path, int id, int v, const nc_shape *s, const size_t *start,
                const size_t *count)
{
  const bench_nc_job *j = w->arg;
  nc_state *st = w->state;
  size_t n = 1;
  for (int d = 0; d < s->ndim; d++)
    n *= count[d];
  if (!room(w, st, n)) return false;
  if (s->type != NC_SHORT) return nc_fine(w, path, nc_get_vara_float(id, v, start, count, st->out));
  if (!nc_fine(w, path, nc_get_vara_short(id, v, start, count, st->raw))) return false;
  return !j->unpack || !is_packed(id, v) || unpack(w, path, id, v, st->raw, st->out, n);
}

/* All of a variable, in slabs of the file's chunks. */
static bool read_slabs(bench_way *w, const char *path, int id, int v)
{
  nc_shape s;
  size_t start[NC_MAX_VAR_DIMS] = { 0 }, count[NC_MAX_VAR_DIMS];
  if (!inquire(w, path, id, v, &s)) return false;
  memcpy(count, s.n, sizeof count);
  for (size_t t = 0; t < s.n[0]; t += s.chunk0) {
    start[0] = t;
    count[0] = t + s.chunk0 < s.n[0] ? s.chunk0 : s.n[0] - t;
    if (!get(w, path, id, v, &s, start, count)) return false;
  }
  return true;
}

static bool read_part(bench_way *w, const char *path, int id, int v)
{
  const bench_nc_job *j = w->arg;
  nc_shape s;
  size_t start[NC_MAX_VAR_DIMS] = { 0 }, count[NC_MAX_VAR_DIMS];
  if (!inquire(w, path, id, v, &s)) return false;
  memcpy(count, s.n, sizeof count);
  for (int d = 0; d < (j->first_dim_only ? 1 : s.ndim) && d < 4; d++) {
    start[d] = j->start[d];
    count[d] = j->n[d];
  }
  return get(w, path, id, v, &s, start, count);
}

static bool each_var(bench_way *w, const char *path, const nc_file *f)
{
  const bench_nc_job *j = w->arg;
  for (size_t i = 0; i < f->n_vars; i++)
    if (!(j->n[0] > 0 ? read_part : read_slabs)(w, path, f->id, f->vars[i])) return false;
  return true;
}

bool bench_nc_open(bench_way *w)
{
  const bench_nc_job *j = w->arg;
  nc_state *s = calloc(1, sizeof *s);
  w->state = s;
  if (!s) return bench_fail(w, "no memory");
  for (size_t i = 0; i < j->n_paths && j->n[0] > 0; i++)
    if (!open_file(w, j->path[i], &s->file[i])) return false;
  return true;
}

bool bench_nc_once(bench_way *w)
{
  const bench_nc_job *j = w->arg;
  const nc_state *s = w->state;
  for (size_t i = 0; i < j->n_paths; i++) {
    nc_file f;
    bool ok;
    if (j->n[0] > 0) {
      ok = each_var(w, j->path[i], &s->file[i]);
    } else {
      ok = open_file(w, j->path[i], &f) && each_var(w, j->path[i], &f);
      (void)nc_close(f.id);
    }
    if (!ok) return false;
  }
  return true;
}

/* ---- writing ---- */

struct bench_nc_out {
  int id, var, ndim;
};

static bool say(const char *path, int status)
{
  if (status != NC_NOERR) fprintf(stderr, "bench: %s: %s\n", path, nc_strerror(status));
  return status == NC_NOERR;
}

bench_nc_out *bench_nc_create(const char *path, const int64_t *shape, int ndim)
{
  static const char *const names[] = { "a", "b", "c", "d" };
  bench_nc_out *o = bench_alloc(sizeof *o);
  int dims[4] = { 0 };
  size_t chunk[4] = { 0 }, plane = sizeof(float);
  *o = (bench_nc_out){ .ndim = ndim };
  if (!say(path, nc_create(path, NC_NETCDF4 | NC_CLOBBER, &o->id))) return NULL;
  for (int d = 0; d < ndim; d++)
    if (!say(path, nc_def_dim(o->id, names[d], (size_t)shape[d], &dims[d]))) return NULL;
  for (int d = ndim - 1; d >= 0; d--) {
    const size_t fits = plane < (4u << 20) ? (4u << 20) / plane : 1;
    chunk[d] = (size_t)shape[d] < fits ? (size_t)shape[d] : fits;
    if (d > ndim - 3) chunk[d] = (size_t)shape[d]; /* whole planes, as the CDS has them */
    plane *= chunk[d];
  }
  if (!say(path, nc_def_var(o->id, "v", NC_FLOAT, ndim, dims, &o->var)) ||
      !say(path, nc_def_var_chunking(o->id, o->var, NC_CHUNKED, chunk)) ||
      !say(path, nc_def_var_deflate(o->id, o->var, 1, 1, 1)))
    return NULL;
  /* blocks come in pieces smaller than a chunk: hold a chunk until it is whole */
  (void)nc_set_var_chunk_cache(o->id, o->var, 64u << 20, 1009, 0.75f);
  return o;
}

bool bench_nc_write(bench_nc_out *o, const int64_t *start, const int64_t *shape, const float *data)
{
  size_t s[4], n[4];
  for (int d = 0; d < o->ndim; d++) {
    s[d] = (size_t)start[d];
    n[d] = (size_t)shape[d];
  }
  return say("writing", nc_put_vara_float(o->id, o->var, s, n, data));
}

bool bench_nc_close(bench_nc_out *o)
{
  const bool ok = say("closing", nc_close(o->id));
  free(o);
  return ok;
}
