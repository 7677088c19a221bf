#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""dma.py PRODUCT OUT: devices reach memory and raise interrupts without the IOMMU, not with it.

The attacker is QEMU's device edu, which this test drives. A loader that leaves the IOMMU on starts
Umbra, reads a disk as boot services end, if firmware still has a driver for it, and then switches
the IOMMU off. In the second run firmware stops no driver, so the disk is read, and the IOMMU stops
it. The control is the same machine with `[host] iommu = off`.
"""

import os
import re
import socket
import struct
import sys
import threading
import time

from stick import LOADER, TOP, Test

sys.path.insert(0, os.path.join(TOP, 'tests', 'machine'))
from qemu import Monitor  # pylint: disable=wrong-import-position

CONF = '[host]\nexit = stay\niommu = {}\n'
READY = 'the machine stays on: the key o'
EDU = 0x80000000 | 5 << 11          # configuration space of 00:05.0
BUFFER, SOURCE, TARGET, COUNT, COMMAND = 0x40000, 0x80, 0x88, 0x90, 0x98
START, TO_MEMORY = 1, 2
WAITS = 'firmware: it waits for the attacker'
SCRATCH, GO, GO_VALUE = 0x50000, 0x50ffc, 0x600d600d    # low memory; firmware waits for the value
VECTOR = 0x14           # as if it were the exception #VE: an interrupt that arrives is a panic
CRASH = 'PANIC: CPU 1:'
# To the APIC with ID 1. Bit 4 says that the table is to be used, which QEMU needs to stop it; an
# APIC does not look at this bit.
INTERRUPT = 0xfee00000 | 1 << 12 | 1 << 4
PATTERN = b'\xa5edu was here\x5a\xa5\x5a'
VECTOR_AT = 0x800
PATIENCE = 20


class Attacker:
    """The device edu, through QEMU's sockets."""

    def __init__(self, out):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(f'{out}/attack.qtest')
        self.lines = self.socket.makefile('r', encoding='ascii')
        self.monitor = Monitor(f'{out}/attack.qmp')
        # Nothing else uses configuration space while firmware, or Umbra, waits.
        self.ask(f'outl 0xcf8 {EDU | 0x10:#x}')
        self.registers = int(self.ask('inl 0xcfc').split()[1], 16) & ~0xf
        self.be_master()

    def be_master(self):
        """Switches the device's Bus Master bit on; a real attacker would not ask."""
        self.ask(f'outl 0xcf8 {EDU | 4:#x}')
        self.ask('outl 0xcfc 0x6')

    def ask(self, words):
        """Sends a command of the qtest protocol; returns the answer."""
        self.socket.sendall(words.encode() + b'\n')
        while True:
            line = self.lines.readline()
            if not line:
                raise OSError('QEMU has ended')
            if not line.startswith('IRQ'):
                return line

    def copy(self, source, target, count, command):
        """One transfer of the device, from memory to its buffer or back, if nothing stops it."""
        for offset, value in ((SOURCE, source), (TARGET, target), (COUNT, count),
                              (COMMAND, START | command)):
            self.ask(f'writeq {self.registers + offset:#x} {value:#x}')
        until = time.monotonic() + PATIENCE
        while int(self.ask(f'readq {self.registers + COMMAND:#x}').split()[1], 16) & START:
            if time.monotonic() > until:
                raise OSError('the device edu does not finish')
            time.sleep(0.02)

    def arm(self):
        """Fills the device's buffer while nothing stops it; lets firmware go on."""
        page = bytearray(VECTOR_AT + 4)
        page[:len(PATTERN)] = PATTERN
        page[VECTOR_AT] = VECTOR
        self.ask(f'write {SCRATCH:#x} {len(page)} 0x{page.hex()}')
        self.copy(SCRATCH, BUFFER, len(page), 0)
        self.ask(f'memset {SCRATCH:#x} {len(page)} 0x0')
        self.copy(BUFFER, SCRATCH, len(page), TO_MEMORY)
        armed = self.memory(SCRATCH, len(page)) == page
        self.ask(f'writel {GO:#x} {GO_VALUE:#x}')
        return armed

    def write(self, address, offset, count):
        """Writes a part of the buffer to memory."""
        self.copy(BUFFER + offset, address, count, TO_MEMORY)

    def memory(self, address, count):
        """Memory as the CPU sees it."""
        return bytes.fromhex(self.ask(f'read {address:#x} {count}').split()[1][2:])

    def off(self):
        """Types the key that turns the machine off."""
        self.monitor.command('send-key', keys=[{'type': 'qcode', 'data': 'o'}])


