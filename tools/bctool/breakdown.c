#define _DEFAULT_SOURCE 1 /* sigaltstack beside POSIX 2008 */
#include "tools/bctool/breakdown.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "ingest/ingest.h"
#include "tools/bctool/ui.h"

static const int k_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
enum { N_SIGNALS = sizeof k_signals / sizeof k_signals[0] };
static struct sigaction k_before[N_SIGNALS];
static char k_stack[1 << 16]; /* the library may have run out of the usual one */

static void say(const char *s) { (void)!write(STDERR_FILENO, s, strlen(s)); }

static void on_breakdown(int sig)
{
  const char *file = bc_ingest_reading();

  if (file != NULL) {
    say("bctool: ");
    say(file);
    say(": the netCDF library broke down on it: the file is damaged; download it again\n");
    _exit(BCT_EXIT_DAMAGED);
  }
  for (int i = 0; i < N_SIGNALS; i++) /* not here: it comes again, and takes its usual way */
    if (k_signals[i] == sig) (void)sigaction(sig, &k_before[i], NULL);
}

void bct_watch_breakdowns(void)
{
  const stack_t stack = { .ss_sp = k_stack, .ss_size = sizeof k_stack };
  struct sigaction sa;

  memset(&sa, 0, sizeof sa);
  sa.sa_handler = on_breakdown;
  if (sigaltstack(&stack, NULL) == 0) sa.sa_flags = SA_ONSTACK;
  (void)sigemptyset(&sa.sa_mask);
  for (int i = 0; i < N_SIGNALS; i++)
    (void)sigaction(k_signals[i], &sa, &k_before[i]);
}
