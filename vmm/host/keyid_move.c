/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves the hypervisor's memory from one KeyID to another. All code but keyid_move_host and
 * move_this_cpu runs on the bootstrap tables and must not touch the image's data, which is being
 * moved: it uses no static variable, only struct bootstrap, code and the bootstrap stack. A lint
 * checks the object file for that.
 *
 * The caches do not know that an address has the same memory under one KeyID as under another
 * ("cache coherency" in the specification, 336907). Hence the order:
 *
 * 1. All CPUs change to the bootstrap tables. The others wait there, so no other CPU writes.
 * 2. The page tables are rewritten in place, still under the old KeyID: they move like other data.
 * 3. The bootstrap tables lose their mapping of what moves. From here on nothing is mapped under
 *     the old KeyID, so no CPU can read a line of it, not even by speculation.
 * 4. Each CPU flushes its TLB, then writes back and invalidates its caches. The order matters: a
 *     translation that is left could fill the caches again. A dirty line that stayed would at some
 *     time be written to memory over what was written under the new KeyID.
 * 5. Each page is read under the old KeyID through a read-only slot to the bounce page; the slot
 *     is unmapped; the page is written under the new KeyID through another slot.
 * 6. Each CPU loads the rewritten tables and flushes its caches again: the lines that step 5 read
 *     under the old KeyID are clean, but must not be found later. After that memory holds no old
 *     byte; the bounce page is zeroed before.
 *
 * The pool's bitmap says which pages to move. It moves after all other pages, so that it can be
 * read under the old KeyID until then.
 */
#include "vmm/host/keyid_move.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/bootstrap_priv.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/smp.h"

#define BITS_PER_PAGE (PAGE_SIZE * 8)

/* What the other CPUs have done so far. */
enum {
	STEP_PARKED = 1, /* they run on the bootstrap tables */
	STEP_FLUSHED,	 /* their TLBs and caches hold nothing of the memory that moves */
	STEP_MOVED,	 /* they may load the new tables */
};

/* --- Page tables --- */

static bool moves(const struct keyid_move *m, uint64_t address)
{
	return (address >= m->pool_first && address < m->pool_end) ||
	       (address >= m->data_first && address < m->data_end);
}

void keyid_move_rewrite(const struct keyid_move *m, uint64_t *table, unsigned level)
{
	for (unsigned i = 0; i < 512; i++) {
		const uint64_t entry = table[i];
		const uint64_t address = entry & PTE_ADDRESS;

		/*
		 * With LA57 two entries refer to one table: the second time all its entries are
		 * done.
		 */
		if ((entry & PTE_PRESENT) == 0 || (entry & m->keyid_mask) != 0) {
			continue;
		}
		if (level > 1 && (entry & PTE_LARGE) == 0) {
			keyid_move_rewrite(m, (uint64_t *)address, level - 1);
			table[i] = entry | m->to;
		} else if (moves(m, address)) {
			table[i] = entry | m->to;
		}
	}
}

/* Unmaps the range in the bootstrap tables. The caller flushes the TLB. */
static void hide(struct bootstrap *b, uint64_t at, uint64_t end)
{
	while (at < end) {
		uint64_t *entry = bootstrap_entry(b, at, 2);
		bool large = entry != NULL && (*entry & PTE_LARGE) != 0;

		if (!large) {
			entry = bootstrap_entry(b, at, 1);
		}
		if (entry != NULL) {
			*entry = 0;
		}
		at = entry == NULL || large ? ALIGN_DOWN(at, SIZE_2M) + SIZE_2M : at + PAGE_SIZE;
	}
}

static void drop_translations(const struct bootstrap *b)
{
	cpu_write_cr3(b->root);
}

/* --- Pages --- */

/* Needs no INVLPG: slot_unmap has flushed the slot's translation. */
static uint8_t *slot_map(struct bootstrap *b, unsigned slot, uint64_t number, uint64_t bits)
{
	__atomic_store_n(b->slot_entries[slot], number | bits, __ATOMIC_SEQ_CST);
	return b->slots[slot];
}

static void slot_unmap(struct bootstrap *b, unsigned slot)
{
	__atomic_store_n(b->slot_entries[slot], 0, __ATOMIC_SEQ_CST);
	cpu_invlpg(b->slots[slot]);
}

static void move_page(struct bootstrap *b, uint64_t page)
{
	const uint64_t readable = b->data_bits & ~(PTE_WRITE | PTE_DIRTY);

	memcpy(b->bounce, slot_map(b, 0, page | b->move.from, readable), PAGE_SIZE);
	slot_unmap(b, 0);
	memcpy(slot_map(b, 1, page | b->move.to, b->data_bits), b->bounce, PAGE_SIZE);
	slot_unmap(b, 1);
}

/* 64 bits of the pool's bitmap, which has not moved yet. */
static uint64_t used_pages(struct bootstrap *b, uint64_t first)
{
	const uint64_t page = b->move.pool_first + first / BITS_PER_PAGE * PAGE_SIZE;
	const uint64_t *bits = (const uint64_t *)(const void *)slot_map(
		b, 0, page | b->move.from, b->data_bits & ~(PTE_WRITE | PTE_DIRTY));
	const uint64_t used = bits[first % BITS_PER_PAGE / 64];

	slot_unmap(b, 0);
	return used;
}

