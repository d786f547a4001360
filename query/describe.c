/*
 * What the caller sees: the variables of an answer with their attributes, and where the whole came from.
 */
#include <inttypes.h>
#include <string.h>

#include "query/plan.h"
#include "store/os.h"
#include "store/schema_io.h"

#define TEXT_MAX ((size_t)1 << 20)

static bc_status no_memory(bc_err *err)
{
  return BC_FAIL(err, BC_E_NOMEM, "no memory to describe the answer");
}

/* The text gathered so far, ended. */
static bc_status end_text(bc_buf *b, const char **text, bc_err *err)
{
  BC_RET(bc_buf_put(b, "", 1, err));
  *text = (const char *)b->p;
  b->n = 0;
  return BC_OK;
}

/* ---- one variable ---- */

static void put_dim(bc_var *v, bc_dim d, int64_t n, const double *coord)
{
  v->dims[v->ndim] = d;
  v->shape[v->ndim] = n;
  v->coord[v->ndim] = coord;
  v->ndim++;
}

static void put_dims(const bc_query *q, bc_qvar *v)
{
  const bc_where *w = &q->where;
  bc_var *o = &v->var;
  if (!v->is_static) put_dim(o, BC_DIM_TIME, (int64_t)v->n_out, v->time_coord);
  if (v->m.n_levels > 0) put_dim(o, BC_DIM_LEVEL, (int64_t)v->axes.n_levels, v->level_coord);
  if (w->by_points) {
    put_dim(o, BC_DIM_POINT, w->ncol, w->index);
    o->point_lat = w->lat;
    o->point_lon = w->lon;
  } else {
    put_dim(o, BC_DIM_LAT, w->nrow, w->lat);
    put_dim(o, BC_DIM_LON, w->ncol, w->lon);
  }
}

/* "1 day", "10 days", "3 months" */
static bc_status period_text(bc_period p, bc_buf *b, bc_err *err)
{
  static const struct unit {
    int64_t n;
    bool months;
    const char *name;
  } k_units[] = { { 12, true, "year" },    { 1, true, "month" },    { 86400, false, "day" },
                  { 3600, false, "hour" }, { 60, false, "minute" }, { 1, false, "second" } };
  size_t i = 0;
  while (k_units[i].months != p.months || p.n % k_units[i].n != 0)
    i++; /* ends: units of 1 divide everything */
  const int64_t n = p.n / k_units[i].n;
  return bc_buf_printf(b, err, "%" PRId64 " %s%s", n, k_units[i].name, n == 1 ? "" : "s");
}

/* CF has no cell method for a count, but a modifier of the standard name. */
static bc_status describe_count(bc_modality *m, bc_buf *b, bc_err *err)
{
  const char *name = bc_modality_attr(m, "long_name"), *text = NULL;
  (void)bc_copy_text(m->units, sizeof m->units, "1");
  BC_RET(bc_buf_printf(b, err, "number of steps with a value of %s", name == NULL ? m->name : name));
  BC_RET(end_text(b, &text, err));
  BC_RET(bc_modality_set_attr(m, "long_name", text, false, err));
  const char *standard = bc_modality_attr(m, "standard_name");
  if (standard == NULL) return BC_OK;
  BC_RET(bc_buf_printf(b, err, "%s number_of_observations", standard));
  BC_RET(end_text(b, &text, err));
  return bc_modality_set_attr(m, "standard_name", text, false, err);
}

static bc_status describe_method(const bc_query *q, bc_qvar *v, bc_buf *b, bc_err *err)
{
  const char *old = bc_modality_attr(&v->m, "cell_methods"), *text = NULL;
  BC_RET(bc_buf_printf(b, err, "%s%stime: %s (interval: ", old == NULL ? "" : old, old == NULL ? "" : " ",
                       bc_reduce_method(v->agg)));
  BC_RET(period_text(q->period, b, err));
  BC_RET(bc_buf_printf(b, err, ")"));
  BC_RET(end_text(b, &text, err));
  return bc_modality_set_attr(&v->m, "cell_methods", text, false, err);
}

bc_status bc_plan_describe(bc_query *q, bc_qvar *v, bc_err *err)
{
  bc_status st = BC_OK;
  bc_buf b = bc_buf_empty(TEXT_MAX);
  if (v->agg == BC_AGG_COUNT)
    st = describe_count(&v->m, &b, err);
  else if (v->agg != BC_AGG_NONE)
    st = describe_method(q, v, &b, err);
  bc_buf_dispose(&b);
  BC_RET(st);
  if (v->m.precision > 0 && v->agg != BC_AGG_COUNT) {
    char text[BC_NUMBER_TEXT];
    BC_RET(bc_modality_set_attr(&v->m, "biocube_precision", bc_number_text(v->m.precision, text), true, err));
  }
  v->var = (bc_var){ .name = v->m.name,
                     .group = v->m.group,
                     .units = v->m.units,
                     .dtype = v->agg == BC_AGG_COUNT ? BC_I32 : BC_F32,
                     .time_bounds = v->bounds,
                     .level_units = v->m.level_units,
                     .attrs = v->m.attrs,
                     .n_attrs = v->m.n_attrs };
  put_dims(q, v);
  return BC_OK;
}

