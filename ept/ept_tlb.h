/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPU may still hold a translation of an EPT that was changed.
 *
 * Every EPT root has a generation, and a mask of the CPUs that may enter the guest with it. A
 * change that takes rights away (unmap, move, protect) calls ept_tlb_shootdown: it advances the
 * generation and sends an interrupt to the CPUs of the mask that are in guest mode with this root,
 * then waits until each of them has left. A CPU compares the generation before every VM entry, with
 * interrupts off, and runs INVEPT when it is behind. A CPU in host mode uses no guest translation,
 * so it owes no answer: one that spins on a lock cannot block a shoot-down.
 */
#ifndef UMBRA_EPT_TLB_H
#define UMBRA_EPT_TLB_H

#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

struct ept_root {
	hpa_t pml4; /* the top table */
	uint64_t
		eptp; /* SDM, "Extended-Page-Table Pointer (EPTP)"; what INVEPT and the VMCS take */
	uint64_t reserved;	     /* tables that are set aside for it (ept_reserve) */
	bool reserves;		     /* and its tables came from there */
	uint64_t generation;	     /* advanced by ept_tlb_shootdown; atomic */
	uint64_t seen[CPU_MAX];	     /* per CPU: the generation of its last INVEPT for this root */
	uint64_t cpus[CPU_MAX / 64]; /* those that may enter with it, by index; atomic */
};

/* For ept_tlb_enter alone: INVEPT on this CPU, which has then seen the generation. */
void ept_tlb_catch_up(struct ept_root *root, uint64_t generation);

/* For ept_tlb_enter alone: this CPU leaves the mask that it is in, and is in the root's. */
void ept_tlb_join(struct ept_root *root);

/*
 * This CPU leaves the root's mask if it is in it. In host mode. The root must not end before each
 * CPU that has entered with it did so, or entered with another one.
 */
void ept_tlb_part(struct ept_root *root);

/*
 * Last step before VM entry, interrupts off: joins the root's mask, publishes that this CPU runs
 * root, and runs INVEPT when its translations are older than the root's generation. Order: join and
 * publish, then compare; the other side advances, then looks who has joined and published.
 */
static inline void ept_tlb_enter(struct ept_root *root)
{
	struct percpu *cpu = percpu_self();
	uint64_t now;

	if (__builtin_expect(cpu->joined_root != root, 0)) {
		ept_tlb_join(root);
	}
	/* XCHG: the full barrier between P and C (ept_tlb.c). */
	__atomic_store_n(&cpu->guest_root, root, __ATOMIC_SEQ_CST);
	now = __atomic_load_n(&root->generation, __ATOMIC_ACQUIRE);
	if (__builtin_expect(root->seen[cpu->index] != now, 0)) {
		ept_tlb_catch_up(root, now);
	}
}
/* First step after VM exit. */
static inline void ept_tlb_leave(void)
{
	/* Release: what the guest did comes before; x86 does not let it pass a later store. */
	__atomic_store_n(&percpu_self()->guest_root, NULL, __ATOMIC_RELEASE);
}

/* After entries were changed: on return no CPU uses a translation from before the call. */
void ept_tlb_shootdown(struct ept_root *root);

#endif
