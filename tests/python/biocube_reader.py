"""A reader of biocube stores that knows docs/format.md and nothing else of the project: tests compare with it."""
import math
import pathlib
import struct

import lmdb
import numpy as np
import xxhash
import zstandard

STATIC = -(2**63)
DTYPES = {1: "<f4", 2: "<f8", 3: "i1", 4: "<i2", 5: "<i4", 6: "<i8", 7: "u1"}
TABLES = ["meta", "grids", "modalities", "usage", "sources", "source-hash", "segments", "tiles"]
NAN = np.frombuffer(b"\x00\x00\xc0\x7f", "<f4")[0]


class Refused(Exception):
    """The store is damaged or of a version that this reader does not know."""


def need(condition, what):
    if not condition:
        raise Refused(what)


def xxh(data):
    return xxhash.xxh3_64_intdigest(data)


class Bytes:
    """Reads one field after the other."""

    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def take(self, fmt):
        out = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return out if len(out) > 1 else out[0]

    def raw(self, n):
        need(self.at + n <= len(self.data), "the record is cut short")
        self.at += n
        return self.data[self.at - n : self.at]

    def text(self):
        return self.raw(self.take("H")).decode()


def unzstd(data, n):
    need(zstandard.frame_content_size(data) == n, "content size of a zstd frame")
    return zstandard.ZstdDecompressor().decompress(data)


# ---- blocks ----

def byte_planes(data, n, e):
    b = Bytes(data)
    words = [b.take("I") for _ in range(e)]
    planes = [unzstd(b.raw(w & 0x7FFFFFFF), n) if w >> 31 else b.raw(w & 0x7FFFFFFF) for w in words]
    need(b.at == len(b.data) and all(len(p) == n for p in planes), "length of byte planes")
    return [np.frombuffer(p, "u1") for p in planes]


def plane_records(data, n):
    b, out = Bytes(data), []
    while len(out) < n:
        tag = b.take("B")
        need(tag & 3 != 3 and tag < 32, "tag of a plane record")
        if tag & 3 == 0:
            out += [out[-1]] * b.take("H")
            continue
        e = b.take("h") if tag & 3 == 1 else None
        s = 2.0**e if e is not None else b.take("d")
        r = b.take("f" if tag & 4 else "d")
        out.append((e, s, r, b.take("i") if tag & 8 else 0, b.take("H") if tag & 16 else None))
    need(len(out) == n and b.at == len(b.data), "number of plane records")
    return out


def mapped(a, b, q):
    """How plane a (with its q) predicts plane b, or None."""
    if (a[0] is None) != (b[0] is None) or (a[0] is None and a[1] != b[1]):
        return None
    shift = 0 if a[0] is None else a[0] - b[0]
    add = math.floor(((a[2] + a[3] * a[1]) - (b[2] + b[3] * b[1])) / b[1] + 0.5)
    if not -15 <= shift <= 15 or abs(add) >= 2**31:
        return None
    out = ((q << shift if shift >= 0 else q >> -shift) + add) & 0xFFFF
    if a[4] is not None and b[4] is not None:
        out[q == a[4]] = b[4]
    return out


def linear16(data, shape):
    b = Bytes(data[1:])
    predictor, n_records, stored = b.take("BII")
    records = b.raw(stored)
    records = plane_records(unzstd(records, n_records) if stored < n_records else records, shape[0])
    low, high = byte_planes(data[10 + stored :], math.prod(shape), 2)
    z = low.astype(np.int64) + 256 * high.astype(np.int64)
    d = (((z >> 1) ^ -(z & 1)) & 0xFFFF).reshape(shape)
    out, q = np.empty(shape, "<f4"), None
    for t, plane in enumerate(records):
        predicted = mapped(records[t - 1], plane, q) if t > 0 and predictor >= 2 else None
        if predictor == 0 or (predictor == 2 and predicted is not None):
            q = d[t]
        else:
            q = d[t].cumsum(0).cumsum(1)
        q = (q + (0 if predicted is None else predicted)) & 0xFFFF
        _, s, r, bias, missing = plane
        out[t] = ((q + bias).astype(np.float64) * s + r).astype(np.float32)
        if missing is not None:
            out[t][q == missing] = NAN
    return out


def block(data, shape, dtype):
    n, e = math.prod(shape), np.dtype(dtype).itemsize
    if data[0] == 1:
        need(len(data) == 1 + e, "a constant block's length")
        return np.full(shape, np.frombuffer(data[1:], dtype)[0])
    if data[0] == 2:
        return np.stack(byte_planes(data[1:], n, e), 1).copy().view(dtype).reshape(shape)
    need(data[0] == 3 and dtype == "<f4", f"block of codec {data[0]}")
    return linear16(data, shape)


