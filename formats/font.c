/*
 * Letters as strokes. A glyph is a text of points: x '0'.. from the left, y 'd' the base line, 'n' the top of
 * capitals, 'k' of small letters, 'a' the lowest. A blank begins a new stroke; after '~' the points are those
 * of a smooth curve, which begins at the first, ends at the last and is drawn to the others (quadratic pieces
 * that meet half way).
 */
#include "formats/draw.h"

#include <math.h>
#include <string.h>

enum { FIRST = 32, LAST = 126, CURVE_STEPS = 8, MAX_POINTS = 16 };

static const char *const k_glyphs[LAST - FIRST + 1] = {
  "",                                     /* space */
  "0n0g 0d0d",                            /* ! */
  "0n0l 2n2l",                            /* " */
  "1n0d 4n3d 0k5k 0g5g",                  /* # */
  "~5l5m0n0i5j5d0d0f 2o2c",               /* $ */
  "7n1d ~1n0n0k2k2n1n ~7g6g6d8d8g7g",     /* % */
  "6d1k ~1k1n4n4k2j ~2j0i0d4d6h",         /* & */
  "0n0l",                                 /* ' */
  "~2o0l0e2b",                            /* ( */
  "~0o2l2e0b",                            /* ) */
  "2n2h 0m4i 4m0i",                       /* * */
  "0h6h 3e3k",                            /* + */
  "~2d2c1b",                              /* , */
  "0h4h",                                 /* - */
  "1d1d",                                 /* . */
  "0c4o",                                 /* / */
  "~3n0n0d6d6n3n",                        /* 0 */
  "2l4n4d",                               /* 1 */
  "~0k0n6n6i0d 0d6d",                     /* 2 */
  "~0l0n6n6i2i ~2i6i6d0d0f",              /* 3 */
  "4d4n0g6g",                             /* 4 */
  "5n1n0i ~0i1j6k6d0d0f",                 /* 5 */
  "~3j0j0d6d6j3j ~5n1l0g",                /* 6 */
  "0n6n2d",                               /* 7 */
  "~3n0n0i6i6n3n ~3i0i0d6d6i3i",          /* 8 */
  "~3h0h0n6n6h3h ~1d5f6k",                /* 9 */
  "0d0d 0j0j",                            /* : */
  "0j0j ~1d1c0b",                         /* ; */
  "5k0h5e",                               /* < */
  "0f5f 0j5j",                            /* = */
  "0k5h0e",                               /* > */
  "~0l0n5n5j2j2g 2d2d",                   /* ? */
  "~5h5j2j2f5f5h ~5h5f8f8n0n0c7c",        /* @ */
  "0d3n6d 1g5g",                          /* A */
  "0d0n3n ~3n6n6i3i 3i0i ~3i7i7d3d 3d0d", /* B */
  "~6l6n0n0d6d6f",                        /* C */
  "2d0d0n2n ~2n7n7d2d",                   /* D */
  "5n0n0d5d 0i4i",                        /* E */
  "5n0n0d 0i4i",                          /* F */
  "~6l6n0n0d6d6h 6h4h",                   /* G */
  "0d0n 6d6n 0i6i",                       /* H */
  "0d0n",                                 /* I */
  "4n4g ~4g4d0d0g",                       /* J */
  "0d0n 5n0h 2j5d",                       /* K */
  "0n0d5d",                               /* L */
  "0d0n4g8n8d",                           /* M */
  "0d0n6d6n",                             /* N */
  "~4n0n0d7d7n4n",                        /* O */
  "0d0n3n ~3n6n6h3h 3h0h",                /* P */
  "~4n0n0d7d7n4n 4f7c",                   /* Q */
  "0d0n3n ~3n6n6h3h 3h0h 3h6d",           /* R */
  "~6l6n0n0i6i6d0d0f",                    /* S */
  "0n6n 3n3d",                            /* T */
  "0n0g ~0g0d6d6g 6g6n",                  /* U */
  "0n3d6n",                               /* V */
  "0n2d4k6d8n",                           /* W */
  "0n6d 6n0d",                            /* X */
  "0n3i6n 3i3d",                          /* Y */
  "0n6n0d6d",                             /* Z */
  "2o0o0b2b",                             /* [ */
  "0o4c",                                 /* \ */
  "0o2o2b0b",                             /* ] */
  "0k2n4k",                               /* ^ */
  "0b6b",                                 /* _ */
  "0n1l",                                 /* ` */
  "~5i5k0k0d5d5i 5k5d",                   /* a */
  "0n0d ~0i0k5k5d0d0i",                   /* b */
  "~5i5k0k0d5d5f",                        /* c */
  "5n5d ~5i5k0k0d5d5i",                   /* d */
  "0h5h ~5h5k0k0d5d5e",                   /* e */
  "~4n1n1k 1k1d 0k3k",                    /* f */
  "5k5c ~5c5a0a0b ~5i5k0k0d5d5i",         /* g */
  "0n0d ~0h0k5k5h 5h5d",                  /* h */
  "0k0d 0n0n",                            /* i */
  "2k2c ~2c2a0a 2n2n",                    /* j */
  "0n0d 4k0g 1h4d",                       /* k */
  "0n0d",                                 /* l */
  "0k0d ~0h0k4k4h 4h4d ~4h4k8k8h 8h8d",   /* m */
  "0k0d ~0h0k5k5h 5h5d",                  /* n */
  "~3k0k0d5d5k3k",                        /* o */
  "0k0a ~0i0k5k5d0d0i",                   /* p */
  "5k5a ~5i5k0k0d5d5i",                   /* q */
  "0k0d ~0h0k3k",                         /* r */
  "~4j4k0k0h4h4d0d0e",                    /* s */
  "1m1f ~1f1d3d 0k3k",                    /* t */
  "0k0g ~0g0d5d5g 5k5d",                  /* u */
  "0k2d4k",                               /* v */
  "0k2d4j6d8k",                           /* w */
  "0k4d 4k0d",                            /* x */
  "0k2d 4k1a",                            /* y */
  "0k4k0d4d",                             /* z */
  "~2o1o1h0h 0h0h ~0h1h1b2b",             /* { */
  "0o0b",                                 /* | */
  "~0o1o1h2h ~2h1h1b0b",                  /* } */
  "~0h0j3j2f5f5h",                        /* ~ */
};
static const char k_degree[] = "~1n0n0l2l2n1n";
static const char k_box[] = "0d0k4k4d0d"; /* for what the font lacks */

