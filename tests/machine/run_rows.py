#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run_rows.py [BOOT...]: runs the boots of rows.toml and checks the line of each of their rows.

A boot is one machine, which runs its rows one after another. Each row is reported as a test,
BOOT/ROW. README.md describes the keys of a boot; * and ? in names are wildcards.
"""
import argparse
import concurrent.futures
import fnmatch
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib

HERE = pathlib.Path(__file__).parent
KEYS = {'name', 'profile', 'fidelity', 'cpus', 'knobs', 'rows', 'twins', 'reports', 'end',
        'status', 'silent'}
PATIENCE_SECONDS = 240
printing = threading.Lock()


class RowsError(Exception):
    """The list itself is wrong."""


def load(path):
    """Reads the boots; `fidelity` may be a list, which makes a boot of each."""
    boots = []
    with open(path, 'rb') as file:
        for raw in tomllib.load(file)['boot']:
            if unknown := raw.keys() - KEYS:
                raise RowsError(f'{raw.get("name")}: unknown key {sorted(unknown)}')
            fidelities = raw.get('fidelity', 'fast')
            for fidelity in [fidelities] if isinstance(fidelities, str) else fidelities:
                boots.append({'cpus': 1, 'knobs': '', 'rows': '', 'twins': '', 'reports': [],
                              'silent': '', 'end': 'power-off', 'status': 0, **raw,
                              'fidelity': fidelity, 'name': f'{raw["name"]}-{fidelity}'})
    names = [boot['name'] for boot in boots]
    if twice := {name for name in names if names.count(name) > 1}:
        raise RowsError(f'two boots are called {sorted(twice)}')
    return boots


def run(boot, options):
    """Boots the machine; returns (exit status, serial text, the machine's reports, its end)."""
    folder = pathlib.Path(options.out).resolve() / boot['name']
    shutil.rmtree(folder, ignore_errors=True)
    (folder / 'esp/EFI/BOOT').mkdir(parents=True)
    shutil.copy(options.program, folder / 'esp/EFI/BOOT/BOOTX64.EFI')
    far = 'far ' if 'PKGS=2' in boot['knobs'] else ''
    rows = ' '.join(boot[key] for key in ('rows', 'twins', 'silent'))
    (folder / 'esp/rows.txt').write_text(f'{boot["profile"]} {far}{rows}\n')
    command = [sys.executable, '-B', str(HERE / 'boot.py'), f'ESP={folder / "esp"}',
               f'OUT={folder / "out"}', f'BUILD={options.build}', f'CPUS={boot["cpus"]}',
               f'TIMEOUT={PATIENCE_SECONDS}', f'TME={boot["profile"]}',
               f'FIDELITY={boot["fidelity"]}', *boot['knobs'].split()]
    with open(folder / 'boot.log', 'wb') as log:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                check=False).returncode

    def read(name):
        path = folder / 'out' / name
        return path.read_text(errors='replace').replace('\r', '') if path.exists() else ''

    end = re.search(r'^end (.*)', read('result'), re.M)
    return status, read('serial.log'), read('tme.log'), end and end[1]


def judge(boot, status, text, reports, end):
    """Returns (row, problem or None) for each row, then for the boot itself."""
    verdicts = dict(re.findall(r'^row (\S+): ([A-Z]+)$', text, re.M))
    for key, wanted in (('rows', 'PASS'), ('twins', 'CORRUPT')):
        for row in boot[key].split():
            verdict = verdicts.pop(row, 'no line')
            yield row, None if verdict == wanted else f'{verdict}, not {wanted}'
    for row in boot['silent'].split():  # the machine stops in it
        begun = f'row {row}:\n' in text and row not in verdicts
        yield row, None if begun else 'it did not stop the machine'
    problems = [f'row {row} was not asked for' for row in verdicts]
    if status != boot['status'] or end != boot['end']:
        problems.append(f'status {status}, end {end}')
    kinds = set(re.findall(r'^tme: CPU -?\d+ RIP \w+: (\S+) at ', reports, re.M))
    for kind in boot['reports']:
        if kind not in kinds:
            problems.append(f'the machine does not report {kind}')
    if extra := kinds - set(boot['reports']):
        problems.append(f'the machine reports {sorted(extra)}')
    yield 'end', '; '.join(problems) or None


def details(text, row):
    """The lines of a row, first those with a difference."""
    match = re.search(rf'^row {re.escape(row)}:\n(.*?)(?=^row |^rows: |\Z)', text, re.M | re.S)
    lines = match[1].splitlines() if match else text.splitlines()[-10:]
    missed = [line for line in lines if '<--' in line or 'cannot' in line]
    return (missed or lines)[:8]


def main():
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument('names', nargs='*')
    parser.add_argument('--list', default=str(HERE / 'rows.toml'))
    parser.add_argument('--build', default='build')
    parser.add_argument('--program', required=True)
    parser.add_argument('--out', required=True)
    parser.add_argument('--tally', help='file that takes how many passed and failed')
    parser.add_argument('--jobs', type=int, default=2)
    options = parser.parse_args()
    try:
        boots = load(options.list)
    except (RowsError, OSError, tomllib.TOMLDecodeError) as problem:
        sys.exit(f'rows: {problem}')
    if options.names:
        boots = [boot for boot in boots
                 if any(fnmatch.fnmatch(boot['name'], name) for name in options.names)]
    if not boots:
        sys.exit('rows: no boot is called so')
    passed, failed = [], []

    def one(boot):
        start = time.monotonic()
        status, text, reports, end = run(boot, options)
        seconds = time.monotonic() - start
        with printing:
            for row, problem in judge(boot, status, text, reports, end):
                name = f'{boot["name"]}/{row}'
                (failed if problem else passed).append(name)
                took = f'{seconds:6.1f} s' if row == 'end' else ''
                print(f'{"FAILED" if problem else "ok":6} {name:44} {took} {problem or ""}')
                for line in details(text, row) if problem else []:
                    print(f'       | {line[:300]}')
            sys.stdout.flush()

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, boots))
    if options.tally:
        tally = pathlib.Path(options.tally)
        tally.parent.mkdir(parents=True, exist_ok=True)
        tally.write_text(f'{len(passed)} {len(failed)}\n', encoding='ascii')
    if failed:
        print('failed: ' + ' '.join(sorted(failed)))
    print(f'{len(passed)} passed, {len(failed)} failed')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
