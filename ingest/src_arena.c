/* Memory that lives as long as its owner: names, attributes and axes of a file. */
#include <string.h>

#include "ingest/src_int.h"

typedef struct bc_arena_block {
  struct bc_arena_block *next;
} bc_arena_block;

void *bc_arena_get(bc_arena *a, size_t n)
{
  const size_t head = bc_round_up64(sizeof(bc_arena_block));
  bc_arena_block *b = NULL;
  size_t bytes = 0;

  if (!bc_add_sz(head, BC_MAX(n, 1u), &bytes)) return NULL;
  b = bc_calloc(1, bytes);
  if (b == NULL) return NULL;
  b->next = a->head;
  a->head = b;
  return (uint8_t *)b + head;
}

char *bc_arena_text(bc_arena *a, const char *s, size_t n)
{
  const char *end = n > 0 ? memchr(s, '\0', n) : NULL;
  const size_t len = end != NULL ? (size_t)(end - s) : n;
  char *p = bc_arena_get(a, len + 1);

  if (p != NULL && len > 0) memcpy(p, s, len);
  return p;
}

void bc_arena_dispose(bc_arena *a)
{
  while (a->head != NULL) {
    bc_arena_block *b = a->head;
    a->head = b->next;
    bc_free(b);
  }
}
