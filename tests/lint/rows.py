#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the table of the rows of TME-MK in tests/machine/README.md: each row exists, each test
that it names exists, and each row that Umbra's driver must satisfy has a test with the row's
number in its name.
"""
import pathlib
import re
import sys
import tomllib

TITLE = "## The 47 rows of TME-MK"
ROWS = range(1, 48)
DRIVER = {1, 2, 5, 6, 7, *range(9, 14), 16, *range(24, 30), *range(33, 40), *range(43, 48)}
ORDERS = {11, 13, 33, 34, 35, 36, 37, 47}       # each of them has a control
UNIT_TEST = re.compile(r"^TEST\((\w+)[,)]", re.M)
NUMBERS = re.compile(r"row[_-]?(\d+(?:[_-]\d+)*)")


def numbers_in(names):
    """The row numbers in these names."""
    return {int(number) for name in names if (found := NUMBERS.search(name))
            for number in re.split("[_-]", found.group(1))}


def existing():
    """The names of unit tests, of cases and of the bare program's rows."""
    sources = pathlib.Path("tests/unit").glob("test_*.c")
    units = {name for path in sources for name in UNIT_TEST.findall(path.read_text())}
    cases = tomllib.loads(pathlib.Path("tests/cases.toml").read_text())["case"]
    boots = tomllib.loads(pathlib.Path("tests/machine/rows.toml").read_text())["boot"]
    rows = {name for boot in boots for key in ("rows", "twins", "silent")
            for name in boot.get(key, "").split()}
    return units | {case["name"] for case in cases} | rows


def main():
    """Prints the errors."""
    known, seen, problems = existing(), set(), []
    text = pathlib.Path("tests/machine/README.md").read_text().partition(TITLE)[2]
    for line in re.findall(r"^\| ([0-9, ]+) \| (.*) \|$", text, re.M):
        rows = {int(number) for number in line[0].split(",")}
        cells = [re.findall("`([^`]+)`", cell) for cell in line[1].split("|")]
        seen |= rows
        problems += [f"row {line[0]}: there is no {name}" for cell in cells for name in cell
                     if name not in known]
        problems += [f"row {row}: no test of the driver has its number"
                     for row in rows & DRIVER - numbers_in(cells[2])]
        problems += [f"row {row} guards an order and has no twin"
                     for row in rows & ORDERS if not cells[3]]
    problems += [f"row {row} is not in the table" for row in set(ROWS) - seen]
    print("\n".join([f"rows: {problem}" for problem in sorted(problems)] or
                    [f"rows: {len(seen)} have tests that exist"]))
    return len(problems) != 0


if __name__ == "__main__":
    sys.exit(main())
