# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: the six attacks on memory under KeyIDs, against Umbra with two VMs, and two
attacks from which TME-MK does not protect.

The guest "scribe" writes and reads its pages on request: first in the VM "a", which has a
secret, then in the VM "b", which gets memory that was a's.

Words: the scanner (tests/bus/dramscan), and the kind of machine: "honest" (each attack must
fail); "pconfig" (DROP=pconfig: PCONFIG changes no key, so all memory is under one key) and
"tweak" (TWEAK=constant), the controls, where attacks must succeed.

Run as a program, it prints a table of the results of the cases in a folder.
"""

import collections
import os
import re
import sys

from coldboot import check
from markers import PAGE_BYTES, Scanner, page as marked_page

SHELL = '\x1e'          # Ctrl-^
BLOCK_BYTES = 16
PAGE_BLOCKS = PAGE_BYTES // BLOCK_BYTES
PAGES = 16              # pages that the guest fills
SECRET = 1000           # the first number of a; b has other numbers
KEYIDS = 16             # of P4, including KeyID 0
GUESSES = 8
PEEKED = 256            # bytes that Umbra's command shows

ATTACKS = ['kernel mapping', 'freed data', 'cross-domain replay', 'delayed compare', 'wear-out',
           'relocation']
RESIDUAL = ['same-key replay', 'bit flip']
CASES = {'honest': 'row-45-46-attacks', 'pconfig': 'row-27-45-control-one-key',
         'tweak': 'row-45-control-constant-tweak'}

# where: the address of each page, by its number
Vm = collections.namedtuple('Vm', 'name keyid where')


def equal_blocks(one, other):
    """How many 16-byte blocks are equal at the same offset."""
    return sum(one[at:at + BLOCK_BYTES] == other[at:at + BLOCK_BYTES]
               for at in range(0, min(len(one), len(other)), BLOCK_BYTES))


class Attack:
    """An attacker with Umbra's shell and the memory bus."""

    def __init__(self, bus, program, machine):
        self.bus = bus
        self.program = program
        self.machine = machine

    def verdict(self, name, leaks, text):
        """Reports the result of an attack, and ends the run if it is not the expected one."""
        self.bus.say(f'{name}: {"succeeds" if leaks else "fails"}: {text}')
        control = {'honest': RESIDUAL, 'pconfig': ATTACKS[:5], 'tweak': ATTACKS[5:]}
        check(leaks == (name in control[self.machine]),
              f'{name}, machine {self.machine}: leaks = {leaks}: {text}')

    def started(self, name):
        """Waits until a VM has started and its guest has filled its pages; returns the Vm."""
        text = self.bus.wait('pages are filled;')
        return self.look(name, text)

    def look(self, name, text):
        """The facts about a VM that has started: its KeyID, from the log, and the addresses of its
        pages."""
        keyid = int(re.findall(rf'vm {name}: starts .* under KeyID (\d+)', text)[-1])
        self.bus.evict()
        found = Scanner(self.program, self.bus.dump('seen.bin', keyid)).markers()
        where = {number: address for address, number in found}
        return Vm(name, keyid, where)

    def shell(self, order, until):
        """Types a command into Umbra's shell, from a guest's console; returns the output up to
        `until`."""
        self.bus.type(SHELL)
        self.bus.wait('umbra> ')
        self.bus.type(order + '\r')
        return self.bus.wait(until)

    def start(self, name):
        """Starts a VM from the shell, and goes to its console."""
        self.bus.type(f'start {name}\rconsole {name}\r')
        return self.started(name)

    def order(self, text, evict=True):
        """Sends a line to the guest at the console, flushes the caches, and returns the answer."""
        self.bus.type(text + '\r')
        self.bus.wait('scribe: ')
        answer = self.bus.wait(';')
        if evict:
            self.bus.evict()
        return answer

    def write(self, page, number):
        """Makes the guest fill a page with a number's markers."""
        self.order(f'w {page} {number}')

    def blocks_of(self, page, number):
        """How many of the page's blocks the guest reads as blocks of a number; and the last other
        number that it read."""
        words = re.search(r'has (\d+) blocks of number \d+, last other (\d+)',
                          self.order(f'r {page} {number}'))
        return int(words.group(1)), int(words.group(2))

    def power_off(self):
        """Ends the run."""
        self.bus.type(SHELL)
        self.bus.wait('umbra> ')
        self.bus.type('poweroff now\r')

    def page(self, address):
        """The ciphertext of a page."""
        return self.bus.read(address, PAGE_BYTES)


