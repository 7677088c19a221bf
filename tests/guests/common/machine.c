/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that may trap, page tables and the local APIC, for the tiny guests. */
#include "tests/guests/common/guest.h"

#define LVT_MASKED BIT(16)
#define ICR_BUSY   BIT(12)
#define ICR_SELF   BIT(18)
#define ICR_NMI	   (4u << 8)

static bool x2;

unsigned try_rdmsr(uint32_t msr, uint64_t *value)
{
	uint32_t lo = 0, hi = 0;

	__asm__ volatile(TRY("rdmsr") : "+a"(lo), "+d"(hi) : "c"(msr) : "memory");
	*value = lo | (uint64_t)hi << 32;
	return trapped();
}

unsigned try_wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile(TRY("wrmsr")
			 :
			 : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr)
			 : "memory");
	return trapped();
}

unsigned try_write_cr0(uint64_t value)
{
	__asm__ volatile(TRY("movq %0, %%cr0") : : "r"(value) : "memory");
	return trapped();
}

unsigned try_write_cr3(uint64_t value)
{
	__asm__ volatile(TRY("movq %0, %%cr3") : : "r"(value) : "memory");
	return trapped();
}

unsigned try_write_cr4(uint64_t value)
{
	__asm__ volatile(TRY("movq %0, %%cr4") : : "r"(value) : "memory");
	return trapped();
}

unsigned try_xsetbv(uint32_t index, uint64_t value)
{
	__asm__ volatile(TRY("xsetbv")
			 :
			 : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(index)
			 : "memory");
	return trapped();
}

uint64_t rdmsr(uint32_t msr)
{
	uint64_t value;

	if (try_rdmsr(msr, &value) != NO_TRAP) {
		fail("RDMSR %x faults", msr);
	}
	return value;
}

void wrmsr(uint32_t msr, uint64_t value)
{
	if (try_wrmsr(msr, value) != NO_TRAP) {
		fail("WRMSR %x of %lx faults", msr, value);
	}
}

uint64_t read_cr0(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr0, %0" : "=r"(value));
	return value;
}

uint64_t read_cr4(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr4, %0" : "=r"(value));
	return value;
}

uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return lo | (uint64_t)hi << 32;
}

uint64_t tsc_hz(void)
{
	struct cpuid r = cpuid(0, 0);

	if (r.eax < 0x15) {
		return 1000000000;
	}
	r = cpuid(0x15, 0);
	return r.eax == 0 || r.ecx == 0 ? 1000000000 : (uint64_t)r.ecx * r.ebx / r.eax;
}

void *fresh_page(void)
{
	static uint64_t next = FRESH_BASE;

	if (next == FRESH_END) {
		error("no untouched memory left");
	}
	next += PAGE_SIZE;
	return (void *)(next - PAGE_SIZE);
}

static uint64_t *new_table(void)
{
	static uint64_t tables[16][512] __attribute__((aligned(4096)));
	static unsigned used;

	if (used == ARRAY_COUNT(tables)) {
		error("no page table left");
	}
	return tables[used++];
}

static uint64_t *next_table(uint64_t entry)
{
	return (uint64_t *)(entry & PTE_ADDRESS);
}

volatile uint64_t *page_entry(uint64_t address)
{
	uint64_t cr3, *entry, *table;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	table = next_table(cr3);
	for (unsigned shift = 39; shift > PAGE_SHIFT; shift -= 9) {
		entry = &table[address >> shift & 511];
		if ((*entry & PTE_PRESENT) == 0) {
			*entry = (uintptr_t)new_table() | PTE_PRESENT | PTE_WRITE;
		} else if (shift < 39 && (*entry & PTE_LARGE) != 0) {
			uint64_t *split = new_table();
			uint64_t size = 1ull << (shift - 9);
			uint64_t large = shift > 21 ? PTE_LARGE : 0;

			for (uint64_t i = 0; i < 512; i++) {
				split[i] = ((*entry & MASK(51, 21)) + i * size) | PTE_PRESENT |
					   PTE_WRITE | large;
			}
			*entry = (uintptr_t)split | PTE_PRESENT | PTE_WRITE;
			__asm__ volatile("movq %0, %%cr3" : : "r"(cr3) : "memory");
		}
		table = next_table(*entry);
	}
	return &table[address >> PAGE_SHIFT & 511];
}

void flush_page(uint64_t address)
{
	__asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

void map_high(void)
{
	static uint64_t directory[512] __attribute__((aligned(PAGE_SIZE)));
	uint64_t cr3;
	uint64_t *pml4, *pdpt;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	pml4 = (uint64_t *)(cr3 & PAGE_MASK);
	pdpt = (uint64_t *)(pml4[0] & 0xffffffffff000);
	for (uint64_t i = 0; i < 512; i++) {
		directory[i] = (MEMMAP_HIGH_RAM + i * SIZE_2M) | PTE_PRESENT | PTE_WRITE |
			       PTE_LARGE;
	}
	pdpt[MEMMAP_HIGH_RAM / SIZE_1G] = (uint64_t)directory | PTE_PRESENT | PTE_WRITE;
}

uint64_t random64(void)
{
	static uint64_t state = 0x2545f4914f6cdd1d;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

void apic_start(bool x2apic)
{
	uint64_t base = rdmsr(MSR_IA32_APIC_BASE);

	if (x2apic && (cpuid(1, 0).ecx & CPUID_1_ECX_X2APIC) == 0) {
		error("no x2APIC");
	}
	x2 = x2apic;
	wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_ENABLE);
	if (x2) {
		wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
	}
	/* A PC's 8259 pair would use the vectors of exceptions after reset. */
	out8(PORT_PIC_MASTER + 1, 0xff);
	out8(PORT_PIC_SLAVE + 1, 0xff);
	apic_write(APIC_LVT_TIMER, LVT_MASKED);
	apic_write(APIC_SVR, 0x1ff);
	apic_write(APIC_TPR, 0);
}

uint32_t apic_read(uint32_t reg)
{
	if (x2) {
		return (uint32_t)rdmsr(MSR_IA32_X2APIC_FIRST + (reg >> 4));
	}
	return *(volatile uint32_t *)(MEMMAP_LAPIC + reg);
}

void apic_write(uint32_t reg, uint32_t value)
{
	if (x2) {
		wrmsr(MSR_IA32_X2APIC_FIRST + (reg >> 4), value);
	} else {
		*(volatile uint32_t *)(MEMMAP_LAPIC + reg) = value;
	}
}

void apic_self_ipi(uint8_t vector)
{
	apic_write(APIC_ICR, ICR_SELF | vector);
}

void apic_self_nmi(void)
{
	uint32_t id = apic_read(APIC_ID);

	if (x2) {
		wrmsr(MSR_IA32_X2APIC_FIRST + (APIC_ICR >> 4), (uint64_t)id << 32 | ICR_NMI);
		return;
	}
	apic_write(APIC_ICR_HIGH, id & 0xff000000);
	apic_write(APIC_ICR, ICR_NMI);
	while (apic_read(APIC_ICR) & ICR_BUSY) {
	}
}
