/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anything typed at the shell: the editor keeps its line whole, only printable characters, line
 * breaks, backspaces and bells go to the terminal, and each line ends in a known command or words.
 */
#include <string.h>

#include "boot/line_edit.h"
#include "boot/shell.h"
#include "boot/shell_priv.h"
#include "tests/unit/fake_base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define PROMISE(cond)                            \
	do {                                     \
		if (!(cond)) {                   \
			fake_fail("not " #cond); \
		}                                \
	} while (0)

static struct vm_config config = { .name = "alpha", .valid = true, .vcpus = 1 };
static struct vms_entry entry = { .config = &config };

size_t vms_count(void)
{
	return 1;
}

const struct vms_entry *vms_get(size_t index)
{
	PROMISE(index == 0);
	return &entry;
}

static void run(const struct shell_call *call)
{
	for (size_t i = 0; i < call->count; i++) {
		PROMISE(strlen(call->words[i]) <= LINE_EDIT_MAX);
	}
}

static void run_on_vm(const struct shell_call *call)
{
	PROMISE(call->count == 0 || call->vm == &entry);
	run(call);
}

const struct shell_command shell_commands[] = {
	{ "list", "", "", 0, 0, false, run, NULL },
	{ "load", "[WHAT [WHERE [WHEN]]]", "", 0, 3, false, run, NULL },
	{ "pause", "[--seal] NAME", "", 1, 2, true, run_on_vm, "--seal" },
	{ "console", "[NAME]", "", 0, 1, true, run_on_vm, NULL },
};
const size_t shell_command_count = ARRAY_COUNT(shell_commands);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static char typed[4096];
	size_t count = MIN(bytes, sizeof(typed) - 1);
	const char *shown;

	fake_reset();
	memcpy(typed, data, count);
	typed[count] = '\0'; /* a NUL ends it: no terminal sends one */
	fake_console_type(typed);
	shell_poll();
	for (shown = fake_console_text(); *shown != '\0'; shown++) {
		PROMISE((*shown >= ' ' && *shown <= '~') || strchr("\r\n\b\a", *shown) != NULL);
	}
	/* The editor's state outlives a run: leave nothing of it to the next. */
	fake_console_type("\x03\x03");
	shell_poll();
	return 0;
}
