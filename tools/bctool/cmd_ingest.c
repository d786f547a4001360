/*
 * bctool ingest netcdf: raster files into a store.
 */
#include "ingest/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "query/select.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/file_list.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/ui.h"
#include "tools/bctool/util.h"

typedef struct ingest_args {
  bct_common common;
  bct_list vars;
  const char *group, *bbox, *time, *codec, *layout, *bucket, *regrid, *files_from;
  double precision;
  uint64_t memory;
  int32_t threads;
  bool replace, mend, mend_older, is_static, keep_going, dry_run, json;
} ingest_args;

static const bct_opt k_opts[] = {
  BCT_HEADING("What is taken"),
  BCT_OPT(TEXT, 0, "files-from", "LIST", ingest_args, files_from,
          "also the files named in LIST, one a line or as find -print0 writes them; - is standard input"),
  BCT_OPT(LIST, 0, "var", "NAMES", ingest_args, vars,
          "only these variables: names and globs, joined by commas"),
  BCT_OPT(TEXT, 0, "bbox", "W,S,E,N", ingest_args, bbox, "only this box, in degrees"),
  BCT_OPT(TEXT, 0, "time", "A/B", ingest_args, time,
          "only this span, both ends included at their precision: 2019-03, 2000/2020, ../2010"),
  BCT_OPT(TEXT, 0, "group", "NAME", ingest_args, group,
          "group of the variables; else it is inferred from the variables of each file"),
  BCT_OPT(FLAG, 0, "static", NULL, ingest_args, is_static, "files of one time step hold fields without time"),
  BCT_OPT(CHOICE, 0, "regrid", "nearest|bilinear|mean", ingest_args, regrid,
          "put values that are off the store's grid onto it; mean is area-weighted"),
  BCT_OPT(FLAG, 0, "replace", NULL, ingest_args, replace,
          "new values win where they differ from stored ones; without it that is refused"),
  BCT_OPT(FLAG, 0, "mend", NULL, ingest_args, mend,
          "bring back what is damaged or lost of these files; what can be read stays as it is"),
  BCT_OPT(FLAG, 0, "mend-older", NULL, ingest_args, mend_older,
          "the same, also where values of a later file may have been in force, which is not to be had"),
  BCT_HEADING("How it is stored"),
  BCT_OPT(TEXT, 0, "codec", "auto|raw|zstd[:L]", ingest_args, codec,
          "auto (the default) keeps the smallest; raw is for zero-copy windows; all are lossless"),
  BCT_OPT(
      TEXT, 0, "layout", "NAME", ingest_args, layout,
      "balanced (the default), map (whole frames), series (long series of small boxes), or two joined by +"),
  BCT_OPT(CHOICE, 0, "bucket", "static|day|month|year|decade", ingest_args, bucket,
          "time span of a tile, for new variables; else chosen by the time step"),
  BCT_OPT(REAL, 0, "precision", "P", ingest_args, precision,
          "round values to within half of P: smaller, but no longer exact; recorded in the store"),
  BCT_HEADING("How it runs"),
  BCT_OPT(SIZE, 0, "memory", "SIZE", ingest_args, memory,
          "most memory to use, such as 512M (a quarter of the machine's, at most 4G)"),
  BCT_OPT(INT, 0, "threads", "N", ingest_args, threads, "threads that encode (1)"),
  BCT_OPT(FLAG, 0, "keep-going", NULL, ingest_args, keep_going,
          "report a file that is refused and try the next one"),
  BCT_OPT(FLAG, 0, "dry-run", NULL, ingest_args, dry_run,
          "read headers only, estimate sizes and memory, write nothing"),
  BCT_OPT(FLAG, 0, "json", NULL, ingest_args, json, "print the summary as JSON"),
  BCT_OPTS_END,
};

static const bct_example k_examples[] = {
  { "bctool ingest netcdf uk.bcube era5_t2m_uk_2019-03.nc", "all variables of one file" },
  { "bctool ingest netcdf uk.bcube era5/*.nc --var t2m,u10,v10 --threads 4 --memory 1G",
    "three variables of many files; files that are in already are skipped" },
  { "find era5 -name '*.nc' | sort | bctool ingest netcdf uk.bcube --files-from -",
    "more files than a command line takes" },
  { "bctool ingest netcdf uk.bcube chelsa.nc --regrid mean --group climate",
    "a finer grid, averaged onto the store's" },
  { NULL, NULL },
};

