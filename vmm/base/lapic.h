/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's local APIC, xAPIC or x2APIC as firmware left it (SDM vol. 3, "APIC"). */
#ifndef UMBRA_BASE_LAPIC_H
#define UMBRA_BASE_LAPIC_H

#include "vmm/base/types.h"

/* Vectors of the host. Everything else is unexpected, counted and acknowledged. */
#define VECTOR_TIMER	0xf0
#define VECTOR_KICK	0xf1
#define VECTOR_SPURIOUS 0xff

/* Software-enables this CPU's LAPIC with every LVT masked, TPR 0. Each CPU once. */
void lapic_init_this_cpu(void);
uint32_t lapic_id(void);
void lapic_eoi(void);
void lapic_send_ipi(uint32_t apic_id, uint8_t vector);
void lapic_send_nmi(uint32_t apic_id);
void lapic_send_init(uint32_t apic_id);
void lapic_send_sipi(uint32_t apic_id, uint8_t page);

/* One interrupt on VECTOR_TIMER when the TSC reaches deadline (at once if past); 0 disarms. */
void lapic_timer_arm(uint64_t tsc_deadline);

#endif
