/*
 * bctool query and bctool plot.
 */
#include "query/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "formats/sink.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/listing.h"
#include "tools/bctool/selection.h"
#include "tools/bctool/ui.h"
#include "tools/bctool/util.h"

typedef struct query_args {
  bct_common common;
  bct_selection sel;
  const char *output, *format, *title, *colormap, *range;
  uint64_t memory;
  int32_t threads, width;
  bool overwrite, explain, dry_run, skip_damaged, fail_empty, json;
} query_args;

static const bct_opt k_query_opts[] = {
  BCT_SELECTION_OPTS(query_args, sel),
  BCT_HEADING("Output"),
  BCT_OPT(TEXT, 'o', "output", "FILE", query_args, output,
          "file to write, - for stdout; without it a table on a terminal, CSV into a pipe"),
  BCT_OPT(TEXT, 'f', "format", "FORMAT", query_args, format,
          "npy, npz, safetensors, netcdf, csv, tsv, json, jsonl, table, png; else by the suffix of FILE"),
  BCT_OPT(FLAG, 0, "overwrite", NULL, query_args, overwrite, "replace FILE if it exists"),
  BCT_OPT(FLAG, 0, "fail-empty", NULL, query_args, fail_empty,
          "exit with 1, not 2, when the store holds nothing in that span or box"),
  BCT_OPT(FLAG, 0, "skip-damaged", NULL, query_args, skip_damaged,
          "give missing values for damaged blocks instead of stopping"),
  BCT_HEADING("Plan"),
  BCT_OPT(FLAG, 0, "explain", NULL, query_args, explain,
          "print what would be read for each variable, read nothing"),
  BCT_OPT(FLAG, 0, "dry-run", NULL, query_args, dry_run, "print sizes and memory, read nothing"),
  BCT_OPT(FLAG, 0, "json", NULL, query_args, json,
          "with --explain or --dry-run: the plan as JSON; else the same as -f json"),
  BCT_OPT(SIZE, 0, "memory", "SIZE", query_args, memory, "most memory to use (256M)"),
  BCT_OPT(INT, 0, "threads", "N", query_args, threads, "threads that decode (1)"),
  BCT_OPTS_END,
};

static const bct_example k_query_examples[] = {
  { "bctool query uk.bcube --var t2m --bbox -10,50,2,58 --time 2019-03 -o t2m.npy",
    "a month of a box as a NumPy array (time, latitude, longitude)" },
  { "bctool query uk.bcube --var t2m --at 51.5,-0.1 --time 2019-03-01/2019-03-07 --agg mean:1d",
    "daily means at the node nearest to London, on the terminal" },
  { "bctool query era5.bcube --var 'atmospheric/*' --level 500,850 --time 2020 -o upper.nc --threads 4",
    "two levels of a group for a year, as CF netCDF" },
  { NULL, NULL },
};

static const bct_opt k_plot_opts[] = {
  BCT_SELECTION_OPTS(query_args, sel),
  BCT_HEADING("Picture"),
  BCT_OPT(TEXT, 'o', "output", "FILE.png", query_args, output, "file to write, - for stdout"),
  BCT_OPT(FLAG, 0, "overwrite", NULL, query_args, overwrite, "replace FILE.png if it exists"),
  BCT_OPT(TEXT, 0, "title", "TEXT", query_args, title, "else made from the variable"),
  BCT_OPT(CHOICE, 0, "colormap", "auto|viridis|thermal|balance|rain|terrain", query_args, colormap,
          "colours (auto: chosen by the variable)"),
  BCT_OPT(TEXT, 0, "range", "LO,HI", query_args, range, "values at the ends of the colour scale"),
  BCT_OPT(INT, 0, "width", "PIXELS", query_args, width, "width of the picture (1000)"),
  BCT_HEADING("Plan"),
  BCT_OPT(SIZE, 0, "memory", "SIZE", query_args, memory, "most memory to use (256M)"),
  BCT_OPT(INT, 0, "threads", "N", query_args, threads, "threads that decode (1)"),
  BCT_OPT(FLAG, 0, "json", NULL, query_args, json, "print what was drawn, and where to, as JSON"),
  BCT_OPTS_END,
};

