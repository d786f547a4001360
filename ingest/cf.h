/*
 * The climate and forecast conventions as far as a store needs them: units and calendars of time, what an
 * axis is, how packed integers become numbers, which group a set of variables belongs to. Pure functions; no
 * netCDF. Internal.
 */
#ifndef BC_INGEST_CF_H
#define BC_INGEST_CF_H

#include "store/base.h"

/* ---- time (cf_time.c) ---- */
typedef struct bc_cf_time {
  int64_t unit;       /* seconds per unit */
  int64_t per_second; /* 0, or units per second: milliseconds, microseconds; unit is 1 */
  int64_t ref;        /* reference instant, seconds since 1970 */
  double ref_frac;    /* and its fraction of a second, [0, 1) */
  bool mixed;         /* Julian before 1582-10-15: instants before are refused */
} bc_cf_time;

/* Whether units have the shape "... since ...". */
bool bc_cf_is_since(const char *units);
/*
 * @param where     begins the message: "FILE: time"
 * @param units     "hours since 1900-01-01 00:00:00.0"; NULL = the variable has none
 * @param calendar  NULL = standard
 * @return BC_E_UNSUPPORTED: units, reference or calendar that cannot be mapped exactly; what was found is
 * named
 */
bc_status bc_cf_time_parse(const char *where, const char *units, const char *calendar, bc_cf_time *out,
                           bc_err *err) BC_MUST_CHECK;
/* One value in those units -> seconds since 1970. BC_E_RANGE: not a whole second (within 1 ms), before the
 * calendar reform, or beyond years 0 to 9999. */
bc_status bc_cf_time_from_i64(const bc_cf_time *u, const char *where, int64_t v, int64_t *out,
                              bc_err *err) BC_MUST_CHECK;
bc_status bc_cf_time_from_f64(const bc_cf_time *u, const char *where, double v, int64_t *out,
                              bc_err *err) BC_MUST_CHECK;

/* ---- axes (cf.c) ---- */
typedef enum bc_cf_kind {
  BC_CF_OTHER,
  BC_CF_TIME,
  BC_CF_LEVEL,
  BC_CF_LAT,
  BC_CF_LON,
  BC_CF_EXPVER,
  BC_CF_MEMBER
} bc_cf_kind;

typedef struct bc_cf_axis {
  const char *name, *units, *standard_name, *axis, *positive; /* NULL where the file says nothing */
} bc_cf_axis;

/* Attributes decide; the name decides where they say nothing. */
bc_cf_kind bc_cf_kind_of(const bc_cf_axis *a);
/* Units of pressure: *to_hpa receives the divisor that gives hPa (100 for Pa, 1 for mbar). */
bool bc_cf_pressure(const char *units, double *to_hpa);
/* "0001" -> 1, " 5" -> 5; -1 when it is no number. */
int bc_cf_expver(const char *text);

/* ---- names (cf.c) ---- */
/* Group of a file by its variable names (BioCube's rule; has_levels: a tie with atmospheric goes there);
 * "misc" when none is known. Static text. */
const char *bc_cf_group(const char *const *names, size_t n, bool has_levels);
/* Characters outside [A-Za-z0-9_.-] become '_'; false when it does not fit or is empty. */
bool bc_cf_clean_name(const char *in, char *out, size_t cap);

/* ---- values (cf_unpack.c) ---- */
typedef enum bc_raw {                   /* how a number is stored in a file */
                      BC_RAW_OTHER = 0, /* compound, vlen, opaque, enum */
                      BC_RAW_CHAR,
                      BC_RAW_STRING,
                      BC_RAW_I8,
                      BC_RAW_U8,
                      BC_RAW_I16,
                      BC_RAW_U16,
                      BC_RAW_I32,
                      BC_RAW_U32,
                      BC_RAW_I64,
                      BC_RAW_U64,
                      BC_RAW_F32,
                      BC_RAW_F64
} bc_raw;

size_t bc_raw_size(bc_raw r); /* bytes per number; 0 when r is no number */
static inline bool bc_raw_is_number(bc_raw r) { return r >= BC_RAW_I8; }
static inline bool bc_raw_is_int(bc_raw r) { return r >= BC_RAW_I8 && r <= BC_RAW_U64; }

/* One number of an attribute. An integer is exact in i (U64 as its two's complement); d is always set. */
typedef struct bc_num {
  bc_raw raw;
  int64_t i;
  double d;
} bc_num;

#define BC_CF_MASKS 16

/* From raw numbers to float32: which ones are missing, and value = (float)((double)raw * scale + offset). */
typedef struct bc_unpack {
  bc_raw raw;
  bool scaled, has_offset;
  double scale, offset;
  size_t n_missing;
  bc_num missing[BC_CF_MASKS]; /* in the variable's own type */
  bool has_min, has_max;
  bc_num min, max; /* outside is missing */
} bc_unpack;

/* The attributes that matter; n == 0 where there is none. */
typedef struct bc_cf_packing {
  const bc_num *scale, *offset, *fill, *missing, *valid_min, *valid_max, *valid_range;
  size_t n_scale, n_offset, n_fill, n_missing, n_valid_min, n_valid_max, n_valid_range;
  bool is_unsigned; /* _Unsigned = "true" */
  bool no_fill;     /* the variable was written without prefilling */
} bc_cf_packing;

/*
 * The rules of netCDF4-python: an attribute counts when the variable's type can hold it exactly; without a
 * usable _FillValue the type's default fill value counts.
 * @return BC_E_UNSUPPORTED: scale or offset is no single finite number, or too many missing values
 */
bc_status bc_unpack_init(bc_unpack *u, const char *where, bc_raw raw, const bc_cf_packing *p,
                         bc_err *err) BC_MUST_CHECK;
bool bc_unpack_masks(const bc_unpack *u); /* some number may stand for missing */
/* n numbers of u->raw -> float32, missing as NaN. src may be dst when raw is F32 and nothing is scaled. */
void bc_unpack_f32(const bc_unpack *u, const void *src, size_t n, float *dst);
/* BC_RAW_I16 only: every number that means missing becomes code. */
void bc_unpack_i16(const bc_unpack *u, int16_t code, int16_t *p, size_t n);

#endif
