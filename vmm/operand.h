/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memory operand that the hypervisor reads or writes for the guest: found by the guest's segment
 * and page tables as its CPU would find it, all of it before the first byte moves, and copied from
 * and to RAM or devices. What MOVS, STOS, LODS, INS and OUTS share, and what crosses a page.
 * Own CPU, the vCPU's VMCS current; no lock is held.
 */
#ifndef UMBRA_VMM_OPERAND_H
#define UMBRA_VMM_OPERAND_H

#include "vmm/base/types.h"
#include "vmm/gwalk.h"

struct vcpu;

/* The bits of a value of 1 to 8 bytes. */
static inline uint64_t operand_mask(unsigned bytes)
{
	return MASK(8 * bytes - 1, 0);
}

/* Where its 1 to 8 bytes lie. */
struct operand {
	gpa_t part[2];
	uint8_t bytes[2]; /* of each part; the second is 0 unless the operand crosses into a page */
};

/*
 * The operand of size bytes (1, 2, 4 or 8) at a guest-linear address. 0, or ERR_NOTFOUND with
 * *fault as gwalk_translate has it.
 */
int operand_at(struct vcpu *vcpu, const struct gwalk_mode *mode, uint64_t linear, unsigned size,
	       enum gwalk_access access, struct operand *out, struct gwalk_fault *fault);

/*
 * The same by a segment register (SEG_ES to SEG_GS) and an offset in it that has the width of the
 * address size: with the segment's limit, type and base outside of 64-bit mode (SDM vol. 3, "Limit
 * Checking" and "Type Checking"). *fault may be #GP(0) or #SS(0) as well.
 */
int operand_in_segment(struct vcpu *vcpu, const struct gwalk_mode *mode, unsigned seg,
		       uint64_t offset, unsigned size, enum gwalk_access access,
		       struct operand *out, struct gwalk_fault *fault);

/* Does this guest-physical address belong to it? */
bool operand_holds(const struct operand *operand, gpa_t gpa);

/*
 * Its bytes, zero-extended. Device memory is read as one access, byte by byte where the operand
 * crosses a page. When the host has no memory for it the VM ends.
 */
uint64_t operand_read(struct vcpu *vcpu, const struct operand *operand);
void operand_write(struct vcpu *vcpu, const struct operand *operand, uint64_t value);

#endif
