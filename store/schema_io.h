/*
 * Grids, modalities, usage and sources as bytes: in the index and in each segment's directory. Internal.
 * docs/format.md section 5.
 */
#ifndef BC_STORE_SCHEMA_IO_H
#define BC_STORE_SCHEMA_IO_H

#include "store/base.h"
#include "store/schema.h"

bc_status bc_grid_encode(const bc_grid *g, bc_buf *out, bc_err *err) BC_MUST_CHECK;
bc_status bc_grid_decode(bc_bytes src, bc_grid *out, bc_err *err) BC_MUST_CHECK;

bc_status bc_modality_encode(const bc_modality *m, bc_buf *out, bc_err *err) BC_MUST_CHECK;
/* out is owned: bc_modality_dispose. Empty after a failure. */
bc_status bc_modality_decode(bc_bytes src, bc_modality *out, bc_err *err) BC_MUST_CHECK;

/* Forget all but the first n attributes. */
void bc_modality_cut_attrs(bc_modality *m, int32_t n);

bc_status bc_usage_encode(const bc_usage *u, bc_buf *out, bc_err *err) BC_MUST_CHECK;
bc_status bc_usage_decode(bc_bytes src, bc_usage *out, bc_err *err) BC_MUST_CHECK;
void bc_usage_init(bc_usage *u); /* nothing yet: min > max, t_first > t_last */

bc_status bc_source_encode(const bc_source_rec *s, bc_buf *out, bc_err *err) BC_MUST_CHECK;
bc_status bc_source_decode(bc_bytes src, bc_source_rec *out, bc_err *err) BC_MUST_CHECK;

/* Decimal digits of a double that read back as the same value, shortest of %.15g and %.17g. */
#define BC_NUMBER_TEXT 32
char *bc_number_text(double v, char *buf);

#endif
