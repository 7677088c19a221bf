#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""boot.py KEY=VALUE...: boots an image on a machine and reports how that ended.

The serial line goes to standard output and to OUT/serial.log. Keys, files and exit status are
described in README.md; `--env` also takes the keys from the environment, as make passes them.
"""

import os
import signal
import subprocess
import sys
import time

import bochs
import image
import nested
import qemu
from console import Console
from machine import STATUS_FAILED, STATUS_REFUSED, STATUS_TIMEOUT, MachineError, Options

GRACE_SECONDS = 15      # from the request to stop until the machine is killed
MACHINES = {'bochs': bochs, 'kvm': qemu, 'qemu': qemu, 'nested': nested}


def make_disk(options):
    """Returns the path of the disk image to boot."""
    if options.img:
        if not os.path.isfile(options.img):
            raise MachineError(f'the image {options.img} does not exist')
        return os.path.abspath(options.img)
    if not options.esp:
        raise MachineError('say what to boot: ESP=DIR or IMG=FILE')
    path = options.file('disk.img')
    image.make_image(options.esp, path)
    return path


def stop(process):
    """Asks the machine to stop, so that it writes its figures; kills it if it does not."""
    until = time.monotonic() + GRACE_SECONDS
    while process.poll() is None:
        process.send_signal(signal.SIGTERM if time.monotonic() < until else signal.SIGKILL)
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            pass


def watch(machine, process, console, options):
    """Passes the serial line on until the machine ends, the time is over or the user leaves."""
    begin = time.monotonic()
    deadline = begin + options.timeout if options.timeout else None
    while process.poll() is None:
        console.turn()
        if console.input_ended and deadline is None:    # no user can end it any more
            options.timeout = options.timeout_alone
            deadline = time.monotonic() + options.timeout
            console.say(f'standard input has ended; the machine has {options.timeout} s left')
        if console.quit:
            console.say('left with Ctrl-]; the machine is off')
            stop(process)
            return 0
        if deadline and begin + machine.elapsed(process, begin) > deadline:
            machine.before_stop()
            stop(process)
            console.drain()
            return STATUS_TIMEOUT
    console.drain()
    return machine.status(process.returncode)


def boot(options):
    """Boots one machine; returns the exit status of this program."""
    try:
        os.makedirs(options.out, exist_ok=True)
    except OSError as error:
        raise MachineError(f'OUT={options.out}: {error.strerror}') from None
    for name in ('serial.log', 'result', 'dram.bin', 'tme.log'):
        if os.path.exists(options.file(name)):
            os.unlink(options.file(name))
    machine = MACHINES[options.machine].Machine(options)
    machine.check()
    machine.disk = make_disk(options)
    with Console(options) as console:
        process = machine.start(console)
        try:
            status = watch(machine, process, console, options)
        finally:
            stop(process)
            machine.close()
    if status == STATUS_TIMEOUT:
        return ended(status, f'time-out, {machine.why_timeout()}', '\n')
    return ended(status, machine.why_failed(status), '\n') if status else 0


def ended(status, why, before=''):
    """Prints how it ended, as the last line; make has its own exit status and hides this one."""
    print(f'{before}boot: status {status}: {why}', file=sys.stderr)
    return status


def leave(number, _):
    """Exits on a signal; the finally clauses turn the machine off."""
    sys.exit(128 + number)


def main(arguments):
    """The command line."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        options = Options.from_words(arguments)
        if options.machine not in MACHINES:
            raise MachineError(f'MACHINE={options.machine} is not one of {", ".join(MACHINES)}')
        return boot(options)
    except (MachineError, image.ImageError) as error:
        return ended(STATUS_REFUSED, error)
    except OSError as error:
        return ended(STATUS_FAILED, error)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
