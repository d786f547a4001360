/*
 * bctool ls: the variables of a store, one line each.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/store.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/listing.h"
#include "tools/bctool/ui.h"
#include "tools/bctool/util.h"

typedef struct ls_args {
  bct_common common;
  bool json, detail;
} ls_args;

static const bct_opt k_opts[] = {
  BCT_HEADING("Output"),
  BCT_OPT(FLAG, 'l', "long", NULL, ls_args, detail, "also grid, layout, time step, codecs, range"),
  BCT_OPT(FLAG, 0, "json", NULL, ls_args, json, "print JSON, with all attributes"),
  BCT_OPTS_END,
};

static const bct_example k_examples[] = {
  { "bctool ls uk.bcube", "all variables" },
  { "bctool ls era5.bcube 'atmospheric/*' -l", "those of a group, with storage details" },
  { NULL, NULL },
};

#define SECONDS_PER_MONTH INT64_C(2629746)

/* A variable as it is listed. */
typedef struct row {
  const bc_modality *m;
  const bc_grid *grid;
  bc_usage u;
  uint64_t steps,
      gaps; /* gaps: steps that the cadence would have between first and last and that are missing */
} row;

static int64_t month_number(int64_t t)
{
  const bc_civil c = bc_time_to_civil(t);
  return (int64_t)c.year * 12 + c.month - 1;
}

static uint64_t count_gaps(const int64_t *times, size_t n, int64_t cadence)
{
  const bool months = cadence > 0 && cadence % SECONDS_PER_MONTH == 0;
  const int64_t unit = months ? cadence / SECONDS_PER_MONTH : cadence;
  uint64_t gaps = 0;

  for (size_t i = 1; i < n && cadence > 0; i++) {
    const int64_t a = months ? month_number(times[i - 1]) : times[i - 1];
    const int64_t b = months ? month_number(times[i]) : times[i];
    if (b - a > unit) gaps += (uint64_t)((b - a) / unit - 1);
  }
  return gaps;
}

static bc_status fill_row(bc_snapshot *snap, const bc_modality *m, row *r, uint64_t *damaged, bc_err *err)
{
  int64_t *times = NULL;
  size_t n = 0;
  bc_status st;

  *r = (row){ .m = m, .grid = bc_snapshot_grid(snap, m->grid) };
  BC_TRY(bc_snapshot_usage(snap, m->id, &r->u, err));
  if (r->u.n_tiles == 0 || r->u.t_first == BC_TIME_STATIC) goto out;
  BC_TRY(bc_snapshot_times(snap, m->id, &times, &n, damaged, err));
  r->steps = n;
  r->gaps = count_gaps(times, n, m->cadence);
out:
  bc_times_free(times);
  return st;
}

/* ---- text ---- */

static void level_text(const bc_modality *m, char *buf, size_t cap)
{
  if (m->n_levels == 0)
    (void)snprintf(buf, cap, "-");
  else if (m->n_levels == 1)
    (void)snprintf(buf, cap, "%.7g %s", m->levels[0], m->level_units);
  else
    (void)snprintf(buf, cap, "%u: %.7g..%.7g %s", m->n_levels, m->levels[0], m->levels[m->n_levels - 1],
                   m->level_units);
}

static void codec_text(const bc_usage *u, char *buf, size_t cap)
{
  size_t n = 0;

  buf[0] = '\0';
  for (size_t c = 0; c < BCT_ARRAY_LEN(u->codec_tiles) && n < cap; c++)
    if (u->codec_tiles[c] > 0)
      n += (size_t)snprintf(buf + n, cap - n, "%s%s:%llu", n > 0 ? " " : "", bct_codec_name(c),
                            (unsigned long long)u->codec_tiles[c]);
}

