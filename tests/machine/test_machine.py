#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the machine. Without arguments: tests that need no emulator. With BUILD=DIR OUT=DIR: the
probe on Bochs and on QEMU as well."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

import bochs
import image
import nested
import run_rows
from machine import MachineError, Options, split_list
from test_scripts import (CasesTest, ConsoleTest, FetchTest, FirmwareTest, PassphraseTest,
                          TallyTest)  # run, too

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = bytes(char ^ 0x20 for char in b'umbra probe: secret in memory')
RESULT = '''\
mark half way
ticks 100
resets 0
cpu 0 retired 90 guest 0 root 90 entries 0 exits 0
end power-off
ticks 250
resets 1
cpu 0 retired 200 guest 150 root 50 entries 3 exits 3
at cpu 0 root hlt rip e91d453 if 1
exit cpu 0 reason 10 cpuid 2
exit cpu 0 reason 48 ept-violation 1
cpu 1 retired 7 guest 0 root 7 entries 0 exits 0
'''


def run(*command, **keys):
    """Runs a command; returns its status and its output on both channels."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **keys)
    return done.returncode, done.stdout.decode('utf-8', 'replace')


class OptionsTest(unittest.TestCase):
    """Tests of the keys of a run."""

    def test_lists_split_at_bars_unless_escaped(self):
        self.assertEqual(split_list('a|b c|'), ['a', 'b c'])
        self.assertEqual(split_list('a\\|b\\\\|c\\n'), ['a|b\\', 'c\\n'])
        self.assertEqual(split_list(''), [])

    def test_type_rules(self):
        options = Options({'TYPE': 'login: =>root\\n|# =>ls \\x7c\\n'})
        self.assertEqual(options.types, [('login: ', b'root\n'), ('# ', b'ls |\n')])
        for wrong in ('no arrow', '=>text'):
            with self.assertRaises(MachineError):
                Options({'TYPE': wrong})

    def test_numbers_are_bounded(self):
        for key, value in (('CPUS', '0'), ('CPUS', 'two'), ('MEM', '6145'), ('TIMEOUT', '-1')):
            with self.assertRaises(MachineError, msg=key):
                Options({key: value})

    def test_memory_goes_beyond_what_the_emulator_keeps(self):
        for given, words in (('2048', 'guest=2048, host=2048'), ('6144', 'guest=6144, host=2048')):
            options = Options({'MEM': given})
            self.assertIn(f'memory: {words}\n', bochs.memory_line(options))

    def test_unknown_words_are_refused(self):
        for word in ('CPU', 'NAME=x', '--help'):
            with self.assertRaises(MachineError):
                Options.from_words([word])
        self.assertEqual(Options.from_words(['MEM=256', 'CPUS=2']).cpus, 2)

    def test_memory_encryption_in_words(self):
        self.assertIsNone(Options({}).tme)
        self.assertEqual(Options({'TME': 'P3'}).tme, 'P3')
        self.assertEqual(Options({'DROP': 'invept', 'TME': 'P3', 'FIDELITY': 'strict'}).tme,
                         'P3 FIDELITY=strict DROP=invept')
        for wrong in ({'FIDELITY': 'strict'}, {'TME': 'P3 P4'}, {'TME': 'P3', 'SWAP': 'a b'}):
            with self.assertRaises(MachineError, msg=wrong):
                Options(wrong)

    def test_time_out_depends_on_the_machine(self):
        self.assertEqual(Options({}).timeout, 300)
        self.assertEqual(Options({'MACHINE': 'nested'}).timeout, 900)
        self.assertEqual(Options({'INPUT': '1'}).timeout, 0)


class RulesTest(unittest.TestCase):
    """What is passed to the emulator, and what it returns."""

    def test_rules(self):
        options = Options({'DUMP': 'now', 'MARK': 'a|b', 'TYPE': '$ =>x', 'STOP': 'end',
                           'OUT': '/o'})
        self.assertEqual(bochs.rule_lines(options).splitlines(), [
            'dump ' + b'/o/dram.bin'.hex() + ' ' + b'now'.hex(), 'mark - 61', 'mark - 62',
            'type 78 2420', 'stop - ' + b'end'.hex()])

    def test_line_that_stalls(self):
        options = Options({'UART': 'line', 'STALL': 'a'})
        self.assertEqual((options.uart, bochs.rule_lines(options)), ('line', 'stall - 61\n'))
        self.assertEqual(Options({}).uart, 'fast')
        with self.assertRaises(MachineError):
            Options({'UART': '9600'})

    def test_the_clock_of_a_model(self):
        machine = bochs.Machine(Options({}))
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        machine.program = os.path.join(folder, 'bochs')
        with open(machine.program, 'w', encoding='ascii') as file:
            file.write('#!/bin/sh\nprintf "pentium\\ntigerlake\\nbroadwell_ult\\n"\n')
        os.chmod(machine.program, 0o700)
        for cpu, ips in (('tigerlake', 0), ('broadwell_ult', 0), ('pentium', 50_000_000)):
            machine.options.cpu, machine.options.ips = cpu, ips
            machine.check_model()
        machine.options.ips = 0
        machine.options.cpu = 'pentium'
        with self.assertRaisesRegex(MachineError, '^CPU=pentium .* TSC_HZ of tests/machine/bochs'):
            machine.check_model()
        self.assertEqual(bochs.tsc_hz('broadwell_ult'), 1_000_000_000)
        self.assertEqual(bochs.tsc_hz('tigerlake'), 2_419_200_000)

    def test_result(self):
        mark, end = bochs.parse_result(RESULT)
        self.assertEqual((mark['kind'], mark['text'], mark['ticks']), ('mark', 'half way', 100))
        self.assertEqual((end['text'], end['resets']), ('power-off', 1))
        self.assertEqual(end['cpus'][0]['guest'], 150)
        self.assertEqual(end['cpus'][1]['retired'], 7)
        self.assertEqual(end['exits'], {0: {'cpuid': 2, 'ept-violation': 1}})
        self.assertEqual(end['at'], {0: ('root', 'hlt', 0xe91d453, 1)})

    def test_exit_names_fit_the_reasons(self):
        with open(os.path.join(HERE, 'bochs', 'machine.cc'), encoding='utf-8') as file:
            table = re.search(r'exit_names\[\] = \{(.*?)\};', file.read(), re.S)[1]
        names = re.findall(r'"([^"]+)"', table)
        for number, name in ((0, 'exception-or-nmi'), (10, 'cpuid'), (28, 'cr-access'),
                             (33, 'entry-failed-state'), (48, 'ept-violation'), (52,
                             'preemption-timer'), (55, 'xsetbv'), (63, 'xsaves'), (74, 'bus-lock')):
            self.assertEqual(names[number], name)


class RowsTest(unittest.TestCase):
    """Tests of how run_rows.py reads a machine's output."""

    REPORT = 'tme: CPU 0 RIP 0x1f: late-evict at PA 0x4004000: KeyID 2, KeyID 3: words\n'
    BOOT = {'rows': '26', 'twins': '34', 'silent': '', 'reports': ['late-evict'],
            'end': 'power-off', 'status': 0}
    TEXT = 'row 26:\n  x: expected 1, saw 1\nrow 26: PASS\nrow 34:\nrow 34: CORRUPT\n'

    def problems(self, text=TEXT, reports=REPORT, status=0, end='power-off', **change):
        told = run_rows.judge({**self.BOOT, **change}, status, text, reports, end)
        return [row for row, problem in told if problem]

    def test_what_the_list_says(self):
        self.assertEqual(self.problems(), [])

    def test_a_row_has_to_pass(self):
        for verdict in ('CANNOT', 'CORRUPT', 'FAIL'):
            self.assertEqual(self.problems(self.TEXT.replace('PASS', verdict)), ['26'])
        self.assertEqual(self.problems(self.TEXT.replace('row 26: PASS\n', '')), ['26'])

    def test_a_twin_has_to_see_it(self):
        for verdict in ('PASS', 'CANNOT', 'FAIL'):
            self.assertEqual(self.problems(self.TEXT.replace('CORRUPT', verdict)), ['34'])

    def test_what_the_machine_reports(self):
        self.assertEqual(self.problems(reports=''), ['end'])
        self.assertEqual(self.problems(reports=self.REPORT.replace('late-evict', 'stale-tlb')),
                         ['end'])

    def test_how_it_ends(self):
        self.assertEqual(self.problems(status=3), ['end'])
        self.assertEqual(self.problems(end='timeout'), ['end'])
        self.assertEqual(self.problems(self.TEXT + 'row 9: PASS\n'), ['end'])

    def test_a_row_that_stops_the_machine(self):
        begun = self.TEXT + 'row 13-abort:\n  words\n'
        self.assertEqual(self.problems(begun, silent='13-abort'), [])
        self.assertEqual(self.problems(silent='13-abort'), ['13-abort'])
        self.assertEqual(self.problems(begun + 'row 13-abort: FAIL\n', silent='13-abort'),
                         ['13-abort', 'end'])

    def test_the_list_itself(self):
        rows = os.path.join(HERE, 'rows')
        known = set()
        for name in os.listdir(rows):
            if name.endswith('.c'):
                with open(os.path.join(rows, name), encoding='utf-8') as file:
                    known |= set(re.findall(r'\{ "([^"]+)", row_', file.read()))
        used = set()
        for boot in run_rows.load(os.path.join(HERE, 'rows.toml')):
            used |= set(' '.join(boot[key] for key in ('rows', 'twins', 'silent')).split())
        self.assertEqual(used, known)


