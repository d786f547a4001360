/* Values over time at one place, or at a few: one line for each. */
#include "formats/plot.h"
#include "store/datetime.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const bc_color k_lines[BC_PLOT_LINES] = { { 32, 98, 178 },  { 214, 96, 28 },  { 30, 140, 98 },
                                                 { 156, 62, 140 }, { 196, 152, 20 }, { 60, 170, 205 },
                                                 { 120, 84, 50 },  { 110, 114, 122 } };

typedef struct series {
  bc_plot *p;
  int64_t n;               /* steps */
  uint64_t per_step;       /* values of a step */
  int lines;               /* of these drawn */
  const double *t;         /* seconds */
  float *value;            /* n x lines */
  double min, max, lo, hi; /* of the values; of the axis */
} series;

static bc_status read_values(series *s, bc_pull *pull, bc_err *err)
{
  bc_status st = BC_OK;
  const bc_dtype t = s->p->v->dtype;
  const size_t elem = bc_dtype_size(t);
  size_t bytes = 0;
  const int64_t shape[2] = { s->n, s->lines };
  uint8_t *step = bc_malloc((size_t)s->per_step * elem);

  if (bc_shape_bytes(shape, 2, sizeof *s->value, &bytes)) s->value = bc_malloc(bytes);
  if (step == NULL || s->value == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "no memory for %lld steps of %d lines", (long long)s->n, s->lines);
    goto out;
  }
  s->min = INFINITY;
  s->max = -INFINITY;
  for (int64_t i = 0; i < s->n; i++) {
    BC_TRY(bc_pull_read(pull, step, s->per_step, err));
    for (int k = 0; k < s->lines; k++) {
      const double v = bc_value_f64(t, step + (size_t)k * elem);
      s->value[i * s->lines + k] = (float)v;
      if (!isfinite(v)) continue;
      s->min = fmin(s->min, v);
      s->max = fmax(s->max, v);
    }
  }
out:
  bc_free(step);
  return st;
}

static void choose_range(series *s)
{
  const bc_sink_opts *o = s->p->opts;

  if (o->has_range && o->vmin < o->vmax) {
    s->lo = o->vmin;
    s->hi = o->vmax;
    return;
  }
  s->lo = isfinite(s->min) ? s->min : 0;
  s->hi = isfinite(s->max) ? s->max : 1;
  const double pad = s->hi > s->lo ? 0.06 * (s->hi - s->lo) : s->hi != 0 ? 0.01 * fabs(s->hi) : 1;
  const bool from_zero =
      s->lo >= 0 && s->lo < 0.2 * s->hi; /* sums, fractions, counts: their zero means something */
  s->lo = from_zero ? 0 : s->lo - pad;
  s->hi += pad;
}

/* ---- legend ---- */

/* What tells line k from the others: level, place. */
static void line_text(const series *s, int k, char *buf, size_t cap)
{
  const bc_var *v = s->p->v;
  const int l = bc_var_dim(v, BC_DIM_LEVEL), y = bc_var_dim(v, BC_DIM_LAT), x = bc_var_dim(v, BC_DIM_LON),
            pt = bc_var_dim(v, BC_DIM_POINT);
  int64_t i[BC_MAX_DIMS] = { 0 };
  char number[BC_NUM_TEXT], lat[32], lon[32];
  size_t n = 0;

  int64_t rest = k;
  for (int d = v->ndim - 1; d > 0; d--) {
    i[d] = rest % v->shape[d];
    rest /= v->shape[d];
  }
  buf[0] = '\0';
  if (l >= 0) {
    (void)bc_text_f64(number, v->coord[l][i[l]]);
    n = (size_t)snprintf(buf, cap, "%s %s   ", number, v->level_units);
  }
  if (pt < 0 && (y < 0 || x < 0)) return;
  bc_degree_text(lat, sizeof lat, pt >= 0 ? v->point_lat[i[pt]] : v->coord[y][i[y]], true, -1);
  bc_degree_text(lon, sizeof lon, pt >= 0 ? v->point_lon[i[pt]] : v->coord[x][i[x]], false, -1);
  if (n < cap) (void)snprintf(buf + n, cap - n, "%s %s", lat, lon);
}

/* Rows of entries above the plot; returns their number. With a canvas, draws them. */
static int legend(series *s, bool paint)
{
  bc_plot *p = s->p;
  const double size = 9.5 * p->k, gap = 22 * p->k, dash = 22 * p->k;
  double x = p->x;
  int row = 0;
  char text[96];

  if (s->lines < 2) return 0;
  for (int k = 0; k < s->lines; k++) {
    line_text(s, k, text, sizeof text);
    const double w = dash + 7 * p->k + bc_text_width(text, size);
    if (k > 0 && x + w > p->x + p->w) {
      row++;
      x = p->x;
    }
    const double y = bc_px(p, 80 + 20 * row);
    if (paint) {
      bc_stroke(&p->canvas, x, y - 4.5 * p->k, x + dash, y - 4.5 * p->k, 2.4 * p->k);
      bc_ink(&p->canvas, k_lines[k], 1);
      bc_draw_text(&p->canvas, text, x + dash + 7 * p->k, y, size, BC_LEFT, false, bc_black);
    }
    x += w + gap;
  }
  return row + 1;
}

