/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of the shell, and how it turns a line into the call of a command. The commands are in
 * shell_commands.c. The shell checks all that is typed, and does not trust it.
 */
#include "boot/shell.h"

#include "boot/line_edit.h"
#include "boot/shell_priv.h"
#include "boot/vms.h"
#include "guest/vconsole.h"
#include "vmm/base/cpu.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"

#define OPTION_MAX 16
#define WORDS_MAX  3u

static size_t complete(const char *text, char *words, size_t bytes);
static struct line_edit editor = {
	.prompt = "umbra> ",
	.write = console_write,
	.complete = complete,
	.at = shell_take_corner,
};

/*
 * escaped: the escape key has opened the shell, and nothing was typed since. If it is pressed again
 * within TWICE_US, it goes to the VM.
 */
#define TWICE_US 1000000u
static bool escaped;
static uint64_t escaped_at; /* TSC */

/* Shows the line that is being typed: after a line of the log, or at its start. */
static void show_line(void)
{
	if (shell_state.asking != NULL) {
		console_write(shell_state.asking_prompt, strlen(shell_state.asking_prompt));
	} else {
		line_edit_show(&editor);
	}
}

/* After a command. */
static void next_line(void)
{
	if (shell_state.live != NULL) {
		return;
	}
	if (shell_state.asking != NULL) {
		show_line();
	} else {
		line_edit_begin(&editor);
	}
}

/* --- Lines --- */

static size_t split(char *line, char *words[WORDS_MAX + 1])
{
	size_t count = 0;

	for (;;) {
		while (str_is_space(*line)) {
			*line++ = '\0';
		}
		if (*line == '\0' || count > WORDS_MAX) {
			return count;
		}
		words[count++] = line;
		while (*line != '\0' && !str_is_space(*line)) {
			line++;
		}
	}
}

/* Finds a command by its name. Case does not matter. Returns NULL if there is no such command. */
static const struct shell_command *find_command(const char *name)
{
	for (size_t i = 0; i < shell_command_count; i++) {
		if (str_equal_nocase(shell_commands[i].name, name)) {
			return &shell_commands[i];
		}
	}
	return NULL;
}

/* Finds the VM that a command names. Prints a message and returns NULL if there is none. */
static const struct vms_entry *find_vm(const char *name)
{
	for (size_t i = 0; i < vms_count(); i++) {
		if (str_equal_nocase(vms_get(i)->config->name, name)) {
			return vms_get(i);
		}
	}
	shell_print("there is no VM \"%.32s\"; \"vms\" lists them", name);
	return NULL;
}

/*
 * Copies the option at *list, of at most OPTION_MAX - 1 letters, and moves *list to the next.
 * Returns NULL at the end.
 */
static const char *next_option(const char **list, char option[OPTION_MAX])
{
	size_t length = 0;

	while (**list != '\0' && **list != '|' && length < OPTION_MAX - 1) {
		option[length++] = *(*list)++;
	}
	option[length] = '\0';
	*list += **list == '|' ? 1 : 0;
	return length != 0 ? option : NULL;
}

static bool is_option(const struct shell_command *command, const char *word)
{
	const char *list = command->options, *one;
	char option[OPTION_MAX];

	while ((one = next_option(&list, option)) != NULL) {
		if (str_equal_nocase(word, one)) {
			return true;
		}
	}
	return false;
}

void shell_run(char *line)
{
	char *words[WORDS_MAX + 1];
	size_t count = split(line, words);
	const struct shell_command *command;
	struct shell_call call = {
		.count = count - (count != 0),
		.commands = shell_commands,
		.command_count = shell_command_count,
	};

	if (count == 0) {
		return;
	}
	command = find_command(words[0]);
	if (command == NULL) {
		shell_print("\"%.32s\" is not a command; \"help\" lists them", words[0]);
		return;
	}
	if (call.count < command->min || call.count > command->max ||
	    (call.count == 2 && command->options != NULL && !is_option(command, words[1]))) {
		shell_print("usage: %s%s%s", command->name,
			    command->arguments[0] != '\0' ? " " : "", command->arguments);
		return;
	}
	for (size_t i = 0; i < call.count; i++) {
		call.words[i] = words[i + 1];
	}
	if (command->about_vm && call.count != 0) {
		call.vm = find_vm(call.words[command->name_first ? 0 : call.count - 1]);
		if (call.vm == NULL) {
			return;
		}
	}
	command->run(&call);
}

/* Returns whether a word begins with what was typed. Case does not matter. */
static bool begins_with(const char *word, const char *typed)
{
	char start[LINE_EDIT_MAX + 1];

	(void)str_copy(start, MIN(sizeof(start), strlen(typed) + 1), word);
	return str_equal_nocase(start, typed);
}

