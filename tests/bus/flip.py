# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: flips one bit of a sealed page of the guest "flip".

It finds the ciphertext as an attacker would: it dumps DRAM before and after each time that one
page was sealed again, and takes the frame that changed as a whole with this page and with no
other.
"""

import re

from coldboot import check, window_of

PAGE_BYTES = 4096
BLOCK_BYTES = 16
ROUNDS = 7
SEALED = 'was changed and sealed'
BIT = 5
BLOCK = 77              # of the page's 256 blocks
LAST_PAGE = '900'       # the page that the guest changes last


def changed(before, after):
    """The frames in which no 16-byte block is the same as before."""
    frames = set()
    for at in range(0, len(before), PAGE_BYTES):
        if before[at:at + BLOCK_BYTES] == after[at:at + BLOCK_BYTES]:
            continue
        if all(before[block:block + BLOCK_BYTES] != after[block:block + BLOCK_BYTES]
               for block in range(at, at + PAGE_BYTES, BLOCK_BYTES)):
            frames.add(at)
    return frames


def pages_of(text):
    """The pages that the guest reports as changed."""
    return re.findall(r'page (\d+) ' + SEALED, text)


def find(bus):
    """Finds the frame of the page that was changed last."""
    text, before, with_it, with_others = '', None, [], []
    for number in range(ROUNDS):
        text += bus.wait(SEALED)
        now = bus.read(0, bus.bytes)
        bus.type('.')           # the guest goes on when the machine does
        if number > 0:
            frames = changed(before, now)
            (with_it if pages_of(text)[-1] == LAST_PAGE else with_others).append(frames)
        before = now
    _, window = window_of(text)
    found = set.intersection(*with_it) - set.union(*with_others)
    found = [frame for frame in found if not any(low <= frame < high for low, high in window)]
    bus.say(f'page {LAST_PAGE} is sealed in {", ".join(map(hex, found)) or "none"}')
    check(len(found) == 1, f'{len(found)} frames changed with page {LAST_PAGE} alone')
    return found[0]


def main(bus):
    """Finds the page, flips the bit, and asks the guest."""
    bus.flip(find(bus) + BLOCK * BLOCK_BYTES + 3, BIT)
    differ = re.findall(r'page (\d+) block (\d+) differs', bus.wait('blocks differ'))
    bus.say(f'after one bit: (page, block) that differ: {differ}')
    check(differ == [(LAST_PAGE, str(BLOCK))],
          f'not block {BLOCK} of page {LAST_PAGE} alone: {differ}')
