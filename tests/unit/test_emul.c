/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/emul_decode.c and vmm/emul.c: what instructions mean, flags as the build host's own CPU
 * computes them, and whole instructions against a device of one register.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_base.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/vcpu_priv.h"

#define CODE	0x5000ull
#define DEVICE	0xfec00000ull
#define RAM	(1ull << 20)
#define RAM_VAR 0x8000ull

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
	    .imm = -2ull },
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
	    .imm = -1ull },
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
	{ "mov eax,ecx (no memory)", 64, 2, { 0x89, 0xc8 }, { 0 }, ERR_UNSUPPORTED },
	{ "mul dword [rax]", 64, 2, { 0xf7, 0x20 }, { 0 }, ERR_UNSUPPORTED },
	{ "call [rax]", 64, 2, { 0xff, 0x10 }, { 0 }, ERR_UNSUPPORTED },
	{ "movups [rax],xmm0", 64, 3, { 0x0f, 0x11, 0x00 }, { 0 }, ERR_UNSUPPORTED },
	{ "vmovdqa [rax],ymm0", 64, 4, { 0xc5, 0xfd, 0x7f, 0x00 }, { 0 }, ERR_UNSUPPORTED },
	{ "undefined", 64, 2, { 0x0f, 0xff }, { 0 }, ERR_RANGE },
	{ "cut in the displacement", 64, 4, { 0x8b, 0x87, 0x00, 0x00 }, { 0 }, ERR_RANGE },
	{ "nothing but prefixes", 64, 3, { 0x66, 0x66, 0x66 }, { 0 }, ERR_RANGE },
};

static void test_decode(void **state)
{
	for (size_t i = 0; i < ARRAY_COUNT(decode_cases); i++) {
		const struct decode_case *c = &decode_cases[i];
		struct emul_insn got;
		int err = emul_decode(c->bytes, c->count, c->bits, &got);

		if (err != c->err) {
			fail_msg("%s: error %d, not %d", c->name, err, c->err);
		}
		if (err == 0 && memcmp(&got, &c->want, sizeof(got)) != 0) {
			fail_msg("%s: op %u alu %u length %u size %u dest %u reg %u imm %llx",
				 c->name, got.op, got.alu, got.length, got.size, got.dest_size,
				 got.reg, (unsigned long long)got.imm);
		}
	}
}

#define FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* What this machine's own CPU makes of it. */
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
	static const uint64_t edges[] = { 0,	      1,	 0x7f,	     0x80,	 0xff,
					  0x7fff,     0x8000,	 0xffff,     0x7fffffff, 0x80000000,
					  0xffffffff, INT64_MAX, 1ull << 63, UINT64_MAX };
	uint64_t r = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();

	return r % 3 == 0 ? edges[r / 3 % ARRAY_COUNT(edges)] : r;
}

/* Logical operations leave AF undefined (SDM vol. 2): not compared. */
static uint64_t defined_flags(unsigned alu)
{
	bool logical = alu == EMUL_AND || alu == EMUL_OR || alu == EMUL_XOR || alu == EMUL_TEST;

	return logical ? FLAGS & ~RFLAGS_AF : FLAGS;
}

static void test_compute(void **state)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };

	srand(1);
	for (unsigned round = 0; round < 200000; round++) {
		unsigned alu = (unsigned)rand() % (EMUL_NEG + 1), size = sizes[rand() % 4];
		uint64_t mask = size == 8 ? UINT64_MAX : (1ull << 8 * size) - 1;
		uint64_t a = random_value() & mask, b = random_value() & mask;
		uint64_t flags = (uint64_t)rand() & FLAGS, want_flags = flags, got_flags = flags;
		uint64_t want = host_compute(alu, a, b, size, &want_flags) & mask;
		uint64_t got = emul_compute(alu, a, b, size, &got_flags);

		if (alu == EMUL_CMP || alu == EMUL_TEST) {
			got = want; /* nothing is written back */
		}
		if (want != got || ((want_flags ^ got_flags) & defined_flags(alu)) != 0) {
			fail_msg("alu %u size %u: %llx, %llx: %llx/%llx, CPU %llx/%llx", alu, size,
				 (unsigned long long)a, (unsigned long long)b,
				 (unsigned long long)got, (unsigned long long)got_flags,
				 (unsigned long long)want, (unsigned long long)want_flags);
		}
	}
}

/* One device register, and a log of what reached it. */
static uint64_t device_value, device_offset;
static unsigned device_reads, device_writes, device_size;

void vcpu_device_access(struct vcpu *vcpu, gpa_t gpa, struct io_access *access)
{
	(void)vcpu;
	device_offset = gpa.v - DEVICE;
	device_size = access->size;
	if (access->write) {
		device_writes++;
		device_value = access->value;
	} else {
		device_reads++;
		access->value = device_value;
	}
}

