/* Published stores: equal, immutable, opened without a lock or a write. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compact_world.h"
#include "query/query.h"

static void fill(const char *path, int days)
{
  for (int d = 0; d < days; d++) {
    builder b = build(path, "p.nc");
    const uint16_t m = leveled_modality(b.w, "surface", "t2m", 0, BC_LAYOUT_NONE);
    for (uint32_t c = 0; c < 3; c++) {
      const box_piece p = whole_piece(m, c, MARCH + DAY_S * d, 24, (uint32_t)d * 8 + c);
      (void)put_piece(&b, &p);
    }
    built(&b);
  }
}

static bc_status publish(const char *path, const char *dest, const bc_publish_opts *o, bc_publish_report *rep,
                         bc_err *err)
{
  bc_store *st = NULL;
  BC_RET(bc_store_open(path, BC_OPEN_READ, &st, err));
  const bc_status got = bc_store_publish(st, dest, o, NULL, rep, err);
  bc_store_close(st);
  return got;
}

static mode_t mode_of(const char *folder, const char *name)
{
  char path[300];
  struct stat sb;
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  cr_assert_eq(stat(path, &sb), 0, "%s", path);
  return sb.st_mode & 07777;
}

static size_t files_named(const char *folder, const char *part)
{
  bc_err err = { 0 };
  char **names = NULL;
  size_t n = 0, found = 0;
  OK(bc_os_list(folder, &names, &n, &err));
  for (size_t i = 0; i < n; i++)
    found += strstr(names[i], part) != NULL;
  bc_os_list_free(names, n);
  return found;
}

Test(publish, a_copy_is_equal_and_refuses_writers)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  char dest[120];
  struct stat sb;
  (void)snprintf(dest, sizeof dest, "%s/pub.bcube", f.dir);
  fill(f.path, 5);
  const contents want = read_contents(f.path, SIDE);
  for (int link = 0; link < 2; link++) {
    bc_publish_report rep;
    const bc_publish_opts o = { .link = link == 1 };
    OK(publish(f.path, dest, &o, &rep, &err));
    cr_expect_eq(rep.segments, 5);
    cr_expect_eq(rep.linked, link == 1 ? 5 : 0);
    cr_expect_eq(rep.snapshot, 5);
    const contents got = read_contents(dest, SIDE);
    cr_expect_eq(got.hash, want.hash);
    expect_whole(dest, 0);
    cr_expect_eq(mode_of(dest, "BIOCUBE"), 0444);
    cr_expect_eq(mode_of(dest, "index/data.mdb"), 0444);
    cr_expect_eq(mode_of(dest, "segments/0000000001.seg"), 0444);
    char data[160];
    (void)snprintf(data, sizeof data, "%s/index/data.mdb", dest);
    cr_assert_eq(stat(data, &sb), 0);
    cr_expect_leq(sb.st_size, 1 << 20, "the index takes %lld bytes", (long long)sb.st_size);
    (void)snprintf(data, sizeof data, "%s/index", dest);
    cr_expect_eq(files_named(data, "lock"), 0, "no lock file");
    bc_store *st = NULL;
    bc_reindex_report rr;
    FAILS(BC_E_READONLY, bc_store_open(dest, BC_OPEN_WRITE, &st, &err));
    FAILS(BC_E_READONLY, bc_store_reindex(dest, NULL, NULL, NULL, &rr, &err));
    FAILS(BC_E_EXISTS, publish(f.path, dest, &o, &rep, &err));
    cr_expect_eq(files_named(f.dir, ".tmp-"), 0);
    bc_os_remove_tree(dest);
  }
  fill(f.path, 1); /* what was linked is only read */
  expect_whole(f.path, 0);
  fixture_remove(&f);
}

Test(publish, only_a_published_store_is_replaced)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  char dest[120];
  bc_publish_report rep;
  const bc_publish_opts o = { .overwrite = true };
  (void)snprintf(dest, sizeof dest, "%s/pub.bcube", f.dir);
  fill(f.path, 1);
  OK(publish(f.path, dest, NULL, &rep, &err));
  fill(f.path, 3);
  const contents want = read_contents(f.path, SIDE);
  OK(publish(f.path, dest, &o, &rep, &err));
  cr_expect_eq(read_contents(dest, SIDE).hash, want.hash);
  cr_expect_eq(files_named(f.dir, ".tmp-"), 0);
  FAILS(BC_E_EXISTS, publish(dest, f.path, &o, &rep, &err));
  FAILS(BC_E_EXISTS, publish(f.path, f.dir, &o, &rep, &err));
  /* and a published store can be published */
  (void)snprintf(dest + strlen(dest), 8, ".again");
  OK(publish(f.path, dest, NULL, &rep, &err));
  fixture_remove(&f);
}

Test(publish, while_the_source_is_compacted)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  char dest[120];
  (void)snprintf(dest, sizeof dest, "%s/pub.bcube", f.dir);
  fill(f.path, 6);
  const contents want = read_contents(f.path, SIDE);
  bc_store *st = NULL;
  bc_publish_report rep;
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  (void)compact(f.path, 0); /* the open store knows other segments */
  OK(bc_store_publish(st, dest, NULL, NULL, &rep, &err));
  bc_store_close(st);
  cr_expect_eq(rep.segments, 1);
  cr_expect_eq(read_contents(dest, SIDE).hash, want.hash);
  fixture_remove(&f);
}

/* ---- faults ---- */

