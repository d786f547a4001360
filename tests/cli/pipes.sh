# a reader that goes away is no error; a full disk is
. "$CLI/lib.sh"
make_store
code() { "$@" && echo 0 || echo $?; }
(code bctool query small.bcube --var t2m -q > status) 2>&1 | true
(bctool query small.bcube --var t2m -q 2>&1; echo "exit $?" >&2) 2> status | head -1
cat status
(bctool help query 2>&1; echo "exit $?" >&2) 2> status | true
cat status
(bctool ls small.bcube; echo "exit $?" >&2) 2> status | true
cat status
(bctool query small.bcube --var t2m -f npy -q; echo "exit $?" >&2) 2> status | true
cat status
try sh -c 'bctool help > /dev/full'
try sh -c 'bctool ls small.bcube --json > /dev/full'
try sh -c 'bctool query small.bcube --var t2m -q > /dev/full'
try sh -c 'bctool version >&-'
