# forms of options: anywhere, joined by =, negative numbers, letters together, -- ends them
. "$CLI/lib.sh"
make_store
a='--var t2m --time 2019-03-01T06 -q'
bctool query small.bcube $a --bbox -0.5,51,-0.25,51.25 > 1
bctool $a query small.bcube --bbox -0.5,51,-0.25,51.25 2>&1 | head -1
bctool query $a --bbox=-0.5,51,-0.25,51.25 small.bcube | cmp 1 -
bctool query $a --bbox -0.5,51,-0.25,51.25 -- small.bcube | cmp 1 -
bctool -q query --var=t2m --time=2019-03-01T06 --bbox -0.5,51,-0.25,51.25 small.bcube | cmp 1 -
bctool query $a --bbox -0.5,51,-0.25,51.25 small.bcube -fcsv -o- | cmp 1 -
bctool query $a --bbox -0.5,51,-0.25,51.25 small.bcube -qvf csv | cmp 1 -
bctool query $a --bbox -0.5,51,-0.25,51.25 small.bcube --memory 64M --threads 2 | cmp 1 -
bctool query $a --bbox -0.5,51,-0.25,51.25 small.bcube --memory 0.5GiB --format=csv | cmp 1 -
try bctool query $a small.bcube --at -33.9,18.4
try bctool query small.bcube -- --var
cat 1
