/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ept/pager.c, store.c: the life of a page, the order of an eviction, what is left in DRAM,
 * failures. The end of the machine is in test_pager_end.c.
 */
#include <pthread.h>
#include <sched.h>

#include "tests/unit/test.h"
#include "crypto/kdf.h"
#include "ept/gmem_priv.h"
#include "tests/unit/gmem_end.h"
#include "tests/unit/pager_guests.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/host/page_alloc.h"

/* --- The life of a page --- */

TEST(test_states, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	struct pager_counters now;

	make_window(FLOOR);
	make_guest(guest, 1);
	assert_int_equal(guest_read(guest, 7), 0); /* absent reads as zero */
	now = count(guest);
	assert_int_equal(now.first_touches, 1);
	assert_int_equal(now.clear_pages, 1);
	press_out(guest, 7);
	assert_int_equal(crypto.encryptions, 0); /* never written: stays absent */
	guest_write(guest, 7, 0x1234);
	press_out(guest, 7);
	assert_int_equal(crypto.encryptions, 1);
	assert_int_equal(guest_read(guest, 7), 0x1234);
	assert_int_equal(crypto.decryptions, 1);
	now = count(guest);
	assert_int_equal(now.clean_faults, 1);
	press_out(guest, 7);
	assert_int_equal(crypto.encryptions, 1); /* clean: dropped */
	now = count(guest);
	assert_int_equal(now.drops, 1);
	assert_int_equal(guest_read(guest, 7), 0x1234);
	guest_write(guest, 7, 0); /* all zero again: needs no memory */
	press_out(guest, 7);
	assert_int_equal(crypto.encryptions, 1);
	assert_int_equal(guest_read(guest, 7), 0);
	assert_int_equal(crypto.decryptions, 2);
	guest_write(guest, 7, 0x5678); /* the version goes on (page_encrypt checks that) */
	press_out(guest, 7);
	assert_int_equal(crypto.encryptions, 2);
	assert_int_equal(guest_read(guest, 7), 0x5678);
	now = count(guest);
	assert_int_equal(now.sealings, 2);
	assert_int_equal(now.opens, crypto.decryptions);
	assert_int_equal(now.clear_peak, FLOOR);
	assert_true(now.shoot_downs >= 5 && now.door_opens > 0 && now.zero_drops > 0);
	pager_log(guest->vm);
	assert_non_null(strstr(fake_log_text(), "2 sealed"));
}

/* A fault whose victim must be sealed is counted as such, with A/D bits and without. */
TEST(test_dirty_victims, pager_setup, pager_teardown, (void *)&with_ad)
{
	struct guest *guest = &guests[0];
	struct pager_counters now;
	uint64_t before;

	pager_caps.accessed_dirty = *(const bool *)*state;
	ept_configure(&pager_caps);
	make_window(FLOOR);
	make_guest(guest, 1);
	for (uint32_t i = 0; i < FLOOR; i++) {
		guest_write(guest, i, i + 1);
	}
	now = count(guest);
	assert_int_equal(now.first_touches, FLOOR);
	for (uint32_t i = 0; i < FLOOR; i++) {
		(void)guest_read(guest, FLOOR + i);
	}
	now = count(guest);
	assert_int_equal(now.dirty_faults, now.sealings);
	assert_int_equal(crypto.exchanges, 0);
	assert_true(now.sealings >= FLOOR - 2);
	for (uint32_t i = 0; i < FLOOR; i++) {
		assert_int_equal(guest_read(guest, i), i + 1);
	}
	/* Only read since: nothing is encrypted again. */
	before = crypto.encryptions;
	press_out(guest, 0);
	assert_int_equal(guest_read(guest, 0), 1);
	press_out(guest, 0);
	assert_true(crypto.encryptions <= before + 2);
}
TEST_AGAIN(test_dirty_victims, pager_setup, pager_teardown, (void *)&without_ad);

