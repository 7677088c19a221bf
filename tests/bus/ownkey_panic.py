# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: breaks Umbra itself while two guests "regmark" run, one of them under a
KeyID, and Umbra has its own KeyID. The machine's figures then show whether a dirty line of one
of these KeyIDs is left in a cache.

Words: the linked image; what follows the panic (stay or reboot); in a twin, the rule that the
machine breaks from then on, as DROP=wbinvd.
"""

from coldboot import check
from ownkey import READY
from panic import UD2, code_of, find


def main(bus, image, after, broken=None):
    """Breaks the command "vms"; after a reset it works again."""
    bus.wait(READY)
    bus.wait(READY)
    code, offset = code_of(bus.out, image, 'shell_run_vms')
    places = find(bus.read(0, bus.bytes), code, offset)
    check(len(places) == 1, f'{len(places)} places look like shell_run_vms')
    bus.evict()     # else a CPU still uses the old line in its cache
    bus.write(places[0], UD2)
    if broken:
        bus.break_rule(broken)
    bus.type('\x1evms\r')
    if after == 'reboot':
        bus.wait('the machine is reset, as [host] on-panic says')
        bus.wait(READY)
        bus.wait(READY)
        bus.type('.')   # for the guest in clear; the other one ends by itself