/* ---- axes ---- */

typedef struct date_step {
  int64_t seconds; /* or */
  int days, months;
} date_step;

static const date_step k_steps[] = {
  { 60, 0, 0 },    { 300, 0, 0 },   { 600, 0, 0 },   { 1800, 0, 0 }, { 3600, 0, 0 }, { 7200, 0, 0 },
  { 10800, 0, 0 }, { 21600, 0, 0 }, { 43200, 0, 0 }, { 0, 1, 0 },    { 0, 2, 0 },    { 0, 5, 0 },
  { 0, 10, 0 },    { 0, 0, 1 },     { 0, 0, 2 },     { 0, 0, 3 },    { 0, 0, 6 },    { 0, 0, 12 },
  { 0, 0, 24 },    { 0, 0, 60 },    { 0, 0, 120 },   { 0, 0, 240 },  { 0, 0, 600 },  { 0, 0, 1200 },
  { 0, 0, 6000 },  { 0, 0, 12000 },
};

static double step_seconds(const date_step *d)
{
  return (double)d->seconds + d->days * 86400.0 + d->months * 2629746.0;
}

static date_step choose_date_step(double span, double most)
{
  for (size_t i = 0; i < BC_ARRAY_LEN(k_steps); i++) {
    if (span / step_seconds(&k_steps[i]) <= most) return k_steps[i];
  }
  return k_steps[BC_ARRAY_LEN(k_steps) - 1];
}

/* The first tick after t. Days count from the first of the month, and none stands close before the next one.
 */
static int64_t next_tick(date_step d, int64_t t)
{
  if (d.seconds > 0) return (t / d.seconds - (t % d.seconds < 0) + 1) * d.seconds;
  bc_civil c = bc_time_to_civil(t);
  c.hour = c.minute = c.second = 0;
  if (d.days > 0) {
    int32_t day = c.day + 1;
    while ((day - 1) % d.days != 0)
      day++;
    if (day > 31 - d.days / 2 + (d.days == 1)) day = 32;
    const int32_t month = c.month;
    c.day = day;
    const int64_t next = bc_time_from_civil(&c);
    if (bc_time_to_civil(next).month == month) return next;
    c.day = 1;
    c.month = month % 12 + 1;
    c.year += month == 12;
    return bc_time_from_civil(&c);
  }
  int32_t m = c.year * 12 + c.month; /* of the next month, counted from 0 */
  while (m % d.months != 0)
    m++;
  c = (bc_civil){ m / 12, m % 12 + 1, 1, 0, 0, 0 };
  return bc_time_from_civil(&c);
}

static void date_text(date_step d, int64_t t, char *buf, size_t cap)
{
  static const char *const k_months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
  const bc_civil c = bc_time_to_civil(t);

  if (d.seconds > 0 && (c.hour != 0 || c.minute != 0))
    (void)snprintf(buf, cap, "%02d:%02d", (int)c.hour, (int)c.minute);
  else if (d.seconds > 0 || d.days > 0)
    (void)snprintf(buf, cap, "%d %s", (int)c.day, k_months[(c.month + 11) % 12]);
  else if (d.months % 12 != 0)
    (void)snprintf(buf, cap, "%04d-%02d", (int)c.year, (int)c.month);
  else
    (void)snprintf(buf, cap, "%04d", (int)c.year);
}

static double x_of(const series *s, double t)
{
  const double first = s->t[0], last = s->t[s->n - 1];
  return s->p->x + (last > first ? (t - first) / (last - first) : 0.5) * s->p->w;
}

static double y_of(const series *s, double v) { return s->p->y + (s->hi - v) / (s->hi - s->lo) * s->p->h; }

static void draw_dates(series *s)
{
  bc_plot *p = s->p;
  const date_step d = choose_date_step(s->t[s->n - 1] - s->t[0], p->w / (88 * p->k));
  char text[32];

  for (int64_t t = next_tick(d, (int64_t)s->t[0] - 1); (double)t <= s->t[s->n - 1]; t = next_tick(d, t)) {
    const double x = x_of(s, (double)t);
    bc_stroke(&p->canvas, x, p->y, x, p->y + p->h, p->k);
    bc_ink(&p->canvas, bc_black, 0.11);
    bc_stroke(&p->canvas, x, p->y + p->h, x, p->y + p->h + bc_px(p, 5), p->k);
    bc_ink(&p->canvas, bc_black, 1);
    date_text(d, t, text, sizeof text);
    bc_draw_text(&p->canvas, text, x, p->y + p->h + bc_px(p, 20), 9.5 * p->k, BC_CENTER, false, bc_black);
  }
}

