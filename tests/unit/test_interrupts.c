/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/host/interrupts.c: which #GP is expected, and where execution continues. The labels are those
 * of insns.asm. What an NMI does.
 */
#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/x86.h"
#include "vmm/host/idt_dump.h"
#include "vmm/host/interrupts.h"
#include "vmm/host/smp.h"

const char msr_read_insn[1], msr_read_fault[1], msr_write_insn[1], msr_write_fault[1];
const char pconfig_insn[1], pconfig_fault[1], firmware_fault[1];
uint64_t firmware_stack;

void interrupt_dispatch(struct idt_frame *frame);

void smp_do_work(void)
{
}

static jmp_buf stopped;

_Noreturn void bootstrap_stop_this_cpu(void)
{
	longjmp(stopped, 1);
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

/* At the end of the machine an NMI stops this CPU, and nothing that it interrupted is left. */
TEST(nmi_stops_without_a_trace, fake_setup, fake_teardown)
{
	static const struct idt_frame zero;
	static struct idt_frame frame;

	memset(&frame, 0x5e, sizeof(frame));
	frame.vector = VECTOR_NMI;
	interrupt_dispatch(&frame);
	assert_int_equal(frame.rax, 0x5e5e5e5e5e5e5e5e); /* it goes on with that */
	interrupts_stop_on_nmi();
	if (setjmp(stopped) == 0) {
		interrupt_dispatch(&frame);
		fail();
	}
	assert_memory_equal(&frame, &zero, sizeof(zero));
}