static struct vm vm;
static struct vcpu vcpu;
static struct vcpu_private priv;

static int setup(void **state)
{
	static const struct ept_caps caps = { .invept_single = true,
					      .structures_wb = true,
					      .phys_bits = 46 };

	fake_setup(state);
	memset(&vm, 0, sizeof(vm));
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&priv, 0, sizeof(priv));
	vcpu.vm = &vm;
	vcpu.priv = &priv;
	ept_configure(&caps);
	assert_int_equal(gmem_init(&vm.gmem), 0);
	assert_int_equal(gmem_add_ram_plain(&vm.gmem, gpa(0), RAM, PAGE_SIZE), 0);
	device_value = device_reads = device_writes = 0;
	/* Paging off, flat 32-bit code: linear is physical. */
	fake_vmwrite(VMCS_GUEST_CR0, CR0_PE);
	fake_vmwrite(VMCS_GUEST_CR3, 0);
	fake_vmwrite(VMCS_GUEST_CR4, 0);
	fake_vmwrite(VMCS_GUEST_EFER, 0);
	fake_vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_ONE);
	fake_vmwrite(VMCS_GUEST_RIP, CODE);
	fake_vmwrite(VMCS_GUEST_CS_BASE, 0);
	fake_vmwrite(VMCS_GUEST_ES_BASE, 0);
	fake_vmwrite(VMCS_GUEST_DS_BASE, 0);
	fake_vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, SEG_AR_DB | SEG_AR_S);
	fake_vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, SEG_AR_S);
	return 0;
}

static int teardown(void **state)
{
	gmem_destroy(&vm.gmem);
	return fake_teardown(state);
}

static enum emul_outcome run(const char *code, size_t count, uint64_t at)
{
	struct gwalk_fault fault;
	uint8_t length = 0;
	enum emul_outcome outcome;

	assert_int_equal(gmem_write(&vm.gmem, gpa(at), code, count), 0);
	fake_vmwrite(VMCS_GUEST_RIP, at);
	outcome = emul_mmio(&vcpu, gpa(DEVICE + 0x10), &length, &fault);
	if (outcome == EMUL_DONE) {
		assert_int_equal(length, count);
	}
	return outcome;
}
#define RUN(code) run(code, sizeof(code) - 1, CODE)

static void test_loads_and_stores(void **state)
{
	vcpu.regs.gpr[GPR_RAX] = 0x1122334455667788;
	assert_int_equal(RUN("\x89\x01"), EMUL_DONE); /* mov [ecx],eax */
	assert_int_equal(device_value, 0x55667788);
	assert_int_equal(device_offset, 0x10);
	assert_int_equal(RUN("\x88\x21"), EMUL_DONE); /* mov [ecx],ah */
	assert_int_equal(device_value, 0x77);
	device_value = 0xdeadbeef;
	assert_int_equal(RUN("\x8b\x01"), EMUL_DONE); /* mov eax,[ecx]: upper half cleared */
	assert_int_equal(vcpu.regs.gpr[GPR_RAX], 0xdeadbeef);
	vcpu.regs.gpr[GPR_RAX] = 0x1122334455667788;
	assert_int_equal(RUN("\x66\x8b\x01"), EMUL_DONE); /* mov ax,[ecx]: the rest stays */
	assert_int_equal(vcpu.regs.gpr[GPR_RAX], 0x112233445566beef);
	assert_int_equal(RUN("\x8a\x21"), EMUL_DONE); /* mov ah,[ecx] */
	assert_int_equal(vcpu.regs.gpr[GPR_RAX], 0x112233445566efef);
	assert_int_equal(RUN("\x0f\xbe\x11"), EMUL_DONE); /* movsx edx,byte [ecx] */
	assert_int_equal(vcpu.regs.gpr[GPR_RDX], 0xffffffef);
	assert_int_equal(device_reads, 4);
	assert_int_equal(device_writes, 2);
}

