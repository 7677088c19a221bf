/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches, decodes (or finds in the cache) and executes an instruction on device memory. Nothing
 * here trusts the guest: the instruction may have changed since the CPU read it. It is executed as
 * it is now, at the address that the exit reported, if the CPU would allow exactly that access.
 */
#include "vmm/emul.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/device_access.h"
#include "vmm/operand.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/*
 * In addition to GMEM_ACCESS_READ and GMEM_ACCESS_WRITE in emul_slot.kind: string_sides checks
 * more.
 */
#define EMUL_STRING BIT(7)

/* One instruction while it is executed. */
struct emul {
	struct vcpu *vcpu;
	struct gmem *gmem;
	struct gwalk_mode mode;
	unsigned bits;
	gpa_t gpa;
	struct operand operand; /* at gpa, if the exit alone does not describe all of it */
	bool crosses;		/* the operand is in two pages: `operand` is valid */
	const struct emul_access *access;
	struct gwalk_fault *fault;
};

static uint64_t sign_bit(unsigned size)
{
	return BIT(8 * size - 1);
}

static inline __attribute__((always_inline)) uint64_t bus_read(const struct emul *e, unsigned size)
{
	struct io_access access = { .size = size };

	if (__builtin_expect(e->crosses, 0)) {
		return operand_read(e->vcpu, &e->operand);
	}
	vcpu_device_access(e->vcpu, e->gpa, &access);
	return access.value & operand_mask(size);
}

static inline __attribute__((always_inline)) void bus_write(const struct emul *e, unsigned size,
							    uint64_t value)
{
	struct io_access access = { .size = size,
				    .write = true,
				    .value = value & operand_mask(size) };

	if (__builtin_expect(e->crosses, 0)) {
		operand_write(e->vcpu, &e->operand, value);
		return;
	}
	vcpu_device_access(e->vcpu, e->gpa, &access);
}

static uint64_t get_reg(const struct emul *e, const struct emul_insn *insn)
{
	uint64_t value = vcpu_get_gpr(e->vcpu, insn->reg);

	return insn->high_byte ? value >> 8 : value;
}

static uint64_t get_source(const struct emul *e, const struct emul_insn *insn)
{
	return (insn->has_imm ? insn->imm : get_reg(e, insn)) & operand_mask(insn->size);
}

/* A 32-bit result clears the upper half; smaller ones leave the rest unchanged. */
static inline void set_reg(const struct emul *e, const struct emul_insn *insn, unsigned size,
			   uint64_t value)
{
	unsigned shift = insn->high_byte ? 8 : 0;
	uint64_t mask = operand_mask(size) << shift;

	value = (value << shift) & mask;
	if (size < 4) {
		value |= vcpu_get_gpr(e->vcpu, insn->reg) & ~mask;
	}
	vcpu_set_gpr(e->vcpu, insn->reg, value);
}

static bool writes_back(uint8_t alu)
{
	return alu != EMUL_CMP && alu != EMUL_TEST && alu != EMUL_BT;
}

static void do_alu(const struct emul *e, const struct emul_insn *insn)
{
	uint64_t rflags = e->mode.rflags;
	uint64_t memory = bus_read(e, insn->size);
	uint64_t other = insn->op == EMUL_UNARY ? 0 : get_source(e, insn);
	bool to_register = insn->op == EMUL_ALU_REG;
	uint64_t result = to_register ? emul_compute(insn->alu, other, memory, insn->size, &rflags)
				      : emul_compute(insn->alu, memory, other, insn->size, &rflags);

	vmwrite(VMCS_GUEST_RFLAGS, rflags);
	if (!writes_back(insn->alu)) {
		return;
	}
	if (to_register) {
		set_reg(e, insn, insn->size, result);
	} else {
		bus_write(e, insn->size, result);
	}
}

static void do_load(const struct emul *e, const struct emul_insn *insn)
{
	uint64_t value = bus_read(e, insn->size);

	if (insn->op == EMUL_LOAD_SIGN && (value & sign_bit(insn->size)) != 0) {
		value |= ~operand_mask(insn->size);
	}
	set_reg(e, insn, insn->dest_size, value);
}

static void do_xchg(const struct emul *e, const struct emul_insn *insn)
{
	uint64_t value = bus_read(e, insn->size);

	bus_write(e, insn->size, get_reg(e, insn));
	set_reg(e, insn, insn->size, value);
}

/* RSI, RDI and RCX have the width of the address size. */
static uint64_t get_address_reg(const struct emul *e, const struct emul_insn *insn, unsigned reg)
{
	return vcpu_get_gpr(e->vcpu, reg) & operand_mask(insn->address_size);
}

