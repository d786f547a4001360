"""Nothing that was committed is lost and nothing half-written is seen: kills, full disks, broken files."""
import contextlib
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import netCDF4
import numpy as np
import pytest
from conftest import LONG, ROOT, Cube, assert_same, real, same_bits

KILLS = 100 if LONG else 20
AREA = ["--bbox", "-16,40,16,62"]


@pytest.fixture(scope="module")
def files(mkcube, tmp_path_factory):
    """Three files that together take an ingest some seconds: two halves of a month, and levels."""
    folder = tmp_path_factory.mktemp("files")
    return [
        mkcube(folder / "a.nc", "--var", "t2m,u10", *AREA, "--from", "2019-03-01", "--to", "2019-03-06"),
        mkcube(folder / "b.nc", "--var", "t2m,u10", *AREA, "--from", "2019-03-07", "--to", "2019-03-12"),
        mkcube(folder / "l.nc", "--var", "t", "--level", "850,500", *AREA, "--step", "6h", "--from", "2019-03-01",
               "--to", "2019-03-08", "--layout", "legacy"),
    ]


@pytest.fixture(scope="module")
def undisturbed(bct, files, tmp_path_factory):
    store = bct.create(tmp_path_factory.mktemp("undisturbed") / "s.bcube")
    begin = time.monotonic()
    bct.ingest(store, *files)
    return store, time.monotonic() - begin, answers(bct, store)


def answers(bct, store):
    """Values of every variable over the whole area, and what ls says of them beside sizes."""
    rows = {(r["group"], r["name"]): [r[k] for k in ("units", "levels", "first", "last", "steps", "gaps", "cadence")]
            for r in bct.json("ls", store)}
    values = {k: bct.npy(store, "--var", "/".join(k), "--bbox=-16,40,16,62") for k in sorted(rows)}
    return rows, values


def assert_equal(bct, store, expected):
    rows, values = answers(bct, store)
    assert rows == expected[0]
    for key, value in expected[1].items():
        assert same_bits(values[key], value), key


def check(bct, store):
    found = bct.json("verify", store, "--full")
    assert found["damaged"] == 0, found


def start(bct, store, files, *args, **kwargs):
    return subprocess.Popen([bct.path, "ingest", "netcdf", store, *map(str, files), "-q", *args],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **kwargs)


def test_undisturbed_store_holds_the_files(bct, files, undisturbed):
    got = {k[1]: v for k, v in undisturbed[2][1].items()}
    t2m = np.concatenate([Cube(f, "t2m").values[:, 0] for f in files[:2]])
    assert_same(got["t2m"], t2m, "t2m")
    assert_same(got["t"], Cube(files[2], "t").values, "t")


def test_killed_at_any_moment_the_same_command_finishes(bct, files, undisturbed, tmp_path):
    _, seconds, expected = undisturbed
    rng = random.Random(int(os.environ.get("BC_SEED", "1")))
    killed = 0
    for i in range(KILLS):
        store = bct.create(tmp_path / f"{i}.bcube")
        args = rng.choice([[], [], ["--threads", "2"], ["--memory", "32M"]])
        for _ in range(rng.choice([1, 1, 2, 3])):
            run = start(bct, store, files, *args)
            try:
                run.wait(rng.uniform(0, seconds * 1.05))
            except subprocess.TimeoutExpired:
                killed += 1
            run.send_signal(signal.SIGKILL)
            run.communicate()
            bct.run("info", store, "--json")  # a reader finds a whole store at any time
        bct.run("verify", store, "--quick")
        bct.ingest(store, *files, args=args)
        check(bct, store)
        assert_equal(bct, store, expected)
        shutil.rmtree(store)
    assert killed > KILLS / 2, f"only {killed} kills hit a running ingest"


def test_interrupt_is_130_and_resumes(bct, files, undisturbed, tmp_path):
    store = bct.create(tmp_path / "s.bcube")
    run = start(bct, store, files)
    time.sleep(undisturbed[1] / 2)
    run.send_signal(signal.SIGINT)
    said = run.communicate()[1].decode()
    assert run.returncode in (0, 130), said
    if run.returncode == 130:
        assert said.count("\n") == 1
    bct.ingest(store, *files)
    check(bct, store)
    assert_equal(bct, store, undisturbed[2])


