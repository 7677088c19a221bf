/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that the pager opens before a guest asks, and pages that it seals before it must. */
#include "tests/unit/test.h"
#include "tests/unit/pager_guests.h"
#include "vmm/base/tsc.h"

/* Reads pages from `first` on, each by one instruction. Returns how many faults. */
static unsigned read_in_sequence(struct guest *guest, uint32_t first, uint32_t pages)
{
	unsigned faults = 0;
	uint64_t value;

	for (uint32_t i = first; i < first + pages; i++) {
		guest->rip++;
		faults += guest_access(guest, 0, address_of(i) + 8, false, &value, 8);
		assert_int_equal(value, i + 1);
	}
	return faults;
}

/*
 * A guest that reads sealed pages in sequence faults for the first two, then for one in two, one in
 * four and one in eight. So little is opened for nothing where a sequence is short.
 */
TEST(reading_in_sequence_opens_ahead, pager_setup, pager_teardown, (void *)&with_ad)
{
	struct guest *guest = &guests[0], *other = &guests[1];
	struct pager_counters now;

	pager_caps.accessed_dirty = *(const bool *)*state;
	ept_configure(&pager_caps);
	make_window(2 * FLOOR);
	make_guest(guest, 1);
	make_guest(other, 1);
	for (uint32_t i = 0; i < FLOOR; i++) {
		guest_write(other, i, i + 1);
	}
	for (uint32_t i = 0; i < SPLIT; i++) {
		guest_write(guest, i, i + 1);
	}
	press_out(guest, 0);
	now = count(guest);
	assert_int_equal(now.opened_ahead, 0); /* nor by the door, nor for absent pages */
	assert_int_equal(read_in_sequence(guest, 0, 2), 2);
	assert_int_equal(count(guest).opened_ahead, 1);
	assert_int_equal(read_in_sequence(guest, 2, 2), 1);
	assert_int_equal(count(guest).opened_ahead, 1 + 3);
	assert_in_range(read_in_sequence(guest, 4, 36), 5, 6);
	assert_in_range(count(guest).opened_ahead, 32, 39);
	assert_int_equal(count(guest).opens, crypto.decryptions - count(other).opens);
	/* One that was opened for nothing is dropped; one that was written is sealed. */
	guest_write(guest, 40, 1234);
	press_out(guest, 40);
	assert_int_equal(guest_read(guest, 40), 1234);
	/* Another VM keeps its floor. */
	assert_int_equal(count(other).clear_pages, FLOOR);
	assert_int_equal(count(other).opens, 0);
}
TEST_AGAIN(reading_in_sequence_opens_ahead, pager_setup, pager_teardown, (void *)&without_ad);

/* A copy reads in one place and writes in another. Pages in no order are not opened ahead. */
TEST(each_stream_is_opened_ahead, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	unsigned faults = 0;

	make_window(FLOOR);
	make_guest(guest, 1);
	for (uint32_t i = 0; i < SPLIT; i++) {
		guest_write(guest, i, i + 1);
	}
	press_out(guest, 0);
	for (uint32_t i = 0; i < 16; i++) {
		faults += read_in_sequence(guest, i, 1);
		faults += read_in_sequence(guest, 60 + i, 1);
	}
	assert_in_range(faults, 8, 10);
	faults = (unsigned)count(guest).opened_ahead;
	press_out(guest, 0);
	for (uint32_t i = 0; i < 40; i++) {
		(void)read_in_sequence(guest, i * 37 % SPLIT, 1);
	}
	assert_int_equal(count(guest).opened_ahead, faults);
}

