# SPDX-License-Identifier: Apache-2.0
"""The emulated machine: Bochs with OVMF."""

import os
import pty
import re
import subprocess
import time
import tty

import bus
from machine import (STATUS_FAILED, STATUS_TRIPLE_FAULT, MachineError, die_with_parent,
                     start_tpm)

VGA_BIOS = '/usr/share/vgabios/vgabios.bin'
START_OF_TIME = 946684800       # 2000-01-01: in every run the clock starts here

DEFAULT_CPU = 'corei7_icelake_u'

# The CPU models that tests use, and the TSC rate in CPUID leaves 15H and 16H of each. PIT, PM
# timer, RTC and UART use the same number (ips), so that all clocks agree. README.md says how to add
# a model.
TSC_HZ = {
    'corei7_icelake_u': 1_497_600_000,
    'tigerlake': 2_419_200_000,
    'sapphire_rapids': 2_200_000_000,
    'arrow_lake': 4_185_600_000,
    'corei3_cnl': 2_208_000_000,
    'corei7_skylake_x': 3_500_000_000,
    # no such leaf: what runs on them measures the rate
    'broadwell_ult': None,
    'corei7_ivy_bridge_3770k': None,
    'corei5_arrandale_m520': None,
    'corei5_lynnfield_750': None,
}
MEASURED_TSC_HZ = 1_000_000_000     # of the models without such a leaf


def tsc_hz(model):
    """The TSC rate of a model. Raises MachineError if nobody has written it down."""
    if model not in TSC_HZ:
        raise MachineError(f'CPU={model} has no row in TSC_HZ of tests/machine/bochs.py: add its '
                           'TSC rate there ("CPU models" in the README.md beside it), or set IPS')
    return TSC_HZ[model] or MEASURED_TSC_HZ


CONFIG = '''\
plugin_ctrl: unmapped=1, biosdev=0, speaker=0, extfpuirq=1, parallel=0, serial=1
config_interface: textconfig
display_library: nogui
{memory}romimage: file={rom}, address=0xffc00000
vgaromimage: file={vga}
cpu: model={cpu}, count={cpus}, ips={ips}, reset_on_triple_fault=0{features}
pci: enabled=1, chipset=i440fx
clock: sync={sync}, time0={time0}
com1: enabled={com1}, mode={mode}, dev={dev}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path={disk}, mode={keep}
boot: disk
log: {log}
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
'''


def hexed(data):
    """Encodes a rule's text for the emulator."""
    return data.hex() or '-'


def memory_line(options):
    """Bochs keeps at most 2048 MiB in memory, and the rest in a file."""
    return f'memory: guest={options.mem}, host={min(options.mem, 2048)}\n'


def rule_lines(options):
    """The rules that the emulator applies when a pattern appears on the serial line."""
    rules = []
    if options.dump:
        path = options.file('dram.bin').encode()
        rules.append(('dump', path, options.dump.encode()))
    rules += [('mark', b'', mark.encode()) for mark in options.marks]
    rules += [('type', typed, pattern.encode()) for pattern, typed in options.types]
    if options.stall:
        rules.append(('stall', b'', options.stall.encode()))
    if options.stop:
        rules.append(('stop', b'', options.stop.encode()))
    return ''.join(f'{action} {hexed(argument)} {hexed(pattern)}\n'
                   for action, argument, pattern in rules)


def parse_result(text):
    """Parses OUT/result: a list of sections, the last of which is the end."""
    sections = []
    for line in text.splitlines():
        word, _, rest = line.partition(' ')
        if word in ('mark', 'end'):
            sections.append({'kind': word, 'text': rest, 'cpus': {}, 'exits': {}, 'at': {}})
        elif word in ('ticks', 'resets', 'dirty', 'lost'):
            sections[-1][word] = int(rest)
        elif word == 'cpu':
            number, *pairs = rest.split()
            sections[-1]['cpus'][int(number)] = {
                key: int(value) for key, value in zip(pairs[::2], pairs[1::2])}
        elif word == 'at':
            _, number, mode, activity, _, rip, _, flag = rest.split()
            sections[-1]['at'][int(number)] = (mode, activity, int(rip, 16), int(flag))
        elif word == 'exit':
            match = re.fullmatch(r'cpu (\d+) reason (\d+) (\S+) (\d+)', rest)
            of_cpu = sections[-1]['exits'].setdefault(int(match[1]), {})
            of_cpu[match[3]] = int(match[4])
    return sections


