#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""elsewhere.py PRODUCT OUT: keys that are sealed on the build host, for a machine's report.

A TPM opens what boot/seal.py has made, by tpm2-tools, which know nothing of Umbra. Then a machine
writes its report, a key is sealed for a stick that differs in its program and umbra.conf, and the
machine opens it in the first start. Damaged keys and those for another TPM stay shut, as does a key
after a change of the kernel and the program, until it is sealed for them: with the same report.
"""

import contextlib
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import time

from sealed import CONF, FILES, KEYS, OPENED, PARTITION, SHUT, Sealed, mtools
from stick import TOP

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, 'boot'))
import aes          # pylint: disable=wrong-import-position
import seal         # pylint: disable=wrong-import-position

TEMPLATE = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt'
GAMMA = '\n[vm gamma]\nmemory = 64M\nkernel = \\umbra\\k2\nkey = tpm:\\umbra\\gamma.tpm\n'
REPORTS = CONF.replace('tpm = seal', 'tpm = report')
OPENS = CONF.replace('tpm = seal', 'tpm = open') + GAMMA
WARNING = '^WARNING: Secure Boot is off'
WHOLE = 'report has the SHA-256 {}'
OTHER = (r'PCR 4 differs \(first in: program .*BOOTX64.EFI\)',
         r'PCR 11 differs \(first in: .umbra.k2\)')


class Tpm:
    """A TPM that tpm2-tools use."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = os.path.join(folder, 'socket')

    def __enter__(self):
        os.makedirs(self.folder)
        self.process = subprocess.Popen(
            ['swtpm', 'socket', '--tpm2', '--tpmstate', f'dir={self.folder}', '--server',
             f'type=unixio,path={self.socket}', '--ctrl', f'type=unixio,path={self.socket}.ctrl',
             '--flags', 'not-need-init,startup-clear'], stdin=subprocess.DEVNULL)
        for _ in range(100):
            if os.path.exists(self.socket) and os.path.exists(f'{self.socket}.ctrl'):
                break
            time.sleep(0.1)
        return self

    def __exit__(self, *error):
        self.process.terminate()
        self.process.wait()

    def tool(self, *words):
        """Runs a tool, and frees what it leaves in the TPM. Returns its output."""
        environment = dict(os.environ, TPM2TOOLS_TCTI=f'swtpm:path={self.socket}')
        done = subprocess.run(words, check=True, cwd=self.folder, env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        subprocess.run(['tpm2_flushcontext', '-t'], check=True, cwd=self.folder, env=environment)
        return done.stdout

    def write(self, name, data):
        """A file for the tools."""
        with open(os.path.join(self.folder, name), 'wb') as file:
            file.write(data)

    def open_key(self, key, flip=None):
        """Wraps a key to this TPM and its PCRs, which are zero, and has the TPM open it."""
        self.tool('tpm2_createprimary', '-Q', '-C', 'o', '-g', 'sha256', '-G',
                  'ecc256:null:aes128cfb', '-a', TEMPLATE, '-c', 'parent')
        self.tool('tpm2_readpublic', '-Q', '-c', 'parent', '-f', 'tss', '-o', 'srk')
        with open(os.path.join(self.folder, 'srk'), 'rb') as file:
            srk = file.read()[2:]
        pair = seal.shared_secret(seal.point_of(srk))
        parts = list(seal.wrap(key, seal.policy_of([bytes(32)] * 4), srk, os.urandom(32), pair))
        if flip is not None:
            parts[0] = parts[0][:flip] + bytes([parts[0][flip] ^ 1]) + parts[0][flip + 1:]
        for name, part in zip(('private', 'public', 'seed'), parts):
            self.write(name, seal.sized(part))
        self.tool('tpm2_import', '-Q', '-C', 'parent', '-u', 'public', '-i', 'private', '-s',
                  'seed', '-r', 'imported')
        self.tool('tpm2_load', '-Q', '-C', 'parent', '-u', 'public', '-r', 'imported', '-c', 'key')
        self.tool('tpm2_startauthsession', '-Q', '--policy-session', '-S', 'session')
        self.tool('tpm2_policypcr', '-Q', '-S', 'session', '-l', 'sha256:4,7,11,12')
        opened = self.tool('tpm2_unseal', '-c', 'key', '-p', 'session:session')
        self.tool('tpm2_flushcontext', 'session')
        return opened


class Elsewhere(Sealed):
    """One test."""

    def seal(self, stick, name, folder, *more, key=None):
        """Seals a key for a stick; returns what the tool says, and its exit code."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(stick.path(f'umbra/{name}.tpm'))
        done = subprocess.run(
            [sys.executable, '-B', f'{TOP}/boot/seal.py', os.path.join(self.product, 'stick'),
             stick.folder, key or self.file('alpha.key'), folder,
             stick.path(f'umbra/{name}.tpm'), *more],
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout)
        return done.stdout, done.returncode

    def sealed(self, stick, name, folder, *words):
        """Seals a key, which must work."""
        text, code = self.seal(stick, name, folder)
        if code != 0:
            self.fail('seal.py fails')
        self.expect(text, WHOLE.format(hash_of(folder)), r'PCR 7 is [0-9a-f]{64}, as reported',
                    *words)
        self.forbid(text, WARNING)

    def refused(self, stick, folder, why, **how):
        """Nothing is sealed, for this reason."""
        text, code = self.seal(stick, 'refused', folder, **how)
        if code != 1 or os.path.exists(stick.path('umbra/refused.tpm')):
            self.fail(f'seal.py seals, though: {why}')
        self.expect(text, f'^seal: .*{why}')

    def report_with(self, folder, name, change):
        """A copy of a report whose text is changed."""
        other = self.file(name)
        shutil.copytree(folder, other)
        with open(os.path.join(other, 'seal.txt'), 'r+', encoding='ascii') as file:
            text = change(file.read())
            file.seek(0)
            file.truncate()
            file.write(text)
        return other


def hash_of(folder):
    """What a machine's log and seal.py say of a report."""
    with open(os.path.join(folder, 'seal.txt'), 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()


def tools(test):
    """What seal.py makes is what tpm2-tools and another implementation of a TPM take."""
    fips = bytes.fromhex('000102030405060708090a0b0c0d0e0f')
    block = bytes.fromhex('00112233445566778899aabbccddeeff')       # FIPS 197, C.1
    if aes.encrypt(aes.round_keys(fips), block).hex() != '69c4e0d86a7b0430d8cdb78070b4c55a':
        test.fail('AES does not give what FIPS 197 says')
    with Tpm(test.file('tools')) as tpm:
        for key in KEYS.values():
            if tpm.open_key(key) != key:
                test.fail('the TPM opens another key')
        with contextlib.suppress(subprocess.CalledProcessError):
            tpm.open_key(KEYS['alpha'], flip=60)
            test.fail('control: the TPM takes a damaged key')


def report(test):
    """A machine writes its report; returns the folder with it."""
    stick = test.stick('reports', REPORTS, FILES).signed('reports-signed')
    disk = test.image_of(stick)
    text = test.run(stick, disk, 'SECURE=1')
    test.expect(text, r'tpm = report: .umbra.report.seal.txt is written, for make seal',
                SHUT.format('alpha', 'there is no such file'))
    folder = test.file('report')
    os.makedirs(folder)
    for name in ('seal.txt', 'seal.log'):
        mtools('mcopy', '-n', '-i', disk + PARTITION, f'::umbra/report/{name}', folder)
    test.expect(text, WHOLE.format(hash_of(folder)))
    return folder


def foreign(test, folder):
    """The same report with the storage key of another TPM."""
    point, _ = seal.shared_secret(seal.point_of(seal.read_report(folder)['srk']))
    return test.report_with(folder, 'foreign', lambda text: text.replace(
        seal.point_of(seal.read_report(folder)['srk'])[:32].hex(), point[:32].hex()).replace(
            seal.point_of(seal.read_report(folder)['srk'])[32:].hex(), point[32:].hex()))


def refusals(test, stick, folder):
    """What seal.py does not take."""
    test.refused(stick, folder, 'a key file has exactly 32 or 64 bytes', key=f'{folder}/seal.txt')
    for name, change, why in (
            ('mark', lambda text: text[1:], 'is no report of Umbra'),
            ('line', lambda text: text.replace('pcr7 ', 'pcr8 '), 'a line is missing or wrong'),
            ('key', lambda text: text.replace('00030472', '00030072'),
             'this is not the storage key that Umbra makes'),
            ('point', lambda text: text[:-5] + ('0' if text[-5] != '0' else '1') + text[-4:],
             'the storage key is no key on P-256')):
        test.refused(stick, test.report_with(folder, name, change), why)


def two_programs(folder):
    """The event log, and PCR 4 after it, as if another program had run before Umbra."""
    with open(os.path.join(folder, 'seal.log'), 'rb') as file:
        log = file.read()
    digest = seal.events_of(log, 4)[-1][1]
    at = log.rindex(struct.pack('<II', 4, seal.APPLICATION), 0, log.index(digest))
    other = log[:at] + log[at:].replace(digest, digest[::-1]) + log[at:]
    return other, seal.replay(seal.events_of(other, 4)).hex()


def event_logs(test, stick, folder):
    """The log must lead to PCR 4 of the report. Without one PCR 4 is that of the report."""
    def changed(name, change, change_text=str):
        other = test.report_with(folder, name, change_text)
        path = os.path.join(other, 'seal.log')
        with open(path, 'rb') as file:
            data = change(file.read())
        os.unlink(path)
        if data is not None:
            with open(path, 'wb') as file:
                file.write(data)
        return other
    def other_event(log):
        digest = seal.events_of(log, 4)[0][1]
        return log.replace(digest, digest[::-1])
    reported = f'PCR 4 is {seal.read_report(folder)["pcr4"].hex()}, as reported: .* alone, because '
    def other_type(log):
        digest = seal.events_of(log, 4)[-1][1]
        at = log.rindex(struct.pack('<II', 4, seal.APPLICATION), 0, log.index(digest))
        return log[:at + 4] + struct.pack('<I', 0x80000007) + log[at + 8:]
    for name, change, why in (
            ('none', lambda log: None, 'firmware has no event log'),
            ('type', other_type, 'no program is the last event of PCR 4')):
        test.sealed(stick, 'alpha', changed(name, change), reported + '.*' + why)
    test.refused(stick, changed('event', other_event), 'does not lead to PCR 4 of the report')
    # A program that runs before and extends PCR 4 with the hash of this one has other values.
    log, pcr4 = two_programs(folder)
    other = changed('two', lambda _: log, lambda text: re.sub(
        'pcr4 .*', 'pcr4 ' + pcr4, text))
    test.sealed(stick, 'alpha', other, 'programs in the event log: 2; the last was')
    if hash_of(other) == hash_of(folder):
        test.fail('another report has the same hash')
    for name, change in (('cut', lambda log: log[:-5]), ('start', lambda log: log[:60]),
                         ('empty', lambda log: b'')):
        test.refused(stick, changed(name, change), 'is no event log')


def main(test):
    """The report is written once."""
    tools(test)
    for name, key in KEYS.items():
        with open(test.file(f'{name}.key'), 'wb') as file:
            file.write(key)
    folder = report(test)

    plain = test.stick('plain', OPENS, FILES)
    stick = plain.signed('second')
    refusals(test, stick, folder)
    event_logs(test, stick, folder)
    state = seal.read_report(folder)['state'].replace('secure-boot=on', 'secure-boot=off')
    test.expect(test.seal(stick, 'alpha', folder, state)[0], WARNING)
    other = ('PCR 4 is .*, for this program, which is not the one that wrote the report:\n'
             '    programs in the event log: 1; the last was\n'
             '    [0-9a-f]{64}, and in its place is\n    [0-9a-f]{64}\n')
    test.sealed(stick, 'alpha', folder, other)
    test.sealed(stick, 'beta', folder, other)
    stick.flip('umbra/beta.tpm', -100)
    test.sealed(stick, 'gamma', foreign(test, folder), other)
    text = test.boot(stick, f'TPM={test.file("tpm1")}', 'SECURE=1')
    test.expect(text, OPENED.format('alpha'),
                *(SHUT.format(name, 'it was not sealed by or for this TPM, or it was changed')
                  for name in ('beta', 'gamma')))

    plain.flip('umbra/k2', 5000)
    third = plain.signed('third')
    shutil.copy(stick.path('umbra/alpha.tpm'), third.path('umbra/alpha.tpm'))
    test.shut(third, *OTHER, words=['SECURE=1'])
    test.sealed(third, 'alpha', folder, other)
    text = test.boot(third, f'TPM={test.file("tpm1")}', 'SECURE=1')
    test.expect(text, OPENED.format('alpha'))
    test.check_values(third, text)
    test.passed()


if __name__ == '__main__':
    main(Elsewhere('elsewhere', *sys.argv[1:]))
