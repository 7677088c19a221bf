# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: what the end of the machine leaves of guests' registers in DRAM.

Guests "regmark" have markers in general and vector registers, on fewer CPUs than there are
guests, so Umbra saves the registers with vCPUs and on stacks. A panic (an instruction of Umbra
is broken) or a reset ends the machine.

Words: the scanner (tests/bus/dramscan), the linked image, the number of guests, panic or reset.
"""

from coldboot import check, inside, list_few, window_of
from ownkey import READY
from panic import UD2, code_of, find
from markers import Scanner

GENERAL = range(500000, 500004)
VECTOR = range(500004, 500008)
AGAIN = 'started by EDK II'
LEFT = 'firmware keeps these lines'     # logged near the end, when all has been zeroed


def registers(bus, program):
    """(address, number) of the markers in DRAM."""
    scanner = Scanner(program, bus.dump('dram.bin'))
    return [(at, number) for at, number in scanner.markers()
            if number in GENERAL or number in VECTOR]


def main(bus, program, image, guests, how):
    """Ends the machine and searches its DRAM."""
    log = ''.join(bus.wait(READY) for _ in range(int(guests)))
    _, ranges = window_of(log)
    own = [(at, number) for at, number in registers(bus, program) if not inside(ranges, at)]
    general = {number for _, number in own if number in GENERAL}
    vector = {number for _, number in own if number in VECTOR}
    bus.say(f"before: {len(general)} general and {len(vector)} vector registers in Umbra's memory")
    check(len(general) == len(GENERAL) and len(vector) == len(VECTOR), 'nothing is there to zero')
    if how == 'panic':
        code, offset = code_of(bus.out, image, 'shell_run_vms')
        places = find(bus.read(0, bus.bytes), code, offset)
        check(len(places) == 1, f'{len(places)} places look like shell_run_vms')
        bus.write(places[0], UD2)
        bus.type('\x1evms\r')
        bus.wait(LEFT)
    else:
        bus.type('\x1ereboot now\r')
        bus.wait(AGAIN)
    found = registers(bus, program)
    bus.say(f'after the {how}: {len(found)} finds')
    check(not found, f'left: {list_few([at for at, _ in found])}')
    if how == 'reset':
        bus.wait(READY)
        bus.type('\x1epoweroff now\r')
