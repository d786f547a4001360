. "$CLI/lib.sh"
make t2m
try bctool create a.bcube
try bctool create a.bcube
try bctool create b.bcube --grid wgs84-1p0 --bbox 170,-50,-170,-30 --cell 32
try bctool create c.bcube --grid-from t2m.nc --cell full --json
try bctool create d.bcube -q
try bctool create nowhere/e.bcube
try bctool create f.bcube --bbox 0.01,0.01,0.02,0.02
try bctool create g.bcube --grid-from missing.nc
cp "$CLI/lib.sh" text.nc
try bctool create h.bcube --grid-from text.nc
ls -d ./*.bcube