class Machine:
    """One run of the emulator."""

    INNER = ()      # keys of QEMU's machines that a subclass accepts

    def __init__(self, options):
        self.options = options
        self.disk = None
        self.program = options.third('bochs', 'bochs')
        self.rom = options.third('firmware', 'rom.fd')
        self.terminal = None
        self.tpm = None
        self.script = None

    def check(self):
        """Refuses options that cannot work, with a sentence."""
        options = self.options
        for key, value in (('USB', options.usb), ('SCREEN', options.screen),
                           ('SCREEN_AT', options.screen_at), ('VARS', options.vars),
                           ('SECURE', options.secure), ('IOMMU', options.iommu)):
            if value and key not in self.INNER:
                raise MachineError(f'{key} works on MACHINE=qemu and MACHINE=kvm only')
        for path, what in ((self.program, 'run "make bochs"'),
                           (self.rom, 'run "make bochs"'),
                           (VGA_BIOS, 'package vgabios')):
            if not os.path.isfile(path):
                raise MachineError(f'{path} is missing: {what}')
        self.check_model()
        if self.options.bus:
            self.script = bus.Runner(self.options)

    def check_model(self):
        """Checks that CPU is one of the emulator's models, and that its clock is known."""
        wanted = self.options.cpu or DEFAULT_CPU
        text = subprocess.run([self.program, '--help', 'cpu'], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False).stdout.decode('ascii', 'replace')
        models = re.findall(r'^\w+$', text, re.M)
        if wanted not in models:
            raise MachineError(f'CPU={wanted} is not a model of Bochs, which has: '
                               f'{" ".join(models)}')
        if not self.options.ips:
            tsc_hz(wanted)

    def serial(self, console):
        """The serial line: a file if nobody types, so that runs repeat to the instruction; else a
        terminal."""
        if not self.options.input:
            console.follow_file()
            return 'file', console.log_path
        ours, self.terminal = pty.openpty()
        tty.setraw(self.terminal)
        console.connect(ours, os.dup(ours), keep_log=True)
        return 'term', os.ttyname(self.terminal)

    def write_config(self, console):
        """Writes bochsrc."""
        options = self.options
        cpu = options.cpu or DEFAULT_CPU
        mode, dev = self.serial(console)
        path = options.file('bochsrc')
        features = ''
        if options.features:
            features = f', {options.features}'
        with open(path, 'w', encoding='utf-8') as file:
            file.write(CONFIG.format(
                memory=memory_line(options), rom=self.rom, vga=VGA_BIOS, cpu=cpu,
                cpus=options.cpus, ips=options.ips or tsc_hz(cpu),
                features=features, sync='slowdown' if options.input else 'none',
                time0=START_OF_TIME, com1=int(options.uart != 'none'), mode=mode, dev=dev,
                disk=self.disk, keep='flat' if options.keep else 'volatile',
                log=options.file('bochs.log')))
        return path

    def start_tpm(self):
        """Starts the TPM, which firmware then starts up; returns the path of its socket."""
        socket = self.options.file('tpm.sock')
        self.tpm = start_tpm(self.options, socket, '--server', f'type=unixio,path={socket}',
                             '--flags', 'not-need-init')
        return socket

    def whole_firmware(self):
        """OVMF as it is, because the lighter one has no driver of a TPM; its path."""
        path = self.options.file('rom.fd')
        with open(path, 'wb') as rom:
            for name in ('VARS', 'CODE'):
                with open(f'/usr/share/OVMF/OVMF_{name}_4M.fd', 'rb') as file:
                    rom.write(file.read())
        return path

    def start(self, console):
        """Starts the emulator and connects its serial line to the console."""
        options = self.options
        # The lock file is left over if a run with KEEP was killed.
        for path in (options.file('bochs.log'), options.file('bochs.out'), f'{self.disk}.lock'):
            if os.path.exists(path):
                os.unlink(path)
        if options.tpm and 'TPM' not in self.INNER:
            self.rom = self.whole_firmware()
        config = self.write_config(console)
        env = dict(os.environ, MACHINE_RESULT=options.file('result'),
                   MACHINE_SEED=str(options.seed))
        rules = rule_lines(options)
        env.pop('MACHINE_RULES', None)
        if rules:
            env['MACHINE_RULES'] = options.file('rules')
            with open(env['MACHINE_RULES'], 'w', encoding='ascii') as file:
                file.write(rules)
        env.pop('MACHINE_TICKS', None)
        if options.ticks:
            env['MACHINE_TICKS'] = str(options.ticks)
        for key in ('MACHINE_BUS', 'MACHINE_TME', 'MACHINE_TME_LOG', 'MACHINE_ARCH_CAP',
                    'MACHINE_UNLIKE', 'MACHINE_UART', 'MACHINE_TPM'):
            env.pop(key, None)
        if options.tpm and 'TPM' not in self.INNER:
            env['MACHINE_TPM'] = self.start_tpm()
        if options.unlike:
            env['MACHINE_UNLIKE'] = options.unlike
        if options.uart == 'line':
            env['MACHINE_UART'] = options.uart
        if options.tme:
            env['MACHINE_TME'] = f'{options.tme} SEED={options.seed}'
            env['MACHINE_TME_LOG'] = options.file('tme.log')
        if options.arch_cap:
            env['MACHINE_ARCH_CAP'] = options.arch_cap
        lines = []
        if self.script:
            lines = [self.script.theirs.fileno()]
            env['MACHINE_BUS'] = str(lines[0])
        with open(options.file('bochs.out'), 'wb') as output:
            process = subprocess.Popen([self.program, '-q', '-f', config], env=env,
                                       stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       start_new_session=True, pass_fds=lines,
                                       preexec_fn=die_with_parent)
        if self.script:
            self.script.start(process)
        return process

    def before_stop(self):
        """The emulator writes its figures when asked to stop; the script must not delay that."""
        if self.script:
            self.script.hang_up()

    def close(self):
        """Closes what start() opened."""
        if self.terminal is not None:
            os.close(self.terminal)
        if self.tpm is not None:
            self.tpm.terminate()
            self.tpm.wait()

    def status(self, code):
        """The exit status for the emulator's own status. A script that failed counts too."""
        if self.script:
            self.script.finish()
            if self.script.problem:
                return STATUS_FAILED
        return code if code >= 0 else 128 - code

    def how(self):
        """The end that the emulator reports, or None."""
        try:
            with open(self.options.file('result'), encoding='utf-8') as file:
                sections = parse_result(file.read())
        except (OSError, ValueError):
            return None
        return sections[-1]['text'] if sections and sections[-1]['kind'] == 'end' else None

    def elapsed(self, process, begin):
        """The time that counts against TIMEOUT: seconds of CPU time, so that a busy host does not
        matter, and a tenth of the real time, in case a script on the bus stops the machine."""
        real = time.monotonic() - begin
        if self.options.input:
            return real
        try:
            with open(f'/proc/{process.pid}/stat', encoding='ascii', errors='replace') as file:
                user, system = file.read().rpartition(')')[2].split()[11:13]
        except (OSError, ValueError):
            return real / 10
        return max((int(user) + int(system)) / os.sysconf('SC_CLK_TCK'), real / 10)

    def why_timeout(self):
        """Describes how the time was used up."""
        if self.how() == 'ticks-used-up':
            return f'the machine used up its {self.options.ticks} ticks'
        return f'the machine was still on after {self.options.timeout} s'

    def why_failed(self, status):
        """Describes what ended the machine, from the emulator's log."""
        if status == STATUS_TRIPLE_FAULT:
            return 'triple fault: the CPU shut down'
        if self.script and self.script.problem:
            return f'the script on the bus failed: {self.script.problem}'
        last = f'exit status {status}'
        for name, mark in (('bochs.out', ' parameter '), ('bochs.log', '>>PANIC<<'),
                           ('bochs.out', 'machine: ')):
            try:
                with open(self.options.file(name), encoding='utf-8', errors='replace') as log:
                    last = ([line.strip() for line in log if mark in line] or [last])[-1]
            except OSError:
                pass
        if self.options.features and ('bochsrc:' in last or 'feature' in last):
            last = f'FEATURES={self.options.features}: {last}'
        last = re.sub(r'\d+\w\[[^]]*\] *(>>PANIC<< *)?', '', last)
        return f'the emulator stopped: {last} (see bochs.log and bochs.out in ' \
               f'{self.options.out})'
