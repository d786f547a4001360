#include "store/index_page.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

enum { /* page */
       PG_NUMBER = 0,
       PG_FLAGS = 10,
       PG_LOWER = 12,
       PG_UPPER = 14,
       PG_PAGES = 12, /* u32, of a run of overflow pages */
       PG_HEAD = 16
};
enum { PG_BRANCH = 1, PG_LEAF = 2, PG_OVERFLOW = 4, PG_META = 8 };
enum { /* node */
       NODE_LOW = 0,
       NODE_HIGH = 2,
       NODE_FLAGS = 4,
       NODE_KEY = 6,
       NODE_HEAD = 8,
       NODE_BIG = 1, /* the value is in overflow pages */
       NODE_TABLE = 2,
       MAX_KEY = 511
};
enum { /* meta, after the page's head */
       META_MAGIC = 0,
       META_VERSION = 4,
       META_ADDRESS = 8,
       META_MAP = 16,
       META_FREE = 24,
       META_MAIN = 72,
       META_LAST = 120,
       META_TXN = 128,
       META_BYTES = 136,
       TREE_BYTES = 48
};
#define MAGIC     0xBEEFC0DEu
#define NO_PAGE   UINT64_MAX
#define INT_KEYS  8u
#define MAX_PAGES (UINT64_C(1) << 36)

static bc_status bad(bc_err *err, uint64_t page, const char *what)
{
  return BC_FAIL(err, BC_E_CORRUPT, "index: page %" PRIu64 ": %s; the index is damaged: run bctool reindex",
                 page, what);
}

/* ---- heads ---- */

static void tree_get(const uint8_t *p, bc_tree *t)
{
  *t = (bc_tree){ .pad = bc_le32(p),
                  .flags = bc_le16(p + 4),
                  .depth = bc_le16(p + 6),
                  .branches = bc_le64(p + 8),
                  .leaves = bc_le64(p + 16),
                  .overflows = bc_le64(p + 24),
                  .entries = bc_le64(p + 32),
                  .root = bc_le64(p + 40) };
}

static bool tree_ok(const bc_tree *t, uint64_t last)
{
  if (t->root == NO_PAGE) return t->depth == 0 && t->entries == 0;
  return t->root > 1 && t->root <= last && t->depth > 0 && t->depth <= BC_PAGE_DEPTH && t->leaves <= last &&
         t->branches <= last && t->overflows <= last;
}

static bc_status meta_get(bc_bytes file, uint32_t n, uint32_t page, bc_pages *out, bc_err *err)
{
  bc_bytes b;
  if (!bc_bytes_sub(file, (uint64_t)n * page, PG_HEAD + META_BYTES, &b))
    return BC_FAIL(err, BC_E_TRUNCATED, "index: %zu bytes: it is cut short: run bctool reindex", file.n);
  const uint8_t *m = b.p + PG_HEAD;
  if (bc_le32(m + META_MAGIC) != MAGIC) return bad(err, n, "not LMDB's");
  if (bc_le32(m + META_VERSION) != 1) {
    return BC_FAIL(err, BC_E_VERSION,
                   "index: LMDB data of version %" PRIu32 ", this program reads 1: run bctool reindex",
                   bc_le32(m + META_VERSION));
  }
  *out = (bc_pages){ .file = file, .last = bc_le64(m + META_LAST), .txnid = bc_le64(m + META_TXN) };
  tree_get(m + META_FREE, &out->free);
  tree_get(m + META_MAIN, &out->main);
  out->size = out->free.pad;
  const uint32_t s = out->size;
  if (bc_le64(b.p + PG_NUMBER) != n || bc_le16(b.p + PG_FLAGS) != PG_META || s < 256 || s > 65536 ||
      (s & (s - 1)) != 0 || out->free.flags != INT_KEYS || out->main.flags != 0 || out->main.pad != 0 ||
      bc_le64(m + META_ADDRESS) != 0 || out->last < 1 || out->last > MAX_PAGES ||
      bc_le64(m + META_MAP) / s <= out->last || bc_le64(m + META_MAP) / s > MAX_PAGES ||
      !tree_ok(&out->free, out->last) || !tree_ok(&out->main, out->last) ||
      (out->txnid & 1) != (out->txnid ? n : 0))
    return bad(err, n, "head");
  return BC_OK;
}

