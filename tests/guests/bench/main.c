/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not a test: measures what an exit costs, as a guest sees it; with "faults", what a fault in
 * sealed memory costs. Each operation runs between two RDTSC, a thousand times;
 * tests/bench/bench.py reads the lines and compares. Where the TSC counts instructions (the
 * emulated machine), the figures are instructions. "null" is the cost of the measurement itself.
 */
#include "tests/guests/common/guest.h"

#define ROUNDS		 1000
#define HLT_AHEAD	 400000 /* TSC ticks from arming the timer to its deadline */
#define VECTOR		 0x41
#define UART_SCRATCH	 7
#define IOAPIC_WINDOW	 (MEMMAP_IOAPIC + 0x10)
#define LVT_TSC_DEADLINE BIT(18)

static uint32_t results[ROUNDS];
static unsigned rounds = ROUNDS;

/* Written by the interrupt handlers: TSC at their start. */
static volatile uint64_t handled __asm__("handled");

extern const uint8_t isr_xapic[], isr_x2apic[];

__asm__(".text\n"
	"isr_xapic:\n"
	"	push %rax\n	push %rdx\n"
	"	rdtsc\n	shl $32, %rdx\n	or %rdx, %rax\n	mov %rax, handled\n"
	"	mov $0xfee00000, %edx\n	movl $0, 0xb0(%rdx)\n"
	"	pop %rdx\n	pop %rax\n	iretq\n"
	"isr_x2apic:\n"
	"	push %rax\n	push %rdx\n	push %rcx\n"
	"	rdtsc\n	shl $32, %rdx\n	or %rdx, %rax\n	mov %rax, handled\n"
	"	mov $0x80b, %ecx\n	xor %eax, %eax\n	xor %edx, %edx\n	wrmsr\n"
	"	pop %rcx\n	pop %rdx\n	pop %rax\n	iretq\n");

/* `op` may use RAX, RCX and RDX. r15 is its operand and keeps the value that op gives it. */
#define TIMED(op, operand)                                                                    \
	do {                                                                                  \
		register uint64_t r15 __asm__("r15") = (operand);                             \
		for (unsigned i = 0; i < rounds; i++) {                                       \
			uint64_t ticks;                                                       \
			__asm__ volatile("rdtsc\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\t"     \
					 "mov %%rax, %%r8\n\t" op                             \
					 "\n\trdtsc\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\t" \
					 "sub %%r8, %%rax"                                    \
					 : "=&a"(ticks), "+r"(r15)                            \
					 :                                                    \
					 : "rcx", "rdx", "rbx", "rsi", "r8", "memory", "cc"); \
			results[i] = (uint32_t)ticks;                                         \
		}                                                                             \
	} while (0)

static void sort(void)
{
	for (unsigned gap = rounds / 2; gap > 0; gap /= 2) {
		for (unsigned i = gap; i < rounds; i++) {
			uint32_t value = results[i];
			unsigned at = i;

			for (; at >= gap && results[at - gap] > value; at -= gap) {
				results[at] = results[at - gap];
			}
			results[at] = value;
		}
	}
}

static void report(const char *name)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < rounds; i++) {
		sum += results[i];
	}
	sort();
	print("bench: %s rounds %u median %u min %u p90 %u max %u mean %lu\n", name, rounds,
	      results[rounds / 2], results[0], results[rounds * 9 / 10], results[rounds - 1],
	      sum / rounds);
}

static void instructions(void)
{
	TIMED("", 0);
	report("null");
	TIMED("xor %%eax, %%eax\n\txor %%ecx, %%ecx\n\tcpuid", 0);
	report("cpuid");
	TIMED("mov $0x1a0, %%ecx\n\trdmsr", 0); /* IA32_MISC_ENABLE */
	report("rdmsr");
	TIMED("mov $0x8b, %%ecx\n\txor %%eax, %%eax\n\txor %%edx, %%edx\n\twrmsr", 0);
	report("wrmsr"); /* IA32_BIOS_SIGN_ID */
}

static void devices(void)
{
	TIMED("mov $0x3ff, %%edx\n\tin %%dx, %%al", 0); /* COM1's scratch register */
	report("port-read");
	TIMED("mov $0x3ff, %%edx\n\tout %%al, %%dx", 0);
	report("port-write");
	*(volatile uint32_t *)MEMMAP_IOAPIC = 1; /* the version register */
	check((*(volatile uint32_t *)IOAPIC_WINDOW & 0xff) != 0xff);
	TIMED("mov (%%r15), %%eax", IOAPIC_WINDOW);
	report("memory-read");
	TIMED("mov %%eax, (%%r15)", IOAPIC_WINDOW);
	report("memory-write");
}

/* The 2-MiB pages of the guest's own tables exist; each page's EPT entry does not. */
static void first_touch(void)
{
	check(FRESH_BASE + ROUNDS * PAGE_SIZE <= FRESH_END);
	TIMED("movb $1, (%%r15)\n\tadd $4096, %%r15", FRESH_BASE);
	report("first-touch");
}

static void use_handler(const uint8_t *handler)
{
	uintptr_t at = (uintptr_t)handler;

	idt[VECTOR].offset_low = (uint16_t)at;
	idt[VECTOR].offset_mid = (uint16_t)(at >> 16);
}

