"""kill -9 while values are replaced and while a store is compacted: every value is the old or the new
one, never another, and the same command finishes. tests/python/test_crash.py kills the first ingest."""
import random
import shutil
import signal
import subprocess
import time

import pytest
from conftest import LONG, same_bits

KILLS = 400 if LONG else 30
AREA = ["--bbox", "0,40,12,52"]
DAYS = ["--from", "2019-03-28", "--to", "2019-04-03"]


@pytest.fixture(scope="module")
def world(bct, mkcube, tmp_path_factory):
    """A store of several pieces, a file with other values for all of it, and both worlds' values."""
    folder = tmp_path_factory.mktemp("kills")
    old = [mkcube(folder / f"{i}.nc", "--var", "t2m,u10", *AREA, "--from", f"2019-0{a}", "--to", f"2019-0{b}")
           for i, (a, b) in enumerate([("3-28", "3-29"), ("3-30", "3-31"), ("4-01", "4-03")])]
    new = mkcube(folder / "new.nc", "--var", "t2m,u10", *AREA, *DAYS, "--seed", "2")
    store = bct.create(folder / "s.bcube", "--cell", "16")
    for f in old:
        bct.ingest(store, f)
    replaced = folder / "replaced.bcube"
    shutil.copytree(store, replaced)
    begin = time.monotonic()
    bct.ingest(replaced, new, args=["--replace"])
    seconds = {"replace": time.monotonic() - begin}
    compacted = folder / "compacted.bcube"
    shutil.copytree(store, compacted)
    begin = time.monotonic()
    bct.run("compact", compacted)
    seconds["compact"] = time.monotonic() - begin
    return store, new, seconds, values(bct, store), values(bct, replaced)


def values(bct, store):
    return {v: bct.npy(store, "--var", v) for v in ("t2m", "u10")}


def never_a_mix(got, old, new):
    """Every value is the old or the new one: a replacement may be committed in parts when memory is short."""
    for v in old:
        assert got[v].shape == old[v].shape
        bits, was, will = (x.view("u4") for x in (got[v], old[v], new[v]))
        assert ((bits == was) | (bits == will)).all(), v


@pytest.mark.parametrize("what", ["replace", "compact"])
def test_killed_at_any_moment(bct, world, tmp_path, what):
    source, new, seconds, old_values, new_values = world
    end = new_values if what == "replace" else old_values
    rng = random.Random(5)
    killed = 0
    for i in range(KILLS // 2):
        store = tmp_path / f"{i}.bcube"
        shutil.copytree(source, store)
        args = ["ingest", "netcdf", store, new, "--replace", "-q"] if what == "replace" else ["compact", store, "-q"]
        if what == "replace":
            args += rng.choice([[], ["--threads", "2"], ["--memory", "32M"]])
        for _ in range(rng.choice([1, 2])):
            run = subprocess.Popen([bct.path, *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                run.wait(rng.uniform(0, seconds[what] * 0.95))
            except subprocess.TimeoutExpired:
                killed += 1
            run.send_signal(signal.SIGKILL)
            run.communicate()
            got = values(bct, store)
            never_a_mix(got, old_values, end)
            found = bct.json("verify", store, "--full")
            assert found["damaged"] == 0, found
        bct.run(*args)
        got = values(bct, store)
        assert all(same_bits(got[v], end[v]) for v in end)
        before = bct.json("ls", store)
        bct.run("reindex", store)
        assert bct.json("ls", store) == before, "the index is what the segments say"
        assert bct.json("verify", store, "--full")["damaged"] == 0
        shutil.rmtree(store)
    print(f"kills survived: {what} {killed}")
    assert killed > KILLS / 4, f"only {killed} kills hit a running {what}"
