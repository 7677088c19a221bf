/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port I/O: IN leaves the rest of RAX as the width demands, a port without a device reads all ones
 * at every width, and string forms move every element once with RCX, RSI and RDI as the SDM says,
 * for either direction flag, with a count of 0, and across a page that is touched for the first
 * time.
 */
#include "tests/guests/common/guest.h"
#include "vmm/base/str.h"

#define NOBODY	0x2a8 /* no device */
#define SCRATCH (PORT_COM1 + 7)

static void widths(void)
{
	uint64_t rax;

	for (unsigned i = 0; i < 256; i++) {
		out8(SCRATCH, (uint8_t)i);
		rax = 0x1122334455667788;
		__asm__ volatile("inb %%dx, %%al" : "+a"(rax) : "d"(SCRATCH));
		check_equal(rax, 0x1122334455667700 | i);
	}
	rax = 0x1122334455667788;
	__asm__ volatile("inw %%dx, %%ax" : "+a"(rax) : "d"(NOBODY));
	check_equal(rax, 0x112233445566ffff);
	rax = 0x1122334455667788;
	__asm__ volatile("inl %%dx, %%eax" : "+a"(rax) : "d"(NOBODY));
	check_equal(rax, 0xffffffff); /* a 32-bit result clears the upper half */
	rax = 0x1122334455667788;
	__asm__ volatile("inb $0x80, %%al" : "+a"(rax));
	check_equal(rax >> 8, 0x11223344556677);
	__asm__ volatile("outl %%eax, %%dx" : : "a"(0), "d"(0xffff)); /* crosses the last port */
	(void)in32(0xfffd);
}

/* REP OUTS or REP INS of size 1, 2 or 4. */
static void string(bool in, unsigned size, uint16_t port, uint64_t *address, uint64_t *count,
		   bool down)
{
	if (down) {
		__asm__ volatile("std");
	}
#define REP(instruction) \
	__asm__ volatile("rep " instruction : "+S"(*address), "+c"(*count) : "d"(port) : "memory")
#define REP_IN(instruction) \
	__asm__ volatile("rep " instruction : "+D"(*address), "+c"(*count) : "d"(port) : "memory")
	if (in && size == 1) {
		REP_IN("insb");
	} else if (in && size == 2) {
		REP_IN("insw");
	} else if (in) {
		REP_IN("insl");
	} else if (size == 1) {
		REP("outsb");
	} else if (size == 2) {
		REP("outsw");
	} else {
		REP("outsl");
	}
	__asm__ volatile("cld");
}

static void check_string(bool in, unsigned size, uint64_t elements, bool down)
{
	uint8_t *page = fresh_page(), *next = fresh_page();
	uint64_t middle = (uintptr_t)next - 2 * size; /* two elements before the border */
	uint64_t start = middle, address = middle, count = elements;
	uint64_t step = down ? -(uint64_t)size : size;

	if (arg("bare")) {
		memset(page, 0, 2 * PAGE_SIZE); /* firmware has used the memory before */
	}
	string(in, size, NOBODY, &address, &count, down);
	check_equal(count, 0);
	check_equal(address, start + elements * step);
	if (!in) {
		return;
	}
	for (uint64_t i = 0; i < 2 * PAGE_SIZE; i++) {
		uint64_t at = (uintptr_t)page + i;
		uint64_t low = down ? start - (elements - 1) * size : start;
		bool written = elements > 0 && at >= low && at < low + elements * size;

		if (page[i] != (written ? 0xff : 0)) {
			fail("INS of %lu * %u %s: byte %lx is %x", elements, size,
			     down ? "down" : "up", at - start, page[i]);
		}
	}
}

/* To the UART: the terminal shows what was sent, in order. */
static void to_console(void)
{
	static const char text[] = "string output in order\r\n";
	uint64_t address, count;

	for (unsigned i = 0; i < sizeof(text) - 1; i++) {
		while ((in8(PORT_COM1 + 5) & 0x20) == 0) {
		}
		address = (uintptr_t)text + i;
		count = 1;
		string(false, 1, PORT_COM1, &address, &count, false);
	}
}

/*
 * The scratch register keeps the last element. After a fault in the middle the registers point to
 * the element that faulted.
 */
static void fault_in_the_middle(void)
{
	uint64_t address = 0x40000000ull - 16, rcx = 64;

	*page_entry(0x40000000ull) = 0;
	flush_page(0x40000000ull);
	page_entry(0x40000000ull - PAGE_SIZE)[0] = (uintptr_t)fresh_page() | PTE_PRESENT |
						   PTE_WRITE;
	flush_page(0x40000000ull - PAGE_SIZE);
	__asm__ volatile(TRY("rep insb") : "+D"(address), "+c"(rcx) : "d"(SCRATCH) : "memory");
	check_equal(trapped(), VECTOR_PF);
	check_equal(caught.rdi, 0x40000000ull);
	check_equal(caught.rcx, 48);
	check_equal(caught.error, PF_WRITE);
}

void guest_main(void)
{
	static const uint64_t counts[] = { 0, 1, 2, 3, 100 };

	widths();
	for (unsigned i = 0; i < ARRAY_COUNT(counts); i++) {
		for (unsigned size = 1; size <= 4; size *= 2) {
			for (unsigned way = 0; way < 4; way++) {
				check_string((way & 1) != 0, size, counts[i], (way & 2) != 0);
			}
		}
	}
	to_console();
	fault_in_the_middle();
}
