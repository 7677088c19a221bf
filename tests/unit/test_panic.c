/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/host/panic.c, vmm/host/ending.c: one CPU ends the machine, and another that wants to end it
 * waits. An exception inside the wipe does not prevent the rest of the wipe.
 */
#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/panic.h"
#include "vmm/base/x86.h"
#include "vmm/host/crash_record.h"
#include "vmm/host/ending.h"
#include "vmm/host/idt_dump.h"
#include "vmm/host/power.h"
#include "vmm/host/smp.h"
#include "vmm/host/topology.h"

/* --- What panic.c uses. The APIC IDs are equal in the eight bits that CPUID.1 has. --- */

static uint32_t self; /* the CPU that runs */
static jmp_buf stopped;
static unsigned stops, wipes, records, dumps;

struct topology topology_this_cpu(void)
{
	return (struct topology){ .apic_id = 0x100 * self };
}

void fake_hlt(void)
{
	longjmp(stopped, 1);
}

void smp_stop_others(void)
{
	stops++;
}

void crash_record_begin(void)
{
	records++;
}

void crash_record_store(void)
{
}

void idt_dump(const struct idt_frame *frame)
{
	dumps++;
}

void idt_dump_state(const struct idt_frame *frame)
{
}

void idt_forget_secrets(struct idt_frame *frame)
{
	frame->rax = 0;
}

_Noreturn void power_reset(void)
{
	ending_wipe();
	longjmp(stopped, 2);
}

/* True when the CPU stopped in fn. */
static int run(uint32_t cpu, void (*fn)(void))
{
	const uint32_t before = self;
	jmp_buf outer;
	int end;

	memcpy(outer, stopped, sizeof(outer));
	self = cpu;
	end = setjmp(stopped);
	if (end == 0) {
		fn();
	}
	memcpy(stopped, outer, sizeof(outer));
	self = before;
	return end;
}

static unsigned debug_cleared, vectors_cleared;

void fake_clear_debug_registers(void)
{
	debug_cleared++;
}

void fake_clear_vector_registers(void)
{
	vectors_cleared++;
}

/* --- Tests --- */

/* Vector registers may hold keys, but are cleared only where that raises no exception. */
TEST(test_registers_are_cleared)
{
	const struct {
		uint64_t cr0, cr4, xcr0;
		unsigned cleared;
	} cpus[] = {
		{ 0, CR4_OSXSAVE, 0xe7, 1 },
		{ 0, CR4_OSXSAVE, 0x2e7, 1 },
		{ 0, CR4_OSXSAVE, 0x67, 0 },
		{ 0, CR4_OSXSAVE, 7, 0 },
		{ 0, 0, 0xe7, 0 },
		{ CR0_TS, CR4_OSXSAVE, 0xe7, 0 },
		{ CR0_EM, CR4_OSXSAVE, 0xe7, 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cpus); i++) {
		fake_cr0 = cpus[i].cr0;
		fake_cr4 = cpus[i].cr4;
		fake_xcr0 = cpus[i].xcr0;
		debug_cleared = vectors_cleared = 0;
		ending_set_wipe(NULL);
		assert_int_equal(run(3, ending_wipe), 0);
		assert_int_equal(debug_cleared, 1);
		assert_int_equal(vectors_cleared, cpus[i].cleared);
	}
}

static struct idt_frame raised;

static void raise_exception(void)
{
	memset(&raised, 0x5e, sizeof(raised));
	panic_exception(&raised);
}

/* Two other CPUs want to end the machine while the first is ending it. */
static void wipe_among_others(void)
{
	wipes++;
	debug_cleared = 0;
	assert_int_equal(run(1, ending_wipe), 1);     /* by power-off */
	assert_int_equal(run(2, raise_exception), 1); /* by a panic */
	assert_int_equal(debug_cleared, 2);	      /* they may not take an NMI any more */
	assert_int_equal(raised.rax, 0);
	assert_int_equal(wipes, 1);
	assert_int_equal(stops, 0);
	assert_string_equal(fake_console_text(), "");
}

TEST(test_second_caller_waits)
{
	ending_set_wipe(wipe_among_others);
	assert_int_equal(run(3, ending_wipe), 0);
	assert_int_equal(wipes, 1);
	assert_int_equal(run(1, ending_wipe), 1); /* also later */
	assert_int_equal(run(3, ending_wipe), 0);
	assert_int_equal(wipes, 1); /* nothing is wiped twice */
	assert_int_equal(dumps, 0);
	assert_int_equal(run(3, raise_exception), 1); /* the first CPU may still panic */
	assert_int_equal(dumps, 1);
	assert_int_equal(stops, 1);
	assert_int_equal(records, 1);
	assert_int_equal(wipes, 1);
}

/* What panic.asm calls, and the registers that it has stored there. */
extern struct idt_frame panic_frame;
_Noreturn void panic_text(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void say(void)
{
	memset(&panic_frame, 0x5e, sizeof(panic_frame));
	panic_text("broken");
}

/* They may hold secrets, and whoever looks at the machine's memory afterwards finds none. */
TEST(test_registers_are_wiped)
{
	static const struct idt_frame zero;

	assert_int_equal(run(0, say), 1);
	assert_non_null(strstr(fake_log_text(), "PANIC: CPU 0: broken"));
	assert_memory_equal(&panic_frame, &zero, sizeof(zero));
}

/* Three steps; the first raises an exception. */
static unsigned step;

static void wipe_in_steps(void)
{
	while (step < 3) {
		if (step++ == 0) {
			raise_exception();
		}
		wipes++;
	}
}

/* In power-off: the panic is the first, and logs its text. */
TEST(test_fault_in_wipe)
{
	ending_set_wipe(wipe_in_steps);
	assert_int_equal(run(0, ending_wipe), 1);
	assert_true(wipes >= 2 && step == 3);
	assert_int_equal(records, 1);
	assert_int_equal(dumps, 1);
	assert_null(strstr(fake_console_text(), "trouble"));
}

/* In a panic: everything is wiped, then the CPU stops with one line. */
TEST(test_fault_in_panic)
{
	ending_set_wipe(wipe_in_steps);
	assert_int_equal(run(0, raise_exception), 1);
	assert_int_equal(wipes, 2);
	assert_int_equal(records, 0);
	assert_non_null(strstr(fake_console_text(), "trouble inside the panic itself"));
}

TEST(test_fault_in_panic_reboot)
{
	panic_set_reboot(true);
	ending_set_wipe(wipe_in_steps);
	assert_int_equal(run(0, raise_exception), 2);
	assert_int_equal(wipes, 2);
}

/* Each in its own process: a machine ends once. */

TEST_RUN(.apart = true);