# ---- tiles ----

class Tile:
    def __init__(self, head):
        need(len(head) >= 136 and head[:4] == b"BCTL" and head[4] == 1, "tile head")
        b = Bytes(head)
        _, _, self.kind, fixed, n, incompat, _, self.cell, self.modality, self.part = b.take("4sBBHIHHIHH")
        need(n == len(head) and struct.unpack("<Q", head[-8:])[0] == xxh(head[:-8]), "tile head: checksum")
        need(self.kind == 0 and incompat == 0, f"tile of kind {self.kind}, features {incompat:#x}")
        self.time, dtype, self.codec, self.layout, regular, _ = b.take("qBBBBI")
        self.nt, self.nl, self.y0, self.x0, self.ny, self.nx, self.bt, self.by, self.bx = b.take("9I")
        n_sources, first, step, self.absent, self.const, self.payload, n_blocks, _ = b.take("IqqQQQII")
        self.dtype, b.at = DTYPES[dtype], fixed
        self.times = [first + i * step for i in range(self.nt)] if regular else [b.take("q") for _ in range(self.nt)]
        self.blocks = [b.take("QQ") for _ in range(n_blocks)]
        self.stats = [b.take("QQdddd") for _ in range(self.nl)]
        self.sources = [b.take("I") for _ in range(n_sources)]
        self.levels = [b.take("H") for _ in range(self.nl)]

    def values(self, payload):
        """[nt][nl][ny][nx]"""
        need(len(payload) == self.payload, "payload's length")
        shape, e = (self.nt, self.nl, self.ny, self.nx), np.dtype(self.dtype).itemsize
        if self.codec == 1:
            return np.full(shape, np.frombuffer(struct.pack("<Q", self.const)[:e], self.dtype)[0])
        ends = [o for o, _ in self.blocks[1:]] + [self.payload]
        for (at, digest), end in zip(self.blocks, ends):
            need(xxh(payload[at:end]) == digest, f"block at {at}: checksum")
        if self.codec == 0:
            n, step = self.nl * self.ny * self.nx * e, self.payload // self.nt
            rows = [np.frombuffer(payload, self.dtype, n // e, t * step) for t in range(self.nt)]
            return np.stack(rows).reshape(shape)
        out, number = np.empty(shape, self.dtype), 0
        for t in range(0, self.nt, self.bt):
            for level in range(self.nl):
                for y in range(0, self.ny, self.by):
                    for x in range(0, self.nx, self.bx):
                        part = out[t : t + self.bt, level, y : y + self.by, x : x + self.bx]
                        part[:] = block(payload[self.blocks[number][0] : ends[number]], part.shape, self.dtype)
                        number += 1
        return out


# ---- segments ----

class Segment:
    def __init__(self, path, uuid):
        self.data = path.read_bytes()
        need(len(self.data) >= 144 and self.data[:8] == b"BCSEG\r\n\x1a", f"{path}: not a segment")
        major, _, length, incompat, _, owner, number, zero, check = struct.unpack_from("<HHIQQ16sIIQ", self.data, 8)
        need(major == 1, f"{path}: version {major}")
        need(check == xxh(self.data[:56]) and length >= 64 and zero == 0, f"{path}: header")
        need(incompat == 0, f"{path}: features {incompat:#x}")
        need(owner == uuid and number == int(path.stem), f"{path}: of another store")
        foot = self.data[-64:]
        magic, at, n, self.n_tiles, size, digest, number, zero, check = struct.unpack("<8s5QIIQ", foot)
        need(magic == b"BCSEND\r\n" and size == len(self.data), f"{path}: truncated")
        need(check == xxh(foot[:56]) and number == int(path.stem) and zero == 0, f"{path}: footer")
        need(digest == xxh(self.data[at : at + n]), f"{path}: directory")
        schema, zero, tiles = struct.unpack_from("<IIQ", self.data, at)
        need(zero == 0 and tiles == self.n_tiles, f"{path}: directory")
        self.schema, self.entries_at, self.end = self.data[at + 16 : at + 16 + schema], at + 16 + schema, at + n

    def tiles(self):
        """(segment of the payload, its offset, bytes and hash; offset and bytes of the head) of each tile."""
        at = self.entries_at
        for _ in range(self.n_tiles):
            n, segment, offset, stored, digest, head, zero, check = struct.unpack_from("<IIQQQIIQ", self.data, at)
            need(check == xxh(self.data[at : at + 40]) and n == 48 + head and zero == 0, "directory entry")
            yield segment, offset, stored, digest, at + 48, head
            at += n
        need(at == self.end, "bytes after the last directory entry")


# ---- records ----

def grid_record(data):
    b = Bytes(data)
    need(b.take("B") == 1, "layout of a grid record")
    keys = ["name", "crs", "y0", "dy", "x0", "dx", "ny", "nx", "cell", "flags"]
    return dict(zip(keys, [b.text(), b.text(), *b.take("ddddIIIB")]))


def modality_record(data):
    b = Bytes(data)
    need(b.take("B") == 1, "layout of a modality record")
    m = dict(zip(["id", "grid", "dtype", "bucket", "layout", "second", "cadence", "precision"], b.take("HBBBBBqd")))
    m |= {k: b.text() for k in ("group", "name", "units", "level_units")}
    m["levels"] = [b.take("d") for _ in range(b.take("H"))]
    m["attrs"] = {b.text(): (b.text(), b.take("B")) for _ in range(b.take("H"))}
    return m


# ---- store ----

class Store:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        text = (self.path / "BIOCUBE").read_bytes()
        lines = dict(x.split(" ", 1) for x in text.decode().splitlines())
        need(text.startswith(b"biocube store\n"), "not a biocube store")
        need(lines["format"].split(".")[0] == "1", f"format {lines['format']}")
        need(text.endswith(f"check {xxh(text[: text.rindex(b'check ')]):016x}\n".encode()), "marker: checksum")
        need(lines["incompat"] == "0", f"features {lines['incompat']}")
        need(lines["state"] in ("live", "published"), "state")
        self.uuid, self.opened = bytes.fromhex(lines["uuid"].replace("-", "")), {}
        env = lmdb.open(str(self.path / "index"), readonly=True, lock=False, max_dbs=16)
        with env.begin() as txn:
            self.tables = {t: dict(txn.cursor(env.open_db(t.encode(), txn, create=False))) for t in TABLES}
        env.close()
        self.meta = {k.decode(): struct.unpack("<Q", v)[0] for k, v in self.tables["meta"].items()}
        need(struct.pack("<QQ", self.meta["uuid-lo"], self.meta["uuid-hi"]) == self.uuid, "index of another store")
        self.grids = [grid_record(v) for v in self.tables["grids"].values()]
        self.modalities = [modality_record(v) for v in self.tables["modalities"].values()]

    def segment(self, number):
        if number not in self.opened:
            self.opened[number] = Segment(self.path / "segments" / f"{number:010d}.seg", self.uuid)
        return self.opened[number]

    def tiles(self, modality):
        """(tile, payload) of one modality's primary layout, in the order of keys: later pieces win."""
        for key, value in self.tables["tiles"].items():
            cell, time, number, part = struct.unpack(">IQHH", key)
            if number != modality["id"] or part & 0x8000:
                continue
            head_at, seg_at, offset, stored, _, digest, head, n = struct.unpack_from("<IIQQQQQI", value)
            tile = Tile(self.segment(head_at).data[head : head + n])
            need((tile.cell, tile.time + 2**63, tile.modality, tile.part) == (cell, time, number, part), "tile's key")
            payload = self.segment(seg_at).data[offset : offset + stored] if stored else b""
            need(xxh(payload) == digest, "payload: checksum")
            yield tile, payload

    def read(self, group, name):
        """times, levels, latitudes, longitudes, values [t][l][y][x] and where something is stored."""
        m = next(m for m in self.modalities if (m["group"], m["name"]) == (group, name))
        g, boxes = self.grids[m["grid"]], []
        for tile, payload in self.tiles(m):
            bits = tile.cell & (2**26 - 1)
            cx = sum((bits >> 2 * i & 1) << i for i in range(13))
            cy = sum((bits >> (2 * i + 1) & 1) << i for i in range(13))
            boxes.append((cy * g["cell"] + tile.y0, cx * g["cell"] + tile.x0, tile, payload))
        times = sorted({t for b in boxes for t in b[2].times})
        rows = sorted({b[0] + i for b in boxes for i in range(b[2].ny)})
        cols = sorted({b[1] + i for b in boxes for i in range(b[2].nx)})
        out = np.full((len(times), max(1, len(m["levels"])), len(rows), len(cols)), np.nan, DTYPES[m["dtype"]])
        known = np.zeros(out.shape, bool)
        for y, x, tile, payload in boxes:
            at = np.ix_([times.index(t) for t in tile.times], tile.levels, [rows.index(y + i) for i in range(tile.ny)],
                        [cols.index(x + i) for i in range(tile.nx)])
            out[at], known[at] = tile.values(payload), True
        lat = np.round([g["y0"] + i * g["dy"] for i in rows], 9)
        lon = np.round([g["x0"] + j * g["dx"] for j in cols], 9)
        return times, m["levels"], lat, np.where(lon >= 180, lon - 360, lon), out, known
