/* SPDX-License-Identifier: Apache-2.0 */
/* ept/window.c: floors, pins, what a vCPU's instruction holds, and forward progress. */
#include "tests/unit/test.h"
#include "tests/unit/pager_guests.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"

/* --- Floors and forward progress --- */

TEST(test_floor_in_words, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	struct pager_vm *none = NULL;

	make_window(FLOOR + 2 * PAGER_VCPU_FRAMES);
	make_guest(guest, 1);
	assert_int_equal(pager_vm_create("greedy", 2, NULL, false, &none), ERR_RANGE);
	assert_null(none);
	assert_non_null(strstr(fake_log_text(), "window: 193 pages in clear, 193 of them at 0x"));
	assert_non_null(strstr(fake_log_text(), "vm greedy: 2 vCPUs need 516K of the window, and "
						"other VMs leave 512K of 772K"));
	assert_int_equal(pager_vm_create("modest", 1, NULL, false, &none), 0);
	pager_vm_destroy(none);
	end_guest(guest); /* gives its floor back */
	assert_int_equal(pager_vm_create("greedy", 2, NULL, false, &none), 0);
	pager_vm_destroy(none);
}

TEST(test_floor_holds, pager_setup, pager_teardown)
{
	make_window(2 * FLOOR + 10);
	make_guest(&guests[0], 1);
	make_guest(&guests[1], 1);
	for (uint32_t i = 0; i < VM_PAGES; i++) {
		guest_write(&guests[0], i, i + 1);
	}
	assert_int_equal(count(&guests[0]).clear_pages, 2 * FLOOR + 10); /* all free frames */
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < VM_PAGES; i++) {
			guest_write(&guests[1], i, i + 1);
			assert_true(count(&guests[0]).clear_pages >= FLOOR);
		}
	}
	assert_int_equal(count(&guests[0]).clear_pages, FLOOR);
	for (uint32_t i = 0; i < VM_PAGES; i++) {
		assert_int_equal(guest_read(&guests[0], i), i + 1);
		assert_true(count(&guests[1]).clear_pages >= FLOOR);
	}
}

static struct window_frame *frame_of(const struct guest *guest, uint32_t page)
{
	return window_frame(*store_opened(guest->gmem.regions[0].state, page) - 1);
}

static bool is_zero(const struct window_frame *frame)
{
	static const uint8_t zeros[PAGE_SIZE];

	return frame->zero && memcmp(fake_frame(frame->frame), zeros, PAGE_SIZE) == 0;
}

static struct window_frame *evict(const struct guest *guest, uint32_t page)
{
	struct window_frame *frame = frame_of(guest, page);

	lock_take(&window_lock, LOCK_WINDOW);
	window_let_vm_go(guest->vm);
	pager_evict(window_index(frame));
	lock_drop(&window_lock);
	return frame;
}

/* Free frames are zero, from the start on. So a first touch zeroes only a frame that had a page. */
TEST(test_zero_frames, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	struct window_frame *frame;
	uint8_t *bytes;

	make_window(FLOOR + 1);
	make_guest(guest, 1);
	for (uint32_t i = 0; i <= FLOOR; i++) {
		assert_true(is_zero(window_frame(i)));
	}
	guest_write(guest, 0, 7);
	assert_false(frame_of(guest, 0)->zero);
	frame = evict(guest, 0);
	assert_true(is_zero(frame));
	bytes = fake_frame(frame->frame);
	bytes[8] = 0x5a; /* to see that nobody writes zeros again ... */
	assert_int_equal(guest_read(guest, 1), 0x5a);
	assert_true(is_zero(evict(guest, 1)));
	frame->zero = false; /* ... unless that is needed */
	bytes[8] = 0x5a;
	assert_int_equal(guest_read(guest, 1), 0);
	for (uint32_t i = 0; i < SPLIT; i++) { /* pages take each other's frames */
		guest_write(guest, i, i + 1);
		assert_int_equal(guest_read(guest, SPLIT - 1), i == SPLIT - 1 ? SPLIT : 0);
	}
	end_guest(guest);
	for (uint32_t i = 0; i <= FLOOR; i++) {
		assert_true(is_zero(window_frame(i)));
	}
}

