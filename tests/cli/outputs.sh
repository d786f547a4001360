# every format appears, complete or not at all; nothing is overwritten unasked
. "$CLI/lib.sh"
make_store
for f in a.npy a.npz a.safetensors a.nc a.csv a.tsv a.json a.jsonl a.png; do
  try bctool query small.bcube --var t2m --time 2019-03-01T00 -o "$f" -q
  test -s "$f"
done
cp a.npy before.npy
for f in a.npy a.npz a.safetensors a.nc a.csv a.tsv a.json a.jsonl a.png; do
  try bctool query small.bcube --var t2m --time 2019-03-01T06 -o "$f" -q
done
cmp a.npy before.npy
try bctool query small.bcube --var t2m --time 2019-03-01T06 -o a.npy --overwrite
if cmp -s a.npy before.npy; then echo 'not overwritten'; fi
for f in npy npz safetensors netcdf png; do
  bctool query small.bcube --var t2m --time 2019-03-01T06 -f $f -o - -q > stdout.$f
done
cmp stdout.npy a.npy
ncdump -h stdout.netcdf | grep t2m:units
ls
# what is not a file is named, not "give --overwrite"
mkfifo pipe
mkdir folder.npy
try bctool query small.bcube --var t2m -f npy -o pipe --overwrite -q
try bctool query small.bcube --var t2m -o folder.npy --overwrite -q
try bctool query small.bcube --var t2m -f npy -o /dev/null --overwrite -q
