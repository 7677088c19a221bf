/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine made of ordinary memory, for unit tests and fuzzers. It stands in for vmm/base,
 * vmm/console and vmm/host.
 *
 * All fakes are in one archive that every test links last: a test that lists the real source of a
 * module uses that, any other test uses the fake. What the fakes check for the test:
 * - host pages (page_alloc): address == physical address, below 2 GiB, an inaccessible page after
 *   each allocation; freed pages stay inaccessible for long;
 * - guest frames (frames_alloc): physical addresses from FAKE_FRAME_BASE on, which are no pointers;
 *   only host_temp_map returns a pointer, which is valid until host_temp_unmap; new frames hold
 *   junk;
 * - log lines are kept; an unexpected panic fails the test.
 */
#ifndef UMBRA_FAKE_BASE_H
#define UMBRA_FAKE_BASE_H

#include <setjmp.h>

#include "vmm/base/keyid.h"
#include "vmm/base/types.h"
#include "vmm/console/log.h"
#include "vmm/console/serial.h"

/*
 * For cmocka: fake_setup resets everything; fake_teardown checks that nothing leaked (pages,
 * frames, mapped slots).
 */
int fake_setup(void **state);
int fake_teardown(void **state);
/* As fake_setup, for programs without cmocka. Frees all pages and frames. */
void fake_reset(void);

/* fake_log.c: everything logged since the last reset, lines as "error: text\n". Never NULL. */
const char *fake_log_text(void);
void fake_log_reset(void);
/* The last argument of log_show; LOG_ERROR after a reset. */
extern enum log_level fake_log_shown;
/*
 * Whether console_listen_us returns CONSOLE_LISTEN_US or 0, and how often console_listen was called
 * since the last reset.
 */
extern bool fake_console_is_line;
extern unsigned fake_console_listened;
extern void (*fake_console_hook)(void); /* called by console_listen */
/* After so many writes console_has_room returns false; UINT_MAX, the value after a reset: never. */
extern unsigned fake_console_room;
/* What serial_where returns: COM1, unless a test sets another. */
extern struct serial_place fake_serial_place;
/* What console_control wrote since the last reset. */
extern char fake_console_controls[];
/* The text that console_write was given, and the input for console_getc. */
const char *fake_console_text(void);
void fake_console_type(const char *text);

/* fake_panic.c: runs statement and fails the test unless it panics with text in its message. */
#define FAKE_EXPECT_PANIC(statement, text)            \
	do {                                          \
		fake_panic_expected = true;           \
		if (setjmp(fake_panic_jump) == 0) {   \
			statement;                    \
			fake_fail("no panic: " text); \
		}                                     \
		fake_panic_check(text);               \
	} while (0)
extern jmp_buf fake_panic_jump;
extern bool fake_panic_expected;
void fake_panic_check(const char *text);
/* Fails the test (with cmocka) or the process (without). */
_Noreturn void fake_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * fake_pages.c: how many are allocated now; after -1 no allocation fails, after 0 the next one
 * does.
 */
uint64_t fake_pages_live(void);
uint64_t fake_pages_reserved(void);
uint64_t fake_frames_live(void);
void fake_pages_fail_after(int after);
void fake_frames_fail_after(int after);
void fake_pages_reset(void);
/* A reset sets the KeyID of host pages (page_keyid_now) to 0, and removes KeyIDs. */
extern keyid_t page_keyid_now;

/* The frames' physical addresses: FAKE_FRAME_COUNT of them; a test can "install" fewer. */
#define FAKE_FRAME_BASE	 0x100000000ul
#define FAKE_FRAME_COUNT (4ul << 18) /* 4 GiB */
void fake_frames_set_count(uint64_t count);
/* The test's own view of a frame, whoever has it mapped. Fails on an address without a frame. */
void *fake_frame(hpa_t frame);
/* Is the frame allocated now? */
bool fake_frame_is_live(hpa_t frame);

/* fake_bootstrap.c: the last argument of bootstrap_at_end. */
extern void (*fake_at_end)(void);

