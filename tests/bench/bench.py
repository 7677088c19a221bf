#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench.py OUT BOOTX64.EFI CHAIN.EFI BENCH.BIN KERNEL INITRD STEPS: what Umbra costs, in
instructions.

Runs of the emulated machine: a tiny guest that times single exits by RDTSC, one that times faults
in sealed memory with each page cipher, a Linux boot under Umbra, and the same kernel started by
UEFI without it. The machine counts instructions, not time: what silicon takes for an exit itself is
not in any figure, on either side. tests/bench/README.md says how the anchors came about.
"""

import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'machine'))
from bochs import parse_result  # noqa: E402

MODEL, IPS, FEATURES = 'broadwell_ult', 50_000_000, 'exclude_features="rdrand,rdseed"'
BOOT_PY = os.path.join(os.path.dirname(__file__), '..', 'machine', 'boot.py')

# name of the guest's line: (what it is, KVM's figure on the same machine, goal as a fraction of it)
ANCHORS = {
    'cpuid': ('CPUID', 977, 1 / 5),
    'rdmsr': ('RDMSR IA32_MISC_ENABLE', 1087, 1 / 5),
    'wrmsr': ('WRMSR IA32_BIOS_SIGN_ID', 1123, 1 / 5),
    'port-read': ('port read, UART scratch', 3138, 1 / 10),
    'port-write': ('port write, UART scratch', 3098, 1 / 10),
    'memory-read': ('memory read, I/O APIC', 5807, 1 / 10),
    'memory-write': ('memory write, I/O APIC', 5807, 1 / 10),
    'first-touch': ('first touch of a 4K page', 2780, 1 / 2),
    'self-ipi-xapic': ('self-IPI, xAPIC', 4083, 1 / 2),
    'self-ipi-x2apic': ('self-IPI, x2APIC', 4083, 1 / 2),
    'timer-wake-xapic': ('timer wake from HLT, xAPIC', 8167, None),
    'timer-wake-x2apic': ('timer wake from HLT, x2APIC', 8167, None),
}
LINE = re.compile(
    r"bench: (\S+) rounds (\d+) median (\d+) min (\d+) p90 (\d+) max (\d+) mean (\d+)")

# Faults in sealed memory: a CPU that has VAES, and a source of randomness for the VM's key.
FAULT_MODEL, FAULT_FEATURES = 'corei7_icelake_u', ''
# name of the guest's line: (what it is, which of the cipher's figures of STEPS is contained in it)
FAULTS = {
    'touch-free': ('first touch, a frame is free', None),
    'touch-clean': ('first touch, clean page goes', None),
    'touch-zero': ('first touch, zero page goes', None),
    'touch-dirty': ('first touch, dirty page goes', 0),
    'open-clean': ('sealed page, clean page goes', 1),
    'open-dirty': ('sealed page, dirty page goes', 2),
    'door': ('door opens, clean page goes', 1),
}
COUNTED = re.compile(r'faults: (\d+) first touch, (\d+) clean, (\d+) dirty victim, '
                     r'\d+ open already; (\d+) opens')
KVM_FAULT = 2780

BOOT_GOAL = 1.03
KVM_BOOT, KVM_BARE, KVM_EXITS = 1722.1, 1503.5, 24926   # millions; exits of the whole boot
STARTED = 'BdsDxe: starting Boot'       # firmware's last words before StartImage
REACHED = 'umbra-test: userspace'       # the first words of /init
CMDLINE = 'console=ttyS0 nokaslr quiet mitigations=off'
# The emulated CPU has no "fast string operations" bit, so the bare kernel clears and copies by
# loops; Umbra shows its guest the bit, as metal and KVM do. This takes REP_GOOD and ERMS away.
LOOPS = 'clearcpuid=112,297'
MACHINE_MIB, VM_MIB = 1024, 512         # the bare machine has as much as the VM


class BenchError(Exception):
    """Says why there are no figures."""


def make_esp(folder, efi, files):
    """A stick's files: BOOTX64.EFI and what goes into \\umbra (path, or text as bytes)."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, 'EFI', 'BOOT'))
    os.makedirs(os.path.join(folder, 'umbra'))
    shutil.copy(efi, os.path.join(folder, 'EFI', 'BOOT', 'BOOTX64.EFI'))
    for name, content in files.items():
        target = os.path.join(folder, 'umbra', name)
        if isinstance(content, bytes):
            with open(target, 'wb') as file:
                file.write(content)
        else:
            shutil.copy(content, target)


