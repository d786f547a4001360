/* The positions of variables as rows of a table: time, level, latitude, longitude or point. Internal. */
#ifndef BC_FORMATS_ROWS_H
#define BC_FORMATS_ROWS_H

#include "formats/sink_int.h"

/* Row r stands for the indices i[] of axes 0..3: time, level, latitude, longitude; or time, level, point. */
typedef struct bc_rows {
  const bc_var *time;         /* whose times these are; NULL: no time */
  const bc_var *var;          /* whose other coordinates these are */
  int64_t n[4];               /* times, levels, latitudes, longitudes or points; 1 where there is none */
  bool points;                /* n[3] counts points, n[2] is 1 */
  int level, lat, lon, point; /* dimensions of var; -1 when it has none */
} bc_rows;

/* Positions of one variable. */
void bc_rows_of_var(bc_rows *r, const bc_var *v);
/* Positions of all of them together; false when they do not share all axes. A variable without time goes with
 * others that have one. */
bool bc_rows_of_stream(bc_rows *r, const bc_stream *in);
uint64_t bc_rows_count(const bc_rows *r);
/* Rows of one time: the values that a variable without time repeats. */
uint64_t bc_rows_frame(const bc_rows *r);
/* Indices of row. */
void bc_rows_index(const bc_rows *r, uint64_t row, int64_t i[4]);

int64_t bc_rows_time(const bc_rows *r, int64_t i); /* seconds */
double bc_rows_level(const bc_rows *r, int64_t i); /* only with level >= 0 */
double bc_rows_lat(const bc_rows *r, int64_t ilat, int64_t ilon);
double bc_rows_lon(const bc_rows *r, int64_t ilon);
bool bc_rows_has_place(const bc_rows *r); /* latitude and longitude */

#endif
