#include "formats/sink_int.h"

#include <stdio.h>
#include <string.h>

typedef struct sink_entry {
  bc_sink_fn *write;
  bool seekable; /* not written from its first byte to its last */
} sink_entry;

static const bc_format k_formats[] = {
  { "npy", "npy", "NumPy array, one variable", true, false },
  { "npz", "npz", "NumPy arrays with coordinates", false, false },
  { "safetensors", "safetensors", "tensors with coordinates and metadata", false, false },
  { "netcdf", "nc nc4", "CF-1.11 netCDF-4, opens in xarray", false, false },
  { "csv", "csv", "one row per value position, comma separated", false, true },
  { "tsv", "tsv tab", "the same, tab separated", false, true },
  { "json", "json", "one object: coordinates and nested lists", false, true },
  { "jsonl", "jsonl ndjson", "one object per value position", false, true },
  { "table", "txt", "short table for reading", false, true },
  { "png", "png", "picture: a map, or a series over time", false, false },
  { NULL, NULL, NULL, false, false },
};

/* In the order of k_formats. */
static const sink_entry k_sinks[] = {
  { bc_write_npy, false },   { bc_write_npz, true },    { bc_write_safetensors, false },
  { bc_write_netcdf, true }, { bc_write_csv, false },   { bc_write_tsv, false },
  { bc_write_json, false },  { bc_write_jsonl, false }, { bc_write_table, false },
  { bc_write_png, false },
};

_Static_assert(BC_ARRAY_LEN(k_sinks) + 1 == BC_ARRAY_LEN(k_formats), "one sink for each format");

const bc_format *bc_formats(void) { return k_formats; }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static bool same_word(const char *a, const char *b, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

/* Is word, n letters in any case, one of the blank-separated words of list? */
static bool in_list(const char *list, const char *word, size_t n)
{
  while (*list != '\0') {
    const size_t len = strcspn(list, " ");
    if (len == n && same_word(list, word, n)) return true;
    list += len + strspn(list + len, " ");
  }
  return false;
}

static void list_formats(char *buf, size_t cap)
{
  size_t n = 0;
  for (const bc_format *f = k_formats; f->name != NULL && n < cap; f++)
    n += (size_t)snprintf(buf + n, cap - n, "%s%s (.%.*s)", f == k_formats ? "" : ", ", f->name,
                          (int)strcspn(f->suffixes, " "), f->suffixes);
}

static bc_status find_by_name(const char *name, const bc_format **out, bc_err *err)
{
  char all[256];

  for (const bc_format *f = k_formats; f->name != NULL; f++) {
    const size_t n = strlen(name);
    if (in_list(f->name, name, n) || in_list(f->suffixes, name, n)) {
      *out = f;
      return BC_OK;
    }
  }
  list_formats(all, sizeof all);
  return BC_FAIL(err, BC_E_INVAL, "unknown output format \"%s\"; there are: %s", name, all);
}

bc_status bc_format_find(const char *name, const char *path, const bc_format **out, bc_err *err)
{
  char all[256];

  *out = NULL;
  if (name != NULL) return find_by_name(name, out, err);
  list_formats(all, sizeof all);
  if (path == NULL || strcmp(path, "-") == 0)
    return BC_FAIL(err, BC_E_INVAL, "standard output needs a format by name; there are: %s", all);
  const char *base = strrchr(path, '/');
  base = base == NULL ? path : base + 1;
  const char *dot = strrchr(base, '.');
  if (dot == NULL || dot[1] == '\0')
    return BC_FAIL(err, BC_E_INVAL, "%s: no suffix that tells the output format; there are: %s", path, all);
  for (const bc_format *f = k_formats; f->name != NULL; f++) {
    if (in_list(f->suffixes, dot + 1, strlen(dot + 1))) {
      *out = f;
      return BC_OK;
    }
  }
  return BC_FAIL(err, BC_E_INVAL, "%s: unknown suffix \"%s\"; output formats are: %s", path, dot, all);
}

static void list_vars(const bc_stream *in, char *buf, size_t cap)
{
  size_t n = 0;
  for (int32_t i = 0; i < in->n_vars && i < 5 && n < cap; i++)
    n += (size_t)snprintf(buf + n, cap - n, "%s%s", i == 0 ? "" : ", ", in->vars[i]->name);
  if (in->n_vars > 5 && n < cap) (void)snprintf(buf + n, cap - n, ", ...");
}

static bc_status check_stream(const bc_stream *in, const bc_format *f, bc_err *err)
{
  char names[160], text[BC_VAR_TEXT];

  if (in->n_vars < 1) return BC_FAIL(err, BC_E_INVAL, "nothing to write: the answer holds no variable");
  list_vars(in, names, sizeof names);
  if (f->one_variable && in->n_vars > 1)
    return BC_FAIL(
        err, BC_E_INVAL,
        "%s holds one variable, the answer has %d (%s): ask for one, or write .npz, .safetensors or .nc",
        f->name, (int)in->n_vars, names);
  for (int32_t i = 0; i < in->n_vars; i++) {
    uint64_t n = 0;
    BC_RET(bc_var_elements(in->vars[i], &n, err));
    if (in->vars[i]->packing != NULL)
      return BC_FAIL(err, BC_E_INVAL, "%s: packed integers cannot be written; they have to be decoded first",
                     bc_var_text(in->vars[i], text));
  }
  return BC_OK;
}

bc_status bc_sink_write(bc_stream *in, const char *path, const bc_sink_opts *opts, bc_err *err)
{
  static const bc_sink_opts defaults = BC_SINK_OPTS_INIT;
  const bc_sink_opts *o = opts != NULL ? opts : &defaults;
  bc_status st = BC_OK;
  const bc_format *f = NULL;
  bc_out out = { 0 };

  if (o->version != BC_SINK_OPTS_VERSION)
    return BC_FAIL(err, BC_E_INVAL, "bc_sink_opts version %u, expected %u", (unsigned)o->version,
                   (unsigned)BC_SINK_OPTS_VERSION);
  BC_RET(bc_format_find(o->format, path, &f, err));
  BC_RET(check_stream(in, f, err));
  const sink_entry *sink = &k_sinks[f - k_formats];
  BC_TRY(bc_out_open(&out, path, o, sink->seekable, err));
  BC_TRY(sink->write(in, o, &out, err));
  BC_TRY(bc_out_commit(&out, err));
out:
  bc_out_dispose(&out);
  return st;
}
