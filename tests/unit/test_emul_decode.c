/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/emul_decode.c and vmm/emul_alu.c: what instructions do, and flags compared with those of the
 * build host's CPU.
 */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/emul.h"

static const struct decode_case {
	const char *name;
	uint8_t bits;
	uint8_t count;
	uint8_t bytes[EMUL_INSN_MAX];
	struct emul_insn want;
	int err;
} decode_cases[] = {
	{ "mov [rax],esi",
	  64,
	  2,
	  { 0x89, 0x30 },
	  { .op = EMUL_STORE, .alu = 0xff, .length = 2, .size = 4, .dest_size = 4, .reg = 6 },
	  0 },
	{ "mov r9,[rdi+8]",
	  64,
	  4,
	  { 0x4c, 0x8b, 0x4f, 0x08 },
	  { .op = EMUL_LOAD, .alu = 0xff, .length = 4, .size = 8, .dest_size = 8, .reg = 9 },
	  0 },
	{ "mov [rax],ah",
	  64,
	  2,
	  { 0x88, 0x20 },
	  { .op = EMUL_STORE,
	    .alu = 0xff,
	    .length = 2,
	    .size = 1,
	    .dest_size = 1,
	    .high_byte = true },
	  0 },
	{ "mov [rax],spl",
	  64,
	  3,
	  { 0x40, 0x88, 0x20 },
	  { .op = EMUL_STORE, .alu = 0xff, .length = 3, .size = 1, .dest_size = 1, .reg = 4 },
	  0 },
	{ "mov dword [0xfee000b0],0",
	  64,
	  11,
	  { 0xc7, 0x04, 0x25, 0xb0, 0x00, 0xe0, 0xfe, 0, 0, 0, 0 },
	  { .op = EMUL_STORE,
	    .alu = 0xff,
	    .length = 11,
	    .size = 4,
	    .dest_size = 4,
	    .has_imm = true },
	  0 },
	{ "mov word [rbx],0xfffe",
	  64,
	  5,
	  { 0x66, 0xc7, 0x03, 0xfe, 0xff },
	  { .op = EMUL_STORE,
	    .alu = 0xff,
	    .length = 5,
	    .size = 2,
	    .dest_size = 2,
	    .has_imm = true,
	    .imm = -2ul },
	  0 },
	{ "or dword [rax],-1 (imm8)",
	  64,
	  3,
	  { 0x83, 0x08, 0xff },
	  { .op = EMUL_ALU_MEM,
	    .alu = EMUL_OR,
	    .length = 3,
	    .size = 4,
	    .dest_size = 4,
	    .has_imm = true,
	    .imm = -1ul },
	  0 },
	{ "and ecx,[rdx]",
	  64,
	  2,
	  { 0x23, 0x0a },
	  { .op = EMUL_ALU_REG, .alu = EMUL_AND, .length = 2, .size = 4, .dest_size = 4, .reg = 1 },
	  0 },
	{ "test byte [rax],1",
	  64,
	  3,
	  { 0xf6, 0x00, 0x01 },
	  { .op = EMUL_ALU_MEM,
	    .alu = EMUL_TEST,
	    .length = 3,
	    .size = 1,
	    .dest_size = 1,
	    .has_imm = true,
	    .imm = 1 },
	  0 },
	{ "movzx eax,word [rsi]",
	  64,
	  3,
	  { 0x0f, 0xb7, 0x06 },
	  { .op = EMUL_LOAD, .alu = 0xff, .length = 3, .size = 2, .dest_size = 4 },
	  0 },
	{ "movsx rdx,byte [rsi]",
	  64,
	  4,
	  { 0x48, 0x0f, 0xbe, 0x16 },
	  { .op = EMUL_LOAD_SIGN, .alu = 0xff, .length = 4, .size = 1, .dest_size = 8, .reg = 2 },
	  0 },
	{ "movsxd rax,[rsi]",
	  64,
	  3,
	  { 0x48, 0x63, 0x06 },
	  { .op = EMUL_LOAD_SIGN, .alu = 0xff, .length = 3, .size = 4, .dest_size = 8 },
	  0 },
	{ "xchg [rdi],eax",
	  64,
	  2,
	  { 0x87, 0x07 },
	  { .op = EMUL_XCHG, .alu = 0xff, .length = 2, .size = 4, .dest_size = 4 },
	  0 },
	{ "lock bts dword [rdi],12",
	  64,
	  5,
	  { 0xf0, 0x0f, 0xba, 0x2f, 0x0c },
	  { .op = EMUL_BIT,
	    .alu = EMUL_BTS,
	    .length = 5,
	    .size = 4,
	    .dest_size = 1,
	    .has_imm = true,
	    .imm = 12 },
	  0 },
	{ "rep stosd",
	  64,
	  2,
	  { 0xf3, 0xab },
	  { .op = EMUL_STOS,
	    .alu = 0xff,
	    .length = 2,
	    .size = 4,
	    .dest_size = 4,
	    .rep = true,
	    .address_size = 8,
	    .segment = 3 },
	  0 },
	{ "rep movsb gs:",
	  32,
	  3,
	  { 0x65, 0xf3, 0xa4 },
	  { .op = EMUL_MOVS,
	    .alu = 0xff,
	    .length = 3,
	    .size = 1,
	    .dest_size = 1,
	    .rep = true,
	    .address_size = 4,
	    .segment = 5 },
	  0 },
	{ "mov [bx],ax",
	  16,
	  2,
	  { 0x89, 0x07 },
	  { .op = EMUL_STORE, .alu = 0xff, .length = 2, .size = 2, .dest_size = 2 },
	  0 },
	{ "mov eax,moffs",
	  64,
	  9,
	  { 0xa1, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0 },
	  { .op = EMUL_LOAD, .alu = 0xff, .length = 9, .size = 4, .dest_size = 4 },
	  0 },
	{ "not dword [rax]",
	  64,
	  2,
	  { 0xf7, 0x10 },
	  { .op = EMUL_UNARY, .alu = EMUL_NOT, .length = 2, .size = 4, .dest_size = 4 },
	  0 },
	{ "add eax,imm (no memory)", 64, 5, { 0x05, 1, 0, 0, 0 }, { 0 }, ERR_UNSUPPORTED },
	{ "mov eax,ecx (no memory)", 64, 2, { 0x89, 0xc8 }, { 0 }, ERR_INVAL },
	{ "mul dword [rax]", 64, 2, { 0xf7, 0x20 }, { 0 }, ERR_UNSUPPORTED },
	{ "call [rax]", 64, 2, { 0xff, 0x10 }, { 0 }, ERR_UNSUPPORTED },
	{ "movups [rax],xmm0", 64, 3, { 0x0f, 0x11, 0x00 }, { 0 }, ERR_UNSUPPORTED },
	{ "vmovdqa [rax],ymm0", 64, 4, { 0xc5, 0xfd, 0x7f, 0x00 }, { 0 }, ERR_UNSUPPORTED },
	{ "undefined", 64, 2, { 0x0f, 0xff }, { 0 }, ERR_RANGE },
	{ "cut in the displacement", 64, 4, { 0x8b, 0x87, 0x00, 0x00 }, { 0 }, ERR_RANGE },
	{ "nothing but prefixes", 64, 3, { 0x66, 0x66, 0x66 }, { 0 }, ERR_RANGE },
};

