. "$CLI/lib.sh"
make_store
try bctool query small.bcube --var t2m,z --bbox -0.25,51.25,0.25,51.5 --explain
try bctool query small.bcube --var t2m --bbox -0.25,51,0.25,51.25 --dry-run
try bctool query small.bcube --var z --explain --json -q
try bctool query small.bcube --var t2m --bbox -10,50,2,58 --memory 1 --dry-run
