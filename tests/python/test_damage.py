"""What verify says about damage is enough to mend it: the command that it names, typed as it stands, brings every
value back. Queries beside damage answer, those over it name it, and --skip-damaged says what it leaves out."""
import io
import json
import random
import shlex
import shutil
import struct
import subprocess
import time

import lmdb
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


def mend(bct, store, backwards=False):
    """Types every command that verify names, in some order, until it names none."""
    for _ in range(3):
        commands = {d["command"] for d in findings(bct, store)}
        assert commands and "" not in commands
        single = {one for command in commands for one in command.split(" && ")}
        compacts = {c for c in single if c.startswith("bctool compact")}
        for command in sorted(single - compacts, reverse=backwards) + sorted(compacts):
            words = shlex.split(command)
            assert words[1] == "compact" or words[:3] == ["bctool", "ingest", "netcdf"] and words[-1] == "--mend"
            bct.run(*words[1:], cwd=store.parent, code=None if words[1] == "compact" else 0)
        if bct.run("verify", store.name, "--full", cwd=store.parent, code=None).returncode == 0:
            return
    raise AssertionError(findings(bct, store))


def mend_at_once(bct, store):
    """Types the one command that mends all that was found, line by line as it is printed."""
    said = bct.run("verify", store.name, "--full", code=3, cwd=store.parent).stdout.decode().splitlines()
    last = said[-1]
    if last.startswith("to mend all of it: "):
        report = json.loads(bct.run("verify", store.name, "--full", "--json", code=3, cwd=store.parent).stdout)
        assert report["command"] == last.partition(": ")[2]
        assert report["damaged"] == len(said) - 1 == len(report["damages"])
    else:
        last = said[0]
        assert len({d["command"].partition(" && bctool compact")[0] for d in findings(bct, store)}) == 1
    for command in last.partition("to mend ")[2].partition(": ")[2].split(" && "):
        bct.run(*shlex.split(command)[1:], cwd=store.parent)
    bct.run("verify", store.name, "--full", cwd=store.parent)


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
    bct.run("verify", store, "--full")  # nothing is left of it
    bct.run("reindex", store)
    whole(bct, store, made[1])


REGION = ["--bbox", "2,41,5,44"]  # of AREA


def four_files(bct, mkcube, folder, layout="newcds", part=()):
    """Each in a segment of its own; the second and third replaced values of what was there before."""
    days = [("2019-03-30", "2019-04-02", "1"), ("2019-04-01", "2019-04-01", "2"), ("2019-03-31", "2019-03-31", "3"),
            ("2019-04-03", "2019-04-03", "1")]
    store = bct.create(folder / "s.bcube", "--cell", "8")
    for i, (first, last, seed) in enumerate(days):
        area = part if part and i in (1, 2) else AREA
        file = mkcube(folder / f"{i + 1}.nc", "--var", "t2m", *area, "--from", first, "--to", last, "--seed", seed,
                      "--step", "3h", "--layout", layout)
        bct.ingest(store, file, args=["--replace"])
    return store


@pytest.mark.parametrize("number, days", [(1, [0, 1, 2, 3]), (2, [2]), (3, [1]), (4, [4])])
@pytest.mark.parametrize("layout", [[], ["--layout", "map+series"]])
def test_a_lost_segment_gives_missing_values_not_old_ones(bct, mkcube, tmp_path, number, days, layout):
    """Its steps stay in the answer, and what it had replaced does not come up again."""
    store = four_files(bct, mkcube, tmp_path)
    if layout:
        store = bct.create(tmp_path / "two.bcube", "--cell", "8")
        for i in range(1, 5):
            bct.ingest(store, tmp_path / f"{i}.nc", args=["--replace", *layout])
    want = bct.npy(store, "--var", "t2m")
    (store / "segments" / f"{number:010d}.seg").unlink()
    out = tmp_path / "x.npy"
    line = bct.refused("query", store, "--var", "t2m", "-o", out, code=3, said=[f"{number}.nc", "--mend"])
    assert "surface/t2m" in line and not out.exists()
    done = bct.run("query", store, "--var", "t2m", "--skip-damaged", "-q", "-o", out)
    assert "damaged" in done.stderr.decode() and f"{number}.nc" in done.stderr.decode()
    got = np.load(out)
    assert got.shape == want.shape
    for day in range(5):
        now, then = got[8 * day : 8 * day + 8], want[8 * day : 8 * day + 8]
        if day not in days:
            assert same_bits(now, then)
        elif number == 1 and day in (1, 2):
            assert same_bits(now, then)  # replaced since: lost values are not those in force
        else:
            assert np.isnan(now).all()


