/*
 * Help texts and man pages from the tables. See help.h.
 */
#include "tools/bctool/help.h"

#include <string.h>

#include "store/store.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/util.h"

#define WIDTH  80 /* of help texts */
#define COLUMN 28 /* where the explanation of an option begins */

typedef struct exit_text {
  const char *code, *what;
} exit_text;
static const exit_text k_exits[] = {
  { "0", "done" },
  { "1", "the answer is no: --fail-empty, and nothing was found" },
  { "2", "wrong usage, or a request that cannot be met: no such variable, box or file" },
  { "3", "damaged data: a store or a source file" },
  { "4", "the machine: disk full, no permission, store locked by another writer" },
  { "70", "a bug in bctool: please report it" },
  { "130", "interrupted" },
};
static const char k_exit_line[] = "0 done, 1 the answer is no, 2 usage or bad request, 3 damaged data, "
                                  "4 machine, 70 our bug, 130 interrupted";

/* Wraps text; the cursor stands at column `at`, later lines begin at `indent`. Ends the line. */
static void wrap(FILE *out, const char *text, int at, int indent)
{
  bool fresh = true; /* nothing on this line yet since the indent */

  while (*text != '\0') {
    const size_t n = strcspn(text, " ");
    if (!fresh && at + 1 + (int)n > WIDTH) {
      (void)fprintf(out, "\n%*s", indent, "");
      at = indent;
      fresh = true;
    }
    at += (int)n + (fresh ? 0 : 1);
    (void)fprintf(out, "%s%.*s", fresh ? "" : " ", (int)n, text);
    fresh = false;
    text += n;
    text += strspn(text, " ");
  }
  (void)fputc('\n', out);
}

static void wrap_lines(FILE *out, const char *text, int indent)
{
  char line[1024];

  while (*text != '\0') {
    const size_t n = strcspn(text, "\n");
    (void)snprintf(line, sizeof line, "%.*s", (int)n, text);
    (void)fprintf(out, "%*s", indent, "");
    wrap(out, line, indent, indent);
    text += n + (text[n] == '\n');
  }
}

/* "  -o, --output FILE" into buf; returns its length. */
static int option_head(const bct_opt *o, char *buf, size_t cap)
{
  char letter[8] = "    ";

  if (o->letter != 0) (void)snprintf(letter, sizeof letter, "-%c, ", o->letter);
  return snprintf(buf, cap, "  %s--%s%s%s", letter, o->name, o->metavar != NULL ? " " : "",
                  o->metavar != NULL ? o->metavar : "");
}

static void help_options(FILE *out, const bct_opt *opts)
{
  char head[128];

  for (const bct_opt *o = opts; o != NULL && o->kind != BCT_END; o++) {
    if (o->kind == BCT_HEAD) {
      (void)fprintf(out, "\n%s:\n", o->name);
      continue;
    }
    if (option_head(o, head, sizeof head) > COLUMN - 2)
      (void)fprintf(out, "%s\n%*s", head, COLUMN, "");
    else
      (void)fprintf(out, "%-*s", COLUMN, head);
    wrap(out, o->help, COLUMN, COLUMN);
  }
}

void bct_help_cmd(const bct_cmd *cmd, FILE *out)
{
  (void)fprintf(out, "bctool %s: %s\n\n", cmd->name, cmd->brief);
  (void)fprintf(out, "Usage: bctool %s %s\n", cmd->name, cmd->usage);
  if (cmd->about != NULL) {
    (void)fputc('\n', out);
    wrap_lines(out, cmd->about, 0);
  }
  help_options(out, cmd->opts);
  help_options(out, bct_general_opts);
  (void)fputs("\nExamples:\n", out);
  for (const bct_example *e = cmd->examples; e->line != NULL; e++) {
    (void)fprintf(out, "  %s\n      ", e->line);
    wrap(out, e->what, 6, 6);
  }
  (void)fputs("\nExit codes: ", out);
  wrap(out, k_exit_line, 12, 12);
}

void bct_help_overview(FILE *out)
{
  const char *group = "";

  (void)fputs("bctool: a store for biodiversity and climate cubes, and queries on it\n\n"
              "Usage: bctool COMMAND [arguments] [options]\n",
              out);
  for (const bct_cmd *const *c = bct_cmds; *c != NULL; c++) {
    if (strcmp((*c)->group, group) != 0) (void)fprintf(out, "\n%s:\n", (*c)->group);
    group = (*c)->group;
    (void)fprintf(out, "  %-16s%s\n", (*c)->name, (*c)->brief);
  }
  (void)fputs("\nA first session:\n"
              "  bctool create uk.bcube\n"
              "  bctool ingest netcdf uk.bcube era5_t2m_uk_2019-03.nc\n"
              "  bctool ls uk.bcube\n"
              "  bctool query uk.bcube --var t2m --bbox -10,50,2,58 --time 2019-03 -o t2m.npy\n"
              "\nbctool help COMMAND explains one command. Data go to stdout, words to stderr.\n"
              "Exit codes: ",
              out);
  wrap(out, k_exit_line, 12, 12);
}

