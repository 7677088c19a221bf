/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/iobus.c under ThreadSanitizer: one CPU moves ranges while two look up. At each moment at
 * least one of two ranges is at HOME, so whoever looks there finds a device, and an offset within
 * it. 0: all is well.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/iobus.h"

#define HOME	0xd0000000ull
#define AWAY	0xe0000000ull
#define LENGTH	0x1000ull
#define MOVES	100000u
#define READERS 2

static struct iobus bus;
static struct iobus_movable *ranges[2];
static bool over;
static _Thread_local uint64_t answers;

static _Noreturn void broken(const char *why)
{
	printf("broken: %s\n", why);
	exit(1);
}

static void answer(void *device, struct vcpu *vcpu, struct io_access *access)
{
	(void)vcpu;
	if (access->offset != 8) {
		broken("an offset that is of another base");
	}
	access->value = (uintptr_t)device;
	answers++;
}

static const struct io_ops ops = { .name = "race", .access = answer };

static void *look(void *unused)
{
	(void)unused;
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		struct io_access access = { .size = 4 };

		iobus_memory_access(&bus, HOME + 8, NULL, &access);
		if (access.value != 1 && access.value != 2) {
			broken("nobody was there, and somebody was there all the time");
		}
		if (!iobus_memory_overlaps(&bus, HOME, LENGTH)) {
			broken("a page that a device has is free");
		}
	}
	return answers != 0 ? &bus : NULL;
}

int main(void)
{
	pthread_t readers[READERS];

	for (uintptr_t i = 0; i < 2; i++) {
		ranges[i] = iobus_add_movable(&bus, IO_SPACE_MEMORY, LENGTH, &ops, (void *)(i + 1));
		iobus_move(&bus, ranges[i], HOME, true);
	}
	for (unsigned i = 0; i < READERS; i++) {
		if (pthread_create(&readers[i], NULL, look, NULL) != 0) {
			broken("no thread");
		}
	}
	/* Which of the two stays changes each time; one leaves by its base, the other by its bit.
	 */
	for (unsigned i = 0; i < MOVES; i++) {
		iobus_move(&bus, ranges[0], AWAY, true);
		iobus_move(&bus, ranges[0], HOME, true);
		iobus_move(&bus, ranges[1], HOME, false);
		iobus_move(&bus, ranges[1], HOME, true);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < READERS; i++) {
		void *answered;

		if (pthread_join(readers[i], &answered) != 0 || answered == NULL) {
			broken("a reader never saw a device");
		}
	}
	return 0;
}
