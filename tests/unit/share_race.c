/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of a share that fault on it and access it through the door, while the boot processor
 * takes it away from one member and gives it back, under ThreadSanitizer: the product's shares,
 * guest memory, EPT and retire.c. If two members are the first to use a page, it must be zeroed
 * once, before either writes to it. Each word has one writer, which must find what it wrote. Exits
 * with 0 on success.
 *
 * CPU 0: the boot processor. CPU 1 and 3: vCPUs of the first member. CPU 2: the vCPU of the second,
 * which has the share now and then. CPU 4: a vCPU of a third, which moves it from one address to
 * another and away, under the accesses of CPU 5.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/keyslot.h"
#include "ept/invept_priv.h"
#include "ept/move.h"
#include "ept/retire.h"
#include "ept/share.h"
#include "tests/unit/race_cpus.h"
#include "vmm/base/err.h"
#include "vmm/host/cache.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/work.h"

#define PAGES	    8192u /* pages of the machine */
#define POOL_PAGES  1024u
#define SHARE_PAGES 1024u
#define BASE	    0x100000000ul
#define ROUNDS	    25u

static uint8_t memory[PAGES][PAGE_SIZE] __attribute__((aligned(SIZE_2M)));
static struct gmem members[3];
static struct share *share;
static bool over;
static uint64_t faults, revoked, moves, found;
static _Thread_local uint64_t written[SHARE_PAGES];

/* --- What shares use besides the linked sources --- */

bool move_is_on(const struct gmem *gmem)
{
	return false;
}

/* Nothing is sealed. */
const struct region_ops pager_share_ops, pager_sealed_ops;

int pager_ram_create(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes,
		     uint8_t fill, struct gmem_region *out)
{
	return ERR_NOMEM;
}

int pager_share_create(struct pager_vm *vm, uint64_t bytes, struct sealed_region **out)
{
	return ERR_NOMEM;
}

int pager_share_join(struct sealed_region *sealed, struct gmem *gmem, gpa_t base, bool read_only,
		     uint32_t first_hold)
{
	return ERR_NOMEM;
}

void pager_share_leave(struct sealed_region *sealed, struct gmem *gmem, bool live)
{
}

uint32_t pager_share_members(const struct sealed_region *sealed)
{
	return 0;
}

void pager_vm_destroy(struct pager_vm *vm)
{
}

void pager_count(struct pager_vm *vm, struct pager_counters *out)
{
}

/* --- CPUs --- */

/*
 * Reads or writes this CPU's word of a page through the door. Sometimes maps the page as a fault
 * does.
 */
static void step(struct gmem *gmem, bool keeps)
{
	const uint32_t page = race_random(SHARE_PAGES);
	const gpa_t at = gpa(BASE + page * PAGE_SIZE + 64 * race_self);
	uint64_t value;

	if (race_random(2) == 0) {
		if (gmem_fault(gmem, at, GMEM_ACCESS_READ, NULL) != GMEM_FAULT_FIXED) {
			race_broken("CPU %u: a fault is not served", race_self);
		}
		race_count(&faults);
	}
	if (gmem_read(gmem, at, &value, sizeof(value)) != 0) {
		race_broken("CPU %u: the door is shut", race_self);
	}
	if (keeps && value != written[page]) {
		race_broken("CPU %u, page %u: %lu was written, %lu is read", race_self, page,
			    written[page], value);
	}
	if (!keeps && value != UINT64_MAX && value > written[page]) {
		race_broken("page %u: %#lx was written by no CPU", page, value);
	}
	value = ++written[page];
	if (gmem_write(gmem, at, &value, sizeof(value)) != 0) {
		race_broken("CPU %u: the door is shut for writing", race_self);
	}
}

#define FAR (BASE + 64 * SIZE_2M)

