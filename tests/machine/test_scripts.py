# SPDX-License-Identifier: Apache-2.0
"""Tests of console.py, firmware.py, tally.py and run_cases.py; test_machine.py runs them."""

import hashlib
import hmac
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

import bochs
import boot
import firmware
import qemu
from console import Console
from machine import Options

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
TALLY = os.path.join(TESTS, 'tally.py')
PASSPHRASE = os.path.join(TESTS, '..', 'boot', 'passphrase.py')
sys.path.insert(0, TESTS)
import case_checks
import case_list


class TallyTest(unittest.TestCase):
    """Tests of the last line of make test."""

    def tally(self, files, *parts):
        """The summary of parts that left these files; each took 75 seconds."""
        with tempfile.TemporaryDirectory() as out:
            for path, text in files.items():
                path = os.path.join(out, path)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, 'w', encoding='ascii') as file:
                    file.write(text)
            words = [out, '99', *(f'{part}=75' for part in parts)]
            done = subprocess.run([sys.executable, TALLY, *words], stdout=subprocess.PIPE,
                                  text=True, check=False)
            self.assertEqual(done.stdout.count(' 75 s\n'), len(parts))
            return done.returncode, done.stdout.splitlines()[-1]

    def test_all_parts_are_counted(self):
        good = {'unit/a.passed.log': '[  PASSED  ] 7 test(s).\n', 'unit/a.passed': '',
                'unit/own.passed.log': 'no cmocka\n', 'unit/own.passed': '',
                'fuzz/f.passed.log': '', 'fuzz/f.passed': '', 'tally/case': '100 0\n'}
        parts = ['lint=0', 'unit=0', 'fuzz-smoke=0', 'case=0']
        self.assertEqual(self.tally(good, *parts), (0, '110 passed, 0 failed'))

    def test_failures_of_any_part_count(self):
        two = '[  PASSED  ] 5 test(s).\n[  FAILED  ] 2 test(s), listed below:\n'
        for files, part, words in (
                ({'unit/a.passed.log': two}, 'unit=2', '105 passed, 2 failed'),
                ({'unit/a.passed.log': 'ERROR: ...'}, 'unit=2', '100 passed, 1 failed'),
                ({}, 'unit=2', '100 passed, 1 failed'),
                ({}, 'lint=1', '100 passed, 1 failed'),
                ({'fuzz/f.passed.log': ''}, 'fuzz-smoke=2', '100 passed, 1 failed'),
                ({'tally/machine-test': '3 2\n'}, 'machine-test=2', '103 passed, 2 failed')):
            self.assertEqual(self.tally({**files, 'tally/case': '100 0\n'}, part, 'case=0'),
                             (1, words))


FREE = 0x348000  # the end of the code file's first volume


