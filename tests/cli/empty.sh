# --fail-empty: exit 1 when there is nothing, 2 when the question is wrong
. "$CLI/lib.sh"
make_store
try bctool query small.bcube --var t2m --time 2020 --fail-empty
try bctool query small.bcube --var t2m --bbox 100,0,101,1 --fail-empty
try bctool query small.bcube --var t3m --fail-empty
try bctool query small.bcube --var t2m --at 51.5,0 --time 2019-03-01T00 --fail-empty
try bctool query small.bcube --var t2m --at 0,100 --time 2019-03-01T00
