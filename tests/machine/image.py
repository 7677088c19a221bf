#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""image.py DIR FILE: a bootable disk image (GPT, one EFI system partition) from a folder.

No root is needed and nothing is mounted. The same image can be written to a USB stick. The
same folder gives the same partition table and identifiers every time.
"""

import os
import subprocess
import sys

MIB = 1 << 20
START = 1 * MIB           # where the partition begins
TAIL = 1 * MIB            # room for the backup partition table
SMALLEST = 64 * MIB       # FAT32 needs at least 34 MiB
DISK_GUID = '4d0d7a2c-3f0e-4b7d-9a43-756d62726101'
PART_GUID = '4d0d7a2c-3f0e-4b7d-9a43-756d62726102'
VOLUME_ID = '756d6272'


class ImageError(Exception):
    """Says in a sentence why there is no image."""


def run(*command):
    """Runs a tool quietly; what it said becomes the error."""
    env = dict(os.environ, MTOOLS_SKIP_CHECK='1', LC_ALL='C')
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        raise ImageError(f'{command[0]} is missing (packages gdisk, dosfstools, mtools)') from None
    if done.returncode != 0:
        raise ImageError(f'{command[0]} failed: {done.stdout.strip()}')


def tree_bytes(folder):
    """The bytes that a folder needs on the volume, directories and slack included."""
    total = 0
    for base, folders, files in os.walk(folder):
        total += 4096 * (1 + len(folders))
        for name in files:
            total += os.path.getsize(os.path.join(base, name)) + 4096
    return total


def make_image(folder, path):
    """Writes the image of a folder to path, as a whole or not at all."""
    if not os.path.isdir(folder):
        raise ImageError(f'{folder} is no folder')
    entries = sorted(os.path.join(folder, name) for name in os.listdir(folder))
    if not entries:
        raise ImageError(f'{folder} is empty')
    volume = max(SMALLEST, (tree_bytes(folder) * 17 // 16 + 8 * MIB + MIB - 1) // MIB * MIB)
    part = f'{path}.{os.getpid()}.part'
    try:
        with open(part, 'wb') as file:
            file.truncate(START + volume + TAIL)
        run('sgdisk', '-a', '2048', '-n', f'1:{START // 512}:{(START + volume) // 512 - 1}',
            '-t', '1:ef00', '-c', '1:UMBRA', '-U', DISK_GUID, '-u', f'1:{PART_GUID}', part)
        run('mkfs.fat', '-F', '32', '-n', 'UMBRA', '-i', VOLUME_ID, '--invariant',
            '--offset', str(START // 512), part, str(volume // 1024))
        run('mcopy', '-i', f'{part}@@{START}', '-s', '-Q', *entries, '::/')
        os.replace(part, path)
    except OSError as error:
        raise ImageError(f'{path}: {error.strerror}') from None
    finally:
        if os.path.exists(part):
            os.unlink(part)


def main(arguments):
    """The command line."""
    if len(arguments) != 2:
        print('usage: image.py DIR FILE', file=sys.stderr)
        return 2
    try:
        make_image(*arguments)
    except ImageError as error:
        print(f'image: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
