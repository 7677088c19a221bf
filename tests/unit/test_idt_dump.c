/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/host/idt_dump.c: what the log shows when the hypervisor itself took an exception. */
#include <stdio.h>

#include "tests/unit/test.h"
#include "vmm/base/keyid.h"
#include "vmm/base/x86.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/idt_dump.h"
#include "vmm/host/image.h"
#include "vmm/host/symbols.h"

/*
 * A fake image: code with calls of each form, a label at the return address of each call, and a
 * table of symbols as symbols.py writes it. "one" calls "two" directly. "two" calls through
 * registers and memory.
 */
__asm__(".pushsection .fake_image,\"aw\"\n"
	".balign 4096\n"
	".globl image_start, image_text_start, image_text_end, image_rw_start, image_rw_end\n"
	".globl image_crypto_start, image_crypto_end\n"
	".globl image_symbols, image_symbols_end, behind_direct, behind_forms, in_two\n"
	"image_start: .skip 4096\n"
	"image_text_start: .skip 256, 0xcc\n"
	"fake_one: call fake_two\n"
	"behind_direct: .skip 64, 0xcc\n"
	"call image_start\n" /* calls what is not code */
	"behind_bad: .skip 64, 0xcc\n"
	"call *%rcx\n"
	"behind_pointer: call fake_two\n" /* does not return: "two" begins behind the call */
	"fake_two: nop\n"
	"in_two: call *%rax\n1: .skip 8, 0xcc\n"
	"call *(%rax)\n2: .skip 8, 0xcc\n"
	"call *(%rsp)\n3: .skip 8, 0xcc\n"
	"call *8(%rbx)\n4: .skip 8, 0xcc\n"
	"call *8(%rsp)\n5: .skip 8, 0xcc\n"
	"call *0x1000(%rbx)\n6: .skip 8, 0xcc\n"
	"call *0x1000(%rsp)\n7: .skip 8, 0xcc\n"
	"call *0x1000(%rip)\n8: .skip 8, 0xcc\n"
	"call *%r11\n9: .skip 8, 0xcc\n"
	"call *0x1000(,%rax,8)\n10: .skip 8, 0xcc\n"
	".skip 0x1f00 - (. - image_text_start), 0xcc\n"
	"image_crypto_start: .skip 0x100, 0xcc\n"
	"image_crypto_end:\n"
	"image_text_end:\n"
	"fake_table:\n"
	"image_symbols: .long 3\n"
	".long 0x1000, table_names - image_symbols, fake_one - image_start, table_one - "
	"image_symbols\n"
	".long fake_two - image_start, table_two - image_symbols\n"
	"table_names: .asciz \"first\"\n"
	"table_one: .asciz \"one\"\n"
	"table_two: .asciz \"two\"\n"
	"fake_table_end:\n"
	"image_symbols_end: .balign 4096\n"
	"image_rw_start: .skip 4096\n"
	"image_rw_end:\n"
	"behind_forms: .quad 1b, 2b, 3b, 4b, 5b, 6b, 7b, 8b, 9b, 10b, 0\n"
	".popsection");
extern const char behind_direct[], behind_bad[], behind_pointer[], fake_two[], in_two[];
extern const uint64_t behind_forms[];
extern uint32_t fake_table[]; /* image_symbols as a writable array */
extern char fake_table_end[];

/* 4 pages that stand for the area of stacks. */
#define STACK_WORDS 2048
static uint64_t stack[STACK_WORDS] __attribute__((aligned(4096)));

bool host_paging_maps(uint64_t address)
{
	return address - (uintptr_t)stack < sizeof(stack);
}

bool host_paging_is_stack_area(uint64_t address)
{
	return address - ((uintptr_t)stack - PAGE_SIZE) < sizeof(stack) + 2 * PAGE_SIZE;
}

static struct idt_frame frame;

