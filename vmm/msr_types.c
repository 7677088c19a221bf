/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's PAT and MTRRs: the guest can read them back, but they have no effect, because the
 * host decides about memory types. Reserved types are #GP, as on a CPU. No lock: own CPU.
 */
#include "vmm/msr_types.h"

#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/vcpu_priv.h"

/* As firmware leaves a machine: caching on, write-back where no range says otherwise. */
#define MTRR_CAP_VALUE	   (VCPU_MTRR_VARIABLE | MTRRCAP_FIX | BIT(10))
#define MTRR_DEF_TYPE_INIT (MTRR_DEF_TYPE_ENABLE | MEMTYPE_WB)
#define MTRR_DEF_TYPE_BITS (MTRR_DEF_TYPE_ENABLE | MTRR_DEF_TYPE_FIX | 0xff)
#define MTRR_FIXED_WB	   0x0606060606060606ul
#define PAT_RESET	   0x0007040600070406ul

void msr_types_reset(struct vcpu *vcpu)
{
	struct vcpu_private *priv = vcpu->priv;

	priv->msr_pat = PAT_RESET;
	priv->msr_mtrr_def_type = MTRR_DEF_TYPE_INIT;
	for (size_t i = 0; i < ARRAY_COUNT(priv->mtrr_fixed); i++) {
		priv->mtrr_fixed[i] = MTRR_FIXED_WB;
	}
}

int msr_read_mtrr_cap(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = MTRR_CAP_VALUE;
	return 0;
}

static uint64_t *mtrr_variable(struct vcpu *vcpu, uint32_t msr)
{
	return &vcpu->priv->mtrr_variable[msr - MSR_IA32_MTRR_PHYSBASE0];
}

int msr_read_mtrr_variable(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = *mtrr_variable(vcpu, msr);
	return 0;
}

int msr_write_mtrr_variable(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	*mtrr_variable(vcpu, msr) = value;
	return 0;
}

static uint64_t *mtrr_fixed(struct vcpu *vcpu, uint32_t msr)
{
	uint32_t index = msr >= MSR_IA32_MTRR_FIX4K_C0000 ? 3 + (msr - MSR_IA32_MTRR_FIX4K_C0000)
			 : msr >= MSR_IA32_MTRR_FIX16K_80000
				 ? 1 + (msr - MSR_IA32_MTRR_FIX16K_80000)
				 : 0;

	return &vcpu->priv->mtrr_fixed[index];
}

int msr_read_mtrr_fixed(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = *mtrr_fixed(vcpu, msr);
	return 0;
}

/* Is each byte a memory type? 7 (UC-) is valid only in the PAT. */
static bool memory_types_ok(uint64_t value, bool pat)
{
	for (unsigned i = 0; i < 64; i += 8) {
		unsigned type = value >> i & 0xff;

		if (type == 2 || type == 3 || type > MEMTYPE_UC_MINUS ||
		    (type == MEMTYPE_UC_MINUS && !pat)) {
			return false;
		}
	}
	return true;
}

int msr_write_mtrr_fixed(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	if (!memory_types_ok(value, false)) {
		return ERR_NOTFOUND;
	}
	*mtrr_fixed(vcpu, msr) = value;
	return 0;
}

int msr_read_pat(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = vcpu->priv->msr_pat;
	return 0;
}

int msr_write_pat(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	if (!memory_types_ok(value, true)) {
		return ERR_NOTFOUND;
	}
	vcpu->priv->msr_pat = value;
	return 0;
}

int msr_read_mtrr_def_type(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	*value = vcpu->priv->msr_mtrr_def_type;
	return 0;
}

int msr_write_mtrr_def_type(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	if ((value & ~MTRR_DEF_TYPE_BITS) != 0 || !memory_types_ok(value & 0xff, false)) {
		return ERR_NOTFOUND;
	}
	vcpu->priv->msr_mtrr_def_type = value;
	return 0;
}
