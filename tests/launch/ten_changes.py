#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ten_changes.py PRODUCT OUT: each of ten single changes of a stick keeps a sealed key shut.

A key is sealed for a stick with a kernel, two initrds and the image of a disk. Then the stick is
started with one change at a time: the prediction changes, the TPM has what is predicted, and the
log names the first event that differs. At last the stick as it was opens the key.
"""

import hashlib
import os
import re
import subprocess
import sys

from sealed import OPENED, Sealed

CONF = """[host]
exit = poweroff
tpm = seal

[vm alpha]
memory = 64M
kernel = \\umbra\\vmlinuz
initrd = \\umbra\\ucode.img, \\umbra\\initrd.img
disk = \\umbra\\root.img
cmdline = console=ttyS0 secret=42
key = tpm:\\umbra\\alpha.tpm
"""
FILES = {name: name.encode() * 1000 for name in ('vmlinuz', 'ucode.img', 'initrd.img', 'root.img')}
OTHER = 'other.tpm'


def edit(old, new):
    """A change of umbra.conf."""
    return (lambda stick: stick.write('umbra/umbra.conf', CONF.replace(old, new, 1).encode()),
            12, 'umbra.conf')


def flip(name, at=700):
    """A change of one bit of a file."""
    return lambda stick: stick.flip(f'umbra/{name}', at), 11, name


CHANGES = {
    'kernel': flip('vmlinuz'),
    'first initrd': flip('ucode.img'),
    'second initrd': flip('initrd.img'),
    'block': flip('root.img', 5000),
    'longer': (lambda stick: stick.write('umbra/root.img', FILES['root.img'] + b'x'), 11,
               'root.img'),
    'comment': edit('exit = poweroff', 'exit = poweroff ; x'),
    'command line': edit('secret=42', 'secret=43'),
    'memory': edit('64M', '65M'),
    'iommu': edit('tpm = seal', 'tpm = seal\niommu = off'),
    'key': edit('alpha.tpm', OTHER),
}


class Ten(Sealed):
    """One test."""

    def predicted(self, stick, text):
        """PCR 11 and 12 of the stick, for the state that the machine has logged."""
        state = re.search('umbra: TPM: state: (.*)', text)[1].strip()
        done = subprocess.run([os.path.join(self.product, 'stick'), 'predict', stick.folder, state],
                              check=True, stdout=subprocess.PIPE, text=True)
        return re.findall(r'at the end: PCR 1[12] is ([0-9a-f]{64})', done.stdout)

    def one(self, stick, number, sealed, before):
        """Starts the stick, which has no sealed key, with one change and with the key."""
        name, (change, pcr, event) = list(CHANGES.items())[number]
        other = stick.copy(f'change{number}')
        change(other)
        key = OTHER if name == 'key' else 'alpha.tpm'
        tpm = other.path(f'umbra/{key}')
        other.write(f'umbra/{key}', sealed)
        text = self.boot(other, f'TPM={self.file("tpm1")}')
        self.expect(text, rf'vm alpha: key = tpm:.umbra.{key}: PCR {pcr} differs '
                    rf'\(first in: .umbra.{event}\).*; the VM is left out')
        self.forbid(text, 'the TPM has opened the key', 'vm alpha: starts')
        os.unlink(tpm)      # for the prediction: a key that stays shut is not measured
        after = self.predicted(other, text)
        if self.values(text) != after or after[pcr - 11] == before[pcr - 11]:
            self.fail(f'{name}: the TPM has {self.values(text)}, predicted was {after}; '
                      f'before the change {before}')
        print(f'{name}: PCR {pcr} is another one, and the key stays shut')


def main(test):
    """Seals, changes, opens."""
    key = hashlib.sha512(b'alpha').digest()
    stick = test.stick('stick', CONF, {**FILES, 'alpha.key': key})
    disk = test.image_of(stick)
    text = test.run(stick, disk)
    test.expect(text, r'vm alpha: .umbra.alpha.tpm is written, \d+ bytes, and opens')
    test.take(disk, stick, 'alpha.tpm')
    sealed = stick.read('umbra/alpha.tpm')
    for name in ('alpha.tpm', 'alpha.key'):
        os.unlink(stick.path(f'umbra/{name}'))
    before = test.predicted(stick, text)
    for number in range(len(CHANGES)):
        test.one(stick, number, sealed, before)
    stick.write('umbra/alpha.tpm', sealed)
    text = test.boot(stick, f'TPM={test.file("tpm1")}')
    test.expect(text, OPENED.format('alpha'))
    test.check_values(stick, text)
    test.passed()


if __name__ == '__main__':
    main(Ten('ten_changes', *sys.argv[1:]))