/* The lists and texts that opts borrows from. */
typedef struct ingest_parsed {
  bc_select sel;
  char *vars;
} ingest_parsed;

/* The lists of all --var joined by commas; NULL when there is none. */
static bc_status join_vars(const bct_list *list, char **out, bc_err *err)
{
  size_t n = 1;

  for (size_t i = 0; i < list->n; i++)
    n += strlen(list->v[i]) + 1;
  *out = NULL;
  if (list->n == 0) return BC_OK;
  *out = calloc(n, 1);
  if (*out == NULL) return BC_FAIL(err, BC_E_NOMEM, "not enough memory for the list of variables");
  for (size_t i = 0, at = 0; i < list->n; i++)
    at += (size_t)snprintf(*out + at, n - at, "%s%s", i > 0 ? "," : "", list->v[i]);
  return BC_OK;
}

static bc_regrid regrid_of(const char *word)
{
  if (word == NULL) return BC_REGRID_NONE;
  if (strcmp(word, "nearest") == 0) return BC_REGRID_NEAREST;
  return strcmp(word, "mean") == 0 ? BC_REGRID_MEAN : BC_REGRID_BILINEAR;
}

static bc_status make_opts(const ingest_args *a, ingest_parsed *p, bc_ingest_opts *o, bc_err *err)
{
  if (a->precision < 0)
    return BC_FAIL(err, BC_E_INVAL, "--precision takes a number above 0; found %g", a->precision);
  if (a->bbox != NULL) BC_RET(bc_select_set_bbox(&p->sel, a->bbox, err));
  if (a->time != NULL) BC_RET(bc_select_set_time(&p->sel, a->time, err));
  BC_RET(join_vars(&a->vars, &p->vars, err));
  bc_ingest_opts_init(o);
  o->group = a->group;
  o->vars = p->vars;
  o->has_bbox = p->sel.has_bbox;
  o->west = p->sel.west;
  o->south = p->sel.south;
  o->east = p->sel.east;
  o->north = p->sel.north;
  o->t_begin = p->sel.t_begin;
  o->t_end = p->sel.t_end;
  o->codec = a->codec;
  o->layout = a->layout;
  o->bucket = a->bucket;
  o->precision = a->precision;
  o->regrid = regrid_of(a->regrid);
  o->replace = a->replace;
  o->mend = a->mend;
  o->mend_older = a->mend_older;
  o->is_static = a->is_static;
  o->keep_going = a->keep_going;
  o->memory = a->memory;
  bct_set_heap(a->memory);
  o->threads = a->threads;
  o->dry_run = a->dry_run;
  o->progress = *bct_progress_begin();
  return BC_OK;
}

/* ", 2 already in, 1 refused": whatever is not 0 */
static void add_words(char *buf, size_t cap, uint64_t n, const char *what)
{
  const size_t at = strlen(buf);

  if (n > 0) (void)snprintf(buf + at, cap - at, ", %llu %s", (unsigned long long)n, what);
}

static void say_estimate(const bc_ingest_report *r, const char *files)
{
  char steps[BCT_TEXT_MAX], vars[BCT_TEXT_MAX], from[BCT_TEXT_MAX], memory[BCT_TEXT_MAX];

  bct_say("would ingest %s: %s of %s, %s decoded, %s of memory; nothing written", files,
          bct_text_count(steps, r->steps, "step"), bct_text_count(vars, r->variables, "variable"),
          bct_text_bytes(from, r->decoded_bytes), bct_text_bytes(memory, r->memory));
}

static void say_summary(const bc_ingest_report *r, bool dry_run)
{
  char files[2 * BCT_TEXT_MAX], steps[BCT_TEXT_MAX], tiles[BCT_TEXT_MAX], from[BCT_TEXT_MAX],
      to[BCT_TEXT_MAX], ratio[BCT_TEXT_MAX], time[BCT_TEXT_MAX], rate[BCT_TEXT_MAX];

  (void)bct_text_count(files, r->files, "file");
  add_words(files, sizeof files, r->files_skipped, "already in");
  add_words(files, sizeof files, r->files_refused, "refused");
  if (dry_run) {
    say_estimate(r, files);
    return;
  }
  if (r->files == 0) {
    bct_say("%s: nothing added", files);
    return;
  }
  (void)bct_text_count(steps, r->steps, "step");
  add_words(steps, sizeof steps, r->steps_equal, "already in");
  (void)bct_text_bytes(rate, r->seconds > 0 ? (uint64_t)((double)r->decoded_bytes / r->seconds) : 0);
  bct_say("%s: %s, %s, %s -> %s (%s), %s, %s/s", files, steps, bct_text_count(tiles, r->tiles, "tile"),
          bct_text_bytes(from, r->decoded_bytes), bct_text_bytes(to, r->stored_bytes),
          bct_text_ratio(ratio, r->decoded_bytes, r->stored_bytes), bct_text_seconds(time, r->seconds), rate);
}

