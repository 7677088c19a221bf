/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches, decodes (or finds in the cache) and does an instruction on device memory. Nothing here
 * trusts the guest: an instruction may change between the CPU's look at it and ours, so that each
 * form is done for what it is now, at the address that the exit told.
 */
#include "vmm/emul.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/vcpu_priv.h"

#define FLAGS_ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* One instruction on its way. */
struct emul {
	struct vcpu *vcpu;
	struct gmem *gmem;
	struct gwalk_mode mode;
	unsigned bits;
	gpa_t gpa;
	struct gwalk_fault *fault;
};

static uint64_t size_mask(unsigned size)
{
	return MASK(8 * size - 1, 0);
}

static uint64_t sign_bit(unsigned size)
{
	return BIT(8 * size - 1);
}

static uint64_t result_flags(uint64_t result, unsigned size)
{
	uint64_t flags = 0;

	flags |= __builtin_parity((unsigned)(result & 0xff)) == 0 ? RFLAGS_PF : 0;
	flags |= (result & size_mask(size)) == 0 ? RFLAGS_ZF : 0;
	flags |= (result & sign_bit(size)) != 0 ? RFLAGS_SF : 0;
	return flags;
}

/* a + b + carry, or with a negated b and carry a - b - borrow: CF is the carry out of the top. */
static uint64_t add_flags(uint64_t a, uint64_t b, uint64_t result, unsigned size, bool subtract)
{
	/* SDM vol. 1, "EFLAGS Register": the carry vector of an addition is recovered by logic. */
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
	return r & size_mask(size);
}

static uint64_t bus_read(const struct emul *e, gpa_t gpa, unsigned size)
{
	struct io_access access = { .size = size };

	vcpu_device_access(e->vcpu, gpa, &access);
	return access.value & size_mask(size);
}

static void bus_write(const struct emul *e, gpa_t gpa, unsigned size, uint64_t value)
{
	struct io_access access = { .size = size, .write = true, .value = value & size_mask(size) };

	vcpu_device_access(e->vcpu, gpa, &access);
}

static uint64_t get_reg(const struct emul *e, const struct emul_insn *insn)
{
	uint64_t value = vcpu_get_gpr(e->vcpu, insn->reg);

	return insn->high_byte ? value >> 8 : value;
}

static uint64_t get_source(const struct emul *e, const struct emul_insn *insn)
{
	return (insn->has_imm ? insn->imm : get_reg(e, insn)) & size_mask(insn->size);
}

/* A 32-bit result clears the upper half, smaller ones leave the rest as it was. */
static inline void set_reg(const struct emul *e, const struct emul_insn *insn, unsigned size,
			   uint64_t value)
{
	unsigned shift = insn->high_byte ? 8 : 0;
	uint64_t mask = size_mask(size) << shift;

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
	uint64_t memory = bus_read(e, e->gpa, insn->size);
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
		bus_write(e, e->gpa, insn->size, result);
	}
}

static void do_load(const struct emul *e, const struct emul_insn *insn)
{
	uint64_t value = bus_read(e, e->gpa, insn->size);

	if (insn->op == EMUL_LOAD_SIGN && (value & sign_bit(insn->size)) != 0) {
		value |= ~size_mask(insn->size);
	}
	set_reg(e, insn, insn->dest_size, value);
}

static void do_xchg(const struct emul *e, const struct emul_insn *insn)
{
	uint64_t value = bus_read(e, e->gpa, insn->size);

	bus_write(e, e->gpa, insn->size, get_reg(e, insn));
	set_reg(e, insn, insn->size, value);
}

