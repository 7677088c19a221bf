#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of fuzz_dmar, tables DMAR whole and broken: seed_dmar.py DIR"""

import pathlib
import struct
import sys


def scope(kind, bus, *path):
    """A device's entry; path has pairs of device and function."""
    hops = b"".join(bytes(pair) for pair in path)
    return struct.pack("<BBHBB", kind, 6 + len(hops), 0, 0, bus) + hops


def structure(kind, body):
    return struct.pack("<HH", kind, 4 + len(body)) + body


def unit(base, *scopes, flags=0, size=0, segment=0):
    return structure(0, struct.pack("<BBHQ", flags, size, segment, base) + b"".join(scopes))


def reserved(base, last, *scopes):
    return structure(1, struct.pack("<HHQQ", 0, 0, base, last) + b"".join(scopes))


def table(*structures, flags=1):
    body = struct.pack("<BB10x", 38, flags) + b"".join(structures)
    return b"DMAR" + struct.pack("<IBB26x", 36 + len(body), 1, 0) + body


SEEDS = {
    "laptop": table(
        unit(0xFED90000, scope(1, 0, (2, 0))),
        unit(0xFED91000, scope(3, 0xF0, (31, 0)), scope(4, 0, (31, 7)), flags=1),
        reserved(0x7A000000, 0x7A01FFFF, scope(1, 0, (20, 0))),
        reserved(0x7C800000, 0x7CFFFFFF, scope(1, 0, (2, 0))),
        structure(4, bytes(12)),
    ),
    "server": table(
        *(unit(0xC5FFC000 + n * 0x2000000, scope(2, 0, (n, 0), (0, 1)), size=1, segment=n)
          for n in range(4)),
        structure(2, bytes(4) + scope(2, 0x16, (0, 0))),
        flags=5,
    ),
    "twice": table(unit(0xFED90000), unit(0xFED90000)),
    "lengths": table(unit(0xFED90000, b"\1\0\0\0\0\0"), structure(0, bytes(4)), b"\0\0\2\0"),
    "scopes": table(unit(0xFED90000, scope(9, 0, (0, 0)), scope(1, 0), scope(1, 0, (32, 0)),
                         scope(1, 0, *[(1, 0)] * 9))),
    "ranges": table(unit(0xFED90000), reserved(0, 0xFFF), reserved(0x1000, 0x1000),
                    reserved(0x2000, 0x1FFF), reserved(1 << 60, (1 << 60) + 0xFFF)),
    "many": table(*(unit(0x10000 * n) for n in range(70)),
                  *(reserved(0x1000 * n, 0x1000 * n + 0xFFF, *[scope(1, 0, (0, 0))] * 9)
                    for n in range(1, 40))),
    "short": table()[:40],
}

if __name__ == "__main__":
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (out / name).write_bytes(data)