class Machine:
    """A stick that is started, and attacked when Umbra is ready."""

    def __init__(self, test, name, firmware, iommu):
        self.test = test
        self.stick = test.stick(name, CONF.format(iommu))
        self.stick.write('umbra/umbra.efi', self.stick.read(LOADER))
        with open(os.path.join(test.product, '..', 'third', 'efi', 'odd.efi'), 'rb') as file:
            self.stick.write(LOADER, file.read())
        self.stick.write('umbra/firmware.txt', firmware.encode('ascii'))
        self.text = ''

    def out(self, name):
        """A file of the run."""
        return os.path.join(f'{self.stick.folder}.out', name)

    def wait(self, pattern):
        """Waits for a line of the serial line; returns its match."""
        until = time.monotonic() + 90
        while time.monotonic() < until:
            if os.path.exists(self.out('serial.log')):
                with open(self.out('serial.log'), encoding='utf-8', errors='replace') as file:
                    if found := re.search(pattern, file.read()):
                        return found
            time.sleep(0.1)
        return self.test.fail(f'the serial line lacks: {pattern}')

    def run(self):
        """The machine itself; it ends when it is turned off, or crashes."""
        self.text = self.test.boot(self.stick, 'IOMMU=1', 'CPUS=2', stop=CRASH)

    def attack(self, stopped):
        """Returns whether memory was written, and whether an interrupt came."""
        runner = threading.Thread(target=self.run, daemon=True)
        runner.start()
        self.wait(WAITS)
        edu = Attacker(f'{self.stick.folder}.out')
        if not edu.arm():
            self.test.fail('the device could not fill its buffer before Umbra has started')
        at = int(self.wait(r'MiB for Umbra at (0x[0-9a-f]+)')[1], 16)    # Umbra's own memory
        self.wait(READY)
        edu.be_master()
        before = edu.memory(at, len(PATTERN))
        edu.write(at, 0, len(PATTERN))
        wrote = edu.memory(at, len(PATTERN))
        if stopped:
            self.wait(r'DMA: the device 00:05\.0 was stopped: a write')
        if wrote not in (before, PATTERN):
            self.test.fail('memory is neither as it was nor as the device has written it')
        try:
            edu.write(INTERRUPT, VECTOR_AT, 4)
        except OSError:         # the panic may end the machine before the device has answered
            if stopped:
                raise
        if stopped:
            time.sleep(1)       # QEMU 7.2 makes no record of an interrupt
            edu.off()           # Umbra still runs, and turns the machine off
        else:
            self.wait(CRASH)
        runner.join()
        return wrote == PATTERN, CRASH in self.text


def main(test):
    """With the IOMMU, with drivers that stay, and without."""
    machine = Machine(test, 'with', 'iommu', 'require')
    result = machine.attack(True)
    test.expect(machine.text, 'firmware: the IOMMU is on',
                'DMA: from now on no device reaches memory',
                'DMA: [1-9] drivers of firmware are stopped',
                'firmware: the driver of the disk was stopped',
                'firmware switched unit 0 of the IOMMU off since Umbra switched it on',
                'DMA: no device can raise an interrupt')
    test.forbid(machine.text, 'no VM starts', 'cannot keep devices out of memory')
    with open(machine.out('iommu.log'), encoding='ascii', errors='replace') as file:
        switched = re.findall(r'vtd_dmar_enable enable (\d)', file.read())
    if switched != ['1', '0', '1']:     # the loader: on, off; Umbra: on again
        test.fail(f'translation was switched {switched}: there was a gap')
    if result != (False, False):
        test.fail(f'the device wrote, interrupted: {result}, with the IOMMU')

    machine = Machine(test, 'stays', 'stays', 'require')
    result = machine.attack(True)
    test.expect(machine.text, 'DMA: 0 drivers of firmware are stopped',
                'firmware: the disk has not written to memory',
                r'DMA: the device 00:1f\.2 was stopped: a (read|write)')
    if result != (False, False):
        test.fail(f'the device wrote, interrupted: {result}, where firmware kept its drivers')

    machine = Machine(test, 'without', 'disk', 'off')
    result = machine.attack(False)
    test.expect(machine.text, 'DMA: all devices can reach memory, as',
                'firmware: the disk has written to memory')
    test.forbid(machine.text, 'was stopped', 'are stopped')
    if result != (True, True):
        test.fail(f'the device wrote, interrupted: {result}, without the IOMMU')
    test.passed()


if __name__ == '__main__':
    main(Test('dma', *sys.argv[1:]))
