/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/host/interrupts.c: which #GP is expected, and where execution continues. The labels are those
 * of insns.asm.
 */
#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"
#include "vmm/host/idt_dump.h"
#include "vmm/host/smp.h"

const char msr_read_insn[1], msr_read_fault[1], msr_write_insn[1], msr_write_fault[1];
const char pconfig_insn[1], pconfig_fault[1], firmware_fault[1];
uint64_t firmware_stack;

void interrupt_dispatch(struct idt_frame *frame);

void smp_do_work(void)
{
}
static uint64_t rip_after(unsigned vector, const char *at)
{
	struct idt_frame frame = { .vector = vector, .rip = (uintptr_t)at };

	interrupt_dispatch(&frame);
	return frame.rip;
}

TEST(expected_faults_go_on, fake_setup, fake_teardown)
{
	assert_int_equal(rip_after(VECTOR_GP, msr_read_insn), (uintptr_t)msr_read_fault);
	assert_int_equal(rip_after(VECTOR_GP, msr_write_insn), (uintptr_t)msr_write_fault);
	assert_int_equal(rip_after(VECTOR_GP, pconfig_insn), (uintptr_t)pconfig_fault);
}

TEST(others_end_the_machine, fake_setup, fake_teardown)
{
	FAKE_EXPECT_PANIC(rip_after(VECTOR_GP, firmware_fault), "an exception");
	FAKE_EXPECT_PANIC(rip_after(VECTOR_UD, pconfig_insn), "an exception");
	FAKE_EXPECT_PANIC(rip_after(VECTOR_PF, msr_read_insn), "an exception");
}