/* A page that is evicted and one that is opened share one call of the cipher. */
TEST(test_exchange, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	uint64_t before;

	make_window(FLOOR);
	make_guest(guest, 1);
	for (uint32_t i = 0; i < 2 * FLOOR; i++) {
		guest_write(guest, i, i + 1);
	}
	press_out(guest, 0);
	before = crypto.exchanges;
	guest_write(guest, 0, 100);
	assert_int_equal(crypto.exchanges, before);
	for (uint32_t i = 1; i < 2 * FLOOR; i++) {
		assert_int_equal(guest_read(guest, i), i + 1);
	}
	assert_int_equal(crypto.exchanges, before + 1);
	assert_int_equal(guest_read(guest, 0), 100);
}

/*
 * Writes through the door set no D bit: a page that the guest has only read must still be sealed.
 */
TEST(test_door_dirties, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	uint64_t value = 0xabcdef, expected = 0xabcdef;

	make_window(FLOOR);
	make_guest(guest, 1);
	guest_write(guest, 3, 1);
	press_out(guest, 3);
	assert_int_equal(guest_read(guest, 3), 1); /* open, clean, mapped */
	assert_int_equal(gmem_write(&guest->gmem, gpa(address_of(3) + 8), &value, 8), 0);
	press_out(guest, 3);
	assert_int_equal(guest_read(guest, 3), 0xabcdef);
	press_out(guest, 3);
	assert_int_equal(gmem_cmpxchg(&guest->gmem, gpa(address_of(3) + 8), &expected, 0x777, 8),
			 0);
	press_out(guest, 3); /* was never mapped meanwhile */
	assert_int_equal(guest_read(guest, 3), 0x777);
}

/* One key file for two VMs, or for a VM that was reset: never the same key again. */
TEST(test_keys_differ, pager_setup, pager_teardown)
{
	uint8_t secret[KDF_SECRET_BYTES];
	struct pager_vm *vms[3] = { NULL };

	memset(secret, 0xee, sizeof(secret));
	make_window(3 * FLOOR);
	assert_int_equal(pager_vm_create("a", 1, secret, false, &vms[0]), 0);
	assert_int_equal(crypto.secret, 0xee);
	assert_int_equal(pager_vm_create("b", 1, secret, false, &vms[1]), 0);
	assert_int_equal(crypto.secret, 0xee);
	assert_int_equal(pager_vm_create("c", 1, NULL, false, &vms[2]), 0);
	assert_int_not_equal(crypto.secret, 0xee);
	assert_memory_not_equal(&vms[0]->key, &vms[1]->key, sizeof(vms[0]->key));
	assert_memory_not_equal(&vms[1]->key, &vms[2]->key, sizeof(vms[0]->key));
	for (size_t i = 0; i < ARRAY_COUNT(vms); i++) {
		pager_vm_destroy(vms[i]);
	}
}

/* How many secret bytes are on the part of the stack that was in use. */
static __attribute__((no_sanitize_address, noinline)) unsigned left_on_stack(void)
{
	unsigned left = 0;

	for (size_t i = 0; i < ARRAY_COUNT(crypto.stack); i++) {
		for (size_t n = 0; n < crypto.stack[i].count; n++) {
			left += crypto.stack[i].at[n] != 0;
		}
	}
	return left;
}

/* Neither the secret, nor the salt, nor a key. */
TEST(test_stack, pager_setup, pager_teardown)
{
	uint8_t secret[KDF_SECRET_BYTES];
	struct pager_vm *vm;
	unsigned left;
	int err;

	memset(secret, 0xee, sizeof(secret));
	make_window(FLOOR);
	err = pager_vm_create("a", 1, secret, true, &vm);
	left = left_on_stack();
	assert_int_equal(err, 0);
	assert_int_equal(crypto.stack[2].count, 64);
	assert_int_equal(crypto.stack[3].count, PAGE_MAC_KEY_BYTES);
	assert_int_equal(left, 0);
	pager_vm_destroy(vm);
}

