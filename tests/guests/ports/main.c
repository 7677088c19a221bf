/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad guest: every port in and out at every width, then random ones, with random values. Spared
 * are only the ports that end a guest rightly (ACPI power-off, reset) and, for output, the UART so
 * that the words stay readable.
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

	for (uint32_t port = 0; port < 0x10000; port += port < 0x1000 ? 1 : step) {
		touch((uint16_t)port, (uint32_t)random64());
	}
	for (unsigned i = 0; i < RANDOM_ROUNDS; i++) {
		uint64_t random = random64();

		touch((uint16_t)random, (uint32_t)(random >> 16));
	}
	/* The registers that the RTC's index leads to, and PCI configuration, by their own scheme.
	 */
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
