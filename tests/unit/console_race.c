/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that log, guests that write, and a serial line that is slower than all of them, under
 * ThreadSanitizer. It is a data race if two CPUs use a register of the UART at once, or if a byte
 * is read while it is written. The output must be whole lines, each once and in order. Exits with 0
 * on success.
 *
 * CPU 0: the boot processor. CPU 1: logs, and helps. CPU 2 and 3: one VM each.
 */
#include <stdio.h>
#include <string.h>

#include "guest/vconsole.h"
#include "tests/unit/race_cpus.h"
#include "vmm/base/cpu.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"
#include "vmm/console/serial.h"

#define LINES	 4000u
#define LSR_TURN 3u /* every third read of LSR shows an empty transmitter */

static uint64_t clock_ticks, helped;
static struct vconsole consoles[2];
static uint32_t running = RACE_CPUS - 1; /* how many writers still run */

/* The UART: plain memory, because only one CPU at a time may use it. */
static char line[1 << 21];
static size_t line_bytes;
static unsigned looks, fifo, typed;
static bool arrived; /* a byte has arrived and is not read yet */
static uint8_t mcr, lcr;

uint64_t fake_rdtsc(void)
{
	return __atomic_add_fetch(&clock_ticks, 1000, __ATOMIC_RELAXED);
}

uint8_t fake_in8(uint16_t port)
{
	switch (port - 0x3f8) {
	case 0: arrived = false; return (uint8_t)('a' + typed++ % 26);
	case 2: return 0xc1;
	case 4: return mcr;
	case 5:
		looks++;
		fifo = looks % LSR_TURN == 0 ? 0 : fifo;
		__atomic_add_fetch(&helped, race_self != 0, __ATOMIC_RELAXED);
		arrived = arrived || looks % 20 == 0;
		return (uint8_t)((fifo == 0 ? 0x60 : 0) | (arrived ? 1 : 0));
	case 6: return (mcr & 0x10) == 0 ? 0xb0 : (mcr & 0xe) == 0xe ? 0xd0 : 0;
	default: return 0xff; /* the keyboard's ports too */
	}
}

void fake_out8(uint16_t port, uint8_t value)
{
	if (port == 0x3f8 + 4) {
		mcr = value;
	} else if (port == 0x3f8 + 3) {
		lcr = value;
	} else if (port == 0x3f8 && (lcr & 0x80) == 0 && line_bytes < sizeof(line) - 1) {
		if (fifo++ == 16) {
			race_broken("a byte too many for the FIFO");
		}
		line[line_bytes++] = (char)value;
	}
}

static void guest(struct vconsole *console, uint32_t number)
{
	char text[32];
	int bytes = snprintf(text, sizeof(text), "line %u.\n", number);

	for (int i = 0; i < bytes; i++) {
		while (!vconsole_ready(console)) {
			race_pause();
		}
		vconsole_put(console, (uint8_t)text[i]);
	}
}

static void write_lines(void)
{
	for (uint32_t i = 0; i < LINES; i++) {
		if (race_self >= 2) {
			guest(&consoles[race_self - 2], i);
			continue;
		}
		do {
			(void)console_flush(); /* as the boot processor does at each of its turns */
			race_pause();
		} while (!console_has_room());
		log_info("line %u.", i);
	}
	__atomic_sub_fetch(&running, 1, __ATOMIC_RELEASE);
}

/*
 * Waits as long as it takes another CPU to help; not for ever, because that CPU may have nothing to
 * do.
 */
static void be_late(void)
{
	const uint64_t before = __atomic_load_n(&helped, __ATOMIC_RELAXED);

	__atomic_add_fetch(&clock_ticks, 3000000, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 1000; i++) {
		if (__atomic_load_n(&helped, __ATOMIC_RELAXED) != before) {
			return;
		}
		race_pause();
	}
}

static bool all_is_shown(const struct vconsole *console)
{
	return atomic_load_relaxed(&console->shown) == atomic_load_relaxed(&console->written);
}

static void boot_processor(void)
{
	unsigned got = 0;
	int byte;

	for (unsigned turn = 0;; turn++) {
		const bool over = __atomic_load_n(&running, __ATOMIC_ACQUIRE) == 0;

		vconsole_show();
		console_listen();
		while ((byte = console_getc()) >= 0) {
			if (byte != 'a' + (int)(got++ % 26)) {
				race_broken("what was typed is out of order");
			}
		}
		if (turn % 64 == 0) {
			be_late();
		}
		if (!console_flush() && over && all_is_shown(&consoles[0]) &&
		    all_is_shown(&consoles[1])) {
			break;
		}
	}
	if (got < 100) {
		race_broken("little was typed");
	}
}

static void run(void)
{
	if (race_self == 0) {
		boot_processor();
	} else {
		write_lines();
	}
}

static void expect_lines(const char *before)
{
	const char *at = line;
	char text[64];

	for (uint32_t i = 0; i < LINES; i++) {
		snprintf(text, sizeof(text), "\n%sline %u.\r\n", before, i);
		at = strstr(at, text);
		if (at == NULL) {
			printf("%s%u: ", before, i);
			race_broken("a line is missing, or out of order");
		}
	}
}

int main(void)
{
	if (console_open_serial(&serial_com1) != 0) {
		race_broken("no UART");
	}
	console_stop_waiting();
	console_write("\r\n", 2);
	vconsole_attach(&consoles[0], "alpha");
	vconsole_attach(&consoles[1], "beta");
	race_run(run);
	expect_lines("umbra: ");
	expect_lines("[alpha] ");
	expect_lines("[beta] ");
	printf("%zu bytes were sent; %lu looks by a CPU that helped\n", line_bytes, helped);
	return helped == 0;
}
