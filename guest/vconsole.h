/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the guests share the machine's one console. While a single VM runs, its bytes pass as they
 * are. With several, each line carries "[name] " in front, lines do not mix, and what a person
 * types goes to the VM in front: the first one started, or whom VCONSOLE_NEXT_KEY moved on to.
 */
#ifndef UMBRA_GUEST_VCONSOLE_H
#define UMBRA_GUEST_VCONSOLE_H

#include "vmm/base/types.h"

#define VCONSOLE_NEXT_KEY    0x1e /* Ctrl-^; an ordinary byte while a single VM runs */
#define VCONSOLE_OUT_BYTES   128
#define VCONSOLE_INPUT_BYTES 256

/*
 * One VM's end. The owner (the VM's UART) serialises its calls for one console; the list of
 * consoles has a lock of its own, which is taken below the owner's.
 */
struct vconsole {
	const char *name;
	struct vconsole *next;
	uint32_t out_count;
	uint32_t out_seen; /* out_count at the last poll */
	char out[VCONSOLE_OUT_BYTES];
	uint32_t in_read, in_written; /* free-running; the difference is what is in the ring */
	uint8_t in[VCONSOLE_INPUT_BYTES];
};

/* console is zeroed; name must outlive it. The first one that is attached is in front. */
void vconsole_attach(struct vconsole *console, const char *name);
/* Writes out what is left, and puts the next one in front if this one was. */
void vconsole_detach(struct vconsole *console);

/* One byte from the guest: shown at the line's end, when many have come, or at a poll. */
void vconsole_put(struct vconsole *console, uint8_t byte);
/* The next byte that was typed for this VM, or -1. */
int vconsole_get(struct vconsole *console);

/* Shows an unfinished line now. */
void vconsole_flush(struct vconsole *console);

/* Now and then: shows an unfinished line, takes in what was typed (no more than fits the ring). */
void vconsole_poll(struct vconsole *console);

#endif
