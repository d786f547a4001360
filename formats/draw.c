#include "formats/draw.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SIDE = 20000 };

bc_status bc_canvas_init(bc_canvas *c, int w, int h, bc_color paper, bc_err *err)
{
  *c = (bc_canvas){ 0 };
  if (w < 1 || h < 1 || w > MAX_SIDE || h > MAX_SIDE)
    return BC_FAIL(err, BC_E_RANGE, "a picture of %d x %d pixels; each side must be 1 to %d", w, h, MAX_SIDE);
  const size_t n = (size_t)w * (size_t)h;
  c->rgb = bc_malloc(3 * n);
  c->ink = bc_calloc(1, n);
  if (c->rgb == NULL || c->ink == NULL) {
    bc_canvas_dispose(c);
    return BC_FAIL(err, BC_E_NOMEM, "no memory for a picture of %d x %d pixels", w, h);
  }
  c->w = w;
  c->h = h;
  c->x0 = c->y0 = MAX_SIDE;
  c->x1 = c->y1 = -1;
  bc_clip(c, 0, 0, 0, 0);
  bc_fill_rect(c, 0, 0, w, h, paper);
  return BC_OK;
}

void bc_canvas_dispose(bc_canvas *c)
{
  bc_free(c->rgb);
  bc_free(c->ink);
  *c = (bc_canvas){ 0 };
}

void bc_clip(bc_canvas *c, int x, int y, int w, int h)
{
  const bool all = w <= 0;
  c->cx0 = all ? 0 : BC_MAX(x, 0);
  c->cy0 = all ? 0 : BC_MAX(y, 0);
  c->cx1 = all ? c->w : BC_MIN(x + w, c->w);
  c->cy1 = all ? c->h : BC_MIN(y + h, c->h);
}

void bc_set_pixel(bc_canvas *c, int x, int y, bc_color color)
{
  if (x < c->cx0 || y < c->cy0 || x >= c->cx1 || y >= c->cy1) return;
  uint8_t *p = c->rgb + 3 * ((size_t)y * (size_t)c->w + (size_t)x);
  p[0] = color.r;
  p[1] = color.g;
  p[2] = color.b;
}

void bc_fill_rect(bc_canvas *c, int x, int y, int w, int h, bc_color color)
{
  for (int j = BC_MAX(y, c->cy0); j < BC_MIN(y + h, c->cy1); j++) {
    for (int i = BC_MAX(x, c->cx0); i < BC_MIN(x + w, c->cx1); i++)
      bc_set_pixel(c, i, j, color);
  }
}

void bc_draw_frame(bc_canvas *c, int x, int y, int w, int h, bc_color color)
{
  bc_fill_rect(c, x, y, w, 1, color);
  bc_fill_rect(c, x, y + h - 1, w, 1, color);
  bc_fill_rect(c, x, y, 1, h, color);
  bc_fill_rect(c, x + w - 1, y, 1, h, color);
}

bc_color bc_hatch_color(int x, int y)
{
  const int k = (x + y) % 8;
  return k < 2 ? (bc_color){ 196, 198, 201 } : (bc_color){ 228, 229, 231 };
}

void bc_fill_hatch(bc_canvas *c, int x, int y, int w, int h)
{
  for (int j = y; j < y + h; j++) {
    for (int i = x; i < x + w; i++)
      bc_set_pixel(c, i, j, bc_hatch_color(i, j));
  }
}

/* ---- strokes ---- */

static double distance(double px, double py, double ax, double ay, double bx, double by)
{
  const double dx = bx - ax, dy = by - ay, len = dx * dx + dy * dy;
  double t = len > 0 ? ((px - ax) * dx + (py - ay) * dy) / len : 0;
  t = t < 0 ? 0 : t > 1 ? 1 : t;
  return hypot(px - ax - t * dx, py - ay - t * dy);
}

static void cover(bc_canvas *c, int x, int y, double a)
{
  uint8_t *p = &c->ink[(size_t)y * (size_t)c->w + (size_t)x];
  const uint8_t v = (uint8_t)(255.0 * (a > 1 ? 1 : a) + 0.5);
  if (v > *p) *p = v;
}

