# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: VM "b" gets memory of VM "a" while caches hold dirty lines of it.

Words: the scanner (tests/bus/dramscan), and the expected state of the memory: "intact" (b has
what it wrote, and a's secret is gone), "lost" (b's data is lost), "outlives" (a's secret can be
read with its old KeyID after the key was overwritten). For a control also the rule that the
machine breaks from a's end on: DROP=wbinvd and so on.
"""

from attacks import PAGE_BLOCKS, PAGES, SECRET, SHELL, Attack, equal_blocks
from coldboot import check
from markers import PAGE_BYTES, page as marked_page


def main(bus, program, wanted, broken=None):
    """Ends a, starts b, and checks the memory that both had."""
    attack = Attack(bus, program, None)
    a = attack.started('a')
    for page in range(PAGES):
        attack.order(f'w {page} {SECRET + page}', evict=False)
    if broken:
        bus.break_rule(broken)
    attack.shell('destroy a', 'its key is dead')
    bus.wait('umbra> ')
    left = sum(equal_blocks(bus.read_as(a.keyid, address, PAGE_BYTES), marked_page(number))
               for number, address in a.where.items())
    bus.say(f'with the old KeyID {left} of {PAGES * PAGE_BLOCKS} blocks are a\'s secret')
    check((left != 0) == (wanted == 'outlives'), f'{left} blocks of a\'s secret can be read')
    bus.type('start b\rconsole b\r')
    text = bus.wait('pages are filled;')
    bus.type(SHELL)                 # b's guest may lose its code, too
    bus.wait('umbra> ')
    b = attack.look('b', text)
    kept = sum(max(equal_blocks(bus.read_as(b.keyid, address, PAGE_BYTES), marked_page(number))
                   for address in a.where.values())
               for number in range(2 * SECRET, 2 * SECRET + PAGES))
    bus.say(f'of b\'s {PAGES * PAGE_BLOCKS} blocks in memory that was a\'s {kept} are intact')
    check((kept != PAGES * PAGE_BLOCKS) == (wanted == 'lost'), f'{kept} blocks are intact')
    bus.type('poweroff now\r')
