/*
 * bctool help and bctool version.
 */
#include <stdio.h>
#include <string.h>

#include "store/store.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/help.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/ui.h"

/* ---- help ---- */

typedef struct help_args {
  bct_common common;
} help_args;

static const bct_example k_help_examples[] = {
  { "bctool help query", "explains the query command" },
  { "bctool help ingest", "lists the kinds of source that can be ingested" },
  { NULL, NULL },
};

/* `bctool help --man`: the names of the pages, or one page. Not in the help; tools/mkman calls it. */
static int run_man(int argc, char **argv)
{
  char name[64];
  const bct_cmd *cmd;

  if (argc == 0) {
    (void)puts("bctool");
    for (const bct_cmd *const *c = bct_cmds; *c != NULL; c++)
      (void)puts((*c)->name);
    return BCT_EXIT_OK;
  }
  if (argc == 1 && strcmp(argv[0], "bctool") == 0) {
    bct_man_overview(stdout);
    return BCT_EXIT_OK;
  }
  (void)snprintf(name, sizeof name, "%s%s%s", argv[0], argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
  cmd = bct_find_cmd(name);
  if (cmd == NULL) return bct_unknown_cmd(NULL, name);
  bct_man_cmd(cmd, stdout);
  return BCT_EXIT_OK;
}

static int help_on(const bct_list *words)
{
  char name[64];
  const bct_cmd *cmd;

  if (words->n == 0) {
    bct_help_overview(stdout);
    return BCT_EXIT_OK;
  }
  if (words->n == 1 && bct_is_family(words->v[0])) {
    bct_help_family(words->v[0], stdout);
    return BCT_EXIT_OK;
  }
  (void)snprintf(name, sizeof name, "%s%s%s", words->v[0], words->n > 1 ? " " : "",
                 words->n > 1 ? words->v[1] : "");
  cmd = bct_find_cmd(name);
  if (cmd == NULL && words->n > 1 && bct_is_family(words->v[0]))
    return bct_unknown_cmd(words->v[0], words->v[1]);
  if (cmd == NULL) return bct_unknown_cmd(NULL, name);
  bct_help_cmd(cmd, stdout);
  return BCT_EXIT_OK;
}

static int run_help(const bct_cmd *self, int argc, char **argv)
{
  help_args a = { 0 };
  int rc;

  if (argc > 0 && strcmp(argv[0], "--man") == 0) return run_man(argc - 1, argv + 1);
  rc = bct_parse(self, argc, argv, &a);
  if (rc == BCT_GO) rc = help_on(&a.common.operands);
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_help = {
  .name = "help",
  .group = "General",
  .brief = "explain a command",
  .usage = "[COMMAND]",
  .max_operands = 2,
  .operands = "COMMAND",
  .examples = k_help_examples,
  .run = run_help,
};

/* ---- version ---- */

typedef struct version_args {
  bct_common common;
  bool json;
} version_args;

static const bct_opt k_version_opts[] = {
  BCT_OPT(FLAG, 0, "json", NULL, version_args, json, "print JSON, with compiler and libraries"),
  BCT_OPTS_END,
};

static const bct_example k_version_examples[] = {
  { "bctool version -v", "what a bug report needs: compiler and libraries too" },
  { NULL, NULL },
};

static int version_json(void)
{
  bc_json *const j = bct_json_open();

  if (j == NULL) return BCT_EXIT_MACHINE;
  bc_json_begin_object(j, NULL);
  bc_json_str(j, "version", bc_version());
  bc_json_begin_array(j, "details");
  for (const char *p = bc_version_details(); *p != '\0';) {
    char line[256];
    const size_t n = strcspn(p, "\n");
    (void)snprintf(line, sizeof line, "%.*s", (int)n, p);
    bc_json_str(j, NULL, line);
    p += n + (p[n] == '\n' ? 1 : 0);
  }
  bc_json_end(j);
  bc_json_end(j);
  return bct_json_print(j);
}

static int run_version(const bct_cmd *self, int argc, char **argv)
{
  version_args a = { 0 };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO && a.json) {
    rc = version_json();
  } else if (rc == BCT_GO) {
    (void)printf("bctool %s\n", bc_version());
    if (a.common.verbose) (void)fputs(bc_version_details(), stdout);
    rc = BCT_EXIT_OK;
  }
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_version = {
  .name = "version",
  .group = "General",
  .brief = "version; with -v compiler and libraries",
  .usage = "[-v]",
  .operands = "",
  .opts = k_version_opts,
  .examples = k_version_examples,
  .run = run_version,
};
