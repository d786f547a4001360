/* PNG: which picture to draw, what is written on all of them, and the encoder. */
#include "formats/plot.h"

#include <math.h>
#include <png.h>
#include <stdio.h>
#include <string.h>

const bc_color bc_black = { 28, 30, 34 }, bc_grey = { 105, 110, 118 }, bc_white = { 255, 255, 255 };

/* ---- encoder ---- */

typedef struct encoder {
  bc_out *out;
  bc_status st;
  bc_err *err;
  png_structp png;
  png_infop info;
} encoder;

static void on_error(png_structp png, png_const_charp message)
{
  encoder *e = png_get_error_ptr(png);
  if (e->st == BC_OK)
    e->st = BC_FAIL_SYS(e->err, BC_E_INTERNAL, "png", 0, "%s: libpng: %s", e->out->path, message);
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) { (void)png, (void)message; }

static void on_write(png_structp png, png_bytep data, size_t n)
{
  encoder *e = png_get_io_ptr(png);
  e->st = bc_out_write(e->out, data, n, e->err);
  if (e->st != BC_OK) png_error(png, "output");
}

static void on_flush(png_structp png) { (void)png; }

/* Comes back early by longjmp; nothing of its own may need releasing. */
static void encode(encoder *e, const bc_canvas *c)
{
  if (setjmp(png_jmpbuf(e->png)) != 0) return;
  png_set_write_fn(e->png, e, on_write, on_flush);
  png_set_IHDR(e->png, e->info, (png_uint_32)c->w, (png_uint_32)c->h, 8, PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_sRGB(e->png, e->info, PNG_sRGB_INTENT_PERCEPTUAL);
  png_write_info(e->png, e->info);
  for (int y = 0; y < c->h; y++)
    png_write_row(e->png, c->rgb + 3 * (size_t)y * (size_t)c->w);
  png_write_end(e->png, e->info);
}

bc_status bc_canvas_png(const bc_canvas *c, struct bc_out *out, bc_err *err)
{
  encoder e = { .out = out, .st = BC_OK, .err = err };

  e.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &e, on_error, on_warning);
  e.info = e.png != NULL ? png_create_info_struct(e.png) : NULL;
  if (e.info != NULL)
    encode(&e, c);
  else
    e.st = BC_FAIL(err, BC_E_NOMEM, "no memory in libpng");
  png_destroy_write_struct(&e.png, &e.info);
  return e.st;
}

/* ---- words ---- */

int bc_px(const bc_plot *p, double n) { return (int)(n * p->k + 0.5); }

static bool same_text(const char *a, const char *b) { return a != NULL && b != NULL && strcmp(a, b) == 0; }

/* "m s**-1" -> "m s-1": CF writes powers so, and it reads better. */
static void plain_units(char *dst, size_t cap, const char *units)
{
  size_t n = 0;
  for (; *units != '\0' && n + 1 < cap; units++) {
    if (*units == '*' && units[1] == '*')
      units++;
    else
      dst[n++] = *units;
  }
  dst[n] = '\0';
  if (same_text(dst, "1") || same_text(dst, "(0 - 1)") || same_text(dst, "~")) dst[0] = '\0';
}

void bc_plot_words(bc_plot *p)
{
  const char *name = bc_var_attr(p->v, "long_name");

  plain_units(p->units, sizeof p->units, p->v->units);
  p->subtitle[0] = '\0';
  if (p->opts->title != NULL)
    (void)bc_copy_text(p->title, sizeof p->title, p->opts->title);
  else if (name != NULL && !same_text(name, p->v->name))
    (void)snprintf(p->title, sizeof p->title, "%s (%s)", name, p->v->name);
  else
    (void)bc_copy_text(p->title, sizeof p->title, p->v->name);
}

void bc_plot_note(bc_plot *p, const char *text)
{
  const size_t n = strlen(p->subtitle);
  if (text[0] != '\0')
    (void)snprintf(p->subtitle + n, sizeof p->subtitle - n, "%s%s", n > 0 ? "   |   " : "", text);
}

