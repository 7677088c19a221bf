/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time: how much VMs have had, and what is charged apart from slices. */
#include "vmm/base/tsc.h"
#include "vmm/sched_priv.h"
#include "vmm/vcpu_priv.h"

void sched_times(const struct vm *vm, struct sched_times *out)
{
	*out = (struct sched_times){ 0, 0 };
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		const struct sched_entity *entity = &vm->vcpus[i]->priv->sched;

		out->run += atomic_load_relaxed(&entity->run_ticks);
		out->steal += atomic_load_relaxed(&entity->steal_ticks);
	}
}

void sched_exempt(uint64_t ticks)
{
	struct run_queue *queue = &queues[percpu_self()->index];

	if (queue->run_end != 0) {
		queue->run_end += ticks;
	}
}

/*
 * The vCPU starts ahead of all queues, so it waits until the others have caught up, but no longer
 * than a vCPU that moves.
 */
void sched_bill(struct vcpu *vcpu, uint64_t ticks)
{
	const uint64_t had = ticks * SCHED_WEIGHT_DEFAULT /
			     MAX(atomic_load_relaxed(&vcpu->vm->weight), 1u);
	struct sched_entity *entity = &vcpu->priv->sched;

	atomic_add_own(&entity->run_ticks, ticks);
	entity->virtual_time = sched_front() + MIN(had, tsc_from_us(SCHED_LAG_US));
}
