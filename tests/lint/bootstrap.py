#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Code that runs while the image's data is unmapped must not use it (vmm/host/bootstrap_priv.h).

bootstrap.py OBJECT_DIR: follows all calls from the functions that run on the bootstrap tables.
They may use code and constants; a variable is an error, and so is any function that the lint
does not know.
"""
import pathlib
import re
import subprocess
import sys

OBJECTS = ["host/keyid_move.o", "host/bootstrap.o", "base/str_std.o"]
ROOTS = ["lead", "follow", "keyid_move_back", "stop_here", "bootstrap_complain"]


def relocations(path):
    """For each section, what its code refers to."""
    result = {}
    text = subprocess.run(["objdump", "-h", "-r", path], check=True, text=True,
                          capture_output=True).stdout
    for section in re.findall(r"^ +\d+ (\.text\.\S+)", text, re.M):
        result[section] = []
    section = None
    for line in text.splitlines():
        if match := re.match(r"RELOCATION RECORDS FOR \[(.*)\]", line):
            section = match[1]
        elif match := re.match(r"[0-9a-f]{16} R_X86_64_\S+ +(\S+?)([-+]0x[0-9a-f]+)?$", line):
            if section in result:
                result[section].append(match[1])
    return result


def main():
    """Follows all calls, and prints the errors."""
    folder = pathlib.Path(sys.argv[1]) / "vmm"
    known = {}
    for name in OBJECTS:
        known.update(relocations(folder / name))
    problems, seen, todo = [], set(), [f".text.{root}" for root in ROOTS]
    while todo:
        section = todo.pop()
        if section in seen:
            continue
        seen.add(section)
        if section not in known:
            problems.append(f"{section[6:]} was not found in its object")
            continue
        for target in known[section]:
            if target.startswith(".rodata"):
                continue
            target = target if target.startswith(".") else f".text.{target}"
            if target in known:
                todo.append(target)
            else:
                problems.append(f"{section[6:]} uses {target.removeprefix('.text.')}, which may "
                                "lie in the image's data or use it")
    for problem in problems:
        print(f"bootstrap: {problem}")
    if problems:
        sys.exit(1)
    print(f"bootstrap: {len(seen)} functions run without the image's data")


if __name__ == "__main__":
    main()
