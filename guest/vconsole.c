/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several guests on one console. The lock guards the list, the view, who is in front, what is kept
 * and whose unfinished line the cursor stands in; it is taken below a UART's lock and above the
 * console's and the log's.
 */
#include "guest/vconsole.h"

#include "vmm/base/console.h"
#include "vmm/base/lock.h"
#include "vmm/base/log.h"
#include "vmm/base/cpu.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/vm.h"

#define FULL_US	   1000000u
#define KEY_ESCAPE 0x1b
#define KEY_DELETE 0x7f
#define UTF8_FIRST 0xc0 /* from here on the first byte of a character */

static struct lock list_lock;
static struct vconsole *list; /* in the order of attaching */
static struct vconsole *front;
static char front_was[VM_NAME_MAX]; /* name of the VM that went away from there, or empty */
static struct vconsole *line_owner; /* NULL: the cursor is at the start of a line */
static enum { VIEW_ALL, VIEW_ONE, VIEW_SHELL } view;

/* A byte for which the ring of the VM in front has no room, and since when (TSC; 0: it had). */
static int held = -1;
static uint64_t full_since;

static uint32_t living; /* atomic */
static bool no_shell;
static uint8_t escape_key = VCONSOLE_ESCAPE_KEY;
static char escape_name[] = "Ctrl-^";
static bool raw_shown; /* a guest's bytes went to the terminal as they are, since its last reset */

static void reset_terminal(void)
{
	static const char reset[] = "\x1b[!p\x1b[m"; /* DECSTR; ECMA-48, SGR */

	if (raw_shown) {
		raw_shown = false;
		console_control(reset, sizeof(reset) - 1);
	}
}

void vconsole_set_escape(uint8_t key)
{
	escape_key = key;
	escape_name[sizeof(escape_name) - 2] = (char)(key + '@');
}

uint8_t vconsole_escape(void)
{
	return escape_key;
}

const char *vconsole_escape_name(void)
{
	return escape_name;
}

static bool is_shared(void)
{
	return __atomic_load_n(&living, __ATOMIC_RELAXED) > 1;
}

static bool is_shown(const struct vconsole *console)
{
	return view == VIEW_ALL || (view == VIEW_ONE && console == front);
}

/* Ends an unfinished line of anybody's; a line of the log may have done so already. */
static void end_line(void)
{
	if (!console_at_line_start()) {
		console_write("\r\n", 2);
	}
	line_owner = NULL;
}

/* Its bytes as they are, where the screen is its own; else in lines with a name in front. */
static bool is_raw(const struct vconsole *console)
{
	return view == VIEW_ONE ? console == front : view == VIEW_ALL && !is_shared();
}

/* Moves the cursor into a line of this console. */
static void take_line(struct vconsole *console)
{
	if (line_owner == console) {
		return;
	}
	if (view != VIEW_ONE || console != front) {
		end_line(); /* else the screen is its own: no line breaks of ours */
	}
	console->named = console->returned = false;
	line_owner = console;
}

/*
 * Does this byte belong to an escape sequence (ECMA-48)? Leaving these out keeps the rest
 * readable; that nothing but show_line's bytes reaches the terminal does not depend on it.
 */
static bool is_escape(struct vconsole *console, uint8_t byte)
{
	enum { NONE, BEGUN, CONTROL, STRING };
	const uint8_t was = console->escape;

	if (byte == KEY_ESCAPE) {
		console->escape = BEGUN;
		return true;
	}
	if (byte < ' ' || was == NONE) {
		console->escape = NONE; /* a string ends with BEL or ESC \ */
		return false;
	}
	if (was == BEGUN && byte == '[') {
		console->escape = CONTROL;
	} else if (was == BEGUN &&
		   (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_')) {
		console->escape = STRING;
	} else if ((was == BEGUN && byte >= '0') || (was == CONTROL && byte >= '@')) {
		console->escape = NONE; /* the final byte */
	}
	return true;
}

/* line[0, name) is the name; what follows is shown. In one write: other CPUs log meanwhile. */
static void write_line(struct vconsole *console, const char *line, size_t name, size_t bytes)
{
	if (bytes == name || (console->named && console_write_on(line + name, bytes - name))) {
		return;
	}
	console_write(line, bytes);
	console->named = true;
}

/*
 * A guest's bytes behind its name. Nothing of them may move the cursor back over the name or to
 * another line: a carriage return writes the name anew; a character beyond ASCII, whose bytes
 * could be controls or turn the direction of writing, is a question mark; other controls are left
 * out. A line break is the last byte, if there is one.
 */
static void show_line(struct vconsole *console, const char *text, size_t bytes)
{
	char line[VM_NAME_MAX + 3 + VCONSOLE_OUT_BYTES + 2];
	const size_t name = str_printf(line, sizeof(line), "[%s] ", console->name);
	size_t used = name;

	for (size_t i = 0; i < bytes; i++) {
		const uint8_t byte = (uint8_t)text[i];
		const bool ascii = byte == '\t' || (byte >= ' ' && byte < KEY_DELETE);

		if (is_escape(console, byte)) {
			continue;
		}
		console->returned = console->returned || byte == '\r';
		if (!ascii && byte < UTF8_FIRST) {
			continue; /* a control, or the rest of a character */
		}
		if (console->returned) {
			write_line(console, line, name, used);
			(void)console_write_on("\r", 1);
			console->named = console->returned = false;
			used = name;
		}
		line[used++] = ascii ? (char)byte : '?';
	}
	if (text[bytes - 1] == '\n') {
		line[used++] = '\r';
		line[used++] = '\n';
	}
	write_line(console, line, name, used);
}

static void show(struct vconsole *console, const char *text, size_t bytes)
{
	take_line(console);
	if (is_raw(console)) {
		raw_shown = true;
		console_write(text, bytes);
	} else {
		show_line(console, text, bytes);
	}
	if (text[bytes - 1] == '\n') {
		line_owner = NULL;
	}
}

static void keep(struct vconsole *console, const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		console->kept[console->kept_end++ % VCONSOLE_KEPT_BYTES] = text[i];
	}
	if (console->kept_end - console->kept_first > VCONSOLE_KEPT_BYTES) {
		console->kept_first = console->kept_end - VCONSOLE_KEPT_BYTES;
	}
}