/* The last page of a region ends it; an absent page ends it too. */
TEST(opening_ahead_ends_where_nothing_is_sealed, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	make_window(FLOOR);
	make_guest(guest, 1);
	for (uint32_t i = 100; i < SPLIT + 20; i++) {
		if (i != 112) {
			guest_write(guest, i, i + 1);
		}
	}
	press_out(guest, 100);
	(void)read_in_sequence(guest, 110, 2);
	assert_int_equal(count(guest).opened_ahead, 0);
	assert_false(is_mapped(guest, 113));
	(void)read_in_sequence(guest, SPLIT - 3, 2);
	assert_int_equal(count(guest).opened_ahead, 1);
	assert_true(is_mapped(guest, SPLIT - 1));
	assert_false(is_mapped(guest, SPLIT));
}

/* The sweep's time goes on from test to test, as a TSC does. */
static uint64_t now_tsc;

/* So many seconds pass, and between them are turns enough for the whole window. */
static void seconds_pass(unsigned seconds)
{
	for (unsigned s = 0; s < seconds; s++) {
		now_tsc += tsc_hz();
		fake_tsc = now_tsc;
		for (unsigned turn = 0; turn < 20; turn++) {
			pager_drain();
		}
	}
}

/* Ten seconds without a page in clear, ten with 100, twenty with one. */
TEST(pages_in_clear_are_averaged_over_time, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	make_window(2 * FLOOR);
	make_guest(guest, 1);
	assert_int_equal(count(guest).clear_mean, 0);
	seconds_pass(10);
	assert_int_equal(count(guest).clear_mean, 0);
	for (uint32_t i = 0; i < 100; i++) {
		guest_write(guest, i, i + 1);
	}
	seconds_pass(10);
	assert_int_equal(count(guest).clear_mean, 50);
	pager_vm_seal(guest->vm);
	assert_int_equal(guest_read(guest, 3), 4);
	assert_int_equal(count(guest).clear_mean, 50);
	seconds_pass(20);
	assert_int_equal(count(guest).clear_mean, (10 * 100 + 20) / 40);
}

/* A page that another VM's page replaces is in clear no more; the other one is from then on. */
TEST(pages_in_clear_of_two_vms_are_counted_apart, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0], *other = &guests[1];

	fake_tsc = now_tsc;
	make_window(2 * FLOOR);
	make_guest(guest, 1);
	make_guest(other, 1);
	for (uint32_t i = 0; i < 2 * FLOOR; i++) {
		guest_write(guest, i, i + 1);
	}
	seconds_pass(10);
	for (uint32_t i = 0; i < FLOOR; i++) {
		guest_write(other, i, i + 1);
	}
	seconds_pass(10);
	assert_int_equal(count(guest).clear_pages, FLOOR);
	assert_int_equal(count(other).clear_pages, FLOOR);
	assert_int_equal(count(guest).clear_peak, 2 * FLOOR);
	assert_int_equal(count(other).clear_peak, FLOOR);
	assert_in_range(count(guest).clear_mean, 3 * FLOOR / 2 - 1, 3 * FLOOR / 2 + 1);
	assert_in_range(count(other).clear_mean, FLOOR / 2 - 1, FLOOR / 2 + 1);
}

/* What a VM has not used for its drain is sealed; what it uses, and other VMs' pages, stay. */
TEST(unused_pages_are_drained, pager_setup, pager_teardown, (void *)&with_ad)
{
	struct guest *idle = &guests[0], *other = &guests[1];
	uint64_t shoot_downs;

	pager_caps.accessed_dirty = *(const bool *)*state;
	ept_configure(&pager_caps);
	make_window(400);
	make_guest(idle, 1);
	make_guest(other, 1);
	pager_set_drain(idle->vm, 10);
	for (uint32_t i = 0; i < 100; i++) {
		guest_write(idle, i, i + 1);
		guest_write(other, i, i + 1);
	}
	seconds_pass(9);
	assert_int_equal(count(idle).clear_pages, 100);
	assert_int_equal(guest_read(idle, 7), 8);
	(void)gmem_fill(&idle->gmem, gpa(address_of(9)), 0, 8); /* a use by a device */
	seconds_pass(3);
	/* Without accessed bits a guest's use of a mapped page is not seen. */
	assert_int_equal(count(idle).clear_pages, pager_caps.accessed_dirty ? 2 : 1);
	assert_int_equal(count(other).clear_pages, 100);
	seconds_pass(9);
	assert_int_equal(count(idle).clear_pages, 0);
	assert_int_equal(count(idle).drained, 100);
	assert_int_equal(count(other).drained, 0);
	assert_int_equal(frames_with(50), 1);  /* the other's */
	shoot_downs = count(idle).shoot_downs; /* sixteen pages share one */
	assert_in_range(shoot_downs, 100 / 16, 12);
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(guest_read(idle, i), i + 1);
	}
}
TEST_AGAIN(unused_pages_are_drained, pager_setup, pager_teardown, (void *)&without_ad);

