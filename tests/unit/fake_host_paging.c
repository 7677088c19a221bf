/* SPDX-License-Identifier: Apache-2.0 */
/* Slots for one frame each; the pages around them and unmapped slots are inaccessible. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "tests/unit/fake_base.h"
#include "tests/unit/fake_frames.h"
#include "vmm/base/host_paging.h"

static uint8_t *slots; /* slot n is page 2n + 1 */
static bool mapped[HOST_TEMP_SLOTS];
static uint8_t *addresses[HOST_TEMP_SLOTS]; /* while it is mapped */
bool fake_temp_unguarded;
static hpa_t frames[HOST_TEMP_SLOTS];
static uint64_t map_count;
static keyid_t last_keyid;

static uint8_t *slot_address(unsigned slot)
{
	if (slot >= HOST_TEMP_SLOTS) {
		fake_fail("slot %u does not exist", slot);
	}
	if (slots == NULL) {
		slots = mmap(NULL, (2 * HOST_TEMP_SLOTS + 1) * PAGE_SIZE, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (slots == MAP_FAILED) {
			fake_fail("no room for the slots");
		}
	}
	return slots + (2 * slot + 1) * PAGE_SIZE;
}

void *host_temp_map(unsigned slot, struct keyed_frame page)
{
	const hpa_t frame = page.frame;
	uint8_t *address = slot_address(slot);
	uint64_t offset;
	int fd = fake_frames_fd(frame, &offset);

	if (mapped[slot]) {
		fake_fail("slot %u is mapped already", slot);
	}
	if (!IS_ALIGNED(frame.v, PAGE_SIZE)) {
		fake_fail("host_temp_map of %#lx, which is not a page", frame.v);
	}
	if (fake_temp_unguarded) {
		address = fake_frame(frame);
	} else if (mmap(address, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			(off_t)offset) != address) {
		fake_fail("slot %u could not be mapped", slot);
	}
	if (!fake_temp_unguarded) {
		fake_cache_fill(address, page);
	}
	mapped[slot] = true;
	addresses[slot] = address;
	frames[slot] = frame;
	last_keyid = page.keyid;
	map_count++;
	return address;
}

void host_temp_unmap(unsigned slot)
{
	uint8_t *address = slot_address(slot);

	if (!mapped[slot]) {
		fake_fail("slot %u is not mapped", slot);
	}
	if (addresses[slot] == address &&
	    mmap(address, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
		    address) {
		fake_fail("slot %u could not be unmapped", slot);
	}
	mapped[slot] = false;
}

hpa_t fake_temp_frame(const void *address)
{
	for (unsigned i = 0; i < HOST_TEMP_SLOTS; i++) {
		const uint64_t offset = (uintptr_t)address - (uintptr_t)addresses[i];

		if (mapped[i] && offset < PAGE_SIZE) {
			return hpa(frames[i].v + offset);
		}
	}
	return hpa(0);
}

bool fake_temp_is_mapped(unsigned slot)
{
	return mapped[slot];
}

unsigned fake_temp_mapped(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < HOST_TEMP_SLOTS; i++) {
		count += mapped[i];
	}
	return count;
}

keyid_t fake_temp_keyid(void)
{
	return last_keyid;
}

/* The one mapping that the test says the hypervisor has. */
struct keyed_frame fake_host_leaf;

void host_paging_visit(void (*fn)(void *context, struct keyed_frame page, uint64_t bytes),
		       void *context)
{
	if (fake_host_leaf.frame.v != 0) {
		fn(context, fake_host_leaf, PAGE_SIZE);
	}
}

uint64_t fake_temp_maps(void)
{
	return map_count;
}

void fake_host_paging_reset(void)
{
	for (unsigned i = 0; i < HOST_TEMP_SLOTS; i++) {
		if (mapped[i]) {
			host_temp_unmap(i);
		}
	}
	fake_temp_unguarded = false;
	map_count = 0;
}
