/*
 * npz: a zip of npy files. libzip asks for the bytes of an entry when it writes it, in order, so that the
 * stream goes through without a copy on disk; the archive itself is written through bc_out, which knows why a
 * write failed.
 */
#include "formats/coords.h"
#include "formats/json.h"
#include "formats/sink_int.h"

#include <stdio.h>
#include <string.h>
#include <zip.h>

enum { DOS_DATE = 0x21 /* 1980-01-01: equal answers give equal files */ };
#define MAX_ATTRS ((size_t)64 << 20)

/* What the callbacks share: the first failure, which libzip would turn into a number of its own. */
typedef struct npz {
  zip_t *zip;
  bc_out *out;
  uint64_t at, size; /* of the archive: where it is written next, how far it was */
  bc_pull pull;
  zip_error_t zerr;
  bc_status st;
  bc_err err;
} npz;

typedef struct npz_entry {
  npz *z;
  bc_buf head;    /* npy header, and the data of small arrays */
  size_t head_at; /* of it handed out */
  int32_t var;    /* -1: head is all */
  uint64_t bytes; /* of the whole entry */
} npz_entry;

static zip_int64_t keep(npz *z, bc_status st)
{
  if (st == BC_OK) return 0;
  z->st = st;
  zip_error_set(&z->zerr, ZIP_ER_WRITE, 0);
  return -1;
}

/* ---- the archive as libzip writes it ---- */

static zip_int64_t seek_archive(npz *z, void *data, zip_uint64_t len)
{
  const zip_int64_t to = zip_source_seek_compute_offset(z->at, z->size, data, len, &z->zerr);
  if (to < 0) return -1;
  z->at = (uint64_t)to;
  return 0;
}

static zip_int64_t archive_callback(void *user, void *data, zip_uint64_t len, zip_source_cmd_t cmd)
{
  npz *z = user;

  switch (cmd) {
  case ZIP_SOURCE_SUPPORTS:
    return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
                                          ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL,
                                          ZIP_SOURCE_BEGIN_WRITE, ZIP_SOURCE_COMMIT_WRITE,
                                          ZIP_SOURCE_ROLLBACK_WRITE, ZIP_SOURCE_SEEK_WRITE,
                                          ZIP_SOURCE_TELL_WRITE, ZIP_SOURCE_WRITE, ZIP_SOURCE_REMOVE, -1);
  case ZIP_SOURCE_STAT: zip_stat_init(data); return (zip_int64_t)sizeof(zip_stat_t);
  case ZIP_SOURCE_ERROR: return zip_error_to_data(&z->zerr, data, len);
  case ZIP_SOURCE_WRITE:
    if (keep(z, bc_out_pwrite(z->out, data, (size_t)len, z->at, &z->err)) < 0) return -1;
    z->at += len;
    z->size = BC_MAX(z->size, z->at);
    return (zip_int64_t)len;
  case ZIP_SOURCE_SEEK_WRITE: return seek_archive(z, data, len);
  case ZIP_SOURCE_TELL_WRITE: return (zip_int64_t)z->at;
  case ZIP_SOURCE_BEGIN_WRITE: z->at = z->size = 0; return 0;
  default: return 0; /* nothing to read, nothing to release: bc_out publishes or discards */
  }
}

/* ---- an entry as libzip reads it ---- */

static zip_int64_t read_entry(npz_entry *e, uint8_t *dst, zip_uint64_t len)
{
  npz *z = e->z;
  const size_t head = BC_MIN((size_t)len, e->head.n - e->head_at);

  memcpy(dst, e->head.p + e->head_at, head);
  e->head_at += head;
  if (e->var < 0 || head == len) return (zip_int64_t)head;
  const size_t elem = bc_dtype_size(z->pull.in->vars[e->var]->dtype);
  const uint64_t n = BC_MIN((len - head) / elem, z->pull.size - z->pull.at);
  if (keep(z, bc_pull_read(&z->pull, dst + head, n, &z->err)) < 0) return -1;
  return (zip_int64_t)(head + n * elem);
}

static zip_int64_t stat_entry(const npz_entry *e, void *data)
{
  zip_stat_t *s = data;
  zip_stat_init(s);
  s->valid = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  s->size = s->comp_size = e->bytes;
  s->comp_method = ZIP_CM_STORE;
  return (zip_int64_t)sizeof *s;
}