class FilesTest(unittest.TestCase):
    """Images and archives."""

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def tree(self, **files):
        """A folder with the files given."""
        for name, content in files.items():
            path = self.path('tree', *name.split('__'))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'wb') as file:
                file.write(content)
        return self.path('tree')

    def test_archive_is_what_cpio_reads(self):
        data = nested.newc_archive([('one', b'1'), ('two.txt', b'22' * 5)])
        done = subprocess.run(['cpio', '-i', '--quiet'], input=data, cwd=self.dir, check=True)
        self.assertEqual(done.returncode, 0)
        for name, content in (('one', b'1'), ('two.txt', b'22' * 5)):
            with open(self.path(name), 'rb') as file:
                self.assertEqual(file.read(), content)

    def test_image_holds_the_tree(self):
        big = os.urandom(70 << 20)
        folder = self.tree(**{'EFI__BOOT__BOOTX64.EFI': b'MZ', 'umbra__big': big, 'Grüße': b'x'})
        image.make_image(folder, self.path('disk.img'))
        status, text = run('sgdisk', '-v', self.path('disk.img'))
        self.assertEqual(status, 0)
        self.assertIn('No problems found', text)
        self.assertIn('EF00', run('sgdisk', '-p', self.path('disk.img'))[1])
        status, text = run('mcopy', '-i', self.path('disk.img') + '@@1M', '::/umbra/big',
                           self.path('out'))
        self.assertEqual((status, text), (0, ''))
        with open(self.path('out'), 'rb') as file:
            self.assertEqual(file.read(), big)
        listing = run('mdir', '-b', '-i', self.path('disk.img') + '@@1M', '::/',
                      env=dict(os.environ, LC_ALL='C.UTF-8'))[1]
        self.assertIn('Grüße', listing)

    def test_image_errors_are_sentences_and_leave_nothing(self):
        os.mkdir(self.path('empty'))
        for folder, img, words in (
                (self.path('none'), self.path('disk.img'), 'ESP=.*none is not a folder'),
                (self.path('empty'), self.path('disk.img'), 'holds no EFI/BOOT/BOOTX64.EFI'),
                ('', self.path('disk.img'), 'ESP=DIR'),
                (self.path('empty'), '', 'IMG=FILE'),
                (self.path('empty'), '/dev/null', '/dev/null is not an ordinary file'),
                (self.path('empty'), self.path('none', 'disk.img'), 'there is no folder .*none')):
            with self.assertRaisesRegex(image.ImageError, words):
                image.make_image(folder, img)
        self.assertEqual(os.listdir(self.dir), ['empty'])

    def test_image_refuses_what_fat_cannot_hold(self):
        files = {'EFI__BOOT__BOOTX64.EFI': b'MZ', 'umbra__a.txt': b''}
        for name, words in (('umbra__A.TXT', 'umbra/a.txt: .* same name as A.TXT'),
                            ('umbra__a:b', "umbra/a:b: FAT allows no ':'"),
                            ('umbra__end.', "umbra/end.: FAT drops a '.'"),
                            ('umbra__\udce4', 'not UTF-8'),
                            ('n' * 200 + '__' + 'ü' * 127, None)):
            folder = self.tree(**files, **{name: b''})
            if words is None:
                image.make_image(folder, self.path('disk.img'))
            else:
                with self.assertRaisesRegex(image.ImageError, words):
                    image.make_image(folder, self.path('disk.img'))
            shutil.rmtree(folder)
        for target, words in (('nowhere', 'umbra/link: it is a link to nothing'),
                              ('..', 'umbra/link: it is a link to a folder')):
            folder = self.tree(**files)
            os.symlink(target, os.path.join(folder, 'umbra', 'link'))
            with self.assertRaisesRegex(image.ImageError, words):
                image.make_image(folder, self.path('disk.img'))
            shutil.rmtree(folder)
        folder = self.tree(**files)
        os.mkfifo(os.path.join(folder, 'umbra', 'pipe'))
        with self.assertRaisesRegex(image.ImageError, 'umbra/pipe: it is neither'):
            image.make_image(folder, self.path('disk.img'))

    def test_once_runs_once(self):
        command = ['sh', os.path.join(HERE, 'once.sh'), self.path('lock'), self.path('d', 'done'),
                   self.path('input'), '--', 'sh', '-c',
                   f'sleep 0.3; echo ran >> {self.path("log")}']
        with open(self.path('input'), 'w', encoding='ascii'):
            pass
        both = [subprocess.Popen(command) for _ in range(2)]
        self.assertEqual([process.wait() for process in both], [0, 0])
        with open(self.path('log'), encoding='ascii') as file:
            self.assertEqual(file.read(), 'ran\n')
        self.assertEqual(run(*command[:-1], 'exit 7')[0], 0)
        os.utime(self.path('input'))
        self.assertEqual(run(*command[:-1], 'exit 7')[0], 1)

    def test_boot_refuses_in_words(self):
        boot = [sys.executable, os.path.join(HERE, 'boot.py'), f'OUT={self.path("out")}',
                f'BUILD={self.path("build")}']
        for words, sentence in (
                (['MACHINE=vax'], 'MACHINE=vax is not one of'),
                (['ESP=/nowhere'], 'bochs is missing: run "make bochs"'),
                (['ESP=/nowhere', 'MACHINE=qemu'], 'ESP=/nowhere is not a folder'),
                (['MACHINE=qemu'], 'say what to boot'),
                (['IMG=/nowhere', 'MACHINE=qemu'], 'the image /nowhere does not exist'),
                (['MACHINE=qemu', 'TICKS=1'], 'TICKS works on MACHINE=bochs only'),
                (['MACHINE=qemu', 'BUS=x.py'], 'BUS works on MACHINE=bochs only'),
                (['MACHINE=qemu', 'UNLIKE=x'], 'UNLIKE works on MACHINE=bochs only'),
                (['MACHINE=qemu', 'FEATURES=x'], 'FEATURES works on MACHINE=bochs only'),
                (['USB=1'], 'USB works on MACHINE=qemu and MACHINE=kvm only'),
                (['SCREEN=x.png'], 'SCREEN works on MACHINE=qemu and MACHINE=kvm only'),
                (['MACHINE=nested', 'KEEP=1'], 'KEEP does not work on MACHINE=nested'),
                (['OUT=/dev/null/out'], 'OUT=/dev/null/out: Not a directory')):
            status, text = run(*boot, *words)
            self.assertEqual(status, 2, words)
            self.assertTrue(text.startswith('boot: status 2: '), text)
            self.assertIn(sentence, text)
            self.assertEqual(text.count('\n'), 1, text)


