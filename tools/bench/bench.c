/* Benchmarks of this library against the libraries that it stands on. Run by tools/bench/run. */
#include "tools/bench/bench.h"

#include <stdlib.h>
#include <string.h>

static const char k_help[] =
    "usage: bench --data FOLDER --json FILE [options] [CONTEST..]\n"
    "\n"
    "  --data FOLDER      inputs made by tools/bench/run; stores are made and removed there\n"
    "  --json FILE        results, one JSON object a line, appended\n"
    "  --bctool PATH      the program, for what is measured as a whole process\n"
    "  --python PATH      with NumPy, for other readers\n"
    "  --peers PATH       peers.py\n"
    "  --samples FOLDER   real files\n"
    "  --runs N           of each way (default 7)\n"
    "  --long             also 10 million tiles\n"
    "\n"
    "contests, by the beginning of their names: ingest memory window box point views sizes scale\n";

static bool option(bench_ctx *c, const char *name, const char *v)
{
  if (strcmp(name, "--data") == 0)
    c->data = v;
  else if (strcmp(name, "--bctool") == 0)
    c->bctool = v;
  else if (strcmp(name, "--python") == 0)
    c->python = v;
  else if (strcmp(name, "--peers") == 0)
    c->peers = v;
  else if (strcmp(name, "--samples") == 0)
    c->samples = v;
  else if (strcmp(name, "--json") == 0)
    c->json = fopen(v, "a");
  else if (strcmp(name, "--runs") == 0)
    c->runs = (unsigned)strtoul(v, NULL, 10);
  else
    return false;
  return true;
}

static void run_all(bench_ctx *c)
{
  bench_ingest(c);
  bench_window(c);
  bench_views(c);
  bench_sizes(c);
  bench_scale(c);
}

int main(int argc, char **argv)
{
  bench_ctx c = { .bctool = "bctool", .python = "python3", .peers = "peers.py", .samples = "", .runs = 7 };
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; i++) {
    if (strcmp(argv[i], "--long") == 0) {
      c.long_run = true;
    } else if (i + 1 < argc && option(&c, argv[i], argv[i + 1])) {
      i++;
    } else {
      fputs(k_help, strcmp(argv[i], "--help") == 0 ? stdout : stderr);
      return strcmp(argv[i], "--help") == 0 ? 0 : 2;
    }
  }
  if (!c.data || !c.json || c.runs < 1 || c.runs > BENCH_MAX_RUNS) {
    fputs(k_help, stderr);
    return 2;
  }
  if (i == argc) run_all(&c);
  for (; i < argc; i++) {
    c.only = argv[i];
    run_all(&c);
  }
  printf("\n%u goals, %u missed, %u failures\n", c.goals, c.missed, c.failed);
  return fclose(c.json) == 0 && c.failed == 0 ? 0 : 1;
}
