#!/usr/bin/env python3
"""Checks that includes point one way, and that each foreign library is met in one file per folder.

usage: check_layers.py [ROOT]      exit code 0: fine, 1: violations, one line each
       check_layers.py --self-test plants violations in a made-up tree and looks for them
"""
import fnmatch
import pathlib
import re
import sys
import tempfile

# Folder -> folders that it may include from.
MAY_INCLUDE = {
    "store": {"store"},
    "ingest": {"ingest", "formats", "store"},
    "query": {"query", "store"},
    "formats": {"formats", "store"},
    "tools": {"tools", "ingest", "query", "formats", "store"},
    "tests": {"tests", "tools", "ingest", "query", "formats", "store"},
}

# Foreign header -> files that may include it.
FOREIGN = {
    "lmdb.h": ["store/index.c"],
    "zstd.h": ["store/codec.c"],
    "zstd_errors.h": ["store/codec.c"],
    "xxhash.h": ["store/codec.c"],
    "netcdf.h": ["ingest/src_netcdf.c", "formats/out_netcdf.c", "tools/mkfile.c", "tools/bench/*.c"],
    "netcdf_mem.h": ["ingest/src_netcdf.c", "formats/out_netcdf.c", "tools/mkfile.c", "tools/bench/*.c"],
    "zip.h": ["ingest/src_zip.c", "formats/out_npz.c"],
    "png.h": ["formats/out_png.c"],
    "criterion/*": ["tests/unit/*", "tests/support/*"],
    "sanitizer/*": ["tests/*"],
    "zlib.h": ["tests/fuzz/*"],
    "malloc.h": ["tools/bctool/util.c"],  # of glibc: mallopt
}
# The benchmarks measure against the libraries themselves, tests make and look into files with them.
FOREIGN_FREE = {"tools/bench/*": ["zstd.h", "lmdb.h"], "tests/*": list(FOREIGN)}

# What programs and outsiders see.
PUBLIC = {
    "store": {"err.h", "block.h", "datetime.h", "grid.h", "schema.h", "store.h"},
    "query": {"select.h", "query.h"},
    "formats": {"sink.h", "json.h"},
    "ingest": {"ingest.h"},
}

