# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: attacks on sealed pages of a VM "a" with the guest "scribe".

The attacker takes a page's ciphertext while the VM is paused and sealed, and changes it. With
integrity = on the VM must end as soon as it reads the page; with integrity = off, the control,
it reads garbage or older data, and nothing notices it.

Word: on or off.

Run as a program, it prints a table of the results of both cases in a folder.
"""

import os
import re
import struct
import sys

from attacks import SHELL, equal_blocks, said
from coldboot import check
from flip import changed

PAGE_BYTES = 4096
PAGE_BLOCKS = 256
PAGE, OTHER = 3, 4      # the guest's page that is attacked, and another one
FIRST = 1000            # page n holds the number FIRST + n at first
NUMBER = 5000           # what the guest writes later
ENDED = 'vm a: ended: tampered: region 0, page '
CHUNK_PAGES = 16        # ept/pager_priv.h, struct sealed_region: the list `pages`, then `chunks`
STORED = struct.Struct('<Q16sIB3x')     # struct stored_page: version, tag, opened, kind
SEALED = 1              # enum store_kind
CASES = {'on': 'sealed-attacks-on', 'off': 'sealed-attacks-off'}
CHANGES = ['older version', 'moved page', 'spliced halves', 'changed bit']
ATTACKS = CHANGES + ['equal content', 'replay with metadata']


class Victim:
    """The VM, seen from Umbra's shell and its own console, and its two pages in DRAM."""

    def __init__(self, bus):
        self.bus = bus
        self.before = None      # DRAM before the guest wrote its page
        self.where = {}         # addresses of ciphertext, by page

    def seal(self):
        """Pauses the VM from its console, so that all of its pages are ciphertext."""
        self.bus.type(SHELL)
        self.bus.wait('umbra> ')
        self.bus.type('pause --seal a\r')
        self.bus.wait('none of its pages is in clear')

    def go_on(self):
        """Lets it run, with its console in front."""
        self.bus.type('resume a\r')
        self.bus.wait('vm a goes on')
        self.bus.type('console a\r')
        self.bus.wait('console a')

    def write(self, page, number):
        """Makes the guest write a page."""
        self.bus.type(f'w {page} {number}\r')
        self.bus.wait(f'scribe: page {page} has number {number};')

    def write_sealed(self, page, number):
        """The same, sealed before and afterwards; returns DRAM after it."""
        self.go_on()
        self.write(page, number)
        self.seal()
        return self.bus.read(0, self.bus.bytes)

    def blocks_of(self, number):
        """How many blocks of its page the guest reads as those of a number."""
        self.bus.type(f'r {PAGE} {number}\r')
        self.bus.wait('scribe: page')
        return int(re.search(r'has (\d+) blocks', self.bus.wait(';')).group(1))

    def find(self):
        """Finds the ciphertext of both pages: it changes as a whole when its page is written, and
        not when the other one is. Leaves the VM sealed."""
        self.seal()
        self.before = self.bus.read(0, self.bus.bytes)
        middle = self.write_sealed(PAGE, NUMBER)
        after = self.write_sealed(OTHER, NUMBER + 1)
        first, second = changed(self.before, middle), changed(middle, after)
        for page, frames in ((PAGE, first - second), (OTHER, second - first)):
            check(len(frames) == 1, f'{len(frames)} frames changed with page {page} alone')
            self.where[page], = frames
        return after

    def old(self):
        """The older ciphertext of the page."""
        return self.before[self.where[PAGE]:self.where[PAGE] + PAGE_BYTES]

    def now(self, page):
        """The ciphertext of a page that DRAM has."""
        return self.bus.read(self.where[page], PAGE_BYTES)


def older_version(victim):
    """The ciphertext of what the page held before."""
    victim.bus.write(victim.where[PAGE], victim.old())


def moved_page(victim):
    """The ciphertext of another page."""
    victim.bus.write(victim.where[PAGE], victim.now(OTHER))


def spliced_halves(victim):
    """Half of the older ciphertext, half of the latest one."""
    half = PAGE_BYTES // 2
    victim.bus.write(victim.where[PAGE] + half, victim.old()[half:])


def changed_bit(victim):
    """One bit."""
    victim.bus.flip(victim.where[PAGE] + 77 * 16 + 3, 5)


