# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: dumps the machine's DRAM when the guest "markers" has filled its memory,
and again when the machine powers off.

Words: the scanner (tests/bus/dramscan), the engine (software or none), the expected number of
AES key schedules, text that only umbra.conf contains; perhaps the expected numbers of hash keys
and of secrets that key files give; perhaps `registers`, if key-store says so. Initrd and key file
contain markers, too.
"""

import collections
import hashlib
import hmac
import os
import re

from markers import PAGE_BYTES, Scanner, page

READY = 'pages hold their numbers'
END = 'the machine powers off, as [host] exit says'
NUMBERS = 16384         # the guest writes 0 to NUMBERS - 1
KEY_FILE = 30000        # the key file's marker; the initrd has the numbers in between
WINDOW = r'window: (\d+) pages in clear, \d+ of them at 0x([0-9a-f]+)-0x([0-9a-f]+)'


def check(condition, text):
    """If a test fails, ends the run with this text."""
    if not condition:
        raise RuntimeError(text)


def window_of(text):
    """Number of pages and address ranges of the window, from the log."""
    pieces = re.findall(WINDOW, text)
    check(pieces, 'the log does not say where the window lies')
    pages = int(pieces[0][0])
    ranges = [(int(start, 16), int(end, 16)) for _, start, end in pieces]
    check(sum(end - start for start, end in ranges) == pages * PAGE_BYTES,
          f'the window has {pages} pages, but the log places others: {ranges}')
    return pages, ranges


def inside(ranges, address):
    """Does a block of 16 bytes lie in one of the ranges?"""
    return any(start <= address and address + 16 <= end for start, end in ranges)


def list_few(addresses):
    """The first few of the addresses, for a message."""
    return ', '.join(f'{address:#x}' for address in addresses[:8])


def check_keys(bus, scanner, expected):
    """Checks what an attack with a cold boot finds while the keys are in memory."""
    keys = scanner.keys()
    kinds = collections.Counter(f'AES-{key.bits} {key.use}' for key in keys)
    bus.say(f'{len(keys)} key schedules of {len({key.key for key in keys})} keys: '
            + ', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items())))
    check(len(keys) == expected, f'{len(keys)} key schedules, not {expected}: '
          + list_few([key.address for key in keys]))


def copies_of(bus, scanner, data):
    """The addresses of these bytes."""
    path = os.path.join(bus.out, 'text')
    with open(path, 'wb') as file:
        file.write(data)
    return scanner.copies(path)


def secret_of_key_file():
    """What Umbra keeps of the case's key file for resets: HKDF with SHA-256 (RFC 5869), no salt."""
    extracted = hmac.digest(bytes(32), page(KEY_FILE)[:64], hashlib.sha256)
    return hmac.digest(extracted, b'umbra key file\x01', hashlib.sha256)


def check_secrets(bus, scanner, hashes, secrets):
    """Checks what else stays in memory: hash keys of tags, and secrets for resets."""
    found = scanner.hashes()
    bus.say(f'{len(found)} hash keys of tags')
    check(len(found) == int(hashes), f'{len(found)} hash keys, not {hashes}: {list_few(found)}')
    found = copies_of(bus, scanner, secret_of_key_file())
    bus.say(f'{len(found)} copies of the secret of the key file')
    check(len(found) == int(secrets), f'{len(found)} secrets, not {secrets}: {list_few(found)}')


def master_of(bus):
    """The debug registers, which are the same on both CPUs."""
    master = bus.debug_registers(0)
    check(bus.debug_registers(1) == master, 'the CPUs have different debug registers')
    return master


def check_registers(bus, scanner, master):
    """Checks that page keys are only there wrapped: no piece of them, none of the master key."""
    check(len({master[at:at + 8] for at in range(0, 32, 8)}) == 4 and bytes(8) not in
          [master[at:at + 8] for at in range(0, 32, 8)], 'the debug registers hold no key')
    path = os.path.join(bus.out, 'master')
    with open(path, 'wb') as file:
        file.write(master)
    found = scanner.master(path)
    os.unlink(path)
    wrapped = [address for address, what in found if what == 'wrapped']
    pieces = [f'{what} at {address:#x}' for address, what in found if what != 'wrapped']
    bus.say(f'{len(wrapped)} wrapped page keys; {len(pieces)} pieces of page keys or of the key '
            'that wraps them')
    check(not pieces, 'keys in memory: ' + ', '.join(pieces[:8]))
    return wrapped


def check_wiped(bus, program, when):
    """Checks that DRAM holds no secret any more."""
    scanner = Scanner(program, bus.dump('dram.bin'))
    found = [address for address, _ in scanner.markers()]
    keys = [key.address for key in scanner.keys()]
    bus.say(f'{when}: {len(found)} finds, {len(keys)} key schedules')
    check(not found and not keys, f'left {when}: {list_few(found + keys)}')


def main(bus, program, engine, schedules, text, hashes=None, secrets=None, store='memory'):
    """Dumps DRAM and judges it."""
    log = bus.wait(READY)
    bus.type('.')       # the guest goes on when the machine does
    scanner = Scanner(program, bus.dump('dram.bin'))
    found = scanner.markers()
    numbers = {number for _, number in found if number < NUMBERS}
    initrd = [address for address, number in found if NUMBERS <= number < KEY_FILE]
    raw_key = [address for address, number in found if number >= KEY_FILE]
    texts = copies_of(bus, scanner, text.encode('ascii'))
    bus.say(f'{len(numbers)} of {NUMBERS} numbers; initrd: {len(initrd)} pages; raw key: '
            f'{len(raw_key)} pieces; command line: {len(texts)} copies')
    check_keys(bus, scanner, int(schedules))
    if hashes is not None:
        check_secrets(bus, scanner, hashes, secrets)
    master = None
    if store == 'registers':
        master = master_of(bus)
        # The run's and the VM's.
        check(len(check_registers(bus, scanner, master)) == 2, 'not two wrapped page keys')
    if engine == 'none':
        check(len(numbers) == NUMBERS, 'the control found too few')
        check(initrd and texts, 'the control found no initrd or no command line')
        return
    pages, ranges = window_of(log)
    outside = [address for address, _ in found if not inside(ranges, address)]
    bus.say(f'the window has {pages} pages; {len(outside)} finds outside of it')
    check(not outside, f'{len(outside)} finds outside the window: {list_few(outside)}')
    check(1 <= len(numbers) <= pages, f'{len(numbers)} numbers in {pages} pages')
    check(not initrd, f'the initrd is left in memory: {list_few(initrd)}')
    check(not raw_key, f'the key file is left in memory: {list_few(raw_key)}')
    check(not texts, f'the command line is left in memory: {list_few(texts)}')
    bus.wait(END)
    check_wiped(bus, program, 'at power-off')  # before the last line is sent
    if master is not None:
        scanner = Scanner(program, os.path.join(bus.out, 'dram.bin'))
        check(not check_registers(bus, scanner, master), 'a wrapped key is left at power-off')
        check(master_of(bus) == bytes(32), 'the debug registers are left at power-off')