def peek(attack, address):
    """What Umbra reads at the address through its own mapping, under KeyID 0."""
    text = attack.shell(f'peek {address:x} {PEEKED}', f'  {address + PEEKED - BLOCK_BYTES:012x}  ')
    text += attack.bus.wait('umbra> ')
    rows = re.findall(r'  [0-9a-f]{12}  ((?:[0-9a-f]{2} ){16})', text)
    return bytes.fromhex(''.join(rows))


def kernel_mapping(attack, a):
    """A mapping of a VM's frame under KeyID 0: Umbra's own command makes one."""
    address = a.where[SECRET]
    seen = peek(attack, address)
    check(len(seen) == PEEKED, f'peek showed {len(seen)} bytes')
    blocks = equal_blocks(seen, marked_page(SECRET))
    total = PEEKED // BLOCK_BYTES + PAGES * PAGE_BLOCKS
    blocks += sum(equal_blocks(attack.bus.read_as(0, a.where[number], PAGE_BYTES),
                               marked_page(number)) for number in range(SECRET, SECRET + PAGES))
    attack.verdict('kernel mapping', blocks != 0,
                   f'through KeyID 0, {blocks} of {total} blocks are the secret')


def freed_data(attack, a, kept):
    """Memory of a VM that has ended, before another VM has written to it."""
    attack.bus.type('destroy a\r')
    attack.bus.wait('its key is dead')
    attack.bus.wait('umbra> ')
    attack.bus.evict()
    left = sum(attack.page(a.where[number]) == kept[number] for number in kept)
    check(left == PAGES, f'{left} of {PAGES} pages hold what the VM wrote: nothing is to be shown')
    blocks = max(sum(equal_blocks(attack.bus.read_as(keyid, a.where[number], PAGE_BYTES),
                                  marked_page(number)) for number in kept)
                 for keyid in range(KEYIDS))
    attack.verdict('freed data', blocks != 0,
                   f'{left} pages of ciphertext are left; under any of {KEYIDS} KeyIDs {blocks} of '
                   f'{PAGES * PAGE_BLOCKS} blocks are the secret')


def replay(attack, page, address, number, old):
    """The ciphertext of a's page is written back at its address, where b now runs."""
    attack.bus.write(address, old)
    blocks, _ = attack.blocks_of(page, number)
    attack.verdict('cross-domain replay', blocks != 0,
                   f'b reads {blocks} of {PAGE_BLOCKS} blocks of a\'s secret')


