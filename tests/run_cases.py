#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run_cases.py [--group GROUP] [NAME...]: runs the cases of tests/cases.toml on emulated machines.

Each case has a folder with its stick and its results. Two cases run at a time. At the end are
the ten slowest and, on the last line, "N passed, N failed". README.md describes the keys of a
case.
"""
import argparse
import concurrent.futures
import fnmatch
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE / "bus"), str(HERE / "machine")]
import markers
from case_checks import (check_budget, check_even, check_left, check_reports, check_screen,
                         check_text, check_waiting, read_result, serial_text)
from case_list import CaseError, load_cases, repeat

TAIL_LINES = 25
printing = threading.Lock()
asking = threading.Lock()  # for the oracle: only one machine boots at a time


class Runner:
    def __init__(self, options):
        self.options = options
        self.third = pathlib.Path(options.build) / "third"

    def source(self, spec):
        """The bytes or the file for a `files` entry, KIND:REST."""
        kind, _, rest = spec.partition(":")
        if kind == "kernel":
            return self.third / "kernel" / rest / "vmlinuz"
        if kind == "initrd":
            return self.third / "initramfs" / {"shell": "initrd.img"}.get(rest, f"{rest}.img")
        if kind == "disk":
            return self.third / "disk" / f"{rest}.img"
        if kind == "debian":
            return self.third / "debian" / rest
        if kind == "guest":
            return pathlib.Path(self.options.guests) / f"{rest}.bin"
        if kind == "text":
            return rest.encode()
        if kind == "markers":  # markers:FIRST:COUNT: marked pages
            return markers.pages(*map(int, rest.split(":")))
        if kind == "cut":  # cut:BYTES:SPEC: the first BYTES of SPEC
            size, _, inner = rest.partition(":")
            data = self.source(inner)
            return (data if isinstance(data, bytes) else data.read_bytes())[:int(size)]
        raise CaseError(f"no such kind of file: {spec}")

    def make_stick(self, case, folder):
        esp = folder / "esp"
        (esp / "EFI/BOOT").mkdir(parents=True)
        (esp / "umbra").mkdir()
        efi = self.options.bare if case.get("bare") else self.options.efi
        if "firmware" in case:
            shutil.copy(efi, esp / "umbra/umbra.efi")
            (esp / "umbra/firmware.txt").write_text(case["firmware"], encoding="ascii")
            efi = self.third / "efi" / "odd.efi"
        shutil.copy(efi, esp / "EFI/BOOT/BOOTX64.EFI")
        if "conf" in case:
            (esp / "umbra/umbra.conf").write_text(case["conf"])
        for name, spec in case["files"].items():
            data = self.source(spec)
            target = esp / "umbra" / name
            if isinstance(data, bytes):
                target.write_bytes(data)
            elif data.is_file():
                os.link(data, target) if same_device(data, esp) else shutil.copy(data, target)
            else:
                raise CaseError(f"{data} is missing")
        return esp

    def boot_words(self, case, folder, esp):
        words = {"ESP": esp, "OUT": folder / "out", "BUILD": self.options.build,
                 "MACHINE": case["machine"], "CPUS": case["cpus"], "MEM": case["mem"],
                 "TIMEOUT": case["timeout"] * self.options.patience}
        for key in ("cpu", "features", "tme", "fidelity", "type", "stop", "ticks",
                    "screen_at"):
            if key in case:
                value = case[key] if key != "type" else repeat(case[key])
                words[key.upper()] = value if isinstance(value, str) else "|".join(value)
        if "bus" in case:
            words["BUS"] = case["bus"].replace("{o}", self.options.product)
        if case.get("usb", "disk") != "disk":
            words["USB"] = 1
        marks = {mark: None for rule in case.get("even", []) for span in rule["spans"]
                 for mark in span}
        marks |= {case["waiting"]["from"]: None} if "waiting" in case else {}
        if marks:
            words["MARK"] = "|".join(mark.replace("|", "\\|") for mark in marks)
        if case["screen"]:
            words["SCREEN"] = folder / "out" / "screen.png"
        return [f"{key}={value}" for key, value in words.items()] + case.get("knobs", "").split()

    def run(self, case):
        """Runs one case; returns (problems, instructions or None, lines to show)."""
        folder = pathlib.Path(self.options.out).resolve() / case["name"]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if "command" in case:
            return *run_command(case, folder, self.options), []
        esp = self.make_stick(case, folder)
        command = [sys.executable, str(HERE / "machine" / "boot.py"),
                   *self.boot_words(case, folder, esp)]
        with open(folder / "boot.log", "wb") as log:
            status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    check=False).returncode
        serial = folder / "out" / "serial.log"
        text = serial_text(serial.read_bytes()) if serial.exists() else ""
        problems = check_text(case, text, self.oracle(case))
        if status != case["status"]:
            problems.append(f"exit status {status}, not {case['status']}: {last_line(folder)}")
        result = folder / "out" / "result"
        count, end, said = None, None, []
        if result.exists():
            count, end = read_result(result.read_text())
        if result.exists() and end != case["end"] != "any":
            problems.append(f"the machine ended by {end}, not {case['end']}")
        problems += check_budget(case, count)
        record = folder / "out" / "tme.log"  # the reports of the strict machine
        if record.exists():
            problems += check_reports(case, record.read_text())
        if result.exists():
            problems += check_left(case, result.read_text())
            problems += check_even(case, result.read_text(), said)
            problems += check_waiting(case, result.read_text(), text, said)
        if case["screen"]:
            problems += check_screen(case, folder, self.third / "font" / "font.psf")
        if not problems and not self.options.keep:
            for name in ("esp", "out/disk.img", "out/dram.bin"):
                path = folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return problems, count, said

    def oracle(self, case):
        """Returns a function: is a line of the serial log a complaint that the case's kernels also
        print without Umbra? Stock kernels change; only further complaints count."""
        kernels = {spec for spec in case["files"].values()
                   if isinstance(spec, str) and spec.startswith(("kernel:", "debian:vmlinuz"))}
        if case.get("bare") or case["machine"] != "bochs":
            kernels = set()

        def is_known(line):
            return any(normal(line) in self.bare_lines(case, kernel) for kernel in sorted(kernels))

        return is_known

    def bare_lines(self, case, kernel):
        """The output of this kernel on the case's machine without Umbra: booted once, then kept."""
        image = self.source(kernel).read_bytes()
        machine = {key: case[key] for key in ("cpus", "cpu", "features") if key in case}
        words = hashlib.sha256(image + repr(machine).encode()).hexdigest()
        path = pathlib.Path(self.options.build).resolve() / "oracle" / words
        with asking:
            if not path.exists():
                self.boot_bare(machine, image, path)
        return set(path.read_text(encoding="utf-8").splitlines())

    def boot_bare(self, machine, image, path):
        """Boots the same kernel with the initramfs that prints the kernel's complaints."""
        folder = path.with_suffix(".boot")
        shutil.rmtree(folder, ignore_errors=True)
        esp = folder / "esp"
        (esp / "EFI/BOOT").mkdir(parents=True)
        (esp / "umbra").mkdir()
        shutil.copy(self.third / "efi" / "chain.efi", esp / "EFI/BOOT/BOOTX64.EFI")
        shutil.copy(self.source("initrd:work"), esp / "umbra/initrd.img")
        (esp / "umbra/vmlinuz").write_bytes(image)
        (esp / "umbra/cmdline.txt").write_text(
            "initrd=\\umbra\\initrd.img console=ttyS0 name=bare\n", encoding="ascii")
        keys = {key.upper(): value for key, value in machine.items()}
        keys.update(ESP=esp, OUT=folder / "out", BUILD=self.options.build,
                    STOP="CPUs: equal", TIMEOUT=600 * self.options.patience)
        with open(folder / "boot.log", "wb") as log:
            status = subprocess.run(
                [sys.executable, str(HERE / "machine" / "boot.py"),
                 *(f"{key}={value}" for key, value in keys.items())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode
        if status != 0:
            raise CaseError(f"the kernel did not boot without Umbra: {folder}/boot.log")
        text = serial_text((folder / "out" / "serial.log").read_bytes())
        path.write_text("".join(f"{normal(line)}\n" for line in text.splitlines()),
                        encoding="utf-8")
        shutil.rmtree(folder)


def normal(line):
    """A kernel's line without the parts that differ between two boots: sender, times, numbers."""
    line = re.sub(r"^(\[[a-z0-9]+\] )?(umbra-work: \w+: )?(kernel: )?(<\d+>)?", "", line)
    line = re.sub(r"^\[ *\d+\.\d+\] ", "", line)
    return re.sub(r"\b(0x)?[0-9a-f]*[0-9][0-9a-f]*\b", "N", line).strip()


def same_device(path, other):
    return path.stat().st_dev == other.stat().st_dev


def last_line(folder):
    lines = (folder / "boot.log").read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "nothing was said"


def run_command(case, folder, options):
    """Runs a command as a user would type it, with a dialog: (wait for, then type)."""
    command = case["command"].replace("{out}", str(folder)).replace("{o}", options.product)
    deadline = time.monotonic() + case["timeout"]
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(("MAKE", "MFLAGS"))}
    process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
                               start_new_session=True)
    os.set_blocking(process.stdout.fileno(), False)
    steps = list(case.get("dialog", []))
    raw, seen, problems = b"", 0, []
    while True:
        over = process.poll() is not None
        raw += process.stdout.read() or b""
        text = serial_text(raw)
        if steps and (match := re.search(steps[0][0], text[seen:], re.M)):
            seen += match.end()
            process.stdin.write(steps.pop(0)[1].encode())
            process.stdin.flush()
        if over:
            break
        if time.monotonic() > deadline:
            problems.append(f"still running after {case['timeout']} s")
            os.killpg(process.pid, 15)
            time.sleep(5)
            process.poll() is None and os.killpg(process.pid, 9)
            process.wait()
            break
        time.sleep(0.1)
    process.stdin.close()
    (folder / "boot.log").write_bytes(raw)
    problems += [f"never came to: {pattern}" for pattern, _ in steps]
    if process.returncode != case["status"]:
        problems.append(f"exit status {process.returncode}, not {case['status']}")
    return problems + check_text(case, text), None


