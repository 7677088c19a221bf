#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Finds lines without meaning: what compiler options or plain types already say, and dead code.

noise.py [OBJECT_DIR]: reads all files that git knows. With OBJECT_DIR (the product's objects,
laid out like the sources) also finds functions of the product that no file of it uses.
"""
import pathlib
import re
import subprocess
import sys

C = {".c", ".h"}
CODE = C | {".mk", ".asm", ".toml", ".py", ".sh"}
PRODUCT = ("vmm/", "crypto/", "ept/", "guest/", "boot/")
# uint64_t is unsigned long in these, so %lu fits it and 1ul has its type.
LP64 = PRODUCT + ("tests/unit/", "tests/fuzz/")
# Built with the emulator's rules.
FOREIGN = ("tests/machine/bochs/", "tests/machine/tme/")
# Functions of the product that only tests use, and why they exist.
FOR_TESTS = {
    "ept_root_free": "frees in one call what the product frees step by step",
    "pager_exit": "gives the window's frames back, which the product never does",
    "tme_excludes": "asks whether an address lies in the exclusion range",
    "rng_reseed": "reseeding fails as the noise sources do",
    "rng_sources": "the sources in words",
    "lapic_is_x2apic": "the mode of the APIC",
    "strstr": "of the C library, for tiny guests",
}
# Files with shared words of another kind: entries of page tables, guest memory, an APIC page, the
# address of a region. All other shared fields are ATOMIC (vmm/base/atomic.h).
RAW_ATOMICS = {"vmm/host/host_paging.h", "vmm/host/host_paging.c", "vmm/host/keyid_move.c",
               "ept/ept.h", "ept/ept_priv.h", "ept/ept_leaf.c", "ept/gmem.c", "ept/share.c",
               "guest/dev/vlapic_priv.h"}
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
COMMENT = re.compile(r"/\*.*?\*/", re.S)

problems = []
raw = set()  # files with atomics of the compiler's own


def complain(where, what):
    problems.append(f"{where}: {what}")


def our_files():
    out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         check=True, capture_output=True).stdout
    for name in sorted(set(out.decode().split("\0")) - {""}):
        path = pathlib.Path(name)
        if path.is_file() and (path.suffix in CODE or path.name == "Makefile"):
            yield path, name


def parameters(lines):
    """For each line, the words in the head of its function (kernel style)."""
    words = set()
    for number, line in enumerate(lines):
        if line.rstrip() == "{":
            head = number - 1
            while head > 0 and not re.match(r"\w.*\(", lines[head]):
                head -= 1
            words = set(re.findall(r"\w+", " ".join(lines[head:number])))
        elif line.startswith("}"):
            words = set()
        yield words


def check_unused(path, text):
    lines = text.split("\n")
    for number, (line, words) in enumerate(zip(lines, parameters(lines)), 1):
        match = re.match(r"\s*\(void\)(\w+);", line)
        if match and match[1] in words:
            complain(f"{path}:{number}", f"(void){match[1]}; the compiler does not ask for it "
                                         "(-Wno-unused-parameter)")


def check_long_long(path, text):
    bare = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    for number, line in enumerate(bare.split("\n"), 1):
        for string in STRING.findall(line):
            if re.search(r"%[-+ #0]*[*\d]*(?:\.[*\d]+)?ll[diouxX]", string):
                complain(f"{path}:{number}", "%ll: %lu and %lx fit uint64_t as it is")
        code = STRING.sub('""', line)
        if re.search(r"\blong long\b|\b(0x[\da-fA-F]+|\d+)(ull|ULL)\b", code):
            complain(f"{path}:{number}", "long long: uint64_t, and ul for constants")


def check_section_rules(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r"\s*(/\*|#|;|//) -{2,} (.*?) -{2,}", line)
        if match and not re.fullmatch(r"\s*(/\* --- .+? ---( \*/)?|(#|;|//) --- .+? ---)", line):
            complain(f"{path}:{number}", "a section begins with one short rule: "
                                         f"--- {match[2]} ---")


def check_atomics(path, text):
    for number, line in enumerate(COMMENT.sub("", text).split("\n"), 1):
        if re.search(r"(->|\.)only\b", line):
            complain(f"{path}:{number}", "a field of ATOMIC is reached by the helpers of atomic.h")
        if re.search(r"__atomic_(?!thread_fence)", line):
            raw.add(str(path))
            if str(path) not in RAW_ATOMICS:
                complain(f"{path}:{number}", "a shared field is ATOMIC here (vmm/base/atomic.h)")


def check_own_header(path, text):
    header = path.with_suffix(".h")
    match = re.search(r'^#\s*include\s+[<"]([^>"]+)[>"]', text, re.M)
    if header.exists() and f'"{header}"' in text and match[1] != str(header):
        complain(path, f'its own header "{header}" comes first, so that it is seen to stand alone')


def check_dead(folder):
    """A public function must be used by another object, or more than once in its own file."""
    owner, used = {}, set()
    for path in sorted(folder.rglob("*.o")):
        source = path.relative_to(folder).with_suffix(".c")
        for line in subprocess.run(["nm", "-g", path], check=True, text=True,
                                   capture_output=True).stdout.splitlines():
            kind, name = line.split()[-2:]
            if kind == "U":
                used.add(name)
            elif kind == "T" and source.exists():
                owner[name] = source
    if not owner:
        sys.exit(f"noise: no objects under {folder}")
    link = pathlib.Path("boot/umbra.lds").read_text() + "efi_main"  # called by crt0
    for name, path in sorted(owner.items(), key=lambda item: (str(item[1]), item[0])):
        text = COMMENT.sub("", path.read_text()) + link
        is_used = name in used or len(re.findall(rf"\b{name}\b", text)) >= 2
        if not is_used and name not in FOR_TESTS:
            complain(path, f"{name}() is used by no file of the product")
        elif is_used and name in FOR_TESTS:
            complain("tests/lint/noise.py", f"FOR_TESTS names {name}, which the product uses")
    for name in sorted(FOR_TESTS.keys() - owner.keys()):
        complain("tests/lint/noise.py", f"FOR_TESTS names {name}, which is gone")


def main():
    count = 0
    for path, name in our_files():
        if name.startswith(FOREIGN):
            continue
        text = path.read_text()
        check_section_rules(path, text)
        if path.suffix in C:
            check_unused(path, text)
        if path.suffix == ".c":
            check_own_header(path, text)
        if path.suffix in C and name.startswith(LP64):
            check_long_long(path, text)
        if path.suffix in C and name.startswith(PRODUCT) and path.name != "atomic.h":
            check_atomics(path, text)
        count += 1
    for name in sorted(RAW_ATOMICS - raw):
        complain("tests/lint/noise.py", f"RAW_ATOMICS names {name}, which has none")
    if len(sys.argv) > 1:
        check_dead(pathlib.Path(sys.argv[1]))
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"noise: {len(problems)} places")
    print(f"noise: none in {count} files")


main()
