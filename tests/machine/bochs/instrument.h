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
void machine_stop(const char *how, int status); /* now, as if switched off */
void machine_count_restarts(unsigned cpu);
void machine_vmentry(unsigned cpu);
void machine_vmexit(unsigned cpu, Bit32u reason);
void machine_serial_out(unsigned port, Bit8u byte);
bool machine_serial_in(unsigned port, Bit8u *byte);
int machine_serial_usec(int usec);
void machine_slow_read(void);
unsigned machine_seed(void);

/* Memory encryption and the physical width, in machine_tme.cc. */
class BX_CPU_C;
struct cpuid_function_t;
extern bool machine_tme;            /* there is a model; else none of its functions is called */
extern Bit64u machine_arch_cap;     /* IA32_ARCH_CAPABILITIES; 0: the model's own */
extern bool machine_pconfig;        /* CPUID lists PCONFIG */
extern unsigned machine_phy_width;  /* as CPUID reports it */
extern Bit64u machine_phy_reserved; /* bits that no physical address may have */
void machine_tme_init(void);  /* once, before there is a CPU */
void machine_tme_reset(void); /* power-on and hardware reset */
void machine_evict_all(void); /* all lines leave the caches, the oldest last */
/* Lines that are dirty under a KeyID other than 0; how many of those resets lost. Strict only. */
bool machine_tme_dirty(Bit64u *now, Bit64u *lost);
void machine_cpuid(bool long64, Bit32u leaf, Bit32u subleaf,
                   struct cpuid_function_t *value);
int machine_read_msr(unsigned cpu, Bit32u index, Bit64u *value); /* 1, 0 for #GP, -1: not ours */
int machine_write_msr(unsigned cpu, Bit32u index, Bit64u value);
void machine_flush(unsigned cpu, Bit64u address, bool keep);
void machine_flush_all(unsigned cpu, bool write_back);
void machine_invept(unsigned cpu, bool all, Bit64u eptp);
void machine_invvpid(unsigned cpu, Bit32u type, Bit16u vpid, Bit64u address);
void machine_tlb_control(unsigned cpu, unsigned what);
/*
 * *address is where the guest's page tables and EPT lead this linear address. Replaces it if the
 * CPU has an older translation cached.
 */
void machine_combined(unsigned cpu, Bit64u linear, bool write, Bit64u *address);
bool machine_ept_cached(unsigned cpu, Bit64u gpa, Bit32u wanted, Bit32u allowed, bool refused,
                        Bit64u *address);
/*
 * These remove the KeyID from the address. They return true if the access is done, with the result
 * in data or *direct. *direct is null if the page cannot be accessed by a pointer.
 */
bool machine_mem_read(BX_CPU_C *cpu, Bit64u *address, unsigned len, void *data);
bool machine_mem_write(BX_CPU_C *cpu, Bit64u *address, unsigned len, const void *data);
bool machine_mem_host(BX_CPU_C *cpu, Bit64u *address, unsigned rw, Bit8u **direct);
/* DRAM as on the wires; the address has no KeyID. Nothing happens outside DRAM. */
void machine_bus_read(Bit64u mem, void *data, size_t bytes);
/* What a CPU would read with this KeyID, were nothing cached. This and the next two need TME=. */
void machine_read_as(Bit32u keyid, Bit64u mem, void *data, size_t bytes);
Bit64u machine_encrypted_blocks(Bit32u keyid);
bool machine_break_rule(const char *word); /* DROP=, SWAP= or ALIAS= from now on */
void machine_bus_write(Bit64u mem, const void *data, size_t bytes);

/* CPUs that are not like the others, in machine_unlike.cc. */
extern bool machine_unlike; /* there are; else none of its functions is called */
void machine_unlike_init(void);
Bit64u machine_tsc_skew(unsigned cpu);
Bit64u machine_tsc_start(unsigned cpu);
void machine_lack_msr(unsigned cpu, Bit32u index, Bit64u *value);
void machine_lack_cpuid(unsigned cpu, Bit32u leaf, Bit32u subleaf, struct cpuid_function_t *value);
bool machine_refuse_entry(unsigned cpu);

/* A TPM, in machine_tpm.cc. */
void machine_tpm_reset(void); /* power-on and hardware reset */

/*
 * Built without the model, no hook costs anything. `make tme-ratio` compares this machine with such
 * a build.
 */
