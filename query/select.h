/*
 * A selection: variables, place, time, levels, reduction. Text forms are those of the command line and of
 * Python.
 *
 * Lifetime: bc_select owns its lists; bc_select_init, any number of bc_select_add and set functions, then
 * bc_select_dispose. Threads: plain data.
 */
#ifndef BC_QUERY_SELECT_H
#define BC_QUERY_SELECT_H

#include "../store/datetime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bc_point {
  double lat, lon; /* degrees north, degrees east in any convention */
} bc_point;

typedef enum bc_agg {
  BC_AGG_NONE = 0,
  BC_AGG_MEAN,
  BC_AGG_MIN,
  BC_AGG_MAX,
  BC_AGG_SUM,
  BC_AGG_FIRST,
  BC_AGG_COUNT
} bc_agg;

typedef struct bc_select {
  uint32_t version; /* BC_SELECT_VERSION */
  char **vars;      /* names, group/name, or globs; none = all */
  size_t n_vars;
  bool has_bbox;
  double west, south, east, north; /* west > east crosses 180 */
  bc_point *points;
  size_t n_points;
  int64_t t_begin, t_end; /* [begin, end); BC_TIME_OPEN_BEGIN / _END are open */
  double *levels;         /* none = all, in stored order; else in the caller's order */
  size_t n_levels;
  bc_agg agg;
  bc_period period;
  int64_t every_time;  /* 1 = every step */
  int64_t every_space; /* 1 = every node */
  bool lat_ascending;  /* default north to south */
  bool lon_360;        /* coordinates as 0..360 instead of -180..180 */
} bc_select;

#define BC_SELECT_VERSION  1u
#define BC_TIME_OPEN_BEGIN INT64_MIN
#define BC_TIME_OPEN_END   INT64_MAX

BC_API void bc_select_init(bc_select *s);
BC_API void bc_select_dispose(bc_select *s); /* safe twice */

/* Each parses one option's text, adding to lists or setting; BC_E_INVAL says what was found and what is
 * expected. */
BC_API bc_status bc_select_add_vars(bc_select *s, const char *text,
                                    bc_err *err) BC_MUST_CHECK; /* "t2m,atmospheric/z,swvl*" */
BC_API bc_status bc_select_set_bbox(bc_select *s, const char *text,
                                    bc_err *err) BC_MUST_CHECK;                               /* "W,S,E,N" */
BC_API bc_status bc_select_add_at(bc_select *s, const char *text, bc_err *err) BC_MUST_CHECK; /* "LAT,LON" */
BC_API bc_status bc_select_set_time(bc_select *s, const char *text,
                                    bc_err *err) BC_MUST_CHECK; /* "2019-03", "2000/2020", "../2010" */
BC_API bc_status bc_select_add_levels(bc_select *s, const char *text,
                                      bc_err *err) BC_MUST_CHECK;                              /* "500,850" */
BC_API bc_status bc_select_set_agg(bc_select *s, const char *text, bc_err *err) BC_MUST_CHECK; /* "mean:1d" */
BC_API bc_status bc_select_set_every(bc_select *s, const char *text,
                                     bc_err *err) BC_MUST_CHECK; /* "N" steps, "N,M" also nodes */
/** Points from a CSV file with columns lat/latitude/decimalLatitude and lon/longitude/decimalLongitude (any
 * order, other columns ignored, comma, semicolon or tab, UTF-8); errors name file, line and column. */
BC_API bc_status bc_select_add_points_file(bc_select *s, const char *path, bc_err *err) BC_MUST_CHECK;
/** The reverse, for messages: "mean:1d". */
BC_API const char *bc_agg_name(bc_agg a);

#ifdef __cplusplus
}
#endif
#endif
