# SPDX-License-Identifier: Apache-2.0
"""The nested machine: the image runs under QEMU/KVM and OVMF, inside Debian's Linux, inside the
emulated machine. The inner serial line is the outer one, and so is the inner power-off."""

import os
import shutil

import bochs
import image
from machine import STATUS_FAILED, STATUS_TRIPLE_FAULT, MachineError

OUTER_MIB = 768     # memory of the outer Linux in addition to the inner machine's
# A model without a TSC rate in CPUID may run at a low rate. Then firmware's waits, each step of
# which is an exit to QEMU, take fewer instructions.
CPU = 'broadwell_ult'
IPS = 150_000_000
COMMAND_LINE = ('initrd=\\umbra\\initrd.img initrd=\\umbra\\disk.cpio console=ttyS0 quiet '
                'loglevel=1 mitigations=off nokaslr cryptomgr.notests')
NEWC_MAGIC = b'070701'
FILE_MODE = 0o100644
FOLDER_MODE = 0o040755


def newc_entry(name, content, mode=FILE_MODE):
    """One file of an initramfs, in cpio's "newc" form."""
    name = name.encode() + b'\0'
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = NEWC_MAGIC + b''.join(b'%08X' % field for field in fields) + name
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


def newc_archive(files):
    """An initramfs of the files given as (name, content) or (name, content, mode)."""
    return b''.join(newc_entry(*file) for file in files) + newc_entry('TRAILER!!!', b'', 0)


class Machine(bochs.Machine):
    """One run of the emulator with the outer Linux."""

    INNER = ('TPM', 'IOMMU')

    def __init__(self, options):
        super().__init__(options)
        self.inner_mib = options.mem
        self.inner_cpus = options.cpus
        self.heard = b''
        # The outer Linux needs only one CPU; the inner machine has as many as the user wants.
        options.mem = options.mem + OUTER_MIB
        options.cpus = 1
        options.cpu = options.cpu or CPU
        if bochs.TSC_HZ.get(options.cpu, 0) is None:
            options.ips = options.ips or IPS

    def check(self):
        if self.options.keep:
            raise MachineError('KEEP does not work on MACHINE=nested')
        super().check()
        for name in ('nested/vmlinuz', 'nested/initrd.img', 'efi/chain.efi'):
            if not os.path.isfile(self.options.third(name)):
                raise MachineError(f'{self.options.third(name)} is missing: run "make nested"')

    def outer_disk(self):
        """The disk that starts the outer Linux, with the inner disk on it."""
        tree = self.options.file('outer')
        shutil.rmtree(tree, ignore_errors=True)
        os.makedirs(os.path.join(tree, 'EFI', 'BOOT'))
        os.makedirs(os.path.join(tree, 'umbra'))
        for source, *target in (('efi/chain.efi', 'EFI', 'BOOT', 'BOOTX64.EFI'),
                                ('nested/vmlinuz', 'umbra', 'vmlinuz'),
                                ('nested/initrd.img', 'umbra', 'initrd.img')):
            shutil.copyfile(self.options.third(source), os.path.join(tree, *target))
        with open(self.disk, 'rb') as file:
            disk = file.read()
        conf = (f'cpus={self.inner_cpus}\nmem={self.inner_mib}\n'
                f'iommu={int(self.options.iommu)}\n').encode()
        with open(os.path.join(tree, 'umbra', 'disk.cpio'), 'wb') as file:
            file.write(newc_archive([('inner.conf', conf), ('disk.img', disk),
                                     *self.tpm_files()]))
        with open(os.path.join(tree, 'umbra', 'cmdline.txt'), 'w', encoding='ascii') as file:
            file.write(COMMAND_LINE + '\n')
        path = self.options.file('outer.img')
        image.make_image(tree, path)
        shutil.rmtree(tree)
        return path

    def tpm_files(self):
        """A copy of the TPM's state; what becomes of it in the machine is not kept."""
        files = []
        if self.options.tpm:
            files.append(('tpm', b'', FOLDER_MODE))
            for name in sorted(os.listdir(self.options.tpm)):
                with open(os.path.join(self.options.tpm, name), 'rb') as file:
                    files.append((f'tpm/{name}', file.read()))
        return files

    def start(self, console):
        self.disk = self.outer_disk()
        console.watchers.append(self.hear)
        return super().start(console)

    def hear(self, data):
        """Keeps the end of the serial output, where the outer Linux reports the result."""
        self.heard = (self.heard + data)[-1024:]

    def status(self, code):
        if code == 0 and b'nested: the inner machine was reset' in self.heard:
            return STATUS_TRIPLE_FAULT
        if code == 0 and b'nested: failed' in self.heard:
            return STATUS_FAILED
        return super().status(code)

    def why_failed(self, status):
        for line in reversed(self.heard.decode('utf-8', 'replace').splitlines()):
            if line.startswith('nested: '):
                return line
        return super().why_failed(status)
