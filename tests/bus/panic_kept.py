#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""panic_kept.py PRODUCT OUT: the record of a panic outlives power-off, and is shown once.

On QEMU, where firmware keeps variables in flash: one run of a copy of Umbra whose self-test was
made to fail, and two runs of Umbra itself. Prints the output of each; fails with a reason.
"""

import os
import re
import shutil
import subprocess
import sys

from panic import code_of

HERE = os.path.dirname(os.path.abspath(__file__))
BOOT = os.path.join(HERE, '..', 'machine', 'boot.py')
RETURN_1 = b'\xb8\x01\x00\x00\x00\xc3'
SHOWN = 'ended in a panic; firmware kept this of it:'
FIRST = [r'PANIC: CPU 0: the cryptographic self-test failed',
         r'  at 0x\w+ of the image, which lies at 0x\w+: (start_crypto|bring_up)\+0x',
         r'  rax \w{16}  rbx \w{16}', r'  rip \w{16}  cs 0008  ss 0010',
         r'firmware keeps these lines: the next boot shows them again', r'\*\*\* Umbra stopped']
SECOND = [SHOWN, r'\| Umbra \S+, which began 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d and ran \d+ s',
          r'\| PANIC: CPU 0: the cryptographic self-test failed',
          r'\|   rax \w{16}  rbx \w{16}', r'the machine powers off']


def run(out, name, program, stop):
    """Runs it once; returns its output on the serial line."""
    folder = os.path.join(out, name)
    target = os.path.join(folder, 'esp', 'EFI', 'BOOT')
    os.makedirs(target)
    os.makedirs(os.path.join(folder, 'esp', 'umbra'))
    with open(os.path.join(target, 'BOOTX64.EFI'), 'wb') as file:
        file.write(program)
    with open(os.path.join(folder, 'esp', 'umbra', 'umbra.conf'), 'w', encoding='ascii') as file:
        file.write('[host]\nexit = poweroff\n')
    words = [f'ESP={folder}/esp', f'OUT={folder}/out', 'MACHINE=qemu', 'CPUS=2', 'MEM=256',
             f'VARS={out}/vars.fd', 'TIMEOUT=240'] + ([f'STOP={stop}'] if stop else [])
    subprocess.run([sys.executable, '-B', BOOT, *words], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL)
    with open(os.path.join(folder, 'out', 'serial.log'), 'rb') as file:
        text = file.read().decode('utf-8', 'replace').replace('\r', '')
    print('\n'.join(line for line in text.splitlines() if line.startswith(('umbra:', '***'))))
    return text


def expect(text, patterns):
    """Checks that all patterns appear in this order."""
    for pattern in patterns:
        match = re.search(pattern, text)
        if match is None:
            sys.exit(f'panic_kept: the serial line lacks: {pattern}')
        text = text[match.end():]


def main(product, out):
    """Three runs."""
    with open(os.path.join(product, 'BOOTX64.EFI'), 'rb') as file:
        program = file.read()
    code, _ = code_of(out, os.path.join(product, 'umbra.so'), 'crypto_selftest')
    if program.count(code) != 1:
        sys.exit('panic_kept: the self-test is not in the program once')
    at = program.index(code)
    broken = program[:at] + RETURN_1 + program[at + len(RETURN_1):]
    expect(run(out, 'broken', broken, 'Umbra stopped'), FIRST)
    expect(run(out, 'next', program, None), SECOND)
    if SHOWN in run(out, 'after', program, None):
        sys.exit('panic_kept: the record is shown twice')
    print('panic_kept: PASS')


if __name__ == '__main__':
    FOLDER = os.path.join(os.path.abspath(sys.argv[2]), 'runs')
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    main(os.path.abspath(sys.argv[1]), FOLDER)
