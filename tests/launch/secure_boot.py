#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""secure_boot.py PRODUCT OUT: with Secure Boot on, firmware starts what is signed and no more."""

import struct
import sys

from stick import LOADER, Test

REFUSED = 'Access Denied|Security Violation'
STARTED = 'umbra: Umbra .*, started by'


def code_at(program):
    """Where the PE file has its code: SizeOfHeaders is where the first section begins."""
    pe, = struct.unpack_from('<I', program, 0x3c)
    return struct.unpack_from('<I', program, pe + 24 + 60)[0]


def refused(test, stick):
    """Firmware reports that it may not start this stick's program, and does not start it."""
    text = test.boot(stick, 'SECURE=1', stop='Access Denied')
    test.expect(text, REFUSED)
    test.forbid(text, STARTED)


def main(test):
    """Three sticks."""
    plain = test.stick('plain')
    signed = plain.signed('signed')
    test.expect(test.boot(signed, 'SECURE=1'), STARTED, 'umbra: Secure Boot is on', 'powers off')
    refused(test, plain)
    flipped = signed.copy('flipped')
    flipped.flip(LOADER, code_at(flipped.read(LOADER)) + 100)
    refused(test, flipped)
    test.expect(test.boot(plain.copy('open')), STARTED, 'umbra: Secure Boot is off', 'powers off')
    test.passed()


if __name__ == '__main__':
    main(Test('secure_boot', *sys.argv[1:]))
