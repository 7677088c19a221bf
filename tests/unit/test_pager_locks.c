/* SPDX-License-Identifier: Apache-2.0 */
/* ept/pager.c: what other CPUs can do while a fault opens its page. */
#include <pthread.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "tests/unit/pager_guests.h"
#include "vmm/base/err.h"

/* Writes all pages, so that the window has only dirty ones, and seals page 0. */
static void fill(struct guest *guest)
{
	make_window(FLOOR);
	make_guest(guest, 1);
	for (uint32_t i = 0; i < SPLIT; i++) {
		guest_write(guest, i, i + 1);
	}
	press_out(guest, 0);
	for (uint32_t i = 1; i <= FLOOR; i++) {
		guest_write(guest, i, i + 1);
	}
	assert_int_equal(*store_opened(guest->gmem.regions[0].state, 0), 0);
}

static enum gmem_fault_result fault(struct guest *guest, uint32_t page)
{
	const struct gmem_faulter by = { .vcpu = 0, .place = ++guest->rip };

	return gmem_fault(&guest->gmem, gpa(address_of(page)), GMEM_ACCESS_READ, &by);
}

/* The VM's other vCPUs fault meanwhile. */
static void look_at_lock(struct guest *guest, uint32_t page)
{
	crypto_hook = NULL;
	assert_true(lock_try(&guest->gmem.lock, LOCK_GMEM));
	lock_drop(&guest->gmem.lock);
}

TEST(a_fault_releases_the_lock_of_the_memory, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	fill(guest);
	crypto_hook = look_at_lock;
	assert_int_equal(fault(guest, 0), GMEM_FAULT_FIXED);
	assert_null(crypto_hook);
	assert_true(is_mapped(guest, 0));
	assert_int_equal(guest_read(guest, 0), 1);
}

/* Other CPUs use the door to this VM's memory meanwhile. */
TEST(the_door_releases_the_lock_of_the_memory, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	uint64_t value = 0;

	fill(guest);
	crypto_hook = look_at_lock;
	assert_int_equal(gmem_read(&guest->gmem, gpa(address_of(0) + 8), &value, 8), 0);
	assert_null(crypto_hook);
	assert_int_equal(value, 1);
}

/* What share_move, share_revoke and the end of a region do meanwhile. Faults see that it began. */
static void begin(struct guest *guest)
{
	struct sealed_region *region = guest->gmem.regions[0].state;

	crypto_hook = NULL;
	region->mappings[0].changes++;
}

static void move_away(struct guest *guest, uint32_t page)
{
	begin(guest);
	__atomic_store_n(&guest->gmem.regions[0].base.v, SIZE_1G, __ATOMIC_RELEASE);
}

static void switch_off(struct guest *guest, uint32_t page)
{
	begin(guest);
	guest->gmem.regions[0].off.only = true;
}

static void put_another_in_place(struct guest *guest, uint32_t page)
{
	begin(guest);
	guest->gmem.regions[0].state = guest->gmem.regions[1].state;
}

static void end_region(struct guest *guest, uint32_t page)
{
	struct sealed_region *region = guest->gmem.regions[0].state;

	begin(guest);
	region->dead = true;
	guest->gmem.regions[0].off.only = true; /* as it has left the gmem */
}

/* Is any frame held by a vCPU? */
static bool is_any_held(void)
{
	for (uint32_t i = 0; i < window_frame_count(); i++) {
		if (window_frame(i)->holds != 0) {
			return true;
		}
	}
	return false;
}

