/* SPDX-License-Identifier: Apache-2.0 */
/* The shell's help: the list of commands, and the keys of umbra.conf from their rows. */
#include "boot/shell_priv.h"

#include "boot/config.h"
#include "guest/vconsole.h"
#include "vmm/base/str.h"

#define COLUMNS 72u /* characters of a line of text, after its indentation */

static void help_line(const struct shell_command *command)
{
	char left[40];

	str_printf(left, sizeof(left), "%s %s", command->name, command->arguments);
	shell_print("  %-24s %s", left, command->what);
}

/* Prints text of any length, in lines that end between words. */
static void print_wrapped(const char *text)
{
	while (*text != '\0') {
		char line[COLUMNS + 1];
		size_t used = MIN(strlen(text), (size_t)COLUMNS);

		if (text[used] != '\0') {
			while (used > 1 && text[used] != ' ') {
				used--;
			}
		}
		(void)str_copy(line, used + 1, text);
		shell_print("    %s", line);
		for (text += used; *text == ' '; text++) {
		}
	}
}

static void help_key(const struct config_key *key)
{
	const char *word = key->standard != NULL ? key->standard : key->absent;
	char allowed[CONFIG_ALLOWED_MAX], text[CONFIG_ALLOWED_MAX + 16];

	shell_print("  [%s%s] %s", key->section, strcmp(key->section, "host") != 0 ? " NAME" : "",
		    key->name);
	str_printf(text, sizeof(text), "Must be %s.", config_allowed(key, allowed));
	print_wrapped(text);
	str_printf(text, sizeof(text),
		   word != NULL ? "If absent: %s." : "Must be given, such as %s.",
		   word != NULL ? word : key->example);
	print_wrapped(text);
	print_wrapped(key->help);
	if (key->list) {
		print_wrapped("Items are separated by commas; the key may be repeated.");
	}
}

/* Prints the names of all keys in a few lines. */
static void list_keys(void)
{
	char text[512];
	size_t used = 0;

	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];

		if (used != 0 && strcmp(key->section, key[-1].section) == 0) {
			used += str_printf(text + used, sizeof(text) - used, ", %s", key->name);
		} else {
			used = str_printf(text, sizeof(text), "[%s]: %s", key->section, key->name);
		}
		if (i + 1 == config_key_count || strcmp(key->section, key[1].section) != 0) {
			print_wrapped(text);
		}
	}
	shell_print("\"help config KEY\" explains one.");
}

static void help_config(const char *name)
{
	const struct config_key *key = config_find_key(name, NULL);

	if (key == NULL) {
		shell_print("umbra.conf has no key \"%.32s\"; \"help config\" lists them", name);
	}
	for (; key != NULL; key = config_find_key(name, key)) {
		help_key(key);
	}
}

/* Returns false if there is no such command. */
static bool help_command(const struct shell_call *call, const char *name)
{
	for (size_t i = 0; i < call->command_count; i++) {
		if (str_equal_nocase(call->commands[i].name, name)) {
			help_line(&call->commands[i]);
			return true;
		}
	}
	return false;
}

void shell_run_help(const struct shell_call *call)
{
	if (call->count == 0) {
		for (size_t i = 0; i < call->command_count; i++) {
			help_line(&call->commands[i]);
		}
		shell_print("Keys: %s between VM and shell, Tab completes, arrows move and recall.",
			    vconsole_escape_name());
	} else if (str_equal_nocase(call->words[0], "config")) {
		if (call->count == 1) {
			list_keys();
		} else {
			help_config(call->words[1]);
		}
	} else if (call->count != 1 || !help_command(call, call->words[0])) {
		shell_print("\"%.32s\" is not a command; \"help\" lists them", call->words[0]);
	}
}
