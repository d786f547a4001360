# many small ingests; compact, reindex: nothing changes but the files
. "$CLI/lib.sh"
make_store
for d in 01 02 03; do
  mkcube --var d2m --bbox -2,50,0,52 --from "2019-03-$d" --to "2019-03-$d" --seed 7 -o "day$d.nc" --quiet
  bctool ingest netcdf small.bcube "day$d.nc" -q
done
bctool query small.bcube --var 't2m,z,lsm,d2m' -o before.nc -q
try bctool compact small.bcube --dry-run
try bctool compact small.bcube --dry-run --json -q
try bctool compact small.bcube -q
try bctool verify small.bcube --full
try bctool compact small.bcube
bctool query small.bcube --var 't2m,z,lsm,d2m' -o after.nc -q
ncdump before.nc > before.txt && ncdump after.nc | sed 's/^netcdf after /netcdf before /' | diff before.txt - | grep '^[<>]' | grep -v history | head -5 || true
rm -r small.bcube/index
try bctool info small.bcube
try bctool reindex small.bcube
try bctool reindex small.bcube --json -q
try bctool verify small.bcube --full
try bctool compact small.bcube --memory 1M
try bctool compact missing.bcube
try bctool reindex missing.bcube
