/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad guest: loads and stores of all kinds at addresses without memory, beside and within device
 * windows, at odd offsets and widths, and at addresses with each high bit. Addresses without a
 * device read all ones and ignore writes; the guest runs on.
 */
#include "tests/guests/common/guest.h"

#define ROUNDS 4000
#define LINEAR 0x600000000ull /* nothing is mapped there */

static const uint64_t places[] = {
	MEMMAP_HOLE, 0xd0000000, 0xe0100000, 0xf8000000, 0xfd000000, 0xfe000000, 0xfea00000,
	0xfec01000,  0xfed00000, 0xfed40000, 0xfee01000, 0xffc00000, 0xfffff000, 0xfffffff0,
};

static void check_empty(uint64_t at)
{
	uint64_t value;

	*(volatile uint8_t *)at = 0x5a;
	check_equal(*(volatile uint8_t *)at, 0xff);
	*(volatile uint16_t *)at = 0x5a5a;
	check_equal(*(volatile uint16_t *)at, 0xffff);
	*(volatile uint32_t *)at = 0x5a5a5a5a;
	check_equal(*(volatile uint32_t *)at, 0xffffffff);
	*(volatile uint64_t *)at = 0x5a5a5a5a5a5a5a5a;
	check_equal(*(volatile uint64_t *)at, ~0ull);
	value = 7;
	__asm__ volatile("xchgq %0, (%1)" : "+r"(value) : "r"(at) : "memory");
	check_equal(value, ~0ull);
	__asm__ volatile("lock; addl $1, (%0)" : : "r"(at) : "memory", "cc");
	check_equal(*(volatile uint32_t *)at, 0xffffffff);
}

/*
 * The address of one of its pages with one more bit, up to the width that CPUID shows. In the
 * address that the CPU uses some of these bits select a key; a guest's bits never do.
 */
static void check_high_bits(void)
{
	static uint64_t own[512] __attribute__((aligned(PAGE_SIZE)));
	const unsigned width = cpuid(0x80000008, 0).eax & 0xff;

	check(width >= 36 && width <= 52);
	own[0] = 0x6b6579;
	for (unsigned bit = 36; bit < width; bit++) {
		*page_entry(LINEAR) = ((uintptr_t)own ^ BIT(bit)) | PTE_PRESENT | PTE_WRITE;
		flush_page(LINEAR);
		check_empty(LINEAR);
		check_equal(own[0], 0x6b6579);
	}
	print("%u bits of an address above 36 lead to no memory\n", width - 36);
}

/* Odd addresses and widths within the windows: any value is right, but the machine must not end. */
static void disturb(uint64_t base, uint64_t spared)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t random = random64(), at = base + (random & 0xff8) + (random >> 12 & 7);
		uint64_t bytes = 1ull << (random >> 16 & 3);

		if ((at & 0xfff) + bytes > 0x1000 || (at & 0xff0) == spared) {
			continue;
		}
		switch (random >> 20 & 3) {
		case 0:
			(void)*(volatile uint8_t *)at;
			(void)*(volatile uint64_t *)at;
			break;
		case 1: *(volatile uint8_t *)at = (uint8_t)(random >> 32); break;
		case 2: *(volatile uint16_t *)at = (uint16_t)(random >> 32); break;
		default: *(volatile uint64_t *)at = random; break;
		}
	}
}

static void on_anything(struct trap_frame *frame)
{
	/* interrupts are off; only NMIs that this program raised by accident come here */
}

void guest_main(void)
{
	apic_start(false);
	trap_handlers[VECTOR_NMI] = on_anything;
	for (unsigned i = 0; i < ARRAY_COUNT(places); i++) {
		check_empty(places[i]);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = MEMMAP_HOLE + random64() % (MEMMAP_IOAPIC - MEMMAP_HOLE - 8);

		if (at + 8 > MEMMAP_ECAM && at < MEMMAP_ECAM + MEMMAP_ECAM_BYTES) {
			continue; /* PCI functions have registers there */
		}
		*(volatile uint32_t *)at = (uint32_t)i;
		check_equal(*(volatile uint64_t *)at, ~0ull);
	}
	/* Accesses that cross the edges of a window. */
	(void)*(volatile uint32_t *)(MEMMAP_IOAPIC - 2);
	(void)*(volatile uint32_t *)(MEMMAP_LAPIC - 2);
	(void)*(volatile uint32_t *)(MEMMAP_LAPIC + 0xffe);
	(void)*(volatile uint32_t *)(MEMMAP_ECAM - 2);
	(void)*(volatile uint32_t *)(MEMMAP_ECAM + MEMMAP_ECAM_BYTES - 2);
	disturb(MEMMAP_ECAM, 0x1000);
	disturb(MEMMAP_ECAM + (1 << 15), 0x1000); /* the first function behind the bridge */
	disturb(MEMMAP_IOAPIC, 0x1000);
	/* INIT to this CPU would be correct, but would end the test. */
	disturb(MEMMAP_LAPIC, APIC_ICR);
	print("holes and windows disturbed\n");
	check_high_bits();
	/*
	 * In x2APIC mode, and when the APIC is off, there is no memory at the address of its
	 * registers.
	 */
	if ((cpuid(1, 0).ecx & CPUID_1_ECX_X2APIC) != 0) {
		wrmsr(MSR_IA32_APIC_BASE, rdmsr(MSR_IA32_APIC_BASE) | APIC_BASE_X2APIC);
		check_empty(MEMMAP_LAPIC + 0x800);
	}
	wrmsr(MSR_IA32_APIC_BASE, MEMMAP_LAPIC | APIC_BASE_BSP);
	check_empty(MEMMAP_LAPIC + 0x800);
	check_equal(cpuid(1, 0).edx & CPUID_1_EDX_APIC, 0);
	wrmsr(MSR_IA32_APIC_BASE, MEMMAP_LAPIC | APIC_BASE_BSP | APIC_BASE_ENABLE);
	check_equal(*(volatile uint32_t *)(MEMMAP_LAPIC + APIC_SVR), 0xff);
	check_equal(cpuid(1, 0).edx & CPUID_1_EDX_APIC, CPUID_1_EDX_APIC);
}
