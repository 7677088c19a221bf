/* SPDX-License-Identifier: Apache-2.0 */
/* The pager as a whole: two VMs in one window, one with tags, compared with plain memory. */
#include "tests/unit/test.h"
#include "tests/unit/pager_guests.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"

/* --- Two VMs and a model --- */

static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(random_state >> 33) % limit;
}

static void door_op(struct guest *guest, uint8_t *model, uint64_t at, size_t bytes)
{
	static uint8_t buf[3 * PAGE_SIZE];

	switch (random_below(4)) {
	case 0:
		for (size_t i = 0; i < bytes; i++) {
			buf[i] = (uint8_t)random_below(256);
		}
		assert_int_equal(gmem_write(&guest->gmem, gpa(at), buf, bytes), 0);
		memcpy(model, buf, bytes);
		break;
	case 1:
		assert_int_equal(gmem_fill(&guest->gmem, gpa(at), 0, bytes), 0);
		memset(model, 0, bytes);
		break;
	default:
		assert_int_equal(gmem_read(&guest->gmem, gpa(at), buf, bytes), 0);
		assert_memory_equal(buf, model, bytes);
	}
}

static void random_op(struct guest *guest)
{
	uint32_t page = random_below(random_below(3) == 0 ? VM_PAGES : 90);
	uint32_t offset = random_below(PAGE_SIZE / 8) * 8;
	uint64_t at = address_of(page) + offset, value = random_below(5);
	uint8_t *model = guest->model[page] + offset;
	uint32_t region_end = page < SPLIT ? SPLIT : VM_PAGES;

	guest->rip += random_below(2);
	switch (random_below(9)) {
	case 0: {
		size_t room = (region_end - page) * PAGE_SIZE - offset;
		size_t bytes = 1 + random_below(2 * PAGE_SIZE);

		door_op(guest, model, at, MIN(room, bytes));
		break;
	}
	case 1:
		if (random_below(2) == 0) { /* a whole page of zeros */
			assert_int_equal(
				gmem_fill(&guest->gmem, gpa(address_of(page)), 0, PAGE_SIZE), 0);
			memset(guest->model[page], 0, PAGE_SIZE);
		}
		break;
	case 2:
	case 3:
	case 4:
		(void)guest_access(guest, 0, at, true, &value, 8);
		memcpy(model, &value, 8);
		break;
	case 5: /* in sequence */
		for (; page < region_end && random_below(12) != 0; page++) {
			at = address_of(page);
			(void)guest_access(guest, 0, at, false, &value, 8);
			assert_memory_equal(&value, guest->model[page], 8);
			guest->rip++;
		}
		break;
	default:
		(void)guest_access(guest, 0, at, false, &value, 8);
		assert_memory_equal(&value, model, 8);
	}
}

TEST(test_model, pager_setup, pager_teardown, (void *)&with_ad)
{
	uint64_t window = 2 * FLOOR + 20;

	random_state = 3;
	pager_caps.accessed_dirty = *(const bool *)*state;
	ept_configure(&pager_caps);
	make_window(window);
	make_guest(&guests[0], 1);
	pager_tags = true;
	make_guest(&guests[1], 1);
	for (unsigned op = 0; op < 30000; op++) {
		uint32_t who = random_below(VMS);
		uint64_t other = count(&guests[1 - who]).clear_pages;
		uint64_t after;

		random_op(&guests[who]);
		after = count(&guests[1 - who]).clear_pages;
		assert_true(after >= MIN(other, FLOOR));
		assert_true(after + count(&guests[who]).clear_pages <= window);
	}
	for (size_t v = 0; v < VMS; v++) {
		for (uint32_t i = 0; i < VM_PAGES; i++) {
			static uint8_t page[PAGE_SIZE];

			assert_int_equal(
				gmem_read(&guests[v].gmem, gpa(address_of(i)), page, PAGE_SIZE), 0);
			assert_memory_equal(page, guests[v].model[i], PAGE_SIZE);
		}
		assert_true(count(&guests[v]).sealings > 500 && count(&guests[v]).drops > 100);
		assert_true(count(&guests[v]).opened_ahead > 100);
	}
	assert_int_equal(count(&guests[0]).opens + count(&guests[1]).opens, crypto.decryptions);
}
TEST_AGAIN(test_model, pager_setup, pager_teardown, (void *)&without_ad);