def config(name, memory, lines, host=()):
    """umbra.conf with one VM."""
    return '\n'.join(['[host]', 'exit = poweroff', *host, f'[vm {name}]', f'memory = {memory}M',
                      *lines, '']).encode()


def run(out, name, **keys):
    """One run of the machine; returns its serial text and figures."""
    where = os.path.join(out, name)
    words = {'ESP': f'{where}-esp', 'OUT': where, 'CPU': MODEL, 'IPS': IPS, 'FEATURES': FEATURES,
             'CPUS': 1, 'TIMEOUT': 900, 'BUILD': os.environ.get('BUILD', 'build'), **keys}
    words = [f'{key}={value}' for key, value in words.items()]
    status = subprocess.run([sys.executable, BOOT_PY, *words], stdout=subprocess.DEVNULL,
                            check=False).returncode
    with open(os.path.join(where, 'serial.log'), encoding='utf-8', errors='replace') as file:
        serial = file.read()
    with open(os.path.join(where, 'result'), encoding='utf-8') as file:
        figures = parse_result(file.read())
    if status != 0:
        raise BenchError(f'{name}: the machine ended with status {status}:\n{serial[-2000:]}')
    return serial, figures


def guest_lines(serial, names):
    """The figures of the guest's lines by name: rounds, median, min, p90, max, mean."""
    found = {match[1]: [int(n) for n in match.groups()[1:]] for match in LINE.finditer(serial)}
    lacking = [name for name in names if name not in found]
    if lacking:
        raise BenchError(f'no figure for {", ".join(lacking)}:\n{serial[-2000:]}')
    return found


def bench_exits(out, umbra, guest):
    """The table of single exits. Returns how many goals were missed."""
    make_esp(os.path.join(out, 'exits-esp'), umbra, {
        'bench.bin': guest,
        'umbra.conf': config('bench', 128, ['kernel = \\umbra\\bench.bin', 'leaf = 4K',
                                              'engine = none']),
    })
    serial, _ = run(out, 'exits', MEM=MACHINE_MIB)
    found = guest_lines(serial, ANCHORS)
    missed = 0
    print(f'Exits as a guest sees them by RDTSC, in instructions: median of {found["null"][0]} '
          f'rounds; the frame alone is {found["null"][1]}.')
    print(f'{"":28} {"Umbra":>7} {"p90":>7} {"KVM":>7} {"ratio":>6} {"goal":>7}')
    for name, (what, kvm, part) in ANCHORS.items():
        _, median, _, p90, _, _ = found[name]
        goal = int(kvm * part) if part else None
        verdict = '' if goal is None else 'met' if median <= goal else 'MISSED'
        missed += verdict == 'MISSED'
        print(f'{what:28} {median:7,} {p90:7,} {kvm:7,} {median / kvm:6.2f} '
              f'{goal if goal else "-":>7} {verdict}')
    print('Self-IPIs take no exit: the CPU virtualises them (APICv); KVM ran without.')
    return missed


def cipher_steps(program):
    """Instructions by cipher: to encrypt a page, to decrypt one, to do both; the same with tags."""
    text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {line.split()[0]: [int(n) for n in line.split()[1:]] for line in text.splitlines()}


def fault_figures(out, umbra, guest, cipher):
    """Medians of one cipher's run, without the frame of the measurement, by name."""
    name = f'faults-{cipher}'
    make_esp(os.path.join(out, f'{name}-esp'), umbra, {
        'bench.bin': guest,
        'umbra.conf': config('bench', 128, ['kernel = \\umbra\\bench.bin', 'cmdline = faults',
                                            'engine = software', 'integrity = off'],
                             ['window = 2M', f'engine-cipher = {cipher}']),
    })
    serial, _ = run(out, name, MEM=MACHINE_MIB, CPU=FAULT_MODEL, FEATURES=FAULT_FEATURES)
    lines = guest_lines(serial, ['null', *list(FAULTS)[:-1], 'door-open', 'door-sealed'])
    counted = COUNTED.search(serial)
    if counted is None or min(int(n) for n in counted.groups()) < lines['open-dirty'][0]:
        raise BenchError(f'{name}: the pager did not count a thousand faults of each kind:\n'
                         f'{serial[-2000:]}')
    medians = {key: figures[1] - lines['null'][1] for key, figures in lines.items()}
    medians['door'] = medians['door-sealed'] - medians['door-open']
    return medians