static size_t add_word(char *words, size_t bytes, size_t *used, const char *word, const char *typed)
{
	size_t length = strlen(word) + 1;

	if (!begins_with(word, typed) || *used + length > bytes) {
		return 0;
	}
	memcpy(words + *used, word, length);
	*used += length;
	return 1;
}

/*
 * Completes the first word, and the word after `help`, to the name of a command. After a command
 * about a VM, completes an option and the VM's name.
 */
static size_t complete(const char *text, char *words, size_t bytes)
{
	char copy[LINE_EDIT_MAX + 1];
	char *typed[WORDS_MAX + 1];
	size_t count, found = 0, used = 0, length = strlen(text);
	const char *last = "", *list, *one;
	char option[OPTION_MAX];
	bool begun = length != 0 && !str_is_space(text[length - 1]);
	const struct shell_command *command;

	memcpy(copy, text, length + 1);
	count = split(copy, typed);
	if (count == 0 || (count == 1 && begun)) {
		for (size_t i = 0; i < shell_command_count; i++) {
			found += add_word(words, bytes, &used, shell_commands[i].name,
					  count != 0 ? typed[0] : "");
		}
		return found;
	}
	command = find_command(typed[0]);
	count -= begun ? 1 : 0; /* counts only complete words */
	last = begun && count < ARRAY_COUNT(typed) ? typed[count] : "";
	if (command != NULL && command == find_command("help") && count == 1) {
		for (size_t i = 0; i < shell_command_count; i++) {
			found += add_word(words, bytes, &used, shell_commands[i].name, last);
		}
		return found;
	}
	if (command == NULL || !command->about_vm || count > command->max ||
	    (command->name_first && count > 1)) {
		return 0;
	}
	list = command->options != NULL && count == 1 ? command->options : "";
	while ((one = next_option(&list, option)) != NULL) {
		found += add_word(words, bytes, &used, one, last);
	}
	for (size_t i = 0; i < vms_count(); i++) {
		found += add_word(words, bytes, &used, vms_get(i)->config->name, last);
	}
	return found;
}

/* --- Keys --- */

static void enter(void)
{
	shell_set_active(true);
	vconsole_show_shell();
	shell_print("Umbra's shell: help lists the commands; %s goes back to the VM.",
		    vconsole_escape_name());
	line_edit_begin(&editor);
}

static void feed(uint8_t byte)
{
	const bool twice = escaped && cpu_rdtsc() - escaped_at < tsc_from_us(TWICE_US);

	escaped = false;
	if (!shell_state.active) {
		enter();
		escaped = byte == vconsole_escape();
		escaped_at = cpu_rdtsc();
		return;
	}
	if (shell_state.live != NULL) {
		shell_state.live = NULL;
		line_edit_begin(&editor);
		return;
	}
	if (shell_state.asking != NULL) {
		if (!shell_state.asking(byte == vconsole_escape() ? SHELL_GIVE_UP : byte)) {
			shell_state.asking = NULL;
			next_line();
		}
		return;
	}
	if (byte == vconsole_escape()) {
		console_write("\r\n", 2);
		shell_set_active(!vconsole_show_one(NULL));
		if (!shell_state.active && twice) {
			vconsole_type(byte);
		}
		if (shell_state.active) {
			shell_print("no VM runs; \"start NAME\" starts one");
			line_edit_begin(&editor);
		}
		return;
	}
	switch (line_edit_feed(&editor, byte)) {
	case LINE_EDITING: return;
	case LINE_TOO_LONG:
		shell_print("the line is longer than %u characters; it was not run", LINE_EDIT_MAX);
		break;
	case LINE_COMPLETE: shell_run(editor.text); break;
	}
	if (shell_state.active) {
		next_line();
	}
}

void shell_poll(void)
{
	int byte;

	while ((byte = vconsole_input()) >= 0) {
		if (shell_state.active && shell_state.live == NULL && console_at_line_start()) {
			/* show the prompt again before what is typed now */
			show_line();
		}
		feed((uint8_t)byte);
	}
	if (!vconsole_in_shell()) {
		return;
	}
	if (!shell_state.active) {
		enter(); /* the last VM has ended */
	} else if (shell_state.live != NULL) {
		if (console_has_room() && !shell_state.live()) {
			shell_state.live = NULL;
			line_edit_begin(&editor);
		}
	} else if (console_at_line_start()) {
		show_line(); /* the log wrote a line meanwhile */
	}
}