static zip_int64_t entry_callback(void *user, void *data, zip_uint64_t len, zip_source_cmd_t cmd)
{
  npz_entry *e = user;

  switch (cmd) {
  case ZIP_SOURCE_SUPPORTS:
    return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
                                          ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, -1);
  case ZIP_SOURCE_STAT: return stat_entry(e, data);
  case ZIP_SOURCE_OPEN:
    e->head_at = 0;
    return e->var < 0 ? 0 : keep(e->z, bc_pull_begin(&e->z->pull, e->var, &e->z->err));
  case ZIP_SOURCE_READ: return read_entry(e, data, len);
  case ZIP_SOURCE_ERROR: return zip_error_to_data(&e->z->zerr, data, len);
  default: return 0; /* entries belong to bc_write_npz */
  }
}

static bc_status zip_fail(npz *z, const char *path, zip_error_t *zerr, bc_err *err)
{
  if (z->st != BC_OK) {
    if (err != NULL) *err = z->err;
    return z->st;
  }
  const bc_status st = zip_error_code_zip(zerr) == ZIP_ER_MEMORY ? BC_E_NOMEM : BC_E_IO;
  return BC_FAIL_SYS(err, st, "zip", zip_error_code_zip(zerr), "%s: libzip: %s", path,
                     zip_error_strerror(zerr));
}