static void set_address_reg(const struct emul *e, const struct emul_insn *insn, unsigned reg,
			    uint64_t value)
{
	struct emul_insn target = { .reg = (uint8_t)reg };

	set_reg(e, &target, insn->address_size, value);
}

static void step(const struct emul *e, const struct emul_insn *insn, unsigned reg)
{
	uint64_t at = get_address_reg(e, insn, reg);
	bool down = (e->mode.rflags & RFLAGS_DF) != 0;

	set_address_reg(e, insn, reg, down ? at - insn->size : at + insn->size);
}

/*
 * Finds the memory that RSI (source) or RDI points to. Returns EMUL_RETRY if the exit cannot have
 * been for that access.
 */
static enum emul_outcome string_side(const struct emul *e, const struct emul_insn *insn,
				     bool source, struct operand *out)
{
	unsigned kind = source ? GMEM_ACCESS_READ : GMEM_ACCESS_WRITE;

	if (operand_in_segment(e->vcpu, &e->mode, source ? insn->segment : SEG_ES,
			       get_address_reg(e, insn, source ? GPR_RSI : GPR_RDI), insn->size,
			       source ? GWALK_READ : GWALK_WRITE, out, e->fault) != 0) {
		return EMUL_FAULTED;
	}
	return (e->access->kind & kind) != 0 && operand_holds(out, e->gpa) ? EMUL_DONE : EMUL_RETRY;
}

/*
 * Finds both operands before the first byte moves. One of them is a device; the other may be RAM.
 */
static enum emul_outcome string_sides(const struct emul *e, const struct emul_insn *insn,
				      struct operand *from, struct operand *to)
{
	enum emul_outcome source = EMUL_RETRY, target = EMUL_RETRY;

	if (insn->op != EMUL_STOS) {
		source = string_side(e, insn, true, from);
	}
	if (insn->op != EMUL_LODS && source != EMUL_FAULTED) {
		target = string_side(e, insn, false, to);
	}
	if (source == EMUL_FAULTED || target == EMUL_FAULTED) {
		return EMUL_FAULTED;
	}
	return source == EMUL_DONE || target == EMUL_DONE ? EMUL_DONE : EMUL_RETRY;
}

/*
 * Does one iteration. The next one, if any, faults again, so interrupts can come in between as on a
 * CPU.
 */
static enum emul_outcome do_string(const struct emul *e, const struct emul_insn *insn)
{
	uint64_t count = insn->rep ? get_address_reg(e, insn, GPR_RCX) : 1;
	struct operand from, to;
	enum emul_outcome sides;
	uint64_t value;

	if (count == 0) {
		return EMUL_RETRY; /* it accesses no memory, so the exit was not for it */
	}
	sides = string_sides(e, insn, &from, &to);
	if (sides != EMUL_DONE) {
		return sides;
	}
	value = insn->op == EMUL_STOS ? get_reg(e, insn) : operand_read(e->vcpu, &from);
	if (insn->op == EMUL_LODS) {
		set_reg(e, insn, insn->size, value);
	} else {
		operand_write(e->vcpu, &to, value);
		step(e, insn, GPR_RDI);
	}
	if (insn->op != EMUL_STOS) {
		step(e, insn, GPR_RSI);
	}
	if (insn->rep) {
		set_address_reg(e, insn, GPR_RCX, count - 1);
	}
	return count > 1 ? EMUL_AGAIN : EMUL_DONE;
}

/*
 * The CPU checked the guest's rights to the bytes from gpa to the page's end, for the kind of
 * access that the exit reported. If the instruction needs more (it may have changed meanwhile),
 * this checks the guest's page tables. An exit for the APIC's page gives no linear address to
 * check: there a kernel may do what it asks, a user process may not.
 */
static __attribute__((noinline)) enum emul_outcome ask_tables(struct emul *e,
							      const struct emul_insn *insn,
							      unsigned kind)
{
	enum gwalk_access access = (kind & GMEM_ACCESS_WRITE) != 0 ? GWALK_WRITE : GWALK_READ;

	if (!e->access->linear_known) {
		return e->mode.user ? EMUL_RETRY : EMUL_DONE;
	}
	if (operand_at(e->vcpu, &e->mode, vmread(VMCS_GUEST_LINEAR_ADDRESS), insn->size, access,
		       &e->operand, e->fault) != 0) {
		return EMUL_FAULTED;
	}
	e->crosses = e->operand.bytes[1] != 0;
	return e->operand.part[0].v == e->gpa.v ? EMUL_DONE : EMUL_RETRY;
}

