#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plain English: words of a private dialect, and ordinary words to write in their place.

words.py: reads comments and strings of all files that git knows, and whole READMEs. Names in
code are free. Add a word to WORDS when no file uses it any more.
"""
import pathlib
import re
import subprocess
import sys

WORDS = {
    "told": "logged, reported, shown, passed on",
    "tell": "log, report, show",
    "tells": "logs, reports, shows, says",
    "anew": "again",
    "lest": "so that ... not",
    "anybody": "any CPU, any VM, any user",
    "somebody": "another CPU, an attacker, a user",
    "dear": "expensive",
}
PATTERN = re.compile(r"\b(" + "|".join(WORDS) + r")\b", re.IGNORECASE)
C = {".c", ".h", ".cc"}
HASH = {".py", ".sh", ".mk", ".toml"}


def prose(path, text):
    """The text with all code blanked out, line by line."""
    if path.suffix == ".md":
        return text
    if path.suffix in C:
        kept = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"'
    elif path.suffix == ".asm":
        kept = r";[^\n]*"
    elif path.suffix in HASH or path.name == "Makefile":
        kept = r'#[^\n]*|""".*?"""'
    else:
        return ""
    out, end = [], 0
    for match in re.finditer(kept, text, re.S):
        out += [re.sub(r"[^\n]", " ", text[end:match.start()]), match[0]]
        end = match.end()
    return "".join(out)


def main():
    found = 0
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           check=True, capture_output=True).stdout.decode().split("\0")
    for path in (pathlib.Path(name) for name in sorted(set(names) - {"", "tests/lint/words.py"})):
        if not path.is_file():
            continue
        text = prose(path, path.read_text("utf-8", "ignore"))
        for number, line in enumerate(text.split("\n"), 1):
            for match in PATTERN.finditer(line):
                print(f"{path}:{number}: \"{match[0]}\": write {WORDS[match[0].lower()]}")
                found += 1
    return f"words: {found} of a private dialect" if found else 0


if __name__ == "__main__":
    sys.exit(main())