static void move_pool(struct bootstrap *b)
{
	const uint64_t count = (b->move.pool_end - b->move.pool_first) / PAGE_SIZE;
	const uint64_t bitmap = ALIGN_UP(count, BITS_PER_PAGE) / BITS_PER_PAGE;

	for (uint64_t first = 0; first < count; first += 64) {
		const uint64_t used = used_pages(b, first);

		for (uint64_t page = MAX(first, bitmap); page < MIN(first + 64, count); page++) {
			if ((used & BIT(page - first)) != 0) {
				move_page(b, b->move.pool_first + page * PAGE_SIZE);
			}
		}
	}
	for (uint64_t page = 0; page < bitmap; page++) {
		move_page(b, b->move.pool_first + page * PAGE_SIZE);
	}
}

static void move_data(struct bootstrap *b)
{
	for (uint64_t at = b->move.data_first; at < b->move.data_end; at += PAGE_SIZE) {
		move_page(b, at);
	}
}

/* --- The CPUs --- */

/* Waits until all other CPUs are in the current step. */
static void wait_for_others(struct keyid_move *m)
{
	while (atomic_load_acquire(&m->arrived) != m->others) {
		cpu_pause();
	}
	atomic_store_relaxed(&m->arrived, 0);
}

static void go_on(struct keyid_move *m, uint32_t step)
{
	atomic_store_release(&m->step, step);
}

static void arrive_and_wait(struct keyid_move *m, uint32_t step)
{
	atomic_add(&m->arrived, 1);
	while (atomic_load_acquire(&m->step) != step) {
		cpu_pause();
	}
}

static uint64_t follow(struct bootstrap *b, uint64_t unused)
{
	arrive_and_wait(&b->move, STEP_PARKED);
	drop_translations(b);
	arrive_and_wait(&b->move, STEP_FLUSHED);
	cpu_wbinvd();
	arrive_and_wait(&b->move, STEP_MOVED);
	return b->move.root;
}

static uint64_t lead(struct bootstrap *b, uint64_t root)
{
	struct keyid_move *m = &b->move;

	wait_for_others(m);
	keyid_move_rewrite(m, (uint64_t *)root, m->levels);
	hide(b, m->pool_first, m->pool_end);
	hide(b, m->data_first, m->data_end);
	go_on(m, STEP_PARKED);
	drop_translations(b);
	wait_for_others(m);
	go_on(m, STEP_FLUSHED);
	cpu_wbinvd();
	wait_for_others(m);
	move_pool(b);
	move_data(b);
	memset(b->bounce, 0, PAGE_SIZE);
	go_on(m, STEP_MOVED);
	return m->root;
}

static void move_this_cpu(void *arg)
{
	struct bootstrap *b = bootstrap_state();
	const hpa_t *root = arg;
	const uint32_t self = percpu_self()->index;

	if (self == 0) {
		bootstrap_run(b, bootstrap_main_stack(b), lead, root->v);
	} else {
		bootstrap_run(b, bootstrap_stack(b, self), follow, 0);
	}
	cpu_wbinvd();
}

void keyid_move_host(keyid_t keyid)
{
	struct keyid_move *m = &bootstrap_state()->move;
	hpa_t root = host_paging_root();

	m->from = 0;
	m->to = keyid_pack(keyed(hpa(0), keyid));
	m->keyid_mask = keyid_layout.mask;
	m->root = root.v | m->to;
	m->levels = host_paging_la57() ? 5 : 4;
	m->others = percpu_count() - 1;
	smp_call_all(move_this_cpu, &root);
	page_set_keyid(keyid);
}

/*
 * Zeroes the pool, under its present KeyID. It holds registers of vCPUs, VMCSs, XSAVE areas, stacks
 * with copies of vector registers, guests' consoles, page tables. Freed pages were zeroed before;
 * they are zeroed again because a CPU that did not stop may have old lines of them. Pages that were
 * never handed out were never written: on a machine with a terabyte they are most of 13 GiB.
 */
static void zero_pool(struct bootstrap *b)
{
	for (uint64_t page = b->move.pool_first; page < b->move.pool_written; page += PAGE_SIZE) {
		memset(slot_map(b, 1, page | b->move.to, b->data_bits), 0, PAGE_SIZE);
		slot_unmap(b, 1);
	}
}

/*
 * The other CPUs have stopped on the bootstrap tables with empty caches, and this CPU runs there
 * too. Unmaps and zeroes the pool; then steps 4 and 5 for the image's data.
 */
void keyid_move_back(struct bootstrap *b)
{
	struct keyid_move *m = &b->move;

	hide(b, m->pool_first, m->pool_end);
	drop_translations(b);
	zero_pool(b);
	cpu_wbinvd();
	m->from = m->to;
	m->to = 0;
	if (m->from != 0) {
		move_data(b);
		memset(b->bounce, 0, PAGE_SIZE);
		for (uint64_t at = m->data_first; at < m->data_end; at += PAGE_SIZE) {
			*bootstrap_entry(b, at, 1) = at | b->data_bits;
		}
		cpu_wbinvd();
	}
}
