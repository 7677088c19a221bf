/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory under a KeyID: ept/ram_plain.c uses it, ept/retire.c ends it. The fakes check the order:
 * fake_keyslot.c fails a test that kills a key before the caches were flushed.
 */
#include "tests/unit/test.h"
#include "crypto/keyslot.h"
#include "ept/gmem_priv.h"
#include "ept/retire.h"
#include "tests/unit/fake_keyslot.h"
#include "vmm/base/err.h"
#include "vmm/host/cache.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"

#define SECOND 1000000000ul

static const struct ept_caps all_caps = {
	.page_2m = true,
	.page_1g = true,
	.accessed_dirty = true,
	.invept_single = true,
	.structures_wb = true,
	.phys_bits = 46,
};

static struct gmem gmem;
static keyid_t keyid;
static unsigned invepts;

bool fake_invept(uint64_t type, uint64_t eptp)
{
	invepts++;
	return true;
}

static int setup(void **state)
{
	(void)fake_setup(state);
	fake_keyslots = 15;
	fake_set_cpu_count(2);
	keyid_configure(46, 4);
	ept_configure(&all_caps);
	fake_tsc = 10 * SECOND;
	cache_flush_all(); /* as after bring-up */
	fake_tsc += 2 * SECOND;
	invepts = 0;
	return 0;
}

/* Makes a VM's memory under its own KeyID. */
static int make(uint64_t bytes)
{
	assert_int_equal(gmem_init(&gmem), 0);
	assert_int_equal(keyslot_take(KEYSLOT_RANDOM, NULL, 0, "vm", &keyid), 0);
	gmem_use_keyid(&gmem, keyid);
	return gmem_add_ram_plain(&gmem, gpa(0), bytes, SIZE_1G);
}

static enum keyslot_state state_of(keyid_t slot)
{
	struct keyslot_info info;

	assert_int_equal(keyslot_get(slot, &info), 0);
	return info.state;
}

/* Row 29: what the guest sees and what the hypervisor zeroes and copies uses one KeyID. */
TEST(test_one_keyid_for_guest_and_door, setup, fake_teardown)
{
	struct ept_leaf leaf;
	uint64_t word = 5;

	assert_int_equal(make(SIZE_2M), 0);
	assert_int_equal(gmem_fault(&gmem, gpa(0x1000), GMEM_ACCESS_WRITE, NULL), GMEM_FAULT_FIXED);
	assert_int_equal(fake_temp_keyid(), keyid);
	assert_int_equal(ept_walk(&gmem.root, gpa(0x1000), &leaf), 0);
	assert_int_equal(leaf.attr.keyid, keyid);
	assert_int_equal(leaf.leaf_bytes, SIZE_2M);
	assert_int_equal(gmem_write(&gmem, gpa(0x3000), &word, 8), 0);
	assert_int_equal(fake_temp_keyid(), keyid);
	gmem_destroy(&gmem);
	assert_true(fake_retire_all());
}

/* Shoot-down, flush, key, frames: each step in its turn, and no page is accessed. */
TEST(test_retire_order, setup, fake_teardown)
{
	const unsigned flushes = fake_wbinvd_count;
	uint64_t maps;

	assert_int_equal(make(4 * SIZE_2M), 0);
	for (uint64_t at = 0; at < 4 * SIZE_2M; at += SIZE_2M) {
		assert_int_equal(gmem_fault(&gmem, gpa(at), GMEM_ACCESS_WRITE, NULL),
				 GMEM_FAULT_FIXED);
	}
	maps = fake_temp_maps();
	gmem_destroy(&gmem);
	assert_int_equal(state_of(keyid), KEYSLOT_RETIRING);
	assert_int_equal(fake_frames_live(), 4 * 512); /* they are not free yet */
	assert_int_equal(fake_wbinvd_count, flushes);
	assert_true(retire_pending());
	assert_false(retire_poll());
	assert_int_equal(fake_wbinvd_count, flushes + 2); /* on each CPU */
	assert_int_equal(state_of(keyid), KEYSLOT_DEAD);
	/* So far the time did not depend on the size. */
	assert_int_equal(fake_frames_live(), 4 * 512);
	assert_true(retire_pending());
	assert_true(fake_retire_all());
	assert_int_equal(fake_wbinvd_count, flushes + 2);
	assert_int_equal(fake_frames_live(), 0);
	assert_int_equal(fake_temp_maps(), maps);
	assert_false(retire_pending());
	assert_false(retire_poll());
}

