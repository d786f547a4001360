/*
 * bctool create: an empty store on one grid.
 */
#include <stdio.h>
#include <string.h>

#include "ingest/ingest.h"
#include "query/select.h"
#include "store/store.h"
#include "tools/bctool/cmd.h"
#include "tools/bctool/json_out.h"
#include "tools/bctool/ui.h"

typedef struct create_args {
  bct_common common;
  const char *grid, *grid_from, *bbox, *cell;
  bool json;
} create_args;

static const bct_opt k_opts[] = {
  BCT_HEADING("Grid"),
  BCT_OPT(TEXT, 0, "grid", "NAME", create_args, grid,
          "a named grid: wgs84-0p25 (the default: ERA5, 721 x 1440 nodes), wgs84-0p1, wgs84-0p5, wgs84-1p0, "
          "wgs84-2p5"),
  BCT_OPT(TEXT, 0, "grid-from", "FILE", create_args, grid_from,
          "the grid that the variables of this netCDF file stand on"),
  BCT_OPT(TEXT, 0, "bbox", "W,S,E,N", create_args, bbox,
          "only this part of the grid, in degrees; W > E crosses 180"),
  BCT_OPT(TEXT, 0, "cell", "N|full", create_args, cell,
          "nodes per side of a cell (64), or full: the whole grid is one cell, for zero-copy windows"),
  BCT_HEADING("Output"),
  BCT_OPT(FLAG, 0, "json", NULL, create_args, json, "print the grid as JSON"),
  BCT_OPTS_END,
};

static const bct_example k_examples[] = {
  { "bctool create uk.bcube", "a store on the global ERA5 grid; space is used only where data come" },
  { "bctool create world.bcube --grid-from 2m_temperature_1deg.nc", "a store on the grid of a file" },
  { "bctool create europe.bcube --bbox -25,34,45,72 --cell full",
    "Europe in one cell, for training windows" },
  { NULL, NULL },
};

static bc_status cut_grid(bc_grid *grid, const char *bbox, bc_err *err)
{
  bc_select box;
  bc_status st;

  bc_select_init(&box);
  BC_TRY(bc_select_set_bbox(&box, bbox, err));
  BC_TRY(bc_grid_subset(grid, box.west, box.south, box.east, box.north, err));
out:
  bc_select_dispose(&box);
  return st;
}

static bc_status make_grid(const create_args *a, bc_grid *grid, bc_err *err)
{
  int32_t cell = (int32_t)BC_CELL_DEFAULT;

  if (a->grid != NULL && a->grid_from != NULL)
    return BC_FAIL(err, BC_E_INVAL, "--grid %s and --grid-from %s exclude each other: give one of them",
                   a->grid, a->grid_from);
  if (a->cell != NULL && strcmp(a->cell, "full") == 0)
    cell = 0;
  else if (a->cell != NULL && !bct_parse_int(a->cell, &cell))
    return BC_FAIL(err, BC_E_INVAL, "--cell takes a number of nodes or full; found \"%s\"", a->cell);
  if (a->grid_from != NULL)
    BC_RET(bc_ingest_grid_of(a->grid_from, grid, err));
  else
    BC_RET(bc_grid_named(a->grid != NULL ? a->grid : "wgs84-0p25", grid, err));
  if (a->bbox != NULL) BC_RET(cut_grid(grid, a->bbox, err));
  grid->cell = (uint32_t)cell;
  return bc_grid_check(grid, err);
}

static int create(const create_args *a)
{
  const char *const path = a->common.operands.v[0];
  char text[512];
  bc_grid grid;
  bc_err err;

  if (make_grid(a, &grid, &err) != BC_OK || bc_store_create(path, &grid, &err) != BC_OK)
    return bct_fail(&err);
  bct_say("created %s", path);
  bct_say("  grid %s", bct_text_grid(text, sizeof text, &grid));
  if (!a->json) return BCT_EXIT_OK;
  bc_json *const j = bct_json_open();
  if (j == NULL) return BCT_EXIT_MACHINE;
  bct_json_grid(j, NULL, &grid);
  return bct_json_print(j);
}

static int run_create(const bct_cmd *self, int argc, char **argv)
{
  create_args a = { 0 };
  int rc = bct_parse(self, argc, argv, &a);

  if (rc == BCT_GO) rc = create(&a);
  bct_args_free(self, &a);
  return rc;
}

const bct_cmd bct_cmd_create = {
  .name = "create",
  .group = "Build",
  .brief = "make an empty store",
  .usage = "STORE [--grid NAME | --grid-from FILE] [options]",
  .min_operands = 1,
  .max_operands = 1,
  .operands = "STORE",
  .opts = k_opts,
  .about =
      "STORE is a folder that is made, by custom NAME.bcube. The grid says which positions the store knows; "
      "what is ingested must stand on them, or be put there by --regrid.",
  .examples = k_examples,
  .run = run_create,
};
