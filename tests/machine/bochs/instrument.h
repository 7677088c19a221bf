/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the emulated machine adds to Bochs: figures that do not depend on idle time, rules that
 * act when a pattern appears on the serial line, and a stated end. bochs.patch puts the calls
 * in place; machine.cc is the code behind them.
 *
 * Bochs takes this file as its instrumentation header. Its own hooks stay empty, because each
 * call per instruction would slow the machine down.
 */

#ifndef MACHINE_INSTRUMENT_H
#define MACHINE_INSTRUMENT_H

#undef BX_INSTRUMENTATION
#define BX_INSTRUMENTATION 0
#include "../stubs/instrument.h"

#define MACHINE_CPUS_MAX  64
#define MACHINE_EXITS_MAX 80 /* above the highest basic exit reason that Bochs knows */

struct machine_cpu {
  Bit64u not_retired; /* added to Bochs' counter without an instruction having retired */
  Bit64u entered;     /* retired count at the last VM entry */
  Bit64u guest;       /* retired between VM entries and VM exits */
  Bit64u entries;
  bool in_guest;
  Bit64u exits[MACHINE_EXITS_MAX];
};

extern struct machine_cpu machine_cpus[MACHINE_CPUS_MAX];

void machine_init(void);
void machine_init_cpu(unsigned cpu);
void machine_exit(void);
void machine_end(const char *how, int status);
void machine_count_restarts(unsigned cpu);
void machine_vmentry(unsigned cpu);
void machine_vmexit(unsigned cpu, Bit32u reason);
void machine_serial_out(unsigned port, Bit8u byte);
bool machine_serial_in(unsigned port, Bit8u *byte);
int machine_serial_usec(int usec);
void machine_slow_read(void);
unsigned machine_seed(void);

#undef BX_INSTR_INIT_ENV
#undef BX_INSTR_EXIT_ENV
#undef BX_INSTR_INITIALIZE
#undef BX_INSTR_VMEXIT
#define BX_INSTR_INIT_ENV()                   machine_init()
#define BX_INSTR_EXIT_ENV()                   machine_exit()
#define BX_INSTR_INITIALIZE(cpu_id)           machine_init_cpu(cpu_id)
#define BX_INSTR_VMEXIT(cpu_id, reason, qual) machine_vmexit(cpu_id, reason)

/* Calls that bochs.patch adds. */
#define BX_INSTR_NOT_RETIRED(cpu_id)     (machine_cpus[cpu_id].not_retired++)
#define BX_INSTR_COUNT_RESTARTS(cpu_id)  machine_count_restarts(cpu_id)
#define BX_INSTR_VMENTRY(cpu_id)         machine_vmentry(cpu_id)
#define BX_INSTR_END(how, status)        machine_end(how, status)
#define BX_INSTR_SERIAL_OUT(port, byte)  machine_serial_out(port, byte)
#define BX_INSTR_SERIAL_IN(port, byte)   machine_serial_in(port, byte)
#define BX_INSTR_SERIAL_USEC(usec)       machine_serial_usec(usec)
#define BX_INSTR_SLOW_READ()             machine_slow_read()
#define BX_INSTR_SEED()                  machine_seed()

#endif
