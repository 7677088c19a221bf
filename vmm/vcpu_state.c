/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest registers that stay in the CPU while Umbra runs, because its own code does not use them:
 * x87 and vector registers, XCR0, debug registers, CR2, and the MSRs of SYSCALL and SWAPGS. They
 * are switched only when another vCPU comes to the CPU, so an exit costs nothing for them. No lock:
 * own CPU only.
 */
#include "vmm/vcpu_state.h"

#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/host/page_alloc.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"
#include "vmm/vmx_insn.h"

/* Passed through by the MSR bitmap; msr.c asks here whether a CPU has them. */
static const struct {
	uint32_t msr;
	bool (*offered)(void);
} live_msrs[] = {
	{ MSR_IA32_STAR, NULL },
	{ MSR_IA32_LSTAR, NULL },
	{ MSR_IA32_CSTAR, NULL },
	{ MSR_IA32_FMASK, NULL },
	{ MSR_IA32_KERNEL_GS_BASE, NULL },
	{ MSR_IA32_TSC_AUX, vmx_has_rdtscp },
	{ MSR_IA32_SPEC_CTRL, vmx_keeps_spec_ctrl }, /* else vmcs.c switches it */
};
_Static_assert(ARRAY_COUNT(live_msrs) <= VCPU_LIVE_MSR_MAX, "room in struct vcpu_private");

/*
 * SDM vol. 1, "Legacy Region of an XSAVE Area": offsets of two control words, and their defaults.
 */
#define XSAVE_FCW_OFFSET   0
#define XSAVE_MXCSR_OFFSET 24
#define FCW_DEFAULT	   0x37f
#define MXCSR_DEFAULT	   0x1f80

#define DR6_DEFAULT 0xffff0ff0ul
#define DR7_DEFAULT 0x400ul

static size_t fpu_pages(void)
{
	return (vmx_caps()->xsave_bytes + PAGE_SIZE - 1) / PAGE_SIZE;
}

int vcpu_state_alloc(struct vcpu *vcpu)
{
	uint8_t *area = page_alloc(fpu_pages());

	if (area == NULL) {
		return ERR_NOMEM;
	}
	*(uint16_t *)(void *)(area + XSAVE_FCW_OFFSET) = FCW_DEFAULT;
	*(uint32_t *)(void *)(area + XSAVE_MXCSR_OFFSET) = MXCSR_DEFAULT;
	vcpu->priv->fpu = area;
	vcpu->priv->xcr0 = XCR0_X87;
	vcpu->priv->dr6 = DR6_DEFAULT;
	vcpu->priv->dr7 = DR7_DEFAULT;
	return 0;
}

void vcpu_state_free(struct vcpu *vcpu)
{
	page_free(vcpu->priv->fpu, fpu_pages());
}

/* Saves all components, also those that the guest has disabled in XCR0 for now. */
static void fpu_save(struct vcpu_private *priv, uint64_t all)
{
	if (all == 0) {
		cpu_fxsave(priv->fpu);
		return;
	}
	cpu_xsetbv(0, all);
	cpu_xsave(priv->fpu, all);
}

static void fpu_restore(struct vcpu_private *priv, uint64_t all)
{
	if (all == 0) {
		cpu_fxrstor(priv->fpu);
		return;
	}
	cpu_xsetbv(0, all);
	cpu_xrstor(priv->fpu, all);
	cpu_xsetbv(0, priv->xcr0);
}

/* If the debug registers are Umbra's, the guest's values are never in the CPU. */
static void save_debug_registers(struct vcpu_private *priv)
{
	if (!vmx_caps()->keeps_debug_registers) {
		CPU_READ_DR(0, priv->dr[0]);
		CPU_READ_DR(1, priv->dr[1]);
		CPU_READ_DR(2, priv->dr[2]);
		CPU_READ_DR(3, priv->dr[3]);
		CPU_READ_DR(6, priv->dr6);
	}
}

static void restore_debug_registers(const struct vcpu_private *priv)
{
	if (!vmx_caps()->keeps_debug_registers) {
		CPU_WRITE_DR(0, priv->dr[0]);
		CPU_WRITE_DR(1, priv->dr[1]);
		CPU_WRITE_DR(2, priv->dr[2]);
		CPU_WRITE_DR(3, priv->dr[3]);
		CPU_WRITE_DR(6, priv->dr6);
	}
}

static void save(struct vcpu_private *priv)
{
	fpu_save(priv, vmx_caps()->guest_xcr0);
	priv->cr2 = cpu_read_cr2();
	save_debug_registers(priv);
	for (size_t i = 0; i < ARRAY_COUNT(live_msrs); i++) {
		if (live_msrs[i].offered == NULL || live_msrs[i].offered()) {
			priv->live_msr[i] = cpu_rdmsr(live_msrs[i].msr);
		}
	}
}

static void restore(struct vcpu_private *priv)
{
	fpu_restore(priv, vmx_caps()->guest_xcr0);
	cpu_write_cr2(priv->cr2);
	restore_debug_registers(priv);
	for (size_t i = 0; i < ARRAY_COUNT(live_msrs); i++) {
		if (live_msrs[i].offered == NULL || live_msrs[i].offered()) {
			cpu_wrmsr(live_msrs[i].msr, priv->live_msr[i]);
		}
	}
}

void vcpu_state_switch(struct vcpu *from, struct vcpu *to)
{
	if (from != NULL) {
		save(from->priv);
	}
	if (to == NULL) {
		return; /* `from` is NULL in the next call, which loads all registers */
	}
	/*
	 * One VM must not influence another's branch predictor (SDM, "Indirect Branch Predictor
	 * Barrier").
	 */
	if (vmx_caps()->ibpb && (from == NULL || from->vm != to->vm)) {
		cpu_wrmsr(MSR_IA32_PRED_CMD, 1);
	}
	restore(to->priv);
}

void vcpu_state_reset(struct vcpu *vcpu)
{
	struct vcpu_private *priv = vcpu->priv;

	cpu_write_cr2(0);
	memset(priv->dr, 0, sizeof(priv->dr));
	priv->dr6 = DR6_DEFAULT;
	priv->dr7 = DR7_DEFAULT;
	restore_debug_registers(priv);
}

void vcpu_state_set_xcr0(struct vcpu *vcpu, uint64_t xcr0)
{
	vcpu->priv->xcr0 = xcr0;
	cpu_xsetbv(0, xcr0);
}

void vcpu_state_set_cr2(uint64_t cr2)
{
	cpu_write_cr2(cr2);
}

void vcpu_state_change_dr6(struct vcpu *vcpu, uint64_t clear, uint64_t set)
{
	uint64_t dr6;

	if (vmx_caps()->keeps_debug_registers) {
		vcpu->priv->dr6 = (vcpu->priv->dr6 & ~clear) | set;
		return;
	}
	CPU_READ_DR(6, dr6);
	CPU_WRITE_DR(6, (dr6 & ~clear) | set);
}
