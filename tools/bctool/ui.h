/*
 * What the user sees: words and errors on stderr, a progress bar on a terminal, numbers as people read them,
 * tables on stdout.
 *
 * The only state of the program lives here: the command's name for messages, the verbosity, the bar.
 */
#ifndef BCT_UI_H
#define BCT_UI_H

#include <stdbool.h>
#include <stdint.h>

#include "store/block.h"
#include "store/grid.h"
#include "tools/bctool/opt.h"

/* Exit codes; docs and help name them. */
#define BCT_EXIT_OK          0
#define BCT_EXIT_NO          1
#define BCT_EXIT_USAGE       2
#define BCT_EXIT_DAMAGED     3
#define BCT_EXIT_MACHINE     4
#define BCT_EXIT_BUG         70
#define BCT_EXIT_INTERRUPTED 130

int bct_exit_code(bc_status code);

void bct_ui_command(const char *name);         /* "query"; "" before a command is known */
void bct_ui_verbosity(const bct_common *args); /* -q and -v */
bool bct_ui_quiet(void);
bool bct_ui_verbose(void);

/* A line of words on stderr; nothing with -q. */
void bct_say(const char *fmt, ...) BC_PRINTF(1, 2);
/* The same, also with -q: an answer is not what was asked for. */
void bct_warn(const char *fmt, ...) BC_PRINTF(1, 2);
/* "bctool query: ..." on stderr, whatever the verbosity. Returns BCT_EXIT_USAGE. */
int bct_usage(const char *fmt, ...) BC_PRINTF(1, 2);
/* The library's message likewise; with -v a second line says where it came from. Returns the exit code.
 * A reader of our output that has gone away (EPIPE) is no error. */
int bct_fail(const bc_err *err);
/* stdout is written and closed; returns rc, or what a failure to write makes of it. */
int bct_close_stdout(int rc);

/* ---- progress ---- */
/* Shows a bar when stderr is a terminal, prints notes, and is cancelled by SIGINT and SIGTERM from now on. */
const bc_progress *bct_progress_begin(void);
const bc_progress *bct_progress_silent(void); /* no bar: the data themselves go to the terminal */
void bct_progress_end(void);                  /* takes the bar off the terminal; safe twice */

/* ---- numbers; each returns buf ---- */
#define BCT_TEXT_MAX 96
char *bct_text_bytes(char *buf, uint64_t bytes);                 /* "4.8 MB" */
char *bct_text_count(char *buf, uint64_t n, const char *noun);   /* "1 step", "2 steps" */
char *bct_text_seconds(char *buf, double seconds);               /* "1:05", "0.8 s" */
char *bct_text_ratio(char *buf, uint64_t from, uint64_t to);     /* "2.9x"; "-" when to is 0 */
char *bct_text_lat(char *buf, double a, double b);               /* "50..58 N", "10 S..20 N" */
char *bct_text_lon(char *buf, double a, double b);               /* "10 W..2 E" */
char *bct_text_span(char *buf, int64_t first, int64_t last);     /* "2019-03-01T00:00Z..2019-03-31T23:00Z" */
char *bct_text_cadence(char *buf, int64_t seconds);              /* "1 h", "1 month"; "-" when 0 */
char *bct_text_number(char *buf, double v);                      /* up to 7 digits; "-" for NaN */
char *bct_text_grid(char *buf, size_t cap, const bc_grid *grid); /* one line */

/* ---- tables ---- */
typedef struct bct_table bct_table;
/* heads: one name per column, ended by NULL; a name that begins with '>' is a column of numbers, set right.
 */
bct_table *bct_table_open(const char *const *heads);
void bct_table_cell(bct_table *t, const char *fmt, ...) BC_PRINTF(2, 3); /* row by row */
int bct_table_print(const bct_table *t);                                 /* returns an exit code */
void bct_table_close(bct_table *t);

#endif