static unsigned closes;

/* A CPU that evicts a page of the region may be about to shoot the root down. */
static void close_with_root(struct gmem_region *region)
{
	assert_int_not_equal(gmem.root.pml4.v, 0);
	closes++;
}

static bool bury_at_once(const struct ept_root *root, struct gmem_region *region,
			 enum gmem_bury how)
{
	return true;
}

TEST(a_region_is_closed_before_the_root_changes, setup, fake_teardown)
{
	static const struct region_ops ops = { .close = close_with_root, .bury = bury_at_once };
	const struct gmem_region region = { .bytes = PAGE_SIZE, .ops = &ops };

	closes = 0;
	assert_int_equal(gmem_init(&gmem), 0);
	gmem_region_insert(&gmem, &region);
	gmem_destroy(&gmem);
	assert_int_equal(closes, 1);
	assert_int_equal(gmem.root.pml4.v, 0);
	while (retire_pending()) {
		(void)retire_poll();
		(void)work_some();
	}
}

/* Tables are freed a few at a time, so that no VM waits for those of a large VM. */
TEST(test_tables_go_in_steps, setup, fake_teardown)
{
	const uint64_t live = fake_pages_live(), parts = 64;
	unsigned steps = 0;

	assert_int_equal(make(PAGE_SIZE), 0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(SIZE_2M), parts * SIZE_2M, PAGE_SIZE), 0);
	for (uint64_t i = 1; i <= parts; i++) {
		assert_int_equal(gmem_fault(&gmem, gpa(i * SIZE_2M), GMEM_ACCESS_READ, NULL),
				 GMEM_FAULT_FIXED);
	}
	gmem_destroy(&gmem);
	assert_false(retire_poll()); /* the key is dead */
	for (;;) {
		const uint64_t before = fake_pages_live();

		if (!work_some()) {
			break;
		}
		steps++;
		assert_in_range(before - fake_pages_live(), 1, 20);
		assert_int_equal(retire_poll(), !work_waits());
	}
	assert_int_equal(steps, 7); /* two regions; 64 page tables and three above them */
	assert_int_equal(fake_pages_live(), live);
}

/* Two VMs that end share a flush; the next ones wait until a second has passed. */
TEST(test_one_flush_a_second, setup, fake_teardown)
{
	struct gmem first;
	keyid_t first_keyid;
	const unsigned flushes = fake_wbinvd_count;

	assert_int_equal(make(PAGE_SIZE), 0);
	first = gmem;
	first_keyid = keyid;
	assert_int_equal(make(PAGE_SIZE), 0);
	gmem_destroy(&first);
	gmem_destroy(&gmem);
	assert_true(fake_retire_all());
	assert_int_equal(fake_wbinvd_count, flushes + 2);
	assert_int_equal(state_of(first_keyid), KEYSLOT_DEAD);
	assert_int_equal(state_of(keyid), KEYSLOT_DEAD);

	assert_int_equal(make(PAGE_SIZE), 0);
	gmem_destroy(&gmem);
	fake_tsc += SECOND - 1;
	assert_false(retire_poll());
	assert_true(retire_pending());
	fake_tsc += 1;
	assert_true(fake_retire_all());
}

