# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: when the guest "markers" has filled its memory, a user pauses it with
--seal. Before that, DRAM contains some of its numbers; afterwards it contains none, and the
guest can go on.

Word: the scanner (tests/bus/dramscan).
"""

from markers import Scanner


def count(bus, program):
    """How many pages of DRAM contain one of the guest's numbers."""
    return len(Scanner(program, bus.dump('dram.bin')).markers())


def main(bus, program):
    """Types the commands, and judges DRAM."""
    bus.wait('pages hold their numbers')
    before = count(bus, program)
    bus.type('\x1e')
    bus.wait('umbra> ')
    bus.type('pause --seal cold\r')
    bus.wait('none of its pages is in clear')
    paused = count(bus, program)
    bus.say(f'{before} pages in clear while it runs, {paused} while it is paused and sealed')
    if before == 0 or paused != 0:
        raise RuntimeError('none should be in clear only while it is paused')
    bus.type('vm cold\r')
    bus.wait(' 0 pages in clear')
    bus.type('resume cold\r')
    bus.wait('vm cold goes on')
    bus.type('\x1e')
    bus.type('.')
