/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSR policy. Three kinds: passed through (the VMCS or vcpu_state.c keeps a value for each vCPU),
 * handled here or by the platform's hooks (one row each), and all others, which are #GP(0). No
 * locks.
 */
#include "vmm/msr.h"

#include "vmm/attention.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"
#include "vmm/msr_types.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_tsc.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/* --- Passed through --- */

#define PASS_READ  1
#define PASS_WRITE 2
#define PASS_BOTH  3

static bool has_flush_cmd(void)
{
	return vmx_caps()->flush_cmd;
}

static bool has_ibpb(void)
{
	return vmx_caps()->ibpb;
}

static bool has_tpr_shadow(void)
{
	return (vmx_caps()->cpu2 & CPU2_VIRTUALIZE_X2APIC_MODE) != 0;
}

static bool has_virtual_delivery(void)
{
	return vmx_caps()->virtual_delivery;
}

struct pass_row {
	uint32_t msr;
	uint8_t what;
	bool x2apic; /* only in x2APIC mode */
	bool (*offered)(void);
};

static const struct pass_row pass_rows[] = {
	{ MSR_IA32_TSC, PASS_READ, false, NULL }, /* with the VMCS's offset */
	{ MSR_IA32_SPEC_CTRL, PASS_BOTH, false, vmx_has_spec_ctrl },
	{ MSR_IA32_PRED_CMD, PASS_WRITE, false, has_ibpb },
	{ MSR_IA32_FLUSH_CMD, PASS_WRITE, false, has_flush_cmd },
	{ MSR_IA32_SYSENTER_CS, PASS_BOTH, false, NULL },
	{ MSR_IA32_SYSENTER_ESP, PASS_BOTH, false, NULL },
	{ MSR_IA32_SYSENTER_EIP, PASS_BOTH, false, NULL },
	/* SDM, "Virtualizing MSR-Based APIC Accesses": TPR, EOI and self-IPI cause no exit. */
	{ MSR_X2APIC_TPR, PASS_BOTH, true, has_tpr_shadow },
	{ MSR_X2APIC_EOI, PASS_WRITE, true, has_virtual_delivery },
	{ MSR_X2APIC_SELF_IPI, PASS_WRITE, true, has_virtual_delivery },
	{ MSR_IA32_EFER, PASS_READ, false, NULL },
	{ MSR_IA32_STAR, PASS_BOTH, false, NULL },
	{ MSR_IA32_LSTAR, PASS_BOTH, false, NULL },
	{ MSR_IA32_CSTAR, PASS_BOTH, false, NULL },
	{ MSR_IA32_FMASK, PASS_BOTH, false, NULL },
	{ MSR_IA32_FS_BASE, PASS_BOTH, false, NULL },
	{ MSR_IA32_GS_BASE, PASS_BOTH, false, NULL },
	{ MSR_IA32_KERNEL_GS_BASE, PASS_BOTH, false, NULL },
	{ MSR_IA32_TSC_AUX, PASS_BOTH, false, vmx_has_rdtscp },
};

#define BITMAP_READ_BYTES  0
#define BITMAP_HIGH_BYTES  1024 /* C0000000H and up, behind 0 and up */
#define BITMAP_WRITE_BYTES 2048

void msr_fill_bitmap(void *page, bool x2apic)
{
	uint8_t *bitmap = page;

	memset(bitmap, 0xff, PAGE_SIZE);
	for (size_t i = 0; i < ARRAY_COUNT(pass_rows); i++) {
		const struct pass_row *row = &pass_rows[i];
		uint32_t bit = row->msr & 0x1fff;
		uint32_t byte = bit / 8 + (row->msr >= 0xc0000000 ? BITMAP_HIGH_BYTES : 0);
		uint8_t keep = (uint8_t) ~(1u << bit % 8);

		if ((row->x2apic && !x2apic) || (row->offered != NULL && !row->offered())) {
			continue;
		}
		if ((row->what & PASS_READ) != 0) {
			bitmap[BITMAP_READ_BYTES + byte] &= keep;
		}
		if ((row->what & PASS_WRITE) != 0) {
			bitmap[BITMAP_WRITE_BYTES + byte] &= keep;
		}
	}
}

/* --- Handled --- */

#define MISC_ENABLE_INIT \
	(MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_BTS_UNAVAIL | MISC_ENABLE_PEBS_UNAVAIL)