static const bct_example k_plot_examples[] = {
  { "bctool plot uk.bcube --var t2m --time 2019-03-01T12 -o noon.png", "a map of one step" },
  { "bctool plot uk.bcube --var t2m --at 51.5,-0.1 --time 2019-03 -o london.png", "a series at a point" },
  { NULL, NULL },
};

/* ---- the plan ---- */

static void json_var(bc_json *j, const bc_query *q, const bc_var *v, size_t i)
{
  bc_query_part p;
  double first, last;

  bc_query_get_part(q, i, &p);
  bc_json_begin_object(j, NULL);
  bc_json_str(j, "group", v->group);
  bc_json_str(j, "name", v->name);
  bc_json_str(j, "units", v->units);
  bc_json_str(j, "dtype", bc_dtype_name(v->dtype));
  bc_json_begin_array(j, "dims");
  for (int d = 0; d < v->ndim; d++)
    bc_json_str(j, NULL, bc_dim_name(v->dims[d]));
  bc_json_end(j);
  bc_json_begin_array(j, "shape");
  for (int d = 0; d < v->ndim; d++)
    bc_json_int(j, NULL, v->shape[d]);
  bc_json_end(j);
  if (bct_coord_ends(v, BC_DIM_TIME, &first, &last)) {
    bc_json_time(j, "first", (int64_t)first);
    bc_json_time(j, "last", (int64_t)last);
  }
  bc_json_str(j, "grid", p.grid);
  bc_json_str(j, "layout", p.layout);
  bc_json_uint(j, "cells", p.cells);
  bc_json_uint(j, "tiles", p.tiles);
  bc_json_uint(j, "blocks", p.blocks);
  bc_json_uint(j, "raw_blocks", p.raw_blocks);
  bc_json_uint(j, "stored_bytes", p.stored_bytes);
  bc_json_uint(j, "decoded_bytes", p.decoded_bytes);
  bc_json_uint(j, "output_bytes", bct_var_bytes(v));
  bc_json_bool(j, "zero_copy", p.zero_copy);
  bc_json_end(j);
}

/* file: the picture that was written, or NULL. */
static int plan_json(const bc_query *q, const char *file)
{
  const bc_var *const *vars;
  const size_t n = bc_query_vars(q, &vars);
  bc_json *const j = bct_json_open();
  bc_query_cost c;

  if (j == NULL) return BCT_EXIT_MACHINE;
  bc_query_get_cost(q, -1, &c);
  bc_json_begin_object(j, NULL);
  if (file != NULL) bc_json_str(j, "file", file);
  bc_json_uint(j, "snapshot", c.snapshot);
  bc_json_begin_array(j, "variables");
  for (size_t i = 0; i < n; i++)
    json_var(j, q, vars[i], i);
  bc_json_end(j);
  bc_json_uint(j, "tiles", c.tiles);
  bc_json_uint(j, "blocks", c.blocks);
  bc_json_uint(j, "stored_bytes", c.stored_bytes);
  bc_json_uint(j, "decoded_bytes", c.decoded_bytes);
  bc_json_uint(j, "output_bytes", c.output_bytes);
  bc_json_uint(j, "peak_bytes", c.peak_bytes);
  bc_json_end(j);
  return bct_json_print(j);
}

static int explain_table(const bc_query *q)
{
  static const char *const heads[] = { "variable", "shape",   ">cells", ">tiles",    ">blocks", ">raw",
                                       ">read",    ">decode", "layout", "zero-copy", "grid",    NULL };
  const bc_var *const *vars;
  const size_t n = bc_query_vars(q, &vars);
  bct_table *const t = bct_table_open(heads);
  char a[BCT_TEXT_MAX];
  int rc;

  for (size_t i = 0; i < n; i++) {
    bc_query_part p;
    bc_query_get_part(q, i, &p);
    bct_table_cell(t, "%s%s%s", vars[i]->group, vars[i]->group[0] != '\0' ? "/" : "", vars[i]->name);
    bct_table_cell(t, "%s", bct_text_shape(a, vars[i]));
    bct_table_cell(t, "%llu", (unsigned long long)p.cells);
    bct_table_cell(t, "%llu", (unsigned long long)p.tiles);
    bct_table_cell(t, "%llu", (unsigned long long)p.blocks);
    bct_table_cell(t, "%llu", (unsigned long long)p.raw_blocks);
    bct_table_cell(t, "%s", bct_text_bytes(a, p.stored_bytes));
    bct_table_cell(t, "%s", bct_text_bytes(a, p.decoded_bytes));
    bct_table_cell(t, "%s", p.layout);
    bct_table_cell(t, "%s", p.zero_copy ? "yes" : "no");
    bct_table_cell(t, "%s", p.grid);
  }
  rc = bct_table_print(t);
  bct_table_close(t);
  return rc;
}

