/*
 * bctool: finds the command, runs it, closes stdout.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tools/bctool/breakdown.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/help.h"
#include "tools/bctool/ui.h"
#include "tools/bctool/util.h"

const bct_cmd *const bct_cmds[] = {
  &bct_cmd_create,  &bct_cmd_ingest_netcdf,
  &bct_cmd_info,    &bct_cmd_ls,
  &bct_cmd_query,   &bct_cmd_stats,
  &bct_cmd_plot,    &bct_cmd_verify,
  &bct_cmd_compact, &bct_cmd_publish,
  &bct_cmd_reindex, &bct_cmd_version,
  &bct_cmd_help,    NULL,
};

#define WORD_MAX  32
#define WORDS_MAX 64

const bct_cmd *bct_find_cmd(const char *name)
{
  for (const bct_cmd *const *c = bct_cmds; *c != NULL; c++)
    if (strcmp((*c)->name, name) == 0) return *c;
  return NULL;
}

/* The part of a command's name that stands after "prefix ", its first word without prefix; NULL: no member.
 */
static const char *member(const bct_cmd *cmd, const char *prefix)
{
  const size_t n = prefix != NULL ? strlen(prefix) : 0;

  if (prefix == NULL) return cmd->name;
  return strncmp(cmd->name, prefix, n) == 0 && cmd->name[n] == ' ' ? cmd->name + n + 1 : NULL;
}

bool bct_is_family(const char *word)
{
  for (const bct_cmd *const *c = bct_cmds; *c != NULL; c++)
    if (member(*c, word) != NULL) return true;
  return false;
}

int bct_unknown_cmd(const char *prefix, const char *word)
{
  char store[WORDS_MAX][WORD_MAX];
  const char *words[WORDS_MAX + 1], *near;
  size_t n = 0;

  for (const bct_cmd *const *c = bct_cmds; *c != NULL && n < WORDS_MAX; c++) {
    const char *const name = member(*c, prefix);
    if (name == NULL) continue;
    (void)snprintf(store[n], WORD_MAX, "%.*s", (int)strcspn(name, " "), name);
    words[n] = store[n];
    n++;
  }
  words[n] = NULL;
  near = bct_nearest(word, words);
  if (prefix != NULL) bct_ui_command(prefix);
  if (near != NULL)
    return bct_usage("unknown %s \"%s\" (did you mean %s?)", prefix != NULL ? "source" : "command", word,
                     near);
  if (prefix != NULL) return bct_usage("unknown source \"%s\" (for a list: bctool %s)", word, prefix);
  return bct_usage("unknown command \"%s\" (for a list: bctool help)", word);
}

static int run(const bct_cmd *cmd, int argc, char **argv)
{
  bct_ui_command(cmd->name);
  return cmd->run(cmd, argc, argv);
}

/* argv[0] is the word that names the family. */
static int run_family(int argc, char **argv)
{
  const char *const word = argc > 1 ? argv[1] : "--help";
  const bct_cmd *cmd;
  char name[2 * WORD_MAX];

  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
    bct_help_family(argv[0], stdout);
    return BCT_EXIT_OK;
  }
  (void)snprintf(name, sizeof name, "%s %s", argv[0], word);
  cmd = bct_find_cmd(name);
  if (cmd == NULL) return bct_unknown_cmd(argv[0], word);
  return run(cmd, argc - 2, argv + 2);
}

static bool is_flag(const char *text)
{
  return strcmp(text, "-q") == 0 || strcmp(text, "--quiet") == 0 || strcmp(text, "-v") == 0 ||
         strcmp(text, "--verbose") == 0;
}

static int dispatch(int argc, char **argv)
{
  const bct_cmd *cmd;
  char *word;
  int n = 0;

  while (n < argc && is_flag(argv[n]))
    n++;
  if (n == argc) {
    bct_help_overview(stderr);
    return BCT_EXIT_USAGE;
  }
  word = argv[n];
  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
    bct_help_overview(stdout);
    return BCT_EXIT_OK;
  }
  /* Flags before the command are handed to it: the word goes first. */
  memmove(argv + 1, argv, (size_t)n * sizeof *argv);
  argv[0] = word;
  if (strcmp(word, "--version") == 0) return run(&bct_cmd_version, argc - 1, argv + 1);
  if (word[0] == '-') return bct_usage("unknown option %s before a command (see: bctool help)", word);
  cmd = bct_find_cmd(word);
  if (cmd != NULL) return run(cmd, argc - 1, argv + 1);
  if (bct_is_family(word)) return run_family(argc, argv);
  return bct_unknown_cmd(NULL, word);
}

int main(int argc, char **argv)
{
  /* Writing to a closed pipe and past a file size limit come back as errors, which say more than a signal. */
  (void)signal(SIGPIPE, SIG_IGN);
  (void)signal(SIGXFSZ, SIG_IGN);
  bct_watch_breakdowns();
  bct_set_heap(0);
  return bct_close_stdout(dispatch(argc - 1, argv + 1));
}
