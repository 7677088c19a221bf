#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""measured.py PRODUCT OUT: PCR 11 and 12 of a TPM are what `make predict` computes.

A stick is started on a machine with a TPM, as it is and with single changes. The event log is taken
out of the machine's memory before boot services end, and replayed with tpm2-tools, which know
nothing of Umbra.
"""

import os
import re
import subprocess
import sys

from stick import Test

CONF = """[host]
exit = poweroff

[vm alpha]
memory = 64M
kernel = \\umbra\\vmlinuz
initrd = \\umbra\\ucode.img, \\umbra\\initrd.img
disk = \\umbra\\root.img
cmdline = console=ttyS0 secret=42
key = file:\\umbra\\alpha.key

[vm beta]
memory = 64M
kernel = \\umbra\\VMLINUZ
engine = none
"""
FILES = {name: name.encode() * 1000 for name in ('vmlinuz', 'ucode.img', 'initrd.img', 'root.img')}
FILES['alpha.key'] = bytes(range(32))
STATE = 'umbra={} secure-boot={} tme=none iommu=none'
LOG_BEGIN = b'\0\0\0\0\3\0\0\0' + bytes(20)      # PCR 0, EV_NO_ACTION, SHA-1 of zeros
LOG_MAX = 1 << 17


class Measured(Test):
    """One test with a version of the product."""

    def version(self):
        """The version in the name of the state."""
        program = self.stick('version').read('EFI/BOOT/BOOTX64.EFI')
        return re.search(rb'umbra,1,Umbra,umbra,([0-9.]+),', program)[1].decode()

    def predict(self, stick, secure_boot='off'):
        """PCR 11 and 12 of this stick, as the build host computes them."""
        state = STATE.format(self.version_seen, secure_boot)
        done = subprocess.run([os.path.join(self.product, 'stick'), 'predict', stick.folder, state],
                              check=True, stdout=subprocess.PIPE, text=True)
        return re.findall(r'at the end: PCR 1[12] is ([0-9a-f]{64})', done.stdout)

    def values(self, text):
        """PCR 11 and 12 as the machine's log has them."""
        return re.findall(r'umbra: TPM: PCR 1[12] is ([0-9a-f]{64})', text)

    def start(self, stick, *words, secure_boot='off'):
        """Starts a stick with a TPM and compares; returns the values."""
        text = self.boot(stick, f'TPM={stick.folder}.tpm', *words)
        self.expect(text, 'TPM: state: ' + STATE.format(self.version_seen, secure_boot))
        seen, predicted = self.values(text), self.predict(stick, secure_boot)
        if len(seen) != 2 or seen != predicted:
            self.fail(f'{stick.folder}: the TPM has {seen}, predicted was {predicted}')
        return seen

    def replay(self, stick):
        """The event log, and PCRs that tpm2-tools replay it to; from the dump of memory."""
        with open(f'{stick.folder}.out/dram.bin', 'rb') as file:
            memory = file.read()
        logs = []
        at = memory.find(b'Spec ID Event03')
        while at >= 0:
            if memory[at - 32:at - 4] == LOG_BEGIN:
                logs.append(memory[at - 32:at - 32 + LOG_MAX])
            at = memory.find(b'Spec ID Event03', at + 1)
        path = self.file('eventlog')
        for log in logs:
            with open(path, 'wb') as file:
                file.write(log[:log_bytes(log)])
            done = subprocess.run(['tpm2_eventlog', path], check=False, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors='replace')
            pcrs = dict(re.findall(r'^    (1[12]) *: 0x([0-9a-f]{64})$', done.stdout, re.M))
            if len(pcrs) == 2:
                return log, [pcrs['11'], pcrs['12']]
        return self.fail(f'no event log in the dump replays ({len(logs)} found)')


def log_bytes(log):
    """The length of an event log: its header, then TCG_PCR_EVENT2 until one for no PCR."""
    sizes = {0x4: 20, 0xb: 32, 0xc: 48, 0xd: 64}
    at = 32 + int.from_bytes(log[28:32], 'little')
    while int.from_bytes(log[at:at + 4], 'little') < 24 and log[at + 4:at + 8] != bytes(4):
        count = int.from_bytes(log[at + 8:at + 12], 'little')
        end = at + 12
        for _ in range(count):
            end += 2 + sizes.get(int.from_bytes(log[end:end + 2], 'little'), 1 << 20)
        end += 4 + int.from_bytes(log[end:end + 4], 'little')
        if not 1 <= count <= 8 or end > len(log):
            break
        at = end
    return at


def changes(test, stick):
    """Sticks that differ in one thing, and which of the two PCRs show it."""
    def edit(old, new):
        return lambda other: other.write('umbra/umbra.conf',
                                         CONF.replace(old, new, 1).encode('ascii'))
    def flip(name):
        return lambda other: other.flip(f'umbra/{name}', 700)
    table = [('kernel', flip('vmlinuz'), (True, False)),
             ('ucode', flip('ucode.img'), (True, False)),
             ('initrd', flip('initrd.img'), (True, False)),
             ('image', flip('root.img'), (True, False)),
             ('longer', lambda other: other.write('umbra/root.img', FILES['root.img'] + b'x'),
              (True, False)),
             ('comment', edit('exit = poweroff', 'exit = poweroff ; x'), (False, True)),
             ('cmdline', edit('secret=42', 'secret=43'), (False, True)),
             ('memory', edit('64M', '65M'), (False, True)),
             ('key', edit('alpha.key', 'other.key'), (False, True)),
             ('order', edit('ucode.img, \\umbra\\initrd.img', 'initrd.img, \\umbra\\ucode.img'),
              (True, True)),
             ('name', lambda other: other.write('umbra/alpha.key', bytes(range(1, 33))),
              (False, False))]        # the content of a key file is not measured
    for name, change, tells in table:
        other = stick.copy(name)
        change(other)
        yield name, other, tells


def main(test):
    """The stick as it is, then changed, then signed."""
    test.version_seen = test.version()
    stick = test.stick('stick', CONF, FILES)
    before = test.start(stick, 'DUMP=TPM: state')
    events, replayed = test.replay(stick)
    if replayed != before:
        test.fail(f'the event log leads to {replayed}, the TPM has {before}')
    if rb'\umbra\initrd.img' not in events or b'secret=' in events:
        test.fail('the event log names no initrd, or has the command line')
    for name, other, tells in changes(test, stick):
        after = test.predict(other)
        if tuple(a != b for a, b in zip(before, after)) != tells:
            test.fail(f'{name}: predicted was {before}, and now {after}')
        if name in ('initrd', 'cmdline'):
            test.start(other)
    if test.predict(stick, 'on')[1] == before[1]:
        test.fail('PCR 12 does not depend on Secure Boot')
    test.start(stick.signed('signed'), 'SECURE=1', secure_boot='on')
    test.passed()


if __name__ == '__main__':
    main(Measured('measured', *sys.argv[1:]))
