#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sealed.py PRODUCT OUT: keys that a TPM seals, opens, and keeps shut.

A stick with two key files is started with `[host] tpm = seal`: the TPM seals both. The next start
opens them, and no byte of the key files is on the stick afterwards. Starts after that open them
only when the IOMMU has shut DMA out. A stick with one change, another TPM and a machine without one
do not open them, and the log says why. Events for which firmware's log has no room are measured all
the same.
"""

import hashlib
import os
import re
import subprocess
import sys

from measured import Measured
from stick import LOADER, TOP

sys.path.insert(0, os.path.join(TOP, 'tests', 'machine'))
import image        # pylint: disable=wrong-import-position

CONF = """[host]
exit = poweroff
tpm = seal

[vm alpha]
memory = 64M
kernel = \\umbra\\k1
initrd = \\umbra\\i1
key = tpm:\\umbra\\alpha.tpm

[vm beta]
memory = 64M
kernel = \\umbra\\k2
key = tpm:\\umbra\\beta.tpm
"""
FILES = {name: name.encode() * 3000 for name in ('k1', 'k2', 'i1')}
KEYS = {'alpha': hashlib.sha512(b'alpha').digest(), 'beta': hashlib.sha256(b'beta').digest()}
PIECE = 8                   # bytes of a key that must not be found
OPENED = 'vm {0}: .umbra.{0}.tpm: the TPM has opened the key'
SHUT = r'umbra.conf:\d+: vm {0}: key = tpm:.umbra.{0}.tpm: {1}; the VM is left out'
STAYS = r'umbra.conf:\d+: vm {0}: key = tpm:.umbra.{0}.tpm: ' \
    r'there is no key, for the reason above; the VM is'
PARTITION = '@@1M'


def mtools(*command):
    """Works on the volume of an image."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL,
                   env=dict(os.environ, MTOOLS_SKIP_CHECK='1'))


class Sealed(Measured):
    """One test."""

    def image_of(self, stick):
        """A disk image with the files of a stick, which keeps what is written."""
        path = f'{stick.folder}.img'
        image.make_image(stick.folder, path)
        return path

    def boot(self, stick, *words, stop=None):
        return super().boot(stick, 'IOMMU=1', *words, stop=stop)

    def run(self, stick, disk, *words, tpm='tpm1'):
        """Starts an image, and keeps what the machine writes."""
        return self.boot(stick, f'IMG={disk}', 'KEEP=1', f'TPM={self.file(tpm)}', *words)

    def take(self, disk, stick, name):
        """Copies a file from the image to the stick's folder."""
        mtools('mcopy', '-n', '-o', '-i', disk + PARTITION, f'::umbra/{name}',
               stick.path(f'umbra/{name}'))

    def pieces(self, path):
        """How many pieces of the keys are in a file."""
        with open(path, 'rb') as file:
            data = file.read()
        return sum(key[at:at + PIECE] in data for key in KEYS.values()
                   for at in range(len(key) - PIECE + 1))

    def shut(self, stick, *why, name='alpha', **how):
        """Starts a stick whose key must stay shut, for this reason, or these PCRs."""
        text = self.boot(stick, *([f'TPM={self.file(how.get("tpm", "tpm1"))}']
                                  if how.get('tpm', 'tpm1') else []), *how.get('words', ()))
        if re.search(STAYS.format(name), text):     # a long reason has a line of its own
            self.expect(text, *(f'error: vm {name}: {each}' for each in why))
        else:
            self.expect(text, SHUT.format(name, ', '.join(why)))
        self.forbid(text, OPENED.format(name), f'vm {name}: starts')
        return text

    def check_values(self, stick, text, *fresh):
        """The PCRs are those that the build host computes."""
        state = re.search('umbra: TPM: state: (.*)', text)[1].strip()
        done = subprocess.run([os.path.join(self.product, 'stick'), 'predict', stick.folder, state,
                               *fresh], check=True, stdout=subprocess.PIPE, text=True)
        wanted = re.findall(r'at the end: PCR 1[12] is ([0-9a-f]{64})', done.stdout)
        if self.values(text) != wanted:
            self.fail(f'the TPM has {self.values(text)}, predicted was {wanted}')


def seal(test):
    """Seals the keys and opens them again; returns a stick with them, and its image."""
    stick = test.stick('stick', CONF, {**FILES, **{f'{n}.key': k for n, k in KEYS.items()}})
    disk = test.image_of(stick)
    every = sum(len(key) - PIECE + 1 for key in KEYS.values())
    if test.pieces(disk) != every:
        test.fail('control: the keys are not found on the stick before they are sealed')
    text = test.run(stick, disk, 'DUMP=is sealed by the TPM')
    for name in KEYS:
        test.expect(text, f'vm {name}: .umbra.{name}.key is sealed by the TPM to PCR 4, 7, 11',
                    rf'vm {name}: .umbra.{name}.tpm is written, \d+ bytes, and opens',
                    f'then, .umbra.{name}.key is overwritten and removed')
        test.take(disk, stick, f'{name}.tpm')
        os.unlink(stick.path(f'umbra/{name}.key'))
    test.forbid(text, 'left out')
    test.check_values(stick, text, 'fresh')
    if test.pieces(disk) != every or test.pieces(f'{stick.folder}.out/dram.bin') == 0:
        test.fail('a key file is gone before its sealed form was opened, or (control) no piece of '
                  'a key was in memory')

    text = test.run(stick, disk, 'DUMP=crypto: self-test passed')
    test.expect(text, *(OPENED.format(name) for name in KEYS),
                *(f'vm {name}: .umbra.{name}.key is overwritten and removed' for name in KEYS))
    test.forbid(text, 'left out', 'is written')
    if test.pieces(disk) != 0:
        test.fail('a piece of a key is on the stick')
    test.check_values(stick, text)
    if test.pieces(f'{stick.folder}.out/dram.bin') != 0:
        test.fail('a piece of a key is in memory although no VM can use it')

    text = test.run(stick, disk)
    test.check_values(stick, text)
    shut_out = re.search('DMA: from now on no device reaches memory', text)
    for name in KEYS:
        opened = re.search(OPENED.format(name), text)
        if not (shut_out and opened and shut_out.start() < opened.start()):
            test.fail(f'the key of {name} was opened while devices could reach memory')
    if len(re.findall('warning: Secure Boot is off: a driver', text)) != 1:
        test.fail('the log does not warn once that Secure Boot is off')
    return stick, disk


