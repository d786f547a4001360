"""Random stores, damaged at random, mended by what verify prints and nothing else.

Each trial: files with overlaps are ingested with random options, the store may be compacted, then segments are cut,
flipped, exchanged, overwritten or removed; in a second kind the index too, or a copy of another day is put back.
Held at every step: an answer without a warning is the right one, --skip-damaged shows no value that was replaced,
and a store that verify --full calls whole answers as it did. At the end, verify must be content within a few rounds.
"""
import io
import random
import re
import shlex
import shutil

import numpy as np
import pytest
from conftest import LONG

STORES = 12 if LONG else 2
TRIALS = 6 if LONG else 3
ROUNDS = 6
AREA = ["--bbox", "0,40,7,47"]
#  name           variables  from          to            other arguments of mkcube
FILES = [
    ("a.nc", "u10,msl", "2019-03-01", "2019-03-05", ["--step", "6h"]),
    ("b.nc", "u10,msl", "2019-03-04", "2019-03-20", ["--step", "6h", "--layout", "legacy"]),
    ("c.nc", "u10,msl", "2019-03-28", "2019-04-03", ["--step", "6h"]),
    ("d.nc", "t2m,u10", "2019-03-03", "2019-04-02", ["--step", "12h"]),
    ("e.nc", "t2m,v10", "2019-03-10", "2019-03-12", ["--step", "1h", "--layout", "legacy"]),
    ("g h.nc", "t2m,msl", "2019-03-11", "2019-04-11", ["--step", "1d"]),
    ("it's.nc", "u10,v10", "2019-03-01", "2019-03-31", ["--step", "1d"]),
    ("p.nc", "t,z", "2019-03-30", "2019-04-02", ["--step", "12h", "--level", "850,500"]),
    ("r.nc", "t,z", "2019-04-01", "2019-04-04", ["--step", "6h", "--level", "500,300", "--layout", "legacy"]),
]
LAST = ("last.nc", "u10,msl", "2019-03-02", "2019-03-06", ["--step", "6h"])
PARTS = ["1,41,6,45", "0,40,4,44", "2,42,7,47"]
SPANS = ["2019-03", "2019-03-02/2019-03-12", "2019-03-10/.."]