typedef struct pen {
  bc_canvas *c;
  double x, y, unit, width; /* origin on the base line; pixels per unit; of a stroke */
  bool up;                  /* turned to read from bottom to top */
} pen;

/* The next glyph of s; NULL at the end. */
static const char *next_glyph(const char **s)
{
  const uint8_t *p = (const uint8_t *)*s;
  if (*p == 0) return NULL;
  if (*p < 0x80) {
    (*s)++;
    return *p >= FIRST && *p <= LAST ? k_glyphs[*p - FIRST] : k_box;
  }
  const bool degree = p[0] == 0xc2 && p[1] == 0xb0;
  p++;
  while ((*p & 0xc0) == 0x80)
    p++;
  *s = (const char *)p;
  return degree ? k_degree : k_box;
}

/* Width in units, with the gap to the next letter. */
static double advance(const char *glyph)
{
  int most = 0;
  if (glyph[0] == '\0') return 5;
  if (strcmp(glyph, k_glyphs['1' - FIRST]) == 0) return 8.4; /* as wide as the other figures */
  for (const char *p = glyph; *p != '\0'; p++) {
    if (*p >= '0' && *p <= '9') most = BC_MAX(most, *p - '0');
  }
  return most + 2.4;
}

static void to_canvas(const pen *k, double x, double y, double *px, double *py)
{
  *px = k->up ? k->x - y * k->unit : k->x + x * k->unit;
  *py = k->up ? k->y - x * k->unit : k->y - y * k->unit;
}