static void move(void)
{
	share_move(&members[2], gpa(BASE), gpa(race_random(100) < 50 ? BASE : FAR),
		   race_random(100) < 75);
	race_count(&moves);
	for (uint32_t n = race_random(40); n != 0; n--) {
		race_pause();
	}
}

/* The page is there or not; if it is, it is the share's: this CPU's word is what it wrote last. */
static void find(void)
{
	const uint32_t page = race_random(SHARE_PAGES);
	const uint64_t at = (race_random(100) < 50 ? BASE : FAR) + page * PAGE_SIZE +
			    64 * race_self;
	enum gmem_fault_result result = gmem_fault(&members[2], gpa(at), GMEM_ACCESS_READ, NULL);
	uint64_t value;

	if (result != GMEM_FAULT_FIXED && result != GMEM_FAULT_MMIO) {
		race_broken("CPU %u: a fault ends as %d", race_self, (int)result);
	}
	if (gmem_read(&members[2], gpa(at), &value, sizeof(value)) != 0) {
		return;
	}
	if (value != written[page]) {
		race_broken("CPU %u, page %u: %lu was written, %lu is read", race_self, page,
			    written[page], value);
	}
	value++;
	if (gmem_write(&members[2], gpa(at), &value, sizeof(value)) == 0) {
		written[page] = value;
		race_count(&found);
	}
}

/* What was of the member's own meanwhile is freed step by step. */
static void boot_processor(void)
{
	for (uint32_t i = 0; i < ROUNDS; i++) {
		if (share_revoke(share, &members[1], gpa(BASE), NULL) != 0) {
			race_broken("it is not revoked");
		}
		revoked++;
		for (uint32_t n = 1 + race_random(200); n != 0; n--) {
			race_pause();
			(void)work_some();
			(void)retire_poll();
		}
		if (share_grant(share, &members[1], gpa(BASE), false, 1) != 0) {
			race_broken("it is not granted again");
		}
		for (uint32_t n = race_random(200); n != 0; n--) {
			race_pause();
		}
	}
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
}

static void run(void)
{
	if (race_self == 0) {
		boot_processor();
		return;
	}
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		struct gmem *gmem = &members[race_self >= 4 ? 2 : race_self == 2];

		ept_tlb_enter(&gmem->root);
		(void)race_was_kicked();
		ept_tlb_leave();
		if (race_self < 4) {
			step(gmem, race_self != 2);
		} else if (race_self == 4) {
			move();
		} else {
			find();
		}
	}
}

int main(void)
{
	const struct ept_caps caps = { .accessed_dirty = true,
				       .invept_single = true,
				       .structures_wb = true,
				       .phys_bits = 46 };
	const struct mem_range range = { hpa((uintptr_t)memory), PAGES };
	const struct page_pool_plan plan = { POOL_PAGES, POOL_PAGES, UINT64_MAX };
	uint64_t free_frames;

	ept_configure(&caps);
	if (frames_init(&range, 1, &plan) != 0) {
		race_broken("no memory");
	}
	free_frames = frames_free_count();
	if (share_create_resident(SHARE_PAGES * PAGE_SIZE, KEYID_PLATFORM, &share) != 0) {
		race_broken("no share");
	}
	for (uint32_t i = 0; i < 3; i++) {
		if (gmem_init(&members[i]) != 0 ||
		    share_join(share, &members[i], gpa(BASE), false, i) != 0) {
			race_broken("no member");
		}
	}
	race_run(run);
	for (uint32_t i = 0; i < 3; i++) {
		gmem_destroy(&members[i]);
	}
	share_destroy(share);
	while (!retire_poll()) {
		(void)work_some();
	}
	printf("%lu faults, revoked %lu times, moved %lu times, %lu times found\n", faults, revoked,
	       moves, found);
	if (frames_free_count() != free_frames) {
		race_broken("%lu frames are lost", free_frames - frames_free_count());
	}
	if (faults < 2000 || moves < 30 || found < 100) {
		race_broken("too little happened");
	}
	return 0;
}
