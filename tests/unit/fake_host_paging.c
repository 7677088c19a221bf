/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots for one frame each; the pages around them and unmapped slots are inaccessible.
 *
 * Each slot has a view of all frames, which AddressSanitizer poisons except for the page that the
 * slot maps. Views are made in parts, when a frame of the part is mapped for the first time: two
 * system calls for each page would take most of the tests' time.
 */
#define _GNU_SOURCE
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include "tests/unit/fake_base.h"
#include "tests/unit/fake_frames.h"
#include "vmm/host/host_paging.h"

#define VIEW_BYTES (FAKE_FRAME_COUNT * PAGE_SIZE)
#define VIEW_PARTS (VIEW_BYTES / FAKE_FRAME_PART)

static struct {
	uint8_t *view;		/* NULL: not made yet */
	bool parts[VIEW_PARTS]; /* that exist */
	uint8_t *address;	/* of the mapping, also after its end */
	hpa_t frame;
	bool mapped;
} slots[HOST_TEMP_SLOTS];
static uint64_t map_count;
static keyid_t last_keyid;

static void check_slot(unsigned slot)
{
	if (slot >= HOST_TEMP_SLOTS) {
		fake_fail("slot %u does not exist", slot);
	}
}

/* The inaccessible page of the slot's view for this offset in the file. */
static uint8_t *view_page(unsigned slot, int fd, uint64_t offset)
{
	const uint64_t part = offset / FAKE_FRAME_PART;
	uint8_t *address;

	if (slots[slot].view == NULL) {
		address = mmap(NULL, VIEW_BYTES + 2 * PAGE_SIZE, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (address == MAP_FAILED) {
			fake_fail("no room for the view of a slot");
		}
		slots[slot].view = address + PAGE_SIZE;
	}
	if (!slots[slot].parts[part]) {
		address = slots[slot].view + part * FAKE_FRAME_PART;
		if (mmap(address, FAKE_FRAME_PART, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd,
			 (off_t)(part * FAKE_FRAME_PART)) != address) {
			fake_fail("slot %u could not be mapped", slot);
		}
		ASAN_POISON_MEMORY_REGION(address, FAKE_FRAME_PART);
		slots[slot].parts[part] = true;
	}
	return slots[slot].view + offset;
}

void *host_temp_map(unsigned slot, struct keyed_frame page)
{
	uint8_t *address;
	uint64_t offset;
	int fd = fake_frames_fd(page.frame, &offset);

	check_slot(slot);
	if (slots[slot].mapped) {
		fake_fail("slot %u is mapped already", slot);
	}
	if (!IS_ALIGNED(page.frame.v, PAGE_SIZE)) {
		fake_fail("host_temp_map of %#lx, which is not a page", page.frame.v);
	}
	address = view_page(slot, fd, offset);
	ASAN_UNPOISON_MEMORY_REGION(address, PAGE_SIZE);
	fake_cache_fill(slot, address, page);
	slots[slot].mapped = true;
	slots[slot].address = address;
	slots[slot].frame = page.frame;
	last_keyid = page.keyid;
	map_count++;
	return address;
}

void host_temp_unmap(unsigned slot)
{
	check_slot(slot);
	if (!slots[slot].mapped) {
		fake_fail("slot %u is not mapped", slot);
	}
	ASAN_POISON_MEMORY_REGION(slots[slot].address, PAGE_SIZE);
	slots[slot].mapped = false;
}

hpa_t fake_temp_frame(const void *address)
{
	for (unsigned i = 0; i < HOST_TEMP_SLOTS; i++) {
		const uint64_t offset = (uintptr_t)address - (uintptr_t)slots[i].address;

		if (slots[i].mapped && offset < PAGE_SIZE) {
			return hpa(slots[i].frame.v + offset);
		}
	}
	return hpa(0);
}

bool fake_temp_is_mapped(unsigned slot)
{
	return slots[slot].mapped;
}

unsigned fake_temp_mapped(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < HOST_TEMP_SLOTS; i++) {
		count += slots[i].mapped;
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
		if (slots[i].mapped) {
			host_temp_unmap(i);
		}
	}
	map_count = 0;
}
