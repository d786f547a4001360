/*
 * Words, errors, the progress bar. See ui.h.
 */
#include "tools/bctool/ui.h"
#include "tools/bctool/util.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static struct {
  const char *command;
  bool quiet, verbose;
} g_ui = { "", false, false };

static struct {
  bool shown;   /* something of the bar stands on the terminal */
  bool colour;  /* NO_COLOR is not set */
  double begun; /* seconds */
  double last;  /* when it was last drawn */
} g_bar;

static volatile sig_atomic_t g_stop;

/* ---- words ---- */

void bct_ui_command(const char *name) { g_ui.command = name; }
void bct_ui_verbosity(const bct_common *args)
{
  g_ui.quiet = args->quiet;
  g_ui.verbose = args->verbose;
}
bool bct_ui_quiet(void) { return g_ui.quiet; }
bool bct_ui_verbose(void) { return g_ui.verbose; }

static void clear_bar(void)
{
  if (g_bar.shown) (void)fputs("\r\033[K", stderr);
  g_bar.shown = false;
}

static void say(const char *fmt, va_list ap)
{
  (void)fflush(stdout); /* where both go to one place, they stay in order */
  clear_bar();
  (void)vfprintf(stderr, fmt, ap);
  (void)fputc('\n', stderr);
}

void bct_say(const char *fmt, ...)
{
  va_list ap;

  if (g_ui.quiet) return;
  va_start(ap, fmt);
  say(fmt, ap);
  va_end(ap);
}

void bct_warn(const char *fmt, ...)
{
  va_list ap;

  va_start(ap, fmt);
  say(fmt, ap);
  va_end(ap);
}

static void error_head(void)
{
  (void)fflush(stdout);
  clear_bar();
  (void)fprintf(stderr, "bctool%s%s: ", g_ui.command[0] != '\0' ? " " : "", g_ui.command);
}

int bct_usage(const char *fmt, ...)
{
  va_list ap;

  error_head();
  va_start(ap, fmt);
  (void)vfprintf(stderr, fmt, ap);
  va_end(ap);
  (void)fputc('\n', stderr);
  return BCT_EXIT_USAGE;
}

int bct_exit_code(bc_status code)
{
  if (code == BC_OK) return BCT_EXIT_OK;
  if (code == BC_E_CANCELLED) return BCT_EXIT_INTERRUPTED;
  if (code <= -10 && code > -20) return BCT_EXIT_USAGE;
  if (code <= -20 && code > -30) return BCT_EXIT_DAMAGED;
  if (code <= -30 && code > -40) return BCT_EXIT_MACHINE;
  return BCT_EXIT_BUG;
}

int bct_fail(const bc_err *err)
{
  if (err->sys == EPIPE) return BCT_EXIT_OK;
  error_head();
  (void)fprintf(stderr, "%s\n", err->msg);
  if (g_ui.verbose) {
    (void)fprintf(stderr, "  %s", bc_status_name(err->code));
    if (err->sys != 0) (void)fprintf(stderr, ", %s %d", err->domain, err->sys);
    (void)fprintf(stderr, ", raised at %s:%d\n", err->file, err->line);
  }
  /* What may not be written because of the file system is the machine's affair; a published store is the
   * user's. */
  if (err->code == BC_E_READONLY && err->sys != 0) return BCT_EXIT_MACHINE;
  return bct_exit_code(err->code);
}

/* Whoever read our output has gone. Asked of the pipe itself, for errno is long overwritten. */
static bool reader_gone(void)
{
  struct pollfd p = { STDOUT_FILENO, POLLOUT, 0 };

  return poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0;
}

int bct_close_stdout(int rc)
{
  const bool failed = ferror(stdout) != 0;

  errno = 0;
  if (fflush(stdout) == 0 && !failed) {
    if (fclose(stdout) == 0 || errno == EBADF) return rc; /* EBADF: started without a stdout, wrote nothing */
  } else if (errno == EPIPE || reader_gone()) {
    return rc;
  }
  error_head();
  (void)fprintf(stderr, "cannot write to standard output: %s\n",
                errno != 0 ? strerror(errno) : "an earlier write did not succeed");
  return rc != BCT_EXIT_OK ? rc : BCT_EXIT_MACHINE;
}

