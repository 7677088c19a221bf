/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page fault that the guest's own tables cause belongs to the guest: it arrives once, with the
 * CR2 and the error code (present, write, fetch, reserved bit) of those tables, also if the page
 * behind the entry, or the page table itself, is memory that the hypervisor has not provided yet.
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
	/*
	 * A whole page table in untouched memory: all entries are absent, because memory is zero.
	 */
	*page_entry(WINDOW + SIZE_2M) = 0;
	print("%lu page faults over %lu pages\n", faults, pages);
}
