# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: the same page in a VM's own memory and in its share, as DRAM has them.

Words: the scanner (tests/bus/dramscan). The guest "share" writes the page twice.
"""

import re

from coldboot import check
from markers import PAGE_BYTES, Scanner

NUMBER = 3000
BLOCK_BYTES = 16
KEYIDS = 6              # Umbra's, the share's, and those of two VMs


def main(bus, program):
    """Checks that each copy is readable under one KeyID only, and that no block of the two is equal
    in DRAM."""
    own = int(re.search(r'vm marker: starts .* under KeyID (\d+)',
                        bus.wait('share: marked')).group(1))
    bus.evict()
    places = {}
    for keyid in range(KEYIDS):
        scanner = Scanner(program, bus.dump('seen.bin', keyid))
        places.update({address: keyid for address, number in scanner.markers()
                       if number == NUMBER})
    bus.say(', '.join(f'KeyID {keyid} at {address:x}' for address, keyid in places.items()))
    check(len(places) == 2 and own in places.values() and len(set(places.values())) == 2,
          f'the VM has KeyID {own}; the page opens at {places}')
    one, other = (bus.read(address, PAGE_BYTES) for address in places)
    alike = sum(one[at:at + BLOCK_BYTES] == other[at:at + BLOCK_BYTES]
                for at in range(0, PAGE_BYTES, BLOCK_BYTES))
    bus.say(f'{alike} of {PAGE_BYTES // BLOCK_BYTES} blocks have the same ciphertext')
    check(alike == 0, f'{alike} blocks are alike')
    bus.type('.')
