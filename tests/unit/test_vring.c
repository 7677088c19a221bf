/* SPDX-License-Identifier: Apache-2.0 */
/* guest/dev/vring.c: chains of all forms, event indices, and what a lying driver does to a ring. */
#include "tests/unit/test.h"
#include "guest/dev/vring.h"
#include "tests/unit/gmem_end.h"
#include "vmm/base/err.h"

#define RAM   0x40000ul
#define DESC  0x1000ul
#define AVAIL 0x2000ul
#define USED  0x3000ul
#define TABLE 0x4001ul /* tables need no alignment */
#define SIZE  8

static struct gmem gmem;
static struct vring ring;
static struct vring_chain chain;
static const char *why;

static void poke(uint64_t at, uint64_t value, size_t bytes)
{
	assert_int_equal(gmem_write(&gmem, gpa(at), &value, bytes), 0);
}

static uint64_t peek(uint64_t at, size_t bytes)
{
	uint64_t value = 0;

	assert_int_equal(gmem_read(&gmem, gpa(at), &value, bytes), 0);
	return value;
}

static void desc(uint64_t table, unsigned index, uint64_t address, uint32_t bytes, unsigned flags,
		 unsigned next)
{
	poke(table + 16ul * index, address, 8);
	poke(table + 16ul * index + 8, bytes, 4);
	poke(table + 16ul * index + 12, flags, 2);
	poke(table + 16ul * index + 14, next, 2);
}

static void offer(unsigned head)
{
	unsigned index = (unsigned)peek(AVAIL + 2, 2);

	poke(AVAIL + 4 + 2ul * (index % SIZE), head, 2);
	poke(AVAIL + 2, index + 1, 2);
}

static int take(void)
{
	why = NULL;
	return vring_take(&ring, &gmem, &chain, &why);
}

static int setup(void **state)
{
	int err = fake_setup(state);

	ept_configure(&(struct ept_caps){ .phys_bits = 40 });
	gmem = (struct gmem){ 0 };
	err |= gmem_init(&gmem);
	err |= gmem_add_ram_plain(&gmem, gpa(0), RAM, PAGE_SIZE);
	ring = (struct vring){
		.size = SIZE,
		.indirect = true,
		.event_index = true,
		.descriptors = DESC,
		.available = AVAIL,
		.used = USED,
	};
	return err;
}

static int teardown(void **state)
{
	gmem_end(&gmem);
	return fake_teardown(state);
}

TEST(a_chain_is_taken_as_it_was_made, setup, teardown)
{
	char text[16] = { 0 };

	assert_int_equal(take(), 0);
	desc(DESC, 5, 0x8000, 3, 1, 2);
	desc(DESC, 2, 0x9000, 4, 1, 7);
	desc(DESC, 7, 0xa000, 100, 2, 0);
	offer(5);
	assert_int_equal(take(), 1);
	assert_int_equal(chain.head, 5);
	assert_int_equal(chain.count, 3);
	assert_int_equal(chain.readable, 2);
	assert_int_equal(chain.read_bytes, 7);
	assert_int_equal(chain.write_bytes, 100);
	assert_int_equal(gmem_write(&gmem, gpa(0x8000), "abcX", 4), 0);
	assert_int_equal(gmem_write(&gmem, gpa(0x9000), "defgX", 5), 0);
	assert_int_equal(vring_read(&chain, &gmem, 1, text, 6), 0);
	assert_string_equal(text, "bcdefg");
	assert_int_equal(vring_read(&chain, &gmem, 1, text, 7), ERR_RANGE);
	assert_int_equal(vring_write(&chain, &gmem, 98, "xyz", 3), ERR_RANGE);
	assert_int_equal(vring_write(&chain, &gmem, 98, "xy", 2), 0);
	assert_int_equal(peek(0xa000 + 98, 2), 'x' | 'y' << 8);
	assert_int_equal(take(), 0);
	assert_int_equal(vring_give(&ring, &gmem, &chain, 77, &why), 0);
	assert_int_equal(peek(USED + 2, 2), 1);
	assert_int_equal(peek(USED + 4, 4), 5);
	assert_int_equal(peek(USED + 8, 4), 77);
}

