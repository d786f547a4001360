/*
 * A raster canvas: rectangles, smooth lines and text, and colour scales. Internal.
 *
 * Lines and text are gathered as coverage and painted at once by bc_ink, so that where two strokes cross
 * nothing is painted twice. Coordinates are in pixels, x to the right, y downward; the middle of a pixel is
 * at .5.
 */
#ifndef BC_FORMATS_DRAW_H
#define BC_FORMATS_DRAW_H

#include "store/base.h"

typedef struct bc_color {
  uint8_t r, g, b;
} bc_color;

typedef struct bc_canvas {
  int w, h;
  uint8_t *rgb;           /* 3 bytes a pixel, rows from the top */
  uint8_t *ink;           /* coverage gathered since the last bc_ink */
  int x0, y0, x1, y1;     /* touched part of ink; empty when x0 > x1 */
  int cx0, cy0, cx1, cy1; /* nothing is painted outside; x1, y1 exclusive */
} bc_canvas;

bc_status bc_canvas_init(bc_canvas *c, int w, int h, bc_color paper, bc_err *err) BC_MUST_CHECK;
void bc_canvas_dispose(bc_canvas *c); /* safe twice */
/* Only this part is painted from now on; w = 0 lifts it. */
void bc_clip(bc_canvas *c, int x, int y, int w, int h);

void bc_set_pixel(bc_canvas *c, int x, int y, bc_color color);
void bc_fill_rect(bc_canvas *c, int x, int y, int w, int h, bc_color color);
/* Frame one pixel wide, inside the rectangle. */
void bc_draw_frame(bc_canvas *c, int x, int y, int w, int h, bc_color color);
/* Grey stripes: where there is no value. */
bc_color bc_hatch_color(int x, int y);
void bc_fill_hatch(bc_canvas *c, int x, int y, int w, int h);

void bc_stroke(bc_canvas *c, double xa, double ya, double xb, double yb, double width);
/* Paints what was gathered; alpha 0..1. */
void bc_ink(bc_canvas *c, bc_color color, double alpha);

/* Text by strokes; size: height of capitals in pixels. UTF-8: ASCII and the degree sign, anything else is a
 * box. */
double bc_text_width(const char *s, double size);
typedef enum bc_align { BC_LEFT = 0, BC_CENTER = 1, BC_RIGHT = 2 } bc_align;
/* y is the base line. */
void bc_draw_text(bc_canvas *c, const char *s, double x, double y, double size, bc_align align, bool bold,
                  bc_color color);
/* Bottom to top; x is the base line, y the middle of the text. */
void bc_draw_text_up(bc_canvas *c, const char *s, double x, double y, double size, bc_color color);
/* Cuts s so that it is at most width wide, with "..." at its end. */
void bc_fit_text(char *s, double size, double width);

/* ---- colour scales ---- */
#define BC_SCALE_STEPS 1024
typedef struct bc_scale {
  bc_color step[BC_SCALE_STEPS];
} bc_scale;
/* "viridis", "thermal", "balance", "rain", "terrain"; false when unknown. */
bool bc_scale_init(bc_scale *s, const char *name);
/* t from 0 to 1, clamped. */
bc_color bc_scale_at(const bc_scale *s, double t);

/* Ticks at multiples of 1, 2 or 5 times a power of ten: the step that gives at most about `wanted` in lo..hi.
 */
double bc_nice_step(double lo, double hi, int wanted);
/* Text of a tick: as many decimals as the step needs. */
void bc_tick_text(char *buf, size_t cap, double v, double step);

/* ---- PNG ---- */
struct bc_out;
bc_status bc_canvas_png(const bc_canvas *c, struct bc_out *out, bc_err *err) BC_MUST_CHECK;

#endif