/*
 * A VM that is built again with the same file: another key, other ciphertext, counters from zero.
 */
TEST(test_restart, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	static uint8_t before[PAGE_SIZE];
	struct page_key key;
	uint64_t free_frames, free_pages, window, unclaimed;

	make_window(FLOOR);
	free_frames = frames_free_count();
	free_pages = page_free_count();
	for (unsigned life = 0; life < 2; life++) {
		struct sealed_region *region;
		const uint8_t *ciphertext;

		make_guest(guest, 1);
		region = guest->gmem.regions[0].state;
		assert_int_equal(atomic_load_relaxed(&guest->vm->version), 0);
		assert_int_equal(count(guest).sealings, 0);
		guest_write(guest, 3, 0x1234);
		pager_vm_seal(guest->vm);
		assert_int_equal(*store_version(region, 3), 1); /* the same page and version */
		ciphertext = fake_frame(hpa(region->chunks[0].v + 3 * PAGE_SIZE));
		if (life == 0) {
			memcpy(before, ciphertext, PAGE_SIZE);
			memcpy(&key, &guest->vm->key, sizeof(key));
		} else {
			assert_memory_not_equal(ciphertext, before, PAGE_SIZE);
			assert_memory_not_equal(&guest->vm->key, &key, sizeof(key));
		}
		end_guest(guest);
		assert_int_equal(frames_free_count(), free_frames);
		assert_int_equal(page_free_count(), free_pages);
		pager_window(&window, &unclaimed);
		assert_true(window == FLOOR && unclaimed == FLOOR);
	}
}

/*
 * A page that two members map: both are shot down before it is evicted, or when one leaves. A
 * member with read-only rights cannot write through the door.
 */
