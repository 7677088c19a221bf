/* SPDX-License-Identifier: Apache-2.0 */
/* guest/cmdline.c: which words cause a warning, and that nothing else is logged. */
#include "tests/unit/test.h"
#include "guest/cmdline.h"

static const char *warned(const char *cmdline)
{
	fake_log_reset();
	cmdline_warn("alpha", cmdline);
	return fake_log_text();
}

TEST(words_without_interrupts_are_named, fake_setup, fake_teardown)
{
	static const char *const words[] = { "acpi=off", "acpi=noirq", "pci=noacpi",
					     "noapic",	 "nolapic",    "disableapic" };

	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		char line[64] = "console=ttyS0 ";

		strcat(line, words[i]);
		assert_non_null(strstr(warned(line), "warning: vm alpha: its command line has \""));
		assert_non_null(strstr(fake_log_text(), words[i]));
		strcat(line, "\tquiet");
		assert_non_null(strstr(warned(line), words[i]));
		assert_null(strstr(fake_log_text(), "quiet"));
	}
	assert_non_null(strstr(warned("noapic acpi=off"), "noapic"));
	assert_non_null(strstr(fake_log_text(), "acpi=off"));
}

TEST(other_words_are_not_named, fake_setup, fake_teardown)
{
	static const char *const lines[] = {
		"",
		" ",
		"console=ttyS0 acpi=on",
		"acpi=offf",
		"xnoapic",
		"noapictimer",
		"acpi=of",
		"nolapic_timer",
		"NOAPIC",
		"pci=noacpi,x",
		"quiet -- noapic",
	};

	for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
		assert_string_equal(warned(lines[i]), "");
	}
}