static int print_plan(const query_args *a, const bc_query *q)
{
  char tiles[BCT_TEXT_MAX], blocks[BCT_TEXT_MAX], read[BCT_TEXT_MAX], decode[BCT_TEXT_MAX], out[BCT_TEXT_MAX],
      peak[BCT_TEXT_MAX];
  bc_query_cost c;

  if (a->json) return plan_json(q, NULL);
  if (a->explain) {
    const int rc = explain_table(q);
    if (rc != BCT_EXIT_OK) return rc;
  }
  bc_query_get_cost(q, -1, &c);
  (void)printf("%s, %s: read %s, decode %s, answer %s, memory %s at most\n",
               bct_text_count(tiles, c.tiles, "tile"), bct_text_count(blocks, c.blocks, "block"),
               bct_text_bytes(read, c.stored_bytes), bct_text_bytes(decode, c.decoded_bytes),
               bct_text_bytes(out, c.output_bytes), bct_text_bytes(peak, c.peak_bytes));
  return BCT_EXIT_OK;
}

/* ---- what is to be done ---- */

typedef struct query_job {
  const query_args *a;
  bc_store *store;
  bc_select sel;
  bc_query_opts opts;
  bc_sink_opts sink;
  const char *path;
} query_job;

/* Where the answer goes, and how. */
static bc_status choose_output(query_job *job, bc_err *err)
{
  const query_args *const a = job->a;
  const bc_format *format;
  const char *name = a->format;

  job->path = a->output != NULL ? a->output : "-";
  if (name == NULL && strcmp(job->path, "-") == 0)
    name = a->json ? "json" : isatty(STDOUT_FILENO) ? "table" : "csv";
  BC_RET(bc_format_find(name, job->path, &format, err));
  if (strcmp(job->path, "-") == 0 && !format->text && isatty(STDOUT_FILENO))
    return BC_FAIL(err, BC_E_INVAL, "%s is binary and would spoil the terminal: give -o FILE, or redirect",
                   format->name);
  job->sink.format = format->name;
  return BC_OK;
}

static bc_status parse_range(const char *text, bc_sink_opts *sink, bc_err *err)
{
  const char *const comma = strchr(text, ',');
  char low[40];

  (void)snprintf(low, sizeof low, "%.*s", comma != NULL ? (int)(comma - text) : 0, text);
  sink->has_range = comma != NULL && bct_parse_real(low, &sink->vmin) &&
                    bct_parse_real(comma + 1, &sink->vmax) && sink->vmin < sink->vmax;
  if (sink->has_range) return BC_OK;
  return BC_FAIL(err, BC_E_INVAL, "--range takes LO,HI: two numbers, the lower first; found \"%s\"", text);
}

static bc_status prepare(query_job *job, bc_err *err)
{
  const query_args *const a = job->a;
  bc_snapshot *snap = NULL;

  job->opts.memory = a->memory;
  bct_set_heap(a->memory);
  job->opts.threads = a->threads;
  job->opts.skip_damaged = a->skip_damaged;
  job->sink.overwrite = a->overwrite;
  job->sink.title = a->title;
  job->sink.colormap = a->colormap;
  job->sink.width = a->width;
  if (a->range != NULL) BC_RET(parse_range(a->range, &job->sink, err));
  BC_RET(bct_selection_parse(&a->sel, &job->sel, err));
  BC_RET(choose_output(job, err));
  BC_RET(bc_store_open(a->common.operands.v[0], BC_OPEN_READ, &job->store, err));
  BC_RET(bc_snapshot_open(job->store, &snap, err));
  bct_warn_lost(snap);
  bc_snapshot_close(snap);
  return BC_OK;
}

/* ---- doing it ---- */