TEST(test_members, pager_setup, pager_teardown)
{
	struct guest *one = &guests[0], *two = &guests[1];
	uint64_t generations[2], word = 1;
	struct ept_leaf leaf, other;
	uint32_t locked;
	struct pager_counters counters;
	struct sealed_region *share;
	struct gmem_region end;
	struct pager_vm *vm;

	make_window(FLOOR);
	assert_int_equal(pager_vm_create("share", 1, NULL, false, &vm), 0);
	one->vm = vm; /* the owner of the key */
	assert_int_equal(pager_share_create(vm, 300 * PAGE_SIZE, &share), 0);
	end = (struct gmem_region){ .ops = &pager_share_ops, .state = share };
	for (unsigned i = 0; i < 2; i++) {
		const struct gmem_region region = { .base = gpa(0),
						    .bytes = 300 * PAGE_SIZE,
						    .ops = &pager_share_ops,
						    .state = share };
		struct gmem *gmem = &guests[i].gmem;

		assert_int_equal(gmem_init(gmem), 0);
		assert_int_equal(pager_share_join(share, gmem, gpa(0), i == 1, i), 0);
		gmem_region_insert(gmem, &region);
		assert_int_equal(gmem_fault(gmem, gpa(0), GMEM_ACCESS_READ, NULL),
				 GMEM_FAULT_FIXED);
		generations[i] = gmem->root.generation.only;
	}
	pager_count(vm, &counters);
	assert_int_equal(counters.clear_pages, 1); /* once, whoever sees it */
	assert_int_equal(gmem_fault(&two->gmem, gpa(0), GMEM_ACCESS_WRITE, NULL),
			 GMEM_FAULT_RIGHTS);
	assert_int_equal(gmem_write(&two->gmem, gpa(0), &word, 8), ERR_RIGHTS);
	assert_int_equal(gmem_read(&two->gmem, gpa(0), &word, 8), 0);
	assert_int_equal(word, 0);
	for (uint32_t page = 1; *store_opened(share, 0) != 0; page++) {
		assert_in_range(page, 1, 299);
		assert_int_equal(
			gmem_fault(&one->gmem, gpa(page * PAGE_SIZE), GMEM_ACCESS_READ, NULL),
			GMEM_FAULT_FIXED);
	}
	assert_true(one->gmem.root.generation.only > generations[0]);
	assert_true(two->gmem.root.generation.only > generations[1]);
	/* It moves in one gmem: no entry is left at the old address, and the page is at the new. */
	assert_int_equal(gmem_fault(&two->gmem, gpa(0), GMEM_ACCESS_READ, NULL), GMEM_FAULT_FIXED);
	generations[1] = two->gmem.root.generation.only;
	locked = window_lock.next.only;
	pager_share_move(share, &two->gmem, gpa(SIZE_1G));
	assert_int_equal(two->gmem.root.generation.only, generations[1] + 1);
	/* Others get the lock while it looks through the window, and for the shoot-down. */
	assert_int_equal(window_lock.next.only - locked, 1 + (FLOOR + 63) / 64 + 1 + 1);
	for (uint32_t page = 0; page < 300; page++) {
		assert_int_equal(ept_walk(&two->gmem.root, gpa(page * PAGE_SIZE), &leaf),
				 ERR_NOTFOUND);
	}
	two->gmem.regions[0].base = gpa(SIZE_1G);
	assert_int_equal(gmem_fault(&two->gmem, gpa(SIZE_1G + PAGE_SIZE), GMEM_ACCESS_READ, NULL),
			 GMEM_FAULT_FIXED);
	assert_int_equal(ept_walk(&two->gmem.root, gpa(SIZE_1G + PAGE_SIZE), &leaf), 0);
	assert_int_equal(gmem_fault(&one->gmem, gpa(PAGE_SIZE), GMEM_ACCESS_READ, NULL),
			 GMEM_FAULT_FIXED);
	assert_int_equal(ept_walk(&one->gmem.root, gpa(PAGE_SIZE), &other), 0);
	assert_int_equal(leaf.hpa.v, other.hpa.v);
	generations[1] = two->gmem.root.generation.only;
	pager_share_leave(share, &two->gmem, true);
	assert_int_equal(two->gmem.root.generation.only, generations[1] + 1);
	two->gmem.region_count = 0; /* it has left */
	gmem_end(&two->gmem);
	gmem_end(&one->gmem);
	end.ops->close(&end);
	while (!end.ops->bury(NULL, &end, GMEM_BURY_TOUCHED)) {
	}
	pager_vm_destroy(vm);
	one->vm = NULL;
}

/*
 * Whichever member writes, through its own EPT: the page is sealed. What its vCPU holds may go when
 * it has left.
 */
TEST(a_member_writes_and_leaves, pager_setup, pager_teardown)
{
	const struct gmem_faulter by = { .vcpu = 0, .place = 1 };
	struct sealed_region *share;
	struct gmem_region region;
	uint64_t word = 0x77;

	make_window(2 * PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES);
	assert_int_equal(pager_vm_create("share", 2, NULL, false, &guests[0].vm), 0);
	assert_int_equal(pager_share_create(guests[0].vm, 10 * PAGE_SIZE, &share), 0);
	region = (struct gmem_region){ .bytes = 10 * PAGE_SIZE,
				       .ops = &pager_share_ops,
				       .state = share };
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(gmem_init(&guests[i].gmem), 0);
		assert_int_equal(pager_share_join(share, &guests[i].gmem, gpa(0), false, i), 0);
		gmem_region_insert(&guests[i].gmem, &region);
		assert_int_equal(gmem_fault(&guests[i].gmem, gpa(0), GMEM_ACCESS_READ, &by),
				 GMEM_FAULT_FIXED);
	}
	(void)guest_access(&guests[1], 0, 8, true, &word, 8);
	pager_share_leave(share, &guests[1].gmem, true);
	assert_int_equal(window_frame(*store_opened(share, 0) - 1)->holds, 0);
	assert_int_equal(pager_share_join(share, &guests[1].gmem, gpa(0), false, 1), 0);
	assert_int_equal(share->mappings[1].changes, 1); /* a fault may still be on its way */
	for (uint32_t written = 1; written <= 2; written++) {
		lock_take(&window_lock, LOCK_WINDOW);
		window_let_vm_go(guests[0].vm);
		pager_evict(*store_opened(share, 0) - 1);
		lock_drop(&window_lock);
		assert_int_equal(crypto.encryptions, written);
		assert_int_equal(gmem_read(&guests[0].gmem, gpa(8), &word, 8), 0);
		assert_int_equal(word++, 0x76 + written);
		(void)guest_access(&guests[1], 0, 8, true, &word, 8);
	}
	guests[1].gmem.region_count = 0;
	pager_share_leave(share, &guests[1].gmem, true);
	gmem_end(&guests[1].gmem);
	gmem_end(&guests[0].gmem);
	region.ops->close(&region);
	while (!region.ops->bury(NULL, &region, GMEM_BURY_TOUCHED)) {
	}
	pager_vm_destroy(guests[0].vm);
	guests[0].vm = NULL;
}

