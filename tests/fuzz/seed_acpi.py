#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of fuzz_acpi (which describes the input's format): seed_acpi.py DIR"""

import pathlib
import struct
import sys

BASE = 0x1000
S5 = b"\x08_S5_\x12\x06\x04\x0a\x05\x0a\x05\0\0"


def fix(data, at):
    data[at] = -(sum(data) - data[at]) & 0xFF


def table(signature, body):
    data = bytearray(signature + struct.pack("<IBB", 36 + len(body), 2, 0) + bytes(26) + body)
    fix(data, 9)
    return bytes(data)


def gas(space, address):
    return struct.pack("<BBBBQ", space, 8, 0, 0, address)


def fadt(dsdt, length=244, flags=1 << 10):
    body = bytearray(length)
    for at, value in {
        40: struct.pack("<I", dsdt),
        64: struct.pack("<I", 0x604),
        76: struct.pack("<I", 0x608),
        91: b"\4",
        112: struct.pack("<I", flags),
        116: gas(1, 0xCF9),
        128: b"\x0f",
        140: struct.pack("<Q", dsdt),
        172: gas(1, 0x604),
        208: gas(1, 0x608),
    }.items():
        if at + len(value) <= length:
            body[at : at + len(value)] = value
    return table(b"FACP", bytes(body[36:]))


def madt(xapic, x2apic):
    body = struct.pack("<II", 0xFEE00000, 1)
    for i in xapic:
        body += struct.pack("<BBBBI", 0, 8, i, i, 1)
    for i in x2apic:
        body += struct.pack("<BBHIII", 9, 16, 0, i, 1, i)
    return table(b"APIC", body)


def spcr(kind, space, baud):
    body = bytes([kind, 0, 0, 0]) + gas(space, 0x3F8)
    return table(b"SPCR", (body + bytes(22 - len(body)) + bytes([baud])).ljust(44, b"\0"))


def dbg2(*kinds):
    """A device for each pair of port type and subtype."""
    body = b""
    for port, kind in kinds:
        body += struct.pack("<BHB9H", 0, 34, 1, 0, 0, 0, 0, port, kind, 0, 22, 0)
        body += gas(0, 0xFE000000)
    return table(b"DBG2", struct.pack("<II", 44, len(kinds)) + body)


def memory(revision, tables, last):
    """RSDP, then XSDT and RSDT, then the tables one after the other."""
    root = 40
    at = root + 2 * 36 + 12 * len(tables)
    addresses = []
    for t in tables:
        addresses.append(BASE + at)
        at += len(t)
    xsdt = table(b"XSDT", b"".join(struct.pack("<Q", a) for a in addresses))
    rsdt = table(b"RSDT", b"".join(struct.pack("<I", a) for a in addresses))
    rsdp = bytearray(b"RSD PTR \0SEEDS " + bytes([revision]))
    rsdp[15] = revision
    rsdp = bytearray(rsdp[:16]) + struct.pack(
        "<IIQI", BASE + root + len(xsdt), 36, BASE + root, 0
    )
    first = bytearray(rsdp[:20])
    fix(first, 8)
    rsdp[:20] = first
    fix(rsdp, 32)
    return bytes(rsdp) + bytes(4) + xsdt + rsdt + b"".join(tables) + last


def with_dsdt(revision, last, **keys):
    """The FADT comes first. Its DSDT is the last table, which no root table lists."""
    fixed = 40 + 2 * 36 + 12 * 3
    m = madt([0, 1, 2], [0x100])
    ssdt = table(b"SSDT", b"\xa3" * 8 + S5)
    at = BASE + fixed + len(fadt(0, **keys)) + len(m) + len(ssdt)
    return memory(revision, [fadt(at, **keys), m, ssdt], table(b"DSDT", b"\xa3" * 8 + S5) + last)


SEEDS = {
    "xsdt": with_dsdt(2, b"\0"),
    "rsdt": with_dsdt(0, b"\0"),
    "sums": with_dsdt(2, b"\1"),
    "old-fadt": with_dsdt(2, b"\1", length=116),
    "reduced": with_dsdt(2, b"\1", flags=1 << 20),
    "serial": memory(2, [spcr(0, 1, 7), dbg2((0x8003, 0), (0x8000, 0x12))], b"\1"),
    "serial-speeds": memory(2, [spcr(k, 0, b) for k, b in ((1, 3), (0x12, 4), (0, 6))], b"\1"),
    "serial-none": memory(2, [spcr(3, 1, 0), spcr(0, 9, 0), dbg2((0x8000, 5))], b"\1"),
    "dbg2": memory(2, [dbg2((0x8000, 1))], b"\1"),
    "many-cpus": memory(2, [madt(range(254), range(254, 300))], b"\1"),
}

if __name__ == "__main__":
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (out / name).write_bytes(data)
