/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one CPU asks of a vCPU that another CPU runs: to look up, to take an NMI, INIT or SIPI, to
 * log its registers, to stop because its VM ends. Each sets an atomic flag, then kicks; the vCPU's
 * own CPU takes the flags in vcpu_run.c. No locks.
 */
#include "vmm/attention.h"

#include "vmm/base/str.h"
#include "vmm/sched.h"
#include "vmm/vcpu_priv.h"

void vcpu_kick(struct vcpu *vcpu)
{
	/* One interrupt is enough until its CPU has looked. */
	if (__atomic_exchange_n(&vcpu->kicked, 1, __ATOMIC_SEQ_CST) == 0) {
		sched_kick(vcpu);
	}
}

void vcpu_nmi(struct vcpu *vcpu)
{
	vcpu_latch_nmi(vcpu);
	vcpu_kick(vcpu);
}

void vcpu_ask_dump(struct vcpu *vcpu)
{
	__atomic_or_fetch(&vcpu->priv->requests, VCPU_REQUEST_DUMP, __ATOMIC_ACQ_REL);
	vcpu_kick(vcpu);
}

void vcpu_add_work(struct vcpu *vcpu)
{
	vcpu->work = true;
	__atomic_store_n(&vcpu->kicked, 1, __ATOMIC_SEQ_CST); /* who halts now looks again */
}

void vcpu_init_signal(struct vcpu *vcpu)
{
	/* A SIPI from before the INIT is lost. */
	__atomic_store_n(&vcpu->priv->requests, VCPU_REQUEST_INIT, __ATOMIC_RELEASE);
	vcpu_kick(vcpu);
}

void vcpu_sipi(struct vcpu *vcpu, uint8_t vector)
{
	uint32_t old = __atomic_load_n(&vcpu->priv->requests, __ATOMIC_RELAXED);
	uint32_t wanted;

	do {
		if ((old & VCPU_REQUEST_SIPI) != 0) {
			return; /* the first one counts */
		}
		wanted = old | VCPU_REQUEST_SIPI | (uint32_t)vector << 8;
	} while (!__atomic_compare_exchange_n(&vcpu->priv->requests, &old, wanted, false,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	vcpu_kick(vcpu);
}

void vcpu_rouse(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->kicked, 1, __ATOMIC_SEQ_CST);
	sched_kick(vcpu);
}

void vm_end(struct vm *vm, enum vm_end_reason reason, const char *detail)
{
	enum vm_end_reason none = VM_END_NONE;

	if (!__atomic_compare_exchange_n(&vm->end_reason, &none, reason, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED)) {
		return;
	}
	if (detail != NULL) {
		(void)str_copy(vm->end_detail, sizeof(vm->end_detail), detail);
	}
	__atomic_store_n(&vm->state, VM_ENDING, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vcpu_rouse(vm->vcpus[i]);
	}
}

void vm_check_halted(struct vm *vm)
{
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		const struct vcpu *vcpu = vm->vcpus[i];
		enum vcpu_run_state state = __atomic_load_n(&vcpu->state, __ATOMIC_SEQ_CST);

		if (state == VCPU_RUNNABLE ||
		    (state == VCPU_HALTED &&
		     __atomic_load_n(&vcpu->priv->halted_if, __ATOMIC_RELAXED)) ||
		    __atomic_load_n(&vcpu->nmi_pending, __ATOMIC_RELAXED) != 0 ||
		    __atomic_load_n(&vcpu->priv->requests, __ATOMIC_RELAXED) != 0) {
			return;
		}
	}
	vm_end(vm, VM_END_HALTED, NULL);
}
