/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that touched a device's memory: decoded (by Zydis) and done on the guest's behalf.
 * The decoder is pure; what it found is kept with all that it followed from, so that a guest which
 * changes its code or its page tables can never meet a stale entry.
 */
#ifndef UMBRA_VMM_EMUL_H
#define UMBRA_VMM_EMUL_H

#include "vmm/base/types.h"
#include "vmm/gwalk.h"

struct vcpu;

#define EMUL_INSN_MAX 15 /* SDM vol. 2, "Instruction Format" */

enum emul_op {
	EMUL_STORE,	/* memory = source */
	EMUL_LOAD,	/* register = memory, zero-extended to dest_size */
	EMUL_LOAD_SIGN, /* the same, sign-extended */
	EMUL_ALU_MEM,	/* memory = memory `alu` source */
	EMUL_ALU_REG,	/* register = register `alu` memory */
	EMUL_UNARY,	/* memory = `alu` memory */
	EMUL_BIT,	/* BT, BTS, BTR, BTC */
	EMUL_XCHG,
	EMUL_STOS,
	EMUL_LODS,
	EMUL_MOVS,
};

/*
 * In the order of the opcode's bits 5:3 (SDM vol. 2, "Opcode Map"); then those encoded elsewhere.
 */
enum emul_alu {
	EMUL_ADD,
	EMUL_OR,
	EMUL_ADC,
	EMUL_SBB,
	EMUL_AND,
	EMUL_SUB,
	EMUL_XOR,
	EMUL_CMP,
	EMUL_TEST,
	EMUL_INC,
	EMUL_DEC,
	EMUL_NOT,
	EMUL_NEG,
	EMUL_BT,
	EMUL_BTS,
	EMUL_BTR,
	EMUL_BTC,
};

struct emul_insn {
	uint8_t op;	   /* enum emul_op */
	uint8_t alu;	   /* enum emul_alu */
	uint8_t length;	   /* bytes of the instruction */
	uint8_t size;	   /* bytes of the memory operand: 1, 2, 4 or 8 */
	uint8_t dest_size; /* bytes of the register that a load fills */
	uint8_t reg;	   /* its number, or the source's */
	bool high_byte;	   /* the register is AH, CH, DH or BH; reg is that of AX ... BX */
	bool has_imm;	   /* the source is imm, not reg */
	bool rep;
	uint8_t address_size; /* bytes of RSI, RDI and RCX of a string instruction */
	uint8_t segment; /* of the source of MOVS and LODS, in the order of the VMCS (ES = 0) */
	uint64_t imm;	 /* sign-extended */
};

/*
 * Decodes one instruction with a memory operand. bits is 16, 32 or 64. ERR_RANGE when it goes on
 * beyond count bytes, ERR_INVAL when it has no memory operand, ERR_UNSUPPORTED when it is not one
 * of the above.
 */
int emul_decode(const uint8_t *bytes, size_t count, unsigned bits, struct emul_insn *out);

#define EMUL_CACHE_SLOTS 16
#define EMUL_CODE_WORDS	 3 /* aligned ones that an instruction can touch */

/*
 * An instruction that was decoded before, by its linear address. It counts while the registers that
 * rule paging are the same, and while every page-table entry on the way and the instruction's own
 * bytes hold what they held then: all of that is looked at each time.
 */
struct emul_slot {
	uint64_t linear;
	struct gwalk_mode mode;
	uint8_t bits; /* 0: empty */
	uint8_t kind; /* GMEM_ACCESS_READ, GMEM_ACCESS_WRITE: what it does to its operand */
	uint8_t count;
	struct gmem_expect words[GWALK_LEVELS_MAX + EMUL_CODE_WORDS];
	struct emul_insn insn;
};

struct emul_cache {
	struct emul_slot slots[EMUL_CACHE_SLOTS];
};

enum emul_outcome {
	EMUL_DONE,  /* go on behind the instruction, *length bytes further */
	EMUL_AGAIN, /* one round of a repeated instruction is done: the same RIP once more */
	EMUL_RETRY, /* not what the exit was for: it has changed since. The CPU is to look again */
	EMUL_FAULTED, /* the guest has to get *fault */
	EMUL_UNKNOWN, /* no instruction that this file knows, or its bytes are in no memory */
};

/* What the exit reported of the access that it was for. */
struct emul_access {
	gpa_t gpa;	   /* its first byte outside of RAM */
	unsigned kind;	   /* GMEM_ACCESS_READ, GMEM_ACCESS_WRITE, or both */
	bool linear_known; /* VMCS_GUEST_LINEAR_ADDRESS holds its linear address */
};

/*
 * Does the instruction at the guest's RIP, when that is one which accesses memory so: another vCPU
 * may have changed it, and the guest's rights were checked for the access of the exit alone. For
 * the vCPU whose VMCS is current here. Devices are reached through vcpu_device_access.
 */
enum emul_outcome emul_mmio(struct vcpu *vcpu, const struct emul_access *access, uint8_t *length,
			    struct gwalk_fault *fault);

/* Says in the log that the guest got #GP for an access at gpa, with the bytes at its RIP. */
void emul_log(struct vcpu *vcpu, gpa_t gpa);

/* The arithmetic alone: returns the result in size bytes and updates *rflags. */
uint64_t emul_compute(enum emul_alu alu, uint64_t a, uint64_t b, unsigned size, uint64_t *rflags);

#endif
