/* Which dimension of a netCDF variable is time, level, latitude, longitude, and what is in the way. */
#include <stdio.h>
#include <string.h>

#include "ingest/src_int.h"

bc_cf_kind bc_nc_kind(const bc_nc_var *v)
{
  const bc_cf_axis a = { .name = v->name,
                         .units = bc_nc_text(v, "units"),
                         .standard_name = bc_nc_text(v, "standard_name"),
                         .axis = bc_nc_text(v, "axis"),
                         .positive = bc_nc_text(v, "positive") };
  return bc_cf_kind_of(&a);
}

/* A variable of group "a" is seen from "a" and "a/b", one at the top from everywhere. */
static bool is_visible(const char *group, const char *from)
{
  const size_t n = strlen(group);
  return n == 0 || (strncmp(group, from, n) == 0 && (from[n] == '\0' || from[n] == '/'));
}

/* Is name one of the words of a blank-separated list? */
static bool has_word(const char *list, const char *name)
{
  const size_t n = strlen(name);

  while (list != NULL && *list != '\0') {
    const size_t len = strcspn(list, " ");
    if (len == n && strncmp(list, name, n) == 0) return true;
    list += len;
    list += strspn(list, " ");
  }
  return false;
}

static size_t dim_len(const bc_nc *nc, const bc_nc_var *v, int d) { return nc->dims[v->dims[d]].len; }

/* c varies along dimension dim only: its other dimensions have one element. */
static bool is_along(const bc_nc *nc, const bc_nc_var *c, int dim)
{
  bool found = false;

  for (int d = 0; d < c->n_dims; d++) {
    if (c->dims[d] == dim)
      found = true;
    else if (dim_len(nc, c, d) != 1)
      return false;
  }
  return found;
}

static bool is_scalar(const bc_nc_var *c)
{
  return c->n_dims == 0 || (c->raw == BC_RAW_CHAR && c->n_dims == 1);
}

static bool names_its_dim(const bc_nc *nc, const bc_nc_var *v)
{
  return v->n_dims == 1 && strcmp(v->name, nc->dims[v->dims[0]].name) == 0;
}

/* Listed by another variable as bounds, or as coordinates without being a field itself. */
static bool is_attached(const bc_nc *nc, const bc_nc_var *v)
{
  for (size_t i = 0; i < nc->n_vars; i++) {
    const bc_nc_var *o = &nc->vars[i];
    if (o->n_atts == 0 || o == v) continue;
    if (has_word(bc_nc_text(o, "bounds"), v->name)) return true;
    if (v->n_dims <= 2 && has_word(bc_nc_text(o, "coordinates"), v->name)) return true;
  }
  return false;
}

static bool is_coordinate(const bc_nc *nc, const bc_nc_var *v)
{
  const bc_cf_kind k = bc_nc_kind(v);

  if (v->n_dims == 0 || names_its_dim(nc, v)) return true;
  if (v->n_dims <= 2 && (k == BC_CF_LAT || k == BC_CF_LON || k == BC_CF_TIME || k == BC_CF_EXPVER))
    return true;
  return is_attached(nc, v);
}

/* The variable that gives a dimension its values, nearest group first. */
static const bc_nc_var *dim_variable(const bc_nc *nc, const bc_nc_var *v, int dim)
{
  const bc_nc_var *best = NULL;

  for (size_t i = 0; i < nc->n_vars; i++) {
    const bc_nc_var *c = &nc->vars[i];
    if (c->n_dims != 1 || c->dims[0] != dim || !names_its_dim(nc, c) || !is_visible(c->group, v->group))
      continue;
    if (best == NULL || strlen(c->group) > strlen(best->group)) best = c;
  }
  return best;
}

static int time_score(const bc_nc *nc, const bc_nc_var *v, const bc_nc_var *c)
{
  const char *s = bc_nc_text(c, "standard_name");
  int score = 0;

  if (bc_cf_is_since(bc_nc_text(c, "units"))) score += 16;
  if ((s != NULL && strcmp(s, "time") == 0) || strcmp(c->name, "valid_time") == 0) score += 8;
  if (s != NULL && strcmp(s, "forecast_reference_time") == 0) score -= 8;
  if (names_its_dim(nc, c)) score += 4;
  if (has_word(bc_nc_text(v, "coordinates"), c->name)) score += 2;
  return score;
}

/* Coordinates of a dimension beside the one that bears its name. */
typedef struct helpers {
  const bc_nc_var *time, *lat, *lon;
} helpers;

