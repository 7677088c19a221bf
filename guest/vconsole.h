/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the guests and the shell share the machine's one console. There are three views:
 *
 * all    the view at the start: the output of every VM appears. While a single VM runs, its bytes
 *        are shown unfiltered. With several VMs each line begins with "[name] ", lines do not mix,
 *        and only printable ASCII and tabs are shown, so that no VM can imitate a line of Umbra or
 *        of another VM. (If the terminal wraps a long line, its next row has no name.) Input goes
 *        to the VM in front.
 * one    only the VM in front, unfiltered; input goes to it.
 * shell  no VM's output; input goes to the shell.
 *
 * The last output of a VM that is not in view, and output that the shell replays, appear as with
 * several VMs.
 *
 * A guest's bytes go into a ring of its VM. The boot processor moves them from there to the
 * machine's console, a line at a time and VM by VM, while the console has room (console_has_room).
 * So no CPU waits for a UART, and no VM can keep others from the console. If the ring of a VM in
 * view is full, its transmitter reads as not empty (vconsole_ready), and what the guest writes
 * nevertheless is lost. A VM that is not in view is not delayed: its last VCONSOLE_KEPT_BYTES are
 * kept, and the unshown part of them appears when the VM comes into view.
 *
 * The escape key leads from the first two views to the shell, unless there is no shell. Unfiltered
 * bytes of a guest may leave the terminal in any state. So at each change of view, and when such a
 * VM ends, a soft reset (DECSTR) and plain letters (SGR 0) are sent first.
 */
#ifndef UMBRA_GUEST_VCONSOLE_H
#define UMBRA_GUEST_VCONSOLE_H

#include "vmm/base/atomic.h"
#include "vmm/base/lock.h"
#include "vmm/base/types.h"

#define VCONSOLE_ESCAPE_KEY  0x1e  /* Ctrl-^, unless vconsole_set_escape changes it */
#define VCONSOLE_PIECE_BYTES 128   /* how much of a longer line is shown at once */
#define VCONSOLE_RING_BYTES  16384 /* enough for a stock kernel's boot */
#define VCONSOLE_FIFO_BYTES  16 /* the part of the ring that stands for the 16550's transmit FIFO */
#define VCONSOLE_INPUT_BYTES 256
#define VCONSOLE_KEPT_BYTES  4096

/*
 * The console of one VM. The owner (the VM's UART) serialises its calls for one console, except for
 * input. All functions but vconsole_ready, vconsole_put and vconsole_get are for the boot processor
 * only.
 */
struct vconsole {
	const char *name;
	struct vconsole *next;
	/*
	 * Count all bytes that were written and all that were shown. Changed under the lock.
	 */
	struct lock lock;
	ATOMIC(uint64_t) written, shown;
	char ring[VCONSOLE_RING_BYTES];
	/*
	 * due: up to this count bytes are shown in any view. seen, seen_at: the length of an
	 * unfinished line at its last change, and when that was (TSC). finish_by: when to give up
	 * on showing the last output (TSC; 0: it is not waited for).
	 */
	uint64_t due, seen, seen_at, finish_by;
	/* Free-running; their difference is the fill level. One writer, one reader. */
	ATOMIC(uint32_t) in_read, in_written;
	uint16_t in[VCONSOLE_INPUT_BYTES]; /* bytes, and CONSOLE_BREAK */
	bool ended;
	/*
	 * For lines with a name. escape: the state within an escape sequence. returned: a carriage
	 * return came. named: the cursor is after the name, if nothing was logged since.
	 */
	uint8_t escape;
	bool returned, named;
};

/*
 * Adds a console, which is zeroed. name must outlive it. The first console that is attached is in
 * front.
 */
void vconsole_attach(struct vconsole *console, const char *name);
/*
 * For a VM that has ended and writes no more: makes its last output appear, whatever is in view.
 * Call repeatedly until it returns true: the output was shown, or waiting for other output took too
 * long.
 */
bool vconsole_finish(struct vconsole *console);
/*
 * Ends a console: it gets no more input, and if it was in front, the first living one is now.
 * Unshown output is shown as far as there is room. The console stays in the list for
 * vconsole_replay.
 */
void vconsole_end(struct vconsole *console);
/* Ends a console and removes it from the list. */
void vconsole_detach(struct vconsole *console);

/* Whether the VM's transmitter is empty: VCONSOLE_FIFO_BYTES can be written. Any CPU, no lock. */
bool vconsole_ready(const struct vconsole *console);
/* Takes one byte from the guest. */
void vconsole_put(struct vconsole *console, uint8_t byte);
/*
 * Shows what guests have written, while there is room. With several VMs an unfinished line waits
 * until its guest pauses. Call at each turn of the boot processor.
 */
void vconsole_show(void);
/*
 * The next byte that was typed for this VM, CONSOLE_BREAK, or -1; and whether there is one. Only
 * one device of a VM may call them.
 */
int vconsole_get(struct vconsole *console);
bool vconsole_has_input(const struct vconsole *console);

/*
 * Moves input into the ring of the VM in front. If the ring stays full for a second, bytes are lost
 * and the terminal's bell rings. Returns a byte for the shell, or -1 if there is none or the
 * console has no room for an answer yet.
 */
int vconsole_input(void);
/* Whether input goes to the shell: in its view, or if no VM can take input. */
bool vconsole_in_shell(void);
/*
 * Choose the view. vconsole_show_one returns false if no living VM has this name; NULL means the VM
 * in front.
 */
void vconsole_show_shell(void);
void vconsole_show_all(void);
bool vconsole_show_one(const char *name);
/*
 * Shows the kept output of a VM again, ended or not, in any view, as there is room. Returns false
 * if no VM has this name. vconsole_replays returns true until everything was shown.
 */
bool vconsole_replay(const char *name);
bool vconsole_replays(void);
/*
 * Sends one byte to the VM in front, also if it is the escape key. It is lost if the ring is full.
 */
void vconsole_type(uint8_t byte);
/* Sets the escape key, a control character; returns it; returns its name, such as "Ctrl-^". */
void vconsole_set_escape(uint8_t key);
uint8_t vconsole_escape(void);
const char *vconsole_escape_name(void);
/*
 * The size of the user's screen, in characters; 0 while it is not known. Set on the boot processor,
 * read on any CPU.
 */
struct vconsole_size {
	uint16_t columns, rows;
};
void vconsole_set_size(struct vconsole_size size);
struct vconsole_size vconsole_size(void);
/* Makes the escape key a normal key: there is no shell. Call before the first VM starts. */
void vconsole_no_shell(void);

#endif
