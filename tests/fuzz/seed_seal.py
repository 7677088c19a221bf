#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""seed_seal.py FOLDER: seeds of fuzz_seal.c, from what tests/unit/tpm_recorded.h has recorded."""

import os
import re
import struct
import sys

RECORDED = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'unit', 'tpm_recorded.h')


def replies(path):
    """The replies of each recording of a header."""
    found = {}
    with open(path, encoding='ascii') as file:
        text = file.read()
    for name, body in re.findall(r'recorded_(\w+)\[\] = \{(.*?)\n\};', text, re.S):
        found[name] = []
        for exchange in re.findall(r'\{(.*?)\}', body, re.S):
            _, reply = exchange.split('",', 1)
            found[name].append(bytes.fromhex(''.join(re.findall('"([0-9a-f]*)"', reply))))
    return found


def recorded_file():
    """The file of seal.py."""
    with open(RECORDED, encoding='ascii') as file:
        text = file.read()
    body = re.search(r'recorded_file\[\] =(.*?);', text, re.S)[1]
    return bytes.fromhex(''.join(re.findall('"([0-9a-f]*)"', body)))


def part(data):
    """Some bytes after their length."""
    return struct.pack('>H', len(data)) + data


def blob(created, steps=2):
    """A sealed file with what the TPM has created."""
    sealed = created[14:]
    private = 2 + struct.unpack_from('>H', sealed)[0]
    public = 2 + struct.unpack_from('>H', sealed, private)[0]
    history = b''.join(bytes([11 + i % 2]) + bytes([i + 1]) * 7 for i in range(steps))
    return (b'umbra-tpm 1\n' + bytes.fromhex('00001890') + bytes(128) +
            struct.pack('>H', steps) + history + sealed[:private + public])


def main(folder):
    """The seeds."""
    seen = replies(RECORDED)
    good = blob(seen['make'][9])
    elsewhere = recorded_file()
    primary = seen['make'][4]
    pcrs = seen['make'][:4]
    later = [*pcrs, bytes.fromhex('80010000000a00000000')]
    seeds = {
        'make': [b'', *seen['make'], *later],
        'open': [good, primary, *seen['open'], *seen['make'][:4], *seen['make'][5:], *later],
        'shut': [good, primary, *seen['shut'], *pcrs, *later],
        'differs': [good, primary, *seen['shut'], *(data[:-1] + b'x' for data in pcrs), *later],
        'shut-long': [blob(seen['make'][9], 90), primary, *seen['shut'], *pcrs, *later],
        'other': [good, primary, *seen['other'], *pcrs, *later],
        'import': [elsewhere, primary, *seen['import'], *pcrs, *later],
        'import-other': [elsewhere, primary, *seen['import_other'], *pcrs, *later],
        'format': [good, b'\x80\x02', *later],
        'lock-out': [good, bytes.fromhex('80010000000a00000921'), *pcrs, *later],
        'password': [good, bytes.fromhex('80010000000a000009a2'), *pcrs, *later],
        'error': [good, bytes.fromhex('80010000000a00000101'), *pcrs, *later],
        'retry': [b''] + [bytes.fromhex('80010000000a00000922')] * 3 + [*pcrs, *later],
        'silent': [good],
    }
    for name, parts in seeds.items():
        with open(os.path.join(folder, name), 'wb') as file:
            file.write(b''.join(part(data) for data in parts))


if __name__ == '__main__':
    main(sys.argv[1])