/* RSI, RDI and RCX have the width of the address size. */
static uint64_t get_address_reg(const struct emul *e, const struct emul_insn *insn, unsigned reg)
{
	return vcpu_get_gpr(e->vcpu, reg) & size_mask(insn->address_size);
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

/* Where one side of MOVS lies. Segment bases count in 64-bit mode for FS and GS alone. */
static int string_operand(const struct emul *e, const struct emul_insn *insn, bool source,
			  gpa_t *out)
{
	uint8_t segment = source ? insn->segment : 0;
	bool has_base = e->bits != 64 || segment >= 4;
	uint64_t linear = get_address_reg(e, insn, source ? GPR_RSI : GPR_RDI);

	linear += has_base ? vmread(VMCS_GUEST_BASE(segment)) : 0;
	return gwalk_translate(e->gmem, &e->mode, linear, source ? GWALK_READ : GWALK_WRITE, out,
			       e->fault);
}

/* One side of it is a device, the other may be RAM. */
static int do_movs(const struct emul *e, const struct emul_insn *insn)
{
	gpa_t from, to;
	uint64_t value = 0;

	if (string_operand(e, insn, true, &from) != 0 || string_operand(e, insn, false, &to) != 0) {
		return ERR_NOTFOUND;
	}
	if (gmem_read(e->gmem, from, &value, insn->size) != 0) {
		value = bus_read(e, from, insn->size);
	}
	if (gmem_write(e->gmem, to, &value, insn->size) != 0) {
		bus_write(e, to, insn->size, value);
	}
	step(e, insn, GPR_RSI);
	step(e, insn, GPR_RDI);
	return 0;
}

/* One round. The next, if there is one, faults again: interrupts come in between as on a CPU. */
static enum emul_outcome do_string(const struct emul *e, const struct emul_insn *insn)
{
	uint64_t count = insn->rep ? get_address_reg(e, insn, GPR_RCX) : 1;

	if (count == 0) {
		return EMUL_DONE;
	}
	if (insn->op == EMUL_MOVS) {
		if (do_movs(e, insn) != 0) {
			return EMUL_FAULTED;
		}
	} else if (insn->op == EMUL_STOS) {
		bus_write(e, e->gpa, insn->size, get_reg(e, insn));
		step(e, insn, GPR_RDI);
	} else {
		set_reg(e, insn, insn->size, bus_read(e, e->gpa, insn->size));
		step(e, insn, GPR_RSI);
	}
	if (insn->rep) {
		set_address_reg(e, insn, GPR_RCX, count - 1);
	}
	return count > 1 ? EMUL_AGAIN : EMUL_DONE;
}

static enum emul_outcome execute(const struct emul *e, const struct emul_insn *insn)
{
	switch (insn->op) {
	case EMUL_STORE: bus_write(e, e->gpa, insn->size, get_source(e, insn)); break;
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

/* RFLAGS do not matter to a fetch. */
static bool same_mode(const struct gwalk_mode *a, const struct gwalk_mode *b)
{
	return a->cr3 == b->cr3 && a->cr0 == b->cr0 && a->cr4 == b->cr4 && a->efer == b->efer &&
	       a->user == b->user;
}

/* What the slot follows from, behind the page-table entries: the instruction's bytes at gpa. */
static void note_code(struct emul_slot *slot, gpa_t gpa, const uint8_t *bytes)
{
	struct gmem_expect *words = &slot->words[slot->count];
	uint64_t first = gpa.v / 8;

	memset(words, 0, EMUL_CODE_WORDS * sizeof(words[0]));
	for (uint64_t i = 0; i < slot->insn.length; i++) {
		struct gmem_expect *word = &words[(gpa.v + i) / 8 - first];
		unsigned shift = (gpa.v + i) % 8 * 8;

		word->at = ALIGN_DOWN(gpa.v + i, 8ull);
		word->mask |= 0xffull << shift;
		word->value |= (uint64_t)bytes[i] << shift;
	}
	slot->count = (uint8_t)(slot->count + (gpa.v + slot->insn.length - 1) / 8 - first + 1);
}

static enum emul_outcome unknown(const struct emul *e, uint64_t linear, const uint8_t *bytes)
{
	log_error("vm %s: vCPU %u: no known instruction on device memory at %#llx, from %#llx: "
		  "%02x %02x %02x %02x %02x %02x %02x %02x",
		  e->vcpu->vm->name, e->vcpu->id, (unsigned long long)e->gpa.v,
		  (unsigned long long)linear, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4],
		  bytes[5], bytes[6], bytes[7]);
	return EMUL_UNKNOWN;
}

/*
 * Fetches as far as the page goes, and beyond it when that does not suffice (such an instruction is
 * not kept). A page that cannot be read now was changed since the CPU fetched from it: the guest
 * is told its fault.
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
	if (err != 0) {
		return err == ERR_NOTFOUND ? EMUL_FAULTED : unknown(e, linear, bytes);
	}
	if (whole) {
		note_code(slot, gpa, bytes);
		slot->linear = linear;
		slot->mode = e->mode;
		slot->bits = (uint8_t)e->bits;
	}
	return EMUL_DONE;
}

/* The slot then holds the instruction at RIP, at least until the next call. */
static enum emul_outcome find_insn(const struct emul *e, struct emul_slot **out)
{
	uint64_t rip = vmread(VMCS_GUEST_RIP);
	uint64_t linear = e->bits == 64 ? rip : (uint32_t)(rip + vmread(VMCS_GUEST_CS_BASE));
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

enum emul_outcome emul_mmio(struct vcpu *vcpu, gpa_t gpa, uint8_t *length,
			    struct gwalk_fault *fault)
{
	struct emul e; /* all of it is filled in: zeroing it first would cost as much again */
	struct emul_slot *slot;
	enum emul_outcome outcome;

	e.vcpu = vcpu;
	e.gmem = &vcpu->vm->gmem;
	e.gpa = gpa;
	e.fault = fault;
	gwalk_mode_read(&e.mode);
	e.bits = code_bits(&e.mode);
	outcome = find_insn(&e, &slot);
	if (outcome == EMUL_DONE) {
		*length = slot->insn.length;
		outcome = execute(&e, &slot->insn);
	}
	return outcome;
}
