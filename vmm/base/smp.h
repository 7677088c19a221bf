/* SPDX-License-Identifier: Apache-2.0 */
/* Brings this CPU and the others into the hypervisor and lets one make others do something. */
#ifndef UMBRA_BASE_SMP_H
#define UMBRA_BASE_SMP_H

#include "vmm/base/types.h"

/*
 * The boot processor becomes CPU 0: own page tables (host_paging_init was called), stack with guard
 * pages, segments, IDT, per-CPU data, LAPIC; then next(), which does not return. Interrupts off;
 * the caller's stack is gone. tsc_init comes before. Returns only without host pages: ERR_NOMEM.
 */
int smp_enter_bsp(void (*next)(void));

/*
 * Every other CPU waits for a SIPI from here on, and uses no memory: those that will be started,
 * and those that nobody knows of or wants. Takes 10 ms. BSP, before smp_start_all.
 */
void smp_park_others(void);

/*
 * Starts the CPUs with the given APIC IDs (those other than ours) by INIT-SIPI-SIPI (SDM, "MP
 * Initialization Protocol"). trampoline is a page below 1 MiB that nobody else uses. A CPU that
 * does not answer within 200 ms is named in the log with how far it came, and left out; so is one
 * whose TSC cannot be made the boot CPU's (tsc_sync.h). fits runs on each, one at a time, with
 * interrupts off: false leaves it out, and why holds a clause that says for what reason. NULL: all
 * fit. Returns how many started. BSP, once.
 */
uint32_t smp_start_all(const uint32_t *apic_ids, size_t count, hpa_t trampoline,
		       bool (*fits)(char *why, size_t bytes));

/*
 * Runs fn(arg) on every online CPU, this one included, and returns when all have. On the others
 * it runs in the handler of a kick, interrupts off: it must be short, and take no lock that the BSP
 * may hold now. A CPU gets to it when it next lets interrupts in: at once in a guest or in HLT,
 * else after its exit or turn. BSP only, any time after smp_start_all; the caller holds no lock.
 */
void smp_call_all(void (*fn)(void *arg), void *arg);

/* For the kick's handler: does what smp_call_all has posted, if this CPU has not yet. */
void smp_do_work(void);

/* Sends every AP into fn, which does not return (the scheduler's loop). BSP only, once. */
void smp_release(void (*fn)(void));

/* An interrupt without a handler's work: takes that CPU out of guest mode or HLT. Any CPU. */
void smp_kick(uint32_t cpu_index);

/*
 * For panic and power-off: stops the other CPUs for good (NMI), on the bootstrap tables and with
 * their caches written back. Waits at most a second. Any CPU, at any time, also when there are no
 * others yet, or no more.
 */
void smp_stop_others(void);

#endif
