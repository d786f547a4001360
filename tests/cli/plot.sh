. "$CLI/lib.sh"
make_store
try bctool plot small.bcube --var t2m -o map.png
try bctool plot small.bcube --var t2m -o map.png
try bctool plot small.bcube --var t2m --time 2019-03-01T06 -o map.png --overwrite --range 270,290 --title 'A map' --width 600
try bctool plot small.bcube --var z -o z.png
try bctool plot small.bcube --var z --level 850 -o z850.png
try bctool plot small.bcube --var t2m --at 51.5,0 -o series.png
try bctool plot small.bcube --var t2m --agg mean:1d -o mean.png
try bctool plot small.bcube --var lsm -o lsm.png
try bctool plot small.bcube --var t2m,z -o two.png
try bctool plot small.bcube --var t2m -o map2.png --colormap rainbow
for f in *.png; do
  printf '%s ' "$f"
  head -c 4 "$f" | tail -c 3
  echo
done
