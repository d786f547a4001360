/*
 * bctool publish: an immutable copy, for read-only and network file systems.
 */
#include <stdio.h>

#include "store/store.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/ui.h"

typedef struct publish_args {
  bct_common common;
  bool link, overwrite, json;
} publish_args;

static const bct_opt k_opts[] = {
  BCT_HEADING("How"),
  BCT_OPT(FLAG, 0, "link", NULL, publish_args, link,
          "share the files of STORE where the file system can: no second copy of the values, and no reading "
          "of them"),
  BCT_HEADING("Output"),
  BCT_OPT(FLAG, 0, "overwrite", NULL, publish_args, overwrite, "replace DEST if it is a published store"),
  BCT_OPT(FLAG, 0, "json", NULL, publish_args, json, "print JSON"),
  BCT_OPTS_END,
};

static const bct_example k_examples[] = {
  { "bctool publish uk.bcube /srv/cubes/uk-2026-11.bcube", "a copy for everybody: no locks, no writes" },
  { "bctool publish uk.bcube uk-2026-11.bcube --link",
    "a version that stays while the store goes on growing" },
  { NULL, NULL },
};

static int print_json(const bc_publish_report *r)
{
  bc_json *const j = bct_json_open();

  if (j == NULL) return BCT_EXIT_MACHINE;
  bc_json_begin_object(j, NULL);
  bc_json_uint(j, "snapshot", r->snapshot);
  bc_json_uint(j, "segments", r->segments);
  bc_json_uint(j, "linked", r->linked);
  bc_json_uint(j, "bytes", r->bytes);
  bc_json_uint(j, "index_bytes", r->index_bytes);
  bc_json_end(j);
  return bct_json_print(j);
}

static int publish(const publish_args *a)
{
  const char *const dest = a->common.operands.v[1];
  const bc_publish_opts opts = { .link = a->link, .overwrite = a->overwrite };
  char segments[BCT_TEXT_MAX], bytes[BCT_TEXT_MAX], index[BCT_TEXT_MAX];
  bc_publish_report report = { 0 };
  bc_store *store = NULL;
  bc_err err;
  bc_status st;

  BC_TRY(bc_store_open(a->common.operands.v[0], BC_OPEN_READ, &store, &err));
  BC_TRY(bc_store_publish(store, dest, &opts, bct_progress_begin(), &report, &err));
out:
  bct_progress_end();
  bc_store_close(store);
  if (st != BC_OK) return bct_fail(&err);
  bct_say("published %s: snapshot %llu, %s (%llu linked), %s, index %s", dest,
          (unsigned long long)report.snapshot, bct_text_count(segments, report.segments, "segment"),
          (unsigned long long)report.linked, bct_text_bytes(bytes, report.bytes),
          bct_text_bytes(index, report.index_bytes));
  return a->json ? print_json(&report) : BCT_EXIT_OK;
}

static int run_publish(const bct_cmd *self, int argc, char **argv)
{
  publish_args a = { 0 };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO) rc = publish(&a);
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_publish = {
  .name = "publish",
  .group = "Care",
  .brief = "make an immutable copy that opens without locks or writes",
  .usage = "STORE DEST [--link] [--overwrite] [--json]",
  .min_operands = 2,
  .max_operands = 2,
  .operands = "STORE DEST",
  .opts = k_opts,
  .about =
      "DEST is a store as it was at one moment, for any number of readers, on any file system. It appears "
      "whole or not at all; what was copied is held against its checksums first. Nobody can ingest into it: "
      "publish again instead. To have it small and in order, "
      "compact first.",
  .examples = k_examples,
  .run = run_publish,
};
