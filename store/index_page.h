/*
 * LMDB's pages, read with suspicion. Internal to the index.
 *
 * LMDB trusts its file: a damaged page number or offset in it ends in a crash, an assertion or an endless
 * loop. So everything that only reads goes through here, where each page, node and length is checked before
 * it is used, and each key against the one before it. LMDB itself pins the snapshot and writes. The layout is
 * that of LMDB 0.9 (data version 1) on 64-bit little-endian machines. Threads: pure functions over a borrowed
 * map.
 */
#ifndef BC_STORE_INDEX_PAGE_H
#define BC_STORE_INDEX_PAGE_H

#include "store/base.h"

#define BC_PAGE_DEPTH 32

typedef struct bc_tree { /* LMDB's record of one table */
  uint32_t pad;
  uint16_t flags, depth;
  uint64_t branches, leaves, overflows, entries, root; /* root: UINT64_MAX when empty */
} bc_tree;

typedef struct bc_pages {
  bc_bytes file;
  uint32_t size;  /* of a page */
  uint64_t last;  /* greatest page number in use */
  uint64_t txnid; /* of the commit that these roots belong to */
  bc_tree free, main;
} bc_pages;

#define BC_PAGES_NEWEST UINT64_MAX
/* The two roots as commit txnid left them. Both copies of the head page must be whole. BC_E_NOTFOUND without
 * text: that commit is no longer, or not yet, the one of its page. */
bc_status bc_pages_open(bc_bytes file, uint64_t txnid, bc_pages *out, bc_err *err) BC_MUST_CHECK;
/* A named table; BC_E_NOTFOUND without text. */
bc_status bc_pages_table(const bc_pages *p, const char *name, bc_tree *out, bc_err *err) BC_MUST_CHECK;

typedef struct bc_page_cursor {
  const bc_pages *pages;
  const bc_tree *tree;
  uint16_t flag; /* of the node that it stands on */
  bc_bytes key, value;
  struct {
    const uint8_t *p;
    uint32_t at, n;
  } level[BC_PAGE_DEPTH];
} bc_page_cursor;

/* To the first key >= from (empty: the first). BC_E_NOTFOUND without text: there is none. */
bc_status bc_page_seek(bc_page_cursor *c, const bc_pages *p, const bc_tree *t, bc_bytes from,
                       bc_err *err) BC_MUST_CHECK;
bc_status bc_page_next(bc_page_cursor *c, bc_err *err) BC_MUST_CHECK;

typedef enum bc_pages_scope {
  BC_PAGES_HEADS,    /* the tree of tables */
  BC_PAGES_BRANCHES, /* all but the entries of tables: leaf pages are counted only; about a hundredth of ALL
                      */
  BC_PAGES_ALL
} bc_pages_scope;
/* Each page of each tree is whole and used once, keys ascend, free pages are free, counts agree. */
bc_status bc_pages_check(const bc_pages *p, bc_pages_scope scope, bc_err *err) BC_MUST_CHECK;

#endif
