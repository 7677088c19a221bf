#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of fuzz_bzimage (which describes the input's format): seed_bzimage.py DIR"""

import pathlib
import struct
import sys

GOOD = {
    0x1F1: b"\x01",  # setup_sects
    0x1F4: struct.pack("<I", 0x22),  # syssize
    0x1FE: b"\x55\xaa",
    0x200: b"\xeb\x6a",
    0x202: b"HdrS",
    0x206: struct.pack("<H", 0x20F),
    0x211: b"\x01",
    0x22C: struct.pack("<I", 0x7FFFFFFF),
    0x230: struct.pack("<I", 0x200000),
    0x234: b"\x01",
    0x236: struct.pack("<H", 0x3F),
    0x238: struct.pack("<I", 2047),
    0x258: struct.pack("<Q", 0x1000000),
    0x260: struct.pack("<I", 0x400000),
}
# name: memory in MiB, initrd bytes or None, fields that differ, bytes cut off the end
SEEDS = {
    "good": (64, None, {}, 0),
    "initrd": (32, 100000, {}, 0),
    "fixed": (8, 1, {0x234: b"\0", 0x258: struct.pack("<Q", 0x100000)}, 0),
    "default-setup": (64, None, {0x1F1: b"\0"}, 0),
    "truncated": (64, None, {}, 1),
    "huge": (64, 0, {0x260: b"\xff" * 4, 0x1F4: b"\xff" * 4}, 0),
    "no-magic": (64, None, {0x202: b"hdrs"}, 0),
    "elf": (64, None, {0: b"\x7fELF", 0x202: b"hdrs"}, 0),
    "gzip": (64, None, {0: b"\x1f\x8b", 0x202: b"hdrs"}, 0),
    "old": (64, None, {0x206: struct.pack("<H", 0x20B)}, 0),
    "short-header": (64, None, {0x201: b"\x10"}, 0),
    "zimage": (64, None, {0x211: b"\0"}, 0),
    "32-bit": (64, None, {0x236: b"\0\0"}, 0),
    "empty-initrd": (64, 0, {}, 0),
    "large-initrd": (4, 2000000, {0x258: struct.pack("<Q", 0x100000)}, 0),
    "short-cmdline": (64, None, {0x238: struct.pack("<I", 3)}, 0),
    "alignment": (64, None, {0x230: struct.pack("<I", 3)}, 0),
    "nowhere": (64, None, {0x234: b"\0", 0x258: struct.pack("<Q", 1)}, 0),
}
# These also as ciphertext.
SEALED = ("good", "initrd", "fixed", "truncated")


def build(memory, initrd, fields, cut, sealed):
    image = bytearray(1024 + 0x220)
    for offset, value in {**GOOD, **fields}.items():
        image[offset : offset + len(value)] = value
    size = (initrd or 0).to_bytes(3, "little")
    choices = bytes([memory - 1]) + size + bytes([(initrd is not None) | 2 * sealed]) + bytes(3)
    return choices + bytes(image[: len(image) - cut])


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, args in SEEDS.items():
        (directory / name).write_bytes(build(*args, False))
        if name in SEALED:
            (directory / f"{name}-sealed").write_bytes(build(*args, True))


main()
