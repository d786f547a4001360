/*
 * The selection as options, shared by query and plot; what an answer is, in words; drawing it.
 */
#ifndef BCT_SELECTION_H
#define BCT_SELECTION_H

#include "formats/sink.h"
#include "query/query.h"
#include "tools/bctool/opt.h"

typedef struct bct_selection {
  bct_list vars, at, levels, points;
  const char *bbox, *time, *agg, *every, *lat, *lon;
} bct_selection;

/* Rows of an option table; m: the member of type bct_selection in the argument struct T. */
#define BCT_SELECTION_OPTS(T, m)                                                                             \
  BCT_HEADING("What"),                                                                                       \
      BCT_OPT(LIST, 0, "var", "NAMES", T, m.vars,                                                            \
              "variables: t2m, surface/t2m, globs such as swvl*, joined by commas (all of them)"),           \
      BCT_OPT(LIST, 0, "level", "LEVELS", T, m.levels, "only these levels: 500,850"),                        \
      BCT_OPT(TEXT, 0, "time", "A/B", T, m.time,                                                             \
              "time span in UTC, both ends included at their precision: 2019-03 is all of March; 2000/2020 " \
              "ends with the last step of 2020; .. is open"),                                                \
      BCT_HEADING("Where"),                                                                                  \
      BCT_OPT(TEXT, 0, "bbox", "W,S,E,N", T, m.bbox,                                                         \
              "box in degrees, nodes on the edge included; W > E crosses 180; without it all that any of "   \
              "the variables has"),                                                                          \
      BCT_OPT(LIST, 0, "at", "LAT,LON", T, m.at, "the node nearest to a point; may be repeated"),            \
      BCT_OPT(LIST, 0, "points", "FILE", T, m.points,                                                        \
              "the same for the points of a CSV file with columns lat and lon; may be repeated"),            \
      BCT_HEADING("How"),                                                                                    \
      BCT_OPT(                                                                                               \
          TEXT, 0, "agg", "HOW:PERIOD", T, m.agg,                                                            \
          "reduce each period: mean, min, max, sum, first or count; of 6h, 1d, 1mo, 1y; "                    \
          "10d: dekads, from the 1st, 11th and 21st; other days and hours: fixed lengths from 1970-01-01"),  \
      BCT_OPT(TEXT, 0, "every", "N[,M]", T, m.every, "every N-th step, and every M-th row and column"),      \
      BCT_OPT(CHOICE, 0, "lat", "asc|desc", T, m.lat, "order of latitudes (desc: north first)"),             \
      BCT_OPT(CHOICE, 0, "lon", "0-360|-180-180", T, m.lon, "longitudes as 0..360 (-180..180)")

/* Parses into sel, which the caller has initialised and disposes of. */
bc_status bct_selection_parse(const bct_selection *args, bc_select *sel, bc_err *err) BC_MUST_CHECK;

/* One line per variable on stderr: steps, span, box, nodes, bytes. */
void bct_say_answer(const bc_query *q);
uint64_t bct_var_bytes(const bc_var *v);
/* "744 x 33 x 49" */
char *bct_text_shape(char *buf, const bc_var *v);
/* Values of a coordinate's first and last element; false when v has no such dimension or it is empty. */
bool bct_coord_ends(const bc_var *v, bc_dim dim, double *first, double *last);

/*
 * Write the answer to a file, or to stdout ("-"); says which file was written and, when damaged blocks were
 * skipped, how many. A bar is shown unless the answer itself goes to a terminal.
 */
bc_status bct_write_answer(bc_query *q, const bc_sink_opts *sink, const char *path,
                           bc_err *err) BC_MUST_CHECK;

/*
 * Draw the selection to a PNG: a series of points, or a map, which is of the first step and level (says so
 * when more were selected; sel is narrowed to it), with the coast where the store has lsm.
 */
bc_status bct_draw(bc_store *store, bc_select *sel, const bc_query_opts *opts, const bc_sink_opts *sink,
                   const char *path, bc_err *err) BC_MUST_CHECK;

#endif
