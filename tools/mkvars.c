/* Formulas are chosen for their ranges, not for their physics: what they imitate is in k_levels and in the
 * published means of monthly ERA5 over Europe. */
#include "tools/mkvars.h"

#include <math.h>
#include <string.h>

enum kind {
  K_T2M,
  K_D2M,
  K_SST,
  K_U10,
  K_V10,
  K_MSL,
  K_TP,
  K_TPRATE,
  K_CSFR,
  K_SD,
  K_SMLT,
  K_SDSWRF,
  K_SNSWRF,
  K_SDSWRFCS,
  K_SSRD,
  K_SNLWRF,
  K_SLHTF,
  K_PEVR,
  K_SWVL1,
  K_SWVL2,
  K_STL1,
  K_STL2,
  K_ZS,
  K_LSM,
  K_SLT,
  K_LEVEL_Z,
  K_LEVEL_T,
  K_LEVEL_U,
  K_LEVEL_V,
  K_LEVEL_Q
};

/* short names as in GRIB; the CF name stands in two attributes */
#define SURFACE(name, shrt, id, text, unit, cf, data, step, kind, n0, n1)                                    \
  {                                                                                                          \
    name, shrt, text, unit, cf, cf, data, step, id, false, false, kind, { n0, n1 }                           \
  }
#define FIXED(name, shrt, id, text, unit, cf, kind)                                                          \
  {                                                                                                          \
    name, shrt, text, unit, cf, cf, "an", "instant", id, false, true, kind, { NULL, NULL }                   \
  }
#define LEVEL(name, shrt, id, text, unit, cf, kind, n0, n1)                                                  \
  {                                                                                                          \
    name, shrt, text, unit, cf, cf, "an", "instant", id, true, false, kind, { n0, n1 }                       \
  }