/* Where a long line may have ink in row y: walking its whole box would cost its square. */
static void span(double xa, double ya, double xb, double yb, double reach, int y, int *lo, int *hi)
{
  if (fabs(yb - ya) < 1e-9) return;
  const double t0 = ((double)y - reach - ya) / (yb - ya), t1 = ((double)y + 1 + reach - ya) / (yb - ya);
  const double x0 = xa + (xb - xa) * fmin(fmax(t0, 0), 1), x1 = xa + (xb - xa) * fmin(fmax(t1, 0), 1);
  *lo = BC_MAX(*lo, (int)floor(fmin(x0, x1) - reach));
  *hi = BC_MIN(*hi, (int)ceil(fmax(x0, x1) + reach));
}

void bc_stroke(bc_canvas *c, double xa, double ya, double xb, double yb, double width)
{
  const double r = width / 2, reach = r + 1;

  if (!(fabs(xa) < 1e6 && fabs(ya) < 1e6 && fabs(xb) < 1e6 && fabs(yb) < 1e6)) return;
  const int x0 = BC_MAX(c->cx0, (int)floor(fmin(xa, xb) - reach)),
            x1 = BC_MIN(c->cx1 - 1, (int)ceil(fmax(xa, xb) + reach));
  const int y0 = BC_MAX(c->cy0, (int)floor(fmin(ya, yb) - reach)),
            y1 = BC_MIN(c->cy1 - 1, (int)ceil(fmax(ya, yb) + reach));
  if (x0 > x1 || y0 > y1) return;
  for (int y = y0; y <= y1; y++) {
    int lo = x0, hi = x1;
    span(xa, ya, xb, yb, reach, y, &lo, &hi);
    for (int x = lo; x <= hi; x++) {
      const double a = r + 0.5 - distance(x + 0.5, y + 0.5, xa, ya, xb, yb);
      if (a > 0) cover(c, x, y, width < 1 ? a * width : a);
    }
  }
  c->x0 = BC_MIN(c->x0, x0);
  c->y0 = BC_MIN(c->y0, y0);
  c->x1 = BC_MAX(c->x1, x1);
  c->y1 = BC_MAX(c->y1, y1);
}

static uint8_t mix(uint8_t under, uint8_t over, double a)
{
  return (uint8_t)((double)under + ((double)over - (double)under) * a + 0.5);
}

void bc_ink(bc_canvas *c, bc_color color, double alpha)
{
  for (int y = c->y0; y <= c->y1; y++) {
    for (int x = c->x0; x <= c->x1; x++) {
      const size_t at = (size_t)y * (size_t)c->w + (size_t)x;
      const double a = c->ink[at] / 255.0 * alpha;
      c->ink[at] = 0;
      if (a <= 0) continue;
      uint8_t *p = c->rgb + 3 * at;
      p[0] = mix(p[0], color.r, a);
      p[1] = mix(p[1], color.g, a);
      p[2] = mix(p[2], color.b, a);
    }
  }
  c->x0 = c->y0 = MAX_SIDE;
  c->x1 = c->y1 = -1;
}

/* ---- colour scales: a few points in lightness, chroma and hue, joined in Oklab, where equal steps look
 * equal ---- */

typedef struct point {
  double at, l, c, h; /* place, lightness 0..1, chroma, hue in degrees */
} point;

typedef struct points {
  const char *name;
  int n;
  point p[9];
} points;

static const points k_scales[] = {
  { "viridis",
    7,
    { { 0.00, 0.27, 0.125, 305 },
      { 0.18, 0.40, 0.125, 285 },
      { 0.36, 0.52, 0.105, 240 },
      { 0.54, 0.63, 0.110, 192 },
      { 0.72, 0.75, 0.150, 158 },
      { 0.88, 0.86, 0.180, 124 },
      { 1.00, 0.93, 0.175, 105 } } },
  { "thermal",
    8,
    { { 0.00, 0.24, 0.090, 290 },
      { 0.15, 0.38, 0.140, 275 },
      { 0.32, 0.55, 0.120, 245 },
      { 0.48, 0.74, 0.080, 205 },
      { 0.58, 0.87, 0.075, 130 },
      { 0.70, 0.85, 0.140, 85 },
      { 0.85, 0.65, 0.190, 42 },
      { 1.00, 0.40, 0.150, 22 } } },
  { "balance",
    7,
    { { 0.00, 0.30, 0.120, 262 },
      { 0.20, 0.50, 0.150, 256 },
      { 0.38, 0.78, 0.075, 240 },
      { 0.50, 0.965, 0.005, 100 },
      { 0.62, 0.80, 0.085, 45 },
      { 0.80, 0.55, 0.170, 30 },
      { 1.00, 0.33, 0.130, 22 } } },
  { "rain",
    7,
    { { 0.00, 0.985, 0.004, 220 },
      { 0.10, 0.93, 0.035, 205 },
      { 0.30, 0.81, 0.085, 215 },
      { 0.50, 0.66, 0.120, 240 },
      { 0.70, 0.51, 0.150, 265 },
      { 0.86, 0.40, 0.170, 295 },
      { 1.00, 0.32, 0.160, 328 } } },
  { "terrain",
    9,
    { { 0.00, 0.72, 0.055, 232 },
      { 0.015, 0.56, 0.085, 155 },
      { 0.12, 0.63, 0.105, 140 },
      { 0.24, 0.78, 0.100, 120 },
      { 0.38, 0.87, 0.085, 97 },
      { 0.55, 0.72, 0.085, 72 },
      { 0.72, 0.56, 0.065, 55 },
      { 0.86, 0.72, 0.020, 60 },
      { 1.00, 0.985, 0.003, 200 } } },
};

