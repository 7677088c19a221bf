/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that two VMs share ([share NAME], boot/README.md). The VM with "writer" on its command
 * line fills "mib" MiB with numbers and reports their sum; the VM with "reader" also sums them up
 * and answers. With "ro" the reader may only read: a store is #GP, and so is a page walk that would
 * set a bit there. With "revoked" it waits until the share is taken away, with "granted" until it
 * is given back, for reading and writing. "outsider" is not a member: where the others have the
 * share it has no memory. "marks" writes the same page twice to its own memory and once to the
 * share, for a test that reads DRAM. No VM waits longer than "patience" milliseconds for a word.
 *
 * The first page has words for both: [0] is the writer's state, [1] its sum. The reader's answers
 * are at [8] in the same page, or on the console if it may not write. [511] is for page walks.
 */
#include "tests/bus/marker.h"
#include "tests/guests/common/guest.h"

#define SHARE	 MEMMAP_HIGH_RAM
#define READY	 0x5245414459ull
#define REVOKED	 (~0ull)
#define PATIENCE 60000 /* ms */
#define MARKED	 3000  /* the number of its markers */

/* The index of an entry in the share's first page when that is used as a page table; its value. */
#define WALKED	  511
#define WALKED_TO (SIZE_2M | PTE_PRESENT | PTE_WRITE | PTE_LARGE)

static volatile uint64_t *const words = (volatile uint64_t *)SHARE;

static void wait_for(uint64_t word, uint64_t value)
{
	const uint64_t end = rdtsc() + arg_number("patience", PATIENCE) * (tsc_hz() / 1000);

	while (words[word] != value) {
		if (rdtsc() > end) {
			fail("word %lu is %lx, never %lx", word, words[word], value);
		}
		__asm__ volatile("pause");
	}
}

static uint64_t number(uint64_t index)
{
	return (index + 1) * 0x9e3779b97f4a7c15ull;
}

static uint64_t sum_up(uint64_t count)
{
	uint64_t sum = 0;

	for (uint64_t i = PAGE_SIZE / 8; i < count; i++) {
		sum = (sum << 1 | sum >> 63) ^ words[i];
	}
	return sum;
}

static void write_all(uint64_t count)
{
	check_equal(words[0], 0); /* a share begins with zeros */
	for (uint64_t i = PAGE_SIZE / 8; i < count; i++) {
		words[i] = number(i);
	}
	words[1] = sum_up(count);
	words[WALKED] = WALKED_TO;
	words[0] = READY;
	print("share: wrote %lu words, sum %lx\n", count, words[1]);
}

static void read_all(uint64_t count)
{
	wait_for(0, READY);
	check_equal(sum_up(count), words[1]);
	for (uint64_t i = PAGE_SIZE / 8; i < count; i += 511) {
		check_equal(words[i], number(i));
	}
	print("share: read %lu words, sum %lx\n", count, words[1]);
}

/*
 * A walk that goes through a table in the share sets the entry's accessed bit, which this VM may
 * not. The same table in this VM's own memory works.
 */
static void check_walk(void)
{
	static uint64_t own[512] __attribute__((aligned(PAGE_SIZE)));
	const uint64_t slot = MEMMAP_HIGH_RAM / SIZE_1G + 1;
	volatile uint64_t *at = (uint64_t *)(slot * SIZE_1G + WALKED * SIZE_2M);
	uint64_t cr3, value = 0, *pdpt;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	pdpt = (uint64_t *)(*(uint64_t *)(cr3 & PAGE_MASK) & PTE_ADDRESS);
	check_equal(words[WALKED], WALKED_TO);
	pdpt[slot] = SHARE | PTE_PRESENT | PTE_WRITE;
	__asm__ volatile(TRY("movq (%1), %0") : "+r"(value) : "r"(at) : "memory");
	check_equal(trapped(), VECTOR_GP);
	check_equal(words[WALKED], WALKED_TO);
	own[WALKED] = WALKED_TO;
	pdpt[slot] = (uintptr_t)own | PTE_PRESENT | PTE_WRITE;
	__asm__ volatile("movq %0, %%cr3" : : "r"(cr3) : "memory");
	check_equal(*at, *(volatile uint64_t *)SIZE_2M);
	print("share: no walk sets bits in it\n");
}

static void check_read_only(void)
{
	const uint64_t before = words[2];

	__asm__ volatile(TRY("movq %1, %0") : "=m"(words[2]) : "r"(before + 1));
	check_equal(trapped(), VECTOR_GP);
	check_equal(words[2], before);
	check_walk();
}

/* The share is gone. Memory of this VM's own is in its place: all ones, and writable. */
static void check_revoked(void)
{
	wait_for(0, REVOKED);
	check_equal(words[1], REVOKED);
	words[0] = 1;
	check_equal(words[0], 1);
	check_equal(words[PAGE_SIZE], REVOKED);
	print("share: revoked\n");
}

/* The share is given back with all its content, and this VM may write to it now. */
static void check_granted(void)
{
	wait_for(0, READY);
	check_equal(words[PAGE_SIZE / 8], number(PAGE_SIZE / 8));
	words[2] = 7;
	check_equal(words[2], 7);
	print("share: granted\n");
}

static void mark(struct marker *page)
{
	for (uint64_t block = 0; block < MARKER_PAGE_BLOCKS; block++) {
		page[block] = marker_make(MARKED, block);
	}
}

/* Writes the same page twice to its own memory and once to the share, until a key is pressed. */
static void mark_both(void)
{
	static struct marker own[2][MARKER_PAGE_BLOCKS] __attribute__((aligned(PAGE_SIZE)));

	mark(own[0]);
	mark(own[1]);
	mark((struct marker *)(SHARE + PAGE_SIZE));
	print("share: marked\n");
	while ((in8(PORT_COM1 + 5) & 1) == 0) {
		__asm__ volatile("pause");
	}
}

void guest_main(void)
{
	const uint64_t count = arg_number("mib", 4) << 17;

	map_high();
	if (arg("marks")) {
		mark_both();
		return;
	}
	if (arg("outsider")) {
		check_equal(words[0], ~0ull); /* no memory: all ones */
		return;
	}
	if (arg("writer")) {
		write_all(count);
		if (!arg("alone")) {
			wait_for(8, READY);
		}
	} else {
		read_all(count);
		if (arg("ro")) {
			check_read_only();
		} else {
			words[8] = READY;
		}
	}
	if (arg("revoked")) {
		check_revoked();
	}
	if (arg("granted")) {
		check_granted();
	}
}
