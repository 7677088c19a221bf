# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: the guest "markers" has filled its memory under a KeyID, a user parks it
with `pause --park`, and it goes on later. Parked it has no KeyID: what it holds lies sealed under
KeyID 0, and its old key is gone. Its range in clear, which is not sealed, shows that the scan finds
what is there.

Words: the scanner (tests/bus/dramscan), the first number, how many pages lie under the VM's KeyID,
how many in clear.
"""

import re

from coldboot import READY, check
from markers import Scanner


def main(bus, program, first, private, clear):
    """Types the commands, and judges."""
    first, private, clear = int(first), int(private), int(clear)

    def look(when, keyid, wanted):
        bus.evict()
        found = {number for _, number in Scanner(program, bus.dump('seen.bin', keyid)).markers()}
        own = len(found & set(range(first, first + private)))
        range_in_clear = len(found & set(range(first + private, first + private + clear)))
        bus.say(f'{when}, KeyID {keyid}: {own} of {private} pages, '
                f'{range_in_clear} of {clear} of the range in clear')
        check(own == wanted and (keyid != 0 or range_in_clear == clear),
              f'{when}: {own} pages open under KeyID {keyid}, not {wanted}; of the range in clear '
              f'{range_in_clear}')

    keyid = int(re.search(r'vm mixed: starts .* under KeyID (\d+)', bus.wait(READY)).group(1))
    look('running', 0, 0)
    look('running', keyid, private)
    bus.type('\x1e')
    bus.wait('umbra> ')
    bus.type('pause --park mixed\r')
    bus.wait('its memory is parked: sealed')
    bus.wait(f'KeyID {keyid}, generation 1 (mixed, random key): its key is dead')
    look('parked', 0, 0)
    look('parked', keyid, 0)
    bus.type('resume mixed\r')
    text = bus.wait('key = random) now')
    fresh = int(re.search(r'its memory is under KeyID (\d+)', text).group(1))
    look('resumed', 0, 0)
    look('resumed', fresh, private)
    bus.type('\x1e.')   # the guest looks at all of it, and ends
