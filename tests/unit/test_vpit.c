/* SPDX-License-Identifier: Apache-2.0 */
/* guest/dev/vpit.c: how often it interrupts. Its registers are tested in test_vlegacy.c. */
#include "tests/unit/test.h"
#include "guest/dev/vclock.h"
#include "guest/dev/vpit.h"

#define MODE_RATE   2
#define MODE_SQUARE 3

static struct vpit pit;

static void load(unsigned mode, uint16_t count)
{
	vpit_write(&pit, 3, (uint8_t)(0x30 | mode << 1), fake_tsc);
	vpit_write(&pit, 0, (uint8_t)count, fake_tsc);
	vpit_write(&pit, 0, (uint8_t)(count >> 8), fake_tsc);
}

/* Interrupts in a second for a caller that polls when one is due, and so many times between two. */
static uint64_t count_in_a_second(unsigned looks_between)
{
	const uint64_t end = fake_tsc + fake_tsc_hz;
	uint64_t count = 0, next;

	for (;;) {
		count += vpit_irq_edge(&pit, fake_tsc) ? 1 : 0;
		next = vpit_next_edge(&pit);
		assert_true(next > fake_tsc);
		for (unsigned i = 1; i <= looks_between; i++) {
			count += vpit_irq_edge(&pit, fake_tsc + (next - fake_tsc) * i /
									(looks_between + 1));
		}
		fake_tsc = next;
		if (next > end) {
			return count;
		}
	}
}

static int setup(void **state)
{
	int err = fake_setup(state);

	fake_tsc = fake_tsc_hz;
	vpit_init(&pit, fake_tsc);
	return err;
}

/* No guest gets a million interrupts a second, however often it makes Umbra poll. */
TEST(interrupts_have_a_least_period, setup, fake_teardown)
{
	static const unsigned modes[] = { MODE_RATE, MODE_SQUARE };

	for (unsigned i = 0; i < ARRAY_COUNT(modes); i++) {
		for (unsigned looks = 0; looks < 20; looks += 19) {
			load(modes[i], 1);
			assert_in_range(count_in_a_second(looks),
					VCLOCK_IRQS_PER_SECOND_MAX * 99 / 100,
					VCLOCK_IRQS_PER_SECOND_MAX + 1);
		}
	}
}

TEST(other_periods_are_kept, setup, fake_teardown)
{
	load(MODE_RATE, 1193);
	assert_in_range(count_in_a_second(0), 999, 1001);
	load(MODE_RATE + 4, 1193); /* the third bit of the mode is ignored */
	assert_in_range(count_in_a_second(0), 999, 1001);
	load(MODE_SQUARE + 4, 1193);
	assert_in_range(count_in_a_second(0), 999, 1001);
	load(MODE_SQUARE, 130);
	assert_in_range(count_in_a_second(3), 9170, 9180);
}
