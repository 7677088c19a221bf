/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page fault that the guest's own tables cause belongs to the guest: it arrives once, with the
 * CR2 and the error code (present, write, fetch, reserved bit) of those tables, also if the page
 * behind the entry, or the page table itself, is memory that the hypervisor has not provided yet.
 * With SMAP, RFLAGS.AC decides at each access whether the supervisor may use a user's page, also
 * right after an access that AC allowed (SDM vol. 3, "Determination of Access Rights").
 */
#include "tests/guests/common/guest.h"

#define ROUNDS 10000
#define WINDOW 0x40000000ull /* a page whose entry this test changes */

static volatile uint64_t *entry;
static volatile uint64_t faults, fault_address, fault_code;
static uint64_t heal; /* the handler writes this into the entry */

static void on_page_fault(struct trap_frame *frame)
{
	faults++;
	__asm__ volatile("movq %%cr2, %0" : "=r"(fault_address));
	fault_code = frame->error;
	*entry = heal;
	flush_page(WINDOW);
}

static void expect(uint64_t count, uint64_t address, uint64_t code, const char *what)
{
	if (faults != count || fault_address != address || fault_code != code) {
		fail("%s: %lu of %lu faults, CR2 %lx (%lx), error code %lx (%lx)", what, faults,
		     count, fault_address, address, fault_code, code);
	}
}

static void set_entry(uint64_t value)
{
	*entry = value;
	flush_page(WINDOW);
}

/* A reserved bit: an address bit beyond MAXPHYADDR. */
static uint64_t reserved_bit(void)
{
	uint8_t bits = (uint8_t)cpuid(0x80000008, 0).eax;

	return bits < 52 ? BIT(51) : 0;
}

static void round_of(uint64_t page, bool fresh, uint64_t *count)
{
	volatile uint64_t *at = (volatile uint64_t *)(WINDOW + (random64() & 0xff8));
	uint64_t whole = page | PTE_PRESENT | PTE_WRITE;
	uint64_t value = random64();

	heal = whole;
	set_entry(0);
	/* Executed again after the fault, for a page that is touched for the first time now. */
	*at = value;
	expect(++*count, (uintptr_t)at, PF_WRITE, "store to an absent page");
	check_equal(*at, value);
	if (fresh && !arg("bare")) { /* firmware has used the memory before */
		for (uint64_t *word = (uint64_t *)WINDOW; word < (uint64_t *)(WINDOW + 4096);
		     word++) {
			check(word == at || *word == 0);
		}
	}
	set_entry(page | PTE_PRESENT);
	*at = value + 1;
	expect(++*count, (uintptr_t)at, PF_WRITE | PF_PRESENT, "store to a read-only page");
	check_equal(*at, value + 1);
	if (reserved_bit() != 0) {
		set_entry(whole | reserved_bit());
		check_equal(*at, value + 1);
		expect(++*count, (uintptr_t)at, PF_PRESENT | PF_RSVD,
		       "load through a reserved bit");
	}
	set_entry(whole | PTE_NX);
	*at = 0xc3; /* RET */
	((void (*)(void))(uintptr_t)at)();
	expect(++*count, (uintptr_t)at, PF_PRESENT | PF_FETCH, "fetch from a no-execute page");
}

/* Allows users to use all tables above the entry itself. */
static void open_tables(uint64_t address)
{
	uint64_t cr3, *table;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	table = (uint64_t *)(cr3 & PTE_ADDRESS);
	for (unsigned shift = 39; shift > PAGE_SHIFT; shift -= 9) {
		table[address >> shift & 511] |= PTE_USER;
		table = (uint64_t *)(table[address >> shift & 511] & PTE_ADDRESS);
	}
}

/* The first access is allowed, the second is not; the handler gives the page to the supervisor. */
static void round_with_smap(uint64_t page, uint64_t round, uint64_t *count)
{
	volatile uint64_t *at = (volatile uint64_t *)(WINDOW + (random64() & 0xff8));
	bool writes = (round & 1) != 0;

	set_entry(page | PTE_PRESENT | PTE_WRITE | PTE_USER);
	__asm__ volatile("stac" : : : "memory", "cc");
	*at = round;
	check_equal(*at, round);
	__asm__ volatile("clac" : : : "memory", "cc");
	if (writes) {
		*at = round + 1;
	} else {
		check_equal(*at, round);
	}
	expect(++*count, (uintptr_t)at, PF_PRESENT | (writes ? PF_WRITE : 0),
	       "access to a user's page with SMAP");
	check_equal(*at, round + writes);
}

static void with_smap(uint64_t page, uint64_t *count)
{
	open_tables(WINDOW);
	heal = page | PTE_PRESENT | PTE_WRITE;
	check(try_write_cr4(read_cr4() | CR4_SMAP) == NO_TRAP);
	for (uint64_t round = 0; round < 100; round++) {
		round_with_smap(page, round, count);
	}
	check(try_write_cr4(read_cr4() & ~(uint64_t)CR4_SMAP) == NO_TRAP);
}

void guest_main(void)
{
	uint64_t count = 0, pages = 0;

	trap_handlers[VECTOR_PF] = on_page_fault;
	wrmsr(MSR_IA32_EFER, rdmsr(MSR_IA32_EFER) | EFER_NXE);
	check(try_write_cr0(read_cr0() | CR0_WP) == NO_TRAP);
	entry = page_entry(WINDOW);
	for (uint64_t page = 0; count < arg_number("faults", ROUNDS); pages++) {
		bool fresh = pages < 2000;

		page = fresh ? (uintptr_t)fresh_page() : page;
		round_of(page, fresh, &count);
	}
	if ((cpuid(7, 0).ebx & CPUID_7_EBX_SMAP) != 0) {
		with_smap((uintptr_t)fresh_page(), &count);
	}
	/*
	 * A whole page table in untouched memory: all entries are absent, because memory is zero.
	 */
	*page_entry(WINDOW + SIZE_2M) = 0;
	print("%lu page faults over %lu pages\n", faults, pages);
}
