#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/base.h"
#include "store/schema.h"

static bc_modality sample(void)
{
  return (bc_modality){ .dtype = BC_F32,
                        .bucket = BC_BUCKET_MONTH,
                        .layout = { BC_LAYOUT_BALANCED, BC_LAYOUT_NONE },
                        .cadence = 3600,
                        .n_levels = 3,
                        .levels = { 1000, 850, 0.5 },
                        .group = "atmospheric",
                        .name = "z",
                        .units = "m2 s-2",
                        .level_units = "hPa" };
}

Test(schema, layout_names)
{
  cr_assert_str_eq(bc_layout_name(BC_LAYOUT_MAP), "map");
  cr_assert_str_eq(bc_layout_name(BC_LAYOUT_SERIES), "series");
  cr_assert_str_eq(bc_layout_name(BC_LAYOUT_BALANCED), "balanced");
  cr_assert_str_eq(bc_layout_name(BC_LAYOUT_NONE), "none");
  cr_assert_str_eq(bc_layout_name((bc_layout)3), "unknown");
}

Test(schema, attributes_are_added_and_overwritten)
{
  bc_modality m = sample();
  bc_err err;
  char name[16];

  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 20; i++) {
      (void)snprintf(name, sizeof name, "a%d", i);
      cr_assert_eq(bc_modality_set_attr(&m, name, round == 0 ? "first" : "second", round == 1, &err), BC_OK);
    }
  }
  cr_assert_eq(m.n_attrs, 20);
  cr_assert_str_eq(m.attrs[19].name, "a19");
  cr_assert_str_eq(m.attrs[0].value, "second");
  cr_assert(m.attrs[7].numeric);
  /* its own text as the new value */
  cr_assert_eq(bc_modality_set_attr(&m, m.attrs[3].name, m.attrs[3].value, false, &err), BC_OK);
  cr_assert_str_eq(m.attrs[3].value, "second");
  bc_modality_dispose(&m);
  bc_modality_dispose(&m);
  bc_modality_dispose(NULL);
  cr_assert(m.attrs == NULL && m.n_attrs == 0 && m.name[0] == '\0');
}

Test(schema, copy_is_deep)
{
  bc_modality m = sample(), c;
  bc_err err;

  cr_assert_eq(bc_modality_set_attr(&m, "long_name", "Geopotential", false, &err), BC_OK);
  cr_assert_eq(bc_modality_copy(&m, &c, &err), BC_OK);
  bc_modality_dispose(&m);
  cr_assert_str_eq(c.name, "z");
  cr_assert_eq(c.levels[2], 0.5);
  cr_assert_eq(c.n_attrs, 1);
  cr_assert_str_eq(c.attrs[0].value, "Geopotential");
  bc_modality_dispose(&c);
}

static bool fail_nth(void *ctx) { return (*(int *)ctx)-- == 0; }

Test(schema, copy_survives_every_allocation_failure)
{
  bc_modality m = sample(), c;
  bc_err err;
  bc_status st = BC_E_NOMEM;
  int tries = 0;

  cr_assert_eq(bc_modality_set_attr(&m, "a", "1", true, &err), BC_OK);
  cr_assert_eq(bc_modality_set_attr(&m, "b", "2", true, &err), BC_OK);
  for (; st != BC_OK && tries < 50; tries++) {
    int countdown = tries;
    bc_alloc_set_hook(fail_nth, &countdown);
    st = bc_modality_copy(&m, &c, &err);
    bc_alloc_set_hook(NULL, NULL);
    cr_assert(st == BC_OK || (st == BC_E_NOMEM && c.attrs == NULL && c.n_attrs == 0));
  }
  cr_assert_eq(st, BC_OK);
  cr_assert_eq(tries, 7); /* three allocations for each attribute */
  bc_modality_dispose(&c);
  bc_modality_dispose(&m);
}

Test(schema, levels_are_found_within_a_millionth)
{
  const bc_modality m = sample();

  cr_assert_eq(bc_modality_level(&m, 850), 1);
  cr_assert_eq(bc_modality_level(&m, 850.0005), 1);
  cr_assert_eq(bc_modality_level(&m, 850.01), -1);
  cr_assert_eq(bc_modality_level(&m, (double)0.5f), 2);
  cr_assert_eq(bc_modality_level(&m, NAN), -1);
  cr_assert_eq(bc_modality_level(&m, INFINITY), -1);
  cr_assert_eq(bc_modality_level(&m, 0), -1);
}

static void refused(const bc_modality *m, const char *word)
{
  bc_err err = { .code = BC_OK };

  cr_expect_eq(bc_modality_check(m, &err), BC_E_INVAL, "expected a refusal about %s", word);
  cr_expect(strstr(err.msg, word) != NULL, "\"%s\" does not say %s", err.msg, word);
}

#define REFUSED(change, word)                                                                                \
  do {                                                                                                       \
    bc_modality m = sample();                                                                                \
    change;                                                                                                  \
    refused(&m, word);                                                                                       \
  } while (0)

Test(schema, check_names_the_offender)
{
  const bc_modality good = sample();
  bc_err err;

  cr_assert_eq(bc_modality_check(&good, &err), BC_OK);
  REFUSED(m.name[0] = '\0', "variable name is empty");
  REFUSED(m.group[0] = '\0', "group name is empty");
  REFUSED(memset(m.name, 'a', sizeof m.name), "longer than 47");
  REFUSED(memcpy(m.name, "a/b", 4), "a/b");
  REFUSED(memcpy(m.group, "..\xC3\xA9", 5), "group name");
  REFUSED(memset(m.units, 'a', sizeof m.units), "units");
  REFUSED(memset(m.level_units, 'a', sizeof m.level_units), "units");
  REFUSED(m.grid = 64, "grid number 64");
  REFUSED(m.dtype = (bc_dtype)9, "dtype");
  REFUSED(m.bucket = (bc_bucket)5, "bucket");
  REFUSED(m.layout[0] = BC_LAYOUT_NONE, "first layout");
  REFUSED(m.layout[1] = (bc_layout)7, "second layout");
  REFUSED(m.cadence = -1, "cadence of -1");
  REFUSED(m.precision = NAN, "precision");
  REFUSED(m.precision = -0.5, "precision");
  REFUSED(m.n_levels = 257, "257 levels");
  REFUSED(m.levels[1] = NAN, "level 1");
  REFUSED(m.levels[2] = 1000, "twice");
  REFUSED(m.n_attrs = 2, "2 attributes");
  REFUSED(m.n_attrs = -1, "-1 attributes");
}
