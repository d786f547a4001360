/*
 * JSON documents on stdout. See json_out.h.
 */
#include "tools/bctool/json_out.h"

#include <stdio.h>

#include "tools/bctool/opt.h"
#include "tools/bctool/ui.h"

bc_json *bct_json_open(void)
{
  bc_json *j = NULL;
  bc_err err;

  if (bc_json_open(true, &j, &err) != BC_OK) (void)bct_fail(&err);
  return j;
}

int bct_json_print(bc_json *j)
{
  const char *text;
  bc_err err;
  int rc = BCT_EXIT_OK;

  if (j == NULL) return BCT_EXIT_MACHINE;
  if (bc_json_text(j, &text, NULL, &err) != BC_OK)
    rc = bct_fail(&err);
  else
    (void)fputs(text, stdout); /* failures to write are told when stdout is closed */
  bc_json_close(j);
  return rc;
}

void bct_json_grid(bc_json *j, const char *key, const bc_grid *g)
{
  bc_json_begin_object(j, key);
  bc_json_str(j, "name", g->name);
  bc_json_str(j, "crs", g->crs);
  bc_json_uint(j, "rows", g->ny);
  bc_json_uint(j, "columns", g->nx);
  bc_json_num(j, "first_latitude", g->y0);
  bc_json_num(j, "last_latitude", bc_grid_y(g, (int64_t)g->ny - 1));
  bc_json_num(j, "latitude_step", g->dy);
  bc_json_num(j, "first_longitude", g->x0);
  bc_json_num(j, "last_longitude", bc_grid_x(g, (int64_t)g->nx - 1));
  bc_json_num(j, "longitude_step", g->dx);
  bc_json_bool(j, "wraps", g->wraps);
  bc_json_str(j, "registration", g->cell_registered ? "cell" : "node");
  if (g->cell == 0)
    bc_json_str(j, "cell", "full");
  else
    bc_json_uint(j, "cell", g->cell);
  bc_json_end(j);
}

void bct_json_attrs(bc_json *j, const char *key, const bc_attr *attrs, int32_t n)
{
  double number;

  bc_json_begin_object(j, key);
  for (int32_t i = 0; i < n; i++) {
    if (attrs[i].numeric && bct_parse_real(attrs[i].value, &number))
      bc_json_num(j, attrs[i].name, number);
    else
      bc_json_str(j, attrs[i].name, attrs[i].value);
  }
  bc_json_end(j);
}
