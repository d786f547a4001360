"""What bctool says: help, wrong commands, wrong options, with the right exit codes."""
import json
import os
import re
import subprocess

import netCDF4
import pytest
from conftest import real

COMMANDS = ["create", "ingest netcdf", "info", "ls", "query", "stats", "plot", "verify", "version"]


@pytest.fixture(scope="module")
def store(bct, mkcube, tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors")
    path = bct.create(folder / "e.bcube")
    bct.ingest(path, mkcube(folder / "x.nc", "--var", "t2m,u10,v10", "--bbox", "-10,50,2,58", "--from", "2019-03-01",
                            "--to", "2019-03-02"))
    bct.ingest(path, mkcube(folder / "l.nc", "--var", "t,u", "--level", "850,500", "--bbox", "-10,50,2,58"))
    return path


def test_help_names_every_command(bct):
    for args in (["help"], ["--help"], ["-h"]):
        done = bct.run(*args)
        for c in COMMANDS:
            assert c in done.stdout.decode(), c
        assert not done.stderr
    bare = bct.run(code=2)
    assert not bare.stdout and b"bctool" in bare.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(bct, command):
    text = bct.run(*command.split(), "--help").stdout.decode()
    assert text == bct.run("help", *command.split()).stdout.decode()
    assert f"bctool {command}" in text
    assert "xample" in text
    assert max(map(len, text.splitlines())) <= 110, "fits a terminal"


def test_version(bct):
    assert re.search(r"\d+\.\d+\.\d+", bct.run("version").stdout.decode())
    told = bct.run("version", "-v").stdout.decode().lower()
    for library in ("lmdb", "zstd", "netcdf"):
        assert library in told
    assert isinstance(bct.json("version"), dict)


@pytest.mark.parametrize("args, said", [
    (["qury"], ["qury", "query"]),
    (["ingest", "netcfd", "S", "F"], ["netcfd", "netcdf"]),
    (["query"], "STORE"),
    (["query", "S", "--vra", "t2m"], ["--vra", "--var"]),
    (["query", "S", "--var"], "--var"),
    (["query", "S", "T"], "T"),
    (["query", "S", "--var", "t2"], ["t2", "did you mean", "t2m"]),
    (["query", "S", "--var", "t2m", "--bbox", "1,2,3"], ["1,2,3", "west,south,east,north"]),
    (["query", "S", "--var", "t2m", "--bbox", "1,60,2,50"], "60"),
    (["query", "S", "--var", "t2m", "--bbox", "1,50,2,95"], "95"),
    (["query", "S", "--var", "t2m", "--at", "51.5"], ["51.5", "latitude,longitude"]),
    (["query", "S", "--var", "t2m", "--at", "95,0"], "95"),
    (["query", "S", "--var", "t2m", "--time", "2019-13"], "2019-13"),
    (["query", "S", "--var", "t2m", "--time", "2019-03/2018"], "2018"),
    (["query", "S", "--var", "t2m", "--time", "2025"], ["surface/t2m", "2019-03-01"]),
    (["query", "S", "--var", "t", "--level", "700"], ["700", "850"]),
    (["query", "S", "--var", "t2m", "--level", "700"], "level"),
    (["query", "S", "--var", "t2m", "--agg", "median:1d"], ["median", "mean"]),
    (["query", "S", "--var", "t2m", "--agg", "mean"], "mean"),
    (["query", "S", "--var", "t2m", "--every", "0"], "0"),
    (["query", "S", "--var", "t2m", "--memory", "12x"], "12x"),
    (["query", "S", "--var", "t2m", "--memory", "1k"], ["memory"]),
    (["query", "S", "--var", "t2m", "--threads", "0"], "threads"),
    (["query", "S", "--var", "t2m", "-f", "xls", "-o", "-"], ["xls", "csv"]),
    (["query", "S", "--var", "t2m", "--points", "/nowhere/p.csv"], "/nowhere/p.csv"),
    (["query", "nowhere.bcube", "--var", "t2m"], "nowhere.bcube"),
    (["info", "/"], "/"),
    (["create", "S"], "exist"),
    (["create", "new.bcube", "--grid", "wgs84"], ["wgs84", "wgs84-0p25"]),
    (["create", "new.bcube", "--cell", "0"], "cell"),
    (["create", "nowhere/new.bcube"], "nowhere"),
    (["ingest", "netcdf", "S"], "FILE"),
    (["ingest", "netcdf", "S", "x.nc", "--codec", "lzma"], "lzma"),
    (["ingest", "netcdf", "S", "x.nc", "--regrid", "cubic"], ["cubic", "bilinear"]),
    (["plot", "S", "--var", "t2m"], "-o"),
    (["verify", "S", "--quick", "--full"], "full"),
], ids=lambda a: " ".join(a) if isinstance(a, list) else None)
def test_usage_errors(bct, store, tmp_path, args, said):
    args = [str(store) if a == "S" else a for a in args]
    done = bct.run(*args, code=2, cwd=tmp_path)
    assert not done.stdout
    lines = done.stderr.decode().splitlines()
    assert 1 <= len(lines) <= 2 and lines[0].startswith("bctool"), lines
    for text in [said] if isinstance(said, str) else said:
        assert text.lower() in done.stderr.decode().lower(), lines
    assert list(tmp_path.iterdir()) == []


def test_one_name_in_two_groups(bct, mkcube, tmp_path):
    store = bct.create(tmp_path / "s.bcube")
    small = ["--bbox", "0,40,2,42"]
    bct.ingest(store, mkcube(tmp_path / "a.nc", "--var", "t2m,msl", *small))
    bct.ingest(store, mkcube(tmp_path / "b.nc", "--var", "t2m,tp,d2m", *small))
    bct.refused("query", store, "--var", "t2m", code=2, said=["climate", "surface"])
    assert bct.npy(store, "--var", "climate/t2m", "--bbox=0,40,2,42").shape == (24, 9, 9)


def test_answer_no_is_1(bct, store):
    done = bct.run("query", store, "--var", "t2m", "--time", "2025", "--fail-empty", code=1)
    assert not done.stdout


def test_off_the_lattice_names_the_offset(bct, store, tmp_path):
    file = real("era5/newcds_sl_data_stream-oper_stepType-instant.nc")
    line = bct.refused("ingest", "netcdf", store, file, code=2, said=["--regrid"])
    assert re.search(r"0\.05|55\.05", line), "position and offset are told"
    for how in ("nearest", "bilinear", "mean"):
        bct.ingest(bct.create(tmp_path / f"{how}.bcube"), file, args=["--regrid", how])


def test_quiet_says_nothing_verbose_says_where(bct, store):
    assert not bct.run("query", store, "--var", "t2m", "--at", "51.5,0", "-f", "csv", "-o", "-", "-q").stderr
    told = bct.run("query", store, "--var", "t2", "-v", code=2).stderr.decode()
    assert re.search(r"\.c:\d+", told)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_names_of_files_from_a_list(bct, mkcube, tmp_path, end):
    files = [mkcube(tmp_path / f"{name}.nc", "--var", "t2m", "--bbox", "0,50,1,51", "--from", f"2019-03-0{i}T00", "--to",
                    f"2019-03-0{i}T00") for i, name in enumerate(["a b", "it's", "c"], 1)]
    names = end.join(["", *map(str, files[1:])])
    (tmp_path / "list").write_bytes(names.encode())
    store = bct.create(tmp_path / "s.bcube")
    assert bct.report(store, files[0], args=["--files-from", tmp_path / "list"])["files"] == 3
    done = bct.run("ingest", "netcdf", store, "--files-from", "-", "--json", stdin=(names + end).encode())
    assert json.loads(done.stdout)["files_skipped"] == 2
    bct.refused("ingest", "netcdf", store, "--files-from", tmp_path / "no", code=2, said=["--files-from", "no"])
    (tmp_path / "list").write_bytes(b"\n\n")
    bct.refused("ingest", "netcdf", store, "--files-from", tmp_path / "list", code=2, said=["no file is named"])
    bct.refused("ingest", "netcdf", store, code=2, said=["FILE is missing"])


def test_dry_run_writes_nothing(bct, store, tmp_path):
    out = tmp_path / "x.npy"
    bct.run("query", store, "--var", "t2m", "-o", out, "--dry-run")
    assert not out.exists()
    before = bct.state(store)
    file = real("era5/era5_t2m_uk_2019-03_hourly.legacy.nc")
    report = bct.report(store, file, args=["--dry-run"])
    assert report["decoded_bytes"] == 744 * 33 * 49 * 4 and report["memory"] > 0
    assert bct.state(store) == before


def test_a_refused_file_leaves_no_trace(bct, mkcube, tmp_path):
    """Neither its values nor what it would have added to the variables: levels, attributes, other variables."""
    def make(name, first, last, *args):
        return mkcube(tmp_path / name, "--bbox", "0,40,3,43", "--from", first, "--to", last, "--step", "6h", *args)

    def schema(store):
        bct.run("query", store, "--var", "t", "-f", "nc", "-o", tmp_path / "t.nc", "--overwrite")
        with netCDF4.Dataset(tmp_path / "t.nc") as ds:
            told = repr({k: ds["t"].getncattr(k) for k in ds["t"].ncattrs()}), list(ds[ds["t"].dimensions[1]][:])
        return bct.json("ls", store), told

    first = make("1.nc", "2019-03-01", "2019-03-02", "--var", "t", "--level", "850,500")
    bad = make("2.nc", "2019-03-01", "2019-03-03", "--var", "t,z", "--level", "850,700", "--seed", "2")
    with netCDF4.Dataset(bad, "a") as ds:
        ds["t"].remark = "of the refused one"
    good = make("3.nc", "2019-03-05", "2019-03-06", "--var", "t", "--level", "500,300")
    stores = [bct.create(tmp_path / f"{i}.bcube") for i in range(3)]
    bct.ingest(stores[0], first)
    before = schema(stores[0])
    bct.ingest(stores[0], bad, code=2)
    assert schema(stores[0]) == before
    bct.ingest(stores[1], first, bad, code=2, args=["--keep-going"])  # the first waits for its commit yet
    assert schema(stores[1]) == before
    bct.ingest(stores[0], bad, good, code=2, args=["--keep-going"])
    bct.ingest(stores[2], first, good)
    assert schema(stores[0]) == schema(stores[2]) and schema(stores[2]) != before


def test_closed_pipe_is_no_crash(bct, store):
    run = subprocess.Popen([bct.path, "query", store, "--var", "t2m", "-f", "csv", "-o", "-", "-q"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdout.readline()
    run.stdout.close()
    said = run.stderr.read().decode()
    assert run.wait() in (0, 4, 141, -13) and "anitizer" not in said, said


def test_full_stdout_is_an_error(bct, store):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full:
        for args in (["info", store], ["query", store, "--var", "t2m", "-f", "npy", "-o", "-"]):
            done = subprocess.run([bct.path, *map(str, args)], stdout=full, stderr=subprocess.PIPE)
            assert done.returncode == 4 and b"space" in done.stderr.lower(), done.stderr


def test_stats_are_numpys(bct, store):
    import numpy as np
    values = bct.npy(store, "--var", "t2m", "--bbox=-10,50,2,58").astype(np.float64)
    rows = bct.json("stats", store)
    rows = rows if isinstance(rows, list) else rows["variables"]
    row = next(r for r in rows if r["name"] == "t2m")
    assert row["min"] == values.min() and row["max"] == values.max()
    assert abs(row["mean"] - values.mean()) < 1e-9 * abs(values.mean())
    assert abs(row["std"] - values.std()) < 1e-6 * values.std()


def test_another_quantity_under_one_name_is_told_of(bct, mkcube, tmp_path):
    """Hourly values, then daily means: a note, and the first ones do not become means."""
    files = []
    for i, (first, last, step) in enumerate([("2019-03-01", "2019-03-02", "1h"), ("2019-03-03", "2019-03-06", "1d")]):
        files.append(mkcube(tmp_path / f"{i}.nc", "--var", "t2m", "--bbox", "0,40,3,43", "--from", first, "--to", last, "--step", step))
    with netCDF4.Dataset(files[0], "a") as ds:
        ds["t2m"].delncattr("long_name")
    with netCDF4.Dataset(files[1], "a") as ds:
        ds["t2m"].cell_methods = "time: mean"
        ds["t2m"].long_name = "daily mean"
    store = bct.create(tmp_path / "s.bcube")
    assert "note" not in bct.ingest(store, files[0]).stderr.decode()
    said = bct.ingest(store, files[1]).stderr.decode()
    assert 't2m: cell_methods is "time: mean" here and "" in the store' in said and "--group" in said
    attrs = bct.json("ls", store)[0]["attributes"]
    assert "cell_methods" not in attrs and "long_name" not in attrs and attrs


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 1, 0), (1, 0, 2)])
def test_the_usual_step_does_not_depend_on_the_order_of_files(bct, mkcube, tmp_path, order):
    spans = [("1995-07-01", "1995-07-01", "1d"), ("2021-03-01", "2021-03-05", "1d"), ("2021-03-08", "2021-03-09", "1h")]
    files = [mkcube(tmp_path / f"{i}.nc", "--var", "t2m", "--bbox", "0,40,3,43", "--from", a, "--to", b, "--step", step)
             for i, (a, b, step) in enumerate(spans)]
    store = bct.create(tmp_path / "s.bcube")
    bct.ingest(store, *[files[i] for i in order])
    assert bct.json("ls", store, "--long")[0]["cadence"] == 3600