#ifdef MACHINE_NO_TME
#define MACHINE_TME          false
#define MACHINE_PCONFIG      false
#define MACHINE_PHY_WIDTH    40
#define MACHINE_PHY_RESERVED (~((BX_CONST64(1) << 40) - 1))
#else
#define MACHINE_TME          machine_tme
#define MACHINE_PCONFIG      machine_pconfig /* asked before there is a model */
#define MACHINE_PHY_WIDTH    machine_phy_width
#define MACHINE_PHY_RESERVED machine_phy_reserved
#endif

#undef BX_INSTR_INIT_ENV
#undef BX_INSTR_EXIT_ENV
#undef BX_INSTR_INITIALIZE
#undef BX_INSTR_VMEXIT
#undef BX_INSTR_CACHE_CNTRL
#define BX_INSTR_INIT_ENV()                   machine_init()
#define BX_INSTR_EXIT_ENV()                   machine_exit()
#define BX_INSTR_INITIALIZE(cpu_id)           machine_init_cpu(cpu_id)
#define BX_INSTR_VMEXIT(cpu_id, reason, qual) machine_vmexit(cpu_id, reason)
#define BX_INSTR_CACHE_CNTRL(cpu_id, what) \
  (MACHINE_TME ? machine_flush_all(cpu_id, what == BX_INSTR_WBINVD) : (void) 0)

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

#define BX_INSTR_PHY_WIDTH()             (MACHINE_PHY_WIDTH)
#define BX_INSTR_PHY_RESERVED()          (MACHINE_PHY_RESERVED)
#define BX_INSTR_HAS_PCONFIG()           (MACHINE_PCONFIG)
#define BX_INSTR_CPUID(leaf, subleaf, value) \
  (MACHINE_TME ? machine_cpuid(long64_mode(), leaf, subleaf, value) : (void) 0)
#define BX_INSTR_READ_MSR(cpu_id, index, value)                       \
  ((index) == 0x10a && machine_arch_cap != 0 ? (*(value) = machine_arch_cap, 1) \
   : MACHINE_TME ? machine_read_msr(cpu_id, index, value) : -1)
#define BX_INSTR_WRITE_MSR(cpu_id, index, value) \
  (MACHINE_TME ? machine_write_msr(cpu_id, index, value) : -1)
#define BX_INSTR_FLUSH(cpu_id, address, keep) \
  (MACHINE_TME ? machine_flush(cpu_id, address, keep) : (void) 0)
#define BX_INSTR_INVEPT(cpu_id, all, eptp) \
  (MACHINE_TME ? machine_invept(cpu_id, all, eptp) : (void) 0)
#define BX_INSTR_INVVPID_DONE(cpu_id, type, vpid, address) \
  (MACHINE_TME ? machine_invvpid(cpu_id, type, vpid, address) : (void) 0)
#undef BX_INSTR_TLB_CNTRL
#define BX_INSTR_TLB_CNTRL(cpu_id, what, value) \
  (MACHINE_TME ? machine_tlb_control(cpu_id, what) : (void) 0)
#define BX_INSTR_COMBINED(cpu_id, linear, write, address) \
  (MACHINE_TME ? machine_combined(cpu_id, linear, write, address) : (void) 0)
#define BX_INSTR_EPT_CACHED(cpu_id, gpa, wanted, allowed, refused, address) \
  (MACHINE_TME && machine_ept_cached(cpu_id, gpa, wanted, allowed, refused, address))
#define BX_INSTR_MEM_READ(cpu, address, len, data) \
  (MACHINE_TME && machine_mem_read(cpu, address, len, data))
#define BX_INSTR_MEM_WRITE(cpu, address, len, data) \
  (MACHINE_TME && machine_mem_write(cpu, address, len, data))
#define BX_INSTR_MEM_HOST(cpu, address, rw, direct) \
  (MACHINE_TME && machine_mem_host(cpu, address, rw, direct))

#define BX_INSTR_TSC_SKEW(cpu_id)  (machine_unlike ? machine_tsc_skew(cpu_id) : 0)
#define BX_INSTR_TSC_START(cpu_id) (machine_unlike ? machine_tsc_start(cpu_id) : 0)
#define BX_INSTR_LACK_MSR(cpu_id, index, value) \
  (machine_unlike ? machine_lack_msr(cpu_id, index, value) : (void) 0)
#define BX_INSTR_LACK_CPUID(cpu_id, leaf, subleaf, value) \
  (machine_unlike ? machine_lack_cpuid(cpu_id, leaf, subleaf, value) : (void) 0)
#define BX_INSTR_REFUSE_ENTRY(cpu_id) (machine_unlike && machine_refuse_entry(cpu_id))

#endif