/*
 * A region that ends checks as much of the window as it takes to find its frames. It holds the
 * lock, for which faults wait, for one page or a few checks at a time.
 */
TEST(test_burial_is_bounded, pager_setup, pager_teardown)
{
	const uint32_t frames = 6000, used = 100;
	struct guest *one = &guests[0], *two = &guests[1];
	struct sealed_region *region;
	uint32_t before, steps = 0;

	make_window(frames);
	make_guest(one, 1);
	make_guest(two, 1);
	for (uint32_t i = 0; i < used; i++) {
		guest_write(two, i, i + 1);
	}
	assert_int_equal(one->gmem.region_count, 2);
	gmem_destroy(&one->gmem); /* no page of it was ever in the window */
	pager_vm_destroy(one->vm);
	one->vm = NULL;
	while (retire_buries()) {
		before = window_lock.next.only;
		assert_true(work_some());
		assert_in_range(window_lock.next.only - before, 0, 3);
		/* One check in vain for each region would be two more. */
		assert_in_range(steps++, 0, 20);
		(void)retire_poll();
	}
	region = two->gmem.regions[0].state;
	assert_int_equal(region->open_pages, used);
	gmem_destroy(&two->gmem);
	pager_vm_destroy(two->vm);
	two->vm = NULL;
	before = window_lock.next.only;
	while (retire_buries()) {
		(void)work_some();
		(void)retire_poll();
	}
	/*
	 * One hold of the lock for each of its pages, and for each 64 frames: its frames are the
	 * last of the window. And for each of two regions, one for each 64 frames to write back
	 * what others have replaced.
	 */
	assert_in_range(window_lock.next.only - before, used, used + 3 * (frames / 64 + 1) + 10);
}

/*
 * All pages of one VM are sealed, also held frames and frames that the door has written; not the
 * other VM's.
 */
