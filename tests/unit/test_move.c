/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that moves from one KeyID to another (ept/move.c). A frame of the fake machine has one
 * content, whatever the KeyID. So the tests check which code maps, flushes and writes a page, and
 * when.
 */
#include "tests/unit/test.h"
#include "crypto/keyslot.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "ept/gmem_priv.h"
#include "ept/move.h"
#include "tests/unit/fake_frames.h"
#include "tests/unit/fake_keyslot.h"
#include "vmm/base/err.h"
#include "vmm/host/cache.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"

#define SECOND	  1000000000ul
#define LINES	  (PAGE_SIZE / 64)
#define CLEAR_GPA (2 * SIZE_2M)

static const struct ept_caps all_caps = {
	.page_2m = true,
	.page_1g = true,
	.accessed_dirty = true,
	.invept_single = true,
	.structures_wb = true,
	.phys_bits = 46,
};

static struct gmem gmem;
static keyid_t first; /* the KeyID of the memory before the move */

/* The condition for each flushed line: its page is mapped under this KeyID, and not written yet. */
static struct {
	keyid_t keyid;
	bool sealed; /* content before the move */
	unsigned count;
} flushes;

bool fake_invept(uint64_t type, uint64_t eptp)
{
	return true;
}

/* The first word of a page in clear is its guest-physical address, plus one. */
static bool is_plain(uint64_t word)
{
	return word == 0 || (word % PAGE_SIZE == 1 && word < SIZE_1G * 2);
}

/* The bytes of the last random key, on its user's stack: all are equal, and differ for each key. */
static struct {
	const volatile uint8_t *at;
	uint8_t byte;
} drawn = { .byte = 0xa0 };

int rng_bytes(void *buf, size_t bytes)
{
	memset(buf, ++drawn.byte, bytes);
	return 0;
}

int page_key_set(struct page_key *out, const uint8_t *key, size_t bytes)
{
	assert_int_equal(bytes, 64);
	drawn.at = key;
	memset(out, 0, sizeof(*out));
	out->xts.opaque[0] = key[0];
	return 0;
}

void fake_clflush(const void *address)
{
	const uint64_t page = (uint64_t)(uintptr_t)address & PAGE_MASK;
	uint64_t word;

	if (!fake_temp_is_mapped(GMEM_SLOT_IN)) {
		return; /* a page that was zeroed, not moved */
	}
	assert_int_equal(fake_temp_keyid(), flushes.keyid);
	memcpy(&word, (const void *)(uintptr_t)page, sizeof(word));
	assert_int_equal(is_plain(word), !flushes.sealed);
	assert_int_equal((uintptr_t)address - page, flushes.count % LINES * 64);
	flushes.count++;
}

static void write_page(uint64_t at)
{
	const uint64_t word = at + 1;

	assert_int_equal(gmem_write(&gmem, gpa(at), &word, sizeof(word)), 0);
}

static uint64_t read_page(uint64_t at)
{
	uint64_t word;

	assert_int_equal(gmem_read(&gmem, gpa(at), &word, sizeof(word)), 0);
	return word;
}

static struct ept_leaf leaf_at(uint64_t at)
{
	struct ept_leaf leaf;

	assert_int_equal(ept_walk(&gmem.root, gpa(at), &leaf), 0);
	return leaf;
}

static enum keyslot_state state_of(keyid_t keyid)
{
	struct keyslot_info info;

	assert_int_equal(keyslot_get(keyid, &info), 0);
	return info.state;
}

static keyid_t take(void)
{
	keyid_t keyid;

	assert_int_equal(keyslot_take(KEYSLOT_RANDOM, NULL, 0, "vm", &keyid), 0);
	return keyid;
}

