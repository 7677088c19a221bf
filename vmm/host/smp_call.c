/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the BSP makes all CPUs run a function. There is one slot for a function. Only the BSP writes
 * it, then advances a sequence number and kicks the other CPUs. The kick's handler calls the
 * function, so it runs whatever the CPU does: the kick also takes a CPU out of a guest or HLT.
 */
#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/panic.h"
#include "vmm/base/percpu.h"
#include "vmm/base/waits.h"
#include "vmm/host/lapic.h"
#include "vmm/host/smp.h"
#include "vmm/host/smp_priv.h"

static struct {
	ATOMIC(uint32_t) sequence; /* advanced after fn and arg are set */
	ATOMIC(uint32_t) done;	   /* CPUs that have finished */
	void (*fn)(void *arg);
	void *arg;
} work;

void smp_do_work(void)
{
	struct percpu *cpu = percpu_self();
	uint32_t sequence = atomic_load_acquire(&work.sequence);

	if (sequence != cpu->work_seen) {
		cpu->work_seen = sequence;
		work.fn(work.arg);
		atomic_add(&work.done, 1);
	}
}

void smp_call_skip(void)
{
	percpu_self()->work_seen = atomic_load_acquire(&work.sequence);
}

void smp_kick(uint32_t cpu_index)
{
	lapic_send_ipi(percpu_get(cpu_index)->apic_id, VECTOR_KICK);
}

void smp_kick_others(void)
{
	for (uint32_t i = 1; i < percpu_count(); i++) {
		smp_kick(i);
	}
}

void smp_call_all(void (*fn)(void *arg), void *arg)
{
	uint64_t began;

	CHECK(percpu_self()->index == 0);
	work.fn = fn;
	work.arg = arg;
	atomic_store_relaxed(&work.done, 0);
	percpu_self()->work_seen = atomic_add(&work.sequence, 1) + 1;
	smp_kick_others();
	fn(arg);
	began = waits_begin();
	while (atomic_load_acquire(&work.done) != percpu_count() - 1) {
		cpu_pause();
	}
	waits_end(WAIT_OTHER, began);
}