# C11, POSIX 2008 and the headers of compilers.
SYSTEM = {
    "aio.h", "arpa/inet.h", "assert.h", "cpio.h", "ctype.h", "dirent.h", "dlfcn.h", "errno.h", "fcntl.h", "float.h",
    "fnmatch.h", "glob.h", "grp.h", "inttypes.h", "iso646.h", "limits.h", "math.h", "netdb.h", "netinet/in.h",
    "poll.h", "pthread.h", "pwd.h", "sched.h", "semaphore.h", "signal.h", "stdalign.h", "stdarg.h", "stdatomic.h",
    "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "stdnoreturn.h", "string.h", "strings.h",
    "sys/file.h", "sys/ioctl.h", "sys/mman.h", "sys/resource.h", "sys/select.h", "sys/socket.h", "sys/stat.h",
    "sys/statvfs.h", "sys/time.h", "sys/types.h", "sys/uio.h", "sys/un.h", "sys/utsname.h", "sys/wait.h",
    "sys/sysinfo.h", "sys/syscall.h", "sys/random.h", "sys/prctl.h", "termios.h", "time.h", "unistd.h", "wchar.h",
    "immintrin.h", "arm_neon.h",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def sources(root):
    for folder in MAY_INCLUDE:
        for path in sorted((root / folder).rglob("*")):
            outside = (root / "tests" / "consumer") in path.parents  # an outsider's program, on the installed headers
            if path.suffix in (".c", ".h") and path.is_file() and not outside:
                yield path.relative_to(root)


def check_foreign(file, header):
    for pattern, allowed in FOREIGN.items():
        if not fnmatch.fnmatchcase(header, pattern):
            continue
        free = any(fnmatch.fnmatchcase(file, f) and pattern in h for f, h in FOREIGN_FREE.items())
        if not free and not any(fnmatch.fnmatchcase(file, a) for a in allowed):
            return f"<{header}> belongs to {', '.join(allowed)} only"
        return None
    if header in SYSTEM:
        return None
    return f"<{header}> is neither C11, POSIX nor a known library: add it to check_layers.py if it is wanted"


def check_own(root, file, header):
    """An include with quotes: 'store/tile.h' or '../store/err.h'."""
    folder = file.parts[0]
    if folder == "tests" and "/" not in header and (root / file.parent / header).is_file():
        return None  # a fixture beside the test
    if header.startswith(".") or "/" not in header:
        if file.suffix != ".h" or folder not in PUBLIC or file.name not in PUBLIC[folder]:
            return f'"{header}": give the folder, as in "store/tile.h" (relative paths are for public headers)'
        parts = (root / file.parent / header).resolve().relative_to(root.resolve()).parts
    else:
        parts = pathlib.PurePosixPath(header).parts
    target, name = parts[0], parts[-1]
    if target not in MAY_INCLUDE:
        return f'"{header}" is in no folder of ours: third-party headers are included with <>'
    if target not in MAY_INCLUDE[folder]:
        return f"{folder} must not include from {target}: {header}"
    if target != folder and name.endswith("_int.h") and folder != "tests":
        return f"{header} is visible inside {target} only"
    if folder in PUBLIC and file.name in PUBLIC[folder] and target in PUBLIC and name not in PUBLIC[target]:
        return f"a public header includes {header}, which is not installed"
    inside = file.parts[:2] == ("tools", "bench")  # measures parts that no program sees
    if folder == "tools" and not inside and target in PUBLIC and name not in PUBLIC[target]:
        return f"{header} is not public: programs use public headers only"
    return None


def check(root):
    found, names = [], {}
    for file in sources(root):
        text = (root / file).read_text(encoding="utf-8", errors="replace")
        where = file.as_posix()
        for m in INCLUDE.finditer(text):
            line = text.count("\n", 0, m.start(1)) + 1
            why = check_foreign(where, m[2]) if m[1] == "<" else check_own(root, file, m[2])
            if why:
                found.append(f"{where}:{line}: {why}")
        if file.parts[0] not in ("tests", "tools"):
            if file.name in names:
                found.append(f"{where}: there is {names[file.name]} too: file names are unique")
            names[file.name] = where
    return found


def self_test():
    """Each planted line must be found, and the clean tree must pass."""
    clean = {
        "store/err.h": "#include <stddef.h>\n",
        "store/store.h": '#include "err.h"\n',
        "store/tile.h": '#include "store/err.h"\n',
        "store/tile_int.h": '#include "store/tile.h"\n',
        "store/index.c": '#include <lmdb.h>\n#include "store/tile_int.h"\n',
        "query/query.h": '#include "../store/store.h"\n',
        "query/plan.c": '#include "query/query.h"\n#include "store/tile.h"\n',
        "ingest/ingest.h": '#include "../store/store.h"\n',
        "formats/sink.h": '#include "../store/err.h"\n',
        "formats/out_png.c": "#include <png.h>\n",
        "tools/bctool/main.c": '#include "query/query.h"\n#include "tools/bctool/cmd.h"\n',
        "tools/bctool/cmd.h": "#include <stdio.h>\n",
    }
    planted = [
        ("store/bad.c", '#include "query/query.h"\n', "store must not include from query"),
        ("query/bad.c", '#include "formats/sink.h"\n', "query must not include from formats"),
        ("formats/bad.c", '#include "query/query.h"\n', "formats must not include from query"),
        ("formats/bad.c", '#include "ingest/ingest.h"\n', "formats must not include from ingest"),
        ("query/bad.c", "# include <lmdb.h>\n", "belongs to store/index.c"),
        ("tools/bctool/bad.c", "#include <netcdf.h>\n", "belongs to ingest/src_netcdf.c"),
        ("tools/bctool/bad.c", '#include "store/tile.h"\n', "not public"),
        ("query/bad.c", '#include "store/tile_int.h"\n', "inside store only"),
        ("query/bad.c", '#include "query.h"\n', "give the folder"),
        ("store/bad.c", "#include <curl/curl.h>\n", "neither C11"),
        ("store/store.h", '#include "tile.h"\n', "not installed"),
        ("query/index.c", "", "file names are unique"),
    ]
    failures = 0
    for planted_file, line, expected in [(None, "", None)] + planted:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in clean.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            if planted_file:
                with open(root / planted_file, "a") as f:
                    f.write(line)
            found = check(root)
            good = not found if expected is None else len(found) == 1 and expected in found[0]
            if not good:
                failures += 1
                print(f"planted {planted_file}: {line.strip()!r}: found {found}, expected {expected!r}")
    print(f"check_layers self-test: {len(planted) + 1 - failures} right, {failures} wrong")
    return 1 if failures else 0


def main(args):
    if args == ["--self-test"]:
        return self_test()
    root = pathlib.Path(args[0]) if args else pathlib.Path(__file__).resolve().parent.parent
    found = check(root)
    for line in found:
        print(line)
    print(f"check_layers: {sum(1 for _ in sources(root))} files, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
