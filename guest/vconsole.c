/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several guests on one console. Only the boot processor changes the list, the view, the VM in
 * front and line_owner; other CPUs read the view and the VM in front. A console's lock guards its
 * ring. It is taken under the UART's lock, no other lock is taken under it, and it is held while a
 * few bytes are copied.
 */
#include "guest/vconsole.h"

#include "guest/vconsole_line.h"
#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/lock.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"
#include "vmm/vm.h"

#define FULL_US	   1000000u
#define PAUSE_US   5000u    /* a guest that writes nothing for this long has paused */
#define FINISH_US  3000000u /* how long a VM's last output may wait for other output */
#define PIECES_MAX 4u	    /* the most that are shown at once, even if the console has more room */

static struct vconsole *list;		/* in the order of attaching */
static ATOMIC(struct vconsole *) front; /* other CPUs read it, and the view */
static char front_was[VM_NAME_MAX]; /* name of the last VM in front, if it has ended; or empty */
static struct vconsole *shown_last; /* it was shown last; NULL: start at the list's head */
static struct vconsole *line_owner; /* whose line the cursor is in; NULL: it is at a line's start */
enum view { VIEW_ALL, VIEW_ONE, VIEW_SHELL };
static ATOMIC(enum view) view;

/*
 * A byte for which the ring of the VM in front has no room, and since when it is full (TSC; 0: it
 * is not).
 */
static int held = -1;
static uint64_t full_since;

static uint32_t attached; /* consoles in the list */
static uint32_t living;	  /* those whose VM has not ended */
static bool no_shell;
static uint8_t escape_key = VCONSOLE_ESCAPE_KEY;
static char escape_name[] = "Ctrl-^";
static ATOMIC(uint32_t) screen; /* rows << 16 | columns */
static bool raw_shown; /* a guest's unfiltered bytes went to the terminal since its last reset */

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

void vconsole_set_size(struct vconsole_size size)
{
	atomic_store_relaxed(&screen, (uint32_t)size.rows << 16 | size.columns);
}

struct vconsole_size vconsole_size(void)
{
	const uint32_t now = atomic_load_relaxed(&screen);

	return (struct vconsole_size){ (uint16_t)now, (uint16_t)(now >> 16) };
}

static bool is_shared(void)
{
	return living > 1;
}

/* Whether this console is in view. Any CPU. */
static bool is_shown(const struct vconsole *console)
{
	const uint32_t now = atomic_load_relaxed(&view);

	return now == VIEW_ALL || (now == VIEW_ONE && console == atomic_load_relaxed(&front));
}

/* Ends an unfinished line of any console, unless a line of the log has done so. */
static void end_line(void)
{
	if (!console_at_line_start()) {
		console_write("\r\n", 2);
	}
	line_owner = NULL;
}

/*
 * Whether a guest's bytes are shown unfiltered: its console is alone in view. Otherwise they are
 * shown in lines that begin with the VM's name.
 */
static bool is_raw(const struct vconsole *console)
{
	return atomic_load_relaxed(&view) == VIEW_ONE
		       ? console == atomic_load_relaxed(&front)
		       : atomic_load_relaxed(&view) == VIEW_ALL && !is_shared();
}

/* Moves the cursor into a line of this console. */
static void take_line(struct vconsole *console)
{
	if (line_owner == console) {
		return;
	}
	if (atomic_load_relaxed(&view) != VIEW_ONE || console != atomic_load_relaxed(&front)) {
		end_line(); /* not needed where the console is alone in view */
	}
	console->named = console->returned = false;
	line_owner = console;
}

static void show(struct vconsole *console, const char *text, size_t bytes)
{
	take_line(console);
	if (is_raw(console)) {
		raw_shown = true;
		console_write(text, bytes);
	} else {
		vconsole_show_line(console, text, bytes);
	}
	if (text[bytes - 1] == '\n') {
		line_owner = NULL;
	}
}

/* --- The ring --- */

static uint64_t unshown(const struct vconsole *console)
{
	const uint64_t shown = atomic_load_relaxed(&console->shown);

	return atomic_load_relaxed(&console->written) - shown;
}

bool vconsole_ready(const struct vconsole *console)
{
	return !is_shown(console) || unshown(console) + VCONSOLE_FIFO_BYTES <= VCONSOLE_RING_BYTES;
}

