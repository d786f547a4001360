/*
 * Noise is a sum of octaves. Each is a cubic B-spline over random coefficients on a lattice in latitude,
 * longitude and time; coefficients come from a hash of where they stand, and rows near the poles are averaged
 * along the parallel so that features keep their size in kilometres. Octaves are added from coarse to fine by
 * B-spline refinement, which costs a third more than the finest one alone.
 */
#include "tools/mkvars.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OCTAVES 6
#define MARGIN  3 /* lattice rows beyond each pole, for the spline */
#define NX0     16
#define NY0     8
#define TABLE   512 /* side of the white noise at grid scale */

typedef struct octave { /* four knots in time; slot q & 3 holds knot q */
  float *knot[4];
  int64_t q[4];
} octave;

typedef struct noise {
  char name[24]; /* "" = free slot */
  bool monthly;
  uint64_t key;
  int64_t t; /* of the plane that was sampled last: all levels of a time share it */
  bool sampled;
  octave oct[OCTAVES];
} noise;

struct mk_world {
  uint64_t seed;
  size_t ny, nx;
  double step;
  double *lat, *lon;
  float *land, *oro, *roughness; /* [ny][nx] */
  noise channel[2];
  float *lattice[2]; /* scratch: two of the finest octave */
  float *row;        /* scratch: one lattice row and three more */
  size_t *col;       /* per column: first of four lattice columns ... */
  float *weight;     /* ... and their weights [nx][4] */
  float *n[2];       /* noise of the plane [ny][nx] */
  float *sun;        /* per column: cosine of the hour angle, 0 when monthly */
  float *white;      /* [TABLE][TABLE] */
};

