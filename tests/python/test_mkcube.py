"""mkcube: its files look like those of the Climate Data Store, and hold what they promise."""
import hashlib
import subprocess

import netCDF4
import numpy as np
import pytest
from conftest import decode, program, real


def attributes(variable):
    return {k: type(variable.getncattr(k)).__name__ for k in variable.ncattrs()}


def structure(path, names):
    with netCDF4.Dataset(path) as ds:
        found = {n: (str(v.dtype), v.dimensions, attributes(v)) for n, v in ds.variables.items() if n in names}
        return found, {n: v.filters() for n, v in ds.variables.items() if n in names}


COORDINATES = ["number", "valid_time", "latitude", "longitude", "expver"]


@pytest.mark.parametrize("file, args, names", [
    ("era5/newcds_sl_data_stream-oper_stepType-instant.nc",
     ["--var", "u10,v10", "--bbox", "5.75,47.25,14.75,55", "--to", "2020-01-01"], ["u10", "v10", *COORDINATES]),
    ("era5/newcds_static_z_lsm_slt_global025.nc", ["--set", "static"], ["z", "lsm", "slt", *COORDINATES]),
])
def test_new_layout_is_that_of_the_real_file(mkcube, tmp_path, file, args, names):
    mine = mkcube(tmp_path / "x.nc", *args)
    assert structure(mine, names) == structure(real(file), names)


def test_legacy_layout_is_that_of_the_real_file(mkcube, tmp_path):
    file = real("era5/era5_t2m_uk_2019-03_hourly.legacy.nc")
    mine = mkcube(tmp_path / "x.nc", "--layout", "legacy", "--var", "t2m", "--bbox", "-10,50,2,58", "--from", "2019-03",
                  "--to", "2019-03")
    names = ["t2m", "time", "latitude", "longitude"]
    assert structure(mine, names) == structure(file, names)
    with netCDF4.Dataset(mine) as a, netCDF4.Dataset(file) as b:
        assert a.data_model == b.data_model == "NETCDF3_64BIT_OFFSET"
        for name in names[1:]:
            assert np.array_equal(a[name][:], b[name][:])


def test_same_seed_same_bytes_other_seed_other_world(mkcube, tmp_path):
    def digest(name, *more):
        path = mkcube(tmp_path / name, "--var", "t2m", "--bbox", "0,40,10,50", *more)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    assert digest("a.nc") == digest("b.nc") == digest("c.nc", "--seed", "1")
    assert digest("d.nc", "--seed", "2") != digest("e.nc")


def test_planes_are_quantised_as_grib_does(mkcube, tmp_path):
    path = mkcube(tmp_path / "x.nc", "--var", "t2m,tp,u10", "--bbox", "-10,40,20,60")
    with netCDF4.Dataset(path) as ds:
        for name in ("t2m", "tp", "u10"):
            for plane in decode(ds[name]).astype(np.float64):
                low, span = plane.min(), plane.max() - plane.min()
                if span == 0:
                    continue
                e = int(np.ceil(np.log2(span / 65535)))
                k = np.rint((plane - low) * 2.0 ** -e)
                assert k.max() <= 65535
                again = (low + k * 2.0 ** e).astype(np.float32)
                assert np.array_equal(again, plane.astype(np.float32)), name


def test_fields_are_correlated_in_space_and_time(mkcube, tmp_path):
    path = mkcube(tmp_path / "x.nc", "--var", "t2m,u10,msl", "--from", "2020-01-01", "--to", "2020-01-02", "--res",
                  "0.5")
    with netCDF4.Dataset(path) as ds:
        for name in ("t2m", "u10", "msl"):
            v = decode(ds[name]).astype(np.float64)[:, 80:280]
            v -= v.mean(axis=(0, 2), keepdims=True)
            neighbours = np.corrcoef(v[:, :, 1:].ravel(), v[:, :, :-1].ravel())[0, 1]
            hours = np.corrcoef(v[1:].ravel(), v[:-1].ravel())[0, 1]
            assert 0.9 < neighbours < 0.99999 and 0.9 < hours < 0.99999, (name, neighbours, hours)
            poles = decode(ds[name])[:, [0, -1]]
            if name != "u10":
                assert np.ptp(poles, axis=2).max() < 1e-3 * abs(poles).max(), "one point has one value"


def test_overlapping_files_agree(mkcube, tmp_path):
    a = mkcube(tmp_path / "a.nc", "--var", "t2m", "--bbox", "0,40,10,50", "--from", "2020-01-01", "--to", "2020-01-02")
    b = mkcube(tmp_path / "b.nc", "--var", "t2m", "--bbox", "0,40,10,50", "--from", "2020-01-02", "--to", "2020-01-03")
    with netCDF4.Dataset(a) as x, netCDF4.Dataset(b) as y:
        assert np.array_equal(decode(x["t2m"])[24:], decode(y["t2m"])[:24])


