# SPDX-License-Identifier: Apache-2.0
"""The markers of marker.h, for files, and the finds of tests/bus/dramscan."""

import collections
import struct
import subprocess

BASE = 0x6d61726b65727300
PAGE_BLOCKS = 256
PAGE_BYTES = 4096
MASK = (1 << 64) - 1


def mix(value):
    """The finisher of splitmix64."""
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9 & MASK
    value = (value ^ value >> 27) * 0x94d049bb133111eb & MASK
    return value ^ value >> 31


def page(number):
    """A marked page."""
    first = mix(BASE + number & MASK)
    return b''.join(struct.pack('<QQ', first, mix(first + 1 + block & MASK))
                    for block in range(PAGE_BLOCKS))


def pages(first, count):
    """Several pages, with consecutive numbers."""
    return b''.join(page(number) for number in range(first, first + count))


Key = collections.namedtuple('Key', 'address bits use key')


class Scanner:
    """The program that searches dumps."""

    def __init__(self, program, dump):
        self.program = program
        self.dump = dump

    def scan(self, *words):
        """Runs it; returns its output as a list of words for each line."""
        done = subprocess.run([self.program, self.dump, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode().strip())
        return [line.split() for line in done.stdout.decode().splitlines()]

    def markers(self):
        """(address, number) of the first block of each number in each page."""
        return [(int(address, 16), int(number)) for address, number in self.scan('markers')]

    def keys(self):
        """AES key schedules; `key` numbers the keys, equal keys have equal numbers."""
        return [Key(int(address, 16), int(bits), use, int(key))
                for address, bits, use, key in self.scan('keys')]

    def hashes(self):
        """Addresses of the powers of tags' hash keys."""
        return [int(address, 16) for address, _ in self.scan('hashes')]

    def master(self, path):
        """(address, what) of the master key in the file and of page keys under it: `wrapped`, or a
        piece of `master` or of a `page` key."""
        return [(int(address, 16), what) for address, what in self.scan('master', path)]

    def copies(self, path):
        """Addresses at which the content of a file lies."""
        return [int(address, 16) for address, *_ in self.scan('bytes', path)]
