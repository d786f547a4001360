/*
 * Options: one table per command drives parsing, --help and the man page, so that they cannot disagree.
 */
#ifndef BCT_OPT_H
#define BCT_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum bct_kind {
  BCT_END = 0, /* ends a table */
  BCT_HEAD,    /* a heading in the help: name is its text */
  BCT_FLAG,    /* bool */
  BCT_TEXT,    /* const char * */
  BCT_CHOICE,  /* const char *, one of the words of metavar, which are joined by '|' */
  BCT_INT,     /* int32_t, 1 or more */
  BCT_REAL,    /* double, finite */
  BCT_SIZE,    /* uint64_t, bytes: 64M, 1G, 512MiB, 100kB */
  BCT_LIST     /* bct_list: may be given several times */
} bct_kind;

typedef struct bct_opt {
  bct_kind kind;
  char letter;         /* 0 = none */
  const char *name;    /* long name without dashes */
  const char *metavar; /* "W,S,E,N"; NULL for flags */
  size_t offset;       /* of the target in the command's argument struct */
  const char *help;    /* one line, lower case, no full stop */
} bct_opt;

/* Rows of an option table: BCT_OPT(TEXT, 'o', "output", "FILE", struct of the arguments, member, help). */
#define BCT_OPT(kind, letter, name, metavar, type, member, help)                                             \
  {                                                                                                          \
    BCT_##kind, letter, name, metavar, offsetof(type, member), help                                          \
  }
#define BCT_HEADING(text)                                                                                    \
  {                                                                                                          \
    BCT_HEAD, 0, text, NULL, 0, NULL                                                                         \
  }
#define BCT_OPTS_END                                                                                         \
  {                                                                                                          \
    BCT_END, 0, NULL, NULL, 0, NULL                                                                          \
  }

typedef struct bct_list {
  const char **v; /* owned by the argument struct; entries point into argv */
  size_t n;
} bct_list;

/* First member of every command's argument struct. */
typedef struct bct_common {
  bct_list operands;
  bool quiet, verbose, help;
  uint64_t given; /* bit i: row i of the command's table, which takes one value, was given */
} bct_common;

typedef struct bct_example {
  const char *line; /* as typed, without the prompt */
  const char *what;
} bct_example;

typedef struct bct_cmd bct_cmd;
struct bct_cmd {
  const char *name;               /* "query", "ingest netcdf" */
  const char *group;              /* heading in `bctool help` */
  const char *brief;              /* one line, lower case */
  const char *usage;              /* what follows the name: "STORE --var NAMES [options]" */
  int min_operands, max_operands; /* max < 0: any number */
  const char *operands;           /* their names, for messages: "STORE FILE.." */
  const bct_opt *opts;            /* NULL = only the general ones */
  const char *about;              /* paragraphs, joined by '\n' */
  const bct_example *examples;    /* ended by line == NULL; at least one */
  int (*run)(const bct_cmd *self, int argc, char **argv);
};

/* Options that every command takes. */
extern const bct_opt bct_general_opts[];

#define BCT_GO (-1) /* from bct_parse: go on with the command */

/*
 * Fill args from argv, where argv[0] is the first argument after the command's name. --help is answered here.
 * @return BCT_GO, or the exit code to leave with. Then, and in any case after use: bct_args_free.
 */
int bct_parse(const bct_cmd *cmd, int argc, char **argv, void *args);
void bct_args_free(const bct_cmd *cmd, void *args);

/* "64M" and the like; false when it is not a size. M and MiB are 1024 x 1024 bytes, MB 1000 x 1000. */
bool bct_parse_size(const char *text, uint64_t *out);
bool bct_parse_int(const char *text, int32_t *out); /* 1 or more */
bool bct_parse_real(const char *text, double *out);

#endif
