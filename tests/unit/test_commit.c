#include <criterion/criterion.h>

#include "store/commit_int.h"

/* Runs of live segments, le32 pairs of first number and how many. */
static bc_bytes runs(uint8_t *p, const uint32_t (*run)[2], size_t n)
{
  for (size_t i = 0; i < n; i++) {
    bc_put_le32(p + 8 * i, run[i][0]);
    bc_put_le32(p + 8 * i + 4, run[i][1]);
  }
  return (bc_bytes){ p, 8 * n };
}

Test(commit, a_segment_is_found_among_runs)
{
  static const uint32_t run[][2] = { { 1, 1 }, { 3, 2 }, { 8, 1 }, { 10, 5 }, { 40, 1 }, { 4294967295u, 1 } };
  uint8_t p[sizeof run];
  for (size_t n = 0; n <= BC_ARRAY_LEN(run); n++) {
    const bc_bytes live = runs(p, run, n);
    for (uint32_t id = 0; id < 60; id++) {
      bool want = false;
      for (size_t i = 0; i < n; i++)
        want = want || (id >= run[i][0] && id - run[i][0] < run[i][1]);
      cr_expect_eq(bc_live_has(live, id), want, "%u of %zu runs", id, n);
    }
    cr_expect_eq(bc_live_has(live, 4294967295u), n == BC_ARRAY_LEN(run));
    cr_expect_not(bc_live_has(live, 4294967294u));
  }
}