/* Can the exit have been for this instruction, and would the CPU let it access the operand? */
static inline enum emul_outcome judge(struct emul *e, const struct emul_slot *slot)
{
	unsigned kind = slot->kind, reported = e->access->kind;
	bool crosses = e->gpa.v % PAGE_SIZE + slot->insn.size > PAGE_SIZE;

	e->crosses = false;
	if (__builtin_expect(kind == reported && !crosses, 1)) {
		return EMUL_DONE;
	}
	if ((reported & ~kind) != 0) {
		return EMUL_RETRY;
	}
	/* A right to write includes the right to read. */
	if ((kind & EMUL_STRING) != 0 || (!crosses && (reported & GMEM_ACCESS_WRITE) != 0)) {
		return EMUL_DONE;
	}
	return ask_tables(e, &slot->insn, kind);
}

static enum emul_outcome execute(struct emul *e, const struct emul_slot *slot)
{
	const struct emul_insn *insn = &slot->insn;
	enum emul_outcome fits = judge(e, slot);

	if (__builtin_expect(fits != EMUL_DONE, 0)) {
		return fits;
	}
	switch (insn->op) {
	case EMUL_STORE: bus_write(e, insn->size, get_source(e, insn)); break;
	case EMUL_LOAD:
	case EMUL_LOAD_SIGN: do_load(e, insn); break;
	case EMUL_XCHG: do_xchg(e, insn); break;
	case EMUL_STOS:
	case EMUL_LODS:
	case EMUL_MOVS: return do_string(e, insn);
	default: do_alu(e, insn); break;
	}
	return EMUL_DONE;
}

/* The access of the instruction to its operand; for string instructions, to either operand. */
static uint8_t kind_of(const struct emul_insn *insn)
{
	switch (insn->op) {
	case EMUL_LOAD:
	case EMUL_LOAD_SIGN:
	case EMUL_ALU_REG: return GMEM_ACCESS_READ;
	case EMUL_LODS: return EMUL_STRING | GMEM_ACCESS_READ;
	case EMUL_STORE: return GMEM_ACCESS_WRITE;
	case EMUL_STOS: return EMUL_STRING | GMEM_ACCESS_WRITE;
	case EMUL_MOVS: return EMUL_STRING | GMEM_ACCESS_READ | GMEM_ACCESS_WRITE;
	case EMUL_ALU_MEM:
	case EMUL_BIT:
		return writes_back(insn->alu) ? GMEM_ACCESS_READ | GMEM_ACCESS_WRITE
					      : GMEM_ACCESS_READ;
	default: return GMEM_ACCESS_READ | GMEM_ACCESS_WRITE;
	}
}

/* RFLAGS do not affect a fetch. */
static bool same_mode(const struct gwalk_mode *a, const struct gwalk_mode *b)
{
	return a->cr3 == b->cr3 && a->cr0 == b->cr0 && a->cr4 == b->cr4 && a->efer == b->efer &&
	       a->user == b->user;
}

/*
 * Notes the instruction's bytes at gpa, in addition to the page-table entries that the slot depends
 * on.
 */
static void note_code(struct emul_slot *slot, gpa_t gpa, const uint8_t *bytes)
{
	struct gmem_expect *words = &slot->words[slot->count];
	uint64_t first = gpa.v / 8;

	memset(words, 0, EMUL_CODE_WORDS * sizeof(words[0]));
	for (uint64_t i = 0; i < slot->insn.length; i++) {
		struct gmem_expect *word = &words[(gpa.v + i) / 8 - first];
		unsigned shift = (gpa.v + i) % 8 * 8;

		word->at = ALIGN_DOWN(gpa.v + i, 8ul);
		word->mask |= 0xfful << shift;
		word->value |= (uint64_t)bytes[i] << shift;
	}
	slot->count = (uint8_t)(slot->count + (gpa.v + slot->insn.length - 1) / 8 - first + 1);
}

/*
 * Fetches up to the end of the page, and beyond it if that is not enough (such an instruction is
 * not cached). If a page cannot be read now, it was changed since the CPU fetched from it: the
 * guest gets the fault.
 */
static __attribute__((noinline)) enum emul_outcome fetch(const struct emul *e, uint64_t linear,
							 struct emul_slot *slot)
{
	size_t count = MIN((size_t)EMUL_INSN_MAX, PAGE_SIZE - linear % PAGE_SIZE);
	uint8_t bytes[EMUL_INSN_MAX] = { 0 };
	bool whole = true;
	gpa_t gpa;
	int err;

