/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps four markers in general registers and nowhere in its own memory while it polls COM1 for a
 * byte, for ever or polls= times. Each poll is a VM exit, at which a hypervisor saves the registers
 * (SDM vol. 3, "VM Exits": the CPU does not). A dump of DRAM shows the markers where they were
 * saved, if that memory is in clear.
 *
 * With vectors=1 four more markers are in XMM0 to XMM3, and pages that it writes push others out of
 * a window, so that a hypervisor that encrypts must save these registers.
 */
#include "tests/bus/marker.h"
#include "tests/guests/common/guest.h"

#define NUMBER 500000u /* number of the first marker */

/* marker_mix(z), with the factors in registers. */
#define MIX(z)                                                                           \
	"mov " z ", %%rax\n\tshr $30, %%rax\n\txor %%rax, " z "\n\timul %[a], " z "\n\t" \
	"mov " z ", %%rax\n\tshr $27, %%rax\n\txor %%rax, " z "\n\timul %[b], " z "\n\t" \
	"mov " z ", %%rax\n\tshr $31, %%rax\n\txor %%rax, " z "\n\t"

/* marker_make(base + number, 0), in two registers. */
#define MARK(number, first, second)                                                     \
	"lea " number "(%[base]), " first "\n\t" MIX(first) "lea 1(" first "), " second \
							    "\n\t" MIX(second)

#define MARK_XMM(n)                                                             \
	do {                                                                    \
		const struct marker m = marker_make(NUMBER + 4 + (n), 0);       \
		__asm__ volatile("movq %0, %%xmm" #n "\n\tmovq %1, %%xmm15\n\t" \
				 "punpcklqdq %%xmm15, %%xmm" #n                 \
				 :                                              \
				 : "r"(m.first), "r"(m.second));                \
	} while (0)

#define FIRST_PAGE 0x800000ull
#define PAGES	   200u

static void mark_vectors(void)
{
	(void)vector_start(XCR0_X87 | XCR0_SSE);
	MARK_XMM(0);
	MARK_XMM(1);
	MARK_XMM(2);
	MARK_XMM(3);
	for (uint64_t i = 0; i < 2 * PAGES; i++) {
		*(volatile uint64_t *)(FIRST_PAGE + i % PAGES * PAGE_SIZE) = i + 1;
	}
}

void guest_main(void)
{
	static const char text[] = "four markers are in registers\n";
	const uint64_t polls = arg_number("polls", UINT64_MAX);
	uint64_t a = 0xbf58476d1ce4e5b9, b = 0x94d049bb133111eb, count = sizeof(text) - 1;
	const char *at = text;

	interrupts_off();
	if (arg_number("vectors", 0) != 0) {
		mark_vectors();
	}
	__asm__ volatile(
		MARK("0", "%%r8", "%%r9") MARK("1", "%%r10", "%%r11") MARK("2", "%%r12", "%%r13")
			MARK("3", "%%r14", "%%r15") "mov	%[polls], %[a]\n\t"
						    "1:	lodsb\n\t"
						    "mov	$0x3f8, %%edx\n\t"
						    "outb	%%al, %%dx\n\t"
						    "loop	1b\n\t"
						    "mov	$0x3fd, %%edx\n\t"
						    "2:	inb	%%dx, %%al\n\t"
						    "test	$1, %%al\n\t"
						    "jnz	3f\n\t"
						    "dec	%[a]\n\t"
						    "jnz	2b\n\t"
						    "3:	xor	%%r8d, %%r8d\n\t"
						    "xor	%%r10d, %%r10d\n\t"
						    "xor	%%r12d, %%r12d\n\t"
						    "xor	%%r14d, %%r14d"
		: "+S"(at), "+c"(count), [a] "+b"(a), [b] "+d"(b)
		: [base] "D"(MARKER_BASE + NUMBER), [polls] "m"(polls)
		: "rax", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}