/* The page was opened, but the guest has to fault again to find what lies there now. */
TEST(what_has_moved_meanwhile_is_not_mapped, pager_setup, pager_teardown)
{
	static void (*const hooks[])(struct guest * guest, uint32_t page) = { move_away, switch_off,
									      put_another_in_place,
									      end_region };
	struct guest *guest = &guests[0];

	fill(guest);
	for (uint32_t i = 0; i < ARRAY_COUNT(hooks); i++) {
		const struct gmem_region was = guest->gmem.regions[0];
		struct sealed_region *region = was.state;

		press_out(guest, 0);
		for (uint32_t page = 1; page <= FLOOR; page++) {
			guest_write(guest, page, page + 1);
		}
		crypto_hook = hooks[i];
		assert_int_equal(fault(guest, 0), GMEM_FAULT_FIXED);
		assert_null(crypto_hook);
		assert_false(is_mapped(guest, 0));
		assert_int_equal(region->exchanges, 0);
		assert_false(is_any_held());
		region->dead = false;
		guest->gmem.regions[0] = was;
		assert_int_equal(guest_read(guest, 0), 1);
	}
}

static unsigned encryptions_left;

static void move_away_later(struct guest *guest, uint32_t page)
{
	if (--encryptions_left == 0) {
		move_away(guest, page);
	}
}

/* A fault has mapped its page. While the next one is opened ahead, the memory moves. */
TEST(what_is_opened_ahead_is_not_mapped_where_it_was, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	struct gmem_region was;

	fill(guest);
	was = guest->gmem.regions[0];
	assert_int_equal(fault(guest, 100), GMEM_FAULT_FIXED);
	encryptions_left = 2;
	crypto_hook = move_away_later;
	assert_int_equal(fault(guest, 101), GMEM_FAULT_FIXED);
	assert_null(crypto_hook);
	assert_true(is_mapped(guest, 101));
	assert_int_not_equal(*store_opened(was.state, 102), 0);
	assert_false(is_mapped(guest, 102));
	guest->gmem.regions[0] = was;
	assert_int_equal(guest_read(guest, 102), 103);
}

/* The door finds what lies at the address now. It leaves no page pinned. */
TEST(the_door_looks_again_for_what_has_moved, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	struct gmem_region was;
	uint64_t value = 0;

	fill(guest);
	was = guest->gmem.regions[0];
	crypto_hook = move_away;
	assert_int_equal(gmem_read(&guest->gmem, gpa(address_of(0) + 8), &value, 8), ERR_RANGE);
	assert_null(crypto_hook);
	guest->gmem.regions[0] = was;
	guest_write(guest, SPLIT, 1234); /* page 0 of the other region */
	press_out(guest, 0);
	for (uint32_t page = 1; page <= FLOOR; page++) {
		guest_write(guest, page, page + 1);
	}
	crypto_hook = put_another_in_place;
	assert_int_equal(gmem_read(&guest->gmem, gpa(address_of(0) + 8), &value, 8), 0);
	assert_int_equal(value, 1234);
	guest->gmem.regions[0] = was;
	for (uint32_t i = 0; i < window_frame_count(); i++) {
		assert_int_equal(window_frame(i)->pins, 0);
	}
	assert_int_equal(guest_read(guest, 0), 1);
}

static bool released;

/* An access through the door ends, late. */
static void *release(void *gmem)
{
	fake_set_cpu(1);
	(void)usleep(50000);
	__atomic_store_n(&released, true, __ATOMIC_RELEASE);
	pager_unpin(gmem, ((struct gmem *)gmem)->regions, gpa(address_of(FLOOR)), false);
	return NULL;
}

/* The access was about to take the lock of the memory when the VM was sealed. */
TEST(sealing_waits_for_the_door, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	struct window_frame *frame;
	pthread_t door;

	fill(guest);
	frame = window_frame(*store_opened(guest->gmem.regions[0].state, FLOOR) - 1);
	window_pin(frame);
	released = false;
	fake_set_cpu_count(2);
	assert_int_equal(pthread_create(&door, NULL, release, &guest->gmem), 0);
	pager_vm_seal(guest->vm);
	assert_true(__atomic_load_n(&released, __ATOMIC_ACQUIRE));
	pthread_join(door, NULL);
	assert_int_equal(count(guest).clear_pages, 0);
}

static unsigned kicks_left;

/*
 * CPU 1 is in the guest. When it is kicked for the last time, page 0 is opened for the door, in a
 * frame that the sealing CPU has looked at already.
 */
