/*
 * Parsing of options by table. See opt.h.
 */
#include "tools/bctool/opt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bctool/help.h"
#include "tools/bctool/ui.h"
#include "tools/bctool/util.h"

const bct_opt bct_general_opts[] = {
  BCT_HEADING("General"),
  BCT_OPT(FLAG, 'q', "quiet", NULL, bct_common, quiet, "no words on stderr but errors, no bar"),
  BCT_OPT(FLAG, 'v', "verbose", NULL, bct_common, verbose, "say where an error came from"),
  BCT_OPT(FLAG, 'h', "help", NULL, bct_common, help, "show this help"),
  BCT_OPTS_END,
};

/* ---- values ---- */

bool bct_parse_real(const char *text, double *out)
{
  char *end = NULL;

  if (*text == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0') return false; /* no hex, inf, nan */
  *out = strtod(text, &end);
  return end != text && *end == '\0' && isfinite(*out);
}

bool bct_parse_int(const char *text, int32_t *out)
{
  double v;

  if (*text == '\0' || text[strspn(text, "0123456789")] != '\0' || !bct_parse_real(text, &v)) return false;
  if (v < 1 || v > INT32_MAX) return false;
  *out = (int32_t)v;
  return true;
}

static bool size_unit(const char *unit, double *factor)
{
  static const char prefixes[] = "KMGT";
  const char *p;
  double base = 1024.0;
  int power;

  if (*unit == '\0' || strcmp(unit, "B") == 0) {
    *factor = 1.0;
    return true;
  }
  p = strchr(prefixes, *unit == 'k' ? 'K' : *unit);
  if (p == NULL) return false;
  power = (int)(p - prefixes) + 1;
  if (strcmp(unit + 1, "B") == 0)
    base = 1000.0;
  else if (unit[1] != '\0' && strcmp(unit + 1, "iB") != 0)
    return false;
  *factor = pow(base, power);
  return true;
}

bool bct_parse_size(const char *text, uint64_t *out)
{
  const size_t n = strspn(text, ".0123456789");
  char digits[32];
  double v, factor;

  if (n == 0 || n >= sizeof digits) return false;
  memcpy(digits, text, n);
  digits[n] = '\0';
  if (!bct_parse_real(digits, &v) || !size_unit(text + n, &factor)) return false;
  v *= factor;
  if (v > 9e18) return false;
  *out = (uint64_t)v;
  return true;
}

/* ---- the table ---- */

static const bct_opt *find_in(const bct_opt *opts, const char *name, size_t n)
{
  for (; opts != NULL && opts->kind != BCT_END; opts++)
    if (opts->kind != BCT_HEAD && strlen(opts->name) == n && memcmp(opts->name, name, n) == 0) return opts;
  return NULL;
}

static const bct_opt *find_long(const bct_cmd *cmd, const char *name, size_t n)
{
  const bct_opt *o = find_in(cmd->opts, name, n);
  return o != NULL ? o : find_in(bct_general_opts, name, n);
}

static const bct_opt *find_letter(const bct_cmd *cmd, char letter)
{
  const bct_opt *tables[2] = { cmd->opts, bct_general_opts };

  for (int i = 0; i < 2; i++)
    for (const bct_opt *o = tables[i]; o != NULL && o->kind != BCT_END; o++)
      if (o->kind != BCT_HEAD && o->letter == letter) return o;
  return NULL;
}

static int unknown_long(const bct_cmd *cmd, const char *name, size_t n)
{
  const char *names[96];
  const bct_opt *tables[2] = { cmd->opts, bct_general_opts };
  const char *near;
  char word[64];
  size_t k = 0;

  for (int i = 0; i < 2; i++)
    for (const bct_opt *o = tables[i]; o != NULL && o->kind != BCT_END && k < BCT_ARRAY_LEN(names) - 1; o++)
      if (o->kind != BCT_HEAD) names[k++] = o->name;
  names[k] = NULL;
  n = BCT_MIN(n, sizeof word - 1);
  memcpy(word, name, n);
  word[n] = '\0';
  near = bct_nearest(word, names);
  if (near != NULL) return bct_usage("unknown option --%s (did you mean --%s?)", word, near);
  return bct_usage("unknown option --%s (see: bctool help %s)", word, cmd->name);
}

static bool list_add(bct_list *l, const char *value, int room)
{
  if (l->v == NULL) l->v = calloc((size_t)room + 1, sizeof *l->v);
  if (l->v == NULL) return false;
  l->v[l->n++] = value;
  return true;
}

static bool is_choice(const char *words, const char *value)
{
  const size_t n = strlen(value);

  for (const char *p = words; n > 0 && p != NULL; p = strchr(p, '|')) {
    if (*p == '|') p++;
    if (strncmp(p, value, n) == 0 && (p[n] == '|' || p[n] == '\0')) return true;
  }
  return false;
}

/* "asc|desc" -> "asc or desc"; returns buf. */
static const char *choice_words(const char *words, char *buf, size_t cap)
{
  size_t n = 0;

  for (const char *p = words; *p != '\0' && n + 8 < cap; p++) {
    const char *const between = strchr(p + 1, '|') != NULL ? ", " : " or ";
    if (*p != '|')
      buf[n++] = *p;
    else
      n += (size_t)snprintf(buf + n, cap - n, "%s", between);
  }
  buf[n] = '\0';
  return buf;
}

/* An option that takes one value, given a second time: the first would be lost without a word. */
static bool given_twice(const bct_cmd *cmd, const bct_opt *o, bct_common *c)
{
  const ptrdiff_t row = o - cmd->opts; /* the general options are flags: o is of the command's own table */
  const uint64_t bit = o->kind != BCT_LIST && row >= 0 && row < 64 ? (uint64_t)1 << row : 0;
  const bool twice = (c->given & bit) != 0;

  c->given |= bit;
  return twice;
}

/* Returns BCT_GO or an exit code. room: most entries a list can get. */
static int set_value(const bct_cmd *cmd, const bct_opt *o, void *args, const char *value, int room)
{
  void *const target = (char *)args + o->offset;
  const char *wanted = NULL;
  char words[128];

  if (given_twice(cmd, o, args)) return bct_usage("--%s is given twice", o->name);
  switch (o->kind) {
  case BCT_TEXT: *(const char **)target = value; break;
  case BCT_CHOICE:
    if (!is_choice(o->metavar, value)) wanted = choice_words(o->metavar, words, sizeof words);
    *(const char **)target = value;
    break;
  case BCT_INT:
    if (!bct_parse_int(value, (int32_t *)target)) wanted = "a whole number from 1 up";
    break;
  case BCT_REAL:
    if (!bct_parse_real(value, (double *)target)) wanted = "a number";
    break;
  case BCT_SIZE:
    if (!bct_parse_size(value, (uint64_t *)target)) wanted = "a size such as 64M, 1G or 512MiB";
    break;
  case BCT_LIST:
    if (!list_add((bct_list *)target, value, room)) {
      (void)bct_usage("not enough memory for the arguments");
      return BCT_EXIT_MACHINE;
    }
    break;
  case BCT_END:
  case BCT_HEAD:
  case BCT_FLAG: break;
  }
  if (wanted != NULL) return bct_usage("--%s takes %s; found \"%s\"", o->name, wanted, value);
  return BCT_GO;
}

/* "-10,50,2,58", "-5" and "-" are values; "-o" and "--time" are not. */
static bool may_be_value(const char *text)
{
  return text != NULL && (text[0] != '-' || text[1] == '\0' || strchr(".0123456789", text[1]) != NULL);
}

static int missing_value(const bct_opt *o, const char *next)
{
  if (next != NULL)
    return bct_usage("--%s needs a value, %s; found %s (to give that as the value: --%s=%s)", o->name,
                     o->metavar, next, o->name, next);
  return bct_usage("--%s needs a value, %s", o->name, o->metavar);
}

/* argv[*i] is "--name" or "--name=value". */
static int parse_long(const bct_cmd *cmd, int argc, char **argv, int *i, void *args)
{
  const char *const name = argv[*i] + 2;
  const size_t n = strcspn(name, "=");
  const char *value = name[n] == '=' ? name + n + 1 : NULL;
  const bct_opt *const o = find_long(cmd, name, n);

  if (o == NULL) return unknown_long(cmd, name, n);
  if (o->kind == BCT_FLAG) {
    if (value != NULL) return bct_usage("--%s takes no value; found \"%s\"", o->name, value);
    *(bool *)((char *)args + o->offset) = true;
    return BCT_GO;
  }
  if (value == NULL) {
    const char *const next = *i + 1 < argc ? argv[*i + 1] : NULL;
    if (!may_be_value(next)) return missing_value(o, next);
    value = next;
    (*i)++;
  }
  return set_value(cmd, o, args, value, argc);
}

/* argv[*i] is "-x", "-xyz" (flags) or "-oVALUE". */
static int parse_letters(const bct_cmd *cmd, int argc, char **argv, int *i, void *args)
{
  for (const char *p = argv[*i] + 1; *p != '\0'; p++) {
    const bct_opt *const o = find_letter(cmd, *p);
    if (o == NULL) return bct_usage("unknown option -%c (see: bctool help %s)", *p, cmd->name);
    if (o->kind != BCT_FLAG) {
      const char *value = p[1] != '\0' ? p + 1 + (p[1] == '=') : NULL;
      if (value == NULL) {
        const char *const next = *i + 1 < argc ? argv[*i + 1] : NULL;
        if (!may_be_value(next)) return missing_value(o, next);
        value = next;
        (*i)++;
      }
      return set_value(cmd, o, args, value, argc);
    }
    *(bool *)((char *)args + o->offset) = true;
  }
  return BCT_GO;
}

static int check_operands(const bct_cmd *cmd, const bct_common *c)
{
  const char *rest = cmd->operands;

  if (cmd->max_operands >= 0 && c->operands.n > (size_t)cmd->max_operands)
    return bct_usage("unexpected argument \"%s\" (see: bctool help %s)", c->operands.v[cmd->max_operands],
                     cmd->name);
  if (c->operands.n >= (size_t)cmd->min_operands) return BCT_GO;
  for (size_t i = 0; i < c->operands.n; i++)
    rest += strcspn(rest, " ") + 1;
  return bct_usage("%.*s is missing (see: bctool help %s)", (int)strcspn(rest, " "), rest, cmd->name);
}

int bct_parse(const bct_cmd *cmd, int argc, char **argv, void *args)
{
  bct_common *const c = args;
  bool only_operands = false;

  for (int i = 0; i < argc; i++) {
    int rc = BCT_GO;
    if (only_operands || argv[i][0] != '-' || argv[i][1] == '\0') {
      if (!list_add(&c->operands, argv[i], argc)) rc = BCT_EXIT_MACHINE;
    } else if (strcmp(argv[i], "--") == 0) {
      only_operands = true;
    } else if (argv[i][1] == '-') {
      rc = parse_long(cmd, argc, argv, &i, args);
    } else {
      rc = parse_letters(cmd, argc, argv, &i, args);
    }
    if (rc != BCT_GO) return rc;
  }
  if (c->help) {
    bct_help_cmd(cmd, stdout);
    return BCT_EXIT_OK;
  }
  bct_ui_verbosity(c);
  return check_operands(cmd, c);
}

void bct_args_free(const bct_cmd *cmd, void *args)
{
  bct_common *const c = args;

  free((void *)c->operands.v);
  c->operands = (bct_list){ NULL, 0 };
  for (const bct_opt *o = cmd->opts; o != NULL && o->kind != BCT_END; o++) {
    if (o->kind != BCT_LIST) continue;
    bct_list *const l = (bct_list *)(void *)((char *)args + o->offset);
    free((void *)l->v);
    *l = (bct_list){ NULL, 0 };
  }
}
