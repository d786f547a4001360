#include "formats/sink_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *bc_var_text(const bc_var *v, char buf[BC_VAR_TEXT])
{
  const bool grouped = v->group != NULL && v->group[0] != '\0';
  (void)snprintf(buf, BC_VAR_TEXT, "%s%s%s", grouped ? v->group : "", grouped ? "/" : "", v->name);
  return buf;
}

bool bc_attr_travels(const char *name)
{
  static const char *const k_not[] = {
    "_FillValue",  "missing_value", "scale_factor",   "add_offset",
    "coordinates", "units",         "bounds",         "valid_min",
    "valid_max",   "valid_range",   "actual_range",   "grid_mapping",
    "group",       "dims",          "cell_measures",  "ancillary_variables",
    "CLASS",       "NAME",          "DIMENSION_LIST", "REFERENCE_LIST",
  };
  for (size_t i = 0; i < BC_ARRAY_LEN(k_not); i++) {
    if (strcmp(k_not[i], name) == 0) return false;
  }
  return strncmp(name, "_Netcdf4", 8) != 0 && strncmp(name, "_NC", 3) != 0;
}

bc_status bc_var_elements(const bc_var *v, uint64_t *n, bc_err *err)
{
  char text[BC_VAR_TEXT];
  size_t bytes = 0;
  const size_t elem = bc_dtype_size(v->dtype);

  *n = 0;
  if (elem == 0)
    return BC_FAIL(err, BC_E_INVAL, "%s: unknown kind of number %d", bc_var_text(v, text), (int)v->dtype);
  if (v->ndim < 0 || v->ndim > BC_MAX_DIMS)
    return BC_FAIL(err, BC_E_INVAL, "%s: %d dimensions, at most %d can be written", bc_var_text(v, text),
                   (int)v->ndim, BC_MAX_DIMS);
  if (!bc_shape_bytes(v->shape, v->ndim, elem, &bytes))
    return BC_FAIL(err, BC_E_RANGE, "%s: too many values to count", bc_var_text(v, text));
  *n = bytes / elem;
  return BC_OK;
}

/* ---- pull ---- */

void bc_pull_init(bc_pull *p, bc_stream *in) { *p = (bc_pull){ .in = in, .var = -1 }; }

void bc_pull_dispose(bc_pull *p)
{
  bc_batch_release(&p->batch);
  *p = (bc_pull){ .in = p->in, .var = -1 };
}

bc_status bc_pull_begin(bc_pull *p, int32_t var, bc_err *err)
{
  if (p->at != p->size || p->used != p->held || var != p->var + 1)
    return BC_FAIL(err, BC_E_INTERNAL, "variable %d begun before the one ahead of it was read", (int)var);
  p->var = var;
  p->at = 0;
  return bc_var_elements(p->in->vars[var], &p->size, err);
}

static uint64_t block_elements(const bc_block *b)
{
  uint64_t n = 1;
  for (int32_t d = 0; d < b->var->ndim; d++)
    n *= (uint64_t)b->shape[d];
  return n;
}

/* The piece must go on where the last one ended, and be whole in all dimensions but the first. */
static bc_status check_block(const bc_pull *p, const bc_block *b, bc_err *err)
{
  char text[BC_VAR_TEXT];
  const bc_var *v = p->in->vars[p->var];
  uint64_t row = 1;

  if (b->var != v)
    return BC_FAIL(err, BC_E_INTERNAL, "%s: %llu of %llu values came", bc_var_text(v, text),
                   (unsigned long long)p->at, (unsigned long long)p->size);
  bool whole = true;
  for (int32_t d = 1; d < v->ndim; d++) {
    whole = whole && b->start[d] == 0 && b->shape[d] == v->shape[d];
    row *= (uint64_t)v->shape[d];
  }
  if (v->ndim > 0)
    whole = whole && b->start[0] >= 0 && b->shape[0] >= 0 && b->shape[0] <= v->shape[0] - b->start[0] &&
            (uint64_t)b->start[0] * row == p->at;
  if (!whole)
    return BC_FAIL(err, BC_E_INTERNAL, "%s: a piece came out of order, at row %lld", bc_var_text(v, text),
                   (long long)b->start[0]);
  return BC_OK;
}

