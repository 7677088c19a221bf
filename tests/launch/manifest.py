#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""manifest.py PRODUCT OUT: a signed image uses only the files that its manifest names.

It is started with all files as they were signed, and with each kind of file changed: a kernel, an
initrd, a disk's image, a line of umbra.conf, and the manifest itself.
"""

import os
import sys

from stick import LOADER, Test

CONF = '[host]\nexit = poweroff\n' + ''.join(f"""
[vm {name}]
memory = 64M
kernel = \\umbra\\{kernel}
initrd = \\umbra\\{initrd}
disk = \\umbra\\{disk}
engine = none
""" for name, kernel, initrd, disk in (
    ('good', 'k1', 'i1', 'd1'), ('kernel', 'k2', 'i1', 'd1'),
    ('initrd', 'k1', 'i1,\\umbra\\i2', 'd1'), ('disk', 'k1', 'i1', 'd2')))
FILES = {name: name.encode() * 3000 for name in ('k1', 'k2', 'i1', 'i2', 'd1', 'd2')}
SIGNED = r'the manifest is signed with the key of this image; its version is 1\b'
LEFT_OUT = 'vm {}: {} = .*: it is not the file that was signed.*; the VM is left out'
NOTHING = 'no file of the stick is used'


def refused(test, stick, why):
    """Nothing of this stick is used, and the log says why."""
    text = test.boot(stick, stop='the machine stays on')
    test.expect(text, why)
    test.forbid(text, 'vm good', r'reading \\umbra\\k1')


def main(test):
    """Six sticks."""
    signed = test.stick('plain', CONF, FILES).signed('signed')
    text = test.boot(signed, 'SECURE=1')
    test.expect(text, 'Secure Boot is on', SIGNED, r'reading \\umbra\\d2', 'powers off')
    test.forbid(text, 'left out')

    changed = signed.copy('changed')
    for name in ('k2', 'i2', 'd2'):
        changed.flip(f'umbra/{name}', 5000)
    text = test.boot(changed)
    test.expect(text, SIGNED, *(LEFT_OUT.format(name, name)
                                for name in ('kernel', 'initrd', 'disk')))
    test.forbid(text, 'vm good: .*left out')

    line = signed.copy('line')
    line.write('umbra/umbra.conf', CONF.replace('64M', '65M', 1).encode('ascii'))
    refused(test, line, 'umbra.conf .*: it is not the file that was signed')

    missing = signed.copy('missing')
    os.unlink(missing.path('umbra/manifest'))
    refused(test, missing, rf'\\umbra\\manifest: there is no such file; {NOTHING}')

    # The files and the manifest of another signing, which the first program does not accept.
    other = test.stick('plain2', CONF, FILES).signed('other')
    other.write(LOADER, signed.read(LOADER))
    refused(test, other, f'its signature was not made with the key of this image; {NOTHING}')
    test.passed()


if __name__ == '__main__':
    main(Test('manifest', *sys.argv[1:]))