static double to_srgb(double v)
{
  v = v < 0 ? 0 : v > 1 ? 1 : v;
  return v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1 / 2.4) - 0.055;
}

static bc_color from_oklab(double l, double a, double b)
{
  const double x = l + 0.3963377774 * a + 0.2158037573 * b, y = l - 0.1055613458 * a - 0.0638541728 * b,
               z = l - 0.0894841775 * a - 1.2914855480 * b;
  const double x3 = x * x * x, y3 = y * y * y, z3 = z * z * z;
  const double red = 4.0767416621 * x3 - 3.3077115913 * y3 + 0.2309699292 * z3,
               green = -1.2684380046 * x3 + 2.6097574011 * y3 - 0.3413193965 * z3,
               blue = -0.0041960863 * x3 - 0.7034186147 * y3 + 1.7076147010 * z3;
  return (bc_color){ (uint8_t)(255 * to_srgb(red) + 0.5), (uint8_t)(255 * to_srgb(green) + 0.5),
                     (uint8_t)(255 * to_srgb(blue) + 0.5) };
}

static bc_color blend(const points *s, double t)
{
  static const double k_rad = 3.14159265358979323846 / 180;
  int i = 1;
  while (i < s->n - 1 && t > s->p[i].at)
    i++;
  const point *p = &s->p[i - 1], *q = &s->p[i];
  const double u = (t - p->at) / (q->at - p->at);
  const double pa = p->c * cos(p->h * k_rad), pb = p->c * sin(p->h * k_rad);
  const double qa = q->c * cos(q->h * k_rad), qb = q->c * sin(q->h * k_rad);
  return from_oklab(p->l + u * (q->l - p->l), pa + u * (qa - pa), pb + u * (qb - pb));
}

bool bc_scale_init(bc_scale *s, const char *name)
{
  for (size_t k = 0; k < BC_ARRAY_LEN(k_scales); k++) {
    if (strcmp(k_scales[k].name, name) != 0) continue;
    for (int i = 0; i < BC_SCALE_STEPS; i++)
      s->step[i] = blend(&k_scales[k], (double)i / (BC_SCALE_STEPS - 1));
    return true;
  }
  return false;
}

bc_color bc_scale_at(const bc_scale *s, double t)
{
  t = t > 0 ? t < 1 ? t : 1 : 0;
  return s->step[(int)(t * (BC_SCALE_STEPS - 1) + 0.5)];
}

/* ---- ticks ---- */

double bc_nice_step(double lo, double hi, int wanted)
{
  const double raw = (hi - lo) / (wanted > 0 ? wanted : 1);
  if (!(raw > 0) || !isfinite(raw)) return 1;
  const double p = pow(10, floor(log10(raw)));
  const double m = raw / p;
  return p * (m <= 1.0001 ? 1 : m <= 2.0001 ? 2 : m <= 5.0001 ? 5 : 10);
}

void bc_tick_text(char *buf, size_t cap, double v, double step)
{
  const double most = fmax(fabs(v), step);
  if (fabs(v) < step * 1e-6) v = 0;
  if (v != 0 && (most >= 1e6 || step < 1e-4)) {
    (void)snprintf(buf, cap, "%.3g", v);
    return;
  }
  int decimals = 0;
  while (decimals < 6 && fabs(step * pow(10, decimals) - nearbyint(step * pow(10, decimals))) > 1e-6)
    decimals++;
  (void)snprintf(buf, cap, "%.*f", decimals, v);
}
