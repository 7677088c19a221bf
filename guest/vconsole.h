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
 * The last VCONSOLE_KEPT_BYTES of each VM are kept; what of them was not shown is, when it can be.
 * The escape key goes from the first two to the shell, unless there is none. A guest's bytes that
 * passed as they are may have left the terminal in any state: at each change of view, and when such
 * a VM ends, a soft reset (DECSTR) and plain letters (SGR 0) go before what follows.
 */
#ifndef UMBRA_GUEST_VCONSOLE_H
#define UMBRA_GUEST_VCONSOLE_H

#include "vmm/base/types.h"

#define VCONSOLE_ESCAPE_KEY  0x1e /* Ctrl-^, unless vconsole_set_escape says another */
#define VCONSOLE_OUT_BYTES   128
#define VCONSOLE_INPUT_BYTES 256
#define VCONSOLE_KEPT_BYTES  4096

/*
 * One VM's end. The owner (the VM's UART) serialises its calls for one console, but for input; the
 * list of consoles has a lock of its own, which is taken below the owner's.
 */
struct vconsole {
	const char *name;
	struct vconsole *next;
	uint32_t out_count;
	uint32_t out_seen; /* out_count at the last poll */
	char out[VCONSOLE_OUT_BYTES];
	/* Free-running; the difference is what is in the ring. One writer, one reader: atomic. */
	uint32_t in_read, in_written;
	uint16_t in[VCONSOLE_INPUT_BYTES]; /* bytes, and CONSOLE_BREAK */
	/* The latest output, free-running, and from where on it was not shown yet. List's lock. */
	uint32_t kept_first, kept_end;
	bool ended; /* likewise */
	/* Where lines carry a name, list's lock: in an escape sequence; a carriage return came; the
	 * cursor stands behind the name, if nothing was logged since. */
	uint8_t escape;
	bool returned, named;
	char kept[VCONSOLE_KEPT_BYTES];
};

/* console is zeroed; name must outlive it. The first one that is attached is in front. */
void vconsole_attach(struct vconsole *console, const char *name);
/*
 * The VM says no more: what is left is shown, and if it was in front the first one that lives is
 * from now on. It stays in the list for vconsole_replay.
 */
void vconsole_end(struct vconsole *console);
/* The same, and out of the list. */
void vconsole_detach(struct vconsole *console);

/* One byte from the guest: shown at the line's end, when many have come, or at a poll. */
void vconsole_put(struct vconsole *console, uint8_t byte);
/* The next byte that was typed for this VM, CONSOLE_BREAK, or -1. */
int vconsole_get(struct vconsole *console);

/* Shows an unfinished line now. */
void vconsole_flush(struct vconsole *console);
/* Now and then: shows an unfinished line. */
void vconsole_poll(struct vconsole *console);

/*
 * Takes what was typed to where it belongs: into the ring of the VM in front; when that has been
 * full for a second, bytes are lost and the terminal's bell says so. Returns a byte for the shell,
 * or -1 when there is none. Boot processor alone.
 */
int vconsole_input(void);
/* True in the shell's view; it is also the one where nobody else is there to be typed to. */
bool vconsole_in_shell(void);
/* The views. vconsole_show_one: false when no VM of that name lives; NULL: the one in front. */
void vconsole_show_shell(void);
void vconsole_show_all(void);
bool vconsole_show_one(const char *name);
/* Shows again what is kept of a VM, ended or not, in any view. False: no VM of that name. */
bool vconsole_replay(const char *name);
/* One byte for the VM in front, be it the escape key; lost when its ring is full. */
void vconsole_type(uint8_t byte);
/* Another escape key, a control character; and how people write the one that holds: "Ctrl-^". */
void vconsole_set_escape(uint8_t key);
uint8_t vconsole_escape(void);
const char *vconsole_escape_name(void);
/* Before the first VM: the escape key is a key like any other from now on. */
void vconsole_no_shell(void);

#endif