/* Two leaves of 2 MiB, one of which was touched, two pages of 4 KiB, and a range in clear. */
static int setup(void **state)
{
	(void)fake_setup(state);
	fake_keyslots = 15;
	keyid_configure(46, 4);
	ept_configure(&all_caps);
	fake_tsc = 10 * SECOND;
	cache_flush_all();
	fake_tsc += 2 * SECOND;
	assert_int_equal(gmem_init(&gmem), 0);
	first = take();
	gmem_use_keyid(&gmem, first);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), 2 * SIZE_2M, SIZE_2M), 0);
	assert_int_equal(gmem_add_ram_clear(&gmem, gpa(CLEAR_GPA), PAGE_SIZE, PAGE_SIZE), 0);
	assert_int_equal(
		gmem_add_ram_plain(&gmem, gpa(CLEAR_GPA + PAGE_SIZE), 7 * PAGE_SIZE, PAGE_SIZE), 0);
	write_page(0x5000);
	write_page(CLEAR_GPA);
	write_page(CLEAR_GPA + PAGE_SIZE);
	write_page(CLEAR_GPA + 7 * PAGE_SIZE);
	memset(&flushes, 0, sizeof(flushes));
	return 0;
}

static int teardown(void **state)
{
	gmem_destroy(&gmem);
	fake_tsc += 2 * SECOND;
	assert_true(fake_retire_all() || !retire_pending());
	return fake_teardown(state);
}

/* Runs a whole move. Returns how many steps it took. */
static unsigned run(keyid_t from, bool sealed)
{
	unsigned steps = 1;

	flushes.keyid = from;
	flushes.sealed = sealed;
	flushes.count = 0;
	while (!move_step(&gmem)) {
		steps++;
		assert_in_range(steps, 1, 2000);
	}
	return steps;
}

static void check_all(keyid_t keyid)
{
	assert_int_equal(read_page(0x5000), 0x5001);
	assert_int_equal(leaf_at(0x5000).attr.keyid, keyid);
	assert_int_equal(leaf_at(0x5000).leaf_bytes, SIZE_2M);
	assert_int_equal(read_page(CLEAR_GPA + PAGE_SIZE), CLEAR_GPA + PAGE_SIZE + 1);
	assert_int_equal(leaf_at(CLEAR_GPA + PAGE_SIZE).attr.keyid, keyid);
	assert_int_equal(read_page(CLEAR_GPA + 7 * PAGE_SIZE), CLEAR_GPA + 7 * PAGE_SIZE + 1);
	assert_int_equal(leaf_at(CLEAR_GPA + 7 * PAGE_SIZE).attr.keyid, keyid);
	assert_int_equal(read_page(CLEAR_GPA), CLEAR_GPA + 1);
	assert_int_equal(leaf_at(CLEAR_GPA).attr.keyid, KEYID_PLATFORM);
}

/*
 * All touched pages move, each flushed under the old KeyID; pages touched later use the new KeyID.
 */
TEST(test_rekey, setup, teardown)
{
	const keyid_t second = take();
	const uint64_t generation = gmem.root.generation.only;

	assert_int_equal(move_to_keyid(&gmem, second), 0);
	assert_int_equal(gmem.root.generation.only, generation + 1); /* before the first page */
	assert_int_equal(state_of(first), KEYSLOT_IN_USE);
	assert_int_equal(run(first, false), 4);
	assert_int_equal(flushes.count, 514 * LINES);
	assert_int_equal(move_pages(&gmem), 514);
	assert_int_equal(state_of(first), KEYSLOT_RETIRING);
	assert_int_equal(state_of(second), KEYSLOT_IN_USE);
	assert_false(move_is_on(&gmem));
	check_all(second);
	write_page(SIZE_2M);
	assert_int_equal(leaf_at(SIZE_2M).attr.keyid, second);
	fake_tsc += 2 * SECOND;
	assert_true(fake_retire_all());
	assert_int_equal(state_of(first), KEYSLOT_DEAD);
}

