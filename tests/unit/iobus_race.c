/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/iobus.c under ThreadSanitizer: one CPU moves ranges while the others look up addresses. At
 * each moment at least one of two ranges is at HOME, so a lookup there must find a device, and an
 * offset within it. Exits with 0 on success.
 */
#include "tests/unit/race_cpus.h"
#include "vmm/iobus.h"

#define HOME   0xd0000000ul
#define AWAY   0xe0000000ul
#define LENGTH 0x1000ul
#define MOVES  100000u

static struct iobus bus;
static struct iobus_movable *ranges[2];
static bool over;
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
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		struct io_access access = { .size = 4 };

		iobus_memory_access(&bus, HOME + 8, NULL, &access);
		if (access.value != 1 && access.value != 2) {
			race_broken("no device was found, although one was always there");
		}
		if (!iobus_memory_overlaps(&bus, HOME, LENGTH)) {
			race_broken("a page that a device has is free");
		}
	}
	if (answers == 0) {
		race_broken("CPU %u never saw a device", race_self);
	}
}

/*
 * In turn one of the two stays; the other one moves away, once by its base and once by its enable
 * bit.
 */
static void move(void)
{
	for (unsigned i = 0; i < MOVES; i++) {
		iobus_move(&bus, ranges[0], AWAY, true);
		iobus_move(&bus, ranges[0], HOME, true);
		iobus_move(&bus, ranges[1], HOME, false);
		iobus_move(&bus, ranges[1], HOME, true);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
}

static void run(void)
{
	if (race_self == 0) {
		move();
	} else {
		look();
	}
}

int main(void)
{
	for (uintptr_t i = 0; i < 2; i++) {
		ranges[i] = iobus_add_movable(&bus, IO_SPACE_MEMORY, LENGTH, &ops, (void *)(i + 1));
		iobus_move(&bus, ranges[i], HOME, true);
	}
	race_run(run);
	return 0;
}