/* Was it place or time that had nothing? Then the same variables and levels are found without them. */
static bool empty_there(query_job *job)
{
  bc_query *q = NULL;
  bc_err none;
  bc_status st;

  job->sel.has_bbox = false;
  job->sel.n_points = 0;
  job->sel.t_begin = BC_TIME_OPEN_BEGIN;
  job->sel.t_end = BC_TIME_OPEN_END;
  st = bc_query_open(job->store, &job->sel, &job->opts, &q, &none);
  bc_query_close(q);
  return st == BC_OK || st == BC_E_BUDGET;
}

static int answer(query_job *job)
{
  const query_args *const a = job->a;
  bc_query *q = NULL;
  bc_err err;
  int rc = BCT_EXIT_OK;

  if (bc_query_open(job->store, &job->sel, &job->opts, &q, &err) != BC_OK) {
    rc = bct_fail(&err);
    return a->fail_empty && err.code == BC_E_NOTFOUND && empty_there(job) ? BCT_EXIT_NO : rc;
  }
  if (a->explain || a->dry_run) {
    bct_say_answer(q);
    rc = print_plan(a, q);
  } else if (strcmp(job->sink.format, "png") == 0) {
    if (bct_draw(job->store, &job->sel, &job->opts, &job->sink, job->path, &err) != BC_OK)
      rc = bct_fail(&err);
    else if (a->json)
      rc = plan_json(q, job->path);
  } else {
    bct_say_answer(q);
    if (bct_write_answer(q, &job->sink, job->path, &err) != BC_OK) rc = bct_fail(&err);
  }
  bc_query_close(q);
  return rc;
}

static int run_job(const query_args *a)
{
  query_job job = { .a = a, .opts = BC_QUERY_OPTS_INIT, .sink = BC_SINK_OPTS_INIT };
  job.sink.tmp_folder = getenv("TMPDIR");
  bc_err err;
  int rc;

  bc_select_init(&job.sel);
  rc = prepare(&job, &err) == BC_OK ? answer(&job) : bct_fail(&err);
  bc_store_close(job.store);
  bc_select_dispose(&job.sel);
  return rc;
}

static int run_query(const bct_cmd *self, int argc, char **argv)
{
  query_args a = { .threads = 1 };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO) rc = run_job(&a);
  bct_args_free(self, &a);
  return rc;
}

/* "x.jpg" is not to hold a PNG; a name without a suffix may. */
static bool fits_png(const char *path)
{
  const char *const slash = strrchr(path, '/');
  const char *const dot = strrchr(slash != NULL ? slash : path, '.');

  return dot == NULL || strcmp(path, "-") == 0 || strcasecmp(dot, ".png") == 0;
}

static int run_plot(const bct_cmd *self, int argc, char **argv)
{
  query_args a = { .threads = 1, .format = "png" };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO && a.sel.vars.n == 0) rc = bct_usage("--var is missing (see: bctool help plot)");
  if (rc == BCT_GO && a.output == NULL) rc = bct_usage("-o FILE.png is missing (see: bctool help plot)");
  if (rc == BCT_GO && !fits_png(a.output))
    rc = bct_usage("%s: pictures are PNG: name the file something.png", a.output);
  if (rc == BCT_GO && a.json && strcmp(a.output, "-") == 0)
    rc = bct_usage("--json and -o - both want stdout: give -o FILE.png");
  if (rc == BCT_GO) rc = run_job(&a);
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_query = {
  .name = "query",
  .group = "Look",
  .brief = "select a box or points; print or write a file",
  .usage = "STORE --var NAMES [--bbox W,S,E,N | --at LAT,LON] [--time A/B] [-o FILE] [options]",
  .min_operands = 1,
  .max_operands = 1,
  .operands = "STORE",
  .opts = k_query_opts,
  .about =
      "The answer is (time, [level,] latitude, longitude), or (time, [level,] point), with its coordinates. "
      "Missing values are NaN. What was understood is told on stderr, unless -q.",
  .examples = k_query_examples,
  .run = run_query,
};

const bct_cmd bct_cmd_plot = {
  .name = "plot",
  .group = "Look",
  .brief = "draw a map or a series",
  .usage = "STORE --var NAME -o FILE.png [--time T] [--bbox W,S,E,N | --at LAT,LON] [options]",
  .min_operands = 1,
  .max_operands = 1,
  .operands = "STORE",
  .opts = k_plot_opts,
  .about = "A box gives a map of its first step and level, points give a series. The coast is drawn where "
           "the store "
           "holds lsm on the same grid.",
  .examples = k_plot_examples,
  .run = run_plot,
};