/* ---- progress ---- */

/* The second time it is the end: a library may be stuck. What is not committed is as after a crash. */
static void on_signal(int sig)
{
  (void)sig;
  if (g_stop) _exit(BCT_EXIT_INTERRUPTED);
  g_stop = 1;
}

static bool cancelled(void *ctx)
{
  (void)ctx;
  return g_stop != 0;
}

static void note(void *ctx, const char *line)
{
  (void)ctx;
  bct_say("note: %s", line);
}

static double now(void)
{
  struct timespec t;

  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int columns(void)
{
  struct winsize w;

  return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 40 ? w.ws_col : 80;
}

static void draw(uint64_t done, uint64_t total, const char *what, double t)
{
  static const char full[] = "########################################";
  static const char empty[] = "........................................";
  char a[BCT_TEXT_MAX], b[BCT_TEXT_MAX], r[BCT_TEXT_MAX], left[BCT_TEXT_MAX], tail[4 * BCT_TEXT_MAX];
  const double part = total == 0 ? 0 : (double)BCT_MIN(done, total) / (double)total;
  const double rate = t > g_bar.begun ? (double)done / (t - g_bar.begun) : 0;
  int cells, on, room;

  (void)snprintf(left, sizeof left, "?");
  if (rate > 0 && done <= total) (void)bct_text_seconds(left, (double)(total - done) / rate);
  (void)snprintf(tail, sizeof tail, "%3.0f%%  %s of %s  %s/s  %s left", part * 100, bct_text_bytes(a, done),
                 bct_text_bytes(b, total), bct_text_bytes(r, (uint64_t)rate), left);
  room = columns() - 1 - (int)strlen(tail) - 4;
  cells = BCT_MAX(BCT_MIN(room / 2, 40), 0);
  on = (int)(part * cells);
  room = BCT_MAX(room - cells, 0);
  (void)fprintf(stderr, "\r\033[K%.*s [%s%.*s%s%.*s] %s", room, what != NULL ? what : "",
                g_bar.colour ? "\033[32m" : "", on, full, g_bar.colour ? "\033[0m" : "", cells - on, empty,
                tail);
  g_bar.shown = true;
}

static void tick(void *ctx, uint64_t done, uint64_t total, const char *what)
{
  const double t = now();

  (void)ctx;
  if (t - g_bar.begun < 0.3 || t - g_bar.last < 0.1) return; /* short work shows no bar at all */
  g_bar.last = t;
  draw(done, total, what, t);
}

static const bc_progress *begin(bool bar)
{
  static const bc_progress with_bar = { tick, note, cancelled, NULL };
  static const bc_progress without = { NULL, note, cancelled, NULL };
  const char *const term = getenv("TERM");
  const char *const no_colour = getenv("NO_COLOR");
  struct sigaction sa;

  memset(&sa, 0, sizeof sa);
  sa.sa_handler = on_signal;
  sa.sa_flags = (int)(SA_RESTART | SA_RESETHAND); /* a second Ctrl-C stops at once: the store can take it */
  (void)sigemptyset(&sa.sa_mask);
  (void)sigaction(SIGINT, &sa, NULL);
  (void)sigaction(SIGTERM, &sa, NULL);
  g_bar.begun = now();
  g_bar.colour = no_colour == NULL || no_colour[0] == '\0';
  if (g_ui.quiet || !isatty(STDERR_FILENO) || term == NULL || strcmp(term, "dumb") == 0) bar = false;
  return bar ? &with_bar : &without;
}

const bc_progress *bct_progress_begin(void) { return begin(true); }
const bc_progress *bct_progress_silent(void) { return begin(false); }
void bct_progress_end(void) { clear_bar(); }
