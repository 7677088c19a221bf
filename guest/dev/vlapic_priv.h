/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the three files of the virtual local APIC. */
#ifndef UMBRA_GUEST_DEV_VLAPIC_PRIV_H
#define UMBRA_GUEST_DEV_VLAPIC_PRIV_H

#include "guest/dev/vlapic.h"
#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"

/* SDM vol. 3, "Local APIC Register Address Map"; in x2APIC mode the MSR is 800H + offset / 16. */
#define APIC_ID		   0x020u
#define APIC_VERSION	   0x030u
#define APIC_TPR	   0x080u
#define APIC_APR	   0x090u
#define APIC_PPR	   0x0a0u
#define APIC_EOI	   0x0b0u
#define APIC_RRD	   0x0c0u
#define APIC_LDR	   0x0d0u
#define APIC_DFR	   0x0e0u
#define APIC_SVR	   0x0f0u
#define APIC_ISR	   0x100u /* this, TMR and IRR have 8 registers each, 16 bytes apart */
#define APIC_TMR	   0x180u
#define APIC_IRR	   0x200u
#define APIC_ESR	   0x280u
#define APIC_ICR_LOW	   0x300u
#define APIC_ICR_HIGH	   0x310u
#define APIC_LVT_TIMER	   0x320u
#define APIC_LVT_THERMAL   0x330u
#define APIC_LVT_PERF	   0x340u
#define APIC_LVT_LINT0	   0x350u
#define APIC_LVT_LINT1	   0x360u
#define APIC_LVT_ERROR	   0x370u
#define APIC_INITIAL_COUNT 0x380u
#define APIC_CURRENT_COUNT 0x390u
#define APIC_DIVIDE	   0x3e0u
#define APIC_SELF_IPI	   0x3f0u

#define APIC_VECTOR_WORDS 8u
/* SDM, "Valid Interrupt Vectors". */
#define APIC_FIRST_VECTOR 16u

/* SDM, "Spurious-Interrupt Vector Register". */
#define SVR_ENABLE BIT(8)

/* SDM, "Error Status Register". */
#define ESR_SEND_ILLEGAL_VECTOR	   BIT(5)
#define ESR_RECEIVE_ILLEGAL_VECTOR BIT(6)
#define ESR_ILLEGAL_REGISTER	   BIT(7)

/* SDM, "Local Vector Table". */
#define LVT_VECTOR	       MASK(7, 0)
#define LVT_DELIVERY_STATUS    BIT(12)
#define LVT_REMOTE_IRR	       BIT(14)
#define LVT_MASKED	       BIT(16)
#define LVT_TIMER_MODE	       MASK(18, 17)
#define LVT_TIMER_ONE_SHOT     0u
#define LVT_TIMER_PERIODIC     (1u << 17)
#define LVT_TIMER_TSC_DEADLINE (2u << 17)

/* Why the vCPU's own CPU must check before the next VM entry. */
#define ATTENTION_POSTED BIT(0) /* there are bits in posted[] */
#define ATTENTION_ERRORS BIT(1) /* there are bits in posted_errors */
#define ATTENTION_INIT	 BIT(2) /* an INIT came: go back to power-up state */

struct vlapic {
	struct vcpu *vcpu;
	uint8_t *page;	      /* vcpu->apic_page */
	uint64_t base;	      /* IA32_APIC_BASE */
	ATOMIC(uint8_t) mode; /* enum vcpu_apic_mode; other CPUs read it */
	ATOMIC(bool) enabled; /* software-enabled (SVR); other CPUs read it */

	/*
	 * Hardware owns PPR, EOI and the moves from IRR to ISR. It changes the page while the guest
	 * runs, and no software may change the page then (SDM, "Software Access to Related
	 * Structures").
	 */
	bool hardware;

	/* The words of IRR and ISR that may be nonzero, as bits; with hardware always all. */
	uint8_t irr_words;
	uint8_t isr_words;

