"""An independent reader, written from docs/format.md alone, gives what bctool gives: of fresh stores, of the test
vectors, and of stores that earlier releases wrote. What later versions may write is refused by name."""
import os
import pathlib
import shutil
import struct
import tarfile

import numpy as np
import pytest
from biocube_reader import TABLES, Bytes, Refused, Segment, Store, Tile, grid_record, modality_record, need, xxh
from conftest import ROOT, Cube, assert_same, real, same_bits

GOLDEN, COMPAT = ROOT / "tests" / "golden", ROOT / "tests" / "compat"
AREA = ["--bbox", "-4,48,6,53"]


def source_record(data):
    b = Bytes(data)
    layout = b.take("B")
    need(layout in (1, 2), "layout of a source record")
    keys = ["id", "hash", "bytes", "ingested", "done", "next_var", "next_step"]
    out = dict(zip(keys, b.take("I16sQqBIQ"))) | {"name": b.text(), "request": b.text()}
    out["order"] = b.take("q") if layout == 2 else out["id"]
    need(b.at == len(data), "source record")
    return out


def commit_record(data):
    b = Bytes(data)
    out = {"snapshot": b.take("Q")}
    for key, decode in (("grids", grid_record), ("modalities", modality_record), ("sources", source_record)):
        out[key] = [decode(b.raw(b.take("I"))) for _ in range(b.take("I"))]
    out["drops"] = [b.raw(16) for _ in range(b.take("Q"))]
    out["retired"] = [b.take("I") for _ in range(b.take("I"))]
    out["flags"] = b.take("I") if b.at < len(b.data) else 0
    runs = [(b.take("I"), b.take("I")) for _ in range(b.take("I"))] if b.at < len(b.data) else []
    out["live"] = [first + i for first, n in runs for i in range(n)]
    need(b.at == len(b.data) and out["flags"] < 4, "commit record")
    return out


def index_digest(store):
    """The sum that the entry "digest" of the index holds."""
    total = 0
    for number, table in enumerate(TABLES):
        for key, value in store.tables[table].items():
            if (table, key) != ("meta", b"digest"):
                total += xxh(bytes([number]) + key + struct.pack("<Q", xxh(value)))
    return total % 2**64


def same_as_bctool(bct, path):
    """Every value of every variable; returns the reader's store."""
    store = Store(path)
    for m in store.modalities:
        name = f"{m['group']}/{m['name']}"
        times, levels, lat, lon, values, known = store.read(m["group"], m["name"])
        got = bct.npz(path, "--var", name)
        assert same_bits(got[m["name"]].reshape(values.shape), values), name
        assert np.array_equal(got["latitude"], lat) and np.array_equal(got["longitude"], lon), name
        if m["bucket"] != 0:
            assert list(got["time"]) == times, name
        assert known.any()
    assert index_digest(store) == store.meta["digest"]
    return store


def same_as_segments(store):
    """The index says of every tile what the directory of its segment says."""
    listed = {}
    for number in {struct.unpack_from("<I", v)[0] for v in store.tables["tiles"].values()}:
        for seg, offset, stored, digest, head_at, head in store.segment(number).tiles():
            listed[number, head_at] = (seg, offset, stored, digest, head)
    for value in store.tables["tiles"].values():
        head_seg, seg, offset, stored, _, digest, head_at, head = struct.unpack_from("<IIQQQQQI", value)
        assert listed[head_seg, head_at] == (seg, offset, stored, digest, head)
    for key, value in store.tables["segments"].items():
        segment = store.segment(struct.unpack(">I", key)[0])
        assert len(segment.data) == struct.unpack_from("<Q", value)[0]
        assert commit_record(segment.schema)["snapshot"] <= store.meta["snapshot"]
        if len(value) > 8:  # stores of the first day have only the length
            sources = {s for *_, head_at, n in segment.tiles() for s in Tile(segment.data[head_at : head_at + n]).sources}
            assert list(struct.unpack_from(f"<{(len(value) - 8) // 4}I", value, 8)) == sorted(sources)
    last = max(struct.unpack(">I", k)[0] for k in store.tables["segments"])
    live = commit_record(store.segment(last).schema)["live"]
    assert live in ([], sorted(struct.unpack(">I", k)[0] for k in store.tables["segments"]))