void vconsole_put(struct vconsole *console, uint8_t byte)
{
	const bool in_view = is_shown(console);
	const uint64_t most = in_view ? VCONSOLE_RING_BYTES : VCONSOLE_KEPT_BYTES;
	uint64_t written;

	lock_take(&console->lock, LOCK_VCONSOLE);
	written = atomic_load_relaxed(&console->written);
	if (!in_view && written - atomic_load_relaxed(&console->shown) >= most) {
		atomic_store_relaxed(&console->shown, written + 1 - most);
	}
	if (written - atomic_load_relaxed(&console->shown) < most) {
		console->ring[written % VCONSOLE_RING_BYTES] = (char)byte;
		atomic_store_relaxed(&console->written, written + 1);
	}
	lock_drop(&console->lock);
}

/*
 * Takes the next bytes that were not shown: up to the end of a line, or VCONSOLE_PIECE_BYTES.
 * Returns 0 if there are none, or if there are fewer and may_grow says to wait for more.
 */
static size_t next_piece(struct vconsole *console, char text[VCONSOLE_PIECE_BYTES], bool may_grow)
{
	size_t bytes = 0;

	lock_take(&console->lock, LOCK_VCONSOLE);
	while (bytes < VCONSOLE_PIECE_BYTES && atomic_load_relaxed(&console->shown) + bytes !=
						       atomic_load_relaxed(&console->written)) {
		text[bytes] = console->ring[(atomic_load_relaxed(&console->shown) + bytes) %
					    VCONSOLE_RING_BYTES];
		if (text[bytes++] == '\n') {
			may_grow = false;
			break;
		}
	}
	if (bytes < VCONSOLE_PIECE_BYTES && may_grow) {
		bytes = 0;
	}
	atomic_add_own(&console->shown, bytes);
	lock_drop(&console->lock);
	return bytes;
}

/* Whether the guest probably continues its unfinished line: it has written within PAUSE_US. */
static bool goes_on(struct vconsole *console)
{
	const uint64_t tsc = cpu_rdtsc(), written = atomic_load_relaxed(&console->written);

	if (console->seen != written) {
		console->seen = written;
		console->seen_at = tsc;
	}
	return tsc - console->seen_at < tsc_from_us(PAUSE_US);
}

/* Returns true if something was shown. */
static bool show_piece(struct vconsole *console)
{
	const bool due = atomic_load_relaxed(&console->shown) < console->due;
	char text[VCONSOLE_PIECE_BYTES];
	size_t bytes;

	if (unshown(console) == 0 || (!due && !is_shown(console))) {
		return false;
	}
	bytes = next_piece(console, text, !due && !is_raw(console) && goes_on(console));
	if (bytes == 0) {
		return false;
	}
	show(console, text, bytes);
	if (due && atomic_load_relaxed(&console->shown) >= console->due) {
		end_line();
	}
	return true;
}

/*
 * Shows a piece of the next console with unshown bytes. Taking turns keeps the first of the list
 * from using the line alone.
 */
static bool show_next(void)
{
	struct vconsole *console = shown_last;

	for (uint32_t i = 0; i < attached; i++) {
		console = console == NULL || console->next == NULL ? list : console->next;
		if (show_piece(console)) {
			shown_last = console;
			return true;
		}
	}
	return false;
}

void vconsole_show(void)
{
	for (uint32_t i = 0; i < PIECES_MAX && console_has_room() && show_next(); i++) {
	}
}

/* --- Input --- */

bool vconsole_has_input(const struct vconsole *console)
{
	return atomic_load_relaxed(&console->in_read) != atomic_load_relaxed(&console->in_written);
}

int vconsole_get(struct vconsole *console)
{
	uint32_t at = atomic_load_relaxed(&console->in_read);
	int byte;

	if (at == atomic_load_acquire(&console->in_written)) {
		return -1;
	}
	byte = console->in[at % VCONSOLE_INPUT_BYTES];
	atomic_store_release(&console->in_read, at + 1);
	return byte;
}

static bool give(struct vconsole *console, uint16_t byte)
{
	uint32_t at = atomic_load_relaxed(&console->in_written);

	if (at - atomic_load_acquire(&console->in_read) == VCONSOLE_INPUT_BYTES) {
		return false;
	}
	console->in[at % VCONSOLE_INPUT_BYTES] = byte;
	atomic_store_release(&console->in_written, at + 1);
	return true;
}

bool vconsole_in_shell(void)
{
	return atomic_load_relaxed(&view) == VIEW_SHELL || atomic_load_relaxed(&front) == NULL;
}

