/*
 * Writing the head of a tile. tile.c reads it; the bytes are in tile_layout.h.
 */
#include "store/tile_int.h"

#include <math.h>

static bool evenly_spaced(const bc_tile_in *in, int64_t *step)
{
  int64_t d = 0;

  *step = 0;
  for (uint32_t i = 1; i < in->nt; i++) {
    if (__builtin_sub_overflow(in->times[i], in->times[i - 1], &d)) return false;
    if (i > 1 && d != *step) {
      *step = 0;
      return false;
    }
    *step = d;
  }
  return true;
}

static void put_fixed(const bc_tile_job *j, uint64_t n_absent, uint64_t payload, uint8_t *p)
{
  const bc_tile_in *in = j->in;
  const bool constant = j->codec == BC_CODEC_CONST;
  int64_t step = 0;

  memset(p, 0, BC_TH_FIXED);
  memcpy(p + BC_TH_MAGIC_OFF, BC_TH_MAGIC, 4);
  p[BC_TH_VERSION_OFF] = BC_TH_VERSION;
  bc_put_le16(p + BC_TH_FIXED_OFF, BC_TH_FIXED);
  bc_put_le32(p + BC_TH_CELL_OFF, in->key.cell);
  bc_put_le16(p + BC_TH_MODALITY_OFF, in->key.modality);
  bc_put_le16(p + BC_TH_PART_OFF, in->key.part);
  bc_put_le64(p + BC_TH_TIME_OFF, (uint64_t)in->key.time);
  p[BC_TH_DTYPE_OFF] = BC_F32;
  p[BC_TH_CODEC_OFF] = (uint8_t)j->codec;
  p[BC_TH_LAYOUT_OFF] = (uint8_t)in->layout;
  p[BC_TH_REGULAR_OFF] = evenly_spaced(in, &step);
  bc_put_le32(p + BC_TH_NT_OFF, in->nt);
  bc_put_le32(p + BC_TH_NL_OFF, in->nl);
  bc_put_le32(p + BC_TH_Y0_OFF, in->y0);
  bc_put_le32(p + BC_TH_X0_OFF, in->x0);
  bc_put_le32(p + BC_TH_NY_OFF, in->ny);
  bc_put_le32(p + BC_TH_NX_OFF, in->nx);
  bc_put_le32(p + BC_TH_BT_OFF, constant ? in->nt : j->s.bt);
  bc_put_le32(p + BC_TH_BY_OFF, constant ? in->ny : j->s.by);
  bc_put_le32(p + BC_TH_BX_OFF, constant ? in->nx : j->s.bx);
  bc_put_le32(p + BC_TH_NSOURCES_OFF, in->n_sources);
  bc_put_le64(p + BC_TH_TFIRST_OFF, (uint64_t)in->times[0]);
  bc_put_le64(p + BC_TH_TSTEP_OFF, (uint64_t)step);
  bc_put_le64(p + BC_TH_ABSENT_OFF, n_absent);
  bc_put_le64(p + BC_TH_CONST_OFF, constant ? j->const_bits : 0);
  bc_put_le64(p + BC_TH_PAYLOAD_OFF, payload);
  bc_put_le32(p + BC_TH_NBLOCKS_OFF, (uint32_t)(j->e->table.n / 16));
}

static bc_status put_stats(const bc_level_stats *s, bc_buf *head, bc_err *err)
{
  BC_RET(bc_buf_u64(head, s->n_valid, err));
  BC_RET(bc_buf_u64(head, s->n_missing, err));
  BC_RET(bc_buf_f64(head, s->min, err));
  BC_RET(bc_buf_f64(head, s->max, err));
  BC_RET(bc_buf_f64(head, s->sum, err));
  return bc_buf_f64(head, s->sumsq, err);
}

bc_status bc_tile_head_put(const bc_tile_job *j, uint64_t n_absent, uint64_t payload, bc_buf *head,
                           bc_err *err)
{
  const bc_tile_in *in = j->in;
  const size_t base = head->n;
  size_t n;

  BC_RET(bc_buf_reserve(head, BC_TH_FIXED, err));
  put_fixed(j, n_absent, payload, head->p + base);
  head->n += BC_TH_FIXED;
  if (head->p[base + BC_TH_REGULAR_OFF] == 0)
    for (uint32_t i = 0; i < in->nt; i++)
      BC_RET(bc_buf_u64(head, (uint64_t)in->times[i], err));
  BC_RET(bc_buf_put(head, j->e->table.p, j->e->table.n, err));
  for (uint32_t l = 0; l < in->nl; l++)
    BC_RET(put_stats(&j->e->stats[l], head, err));
  for (uint32_t i = 0; i < in->n_sources; i++)
    BC_RET(bc_buf_u32(head, in->sources[i], err));
  for (uint32_t l = 0; l < in->nl; l++)
    BC_RET(bc_buf_u16(head, in->levels != NULL ? in->levels[l] : 0, err));
  while ((head->n - base) % 8 != 0)
    BC_RET(bc_buf_u8(head, 0, err));
  n = head->n - base + BC_TH_HASH_BYTES;
  if (n > UINT32_MAX)
    return BC_FAIL(err, BC_E_RANGE, "a tile head of %zu bytes is too large: use shorter buckets", n);
  bc_put_le32(head->p + base + BC_TH_BYTES_OFF, (uint32_t)n);
  return bc_buf_u64(head, bc_hash64(head->p + base, n - BC_TH_HASH_BYTES), err);
}

bc_status bc_tile_missing_head(const bc_tile_in *in, bc_buf *head, bc_err *err)
{
  bc_status st;
  bc_encoder *e = bc_calloc(1, sizeof *e);
  const bc_tile_job j = {
    .e = e, .in = in, .codec = BC_CODEC_CONST, .const_bits = bc_value_bits(__builtin_nanf(""))
  };

  if (e == NULL || in->nl > BC_TILE_MAX_NL)
    st = BC_FAIL(err, BC_E_NOMEM, "no memory for a head of %u levels", in->nl);
  else {
    for (uint32_t l = 0; l < in->nl; l++)
      e->stats[l] = (bc_level_stats){ .n_missing = (uint64_t)in->nt * in->ny * in->nx,
                                      .min = INFINITY,
                                      .max = -INFINITY };
    st = bc_tile_head_put(
        &j, (uint64_t)in->nt * in->nl * ((uint64_t)in->cell_ny * in->cell_nx - (uint64_t)in->ny * in->nx), 0,
        head, err);
  }
  bc_free(e);
  return st;
}
