. "$CLI/lib.sh"
make_store
# without -o: CSV into a pipe
try bctool query small.bcube --var t2m --bbox -0.25,51,0.25,51.25 --time 2019-03-01T06/2019-03-01T12
try bctool query small.bcube --var t2m --bbox -0.25,51,0.25,51.25 --time 2019-03-01T06 --lat asc --lon 0-360
try bctool query small.bcube --var t2m --at 51.3,0.01 --time 2019-03-01
try bctool query small.bcube --var t2m --at 51.5,-0.5 --at 51,359.75 --time ../2019-03-01T00 -f table
printf 'name,lat,lon\na,51.5,-0.5\nb,51,0.25\n' > points.csv
try bctool query small.bcube --var t2m --points points.csv --agg max:1d
try bctool query small.bcube --var t2m --at 51.5,-0.5 --every 2
try bctool query small.bcube --var z --level 850 --bbox -0.25,51.25,0.25,51.5
try bctool query small.bcube --var 't*,lsm' --bbox 0,51,0,51
try bctool query small.bcube --var t2m --bbox 0,51,0.25,51 --time 2019-03-01T18 --json
try bctool query small.bcube --var t2m --bbox 0,51,0.25,51 --time 2019-03-01T18 -f jsonl -q
# what cannot be answered
try bctool query small.bcube --var t3m
try bctool query small.bcube --var t2m --time 2020
try bctool query small.bcube --var z --level 700
try bctool query small.bcube --var t2m --bbox 0.05,51.05,0.1,51.1
try bctool query small.bcube --var t2m -f tiff
try bctool query small.bcube --var t2m -o t2m.tiff
try bctool query small.bcube --var t2m,z -o both.npy
try bctool query small.bcube --var t2m -o nowhere/t2m.npy
try bctool query missing.bcube --var t2m
mkdir empty
try bctool query empty --var t2m
try bctool query t2m.nc --var t2m
# lists of points accumulate
printf 'lat,lon\n51,0.25\n' > more.csv
try bctool query small.bcube --var t2m --points points.csv --points more.csv --time 2019-03-01T00 -q
