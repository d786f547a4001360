. "$CLI/lib.sh"
try bctool
try bctool qury
try bctool frobnicate
try bctool --bogus
try bctool ingest
try bctool ingest netcfd a b
try bctool ingest uk.bcube a.nc
try bctool query
try bctool query --var t2m
try bctool query a b
try bctool query a --bboxx 1,2,3,4
try bctool query a --xyzzy
try bctool query a -z
try bctool query a --var
try bctool query a --var --time 2019
try bctool query a --time=
try bctool query a --overwrite=yes
try bctool query a --threads 0
try bctool query a --threads -2
try bctool query a --threads 1e3
try bctool query a --memory 12X
try bctool query a --memory lots
try bctool query a --lat up
try bctool query a --lon 360
try bctool query a --bbox 1,2,3
try bctool query a --bbox 1,2,3,x
try bctool query a --bbox 0,60,10,50
try bctool query a --at 100,0
try bctool query a --bbox 0,0,1,1 --at 0,0
try bctool query a --time 2019-13
try bctool query a --time 2020/2019
try bctool query a --level five
try bctool query a --agg mean
try bctool query a --agg median:1d
try bctool query a --agg mean:1w
try bctool query a --every 0
try bctool query a --points missing.csv
try bctool query a --points 51.5,-0.1
try bctool create
try bctool create a --cell 0
try bctool create a --grid nowhere
try bctool create a --grid wgs84-1p0 --grid-from x.nc
try bctool ingest netcdf
try bctool ingest netcdf a
try bctool ingest netcdf a b --precision -1
try bctool ingest netcdf a b --precision 0x1
try bctool ingest netcdf a b --regrid cubic
try bctool ingest netcdf a b --bucket week
try bctool plot a
try bctool plot a --var t2m
try bctool plot a --var t2m -o a.png --range 5
try bctool plot a --var t2m -o a.png --range 5,-5
try bctool verify a --quick --full
try bctool version extra
try bctool help nothing
try bctool help ingest nothing
try bctool query a --time 2019 --var t2m --time=2020
try bctool query a -o x.npy -ox.csv
try bctool plot a --var t2m -o a.jpg
try bctool plot a --var t2m -o a.nc
