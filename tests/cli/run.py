#!/usr/bin/env python3
"""Runs the shell tests of the command line and compares what they print with what is expected.

A test is NAME.sh beside this file. Expected: NAME.stdout, NAME.stderr (absent: nothing printed) and NAME.exit
(absent: 0). With the suffix .glob, as NAME.stdout.glob, a line may hold * for any text, and a line "..." stands for
any number of lines. Each test runs by sh -eu in its own empty folder, with bctool, mkcube and the folder $CLI at hand.
A line "# needs: PROGRAM.." in a test skips it, with a message, where a program is missing.

    run.py --bin FOLDER [--update] [--keep] [NAME..]

--update writes what was printed as the new expectation: look at the difference before you commit it.
"""
import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 120  # seconds for one test, sanitizers included


def glob_to_regex(pattern):
    """A regular expression for a whole expected text with * and lines of "..."."""
    parts = []
    for line in pattern.splitlines():
        if line == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(".*".join(re.escape(p) for p in line.split("*")) + "\n")
    return re.compile("".join(parts) + r"\Z")


def read(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8", errors="surrogateescape") as f:
        return f.read()


def needs(script):
    for line in script.splitlines():
        if line.startswith("# needs:"):
            return line.split(":", 1)[1].split()
    return []


def environment(folders):
    keep = ("HOME", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "LD_LIBRARY_PATH")
    env = {k: os.environ[k] for k in keep if k in os.environ}
    env.update(PATH=os.pathsep.join(folders + ["/usr/local/bin", "/usr/bin", "/bin"]), CLI=HERE, TERM="dumb",
               LC_ALL="C.UTF-8", TZ="Pacific/Auckland")  # a zone far from UTC: times must not depend on it
    return env


def check(name, kind, got, update):
    """Empty when `got` is as expected, else the difference."""
    base = os.path.join(HERE, f"{name}.{kind}")
    pattern = read(base + ".glob")
    if pattern is not None:
        if glob_to_regex(pattern).match(got):
            return ""
        wanted = pattern
    else:
        wanted = read(base) or ("0\n" if kind == "exit" else "")
        if wanted == got:
            return ""
        if update:
            if got == ("0\n" if kind == "exit" else ""):
                os.unlink(base)
            else:
                with open(base, "w", encoding="utf-8", errors="surrogateescape") as f:
                    f.write(got)
            return ""
    return "".join(difflib.unified_diff(wanted.splitlines(True), got.splitlines(True), f"{name}.{kind} expected",
                                        f"{name}.{kind} got"))


def run(name, env, update, keep):
    folder = tempfile.mkdtemp(prefix=f"bccli-{name}-")
    try:
        done = subprocess.run(["sh", "-eu", os.path.join(HERE, name + ".sh")], cwd=folder, env=env, timeout=TIMEOUT,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
        got = {"stdout": done.stdout, "stderr": done.stderr, "exit": b"%d\n" % done.returncode}
    except subprocess.TimeoutExpired:
        return f"{name}: not done after {TIMEOUT} s\n"
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return "".join(check(name, kind, text.decode("utf-8", "surrogateescape"), update) for kind, text in got.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="folder of bctool and mkcube")
    parser.add_argument("--update", action="store_true", help="write the new expectations")
    parser.add_argument("--keep", action="store_true", help="leave the folders of the tests")
    parser.add_argument("names", nargs="*", help="tests to run (all)")
    args = parser.parse_args()
    all_names = sorted(f[:-3] for f in os.listdir(HERE) if f.endswith(".sh") and f != "lib.sh")
    names = [os.path.basename(n).removesuffix(".sh") for n in args.names] or all_names
    env = environment([os.path.abspath(args.bin)])
    failed, skipped = [], []
    for name in names:
        missing = [p for p in needs(read(os.path.join(HERE, name + ".sh"))) if not shutil.which(p, path=env["PATH"])]
        if missing:
            print(f"SKIP {name}: no {', '.join(missing)}")
            skipped.append(name)
            continue
        begun = time.monotonic()
        difference = run(name, env, args.update, args.keep)
        print(f"{'FAIL' if difference else 'ok  '} {name} ({time.monotonic() - begun:.1f} s)", flush=True)
        if difference:
            print(difference)
            failed.append(name)
    print(f"{len(names) - len(failed) - len(skipped)} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed or len(skipped) == len(names) else 0


if __name__ == "__main__":
    sys.exit(main())
