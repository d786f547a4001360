# needs: mkcube
# Ctrl-C once the bar is seen on a terminal: a clean end with 130, and the same command finishes the job
. "$CLI/lib.sh"
mkcube --var t2m --bbox -30,30,40,75 --from 2019-03-01 --to 2019-03-05 --quiet -o big.nc
bctool create a.bcube -q
bctool create b.bcube -q
cat > on_terminal.py <<'PY'
"""Runs a command with a terminal as stderr; sends SIGINT when its bar shows a percentage."""
import os, pty, signal, subprocess, sys
ours, theirs = pty.openpty()
p = subprocess.Popen(sys.argv[1:], stderr=theirs, env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"})
os.close(theirs)
seen, interrupted = b"", False
while True:
    try:
        piece = os.read(ours, 4096)
    except OSError:  # the terminal's other end is closed
        break
    if not piece:
        break
    seen += piece
    if b"%" in seen and not interrupted:
        p.send_signal(signal.SIGINT)
        interrupted = True
print("exit", p.wait(), "bar" if interrupted else "no bar", "colour" if b"\033[32m" in seen else "no colour")
print(seen.decode().rsplit("\033[K", 1)[-1].strip().split(":", 1)[0])
PY
python3 on_terminal.py bctool ingest netcdf a.bcube big.nc --memory 24M
try bctool verify a.bcube --full -q
bctool ingest netcdf a.bcube big.nc -q
bctool ingest netcdf b.bcube big.nc -q
bctool query a.bcube --var t2m -o a.npy -q
bctool query b.bcube --var t2m -o b.npy -q
cmp a.npy b.npy
try bctool verify a.bcube --full -q
