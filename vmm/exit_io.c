/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port I/O, which goes to the VM's bus. IN and OUT need only the exit qualification. INS and OUTS
 * move one element per exit, because the CPU itself can be interrupted after each: RIP stays while
 * RCX is not 0.
 */
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/operand.h"
#include "vmm/rip.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/* The low `bytes` bytes: 1, 2 or 4. Without a mask: this is the path of each IN and OUT. */
static inline uint64_t low_bytes(uint64_t value, uint32_t bytes)
{
	return bytes == 1 ? (uint8_t)value : bytes == 4 ? (uint32_t)value : (uint16_t)value;
}

/* Accesses 1, 2 or 4 bytes. Devices notify the vCPU by a kick, so nothing need be checked here. */
static inline enum exit_result in_or_out(struct vcpu *vcpu, uint64_t why)
{
	uint64_t *rax = &vcpu->regs.gpr[GPR_RAX];
	struct io_access access = { .size = IOQ_SIZE(why) };

	if ((why & IOQ_IN) == 0) {
		access.write = true;
		access.value = low_bytes(*rax, access.size);
		iobus_port_access(&vcpu->vm->iobus, IOQ_PORT(why), vcpu, &access);
		return EXIT_NEXT_INSN;
	}
	iobus_port_access(&vcpu->vm->iobus, IOQ_PORT(why), vcpu, &access);
	/* SDM vol. 1, "General-Purpose Registers": 32 bits clear the upper half. */
	if (access.size == 1) {
		*rax = (*rax & ~0xfful) | (uint8_t)access.value;
	} else if (access.size == 4) {
		*rax = (uint32_t)access.value;
	} else {
		*rax = (*rax & ~0xfffful) | (uint16_t)access.value;
	}
	return EXIT_NEXT_INSN;
}

/* Adds to the low bytes of a register, as an instruction with that address size would. */
static uint64_t add_at_size(uint64_t value, uint64_t change, uint32_t bytes)
{
	uint64_t mask = operand_mask(bytes);

	return bytes == 4 ? (uint32_t)(value + change)
			  : (value & ~mask) | ((value + change) & mask);
}

struct string_io {
	uint32_t size;
	uint32_t address_bytes; /* of RSI, RDI and RCX */
	unsigned index;		/* GPR_RSI or GPR_RDI */
	unsigned seg;
	bool in;
};

static void string_decode(uint64_t why, struct string_io *io)
{
	uint64_t info;

	io->size = IOQ_SIZE(why);
	io->in = (why & IOQ_IN) != 0;
	io->index = io->in ? GPR_RDI : GPR_RSI;
	io->seg = io->in ? SEG_ES : SEG_DS;
	io->address_bytes = 8;
	if (vmx_caps()->ins_outs_info) {
		info = vmread(VMCS_EXIT_INSTRUCTION_INFO);
		io->address_bytes = 2u << (INSOUTS_ADDRESS_SIZE(info) & 3);
		if (!io->in) {
			io->seg = (unsigned)MIN(INSOUTS_SEGMENT(info), SEG_GS);
		}
	} else if (!vcpu_in_64bit_mode()) {
		io->address_bytes = (vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEG_AR_DB) != 0 ? 4 : 2;
	}
}

static enum exit_result guest_fault(struct vcpu *vcpu, const struct gwalk_fault *fault)
{
	if (fault->vector == VECTOR_PF) {
		inject_page_fault(vcpu, fault->error_code, fault->linear);
	} else {
		inject_exception(vcpu, fault->vector, fault->error_code);
	}
	return EXIT_RESUME;
}

/*
 * Moves one element. A fault must come before the port is read, because a read may have an effect.
 */
static enum exit_result move_element(struct vcpu *vcpu, uint64_t why, const struct string_io *io)
{
	struct io_access access = { .size = io->size, .write = !io->in };
	uint64_t offset = vcpu_get_gpr(vcpu, io->index) & operand_mask(io->address_bytes);
	struct gwalk_mode mode;
	struct gwalk_fault fault;
	struct operand operand;

	gwalk_mode_read(&mode);
	if (operand_in_segment(vcpu, &mode, io->seg, offset, io->size,
			       io->in ? GWALK_WRITE : GWALK_READ, &operand, &fault) != 0) {
		return guest_fault(vcpu, &fault);
	}
	access.value = io->in ? 0 : operand_read(vcpu, &operand);
	iobus_port_access(&vcpu->vm->iobus, IOQ_PORT(why), vcpu, &access);
	if (io->in) {
		operand_write(vcpu, &operand, access.value);
	}
	return EXIT_NEXT_INSN;
}

/* Not inlined, so that the fast path need not save registers for it. */
static __attribute__((noinline)) enum exit_result ins_or_outs(struct vcpu *vcpu, uint64_t why)
{
	uint64_t *gpr = vcpu->regs.gpr;
	struct string_io io;
	uint64_t step, left = 1;
	enum exit_result result;

	string_decode(why, &io);
	if ((why & IOQ_REP) != 0) {
		left = gpr[GPR_RCX] & operand_mask(io.address_bytes);
		if (left == 0) {
			return EXIT_NEXT_INSN;
		}
	}
	result = move_element(vcpu, why, &io);
	if (result != EXIT_NEXT_INSN) {
		return result;
	}
	step = (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_DF) != 0 ? -(uint64_t)io.size : io.size;
	gpr[io.index] = add_at_size(gpr[io.index], step, io.address_bytes);
	if ((why & IOQ_REP) == 0) {
		return EXIT_NEXT_INSN;
	}
	gpr[GPR_RCX] = add_at_size(gpr[GPR_RCX], UINT64_MAX, io.address_bytes);
	if (left == 1) {
		return EXIT_NEXT_INSN;
	}
	rip_next_round();
	return EXIT_RESUME;
}

enum exit_result exit_io(struct vcpu *vcpu)
{
	uint64_t why = vmread(VMCS_EXIT_QUALIFICATION);

	return (why & IOQ_STRING) != 0 ? ins_or_outs(vcpu, why) : in_or_out(vcpu, why);
}
