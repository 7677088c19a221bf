#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""devices.py OUT CMDLINE BOOTX64.EFI CHAIN.EFI KERNEL GUEST KVM DISK [NAME...]: what a request of
a disk and a segment of TCP cost the whole machine, in instructions, with Umbra and with KVM.

In each run of the emulated machine two Linux guests have a net, and one of them a disk; what they
do is in devices.c. A figure is that of all instructions the machine retired, guests and all, less
those of an idle machine in the same time. NAME chooses among the runs.
"""

import os
import sys

import bench

COUNT, MIB = 4000, 64
# TCP makes frames as large as what it sends in a millisecond, so frames are small on a slow clock.
IPS = 500_000_000
SEGMENT = 1448      # bytes of TCP's in a frame of 1,500
GOAL = 1 / 2
WORK = {            # the name of devices.c's: (what it is, how many)
    'blk-1': ('4 KiB read, one at a time', COUNT),
    'blk-32': ('4 KiB read, 32 at a time', COUNT),
    'net': ('segment of TCP', (MIB << 20) // SEGMENT),
}
RUNS = {            # name: (the column's title, engine, keys of the machine, lines for [host])
    'kvm': ('KVM', None, {}, []),
    'none': ('none', 'none', {}, []),
    'software': ('software', 'software', {}, ['window = 128M']),
    'tme-mk': ('tme-mk', 'tme-mk', {'TME': 'P4', 'FIDELITY': 'fast'}, []),
}


def vm(name, role, engine, cmdline, more):
    """The section of one of the two VMs."""
    return '\n'.join([
        f'[vm {name}]', 'memory = 128M', 'kernel = \\umbra\\vmlinuz',
        'initrd = \\umbra\\guest.img',
        f'cmdline = {cmdline} role={role} count={COUNT} mib={MIB}', f'engine = {engine}',
        'net = lan0', *more, ''])


def files_of(name, cmdline, paths):
    """What starts first, and the stick's files."""
    umbra, chain, kernel, guest, kvm, disk = paths
    _, engine, _, host = RUNS[name]
    if engine is None:
        line = f'{cmdline} loglevel=1 count={COUNT} mib={MIB} initrd=\\umbra\\kvm.img\n'
        return chain, {'vmlinuz': kernel, 'kvm.img': kvm, 'cmdline.txt': line.encode()}
    conf = '\n'.join(['[host]', 'exit = poweroff', *host, '']) + \
        vm('server', 'server', engine, cmdline, []) + \
        vm('client', 'client', engine, cmdline, ['disk = \\umbra\\disk.img'])
    return umbra, {'vmlinuz': kernel, 'guest.img': guest, 'disk.img': disk,
                   'umbra.conf': conf.encode()}


def figures_of(name, out, cmdline, paths):
    """Runs the machine. Returns instructions for each piece of work, and exits, by name."""
    efi, files = files_of(name, cmdline, paths)
    bench.make_esp(os.path.join(out, f'{name}-esp'), efi, files)
    marks = [f'bench: {work} {what}' for work in WORK for what in ('begins', 'ends', 'rests')]
    serial, figures = bench.run(out, name, MEM=1024, IPS=IPS, FEATURES='', MARK='|'.join(marks),
                                **RUNS[name][2])
    found = {figure['text']: figure['cpus'][0] for figure in figures if figure['kind'] == 'mark'}
    lacking = [mark for mark in marks if mark not in found]
    if lacking:
        raise bench.BenchError(f'{name}: "{lacking[0]}" never came:\n{serial[-2000:]}')
    cost = {}
    for work, (_, count) in WORK.items():
        begins, ends, rests = (found[f'bench: {work} {what}']
                               for what in ('begins', 'ends', 'rests'))
        cost[work] = {key: (2 * ends[key] - begins[key] - rests[key]) / count
                      for key in ('retired', 'exits')}
    return cost


def main(arguments):
    """The command line."""
    out, cmdline, *paths = arguments[:8]
    chosen = arguments[8:] or list(RUNS)
    os.makedirs(out, exist_ok=True)
    try:
        costs = {name: figures_of(name, out, cmdline, paths) for name in chosen}
    except bench.BenchError as error:
        print(f'bench: {error}', file=sys.stderr)
        return 1
    missed = 0
    print('\nDevices: instructions of the whole machine, with its guests, less those of an idle\n'
          f'one; in brackets VM exits ({bench.MODEL}, ips {IPS / 1e6:.0f} M, one CPU).')
    print(f'{"":28}' + ''.join(f'{RUNS[name][0]:>20}' for name in chosen))
    for work, (what, _) in WORK.items():
        print(f'{what:28}', end='')
        for name in chosen:
            cost = costs[name][work]
            print(f'{cost["retired"]:12,.0f} ({cost["exits"]:5.2f})', end='')
        if 'kvm' in costs and 'none' in costs:
            part = costs['none'][work]['retired'] / costs['kvm'][work]['retired']
            missed += part > GOAL
            print(f'   none/KVM {part:.2f} (goal {GOAL:.2f}) {"met" if part <= GOAL else "MISSED"}',
                  end='')
        print()
    print(f'\n{missed} goals missed' if missed else '\nall goals met')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