static int setup(void **state)
{
	fake_x86_reset();
	fake_cpuid_set(1, 0, 0, 0, 0, 0);
	fake_log_reset();
	fake_set_cpu_count(3);
	fake_set_cpu(2);
	memset(stack, 0, sizeof(stack));
	memset(&frame, 0, sizeof(frame));
	frame.rip = (uintptr_t)image_text_start + 0x123;
	frame.rsp = (uintptr_t)&stack[STACK_WORDS - 100];
	frame.cs = 8;
	frame.ss = 16;
	return 0;
}

static void expect(const char *text)
{
	idt_dump(&frame);
	if (strstr(fake_log_text(), text) == NULL) {
		fail_msg("\"%s\" is not in:\n%s", text, fake_log_text());
	}
	fake_log_reset();
}

struct words_case {
	uint64_t vector, error_code, cr2;
	const char *text;
};

static const struct words_case words_cases[] = {
	{ VECTOR_DE, 0, 0, "CPU 2: divide error (#DE) in the hypervisor itself" },
	{ VECTOR_UD, 0, 0, "invalid opcode (#UD)" },
	{ VECTOR_MC, 0, 0, "machine check (#MC)" },
	{ VECTOR_GP, 0x18, 0, "error code 18" },
	{ 9, 0, 0, "an exception without a name" },
	{ 31, 0, 0, "an exception without a name" },
	{ VECTOR_PF, 0, 0x8000, "reading from 0x8000: nothing is mapped there" },
	{ VECTOR_PF, PF_WRITE, 0x10, "writing to 0x10: nothing is mapped there (a null pointer)" },
	{ VECTOR_PF, PF_WRITE | PF_PRESENT, 0x8000, "writing to 0x8000: the page does not allow" },
	{ VECTOR_PF, PF_FETCH | PF_PRESENT, 0x8000, "executing at 0x8000: the page does not" },
	{ VECTOR_PF, PF_RSVD | PF_PRESENT, 0x8000, "the page tables are corrupt" },
};

TEST(test_words, setup)
{
	size_t i;

	for (i = 0; i < ARRAY_COUNT(words_cases); i++) {
		frame.vector = words_cases[i].vector;
		frame.error_code = words_cases[i].error_code;
		fake_cr2 = words_cases[i].cr2;
		expect(words_cases[i].text);
	}
}

/*
 * Only banks with an error are logged. The address is logged without the bits of the KeyID, and the
 * KeyID after it.
 */
TEST(test_machine_check, setup)
{
	keyid_configure(46, 6);
	frame.vector = VECTOR_MC;
	fake_cpuid_set(1, 0, 0, 0, 0, CPUID_1_EDX_MCA);
	fake_msr_set(MSR_IA32_MCG_CAP, 0x100 | 3);
	for (uint32_t i = 0; i < 3; i++) {
		fake_msr_set(MSR_IA32_MC0_STATUS + 4 * i, i == 0 ? BIT(58) : BIT(63) | i);
	}
	idt_dump(&frame);
	assert_null(strstr(fake_log_text(), "bank 0"));
	assert_non_null(strstr(fake_log_text(), "bank 1: status 8000000000000001\n"));
	fake_msr_set(MSR_IA32_MC0_STATUS + 4, BIT(63) | BIT(58));
	fake_msr_set(MSR_IA32_MC0_ADDR + 4, 5ul << 40 | 0x123456000);
	expect("bank 1: status 8400000000000000, address 0x123456000, KeyID 5\n");
	keyid_configure(46, 0);
	expect("address 0x50123456000, KeyID 0\n");
}

TEST(test_place, setup)
{
	frame.vector = VECTOR_UD;
	expect("at 0x1123 of the image");
	frame.rip = (uintptr_t)in_two;
	expect(": two+0x1\n");
	frame.rip = 0x1234;
	expect("at 0x1234, which is outside of the image's code");
	frame.rip = (uintptr_t)image_text_end;
	expect("which is outside");
}

