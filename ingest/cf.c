/*
 * CF conventions without netCDF: what an axis is, and names. Time is in cf_time.c, packing in cf_unpack.c.
 * See cf.h.
 */
#include "ingest/cf.h"

#include <string.h>

#include "ingest/cf_text.h"

/* ---- axes ---- */
/* "degrees north", "Degree_N" -> lower case with one '_' for blanks */
static void plain_unit(const char *in, char *out, size_t cap)
{
  size_t n = 0;

  for (in = bc_cf_skip_blanks(in); *in != '\0' && n + 1 < cap; in++)
    out[n++] = bc_cf_is_blank(*in) ? '_' : bc_cf_lower(*in);
  while (n > 0 && out[n - 1] == '_')
    n--;
  out[n] = '\0';
}

static bc_cf_kind kind_by_units(const char *units)
{
  static const char *const lat[] = { "degrees_north", "degree_north", "degrees_n",
                                     "degree_n",      "degreesn",     "degreen" };
  static const char *const lon[] = { "degrees_east", "degree_east", "degrees_e",
                                     "degree_e",     "degreese",    "degreee" };
  char u[32];
  double factor;

  if (units == NULL) return BC_CF_OTHER;
  if (bc_cf_is_since(units)) return BC_CF_TIME;
  plain_unit(units, u, sizeof u);
  if (BC_CF_ONE_OF(u, lat)) return BC_CF_LAT;
  if (BC_CF_ONE_OF(u, lon)) return BC_CF_LON;
  return bc_cf_pressure(units, &factor) ? BC_CF_LEVEL : BC_CF_OTHER;
}

static bc_cf_kind kind_by_standard_name(const char *s)
{
  static const char *const level[] = { "air_pressure",       "height",
                                       "altitude",           "depth",
                                       "model_level_number", "geopotential_height" };

  if (s == NULL) return BC_CF_OTHER;
  if (bc_cf_same(s, "latitude")) return BC_CF_LAT;
  if (bc_cf_same(s, "longitude")) return BC_CF_LON;
  if (bc_cf_same(s, "time") || bc_cf_same(s, "forecast_reference_time")) return BC_CF_TIME;
  if (bc_cf_same(s, "realization")) return BC_CF_MEMBER;
  if (BC_CF_ONE_OF(s, level) || strstr(s, "_sigma_coordinate") != NULL || strstr(s, "hybrid") != NULL)
    return BC_CF_LEVEL;
  return BC_CF_OTHER;
}

static bc_cf_kind kind_by_name(const char *name)
{
  static const char *const lat[] = { "lat", "latitude", "lats", "latitudes" };
  static const char *const lon[] = { "lon", "longitude", "lons", "long", "longitudes" };
  static const char *const time[] = { "time",  "valid_time", "date", "month", "months", "year",
                                      "years", "day",        "days", "hour",  "hours",  "season" };
  static const char *const level[] = { "level",
                                       "pressure_level",
                                       "isobaricinhpa",
                                       "plev",
                                       "lev",
                                       "levels",
                                       "pressure",
                                       "isobaric",
                                       "height",
                                       "depth",
                                       "hybrid",
                                       "altitude",
                                       "depthbelowlandlayer",
                                       "heightaboveground",
                                       "model_level",
                                       "plevel" };
  static const char *const member[] = { "number", "member", "realization", "ensemble", "ensemble_member" };

  if (BC_CF_ONE_OF(name, lat)) return BC_CF_LAT;
  if (BC_CF_ONE_OF(name, lon)) return BC_CF_LON;
  if (BC_CF_ONE_OF(name, time)) return BC_CF_TIME;
  if (BC_CF_ONE_OF(name, level)) return BC_CF_LEVEL;
  if (BC_CF_ONE_OF(name, member)) return BC_CF_MEMBER;
  return BC_CF_OTHER;
}

