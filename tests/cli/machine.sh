# the machine says no: no room, a second writer
. "$CLI/lib.sh"
make t2m
bctool create a.bcube -q
try sh -c 'ulimit -f 0; bctool ingest netcdf a.bcube t2m.nc'
try sh -c 'ulimit -f 0; bctool query a.bcube --var t2m -o t2m.npy'
bctool ingest netcdf a.bcube t2m.nc -q
try sh -c 'ulimit -f 0; bctool query a.bcube --var t2m -o t2m.npy'
ls
try bctool verify a.bcube --full
