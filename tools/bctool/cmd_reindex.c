/*
 * bctool reindex: the index anew, from the segments alone.
 */
#include <stdio.h>

#include "store/store.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/ui.h"

typedef struct reindex_args {
  bct_common common;
  bool json;
} reindex_args;

static const bct_opt k_opts[] = {
  BCT_HEADING("Output"),
  BCT_OPT(FLAG, 0, "json", NULL, reindex_args, json, "print JSON"),
  BCT_OPTS_END,
};

static const bct_example k_examples[] = {
  { "bctool reindex uk.bcube", "when a message says so: the index is damaged or lost" },
  { NULL, NULL },
};

static void print_skipped(void *ctx, const char *what)
{
  (void)ctx;
  bct_progress_end();
  (void)printf("passed over: %s\n", what);
}

static void json_skipped(void *ctx, const char *what) { bc_json_str(ctx, NULL, what); }

static int reindex(const reindex_args *a)
{
  bc_json *const j = a->json ? bct_json_open() : NULL;
  char segments[BCT_TEXT_MAX], tiles[BCT_TEXT_MAX], damaged[BCT_TEXT_MAX];
  bc_reindex_report report = { 0 };
  bc_err err;
  int rc = BCT_EXIT_OK;

  if (a->json && j == NULL) return BCT_EXIT_MACHINE;
  if (j != NULL) {
    bc_json_begin_object(j, NULL);
    bc_json_begin_array(j, "passed_over");
  }
  const bc_status st = bc_store_reindex(a->common.operands.v[0], bct_progress_begin(),
                                        j != NULL ? json_skipped : print_skipped, j, &report, &err);
  bct_progress_end();
  if (st != BC_OK) {
    bc_json_close(j);
    return bct_fail(&err);
  }
  if (j != NULL) {
    bc_json_end(j);
    bc_json_uint(j, "segments", report.segments);
    bc_json_uint(j, "tiles", report.tiles);
    bc_json_uint(j, "damaged", report.damaged);
    bc_json_end(j);
    rc = bct_json_print(j);
  }
  bct_say("index made anew from %s, %s", bct_text_count(segments, report.segments, "segment"),
          bct_text_count(tiles, report.tiles, "tile"));
  if (report.damaged > 0)
    bct_say("note: %s could not be read: bctool verify says what to do",
            bct_text_count(damaged, report.damaged, "segment"));
  return rc == BCT_EXIT_OK && report.damaged > 0 ? BCT_EXIT_DAMAGED : rc;
}

static int run_reindex(const bct_cmd *self, int argc, char **argv)
{
  reindex_args a = { 0 };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO) rc = reindex(&a);
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_reindex = {
  .name = "reindex",
  .group = "Care",
  .brief = "make a damaged or lost index anew",
  .usage = "STORE [--json]",
  .min_operands = 1,
  .max_operands = 1,
  .operands = "STORE",
  .opts = k_opts,
  .about =
      "The segments hold all there is; the index is made of them. The old one is replaced when the new one "
      "stands. Segments that cannot be read are passed over and named; the exit code is then 3.",
  .examples = k_examples,
  .run = run_reindex,
};