def test_fresh_store(bct, mkcube, tmp_path):
    days = ["--from", "2019-03-30", "--to", "2019-04-02"]
    a = mkcube(tmp_path / "a.nc", "--var", "t2m,u10,tp", *AREA, *days)
    levels = mkcube(tmp_path / "l.nc", "--var", "t", "--level", "850,500", *AREA, "--step", "6h", *days, "--layout",
                    "legacy")
    other = mkcube(tmp_path / "c.nc", "--var", "t2m", *AREA, "--from", "2019-04-01", "--to", "2019-04-03", "--seed", "2")
    path = bct.create(tmp_path / "s.bcube", "--cell", "16")
    bct.ingest(path, a, levels, args=["--layout", "map+series"])
    bct.ingest(path, other, args=["--replace"])
    bct.ingest(path, other, args=["--group", "rough", "--codec", "raw"])
    bct.ingest(path, a, args=["--group", "plain", "--codec", "zstd:3", "--var", "u10"])
    store = same_as_bctool(bct, path)
    same_as_segments(store)
    assert {t.codec for m in store.modalities for t, _ in store.tiles(m)} >= {0, 2, 3}
    _, _, _, _, values, _ = store.read("surface", "u10")
    assert_same(values, Cube(a, "u10").values, "u10")
    bct.run("compact", path)
    same_as_segments(same_as_bctool(bct, path))
    bct.run("publish", path, tmp_path / "p.bcube")
    same_as_segments(same_as_bctool(bct, tmp_path / "p.bcube"))


@pytest.mark.parametrize("name", ["era5/newcds_sl_data_stream-oper_stepType-instant.nc"])
def test_store_of_a_real_file(bct, tmp_path, name):
    file = real(name)
    path = bct.create(tmp_path / "s.bcube", "--grid-from", file)
    bct.ingest(path, file)
    same_as_segments(same_as_bctool(bct, path))


# ---- test vectors ----

@pytest.mark.parametrize("head", sorted(p.name for p in GOLDEN.glob("*.head")))
def test_golden_tile(head):
    tile = Tile((GOLDEN / head).read_bytes())
    values = tile.values((GOLDEN / head).with_suffix(".payload").read_bytes())
    want = np.frombuffer((GOLDEN / head).with_suffix(".values").read_bytes(), "<f4").reshape(values.shape)
    assert np.array_equal(values.view("<u4"), want.view("<u4"))
    assert (tile.cell, tile.modality, tile.part, tile.sources, tile.levels) == (77, 5, 2, [3, 7], [1, 0])


def test_golden_segment():
    segment = Segment(GOLDEN / "0000000005.seg", bytes.fromhex("3f2b8c1e5d1a4f609f0e0a9b6a3c7d11"))
    record = commit_record(segment.schema)
    assert (record["snapshot"], record["retired"], record["flags"], record["live"]) == (4, [3], 2, [1, 2, 4, 5])
    assert record["modalities"][0]["name"] == "t" and record["modalities"][0]["levels"] == [850, 500]
    tiles = list(segment.tiles())
    for (seg, offset, stored, digest, at, n), name in zip(tiles, ["packed", "constant", "raw"]):
        assert seg == 5 and (stored == 0 or offset % 64 == 0)
        assert segment.data[at : at + n] == (GOLDEN / f"{name}.head").read_bytes()
        payload = (GOLDEN / f"{name}.payload").read_bytes()
        assert segment.data[offset : offset + stored] == payload and digest == xxh(payload)


def test_golden_records():
    lines = (GOLDEN / "records.txt").read_text().splitlines()
    for line in lines:
        words = line.split()
        if words[0] == "key":
            cell, time, modality, part = map(int, words[1:5])
            assert bytes.fromhex(words[5]) == struct.pack(">IQHH", cell, time + 2**63, modality, part)
    records = {x.split()[0]: bytes.fromhex(x.split()[-1]) for x in lines}
    assert len(records["record"]) == 128 and records["record"][52] == 3
    assert grid_record(records["grid"])["ny"] == 73
    assert modality_record(records["modality"])["attrs"]["valid_min"] == ("100", 1)
    for name, order in (("source", 7), ("source-again", 11)):
        source = source_record(records[name])
        assert (source["name"], source["id"], source["order"]) == ("t_2019-03.nc", 7, order)
    assert struct.unpack_from("<B6Q4Qqq4d", records["usage"])[1:4] == (1, 1000, 4096)


# ---- stores of every release ----

def unpack(archive, folder):
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / f"{archive.name.split('.')[0]}.bcube"


RELEASES = sorted(p.name for p in COMPAT.glob("v*"))


