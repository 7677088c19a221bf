# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: the same page in a VM's own memory and in its share, as DRAM has them.

Words: the scanner (tests/bus/dramscan), and what the tweak of the machine's encryption is:
"address" or "constant". The guest "share" writes the page twice to its own memory and once to the
share. With a constant tweak one key gives equal pages equal ciphertext, as the VM's own two copies
show (the control). So if the share's copy differs, it is under another key.
"""

import itertools
import re

from attacks import PAGE_BLOCKS, equal_blocks
from coldboot import check
from markers import PAGE_BYTES, Scanner

NUMBER = 3000
KEYIDS = 6              # Umbra's, the share's, and those of two VMs


def main(bus, program, tweak):
    """Checks that each copy is readable under one KeyID only, and that blocks are equal in DRAM
    only under one KeyID and one tweak."""
    own = int(re.search(r'vm marker: starts .* under KeyID (\d+)',
                        bus.wait('share: marked')).group(1))
    bus.evict()
    places = []
    for keyid in range(KEYIDS):
        scanner = Scanner(program, bus.dump('seen.bin', keyid))
        places += [(address, keyid) for address, number in scanner.markers() if number == NUMBER]
    bus.say(', '.join(f'KeyID {keyid} at {address:x}' for address, keyid in places))
    others = {keyid for _, keyid in places} - {own}
    check(len(places) == len(dict(places)) == 3 and len(others) == 1,
          f'the VM has KeyID {own}; the pages open at {places}')
    for (one, a), (other, b) in itertools.combinations(places, 2):
        alike = equal_blocks(bus.read(one, PAGE_BYTES), bus.read(other, PAGE_BYTES))
        bus.say(f'KeyID {a} and KeyID {b}: {alike} of {PAGE_BLOCKS} blocks have the same '
                'ciphertext')
        check(alike == (PAGE_BLOCKS if a == b and tweak == 'constant' else 0),
              f'{alike} blocks are alike under KeyID {a} and KeyID {b}, tweak: {tweak}')
    bus.type('.')
