/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/base/idt_dump.c: what a person reads when the hypervisor itself took an exception. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_base.h"
#include "vmm/base/host_paging.h"
#include "vmm/base/idt_dump.h"
#include "vmm/base/image.h"
#include "vmm/base/x86.h"

__asm__(".pushsection .fake_image,\"aw\"\n"
	".balign 4096\n"
	".globl image_start, image_text_start, image_text_end\n"
	"image_start: .skip 4096\n"
	"image_text_start: .skip 8192\n"
	"image_text_end:\n"
	".popsection");

/* A stack of 4 pages in the area of stacks, as far as the dump asks. */
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
	(void)state;
	fake_x86_reset();
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

static void test_words(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_COUNT(words_cases); i++) {
		frame.vector = words_cases[i].vector;
		frame.error_code = words_cases[i].error_code;
		fake_cr2 = words_cases[i].cr2;
		expect(words_cases[i].text);
	}
}

static void test_place(void **state)
{
	(void)state;
	frame.vector = VECTOR_UD;
	expect("at 0x1123 of the image");
	frame.rip = 0x1234;
	expect("at 0x1234, which is outside of the image's code");
	frame.rip = (uintptr_t)image_text_end;
	expect("which is outside");
}

static void test_registers(void **state)
{
	(void)state;
	frame.vector = VECTOR_GP;
	frame.rax = 0x1111222233334444;
	frame.r15 = 0xfedcba9876543210;
	fake_cr3 = 0x5000;
	expect("rax 1111222233334444");
	expect("r15 fedcba9876543210");
	expect("cr3 0000000000005000");
}

static void test_callers(void **state)
{
	uint64_t text = (uintptr_t)image_text_start;

	(void)state;
	frame.vector = VECTOR_UD;
	stack[STACK_WORDS - 101] = text; /* below the stack pointer: dead */
	stack[STACK_WORDS - 90] = text + 0x10;
	stack[STACK_WORDS - 89] = text + 0x2000; /* the end is not code */
	stack[STACK_WORDS - 88] = (uintptr_t)stack;
	stack[STACK_WORDS - 1] = text + 0x1fff;
	expect("on the stack, in the image:\nerror:     1010\nerror:     2fff\n");
	stack[STACK_WORDS - 50] = text + 0x20;
	stack[STACK_WORDS - 49] = text + 0x30;
	stack[STACK_WORDS - 48] = text + 0x40;
	expect("error:     1010 1020 1030 1040\nerror:     2fff\n");
}

/* A stack pointer may be anything: nothing that is not mapped is read. */
static void test_bad_stack(void **state)
{
	static const uint64_t pointers[] = { 0, 1, 0x1000, 0x8000000000000000, UINT64_MAX };
	size_t i;

	(void)state;
	frame.vector = VECTOR_DF;
	for (i = 0; i < ARRAY_COUNT(pointers); i++) {
		frame.rsp = pointers[i];
		expect("double fault (#DF)");
	}
	/* In the guard page, as after an overflow: callers are found above it. */
	frame.rsp = (uintptr_t)stack - 0x20;
	fake_cr2 = frame.rsp;
	stack[5] = (uintptr_t)image_text_start + 0x77;
	expect("is a guard page: a stack overflowed");
	expect("error:     1077\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_words, setup),
		cmocka_unit_test_setup(test_place, setup),
		cmocka_unit_test_setup(test_registers, setup),
		cmocka_unit_test_setup(test_callers, setup),
		cmocka_unit_test_setup(test_bad_stack, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