def test_second_ingest_adds_nothing(bct, files, undisturbed):
    store = undisturbed[0]
    before = bct.state(store)
    report = bct.report(store, *files)
    assert report["files"] == 0 and report["files_skipped"] == 3 and report["tiles"] == 0
    assert bct.state(store) == before


def test_same_content_under_another_name_is_skipped(bct, files, undisturbed, tmp_path):
    copy = shutil.copy(files[0], tmp_path / "other.nc")
    assert bct.report(undisturbed[0], copy)["files_skipped"] == 1


def test_files_in_any_order_give_one_store(bct, files, undisturbed, tmp_path):
    store = bct.create(tmp_path / "s.bcube")
    for f in reversed(files):
        bct.ingest(store, f)
    assert_equal(bct, store, undisturbed[2])


@pytest.fixture(scope="module")
def overlapping(mkcube, tmp_path_factory):
    """Days 1-3; days 3-4 with equal values; day 3 of another world."""
    folder = tmp_path_factory.mktemp("overlap")
    small = ["--var", "t2m", "--bbox", "0,40,6,46"]
    return (mkcube(folder / "a.nc", *small, "--from", "2019-03-01", "--to", "2019-03-03"),
            mkcube(folder / "b.nc", *small, "--from", "2019-03-03", "--to", "2019-03-04"),
            mkcube(folder / "c.nc", *small, "--from", "2019-03-03", "--to", "2019-03-04", "--seed", "2"))


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("why", ["units", "levels"])
def test_a_refused_file_takes_nothing_from_those_before_it(bct, mkcube, tmp_path, at, why):
    """None of them is in the store yet when the next is looked at."""
    days = [f"2019-03-0{d}" for d in range(1, 5)]
    files = [mkcube(tmp_path / f"{d}.nc", "--var", "t2m,msl", "--bbox", "0,50,2,52", "--step", "6h", "--from", d, "--to", d)
             for d in days]
    if why == "levels":
        files[at] = mkcube(tmp_path / "odd.nc", "--var", "t", "--bbox", "0,50,2,52", "--level", "850",
                           "--from", "2019-03-09T00", "--to", "2019-03-09T00")
    with netCDF4.Dataset(files[at], "r+") as f:
        if why == "units":
            f["t2m"].units = "degC"
        else:
            f.renameVariable("t", "msl")
            f["msl"].units = "Pa"
            f["msl"].standard_name = "air_pressure_at_mean_sea_level"
    store = bct.create(tmp_path / "s.bcube")
    bct.run("ingest", "netcdf", store, *files, "--keep-going", code=2)
    want = bct.create(tmp_path / "want.bcube")
    bct.ingest(want, *files[:at], *files[at + 1:])
    for v in ("t2m", "msl"):
        assert same_bits(bct.npy(store, "--var", v), bct.npy(want, "--var", v)), v
    stopped = bct.create(tmp_path / "stopped.bcube")
    bct.run("ingest", "netcdf", stopped, *files, code=2)
    for v in ("t2m", "msl"):
        assert same_bits(bct.npy(stopped, "--var", v), bct.npy(want, "--var", v, "--time", f"../{days[at - 1]}")), v


def test_equal_overlap_adds_only_what_is_new(bct, overlapping, tmp_path):
    a, b, _ = overlapping
    store = bct.create(tmp_path / "s.bcube")
    bct.ingest(store, a)
    report = bct.report(store, b)
    assert report["steps_equal"] == 24 and report["steps"] == 24
    both = np.concatenate([Cube(a, "t2m").values, Cube(b, "t2m").values[24:]])[:, 0]
    assert_same(bct.npy(store, "--var", "t2m", "--bbox=0,40,6,46"), both)
    check(bct, store)


