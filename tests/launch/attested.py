#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""attested.py PRODUCT OUT: a report of a launch convinces a user elsewhere, and only a right one.

Sticks with a nonce are started; this test then is the user, who has tpm2-tools and the files of
the report. A wrong nonce, a changed event log, a changed quote and another TPM with the same
PCRs are refused. A credential opens on the TPM that it was made for, and on no other.
"""

import hashlib
import os
import re
import socket
import struct
import subprocess
import sys
import time

from sealed import PARTITION, Sealed, mtools

CONF = """[host]
exit = poweroff
tpm = seal
attest = always

[vm alpha]
memory = 64M
kernel = \\umbra\\k1
"""
KEY = 'key = tpm:\\umbra\\alpha.tpm\n'
KERNEL = b'k1' * 3000
CERTIFICATE = 0x01c0000a        # the TPM's index for it
INDEX_RIGHTS = 0x00060006       # to be written and read by the owner and with its own password
OWNER, PASSWORD = 0x40000001, struct.pack('>IIHBH', 9, 0x40000009, 0, 0, 0)
RIGHTS = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign'


class Attested(Sealed):
    """One test, and what it takes from the sticks."""

    def report(self, stick, disk, nonce, tpm):
        """Starts an image with this nonce; returns the machine's log, and the report's folder."""
        stick.write('umbra/nonce', nonce)
        mtools('mcopy', '-o', '-i', disk + PARTITION, stick.path('umbra/nonce'), '::umbra/')
        text = self.run(stick, disk, tpm=tpm)
        folder = self.file(f'report{len(os.listdir(self.out))}')
        os.mkdir(folder)
        mtools('mcopy', '-s', '-i', disk + PARTITION, '::umbra/report', folder)
        return text, os.path.join(folder, 'report')

    def checked(self, report, nonce, key=None, **instead):
        """Does tpm2_checkquote accept it? instead: other files in place of the report's."""
        names = {'message': 'quote.msg', 'signature': 'quote.sig', 'pcr': 'pcrs',
                 'eventlog': 'eventlog.bin'}
        words = [f'--{option}={instead.get(option, os.path.join(report, name))}'
                 for option, name in names.items()]
        done = subprocess.run(['tpm2_checkquote', f'--public={key or report + "/ak.pub"}',
                               f'--qualification={nonce.hex()}', *words], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode == 0, done.stdout

    def accepted(self, report, nonce):
        """Checks that the report is right; returns the values of PCR 11 and 12 that were
        checked."""
        good, words = self.checked(report, nonce)
        if not good:
            self.fail(f'{report}: tpm2_checkquote refuses it: {words}')
        return re.findall(r'^ *1[12] *: 0x([0-9A-F]{64})$', words, re.M)

    def refused(self, why, report, nonce, error, **how):
        """Checks that the report is refused for this reason."""
        good, words = self.checked(report, nonce, **how)
        if good or error not in words:
            self.fail(f'{why}: expected was "{error}", tpm2_checkquote says: {words}')

    def changed(self, report, name, at):
        """A copy of a file with one bit flipped."""
        data = bytearray(read(report, name))
        data[at] ^= 1
        path = f'{report}.{name}'
        with open(path, 'wb') as file:
            file.write(data)
        return path


def read(folder, name):
    """The bytes of a file."""
    with open(os.path.join(folder, name), 'rb') as file:
        return file.read()


def name_of(report):
    """The name of the attestation key, from the key itself."""
    return '000b' + hashlib.sha256(read(report, 'ak.pub')[2:]).hexdigest()


def index_commands(data):
    """Commands that leave data in the TPM as the certificate of its endorsement key."""
    def command(code, body):
        return struct.pack('>HII', 0x8002, 10 + len(body), code) + body
    public = struct.pack('>IHIHH', CERTIFICATE, 0xb, INDEX_RIGHTS, 0, len(data))
    yield command(0x12a, struct.pack('>I', OWNER) + PASSWORD +
                  struct.pack('>HH', 0, len(public)) + public)
    for at in range(0, len(data), 256):
        part = data[at:at + 256]
        yield command(0x137, struct.pack('>II', OWNER, CERTIFICATE) + PASSWORD +
                      struct.pack('>H', len(part)) + part + struct.pack('>H', at))


def certify(test, tpm, report):
    """Gives the TPM a certificate of its endorsement key, as its maker might have done."""
    key, maker, cert = (test.file(name) for name in ('ek.pem', 'maker', 'ek.der'))
    subprocess.run(['tpm2_print', '-t', 'TPM2B_PUBLIC', '-f', 'pem', f'{report}/ek.pub'],
                   check=True, stdout=open(key, 'wb'))
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=maker', '-keyout',
                    f'{maker}.key', '-out', f'{maker}.pem'], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(['openssl', 'x509', '-new', '-force_pubkey', key, '-subj', '/CN=ek', '-CA',
                    f'{maker}.pem', '-CAkey', f'{maker}.key', '-outform', 'DER', '-out', cert],
                   check=True)
    at = test.file('swtpm.sock')
    with subprocess.Popen(['swtpm', 'socket', '--tpm2', '--terminate', '--tpmstate',
                           f'dir={test.file(tpm)}', '--server', f'type=unixio,path={at}',
                           '--flags', 'not-need-init,startup-clear'],
                          stdin=subprocess.DEVNULL) as swtpm:
        while not os.path.exists(at) and swtpm.poll() is None:
            time.sleep(0.05)
        with socket.socket(socket.AF_UNIX) as link, open(cert, 'rb') as file:
            link.connect(at)
            for command in index_commands(file.read()):
                link.sendall(command)
                answer = link.recv(4096)
                if answer[6:10] != bytes(4):
                    test.fail(f'the TPM takes no certificate: {answer.hex()}')
    return f'{maker}.pem', key


