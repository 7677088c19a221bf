/* SPDX-License-Identifier: Apache-2.0 */
/* ept/pager.c: what other CPUs can do while a fault opens its page. */
#include "tests/unit/test.h"
#include "tests/unit/pager_guests.h"

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

/* What share_move, share_revoke and the end of a region do meanwhile. */
static void move_away(struct guest *guest, uint32_t page)
{
	crypto_hook = NULL;
	__atomic_store_n(&guest->gmem.regions[0].base.v, SIZE_1G, __ATOMIC_RELEASE);
}

static void switch_off(struct guest *guest, uint32_t page)
{
	crypto_hook = NULL;
	guest->gmem.regions[0].off.only = true;
}

static void put_another_in_place(struct guest *guest, uint32_t page)
{
	crypto_hook = NULL;
	guest->gmem.regions[0].state = guest->gmem.regions[1].state;
}

static void end_region(struct guest *guest, uint32_t page)
{
	struct sealed_region *region = guest->gmem.regions[0].state;

	crypto_hook = NULL;
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
		assert_int_equal(is_any_held(), !region->dead);
		region->dead = false;
		guest->gmem.regions[0] = was;
		assert_int_equal(guest_read(guest, 0), 1);
	}
}