def test_conflict_is_refused_then_replaced(bct, overlapping, tmp_path):
    a, _, c = overlapping
    store = bct.create(tmp_path / "s.bcube")
    bct.ingest(store, a)
    before = bct.npy(store, "--var", "t2m", "--bbox=0,40,6,46")
    bct.refused("ingest", "netcdf", store, c, code=2, said=["t2m", "2019-03-03", "--replace"])
    rows = bct.json("ls", store)
    assert rows[0]["steps"] == 72, "a refused file leaves no steps"
    assert_same(bct.npy(store, "--var", "t2m", "--bbox=0,40,6,46"), before)
    check(bct, store)
    bct.ingest(store, c, args=["--replace"])
    now = np.concatenate([Cube(a, "t2m").values[:48], Cube(c, "t2m").values])[:, 0]
    assert_same(bct.npy(store, "--var", "t2m", "--bbox=0,40,6,46"), now)
    check(bct, store)


def test_reader_during_ingest_sees_whole_steps(bct, files, undisturbed, tmp_path):
    store = bct.create(tmp_path / "s.bcube")
    run = start(bct, store, files)
    expected = {k[1]: v for k, v in undisturbed[2][1].items()}
    while run.poll() is None:
        if any(r["name"] == "t2m" and r["tiles"] for r in bct.json("ls", store)):
            got = bct.npy(store, "--var", "t2m", "--bbox=-16,40,16,62")
            known = ~np.isnan(got)
            assert np.array_equal(got[known], expected["t2m"][: len(got)][known])
    assert run.wait() == 0, run.communicate()[1]
    assert_equal(bct, store, undisturbed[2])


def test_two_writers(bct, files, undisturbed, tmp_path):
    store = bct.create(tmp_path / "s.bcube")
    run = start(bct, store, files)
    time.sleep(min(1.0, undisturbed[1] / 3))
    second = bct.run("ingest", "netcdf", store, files[0], code=None)
    run.communicate()
    assert run.returncode == 0 and second.returncode in (0, 4)
    if second.returncode == 4:
        assert str(run.pid) in second.stderr.decode(), "the holder is named"
    assert_equal(bct, store, undisturbed[2])


# ---- disks ----

def limited(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [20_000, 100_000, 400_000, 1_500_000])
def test_file_size_limit(bct, files, undisturbed, tmp_path, size):
    store = bct.create(tmp_path / "s.bcube")
    run = start(bct, store, files, preexec_fn=limited(size))
    said = run.communicate()[1].decode()
    assert run.returncode == 4 and said.count("\n") == 1, (run.returncode, said)
    check(bct, store)
    bct.ingest(store, *files)
    assert_equal(bct, store, undisturbed[2])


def test_file_size_limit_inside_a_file(bct, mkcube, tmp_path):
    """Tiles of a variable that is new wait in the commit that fails, and the file is not at its end."""
    file = mkcube(tmp_path / "a.nc", "--var", "t2m", "--bbox", "0,30,40,60", "--from", "2019-03-01", "--to", "2019-03-12")
    store = bct.create(tmp_path / "s.bcube", "--cell", "64")
    before = bct.json("info", store)
    command = [bct.path, "ingest", "netcdf", str(store), str(file), "--memory", "32M", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited(200_000))
    assert done.returncode == 4 and done.stderr.count("\n") == 1, (done.returncode, done.stderr)
    assert bct.json("info", store) == before
    bct.run("verify", store, "--full")


def test_file_size_limit_on_outputs(bct, undisturbed, tmp_path):
    out = tmp_path / "x"
    for form in ("npy", "npz", "safetensors", "csv", "json", "netcdf"):
        command = [bct.path, "query", undisturbed[0], "--var", "t2m", "-f", form, "-o", out]
        done = subprocess.run(command, capture_output=True, preexec_fn=limited(100_000))
        said = [x for x in done.stderr.decode().splitlines() if x.startswith("bctool")]
        assert done.returncode == 4 and len(said) == 1, (form, done.returncode, done.stderr)
        assert list(tmp_path.iterdir()) == [], f"{form}: complete or not at all"


