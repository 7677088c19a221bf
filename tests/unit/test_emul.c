/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/emul.c and vmm/operand.c: whole instructions with a device of one register, operands in
 * several pages, and instructions that changed since the exit.
 */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "tests/unit/gmem_end.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/vcpu_priv.h"
#include "vmm/device_access.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

#define CODE	0x5000ul
#define DEVICE	0xfec00000ul
#define RAM	(1ul << 20)
#define RAM_VAR 0x8000ul

/* One device register, and a log of accesses. */
static uint64_t device_value, device_offset;
static unsigned device_reads, device_writes, device_size;

void vcpu_device_access(struct vcpu *vcpu, gpa_t gpa, struct io_access *access)
{
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

/* What the exit reports. kind 0: does not say whether it was a read or a write. */
static struct emul_access exit_told;

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
	for (unsigned seg = SEG_ES; seg <= SEG_GS; seg += SEG_DS - SEG_ES) {
		fake_vmwrite(VMCS_GUEST_ACCESS_RIGHTS(seg), SEG_AR_S | SEG_AR_DB | SEG_AR_WRITABLE);
		fake_vmwrite(VMCS_GUEST_LIMIT(seg), UINT32_MAX);
	}
	exit_told = (struct emul_access){ .gpa = gpa(DEVICE + 0x10) };
	fake_vm_may_end(&vm);
	return 0;
}

static int teardown(void **state)
{
	gmem_end(&vm.gmem);
	return fake_teardown(state);
}

static enum emul_outcome try_kinds(uint8_t *length, struct gwalk_fault *fault)
{
	static const unsigned kinds[] = { GMEM_ACCESS_READ, GMEM_ACCESS_WRITE,
					  GMEM_ACCESS_READ | GMEM_ACCESS_WRITE };
	enum emul_outcome outcome = EMUL_RETRY;

	if (exit_told.kind != 0) {
		return emul_mmio(&vcpu, &exit_told, length, fault);
	}
	for (size_t i = 0; i < ARRAY_COUNT(kinds) && outcome == EMUL_RETRY; i++) {
		struct emul_access told = exit_told;

		told.kind = kinds[i];
		outcome = emul_mmio(&vcpu, &told, length, fault);
	}
	return outcome;
}

static enum emul_outcome run(const char *code, size_t count, uint64_t at)
{
	struct gwalk_fault fault;
	uint8_t length = 0;
	enum emul_outcome outcome;

	assert_int_equal(gmem_write(&vm.gmem, gpa(at), code, count), 0);
	fake_vmwrite(VMCS_GUEST_RIP, at);
	outcome = try_kinds(&length, &fault);
	if (outcome == EMUL_DONE) {
		assert_int_equal(length, count);
	}
	return outcome;
}
#define RUN(code) run(code, sizeof(code) - 1, CODE)

TEST(test_loads_and_stores, setup, teardown)
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

TEST(test_read_modify_write, setup, teardown)
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

TEST(test_strings, setup, teardown)
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
	exit_told.gpa.v += 4;
	assert_int_equal(RUN("\xf3\xa5"), EMUL_DONE);
	assert_int_equal(vcpu.regs.gpr[GPR_RCX], 0);
	assert_int_equal(vcpu.regs.gpr[GPR_RDI], DEVICE + 0x18);

	fake_vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_ONE | RFLAGS_DF);
	vcpu.regs.gpr[GPR_RSI] = DEVICE + 0x10;
	exit_told.gpa = gpa(DEVICE + 0x10);
	vcpu.regs.gpr[GPR_RDI] = RAM_VAR + 8;
	device_value = 0xa5;
	assert_int_equal(RUN("\xa4"), EMUL_DONE); /* movsb from the device, downwards */
	word = 0;
	assert_int_equal(gmem_read(&vm.gmem, gpa(RAM_VAR + 8), &word, 1), 0);
	assert_int_equal(word, 0xa5);
	assert_int_equal(vcpu.regs.gpr[GPR_RDI], RAM_VAR + 7);
	exit_told.gpa = gpa(vcpu.regs.gpr[GPR_RSI]);
	assert_int_equal(RUN("\xac"), EMUL_DONE); /* lodsb */
	assert_int_equal(vcpu.regs.gpr[GPR_RAX] & 0xff, 0xa5);
}

