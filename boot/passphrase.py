#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""passphrase.py FILE [ITERATIONS]: makes the file for `key = passphrase:PATH` of umbra.conf.

It asks for the passphrase twice, or reads one line if the input is not a terminal. The file holds a
salt and what a passphrase is recognised by, not the passphrase. crypto/passphrase.h has the method.
"""

import getpass
import hashlib
import hmac
import os
import sys
import time

ITERATIONS = 1000000
LEAST, MOST = 10000, 20000000       # what Umbra takes
SHORTEST, LONGEST = 8, 127          # characters
CHECK_LABEL = b'umbra passphrase check'


class PassphraseError(Exception):
    """No file was written. The text says why."""


def hkdf(secret, label):
    """RFC 5869 with SHA-256 and no salt; one block of 32 bytes."""
    key = hmac.digest(bytes(32), secret, 'sha256')
    return hmac.digest(key, label + b'\1', 'sha256')


def ask():
    """The passphrase; twice the same on a terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip('\n')
    text = getpass.getpass('passphrase: ')
    if getpass.getpass('once more: ') != text:
        raise PassphraseError('these are two different passphrases')
    return text


def check_text(text):
    """Umbra's shell has an English keyboard and takes printable ASCII."""
    if not SHORTEST <= len(text) <= LONGEST:
        raise PassphraseError(f'a passphrase has {SHORTEST} to {LONGEST} characters')
    if not all(' ' <= c <= '~' for c in text):
        raise PassphraseError('a passphrase has only characters of ASCII: letters, digits, '
                              'punctuation, spaces')
    return text.encode('ascii')


def make(text, iterations, salt):
    """The content of the file."""
    result = hashlib.pbkdf2_hmac('sha512', text, salt, iterations)
    return (f'umbra-passphrase 1\niterations {iterations}\nsalt {salt.hex()}\n'
            f'check {hkdf(result, CHECK_LABEL).hex()}\n')


def main(arguments):
    """The command line."""
    if len(arguments) not in (1, 2):
        print('usage: passphrase.py FILE [ITERATIONS]', file=sys.stderr)
        return 2
    try:
        given = arguments[1] if arguments[1:] else str(ITERATIONS)
        if not given.isdigit() or not LEAST <= int(given) <= MOST:
            raise PassphraseError(f'iterations are a number from {LEAST} to {MOST}')
        text = check_text(ask())
        begin = time.monotonic()
        content = make(text, int(given), os.urandom(32))
        with open(arguments[0], 'x', encoding='ascii') as file:
            file.write(content)
    except (PassphraseError, OSError) as error:
        print(f'passphrase: {error}', file=sys.stderr)
        return 1
    print(f'{arguments[0]}: {given} iterations, which took this machine '
          f'{time.monotonic() - begin:.1f} s')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
