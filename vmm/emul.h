/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that accessed a device's memory: decodes them (with Zydis) and executes them for the
 * guest. The decoder is pure. Its result is cached together with everything that it depends on, so
 * a guest that changes its code or its page tables never gets a stale entry.
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
 * In the order of the opcode's bits 5:3 (SDM vol. 2, "Opcode Map"), then operations encoded
 * elsewhere.
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
	uint8_t reg;	   /* number of the register, or of the source register */
	bool high_byte;	   /* the register is AH, CH, DH or BH; reg is that of AX ... BX */
	bool has_imm;	   /* the source is imm, not a register */
	bool rep;
	uint8_t address_size; /* width in bytes of RSI, RDI and RCX in a string instruction */
	/* Segment of the source of MOVS and LODS, in the order of the VMCS (ES = 0). */
	uint8_t segment;
	uint64_t imm; /* sign-extended */
};

/*
 * Decodes one instruction with a memory operand. bits is 16, 32 or 64. Returns ERR_RANGE when it
 * does not end within count bytes, ERR_INVAL when it has no memory operand, ERR_UNSUPPORTED when it
 * is none of the above.
 */
int emul_decode(const uint8_t *bytes, size_t count, unsigned bits, struct emul_insn *out);

#define EMUL_CACHE_SLOTS 16
#define EMUL_CODE_WORDS	 3 /* aligned words that the bytes of an instruction can touch */

/*
 * An instruction that was decoded before, found by its linear address. It is valid while the
 * registers that control paging, every page-table entry on the way, and the instruction's bytes
 * have the same values. All of that is checked each time.
 */
struct emul_slot {
	uint64_t linear;
	struct gwalk_mode mode;
	uint8_t bits; /* 0: empty */
	uint8_t kind; /* GMEM_ACCESS_READ, GMEM_ACCESS_WRITE: the access to its operand */
	uint8_t count;
	struct gmem_expect words[GWALK_LEVELS_MAX + EMUL_CODE_WORDS];
	struct emul_insn insn;
};

struct emul_cache {
	struct emul_slot slots[EMUL_CACHE_SLOTS];
};

enum emul_outcome {
	EMUL_DONE,  /* the instruction is done; it is *length bytes long */
	EMUL_AGAIN, /* one iteration of a repeated instruction is done; RIP stays */
	/*
	 * The exit was not for this instruction: it has changed since. The CPU must execute it
	 * again.
	 */
	EMUL_RETRY,
	EMUL_FAULTED, /* the guest gets *fault */
	EMUL_UNKNOWN, /* not an instruction that this file knows, or its bytes are not in RAM */
};

/* The access that the exit reported. */
struct emul_access {
	gpa_t gpa;	   /* first byte of the access outside of RAM */
	unsigned kind;	   /* GMEM_ACCESS_READ, GMEM_ACCESS_WRITE, or both */
	bool linear_known; /* VMCS_GUEST_LINEAR_ADDRESS holds its linear address */
};

/*
 * Executes the instruction at the guest's RIP, but only if it accesses memory as the exit reported:
 * another vCPU may have changed the instruction, and the CPU has checked the guest's rights only
 * for the access of the exit. For the vCPU whose VMCS is current here. Devices are accessed through
 * vcpu_device_access.
 */
enum emul_outcome emul_mmio(struct vcpu *vcpu, const struct emul_access *access, uint8_t *length,
			    struct gwalk_fault *fault);

/* Logs that the guest got #GP for an access at gpa, with the bytes at its RIP. */
void emul_log(struct vcpu *vcpu, gpa_t gpa);

/* Only the arithmetic: returns the result in size bytes and updates *rflags. */
uint64_t emul_compute(enum emul_alu alu, uint64_t a, uint64_t b, unsigned size, uint64_t *rflags);

#endif
