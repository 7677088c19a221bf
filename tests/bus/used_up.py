# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: Umbra's memory runs out while a guest runs.

All memory that a VM needs is set aside before it starts, so no guest can bring this about. So
the script changes a function of Umbra that allocates memory: from a text on the serial line on,
the function returns NULL.

Words: the linked image, the function, the text.
"""

from panic import code_of, find
from coldboot import check

RETURN_NULL = b'\x31\xc0\xc3'   # xor eax, eax; ret


def main(bus, image, function, text):
    """Changes the function."""
    bus.wait(text)
    code, offset = code_of(bus.out, image, function)
    places = find(bus.read(0, bus.bytes), code, offset)
    check(len(places) == 1, f'{len(places)} places look like {function}')
    bus.write(places[0], RETURN_NULL)
    bus.say(f'{function} returns NULL from now on')
