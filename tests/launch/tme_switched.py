#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tme_switched.py PRODUCT OUT: a key that is sealed with TME-MK on stays shut when it is off.

The machine is the emulated one, with its model of TME-MK, its TPM and VMX: the TPM seals a key,
opens it in the next start, and the VM runs under a KeyID. Then firmware leaves TME off: the key
stays shut, and the log names the state.
"""

import hashlib
import os
import sys

from sealed import OPENED, SHUT, Sealed
from stick import Test

CONF = """[host]
exit = poweroff
tpm = seal

[vm alpha]
memory = 16M
kernel = \\umbra\\guest.bin
cmdline = ms=1
key = tpm:\\umbra\\alpha.tpm
"""
ON = 'tme=tme-mk keyid-bits=6 bypass=off iommu=none'
RUNS = 'vm alpha: starts with 16M of memory under KeyID', 'vm alpha: ended: powered off'
OFF = 'tme=none iommu=none'
WHY = r'PCR 12 differs \(first in: umbra=\S+ secure-boot=off tme=none iommu=none\)'


class Switched(Sealed):
    """One test, on a machine whose memory encryption is that of a profile."""

    def boot(self, stick, *words, stop=None):
        return Test.boot(self, stick, 'MACHINE=bochs', *words, stop=stop)

    def on(self, stick, disk, profile, state):
        """Starts the image on this machine; PCR 11 and 12 must be those of the state."""
        text = self.run(stick, disk, f'TME={profile}')
        self.expect(text, f'TPM: state: umbra=.*{state}')
        return text


def main(test):
    """Seals, opens, and switches."""
    key = hashlib.sha512(b'alpha').digest()
    with open(os.path.join(test.product, 'guests', 'spin.bin'), 'rb') as file:
        stick = test.stick('stick', CONF, {'guest.bin': file.read(), 'alpha.key': key})
    disk = test.image_of(stick)
    text = test.on(stick, disk, 'P3', ON)
    test.expect(text, r'vm alpha: .umbra.alpha.tpm is written, \d+ bytes, and opens', *RUNS)
    test.take(disk, stick, 'alpha.tpm')
    os.unlink(stick.path('umbra/alpha.key'))
    test.check_values(stick, text, 'fresh')
    text = test.on(stick, disk, 'P3', ON)
    test.expect(text, OPENED.format('alpha'), 'alpha.key is overwritten and removed', *RUNS)
    test.check_values(stick, text)
    sealed = test.values(text)
    shut = stick.copy('shut')           # for predictions: a key that stays shut is not measured
    os.unlink(shut.path('umbra/alpha.tpm'))

    text = test.on(stick, disk, 'P9', OFF)      # locked off
    test.expect(text, SHUT.format('alpha', WHY))
    test.forbid(text, OPENED.format('alpha'), 'vm alpha: starts', 'differs.*differs')
    test.check_values(shut, text)
    if test.values(text)[0] != sealed[0] or test.values(text)[1] == sealed[1]:
        test.fail(f'the TPM has {test.values(text)}, and had {sealed} with TME-MK on')
    test.passed()


if __name__ == '__main__':
    main(Switched('tme_switched', *sys.argv[1:]))