/* Commits take turns on the two pages, so that their numbers follow one another. */
static bool neighbours(uint64_t a, uint64_t b) { return a > b ? a - b == 1 : b - a <= 1; }

static bool same_roots(const bc_pages *a, const bc_pages *b)
{
  return a->txnid == b->txnid && a->last == b->last && a->main.root == b->main.root &&
         a->free.root == b->free.root;
}

/*
 * The page that held commit n is overwritten by commit n + 2 while we read it: its roots first, its number
 * last, so that new roots may be seen under the old number. They are of a commit that is not on disk yet, and
 * the next reader could still be given n + 1: time would run backwards. So the page is read twice.
 */
bc_status bc_pages_open(bc_bytes file, uint64_t txnid, bc_pages *out, bc_err *err)
{
  bc_pages m[2], again;
  BC_RET(meta_get(file, 0, 4096, &m[0], err));
  BC_RET(meta_get(file, 1, m[0].size, &m[1], err));
  if (m[1].size != m[0].size) return bad(err, 1, "page size");
  if (!neighbours(m[0].txnid, m[1].txnid)) return bad(err, 0, "number of the commit");
  uint32_t at = m[1].txnid > m[0].txnid;
  if (txnid != BC_PAGES_NEWEST && m[at].txnid != txnid) at = txnid & 1;
  atomic_thread_fence(memory_order_seq_cst);
  BC_RET(meta_get(file, at, m[0].size, &again, err));
  *out = again;
  if (!same_roots(&m[at], &again)) return BC_E_NOTFOUND;
  return txnid == BC_PAGES_NEWEST || again.txnid == txnid ? BC_OK : BC_E_NOTFOUND;
}

/* ---- pages and nodes ---- */

/* A page of a tree: what its head says is true, and its node table lies inside. */
static bc_status get_page(const bc_pages *p, uint64_t number, uint16_t flags, const uint8_t **out,
                          uint32_t *n, bc_err *err)
{
  bc_bytes b;
  if (number < 2 || number > p->last) return bad(err, number, "no such page");
  if (!bc_bytes_sub(p->file, number * p->size, p->size, &b))
    return BC_FAIL(err, BC_E_TRUNCATED,
                   "index: %zu bytes, page %" PRIu64 " is not there: it is cut short: run bctool reindex",
                   p->file.n, number);
  const uint32_t lower = bc_le16(b.p + PG_LOWER), upper = bc_le16(b.p + PG_UPPER);
  if (bc_le64(b.p + PG_NUMBER) != number || bc_le16(b.p + PG_FLAGS) != flags || lower <= PG_HEAD ||
      (lower & 1) || lower > upper || upper > p->size)
    return bad(err, number, "head");
  *out = b.p;
  *n = (lower - PG_HEAD) / 2;
  return BC_OK;
}

static bool get_node(const bc_pages *p, const uint8_t *page, uint32_t i, const uint8_t **node, bc_bytes *key)
{
  const uint32_t at = bc_le16(page + PG_HEAD + 2 * i);
  if (at < bc_le16(page + PG_UPPER) || at + NODE_HEAD > p->size) return false;
  *node = page + at;
  key->p = page + at + NODE_HEAD;
  key->n = bc_le16(*node + NODE_KEY);
  return key->n <= MAX_KEY && at + NODE_HEAD + key->n <= p->size;
}

static uint64_t node_child(const uint8_t *node)
{
  return (uint64_t)bc_le16(node + NODE_LOW) | (uint64_t)bc_le16(node + NODE_HIGH) << 16 |
         (uint64_t)bc_le16(node + NODE_FLAGS) << 32;
}

/* A run of overflow pages: the number of its first page, and how many. */
static bool get_run(const bc_pages *p, uint64_t first, uint64_t bytes, bc_bytes *value, uint64_t *pages)
{
  bc_bytes head;
  if (first < 2 || first > p->last || !bc_bytes_sub(p->file, first * p->size, PG_HEAD, &head)) return false;
  *pages = bc_le32(head.p + PG_PAGES);
  return bc_le64(head.p + PG_NUMBER) == first && bc_le16(head.p + PG_FLAGS) == PG_OVERFLOW && *pages > 0 &&
         *pages - 1 <= p->last - first && bytes <= *pages * p->size - PG_HEAD &&
         bc_bytes_sub(p->file, first * p->size + PG_HEAD, bytes, value);
}