/* The machine's end does not wait for that second. */
TEST(test_the_end_does_not_wait, setup, fake_teardown)
{
	const unsigned flushes = fake_wbinvd_count;

	retire_finish(); /* nothing is there */
	assert_int_equal(fake_wbinvd_count, flushes);
	assert_int_equal(make(PAGE_SIZE), 0);
	gmem_destroy(&gmem);
	assert_true(fake_retire_all());
	assert_int_equal(make(PAGE_SIZE), 0);
	gmem_destroy(&gmem);
	assert_false(retire_poll());
	assert_int_equal(state_of(keyid), KEYSLOT_RETIRING);
	retire_finish();
	assert_int_equal(state_of(keyid), KEYSLOT_DEAD);
	assert_int_equal(fake_wbinvd_count, flushes + 4); /* two, on each CPU */
	assert_true(fake_retire_all());
}

/*
 * A key that cannot be killed can still decrypt the memory: that is zeroed, and the KeyID is never
 * used again.
 */
TEST(test_quarantine_wipes, setup, fake_teardown)
{
	static const uint64_t secret = 0x7365637265747321;
	struct ept_leaf leaf;
	uint64_t word;

	assert_int_equal(make(SIZE_2M), 0);
	assert_int_equal(gmem_write(&gmem, gpa(0x5000), &secret, 8), 0);
	assert_int_equal(ept_walk(&gmem.root, gpa(0x5000), &leaf), 0);
	gmem_destroy(&gmem);
	fake_keyslot_kill_fails = true;
	assert_true(fake_retire_all());
	assert_int_equal(state_of(keyid), KEYSLOT_QUARANTINED);
	assert_int_equal(fake_temp_keyid(), KEYID_PLATFORM);
	fake_frames_set_count(FAKE_FRAME_COUNT);
	assert_int_equal(frames_alloc(512, 512, &leaf.hpa), 0); /* the same frames again */
	memcpy(&word, (char *)fake_frame(hpa(leaf.hpa.v)) + 0x5000, 8);
	assert_int_not_equal(word, secret);
	frames_free(leaf.hpa, 512);
}

/*
 * If the KeyID does not encrypt, the memory stays readable without its key: what was touched is
 * zeroed.
 */
TEST(test_no_encrypt_wipes, setup, fake_teardown)
{
	static const uint64_t words = 0x636c656172746578;
	struct ept_leaf leaf;
	uint64_t word, maps;
	keyid_t next;

	assert_int_equal(gmem_init(&gmem), 0);
	assert_int_equal(keyslot_take(KEYSLOT_NO_ENCRYPT, NULL, 0, "vm", &keyid), 0);
	gmem_use_keyid(&gmem, keyid);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), 2 * SIZE_2M, SIZE_2M), 0);
	assert_int_equal(gmem_write(&gmem, gpa(0x5000), &words, 8), 0);
	assert_int_equal(ept_walk(&gmem.root, gpa(0), &leaf), 0);
	gmem_destroy(&gmem);
	assert_false(retire_poll()); /* the key is dead: the next VM may have the KeyID at once */
	assert_int_equal(keyslot_take(KEYSLOT_RANDOM, NULL, 0, "next", &next), 0);
	assert_int_equal(next, keyid);
	maps = fake_temp_maps();
	assert_true(fake_retire_all());
	assert_int_equal(fake_temp_maps(), maps + 512);
	assert_int_equal(fake_temp_keyid(), KEYID_PLATFORM);
	fake_frames_set_count(FAKE_FRAME_COUNT);
	assert_int_equal(frames_alloc(512, 512, &leaf.hpa), 0); /* the same frames again */
	memcpy(&word, (char *)fake_frame(leaf.hpa) + 0x5000, 8);
	assert_int_not_equal(word, words);
	frames_free(leaf.hpa, 512);
	keyslot_unuse(next);
	fake_tsc += SECOND;
	assert_true(fake_retire_all());
}

