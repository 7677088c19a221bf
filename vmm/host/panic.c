/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Panic. The order: stop the other CPUs and wipe keys, take the consoles without locks, log, change
 * to bootstrap memory, have firmware store the text, then stay or reset. A second panic on the way
 * (from an exception inside) writes one short line and stops. Another CPU that panics or powers off
 * waits for the first.
 */
#include "vmm/base/panic.h"

#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/crash_record.h"
#include "vmm/host/ending.h"
#include "vmm/host/idt_dump.h"
#include "vmm/host/power.h"
#include "vmm/host/smp.h"

static uint32_t panic_depth; /* only the ender uses it */
static bool reboot_after;

/* panic itself is in panic.asm: it fills the frame and jumps to panic_text. */
struct idt_frame panic_frame;
_Noreturn void panic_text(const char *fmt, ...) PRINTF_LIKE(1, 2);

void panic_set_reboot(bool reboot)
{
	reboot_after = reboot;
}

/* An exception during a panic or the wipe: keys are wiped by now, and only one line is written. */
static _Noreturn void begin_again(void)
{
	static const char again[] = "\n*** trouble inside the panic itself; stopping here ***\n";
	static bool said;

	if (!said) {
		said = true;
		console_break_lock();
		console_write(again, sizeof(again) - 1);
		console_drain();
		if (reboot_after) {
			power_reset();
		}
	}
	cpu_stop();
}

/* Does not return if another CPU ends the machine already, or on a second panic. */
static void begin(void)
{
	uint32_t depth;

	cpu_cli();
	ending_claim();
	depth = panic_depth++;
	ending_wipe(); /* after an exception in the wipe, continues behind the step that failed */
	if (depth != 0) {
		begin_again();
	}
	smp_stop_others();
	console_break_lock();
	crash_record_begin();
}

/* Runs at KeyID 0, the only one that firmware and the next operating system know. */
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

static _Noreturn void end(void)
{
	console_drain(); /* before a later step can hang */
	bootstrap_leave(panic_left);
}

/*
 * Does panic_frame hold this panic's registers? Another CPU may have panicked at the same moment.
 */
static bool frame_is_ours(void)
{
	return panic_frame.rsp - (uintptr_t)__builtin_frame_address(0) < PAGE_SIZE;
}

_Noreturn void panic_text(const char *fmt, ...)
{
	static char text[256];
	__builtin_va_list args;

	begin();
	__builtin_va_start(args, fmt);
	(void)str_vprintf(text, sizeof(text), fmt, args); /* may cut the message */
	__builtin_va_end(args);
	log_error("PANIC: CPU %u: %s", percpu_count() == 0 ? 0 : percpu_self()->index, text);
	if (frame_is_ours()) {
		idt_dump_state(&panic_frame);
	}
	secure_zero(&panic_frame, sizeof(panic_frame));
	end();
}

_Noreturn void panic_exception(struct idt_frame *frame)
{
	idt_forget_secrets(frame); /* before begin, which only returns on the CPU that ends */
	begin();
	idt_dump(frame);
	secure_zero(frame, sizeof(*frame));
	end();
}
