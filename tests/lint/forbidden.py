#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Finds patterns of forbid and forbid_more in tests/cases.toml that nothing can match any more: a
reworded message leaves such a pattern behind, and its case forbids nothing.

Each alternative of a pattern must fit a text that the sources contain, with whatever stands for
its "%s" (or "$NAME", "{name}"); or a text that the case types; or it is a row of OTHERS.
"""
import pathlib
import re
import subprocess
import sys
import tomllib

# Texts of programs that are not ours, and whose they are.
OTHERS = {
    "Traceback": "Python", "EXT4-fs .*error": "Linux", "I/O error": "Linux",
    "x2apic enabled": "Linux", "fsck failed": "Debian's initramfs", "\\[FAILED\\]": "systemd",
}
SOURCES = {".c", ".h", ".asm", ".sh", ""}  # Python looks for texts itself
STRING = re.compile(r'"((?:\\.|[^"\\\n])*)"')
INSERTED = re.compile(r"%[-+ #0]*[*\d]*(?:\.[*\d]+)?[hlz]*[a-zA-Z]|\$\{?\w+\}?|\{[^{}]*\}")
FITS_PERCENT = 55  # so much of a pattern must match the text itself, not its inserts
ANY, GAP = object(), object()


def texts():
    """What the product, the tests and their scripts may print."""
    names = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True).stdout
    for name in names.decode().split("\0")[:-1]:
        path = pathlib.Path(name)
        if path.suffix not in SOURCES or name.startswith(("tests/unit/", "tests/fuzz/",
                                                          "tests/lint/", "tests/machine/bochs/")):
            continue
        text = path.read_text("utf-8", "ignore")
        if path.suffix in (".c", ".h"):
            joined = re.sub(r'"\s*\n\s*"', "", text)
            yield from STRING.findall(joined)
        else:
            yield from text.splitlines()


def pieces(text):
    """A text as characters, and GAP for each part that is inserted, and for what may stand around
    it."""
    out, at = [GAP], 0
    for match in INSERTED.finditer(text):
        out += [*text[at:match.start()], GAP]
        at = match.end()
    return out + [*text[at:], GAP]


def examples(parsed):
    """The alternatives of a parsed pattern, as characters, ANY and GAP."""
    found = [[]]
    for kind, value in parsed:
        kind = str(kind)
        if kind == "LITERAL":
            more = [[chr(value)]]
        elif kind in ("IN", "ANY", "NOT_LITERAL", "CATEGORY"):
            more = [[ANY]]
        elif kind in ("MAX_REPEAT", "MIN_REPEAT"):
            more = [one * max(value[0], 1) + [GAP] for one in examples(value[2])]
            more = [[GAP]] if value[0] == 0 else more
        elif kind == "BRANCH":
            more = [one for branch in value[1] for one in examples(branch)]
        elif kind == "SUBPATTERN":
            more = examples(value[3])
        else:
            more = [[]]  # an anchor
        found = [one + other for one in found for other in more]
    return found


def fit(example, text):
    """The most characters of the example that the text itself has."""
    best = [0] * (len(text) + 1)
    for token in example:
        for at, own in enumerate(text):
            if own is GAP or token is GAP:
                best[at + 1] = max(best[at + 1], best[at])
        if token is GAP:
            continue
        after = [-1] * len(best)
        for at, own in enumerate(text):
            if own is GAP:
                after[at] = max(after[at], best[at])
            elif best[at] >= 0 and token in (ANY, own):
                after[at + 1] = max(after[at + 1], best[at] + (token is not ANY))
        best = after
    return max(best)


def is_alive(example, known):
    characters = [token for token in example if token not in (ANY, GAP)]
    words = re.findall("[A-Za-z]{4,}", "".join(characters)) or ["".join(characters)]
    return any(100 * fit(example, pieces(text)) >= FITS_PERCENT * len(characters)
               for text in known if any(word in text for word in words))


def main():
    known = sorted(set(texts()))
    document = tomllib.loads(pathlib.Path("tests/cases.toml").read_text())
    patterns, problems = {}, []
    for case in document["case"]:
        for pattern in case.get("forbid", []) + case.get("forbid_more", []):
            patterns.setdefault(pattern, []).append(case)
    for pattern, cases in patterns.items():
        typed = [text for case in cases for text in case.get("type", [])]
        for example in examples(re._parser.parse(pattern)) if pattern not in OTHERS else []:
            if not is_alive(example, known + typed):
                problems.append(f"case {cases[0]['name']}: nothing prints {pattern}")
    problems += [f"no case forbids {pattern} (OTHERS in tests/lint/forbidden.py)"
                 for pattern in OTHERS if pattern not in patterns]
    for problem in sorted(set(problems)):
        print(f"forbidden: {problem}")
    if problems:
        sys.exit(1)
    print(f"forbidden: {len(patterns)} patterns that something prints")


main()