/* Parked: ciphertext under KeyID 0, no KeyID in use, and no access to the memory. */
TEST(test_park, setup, teardown)
{
	uint64_t word = 1;
	const uint8_t *frame;
	keyid_t second;

	assert_int_equal(move_to_park(&gmem), 0);
	assert_false(move_is_parked(&gmem));
	(void)run(first, false);
	assert_true(move_is_parked(&gmem));
	assert_int_equal(state_of(first), KEYSLOT_RETIRING);
	assert_int_equal(leaf_at(0x5000).attr.keyid, KEYID_PLATFORM);
	frame = fake_frame(leaf_at(0x5000).hpa);
	memcpy(&word, frame, sizeof(word));
	assert_int_not_equal(word, 0x5001);
	assert_int_equal(gmem_read(&gmem, gpa(0x5000), &word, 8), ERR_AGAIN);
	assert_int_equal(gmem_write(&gmem, gpa(SIZE_2M), &word, 8), ERR_AGAIN);
	/* A leaf of 4 KiB that the door knew before. */
	assert_int_equal(gmem_read(&gmem, gpa(CLEAR_GPA + 7 * PAGE_SIZE), &word, 8), ERR_AGAIN);
	fake_tsc += 2 * SECOND;
	assert_true(fake_retire_all());

	second = take();
	move_from_park(&gmem, second);
	(void)run(KEYID_PLATFORM, true);
	assert_false(move_is_on(&gmem));
	check_all(second);
}

/* The key's bytes do not stay on the stack. */
TEST(test_park_stack, setup, teardown)
{
	int err = move_to_park(&gmem);
	size_t left = fake_left_on_stack(drawn.at, 64, drawn.byte);

	assert_int_equal(err, 0);
	/* Functions called since may have left some equal bytes by chance. */
	assert_in_range(left, 0, 8);
	(void)run(first, false);
}

/* Equal pages differ when they are parked, and so do two parkings of the same page. */
TEST(test_park_twice, setup, teardown)
{
	uint8_t once[2][16], twice[16];
	keyid_t second;

	assert_int_equal(move_to_park(&gmem), 0);
	(void)run(first, false);
	memcpy(once[0], fake_frame(leaf_at(0x8000).hpa), 16); /* both pages were zero */
	memcpy(once[1], fake_frame(leaf_at(0x9000).hpa), 16);
	assert_memory_not_equal(once[0], once[1], 16);
	second = take();
	move_from_park(&gmem, second);
	(void)run(KEYID_PLATFORM, true);
	assert_int_equal(move_to_park(&gmem), 0);
	(void)run(second, false);
	memcpy(twice, fake_frame(leaf_at(0x8000).hpa), 16);
	assert_memory_not_equal(once[0], twice, 16);
}

/*
 * The VM ends during a move: both keys are killed, or the one key that there is. Teardown ends the
 * rest.
 */
TEST(test_end_in_the_middle, setup, teardown)
{
	const keyid_t second = take();

	assert_int_equal(move_to_keyid(&gmem, second), 0);
	flushes.keyid = first;
	assert_false(move_step(&gmem));
	gmem_destroy(&gmem);
	assert_int_equal(state_of(first), KEYSLOT_RETIRING);
	assert_int_equal(state_of(second), KEYSLOT_RETIRING);
}

/*
 * So little memory would be flushed line by line, but not here: lines of both KeyIDs may be cached,
 * and it is not known any more which part of the memory has moved. The fakes fail a test that kills
 * a key after such a flush.
 */
TEST(test_end_in_the_middle_flushes_all, setup, teardown)
{
	unsigned wbinvds;

	fake_cpuid_set(0, 0, 7, 0, 0, 0);
	fake_cpuid_set(7, 0, 0, 1u << 23, 0, 0);
	cache_init();
	wbinvds = fake_wbinvd_count;
	assert_int_equal(move_to_keyid(&gmem, take()), 0);
	flushes.keyid = first;
	assert_false(move_step(&gmem));
	gmem_destroy(&gmem);
	fake_tsc += 2 * SECOND;
	assert_true(fake_retire_all());
	assert_true(fake_wbinvd_count > wbinvds);
	assert_int_equal(state_of(first), KEYSLOT_DEAD);
}

TEST(test_end_while_parked, setup, teardown)
{
	assert_int_equal(move_to_park(&gmem), 0);
	(void)run(first, false);
	fake_tsc += 2 * SECOND;
	assert_true(fake_retire_all());
	assert_int_equal(state_of(first), KEYSLOT_DEAD);
}

