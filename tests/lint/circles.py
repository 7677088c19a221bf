#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Finds files that need each other: a circle of files can be understood, tested and changed only as
a whole.

circles.py OBJECT_DIR OBJECT...: the product's objects, laid out in OBJECT_DIR like the sources.
File A needs file B if A's object uses a function or variable that B's object defines. Functions
that vmm/base/panic.h declares _Noreturn do not count: any file may find the machine broken and end
it, and builds nothing on what they do. Fails on a circle that is not a part of a row of ALLOWED,
and on a row without a circle.
"""
import pathlib
import re
import subprocess
import sys

# The reason for a circle, and its files. Files may leave it, but none may join it.
ALLOWED = {
    # Caused by the hardware.
    "the parts of a local APIC raise and end interrupts for each other; the I/O APIC sends to it "
    "and hears of its EOIs":
        "guest/dev/vioapic guest/dev/vlapic guest/dev/vlapic_irq guest/dev/vlapic_timer",
}
ENDS = set(re.findall(r"^_Noreturn void (\w+)\(",
                      pathlib.Path("vmm/base/panic.h").read_text(), re.M))
ALLOWED = {why: set(files.split()) for why, files in ALLOWED.items()}


def symbols(path):
    """Names that an object defines for others, and names that it needs."""
    out = subprocess.run(["nm", str(path)], check=True, capture_output=True, text=True).stdout
    defined, needed = set(), set()
    for line in out.splitlines():
        kind, name = line.split()[-2:]
        if kind == "U":
            needed.add(name)
        elif kind in "TDBRVWC":
            defined.add(name)
    return defined, needed


def graph(folder, objects):
    """For each file, the files that it needs; names are without their endings."""
    home, wants = {}, {}
    for path in objects:
        name = str(path.relative_to(folder)).removesuffix(".o").removesuffix(".asm")
        defined, needed = symbols(path)
        wants.setdefault(name, set()).update(needed - ENDS)  # x.c and x.asm are one file here
        home.update({symbol: name for symbol in defined})
    return {name: {home[symbol] for symbol in needed if home.get(symbol, name) != name}
            for name, needed in wants.items()}


def reached(needs, start):
    seen, todo = set(), [start]
    while todo:
        for name in needs.get(todo.pop(), ()):
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return seen


def circles(needs):
    """The largest sets of files that all need each other, directly or indirectly."""
    all_reached = {name: reached(needs, name) for name in needs}
    found = {frozenset({other for other in ahead if name in all_reached.get(other, ())})
             for name, ahead in all_reached.items() if name in ahead}
    return sorted(found, key=sorted)


def main():
    needs = graph(pathlib.Path(sys.argv[1]), [pathlib.Path(name) for name in sys.argv[2:]])
    if not any(needs.values()):
        sys.exit("circles: no object needs another one")
    found = circles(needs)
    problems = []
    for circle in found:
        if not any(circle <= allowed for allowed in ALLOWED.values()):
            problems.append(f"{', '.join(sorted(circle))} need each other:")
            problems += [f"    {name} needs {', '.join(sorted(needs[name] & circle))}"
                         for name in sorted(circle)]
    problems += [f"{', '.join(sorted(allowed))}: no circle any more; take its row out of ALLOWED"
                 for allowed in ALLOWED.values()
                 if not any(circle <= allowed for circle in found)]
    for problem in problems:
        print(problem)
    if problems:
        sys.exit("circles: there are some that no row allows")
    print(f"circles: {len(found)}, each allowed, among {len(needs)} files")


if __name__ == "__main__":
    main()
