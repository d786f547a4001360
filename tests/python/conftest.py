"""Fixtures and the oracle: what netCDF4-python and NumPy say a file holds.

Programs are named by the environment: BCTOOL, MKCUBE (as ctest sets them). Real files lie in the folder named
by BC_DATA, by default ../shared/data beside the source tree. BC_LONG=1 makes the tests about ten times longer.
"""
import datetime
import io
import json
import os
import pathlib
import subprocess

import netCDF4
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("BC_DATA") or ROOT.parent / "shared" / "data")
LONG = os.environ.get("BC_LONG", "") not in ("", "0")
SNAP = 1e-4
# Only leaks of ours count. The setting reaches every program that a test starts.
os.environ.setdefault("LSAN_OPTIONS", f"suppressions={ROOT}/tests/support/lsan.supp:print_suppressions=0")


def real(name):
    """Path of a real file; without the folder of real files the test is skipped, and says so."""
    if not DATA.is_dir():
        pytest.skip(f"REAL FILES NOT TESTED: no folder {DATA}: set BC_DATA")
    path = DATA / name
    assert path.is_file(), f"{path} is missing from the folder of real files"
    return path


def program(variable, name):
    path = os.environ.get(variable)
    if not path:
        path = ROOT / "build" / "dev" / "tools" / name
    assert os.access(path, os.X_OK), f"no program {path}: build it, or set {variable}"
    return str(path)


class Tool:
    """Runs bctool and checks its exit code."""

    def __init__(self):
        self.path = program("BCTOOL", "bctool")

    def run(self, *args, code=0, stdin=None, **kwargs):
        command = [self.path, *map(str, args)]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=900, **kwargs)
        said = done.stderr.decode(errors="replace")
        assert "Sanitizer" not in said and "runtime error" not in said, said
        if code is not None:
            assert done.returncode == code, f"{' '.join(command)}\nexit {done.returncode}, not {code}\n{said}"
        return done

    def json(self, *args):
        return json.loads(self.run(*args, "--json").stdout)

    def npy(self, store, *args):
        return np.load(io.BytesIO(self.run("query", store, *args, "-f", "npy", "-o", "-", "-q").stdout))

    def npz(self, store, *args):
        """Dictionary of arrays of a query: the variable, time, latitude, longitude ..."""
        with np.load(io.BytesIO(self.run("query", store, *args, "-f", "npz", "-o", "-", "-q").stdout)) as f:
            arrays = {k: f[k] for k in f.files}
        if "time" in arrays:
            assert arrays["time"].dtype == "datetime64[s]"
            arrays["time"] = arrays["time"].astype(np.int64)
        return arrays

    def create(self, path, *args):
        self.run("create", path, *args)
        return path

    def ingest(self, store, *files, code=0, args=()):
        return self.run("ingest", "netcdf", store, *files, *args, code=code)

    def report(self, store, *files, args=()):
        return self.json("ingest", "netcdf", store, *files, *args)

    def state(self, store):
        """All that a reader can know of a store without its values."""
        return self.json("info", store), self.json("ls", store)

    def refused(self, *args, code, said):
        """The command fails with one clear line that contains each text of said."""
        done = self.run(*args, code=code)
        lines = [line for line in done.stderr.decode().splitlines() if line.startswith("bctool")]
        assert len(lines) == 1, f"one line expected: {done.stderr.decode()}"
        for text in [said] if isinstance(said, str) else said:
            assert text.lower() in lines[0].lower(), f"{text!r} is not in {lines[0]!r}"
        return lines[0]


@pytest.fixture(scope="session")
def bct():
    return Tool()


@pytest.fixture(scope="session")
def mkcube():
    path = program("MKCUBE", "mkcube")

    def make(out, *args):
        subprocess.run([path, *map(str, args), "--quiet", "-o", str(out)], check=True, timeout=900)
        return out

    return make


# ---- the oracle ----

LEVELS = {"level", "pressure_level", "isobaricInhPa", "plev", "lev"}
LATS, LONS, TIMES = {"latitude", "lat", "LAT"}, {"longitude", "lon", "LON"}, {"time", "valid_time", "TIME"}


def decode(variable):
    """netCDF4-python's own decoding, cast once to float32, masked values as NaN."""
    values = variable[...]
    mask = np.ma.getmaskarray(values)
    out = np.asarray(np.ma.getdata(values)).astype(np.float32)
    out[mask] = np.nan
    return out