/* The same address with other bytes must never give the old instruction. */
TEST(test_cache_follows_the_bytes, setup, teardown)
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
	assert_int_equal(try_kinds(&length, &fault), EMUL_DONE);
	assert_int_equal(length, expected_length);
}

/* The same RIP and unchanged bytes: the result follows the page tables. */
TEST(test_cache_follows_the_page_tables, setup, teardown)
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
	/* At the same time another CR3 leads to the first page. */
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

/* If the rights are gone there is a fault, even if the bytes were read before. */
TEST(test_cache_follows_the_rights, setup, teardown)
{
	const uint64_t tables = 0x20000, linear = 0x3000;
	struct gwalk_fault fault;
	uint8_t length = 0;

	fake_vmwrite(VMCS_GUEST_CR0, CR0_PE | CR0_PG);
	fake_vmwrite(VMCS_GUEST_CR3, tables);
	put_entry(tables, (tables + 0x1000) | 0x27);
	put_entry(tables + 0x1000 + 8, (uint64_t)0x30027 << 32); /* entry 3: user accessible */
	assert_int_equal(gmem_write(&vm.gmem, gpa(0x30000), "\x89\x01", 2), 0);
	run_at_linear(linear, 2);
	run_at_linear(linear, 2);
	fake_vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, SEG_AR_S | 3 << 5); /* as user */
	run_at_linear(linear, 2);
	put_entry(tables + 0x1000 + 8, (uint64_t)0x30023 << 32); /* supervisor only */
	assert_int_equal(try_kinds(&length, &fault), EMUL_FAULTED);
	assert_int_equal(fault.vector, VECTOR_PF);
	fake_vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, SEG_AR_S);
	run_at_linear(linear, 2);
}

TEST(test_page_crossing_and_refusal, setup, teardown)
{
	vcpu.regs.gpr[GPR_RAX] = 9;
	assert_int_equal(run("\xc7\x05\x10\x00\xc0\xfe\x2a\x00\x00\x00", 10, 0x6ffc), EMUL_DONE);
	assert_int_equal(device_value, 0x2a);
	assert_int_equal(RUN("\x0f\x0b"), EMUL_UNKNOWN); /* ud2: changed since the exit */
	assert_string_equal(fake_log_text(), "");
	emul_log(&vcpu, gpa(DEVICE));
	assert_non_null(strstr(fake_log_text(),
			       "at 0xfec00000 by an instruction that Umbra does not emulate"));
	assert_non_null(strstr(fake_log_text(), "its bytes, at 0x5000: 0f 0b "));
	/* Code at the end of RAM: the rest of the instruction lies in no memory. */
	assert_int_equal(run("\xc7\x05", 2, RAM - 2), EMUL_UNKNOWN);
}

/*
 * Two pages that are adjacent in linear addresses, at PAIR: the first is a frame of RAM, the test
 * chooses the second. Code is at linear 0; 32-bit paging.
 */
#define TABLES 0x20000ul
#define PAIR   0x7000ul
#define FRAME  0x30000ul
#define USER   0x27
#define KERNEL 0x23
#define RDONLY 0x25

static void put_pte(uint64_t linear, uint64_t entry)
{
	assert_int_equal(
		gmem_write(&vm.gmem, gpa(TABLES + 0x1000 + linear / PAGE_SIZE * 4), &entry, 4), 0);
}