/*
 * When all pages are in use, a search gives up after some time, because other CPUs wait for the
 * lock.
 */
TEST(test_second_chances, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	uint32_t taken = 0, used = 0;

	make_window(VM_PAGES - 1);
	make_guest(guest, 1);
	for (uint32_t i = 0; i < VM_PAGES; i++) {
		guest_write(guest, i, 1);
	}
	for (uint32_t i = 0; i < VM_PAGES; i++) {
		uint64_t entry = *raw_entry(&guest->gmem.root, address_of(i));

		taken += entry == 0;
		used += (entry & 0x100) != 0;
	}
	assert_int_equal(taken, 1);
	assert_in_range(used, VM_PAGES - 1 - 33, VM_PAGES - 1 - 16);
	/* An idle page is found at once. */
	guest_write(guest, 250, 1);
	assert_true(is_mapped(guest, VM_PAGES - 1));
}

/* A look at uses between two passes of CLOCK reports each use once, and CLOCK still knows of it. */
TEST(a_use_is_seen_once_and_left_to_clock, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	struct window_frame *frame;

	make_window(FLOOR);
	make_guest(guest, 1);
	guest_write(guest, 3, 1);
	frame = window_frame(*store_opened(guest->gmem.regions[0].state, 3) - 1);
	for (unsigned use = 0; use < 3; use++) {
		assert_true(window_seen(frame));
		assert_false(window_seen(frame));
		assert_true(frame->referenced);
		if (use == 0) {
			(void)guest_read(guest, 3); /* sets the entry's accessed bit */
		} else {
			assert_int_equal(gmem_fill(&guest->gmem, gpa(address_of(3)), 1, 8), 0);
		}
	}
}

/* In clear, and in no EPT. */
static bool is_aside(const struct guest *guest, uint32_t page)
{
	struct sealed_region *region = guest->gmem.regions[page < SPLIT ? 0 : 1].state;

	return *store_opened(region, page < SPLIT ? page : page - SPLIT) != 0 &&
	       !is_mapped(guest, page);
}

/* The next victims share a shoot-down; a page that is used again needs no cipher. */
TEST(test_shared_shootdown, pager_setup, pager_teardown, (void *)&with_ad)
{
	struct guest *guest = &guests[0];
	struct pager_counters now;
	uint64_t decryptions;
	uint32_t aside = 0;

	pager_caps.accessed_dirty = *(const bool *)*state;
	ept_configure(&pager_caps);
	make_window(FLOOR + 40);
	make_guest(guest, 1);
	for (uint32_t round = 1; round <= 3; round++) {
		for (uint32_t i = 0; i < VM_PAGES; i++) {
			guest_write(guest, i, round * 1000 + i);
		}
	}
	now = count(guest);
	assert_in_range(now.shoot_downs, (now.sealings + now.drops) / 16,
			(now.sealings + now.drops) / 8);
	decryptions = crypto.decryptions;
	for (uint32_t i = 0; i < VM_PAGES; i++) {
		if (is_aside(guest, i)) {
			assert_int_equal(guest_read(guest, i), 3000 + i);
			assert_true(is_mapped(guest, i));
			aside++;
		}
	}
	assert_in_range(aside, 1, 15);
	assert_int_equal(crypto.decryptions, decryptions);
	assert_int_equal(count(guest).mapped_faults, now.mapped_faults + aside);
	for (uint32_t i = 0; i < VM_PAGES; i++) { /* earlier writes are not forgotten */
		assert_int_equal(guest_read(guest, i), 3000 + i);
	}
}
TEST_AGAIN(test_shared_shootdown, pager_setup, pager_teardown, (void *)&without_ad);

/*
 * A held page stays whatever the door and other VMs do; after a fault at another place it may go.
 */
