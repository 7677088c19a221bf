/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last words of the machine. Order: wipe keys, stop the other CPUs, take the consoles without
 * locks, speak, leave for bootstrap memory, have firmware keep what was said, stay or reset. A
 * second panic on the way (from a fault inside, or from another CPU that was on its own way here)
 * says one short line, or nothing, and stops its CPU.
 */
#include "vmm/base/bootstrap.h"
#include "vmm/base/console.h"
#include "vmm/base/cpu.h"
#include "vmm/base/crash_record.h"
#include "vmm/base/idt_dump.h"
#include "vmm/base/log.h"
#include "vmm/base/panic.h"
#include "vmm/base/percpu.h"
#include "vmm/base/power.h"
#include "vmm/base/smp.h"
#include "vmm/base/str.h"

static void (*wipe_keys)(void);
static uint32_t panic_depth;
static uint32_t panic_apic_id;
static bool reboot_after;

/* idt_stubs.asm: panic itself, which fills the frame and goes on here. */
struct idt_frame panic_frame;
_Noreturn void panic_text(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Works in any state of the machine, unlike percpu_self. */
static uint32_t own_apic_id(void)
{
	return cpu_cpuid(1, 0).ebx >> 24;
}

void panic_set_wipe(void (*wipe)(void))
{
	__atomic_store_n(&wipe_keys, wipe, __ATOMIC_RELEASE);
}

void panic_set_reboot(bool reboot)
{
	reboot_after = reboot;
}

void panic_wipe(void)
{
	void (*wipe)(void) = __atomic_exchange_n(&wipe_keys, NULL, __ATOMIC_ACQ_REL);

	if (wipe != NULL) {
		wipe();
	}
}

void panic_begin(void)
{
	static const char again[] = "\n*** trouble inside the panic itself; stopping here ***\n";
	uint32_t depth;

	cpu_cli();
	depth = __atomic_fetch_add(&panic_depth, 1, __ATOMIC_ACQ_REL);
	if (depth == 0) {
		panic_apic_id = own_apic_id();
	} else if (depth == 1 && panic_apic_id == own_apic_id()) {
		console_break_lock();
		console_write(again, sizeof(again) - 1);
		console_drain();
		if (reboot_after) {
			power_reset();
		}
	}
	if (depth != 0) {
		cpu_stop();
	}
	panic_wipe();
	smp_stop_others();
	console_break_lock();
	crash_record_begin();
}

/* Without a KeyID: firmware, and the next to use this memory, know of none. */
static void panic_left(void)
{
	static const char last[] = "\n*** Umbra stopped. Note the lines above, then switch the "
				   "machine off or reset it. ***\n";

	crash_record_store();
	if (reboot_after) {
		log_error("the machine is reset, as [host] on-panic says");
		power_reset();
	}
	console_write(last, sizeof(last) - 1);
	console_drain();
	cpu_stop();
}

_Noreturn void panic_end(void)
{
	console_drain(); /* before anything else has a chance to hang */
	bootstrap_leave(panic_left);
}

/* Are these the registers of this panic, or of one on another CPU at the same moment? */
static bool frame_is_ours(void)
{
	return panic_frame.rsp - (uintptr_t)__builtin_frame_address(0) < PAGE_SIZE;
}

_Noreturn void panic_text(const char *fmt, ...)
{
	static char text[256];
	__builtin_va_list args;

	panic_begin();
	__builtin_va_start(args, fmt);
	(void)str_vprintf(text, sizeof(text), fmt, args); /* a cut message is still one */
	__builtin_va_end(args);
	log_error("PANIC: CPU %u: %s", percpu_count() == 0 ? 0 : percpu_self()->index, text);
	if (frame_is_ours()) {
		idt_dump_state(&panic_frame);
	}
	panic_end();
}