def compare(attack, page, address, number, old):
    """b writes guesses at the address of the secret, and their ciphertext is compared with a's."""
    guesses = range(number - GUESSES // 2, number + GUESSES // 2)
    matches = []
    for guess in guesses:
        attack.write(page, guess)
        if attack.page(address) == old:
            matches.append(guess)
    blocks = equal_blocks(attack.page(address), old)
    check(blocks == 0 or matches, 'single blocks match')
    check(matches in ([], [number]), f'guesses match that are wrong: {matches}')
    attack.verdict('delayed compare', bool(matches), f'of {GUESSES} guesses, the right one among '
                   f'them, {len(matches)} match{"es: the right one" if matches else ""}')


def wear_out(attack, b, page, address):
    """A new key: the count of encrypted blocks starts again, and the ciphertext differs."""
    number = SECRET + 500
    at_first = attack.bus.blocks(b.keyid)
    attack.write(page, number)
    before, old = attack.bus.blocks(b.keyid), attack.page(address)
    check(before >= at_first + PAGE_BLOCKS, f'{before - at_first} blocks were counted for a page')
    text = attack.shell('rekey b', 'its key is dead')
    after = attack.bus.blocks(b.keyid)
    keyid = int(re.search(r'moves from KeyID \d+ to KeyID (\d+)', text).group(1))
    attack.bus.wait('umbra> ')
    attack.bus.type('console b\r')
    attack.bus.wait('console b')
    attack.bus.evict()
    blocks = equal_blocks(attack.page(address), old)
    check(blocks in (0, PAGE_BLOCKS) and (after == 0) == (blocks == 0),
          f'{blocks} blocks are equal, the counter went from {before} to {after}')
    attack.verdict('wear-out', blocks != 0, f'the key had encrypted {before} blocks, its KeyID\'s '
                   f'next key {after}; the same page after rekey, at its place: {blocks} of '
                   f'{PAGE_BLOCKS} blocks are equal')
    return b._replace(keyid=keyid)


def relocation(attack, b):
    """Ciphertext is copied to another address of the same VM."""
    source, target = SECRET + 600, SECRET + 601
    one, two = b.where[2 * SECRET + 1], b.where[2 * SECRET + 2]
    attack.write(1, source)
    attack.write(2, target)
    attack.bus.write(two, attack.page(one))
    blocks, _ = attack.blocks_of(2, source)
    attack.write(2, source)
    alike = equal_blocks(attack.page(one), attack.page(two))
    check((blocks == 0) == (alike == 0), f'{blocks} blocks moved, {alike} are alike')
    attack.verdict('relocation', blocks != 0, f'{blocks} of {PAGE_BLOCKS} blocks can be moved; of '
                   f'equal pages at two addresses {alike} blocks have equal ciphertext')


def residual(attack, b):
    """TME-MK does not protect from an older state of the same page, nor from a changed bit."""
    address, number = b.where[2 * SECRET + 3], SECRET + 700
    attack.write(3, number)
    old = attack.page(address)
    attack.write(3, number + 1)
    attack.bus.write(address, old)
    blocks, _ = attack.blocks_of(3, number)
    attack.verdict('same-key replay', blocks == PAGE_BLOCKS,
                   f'b reads {blocks} of {PAGE_BLOCKS} blocks that it had overwritten')
    attack.bus.flip(address + 77 * BLOCK_BYTES + 3, 5)
    blocks, other = attack.blocks_of(3, number)
    attack.verdict('bit flip', blocks == PAGE_BLOCKS - 1 and other == 77, f'{PAGE_BLOCKS - blocks} '
                   f'block of {PAGE_BLOCKS} is garbage, and nothing notices it')


def main(bus, program, machine):
    """Runs all attacks."""
    attack = Attack(bus, program, machine)
    a = attack.started('a')
    check(sorted(a.where) == list(range(SECRET, SECRET + PAGES)), f'a\'s pages: {a.where}')
    if machine == 'tweak':
        bus.type(SHELL)
        bus.wait('umbra> ')
        relocation(attack, attack.start('b'))
    else:
        kept = {number: attack.page(address) for number, address in a.where.items()}
        kernel_mapping(attack, a)
        freed_data(attack, a, kept)
        b = attack.start('b')
        owner = {address: number for number, address in a.where.items()}
        both = [(number - 2 * SECRET, address) for number, address in b.where.items()
                if address in owner]
        check(both, 'b has no page that was a\'s')
        page, address = both[0]
        replay(attack, page, address, owner[address], kept[owner[address]])
        compare(attack, page, address, owner[address], kept[owner[address]])
        b = wear_out(attack, b, page, address)
        if machine == 'honest':
            relocation(attack, b)
            residual(attack, b)
    attack.power_off()


def said(folder, case):
    """The results of a run: verdict and figures of each attack."""
    with open(os.path.join(folder, case, 'out', 'bus.log'), encoding='utf-8') as file:
        lines = re.findall(r'^([a-z -]+): (fails|succeeds): (.*)$', file.read(), re.MULTILINE)
    return {name: (verdict, text) for name, verdict, text in lines}


def print_table(folder):
    """Prints the attacks and their controls. Returns how many lines are missing."""
    honest, one_key, tweak = (said(folder, CASES[name]) for name in ('honest', 'pconfig', 'tweak'))
    missing = 0
    for name in ATTACKS + RESIDUAL:
        control = (tweak if name == 'relocation' else one_key).get(name)
        print(f'{name:20} Umbra    {": ".join(honest.get(name, ("missing", "")))}')
        missing += name not in honest
        if name in ATTACKS:
            print(f'{"":20} control  {": ".join(control or ("missing", ""))}')
            missing += control is None
    return missing


if __name__ == '__main__':
    sys.exit(print_table(sys.argv[1]) != 0)
