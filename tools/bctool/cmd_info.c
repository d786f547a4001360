/*
 * bctool info: a store as a whole.
 */
#include <stdio.h>
#include <string.h>

#include "store/store.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/listing.h"
#include "tools/bctool/ui.h"
#include "tools/bctool/util.h"

typedef struct info_args {
  bct_common common;
  bool json;
} info_args;

static const bct_opt k_opts[] = {
  BCT_HEADING("Output"),
  BCT_OPT(FLAG, 0, "json", NULL, info_args, json, "print JSON"),
  BCT_OPTS_END,
};

static const bct_example k_examples[] = {
  { "bctool info uk.bcube", "grids, groups, time span, sizes, licences" },
  { "bctool info uk.bcube --json | jq .groups", "the same for programs" },
  { NULL, NULL },
};

#define N_CODECS BCT_ARRAY_LEN(((bc_usage *)0)->codec_tiles)

/* Attributes that say who may use the data and whom to name. */
static bool is_licence(const char *attr)
{
  static const char *const names[] = { "licence", "license", "attribution", "institution" };

  for (size_t i = 0; i < BCT_ARRAY_LEN(names); i++)
    if (strcmp(attr, names[i]) == 0) return true;
  return false;
}

/* What is counted over the modalities of a store. */
typedef struct totals {
  bc_usage all; /* sizes, codecs, time span; no statistics */
  bool has_time;
} totals;

static bc_status add_up(bc_snapshot *snap, totals *t, bc_err *err)
{
  bc_usage u;

  for (size_t i = 0; i < bc_snapshot_modalities(snap); i++) {
    BC_RET(bc_snapshot_usage(snap, bc_snapshot_modality(snap, i)->id, &u, err));
    t->all.n_tiles += u.n_tiles;
    t->all.stored_bytes += u.stored_bytes;
    t->all.decoded_bytes += u.decoded_bytes;
    for (size_t c = 0; c < N_CODECS; c++)
      t->all.codec_tiles[c] += u.codec_tiles[c];
    if (u.n_tiles == 0 || u.t_first == BC_TIME_STATIC) continue;
    t->all.t_first = t->has_time ? BCT_MIN(t->all.t_first, u.t_first) : u.t_first;
    t->all.t_last = t->has_time ? BCT_MAX(t->all.t_last, u.t_last) : u.t_last;
    t->has_time = true;
  }
  return BC_OK;
}

/* Is there an earlier modality in the same group? Then the group has been told already. */
static bool seen_group(const bc_snapshot *snap, size_t i)
{
  const char *const group = bc_snapshot_modality(snap, i)->group;

  for (size_t k = 0; k < i; k++)
    if (strcmp(bc_snapshot_modality(snap, k)->group, group) == 0) return true;
  return false;
}

static bool seen_attr(const bc_snapshot *snap, size_t i, int32_t a)
{
  const bc_attr *const attr = &bc_snapshot_modality(snap, i)->attrs[a];

  for (size_t k = 0; k < i; k++) {
    const bc_modality *const m = bc_snapshot_modality(snap, k);
    for (int32_t b = 0; b < m->n_attrs; b++)
      if (strcmp(m->attrs[b].name, attr->name) == 0 && strcmp(m->attrs[b].value, attr->value) == 0)
        return true;
  }
  return false;
}

/* ---- text ---- */

#define LABEL "%-10s "

static void print_groups(const bc_snapshot *snap)
{
  const size_t n = bc_snapshot_modalities(snap);

  for (size_t i = 0; i < n; i++) {
    const char *const group = bc_snapshot_modality(snap, i)->group;
    if (seen_group(snap, i)) continue;
    (void)printf(LABEL "%s:", "group", group[0] != '\0' ? group : "(none)");
    for (size_t k = i; k < n; k++)
      if (strcmp(bc_snapshot_modality(snap, k)->group, group) == 0)
        (void)printf(" %s", bc_snapshot_modality(snap, k)->name);
    (void)putchar('\n');
  }
}

static void print_licences(const bc_snapshot *snap)
{
  for (size_t i = 0; i < bc_snapshot_modalities(snap); i++) {
    const bc_modality *const m = bc_snapshot_modality(snap, i);
    for (int32_t a = 0; a < m->n_attrs; a++)
      if (is_licence(m->attrs[a].name) && !seen_attr(snap, i, a))
        (void)printf(LABEL "%s\n", m->attrs[a].name, m->attrs[a].value);
  }
}

static void print_codecs(const bc_usage *u)
{
  const char *sep = "";
  char n[BCT_TEXT_MAX];

  (void)printf(LABEL, "codecs");
  for (size_t c = 0; c < N_CODECS; c++) {
    if (u->codec_tiles[c] == 0) continue;
    (void)printf("%s%s %s", sep, bct_text_count(n, u->codec_tiles[c], "tile"), bct_codec_name(c));
    sep = ", ";
  }
  (void)putchar('\n');
}

