#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""seal.py STICK ESP KEY REPORT OUT [STATE]: seals a key to a machine's TPM, on another machine.

ESP is the folder with the files of the stick that shall open the key, and KEY the key file. REPORT
is the folder \\umbra\\report of a start with `[host] tpm = report`. OUT becomes the file for
`key = tpm:PATH`. STATE replaces the state of the machine that the report has. STICK is the program
built from tests/machine/stick.c. boot/README.md describes it all in "Sealing on another machine".

The TPM imports the key: this is duplication with an outer wrapper alone (TPM 2.0 Library, part 1,
23.3). No secret is on a command line or in a temporary file.
"""

import hashlib
import hmac
import os
import re
import struct
import subprocess
import sys
import tempfile

from aes import cfb_encrypt

LOADER = os.path.join('EFI', 'BOOT', 'BOOTX64.EFI')
PCRS = 4, 7, 11, 12
MASK = sum(1 << pcr for pcr in PCRS)
OWN_MAX, PCR_MAX = 96, 24       # steps of PCR 11 and 12 together, and of each other PCR
POLICY_PCR = 0x17f
SHA256, KEYED_HASH, NULL = 0x000b, 0x0008, 0x0010
# Without fixedTPM and fixedParent it can be imported; without userWithAuth only the policy opens
# it. noDA is all that is left.
ATTRIBUTES = 0x400
P256 = bytes.fromhex('3059301306072a8648ce3d020106082a8648ce3d03010703420004')
# The public part of the storage key that Umbra makes (boot/tpm_seal.c), up to x and y.
STORAGE = bytes.fromhex('0023000b0003047200000006008000430010000300100020')
STORAGE_BYTES = len(STORAGE) + 32 + 2 + 32

APPLICATION = 0x80000003        # EV_EFI_BOOT_SERVICES_APPLICATION
NO_ACTION = 3


class SealError(Exception):
    """Nothing was sealed. The text says why."""


def run(*command, given=None):
    """Runs a tool with this input, and returns its output."""
    done = subprocess.run(command, input=given or b'', stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        said = done.stderr.decode('utf-8', 'replace').strip()
        raise SealError(f'{os.path.basename(command[0])}: {said or done.returncode}')
    return done.stdout


def sha256(*parts):
    """The hash of the parts, one behind the other."""
    return hashlib.sha256(b''.join(parts)).digest()


def sized(data):
    """Bytes after their length, as a TPM2B."""
    return struct.pack('>H', len(data)) + data


# --- What the machine has reported ---

def read_report(folder):
    """The values of the report: state, srk, and pcr4, pcr7 as bytes; and its SHA-256."""
    path = os.path.join(folder, 'seal.txt')
    with open(path, 'rb') as file:
        data = file.read(4096)
    lines = data.decode('ascii', 'replace').splitlines()
    if lines[:1] != ['umbra-report 1']:
        raise SealError(f'{path} is no report of Umbra')
    found = dict(line.split(' ', 1) for line in lines[1:] if ' ' in line)
    try:
        report = {name: bytes.fromhex(found[name]) for name in ('srk', 'pcr4', 'pcr7')}
        report['state'], report['hash'] = found['state'], sha256(data).hex()
    except (KeyError, ValueError) as error:
        raise SealError(f'{path}: a line is missing or wrong: {error}') from error
    if len(report['pcr4']) != 32 or len(report['pcr7']) != 32:
        raise SealError(f'{path}: the value of a PCR has 64 digits')
    srk = report['srk']
    if len(srk) != STORAGE_BYTES or srk[:len(STORAGE)] != STORAGE or \
            srk[len(STORAGE) + 32:len(STORAGE) + 34] != b'\0\x20':
        raise SealError(f'{path}: this is not the storage key that Umbra makes')
    return report


def point_of(srk):
    """x and y of the storage key."""
    return srk[len(STORAGE):len(STORAGE) + 32] + srk[-32:]


def digest_sizes(log):
    """The algorithms of an event log and the bytes of their digests; and where its events begin.
    (TCG PC Client Platform Firmware Profile, 10.4.5.1: the first event.)"""
    at = 32 + 24
    if log[32:47] != b'Spec ID Event03':
        raise ValueError('its first event does not say what it is')
    count, = struct.unpack_from('<I', log, at)
    if count > 16:
        raise ValueError('it has too many algorithms')
    sizes = dict(struct.unpack_from('<HH', log, at + 4 + 4 * i) for i in range(count))
    return sizes, 32 + struct.unpack_from('<I', log, 28)[0]


def events_of(log, pcr):
    """The type and the SHA-256 digest of each event of a PCR."""
    events = []
    sizes, at = digest_sizes(log)
    while at < len(log):
        number, kind, count = struct.unpack_from('<III', log, at)
        at += 12
        digest = b''
        for _ in range(count):
            algorithm, = struct.unpack_from('<H', log, at)
            if algorithm not in sizes:
                raise ValueError(f'it has an algorithm {algorithm:x} that it does not describe')
            if algorithm == SHA256:
                digest = log[at + 2:at + 2 + 32]
            at += 2 + sizes[algorithm]
        at += 4 + struct.unpack_from('<I', log, at)[0]
        if number == pcr and kind != NO_ACTION:
            events.append((kind, digest))
    if at != len(log):
        raise ValueError('its last event is cut off')
    return events


def values_of(events):
    """The values of a PCR after each of these events."""
    values, value = [], bytes(32)
    for _, digest in events:
        value = sha256(value, digest)
        values.append(value)
    return values


def replay(events):
    """The value of a PCR after these events."""
    return ([bytes(32)] + values_of(events))[-1]


def firmware_steps(pcr, events, value):
    """The PCR after each event, for the machine to name the one that differs; none, if they do not
    lead to its value, or if they are too many (boot/seal.h)."""
    values = values_of(events)
    if values[-1:] != [value] or len(values) > PCR_MAX:
        return []
    return [(pcr, step, '') for step in values]


def program_hash(program):
    """What firmware measures of a program: Authenticode's hash of the PE file, which leaves out the
    checksum, the place of the signature, and the signature."""
    try:
        pe, = struct.unpack_from('<I', program, 0x3c)
        sections, = struct.unpack_from('<H', program, pe + 6)
        optional, = struct.unpack_from('<H', program, pe + 20)
        checksum, entry = pe + 24 + 64, pe + 24 + 112 + 4 * 8
        headers, = struct.unpack_from('<I', program, pe + 24 + 60)
        signature_bytes, = struct.unpack_from('<I', program, entry + 4)
        parts = [program[:checksum], program[checksum + 4:entry], program[entry + 8:headers]]
        places = [struct.unpack_from('<II', program, pe + 24 + optional + 40 * i + 16)
                  for i in range(sections)]
    except struct.error as error:
        raise SealError(f'{LOADER} is no program of UEFI') from error
    done = headers
    for size, place in sorted((place, size) for size, place in places if size != 0):
        parts.append(program[size:size + place])
        done += place
    parts.append(program[done:len(program) - signature_bytes])
    return sha256(*parts)


def next_pcr4(folder, report, program):
    """PCR 4 when this program is started as the one was that wrote the report; words that say how
    it was computed; and firmware's steps. The hash of the report covers its PCR 4, and PCR 4 the
    digests of the log; but nothing covers the types of its events."""
    path = os.path.join(folder, 'seal.log')
    same_only = 'as reported: it opens for that very program alone, because '
    try:
        with open(path, 'rb') as file:
            log = file.read(1 << 20)
        events = events_of(log, 4)
        policy = firmware_steps(7, events_of(log, 7), report['pcr7'])
    except FileNotFoundError:
        return report['pcr4'], same_only + 'firmware has no event log', []
    except (ValueError, struct.error) as error:
        raise SealError(f'{path} is no event log: {error}') from error
    if replay(events) != report['pcr4']:
        raise SealError(f'{path} does not lead to PCR 4 of the report: it was changed, is of '
                        'another start, or firmware does not log all. Without this file the key '
                        'can be sealed to the program that wrote the report')
    if not events or events[-1][0] != APPLICATION:
        return (report['pcr4'], same_only + f'no program is the last event of PCR 4 in {path}',
                firmware_steps(4, events, report['pcr4']) + policy)
    wrote, wanted = events[-1][1], program_hash(program)
    programs = sum(kind == APPLICATION for kind, _ in events)
    events[-1] = APPLICATION, wanted
    how = 'as reported: this is the program that wrote the report' if wrote == wanted else \
        'for this program, which is not the one that wrote the report'
    return (replay(events), f'{how}:\n    programs in the event log: {programs}; the last was\n'
            f'    {wrote.hex()}, and in its place is\n    {wanted.hex()}',
            firmware_steps(4, events, replay(events)) + policy)


# --- What the stick will measure ---

def read_version(program):
    """The version in the program's section .sbat."""
    found = re.search(rb'\numbra,1,Umbra,umbra,([0-9A-Za-z.]+),', program)
    if not found:
        raise SealError(f'{LOADER} is not Umbra')
    return found[1].decode('ascii')


