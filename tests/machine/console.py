# SPDX-License-Identifier: Apache-2.0
"""The user's or the pipe's end of the machine's serial line."""

import os
import select
import sys
import termios
import tty

CHUNK = 65536
WAIT_SECONDS = 0.05
QUIT_KEY = b'\x1d'      # Ctrl-]


class Console:
    """Copies the machine's serial output to standard output and, if asked to, to a log file; with
    INPUT=1 also standard input to the machine. A terminal is in raw mode meanwhile. The content
    of a pipe or a file is sent after INPUT_AT has appeared, because firmware would swallow it."""

    def __init__(self, options):
        self.log_path = options.file('serial.log')
        self.with_input = options.input
        self.quit = False
        self.input_ended = False
        self.typed = b''        # bytes that the machine has not taken yet
        self.gate = None        # the pattern that must appear first
        if options.input and options.input_at and not os.isatty(0):
            self.gate = options.input_at.encode()
        self.seen = b''         # the end of the output so far, while the gate is closed
        self.reader = None      # descriptor to read serial output from
        self.writer = None      # descriptor that takes serial input
        self.log = None
        self.follow = False     # reader is a growing file: end of file is not the end of output
        self.watchers = []      # called with each piece of output
        self.tick = None        # called from time to time
        self.saved = None

    def __enter__(self):
        if self.with_input and os.isatty(0):
            self.say('Ctrl-] leaves and switches the machine off')
            self.saved = termios.tcgetattr(0)
            tty.setraw(0)
        return self

    def __exit__(self, *_):
        if self.saved:
            try:
                termios.tcsetattr(0, termios.TCSADRAIN, self.saved)
            except termios.error:       # the terminal is gone
                pass
        for descriptor in {self.reader, self.writer} - {None}:
            os.close(descriptor)
        if self.log:
            self.log.close()

    @staticmethod
    def say(text):
        """Writes our own line to standard error."""
        try:
            sys.stderr.write(f'[{text}]\r\n')
            sys.stderr.flush()
        except OSError:                 # the terminal is gone
            pass

    def connect(self, reader, writer=None, keep_log=False):
        """Sets the descriptors of the machine's serial line."""
        self.reader, self.writer = reader, writer
        if writer is not None:
            os.set_blocking(writer, False)
        if keep_log:
            self.log = open(self.log_path, 'wb', buffering=0)

    def follow_file(self):
        """The machine itself writes the log; this program reads it as it grows."""
        open(self.log_path, 'wb').close()
        self.reader = os.open(self.log_path, os.O_RDONLY)
        self.follow = True

    def emit(self, data):
        """Passes serial output on."""
        if self.log:
            self.log.write(data)
        out = sys.stdout.buffer
        try:
            out.write(data)
            out.flush()
        except OSError:                 # nobody reads standard output any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if self.gate:
            self.seen += data
            if self.gate in self.seen:
                self.gate = None
            self.seen = self.seen[-len(self.gate or b''):]
        for watcher in self.watchers:
            watcher(data)

    def read_output(self):
        """Reads the available output; returns whether there was some."""
        try:
            data = os.read(self.reader, CHUNK)
        except OSError:         # the other end of a pseudo-terminal is gone
            data = b''
        if data:
            self.emit(data)
        return bool(data)

    def read_input(self):
        """Sends standard input to the machine."""
        try:
            data = os.read(0, CHUNK)
        except OSError:
            data = b''
        if not data:            # the end of a pipe, or the terminal has closed
            self.with_input = False
            self.input_ended = True
            self.quit = self.saved is not None
            return
        if self.saved and QUIT_KEY in data:
            self.quit = True
            data = data[:data.index(QUIT_KEY)]
        self.send(data)

    def send(self, data):
        """Types on the machine's serial line, as fast as it takes it."""
        self.typed += data

    def write_input(self):
        """Passes on what the machine takes now."""
        try:
            self.typed = self.typed[os.write(self.writer, self.typed):]
        except BlockingIOError:
            pass
        except OSError:         # the machine is gone
            self.typed = b''

    def turn(self):
        """Waits a short time for input or output, and handles it."""
        waiting = []
        if self.with_input and self.writer is not None and len(self.typed) < CHUNK:
            waiting.append(0)
        if not self.follow:
            waiting.append(self.reader)
        full = [self.writer] if self.typed and self.writer is not None and not self.gate else []
        ready, taking, _ = select.select(waiting, full, [], WAIT_SECONDS)
        if 0 in ready:
            self.read_input()
        if taking:
            self.write_input()
        if self.follow:
            while self.read_output():
                pass
        elif self.reader in ready and not self.read_output():
            select.select([], [], [], WAIT_SECONDS)
        if self.tick:
            self.tick()

    def drain(self):
        """Reads the rest of the output of a machine that has ended."""
        while self.follow or select.select([self.reader], [], [], 0)[0]:
            if not self.read_output():
                return