static void start_paging(uint64_t second)
{
	uint32_t directory = (TABLES + 0x1000) | USER;

	assert_int_equal(gmem_write(&vm.gmem, gpa(TABLES), &directory, 4), 0);
	put_pte(CODE, CODE | USER);
	put_pte(PAIR, FRAME | USER);
	put_pte(PAIR + PAGE_SIZE, second);
	put_pte(0x10000, DEVICE | USER);
	fake_vmwrite(VMCS_GUEST_CR0, CR0_PE | CR0_PG | CR0_WP);
	fake_vmwrite(VMCS_GUEST_CR3, TABLES);
	fake_vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, SEG_AR_S | 3 << 5); /* as user */
	vcpu.regs.gpr[GPR_RSI] = 0x10010;
	vcpu.regs.gpr[GPR_RDI] = PAIR + PAGE_SIZE - 2;
	exit_told.linear_known = true;
	device_value = 0x44332211;
}

static uint32_t frame_word(uint64_t at)
{
	uint32_t word = 0;

	assert_int_equal(gmem_read(&vm.gmem, gpa(at), &word, sizeof(word)), 0);
	return word;
}

/* An element in two pages goes to both, or nowhere when one page forbids it. */
TEST(test_element_in_two_pages, setup, teardown)
{
	const uint64_t other = 0x50000;

	start_paging(other | USER);
	assert_int_equal(RUN("\xa5"), EMUL_DONE); /* movsd */
	assert_int_equal(frame_word(FRAME + PAGE_SIZE - 4), 0x22110000);
	assert_int_equal(frame_word(FRAME + PAGE_SIZE), 0);
	assert_int_equal(frame_word(other), 0x4433);
	/*
	 * The second page is supervisor-only, read-only, or not present: its fault, and no byte is
	 * moved.
	 */
	for (unsigned i = 0; i < 3; i++) {
		static const uint64_t seconds[] = { 0x51000 | KERNEL, 0x51000 | RDONLY, 0 };
		struct gwalk_fault fault;
		uint8_t length;

		start_paging(seconds[i]);
		device_value = 0x88776655;
		exit_told.kind = GMEM_ACCESS_READ;
		assert_int_equal(gmem_write(&vm.gmem, gpa(CODE), "\xa5", 1), 0);
		assert_int_equal(emul_mmio(&vcpu, &exit_told, &length, &fault), EMUL_FAULTED);
		assert_int_equal(fault.vector, VECTOR_PF);
		assert_int_equal(fault.linear, PAIR + PAGE_SIZE);
		assert_int_equal(fault.error_code, PF_WRITE | PF_USER | (i < 2 ? PF_PRESENT : 0));
		assert_int_equal(frame_word(FRAME + PAGE_SIZE - 4), 0x22110000);
		assert_int_equal(frame_word(0x51000), 0);
		assert_int_equal(vcpu.regs.gpr[GPR_RDI], PAIR + PAGE_SIZE - 2);
	}
}

/* Byte by byte when it crosses from RAM into a device, and back. */
TEST(test_element_into_a_device, setup, teardown)
{
	start_paging((DEVICE + PAGE_SIZE) | USER);
	device_value = 0x44332211;
	exit_told.kind = GMEM_ACCESS_WRITE;
	exit_told.gpa = gpa(DEVICE + PAGE_SIZE);
	vcpu.regs.gpr[GPR_RAX] = 0xddccbbaa;
	assert_int_equal(RUN("\xab"), EMUL_DONE); /* stosd */
	assert_int_equal(frame_word(FRAME + PAGE_SIZE - 4), 0xbbaa0000);
	assert_int_equal(device_writes, 2);
	assert_int_equal(device_size, 1);
	assert_int_equal(device_offset, PAGE_SIZE + 1);
	assert_int_equal(device_value, 0xdd);
	vcpu.regs.gpr[GPR_RSI] = PAIR + PAGE_SIZE - 2;
	exit_told.kind = GMEM_ACCESS_READ;
	assert_int_equal(RUN("\xad"), EMUL_DONE); /* lodsd */
	assert_int_equal(vcpu.regs.gpr[GPR_RAX], 0xddddbbaa);
}

