/*
 * Small things that the commands share. Programs see the public headers of the library only.
 */
#ifndef BCT_UTIL_H
#define BCT_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BCT_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BCT_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define BCT_MAX(a, b)    ((a) > (b) ? (a) : (b))

/* The nearest of a NULL-terminated list of words, or NULL when none is near enough to be meant. */
const char *bct_nearest(const char *word, const char *const *words);
/* Shell-style match of the whole text. */
bool bct_glob(const char *pattern, const char *text);
/* Name of a codec by its stored number: the index of bc_usage.codec_tiles. */
const char *bct_codec_name(size_t codec);
/* What malloc keeps of freed memory, and from which size on blocks go back at once, to suit --memory (0: not
 * given). */
void bct_set_heap(uint64_t memory);

#endif