TEST(test_seal_vm, pager_setup, pager_teardown, (void *)&with_ad)
{
	struct guest *one = &guests[0], *two = &guests[1];
	struct gmem_faulter by = { .vcpu = 0, .place = 77 };
	uint64_t value = 0x6d61726b6572;

	pager_caps.accessed_dirty = *(const bool *)*state;
	ept_configure(&pager_caps);
	make_window(2 * FLOOR + 60);
	make_guest(one, 1);
	make_guest(two, 1);
	for (uint32_t i = 0; i < 100; i++) {
		guest_write(one, i, value);
	}
	guest_write(two, 5, 0x6f74686572);
	(void)guest_read(one, 200); /* absent */
	assert_int_equal(gmem_write(&one->gmem, gpa(address_of(150) + 8), &value, 8), 0);
	assert_int_equal(gmem_fault(&one->gmem, gpa(address_of(40)), GMEM_ACCESS_READ, &by),
			 GMEM_FAULT_FIXED); /* an instruction in progress holds it */
	assert_int_equal(frames_with(value), 101);
	pager_vm_seal(one->vm);
	assert_int_equal(count(one).clear_pages, 0);
	assert_int_equal(frames_with(value), 0);
	assert_false(is_mapped(one, 40));
	assert_int_equal(count(one).sealings, 101);
	assert_int_equal(count(two).clear_pages, 1);
	assert_true(is_mapped(two, 5));
	pager_vm_seal(one->vm); /* nothing is left to seal */
	assert_int_equal(count(one).sealings, 101);
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(guest_read(one, i), value);
	}
	assert_int_equal(guest_read(one, 150), value);
	assert_int_equal(guest_read(one, 200), 0);
	pager_vm_seal(one->vm); /* clean pages are dropped: their ciphertext is still right */
	assert_int_equal(count(one).sealings, 101);
	assert_int_equal(frames_with(value), 0);
	assert_int_equal(guest_read(one, 99), value);
	assert_int_equal(guest_read(two, 5), 0x6f74686572);
}
TEST_AGAIN(test_seal_vm, pager_setup, pager_teardown, (void *)&without_ad);

/* --- The order: CPU 1 runs the guest while CPU 0 evicts --- */

static struct {
	struct guest *guest;
	uint32_t page;
	hpa_t frame; /* the frame in CPU 1's TLB entry */
	unsigned kicks;
} running;

/* Makes that CPU run the guest, with what its TLB holds. */
static void be_inside(uint32_t cpu, struct ept_root *root)
{
	percpu_get(cpu)->guest_root.only = root;
	root->cpus[cpu / 64].only |= BIT(cpu % 64);
}

/* The last moment before CPU 1 leaves the guest: it still writes through its TLB entry. */
static void late_write(uint32_t cpu)
{
	struct ept_root *root = &running.guest->gmem.root;

	assert_int_equal(cpu, 1);
	if (running.frame.v != 0 && !is_mapped(running.guest, running.page)) {
		uint64_t value = 0xdeadbeef;

		assert_int_equal(crypto.encryptions, 0);
		memcpy((uint8_t *)fake_frame(running.frame) + 8, &value, 8);
		running.frame = hpa(0);
		running.kicks++;
	}
	be_inside(1, root); /* enters again at once, with the entries that its TLB then holds */
	root->seen[1].only = root->generation.only;
}

TEST(test_late_write, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];
	uint8_t byte;

	make_window(FLOOR);
	make_guest(guest, 1);
	guest_write(guest, 5, 0x11);
	running.guest = guest;
	running.page = 5;
	running.kicks = 0;
	running.frame = hpa(*raw_entry(&guest->gmem.root, address_of(5)) & 0x3ffffffff000);
	guest->gmem.root.seen[1].only = guest->gmem.root.generation.only;
	be_inside(1, &guest->gmem.root);
	fake_kick_hook = late_write;
	(void)guest_read(guest, 299);
	for (uint32_t i = 10; i < VM_PAGES && running.kicks == 0; i++) {
		assert_int_equal(gmem_read(&guest->gmem, gpa(address_of(i)), &byte, 1), 0);
	}
	assert_int_equal(running.kicks, 1);
	percpu_get(1)->guest_root.only = NULL;
	assert_int_equal(crypto.encryptions, 1);
	assert_int_equal(guest_read(guest, 5), 0xdeadbeef);
}

/*
 * While CPU 1 is not shot down yet, no other CPU may evict the pages that lost their entries. None
 * waits for the shoot-down either, unless it needs one of these pages.
 */
static void look_at_frame(uint32_t cpu)
{
	struct sealed_region *region = running.guest->gmem.regions[0].state;
	struct window_frame *frame = window_frame(*store_opened(region, running.page) - 1);

	assert_true(lock_try(&window_lock, LOCK_WINDOW));
	assert_true(window_is_busy(frame));
	assert_int_equal(window_busy, 1);
	lock_drop(&window_lock);
	/* A fault that has begun does not map such a page again. */
	assert_int_equal(region->mappings[0].changes, 1);
	be_inside(1, &running.guest->gmem.root);
	running.guest->gmem.root.seen[1].only = running.guest->gmem.root.generation.only;
	running.kicks++;
}

