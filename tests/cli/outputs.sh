# every format appears, complete or not at all; nothing is overwritten unasked
. "$CLI/lib.sh"
make_store
for f in t2m.npy t2m.npz t2m.safetensors t2m.nc t2m.csv t2m.json t2m.jsonl t2m.png; do
  try bctool query small.bcube --var t2m --time 2019-03-01T00 -o "$f" -q
  test -s "$f"
done
cp t2m.npy before.npy
for f in t2m.npy t2m.npz t2m.safetensors t2m.nc t2m.csv t2m.json t2m.jsonl t2m.png; do
  try bctool query small.bcube --var t2m --time 2019-03-01T06 -o "$f" -q
done
cmp t2m.npy before.npy
try bctool query small.bcube --var t2m --time 2019-03-01T06 -o t2m.npy --overwrite
cmp -s t2m.npy before.npy && echo 'not overwritten'
for f in npy npz safetensors netcdf png; do
  bctool query small.bcube --var t2m --time 2019-03-01T06 -f $f -o - -q > stdout.$f
done
cmp stdout.npy t2m.npy
ncdump -h stdout.netcdf | grep -c t2m:units
ls
