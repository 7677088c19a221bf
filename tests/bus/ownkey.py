# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: what a dump shows of Umbra's own memory, on a machine where KeyID 0 is in
clear.

The guest "regmark" has markers in its registers, which Umbra saves in its heap; the image's data
contains the name of its kernel's file; and the random generator has a key schedule.

Words: the scanner (tests/bus/dramscan); "gone", or "clear" for a control, in which Umbra has no
KeyID or its KeyID has no key; the name of the file.
"""

from coldboot import check, copies_of, list_few
from markers import Scanner

READY = 'four markers are in registers'
NUMBERS = range(500000, 500004)     # the markers of regmark


def main(bus, program, verdict, name):
    """Dumps DRAM and judges it."""
    bus.wait(READY)
    scanner = Scanner(program, bus.dump('dram.bin'))
    found = {number: address for address, number in scanner.markers() if number in NUMBERS}
    keys = [key.address for key in scanner.keys()]
    names = copies_of(bus, scanner, name.encode())
    guest = copies_of(bus, scanner, READY.encode())
    bus.say(f'{len(found)} of {len(NUMBERS)} markers, {len(keys)} key schedules, '
            f'{len(names)} copies of the name, {len(guest)} of the guest\'s text')
    check(guest, 'the guest is in clear, but not in the dump')
    if verdict == 'clear':
        check(len(found) == len(NUMBERS) and keys and names, 'the control found too little')
    else:
        check(not found, f'registers are in clear: {list_few(list(found.values()))}')
        check(not keys, f'keys are in clear: {list_few(keys)}')
        check(not names, f'the name is in clear: {list_few(names)}')
