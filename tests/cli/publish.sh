# needs: strace
# a published store is only read: no call that writes, makes or removes anything
. "$CLI/lib.sh"
make_store
try bctool publish small.bcube pub.bcube
try bctool publish small.bcube pub.bcube
try bctool publish small.bcube pub.bcube --overwrite --link --json -q
try bctool ingest netcdf pub.bcube t2m.nc
try bctool compact pub.bcube
try bctool reindex pub.bcube
find pub.bcube | sort > before
chmod 0555 pub.bcube pub.bcube/index pub.bcube/segments
# leak detection cannot run under a tracer
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
trace() {
  strace -f -qq -o trace.txt -e trace=file,desc,memory bctool "$@" > /dev/null 2> words || cat words
  grep -c pub.bcube trace.txt | sed 's/^[1-9][0-9]*$/looked at/'
  # opening for writing, making, removing, renaming, locking, syncing; writes go to stdout and stderr only
  grep -E 'open(at)?\(.*(O_WRONLY|O_RDWR|O_CREAT|O_TRUNC)' trace.txt | grep -v /dev/ || true
  grep -E '^[0-9]+ +(creat|unlink|unlinkat|rename|renameat|renameat2|link|linkat|symlink|mkdir|mkdirat|rmdir|truncate|ftruncate|fallocate|fsync|fdatasync|msync|flock|chmod|fchmod|utimensat|pwrite64|pwritev)\(' trace.txt || true
  grep -E '^[0-9]+ +fcntl\(.*F_(OFD_)?SETLKW?' trace.txt || true
  grep -E '^[0-9]+ +(write|writev)\(' trace.txt | grep -vE '(write|writev)\([12],' || true
  grep -E 'mmap\(.*PROT_WRITE.*MAP_SHARED' trace.txt | grep -v MAP_ANONYMOUS || true
}
trace info pub.bcube
trace ls pub.bcube
trace query pub.bcube --var t2m -f csv
trace verify pub.bcube --full
find pub.bcube | sort | diff before -
chmod 0755 pub.bcube pub.bcube/index pub.bcube/segments
# the same trace of a live store does see writes: the check can fail
strace -f -qq -o live.txt -e trace=file,desc bctool info small.bcube > /dev/null
grep -c 'small.bcube/index/lock.mdb.*O_RDWR' live.txt