static int print_json(const bc_ingest_report *r, bool dry_run)
{
  bc_json *const j = bct_json_open();

  if (j == NULL) return BCT_EXIT_MACHINE;
  bc_json_begin_object(j, NULL);
  bc_json_bool(j, "dry_run", dry_run);
  bc_json_uint(j, "files", r->files);
  bc_json_uint(j, "files_skipped", r->files_skipped);
  bc_json_uint(j, "files_refused", r->files_refused);
  bc_json_uint(j, "variables", r->variables);
  bc_json_uint(j, "steps", r->steps);
  bc_json_uint(j, "steps_equal", r->steps_equal);
  bc_json_uint(j, "tiles", r->tiles);
  bc_json_uint(j, "source_bytes", r->source_bytes);
  bc_json_uint(j, "decoded_bytes", r->decoded_bytes);
  bc_json_uint(j, "stored_bytes", r->stored_bytes);
  if (dry_run) bc_json_uint(j, "memory", r->memory);
  bc_json_num(j, "seconds", r->seconds);
  bc_json_end(j);
  return bct_json_print(j);
}

static bc_status ingest(const ingest_args *a, bc_ingest_report *report, bc_err *err)
{
  const bct_list *const words = &a->common.operands;
  bct_file_list files;
  ingest_parsed p = { .vars = NULL };
  bc_ingest_opts opts;
  bc_store *store = NULL;
  bc_status st;

  bc_select_init(&p.sel);
  BC_TRY(bct_file_list_make(words->v + 1, words->n - 1, a->files_from, &files, err));
  BC_TRY(make_opts(a, &p, &opts, err));
  BC_TRY(bc_store_open(words->v[0], a->dry_run ? BC_OPEN_READ : BC_OPEN_WRITE, &store, err));
  BC_TRY(bc_ingest_netcdf(store, files.v, files.n, &opts, report, err));
out:
  bct_progress_end();
  bc_store_close(store);
  bc_select_dispose(&p.sel);
  bct_file_list_dispose(&files);
  free(p.vars);
  return st;
}

/* With --keep-going each refused file has been told in a note. */
static bool told(const ingest_args *a, const bc_ingest_report *r, int rc)
{
  return a->keep_going && !a->common.quiet && r->files_refused > 0 &&
         (rc == BCT_EXIT_USAGE || rc == BCT_EXIT_DAMAGED);
}

static int run_ingest(const bct_cmd *self, int argc, char **argv)
{
  ingest_args a = { .threads = 1 };
  bc_ingest_report report = { 0 };
  bc_err err;
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO && a.common.operands.n < 2 && a.files_from == NULL)
    rc = bct_usage("FILE is missing: bctool ingest netcdf STORE FILE.. (or --files-from LIST)");
  a.mend = a.mend || a.mend_older;
  if (rc == BCT_GO && a.replace && a.mend)
    rc = bct_usage("--replace and --mend exclude each other: new values win, or stored ones stay");
  if (rc == BCT_GO) {
    const bc_status st = ingest(&a, &report, &err);
    rc = bct_exit_code(st);
    if (st != BC_OK && !told(&a, &report, rc)) rc = bct_fail(&err);
    if (st == BC_OK || report.files > 0 || told(&a, &report, rc)) say_summary(&report, a.dry_run);
    if (st == BC_OK && a.json) rc = print_json(&report, a.dry_run);
  }
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_ingest_netcdf = {
  .name = "ingest netcdf",
  .group = "Build",
  .brief = "climate fields from netCDF files, or zips of them",
  .usage = "STORE FILE.. [options]",
  .min_operands = 1,
  .max_operands = -1,
  .operands = "STORE FILE",
  .opts = k_opts,
  .about =
      "Reads netCDF classic, 64-bit offset, CDF-5 and netCDF-4, and the zip that the CDS delivers. Values "
      "are "
      "stored bit for bit. A file that is in already is skipped, values that are in already add nothing, and "
      "values that differ are refused unless --replace. Interrupted, even killed, the same command finishes "
      "the job.",
  .examples = k_examples,
  .run = run_ingest,
};
