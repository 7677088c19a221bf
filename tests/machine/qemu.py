# SPDX-License-Identifier: Apache-2.0
"""QEMU's q35 machine with OVMF: with nested VMX (MACHINE=kvm), or without VMX (MACHINE=qemu)."""

import json
import os
import shutil
import socket
import subprocess
import time

from machine import (PATIENCE_SECONDS, STATUS_FAILED, STATUS_TRIPLE_FAULT, MachineError,
                     die_with_parent, start_tpm)

PROGRAM = 'qemu-system-x86_64'
FIRMWARE = '/usr/share/OVMF'
KEYS = b'key:'            # marks text for the keyboard


def host_flags():
    """The CPU flags of this host."""
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as file:
        for line in file:
            if line.startswith('flags'):
                return line.split(':')[1].split()
    return []


def why_no_nested():
    """Why this host gives its guests no VMX, as a sentence, or None."""
    if not os.path.exists('/dev/kvm'):
        return '/dev/kvm does not exist'
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return 'this user may not open /dev/kvm'
    if 'vmx' not in host_flags():
        return 'the CPU of this host shows no VMX'
    try:
        with open('/sys/module/kvm_intel/parameters/nested', encoding='ascii') as file:
            nested = file.read().strip()
    except OSError:
        return 'the module kvm_intel is not loaded'
    if nested not in ('Y', '1'):
        return 'the module kvm_intel was loaded with nested=0'
    return None