static void print_text(const char *path, const bc_snapshot *snap, const bc_store_info *info, const totals *t)
{
  char a[BCT_TEXT_MAX], b[BCT_TEXT_MAX], r[BCT_TEXT_MAX], n[BCT_TEXT_MAX], grid[512];

  (void)printf(LABEL "%s\n", "store", path);
  (void)printf(LABEL "%s\n", "uuid", info->uuid);
  (void)printf(LABEL "%d.%d, snapshot %llu\n", "format", info->format_major, info->format_minor,
               (unsigned long long)info->snapshot);
  for (size_t i = 0; i < bc_snapshot_grids(snap); i++)
    (void)printf(LABEL "%s\n", "grid", bct_text_grid(grid, sizeof grid, bc_snapshot_grid(snap, i)));
  (void)printf(LABEL "%llu\n", "variables", (unsigned long long)info->n_modalities);
  print_groups(snap);
  if (t->has_time) (void)printf(LABEL "%s\n", "time", bct_text_span(a, t->all.t_first, t->all.t_last));
  (void)printf(LABEL "%s\n", "sources", bct_text_count(a, info->n_sources, "file"));
  (void)printf(LABEL "%s, %s stored as %s (%s)\n", "data", bct_text_count(n, t->all.n_tiles, "tile"),
               bct_text_bytes(a, t->all.decoded_bytes), bct_text_bytes(b, t->all.stored_bytes),
               bct_text_ratio(r, t->all.decoded_bytes, t->all.stored_bytes));
  if (t->all.n_tiles > 0) print_codecs(&t->all);
  (void)printf(LABEL "%s %s, index %s\n", "disk", bct_text_count(n, info->n_segments, "segment"),
               bct_text_bytes(a, info->segment_bytes), bct_text_bytes(b, info->index_bytes));
  print_licences(snap);
}

/* ---- JSON ---- */

static void json_groups(bc_json *j, const bc_snapshot *snap)
{
  const size_t n = bc_snapshot_modalities(snap);

  bc_json_begin_object(j, "groups");
  for (size_t i = 0; i < n; i++) {
    const char *const group = bc_snapshot_modality(snap, i)->group;
    if (seen_group(snap, i)) continue;
    bc_json_begin_array(j, group);
    for (size_t k = i; k < n; k++)
      if (strcmp(bc_snapshot_modality(snap, k)->group, group) == 0)
        bc_json_str(j, NULL, bc_snapshot_modality(snap, k)->name);
    bc_json_end(j);
  }
  bc_json_end(j);
}

static void json_licences(bc_json *j, const bc_snapshot *snap)
{
  bc_json_begin_array(j, "licences");
  for (size_t i = 0; i < bc_snapshot_modalities(snap); i++) {
    const bc_modality *const m = bc_snapshot_modality(snap, i);
    for (int32_t a = 0; a < m->n_attrs; a++) {
      if (!is_licence(m->attrs[a].name) || seen_attr(snap, i, a)) continue;
      bc_json_begin_object(j, NULL);
      bc_json_str(j, m->attrs[a].name, m->attrs[a].value);
      bc_json_end(j);
    }
  }
  bc_json_end(j);
}

static int print_json(const char *path, const bc_snapshot *snap, const bc_store_info *info, const totals *t)
{
  bc_json *const j = bct_json_open();

  if (j == NULL) return BCT_EXIT_MACHINE;
  bc_json_begin_object(j, NULL);
  bc_json_str(j, "store", path);
  bc_json_str(j, "uuid", info->uuid);
  bc_json_int(j, "format_major", info->format_major);
  bc_json_int(j, "format_minor", info->format_minor);
  bc_json_uint(j, "snapshot", info->snapshot);
  bc_json_begin_array(j, "grids");
  for (size_t i = 0; i < bc_snapshot_grids(snap); i++)
    bct_json_grid(j, NULL, bc_snapshot_grid(snap, i));
  bc_json_end(j);
  bc_json_uint(j, "variables", info->n_modalities);
  json_groups(j, snap);
  bc_json_time(j, "first", t->has_time ? t->all.t_first : BC_TIME_STATIC);
  bc_json_time(j, "last", t->has_time ? t->all.t_last : BC_TIME_STATIC);
  bc_json_uint(j, "sources", info->n_sources);
  bc_json_uint(j, "tiles", t->all.n_tiles);
  bc_json_uint(j, "decoded_bytes", t->all.decoded_bytes);
  bc_json_uint(j, "stored_bytes", t->all.stored_bytes);
  bc_json_begin_object(j, "codecs");
  for (size_t c = 0; c < N_CODECS; c++)
    bc_json_uint(j, bct_codec_name(c), t->all.codec_tiles[c]);
  bc_json_end(j);
  bc_json_uint(j, "segments", info->n_segments);
  bc_json_uint(j, "segment_bytes", info->segment_bytes);
  bc_json_uint(j, "index_bytes", info->index_bytes);
  json_licences(j, snap);
  bc_json_end(j);
  return bct_json_print(j);
}

/* ---- the command ---- */

static int info(const info_args *a)
{
  const char *const path = a->common.operands.v[0];
  bc_store *store = NULL;
  bc_snapshot *snap = NULL;
  bc_store_info si;
  totals t = { 0 };
  bc_err err;
  bc_status st;
  int rc = BCT_EXIT_OK;

  BC_TRY(bc_store_open(path, BC_OPEN_READ, &store, &err));
  BC_TRY(bc_snapshot_open(store, &snap, &err));
  bct_warn_lost(snap);
  BC_TRY(bc_snapshot_info(snap, &si, &err));
  BC_TRY(add_up(snap, &t, &err));
  if (a->json)
    rc = print_json(path, snap, &si, &t);
  else
    print_text(path, snap, &si, &t);
out:
  if (st != BC_OK) rc = bct_fail(&err);
  bc_snapshot_close(snap);
  bc_store_close(store);
  return rc;
}

static int run_info(const bct_cmd *self, int argc, char **argv)
{
  info_args a = { 0 };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO) rc = info(&a);
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_info = {
  .name = "info",
  .group = "Look",
  .brief = "what a store is: grid, groups, time span, sizes, licences",
  .usage = "STORE [--json]",
  .min_operands = 1,
  .max_operands = 1,
  .operands = "STORE",
  .opts = k_opts,
  .examples = k_examples,
  .run = run_info,
};
