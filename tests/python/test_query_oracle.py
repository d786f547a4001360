"""Random questions, answered by bctool and by NumPy on the raw arrays."""
import datetime
import random
import warnings

import netCDF4
import numpy as np
import pytest
from conftest import LONG, Cube, assert_same, box_mask, decode, real, same_bits, wrap180

EPOCH = datetime.datetime(1970, 1, 1)


def iso(t):
    return (EPOCH + datetime.timedelta(seconds=int(t))).strftime("%Y-%m-%dT%H:%M")


@pytest.fixture(scope="module")
def world(bct, tmp_path_factory):
    """The real global static file in a store, and its arrays by latitude (north first) and raw longitude."""
    file = real("era5/newcds_static_z_lsm_slt_global025.nc")
    store = bct.create(tmp_path_factory.mktemp("world") / "w.bcube")
    bct.ingest(store, file)
    with netCDF4.Dataset(file) as ds:
        arrays = {n: decode(ds[n])[0] for n in ("z", "lsm", "slt")}
        lat, lon = np.asarray(ds["latitude"][:], float), np.asarray(ds["longitude"][:], float)
    return store, arrays, lat, lon


def check_box(bct, world, name, west, south, east, north, *args):
    store, arrays, lat, lon = world
    got = bct.npz(store, "--var", name, f"--bbox={west!r},{south!r},{east!r},{north!r}", *args)
    rows, cols = box_mask(lat, wrap180(lon), west, south, east, north)
    asked = f"{name} {west},{south},{east},{north} {args}"
    assert np.array_equal(got["latitude"], lat[rows] if "asc" not in args else lat[rows][::-1]), asked
    # the right columns, each once, going east without a gap
    assert sorted(wrap180(got["longitude"])) == sorted(wrap180(lon[cols])), asked
    gaps = np.diff(got["longitude"]) % 360
    assert np.allclose(gaps, 0.25), asked
    if "0-360" in args:
        assert got["longitude"].min() >= 0 and got["longitude"].max() < 360, asked
    else:
        assert got["longitude"].min() >= -180 and got["longitude"].max() < 180, asked
    i = np.rint((90 - got["latitude"]) / 0.25).astype(int)
    j = np.rint(got["longitude"] % 360 / 0.25).astype(int)
    values = got[name].reshape(len(i), len(j))
    assert_same(values, arrays[name][np.ix_(i, j)], asked)


BOXES = [  # west, south, east, north: each hard in its own way
    (-10, 50, 2, 58), (350, 50, 2, 58), (-360, 50, -350, 58), (-1, -1, 1, 1), (359, -1, 360, 1), (359, -1, 1, 1),
    (179, -5, -179, 5), (179, -5, 181, 5), (-181, -5, -179, 5), (170, -90, 190, 90), (-180, -90, 180, 90),
    (0, -90, 360, 90), (0, 89, 359.75, 90), (-180, 10, 179.75, 10), (180, 0, 180, 0), (-180, 0, -180, 0),
    (0, 0, 0, 0), (360, 0, 360, 0), (0, 90, 0, 90), (0.25, -90, 0.25, -90), (-0.1, -0.1, 0.1, 0.1),
    (12.24995, 41.99995, 12.5, 42.00005), (90, 20, -90, 21), (-90, 20, 90, 21), (10, 5, 9.75, 6), (300, 0, 40, 1),
]


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_hard_boxes_of_the_global_file(bct, world, box):
    check_box(bct, world, "z", *map(float, box))


@pytest.mark.parametrize("box, said", [("300,0,400,1", "400"), ("0,0,10,91", "91"), ("0,1,10,0", "south"),
                                       ("0,0,1", "west,south,east,north")])
def test_boxes_that_are_none(bct, world, box, said):
    bct.refused("query", world[0], "--var", "z", f"--bbox={box}", code=2, said=said)


def test_random_boxes_of_the_global_file(bct, world):
    rng = random.Random(20190301)
    for _ in range(1000 if LONG else 80):
        convention = rng.choice([(-180, 180), (0, 360)])
        a, b = rng.uniform(*convention), rng.uniform(*convention)
        if rng.random() < 0.5:
            a, b = round(a * 4) / 4, round(b * 4) / 4
        south, north = sorted(rng.uniform(-90, 90) for _ in range(2))
        if rng.random() < 0.7:  # mostly small
            b, north = a + rng.uniform(0.3, 20), min(90, south + rng.uniform(0.3, 20))
            b = b - 360 if b > 360 else b
        rows, cols = box_mask(world[2], wrap180(world[3]), a, south, b, north)
        if not rows.any() or not cols.any():
            continue
        args = rng.choice([[], [], ["--lon", "0-360"], ["--lat", "asc"], ["--lat", "asc", "--lon", "0-360"]])
        check_box(bct, world, rng.choice(["z", "lsm", "slt"]), a, south, b, north, *args)


