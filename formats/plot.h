/* What the two kinds of picture share. Internal. */
#ifndef BC_FORMATS_PLOT_H
#define BC_FORMATS_PLOT_H

#include "formats/draw.h"
#include "formats/sink_int.h"

enum { BC_PLOT_WIDTH = 1000, BC_PLOT_LINES = 8 /* more lines are not told apart */ };

typedef struct bc_plot {
  bc_canvas canvas;
  const bc_sink_opts *opts;
  const bc_stream *in;
  const bc_var *v;
  double k;       /* pixels per pixel of a picture 1000 wide */
  int x, y, w, h; /* the plot inside the picture */
  char title[256], subtitle[256];
  char units[64];
} bc_plot;

extern const bc_color bc_black, bc_grey, bc_white;

/* Length in pixels of what would be n in a picture 1000 wide. */
int bc_px(const bc_plot *p, double n);
/* Title from options, long_name or name; units; subtitle empty. */
void bc_plot_words(bc_plot *p);
/* Appends to the subtitle, with a separator. */
void bc_plot_note(bc_plot *p, const char *text);
/* Titles above the plot, cut where the picture ends. */
void bc_plot_titles(bc_plot *p);
/* "51.5\xc2\xb0N", "180\xc2\xb0"; decimals < 0: as many as are needed, up to 3 */
void bc_degree_text(char *buf, size_t cap, double deg, bool lat, int decimals);

/* "2019-03-01 00:00"; buf has BC_TIME_TEXT bytes; returns buf. */
char *bc_instant_text(int64_t t, char *buf);

/* Both read what they need of the pull's variable, which was begun, and make the canvas. */
bc_status bc_plot_map(bc_plot *p, bc_pull *pull, bc_err *err) BC_MUST_CHECK;
bc_status bc_plot_series(bc_plot *p, bc_pull *pull, bc_err *err) BC_MUST_CHECK;

/* One step of a variable, as a map shows it. */
typedef struct bc_field {
  int64_t nx, ny;
  float *value;         /* ny x nx, as they come */
  double min, max, sum; /* of the values */
  uint64_t valid;
} bc_field;

typedef struct bc_colors {
  bc_scale scale;
  double lo, hi; /* values at its ends */
} bc_colors;

/* What the options ask for, else what suits the variable and its values. */
bc_status bc_plot_colors(const bc_plot *p, const bc_field *f, bc_colors *out, bc_err *err) BC_MUST_CHECK;

/* The 0.5 contour of a land fraction over the map; x of a longitude is affine: x = x0 + lon * per_degree, and
 * y likewise. Gathers ink only. */
void bc_plot_coast(bc_canvas *c, const bc_block *land, double x0, double x_deg, double y0, double y_deg,
                   double width);

#endif