int vconsole_input(void)
{
	for (;;) {
		int byte;

		if (vconsole_in_shell() && !console_has_room()) {
			return -1; /* the last answer is not written out yet */
		}
		byte = held >= 0 ? held : console_getc();
		held = -1;
		if (byte == CONSOLE_BREAK && vconsole_in_shell()) {
			continue; /* a break is for guests only */
		}
		if (byte < 0 || vconsole_in_shell()) {
			return byte;
		}
		if (byte == escape_key && !no_shell) {
			reset_terminal();
			end_line();
			atomic_store_relaxed(&view, VIEW_SHELL);
			return byte;
		}
		if (give(atomic_load_relaxed(&front), (uint16_t)byte)) {
			full_since = 0;
			continue;
		}
		full_since = full_since == 0 ? cpu_rdtsc() : full_since;
		if (cpu_rdtsc() - full_since < tsc_from_us(FULL_US)) {
			held = byte;
			return -1;
		}
		/* the guest does not read; the escape key must get through */
		console_write("\a", 1);
	}
}

/* --- Views and the list --- */

void vconsole_type(uint8_t byte)
{
	if (atomic_load_relaxed(&front) != NULL) {
		(void)give(atomic_load_relaxed(&front), byte);
	}
}

void vconsole_show_shell(void)
{
	reset_terminal();
	end_line();
	atomic_store_relaxed(&view, VIEW_SHELL);
}

void vconsole_show_all(void)
{
	reset_terminal();
	atomic_store_relaxed(&view, VIEW_ALL);
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
	struct vconsole *console = name != NULL ? find(name) : atomic_load_relaxed(&front);

	if (console != NULL && console->ended) {
		console = NULL;
	}
	if (console != NULL) {
		reset_terminal();
		atomic_store_relaxed(&front, console);
		atomic_store_relaxed(&view, VIEW_ONE);
		front_was[0] = '\0'; /* a person has chosen a VM */
	}
	return console != NULL;
}

bool vconsole_replay(const char *name)
{
	struct vconsole *console = find(name);

	if (console != NULL) {
		lock_take(&console->lock, LOCK_VCONSOLE);
		console->due = atomic_load_relaxed(&console->written);
		atomic_store_relaxed(&console->shown,
				     console->due -
					     MIN(console->due, (uint64_t)VCONSOLE_KEPT_BYTES));
		lock_drop(&console->lock);
	}
	return console != NULL;
}

bool vconsole_replays(void)
{
	bool some = false;

	for (struct vconsole *console = list; console != NULL; console = console->next) {
		some = some || atomic_load_relaxed(&console->shown) < console->due;
	}
	return some;
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
	while (*end != NULL) {
		end = &(*end)->next;
	}
	console->next = NULL;
	*end = console;
	attached++;
	living++;
	if (atomic_load_relaxed(&front) == NULL || strcmp(name, front_was) == 0) {
		/* A VM that starts again gets the keyboard back if it had it. */
		atomic_store_relaxed(&front, console);
		front_was[0] = '\0';
	}
}

/* Puts another living VM in front, if there is one. */
static void leave_front(struct vconsole *console)
{
	struct vconsole *next = list;

	while (next != NULL && next->ended) {
		next = next->next;
	}
	(void)str_copy(front_was, sizeof(front_was), console->name);
	atomic_store_relaxed(&front, next);
	if (atomic_load_relaxed(&view) == VIEW_ONE) {
		/* The next VM was not chosen by a person, so all VMs' output is shown. */
		atomic_store_relaxed(&view, VIEW_ALL);
	}
	if (next != NULL) {
		log_info("console: the keyboard is with VM %s now", next->name);
	}
}

void vconsole_end(struct vconsole *console)
{
	if (console->ended) {
		return;
	}
	console->due = atomic_load_relaxed(
		&console->written); /* show its last output, whatever is in view */
	while (console_has_room() && show_piece(console)) {
	}
	atomic_store_relaxed(&console->shown, console->due);
	reset_terminal();
	console->ended = true;
	living--;
	if (line_owner == console) {
		end_line();
	}
	if (atomic_load_relaxed(&front) == console) {
		leave_front(console);
	}
}

bool vconsole_finish(struct vconsole *console)
{
	const uint64_t tsc = cpu_rdtsc();

	console->due = atomic_load_relaxed(&console->written);
	if (console->finish_by == 0) {
		console->finish_by = tsc + tsc_from_us(FINISH_US);
	}
	return unshown(console) == 0 || tsc > console->finish_by;
}

void vconsole_detach(struct vconsole *console)
{
	struct vconsole **at = &list, *before = NULL;

	while (*at != NULL && *at != console) {
		before = *at;
		at = &before->next;
	}
	if (*at == console) { /* false if it was never attached */
		vconsole_end(console);
		*at = console->next;
		attached--;
		if (shown_last == console) {
			shown_last = before;
		}
	}
}
