/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memory operand that the hypervisor reads or writes for the guest. It is found through the
 * guest's segments and page tables as the guest's CPU would find it, all of it before the first
 * byte moves, and is copied from and to RAM or devices. Shared by MOVS, STOS, LODS, INS, OUTS and
 * accesses that cross a page. Own CPU, the vCPU's VMCS current; no lock is held.
 */
#ifndef UMBRA_VMM_OPERAND_H
#define UMBRA_VMM_OPERAND_H

#include "vmm/base/types.h"
#include "vmm/gwalk.h"

struct vcpu;

/* A mask of the low 1 to 8 bytes. */
static inline uint64_t operand_mask(unsigned bytes)
{
	return MASK(8 * bytes - 1, 0);
}

/* The place of an operand of 1 to 8 bytes. */
struct operand {
	gpa_t part[2];
	/* Of each part; the second is 0 unless the operand crosses into another page. */
	uint8_t bytes[2];
};

/*
 * Finds the operand of size bytes (1, 2, 4 or 8) at a guest-linear address. Returns 0, or
 * ERR_NOTFOUND with *fault as gwalk_translate.
 */
int operand_at(struct vcpu *vcpu, const struct gwalk_mode *mode, uint64_t linear, unsigned size,
	       enum gwalk_access access, struct operand *out, struct gwalk_fault *fault);

/*
 * As operand_at, for a segment register (SEG_ES to SEG_GS) and an offset in it with the width of
 * the address size. Outside of 64-bit mode checks the segment's limit and type and adds its base
 * (SDM vol. 3, "Limit Checking" and "Type Checking"). *fault may also be #GP(0) or #SS(0).
 */
int operand_in_segment(struct vcpu *vcpu, const struct gwalk_mode *mode, unsigned seg,
		       uint64_t offset, unsigned size, enum gwalk_access access,
		       struct operand *out, struct gwalk_fault *fault);

/* Does the operand contain this guest-physical address? */
bool operand_holds(const struct operand *operand, gpa_t gpa);

/*
 * Reads its bytes, zero-extended. Device memory is read in one access, or byte by byte if the
 * operand crosses a page. If the host has no memory for the operand, the VM ends.
 */
uint64_t operand_read(struct vcpu *vcpu, const struct operand *operand);
void operand_write(struct vcpu *vcpu, const struct operand *operand, uint64_t value);

#endif