def right_and_wrong(test):
    """The first start, which seals a key as well; returns its report."""
    stick = test.stick('sealed', CONF + KEY, {'k1': KERNEL, 'alpha.key': bytes(range(64))})
    disk = test.image_of(stick)
    nonce = hashlib.sha256(b'one').digest()
    text, report = test.report(stick, disk, nonce, 'tpm1')
    test.expect(text, f'report: the nonce is {nonce.hex()}', 'report: nothing is missing',
                'the TPM holds no certificate')
    test.forbid(text, 'MISSING')
    values = test.accepted(report, nonce)
    if [value.lower() for value in values] != test.values(text):
        test.fail(f'the quote has {values}, the log {test.values(text)}')
    log = read(report, 'eventlog.bin')
    key = log.rfind(b'vm alpha key fresh')
    if not 0 < key < log.rfind(b'\4\0\0\0\xff\xff\xff\xff'):
        test.fail('the event log does not have the sealed key, and then separators')
    rights = subprocess.run(['tpm2_print', '-t', 'TPM2B_PUBLIC', f'{report}/ak.pub'], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    if f'value: {RIGHTS}\n' not in rights:
        test.fail(f'the attestation key is not restricted: {rights}')
    if f'ak.pub has the name {name_of(report)}' not in read(report, 'report.txt').decode():
        test.fail('report.txt does not name the attestation key')

    test.refused('wrong nonce', report, hashlib.sha256(b'two').digest(), 'nonce from quote')
    test.refused('shorter nonce', report, nonce[:16], 'nonce from quote')
    test.refused('changed log', report, nonce, 'Eventlog and quote PCR mismatch',
                 eventlog=test.changed(report, 'eventlog.bin',
                                       log.index(hashlib.sha256(KERNEL).digest())))
    test.refused('changed quote', report, nonce, 'Error validating signed message',
                 message=test.changed(report, 'quote.msg', -1))
    test.refused('changed value', report, nonce, 'mismatch',
                 pcr=test.changed(report, 'pcrs', 4 + 128 + 4 + 4 + 2))
    return report


def enrol(test, stick, disk, first):
    """A credential opens on this TPM; its key is the same in each start."""
    maker, key = certify(test, 'tpm1', first)
    secret, credential = test.file('secret'), stick.path('umbra/credential')
    with open(secret, 'wb') as file:
        file.write(hashlib.sha256(b'secret').digest())
    subprocess.run(['tpm2_makecredential', '-Q', '-T', 'none', '-u', f'{first}/ek.pub', '-s',
                    secret, '-n', name_of(first), '-o', credential], check=True,
                   stderr=subprocess.DEVNULL)
    mtools('mcopy', '-o', '-i', disk + PARTITION, credential, '::umbra/')
    nonce = bytes(range(16))
    text, report = test.report(stick, disk, nonce, 'tpm1')
    test.expect(text, 'report: nothing is missing')
    test.accepted(report, nonce)
    if read(report, 'ak.pub') != read(first, 'ak.pub'):
        test.fail('the attestation key is another one in each start')
    if read(report, 'secret') != read('', secret):
        test.fail('the credential was not opened')
    found = subprocess.run(['openssl', 'x509', '-inform', 'DER', '-in', f'{report}/ek.crt',
                            '-noout', '-pubkey'], check=True, stdout=subprocess.PIPE).stdout
    if found.split() != read('', key).split():
        test.fail('the certificate is not that of the endorsement key')
    subprocess.run(['openssl', 'verify', '-CAfile', maker, f'{report}/ek.crt'], check=True)
    return report


def another_tpm(test, stick, disk, enrolled):
    """Another TPM has the same PCRs and makes a right quote, but it is not the one that was
    enrolled."""
    nonce = hashlib.sha256(b'three').digest()
    text, report = test.report(stick, disk, nonce, 'tpm2')
    test.expect(text, 'report: .umbra.credential: it was made for another TPM or another key')
    test.accepted(report, nonce)
    if read(report, 'pcrs') != read(enrolled, 'pcrs'):
        test.fail('control: the two TPMs do not have the same PCRs')
    test.refused('another TPM', report, nonce, 'Error validating signed message',
                 key=f'{enrolled}/ak.pub')
    if os.path.exists(f'{report}/secret') or name_of(report) == name_of(enrolled):
        test.fail('the other TPM passes for the one that was enrolled')


def keys_behind_an_iommu(test):
    """A nonce has no keys opened while devices can read memory, unless umbra.conf says so."""
    stick = test.stick('later', (CONF + KEY).replace('always', 'auto'),
                       {'k1': KERNEL, 'alpha.tpm': b'not read before'})
    text, report = test.report(stick, test.image_of(stick), bytes(16), 'tpm1')
    test.expect(text, r'report: the quote: the TPM opens keys after DMA is shut out(.*\n)+'
                r'.*DMA: from now on no device(.*\n)+.*this is not a key that Umbra has sealed')
    if os.listdir(report) != ['report.txt']:
        test.fail(f'the report has {os.listdir(report)}')


def main(test):
    """Two TPMs, each behind an IOMMU, and a machine without a TPM."""
    first = right_and_wrong(test)
    keys_behind_an_iommu(test)
    stick = test.stick('stick', CONF, {'k1': KERNEL})
    disk = test.image_of(stick)
    enrolled = enrol(test, stick, disk, first)
    another_tpm(test, stick, disk, enrolled)
    text = test.boot(stick, f'IMG={disk}', 'KEEP=1')
    test.expect(text, 'report: the quote: firmware offers no TPM 2.0', 'powers off')
    test.passed()


if __name__ == '__main__':
    main(Attested('attested', *sys.argv[1:]))