TEST(test_decode)
{
	for (size_t i = 0; i < ARRAY_COUNT(decode_cases); i++) {
		const struct decode_case *c = &decode_cases[i];
		struct emul_insn got;
		int err = emul_decode(c->bytes, c->count, c->bits, &got);

		if (err != c->err) {
			fail_msg("%s: error %d, not %d", c->name, err, c->err);
		}
		if (err == 0 && memcmp(&got, &c->want, sizeof(got)) != 0) {
			fail_msg("%s: op %u alu %u length %u size %u dest %u reg %u imm %lx",
				 c->name, got.op, got.alu, got.length, got.size, got.dest_size,
				 got.reg, got.imm);
		}
	}
}

#define FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* Computes the result with this machine's own CPU. */
#define HOST_OP(insn, T)                                                              \
	do {                                                                          \
		T x = (T)a, y = (T)b;                                                 \
		__asm__ volatile("pushq %2\n\tpopfq\n\t" insn "\n\tpushfq\n\tpopq %1" \
				 : "+r"(x), "=r"(flags)                               \
				 : "r"(in), "r"(y)                                    \
				 : "cc");                                             \
		result = x;                                                           \
	} while (0)
#define HOST_SIZES(two)                                            \
	do {                                                       \
		switch (size) {                                    \
		case 1: HOST_OP(two "b %3, %0", uint8_t); break;   \
		case 2: HOST_OP(two "w %3, %0", uint16_t); break;  \
		case 4: HOST_OP(two "l %3, %0", uint32_t); break;  \
		default: HOST_OP(two "q %3, %0", uint64_t); break; \
		}                                                  \
	} while (0)
