# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: nothing of what firmware's memory contained is left when Umbra runs.

An EFI program (tests/machine/odd.c) fills memory of each kind with markers and starts Umbra. All
of them are in DRAM then, which is the control; none is when a VM starts, and none when the
machine powers off.

Words: the scanner (tests/bus/dramscan).
"""

from coldboot import END, check, list_few
from markers import Scanner

PLANTED = '512 pages are full of markers'
STARTS = 'vm tiny: starts with'
PAGES = 512


def look(bus, program, when):
    """The markers in DRAM: (address, number)."""
    found = Scanner(program, bus.dump('dram.bin')).markers()
    bus.say(f'{when}: {len({number for _, number in found})} of {PAGES} pages')
    return found


def main(bus, program):
    """Dumps DRAM and judges it."""
    bus.wait(PLANTED)
    before = look(bus, program, "before Umbra")
    check({number for _, number in before} >= set(range(PAGES)), 'the control found too few')
    for when in (STARTS, END):
        bus.wait(when)
        left = look(bus, program, when)
        check(not left, f'left: {list_few([address for address, _ in left])}')