/* Facts about the CPU that a guest may rely on; without bits that announce a control MSR. */
#define ARCH_CAPABILITIES_SHOWN                                                                   \
	(BIT(0) /* RDCL_NO */ | BIT(1) /* IBRS_ALL */ | BIT(2) /* RSBA */ | BIT(4) /* SSB_NO */ | \
	 BIT(5) /* MDS_NO */ | BIT(6) /* IF_PSCHANGE_MC_NO */ | BIT(8) /* TAA_NO */ |             \
	 BIT(13) /* SBDR_SSDP_NO */ | BIT(14) /* FBSDP_NO */ | BIT(15) /* PSDP_NO */ |            \
	 BIT(17) /* FB_CLEAR */ | BIT(19) /* RRSBA */ | BIT(20) /* BHI_NO */ |                    \
	 BIT(24) /* PBRSB_NO */ | BIT(26) /* GDS_NO */ | BIT(27) /* RFDS_NO */)

static int read_zero(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = 0;
	return 0;
}

static int write_ignored(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	return 0;
}

static int write_zero(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	return value == 0 ? 0 : ERR_NOTFOUND;
}

static int read_hook(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	return vcpu->vm->hooks->msr_read(vcpu, msr, value);
}

static int write_hook(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	(void)attention_set(vcpu, ATTENTION_EVENTS);
	return vcpu->vm->hooks->msr_write(vcpu, msr, value);
}

static int write_tsc(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	vcpu_write_tsc(vcpu, value);
	return 0;
}

static int read_tsc_adjust(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = vcpu->priv->tsc_adjust;
	return 0;
}

static int write_tsc_adjust(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	vcpu_write_tsc_adjust(vcpu, value);
	return 0;
}

static int read_feature_control(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = FEATURE_CONTROL_LOCK;
	return 0;
}

/* The host's microcode revision: stock kernels use it to detect errata. */
static int read_microcode_revision(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	(void)msr_read_safe(msr, value); /* 0 if it does not exist */
	return 0;
}

/*
 * SDM vol. 4, MSR_PLATFORM_INFO: the TSC's frequency in units of the bus clock (100 MHz in a
 * guest's CPUID.16H), both as the largest ratio without turbo and as the smallest.
 */
static int read_platform_info(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	uint64_t ratio = MIN(MAX((tsc_hz() + 50000000) / 100000000, 1u), 255u);

	*value = ratio << 8 | ratio << 40;
	return 0;
}

static int read_arch_capabilities(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = vmx_caps()->arch_capabilities & ARCH_CAPABILITIES_SHOWN;
	return vmx_caps()->has_arch_capabilities ? 0 : ERR_NOTFOUND;
}

static int read_misc_enable(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = vcpu->priv->msr_misc_enable;
	return 0;
}

/* Fast strings may be switched; bits that describe missing features do not change. */
static int write_misc_enable(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	vcpu->priv->msr_misc_enable = (MISC_ENABLE_INIT & ~MISC_ENABLE_FAST_STRINGS) |
				      (value & MISC_ENABLE_FAST_STRINGS);
	return 0;
}

static int read_debugctl(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = vmread(VMCS_GUEST_DEBUGCTL);
	return 0;
}

static int write_debugctl(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	if ((value & ~DEBUGCTL_BTF) != 0) {
		return ERR_NOTFOUND;
	}
	vmwrite(VMCS_GUEST_DEBUGCTL, value);
	return 0;
}

/* No supervisor state component is offered. */
static int read_xss(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	return vmx_caps()->xsaves ? read_zero(vcpu, msr, value) : ERR_NOTFOUND;
}

static int write_xss(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	return vmx_caps()->xsaves ? write_zero(vcpu, msr, value) : ERR_NOTFOUND;
}

/*
 * SDM vol. 3, "Initializing IA-32e Mode": LME cannot change while paging is on; the CPU sets LMA.
 */
static int write_efer(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	uint64_t old = vmread(VMCS_GUEST_EFER);
	bool paging = (vmread(VMCS_GUEST_CR0) & CR0_PG) != 0;

	if ((value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)) != 0 ||
	    (paging && ((value ^ old) & EFER_LME) != 0)) {
		return ERR_NOTFOUND;
	}
	vmwrite(VMCS_GUEST_EFER, (value & ~EFER_LMA) | (old & EFER_LMA));
	return 0;
}

