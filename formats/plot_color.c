/* The colours of a map: which scale suits a field, and from which value to which it goes. */
#include "formats/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE = 1 << 20 /* values that the colour range is taken from */ };

static bool has_word(const char *text, const char *word)
{
  return text != NULL && strstr(text, word) != NULL;
}

static bool is_one_of(const char *s, const char *const *list)
{
  for (; *list != NULL; list++) {
    if (strcmp(*list, s) == 0) return true;
  }
  return false;
}

static const char *auto_scale(const bc_plot *p, const bc_field *f)
{
  static const char *const k_temperature[] = { "K", "degC", "Celsius", "celsius", "degree_Celsius", NULL };
  static const char *const k_rain[] = { "tp", "cp", "lsp", "mtpr", "ptype", "sf", "ro", "e", NULL };
  static const char *const k_height[] = { "z", "orog", "oro", "sdor", NULL };
  const bc_var *v = p->v;
  const char *name = bc_var_attr(v, "standard_name");
  const bool one_sign = f->min >= 0 || f->max <= 0;

  if (has_word(name, "precipitation") || has_word(name, "rainfall") || is_one_of(v->name, k_rain))
    return "rain";
  if (is_one_of(v->units, k_temperature) && !has_word(name, "difference")) return "thermal";
  if (bc_var_dim(v, BC_DIM_LEVEL) < 0 &&
      (is_one_of(v->name, k_height) || has_word(name, "surface_altitude") || has_word(name, "geopotential")))
    return "terrain";
  /* Both signs in earnest, not a rounding below zero. */
  if (!one_sign && fmin(-f->min, f->max) > 0.05 * fmax(-f->min, f->max)) return "balance";
  return "viridis";
}

static bc_status choose_scale(const bc_plot *p, const bc_field *f, bc_colors *c, const char **name,
                              bc_err *err)
{
  const char *asked = p->opts->colormap;

  *name = asked == NULL || strcmp(asked, "auto") == 0 ? auto_scale(p, f) : asked;
  if (!bc_scale_init(&c->scale, *name))
    return BC_FAIL(err, BC_E_INVAL,
                   "unknown colour map \"%s\"; there are: auto, viridis, thermal, balance, rain, terrain",
                   asked);
  return BC_OK;
}

static int compare(const void *a, const void *b)
{
  float x, y;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return (x > y) - (x < y);
}

/* A few far-off values must not take the colours from all others: leave out 0.2 % at an end when that
 * shortens the range by more than a seventh. */
static bc_status inner_range(const bc_field *f, bc_colors *c, bc_err *err)
{
  const uint64_t all = (uint64_t)f->nx * (uint64_t)f->ny, step = all / SAMPLE + 1;
  float *s = bc_malloc((size_t)(all / step + 1) * sizeof *s);
  size_t n = 0;

  if (s == NULL) return BC_FAIL(err, BC_E_NOMEM, "no memory for the range of colours");
  for (uint64_t i = 0; i < all; i += step) {
    if (isfinite(f->value[i])) s[n++] = f->value[i];
  }
  if (n >= 500) {
    qsort(s, n, sizeof *s, compare);
    const double a = (double)s[n / 500], b = (double)s[n - 1 - n / 500], cut = (f->max - f->min) / 7;
    if (a - f->min > cut) c->lo = a;
    if (f->max - b > cut) c->hi = b;
  }
  bc_free(s);
  return BC_OK;
}

static bc_status choose_range(const bc_plot *p, const bc_field *f, const char *scale, bc_colors *c,
                              bc_err *err)
{
  const bc_sink_opts *o = p->opts;

  c->lo = f->min;
  c->hi = f->max;
  if (o->has_range) {
    if (!(o->vmin < o->vmax))
      return BC_FAIL(err, BC_E_INVAL, "colours from %g to %g: the first must be the smaller", o->vmin,
                     o->vmax);
    c->lo = o->vmin;
    c->hi = o->vmax;
    return BC_OK;
  }
  if (f->valid == 0) return BC_OK;
  BC_RET(inner_range(f, c, err));
  if (strcmp(scale, "balance") == 0) {
    c->hi = fmax(fabs(c->lo), fabs(c->hi));
    c->lo = -c->hi;
  }
  if (strcmp(scale, "rain") == 0 && c->lo >= 0) c->lo = 0;
  /* The sea has heights around zero, some below: it gets the scale's own end. */
  if (strcmp(scale, "terrain") == 0 && c->lo < 0 && -c->lo < 0.1 * c->hi) c->lo = 0;
  if (!(c->hi > c->lo)) { /* one value everywhere */
    const double half = c->lo != 0 ? fabs(c->lo) * 0.01 : 0.5;
    c->lo -= half;
    c->hi += half;
  }
  return BC_OK;
}

bc_status bc_plot_colors(const bc_plot *p, const bc_field *f, bc_colors *c, bc_err *err)
{
  const char *scale = NULL;

  BC_RET(choose_scale(p, f, c, &scale, err));
  return choose_range(p, f, scale, c, err);
}
