/*
 * What the sinks share: where the bytes go, how the stream is read, which coordinates and names go out.
 * Internal.
 */
#ifndef BC_FORMATS_SINK_INT_H
#define BC_FORMATS_SINK_INT_H

#include "formats/sink.h"
#include "store/base.h"
#include "store/os.h"

/* Files are little-endian and take the machine's bytes as they are; so does the store's raw codec. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "sinks write the machine's bytes");

/* ---- output: a file that appears by rename, or standard output ---- */
typedef struct bc_out {
  const char *path; /* as the user gave it; "-" is standard output */
  bool overwrite;
  bool to_stdout;
  bool direct;     /* to_stdout, and bytes go there at once */
  bc_outfile file; /* unless direct; for a seekable format on standard output a file in TMPDIR */
  uint8_t *buf;
  size_t n;
  bool reserved; /* blocks beyond the file's end, to be given back */
} bc_out;

/* seekable: the format is written by a library or goes back to its head, so that standard output gets a copy.
 */
bc_status bc_out_open(bc_out *o, const char *path, const bc_sink_opts *opts, bool seekable,
                      bc_err *err) BC_MUST_CHECK;
bc_status bc_out_write(bc_out *o, const void *p, size_t n, bc_err *err) BC_MUST_CHECK;
bc_status bc_out_text(bc_out *o, const char *s, bc_err *err) BC_MUST_CHECK;
/* At a place of the file; seekable formats only, not to be mixed with bc_out_write. */
bc_status bc_out_pwrite(bc_out *o, const void *p, size_t n, uint64_t at, bc_err *err) BC_MUST_CHECK;
/* The file under its temporary name, for libraries that open it themselves; seekable formats only. */
const char *bc_out_tmp(const bc_out *o);
/* Room for this many bytes beyond the file's end; BC_E_FULL. For libraries that do not survive a full disk:
 * HDF5 crashes when the program ends, after it could not flush a file. */
bc_status bc_out_reserve(bc_out *o, uint64_t bytes, bc_err *err) BC_MUST_CHECK;
/* After a library failed without saying why: BC_E_FULL when no more bytes fit, else BC_OK. Spoils the file.
 */
bc_status bc_out_probe_full(bc_out *o, bc_err *err) BC_MUST_CHECK;
bc_status bc_out_commit(bc_out *o, bc_err *err) BC_MUST_CHECK;
void bc_out_dispose(bc_out *o); /* leaves nothing behind unless committed; safe twice */

/* ---- spool: bytes kept in memory, or in an unlinked temporary file when there are many ---- */
typedef struct bc_spool {
  uint8_t *mem;
  size_t cap; /* of mem */
  int fd;     /* -1: in memory */
  uint64_t n; /* bytes held */
  const char *folder;
} bc_spool;
bc_status bc_spool_init(bc_spool *s, uint64_t expected, const char *folder, bc_err *err) BC_MUST_CHECK;
bc_status bc_spool_put(bc_spool *s, const void *p, size_t n, bc_err *err) BC_MUST_CHECK;
bc_status bc_spool_get(const bc_spool *s, uint64_t at, void *dst, size_t n, bc_err *err) BC_MUST_CHECK;
void bc_spool_dispose(bc_spool *s); /* safe twice */

/* Folder for temporary files. */
const char *bc_tmp_folder(const bc_sink_opts *opts);

/* ---- pull: the values of one variable after the other as one run of bytes, whatever the strides ---- */
typedef struct bc_pull {
  bc_stream *in;
  bc_batch batch;
  int32_t block;     /* next block of the batch, + 1: the one in hand is block - 1 */
  int32_t var;       /* being read */
  uint64_t at, size; /* elements of it handed out; all of them */
  uint64_t used;     /* elements of the block in hand that were handed out */
  uint64_t held;     /* elements of the block in hand */
} bc_pull;
void bc_pull_init(bc_pull *p, bc_stream *in);
/* Variables must be begun in order, each after the one before was read to its end. */
bc_status bc_pull_begin(bc_pull *p, int32_t var, bc_err *err) BC_MUST_CHECK;
bc_status bc_pull_read(bc_pull *p, void *dst, uint64_t n_elements, bc_err *err) BC_MUST_CHECK;
/* The stream must be at its end. */
bc_status bc_pull_end(bc_pull *p, bc_err *err) BC_MUST_CHECK;
void bc_pull_dispose(bc_pull *p); /* safe twice */