@contextlib.contextmanager
def small_disk(size):
    """A tmpfs of that size; needs root."""
    folder = pathlib.Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        folder.rmdir()
        pytest.skip(f"FULL DISK NOT TESTED: no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def test_full_disk(bct, files, undisturbed, tmp_path):
    with small_disk("700k") as disk:
        store = bct.create(disk / "s.bcube")
        line = bct.refused("ingest", "netcdf", store, *files, code=4, said="space")
        assert "tmp" in line or "s.bcube" in line, "the message says where"
        check(bct, store)
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        bct.ingest(store, *files)
        check(bct, store)
        assert_equal(bct, store, undisturbed[2])


@pytest.fixture
def unprivileged(bct):
    """A way to run bctool as somebody who may not write everywhere, and a folder that both can use."""
    folder = pathlib.Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    tool = shutil.copy(bct.path, folder / "bctool")
    prefix = []
    if os.getuid() == 0:
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        probe = subprocess.run([*prefix, tool, "version"], capture_output=True, text=True)
        if probe.returncode != 0:
            shutil.rmtree(folder)
            pytest.skip(f"READ-ONLY FOLDER NOT TESTED: cannot become another user: {probe.stderr.strip()}")

    def run(*args):
        return subprocess.run([*prefix, tool, *map(str, args)], capture_output=True, text=True)

    yield run, folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder)


def test_read_only_store_and_folder(bct, files, unprivileged):
    run, folder = unprivileged
    (folder / "d").mkdir()
    store = bct.create(folder / "d" / "s.bcube")
    data = shutil.copy(files[0], folder / "a.nc")
    os.chmod(data, 0o644)
    bct.ingest(store, data)
    subprocess.run(["chmod", "-R", "a+rX,a-w", folder / "d"], check=True)
    state = bct.state(store)
    done = run("create", folder / "d" / "new.bcube")
    assert done.returncode in (2, 4) and done.stderr.count("\n") == 1 and "new.bcube" in done.stderr, done.stderr
    done = run("ingest", "netcdf", store, data)
    assert done.returncode in (2, 4) and done.stderr.count("\n") == 1, done.stderr
    done = run("info", store, "--json")
    assert done.returncode == 0, f"a store on read-only ground can be read: {done.stderr}"
    done = run("query", store, "--var", "t2m", "--time", "2019-03-01", "-o", folder / "d" / "x.npy")
    assert done.returncode in (2, 4) and "x.npy" in done.stderr and "ermission" in done.stderr, done.stderr
    assert bct.state(store) == state


def test_missing_and_unreadable_files(bct, files, unprivileged, tmp_path):
    run, folder = unprivileged
    store = bct.create(tmp_path / "s.bcube")
    before = bct.state(store)
    bct.refused("ingest", "netcdf", store, tmp_path / "nothing.nc", code=2, said=["nothing.nc", "no such file"])
    bct.refused("ingest", "netcdf", store, tmp_path, code=2, said=[tmp_path.name, "folder"])
    bct.refused("info", tmp_path / "nothing.bcube", code=2, said="nothing.bcube")
    assert bct.state(store) == before
    store = bct.create(folder / "s.bcube")
    subprocess.run(["chmod", "-R", "a+rwX", store], check=True)
    secret = shutil.copy(files[0], folder / "secret.nc")
    os.chmod(secret, 0)
    if os.getuid() == 0:
        os.chown(secret, 0, 0)
    done = run("ingest", "netcdf", store, secret)
    assert done.returncode == 4 and "secret.nc" in done.stderr and "read" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


# ---- broken files ----

