/*
 * Runs a fuzz target over files, and over all files of folders: what continuous integration does with the
 * corpora, by any compiler. usage: replay FILE_OR_FOLDER..
 */
#include <dirent.h>

#include "fuzz.h"

static unsigned long g_done;

static int run_file(const char *path)
{
  bc_buf b = bc_buf_empty((size_t)1 << 26);
  bc_err err = { 0 };
  if (bc_os_read_file(path, b.max, &b, &err) != BC_OK) {
    (void)fprintf(stderr, "%s\n", err.msg);
    return 1;
  }
  uint8_t *copy = fuzz_copy(b.p, b.n); /* of its exact size, so that a read past the end is seen */
  const int rc = LLVMFuzzerTestOneInput(copy, b.n);
  free(copy);
  bc_buf_dispose(&b);
  g_done++;
  return rc;
}

static int run_folder(const char *path)
{
  char **names = NULL, *child = NULL;
  size_t n = 0;
  bc_err err = { 0 };
  int rc = 0;
  if (bc_os_list(path, &names, &n, &err) != BC_OK) {
    (void)fprintf(stderr, "%s\n", err.msg);
    return 1;
  }
  for (size_t i = 0; i < n && rc == 0; i++) {
    child = bc_asprintf("%s/%s", path, names[i]);
    FUZZ_CHECK(child != NULL);
    if (!bc_os_is_dir(child)) rc = run_file(child);
    if (rc != 0) (void)fprintf(stderr, "while running %s\n", child);
    bc_free(child);
  }
  bc_os_list_free(names, n);
  return rc;
}

int main(int argc, char **argv)
{
  int rc = 0;
  for (int i = 1; i < argc && rc == 0; i++)
    rc = bc_os_is_dir(argv[i]) ? run_folder(argv[i]) : run_file(argv[i]);
  (void)printf("%lu inputs executed\n", g_done);
  return rc != 0 || g_done == 0;
}