/* Elements of the whole variable; BC_E_RANGE when they or their bytes overflow. */
bc_status bc_var_elements(const bc_var *v, uint64_t *n, bc_err *err) BC_MUST_CHECK;

/* Does an attribute of a variable go out? Not those that say how the source stored its values, that we write
 * ourselves, or that name variables which are not here. Ranges are in packed units in many files: readers
 * would mask good values by them. */
bool bc_attr_travels(const char *name);

/* ---- coordinates: variables that agree in one share it ---- */
typedef struct bc_axis {
  bc_dim dim;
  int64_t n;
  const bc_var *var; /* whose coordinate it is: var->coord[d] */
  int d;
  int rank;   /* among the axes of its kind */
  char *name; /* "time"; "time_1" or "time_<variable>" */
} bc_axis;
typedef struct bc_axes {
  bc_axis *axis;
  int n;
  int *of; /* of[v * BC_MAX_DIMS + d]: index of the axis of dimension d of variable v */
} bc_axes;
/* by_variable false: equal axes are one, further ones of a kind are numbered ("time", "time_1"). true: a kind
 * that differs anywhere gets one axis for each variable, named after it ("time_t2m"). labels: one for each
 * variable. */
bc_status bc_axes_init(bc_axes *a, const bc_stream *in, bool by_variable, char *const *labels,
                       bc_err *err) BC_MUST_CHECK;
void bc_axes_dispose(bc_axes *a); /* safe twice */
bool bc_axis_equal(const bc_var *a, int da, const bc_var *b, int db);

/* Names of the variables, unique: the short name, with its group in front where two share it. sep: between
 * the two; ascii: letters, digits, "_.+-@" only. */
bc_status bc_labels_init(char ***out, const bc_stream *in, char sep, bool ascii, bc_err *err) BC_MUST_CHECK;
void bc_labels_free(char **labels, int32_t n);

/* ---- numbers as text: shortest form that reads back as the same value ---- */
#define BC_NUM_TEXT 32
size_t bc_text_f32(char buf[BC_NUM_TEXT], float v);
size_t bc_text_f64(char buf[BC_NUM_TEXT], double v);
/* One value of a variable; 0 and an empty text for a missing one. */
size_t bc_text_value(char buf[BC_NUM_TEXT], bc_dtype t, const void *p);
/* One value as a double; NaN when missing. */
double bc_value_f64(bc_dtype t, const void *p);
/* "1e-3" for attributes marked numeric: true when the whole text is one number. */
bool bc_number_parse(const char *text, double *out);

/* ---- the formats ---- */
typedef bc_status bc_sink_fn(bc_stream *in, const bc_sink_opts *opts, bc_out *out, bc_err *err);
bc_sink_fn bc_write_npy, bc_write_npz, bc_write_safetensors, bc_write_netcdf, bc_write_csv, bc_write_tsv,
    bc_write_jsonl, bc_write_json, bc_write_table, bc_write_png;

/* npy header with its magic, padded to 64 bytes; fortran_order False. descr: "<f4". */
bc_status bc_npy_header(bc_buf *b, const char *descr, const int64_t *shape, int ndim,
                        bc_err *err) BC_MUST_CHECK;
const char *bc_npy_descr(bc_dtype t); /* NULL when unknown */

/* Text of a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
bc_status bc_json_quote(bc_buf *b, const char *s, bc_err *err) BC_MUST_CHECK;

/* "surface/t2m", or "t2m" without a group, cut to fit. Returns buf. */
#define BC_VAR_TEXT 160
const char *bc_var_text(const bc_var *v, char buf[BC_VAR_TEXT]);

#endif