	slot->bits = 0;
	err = gwalk_translate_noted(e->gmem, &e->mode, linear, GWALK_FETCH, &gpa, e->fault,
				    slot->words, &slot->count);
	if (err == 0) {
		err = gmem_read(e->gmem, gpa, bytes, count);
	}
	if (err == 0) {
		err = emul_decode(bytes, count, e->bits, &slot->insn);
	}
	if (err == ERR_RANGE && count < EMUL_INSN_MAX) {
		whole = false;
		err = gwalk_copy(e->gmem, &e->mode, linear, bytes, EMUL_INSN_MAX, GWALK_FETCH,
				 e->fault);
		err = err != 0 ? err : emul_decode(bytes, EMUL_INSN_MAX, e->bits, &slot->insn);
	}
	if (err == ERR_NOTFOUND) {
		return EMUL_FAULTED;
	}
	if (err != 0) {
		return err == ERR_INVAL ? EMUL_RETRY : EMUL_UNKNOWN;
	}
	slot->kind = kind_of(&slot->insn);
	if (whole) {
		note_code(slot, gpa, bytes);
		slot->linear = linear;
		slot->mode = e->mode;
		slot->bits = (uint8_t)e->bits;
	}
	return EMUL_DONE;
}

static inline uint64_t linear_rip(unsigned bits)
{
	uint64_t rip = vmread(VMCS_GUEST_RIP);

	return bits == 64 ? rip : (uint32_t)(rip + vmread(VMCS_GUEST_CS_BASE));
}

/* Finds the instruction at RIP. The slot is valid at least until the next call. */
static enum emul_outcome find_insn(const struct emul *e, struct emul_slot **out)
{
	uint64_t linear = linear_rip(e->bits);
	struct emul_slot *slots = e->vcpu->priv->emul_cache.slots;
	struct emul_slot *slot = &slots[(linear ^ linear >> 4) % EMUL_CACHE_SLOTS];

	*out = slot;
	if (slot->bits == e->bits && slot->linear == linear && same_mode(&slot->mode, &e->mode) &&
	    gmem_holds(e->gmem, slot->words, slot->count)) {
		return EMUL_DONE;
	}
	return fetch(e, linear, slot);
}

/* SDM vol. 3, "Guest Register State": the L and D/B bits of CS. */
static unsigned code_bits(const struct gwalk_mode *mode)
{
	uint64_t rights = vmread(VMCS_GUEST_CS_ACCESS_RIGHTS);

	if ((mode->efer & EFER_LMA) != 0 && (rights & SEG_AR_L) != 0) {
		return 64;
	}
	return (rights & SEG_AR_DB) != 0 ? 32 : 16;
}

void emul_log(struct vcpu *vcpu, gpa_t gpa)
{
	uint8_t bytes[8] = { 0 }; /* stay zero if they cannot be read */
	struct gwalk_mode mode;
	struct gwalk_fault fault;
	uint64_t linear;

	gwalk_mode_read(&mode);
	linear = linear_rip(code_bits(&mode));
	(void)gwalk_copy(&vcpu->vm->gmem, &mode, linear, bytes, sizeof(bytes), GWALK_FETCH, &fault);
	log_warn("vm %s: vCPU %u accessed device memory at %#lx by an instruction that Umbra does "
		 "not emulate, and got #GP; its bytes, at %#lx: %02x %02x %02x %02x %02x %02x "
		 "%02x %02x; further ones are not logged",
		 vcpu->vm->name, vcpu->id, gpa.v, linear, bytes[0], bytes[1], bytes[2], bytes[3],
		 bytes[4], bytes[5], bytes[6], bytes[7]);
}

enum emul_outcome emul_mmio(struct vcpu *vcpu, const struct emul_access *access, uint8_t *length,
			    struct gwalk_fault *fault)
{
	struct emul e; /* every field is set: zeroing it first would double the cost */
	struct emul_slot *slot;
	enum emul_outcome outcome;

	e.vcpu = vcpu;
	e.gmem = &vcpu->vm->gmem;
	e.gpa = access->gpa;
	e.access = access;
	e.fault = fault;
	gwalk_mode_read(&e.mode);
	e.bits = code_bits(&e.mode);
	outcome = find_insn(&e, &slot);
	if (outcome == EMUL_DONE) {
		*length = slot->insn.length;
		outcome = execute(&e, slot);
	}
	return outcome;
}