class FirmwareTest(unittest.TestCase):
    """Tests of the ROM: OVMF without the listed drivers, and nothing else changes."""

    AT = 0xffd40010  # of the volume that is not packed
    IMAGE = b'the driver that gives it to the DXE core'

    def contents(self, code, address=None):
        """{name: text} of the drivers, and the files of all volumes without such a name."""
        named, others = {}, []
        file, place = firmware.packed(code)
        self.check_sum(code, *file)
        raw, volumes = firmware.unpack(code, *place)
        volumes = [bytes(raw[first:last]) for first, last in volumes]
        if address is not None:
            at = address - (1 << 32) + len(code)
            volumes.append(code[at:at + struct.unpack_from('<Q', code, at + 32)[0]])
        for volume in volumes:
            self.check_volume(volume)
            for at, header, size, kind in firmware.files(volume):
                self.check_sum(volume, at, header, size)
                if kind in (firmware.TYPE_DRIVER, firmware.TYPE_APPLICATION):
                    name = firmware.name_of(volume[at + header:at + size])
                    named[name] = volume[at:at + size]
                elif kind != firmware.TYPE_PAD:
                    others.append(volume[at:at + size])
        return bytes(raw[:firmware.unpack(code, *place)[1][-1][0] - 4]), named, others

    def check_volume(self, volume):
        """The header says the length twice, and its words add up to 0."""
        length, = struct.unpack_from('<Q', volume, 32)
        size, _, _, blocks, block = struct.unpack_from('<HHHxxII', volume, 48)
        self.assertEqual((length, blocks * block), (len(volume), len(volume)))
        self.assertEqual(sum(struct.unpack_from(f'<{size // 2}H', volume)) & 0xffff, 0)

    def check_sum(self, volume, at, header, size):
        """The bytes of a header add up to 0 without its state and the content's checksum; so do
        those of the content if it has a checksum."""
        total = sum(volume[at:at + header]) - volume[at + 17] - volume[at + 23]
        self.assertEqual(total & 0xff, 0)
        rest = sum(volume[at + header:at + size]) if volume[at + 19] & firmware.FILE_CHECKSUM \
            else -firmware.NO_CHECKSUM
        self.assertEqual((rest + volume[at + 17]) & 0xff, 0)

    def test_only_what_is_listed_is_gone(self):
        with open('/usr/share/OVMF/OVMF_CODE_4M.fd', 'rb') as file:
            code = file.read()
        light = bytes(firmware.lighten(bytearray(code), self.IMAGE, self.AT))
        self.assertEqual(len(light), len(code))
        before, named, others = self.contents(code)
        for name in firmware.LEFT_OUT:
            named.pop(name, None)
        self.assertIn('BdsDxe', named)
        after, now, rest = self.contents(light, self.AT)
        self.assertIn(self.IMAGE, now.pop(firmware.DRIVER_NAME))
        self.assertEqual((after, now, rest), (before, named, others))
        (at, _, _), (begin, _) = firmware.packed(code)
        self.assertEqual(light[:at], code[:at])
        self.assertEqual(light[at + 28:begin], code[at + 28:begin])  # but for two lengths
        self.assertEqual(light[FREE:], code[FREE:])

    def test_files_of_the_rom_follow_each_other(self):
        """And what is free behind the last one is FFH."""
        with open('/usr/share/OVMF/OVMF_CODE_4M.fd', 'rb') as file:
            code = bytes(firmware.lighten(bytearray(file.read()), self.IMAGE, self.AT))
        kinds = [kind for _, _, _, kind in firmware.files(code)]
        self.assertEqual(kinds, [firmware.TYPE_VOLUME, firmware.TYPE_RAW])
        (at, header, size, _), = list(firmware.files(code))[1:]
        self.assertEqual(at + header, self.AT - (1 << 32) + len(code))
        self.assertEqual(code[at + size:FREE].strip(b'\xff'), b'')
        for file in firmware.files(code):
            self.check_sum(code, *file[:3])

    def test_a_volume_that_does_not_fit(self):
        with open('/usr/share/OVMF/OVMF_CODE_4M.fd', 'rb') as file:
            code = file.read()
        for address in (0xffc90010, 0xffef0010,  # too little before it, or behind it
                        0xffd40000, 0xffd40008):
            with self.assertRaises(firmware.FirmwareError):
                firmware.lighten(bytearray(code), self.IMAGE, address)