/* The guest has written ten pages, which will soon be sealed together. */
static void leave_ten_pages_idle(struct guest *guest)
{
	make_window(FLOOR + 20); /* so that one look of the sweep finds all ten */
	make_guest(guest, 1);
	pager_set_drain(guest->vm, 10);
	for (uint32_t i = 0; i < 10; i++) {
		guest_write(guest, i, i + 1);
	}
	seconds_pass(10);
}

/* While the first of the pages that share a shoot-down is sealed, the guest uses another one. */
static void use_another(struct guest *guest, uint32_t page)
{
	crypto_hook = NULL;
	guest_write(guest, page == 5 ? 6 : 5, 1000);
}

TEST(a_drain_leaves_what_is_used_after_the_shoot_down, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	leave_ten_pages_idle(guest);
	crypto_hook = use_another;
	seconds_pass(3);
	assert_null(crypto_hook);
	assert_int_equal(count(guest).clear_pages, 1);
	assert_int_equal(count(guest).drained, 9);
	assert_int_equal(count(guest).shoot_downs, 1);
	seconds_pass(9);
	assert_int_equal(count(guest).clear_pages, 0);
	assert_int_equal(guest_read(guest, 5) + guest_read(guest, 6), 1000 + 6 + 7 - 6);
}

/* While the first page is sealed, another CPU exchanges another one: it may be opened ahead. */
static void get_new_content(struct guest *guest, uint32_t page)
{
	const uint32_t opened = *store_opened(guest->gmem.regions[0].state, page == 5 ? 6 : 5);

	crypto_hook = NULL;
	window_frame(opened - 1)->idle_s = WINDOW_STALE;
}

TEST(a_drain_leaves_what_has_just_been_opened, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	leave_ten_pages_idle(guest);
	crypto_hook = get_new_content;
	seconds_pass(3);
	assert_null(crypto_hook);
	assert_int_equal(count(guest).drained, 9);
	assert_int_equal(count(guest).clear_pages, 1);
	seconds_pass(9);
	assert_int_equal(count(guest).clear_pages, 0);
}

/* Two VMs' pages never share a shoot-down. Until it has returned, no other CPU takes the pages. */
static struct guest *shot_down;
static uint32_t shot_down_while_busy;

static void look_at_shoot_down(uint32_t cpu)
{
	struct ept_root *root = &shot_down->gmem.root;
	const struct sealed_region *region = shot_down->gmem.regions[0].state;

	assert_true(lock_try(&window_lock, LOCK_WINDOW));
	lock_drop(&window_lock);
	assert_int_equal(window_busy, 1);
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(window_is_busy(window_frame(region->pages[i].opened - 1)));
	}
	root->seen[cpu].only = root->generation.only;
	shot_down_while_busy++;
}