/* What was kept, a line at a time, so that each has its name in front where that is shown. */
static void show_kept(struct vconsole *console)
{
	char text[VCONSOLE_OUT_BYTES];
	size_t bytes = 0;

	while (console->kept_first != console->kept_end) {
		text[bytes++] = console->kept[console->kept_first++ % VCONSOLE_KEPT_BYTES];
		if (text[bytes - 1] == '\n' || bytes == sizeof(text)) {
			show(console, text, bytes);
			bytes = 0;
		}
	}
	if (bytes != 0) {
		show(console, text, bytes);
	}
}

/* vconsole_put sees to it that a line break can only be the last byte. */
void vconsole_flush(struct vconsole *console)
{
	if (console->out_count == 0) {
		return;
	}
	lock_take(&list_lock);
	keep(console, console->out, console->out_count);
	if (is_shown(console)) {
		show(console, console->out, console->out_count);
		console->kept_first = console->kept_end;
	}
	lock_drop(&list_lock);
	console->out_count = 0;
}

void vconsole_put(struct vconsole *console, uint8_t byte)
{
	console->out[console->out_count++] = (char)byte;
	if (byte == '\n' || console->out_count == VCONSOLE_OUT_BYTES) {
		vconsole_flush(console);
	}
}

void vconsole_poll(struct vconsole *console)
{
	/* Among several, an unfinished line waits for its rest until the guest pauses. */
	if (!is_shared() || console->out_count == console->out_seen) {
		vconsole_flush(console);
	}
	console->out_seen = console->out_count;
}

/* --- Input --- */

int vconsole_get(struct vconsole *console)
{
	uint32_t at = console->in_read;
	int byte;

	if (at == __atomic_load_n(&console->in_written, __ATOMIC_ACQUIRE)) {
		return -1;
	}
	byte = console->in[at % VCONSOLE_INPUT_BYTES];
	__atomic_store_n(&console->in_read, at + 1, __ATOMIC_RELEASE);
	return byte;
}

static bool give(struct vconsole *console, uint16_t byte)
{
	uint32_t at = console->in_written;

	if (at - __atomic_load_n(&console->in_read, __ATOMIC_ACQUIRE) == VCONSOLE_INPUT_BYTES) {
		return false;
	}
	console->in[at % VCONSOLE_INPUT_BYTES] = byte;
	__atomic_store_n(&console->in_written, at + 1, __ATOMIC_RELEASE);
	return true;
}

bool vconsole_in_shell(void)
{
	return __atomic_load_n(&view, __ATOMIC_RELAXED) == VIEW_SHELL ||
	       __atomic_load_n(&front, __ATOMIC_RELAXED) == NULL;
}

/* The list's lock is held, so that the VM in front does not go away meanwhile. */
static int take_input(void)
{
	for (;;) {
		int byte = held >= 0 ? held : console_getc();

		held = -1;
		if (byte == CONSOLE_BREAK && vconsole_in_shell()) {
			continue; /* it is for guests */
		}
		if (byte < 0 || vconsole_in_shell()) {
			return byte;
		}
		if (byte == escape_key && !no_shell) {
			reset_terminal();
			end_line();
			__atomic_store_n(&view, VIEW_SHELL, __ATOMIC_RELAXED);
			return byte;
		}
		if (give(front, (uint16_t)byte)) {
			full_since = 0;
			continue;
		}
		full_since = full_since == 0 ? cpu_rdtsc() : full_since;
		if (cpu_rdtsc() - full_since < tsc_from_us(FULL_US)) {
			held = byte;
			return -1;
		}
		console_write("\a", 1); /* it reads nothing; the escape key must get through */
	}
}