def change(bus, victim, name, integrity):
    """Makes one of the attacks above, and checks what comes of it."""
    {'older version': older_version, 'moved page': moved_page,
     'spliced halves': spliced_halves, 'changed bit': changed_bit}[name](victim)
    victim.go_on()
    if integrity == 'on':
        bus.type(f'r {PAGE} {NUMBER}\r')
        bus.wait(ENDED)
        words = bus.wait(': its ciphertext is not what Umbra stored')
        bus.say(f'{name}: fails: the VM ends: region 0, page {words.split(":")[0]}')
        return
    good = victim.blocks_of(NUMBER)
    check(good == {'spliced halves': 128, 'changed bit': 255}.get(name, 0),
          f'{name}: {good} blocks are right')
    bus.say(f'{name}: succeeds: {PAGE_BLOCKS - good} of {PAGE_BLOCKS} blocks are not what the '
            'guest wrote, and nothing notices it')


def equal_content(bus, victim):
    """The guest writes what the page holds already. The control: a page that it does not write."""
    before = {page: victim.now(page) for page in (PAGE, OTHER)}
    victim.write_sealed(PAGE, NUMBER)
    same, control = (equal_blocks(before[page], victim.now(page)) for page in (PAGE, OTHER))
    check(control == PAGE_BLOCKS, f'{control} blocks of a page that was not written are equal')
    bus.say(f'equal content: {"succeeds" if same else "fails"}: after the same was written again, '
            f'{same} of {PAGE_BLOCKS} blocks are equal; {control} where nothing was written')
    check(same == 0, f'{same} blocks are equal')


def metadata(victim, now):
    """Where Umbra keeps the page's version and tag: the list of chunks has the address of the
    page's chunk, and before it lies the list of pages. Returns the addresses of both."""
    def is_frame(at):
        value = struct.unpack_from('<Q', now, at)[0]
        return 0 < value < len(now) and value % PAGE_BYTES == 0

    found = []
    for index in range(CHUNK_PAGES):
        name = struct.pack('<Q', victim.where[PAGE] - index * PAGE_BYTES)
        at = now.find(name)
        while at >= 0:
            first = last = at
            while at % 8 == 0 and is_frame(first - 8):
                first -= 8
            while at % 8 == 0 and is_frame(last + 8):
                last += 8
            behind = (last + 8 - at) // 8 * CHUNK_PAGES - index   # pages from this one on
            stored = first - behind * STORED.size
            if at % 8 == 0 and stored > 0:
                older, newer = (STORED.unpack_from(dram, stored) for dram in (victim.before, now))
                if 0 < older[0] < newer[0] and older[3] == newer[3] == SEALED:
                    found.append((stored, stored + 8))
            at = now.find(name, at + 1)
    check(len(found) == 1, f'{len(found)} places look like the metadata of the page')
    return found[0]


def replay(bus, victim):
    """Not covered: an attacker who writes Umbra's own memory as well puts back page, version and
    tag."""
    now = bus.read(0, bus.bytes)
    version, tag = metadata(victim, now)
    older_version(victim)
    bus.write(version, victim.before[version:version + 8])
    bus.write(tag, victim.before[tag:tag + 16])
    victim.go_on()
    blocks = victim.blocks_of(FIRST + PAGE)
    bus.say(f'replay with metadata: succeeds: the guest reads {blocks} of {PAGE_BLOCKS} blocks '
            'that it had overwritten')
    check(blocks == PAGE_BLOCKS, f'{blocks} blocks are the older ones')


def main(bus, integrity):
    """Runs all attacks."""
    victim = Victim(bus)
    bus.wait('pages are filled;')
    victim.find()
    equal_content(bus, victim)
    replay(bus, victim)
    victim.seal()
    for number, name in enumerate(CHANGES):
        if integrity == 'off' or number == 0:
            victim.before = bus.read(0, bus.bytes)
            victim.write_sealed(PAGE, NUMBER)
        else:
            bus.wait('umbra> ')
            bus.type('start a\rconsole a\r')
            bus.wait('pages are filled;')
            victim.find()
        change(bus, victim, name, integrity)
        if integrity == 'off':
            victim.seal()
    if integrity == 'off':
        bus.type('poweroff now\r')
    else:
        bus.wait('umbra> ')
        bus.type('poweroff now\r')


def print_table(folder):
    """Prints the attacks and their controls. Returns how many lines are missing."""
    on, off = (said(folder, CASES[name]) for name in ('on', 'off'))
    missing = 0
    for name in ATTACKS:
        for machine, results in (('sealed', on), ('control', off)):
            print(f'{name if machine == "sealed" else "":20} {machine:8} '
                  f'{": ".join(results.get(name, ("missing", "")))}')
            missing += name not in results
    return missing


if __name__ == '__main__':
    sys.exit(print_table(sys.argv[1]) != 0)
