/*
 * bctool verify: is the store as it was written?
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/ui.h"

typedef struct verify_args {
  bct_common common;
  bool full, quick, json;
} verify_args;

static const bct_opt k_opts[] = {
  BCT_HEADING("How thoroughly"),
  BCT_OPT(FLAG, 0, "quick", NULL, verify_args, quick,
          "index, heads, tails and sizes of all segments: the default"),
  BCT_OPT(FLAG, 0, "full", NULL, verify_args, full, "also every checksum, and every block decoded"),
  BCT_HEADING("Output"),
  BCT_OPT(FLAG, 0, "json", NULL, verify_args, json, "print JSON"),
  BCT_OPTS_END,
};

static const bct_example k_examples[] = {
  { "bctool verify uk.bcube", "a quick look, independent of the amount of data" },
  { "bctool verify uk.bcube --full",
    "reads everything; exit code 3 and one line per damage if there is any" },
  { NULL, NULL },
};

/* ---- one damage ---- */

/* The sentence names segment, tile and source file. */
static void print_damage(void *ctx, const bc_damage *d)
{
  (void)ctx;
  bct_progress_end(); /* the bar must not stand in the way of stdout on the same terminal */
  (void)printf("%s\n", d->what);
}

typedef struct json_findings {
  bc_json *j;
  char *command; /* that mends all of them, when there are several */
} json_findings;

static void json_damage(void *ctx, const bc_damage *d)
{
  json_findings *const f = ctx;
  bc_json *const j = f->j;

  if (d->is_summary) {
    f->command = strdup(d->command);
    return;
  }
  bc_json_begin_object(j, NULL);
  bc_json_str(j, "code", bc_status_name(d->code));
  bc_json_str(j, "what", d->what);
  if (d->segment != 0) bc_json_uint(j, "segment", d->segment);
  if (d->has_tile) {
    bc_json_str(j, "group", d->group);
    bc_json_str(j, "name", d->name);
    bc_json_uint(j, "cell", d->cell);
    bc_json_time(j, "time", d->time);
  }
  bc_json_str(j, "source", d->source);
  bc_json_str(j, "command", d->command);
  if (d->command_number != 0) bc_json_uint(j, "command_number", d->command_number);
  bc_json_end(j);
}

/* ---- the command ---- */

static void json_tail(const json_findings *f, const bc_verify_report *r, bool full)
{
  bc_json *const j = f->j;

  bc_json_end(j); /* of the damages */
  if (f->command != NULL) bc_json_str(j, "command", f->command);
  bc_json_bool(j, "full", full);
  bc_json_uint(j, "segments", r->segments);
  bc_json_uint(j, "tiles", r->tiles);
  bc_json_uint(j, "bytes", r->bytes);
  bc_json_uint(j, "damaged", r->damaged);
  bc_json_uint(j, "orphans", r->orphans);
  bc_json_uint(j, "leftovers", r->leftovers);
  bc_json_end(j);
}

static void say_report(const bc_verify_report *r, bool full)
{
  char bytes[BCT_TEXT_MAX], segments[BCT_TEXT_MAX], tiles[BCT_TEXT_MAX], orphans[BCT_TEXT_MAX];

  if (full)
    bct_say("full check: %s, %s, %s looked at: %llu damaged",
            bct_text_count(segments, r->segments, "segment"), bct_text_count(tiles, r->tiles, "tile"),
            bct_text_bytes(bytes, r->bytes), (unsigned long long)r->damaged);
  else
    bct_say("quick check: index and %s looked at: %llu damaged%s",
            bct_text_count(segments, r->segments, "segment"), (unsigned long long)r->damaged,
            r->damaged > 0 ? " (values were not read: --full finds all of it, and the command that mends it)"
                           : " (values were not read: see --full)");
  if (r->orphans > 0)
    bct_say("note: the index does not know of %s: a run was interrupted there, or the index is older. The "
            "next ingest "
            "takes in what is whole; bctool reindex says what is not",
            bct_text_count(orphans, r->orphans, "segment"));
  if (r->leftovers > 0)
    bct_say("note: %s in segments/ %s of what is gone: nobody reads %s",
            bct_text_count(orphans, r->leftovers, "file"), r->leftovers == 1 ? "is left" : "are left",
            r->leftovers == 1 ? "it" : "them");
}

/* Of the store itself; a folder that is none, or cannot be read, is an error. */
static bool is_damage(bc_status st)
{
  return st == BC_E_CORRUPT || st == BC_E_TRUNCATED || st == BC_E_CHECKSUM;
}

static int verify(const verify_args *a)
{
  bc_json *const j = a->json ? bct_json_open() : NULL;
  json_findings f = { .j = j };
  bc_verify_report report = { 0 };
  bc_store *store = NULL;
  bc_err err;
  bc_status st;
  int rc = BCT_EXIT_OK;

  if (a->json && j == NULL) return BCT_EXIT_MACHINE;
  if (j != NULL) {
    bc_json_begin_object(j, NULL);
    bc_json_begin_array(j, "damages");
  }
  st = bc_store_open(a->common.operands.v[0], BC_OPEN_READ, &store, &err);
  if (is_damage(st)) { /* a finding like others, after which there is nothing to look at */
    const bc_damage d = { .code = st, .what = err.msg, .source = "", .command = "" };
    (j != NULL ? json_damage : print_damage)(&f, &d);
    report.damaged = 1;
    st = BC_OK;
  } else {
    BC_TRY(st);
    BC_TRY(bc_store_verify(store, a->full, j != NULL ? json_damage : print_damage, &f, bct_progress_begin(),
                           &report, &err));
  }
  bct_progress_end();
  if (j != NULL) {
    json_tail(&f, &report, a->full);
    rc = bct_json_print(j);
  }
  say_report(&report, a->full);
  if (rc == BCT_EXIT_OK && report.damaged > 0) rc = BCT_EXIT_DAMAGED;
out:
  bct_progress_end();
  if (st != BC_OK) {
    rc = bct_fail(&err);
    bc_json_close(j);
  }
  bc_store_close(store);
  free(f.command);
  return rc;
}

static int run_verify(const bct_cmd *self, int argc, char **argv)
{
  verify_args a = { 0 };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO && a.full && a.quick)
    rc = bct_usage("--quick and --full exclude each other: give one of them");
  if (rc == BCT_GO) rc = verify(&a);
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_verify = {
  .name = "verify",
  .group = "Care",
  .brief = "look for damage",
  .usage = "STORE [--quick | --full] [--json]",
  .min_operands = 1,
  .max_operands = 1,
  .operands = "STORE",
  .opts = k_opts,
  .about = "Each damage is one line on stdout, with the tile, the file it came from and the command that "
           "mends it; where commands differ, a last line has one that mends all. The exit code is 3 if there "
           "is any.",
  .examples = k_examples,
  .run = run_verify,
};
