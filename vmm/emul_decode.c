/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to struct emul_insn. Zydis finds prefixes, lengths and operand widths and refuses
 * invalid instructions. This file decides what the opcode means for a device, from the opcode maps
 * of SDM vol. 2.
 */
#include "vmm/base/err.h"
#include "vmm/emul.h"
#include "vmm/vcpu.h"
#include "vmm/vmx_bits.h"

#include <Zydis/Decoder.h>

#define ALU_NONE 0xff

/* Zydis' result, and the struct that is made of it. */
struct decode {
	ZydisDecodedInstruction z;
	struct emul_insn *out;
};

static uint64_t sign_extend(uint64_t value, unsigned bits)
{
	return bits >= 64 ? value : (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
}

/* The register of ModRM.reg; without REX the byte registers 4 to 7 are AH, CH, DH and BH. */
static void take_reg(struct decode *d, unsigned size)
{
	bool rex = (d->z.attributes & ZYDIS_ATTRIB_HAS_REX) != 0;
	uint8_t reg = d->z.raw.modrm.reg;

	d->out->high_byte = size == 1 && !rex && reg >= 4;
	d->out->reg = d->out->high_byte ? (uint8_t)(reg - 4)
					: (uint8_t)(reg | (rex ? d->z.raw.rex.R << 3 : 0));
}

static void take_imm(struct decode *d)
{
	d->out->has_imm = true;
	d->out->imm = sign_extend(d->z.raw.imm[0].value.u, d->z.raw.imm[0].size);
}

/* Opcodes whose bit 0 chooses between a byte and the operand size. */
static uint8_t operand_size(const struct decode *d)
{
	return (d->z.opcode & 1) == 0 ? 1 : (uint8_t)(d->z.operand_width / 8);
}

static void set(struct decode *d, enum emul_op op, uint8_t alu)
{
	d->out->op = (uint8_t)op;
	d->out->alu = alu;
	d->out->size = operand_size(d);
	d->out->dest_size = d->out->size;
}

/* 00-3B: eight operations, each as memory,register and register,memory. */
static int decode_alu(struct decode *d)
{
	set(d, (d->z.opcode & 2) == 0 ? EMUL_ALU_MEM : EMUL_ALU_REG, (d->z.opcode >> 3) & 7);
	take_reg(d, d->out->size);
	return (d->z.opcode & 4) == 0 ? 0 : ERR_UNSUPPORTED;
}

/* F6, F7: group 3. */
static int decode_group3(struct decode *d)
{
	switch (d->z.raw.modrm.reg) {
	case 0:
	case 1:
		set(d, EMUL_ALU_MEM, EMUL_TEST);
		take_imm(d);
		return 0;
	case 2: set(d, EMUL_UNARY, EMUL_NOT); return 0;
	case 3: set(d, EMUL_UNARY, EMUL_NEG); return 0;
	default: return ERR_UNSUPPORTED;
	}
}

/* FE, FF: groups 4 and 5. Calls, jumps and pushes through device memory are not supported. */
static int decode_group45(struct decode *d)
{
	if (d->z.raw.modrm.reg > 1) {
		return ERR_UNSUPPORTED;
	}
	set(d, EMUL_UNARY, d->z.raw.modrm.reg == 0 ? EMUL_INC : EMUL_DEC);
	return 0;
}

/*
 * The last segment prefix counts. Numbers are in the order of VMCS fields: ES, CS, SS, DS, FS, GS.
 */
static uint8_t source_segment(const struct decode *d)
{
	static const uint8_t prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	uint8_t segment = 3;

	for (unsigned i = 0; i < d->z.raw.prefix_count; i++) {
		for (uint8_t s = 0; s < ARRAY_COUNT(prefixes); s++) {
			segment = d->z.raw.prefixes[i].value == prefixes[s] ? s : segment;
		}
	}
	return segment;
}

static int decode_string(struct decode *d, enum emul_op op)
{
	set(d, op, ALU_NONE);
	d->out->reg = GPR_RAX;
	d->out->address_size = (uint8_t)(d->z.address_width / 8);
	d->out->segment = source_segment(d);
	for (unsigned i = 0; i < d->z.raw.prefix_count; i++) {
		uint8_t prefix = d->z.raw.prefixes[i].value;

		d->out->rep = d->out->rep || prefix == 0xf2 || prefix == 0xf3;
	}
	return 0;
}

static int decode_move(struct decode *d, enum emul_op op)
{
	set(d, op, ALU_NONE);
	take_reg(d, d->out->size);
	return 0;
}

/* A0-A3: an absolute address and RAX. */
static int decode_move_offset(struct decode *d)
{
	set(d, (d->z.opcode & 2) == 0 ? EMUL_LOAD : EMUL_STORE, ALU_NONE);
	d->out->reg = GPR_RAX;
	return 0;
}

static int decode_one_byte(struct decode *d)
{
	uint8_t opcode = d->z.opcode;

	if (opcode < 0x40) {
		return decode_alu(d);
	}
	switch (opcode) {
	case 0x63: /* MOVSXD */
		set(d, EMUL_LOAD_SIGN, ALU_NONE);
		d->out->size = 4;
		take_reg(d, 8);
		return 0;
	case 0x80:
	case 0x81:
	case 0x83:
		set(d, EMUL_ALU_MEM, d->z.raw.modrm.reg);
		take_imm(d);
		return 0;
	case 0x84:
	case 0x85:
		set(d, EMUL_ALU_MEM, EMUL_TEST);
		take_reg(d, d->out->size);
		return 0;
	case 0x86:
	case 0x87: return decode_move(d, EMUL_XCHG);
	case 0x88:
	case 0x89: return decode_move(d, EMUL_STORE);
	case 0x8a:
	case 0x8b: return decode_move(d, EMUL_LOAD);
	case 0xa0:
	case 0xa1:
	case 0xa2:
	case 0xa3: return decode_move_offset(d);
	case 0xa4:
	case 0xa5: return decode_string(d, EMUL_MOVS);
	case 0xaa:
	case 0xab: return decode_string(d, EMUL_STOS);
	case 0xac:
	case 0xad: return decode_string(d, EMUL_LODS);
	case 0xc6:
	case 0xc7:
		set(d, EMUL_STORE, ALU_NONE);
		take_imm(d);
		return d->z.mnemonic == ZYDIS_MNEMONIC_MOV ? 0 : ERR_UNSUPPORTED;
	case 0xf6:
	case 0xf7: return decode_group3(d);
	case 0xfe:
	case 0xff: return decode_group45(d);
	default: return ERR_UNSUPPORTED;
	}
}

/* 0F B6, B7, BE, BF: the source is one or two bytes, the register has the operand size. */
static int decode_extend(struct decode *d, enum emul_op op)
{
	set(d, op, ALU_NONE);
	d->out->size = (d->z.opcode & 1) == 0 ? 1 : 2;
	d->out->dest_size = (uint8_t)(d->z.operand_width / 8);
	take_reg(d, d->out->dest_size);
	return 0;
}

static int decode_bit(struct decode *d, uint8_t alu)
{
	set(d, EMUL_BIT, alu);
	d->out->size = (uint8_t)(d->z.operand_width / 8);
	if (d->z.opcode == 0xba) {
		take_imm(d);
	} else {
		take_reg(d, d->out->size);
	}
	return 0;
}

static int decode_two_byte(struct decode *d)
{
	switch (d->z.opcode) {
	case 0xa3: return decode_bit(d, EMUL_BT);
	case 0xab: return decode_bit(d, EMUL_BTS);
	case 0xb3: return decode_bit(d, EMUL_BTR);
	case 0xbb: return decode_bit(d, EMUL_BTC);
	case 0xba:
		return d->z.raw.modrm.reg < 4 ? ERR_UNSUPPORTED
					      : decode_bit(d, EMUL_BT + (d->z.raw.modrm.reg & 3));
	case 0xb6:
	case 0xb7: return decode_extend(d, EMUL_LOAD);
	case 0xbe:
	case 0xbf: return decode_extend(d, EMUL_LOAD_SIGN);
	case 0xc3: return decode_move(d, EMUL_STORE); /* MOVNTI */
	default: return ERR_UNSUPPORTED;
	}
}

static bool has_memory_operand(const struct decode *d)
{
	return (d->z.attributes & ZYDIS_ATTRIB_HAS_MODRM) == 0 || d->z.raw.modrm.mod != 3;
}

static ZyanStatus run_zydis(const uint8_t *bytes, size_t count, unsigned bits,
			    ZydisDecodedInstruction *z)
{
	ZydisMachineMode mode = bits == 64   ? ZYDIS_MACHINE_MODE_LONG_64
				: bits == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
					     : ZYDIS_MACHINE_MODE_LEGACY_16;
	ZydisStackWidth stack = bits == 64   ? ZYDIS_STACK_WIDTH_64
				: bits == 32 ? ZYDIS_STACK_WIDTH_32
					     : ZYDIS_STACK_WIDTH_16;
	ZydisDecoder decoder;
	ZyanStatus status = ZydisDecoderInit(&decoder, mode, stack);

	return ZYAN_SUCCESS(status) ? ZydisDecoderDecodeInstruction(&decoder, NULL, bytes, count, z)
				    : status;
}

int emul_decode(const uint8_t *bytes, size_t count, unsigned bits, struct emul_insn *out)
{
	struct decode d = { .out = out };
	ZyanStatus status = run_zydis(bytes, count, bits, &d.z);
	int err = ERR_UNSUPPORTED;

	*out = (struct emul_insn){ 0 };
	if (status == ZYDIS_STATUS_NO_MORE_DATA) {
		return ERR_RANGE;
	}
	if (!ZYAN_SUCCESS(status)) {
		return ERR_UNSUPPORTED;
	}
	if (!has_memory_operand(&d)) {
		return ERR_INVAL;
	}
	if (d.z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
		return ERR_UNSUPPORTED;
	}
	out->length = d.z.length;
	if (d.z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT) {
		err = decode_one_byte(&d);
	} else if (d.z.opcode_map == ZYDIS_OPCODE_MAP_0F) {
		err = decode_two_byte(&d);
	}
	return err;
}
