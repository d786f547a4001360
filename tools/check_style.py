#!/usr/bin/env python3
"""Checks C sources: banned functions, what libraries must not do, line length, layout by clang-format.

usage: check_style.py [ROOT]      exit code 0: fine, 1: violations, one line each
       check_style.py --self-test
"""
import pathlib
import re
import shutil
import subprocess
import sys

FOLDERS = ("store", "ingest", "query", "formats", "tools", "tests")
MAX_LINE = 110
FORMAT_VERSION = "14"  # other versions lay out differently

BANNED = {
    "strcpy": "bc_copy_text", "strcat": "bc_buf_printf", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "strtok": "a bc_str slice", "atoi": "a checked parser", "atol": "a checked parser", "atof": "a checked parser",
    "strtol": "a checked parser", "gets": "fgets", "localtime": "bc_datetime", "setlocale": "nothing",
    "alloca": "bc_malloc", "longjmp": "a status", "setjmp": "a status",
}
# The libraries return errors; they never speak, leave, or change the process.
BELOW_TOOLS = {
    "printf", "fprintf", "vprintf", "vfprintf", "puts", "fputs", "putchar", "perror", "exit", "_exit", "abort",
    "chdir", "signal", "sigaction", "system", "popen", "getenv", "setenv",
}
# A stream that is the user's file, not the terminal.
ALLOWED_BELOW = {("ingest/src_zip.c", "getenv")}  # TMPDIR: where archives are unpacked
ALLOC = {"malloc", "calloc", "realloc", "free", "strdup", "aligned_alloc", "posix_memalign"}
ALLOC_HOME = {"store/base.c"}

CALL = re.compile(r"(?<![\w.>])([A-Za-z_]\w*)\s*\(")


def bare(text):
    """Comments and literals blanked, lines kept."""
    pattern = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def check_calls(file, text):
    library = file.split("/")[0] in ("store", "ingest", "query", "formats")
    for number, line in enumerate(bare(text).split("\n"), 1):
        for m in CALL.finditer(line):
            name = m[1]
            if name in BANNED:
                yield f"{file}:{number}: {name} is banned: use {BANNED[name]}"
            elif library and name in BELOW_TOOLS and (file, name) not in ALLOWED_BELOW:
                yield f"{file}:{number}: {name} is for programs: a library returns a status"
            elif library and name in ALLOC and file not in ALLOC_HOME:
                yield f"{file}:{number}: {name}: allocation goes through bc_{name}"


def check_text(file, text):
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE:
            yield f"{file}:{number}: {len(line)} columns, at most {MAX_LINE}"
        if "\t" in line:
            yield f"{file}:{number}: tab"
        if line != line.rstrip():
            yield f"{file}:{number}: blanks at the end"
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b|not implemented", line):
            yield f"{file}:{number}: unfinished work does not go in"
    if text and not text.endswith("\n"):
        yield f"{file}: no newline at the end"


def c_files(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".c", ".h") and path.is_file():
                yield path


def check_format(root, files):
    tool = shutil.which("clang-format-" + FORMAT_VERSION) or shutil.which("clang-format")
    version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout if tool else "absent"
    if f"version {FORMAT_VERSION}." not in version:
        print(f"check_style: layout NOT checked: clang-format {FORMAT_VERSION} wanted, {version.strip()}")
        return
    run = subprocess.run([tool, "--dry-run", "-style=file", *map(str, files)], cwd=root, capture_output=True, text=True)
    seen = set()
    for line in run.stderr.splitlines():
        m = re.match(r"(.*?):(\d+):\d+: (?:warning|error): .*clang-format", line)
        if m and m[1] not in seen:
            seen.add(m[1])
            yield f"{pathlib.Path(m[1]).relative_to(root)}:{m[2]}: clang-format -i would change this file"


def check(root):
    found, files = [], list(c_files(root))
    for path in files:
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8", errors="replace")
        found += check_calls(name, text)
        found += check_text(name, text)
    found += check_format(root, files)
    print(f"check_style: {len(files)} files, {len(found)} violations")
    return found


def self_test():
    cases = [
        ("store/a.c", "  strcpy(a, b);\n", 1), ("store/a.c", '  f("strcpy(");  // strtok(x)\n', 0),
        ("store/a.c", "  bc_strcpy(a);\n  x.exit(1);\n", 0), ("query/a.c", "  exit(1);\n", 1),
        ("tools/a.c", "  exit(1);\n", 0), ("query/a.c", "  p = malloc(3);\n", 1), ("store/base.c", "  malloc(3);\n", 0),
        ("tools/a.c", "  atoi(s);\n", 1), ("store/a.c", "x" * 111 + "\n", 1), ("store/a.c", "/* TODO */\n", 1),
        ("store/a.c", "a \n", 1), ("store/a.c", "a", 1),
    ]
    wrong = 0
    for file, text, expected in cases:
        found = [*check_calls(file, text), *check_text(file, text)]
        if len(found) != expected:
            wrong += 1
            print(f"{file} {text!r}: found {found}, expected {expected}")
    print(f"check_style self-test: {len(cases) - wrong} right, {wrong} wrong")
    return 1 if wrong else 0


def main(args):
    if args == ["--self-test"]:
        return self_test()
    root = pathlib.Path(args[0] if args else pathlib.Path(__file__).resolve().parent.parent).resolve()
    found = check(root)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