	uint32_t errors; /* since the last write to ESR */

	/*
	 * The timer: the host TSC at which it fires (UINT64_MAX: stopped), and its period in TSC
	 * ticks (or 0).
	 */
	uint64_t deadline;
	uint64_t period;
	uint64_t tsc_deadline; /* IA32_TSC_DEADLINE */
	uint64_t tsc_offset;   /* guest TSC - host TSC when deadline was computed */
	uint32_t timer_mode;   /* the LVT_TIMER_* that is in force */
	uint32_t divide_shift;

	/*
	 * Used in vCPU 0's APIC only: whose turn it is among equals, for lowest-priority messages.
	 */
	ATOMIC(uint32_t) turn;

	/* Any CPU posts here: first the bits, then attention. */
	ATOMIC(uint32_t) attention __attribute__((aligned(64)));
	ATOMIC(uint32_t) posted_errors;
	ATOMIC(uint64_t) posted[4];
	ATOMIC(uint64_t) posted_level[4]; /* for posted vectors: whether they are level-triggered */
};

static inline struct vlapic *vlapic_of(const struct vcpu *vcpu)
{
	return vcpu->platform;
}

static inline bool is_x2apic(const struct vlapic *v)
{
	return atomic_load_relaxed(&v->mode) == VCPU_APIC_X2;
}

static inline uint32_t reg_get(const struct vlapic *v, uint32_t offset)
{
	return __atomic_load_n((uint32_t *)(void *)(v->page + offset), __ATOMIC_RELAXED);
}

static inline void reg_set(struct vlapic *v, uint32_t offset, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)(v->page + offset), value, __ATOMIC_RELAXED);
}

/*
 * In vlapic.c: sets registers to their power-up state. INIT keeps ID, IA32_APIC_BASE and the mode.
 */
void vlapic_reset(struct vlapic *v);

/* In vlapic_irq.c, on the own CPU: */

/* Puts the vector into IRR as an edge. A vector below APIC_FIRST_VECTOR is an error instead. */
void vlapic_raise(struct vlapic *v, uint32_t vector);
/* Records an error for ESR, and raises the error LVT if it is not masked. */
void vlapic_error(struct vlapic *v, uint32_t error);
/* Merges what other CPUs have posted. */
void vlapic_merge(struct vlapic *v);
/* Clears all pending, in-service and posted interrupts. */
void vlapic_irq_reset(struct vlapic *v);
/* SDM, "Task and Processor Priorities". */
uint32_t vlapic_ppr(struct vlapic *v);
/*
 * Passes the content of the page on to hardware, if hardware delivers interrupts. Call after a
 * change of mode.
 */
void vlapic_irq_sync(struct vlapic *v);
/* Sends the message of an ICR value. */
void vlapic_icr_send(struct vlapic *v, uint64_t icr);

/* In vlapic_timer.c, on the own CPU: */

void vlapic_timer_reset(struct vlapic *v);
/* Call when the deadline has passed: raises the vector and sets the next deadline. */
void vlapic_timer_fire(struct vlapic *v, uint64_t now);
/*
 * Call after a write to the timer's LVT, initial count or divider; the value is in the page
 * already.
 */
void vlapic_timer_lvt_written(struct vlapic *v);
void vlapic_timer_count_written(struct vlapic *v);
void vlapic_timer_divide_written(struct vlapic *v);
uint32_t vlapic_timer_count(const struct vlapic *v);
void vlapic_timer_set_tsc_deadline(struct vlapic *v, uint64_t guest_tsc);

/* Updates the registers: merges posted interrupts, and fires an expired timer. */
static inline void vlapic_update(struct vlapic *v)
{
	uint64_t now = cpu_rdtsc();

	if (__builtin_expect(atomic_load_relaxed(&v->attention) != 0, 0)) {
		vlapic_merge(v);
	}
	if (__builtin_expect(now >= v->deadline, 0)) {
		vlapic_timer_fire(v, now);
	}
}

#endif
