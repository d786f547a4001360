/*
 * The selection as options, and the answer in words. See selection.h.
 */
#include "tools/bctool/selection.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bctool/ui.h"

#define MAX_LINES 12 /* of variables that are told */

static bc_status add_points(bc_select *sel, const char *file, bc_err *err)
{
  const bool is_file = access(file, F_OK) == 0;
  if (!is_file && strspn(file, "0123456789.,+- ") == strlen(file))
    return BC_FAIL(err, BC_E_INVAL, "--points %s: a CSV file is expected; one point is --at LAT,LON", file);
  return bc_select_add_points_file(sel, file, err);
}

bc_status bct_selection_parse(const bct_selection *args, bc_select *sel, bc_err *err)
{
  for (size_t i = 0; i < args->vars.n; i++)
    BC_RET(bc_select_add_vars(sel, args->vars.v[i], err));
  for (size_t i = 0; i < args->levels.n; i++)
    BC_RET(bc_select_add_levels(sel, args->levels.v[i], err));
  for (size_t i = 0; i < args->at.n; i++)
    BC_RET(bc_select_add_at(sel, args->at.v[i], err));
  for (size_t i = 0; i < args->points.n; i++)
    BC_RET(add_points(sel, args->points.v[i], err));
  if (args->bbox != NULL && sel->n_points > 0)
    return BC_FAIL(err, BC_E_INVAL, "--bbox and %s exclude each other: ask for a box or for points",
                   args->points.n > 0 ? "--points" : "--at");
  if (args->bbox != NULL) BC_RET(bc_select_set_bbox(sel, args->bbox, err));
  if (args->time != NULL) BC_RET(bc_select_set_time(sel, args->time, err));
  if (args->agg != NULL) BC_RET(bc_select_set_agg(sel, args->agg, err));
  if (args->every != NULL) BC_RET(bc_select_set_every(sel, args->every, err));
  sel->lat_ascending = args->lat != NULL && strcmp(args->lat, "asc") == 0;
  sel->lon_360 = args->lon != NULL && strcmp(args->lon, "0-360") == 0;
  return BC_OK;
}

uint64_t bct_var_bytes(const bc_var *v)
{
  uint64_t n = bc_dtype_size(v->dtype);

  for (int d = 0; d < v->ndim; d++) {
    if (v->shape[d] > 0 && n > UINT64_MAX / (uint64_t)v->shape[d]) return UINT64_MAX;
    n *= (uint64_t)v->shape[d];
  }
  return n;
}

char *bct_text_shape(char *buf, const bc_var *v)
{
  int n = snprintf(buf, BCT_TEXT_MAX, "%s", v->ndim == 0 ? "one value" : "");

  for (int d = 0; d < v->ndim && n < BCT_TEXT_MAX; d++)
    n += snprintf(buf + n, (size_t)(BCT_TEXT_MAX - n), "%s%lld", d > 0 ? " x " : "", (long long)v->shape[d]);
  return buf;
}

bool bct_coord_ends(const bc_var *v, bc_dim dim, double *first, double *last)
{
  const int d = bc_var_dim(v, dim);

  if (d < 0 || v->shape[d] == 0) return false;
  *first = v->coord[d][0];
  *last = v->coord[d][v->shape[d] - 1];
  return true;
}

/* "744 steps 2019-03-01T00:00Z..2019-03-31T23:00Z, " */
static void time_words(const bc_var *v, char *buf, size_t cap)
{
  const int d = bc_var_dim(v, BC_DIM_TIME);
  char span[BCT_TEXT_MAX], n[BCT_TEXT_MAX];
  double a, b;

  buf[0] = '\0';
  if (d < 0)
    (void)snprintf(buf, cap, "static, ");
  else if (!bct_coord_ends(v, BC_DIM_TIME, &a, &b))
    (void)snprintf(buf, cap, "no steps, ");
  else
    (void)snprintf(buf, cap, "%s %s, ", bct_text_count(n, (uint64_t)v->shape[d], "step"),
                   bct_text_span(span, (int64_t)a, (int64_t)b));
}

static void level_words(const bc_var *v, char *buf, size_t cap)
{
  const int d = bc_var_dim(v, BC_DIM_LEVEL);
  double a, b;

  buf[0] = '\0';
  if (!bct_coord_ends(v, BC_DIM_LEVEL, &a, &b)) return;
  if (v->shape[d] == 1)
    (void)snprintf(buf, cap, "level %.7g %s, ", a, v->level_units);
  else
    (void)snprintf(buf, cap, "%lld levels %.7g..%.7g %s, ", (long long)v->shape[d], a, b, v->level_units);
}