def wrap180(lon):
    lon = np.asarray(lon, dtype=np.float64)
    return np.where((lon >= -180) & (lon < 180), lon, (lon + 180) % 360 - 180)


def seconds(variable):
    """Seconds since 1970 of a time coordinate."""
    calendar = getattr(variable, "calendar", "standard")
    values = np.ma.getdata(variable[...]).reshape(-1)
    dates = netCDF4.num2date(values, variable.units, calendar, only_use_cftime_datetimes=True)
    epoch = datetime.datetime(1970, 1, 1)
    out = []
    for d in dates:
        span = datetime.datetime(d.year, d.month, d.day, d.hour, d.minute, d.second) - epoch
        out.append(int(span.total_seconds()) + round(d.microsecond / 1e6))
    return np.array(out, dtype=np.int64)


def find(dataset, name):
    """The variable of that name, in the file or its groups."""
    if name in dataset.variables:
        return dataset, dataset.variables[name]
    for group in dataset.groups.values():
        found = find(group, name)
        if found:
            return found
    return None


def coordinate(group, names, dims):
    while group is not None:
        for name in names:
            v = group.variables.get(name)
            if v is not None and (v.ndim == 0 or v.dimensions[0] in dims):
                return v
        group = group.parent
    return None


class Cube:
    """A variable as the store is to give it: (time, level, latitude, longitude), north first, -180 first."""

    def __init__(self, path, name):
        with netCDF4.Dataset(path) as ds:
            group, v = find(ds, name)
            dims = v.dimensions
            lat, lon = coordinate(group, LATS, dims), coordinate(group, LONS, dims)
            time, level = coordinate(group, TIMES, dims), coordinate(group, LEVELS, dims)
            values = decode(v)
            order = []
            for c in (time, level, lat, lon):
                if c is not None and c.ndim and c.dimensions[0] in dims:
                    order.append(dims.index(c.dimensions[0]))
                else:
                    order.append(None)
            rest = [i for i in range(v.ndim) if i not in order]
            assert all(v.shape[i] == 1 for i in rest), f"{name}: {dims}"
            values = values.transpose(rest + [i for i in order if i is not None])
            values = values.reshape(values.shape[len(rest):])
            for axis, i in enumerate(order):
                if i is None:
                    values = np.expand_dims(values, axis)
            self.units = getattr(v, "units", "")
            self.lat = np.asarray(lat[:], dtype=np.float64)
            self.lon = wrap180(lon[:])
            self.level = np.asarray(level[:], dtype=np.float64) if level is not None and order[1] is not None else None
            self.time = seconds(time) if time is not None else None
        rows = np.argsort(-self.lat, kind="stable")
        _, cols = np.unique(np.round(self.lon, 6), return_index=True)
        self.lat, self.lon = self.lat[rows], self.lon[cols]
        self.values = values[:, :, rows][:, :, :, cols]
        if self.time is not None and len(self.time) > 1:
            steps = np.argsort(self.time, kind="stable")
            self.time, self.values = self.time[steps], self.values[steps]


def same_bits(a, b):
    """Equal shape and bits; any NaN equals any NaN."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    nan = np.isnan(a)
    if not np.array_equal(nan, np.isnan(b)):
        return False
    bits = f"u{a.dtype.itemsize}"
    return bool(np.array_equal(np.where(nan, 0, a).view(bits), np.where(nan, 0, b).view(bits)))


def assert_same(a, b, what=""):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, expected {b.shape}"
    assert a.dtype == b.dtype, f"{what}: {a.dtype}, expected {b.dtype}"
    if not same_bits(a, b):
        wrong = np.argwhere(~((a == b) | (np.isnan(a) & np.isnan(b))))
        first = tuple(wrong[0]) if len(wrong) else None
        detail = f"first at {first}: {a[first]!r}, expected {b[first]!r}" if first is not None else "signs of zero"
        raise AssertionError(f"{what}: {len(wrong)} of {a.size} values differ, {detail}")


def box_mask(lat, lon, west, south, east, north):
    """Which rows and columns lie in a box, by the rules of --bbox; lon is -180..180."""
    rows = (lat >= south - SNAP) & (lat <= north + SNAP)
    width = east - west
    if width >= 360 - SNAP:
        return rows, np.ones(len(lon), bool)
    width = width % 360 if width < 0 else width
    off = (lon - west + SNAP) % 360
    return rows, off <= width + 2 * SNAP
