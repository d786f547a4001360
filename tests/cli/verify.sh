. "$CLI/lib.sh"
make_store
try bctool verify small.bcube
try bctool verify small.bcube --full
try bctool verify small.bcube --full --json
# one byte in the middle of the tiles' values
segment=$(find small.bcube/segments -type f | sort | head -1)
python3 - "$segment" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(64 + 4)
    b = f.read(1)
    f.seek(64 + 4)
    f.write(bytes([b[0] ^ 255]))
PY
try bctool verify small.bcube --full
code=0
bctool verify small.bcube --full --json -q > damage.json || code=$?
python3 -c 'import json; d = json.load(open("damage.json")); print(d["damaged"] > 0, d["damages"][0]["code"])'
echo "exit $code"
# a segment cut short is seen at once
truncate -s 100 "$segment"
try bctool verify small.bcube
try bctool query small.bcube --var t2m -o t2m.npy
try bctool verify missing.bcube
