/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port I/O: to the VM's bus. IN and OUT need nothing but the exit qualification. INS and OUTS move
 * one element per exit, as the CPU itself may be interrupted after each: RIP stays while RCX is not
 * 0.
 */
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/gwalk.h"
#include "vmm/inject.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"

static uint64_t size_mask(uint32_t bytes)
{
	return bytes >= 8 ? UINT64_MAX : BIT(8 * bytes) - 1;
}

/* 1, 2 or 4 bytes. What a device needs to tell the vCPU comes as a kick: no look is due here. */
static inline enum exit_result in_or_out(struct vcpu *vcpu, uint64_t why)
{
	uint64_t *rax = &vcpu->regs.gpr[GPR_RAX];
	struct io_access access = { .size = IOQ_SIZE(why), .write = (why & IOQ_IN) == 0 };
	uint64_t mask = BIT(8 * access.size) - 1;

	access.value = access.write ? *rax & mask : 0;
	iobus_port_access(&vcpu->vm->iobus, IOQ_PORT(why), vcpu, &access);
	if ((why & IOQ_IN) == 0) {
		return EXIT_NEXT_INSN;
	}
	/* SDM vol. 1, "General-Purpose Registers": 32 bits clear the upper half. */
	*rax = (access.value & mask) | (access.size == 4 ? 0 : *rax & ~mask);
	return EXIT_NEXT_INSN;
}

/* Adds to the low bytes of a register as an instruction with that address size would. */
static uint64_t add_at_size(uint64_t value, uint64_t change, uint32_t bytes)
{
	uint64_t mask = size_mask(bytes);

	return bytes == 4 ? (uint32_t)(value + change)
			  : (value & ~mask) | ((value + change) & mask);
}

/* SDM vol. 3, "Limit Checking" and "Type Checking", for a data access outside of 64-bit mode. */
static bool segment_ok(unsigned seg, uint64_t offset, uint32_t size, bool write)
{
	uint64_t rights = vmread(VMCS_GUEST_ACCESS_RIGHTS(seg));
	uint64_t limit = vmread(VMCS_GUEST_LIMIT(seg));
	uint64_t top = (rights & SEG_AR_DB) != 0 ? UINT32_MAX : 0xffff;
	bool code = (rights & SEG_AR_CODE) != 0;

	if ((rights & SEG_AR_UNUSABLE) != 0 ||
	    (write && (code || (rights & SEG_AR_WRITABLE) == 0)) ||
	    (!write && code && (rights & SEG_AR_WRITABLE) == 0)) {
		return false;
	}
	if (!code && (rights & SEG_AR_EXPAND_DOWN) != 0) {
		return offset > limit && offset + size - 1 <= top;
	}
	return offset + size - 1 <= limit;
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

/* The element's linear address; false: #GP (or #SS). */
static bool string_linear(struct vcpu *vcpu, const struct string_io *io, uint64_t *linear)
{
	uint64_t offset = vcpu_get_gpr(vcpu, io->index) & size_mask(io->address_bytes);
	uint64_t base = vmread(VMCS_GUEST_BASE(io->seg));

	if (!vcpu_in_64bit_mode()) {
		*linear = (base + offset) & UINT32_MAX;
		return segment_ok(io->seg, offset, io->size, io->in);
	}
	*linear = offset + (io->seg >= SEG_FS ? base : 0);
	return true; /* gwalk.c judges whether it is canonical */
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

/* Moves one element. An operand in device memory reads as ones and takes no writes. */
static enum exit_result move_element(struct vcpu *vcpu, uint64_t why, const struct string_io *io,
				     uint64_t linear)
{
	struct gmem *gmem = &vcpu->vm->gmem;
	struct io_access access = { .size = io->size, .write = !io->in };
	struct gwalk_mode mode;
	struct gwalk_fault fault;
	gpa_t operand;
	int err;

	gwalk_mode_read(&mode);
	if (io->in) {
		/* A fault has to come before the port is read, for the read may have an effect. */
		for (uint32_t i = 0; i < io->size; i += io->size - 1 + (io->size == 1)) {
			if (gwalk_translate(gmem, &mode, linear + i, GWALK_WRITE, &operand,
					    &fault) != 0) {
				return guest_fault(vcpu, &fault);
			}
		}
		iobus_port_access(&vcpu->vm->iobus, IOQ_PORT(why), vcpu, &access);
		err = gwalk_copy(gmem, &mode, linear, &access.value, io->size, GWALK_WRITE, &fault);
	} else {
		access.value = 0;
		err = gwalk_copy(gmem, &mode, linear, &access.value, io->size, GWALK_READ, &fault);
		if (err == ERR_RANGE) {
			access.value = size_mask(io->size);
		}
		if (err != ERR_NOTFOUND) {
			iobus_port_access(&vcpu->vm->iobus, IOQ_PORT(why), vcpu, &access);
		}
	}
	return err == ERR_NOTFOUND ? guest_fault(vcpu, &fault) : EXIT_NEXT_INSN;
}

/* Out of line, so that the short way need not save registers for it. */
static __attribute__((noinline)) enum exit_result ins_or_outs(struct vcpu *vcpu, uint64_t why)
{
	uint64_t *gpr = vcpu->regs.gpr;
	struct string_io io;
	uint64_t linear, step, left = 1;
	enum exit_result result;

	string_decode(why, &io);
	if ((why & IOQ_REP) != 0) {
		left = gpr[GPR_RCX] & size_mask(io.address_bytes);
		if (left == 0) {
			return EXIT_NEXT_INSN;
		}
	}
	if (!string_linear(vcpu, &io, &linear)) {
		inject_exception(vcpu, io.seg == SEG_SS ? VECTOR_SS : VECTOR_GP, 0);
		return EXIT_RESUME;
	}
	result = move_element(vcpu, why, &io, linear);
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
	exit_next_round();
	return EXIT_RESUME;
}

enum exit_result exit_io(struct vcpu *vcpu)
{
	uint64_t why = vmread(VMCS_EXIT_QUALIFICATION);

	return (why & IOQ_STRING) != 0 ? ins_or_outs(vcpu, why) : in_or_out(vcpu, why);
}
