# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: breaks Umbra itself while the guest "markers" has filled its memory.

It replaces one instruction of a shell command by UD2, then types the command: an exception in
the hypervisor, with a sealed VM, several CPUs and all keys. Then it judges DRAM after the panic:
no key, no number of the guest.

Words: the scanner (tests/bus/dramscan), the linked image, the function to break, the text to
type.
"""

import os
import subprocess

from coldboot import READY, check, check_wiped
from markers import Scanner

UD2 = b'\x0f\x0b'
LOOK = 48               # so many bytes of the function are compared
PAGE_BYTES = 4096
STORED = 'firmware keeps these lines'


def code_of(out, image, function):
    """The first bytes of a function, and their offset in the image."""
    path = os.path.join(out, 'text.bin')
    subprocess.run(['objcopy', '-O', 'binary', '-j', '.text', image, path], check=True)
    names = subprocess.run(['nm', image], check=True, stdout=subprocess.PIPE, text=True).stdout
    places = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines()
              if len(line.split()) == 3}
    at = places[function]
    with open(path, 'rb') as file:
        file.seek(at - places['image_text_start'])
        return file.read(LOOK), at


def find(dump, code, offset):
    """The address of the code in DRAM. Firmware keeps its own copy of the file, with another
    alignment."""
    found, at = [], dump.find(code)
    while at >= 0:
        if (at - offset) % PAGE_BYTES == 0:
            found.append(at)
        at = dump.find(code, at + 1)
    return found


def main(bus, program, image, function, command):
    """Breaks the function and judges DRAM."""
    bus.wait(READY)
    before = Scanner(program, bus.dump('dram.bin'))
    check(before.keys() and before.markers(), 'nothing secret is there to be wiped')
    code, offset = code_of(bus.out, image, function)
    places = find(bus.read(0, bus.bytes), code, offset)
    bus.say(f'{function} lies at {", ".join(map(hex, places))}')
    check(len(places) == 1, f'{len(places)} places look like {function}')
    bus.write(places[0], UD2)
    bus.type('\x1e' + command + '\r')
    bus.wait(STORED)
    check_wiped(bus, program, 'after the panic')
