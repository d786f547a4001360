/* PNG: which picture to draw, what is written on all of them, and the encoder. */
#include "formats/plot.h"

#include <math.h>
#include <png.h>
#include <stdio.h>
#include <string.h>

#include "store/datetime.h"

const bc_color bc_black = { 28, 30, 34 }, bc_grey = { 105, 110, 118 }, bc_white = { 255, 255, 255 };

/* ---- encoder ---- */

bc_status bc_canvas_png(const bc_canvas *c, struct bc_out *out, bc_err *err)
{
  bc_status st = BC_OK;
  png_image image = { .version = PNG_IMAGE_VERSION, .width = (png_uint_32)c->w, .height = (png_uint_32)c->h };

  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t n = PNG_IMAGE_PNG_SIZE_MAX(image);
  uint8_t *file = bc_malloc(n);
  if (file == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for a picture of %zu bytes", (size_t)n);
  if (png_image_write_to_memory(&image, file, &n, 0, c->rgb, 0, NULL) == 0)
    st = BC_FAIL_SYS(err, BC_E_INTERNAL, "png", (int)image.warning_or_error, "%s: libpng: %s", out->path,
                     image.message);
  else
    st = bc_out_write(out, file, n, err);
  png_image_free(&image);
  bc_free(file);
  return st;
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

/* "maximum (interval: 1 day)": the last of the cell methods, which is that of the query; "" without one. */
static const char *aggregate_words(const bc_var *v, char *buf, size_t cap)
{
  const char *p = bc_var_attr(v, "cell_methods"), *last = NULL;

  while (p != NULL && (p = strstr(p, "time: ")) != NULL)
    last = p += strlen("time: ");
  (void)snprintf(buf, cap, "%s", last != NULL ? last : "");
  return buf;
}

void bc_plot_words(bc_plot *p)
{
  const char *name = bc_var_attr(p->v, "long_name");
  char method[96];

  plain_units(p->units, sizeof p->units, p->v->units);
  p->subtitle[0] = '\0';
  if (p->opts->title != NULL)
    (void)bc_copy_text(p->title, sizeof p->title, p->opts->title);
  else if (name != NULL && !same_text(name, p->v->name))
    (void)snprintf(p->title, sizeof p->title, "%s (%s)", name, p->v->name);
  else
    (void)bc_copy_text(p->title, sizeof p->title, p->v->name);
  if (p->v->time_bounds != NULL) bc_plot_note(p, aggregate_words(p->v, method, sizeof method));
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

char *bc_instant_text(int64_t t, char *buf)
{
  const bc_civil c = bc_time_to_civil(t);
  (void)snprintf(buf, BC_TIME_TEXT, "%04d-%02d-%02d %02d:%02d", (int)c.year, (int)c.month, (int)c.day,
                 (int)c.hour, (int)c.minute);
  return buf;
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