TEST(a_table_may_stand_for_a_chain_or_its_end, setup, teardown)
{
	desc(TABLE, 0, 0x8000, 16, 1, 2);
	desc(TABLE, 2, 0x9000, 512, 3, 1);
	desc(TABLE, 1, 0xa000, 1, 2, 0);
	desc(DESC, 3, TABLE, 48, 4 | 2, 0); /* its write flag is ignored */
	offer(3);
	assert_int_equal(take(), 1);
	assert_int_equal(chain.head, 3);
	assert_int_equal(chain.count, 3);
	assert_int_equal(chain.readable, 1);
	assert_int_equal(chain.write_bytes, 513);
	desc(DESC, 4, 0x7000, 8, 1, 3);
	offer(4);
	assert_int_equal(take(), 1);
	assert_int_equal(chain.count, 4);
	assert_int_equal(chain.read_bytes, 24);
}

/* Entries that were read ahead, and those that wait to be written, also across the ring's end. */
TEST(several_chains_are_shown_at_once, setup, teardown)
{
	ring.next_available = ring.next_used = ring.seen = SIZE - 3;
	poke(AVAIL + 2, SIZE - 3, 2);
	for (unsigned i = 0; i < SIZE; i++) {
		desc(DESC, i, 0x8000 + 0x100ul * i, 16 + i, 2, 0);
		offer(SIZE - 1 - i);
	}
	for (unsigned i = 0; i < SIZE; i++) {
		assert_int_equal(take(), 1);
		assert_int_equal(chain.head, SIZE - 1 - i);
		assert_int_equal(chain.write_bytes, 16 + SIZE - 1 - i);
		assert_int_equal(vring_put(&ring, &gmem, (uint16_t)i, chain.head, 100 + i, &why),
				 0);
	}
	assert_int_equal(take(), 0);
	assert_int_equal(peek(USED + 2, 2), 0);
	assert_int_equal(vring_show(&ring, &gmem, SIZE, &why), 0);
	assert_int_equal(peek(USED + 2, 2), 2 * SIZE - 3);
	for (unsigned i = 0; i < SIZE; i++) {
		const uint64_t at = USED + 4 + 8ul * ((SIZE - 3 + i) % SIZE);

		assert_int_equal(peek(at, 4), SIZE - 1 - i);
		assert_int_equal(peek(at + 4, 4), 100 + i);
	}
}

/* A descriptor that the driver uses again is read again. */
TEST(descriptors_are_read_again, setup, teardown)
{
	for (unsigned i = 0; i < 3 * SIZE; i++) {
		desc(DESC, i % 2, 0x8000, 100 + i, 2, 0);
		offer(i % 2);
		assert_int_equal(take(), 1);
		assert_int_equal(chain.head, i % 2);
		assert_int_equal(chain.write_bytes, 100 + i);
		assert_int_equal(vring_give(&ring, &gmem, &chain, i, &why), 0);
	}
}

/*
 * Descriptors of chains that are available together are read at once where they are neighbours,
 * up or down: what changes afterwards is not seen. What was not available then is read again.
 */
TEST(neighbours_are_read_at_once, setup, teardown)
{
	static const uint8_t heads[SIZE] = { 2, 3, 4, 0, 7, 6, 5, 1 };
	static const bool is_read_before[SIZE] = { false, true, true, false,
						   false, true, true, false };

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < SIZE; i++) {
			desc(DESC, heads[i], 0x8000, 100 * round + i, 2, 0);
			offer(heads[i]);
		}
		for (unsigned i = 0; i < SIZE; i++) {
			desc(DESC, heads[i], 0x8000, 1000 + i, 2, 0);
			assert_int_equal(take(), 1);
			assert_int_equal(chain.head, heads[i]);
			assert_int_equal(chain.count, 1);
			assert_int_equal(chain.write_bytes,
					 is_read_before[i] ? 100 * round + i : 1000 + i);
		}
		assert_int_equal(take(), 0);
	}
}