static helpers find_helpers(const bc_nc *nc, const bc_nc_var *v, int dim)
{
  helpers h = { NULL, NULL, NULL };
  int best = -100;

  for (size_t i = 0; i < nc->n_vars; i++) {
    const bc_nc_var *c = &nc->vars[i];
    bc_cf_kind k;
    if (c->n_dims < 1 || c->n_dims > 2 || c == v || !is_visible(c->group, v->group) || !is_along(nc, c, dim))
      continue;
    k = bc_nc_kind(c);
    if (k == BC_CF_LAT && c->n_dims == 1) h.lat = c;
    if (k == BC_CF_LON && c->n_dims == 1) h.lon = c;
    if (k == BC_CF_TIME && bc_cf_is_since(bc_nc_text(c, "units")) && time_score(nc, v, c) > best) {
      best = time_score(nc, v, c);
      h.time = c;
    }
  }
  return h;
}

static bc_cf_kind dim_kind(const bc_nc *nc, const bc_nc_var *v, int dim, const bc_nc_var **coord)
{
  const bc_nc_var *own = dim_variable(nc, v, dim);
  const bc_cf_axis by_name = { .name = nc->dims[dim].name };
  const bc_cf_kind k = own != NULL ? bc_nc_kind(own) : bc_cf_kind_of(&by_name);
  const helpers h = find_helpers(nc, v, dim);

  *coord = own;
  if (k == BC_CF_TIME || (k == BC_CF_OTHER && h.time != NULL)) {
    if (h.time != NULL) *coord = h.time;
    return BC_CF_TIME;
  }
  if (own == NULL && (k == BC_CF_LAT || k == BC_CF_LON || k == BC_CF_LEVEL)) return BC_CF_OTHER;
  if (k != BC_CF_OTHER || (h.lat != NULL && h.lon != NULL)) return k; /* both: a list of places */
  if (h.lat != NULL)
    *coord = h.lat;
  else if (h.lon != NULL)
    *coord = h.lon;
  if (h.lat != NULL) return BC_CF_LAT;
  return h.lon != NULL ? BC_CF_LON : BC_CF_OTHER;
}

static void dim_list(const bc_nc *nc, const bc_nc_var *v, char *dst, size_t cap)
{
  size_t at = 0;

  dst[0] = '\0';
  for (int d = 0; d < v->n_dims && at + 1 < cap; d++) {
    const int n = snprintf(dst + at, cap - at, "%s%.40s", d > 0 ? ", " : "", nc->dims[v->dims[d]].name);
    if (n < 0) return;
    at += (size_t)n;
  }
}

static bool has_two_dim_latitude(const bc_nc *nc, const bc_nc_var *v)
{
  for (size_t i = 0; i < nc->n_vars; i++) {
    const bc_nc_var *c = &nc->vars[i];
    if (c->n_dims == 2 && bc_nc_kind(c) == BC_CF_LAT && is_visible(c->group, v->group) &&
        dim_len(nc, c, 0) > 1 && dim_len(nc, c, 1) > 1)
      return true;
  }
  return false;
}

static bc_verdict no_grid(const bc_nc *nc, const bc_nc_var *v, bc_layout_nc *o)
{
  char dims[100];

  dim_list(nc, v, dims, sizeof dims);
  if (v->n_dims < 0)
    (void)snprintf(o->why, sizeof o->why, "variables on more than %d dimensions", BC_NC_MAX_DIMS);
  else if (has_two_dim_latitude(nc, v))
    (void)snprintf(o->why, sizeof o->why,
                   "variables on (%s) with two-dimensional latitudes: a curvilinear grid; regrid it first",
                   dims);
  else if (strncmp(dims, "phony_dim_", 10) == 0)
    (void)snprintf(o->why, sizeof o->why, "an HDF5 file without netCDF axes: no latitude-longitude grid");
  else
    (void)snprintf(o->why, sizeof o->why, "variables on (%s): no latitude-longitude grid", dims);
  return BC_NO_GRID;
}

static void add_fixed(bc_layout_nc *o, const bc_nc_var *c)
{
  if (c == NULL || o->n_fixed == (int)BC_ARRAY_LEN(o->fixed)) return;
  for (int i = 0; i < o->n_fixed; i++) {
    if (o->fixed[i] == c) return;
  }
  o->fixed[o->n_fixed++] = c;
}

static bool blocked(bc_layout_nc *o, const char *dim, size_t len, const char *why)
{
  (void)snprintf(o->why, sizeof o->why, "its dimension %.60s of %zu %s", dim, len, why);
  return false;
}

/* Time may come as (time = 1, step = n) with valid_time along step: the longer one counts. */
static bool place_time(const bc_nc *nc, const bc_nc_var *v, int d, const bc_nc_var *c, bc_layout_nc *o)
{
  if (o->t >= 0 && dim_len(nc, v, d) == 1) return true;
  if (o->t >= 0 && dim_len(nc, v, o->t) != 1)
    return blocked(o, nc->dims[v->dims[d]].name, dim_len(nc, v, d), "is a second axis of time");
  o->t = d;
  o->time = c;
  return true;
}

