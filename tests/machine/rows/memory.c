/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables with an alias of memory for each KeyID, and the probe's ports. */
#include "rows.h"

#define PTE_PRESENT BIT(0)
#define PTE_WRITE   BIT(1)
#define PTE_USER    BIT(2)
#define PTE_LARGE   BIT(7)
#define PTE_ALL	    (PTE_PRESENT | PTE_WRITE | PTE_USER)
#define TABLE_SPAN  BIT(39)
#define ALIAS_VA    0x8000000000ull /* KeyID n is mapped at + n * 4 GiB */
#define ALIASES	    128u

/* The probe's ports; README.md describes them. */
#define PROBE_LOW	0x5e0
#define PROBE_HIGH	0x5e4
#define PROBE_DATA	0x5e8
#define PROBE_COMMAND	0x5ec
#define PROBE_EVICT	1u
#define PROBE_EVICT_ALL 2u
#define PROBE_RANDOM	3u

static uint64_t *pml4, *alias_table, *window_table, *scratch_table;
static uint64_t arena_next = ARENA + TEST_PAGES * PAGE_BYTES;

void copy(void *to, const void *from, size_t bytes)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

void fill(void *to, uint8_t byte, size_t bytes)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(byte) : "memory");
}

void pattern(void *to, unsigned seed, size_t bytes)
{
	uint64_t state = 0x9e3779b97f4a7c15ull * (seed + 1);

	for (size_t i = 0; i < bytes; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		((uint8_t *)to)[i] = (uint8_t)(state >> 32);
	}
}

unsigned physical_bits(void)
{
	return cpuid(0x80000008, 0).eax & 0xff;
}

static uint64_t activate(void)
{
	uint64_t value;

	if (!(cpuid(7, 0).ecx & BIT(13)) || try_rdmsr(MSR_TME_ACTIVATE, &value) != NO_TRAP ||
	    (value & 3) != 3) {
		return 0;
	}
	return value;
}

unsigned keyid_bits(void)
{
	return activate() >> 32 & 15;
}

unsigned tdx_bits(void)
{
	return activate() >> 36 & 15;
}

uint64_t keyid_field(unsigned keyid)
{
	return (uint64_t)keyid << (physical_bits() - keyid_bits());
}

void *alias(unsigned keyid, uint64_t address)
{
	return (void *)(ALIAS_VA + keyid * 4 * GIB + address);
}

uint64_t test_page(unsigned n)
{
	return ARENA + (uint64_t)n * PAGE_BYTES;
}

void *arena_page(void)
{
	void *page = (void *)arena_next;

	if (arena_next == ARENA + ARENA_BYTES) {
		print("rows: no page left\n");
		stop();
	}
	arena_next += PAGE_BYTES;
	fill(page, 0, PAGE_BYTES);
	return page;
}

uint64_t read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr3, %0" : "=r"(value));
	return value;
}

void write_cr3(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(value) : "memory");
}

void map_aliases(void)
{
	unsigned usable = 1u << (keyid_bits() - tdx_bits());

	for (unsigned i = 0; i < ALIASES * 4; i++) {
		unsigned keyid = i / 4;

		alias_table[i] = keyid >= usable
					 ? 0
					 : (keyid_field(keyid) | i % 4 * GIB) | PTE_ALL | PTE_LARGE;
	}
	write_cr3(read_cr3());
}

volatile uint64_t *scratch_entry(void)
{
	return &scratch_table[0];
}

static uint64_t *map_table(uint64_t va)
{
	uint64_t *table = arena_page();

	pml4[va / TABLE_SPAN & 511] = (uintptr_t)table | PTE_ALL;
	return table;
}

uint64_t make_tables(void)
{
	uint64_t *low;

	pml4 = arena_page();
	low = map_table(0);
	for (uint64_t i = 0; i < 4; i++) {
		low[i] = i * GIB | PTE_ALL | PTE_LARGE;
	}
	alias_table = map_table(ALIAS_VA);
	window_table = map_table(WINDOW_VA);
	window_table[0] = WINDOW_GPA | PTE_ALL | PTE_LARGE;
	scratch_table = map_table(SCRATCH_VA);
	return (uintptr_t)pml4;
}

void clflush(const volatile void *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += LINE_BYTES) {
		__asm__ volatile("clflush %0" : "+m"(*((volatile char *)(uintptr_t)at + i)));
	}
	mfence();
}

void clflushopt(const volatile void *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += LINE_BYTES) {
		__asm__ volatile("clflushopt %0" : "+m"(*((volatile char *)(uintptr_t)at + i)));
	}
	mfence();
}

/* --- The probe --- */

static void probe_at(uint64_t address)
{
	out32(PROBE_LOW, (uint32_t)address);
	out32(PROBE_HIGH, (uint32_t)(address >> 32));
}

void bus_read(uint64_t address, void *to, size_t bytes)
{
	probe_at(address);
	for (size_t i = 0; i < bytes; i += 4) {
		uint32_t word_read = in32(PROBE_DATA);

		copy((uint8_t *)to + i, &word_read, 4);
	}
}

void bus_write(uint64_t address, const void *from, size_t bytes)
{
	probe_at(address);
	for (size_t i = 0; i < bytes; i += 4) {
		uint32_t value;

		copy(&value, (const uint8_t *)from + i, 4);
		out32(PROBE_DATA, value);
	}
}

void evict(unsigned keyid, uint64_t address)
{
	probe_at(keyid_field(keyid) | address);
	out32(PROBE_COMMAND, PROBE_EVICT);
}

void evict_all(void)
{
	out32(PROBE_COMMAND, PROBE_EVICT_ALL);
}

void last_random(uint8_t bytes[128])
{
	out32(PROBE_COMMAND, PROBE_RANDOM);
	for (size_t i = 0; i < 128; i += 4) {
		uint32_t value = in32(PROBE_DATA);

		copy(bytes + i, &value, 4);
	}
}

uint32_t rule_breaks(void)
{
	return in32(PROBE_COMMAND);
}