static int fail_nth(void *ctx, bc_fault_op op)
{
  int *c = ctx;
  if (op == BC_FAULT_ALLOC) return 0;
  return c[1]++ == c[0] ? 28 : 0;
}

Test(publish, a_fault_leaves_nothing)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  char dest[120];
  bc_publish_report rep;
  bc_store *st = NULL;
  int failures = 0;
  (void)snprintf(dest, sizeof dest, "%s/pub.bcube", f.dir);
  fill(f.path, 3);
  const contents want = read_contents(f.path, SIDE);
  OK(bc_store_open(f.path, BC_OPEN_READ, &st, &err));
  for (int at = 0; at < 500; at++) {
    int c[2] = { at, 0 };
    bc_os_set_fault(fail_nth, c);
    const bc_status got = bc_store_publish(st, dest, NULL, NULL, &rep, &err);
    bc_os_set_fault(NULL, NULL);
    if (bc_os_exists(dest)) {
      cr_expect_eq(read_contents(dest, SIDE).hash, want.hash, "fault %d: published, but not whole", at);
      bc_os_remove_tree(dest);
    } else {
      cr_expect_neq(got, BC_OK);
    }
    cr_expect_eq(files_named(f.dir, ".tmp-"), 0, "fault %d leaves something", at);
    if (c[1] <= at) break;
    failures += got != BC_OK;
  }
  (void)fprintf(stderr, "publish: %d faults survived\n", failures);
  cr_expect_geq(failures, 20, "only %d faults", failures);
  bc_store_close(st);
  fixture_remove(&f);
}

/* ---- no lock, no write ---- */

/* What readers do; 0 when all of it went well. */
static int use(const char *path)
{
  bc_err err = { .msg = "" };
  bc_store *st = NULL;
  bc_snapshot *s = NULL;
  bc_store_info info;
  bc_verify_report rep;
  bc_query *q = NULL;
  bc_query_cost cost;
  bc_select sel;
  if (bc_store_open(path, BC_OPEN_READ, &st, &err) != BC_OK) return 1;
  if (bc_snapshot_open(st, &s, &err) != BC_OK || bc_snapshot_info(s, &info, &err) != BC_OK) return 2;
  if (bc_store_verify(st, true, NULL, NULL, NULL, &rep, &err) != BC_OK || rep.damaged > 0) return 3;
  bc_select_init(&sel);
  if (bc_select_add_vars(&sel, "t2m", &err) != BC_OK || bc_query_open(st, &sel, NULL, &q, &err) != BC_OK)
    return 4;
  bc_query_get_cost(q, -1, &cost);
  void *v = malloc(cost.output_bytes);
  if (bc_query_read(q, 0, v, cost.output_bytes, &err) != BC_OK) return 5;
  free(v);
  bc_query_close(q);
  bc_select_dispose(&sel);
  bc_snapshot_close(s);
  bc_store_close(st);
  return 0;
}

/* In a process of its own, as nobody when we are root: root may write everywhere. */
static int use_as_nobody(const char *path)
{
  const pid_t pid = fork();
  if (pid == 0) {
    if (getuid() == 0 && setuid(65534) != 0) _exit(20);
    _exit(use(path));
  }
  int status = 0;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 21;
}

Test(publish, opens_in_a_folder_that_nobody_may_write)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  char dest[120], line[700];
  bc_publish_report rep;
  (void)snprintf(dest, sizeof dest, "%s/pub.bcube", f.dir);
  fill(f.path, 3);
  OK(publish(f.path, dest, NULL, &rep, &err));
  (void)snprintf(line, sizeof line, "chmod 0755 %s && chmod 0555 %s %s/index %s/segments", f.dir, dest, dest,
                 dest);
  cr_assert_eq(system(line), 0);
  cr_expect_eq(use_as_nobody(dest), 0);
  pid_t many[20];
  for (int i = 0; i < 20; i++) {
    many[i] = fork();
    if (many[i] == 0) _exit(use(dest));
  }
  for (int i = 0; i < 20; i++) {
    int status = 0;
    cr_expect_eq(waitpid(many[i], &status, 0), many[i]);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "reader %d", i);
  }
  (void)snprintf(line, sizeof line, "chmod -R u+w %s", dest);
  cr_assert_eq(system(line), 0);
  fixture_remove(&f);
}

Test(publish, opens_on_a_read_only_mount)
{
  bc_err err = { 0 };
  fixture f = fixture_make(SIDE);
  char dest[120], mnt[120], line[500];
  bc_publish_report rep;
  (void)snprintf(dest, sizeof dest, "%s/pub.bcube", f.dir);
  (void)snprintf(mnt, sizeof mnt, "%s/mnt", f.dir);
  fill(f.path, 3);
  OK(publish(f.path, dest, NULL, &rep, &err));
  cr_assert_eq(mkdir(mnt, 0755), 0);
  (void)snprintf(line, sizeof line, "mount --bind %s %s 2>/dev/null && mount -o remount,bind,ro %s", dest,
                 mnt, mnt);
  if (system(line) != 0) {
    (void)fprintf(stderr, "publish: no read-only mount can be made here: skipped\n");
    fixture_remove(&f);
    return;
  }
  char probe[160];
  (void)snprintf(probe, sizeof probe, "%s/x", mnt);
  cr_expect_lt(open(probe, O_CREAT | O_WRONLY, 0644), 0, "the mount is not read-only");
  cr_expect_eq(use(mnt), 0);
  (void)snprintf(line, sizeof line, "umount %s", mnt);
  cr_expect_eq(system(line), 0);
  fixture_remove(&f);
}
