#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""linux.py BUILD OUT [NO_TME]: a stock Linux without Umbra on machines with TME-MK.

The machine's model runs with FIDELITY=fast (README.md here). Linux uses KeyID 0 alone. It has to
reach userspace, and a dump of DRAM must hold none of MARKERS where memory under KeyID 0 is
encrypted, and all of them where encryption is bypassed. Prints a line for each machine: its speed
by CPU time, relative to the machine without TME. Speed is only printed, not checked, because other
load on the host changes it.

NO_TME: a folder with a Bochs that was built without the model. With it, Linux boots alternately in
that Bochs and in the default machine, three times each, and the speeds are compared. The numbers
of retired instructions must be equal.
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
        file.write('console=ttyS0 initrd=\\umbra\\initrd.img cryptomgr.notests '
                   f'{COMMAND_LINE}\n')


def run(build, out, esp, profile):
    """Boots the stick. Returns the exit status, and how many seconds of user CPU time the boot
    took."""
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
    print(f'linux: {profile or "no TME"}: {speed:.2f} times the speed of the machine without TME, '
          f'{found} of {len(MARKERS)} markers in DRAM')
    wanted = len(MARKERS) if plain else 0
    if found != wanted:
        return f'{found} markers in DRAM instead of {wanted}', seconds
    return None, seconds


def with_bochs(build, out, bochs):
    """A build folder that differs from `build` only by the emulator."""
    third = os.path.join(out, 'build', 'third')
    shutil.rmtree(third, ignore_errors=True)
    os.makedirs(third)
    for name in os.listdir(os.path.join(build, 'third')):
        target = bochs if name == 'bochs' else os.path.join(build, 'third', name)
        os.symlink(target, os.path.join(third, name))
    return os.path.dirname(third)


def instructions(out):
    """What all CPUs retired, as OUT/result has it."""
    with open(os.path.join(out, 'result'), encoding='ascii') as file:
        return [line.strip() for line in file if 'retired' in line]


def compare(build, out, esp, bochs):
    """Compares the default machine with the one that was built without the model."""
    builds = {'with': build, 'without': with_bochs(build, out, bochs)}
    seconds, retired = {'with': [], 'without': []}, set()
    for _ in range(3):
        for name, where in builds.items():
            folder = os.path.join(out, name)
            status, spent = run(where, folder, esp, '')
            if status != 0:
                print(f'linux: {name} the model: FAILED: status {status}, see {folder}')
                return 1
            seconds[name].append(spent)
            retired.add(tuple(instructions(folder)))
    ratio = min(seconds['without']) / min(seconds['with'])
    print(f'linux: default machine: {ratio:.2f} times the speed of one built without the model of '
          f'TME ({min(seconds["with"]):.2f} s and {min(seconds["without"]):.2f} s of CPU time, '
          f'best of 3), {"the same number" if len(retired) == 1 else "DIFFERENT numbers"} '
          'of instructions')
    return 0 if len(retired) == 1 else 1


def main():
    """The command line."""
    build, out, *no_tme = (os.path.abspath(word) for word in sys.argv[1:])
    esp = os.path.join(out, 'esp')
    make_stick(build, esp)
    if no_tme:
        return compare(build, out, esp, *no_tme)
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
