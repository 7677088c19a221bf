/* SPDX-License-Identifier: Apache-2.0 */
/* The data of each CPU, reached through GS. Index 0 is the bootstrap processor. */
#ifndef UMBRA_BASE_PERCPU_H
#define UMBRA_BASE_PERCPU_H

#include "vmm/base/atomic.h"
#include "vmm/base/types.h"

#define CPU_MAX 256

struct vcpu;
struct ept_root;

/* The reasons for which a CPU waits for another CPU (waits.h). */
enum wait_kind {
	WAIT_WINDOW,	/* the pager's window_lock */
	WAIT_MEMORY,	/* a VM's gmem.lock */
	WAIT_LOCK,	/* any other lock */
	WAIT_PAGE,	/* a page that another CPU opens or seals */
	WAIT_FRAME,	/* a frame, or the end of others' exchanges */
	WAIT_SHOOTDOWN, /* an answer to a shoot-down */
	WAIT_OTHER,	/* a function that all CPUs run, a vCPU, a range that moves */
	WAIT_KINDS
};

/* The fields are in three groups by use, and no group shares a cache line with another. */
struct percpu {
	/* Read by this CPU and by others; rarely written once the CPU is up. */
	struct percpu *self; /* first, for mov rax, gs:0 */
	uint32_t index;
	uint32_t apic_id;
	bool mtrrs_differed; /* smp: they differed from the BSP's at start */
	void *vmxon_region;  /* vmm */
	/* host_paging: page-table entry and address of slot 0. Slot n has entry 2 * n ... */
	uint64_t *slot_entries;
	uint8_t *slot_pages; /* ... and page 2 * n */
	void *tables;	     /* GDT, TSS and stacks; owned by idt.c */
	void *stack_top;

	/*
	 * Written by this CPU at each exit, at each turn of the scheduler, or in interrupt
	 * handlers.
	 */
	struct vcpu *vcpu __attribute__((aligned(64))); /* vmm: its VMCS is current; NULL: none */
	uint32_t work_seen; /* smp_call: number of the last call that it ran */
	/* idt: counts of interrupts. */
	uint64_t kick_count;
	uint64_t timer_count;
	uint64_t unexpected_count; /* on vectors without a handler */
	uint64_t nmi_count;
	uint64_t locks_held; /* lock_check.c: one bit for each rank */
	/* waits.h: TSC ticks that this CPU has waited for others. Others read them. */
	ATOMIC(uint64_t) wait_ticks[WAIT_KINDS];

	/*
	 * ept_tlb: guest_root is the EPT root with which this CPU is in guest mode (NULL: it is not
	 * in guest mode). This CPU writes it at each entry and exit, and other CPUs read it.
	 * joined_root is the root whose set of CPUs contains this CPU.
	 */
	ATOMIC(struct ept_root *) guest_root __attribute__((aligned(64)));
	struct ept_root *joined_root;
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct percpu, vcpu) % 64 == 0 &&
		       offsetof(struct percpu, guest_root) % 64 == 0 &&
		       offsetof(struct percpu, guest_root) >= offsetof(struct percpu, vcpu) + 64 &&
		       sizeof(struct percpu) == offsetof(struct percpu, guest_root) + 64,
	       "a line that is written has one use");

/* This CPU's block. Only after this CPU has called percpu_load. */
static inline struct percpu *percpu_self(void);

/* Number of CPUs that are online; constant after smp_start_all. */
uint32_t percpu_count(void);
/* By index below percpu_count(). */
struct percpu *percpu_get(uint32_t index);

/*
 * Appends the block of a CPU that is up; its index must be the next. BSP only, before smp_release.
 */
void percpu_register(struct percpu *cpu);
/* Makes GS of this CPU point to the block. */
void percpu_load(struct percpu *cpu);

#ifdef UMBRA_HOST_TEST
struct percpu *percpu_fake_self(void);
static inline struct percpu *percpu_self(void)
{
	return percpu_fake_self();
}
#else
static inline struct percpu *percpu_self(void)
{
	struct percpu *self;

	__asm__ volatile("movq %%gs:0, %0" : "=r"(self));
	return self;
}
#endif

#endif