static bool get_value(const bc_pages *p, const uint8_t *page, const uint8_t *node, bc_bytes key,
                      bc_bytes *value, uint64_t *run, uint64_t *run_pages)
{
  const uint16_t flags = bc_le16(node + NODE_FLAGS);
  const uint64_t n = (uint64_t)bc_le16(node + NODE_LOW) | (uint64_t)bc_le16(node + NODE_HIGH) << 16;
  const bc_bytes whole = { page, p->size };
  const uint64_t at = (uint64_t)(key.p + key.n - page);
  *run_pages = 0;
  if (flags != NODE_BIG) return (flags == 0 || flags == NODE_TABLE) && bc_bytes_sub(whole, at, n, value);
  if (!bc_in_bounds(at, 8, p->size)) return false;
  *run = bc_le64(page + at);
  return get_run(p, *run, n, value, run_pages);
}

/* LMDB's order: bytes, and the shorter first. The tree of free pages has native integers for keys. */
static int compare(const bc_tree *t, bc_bytes a, bc_bytes b)
{
  if ((t->flags & INT_KEYS) && a.n == 8 && b.n == 8) {
    const uint64_t x = bc_le64(a.p), y = bc_le64(b.p);
    return (x > y) - (x < y);
  }
  const size_t n = BC_MIN(a.n, b.n);
  const int d = n == 0 ? 0 : memcmp(a.p, b.p, n);
  return d != 0 ? d : (a.n > b.n) - (a.n < b.n);
}

/* ---- cursor ---- */

static bc_status damaged(const bc_page_cursor *c, uint32_t level, const char *what, bc_err *err)
{
  return bad(err, bc_le64(c->level[level].p + PG_NUMBER), what);
}

static bc_status enter(bc_page_cursor *c, uint32_t level, uint64_t page, bc_err *err)
{
  const uint16_t kind = level + 1u == c->tree->depth ? PG_LEAF : PG_BRANCH;
  c->level[level].at = 0;
  return get_page(c->pages, page, kind, &c->level[level].p, &c->level[level].n, err);
}

/* The place of key in a page: of a leaf the first that is not less, of a branch the last that is not greater.
 */
static bc_status search(bc_page_cursor *c, uint32_t level, bc_bytes key, bc_err *err)
{
  const bool leaf = level + 1u == c->tree->depth;
  uint32_t lo = leaf ? 0 : 1, hi = c->level[level].n;
  while (lo < hi) {
    const uint32_t mid = lo + (hi - lo) / 2;
    const uint8_t *node;
    bc_bytes k;
    if (!get_node(c->pages, c->level[level].p, mid, &node, &k)) return damaged(c, level, "node", err);
    const int d = compare(c->tree, k, key);
    if (leaf ? d < 0 : d <= 0)
      lo = mid + 1;
    else
      hi = mid;
  }
  c->level[level].at = leaf ? lo : lo - 1;
  return BC_OK;
}

/* Down from a level whose page and place are set, to the leaf: towards key, or to the left edge. */
static bc_status descend(bc_page_cursor *c, uint32_t level, const bc_bytes *key, bc_err *err)
{
  for (; level + 1u < c->tree->depth; level++) {
    const uint8_t *node;
    bc_bytes k;
    if (!get_node(c->pages, c->level[level].p, c->level[level].at, &node, &k))
      return damaged(c, level, "node", err);
    BC_RET(enter(c, level + 1, node_child(node), err));
    if (key != NULL) BC_RET(search(c, level + 1, *key, err));
  }
  return BC_OK;
}

/* To the next leaf, when this one is at its end. */
static bc_status settle(bc_page_cursor *c, bc_err *err)
{
  const uint32_t leaf = c->tree->depth - 1u;
  if (c->level[leaf].at < c->level[leaf].n) return BC_OK;
  for (uint32_t level = leaf; level-- > 0;) {
    if (++c->level[level].at < c->level[level].n) return descend(c, level, NULL, err);
  }
  return BC_E_NOTFOUND;
}