/* The segments of both operands are checked: limit, type, and which fault is raised. */
TEST(test_string_segments, setup, teardown)
{
	static const struct {
		unsigned seg;
		uint64_t rights, limit;
		const char *code;
		uint8_t vector;
	} cases[] = {
		{ SEG_ES, SEG_AR_WRITABLE, RAM_VAR + 2, "\xa5", VECTOR_GP },
		{ SEG_ES, 0, UINT32_MAX, "\xa5", VECTOR_GP },
		{ SEG_ES, SEG_AR_UNUSABLE | SEG_AR_WRITABLE, UINT32_MAX, "\xa5", VECTOR_GP },
		{ SEG_DS, SEG_AR_WRITABLE, DEVICE + 0x12, "\xa5", VECTOR_GP },
		{ SEG_SS, SEG_AR_WRITABLE, DEVICE + 0x12, "\x36\xa5", VECTOR_SS },
		{ SEG_DS, SEG_AR_CODE, UINT32_MAX, "\xa5", VECTOR_GP },
		{ SEG_ES, SEG_AR_WRITABLE | SEG_AR_EXPAND_DOWN, RAM_VAR, "\xa5", VECTOR_GP },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct gwalk_fault fault = { 0 };
		uint8_t length;

		if (i != 0) {
			teardown(state);
			setup(state);
		}
		vcpu.regs.gpr[GPR_RSI] = DEVICE + 0x10;
		vcpu.regs.gpr[GPR_RDI] = RAM_VAR;
		exit_told.kind = GMEM_ACCESS_READ;
		fake_vmwrite(VMCS_GUEST_ACCESS_RIGHTS(cases[i].seg),
			     cases[i].rights | SEG_AR_S | SEG_AR_DB);
		fake_vmwrite(VMCS_GUEST_LIMIT(cases[i].seg), cases[i].limit);
		assert_int_equal(gmem_write(&vm.gmem, gpa(CODE), cases[i].code, 2), 0);
		assert_int_equal(emul_mmio(&vcpu, &exit_told, &length, &fault), EMUL_FAULTED);
		assert_int_equal(fault.vector, cases[i].vector);
		assert_int_equal(device_reads, 0);
	}
}

/*
 * Another vCPU has replaced the instruction: the new one is executed if the exit could be its own.
 */
TEST(test_instruction_that_does_not_fit, setup, teardown)
{
	static const struct {
		unsigned kind;
		const char *code;
		size_t count;
		enum emul_outcome outcome;
	} cases[] = {
		{ GMEM_ACCESS_READ, "\x8b\x01", 2, EMUL_DONE }, /* mov eax,[ecx] */
		{ GMEM_ACCESS_WRITE, "\x8b\x01", 2, EMUL_RETRY },
		{ GMEM_ACCESS_READ | GMEM_ACCESS_WRITE, "\x8b\x01", 2, EMUL_RETRY },
		{ GMEM_ACCESS_READ, "\x89\x01", 2, EMUL_RETRY }, /* mov [ecx],eax */
		{ GMEM_ACCESS_WRITE, "\x89\x01", 2, EMUL_DONE },
		{ GMEM_ACCESS_WRITE, "\x39\x01", 2, EMUL_RETRY },     /* cmp [ecx],eax */
		{ GMEM_ACCESS_WRITE, "\x0f\xa3\x01", 3, EMUL_RETRY }, /* bt [ecx],eax */
		{ GMEM_ACCESS_WRITE, "\x09\x01", 2, EMUL_DONE },      /* or [ecx],eax */
		{ GMEM_ACCESS_READ | GMEM_ACCESS_WRITE, "\x09\x01", 2, EMUL_DONE },
		{ GMEM_ACCESS_READ, "\xab", 1, EMUL_RETRY },	 /* stosd */
		{ GMEM_ACCESS_WRITE, "\xad", 1, EMUL_RETRY },	 /* lodsd */
		{ GMEM_ACCESS_WRITE, "\xa5", 1, EMUL_RETRY },	 /* movsd, the other way round */
		{ GMEM_ACCESS_READ, "\x89\xc8", 2, EMUL_RETRY }, /* mov eax,ecx */
		{ GMEM_ACCESS_READ, "\xf3\xa5", 2, EMUL_RETRY }, /* rep with a count of 0 */
	};

	vcpu.regs.gpr[GPR_RSI] = DEVICE + 0x10;
	vcpu.regs.gpr[GPR_RDI] = RAM_VAR;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		device_reads = device_writes = 0;
		exit_told.kind = cases[i].kind;
		vcpu.regs.gpr[GPR_RAX] = 1;
		assert_int_equal(run(cases[i].code, cases[i].count, CODE), cases[i].outcome);
		if (cases[i].outcome == EMUL_RETRY) {
			assert_int_equal(device_reads + device_writes, 0);
			assert_int_equal(vcpu.regs.gpr[GPR_RAX], 1);
			assert_int_equal(fake_vmread(VMCS_GUEST_RFLAGS), RFLAGS_ONE);
		}
	}
}