static bc_status add_entry(npz *z, npz_entry *e, const char *label, bc_err *err)
{
  bc_status st = BC_OK;
  char *name = bc_asprintf("%s.npy", label);

  if (name == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for the name of %s", label);
  zip_source_t *src = zip_source_function(z->zip, entry_callback, e);
  const zip_int64_t i = src == NULL ? -1 : zip_file_add(z->zip, name, src, ZIP_FL_ENC_UTF_8);
  if (i < 0) {
    zip_source_free(src);
    st = zip_fail(z, z->out->path, zip_get_error(z->zip), err);
  } else if (zip_set_file_compression(z->zip, (zip_uint64_t)i, ZIP_CM_STORE, 0) != 0 ||
             zip_file_set_dostime(z->zip, (zip_uint64_t)i, 0, DOS_DATE, 0) != 0) {
    st = zip_fail(z, z->out->path, zip_get_error(z->zip), err);
  }
  bc_free(name);
  return st;
}

/* ---- what goes in ---- */

static bc_status variable_entry(npz *z, npz_entry *e, const bc_stream *in, int32_t i, const char *label,
                                bc_err *err)
{
  const bc_var *v = in->vars[i];
  uint64_t n = 0;

  *e = (npz_entry){ .z = z, .head = bc_buf_empty(1 << 16), .var = i };
  BC_RET(bc_npy_header(&e->head, bc_npy_descr(v->dtype), v->shape, v->ndim, err));
  BC_RET(bc_var_elements(v, &n, err));
  e->bytes = e->head.n + n * bc_dtype_size(v->dtype);
  return add_entry(z, e, label, err);
}

static bc_status coord_entry(npz *z, npz_entry *e, const bc_coord *c, bc_err *err)
{
  *e = (npz_entry){ .z = z, .head = bc_buf_empty(SIZE_MAX), .var = -1 };
  BC_RET(bc_npy_header(&e->head, c->time ? "<M8[s]" : bc_npy_descr(c->dtype), c->shape, c->ndim, err));
  BC_RET(bc_buf_put(&e->head, c->data, c->bytes, err));
  e->bytes = e->head.n;
  return add_entry(z, e, c->name, err);
}

static void attrs_object(bc_json *j, const char *key, const bc_attr *attrs, int32_t n)
{
  bc_json_begin_object(j, key);
  for (int32_t i = 0; i < n; i++)
    bc_json_str(j, attrs[i].name, attrs[i].value);
  bc_json_end(j);
}

static bc_status attrs_json(bc_json *j, const bc_stream *in, const bc_coords *c, const char **text,
                            bc_err *err)
{
  bc_json_begin_object(j, NULL);
  attrs_object(j, "attrs", in->attrs, in->n_attrs);
  bc_json_begin_object(j, "variables");
  for (int32_t i = 0; i < in->n_vars; i++) {
    const bc_var *v = in->vars[i];
    bc_json_begin_object(j, c->labels[i]);
    bc_json_str(j, "name", v->name);
    bc_json_str(j, "group", v->group);
    bc_json_str(j, "units", v->units);
    bc_json_begin_array(j, "dims");
    for (int d = 0; d < v->ndim; d++)
      bc_json_str(j, NULL, c->axes.axis[c->axes.of[i * BC_MAX_DIMS + d]].name);
    bc_json_end(j);
    attrs_object(j, "attrs", v->attrs, v->n_attrs);
    bc_json_end(j);
  }
  bc_json_end(j);
  bc_json_end(j);
  return bc_json_text(j, text, NULL, err);
}

/* NumPy's text is UTF-32; JSON text is valid UTF-8. */
static uint32_t next_code_point(const uint8_t **p)
{
  const uint8_t *s = *p;
  const int n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
  uint32_t c = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
  for (int i = 1; i < n; i++)
    c = c << 6 | (s[i] & 0x3fu);
  *p = s + n;
  return c;
}

static bc_status attrs_entry(npz *z, npz_entry *e, const bc_stream *in, const bc_coords *c, bc_err *err)
{
  bc_status st = BC_OK;
  bc_json *j = NULL;
  const char *text = NULL;
  char descr[32];
  size_t n = 0;

  *e = (npz_entry){ .z = z, .head = bc_buf_empty(MAX_ATTRS), .var = -1 };
  BC_TRY(bc_json_open(false, &j, err));
  BC_TRY(attrs_json(j, in, c, &text, err));
  for (const char *p = text; *p != '\0'; p++)
    n += ((uint8_t)*p & 0xc0u) != 0x80u;
  (void)snprintf(descr, sizeof descr, "<U%zu", n);
  BC_TRY(bc_npy_header(&e->head, descr, NULL, 0, err));
  for (const uint8_t *p = (const uint8_t *)text; *p != 0;)
    BC_TRY(bc_buf_u32(&e->head, next_code_point(&p), err));
  e->bytes = e->head.n;
  BC_TRY(add_entry(z, e, "attrs", err));
out:
  bc_json_close(j);
  return st;
}

static bc_status open_archive(npz *z, bc_err *err)
{
  zip_error_t zerr;
  bc_status st = BC_OK;

  zip_error_init(&zerr);
  zip_source_t *src = zip_source_function_create(archive_callback, z, &zerr);
  if (src != NULL) z->zip = zip_open_from_source(src, ZIP_CREATE | ZIP_TRUNCATE, &zerr);
  if (z->zip == NULL) {
    zip_source_free(src);
    st = zip_fail(z, z->out->path, &zerr, err);
  }
  zip_error_fini(&zerr);
  return st;
}

bc_status bc_write_npz(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  npz z = { .out = out };
  bc_coords c = { 0 };
  npz_entry *e = NULL;
  size_t n = 0; /* entries made */

  (void)opts;
  bc_pull_init(&z.pull, in);
  zip_error_init(&z.zerr);
  BC_TRY(bc_coords_init(&c, in, err));
  e = bc_calloc((size_t)in->n_vars + c.n + 1, sizeof *e);
  if (e == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "no memory for the list of arrays");
    goto out;
  }
  BC_TRY(open_archive(&z, err));
  for (int32_t i = 0; i < in->n_vars; i++)
    BC_TRY(variable_entry(&z, &e[n++], in, i, c.labels[i], err));
  for (size_t k = 0; k < c.n; k++)
    BC_TRY(coord_entry(&z, &e[n++], &c.coord[k], err));
  BC_TRY(attrs_entry(&z, &e[n++], in, &c, err));
  if (zip_close(z.zip) != 0) {
    st = zip_fail(&z, out->path, zip_get_error(z.zip), err);
    goto out;
  }
  z.zip = NULL;
  BC_TRY(bc_pull_end(&z.pull, err));
out:
  if (z.zip != NULL) zip_discard(z.zip);
  for (size_t k = 0; k < n; k++)
    bc_buf_dispose(&e[k].head);
  bc_free(e);
  bc_coords_dispose(&c);
  bc_pull_dispose(&z.pull);
  zip_error_fini(&z.zerr);
  return st;
}
