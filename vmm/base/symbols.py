#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nm -n IMAGE | symbols.py > TABLE: the functions of the image, as vmm/base/symbols.c reads them.

A count, then for each function where it starts and where its name lies (from the start of the
table), then the names. 32 bits each, little-endian. The same input gives the same bytes.
"""
import struct
import sys


def functions(lines):
    """(start, name) of each place in the code that has a name; the first name of a place."""
    found = {}
    first, end = 0, 0
    for line in lines:
        address, kind, name = line.split()
        if name == 'image_text_start':
            first = int(address, 16)
        elif name == 'image_text_end':
            end = int(address, 16)
        elif kind in 'tT':
            found.setdefault(int(address, 16), name)
    return [(start, name) for start, name in sorted(found.items()) if first <= start < end]


def main():
    """Writes the table."""
    places = functions(line for line in sys.stdin if len(line.split()) == 3)
    entries, names = b'', b''
    behind = 4 + 8 * len(places)
    for start, name in places:
        entries += struct.pack('<II', start, behind + len(names))
        names += name.encode('ascii') + b'\0'
    sys.stdout.buffer.write(struct.pack('<I', len(places)) + entries + names)


main()