TEST(test_hold, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	uint64_t value = 1;
	uint8_t byte;

	make_window(2 * FLOOR);
	make_guest(guest, 1);
	make_guest(&guests[1], 1);
	guest->rip = 0x1000;
	for (uint32_t i = 0; i < PAGER_VCPU_FRAMES - 1; i++) {
		(void)guest_access(guest, 0, address_of(i), true, &value, 1);
	}
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < VM_PAGES; i++) {
			(void)gmem_read(&guest->gmem, gpa(address_of(i)), &byte, 1);
			guest_write(&guests[1], i, 1);
		}
	}
	for (uint32_t i = 0; i < PAGER_VCPU_FRAMES - 1; i++) {
		assert_true(is_mapped(guest, i));
	}
	press_out(guest, 0);
	/* A pinned page stays too. */
	const struct region_ops *ops = guest->gmem.regions[0].ops;
	struct keyed_frame page;
	lock_take(&guest->gmem.lock, LOCK_GMEM);
	assert_int_equal(ops->pin(&guest->gmem, guest->gmem.regions, gpa(0), false, &page), 0);
	lock_drop(&guest->gmem.lock);
	press_out(guest, 1);
	assert_int_equal(*(uint8_t *)fake_frame(page.frame), 1);
	ops->unpin(&guest->gmem, guest->gmem.regions, gpa(0), false);
}

/* A string instruction faults at one place for many pages: it holds the latest of them. */
TEST(one_place_holds_no_more_than_its_floor, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	uint64_t value = 1;

	make_window(2 * FLOOR);
	make_guest(guest, 1);
	guest->rip = 0x1000;
	for (uint32_t i = 0; i < 200; i++) {
		(void)guest_access(guest, 0, address_of(i), true, &value, 1);
		assert_int_equal(guest->vm->holds[0].count, MIN(i + 1, PAGER_VCPU_FRAMES));
		assert_int_equal(guest->vm->ring_frames,
				 guest->vm->frames - guest->vm->holds[0].count);
	}
	guest_write(guest, 250, 1);
	assert_int_equal(guest->vm->ring_frames, guest->vm->frames - 1);
}

/* A page that two vCPUs hold stays until both have gone on. */
TEST(a_page_that_two_vcpus_hold_stays, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	uint8_t byte;

	make_window(2 * PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES);
	make_guest(guest, 2);
	for (uint32_t vcpu = 0; vcpu < 2; vcpu++) {
		const struct gmem_faulter by = { .vcpu = vcpu, .place = 0x1000 };

		assert_int_equal(
			gmem_fault(&guest->gmem, gpa(address_of(0)), GMEM_ACCESS_READ, &by),
			GMEM_FAULT_FIXED);
	}
	guest->rip = 0x2000;
	guest_write(guest, 1, 1); /* vCPU 0 has gone on */
	for (uint32_t i = 0; i < 2 * VM_PAGES; i++) {
		(void)gmem_read(&guest->gmem, gpa(address_of(1 + i % (VM_PAGES - 1))), &byte, 1);
	}
	assert_true(is_mapped(guest, 0));
}

/* A VM below its floor gets a frame of the other VM, and gives none of its own while it waits. */
TEST(who_is_below_its_floor_keeps_its_frames, pager_setup, pager_teardown)
{
	struct pager_vm *vm;
	uint32_t found;

	make_window(2 * FLOOR);
	make_guest(&guests[0], 1);
	make_guest(&guests[1], 1);
	vm = guests[1].vm;
	for (uint32_t i = 0; i < 10; i++) {
		guest_write(&guests[1], i, 1);
	}
	for (uint32_t i = 0; i < 2 * FLOOR; i++) {
		guest_write(&guests[0], i, 1);
	}
	lock_take(&window_lock, LOCK_WINDOW);
	for (uint32_t i = 0; i < 2 * FLOOR; i++) {
		if (window_frame(i)->region->vm != vm) {
			window_pin(window_frame(i));
		}
	}
	assert_int_equal(window_find(vm), WINDOW_NONE);
	assert_int_equal(window_spare(vm), WINDOW_NONE);
	for (uint32_t i = 0; i < 2 * FLOOR; i++) {
		if (window_frame(i)->region->vm != vm) {
			window_unpin(window_frame(i));
		}
	}
	found = window_find(vm);
	assert_ptr_equal(window_frame(found)->region->vm, guests[0].vm);
	lock_drop(&window_lock);
}