/* Row 34: frames that KeyID 0 used are flushed before another KeyID's first access. */
TEST(test_assign_flushes_stale_frames, setup, fake_teardown)
{
	unsigned flushes = fake_wbinvd_count;
	hpa_t frame;

	assert_int_equal(make(SIZE_2M), 0); /* flushed at bring-up: not again */
	assert_int_equal(fake_wbinvd_count, flushes);
	gmem_destroy(&gmem);
	assert_true(fake_retire_all());
	assert_int_equal(frames_alloc(1, 1, &frame), 0);
	frames_free(frame, 1);

	assert_int_equal(make(SIZE_2M), ERR_AGAIN); /* too soon for the next flush */
	gmem_destroy(&gmem);
	fake_tsc += SECOND;
	flushes = fake_wbinvd_count;
	assert_int_equal(make(SIZE_2M), 0);
	assert_int_equal(fake_wbinvd_count, flushes + 2);
	gmem_destroy(&gmem);
	fake_tsc += SECOND;
	assert_true(fake_retire_all());
}

/* A VM in clear that touches a page of its memory or none; then a VM under a KeyID. */
static int clear_then_keyed(bool touches)
{
	const uint64_t word = 1;
	struct gmem clear;

	assert_int_equal(gmem_init(&clear), 0);
	assert_int_equal(gmem_add_ram_plain(&clear, gpa(0), 4 * PAGE_SIZE, PAGE_SIZE), 0);
	if (touches) {
		assert_int_equal(gmem_write(&clear, gpa(PAGE_SIZE), &word, 8), 0);
	}
	gmem_destroy(&clear);
	assert_true(fake_retire_all());
	return make(4 * PAGE_SIZE);
}

/*
 * The memory of a VM in clear was zeroed, and no line of it is cached: the fakes fail the test when
 * frames are used under another KeyID than their cached lines. The next owner needs no flush.
 */
TEST(test_clear_leaves_no_lines, setup, fake_teardown)
{
	const unsigned flushes = fake_wbinvd_count;
	const uint64_t word = 2;

	assert_int_equal(clear_then_keyed(true), 0);
	assert_int_equal(gmem_write(&gmem, gpa(PAGE_SIZE), &word, 8), 0);
	assert_int_equal(fake_wbinvd_count, flushes);
	gmem_destroy(&gmem);
	assert_true(fake_retire_all());
}

/* If the memory was not touched, lines of the use before are still cached. */
TEST(test_untouched_stays_stale, setup, fake_teardown)
{
	const uint64_t word = 2;
	hpa_t frame;

	assert_int_equal(frames_alloc(1, 1, &frame), 0);
	gmem_fill_frames(GMEM_SLOT_CLEAR, keyed(frame, KEYID_PLATFORM), PAGE_SIZE, 5);
	frames_free(frame, 1);
	cache_flush_all();
	assert_int_equal(clear_then_keyed(false), 0); /* flushed since then */
	gmem_destroy(&gmem);
	fake_tsc += SECOND;
	assert_true(fake_retire_all());

	assert_int_equal(frames_alloc(1, 1, &frame), 0);
	gmem_fill_frames(GMEM_SLOT_CLEAR, keyed(frame, KEYID_PLATFORM), PAGE_SIZE, 5);
	frames_free(frame, 1);
	assert_int_equal(clear_then_keyed(false), ERR_AGAIN);
	gmem_destroy(&gmem);
	fake_tsc += SECOND;
	assert_int_equal(clear_then_keyed(false), 0);
	assert_int_equal(gmem_write(&gmem, gpa(0), &word, 8), 0);
	gmem_destroy(&gmem);
	fake_tsc += SECOND;
	assert_true(fake_retire_all());
}

/* A KeyID that was given up before any memory used it does not wait for other VMs' ends. */
TEST(test_a_keyid_without_memory, setup, fake_teardown)
{
	keyid_t unused;

	assert_int_equal(keyslot_take(KEYSLOT_RANDOM, NULL, 0, "nobody", &unused), 0);
	keyslot_unuse(unused);
	assert_true(retire_pending());
	assert_true(fake_retire_all());
	assert_int_equal(state_of(unused), KEYSLOT_DEAD);
	assert_false(retire_pending());
}

