#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sign.py ESP OUT KEY,CERT: copies the folder of a stick and signs the program in the copy.

KEY and CERT (both PEM) are a key for Secure Boot and its certificate, which firmware has in db.
What it does is described in README.md, "A signed stick".
"""

import os
import shutil
import subprocess
import sys

LOADER = os.path.join('EFI', 'BOOT', 'BOOTX64.EFI')


class SignError(Exception):
    """There is no signed folder; the text says why."""


def run(*command):
    """Runs a tool and returns its output. Its complaint becomes the error: a warning of sbsign is
    one too, for a firmware may read the file in another way than sbsign."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode('utf-8', 'replace').strip()
    if done.returncode != 0 or 'warning' in said:
        raise SignError(f'{command[0]}: {said or done.returncode}')
    return done.stdout


def sign_program(path, key, certificate):
    """Replaces a program by the signed one."""
    run('sbsign', '--key', key, '--cert', certificate, '--output', f'{path}.signed', path)
    run('sbverify', '--cert', certificate, f'{path}.signed')
    os.replace(f'{path}.signed', path)


def sign(esp, out, keys):
    """Makes the signed copy of a folder."""
    if len(keys) != 2:
        raise SignError('SIGN names a key and its certificate: SIGN=KEY,CERT')
    for path in (*keys, os.path.join(esp, LOADER)):
        if not os.path.isfile(path):
            raise SignError(f'{path} does not exist')
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(esp, out)
    sign_program(os.path.join(out, LOADER), *keys)


def main(arguments):
    """The command line."""
    if len(arguments) != 3:
        print('usage: sign.py ESP OUT KEY,CERT', file=sys.stderr)
        return 2
    try:
        sign(arguments[0], arguments[1], arguments[2].split(','))
    except (SignError, OSError) as error:
        print(f'sign: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
