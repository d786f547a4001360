#include <criterion/criterion.h>
#include <string.h>

#include "store/base.h"
#include "store/block.h"

Test(block, dtypes)
{
  static const struct {
    bc_dtype t;
    size_t size;
    const char *name;
  } k[] = { { BC_F32, 4, "float32" }, { BC_F64, 8, "float64" },      { BC_I8, 1, "int8" },
            { BC_I16, 2, "int16" },   { BC_I32, 4, "int32" },        { BC_I64, 8, "int64" },
            { BC_U8, 1, "uint8" },    { (bc_dtype)0, 0, "unknown" }, { (bc_dtype)8, 0, "unknown" } };

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    cr_expect_eq(bc_dtype_size(k[i].t), k[i].size);
    cr_expect_str_eq(bc_dtype_name(k[i].t), k[i].name);
  }
}

Test(block, dims_and_attributes)
{
  const bc_attr attrs[] = { { "long_name", "2 metre temperature", false }, { "scale", "0.5", true } };
  const bc_var v = {
    .name = "t2m", .ndim = 3, .dims = { BC_DIM_TIME, BC_DIM_LAT, BC_DIM_LON }, .attrs = attrs, .n_attrs = 2
  };
  const bc_var bare = { .name = "x" };

  cr_assert_eq(bc_var_dim(&v, BC_DIM_TIME), 0);
  cr_assert_eq(bc_var_dim(&v, BC_DIM_LON), 2);
  cr_assert_eq(bc_var_dim(&v, BC_DIM_LEVEL), -1);
  cr_assert_eq(bc_var_dim(&bare, BC_DIM_TIME), -1);
  cr_assert_str_eq(bc_var_attr(&v, "scale"), "0.5");
  cr_assert_eq(bc_var_attr(&v, "scal"), NULL);
  cr_assert_eq(bc_var_attr(&bare, "scale"), NULL);
  cr_assert_str_eq(bc_dim_name(BC_DIM_TIME), "time");
  cr_assert_str_eq(bc_dim_name(BC_DIM_LEVEL), "level");
  cr_assert_str_eq(bc_dim_name(BC_DIM_LAT), "latitude");
  cr_assert_str_eq(bc_dim_name(BC_DIM_LON), "longitude");
  cr_assert_str_eq(bc_dim_name(BC_DIM_POINT), "point");
  cr_assert_str_eq(bc_dim_name((bc_dim)99), "unknown");
}

static void count_batch(bc_batch *b) { ++*(int *)b->priv; }
static void count_stream(bc_stream *s) { ++*(int *)s->priv; }

Test(block, release_empties_and_is_safe_twice)
{
  int n = 0;
  bc_batch b = { .n_blocks = 3, .release = count_batch, .priv = &n };
  bc_stream s = { .n_vars = 2, .release = count_stream, .priv = &n };

  bc_batch_release(NULL);
  bc_stream_release(NULL);
  bc_batch_release(&b);
  bc_batch_release(&b);
  cr_assert(n == 1 && b.n_blocks == 0 && b.release == NULL && b.priv == NULL);
  bc_stream_release(&s);
  bc_stream_release(&s);
  cr_assert(n == 2 && s.n_vars == 0 && s.release == NULL && s.next == NULL);
}