/* Memory under KeyID 0 beside it is zeroed where it was touched. */
TEST(test_clear_range_is_zeroed, setup, fake_teardown)
{
	const uint64_t word = 7;
	struct ept_leaf leaf;
	uint64_t maps;

	assert_int_equal(make(SIZE_2M), 0);
	assert_int_equal(gmem_add_ram_clear(&gmem, gpa(SIZE_2M), SIZE_2M, PAGE_SIZE), 0);
	assert_int_equal(gmem_write(&gmem, gpa(SIZE_2M + 8), &word, 8), 0);
	assert_int_equal(ept_walk(&gmem.root, gpa(SIZE_2M), &leaf), 0);
	assert_int_equal(leaf.attr.keyid, KEYID_PLATFORM);
	gmem_destroy(&gmem);
	maps = fake_temp_maps();
	assert_true(fake_retire_all());
	assert_int_equal(fake_temp_maps(), maps + 1);
	assert_int_equal(fake_temp_keyid(), KEYID_PLATFORM);
}

/* A leaf of 1 GiB is made when its last part was zeroed, through "not present" and a shoot-down. */
TEST(test_1g_leaf_when_all_is_zeroed, setup, fake_teardown)
{
	const uint64_t last = SIZE_1G - SIZE_2M;
	struct ept_leaf leaf;
	uint64_t generation;

	assert_int_equal(make(SIZE_1G), 0);
	for (uint64_t at = 0; at < last; at += SIZE_2M) {
		assert_int_equal(gmem_fault(&gmem, gpa(at), GMEM_ACCESS_READ, NULL),
				 GMEM_FAULT_FIXED);
	}
	assert_int_equal(ept_walk(&gmem.root, gpa(0), &leaf), 0);
	assert_int_equal(leaf.leaf_bytes, SIZE_2M);
	generation = gmem.root.generation.only;
	assert_int_equal(gmem_fault(&gmem, gpa(last), GMEM_ACCESS_READ, NULL), GMEM_FAULT_FIXED);
	assert_int_equal(ept_walk(&gmem.root, gpa(last), &leaf), 0);
	assert_int_equal(leaf.leaf_bytes, SIZE_1G);
	assert_int_equal(leaf.attr.keyid, keyid);
	assert_int_equal(gmem.root.generation.only, generation + 1);
	assert_int_equal(gmem.resident_bytes, SIZE_1G);
	gmem_destroy(&gmem);
	assert_true(fake_retire_all());
}

/*
 * Buries everything; no step zeroes more than GMEM_STEP_BYTES. Returns how many steps zeroed
 * memory.
 */
static unsigned bury_in_steps(void)
{
	unsigned steps = 0;
	bool done;

	do {
		const uint64_t maps = fake_temp_maps();

		(void)work_some();
		done = retire_poll();
		assert_in_range(fake_temp_maps() - maps, 0, GMEM_STEP_BYTES / PAGE_SIZE);
		steps += fake_temp_maps() != maps;
	} while (!done);
	return steps;
}

/* Even if a leaf is large. */
TEST(test_touched_memory_ends_in_steps, setup, fake_teardown)
{
	assert_int_equal(gmem_init(&gmem), 0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), SIZE_1G, SIZE_1G), 0);
	for (uint64_t at = 0; at < SIZE_1G; at += SIZE_2M) {
		assert_int_equal(gmem_fault(&gmem, gpa(at), GMEM_ACCESS_READ, NULL),
				 GMEM_FAULT_FIXED);
	}
	gmem_destroy(&gmem);
	assert_int_equal(bury_in_steps(), SIZE_1G / GMEM_STEP_BYTES);
}

/* Even if an extent is large: all of it, touched or not. */
TEST(test_all_memory_ends_in_steps, setup, fake_teardown)
{
	assert_int_equal(make(8 * SIZE_2M), 0);
	gmem_destroy(&gmem);
	fake_keyslot_kill_fails = true;
	fake_tsc += SECOND;
	assert_int_equal(bury_in_steps(), 8 * SIZE_2M / GMEM_STEP_BYTES);
}

