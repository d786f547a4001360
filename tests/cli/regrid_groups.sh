# --regrid is recorded on the variable; a variable that goes to a second group is told of
. "$CLI/lib.sh"
make t2m
sed 's/longitude = -0.5.*/longitude = -0.45, -0.2, 0.05, 0.3, 0.55 ;/; s/1551398400.*/1561398400, 1561420000, 1561441600, 1561463200 ;/' \
  "$CLI/data/t2m.cdl" > off.cdl
ncgen -k nc4 -o off.nc off.cdl
sed 's/15614/15714/g' off.cdl > off2.cdl
ncgen -k nc4 -o off2.nc off2.cdl
bctool create s.bcube -q
try bctool ingest netcdf s.bcube off.nc --regrid mean -q
try bctool ls s.bcube --json | grep -A4 biocube_regrid
try bctool ingest netcdf s.bcube off2.nc --regrid mean -q
try bctool ingest netcdf s.bcube t2m.nc -q --time 2019-03-01T00
try bctool ls s.bcube
sed -e 's/float t2m(/float d2m(valid_time, latitude, longitude) ; d2m:units = "K" ; float tp(valid_time, latitude, longitude) ; float sd(valid_time, latitude, longitude) ; float t2m(/' \
  -e 's/1551398400.*/1581398400, 1581420000, 1581441600, 1581463200 ;/' "$CLI/data/t2m.cdl" > many.cdl
ncgen -k nc4 -o many.nc many.cdl
try bctool ingest netcdf s.bcube many.nc
try bctool ingest netcdf s.bcube many.nc --group surface --var t2m
bctool query s.bcube --var surface/t2m --time 2019-06-24 --output q.nc -q
try sh -c "ncdump -h q.nc | grep biocube_regrid"
