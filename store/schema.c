/*
 * Modalities: ownership, attributes, checks.
 */
#include "store/schema.h"

#include <math.h>
#include <string.h>

#include "store/base.h"
#include "store/schema_io.h"

const char *bc_layout_name(bc_layout l)
{
  switch (l) {
  case BC_LAYOUT_MAP: return "map";
  case BC_LAYOUT_SERIES: return "series";
  case BC_LAYOUT_BALANCED: return "balanced";
  case BC_LAYOUT_NONE: return "none";
  }
  return "unknown";
}

static void attr_dispose(bc_attr *a)
{
  bc_free((void *)a->name);
  bc_free((void *)a->value);
}

void bc_modality_dispose(bc_modality *m)
{
  if (m == NULL) return;
  for (int32_t i = 0; i < m->n_attrs; i++) {
    attr_dispose(&m->attrs[i]);
  }
  bc_free(m->attrs);
  *m = (bc_modality){ .n_attrs = 0 };
}

bc_status bc_modality_copy(const bc_modality *from, bc_modality *to, bc_err *err)
{
  bc_status st = BC_OK;
  bc_modality copy = *from;

  *to = (bc_modality){ .n_attrs = 0 };
  copy.attrs = NULL;
  copy.n_attrs = 0;
  for (int32_t i = 0; i < from->n_attrs; i++) {
    const bc_attr *const a = &from->attrs[i];
    BC_TRY(bc_modality_set_attr(&copy, a->name, a->value, a->numeric, err));
  }
  *to = copy;
  return BC_OK;
out:
  bc_modality_dispose(&copy);
  return st;
}

/* Room for one attribute more; NULL when memory is short. */
static bc_attr *attr_append(bc_modality *m)
{
  size_t bytes = 0;
  bc_attr *grown = NULL;

  if (m->n_attrs == INT32_MAX || !bc_mul_sz((size_t)m->n_attrs + 1, sizeof *grown, &bytes)) return NULL;
  grown = bc_realloc(m->attrs, bytes);
  if (grown != NULL) m->attrs = grown;
  return grown != NULL ? &grown[m->n_attrs++] : NULL;
}

bc_status bc_modality_set_attr(bc_modality *m, const char *name, const char *value, bool numeric, bc_err *err)
{
  const bc_attr fresh = { bc_strdup(name), bc_strdup(value), numeric };
  bc_attr *slot = NULL;

  for (int32_t i = 0; i < m->n_attrs && slot == NULL; i++) {
    if (strcmp(m->attrs[i].name, name) == 0) slot = &m->attrs[i];
  }
  if (fresh.name == NULL || fresh.value == NULL) {
    slot = NULL;
  } else if (slot != NULL) {
    attr_dispose(slot);
  } else {
    slot = attr_append(m);
  }
  if (slot == NULL) {
    bc_free((void *)fresh.name);
    bc_free((void *)fresh.value);
    return BC_FAIL(err, BC_E_NOMEM, "out of memory: attribute \"%.64s\" of %.*s", name, BC_NAME_MAX, m->name);
  }
  *slot = fresh;
  return BC_OK;
}

const char *bc_modality_attr(const bc_modality *m, const char *name)
{
  for (int32_t i = 0; i < m->n_attrs; i++)
    if (strcmp(m->attrs[i].name, name) == 0) return m->attrs[i].value;
  return NULL;
}

void bc_modality_cut_attrs(bc_modality *m, int32_t n)
{
  while (m->n_attrs > n)
    attr_dispose(&m->attrs[--m->n_attrs]);
}

/* ---- checks ---- */

static bc_status check_name(const char *what, const char *name, bc_err *err)
{
  const char *const end = memchr(name, 0, BC_NAME_MAX);

  if (end == name) return BC_FAIL(err, BC_E_INVAL, "the %s name is empty", what);
  if (end == NULL)
    return BC_FAIL(err, BC_E_INVAL, "the %s name \"%.48s\" is longer than %d bytes", what, name,
                   BC_NAME_MAX - 1);
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) /* some format might make a path of it */
    return BC_FAIL(err, BC_E_INVAL, "the %s name \"%s\" is that of a folder", what, name);
  for (const char *c = name; c < end; c++) {
    if ((*c < 'a' || *c > 'z') && (*c < 'A' || *c > 'Z') && (*c < '0' || *c > '9') &&
        strchr("_.-", *c) == NULL)
      return BC_FAIL(err, BC_E_INVAL, "the %s name \"%s\" holds a character outside A-Z a-z 0-9 _ . -", what,
                     name);
  }
  return BC_OK;
}