static const mk_var k_vars[] = {
  SURFACE("t2m", "2t", 167, "2 metre temperature", "K", "unknown", "an", "instant", K_T2M, "t2m", NULL),
  SURFACE("d2m", "2d", 168, "2 metre dewpoint temperature", "K", "unknown", "an", "instant", K_D2M, "t2m",
          "d2m"),
  SURFACE("sst", "sst", 34, "Sea surface temperature", "K", "unknown", "an", "instant", K_SST, "sst", NULL),
  SURFACE("u10", "10u", 165, "10 metre U wind component", "m s**-1", "unknown", "an", "instant", K_U10, "u10",
          NULL),
  SURFACE("v10", "10v", 166, "10 metre V wind component", "m s**-1", "unknown", "an", "instant", K_V10, "v10",
          NULL),
  SURFACE("msl", "msl", 151, "Mean sea level pressure", "Pa", "air_pressure_at_mean_sea_level", "an",
          "instant", K_MSL, "msl", NULL),
  SURFACE("tp", "tp", 228, "Total precipitation", "m", "unknown", "fc", "accum", K_TP, "rain", NULL),
  SURFACE("avg_tprate", "avg_tprate", 235055, "Time-mean total precipitation rate", "kg m**-2 s**-1",
          "unknown", "fc", "avg", K_TPRATE, "rain", NULL),
  SURFACE("csfr", "csfr", 228220, "Convective snowfall rate water equivalent", "kg m**-2 s**-1", "unknown",
          "fc", "instant", K_CSFR, "t2m", "rain"),
  SURFACE("sd", "sd", 141, "Snow depth", "m of water equivalent", "lwe_thickness_of_surface_snow_amount",
          "an", "instant", K_SD, "snow", NULL),
  SURFACE("smlt", "smlt", 45, "Snowmelt", "m of water equivalent", "unknown", "fc", "accum", K_SMLT, "snow",
          NULL),
  SURFACE("avg_sdswrf", "avg_sdswrf", 235035, "Time-mean surface downward short-wave radiation flux",
          "W m**-2", "unknown", "fc", "avg", K_SDSWRF, "cloud", NULL),
  SURFACE("avg_snswrf", "avg_snswrf", 235037, "Time-mean surface net short-wave radiation flux", "W m**-2",
          "unknown", "fc", "avg", K_SNSWRF, "cloud", NULL),
  SURFACE("avg_sdswrfcs", "avg_sdswrfcs", 235068,
          "Time-mean surface downward short-wave radiation flux, clear sky", "W m**-2", "unknown", "fc",
          "avg", K_SDSWRFCS, "clear", NULL),
  SURFACE("ssrd", "ssrd", 169, "Surface short-wave (solar) radiation downwards", "J m**-2",
          "surface_downwelling_shortwave_flux_in_air", "fc", "accum", K_SSRD, "cloud", NULL),
  SURFACE("avg_snlwrf", "avg_snlwrf", 235038, "Time-mean surface net long-wave radiation flux", "W m**-2",
          "unknown", "fc", "avg", K_SNLWRF, "longwave", NULL),
  SURFACE("avg_slhtf", "avg_slhtf", 235034, "Time-mean surface latent heat flux", "W m**-2", "unknown", "fc",
          "avg", K_SLHTF, "latent", NULL),
  SURFACE("avg_pevr", "avg_pevr", 235070, "Time-mean potential evaporation rate", "kg m**-2 s**-1", "unknown",
          "fc", "avg", K_PEVR, "pev", NULL),
  SURFACE("swvl1", "swvl1", 39, "Volumetric soil water layer 1", "m**3 m**-3", "unknown", "an", "instant",
          K_SWVL1, "soilwater", NULL),
  SURFACE("swvl2", "swvl2", 40, "Volumetric soil water layer 2", "m**3 m**-3", "unknown", "an", "instant",
          K_SWVL2, "soilwater", NULL),
  SURFACE("stl1", "stl1", 139, "Soil temperature level 1", "K", "surface_temperature", "an", "instant",
          K_STL1, "t2m", NULL),
  SURFACE("stl2", "stl2", 170, "Soil temperature level 2", "K", "unknown", "an", "instant", K_STL2, "t2m",
          NULL),
  FIXED("z", "z", 129, "Geopotential", "m**2 s**-2", "geopotential", K_ZS),
  FIXED("lsm", "lsm", 172, "Land-sea mask", "(0 - 1)", "land_binary_mask", K_LSM),
  FIXED("slt", "slt", 43, "Soil type", "(Code table 4.213)", "unknown", K_SLT),
  LEVEL("z", "z", 129, "Geopotential", "m**2 s**-2", "geopotential", K_LEVEL_Z, "zl", "zl'"),
  LEVEL("t", "t", 130, "Temperature", "K", "air_temperature", K_LEVEL_T, "tl", "tl'"),
  LEVEL("u", "u", 131, "U component of wind", "m s**-1", "eastward_wind", K_LEVEL_U, "ul", "ul'"),
  LEVEL("v", "v", 132, "V component of wind", "m s**-1", "northward_wind", K_LEVEL_V, "vl", "vl'"),
  LEVEL("q", "q", 133, "Specific humidity", "kg kg**-1", "specific_humidity", K_LEVEL_Q, "ql", "ql'"),
};
#define N_VARS (sizeof k_vars / sizeof k_vars[0])

