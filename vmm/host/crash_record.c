/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record is plain text, so reading it needs no parser: lines as in the log, with LF between
 * them. The log holds no keys and no memory of guests. No lock: only one CPU runs.
 */
#include "vmm/host/crash_record.h"

#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"
#include "vmm/host/power.h"

#define LINE_MAX 160

/* 6d8f0b52-3c1e-4c5a-9d07-51b2a4c8e630, a random GUID for this variable. */
const uint8_t crash_record_guid[16] = { 0x52, 0x0b, 0x8f, 0x6d, 0x1e, 0x3c, 0x5a, 0x4c,
					0x9d, 0x07, 0x51, 0xb2, 0xa4, 0xc8, 0xe6, 0x30 };
const uint16_t crash_record_variable[] = { 'U', 'm', 'b', 'r', 'a', 'P', 'a', 'n', 'i', 'c', 0 };

static char began_text[32] = "at an unknown time";
static uint64_t began_tsc;
static size_t first_line; /* console_kept() when the panic began */

void crash_record_init(const char *began)
{
	if (began[0] != '\0') {
		(void)str_copy(began_text, sizeof(began_text), began); /* may cut the text */
	}
	began_tsc = cpu_rdtsc();
}

void crash_record_begin(void)
{
	first_line = console_kept();
}

/*
 * Copies the log's lines without the prefix "umbra: error: " and without CR. Returns the number of
 * bytes.
 */
static size_t take_lines(char *text, size_t bytes)
{
	static const char prefix[] = "umbra: error: ";
	/* Larger than the record, because lines get shorter: the prefix and CR are left out. */
	static char lines[CRASH_RECORD_MAX * 4];
	const size_t got = console_kept_since(first_line, lines, sizeof(lines));
	size_t used = 0;

	for (size_t at = 0; at < got && used < bytes; at++) {
		if ((at == 0 || lines[at - 1] == '\n') && got - at >= sizeof(prefix) - 1 &&
		    memcmp(lines + at, prefix, sizeof(prefix) - 1) == 0) {
			at += sizeof(prefix) - 1;
		}
		if (at < got && lines[at] != '\r') {
			text[used++] = lines[at];
		}
	}
	return used;
}

void crash_record_store(void)
{
	static char text[CRASH_RECORD_MAX];
	size_t used = str_printf(text, sizeof(text), "Umbra %s, which began %s", UMBRA_VERSION,
				 began_text);
	int err;

	if (tsc_hz() != 0 && began_tsc != 0) {
		used += str_printf(text + used, sizeof(text) - used, " and ran %lu s",
				   (cpu_rdtsc() - began_tsc) / tsc_hz());
	}
	text[used++] = '\n';
	used += take_lines(text + used, sizeof(text) - used);
	err = power_store_variable(crash_record_variable, crash_record_guid,
				   CRASH_RECORD_ATTRIBUTES, text, used);
	if (err == 0) {
		log_error("firmware keeps these lines: the next boot shows them again");
	} else if (err == ERR_NOTFOUND) {
		log_error("firmware cannot keep these lines for the next boot: it offers no "
			  "service, or its memory could not be mapped");
	} else if (err == ERR_IO) {
		log_error("firmware faulted as it was asked to keep these lines for the next boot");
	} else {
		log_error("firmware does not keep these lines for the next boot: EFI error %d",
			  err);
	}
}

void crash_record_show(const char *text, size_t bytes)
{
	char line[LINE_MAX + 1];
	size_t used = 0;

	bytes = MIN(bytes, (size_t)CRASH_RECORD_MAX);
	log_warn("the last run of Umbra ended in a panic; firmware kept this of it:");
	for (size_t at = 0; at < bytes; at++) {
		const char c = text[at];

		if (c != '\n') {
			line[used++] = c >= 0x20 && c < 0x7f ? c : '?';
		}
		if ((c == '\n' || used == LINE_MAX || at + 1 == bytes) && used != 0) {
			line[used] = '\0';
			log_warn("| %s", line);
			used = 0;
		}
	}
}