int vconsole_input(void)
{
	int byte;

	lock_take(&list_lock);
	byte = take_input();
	lock_drop(&list_lock);
	return byte;
}

/* --- Views and the list --- */

void vconsole_type(uint8_t byte)
{
	lock_take(&list_lock);
	if (front != NULL) {
		(void)give(front, byte);
	}
	lock_drop(&list_lock);
}

void vconsole_show_shell(void)
{
	lock_take(&list_lock);
	reset_terminal();
	end_line();
	__atomic_store_n(&view, VIEW_SHELL, __ATOMIC_RELAXED);
	lock_drop(&list_lock);
}

void vconsole_show_all(void)
{
	lock_take(&list_lock);
	reset_terminal();
	__atomic_store_n(&view, VIEW_ALL, __ATOMIC_RELAXED);
	for (struct vconsole *console = list; console != NULL; console = console->next) {
		show_kept(console);
	}
	lock_drop(&list_lock);
}

static struct vconsole *find(const char *name)
{
	struct vconsole *console = list;

	while (console != NULL && strcmp(console->name, name) != 0) {
		console = console->next;
	}
	return console;
}

bool vconsole_show_one(const char *name)
{
	struct vconsole *console;

	lock_take(&list_lock);
	console = name != NULL ? find(name) : front;
	if (console != NULL && console->ended) {
		console = NULL;
	}
	if (console != NULL) {
		reset_terminal();
		__atomic_store_n(&front, console, __ATOMIC_RELAXED);
		__atomic_store_n(&view, VIEW_ONE, __ATOMIC_RELAXED);
		front_was[0] = '\0'; /* a person chose */
		show_kept(console);
	}
	lock_drop(&list_lock);
	return console != NULL;
}

bool vconsole_replay(const char *name)
{
	struct vconsole *console;

	lock_take(&list_lock);
	console = find(name);
	if (console != NULL) {
		end_line();
		console->kept_first = console->kept_end -
				      MIN(console->kept_end, (uint32_t)VCONSOLE_KEPT_BYTES);
		show_kept(console);
		end_line();
	}
	lock_drop(&list_lock);
	return console != NULL;
}

void vconsole_no_shell(void)
{
	no_shell = true;
}

void vconsole_attach(struct vconsole *console, const char *name)
{
	struct vconsole **end = &list;

	console->name = name;
	console->ended = false;
	lock_take(&list_lock);
	while (*end != NULL) {
		end = &(*end)->next;
	}
	console->next = NULL;
	*end = console;
	__atomic_store_n(&living, living + 1, __ATOMIC_RELAXED);
	if (front == NULL || strcmp(name, front_was) == 0) {
		/* A VM that starts anew finds the keyboard where it left it. */
		__atomic_store_n(&front, console, __ATOMIC_RELAXED);
		front_was[0] = '\0';
	}
	lock_drop(&list_lock);
}

/* Another VM is in front from now on, if any lives. */
static void leave_front(struct vconsole *console)
{
	struct vconsole *next = list;

	while (next != NULL && next->ended) {
		next = next->next;
	}
	(void)str_copy(front_was, sizeof(front_was), console->name);
	__atomic_store_n(&front, next, __ATOMIC_RELAXED);
	if (view == VIEW_ONE) {
		/* Nobody chose the next one; what it and the others say is shown again. */
		__atomic_store_n(&view, VIEW_ALL, __ATOMIC_RELAXED);
		for (struct vconsole *other = list; other != NULL; other = other->next) {
			show_kept(other);
		}
	}
	if (next != NULL) {
		log_info("console: the keyboard is with VM %s now", next->name);
	}
}

/* With the list's lock held. */
static void end(struct vconsole *console)
{
	if (console->ended) {
		return;
	}
	show_kept(console); /* its last words, whatever is on the screen */
	reset_terminal();
	console->ended = true;
	__atomic_store_n(&living, living - 1, __ATOMIC_RELAXED);
	if (line_owner == console) {
		end_line();
	}
	if (front == console) {
		leave_front(console);
	}
}

void vconsole_end(struct vconsole *console)
{
	vconsole_flush(console);
	lock_take(&list_lock);
	end(console);
	lock_drop(&list_lock);
}

void vconsole_detach(struct vconsole *console)
{
	struct vconsole **at = &list;

	vconsole_flush(console);
	lock_take(&list_lock);
	while (*at != NULL && *at != console) {
		at = &(*at)->next;
	}
	if (*at == console) { /* else it never was in there */
		end(console);
		*at = console->next;
	}
	lock_drop(&list_lock);
}
