/* SPDX-License-Identifier: Apache-2.0 */
/* Starts the hypervisor on this CPU and the others, and runs functions on other CPUs. */
#ifndef UMBRA_HOST_SMP_H
#define UMBRA_HOST_SMP_H

#include "vmm/base/types.h"

/*
 * Makes the boot processor CPU 0: the hypervisor's page tables (host_paging_init was called), a
 * stack with guard pages, segments, IDT, per-CPU data, LAPIC. Then calls next(), which does not
 * return, on the new stack. Interrupts off. tsc_init was called before. Returns only when there are
 * no host pages: ERR_NOMEM.
 */
int smp_enter_bsp(void (*next)(void));

/*
 * Makes every other CPU wait for a SIPI, so that it uses no memory: CPUs that will be started, and
 * CPUs that are unknown or unwanted. Takes 10 ms. BSP, before smp_start_all.
 */
void smp_park_others(void);

/*
 * Starts the CPUs with the given APIC IDs, except this one, by INIT-SIPI-SIPI (SDM, "MP
 * Initialization Protocol"). trampoline is a page below 1 MiB that nothing else uses. A CPU that
 * does not answer within 200 ms is left out, and the log names the last stage that it reached. A
 * CPU whose TSC cannot be set like the boot processor's is left out too (tsc_sync.h). fits runs on
 * each CPU, one at a time, with interrupts off: if it returns false, the CPU is left out and why
 * holds the reason for the log. NULL: all fit. Returns how many CPUs started. BSP, once.
 */
uint32_t smp_start_all(const uint32_t *apic_ids, size_t count, hpa_t trampoline,
		       bool (*fits)(char *why, size_t bytes));

/*
 * Runs fn(arg) on every online CPU, this one included, and returns when all are done. On the other
 * CPUs fn runs in the handler of a kick with interrupts off: it must be short, and must take no
 * lock that the BSP may hold now. A CPU in a guest or in HLT runs it at once, another one after its
 * exit or turn. BSP only, any time after smp_start_all; the caller holds no lock.
 */
void smp_call_all(void (*fn)(void *arg), void *arg);

/* For the kick's handler: runs the function of smp_call_all if this CPU has not run it yet. */
void smp_do_work(void);

/* Makes every AP call fn (the scheduler's loop), which does not return. BSP only, once. */
void smp_release(void (*fn)(void));

/*
 * Sends an interrupt whose handler need do nothing: it takes that CPU out of guest mode or HLT. Any
 * CPU.
 */
void smp_kick(uint32_t cpu_index);

/*
 * For panic and power-off: stops the other CPUs for good (NMI), on the bootstrap tables and with
 * their caches written back. Waits at most a second. Any CPU, at any time, also before the others
 * start and after they have stopped.
 */
void smp_stop_others(void);

#endif