static bc_status check_codes(const bc_modality *m, bc_err *err)
{
  if (m->grid >= BC_MAX_GRIDS)
    return BC_FAIL(err, BC_E_INVAL, "%s: grid number %d: below %u is expected", m->name, m->grid,
                   BC_MAX_GRIDS);
  if (bc_dtype_size(m->dtype) == 0)
    return BC_FAIL(err, BC_E_INVAL, "%s: no dtype has the code %d", m->name, (int)m->dtype);
  if ((int)m->bucket < BC_BUCKET_STATIC || (int)m->bucket > BC_BUCKET_DECADE)
    return BC_FAIL(err, BC_E_INVAL, "%s: no time bucket has the code %d", m->name, (int)m->bucket);
  for (int i = 0; i < 2; i++) {
    const int l = (int)m->layout[i];
    if ((l < BC_LAYOUT_MAP || l > BC_LAYOUT_BALANCED) && (i == 0 || l != BC_LAYOUT_NONE))
      return BC_FAIL(err, BC_E_INVAL, "%s: no %s layout has the code %d", m->name,
                     i == 0 ? "first" : "second", l);
  }
  if (m->cadence < 0)
    return BC_FAIL(err, BC_E_INVAL, "%s: a cadence of %lld seconds: 0 or more is expected", m->name,
                   (long long)m->cadence);
  if (!isfinite(m->precision) || m->precision < 0.0)
    return BC_FAIL(err, BC_E_INVAL, "%s: a precision of %g: 0 or more is expected", m->name, m->precision);
  return BC_OK;
}

static bc_status check_levels(const bc_modality *m, bc_err *err)
{
  if (m->n_levels > BC_MAX_LEVELS)
    return BC_FAIL(err, BC_E_INVAL, "%s: %u levels: %d are allowed", m->name, (unsigned)m->n_levels,
                   BC_MAX_LEVELS);
  for (int i = 0; i < m->n_levels; i++) {
    if (!isfinite(m->levels[i]))
      return BC_FAIL(err, BC_E_INVAL, "%s: level %d (from 0) is not a number", m->name, i);
    if (bc_modality_level(m, m->levels[i]) != i)
      return BC_FAIL(err, BC_E_INVAL, "%s: level %.10g occurs twice", m->name, m->levels[i]);
  }
  return BC_OK;
}

static bc_status check_attrs(const bc_modality *m, bc_err *err)
{
  if (m->n_attrs < 0 || (m->n_attrs > 0 && m->attrs == NULL))
    return BC_FAIL(err, BC_E_INVAL, "%s: %d attributes", m->name, (int)m->n_attrs);
  for (int32_t i = 0; i < m->n_attrs; i++) {
    if (m->attrs[i].name == NULL || m->attrs[i].name[0] == '\0' || m->attrs[i].value == NULL)
      return BC_FAIL(err, BC_E_INVAL, "%s: attribute %d (from 0) has no name or no value", m->name, (int)i);
  }
  return BC_OK;
}

bc_status bc_modality_check(const bc_modality *m, bc_err *err)
{
  BC_RET(check_name("variable", m->name, err));
  BC_RET(check_name("group", m->group, err));
  if (memchr(m->units, 0, sizeof m->units) == NULL ||
      memchr(m->level_units, 0, sizeof m->level_units) == NULL)
    return BC_FAIL(err, BC_E_INVAL, "%s: the units are not terminated", m->name);
  BC_RET(check_codes(m, err));
  BC_RET(check_levels(m, err));
  return check_attrs(m, err);
}

int bc_modality_level(const bc_modality *m, double level)
{
  const int n = BC_MIN((int)m->n_levels, BC_MAX_LEVELS);

  for (int i = 0; i < n; i++) {
    const double v = m->levels[i];
    if (isfinite(level) && fabs(v - level) <= 1e-6 * fmax(fabs(v), fabs(level))) return i;
  }
  return -1;
}