/* Mean and standard deviation over Europe, monthly 2000-2020, per level: what the made-up fields imitate. */
static const struct level_stat {
  double hpa, mean[5], std[5]; /* z t u v q */
} k_levels[] = {
  { 1000, { 1096, 283.7, 0.887, -0.007, 6.07e-3 }, { 532, 8.56, 2.44, 2.28, 2.76e-3 } },
  { 925, { 7413, 279.9, 2.016, 0.206, 4.99e-3 }, { 609, 8.32, 3.38, 2.81, 2.00e-3 } },
  { 850, { 14180, 276.4, 3.044, 0.171, 3.83e-3 }, { 741, 7.88, 3.51, 2.81, 1.60e-3 } },
  { 700, { 29392, 268.3, 5.215, 0.112, 2.01e-3 }, { 1104, 7.17, 3.86, 3.33, 9.11e-4 } },
  { 600, { 41121, 261.2, 6.774, -0.014, 1.20e-3 }, { 1399, 6.98, 4.35, 3.84, 5.24e-4 } },
  { 500, { 54567, 252.2, 8.453, -0.193, 6.44e-4 }, { 1749, 6.87, 5.02, 4.45, 2.70e-4 } },
  { 400, { 70357, 240.6, 10.453, -0.438, 2.84e-4 }, { 2169, 6.61, 5.98, 5.27, 1.30e-4 } },
  { 300, { 89627, 226.5, 13.057, -0.817, 8.15e-5 }, { 2659, 5.49, 7.32, 6.27, 4.36e-5 } },
  { 250, { 101307, 220.4, 14.409, -1.059, 3.34e-5 }, { 2886, 4.35, 7.93, 6.52, 1.84e-5 } },
  { 200, { 115313, 217.8, 14.780, -1.071, 1.13e-5 }, { 3028, 4.46, 8.09, 6.02, 5.64e-6 } },
  { 150, { 133288, 217.3, 13.672, -0.680, 3.75e-6 }, { 3083, 4.71, 7.42, 5.06, 1.21e-6 } },
  { 100, { 158424, 214.7, 10.942, -0.669, 2.68e-6 }, { 3143, 5.59, 6.59, 4.25, 2.92e-7 } },
  { 50, { 201001, 214.0, 6.667, -1.319, 2.75e-6 }, { 3760, 6.31, 9.62, 3.77, 1.32e-7 } },
};
#define N_LEVELS (sizeof k_levels / sizeof k_levels[0])

float mk_clamp(float v, float lo, float hi) { return v < lo ? lo : v > hi ? hi : v; }

/* ---- formulas, a row at a time ---- */

static float temperature(const mk_row *r, size_t j, float diurnal, float noise_gain)
{
  const float s2 = r->s * r->s, s4 = s2 * s2;
  const float land = r->land[j];
  float t = 301.0f - 26.0f * s2 - 26.0f * s4 * s4;
  t += r->season * r->s * (6 + 7 * land);
  t += diurnal * r->c * r->sun[j] * (0.4f + 4.5f * land);
  t -= 0.0065f / 9.80665f * r->oro[j];
  t += 0.35f * r->rough[j] * land;
  return t + noise_gain * r->weak * (1.2f + 3.4f * s2) * r->n0[j];
}

static float sea_temperature(const mk_row *r, size_t j)
{
  const float s2 = r->s * r->s;
  const float t = 302.0f - 27.0f * s2 - 12.0f * s2 * s2 + r->season * r->s * 4 + 0.9f * r->n0[j];
  return t < 271.4604f ? 271.4604f : t;
}

/* Sunlight at the top of the air, W m-2: mean over the day, or at the hour when there is one. */
static float sunlight(const mk_row *r, size_t j)
{
  const float sd = sinf(r->decl), cd = cosf(r->decl);
  if (!r->monthly) {
    const float up = r->s * sd + r->c * cd * r->sun[j];
    return up > 0 ? 1361 * up : 0;
  }
  const float x = r->c * cd > 1e-6f ? mk_clamp(-r->s * sd / (r->c * cd), -1, 1) : (r->s * sd > 0 ? -1 : 1);
  const float h0 = acosf(x);
  return 1361 / (float)MK_PI * (h0 * r->s * sd + r->c * cd * sinf(h0));
}

/* m of water per day */
static float rain(const mk_row *r, size_t j, const float *n)
{
  const float wet = (0.55f + 0.45f * r->c) * (1 + 0.05e-3f * r->oro[j]);
  const float x = r->monthly ? 0.9f + 0.45f * n[j] : 0.15f + 0.8f * n[j];
  return x > 0 ? 0.0027f * wet * x * x : 0;
}

