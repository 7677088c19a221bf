/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/host/crash_record.c: what is stored of a panic, and what a record of unknown origin shows. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "vmm/base/err.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"
#include "vmm/host/crash_record.h"
#include "vmm/host/power.h"

static char stored[2 * CRASH_RECORD_MAX];
static size_t stored_bytes;
static int store_result;

int power_store_variable(const uint16_t *name, const uint8_t *guid, uint32_t attributes,
			 const void *data, size_t bytes)
{
	assert_int_equal(name[0], 'U');
	assert_ptr_equal(guid, crash_record_guid);
	assert_int_equal(attributes, 7);
	assert_in_range(bytes, 1, CRASH_RECORD_MAX);
	memcpy(stored, data, bytes);
	stored[bytes] = '\0';
	stored_bytes = bytes;
	return store_result;
}

/* The log's lines as a console shows them. */
static char shown[1 << 16];
static size_t shown_bytes;

static void show(const char *text, size_t bytes)
{
	assert_true(shown_bytes + bytes < sizeof(shown));
	memcpy(shown + shown_bytes, text, bytes);
	shown_bytes += bytes;
	shown[shown_bytes] = '\0';
}

static const struct console_sink sink = { .name = "test", .write = show };

static int setup(void **state)
{
	fake_x86_reset();
	fake_tsc_hz = 0;
	assert_int_equal(console_add_sink(&sink), 0);
	shown_bytes = 0;
	shown[0] = '\0';
	store_result = 0;
	stored_bytes = 0;
	return 0;
}

static int teardown(void **state)
{
	console_remove_sink(&sink);
	return 0;
}

static void expect(const char *text)
{
	if (strstr(shown, text) == NULL) {
		fail_msg("\"%s\" is not in:\n%s", text, shown);
	}
}

TEST(test_store, setup, teardown)
{
	crash_record_init("");
	log_info("of before");
	crash_record_begin();
	log_error("PANIC: CPU %u: %s", 1, "reason");
	log_error("  rax 0");
	log_warn("a warning");
	crash_record_store();
	assert_string_equal(stored, "Umbra test, which began at an unknown time\n"
				    "PANIC: CPU 1: reason\n  rax 0\numbra: warning: a warning\n");
	expect("the next boot shows them again");
	fake_tsc = 1000;
	crash_record_init("2026-01-31 23:59:59");
	fake_tsc_hz = 500;
	fake_tsc = 4000;
	crash_record_store();
	assert_non_null(strstr(stored, "which began 2026-01-31 23:59:59 and ran 6 s\nPANIC"));
}

TEST(test_results, setup, teardown)
{
	store_result = ERR_NOTFOUND;
	crash_record_store();
	expect("cannot keep these lines for the next boot: it offers no service");
	store_result = ERR_IO;
	crash_record_store();
	expect("firmware faulted as it was asked");
	store_result = 9;
	crash_record_store();
	expect("does not keep these lines for the next boot: EFI error 9");
}

/* However long the text: the first lines are stored, even if the ring had wrapped before. */
TEST(test_long, setup, teardown)
{
	for (unsigned i = 0; i < 1000; i++) {
		log_debug("nothing");
		log_info("line %u of before, which fills the ring of the log", i);
		shown_bytes = 0;
	}
	crash_record_begin();
	log_error("the first");
	for (unsigned i = 0; i < 1000; i++) {
		log_error("line %u", i);
		shown_bytes = 0;
		if (i == 300) {
			crash_record_store();
			assert_int_equal(stored_bytes, CRASH_RECORD_MAX);
			assert_non_null(strstr(stored, "\nthe first\nline 0\nline 1\n"));
			assert_null(strstr(stored, "before"));
		}
	}
	crash_record_store(); /* the ring has wrapped since: what is left is stored */
	assert_int_equal(stored_bytes, CRASH_RECORD_MAX);
}

TEST(test_show, setup, teardown)
{
	static const char text[] = "Umbra\nPANIC\n\n\x1b[2J\x80\n\ttab\r\nno end";

	crash_record_show(text, sizeof(text) - 1);
	expect("ended in a panic; firmware kept this of it:\r\n"
	       "umbra: warning: | Umbra\r\numbra: warning: | PANIC\r\n"
	       "umbra: warning: | ?[2J?\r\numbra: warning: | ?tab?\r\n"
	       "umbra: warning: | no end\r\n");
	crash_record_show("", 0);
}

/* Bytes beyond the size of a record are not shown. */
TEST(test_show_long, setup, teardown)
{
	static char text[3 * CRASH_RECORD_MAX];
	size_t count = 0;

	memset(text, '#', sizeof(text));
	crash_record_show(text, sizeof(text));
	for (size_t i = 0; i < shown_bytes; i++) {
		count += shown[i] == '#';
	}
	assert_int_equal(count, CRASH_RECORD_MAX);
}

/* Any bytes, any length: only printable bytes are shown, and no more than a record may hold. */
TEST(test_anything, setup, teardown)
{
	static char bytes[3 * CRASH_RECORD_MAX];

	srand(1);
	for (unsigned round = 0; round < 2000; round++) {
		const size_t count = (size_t)rand() % sizeof(bytes);
		char *exact = malloc(count + 1); /* so that ASan detects a read beyond */

		for (size_t i = 0; i < count; i++) {
			const bool text = round % 2 != 0 && rand() % 50 != 0;

			bytes[i] = (char)(text ? 'a' + rand() % 26 : rand());
		}
		memcpy(exact, bytes, count);
		shown_bytes = 0;
		crash_record_show(exact, count);
		free(exact);
		for (size_t i = 0; i < shown_bytes; i++) {
			const char c = shown[i];

			assert_true((c >= 0x20 && c < 0x7f) || c == '\r' || c == '\n');
		}
		assert_true(shown_bytes < 40 * CRASH_RECORD_MAX);
	}
}