static void open_behind(uint32_t cpu)
{
	struct guest *guest = &guests[0];
	uint32_t index;

	guest->gmem.root.seen[cpu].only = guest->gmem.root.generation.only;
	if (--kicks_left != 0) {
		return;
	}
	percpu_get(cpu)->guest_root.only = NULL;
	lock_take(&window_lock, LOCK_WINDOW);
	index = window_find(guest->vm);
	assert_null(window_frame(index)->region);
	assert_int_equal(pager_exchange(index, guest->gmem.regions[0].state, 0), COST_CLEAN);
	window_release(guest->vm, window_frame(index));
	lock_drop(&window_lock);
}

TEST(sealing_looks_again_for_what_was_opened, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	fill(guest);
	percpu_get(1)->guest_root.only = &guest->gmem.root;
	guest->gmem.root.cpus[0].only |= BIT(1);
	kicks_left = 2; /* before the first one no frame is free */
	fake_kick_hook = open_behind;
	pager_vm_seal(guest->vm);
	fake_kick_hook = NULL;
	assert_int_equal(kicks_left, 0);
	assert_int_equal(count(guest).clear_pages, 0);
	assert_int_equal(guest_read(guest, 0), 1);
}

static uint32_t endings(void)
{
	return atomic_load_relaxed(&window_endings.count);
}

/* CPU 1 wants a page that another CPU has made busy. */
static void *fault_at_page_1(void *guest)
{
	fake_set_cpu(1);
	assert_int_equal(fault(guest, 1), GMEM_FAULT_FIXED);
	return NULL;
}

static void *read_page_1(void *guest)
{
	uint64_t value = 0;

	fake_set_cpu(1);
	assert_int_equal(
		gmem_read(&((struct guest *)guest)->gmem, gpa(address_of(1) + 8), &value, 8), 0);
	assert_int_equal(value, 2);
	return NULL;
}

/* How much ends when CPU 1 has waited for the page, and found it open. */
static uint32_t endings_after(struct guest *guest, void *(*wants)(void *))
{
	struct sealed_region *region = guest->gmem.regions[0].state;
	struct window_frame *frame;
	bool waits = false;
	uint32_t before;
	pthread_t other;

	guest_write(guest, 1, 2);
	frame = window_frame(*store_opened(region, 1) - 1);
	before = endings();
	window_mark_busy(frame, true);
	assert_int_equal(pthread_create(&other, NULL, wants, guest), 0);
	while (!waits) { /* CPU 1 uses the region: who ends it waits */
		lock_take(&window_lock, LOCK_WINDOW);
		waits = region->exchanges == 1;
		lock_drop(&window_lock);
	}
	assert_int_equal(endings(), before);
	window_mark_busy(frame, false);
	pthread_join(other, NULL);
	assert_int_equal(region->exchanges, 0);
	return endings() - before;
}

/* Else a CPU would wait for ever: for a frame, or until no CPU uses a region. */
TEST(each_end_is_noted, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	uint32_t before;

	fill(guest);
	assert_int_equal(endings_after(guest, fault_at_page_1), 1);
	assert_int_equal(endings_after(guest, read_page_1), 2); /* the page is not pinned either */
	before = endings();
	lock_take(&window_lock, LOCK_WINDOW);
	window_let_vm_go(guest->vm);
	pager_evict(*store_opened(guest->gmem.regions[0].state, 1) - 1);
	lock_drop(&window_lock);
	assert_int_equal(endings(), before + 1);
}

/* Another CPU takes the lock at once, and ends what this one waits for. It ends nothing more. */
static void end_at_once(const struct lock *l)
{
	fake_lock_drop_hook = NULL;
	assert_ptr_equal(l, &window_lock);
	window_note_end();
}

TEST(no_end_is_missed, pager_setup, pager_teardown)
{
	(void)alarm(20); /* a CPU that has missed it waits for ever */
	lock_take(&window_lock, LOCK_WINDOW);
	fake_lock_drop_hook = end_at_once;
	pager_let_others_end();
	lock_drop(&window_lock);
	(void)alarm(0);
	assert_null(fake_lock_drop_hook);
}