def report(case, problems, seconds, count, said):
    words = f"{'FAILED' if problems else 'ok':6} {case['name']:40} {seconds:6.1f} s"
    if count is not None and "budget" in case:
        budget = case["budget"] * 1_000_000
        words += f" {count / 1e6:8,.0f} M of {case['budget']:,} M ({100 * count / budget:.0f} %)"
    with printing:
        print(words)
        for line in said + problems:
            print(f"       {line}")
        sys.stdout.flush()


def length(case):
    """How long a case may run: its budget, or instructions at a usual speed for its time-out."""
    return case.get("budget", 40 * case["timeout"])


def show_tail(folder):
    for name in ("out/serial.log", "boot.log"):
        path = folder / name
        if path.exists():
            lines = serial_text(path.read_bytes()).splitlines()[-TAIL_LINES:]
            with printing:
                print(f"       --- end of {path}")
                for line in lines:
                    print(f"       | {line[:200]}")
            return


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="only these cases (* and ? are wild)")
    parser.add_argument("--cases", default=str(HERE / "cases.toml"))
    parser.add_argument("--group", default="test")
    parser.add_argument("--build", default="build")
    parser.add_argument("--efi", required=True)
    parser.add_argument("--bare", help="the EFI program that starts a guest without Umbra")
    parser.add_argument("--guests", required=True)
    parser.add_argument("--product", help="the build folder that make is given")
    parser.add_argument("--out", required=True)
    parser.add_argument("--tally", type=pathlib.Path, help="a file for the two numbers")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="keep the sticks of cases that passed")
    parser.add_argument("--patience", type=int, default=1, help="times every time-out")
    options = parser.parse_args()
    try:
        cases = load_cases(options.cases)
    except (CaseError, OSError, tomllib.TOMLDecodeError) as problem:
        sys.exit(f"cases: {problem}")
    if options.names:
        cases = [case for case in cases
                 if any(fnmatch.fnmatch(case["name"], name) for name in options.names)]
    else:
        cases = [case for case in cases if case["group"] == options.group]
    if not cases:
        sys.exit("cases: none is called so")
    cases.sort(key=lambda case: -length(case))  # long cases first: a shorter run
    runner = Runner(options)
    done = []

    def one(case):
        start = time.monotonic()
        try:
            problems, count, said = runner.run(case)
        except Exception as problem:  # a case that cannot run has failed
            problems = [f"could not run: {type(problem).__name__}: {problem}"]
            count, said = None, []
        seconds = time.monotonic() - start
        folder = pathlib.Path(options.out) / case["name"]
        log = folder / "out" / "bus.log"
        said += log.read_text().splitlines() if log.exists() else []
        report(case, problems, seconds, count, said)
        if problems:
            show_tail(folder)
        done.append((seconds, case["name"], bool(problems)))

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, cases))
    failed = sorted(name for _, name, bad in done if bad)
    print("slowest:")
    for seconds, name, _ in sorted(done, reverse=True)[:10]:
        print(f"  {seconds:6.1f} s  {name}")
    if failed:
        print("failed: " + " ".join(failed))
    print(f"{len(done) - len(failed)} passed, {len(failed)} failed")
    if options.tally:
        options.tally.parent.mkdir(exist_ok=True)
        options.tally.write_text(f"{len(done) - len(failed)} {len(failed)}\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