void bct_help_family(const char *prefix, FILE *out)
{
  const size_t n = strlen(prefix);

  (void)fprintf(out, "Usage: bctool %s SOURCE STORE FILE.. [options]\n\nSources:\n", prefix);
  for (const bct_cmd *const *c = bct_cmds; *c != NULL; c++)
    if (strncmp((*c)->name, prefix, n) == 0 && (*c)->name[n] == ' ')
      (void)fprintf(out, "  %-16s%s\n", (*c)->name + n + 1, (*c)->brief);
  (void)fprintf(out, "\nbctool help %s SOURCE explains one source.\n", prefix);
}

/* ---- man pages ---- */

static void roff_word(FILE *out, const char *text)
{
  for (; *text != '\0'; text++) {
    if (*text == '\\')
      (void)fputs("\\e", out);
    else if (*text == '-')
      (void)fputs("\\-", out);
    else if (*text == '\n')
      (void)fputs("\n.PP\n", out);
    else
      (void)fputc(*text, out);
  }
}

/* A line of text: backslash and hyphen escaped, not to be taken for a request. */
static void roff(FILE *out, const char *text)
{
  if (*text == '.' || *text == '\'') (void)fputs("\\&", out);
  roff_word(out, text);
  (void)fputc('\n', out);
}

static void man_head(FILE *out, const char *name, const char *brief)
{
  (void)fputs(".\\\" Made by tools/mkman from the option tables: do not edit.\n.TH \"", out);
  for (const char *p = name; *p != '\0'; p++)
    (void)fputc(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p, out);
  (void)fprintf(out, "\" 1 \"\" \"bctool %s\" \"bctool manual\"\n.SH NAME\n%s \\- ", bc_version(), name);
  roff(out, brief);
}

static void man_options(FILE *out, const bct_opt *opts)
{
  for (const bct_opt *o = opts; o != NULL && o->kind != BCT_END; o++) {
    if (o->kind == BCT_HEAD) {
      (void)fprintf(out, ".SS %s\n", o->name);
      continue;
    }
    (void)fputs(".TP\n.B ", out);
    if (o->letter != 0) (void)fprintf(out, "\\-%c, ", o->letter);
    (void)fputs("\\-\\-", out);
    roff_word(out, o->name);
    if (o->metavar != NULL) {
      (void)fputs(" \\fI", out);
      roff_word(out, o->metavar);
      (void)fputs("\\fR", out);
    }
    (void)fputc('\n', out);
    roff(out, o->help);
  }
}

static void man_exits(FILE *out)
{
  (void)fputs(".SH EXIT STATUS\n", out);
  for (size_t i = 0; i < BCT_ARRAY_LEN(k_exits); i++) {
    (void)fprintf(out, ".TP\n.B %s\n", k_exits[i].code);
    roff(out, k_exits[i].what);
  }
}

/* "ingest netcdf" -> "bctool-ingest-netcdf" */
static void page_name(const bct_cmd *cmd, char *buf, size_t cap)
{
  (void)snprintf(buf, cap, "bctool-%s", cmd->name);
  for (char *p = buf; *p != '\0'; p++)
    if (*p == ' ') *p = '-';
}

void bct_man_cmd(const bct_cmd *cmd, FILE *out)
{
  char name[64];

  page_name(cmd, name, sizeof name);
  man_head(out, name, cmd->brief);
  (void)fprintf(out, ".SH SYNOPSIS\n.B bctool %s\n", cmd->name);
  roff(out, cmd->usage);
  if (cmd->about != NULL) {
    (void)fputs(".SH DESCRIPTION\n", out);
    roff(out, cmd->about);
  }
  (void)fputs(".SH OPTIONS\n", out);
  man_options(out, cmd->opts);
  man_options(out, bct_general_opts);
  (void)fputs(".SH EXAMPLES\n", out);
  for (const bct_example *e = cmd->examples; e->line != NULL; e++) {
    (void)fputs(".TP\n.B ", out);
    roff(out, e->line);
    roff(out, e->what);
  }
  man_exits(out);
  (void)fputs(".SH SEE ALSO\n.BR bctool (1)\n", out);
}

void bct_man_overview(FILE *out)
{
  char name[64];

  man_head(out, "bctool", "a store for biodiversity and climate cubes, and queries on it");
  (void)fputs(".SH SYNOPSIS\n.B bctool\n.I COMMAND\n[arguments] [options]\n.SH COMMANDS\n", out);
  for (const bct_cmd *const *c = bct_cmds; *c != NULL; c++) {
    page_name(*c, name, sizeof name);
    (void)fprintf(out, ".TP\n.BR %s (1)\n", name);
    roff(out, (*c)->brief);
  }
  man_exits(out);
}
