/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 8254 interval timer as pure logic (Intel 82C54 datasheet): three counters. Time comes from
 * the TSC values that the caller passes. No locks of its own: the caller holds vlegacy's lock.
 */
#ifndef UMBRA_GUEST_DEV_VPIT_H
#define UMBRA_GUEST_DEV_VPIT_H

#include "vmm/base/types.h"

#define VPIT_HZ		   1193182ul
#define VPIT_CHANNEL_COUNT 3

struct vpit_channel {
	uint64_t start_tsc;  /* when the count began; not valid while the gate is low */
	uint64_t held_ticks; /* ticks counted before the gate went low */
	uint32_t reload;     /* 1 to 65,536 */
	uint16_t latched;
	uint8_t mode;	/* 0 to 5 */
	uint8_t access; /* 1: low byte, 2: high byte, 3: low, then high */
	uint8_t status;
	uint8_t low_byte; /* of a two-byte write that is half done */
	bool bcd;
	bool gate;
	bool loaded;		    /* a count was written since the mode was set */
	bool write_high, read_high; /* the next byte is the high byte */
	bool count_latched, status_latched;
};

struct vpit {
	struct vpit_channel channel[VPIT_CHANNEL_COUNT];
	uint64_t irq_edges; /* rising edges of OUT 0 that vpit_irq_edge has reported or merged */
	uint64_t irq_tsc;   /* when it reported the last edge */
};

void vpit_init(struct vpit *pit, uint64_t tsc);

/* Access ports 40H to 43H as offsets 0 to 3. */
uint8_t vpit_read(struct vpit *pit, unsigned offset, uint64_t tsc);
void vpit_write(struct vpit *pit, unsigned offset, uint8_t value, uint64_t tsc);

/* The gate and the output of a counter (port 61H has those of counter 2). */
void vpit_set_gate(struct vpit *pit, unsigned index, bool high, uint64_t tsc);
bool vpit_out(const struct vpit *pit, unsigned index, uint64_t tsc);

/* Ignores this many TSC ticks, during which the timer stood still. */
void vpit_skip_time(struct vpit *pit, uint64_t ticks);

/*
 * Returns true if OUT 0 has risen since the last time that it returned true. Several edges count as
 * one. Edges of a periodic counter are reported at most VCLOCK_IRQS_PER_SECOND_MAX times a second.
 */
bool vpit_irq_edge(struct vpit *pit, uint64_t tsc);
/*
 * The TSC at which vpit_irq_edge, called just before, will be true next; UINT64_MAX: never without
 * a write by the guest.
 */
uint64_t vpit_next_edge(const struct vpit *pit);

#endif
