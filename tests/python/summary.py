"""Counts the tests of all programs that ctest ran, and prints what they counted and the closing line of tools/test.

usage: summary.py RESULTS STATUS
RESULTS holds ctest.xml, and NAME.xml where a program told its single tests (Criterion, pytest); others may end
with "N passed, N failed, N skipped". A program that told nothing counts as one test; one that failed without a
failed test (a leak at exit, a crash) adds one.
"""
import pathlib
import re
import sys
import xml.etree.ElementTree as ET


COUNTED = re.compile(r"^(?!ok|not ok|#|\[)(?=.*\d).*\b(injected|survived|flipped|cuts|whole snapshots|readers killed|"
                     r"readers at once|inputs executed|tiles take|stores mended)\b")


def print_counts(name, text):
    """Lines of a program's output that say how much it tried."""
    for line in text.splitlines():
        if COUNTED.match(line.strip()):
            print(f"counted: {name}: {line.strip()}")


def single_tests(path):
    """(passed, failed, skipped) of one program, or None when it left no readable report."""
    try:
        cases = list(ET.parse(path).getroot().iter("testcase"))
    except (OSError, ET.ParseError):
        return None
    passed = failed = skipped = 0
    for case in cases:
        print_counts(path.stem, case.findtext("system-out") or "")
        status = case.get("status", "").lower()
        if case.find("failure") is not None or case.find("error") is not None or status in ("failed", "errored"):
            failed += 1
            print(f"failed: {path.stem}: {case.get('classname') or ''} {case.get('name')}")
        elif case.find("skipped") is not None or status == "skipped":
            skipped += 1
            reason = case.find("skipped")
            text = (reason.get("message") or "") if reason is not None else ""
            print(f"skipped: {path.stem}: {case.get('name')}: {text}")
        else:
            passed += 1
    return passed, failed, skipped


def closing_line(program):
    """Counts that a program printed at its end, or None."""
    text = program.findtext("system-out") or ""
    told = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", text, re.M)
    if not told:
        return None
    for line in text.splitlines():
        if line.startswith("SKIP "):
            print(f"skipped: {program.get('name')}: {line[5:]}")
    return tuple(int(n or 0) for n in told[-1])


def main(folder, status):
    results = pathlib.Path(folder)
    passed = failed = skipped = 0
    try:
        programs = list(ET.parse(results / "ctest.xml").getroot().iter("testcase"))
    except (OSError, ET.ParseError) as e:
        print(f"no report of ctest: {e}")
        programs = []
        failed = 1
    for program in programs:
        name, good = program.get("name"), program.get("status") == "run"
        counts = single_tests(results / f"{name}.xml") or closing_line(program)
        print_counts(name, program.findtext("system-out") or "")
        if counts is None or sum(counts) == 0:
            counts = (1, 0, 0) if good else (0, 1, 0)
        elif not good and counts[1] == 0:
            counts = (counts[0], 1, counts[2])
        if not good:
            print(f"failed: {name}")
        passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    if not programs and failed == 0:
        failed = 1
    if status != 0 and failed == 0:
        failed = 1
    if skipped:
        print(f"{skipped} skipped, see above")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