void bc_plot_titles(bc_plot *p)
{
  const double room = p->canvas.w - p->x - bc_px(p, 20);

  bc_fit_text(p->title, 15 * p->k, room);
  bc_fit_text(p->subtitle, 10.5 * p->k, room);
  bc_draw_text(&p->canvas, p->title, p->x, bc_px(p, 34), 15 * p->k, BC_LEFT, true, bc_black);
  bc_draw_text(&p->canvas, p->subtitle, p->x, bc_px(p, 57), 10.5 * p->k, BC_LEFT, false, bc_grey);
}

void bc_degree_text(char *buf, size_t cap, double deg, bool lat, int decimals)
{
  char number[BC_NUM_TEXT];

  if (!lat) deg -= 360 * floor((deg + 180) / 360);
  if (!lat && deg <= -180 + 1e-9) deg = 180;
  const double a = fabs(deg) < 1e-9 ? 0 : fabs(deg);
  const bool bare = a == 0 || (!lat && a == 180);
  if (decimals < 0) {
    for (decimals = 0; decimals < 3 && fabs(a * pow(10, decimals) - nearbyint(a * pow(10, decimals))) > 1e-4;)
      decimals++;
  }
  (void)snprintf(number, sizeof number, "%.*f", decimals, a);
  (void)snprintf(buf, cap, "%s\xc2\xb0%s", number,
                 bare  ? ""
                 : lat ? (deg > 0 ? "N" : "S")
                       : (deg > 0 ? "E" : "W"));
}

/* ---- which picture ---- */

/* Lines that a plot over time would have: values of one step; 0 without two steps. */
static uint64_t series_lines(const bc_var *v)
{
  uint64_t n = 1;
  if (v->ndim < 1 || v->dims[0] != BC_DIM_TIME || v->shape[0] < 2) return 0;
  for (int d = 1; d < v->ndim; d++)
    n *= (uint64_t)v->shape[d];
  return n;
}

static bc_status draw(bc_plot *p, bc_pull *pull, bc_err *err)
{
  const bc_var *v = p->v;
  const uint64_t lines = series_lines(v);
  const bool points = bc_var_dim(v, BC_DIM_POINT) >= 0;
  const bool map = v->ndim >= 2 && v->dims[v->ndim - 2] == BC_DIM_LAT && v->dims[v->ndim - 1] == BC_DIM_LON;
  char text[BC_VAR_TEXT];

  if (pull->size == 0) return BC_FAIL(err, BC_E_INVAL, "%s: no value to draw", bc_var_text(v, text));
  if (lines > 0 && (points || lines <= BC_PLOT_LINES)) return bc_plot_series(p, pull, err);
  if (map) return bc_plot_map(p, pull, err);
  return BC_FAIL(
      err, BC_E_INVAL,
      "%s: a picture shows a map (latitude, longitude) or at least two steps of time; write .csv instead",
      bc_var_text(v, text));
}

bc_status bc_write_png(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  bc_plot p = { .opts = opts, .in = in, .v = in->vars[0] };
  const int width = opts->width > 0 ? (int)opts->width : BC_PLOT_WIDTH;
  bc_pull pull;

  bc_pull_init(&pull, in);
  if (width < 300 || width > 10000) {
    st = BC_FAIL(err, BC_E_INVAL, "a picture %d pixels wide; the width must be 300 to 10000", width);
    goto out;
  }
  p.k = (double)width / BC_PLOT_WIDTH;
  bc_plot_words(&p);
  BC_TRY(bc_pull_begin(&pull, 0, err));
  BC_TRY(draw(&p, &pull, err));
  BC_TRY(bc_canvas_png(&p.canvas, out, err));
out:
  bc_canvas_dispose(&p.canvas);
  bc_pull_dispose(&pull);
  return st;
}