def test_points_take_the_nearest_node(bct, world):
    store, arrays, lat, lon = world
    rng = random.Random(7)
    points = [(rng.uniform(-90, 90), rng.uniform(-200, 380)) for _ in range(30)]
    points += [(90, 0), (-90, 359.9), (0, 179.99), (51.5, -0.1), (0, -180)]
    args = [a for p in points for a in (f"--at={p[0]!r},{p[1]!r}",)]
    got = bct.npz(store, "--var", "z", *args)
    i = np.rint((90 - np.array([p[0] for p in points])) / 0.25).astype(int)
    j = np.rint(np.array([p[1] for p in points]) % 360 / 0.25).astype(int) % 1440
    assert_same(got["z"].reshape(-1), arrays["z"][i, j], "points")
    assert np.allclose(got["latitude"], lat[i]) and np.allclose(wrap180(got["longitude"]), wrap180(lon[j]))


def test_points_file(bct, world, tmp_path):
    csv = tmp_path / "p.csv"
    csv.write_text("name;lon;lat\nLondon;-0.1;51.5\nSuva;178.44;-18.14\n")
    got = bct.npz(world[0], "--var", "lsm", "--points", csv)
    assert_same(got["lsm"].reshape(-1), world[1]["lsm"][[154, 433], [0, 714]], "points file")


# ---- time, levels, strides and reductions on made-up data that crosses month and cell borders ----

