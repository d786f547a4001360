"""What verify says about damage is enough to mend it: the command that it names, typed as it stands, brings every
value back. Queries beside damage answer, those over it name it, and --skip-damaged says what it leaves out."""
import json
import random
import shlex
import shutil
import struct

import numpy as np
import pytest
from biocube_reader import Store
from conftest import LONG, same_bits

AREA = ["--bbox", "0,40,6,46"]
ALL = ["surface/t2m", "surface/u10", "atmospheric/t"]


@pytest.fixture(scope="module")
def made(bct, mkcube, tmp_path_factory):
    """A store of three files in three segments, its sources beside it, and its values."""
    folder = tmp_path_factory.mktemp("made")
    days = ["--from", "2019-03-30", "--to", "2019-04-02"]
    files = [mkcube(folder / "a file.nc", "--var", "t2m,u10", *AREA, *days),
             mkcube(folder / "b.nc", "--var", "t2m,u10", *AREA, "--from", "2019-04-03", "--to", "2019-04-04"),
             mkcube(folder / "l's.nc", "--var", "t", "--level", "850,500", *AREA, "--step", "6h", *days, "--layout",
                    "legacy")]
    store = bct.create(folder / "s.bcube", "--cell", "8")
    for f in files:
        bct.ingest(store, f, args=["--layout", "map+series"] if f == files[2] else [])
    return folder, {v: bct.npy(store, "--var", v) for v in ALL}


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "w")
    return tmp_path / "w" / "s.bcube"


def findings(bct, store):
    done = bct.run("verify", store.name, "--full", "--json", code=3, cwd=store.parent)
    return json.loads(done.stdout)["damages"]


def mend(bct, store):
    """Types every command that verify names, once."""
    commands = {d["command"] for d in findings(bct, store)}
    assert commands and "" not in commands
    for command in sorted(commands):
        words = shlex.split(command)
        assert words[:3] == ["bctool", "ingest", "netcdf"] and words[-1] == "--replace", command
        bct.run(*words[1:], cwd=store.parent)


def whole(bct, store, values):
    for v in ALL:
        assert same_bits(bct.npy(store, "--var", v), values[v]), v


def flip(path, at, bits=0x01):
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= bits
    path.write_bytes(data)


def places(store):
    """Each tile's (variable, cell, segment file, offset of its payload, its bytes, of its head, its bytes)."""
    s = Store(store)
    for key, value in s.tables["tiles"].items():
        cell, _, number, _ = struct.unpack(">IQHH", key)
        head_seg, seg, offset, stored, _, _, head_at, head = struct.unpack_from("<IIQQQQQI", value)
        assert head_seg == seg
        m = s.modalities[number]
        yield f"{m['group']}/{m['name']}", cell, store / "segments" / f"{seg:010d}.seg", offset, stored, head_at, head


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("what", ["payload", "head"])
def test_the_named_command_mends_a_tile(bct, made, store, tmp_path, what, merged):
    """merged: tiles of values that came from two files, which have to be given again both."""
    if merged:
        bct.run("compact", store)
    before = tmp_path / "before"
    shutil.copytree(store.parent, before)
    tiles = list(places(store))
    rng = random.Random(7)
    raw = [t for t in tiles if t[4] == 3072][:1]  # blocks of one step: most of the tile stays readable
    for variable, cell, path, offset, stored, head_at, head in rng.sample(tiles, 40 if LONG else 6) + raw:
        shutil.rmtree(store.parent)
        shutil.copytree(before, store.parent)
        flip(path, offset + rng.randrange(stored) if what == "payload" else head_at + rng.randrange(head))
        found = findings(bct, store)
        named = [d for d in found if d.get("name")]
        assert [(f"{d['group']}/{d['name']}", d["cell"]) for d in named] == [(variable, cell)]
        assert all(d["what"].count("\n") == 0 and d["command"] in d["what"] and d["source"] for d in found)
        mend(bct, store)
        whole(bct, store, made[1])
        bct.run("compact", store)
        whole(bct, store, made[1])
        after = bct.run("verify", store, "--full", code=None)
        assert after.returncode == 0, after.stdout.decode()


@pytest.mark.parametrize("what", ["header", "footer", "record", "cut", "missing"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_named_command_mends_a_segment(bct, made, store, number, what):
    path = store / "segments" / f"{number:010d}.seg"
    n = path.stat().st_size
    at, = struct.unpack_from("<Q", path.read_bytes(), n - 56)
    if what == "missing":
        path.unlink()
    elif what == "cut":
        path.write_bytes(path.read_bytes()[: n // 2])
    else:
        flip(path, {"header": 40, "footer": n - 30, "record": at + 40}[what])
    assert bct.run("verify", store, "--quick", code=None).returncode == (0 if what == "record" else 3)
    source = ["'a file.nc'", "b.nc", "'l'\\''s.nc'"][number - 1]
    found = findings(bct, store)
    assert any(source in d["command"] for d in found), found
    mend(bct, store)
    whole(bct, store, made[1])
    if what != "record":  # of that all tiles are whole and stay where they are
        assert [d["command"] for d in findings(bct, store)] == ["bctool compact s.bcube"]
    bct.run("compact", store)
    whole(bct, store, made[1])
    bct.run("verify", store, "--full")  # nothing is left of it
    bct.run("reindex", store)
    whole(bct, store, made[1])


def test_queries_beside_and_over_damage(bct, made, store):
    variable, cell, path, offset, stored, *_ = next(t for t in places(store) if t[0] == "surface/t2m")
    flip(path, offset + stored // 2)
    out = store.parent / "x.npy"
    line = bct.refused("query", store, "--var", variable, "-o", out, code=3,
                       said=[variable, f"cell {cell & (2**26 - 1)}", path.name, "a file.nc", "2019-0"])
    assert not out.exists() and line
    for v in ALL[1:]:
        assert same_bits(bct.npy(store, "--var", v), made[1][v]), v
    done = bct.run("query", store, "--var", variable, "--skip-damaged", "-o", out)
    assert "damaged" in done.stderr.decode() and path.name in done.stderr.decode(), done.stderr
    got, want = np.load(out), made[1][variable]
    lost = np.isnan(got) & ~np.isnan(want)
    assert 0 < lost.sum() < want.size / 2
    assert same_bits(np.where(lost, 0, got), np.where(lost, 0, want))


def test_damaged_index_is_told_apart_and_made_again(bct, made, store):
    data = store / "index" / "data.mdb"
    good = data.read_bytes()
    rng = random.Random(11)
    crashed, refused, n = 0, 0, 400 if LONG else 40
    for i in range(n):
        bad = bytearray(good)
        if i % 4 == 3:
            page = rng.randrange(len(good) // 4096) * 4096
            bad[page : page + 4096] = rng.randbytes(4096)
        else:
            for _ in range(8):
                bad[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        data.write_bytes(bad)
        for command in (["info", store], ["verify", store, "--full"],
                        ["query", store, "--var", ALL[0], "-f", "npy", "-o", "-", "-q"]):
            done = bct.run(*command, code=None)
            assert done.returncode in (0, 2, 3), (i, command[0], done.returncode, done.stderr)
            if command[0] == "verify":
                refused += done.returncode == 3
        crashed += done.returncode < 0
    assert crashed == 0 and refused > n // 4
    bct.run("reindex", store)
    whole(bct, store, made[1])
    assert bct.json("verify", store, "--full")["damaged"] == 0
