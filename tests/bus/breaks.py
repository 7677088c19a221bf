# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: after a text on the serial line the strict machine breaks a rule.

Words: the text, and the rule: DROP=, SWAP= or ALIAS= (tests/machine/tme/README.md). So a test
shows that Umbra needs one step of its order, without breaking earlier steps. A third word is
another text, at which all lines leave the caches, as they may at any time.
"""


def main(bus, text, rule, evicted=None):
    """Waits, then breaks the rule."""
    bus.wait(text)
    bus.break_rule(rule)
    if evicted:
        bus.wait(evicted)
        bus.evict()
