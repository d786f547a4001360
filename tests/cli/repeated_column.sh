# A 360th column that repeats the one at 0 is dropped when it is equal, else the file is refused
. "$CLI/lib.sh"
globe() {
  sed -e 's/longitude = 5/longitude = 5/; s/longitude = -0.5.*/longitude = 0, 90, 180, 270, 360 ;/' \
    -e 's/latitude = 51.5, 51.25, 51 /latitude = 90, 0, -90 /' -e "$2" "$CLI/data/t2m.cdl" > "$1.cdl"
  ncgen -k nc4 -o "$1.nc" "$1.cdl"
}
globe differs 's/^$//'
globe equal 's/^\( *\)\([0-9.]*\), \(.*\), [0-9.]*\([,;]\|\( ;\)\)$/\1\2, \3, \2\4/'
bctool create s.bcube -q --grid-from equal.nc
try bctool ingest netcdf s.bcube differs.nc
try bctool ls s.bcube
try bctool ingest netcdf s.bcube equal.nc -q
bctool query s.bcube --var t2m --time 2019-03-01T00 --format csv -q