BUS_SCRIPT = '''\
import bus

SECRET = bytes(char ^ 0x20 for char in b'umbra probe: secret in memory')


def refused(call, *arguments):
    try:
        call(*arguments)
    except bus.BusError as problem:
        return str(problem)


def look(probe):
    """Finds the secret; DRAM has its bytes and no more."""
    probe.wait('probe: ready')
    with open(probe.dump('seen.bin'), 'rb') as file:
        dram = file.read()
    assert len(dram) == probe.bytes
    probe.say(f'{dram.count(SECRET)} found, {refused(probe.read, probe.bytes - 1, 2)}')
    return dram.index(SECRET)


def main(probe, *words):
    if words[0] == 'type':
        probe.wait('probe: ready\\r\\n')
        probe.type(words[1])
        probe.say(probe.wait('.')[:-1])
        return
    address = look(probe)
    assert probe.read(address, len(SECRET)) == SECRET
    if words[0] == 'look':
        return
    probe.wait('in memory')
    probe.write(address, bytes(char ^ 0x20 for char in words[1].encode() + bytes(1)))
    probe.say(repr(probe.wait('change')))
    probe.flip(address, 1)
    probe.say(repr(probe.wait('change\\r\\n')))
    probe.write(address, b'\\x0e')
    probe.wait('never')
'''