/* The next block that holds anything; *b NULL at the end of the stream. */
static bc_status next_block(bc_pull *p, const bc_block **b, bc_err *err)
{
  *b = NULL;
  for (;;) {
    while (p->batch.release != NULL && p->block < p->batch.n_blocks) {
      *b = &p->batch.blocks[p->block++];
      if (block_elements(*b) > 0) return BC_OK;
    }
    bc_batch_release(&p->batch);
    p->batch = (bc_batch){ 0 };
    p->block = 0;
    *b = NULL;
    BC_RET(p->in->next(p->in, &p->batch, err));
    if (p->batch.release == NULL) return BC_OK;
  }
}

static bool is_contiguous(const bc_block *b, size_t elem)
{
  int64_t step = (int64_t)elem;
  for (int32_t d = b->var->ndim - 1; d >= 0; d--) {
    if (b->shape[d] != 1 && b->stride[d] != step) return false;
    step *= b->shape[d];
  }
  return true;
}

/* n elements from number first on, in C order, whatever the strides. */
static void copy_elements(const bc_block *b, size_t elem, uint64_t first, uint64_t n, uint8_t *dst)
{
  const uint8_t *base = b->data;
  const int32_t last = b->var->ndim - 1;

  if (last < 0 || is_contiguous(b, elem)) {
    memcpy(dst, base + first * elem, (size_t)n * elem);
    return;
  }
  const uint64_t width = (uint64_t)b->shape[last];
  while (n > 0) {
    uint64_t rest = first / width;
    const uint64_t col = first % width;
    const uint64_t run = BC_MIN(n, width - col);
    int64_t off = (int64_t)col * b->stride[last];
    for (int32_t d = last - 1; d >= 0; d--) {
      off += (int64_t)(rest % (uint64_t)b->shape[d]) * b->stride[d];
      rest /= (uint64_t)b->shape[d];
    }
    for (uint64_t i = 0; i < run; i++, dst += elem)
      memcpy(dst, base + off + (int64_t)i * b->stride[last], elem);
    first += run;
    n -= run;
  }
}

bc_status bc_pull_read(bc_pull *p, void *dst, uint64_t n, bc_err *err)
{
  const bc_var *v = p->in->vars[p->var];
  const size_t elem = bc_dtype_size(v->dtype);
  uint8_t *to = dst;
  char text[BC_VAR_TEXT];

  if (n > p->size - p->at)
    return BC_FAIL(err, BC_E_INTERNAL, "%s: more values asked for than it has", bc_var_text(v, text));
  while (n > 0) {
    if (p->used == p->held) {
      const bc_block *b = NULL;
      BC_RET(next_block(p, &b, err));
      if (b == NULL)
        return BC_FAIL(err, BC_E_INTERNAL, "%s: the stream ended after %llu of %llu values",
                       bc_var_text(v, text), (unsigned long long)p->at, (unsigned long long)p->size);
      BC_RET(check_block(p, b, err));
      p->held = block_elements(b);
      p->used = 0;
    }
    const uint64_t k = BC_MIN(n, p->held - p->used);
    copy_elements(&p->batch.blocks[p->block - 1], elem, p->used, k, to);
    to += (size_t)k * elem;
    p->used += k;
    p->at += k;
    n -= k;
  }
  return BC_OK;
}

bc_status bc_pull_end(bc_pull *p, bc_err *err)
{
  const bc_block *b = NULL;
  char text[BC_VAR_TEXT];

  BC_RET(next_block(p, &b, err));
  if (b != NULL)
    return BC_FAIL(err, BC_E_INTERNAL, "%s: more values came than were announced", bc_var_text(b->var, text));
  return BC_OK;
}

/* ---- axes ---- */