/* One of two keys cannot be killed: the memory that it might still decrypt is zeroed. */
TEST(test_end_with_a_key_that_lives_on, setup, teardown)
{
	uint64_t word;
	hpa_t frame;

	assert_int_equal(move_to_keyid(&gmem, take()), 0);
	gmem_destroy(&gmem);
	fake_keyslot_kill_fails = true;
	fake_tsc += 2 * SECOND;
	assert_true(fake_retire_all());
	fake_frames_set_count(FAKE_FRAME_COUNT);
	assert_int_equal(frames_alloc(512, 512, &frame), 0); /* the same frames again */
	memcpy(&word, (const uint8_t *)fake_frame(frame) + 0x5000, sizeof(word));
	assert_int_not_equal(word, 0x5001);
	frames_free(frame, 512);
}

/* A leaf of 1 GiB moves in parts of 2 MiB, and exists again at the end. */
TEST(test_1g, setup, teardown)
{
	const keyid_t second = take();

	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(SIZE_1G), SIZE_1G, SIZE_1G), 0);
	for (uint64_t at = SIZE_1G; at < 2 * SIZE_1G; at += SIZE_2M) {
		assert_int_equal(gmem_fault(&gmem, gpa(at), GMEM_ACCESS_READ, NULL),
				 GMEM_FAULT_FIXED);
	}
	write_page(SIZE_1G + 77 * PAGE_SIZE);
	assert_int_equal(leaf_at(SIZE_1G).leaf_bytes, SIZE_1G);
	assert_int_equal(move_to_keyid(&gmem, second), 0);
	assert_int_equal(run(first, false), 3 + 1 + 512 + 1);
	assert_int_equal(leaf_at(SIZE_1G).leaf_bytes, SIZE_1G);
	assert_int_equal(leaf_at(SIZE_1G).attr.keyid, second);
	assert_int_equal(read_page(SIZE_1G + 77 * PAGE_SIZE), SIZE_1G + 77 * PAGE_SIZE + 1);
}

/*
 * A leaf of 1 GiB is split while it moves, and merged before the next one is split. Without a page
 * for the table no move begins; with it the move completes, even if host memory runs out.
 */
TEST(test_1g_without_a_table, setup, teardown)
{
	const keyid_t second = take();

	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(SIZE_1G), 2 * SIZE_1G, SIZE_1G), 0);
	for (uint64_t at = SIZE_1G; at < 3 * SIZE_1G; at += SIZE_2M) {
		assert_int_equal(gmem_fault(&gmem, gpa(at), GMEM_ACCESS_READ, NULL),
				 GMEM_FAULT_FIXED);
	}
	assert_int_equal(leaf_at(SIZE_1G).leaf_bytes, SIZE_1G);
	page_unreserve(gmem.root.reserved);
	gmem.root.reserved = 0;
	fake_pages_fail_after(2);
	assert_int_equal(move_to_keyid(&gmem, second), ERR_NOMEM);
	assert_int_equal(gmem.keyid, first);
	assert_int_equal(read_page(0x5000), 0x5001);
	fake_pages_fail_after(3);
	assert_int_equal(move_to_keyid(&gmem, second), 0);
	fake_pages_fail_after(0);
	assert_int_equal(run(first, false), 3 + 2 * (1 + 512) + 1);
	fake_pages_fail_after(-1);
	for (uint64_t at = SIZE_1G; at < 3 * SIZE_1G; at += SIZE_1G) {
		assert_int_equal(leaf_at(at).leaf_bytes, SIZE_1G);
		assert_int_equal(leaf_at(at).attr.keyid, second);
	}
}

TEST(test_no_memory, setup, teardown)
{
	const uint64_t live = fake_pages_live();
	const keyid_t second = take();

	for (int after = 0; after < 2; after++) {
		fake_pages_fail_after(after);
		assert_int_equal(move_to_keyid(&gmem, second), ERR_NOMEM);
		fake_pages_fail_after(after);
		assert_int_equal(move_to_park(&gmem), ERR_NOMEM);
	}
	fake_pages_fail_after(-1);
	assert_int_equal(fake_pages_live(), live);
	assert_int_equal(gmem.keyid, first);
	assert_int_equal(read_page(0x5000), 0x5001);
}