static bc_status take(bc_page_cursor *c, bc_err *err)
{
  const uint32_t leaf = c->tree->depth - 1u;
  const uint8_t *node, *page = c->level[leaf].p;
  uint64_t run = 0, pages = 0;
  if (!get_node(c->pages, page, c->level[leaf].at, &node, &c->key) ||
      !get_value(c->pages, page, node, c->key, &c->value, &run, &pages))
    return damaged(c, leaf, "node", err);
  c->flag = bc_le16(node + NODE_FLAGS);
  return BC_OK;
}

bc_status bc_page_seek(bc_page_cursor *c, const bc_pages *p, const bc_tree *t, bc_bytes from, bc_err *err)
{
  c->pages = p;
  c->tree = t;
  if (t->root == NO_PAGE) return BC_E_NOTFOUND;
  BC_RET(enter(c, 0, t->root, err));
  if (from.n > 0) BC_RET(search(c, 0, from, err));
  BC_RET(descend(c, 0, from.n > 0 ? &from : NULL, err));
  BC_RET(settle(c, err));
  BC_RET(take(c, err));
  if (from.n > 0 && compare(t, c->key, from) < 0) return damaged(c, t->depth - 1u, "order of keys", err);
  return BC_OK;
}

bc_status bc_page_next(bc_page_cursor *c, bc_err *err)
{
  const uint32_t leaf = c->tree->depth - 1u;
  const bc_bytes before = c->key;
  c->level[leaf].at++;
  BC_RET(settle(c, err));
  BC_RET(take(c, err));
  /* Also what makes every walk end: a page that points back would bring smaller keys. */
  return compare(c->tree, before, c->key) < 0 ? BC_OK : damaged(c, leaf, "order of keys", err);
}

bc_status bc_pages_table(const bc_pages *p, const char *name, bc_tree *out, bc_err *err)
{
  bc_page_cursor c;
  const bc_bytes key = { (const uint8_t *)name, strlen(name) };
  BC_RET(bc_page_seek(&c, p, &p->main, key, err));
  if (compare(&p->main, c.key, key) != 0) return BC_E_NOTFOUND;
  if (c.flag != NODE_TABLE || c.value.n != TREE_BYTES) return bad(err, p->main.root, "record of a table");
  tree_get(c.value.p, out);
  if (!tree_ok(out, p->last) || out->flags != 0 || out->pad != 0)
    return bad(err, p->main.root, "record of a table");
  return BC_OK;
}

/* ---- the whole ---- */

typedef struct walk {
  const bc_pages *p;
  const bc_tree *tree;
  bool leaves;
  uint8_t *used; /* a bit for each page */
  bc_bytes last; /* the key before */
  uint64_t branches, leaf_pages, overflows, entries;
} walk;

static bool claim(walk *w, uint64_t first, uint64_t n)
{
  for (uint64_t i = first; i < first + n; i++) {
    if (i < 2 || i > w->p->last || (w->used[i >> 3] & 1u << (i & 7))) return false;
    w->used[i >> 3] |= (uint8_t)(1u << (i & 7));
  }
  return true;
}

static bc_status walk_leaf(walk *w, const uint8_t *page, uint32_t n, uint64_t number, bc_err *err)
{
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *node;
    bc_bytes key, value;
    uint64_t run = 0, pages = 0;
    if (!get_node(w->p, page, i, &node, &key) || !get_value(w->p, page, node, key, &value, &run, &pages))
      return bad(err, number, "node");
    if (w->entries > 0 && compare(w->tree, w->last, key) >= 0) return bad(err, number, "order of keys");
    if (pages > 0 && !claim(w, run, pages)) return bad(err, run, "used twice");
    w->overflows += pages;
    w->last = key;
    w->entries++;
  }
  return BC_OK;
}

