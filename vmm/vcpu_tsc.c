/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's TSC: the host's plus an offset in the VMCS. No lock. */
#include "vmm/vcpu_tsc.h"

#include "vmm/attention.h"
#include "vmm/base/cpu.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx_insn.h"

uint64_t vcpu_guest_tsc(const struct vcpu *vcpu, uint64_t host_tsc)
{
	return host_tsc + vcpu->priv->tsc_offset;
}

void vcpu_skip_time(struct vcpu *vcpu, uint64_t ticks)
{
	vcpu->priv->tsc_offset -= ticks;
	(void)attention_set(vcpu, ATTENTION_CONTROLS);
}

static void set_tsc_offset(struct vcpu *vcpu, uint64_t offset)
{
	vcpu->priv->tsc_offset = offset;
	vmwrite(VMCS_TSC_OFFSET, offset);
	(void)attention_set(vcpu, ATTENTION_EVENTS); /* deadlines are in guest time */
}

/* SDM vol. 3, "IA32_TSC_ADJUST MSR": a write to one of the two changes both. */
void vcpu_write_tsc(struct vcpu *vcpu, uint64_t value)
{
	uint64_t change = value - vcpu_guest_tsc(vcpu, cpu_rdtsc());

	vcpu->priv->tsc_adjust += change;
	set_tsc_offset(vcpu, vcpu->priv->tsc_offset + change);
}

void vcpu_write_tsc_adjust(struct vcpu *vcpu, uint64_t value)
{
	uint64_t change = value - vcpu->priv->tsc_adjust;

	vcpu->priv->tsc_adjust = value;
	set_tsc_offset(vcpu, vcpu->priv->tsc_offset + change);
}
