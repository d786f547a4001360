#define _DEFAULT_SOURCE 1
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/os.h"

static char folder[64];

static void make_folder(void)
{
  (void)bc_copy_text(folder, sizeof folder, "/tmp/bc_test_os_XXXXXX");
  cr_assert(mkdtemp(folder) != NULL);
}

static void remove_folder(void)
{
  bc_os_set_fault(NULL, NULL);
  bc_os_remove_tree(folder);
}

TestSuite(os, .init = make_folder, .fini = remove_folder);

/* Text that lives as long as the test needs it: a few slots in turn. */
static const char *in_folder(const char *name)
{
  static char slots[4][128];
  static int turn;
  char *const slot = slots[turn++ % 4];

  (void)snprintf(slot, sizeof slots[0], "%s/%s", folder, name);
  return slot;
}

static void put_file(const char *path, const char *text)
{
  FILE *const f = fopen(path, "wb");

  cr_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void holds(const char *path, const char *text)
{
  bc_buf b;
  bc_err err;

  cr_assert_eq(bc_os_read_file(path, 1 << 20, &b, &err), BC_OK, "%s", err.msg);
  cr_assert(b.n == strlen(text) && (b.n == 0 || memcmp(b.p, text, b.n) == 0), "%s holds %.*s", path, (int)b.n,
            (const char *)b.p);
  bc_buf_dispose(&b);
}

static size_t files_in_folder(void)
{
  char **names = NULL;
  size_t n = 0;

  cr_assert_eq(bc_os_list(folder, &names, &n, NULL), BC_OK);
  bc_os_list_free(names, n);
  return n;
}

/* Fails the nth operation of one kind, once. */
typedef struct fault {
  bc_fault_op op;
  int countdown, e;
} fault;

static int fail_once(void *ctx, bc_fault_op op)
{
  fault *const f = ctx;

  return op == f->op && f->countdown-- == 0 ? f->e : 0;
}

/* ---- maps ---- */

Test(os, maps_regular_files)
{
  bc_map m;
  bc_err err;

  put_file(in_folder("a"), "hello");
  put_file(in_folder("empty"), "");
  cr_assert_eq(bc_os_map_ro(in_folder("a"), &m, &err), BC_OK);
  cr_assert(m.n == 5 && memcmp(m.p, "hello", 5) == 0);
  bc_os_unmap(&m);
  cr_assert(m.p == NULL && m.n == 0);
  bc_os_unmap(&m);
  bc_os_unmap(NULL);
  cr_assert_eq(bc_os_map_ro(in_folder("empty"), &m, &err), BC_OK);
  cr_assert(m.p == NULL && m.n == 0);
}

Test(os, map_refuses_all_but_regular_files, .timeout = 10)
{
  bc_map m = { (const uint8_t *)"x", 1 };
  bc_err err;

  put_file(in_folder("a"), "hello");
  cr_assert_eq(symlink("a", in_folder("link")), 0);
  cr_assert_eq(mkfifo(in_folder("pipe"), 0600), 0);
  cr_assert_eq(bc_os_map_ro(in_folder("link"), &m, &err), BC_E_INVAL);
  cr_assert(strstr(err.msg, "link is a symbolic link") != NULL && m.p == NULL);
  cr_assert_eq(bc_os_map_ro(in_folder("pipe"), &m, &err), BC_E_INVAL);
  cr_assert(strstr(err.msg, "not a regular file") != NULL);
  cr_assert_eq(bc_os_map_ro(folder, &m, &err), BC_E_INVAL);
  cr_assert(strstr(err.msg, "a folder") != NULL);
  cr_assert_eq(bc_os_map_ro(in_folder("none"), &m, &err), BC_E_NOTFOUND);
  cr_assert(strstr(err.msg, "/none") != NULL && err.sys == ENOENT);
  cr_assert_str_eq(err.domain, "os");
}

Test(os, map_passes_faults_on)
{
  bc_map m;
  bc_err err;
  fault f = { BC_FAULT_MMAP, 0, ENOMEM };

  put_file(in_folder("a"), "hello");
  bc_os_set_fault(fail_once, &f);
  cr_assert_eq(bc_os_map_ro(in_folder("a"), &m, &err), BC_E_NOMEM);
  f = (fault){ BC_FAULT_OPEN, 0, EMFILE };
  cr_assert_eq(bc_os_map_ro(in_folder("a"), &m, &err), BC_E_IO);
  cr_assert_eq(err.sys, EMFILE);
}

/* ---- output files ---- */

Test(os, output_appears_by_publishing_only)
{
  bc_outfile f;
  bc_err err;
  const char *const path = in_folder("out.bin");
  char back[6] = "";
  struct stat sb;

  cr_assert_eq(bc_os_out_create(path, false, &f, &err), BC_OK, "%s", err.msg);
  cr_assert_not(bc_os_exists(path));
  cr_assert_eq(strncmp(f.tmp, path, strlen(path)), 0);
  cr_assert(strstr(f.tmp, ".tmp-") != NULL);
  cr_assert_eq(bc_os_out_write(&f, "hello ", 6, &err), BC_OK);
  cr_assert_eq(bc_os_out_write(&f, "", 0, &err), BC_OK);
  cr_assert_eq(bc_os_out_write(&f, "world", 5, &err), BC_OK);
  cr_assert_eq(f.at, 11);
  cr_assert_eq(bc_os_out_pwrite(&f, "J", 1, 0, &err), BC_OK);
  cr_assert_eq(f.at, 11);
  cr_assert_eq(bc_os_out_pread(&f, back, 5, 6, &err), BC_OK);
  cr_assert_str_eq(back, "world");
  cr_assert_eq(bc_os_out_pread(&f, back, 5, 7, &err), BC_E_TRUNCATED);
  cr_assert_eq(bc_os_out_pwrite(&f, "x", 1, UINT64_MAX, &err), BC_E_RANGE);
  cr_assert_eq(bc_os_out_pread(&f, back, 1, UINT64_MAX, &err), BC_E_RANGE);
  cr_assert_eq(bc_os_out_publish(&f, false, &err), BC_OK, "%s", err.msg);
  holds(path, "Jello world");
  cr_assert_eq(files_in_folder(), 1);
  cr_assert(stat(path, &sb) == 0 && (sb.st_mode & 0777) == (0644 & ~umask(0)));
  bc_os_out_discard(&f);
  holds(path, "Jello world");
}

Test(os, discard_leaves_nothing)
{
  bc_outfile f, empty = { .fd = 0 };
  bc_err err;

  cr_assert_eq(bc_os_out_create(in_folder("x"), false, &f, &err), BC_OK);
  cr_assert_eq(bc_os_out_write(&f, "hello", 5, &err), BC_OK);
  bc_os_out_discard(&f);
  bc_os_out_discard(&f);
  cr_assert_eq(files_in_folder(), 0);
  bc_os_out_discard(&empty); /* must not close descriptor 0 */
  bc_os_out_discard(NULL);
  cr_assert(dup2(0, 200) == 200);
}

Test(os, existing_files_are_kept_unless_asked)
{
  bc_outfile f, g;
  bc_err err;
  const char *const path = in_folder("out");

  put_file(path, "old");
  cr_assert_eq(bc_os_out_create(path, false, &f, &err), BC_E_EXISTS);
  cr_assert(strstr(err.msg, path) != NULL && f.tmp == NULL);
  cr_assert_eq(bc_os_out_create(path, true, &f, &err), BC_OK);
  cr_assert_eq(bc_os_out_write(&f, "new", 3, &err), BC_OK);
  holds(path, "old");
  cr_assert_eq(bc_os_out_publish(&f, true, &err), BC_OK);
  holds(path, "new");
  /* two writers of one new name: the second is refused at the end, and the first's file stays */
  cr_assert_eq(bc_os_out_create(in_folder("race"), false, &f, &err), BC_OK);
  cr_assert_eq(bc_os_out_create(in_folder("race"), false, &g, &err), BC_OK);
  cr_assert_eq(bc_os_out_write(&f, "first", 5, &err), BC_OK);
  cr_assert_eq(bc_os_out_publish(&f, false, &err), BC_OK);
  cr_assert_eq(bc_os_out_publish(&g, false, &err), BC_E_EXISTS);
  cr_assert(strstr(err.msg, "/race exists already: choose another name") != NULL, "%s", err.msg);
  bc_os_out_discard(&g);
  holds(in_folder("race"), "first");
  cr_assert_eq(files_in_folder(), 2);
}

Test(os, publishing_without_renameat2)
{
  bc_outfile f;
  bc_err err;
  fault no_call = { BC_FAULT_RENAME, 0, ENOSYS };
  const char *const path = in_folder("out");

  bc_os_set_fault(fail_once, &no_call);
  cr_assert_eq(bc_os_out_create(path, false, &f, &err), BC_OK);
  cr_assert_eq(bc_os_out_publish(&f, false, &err), BC_OK, "%s", err.msg);
  holds(path, "");
  cr_assert_eq(files_in_folder(), 1);
  no_call = (fault){ BC_FAULT_RENAME, 0, EINVAL };
  cr_assert_eq(bc_os_out_create(in_folder("two"), false, &f, &err), BC_OK);
  put_file(in_folder("two"), "kept");
  cr_assert_eq(bc_os_out_publish(&f, false, &err), BC_E_EXISTS);
  bc_os_out_discard(&f);
  holds(in_folder("two"), "kept");
  cr_assert_eq(files_in_folder(), 2);
}

Test(os, odd_targets_are_refused)
{
  bc_outfile f;
  bc_err err;

  cr_assert_eq(bc_os_out_create("", true, &f, &err), BC_E_INVAL);
  cr_assert_eq(bc_os_out_create(in_folder("x/"), true, &f, &err), BC_E_INVAL);
  cr_assert_eq(bc_os_out_create(folder, true, &f, &err), BC_E_EXISTS);
  cr_assert_eq(bc_os_out_create("/dev/null", true, &f, &err), BC_E_EXISTS);
  cr_assert(strstr(err.msg, "not a regular file") != NULL);
  cr_assert_eq(bc_os_out_create(in_folder("no/such/folder"), false, &f, &err), BC_E_NOTFOUND);
  cr_assert(strstr(err.msg, "no/such/folder: No such file") != NULL, "%s", err.msg);
  cr_assert_eq(symlink("/nowhere/at/all", in_folder("dangling")), 0);
  cr_assert_eq(bc_os_out_create(in_folder("dangling"), false, &f, &err), BC_E_EXISTS);
}

/* Every failing step: right status, old file untouched, nothing left behind. */
Test(os, output_faults)
{
  static const struct {
    bc_fault_op op;
    int nth, e;
    bc_status st;
    const char *word;
    bool published;
  } k[] = {
    { BC_FAULT_OPEN, 0, EROFS, BC_E_READONLY, "Read-only", false },
    { BC_FAULT_OPEN, 0, EACCES, BC_E_READONLY, "Permission denied", false },
    { BC_FAULT_ALLOC, 0, ENOMEM, BC_E_NOMEM, "out of memory", false },
    { BC_FAULT_ALLOC, 1, ENOMEM, BC_E_NOMEM, "out of memory", false },
    { BC_FAULT_WRITE, 0, ENOSPC, BC_E_FULL, "no space left", false },
    { BC_FAULT_WRITE, 0, EDQUOT, BC_E_FULL, "no space left", false },
    { BC_FAULT_WRITE, 1, EIO, BC_E_IO, "nput/output error", false },
    { BC_FAULT_FSYNC, 0, EIO, BC_E_IO, "bring to disk", false },
    { BC_FAULT_RENAME, 0, EIO, BC_E_IO, "publish", false },
    { BC_FAULT_OPEN, 1, EMFILE, BC_E_IO, "folder", true },
    { BC_FAULT_FSYNC, 1, EIO, BC_E_IO, "folder", true },
  };
  const char *const path = in_folder("out");

  for (size_t i = 0; i < BC_ARRAY_LEN(k); i++) {
    bc_outfile f = { .fd = -1 };
    bc_err err = { .code = BC_OK };
    bc_status st = BC_OK;
    fault fail = { k[i].op, k[i].nth, k[i].e };
    put_file(path, "old");
    bc_os_set_fault(fail_once, &fail);
    st = bc_os_out_create(path, true, &f, &err);
    if (st == BC_OK) st = bc_os_out_write(&f, "new", 3, &err);
    if (st == BC_OK) st = bc_os_out_pwrite(&f, "N", 1, 0, &err);
    if (st == BC_OK) st = bc_os_out_publish(&f, true, &err);
    bc_os_set_fault(NULL, NULL);
    bc_os_out_discard(&f);
    cr_expect_eq(st, k[i].st, "case %zu: %s", i, bc_status_name(st));
    cr_expect(strstr(err.msg, k[i].word) != NULL, "case %zu: %s", i, err.msg);
    holds(path, k[i].published ? "New" : "old");
    cr_assert_eq(files_in_folder(), 1);
  }
}

Test(os, file_size_limit_is_no_space)
{
  const struct rlimit small = { 4096, 4096 };
  bc_outfile f;
  bc_err err;
  char block[8192] = { 0 };

  (void)signal(SIGXFSZ, SIG_IGN);
  cr_assert_eq(bc_os_out_create(in_folder("big"), false, &f, &err), BC_OK);
  cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
  cr_assert_eq(bc_os_out_write(&f, block, sizeof block, &err), BC_E_FULL);
  cr_assert(strstr(err.msg, "no space left") != NULL && strstr(err.msg, "/big") != NULL, "%s", err.msg);
  cr_assert_eq(f.at, 4096); /* the part that fitted */
  bc_os_out_discard(&f);
  cr_assert_eq(files_in_folder(), 0);
}

Test(os, full_device)
{
  bc_outfile f = { .fd = -1 };
  bc_err err;

  f.fd = open("/dev/full", O_WRONLY);
  if (f.fd < 0) cr_skip_test("no /dev/full here");
  f.path = bc_strdup("/dev/full");
  cr_assert_eq(bc_os_out_write(&f, "x", 1, &err), BC_E_FULL);
  cr_assert_str_eq(err.msg, "cannot write /dev/full: no space left on the file system");
  bc_os_out_discard(&f);
}

static void on_alarm(int sig) { (void)sig; }

/* A slow pipe gives short writes, a timer interrupts them: all bytes arrive all the same. */
Test(os, short_and_interrupted_writes, .timeout = 20)
{
  enum { N = 1 << 20 };
  const struct sigaction act = { .sa_handler = on_alarm }; /* no SA_RESTART */
  const struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
  uint8_t *const data = malloc(N);
  bc_outfile f = { .fd = -1 };
  bc_err err;
  int ends[2], status = 0;
  pid_t child = 0;

  for (size_t i = 0; i < N; i++) {
    data[i] = (uint8_t)(i * 2654435761u >> 13);
  }
  cr_assert_eq(pipe(ends), 0);
  child = fork();
  if (child == 0) {
    size_t at = 0;
    uint8_t got[5000];
    ssize_t k = 0;
    (void)close(ends[1]);
    while ((k = read(ends[0], got, sizeof got)) > 0) {
      if (at + (size_t)k > N || memcmp(got, data + at, (size_t)k) != 0) _exit(1);
      at += (size_t)k;
    }
    _exit(at == N ? 0 : 2);
  }
  (void)close(ends[0]);
  f.fd = ends[1];
  f.path = bc_strdup("pipe");
  cr_assert(sigaction(SIGALRM, &act, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
  cr_assert_eq(bc_os_out_write(&f, data, N, &err), BC_OK, "%s", err.msg);
  cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
  bc_os_out_discard(&f);
  cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  free(data);
}

Test(os, files_stay_clear_of_the_standard_streams)
{
  bc_outfile f;
  const int keep = dup(0);

  cr_assert_geq(keep, 3);
  cr_assert_eq(close(0), 0);
  cr_assert_eq(bc_os_out_create(in_folder("x"), false, &f, NULL), BC_OK);
  cr_assert_gt(f.fd, 2);
  bc_os_out_discard(&f);
  cr_assert_eq(dup2(keep, 0), 0);
}

/* ---- whole files, folders ---- */

Test(os, read_file_up_to_its_limit)
{
  bc_buf b;
  bc_err err;
  fault f = { BC_FAULT_READ, 0, EIO };

  put_file(in_folder("a"), "0123456789");
  cr_assert_eq(bc_os_read_file(in_folder("a"), 10, &b, &err), BC_OK);
  cr_assert_eq(b.n, 10);
  bc_buf_dispose(&b);
  cr_assert_eq(bc_os_read_file(in_folder("a"), 9, &b, &err), BC_E_RANGE);
  cr_assert(b.p == NULL && b.n == 0);
  cr_assert_eq(bc_os_read_file(in_folder("none"), 9, &b, &err), BC_E_NOTFOUND);
  cr_assert_eq(bc_os_read_file(folder, 9, &b, &err), BC_E_INVAL);
  bc_os_set_fault(fail_once, &f);
  cr_assert_eq(bc_os_read_file(in_folder("a"), 10, &b, &err), BC_E_IO);
  cr_assert_eq(b.p, NULL);
}

Test(os, folders)
{
  char **names = NULL;
  size_t n = 0;
  uint64_t size = 7;
  bc_err err;
  char name[16];
  fault f = { BC_FAULT_READ, 5, EIO };

  cr_assert_eq(bc_os_mkdir(in_folder("sub"), &err), BC_OK);
  cr_assert_eq(bc_os_mkdir(in_folder("sub"), &err), BC_E_EXISTS);
  cr_assert_eq(bc_os_mkdir(in_folder("no/sub"), &err), BC_E_NOTFOUND);
  cr_assert(bc_os_is_dir(in_folder("sub")) && bc_os_exists(in_folder("sub")));
  for (int i = 39; i >= 0; i--) {
    (void)snprintf(name, sizeof name, "f%02d", i);
    put_file(in_folder(name), "abc");
  }
  cr_assert_eq(bc_os_list(folder, &names, &n, &err), BC_OK);
  cr_assert_eq(n, 41);
  cr_assert_str_eq(names[0], "f00");
  cr_assert_str_eq(names[39], "f39");
  cr_assert_str_eq(names[40], "sub");
  bc_os_list_free(names, n);
  cr_assert(bc_os_list(in_folder("sub"), &names, &n, &err) == BC_OK && n == 0);
  bc_os_list_free(names, n);
  bc_os_set_fault(fail_once, &f);
  cr_assert(bc_os_list(folder, &names, &n, &err) == BC_E_IO && names == NULL && n == 0);
  f = (fault){ BC_FAULT_ALLOC, 20, ENOMEM };
  cr_assert(bc_os_list(folder, &names, &n, &err) == BC_E_NOMEM && names == NULL && n == 0);
  bc_os_set_fault(NULL, NULL);
  cr_assert_eq(bc_os_list(in_folder("none"), &names, &n, &err), BC_E_NOTFOUND);
  cr_assert(bc_os_file_size(in_folder("f00"), &size, &err) == BC_OK && size == 3);
  cr_assert_eq(bc_os_file_size(in_folder("sub"), &size, &err), BC_E_INVAL);
  cr_assert_eq(bc_os_file_size(in_folder("none"), &size, &err), BC_E_NOTFOUND);
  cr_assert_eq(bc_os_unlink(in_folder("f00"), &err), BC_OK);
  cr_assert_eq(bc_os_unlink(in_folder("f00"), &err), BC_E_NOTFOUND);
  cr_assert_not(bc_os_is_dir(in_folder("f01")));
  cr_assert_eq(bc_os_sync_dir(folder, &err), BC_OK);
  cr_assert_eq(bc_os_sync_dir(in_folder("f01"), &err), BC_E_NOTFOUND);
}

Test(os, folders_are_renamed_to_free_names_only)
{
  bc_err err;
  fault no_call = { BC_FAULT_RENAME, 0, ENOSYS };

  cr_assert_eq(bc_os_mkdir(in_folder("a"), &err), BC_OK);
  cr_assert_eq(bc_os_mkdir(in_folder("b"), &err), BC_OK);
  put_file(in_folder("a/x"), "x");
  put_file(in_folder("b/y"), "y");
  cr_assert_eq(bc_os_rename_dir(in_folder("a"), in_folder("b"), &err), BC_E_EXISTS);
  bc_os_set_fault(fail_once, &no_call);
  cr_assert_eq(bc_os_rename_dir(in_folder("a"), in_folder("b"), &err), BC_E_EXISTS);
  bc_os_set_fault(NULL, NULL);
  cr_assert_eq(bc_os_rename_dir(in_folder("a"), in_folder("c"), &err), BC_OK, "%s", err.msg);
  holds(in_folder("c/x"), "x");
  cr_assert_eq(bc_os_rename_dir(in_folder("a"), in_folder("d"), &err), BC_E_NOTFOUND);
}

Test(os, removing_a_tree_does_not_follow_links)
{
  cr_assert_eq(bc_os_mkdir(in_folder("keep"), NULL), BC_OK);
  put_file(in_folder("keep/x"), "x");
  cr_assert_eq(bc_os_mkdir(in_folder("tree"), NULL), BC_OK);
  cr_assert_eq(bc_os_mkdir(in_folder("tree/deep"), NULL), BC_OK);
  put_file(in_folder("tree/deep/y"), "y");
  cr_assert_eq(symlink("../keep", in_folder("tree/link")), 0);
  cr_assert(bc_os_is_own_dir(in_folder("tree/deep")) && bc_os_is_dir(in_folder("tree/link")));
  cr_assert_not(bc_os_is_own_dir(in_folder("tree/link")));
  bc_os_remove_tree(in_folder("tree"));
  cr_assert_not(bc_os_exists(in_folder("tree")));
  holds(in_folder("keep/x"), "x");
}

/* ---- locks ---- */

Test(os, lock_names_its_holder)
{
  bc_lock a, b, none = { 0 };
  bc_err err;
  char pid[32];

  (void)snprintf(pid, sizeof pid, "process %ld on ", bc_os_pid());
  cr_assert_eq(bc_os_lock(in_folder("lock"), &a, &err), BC_OK, "%s", err.msg);
  cr_assert_eq(bc_os_lock(in_folder("lock"), &b, &err), BC_E_BUSY);
  cr_assert_eq(b.fd, -1);
  cr_assert(strstr(err.msg, pid) != NULL && strstr(err.msg, " since 20") != NULL &&
                strstr(err.msg, "Z;") != NULL,
            "%s", err.msg);
  bc_os_unlock(&a);
  bc_os_unlock(&a);
  bc_os_unlock(&none); /* must not close descriptor 0 */
  bc_os_unlock(NULL);
  holds(in_folder("lock"), "");
  cr_assert_eq(bc_os_lock(in_folder("lock"), &b, &err), BC_OK);
  bc_os_unlock(&b);
  cr_assert(dup2(0, 200) == 200);
}

Test(os, lock_of_a_dead_process_is_free)
{
  bc_lock a;
  int status = 0;
  const pid_t child = fork();

  if (child == 0) _exit(bc_os_lock(in_folder("lock"), &a, NULL) == BC_OK ? 0 : 1);
  cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  cr_assert_eq(bc_os_lock(in_folder("lock"), &a, NULL), BC_OK);
  bc_os_unlock(&a);
}

Test(os, lock_in_a_read_only_place)
{
  bc_lock a;
  bc_err err;
  fault f = { BC_FAULT_OPEN, 0, EROFS };

  bc_os_set_fault(fail_once, &f);
  cr_assert_eq(bc_os_lock(in_folder("lock"), &a, &err), BC_E_READONLY);
  cr_assert_eq(a.fd, -1);
  f = (fault){ BC_FAULT_OPEN, 0, EACCES };
  cr_assert_eq(bc_os_lock(in_folder("lock"), &a, &err), BC_E_READONLY);
  f = (fault){ BC_FAULT_WRITE, 0, ENOSPC };
  cr_assert_eq(bc_os_lock(in_folder("lock"), &a, &err), BC_E_FULL);
  bc_os_set_fault(NULL, NULL);
  put_file(in_folder("odd"), "whatever this is");
  cr_assert_eq(bc_os_lock(in_folder("odd"), &a, &err), BC_OK);
  bc_os_unlock(&a);
  cr_assert_eq(symlink("odd", in_folder("link")), 0);
  cr_assert_eq(bc_os_lock(in_folder("link"), &a, &err), BC_E_CORRUPT);
}

/* ---- the machine ---- */

Test(os, statuses)
{
  cr_assert_eq(bc_os_status(ENOSPC), BC_E_FULL);
  cr_assert_eq(bc_os_status(EDQUOT), BC_E_FULL);
  cr_assert_eq(bc_os_status(EFBIG), BC_E_FULL);
  cr_assert_eq(bc_os_status(ENOENT), BC_E_NOTFOUND);
  cr_assert_eq(bc_os_status(EROFS), BC_E_READONLY);
  cr_assert_eq(bc_os_status(EEXIST), BC_E_EXISTS);
  cr_assert_eq(bc_os_status(ENOMEM), BC_E_NOMEM);
  cr_assert_eq(bc_os_status(EAGAIN), BC_E_BUSY);
  cr_assert_eq(bc_os_status(EIO), BC_E_IO);
  cr_assert_eq(bc_os_status(12345), BC_E_IO);
}

Test(os, machine)
{
  uint8_t a[40] = { 0 }, b[40] = { 0 };
  const double before = bc_os_monotonic();

  bc_os_random(a, sizeof a);
  bc_os_random(b, sizeof b);
  cr_assert_neq(memcmp(a, b, sizeof a), 0);
  cr_assert_gt(bc_os_now(), 1700000000);
  cr_assert_geq(bc_os_monotonic(), before);
  cr_assert_eq(bc_os_pid(), (long)getpid());
  cr_assert_gt(bc_os_physical_memory(), 1u << 24);
  cr_assert_geq(bc_os_cpus(), 1);
  cr_assert_eq(bc_os_fault(BC_FAULT_COMMIT), 0);
}
