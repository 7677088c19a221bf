#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""linux.py BUILD OUT: a stock Linux without Umbra on machines with TME-MK, in fast fidelity.

Linux uses KeyID 0 alone. It has to reach userspace at no less than half the speed of the machine
without TME; and a dump of DRAM has to hold none of its words where KeyID 0 is encrypted, all of
them where that is bypassed. Prints a line for each machine.
"""

import mmap
import os
import resource
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BOOT = os.path.join(os.path.dirname(HERE), 'boot.py')
COMMAND_LINE = 'tme-marker-5be1c9d04f'
MARKERS = (COMMAND_LINE.encode(), b'Linux version 6.1', b'umbra-test: userspace reached')
REACHED = 'umbra-test: userspace reached'
PLAIN, CIPHER = True, False
MACHINES = (('', PLAIN), ('P3', CIPHER), ('P4', CIPHER), ('P6', PLAIN), ('P8', PLAIN))
SLOWEST = 0.5


def make_stick(build, esp):
    """The kernel, its initramfs, and the program that starts them."""
    third = os.path.join(build, 'third')
    for source, target in ((('efi', 'chain.efi'), 'EFI/BOOT/BOOTX64.EFI'),
                           (('kernel', 'bookworm-cloud', 'vmlinuz'), 'umbra/vmlinuz'),
                           (('initramfs', 'test.img'), 'umbra/initrd.img')):
        path = os.path.join(esp, target)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(os.path.join(third, *source), path)
    with open(os.path.join(esp, 'umbra', 'cmdline.txt'), 'w', encoding='ascii') as file:
        file.write(f'console=ttyS0 initrd=\\umbra\\initrd.img {COMMAND_LINE}\n')


def run(build, out, esp, profile):
    """Boots it; returns exit status and the seconds of CPU time that took."""
    words = [f'BUILD={build}', f'OUT={out}', f'ESP={esp}', 'MEM=512', 'TIMEOUT=300',
             f'DUMP={REACHED}', 'STOP=umbra-test: powering off']
    if profile:
        words.append(f'TME={profile}')
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, '-B', BOOT, *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.returncode, after.ru_utime - before.ru_utime


def markers_in(path):
    """How many of the markers a dump holds."""
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as dram:
        return sum(dram.find(marker) >= 0 for marker in MARKERS)


def try_machine(build, out, esp, profile, plain, base):
    """Returns (problem or None, seconds)."""
    out = os.path.join(out, profile or 'none')
    status, seconds = run(build, out, esp, profile)
    if status != 0:
        return f'ended with status {status}, see {out}', seconds
    found = markers_in(os.path.join(out, 'dram.bin'))
    os.unlink(os.path.join(out, 'dram.bin'))
    speed = base / seconds if base else 1.0
    print(f'linux: {profile or "no TME"}: speed {speed:.2f} of no TME, {found} of '
          f'{len(MARKERS)} markers in DRAM')
    if found != (len(MARKERS) if plain else 0):
        return f'{found} markers in DRAM', seconds
    if speed < SLOWEST:
        return f'speed {speed:.2f}, has to be {SLOWEST}', seconds
    return None, seconds


def main():
    """The command line."""
    build, out = (os.path.abspath(word) for word in sys.argv[1:])
    esp = os.path.join(out, 'esp')
    make_stick(build, esp)
    base, bad = None, 0
    for profile, plain in MACHINES:
        problem, seconds = try_machine(build, out, esp, profile, plain, base)
        base = base or seconds
        if problem:
            bad += 1
            print(f'linux: {profile or "no TME"}: FAILED: {problem}')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