/* fake_host_paging.c: slots that are mapped now, and host_temp_map calls since the reset. */
unsigned fake_temp_mapped(void);
bool fake_temp_is_mapped(unsigned slot);
/* The physical address that is mapped at this address; 0: not in a slot. */
hpa_t fake_temp_frame(const void *address);
uint64_t fake_temp_maps(void);
/* The one mapping that host_paging_visit reports; none while its frame is 0. */
extern struct keyed_frame fake_host_leaf;
/* The KeyID of the last mapping. */
keyid_t fake_temp_keyid(void);
void fake_host_paging_reset(void);

/* fake_cpus.c: the number of CPUs, and the one that percpu_self() returns. */
void fake_set_cpu_count(uint32_t count);
void fake_set_cpu(uint32_t index);
uint32_t fake_cpu(void);
/* Called by smp_kick with the target, after the kick was counted; NULL: nothing is called. */
extern void (*fake_kick_hook)(uint32_t cpu_index);
uint64_t fake_kicks(uint32_t cpu_index);
/* Time stands still until a test changes it. tsc_hz is 1,000,000,000 unless set. */
extern uint64_t fake_tsc;
extern uint64_t fake_tsc_hz;
/* The last deadline for lapic_timer_arm (0: disarmed). */
extern uint64_t fake_timer_deadline;
/* Interrupts sent by lapic_send_*, oldest first. */
struct fake_ipi {
	enum { FAKE_IPI_FIXED, FAKE_IPI_NMI, FAKE_IPI_INIT, FAKE_IPI_SIPI } kind;
	uint32_t apic_id;
	uint8_t vector;
};
extern struct fake_ipi fake_ipis[64];
extern uint32_t fake_ipi_count;
void fake_cpus_reset(void);

/*
 * fake_x86.c: results of cpu.h's instructions. Each fake_* of cpu.h is weak: a test may define its
 * own. An access to an MSR that was not set faults (msr_*_safe) or fails the test; a CPUID leaf
 * that was not set reads zeros.
 */
struct cpuid_regs;
void fake_cpuid_set(uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx,
		    uint32_t edx);
void fake_msr_set(uint32_t msr, uint64_t value);
uint64_t fake_msr_get(uint32_t msr);
/* size is 1, 2 or 4; NULL: reads return all ones, writes are dropped. */
extern uint32_t (*fake_in_hook)(uint16_t port, unsigned size);
extern void (*fake_out_hook)(uint16_t port, unsigned size, uint32_t value);
extern uint64_t fake_cr0, fake_cr2, fake_cr3, fake_cr4, fake_xcr0;
/* How many of the next RDRANDs and RDSEEDs fail; the others return a fixed sequence. */
extern unsigned fake_rdrand_failures, fake_rdseed_failures;
extern unsigned fake_invlpg_count, fake_wbinvd_count, fake_clflush_count, fake_hlt_count;
/* RFLAGS.IF after the last CLI or STI. */
extern bool fake_interrupts_on;
void fake_x86_reset(void);

/*
 * How many bytes at this address, on a part of the stack that is free again, still have this value,
 * which the test uses only in keys. Call it before any other function.
 */
size_t fake_left_on_stack(const volatile uint8_t *at, size_t count, uint8_t byte);
/*
 * fake_stack.c: calls fn, which must not fail the test, on a stack of its own. Returns whether the
 * stack holds the bytes afterwards: a copy of a secret was not wiped. fn may set the bytes.
 */
bool fake_stack_keeps(void (*fn)(void), const void *secret, size_t bytes);

/* fake_tme.c; crypto/tme.h says what it holds. */
struct tme_state;
extern struct tme_state fake_tme;

/* fake_cache.c, fake_keyslot.c */
void fake_cache_reset(void);
void fake_keyslot_reset(void);
/* fake_lock.c: forgets all held locks; code that ended in an expected panic still has its locks. */
void fake_lock_reset(void);
/* Called on the CPU that is about to release a lock; the test resets it to NULL. */
struct lock;
extern void (*fake_lock_drop_hook)(const struct lock *l);

#endif