/* Waits until the handler has run and ended the interrupt. */
#define UNTIL_HANDLED "2:\tcmpq $0, handled\n\tje 2b"

static void self_ipi(void)
{
	interrupts_on();
	TIMED("movq $0, handled\n\tmovl $0x40041, 0x300(%%r15)\n\t" UNTIL_HANDLED, MEMMAP_LAPIC);
	interrupts_off();
	report("self-ipi-xapic");
}

static void self_ipi_x2apic(void)
{
	interrupts_on();
	TIMED("movq $0, handled\n\tmov $0x83f, %%ecx\n\tmov $0x41, %%eax\n\t"
	      "xor %%edx, %%edx\n\twrmsr\n\t" UNTIL_HANDLED,
	      0);
	interrupts_off();
	report("self-ipi-x2apic");
}

/* Measures from the deadline to the first instruction of the handler. */
static void timer_wake(const char *name)
{
	apic_write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t deadline = rdtsc() + HLT_AHEAD;

		handled = 0;
		wrmsr(MSR_IA32_TSC_DEADLINE, deadline);
		while (handled == 0) {
			__asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
		}
		results[i] = (uint32_t)(handled - deadline);
	}
	report(name);
}

/*
 * Sealed memory, with a window of 512 frames. Each pass touches every page of a larger range once,
 * from the last to the first, so that none is opened ahead. After the first 512 pages the victims
 * are pages of this pass, so the median is a fault with such a victim.
 */
#define FREE_FRAMES 200
#define LAST	    ((ROUNDS - 1) * PAGE_SIZE)
#define DATA	    (FRESH_BASE + (1ull << 20) + LAST)
#define ZEROES	    (FRESH_BASE + (8ull << 20) + LAST)
#define READ_PAGE   "mov (%%r15), %%eax\n\tsub $4096, %%r15"

static void faults(void)
{
	TIMED("", 0);
	report("null");
	rounds = FREE_FRAMES;
	TIMED("movl $1, (%%r15)\n\tsub $4096, %%r15", FRESH_BASE + LAST);
	report("touch-free"); /* a frame is free */
	rounds = ROUNDS;
	TIMED("movl $1, (%%r15)\n\tsub $4096, %%r15", DATA);
	report("touch-dirty"); /* never touched, replaces a dirty page */
	TIMED("movl $2, (%%r15)\n\tsub $4096, %%r15", DATA);
	report("open-dirty"); /* sealed, replaces a dirty page */
	TIMED(READ_PAGE, DATA);
	TIMED(READ_PAGE, DATA);
	report("open-clean"); /* sealed, replaces a page that is only dropped */
	TIMED("movl $0, (%%r15)\n\tsub $4096, %%r15", ZEROES);
	TIMED("movl $0, (%%r15)\n\tsub $4096, %%r15", ZEROES);
	report("touch-zero"); /* all zero, replaces a page that was written with zeros */
	TIMED(READ_PAGE, ZEROES);
	TIMED(READ_PAGE, ZEROES);
	report("touch-clean"); /* all zero, replaces a page that was not written */
	TIMED("mov $0x3ff, %%edx\n\tmov %%r15, %%rsi\n\toutsb\n\tsub $4096, %%r15", DATA);
	/* The hypervisor reads from a sealed page, which replaces a clean one. */
	report("door-sealed");
	TIMED("mov $0x3ff, %%edx\n\tmov %%r15, %%rsi\n\toutsb", DATA);
	report("door-open");
}

/*
 * 64 MiB of sealed memory, read page by page in one direction. How many of the accesses faulted:
 * without a fault one takes a few instructions, with one more than a thousand.
 */
#define BIG	  FRESH_END
#define BIG_PAGES (64u << 8)
#define FAULT_MIN 200

static unsigned count_faults(uint64_t first, int64_t step)
{
	uint64_t at = first;
	unsigned count = 0;

	for (unsigned i = 0; i < BIG_PAGES; i++, at += (uint64_t)step) {
		const uint64_t began = rdtsc();

		(void)*(volatile uint32_t *)at;
		count += rdtsc() - began > FAULT_MIN;
	}
	return count;
}

static void read_on(void)
{
	for (unsigned i = 0; i < BIG_PAGES; i++) {
		*(volatile uint32_t *)(BIG + (uint64_t)i * PAGE_SIZE) = i + 1;
	}
	print("bench: 64M of sealed memory read: backwards %u faults\n",
	      count_faults(BIG + (uint64_t)(BIG_PAGES - 1) * PAGE_SIZE, -(int64_t)PAGE_SIZE));
	print("bench: 64M of sealed memory read: in sequence %u faults\n",
	      count_faults(BIG, PAGE_SIZE));
}

void guest_main(void)
{
	if (arg("faults")) {
		faults();
		read_on();
		return;
	}
	instructions();
	devices();
	first_touch();
	apic_start(false);
	use_handler(isr_xapic);
	self_ipi();
	timer_wake("timer-wake-xapic");
	apic_start(true);
	use_handler(isr_x2apic);
	self_ipi_x2apic();
	timer_wake("timer-wake-x2apic");
}
