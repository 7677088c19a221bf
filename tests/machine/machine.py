# SPDX-License-Identifier: Apache-2.0
"""What all kinds of machine share: options, exit status, rules."""

import ctypes
import os
import re
import signal
import subprocess
import time

STATUS_FAILED = 1       # the emulator itself failed
STATUS_REFUSED = 2      # nothing was started
STATUS_TRIPLE_FAULT = 3
STATUS_TIMEOUT = 124


class MachineError(Exception):
    """The machine cannot be started; the text says why."""


PATIENCE_SECONDS = 10
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent():
    """Runs in a new process: the machine ends when boot.py is killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_tpm(options, socket, *words):
    """Starts a TPM 2.0 with its state in the folder TPM; socket is the one that its words name. It
    ends with the machine. Returns its process."""
    state, log = os.path.abspath(options.tpm), options.file('tpm.err')
    os.makedirs(state, exist_ok=True)
    if os.path.exists(socket):
        os.unlink(socket)
    with open(log, 'wb') as errors:
        process = subprocess.Popen(
            ['swtpm', 'socket', '--tpm2', '--terminate', '--tpmstate', f'dir={state}', *words],
            stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, preexec_fn=die_with_parent)
    until = time.monotonic() + PATIENCE_SECONDS
    while not os.path.exists(socket):
        if time.monotonic() > until:
            process.kill()
            raise MachineError(f'swtpm does not start: {log}')
        time.sleep(0.05)
    return process


def number(key, text, low, high):
    """A whole number within bounds."""
    try:
        value = int(text, 0)
    except ValueError:
        raise MachineError(f'{key}={text} is not a number') from None
    if not low <= value <= high:
        raise MachineError(f'{key}={text} is not between {low} and {high}')
    return value


def split_list(text):
    """Splits patterns in one value, separated by '|'; a backslash keeps the next character."""
    parts, at, escaped = [''], 0, False
    while at < len(text):
        char = text[at]
        if escaped:
            parts[-1] += char
            escaped = False
        elif char == '\\' and at + 1 < len(text) and text[at + 1] in '|\\':
            escaped = True
        elif char == '|':
            parts.append('')
        else:
            parts[-1] += char
        at += 1
    return [part for part in parts if part]


def unescape(text):
    """The bytes of a TYPE text, with escapes like \\n, \\t, \\xNN."""
    return text.encode('utf-8').decode('unicode_escape').encode('latin-1')


class Options:
    """The keys of one run. Each attribute has the name of its make variable, in small letters."""

    KEYS = ('ESP', 'IMG', 'OUT', 'BUILD', 'MACHINE', 'CPUS', 'MEM', 'CPU', 'IPS', 'INPUT_AT',
            'SEED', 'TIMEOUT', 'TICKS', 'DUMP', 'MARK', 'TYPE', 'STOP', 'INPUT', 'USB', 'SCREEN',
            'SCREEN_AT', 'FEATURES', 'BUS', 'VARS', 'ARCH_CAP', 'UNLIKE', 'UART', 'STALL',
            'SECURE', 'TPM', 'KEEP', 'IOMMU')
    # The machine's memory encryption; TME selects the profile, the model checks the other keys.
    TME_KEYS = ('FIDELITY', 'LOCKED_WRITE', 'PCONFIG_LEGACY', 'RNG_FAIL_N', 'BUSY_N', 'STRICT_9FF',
                'PKGS', 'DROP', 'SWAP', 'ALIAS', 'COHERENCE', 'TWEAK', 'WBINVD_REACH', 'CAP', 'ACT',
                'ACT1', 'EXCLUDE', 'TARGETS')
    KEYS += ('TME',) + TME_KEYS

    def __init__(self, values):
        get = values.get
        self.esp = get('ESP')
        self.img = get('IMG')
        self.build = os.path.abspath(get('BUILD') or 'build')
        self.out = os.path.abspath(get('OUT') or os.path.join(self.build, 'boot'))
        self.machine = get('MACHINE') or 'bochs'
        self.cpus = number('CPUS', get('CPUS') or '1', 1, 16)
        self.mem = number('MEM', get('MEM') or '1024', 128, 6144)
        self.cpu = get('CPU')
        self.features = get('FEATURES')
        self.ips = number('IPS', get('IPS') or '0', 0, 4294967295)
        self.seed = number('SEED', get('SEED') or '1', 0, 4294967295)
        self.input = (get('INPUT') or '0') != '0'
        self.input_at = get('INPUT_AT')
        self.timeout_alone = 900 if self.machine == 'nested' else 300
        default = 0 if self.input else self.timeout_alone
        self.timeout = number('TIMEOUT', get('TIMEOUT') or str(default), 0, 86400)
        self.ticks = number('TICKS', get('TICKS') or '0', 0, 1 << 62)
        self.dump = get('DUMP')
        self.bus = get('BUS')
        self.unlike = get('UNLIKE')
        self.marks = split_list(get('MARK') or '')
        self.stop = get('STOP')
        self.types = [self.type_rule(text) for text in split_list(get('TYPE') or '')]
        self.usb = (get('USB') or '0') != '0'
        self.screen = get('SCREEN')
        self.screen_at = get('SCREEN_AT')
        self.vars = get('VARS')
        self.secure = (get('SECURE') or '0') != '0'
        self.tpm = get('TPM')
        self.keep = (get('KEEP') or '0') != '0'
        self.iommu = (get('IOMMU') or '0') != '0'
        self.arch_cap = get('ARCH_CAP')
        if self.arch_cap and not re.fullmatch('[0-9a-fA-F]{1,16}', self.arch_cap):
            raise MachineError(f'ARCH_CAP={self.arch_cap} is not a hexadecimal number')
        self.uart = get('UART') or 'fast'
        if self.uart not in ('fast', 'line', 'none'):
            raise MachineError(f'UART={self.uart} is not fast, line or none')
        self.stall = get('STALL')
        self.tme = self.tme_words(values)

    @classmethod
    def tme_words(cls, values):
        """The memory encryption of this machine as words for the model, or None."""
        knobs = [f'{key}={values[key]}' for key in cls.TME_KEYS if values.get(key)]
        if knobs and not values.get('TME'):
            raise MachineError(f'{knobs[0]} needs TME=P1 to P12')
        words = ' '.join([values.get('TME') or '', *knobs])
        if len(words.split()) != (1 + len(knobs) if words else 0):
            raise MachineError(f'a blank in "{words}"')
        return words or None

    @staticmethod
    def type_rule(text):
        """Splits PATTERN=>TEXT into (pattern, text)."""
        pattern, arrow, typed = text.partition('=>')
        if not arrow or not pattern:
            raise MachineError(f'TYPE takes PATTERN=>TEXT, not "{text}"')
        return pattern, unescape(typed)

    @classmethod
    def from_words(cls, words):
        """Parses KEY=VALUE words; --env adds the environment's values with lower priority."""
        values = {}
        for word in words:
            if word == '--env':
                values = {**{key: os.environ[key] for key in cls.KEYS if os.environ.get(key)},
                          **values}
                continue
            key, equals, value = word.partition('=')
            if not equals or key not in cls.KEYS:
                raise MachineError(f'{word} is not one of {", ".join(cls.KEYS)} with a value')
            values[key] = value
        return cls(values)

    def file(self, name):
        """A file in the run's output folder."""
        return os.path.join(self.out, name)

    def third(self, *names):
        """A file made by the set-up."""
        return os.path.join(self.build, 'third', *names)