class CasesTest(unittest.TestCase):
    """Tests of how run_cases.py reads its cases and a serial line."""

    def unexpected(self, text, **case):
        """The unexpected errors."""
        case = {'expect': [], 'order': [], 'bounds': [], 'same': [], **case}
        return [problem.split(': ', 1)[1] for problem in case_checks.check_errors(case, text)]

    def test_errors_have_to_be_expected(self):
        text = ('umbra: vm a: starts\numbra: error: vm a: vCPU 0, last exit 2\n'
                'umbra: error:   RIP 0\numbra: error: vm a: ended: triple fault\n'
                '[a] umbra: error: something else\n')
        ended, other = 'umbra: error: vm a: ended: triple fault', '[a] umbra: error: something else'
        self.assertEqual(self.unexpected(text), [ended, other])
        self.assertEqual(self.unexpected(text, expect=['starts', 'a: ended: triple']), [other])
        self.assertEqual(self.unexpected(text, expect=['starts(.|\\n)*triple']), [other])
        self.assertEqual(self.unexpected(text, same=[['d: triple', 'x', 1]], errors=['else$']), [])
        self.assertEqual(self.unexpected(text, bounds=[['exit ([0-9])', 1, 2]]), [ended, other])
        self.assertEqual(self.unexpected(text, expect=['PANIC: CPU']), [])
        # A pattern's gap does not make an error in it expected.
        self.assertEqual(self.unexpected(text, expect=['starts(.|\\n)*some']), [ended])
        self.assertEqual(self.unexpected(text, expect=['(starts(.|\\n)*){1}']), [ended, other])
        self.assertEqual(self.unexpected(text, expect=['(triple(.|\\n)*){1}']), [other])

    def test_numbers_have_a_beginning(self):
        for pattern in ('0 in clear', 'a(.|\\n)*0 in clear', 'pages: .*0 in clear', '(1|2) of 2'):
            for case in ({'expect': [pattern], 'order': []},
                         {'expect': [], 'order': [['a', pattern]]}):
                with self.assertRaises(case_list.CaseError):
                    case_list.check_patterns({'name': 'x', 'bounds': [], **case}, '')
        good = ['\\b0 in clear', 'pages: 0 in']
        case_list.check_patterns({'name': 'x', 'expect': good, 'order': [good],
                                  'bounds': [['([0-9]+) slices', 1, 2]]}, '')

    def test_a_word_of_the_matrix_selects_the_group(self):
        case = {'name': '{cpu}', 'matrix': {'cpu': [0, 1]}, 'group': {'0': 'test', 'other': 'soak'}}
        self.assertEqual([(one['name'], one['group']) for one in case_list.expand(case, {})],
                         [('0', 'test'), ('1', 'soak')])

    def test_patterns_in_order(self):
        def lacks(*order):
            case = {**case_list.DEFAULTS, 'name': 'x', 'order': [list(order)]}
            return [problem.rsplit(': ', 1)[1] for problem in
                    case_checks.check_text(case, 'one\ntwo\none\n')]
        self.assertEqual(lacks('one', 'two', '^one'), [])
        self.assertEqual(lacks('2 * one'), [])
        self.assertEqual(lacks('3 * one'), ['one'])
        self.assertEqual(lacks('2 * one', 'two'), ['two'])
        self.assertEqual(lacks('two', 'ne$', 'two'), ['two'])
        self.assertEqual(self.unexpected('umbra: error: a\numbra: error: b\n',
                                         order=[['x', 'error: b']]), ['umbra: error: a'])

    def test_a_case_is_like_another(self):
        with tempfile.NamedTemporaryFile('w', suffix='.toml') as file:
            def load(like):
                file.seek(0)
                file.write('[conf]\n[[case]]\nname = "a"\nbudget = 1\ntype = ["x"]\n'
                           'more_type = [[2, "{n}"]]\n'
                           f'[[case]]\nname = "b"\nlike = "{like}"\nbudget = 2\n')
                file.flush()
                return case_list.load_cases(file.name)
            self.assertEqual([(case['budget'], case['type']) for case in load('a')],
                             [(1, ['x', '1', '2']), (2, ['x', '1', '2'])])
            with self.assertRaises(case_list.CaseError):
                load('c')

    def test_a_model_without_a_row_is_refused(self):
        case = {'name': 'x', 'machine': 'bochs', 'cpu': 'tigerlake'}
        case_list.check_model(case, 'f')
        case_list.check_model({**case, 'cpu': 'qemu64', 'machine': 'qemu'}, 'f')
        words = 'f: case x: CPU=pentium .* TSC_HZ of tests/machine/bochs.py'
        with self.assertRaisesRegex(case_list.CaseError, words):
            case_list.check_model({**case, 'cpu': 'pentium'}, 'f')

    def test_waiting_is_a_share_of_the_models_clock(self):
        case = {'cpu': 'broadwell_ult', 'waiting': {'from': 'half way', 'most': 10}}
        result = 'mark half way\ncpu 0 root 0\nend power-off\ncpu 0 root 10000\n'
        text = 'umbra: CPUs have waited 1 us for each other'
        self.assertEqual(case_checks.check_waiting(case, result, text, []), [])
        case['cpu'] = 'tigerlake'  # its microsecond has 2.4 times as many instructions
        self.assertEqual(len(case_checks.check_waiting(case, result, text, [])), 1)

    def test_tables_are_sections(self):
        confs = {'base': {'vm': {'a': {'memory': '4M', 'disk': ['one', '\\two']}}}}
        case = {'name': 'x', 'conf': 'base', 'share': {'s': {'size': '{k}'}},
                'matrix': {'k': ['8K']},
                'vm': {'v{n}': {'times': 2, 'memory': '1M', 'kernel': 'k', 'cmdline': 'n={n}'}}}
        self.assertEqual(next(case_list.expand(case, confs))['conf'], """[host]
exit = poweroff
[vm a]
memory = 4M
kernel = \\umbra\\guest.bin
disk = \\umbra\\one
disk = \\two
[vm v1]
memory = 1M
kernel = \\umbra\\k
cmdline = n=1
[vm v2]
memory = 1M
kernel = \\umbra\\k
cmdline = n=2
[share s]
size = 8K
""")
        none = {'name': 'x', 'host': {'exit': ''}, 'vm': {'a': {'memory': '4M'}}}
        self.assertEqual(next(case_list.expand(none, {}))['conf'],
                         '[vm a]\nmemory = 4M\nkernel = \\umbra\\guest.bin\n')


