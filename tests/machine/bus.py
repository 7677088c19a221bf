# SPDX-License-Identifier: Apache-2.0
"""The bus probe: a script that accesses DRAM without the CPUs, and runs beside the machine.

The script defines main(bus, *words). The machine stands still while the script works. It runs
while the script waits for text on the serial line, and goes on when main returns. README.md has
an example.
"""

import importlib.util
import os
import shlex
import socket
import struct
import sys
import threading

from machine import MachineError

ORDER = struct.Struct('=QQQ')       # action, address, bytes: the same as in machine.cc
COUNT = struct.Struct('=Q')
PAGE_BYTES = 4096
KEYID_SHIFT = 48                    # in the address of an order
ZEROES = bytes(PAGE_BYTES)
CHUNK = 1 << 20


class BusError(Exception):
    """The machine has ended, or DRAM does not have the requested address."""


class Bus:
    """The interface for scripts: DRAM as the memory modules hold it, by physical address."""

    def __init__(self, line, out):
        self.line = line
        self.out = out              # the folder for the run's results
        self.bytes = None           # size of DRAM
        self.log = os.path.join(out, 'bus.log')
        with open(self.log, 'w', encoding='utf-8'):
            pass

    def receive(self, count):
        """Reads count bytes from the machine."""
        data = bytearray(count)
        view = memoryview(data)
        while view:
            got = self.line.recv_into(view)
            if not got:
                raise BusError('the machine has ended')
            view = view[got:]
        return bytes(data)

    def order(self, action, address, count, data=b''):
        """Sends an order, and data that belongs to it."""
        try:
            self.line.sendall(ORDER.pack(ord(action), address, count) + data)
        except OSError:
            raise BusError('the machine has ended') from None

    def check(self, address, count):
        """Checks that DRAM has these bytes."""
        if not 0 <= address <= self.bytes - count:
            raise BusError(f'DRAM ends at {self.bytes:#x}: it has no {count} bytes at {address:#x}')

    def wait(self, pattern):
        """Lets the machine run until the pattern appears on the serial line. Returns the output
        since the last wait, up to and including the pattern."""
        data = pattern.encode('utf-8')
        try:
            self.order('u', 0, len(data), data)
            count, = COUNT.unpack(self.receive(COUNT.size))
            return self.receive(count).decode('utf-8', 'replace')
        except (BusError, ConnectionError):
            raise BusError(f'the machine ended before "{pattern}" was seen') from None

    def type(self, text):
        """Types on the serial line, once the machine runs again."""
        data = text.encode('utf-8')
        self.order('t', 0, len(data), data)

    def break_rule(self, word):
        """Sets DROP=, SWAP= or ALIAS= of the strict machine from now on."""
        data = word.encode('utf-8')
        self.order('x', 0, len(data), data)

    def evict(self):
        """Evicts all lines from the caches, which may happen at any time; without TME= there are
        none."""
        self.order('e', 0, 0)

    def read(self, address, count):
        """Bytes of DRAM."""
        self.check(address, count)
        self.order('r', address, count)
        return self.receive(count)

    def read_as(self, keyid, address, count):
        """Bytes as a CPU with empty caches would read them with a KeyID."""
        self.check(address, count)
        self.order('a', keyid << KEYID_SHIFT | address, count)
        return self.receive(count)

    def blocks(self, keyid):
        """How many blocks of 16 bytes the KeyID's key has encrypted since PCONFIG set it."""
        self.order('k', keyid << KEYID_SHIFT, 0)
        return COUNT.unpack(self.receive(COUNT.size))[0]

    def debug_registers(self, cpu):
        """DR0 to DR3 of a CPU, 32 bytes."""
        self.order('d', cpu, 0)
        return self.receive(32)

    def write(self, address, data):
        """Changes DRAM. CPUs and caches do not notice it."""
        self.check(address, len(data))
        self.order('w', address, len(data), bytes(data))

    def flip(self, address, bit):
        """Flips one bit (0 to 7) of a byte."""
        self.write(address, [self.read(address, 1)[0] ^ 1 << bit])

    def dump(self, name, keyid=None):
        """Writes DRAM to a file in the results' folder, with pages of zeros as holes; returns its
        path. With a KeyID: writes what read_as returns."""
        path = os.path.join(self.out, name)
        with open(path, 'wb') as file:
            for at in range(0, self.bytes, CHUNK):
                count = min(CHUNK, self.bytes - at)
                chunk = (self.read(at, count) if keyid is None
                         else self.read_as(keyid, at, count))
                for offset in range(0, len(chunk), PAGE_BYTES):
                    page = chunk[offset:offset + PAGE_BYTES]
                    if page != ZEROES:
                        file.seek(at + offset)
                        file.write(page)
            file.truncate(self.bytes)
        return path

    def say(self, text):
        """Writes a line to OUT/bus.log."""
        with open(self.log, 'a', encoding='utf-8') as file:
            file.write(text + '\n')


def load_script(path):
    """Returns the script's main."""
    if not os.path.isfile(path):
        raise MachineError(f'the script {path} does not exist')
    spec = importlib.util.spec_from_file_location('bus_script', path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        spec.loader.exec_module(module)
        return module.main
    except Exception as problem:    # it is the user's program
        raise MachineError(f'the script {path}: {type(problem).__name__}: {problem}') from None


class Runner:
    """Runs the script of BUS=... beside one machine."""

    def __init__(self, options):
        path, *self.words = shlex.split(options.bus)
        self.main = load_script(path)
        self.out = options.out
        self.problem = None
        self.process = None
        self.ours, self.theirs = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self, process):
        """Called when the machine has started and has its end of the socket."""
        self.theirs.close()
        self.process = process
        self.thread.start()

    def run(self):
        """The script's thread. If a script fails, the machine ends."""
        bus = Bus(self.ours, self.out)
        try:
            bus.bytes, = COUNT.unpack(bus.receive(COUNT.size))
            self.main(bus, *self.words)
        except Exception as problem:    # it is the user's program
            self.problem = str(problem) or type(problem).__name__
            bus.say(f'failed: {self.problem}')
            self.process.terminate()
        finally:
            self.hang_up()

    def hang_up(self):
        """The machine runs on without the script; a script that still waits gets an error."""
        try:
            self.ours.shutdown(socket.SHUT_RDWR)
        except OSError:                 # both ends are closed
            pass

    def finish(self):
        """The machine has ended: waits for the script's end."""
        self.thread.join()
        self.ours.close()
