/*
 * mkcube: writes netCDF files like those of the Climate Data Store, of any size, out of made-up weather.
 * The same seed gives the same values. Tests, the demo and the benchmarks use it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/mkfile.h"

/* ---- sets ---- */

static const struct {
  const char *file;
  bool levelled;
  const char *vars;
} k_monthly[] = {
  { "surface.nc", false, "slt,z,msl,u10,v10,t2m,lsm" },
  { "edaphic.nc", false, "swvl1,swvl2,stl1,stl2" },
  { "climate.nc", false, "smlt,tp,csfr,avg_sdswrf,avg_snswrf,avg_snlwrf,avg_tprate,avg_sdswrfcs,sd,t2m,d2m" },
  { "misc.nc", false, "avg_slhtf,avg_pevr" },
  { "atmospheric.nc", true, "z,t,u,v,q" },
};

static int write_monthly(mk_options *o, const mk_axes *a, mk_world *world)
{
  char path[4096];
  if (mkdir(o->out, 0777) != 0 && errno != EEXIST) {
    mk_say("%s: %s", o->out, strerror(errno));
    return 4;
  }
  for (size_t i = 0; i < sizeof k_monthly / sizeof k_monthly[0]; i++) {
    if (snprintf(path, sizeof path, "%s/%s", o->out, k_monthly[i].file) >= (int)sizeof path) {
      mk_say("%.60s...: the name is too long", o->out);
      return 2;
    }
    o->levels_given = k_monthly[i].levelled;
    if (!mk_parse_vars(o, k_monthly[i].vars)) return 2;
    const int code = mk_write_file(o, a, world, path, o->vars, o->n_vars);
    if (code != 0) return code;
  }
  return 0;
}

/* What a set fixes: it wins over what was given for hourly files. */
static void apply_set(mk_options *o, bool area_given, bool step_given)
{
  static const double levels[] = { 1000, 925, 850, 700, 600, 500, 400, 300, 250, 200, 150, 100, 50 };
  if (strcmp(o->set, "static") == 0) {
    o->vars[0] = mk_var_find("z", false);
    o->vars[1] = mk_var_find("lsm", false);
    o->vars[2] = mk_var_find("slt", false);
    o->n_vars = 3;
    o->to = o->from + 3600;
    o->step = 3600;
  } else if (strcmp(o->set, "monthly-climate") == 0) {
    if (!area_given) {
      o->west = -25;
      o->south = 32;
      o->east = 45;
      o->north = 72;
    }
    if (!step_given) o->step = 0;
    memcpy(o->levels, levels, sizeof levels);
    o->n_levels = sizeof levels / sizeof levels[0];
  }
}

static bool has_arg(int argc, char **argv, const char *name)
{
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], name) == 0) return true;
  }
  return false;
}

int main(int argc, char **argv)
{
  mk_options o = { .set = "hourly",
                   .res = 0.25,
                   .west = 0,
                   .south = -90,
                   .east = 360,
                   .north = 90,
                   .step = 3600,
                   .seed = 1,
                   .deflate = 1,
                   .levels = { 1000, 850, 500 },
                   .n_levels = 3 };
  int64_t unused;
  (void)mk_parse_date("2020-01-01", &o.from, &unused);
  o.to = 0;
  const int stop = mk_parse_args(&o, argc, argv);
  if (stop) return stop - 1;
  if (o.to == 0) o.to = o.from + MK_DAY;
  apply_set(&o, has_arg(argc, argv, "--bbox"), has_arg(argc, argv, "--step"));
  mk_axes a = { 0 };
  mk_world *world = NULL;
  int code = 4;
  if (o.to <= o.from) {
    mk_say("--to is before --from");
    return 2;
  }
  if (!mk_axes_make(&o, &a)) {
    mk_say("not enough memory");
  } else if (a.nt == 0) {
    mk_say("no step of that kind between --from and --to");
    code = 2;
  } else if (!(world = mk_world_new(o.seed, a.lat, a.ny, a.lon, a.nx, o.res))) {
    mk_say("not enough memory");
  } else {
    code = strcmp(o.set, "monthly-climate") == 0 ? write_monthly(&o, &a, world)
                                                 : mk_write_file(&o, &a, world, o.out, o.vars, o.n_vars);
  }
  mk_world_free(world);
  mk_axes_free(&a);
  return code;
}