class ConsoleTest(unittest.TestCase):
    """Tests of standard input on its way to the machine."""

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        was = os.dup(0)
        self.addCleanup(os.close, was)
        self.addCleanup(os.dup2, was, 0)
        source, self.person = os.pipe()
        os.dup2(source, 0)
        os.close(source)
        null = open(os.devnull, 'w', encoding='ascii')
        self.addCleanup(null.close)
        for channel in ('sys.stdout', 'sys.stderr'):
            change = unittest.mock.patch(channel, null)
            change.start()
            self.addCleanup(change.stop)
        self.output, self.uart_out = os.pipe()
        self.uart_in, taker = os.pipe()
        os.set_blocking(self.uart_in, False)
        self.addCleanup(os.close, self.uart_in)
        self.addCleanup(os.close, self.uart_out)
        self.console = Console(Options({'OUT': self.dir, 'INPUT': '1', 'INPUT_AT': 'guest# '}))
        self.console.connect(self.output, taker)

    def taken(self):
        """The bytes that reached the machine after some turns."""
        for _ in range(3):
            self.console.turn()
        try:
            return os.read(self.uart_in, 1 << 20)
        except BlockingIOError:
            return b''

    def test_piped_text_waits_for_the_pattern(self):
        with self.console:
            os.write(self.person, b'poweroff\n')
            self.assertEqual(self.taken(), b'')
            os.write(self.uart_out, b'firmware; gue')
            self.assertEqual(self.taken(), b'')
            os.close(self.person)
            os.write(self.uart_out, b'st# ')
            self.assertEqual(self.taken(), b'poweroff\n')
            self.assertTrue(self.console.input_ended)
            self.assertFalse(self.console.quit)

    def test_a_machine_that_reads_nothing_holds_up_nothing(self):
        with self.console:
            os.write(self.uart_out, b'guest# ')
            self.taken()
            self.console.send(bytes(200000))
            for _ in range(3):
                self.console.turn()
            os.write(self.uart_out, b'goes on')
            seen = []
            self.console.watchers.append(seen.append)
            self.console.turn()
            self.assertEqual(seen, [b'goes on'])
            count = 0
            while data := self.taken():
                count += len(data)
            self.assertEqual(count, 200000)
            os.close(self.person)

    def test_end_of_input_brings_the_time_limit(self):
        class Machine:
            """Never ends by itself."""

            def before_stop(self):
                """Nothing to do."""

            elapsed = qemu.Machine.elapsed

        options = self.console_options(timeout_alone=0.2)
        process = subprocess.Popen(['sleep', '60'])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        os.close(self.person)
        with self.console:
            self.assertEqual(boot.watch(Machine(), process, self.console, options), 124)
        self.assertEqual(options.timeout, 0.2)

    def test_time_that_the_emulator_did_not_get_does_not_count(self):
        sleeper = subprocess.Popen(['sleep', '60'])
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        begin = time.monotonic() - 1000
        machine = bochs.Machine(Options({}))
        self.assertAlmostEqual(machine.elapsed(sleeper, begin), 100, delta=20)
        self.assertGreater(bochs.Machine(Options({'INPUT': '1'})).elapsed(sleeper, begin), 999)
        busy = unittest.mock.mock_open(read_data='7 (a b) ) R ' + '0 ' * 10 + '50000 25000 0')
        with unittest.mock.patch('builtins.open', busy):
            used = machine.elapsed(sleeper, begin)
        self.assertEqual(used, 75000 / os.sysconf('SC_CLK_TCK'))

    @staticmethod
    def console_options(timeout_alone):
        """Options of a run without a time limit."""
        options = Options({'INPUT': '1'})
        options.timeout_alone = timeout_alone
        return options