def test_a_published_copy_is_made_again(bct, made, store, tmp_path):
    bct.run("publish", store, tmp_path / "p.bcube")
    path = next(iter(sorted((tmp_path / "p.bcube" / "segments").glob("*.seg"))))
    flip(path, path.stat().st_size // 2)
    said = bct.run("verify", tmp_path / "p.bcube", "--full", code=3).stdout.decode()
    assert "to mend it: bctool publish, from the store that it is a copy of" in said and "ingest" not in said


def test_damage_is_not_published(bct, made, store, tmp_path):
    variable, _, path, offset, stored, *_ = next(iter(places(store)))
    flip(path, offset + stored // 2)
    dest = tmp_path / "p.bcube"
    line = bct.refused("publish", store, dest, code=3, said=[variable, "checksum", "nothing was published", "verify --full"])
    assert "to mend" not in line
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
    bct.run("publish", store, dest, "--link")  # shares the file, and does not read it
    bct.run("verify", dest, "--full", code=3)
    mend(bct, store)
    bct.run("publish", store, dest, "--overwrite")
    bct.run("verify", dest, "--full")
    whole(bct, dest, made[1])


def assert_all_lost_comes_back(bct, store, **values):
    """All segments are removed, and the command that is named is typed."""
    for path in (store / "segments").glob("*.seg"):
        path.unlink()
    mend(bct, store)
    for v in values:
        assert same_bits(bct.npy(store, "--var", v), values[v]), v


def two_files(bct, mkcube, folder, first, second, *, inside=False, compact=False):
    """The second replaces values of the first, in part of its box and perhaps of its days."""
    store = bct.create(folder / "s.bcube", "--cell", "16")
    small = ["--bbox", "2,41,5,44"] if inside else AREA
    for i, (days, area) in enumerate([(first, AREA), (second, small)]):
        file = mkcube(folder / f"{i}.nc", "--var", "t2m", *area, "--from", days[0], "--to", days[1], "--seed", str(i + 1),
                      "--step", "3h")
        bct.ingest(store, file, args=["--replace"])
    if compact:
        bct.run("compact", store)
    return store, bct.npy(store, "--var", "t2m")


@pytest.mark.parametrize("inside", [False, True])
def test_mending_what_was_merged_takes_the_later_file_first(bct, mkcube, tmp_path, inside):
    march = ("2019-03-01", "2019-03-03")
    store, want = two_files(bct, mkcube, tmp_path, march, march, inside=inside, compact=True)
    for path in (store / "segments").iterdir():
        path.unlink()
    mend(bct, store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


@pytest.mark.parametrize("compact", ["never", "mid", "end"])
@pytest.mark.parametrize("reindex", [False, True])
def test_a_file_that_came_again_is_the_later_one(bct, mkcube, tmp_path, compact, reindex):
    """Ingested, replaced by another that has more, ingested again: where both have values, those of the first come back."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "16")
    files = [mkcube(tmp_path / f"{i}.nc", "--var", "t2m", *area, "--from", "2019-03-01", "--to", "2019-03-03", "--seed",
                    str(i + 1), "--step", "3h") for i, area in enumerate([["--bbox", "2,41,5,44"], AREA])]
    for i in (0, 1, 0):
        bct.ingest(store, files[i], args=["--replace"])
        if compact == "mid" and i == 1:
            bct.run("compact", store)
    assert bct.report(store, files[0])["files_skipped"] == 1
    assert bct.ingest(store, files[1], code=None).returncode == 2  # is not in any more: values differ
    want = bct.npy(store, "--var", "t2m")
    if compact == "end":
        bct.run("compact", store)
    if reindex:
        shutil.rmtree(store / "index")
        bct.run("reindex", store)
    assert_all_lost_comes_back(bct, store, t2m=want)


def test_a_file_that_filled_gaps_is_the_earlier_one(bct, mkcube, tmp_path):
    """--mend lets a file that was not in bring what nobody has: where others have values, theirs are in force."""
    march, april = ("2019-03-01", "2019-03-03"), ("2019-03-02", "2019-03-04")
    store, _ = two_files(bct, mkcube, tmp_path, march, march, inside=True)
    for i in (2, 3):
        file = mkcube(tmp_path / f"{i}.nc", "--var", "t2m", *AREA, "--from", april[0], "--to", f"2019-03-0{i + 2}", "--seed",
                      str(i + 1), "--step", "3h")
        bct.ingest(store, file, args=["--mend"])
    want = bct.npy(store, "--var", "t2m")
    assert np.isnan(want).sum() == 0
    bct.run("compact", store)
    assert_all_lost_comes_back(bct, store, t2m=want)


@pytest.mark.parametrize("how", ["gaps filled", "mended before"])
def test_a_mended_tile_knows_all_files_that_it_has_values_of(bct, mkcube, tmp_path, how):
    """Mending writes what can still be read together with what comes back: when that is lost too, both files are named."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "16")
    small, large = (mkcube(tmp_path / f"{name}.nc", "--var", "t2m", *area, "--from", "2019-03-01", "--to", "2019-03-01", "--seed",
                           seed, "--step", "3h") for name, area, seed in [("small", ["--bbox", "2,41,5,44"], "1"), ("large", AREA, "2")])
    if how == "gaps filled":
        bct.ingest(store, small)
        bct.ingest(store, large, args=["--mend"])
        want = bct.npy(store, "--var", "t2m")
    else:
        bct.ingest(store, large)
        bct.ingest(store, small, args=["--replace"])
        want = bct.npy(store, "--var", "t2m")
        (store / "segments" / "0000000001.seg").unlink()
        mend(bct, store)
        assert same_bits(bct.npy(store, "--var", "t2m"), want)
    assert_all_lost_comes_back(bct, store, t2m=want)


def ingest_killed(bct, store, segments, *args):
    """Killed when it has made that many segments."""
    before = len(list((store / "segments").glob("*.seg")))
    run = subprocess.Popen([bct.path, "ingest", "netcdf", str(store), *map(str, args), "--memory", "32M", "-q"])
    while run.poll() is None and len(list((store / "segments").glob("*.seg"))) < before + segments:
        time.sleep(0.002)
    run.kill()
    assert run.wait() != 0, "it ended before it could be killed"


def test_what_mending_went_through_is_not_replaced(bct, mkcube, tmp_path):
    """A --mend that was interrupted, then --replace of the same file: from its beginning, and it is the later one."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "64")
    span = ["--from", "2019-03-01", "--to", "2019-03-12"]
    small = mkcube(tmp_path / "small.nc", "--var", "t2m", "--bbox", "5,35,9,39", *span)
    large = mkcube(tmp_path / "large.nc", "--var", "t2m", "--bbox", "0,30,40,60", *span, "--seed", "2")
    bct.ingest(store, small)
    ingest_killed(bct, store, 1, large, "--mend")
    bct.ingest(store, large, args=["--replace"])
    alone = bct.create(tmp_path / "alone.bcube", "--cell", "64")
    bct.ingest(alone, large)
    want = bct.npy(alone, "--var", "t2m")
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    bct.run("compact", store)
    assert_all_lost_comes_back(bct, store, t2m=want)


def test_a_file_replaced_in_the_run_that_finished_it_keeps_its_place(bct, mkcube, tmp_path):
    """A (t2m, u10) killed inside u10; B --replace (u10); A and C (t2m) --replace in one run: u10 is A's."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "64")
    box = ["--bbox", "0,30,40,60"]
    a = mkcube(tmp_path / "a.nc", "--var", "t2m,u10", *box, "--from", "2019-03-01", "--to", "2019-03-08")
    b = mkcube(tmp_path / "b.nc", "--var", "u10", *box, "--from", "2019-03-08", "--to", "2019-03-08", "--seed", "2")
    c = mkcube(tmp_path / "c.nc", "--var", "t2m", "--bbox", "5,35,9,39", "--from", "2019-03-02", "--to", "2019-03-02", "--seed", "3")
    ingest_killed(bct, store, 3, a)
    bct.ingest(store, b, args=["--replace"])
    bct.ingest(store, a, c, args=["--replace"])
    want = {v: bct.npy(store, "--var", v) for v in ("t2m", "u10")}
    bct.run("compact", store)
    assert_all_lost_comes_back(bct, store, **want)


def test_a_file_that_waits_may_replace_values_of_one_that_was_interrupted(bct, mkcube, tmp_path):
    """A killed; C and A --replace in one run: A came last, so all of its values are in force."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "64")
    a = mkcube(tmp_path / "a.nc", "--var", "t2m", "--bbox", "0,30,40,60", "--from", "2019-03-01", "--to", "2019-03-12")
    c = mkcube(tmp_path / "c.nc", "--var", "t2m", "--bbox", "5,35,9,39", "--from", "2019-03-01", "--to", "2019-03-01", "--seed", "3")
    ingest_killed(bct, store, 1, a)
    bct.ingest(store, c, a, args=["--replace"])
    alone = bct.create(tmp_path / "alone.bcube", "--cell", "64")
    bct.ingest(alone, a)
    assert same_bits(bct.npy(store, "--var", "t2m"), bct.npy(alone, "--var", "t2m"))


def test_mending_does_not_finish_what_was_interrupted(bct, mkcube, tmp_path):
    """B; A --replace, killed; A --mend: nothing is lost, and A is not called in before its own run has ended."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "64")
    box = ["--bbox", "0,30,40,60"]
    b = mkcube(tmp_path / "b.nc", "--var", "t2m", *box, "--from", "2019-03-12", "--to", "2019-03-12", "--seed", "2")
    a = mkcube(tmp_path / "a.nc", "--var", "t2m", *box, "--from", "2019-03-01", "--to", "2019-03-12")
    bct.ingest(store, b)
    ingest_killed(bct, store, 1, a, "--replace")
    before = bct.npy(store, "--var", "t2m", "--time", "2019-03-12")
    bct.ingest(store, a, args=["--mend"])
    assert same_bits(bct.npy(store, "--var", "t2m", "--time", "2019-03-12"), before)
    assert bct.report(store, a, args=["--replace"])["files"] == 1
    alone = bct.create(tmp_path / "alone.bcube", "--cell", "64")
    bct.ingest(alone, a)
    assert same_bits(bct.npy(store, "--var", "t2m"), bct.npy(alone, "--var", "t2m"))


def test_records_of_copied_values_lie_with_the_mended_tile(bct, mkcube, tmp_path):
    """Large, small --replace, the first segment lost and mended; then the second and the index: both files are known."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "16")
    files = [mkcube(tmp_path / f"{i}.nc", "--var", "t2m", *area, "--from", "2019-03-01", "--to", "2019-03-01", "--seed", str(i),
                    "--step", "3h") for i, area in enumerate([AREA, ["--bbox", "2,41,5,44"]])]
    for file in files:
        bct.ingest(store, file, args=["--replace"])
    want = bct.npy(store, "--var", "t2m")
    (store / "segments" / "0000000001.seg").unlink()
    bct.ingest(store, files[0], args=["--mend"])
    (store / "segments" / "0000000002.seg").unlink()
    shutil.rmtree(store / "index")
    bct.run("reindex", store, code=3)
    assert sorted(struct.unpack(">I", k)[0] for k in Store(store).tables["sources"]) == [0, 1]
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


def test_a_replaced_file_begins_anew_when_it_was_interrupted(bct, mkcube, tmp_path):
    """What another one replaced meanwhile of the part that was in is given again with the rest."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "64")
    box = ["--bbox", "0,30,40,60"]
    large = mkcube(tmp_path / "1.nc", "--var", "t2m", *box, "--from", "2019-03-01", "--to", "2019-03-20")
    run = subprocess.Popen([bct.path, "ingest", "netcdf", str(store), str(large), "--memory", "32M", "-q"])
    while run.poll() is None and not list((store / "segments").glob("*.seg")):
        time.sleep(0.002)
    run.kill()
    assert run.wait() != 0, "it ended before it could be killed"
    other = mkcube(tmp_path / "2.nc", "--var", "t2m", "--bbox", "5,35,9,39", "--from", "2019-03-01", "--to", "2019-03-02",
                   "--seed", "2")
    bct.ingest(store, other, args=["--replace"])
    bct.ingest(store, large, args=["--replace"])
    bct.run("verify", store, "--full")
    alone = bct.create(tmp_path / "alone.bcube", "--cell", "64")
    bct.ingest(alone, large)
    assert same_bits(bct.npy(store, "--var", "t2m"), bct.npy(alone, "--var", "t2m"))


def test_a_later_replace_does_not_forget_what_is_lost(bct, mkcube, tmp_path):
    """It brings one step of a few nodes of a tile: the others stay lost, and come back with their own file."""
    march = ("2019-03-01", "2019-03-03")
    store, want = two_files(bct, mkcube, tmp_path, march, march, inside=True)
    (store / "segments" / "0000000002.seg").unlink()
    few = mkcube(tmp_path / "few.nc", "--var", "t2m", "--bbox", "3,42,3.5,42.5", "--from", "2019-03-03T18", "--to",
                 "2019-03-03T18", "--seed", "9", "--step", "3h")
    bct.ingest(store, few, args=["--replace"])
    bct.refused("query", store, "--var", "t2m", "-o", tmp_path / "x.npy", code=3, said=["1.nc", "--mend"])
    mend(bct, store)
    got, box = bct.npy(store, "--var", "t2m"), bct.npy(store, "--var", "t2m", "--bbox", "3,42,3.5,42.5")
    changed = got.view("<u4") != want.view("<u4")
    assert 0 < changed.sum() <= box[0].size and not np.delete(changed, 22, axis=0).any()


def test_one_of_two_files_does_not_make_a_lost_tile_whole(bct, mkcube, tmp_path):
    store, want = two_files(bct, mkcube, tmp_path, ("2019-03-01", "2019-03-02"), ("2019-03-02", "2019-03-03"), compact=True)
    for path in (store / "segments").iterdir():
        path.unlink()
    bct.ingest(store, tmp_path / "0.nc", args=["--mend"])
    assert "1.nc" in bct.run("verify", store, code=3).stdout.decode()
    bct.run("compact", store, code=3)
    assert "1.nc" in bct.run("verify", store, "--full", code=3).stdout.decode()
    bct.ingest(store, tmp_path / "1.nc", tmp_path / "0.nc", args=["--mend"])
    bct.run("compact", store, code=None)
    bct.run("verify", store, "--full")
    assert bct.npy(store, "--var", "t2m").shape == want.shape


def test_files_that_overlap_in_time_mend_in_one_command(bct, mkcube, tmp_path):
    """Equal steps of the second file were left out when it came: they are the first one's."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "16")
    files = [mkcube(tmp_path / f"{i}.nc", "--var", "t2m", *AREA, "--from", f"2019-03-0{i + 1}", "--to", f"2019-03-0{i + 2}",
                    "--step", "3h") for i in range(2)]
    for f in files:
        bct.ingest(store, f)
    want = bct.npy(store, "--var", "t2m")
    (store / "segments" / "0000000001.seg").unlink()
    bct.ingest(store, *files, args=["--mend"])
    bct.run("compact", store)
    bct.run("verify", store, "--full")
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("how", ["flip", "cut"])
@pytest.mark.parametrize("index", ["gone", "old"])
def test_a_segment_that_reindex_passes_over_is_told_of_for_ever(bct, mkcube, tmp_path, number, how, index):
    """Until all files were given again: its values, or those that replaced them, are not what the store answers."""
    store = four_files(bct, mkcube, tmp_path)
    want = bct.npy(store, "--var", "t2m")
    if index == "old":  # of the day before the last commit
        bct.create(tmp_path / "day.bcube", "--cell", "8")
        shutil.copytree(store, tmp_path / "then")
        for name in ("0000000004.seg", "newest"):
            (tmp_path / "then" / "segments" / name).unlink()
        shutil.rmtree(tmp_path / "then" / "index")
        bct.run("reindex", tmp_path / "then")
        shutil.rmtree(store / "index")
        shutil.copytree(tmp_path / "then" / "index", store / "index")
    else:
        shutil.rmtree(store / "index")
    path = store / "segments" / f"{number:010d}.seg"
    if how == "flip":
        flip(path, path.stat().st_size - 200)
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if index == "old":
        bct.run("verify", store, code=None if number < 4 and how == "flip" else 3)
    if index == "gone" or number < 4:
        done = bct.run("reindex", store, code=3)
        if "is whole and knows" in done.stderr.decode():
            return  # mended by the files, as in the tests above
    if index == "old" and number == 4:  # the writer of another file takes note
        bct.ingest(store, mkcube(tmp_path / "n.nc", "--var", "u10", *AREA, "--from", "2019-03-01", "--to", "2019-03-01"))
    for depth in ("--quick", "--full"):
        said = bct.run("verify", store, depth, code=3).stdout.decode()
        assert "ingest all files again with --replace" in said and "bctool compact --forget-lost" in said, said
        assert f"segment {number}" in said or path.name in said
    for command in (["query", store, "--var", "t2m", "-q", "-o", tmp_path / "x.npy"], ["ls", store], ["info", store]):
        assert "could not be read when the index was made anew" in bct.run(*command).stderr.decode()
    for file in sorted(tmp_path.glob("?.nc")):
        bct.ingest(store, file, args=["--replace"])
    bct.run("compact", store)
    bct.run("verify", store, code=3)
    bct.run("reindex", store, code=3)
    bct.run("compact", store, "--forget-lost")
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    bct.run("verify", store, "--full")
    bct.run("reindex", store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    assert not path.exists()


def test_no_writer_commits_to_an_index_of_another_day(bct, mkcube, tmp_path):
    """Compacted since: it would bring back entries of segments that are gone."""
    store = four_files(bct, mkcube, tmp_path)
    shutil.copytree(store / "index", tmp_path / "old")
    mark = (store / "segments" / "newest").read_bytes()
    want = bct.npy(store, "--var", "t2m")
    bct.run("compact", store)
    shutil.rmtree(store / "index")
    shutil.copytree(tmp_path / "old", store / "index")
    (store / "segments" / "newest").write_bytes(mark)
    said = bct.run("verify", store, "--full", code=3).stdout.decode()  # as if that had been interrupted
    assert said.count("that the index does not know: run bctool compact") == 4 == said.count("\n")
    bct.run("compact", store)
    bct.run("verify", store, "--full")
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    bct.ingest(store, mkcube(tmp_path / "more.nc", "--var", "t2m", *AREA, "--from", "2019-04-20", "--to", "2019-04-20"))
    want = bct.npy(store, "--var", "t2m")
    shutil.rmtree(store / "index")
    shutil.copytree(tmp_path / "old", store / "index")
    said = bct.run("verify", store, code=3).stdout.decode()
    assert said.count("\n") == 1 and "index: older than segment 6" in said and f"bctool reindex {store}" in said
    for command in (["compact", store], ["ingest", "netcdf", store, tmp_path / "1.nc"]):
        bct.refused(*command, code=3, said=["older than segment", "bctool reindex"])
    bct.run("reindex", store)
    bct.run("verify", store, "--full")
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


def lines(bct, store, rounds=6):
    """Types the command of each line that verify prints, in that order and never the last one, until it is content."""
    for _ in range(rounds):
        done = bct.run("verify", store.name, "--full", code=None, cwd=store.parent)
        if done.returncode == 0:
            return
        told = [line.partition("to mend it: ")[2] for line in done.stdout.decode().splitlines() if "to mend it: " in line]
        for command in dict.fromkeys(told):
            for one in command.split(" && "):
                bct.run(*shlex.split(one)[1:], cwd=store.parent, code=None)
                yield
    raise AssertionError(done.stdout.decode())


def test_a_line_for_one_tile_brings_no_older_values_into_another(bct, mkcube, tmp_path):
    """a.nc alone made the first tile; in the second one b.nc replaced what it had."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "64")
    for name, variables, days, seed in [("a", "t2m,u10", ("01", "16"), "4"), ("b", "u10", ("10", "25"), "5")]:
        bct.ingest(store, mkcube(tmp_path / f"{name}.nc", "--var", variables, *AREA, "--step", "6h", "--seed", seed, "--from",
                                 f"2019-03-{days[0]}", "--to", f"2019-03-{days[1]}"), args=["--replace"])
    bct.run("compact", store)
    want = {v: bct.npy(store, "--var", v) for v in ("t2m", "u10")}
    for _, _, path, offset, stored, *_ in places(store):
        for part in range(5, 100, 10):
            flip(path, offset + stored * part // 100)
    for _ in lines(bct, store):
        for v in want:
            done = bct.run("query", store, "--var", v, "-q", "-f", "npy", "-o", "-", code=None)
            assert done.returncode == 3 or same_bits(np.load(io.BytesIO(done.stdout)), want[v]), v
    for v in want:
        assert same_bits(bct.npy(store, "--var", v), want[v]), v


def test_lines_one_by_one_lose_nothing_that_other_lost_tiles_hide(bct, mkcube, tmp_path):
    """Boxes and spans overlap; the first segment was merged of three files, one of them cut in time."""
    store = bct.create(tmp_path / "s.bcube", "--bbox", "-4,53,3,60")
    made = [("z", "-4,53,3,60", "03-01", "03-04", []), ("d", "-4,55,1,58", "03-05", "04-04", []),
            ("o", "-4,53,0,57", "03-01", "03-20", ["--time", "2019-03-02/2019-03-12"]),
            ("f", "-2,55,3,60", "03-15", "04-02", []), ("a", "-4,53,3,60", "03-01", "03-16", [])]
    for i, (name, box, first, last, options) in enumerate(made):
        file = mkcube(tmp_path / f"{name}.nc", "--var", "u10", "--bbox", box, "--step", "6h", "--seed", str(i), "--from",
                      f"2019-{first}", "--to", f"2019-{last}")
        bct.ingest(store, file, args=["--replace", *options])
        if name == "o":
            bct.run("compact", store)
    want = bct.npy(store, "--var", "u10")
    for path in (store / "segments").glob("*.seg"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:100])
    for _ in lines(bct, store):
        done = bct.run("query", store, "--var", "u10", "-q", "-f", "npy", "-o", "-", code=None)
        assert done.returncode == 3 or same_bits(np.load(io.BytesIO(done.stdout)), want)
    assert same_bits(bct.npy(store, "--var", "u10"), want)


def test_files_of_one_name_with_other_options_bring_nothing_new(bct, mkcube, tmp_path):
    store = bct.create(tmp_path / "s.bcube", "--cell", "8")
    files = []
    for i, options in enumerate([["--var", "msl"], ["--bbox", "1,41,3,43"]]):
        (tmp_path / str(i)).mkdir()
        files.append(mkcube(tmp_path / str(i) / "f.nc", "--var", "t2m,msl", *AREA, "--step", "6h", "--seed", str(i), "--from",
                            f"2019-03-0{1 + 2 * i}", "--to", f"2019-03-0{2 + 2 * i}"))
        bct.ingest(store, files[i], args=options)
    want = {v: bct.npy(store, "--var", v) for v in ("t2m", "msl")}
    (store / "segments" / "0000000001.seg").unlink()
    said = bct.run("ingest", "netcdf", store, *files, "--var", "msl", "--mend").stderr.decode()
    assert said.count("came in with other options") == 1
    bct.run("compact", store)
    for v in want:
        assert same_bits(bct.npy(store, "--var", v), want[v]), v
    bct.run("verify", store, "--full")


def test_a_lost_tile_of_finer_steps_hides_them_all(bct, mkcube, tmp_path):
    """The variable was 6-hourly first, and has hours since."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "8")
    for name, step, seed in [("six", "6h", "1"), ("old", "1h", "2"), ("new", "1h", "3")]:
        bct.ingest(store, mkcube(tmp_path / f"{name}.nc", "--var", "t2m", *AREA, "--step", step, "--seed", seed, "--from",
                                 "2019-03-01", "--to", "2019-03-03"), args=["--replace"])
    (store / "segments" / "0000000003.seg").unlink()
    out = tmp_path / "x.npy"
    bct.run("query", store, "--var", "t2m", "--skip-damaged", "-o", out)
    got = np.load(out)
    assert got.shape[0] == 72 and np.isnan(got).all()


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_mending_keeps_what_can_be_read_of_a_merged_tile(bct, mkcube, tmp_path, order):
    """Two variables in files that overlap by a day: the second one's planes of one file are committed before those of
    the other are read."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "64")
    days = [("2019-03-01", "2019-03-16"), ("2019-03-16", "2019-03-31")]
    files = [mkcube(tmp_path / f"{i}.nc", "--var", "u10,msl", *AREA, "--step", "6h", "--seed", "4", "--from", days[i][0],
                    "--to", days[i][1]) for i in (0, 1)]
    for i in order:
        bct.ingest(store, files[i])
    bct.run("compact", store)
    want = {v: bct.npy(store, "--var", v) for v in ("u10", "msl")}
    shutil.copytree(store, tmp_path / "whole")
    _, _, path, offset, stored, *_ = [t for t in places(store) if t[0] == "surface/msl"][-1]
    for part in (0.02, 0.3, 0.6, 0.97):
        shutil.rmtree(store)
        shutil.copytree(tmp_path / "whole", store)
        flip(path, offset + int(stored * part))
        mend_at_once(bct, store)
        for v in want:
            assert same_bits(bct.npy(store, "--var", v), want[v]), (part, v)


def test_files_of_one_name_mend_in_any_order(bct, mkcube, tmp_path):
    store = bct.create(tmp_path / "s.bcube", "--cell", "8")
    files = []
    for i, days in enumerate([("2019-03-01", "2019-03-04"), ("2019-03-02", "2019-03-06")]):
        (tmp_path / str(i)).mkdir()
        files.append(mkcube(tmp_path / str(i) / "f.nc", "--var", "t2m", *AREA, "--step", "6h", "--seed", str(i), "--from",
                            days[0], "--to", days[1]))
        bct.ingest(store, files[i], args=["--replace"])
    bct.run("compact", store)
    want = bct.npy(store, "--var", "t2m")
    for path in (store / "segments").glob("*.seg"):
        path.unlink()
    shutil.copytree(store, tmp_path / "lost")
    for order in ([0, 1], [1, 0]):
        shutil.rmtree(store)
        shutil.copytree(tmp_path / "lost", store)
        bct.ingest(store, *[files[i] for i in order], args=["--mend"])
        bct.run("compact", store)
        assert same_bits(bct.npy(store, "--var", "t2m"), want), order
        bct.run("verify", store, "--full")
    shutil.rmtree(store)
    shutil.copytree(tmp_path / "lost", store)
    said = bct.run("ingest", "netcdf", store, files[0], "--mend").stderr.decode()
    assert "waits for a later file, f.nc" in said


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_reindex_keeps_an_index_that_knows_of_the_last_segment(bct, mkcube, tmp_path, how):
    days = ("2019-03-01", "2019-03-01")
    store, want = two_files(bct, mkcube, tmp_path, days, days)
    path = store / "segments" / "0000000002.seg"
    if how == "lost":
        path.unlink()
    else:
        flip(path, 40)
    bct.refused("reindex", store, code=3, said=["is whole and knows", "segment 2"])
    mend(bct, store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


def test_an_index_put_back_from_a_copy_is_told_of(bct, mkcube, tmp_path):
    store = four_files(bct, mkcube, tmp_path)
    want = bct.npy(store, "--var", "t2m")
    bct.create(tmp_path / "empty.bcube", "--cell", "8")
    shutil.rmtree(store / "index")
    shutil.copytree(tmp_path / "empty.bcube" / "index", store / "index")
    assert bct.run("verify", store, code=None).returncode == 3  # of another store
    bct.run("reindex", store)
    shutil.copytree(store / "index", tmp_path / "old")
    for seed in (5, 6):
        file = mkcube(tmp_path / f"s{seed}.nc", "--var", "t2m", *AREA, "--from", "2019-04-01", "--to", "2019-04-01",
                      "--step", "3h", "--seed", str(seed))
        bct.ingest(store, file, args=["--replace"])
    newer = bct.npy(store, "--var", "t2m")
    shutil.rmtree(store / "index")
    shutil.copytree(tmp_path / "old", store / "index")
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    for command in (["ls", store], ["query", store, "--var", "t2m", "-o", "-", "--format", "csv"], ["info", store]):
        assert "warning: the index is older than segment 6" in bct.run(*command).stderr.decode()
    said = bct.run("verify", store, code=3).stdout.decode()
    assert "index: older than segment 6" in said and "bctool reindex" in said
    (store / "segments" / "newest").write_text("0000000009 0123456789abcdef\n")  # not one of ours: counts as none
    assert bct.run("ls", store).stderr == b""
    said = bct.run("verify", store, code=3).stdout.decode()
    assert "index: older than segment 5" in said and "bctool reindex" in said
    bct.run("reindex", store)
    assert same_bits(bct.npy(store, "--var", "t2m"), newer)


@pytest.mark.parametrize("index", ["gone", "older by one", "older by two"])
@pytest.mark.parametrize("first", ["reindex", "ingest"])
def test_the_newest_segment_is_missed_even_without_the_index(bct, mkcube, tmp_path, index, first):
    """No other segment speaks of it."""
    store = four_files(bct, mkcube, tmp_path)
    want = bct.npy(store, "--var", "t2m")
    files = [mkcube(tmp_path / f"s{seed}.nc", "--var", "t2m", *AREA, "--from", "2019-04-01", "--to", "2019-04-01",
                    "--step", "3h", "--seed", str(seed)) for seed in (5, 6)]
    for i, file in enumerate(files):
        shutil.copytree(store / "index", tmp_path / f"old{2 - i}")
        bct.ingest(store, file, args=["--replace"])
    want = bct.npy(store, "--var", "t2m")
    (store / "segments" / "0000000006.seg").unlink()
    shutil.rmtree(store / "index")
    if index != "gone":
        shutil.copytree(tmp_path / ("old1" if "one" in index else "old2"), store / "index")
    if first == "ingest" and index != "older by one":
        bct.refused("ingest", "netcdf", store, tmp_path / "1.nc", code=3, said=["bctool reindex"])
    if first == "ingest" and index == "older by one":  # as one that is damaged: known as lost from now on
        bct.ingest(store, tmp_path / "1.nc", args=["--replace"])
    else:
        said = bct.run("verify", store, code=3).stdout.decode()
        assert "segment 6: its file is missing" in said if "by one" in index else "bctool reindex" in said
        assert "segment 6: its file is missing" in bct.run("reindex", store, code=3).stdout.decode()
    assert "segment 6: its file is missing" in bct.run("verify", store, code=3).stdout.decode()
    assert "could not be read when the index was made anew" in bct.run("ls", store).stderr.decode()
    for file in [*sorted(tmp_path.glob("?.nc")), *files]:
        bct.ingest(store, file, args=["--replace"])
    bct.run("compact", store, "--forget-lost")
    bct.run("verify", store, "--full")
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    assert bct.run("ls", store).stderr == b""


def test_what_is_lost_can_be_given_up(bct, mkcube, tmp_path):
    store = four_files(bct, mkcube, tmp_path)
    want = bct.npy(store, "--var", "t2m")
    steps = len(want)
    (store / "segments" / "0000000001.seg").unlink()
    bct.run("compact", store, code=3)
    assert "to give up" in bct.run("compact", store, "--forget-lost", "--dry-run").stderr.decode()
    bct.run("verify", store, code=3)
    said = bct.run("compact", store, "--forget-lost").stderr.decode()
    assert "given up: they cannot be read" in said, said
    bct.run("verify", store, "--full")
    have = bct.npy(store, "--var", "t2m")
    assert len(have) < steps or np.isnan(have).any()
    bct.run("reindex", store)
    assert same_bits(bct.npy(store, "--var", "t2m"), have)
    for file in sorted(tmp_path.glob("?.nc")):
        bct.ingest(store, file, args=["--replace"])
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


def test_what_is_given_up_may_be_given_again(bct, mkcube, tmp_path):
    """Not only with --replace: its files are not in any more."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "16")
    file = mkcube(tmp_path / "1.nc", "--var", "t2m", *AREA, "--from", "2019-03-01", "--to", "2019-03-02")
    bct.ingest(store, file)
    want = bct.npy(store, "--var", "t2m")
    (store / "segments" / "0000000001.seg").unlink()
    bct.run("compact", store, "--forget-lost")
    bct.run("reindex", store)
    bct.ingest(store, file)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


def test_what_can_be_read_in_part_is_not_given_up(bct, mkcube, tmp_path):
    """Blocks, and copies in another layout."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "16")
    bct.ingest(store, mkcube(tmp_path / "1.nc", "--var", "t2m", *AREA, "--from", "2019-03-01", "--to", "2019-03-09"),
               args=["--layout", "map+series"])
    want = bct.npy(store, "--var", "t2m")
    copies = sorted((cell, offset, segment, head) for _, cell, segment, offset, _, head, _ in places(store))
    assert copies[0][0] == copies[1][0]
    flip(copies[0][2], copies[0][1] + 5)  # a block
    flip(copies[1][2], copies[1][3] + 5)  # the head of the other copy of that tile
    for copy in copies[-2:]:  # both heads of another
        flip(copy[2], copy[3] + 5)
    said = bct.run("compact", store, "--forget-lost", code=3).stderr.decode()
    assert "2 tiles given up: they cannot be read" in said, said
    assert {d["cell"] for d in findings(bct, store) if d.get("name")} == {copies[0][0]}
    mend(bct, store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)  # what was given up too: nobody has it


@pytest.mark.parametrize("case", ["empty file after it", "index one older", "compaction gone", "gap before an empty file"])
def test_reindex_does_not_forget_what_only_the_index_knows(bct, mkcube, tmp_path, case):
    store = four_files(bct, mkcube, tmp_path)
    segment = lambda number: store / "segments" / f"{number:010d}.seg"
    if case == "index one older":
        shutil.copytree(store / "index", tmp_path / "now")
        shutil.rmtree(store / "index")
        shutil.move(segment(4), tmp_path)
        mark = (store / "segments" / "newest").read_bytes()
        (store / "segments" / "newest").unlink()
        bct.run("reindex", store)  # as it was before the fourth came
        (store / "segments" / "newest").write_bytes(mark)
        segment(3).unlink()
    elif case == "compaction gone":
        shutil.copytree(store / "index", tmp_path / "old")
        bct.run("compact", store)
        shutil.rmtree(store / "index")
        shutil.move(tmp_path / "old", store / "index")
        segment(5).unlink()
    else:
        segment(4 if "after" in case else 2).unlink()
        segment(5 if "after" in case else 6).write_bytes(b"")
    before = {d["command"] for d in json.loads(bct.run("verify", store, "--json", code=3).stdout)["damages"]}
    bct.refused("reindex", store, code=3, said=["is whole and knows", "verify"])
    after = {d["command"] for d in json.loads(bct.run("verify", store, "--json", code=3).stdout)["damages"]}
    assert before == after and any("--mend" in command for command in after)


def test_a_damaged_file_does_not_hide_that_the_newest_segment_is_gone(bct, mkcube, tmp_path):
    store = four_files(bct, mkcube, tmp_path)
    (store / "segments" / "0000000004.seg").unlink()
    (store / "segments" / "0000000005.seg").write_bytes(b"")
    shutil.rmtree(store / "index")
    bct.run("reindex", store, code=3)
    said = bct.run("verify", store, code=3).stdout.decode()
    assert "segment 4: its file is missing" in said and "0000000005.seg" in said


def test_reindex_and_writers_keep_the_number_of_the_newest(bct, mkcube, tmp_path):
    store = four_files(bct, mkcube, tmp_path)
    newest = store / "segments" / "newest"
    want = newest.read_bytes()
    for command in (["reindex", store], ["compact", store, "--segment-size", "1"], ["ingest", "netcdf", store, tmp_path / "4.nc"]):
        newest.unlink()
        bct.run(*command)
        assert int(newest.read_bytes()[:10]) == max(int(p.name[:10]) for p in newest.parent.glob("*.seg"))
    assert len(newest.read_bytes()) == len(want) == 28


def test_an_older_index_is_not_published(bct, mkcube, tmp_path):
    store = four_files(bct, mkcube, tmp_path)
    shutil.copytree(store / "index", tmp_path / "old")
    bct.ingest(store, tmp_path / "1.nc", args=["--replace"])
    shutil.rmtree(store / "index")
    shutil.move(tmp_path / "old", store / "index")
    bct.refused("publish", store, tmp_path / "p.bcube", code=3, said=["older than segment 5", "nothing was published"])
    assert not (tmp_path / "p.bcube").exists()


def test_options_in_a_command_are_quoted(bct, mkcube, tmp_path):
    store = bct.create(tmp_path / "s.bcube", "--cell", "16")
    file = mkcube(tmp_path / "a b.nc", "--var", "t2m", *AREA, "--from", "2019-03-01", "--to", "2019-03-02", "--step", "3h")
    bct.ingest(store, file, args=["--group", "my-group", "--bbox=-1,41,5,44", "--time", "2019-03-01/2019-03-02T12"])
    want = bct.npy(store, "--var", "t2m")
    (store / "segments" / "0000000001.seg").unlink()
    command = json.loads(bct.run("verify", store, "--json", code=3).stdout)["damages"][0]["command"]
    assert "--group my-group --bbox=-1,41,5,44 --time 2019-03-01T00:00:00Z/2019-03-02T12:59:59Z --mend" in command, command
    mend(bct, store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


def test_months_of_a_lost_segment(bct, mkcube, tmp_path):
    """Their steps are not evenly spaced: the index knows the first, the last, and that they are months."""
    store = bct.create(tmp_path / "m.bcube", "--cell", "8")
    for i, years in enumerate([("2000-01", "2001-12"), ("2002-01", "2002-12")]):
        bct.ingest(store, mkcube(tmp_path / f"{i}.nc", "--var", "t2m", *AREA, "--from", years[0], "--to", years[1],
                                 "--step", "1mo"))
    want = bct.npy(store, "--var", "t2m")
    (store / "segments" / "0000000001.seg").unlink()
    bct.run("query", store, "--var", "t2m", "--skip-damaged", "-o", tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as f:
        assert np.isnan(f["t2m"][:24]).all() and same_bits(f["t2m"][24:], want[24:])
        times = [str(t)[:7] for t in f["time"].astype("datetime64[s]")]
    assert times == [f"{y}-{m:02d}" for y in (2000, 2001, 2002) for m in range(1, 13)]
    for command, steps in [("ls", 36), ("stats", None)]:
        done = bct.run(command, store, "--json", code=3)
        assert "could not be read" in done.stderr.decode()
        row = json.loads(done.stdout)[0]
        assert steps is None or row["steps"] == steps


@pytest.mark.parametrize("how", ["mended", "mended one by one", "mended backwards", "reindexed"])
@pytest.mark.parametrize("lost", [[1], [2], [3], [1, 2], [1, 2, 3, 4]])
@pytest.mark.parametrize("layout, part", [("newcds", []), ("legacy", REGION)]
                         + ([("legacy", []), ("newcds", REGION)] if LONG else []))
def test_mending_undoes_no_later_replace(bct, mkcube, tmp_path, lost, how, layout, part):
    store = four_files(bct, mkcube, tmp_path, layout, part)
    want = bct.npy(store, "--var", "t2m")
    for number in lost:
        (store / "segments" / f"{number:010d}.seg").unlink()
    if how == "reindexed":
        if len(lost) < 4:
            bct.refused("reindex", store, code=3, said=["is whole and knows", "segment 1" if 1 in lost else "segment", "verify"])
        shutil.rmtree(store / "index")
        done = bct.run("reindex", store, code=3).stdout.decode()
        told = bct.run("verify", store, code=3).stdout.decode()
        for number in lost if len(lost) < 4 else [4]:  # of all of them only the newest is known to have been
            assert f"segment {number}: its file is missing" in done
            assert f"segment {number}: its file is missing, and the index was made anew without it" in told
        assert "--replace, in the order" in told
        for file in sorted(tmp_path.glob("?.nc")):
            bct.ingest(store, file, args=["--replace"])
    else:
        said = bct.run("verify", store, code=3).stdout.decode()
        for number in lost:
            assert f"{number}.nc" in said, said
        if how == "mended":
            mend_at_once(bct, store)
        else:
            mend(bct, store, how.endswith("backwards"))
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    bct.run("compact", store)
    if how == "reindexed":  # still told of: it is not certain that all is back
        assert "--forget-lost" in bct.run("verify", store, code=3).stdout.decode()
        bct.run("compact", store, "--forget-lost")
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    bct.run("verify", store, "--full")
    bct.run("reindex", store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


def test_a_lost_segment_is_missed_although_retired_files_came_back(bct, mkcube, tmp_path):
    """Copied back beside it, they must not pass for what replaced them: a reindex counts who ought to be there."""
    store = four_files(bct, mkcube, tmp_path)
    old = tmp_path / "old"
    shutil.copytree(store / "segments", old)
    bct.run("compact", store)
    merged = sorted(set(p.name for p in (store / "segments").glob("*.seg")) - set(p.name for p in old.glob("*.seg")))
    bct.ingest(store, mkcube(tmp_path / "9.nc", "--var", "t2m", *AREA, "--from", "2019-04-09", "--to", "2019-04-09",
                             "--seed", "9", "--step", "3h"))
    want = bct.npy(store, "--var", "t2m")
    shutil.copytree(old, store / "segments", dirs_exist_ok=True)
    shutil.rmtree(store / "index")
    bct.run("reindex", store)  # all are there: the retired ones change nothing
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    shutil.copytree(old, store / "segments", dirs_exist_ok=True)
    assert merged
    for name in merged:
        (store / "segments" / name).unlink()
    shutil.rmtree(store / "index")
    said = bct.run("reindex", store, code=3).stdout.decode()
    for name in merged:
        assert f"segment {int(name[:10])}: its file is missing" in said, said


def test_what_one_layout_lost_is_read_from_the_other(bct, mkcube, tmp_path):
    """Of each piece one copy is damaged, of the first one that in the first layout, of the next the other."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "16")
    for i, (first, last) in enumerate([("01", "04"), ("03", "04"), ("02", "03")]):
        file = mkcube(tmp_path / f"{i}.nc", "--var", "t2m", *AREA, "--from", f"2019-03-{first}", "--to", f"2019-03-{last}",
                      "--seed", str(i + 1), "--step", "3h")
        bct.ingest(store, file, args=["--replace", "--layout", "map+series"])
    point = ["--at", "43,4"]
    want, there = bct.npy(store, "--var", "t2m"), bct.npy(store, "--var", "t2m", *point)
    pieces = Store(store).tables["tiles"]
    assert {k[-2:] for k in pieces} == {struct.pack(">H", p | second) for p in range(3) for second in (0, 0x8000)}
    for key, value in pieces.items():
        part, head_seg, head_at = struct.unpack(">H", key[-2:])[0], *struct.unpack_from("<I36xQ", value)
        if (part & 0x8000 != 0) == (part % 2 == 0):
            flip(store / "segments" / f"{head_seg:010d}.seg", head_at + 8)
    bct.run("verify", store, "--full", code=3)
    for more in [], ["--skip-damaged"]:
        assert same_bits(bct.npy(store, "--var", "t2m", *more), want)
        assert same_bits(bct.npy(store, "--var", "t2m", *point, *more), there)
    bct.run("compact", store, "--forget-lost", code=3)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    mend_at_once(bct, store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


@pytest.mark.parametrize("layout", [[], ["--layout", "map+series"]])
def test_lost_tiles_are_counted_once_for_two_layouts(bct, mkcube, tmp_path, layout):
    store = bct.create(tmp_path / "s.bcube", "--cell", "8")
    bct.ingest(store, mkcube(tmp_path / "a.nc", "--var", "t2m", *AREA, "--from", "2019-03-01", "--to", "2019-03-02"),
               args=layout)
    copies = len(list(places(store)))
    (store / "segments" / "0000000001.seg").unlink()
    lost = {(d["name"], d["cell"], d["time"]) for d in findings(bct, store) if d.get("name")}
    assert copies == len(lost) * (2 if layout else 1)
    for command in ("ls", "stats"):
        assert f"warning: {len(lost)} tiles could not be read" in bct.run(command, store, code=3).stderr.decode()


def test_many_lost_segments_each_have_their_own_file_named(bct, mkcube, tmp_path):
    """More than verify remembers at a time, and their tiles come in turns."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "8", "--bbox", "0,40,4,42")
    n = 36
    for day in range(n):
        bct.ingest(store, mkcube(tmp_path / f"d{day:02d}.nc", "--var", "t2m", "--bbox", "0,40,4,42", "--step", "6h",
                                 "--from", f"2019-{1 + day // 28:02d}-{1 + day % 28:02d}T00",
                                 "--to", f"2019-{1 + day // 28:02d}-{1 + day % 28:02d}T18", "--seed", str(day)))
    want = bct.npy(store, "--var", "t2m")
    for path in (store / "segments").glob("*.seg"):
        path.unlink()
    found = findings(bct, store)
    tiles = [d for d in found if d.get("name")]
    assert len(tiles) >= 2 * n and len(found) == n + len(tiles)
    for d in found:
        name = f"d{d['segment'] - 1:02d}.nc"
        assert d["source"] == name and f" {name} --mend" in d["command"] and d["command"].count(".nc") == 1, d
        assert d["command"].endswith("s.bcube") == (d not in tiles)
    mend(bct, store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


def daily_files(mkcube, folder, months):
    """Of long names: a command that names a month of them is long."""
    return [mkcube(folder / f"{'x' * 40}{month:02d}{day:02d}.nc", "--var", "t2m", *AREA, "--step", "6h", "--seed", str(day),
                   "--from", f"2019-{month:02d}-{day:02d}T00", "--to", f"2019-{month:02d}-{day:02d}T18")
            for month in months for day in range(1, 25)]


def test_a_long_command_is_told_once(bct, mkcube, tmp_path):
    store = bct.create(tmp_path / "s.bcube", "--cell", "8")
    bct.ingest(store, *daily_files(mkcube, tmp_path, [3]))
    want = bct.npy(store, "--var", "t2m")
    bct.run("publish", store, tmp_path / "p.bcube")
    for path in (store, tmp_path / "p.bcube"):
        (path / "segments").chmod(0o755)
        (path / "segments" / "0000000001.seg").unlink()
    first, *rest = findings(bct, store)
    assert first["command"].count(".nc") == 24 and first["command_number"] == 1
    assert len(rest) > 3
    for d in rest:
        assert d["command"] == "" and d["command_number"] == 1 and d["what"].endswith("to mend it: command 1, above")
    for d in findings(bct, tmp_path / "p.bcube"):
        assert d["command"] == "bctool publish, from the store that it is a copy of" and "command_number" not in d
    for command in first["command"].split(" && "):
        bct.run(*shlex.split(command)[1:], cwd=tmp_path)
    bct.run("verify", store, "--full")
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


def test_long_commands_of_one_segment_are_told_apart(bct, mkcube, tmp_path):
    store = bct.create(tmp_path / "s.bcube", "--cell", "8")
    bct.ingest(store, *daily_files(mkcube, tmp_path, [3, 4]))
    want = bct.npy(store, "--var", "t2m")
    for _, _, path, offset, stored, *_ in places(store):
        flip(path, offset + stored // 2)
    found = [d for d in findings(bct, store) if d.get("name")]
    told = {d["command_number"]: d["command"] for d in found if d["command"]}
    assert sorted(told) == [1, 2]
    for d in found:
        month = d["time"][5:7]
        files = [w for w in shlex.split(told[d["command_number"]]) if w.endswith(".nc")]
        assert len(files) == 24 and all(f[-7:-5] == month for f in files), d
    mend_at_once(bct, store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


def test_a_dead_file_and_a_damaged_block_have_one_command(bct, mkcube, tmp_path):
    """The first wants compact alone, the second an ingest."""
    store, want = two_files(bct, mkcube, tmp_path, ("2019-03-01", "2019-03-02"), ("2019-03-01", "2019-03-02"))
    _, _, path, offset, stored, *_ = next(iter(places(store)))
    assert path.name == "0000000002.seg"
    flip(path, offset + stored // 2)
    (store / "segments" / "0000000001.seg").unlink()
    mend_at_once(bct, store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


@pytest.mark.parametrize("lost", [[1], [3], [1, 2, 3]])
def test_segments_whose_files_are_not_known(bct, mkcube, tmp_path, lost):
    """As in an index of the first day. Old values must not take the place of those that replaced them."""
    store = four_files(bct, mkcube, tmp_path)
    want = bct.npy(store, "--var", "t2m")
    with lmdb.open(str(store / "index"), max_dbs=16) as env, env.begin(write=True) as txn:
        table = env.open_db(b"segments", txn, create=False)
        for key, value in list(txn.cursor(table)):
            txn.put(key, value[:8], db=table)
    for number in lost:
        (store / "segments" / f"{number:010d}.seg").unlink()
    said = bct.run("verify", store.name, code=3, cwd=tmp_path).stdout.decode()
    assert said.count("in one command with --mend, in the order in which they came") == len(lost)
    assert "bctool ingest" not in said and "mend all of it" not in said
    bct.ingest(store, *[tmp_path / f"{n}.nc" for n in (1, 2)], args=["--mend"])  # not all of them
    bct.run("compact", store, code=None)
    out = tmp_path / "x.npy"
    bct.run("query", store, "--var", "t2m", "--skip-damaged", "-o", out, code=None)
    got = np.load(out)
    assert same_bits(np.where(np.isnan(got), want, got), want), "nothing but values in force, or missing ones"
    bct.ingest(store, *[tmp_path / f"{n}.nc" for n in (1, 2, 3, 4)], args=["--mend"])
    bct.run("compact", store, code=None)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)


@pytest.mark.parametrize("part", [["--time", "2019-03-01"], ["--bbox", "0,40,1,41"]])
@pytest.mark.parametrize("how", ["lost", "blocks"])
def test_mending_part_of_a_file_forgets_nothing_of_the_rest(bct, mkcube, tmp_path, part, how):
    store = bct.create(tmp_path / "s.bcube", "--cell", "8")
    file = mkcube(tmp_path / "1.nc", "--var", "t2m", *AREA, "--from", "2019-03-01", "--to", "2019-03-05", "--step", "3h")
    bct.ingest(store, file)
    want = bct.npy(store, "--var", "t2m")
    for _, _, path, offset, stored, *_ in list(places(store)):
        if how == "blocks":
            flip(path, offset + stored // 2)
        elif path.exists():
            path.unlink()
    bct.ingest(store, file, args=["--mend", *part])
    bct.run("verify", store, "--full", code=3)
    out = tmp_path / "x.npy"
    bct.run("query", store, "--var", "t2m", "--bbox", AREA[1], "--skip-damaged", "-o", out)
    got = np.load(out)
    assert got.shape == want.shape and same_bits(np.where(np.isnan(got), want, got), want)
    mend(bct, store)
    assert same_bits(bct.npy(store, "--var", "t2m"), want)
    bct.run("verify", store, "--full")


def test_mending_killed_between_two_commits_forgets_nothing(bct, mkcube, tmp_path):
    """A file larger than memory is committed in parts; what is to come must stay known as lost."""
    store = bct.create(tmp_path / "s.bcube", "--cell", "64")
    file = mkcube(tmp_path / "1.nc", "--var", "t2m,u10", "--bbox", "0,30,40,60", "--from", "2019-03-01", "--to", "2019-03-20")
    bct.ingest(store, file)
    want = {v: bct.npy(store, "--var", v) for v in ("t2m", "u10")}
    for path in list((store / "segments").glob("*.seg")):
        path.unlink()
    args = [bct.path, "ingest", "netcdf", str(store), str(file), "--mend", "--memory", "32M", "-q"]
    parts, clean = 0, 0
    copy = tmp_path / "first.bcube"
    shutil.copytree(store, copy)
    begin = time.monotonic()
    bct.run(*args[1:3], copy, *args[4:])
    rest = 0.8 * (time.monotonic() - begin)
    for i in range(200 if LONG else 40):
        copy = tmp_path / "copy.bcube"
        shutil.copytree(store, copy)
        args[3] = str(copy)
        run = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while run.poll() is None and not list((copy / "segments").glob("*.seg")):
            time.sleep(0.002)  # until the first commit
        time.sleep(rest * (i % 20) / 20)
        run.kill()
        run.communicate()
        ended = bct.run("verify", copy, "--full", code=None).returncode
        parts += ended == 3
        clean += ended == 0
        if ended == 0:
            for v in want:
                assert same_bits(bct.npy(copy, "--var", v), want[v]), f"{i}: {v} lacks values, and nothing says so"
        if i >= 4:
            shutil.rmtree(copy)
            continue  # finished only a few times: that takes a while
        bct.run(*args[1:])
        for v in want:
            assert same_bits(bct.npy(copy, "--var", v), want[v]), (i, v)
        bct.run("compact", copy)
        bct.run("verify", copy, "--full")
        shutil.rmtree(copy)
    assert parts > 3, (parts, clean)


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