class ProbeTest(unittest.TestCase):
    """Runs the probe on the machines themselves."""

    build = out = None

    def setUp(self):
        if self.build is None:
            self.skipTest('no BUILD and OUT given')

    def stick(self, order):
        """The probe's files, as a word for boot."""
        esp = os.path.join(self.out, 'esp')
        os.makedirs(os.path.join(esp, 'EFI', 'BOOT'), exist_ok=True)
        shutil.copyfile(os.path.join(self.build, 'third', 'efi', 'probe.efi'),
                        os.path.join(esp, 'EFI', 'BOOT', 'BOOTX64.EFI'))
        with open(os.path.join(esp, 'probe.txt'), 'w', encoding='ascii') as file:
            file.write(order)
        return f'ESP={esp}'

    def run_boot(self, order, *words):
        """Boots the probe with an order; returns exit status and output."""
        return run(sys.executable, os.path.join(HERE, 'boot.py'), f'BUILD={self.build}',
                   f'OUT={self.out}', self.stick(order), 'MEM=256', 'TIMEOUT=120', *words)

    def boot(self, order, *words):
        """As run_boot; returns exit status, serial text and the result."""
        status, text = self.run_boot(order, *words)
        with open(os.path.join(self.out, 'serial.log'), encoding='utf-8') as file:
            serial = file.read()
        for line in serial.splitlines()[-1:]:  # no lines when the machine ended at once
            self.assertIn(line, text)
        with open(os.path.join(self.out, 'result'), encoding='utf-8') as file:
            return status, serial, bochs.parse_result(file.read())

    def test_power_off_and_dump(self):
        status, serial, result = self.boot('off', 'DUMP=probe: ready', 'MARK=BdsDxe: starting')
        self.assertEqual((status, result[-1]['text']), (0, 'power-off'))
        self.assertIn('probe: ready', serial)
        mark, end = result
        self.assertEqual(mark['kind'], 'mark')
        self.assertLess(mark['cpus'][0]['retired'], end['cpus'][0]['retired'])
        self.assertLess(end['cpus'][0]['retired'], end['ticks'])
        path = os.path.join(self.out, 'dram.bin')
        with open(path, 'rb') as file:
            dram = file.read()
        self.assertEqual(len(dram), 256 << 20)
        self.assertIn(SECRET, dram)
        self.assertLess(os.stat(path).st_blocks * 512, 128 << 20)

    def same_image(self):
        """The image of the run before, as a word for boot: a new image would have other dates."""
        path = os.path.join(self.out, 'again.img')
        shutil.copyfile(os.path.join(self.out, 'disk.img'), path)
        return f'IMG={path}'

    def test_runs_repeat_to_the_instruction(self):
        first = self.boot('off', 'CPUS=2')
        self.assertEqual(first, self.boot('off', 'CPUS=2', self.same_image()))
        self.assertEqual(set(first[2][-1]['cpus']), {0, 1})

    def test_time_out(self):
        status, _, result = self.boot('hang', 'TIMEOUT=15')
        self.assertEqual((status, result[-1]['text']), (124, 'timeout'))

    def test_ticks_budget(self):
        status, _, result = self.boot('hang', 'TICKS=2000000000')
        self.assertEqual((status, result[-1]['text']), (124, 'ticks-used-up'))
        self.assertEqual(result[-1]['ticks'], 2000000000)

    def test_wrong_models_and_features_are_named(self):
        status, text = self.run_boot('off', 'CPU=pentium_99')
        self.assertEqual(status, 2)
        self.assertRegex(text, '^boot: status 2: CPU=pentium_99 is not a model of Bochs, .* '
                               'broadwell')
        for features, words in (('nonsense=1', "unknown parameter 'nonsense'"),
                                ('exclude_features="rdrnd"', 'unknown feature name "rdrnd"')):
            status, text = self.run_boot('off', f'FEATURES={features}')
            self.assertEqual(status, 1)
            self.assertRegex(text, f'\nboot: status 1: .*FEATURES={features}: .*{words}')

    def test_triple_fault(self):
        status, _, result = self.boot('fault')
        self.assertEqual((status, result[-1]['text']), (3, 'triple-fault'))

    def test_reset_and_stop(self):
        status, _, result = self.boot('reset', 'TICKS=1500000000')
        self.assertEqual((status, result[-1]['resets']), (124, 1))
        status, _, result = self.boot('hang', 'STOP=probe: ready')
        self.assertEqual((status, result[-1]['text']), (0, 'pattern'))

    def test_typed_text(self):
        text = 'more than the sixteen bytes of the FIFO.'
        status, serial, _ = self.boot('echo', f'TYPE=probe: ready=>{text}')
        self.assertEqual(status, 0)
        self.assertIn(text, serial)

    def bus(self, *words):
        """A script for the bus, as a word for boot."""
        path = os.path.join(self.out, 'script.py')
        os.makedirs(self.out, exist_ok=True)
        with open(path, 'w', encoding='ascii') as file:
            file.write(BUS_SCRIPT)
        return 'BUS=' + shlex.join([path, *words])

    def bus_log(self):
        """The lines that the script wrote."""
        with open(os.path.join(self.out, 'bus.log'), encoding='utf-8') as file:
            return file.read().splitlines()

    def test_bus_changes_memory_under_a_running_machine(self):
        status, serial, _ = self.boot('watch', self.bus('change', 'after the first change'))
        found, first, second, failure = self.bus_log()
        self.assertIn('probe: after the first change\n', serial)
        self.assertIn('probe: cfter the first change\n', serial)
        self.assertRegex(found, '^[1-9] found, DRAM ends at 0x10000000: .* at 0xfffffff$')
        self.assertEqual(first, repr('\r\nprobe: after the first change'))
        self.assertTrue(second.endswith(repr('probe: cfter the first change\r\n')[1:]))
        self.assertEqual((status, failure),
                         (1, 'failed: the machine ended before "never" was seen'))

    def test_bus_types(self):
        self.assertEqual(self.boot('echo', self.bus('type', 'more than the FIFO holds.'))[0], 0)
        self.assertEqual(self.bus_log()[-1], 'more than the FIFO holds')

    def test_bus_that_looks_changes_nothing(self):
        first = self.boot('off')
        self.assertEqual(first, self.boot('off', self.bus('look'), self.same_image()))

    def test_bus_that_fails_ends_the_machine(self):
        status, text, result = self.boot('hang', self.bus())
        self.assertEqual((status, self.bus_log()[-1]), (1, 'failed: tuple index out of range'))

    def test_bus_does_not_hold_up_the_end(self):
        status, _, result = self.boot('hang', self.bus('change', 'x'), 'TIMEOUT=15')
        self.assertEqual((status, result[-1]['text']), (124, 'timeout'))

    def test_qemu(self):
        screen = os.path.join(self.out, 'screen.png')
        status, serial, result = self.boot('echo', 'MACHINE=qemu', 'USB=1', 'CPUS=2',
                                           'TYPE=probe: ready=>typed.', f'SCREEN={screen}',
                                           'TIMEOUT=600')
        self.assertEqual((status, result[-1]['text']), (0, 'power-off'), serial[-1000:])
        self.assertIn('USB', serial)
        self.assertIn('typed.', serial)
        with open(screen, 'rb') as file:
            self.assertTrue(file.read().startswith(b'\x89PNG'))


if __name__ == '__main__':
    TALLY = None
    for argument in sys.argv[1:]:
        name, _, value = argument.partition('=')
        if name in ('BUILD', 'OUT'):
            setattr(ProbeTest, name.lower(), os.path.abspath(value))
            sys.argv.remove(argument)
        elif name == 'TALLY':
            TALLY = value
            sys.argv.remove(argument)
    done = unittest.main(exit=False).result
    bad = len(done.failures) + len(done.errors)
    if TALLY:
        with open(TALLY, 'w', encoding='ascii') as tally:
            tally.write(f'{done.testsRun - len(done.skipped) - bad} {bad}\n')
    sys.exit(0 if done.wasSuccessful() else 1)
