#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""seed_emul.py FOLDER: writes the seeds of fuzz_emul, a file for each kind of paging and access."""

import pathlib
import struct
import sys

CODE = [b'\x89\x01', b'\x88\x21', b'\x8b\x01', b'\x66\x8b\x01', b'\x8a\x21', b'\x0f\xbe\x11',
        b'\x0f\xb6\x11', b'\x0f\xbf\x11', b'\x0f\xb7\x11', b'\x48\x63\x01', b'\x01\x01',
        b'\x03\x01',
        b'\x09\x01', b'\x13\x01', b'\x19\x01', b'\x23\x01', b'\x2b\x01', b'\x31\x01', b'\x39\x01',
        b'\x84\x01', b'\x87\x01', b'\xa1\x00\x00\x01\x00', b'\xa3\x00\x00\x01\x00', b'\xa4',
        b'\xf3\xa5', b'\x64\xa4', b'\xaa', b'\xf3\xab', b'\xac', b'\xf2\xad',
        b'\xc7\x01\x2a\x00\x00\x00', b'\xc6\x01\x2a', b'\xf7\x01\x01\x00\x00\x00', b'\xf6\x11',
        b'\xf7\x19', b'\xfe\x01', b'\xff\x09', b'\x83\x01\x01', b'\x81\x21\x01\x00\x00\x00',
        b'\x0f\xa3\x01', b'\x0f\xab\x01', b'\x0f\xb3\x01', b'\x0f\xbb\x01', b'\x0f\xba\x29\x03',
        b'\x0f\xc3\x01', b'\x0f\x0b', b'\x0f\x10\x01', b'\xff\x11', b'\xf7\x21', b'\x89\xc1',
        b'\xc8\x10\x00\x03', b'\xc5\xf8\x10\x01', b'\x04\x01', b'\x0f\xba\x01\x01', b'\xc7\x05']


def seed(mode, told=0, device=0x10, rflags=0, code=0, cr4=0, patches=()):
    """One input in the format of struct input in fuzz_emul.c, with all instructions."""
    told |= len(patches) << 4
    return (struct.pack('<BBHHHB', mode, told, device, rflags, code, cr4)
            + b''.join(struct.pack('<HQ', *patch) for patch in patches)
            + b''.join(bytes([len(insn)]) + insn for insn in CODE))


READ, WRITE, BOTH, LINEAR, ONE = 0, 1, 2, 8, 0xE010
LONG, FLAT, USER, NXE = 0x1B, 0x08, 0x20, 0x80
# Entries of the lowest table (for the walk of 8-byte entries) and what replaces them.
CODE_PAGE, DEVICE_PAGE, LEAF = 2, 0x10, 4 * 512

SEEDS = {
    'flat-read': seed(FLAT, READ), 'flat-write': seed(FLAT, WRITE), 'flat-both': seed(FLAT, BOTH),
    'real-both': seed(0, BOTH), 'real-down': seed(0, WRITE, rflags=0x400),
    'flat-device-source': seed(FLAT, READ, device=0xF010), 'flat-crosses': seed(FLAT, BOTH, 0xFFE),
    'legacy-both': seed(FLAT + 1, BOTH | LINEAR), 'legacy-read-user': seed(FLAT + 1 + USER, READ),
    'legacy-large': seed(FLAT + 1, READ | LINEAR, cr4=1, patches=[(3 * 512, 0x8700000087)]),
    'legacy-large-reserved': seed(FLAT + 1, READ, cr4=1, patches=[(3 * 512, 0x20008700200087)]),
    'pae-both': seed(FLAT + 2, BOTH | LINEAR), 'pae-write': seed(FLAT + 2, WRITE | LINEAR, 0xE010),
    'long-read': seed(LONG, READ | LINEAR, ONE), 'long-write': seed(LONG, WRITE | LINEAR, ONE),
    'long-both': seed(LONG, BOTH | LINEAR, ONE), 'long-unknown-linear': seed(LONG, READ, ONE),
    'long-crosses-read': seed(LONG, READ | LINEAR, 0xFFE),
    'five': seed(LONG + 1, BOTH | LINEAR, ONE),
    'long-crosses-write': seed(LONG, WRITE | LINEAR | 0x40, 0xFFE),
    'long-user': seed(LONG + USER, READ | LINEAR, ONE), 'long-far': seed(LONG, WRITE | 0xC0, ONE),
    'long-third': seed(LONG, BOTH | LINEAR | 0x80, 0xE010),
    'code-crosses': seed(LONG, BOTH | LINEAR, ONE, code=7),
    'code-not-present': seed(LONG, BOTH, ONE, patches=[(LEAF + CODE_PAGE, 0)]),
    'code-nx': seed(LONG + NXE, BOTH, ONE, patches=[(LEAF + CODE_PAGE, 1 << 63 | 0x2007)]),
    'code-of-user': seed(LONG, BOTH, ONE, cr4=2),
    'data-of-user': seed(LONG, BOTH | LINEAR, ONE, cr4=4),
    'code-large': seed(LONG, READ, ONE, patches=[(3 * 512, 0x87)]),
    'code-large-reserved': seed(LONG, READ, ONE, patches=[(3 * 512, 0x2087)]),
    'device-read-only': seed(LONG + 0x40, READ | LINEAR, ONE,
                             patches=[(LEAF + DEVICE_PAGE, 0xFEC00005), (LEAF + 0x11, 0xFEC01005)]),
    'device-of-kernel': seed(LONG + USER, READ | LINEAR, ONE,
                             patches=[(LEAF + DEVICE_PAGE, 0xFEC00003), (LEAF + 0x11, 0xFEC01003)]),
    'tables-nowhere': seed(LONG, READ, ONE, patches=[(2 * 512, 0xD0000007)]),
    'segments-unusable': seed(FLAT, BOTH, ONE, code=0x200),
    'segments-code': seed(FLAT, BOTH, ONE, code=0x8),
    'segments-down': seed(FLAT, BOTH, ONE, code=0x400 | 0x20),
    'segments-limit': seed(FLAT, BOTH, ONE, code=0x400),
}

for name, data in SEEDS.items():
    pathlib.Path(sys.argv[1], name).write_bytes(data)