/* --- Little memory, line by line --- */

static uint64_t lines_of[16]; /* by KeyID */

void fake_clflush(const void *address)
{
	if (fake_temp_mapped() == 0) {
		return; /* zeroing of a host page */
	}
	assert_true(fake_temp_mapped() == 1);
	assert_int_equal((uintptr_t)address % 64, 0);
	lines_of[fake_temp_keyid()]++;
}

static uint64_t lines_wanted;

static void check_lines(keyid_t dying)
{
	assert_int_equal(lines_of[dying], lines_wanted);
}

static void with_line_flush(void)
{
	fake_cpuid_set(0, 0, 7, 0, 0, 0);
	fake_cpuid_set(7, 0, 0, 1u << 23, 0, 0);
	cache_init();
	memset(lines_of, 0, sizeof(lines_of));
	fake_keyslot_lines_flushed = check_lines;
}

/*
 * Touched pages are flushed through the VM's own KeyID before the key dies; no other VM loses a
 * line.
 */
TEST(test_little_memory_by_lines, setup, fake_teardown)
{
	const unsigned flushes = fake_wbinvd_count;
	struct gmem first;
	bool stale;
	hpa_t frame;

	with_line_flush();
	lines_wanted = 2 * SIZE_2M / 64;
	assert_int_equal(make(8 << 20), 0);
	assert_int_equal(gmem_fill(&gmem, gpa(SIZE_2M - 1), 1, 2), 0);
	gmem_destroy(&gmem);
	assert_true(fake_retire_all());
	/* The frames need no flush before their next owner's first access. */
	assert_int_equal(frames_alloc_keyed(1, 1, &frame, &stale), 0);
	assert_false(stale);
	frames_free(frame, 1);
	fake_tsc += SECOND;
	cache_flush_all();
	memset(lines_of, 0, sizeof(lines_of));
	/* Two VMs at once, and again within a second. */
	assert_int_equal(make(4 << 20), 0);
	first = gmem;
	assert_int_equal(gmem_fill(&first, gpa(SIZE_2M - 1), 1, 2), 0);
	assert_int_equal(make(8 << 20), 0);
	assert_int_equal(gmem_add_ram_clear(&gmem, gpa(8 << 20), PAGE_SIZE, PAGE_SIZE), 0);
	assert_int_equal(gmem_fill(&gmem, gpa(8 << 20), 1, 1), 0);
	assert_int_equal(gmem_fill(&gmem, gpa(SIZE_2M - 1), 1, 2), 0);
	gmem_destroy(&first);
	gmem_destroy(&gmem);
	assert_true(fake_retire_all());
	assert_int_equal(fake_wbinvd_count, flushes + 2); /* the ones of cache_flush_all */
	/* But memory in clear was zeroed, also in DRAM. */
	assert_int_equal(lines_of[KEYID_PLATFORM], PAGE_SIZE / 64);
	assert_int_equal(state_of(keyid), KEYSLOT_DEAD);
}

/* More than the limit, or a KeyID whose memory is not known here: all caches are flushed. */
TEST(test_not_by_lines, setup, fake_teardown)
{
	const unsigned flushes = fake_wbinvd_count;
	keyid_t unused;

	with_line_flush();
	assert_int_equal(make((16 << 20) + PAGE_SIZE), 0);
	gmem_destroy(&gmem);
	assert_true(fake_retire_all());
	assert_int_equal(fake_wbinvd_count, flushes + 2);
	assert_int_equal(make(PAGE_SIZE), 0);
	assert_int_equal(keyslot_take(KEYSLOT_RANDOM, NULL, 0, "moved away from", &unused), 0);
	keyslot_unuse(unused);
	gmem_destroy(&gmem);
	assert_false(retire_poll());
	fake_tsc += SECOND;
	assert_true(fake_retire_all());
	assert_int_equal(fake_wbinvd_count, flushes + 4);
	assert_int_equal(lines_of[keyid] + lines_of[unused], 0);
}
