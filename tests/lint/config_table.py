#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""config_table.py PROGRAM [--write]: compares the table of keys in boot/README.md with the output
of PROGRAM, which is built from the rows of boot/config_keys.c. --write: replaces the table."""
import pathlib
import subprocess
import sys

README = pathlib.Path("boot/README.md")
BEGIN, END = "<!-- keys: begin (make config-table) -->\n", "<!-- keys: end -->\n"


def main(program, *options):
    """Returns the exit status."""
    table = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    before, begin, rest = README.read_text().partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"config-table: {README} has no marks around its table of keys")
    if "--write" in options:
        README.write_text(before + begin + table + end + after)
    elif old != table:
        sys.exit(f"config-table: {README} and the rows of boot/config_keys.c differ; "
                 "run make config-table")
    print(f"config-table: {table.count(chr(10)) - 2} keys")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