static void test_read_modify_write(void **state)
{
	device_value = 0xf0;
	assert_int_equal(RUN("\x83\x09\x0f"), EMUL_DONE); /* or dword [ecx],15 */
	assert_int_equal(device_value, 0xff);
	assert_int_equal(RUN("\x80\x39\xff"), EMUL_DONE); /* cmp byte [ecx],0xff */
	assert_int_not_equal(fake_vmread(VMCS_GUEST_RFLAGS) & RFLAGS_ZF, 0);
	assert_int_equal(device_writes, 1);
	assert_int_equal(RUN("\x0f\xba\x31\x04"), EMUL_DONE); /* btr dword [ecx],4 */
	assert_int_equal(device_value, 0xef);
	assert_int_not_equal(fake_vmread(VMCS_GUEST_RFLAGS) & RFLAGS_CF, 0);
	vcpu.regs.gpr[GPR_RDX] = 7;
	assert_int_equal(RUN("\x87\x11"), EMUL_DONE); /* xchg [ecx],edx */
	assert_int_equal(device_value, 7);
	assert_int_equal(vcpu.regs.gpr[GPR_RDX], 0xef);
	assert_int_equal(RUN("\x03\x11"), EMUL_DONE); /* add edx,[ecx] */
	assert_int_equal(vcpu.regs.gpr[GPR_RDX], 0xf6);
	assert_int_equal(device_writes, 3);
}

static void test_strings(void **state)
{
	uint32_t word = 0x01020304;

	vcpu.regs.gpr[GPR_RCX] = 2;
	vcpu.regs.gpr[GPR_RDI] = DEVICE + 0x10;
	vcpu.regs.gpr[GPR_RSI] = RAM_VAR;
	assert_int_equal(gmem_write(&vm.gmem, gpa(RAM_VAR), &word, sizeof(word)), 0);
	assert_int_equal(RUN("\xf3\xa5"), EMUL_AGAIN); /* rep movsd to the device */
	assert_int_equal(device_value, word);
	assert_int_equal(vcpu.regs.gpr[GPR_RCX], 1);
	assert_int_equal(vcpu.regs.gpr[GPR_RSI], RAM_VAR + 4);
	assert_int_equal(RUN("\xf3\xa5"), EMUL_DONE);
	assert_int_equal(vcpu.regs.gpr[GPR_RCX], 0);
	assert_int_equal(vcpu.regs.gpr[GPR_RDI], DEVICE + 0x18);

	fake_vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_ONE | RFLAGS_DF);
	vcpu.regs.gpr[GPR_RSI] = DEVICE + 0x10;
	vcpu.regs.gpr[GPR_RDI] = RAM_VAR + 8;
	device_value = 0xa5;
	assert_int_equal(RUN("\xa4"), EMUL_DONE); /* movsb from the device, downwards */
	word = 0;
	assert_int_equal(gmem_read(&vm.gmem, gpa(RAM_VAR + 8), &word, 1), 0);
	assert_int_equal(word, 0xa5);
	assert_int_equal(vcpu.regs.gpr[GPR_RDI], RAM_VAR + 7);
	assert_int_equal(RUN("\xac"), EMUL_DONE); /* lodsb */
	assert_int_equal(vcpu.regs.gpr[GPR_RAX] & 0xff, 0xa5);
}

/* The same address with other bytes must never give the old instruction. */
static void test_cache_follows_the_bytes(void **state)
{
	vcpu.regs.gpr[GPR_RAX] = 5;
	for (unsigned i = 0; i < 3; i++) {
		device_value = 1;
		assert_int_equal(RUN("\x09\x01"), EMUL_DONE); /* or [ecx],eax */
		assert_int_equal(device_value, 5);
		device_value = 1;
		assert_int_equal(RUN("\x01\x01"), EMUL_DONE); /* add [ecx],eax */
		assert_int_equal(device_value, 6);
	}
	/* Shorter code under the same address, in 16-bit mode. */
	fake_vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, SEG_AR_S);
	device_value = 0;
	assert_int_equal(RUN("\x89\x01"), EMUL_DONE); /* mov [bx+di],ax */
	assert_int_equal(device_size, 2);
}

static void put_entry(uint64_t at, uint64_t entry)
{
	assert_int_equal(gmem_write(&vm.gmem, gpa(at), &entry, sizeof(entry)), 0);
}

static void run_at_linear(uint64_t linear, uint8_t expected_length)
{
	struct gwalk_fault fault;
	uint8_t length = 0;

	fake_vmwrite(VMCS_GUEST_RIP, linear);
	assert_int_equal(emul_mmio(&vcpu, gpa(DEVICE + 0x10), &length, &fault), EMUL_DONE);
	assert_int_equal(length, expected_length);
}