/*
 * A page that is read-only for the guest. A load that has become an OR, or an access that has
 * become longer and reaches into a supervisor page, is checked against the guest's page tables.
 */
TEST(test_rights_beyond_the_exit, setup, teardown)
{
	struct gwalk_fault fault = { 0 };

	start_paging((DEVICE + PAGE_SIZE) | KERNEL);
	put_pte(PAIR, DEVICE | RDONLY);
	exit_told.kind = GMEM_ACCESS_READ;
	fake_vmwrite(VMCS_GUEST_LINEAR_ADDRESS, PAIR + 0x10);
	assert_int_equal(RUN("\x09\x01"), EMUL_FAULTED); /* or [ecx],eax */
	assert_int_equal(RUN("\x8b\x01"), EMUL_DONE);
	put_pte(PAIR, DEVICE | USER);
	assert_int_equal(RUN("\x09\x01"), EMUL_DONE);
	put_pte(PAIR, (DEVICE + 2 * PAGE_SIZE) | USER); /* maps another page by now */
	assert_int_equal(RUN("\x09\x01"), EMUL_RETRY);
	exit_told.linear_known = false; /* an exit of the APIC page */
	assert_int_equal(RUN("\x09\x01"), EMUL_RETRY);
	fake_vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, SEG_AR_S);
	assert_int_equal(RUN("\x09\x01"), EMUL_DONE);
	fake_vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, SEG_AR_S | 3 << 5);

	put_pte(PAIR, DEVICE | USER);
	exit_told = (struct emul_access){ gpa(DEVICE + PAGE_SIZE - 2), GMEM_ACCESS_READ, true };
	fake_vmwrite(VMCS_GUEST_LINEAR_ADDRESS, PAIR + PAGE_SIZE - 2);
	device_reads = 0;
	assert_int_equal(gmem_write(&vm.gmem, gpa(CODE), "\x8b\x01", 2), 0);
	assert_int_equal(emul_mmio(&vcpu, &exit_told, &(uint8_t){ 0 }, &fault), EMUL_FAULTED);
	assert_int_equal(fault.linear, PAIR + PAGE_SIZE);
	assert_int_equal(device_reads, 0);
	put_pte(PAIR + PAGE_SIZE, 0x50000 | USER);
	assert_int_equal(RUN("\x8b\x01"), EMUL_DONE);
	assert_int_equal(device_reads, 2);
	assert_int_equal(vcpu.regs.gpr[GPR_RAX], 0x1111); /* the second half comes from RAM */
}