def bench_faults(out, umbra, guest, program):
    """The table of faults in sealed memory."""
    steps = cipher_steps(program)
    print(f'\nFaults in sealed memory, in instructions ({FAULT_MODEL}, window 2M): all, of them\n'
          f'the cipher\'s, the rest. For comparison: the plain first touch above, and KVM\'s warm\n'
          f'EPT fault: {KVM_FAULT:,}.')
    print(f'{"":28}' + ''.join(f' {cipher:>20}' for cipher in steps))
    medians = {cipher: fault_figures(out, umbra, guest, cipher) for cipher in steps}
    for name, (what, part) in FAULTS.items():
        print(f'{what:28}', end='')
        for cipher, counts in steps.items():
            total = medians[cipher][name]
            inside = 0 if part is None else counts[part]
            print(f' {total:7,} {inside:6,} {total - inside:5,}', end='')
        print()
    for what, part in (('encrypt', 0), ('decrypt', 1), ('both', 2)):
        print(f'{f"tags add, {what}":28}' + ''.join(
            f' {counts[3 + part] - counts[part]:20,}' for counts in steps.values()))


def since(figures, start, key):
    """A figure of CPU 0 from the mark `start` to the end of the run."""
    begin = next((f for f in figures if f['kind'] == 'mark' and f['text'] == start), None)
    if begin is None:
        raise BenchError(f'the mark "{start}" never came')
    return figures[-1]['cpus'][0][key] - begin['cpus'][0][key]


def bench_boot(out, umbra, chain, kernel, initrd):
    """The table of the boot. Returns 1 when its goal was missed."""
    files = {'vmlinuz': kernel, 'initrd.img': initrd}
    make_esp(os.path.join(out, 'bare-esp'), chain, {
        **files, 'cmdline.txt': f'{CMDLINE} initrd=\\umbra\\initrd.img\n'.encode()})
    for name, more in (('boot', ''), ('loops', f' {LOOPS}')):
        make_esp(os.path.join(out, f'{name}-esp'), umbra, {
            **files, 'umbra.conf': config('linux', VM_MIB, [
                'kernel = \\umbra\\vmlinuz', 'initrd = \\umbra\\initrd.img',
                f'cmdline = {CMDLINE}{more}', 'engine = none'])})
    marks = {'MARK': STARTED, 'STOP': REACHED}
    _, bare = run(out, 'bare', MEM=VM_MIB, **marks)
    _, ours = run(out, 'boot', MEM=MACHINE_MIB, **marks)
    _, loops = run(out, 'loops', MEM=MACHINE_MIB, **marks)
    base = since(bare, STARTED, 'retired')
    total, guest, root = (since(ours, STARTED, key) for key in ('retired', 'guest', 'root'))
    exits = since(ours, STARTED, 'exits')
    alike = since(loops, STARTED, 'retired')
    met = alike <= base * BOOT_GOAL
    print(f'\nFrom StartImage to the first line of /init, in millions of instructions '
          f'({os.path.basename(os.path.dirname(kernel))}, {VM_MIB} MiB, "{CMDLINE}").')
    print(f'without Umbra {base / 1e6:9.1f}   (anchor: {KVM_BARE})')
    print(f'with Umbra    {total / 1e6:9.1f}   guest {guest / 1e6:.1f}, root {root / 1e6:.1f}: '
          f'{(total / base - 1) * 100:+.1f} % (KVM: {(KVM_BOOT / KVM_BARE - 1) * 100:+.1f} %)')
    print(f'the same, {LOOPS}: {alike / 1e6:.1f}: with the string routines of the bare kernel '
          f'{(alike / base - 1) * 100:+.1f} % (goal: +3 %) {"met" if met else "MISSED"}')
    print(f'exits         {exits:9,}   (KVM: {KVM_EXITS:,})')
    for name, count in sorted(ours[-1]['exits'].get(0, {}).items(), key=lambda item: -item[1]):
        print(f'  {name:24} {count:8,}')
    return 0 if met else 1


def main(arguments):
    """The command line."""
    out, umbra, chain, guest, kernel, initrd, steps = arguments
    os.makedirs(out, exist_ok=True)
    print(f'CPU model {MODEL}, ips {IPS / 1e6:.0f} M, no RDRAND, no RDSEED, one CPU\n')
    try:
        missed = bench_exits(out, umbra, guest)
        bench_faults(out, umbra, guest, steps)
        missed += bench_boot(out, umbra, chain, kernel, initrd)
    except BenchError as error:
        print(f'bench: {error}', file=sys.stderr)
        return 1
    print(f'\n{missed} goals missed' if missed else '\nall goals met')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
