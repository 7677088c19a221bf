/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a CPU to a vCPU that another CPU runs: check pending events, take an NMI, INIT or
 * SIPI, log the registers, stop because the VM ends. attention.h describes the protocol. No locks.
 */
#include "vmm/attention.h"

#include "vmm/base/str.h"
#include "vmm/sched_slice.h"
#include "vmm/vcpu_priv.h"

static void kick(struct vcpu *vcpu, uint32_t before)
{
	/* One interrupt is enough until the other CPU has checked. */
	if ((before & ATTENTION_KICKED) == 0) {
		sched_kick(vcpu);
	}
}

void vcpu_kick(struct vcpu *vcpu)
{
	kick(vcpu, attention_set(vcpu, ATTENTION_KICKED));
}

void vcpu_nmi(struct vcpu *vcpu)
{
	attention_latch_nmi(vcpu);
	vcpu_kick(vcpu);
}

void vcpu_ask_dump(struct vcpu *vcpu)
{
	kick(vcpu, attention_set(vcpu, ATTENTION_DUMP | ATTENTION_KICKED));
}

/* Sends no interrupt: it runs on the vCPU's own CPU, which checks the bits before it halts. */
void vcpu_add_work(struct vcpu *vcpu)
{
	(void)attention_set(vcpu, ATTENTION_WORK | ATTENTION_KICKED);
}

void vcpu_init_signal(struct vcpu *vcpu)
{
	const uint32_t sipi = ATTENTION_SIPI | ATTENTION_SIPI_VECTOR;
	uint32_t old = atomic_load_relaxed(&vcpu->attention);

	/* A SIPI that was sent before the INIT is lost. */
	while (!atomic_cas(&vcpu->attention, &old,
			   (old & ~sipi) | ATTENTION_INIT | ATTENTION_KICKED)) {
	}
	kick(vcpu, old);
}

void vcpu_sipi(struct vcpu *vcpu, uint8_t vector)
{
	const uint32_t bits = ATTENTION_SIPI | ATTENTION_KICKED |
			      (uint32_t)vector << ATTENTION_SIPI_VECTOR_SHIFT;
	uint32_t old = atomic_load_relaxed(&vcpu->attention);

	do {
		if ((old & ATTENTION_SIPI) != 0) {
			return; /* only the first one counts */
		}
	} while (!atomic_cas(&vcpu->attention, &old, old | bits));
	kick(vcpu, old);
}

void vcpu_rouse(struct vcpu *vcpu)
{
	(void)attention_set(vcpu, ATTENTION_KICKED);
	sched_kick(vcpu);
}

void vm_end(struct vm *vm, enum vm_end_reason reason, const char *detail)
{
	enum vm_end_reason none = VM_END_NONE;

	if (!atomic_cas(&vm->end_reason, &none, reason)) {
		return;
	}
	if (detail != NULL) {
		(void)str_copy(vm->end_detail, sizeof(vm->end_detail), detail);
	}
	atomic_store(&vm->state, VM_ENDING);
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vcpu_rouse(vm->vcpus[i]);
	}
}

void vm_check_halted(struct vm *vm)
{
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		const struct vcpu *vcpu = vm->vcpus[i];
		/*
		 * The order matters: a CPU that takes a request first stores VCPU_RUNNABLE, then
		 * clears the request. If this function read the states first, it could miss both
		 * for a vCPU that wakes in between.
		 */
		bool comes = attention_has(vcpu, ATTENTION_NMIS | ATTENTION_INIT | ATTENTION_SIPI);
		enum vcpu_run_state state = atomic_load(&vcpu->state);

		if (comes || state == VCPU_RUNNABLE ||
		    (state == VCPU_HALTED && atomic_load_relaxed(&vcpu->priv->halted_if))) {
			return;
		}
	}
	vm_end(vm, VM_END_HALTED, NULL);
}