/* All frames but one are held, and the door uses that one: a search gives none until it is free. */
TEST(a_pinned_frame_is_waited_for, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	struct gmem_region *region = guest->gmem.regions;
	struct keyed_frame page;
	uint64_t value = 1;
	uint32_t found;

	make_window(FLOOR);
	make_guest(guest, 1);
	lock_take(&guest->gmem.lock, LOCK_GMEM);
	assert_int_equal(region->ops->pin(&guest->gmem, region, gpa(0), false, &page), 0);
	lock_drop(&guest->gmem.lock);
	guest->rip = 0x1000;
	for (uint32_t i = 1; i <= PAGER_VCPU_FRAMES; i++) {
		(void)guest_access(guest, 0, address_of(i), true, &value, 1);
	}
	lock_take(&window_lock, LOCK_WINDOW);
	assert_int_equal(window_find(guest->vm), WINDOW_NONE);
	lock_drop(&window_lock);
	region->ops->unpin(&guest->gmem, region, gpa(0), false);
	lock_take(&window_lock, LOCK_WINDOW);
	found = window_find(guest->vm);
	lock_drop(&window_lock);
	assert_int_not_equal(found, WINDOW_NONE);
	assert_int_equal(window_frame(found)->page, 0);
	assert_int_equal(window_pins, 0);
}

/*
 * One instruction of each of two vCPUs in each of two VMs needs 64 pages at once, all sealed, with
 * exactly the floor: each completes within as many faults as it needs pages.
 */
TEST(test_forward_progress, pager_setup, pager_teardown)
{
	unsigned faults[VMS][2] = { 0 };
	bool done[VMS][2] = { 0 };
	uint8_t byte;

	make_window(2 * (2 * PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES));
	for (size_t v = 0; v < VMS; v++) {
		make_guest(&guests[v], 2);
		for (uint32_t i = 0; i < VM_PAGES; i++) {
			guest_write(&guests[v], i, i + 1);
		}
		guests[v].rip = 0x77000;
	}
	for (unsigned step = 0; step < 4 * 2 * PAGER_VCPU_FRAMES; step++) {
		struct guest *guest = &guests[step % VMS];
		uint32_t vcpu = step / VMS % 2, i = 0;
		struct gmem_faulter by = { .vcpu = vcpu, .place = guest->rip };

		while (i < PAGER_VCPU_FRAMES && is_mapped(guest, vcpu * 100 + i)) {
			i++;
		}
		if (i == PAGER_VCPU_FRAMES) {
			done[step % VMS][vcpu] = true;
		} else if (!done[step % VMS][vcpu]) {
			faults[step % VMS][vcpu]++;
			assert_int_equal(gmem_fault(&guest->gmem, gpa(address_of(vcpu * 100 + i)),
						    GMEM_ACCESS_READ, &by),
					 GMEM_FAULT_FIXED);
		}
		(void)gmem_read(&guest->gmem, gpa(address_of(200 + step % 100)), &byte, 1);
	}
	for (size_t v = 0; v < VMS; v++) {
		for (size_t vcpu = 0; vcpu < 2; vcpu++) {
			assert_true(done[v][vcpu] && faults[v][vcpu] <= PAGER_VCPU_FRAMES);
		}
	}
}

/* The last test: nothing is encrypted after it. */
TEST(test_wipe_before_all, pager_setup, pager_teardown)
{
	pager_wipe();
	assert_int_equal(crypto.wipes, 1);
}
