/* A map: one step of a field on latitudes and longitudes, each node a cell around it. */
#include "formats/plot.h"
#include "store/datetime.h"

#include <math.h>
#include <stdio.h>

typedef struct map {
  bc_plot *p;
  bc_field f;
  bc_colors c;
  double *xe,
      *ye; /* edges of the cells: degrees east, rising and continuous; degrees north, in their order */
  double lon0, lon1, lat0, lat1; /* west, east, south, north */
} map;

static void map_dispose(map *m)
{
  bc_free(m->f.value);
  bc_free(m->xe);
  bc_free(m->ye);
}

/* ---- values ---- */

static bc_status read_frame(map *m, bc_pull *pull, bc_err *err)
{
  bc_status st = BC_OK;
  const size_t elem = bc_dtype_size(m->p->v->dtype);
  uint8_t *line = bc_malloc((size_t)m->f.nx * elem);
  size_t bytes = 0;

  const int64_t shape[2] = { m->f.ny, m->f.nx };
  if (bc_shape_bytes(shape, 2, sizeof *m->f.value, &bytes)) m->f.value = bc_malloc(bytes);
  if (m->f.value == NULL || line == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "no memory for a map of %lld x %lld values", (long long)m->f.ny,
                 (long long)m->f.nx);
    goto out;
  }
  m->f.min = INFINITY;
  m->f.max = -INFINITY;
  for (int64_t y = 0; y < m->f.ny; y++) {
    BC_TRY(bc_pull_read(pull, line, (uint64_t)m->f.nx, err));
    for (int64_t x = 0; x < m->f.nx; x++) {
      const double v = bc_value_f64(m->p->v->dtype, line + (size_t)x * elem);
      m->f.value[y * m->f.nx + x] = (float)v;
      if (!isfinite(v)) continue;
      m->f.valid++;
      m->f.min = fmin(m->f.min, v);
      m->f.max = fmax(m->f.max, v);
      m->f.sum += v;
    }
  }
out:
  bc_free(line);
  return st;
}

/* Edges half way between nodes; the outer ones as far out as the next are in. A rise of more than 180 degrees
 * downward is the jump from east to west. */
static double *edges(const double *node, int64_t n, bool lon, double alone)
{
  double *e = bc_malloc(((size_t)n + 1) * sizeof *e);
  double prev = node[0];

  if (e == NULL) return NULL;
  e[0] = n > 1 ? 0 : node[0] - alone / 2;
  for (int64_t i = 1; i < n; i++) {
    double next = node[i];
    while (lon && next < prev)
      next += 360;
    e[i] = (prev + next) / 2;
    if (i == 1) e[0] = prev - (next - prev) / 2;
    if (i == n - 1) e[n] = next + (next - prev) / 2;
    prev = next;
  }
  if (n == 1) e[1] = node[0] + alone / 2;
  for (int64_t i = 0; !lon && i <= n; i++)
    e[i] = fmax(-90, fmin(90, e[i]));
  return e;
}

static double spacing(const double *node, int64_t n) { return n > 1 ? fabs(node[1] - node[0]) : 0; }