# Mean and range over Europe of the published monthly batches: the made-up world is not Europe, but like it.
RANGES = {
    "surface.nc": {"msl": (101356, 95000, 106000), "t2m": (283, 225, 325), "u10": (0.8, -20, 20), "lsm": (0.46, 0, 1),
                   "slt": (1, 0, 7), "z": (1760, -1000, 60000), "v10": (0, -20, 20)},
    "edaphic.nc": {"swvl1": (0.14, -0.01, 0.8), "swvl2": (0.14, -0.01, 0.8), "stl1": (284, 225, 325),
                   "stl2": (284, 225, 325)},
    "climate.nc": {"tp": (0.0023, 0, 0.05), "sd": (0.03, 0, 10), "d2m": (279, 210, 310), "avg_sdswrf": (140, -1, 420),
                   "avg_snswrf": (122, -1, 420), "avg_sdswrfcs": (187, -1, 420), "avg_snlwrf": (-60, -200, 20),
                   "avg_tprate": (2.6e-5, 0, 5e-4), "csfr": (9e-7, 0, 2e-4), "smlt": (1.5e-4, 0, 0.04),
                   "t2m": (283, 225, 325)},
    "misc.nc": {"avg_slhtf": (-57, -330, 30), "avg_pevr": (-1.2e-5, -2e-4, 1e-5)},
    "atmospheric.nc": {"z": (78000, -2000, 215000), "t": (243, 185, 320), "u": (7.7, -30, 70), "v": (0, -30, 35),
                       "q": (0.0015, 0, 0.025)},
}


def test_monthly_set_is_that_of_the_batches(mkcube, tmp_path):
    mkcube(tmp_path / "m", "--set", "monthly-climate", "--from", "2000-01", "--to", "2000-12")
    assert {p.name for p in (tmp_path / "m").iterdir()} == set(RANGES)
    planes = {}
    for name, ranges in RANGES.items():
        with netCDF4.Dataset(tmp_path / "m" / name) as ds:
            assert ds["latitude"][0] == 72 and ds["latitude"][-1] == 32 and len(ds["latitude"]) == 161
            assert ds["longitude"][0] == -25 and ds["longitude"][-1] == 45 and len(ds["longitude"]) == 281
            months = netCDF4.num2date(ds["valid_time"][:], ds["valid_time"].units)
            assert [(d.month, d.day, d.hour) for d in months] == [(m, 1, 0) for m in range(1, 13)]
            for var, (mean, low, high) in ranges.items():
                v = decode(ds[var])
                planes[name, var] = v
                assert low <= v.min() and v.max() <= high, (var, v.min(), v.max())
                assert abs(v.mean() - mean) < 0.25 * (high - low), (var, v.mean())
    fields = sum(v.ndim == 3 for v in planes.values())
    assert fields == 24 and sum(v.ndim == 4 for v in planes.values()) == 5
    assert planes["atmospheric.nc", "z"].shape == (12, 13, 161, 281)
    assert np.array_equal(planes["surface.nc", "t2m"], planes["climate.nc", "t2m"])
    assert np.array_equal(planes["surface.nc", "z"][0], planes["surface.nc", "z"][11])
    ratio = planes["climate.nc", "tp"].mean() / (planes["climate.nc", "avg_tprate"].mean() * 86.4)
    assert abs(ratio - 1) < 1e-3, "m per day against kg m-2 s-1"


def test_sea_temperature_is_missing_over_land(mkcube, tmp_path):
    for layout in ("newcds", "legacy"):
        path = mkcube(tmp_path / f"{layout}.nc", "--var", "sst,lsm", "--layout", layout, "--bbox", "-10,50,2,58")
        with netCDF4.Dataset(path) as ds:
            missing, land = np.isnan(decode(ds["sst"])), decode(ds["lsm"]) > 0.501
            assert 0.1 < missing.mean() < 0.9
            assert missing[land].all()


@pytest.mark.parametrize("args, code, said", [
    (["--var", "nope", "-o", "x.nc"], 2, 'no variable "nope"'),
    (["--bbox", "1,2,3", "-o", "x.nc"], 2, "W,S,E,N"),
    (["--from", "2020-13", "-o", "x.nc"], 2, "2020-13"),
    (["--from", "2020-03", "--to", "2020-01", "-o", "x.nc"], 2, "--to is before --from"),
    (["--frob", "1", "-o", "x.nc"], 2, "no option --frob"),
    ([], 2, "-o FILE"),
    (["-o", "no-such-folder/x.nc"], 4, "No such file"),
    (["--layout", "legacy", "--var", "t2m", "--from", "2000", "--to", "2019", "-o", "x.nc"], 2, "GiB"),
])
def test_errors_are_one_clear_line(tmp_path, args, code, said):
    done = subprocess.run([program("MKCUBE", "mkcube"), *args], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(mkcube, tmp_path):
    path = mkcube(tmp_path / "x.nc", "--var", "t2m", "--bbox", "0,40,10,50")
    before = path.read_bytes()
    run = subprocess.run([program("MKCUBE", "mkcube"), "--var", "tp", "-o", path], capture_output=True, text=True)
    assert run.returncode == 2 and "--overwrite" in run.stderr and path.read_bytes() == before