def key_beside_it(test, stick, disk):
    """Key files beside the sealed ones: the same key is removed, another is not."""
    for name, key in (('alpha', KEYS['alpha']), ('beta', KEYS['alpha'][:32])):
        stick.write(f'umbra/{name}.key', key)
        mtools('mcopy', '-o', '-i', disk + PARTITION, stick.path(f'umbra/{name}.key'), '::umbra/')
        os.unlink(stick.path(f'umbra/{name}.key'))
    text = test.run(stick, disk)
    test.expect(text, 'vm alpha: .umbra.alpha.key is overwritten and removed',
                'vm beta: .umbra.beta.key lies in clear on the stick and is not the key of')
    test.forbid(text, 'beta.key is overwritten')


def changes(test, stick):
    """One change each."""
    def edited(name, path, change):
        other = stick.copy(name)
        other.write(path, change(other.read(path)))
        return other

    def flip(at):
        return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]

    text = test.shut(edited('kernel', 'umbra/k2', flip(5000)),
                     r'PCR 11 differs \(first in: .umbra.k2\)')
    test.expect(text, SHUT.format('beta', r'PCR 11 differs \(first in: .umbra.k2\)'))
    test.shut(edited('line', 'umbra/umbra.conf', lambda data: data.replace(b'64M', b'65M', 1)),
              r'PCR 12 differs \(first in: .umbra.umbra.conf\)')
    test.shut(edited('program', LOADER,
                     lambda data: data.replace(b'lists the commands', b'lists all commands')),
              r'PCR 4 differs \(first in: program .EFI.BOOT.BOOTX64.EFI\)')
    damaged = edited('damaged', 'umbra/alpha.tpm', flip(-100))
    text = test.shut(damaged, 'it was not sealed by or for this TPM, or it was changed')
    test.expect(text, OPENED.format('beta'))
    text = test.shut(edited('mark', 'umbra/alpha.tpm', flip(0)),
                     'this is not a key that Umbra has sealed, or .*')
    test.expect(text, OPENED.format('beta'))
    test.shut(stick, 'it was not sealed by or for this TPM, or it was changed', tpm='tpm2')
    test.shut(stick, 'firmware offers no TPM 2.0, or the TPM did not take a measurement', tpm=None)


def secure_boot(test):
    """Sealed with Secure Boot on, shut when it is off."""
    keys = {f'{n}.key': k for n, k in KEYS.items()}
    signed = test.stick('plain', CONF, {**FILES, **keys}).signed('signed')
    disk = test.image_of(signed)
    text = test.run(signed, disk, 'SECURE=1', tpm='tpm3')
    test.expect(text, 'vm alpha: .umbra.alpha.tpm is written', 'Secure Boot is on')
    for name in KEYS:
        test.take(disk, signed, f'{name}.tpm')
        os.unlink(signed.path(f'umbra/{name}.key'))
    test.check_values(signed, text, 'fresh')
    test.shut(signed, r'PCR 7 differs \(first in: variable SecureBoot\)',
              r'PCR 12 differs \(first in: umbra=.*secure-boot=off.*', tpm='tpm3')


def full_log(test):
    """More events than firmware's log takes: they are measured, and the key depends on them."""
    conf, files = CONF, dict(FILES, **{f'{n}.key': k for n, k in KEYS.items()})
    for number in range(32):
        names = [f'{number:02}{letter}' for letter in 'abcdefghijk']
        files.update({name: name.encode() for name in names})
        initrd = ','.join(f'\\umbra\\{name}' for name in names)
        conf += f'\n[vm v{number}]\nmemory = 64M\nkernel = \\umbra\\k1\ninitrd = {initrd}\n'
    stick = test.stick('many', conf, files)
    disk = test.image_of(stick)
    text = test.run(stick, disk, tpm='tpm4')
    test.expect(text, "firmware's event log has no room for .umbra.",
                'vm alpha: .umbra.alpha.tpm is written')
    for name in KEYS:
        test.take(disk, stick, f'{name}.tpm')
    test.check_values(stick, text, 'fresh')
    text = test.run(stick, disk, tpm='tpm4')
    test.expect(text, *(OPENED.format(name) for name in KEYS))
    test.check_values(stick, text)
    stick.flip('umbra/31k', 0)
    test.shut(stick, r'PCR 11 differs \(a kernel, an initrd or the image of a disk\)', tpm='tpm4')


def main(test):
    """The keys are sealed once."""
    stick, disk = seal(test)
    key_beside_it(test, stick, disk)
    changes(test, stick)
    secure_boot(test)
    full_log(test)
    test.passed()


if __name__ == '__main__':
    main(Sealed('sealed', *sys.argv[1:]))