TEST(a_drain_shoots_down_one_vm_at_a_time, pager_setup, pager_teardown)
{
	make_window(2 * FLOOR);
	for (uint32_t g = 0; g < 2; g++) {
		make_guest(&guests[g], 1);
		pager_set_drain(guests[g].vm, 2);
		for (uint32_t i = 0; i < 3; i++) {
			guest_write(&guests[g], i, i + 1);
		}
	}
	shot_down = &guests[1]; /* CPU 1 runs it */
	fake_set_cpu_count(2);
	percpu_get(1)->guest_root.only = &shot_down->gmem.root;
	shot_down->gmem.root.cpus[0].only |= BIT(1);
	fake_kick_hook = look_at_shoot_down;
	seconds_pass(5);
	percpu_get(1)->guest_root.only = NULL;
	assert_int_equal(shot_down_while_busy, 1);
	for (uint32_t g = 0; g < 2; g++) {
		assert_int_equal(count(&guests[g]).drained, 3);
		assert_int_equal(count(&guests[g]).shoot_downs, 1);
	}
	assert_int_equal(window_busy, 0);
}

/* After a pause of minutes between two turns, as of a machine that slept, time is not lost. */
TEST(a_late_sweep_counts_all_seconds, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	make_window(FLOOR);
	make_guest(guest, 1);
	pager_set_drain(guest->vm, 60);
	guest_write(guest, 3, 4);
	seconds_pass(1);
	assert_int_equal(count(guest).clear_pages, 1);
	now_tsc += 58 * tsc_hz();
	seconds_pass(1);
	assert_int_equal(count(guest).clear_pages, 1);
	seconds_pass(1);
	assert_int_equal(count(guest).clear_pages, 0);
	pager_log(guest->vm);
	assert_non_null(strstr(fake_log_text(), "not used for 60 s: 1 sealed or dropped"));
}

/* What a sleeping vCPU holds is drained, and no longer held. What the door has pinned stays. */
TEST(a_drain_takes_what_is_held_but_not_what_is_pinned, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	struct gmem_region *region;
	struct keyed_frame frame;

	make_window(FLOOR);
	make_guest(guest, 1);
	pager_set_drain(guest->vm, 2);
	guest_write(guest, 3, 4);
	guest_write(guest, 5, 6);
	assert_int_equal(guest->vm->holds[0].count, 1);
	region = &guest->gmem.regions[0];
	assert_int_equal(region->ops->pin(&guest->gmem, region, gpa(address_of(3)), true, &frame),
			 0);
	seconds_pass(5);
	assert_int_equal(count(guest).clear_pages, 1);
	assert_int_equal(guest->vm->holds[0].count, 0);
	region->ops->unpin(&guest->gmem, region, gpa(address_of(3)), false);
	seconds_pass(5);
	assert_int_equal(count(guest).clear_pages, 0);
	assert_int_equal(guest_read(guest, 3), 4);
	assert_int_equal(guest_read(guest, 5), 6);
}

/* What shares another page's shoot-down stays until then: its guest may still write to it. */
TEST(a_drain_leaves_what_is_busy, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	struct window_frame *frame;

	make_window(FLOOR);
	make_guest(guest, 1);
	pager_set_drain(guest->vm, 2);
	guest_write(guest, 3, 4);
	seconds_pass(1);
	frame = window_frame(*store_opened(guest->gmem.regions[0].state, 3) - 1);
	window_mark_busy(frame, true);
	seconds_pass(5);
	assert_int_equal(count(guest).clear_pages, 1);
	window_mark_busy(frame, false);
	seconds_pass(5);
	assert_int_equal(count(guest).clear_pages, 0);
}

/* A page that is open already does not end what is opened ahead. */
TEST(opening_ahead_passes_open_pages, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	make_window(FLOOR);
	make_guest(guest, 1);
	for (uint32_t i = 0; i < SPLIT; i++) {
		guest_write(guest, i, i + 1);
	}
	press_out(guest, 0);
	(void)read_in_sequence(guest, 4, 1);
	(void)read_in_sequence(guest, 0, 4);
	assert_true(is_mapped(guest, 5));
	assert_true(is_mapped(guest, 6));
	assert_false(is_mapped(guest, 7));
}
