/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ept/window.c: how many frames a search for a victim looks at. Each look reads whether the frame
 * is busy, which the test counts.
 */
#include "tests/unit/test.h"
#include "vmm/base/lock.h" /* its own reads are not counted */
#include "vmm/base/types.h"

static void count_look(const void *at);

#define __atomic_load_n(at, order) (count_look((const void *)(at)), __atomic_load_n(at, order))
#include "ept/window.c"
#undef __atomic_load_n

#include "tests/unit/pager_guests.h"

static unsigned looks;

static void count_look(const void *at)
{
	const uintptr_t from = (uintptr_t)window_frames, byte = (uintptr_t)at;

	looks += byte >= from && byte < from + window.count * sizeof(window_frames[0]);
}

static unsigned looks_for(struct guest *guest, uint32_t *victim)
{
	looks = 0;
	lock_take(&window_lock, LOCK_WINDOW);
	*victim = find_victim(guest->vm, true);
	lock_drop(&window_lock);
	return looks;
}

static void evict(uint32_t index)
{
	lock_take(&window_lock, LOCK_WINDOW);
	pager_evict(index);
	lock_drop(&window_lock);
}

/* A VM of four vCPUs, all of whose frames are its floor, and a small one beside it. */
static void make_full_window(uint32_t more)
{
	make_window(4 * PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES + FLOOR + more);
	make_guest(&guests[0], 4);
	make_guest(&guests[1], 1);
	for (uint32_t i = 0; i < 4 * PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES; i++) {
		guest_write(&guests[0], i, 1);
	}
	for (uint32_t i = 0; i < FLOOR + more; i++) {
		guest_write(&guests[1], i, 1);
	}
}

/* At its floor, with all frames but one held by an instruction: it looks at that one. */
TEST(a_search_passes_neither_held_nor_others_frames, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[1];
	uint64_t value = 1;
	uint32_t victim;

	make_full_window(0);
	guest->rip = 0x7000;
	for (uint32_t i = 0; i < PAGER_VCPU_FRAMES; i++) {
		(void)guest_access(guest, 0, address_of(FLOOR + i), true, &value, 1);
	}
	assert_int_equal(guest->vm->frames, FLOOR);
	assert_int_equal(guest->vm->ring_frames, 1);
	for (unsigned n = 0; n < 3; n++) {
		assert_in_range(looks_for(guest, &victim), 1, 2);
		assert_int_equal(window_frame(victim)->holds, 0);
		assert_ptr_equal(window_frame(victim)->region->vm, guest->vm);
	}
	/* When the instruction is complete its frames are in the ring again. */
	window_let_vm_go(guest->vm);
	assert_int_equal(guest->vm->ring_frames, FLOOR);
}

/* A VM at its floor takes from the one that is above: not a frame of its own is looked at. */
TEST(who_is_above_its_floor_loses_first, pager_setup, pager_teardown)
{
	uint32_t victim;

	make_full_window(20);
	for (uint32_t i = 0; i < 20; i++) {
		/* Every frame was used, so the first search gives some another chance. */
		assert_in_range(looks_for(&guests[0], &victim), 1, CHANCES + 1);
		assert_ptr_equal(window_frame(victim)->region->vm, guests[1].vm);
		evict(victim);
	}
	assert_int_equal(guests[1].vm->frames, FLOOR);
	assert_int_equal(window.above, 0);
	(void)looks_for(&guests[0], &victim);
	assert_ptr_equal(window_frame(victim)->region->vm, guests[0].vm);
}

/* Two VMs above their floors: while frames are taken, both lose, the larger one more. */
TEST(the_larger_vm_loses_more, pager_setup, pager_teardown)
{
	const struct pager_vm *large, *small;
	uint64_t before[2];
	uint32_t victim;

	make_window(2 * FLOOR + 235 + 35);
	make_guest(&guests[0], 1);
	make_guest(&guests[1], 1);
	for (uint32_t i = 0; i < VM_PAGES; i++) {
		guest_write(&guests[0], i, 1);
	}
	for (uint32_t i = 0; i < FLOOR + 35; i++) {
		guest_write(&guests[1], i, 1);
	}
	large = guests[0].vm;
	small = guests[1].vm;
	before[0] = large->frames;
	before[1] = small->frames;
	assert_int_equal(before[0], VM_PAGES);
	assert_int_equal(before[1], FLOOR + 35);
	for (uint32_t i = 0; i < window.count; i++) {
		(void)was_used(window_frame(i)); /* so that each search takes the next frame */
	}
	for (uint32_t i = 0; i < 40; i++) {
		(void)looks_for(&guests[0], &victim);
		evict(victim);
	}
	before[0] -= large->frames;
	before[1] -= small->frames;
	assert_in_range(before[1], 5, 15);
	assert_int_equal(before[0] + before[1], 40);
}
