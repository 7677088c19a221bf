# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: dumps the machine's DRAM when the guest "markers" has filled its memory,
and again when the machine powers off.

Words: the scanner (tests/bus/dramscan), the engine (software or none), the expected number of
AES key schedules, and text that only umbra.conf contains. Initrd and key file contain markers,
too.
"""

import collections
import os
import re

from markers import PAGE_BYTES, Scanner

READY = 'pages hold their numbers'
END = 'the machine powers off, as [host] exit says'
NUMBERS = 16384         # the guest writes 0 to NUMBERS - 1
KEY_FILE = 30000        # the key file's marker; the initrd has the numbers in between
WINDOW = r'window: (\d+) pages in clear, \d+ of them at 0x([0-9a-f]+)-0x([0-9a-f]+)'


def check(condition, text):
    """If a test fails, ends the run with this text."""
    if not condition:
        raise RuntimeError(text)


def window_of(text):
    """Number of pages and address ranges of the window, from the log."""
    pieces = re.findall(WINDOW, text)
    check(pieces, 'the log does not say where the window lies')
    pages = int(pieces[0][0])
    ranges = [(int(start, 16), int(end, 16)) for _, start, end in pieces]
    check(sum(end - start for start, end in ranges) == pages * PAGE_BYTES,
          f'the window has {pages} pages, but the log places others: {ranges}')
    return pages, ranges


def inside(ranges, address):
    """Does a block of 16 bytes lie in one of the ranges?"""
    return any(start <= address and address + 16 <= end for start, end in ranges)


def list_few(addresses):
    """The first few of the addresses, for a message."""
    return ', '.join(f'{address:#x}' for address in addresses[:8])


def check_keys(bus, scanner, expected):
    """Checks what an attack with a cold boot finds while the keys are in memory."""
    keys = scanner.keys()
    kinds = collections.Counter(f'AES-{key.bits} {key.use}' for key in keys)
    bus.say(f'{len(keys)} key schedules of {len({key.key for key in keys})} keys: '
            + ', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items())))
    check(len(keys) == expected, f'{len(keys)} key schedules, not {expected}: '
          + list_few([key.address for key in keys]))


def copies_of(bus, scanner, text):
    """The addresses of a text."""
    path = os.path.join(bus.out, 'text')
    with open(path, 'w', encoding='ascii') as file:
        file.write(text)
    return scanner.copies(path)


def check_wiped(bus, program, when):
    """Checks that DRAM holds no secret any more."""
    scanner = Scanner(program, bus.dump('dram.bin'))
    found = [address for address, _ in scanner.markers()]
    keys = [key.address for key in scanner.keys()]
    bus.say(f'{when}: {len(found)} finds, {len(keys)} key schedules')
    check(not found and not keys, f'left {when}: {list_few(found + keys)}')


def main(bus, program, engine, schedules, text):
    """Dumps DRAM and judges it."""
    log = bus.wait(READY)
    bus.type('.')       # the guest goes on when the machine does
    scanner = Scanner(program, bus.dump('dram.bin'))
    found = scanner.markers()
    numbers = {number for _, number in found if number < NUMBERS}
    initrd = [address for address, number in found if NUMBERS <= number < KEY_FILE]
    raw_key = [address for address, number in found if number >= KEY_FILE]
    texts = copies_of(bus, scanner, text)
    bus.say(f'{len(numbers)} of {NUMBERS} numbers; initrd: {len(initrd)} pages; raw key: '
            f'{len(raw_key)} pieces; command line: {len(texts)} copies')
    check_keys(bus, scanner, int(schedules))
    if engine == 'none':
        check(len(numbers) == NUMBERS, 'the control found too few')
        check(initrd and texts, 'the control found no initrd or no command line')
        return
    pages, ranges = window_of(log)
    outside = [address for address, _ in found if not inside(ranges, address)]
    bus.say(f'the window has {pages} pages; {len(outside)} finds outside of it')
    check(not outside, f'{len(outside)} finds outside the window: {list_few(outside)}')
    check(1 <= len(numbers) <= pages, f'{len(numbers)} numbers in {pages} pages')
    check(not initrd, f'the initrd is left in memory: {list_few(initrd)}')
    check(not raw_key, f'the key file is left in memory: {list_few(raw_key)}')
    check(not texts, f'the command line is left in memory: {list_few(texts)}')
    bus.wait(END)
    check_wiped(bus, program, 'at power-off')  # before the last line is sent