static void place_words(const bc_var *v, char *buf, size_t cap)
{
  const int p = bc_var_dim(v, BC_DIM_POINT), y = bc_var_dim(v, BC_DIM_LAT), x = bc_var_dim(v, BC_DIM_LON);
  char lat[BCT_TEXT_MAX], lon[BCT_TEXT_MAX];
  double s, n, w, e;

  buf[0] = '\0';
  if (p >= 0 && v->shape[p] == 1)
    (void)snprintf(buf, cap, "node %s %s, ", bct_text_lat(lat, v->point_lat[0], v->point_lat[0]),
                   bct_text_lon(lon, v->point_lon[0], v->point_lon[0]));
  else if (p >= 0)
    (void)snprintf(buf, cap, "%lld points, ", (long long)v->shape[p]);
  else if (bct_coord_ends(v, BC_DIM_LAT, &n, &s) && bct_coord_ends(v, BC_DIM_LON, &w, &e))
    (void)snprintf(buf, cap, "%s, %s, %lld x %lld nodes, ", bct_text_lat(lat, s, n), bct_text_lon(lon, w, e),
                   (long long)v->shape[y], (long long)v->shape[x]);
}

/* "t2m"; "surface/t2m" when another variable of the answer has that name too */
static const char *name_words(const bc_var *const *vars, size_t n, const bc_var *v, char *buf, size_t cap)
{
  for (size_t i = 0; i < n; i++) {
    if (vars[i] == v || strcmp(vars[i]->name, v->name) != 0) continue;
    (void)snprintf(buf, cap, "%s/%s", v->group, v->name);
    return buf;
  }
  return v->name;
}

void bct_say_answer(const bc_query *q)
{
  const bc_var *const *vars;
  const size_t n = bc_query_vars(q, &vars);
  char time[160], level[BCT_TEXT_MAX], place[3 * BCT_TEXT_MAX], bytes[BCT_TEXT_MAX], name[BCT_TEXT_MAX];
  uint64_t rest = 0;

  for (size_t i = 0; i < n; i++) {
    if (n > MAX_LINES && i + 1 >= MAX_LINES) {
      rest += bct_var_bytes(vars[i]);
      continue;
    }
    time_words(vars[i], time, sizeof time);
    level_words(vars[i], level, sizeof level);
    place_words(vars[i], place, sizeof place);
    bct_say("%s: %s%s%s%s", name_words(vars, n, vars[i], name, sizeof name), time, level, place,
            bct_text_bytes(bytes, bct_var_bytes(vars[i])));
  }
  if (n > MAX_LINES) bct_say("and %zu more variables, %s", n - MAX_LINES + 1, bct_text_bytes(bytes, rest));
}

/* What stands where the answer was to go. */
static bc_status name_taken(const char *path, bc_err *err)
{
  struct stat sb;

  if (stat(path, &sb) != 0 || S_ISREG(sb.st_mode))
    return BC_FAIL(err, BC_E_EXISTS, "%s exists already: choose another name, or give --overwrite", path);
  if (S_ISDIR(sb.st_mode)) return BC_FAIL(err, BC_E_EXISTS, "%s is a folder: name a file in it", path);
  return BC_FAIL(err, BC_E_EXISTS, "%s is %s: not a file to replace; use -o - and a redirection", path,
                 S_ISFIFO(sb.st_mode) ? "a pipe" : "a device or a socket");
}

bc_status bct_write_answer(bc_query *q, const bc_sink_opts *sink, const char *path, bc_err *err)
{
  const bool to_stdout = strcmp(path, "-") == 0;
  const bool bar = !(to_stdout && isatty(STDOUT_FILENO));
  char damaged[BCT_TEXT_MAX];
  const char *first = NULL;
  bc_stream stream = { 0 };
  bc_status st;

  BC_TRY(bc_query_stream(q, bar ? bct_progress_begin() : bct_progress_silent(), &stream, err));
  st = bc_sink_write(&stream, path, sink, err);
  if (st == BC_E_EXISTS) st = name_taken(path, err);
  BC_TRY(st);
  bct_progress_end();
  if (bc_query_damaged(q, &first) > 0)
    bct_warn("warning: values are missing in the answer, of %s; the first: %s",
             bct_text_count(damaged, bc_query_damaged(q, NULL), "damaged block"), first);
  if (bc_query_left_out(q)[0] != '\0')
    bct_say("note: not in the answer, for they have no values in that time and place: %s",
            bc_query_left_out(q));
  if (!to_stdout) bct_say("wrote %s", path);
out:
  bct_progress_end();
  bc_stream_release(&stream);
  return st;
}