@pytest.fixture(scope="module")
def cube(bct, mkcube, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cube")
    box = ["--bbox", "-22,40,12,62"]
    files = [
        mkcube(folder / "a.nc", "--var", "t2m,sst", *box, "--from", "2019-02-20", "--to", "2019-03-12", "--step", "3h"),
        mkcube(folder / "p.nc", "--var", "t,z", "--level", "1000,850,500,100", *box, "--from", "2019-02-20", "--to",
               "2019-03-12", "--step", "12h", "--layout", "legacy"),
    ]
    store = bct.create(folder / "c.bcube", "--cell", "32")
    bct.ingest(store, *files, args=["--threads", "2"])
    return store, {n: Cube(f, n) for f, names in zip(files, (["t2m", "sst"], ["t", "z"])) for n in names}


def random_time(rng, times):
    """Text of --time and the mask of steps it means."""
    kind = rng.randrange(6)
    day = EPOCH + datetime.timedelta(seconds=int(rng.choice(times)))
    t = np.array(times)

    def stamp(*a):
        return (datetime.datetime(*a) - EPOCH).total_seconds()

    if kind == 0:
        return None, np.ones(len(t), bool)
    if kind == 1:
        end = day.replace(hour=0) + datetime.timedelta(days=1)
        mask = (t >= stamp(day.year, day.month, day.day)) & (t < (end - EPOCH).total_seconds())
        return day.strftime("%Y-%m-%d"), mask
    if kind == 2:
        mask = (t >= stamp(2019, day.month, 1)) & (t < stamp(2019, day.month + 1, 1))
        return day.strftime("%Y-%m"), mask
    a, b = sorted(rng.choice(times) for _ in range(2))
    if kind == 3:
        return f"{iso(a)}/{iso(b)}", (t >= a) & (t <= b + 59)
    if kind == 4:
        return f"../{iso(b)}", t <= b + 59
    return f"{iso(a)}/..", t >= a


def test_random_questions(bct, cube):
    store, cubes = cube
    rng = random.Random(42)
    for _ in range(1000 if LONG else 80):
        name = rng.choice(list(cubes))
        c = cubes[name]
        args, values = [], c.values
        text, steps = random_time(rng, list(c.time))
        if text:
            args.append(f"--time={text}")
        a, b = sorted(rng.uniform(-21.9, 11.9) for _ in range(2))
        south, north = sorted(rng.uniform(40.1, 61.9) for _ in range(2))
        if rng.random() < 0.8:
            b, north = min(b + 1, 12), min(north + 1, 62)
            rows, cols = box_mask(c.lat, c.lon, a, south, b, north)
            args.append(f"--bbox={a!r},{south!r},{b!r},{north!r}")
        else:
            rows, cols = np.ones(len(c.lat), bool), np.ones(len(c.lon), bool)
            args.append("--bbox=-22,40,12,62")
        levels = np.arange(values.shape[1])
        if c.level is not None and rng.random() < 0.7:
            levels = np.array(rng.sample(range(4), rng.randrange(1, 5)))
            args.append("--level=" + ",".join(f"{c.level[i]:g}" for i in levels))
        expected = values[steps][:, levels][:, :, rows][:, :, :, cols]
        if rng.random() < 0.4:
            n, m = rng.randrange(1, 5), rng.randrange(1, 5)
            args.append(f"--every={n},{m}")
            expected = expected[::n, :, ::m, ::m]
        if rng.random() < 0.3:
            args += ["--lat", "asc"]
            expected = expected[:, :, ::-1]
        if rng.random() < 0.2:
            args += ["--threads", "2"]
        got = bct.npy(store, "--var", name, *args)
        shape = expected.shape if c.level is not None else expected.shape[:1] + expected.shape[2:]
        assert_same(got, np.ascontiguousarray(expected).reshape(shape), f"{name} {args}")


PERIODS = {"6h": 6 * 3600, "1d": 86400, "10d": 864000}
HOW = {"mean": np.nanmean, "min": np.nanmin, "max": np.nanmax, "sum": np.nansum}


@pytest.mark.parametrize("how", ["mean", "min", "max", "sum", "first", "count"])
@pytest.mark.parametrize("period", ["6h", "1d", "1mo"])
@pytest.mark.parametrize("name", ["t2m", "sst"])
def test_aggregation(bct, cube, how, period, name):
    store, cubes = cube
    c = cubes[name]
    rows, cols = box_mask(c.lat, c.lon, -10, 45, 0, 50)
    values = c.values[:, 0][:, rows][:, :, cols].astype(np.float64)
    got = bct.npz(store, "--var", name, "--bbox=-10,45,0,50", "--agg", f"{how}:{period}")
    if period == "1mo":
        bins = np.array([(EPOCH + datetime.timedelta(seconds=int(t))).month for t in c.time])
    else:
        bins = c.time // PERIODS[period]
    parts = [values[bins == b] for b in np.unique(bins)]
    data = got[next(k for k in got if k.startswith(name))]
    assert data.shape == (len(parts),) + values.shape[1:]
    for step, part in zip(data, parts):
        missing = np.isnan(part).all(axis=0)
        if how == "count":
            assert np.array_equal(step, (~np.isnan(part)).sum(axis=0))
            continue
        if how == "first":
            index = np.argmax(~np.isnan(part), axis=0)
            expected = np.take_along_axis(part, index[None], axis=0)[0]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of columns that are missing throughout
                expected = HOW[how](part, axis=0)
        expected = np.where(missing, np.nan, expected)
        assert np.array_equal(np.isnan(step), missing), f"{how}: missing only where all are"
        tolerance = 0 if how in ("min", "max", "first") else 2e-7
        assert np.allclose(step[~missing], expected[~missing], rtol=tolerance, atol=0), how


def test_explain_reads_nothing_and_counts(bct, cube):
    store = cube[0]
    plan = bct.json("query", store, "--var", "t2m", "--bbox=-10,45,0,50", "--explain")
    answer = bct.npy(store, "--var", "t2m", "--bbox=-10,45,0,50")
    assert plan["output_bytes"] == answer.nbytes and plan["variables"][0]["shape"] == list(answer.shape)
    assert 0 < plan["tiles"] <= plan["blocks"] and plan["stored_bytes"] > 0 and plan["decoded_bytes"] > 0
    small = bct.json("query", store, "--var", "t2m", "--at=45,0", "--explain")
    assert small["decoded_bytes"] < plan["decoded_bytes"]
    one = bct.json("query", store, "--var", "t", "--level", "850", "--explain")
    every = bct.json("query", store, "--var", "t", "--explain")
    assert one["decoded_bytes"] * 4 == every["decoded_bytes"], "one level of four costs a fourth"


def test_several_variables_and_globs(bct, cube):
    store, cubes = cube
    got = bct.npz(store, "--var", "t2m,sst", "--bbox=-10,45,0,50", "--time", "2019-03-01")
    for name in ("t2m", "sst"):
        one = bct.npy(store, "--var", name, "--bbox=-10,45,0,50", "--time", "2019-03-01")
        assert same_bits(got[name], one)
    rows = {r["name"] for r in bct.json("ls", store)}
    assert rows == set(cubes)
    glob = bct.npz(store, "--var", "?", "--bbox=-10,45,0,50", "--time", "2019-03-01")
    assert {"t", "z"} <= set(glob)