/* A node's key in a branch is not greater than any below it; the first has none. */
static bc_status walk_page(walk *w, uint64_t number, uint32_t level, bc_err *err)
{
  const uint8_t *page;
  uint32_t n = 0;
  const bool leaf = level + 1u == w->tree->depth;
  if (!claim(w, number, 1)) return bad(err, number, "used twice, or no such page");
  if (leaf) w->leaf_pages++;
  if (leaf && !w->leaves) return BC_OK;
  BC_RET(get_page(w->p, number, leaf ? PG_LEAF : PG_BRANCH, &page, &n, err));
  if (leaf) return walk_leaf(w, page, n, number, err);
  w->branches++;
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *node;
    bc_bytes key;
    if (!get_node(w->p, page, i, &node, &key)) return bad(err, number, "node");
    if (i > 0 && w->entries > 0 && compare(w->tree, w->last, key) >= 0)
      return bad(err, number, "order of keys");
    BC_RET(walk_page(w, node_child(node), level + 1, err));
  }
  return BC_OK;
}

static bc_status walk_tree(walk *w, const bc_tree *t, bool leaves, bc_err *err)
{
  w->tree = t;
  w->leaves = leaves;
  w->branches = w->leaf_pages = w->overflows = w->entries = 0;
  if (t->root == NO_PAGE) return BC_OK;
  BC_RET(walk_page(w, t->root, 0, err));
  if (w->branches != t->branches || w->leaf_pages != t->leaves ||
      (leaves && (w->overflows != t->overflows || w->entries != t->entries)))
    return bad(err, t->root, "counts of its tree");
  return BC_OK;
}

static bc_status walk_tables(walk *w, bc_pages_scope scope, bc_err *err)
{
  bc_page_cursor c;
  bc_status st = bc_page_seek(&c, w->p, &w->p->main, (bc_bytes){ NULL, 0 }, err);
  for (; st == BC_OK; st = bc_page_next(&c, err)) {
    bc_tree t;
    if (c.flag != NODE_TABLE || c.value.n != TREE_BYTES)
      return bad(err, w->p->main.root, "record of a table");
    tree_get(c.value.p, &t);
    if (!tree_ok(&t, w->p->last) || t.flags != 0 || t.pad != 0)
      return bad(err, w->p->main.root, "record of a table");
    if (scope != BC_PAGES_HEADS) BC_RET(walk_tree(w, &t, scope == BC_PAGES_ALL, err));
  }
  return st == BC_E_NOTFOUND ? BC_OK : st;
}

/* Lists of free pages: a count, then page numbers, all as 64 bits. */
static bc_status walk_free(walk *w, bc_err *err)
{
  bc_page_cursor c;
  bc_status st = bc_page_seek(&c, w->p, &w->p->free, (bc_bytes){ NULL, 0 }, err);
  for (; st == BC_OK; st = bc_page_next(&c, err)) {
    const uint64_t n = c.value.n >= 8 ? bc_le64(c.value.p) : UINT64_MAX;
    if (c.key.n != 8 || c.flag == NODE_TABLE || n > c.value.n / 8 - 1)
      return bad(err, w->p->free.root, "list of free pages");
    for (uint64_t i = 0; i < n; i++)
      if (!claim(w, bc_le64(c.value.p + 8 * (i + 1)), 1))
        return bad(err, bc_le64(c.value.p + 8 * (i + 1)), "free and in use, or no such page");
  }
  return st == BC_E_NOTFOUND ? BC_OK : st;
}

bc_status bc_pages_check(const bc_pages *p, bc_pages_scope scope, bc_err *err)
{
  bc_status st = BC_OK;
  walk w = { .p = p };
  if (p->last / 8 > p->file.n) return bad(err, p->last, "far behind the end of the file");
  w.used = bc_calloc((size_t)(p->last / 8 + 1), 1);
  if (w.used == NULL) return BC_FAIL(err, BC_E_NOMEM, "index: no memory for %" PRIu64 " pages", p->last);
  BC_TRY(walk_tree(&w, &p->main, true, err));
  BC_TRY(walk_tables(&w, scope, err));
  if (scope == BC_PAGES_HEADS) goto out;
  BC_TRY(walk_tree(&w, &p->free, true, err));
  BC_TRY(walk_free(&w, err));
out:
  bc_free(w.used);
  return st;
}