class Monitor:
    """The machine's QMP socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > until:
                    raise MachineError('QEMU does not answer on its monitor') from None
                time.sleep(0.05)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.pending = b''
        self.events = []
        self.read_message()
        self.command('qmp_capabilities')

    def read_message(self):
        """The next message; raises OSError when QEMU is gone."""
        while b'\n' not in self.pending:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError('QEMU closed its monitor')
            self.pending += data
        line, self.pending = self.pending.split(b'\n', 1)
        return json.loads(line)

    def command(self, name, **arguments):
        """Runs a command; returns its answer. Keeps events that arrive before it."""
        order = {'execute': name, 'arguments': arguments}
        self.socket.sendall(json.dumps(order).encode() + b'\n')
        while True:
            message = self.read_message()
            if 'event' in message:
                self.events.append(message)
            elif 'error' in message:
                raise MachineError(f'QEMU: {message["error"]["desc"]}')
            else:
                return message['return']

    def poll(self):
        """Reads events that have arrived."""
        self.socket.settimeout(0.001)
        try:
            while True:
                message = self.read_message()
                if 'event' in message:
                    self.events.append(message)
        except (BlockingIOError, TimeoutError):
            pass
        finally:
            self.socket.settimeout(PATIENCE_SECONDS)

    def close(self):
        """Closes the connection."""
        self.socket.close()


class Machine:
    """One run of QEMU."""

    def __init__(self, options):
        self.options = options
        self.disk = None
        self.console = None
        self.monitor = None
        self.process = None
        self.tpm = None
        self.tail = b''
        self.typed = list(options.types)
        self.screen_wanted = bool(options.screen)
        self.dump_wanted = bool(options.dump)
        self.ended = None

    def check(self):
        """Refuses options that cannot work, with a sentence."""
        options = self.options
        if shutil.which(PROGRAM) is None:
            raise MachineError(f'{PROGRAM} is missing (package qemu-system-x86)')
        if not os.path.isfile(f'{FIRMWARE}/OVMF_CODE_4M.fd'):
            raise MachineError(f'{FIRMWARE}/OVMF_CODE_4M.fd is missing (package ovmf)')
        if options.machine == 'kvm' and why_no_nested():
            raise MachineError(f'MACHINE=kvm needs nested VMX: {why_no_nested()}; '
                               'MACHINE=bochs needs nothing of the host')
        for key, value in (('MARK', options.marks), ('TICKS', options.ticks), ('IPS', options.ips),
                           ('FEATURES', options.features),
                           ('BUS', options.bus), ('TME', options.tme),
                           ('ARCH_CAP', options.arch_cap), ('UNLIKE', options.unlike),
                           ('STALL', options.stall), ('UART', options.uart != 'fast')):
            if value:
                raise MachineError(f'{key} works on MACHINE=bochs only')

    def accelerator(self):
        """The CPU and the accelerator. Without VMX the translator is fast enough, and behaves the
        same on every host."""
        options = self.options
        if options.machine == 'kvm':
            return ['-accel', 'kvm', '-cpu', options.cpu or 'host']
        return ['-accel', 'tcg', '-cpu', options.cpu or 'max']

    def disk_device(self):
        """The disk: on the AHCI controller, or a stick on USB 3."""
        if self.options.usb:
            return ['-device', 'qemu-xhci', '-device', 'usb-storage,drive=disk,removable=on']
        return ['-device', 'ide-hd,drive=disk']

    def firmware(self):
        """The firmware, and its variables as they are before the first start. With SECURE it
        starts what the key of Debian's tests has signed, and SMM guards its variables."""
        if self.options.secure:
            return f'{FIRMWARE}/OVMF_CODE_4M.secboot.fd', f'{FIRMWARE}/OVMF_VARS_4M.snakeoil.fd'
        return f'{FIRMWARE}/OVMF_CODE_4M.fd', f'{FIRMWARE}/OVMF_VARS_4M.fd'

    def secure_words(self):
        """What keeps everyone but firmware from writing its variables."""
        kind = 'q35,vmport=off' + (',kernel-irqchip=split' if self.options.iommu else '')
        if not self.options.secure:
            return ['-M', kind]
        return ['-M', f'{kind},smm=on',
                '-global', 'driver=cfi.pflash01,property=secure,value=on']

    def tpm_words(self):
        """The TPM, which is started."""
        if not self.options.tpm:
            return []
        control = self.options.file('tpm.sock')
        self.tpm = start_tpm(self.options, control, '--ctrl', f'type=unixio,path={control}')
        return ['-chardev', f'socket,id=tpm,path={control}',
                '-tpmdev', 'emulator,id=tpm0,chardev=tpm', '-device', 'tpm-crb,tpmdev=tpm0']

    def iommu_words(self):
        """An IOMMU, and behind it a device that a test drives through attack.qtest.
        What becomes of translation is in iommu.log."""
        if not self.options.iommu:
            return []
        words = ['-device', 'intel-iommu,intremap=on',
                 '-device', 'edu,dma_mask=0xffffffffffffffff,addr=05.0',
                 '-trace', f'vtd_dmar_enable,file={self.options.file("iommu.log")}']
        for kind in ('qtest', 'qmp'):
            path = self.options.file(f'attack.{kind}')
            if os.path.exists(path):
                os.unlink(path)
            words += [f'-{kind}', f'unix:{path},server=on,wait=off']
        return [*words, '-qtest-log', 'none']

    def start(self, console):
        """Starts QEMU and connects its serial line to the console."""
        options = self.options
        code, fresh = self.firmware()
        variables = os.path.abspath(options.vars or options.file('vars.fd'))
        if not options.vars or not os.path.exists(variables):
            shutil.copyfile(fresh, variables)
        control = options.file('qmp.sock')
        if os.path.exists(control):
            os.unlink(control)
        command = [
            PROGRAM, *self.secure_words(), *self.accelerator(), '-m', str(options.mem),
            '-smp', str(options.cpus), '-nodefaults', '-no-user-config', '-display', 'none',
            '-vga', 'std', '-no-reboot', '-no-shutdown',
            '-drive', f'if=pflash,format=raw,readonly=on,file={code}', *self.tpm_words(),
            '-drive', f'if=pflash,format=raw,file={variables}',
            '-drive', f'if=none,id=disk,format=raw,file={self.disk}'
            f'{"" if options.keep else ",snapshot=on"}',
            *self.disk_device(), *self.iommu_words(),
            '-chardev', 'stdio,id=line,signal=off', '-serial', 'chardev:line',
            '-qmp', f'unix:{control},server=on,wait=off',
        ]
        with open(options.file('qemu.err'), 'wb') as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0,
                                            stdout=subprocess.PIPE, stderr=errors,
                                            start_new_session=True,
                                            preexec_fn=die_with_parent)
        console.connect(os.dup(self.process.stdout.fileno()),
                        os.dup(self.process.stdin.fileno()), keep_log=True)
        console.watchers.append(self.look)
        console.tick = self.look_at_events
        self.console = console
        try:
            self.monitor = Monitor(control)
        except (MachineError, OSError):
            self.process.kill()
            self.process.wait()
        return self.process

    def take_screen(self):
        """Writes the content of the screen to a file."""
        self.screen_wanted = False
        path = os.path.abspath(self.options.screen)
        self.monitor.command('screendump', filename=path, format='png')

    def take_dump(self):
        """Writes DRAM to a file, all of it at one moment."""
        self.dump_wanted = False
        self.monitor.command('stop')
        self.monitor.command('pmemsave', val=0, size=self.options.mem << 20,
                             filename=self.options.file('dram.bin'))
        self.monitor.command('cont')
        self.monitor.events = [event for event in self.monitor.events
                               if event['event'] not in ('STOP', 'RESUME')]

    def end(self, how):
        """Notes how the machine ended and turns QEMU off."""
        if self.ended is None:
            self.ended = how
            if self.screen_wanted:
                self.take_screen()
            self.monitor.command('quit')

    def send(self, text):
        """Types on the serial line; after "key:" on the keyboard, with QEMU's names of keys."""
        if not text.startswith(KEYS):
            self.console.send(text)
            return
        for key in text[len(KEYS):].decode('ascii').split('+'):
            self.monitor.command('send-key', keys=[{'type': 'qcode', 'data': key}])

    def look(self, data):
        """Acts when a pattern appears on the serial line."""
        options = self.options
        self.tail += data
        if self.typed and self.typed[0][0].encode() in self.tail:
            pattern, text = self.typed.pop(0)
            self.tail = self.tail[self.tail.index(pattern.encode()) + len(pattern):]
            self.send(text)
        if self.screen_wanted and options.screen_at and options.screen_at.encode() in self.tail:
            self.take_screen()
        if self.dump_wanted and options.dump.encode() in self.tail:
            self.take_dump()
        if options.stop and options.stop.encode() in self.tail:
            self.end('pattern')
        self.tail = self.tail[-4096:]

    def look_at_events(self):
        """Ends the run when the machine has powered itself off, was reset, or has crashed."""
        if self.monitor is None or self.ended:
            return
        try:
            self.monitor.poll()
            while self.monitor.events:
                event = self.monitor.events.pop(0)
                if event['event'] == 'SHUTDOWN':
                    reason = event['data']['reason']
                    self.end({'guest-shutdown': 'power-off',
                              'guest-reset': 'reset-or-triple-fault'}.get(reason, reason))
                elif event['event'] == 'STOP':
                    self.end(self.monitor.command('query-status')['status'])
        except OSError:
            pass

    def before_stop(self):
        """Saves the screen a last time before the time is over."""
        if self.screen_wanted and self.monitor:
            self.take_screen()

    def close(self):
        """Closes what start() opened, and writes the result."""
        if self.monitor:
            self.monitor.close()
        if self.process:
            self.process.stdin.close()
            self.process.stdout.close()
        if self.tpm:
            self.tpm.terminate()
            self.tpm.wait()
        with open(self.options.file('result'), 'w', encoding='utf-8') as file:
            file.write(f'end {self.ended or "stopped"}\n')

    def status(self, code):
        """The exit status for the end."""
        if self.ended in ('power-off', 'pattern'):
            return 0
        if self.ended == 'reset-or-triple-fault':
            return STATUS_TRIPLE_FAULT
        return STATUS_FAILED

    def elapsed(self, process, begin):
        """The time that counts against TIMEOUT: real time, because this machine may sleep."""
        return time.monotonic() - begin

    def why_timeout(self):
        """Describes how the time was used up."""
        return f'the machine was still on after {self.options.timeout} s'

    def why_failed(self, status):
        """Describes what ended the machine."""
        if status == STATUS_TRIPLE_FAULT:
            return 'the machine was reset, or its CPU shut down (triple fault)'
        with open(self.options.file('qemu.err'), encoding='utf-8', errors='replace') as file:
            lines = file.read().strip().splitlines()
        return f'QEMU stopped: {lines[-1] if lines else self.ended or "no reason given"}'