class FetchTest(unittest.TestCase):
    """Packages that an archive has dropped from one suite, tested with a fake archive."""

    APT_GET = '''#!/bin/sh
case "$*" in
indextargets*) echo 'http://archive bookworm' ;;
*update*) ;;
*source*mbedtls/*) exit 100 ;; # named by the list, and gone
*source*mbedtls=*)
    version=${*##*=}; version=${version#*:}; version=${version%-*}
    mkdir -p m/files; echo "$version" > m/files/version
    tar -czf "mbedtls_$version.orig.tar.gz" m; rm -r m ;;
esac
'''
    APT_CACHE = '''#!/bin/sh
case "$*" in
*/testing/*) for v in %s; do echo "Version: $v"; done ;;
esac
'''

    def fetch(self, versions):
        """Runs fetch.sh; returns its status, its output and the version that was unpacked."""
        here = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, here)
        for name, text in (('apt-get', self.APT_GET), ('apt-cache', self.APT_CACHE % versions)):
            path = os.path.join(here, name)
            with open(path, 'w', encoding='ascii') as file:
                file.write(text)
            os.chmod(path, 0o755)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fetch.sh')
        env = {**os.environ, 'PATH': here + ':' + os.environ['PATH'], 'DL': here + '/dl'}
        done = subprocess.run(['sh', script, 'source', 'mbedtls', here + '/out'], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        unpacked = os.path.join(here, 'out', 'files', 'version')
        if not os.path.exists(unpacked):
            return done.returncode, done.stdout, None
        with open(unpacked, encoding='ascii') as file:
            return done.returncode, done.stdout, file.read().strip()

    def test_the_next_suite_within_the_range(self):
        status, words, version = self.fetch('3.5.9-1 1:3.6.4-2 1:3.6.10-1 3.7~rc1-1 4.0-1')
        self.assertEqual((status, version), (0, '3.6.10'), words)
        self.assertIn('mbedtls 1:3.6.10-1 comes from testing, for trixie has dropped', words)

    def test_nothing_out_of_the_range(self):
        status, words, version = self.fetch('3.5.9-1 3.7~rc1-1 4.0-1')
        self.assertEqual((status, version), (1, None))
        self.assertIn('testing has no mbedtls from 3.6 to below 3.7~', words)
        self.assertIn('set-up: the source of mbedtls could not be downloaded', words)


class PassphraseTest(unittest.TestCase):
    """Tests of boot/passphrase.py; test_passphrase.c knows the same answer."""

    def make(self, text, *more, old=None):
        """Runs it with a passphrase as input; returns the status, its words and the file."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'a.pass')
            if old is not None:
                with open(path, 'w', encoding='ascii') as file:
                    file.write(old)
            done = subprocess.run([sys.executable, '-B', PASSPHRASE, path, *more], input=text,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  check=False)
            content = None
            if os.path.exists(path):
                with open(path, encoding='ascii') as file:
                    content = file.read()
            return done.returncode, done.stdout, content

    def test_the_file(self):
        seen = set()
        for _ in range(2):
            status, words, content = self.make('correct horse\n', '10000')
            self.assertEqual(status, 0, words)
            found = re.fullmatch('umbra-passphrase 1\niterations 10000\nsalt ([0-9a-f]{64})\n'
                                 'check ([0-9a-f]{64})\n', content)
            self.assertIsNotNone(found, content)
            self.assertNotIn('horse', words + content)
            secret = hashlib.pbkdf2_hmac('sha512', b'correct horse', bytes.fromhex(found[1]),
                                         10000)
            key = hmac.digest(bytes(32), secret, 'sha256')
            check = hmac.digest(key, b'umbra passphrase check\1', 'sha256')
            self.assertEqual(found[2], check.hex())
            seen.add(found[1])
        self.assertEqual(len(seen), 2)      # another salt each time

    def test_refusals(self):
        for text, more, why in (('seven77\n', (), '8 to 127 characters'),
                                ('a' * 128 + '\n', (), '8 to 127 characters'),
                                ('gr\u00fc\u00dfe an alle\n', (), 'characters of ASCII'),
                                ('correct horse\n', ('9999',), 'from 10000 to 20000000'),
                                ('correct horse\n', ('many',), 'from 10000 to 20000000')):
            status, words, content = self.make(text, *more)
            self.assertEqual((status, content), (1, None))
            self.assertIn(why, words)
        status, words, content = self.make('correct horse\n', '10000', old='old')
        self.assertEqual((status, content), (1, 'old'))
