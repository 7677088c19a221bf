/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/iobus.c under ThreadSanitizer: two CPUs move two ranges each while the others look up
 * addresses. At each moment at least one of the two ranges is at HOME of their CPU, so a lookup
 * there must find a device, and an offset within it; a lookup at NEVER must find none. No move is
 * lost from the count of moves, by which readers know that they must look again. Exits with 0 on
 * success.
 */
#include "tests/unit/race_cpus.h"
#include "vmm/iobus.h"

#define HOME   0xd0000000ul /* of CPU 0; that of CPU 1 is STRIDE behind it */
#define AWAY   0xe0000000ul
#define NEVER  0xf0000000ul /* only disabled ranges are put there */
#define STRIDE 0x10000ul
#define MOVERS 2u
#define LENGTH 0x1000ul
#define MOVES  1000u

static uint32_t moves[MOVERS]; /* so many each has made; atomic */

/*
 * The test includes iobus.c. Now and then a CPU waits before a load, or between computing a value
 * and storing it, until the other mover has moved on, or could have. So in each run two moves that
 * nothing keeps apart meet.
 */
static void let_others(void)
{
	static _Thread_local unsigned calls;
	const uint32_t *other = &moves[race_self == 0 ? 1 : 0];
	uint32_t before;

	if (++calls % 97 != 0) {
		return;
	}
	before = __atomic_load_n(other, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 50 && __atomic_load_n(other, __ATOMIC_RELAXED) - before < 2; i++) {
		race_pause();
	}
}
#undef atomic_store_release
#define atomic_store_release(field, value)                                \
	do {                                                              \
		const __typeof__((field)->only) made = (value);           \
                                                                          \
		let_others();                                             \
		__atomic_store_n(&(field)->only, made, __ATOMIC_RELEASE); \
	} while (0)
#undef atomic_load_acquire
#define atomic_load_acquire(field) (let_others(), __atomic_load_n(&(field)->only, __ATOMIC_ACQUIRE))
#include "vmm/iobus.c"

static struct iobus bus;
static struct iobus_movable *ranges[MOVERS][2];
static uint32_t moving = MOVERS;
static _Thread_local uint64_t answers;

static void answer(void *device, struct vcpu *vcpu, struct io_access *access)
{
	if (access->offset != 8) {
		race_broken("an offset that is of another base");
	}
	access->value = (uintptr_t)device;
	answers++;
}

static const struct io_ops ops = { .name = "race", .access = answer };

static void look(void)
{
	while (__atomic_load_n(&moving, __ATOMIC_RELAXED) != 0) {
		const uint64_t home = HOME + race_random(MOVERS) * STRIDE;
		struct io_access access = { .size = 4 };

		iobus_memory_access(&bus, home + 8, NULL, &access);
		if (access.value != 1 && access.value != 2) {
			race_broken("no device was found, although one was always there");
		}
		if (!iobus_memory_overlaps(&bus, home, LENGTH)) {
			race_broken("a page that a device has is free");
		}
		if (iobus_memory_overlaps(&bus, NEVER, LENGTH)) {
			race_broken("a disabled range was found");
		}
	}
	if (answers == 0) {
		race_broken("CPU %u never saw a device", race_self);
	}
}

/*
 * The two ranges take turns: one stays, the other one moves away: by its base, by its enable bit,
 * and by both.
 */
static void move(void)
{
	struct iobus_movable **mine = ranges[race_self];
	const uint64_t home = HOME + race_self * STRIDE;

	for (unsigned i = 0; i < MOVES; i++) {
		iobus_move(&bus, mine[0], AWAY, true);
		iobus_move(&bus, mine[0], home, true);
		iobus_move(&bus, mine[1], home, false);
		iobus_move(&bus, mine[1], home, true);
		iobus_move(&bus, mine[1], NEVER, false);
		iobus_move(&bus, mine[1], home, true);
		__atomic_fetch_add(&moves[race_self], 1, __ATOMIC_RELAXED);
	}
	/* Before the readers end: they would wait for ever if the count stayed odd. */
	if (__atomic_sub_fetch(&moving, 1, __ATOMIC_ACQ_REL) == 0 &&
	    atomic_load_relaxed(&bus.move_sequence) != 2 * MOVERS * (6 * MOVES + 2)) {
		race_broken("moves were not counted");
	}
}

static void run(void)
{
	if (race_self < MOVERS) {
		move();
	} else {
		look();
	}
}

int main(void)
{
	for (uintptr_t i = 0; i < 2 * MOVERS; i++) {
		struct iobus_movable **range = &ranges[i / 2][i % 2];

		*range = iobus_add_movable(&bus, IO_SPACE_MEMORY, LENGTH, &ops,
					   (void *)(i % 2 + 1));
		iobus_move(&bus, *range, HOME + i / 2 * STRIDE, true);
	}
	race_run(run);
	return 0;
}