/* A neighbour that is past the table is a lie of its own chain only. */
TEST(a_neighbour_may_be_past_the_table, setup, teardown)
{
	desc(DESC, SIZE - 1, 0x8000, 5, 2, 0);
	offer(SIZE - 1);
	offer(SIZE);
	assert_int_equal(take(), 1);
	assert_int_equal(chain.write_bytes, 5);
	assert_int_equal(take(), ERR_FORMAT);
	assert_string_equal(why, "a chain's head is past its queue");
}

TEST(untaken_chains_come_again, setup, teardown)
{
	for (unsigned i = 0; i < 4; i++) {
		desc(DESC, i, 0x8000, 100 + i, 2, 0);
		offer(i);
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(take(), 1);
		assert_int_equal(vring_put(&ring, &gmem, (uint16_t)i, chain.head, 7, &why), 0);
	}
	vring_untake(&ring, 3);
	assert_int_equal(vring_show(&ring, &gmem, 0, &why), 0);
	assert_int_equal(peek(USED + 4 + 4, 4), 0); /* what was put counts for nothing */
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(take(), 1);
		assert_int_equal(chain.head, i);
	}
	assert_int_equal(take(), 0);
}

/* Indices wrap at 65536, entries at the size of the ring. */
TEST(indices_wrap, setup, teardown)
{
	ring.seen = ring.next_available = ring.next_used = ring.notified = 0xfffe;
	poke(AVAIL + 2, 0xfffe, 2);
	desc(DESC, 0, 0x8000, 4, 2, 0);
	for (unsigned i = 0; i < 4; i++) {
		offer(0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(take(), 1);
		assert_int_equal(vring_give(&ring, &gmem, &chain, i, &why), 0);
	}
	assert_int_equal(take(), 0);
	assert_int_equal(peek(USED + 2, 2), 2);
	assert_int_equal(peek(USED + 4 + 8 * 1 + 4, 4), 3); /* its entry is number 1 */
}

struct lie {
	const char *why;
	int err;
	void (*tell)(void);
};

static void jumps(void)
{
	poke(AVAIL + 2, SIZE + 1, 2);
}

static void goes_back(void)
{
	poke(AVAIL + 2, 0xffff, 2);
}

static void head_past(void)
{
	offer(SIZE);
}

static void next_past(void)
{
	desc(DESC, 0, 0x8000, 1, 1, SIZE);
	offer(0);
}

static void loop_of_one(void)
{
	desc(DESC, 0, 0x8000, 1, 1, 0);
	offer(0);
}

static void loop_of_eight(void)
{
	for (unsigned i = 0; i < SIZE; i++) {
		desc(DESC, i, 0x8000, 1, 1, (i + 1) % SIZE);
	}
	offer(3);
}

static void read_behind_write(void)
{
	desc(DESC, 0, 0x8000, 1, 3, 1);
	desc(DESC, 1, 0x8000, 1, 0, 0);
	offer(0);
}

static void table_goes_on(void)
{
	desc(DESC, 0, TABLE, 16, 5, 1);
	offer(0);
}

static void nested_table(void)
{
	desc(TABLE, 0, TABLE, 16, 4, 0);
	desc(DESC, 0, TABLE, 16, 4, 0);
	offer(0);
}

static void table_loops(void)
{
	desc(TABLE, 0, 0x8000, 1, 1, 1);
	desc(TABLE, 1, 0x8000, 1, 1, 0);
	desc(DESC, 0, TABLE, 32, 4, 0);
	offer(0);
}

static void table_index_past(void)
{
	desc(TABLE, 0, 0x8000, 1, 1, 1);
	desc(DESC, 0, TABLE, 16, 4, 0);
	offer(0);
}

static void table_of_nothing(void)
{
	desc(DESC, 0, TABLE, 0, 4, 0);
	offer(0);
}

static void table_of_a_half(void)
{
	desc(DESC, 0, TABLE, 24, 4, 0);
	offer(0);
}

static void table_too_long(void)
{
	desc(DESC, 0, TABLE, 16 * (SIZE + 1), 4, 0);
	offer(0);
}

static void table_of_4g(void)
{
	desc(DESC, 0, TABLE, 0xfffffff0, 4, 0);
	offer(0);
}

static void table_nowhere(void)
{
	desc(DESC, 0, UINT64_MAX - 7, 16, 4, 0);
	offer(0);
}

static void table_not_agreed(void)
{
	ring.indirect = false;
	desc(TABLE, 0, 0x8000, 1, 0, 0);
	desc(DESC, 0, TABLE, 16, 4, 0);
	offer(0);
}

static void descriptors_nowhere(void)
{
	ring.descriptors = RAM;
	offer(0);
}

static void available_nowhere(void)
{
	ring.available = RAM - 2;
}

static void entry_nowhere(void)
{
	ring.available = RAM - 4;
	poke(RAM - 2, 1, 2);
}

TEST(a_lie_is_named_and_nothing_is_taken, setup, teardown)
{
	static const struct lie lies[] = {
		{ "its index has jumped", ERR_FORMAT, jumps },
		{ "its index has jumped", ERR_FORMAT, goes_back },
		{ "a chain's head is past its queue", ERR_FORMAT, head_past },
		{ "a descriptor's index is past its table", ERR_FORMAT, next_past },
		{ "a chain has a loop", ERR_FORMAT, loop_of_one },
		{ "a chain has a loop", ERR_FORMAT, loop_of_eight },
		{ "a buffer that the device reads comes after one that it writes", ERR_FORMAT,
		  read_behind_write },
		{ "a chain goes on after the descriptor of a table", ERR_FORMAT, table_goes_on },
		{ "a descriptor names a table of others where that is not allowed", ERR_FORMAT,
		  nested_table },
		{ "a chain has a loop", ERR_FORMAT, table_loops },
		{ "a descriptor's index is past its table", ERR_FORMAT, table_index_past },
		{ "a table's length is wrong", ERR_FORMAT, table_of_nothing },
		{ "a table's length is wrong", ERR_FORMAT, table_of_a_half },
		{ "a table's length is wrong", ERR_FORMAT, table_too_long },
		{ "a table's length is wrong", ERR_FORMAT, table_of_4g },
		{ "its descriptors are not in RAM", ERR_RANGE, table_nowhere },
		{ "a descriptor names a table of others where that is not allowed", ERR_FORMAT,
		  table_not_agreed },
		{ "its descriptors are not in RAM", ERR_RANGE, descriptors_nowhere },
		{ "its available ring is not in RAM", ERR_RANGE, available_nowhere },
		{ "its available ring is not in RAM", ERR_RANGE, entry_nowhere },
	};
	const struct vring fresh = ring;

	for (size_t i = 0; i < ARRAY_COUNT(lies); i++) {
		ring = fresh;
		poke(AVAIL + 2, 0, 2);
		lies[i].tell();
		if (take() != lies[i].err || why == NULL || strcmp(why, lies[i].why) != 0) {
			fail_msg("lie %zu (%s): %s", i, lies[i].why, why);
		}
		assert_int_equal(ring.next_available, 0);
	}
}

TEST(a_used_ring_that_is_not_there, setup, teardown)
{
	desc(DESC, 0, 0x8000, 4, 2, 0);
	offer(0);
	assert_int_equal(take(), 1);
	ring.used = RAM - 4;
	assert_int_equal(vring_give(&ring, &gmem, &chain, 0, &why), ERR_RANGE);
	assert_string_equal(why, "its used ring is not in RAM");
	assert_false(vring_wants_interrupt(&ring, &gmem));
	assert_false(vring_listen(&ring, &gmem));
}

/* Buffers are checked when they are used, and an address may wrap. */
TEST(buffers_outside_are_refused_by_the_door, setup, teardown)
{
	char text[32];

	desc(DESC, 0, RAM - 8, 16, 1, 1);
	desc(DESC, 1, UINT64_MAX - 3, 16, 2, 0);
	offer(0);
	assert_int_equal(take(), 1);
	assert_int_equal(vring_read(&chain, &gmem, 0, text, 8), 0);
	assert_int_equal(vring_read(&chain, &gmem, 0, text, 9), ERR_RANGE);
	assert_int_equal(vring_write(&chain, &gmem, 0, text, 4), ERR_RANGE);
	assert_int_equal(vring_write(&chain, &gmem, 8, text, 4), ERR_RANGE);
}

/* What is copied at once lies in eight segments; those without bytes do not count. */
TEST(copies_go_a_few_segments_far, setup, teardown)
{
	for (unsigned i = 0; i < 12; i++) {
		chain.segments[i] = (struct vring_segment){ 0x8000 + 64 * i, i == 0 ? 0 : 10 };
	}
	chain.readable = 11;
	chain.count = 12;
	chain.near = 0;
	chain.near_offset = 0;
	assert_int_equal(vring_run(&chain, false, 0, 1000), 80);
	assert_int_equal(vring_run(&chain, false, 0, 7), 7);
	assert_int_equal(vring_run(&chain, false, 5, 1000), 75);
	assert_int_equal(vring_run(&chain, false, 95, 1000), 5);
	assert_int_equal(vring_run(&chain, false, 100, 1000), 0);
	assert_int_equal(vring_run(&chain, true, 3, 1000), 7);
}

TEST(the_event_moves_before_the_device_sleeps, setup, teardown)
{
	desc(DESC, 0, 0x8000, 4, 2, 0);
	offer(0);
	assert_int_equal(take(), 1);
	assert_int_equal(take(), 0);
	assert_false(vring_listen(&ring, &gmem));
	assert_int_equal(peek(USED + 4 + 8 * SIZE, 2), 1);
	offer(0);
	assert_true(vring_listen(&ring, &gmem)); /* it came in between */
	ring.event_index = false;
	poke(USED + 4 + 8 * SIZE, 0x55, 2);
	assert_true(vring_listen(&ring, &gmem));
	assert_int_equal(peek(USED + 4 + 8 * SIZE, 2), 0x55);
}

/* virtio 1.2, 2.7.7.2: when old <= event < new, also when the index wraps. */
TEST(interrupts_come_when_the_driver_wants_them, setup, teardown)
{
	static const struct {
		uint16_t before, now, event;
		bool wants;
	} rows[] = {
		{ 0, 1, 0, true },	 { 0, 1, 1, false },	 { 0, 1, 0xffff, false },
		{ 5, 8, 4, false },	 { 5, 8, 5, true },	 { 5, 8, 7, true },
		{ 5, 8, 8, false },	 { 0xfffe, 2, 0, true }, { 0xfffe, 2, 0xfffd, false },
		{ 0xfffe, 2, 2, false }, { 3, 3, 3, false },	 { 3, 3, 2, false },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		ring.notified = rows[i].before;
		ring.next_used = rows[i].now;
		poke(AVAIL + 4 + 2 * SIZE, rows[i].event, 2);
		if (vring_wants_interrupt(&ring, &gmem) != rows[i].wants) {
			fail_msg("row %zu", i);
		}
		assert_false(vring_wants_interrupt(&ring, &gmem)); /* requested once */
	}
	ring.event_index = false;
	ring.next_used++;
	assert_true(vring_wants_interrupt(&ring, &gmem));
	ring.next_used++;
	poke(AVAIL, 1, 2);
	assert_false(vring_wants_interrupt(&ring, &gmem));
}