/* The same RIP, and bytes that stay where they are: what counts is where the page tables lead. */
static void test_cache_follows_the_page_tables(void **state)
{
	const uint64_t tables = 0x20000, linear = 0x00007f0000003ff0;
	const uint64_t rights = 0x23; /* present, writable, accessed */

	fake_vmwrite(VMCS_GUEST_CR0, CR0_PE | CR0_PG);
	fake_vmwrite(VMCS_GUEST_CR3, tables);
	fake_vmwrite(VMCS_GUEST_CR4, CR4_PAE);
	fake_vmwrite(VMCS_GUEST_EFER, EFER_LME | EFER_LMA);
	fake_vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, SEG_AR_L | SEG_AR_S);
	put_entry(tables + (linear >> 39 & 511) * 8, (tables + 0x1000) | rights);
	put_entry(tables + 0x1000 + (linear >> 30 & 511) * 8, (tables + 0x2000) | rights);
	put_entry(tables + 0x2000 + (linear >> 21 & 511) * 8, (tables + 0x3000) | rights);
	assert_int_equal(gmem_write(&vm.gmem, gpa(0x30ff0), "\x09\x01", 2), 0);	    /* or */
	assert_int_equal(gmem_write(&vm.gmem, gpa(0x31ff0), "\x83\x01\x07", 3), 0); /* add 7 */
	vcpu.regs.gpr[GPR_RAX] = 5;
	for (unsigned i = 0; i < 6; i++) {
		put_entry(tables + 0x3000 + (linear >> 12 & 511) * 8, 0x30000 | rights);
		for (unsigned round = 0; round < 3; round++) {
			device_value = 1;
			run_at_linear(linear, 2);
			assert_int_equal(device_value, 5);
		}
		put_entry(tables + 0x3000 + (linear >> 12 & 511) * 8, 0x31000 | rights);
		for (unsigned round = 0; round < 3; round++) {
			device_value = 1;
			run_at_linear(linear, 3);
			assert_int_equal(device_value, 8);
		}
	}
	/* Another CR3 that leads to the first page, at the same time. */
	put_entry(tables + 0x4000 + (linear >> 39 & 511) * 8, (tables + 0x5000) | rights);
	put_entry(tables + 0x5000 + (linear >> 30 & 511) * 8, (tables + 0x6000) | rights);
	put_entry(tables + 0x6000 + (linear >> 21 & 511) * 8, (tables + 0x7000) | rights);
	put_entry(tables + 0x7000 + (linear >> 12 & 511) * 8, 0x30000 | rights);
	for (unsigned round = 0; round < 4; round++) {
		fake_vmwrite(VMCS_GUEST_CR3, round % 2 != 0 ? tables : tables + 0x4000);
		device_value = 1;
		run_at_linear(linear, round % 2 != 0 ? 3 : 2);
		assert_int_equal(device_value, round % 2 != 0 ? 8 : 5);
	}
}

/* Rights that went away are a fault, though the bytes were seen before. */
static void test_cache_follows_the_rights(void **state)
{
	const uint64_t tables = 0x20000, linear = 0x3000;
	struct gwalk_fault fault;
	uint8_t length = 0;

	fake_vmwrite(VMCS_GUEST_CR0, CR0_PE | CR0_PG);
	fake_vmwrite(VMCS_GUEST_CR3, tables);
	put_entry(tables, (tables + 0x1000) | 0x27);
	put_entry(tables + 0x1000 + 8, (uint64_t)0x30027 << 32); /* entry 3: for all */
	assert_int_equal(gmem_write(&vm.gmem, gpa(0x30000), "\x89\x01", 2), 0);
	run_at_linear(linear, 2);
	run_at_linear(linear, 2);
	fake_vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, SEG_AR_S | 3 << 5); /* as user */
	run_at_linear(linear, 2);
	put_entry(tables + 0x1000 + 8, (uint64_t)0x30023 << 32); /* for the kernel alone */
	assert_int_equal(emul_mmio(&vcpu, gpa(DEVICE + 0x10), &length, &fault), EMUL_FAULTED);
	assert_int_equal(fault.vector, VECTOR_PF);
	fake_vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, SEG_AR_S);
	run_at_linear(linear, 2);
}

static void test_page_crossing_and_refusal(void **state)
{
	vcpu.regs.gpr[GPR_RAX] = 9;
	assert_int_equal(run("\xc7\x05\x10\x00\xc0\xfe\x2a\x00\x00\x00", 10, 0x6ffc), EMUL_DONE);
	assert_int_equal(device_value, 0x2a);
	assert_int_equal(RUN("\x0f\x0b"), EMUL_UNKNOWN); /* ud2: changed under us */
	assert_non_null(strstr(fake_log_text(), "no known instruction"));
	/* Code at the end of RAM: the rest is nowhere. */
	assert_int_equal(run("\xc7\x05", 2, RAM - 2), EMUL_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_compute),
		cmocka_unit_test_setup_teardown(test_loads_and_stores, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_modify_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cache_follows_the_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cache_follows_the_page_tables, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_cache_follows_the_rights, setup, teardown),
		cmocka_unit_test_setup_teardown(test_page_crossing_and_refusal, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
