# Sourced by the tests: small netCDF files made from the text files in data/, and stores of them.

# try COMMAND..: runs it, prints its exit code after its output; words come on stdout too
try() {
  printf '$ %s\n' "$*"
  code=0
  "$@" 2>&1 || code=$?
  [ "$code" = 0 ] || printf '[exit %s]\n' "$code"
}

# make NAME..: NAME.nc in this folder from data/NAME.cdl
make() {
  for name in "$@"; do
    ncgen -k nc4 -o "$name.nc" "$CLI/data/$name.cdl"
  done
}

# make_store: small.bcube with t2m (a gap in time, a missing value), z on two levels, and lsm
make_store() {
  make t2m z lsm
  bctool create small.bcube -q
  bctool ingest netcdf small.bcube t2m.nc z.nc lsm.nc -q
}
