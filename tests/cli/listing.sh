. "$CLI/lib.sh"
bctool create small.bcube -q
try bctool ls small.bcube
try bctool info small.bcube
try bctool stats small.bcube
rm -r small.bcube
make_store
make t2m_gap
bctool ingest netcdf small.bcube t2m_gap.nc -q
try bctool info small.bcube
try bctool ls small.bcube
try bctool ls small.bcube 't*'
try bctool ls small.bcube -l t2m
try bctool ls small.bcube nothing
try bctool ls small.bcube t2m --json
try bctool stats small.bcube
try bctool stats small.bcube --var z,t2m
try bctool stats small.bcube --var z --json
try bctool stats small.bcube --var nothing
bctool info small.bcube --json > info.json
python3 -c 'import json; d = json.load(open("info.json")); print(d["variables"], sorted(d["groups"]), d["first"], d["last"])'
