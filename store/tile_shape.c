/*
 * The shape of a tile's blocks. A block is the least that is read, so maps want whole planes, series long
 * runs of few nodes, balanced tiles boxes.
 */
#include "store/tile_int.h"

enum { TARGET_VALUES = 32768 }; /* of a block: 128 KiB of float32 */

/* Cut n into equal pieces of about want, none above it by more than half. */
static uint32_t even(uint32_t n, uint32_t want)
{
  const uint32_t pieces = BC_MAX((n + want / 2) / want, 1u);
  const uint32_t one = (n + pieces - 1) / pieces;

  return one <= want + want / 2 ? one : (n + pieces) / (pieces + 1);
}

/* Cut n into equal pieces of at most most. */
static uint32_t even_at_most(uint32_t n, uint32_t most)
{
  const uint32_t pieces = (n + most - 1) / most;

  return (n + pieces - 1) / pieces;
}

static bc_tile_shape shape_map(const bc_tile_in *in)
{
  const uint64_t area = (uint64_t)in->ny * in->nx;

  if (area > BC_SHAPE_MAX_VALUES) {
    const uint32_t bx = even_at_most(in->nx, BC_SHAPE_MAX_VALUES);
    return (bc_tile_shape){ 1, even_at_most(in->ny, bc_clamp_u32(TARGET_VALUES / bx, 1, in->ny)), bx };
  }
  return (bc_tile_shape){ even_at_most(in->nt, bc_clamp_u32(TARGET_VALUES / area, 1, BC_SHAPE_MAX_STEPS)),
                          in->ny, in->nx };
}

/* Nearly square, but rows of whole vectors: a decoder handles 8 values in the time of 6. */
static bc_tile_shape shape_series(const bc_tile_in *in)
{
  const uint32_t bt = even_at_most(in->nt, BC_SHAPE_MAX_STEPS), area = TARGET_VALUES / bt;
  uint32_t side = 1;

  while ((side + 1) * (side + 1) <= area)
    side++;
  if (side > 4) side = (side + 4) / 8 * 8;
  return (bc_tile_shape){ bt, even_at_most(in->ny, BC_MAX(area / side, 1u)), even_at_most(in->nx, side) };
}

/* Boxes of a power-of-two side for up to 32 steps; a box that is small anyway takes more steps. */
static bc_tile_shape shape_balanced(const bc_tile_in *in)
{
  const uint32_t steps = BC_MIN(in->nt, 32u);
  uint32_t side = 32;
  bc_tile_shape s;

  while (4 * side * side * steps <= TARGET_VALUES)
    side *= 2;
  s.by = even(in->ny, side);
  s.bx = even(in->nx, side);
  if (s.by * s.bx * steps > BC_SHAPE_MAX_VALUES) {
    s.by = even_at_most(in->ny, side);
    s.bx = even_at_most(in->nx, side);
  }
  s.bt = even_at_most(in->nt, bc_clamp_u32(TARGET_VALUES / (s.by * s.bx), steps, BC_SHAPE_MAX_STEPS));
  return s;
}

bc_tile_shape bc_tile_shape_raw(const bc_tile_in *in)
{
  return (bc_tile_shape){ 1, even_at_most(in->ny, bc_clamp_u32(BC_SHAPE_MAX_VALUES / in->nx, 1, in->ny)),
                          in->nx };
}

bc_tile_shape bc_tile_shape_of(const bc_tile_in *in)
{
  switch (in->layout) {
  case BC_LAYOUT_MAP: return shape_map(in);
  case BC_LAYOUT_SERIES: return shape_series(in);
  case BC_LAYOUT_BALANCED:
  case BC_LAYOUT_NONE: break;
  }
  return shape_balanced(in);
}