/* ---- the whole ---- */

static bc_status put_number(bc_buf *b, const char *before, double v, bc_err *err)
{
  char text[BC_NUMBER_TEXT];
  return bc_buf_printf(b, err, "%s%s", before, bc_number_text(v, text));
}

static bc_status put_place(bc_buf *b, const bc_select *s, bc_err *err)
{
  const double box[4] = { s->west, s->south, s->east, s->north };
  for (size_t i = 0; i < 4 && s->has_bbox; i++)
    BC_RET(put_number(b, i == 0 ? " --bbox " : ",", box[i], err));
  for (size_t i = 0; i < s->n_points && s->n_points <= 10; i++) {
    BC_RET(put_number(b, " --at ", s->points[i].lat, err));
    BC_RET(put_number(b, ",", s->points[i].lon, err));
  }
  return s->n_points > 10 ? bc_buf_printf(b, err, " at %zu points", s->n_points) : BC_OK;
}

static bc_status put_time(bc_buf *b, const bc_select *s, bc_err *err)
{
  char first[BC_TIME_TEXT], last[BC_TIME_TEXT];
  if (s->t_begin == BC_TIME_OPEN_BEGIN && s->t_end == BC_TIME_OPEN_END) return BC_OK;
  return bc_buf_printf(b, err, " --time %s/%s",
                       s->t_begin == BC_TIME_OPEN_BEGIN ? ".." : bc_time_format(s->t_begin, first),
                       s->t_end == BC_TIME_OPEN_END ? ".." : bc_time_format(s->t_end - 1, last));
}

static bc_status put_rest(bc_buf *b, const bc_query *q, const bc_select *s, bc_err *err)
{
  for (size_t i = 0; i < s->n_levels; i++)
    BC_RET(put_number(b, i == 0 ? " --level " : ",", s->levels[i], err));
  if (s->agg != BC_AGG_NONE) {
    BC_RET(bc_buf_printf(b, err, ", %s over ", bc_agg_name(s->agg)));
    BC_RET(period_text(q->period, b, err));
  }
  if (s->every_time > 1 || s->every_space > 1)
    BC_RET(bc_buf_printf(b, err, " --every %" PRId64 ",%" PRId64, s->every_time, s->every_space));
  return BC_OK;
}

static bc_status put_history(bc_buf *b, const bc_query *q, const bc_select *s, bc_err *err)
{
  char now[BC_TIME_TEXT];
  BC_RET(bc_buf_printf(b, err, "%s bctool %s: query", bc_time_format(bc_os_now(), now), bc_version()));
  for (size_t i = 0; i < s->n_vars; i++)
    BC_RET(bc_buf_printf(b, err, "%s%s", i == 0 ? " --var " : ",", s->vars[i]));
  BC_RET(put_place(b, s, err));
  BC_RET(put_time(b, s, err));
  return put_rest(b, q, s, err);
}

static bc_status put_title(bc_buf *b, const bc_query *q, const char *path, bc_err *err)
{
  char name[2 * BC_NAME_MAX];
  size_t n = strlen(path);
  while (n > 1 && path[n - 1] == '/')
    n--;
  size_t at = n;
  while (at > 0 && path[at - 1] != '/')
    at--;
  for (size_t i = 0; i < q->n_vars && i < 8; i++)
    BC_RET(bc_buf_printf(b, err, "%s%s", i == 0 ? "" : ", ", bc_plan_name(&q->vars[i].m, name)));
  if (q->n_vars > 8) BC_RET(bc_buf_printf(b, err, " and %zu more", q->n_vars - 8));
  return bc_buf_printf(b, err, " from %.*s", (int)(n - at), path + at);
}

static bc_status keep_attr(bc_query *q, size_t i, const char *name, bc_buf *b, bool numeric, bc_err *err)
{
  const char *text = NULL;
  BC_RET(end_text(b, &text, err));
  q->attr_text[i] = bc_strdup(text);
  if (q->attr_text[i] == NULL) return no_memory(err);
  q->attrs[i] = (bc_attr){ name, q->attr_text[i], numeric };
  return BC_OK;
}

bc_status bc_plan_title(bc_query *q, bc_store *store, const char *uuid, const bc_select *sel, bc_err *err)
{
  bc_status st = BC_OK;
  bc_buf b = bc_buf_empty(TEXT_MAX);
  BC_TRY(put_title(&b, q, bc_store_path(store), err));
  BC_TRY(keep_attr(q, 0, "title", &b, false, err));
  BC_TRY(put_history(&b, q, sel, err));
  BC_TRY(keep_attr(q, 1, "history", &b, false, err));
  BC_TRY(bc_buf_printf(&b, err, "%" PRIu64, q->snapshot));
  BC_TRY(keep_attr(q, 2, "biocube_snapshot", &b, true, err));
  BC_TRY(bc_buf_printf(&b, err, "%s", uuid));
  BC_TRY(keep_attr(q, 3, "biocube_store", &b, false, err));
out:
  bc_buf_dispose(&b);
  return st;
}
