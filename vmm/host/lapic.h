/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's local APIC, in xAPIC or x2APIC mode as firmware left it (SDM vol. 3, "APIC"). */
#ifndef UMBRA_HOST_LAPIC_H
#define UMBRA_HOST_LAPIC_H

#include "vmm/base/types.h"

/* The host's interrupt vectors. Any other vector is unexpected: it is counted and acknowledged. */
#define VECTOR_TIMER	0xf0
#define VECTOR_KICK	0xf1
#define VECTOR_SPURIOUS 0xff

/*
 * Enables this CPU's LAPIC with every LVT but the timer's masked and TPR 0, and acknowledges the
 * interrupts that firmware left in service. The call on the BSP comes first: it finds out how to
 * reach the APICs, masks the 8259s, and calibrates the timer where there is no TSC deadline. On
 * each CPU once, after tsc_init, on the hypervisor's page tables.
 */
void lapic_init_this_cpu(void);
/* This CPU's APIC ID; only after lapic_init_this_cpu on the BSP. */
uint32_t lapic_id(void);
bool lapic_is_x2apic(void);
/*
 * Can a CPU with this APIC ID be reached? An ID above 254 needs x2APIC mode. If firmware left xAPIC
 * mode and the CPU supports x2APIC, this call switches this CPU to it; CPUs that start later
 * follow. BSP, after lapic_init_this_cpu and before another CPU starts; a later call only answers.
 */
bool lapic_reaches(uint32_t apic_id);
void lapic_eoi(void);
void lapic_send_ipi(uint32_t apic_id, uint8_t vector);
void lapic_send_nmi(uint32_t apic_id);
void lapic_send_init(uint32_t apic_id);
/* Sends INIT to every CPU but this one, also to CPUs that are not in the MADT. */
void lapic_send_init_others(void);
void lapic_send_sipi(uint32_t apic_id, uint8_t page);

/*
 * Requests one interrupt on VECTOR_TIMER when the TSC reaches deadline (at once if that is past); 0
 * cancels. Without TSC deadline the interrupt comes after at most a second: the handler must check
 * the time and arm the timer again.
 */
void lapic_timer_arm(uint64_t tsc_deadline);

/*
 * Halts with interrupts on until an interrupt comes, at most until the TSC reaches the deadline
 * (UINT64_MAX: for any time). Uses the timer. Interrupts off, as afterwards.
 */
void lapic_idle_until(uint64_t tsc_deadline);

#endif
