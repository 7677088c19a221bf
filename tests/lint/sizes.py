#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Limits for lines, functions and files, and text that no file may contain.

sizes.py: reads all files that git knows, and new ones that are not ignored. Prints what exceeds
a limit; "warning" lines do not fail.
"""
import os
import pathlib
import re
import subprocess
import sys

LINE_MAX = 100  # columns, tabs of 8
FUNCTION_WARN, FUNCTION_MAX = 60, 100
FILE_WARN, FILE_MAX = 500, 800
BRANCH_WARN = 15  # 1 + decisions
ASM_WARN = 500  # for all NASM of the product together
CODE = {".c", ".h", ".asm", ".py", ".sh", ".mk", ".asl"}
PRODUCT = ("vmm/", "crypto/", "ept/", "guest/", "boot/")
DECISION = re.compile(r"\b(if|for|while|case)\b|&&|\|\||\?")

failures = []
warnings = []


def complain(where, what, warn=False):
    (warnings if warn else failures).append(f"{where}: {'warning: ' if warn else ''}{what}")


def budget(where, what, value, warn, limit):
    if value > limit:
        complain(where, f"{what} has {value} lines, more than {limit}")
    elif value > warn:
        complain(where, f"{what} has {value} lines; the aim is {warn}", warn=True)


def our_files():
    out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         check=True, capture_output=True).stdout
    for name in sorted(set(out.decode().split("\0")) - {""}):
        path = pathlib.Path(name)
        if path.is_file():
            yield path


def without_comments(text):
    """The same lines with comments and strings blanked out."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, text,
                  flags=re.S)


def functions(text):
    """Yields (name, first line, lines, decisions). Kernel style: braces in the first column."""
    lines = without_comments(text).splitlines()
    start = None
    for number, line in enumerate(lines):
        if line.rstrip() == "{":
            start = number
        elif line.startswith("}") and start is not None:
            head = start - 1
            while head > 0 and not re.match(r"\w.*\(", lines[head]):
                head -= 1
            match = re.search(r"(?:^TEST\()?(\w+)\s*[(,)]", lines[head])
            body = "\n".join(lines[start:number])
            yield (match[1] if match else "?", head + 1, number - head + 1,
                   1 + len(DECISION.findall(body)))
            start = None


def check_code(path, text):
    product = str(path).startswith(PRODUCT)
    if "SPDX-License-Identifier: Apache-2.0" not in text[:200]:
        complain(path, "the licence line is missing")
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}"
        if len(line.expandtabs(8)) > LINE_MAX:
            complain(where, f"line is wider than {LINE_MAX} columns")
        if line != line.rstrip():
            complain(where, "white space at the end of the line")
        if product and path.suffix == ".c" and re.match(r"\s*#\s*(if|ifdef|ifndef)\b", line):
            complain(where, "no #if in .c files: choose at link time, or in a header")
        if re.search(r"\bTODO\b(?!.*#\d)|\b(FIXME|XXX)\b", line) and path.name != "sizes.py":
            complain(where, "a TODO names its issue (TODO #12: ...)")
    if path.suffix in (".c", ".h", ".asm", ".py", ".asl"):
        budget(path, "file", text.count("\n"), FILE_WARN, FILE_MAX)
    if path.suffix in (".c", ".h"):
        for name, line, length, branches in functions(text):
            budget(f"{path}:{line}", f"{name}()", length, FUNCTION_WARN, FUNCTION_MAX)
            if branches > BRANCH_WARN:
                complain(f"{path}:{line}", f"{name}() has {branches} branches; the aim is "
                         f"{BRANCH_WARN}", warn=True)


def check_paths(path, text):
    """A file that names a folder of the machine where it was written works nowhere else."""
    for place in {os.getcwd(), os.path.expanduser("~")}:
        if place.count("/") > 1 and re.search(re.escape(place) + r"(/|\b)", text):
            complain(path, f"names a folder of this machine, {place}")


def main():
    asm_lines = 0
    count = 0
    for path in our_files():
        data = path.read_bytes()
        if b"\0" in data:
            continue
        text = data.decode(errors="replace")
        check_paths(path, text)
        if path.suffix in CODE or path.name == "Makefile":
            check_code(path, text)
            count += 1
        if path.suffix == ".asm" and str(path).startswith(PRODUCT):
            asm_lines += text.count("\n")
    if asm_lines > ASM_WARN:
        complain("NASM", f"{asm_lines} lines in all; the aim is {ASM_WARN}", warn=True)
    for line in warnings + failures:
        print(line)
    if failures:
        sys.exit(f"sizes: {len(failures)} over the limit")
    print(f"sizes: {count} files within the limits, {len(warnings)} warnings")


main()