def read_steps(stick, esp, state):
    """PCR 11 and 12 after each event: their number, value and words."""
    steps = []
    for line in run(stick, 'steps', esp, state).decode('ascii').splitlines():
        pcr, value, words = line.split(' ', 2)
        steps.append((int(pcr), bytes.fromhex(value), words))
    return steps


def last_value(steps, pcr):
    """The value of a PCR after all steps."""
    return ([bytes(32)] + [value for number, value, _ in steps if number == pcr])[-1]


# --- What the TPM imports ---

def selection():
    """The PCRs in the bank of SHA-256: bit n of byte m stands for PCR 8 m + n."""
    return struct.pack('>IHB', 1, SHA256, 3) + MASK.to_bytes(3, 'little')


def policy_of(values):
    """The policy that TPM2_PolicyPCR gives for these values (part 3, 23.7)."""
    return sha256(bytes(32), struct.pack('>I', POLICY_PCR), selection(), sha256(*values))


def kdf_a(key, label, context, bits):
    """KDFa with SHA-256, for at most 256 bits (part 1, 11.4.10.2)."""
    data = struct.pack('>I', 1) + label + b'\0' + context + struct.pack('>I', bits)
    return hmac.digest(key, data, 'sha256')[:bits // 8]


def kdf_e(secret, label, party_u, party_v):
    """KDFe with SHA-256, for 256 bits (part 1, 11.4.10.3)."""
    return sha256(struct.pack('>I', 1), secret, label, b'\0', party_u, party_v)


def shared_secret(point):
    """A new key on P-256: its point, and x of what it gives with another point."""
    private = run('openssl', 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256')
    public = run('openssl', 'pkey', '-pubout', '-outform', 'DER', given=private)
    with tempfile.NamedTemporaryFile() as peer:
        peer.write(P256 + point)
        peer.flush()
        try:
            secret = run('openssl', 'pkeyutl', '-derive', '-inkey', '/dev/stdin', '-peerform',
                         'DER', '-peerkey', peer.name, given=private)
        except SealError as error:
            raise SealError(f'the storage key is no key on P-256: {error}') from error
    if public[:len(P256)] != P256 or len(public) != len(P256) + 64 or len(secret) != 32:
        raise SealError('openssl has made another key than one on P-256')
    return public[len(P256):], secret


def wrap(key, policy, srk, seed_value, pair):
    """The wrapped secret part, the public part, and the encrypted seed. seed_value hides the key in
    the public part; pair is what shared_secret has returned."""
    public = struct.pack('>HHI', KEYED_HASH, SHA256, ATTRIBUTES) + sized(policy) + \
        struct.pack('>H', NULL) + sized(sha256(seed_value, key))
    name = struct.pack('>H', SHA256) + sha256(public)
    sensitive = sized(struct.pack('>H', KEYED_HASH) + sized(b'') + sized(seed_value) + sized(key))
    point, secret = pair
    seed = kdf_e(secret, b'DUPLICATE', point[:32], point_of(srk)[:32])
    hidden = cfb_encrypt(kdf_a(seed, b'STORAGE', name, 128), sensitive)
    tag = hmac.digest(kdf_a(seed, b'INTEGRITY', b'', 256), hidden + name, 'sha256')
    return sized(tag) + hidden, public, sized(point[:32]) + sized(point[32:])


def write_file(values, steps, parts):
    """The file's bytes (boot/seal.c)."""
    history = b''.join(bytes([pcr]) + value[:7] for pcr, value, _ in steps)
    return (b'umbra-tpm 2\n' + struct.pack('>I', MASK) + b''.join(values) +
            struct.pack('>H', len(steps)) + history + b''.join(sized(part) for part in parts))


# --- All of it ---

def read_key(path):
    """The key file, as Umbra takes it (boot/key_file.c)."""
    with open(path, 'rb') as file:
        key = file.read(65)
    if len(key) not in (32, 64):
        raise SealError(f'{path}: a key file has exactly 32 or 64 bytes')
    if key == key[:1] * len(key):
        raise SealError(f'{path}: this is not a key: it is one byte repeated')
    return key


def seal(stick, esp, key_path, folder, out, state):
    """Writes the sealed file, and says what it depends on."""
    key = read_key(key_path)
    report = read_report(folder)
    with open(os.path.join(esp, LOADER), 'rb') as file:
        program = file.read()
    state = state or re.sub(r'^umbra=\S+', f'umbra={read_version(program)}', report['state'])
    pcr4, how, firmware = next_pcr4(folder, report, program)
    steps = read_steps(stick, esp, state)
    values = [pcr4, report['pcr7'], last_value(steps, 11), last_value(steps, 12)]
    srk = report['srk']
    pair = shared_secret(point_of(srk))
    data = write_file(values, steps[:OWN_MAX] + firmware,
                      wrap(key, policy_of(values), srk, os.urandom(32), pair))
    with open(out, 'xb') as file:
        file.write(data)
    if 'secure-boot=off' in state.split():
        print('WARNING: Secure Boot is off: whoever can write firmware\'s variables or plug a card '
              'into the\nmachine can read the key')
    print(f'{out}: {len(data)} bytes\n'
          f'  the report has the SHA-256 {report["hash"]}:\n'
          '    compare it with this line of the machine\'s log, "TPM: the report has ..."\n'
          f'  the state is {state}\n'
          f'  PCR 4 is {pcr4.hex()}, {how}\n'
          f'  PCR 7 is {values[1].hex()}, as reported')
    for pcr, value in zip((11, 12), values[2:]):
        print(f'  PCR {pcr} is {value.hex()}, from {esp}')
    name = os.path.basename(out).lower()
    if not any(' key ' in words and words.lower().endswith(f'\\{name}') for _, _, words in steps):
        print(f'Note: umbra.conf of {esp} has no key = tpm:PATH that ends in {name}')


def main(arguments):
    """The command line."""
    if len(arguments) not in (5, 6) or not all(arguments[:5]):
        print('usage: seal.py STICK ESP KEY REPORT OUT [STATE]', file=sys.stderr)
        return 2
    try:
        seal(*arguments[:5], (arguments[5:] or [''])[0])
    except (SealError, OSError) as error:
        print(f'seal: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
