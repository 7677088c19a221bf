#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the table of the shell's commands in boot/README.md with the rows of
boot/shell_commands.c: the README has each command with all of its arguments and options, and none
that the shell does not know.
"""
import pathlib
import re
import sys

SOURCE = pathlib.Path("boot/shell_commands.c")
README = pathlib.Path("boot/README.md")
ROW = re.compile(r'\{ "([^"]+)", "([^"]*)",\s+"([^"]*)"')
WORD = re.compile(r"-{0,2}[A-Za-z]+(?:-[a-z]+)*")


def commands():
    """Name -> (words of its arguments, words of its help)."""
    table = SOURCE.read_text().partition("shell_commands[] = {\n")[2].partition("\n};")[0]
    rows = ROW.findall(table)
    if not rows or len(rows) != table.count("{ "):
        sys.exit(f"shell-table: {SOURCE} has rows that this lint cannot read")
    return {name: (set(WORD.findall(arguments)), set(WORD.findall(what)))
            for name, arguments, what in rows}


def described(known):
    """The commands that rows of the README begin with; and for each command the words behind its
    name, and the words that may also be its arguments: in "`start`, `stop NAME`" both have NAME."""
    text = README.read_text().partition("## The shell\n")[2].partition("\n## ")[0]
    names, own, meant = set(), {name: set() for name in known}, {name: set() for name in known}
    for line in re.findall(r"^\| (`.*) \|$", text, re.M):
        first = re.findall("`([^`]+)`", line.partition(" | ")[0])
        heads = {span.split()[0] for span in first if span[0] not in "[-"}
        names |= heads
        for name in heads & known.keys():
            meant[name] |= set(WORD.findall(" ".join(first))) - heads
        for span in re.findall("`([^`]+)`", line):
            name, _, rest = span.partition(" ")
            if name in known and "=" not in span:
                own[name] |= set(WORD.findall(rest))
    return names, own, meant


def main():
    """Prints the differences."""
    known = commands()
    names, own, meant = described(known)
    problems = [f"{name} is not described" for name in known.keys() - names]
    problems += [f"{name} is no command" for name in names - known.keys()]
    for name, (arguments, what) in known.items():
        problems += [f"{name}: {word} is not described"
                     for word in arguments - own[name] - meant[name] if name in names]
        # The README may name an argument by what it is.
        problems += [f"{name}: it has no {word}"
                     for word in own[name] - arguments - what if not word.isupper()]
    for problem in sorted(problems):
        print(f"shell-table: {README}: {problem}")
    if problems:
        sys.exit(1)
    print(f"shell-table: {len(known)} commands")


main()
