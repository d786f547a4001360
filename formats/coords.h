/* Coordinates as plain named arrays, for formats that hold nothing but arrays: npz and safetensors. Internal.
 */
#ifndef BC_FORMATS_COORDS_H
#define BC_FORMATS_COORDS_H

#include "formats/sink_int.h"

typedef struct bc_coord {
  const char *name; /* "time", "time_bnds", "latitude_t2m" */
  bc_dtype dtype;   /* BC_I64 seconds since 1970, else BC_F64 */
  bool time;
  const char *units; /* "" when none */
  int ndim;
  int64_t shape[2];
  const void *data;
  size_t bytes;
  char *own_name; /* what must be freed */
  void *own_data;
} bc_coord;

typedef struct bc_coords {
  char **labels; /* of the variables */
  int32_t n_vars;
  bc_axes axes;
  bc_coord *coord;
  size_t n;
} bc_coords;

/* The data are borrowed from the stream's variables where they can be. Two arrays of one name are BC_E_INVAL.
 */
bc_status bc_coords_init(bc_coords *c, const bc_stream *in, bc_err *err) BC_MUST_CHECK;
void bc_coords_dispose(bc_coords *c); /* safe twice */

#endif