bc_cf_kind bc_cf_kind_of(const bc_cf_axis *a)
{
  bc_cf_kind k;

  if (bc_cf_same(a->name, "expver")) return BC_CF_EXPVER;
  /* rotated and projected axes carry names and units that look like degrees north */
  if (a->standard_name != NULL &&
      (strncmp(a->standard_name, "grid_", 5) == 0 || strncmp(a->standard_name, "projection_", 11) == 0))
    return BC_CF_OTHER;
  k = kind_by_standard_name(a->standard_name);
  if (k == BC_CF_OTHER) k = kind_by_units(a->units);
  if (k == BC_CF_OTHER && bc_cf_same(a->axis, "T")) k = BC_CF_TIME;
  if (k == BC_CF_OTHER && bc_cf_same(a->axis, "Z")) k = BC_CF_LEVEL;
  if (k == BC_CF_OTHER) k = kind_by_name(a->name);
  if (k == BC_CF_OTHER && (bc_cf_same(a->positive, "up") || bc_cf_same(a->positive, "down"))) k = BC_CF_LEVEL;
  return k;
}

bool bc_cf_pressure(const char *units, double *to_hpa)
{
  static const char *const hpa[] = { "hpa",      "mbar",      "mbars",       "mb",
                                     "millibar", "millibars", "hectopascal", "hectopascals" };
  static const char *const pa[] = { "pa", "pascal", "pascals" };
  char u[32];

  if (units == NULL) return false;
  plain_unit(units, u, sizeof u);
  *to_hpa = BC_CF_ONE_OF(u, pa) ? 100 : 1;
  return BC_CF_ONE_OF(u, pa) || BC_CF_ONE_OF(u, hpa);
}

int bc_cf_expver(const char *text)
{
  int32_t v = 0;
  int n = 0;
  const char *p = bc_cf_read_digits(bc_cf_skip_blanks(text), 6, &v, &n);

  return n > 0 && *bc_cf_skip_blanks(p) == '\0' ? (int)v : -1;
}

/* ---- names ---- */
static size_t overlap(const char *const *list, const char *const *names, size_t n)
{
  size_t hits = 0;

  for (size_t i = 0; list[i] != NULL; i++) {
    for (size_t j = 0; j < n; j++) {
      if (strcmp(list[i], names[j]) == 0) {
        hits++;
        break;
      }
    }
  }
  return hits;
}

const char *bc_cf_group(const char *const *names, size_t n, bool has_levels)
{
  static const struct {
    const char *group;
    const char *vars[11];
  } k_groups[] = { /* in this order: a tie goes to the earlier one */
                   { "surface", { "msl", "t2m", "u10", "v10" } },
                   { "single", { "slt", "z", "lsm" } },
                   { "atmospheric", { "t", "q", "u", "v", "z" } },
                   { "edaphic", { "stl1", "stl2", "swvl1", "swvl2" } },
                   { "climate",
                     { "d2m", "tp", "avg_sdswrf", "avg_sdswrfcs", "avg_snlwrf", "avg_snswrf", "avg_tprate",
                       "csfr", "sd", "smlt" } }
  };
  const char *best = "misc";
  size_t most = 0;

  for (size_t g = 0; g < BC_ARRAY_LEN(k_groups); g++) {
    const size_t hits = overlap(k_groups[g].vars, names, n);
    /* z alone is the height of the ground, unless it comes on levels. */
    const bool on_levels =
        has_levels && hits > 0 && hits >= most && strcmp(k_groups[g].group, "atmospheric") == 0;
    if (hits > most || on_levels) {
      most = hits;
      best = k_groups[g].group;
    }
  }
  return best;
}

bool bc_cf_clean_name(const char *in, char *out, size_t cap)
{
  size_t n = 0;

  for (; *in != '\0' && n + 1 < cap; in++) {
    const char c = *in;
    const bool fine = bc_cf_is_digit(c) || (bc_cf_lower(c) >= 'a' && bc_cf_lower(c) <= 'z') || c == '_' ||
                      c == '.' || c == '-';
    out[n++] = fine ? c : '_';
  }
  out[n] = '\0';
  return n > 0 && *in == '\0';
}
