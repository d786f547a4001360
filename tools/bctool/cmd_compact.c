/*
 * bctool compact: pieces and small segments made into few.
 */
#include <stdio.h>

#include "store/store.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/ui.h"
#include "tools/bctool/util.h"

typedef struct compact_args {
  bct_common common;
  uint64_t memory, segment;
  bool dry_run, forget_lost, json;
} compact_args;

static const bct_opt k_opts[] = {
  BCT_HEADING("How"),
  BCT_OPT(SIZE, 0, "memory", "SIZE", compact_args, memory,
          "most memory to use, such as 512M (a quarter of the machine's, at most 1G)"),
  BCT_OPT(SIZE, 0, "segment-size", "SIZE", compact_args, segment,
          "bytes of the files that are made, about (256M)"),
  BCT_OPT(FLAG, 0, "dry-run", NULL, compact_args, dry_run, "say what there is to do, write nothing"),
  BCT_OPT(
      FLAG, 0, "forget-lost", NULL, compact_args, forget_lost,
      "give up tiles whose heads or segments are lost, and lost segments of which nothing is known; values "
      "that they had replaced come up again: when all files were ingested again with --replace"),
  BCT_HEADING("Output"),
  BCT_OPT(FLAG, 0, "json", NULL, compact_args, json, "print JSON"),
  BCT_OPTS_END,
};

static const bct_example k_examples[] = {
  { "bctool compact uk.bcube", "after many ingests: one tile of many pieces, few files, no dead space" },
  { "bctool compact uk.bcube --dry-run", "what it would do" },
  { NULL, NULL },
};

static int print_json(const bc_compact_report *r, bool dry_run)
{
  bc_json *const j = bct_json_open();

  if (j == NULL) return BCT_EXIT_MACHINE;
  bc_json_begin_object(j, NULL);
  bc_json_bool(j, "dry_run", dry_run);
  bc_json_uint(j, "segments_before", r->segments_before);
  bc_json_uint(j, "segments_after", r->segments_after);
  bc_json_uint(j, "segments_rewritten", r->rewritten);
  bc_json_uint(j, "bytes_before", r->bytes_before);
  bc_json_uint(j, "bytes_after", r->bytes_after);
  bc_json_uint(j, "tiles_before", r->tiles_before);
  bc_json_uint(j, "tiles_after", r->tiles_after);
  bc_json_uint(j, "moved", r->moved);
  bc_json_uint(j, "merged", r->merged);
  bc_json_uint(j, "made", r->made);
  bc_json_uint(j, "read_bytes", r->read_bytes);
  bc_json_uint(j, "damaged", r->damaged);
  bc_json_uint(j, "forgotten", r->forgotten);
  bc_json_uint(j, "leftovers", r->leftovers);
  bc_json_uint(j, "commits", r->commits);
  bc_json_end(j);
  return bct_json_print(j);
}

static void say_report(const bc_compact_report *r, bool dry_run)
{
  char a[BCT_TEXT_MAX], b[BCT_TEXT_MAX], c[BCT_TEXT_MAX];

  if (r->forgotten > 0)
    bct_say("%s %s: they cannot be read", bct_text_count(a, r->forgotten, "tile"),
            dry_run ? "to give up" : "given up");
  if (r->moved + r->merged + r->commits + r->leftovers == 0 && (!dry_run || r->rewritten == 0)) {
    bct_say("nothing to do: %s, %s", bct_text_count(a, r->tiles_before, "tile"),
            bct_text_count(b, r->segments_before, "segment"));
  } else {
    bct_say("%s into %s, %s %s", bct_text_count(a, r->merged, "piece"), bct_text_count(b, r->made, "tile"),
            bct_text_count(c, r->moved, "tile"), dry_run ? "to move" : "moved");
    if (dry_run)
      bct_say("%s of %llu to rewrite, %s to read", bct_text_count(a, r->rewritten, "segment"),
              (unsigned long long)r->segments_before, bct_text_bytes(b, r->read_bytes));
    else
      bct_say("segments: %llu, now %llu; size: %s, now %s", (unsigned long long)r->segments_before,
              (unsigned long long)r->segments_after, bct_text_bytes(a, r->bytes_before),
              bct_text_bytes(b, r->bytes_after));
  }
  if (r->damaged > 0)
    bct_say("note: %s cannot be read and stay as they are: run bctool verify --full",
            bct_text_count(a, r->damaged, "tile"));
}

static int compact(const compact_args *a)
{
  const bc_compact_opts opts = {
    .memory = a->memory, .segment_bytes = a->segment, .dry_run = a->dry_run, .forget_lost = a->forget_lost
  };
  bc_compact_report report = { 0 };
  bc_store *store = NULL;
  bc_err err;
  bc_status st;
  int rc = BCT_EXIT_OK;

  bct_set_heap(a->memory);
  BC_TRY(bc_store_open(a->common.operands.v[0], a->dry_run ? BC_OPEN_READ : BC_OPEN_WRITE, &store, &err));
  BC_TRY(bc_store_compact(store, &opts, bct_progress_begin(), &report, &err));
out:
  bct_progress_end();
  bc_store_close(store);
  if (st != BC_OK) return bct_fail(&err);
  say_report(&report, a->dry_run);
  if (a->json) rc = print_json(&report, a->dry_run);
  return rc == BCT_EXIT_OK && report.damaged > 0 ? BCT_EXIT_DAMAGED : rc;
}

static int run_compact(const bct_cmd *self, int argc, char **argv)
{
  compact_args a = { 0 };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO) rc = compact(&a);
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_compact = {
  .name = "compact",
  .group = "Care",
  .brief = "merge pieces and small files, give back dead space",
  .usage = "STORE [--memory SIZE] [--dry-run] [--json]",
  .min_operands = 1,
  .max_operands = 1,
  .operands = "STORE",
  .opts = k_opts,
  .about =
      "No value changes, and readers go on. It may be stopped at any time, and run again to go on. While it "
      "works it needs free space for what it rewrites. Tiles that cannot be read stay where they are; the "
      "exit "
      "code is then 3.",
  .examples = k_examples,
  .run = run_compact,
};
