/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several guests on one console. The lock guards the list, who is in front and whose unfinished
 * line the cursor stands in; it is taken below a UART's lock and above the console's and the log's.
 */
#include "guest/vconsole.h"

#include "vmm/base/console.h"
#include "vmm/base/lock.h"
#include "vmm/base/log.h"
#include "vmm/base/str.h"

static struct lock list_lock;
static struct vconsole *list; /* in the order of attaching */
static struct vconsole *front;
static struct vconsole *line_owner; /* NULL: the cursor is at the start of a line */

static bool is_shared(void)
{
	return list != NULL && list->next != NULL;
}

/* Ends an unfinished line of anybody's; a line of the log may have done so already. */
static void end_line(void)
{
	if (!console_at_line_start()) {
		console_write("\r\n", 2);
	}
	line_owner = NULL;
}

/* Moves the cursor into a line of this console. */
static void take_line(struct vconsole *console)
{
	if (line_owner == console && !console_at_line_start()) {
		return;
	}
	end_line();
	line_owner = console;
	if (is_shared()) {
		console_write("[", 1);
		console_write(console->name, strlen(console->name));
		console_write("] ", 2);
	}
}

/* vconsole_put sees to it that a line break can only be the last byte. */
void vconsole_flush(struct vconsole *console)
{
	if (console->out_count == 0) {
		return;
	}
	lock_take(&list_lock);
	take_line(console);
	console_write(console->out, console->out_count);
	if (console->out[console->out_count - 1] == '\n') {
		line_owner = NULL;
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

int vconsole_get(struct vconsole *console)
{
	if (console->in_read == console->in_written) {
		return -1;
	}
	return console->in[console->in_read++ % VCONSOLE_INPUT_BYTES];
}

static void move_front(struct vconsole *to)
{
	front = to;
	log_info("console: the keyboard is with VM %s now", to->name);
}

/* Leaves bytes where they are when the ring is full; the list's lock is held. */
static void take_input(struct vconsole *console)
{
	while (front == console && console->in_written - console->in_read < VCONSOLE_INPUT_BYTES) {
		int byte = console_getc();

		if (byte < 0) {
			break;
		}
		if (byte == VCONSOLE_NEXT_KEY && is_shared()) {
			move_front(console->next != NULL ? console->next : list);
		} else {
			console->in[console->in_written++ % VCONSOLE_INPUT_BYTES] = (uint8_t)byte;
		}
	}
}

void vconsole_poll(struct vconsole *console)
{
	bool shared;

	lock_take(&list_lock);
	take_input(console);
	shared = is_shared();
	lock_drop(&list_lock);
	/* Among several, an unfinished line waits for its rest until the guest pauses. */
	if (!shared || console->out_count == console->out_seen) {
		vconsole_flush(console);
	}
	console->out_seen = console->out_count;
}

void vconsole_attach(struct vconsole *console, const char *name)
{
	struct vconsole **end = &list;

	console->name = name;
	lock_take(&list_lock);
	while (*end != NULL) {
		end = &(*end)->next;
	}
	console->next = NULL;
	*end = console;
	if (front == NULL) {
		front = console;
	}
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
	if (*at == console) {
		*at = console->next;
	}
	if (line_owner == console) {
		end_line();
	}
	if (front == console) {
		front = NULL;
		if (list != NULL) {
			move_front(list);
		}
	}
	lock_drop(&list_lock);
}