TEST(test_registers, setup)
{
	frame.vector = VECTOR_GP;
	frame.rax = 0x1111222233334444;
	frame.r15 = 0xfedcba9876543210;
	fake_cr3 = 0x5000;
	expect("rax 1111222233334444");
	expect("r15 fedcba9876543210");
	expect("cr3 0000000000005000");
}

/*
 * After an exception in code of crypto/, or in a function that it called, no general register is
 * logged, because it may hold a part of a key.
 */
TEST(test_secrets, setup)
{
	for (unsigned i = 0; i < 2; i++) {
		frame.vector = VECTOR_GP;
		frame.rax = 0x1111222233334444;
		frame.r15 = 0xfedcba9876543210;
		frame.rip = (uintptr_t)image_crypto_end - 1;
		if (i == 1) {
			frame.rip = (uintptr_t)image_text_start + 0x123;
			stack[STACK_WORDS - 20] = (uintptr_t)image_crypto_start + 5;
		}
		idt_dump(&frame);
		assert_null(strstr(fake_log_text(), "1111222233334444"));
		assert_null(strstr(fake_log_text(), "fedcba9876543210"));
		assert_non_null(strstr(fake_log_text(), "they may hold parts of keys"));
		assert_non_null(strstr(fake_log_text(), "error code"));
		fake_log_reset();
	}
}

/* Without the dump, too: another CPU may end the machine. */
TEST(test_secrets_are_forgotten, setup)
{
	const struct {
		const char *rip;
		bool kept;
	} rows[] = {
		{ image_crypto_start, false },
		{ image_crypto_end - 1, false },
		{ image_crypto_start - 1, true },
		{ image_crypto_end, true },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		memset(&frame, 0x5e, sizeof(frame));
		frame.rip = (uintptr_t)rows[i].rip;
		idt_forget_secrets(&frame);
		assert_int_equal(frame.rax != 0, rows[i].kept);
		assert_int_equal(frame.r15 != 0, rows[i].kept);
		assert_int_not_equal(frame.vector, 0);
		assert_int_equal(frame.rip, (uintptr_t)rows[i].rip);
	}
}

TEST(test_callers, setup)
{
	frame.vector = VECTOR_UD;
	frame.rip = (uintptr_t)in_two;
	/* A return address below the stack pointer is not in use. */
	stack[STACK_WORDS - 101] = (uintptr_t)behind_direct;
	expect("called from (\"?\": perhaps)\n");
	idt_dump(&frame);
	assert_null(strstr(fake_log_text(), "one+"));
	stack[STACK_WORDS - 95] = (uintptr_t)image_text_start + 0x10; /* no call before it */
	stack[STACK_WORDS - 94] = (uintptr_t)image_text_start; /* no room for a call before it */
	stack[STACK_WORDS - 93] = (uintptr_t)image_text_end;
	stack[STACK_WORDS - 92] = (uintptr_t)behind_bad;
	stack[STACK_WORDS - 90] = (uintptr_t)behind_direct;
	expect("perhaps)\nerror:     1105 one+0x5\n");
	/* "two" does not call "one" directly, but its call through a pointer may: "?". */
	stack[STACK_WORDS - 89] = behind_forms[0];
	stack[STACK_WORDS - 88] = (uintptr_t)behind_direct;
	expect("1105 one+0x5\nerror:     1194 ? two+0x3\nerror:     1105 one+0x5\n");
	/* An unused return address that was left in between does not hide the caller. */
	stack[STACK_WORDS - 91] = (uintptr_t)behind_pointer;
	expect("118c ? one+0x8c\nerror:     1105 one+0x5\n");
	stack[STACK_WORDS - 91] = 0;
	/* A call at the end of a function returns to the start of the next function. */
	stack[STACK_WORDS - 90] = (uintptr_t)fake_two;
	expect("1191 one+0x91\n");
	stack[STACK_WORDS - 90] = (uintptr_t)behind_direct;
	/* The exception was not in "two": the first return address after a call of it gets "?". */
	frame.rip = (uintptr_t)image_text_start;
	expect("1105 ? one+0x5\nerror:     1194 ? two+0x3\nerror:     1105 one+0x5\n");
}

