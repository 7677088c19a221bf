#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nested_tpm.py PRODUCT OUT: a Linux VM with a key of the TPM, behind an IOMMU.

QEMU without VMX starts a stick twice: the TPM seals the VM's key, then opens it, and Umbra removes
the key file. The third start is on QEMU/KVM inside the emulated machine, with the same TPM: the
IOMMU shuts DMA out, the TPM opens the key, and Linux runs.
"""

import hashlib
import os
import sys

from sealed import OPENED, Sealed

CONF = """[host]
exit = poweroff
iommu = require
tpm = seal

[vm debian]
memory = 128M
kernel = \\umbra\\vmlinuz
initrd = \\umbra\\initrd.img
cmdline = console=ttyS0 quiet
engine = software
key = tpm:\\umbra\\debian.tpm
"""
STEPS = ('DMA: from now on no device reaches memory', OPENED.format('debian'),
         'DMA: no device can raise an interrupt', 'umbra-test: userspace reached',
         'vm debian: ended: powered off')


def main(test):
    """Seals, removes the key file, and runs the VM."""
    third = os.path.join(test.product, '..', 'third')
    files = {'debian.key': hashlib.sha512(b'debian').digest()}
    for name, path in (('vmlinuz', 'kernel/bookworm-cloud/vmlinuz'),
                       ('initrd.img', 'initramfs/test.img')):
        with open(os.path.join(third, path), 'rb') as file:
            files[name] = file.read()
    stick = test.stick('stick', CONF, files)
    disk = test.image_of(stick)
    text = test.run(stick, disk)
    test.expect(text, r'vm debian: .umbra.debian.tpm is written, \d+ bytes, and opens')
    text = test.run(stick, disk)
    test.expect(text, 'vm debian: .umbra.debian.key is overwritten and removed')
    text = test.boot(stick, f'IMG={disk}', f'TPM={test.file("tpm1")}', 'MACHINE=nested', 'MEM=768',
                     'TIMEOUT=3600')
    at = -1
    for step in STEPS:
        test.expect(text, step)
        before, at = at, text.replace('\\', '.').index(step)
        if at < before:
            test.fail(f'too early: {step}')
    test.forbid(text, 'left out', 'no VM starts', 'devices can')
    test.passed()


if __name__ == '__main__':
    main(Sealed('nested_tpm', *sys.argv[1:]))
