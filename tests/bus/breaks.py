# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: after a text on the serial line the strict machine breaks a rule.

Words: the text, and the rule: DROP=, SWAP= or ALIAS= (tests/machine/tme/README.md). So a test
shows that Umbra needs one step of its order, without breaking earlier steps.
"""


def main(bus, text, rule):
    """Waits, then breaks the rule."""
    bus.wait(text)
    bus.break_rule(rule)
