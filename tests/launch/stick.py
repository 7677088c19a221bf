# SPDX-License-Identifier: Apache-2.0
"""What the tests of the launch share: sticks, signed or not, and machines that start them.

The machine is QEMU with firmware of its own for each need: Secure Boot, a TPM. It has no VMX, so
Umbra checks and measures what it was given, says that it cannot run VMs, and powers off.
"""

import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, '..', '..')
BOOT = os.path.join(HERE, '..', 'machine', 'boot.py')
OVMF = '/usr/share/ovmf/PkKek-1-snakeoil'
LOADER = 'EFI/BOOT/BOOTX64.EFI'
CONF = '[host]\nexit = poweroff\n'


class Stick:
    """A folder with the program and the files of a stick."""

    def __init__(self, test, folder):
        self.test = test
        self.folder = folder

    def path(self, name):
        """The path of a file of the stick."""
        return os.path.join(self.folder, name)

    def write(self, name, data):
        """Writes a file."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as file:
            file.write(data)

    def read(self, name):
        """Reads a file."""
        with open(self.path(name), 'rb') as file:
            return file.read()

    def flip(self, name, at):
        """Changes one bit of a byte."""
        data = bytearray(self.read(name))
        data[at] ^= 1
        self.write(name, bytes(data))

    def copy(self, name):
        """A second stick with the same files."""
        folder = self.test.file(name)
        shutil.copytree(self.folder, folder)
        return Stick(self.test, folder)

    def signed(self, name, *more):
        """A signed copy, made as `make image` makes it."""
        folder = self.test.file(name)
        keys = ','.join([self.test.key(), f'{OVMF}.pem', *more])
        tool = os.path.join(self.test.product, 'stick')
        subprocess.run([sys.executable, '-B', f'{TOP}/boot/sign.py', tool, self.folder, folder,
                        keys], check=True)
        return Stick(self.test, folder)


class Test:
    """One test: its folder, and what was seen."""

    def __init__(self, name, product, out):
        self.name = name
        self.product = os.path.abspath(product)
        self.out = os.path.join(os.path.abspath(out), 'runs')
        shutil.rmtree(self.out, ignore_errors=True)
        os.makedirs(self.out)

    def file(self, name):
        """A path in the test's folder."""
        return os.path.join(self.out, name)

    def key(self):
        """The private key that firmware's variables trust, without its passphrase."""
        path = self.file('db.key')
        if not os.path.exists(path):
            subprocess.run(['openssl', 'rsa', '-passin', 'pass:snakeoil', '-in', f'{OVMF}.key',
                            '-out', path], check=True, stderr=subprocess.DEVNULL)
        return path

    def stick(self, name, conf=CONF, files=None):
        """A new stick with the program."""
        stick = Stick(self, self.file(name))
        with open(os.path.join(self.product, 'BOOTX64.EFI'), 'rb') as file:
            stick.write(LOADER, file.read())
        stick.write('umbra/umbra.conf', conf.encode('ascii'))
        for path, data in (files or {}).items():
            stick.write(f'umbra/{path}', data)
        return stick

    def boot(self, stick, *words, stop=None):
        """Starts a stick; returns the text of the serial line."""
        out = f'{stick.folder}.out'
        words = [f'ESP={stick.folder}', f'OUT={out}', 'MACHINE=qemu', 'MEM=256', 'TIMEOUT=240',
                 *words, *([f'STOP={stop}'] if stop else [])]
        done = subprocess.run([sys.executable, '-B', BOOT, *words], check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        with open(f'{out}/serial.log', 'rb') as file:
            text = file.read().decode('utf-8', 'replace').replace('\r', '\n')
        text = re.sub(r'\x1b\[[0-9;=?!]*[A-Za-z]', '', text)
        print('\n'.join(line for line in text.splitlines()
                        if line.startswith('umbra:') or 'BdsDxe' in line))
        if done.returncode != 0:
            self.fail(f'{stick.folder}: {done.stdout.decode("utf-8", "replace")[-300:]}')
        return text

    def expect(self, text, *patterns):
        """All patterns appear, in any order."""
        for pattern in patterns:
            if not re.search(pattern, text):
                self.fail(f'the serial line lacks: {pattern}')

    def forbid(self, text, *patterns):
        """No pattern appears."""
        for pattern in patterns:
            if re.search(pattern, text):
                self.fail(f'the serial line has: {pattern}')

    def fail(self, why):
        """Ends the test."""
        sys.exit(f'{self.name}: {why}')

    def passed(self):
        """What the case expects."""
        print(f'{self.name}: PASS')