static void add_row(bct_table *t, const row *r)
{
  char name[BCT_NAME_MAX], a[BCT_TEXT_MAX];

  bct_table_cell(t, "%s", bct_modality_name(r->m, name));
  bct_table_cell(t, "%s", r->m->units[0] != '\0' ? r->m->units : "-");
  level_text(r->m, a, sizeof a);
  bct_table_cell(t, "%s", a);
  bct_table_cell(t, "%s", r->u.n_tiles == 0 ? "empty" : bct_text_span(a, r->u.t_first, r->u.t_last));
  if (r->u.n_tiles > 0 && r->u.t_first == BC_TIME_STATIC) {
    bct_table_cell(t, "-");
    bct_table_cell(t, "-");
  } else {
    bct_table_cell(t, "%llu", (unsigned long long)r->steps);
    bct_table_cell(t, "%llu", (unsigned long long)r->gaps);
  }
  bct_table_cell(t, "%llu", (unsigned long long)r->u.n_tiles);
  bct_table_cell(t, "%s", bct_text_bytes(a, r->u.stored_bytes));
  bct_table_cell(t, "%s", bct_text_ratio(a, r->u.decoded_bytes, r->u.stored_bytes));
}

static void add_detail(bct_table *t, const row *r)
{
  const bool second = r->m->layout[1] != BC_LAYOUT_NONE;
  char a[3 * BCT_TEXT_MAX];

  bct_table_cell(t, "%s", r->grid->name);
  bct_table_cell(t, "%s%s%s", bc_layout_name(r->m->layout[0]), second ? "+" : "",
                 second ? bc_layout_name(r->m->layout[1]) : "");
  bct_table_cell(t, "%s", bc_bucket_name(r->m->bucket));
  bct_table_cell(t, "%s", bct_text_cadence(a, r->m->cadence));
  if (r->m->precision > 0)
    bct_table_cell(t, "%.7g", r->m->precision);
  else
    bct_table_cell(t, "exact");
  codec_text(&r->u, a, sizeof a);
  bct_table_cell(t, "%s", a);
  bct_table_cell(t, "%s", bct_text_number(a, r->u.n_valid > 0 ? r->u.min : NAN));
  bct_table_cell(t, "%s", bct_text_number(a, r->u.n_valid > 0 ? r->u.max : NAN));
}

static int print_text(const row *rows, size_t n, bool detail)
{
  static const char *const brief[] = { "variable", "units", "levels", "span",      ">steps", ">gaps",
                                       ">tiles",   ">size", ">ratio", "long name", NULL };
  static const char *const full[] = { "variable", "units",  "levels",    "span",      ">steps",
                                      ">gaps",    ">tiles", ">size",     ">ratio",    "grid",
                                      "layout",   "bucket", "step",      "precision", "codecs",
                                      ">min",     ">max",   "long name", NULL };
  bct_table *const t = bct_table_open(detail ? full : brief);
  int rc;

  for (size_t i = 0; i < n; i++) {
    add_row(t, &rows[i]);
    if (detail) add_detail(t, &rows[i]);
    bct_table_cell(t, "%s", bct_modality_attr(rows[i].m, "long_name"));
  }
  rc = bct_table_print(t);
  bct_table_close(t);
  return rc;
}

/* ---- JSON ---- */

static void json_row(bc_json *j, const row *r)
{
  const bc_modality *const m = r->m;

  bc_json_begin_object(j, NULL);
  bc_json_str(j, "group", m->group);
  bc_json_str(j, "name", m->name);
  bc_json_str(j, "units", m->units);
  bc_json_str(j, "dtype", bc_dtype_name(m->dtype));
  bc_json_str(j, "grid", r->grid->name);
  bc_json_begin_array(j, "levels");
  for (uint16_t l = 0; l < m->n_levels; l++)
    bc_json_num(j, NULL, m->levels[l]);
  bc_json_end(j);
  bc_json_str(j, "level_units", m->level_units);
  bc_json_time(j, "first", r->u.n_tiles > 0 ? r->u.t_first : BC_TIME_STATIC);
  bc_json_time(j, "last", r->u.n_tiles > 0 ? r->u.t_last : BC_TIME_STATIC);
  bc_json_bool(j, "static", r->u.n_tiles > 0 && r->u.t_first == BC_TIME_STATIC);
  bc_json_uint(j, "steps", r->steps);
  bc_json_uint(j, "gaps", r->gaps);
  bc_json_int(j, "cadence", m->cadence);
  bc_json_str(j, "bucket", bc_bucket_name(m->bucket));
  bc_json_begin_array(j, "layouts");
  for (int i = 0; i < 2; i++)
    if (m->layout[i] != BC_LAYOUT_NONE) bc_json_str(j, NULL, bc_layout_name(m->layout[i]));
  bc_json_end(j);
  bc_json_num(j, "precision", m->precision);
  bc_json_uint(j, "tiles", r->u.n_tiles);
  bc_json_uint(j, "decoded_bytes", r->u.decoded_bytes);
  bc_json_uint(j, "stored_bytes", r->u.stored_bytes);
  bc_json_begin_object(j, "codecs");
  for (size_t c = 0; c < BCT_ARRAY_LEN(r->u.codec_tiles); c++)
    if (r->u.codec_tiles[c] > 0) bc_json_uint(j, bct_codec_name(c), r->u.codec_tiles[c]);
  bc_json_end(j);
  bct_json_attrs(j, "attributes", m->attrs, m->n_attrs);
  bc_json_end(j);
}

