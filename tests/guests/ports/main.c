/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of ports that answer is closed: every other port reads all ones, so that nothing of the
 * real machine shows. Then, as a bad guest: every port in and out at every width, then random ones,
 * with random values. The test leaves out only the ports that correctly end a guest (ACPI
 * power-off, reset) and output to the UART, so that its messages stay readable.
 */
#include "tests/guests/common/guest.h"

#define RANDOM_ROUNDS 20000

static bool within(uint16_t port, unsigned size, uint16_t first, uint16_t count)
{
	return port < first + count && port + size > first;
}

static bool spared(uint16_t port, unsigned size)
{
	return within(port, size, PORT_PM1_EVENT, 6) || within(port, size, PORT_RESET, 1) ||
	       within(port, size, 0x92, 1) || within(port, size, 0x64, 1) ||
	       within(port, size, PORT_COM1, 8);
}

/* All ports of a VM (guest/README.md). The keyboard controller's port is only written to. */
static const struct {
	uint16_t first, count;
} owned[] = { { 0x20, 2 },  { PORT_PIT, 4 }, { 0x61, 1 },  { PORT_RTC, 2 },
	      { 0xa0, 2 },  { 0x4d0, 2 },    { 0x505, 1 }, { PORT_COM1, 8 },
	      { 0x600, 4 }, { 0x604, 2 },    { 0x608, 4 }, { 0xcf8, 8 } };

/* The index of the range that holds all these ports, or -1. */
static int owner(uint32_t port, unsigned size)
{
	for (unsigned i = 0; i < ARRAY_COUNT(owned); i++) {
		if (port >= owned[i].first && port + size <= owned[i].first + owned[i].count) {
			return (int)i;
		}
	}
	return -1;
}

static void expect_owner(uint32_t port, unsigned size, bool answers, bool *seen)
{
	int at = owner(port, size);

	if (answers && at < 0) {
		fail("port %x answers to a read of %u bytes", port, size);
	}
	if (answers) {
		seen[at] = true;
	}
}

static void check_list(void)
{
	bool seen[ARRAY_COUNT(owned)] = { false };

	for (uint32_t port = 0; port < 0x10000; port++) {
		expect_owner(port, 1, in8((uint16_t)port) != UINT8_MAX, seen);
		expect_owner(port, 2, in16((uint16_t)port) != UINT16_MAX, seen);
		expect_owner(port, 4, in32((uint16_t)port) != UINT32_MAX, seen);
	}
	for (unsigned i = 0; i < ARRAY_COUNT(owned); i++) {
		if (!seen[i]) {
			fail("nothing answers at port %x", owned[i].first);
		}
	}
	print("%lu ranges of ports answer, and no other port\n", ARRAY_COUNT(owned));
}

static void touch(uint16_t port, uint32_t value)
{
	(void)in8(port);
	(void)in16(port);
	(void)in32(port);
	if (!spared(port, 1)) {
		out8(port, (uint8_t)value);
	}
	if (!spared(port, 2)) {
		out16(port, (uint16_t)value);
	}
	if (!spared(port, 4)) {
		out32(port, value);
	}
}

void guest_main(void)
{
	uint32_t step = (uint32_t)arg_number("step", 1);

	check_list();
	for (uint32_t port = 0; port < 0x10000; port += port < 0x1000 ? 1 : step) {
		touch((uint16_t)port, (uint32_t)random64());
	}
	for (unsigned i = 0; i < RANDOM_ROUNDS; i++) {
		uint64_t random = random64();

		touch((uint16_t)random, (uint32_t)(random >> 16));
	}
	/* Registers behind the RTC's index port, and PCI configuration, through their own ports. */
	for (unsigned i = 0; i < 256; i++) {
		out8(PORT_RTC, (uint8_t)i);
		(void)in8(PORT_RTC + 1);
		out8(PORT_RTC + 1, (uint8_t)random64());
	}
	for (uint32_t i = 0; i < 0x10000; i += 0x100) {
		out32(0xcf8, 0x80000000 | i);
		(void)in32(0xcfc);
		out32(0xcfc, (uint32_t)random64());
	}
	print("all ports touched\n");
}
