#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""seed_attest.py FOLDER: seeds of fuzz_attest.c, from what tests/unit/tpm_attest_recorded.h has
recorded, and a small event log."""

import os
import re
import struct
import sys

from seed_seal import part, replies

RECORDED = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'unit',
                        'tpm_attest_recorded.h')
NOTHING = bytes.fromhex('80010000000a00000000')


def credentials():
    """The two files of tpm2_makecredential."""
    with open(RECORDED, encoding='ascii') as file:
        text = file.read()
    return [bytes.fromhex(''.join(re.findall('"([0-9a-f]*)"', body)))
            for body in re.findall(r'_file\[\] =(.*?);', text, re.S)]


def log(events):
    """An event log with these events, each words or (PCR, type, data); and where the last one
    begins."""
    banks = struct.pack('<IHHHH', 2, 4, 20, 11, 32)
    first = b'Spec ID Event03\0' + bytes(8) + banks + b'\0'
    data = struct.pack('<II20xI', 0, 3, len(first)) + first
    last = 0
    for event in events:
        pcr, kind, words = event if isinstance(event, tuple) else (12, 6, event)
        last = len(data)
        data += struct.pack('<IIIH20xH32xI', pcr, kind, 2, 4, 11, len(words)) + words
    return data, last


def firmware():
    """The events of a start: Secure Boot, an action, a program, the key that has signed it."""
    def variable(name):
        return struct.pack('<16xQQ', len(name), 1) + name.encode('utf-16le') + b'\1'
    path = '\\EFI\\BOOT\\BOOTX64.EFI\0'.encode('utf-16le')
    program = struct.pack('<QQQQ', 0, 1, 0, 12 + 4 + len(path) + 4) + bytes([2, 1, 12, 0]) + \
        bytes(8) + struct.pack('<BBH', 4, 4, 4 + len(path)) + path + bytes([0x7f, 0xff, 4, 0])
    return [(7, 0x80000001, variable('SecureBoot')), (7, 4, bytes(4)), (7, 3, b'no'),
            (5, 0x80000007, b'Calling EFI Application from Boot Option' * 2),
            (7, 0x800000e0, variable('db')), (5, 0x80000003, program), (7, 0xab, b'')]


def main(folder):
    """The seeds."""
    seen = replies(RECORDED)
    good, other = credentials()
    begin = seen['ak'] + seen['quote'] + seen['ek']
    refused = bytes.fromhex('80010000000a00000922')
    seeds = {
        'good': [log([b'one', b'', b'three']), good,
                 begin + seen['activate'] + seen['certificate'] + seen['end']],
        'first': [log([]), other, begin + seen['other'] + seen['no_certificate']],
        'cut': [(log([b'one'])[0][:-1], log([b'one'])[1]), good[:-1], begin + [NOTHING]],
        'between': [(log([b'one'])[0], 50), b'', seen['quote']],
        'busy': [log([b'one']), good, [refused] * 8 + [refused] * 2 + begin + [NOTHING]],
        'password': [log([b'one']), good, [bytes.fromhex('80010000000a000009a2'), NOTHING]],
        'lock-out': [log([b'one']), good, [bytes.fromhex('80010000000a00000921'), NOTHING]],
        'long': [log([b'one']), b'', begin + [seen['certificate'][0][:-40] + b'\xff\xff' * 20]],
        'firmware': [log(firmware()), b'', []],
        'silent': [(b'', 0), b'', []],
    }
    for name, ((events, last), credential, answers) in seeds.items():
        with open(os.path.join(folder, name), 'wb') as file:
            file.write(part(events) + struct.pack('>H', last) + part(credential) +
                       b''.join(part(data) for data in answers + [NOTHING]))


if __name__ == '__main__':
    main(sys.argv[1])
