/* The coast: the contour at 0.5 of a land fraction, by marching squares. */
#include "formats/plot.h"

#include <math.h>
#include <string.h>

typedef struct coast {
  bc_canvas *c;
  const bc_block *land;
  double x0, x_deg, y0, y_deg, width;
} coast;

static double land_at(const bc_block *b, int64_t y, int64_t x)
{
  const uint8_t *p = (const uint8_t *)b->data + y * b->stride[0] + x * b->stride[1];
  const double v = bc_value_f64(b->var->dtype, p);
  return isnan(v) ? 0 : v;
}

/* Where the contour crosses the side from corner a to corner b of a square: corners are 0 north-west, 1
 * north-east, 2 south-east, 3 south-west in the order of the coordinates. */
static void crossing(const double v[4], const double x[4], const double y[4], int a, int b, double *px,
                     double *py)
{
  const double t = (0.5 - v[a]) / (v[b] - v[a]);
  *px = x[a] + t * (x[b] - x[a]);
  *py = y[a] + t * (y[b] - y[a]);
}

static void line(const coast *k, const double v[4], const double x[4], const double y[4], int side_a,
                 int side_b)
{
  double xa, ya, xb, yb;
  crossing(v, x, y, side_a, (side_a + 1) % 4, &xa, &ya);
  crossing(v, x, y, side_b, (side_b + 1) % 4, &xb, &yb);
  bc_stroke(k->c, k->x0 + xa * k->x_deg, k->y0 + ya * k->y_deg, k->x0 + xb * k->x_deg, k->y0 + yb * k->y_deg,
            k->width);
}

static void square(const coast *k, const double v[4], const double x[4], const double y[4])
{
  int side[4], n = 0;

  for (int s = 0; s < 4; s++) {
    if ((v[s] >= 0.5) != (v[(s + 1) % 4] >= 0.5)) side[n++] = s;
  }
  if (n == 2) line(k, v, x, y, side[0], side[1]);
  if (n < 4) return;
  /* A saddle: the middle decides which corners hang together. */
  const bool joined = ((v[0] + v[1] + v[2] + v[3]) / 4 >= 0.5) == (v[0] >= 0.5);
  line(k, v, x, y, 0, joined ? 1 : 3);
  line(k, v, x, y, joined ? 2 : 1, joined ? 3 : 2);
}

/* The column after the last: the first again when the land goes round the globe; -1 when it does not. */
static int64_t next_column(const bc_block *b, int64_t x)
{
  const double *lon = b->var->coord[1] + b->start[1];
  const int64_t n = b->shape[1];

  if (x < n - 1) return x + 1;
  const double step = n > 1 ? lon[1] - lon[0] : 0;
  return n > 2 && fabs(lon[n - 1] + step - 360 - lon[0]) < step * 0.01 ? 0 : -1;
}

static bool off_canvas(const coast *k, double xa, double xb)
{
  const double a = k->x0 + xa * k->x_deg, b = k->x0 + xb * k->x_deg;
  return fmax(a, b) < k->c->cx0 || fmin(a, b) > k->c->cx1;
}

void bc_plot_coast(bc_canvas *c, const bc_block *land, double x0, double x_deg, double y0, double y_deg,
                   double width)
{
  const coast k = { c, land, x0, x_deg, y0, y_deg, width };

  if (land->var->ndim != 2) return; /* nothing to draw a coast from: the picture is good without */
  const double *lat = land->var->coord[0] + land->start[0], *lon = land->var->coord[1] + land->start[1];
  for (int64_t j = 0; j < land->shape[1]; j++) {
    const int64_t j2 = next_column(land, j);
    if (j2 < 0) continue;
    double east = lon[j2];
    while (east < lon[j])
      east += 360;
    if (east - lon[j] > 20 || off_canvas(&k, lon[j], east)) continue; /* a gap in the land's longitudes */
    for (int64_t i = 0; i + 1 < land->shape[0]; i++) {
      const double v[4] = { land_at(land, i, j), land_at(land, i, j2), land_at(land, i + 1, j2),
                            land_at(land, i + 1, j) };
      const double x[4] = { lon[j], east, east, lon[j] }, y[4] = { lat[i], lat[i], lat[i + 1], lat[i + 1] };
      square(&k, v, x, y);
    }
  }
}
