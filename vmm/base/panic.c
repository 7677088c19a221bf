/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Panic. The order: stop the other CPUs and wipe keys, take the consoles without locks, log, change
 * to bootstrap memory, have firmware store the text, then stay or reset. A second panic on the way
 * (from an exception inside) writes one short line and stops. Another CPU that panics or powers off
 * waits for the first.
 */
#include "vmm/base/panic.h"

#include "vmm/base/atomic.h"
#include "vmm/base/bootstrap.h"
#include "vmm/base/console.h"
#include "vmm/base/cpu.h"
#include "vmm/base/crash_record.h"
#include "vmm/base/idt_dump.h"
#include "vmm/base/log.h"
#include "vmm/base/percpu.h"
#include "vmm/base/power.h"
#include "vmm/base/smp.h"
#include "vmm/base/str.h"
#include "vmm/base/topology.h"

static ATOMIC(void (*)(void)) wipe_keys; /* NULL: nothing to wipe, or wiped already */
static ATOMIC(uint64_t) ender;		 /* APIC ID + 1 of the CPU that ends the machine; 0: none */
static uint32_t panic_depth;		 /* only the ender uses it */
static bool reboot_after;

/* panic itself is in idt_stubs.asm: it fills the frame and jumps to panic_text. */
struct idt_frame panic_frame;
_Noreturn void panic_text(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * Only one CPU ends the machine. Another CPU that calls this waits for good, and the first one's
 * NMI stops it: if it went on, its own NMI would stop the first CPU while that wipes keys. CPUs are
 * distinguished by CPUID, which works in any state of the machine, unlike percpu_self.
 */
static void claim_end(void)
{
	const uint64_t self = topology_this_cpu().apic_id + 1ul;
	uint64_t found = 0;

	if (!atomic_cas(&ender, &found, self) && found != self) {
		cpu_stop();
	}
}

bool panic_has_begun(void)
{
	return atomic_load_relaxed(&ender) != 0;
}

void panic_set_wipe(void (*wipe)(void))
{
	atomic_store_release(&wipe_keys, wipe);
}

void panic_set_reboot(bool reboot)
{
	reboot_after = reboot;
}

void panic_wipe(void)
{
	void (*wipe)(void);

	claim_end();
	wipe = atomic_load_acquire(&wipe_keys);
	if (wipe != NULL) {
		wipe();
		atomic_store_release(&wipe_keys, NULL);
	}
}

/* An exception during a panic or the wipe: keys are wiped by now, and only one line is written. */
static _Noreturn void panic_again(void)
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

void panic_begin(void)
{
	uint32_t depth;

	cpu_cli();
	claim_end();
	depth = panic_depth++;
	panic_wipe(); /* after an exception in the wipe, continues behind the step that failed */
	if (depth != 0) {
		panic_again();
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

_Noreturn void panic_end(void)
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

	panic_begin();
	__builtin_va_start(args, fmt);
	(void)str_vprintf(text, sizeof(text), fmt, args); /* may cut the message */
	__builtin_va_end(args);
	log_error("PANIC: CPU %u: %s", percpu_count() == 0 ? 0 : percpu_self()->index, text);
	if (frame_is_ours()) {
		idt_dump_state(&panic_frame);
	}
	secure_zero(&panic_frame, sizeof(panic_frame));
	panic_end();
}
