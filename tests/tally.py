#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tally.py OUT ALL PART=STATUS=SECONDS...: counts the results of `make test` or `make soak`.

The last line is "N passed, N failed". A part is a goal of make, STATUS its exit status, SECONDS
how long it took; ALL is how long all of them took. A part's numbers come from the file
OUT/tally/PART ("PASSED FAILED"), for unit tests and fuzzers from their logs and stamps; any other
part counts as one test. A part that failed but reports no failure, for example because something
did not build, counts as one failure.
"""

import pathlib
import re
import sys


def count_units(out):
    """Tests of all host programs: cmocka's numbers, or one for a program without numbers."""
    passed = failed = 0
    for log in sorted((out / "unit").glob("*.passed.log")):
        text = log.read_text(errors="replace")
        good, bad = (sum(map(int, re.findall(rf"^\[  {word}  \] (\d+) test", text, re.M)))
                     for word in ("PASSED", "FAILED"))
        if log.with_suffix("").exists():
            good = good or 1
        else:
            bad = bad or 1
        passed, failed = passed + good, failed + bad
    return passed, failed


def not_run(out):
    """The tests that unit tests left out because this host's CPU lacks a feature."""
    for log in sorted((out / "unit").glob("*.passed.log")):
        for line in re.findall(r"^not run: (.*)", log.read_text(errors="replace"), re.M):
            yield f"{log.name.split('.')[0]}: {line}"


def count_fuzzers(out):
    """One for each fuzzer that ran."""
    logs = list((out / "fuzz").glob("*.passed.log"))
    passed = sum(log.with_suffix("").exists() for log in logs)
    return passed, len(logs) - passed


def count(out, part, status):
    """How many tests of a part passed and failed."""
    left = out / "tally" / part
    if part == "unit":
        passed, failed = count_units(out)
    elif part == "fuzz-smoke":
        passed, failed = count_fuzzers(out)
    elif left.exists():
        passed, failed = map(int, left.read_text(encoding="ascii").split())
    else:
        passed, failed = (0, 1) if status else (1, 0)
    if status and not failed:
        failed = 1
    return passed, failed


def main(arguments):
    """The command line."""
    out = pathlib.Path(arguments[0])
    totals = [0, 0]
    print(f"in all, after {arguments[1]} s:")
    for word in arguments[2:]:
        part, status, seconds = word.split("=")
        passed, failed = count(out, part, int(status))
        print(f"  {part:14} {passed:5} passed, {failed} failed {seconds:>7} s")
        totals = [totals[0] + passed, totals[1] + failed]
    for line in not_run(out):
        print(f"  not run: {line}")
    print(f"{totals[0]} passed, {totals[1]} failed")
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
