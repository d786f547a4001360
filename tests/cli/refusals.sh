# Refused files are named, once, and leave nothing: values, units, two grids in one zip, the summary after it
. "$CLI/lib.sh"
make t2m t2m_other lsm
# edit OUT IN SED..: OUT.nc from data/IN.cdl with changes
edit() {
  out=$1 in=$2
  shift 2
  sed "$@" "$CLI/data/$in.cdl" > "$out.cdl"
  ncgen -k nc4 -o "$out.nc" "$out.cdl"
}
edit west t2m -e 's/280, 280.25, 280.5/279, 280.25, 280.5/'
edit celsius t2m -e 's/"K"/"degC"/'
edit unitless t2m -e '/:units = "K"/d'
edit lsm3 lsm -e 's/lsm = 1,/lsm = 0.75,/'
edit wave t2m -e 's/t2m/swh/; s/longitude = -0.5, -0.25, 0, 0.25, 0.5/longitude = -1, -0.5, 0, 0.5, 1/; s/latitude = 51.5, 51.25, 51 /latitude = 52, 51.5, 51 /'
mkdir far
cp west.nc far/west.nc
bctool create s.bcube -q
# two files of one run that differ: the first stays, the second leaves nothing
try bctool ingest netcdf s.bcube t2m.nc far/west.nc
try bctool ingest netcdf s.bcube far/west.nc lsm.nc --keep-going
try bctool ingest netcdf s.bcube far/../celsius.nc
try bctool ingest netcdf s.bcube celsius.nc --dry-run
try bctool ingest netcdf s.bcube unitless.nc celsius.nc --keep-going --dry-run
try bctool ingest netcdf s.bcube lsm3.nc
python3 -c 'import zipfile
with zipfile.ZipFile("both.zip", "w") as z: z.write("t2m.nc"); z.write("wave.nc")
with zipfile.ZipFile("none.zip", "w") as z: z.write("wave.cdl")'
bctool create z.bcube -q
try bctool ingest netcdf z.bcube both.zip
try bctool ingest netcdf z.bcube both.zip --var t2m -q
try bctool ingest netcdf z.bcube far/../none.zip
edit hole t2m -e 's/t2m/hole/; s/longitude = -0.5,.*/longitude = -0.5, -0.25, 0, 0.25, 1 ;/'
edit masked t2m -e 's/1551398400, 1551420000/1551398400, _/; s/valid_time:units/valid_time:_FillValue = -5LL ; valid_time:units/'
try bctool ingest netcdf s.bcube hole.nc
try bctool ingest netcdf s.bcube masked.nc
try bctool verify s.bcube --full
