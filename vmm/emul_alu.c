/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of instructions on device memory, with flags as a CPU computes them. Pure. */
#include "vmm/base/x86.h"
#include "vmm/emul.h"
#include "vmm/operand.h"

#define FLAGS_ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static uint64_t sign_bit(unsigned size)
{
	return BIT(8 * size - 1);
}

static uint64_t result_flags(uint64_t result, unsigned size)
{
	uint64_t flags = 0;

	flags |= __builtin_parity((unsigned)(result & 0xff)) == 0 ? RFLAGS_PF : 0;
	flags |= (result & operand_mask(size)) == 0 ? RFLAGS_ZF : 0;
	flags |= (result & sign_bit(size)) != 0 ? RFLAGS_SF : 0;
	return flags;
}

/*
 * Flags of result = a + b + carry, or with subtract of result = a - b - borrow. CF is the carry or
 * borrow out of the top bit.
 */
static uint64_t add_flags(uint64_t a, uint64_t b, uint64_t result, unsigned size, bool subtract)
{
	/* Each bit: the carry or borrow out of that bit (SDM vol. 1, "EFLAGS Register": CF, AF). */
	uint64_t carries = subtract ? (~a & b) | (~(a ^ b) & result)
				    : (a & b) | ((a | b) & ~result);
	uint64_t overflow = subtract ? (a ^ b) & (a ^ result) : ~(a ^ b) & (a ^ result);
	uint64_t flags = result_flags(result, size);

	flags |= (carries & sign_bit(size)) != 0 ? RFLAGS_CF : 0;
	flags |= (carries & BIT(3)) != 0 ? RFLAGS_AF : 0;
	flags |= (overflow & sign_bit(size)) != 0 ? RFLAGS_OF : 0;
	return flags;
}

static uint64_t compute_bit(enum emul_alu alu, uint64_t a, uint64_t b, unsigned size,
			    uint64_t *rflags)
{
	uint64_t bit = BIT(b & (8 * size - 1));

	*rflags = (*rflags & ~RFLAGS_CF) | ((a & bit) != 0 ? RFLAGS_CF : 0);
	switch (alu) {
	case EMUL_BTS: return a | bit;
	case EMUL_BTR: return a & ~bit;
	case EMUL_BTC: return a ^ bit;
	default: return a;
	}
}

uint64_t emul_compute(enum emul_alu alu, uint64_t a, uint64_t b, unsigned size, uint64_t *rflags)
{
	uint64_t carry = *rflags & RFLAGS_CF;
	uint64_t keep = *rflags & ~FLAGS_ARITHMETIC;
	uint64_t r;

	switch (alu) {
	case EMUL_ADD:
		r = a + b;
		*rflags = keep | add_flags(a, b, r, size, false);
		break;
	case EMUL_ADC:
		r = a + b + carry;
		*rflags = keep | add_flags(a, b, r, size, false);
		break;
	case EMUL_SUB:
	case EMUL_CMP:
		r = a - b;
		*rflags = keep | add_flags(a, b, r, size, true);
		break;
	case EMUL_SBB:
		r = a - b - carry;
		*rflags = keep | add_flags(a, b, r, size, true);
		break;
	case EMUL_NEG:
		r = 0 - a;
		*rflags = keep | add_flags(0, a, r, size, true);
		break;
	case EMUL_INC:
		r = a + 1;
		*rflags = keep | add_flags(a, 1, r, size, false);
		break;
	case EMUL_DEC:
		r = a - 1;
		*rflags = keep | add_flags(a, 1, r, size, true);
		break;
	case EMUL_AND:
	case EMUL_TEST:
		r = a & b;
		*rflags = keep | result_flags(r, size);
		break;
	case EMUL_OR:
		r = a | b;
		*rflags = keep | result_flags(r, size);
		break;
	case EMUL_XOR:
		r = a ^ b;
		*rflags = keep | result_flags(r, size);
		break;
	case EMUL_NOT: r = ~a; break;
	default: r = compute_bit(alu, a, b, size, rflags); break;
	}
	if (alu == EMUL_INC || alu == EMUL_DEC) {
		*rflags = (*rflags & ~RFLAGS_CF) | carry;
	}
	return r & operand_mask(size);
}