static bool same_doubles(const double *a, const double *b, int64_t n)
{
  return a == b || n == 0 || (a != NULL && b != NULL && memcmp(a, b, (size_t)n * sizeof *a) == 0);
}

static bool same_bounds(const bc_var *a, const bc_var *b, int64_t n)
{
  if (a->time_bounds == NULL || b->time_bounds == NULL) return a->time_bounds == b->time_bounds;
  return memcmp(a->time_bounds, b->time_bounds, 2u * (size_t)n * sizeof *a->time_bounds) == 0;
}

bool bc_axis_equal(const bc_var *a, int da, const bc_var *b, int db)
{
  const int64_t n = a->shape[da];

  if (a->dims[da] != b->dims[db] || n != b->shape[db]) return false;
  switch (a->dims[da]) {
  case BC_DIM_TIME: return same_doubles(a->coord[da], b->coord[db], n) && same_bounds(a, b, n);
  case BC_DIM_LEVEL:
    return same_doubles(a->coord[da], b->coord[db], n) && strcmp(a->level_units, b->level_units) == 0;
  case BC_DIM_POINT:
    return same_doubles(a->point_lat, b->point_lat, n) && same_doubles(a->point_lon, b->point_lon, n);
  case BC_DIM_LAT:
  case BC_DIM_LON: break;
  }
  return same_doubles(a->coord[da], b->coord[db], n);
}

static int find_axis(const bc_axes *a, const bc_var *v, int d)
{
  for (int i = 0; i < a->n; i++) {
    if (bc_axis_equal(a->axis[i].var, a->axis[i].d, v, d)) return i;
  }
  return -1;
}

static int count_kind(const bc_axes *a, bc_dim dim)
{
  int k = 0;
  for (int i = 0; i < a->n; i++)
    k += a->axis[i].dim == dim;
  return k;
}

static int add_axis(bc_axes *a, const bc_var *v, int d)
{
  a->axis[a->n] = (bc_axis){ v->dims[d], v->shape[d], v, d, count_kind(a, v->dims[d]), NULL };
  return a->n++;
}

/* Gives each variable its own axis of every kind in which two differ. */
static void split_axes(bc_axes *a, const bc_stream *in, int n_vars)
{
  bool differ[BC_DIM_POINT + 1] = { false };
  for (int i = 0; i < a->n; i++)
    differ[a->axis[i].dim] |= a->axis[i].rank > 0;
  int kept = 0;
  for (int i = 0; i < a->n; i++) {
    if (differ[a->axis[i].dim]) continue;
    a->axis[kept++] = a->axis[i];
  }
  a->n = kept;
  for (int v = 0; v < n_vars; v++) {
    for (int d = 0; d < in->vars[v]->ndim; d++)
      a->of[v * BC_MAX_DIMS + d] =
          differ[in->vars[v]->dims[d]] ? add_axis(a, in->vars[v], d) : find_axis(a, in->vars[v], d);
  }
}

static bc_status name_axes(bc_axes *a, const bc_stream *in, bool by_variable, char *const *labels,
                           bc_err *err)
{
  for (int i = 0; i < a->n; i++) {
    bc_axis *x = &a->axis[i];
    const char *dim = bc_dim_name(x->dim);
    int32_t v = 0;
    while (in->vars[v] != x->var)
      v++;
    if (count_kind(a, x->dim) > 1 && by_variable)
      x->name = bc_asprintf("%s_%s", dim, labels[v]);
    else
      x->name = x->rank == 0 ? bc_strdup(dim) : bc_asprintf("%s_%d", dim, x->rank);
    if (x->name == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for the names of coordinates");
  }
  return BC_OK;
}

bc_status bc_axes_init(bc_axes *a, const bc_stream *in, bool by_variable, char *const *labels, bc_err *err)
{
  bc_status st = BC_OK;
  const size_t most = (size_t)in->n_vars * BC_MAX_DIMS;

  *a = (bc_axes){ bc_calloc(most, sizeof *a->axis), 0, bc_calloc(most, sizeof *a->of) };
  if (a->axis == NULL || a->of == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "no memory for the coordinates of %d variables", (int)in->n_vars);
    goto out;
  }
  for (int32_t v = 0; v < in->n_vars; v++) {
    for (int d = 0; d < in->vars[v]->ndim; d++) {
      const int i = find_axis(a, in->vars[v], d);
      a->of[v * BC_MAX_DIMS + d] = i >= 0 ? i : add_axis(a, in->vars[v], d);
    }
  }
  if (by_variable) split_axes(a, in, in->n_vars);
  BC_TRY(name_axes(a, in, by_variable, labels, err));
out:
  if (st != BC_OK) bc_axes_dispose(a);
  return st;
}

