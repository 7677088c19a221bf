/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the guests and the shell share the machine's one console. There are three views:
 *
 *   all    the first one: every VM's bytes appear. While a single VM runs they pass as they are;
 *          with several, each line carries "[name] " in front and lines do not mix; printable
 *          ASCII and tabs alone are shown, so that no VM can begin a line as Umbra or another VM
 *          does. (Where a terminal wraps a long line is not known here: the row after carries no
 *          name.) What a person types goes to the VM in front.
 *   one    the VM in front alone, as they are, and what is typed goes to it.
 *   shell  no VM's bytes; what is typed goes to the shell.
 *
 * The last words of a VM that is not in view, and what the shell replays, come as among several.
 *
 * A guest's bytes go into a ring of its VM's own. The boot processor takes them from there to the
 * machine's console, by turns and a line at a time, while that has room (console_has_room): so
 * nobody waits for a UART, and no VM can keep others from the console. Where the ring of a VM in
 * view is full, its own transmitter is not empty (vconsole_ready), and what it writes all the same
 * is lost. A VM that is not in view is not held up: its last VCONSOLE_KEPT_BYTES stay, and what of
 * them was not shown is, when it comes into view.
 *
 * The escape key goes from the first two to the shell, unless there is none. A guest's bytes that
 * passed as they are may have left the terminal in any state: at each change of view, and when such
 * a VM ends, a soft reset (DECSTR) and plain letters (SGR 0) go before what follows.
 */
#ifndef UMBRA_GUEST_VCONSOLE_H
#define UMBRA_GUEST_VCONSOLE_H

#include "vmm/base/lock.h"
#include "vmm/base/types.h"

#define VCONSOLE_ESCAPE_KEY  0x1e  /* Ctrl-^, unless vconsole_set_escape says another */
#define VCONSOLE_PIECE_BYTES 128   /* what is shown of a longer line in one go */
#define VCONSOLE_RING_BYTES  16384 /* a stock kernel's boot */
#define VCONSOLE_FIFO_BYTES  16	   /* the last of the ring: the 16550's transmit FIFO */
#define VCONSOLE_INPUT_BYTES 256
#define VCONSOLE_KEPT_BYTES  4096

/*
 * One VM's end. The owner (the VM's UART) serialises its calls for one console, but for input. All
 * but vconsole_ready, vconsole_put and vconsole_get are for the boot processor alone.
 */
struct vconsole {
	const char *name;
	struct vconsole *next;
	/* Bytes ever written, and from where on they were not shown: under the lock; atomic. */
	struct lock lock;
	uint64_t written, shown;
	char ring[VCONSOLE_RING_BYTES];
	/* Up to where they are shown in any view; how much there was of an unfinished line, and
	 * since when (TSC); when its last words are waited for no longer (0: they are not). */
	uint64_t due, seen, seen_at, finish_by;
	/* Free-running; the difference is what is in the ring. One writer, one reader: atomic. */
	uint32_t in_read, in_written;
	uint16_t in[VCONSOLE_INPUT_BYTES]; /* bytes, and CONSOLE_BREAK */
	bool ended;
	/* Where lines carry a name: in an escape sequence; a carriage return came; the
	 * cursor stands behind the name, if nothing was logged since. */
	uint8_t escape;
	bool returned, named;
};

/* console is zeroed; name must outlive it. The first one that is attached is in front. */
void vconsole_attach(struct vconsole *console, const char *name);
/*
 * The VM has ended and writes no more: its last words are to be shown, whatever is in view. To be
 * called now and then until it is true: they have been, or it took too long for others' text.
 */
bool vconsole_finish(struct vconsole *console);
/*
 * From now on nobody types to it, and if it was in front the first one that lives is. What was not
 * shown is as far as there is room. It stays in the list for vconsole_replay.
 */
void vconsole_end(struct vconsole *console);
/* The same, and out of the list. */
void vconsole_detach(struct vconsole *console);

/* True when the VM's transmitter is empty: VCONSOLE_FIFO_BYTES can be written. Any CPU, no lock. */
bool vconsole_ready(const struct vconsole *console);
/* One byte from the guest. */
void vconsole_put(struct vconsole *console, uint8_t byte);
/*
 * Shows what guests have written, while there is room. Among several an unfinished line waits until
 * its guest pauses. To be called at each turn of the boot processor.
 */
void vconsole_show(void);
/*
 * The next byte that was typed for this VM, CONSOLE_BREAK, or -1; and whether there is one. One
 * device at a time gets them.
 */
int vconsole_get(struct vconsole *console);
bool vconsole_has_input(const struct vconsole *console);

/*
 * Takes what was typed to where it belongs: into the ring of the VM in front; when that has been
 * full for a second, bytes are lost and the terminal's bell says so. Returns a byte for the shell,
 * or -1 when there is none, or the console has no room for an answer yet.
 */
int vconsole_input(void);
/* True in the shell's view; it is also the one where nobody else is there to be typed to. */
bool vconsole_in_shell(void);
/* The views. vconsole_show_one: false when no VM of that name lives; NULL: the one in front. */
void vconsole_show_shell(void);
void vconsole_show_all(void);
bool vconsole_show_one(const char *name);
/*
 * What is kept of a VM, ended or not, is shown again in any view, as there is room; until it was,
 * vconsole_replays. False: no VM of that name.
 */
bool vconsole_replay(const char *name);
bool vconsole_replays(void);
/* One byte for the VM in front, be it the escape key; lost when its ring is full. */
void vconsole_type(uint8_t byte);
/* Another escape key, a control character; and how people write the one that holds: "Ctrl-^". */
void vconsole_set_escape(uint8_t key);
uint8_t vconsole_escape(void);
const char *vconsole_escape_name(void);
/* Before the first VM: the escape key is a key like any other from now on. */
void vconsole_no_shell(void);

#endif