#define HOST_UNARY(one)                                        \
	do {                                                   \
		switch (size) {                                \
		case 1: HOST_OP(one "b %0", uint8_t); break;   \
		case 2: HOST_OP(one "w %0", uint16_t); break;  \
		case 4: HOST_OP(one "l %0", uint32_t); break;  \
		default: HOST_OP(one "q %0", uint64_t); break; \
		}                                              \
	} while (0)

static uint64_t host_compute(unsigned alu, uint64_t a, uint64_t b, unsigned size, uint64_t *rflags)
{
	uint64_t in = *rflags | RFLAGS_ONE | RFLAGS_IF, flags = 0, result = 0;

	switch (alu) {
	case EMUL_ADD: HOST_SIZES("add"); break;
	case EMUL_OR: HOST_SIZES("or"); break;
	case EMUL_ADC: HOST_SIZES("adc"); break;
	case EMUL_SBB: HOST_SIZES("sbb"); break;
	case EMUL_AND: HOST_SIZES("and"); break;
	case EMUL_SUB: HOST_SIZES("sub"); break;
	case EMUL_XOR: HOST_SIZES("xor"); break;
	case EMUL_CMP: HOST_SIZES("cmp"); break;
	case EMUL_TEST: HOST_SIZES("test"); break;
	case EMUL_INC: HOST_UNARY("inc"); break;
	case EMUL_DEC: HOST_UNARY("dec"); break;
	case EMUL_NOT: HOST_UNARY("not"); break;
	case EMUL_NEG: HOST_UNARY("neg"); break;
	default: fail();
	}
	*rflags = flags & FLAGS;
	return result;
}

static uint64_t random_value(void)
{
	static const uint64_t edges[] = { 0,	      1,	 0x7f,	    0x80,	0xff,
					  0x7fff,     0x8000,	 0xffff,    0x7fffffff, 0x80000000,
					  0xffffffff, INT64_MAX, 1ul << 63, UINT64_MAX };
	uint64_t r = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();

	return r % 3 == 0 ? edges[r / 3 % ARRAY_COUNT(edges)] : r;
}

/* Logical operations leave AF undefined (SDM vol. 2), so it is not compared. */
static uint64_t defined_flags(unsigned alu)
{
	bool logical = alu == EMUL_AND || alu == EMUL_OR || alu == EMUL_XOR || alu == EMUL_TEST;

	return logical ? FLAGS & ~RFLAGS_AF : FLAGS;
}

TEST(test_compute)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };

	srand(1);
	for (unsigned round = 0; round < 200000; round++) {
		unsigned alu = (unsigned)rand() % (EMUL_NEG + 1), size = sizes[rand() % 4];
		uint64_t mask = size == 8 ? UINT64_MAX : (1ul << 8 * size) - 1;
		uint64_t a = random_value() & mask, b = random_value() & mask;
		uint64_t flags = (uint64_t)rand() & FLAGS, want_flags = flags, got_flags = flags;
		uint64_t want = host_compute(alu, a, b, size, &want_flags) & mask;
		uint64_t got = emul_compute(alu, a, b, size, &got_flags);

		if (alu == EMUL_CMP || alu == EMUL_TEST) {
			got = want; /* nothing is written back */
		}
		if (want != got || ((want_flags ^ got_flags) & defined_flags(alu)) != 0) {
			fail_msg("alu %u size %u: %lx, %lx: %lx/%lx, CPU %lx/%lx", alu, size, a, b,
				 got, got_flags, want, want_flags);
		}
	}
}
