/*
 * bctool stats: counts, mean, deviation and range per variable and level, from the index: no value is
 * decoded.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/listing.h"
#include "tools/bctool/ui.h"

typedef struct stats_args {
  bct_common common;
  bct_list vars;
  bool json;
} stats_args;

static const bct_opt k_opts[] = {
  BCT_HEADING("What"),
  BCT_OPT(LIST, 0, "var", "NAMES", stats_args, vars,
          "only these variables: t2m, surface/t2m, globs, joined by commas"),
  BCT_HEADING("Output"),
  BCT_OPT(FLAG, 0, "json", NULL, stats_args, json, "print JSON"),
  BCT_OPTS_END,
};

static const bct_example k_examples[] = {
  { "bctool stats uk.bcube", "all variables" },
  { "bctool stats era5.bcube --var atmospheric/z --json", "one variable, level by level, for programs" },
  { NULL, NULL },
};

/* ---- one variable ---- */

static double mean_of(const bc_usage *u) { return u->n_valid > 0 ? u->sum / (double)u->n_valid : NAN; }

/* Of the population: divided by n. */
static double deviation_of(const bc_usage *u)
{
  const double mean = mean_of(u);
  const double var = u->n_valid > 0 ? u->sumsq / (double)u->n_valid - mean * mean : NAN;

  if (!isfinite(var)) return NAN; /* infinities among the values */
  return var > 0 ? sqrt(var) : 0.0;
}

static double min_of(const bc_usage *u) { return u->n_valid > 0 ? u->min : NAN; }
static double max_of(const bc_usage *u) { return u->n_valid > 0 ? u->max : NAN; }

static void add_row(bct_table *t, const bc_modality *m, size_t level, const bc_usage *u)
{
  char name[BCT_NAME_MAX], a[BCT_TEXT_MAX];

  bct_table_cell(t, "%s", bct_modality_name(m, name));
  bct_table_cell(t, "%s", m->units[0] != '\0' ? m->units : "-");
  if (m->n_levels > 0)
    bct_table_cell(t, "%.7g %s", m->levels[level], m->level_units);
  else
    bct_table_cell(t, "-");
  bct_table_cell(t, "%llu", (unsigned long long)u->n_valid);
  bct_table_cell(t, "%llu", (unsigned long long)u->n_missing);
  bct_table_cell(t, "%llu", (unsigned long long)u->n_absent);
  bct_table_cell(t, "%s", bct_text_number(a, mean_of(u)));
  bct_table_cell(t, "%s", bct_text_number(a, deviation_of(u)));
  bct_table_cell(t, "%s", bct_text_number(a, min_of(u)));
  bct_table_cell(t, "%s", bct_text_number(a, max_of(u)));
}

static void json_row(bc_json *j, const bc_modality *m, size_t level, const bc_usage *u)
{
  bc_json_begin_object(j, NULL);
  bc_json_str(j, "group", m->group);
  bc_json_str(j, "name", m->name);
  bc_json_str(j, "units", m->units);
  if (m->n_levels > 0)
    bc_json_num(j, "level", m->levels[level]);
  else
    bc_json_null(j, "level");
  bc_json_uint(j, "valid", u->n_valid);
  bc_json_uint(j, "missing", u->n_missing);
  bc_json_uint(j, "absent", u->n_absent);
  bc_json_num(j, "mean", mean_of(u));
  bc_json_num(j, "std", deviation_of(u));
  bc_json_num(j, "min", min_of(u));
  bc_json_num(j, "max", max_of(u));
  bc_json_end(j);
}

/* ---- the command ---- */

static bool wanted(const bc_modality *m, const bct_list *vars)
{
  for (size_t i = 0; i < vars->n; i++)
    if (bct_modality_matches(m, vars->v[i])) return true;
  return vars->n == 0;
}

/* Rows go to the table or, when it is NULL, to j. */
static bc_status collect(bc_snapshot *snap, const bct_list *vars, bct_table *t, bc_json *j, uint64_t *damaged,
                         bc_err *err)
{
  bc_usage *const levels = calloc(BC_MAX_LEVELS, sizeof *levels);
  size_t found = 0;
  bc_status st = BC_OK;

  if (levels == NULL) return BC_FAIL(err, BC_E_NOMEM, "not enough memory for the statistics");
  for (size_t i = 0; i < bc_snapshot_modalities(snap); i++) {
    const bc_modality *const m = bc_snapshot_modality(snap, i);
    const size_t n = m->n_levels > 0 ? m->n_levels : 1;
    if (!wanted(m, vars)) continue;
    found++;
    BC_TRY(bc_snapshot_level_usage(snap, m->id, levels, n, damaged, err));
    for (size_t l = 0; l < n; l++) {
      if (t != NULL)
        add_row(t, m, l, &levels[l]);
      else
        json_row(j, m, l, &levels[l]);
    }
  }
  if (found == 0 && vars->n > 0)
    st = BC_FAIL(err, BC_E_NOTFOUND, "no variable matches \"%s\" (for a list: bctool ls STORE)", vars->v[0]);
out:
  free(levels);
  return st;
}

static int stats(const stats_args *a)
{
  static const char *const heads[] = { "variable", "units", "level", ">valid", ">missing", ">absent",
                                       ">mean",    ">std",  ">min",  ">max",   NULL };
  bct_table *const t = a->json ? NULL : bct_table_open(heads);
  bc_json *const j = a->json ? bct_json_open() : NULL;
  bc_store *store = NULL;
  bc_snapshot *snap = NULL;
  uint64_t damaged = 0;
  bc_err err;
  bc_status st;
  int rc = BCT_EXIT_OK;

  if (t == NULL && j == NULL) return BCT_EXIT_MACHINE;
  BC_TRY(bc_store_open(a->common.operands.v[0], BC_OPEN_READ, &store, &err));
  BC_TRY(bc_snapshot_open(store, &snap, &err));
  bct_warn_lost(snap);
  if (j != NULL) bc_json_begin_array(j, NULL);
  BC_TRY(collect(snap, &a->vars, t, j, &damaged, &err));
  if (j != NULL) bc_json_end(j);
  if (j != NULL)
    rc = bct_json_print(j);
  else if (bc_snapshot_modalities(snap) == 0)
    bct_say("the store is empty: fill it with bctool ingest");
  else
    rc = bct_table_print(t);
  rc = bct_warn_damaged(damaged, "they are left out", rc);
out:
  if (st != BC_OK) {
    rc = bct_fail(&err);
    bc_json_close(j);
  }
  bct_table_close(t);
  bc_snapshot_close(snap);
  bc_store_close(store);
  return rc;
}

static int run_stats(const bct_cmd *self, int argc, char **argv)
{
  stats_args a = { 0 };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO) rc = stats(&a);
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_stats = {
  .name = "stats",
  .group = "Look",
  .brief = "counts, mean, deviation and range per variable and level",
  .usage = "STORE [--var NAMES] [--json]",
  .min_operands = 1,
  .max_operands = 1,
  .operands = "STORE",
  .opts = k_opts,
  .about = "From the index; values are decoded only where pieces of a tile overlap, until compact. The mean "
           "is one of nodes, without weights of area. missing: measured, but no value. absent: nodes of a "
           "touched cell "
           "that no file covered. std is that of the population.",
  .examples = k_examples,
  .run = run_stats,
};