struct msr_row {
	uint32_t first, last;
	int (*read)(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
	int (*write)(struct vcpu *vcpu, uint32_t msr, uint64_t value);
};

/* Sorted by number; NULL: #GP. */
static const struct msr_row msr_rows[] = {
	{ MSR_IA32_TSC, MSR_IA32_TSC, NULL, write_tsc },
	{ MSR_IA32_PLATFORM_ID, MSR_IA32_PLATFORM_ID, read_zero, NULL },
	{ MSR_IA32_APIC_BASE, MSR_IA32_APIC_BASE, read_hook, write_hook },
	{ MSR_IA32_FEATURE_CONTROL, MSR_IA32_FEATURE_CONTROL, read_feature_control, NULL },
	{ MSR_IA32_TSC_ADJUST, MSR_IA32_TSC_ADJUST, read_tsc_adjust, write_tsc_adjust },
	{ MSR_IA32_BIOS_SIGN_ID, MSR_IA32_BIOS_SIGN_ID, read_microcode_revision, write_ignored },
	{ MSR_PLATFORM_INFO, MSR_PLATFORM_INFO, read_platform_info, NULL },
	{ MSR_IA32_MTRRCAP, MSR_IA32_MTRRCAP, msr_read_mtrr_cap, NULL },
	{ MSR_IA32_ARCH_CAPABILITIES, MSR_IA32_ARCH_CAPABILITIES, read_arch_capabilities, NULL },
	{ MSR_IA32_MCG_CAP, MSR_IA32_MCG_CAP, read_zero, NULL },
	{ MSR_IA32_MCG_STATUS, MSR_IA32_MCG_STATUS, read_zero, write_zero },
	{ MSR_IA32_MISC_ENABLE, MSR_IA32_MISC_ENABLE, read_misc_enable, write_misc_enable },
	{ MSR_IA32_DEBUGCTL, MSR_IA32_DEBUGCTL, read_debugctl, write_debugctl },
	{ MSR_IA32_MTRR_PHYSBASE0, MSR_IA32_MTRR_PHYSBASE0 + 2 * VCPU_MTRR_VARIABLE - 1,
	  msr_read_mtrr_variable, msr_write_mtrr_variable },
	{ MSR_IA32_MTRR_FIX64K_00000, MSR_IA32_MTRR_FIX64K_00000, msr_read_mtrr_fixed,
	  msr_write_mtrr_fixed },
	{ MSR_IA32_MTRR_FIX16K_80000, MSR_IA32_MTRR_FIX16K_A0000, msr_read_mtrr_fixed,
	  msr_write_mtrr_fixed },
	{ MSR_IA32_MTRR_FIX4K_C0000, MSR_IA32_MTRR_FIX4K_C0000 + 7, msr_read_mtrr_fixed,
	  msr_write_mtrr_fixed },
	{ MSR_IA32_PAT, MSR_IA32_PAT, msr_read_pat, msr_write_pat },
	{ MSR_IA32_MTRR_DEF_TYPE, MSR_IA32_MTRR_DEF_TYPE, msr_read_mtrr_def_type,
	  msr_write_mtrr_def_type },
	{ MSR_IA32_TSC_DEADLINE, MSR_IA32_TSC_DEADLINE, read_hook, write_hook },
	{ MSR_IA32_X2APIC_FIRST, MSR_IA32_X2APIC_LAST, read_hook, write_hook },
	{ MSR_IA32_XSS, MSR_IA32_XSS, read_xss, write_xss },
	{ MSR_IA32_EFER, MSR_IA32_EFER, NULL, write_efer },
};

void msr_reset(struct vcpu *vcpu)
{
	vcpu->priv->msr_row = msr_rows;
	vcpu->priv->msr_misc_enable = MISC_ENABLE_INIT;
	msr_types_reset(vcpu);
}

static const struct msr_row *search_row(struct vcpu *vcpu, uint32_t msr)
{
	size_t low = 0, high = ARRAY_COUNT(msr_rows);

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (msr > msr_rows[middle].last) {
			low = middle + 1;
		} else if (msr < msr_rows[middle].first) {
			high = middle;
		} else {
			vcpu->priv->msr_row = &msr_rows[middle];
			return &msr_rows[middle];
		}
	}
	return NULL;
}

/* Guests use the same MSR many times in a row: timer deadline, interrupt command. */
static inline const struct msr_row *find_row(struct vcpu *vcpu, uint32_t msr)
{
	const struct msr_row *last = vcpu->priv->msr_row;

	return msr >= last->first && msr <= last->last ? last : search_row(vcpu, msr);
}

int msr_guest_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	const struct msr_row *row = find_row(vcpu, msr);

	return row == NULL || row->read == NULL ? ERR_NOTFOUND : row->read(vcpu, msr, value);
}

int msr_guest_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	const struct msr_row *row = find_row(vcpu, msr);

	return row == NULL || row->write == NULL ? ERR_NOTFOUND : row->write(vcpu, msr, value);
}