static void draw_values_axis(series *s)
{
  bc_plot *p = s->p;
  const double step = bc_nice_step(s->lo, s->hi, 7);
  char text[BC_NUM_TEXT];
  double widest = 0;

  for (double i = ceil(s->lo / step - 1e-6); i * step <= s->hi + 1e-6 * step; i++) {
    const double y = y_of(s, i * step);
    bc_stroke(&p->canvas, p->x, y, p->x + p->w, y, p->k);
    bc_ink(&p->canvas, bc_black, 0.11);
    bc_stroke(&p->canvas, p->x - bc_px(p, 5), y, p->x, y, p->k);
    bc_ink(&p->canvas, bc_black, 1);
    bc_tick_text(text, sizeof text, i * step, step);
    bc_draw_text(&p->canvas, text, p->x - bc_px(p, 9), y + 4.6 * p->k, 9.5 * p->k, BC_RIGHT, false, bc_black);
    widest = fmax(widest, bc_text_width(text, 9.5 * p->k));
  }
  bc_draw_text_up(&p->canvas, p->units, p->x - widest - 20 * p->k, p->y + p->h / 2.0, 10 * p->k, bc_black);
}

static void draw_line(series *s, int k)
{
  bc_plot *p = s->p;
  const bool dots = s->n <= 60;
  bool joined = false; /* the step before has a value */
  double px = 0, py = 0;

  for (int64_t i = 0; i < s->n; i++) {
    const double v = (double)s->value[i * s->lines + k];
    const bool valid = isfinite(v);
    const double x = x_of(s, s->t[i]), y = valid ? y_of(s, v) : 0;
    const bool alone =
        valid && !joined && (i + 1 == s->n || !isfinite((double)s->value[(i + 1) * s->lines + k]));
    if (valid && joined) bc_stroke(&p->canvas, px, py, x, y, 1.7 * p->k);
    if (valid && (dots || alone)) bc_stroke(&p->canvas, x, y, x, y, 5 * p->k);
    joined = valid;
    px = x;
    py = y;
  }
  bc_ink(&p->canvas, k_lines[k], 1);
}

/* ---- words ---- */

static void notes(series *s)
{
  bc_plot *p = s->p;
  char a[BC_TIME_TEXT], b[BC_TIME_TEXT], text[96];

  (void)snprintf(text, sizeof text, "%s to %s UTC, %lld steps", bc_instant_text((int64_t)s->t[0], a),
                 bc_instant_text((int64_t)s->t[s->n - 1], b), (long long)s->n);
  if (s->lines == 1) {
    char place[96];
    line_text(s, 0, place, sizeof place);
    bc_plot_note(p, place);
  }
  bc_plot_note(p, text);
  if ((uint64_t)s->lines < s->per_step) {
    (void)snprintf(text, sizeof text, "first %d of %llu lines", s->lines, (unsigned long long)s->per_step);
    bc_plot_note(p, text);
  }
  if (p->in->n_vars > 1) {
    (void)snprintf(text, sizeof text, "variable 1 of %d", (int)p->in->n_vars);
    bc_plot_note(p, text);
  }
}

static bc_status layout(series *s, bc_err *err)
{
  bc_plot *p = s->p;

  p->x = bc_px(p, 88);
  p->w = bc_px(p, BC_PLOT_WIDTH - 88 - 34);
  p->y = bc_px(p, 76 + 20 * legend(s, false) + (s->lines > 1 ? 6 : 0));
  p->h = bc_px(p, 360);
  return bc_canvas_init(&p->canvas, bc_px(p, BC_PLOT_WIDTH), p->y + p->h + bc_px(p, 42), bc_white, err);
}

bc_status bc_plot_series(bc_plot *p, bc_pull *pull, bc_err *err)
{
  bc_status st = BC_OK;
  const bc_var *v = p->v;
  series s = { .p = p, .n = v->shape[0], .t = v->coord[0] };

  s.per_step = pull->size / (uint64_t)s.n;
  s.lines = (int)BC_MIN(s.per_step, (uint64_t)BC_PLOT_LINES);
  BC_TRY(read_values(&s, pull, err));
  choose_range(&s);
  BC_TRY(layout(&s, err));
  draw_values_axis(&s);
  draw_dates(&s);
  bc_clip(&p->canvas, p->x, p->y, p->w, p->h);
  for (int k = 0; k < s.lines; k++)
    draw_line(&s, k);
  bc_clip(&p->canvas, 0, 0, 0, 0);
  bc_draw_frame(&p->canvas, p->x - 1, p->y - 1, p->w + 2, p->h + 2, bc_black);
  (void)legend(&s, true);
  notes(&s);
  bc_plot_titles(p);
out:
  bc_free(s.value);
  return st;
}
