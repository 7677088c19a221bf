#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sign.py TOOL ESP OUT KEY,CERT[,MANIFEST_KEY] [VERSION]: makes OUT, a signed copy of ESP.

ESP is the folder with the files of a stick. KEY is a private key for Secure Boot, and CERT its
certificate, which firmware must have in db. MANIFEST_KEY is a private key of ECDSA on P-256, which
signs the manifest. Without it a key is made for this image alone, and is not kept. All three are
PEM files. TOOL is the program built from tests/machine/stick.c, which lists the files that
umbra.conf names. boot/README.md describes the result, in "A signed stick".
"""

import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile

LOADER = os.path.join('EFI', 'BOOT', 'BOOTX64.EFI')
SECTION = b'.launch\0'
MARK = b'umbra-manifest\0'
P256 = bytes.fromhex('3059301306072a8648ce3d020106082a8648ce3d03010703420004')


class SignError(Exception):
    """The folder could not be signed. The text says why."""


def run(*command):
    """Runs a tool and returns its output. If the tool fails, the error has what it wrote to stderr.
    A warning of sbsign or sbverify counts as a failure: it may mean that firmware reads the program
    in another way than these tools do."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode('utf-8', 'replace').strip()
    if done.returncode != 0 or (command[0].startswith('sb') and 'warning' in said):
        raise SignError(f'{command[0]}: {said or done.returncode}')
    return done.stdout


def key_place(program):
    """Returns where in the PE file the section for the manifest's key begins."""
    pe, = struct.unpack_from('<I', program, 0x3c)
    count, = struct.unpack_from('<H', program, pe + 6)
    header, = struct.unpack_from('<H', program, pe + 20)
    if struct.unpack_from('<II', program, pe + 24 + 112 + 8 * 4) != (0, 0):
        raise SignError(f'{LOADER} is signed already; take the one that was built')
    for i in range(count):
        at = pe + 24 + header + 40 * i
        offset, = struct.unpack_from('<I', program, at + 20)
        if program[at:at + 8] == SECTION and program[offset:offset + len(MARK)] == MARK:
            return offset
    raise SignError(f'{LOADER} has no section for a key: it is not Umbra, or an older version')


def embed_key(path, point):
    """Writes the manifest's public key into the program."""
    with open(path, 'rb') as file:
        program = bytearray(file.read())
    at = key_place(program) + len(MARK)
    program[at:at + 1 + len(point)] = b'\1' + point
    with open(path, 'wb') as file:
        file.write(program)


def sign_program(path, key, certificate):
    """Replaces a program by its signed form, and verifies the signature."""
    run('sbsign', '--key', key, '--cert', certificate, '--output', f'{path}.signed', path)
    run('sbverify', '--cert', certificate, f'{path}.signed')
    os.replace(f'{path}.signed', path)


def public_point(key):
    """Returns the public key that belongs to a private key: x and y."""
    der = run('openssl', 'pkey', '-in', key, '-pubout', '-outform', 'DER')
    if der[:len(P256)] != P256 or len(der) != len(P256) + 64:
        raise SignError(f'{key} is not a key of ECDSA on the curve P-256')
    return der[len(P256):]


def raw_signature(der):
    """Returns r and s, 32 bytes each, of a signature in DER: SEQUENCE { INTEGER, INTEGER }."""
    numbers, at = b'', 2
    for _ in range(2):
        length = der[at + 1]
        numbers += int.from_bytes(der[at + 2:at + 2 + length], 'big').to_bytes(32, 'big')
        at += 2 + length
    return numbers


def on_disk(folder, path):
    """Returns the file in the folder for a path on FAT, where case does not matter."""
    for name in path.strip('\\').split('\\'):
        names = [entry for entry in os.listdir(folder) if entry.lower() == name.lower()]
        folder = os.path.join(folder, names[0])
    return folder


def write_manifest(tool, out, key, version):
    """Writes the manifest of a folder, and its signature."""
    lines = ['umbra-manifest 1', f'version {version}']
    for path in dict.fromkeys(run(tool, 'files', out).decode('ascii').splitlines()):
        with open(on_disk(out, path), 'rb') as file:
            lines.append(f'sha256 {hashlib.file_digest(file, "sha256").hexdigest()} {path}')
    manifest = os.path.join(out, 'umbra', 'manifest')
    with open(manifest, 'w', encoding='ascii') as file:
        file.write('\n'.join(lines) + '\n')
    with open(f'{manifest}.sig', 'wb') as file:
        file.write(raw_signature(run('openssl', 'dgst', '-sha256', '-sign', key, manifest)))


def sign(tool, esp, out, keys, version):
    """Makes the signed copy of a folder."""
    if len(keys) not in (2, 3):
        raise SignError('SIGN names a key and its certificate: SIGN=KEY,CERT')
    if not version.isdigit() or not 1 <= int(version) <= 999999999:
        raise SignError(f'SIGN_VERSION={version} is not a number from 1 to 999999999')
    for path in (*keys, os.path.join(esp, LOADER)):
        if not os.path.isfile(path):
            raise SignError(f'{path} does not exist')
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(esp, out)
    with tempfile.TemporaryDirectory() as folder:
        manifest_key = os.path.join(folder, 'manifest.key') if len(keys) == 2 else keys[2]
        if len(keys) == 2:
            run('openssl', 'genpkey', '-algorithm', 'EC', '-pkeyopt',
                'ec_paramgen_curve:P-256', '-out', manifest_key)
        embed_key(os.path.join(out, LOADER), public_point(manifest_key))
        write_manifest(tool, out, manifest_key, str(int(version)))
    sign_program(os.path.join(out, LOADER), keys[0], keys[1])


def main(arguments):
    """The command line."""
    if len(arguments) not in (4, 5):
        print('usage: sign.py TOOL ESP OUT KEY,CERT[,MANIFEST_KEY] [VERSION]', file=sys.stderr)
        return 2
    tool, esp, out, keys = arguments[:4]
    try:
        sign(tool, esp, out, keys.split(','), (arguments[4:] or ['1'])[0])
    except (SignError, OSError) as error:
        print(f'sign: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