@pytest.fixture(scope="module")
def files(mkcube, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for seed, (name, variables, first, last, more) in enumerate([*FILES, LAST]):
        mkcube(folder / name, "--var", variables, *AREA, "--from", first, "--to", last, "--seed", seed + 1, *more)
    return folder


# ---- a store, and what it holds ----


def ingest_options(rng, variables):
    options = []
    if rng.random() < .15:
        options += ["--var", rng.choice(variables.split(","))]
    if rng.random() < .15:
        options += ["--time", rng.choice(SPANS)]
    if rng.random() < .15:
        options += ["--bbox", rng.choice(PARTS)]
    if rng.random() < .15:
        options += ["--layout", rng.choice(["map", "series", "map+series"])]
    if rng.random() < .1:
        options += ["--codec", "raw"]
    if rng.random() < .1:
        options += ["--bucket", rng.choice(["day", "month", "year"])]
    return options


class Made:
    """The store, the ingests that made it, copies of its index after each commit, and its values."""

    def __init__(self, bct, files, folder, seed):
        rng = random.Random(seed)
        self.bct, self.files, self.path = bct, files, folder / "s.bcube"
        self.ingests, self.indices = [], []
        bct.create(self.path, *AREA, "--cell", rng.choice(["8", "16", "32"]))
        chosen = rng.sample(FILES, rng.randint(4, len(FILES)))
        compact = rng.choice(["never", "never", "mid", "end", "often"])
        for i, (name, variables, *_) in enumerate(chosen):
            self.ingest(name, ingest_options(rng, variables))
            if rng.random() < .25:  # one of those before comes again
                again, *options = rng.choice(self.ingests or [[name]])
                self.ingest(again, options)
            if (compact == "often" and rng.random() < .4 or compact == "mid" and i == len(chosen) // 2
                    or compact == "end" and i == len(chosen) - 1):
                bct.run("compact", self.path)
                self.keep_index()
        self.values = values(bct, self.path, names(bct, self.path))
        after = folder / "after.bcube"
        shutil.copytree(self.path, after)
        bct.run("ingest", "netcdf", after, files / LAST[0], "--replace")
        self.values_after = values(bct, after, names(bct, after))

    def keep_index(self):
        self.indices.append((self.path / "index" / "data.mdb").read_bytes())

    def ingest(self, name, options):
        done = self.bct.run("ingest", "netcdf", self.path, self.files / name, *options, "--replace", code=None)
        if done.returncode == 0:
            self.ingests.append([name, *options])
            self.keep_index()
        else:
            assert done.returncode == 2 and "--time" in options, done.stderr  # nothing of it is in that span


def names(bct, store):
    return [f"{row['group']}/{row['name']}" for row in bct.json("ls", store) if row["steps"] > 0]


def read(bct, store, variable, *more):
    """Exit code, arrays, whether anything was said on stderr."""
    done = bct.run("query", store, "--var", variable, "-f", "npz", "-o", "-", "-q", *more, code=None)
    assert 0 <= done.returncode <= 4, (variable, done.returncode, done.stderr)
    if done.returncode != 0:
        return done.returncode, None, True
    with np.load(io.BytesIO(done.stdout)) as f:
        return 0, {k: f[k] for k in f.files}, done.stderr != b""


def values(bct, store, variables):
    out = {}
    for v in variables:
        code, arrays, warned = read(bct, store, v)
        assert code == 0 and not warned, v
        out[v] = arrays
    return out


AXES = ["time", "level", "pressure_level", "latitude", "longitude"]


def differences(have, want, variable):
    """Values that are not those wanted; missing ones, and steps and nodes that are not there, count apart."""
    name = variable.split("/")[1]
    axes = [a for a in AXES if a in want]
    places = [[{x: i for i, x in enumerate(want[a].tolist())}.get(x, -1) for x in have[a].tolist()] for a in axes]
    there = np.ix_(*[np.array([i >= 0 for i in p]) for p in places])
    expected = np.full(have[name].shape, np.nan, np.float32)
    expected[there] = want[name][np.ix_(*[[i for i in p if i >= 0] for p in places])]
    lacks = np.isnan(have[name]) & ~np.isnan(expected)
    wrong = (have[name].view("u4") != expected.view("u4")) & ~np.isnan(have[name])
    return int(wrong.sum()), int(lacks.sum()) + want[name].size - there_size(places)


def there_size(places):
    return int(np.prod([sum(i >= 0 for i in p) for p in places]))


# ---- damage ----


def put(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


def flip(rng, path, times):
    data = path.read_bytes()
    for _ in range(times):
        at = rng.randrange(len(data))
        put(path, at, bytes([data[at] ^ 1 << rng.randrange(8)]))


def damage_segment(rng, store):
    segments = sorted((store / "segments").glob("*.seg"))
    if not segments:
        return "nothing left"
    path, other, what = rng.choice(segments), rng.choice(segments), rng.choice(
        ["flip", "flip", "flip", "zero", "cut", "remove", "remove", "exchange", "overwrite"])
    size = path.stat().st_size
    if size == 0 or what == "remove":
        path.unlink()
    elif what == "flip":
        flip(rng, path, rng.choice([1, 1, 5]))
    elif what == "zero":
        at = rng.randrange(size)
        put(path, at, bytes(min(size - at, rng.choice([16, 512, 4096]))))
    elif what == "cut":
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data[:rng.choice([0, 1, 64, size // 2, size - 64, size - 1, rng.randrange(size)])])
    elif what == "exchange":
        a, b = path.read_bytes(), other.read_bytes()
        path.write_bytes(b)
        other.write_bytes(a)
    else:
        path.write_bytes(other.read_bytes())
    return f"{what} {path.name[-7:-4]}" + (f" {other.name[-7:-4]}" if what in ("exchange", "overwrite") else "")


def damage_index(rng, store, made):
    path, what = store / "index" / "data.mdb", rng.choice(["remove", "remove", "cut", "older", "older", "older"])
    if what == "older" and len(made.indices) > 1:
        back = rng.randint(1, min(3, len(made.indices) - 1))
        path.write_bytes(made.indices[-1 - back])
        return f"index older by {back}"
    if what == "cut":
        path.write_bytes(path.read_bytes()[:rng.choice([0, 100, 4096, 8192])])
        return "index cut"
    shutil.rmtree(path.parent)
    return "index removed"


# ---- holding what must hold, and mending ----


class Trial:
    def __init__(self, made, store, index_lost):
        self.made, self.bct, self.store, self.index_lost, self.log = made, made.bct, store, index_lost, []
        self.want, self.last_in = made.values, False

    def told(self, *more):
        """The story of the trial, for who reads why it failed."""
        return "\n".join(map(str, ["", *self.made.ingests, *self.log, *more]))

    def verify(self, *more):
        done = self.bct.run("verify", self.store, *more, code=None)
        assert done.returncode in (0, 3), self.told(done.stdout, done.stderr)
        return done.returncode == 0, done.stdout.decode()

    def hold(self):
        whole, said = self.verify("--full")
        for v, want in self.want.items():
            code, have, warned = read(self.bct, self.store, v)
            if whole:
                assert code == 0 and differences(have, want, v) == (0, 0), self.told(v, code)
            elif code == 0 and not warned:
                assert differences(have, want, v) == (0, 0), self.told(v, said)
            if code != 0 and not self.index_lost:
                assert code == 3, self.told(v, code)
                code, have, _ = read(self.bct, self.store, v, "--skip-damaged")
                assert code == 3 or code == 0 and differences(have, want, v)[0] == 0, self.told(v, code, said)
        return whole

    def run(self, command):
        """A command as it was printed; files are named without their folder."""
        for one in command.split(" && "):
            words = shlex.split(one)
            assert words[0] == "bctool" and words[1] in ("ingest", "compact", "reindex"), command
            words = words[1:] + ([str(self.store)] if len(words) == 2 else [])
            done = self.bct.run(*words, code=None, cwd=self.made.files)
            self.log.append((words, done.returncode, done.stderr.decode()[-200:]))
            assert done.returncode in (0, 3), self.told()

    def ingest_all_again(self):
        for name, *options in [*self.made.ingests, *([[LAST[0]]] if self.last_in else [])]:
            self.run(shlex.join(["bctool", "ingest", "netcdf", str(self.store), name, *options, "--replace"]))
        self.run(shlex.join(["bctool", "compact", str(self.store), "--forget-lost"]))

    def mend_once(self, said):
        everything = re.search(r"^to mend all of it: (.*)$", said, re.M)
        reindex = re.search(r"run bctool reindex \S+$", said, re.M)
        if reindex:
            self.run("bctool reindex")
        elif "ingest all files again" in said:
            self.ingest_all_again()
        elif everything:
            self.run(everything.group(1))
        else:
            told = re.findall(r"(?:to mend it(?: \(command \d+\))?: |run )(bctool .*)$", said, re.M)
            assert told, said
            for command in dict.fromkeys(told):
                self.run(command)

    def mend(self, rng):
        for _ in range(ROUNDS):
            whole, said = self.verify(*rng.choice([[], ["--full"]]))
            if whole:
                whole, said = self.verify("--full")
            if whole:
                return
            self.mend_once(said)
            self.hold()
        assert self.verify("--full")[0], self.told(said)


def trial(made, folder, seed, index_too):
    rng = random.Random(seed)
    store = folder / f"w{seed}.bcube"
    shutil.copytree(made.path, store)
    t = Trial(made, store, index_too)
    whats = [lambda: damage_segment(rng, store) for _ in range(rng.randint(0 if index_too else 1, 4))]
    if index_too:
        whats.insert(rng.randint(0, len(whats)), lambda: damage_index(rng, store, made))
    t.log += [what() for what in whats]
    t.hold()
    if index_too and rng.random() < .3:
        done = made.bct.run("ingest", "netcdf", store, made.files / LAST[0], "--replace", code=None)
        t.log.append(("ingest", LAST[0], done.returncode))
        assert done.returncode in (0, 3), t.told(done.stderr)
        if done.returncode == 0:
            t.want, t.last_in = made.values_after, True
        t.hold()
    t.mend(rng)
    made.bct.run("compact", store)
    assert t.hold(), t.told()
    shutil.rmtree(store)


@pytest.mark.parametrize("index_too", [False, True], ids=["segments", "index and segments"])
@pytest.mark.parametrize("seed", range(STORES))
def test_what_verify_prints_mends_any_damage(bct, files, tmp_path, seed, index_too):
    made = Made(bct, files, tmp_path, seed)
    for k in range(TRIALS):
        trial(made, tmp_path, 100 * seed + k, index_too)
    print(f"stores mended: {TRIALS}, damaged in their {'index and ' if index_too else ''}segments")
