/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ept/pager.c, store.c: the end of the machine. Nothing can be encrypted after it, so each test
 * runs in its own process.
 */
#include "tests/unit/test.h"
#include "ept/gmem_priv.h"
#include "tests/unit/pager_guests.h"
#include "vmm/base/cpu.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/smp.h"

#define MARKER 0x6d61726b6572

static const uint8_t zero[PAGE_SIZE];
static jmp_buf stopped;
static bool may_stop;
static unsigned stops;
static bool fails; /* stopping the other CPUs raises an exception */

/* A CPU that stops for good. */
void fake_hlt(void)
{
	if (!may_stop) {
		fake_fail("a CPU stopped");
	}
	may_stop = false;
	longjmp(stopped, 1);
}

void smp_stop_others(void)
{
	/*
	 * A cipher that still runs must not lose its key: mbedTLS' cipher would read beyond the key
	 * schedule.
	 */
	assert_int_equal(crypto.wipes, 0);
	assert_memory_not_equal(&guests[0].vm->key, zero, sizeof(guests[0].vm->key));
	stops++;
	if (fails) {
		fails = false;
		longjmp(stopped, 1);
	}
}

/* A guest with more pages than the window has room for, so that the next fault must seal one. */
static struct guest *full_guest(void)
{
	struct guest *guest = &guests[0];

	make_window(FLOOR);
	make_guest(guest, 1);
	for (uint32_t i = 0; i < FLOOR; i++) {
		guest_write(guest, i, MARKER);
	}
	assert_int_equal(frames_with(MARKER), FLOOR);
	return guest;
}

static uint8_t *store_of(struct guest *guest, uint32_t page)
{
	const struct sealed_region *region = guest->gmem.regions[0].state;

	assert_true(page < SPLIT);
	return fake_frame(
		hpa(region->chunks[page / CHUNK_PAGES].v + page % CHUNK_PAGES * PAGE_SIZE));
}

/* Forgets what a CPU held and had begun when it stopped. */
static void forget_stopped(struct guest *guest)
{
	fake_lock_reset();
	window_lock = (struct lock){ 0 };
	guest->gmem.lock = (struct lock){ 0 };
	for (uint32_t i = 0; i < window_frame_count(); i++) {
		if (window_is_busy(window_frame(i))) {
			window_set_busy(window_frame(i), false);
		}
	}
	for (uint32_t i = 0; i < guest->gmem.region_count; i++) {
		struct sealed_region *region = guest->gmem.regions[i].state;

		region->exchanges = region->mappings[0].shoot_downs = 0;
	}
	for (unsigned slot = GMEM_SLOT_CLEAR; slot <= GMEM_SLOT_IN; slot++) {
		if (fake_temp_is_mapped(slot)) {
			host_temp_unmap(slot);
		}
	}
}

/*
 * Another CPU ends the machine while this one encrypts, under gmem.lock. This CPU never continues.
 */
static void end_while_sealing(struct guest *guest, uint32_t page)
{
	crypto_hook = NULL;
	memset(store_of(guest, page), 0x77, 100); /* encrypted under a key that is half zero */
	fake_set_cpu(1);
	pager_wipe();
	fake_set_cpu(0);
	assert_int_equal(stops, 1);
	assert_int_equal(crypto.wipes, 1);
	assert_int_equal(fake_wbinvd_count, 1);
	assert_memory_equal(store_of(guest, page), zero, PAGE_SIZE);
	longjmp(stopped, 1);
}

TEST(test_wipe, pager_setup, pager_teardown)
{
	struct guest *guest = full_guest();

	crypto_hook = end_while_sealing;
	if (setjmp(stopped) == 0) {
		(void)guest_read(guest, 200);
		fail_msg("nothing was encrypted");
	}
	forget_stopped(guest);
	assert_int_equal(frames_with(MARKER), 0);
	assert_memory_equal(&guest->vm->key, zero, sizeof(guest->vm->key));
	/* The key is zero now, and so no secret. A CPU that wants to encrypt under it stops. */
	assert_int_equal(crypto.encryptions, 1);
	may_stop = true;
	if (setjmp(stopped) == 0) {
		for (uint32_t i = 100; i < VM_PAGES; i++) {
			guest_write(guest, i, 1);
		}
		fail_msg("it goes on");
	}
	forget_stopped(guest);
	assert_int_equal(crypto.encryptions, 1);
}

static uint32_t sealing_page;

static void close_while_sealing(struct guest *guest, uint32_t page)
{
	crypto_hook = NULL;
	sealing_page = page;
	store_close();
}

/* The machine begins to end while a CPU encrypts, and the page is complete before the CPU stops. */
TEST(test_close_while_sealing, pager_setup, pager_teardown)
{
	struct guest *guest = full_guest();

	crypto_hook = close_while_sealing;
	may_stop = true;
	if (setjmp(stopped) == 0) {
		(void)guest_read(guest, 200);
		fail_msg("it goes on");
	}
	assert_memory_not_equal(store_of(guest, sealing_page), zero, PAGE_SIZE);
	store_wipe_unfinished();
	assert_memory_equal(store_of(guest, sealing_page), zero, PAGE_SIZE);
	forget_stopped(guest);
}

/*
 * The machine ends before a CPU begins to encrypt. The CPU has already named its page: it may have
 * looked just before the end, and may go on.
 */
TEST(test_close_before_sealing, pager_setup, pager_teardown)
{
	struct guest *guest = full_guest();
	unsigned wiped = 0;

	for (uint32_t i = 0; i < FLOOR; i++) {
		memset(store_of(guest, i), 0x77, PAGE_SIZE);
	}
	store_close();
	may_stop = true;
	if (setjmp(stopped) == 0) {
		(void)guest_read(guest, 200);
		fail_msg("it goes on");
	}
	store_wipe_unfinished();
	for (uint32_t i = 0; i < FLOOR; i++) {
		wiped += memcmp(store_of(guest, i), zero, PAGE_SIZE) == 0;
	}
	assert_int_equal(wiped, 1);
	assert_int_equal(crypto.encryptions, 0);
	forget_stopped(guest);
}

/*
 * A step of the wiping raises an exception. The panic calls pager_wipe again, which continues after
 * that step and wipes everything.
 */
TEST(test_broken_step, pager_setup, pager_teardown)
{
	struct guest *guest = full_guest();

	fails = true;
	if (setjmp(stopped) == 0) {
		pager_wipe();
		fail_msg("nothing failed");
	}
	pager_wipe();
	assert_int_equal(stops, 1);
	assert_int_equal(crypto.wipes, 1);
	assert_int_equal(frames_with(MARKER), 0);
	assert_memory_equal(&guest->vm->key, zero, sizeof(guest->vm->key));
	pager_wipe(); /* by power-off, after a panic: nothing is left to do */
	assert_int_equal(crypto.wipes, 1);
	assert_int_equal(fake_wbinvd_count, 1);
}

TEST_RUN(.apart = true);
