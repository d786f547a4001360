# needs: ncgen python3 timeout
# A store or a file made to do harm: exit code 3, one line that names it, soon, and nothing is changed.
. "$CLI/lib.sh"
make_store
segment=small.bcube/segments/0000000001.seg
ask() { try timeout 20 bctool query small.bcube --var lsm --bbox 0,51,0.25,51.5; }

echo '# links'
for part in segments index BIOCUBE segments/0000000001.seg index/data.mdb index/lock.mdb; do
  mv "small.bcube/$part" away
  ln -s "$PWD/away" "small.bcube/$part"
  ask
  rm "small.bcube/$part"
  mv away "small.bcube/$part"
done

echo '# a lock that leads to a file of the user'
echo precious >precious
rm -f small.bcube/writer.lock
ln -s ../precious small.bcube/writer.lock
try bctool ingest netcdf small.bcube t2m.nc -q
cat precious
rm small.bcube/writer.lock

echo '# no files at all'
mv "$segment" away
mkdir "$segment"
ask
rmdir "$segment"
mkfifo "$segment"
ask
try timeout 20 bctool verify small.bcube
rm "$segment"
mv away "$segment"

echo '# markers'
mv small.bcube/BIOCUBE away
mkfifo small.bcube/BIOCUBE
ask
rm small.bcube/BIOCUBE
{ cat away; head -c 10485760 /dev/zero; } >small.bcube/BIOCUBE
ask
sed 's/^format 1\./format 9./' away >small.bcube/BIOCUBE
ask
sed 's/^incompat 0/incompat 2/' away >small.bcube/BIOCUBE
ask
mv away small.bcube/BIOCUBE

echo '# zip files'
python3 - <<'PY'
import stat, warnings, zipfile
warnings.simplefilter("ignore")
nc = open("lsm.nc", "rb").read()
def make(name, *members, data=nc, mode=0o100644):
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as z:
        for m in members:
            info = zipfile.ZipInfo(m)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(info, data)
make("up.zip", "../lsm.nc")
make("root.zip", "/tmp/lsm.nc")
make("link.zip", "lsm.nc", mode=0o120777)
make("twice.zip", "lsm.nc", "lsm.nc")
make("bomb.zip", "lsm.nc", data=b"CDF\1" + bytes(80 << 20))
make("total.zip", *(f"{i}.nc" for i in range(12)), data=b"CDF\1" + bytes(8 << 20))
PY
mkdir tmp
for f in up root link twice bomb total; do
  TMPDIR=$PWD/tmp try timeout 60 bctool ingest netcdf small.bcube "$f.zip" -q
done
ls tmp

echo '# and the store is as it was'
ask
