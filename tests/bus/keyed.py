# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: dumps the machine's DRAM when several guests "markers" have filled their
memory, and judges whose markers it contains.

Words: the scanner (tests/bus/dramscan), then for each set of markers NAME:FIRST:COUNT:VERDICT,
where VERDICT is "clear" (all of them are in DRAM as they were written) or "gone" (none is).
FIRST below 100000 means pages of the guest NAME; other numbers are in files of the stick. The
guests go on one after the other, in the order of the words.
"""

import re

from markers import Scanner

READY = 'pages hold their numbers'
FILES = 100000


def main(bus, program, *sets):
    """Dumps DRAM and judges it."""
    wanted = [(name, int(first), int(count), verdict)
              for name, first, count, verdict in (word.split(':') for word in sets)]
    guests = list(dict.fromkeys(name for name, first, _, _ in wanted if first < FILES))
    for _ in guests:
        bus.wait(READY)
    bus.evict()
    found = [number for _, number in Scanner(program, bus.dump('dram.bin')).markers()]
    for name, first, count, verdict in wanted:
        there = len({number for number in found if first <= number < first + count})
        bus.say(f'{name}: {there} of {count} in clear')
        if there != (count if verdict == 'clear' else 0):
            raise RuntimeError(f'{name}: {there} of {count} markers in DRAM, wanted {verdict}')
    for name in guests:
        bus.type('.')
        if re.search(r'\bFAIL\b', bus.wait(f'vm {name}: ended')):
            raise RuntimeError(f'{name}: lost what it wrote')
