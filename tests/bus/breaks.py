# SPDX-License-Identifier: Apache-2.0
"""A script for the bus: from some text on the serial line on the strict machine breaks a rule.

Words: the text, and the rule: DROP=, SWAP= or ALIAS= (tests/machine/tme/README.md). So a twin shows
what one order of Umbra's is for, and none that it keeps before.
"""


def main(bus, text, rule):
    """Waits, then breaks."""
    bus.wait(text)
    bus.break_rule(rule)
