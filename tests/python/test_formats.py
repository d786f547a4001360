"""Each output format, opened in the program that users open it in, gives equal values, names, units, times."""
import io
import json
import struct
import zlib

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import Cube, assert_same, same_bits
from safetensors import safe_open

BOX = ["--bbox", "-6,50,-2,53"]
MARCH = ["--time", "2019-03-01"]


@pytest.fixture(scope="module")
def store(bct, mkcube, tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    area = ["--bbox", "-12,48,4,62", "--from", "2019-03-01", "--to", "2019-03-02"]
    surface = mkcube(folder / "s.nc", "--var", "t2m,sst,u10", *area)
    levels = mkcube(folder / "l.nc", "--var", "t,z", "--level", "850,500", "--step", "6h", *area)
    ground = mkcube(folder / "g.nc", "--set", "static", "--bbox", "-12,48,4,62")
    path = bct.create(folder / "f.bcube")
    bct.ingest(path, surface, levels)
    bct.ingest(path, ground, args=["--static"])
    cubes = {n: Cube(f, n) for f, names in ((surface, ["t2m", "sst", "u10"]), (levels, ["t", "z"])) for n in names}
    return path, cubes


def cut(cube, day=True):
    """The part of a cube that BOX and MARCH ask for."""
    rows, cols = (cube.lat >= 50) & (cube.lat <= 53), (cube.lon >= -6) & (cube.lon <= -2)
    steps = cube.time < 1551484800 if day else slice(None)  # 2019-03-02T00:00Z
    return cube.values[steps][:, :, rows][:, :, :, cols], cube.time[steps], cube.lat[rows], cube.lon[cols]


def test_npy(bct, store, tmp_path):
    out = tmp_path / "x.npy"
    bct.run("query", store[0], "--var", "t2m", *BOX, *MARCH, "-o", out)
    assert_same(np.load(out), cut(store[1]["t2m"])[0][:, 0])
    assert np.load(out, mmap_mode="r").dtype.str == "<f4"


def test_npz(bct, store, tmp_path):
    out = tmp_path / "x.npz"
    bct.run("query", store[0], "--var", "t2m,sst", *BOX, *MARCH, "-o", out)
    with np.load(out, allow_pickle=False) as f:
        for name in ("t2m", "sst"):
            values, time, lat, lon = cut(store[1][name])
            assert_same(f[name], values[:, 0], name)
        assert np.array_equal(f["time"], time.astype("datetime64[s]"))
        assert np.array_equal(f["latitude"], lat) and np.array_equal(f["longitude"], lon)
        attrs = json.loads(str(f["attrs"]))
        assert attrs["variables"]["t2m"]["units"] == "K"
        assert attrs["variables"]["t2m"]["dims"] == ["time", "latitude", "longitude"]
    assert np.isnan(np.load(out)["sst"]).any(), "missing stays missing"


def test_netcdf_in_xarray(bct, store, tmp_path):
    out = tmp_path / "x.nc"
    bct.run("query", store[0], "--var", "t2m,sst", *BOX, *MARCH, "-o", out)
    with xr.open_dataset(out) as ds:
        assert ds.attrs["Conventions"] == "CF-1.11"
        for name in ("t2m", "sst"):
            values, time, lat, lon = cut(store[1][name])
            assert ds[name].dims == ("time", "latitude", "longitude")
            assert_same(ds[name].values, values[:, 0], name)
            assert ds[name].attrs["units"] == "K"
        assert ds["t2m"].attrs["long_name"] == "2 metre temperature"
        assert np.array_equal(ds["time"].values, time.astype("datetime64[s]"))
        assert np.array_equal(ds["latitude"], lat) and np.array_equal(ds["longitude"], lon)
        assert ds["latitude"].attrs["units"] == "degrees_north"
        assert ds["longitude"].attrs["standard_name"] == "longitude"
        assert ds["t2m"].sel(time="2019-03-01T12:00", latitude=51.5, longitude=-4.25).item() == \
            values_at(store[1]["t2m"], 12, 51.5, -4.25)


def values_at(cube, step, lat, lon):
    return cube.values[step, 0, np.argmin(abs(cube.lat - lat)), np.argmin(abs(cube.lon - lon))]


def test_netcdf_with_levels_and_static(bct, store, tmp_path):
    out = tmp_path / "x.nc"
    bct.run("query", store[0], "--var", "t", "--level", "500,850", *BOX, *MARCH, "-o", out)
    with xr.open_dataset(out) as ds:
        values = cut(store[1]["t"])[0][:, ::-1]
        level = next(d for d in ds["t"].dims if d not in ("time", "latitude", "longitude"))
        assert list(ds[level].values) == [500, 850] and ds[level].attrs["units"] in ("hPa", "millibars")
        assert ds[level].attrs.get("positive") == "down"
        assert_same(ds["t"].values, np.ascontiguousarray(values), "t")
    out = tmp_path / "y.nc"
    bct.run("query", store[0], "--var", "lsm", *BOX, "-o", out)
    with xr.open_dataset(out) as ds:
        assert ds["lsm"].dims == ("latitude", "longitude")
        assert 0 <= float(ds["lsm"].min()) <= float(ds["lsm"].max()) <= 1


def test_netcdf_of_means_has_cell_methods(bct, store, tmp_path):
    out = tmp_path / "x.nc"
    bct.run("query", store[0], "--var", "t2m", *BOX, "--agg", "mean:1d", "-o", out)
    with netCDF4.Dataset(out) as ds:
        v = ds["t2m"]
        assert "time: mean" in v.cell_methods
        assert ds["time"].bounds in ds.variables
    with xr.open_dataset(out) as ds:
        assert ds.sizes["time"] == 2


def test_netcdf_goes_in_again(bct, store, tmp_path):
    """What query writes, ingest reads: the same values, and then nothing new."""
    out = tmp_path / "x.nc"
    bct.run("query", store[0], "--var", "t2m,sst", *BOX, "-o", out)
    again = bct.create(tmp_path / "again.bcube")
    bct.ingest(again, out)
    for name in ("t2m", "sst"):
        assert same_bits(bct.npy(again, "--var", name, *BOX), bct.npy(store[0], "--var", name, *BOX))


def test_safetensors(bct, store, tmp_path):
    out = tmp_path / "x.safetensors"
    bct.run("query", store[0], "--var", "t2m,sst", *BOX, *MARCH, "-o", out)
    with safe_open(out, framework="numpy") as f:
        for name in ("t2m", "sst"):
            values, time, lat, lon = cut(store[1][name])
            assert_same(f.get_tensor(name), values[:, 0], name)
        assert np.array_equal(f.get_tensor("time"), time)
        assert np.array_equal(f.get_tensor("latitude"), lat) and np.array_equal(f.get_tensor("longitude"), lon)
        meta = f.metadata()
        assert meta["t2m.units"] == "K" and meta["t2m.dims"] == "time,latitude,longitude"


def test_csv_in_pandas(bct, store, tmp_path):
    out = tmp_path / "x.csv"
    bct.run("query", store[0], "--var", "t2m,sst", *BOX, *MARCH, "-o", out)
    table = pd.read_csv(out, parse_dates=["time"])
    values, time, lat, lon = cut(store[1]["t2m"])
    assert list(table.columns) == ["time", "latitude", "longitude", "t2m", "sst"]
    assert len(table) == values.size
    for name in ("t2m", "sst"):
        expected = cut(store[1][name])[0].ravel()
        assert_same(table[name].to_numpy().astype(np.float32), expected, name)
    stamps = table["time"].dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
    assert np.array_equal(stamps, np.repeat(time, len(lat) * len(lon)))
    assert np.array_equal(table["latitude"], np.tile(np.repeat(lat, len(lon)), len(time)))
    assert np.array_equal(table["longitude"], np.tile(lon, len(lat) * len(time)))


def test_csv_of_points(bct, store):
    places = ["--at", "51.5,-4.25", "--at", "52,-3"]
    done = bct.run("query", store[0], "--var", "t2m", *places, *MARCH, "-f", "csv", "-o", "-")
    table = pd.read_csv(io.BytesIO(done.stdout))
    assert len(table) == 48
    one = table[(table["latitude"] == 51.5) & (table["longitude"] == -4.25)]
    expected = [values_at(store[1]["t2m"], h, 51.5, -4.25) for h in range(24)]
    assert_same(one["t2m"].to_numpy().astype(np.float32), np.array(expected, np.float32))


def test_json_and_jsonl(bct, store):
    args = ["--var", "sst", *BOX, "--time", "2019-03-01T05", "-o", "-"]
    values, _, lat, lon = cut(store[1]["sst"])
    doc = json.loads(bct.run("query", store[0], *args, "-f", "json").stdout)
    sst = doc["variables"]["sst"] if isinstance(doc["variables"], dict) else doc["variables"][0]
    data = next(sst[k] for k in ("data", "values") if k in sst)
    got = np.array([[[np.nan if x is None else x for x in r] for r in p] for p in data], np.float32)
    assert_same(got, np.ascontiguousarray(values[5:6, 0]), "json")
    lines = bct.run("query", store[0], *args, "-f", "jsonl").stdout.decode().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == values[5].size
    got = np.array([np.nan if r["sst"] is None else r["sst"] for r in rows], np.float32)
    assert_same(got, values[5].ravel(), "jsonl")
    assert rows[0]["latitude"] == lat[0] and rows[1]["longitude"] == lon[1]
    assert rows[0]["time"].startswith("2019-03-01T05:00")


def png_chunks(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks.append((kind, body))
        at += 12 + size
    assert chunks[0][0] == b"IHDR" and chunks[-1][0] == b"IEND"
    return chunks


NOON = ["--time", "2019-03-01T12"]


@pytest.mark.parametrize("args", [NOON, ["--at", "51.5,-4.25"], [*BOX, *NOON],
                                  [*NOON, "--width", "400", "--colormap", "viridis"]], ids=str)
def test_pictures(bct, store, tmp_path, args):
    out = tmp_path / "x.png"
    bct.run("plot", store[0], "--var", "t2m", *args, "-o", out)
    chunks = png_chunks(out.read_bytes())
    width, height, depth, colour = struct.unpack(">IIBB", chunks[0][1][:10])
    assert width == (400 if "--width" in args else 1000) and 100 < height < 4000 and depth == 8
    raw = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    assert len(set(raw)) > 8, "a picture with something in it"


@pytest.mark.parametrize("form", ["npy", "npz", "safetensors", "csv", "json", "jsonl", "netcdf", "png"])
def test_stdout_is_the_file(bct, store, tmp_path, form):
    suffix = {"netcdf": "nc"}.get(form, form)
    out = tmp_path / f"x.{suffix}"
    args = ["--var", "t2m", *BOX, "--time", "2019-03-01T12"]
    for _ in range(5):  # the history holds the second of writing: both must fall in one
        bct.run("query", store[0], *args, "-o", out, "--overwrite")
        through = bct.run("query", store[0], *args, "-f", form, "-o", "-").stdout
        if through == out.read_bytes():
            return
    pytest.fail(f"{form}: standard output differs from the file")


def test_formats_by_suffix_and_what_they_cannot_hold(bct, store, tmp_path):
    bct.refused("query", store[0], "--var", "t2m,sst", *BOX, "-o", tmp_path / "x.npy", code=2, said="npz")
    bct.refused("query", store[0], "--var", "t2m", *BOX, "-o", tmp_path / "x.xyz", code=2, said=["xyz", "npy"])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(bct, store, tmp_path):
    out = tmp_path / "x.npy"
    out.write_bytes(b"mine")
    args = ["query", store[0], "--var", "t2m", *BOX, *MARCH, "-o", out]
    bct.refused(*args, code=2, said=["x.npy", "exists"])
    assert out.read_bytes() == b"mine"
    bct.run(*args, "--overwrite")
    assert np.load(out).shape == (24, 13, 17)
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"], "no temporary file stays"
