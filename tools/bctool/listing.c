/*
 * Names and attributes of stored variables. See listing.h.
 */
#include "tools/bctool/listing.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/ui.h"
#include "tools/bctool/util.h"

#include <stdio.h>
#include <string.h>

char *bct_modality_name(const bc_modality *m, char *buf)
{
  (void)snprintf(buf, BCT_NAME_MAX, "%s%s%s", m->group, m->group[0] != '\0' ? "/" : "", m->name);
  return buf;
}

const char *bct_modality_attr(const bc_modality *m, const char *name)
{
  for (int32_t i = 0; i < m->n_attrs; i++)
    if (strcmp(m->attrs[i].name, name) == 0) return m->attrs[i].value;
  return "";
}

bool bct_modality_matches(const bc_modality *m, const char *patterns)
{
  char name[BCT_NAME_MAX], pattern[2 * BCT_NAME_MAX];

  (void)bct_modality_name(m, name);
  for (const char *p = patterns; *p != '\0'; p += p[0] == ',') {
    const size_t n = strcspn(p, ",");
    (void)snprintf(pattern, sizeof pattern, "%.*s", (int)BCT_MIN(n, sizeof pattern - 1), p);
    p += n;
    if (bct_glob(pattern, name) || bct_glob(pattern, m->name) || strcmp(pattern, m->group) == 0) return true;
  }
  return false;
}

void bct_warn_lost(bc_snapshot *snap)
{
  char count[BCT_TEXT_MAX];
  bc_store_info info;

  if (bc_snapshot_info(snap, &info, NULL) != BC_OK) return;
  if (info.newest > 0)
    bct_warn(
        "warning: the index is older than segment %u: a copy of it was put back? Answers are those of that "
        "day: run bctool verify",
        (unsigned)info.newest);
  if (info.n_lost == 0) return;
  bct_warn("warning: %s could not be read when the index was made anew: answers may lack values, or have "
           "those that "
           "were replaced: run bctool verify",
           bct_text_count(count, info.n_lost, "segment"));
}

int bct_warn_damaged(uint64_t n, const char *what, int rc)
{
  char count[BCT_TEXT_MAX];

  if (n == 0) return rc;
  bct_warn("warning: %s could not be read, %s: run bctool verify --full", bct_text_count(count, n, "tile"),
           what);
  return rc == BCT_EXIT_OK ? BCT_EXIT_DAMAGED : rc;
}
