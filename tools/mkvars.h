/*
 * Which variables there are, and the formula that turns noise into values of each, a row at a time.
 * Internal to mkcube.
 */
#ifndef MK_VARS_H
#define MK_VARS_H

#include "tools/mkfield.h"

#define MK_PI 3.14159265358979323846

typedef struct mk_row {
  const float *land, *oro, *rough, *n0, *n1, *sun;
  float lat, s, c; /* degrees, sine, cosine */
  float season;    /* 1 in the middle of July, -1 in January */
  float decl;      /* declination of the sun, radians */
  float weak;      /* monthly means vary less than hours */
  bool monthly;
  float mean, std;  /* of the level */
  float mix0, mix1; /* how the two channels add up at the level */
  size_t nx;
} mk_row;

/* Values of a row of variable v into out[r->nx]. */
void mk_fill_row(const mk_row *r, const mk_var *v, float *out);
/* Sets what depends on the level: mean, std, mix0, mix1. */
void mk_level_setup(mk_row *r, const mk_var *v, double level);
float mk_clamp(float v, float lo, float hi);

#endif