TEST(pages_of_a_mapping_are_busy_until_the_shootdown, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	make_window(FLOOR);
	make_guest(guest, 1);
	guest_write(guest, 5, 0x11);
	running.guest = guest;
	running.page = 5;
	running.kicks = 0;
	guest->gmem.root.seen[1].only = guest->gmem.root.generation.only;
	be_inside(1, &guest->gmem.root);
	fake_kick_hook = look_at_frame;
	pager_share_move(guest->gmem.regions[0].state, &guest->gmem, gpa(2 * SIZE_1G));
	assert_int_equal(running.kicks, 1);
	assert_int_equal(window_busy, 0);
	percpu_get(1)->guest_root.only = NULL;
	assert_false(is_mapped(guest, 5));
	/* What the guest wrote is sealed later, although no entry is dirty any more. */
	guest->gmem.regions[0].base = gpa(2 * SIZE_1G);
	pager_vm_seal(guest->vm);
	assert_int_equal(crypto.encryptions, 1);
}

/*
 * CPU 1 enters again after each kick and uses every page that it can: none may be about to be
 * evicted.
 */
static void use_all(uint32_t cpu)
{
	struct ept_root *root = &running.guest->gmem.root;

	for (uint32_t i = 0; i < VM_PAGES; i++) {
		if (is_mapped(running.guest, i)) {
			running.guest->reached[i] = root->generation.only;
		}
	}
	be_inside(cpu, root);
	root->seen[cpu].only = root->generation.only;
	running.kicks++;
}

TEST(test_late_translation, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	make_window(FLOOR + 40);
	make_guest(guest, 1);
	running.guest = guest;
	running.kicks = 0;
	be_inside(1, &guest->gmem.root);
	fake_kick_hook = use_all;
	for (uint32_t i = 0; i < 3 * VM_PAGES; i++) {
		guest_write(guest, i % VM_PAGES, i);
	}
	assert_int_equal(running.kicks, count(guest).shoot_downs);
	assert_true(crypto.encryptions > running.kicks);
	percpu_get(1)->guest_root.only = NULL;
}

/* --- Failures --- */

TEST(test_no_memory, pager_setup, pager_teardown)
{
	struct gmem_faulter by = { 0, 1 };
	struct guest *guest = &guests[0];
	struct pager_vm *vm;

	fake_frames_fail_after(3);
	assert_int_equal(pager_init(10), ERR_NOMEM);
	fake_frames_fail_after(-1);
	fake_pages_fail_after(0);
	assert_int_equal(pager_init(10), ERR_NOMEM);
	fake_pages_fail_after(-1);
	assert_int_equal(pager_init(0), ERR_RANGE);
	make_window(2 * FLOOR);
	make_guest(guest, 1);
	fake_pages_fail_after(0);
	assert_int_equal(pager_vm_create("x", 1, NULL, false, &vm), ERR_NOMEM);
	assert_int_equal(gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(SIZE_1G * 4), SIZE_2M),
			 ERR_NOMEM);
	assert_int_equal(gmem_fault(&guest->gmem, gpa(0), GMEM_ACCESS_READ, &by),
			 GMEM_FAULT_FIXED); /* tables for it were set aside */
	fake_pages_fail_after(-1);
	fake_frames_fail_after(3);
	assert_int_equal(gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(SIZE_1G * 4), SIZE_2M),
			 ERR_NOMEM);
	fake_frames_fail_after(-1);
	assert_int_equal(gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(0x1000), SIZE_2M),
			 ERR_EXISTS);
	guest_write(guest, 0, 9);
	assert_int_equal(guest_read(guest, 0), 9);
}

