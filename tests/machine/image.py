#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""image.py DIR FILE: makes a bootable disk image (GPT, one EFI system partition) from a folder.

Needs no root and mounts nothing. The same image can be written to a USB stick. The same folder
gives the same partition table and identifiers every time. Files that FAT cannot hold are named
and refused before anything is written.
"""

import os
import struct
import subprocess
import sys
import uuid
import zlib

MIB = 1 << 20
START = 1 * MIB           # where the partition begins
TAIL = 1 * MIB            # room for the backup partition table
SMALLEST = 64 * MIB       # FAT32 needs at least 34 MiB
SECTOR = 512
TABLE_ENTRIES, ENTRY_BYTES = 128, 128
TABLE_SECTORS = TABLE_ENTRIES * ENTRY_BYTES // SECTOR
ESP_GUID = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b'   # an EFI system partition
DISK_GUID = '4d0d7a2c-3f0e-4b7d-9a43-756d62726101'
PART_GUID = '4d0d7a2c-3f0e-4b7d-9a43-756d62726102'
VOLUME_ID = '756d6272'
LOADER = 'EFI/BOOT/BOOTX64.EFI'     # what firmware starts
NAME_MAX = 255                      # UTF-16 units


class ImageError(Exception):
    """There is no image; the text says why."""


def run(*command):
    """Runs a tool quietly; its output becomes the error."""
    env = dict(os.environ, MTOOLS_SKIP_CHECK='1', LC_ALL='C.UTF-8')
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        raise ImageError(f'{command[0]} is missing (packages dosfstools, mtools)') from None
    if done.returncode != 0:
        raise ImageError(f'{command[0]} failed: {done.stdout.strip()}')


def why_no_name(name):
    """Why FAT cannot hold a file of this name, or None."""
    try:
        units = len(name.encode('utf-16-le')) // 2
    except UnicodeEncodeError:
        return 'its name is not UTF-8'
    bad = [char for char in name if char in '"*/:<>?\\|' or ord(char) < 32 or ord(char) == 127]
    if bad:
        return f'FAT allows no {bad[0]!r} in a name'
    if name[-1] in '. ':
        return f'FAT drops a {name[-1]!r} at the end of a name'
    return f'its name is longer than {NAME_MAX} characters' if units > NAME_MAX else None


def why_no_entry(entry):
    """Why a file or folder cannot be copied, or None."""
    if not os.path.exists(entry.path):
        return 'it is a link to nothing'
    if entry.is_symlink() and entry.is_dir():
        return 'it is a link to a folder; put the folder itself there'
    if not entry.is_dir() and not entry.is_file():
        return 'it is neither a file nor a folder'
    if not os.access(entry.path, os.R_OK):
        return 'this user may not read it'
    return why_no_name(entry.name)


def tree_bytes(folder):
    """Checks the content of a folder; returns how many bytes it needs on the volume, with
    directories and slack."""
    total, seen = 4096, {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            shown = ascii(entry.path)[1:-1] if not entry.path.isprintable() else entry.path
            if problem := why_no_entry(entry):
                raise ImageError(f'{shown}: {problem}')
            other = seen.setdefault(entry.name.upper(), entry.name)
            if other != entry.name:
                raise ImageError(f'{shown}: to FAT it has the same name as {other}')
            total += tree_bytes(entry.path) if entry.is_dir() else entry.stat().st_size + 4096
    return total


def check_target(path):
    """Refuses a path where no image can be written, with a sentence."""
    if not path:
        raise ImageError('say which file to write: IMG=FILE')
    if os.path.lexists(path) and not os.path.isfile(path):
        raise ImageError(f'IMG={path} is not an ordinary file; '
                         f'write the image to a file, then copy it')
    if not os.path.isdir(os.path.dirname(path) or '.'):
        raise ImageError(f'IMG={path}: there is no folder {os.path.dirname(path)}')


def check_folder(folder):
    """Refuses a folder that is not bootable, with a sentence; returns the bytes of the tree."""
    if not folder:
        raise ImageError('say which folder to make the image from: ESP=DIR')
    if not os.path.isdir(folder):
        raise ImageError(f'ESP={folder} is not a folder')
    if not os.path.isfile(os.path.join(folder, LOADER)):
        raise ImageError(f'{folder} holds no {LOADER}')
    return tree_bytes(folder)


def chs(lba):
    """A sector's number as the old cylinder, head and sector; all ones where that has no room."""
    cylinder, rest = divmod(lba, 255 * 63)
    head, sector = divmod(rest, 63)
    if cylinder > 1023:
        return b'\xff\xff\xff'
    return bytes([head, sector + 1 | cylinder >> 2 & 0xc0, cylinder & 0xff])


def table_header(at, other, table_at, sectors, table):
    """The header of a partition table (UEFI specification 2.10, section 5.3.2)."""
    fields = [b'EFI PART', 0x10000, 92, 0, at, other, TABLE_SECTORS + 2,
              sectors - TABLE_SECTORS - 2, uuid.UUID(DISK_GUID).bytes_le, table_at, TABLE_ENTRIES,
              ENTRY_BYTES, zlib.crc32(table)]
    packed = struct.Struct('<8sIII4xQQQQ16sQIII')
    fields[3] = zlib.crc32(packed.pack(*fields))
    return packed.pack(*fields).ljust(SECTOR, b'\0')


def write_table(file, sectors, first, last):
    """Writes a GPT with one partition to an empty file. sgdisk would sleep for a second."""
    entry = struct.pack('<16s16sQQQ72s', uuid.UUID(ESP_GUID).bytes_le,
                        uuid.UUID(PART_GUID).bytes_le, first, last, 0,
                        'UMBRA'.encode('utf-16-le'))
    table = entry.ljust(TABLE_ENTRIES * ENTRY_BYTES, b'\0')
    backup = sectors - 1 - TABLE_SECTORS
    # a protective MBR (section 5.2.3)
    file.write(b'\0' * 446 + struct.pack('<B3sB3sII', 0, chs(1), 0xee, chs(sectors - 1), 1,
                                         min(sectors - 1, 0xffffffff)) + b'\0' * 48 + b'\x55\xaa')
    file.write(table_header(1, sectors - 1, 2, sectors, table) + table)
    file.seek(backup * SECTOR)
    file.write(table + table_header(sectors - 1, 1, backup, sectors, table))


def make_image(folder, path):
    """Writes the image of a folder to path, completely or not at all."""
    check_target(path)
    try:
        volume = max(SMALLEST, (check_folder(folder) * 17 // 16 + 9 * MIB - 1) // MIB * MIB)
        entries = sorted(os.path.join(os.path.abspath(folder), name) for name in os.listdir(folder))
    except OSError as error:
        raise ImageError(f'{error.filename}: {error.strerror}') from None
    part = f'{path}.{os.getpid()}.part'
    try:
        with open(part, 'wb') as file:
            file.truncate(START + volume + TAIL)
            write_table(file, (START + volume + TAIL) // SECTOR, START // SECTOR,
                        (START + volume) // SECTOR - 1)
        run('mkfs.fat', '-F', '32', '-n', 'UMBRA', '-i', VOLUME_ID, '--invariant',
            '--offset', str(START // SECTOR), part, str(volume // 1024))
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
