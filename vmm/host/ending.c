/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/host/ending.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/lock.h"
#include "vmm/base/x86.h"
#include "vmm/host/topology.h"

static ATOMIC(void (*)(void)) wipe_keys; /* NULL: nothing to wipe, or wiped already */
static ATOMIC(uint64_t) ender;		 /* APIC ID + 1 of the CPU that ends the machine; 0: none */

/* The APIC ID comes from CPUID, which works in any state of the machine, unlike percpu_self. */
void ending_claim(void)
{
	const uint64_t self = topology_this_cpu().apic_id + 1ul;
	uint64_t found = 0;

	if (!atomic_cas(&ender, &found, self) && found != self) {
		ending_clear_registers(); /* no NMI stops it if it is in an NMI's handler */
		cpu_stop();
	}
	lock_check_stop();
}

void ending_set_wipe(void (*wipe)(void))
{
	atomic_store_release(&wipe_keys, wipe);
}

/*
 * Where page keys are wrapped, a kernel that was interrupted has expanded keys in zmm registers. It
 * runs with their bits set in XCR0. The checks keep an exception from being the first thing that a
 * panic does.
 */
void ending_clear_registers(void)
{
	const uint64_t state = XCR0_SSE | XCR0_AVX | XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM;

	cpu_clear_debug_registers();
	if ((cpu_read_cr4() & CR4_OSXSAVE) != 0 && (cpu_read_cr0() & (CR0_TS | CR0_EM)) == 0 &&
	    (cpu_xgetbv(0) & state) == state) {
		cpu_clear_vector_registers();
	}
}

void ending_wipe(void)
{
	void (*wipe)(void);

	ending_claim();
	ending_clear_registers();
	wipe = atomic_load_acquire(&wipe_keys);
	if (wipe != NULL) {
		wipe();
		atomic_store_release(&wipe_keys, NULL);
	}
}
