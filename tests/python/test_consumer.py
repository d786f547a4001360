"""An outside program is built against the installed library, by CMake and by pkg-config, and run."""
import os
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
from conftest import ROOT

CONSUMER = ROOT / "tests" / "consumer"


def call(*command, **kwargs):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """The release build (tools/test makes it; here it is brought up to date), installed in a folder of its own."""
    call("cmake", "--preset", "release", cwd=ROOT)
    call("cmake", "--build", "--preset", "release", "-j", "2", cwd=ROOT)
    path = tmp_path_factory.mktemp("prefix")
    call("cmake", "--install", ROOT / "build" / "release", "--prefix", path)
    return path


def library_folder(prefix):
    return next(p.parent for p in prefix.rglob("libbiocube.so"))


@pytest.fixture(scope="module")
def store(bct, mkcube, tmp_path_factory):
    """Raw, in one cell, so that windows need no copy."""
    folder = tmp_path_factory.mktemp("consumer")
    file = mkcube(folder / "x.nc", "--var", "t2m", "--bbox", "-10,50,2,58", "--from", "2019-03-01", "--to",
                  "2019-03-02")
    path = bct.create(folder / "c.bcube", "--grid-from", file, "--cell", "full")
    bct.ingest(path, file, args=["--codec", "raw"])
    return path


def check_run(bct, program, prefix, store):
    env = {**os.environ, "LD_LIBRARY_PATH": str(library_folder(prefix))}
    out = call(program, store, "t2m", "-10,50,2,58", "2019-03-01", env=env)
    values = bct.npy(store, "--var", "t2m", "--bbox=-10,50,2,58", "--time", "2019-03-01")
    cube = re.search(r"t2m \[K\] 24 33 49 first (\d+) sum (\S+)", out)
    window = re.search(r"window sum (\S+) copied (\d+)", out)
    assert cube and window, out
    assert int(cube[1]) == 1551398400
    assert np.isclose(float(cube[2]), values.sum(dtype=np.float64), rtol=1e-12)
    assert np.isclose(float(window[1]), values[:2].sum(dtype=np.float64), rtol=1e-12)
    assert window[2] == "0", "not a byte was copied"


@pytest.mark.parametrize("static", ["OFF", "ON"])
def test_by_cmake(bct, prefix, store, tmp_path, static):
    call("cmake", "-S", CONSUMER, "-B", tmp_path / "b", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}",
         f"-DCONSUMER_STATIC={static}")
    call("cmake", "--build", tmp_path / "b")
    check_run(bct, tmp_path / "b" / "consumer", prefix, store)


@pytest.mark.parametrize("mode", [[], ["--static"]], ids=["shared", "static"])
def test_by_pkg_config(bct, prefix, store, tmp_path, mode):
    env = {**os.environ, "PKG_CONFIG_PATH": str(library_folder(prefix) / "pkgconfig")}
    flags = call("pkg-config", *mode, "--cflags", "--libs", "biocube", env=env).split()
    assert call("pkg-config", "--modversion", "biocube", env=env).strip() == "1.0.0"
    if mode:  # the archive instead of the shared library
        flags = [str(library_folder(prefix) / "libbiocube.a") if f == "-lbiocube" else f for f in flags]
    sources = sorted(CONSUMER.glob("*.c"))
    compiler = os.environ.get("CC", "cc")
    call(compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", *sources, "-o", tmp_path / "consumer", *flags)
    check_run(bct, tmp_path / "consumer", prefix, store)


def headers(prefix):
    return sorted((prefix / "include" / "biocube").rglob("*.h"))


def test_each_header_alone_in_c_and_cxx(prefix, tmp_path):
    compilers = [["cc", "-std=c11", "-x", "c"], ["c++", "-std=c++17", "-x", "c++"]]
    assert len(headers(prefix)) == 12
    for h in headers(prefix):
        source = tmp_path / "one.txt"
        source.write_text(f"#include <{h.relative_to(prefix / 'include')}>\nint main(void);\n" * 2)
        for c in compilers:
            if shutil.which(c[0]):
                call(c[0], "-I", prefix / "include", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                     *c[1:], source)


def test_exported_symbols_are_the_public_api(prefix):
    """The shared library shows what the installed headers declare, and nothing else."""
    declared = set()
    for h in headers(prefix):
        text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", h.read_text(), flags=re.S)
        for m in re.finditer(r"^BC_API\b[^;{]*?\b(bc_\w+)\s*\(", text, flags=re.S | re.M):
            declared.add(m[1])
    library = library_folder(prefix) / "libbiocube.so"
    shown = {line.split()[-1].split("@")[0] for line in call("nm", "-D", "--defined-only", library).splitlines()}
    shown -= {"_init", "_fini", "__bss_start", "_edata", "_end"}
    assert declared - shown == set(), "declared, not there"
    assert shown - declared == set(), "there, not declared"
    assert len(declared) > 50


def test_no_build_folder_in_what_is_installed(prefix):
    for p in [*prefix.rglob("*.pc"), *prefix.rglob("*.cmake"), *headers(prefix)]:
        assert str(ROOT) not in pathlib.Path(p).read_text(), p


def test_little_address_space(bct, mkcube, prefix, tmp_path):
    """As schedulers limit it. The second file overlaps the first: it is compared before it is stored."""
    files = [mkcube(tmp_path / f"{i}.nc", "--var", "t2m", "--bbox", "0,50,2,52", "--from", f"2019-03-0{i}", "--to",
                    f"2019-03-0{i + 1}") for i in (1, 2)]
    def run(*args):
        words = [prefix / "bin" / "bctool", *args]
        return call("sh", "-c", 'ulimit -v 1000000; exec "$@"', "sh", *words)
    run("create", tmp_path / "s.bcube")
    run("ingest", "netcdf", tmp_path / "s.bcube", files[0], "--memory", "64M")
    run("ingest", "netcdf", tmp_path / "s.bcube", files[1], "--memory", "64M")
    run("query", tmp_path / "s.bcube", "--var", "t2m", "-o", tmp_path / "x.npy")
    run("verify", tmp_path / "s.bcube", "--full")
    assert np.load(tmp_path / "x.npy").shape == (72, 9, 9)
