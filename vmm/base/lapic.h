/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's local APIC, xAPIC or x2APIC as firmware left it (SDM vol. 3, "APIC"). */
#ifndef UMBRA_BASE_LAPIC_H
#define UMBRA_BASE_LAPIC_H

#include "vmm/base/types.h"

/* Vectors of the host. Everything else is unexpected, counted and acknowledged. */
#define VECTOR_TIMER	0xf0
#define VECTOR_KICK	0xf1
#define VECTOR_SPURIOUS 0xff

/*
 * Enables this CPU's LAPIC with every LVT but the timer's masked, TPR 0; acknowledges what firmware
 * left in service. The BSP is first: it finds out how APICs are reached, masks the 8259s, and
 * measures the timer where there is no TSC deadline. Each CPU once, after tsc_init, on our tables.
 */
void lapic_init_this_cpu(void);
/* This CPU's APIC ID; only after lapic_init_this_cpu on the BSP. */
uint32_t lapic_id(void);
bool lapic_is_x2apic(void);
/*
 * Can a CPU with this APIC ID be reached? An ID above 254 needs x2APIC mode: where firmware left
 * xAPIC mode and the CPU has the other, this CPU goes there, and so do those that start later. BSP,
 * after lapic_init_this_cpu, before another CPU starts (later, for the answer alone).
 */
bool lapic_reaches(uint32_t apic_id);
void lapic_eoi(void);
void lapic_send_ipi(uint32_t apic_id, uint8_t vector);
void lapic_send_nmi(uint32_t apic_id);
void lapic_send_init(uint32_t apic_id);
/* INIT to every CPU but this one, whether anybody knows of it or not. */
void lapic_send_init_others(void);
void lapic_send_sipi(uint32_t apic_id, uint8_t page);

/*
 * One interrupt on VECTOR_TIMER when the TSC reaches deadline (at once if past); 0 disarms. Without
 * TSC deadline it comes after a second at the latest: look at the clock and arm again.
 */
void lapic_timer_arm(uint64_t tsc_deadline);

#endif
