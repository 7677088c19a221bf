/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/host/page_alloc.c: hostile memory maps, the host pool, and guest frames compared with a
 * model.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/unit/test.h"
#include "vmm/base/err.h"
#include "vmm/host/cache.h"
#include "vmm/host/frames_priv.h"
#include "vmm/host/page_alloc.h"

#define POOL_PAGES 1024ul
#define POOL_ROOM  (POOL_PAGES + 512) /* so that a 2 MiB boundary fits */
#define ARENA	   (POOL_ROOM + PAGE_BOOTSTRAP)

/* Real memory below 4 GiB for the pool: the largest range, so it is always chosen. */
static struct mem_range arena;

static int make_arena(void **state)
{
	void *p = mmap(NULL, ARENA * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (p == MAP_FAILED) {
		return -1;
	}
	memset(p, 0xa5, ARENA * PAGE_SIZE);
	arena = (struct mem_range){ hpa((uintptr_t)p), ARENA };
	return 0;
}

static int drop_arena(void **state)
{
	return munmap((void *)(uintptr_t)arena.base.v, arena.page_count * PAGE_SIZE);
}

/*
 * The pool must get exactly so many pages below 4 GiB, so that the tests' ranges above are not
 * used.
 */
static int init(const struct mem_range *ranges, size_t range_count, uint64_t pages)
{
	const struct page_pool_plan plan = { .wanted = pages, .least = pages, .end = BIT(32) };

	return frames_init(ranges, range_count, &plan);
}

static uint64_t rnd_state;

static uint64_t rnd(uint64_t below)
{
	rnd_state = rnd_state * 6364136223846793005ul + 1442695040888963407ul;
	return (rnd_state >> 33) % below;
}

/* Frames of the cases lie above 4 GiB, so that the pool can only be in the arena. */
#define HIGH 0x100000ul

struct map_case {
	const char *name;
	struct mem_range ranges[6];
	size_t range_count;
	uint64_t frames; /* usable guest frames, without the remainder of the arena */
};

#define R(page, count)                        \
	{                                     \
		{ (page)*PAGE_SIZE }, (count) \
	}

static const struct map_case map_cases[] = {
	{ "nothing else", { { { 0 }, 0 } }, 0, 0 },
	{ "one", { R(HIGH, 10) }, 1, 10 },
	{ "two that touch", { R(HIGH, 10), R(HIGH + 10, 5) }, 2, 15 },
	{ "out of order", { R(HIGH + 100, 5), R(HIGH, 10), R(HIGH + 50, 1) }, 3, 16 },
	{ "overlap", { R(HIGH, 10), R(HIGH + 5, 10) }, 2, 15 },
	{ "one inside another", { R(HIGH, 10), R(HIGH + 2, 3), R(HIGH, 10) }, 3, 10 },
	{ "bridge", { R(HIGH, 10), R(HIGH + 20, 10), R(HIGH + 5, 20) }, 3, 30 },
	{ "empty", { R(HIGH, 0), R(HIGH + 1, 2) }, 2, 2 },
	{ "unaligned loses a page", { { { HIGH * PAGE_SIZE + 1 }, 4 } }, 1, 3 },
	{ "unaligned single page", { { { HIGH * PAGE_SIZE + 4095 }, 1 } }, 1, 0 },
	{ "below 1 MiB", { R(0, 256), R(HIGH, 1) }, 2, 1 },
	{ "across 1 MiB", { R(200, 60) }, 1, 4 },
	{ "wraps", { R(HIGH, ~0ul), { { ~0ul << 12 }, 2 }, R(HIGH, 3) }, 3, 3 },
	{ "size overflows bytes", { R(HIGH, 1ul << 52), R(HIGH, 3) }, 2, 3 },
	{ "above the architecture", { R(1ul << 40, 1), R((1ul << 40) - 1, 1) }, 2, 1 },
};

TEST(test_maps)
{
	size_t i;

	for (i = 0; i < ARRAY_COUNT(map_cases); i++) {
		const struct map_case *c = &map_cases[i];
		struct mem_range ranges[7];
		struct mem_range pool, bootstrap;
		hpa_t frame;
		uint64_t n;

		memcpy(ranges, c->ranges, sizeof(c->ranges));
		ranges[c->range_count] = arena;
		if (init(ranges, c->range_count + 1, POOL_PAGES) != 0) {
			fail_msg("%s: refused", c->name);
		}
		pool = page_pool();
		assert_int_equal(pool.page_count, POOL_PAGES);
		assert_true(pool.base.v >= arena.base.v);
		bootstrap = page_bootstrap();
		assert_int_equal(bootstrap.page_count, PAGE_BOOTSTRAP);
		assert_int_equal(bootstrap.base.v, arena.base.v + POOL_ROOM * PAGE_SIZE);
		assert_true(IS_ALIGNED(pool.base.v, SIZE_2M));
		if (frames_free_count() != c->frames + POOL_ROOM - POOL_PAGES) {
			fail_msg("%s: %lu frames", c->name, frames_free_count());
		}
		for (n = 0; frames_alloc(1, 1, &frame) == 0; n++) {
			assert_true(frame.v >= BIT(20));
			assert_false(page_is_own(frame.v, frame.v + 1));
		}
		assert_int_equal(n, c->frames + POOL_ROOM - POOL_PAGES);
	}
}

TEST(test_no_room_for_pool)
{
	struct mem_range high = R(HIGH, 1ul << 20);
	/* Four pages below 4 GiB, beside the bootstrap pages. */
	struct mem_range across = { { BIT(32) - (4 + PAGE_BOOTSTRAP) * PAGE_SIZE }, 1000 };

	assert_int_equal(init(&high, 1, 16), ERR_NOMEM);
	assert_int_equal(init(&across, 1, 5), ERR_NOMEM);
	assert_int_equal(init(&arena, 1, POOL_ROOM + 1), ERR_NOMEM);
	assert_int_equal(init(&arena, 1, 0), ERR_NOMEM);
	assert_int_equal(init(NULL, 0, 1), ERR_NOMEM);
}

/* --- Where the pool lies --- */

/* Room above 4 GiB. Only what is written takes memory; the ranges below it are only numbers. */
#define SKY_PAGES (16ul << 18)
#define TIB_PAGES (1ul << 28)

static uint64_t sky; /* page number */

static int make_sky(void **state)
{
	void *p = mmap(NULL, SKY_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	sky = ALIGN_UP((uintptr_t)p / PAGE_SIZE, 512ul);
	return p == MAP_FAILED ? -1 : 0;
}

static int drop_sky(void **state)
{
	return munmap((void *)(uintptr_t)(sky * PAGE_SIZE), (SKY_PAGES - 512) * PAGE_SIZE);
}

static void expect_pool(uint64_t first, uint64_t count)
{
	const struct mem_range pool = page_pool(), own = page_bootstrap();
	const uint64_t end = pool.base.v + count * PAGE_SIZE;

	assert_int_equal(pool.base.v / PAGE_SIZE, first);
	assert_int_equal(pool.page_count, count);
	assert_true(own.base.v + own.page_count * PAGE_SIZE <= BIT(32));
	/* It is not available for any other use, nor are the bootstrap pages. */
	assert_int_equal(frames_remove(pool), 0);
	assert_int_equal(frames_remove(own), 0);
	assert_true(page_is_own(end - 1, end));
	assert_true(page_is_own(pool.base.v - 1, pool.base.v + 1));
	assert_false(page_is_own(pool.base.v - 1, pool.base.v));
	assert_int_equal(page_is_own(end, end + 1), end == own.base.v);
	assert_true(page_is_own(own.base.v - 1, own.base.v + 1));
	assert_true(page_is_own(own.base.v + own.page_count * PAGE_SIZE - 1, BIT(32)));
}

/* 13 GiB of a terabyte, and tables for them. */
TEST(test_place_on_1_tib, make_sky, drop_sky)
{
	const uint64_t wanted = (13ul << 18) + 5, end = sky + SKY_PAGES - 512;
	const struct page_pool_plan plan = { wanted, 5000, BIT(47) };
	const struct mem_range ranges[2] = { R(256, (1 << 19) - 256),
					     R(end - TIB_PAGES, TIB_PAGES) };
	struct mem_range own;
	uint8_t *page;

	assert_int_equal(frames_init(ranges, 2, &plan), 0);
	expect_pool(ALIGN_DOWN(end - wanted, 512), wanted);
	own = page_bootstrap();
	assert_int_equal(own.page_count, PAGE_BOOTSTRAP + 13);
	assert_int_equal(own.base.v / PAGE_SIZE + own.page_count, 1 << 19);
	assert_int_equal(frames_free_count(),
			 TIB_PAGES + (1 << 19) - 256 - wanted - own.page_count);
	/* The bitmap has a bit for the last page too, and only the bitmap was written so far. */
	assert_int_equal(page_pool_written().page_count, 13 * 8 + 1);
	assert_int_equal(page_free_count(), wanted - 13 * 8 - 1);
	page = page_alloc(1000);
	assert_non_null(page);
	assert_int_equal(page_pool_written().page_count, 1000 + 13 * 8 + 1);
	page_free(page, 1000);
	assert_int_equal(page_pool_written().page_count, 1000 + 13 * 8 + 1);
}

TEST(test_place, make_sky, drop_sky)
{
	const uint64_t base = arena.base.v / PAGE_SIZE, all = BIT(47);
	const uint64_t in_arena = ALIGN_DOWN(base + POOL_ROOM - 600, 512);
	const struct mem_range one = R(sky, 1 << 18), two = R(sky + (1 << 18), 1 << 18);
	const struct mem_range mid = R(sky + 512, 4096), bit = R(sky, 500);
	const struct mem_range low = R(256, 1 << 18), far = R(1ul << 35, 1 << 20);
	const struct {
		const char *name;
		struct page_pool_plan plan;
		struct mem_range ranges[3];
		uint64_t first, count; /* 0: refused */
	} cases[] = {
		{ "nothing above", { 600, 600, all }, { arena }, in_arena, 600 },
		{ "enough", { 600, 600, all }, { arena, one }, sky + (1 << 18) - 1024, 600 },
		{ "all of it", { 4096, 4096, all }, { arena, mid }, sky + 512, 4096 },
		{ "more below", { 600, 9, all }, { low, mid }, sky + 512 + 3072, 600 },
		{ "neighbours", { 1 << 19, 9, all }, { two, arena, one }, sky, 1 << 19 },
		{ "a hole", { 600, 600, all }, { arena, bit, mid }, sky + 512 + 3072, 600 },
		{ "too little above", { 600, 600, all }, { bit, arena }, in_arena, 600 },
		{ "too little", { 5000, 4096, all }, { arena, mid }, sky + 512, 4096 },
		{ "too little to live", { 5000, 4097, all }, { arena, mid }, 0, 0 },
		{ "32 bits", { 600, 600, BIT(32) }, { arena, one }, in_arena, 600 },
		{ "32 bits, less", { 5000, 9, BIT(32) }, { arena, one }, base, POOL_ROOM },
		{ "beyond 4 levels", { 600, 600, all }, { far, arena }, in_arena, 600 },
		{ "no bootstrap pages", { 600, 600, all }, { one }, 0, 0 },
		{ "no pool", { 0, 0, all }, { arena, one }, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int err = frames_init(cases[i].ranges, 3, &cases[i].plan);

		print_message("%s\n", cases[i].name);
		assert_int_equal(err, cases[i].count != 0 ? 0 : ERR_NOMEM);
		if (err == 0) {
			expect_pool(cases[i].first, cases[i].count);
		}
	}
}

/* For a range that crosses 4 GiB, each part counts for its side. */
TEST(test_place_across_4_gib)
{
	const struct mem_range ranges[2] = { arena, R(HIGH - 100, 300) };

	assert_int_equal(init(ranges, 2, POOL_ROOM), 0);
	assert_int_equal(frames_longest(HIGH, 2 * HIGH), 200);
	assert_int_equal(frames_longest(0, HIGH), 100);
	assert_int_equal(frames_longest(0, 2 * HIGH), 300);
	assert_int_equal(frames_longest(HIGH + 200, 2 * HIGH), 0);
}

/* 250 pieces with holes between them: the longest is used. */
TEST(test_place_fragmented, make_sky, drop_sky)
{
	static struct mem_range ranges[251];
	const struct page_pool_plan plan = { 1 << 18, 4096, BIT(47) };
	const struct page_pool_plan more = { 1 << 18, 4251, BIT(47) };

	ranges[0] = arena;
	for (uint64_t i = 1; i <= 250; i++) {
		ranges[i] = (struct mem_range)R(sky + 8192 * i, 4000 + i * 7 % 251);
	}
	assert_int_equal(frames_init(ranges, 251, &plan), 0);
	expect_pool(sky + 8192 * 215, 4250); /* 215 * 7 is 250 modulo 251 */
	assert_int_equal(frames_init(ranges, 251, &more), ERR_NOMEM);
}

TEST(test_too_many_ranges)
{
	static struct mem_range many[2000];
	size_t i;

	many[0] = arena;
	for (i = 1; i < ARRAY_COUNT(many); i++) {
		many[i] = (struct mem_range)R(HIGH + 2 * i, 1);
	}
	fake_log_reset();
	assert_int_equal(init(many, ARRAY_COUNT(many), POOL_PAGES), 0);
	assert_true(frames_free_count() > 500);
	assert_non_null(strstr(fake_log_text(), "too many ranges"));
}

TEST(test_pool)
{
	struct mem_range pool;
	uint64_t total, n;
	uint8_t *a, *b;
	size_t i;

	assert_int_equal(init(&arena, 1, POOL_PAGES), 0);
	pool = page_pool();
	total = page_free_count();
	assert_in_range(total, POOL_PAGES - 8, POOL_PAGES - 1);
	assert_null(page_alloc(0));
	assert_null(page_alloc(total + 1));
	assert_null(page_alloc(SIZE_MAX));

	a = page_alloc(3);
	assert_non_null(a);
	for (i = 0; i < 3 * PAGE_SIZE; i++) {
		assert_int_equal(a[i], 0);
	}
	assert_int_equal(page_hpa(a).v, (uintptr_t)a);
	assert_ptr_equal(page_va(page_hpa(a)), a);
	memset(a, 0x5a, 3 * PAGE_SIZE);
	b = page_alloc(1);
	assert_true(b + PAGE_SIZE <= a || b >= a + 3 * PAGE_SIZE);
	page_free(a, 3);
	for (i = 0; i < 3 * PAGE_SIZE; i++) {
		assert_int_equal(a[i], 0); /* wiped when freed, not at the next use */
	}
	page_free(NULL, 7);
	page_free(b, 1);
	assert_int_equal(page_free_count(), total);

	for (n = 0; page_alloc(1) != NULL; n++) {
	}
	assert_int_equal(n, total);
	assert_int_equal(page_free_count(), 0);
	page_free((void *)(uintptr_t)(pool.base.v + (POOL_PAGES - 2) * PAGE_SIZE), 2);
	assert_non_null(page_alloc(2));
}

/* Reserved pages are available when needed, whatever else was allocated. */
TEST(test_pool_reserve)
{
	uint64_t total;
	void *page;

	assert_int_equal(init(&arena, 1, POOL_PAGES), 0);
	total = page_free_count();
	assert_false(page_reserve(total + 1));
	assert_true(page_reserve(2));
	assert_int_equal(page_left_count(), total - 2);
	assert_null(page_alloc(total - 1));
	while (page_alloc(1) != NULL) {
	}
	assert_int_equal(page_free_count(), 2);
	assert_false(page_reserve(1));
	page = page_alloc_reserved();
	assert_null(page_alloc(1));
	page_free_reserved(page);
	assert_null(page_alloc(1));
	page = page_alloc_reserved();
	page_free(page, 1);
	assert_non_null(page_alloc(1)); /* this page; the other is still reserved */
	assert_null(page_alloc(1));
	page_unreserve(1);
	assert_non_null(page_alloc(1));
	FAKE_EXPECT_PANIC(page_unreserve(1), "broken");
	assert_int_equal(init(&arena, 1, POOL_PAGES), 0);
}

/* The bitmap's last word has bits behind the pool's last page, which are never allocated. */
TEST(test_pool_tail)
{
	uint8_t *a;

	assert_int_equal(init(&arena, 1, 1000), 0);
	a = page_alloc(959); /* 40 pages are left */
	page_free(a, 1);
	page_free(a + 2 * PAGE_SIZE, 1);
	assert_int_equal(page_free_count(), 42);
	assert_null(page_alloc(41));
	assert_ptr_equal(page_alloc(40), a + 959 * PAGE_SIZE);
}

TEST(test_pool_misuse)
{
	char *a;

	assert_int_equal(init(&arena, 1, POOL_PAGES), 0);
	a = page_alloc(2);
	FAKE_EXPECT_PANIC(page_free(a + 8, 1), "broken");
	FAKE_EXPECT_PANIC(page_free(a, SIZE_MAX / 2), "broken");
	FAKE_EXPECT_PANIC((void)page_va(hpa(0x1000)), "broken");
	FAKE_EXPECT_PANIC((void)page_hpa(&a), "broken");
	assert_int_equal(init(&arena, 1, POOL_PAGES), 0);
	a = page_alloc(2);
	page_free(a, 2);
	FAKE_EXPECT_PANIC(page_free(a, 1), "broken");
}

TEST(test_pool_random)
{
	struct {
		uint8_t *p;
		size_t count;
		uint8_t mark;
	} held[64] = { 0 };
	unsigned round;

	rnd_state = 7;
	assert_int_equal(init(&arena, 1, POOL_PAGES), 0);
	for (round = 0; round < 4000; round++) {
		size_t slot = rnd(ARRAY_COUNT(held));
		size_t i;

		if (held[slot].p == NULL) {
			size_t count = 1 + rnd(rnd(4) == 0 ? 300 : 4);
			uint8_t *p = page_alloc(count);

			if (p == NULL) {
				continue;
			}
			held[slot].p = p;
			held[slot].count = count;
			held[slot].mark = (uint8_t)(1 + rnd(255));
			for (i = 0; i < count * PAGE_SIZE; i += 64) {
				assert_int_equal(p[i], 0);
				p[i] = held[slot].mark;
			}
		} else {
			for (i = 0; i < held[slot].count * PAGE_SIZE; i += 64) {
				assert_int_equal(held[slot].p[i], held[slot].mark);
			}
			page_free(held[slot].p, held[slot].count);
			held[slot].p = NULL;
		}
	}
}

/*
 * With a KeyID the number for the hardware contains it; allocating and freeing use addresses
 * without it.
 */
TEST(test_keyid)
{
	uint64_t free_pages, number;
	uint8_t *page;

	assert_int_equal(init(&arena, 1, POOL_PAGES), 0);
	free_pages = page_free_count();
	page = page_alloc(2);
	assert_int_equal(page_hpa(page).v, (uintptr_t)page);
	assert_int_equal(page_keyid(), 0);
	keyid_configure(46, 4);
	page_set_keyid(11);
	assert_int_equal(page_keyid(), 11);
	number = page_hpa(page).v;
	assert_int_equal(number, (uintptr_t)page | 11ul << 42);
	assert_ptr_equal(page_va(hpa(number)), page);
	page_free(page, 2);
	assert_int_equal(page_free_count(), free_pages);
	assert_ptr_equal(page_alloc(2), page);
	FAKE_EXPECT_PANIC(page_free(page + 2 * PAGE_SIZE, 1), "broken");
	page_set_keyid(0);
	keyid_configure(52, 0);
}

TEST(test_frames_fit)
{
	struct mem_range ranges[3];
	hpa_t a, b;

	ranges[0] = arena;
	ranges[1] = (struct mem_range)R(HIGH + 3, 1200);
	ranges[2] = (struct mem_range)R(HIGH + 4096, 40);
	assert_int_equal(init(ranges, 3, POOL_ROOM), 0);
	assert_int_equal(frames_alloc(0, 1, &a), ERR_INVAL);
	assert_int_equal(frames_alloc(1, 0, &a), ERR_INVAL);
	assert_int_equal(frames_alloc(1, 3, &a), ERR_INVAL);
	assert_int_equal(frames_alloc(1201, 1, &a), ERR_NOMEM);
	assert_int_equal(frames_alloc(UINT64_MAX, 1, &a), ERR_NOMEM);
	assert_int_equal(frames_alloc(1, 1ul << 63, &a), ERR_NOMEM);

	/*
	 * A small request does not split the large extent; an aligned one splits it, and it merges
	 * again.
	 */
	assert_int_equal(frames_alloc(1, 1, &a), 0);
	assert_int_equal(a.v, (HIGH + 4096) * PAGE_SIZE);
	assert_int_equal(frames_alloc(512, 512, &b), 0);
	assert_int_equal(b.v, (HIGH + 512) * PAGE_SIZE);
	assert_int_equal(frames_alloc(512, 512, &b), ERR_NOMEM);
	frames_free(hpa((HIGH + 512) * PAGE_SIZE), 100);
	frames_free(hpa((HIGH + 812) * PAGE_SIZE), 212);
	frames_free(hpa((HIGH + 612) * PAGE_SIZE), 200);
	frames_free(a, 1);
	frames_free(a, 0);
	assert_int_equal(frames_free_count(), 1240);
	assert_int_equal(frames_alloc(1200, 1, &b), 0);
	assert_int_equal(b.v, (HIGH + 3) * PAGE_SIZE);

	FAKE_EXPECT_PANIC(frames_free(hpa((HIGH + 4096) * PAGE_SIZE), 1), "broken");
}

/* Memory is stale from its use to the next flush, wherever it is in the free list. */
TEST(test_frames_stale)
{
	struct mem_range ranges[3] = { arena, R(HIGH, 100), R(HIGH + 200, 100) };
	hpa_t frame;
	bool stale;

	assert_int_equal(
		frames_init(ranges, 3,
			    &(const struct page_pool_plan){ POOL_ROOM, POOL_ROOM, SIZE_1G * 4 }),
		0);
	assert_true(frames_stale()); /* after firmware's use */
	cache_flush_all();
	assert_false(frames_stale());
	assert_int_equal(frames_alloc_keyed(100, 1, &frame, &stale), 0);
	assert_false(stale);
	frames_free_flushed(frame, 100);
	assert_false(frames_stale());
	assert_int_equal(frames_alloc(100, 1, &frame), 0);
	assert_false(frames_stale()); /* no free frame is stale */
	frames_free(frame, 100);
	assert_true(frames_stale());
	assert_int_equal(frames_alloc_keyed(100, 1, &frame, &stale), 0);
	assert_true(stale);
	cache_flush_all();
	frames_free_flushed(frame, 100);
	assert_false(frames_stale());
}

#define MODEL_PAGES 6000

/* Is there a run of count pages, the first a multiple of align, all free in the model? */
static bool model_fits(const bool *is_free, uint64_t count, uint64_t align)
{
	uint64_t at, n;

	for (at = 0; at + count <= MODEL_PAGES; at += align) {
		for (n = 0; n < count && is_free[at + n]; n++) {
		}
		if (n == count) {
			return true;
		}
	}
	return false;
}

static uint64_t model_count(const bool *is_free)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < MODEL_PAGES; i++) {
		n += is_free[i];
	}
	return n;
}

/* Single pages freed in any order scatter the extents until the table must grow. */
/* Parts of several extents, one of which is in use; the rest of each stays free. */
TEST(test_frames_remove)
{
	struct mem_range ranges[4] = { arena, R(HIGH, 100), R(HIGH + 200, 100),
				       R(HIGH + 400, 100) };
	uint64_t before;
	hpa_t used;

	ranges[0] = arena;
	assert_int_equal(init(ranges, 4, POOL_ROOM), 0);
	before = frames_free_count();
	assert_int_equal(frames_remove((struct mem_range)R(HIGH + 100, 100)), 0);
	assert_int_equal(frames_remove((struct mem_range)R(HIGH + 50, 370)), 50 + 100 + 20);
	assert_int_equal(frames_free_count(), before - 170);
	assert_int_equal(frames_alloc(81, 1, &used), ERR_NOMEM); /* the largest have 50 and 80 */
	assert_int_equal(frames_alloc(80, 1, &used), 0);
	assert_int_equal(used.v, (HIGH + 420) * PAGE_SIZE);
	/* From the middle of an extent; frames in use stay in use. */
	assert_int_equal(frames_remove((struct mem_range)R(HIGH + 10, 10)), 10);
	assert_int_equal(frames_remove((struct mem_range)R(HIGH, 1000)), 40);
	frames_free(used, 80);
	assert_int_equal(frames_free_count(), before - 170 - 50);
}

TEST(test_frames_random)
{
	static bool is_free[MODEL_PAGES], is_ram[MODEL_PAGES];
	struct mem_range ranges[3];
	unsigned round;
	uint64_t i;

	rnd_state = 42;
	ranges[0] = arena;
	ranges[1] = (struct mem_range)R(HIGH, 2500);
	ranges[2] = (struct mem_range)R(HIGH + 2600, MODEL_PAGES - 2600);
	assert_int_equal(init(ranges, 3, POOL_ROOM), 0);
	for (i = 0; i < MODEL_PAGES; i++) {
		is_free[i] = is_ram[i] = i < 2500 || i >= 2600;
	}
	for (round = 0; round < 20000; round++) {
		uint64_t at = rnd(MODEL_PAGES);

		if (rnd(2) == 0 && is_ram[at] && !is_free[at]) {
			uint64_t count = 1;

			while (rnd(3) == 0 && at + count < MODEL_PAGES && is_ram[at + count] &&
			       !is_free[at + count]) {
				count++;
			}
			memset(&is_free[at], true, count);
			frames_free(hpa((HIGH + at) * PAGE_SIZE), count);
		} else {
			uint64_t count = 1 + rnd(rnd(100) == 0 ? 600 : 3);
			uint64_t align = 1ul << rnd(rnd(10) == 0 ? 10 : 2);
			hpa_t first;
			int err = frames_alloc(count, align, &first);

			assert_int_equal(err, model_fits(is_free, count, align) ? 0 : ERR_NOMEM);
			if (err != 0) {
				continue;
			}
			at = first.v / PAGE_SIZE - HIGH;
			assert_true(IS_ALIGNED(first.v / PAGE_SIZE, align));
			assert_true(at + count <= MODEL_PAGES);
			for (i = at; i < at + count; i++) {
				assert_true(is_free[i]);
				is_free[i] = false;
			}
		}
		if (round % 64 == 0) {
			assert_int_equal(frames_free_count(), model_count(is_free));
		}
	}
	for (i = 0; i < MODEL_PAGES; i++) {
		if (is_ram[i] && !is_free[i]) {
			frames_free(hpa((HIGH + i) * PAGE_SIZE), 1);
		}
	}
	assert_int_equal(frames_free_count(), MODEL_PAGES - 100);
}

/* 3,000 holes: the table of extents grows into host pages, and no frame is lost. */
TEST(test_frames_scattered)
{
	struct mem_range ranges[2] = { arena, R(HIGH, 6000) };
	uint64_t i;
	hpa_t first;

	ranges[0] = arena;
	assert_int_equal(init(ranges, 2, POOL_ROOM), 0);
	assert_int_equal(frames_alloc(6000, 1, &first), 0);
	for (i = 0; i < 6000; i += 2) {
		frames_free(hpa(first.v + i * PAGE_SIZE), 1);
	}
	assert_int_equal(frames_free_count(), 3000);
	assert_true(page_free_count() < POOL_ROOM - 4);
	for (i = 1; i < 6000; i += 2) {
		frames_free(hpa(first.v + i * PAGE_SIZE), 1);
	}
	assert_int_equal(frames_alloc(6000, 1, &first), 0);
}

/* The pool is empty, so the table cannot grow. Frames are lost, and that is logged. */
TEST(test_frames_table_full)
{
	struct mem_range ranges[2] = { arena, R(HIGH, 6000) };
	uint64_t i;
	hpa_t first;

	ranges[0] = arena;
	assert_int_equal(init(ranges, 2, POOL_ROOM), 0);
	assert_int_equal(frames_alloc(6000, 1, &first), 0);
	while (page_alloc(1) != NULL) {
	}
	fake_log_reset();
	for (i = 0; i < 6000; i += 2) {
		frames_free(hpa(first.v + i * PAGE_SIZE), 1);
	}
	assert_in_range(frames_free_count(), 500, 2999);
	assert_non_null(strstr(fake_log_text(), "too scattered"));
}

TEST_RUN(.setup = make_arena, .teardown = drop_arena);