static float snow_depth(const mk_row *r, size_t j)
{
  const float cold = 273.0f - temperature(r, j, 0, 0.5f) + 2 * r->n0[j];
  return cold > 0 ? mk_clamp(cold * (cold > 18 ? 0.5f : 0.012f) * r->land[j], 0, 10) : 0;
}

static float soil_water(const mk_row *r, size_t j, float swing)
{
  if (r->land[j] < 0.05f) return 0;
  return mk_clamp(r->land[j] *
                      (0.29f - 0.05f * r->season * r->s + swing * (0.06f * r->n0[j] + 0.03f * r->rough[j])),
                  0, 0.75f);
}

/* How much warmer (in standard deviations of Europe) a latitude is than Europe. */
static float level_warmth(const mk_row *r)
{
  const float x = (0.62f - r->s * r->s) / 0.2f;
  return 2.2f * tanhf(x / 2.2f) + 0.55f * r->season * mk_clamp(2 * r->s, -1, 1);
}

static float level_wind(const mk_row *r)
{
  const float a = fabsf(r->lat), jet = (a - 42) / 17, trade = (a - 14) / 10;
  return 1.25f * expf(-jet * jet) - 0.35f * expf(-trade * trade);
}

static void level_row(const mk_row *r, int kind, float *out)
{
  const float warm = level_warmth(r), wind = level_wind(r);
  for (size_t j = 0; j < r->nx; j++) {
    const float n = (r->mix0 * r->n0[j] + r->mix1 * r->n1[j]) * (r->monthly ? 1 : 1.6f);
    if (kind == K_LEVEL_U)
      out[j] = r->mean * wind + 0.8f * r->std * r->c * n;
    else if (kind == K_LEVEL_V)
      out[j] = r->mean * r->c + r->std * r->c * n;
    else if (kind == K_LEVEL_Q)
      out[j] = r->mean * expf(mk_clamp(0.42f * warm + 0.22f * n, -3, 1.5f) * r->std / (0.45f * r->mean));
    else
      out[j] = r->mean + r->std * (0.8f * warm + 0.4f * n);
  }
}

static float value_heat(const mk_row *r, int kind, size_t j)
{
  switch (kind) {
  case K_T2M: return temperature(r, j, 1, 1);
  case K_D2M: return temperature(r, j, 0.3f, 1) - 3.2f - 0.7f * (1 + r->n1[j]) * (1 + r->n1[j]);
  case K_SST: return r->land[j] > 0.5f ? NAN : sea_temperature(r, j);
  case K_STL1: return temperature(r, j, 0.5f, 0.7f) + 0.8f;
  case K_STL2: return temperature(r, j, 0.05f, 0.5f) + 0.7f;
  case K_SWVL1: return soil_water(r, j, 1.2f);
  case K_SWVL2: return soil_water(r, j, 1.0f);
  case K_SD: return snow_depth(r, j);
  case K_SMLT: {
    const float warm = temperature(r, j, 0.5f, 0.5f) - 272.5f;
    return warm > 0 && warm < 8 ? r->land[j] * 0.0016f * warm * (8 - warm) / 16 : 0;
  }
  default: return r->land[j];
  }
}

