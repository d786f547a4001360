/*
 * Numbers as people read them, and tables. See ui.h.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/datetime.h"
#include "tools/bctool/ui.h"
#include "tools/bctool/util.h"

#define SECONDS_PER_MONTH INT64_C(2629746) /* the cadence of monthly data: see bc_modality */

/* ---- numbers ---- */

char *bct_text_bytes(char *buf, uint64_t bytes)
{
  static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
  double v = (double)bytes;
  size_t u = 0;

  while (v >= 999.5 && u + 1 < BCT_ARRAY_LEN(units)) {
    v /= 1000;
    u++;
  }
  (void)snprintf(buf, BCT_TEXT_MAX, u > 0 && v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
  return buf;
}

char *bct_text_count(char *buf, uint64_t n, const char *noun)
{
  (void)snprintf(buf, BCT_TEXT_MAX, "%llu %s%s", (unsigned long long)n, noun, n == 1 ? "" : "s");
  return buf;
}

char *bct_text_seconds(char *buf, double seconds)
{
  const long s = (long)BCT_MIN(seconds + 0.5, 3e8);

  if (seconds < 10)
    (void)snprintf(buf, BCT_TEXT_MAX, "%.1f s", seconds);
  else if (s < 60)
    (void)snprintf(buf, BCT_TEXT_MAX, "%ld s", s);
  else if (s < 3600)
    (void)snprintf(buf, BCT_TEXT_MAX, "%ld:%02ld min", s / 60, s % 60);
  else
    (void)snprintf(buf, BCT_TEXT_MAX, "%ld:%02ld h", s / 3600, s % 3600 / 60);
  return buf;
}

char *bct_text_ratio(char *buf, uint64_t from, uint64_t to)
{
  if (to == 0)
    (void)snprintf(buf, BCT_TEXT_MAX, "-");
  else
    (void)snprintf(buf, BCT_TEXT_MAX, "%.*fx", from / to < 100 ? 1 : 0, (double)from / (double)to);
  return buf;
}

/* a and b with the letters of their halves; joined when they stand in the same half and in order */
static char *degrees(char *buf, double a, double b, char plus, char minus)
{
  const char ha = a < 0 ? minus : plus, hb = b < 0 ? minus : plus;

  if (!(a < b) && !(b < a))
    (void)snprintf(buf, BCT_TEXT_MAX, "%.7g %c", fabs(a), ha);
  else if (ha == hb && a < b)
    (void)snprintf(buf, BCT_TEXT_MAX, "%.7g..%.7g %c", fabs(a), fabs(b), ha);
  else
    (void)snprintf(buf, BCT_TEXT_MAX, "%.7g %c..%.7g %c", fabs(a), ha, fabs(b), hb);
  return buf;
}

char *bct_text_lat(char *buf, double a, double b)
{
  return degrees(buf, BCT_MIN(a, b), BCT_MAX(a, b), 'N', 'S');
}

char *bct_text_lon(char *buf, double a, double b)
{
  return degrees(buf, bc_lon_180(a), bc_lon_180(b), 'E', 'W');
}

/* Without the seconds when they are 0; without the time of day when that is 0 and day_only. */
static void instant(char *buf, int64_t t, bool day_only)
{
  (void)bc_time_format(t, buf);
  if (day_only)
    buf[10] = '\0';
  else if (t % 60 == 0)
    memcpy(buf + 16, "Z", 2);
}

char *bct_text_span(char *buf, int64_t first, int64_t last)
{
  const bool day_only = first != last && first % 86400 == 0 && last % 86400 == 0;
  char a[BC_TIME_TEXT], b[BC_TIME_TEXT];

  if (first == BC_TIME_STATIC) {
    (void)snprintf(buf, BCT_TEXT_MAX, "static");
    return buf;
  }
  instant(a, first, day_only);
  instant(b, last, day_only);
  if (first == last)
    (void)snprintf(buf, BCT_TEXT_MAX, "%s", a);
  else
    (void)snprintf(buf, BCT_TEXT_MAX, "%s..%s", a, b);
  return buf;
}

char *bct_text_cadence(char *buf, int64_t seconds)
{
  static const struct {
    int64_t n;
    const char *name;
  } units[] = { { 12 * SECONDS_PER_MONTH, "year" },
                { SECONDS_PER_MONTH, "month" },
                { 86400, "day" },
                { 3600, "hour" },
                { 60, "minute" },
                { 1, "second" } };

  if (seconds <= 0) {
    (void)snprintf(buf, BCT_TEXT_MAX, "-");
    return buf;
  }
  for (size_t i = 0; i < BCT_ARRAY_LEN(units); i++) {
    if (seconds % units[i].n != 0) continue;
    const long long n = (long long)(seconds / units[i].n);
    (void)snprintf(buf, BCT_TEXT_MAX, "%lld %s%s", n, units[i].name, n == 1 ? "" : "s");
    break;
  }
  return buf;
}

char *bct_text_number(char *buf, double v)
{
  if (isnan(v))
    (void)snprintf(buf, BCT_TEXT_MAX, "-");
  else
    (void)snprintf(buf, BCT_TEXT_MAX, "%.7g", v);
  return buf;
}

char *bct_text_grid(char *buf, size_t cap, const bc_grid *g)
{
  char lat[BCT_TEXT_MAX], lon[BCT_TEXT_MAX], step[BCT_TEXT_MAX], cell[40] = "one cell";

  if (g->cell != 0) (void)snprintf(cell, sizeof cell, "cells of %u x %u", g->cell, g->cell);
  if (fabs(g->dx + g->dy) < 1e-9)
    (void)snprintf(step, sizeof step, "%.7g", g->dx);
  else
    (void)snprintf(step, sizeof step, "%.7g x %.7g", -g->dy, g->dx);
  (void)snprintf(buf, cap, "%s: %u x %u nodes, step %s, %s, %s, %s, %s", g->name, g->ny, g->nx, step,
                 bct_text_lat(lat, g->y0, bc_grid_y(g, (int64_t)g->ny - 1)),
                 bct_text_lon(lon, g->x0, bc_grid_x(g, (int64_t)g->nx - 1)), g->crs, cell);
  return buf;
}

/* ---- tables ---- */

#define MAX_COLUMNS 20

struct bct_table {
  char **cells; /* the heads come first */
  size_t n, cap, n_columns;
  bool right[MAX_COLUMNS];
  bool short_of_memory;
};

static void put(bct_table *t, char *text)
{
  if (t->n == t->cap && text != NULL) {
    const size_t cap = t->cap == 0 ? 256 : 2 * t->cap;
    char **const cells = realloc(t->cells, cap * sizeof *cells);
    if (cells != NULL) {
      t->cells = cells;
      t->cap = cap;
    }
  }
  if (text == NULL || t->n == t->cap) {
    t->short_of_memory = true;
    free(text);
    return;
  }
  t->cells[t->n++] = text;
}

bct_table *bct_table_open(const char *const *heads)
{
  bct_table *const t = calloc(1, sizeof *t);

  if (t == NULL) return NULL;
  for (; *heads != NULL && t->n_columns < MAX_COLUMNS; heads++) {
    t->right[t->n_columns++] = **heads == '>';
    put(t, strdup(**heads == '>' ? *heads + 1 : *heads));
  }
  return t;
}

void bct_table_cell(bct_table *t, const char *fmt, ...)
{
  char text[512];
  va_list ap;

  if (t == NULL) return;
  va_start(ap, fmt);
  (void)vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  put(t, strdup(text));
}

static int text_width(const char *s)
{
  int n = 0;

  for (; *s != '\0'; s++)
    n += ((unsigned char)*s & 0xC0u) != 0x80u; /* UTF-8 continuation bytes take no room */
  return n;
}

int bct_table_print(const bct_table *t)
{
  int width[MAX_COLUMNS] = { 0 };

  if (t == NULL || t->short_of_memory) {
    (void)bct_usage("not enough memory for the table");
    return BCT_EXIT_MACHINE;
  }
  for (size_t i = 0; i < t->n; i++)
    width[i % t->n_columns] = BCT_MAX(width[i % t->n_columns], text_width(t->cells[i]));
  for (size_t i = 0; i < t->n; i++) {
    const size_t c = i % t->n_columns;
    const int pad = width[c] - text_width(t->cells[i]);
    const bool last = c + 1 == t->n_columns;
    if (t->right[c])
      (void)printf("%*s%s", pad, "", t->cells[i]);
    else
      (void)printf("%s%*s", t->cells[i], last ? 0 : pad, "");
    (void)fputs(last ? "\n" : "  ", stdout);
  }
  return BCT_EXIT_OK;
}

void bct_table_close(bct_table *t)
{
  if (t == NULL) return;
  for (size_t i = 0; i < t->n; i++)
    free(t->cells[i]);
  free(t->cells);
  free(t);
}