/* A VM whose RAM is all in clear by its configuration has an account, and nothing to seal. */
TEST(test_seal_without_regions, pager_setup, pager_teardown)
{
	struct pager_vm *vm;

	make_window(2 * FLOOR);
	assert_int_equal(pager_vm_create("clear", 1, NULL, false, &vm), 0);
	pager_vm_seal(vm);
	pager_vm_destroy(vm);
}

/* What other CPUs see in the middle of an exchange: the lock is free, and whom they wait for. */
static void look_at_exchange(struct guest *guest, uint32_t page)
{
	struct sealed_region *region = guest->gmem.regions[page < SPLIT ? 0 : 1].state;
	struct window_frame *frame = window_frame(
		*store_opened(region, page < SPLIT ? page : page - SPLIT) - 1);

	assert_true(lock_try(&window_lock, LOCK_WINDOW));
	lock_drop(&window_lock);
	assert_true(window_is_busy(frame));
	assert_true(region->exchanges != 0);
	assert_int_equal(region->mappings[0].shoot_downs, 1);
	crypto_hook = NULL;
}

/* Each CPU, which is a thread here, has its own clock. */
static ATOMIC(uint32_t) clock_reads[2];

uint64_t fake_rdtsc(void)
{
	return 100ul * atomic_add(&clock_reads[fake_cpu()], 1);
}

static pthread_t waiter;

static void *wait_as_cpu_1(void *frame)
{
	fake_set_cpu(1);
	lock_take(&window_lock, LOCK_WINDOW);
	pager_let_others_end();
	pager_wait(frame);
	lock_drop(&window_lock);
	return NULL;
}

/* CPU 1 wants the page that is being sealed, and begins to wait before the exchange goes on. */
static void let_another_wait(struct guest *guest, uint32_t page)
{
	struct sealed_region *region = guest->gmem.regions[0].state;

	assert_true(page < SPLIT);
	crypto_hook = NULL;
	pthread_create(&waiter, NULL, wait_as_cpu_1, window_frame(*store_opened(region, page) - 1));
	for (int i = 0; i < 10000000 && atomic_load(&clock_reads[1]) == 0; i++) {
		sched_yield();
	}
}

TEST(a_cpu_that_waits_for_a_page_counts_it, pager_setup, pager_teardown)
{
	fake_set_cpu_count(2);
	clock_reads[0].only = clock_reads[1].only = 0;
	make_window(FLOOR);
	make_guest(&guests[0], 1);
	for (uint32_t i = 0; i < FLOOR; i++) {
		guest_write(&guests[0], i, i + 1);
	}
	crypto_hook = let_another_wait;
	guest_write(&guests[0], FLOOR, 1);
	assert_null(crypto_hook);
	pthread_join(waiter, NULL);
	/* Until the exchange ends, and then once for the page, which is not busy any more. */
	assert_int_equal(percpu_get(1)->wait_ticks[WAIT_PAGE].only, 100);
	assert_int_equal(percpu_get(1)->wait_ticks[WAIT_FRAME].only, 100);
	assert_int_equal(percpu_get(0)->wait_ticks[WAIT_PAGE].only, 0);
}

TEST(an_exchange_releases_the_lock_and_can_be_waited_for, pager_setup, pager_teardown)
{
	struct guest *guest = &guests[0];

	make_window(FLOOR);
	make_guest(guest, 1);
	crypto_hook = look_at_exchange;
	for (uint32_t i = 0; i <= FLOOR; i++) {
		guest_write(guest, i, i + 1);
	}
	assert_null(crypto_hook);
	for (uint32_t i = 0; i < window_frame_count(); i++) {
		assert_false(window_is_busy(window_frame(i)));
	}
	for (uint32_t i = 0; i < 2; i++) {
		const struct sealed_region *region = guest->gmem.regions[i].state;

		assert_int_equal(region->exchanges, 0);
		assert_int_equal(region->mappings[0].shoot_downs, 0);
	}
}
