/*
 * Small things that the commands share. See util.h.
 */
#include "tools/bctool/util.h"

#include <fnmatch.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <string.h>

#define WORD_MAX 64

/* Letters to insert, drop or change to make one of the other; words are cut at WORD_MAX. */
static int distance(const char *a, const char *b)
{
  const size_t na = BCT_MIN(strlen(a), WORD_MAX), nb = BCT_MIN(strlen(b), WORD_MAX);
  int row[WORD_MAX + 1];

  for (size_t j = 0; j <= nb; j++)
    row[j] = (int)j;
  for (size_t i = 1; i <= na; i++) {
    int diagonal = row[0];
    row[0] = (int)i;
    for (size_t j = 1; j <= nb; j++) {
      const int up = row[j];
      const int change = diagonal + (a[i - 1] != b[j - 1]);
      row[j] = BCT_MIN(BCT_MIN(up, row[j - 1]) + 1, change);
      diagonal = up;
    }
  }
  return row[nb];
}

const char *bct_nearest(const char *word, const char *const *words)
{
  const char *best = NULL;
  int best_distance = (int)strlen(word) / 3 + 1;

  for (; *words != NULL; words++) {
    const int d = distance(word, *words);
    if (d > best_distance || d >= (int)strlen(*words)) continue;
    best_distance = d - 1; /* the first of equals wins */
    best = *words;
  }
  return best;
}

bool bct_glob(const char *pattern, const char *text) { return fnmatch(pattern, text, FNM_NOESCAPE) == 0; }

const char *bct_codec_name(size_t codec)
{
  static const char *const names[] = { "raw", "constant", "shuffle+zstd", "linear16" };

  return codec < BCT_ARRAY_LEN(names) ? names[codec] : "unknown";
}

/* By itself glibc raises its limits with each block that is freed, and keeps up to twice what --memory
 * allows; low limits cost page faults, because netCDF takes and frees buffers for every chunk of a file. */
void bct_set_heap(uint64_t memory)
{
#ifdef __GLIBC__
  const uint64_t limit = BCT_MAX(BCT_MIN(memory / 32, UINT64_C(16) << 20), UINT64_C(2) << 20);

  (void)mallopt(M_MMAP_THRESHOLD, memory == 0 ? 16 << 20 : (int)limit);
  (void)mallopt(M_TRIM_THRESHOLD, memory == 0 ? 32 << 20 : (int)(2 * limit));
#else
  (void)memory;
#endif
}