void bc_axes_dispose(bc_axes *a)
{
  for (int i = 0; i < a->n; i++)
    bc_free(a->axis[i].name);
  bc_free(a->axis);
  bc_free(a->of);
  *a = (bc_axes){ NULL, 0, NULL };
}

/* ---- labels ---- */

static bool is_reserved(const char *name)
{
  static const char *const k_reserved[] = { "time",  "level", "latitude",  "longitude",
                                            "point", "nv",    "time_bnds", "attrs" };
  for (size_t i = 0; i < BC_ARRAY_LEN(k_reserved); i++) {
    if (strcmp(k_reserved[i], name) == 0) return true;
  }
  return false;
}

static bool is_shared(const bc_stream *in, int32_t v)
{
  for (int32_t i = 0; i < in->n_vars; i++) {
    if (i != v && strcmp(in->vars[i]->name, in->vars[v]->name) == 0) return true;
  }
  return false;
}

static bool is_taken(char *const *labels, int32_t n, const char *name)
{
  for (int32_t i = 0; i < n; i++) {
    if (strcmp(labels[i], name) == 0) return true;
  }
  return false;
}

static void make_ascii(char *s)
{
  for (; *s != '\0'; s++) {
    const char c = *s;
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && strchr("_.+-@", c) == NULL) *s = '_';
  }
}

static char *make_label(const bc_stream *in, int32_t v, char *const *labels, char sep, bool ascii)
{
  const bc_var *var = in->vars[v];
  const bool grouped = var->group != NULL && var->group[0] != '\0';
  const bool qualify = grouped && (is_shared(in, v) || is_reserved(var->name));
  char *base = qualify ? bc_asprintf("%s%c%s", var->group, sep, var->name) : bc_strdup(var->name);

  if (base != NULL && ascii) make_ascii(base);
  if (base == NULL || (!is_taken(labels, v, base) && !is_reserved(base))) return base;
  char *name = NULL;
  for (int k = 2; name == NULL || is_taken(labels, v, name); k++) {
    bc_free(name);
    name = bc_asprintf("%s_%d", base, k);
    if (name == NULL) break;
  }
  bc_free(base);
  return name;
}

bc_status bc_labels_init(char ***out, const bc_stream *in, char sep, bool ascii, bc_err *err)
{
  bc_status st = BC_OK;
  char **labels = bc_calloc((size_t)in->n_vars, sizeof *labels);

  *out = NULL;
  if (labels == NULL)
    return BC_FAIL(err, BC_E_NOMEM, "no memory for the names of %d variables", (int)in->n_vars);
  for (int32_t v = 0; v < in->n_vars; v++) {
    labels[v] = make_label(in, v, labels, sep, ascii);
    if (labels[v] == NULL) {
      st = BC_FAIL(err, BC_E_NOMEM, "no memory for the name of %s", in->vars[v]->name);
      goto out;
    }
  }
  *out = labels;
  labels = NULL;
out:
  bc_labels_free(labels, in->n_vars);
  return st;
}

void bc_labels_free(char **labels, int32_t n)
{
  for (int32_t i = 0; labels != NULL && i < n; i++)
    bc_free(labels[i]);
  bc_free(labels);
}