static float value_air(const mk_row *r, int kind, size_t j)
{
  const float s2 = r->s * r->s;
  switch (kind) {
  case K_U10:
    return (-5 * cosf(6 * asinf(fabsf(r->s))) + 3.4f * r->weak * r->n0[j] + 0.3f * r->rough[j]) * r->c *
           (1 - 0.35f * r->land[j]);
  case K_V10:
    return (3.2f * r->weak * r->n0[j] - 0.8f * r->s + 0.3f * r->rough[j]) * r->c * (1 - 0.35f * r->land[j]);
  case K_MSL: return 101350 + 250 * (1 - 3 * s2) * r->c + (150 + 1000 * s2) * r->weak * r->n0[j];
  case K_TP: return rain(r, j, r->n0) / (r->monthly ? 1 : 24);
  case K_TPRATE: return rain(r, j, r->n0) / 86.4f;
  case K_CSFR: {
    const float cold = 274.5f - temperature(r, j, 1, 1);
    return cold > 0 ? 0.15f * mk_clamp(cold / 4, 0, 1) * rain(r, j, r->n1) / 86.4f : 0;
  }
  case K_SDSWRF: return sunlight(r, j) * mk_clamp(0.52f + 0.12f * r->n0[j], 0.1f, 0.75f);
  case K_SNSWRF: return sunlight(r, j) * mk_clamp(0.52f + 0.12f * r->n0[j], 0.1f, 0.75f) * 0.87f;
  case K_SDSWRFCS: return sunlight(r, j) * (0.74f + 0.01f * r->n0[j]);
  case K_SSRD: return 3600 * sunlight(r, j) * mk_clamp(0.52f + 0.12f * r->n0[j], 0.1f, 0.75f);
  case K_SNLWRF: return -60 - 18 * r->c * (1 + 0.3f * r->season * r->s) + 12 - 14 * r->n0[j];
  case K_SLHTF: return -8 - 95 * r->c * r->c * (1 - 0.35f * r->land[j]) + 18 * r->n0[j] * r->c;
  case K_PEVR: return -3.2e-5f * r->land[j] * r->c * mk_clamp(1 + r->season * r->s + 0.25f * r->n0[j], 0, 4);
  default: return 0;
  }
}

static float value_ground(const mk_row *r, int kind, size_t j)
{
  if (kind == K_ZS) return r->oro[j];
  if (kind == K_LSM) return r->land[j];
  return r->land[j] < 0.5f ? 0 : rintf(mk_clamp(2.4f + 1.2f * r->rough[j], 1, 7));
}

void mk_fill_row(const mk_row *r, const mk_var *v, float *out)
{
  const int kind = v->kind;
  if (kind >= K_LEVEL_Z) {
    level_row(r, kind, out);
    return;
  }
  for (size_t j = 0; j < r->nx; j++) {
    if (kind >= K_ZS)
      out[j] = value_ground(r, kind, j);
    else if (kind <= K_SST || (kind >= K_SWVL1 && kind <= K_STL2) || kind == K_SD || kind == K_SMLT)
      out[j] = value_heat(r, kind, j);
    else
      out[j] = value_air(r, kind, j);
  }
}

/* Mean and deviation at a level, linear in the logarithm of pressure; levels outside the table take its ends.
 */
void mk_level_setup(mk_row *r, const mk_var *v, double level)
{
  const int f = v->kind - K_LEVEL_Z;
  const double hpa = level > 1 ? level : 1;
  size_t i = 0;
  while (i + 2 < N_LEVELS && k_levels[i + 1].hpa > hpa)
    i++;
  const struct level_stat *a = &k_levels[i], *b = &k_levels[i + 1];
  double x = log(a->hpa / hpa) / log(a->hpa / b->hpa);
  x = x < 0 ? 0 : x > 1 ? 1 : x;
  r->mean = (float)(a->mean[f] + x * (b->mean[f] - a->mean[f]));
  r->std = (float)(a->std[f] + x * (b->std[f] - a->std[f]));
  const double turn = log(1000 / hpa) / log(1000.0 / 50) * MK_PI / 2;
  r->mix0 = (float)cos(turn);
  r->mix1 = (float)sin(turn);
}

const mk_var *mk_var_find(const char *name, bool levelled)
{
  for (size_t i = 0; i < N_VARS; i++) {
    if (strcmp(k_vars[i].name, name) == 0 && k_vars[i].levelled == levelled) return &k_vars[i];
  }
  return NULL;
}

const mk_var *mk_var_table(size_t *n)
{
  *n = N_VARS;
  return k_vars;
}