static bc_status make_edges(map *m, bc_err *err)
{
  const bc_var *v = m->p->v;
  const double *lat = v->coord[v->ndim - 2], *lon = v->coord[v->ndim - 1];
  const double other = fmax(spacing(lat, m->f.ny), spacing(lon, m->f.nx));
  const double alone = other > 0 && other < 90 ? other : 0.25; /* width of a single row or column */

  m->ye = edges(lat, m->f.ny, false, alone);
  m->xe = edges(lon, m->f.nx, true, alone);
  if (m->xe == NULL || m->ye == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for the edges of a map");
  m->lon0 = m->xe[0];
  m->lon1 = fmin(m->xe[m->f.nx], m->lon0 + 360);
  m->lat0 = fmin(m->ye[0], m->ye[m->f.ny]);
  m->lat1 = fmax(m->ye[0], m->ye[m->f.ny]);
  return BC_OK;
}

/* ---- layout ---- */

static bc_status layout(map *m, bc_err *err)
{
  bc_plot *p = m->p;
  const int width = bc_px(p, BC_PLOT_WIDTH), left = bc_px(p, 66), right = bc_px(p, 128);
  const double dlon = m->lon1 - m->lon0, dlat = m->lat1 - m->lat0;
  const double shrink = fmax(0.35, cos((m->lat0 + m->lat1) / 2 * 3.14159265358979323846 / 180));
  const int room = width - left - right;
  double w = room, h = w / dlon * dlat / shrink;

  if (h > 1.05 * room) {
    w = fmax(w * (1.05 * room) / h, 0.2 * room);
    h = 1.05 * room;
  }
  p->w = (int)w;
  p->h = BC_MAX((int)h, room / 6);
  p->x = left + (room - p->w) / 2;
  p->y = bc_px(p, 76);
  return bc_canvas_init(&p->canvas, width, p->y + p->h + bc_px(p, 66), bc_white, err);
}

/* ---- drawing ---- */

/* First cell that ends beyond deg, edges rising or falling. */
static int64_t find_cell(const double *e, int64_t n, double deg)
{
  const bool rising = e[n] > e[0];
  int64_t lo = 0, hi = n - 1;
  while (lo < hi) {
    const int64_t mid = (lo + hi) / 2;
    const bool before = rising ? e[mid + 1] <= deg : e[mid + 1] >= deg;
    if (before)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* Cells from a to b, of which whole ones are averaged when a pixel covers several. */
typedef struct cells {
  int64_t a, b;
} cells;

static cells cells_between(const double *e, int64_t n, double from, double to)
{
  const double mid = (from + to) / 2;
  cells c = { find_cell(e, n, from), find_cell(e, n, to) };
  if (c.a > c.b) {
    const int64_t t = c.a;
    c.a = c.b;
    c.b = t;
  }
  if (c.b - c.a < 2) c.a = c.b = find_cell(e, n, mid); /* about one cell or larger: sharp edges */
  return c;
}

static double average(const map *m, cells row, cells col)
{
  double sum = 0;
  uint64_t n = 0;
  for (int64_t y = row.a; y <= row.b; y++) {
    for (int64_t x = col.a; x <= col.b; x++) {
      const double v = (double)m->f.value[y * m->f.nx + x];
      if (!isfinite(v)) continue;
      sum += v;
      n++;
    }
  }
  return n > 0 ? sum / (double)n : (double)NAN;
}

static bc_color color_of(const map *m, double v)
{
  return bc_scale_at(&m->c.scale, (v - m->c.lo) / (m->c.hi - m->c.lo));
}

static bc_status draw_field(map *m, bc_err *err)
{
  bc_plot *p = m->p;
  cells *col = bc_malloc((size_t)p->w * sizeof *col);
  const double dx = (m->lon1 - m->lon0) / p->w, dy = (m->lat1 - m->lat0) / p->h;

  if (col == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a row of a map");
  for (int x = 0; x < p->w; x++)
    col[x] = cells_between(m->xe, m->f.nx, m->lon0 + x * dx, m->lon0 + (x + 1) * dx);
  for (int y = 0; y < p->h; y++) {
    const cells row = cells_between(m->ye, m->f.ny, m->lat1 - y * dy, m->lat1 - (y + 1) * dy);
    for (int x = 0; x < p->w; x++) {
      const double v = average(m, row, col[x]);
      bc_set_pixel(&p->canvas, p->x + x, p->y + y, isnan(v) ? bc_hatch_color(x, y) : color_of(m, v));
    }
  }
  bc_free(col);
  return BC_OK;
}

static double degree_step(double span, double most)
{
  static const double k_steps[] = { 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60 };
  for (size_t i = 0; i < BC_ARRAY_LEN(k_steps); i++) {
    if (span / k_steps[i] <= most) return k_steps[i];
  }
  return 90;
}

static double x_of(const map *m, double lon)
{
  return m->p->x + (lon - m->lon0) * m->p->w / (m->lon1 - m->lon0);
}
static double y_of(const map *m, double lat)
{
  return m->p->y + (m->lat1 - lat) * m->p->h / (m->lat1 - m->lat0);
}

static void draw_meridians(map *m)
{
  bc_plot *p = m->p;
  const double step = degree_step(m->lon1 - m->lon0, fmax(2, p->w / (95 * p->k)));
  char text[32];

  for (double i = ceil(m->lon0 / step - 1e-6); i * step <= m->lon1 + 1e-6 * step; i++) {
    const double x = x_of(m, i * step);
    bc_clip(&p->canvas, p->x, p->y, p->w, p->h);
    bc_stroke(&p->canvas, x, p->y, x, p->y + p->h, 0.9 * p->k);
    bc_ink(&p->canvas, bc_black, 0.22);
    bc_clip(&p->canvas, 0, 0, 0, 0);
    bc_stroke(&p->canvas, x, p->y + p->h, x, p->y + p->h + bc_px(p, 5), p->k);
    bc_ink(&p->canvas, bc_black, 1);
    bc_degree_text(text, sizeof text, i * step, false, -1);
    bc_draw_text(&p->canvas, text, x, p->y + p->h + bc_px(p, 20), 9.5 * p->k, BC_CENTER, false, bc_black);
  }
}

static void draw_parallels(map *m)
{
  bc_plot *p = m->p;
  const double step = degree_step(m->lat1 - m->lat0, fmax(2, p->h / (58 * p->k)));
  char text[32];

  for (double i = ceil(m->lat0 / step - 1e-6); i * step <= m->lat1 + 1e-6 * step; i++) {
    const double y = y_of(m, i * step);
    bc_clip(&p->canvas, p->x, p->y, p->w, p->h);
    bc_stroke(&p->canvas, p->x, y, p->x + p->w, y, 0.9 * p->k);
    bc_ink(&p->canvas, bc_black, 0.22);
    bc_clip(&p->canvas, 0, 0, 0, 0);
    bc_stroke(&p->canvas, p->x - bc_px(p, 5), y, p->x, y, p->k);
    bc_ink(&p->canvas, bc_black, 1);
    bc_degree_text(text, sizeof text, i * step, true, -1);
    bc_draw_text(&p->canvas, text, p->x - bc_px(p, 9), y + 4.6 * p->k, 9.5 * p->k, BC_RIGHT, false, bc_black);
  }
}

static void draw_coast(map *m)
{
  bc_plot *p = m->p;
  const double per_lon = p->w / (m->lon1 - m->lon0), per_lat = -p->h / (m->lat1 - m->lat0);

  if (p->opts->coast == NULL) return;
  bc_clip(&p->canvas, p->x, p->y, p->w, p->h);
  /* A light edge under the line shows it on dark colours too. */
  for (int pass = 0; pass < 2; pass++) {
    for (int turn = -2; turn <= 2; turn++) /* the land's longitudes may follow another convention */
      bc_plot_coast(&p->canvas, p->opts->coast, x_of(m, 360.0 * turn), per_lon, y_of(m, 0), per_lat,
                    (pass == 0 ? 2.8 : 1.3) * p->k);
    bc_ink(&p->canvas, pass == 0 ? bc_white : bc_black, pass == 0 ? 0.35 : 0.9);
  }
  bc_clip(&p->canvas, 0, 0, 0, 0);
}

/* A pointed end tells that values go on beyond the scale. */
static void draw_point(map *m, int x, int y, int w, bool up)
{
  const int h = w * 3 / 5;
  const bc_color color = bc_scale_at(&m->c.scale, up ? 1 : 0);
  bc_canvas *c = &m->p->canvas;

  for (int j = 0; j < h; j++) {
    const int inset = w * j / (2 * h);
    bc_fill_rect(c, x + inset, up ? y - 1 - j : y + j, w - 2 * inset, 1, color);
  }
  const double tip = up ? y - h : y + h;
  bc_stroke(c, x + 0.5, y, x + w / 2.0, tip, m->p->k);
  bc_stroke(c, x + w - 0.5, y, x + w / 2.0, tip, m->p->k);
  bc_ink(c, bc_black, 1);
}

static void draw_bar(map *m)
{
  bc_plot *p = m->p;
  const bool below = m->f.min<m->c.lo, above = m->f.max> m->c.hi;
  const int w = bc_px(p, 18), x = p->x + p->w + bc_px(p, 24), point = w * 3 / 5;
  const int y = p->y + (above ? point : 0), h = p->h - (above ? point : 0) - (below ? point : 0);
  const double step = bc_nice_step(m->c.lo, m->c.hi, BC_MAX(2, (int)(h / (60 * p->k))));
  char text[BC_NUM_TEXT];

  for (int j = 0; j < h; j++)
    bc_fill_rect(&p->canvas, x, y + j, w, 1, bc_scale_at(&m->c.scale, 1 - (j + 0.5) / h));
  bc_draw_frame(&p->canvas, x, y, w, h, bc_black);
  if (above) draw_point(m, x, y, w, true);
  if (below) draw_point(m, x, y + h, w, false);
  for (double i = ceil(m->c.lo / step - 1e-6); i * step <= m->c.hi + 1e-6 * step; i++) {
    const double ty = y + (m->c.hi - i * step) / (m->c.hi - m->c.lo) * h;
    bc_stroke(&p->canvas, x + w, ty, x + w + bc_px(p, 5), ty, p->k);
    bc_ink(&p->canvas, bc_black, 1);
    bc_tick_text(text, sizeof text, i * step, step);
    bc_draw_text(&p->canvas, text, x + w + bc_px(p, 9), ty + 4.6 * p->k, 9.5 * p->k, BC_LEFT, false,
                 bc_black);
  }
  bc_fit_text(p->units, 10 * p->k, p->canvas.w - x - bc_px(p, 4));
  bc_draw_text(&p->canvas, p->units, x, p->y - bc_px(p, 10), 10 * p->k, BC_LEFT, false, bc_black);
}

/* Under the map: figures of the field, and what the stripes mean. */
static void draw_foot(map *m)
{
  bc_plot *p = m->p;
  const int y = p->y + p->h + bc_px(p, 48), side = bc_px(p, 13);
  const double size = 9.5 * p->k;
  char text[160] = "no value in this field";

  if (m->f.valid > 0)
    (void)snprintf(text, sizeof text, "min %.5g   mean of nodes %.5g   max %.5g%s%s", m->f.min,
                   m->f.sum / (double)m->f.valid, m->f.max, p->units[0] != '\0' ? " " : "", p->units);
  bc_draw_text(&p->canvas, text, p->x, y, size, BC_LEFT, false, bc_grey);
  if (m->f.valid == (uint64_t)m->f.nx * (uint64_t)m->f.ny) return;
  const int x = p->x + p->w - (int)bc_text_width("no value", size) - side - bc_px(p, 8);
  bc_fill_hatch(&p->canvas, x, y - side + 2, side, side);
  bc_draw_frame(&p->canvas, x, y - side + 2, side, side, bc_grey);
  bc_draw_text(&p->canvas, "no value", p->x + p->w, y, size, BC_RIGHT, false, bc_grey);
}

/* ---- words ---- */

static void note_time(bc_plot *p, int d)
{
  const bc_var *v = p->v;
  char a[BC_TIME_TEXT], b[BC_TIME_TEXT], text[96];

  if (v->time_bounds != NULL) {
    (void)snprintf(text, sizeof text, "%s to %s UTC", bc_instant_text(v->time_bounds[0], a),
                   bc_instant_text(v->time_bounds[1], b));
  } else {
    (void)snprintf(text, sizeof text, "%s UTC", bc_instant_text((int64_t)v->coord[d][0], a));
  }
  bc_plot_note(p, text);
}

static void notes(bc_plot *p)
{
  const bc_var *v = p->v;
  const int t = bc_var_dim(v, BC_DIM_TIME), l = bc_var_dim(v, BC_DIM_LEVEL);
  char text[96], number[BC_NUM_TEXT];

  if (t >= 0) note_time(p, t);
  if (l >= 0) {
    (void)bc_text_f64(number, v->coord[l][0]);
    (void)snprintf(text, sizeof text, "%s %s", number, v->level_units);
    bc_plot_note(p, text);
  }
  if (t >= 0 && v->shape[t] > 1) {
    (void)snprintf(text, sizeof text, "step 1 of %lld", (long long)v->shape[t]);
    bc_plot_note(p, text);
  }
  if (l >= 0 && v->shape[l] > 1) {
    (void)snprintf(text, sizeof text, "level 1 of %lld", (long long)v->shape[l]);
    bc_plot_note(p, text);
  }
  if (p->in->n_vars > 1) {
    (void)snprintf(text, sizeof text, "variable 1 of %d", (int)p->in->n_vars);
    bc_plot_note(p, text);
  }
}

bc_status bc_plot_map(bc_plot *p, bc_pull *pull, bc_err *err)
{
  bc_status st = BC_OK;
  const bc_var *v = p->v;
  map m = { .p = p, .f = { .nx = v->shape[v->ndim - 1], .ny = v->shape[v->ndim - 2] } };

  BC_TRY(read_frame(&m, pull, err));
  BC_TRY(make_edges(&m, err));
  BC_TRY(bc_plot_colors(p, &m.f, &m.c, err));
  BC_TRY(layout(&m, err));
  BC_TRY(draw_field(&m, err));
  draw_coast(&m);
  draw_meridians(&m);
  draw_parallels(&m);
  bc_draw_frame(&p->canvas, p->x - 1, p->y - 1, p->w + 2, p->h + 2, bc_black);
  if (m.f.valid > 0) draw_bar(&m);
  notes(p);
  bc_plot_titles(p);
  draw_foot(&m);
out:
  map_dispose(&m);
  return st;
}
