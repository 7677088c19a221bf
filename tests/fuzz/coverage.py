#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""coverage.py PROGRAM OBJECTS CORPUS LEAST SOURCE...: runs the corpus through a fuzzer that was
built with gcc --coverage, and prints how many lines of each SOURCE it reaches. Fails when a
SOURCE is below LEAST percent."""

import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile


def lines_of(objects, source, counts):
    """{line: reached} of a source, from its .gcno and the counters in another folder."""
    base = os.path.splitext(source)[0]
    for end, folder in (('.gcno', objects), ('.gcda', counts)):
        found = os.path.join(folder, base + end)
        if not os.path.exists(found):
            sys.exit(f'{source}: {found} is missing: it was not built, or never ran')
        if folder == objects:
            shutil.copy(found, os.path.join(counts, base + end))
    gcov = ['gcov', '--json-format', '--stdout', os.path.join(counts, base + '.gcda')]
    text = subprocess.run(gcov, capture_output=True, text=True, check=True).stdout
    reached = {}
    for file in json.loads(text)['files']:
        if file['file'] == source:
            for line in file['lines']:
                number = line['line_number']
                reached[number] = reached.get(number, False) or line['count'] > 0
    return reached


def ranges(numbers):
    """Returns "3-5 9" for [3, 4, 5, 9]."""
    out = []
    for number in numbers:
        if out and out[-1][1] == number - 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return ' '.join(str(a) if a == b else f'{a}-{b}' for a, b in out)


def main(program, objects, corpus, least, *sources):
    """Prints a line for each source; returns the exit status."""
    name = os.path.basename(program)
    low = 0
    with tempfile.TemporaryDirectory() as counts:
        # gcc writes the counters of /a/b/x.o to PREFIX/x.gcda, without the first STRIP folders.
        strip = len(os.path.abspath(objects).strip('/').split('/'))
        environment = {**os.environ, 'GCOV_PREFIX': counts, 'GCOV_PREFIX_STRIP': str(strip)}
        files = sorted(glob.glob(os.path.join(corpus, '*')))
        subprocess.run([os.path.abspath(program), *files], check=True, env=environment,
                       stdout=subprocess.DEVNULL)
        for source in sources:
            reached = lines_of(objects, source, counts)
            percent = 100 * sum(reached.values()) / len(reached)
            missed = [line for line, hit in sorted(reached.items()) if not hit]
            print(f'fuzzer {name}: {percent:5.1f} % of {source}'
                  + (f', not lines {ranges(missed)}' if percent < float(least) else ''))
            low += percent < float(least)
    if low:
        print(f'fuzzer {name}: less than {least} % of {low} files under test')
    return 1 if low else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
