/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of sealed pages in frames, and in DRAM under caches that write nothing back. */
#include "tests/unit/test.h"
#include "tests/unit/pager_guests.h"
#include "vmm/base/tsc.h"

TEST(test_residue, pager_setup, pager_teardown)
{
	make_window(FLOOR);
	make_guest(&guests[0], 1);
	for (uint32_t i = 0; i < VM_PAGES; i++) {
		guest_write(&guests[0], i, 0x6d61726b6572);
	}
	assert_int_equal(frames_with(0x6d61726b6572), FLOOR);
	end_guest(&guests[0]);
	assert_int_equal(frames_with(0x6d61726b6572), 0);
}

/* --- Zeros must reach DRAM --- */

#define DRAM_FRAMES (4u * VM_PAGES)

/* DRAM under caches that write nothing back on their own: a line reaches it only by a flush. */
static struct {
	bool on;
	uint8_t frames[DRAM_FRAMES][PAGE_SIZE];
	const uint8_t *key; /* address of the VM's key */
	uint8_t key_line[sizeof(struct page_key)];
} dram;

void fake_clflush(const void *address)
{
	const uint64_t frame = fake_temp_frame(address).v;
	const uint8_t *line = (const uint8_t *)((uintptr_t)address & ~63ul);

	if (dram.on && frame != 0) {
		memcpy(&dram.frames[(frame - FAKE_FRAME_BASE) / PAGE_SIZE][frame % PAGE_SIZE & ~63],
		       line, 64);
	} else if (dram.on && (uintptr_t)line - (uintptr_t)dram.key < sizeof(dram.key_line)) {
		memcpy(dram.key_line + (line - dram.key), line, 64);
	}
}

/* Writes all cached data back to DRAM. */
static void evict_all(const struct pager_vm *vm)
{
	dram.key = (const uint8_t *)&vm->key;
	assert_int_equal((uintptr_t)dram.key % 64 | sizeof(dram.key_line) % 64, 0);
	memcpy(dram.key_line, dram.key, sizeof(dram.key_line));
	for (uint64_t i = 0; i < DRAM_FRAMES; i++) {
		const hpa_t frame = hpa(FAKE_FRAME_BASE + i * PAGE_SIZE);

		if (fake_frame_is_live(frame)) {
			memcpy(dram.frames[i], fake_frame(frame), PAGE_SIZE);
		}
	}
	dram.on = true;
}

static unsigned dram_with(uint64_t value)
{
	unsigned found = 0;

	for (uint64_t i = 0; i < DRAM_FRAMES; i++) {
		found += memcmp(dram.frames[i] + 8, &value, 8) == 0;
	}
	return found;
}

/* After a VM was sealed, and after it has ended, DRAM holds none of its pages, nor its key. */
TEST(test_residue_in_dram, pager_setup, pager_teardown)
{
	static const uint8_t zero[sizeof(struct page_key)];
	struct guest *guest = &guests[0];

	for (unsigned round = 0; round < 2; round++) {
		memset(&dram, 0, sizeof(dram));
		make_window(FLOOR);
		make_guest(guest, 1);
		for (uint32_t i = 0; i < FLOOR; i++) {
			guest_write(guest, i, 0x6d61726b6572);
		}
		evict_all(guest->vm);
		assert_int_equal(dram_with(0x6d61726b6572), FLOOR);
		if (round == 0) {
			pager_vm_seal(guest->vm);
			assert_int_equal(dram_with(0x6d61726b6572), 0);
		}
		assert_memory_not_equal(dram.key_line, zero, sizeof(zero));
		end_guest(guest);
		assert_int_equal(dram_with(0x6d61726b6572), 0);
		assert_memory_equal(dram.key_line, zero, sizeof(zero));
		dram.on = false;
		pager_exit();
	}
}

/*
 * Frames that a VM has lost to another one: DRAM has none of its pages once it was sealed, once all
 * of them were drained, and after its end.
 */
TEST(test_residue_under_other_pages, pager_setup, pager_teardown)
{
	for (unsigned round = 0; round < 3; round++) {
		uint32_t next = 0;
		struct guest *guest = &guests[0], *other = &guests[1];
		struct window_frame *frame;

		memset(&dram, 0, sizeof(dram));
		make_window(2 * FLOOR);
		make_guest(guest, 1);
		make_guest(other, 1);
		pager_set_drain(guest->vm, 2);
		for (uint32_t i = 0; i < 2 * FLOOR; i++) {
			guest_write(guest, i, 0x6d61726b6572);
		}
		evict_all(guest->vm);
		for (uint32_t i = 0; i < FLOOR; i++) {
			guest_write(other, i, i + 1);
		}
		assert_int_equal(count(other).clear_pages, FLOOR);
		assert_int_equal(dram_with(0x6d61726b6572), 2 * FLOOR);
		if (round == 0) {
			pager_vm_seal(guest->vm);
		} else if (round == 1) {
			for (unsigned turn = 0; turn < 5 * 40; turn++) {
				fake_tsc += tsc_hz() / 40;
				pager_drain();
			}
			assert_int_equal(count(guest).clear_pages, 0);
		} else {
			end_guest(guest);
		}
		assert_int_equal(dram_with(0x6d61726b6572), 0);
		assert_int_equal(dram_with(FLOOR), 1); /* the other's last page */
		/* While a frame is getting a page, its old one may be what is written back. */
		frame = window_frame(*store_opened(other->gmem.regions[0].state, 3) - 1);
		assert_int_equal(frame->idle_s, 0);
		frame->idle_s = WINDOW_STALE;
		window_set_busy(frame, true);
		while (next < window_frame_count()) {
			assert_in_range(pager_copy_back(&next), 0, 1);
		}
		assert_int_equal(frame->idle_s, WINDOW_STALE);
		window_set_busy(frame, false);
		for (next = 0; next < window_frame_count();) {
			(void)pager_copy_back(&next);
		}
		assert_int_equal(frame->idle_s, 0);
		dram.on = false;
		if (round != 2) {
			end_guest(guest);
		}
		end_guest(other);
		pager_exit();
	}
}

/*
 * The burial of a region may have passed a frame that gets its next page only then. So such a page
 * is written back at once.
 */
TEST(test_residue_under_a_dead_region, pager_setup, pager_teardown)
{
	const uint64_t sealed = 0x7365616c6564;
	struct guest *dead = &guests[0], *other = &guests[1];

	memset(&dram, 0, sizeof(dram));
	make_window(2 * FLOOR);
	make_guest(dead, 1);
	make_guest(other, 1);
	guest_write(other, 0, sealed);
	pager_vm_seal(other->vm);
	for (uint32_t i = 0; i < 2 * FLOOR; i++) {
		guest_write(dead, i, 1);
	}
	dram.on = true; /* the window is in caches alone */
	gmem_destroy(&dead->gmem);
	pager_vm_destroy(dead->vm);
	dead->vm = NULL;
	assert_int_equal(dram_with(sealed), 0);
	assert_int_equal(guest_read(other, 0), sealed);
	assert_int_equal(dram_with(sealed), 1);
	dram.on = false;
	end_guest(other);
	pager_exit();
}
