#!/usr/bin/env python3
"""Other ways to read the same window, for bench: speaks the protocol of ways.c on its standard streams.

usage: peers.py memmap|views|xarray|zarr FILE VARIABLE A:B A:B A:B
"""
import os
import sys
import time


def own_kib():
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    return 0


def open_memmap(path, var, box):
    import numpy as np

    data = np.load(path, mmap_mode="r")
    return lambda: np.array(data[box])


def open_views(folder, var, box):
    """Slices of raw arrays, one file for each variable: nothing is read."""
    import numpy as np

    files = sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".npy"))
    data = [np.load(f, mmap_mode="r") for f in files]
    return lambda: [d[box[0]] for d in data]


def open_xarray(path, var, box):
    import xarray as xr

    data = xr.open_dataset(path, cache=False)[var]
    return lambda: data[box].values


def open_zarr(path, var, box):
    import shutil

    import numpy as np
    import zarr

    data = np.load(path, mmap_mode="r")
    folder = f"{path}-{os.getpid()}.zarr"
    try:
        z = zarr.create_array(store=folder, shape=data.shape, chunks=(32, 64, 64), dtype="f4",
                              compressors=zarr.codecs.ZstdCodec(level=3),
                              filters=[])
        for t in range(0, data.shape[0], 32):
            z[t : t + 32] = data[t : t + 32]
        z = zarr.open_array(folder, mode="r")
        yield lambda: z[box]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(how, path, var, *spans):
    box = tuple(slice(*map(int, s.split(":"))) for s in spans)
    opened = {"memmap": open_memmap, "views": open_views, "xarray": open_xarray, "zarr": open_zarr}[how](
        path, var, box)
    once = next(opened) if hasattr(opened, "__next__") else opened
    print("ready", flush=True)
    for line in sys.stdin:
        n = int(line.split()[1])
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(n):
            once()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{wall:.9f} {cpu:.9f} {own_kib()}", flush=True)
    if hasattr(opened, "close"):
        opened.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ImportError as e:
        print(f"skip {e}", flush=True)
    except Exception as e:
        print(f"fail {type(e).__name__}: {e}", flush=True)