static bool place_level(const bc_nc *nc, const bc_nc_var *v, int d, const bc_nc_var *c, bc_layout_nc *o)
{
  double to_hpa;

  if (dim_len(nc, v, d) == 1 && (o->l >= 0 || !bc_cf_pressure(bc_nc_text(c, "units"), &to_hpa))) {
    add_fixed(o, c);
    return true;
  }
  if (o->l >= 0) return blocked(o, nc->dims[v->dims[d]].name, dim_len(nc, v, d), "is a second vertical axis");
  o->l = d;
  o->level = c;
  return true;
}

/* false: o->why says what is in the way. */
static bool place_dim(const bc_nc *nc, const bc_nc_var *v, int d, bc_cf_kind k, const bc_nc_var *c,
                      bc_layout_nc *o)
{
  const char *name = nc->dims[v->dims[d]].name;
  const size_t len = dim_len(nc, v, d);

  switch (k) {
  case BC_CF_LAT:
    o->y = d;
    o->lat = c;
    return true;
  case BC_CF_LON:
    o->x = d;
    o->lon = c;
    return true;
  case BC_CF_TIME: return place_time(nc, v, d, c, o);
  case BC_CF_LEVEL: return place_level(nc, v, d, c, o);
  case BC_CF_EXPVER:
    if (len == 1) return true;
    if (c == NULL) return blocked(o, name, len, "has no values that say which version is final");
    o->e = d;
    o->expver = c;
    return true;
  case BC_CF_MEMBER:
  case BC_CF_OTHER: break;
  }
  return len == 1 || blocked(o, name, len, "is neither time, level, latitude nor longitude");
}

/* A scalar with dates counts when it is called time, or when the variable names it. */
static bool is_scalar_time(const bc_nc_var *c, const char *list)
{
  const char *s = bc_nc_text(c, "standard_name");

  if (c->n_dims != 0 || bc_nc_kind(c) != BC_CF_TIME || !bc_cf_is_since(bc_nc_text(c, "units"))) return false;
  return strcmp(c->name, "time") == 0 || strcmp(c->name, "valid_time") == 0 ||
         (s != NULL && strcmp(s, "time") == 0) || has_word(list, c->name);
}

static void find_scalars(const bc_nc *nc, const bc_nc_var *v, bc_layout_nc *o)
{
  const char *list = bc_nc_text(v, "coordinates");
  int best = -100;

  for (size_t i = 0; i < nc->n_vars; i++) {
    const bc_nc_var *c = &nc->vars[i];
    bc_cf_kind k;
    if (!is_visible(c->group, v->group) || c->n_dims < 0 || c->n_dims > 2) continue;
    k = bc_nc_kind(c);
    if (k == BC_CF_EXPVER && c != o->expver &&
        (is_scalar(c) ||
         (o->t >= 0 && c->dims[0] == v->dims[o->t] && (c->n_dims == 1 || c->raw == BC_RAW_CHAR))))
      o->step_expver = c;
    if (c->n_dims != 0) continue;
    if (k == BC_CF_LEVEL && has_word(list, c->name)) add_fixed(o, c);
    if (o->t < 0 && is_scalar_time(c, list) && time_score(nc, v, c) > best) {
      best = time_score(nc, v, c);
      o->time = c;
    }
  }
}

bc_status bc_nc_layout(const bc_nc *nc, const bc_nc_var *v, bc_layout_nc *out, bc_verdict *verdict,
                       bc_err *err)
{
  bc_cf_kind kind[BC_NC_MAX_DIMS];
  const bc_nc_var *coord[BC_NC_MAX_DIMS];
  int n_lat = 0, n_lon = 0;

  *out = (bc_layout_nc){ .t = -1, .l = -1, .y = -1, .x = -1, .e = -1 };
  *verdict = BC_IS_COORDINATE;
  if (v->n_dims >= 0 && is_coordinate(nc, v)) return BC_OK;
  for (int d = 0; d < v->n_dims; d++) {
    kind[d] = dim_kind(nc, v, v->dims[d], &coord[d]);
    n_lat += kind[d] == BC_CF_LAT;
    n_lon += kind[d] == BC_CF_LON;
  }
  *verdict = n_lat == 1 && n_lon == 1 ? BC_IS_RASTER : no_grid(nc, v, out);
  for (int d = 0; *verdict == BC_IS_RASTER && d < v->n_dims; d++) {
    if (kind[d] == BC_CF_MEMBER && dim_len(nc, v, d) > 1)
      return BC_FAIL(err, BC_E_UNSUPPORTED,
                     "%s: %s has %zu members along dimension %s: an ensemble cannot be stored as one field; "
                     "select one member first",
                     nc->label, v->name, dim_len(nc, v, d), nc->dims[v->dims[d]].name);
    if (!place_dim(nc, v, d, kind[d], coord[d], out)) *verdict = BC_SKIPPED;
  }
  if (*verdict == BC_IS_RASTER) find_scalars(nc, v, out);
  return BC_OK;
}