static uint64_t mix(uint64_t x)
{
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static uint64_t hash_text(const char *s)
{
  uint64_t h = 0xcbf29ce484222325u;
  for (; *s; s++)
    h = (h ^ (uint8_t)*s) * 0x100000001b3u;
  return mix(h);
}

/* Nearly normal, mean 0, variance 1: the sum of four 16-bit uniforms. */
static float normal_of(uint64_t h)
{
  const int32_t sum =
      (int32_t)(h & 0xffff) + (int32_t)(h >> 16 & 0xffff) + (int32_t)(h >> 32 & 0xffff) + (int32_t)(h >> 48);
  return (float)(sum - 131070) * (1.0f / 37837.0f);
}

static size_t oct_nx(int o) { return (size_t)NX0 << o; }
static size_t oct_ny(int o) { return ((size_t)NY0 << o) + 1 + 2 * MARGIN; }

/* Cubic B-spline weights of the four knots around fraction f. */
static void spline(double f, double w[4])
{
  const double g = 1 - f;
  w[0] = g * g * g / 6;
  w[1] = (3 * f * f * f - 6 * f * f + 4) / 6;
  w[2] = (3 * g * g * g - 6 * g * g + 4) / 6;
  w[3] = f * f * f / 6;
}

/* ---- lattices of random coefficients ---- */

/* Averages a row over w columns, keeping its variance: rows near a pole are short. */
static void smooth_row(float *row, float *tmp, size_t nx, size_t w)
{
  memcpy(tmp, row, nx * sizeof *row);
  const float scale = 1.0f / sqrtf((float)w);
  double sum = 0;
  for (size_t j = 0; j < w; j++)
    sum += tmp[j];
  for (size_t j = 0; j < nx; j++) {
    row[j] = (float)sum * scale;
    sum += tmp[(j + w) % nx] - tmp[j];
  }
}

static void fill_coefficients(float *dst, float *tmp, int o, uint64_t key)
{
  const size_t nx = oct_nx(o), ny = oct_ny(o), half = nx / 2, last = ny - 1;
  for (size_t i = MARGIN; i < ny - MARGIN; i++) {
    float *row = dst + i * nx;
    for (size_t j = 0; j < nx; j++)
      row[j] = normal_of(mix(key + (uint64_t)(i * nx + j)));
    const double lat = -90 + (double)(i - MARGIN) * 360.0 / (double)nx;
    const double parallel = cos(lat * MK_PI / 180) * (double)nx;
    const size_t w = parallel < 1 ? nx : (size_t)((double)nx / parallel + 0.5);
    if (w > 1) smooth_row(row, tmp, nx, w < nx ? w : nx);
  }
  for (size_t m = 1; m <= MARGIN; m++) { /* beyond a pole the same meridian goes on, half way round */
    for (size_t j = 0; j < nx; j++) {
      dst[(MARGIN - m) * nx + j] = dst[(MARGIN + m) * nx + (j + half) % nx];
      dst[(last - MARGIN + m) * nx + j] = dst[(last - MARGIN - m) * nx + (j + half) % nx];
    }
  }
}

/* One row of the next finer lattice, from rows a, b, c of the coarse one with weights wa, wb, wc. */
static void refine_row(const float *a, const float *b, const float *c, float wa, float wb, float wc,
                       float *row, float *out, size_t nx)
{
  for (size_t j = 0; j < nx; j++)
    row[j + 1] = wa * a[j] + wb * b[j] + wc * c[j];
  row[0] = row[nx];
  row[nx + 1] = row[1];
  for (size_t j = 0; j < nx; j++) {
    out[2 * j] = 0.125f * (row[j] + row[j + 2]) + 0.75f * row[j + 1];
    out[2 * j + 1] = 0.5f * (row[j + 1] + row[j + 2]);
  }
}

/* B-spline refinement of octave o into the lattice of octave o + 1: the surface stays the same. */
static void refine(const float *src, float *dst, int o, float *row)
{
  const size_t nx = oct_nx(o), fine_ny = oct_ny(o + 1);
  for (size_t f = 0; f < fine_ny; f++) {
    /* fine row f stands at coarse row (f - MARGIN) / 2 + MARGIN */
    const size_t twice = f + MARGIN, i = twice / 2;
    float *out = dst + f * 2 * nx;
    if (twice % 2 == 0)
      refine_row(src + (i - 1) * nx, src + i * nx, src + (i + 1) * nx, 0.125f, 0.75f, 0.125f, row, out, nx);
    else
      refine_row(src + i * nx, src + (i + 1) * nx, src + i * nx, 0.5f, 0.5f, 0, row, out, nx);
  }
}

/* How much of the variance an octave holds, and how long (hours) its features live. */
static const struct {
  float dynamic, fixed;
  double hours;
} k_octaves[OCTAVES] = { { 0.62f, 0.80f, 240 }, { 0.58f, 0.45f, 144 }, { 0.42f, 0.30f, 84 },
                         { 0.26f, 0.20f, 48 },  { 0.13f, 0.13f, 28 },  { 0.065f, 0.085f, 16 } };
#define SPLINE_GAIN_2D 2.09f /* a B-spline over white coefficients loses 0.479 of the variance per axis */
#define SPLINE_GAIN_3D 3.02f
#define MONTHLY_SLOWER 90 /* monthly means remember for about a season */

static void noise_clear(noise *c)
{
  for (int o = 0; o < OCTAVES; o++) {
    for (int s = 0; s < 4; s++)
      free(c->oct[o].knot[s]);
  }
  memset(c, 0, sizeof *c);
}

static bool noise_start(noise *c, const char *name, bool monthly, uint64_t seed)
{
  if (strcmp(c->name, name) == 0 && c->monthly == monthly) return true;
  noise_clear(c);
  for (int o = 0; o < OCTAVES; o++) {
    for (int s = 0; s < 4; s++) {
      c->oct[o].knot[s] = malloc(oct_nx(o) * oct_ny(o) * sizeof(float));
      if (!c->oct[o].knot[s]) return false;
      c->oct[o].q[s] = INT64_MIN;
    }
  }
  const size_t n = strlen(name);
  if (n >= sizeof c->name) return false;
  memcpy(c->name, name, n + 1);
  c->monthly = monthly;
  c->key = mix(seed ^ hash_text(name));
  return true;
}

/* Adds octave o at time t to lattice. */
static void add_octave(mk_world *w, noise *c, int o, int64_t t, float *lattice, bool first)
{
  const double tau = k_octaves[o].hours * 3600 * (c->monthly ? MONTHLY_SLOWER : 1);
  const double at = (double)t / tau, whole = floor(at);
  double weight[4];
  spline(at - whole, weight);
  const float gain = k_octaves[o].dynamic * SPLINE_GAIN_3D;
  const float *knot[4];
  for (int k = 0; k < 4; k++) {
    const int64_t q = (int64_t)whole - 1 + k;
    const int slot = (int)((uint64_t)q & 3);
    octave *oc = &c->oct[o];
    if (oc->q[slot] != q) {
      fill_coefficients(oc->knot[slot], w->row, o, mix(c->key ^ mix((uint64_t)q * 8 + (uint64_t)o)));
      oc->q[slot] = q;
    }
    knot[k] = oc->knot[slot];
  }
  const float w0 = (float)weight[0] * gain, w1 = (float)weight[1] * gain, w2 = (float)weight[2] * gain,
              w3 = (float)weight[3] * gain;
  const size_t n = oct_nx(o) * oct_ny(o);
  for (size_t i = 0; i < n; i++) {
    const float v = w0 * knot[0][i] + w1 * knot[1][i] + w2 * knot[2][i] + w3 * knot[3][i];
    lattice[i] = first ? v : lattice[i] + v;
  }
}

/* ---- from the lattice to the nodes ---- */

/* shift: degrees that the pattern has moved east. */
static void prepare_columns(mk_world *w, double shift)
{
  const size_t nx = oct_nx(OCTAVES - 1);
  const double cell = 360.0 / (double)nx;
  for (size_t j = 0; j < w->nx; j++) {
    double x = fmod(w->lon[j] - shift, 360) / cell;
    if (x < 0) x += (double)nx;
    const double whole = floor(x);
    double sw[4];
    spline(x - whole, sw);
    w->col[j] = (size_t)((int64_t)whole + (int64_t)nx - 1) % nx;
    for (int k = 0; k < 4; k++)
      w->weight[4 * j + (size_t)k] = (float)sw[k];
  }
}

/* At a pole all meridians have one value, and within 2 degrees of it nearly. */
static void join_meridians(float *row, size_t nx, double from_pole)
{
  if (from_pole >= 2) return;
  double sum = 0;
  for (size_t j = 0; j < nx; j++)
    sum += row[j];
  const float mean = (float)(sum / (double)nx), keep = (float)(from_pole / 2);
  for (size_t j = 0; j < nx; j++)
    row[j] = mean + keep * (row[j] - mean);
}

static void sample(mk_world *w, const float *lattice, float *out)
{
  const size_t nx = oct_nx(OCTAVES - 1);
  const double cell = 360.0 / (double)nx;
  for (size_t i = 0; i < w->ny; i++) {
    const double y = (w->lat[i] + 90) / cell + MARGIN, whole = floor(y);
    double sw[4];
    spline(y - whole, sw);
    const float *r = lattice + ((size_t)whole - 1) * nx;
    const float a = (float)sw[0], b = (float)sw[1], c = (float)sw[2], d = (float)sw[3];
    for (size_t j = 0; j < nx; j++)
      w->row[j] = a * r[j] + b * r[nx + j] + c * r[2 * nx + j] + d * r[3 * nx + j];
    join_meridians(w->row, nx, 90 - fabs(w->lat[i]));
    memcpy(w->row + nx, w->row, 3 * sizeof(float));
    for (size_t j = 0; j < w->nx; j++) {
      const float *p = w->row + w->col[j], *q = w->weight + 4 * j;
      out[i * w->nx + j] = q[0] * p[0] + q[1] * p[1] + q[2] * p[2] + q[3] * p[3];
    }
  }
}

/* Adds noise at the scale of the nodes; it fades toward the poles, where nodes crowd. */
static void add_white(const mk_world *w, float *out, uint64_t key, float gain)
{
  const double step = w->step;
  for (size_t i = 0; i < w->ny; i++) {
    const size_t y = (size_t)llround((90 - w->lat[i]) / step) + (size_t)(key >> 40);
    const float *t = w->white + (y % TABLE) * TABLE;
    const float g = gain * (float)cos(w->lat[i] * MK_PI / 180);
    for (size_t j = 0; j < w->nx; j++) {
      const size_t x = (size_t)llround((w->lon[j] + 720) / step) + (size_t)(key & 0xffff);
      out[i * w->nx + j] += g * t[x % TABLE];
    }
  }
}

/* Noise of the channel at time t, unit variance, into out[ny][nx]. */
static bool sample_noise(mk_world *w, int slot, const char *name, int64_t t, bool monthly, float *out)
{
  noise *c = &w->channel[slot];
  if (!noise_start(c, name, monthly, w->seed)) return false;
  if (c->sampled && c->t == t) return true;
  c->sampled = true;
  c->t = t;
  float *a = w->lattice[0], *b = w->lattice[1];
  add_octave(w, c, 0, t, a, true);
  for (int o = 1; o < OCTAVES; o++) {
    refine(a, b, o - 1, w->row);
    add_octave(w, c, o, t, b, false);
    float *const swap = a;
    a = b;
    b = swap;
  }
  /* weather drifts east, some 8 degrees a day */
  prepare_columns(w, monthly ? 0 : fmod((double)t / 86400 * 8, 360));
  sample(w, a, out);
  /* the finest scale: two patterns, one fading into the other */
  const double tau = monthly ? 2629746.0 : 6 * 3600.0;
  const double at = (double)t / tau, whole = floor(at), angle = (at - whole) * MK_PI / 2;
  const uint64_t q = (uint64_t)(int64_t)whole;
  add_white(w, out, mix(c->key ^ mix(q)), 0.012f * (float)cos(angle));
  add_white(w, out, mix(c->key ^ mix(q + 1)), 0.012f * (float)sin(angle));
  return true;
}

/* Noise that does not change: the ground. */
static bool sample_fixed(mk_world *w, const char *name, float white, float *out)
{
  const uint64_t key = mix(w->seed ^ hash_text(name));
  float *a = w->lattice[0], *b = w->lattice[1];
  float *coef = malloc(oct_nx(OCTAVES - 1) * oct_ny(OCTAVES - 1) * sizeof *coef);
  if (!coef) return false;
  for (int o = 0; o < OCTAVES; o++) {
    const size_t n = oct_nx(o) * oct_ny(o);
    fill_coefficients(coef, w->row, o, mix(key + (uint64_t)o));
    if (o > 0) refine(a, b, o - 1, w->row);
    for (size_t i = 0; i < n; i++)
      b[i] = (o > 0 ? b[i] : 0) + k_octaves[o].fixed * SPLINE_GAIN_2D * coef[i];
    float *const swap = a;
    a = b;
    b = swap;
  }
  free(coef);
  prepare_columns(w, 0);
  sample(w, a, out);
  add_white(w, out, key, white);
  return true;
}

/* ---- the world ---- */

static bool make_ground(mk_world *w)
{
  float *shape = w->n[0], *hills = w->n[1];
  if (!sample_fixed(w, "continents-d", 0.01f, shape) || !sample_fixed(w, "hills", 0.08f, hills) ||
      !sample_fixed(w, "roughness", 0.2f, w->roughness))
    return false;
  for (size_t i = 0; i < w->ny * w->nx; i++) {
    const float inland = shape[i] - 0.15f;
    w->land[i] = mk_clamp(0.5f + inland * 6, 0, 1);
    const float high = mk_clamp(hills[i] + 0.6f, 0, 9) * mk_clamp(inland, 0, 1.5f);
    const float metres =
        w->land[i] * (40 + 150 * mk_clamp(inland, 0, 2) + 900 * mk_clamp(high * high, 0, 5.5f));
    w->oro[i] = metres * 9.80665f + 4 * hills[i];
  }
  return true;
}

mk_world *mk_world_new(uint64_t seed, const double *lat, size_t ny, const double *lon, size_t nx, double step)
{
  mk_world *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  const size_t n = ny * nx, fine = oct_nx(OCTAVES - 1) * oct_ny(OCTAVES - 1);
  *w = (mk_world){ .seed = mix(seed), .ny = ny, .nx = nx, .step = step };
  w->lat = malloc(ny * sizeof *w->lat);
  w->lon = malloc(nx * sizeof *w->lon);
  w->sun = malloc(nx * sizeof *w->sun);
  w->col = malloc(nx * sizeof *w->col);
  w->weight = malloc(4 * nx * sizeof *w->weight);
  w->row = malloc((oct_nx(OCTAVES - 1) + 4) * sizeof *w->row);
  w->white = malloc((size_t)TABLE * TABLE * sizeof *w->white);
  w->land = malloc(n * sizeof *w->land);
  w->oro = malloc(n * sizeof *w->oro);
  w->roughness = malloc(n * sizeof *w->roughness);
  for (int k = 0; k < 2; k++) {
    w->n[k] = malloc(n * sizeof *w->n[k]);
    w->lattice[k] = malloc(fine * sizeof *w->lattice[k]);
  }
  const bool ok = w->lat && w->lon && w->sun && w->col && w->weight && w->row && w->white && w->land &&
                  w->oro && w->roughness && w->n[0] && w->n[1] && w->lattice[0] && w->lattice[1];
  if (!ok) {
    mk_world_free(w);
    return NULL;
  }
  memcpy(w->lat, lat, ny * sizeof *lat);
  memcpy(w->lon, lon, nx * sizeof *lon);
  for (size_t i = 0; i < (size_t)TABLE * TABLE; i++)
    w->white[i] = normal_of(mix(w->seed + i));
  if (!make_ground(w)) {
    mk_world_free(w);
    return NULL;
  }
  return w;
}

void mk_world_free(mk_world *w)
{
  if (!w) return;
  for (int k = 0; k < 2; k++) {
    noise_clear(&w->channel[k]);
    free(w->n[k]);
    free(w->lattice[k]);
  }
  free(w->lat);
  free(w->lon);
  free(w->sun);
  free(w->col);
  free(w->weight);
  free(w->row);
  free(w->white);
  free(w->land);
  free(w->oro);
  free(w->roughness);
  free(w);
}

bool mk_world_plane(mk_world *w, const mk_var *v, double level, int64_t t, bool monthly, float *out)
{
  for (int k = 0; k < 2; k++) {
    if (v->channel[k] && !sample_noise(w, k, v->channel[k], t, monthly, w->n[k])) return false;
  }
  const double year = (double)t / 86400 / 365.2425;
  const double day = (double)t / 86400;
  mk_row r = { .nx = w->nx, .sun = w->sun, .monthly = monthly, .weak = monthly ? 0.55f : 1.0f };
  r.season = (float)cos(2 * MK_PI * (year - 0.55));
  r.decl = (float)(23.44 * MK_PI / 180 * cos(2 * MK_PI * (year - 0.47)));
  if (v->levelled) mk_level_setup(&r, v, level);
  for (size_t j = 0; j < w->nx; j++)
    w->sun[j] = monthly ? 0 : -(float)cos(2 * MK_PI * (day - floor(day) + w->lon[j] / 360));
  for (size_t i = 0; i < w->ny; i++) {
    const size_t at = i * w->nx;
    r.lat = (float)w->lat[i];
    r.s = (float)sin(w->lat[i] * MK_PI / 180);
    r.c = (float)fabs(cos(w->lat[i] * MK_PI / 180));
    r.land = w->land + at;
    r.oro = w->oro + at;
    r.rough = w->roughness + at;
    r.n0 = w->n[0] + at;
    r.n1 = w->n[1] + at;
    mk_fill_row(&r, v, out + at);
  }
  return true;
}

void mk_quantise(float *v, size_t n)
{
  float lo = INFINITY, hi = -INFINITY;
  for (size_t i = 0; i < n; i++) {
    lo = v[i] < lo ? v[i] : lo; /* false for NaN, which therefore stays out */
    hi = v[i] > hi ? v[i] : hi;
  }
  if (!(hi > lo)) return;
  const double ref = lo;
  int e = (int)ceil(log2(((double)hi - ref) / 65535));
  if (rint(ldexp((double)hi - ref, -e)) > 65535) e++;
  const double up = ldexp(1, -e), down = ldexp(1, e);
  for (size_t i = 0; i < n; i++)
    v[i] = (float)(ref + rint(((double)v[i] - ref) * up) * down);
}