def lengths(size):
    return [0, 1, 3, 4, 7, 32, 100, 511, 2048, size // 3, size // 2, size - 4096, size - 100, size - 2]


@pytest.mark.parametrize("layout", ["newcds", "legacy"])
def test_truncated_files(bct, mkcube, tmp_path, layout):
    whole = mkcube(tmp_path / "w.nc", "--var", "t2m,u10", "--bbox", "0,40,8,48", "--layout", layout, "--from",
                   "2019-03-01", "--to", "2019-03-02")
    good = mkcube(tmp_path / "g.nc", "--var", "msl", "--bbox", "0,40,8,48")
    data = whole.read_bytes()
    store = bct.create(tmp_path / "s.bcube")
    bct.ingest(store, good)
    before = bct.json("ls", store)
    for n in lengths(len(data)):
        broken = tmp_path / f"broken_{n}.nc"
        broken.write_bytes(data[:n])
        done = bct.run("ingest", "netcdf", store, broken, code=None)
        said = [x for x in done.stderr.decode().splitlines() if x.startswith("bctool")]
        assert done.returncode in ((2, 3) if n < 8 else (3,)), (n, done.returncode, done.stderr)
        assert len(said) == 1 and broken.name in said[0], (n, done.stderr)
        assert bct.json("ls", store) == before, f"cut at {n}: something of it went in"
    check(bct, store)
    bct.ingest(store, whole)
    assert_same(bct.npy(store, "--var", "t2m", "--bbox=0,40,8,48"), Cube(whole, "t2m").values[:, 0])


def test_truncated_real_file(bct, tmp_path):
    data = real("era5/newcds_sl_data_stream-oper_stepType-instant.nc").read_bytes()
    store = bct.create(tmp_path / "s.bcube", "--grid-from", real("era5/newcds_sl_data_stream-oper_stepType-instant.nc"))
    before = bct.state(store)[1]
    for n in lengths(len(data)):
        broken = tmp_path / f"broken_{n}.nc"
        broken.write_bytes(data[:n])
        done = bct.run("ingest", "netcdf", store, broken, code=None)
        assert done.returncode in (2, 3) and broken.name in done.stderr.decode(), (n, done.stderr)
        assert bct.json("ls", store) == before


def test_flipped_bytes_never_crash(bct, mkcube, tmp_path):
    """A damaged netCDF-4 file is refused, or gives what the library reads; never a crash, never a broken store.

    Some make HDF5 itself break down. A program with AddressSanitizer tells so in its own way, so the optimised one is
    asked there: it names the file."""
    optimised = ROOT / "build" / "release" / "tools" / "bctool"
    known = 153  # of these: one that HDF5 1.10 breaks down on
    whole = mkcube(tmp_path / "w.nc", "--var", "t2m", "--bbox", "0,40,4,44")
    data = whole.read_bytes()
    rng = random.Random(5)
    for i in range(200):
        broken = bytearray(data)
        for _ in range(rng.choice([1, 1, 4])):
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        if not LONG and i >= 25 and i != known:
            continue
        (tmp_path / "b.nc").write_bytes(broken)
        store = bct.create(tmp_path / f"{i}.bcube")
        command = ["ingest", "netcdf", store, tmp_path / "b.nc"]
        done = subprocess.run([bct.path, *command], capture_output=True)
        if b"AddressSanitizer" in done.stderr and re.search(rb"#[0-3] .*lib(hdf5|netcdf)", done.stderr):
            done = subprocess.run([optimised, *command], capture_output=True)
            assert b"b.nc: the netCDF library broke down on it" in done.stderr, (i, done.stderr)
        assert b"Sanitizer" not in done.stderr and b"runtime error" not in done.stderr, done.stderr
        assert done.returncode in (0, 2, 3), (i, done.returncode, done.stderr)
        check(bct, store)


def test_damaged_store_is_found_and_located(bct, undisturbed, tmp_path):
    rng = random.Random(3)
    for i in range(40 if LONG else 8):
        store = tmp_path / f"{i}.bcube"
        shutil.copytree(undisturbed[0], store)
        segment = rng.choice(sorted((store / "segments").glob("*.seg")))
        data = bytearray(segment.read_bytes())
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        segment.chmod(0o644)
        segment.write_bytes(data)
        done = bct.run("verify", store, "--full", "--json", code=None)
        assert done.returncode == 3, f"byte {at} of {segment.name}: exit {done.returncode} {done.stderr}"
        done = bct.run("query", store, "--var", "t2m", "-f", "npy", "-o", "-", "-q", code=None)
        assert done.returncode in (0, 3), done.stderr