@pytest.mark.parametrize("name", ["small", "published"])
@pytest.mark.parametrize("release", RELEASES)
def test_store_of_a_release(bct, tmp_path, release, name):
    path = unpack(COMPAT / release / f"{name}.tar.xz", tmp_path)
    with np.load(COMPAT / release / "values.npz") as f:
        want = {k: f[k] for k in f.files}
    found = bct.json("verify", path, "--full")
    assert found["damaged"] == 0 and found["orphans"] == 0, found
    same_as_segments(same_as_bctool(bct, path))
    variables = {k.rsplit("/", 1)[0] for k in want}
    assert {f"{r['group']}/{r['name']}" for r in bct.json("ls", path)} == variables
    for v in variables:
        got = bct.npz(path, "--var", v)
        assert same_bits(got[v.split("/")[1]], want[f"{v}/{v.split('/')[1]}"]), v
        assert np.array_equal(got["latitude"], want[f"{v}/latitude"]), v


@pytest.mark.parametrize("release", RELEASES)
def test_store_of_a_release_is_written_to(bct, mkcube, tmp_path, release):
    path = unpack(COMPAT / release / "small.tar.xz", tmp_path)
    more = mkcube(tmp_path / "m.nc", "--var", "t2m", "--bbox", "-1,50,0.5,51", "--from", "2019-04-03", "--to", "2019-04-03")
    before = bct.npy(path, "--var", "surface/t2m")
    bct.ingest(path, more)
    after = bct.npy(path, "--var", "surface/t2m")
    assert same_bits(after[: len(before)], before) and len(after) == len(before) + 24
    ls = bct.json("ls", path)
    bct.run("reindex", path)
    assert bct.json("ls", path) == ls
    bct.run("compact", path)
    assert same_bits(bct.npy(path, "--var", "surface/t2m"), after)
    assert bct.json("verify", path, "--full")["damaged"] == 0


# ---- stores of releases to come ----

MARKERS = {"format-2.0": "2.0", "incompat-4": "0x4", "state-frozen": "state"}
SEGMENTS = {"major-2": "2.", "incompat-2": "0x2", "tile-version-2": "version 2", "tile-kind-1": "kind 1",
            "tile-incompat-1": "0x0001"}


def with_segment(tmp_path, name):
    path = unpack(COMPAT / "v1" / "small.tar.xz", tmp_path)
    shutil.copy(COMPAT / "future" / f"{name}.seg", path / "segments" / "0000000001.seg")
    return path


@pytest.mark.parametrize("name", MARKERS)
def test_marker_of_the_future_is_refused_by_name(bct, tmp_path, name):
    path = unpack(COMPAT / "v1" / "small.tar.xz", tmp_path)
    shutil.copy(COMPAT / "future" / f"{name}.BIOCUBE", path / "BIOCUBE")
    for command in (["info", path], ["compact", path], ["reindex", path]):
        bct.refused(*command, code=3, said=MARKERS[name])
    done = bct.run("verify", path, code=3)
    assert MARKERS[name] in (done.stdout + done.stderr).decode()
    with pytest.raises(Refused):
        Store(path)


def test_marker_with_what_may_be_ignored_is_read(bct, tmp_path):
    path = unpack(COMPAT / "v1" / "small.tar.xz", tmp_path)
    shutil.copy(COMPAT / "future" / "minor-and-compat.BIOCUBE", path / "BIOCUBE")
    same_as_bctool(bct, path)
    path = with_segment(tmp_path / "2", "compat-2")
    same_as_bctool(bct, path)


@pytest.mark.parametrize("name", SEGMENTS)
def test_segment_of_the_future_is_refused_by_name(bct, tmp_path, name):
    path = with_segment(tmp_path, name)
    bct.refused("query", path, "--var", "surface/t2m", "-f", "npy", "-o", tmp_path / "x.npy", code=3,
                said=[SEGMENTS[name], "surface/t2m"])
    assert not os.path.exists(tmp_path / "x.npy")
    found = bct.run("verify", path, "--full", "--json", code=3).stdout.decode()
    assert SEGMENTS[name] in found
    with pytest.raises(Refused):
        Store(path).read("surface", "t2m")


def test_every_part_of_the_future_is_tested():
    known = {f"{n}.BIOCUBE" for n in MARKERS} | {f"{n}.seg" for n in SEGMENTS}
    known |= {"minor-and-compat.BIOCUBE", "compat-2.seg"}
    assert {p.name for p in pathlib.Path(COMPAT / "future").iterdir()} == known
