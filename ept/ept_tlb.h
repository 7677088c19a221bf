/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps track of CPUs that may hold an old translation of an EPT that was changed.
 *
 * Every EPT root has a generation, and a mask of the CPUs that may enter the guest with it. Code
 * that takes rights away (unmap, move, protect) then calls ept_tlb_shootdown. That advances the
 * generation, sends an interrupt to the CPUs of the mask that are in guest mode with this root, and
 * waits until each of them has left. Before every VM entry a CPU compares the generation, with
 * interrupts off, and runs INVEPT if its own is older. A CPU in host mode uses no guest
 * translation, so nothing waits for it: a CPU that spins on a lock cannot block a shoot-down.
 */
#ifndef UMBRA_EPT_TLB_H
#define UMBRA_EPT_TLB_H

#include "vmm/base/atomic.h"
#include "vmm/base/percpu.h"
#include "vmm/base/types.h"

struct ept_root {
	hpa_t pml4;	   /* the top table */
	uint64_t eptp;	   /* SDM, "Extended-Page-Table Pointer (EPTP)": for INVEPT and the VMCS */
	uint64_t reserved; /* pages that are set aside for tables (ept_reserve) */
	bool reserves;	   /* pages were set aside, and tables came from there */
	ATOMIC(uint64_t) generation; /* advanced by ept_tlb_shootdown */
	/* For each CPU: the generation of its last INVEPT for this root. */
	ATOMIC(uint64_t) seen[CPU_MAX];
	/* One bit for each CPU that may enter with this root. */
	ATOMIC(uint64_t) cpus[CPU_MAX / 64];
};

/* For ept_tlb_enter only: runs INVEPT on this CPU and notes that it has seen the generation. */
void ept_tlb_catch_up(struct ept_root *root, uint64_t generation);

/*
 * For ept_tlb_enter only: removes this CPU from the mask that it is in, and adds it to the root's.
 */
void ept_tlb_join(struct ept_root *root);

/*
 * Removes this CPU from the root's mask if it is in it. In host mode. Before a root is destroyed,
 * each CPU that has entered with it must have called this or entered with another root.
 */
void ept_tlb_part(struct ept_root *root);

/*
 * The last step before VM entry, interrupts off. Joins the root's mask, publishes that this CPU
 * runs the root, then runs INVEPT if its translations are older than the root's generation. The
 * order matters: this side joins and publishes, then compares; a shoot-down advances the
 * generation, then reads who has joined and published.
 */
static inline void ept_tlb_enter(struct ept_root *root)
{
	struct percpu *cpu = percpu_self();
	uint64_t now;

	if (__builtin_expect(cpu->joined_root != root, 0)) {
		ept_tlb_join(root);
	}
	/* XCHG is the full barrier between P and C (ept_tlb.c). */
	atomic_store(&cpu->guest_root, root);
	now = atomic_load_acquire(&root->generation);
	if (__builtin_expect(atomic_load_relaxed(&root->seen[cpu->index]) != now, 0)) {
		ept_tlb_catch_up(root, now);
	}
}
/* The first step after VM exit. */
static inline void ept_tlb_leave(void)
{
	/*
	 * Release: the guest's accesses come before; x86 does not move a load or store behind a
	 * later store.
	 */
	atomic_store_release(&percpu_self()->guest_root, NULL);
}

/* Called after entries were changed. On return no CPU uses a translation from before the call. */
void ept_tlb_shootdown(struct ept_root *root);

#endif
