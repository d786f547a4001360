. "$CLI/lib.sh"
make t2m t2m_gap t2m_other z lsm
bctool create small.bcube -q
try bctool ingest netcdf small.bcube t2m.nc z.nc lsm.nc --dry-run
try bctool ingest netcdf small.bcube t2m.nc z.nc lsm.nc
try bctool ingest netcdf small.bcube t2m.nc
try bctool ingest netcdf small.bcube t2m_gap.nc -q
# a value that differs
try bctool ingest netcdf small.bcube t2m_other.nc
bctool query small.bcube --var t2m --time 2019-03-01T00 --at 51.25,0.25 -q
try bctool ingest netcdf small.bcube t2m_other.nc --replace
bctool query small.bcube --var t2m --time 2019-03-01T00 --at 51.25,0.25 -q
# part of a file
bctool create part.bcube -q
try bctool ingest netcdf part.bcube t2m.nc --time 2019-03-01T06/2019-03-01T12 --bbox 0,51,1,51.25 --group uk --json
try bctool ls part.bcube
# files that are none
echo 'time,t2m' > text.nc
try bctool ingest netcdf small.bcube missing.nc
try bctool ingest netcdf small.bcube text.nc
head -c 500 t2m.nc > cut.nc
try bctool ingest netcdf small.bcube cut.nc
try bctool ingest netcdf small.bcube .
try bctool ingest netcdf part.bcube text.nc t2m.nc --group uk --keep-going
try bctool ingest netcdf missing.bcube t2m.nc
try bctool ingest netcdf small.bcube t2m.nc --codec lzma
try bctool ingest netcdf small.bcube t2m.nc --layout spiral
try bctool verify small.bcube --full