static int print_json(const row *rows, size_t n)
{
  bc_json *const j = bct_json_open();

  if (j == NULL) return BCT_EXIT_MACHINE;
  bc_json_begin_array(j, NULL);
  for (size_t i = 0; i < n; i++)
    json_row(j, &rows[i]);
  bc_json_end(j);
  return bct_json_print(j);
}

/* ---- the command ---- */

static bc_status collect(bc_snapshot *snap, const char *pattern, row **rows, size_t *n, uint64_t *damaged,
                         bc_err *err)
{
  const size_t all = bc_snapshot_modalities(snap);

  *n = 0;
  *rows = calloc(all + 1, sizeof **rows);
  if (*rows == NULL) return BC_FAIL(err, BC_E_NOMEM, "not enough memory to list %zu variables", all);
  for (size_t i = 0; i < all; i++) {
    const bc_modality *const m = bc_snapshot_modality(snap, i);
    if (pattern == NULL || bct_modality_matches(m, pattern))
      BC_RET(fill_row(snap, m, &(*rows)[(*n)++], damaged, err));
  }
  if (*n == 0 && pattern != NULL)
    return BC_FAIL(err, BC_E_NOTFOUND, "no variable matches \"%s\" (for all: bctool ls STORE)", pattern);
  return BC_OK;
}

static int ls(const ls_args *a)
{
  const bct_list *const operands = &a->common.operands;
  bc_store *store = NULL;
  bc_snapshot *snap = NULL;
  row *rows = NULL;
  size_t n = 0;
  uint64_t damaged = 0;
  bc_err err;
  bc_status st;
  int rc = BCT_EXIT_OK;

  BC_TRY(bc_store_open(operands->v[0], BC_OPEN_READ, &store, &err));
  BC_TRY(bc_snapshot_open(store, &snap, &err));
  bct_warn_lost(snap);
  BC_TRY(collect(snap, operands->n > 1 ? operands->v[1] : NULL, &rows, &n, &damaged, &err));
  if (a->json)
    rc = print_json(rows, n);
  else if (n == 0)
    bct_say("the store is empty: fill it with bctool ingest");
  else
    rc = print_text(rows, n, a->detail);
  rc = bct_warn_damaged(damaged, "their steps are from the index", rc);
out:
  if (st != BC_OK) rc = bct_fail(&err);
  free(rows);
  bc_snapshot_close(snap);
  bc_store_close(store);
  return rc;
}

static int run_ls(const bct_cmd *self, int argc, char **argv)
{
  ls_args a = { 0 };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO) rc = ls(&a);
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_ls = {
  .name = "ls",
  .group = "Look",
  .brief = "list the variables: units, levels, time span, gaps, sizes",
  .usage = "STORE [PATTERN] [-l] [--json]",
  .min_operands = 1,
  .max_operands = 2,
  .operands = "STORE PATTERN",
  .opts = k_opts,
  .about =
      "PATTERN is a group, a name, or a glob such as 'atmospheric/*'. gaps counts the steps that are missing "
      "between the first and the last, by the variable's usual time step. With -l, min and max are of all "
      "that is "
      "stored, replaced values included until compact: bctool stats has those in force.",
  .examples = k_examples,
  .run = run_ls,
};
