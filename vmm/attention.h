/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attention word: what a vCPU has to look at before VM entry, one bit for each. Any CPU sets
 * bits. The vCPU's own CPU clears them; only vcpu_init_signal, on any CPU, also clears an earlier
 * SIPI. A CPU that sets a bit for a vCPU of another CPU first stores what the bit is about, and
 * sets ATTENTION_KICKED together with the bit. If ATTENTION_KICKED was clear before, it sends that
 * other CPU an interrupt. The vCPU's CPU clears ATTENTION_KICKED, then looks, with interrupts off
 * from the look to VM entry or HLT. Setting and clearing are full barriers, so nothing is missed.
 *
 * The public functions are vcpu_kick, vcpu_nmi, vcpu_init_signal, vcpu_sipi, vcpu_ask_dump and
 * vcpu_add_work (vcpu.h), and vm_end (vm.h).
 */
#ifndef UMBRA_VMM_ATTENTION_H
#define UMBRA_VMM_ATTENTION_H

#include "vmm/vcpu.h"

/* Checked by the run loop before each entry. */
#define ATTENTION_KICKED (1u << 0) /* set by another CPU: take the requests, call the hooks */
#define ATTENTION_EVENTS (1u << 1) /* call the hooks for interrupts and deadlines */
/* APIC mode, EOI-exit bitmap or TSC offset must go to the VMCS. */
#define ATTENTION_CONTROLS (1u << 2)
#define ATTENTION_WORK	   (1u << 3) /* device work is left (vm_hooks.work) */
/* All of these. */
#define ATTENTION_ENTRY (ATTENTION_KICKED | ATTENTION_EVENTS | ATTENTION_CONTROLS | ATTENTION_WORK)

/* Requests, which are taken after a kick. If INIT and SIPI are set, INIT comes first. */
#define ATTENTION_INIT		    (1u << 4)
#define ATTENTION_SIPI		    (1u << 5) /* with the vector in bits 31:24 */
#define ATTENTION_DUMP		    (1u << 6)
#define ATTENTION_SIPI_VECTOR_SHIFT 24
#define ATTENTION_SIPI_VECTOR	    (0xffu << ATTENTION_SIPI_VECTOR_SHIFT)
#define ATTENTION_REQUESTS \
	(ATTENTION_INIT | ATTENTION_SIPI | ATTENTION_DUMP | ATTENTION_SIPI_VECTOR)

/*
 * One bit for each pending NMI. A CPU handles one NMI and latches one more meanwhile, so at most
 * two are pending before the first is taken.
 */
#define ATTENTION_NMI	     (1u << 7)
#define ATTENTION_SECOND_NMI (1u << 8)
#define ATTENTION_NMIS	     (ATTENTION_NMI | ATTENTION_SECOND_NMI)

/*
 * Returns the bits that were set before. Any CPU; a CPU that does not run the vCPU must also kick
 * it.
 */
static inline uint32_t attention_set(struct vcpu *vcpu, uint32_t bits)
{
	return atomic_or(&vcpu->attention, bits);
}

/* Returns the bits that were set before. Own CPU. */
static inline uint32_t attention_clear(struct vcpu *vcpu, uint32_t bits)
{
	return atomic_and(&vcpu->attention, ~bits);
}

/* Which of these bits are set now. Any CPU. */
static inline uint32_t attention_has(const struct vcpu *vcpu, uint32_t bits)
{
	return atomic_load(&vcpu->attention) & bits;
}

/* Adds one pending NMI. Any CPU, which then kicks the vCPU. */
static inline void attention_latch_nmi(struct vcpu *vcpu)
{
	if ((attention_set(vcpu, ATTENTION_NMI) & ATTENTION_NMI) != 0) {
		(void)attention_set(vcpu, ATTENTION_SECOND_NMI); /* a third NMI is lost */
	}
}

/*
 * As vcpu_kick, but sends the interrupt even if a kick is pending. While a VM is paused no CPU
 * takes its vCPUs' kicks, so an earlier one may still be pending; vcpu_kick would then send no
 * interrupt. Any CPU.
 */
void vcpu_rouse(struct vcpu *vcpu);

/*
 * Ends the VM if no vCPU can ever run again: each halts with interrupts off or waits for SIPI, and
 * no NMI, INIT or SIPI is pending. Any CPU, after it stored the state of its own vCPU.
 */
void vm_check_halted(struct vm *vm);

#endif
