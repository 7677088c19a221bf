/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU as an object: its pages, its VMCS, the CPU that holds it. It belongs to the CPU that runs
 * it; no lock. The run loop is in vcpu_run.c, requests of other CPUs in attention.c.
 */
#include "vmm/vcpu.h"

#include "ept/ept_tlb.h"
#include "vmm/apic_page.h"
#include "vmm/attention.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/page_alloc.h"
#include "vmm/msr.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmcs.h"
#include "vmm/vmx.h"
#include "vmm/vmx_insn.h"

#define VCPU_PAGES ((sizeof(struct vcpu) + PAGE_SIZE - 1) / PAGE_SIZE)
#define PRIV_PAGES ((sizeof(struct vcpu_private) + PAGE_SIZE - 1) / PAGE_SIZE)

int vcpu_create(struct vm *vm, uint32_t id, struct vcpu **out)
{
	struct vcpu *vcpu = page_alloc(VCPU_PAGES);

	if (vcpu == NULL) {
		return ERR_NOMEM;
	}
	vcpu->vm = vm;
	vcpu->id = id;
	atomic_store_relaxed(&vcpu->cpu, VCPU_NO_CPU);
	vcpu->vpid = (uint16_t)(vm->id * VM_VCPU_MAX + id + 1);
	atomic_store_relaxed(&vcpu->state, VCPU_WAIT_SIPI);
	vcpu->priv = page_alloc(PRIV_PAGES);
	vcpu->vmcs = page_alloc(1);
	vcpu->apic_page = page_alloc(1);
	if (vcpu->priv == NULL || vcpu->vmcs == NULL || vcpu->apic_page == NULL ||
	    vcpu_state_alloc(vcpu) != 0) {
		vcpu_destroy(vcpu);
		return ERR_NOMEM;
	}
	vcpu->priv->apic_mode = VCPU_APIC_X;
	vcpu->priv->loaded_cpu = VCPU_NO_CPU;
	vcpu->priv->tsc_offset = vm->tsc_offset;
	vcpu->priv->timer_deadline = UINT64_MAX;
	msr_reset(vcpu);
	*out = vcpu;
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->priv != NULL) {
		vcpu_state_free(vcpu);
	}
	page_free(vcpu->priv, PRIV_PAGES);
	page_free(vcpu->vmcs, 1);
	page_free(vcpu->apic_page, 1);
	page_free(vcpu, VCPU_PAGES);
}

void vcpu_set_long_mode(struct vcpu *vcpu, const struct vcpu_long_mode *state)
{
	vcpu->priv->start = *state;
	vcpu->priv->has_start = true;
	atomic_store_relaxed(&vcpu->state, VCPU_RUNNABLE);
}

void vcpu_forget_code(struct vcpu *vcpu)
{
	memset(&vcpu->priv->emul_cache, 0, sizeof(vcpu->priv->emul_cache));
}

/* --- For the virtual APIC --- */

void vcpu_set_eoi_exit_bitmap(struct vcpu *vcpu, const uint64_t bitmap[4])
{
	for (size_t i = 0; i < ARRAY_COUNT(vcpu->priv->eoi_exit_bitmap); i++) {
		vcpu->priv->eoi_exit_bitmap[i] = bitmap[i];
	}
	(void)attention_set(vcpu, ATTENTION_CONTROLS);
}

void vcpu_set_apic_mode(struct vcpu *vcpu, enum vcpu_apic_mode mode)
{
	apic_page_mode_changed(vcpu->vm, vcpu->priv->apic_mode, mode);
	vcpu->priv->apic_mode = mode;
	(void)attention_set(vcpu, ATTENTION_CONTROLS | ATTENTION_EVENTS);
}

bool vcpu_has_virtual_delivery(const struct vcpu *vcpu)
{
	return vmx_caps()->virtual_delivery && vcpu->priv->apic_mode != VCPU_APIC_OFF;
}

void vcpu_set_svi(struct vcpu *vcpu, uint8_t vector)
{
	if (vmx_caps()->virtual_delivery) {
		vcpu_load(vcpu);
		vmwrite(VMCS_GUEST_INTERRUPT_STATUS,
			(vmread(VMCS_GUEST_INTERRUPT_STATUS) & 0xff) | (uint64_t)vector << 8);
	}
}

/* --- Own CPU --- */

void vcpu_load(struct vcpu *vcpu)
{
	struct percpu *cpu = percpu_self();
	struct vcpu_private *priv = vcpu->priv;

	if (cpu->vcpu == vcpu) {
		return;
	}
	vcpu_state_switch(cpu->vcpu, vcpu);
	cpu->vcpu = vcpu;
	if (priv->vmcs_ready) {
		vmptrld(page_hpa(vcpu->vmcs));
	} else {
		vmcs_setup(vcpu);
		if (priv->has_start) {
			vmcs_set_long_mode(&priv->start);
			vcpu->regs.gpr[GPR_RSI] = priv->start.rsi;
		}
		priv->vmcs_ready = true;
	}
	if (priv->loaded_cpu != cpu->index) {
		priv->loaded_cpu = cpu->index;
		vmcs_write_host();
		vcpu_flush_translations(vcpu);
	}
}

void vcpu_park(struct vcpu *vcpu)
{
	struct percpu *cpu = percpu_self();

	if (cpu->vcpu == vcpu) {
		vcpu_state_switch(vcpu, NULL);
		cpu->vcpu = NULL;
	}
	ept_tlb_part(&vcpu->vm->gmem.root); /* if a sibling stays here, it joins again */
	if (vcpu->priv->vmcs_ready) {
		vmclear(page_hpa(vcpu->vmcs));
		vcpu->launched = false;
	}
}

void vcpu_unload(struct vcpu *vcpu)
{
	struct percpu *cpu = percpu_self();

	if (cpu->vcpu == vcpu) {
		cpu->vcpu = NULL;
	}
	ept_tlb_part(&vcpu->vm->gmem.root); /* the VM may end now */
	if (vcpu->priv->vmcs_ready) {
		vmclear(page_hpa(vcpu->vmcs));
		vcpu->priv->vmcs_ready = false;
	}
	vcpu_set_state(vcpu, VCPU_OFF);
}
