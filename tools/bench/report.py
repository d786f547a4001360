#!/usr/bin/env python3
"""Turns the JSON of tools/bench/run into the tables of docs/benchmarks.md.

usage: report.py FILE.json              prints them
       report.py FILE.json PAGE.md      puts them between the page's marks
"""
import json
import sys

BEGIN, END = "<!-- numbers -->", "<!-- end of numbers -->"


def spoken(seconds):
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def value(r, key):
    return f"{r['bytes'] / r[key] / 1e6:.0f}" if r["bytes"] else spoken(r[key])


def ratio(v):
    return f"{v:.2f}" if v >= 0.095 else f"{v:.3f}"


def contest(rows):
    first = rows[0]
    rate = any(r.get("bytes") for r in rows)
    yield f"### {first['title'][0].upper()}{first['title'][1:]}\n"
    yield f"| way | {'MB/s' if rate else 'time'} | slowest | fastest | of base | by CPU time | peak MiB | own MiB | goal |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---|"
    for r in rows:
        if "seconds" not in r:
            yield f"| {r['way']} | {r['outcome']} | | | | | | | |"
            continue
        goal = f"{r['goal']}: **{r['outcome']}**" if r["goal"] else ""
        yield (f"| {r['way']} | {value(r, 'seconds')} | {value(r, 'slowest')} | {value(r, 'fastest')} | "
               f"{'base' if r['way'] == r['base'] else ratio(r['of_base'])} | {ratio(r['of_base_cpu'])} | "
               f"{r['peak_mib']:.0f} | {r['anon_mib']:.0f} | {goal} |")
    yield ""


def sizes(rows):
    yield "### Bytes stored\n"
    yield ("| file | variable | float32 MB | int16 MB | netCDF-4 deflate MB | stored MB | float32 / stored | "
           "stored / deflate | stored / int16 |")
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    for r in rows:
        f, i, n, s = (r[k] for k in ("float32", "int16", "netcdf_deflate", "stored"))
        yield (f"| {r['file']} | {r['variable']} | {f / 1e6:.2f} | {i / 1e6:.2f} | {n / 1e6:.2f} | {s / 1e6:.2f} | "
               f"{f / s:.2f} | {s / n:.2f} | {s / i:.2f} |")
    yield ""


def scale(results):
    ids = list(dict.fromkeys(r["contest"] for r in results if r["contest"].startswith("scale-")))
    if not ids:
        return
    facts = {(r["contest"], r["fact"]): r for r in results if "fact" in r}
    times = {(r["contest"], r["way"]): r for r in results if "way" in r}
    yield "### Growth with the number of tiles\n"
    yield "| | " + " | ".join(f"{facts[i, 'tiles']['value']:,.0f} tiles" for i in ids) + " |"
    yield "|---|" + "---:|" * len(ids)
    for name in dict.fromkeys(f for _, f in facts if _.startswith("scale-")):
        cells = (facts[i, name] for i in ids)
        if name != "tiles":
            yield f"| {name} | " + " | ".join(f"{r['value']:,.0f} {r['unit']}" for r in cells) + " |"
    for way in dict.fromkeys(w for _, w in times if _.startswith("scale-")):
        rows = [times[i, way] for i in ids]
        yield f"| {way} | " + " | ".join(
            f"{spoken(r['seconds'])}, {r['peak_mib']:.0f} MiB" if "seconds" in r else r["outcome"]
            for r in rows) + " |"
    yield ""


def page(data):
    yield f"{data['date']}, revision {data['revision']}. {data['machine']}.\n"
    results, groups = data["results"], {}
    for r in results:
        if "way" in r and not r["contest"].startswith("scale-"):
            groups.setdefault(r["contest"], []).append(r)
    judged = [r for r in results if r.get("goal")]
    missed = [r for r in judged if r["outcome"] == "missed"]
    yield f"{len(judged)} goals, {len(missed)} missed" + (":" if missed else ".")
    for r in missed:
        yield (f"- {r['title']}, {r['way']}: {ratio(r['of_base'])} of base ({ratio(r['of_base_cpu'])} by CPU time), "
               f"peak {r['peak_mib']:.0f} MiB; goal {r['goal']}")
    yield ""
    for rows in groups.values():
        yield from contest(rows)
    stored = [r for r in results if r["contest"] == "sizes"]
    if stored:
        yield from sizes(stored)
    yield from scale(results)


def main(args):
    with open(args[0], encoding="utf-8") as f:
        text = "\n".join(page(json.load(f)))
    if len(args) == 1:
        print(text)
        return 0
    with open(args[1], encoding="utf-8") as f:
        old = f.read()
    if BEGIN not in old or END not in old:
        print(f"report.py: {args[1]} has no marks {BEGIN} and {END}", file=sys.stderr)
        return 1
    new = old[: old.index(BEGIN) + len(BEGIN)] + "\n" + text + "\n" + old[old.index(END) :]
    with open(args[1], "w", encoding="utf-8") as f:
        f.write(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