/* Calls of every form are recognised by the bytes before the return address. */
TEST(test_calls, setup)
{
	frame.vector = VECTOR_UD;
	for (size_t i = 0; behind_forms[i] != 0; i++) {
		char text[64];

		memset(stack, 0, sizeof(stack));
		stack[STACK_WORDS - 50] = behind_forms[i];
		stack[STACK_WORDS - 49] = behind_forms[i] + 1;
		snprintf(text, sizeof(text), "perhaps)\nerror:     %lx ? two+",
			 behind_forms[i] - (uintptr_t)image_start);
		idt_dump(&frame);
		if (strstr(fake_log_text(), text) == NULL ||
		    strstr(strstr(fake_log_text(), text) + strlen(text), "two+") != NULL) {
			fail_msg("form %zu: not %s alone:\n%s", i, text, fake_log_text());
		}
		fake_log_reset();
	}
}

/* The dump shows at most 16 callers, however many there are. */
TEST(test_many, setup)
{
	unsigned lines = 0;

	frame.vector = VECTOR_UD;
	frame.rsp = (uintptr_t)stack;
	for (size_t i = 0; i < STACK_WORDS; i++) {
		stack[i] = (uintptr_t)behind_direct;
	}
	idt_dump(&frame);
	for (const char *at = fake_log_text(); (at = strstr(at, "one+0x5")) != NULL; at++) {
		lines++;
	}
	assert_int_equal(lines, 16);
}

TEST(test_symbols, setup)
{
	struct symbol found;

	assert_false(symbol_find(0, &found));
	assert_false(symbol_find(0xfff, &found));
	assert_true(symbol_find(0x1000, &found));
	assert_string_equal(found.name, "first");
	assert_true(symbol_find(0x10ff, &found));
	assert_string_equal(found.name, "first");
	assert_int_equal(found.start, 0x1000);
	assert_true(symbol_find(0x1100, &found));
	assert_string_equal(found.name, "one");
	assert_true(symbol_find(UINT64_MAX, &found));
	assert_string_equal(found.name, "two");
}

/* If the table was overwritten, nothing outside of it is read. */
TEST(test_bad_symbols, setup)
{
	uint32_t *const table = fake_table;
	char *const last = fake_table_end - 1;
	const uint32_t count = table[0], name = table[2];
	struct symbol found;

	table[0] = UINT32_MAX;
	assert_false(symbol_find(0x1000, &found));
	table[0] = 0;
	assert_false(symbol_find(0x1000, &found));
	table[0] = count;
	table[2] = (uint32_t)(fake_table_end - (char *)fake_table);
	assert_false(symbol_find(0x1000, &found));
	table[2] = name;
	*last = 'x';
	assert_false(symbol_find(0x1000, &found));
	*last = '\0';
	assert_true(symbol_find(0x1000, &found));
}

/* The stack pointer may have any value: unmapped memory is not read. */
TEST(test_bad_stack, setup)
{
	static const uint64_t pointers[] = { 0, 1, 0x1000, 0x8000000000000000, UINT64_MAX };
	size_t i;

	frame.vector = VECTOR_DF;
	for (i = 0; i < ARRAY_COUNT(pointers); i++) {
		frame.rsp = pointers[i];
		expect("double fault (#DF)");
	}
	/* The pointer is in the guard page, as after an overflow: callers above it are found. */
	frame.rsp = (uintptr_t)stack - 0x20;
	fake_cr2 = frame.rsp;
	stack[5] = (uintptr_t)behind_direct;
	expect("is a guard page: a stack overflowed");
	expect("error:     1105 ? one+0x5\n");
}
