/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment of every tiny guest: long mode with 4 GiB one to one, an IDT, COM1, checks, a
 * local APIC.
 *
 * A guest defines guest_main(). It reports on the serial line and ends with one line:
 *   PASS          all checks succeeded
 *   SKIP why      the (virtual) CPU lacks the feature to test
 *   ERROR what    the test itself is broken or could not run
 *   FAIL what     the machine did something that hardware does not do
 *
 * Then it turns the machine off. Returning from guest_main is PASS.
 */
#ifndef UMBRA_TEST_GUEST_H
#define UMBRA_TEST_GUEST_H

#include "guest/memmap.h"
#include "tests/guests/common/cpu.h"
#include "vmm/base/str.h"
#include "vmm/base/types.h"
#include "vmm/base/x86.h"

void guest_main(void);

/* --- Output and command line --- */

_Noreturn void pass(void);
_Noreturn void skip(const char *why);
_Noreturn void error(const char *fmt, ...) PRINTF_LIKE(1, 2);
_Noreturn void fail(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Fails with the condition, or with both values. */
#define check(cond)                                           \
	do {                                                  \
		if (!(cond)) {                                \
			fail("line %d: %s", __LINE__, #cond); \
		}                                             \
	} while (0)
#define check_equal(got, want)                                                         \
	do {                                                                           \
		uint64_t got_value = (uint64_t)(got), want_value = (uint64_t)(want);   \
		if (got_value != want_value) {                                         \
			fail("line %d: %s is %lx, not %lx", __LINE__, #got, got_value, \
			     want_value);                                              \
		}                                                                      \
	} while (0)

/*
 * arg: is the word in the kernel command line? arg_number: the number behind "name=", or
 * `otherwise` if it is not there.
 */
bool arg(const char *word);
uint64_t arg_number(const char *name, uint64_t otherwise);

/* --- Exceptions and interrupts --- */

#define SELECTOR_CODE	0x08
#define SELECTOR_DATA	0x10
#define SELECTOR_TSS	0x28
#define SELECTOR_CODE16 0x38
#define SELECTOR_DATA16 0x40
extern uint64_t gdt[9];

/* The handler of a vector; NULL: the trap is caught by TRY, or is an ERROR. */
typedef void trap_handler(struct trap_frame *frame);
extern trap_handler *trap_handlers[256];
extern volatile uint64_t trap_count[256];
/* ist 0: on the current stack; 1 to 3: on that IST stack. */
void trap_use_ist(uint8_t vector, uint8_t ist);
/* Moves that stack to an untouched page: the next delivery is interrupted by a fault. */
void make_ist_cold(uint8_t ist);
extern struct idt_entry idt[256];
/* Points IDTR to the table at this address (a copy of idt). */
void load_idt(const void *table, uint16_t limit);

#define NO_TRAP 256
/* The trap that ended the last TRY, or vector NO_TRAP. */
extern struct trap_frame caught;
extern volatile uint64_t catch_rip;
/*
 * Executes one instruction; a trap on it continues behind it, with the trap in `caught`. Use within
 * inline asm: asm volatile(TRY("rdmsr") : ...). trapped() then returns the vector and clears it.
 */
#define TRY(instruction) "movq $771f, catch_rip\n\t" instruction "\n771:\n\tmovq $0, catch_rip\n\t"
unsigned trapped(void);

static inline void interrupts_on(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static inline void interrupts_off(void)
{
	__asm__ volatile("cli" : : : "memory");
}

/* --- Instructions --- */

/* Both return the vector of the trap, or NO_TRAP. */
unsigned try_rdmsr(uint32_t msr, uint64_t *value);
unsigned try_wrmsr(uint32_t msr, uint64_t value);
unsigned try_write_cr0(uint64_t value);
unsigned try_write_cr3(uint64_t value);
unsigned try_write_cr4(uint64_t value);
unsigned try_xsetbv(uint32_t index, uint64_t value);
/* A trap in these ends the test. */
uint64_t rdmsr(uint32_t msr);
void wrmsr(uint32_t msr, uint64_t value);
uint64_t read_cr0(void);
uint64_t read_cr4(void);
uint64_t rdtsc(void);

/* --- Memory --- */

#define FRESH_BASE 0x1000000ull /* memory from 16 MiB up to FRESH_END is untouched */
#define FRESH_END  0x3c00000ull
/* The next untouched page; ERROR after 44 MiB. */
void *fresh_page(void);
/* Maps the 4-KiB page at the address to a fresh zeroed page, and adds zeroed tables if needed. */
void map_fresh(uint64_t address);
/*
 * Returns the boundary between two fresh pages with no table in common below the PML4: an access
 * that crosses it needs eight pages that nothing else uses. There are 127 such pairs.
 */
#define FAR_DISTANCE (2ull << 39)
#define FAR_LAST     (127 * FAR_DISTANCE)
uint8_t *far_pair(void);
/* A far pair that holds the code, which begins `before` bytes before the boundary. */
void *far_code(const void *code, const void *end, size_t before);
/* Reads so many pages that were never written: as many others leave a full window. */
#define SWEEP_BASE 0x3000000ull
#define SWEEP_END  FRESH_END
void sweep(uint64_t pages);
/* The entry that maps the 4-KiB page; splits the 2-MiB page if needed. */
volatile uint64_t *page_entry(uint64_t address);
void flush_page(uint64_t address);
/* Maps 4 GiB to 5 GiB one to one, where a VM has its shares. */
void map_high(void);
/* xorshift64: the same numbers each run. */
uint64_t random64(void);

/* --- Vector state --- */

#define VECTOR_AREA 4096 /* bytes, aligned to 64: an XSAVE area, or an FXSAVE area in its start */
/* Enables all components, XCR0 as far as supported. Returns XCR0, or 3 on a CPU without it. */
uint64_t vector_start(uint64_t xcr0);
void vector_pattern(uint8_t *area, uint64_t mask);
void vector_load(const uint8_t *area, uint64_t mask);
void vector_save(uint8_t *area, uint64_t mask);
/* FAILs when a register differs. after: how many exits happened, for the message. */
void vector_compare(const uint8_t *got, const uint8_t *want, uint64_t mask, uint64_t after);

/* --- Local APIC
 * ----------------------------------------------------------------------------------- */

#define APIC_ID		 0x020
#define APIC_VERSION	 0x030
#define APIC_TPR	 0x080
#define APIC_PPR	 0x0a0
#define APIC_EOI	 0x0b0
#define APIC_LDR	 0x0d0
#define APIC_SVR	 0x0f0
#define APIC_ISR	 0x100
#define APIC_IRR	 0x200
#define APIC_ESR	 0x280
#define APIC_ICR	 0x300
#define APIC_ICR_HIGH	 0x310
#define APIC_LVT_TIMER	 0x320
#define APIC_TIMER_START 0x380
#define APIC_TIMER_NOW	 0x390
#define APIC_TIMER_DIV	 0x3e0

/* Enables it in xAPIC or x2APIC mode (ERROR if CPUID does not show that). */
void apic_start(bool x2apic);
uint32_t apic_read(uint32_t reg);
void apic_write(uint32_t reg, uint32_t value);
/* Through the ICR: fixed with shorthand "self". */
void apic_self_ipi(uint8_t vector);
/* An NMI to this CPU by its APIC ID (the shorthand is not allowed for NMIs). */
void apic_self_nmi(void);

/* --- Further CPUs ---
 * TRY and the functions that use it (try_*, rdmsr, wrmsr, checks of those) are for one CPU at a
 * time.
 */

/*
 * Starts the CPU with this APIC ID, 1 to 8, in entry(cpu), with the control registers of the
 * caller, interrupts off, the common IDT, and its own stack, GDT and TSS. Returns when it runs;
 * ERROR when it does not. The local APIC must be enabled.
 */
void cpu_start(unsigned cpu, void (*entry)(unsigned cpu));
/* Only INIT and SIPI: real mode at this address, a page below 1 MiB. */
void cpu_start_at(unsigned cpu, uint32_t address);
/* The end of the stack that each IST entry of its TSS points to. */
uint8_t *cpu_ist_top(unsigned cpu);
/* Sends an interrupt to another CPU. */
void cpu_send(unsigned cpu, uint8_t vector);

/* Ticks of the TSC per second as CPUID.15H reports, else 1,000,000,000. */
uint64_t tsc_hz(void);

#endif