static void line(const pen *k, double xa, double ya, double xb, double yb)
{
  double pxa, pya, pxb, pyb;
  to_canvas(k, xa, ya, &pxa, &pya);
  to_canvas(k, xb, yb, &pxb, &pyb);
  bc_stroke(k->c, pxa, pya, pxb, pyb, k->width);
}

/* One quadratic piece from a to b, drawn to c. */
static void piece(const pen *k, const double a[2], const double c[2], const double b[2])
{
  double x = a[0], y = a[1];
  for (int i = 1; i <= CURVE_STEPS; i++) {
    const double t = (double)i / CURVE_STEPS, u = 1 - t;
    const double nx = u * u * a[0] + 2 * u * t * c[0] + t * t * b[0];
    const double ny = u * u * a[1] + 2 * u * t * c[1] + t * t * b[1];
    line(k, x, y, nx, ny);
    x = nx;
    y = ny;
  }
}

static void curve(const pen *k, double p[][2], int n)
{
  double from[2] = { p[0][0], p[0][1] };
  for (int i = 1; i < n - 1; i++) {
    const bool last = i == n - 2;
    const double to[2] = { last ? p[i + 1][0] : (p[i][0] + p[i + 1][0]) / 2,
                           last ? p[i + 1][1] : (p[i][1] + p[i + 1][1]) / 2 };
    piece(k, from, p[i], to);
    from[0] = to[0];
    from[1] = to[1];
  }
}

static void draw_glyph(const pen *k, const char *g)
{
  double p[MAX_POINTS][2];

  while (*g != '\0') {
    const bool smooth = *g == '~';
    int n = 0;
    if (smooth) g++;
    for (; *g != '\0' && *g != ' ' && n < MAX_POINTS; g += 2, n++) {
      p[n][0] = g[0] - '0';
      p[n][1] = g[1] - 'd';
    }
    if (smooth && n > 2) {
      curve(k, p, n);
    } else {
      for (int i = 1; i < n; i++)
        line(k, p[i - 1][0], p[i - 1][1], p[i][0], p[i][1]);
    }
    while (*g == ' ')
      g++;
  }
}

double bc_text_width(const char *s, double size)
{
  double w = 0;
  for (const char *g; (g = next_glyph(&s)) != NULL;)
    w += advance(g);
  return w > 0 ? (w - 2.4) * size / 10 : 0;
}

static void draw_run(pen *k, const char *s, bc_color color)
{
  for (const char *g; (g = next_glyph(&s)) != NULL;) {
    draw_glyph(k, g);
    if (k->up)
      k->y -= advance(g) * k->unit;
    else
      k->x += advance(g) * k->unit;
  }
  bc_ink(k->c, color, 1);
}

void bc_draw_text(bc_canvas *c, const char *s, double x, double y, double size, bc_align align, bool bold,
                  bc_color color)
{
  const double width = bc_text_width(s, size);
  pen k = { c, x - width * (double)align / 2, y, size / 10, size * (bold ? 0.16 : 0.115), false };
  draw_run(&k, s, color);
}

void bc_draw_text_up(bc_canvas *c, const char *s, double x, double y, double size, bc_color color)
{
  pen k = { c, x, y + bc_text_width(s, size) / 2, size / 10, size * 0.115, true };
  draw_run(&k, s, color);
}

void bc_fit_text(char *s, double size, double width)
{
  size_t n = strlen(s);
  if (bc_text_width(s, size) <= width) return;
  while (n > 3) {
    n--;
    while (n > 3 && ((uint8_t)s[n] & 0xc0u) == 0x80u)
      n--; /* not inside a character */
    memcpy(s + n - 3, "...", 4);
    if (bc_text_width(s, size) <= width) return;
  }
}
