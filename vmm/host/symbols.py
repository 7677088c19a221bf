#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nm -n IMAGE | symbols.py > TABLE: writes the table of functions that vmm/host/symbols.c reads.

The table: a count; for each function its start and the offset of its name from the start of the
table; the names. Numbers are 32 bits, little-endian. The same input gives the same bytes.
"""
import struct
import sys


def functions(lines):
    """A list of (start, name) for each place in the code that has a name; with the first name if a
    place has several."""
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
    """Writes the table to standard output."""
    places = functions(line for line in sys.stdin if len(line.split()) == 3)
    entries, names = b'', b''
    behind = 4 + 8 * len(places)
    for start, name in places:
        entries += struct.pack('<II', start, behind + len(names))
        names += name.encode('ascii') + b'\0'
    sys.stdout.buffer.write(struct.pack('<I', len(places)) + entries + names)


main()
